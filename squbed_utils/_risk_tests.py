"""Tests that the mean of bounded losses lies under a level, alone and in sequences."""

import numpy as np
from scipy import stats
from scipy.special import rel_entr

STARTS = 4
"""Places along the tasks where a sequence of tests starts, each at a part of the error."""


def reached(k: np.ndarray, sums: np.ndarray, level: float, error: float) -> np.ndarray:
    """Return which thresholds the sequences of tests reach, as positions in rising order.

    Parameters
    ----------
    k : ndarray of int
        Tasks up to each distinct threshold, rising; the last is all of them.
    sums : ndarray of float
        Their summed losses, each 0 to 1.
    level : float
        Of the mean loss.
    error : float
        Of all tests together.
    """
    below, lost = np.append(0, k[:-1]), np.append(0, sums[:-1])
    passes = np.zeros(k.size, bool)
    some = below > 0
    mean = lost[some] / below[some]
    passes[some] = pvalue(mean, below[some], level) <= error / STARTS
    found: set[int] = set()
    for rank in k[-1] * np.arange(1, STARTS + 1) // STARTS:
        start = np.searchsorted(k, rank)
        run = np.argmin(np.append(passes[start:], False))
        found.update(range(start, start + run))
    return np.array(sorted(found), dtype=int)


def pvalue(mean: np.ndarray, k: np.ndarray, level: float) -> np.ndarray:
    """Return the Hoeffding-Bentkus p-value of k losses in 0..1 with mean at least `level`."""
    level = min(level, 1.0)
    low = np.minimum(mean, level)
    entropy = rel_entr(low, level) + rel_entr(1 - low, 1 - level)
    bentkus = np.e * stats.binom.cdf(np.ceil(np.round(k * mean, 9)), k, level)
    return np.where(mean < level, np.minimum(np.exp(-k * entropy), bentkus), 1.0)
