"""What should hold where the truth is known, and whether it does.

Findings are tables of finding, value, pvalue, bar and verdict: "holds" or "does not hold", and of
leakages, which are tests of equivalence, "shown", "not shown" or "refuted".

How often a model saw a subject is a property of the subject, so tasks of one subject are no
independent draws. Whatever touches coverage is resampled, and permuted, by whole subjects where the
table has a column `subject`; else by tasks. Intervals are at `CONFIDENCE`.
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau
from scipy.stats import t as student_t

from squbed_utils import plain_yaml
from squbed_utils.archive.layout import COVERAGES
from squbed_utils.files import ROOT, seed_of
from squbed_utils.statistics import leaderboard, resampling
from squbed_utils.statistics.calibration import (
    CONFIDENCE,
    bootstrap_interval,
    bootstrap_pvalue,
    equivalence,
)
from squbed_utils.statistics.controls import word_spreads
from squbed_utils.statistics.tables import POINT_COLUMNS, NotShown, better_is_higher

BARS = plain_yaml.read(ROOT / "data/bars.yaml", "the bars")
"""What has to hold, frozen before the archive that confirms it was made."""

ALEATORIC = "Kendall's tau of aleatoric and true entropy"
SEPARATION = "AUROC of epistemic, never seen against common subjects"

LEVEL = "left_out"
"""Within each number of attributes that a prompt leaves open, its length says little."""

ASSOCIATION = ["x", "y", "level", "tau", "low", "high", "pvalue", "n", "confidence"]


def calibration_findings(statistics: pd.DataFrame, *, term: str = "total") -> pd.DataFrame:
    """Judge total uncertainty, or another term, against accuracy (Figure 4).

    `statistics` are the rows of this run, as `tables.statistics_of`.
    """
    most, p_below = BARS["total_tau_at_most"], BARS["total_p_below"]
    good = (statistics.tau <= most) & (statistics.pvalue < p_below)
    found = statistics.assign(panel=f"{term} uncertainty against " + statistics.panel)
    return _findings(found, f"tau at most {most}, p below {p_below:g}", _holds(good))


def part_findings(statistics: pd.DataFrame) -> pd.DataFrame:
    """Judge each part where the other is least (Figure 5), as `calibration_findings` does."""
    p_below = BARS["part_p_below"]
    good = (statistics.tau < 0) & (statistics.pvalue < p_below)
    return _findings(statistics, f"tau negative, p below {p_below}", _holds(good))


def _findings(
    statistics: pd.DataFrame, bar: str | pd.Series, verdict: np.ndarray | pd.Series
) -> pd.DataFrame:
    found = statistics[["panel", "tau", "pvalue"]].set_axis(["finding", "value", "pvalue"], axis=1)
    return found.assign(bar=bar, verdict=verdict)


def _holds(good: pd.Series) -> np.ndarray:
    return np.where(good, "holds", "does not hold")


def truth_points(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the aleatoric estimate (y) against the true entropy (x), as `tables.points_of`."""
    return summary.assign(
        panel="aleatoric, estimate and truth",
        x=summary.true_entropy,
        y=summary.aleatoric,
        x_label="true entropy of the prompt (nats)",
        y_label=f"aleatoric ({summary.unit.iloc[0]})",
    )[POINT_COLUMNS]


def subjects_of(table: pd.DataFrame) -> np.ndarray | None:
    """Return what tasks share, (n,), or None where it is not known."""
    return table.subject.to_numpy() if "subject" in table else None


def truth_taus(summary: pd.DataFrame) -> pd.DataFrame:
    """Return tau of each estimate against each truth; ValueError if the summary has no truth.

    Columns: estimate, truth, label, tau, low, high (of eight tasks or more), pvalue (of a tau of
    zero; for coverage with its levels dealt to whole subjects), n, confidence, kind ("signal" where
    the two should go together, else "leakage"), bar (the least signal, the most leakage; missing
    where none is stated), equivalence_pvalue and verdict (of a leakage: as
    `calibration.equivalence` with the bar; of a signal missing and empty).
    """
    if "true_entropy" not in summary:
        raise ValueError("the summary has no true_entropy; use an archive with a truth.parquet")
    truths = truths_of(summary)
    pairs = (
        ("aleatoric", "true entropy", "signal", BARS["aleatoric_tau_at_least"]),
        ("epistemic", "coverage", "signal", np.nan),
        ("aleatoric", "coverage", "leakage", BARS["leakage_within"]),
        ("epistemic", "true entropy", "leakage", BARS["leakage_within"]),
    )
    rows = []
    for estimate, truth, kind, bar in pairs:
        rng = np.random.default_rng(seed_of("truth", estimate, truth))
        of_subjects = truth == "coverage"
        clusters = subjects_of(summary) if of_subjects else None
        numbers, replicates = _association(
            summary[estimate], truths[truth], rng, clusters=clusters, dealt=of_subjects
        )
        row = {"estimate": estimate, "truth": truth, "label": f"{estimate} and {truth}"}
        row.update(numbers, kind=kind, bar=bar, equivalence_pvalue=np.nan, verdict="")
        if kind == "leakage":
            row["equivalence_pvalue"], row["verdict"] = equivalence(replicates, bar)
        rows.append(row)
    return pd.DataFrame(rows)


