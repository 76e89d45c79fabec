"""Whether there are enough tasks: in an archive, and in the paper's own panels."""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, norm

from squbed_utils.files import seed_of
from squbed_utils.statistics import tables
from squbed_utils.statistics.audit_lines import (
    CONFIDENCE,
    DOES_NOT,
    FEWEST_TASKS,
    HOLDS,
    PERMUTATIONS,
    P,
    line,
)
from squbed_utils.statistics.ranking import holm
from squbed_utils.statistics.resampling import permuted_taus

NO_PANELS = "the tasks are few, or have the same uncertainty or accuracy"


def tasks_needed(tau: float, *, power: float = 0.8, alpha: float = P) -> float:
    """Return how many tasks show a tau with a given power (two-sided test, normal limit).

    The least n at which |tau| >= (z_(1 - alpha/2) + z_power) sd, sd^2 = 2 (2n + 5) / (9 n (n - 1))
    the null variance of tau (Kendall 1938).

    Returns
    -------
    float
        At least 4; infinite at tau = 0.

    Examples
    --------
    >>> [tasks_needed(tau) for tau in (0.7, 0.5, 0.155)]
    [10.0, 18.0, 149.0]

    """
    if tau == 0:
        return np.inf
    ratio = 9 * tau**2 / (2 * (norm.ppf(1 - alpha / 2) + norm.ppf(power)) ** 2)
    b = -(ratio + 2)  # ratio n^2 - (ratio + 2) n - 5 >= 0
    return float(max(4, np.ceil((-b + np.sqrt(b**2 + 20 * ratio)) / (2 * ratio))))


def null_end(n: int) -> float:
    """Return where the middle 95 % of tau ends if nothing is there, by its null variance.

    >>> round(null_end(150), 3)
    0.108
    """
    return float(norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))


def powers(statistics: pd.DataFrame) -> list[dict]:
    """Say whether there are enough tasks for each tau seen.

    Parameters
    ----------
    statistics : DataFrame
        panel, tau, n, pvalue: as `tables.statistics_of`; may be empty.
    """
    bar = "80 % power at the tau seen"
    if statistics.empty:
        return [line("power", "Enough tasks?", bar, detail=NO_PANELS)]
    lines = []
    for row in statistics.itertuples():
        needed = tasks_needed(row.tau)
        found = {"value": needed, "pvalue": row.pvalue}
        found["verdict"] = HOLDS if row.n >= needed else DOES_NOT
        found["detail"] = f"tau {row.tau:.2f} needs {needed:,.0f} tasks; there are {row.n}"
        lines.append(line("power", f"Enough tasks? {row.panel}", bar, **found))
    return lines


def published(figure: int) -> pd.DataFrame:
    """Audit the paper's own panels of a figure, as far as their points allow.

    Returns
    -------
    DataFrame
        panel, n, tau, low, high (95 % bootstrap interval; missing with fewer than 8 tasks), pvalue,
        null_low, null_high (the middle 95 % of taus with permuted accuracies), needed (tasks for
        80 % power at that tau), verdict, loo_low and loo_high (the least and greatest tau with one
        task left out).
    """
    points = tables.published(figure)
    rows = []
    for stats in tables.statistics_of(points).itertuples():
        shown = points[points.panel == stats.panel]
        x, y = shown.x.to_numpy(), shown.y.to_numpy()
        keep = ~np.eye(len(x), dtype=bool)
        taus = [kendalltau(x[k], y[k]).statistic for k in keep] if len(x) > 3 else [stats.tau]
        needed = tasks_needed(stats.tau)
        verdict = HOLDS if stats.n >= needed else DOES_NOT
        row = {"panel": stats.panel, "n": stats.n, "tau": stats.tau}
        ends = (stats.low, stats.high) if stats.n >= FEWEST_TASKS else (np.nan, np.nan)
        row |= dict(zip(("low", "high"), ends, strict=True)) | {"pvalue": stats.pvalue}
        rng = np.random.default_rng(seed_of("published", figure, stats.panel))
        null = permuted_taus(x[None], y, PERMUTATIONS, rng)[0]
        ends = np.quantile(null, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        row |= dict(zip(("null_low", "null_high"), ends, strict=True))
        row |= {"needed": needed, "verdict": verdict}
        rows.append(row | {"loo_low": min(taus), "loo_high": max(taus)})
    return pd.DataFrame(rows).assign(figure=figure)


def published_page() -> pd.DataFrame:
    """Return `published` of Figures 3 to 5, with Holm's correction over all their p-values."""
    found = pd.concat([published(figure) for figure in (3, 4, 5)], ignore_index=True)
    return found.assign(holm=holm(found.pvalue))
