"""How well an uncertainty ranks tasks by accuracy.

Both are arrays of float (n,), a value a task, n >= 3: uncertainty higher = less certain, accuracy
higher = better. Good calibration is a negative and significant Kendall's tau. Every function
of both raises ValueError if lengths differ, n < 3, a value is not finite or either is constant.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from squbed_utils.estimators.checks import finite_vector, require, task_pair
from squbed_utils.statistics.resampling import (
    FEWEST_TASKS,
    N_RESAMPLES,
    resampled_taus,
    task_counts,
    weighted_taus,
)

SHOWN, NOT_SHOWN, REFUTED = "shown", "not shown", "refuted"
"""What a test says of a claim."""

CONFIDENCE = 0.95
"""Of intervals and bands."""


class Difference(NamedTuple):
    """A difference of two taus, its bootstrap interval and two-sided p-value."""

    value: float
    low: float
    high: float
    pvalue: float


class Kendall(NamedTuple):
    """Kendall's tau-b (negative = calibrated) with the two-sided p-value of tau = 0, over n tasks.

    `interval` is the bootstrap's at `CONFIDENCE`, NaN for fewer than `FEWEST_TASKS` tasks and where
    no generator was given; `ties` the number of pairs of tasks that are equal in uncertainty, and
    of those equal in accuracy.
    """

    tau: float
    pvalue: float
    n: int
    interval: tuple[float, float]
    ties: int
    pearson: float
    spearman: float


def kendall(
    uncertainty: ArrayLike,
    accuracy: ArrayLike,
    *,
    rng: np.random.Generator | None = None,
    n_bootstrap: int = N_RESAMPLES,
) -> Kendall:
    """Return Kendall's tau-b with its p-value and a bootstrap interval.

    tau_b = (C - D) / sqrt((P - T_x)(P - T_y)) with C concordant, D discordant, P all pairs and T
    tied pairs (Kendall 1945). The p-value is scipy's `method="auto"`: exact without ties up to
    33 tasks, asymptotic otherwise. The interval is the percentile interval over resampled tasks
    (`resampling.resampled_taus`); it says how tau would vary with the tasks, collapses at
    |tau| = 1, and says nothing of fewer than `FEWEST_TASKS` tasks, which have none.

    Parameters
    ----------
    uncertainty, accuracy : array_like of float, shape (n,)
        One value a task, n >= 3; higher = less certain, higher = better.
    rng : numpy.random.Generator, optional
        For the interval; without it there is none.
    n_bootstrap : int
        Resamples, at least 1.

    Raises
    ------
    ValueError
        As the module says; values are named by their index.

    Examples
    --------
    >>> result = kendall([1, 2, 3, 4], [9, 7, 5, 1])
    >>> result.tau, round(result.pvalue, 3)
    (-1.0, 0.083)
    """
    x, y = task_pair(uncertainty, accuracy)
    tau, pvalue = stats.kendalltau(x, y)
    pearson, spearman = stats.pearsonr(x, y).statistic, stats.spearmanr(x, y).statistic
    if not np.isfinite(pearson):
        raise ValueError(
            f"Pearson's correlation is {pearson}: the values span {np.ptp(x):g} and {np.ptp(y):g}; "
            "rescale them or replace them by ranks"
        )
    interval = (np.nan, np.nan)
    if rng is not None and x.size >= FEWEST_TASKS:
        (taus,) = resampled_taus(x[None], y, task_counts(x.size, n_bootstrap, rng))
        interval = bootstrap_interval(taus)
    counts = np.concatenate([np.unique(v, return_counts=True)[1] for v in (x, y)])
    ties = int((counts * (counts - 1) // 2).sum())
    return Kendall(
        float(tau), float(pvalue), x.size, interval, ties, float(pearson), float(spearman)
    )


def tau_difference(
    first: ArrayLike, second: ArrayLike, accuracy: ArrayLike, *, rng: np.random.Generator
) -> Difference:
    """Return tau(first, accuracy) - tau(second, accuracy), paired: both on the same resamples.

    Negative: the first uncertainty is the better calibrated. All are float (n,).

    >>> y, rng = np.arange(9.0), np.random.default_rng(0)
    >>> tau_difference(-y, y, y, rng=rng)[:3]
    (-2.0, -2.0, -2.0)
    """
    scores = np.stack([task_pair(x, accuracy)[0] for x in (first, second)])
    y = np.asarray(accuracy, dtype=float)
    replicates = np.subtract(*weighted_taus(scores, y, task_counts(y.size, N_RESAMPLES, rng)))
    value = np.subtract(*(stats.kendalltau(x, y).statistic for x in scores))
    ends = bootstrap_interval(replicates)
    return Difference(float(value), *ends, bootstrap_pvalue(replicates))


def rejection_curve(uncertainty: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Return the mean accuracy of the k most certain tasks, for every k = 1..n.

    Tasks of equal uncertainty are taken in random order, of which this is the expectation.

    >>> rejection_curve([1, 2, 3], [0.9, 0.5, 0.1]).round(3).tolist()
    [0.9, 0.7, 0.5]
    """
    x, y = task_pair(uncertainty, accuracy)
    _, group, sizes = np.unique(x, return_inverse=True, return_counts=True)
    expected = np.bincount(group, y) / sizes
    return np.cumsum(np.repeat(expected, sizes)) / np.arange(1, y.size + 1)


