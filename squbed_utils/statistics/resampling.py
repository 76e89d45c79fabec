"""Kendall's tau-b of many scores at once, over resampled and over permuted tasks.

Scores are float (k, n), a row a score, and accuracy float (n,). An `rng` that is not
a Generator is a TypeError. All rows see the same resamples or permutations, so that their
differences are paired.

Tasks of one cluster (of one subject, say) are no independent draws. `clusters` (n,) names each
task's: whole clusters are then resampled, left out and permuted. None: every task by itself.
"""

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from squbed_utils.estimators.checks import require_generator

FEWEST_TASKS = 8
"""Tasks below which an interval over them says nothing."""

N_RESAMPLES, N_PERMUTATIONS = 2000, 1000

FEW = 10
"""Tasks below which the jackknife says too little about the spread of tau."""

MOST_ARRANGEMENTS = 10_000
"""Arrangements of levels up to which a permutation test takes all, and else as many at random."""


def task_counts(
    n: int, n_resamples: int, rng: np.random.Generator, clusters: np.ndarray | None = None
) -> np.ndarray:
    """Draw bootstrap resamples of n tasks as multiplicities, float32 (n_resamples, n).

    Of k clusters, k are drawn, each with all its tasks.

    >>> task_counts(5, 2, np.random.default_rng(0)).sum(axis=1).tolist()
    [5.0, 5.0]
    >>> task_counts(4, 1, np.random.default_rng(0), np.array(["a", "a", "b", "b"])).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """
    require_generator(rng)
    member = _members(clusters, n)
    k = member.max() + 1
    drawn = rng.multinomial(k, np.full(k, 1 / k), size=n_resamples)
    return drawn.astype(np.float32)[:, member]


def resampled_taus(
    scores: np.ndarray,
    accuracy: np.ndarray,
    counts: np.ndarray,
    clusters: np.ndarray | None = None,
    levels: np.ndarray | None = None,
) -> np.ndarray:
    """Return tau-b of each score in each resample (k, n_resamples), spread as between samples.

    A resample draws some tasks twice, so that few tasks vary more between resamples than between
    samples, the most where their order is nearly perfect, and percentiles are too far apart. From
    `FEW` tasks on the resampled values are therefore drawn in around tau, to the standard error
    of the jackknife (Efron and Stein 1981) where that is the smaller. Of clusters there are few,
    see `widening`. docs/validation.md has the coverage. `counts` is as `task_counts`; NaN and
    `levels` as `weighted_taus`.

    >>> resampled_taus(np.array([[1, 2, 3]]), np.array([3, 2, 1]), np.ones((1, 3), "f4"))
    array([[-1.]])
    """
    taus = weighted_taus(scores, accuracy, counts, levels)
    return drawn_in(taus, scores, accuracy, clusters, levels)


def drawn_in(
    taus: np.ndarray,
    scores: np.ndarray,
    accuracy: np.ndarray,
    clusters: np.ndarray | None = None,
    levels: np.ndarray | None = None,
) -> np.ndarray:
    """Return resampled taus, as `weighted_taus`, spread as between samples: see `resampled_taus`.

    Do not use it for differences of rows: each row is drawn in by a factor of its own.
    """
    everyone, member = np.ones((1, accuracy.size), np.float32), _members(clusters, accuracy.size)
    k = member.max() + 1
    tau = weighted_taus(scores, accuracy, everyone, levels)
    taus = np.clip(widened(taus, tau, clusters), -1, 1)
    if k < FEW:
        return taus
    one_left_out = (1 - np.eye(k, dtype=np.float32))[:, member]
    jackknife = weighted_taus(scores, accuracy, one_left_out, levels)
    for row, centre, left_out in zip(taus, tau, jackknife, strict=True):
        expected = np.sqrt(k - 1) * _spread(left_out)
        if clusters is not None:
            expected *= np.sqrt((k - 1) / (k - 2))
        spread = _spread(row)
        if 0 < expected < spread:
            row[:] = centre + expected / spread * (row - centre)
    return taus


