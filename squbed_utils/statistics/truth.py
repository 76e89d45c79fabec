"""What should hold where the truth is known, and whether it does.

Findings are tables of finding, value, pvalue, bar and verdict ("holds" or "does not hold").
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from squbed_utils.archive.layout import COVERAGES
from squbed_utils.files import seed_of
from squbed_utils.statistics.calibration import Auroc, auroc, bootstrap_interval, kendall
from squbed_utils.statistics.leaderboard import INTERVALS, Rows, differences, resamples_for
from squbed_utils.statistics.resampling import FEWEST_TASKS, drawn_in, task_counts, weighted_taus

TOTAL_AT_MOST, TOTAL_P = -0.35, 1e-4
PART_P = 0.05
ALEATORIC_AT_LEAST = 0.65
AUROC_AT_LEAST = 0.9
LEAKAGE_WITHIN = 0.15

POINT_COLUMNS = ("row", "panel", "task", "x", "y", "x_label", "y_label", "coverage", "left_out")

SEPARATION = "AUROC of epistemic, never seen against common subjects"
HOLDS, DOES_NOT = "holds", "does not hold"


def calibration_findings(statistics: pd.DataFrame) -> pd.DataFrame:
    """Judge total uncertainty against accuracy (Figure 4).

    `statistics` are the rows of this run, as `tables.statistics_of`.
    """
    bar = f"tau at most {TOTAL_AT_MOST}, p below {TOTAL_P:g}"
    return pd.DataFrame(
        _finding(
            f"total uncertainty against {row.panel}",
            (row.tau, row.pvalue),
            bar,
            row.tau <= TOTAL_AT_MOST and row.pvalue < TOTAL_P,
        )
        for row in statistics.itertuples()
    )


def part_findings(statistics: pd.DataFrame) -> pd.DataFrame:
    """Judge each part where the other is least (Figure 5), as `calibration_findings` does."""
    bar = f"tau negative, p below {PART_P}"
    return pd.DataFrame(
        _finding(row.panel, (row.tau, row.pvalue), bar, row.tau < 0 and row.pvalue < PART_P)
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


def truth_taus(summary: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return tau of each estimate against each truth; ValueError if the summary has no truth.

    Returns
    -------
    DataFrame
        estimate, truth, label, tau, pvalue, n, low, high (bootstrap interval over tasks),
        confidence, kind ("signal" where the two should go together, else "leakage"), bar (the
        least signal, the most leakage; missing where none is stated).
    """
    if "true_entropy" not in summary:
        raise ValueError("the summary has no true_entropy; use an archive with a truth.parquet")
    truths = truths_of(summary)
    asked = (
        ("aleatoric", "true entropy", "signal", ALEATORIC_AT_LEAST),
        ("epistemic", "coverage", "signal", np.nan),
        ("aleatoric", "coverage", "leakage", LEAKAGE_WITHIN),
        ("epistemic", "true entropy", "leakage", LEAKAGE_WITHIN),
    )
    rows = []
    for estimate, truth, kind, bar in asked:
        rng = np.random.default_rng(seed_of("truth", estimate, truth))
        k = kendall(summary[estimate], truths[truth], rng=rng, confidence=confidence)
        row = {"estimate": estimate, "truth": truth, "label": f"{estimate} and {truth}"}
        row |= {"tau": k.tau, "pvalue": k.pvalue, "n": k.n, "confidence": confidence}
        row |= dict(zip(("low", "high"), k.interval, strict=True)) | {"kind": kind, "bar": bar}
        rows.append(row)
    return pd.DataFrame(rows)


