"""Can an archive's answer be believed? A verdict a line, each with its number.

A verdict rests on an interval or a p-value: "holds" and "does not hold" where these decide, "cannot
be told" where the tasks are too few for either. Uncertainty: higher = less certain; accuracy:
higher = better; so a good tau is negative.
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, norm, rankdata

from squbed_utils import panels
from squbed_utils.ranking import bootstrap_interval, holm
from squbed_utils.resampling import permuted_taus, resampled_taus, task_counts
from squbed_utils.summary import TERMS

HOLDS, DOES_NOT, UNKNOWN = "holds", "does not hold", "cannot be told"

FEWEST_TASKS = 8
"""Below this no interval over tasks says anything."""

LEAST_SHARE, WIDTH_MATTERS, SAME_ORDER, NARROW, P = 0.2, 0.1, 0.95, 0.5, 0.05
RESAMPLES, PERMUTATIONS, CONFIDENCE = 2000, 1000, 0.95

LINE_COLUMNS = ["theme", "question", "value", "low", "high", "pvalue", "bar", "verdict", "detail"]


def audited(summary: pd.DataFrame, accuracy: str) -> pd.DataFrame:
    """Return the tasks that have an accuracy, with what the audit reads of them.

    Parameters
    ----------
    summary : DataFrame
        As `panels.summarize_run`.
    accuracy : str
        A column of it.

    Returns
    -------
    DataFrame
        The summary's columns and `accuracy` (higher = better).

    Raises
    ------
    ValueError
        If the accuracy is unknown, or no task has it.
    """
    table = summary.assign(accuracy=panels.better_is_higher(summary, accuracy))
    table = table[table.accuracy.notna()].reset_index(drop=True)
    if table.empty:
        raise ValueError(f"no task has the accuracy {accuracy!r}; choose another")
    return table


def shares(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether both components carry the total's variance.

    share = cov(component, total) / var(total); the two add up to 1. Bootstrap over tasks.
    """
    bar = f"the lesser share at least {LEAST_SHARE}"
    line = _line("shares", "Do both components carry the total?", bar)
    if not _has_parts(table):
        return [line | {"detail": _why(table)}]
    counts = task_counts(len(table), RESAMPLES, rng)
    replicates = np.array([_covariance(table[t], table.total, counts) for t in TERMS])
    with np.errstate(invalid="ignore", divide="ignore"):
        lesser = (replicates[:2] / replicates[2]).min(axis=0)
    found = {t: np.cov(table[t], table.total)[0, 1] / table.total.var() for t in TERMS[:2]}
    low, high = bootstrap_interval(lesser, CONFIDENCE)
    verdict = HOLDS if low >= LEAST_SHARE else DOES_NOT if high < LEAST_SHARE else UNKNOWN
    r = table.aleatoric.corr(table.epistemic)
    detail = f"aleatoric {found['aleatoric']:.2f}, epistemic {found['epistemic']:.2f} of the "
    detail += f"variance; their correlation is {r:.2f}"
    return [line | _found(min(found.values()), low, high, verdict, detail)]


