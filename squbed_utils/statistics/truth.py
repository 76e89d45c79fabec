"""What should hold where the truth is known, and whether it does.

Findings are tables of finding, value, pvalue, bar and verdict: "holds" or "does not hold", and of
leakages, which are tests of equivalence, "shown", "not shown" or "refuted".

How often a model saw a subject is a property of the subject, so tasks of one subject are no
independent draws. Whatever touches coverage is resampled, and permuted, by whole subjects where the
table has a column `subject`, or another `cluster` that is named; else by tasks.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import kendalltau
from scipy.stats import t as student_t

from squbed_utils import plain_yaml
from squbed_utils.archive.layout import COVERAGES
from squbed_utils.files import ROOT, seed_of
from squbed_utils.statistics.calibration import (
    Auroc,
    auroc,
    bootstrap_interval,
    bootstrap_pvalue,
    equivalence,
)
from squbed_utils.statistics.controls import word_spreads
from squbed_utils.statistics.leaderboard import (
    BASELINE,
    INTERVALS,
    N_RESAMPLES,
    Rows,
    counterparts,
    first_alike,
    paired,
    resamples_for,
)
from squbed_utils.statistics.resampling import (
    FEWEST_TASKS,
    drawn_in,
    level_pvalue,
    plain_tau,
    resampled_areas,
    resampled_taus,
    task_counts,
    weighted_taus,
    widening,
)
from squbed_utils.statistics.tables import better_is_higher

BARS = plain_yaml.read(ROOT / "data/bars.yaml", "the bars")
"""What has to hold, frozen before the archive that confirms it was made."""

POINT_COLUMNS = ("row", "panel", "task", "x", "y", "x_label", "y_label", "coverage", "left_out")

ALEATORIC = "Kendall's tau of aleatoric and true entropy"
SEPARATION = "AUROC of epistemic, never seen against common subjects"
ASSOCIATION = ["x", "y", "level", "tau", "low", "high", "pvalue", "n", "confidence"]

HOLDS, DOES_NOT = "holds", "does not hold"


def calibration_findings(statistics: pd.DataFrame, *, term: str = "total") -> pd.DataFrame:
    """Judge total uncertainty, or another term, against accuracy (Figure 4).

    `statistics` are the rows of this run, as `tables.statistics_of`.
    """
    most, p_below = BARS["total_tau_at_most"], BARS["total_p_below"]
    bar = f"tau at most {most}, p below {p_below:g}"
    return pd.DataFrame(
        _finding(
            f"{term} uncertainty against {row.panel}",
            (row.tau, row.pvalue),
            bar,
            row.tau <= most and row.pvalue < p_below,
        )
        for row in statistics.itertuples()
    )


def part_findings(statistics: pd.DataFrame) -> pd.DataFrame:
    """Judge each part where the other is least (Figure 5), as `calibration_findings` does."""
    p_below = BARS["part_p_below"]
    bar = f"tau negative, p below {p_below}"
    return pd.DataFrame(
        _finding(row.panel, (row.tau, row.pvalue), bar, row.tau < 0 and row.pvalue < p_below)
        for row in statistics.itertuples()
    )


def truth_points(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the aleatoric estimate (y) against the true entropy (x), as `tables.points_of`."""
    return summary.assign(
        panel="aleatoric, estimate and truth",
        x=summary.true_entropy,
        y=summary.aleatoric,
        x_label="true entropy of the prompt (nats)",
        y_label=f"aleatoric ({summary.unit.iloc[0]})",
    )[list(POINT_COLUMNS)]


def clusters_of(table: pd.DataFrame, cluster: str = "subject") -> np.ndarray | None:
    """Return what tasks share, (n,), or None where the table has no such column."""
    return table[cluster].to_numpy() if cluster in table else None