def truths_of(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each task's true entropy and coverage (0 common, 1 rare, 2 never), by name."""
    coverage = table.coverage.map(COVERAGES.index)
    return {"true entropy": table.true_entropy, "coverage": coverage}


def truth_findings(summary: pd.DataFrame, taus: pd.DataFrame) -> pd.DataFrame:
    """Judge the estimates against the truths, from `truth_taus`."""
    rows = []
    for row in taus.dropna(subset="bar").itertuples():
        signal = row.kind == "signal"
        name = f"Kendall's tau of {row.label}" + ("" if signal else " (leakage)")
        bar = f"at least {row.bar}" if signal else f"within ±{row.bar}"
        good = row.tau >= row.bar if signal else abs(row.tau) <= row.bar
        rows.append(_finding(name, (row.tau, row.pvalue), bar, good))
    found = separation(summary)
    good = found.auroc >= AUROC_AT_LEAST
    rows.append(_finding(SEPARATION, found, f"at least {AUROC_AT_LEAST}", good))
    return pd.DataFrame(rows)


def separation(summary: pd.DataFrame) -> Auroc:
    """Return how well epistemic uncertainty tells never-seen subjects from common ones."""
    levels = ("common", "never")
    return auroc(*(summary.epistemic[summary.coverage == level] for level in levels))


def truth_positions(summary: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """Return `examples.positions` without its marks, titled with the separation."""
    found = separation(summary)
    title = f"{SEPARATION}\n{found.auroc:.2f}, p = {found.pvalue:.2g}".replace("e-", "e−")
    return positions.assign(label="", title=title)


def _finding(name: str, found: tuple[float, float], bar: str, good: bool) -> dict[str, object]:
    verdict = HOLDS if good else DOES_NOT
    return {"finding": name, "value": found[0], "pvalue": found[1], "bar": bar, "verdict": verdict}


OWN = {"aleatoric": "true entropy", "epistemic": "coverage"}
"""Component -> the truth that it should follow; the other's is not to leak into it."""


def against_truth(
    rows: Rows, truth: pd.DataFrame, *, confidence: float = 0.95, n_resamples: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold every estimator's aleatoric and epistemic term against both truths.

    The disentanglement score of an estimator is the mean of its two signals less the mean of its
    two absolute leakages, D = (s_A + s_E) / 2 - (|l_A| + |l_E|) / 2, with s_A = tau(aleatoric,
    true entropy), s_E = tau(epistemic, coverage), l_A = tau(aleatoric, coverage) and l_E =
    tau(epistemic, true entropy). Coverage is ordered common, rare, never. A resample's absolute
    leakage is never negative, so with no true leakage the interval of D lies a little low.

    Parameters
    ----------
    rows : leaderboard.Rows
    truth : DataFrame
        As `Archive.truth`: task, true_entropy, coverage.
    confidence : float
        Of the bootstrap intervals over tasks.
    n_resamples : int, optional
        By default as `leaderboard.resamples_for`.

    Returns
    -------
    taus : DataFrame
        estimator, component, truth, kind ("signal" or "leakage"), tau, low, high, pvalue, n,
        confidence.
    scores : DataFrame
        A row for each estimator that has both terms: estimator, signal, leakage (the two means),
        score (D, from -2 to 1; higher = better), low, high, and the columns of
        `leaderboard.differences` (positive = better than S-QUBED); confidence. With fewer than 8
        tasks intervals and differences are missing, as in `leaderboard.compare`.

    Raises
    ------
    ValueError
        If the truth lacks a column or a task, or is the same for all tasks.
    """
    truths = _truths_of(rows, truth)
    counts = _counts(rows.accuracy.size, n_resamples or resamples_for(rows))
    taus, replicates = [], {}
    for row, label in enumerate(rows.labels.itertuples()):
        for name, known in truths.items() if label.component in OWN else ():
            score = rows.scores[row, None]
            plain = weighted_taus(score, known, counts)
            replicates[label.estimator, label.component, name] = found = plain[0]
            low, high = bootstrap_interval(drawn_in(plain, score, known)[0, 1:], confidence)
            taus.append(
                {"estimator": label.estimator, "component": label.component, "truth": name}
                | {"kind": "signal" if OWN[label.component] == name else "leakage"}
                | {"tau": found[0], "low": low, "high": high}
                | {"pvalue": kendalltau(rows.scores[row], known).pvalue}
                | {"n": known.size, "confidence": confidence}
            )
    tables = pd.DataFrame(taus), _scores(replicates, confidence)
    if rows.accuracy.size < FEWEST_TASKS:
        for table in tables:
            table[table.columns.intersection(INTERVALS)] = np.nan
    return tables


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


def _counts(n: int, n_resamples: int) -> np.ndarray:
    """Return counts (1 + n_resamples, n): every task once, for the estimate, then the resamples."""
    rng = np.random.default_rng(seed_of("leaderboard", "truth"))
    return np.vstack([np.ones((1, n), np.float32), task_counts(n, n_resamples, rng)])


def _scores(replicates: dict[tuple[str, str, str], np.ndarray], confidence: float) -> pd.DataFrame:
    aleatoric = [name for name, component, _ in replicates if component == "aleatoric"]
    both = [n for n in dict.fromkeys(aleatoric) if (n, "epistemic", "coverage") in replicates]
    signals, leakages = (
        np.array([_mean(replicates, name, leaking) for name in both]) for leaking in (False, True)
    )
    columns = ["estimator", "signal", "leakage", "score", "low", "high"]
    if not both:
        return pd.DataFrame(columns=columns)
    found = signals - leakages
    ends = np.array([bootstrap_interval(row[1:], confidence) for row in found])
    values = (both, signals[:, 0], leakages[:, 0], found[:, 0], *ends.T)
    table = pd.DataFrame(dict(zip(columns, values, strict=True)))
    labels = table[["estimator"]].assign(component="disentanglement")
    compared = differences(labels, found[:, 0], found[:, 1:], confidence=confidence)
    return table.join(compared).assign(confidence=confidence)


def _mean(replicates: dict, estimator: str, leaking: bool) -> np.ndarray:
    """Return the mean signal or the mean absolute leakage, of the estimate and each resample."""
    own, other = ("true entropy", "coverage")[:: -1 if leaking else 1]
    a, e = replicates[estimator, "aleatoric", own], replicates[estimator, "epistemic", other]
    return (abs(a) + abs(e)) / 2 if leaking else (a + e) / 2
