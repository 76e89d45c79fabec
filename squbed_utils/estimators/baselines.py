"""Baselines of S-QUBED on the same embeddings: cosines, clusters, concentrations, neighbours.

Each keeps the contract of `registry`. x_i is the text embedding of latent prompt i of n, f_ij the
embedding of its video j of m_i, all of unit length; N = sum m_i.
"""

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.special import betainc, betaln, digamma, entr, gammaln, hyp2f1

from squbed_utils.estimators.registry import (
    Estimator,
    Terms,
    Videos,
    alike,
    latent_of,
    mean_over_latents,
    pooled,
)
from squbed_utils.estimators.squbed import concentrations

SAME_MEANING = 0.1
"""Mean cosine distance up to which two clusters of videos are one meaning."""

LEAST_CHORD = 1e-6
"""Unit vectors nearer than this count as identical; rounding to float32 moves them by some 1e-7."""


@Estimator(
    "energy_split",
    "Energy split",
    "Law of total variance",
    "dimensionless",
    equal_counts=False,
    least_videos=1,
).register
def energy_split(text: np.ndarray | None, videos: Videos) -> Terms:
    """Split the variance of a task's videos into that between and that within latent prompts.

    aleatoric = cw - cb, epistemic = 1 - cw, total = 1 - cb, with cw the mean over latent prompts
    of the mean cosine over their pairs of videos, and cb the mean over pairs of latent prompts of
    the mean cosine between their videos. This is the law of total variance of f, since the mean
    cosine of independent pairs is |E f|^2: the three add up exactly, and each is unbiased at any
    n >= 2 and m >= 2. A latent prompt with a single video has no pair: it counts for the total
    alone, which one video of each tells without bias. The values of `text` are not used. Latent
    prompts weigh the same whatever their counts, so unequal counts compare.

    Dimensionless, 0 (identical videos) to 1 (no common direction) in expectation; a sample
    may fall below 0 or above 1.

    >>> energy_split(np.eye(3), np.stack([np.tile(row, (2, 1)) for row in np.eye(3)]))[:3]
    (1.0, 0.0, 1.0)
    >>> energy_split(np.eye(3), np.eye(3)[:, None])[:3]  # one video each
    (None, None, 1.0)
    """
    pairs = [x for x in videos if len(x) > 1]
    epistemic = 1 - mean_over_latents(mean_pairwise_cosine, pairs) if pairs else None
    if text is None or len(videos) < 2:
        return Terms(None, epistemic, None)
    means = np.array([x.mean(axis=0) for x in videos])
    n = len(means)
    between = np.square(means.sum(axis=0)).sum() - np.square(means).sum()
    total = float(1 - between / (n * (n - 1)))
    return Terms(total - epistemic if pairs else None, epistemic, total)


