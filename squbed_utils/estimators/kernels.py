"""Baselines on the eigenvalues of a task's cosine kernel.

Each keeps the contract of `registry`. K_V holds the cosines of all N videos of a task, K_i those
of the videos of latent prompt i, and K_Z those of their latent prompts, repeated for each video
(N, N). S(rho) = -tr rho log rho for a density matrix rho.
"""

import numpy as np
from scipy.special import entr

from squbed_utils.estimators.registry import (
    Estimator,
    Terms,
    Videos,
    alike,
    latent_of,
    mean_over_latents,
    pooled,
    shares,
)

RIDGE = 1e-3
"""alpha of the EigenScore, as in its paper."""


@Estimator(
    "von_neumann", "von Neumann entropy", "Nikitin et al. 2024, arXiv 2405.20003", "nats"
).register
def von_neumann(text: np.ndarray | None, videos: Videos) -> Terms:
    """Split the von Neumann entropy of the videos' kernel by latent prompt.

    total = S(K_V / N), epistemic = mean_i S(K_i / m), aleatoric = total - epistemic, which is
    Holevo's information: non-negative, and exactly additive. The entropy of a kernel is Nikitin et
    al. 2024 (arXiv 2405.20003); the kernel here is the cosine. It saturates: epistemic cannot
    exceed log m nor total log N, so with few samples in many dimensions all uncertain tasks look
    alike (see `von_neumann_jackknife`), and unequal counts do not compare. The values of `text` are
    not used. Latent prompts weigh the same: video j of i enters with 1 / (n m_i) for 1 / N.

    Nats: 0 (identical videos) to log m, log N (orthogonal).

    >>> np.round(von_neumann(np.eye(3), np.stack([np.eye(4)] * 3))[:3], 4).tolist()
    [0.0, 1.3863, 1.3863]
    """
    epistemic = mean_over_latents(_entropy_of_rows, videos)
    if text is None:
        return Terms(None, epistemic, None)
    total = float(_entropy(_density(pooled(videos), shares(videos))))
    return Terms(total - epistemic, epistemic, total)


