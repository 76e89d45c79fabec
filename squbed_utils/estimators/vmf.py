"""The von Mises-Fisher distribution on the unit sphere in R^n: entropy, fit, sampling.

Density C_n(kappa) exp(kappa mu.x) with respect to the sphere's surface measure. Everything is
batched, accurate from n = 2 to n = 8192 and from kappa = 0 to 1e9, and never returns NaN.

n is the ambient dimension, int of at least 2; kappa the concentration, float from 0 to 1e9. Arrays
of them broadcast; a value outside, or NaN, is a ValueError that names its index.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import uniform_direction, vonmises_fisher

from squbed_utils.estimators import bessel, checks

BLOCK = 1 << 18  # sample components per block of a batched fit: 2 MB, near a core's cache

NEAR = 1e-2
"""Below this 1 - |mean|^2 loses digits, and distances from the mean are summed instead."""

TINY = 1e-28
"""Below this |mean|^2 is rounding, and samples cancel."""


@dataclass(frozen=True)
class Fit:
    """A batch of fitted von Mises-Fisher distributions.

    `kappa` (...), 0 to 1e9; `mu` (..., n), mean directions of unit length: where the samples cancel
    exactly (kappa 0), every direction is one, and it is the first sample; `degenerate` (...), True
    where the samples are identical to rounding, so that `kappa` is the cap 1e9.
    """

    kappa: np.ndarray
    mu: np.ndarray
    degenerate: np.ndarray


def log_normalizer(n: ArrayLike, kappa: ArrayLike) -> np.ndarray:
    """Return log C_n(kappa), the log of the density's normalizing constant.

    C_n(kappa) = kappa^nu / ((2 pi)^(n/2) I_nu(kappa)), nu = n/2 - 1 (Mardia and Jupp 2000,
    sec. 9.3.2); I_nu by its Debye series (DLMF 10.41) or its power series.

    Nats; minus the log area of the sphere at kappa 0, then falling with kappa. Within 2e-13 of the
    truth, relative to max(1, |log C|); where log C crosses 0 in thousands of dimensions, within the
    effect of rounding kappa itself (2e-12 at n = 8192).

    >>> round(float(log_normalizer(3, 1.0)), 12)  # log(1 / (4 pi sinh 1))
    -2.69246360854
    """
    return _evaluate(bessel.entropies, 0, n, kappa)


def mean_resultant_length(n: ArrayLike, kappa: ArrayLike) -> np.ndarray:
    """Return A_n(kappa) = |E x| = I_(n/2)(kappa) / I_(n/2-1)(kappa).

    Source: Mardia and Jupp 2000, sec. 9.3.2; evaluated without cancellation at both ends.

    From 0 (uniform) to 1 (a point); no unit.

    >>> round(float(mean_resultant_length(3, 1.0)), 12)  # coth 1 - 1
    0.313035285499
    """
    return _evaluate(bessel.resultants, 0, n, kappa)


def entropy(n: ArrayLike, kappa: ArrayLike) -> np.ndarray:
    """Return the differential entropy h = -log C_n(kappa) - kappa A_n(kappa).

    With respect to the sphere's surface measure, as in `scipy.stats.vonmises_fisher`. The terms
    of size kappa are cancelled on paper, not in floating point.

    Nats; the log area of the sphere at kappa 0, then falling with kappa.

    >>> round(float(entropy(3, 0.0)), 12)  # log(4 pi)
    2.531024246969
    """
    return _evaluate(bessel.entropies, 1, n, kappa)


def entropy_per_dof(n: ArrayLike, h: ArrayLike) -> np.ndarray:
    """Return (h - log area_n) / (n - 1), an entropy per degree of freedom of the sphere.

    Entropies of embeddings of different widths are not commensurable in nats; this form is 0
    for the uniform distribution in every dimension and about log sqrt(1 - A^2) elsewhere.

    Nats per degree of freedom, at most 0. An h that is not finite is refused.

    >>> float(entropy_per_dof(3, entropy(3, 0.0)))
    0.0
    """
    n, h = checks.dimension(n), np.asarray(h, dtype=float)
    checks.require(np.isfinite(h), h, "entropy h", "a finite number of nats")
    return (h - bessel.log_area(n)) / (n - 1)


def kappa_from_spherical_variance(n: ArrayLike, variance: ArrayLike) -> np.ndarray:
    """Return the kappa at which 1 - A_n(kappa) equals the spherical variance 1 - R.

    Newton on logit A against log kappa from the start of Banerjee et al. 2005 (eq. 4.4). The
    argument is 1 - R and not R because R keeps few digits when samples lie close together.

    The variance (Mardia and Jupp 2000, sec. 9.2) is from 0 to 1, else it is refused; kappa is from
    0 (variance 1) to the cap 1e9 (variance 0).

    >>> round(float(kappa_from_spherical_variance(3, 1 - 0.313035285499)), 9)
    1.0
    """
    n, variance = checks.dimension(n), np.asarray(variance, dtype=float)
    checks.require(
        (variance >= 0) & (variance <= 1), variance, "spherical variance 1 - R", "0 to 1"
    )
    n, variance = np.broadcast_arrays(n, variance)
    out = np.where(variance == 0, checks.KAPPA_MAX, 0.0)
    inside = (variance > 0) & (variance < 1)
    out[inside] = bessel.solve_kappa(n[inside], variance[inside])
    return out[()]


def fit(samples: ArrayLike, *, corrected: bool = True) -> Fit:
    """Fit one von Mises-Fisher distribution to each set of m directions.

    The plug-in (maximum likelihood) kappa solves A_n(kappa) = |xbar|. Its entropy is biased by
    -(n-1)/2 log(m/(m-1)), tens of nats at ten samples. The corrected kappa solves
    A_n(kappa)^2 = max(1 - v, 0) with v = sum |x_i - xbar|^2 / (m - 1): 1 - v is the mean
    pairwise cosine, which estimates |E x|^2 without bias for every distribution on the sphere.

    Parameters
    ----------
    samples : array_like of float, shape (..., m, n)
        Directions of any positive length (divided by it here), m >= 2, n >= 2.
    corrected : bool
        False for the plug-in fit.

    Returns
    -------
    Fit
        Of the leading shape (...); `mu` has shape (..., n).

    Raises
    ------
    ValueError
        If the shape is wrong, m < 2, n < 2, or a sample is zero, NaN or infinite; the message
        names the sample's index.

    Examples
    --------
    >>> fit([[1.0, 0.0], [0.0, 1.0]], corrected=False).mu.round(3)
    array([0.707, 0.707])
    """
    return fit_all([samples], corrected=corrected)[0]


def fit_all(batches: Sequence[ArrayLike], *, corrected: bool = True) -> list[Fit]:
    """Return the fits, as `fit`, to several batches of any shapes, all solved together."""
    directions, widths, deficits = [], [], []
    for samples in batches:
        samples = _sample_array(samples)
        *leading, m, n = samples.shape
        mu, variance = _directions_and_variances(samples.reshape(-1, m, n), leading)
        directions.append(mu.reshape(*leading, n))
        widths.append(np.full(len(variance), n))
        deficits.append(np.minimum(variance * m / (m - 1 if corrected else m), 1.0))  # 1 - R^2
    deficit = np.concatenate(deficits)
    variance = deficit / (1 + np.sqrt(1 - deficit))
    kappa = kappa_from_spherical_variance(np.concatenate(widths), variance)
    parts = np.split(kappa, np.cumsum([*map(len, deficits)])[:-1])
    parts = [of.reshape(mu.shape[:-1])[()] for of, mu in zip(parts, directions, strict=True)]
    return [Fit(of, mu, of >= checks.KAPPA_MAX) for of, mu in zip(parts, directions, strict=True)]


def sample(
    n: int, kappa: float, size: int | tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Draw directions (*size, n) around the first basis vector; uniform ones at kappa 0.

    By `scipy.stats.vonmises_fisher`; `kappa` is from 0 to 1e9.

    >>> sample(3, 10.0, (4, 2), np.random.default_rng(0)).shape
    (4, 2, 3)
    """
    checks.require_generator(rng)
    n, kappa = int(checks.dimension(n)), float(checks.concentration(kappa))
    shape = (size,) if isinstance(size, int | np.integer) else tuple(size)
    family = vonmises_fisher(np.eye(1, n)[0], kappa) if kappa else uniform_direction(n)
    return family.rvs(int(np.prod(shape)), random_state=rng).reshape(*shape, n)