def aurc(uncertainty: ArrayLike, accuracy: ArrayLike) -> float:
    """Return the area under the risk-coverage curve (Geifman and El-Yaniv 2017).

    The risk of a task is the shortfall of its accuracy from the best task's; the area is the mean
    over k of the mean risk of the k most certain tasks. Lower is better, in the accuracy's unit.

    >>> round(aurc([1, 2, 3], [0.9, 0.5, 0.1]), 3)  # mean of 0, 0.2, 0.4
    0.2
    """
    return float(np.max(accuracy) - rejection_curve(uncertainty, accuracy).mean())


def prediction_rejection_ratio(uncertainty: ArrayLike, accuracy: ArrayLike) -> float:
    """Return the gain of rejecting by uncertainty as a share of the gain of an oracle.

    (area - random) / (oracle - random), areas under the rejection curve; random is the mean
    accuracy, the oracle rejects the least accurate first (Malinin et al. 2017). 1: as the oracle,
    0: as chance; where accuracies are spread evenly it is at least -1.

    >>> round(prediction_rejection_ratio([1, 2, 3], [0.9, 0.5, 0.1]), 9)
    1.0
    """
    accuracy = np.asarray(accuracy, dtype=float)
    area = rejection_curve(uncertainty, accuracy).mean()
    random, oracle = accuracy.mean(), rejection_curve(-accuracy, accuracy).mean()
    return float((area - random) / (oracle - random))


def auroc(uncertainty: ArrayLike, accuracy: ArrayLike, *, threshold: float) -> float:
    """Return how well uncertainty tells tasks below an accuracy from those at or above it.

    The probability that a task below is less certain than one above, of equal ones a half (Hanley
    and McNeil 1982); 0.5: chance. A task must lie on either side of the threshold.

    >>> auroc([1, 2, 3], [0.9, 0.5, 0.1], threshold=0.4)
    1.0
    """
    x, y = task_pair(uncertainty, accuracy)
    below = y < threshold
    if below.all() or not below.any():
        raise ValueError(
            f"{below.sum()} of {y.size} tasks have an accuracy below the threshold {threshold:g}; "
            f"choose one above {y.min():g}, to {y.max():g}"
        )
    return float((1 + np.sign(x[below][:, None] - x[~below]).mean()) / 2)


def null_spread(n: int) -> float:
    """Return the standard deviation of tau of n tasks if the true tau is 0 (Kendall 1938)."""
    return float(np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))


def holm(pvalues: ArrayLike) -> np.ndarray:
    """Return p-values (k,) corrected for being many (Holm 1979), in the order given.

    A p-value is multiplied by the number of those that are not smaller, and is no less than any
    smaller one's, and at most 1. Rejecting those below alpha errs at all with probability alpha at
    most, however the tests depend on one another.

    >>> holm([0.04, 0.01, 0.03]).round(3).tolist()
    [0.06, 0.03, 0.06]
    """
    p = finite_vector(pvalues, "pvalues")
    require((p >= 0) & (p <= 1), p, "pvalue", "0 to 1")
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(p.size, 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return corrected


def bootstrap_interval(
    replicates: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the percentile interval of bootstrap replicates, without those that are NaN.

    >>> bootstrap_interval(np.array([0.0, 1.0, np.nan, 2.0]), 0.5)
    (0.5, 1.5)
    """
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(_finite(replicates), ends)
    return float(low), float(high)


def bootstrap_pvalue(replicates: np.ndarray) -> float:
    """Return the two-sided p-value of zero: twice the share of replicates beyond it, without NaN.

    It is below alpha where the percentile interval at 1 - alpha leaves zero out, and never less
    than 2 / (n_resamples + 1).

    >>> bootstrap_pvalue(np.arange(1.0, 100.0))
    0.02
    """
    replicates = _finite(replicates)
    beyond = min((replicates <= 0).sum(), (replicates >= 0).sum())
    return float(min(1.0, 2 * (1 + beyond) / (1 + replicates.size)))


def equivalence(replicates: np.ndarray, bar: float, *, alpha: float = 0.05) -> tuple[float, str]:
    """Test by two one-sided tests whether a value lies within plus and minus a bar.

    `replicates` are bootstrap replicates of the value. Returned are the p-value, the larger of the
    two shares of replicates at or beyond an end (Schuirmann 1987), and the verdict. Shown: p below
    alpha, so that the interval at 1 - 2 alpha lies within the bar. Refuted: it lies wholly beyond.
    Else it is not shown.

    >>> [equivalence(np.linspace(x, x + 0.1, 99), 0.15)[1] for x in (-0.05, 0.1, 0.2)]
    ['shown', 'not shown', 'refuted']
    """
    replicates = _finite(replicates)
    below, above = ((1 + (side <= -bar).sum()) for side in (replicates, -replicates))
    within = [1 + (replicates >= -bar).sum(), 1 + (replicates <= bar).sum()]
    shown, refuted = (value / (1 + replicates.size) for value in (max(below, above), min(within)))
    verdict = SHOWN if shown < alpha else REFUTED if refuted < alpha else NOT_SHOWN
    return float(shown), verdict


def _finite(replicates: np.ndarray) -> np.ndarray:
    finite = replicates[np.isfinite(replicates)]
    if not finite.size:
        raise ValueError(
            f"none of {replicates.size} resamples has a value; take more resamples or more tasks"
        )
    return finite
