"""How well an uncertainty ranks tasks by accuracy.

Both are arrays of float (n,), a value a task, n >= 3: uncertainty higher = less certain, accuracy
higher = better. Good calibration is a negative and significant Kendall's tau. Every function
of both raises ValueError if lengths differ, n < 3, a value is not finite or either is constant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from squbed_utils.estimators.checks import finite_vector, require, require_generator, task_pair
from squbed_utils.statistics.resampling import (
    pair_signs,
    resampled_taus,
    task_counts,
    weighted_taus,
)

SHOWN, NOT_SHOWN, REFUTED = "shown", "not shown", "refuted"
"""What a test says of a claim."""

EXACT_MAX_N = 33  # scipy's own limit for the exact null distribution of tau


class Correlation(NamedTuple):
    """A correlation coefficient and its two-sided p-value."""

    value: float
    pvalue: float


class Difference(NamedTuple):
    """A difference of two taus, its bootstrap interval and two-sided p-value."""

    value: float
    low: float
    high: float
    pvalue: float


class Auroc(NamedTuple):
    """A probability of superiority and its two-sided p-value."""

    auroc: float
    pvalue: float


@dataclass(frozen=True)
class Kendall:
    """Kendall's tau-b between uncertainty and accuracy over tasks.

    Attributes
    ----------
    tau : float
        -1 to 1; negative = calibrated.
    pvalue : float
        Two-sided, of tau = 0.
    n : int
        Tasks.
    interval : tuple of float or None
        Percentile bootstrap interval of tau over tasks; None where no generator was given.
    confidence : float
        Of `interval`.
    n_ties_x, n_ties_y : int
        Tied pairs of tasks in uncertainty and in accuracy.
    pearson, spearman : Correlation
    method : str
        Null distribution of the p-value: "exact" or "asymptotic".
    n_dropped : int
        Bootstrap resamples without a tau (all tasks tied), left out of `interval`.

    """

    tau: float
    pvalue: float
    n: int
    interval: tuple[float, float] | None
    confidence: float
    n_ties_x: int
    n_ties_y: int
    pearson: Correlation
    spearman: Correlation
    method: str
    n_dropped: int

    @property
    def paper_confidence(self) -> float:
        """1 - p, which arXiv 2510.02571 quotes as the confidence level of a correlation."""
        return 1 - self.pvalue


def kendall(
    uncertainty: ArrayLike,
    accuracy: ArrayLike,
    *,
    rng: np.random.Generator | None = None,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Kendall:
    """Return Kendall's tau-b with its p-value and a bootstrap interval.

    tau_b = (C - D) / sqrt((P - T_x)(P - T_y)) with C concordant, D discordant, P all pairs and T
    tied pairs (Kendall 1945). The p-value is scipy's `method="auto"`: exact without ties up to
    33 tasks, asymptotic otherwise. The interval is the percentile interval over resampled tasks
    (`resampling.resampled_taus`); it says how tau would vary with the tasks, and collapses at
    |tau| = 1.

    Parameters
    ----------
    uncertainty, accuracy : array_like of float, shape (n,)
        One value a task, n >= 3; higher = less certain, higher = better.
    rng : numpy.random.Generator, optional
        For the interval; without it there is none.
    n_bootstrap : int
        Resamples.
    confidence : float
        Between 0 and 1, both excluded.

    Returns
    -------
    Kendall

    Raises
    ------
    ValueError
        If lengths differ, n < 3, a value is not finite (named by index), either input is
        constant, or an option is out of range.
    TypeError
        If `rng` is given and is not a Generator.

    Examples
    --------
    >>> result = kendall([1, 2, 3, 4], [9, 7, 5, 1])
    >>> result.tau, round(result.pvalue, 3)
    (-1.0, 0.083)

    """
    x, y = task_pair(uncertainty, accuracy)
    if not 0 < confidence < 1 or n_bootstrap < 1:
        raise ValueError(
            f"confidence is {confidence} and n_bootstrap {n_bootstrap}; "
            "expected confidence between 0 and 1 and n_bootstrap of at least 1"
        )
    ties_x, ties_y = _tied_pairs(x), _tied_pairs(y)
    method = _null_distribution(x, y, ties_x + ties_y)
    tau, pvalue = stats.kendalltau(x, y, method=method)
    interval, dropped = None, 0
    if rng is not None:
        (taus,) = resampled_taus(x[None], y, task_counts(x.size, n_bootstrap, rng))
        interval = bootstrap_interval(taus, confidence)
        dropped = int(np.isnan(taus).sum())
    return Kendall(
        tau=float(tau),
        pvalue=float(pvalue),
        n=x.size,
        interval=interval,
        confidence=confidence,
        n_ties_x=ties_x,
        n_ties_y=ties_y,
        pearson=_correlation(stats.pearsonr, x, y),
        spearman=_correlation(stats.spearmanr, x, y),
        method=method,
        n_dropped=dropped,
    )


def tau_difference(
    first: ArrayLike,
    second: ArrayLike,
    accuracy: ArrayLike,
    *,
    rng: np.random.Generator,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Difference:
    """Return tau(first, accuracy) - tau(second, accuracy), paired: both on the same resamples.

    Negative: the first uncertainty is the better calibrated. All are float (n,).

    >>> y, rng = np.arange(9.0), np.random.default_rng(0)
    >>> tau_difference(-y, y, y, rng=rng)[:3]
    (-2.0, -2.0, -2.0)
    """
    scores = np.stack([task_pair(x, accuracy)[0] for x in (first, second)])
    y = np.asarray(accuracy, dtype=float)
    replicates = np.subtract(*weighted_taus(scores, y, task_counts(y.size, n_bootstrap, rng)))
    value = np.subtract(*(stats.kendalltau(x, y).statistic for x in scores))
    ends = bootstrap_interval(replicates, confidence)
    return Difference(float(value), *ends, bootstrap_pvalue(replicates))


def lowest(values: ArrayLike, *, k: int | None = None, fraction: float | None = None) -> np.ndarray:
    """Return the indices of the k tasks, or of the fraction of tasks, with the lowest values.

    Parameters
    ----------
    values : array_like of float, shape (n,)
    k : int, optional
        1 to n.
    fraction : float, optional
        Above 0, to 1: the nearest whole number of tasks, at least one. Give k or this.

    Returns
    -------
    ndarray of int, shape (k,)
        In ascending order of value; of equal values the earlier task comes first.

    Raises
    ------
    ValueError
        If a value is not finite, or not exactly one of k and fraction is given and in range.

    Examples
    --------
    >>> lowest([3.0, 1.0, 2.0, 1.0], k=2).tolist()
    [1, 3]

    """
    values = finite_vector(values, "values")
    if (k is None) == (fraction is None):
        raise ValueError(f"k is {k} and fraction is {fraction}; give exactly one of them")
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction is {fraction}; expected above 0, to 1")
        k = max(1, round(fraction * values.size))
    if not 1 <= k <= values.size:
        raise ValueError(f"k is {k}; expected 1 to {values.size}, the number of values")
    return np.argsort(values, kind="stable")[:k]


def tau_by_subset(
    uncertainty: ArrayLike,
    accuracy: ArrayLike,
    by: ArrayLike,
    *,
    sizes: Sequence[int],
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> dict[str, np.ndarray]:
    """Return tau on the tasks with the lowest `by`, as a function of how many they are.

    Figure 5 of arXiv 2510.02571 is one point of this curve: aleatoric uncertainty against
    accuracy on the tasks with the least epistemic uncertainty, or the reverse.

    Parameters
    ----------
    uncertainty, accuracy, by : array_like of float, shape (n,)
    sizes : sequence of int
        Subset sizes, 3 to n.
    rng : numpy.random.Generator
    confidence : float
        As in `kendall`.

    Returns
    -------
    dict of ndarray, each of shape (len(sizes),)
        "size", "tau", "pvalue", "lo", "hi".

    Raises
    ------
    ValueError
        As `kendall` and `lowest`, naming the subset's size.
    TypeError
        If `rng` is not a Generator.

    Examples
    --------
    >>> curve = tau_by_subset([1, 2, 3, 4], [4, 3, 2, 9], [0, 1, 2, 3], sizes=[3, 4],
    ...                       rng=np.random.default_rng(0))
    >>> curve["tau"].tolist()
    [-1.0, 0.0]

    """
    require_generator(rng)
    x, y = task_pair(uncertainty, accuracy)
    by = finite_vector(by, "by")
    if by.size != x.size:
        raise ValueError(f"by has {by.size} values and uncertainty {x.size}; expected one a task")
    rows = []
    for size in sizes:
        kept = lowest(by, k=size)
        try:
            r = kendall(x[kept], y[kept], rng=rng, confidence=confidence)
        except ValueError as error:
            raise ValueError(f"the subset of size {size} has no tau: {error}") from error
        rows.append((size, r.tau, r.pvalue, *r.interval))
    columns = zip(*rows, strict=True)
    return dict(zip(("size", "tau", "pvalue", "lo", "hi"), map(np.array, columns), strict=True))


def auroc(score_negative: ArrayLike, score_positive: ArrayLike) -> Auroc:
    """Return P(positive > negative) + P(equal) / 2, with the two-sided Mann-Whitney p-value.

    U / (n_negative n_positive), U the Mann-Whitney statistic (Hanley and McNeil 1982); 0 to 1, 0.5
    without separation. The arrays hold the scores that should be low and those that should be high,
    such as the uncertainties of right and wrong tasks.

    >>> auroc([1, 2], [2, 3]).auroc
    0.875
    """
    low = finite_vector(score_negative, "score_negative")
    high = finite_vector(score_positive, "score_positive")
    if low.min() == low.max() == high.min() == high.max():
        return Auroc(0.5, 1.0)
    result = stats.mannwhitneyu(high, low, alternative="two-sided")
    return Auroc(float(result.statistic / (low.size * high.size)), float(result.pvalue))


def _tied_pairs(values: np.ndarray) -> int:
    _, counts = np.unique(values, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def _null_distribution(x: np.ndarray, y: np.ndarray, n_ties: int) -> str:
    """Return the choice of scipy's method="auto", so that it can be reported."""
    discordant = int((pair_signs(x) * pair_signs(y) < 0).sum()) // 2
    few = min(discordant, x.size * (x.size - 1) // 2 - discordant) <= 1
    exact = n_ties == 0 and (x.size <= EXACT_MAX_N or few)
    return "exact" if exact else "asymptotic"


def _correlation(test: Callable, x: np.ndarray, y: np.ndarray) -> Correlation:
    result = test(x, y)
    if not np.isfinite([result.statistic, result.pvalue]).all():
        raise ValueError(
            f"{test.__name__} gives {result.statistic}, p {result.pvalue}: the values span "
            f"{np.ptp(x):g} and {np.ptp(y):g}; rescale them or replace them by ranks"
        )
    return Correlation(float(result.statistic), float(result.pvalue))


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


def auroc_at(uncertainty: ArrayLike, accuracy: ArrayLike, *, threshold: float) -> Auroc:
    """Return how well uncertainty tells tasks below an accuracy from those at or above it.

    The probability that a task below is less certain than one above (0.5: chance). The threshold is
    in the accuracy's unit; a task must lie on either side of it.

    >>> auroc_at([1, 2, 3], [0.9, 0.5, 0.1], threshold=0.4).auroc
    1.0
    """
    x, y = task_pair(uncertainty, accuracy)
    below = y < threshold
    if below.all() or not below.any():
        raise ValueError(
            f"{below.sum()} of {y.size} tasks have an accuracy below the threshold {threshold:g}; "
            f"choose one above {y.min():g}, to {y.max():g}"
        )
    return auroc(x[~below], x[below])


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


def bootstrap_interval(replicates: np.ndarray, confidence: float) -> tuple[float, float]:
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
