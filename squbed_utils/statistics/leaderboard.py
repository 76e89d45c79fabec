"""Every estimator and component on the same tasks: how well each ranks them by accuracy.

All rows share one set of bootstrap resamples of tasks and one set of permutations, so that
differences are paired and no row depends on which others there are, but for Holm's correction.

The null band is the middle share of Kendall's tau where other tasks' references are dealt to the
tasks: the tau that any reference would give, as videos that scatter lie, on average, further from
all of them. It need not lie around zero. Without the similarity of every task's videos to every
reference, the accuracies are dealt instead, and the band shows chance alone.
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from squbed_utils.files import seed_of
from squbed_utils.statistics.leaderboard_rows import Rows
from squbed_utils.statistics.ranking import (
    aurc,
    auroc_at,
    bootstrap_interval,
    bootstrap_pvalue,
    holm,
    prediction_rejection_ratio,
    rejection_curve,
)
from squbed_utils.statistics.resampling import (
    FEWEST_TASKS,
    drawn_in,
    permuted_taus,
    rereferenced_taus,
    task_counts,
    weighted_taus,
)

BASELINE = "squbed"
"""What every other estimator is compared with, component by component."""

N_RESAMPLES, N_PERMUTATIONS = 2000, 1000

RESAMPLES_A_ROW = 100
"""Resamples for each row, at least: a bootstrap p-value cannot be less than 2 / (resamples + 1),
which Holm's correction multiplies by the number of rows."""

INTERVALS = ["low", "high", "difference_low", "difference_high", "difference_pvalue"]
INTERVALS += ["difference_holm"]


def compare(
    rows: Rows,
    *,
    similarity: np.ndarray | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
    n_resamples: int | None = None,
    n_permutations: int = N_PERMUTATIONS,
) -> pd.DataFrame:
    """Return the leaderboard: how well each row ranks the tasks by accuracy.

    Parameters
    ----------
    rows : Rows
    similarity : ndarray, shape (n, n), optional
        As `summary.reference_similarity`, where the accuracy is CLIP to the reference: the null
        band then deals references to tasks, and else accuracies.
    threshold : float, optional
        Of accuracy, for the AUROC; by default the median over tasks.
    confidence : float
        Of intervals and null bands, between 0 and 1.
    n_resamples : int, optional
        Of tasks, for the intervals; by default as `resamples_for`.
    n_permutations : int
        Of references or accuracies, for the null bands.

    Returns
    -------
    DataFrame
        estimator, component; tau (negative = calibrated), low, high (bootstrap interval over
        tasks), pvalue, holm (corrected over all rows), null_low, null_high (the null band),
        permuted ("references" or "accuracies", for the null band);
        difference (tau less that of S-QUBED's same component; negative = better than S-QUBED),
        difference_low, difference_high, difference_pvalue, difference_holm (corrected over all
        differences), missing where there is no other to compare with; auroc, prr
        (prediction-rejection ratio; higher = better), aurc (lower = better); accuracy (the
        metric), threshold, n, confidence. With fewer than 8 tasks intervals, and what is said of
        differences but their size, are missing: so few say nothing of others.

    Raises
    ------
    ValueError
        If an option is out of range, or no task is below the threshold or none above it.
    """
    n_resamples = resamples_for(rows) if n_resamples is None else n_resamples
    _refuse_options(confidence, n_resamples, n_permutations)
    y = rows.accuracy.to_numpy()
    threshold = _middle(y) if threshold is None else threshold
    tests = [kendalltau(x, y) for x in rows.scores]
    tau = np.array([test.statistic for test in tests])
    pvalue = np.array([test.pvalue for test in tests])
    plain = weighted_taus(rows.scores, y, task_counts(y.size, n_resamples, _rng("resamples")))
    taus = drawn_in(plain, rows.scores, y)
    dealt = permuted_taus if similarity is None else rereferenced_taus
    what = y if similarity is None else similarity
    null = dealt(rows.scores, what, n_permutations, _rng("permutations"))
    table = rows.labels.assign(tau=tau, **_intervals(taus, confidence), pvalue=pvalue)
    table = table.assign(holm=holm(pvalue), **_intervals(null, confidence, "null_"))
    table["permuted"] = "accuracies" if similarity is None else "references"
    table = table.join(differences(rows.labels, tau, plain, confidence=confidence))
    table = table.join(pd.DataFrame([_sorting(x, y, threshold) for x in rows.scores]))
    if y.size < FEWEST_TASKS:
        table[INTERVALS] = np.nan
    shared = {"accuracy": rows.accuracy.name, "threshold": threshold, "n": y.size}
    return table.assign(**shared, confidence=confidence)


