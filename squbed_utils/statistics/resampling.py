"""Kendall's tau-b of many scores at once, over resampled and over permuted tasks.

Scores are float (k, n), a row a score, and accuracy float (n,). An `rng` that is not
a Generator is a TypeError. All rows see the same resamples or permutations, so that their
differences are paired.
"""

import numpy as np
from scipy.stats import rankdata

from squbed_utils.estimators.checks import require_generator

FEWEST_TASKS = 8
"""Tasks below which an interval over them says nothing."""

FEW = 10
"""Tasks below which the jackknife says too little about the spread of tau."""


def task_counts(n: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw bootstrap resamples of n tasks as multiplicities, float32 (n_resamples, n).

    >>> task_counts(5, 2, np.random.default_rng(0)).sum(axis=1).tolist()
    [5.0, 5.0]
    """
    require_generator(rng)
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float32)


def resampled_taus(scores: np.ndarray, accuracy: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return tau-b of each score in each resample (k, n_resamples), spread as between samples.

    A resample draws some tasks twice, so that few tasks vary more between resamples than between
    samples, the most where their order is nearly perfect, and percentiles are too far apart. From
    `FEW` tasks on the resampled values are therefore drawn in around tau, to the standard error
    of the jackknife (Efron and Stein 1981) where that is the smaller. docs/validation.md has the
    coverage. `counts` is as `task_counts`; NaN as `weighted_taus`.

    >>> resampled_taus(np.array([[1, 2, 3]]), np.array([3, 2, 1]), np.ones((1, 3), "f4"))
    array([[-1.]])
    """
    return drawn_in(weighted_taus(scores, accuracy, counts), scores, accuracy)


def drawn_in(taus: np.ndarray, scores: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Return resampled taus, as `weighted_taus`, spread as between samples: see `resampled_taus`.

    Do not use it for differences of rows: each row is drawn in by a factor of its own.
    """
    taus, n = taus.copy(), accuracy.size
    if n < FEW:
        return taus
    tau = weighted_taus(scores, accuracy, np.ones((1, n), np.float32))
    one_left_out = weighted_taus(scores, accuracy, 1 - np.eye(n, dtype=np.float32))
    for row, centre, left_out in zip(taus, tau, one_left_out, strict=True):
        expected, found = np.sqrt(n - 1) * _spread(left_out), _spread(row)
        if 0 < expected < found:
            row[:] = centre + expected / found * (row - centre)
    return taus


def weighted_taus(scores: np.ndarray, accuracy: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return tau-b of each score (k, l), tasks counted as often as each row of counts (l, n) says.

    With c the multiplicities and S the signs of pairs, 2 (C - D) is the quadratic form c' S c, and
    twice the pairs untied in x is n^2 less the sum over groups of equal x of the squared number of
    tasks in them. So a score costs one matrix product. Counts are whole numbers, which float32
    holds exactly. Tau is NaN where all tasks that count are tied in the score or the accuracy.

    >>> weighted_taus(np.array([[1, 2, 3]]), np.array([3, 2, 4]), np.array([[1, 1, 0]], "f4"))
    array([[-1.]])
    """
    sign_y, untied_y = pair_signs(accuracy), _untied(accuracy, counts)
    taus = np.full((len(scores), len(counts)), np.nan)
    for x, row in zip(scores, taus, strict=True):
        signed = counts @ (pair_signs(x) * sign_y)
        signed *= counts
        pairs = np.sqrt(_untied(x, counts) * untied_y)
        np.divide(signed.sum(axis=1, dtype=float), pairs, out=row, where=pairs > 0)
    return taus


def permuted_taus(
    scores: np.ndarray, accuracy: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Return tau-b of each score with the accuracies dealt to the tasks at random.

    float (k, n_permutations). No score may be constant, nor the accuracy.

    >>> rng = np.random.default_rng(0)
    >>> np.unique(permuted_taus(np.array([[1, 2, 3]]), np.arange(3), 99, rng).round(2))
    array([-1.  , -0.33,  0.33,  1.  ])
    """
    require_generator(rng)
    x = rankdata(scores, axis=1).astype(np.float32)
    y = np.tile(rankdata(accuracy).astype(np.float32), (n_permutations, 1))
    y = rng.permuted(y, axis=1)
    everyone = np.ones((1, x.shape[1]), np.float32)
    untied_x = np.array([_untied(row, everyone)[0] for row in x])
    return 2 * concordance(x, y) / np.sqrt(untied_x * _untied(y[0], everyone))[:, None]


def rereferenced_taus(
    scores: np.ndarray, similarity: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Return tau-b of each score with the accuracy against references dealt at random.

    Videos that scatter are less like any reference, so that these values need not centre on zero:
    the mean cosine of samples is R cos(centroid), R the length of their mean.

    Parameters
    ----------
    scores : ndarray of float, shape (k, n)
        None of them constant.
    similarity : ndarray of float, shape (n, n)
        Accuracy of each task's videos (row) were each task's reference theirs (column).
    n_permutations : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (k, n_permutations)
        NaN where every accuracy is the same.

    Examples
    --------
    >>> similarity = np.outer([3.0, 2.0, 1.0], [1.0, 1.0, 1.0])  # scatter alone decides
    >>> rereferenced_taus(np.array([[1, 2, 3]]), similarity, 2, np.random.default_rng(0))
    array([[-1., -1.]])

    """
    require_generator(rng)
    n = len(similarity)
    dealt = rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
    y = rankdata(similarity[np.arange(n), dealt], axis=1).astype(np.float32)
    x = rankdata(scores, axis=1).astype(np.float32)
    everyone = np.ones((1, n), np.float32)
    untied_x, untied_y = (np.array([_untied(row, everyone)[0] for row in v]) for v in (x, y))
    pairs = np.sqrt(untied_x[:, None] * untied_y)
    taus = np.full(pairs.shape, np.nan)
    return np.divide(2 * concordance(x, y), pairs, out=taus, where=pairs > 0)


def concordance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return concordant less discordant pairs (k, l) of each row of x (k, n) with each of y (l, n).

    >>> concordance(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 1.0]]))
    array([[ 3., -2.]])
    """
    total = np.zeros((len(x), len(y)))
    for i in range(x.shape[1] - 1):
        sign_x, sign_y = (np.sign(v[:, i + 1 :] - v[:, i, None]) for v in (x, y))
        total += sign_x @ sign_y.T
    return total


def pair_signs(values: np.ndarray) -> np.ndarray:
    """Return sign(v_i - v_j), float32 of shape (n, n)."""
    ranks = rankdata(values, method="dense").astype(np.float32)
    return np.sign(ranks[:, None] - ranks)


def _untied(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return twice the number of pairs with different values in each resample, (n_resamples,)."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) > 0])
    groups = np.add.reduceat(counts[:, order], starts, axis=1)
    return counts.sum(axis=1, dtype=float) ** 2 - np.square(groups, dtype=float).sum(axis=1)


def _spread(taus: np.ndarray) -> float:
    """Return the standard deviation of the finite values, 0 without any."""
    there = taus[np.isfinite(taus)]
    return float(np.std(there)) if there.size else 0.0