@Estimator(
    "pairwise_distance", "Mean pairwise distance", "arXiv 2410.22685", "dimensionless"
).register
def pairwise_distance(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return mean cosine distances: of the latent prompts, of their videos, of all videos.

    aleatoric = 1 - mean cosine over pairs of x; epistemic = the mean over latent prompts of
    1 - mean cosine over their pairs of f; total = 1 - mean cosine over all pairs of f (arXiv
    2410.22685). At equal counts S-QUBED's aleatoric term ranks tasks as this one does, since the
    entropy of a von Mises-Fisher fit is a monotone function of the mean pairwise cosine; its mean
    over latent prompts, the epistemic term, does so only if they share one kappa. Pairs within a
    latent prompt are the share (m - 1) / (N - 1) of the total: totals compare at equal counts only.

    Dimensionless, 0 (identical) to 2, 1 if orthogonal; the total is not the sum.

    >>> pairwise_distance(np.eye(3), np.stack([np.ones((2, 4)) / 2] * 3))[:3]
    (1.0, 0.0, 0.0)
    """
    return alike(lambda x: 1 - mean_pairwise_cosine(x), text, videos)


@Estimator(
    "semantic_entropy", "Semantic entropy", "Farquhar et al. 2024; Hou et al. 2024", "nats"
).register
def semantic_entropy(text: np.ndarray | None, videos: Videos) -> Terms:
    """Split the discrete entropy of a task's clusters of videos by latent prompt.

    total = H(C), epistemic = mean_i H(C | i), aleatoric = total - epistemic, the mutual
    information of cluster and latent prompt; exactly additive. C is the cluster of a video, H the
    plug-in entropy of shares (Farquhar et al. 2024, Nature 630; the split by clarification is Hou
    et al. 2024, arXiv 2311.08718). The clusters: average linkage on the cosine distances of all
    the task's videos, cut at `SAME_MEANING`, a cosine of 0.9: in the shapes world most pairs of
    videos of one latent prompt lie above it, most of different ones below. The cut is fixed, so
    that no task's score depends on other tasks. An encoder of much narrower or wider cosines makes
    every score 0 or log m; many ties show it. Latent prompts weigh the same. Entropies saturate at
    log m, the total at log N, so unequal counts do not compare.

    Nats: 0 (identical videos, one cluster) to log N.

    >>> videos = np.stack([np.tile(row, (2, 1)) for row in np.eye(3)])
    >>> np.round(semantic_entropy(np.eye(3), videos)[:3], 4).tolist()  # log 3 between, 0 within
    [1.0986, 0.0, 1.0986]
    """
    cluster = _clusters(pooled(videos))
    shares = np.zeros((len(videos), cluster.max()))
    np.add.at(shares, (latent_of(videos), cluster - 1), 1)
    shares /= shares.sum(axis=1, keepdims=True)
    # Twelve digits: equal shares in another order would else differ by rounding, and not be tied.
    epistemic = round(float(entr(shares).sum(axis=1).mean()), 12)
    if text is None:
        return Terms(None, epistemic, None)
    total = round(float(entr(shares.mean(axis=0)).sum()), 12)
    return Terms(round(total - epistemic, 12), epistemic, total)


@Estimator("kappa", "Concentration of the outputs", "arXiv 2602.13264", "dimensionless").register
def kappa(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return minus von Mises-Fisher concentrations, fitted with the small-sample correction.

    aleatoric = -kappa(x), epistemic = -mean_i kappa(f_i.), total = -kappa(all f) (arXiv
    2602.13264). An entropy averages the logarithm of kappa over latent prompts; this averages kappa
    itself, which the most concentrated latent prompts set. The total mixes pairs within and between
    latent prompts by the counts, so unequal counts do not compare.

    Dimensionless, -1e9 (identical samples, flagged degenerate) to 0; not additive.

    >>> [value + 0.0 for value in kappa(np.eye(3), np.stack([np.eye(4)] * 3))[:2]]
    [0.0, 0.0]
    """
    others = () if text is None else (text, pooled(videos))
    each, others, degenerate = concentrations(videos, others)
    epistemic = -float(each.mean())
    if text is None:
        return Terms(None, epistemic, None, degenerate)
    return Terms(-others[0], epistemic, -others[1], degenerate)


@Estimator(
    "knn_entropy", "Nearest-neighbour entropy", "Kozachenko and Leonenko 1987", "nats"
).register
def knn_entropy(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return nearest-neighbour entropies on the sphere, without a model of the distribution.

    h = psi(m) - psi(1) + mean_j log A(r_j), with r_j the geodesic distance from sample j to its
    nearest, A the area of the cap of that radius and psi the digamma function (Kozachenko and
    Leonenko 1987, with caps for balls). aleatoric = h(x), epistemic = mean_i h(f_i.), total =
    h(all f). One neighbour is used, since two samples have no more. With few samples in many
    dimensions the bias is large and falls with m, so unequal counts do not compare.

    Nats; not additive. Samples nearer than `LEAST_CHORD` count as that far apart and are
    flagged degenerate: the value is finite but set by `LEAST_CHORD`.

    >>> value = knn_entropy(np.eye(3), np.stack([np.eye(3)] * 3)).aleatoric
    >>> round(value, 6)  # psi(3) - psi(1) + log 2 pi, the area of a half sphere
    3.337877
    """
    samples = (pooled(videos),) if text is None else (text, pooled(videos))
    return alike(_nearest_entropy, text, videos)._replace(degenerate=any(map(_has_twins, samples)))


def mean_pairwise_cosine(x: np.ndarray) -> np.ndarray:
    """Return the mean cosine over pairs of unit vectors (..., m, d)."""
    m = x.shape[-2]
    return (np.square(x.sum(axis=-2)).sum(axis=-1) - m) / (m * (m - 1))


def _clusters(x: np.ndarray) -> np.ndarray:
    """Return the cluster of each unit vector of (N, d): int (N,), counted from 1."""
    distances = squareform(np.maximum(1 - x @ x.T, 0), checks=False)
    return fcluster(linkage(distances, "average"), SAME_MEANING, criterion="distance")


def _nearest(x: np.ndarray) -> np.ndarray:
    """Return each vector's squared chord (..., m) to its nearest, at least `LEAST_CHORD`^2."""
    squared = 2 - 2 * (x @ np.swapaxes(x, -1, -2))
    squared[..., np.arange(x.shape[-2]), np.arange(x.shape[-2])] = np.inf
    return np.clip(squared.min(axis=-1), LEAST_CHORD**2, 4.0)


def _nearest_entropy(x: np.ndarray) -> np.ndarray:
    areas = log_cap_area(x.shape[-1], _nearest(x))
    return digamma(x.shape[-2]) - digamma(1) + areas.mean(axis=-1)


def _has_twins(x: np.ndarray) -> bool:
    return bool((_nearest(x) <= LEAST_CHORD**2).any())


UNDERFLOW = 1e-200
"""Below this share of a half sphere, a series gives the share's logarithm."""


def log_cap_area(d: int, squared_chord: np.ndarray) -> np.ndarray:
    """Return the log areas of caps on the unit sphere in R^d, given squared chords (..., m).

    A cap of radius r has the squared chord 4 sin^2(r/2) > 0. To r = pi/2, A(r) = (area of the
    sphere / 2) I_x((d-1)/2, 1/2), x = sin^2 r (Li 2011); beyond, the sphere less the opposite cap.
    """
    squared_sine = squared_chord * (1 - squared_chord / 4)
    squared_sine = np.maximum(squared_sine, np.finfo(float).tiny)  # opposite: the whole sphere
    log_share = _log_betainc((d - 1) / 2, squared_sine) - np.log(2)
    beyond = squared_chord > 2
    log_share[beyond] = np.log1p(-np.exp(log_share[beyond]))
    return np.log(2) + d / 2 * np.log(np.pi) - gammaln(d / 2) + log_share


def _log_betainc(a: float, x: np.ndarray) -> np.ndarray:
    """Return log I_x(a, 1/2); where I underflows, by its hypergeometric series (DLMF 8.17.7)."""
    share = betainc(a, 0.5, x)
    small = share < UNDERFLOW
    result = np.log(np.where(small, 1.0, share))
    y = x[small]
    series = np.log(hyp2f1(a + 0.5, 1, a + 1, y))
    result[small] = a * np.log(y) + 0.5 * np.log1p(-y) - np.log(a) - betaln(a, 0.5) + series
    return result
