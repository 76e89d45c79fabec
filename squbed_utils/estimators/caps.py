"""Areas of caps on the unit sphere."""

import numpy as np
from scipy.special import betainc, betaln, gammaln, hyp2f1

UNDERFLOW = 1e-200
"""Share of a half sphere under which its logarithm is summed without the share itself."""


def log_cap_area(d: int, squared_chord: np.ndarray) -> np.ndarray:
    """Return the log area of caps on the unit sphere in R^d.

    A(r) = (area of the sphere / 2) I_x((d-1)/2, 1/2) with x = sin^2 r, to r = pi/2 (Li 2011), and
    the sphere less the opposite cap beyond. r is given by the chord, 2 sin(r/2), above 0; shape
    (..., m) in and out.
    """
    squared_sine = squared_chord * (1 - squared_chord / 4)
    squared_sine = np.maximum(squared_sine, np.finfo(float).tiny)  # opposite: the whole sphere
    log_share = _log_betainc((d - 1) / 2, squared_sine) - np.log(2)
    beyond = squared_chord > 2
    log_share[beyond] = np.log1p(-np.exp(log_share[beyond]))
    return np.log(2) + d / 2 * np.log(np.pi) - gammaln(d / 2) + log_share


def _log_betainc(a: float, x: np.ndarray) -> np.ndarray:
    """Return log I_x(a, 1/2), where it underflows by its hypergeometric series (DLMF 8.17.7)."""
    share = betainc(a, 0.5, x)
    small = share < UNDERFLOW
    result = np.log(np.where(small, 1.0, share))
    y = x[small]
    series = np.log(hyp2f1(a + 0.5, 1, a + 1, y))
    result[small] = a * np.log(y) + 0.5 * np.log1p(-y) - np.log(a) - betaln(a, 0.5) + series
    return result
