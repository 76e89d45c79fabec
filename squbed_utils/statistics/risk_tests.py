"""Tests that the mean of bounded losses lies under a level, in sequences along the tasks."""

import numpy as np

STARTS = 4
"""Places along the tasks where a sequence of tests starts, each at a part of the error."""

BETS = np.arange(1, 6) / 5.001
"""Stakes of the bets against the level, as shares of the greatest that cannot ruin."""


def reached(losses: np.ndarray, k: np.ndarray, level: float, error: float) -> np.ndarray:
    """Return which thresholds the sequences of tests reach, as positions in rising order.

    Parameters
    ----------
    losses : ndarray of float, shape (n,)
        0 to 1, in rising order of uncertainty.
    k : ndarray of int
        Tasks up to each distinct threshold, rising to n.
    level : float
        Of the mean loss, below 1.
    error : float
        Of all tests together.
    """
    below = np.append(0, k[:-1])
    passes = capital(losses, level)[below] >= STARTS / error
    found: set[int] = set()
    for rank in k[-1] * np.arange(1, STARTS + 1) // STARTS:
        start = int(np.searchsorted(k, rank))
        run = int(np.argmin(np.append(passes[start:], False)))
        found.update(range(start, start + run))
    return np.array(sorted(found), dtype=int)


def capital(losses: np.ndarray, level: float) -> np.ndarray:
    """Return the evidence that the mean of the first k losses lies under the level, k = 0..n.

    The mean over stakes b of prod_i (1 + b (level - loss_i)), whose expectation is at most 1 for
    independent losses of mean `level` or more: by Markov's inequality 1/capital is a p-value. It
    does not hang on the order of the losses, and gains by their small variance.
    """
    stakes = BETS[:, None] / (1 - level)
    gains = np.cumsum(np.log1p(stakes * (level - losses)), axis=1)
    return np.append(1.0, np.exp(np.minimum(gains, 500)).mean(axis=0))
