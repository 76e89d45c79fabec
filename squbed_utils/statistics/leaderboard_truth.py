"""Every estimator against what is really uncertain, where that is known."""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from squbed_utils.files import seed_of
from squbed_utils.statistics.leaderboard import INTERVALS, differences, resamples_for
from squbed_utils.statistics.leaderboard_rows import Rows
from squbed_utils.statistics.ranking import bootstrap_interval
from squbed_utils.statistics.resampling import FEWEST_TASKS, drawn_in, task_counts, weighted_taus
from squbed_utils.statistics.truth import truths_of

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
    leakage is never negative, so where there is none the interval of D lies a little low.

    Parameters
    ----------
    rows : leaderboard_rows.Rows
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
        tasks what is said of intervals and differences is missing, as in `leaderboard.compare`.

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
    """Return every task once, which gives the estimate itself, above the resamples."""
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
