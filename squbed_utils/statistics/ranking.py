"""How well an uncertainty sorts tasks, by measures other than tau; and many tests at once.

Directions are fixed: uncertainty higher = less certain, accuracy higher = better.
"""

import numpy as np
from numpy.typing import ArrayLike

from squbed_utils.estimators.checks import finite_vector, require, task_pair
from squbed_utils.statistics.calibration import Auroc, auroc


def rejection_curve(uncertainty: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Return the mean accuracy of the k most certain tasks, for every k.

    Tasks of equal uncertainty are taken in random order, of which this is the expectation.

    Parameters
    ----------
    uncertainty, accuracy : array_like of float, shape (n,)
        n >= 3; higher = less certain, higher = better.

    Returns
    -------
    ndarray of float, shape (n,)
        In the accuracy's unit; element k - 1 is the mean over k tasks, the last over all.

    Raises
    ------
    ValueError
        If lengths differ, n < 3, a value is not finite or either input is constant.

    Examples
    --------
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

    Parameters
    ----------
    uncertainty, accuracy : array_like of float, shape (n,)

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    ValueError
        As `rejection_curve`.

    Examples
    --------
    >>> round(aurc([1, 2, 3], [0.9, 0.5, 0.1]), 3)  # mean of 0, 0.2, 0.4
    0.2

    """
    return float(np.max(accuracy) - rejection_curve(uncertainty, accuracy).mean())


def prediction_rejection_ratio(uncertainty: ArrayLike, accuracy: ArrayLike) -> float:
    """Return the gain of rejecting by uncertainty as a share of the gain of an oracle.

    (area - random) / (oracle - random), areas under the rejection curve; random is the mean
    accuracy, the oracle rejects the least accurate first (Malinin et al. 2017).

    Parameters
    ----------
    uncertainty, accuracy : array_like of float, shape (n,)

    Returns
    -------
    float
        -1 to 1 where accuracies are spread evenly, at most 1; 1: as the oracle, 0: as chance.

    Raises
    ------
    ValueError
        As `rejection_curve`.

    Examples
    --------
    >>> round(prediction_rejection_ratio([1, 2, 3], [0.9, 0.5, 0.1]), 9)
    1.0

    """
    accuracy = np.asarray(accuracy, dtype=float)
    area = rejection_curve(uncertainty, accuracy).mean()
    random, oracle = accuracy.mean(), rejection_curve(-accuracy, accuracy).mean()
    return float((area - random) / (oracle - random))


def auroc_at(uncertainty: ArrayLike, accuracy: ArrayLike, *, threshold: float) -> Auroc:
    """Return how well uncertainty tells tasks below an accuracy from those at or above it.

    Parameters
    ----------
    uncertainty, accuracy : array_like of float, shape (n,)
    threshold : float
        In the accuracy's unit.

    Returns
    -------
    Auroc
        `auroc` is the probability that a task below is less certain than one above (0.5: chance);
        `pvalue` is two-sided.

    Raises
    ------
    ValueError
        As `rejection_curve`, or if no task is below the threshold or none at or above it.

    Examples
    --------
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
    """Return p-values corrected for being many (Holm 1979).

    A p-value is multiplied by the number of those that are not smaller, and is no less than any
    smaller one's. Rejecting those below alpha errs at all with probability alpha at most, however
    the tests depend on one another.

    Parameters
    ----------
    pvalues : array_like of float, shape (k,)
        0 to 1.

    Returns
    -------
    ndarray of float, shape (k,)
        In the order given, at most 1.

    Raises
    ------
    ValueError
        If it is empty or a value lies outside 0 to 1.

    Examples
    --------
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
    """Return the percentile interval of bootstrap replicates, without those that are missing.

    Parameters
    ----------
    replicates : ndarray of float, shape (n_resamples,)
        NaN where a resample has no value.
    confidence : float

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        If no resample has a value.

    Examples
    --------
    >>> bootstrap_interval(np.array([0.0, 1.0, np.nan, 2.0]), 0.5)
    (0.5, 1.5)

    """
    there = _there(replicates)
    low, high = np.quantile(there, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_pvalue(replicates: np.ndarray) -> float:
    """Return the two-sided p-value of zero: twice the share of replicates beyond it.

    It is below alpha where the percentile interval at 1 - alpha leaves zero out, and never less
    than 2 / (n_resamples + 1).

    Parameters
    ----------
    replicates : ndarray of float, shape (n_resamples,)
        As `bootstrap_interval`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If no resample has a value.

    Examples
    --------
    >>> bootstrap_pvalue(np.arange(1.0, 100.0))
    0.02

    """
    there = _there(replicates)
    beyond = min((there <= 0).sum(), (there >= 0).sum())
    return float(min(1.0, 2 * (1 + beyond) / (1 + there.size)))


def _there(replicates: np.ndarray) -> np.ndarray:
    there = replicates[np.isfinite(replicates)]
    if not there.size:
        raise ValueError(
            f"none of {replicates.size} resamples has a value; take more resamples or more tasks"
        )
    return there