def widened(
    replicates: np.ndarray, value: np.ndarray | float, clusters: np.ndarray | None
) -> np.ndarray:
    """Return replicates of a value over k clusters spread by the factor sqrt(k / (k - 2)) more.

    Resamples vary as if the clusters were the whole population, by sqrt((k - 1) / k) too little,
    and a spread found from few clusters is itself uncertain. Over tasks, which are many, by 1.

    >>> widened(np.array([1.0, 2.0]), 1.0, np.arange(10)).round(3).tolist()
    [1.0, 2.118]
    """
    factor = 1.0
    if clusters is not None:
        k = np.unique(clusters).size
        factor = float(np.sqrt(k / max(k - 2, 1)))
    return value + factor * (replicates - value)


def _members(clusters: np.ndarray | None, n: int) -> np.ndarray:
    """Return the number of each task's cluster, int (n,); of a task that is its own, its place."""
    return np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]


def weighted_taus(
    scores: np.ndarray, accuracy: np.ndarray, counts: np.ndarray, levels: np.ndarray | None = None
) -> np.ndarray:
    """Return tau-b of each score (k, l), tasks counted as often as each row of counts (l, n) says.

    With `levels` (n,) only pairs of tasks of one level count, in C - D and in the numbers of untied
    pairs alike: the tau-b within levels, pooled by pairs.

    With c the multiplicities and S the signs of pairs, 2 (C - D) is the quadratic form c' S c, and
    twice the pairs untied in x is n^2 less the sum over groups of equal x of the squared number of
    tasks in them. So a score costs one matrix product. Counts are whole numbers, which float32
    holds exactly. Tau is NaN where all tasks that count are tied in the score or the accuracy.

    >>> weighted_taus(np.array([[1, 2, 3]]), np.array([3, 2, 4]), np.array([[1, 1, 0]], "f4"))
    array([[-1.]])
    """
    levels = np.zeros(accuracy.size) if levels is None else levels
    sign_y, untied_y = pair_signs(accuracy), _untied(accuracy, counts, levels)
    sign_y *= levels[:, None] == levels
    taus = np.full((len(scores), len(counts)), np.nan)
    for x, row in zip(scores, taus, strict=True):
        signed = counts @ (pair_signs(x) * sign_y)
        signed *= counts
        pairs = np.sqrt(_untied(x, counts, levels) * untied_y)
        np.divide(signed.sum(axis=1, dtype=float), pairs, out=row, where=pairs > 0)
    return taus


def resampled_areas(
    x: np.ndarray, coverage: np.ndarray, counts: np.ndarray, levels: np.ndarray | None = None
) -> np.ndarray:
    """Return the AUROC of x, never-seen against common subjects, in each resample (l,).

    `counts` is as `task_counts`; with `levels` only pairs of one level count. NaN where
    a resample has no pair.

    >>> coverage = np.array(["common", "never", "rare", "never"])
    >>> resampled_areas(np.array([1, 2, 0, 0]), coverage, np.ones((1, 4)))
    array([0.5])
    """
    never, common = (np.asarray(coverage) == name for name in ("never", "common"))
    compared = np.ones((never.sum(), common.sum()))
    if levels is not None:
        compared *= levels[never][:, None] == levels[common]
    above = compared * (1 + np.sign(x[never][:, None] - x[common])) / 2
    won, of = (((counts[:, never] @ m) * counts[:, common]).sum(1) for m in (above, compared))
    return np.divide(won, of, out=np.full(len(counts), np.nan), where=of > 0)


def plain_tau(x: np.ndarray, y: np.ndarray, levels: np.ndarray | None = None) -> float:
    """Return tau-b of x with y (n,), as `weighted_taus` with every task once."""
    return float(weighted_taus(x[None], y, np.ones((1, x.size), np.float32), levels)[0, 0])


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
    dealt = rng.permuted(np.tile(np.asarray(accuracy), (n_permutations, 1)), axis=1)
    return _taus_of_rows(scores, dealt)