def widths(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether tau hangs on the encoders' widths: nats against nats per degree of freedom."""
    bar = f"tau per degree of freedom within ±{WIDTH_MATTERS} of tau"
    line = _line("widths", "Do the encoders' widths leave tau as it is?", bar)
    if not _has_parts(table) or table.total_per_dof.isna().any():
        return [line | {"detail": _why(table)}]
    scores = table[["total", "total_per_dof"]].to_numpy().T
    taus = resampled_taus(scores, table.accuracy, task_counts(len(table), RESAMPLES, rng))
    low, high = bootstrap_interval(taus[1] - taus[0], CONFIDENCE)
    nats, per_dof = (kendalltau(x, table.accuracy).statistic for x in scores)
    within = max(abs(low), abs(high)) <= WIDTH_MATTERS
    beyond = low > WIDTH_MATTERS or high < -WIDTH_MATTERS
    verdict = HOLDS if within else DOES_NOT if beyond else UNKNOWN
    detail = f"tau {nats:.2f} in nats, {per_dof:.2f} per degree of freedom"
    return [line | _found(per_dof - nats, low, high, verdict, detail)]


def weight_sweep(table: pd.DataFrame, rng: np.random.Generator, *, steps: int = 21) -> pd.DataFrame:
    """Return tau of w aleatoric + (1 - w) epistemic, each divided by its spread over tasks.

    The sum of the paper is the weight sd(A) / (sd(A) + sd(E)), which the encoders' widths set.

    Returns
    -------
    DataFrame
        weight (0 to 1), tau, low, high, paper (that weight); empty without both components.
    """
    columns = ["weight", "tau", "low", "high", "paper"]
    if not _has_parts(table):
        return pd.DataFrame(columns=columns)
    spread = table[["aleatoric", "epistemic"]].std()
    weights = np.linspace(0, 1, steps)[:, None]
    a, e = (table[t].to_numpy() / spread[t] for t in spread.index)
    scores = weights * a + (1 - weights) * e
    replicates = resampled_taus(scores, table.accuracy, task_counts(len(a), RESAMPLES, rng))
    intervals = [bootstrap_interval(row, CONFIDENCE) for row in replicates]
    taus = [kendalltau(row, table.accuracy).statistic for row in scores]
    paper = spread.aleatoric / spread.sum()
    rows = zip(weights[:, 0], taus, *zip(*intervals, strict=True), strict=True)
    return pd.DataFrame(rows, columns=columns[:4]).assign(paper=paper)


def small_samples(table: pd.DataFrame, plug_in: pd.Series | None) -> list[dict]:
    """Say whether few samples blur the tasks' order: by bias, and by noise.

    Parameters
    ----------
    table : DataFrame
    plug_in : Series or None
        The main term of each task by the plug-in estimator, in the order of the table; None where
        counts differ, so that its values do not compare.
    """
    term = main_term(table)
    bias = _line("few samples", "Does the bias leave the order?", f"tau at least {SAME_ORDER}")
    if plug_in is None:
        bias["detail"] = "counts differ between tasks, so plug-in values do not compare"
    elif len(table) >= FEWEST_TASKS:
        tau = kendalltau(table[term], plug_in).statistic
        shift = f"plug-in {term} is {(plug_in - table[term]).mean():.1f} nats from the corrected"
        verdict = HOLDS if tau >= SAME_ORDER else DOES_NOT
        bias |= {"value": tau, "verdict": verdict, "detail": shift}
    noise = _line("few samples", "Are intervals narrow?", f"at most {NARROW} of the tasks' spread")
    half = (table[f"{term}_high"] - table[f"{term}_low"]) / 2
    if half.notna().all() and len(table) >= FEWEST_TASKS:
        ratio = half.median() / table[term].std()
        detail = f"median half-width {half.median():.1f}, spread between tasks "
        detail += f"{table[term].std():.1f} (standard deviation)"
        noise |= {"value": ratio, "verdict": HOLDS if ratio <= NARROW else DOES_NOT}
        noise |= {"detail": detail}
    return [bias, noise]


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


def powers(statistics: pd.DataFrame) -> list[dict]:
    """Say whether there are enough tasks for each tau seen.

    Parameters
    ----------
    statistics : DataFrame
        panel, tau, low, high, n, pvalue: as `panels.statistics_of`.
    """
    lines = []
    for row in statistics.itertuples():
        needed = tasks_needed(row.tau)
        line = _line("power", f"Enough tasks? {row.panel}", "80 % power at the tau seen")
        verdict = HOLDS if row.n >= needed else DOES_NOT
        detail = f"tau {row.tau:.2f} needs {needed:,.0f} tasks; there are {row.n}"
        lines.append(line | {"value": needed, "verdict": verdict, "detail": detail})
    return lines


def survivals(table: pd.DataFrame, forms: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether tau survives other accuracies, chance, and what is known of the prompts.

    Parameters
    ----------
    table : DataFrame
        As `audited`.
    forms : DataFrame
        Other forms of the accuracy, a column each, a row a task of the table.
    rng : numpy.random.Generator
    """
    term = main_term(table)
    if len(table) < FEWEST_TASKS:
        detail = f"{len(table)} tasks; at least {FEWEST_TASKS} are needed"
        line = _line("survival", f"Does tau of {term} survive?", "")
        return [line | {"detail": detail}]
    enough = len(table) >= tasks_needed(kendalltau(table[term], table.accuracy).statistic)
    lines = []
    for name, values in forms.items():
        counts = task_counts(len(table), RESAMPLES, rng)
        tau, p = kendalltau(table[term], values)
        low, high = bootstrap_interval(
            resampled_taus(table[[term]].to_numpy().T, values.to_numpy(), counts)[0], CONFIDENCE
        )
        line = _line("survival", f"tau of {term} with {name}", "negative, interval below 0")
        verdict = HOLDS if high < 0 else DOES_NOT if enough else UNKNOWN
        lines.append(line | _found(tau, low, high, verdict, "") | {"pvalue": p})
    return lines + [_against_chance(table, term, rng, enough)] + _given(table, rng, enough)


def _against_chance(table: pd.DataFrame, term: str, rng: np.random.Generator, enough: bool) -> dict:
    scores = table[[term]].to_numpy().T
    null = permuted_taus(scores, table.accuracy.to_numpy(), PERMUTATIONS, rng)[0]
    tau = kendalltau(table[term], table.accuracy).statistic
    low, high = np.quantile(null, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p = (1 + (np.abs(null) >= abs(tau)).sum()) / (1 + PERMUTATIONS)
    detail = f"{CONFIDENCE:.0%} of permuted accuracies give {low:.2f} to {high:.2f}"
    line = _line("survival", f"tau of {term} against permuted accuracies", f"p below {P}")
    verdict = HOLDS if p < P and tau < 0 else DOES_NOT if enough else UNKNOWN
    return line | {"value": tau, "pvalue": p, "verdict": verdict, "detail": detail}


def _given(table: pd.DataFrame, rng: np.random.Generator, enough: bool) -> list[dict]:
    """Return partial taus: of each term given the prompt, and of each component given the other."""
    known = {"prompt length": table.prompt.str.split().map(len)}
    known |= {f"category {c}": (table.category == c) for c in table.category.unique()[1:]}
    prompt = pd.DataFrame(known).astype(float)
    asked = [(main_term(table), prompt, "prompt length and category")]
    if _has_parts(table):
        for part, other in (("aleatoric", "epistemic"), ("epistemic", "aleatoric")):
            asked.append((part, table[[other]], other))
    lines = []
    for term, covariates, name in asked:
        tau, p = partial_tau(table[term], table.accuracy, covariates, rng)
        line = _line("survival", f"tau of {term} given {name}", f"negative, p below {P}")
        verdict = HOLDS if tau < 0 and p < P else DOES_NOT if enough else UNKNOWN
        lines.append(line | {"value": tau, "pvalue": p, "verdict": verdict})
    return lines


def partial_tau(
    x: pd.Series, y: pd.Series, given: pd.DataFrame, rng: np.random.Generator
) -> tuple[float, float]:
    """Return Kendall's tau of two variables without what others explain of them, and its p-value.

    The ranks of both are regressed on the covariates (numbers by rank, indicators as they are);
    tau is that of the residuals, p that of permuting one side's residuals (Freedman and Lane 1983).

    Parameters
    ----------
    x, y : Series of float, length n
    given : DataFrame
        A column a covariate.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of float
        tau (0 where nothing is left of either) and p.
    """
    design = np.column_stack([np.ones(len(x)), rankdata(given.to_numpy(), axis=0)])
    left = []
    for values in (x, y):
        ranks = rankdata(values)
        fitted = design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
        left.append(np.round(ranks - fitted, 9))
    if min(np.ptp(v) for v in left) == 0:
        return 0.0, 1.0
    tau = kendalltau(*left).statistic
    null = permuted_taus(left[0][None], left[1], PERMUTATIONS, rng)[0]
    return float(tau), float((1 + (np.abs(null) >= abs(tau)).sum()) / (1 + PERMUTATIONS))


def subsets(curves: pd.DataFrame) -> list[dict]:
    """Say whether the disentanglement panels hang on how many tasks are kept.

    Parameters
    ----------
    curves : DataFrame
        As `panels.subset_curves`; empty where components are missing.
    """
    lines = []
    for panel, curve in curves.groupby("panel", sort=False):
        large = curve[curve["size"] >= FEWEST_TASKS]
        below = (large.hi < 0).mean() if len(large) else np.nan
        line = _line("subsets", panel, f"band below 0 at every size from {FEWEST_TASKS}")
        if len(large):
            verdict = HOLDS if below == 1 else DOES_NOT if below == 0 else UNKNOWN
            detail = f"tau from {large.tau.min():.2f} to {large.tau.max():.2f} over "
            detail += f"{len(large)} sizes; the share of sizes is given"
            line |= {"value": below, "verdict": verdict, "detail": detail}
        lines.append(line)
    return lines


def page(lines: list[dict]) -> pd.DataFrame:
    """Set the lines as one table, with Holm's correction over every p-value on it.

    Returns
    -------
    DataFrame
        `LINE_COLUMNS` and holm; a last line says what the correction leaves.
    """
    table = pd.DataFrame(lines, columns=LINE_COLUMNS)
    tested = table.pvalue.notna()
    table["holm"] = np.nan
    line = _line("many tests", "Does what is significant survive Holm?", "all of it")
    if tested.any():
        table.loc[tested, "holm"] = holm(table.pvalue[tested].astype(float))
        before, after = ((table[c] < P).sum() for c in ("pvalue", "holm"))
        verdict = HOLDS if before == after else DOES_NOT
        detail = f"{after} of {before} p-values below {P}, of {tested.sum()} on this page"
        line |= {"value": float(after), "verdict": verdict, "detail": detail}
    return pd.concat([table, pd.DataFrame([line])], ignore_index=True)


def published(figure: int) -> pd.DataFrame:
    """Audit the paper's own panels of a figure, as far as their points allow.

    Returns
    -------
    DataFrame
        panel, n, tau, pvalue, needed (tasks for 80 % power at that tau), verdict, loo_low and
        loo_high (the least and greatest tau with one task left out).
    """
    points = panels.published(figure)
    rows = []
    for stats in panels.statistics_of(points).itertuples():
        shown = points[points.panel == stats.panel]
        x, y = shown.x.to_numpy(), shown.y.to_numpy()
        keep = ~np.eye(len(x), dtype=bool)
        taus = [kendalltau(x[k], y[k]).statistic for k in keep] if len(x) > 3 else [stats.tau]
        needed = tasks_needed(stats.tau)
        verdict = HOLDS if stats.n >= needed else DOES_NOT
        row = {"panel": stats.panel, "n": stats.n, "tau": stats.tau, "pvalue": stats.pvalue}
        row |= {"needed": needed, "verdict": verdict}
        rows.append(row | {"loo_low": min(taus), "loo_high": max(taus)})
    return pd.DataFrame(rows).assign(figure=figure)


def published_page() -> pd.DataFrame:
    """Return `published` of Figures 3 to 5, with Holm's correction over all their p-values."""
    found = pd.concat([published(figure) for figure in (3, 4, 5)], ignore_index=True)
    return found.assign(holm=holm(found.pvalue))


def main_term(table: pd.DataFrame) -> str:
    """Return "total", or "epistemic" where the latent prompts are not known."""
    return "total" if table.total.notna().all() else "epistemic"


def _has_parts(table: pd.DataFrame) -> bool:
    return len(table) >= FEWEST_TASKS and bool(table[list(TERMS)].notna().all(axis=None))


def _why(table: pd.DataFrame) -> str:
    if len(table) < FEWEST_TASKS:
        return f"{len(table)} tasks; at least {FEWEST_TASKS} are needed"
    return "a component is missing: the latent prompts are not known, or it has no such form"


def _covariance(x: pd.Series, y: pd.Series, counts: np.ndarray) -> np.ndarray:
    """Return the covariance of two variables in each resample."""
    weights = counts / counts.sum(axis=1, keepdims=True)
    x, y = (v.to_numpy() - v.mean() for v in (x, y))
    return weights @ (x * y) - (weights @ x) * (weights @ y)


def _line(theme: str, question: str, bar: str) -> dict:
    return {"theme": theme, "question": question, "bar": bar, "verdict": UNKNOWN, "detail": ""}


def _found(value: float, low: float, high: float, verdict: str, detail: str) -> dict:
    return {"value": value, "low": low, "high": high, "verdict": verdict, "detail": detail}
