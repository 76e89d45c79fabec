"""The modified Bessel function behind the von Mises-Fisher distribution, without cancellation.

Two expansions cover every dimension n >= 2 and concentration 0 <= kappa <= 1e9: the Debye series
of log I_nu (DLMF 10.41) where its terms are small, the ascending power series elsewhere. Terms of
the size of kappa cancel on paper, so that the entropy keeps its digits.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
from scipy.special import gammaln

from squbed_utils.estimators.checks import KAPPA_MAX

N_DEBYE = 12
NEWTON_STEPS = 3
VARIANCE_MIN = 1e-10  # below (n - 1) / (2 kappa) at every n >= 2 and kappa <= 1e9
SERIES_TERMS = 200
CHUNK = 1 << 13  # elements worked on together, so that the temporaries stay in cache
LOG_2PI = np.log(2 * np.pi)


@cache
def debye_table() -> tuple[np.ndarray, np.ndarray]:
    r"""Return the coefficients of log V and of Q1, exact rationals rounded once.

    V = sum_j u_j(t) / w^j is the Debye series with nu^-j U_j(p) = u_j(p^2) / w^j and the
    recurrence DLMF 10.41.9; log V = sum_j E_j(t) / w^j is its logarithm as a formal series,
    and Q1 = sum_j w^-j sum_i (j + 2 i) e_ji t^i. In both tables, float (N_DEBYE + 1, N_DEBYE + 1),
    entry (i, j) multiplies t^i / w^j.
    """
    logs = _log_of_series(_debye_polynomials())
    log_v = np.zeros((N_DEBYE + 1, N_DEBYE + 1))
    q1 = np.zeros_like(log_v)
    for j, polynomial in enumerate(logs):
        for i, coefficient in enumerate(polynomial):
            log_v[i, j] = float(coefficient)
            q1[i, j] = float((j + 2 * i) * coefficient)
    return log_v, q1


def _debye_polynomials() -> list[list[Fraction]]:
    """Return u_0 .. u_K of DLMF 10.41.9 as polynomials in t = p^2."""
    polynomials = [[Fraction(1)]]
    for k in range(N_DEBYE):
        following = [Fraction(0)] * (k + 2)
        for i, c in enumerate(polynomials[k]):
            power = k + 2 * i
            following[i] += c * (Fraction(power, 2) + Fraction(1, 8 * (power + 1)))
            following[i + 1] -= c * (Fraction(power, 2) + Fraction(5, 8 * (power + 3)))
        polynomials.append(following)
    return polynomials


def _log_of_series(u: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return the coefficients of log(1 + sum_k u_k x^k): k l_k = k u_k - sum_j j l_j u_(k-j)."""
    logs = [[Fraction(0)]]
    for k in range(1, len(u)):
        term = list(u[k])
        for j in range(1, k):
            for a, x in enumerate(logs[j]):
                for b, y in enumerate(u[k - j]):
                    term[a + b] -= Fraction(j, k) * x * y
        logs.append(term)
    return logs


def log_area(n: np.ndarray) -> np.ndarray:
    """Return log(2 pi^(n/2) / Gamma(n/2)), the log surface area of the unit sphere in R^n."""
    return np.log(2) + n / 2 * np.log(np.pi) - gammaln(n / 2)


def entropies(n: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Return log C and the entropy, nats (2, N), of checked dimensions and concentrations (N,)."""
    return _by_chunk(_debye_entropies, _series_entropies, n, kappa)


def resultants(n: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Return A and 1 - A, (2, N), each to full relative precision; arguments as for `entropies`."""
    return _by_chunk(_debye_resultants, _series_resultants, n, kappa)


def solve_kappa(n: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return kappa (N,) for dimensions and spherical variances (N,) strictly between 0 and 1."""
    variance = np.maximum(variance, VARIANCE_MIN)
    resultant = 1 - variance
    target = np.log1p(-variance) - np.log(variance)
    start = resultant * (n - resultant**2) / (variance * (1 + resultant))
    kappa = np.minimum(start, KAPPA_MAX)
    for _ in range(NEWTON_STEPS):
        a, rest = resultants(n, kappa)
        slope = kappa * (1 + a) / a - (n - 1) / rest  # d logit A / d log kappa
        step = (target - np.log(a) + np.log(rest)) / slope
        kappa = np.minimum(kappa * np.exp(step), KAPPA_MAX)
    return kappa


def _by_chunk(debye: Callable, series: Callable, n: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Evaluate each element by the expansion that holds for it; each gives two values, (2, N)."""
    out = np.empty((2, n.size))
    for start in range(0, n.size, CHUNK):
        part = slice(start, start + CHUNK)
        nu, k = n[part] / 2 - 1, kappa[part]
        large = (np.hypot(nu, k) >= 30) & (k**2 > 16 * (nu + 1))
        if large.all():
            out[:, part] = debye(nu, k)
        else:
            values = out[:, part]
            values[:, large] = debye(nu[large], k[large])
            values[:, ~large] = series(nu[~large], k[~large])
    return out


def _double_sum(table: np.ndarray, t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return sum_ij table_ij t^i x^j by Horner's rule, for a table with i <= j only."""
    rows = np.zeros((len(table), t.size))
    for i in reversed(range(len(table))):
        rows[i:] *= t
        rows[i:] += table[i, i:, None]
    total = rows[-1]
    for row in rows[-2::-1]:
        total = total * x + row
    return total


def _debye_slope(nu: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return 1/2 + Q1."""
    return 0.5 + _double_sum(debye_table()[1], (nu / w) ** 2, 1 / w)


def _debye_resultants(nu: np.ndarray, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w = np.hypot(nu, kappa)
    small = kappa / w**2 * _debye_slope(nu, w)
    return kappa / (w + nu) - small, nu * (1 + nu / (w + kappa)) / (w + nu) + small


def _debye_entropies(nu: np.ndarray, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w = np.hypot(nu, kappa)
    log_v = _double_sum(debye_table()[0], (nu / w) ** 2, 1 / w)
    log_nu_w = np.log(nu + w)
    shared = (nu + 0.5) * LOG_2PI - 0.5 * np.log(w) + log_v
    entropy = shared - nu * (log_nu_w - 1) + (kappa / w) ** 2 * _debye_slope(nu, w)
    return nu * log_nu_w - w - shared, entropy


def _series_resultants(nu: np.ndarray, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, a = _series(nu, kappa)
    return a, 1 - a


def _series_entropies(nu: np.ndarray, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    log_f, a = _series(nu, kappa)
    log_c = -log_area(2 * nu + 2) - log_f
    return log_c, -log_c - kappa * a


def _series(nu: np.ndarray, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log F and A from the ascending series, all of whose terms are positive."""
    quarter = kappa**2 / 4
    term = np.ones_like(kappa)
    tail = np.zeros_like(kappa)  # F - 1, so that log F keeps its digits for small kappa
    weighted = np.zeros_like(kappa)  # A F / (kappa / 2)
    for j in range(1, SERIES_TERMS):
        weighted += term / (nu + j)
        term = term * quarter / (j * (nu + j))
        tail += term
        if np.all(term <= 1e-18 * tail):
            break
    return np.log1p(tail), kappa / 2 * weighted / (1 + tail)