def truth_taus(
    summary: pd.DataFrame, *, confidence: float = 0.95, cluster: str = "subject"
) -> pd.DataFrame:
    """Return tau of each estimate against each truth; ValueError if the summary has no truth.

    Returns
    -------
    DataFrame
        estimate, truth, label, tau, low, high (bootstrap interval over clusters), pvalue (of a tau
        of zero; for coverage with its levels dealt to whole clusters), n, confidence, kind
        ("signal" where the two should go together, else "leakage"), bar (the least signal, the most
        leakage; missing where none is stated), equivalence_pvalue and verdict (of a leakage: as
        `calibration.equivalence` with the bar; of a signal missing and empty).
    """
    if "true_entropy" not in summary:
        raise ValueError("the summary has no true_entropy; use an archive with a truth.parquet")
    truths, clusters = truths_of(summary), clusters_of(summary, cluster)
    pairs = (
        ("aleatoric", "true entropy", "signal", BARS["aleatoric_tau_at_least"]),
        ("epistemic", "coverage", "signal", np.nan),
        ("aleatoric", "coverage", "leakage", BARS["leakage_within"]),
        ("epistemic", "true entropy", "leakage", BARS["leakage_within"]),
    )
    rows = []
    for estimate, truth, kind, bar in pairs:
        rng = np.random.default_rng(seed_of("truth", estimate, truth))
        by_subject = {"clusters": clusters, "dealt": True} if truth == "coverage" else {}
        numbers, replicates = _association(
            summary[estimate], truths[truth], rng, confidence=confidence, **by_subject
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
    confidence: float,
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
    counts = task_counts(x.size, N_RESAMPLES, rng, clusters)
    (replicates,) = resampled_taus(x[None], y, counts, clusters, levels)
    tau = plain_tau(x, y, levels)
    low, high = bootstrap_interval(replicates, confidence)
    pvalue = bootstrap_pvalue(replicates)
    if dealt:
        pvalue = level_pvalue(x, y, rng, clusters=clusters, within=levels)
    numbers = {"tau": tau, "low": low, "high": high, "pvalue": pvalue, "n": x.size}
    return {**numbers, "confidence": confidence}, replicates


def within_levels(
    summary: pd.DataFrame,
    *,
    accuracy: str,
    estimate: str = "epistemic",
    by: str = "left_out",
    confidence: float = 0.95,
    cluster: str = "subject",
) -> pd.DataFrame:
    """Hold an estimate against accuracy and coverage within each number of attributes left open.

    Returns
    -------
    DataFrame
        estimate, target (the accuracy's name, "coverage"), level (that of `by`; "pooled": the
        tau-b of pairs of one level alone; "all": of all pairs), tau, low, high (resampled by
        cluster), pvalue, n, confidence. A level in which either is the same for all tasks has no
        row and is not pooled.
    """
    clusters = clusters_of(summary, cluster)
    coverage = truths_of(summary)["coverage"]
    options = {"by": by, "confidence": confidence, "clusters": clusters}
    accurate = better_is_higher(summary, accuracy)
    rows = _by_level(summary, estimate, accurate, accuracy, **options)
    rows += _by_level(summary, estimate, coverage, "coverage", **options, dealt=True)
    table = pd.DataFrame(rows, columns=ASSOCIATION)
    return table.rename(columns={"x": "estimate", "y": "target"})


def _by_level(
    table: pd.DataFrame,
    x: str,
    y: pd.Series,
    name: str,
    *,
    by: str,
    confidence: float,
    clusters: np.ndarray | None = None,
    dealt: bool = False,
) -> list[dict[str, object]]:
    """Return a row, as `_association`, for each level of `by`, for pairs within them, and for all.

    x is a column, y the values of `name`. A level in which either does not vary has no row and is
    not pooled, and fewer than `FEWEST_TASKS` tasks have none; tasks without one of them are left
    out.
    """
    table = table[[x, by]].assign(y=y, cluster=clusters).dropna(subset=[x, "y"])
    rows = []
    for level, group in _levels(table, by, [x, "y"]):
        if len(group) < FEWEST_TASKS or (group[[x, "y"]].nunique() < 2).any():
            continue
        numbers, _ = _association(
            group[x],
            group.y,
            np.random.default_rng(seed_of("truth", x, name, level)),
            confidence=confidence,
            clusters=None if clusters is None else group.cluster.to_numpy(),
            levels=group[by] if level == "pooled" else None,
            dealt=dealt,
        )
        rows.append({"x": x, "y": name, "level": level, **numbers})
    return rows


def _levels(table: pd.DataFrame, by: str, varying: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the tasks of each level of `by`, of them together ("pooled"), and all tasks ("all").

    A level in which one of the columns `varying` is the same for all tasks is none.
    """
    varied = (table.groupby(by)[varying].nunique() > 1).all(axis=1)
    within = table[table[by].isin(varied[varied].index)]
    groups = [(str(level), group) for level, group in within.groupby(by)]
    return groups + [("pooled", within)] * (len(groups) > 1) + [("all", table)]


def aleatoric_within(
    summary: pd.DataFrame, *, by: str = "left_out", confidence: float = 0.95
) -> pd.DataFrame:
    """Hold the aleatoric part against the true entropy within each number of attributes left open.

    Returns
    -------
    DataFrame
        level, tau, low, high, pvalue, n, confidence, as `within_levels`.
    """
    rows = _by_level(summary, "aleatoric", summary.true_entropy, "", by=by, confidence=confidence)
    return pd.DataFrame(rows, columns=ASSOCIATION).drop(columns=["x", "y"])


def truth_controls(
    summary: pd.DataFrame,
    latents: pd.DataFrame,
    *,
    encoders: Mapping[str, np.ndarray] | None = None,
    by: str = "left_out",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Hold other measures of a prompt's vagueness against the true entropy, beside S-QUBED's.

    What a count of words ranks as well needs no encoder. And an encoder that was trained in the
    world may know it: the headline is an outside encoder's tau within levels.

    Parameters
    ----------
    summary : DataFrame
        As `summary.summarize` with the truth.
    latents : DataFrame
        As `Archive.latents`: task, prompt, a row a latent prompt.
    encoders : mapping of str to ndarray, shape (len(latents), d), optional
        Other encoders' embeddings of the latent prompts, in their order, by name.
    by : str
        The column of levels, within which length says little.

    Returns
    -------
    DataFrame
        measure, kind ("S-QUBED", "control", "outside encoder"), level, tau, low, high, pvalue, n,
        confidence, as `within_levels`.
    """
    tasks = summary.set_index("task")
    words = latents.prompt.str.lower().str.split().set_axis(latents.task)
    measures = {
        "S-QUBED": tasks.aleatoric,
        "prompt length": -tasks.prompt.str.split().map(len),
        "attributes left open": tasks[by],
        "distinct latent prompts": latents.groupby("task").prompt.nunique(),
        "distinct words": words.explode().groupby("task").nunique(),
        **word_spreads(latents, encoders or {}),
    }
    rows = []
    for name, values in measures.items():
        table = tasks.assign(**{name: values.astype(float)})
        rows += _by_level(table, name, table.true_entropy, "", by=by, confidence=confidence)
    table = pd.DataFrame(rows, columns=ASSOCIATION).drop(columns="y")
    table = table.rename(columns={"x": "measure"})
    kinds = {"S-QUBED": "S-QUBED", **dict.fromkeys(encoders or {}, "outside encoder")}
    table.insert(1, "kind", table.measure.map(kinds).fillna("control"))
    return table


def dose(
    table: pd.DataFrame,
    *,
    mistake: str = "confident_mistake",
    confidence: float = 0.95,
    cluster: str = "subject",
) -> pd.DataFrame:
    """Return the mean epistemic uncertainty by the number of clips of its subject in training.

    Parameters
    ----------
    table : DataFrame
        A row a task: clips, epistemic, the column `cluster`, and `mistake` (0 to 1, the share of
        confident mistakes) where that is known.

    Returns
    -------
    DataFrame
        A row a number of clips, ascending: clips, subjects, tasks; epistemic, low, high (a band
        from resampled subjects, missing for a single one); with mistakes also mistakes,
        mistakes_low, mistakes_high; tau and pvalue (of epistemic and clips over all tasks, clips
        dealt to whole subjects; repeated); confidence.
    """
    lost = {"clips", "epistemic", cluster} - set(table)
    if lost or table.clips.nunique() < 2:
        raise ValueError(
            f"the table lacks {sorted(lost)} or has one number of clips; expected a row a task "
            f"with clips, epistemic and {cluster}, of at least two numbers of clips"
        )
    x, clips = (table[name].to_numpy(dtype=float) for name in ("epistemic", "clips"))
    rng = np.random.default_rng(seed_of("dose"))
    pvalue = level_pvalue(x, clips, rng, clusters=clusters_of(table, cluster))
    rows = []
    for count, group in table.groupby("clips"):
        row = {"clips": count, "subjects": group[cluster].nunique(), "tasks": len(group)}
        for column, name in (("epistemic", ""), (mistake, "mistakes_")):
            if column in group:
                mean, half = _mean_by(group[column], group[cluster], rng, confidence)
                row[column] = mean
                row[f"{name}low"], row[f"{name}high"] = mean - half, mean + half
                if column == mistake:
                    row[f"{name}low"] = max(mean - half, 0.0)
        rows.append(row)
    table = pd.DataFrame(rows).rename(columns={mistake: "mistakes"})
    return table.assign(tau=kendalltau(x, clips).statistic, pvalue=pvalue, confidence=confidence)


def _mean_by(
    values: pd.Series, clusters: pd.Series, rng: np.random.Generator, confidence: float
) -> tuple[float, float]:
    """Return the mean and half its interval: Student's t on the spread over resampled clusters.

    Clusters without any spread, as where nothing was counted, tell no interval.
    """
    x, k = values.to_numpy(dtype=float), clusters.nunique()
    counts = task_counts(x.size, N_RESAMPLES, rng, clusters.to_numpy())
    spread = np.sqrt(k / max(k - 1, 1)) * np.std(counts @ x / counts.sum(axis=1)) or np.nan
    return float(x.mean()), float(student_t.ppf((1 + confidence) / 2, max(k - 1, 1)) * spread)


def truths_of(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each task's true entropy and coverage, by name; a higher coverage was seen less.

    Coverage is minus the number of clips where that is known, else 0 common, 1 rare, 2 never.
    """
    levels = -table.clips if "clips" in table else table.coverage.map(COVERAGES.index)
    return {"true entropy": table.true_entropy, "coverage": levels}


def truth_findings(summary: pd.DataFrame, taus: pd.DataFrame) -> pd.DataFrame:
    """Judge the estimates against the truths, from `truth_taus`."""
    rows = []
    for row in taus.dropna(subset="bar").itertuples():
        name = f"Kendall's tau of {row.label}"
        if row.kind == "leakage":
            bar, found = f"within ±{row.bar}", (row.tau, row.equivalence_pvalue)
            rows.append(_finding(f"{name} (leakage)", found, bar, row.verdict))
        else:
            good = row.tau >= row.bar
            rows.append(_finding(name, (row.tau, row.pvalue), f"at least {row.bar}", good))
    area, pvalue = separation(summary)
    bar, good = f"at least {BARS['auroc_at_least']}", area >= BARS["auroc_at_least"]
    return pd.DataFrame([*rows, _finding(SEPARATION, (area, pvalue), bar, good)])


def separation(summary: pd.DataFrame, cluster: str = "subject") -> Auroc:
    """Return how well epistemic uncertainty tells never-seen subjects from common ones.

    The p-value deals the two levels to whole subjects.
    """
    ends = summary[summary.coverage.isin(["common", "never"])]
    never = (ends.coverage == "never").to_numpy(dtype=float)
    x = ends.epistemic.to_numpy(dtype=float)
    area = auroc(x[never == 0], x[never == 1]).auroc
    rng = np.random.default_rng(seed_of("truth", "separation"))
    return Auroc(area, level_pvalue(x, never, rng, clusters=clusters_of(ends, cluster)))


def separation_within(
    summary: pd.DataFrame,
    *,
    by: str = "left_out",
    confidence: float = 0.95,
    cluster: str = "subject",
) -> pd.DataFrame:
    """Return how well epistemic uncertainty tells never-seen subjects from common ones, by level.

    Returns
    -------
    DataFrame
        level (that of `by`; "pooled": of pairs of one level alone; "all": of all pairs), auroc,
        low, high (resampled by cluster), pvalue (the two coverages dealt to whole clusters), n,
        confidence. A level without one of the two has no row and is not pooled.
    """
    ends = summary[summary.coverage.isin(["common", "never"])]
    rows = []
    for level, group in _levels(ends, by, ["coverage"]):
        clusters, never = clusters_of(group, cluster), (group.coverage == "never").to_numpy()
        if min(never.sum(), (~never).sum()) < 1:
            continue
        rng = np.random.default_rng(seed_of("truth", "separation", level))
        x, levels = group.epistemic.to_numpy(dtype=float), group[by].to_numpy(dtype=float)
        counts = task_counts(x.size, N_RESAMPLES, rng, clusters)
        counts = np.vstack([np.ones(x.size), counts])  # the estimate stands before its resamples
        areas = resampled_areas(x, group.coverage, counts, levels if level == "pooled" else None)
        spread = areas[0] + widening(clusters) * (areas[1:] - areas[0])
        low, high = np.clip(bootstrap_interval(spread, confidence), 0, 1)
        dealt = {"clusters": clusters, "within": levels if level == "pooled" else None}
        pvalue = level_pvalue(x, never.astype(float), rng, **dealt)
        row = {"level": level, "auroc": areas[0], "low": low, "high": high, "pvalue": pvalue}
        rows.append(row | {"n": x.size, "confidence": confidence})
    return pd.DataFrame(rows)


def truth_positions(summary: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """Return `examples.positions` without its marks, titled with the separation."""
    area, pvalue = separation(summary)
    by = " by subject" if "subject" in summary else ""
    title = f"{SEPARATION}\n{area:.2f}, p = {pvalue:.2g}{by}".replace("e-", "e−")
    return positions.assign(label="", title=title)


def _finding(
    name: str, found: tuple[float, float], bar: str, verdict: bool | str
) -> dict[str, object]:
    if not isinstance(verdict, str):
        verdict = HOLDS if verdict else DOES_NOT
    return {"finding": name, "value": found[0], "pvalue": found[1], "bar": bar, "verdict": verdict}


OWN = {"aleatoric": "true entropy", "epistemic": "coverage"}
"""Component -> the truth that it should follow; the other's is not to leak into it."""


def against_truth(
    rows: Rows,
    truth: pd.DataFrame,
    *,
    confidence: float = 0.95,
    n_resamples: int | None = None,
    cluster: str = "subject",
) -> tuple[pd.DataFrame, pd.DataFrame]:
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
        As `Archive.truth`: task, true_entropy, coverage.
    confidence : float
        Of the bootstrap intervals.
    n_resamples : int, optional
        By default as `leaderboard.resamples_for`.
    cluster : str
        The truth's column of what is resampled as a whole; tasks where it has none.

    Returns
    -------
    taus : DataFrame
        estimator, component, truth, kind ("signal" or "leakage"), tau, low, high, pvalue, n,
        confidence.
    scores : DataFrame
        A row for each estimator that has both terms: estimator, signal, leakage (the two means),
        score (D, from -2 to 1; higher = better), low, high, and the columns of
        `leaderboard.paired` (positive = better than S-QUBED); confidence. With fewer than 8
        tasks intervals and differences are missing, as in `leaderboard.compare`.

    Raises
    ------
    ValueError
        If the truth lacks a column or a task, or is the same for all tasks.
    """
    truths = _truths_of(rows, truth)
    clusters = clusters_of(truth.set_index("task").loc[rows.accuracy.index], cluster)
    rng = np.random.default_rng(seed_of("leaderboard", "truth"))
    counts = task_counts(rows.accuracy.size, n_resamples or resamples_for(rows), rng, clusters)
    taus, resampled = [], {}
    for x, label in zip(rows.scores, rows.labels.itertuples(), strict=True):
        for name, known in truths.items() if label.component in OWN else ():
            tau, pvalue = kendalltau(x, known)
            plain = weighted_taus(x[None], known, counts)
            drawn = drawn_in(plain, x[None], known, clusters)
            low, high = bootstrap_interval(drawn[0], confidence)
            # The estimate stands before its resamples, so that one line scores them all.
            spread = tau + widening(clusters) * (plain[0] - tau)
            resampled[label.estimator, label.component, name] = np.append(tau, spread)
            row = {"estimator": label.estimator, "component": label.component, "truth": name}
            row["kind"] = "signal" if OWN[label.component] == name else "leakage"
            row.update(tau=tau, low=low, high=high, pvalue=pvalue, n=known.size)
            taus.append(row)
    tables = (
        pd.DataFrame(taus).assign(confidence=confidence, baseline=BASELINE),
        _scores(resampled, confidence),
    )
    if rows.accuracy.size < FEWEST_TASKS:
        for table in tables:
            table[table.columns.intersection(INTERVALS)] = np.nan
    return tables


def _scores(resampled: dict[tuple[str, str, str], np.ndarray], confidence: float) -> pd.DataFrame:
    """Return a row for each estimator with both terms, from its taus: the estimate, resamples."""
    rows, scores = [], []
    for estimator in dict.fromkeys(name for name, _, _ in resampled):
        terms = {term for name, term, _ in resampled if name == estimator}
        if terms == set(OWN):
            s_A = resampled[estimator, "aleatoric", "true entropy"]
            s_E = resampled[estimator, "epistemic", "coverage"]
            l_A = resampled[estimator, "aleatoric", "coverage"]
            l_E = resampled[estimator, "epistemic", "true entropy"]
            signal, leakage = (s_A + s_E) / 2, (abs(l_A) + abs(l_E)) / 2
            score = signal - leakage
            low, high = bootstrap_interval(score[1:], confidence)
            rows.append((estimator, signal[0], leakage[0], score[0], low, high))
            scores.append(score)
    columns = ["estimator", "signal", "leakage", "score", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    if not rows:
        return table
    values, drawn = table.score.to_numpy(), np.array(scores)[:, 1:]
    alike = first_alike(np.nan_to_num(drawn))
    bases = counterparts(table[["estimator"]].assign(component="disentanglement"))
    compared = paired(bases, values, drawn, alike, confidence=confidence, name="difference")
    return table.join(compared).assign(confidence=confidence)


def _truths_of(rows: Rows, truth: pd.DataFrame) -> dict[str, np.ndarray]:
    missing = {"task", "true_entropy", "coverage"} - set(truth)
    lost = set(rows.accuracy.index) - set(truth.get("task", []))
    if missing or lost:
        raise ValueError(
            f"the truth lacks the columns {sorted(missing)} and the tasks {sorted(lost)[:3]}; "
            "expected task, true_entropy and coverage of every task"
        )
    known = truth.set_index("task").loc[rows.accuracy.index]
    truths = {name: values.to_numpy() for name, values in truths_of(known).items()}
    for name, values in truths.items():
        if values.min() == values.max():
            raise ValueError(f"{name} is the same for all {len(values)} tasks; it ranks nothing")
    return truths