def resamples_for(rows: Rows) -> int:
    """Return how many resamples leave Holm's correction over all rows room below 5 %."""
    return max(N_RESAMPLES, RESAMPLES_A_ROW * len(rows.scores))


def differences(
    labels: pd.DataFrame, values: np.ndarray, replicates: np.ndarray, *, confidence: float
) -> pd.DataFrame:
    """Compare each row with S-QUBED's same component, on the same resamples.

    Parameters
    ----------
    labels : DataFrame
        estimator, component; k rows.
    values : ndarray, shape (k,)
        What is compared.
    replicates : ndarray, shape (k, n_resamples)
        The same in each resample, not drawn in.
    confidence : float

    Returns
    -------
    DataFrame
        k rows: difference, difference_low, difference_high, difference_pvalue, difference_holm;
        missing where there is nothing to compare with.
    """
    columns = ["difference", "difference_low", "difference_high", "difference_pvalue"]
    found = pd.DataFrame(np.nan, index=range(len(values)), columns=columns)
    baselines = labels.index[labels.estimator == BASELINE]
    base_of = {labels.component[row]: row for row in baselines}
    for row in found.index.difference(baselines):
        base = base_of.get(labels.component[row])
        if base is not None:
            paired = replicates[row] - replicates[base]
            interval = bootstrap_interval(paired, confidence)
            found.loc[row] = values[row] - values[base], *interval, bootstrap_pvalue(paired)
    compared = found.difference_pvalue.notna()
    found["difference_holm"] = np.nan
    if compared.any():
        found.loc[compared, "difference_holm"] = holm(found.difference_pvalue[compared])
    return found


def rejection_curves(rows: Rows) -> pd.DataFrame:
    """Return the mean accuracy of the tasks kept as the least certain are rejected.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    DataFrame
        estimator, component, rejected (share of tasks), kept_accuracy, prr, accuracy (the
        metric); for each component also the rows "oracle" (rejects the least accurate first) and
        "chance".
    """
    y = rows.accuracy.to_numpy()
    found = [
        (label.estimator, label.component, prediction_rejection_ratio(x, y), rejection_curve(x, y))
        for label, x in zip(rows.labels.itertuples(), rows.scores, strict=True)
    ]
    for component in dict.fromkeys(rows.labels.component):
        found.append(("oracle", component, 1.0, rejection_curve(-y, y)))
        found.append(("chance", component, 0.0, np.full(y.size, y.mean())))
    rejected = 1 - np.arange(1, y.size + 1) / y.size
    curves = [
        pd.DataFrame({"rejected": rejected, "kept_accuracy": curve}).assign(
            estimator=estimator, component=component, prr=prr
        )
        for estimator, component, prr, curve in found
    ]
    table = pd.concat(curves, ignore_index=True).assign(accuracy=rows.accuracy.name)
    return table[["estimator", "component", "rejected", "kept_accuracy", "prr", "accuracy"]]


def _middle(y: np.ndarray) -> float:
    """Return the median; where no value is below it, the least that has one below it."""
    median = float(np.median(y))
    return median if y.min() < median else float(y[y > median].min(initial=np.inf))


def _sorting(x: np.ndarray, y: np.ndarray, threshold: float) -> dict[str, float]:
    return {
        "auroc": auroc_at(x, y, threshold=threshold).auroc,
        "prr": prediction_rejection_ratio(x, y),
        "aurc": aurc(x, y),
    }


def _intervals(
    replicates: np.ndarray, confidence: float, prefix: str = ""
) -> dict[str, list[float]]:
    found = [bootstrap_interval(row, confidence) for row in replicates]
    low, high = (list(ends) for ends in zip(*found, strict=True))
    return {f"{prefix}low": low, f"{prefix}high": high}


def _rng(purpose: str) -> np.random.Generator:
    return np.random.default_rng(seed_of("leaderboard", purpose))


def _refuse_options(confidence: float, n_resamples: int, n_permutations: int) -> None:
    if not 0 < confidence < 1 or n_resamples < 1 or n_permutations < 1:
        raise ValueError(
            f"confidence is {confidence}, n_resamples {n_resamples} and n_permutations "
            f"{n_permutations}; expected confidence between 0 and 1, the others at least 1"
        )