@Estimator(
    "von_neumann_jackknife",
    "von Neumann entropy, jackknife",
    "Nikitin et al. 2024, arXiv 2405.20003",
    "nats",
).register
def von_neumann_jackknife(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return `von_neumann` with its saturation lifted by the jackknife.

    theta_J = k theta - (k - 1) mean_i theta_(-i) removes the bias of order 1/k (Efron and
    Tibshirani 1993, ch. 10): of each latent prompt's entropy by leaving out one video at a time
    (k = m_i), of the total by leaving out one latent prompt with its videos (k = n). aleatoric =
    total - epistemic, exactly. Where all samples are orthogonal the entropy is not known to be
    finite, and the correction only adds about one nat to log m. Bias of higher order stays: unequal
    counts do not compare. The values of `text` are not used.

    Nats: 0 for identical videos; aleatoric may fall a little below 0.

    >>> videos = np.stack([np.eye(4)] * 3)
    >>> round(von_neumann_jackknife(np.eye(3), videos).epistemic, 4)  # 4 log 4 - 3 log 3
    2.2493
    """
    epistemic = mean_over_latents(_jackknifed_entropy_of_rows, videos)
    if text is None:
        return Terms(None, epistemic, None)
    rho, latent, n = _density(pooled(videos), shares(videos)), latent_of(videos), len(videos)
    kept = [np.flatnonzero(latent != i) for i in range(n)]
    left_out = [_entropy(rho[np.ix_(k, k)] * n / (n - 1)) for k in kept]
    total = float(n * _entropy(rho) - (n - 1) * np.mean(left_out))
    return Terms(total - epistemic, epistemic, total)


@Estimator(
    "conditional_vendi",
    "Conditional Vendi",
    "Jalali et al. 2024, arXiv 2411.02817",
    "nats",
    needs_text=True,
).register
def conditional_vendi(text: np.ndarray, videos: Videos) -> Terms:
    """Split the videos' kernel entropy by the kernel of their latent prompts.

    epistemic = S(K_V o K_Z / N) - S(K_Z / N), the logarithm of the conditional Vendi score;
    aleatoric = S(K_V / N) + S(K_Z / N) - S(K_V o K_Z / N), of the information Vendi score; total =
    S(K_V / N); exactly additive (Jalali et al. 2024, arXiv 2411.02817; o is the elementwise
    product). The kernel is the cosine. Unlike in `von_neumann`, differences between the videos of
    near-equal latent prompts count as epistemic. It needs text. Latent prompts weigh the same. It
    saturates at log N, so unequal counts do not compare.

    Nats, 0 to log N; all 0 for identical latent prompts and videos.

    >>> videos = np.stack([np.tile(row, (2, 1)) for row in np.eye(3)])
    >>> np.abs(np.round(conditional_vendi(np.eye(3), videos)[:3], 4)).tolist()
    [1.0986, 0.0, 1.0986]
    """
    rho, latent = _density(pooled(videos), shares(videos)), latent_of(videos)
    cosines = text @ text.T
    total, of_text = float(_entropy(rho)), float(_entropy(cosines / len(text)))
    epistemic = float(_entropy(rho * cosines[np.ix_(latent, latent)])) - of_text
    return Terms(total - epistemic, epistemic, total)


@Estimator(
    "eigenscore", "EigenScore", "Chen et al. 2024, arXiv 2402.03744", "dimensionless"
).register
def eigenscore(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return the log-determinants of the samples' covariances, over the number of samples.

    (1/m) log det(F J F' + alpha I), J = I - 11'/d and alpha = `RIDGE` (Chen et al. 2024, INSIDE,
    arXiv 2402.03744). aleatoric on x, epistemic the mean over latent prompts, total on all f. As
    in the paper J centres each embedding over its own components, not the samples, so the value
    changes a little with the encoder's axes. The paper set alpha for hidden states that are not of
    unit length; here spreads below alpha do not show. Unequal counts do not compare.

    Dimensionless, at most log(1 + alpha) (orthogonal samples); at least log(alpha), and for m
    identical ones up to (log(m + alpha) + (m - 1) log(alpha)) / m; not additive.

    >>> text = np.array([[1.0, -1, 0, 0], [0, 0, 1, -1], [1, 1, -1, -1]]) / np.sqrt([[2], [2], [4]])
    >>> round(eigenscore(text, np.stack([text] * 3)).aleatoric, 6)  # log 1.001
    0.001
    """
    return alike(_log_determinant, text, videos)


@Estimator(
    "graph_laplacian", "Graph Laplacian", "Lin et al. 2023, arXiv 2305.19187", "dimensionless"
).register
def graph_laplacian(text: np.ndarray | None, videos: Videos) -> Terms:
    """Count the videos' meanings by the eigenvalues of their similarity graph.

    sum_k max(0, 1 - lambda_k), lambda_k the eigenvalues of I - D^(-1/2) W D^(-1/2), W the cosines
    with negative ones set to 0, D its row sums (Lin et al. 2023, arXiv 2305.19187). epistemic is
    the mean over latent prompts, total that of all videos; there is no aleatoric component. The
    values of `text` are not used. Unequal counts do not compare.

    Dimensionless, 1 (identical videos) to m, for the total to N (orthogonal).

    >>> np.round(graph_laplacian(np.eye(3), np.stack([np.eye(4)] * 3))[1:3], 6).tolist()
    [4.0, 4.0]
    """
    epistemic = mean_over_latents(_meanings, videos)
    return Terms(None, epistemic, None if text is None else float(_meanings(pooled(videos))))


def _density(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the density matrix (N, N) of unit vectors (N, d) with weights that sum to 1."""
    scaled = x * np.sqrt(weights)[:, None]
    return scaled @ scaled.T


def _entropy(rho: np.ndarray) -> np.ndarray:
    """Return S of density matrices (..., N, N); rounding below 0 is 0."""
    return entr(np.maximum(np.linalg.eigvalsh(rho), 0)).sum(axis=-1)


def _gram(x: np.ndarray) -> np.ndarray:
    return x @ np.swapaxes(x, -1, -2)


def _entropy_of_rows(x: np.ndarray) -> np.ndarray:
    """Return S of the kernel of (..., m, d)."""
    return _entropy(_gram(x) / x.shape[-2])


def _jackknifed_entropy_of_rows(x: np.ndarray) -> np.ndarray:
    m = x.shape[-2]
    gram = _gram(x)
    kept = [np.delete(np.arange(m), j) for j in range(m)]
    left_out = [_entropy(gram[..., k[:, None], k] / (m - 1)) for k in kept]
    return m * _entropy(gram / m) - (m - 1) * np.mean(left_out, axis=0)


def _log_determinant(x: np.ndarray) -> np.ndarray:
    m = x.shape[-2]
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.linalg.slogdet(_gram(centred) + RIDGE * np.eye(m)).logabsdet / m


def _meanings(x: np.ndarray) -> np.ndarray:
    similarity = np.maximum(_gram(x), 0)
    degree = np.sqrt(similarity.sum(axis=-1))
    normal = similarity / (degree[..., :, None] * degree[..., None, :])
    return np.maximum(np.linalg.eigvalsh(normal), 0).sum(axis=-1)