def _evaluate(function: Callable, row: int, n: ArrayLike, kappa: ArrayLike) -> np.ndarray:
    n, kappa = np.broadcast_arrays(checks.dimension(n), checks.concentration(kappa))
    return function(n.ravel(), kappa.ravel())[row].reshape(n.shape)[()]


def _index_in(leading: list[int], start: int, row: int, i: int) -> tuple[int, ...]:
    """Return the index into samples (..., m, n) of sample i in row `row` of a block."""
    return (*map(int, np.unravel_index(start + row, leading)), i)


def _directions_and_variances(
    samples: np.ndarray, leading: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean directions (b, n) and 1 - |mean|^2 (b,) of samples (b, m, n) at unit length.

    A fit of large batches is bound by memory traffic: samples are read once, in blocks, and none
    is written at unit length but where the mean alone does not say enough.
    """
    m, n = samples.shape[1:]
    mu, squared = np.empty((len(samples), n)), np.empty(len(samples))
    step = max(1, BLOCK // (m * n))
    for start in range(0, len(samples), step):
        block = slice(start, start + step)
        x, length = checks.measured_rows(
            samples[block], "sample", partial(_index_in, leading, start)
        )
        mean = np.matmul(1 / (m * length[:, None]), x)[:, 0]
        squared[block] = np.vecdot(mean, mean)
        np.divide(mean, np.sqrt(np.maximum(squared[block], TINY))[:, None], out=mu[block])
    variance = 1 - squared
    for i in np.flatnonzero((squared > 1 - NEAR) | (squared < TINY)):
        unit = checks.unit_rows(samples[i], "sample")
        mean = unit.mean(axis=0)
        variance[i] = np.square(unit - mean).sum() / m
        mu[i] = checks.unit_rows(mean if mean.any() else unit[0], "mean")
    return mu, variance


def _sample_array(samples: ArrayLike) -> np.ndarray:
    samples = checks.real_array(samples, "samples")
    if samples.ndim < 2:
        raise ValueError(f"samples have shape {samples.shape}; expected (..., m, n)")
    if samples.shape[-2] < 2:
        raise ValueError(
            f"samples have shape {samples.shape}, so m = {samples.shape[-2]}; "
            "a fit needs at least 2 samples along the last axis but one"
        )
    checks.dimension(samples.shape[-1])
    return samples
