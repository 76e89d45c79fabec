"""Rejection sampling of the von Mises-Fisher distribution (Ulrich 1984; Wood 1994, VM*).

Written in the gap 1 - x.mu instead of x.mu, so that it stays exact for large kappa.
"""

from collections.abc import Sequence

import numpy as np

from squbed_utils.estimators.checks import dimension, real_array, unit_rows


def mean_direction(n_or_mu: int | Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the unit mean direction (n,): the vector given, or the first basis vector."""
    if np.ndim(n_or_mu) == 0:
        return np.eye(1, int(dimension(n_or_mu)))[0]
    mu = real_array(n_or_mu, "mean direction")
    if mu.ndim != 1 or mu.size < 2:
        raise ValueError(f"mean direction has shape {mu.shape}; expected (n,) with n >= 2")
    return unit_rows(mu[None], "mean direction")[0]


def draw(mu: np.ndarray, kappa: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` unit vectors (count, n) around the unit vector `mu` (n,)."""
    n = mu.size
    gap = _draw_gap(n, kappa, count, rng)
    tangent = rng.standard_normal((count, n - 1))
    tangent *= np.sqrt(gap * (2 - gap) / np.einsum("ij,ij->i", tangent, tangent))[:, None]
    return _reflect(np.concatenate([1 - gap[:, None], tangent], axis=1), mu)


def _draw_gap(n: int, kappa: float, count: int, rng: np.random.Generator) -> np.ndarray:
    b = (n - 1) / (2 * kappa + np.hypot(2 * kappa, n - 1))
    gap0 = 2 * b / (1 + b)  # 1 - x0, the envelope's mode
    gap = np.empty(count)
    pending = np.arange(count)
    while pending.size:
        z = rng.beta((n - 1) / 2, (n - 1) / 2, pending.size)
        trial = 2 * b * z / (1 - z + b * z)
        ratio = (gap0 + (1 - gap0) * trial) * (1 + b) ** 2 / (4 * b)  # (1 - x0 w) / (1 - x0^2)
        log_accept = kappa * (gap0 - trial) + (n - 1) * np.log(ratio)
        accepted = log_accept >= np.log1p(-rng.random(pending.size))
        gap[pending[accepted]] = trial[accepted]
        pending = pending[~accepted]
    return gap


def _reflect(x: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Map the first basis vector to `mu` by the Householder reflection that swaps the two."""
    axis = -mu
    axis[0] += 1
    squared = axis @ axis
    return x if squared == 0 else x - np.outer(x @ axis, 2 / squared * axis)