def _association(
    x: pd.Series,
    y: pd.Series,
    rng: np.random.Generator,
    *,
    clusters: np.ndarray | None = None,
    levels: pd.Series | None = None,
    dealt: bool = False,
) -> tuple[dict[str, float], np.ndarray]:
    """Return tau, low, high, pvalue, n and confidence, and tau's replicates, resampled by cluster.

    With `levels`, of pairs of one level alone. The p-value is by dealing the levels y to whole
    clusters where `dealt`, and else the bootstrap's.
    """
    x, y = x.to_numpy(dtype=float), y.to_numpy(dtype=float)
    levels = None if levels is None else levels.to_numpy(dtype=float)
    counts = resampling.task_counts(x.size, resampling.N_RESAMPLES, rng, clusters)
    (replicates,) = resampling.resampled_taus(x[None], y, counts, clusters, levels)
    numbers = {"tau": resampling.plain_tau(x, y, levels)}
    few = x.size < resampling.FEWEST_TASKS
    numbers["low"], numbers["high"] = (np.nan, np.nan) if few else bootstrap_interval(replicates)
    numbers["pvalue"] = (
        resampling.level_pvalue(x, y, rng, clusters=clusters, within=levels)
        if dealt
        else bootstrap_pvalue(replicates)
    )
    return numbers | {"n": x.size, "confidence": CONFIDENCE}, replicates


def within_levels(summary: pd.DataFrame, *, accuracy: str) -> pd.DataFrame:
    """Hold epistemic against accuracy and coverage within each number of attributes left open.

    Columns: estimate, target (the accuracy's name, "coverage"), level (that of `LEVEL`; "pooled":
    the tau-b of pairs of one level alone; "all": of all pairs), tau, low, high, pvalue, n,
    confidence. A level in which either is the same for all tasks has no row and is not pooled.
    """
    clusters, coverage = subjects_of(summary), truths_of(summary)["coverage"]
    accurate = better_is_higher(summary, accuracy)
    table = pd.concat(
        [
            _by_level(summary, "epistemic", accurate, accuracy, clusters=clusters),
            _by_level(summary, "epistemic", coverage, "coverage", clusters=clusters, dealt=True),
        ],
        ignore_index=True,
    )
    return table.rename(columns={"x": "estimate", "y": "target"})


def _by_level(
    table: pd.DataFrame,
    x: str,
    y: pd.Series,
    name: str = "",
    *,
    clusters: np.ndarray | None = None,
    dealt: bool = False,
) -> pd.DataFrame:
    """Return a row, as `_association`, for each level, for pairs within them, and for all.

    x is a column, y the values of `name`. A level in which either does not vary has no row and is
    not pooled, and fewer than `FEWEST_TASKS` tasks have none; tasks without one of them are left
    out.
    """
    table = table[[x, LEVEL]].assign(y=y, cluster=clusters).dropna(subset=[x, "y"])
    rows = []
    for level, group in _levels(table, [x, "y"]):
        if len(group) < resampling.FEWEST_TASKS or (group[[x, "y"]].nunique() < 2).any():
            continue
        numbers, _ = _association(
            group[x],
            group.y,
            np.random.default_rng(seed_of("truth", x, name, level)),
            clusters=None if clusters is None else group.cluster.to_numpy(),
            levels=group[LEVEL] if level == "pooled" else None,
            dealt=dealt,
        )
        rows.append({"x": x, "y": name, "level": level} | numbers)
    return pd.DataFrame(rows, columns=ASSOCIATION)