def rereferenced_taus(
    scores: np.ndarray, similarity: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Return tau-b of each score with the accuracy against references dealt at random.

    Videos that scatter are less like any reference, so that these values need not centre on zero:
    the mean cosine of samples is R cos(centroid), R the length of their mean. `similarity` (n, n)
    is the accuracy of each task's videos (row) were each task's reference theirs (column). float
    (k, n_permutations), NaN where every accuracy is the same; no score may be constant.

    >>> similarity = np.outer([3.0, 2.0, 1.0], [1.0, 1.0, 1.0])  # scatter alone decides
    >>> rereferenced_taus(np.array([[1, 2, 3]]), similarity, 2, np.random.default_rng(0))
    array([[-1., -1.]])
    """
    require_generator(rng)
    n = len(similarity)
    dealt = rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
    return _taus_of_rows(scores, similarity[np.arange(n), dealt])


def _taus_of_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return tau-b (k, l) of each row of x (k, n) with each of y (l, n); NaN where one is tied."""
    x, y = (rankdata(rows, axis=1).astype(np.float32) for rows in (x, y))
    everyone = np.ones((1, x.shape[1]), np.float32)
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


def _untied(values: np.ndarray, counts: np.ndarray, levels: np.ndarray | None = None) -> np.ndarray:
    """Return twice the number of pairs with different values in each resample, (n_resamples,).

    Of pairs of one level: those that agree in the level, less those that agree in both.
    """
    levels = np.zeros(len(values)) if levels is None else levels
    return _tied(np.stack([levels]), counts) - _tied(np.stack([levels, values]), counts)


def _tied(keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the number of ordered pairs, with themselves, whose keys (k, n) are all the same."""
    order = np.lexsort(keys)
    starts = np.flatnonzero(np.r_[True, (np.diff(keys[:, order]) != 0).any(axis=0)])
    groups = np.add.reduceat(counts[:, order], starts, axis=1)
    return np.square(groups, dtype=float).sum(axis=1)


def level_pvalue(
    score: np.ndarray,
    level: np.ndarray,
    rng: np.random.Generator,
    *,
    clusters: np.ndarray | None = None,
    within: np.ndarray | None = None,
) -> float:
    """Return the two-sided p-value of concordance of a score with a level that belongs to clusters.

    Levels are dealt to whole clusters: in every arrangement, which makes the test exact, where
    there are at most `MOST_ARRANGEMENTS`, and else in as many at random. So p cannot be less than
    one in the number of arrangements, however many tasks a cluster has. All are float (n,), and
    every task of a cluster has one level. With `within` only pairs that agree in it count.

    >>> level_pvalue(np.arange(4), np.array([0, 0, 1, 1]), np.random.default_rng(0))
    0.3333333333333333
    """
    require_generator(rng)
    clusters = np.arange(score.size) if clusters is None else clusters
    names, first, member = np.unique(clusters, return_index=True, return_inverse=True)
    own = level[first]
    if (own[member] != level).any():
        name = names[member[own[member] != level][0]]
        raise ValueError(f"tasks of {name} have different levels; expected one level a cluster")
    signs, belongs = pair_signs(score), np.eye(len(names), dtype=np.float32)[member]
    if within is not None:
        signs *= within[:, None] == within
    between = belongs.T @ signs @ belongs
    counts = Counter(own.tolist())
    number = math.factorial(len(own)) // math.prod(map(math.factorial, counts.values()))
    if number <= MOST_ARRANGEMENTS:
        dealt = np.array(list(_arrangements(counts, len(own))))
    else:
        dealt = rng.permuted(np.tile(own, (MOST_ARRANGEMENTS - 1, 1)), axis=1)
        dealt = np.vstack([own, dealt])  # what is seen is one of the arrangements
    # Twice the concordant less the discordant pairs of each arrangement, a whole number.
    pairs = sum(np.sign(dealt[:, i, None] - dealt) @ row for i, row in enumerate(between))
    seen = pairs[(dealt == own).all(axis=1).argmax()]
    return float(np.mean(np.abs(pairs) >= abs(seen)))


def _arrangements(counts: Counter, length: int) -> Iterator[list[float]]:
    """Yield every distinct order of values that occur as often as counted, `length` in all."""
    if length == 0:
        yield []
    for value in [v for v, count in counts.items() if count]:
        for rest in _arrangements(counts - Counter([value]), length - 1):
            yield [value, *rest]


def _spread(taus: np.ndarray) -> float:
    """Return the standard deviation of the finite values, 0 without any."""
    finite = taus[np.isfinite(taus)]
    return float(np.std(finite)) if finite.size else 0.0