def _levels(table: pd.DataFrame, varying: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the tasks of each level, of them together ("pooled"), and all tasks ("all").

    A level in which one of the columns `varying` is the same for all tasks is none.
    """
    varied = (table.groupby(LEVEL)[varying].nunique() > 1).all(axis=1)
    within = table[table[LEVEL].isin(varied[varied].index)]
    groups = [(str(level), group) for level, group in within.groupby(LEVEL)]
    return groups + [("pooled", within)] * (len(groups) > 1) + [("all", table)]


def aleatoric_within(summary: pd.DataFrame) -> pd.DataFrame:
    """Hold the aleatoric part against the true entropy within levels, as `within_levels`."""
    return _by_level(summary, "aleatoric", summary.true_entropy).drop(columns=["x", "y"])


def truth_controls(summary: pd.DataFrame, latents: pd.DataFrame) -> pd.DataFrame:
    """Hold other measures of a prompt's vagueness against the true entropy, beside S-QUBED's.

    What a count of words ranks as well needs no encoder; within levels it says little.

    `latents` is as `Archive.latents`. Columns: measure, kind ("S-QUBED", "control"), level, tau,
    low, high, pvalue, n, confidence, as `within_levels`.
    """
    tasks = summary.set_index("task")
    words = latents.prompt.str.lower().str.split().set_axis(latents.task)
    measures = {
        "S-QUBED": tasks.aleatoric,
        "prompt length": -tasks.prompt.str.split().map(len),
        "attributes left open": tasks[LEVEL],
        "distinct latent prompts": latents.groupby("task").prompt.nunique(),
        "distinct words": words.explode().groupby("task").nunique(),
        **word_spreads(latents),
    }
    measured = tasks.assign(**{name: values.astype(float) for name, values in measures.items()})
    table = pd.concat(
        [_by_level(measured, name, tasks.true_entropy) for name in measures], ignore_index=True
    )
    table = table.drop(columns="y").rename(columns={"x": "measure"})
    table.insert(1, "kind", np.where(table.measure == "S-QUBED", "S-QUBED", "control"))
    return table


def dose(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean epistemic uncertainty by the number of clips of its subject in training.

    The table has a row a task: clips, epistemic, subject, and confident_mistake (0 to 1) where that
    is known. Returned is a row a number of clips, ascending: clips, subjects, tasks; epistemic,
    low, high (a band from resampled subjects, missing for a single one); with mistakes also
    mistakes, mistakes_low, mistakes_high; tau and pvalue (of epistemic and clips over all tasks,
    clips dealt to whole subjects; repeated); confidence.
    """
    lost = {"clips", "epistemic", "subject"} - set(table)
    if lost or table.clips.nunique() < 2:
        raise NotShown(
            f"the table lacks {sorted(lost)} or has one number of clips; expected a row a task "
            "with clips, epistemic and subject, of at least two numbers of clips"
        )
    x, clips = (table[name].to_numpy(dtype=float) for name in ("epistemic", "clips"))
    rng = np.random.default_rng(seed_of("dose"))
    pvalue = resampling.level_pvalue(x, clips, rng, clusters=subjects_of(table))
    rows = []
    for count, group in table.groupby("clips"):
        row = {"clips": count, "subjects": group.subject.nunique(), "tasks": len(group)}
        mean, half = _mean_by_subject(group.epistemic, group.subject, rng)
        row |= {"epistemic": mean, "low": mean - half, "high": mean + half}
        if "confident_mistake" in group:
            mean, half = _mean_by_subject(group.confident_mistake, group.subject, rng)
            low = max(mean - half, 0.0)
            row |= {"mistakes": mean, "mistakes_low": low, "mistakes_high": min(mean + half, 1.0)}
        rows.append(row)
    tau = kendalltau(x, clips).statistic
    return pd.DataFrame(rows).assign(tau=tau, pvalue=pvalue, confidence=CONFIDENCE)


def _mean_by_subject(
    values: pd.Series, subjects: pd.Series, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the mean and half its interval: Student's t on the spread over resampled subjects.

    Subjects without any spread, as where nothing was counted, tell no interval.
    """
    x, k = values.to_numpy(dtype=float), subjects.nunique()
    counts = resampling.task_counts(x.size, resampling.N_RESAMPLES, rng, subjects.to_numpy())
    spread = np.sqrt(k / max(k - 1, 1)) * np.std(counts @ x / counts.sum(axis=1)) or np.nan
    return float(x.mean()), float(student_t.ppf((1 + CONFIDENCE) / 2, max(k - 1, 1)) * spread)


def truths_of(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each task's true entropy and coverage, by name; a higher coverage was seen less.

    Coverage is minus the number of clips where that is known, else 0 common, 1 rare, 2 never.
    """
    levels = -table.clips if "clips" in table else table.coverage.map(COVERAGES.index)
    return {"true entropy": table.true_entropy, "coverage": levels}


def truth_findings(summary: pd.DataFrame, taus: pd.DataFrame) -> pd.DataFrame:
    """Judge the estimates against the truths, from `truth_taus`."""
    taus = taus.dropna(subset="bar").assign(panel="Kendall's tau of " + taus.label)
    signals, leaks = (taus[taus.kind == kind] for kind in ("signal", "leakage"))
    leaks = leaks.assign(panel=leaks.panel + " (leakage)", pvalue=leaks.equivalence_pvalue)
    area, pvalue = separation(summary)
    apart = pd.DataFrame({"panel": [SEPARATION], "tau": area, "pvalue": pvalue})
    least = BARS["auroc_at_least"]
    findings = (
        (signals, "at least " + signals.bar.astype(str), _holds(signals.tau >= signals.bar)),
        (leaks, "within ±" + leaks.bar.astype(str), leaks.verdict),
        (apart, f"at least {least}", _holds(apart.tau >= least)),
    )
    return pd.concat([_findings(*finding) for finding in findings], ignore_index=True)


def separation(summary: pd.DataFrame) -> tuple[float, float]:
    """Return the AUROC of epistemic uncertainty, of never-seen against common subjects, and its p.

    The p-value deals the two levels to whole subjects.
    """
    ends = summary[summary.coverage.isin(["common", "never"])]
    if ends.coverage.nunique() < 2:
        raise NotShown("no task of a never-seen subject beside one of a common; take more tasks")
    x, never = ends.epistemic.to_numpy(dtype=float), (ends.coverage == "never").to_numpy(float)
    (area,) = resampling.resampled_areas(x, ends.coverage, np.ones((1, x.size)))
    rng = np.random.default_rng(seed_of("truth", "separation"))
    return float(area), resampling.level_pvalue(x, never, rng, clusters=subjects_of(ends))


def separation_within(summary: pd.DataFrame) -> pd.DataFrame:
    """Return how well epistemic uncertainty tells never-seen subjects from common ones, by level.

    Columns: level (that of `LEVEL`; "pooled": of pairs of one level alone; "all": of all pairs),
    auroc, low, high, pvalue (the two coverages dealt to whole subjects), n, confidence. A level
    without one of the two has no row and is not pooled.
    """
    ends = summary[summary.coverage.isin(["common", "never"])]
    rows = []
    for level, group in _levels(ends, ["coverage"]):
        clusters, never = subjects_of(group), (group.coverage == "never").to_numpy(dtype=float)
        rng = np.random.default_rng(seed_of("truth", "separation", level))
        x, within = group.epistemic.to_numpy(dtype=float), None
        if level == "pooled":
            within = group[LEVEL].to_numpy(dtype=float)
        counts = resampling.task_counts(x.size, resampling.N_RESAMPLES, rng, clusters)
        counts = np.vstack([np.ones(x.size), counts])  # the estimate stands before its resamples
        areas = resampling.resampled_areas(x, group.coverage, counts, within)
        spread = resampling.widened(areas[1:], areas[0], clusters)
        low, high = np.clip(bootstrap_interval(spread), 0, 1)
        pvalue = resampling.level_pvalue(x, never, rng, clusters=clusters, within=within)
        row = {"level": level, "auroc": areas[0], "low": low, "high": high, "pvalue": pvalue}
        rows.append(row | {"n": x.size, "confidence": CONFIDENCE})
    return pd.DataFrame(rows)


def truth_positions(summary: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """Return `examples.positions` without its marks, titled with the separation."""
    area, pvalue = separation(summary)
    by = " by subject" if "subject" in summary else ""
    title = f"{SEPARATION}\n{area:.2f}, p = {pvalue:.2g}{by}".replace("e-", "e−")
    return positions.assign(label="", title=title)


OWN = {"aleatoric": "true entropy", "epistemic": "coverage"}
"""Component -> the truth that it should follow; the other's is not to leak into it."""


def against_truth(rows: leaderboard.Rows, truth: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold every estimator's aleatoric and epistemic term against both truths.

    The disentanglement score of an estimator is the mean of its two signals less the mean of its
    two absolute leakages, D = (s_A + s_E) / 2 - (|l_A| + |l_E|) / 2, with s_A = tau(aleatoric,
    true entropy), s_E = tau(epistemic, coverage), l_A = tau(aleatoric, coverage) and l_E =
    tau(epistemic, true entropy). Coverage is as `truths_of`. A resample's absolute
    leakage is never negative, so with no true leakage the interval of D lies a little low.

    Parameters
    ----------
    rows : leaderboard.Rows
    truth : DataFrame
        As `Archive.truth`; `NotShown` if a truth is the same for all tasks.

    Returns
    -------
    taus : DataFrame
        estimator, component, truth, kind ("signal" or "leakage"), tau, low, high, pvalue (subjects
        resampled for both), n, confidence, baseline.
    scores : DataFrame
        A row for each estimator that has both terms: estimator, signal, leakage (the two means),
        score (D, from -2 to 1; higher = better), low, high, and the columns of
        `leaderboard.paired` (positive = better than S-QUBED); confidence. With fewer than 8
        tasks intervals and differences are missing, as in `leaderboard.compare`.
    """
    known = truth.set_index("task").loc[rows.accuracy.index]
    truths = {name: values.to_numpy() for name, values in truths_of(known).items()}
    for name, values in truths.items():
        if values.min() == values.max():
            raise NotShown(f"{name} is the same for all {len(values)} tasks; it ranks nothing")
    clusters = subjects_of(known)
    rng = np.random.default_rng(seed_of("leaderboard", "truth"))
    counts = resampling.task_counts(
        rows.accuracy.size, leaderboard.resamples_for(rows), rng, clusters
    )
    taus, resampled = [], {}
    for x, label in zip(rows.scores, rows.labels.itertuples(), strict=True):
        for name, values in truths.items() if label.component in OWN else ():
            tau = kendalltau(x, values).statistic
            plain = resampling.weighted_taus(x[None], values, counts)
            (drawn,) = resampling.drawn_in(plain, x[None], values, clusters)
            (low, high), pvalue = bootstrap_interval(drawn), bootstrap_pvalue(drawn)
            # The estimate stands before its resamples, so that one line scores them all.
            spread = resampling.widened(plain[0], tau, clusters)
            resampled[label.estimator, label.component, name] = np.append(tau, spread)
            row = {"estimator": label.estimator, "component": label.component, "truth": name}
            row["kind"] = "signal" if OWN[label.component] == name else "leakage"
            row.update(tau=tau, low=low, high=high, pvalue=pvalue, n=values.size)
            taus.append(row)
    taus = pd.DataFrame(taus).assign(confidence=CONFIDENCE, baseline=leaderboard.BASELINE)
    scores = _scores(resampled)
    if rows.accuracy.size < resampling.FEWEST_TASKS:
        for table in (taus, scores):
            table[table.columns.intersection(leaderboard.INTERVALS)] = np.nan
    return taus, scores


def _scores(resampled: dict[tuple[str, str, str], np.ndarray]) -> pd.DataFrame:
    """Return a row for each estimator with both terms, from its taus: the estimate, resamples."""
    rows, scores = [], []
    for estimator in dict.fromkeys(name for name, _, _ in resampled):
        if {term for name, term, _ in resampled if name == estimator} == set(OWN):
            s_A = resampled[estimator, "aleatoric", "true entropy"]
            s_E = resampled[estimator, "epistemic", "coverage"]
            l_A = resampled[estimator, "aleatoric", "coverage"]
            l_E = resampled[estimator, "epistemic", "true entropy"]
            signal, leakage = (s_A + s_E) / 2, (abs(l_A) + abs(l_E)) / 2
            score = signal - leakage
            ends = bootstrap_interval(score[1:])
            rows.append((estimator, signal[0], leakage[0], score[0], *ends))
            scores.append(score[1:])
    table = pd.DataFrame(rows, columns=["estimator", "signal", "leakage", "score", "low", "high"])
    if not rows:
        return table
    drawn = np.array(scores)
    bases = leaderboard.counterparts(table[["estimator"]].assign(component="disentanglement"))
    alike = leaderboard.first_alike(np.nan_to_num(drawn))
    compared = leaderboard.paired(bases, table.score.to_numpy(), drawn, alike, name="difference")
    return table.join(compared).assign(confidence=CONFIDENCE)
