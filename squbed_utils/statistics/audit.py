"""Can an archive's answer be believed? A verdict a line, each with its number.

A verdict rests on an interval or a p-value: "holds" and "does not hold" where these decide, "cannot
be told" where the tasks are too few for either. Uncertainty: higher = less certain; accuracy:
higher = better; so a good tau is negative. A tau that is seen to be above -0.1 does not hold.

Each question takes `table`, the tasks as `audited` returns them, and a generator for its resamples,
and returns a list of `line`.
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, norm, rankdata

from squbed_utils.files import seed_of
from squbed_utils.statistics import tables
from squbed_utils.statistics.calibration import bootstrap_interval, holm
from squbed_utils.statistics.resampling import (
    FEWEST_TASKS,
    concordance,
    permuted_taus,
    rereferenced_taus,
    resampled_taus,
    task_counts,
)
from squbed_utils.statistics.summary import TERMS

HOLDS, DOES_NOT, UNKNOWN = "holds", "does not hold", "cannot be told"

NEGLIGIBLE = 0.1
"""Size of a tau that is of no use: where tau is seen to be above minus this, it does not hold."""

P, CONFIDENCE = 0.05, 0.95

RESAMPLES, PERMUTATIONS = 2000, 1000

LINE_COLUMNS = ["theme", "question", "value", "low", "high", "pvalue", "bar", "verdict", "detail"]


def line(theme: str, question: str, bar: str, **found: object) -> dict:
    """Return a row of `LINE_COLUMNS`; its verdict is "cannot be told" unless `found` gives one."""
    unknown = {"verdict": UNKNOWN, "detail": ""}
    return {"theme": theme, "question": question, "bar": bar} | unknown | found


def found(value: float, low: float, high: float, verdict: str, detail: str) -> dict:
    """Return the columns of `line` that an interval gives."""
    return {"value": value, "low": low, "high": high, "verdict": verdict, "detail": detail}


def negative(low: float, high: float) -> str:
    """Say whether a tau is negative, by its interval."""
    return HOLDS if high < 0 else DOES_NOT if low > -NEGLIGIBLE else UNKNOWN


def main_term(table: pd.DataFrame) -> str:
    """Return "total", or "epistemic" where the latent prompts are not known."""
    return "total" if table.total.notna().all() else "epistemic"


def lack(table: pd.DataFrame, *there: str, varying: tuple[str, ...] = ()) -> str:
    """Return why a line cannot be told: few tasks, a column with gaps, or a constant one.

    Empty if the columns in `there` and `varying` have no gaps, and those in `varying` differ by
    task.
    """
    if len(table) < FEWEST_TASKS:
        return f"{len(table)} tasks; at least {FEWEST_TASKS} are needed"
    for name in (*there, *varying):
        if table[name].isna().any():
            return f"{name} is missing: latent prompts are not known, or it has no such form"
    constant = [name for name in varying if table[name].nunique() < 2]
    return f"{constant[0]} is the same for every task" if constant else ""


LEAST_SHARE, WIDTH_MATTERS, SAME_ORDER, NARROW = 0.2, 0.1, 0.95, 0.5

NO_PLUG_IN = "plug-in values compare with squbed's alone, and at equal counts"


def accuracy_of(summary: pd.DataFrame, accuracy: str = "") -> str:
    """Return an accuracy's name; "" is CLIP to the reference, or to the prompt if there is none."""
    return accuracy or tables.default_accuracy(summary)


def audited(summary: pd.DataFrame, accuracy: str) -> pd.DataFrame:
    """Return the tasks, as `tables.measured`, that have an accuracy, with that in one column.

    Parameters
    ----------
    summary : DataFrame
        As `tables.summarize_run`.
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
    table = tables.measured(summary)
    table = table.assign(accuracy=tables.better_is_higher(table, accuracy))
    table = table[table.accuracy.notna()].reset_index(drop=True)
    if table.empty:
        there = tables.accuracies_there(summary)
        raise ValueError(f"no task has the accuracy {accuracy!r}; there is: {there}")
    return table


def shares(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether both components carry the total's variance.

    share = cov(component, total) / var(total); the two add up to 1. Bootstrap over tasks.
    """
    bar = f"the lesser share at least {LEAST_SHARE}"
    asked = "shares", "Do both components carry the total?", bar
    why = lack(table, *TERMS[:2], varying=("total",))
    if not why and not np.allclose(table.aleatoric + table.epistemic, table.total):
        why = "this estimator's components do not add up to its total"
    if why:
        return [line(*asked, detail=why)]
    counts = task_counts(len(table), RESAMPLES, rng)
    replicates = np.array([_covariance(table[t], table.total, counts) for t in TERMS])
    with np.errstate(invalid="ignore", divide="ignore"):
        lesser = (replicates[:2] / replicates[2]).min(axis=0)
    a, e = (np.cov(table[t], table.total)[0, 1] / table.total.var() for t in TERMS[:2])
    low, high = bootstrap_interval(lesser, CONFIDENCE)
    verdict = HOLDS if low >= LEAST_SHARE else DOES_NOT if high < LEAST_SHARE else UNKNOWN
    twice = 2 * table.aleatoric.cov(table.epistemic) / table.total.var()
    detail = f"aleatoric {a:.2f}, epistemic {e:.2f} of the variance, of which their covariance "
    detail += f"is {twice:.2f}"
    return [line(*asked, **found(min(a, e), low, high, verdict, detail))]


def widths(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether tau hangs on the encoders' widths: nats against nats per degree of freedom."""
    bar = f"tau per degree of freedom within ±{WIDTH_MATTERS} of tau"
    asked = "widths", "Do the encoders' widths leave tau as it is?", bar
    scores = ("total", "total_per_dof")
    if why := lack(table, varying=(*scores, "accuracy")):
        return [line(*asked, detail=why)]
    scores = table[[*scores]].to_numpy(dtype=float).T
    taus = resampled_taus(scores, table.accuracy, task_counts(len(table), RESAMPLES, rng))
    low, high = bootstrap_interval(taus[1] - taus[0], CONFIDENCE)
    nats, per_dof = (kendalltau(x, table.accuracy).statistic for x in scores)
    within = max(abs(low), abs(high)) <= WIDTH_MATTERS
    beyond = low > WIDTH_MATTERS or high < -WIDTH_MATTERS
    verdict = HOLDS if within else DOES_NOT if beyond else UNKNOWN
    detail = f"tau {nats:.2f} in nats, {per_dof:.2f} per degree of freedom"
    if np.corrcoef(scores)[0, 1] > 1 - 1e-9:
        detail += "; the widths are equal, so one form is the other rescaled"
    return [line(*asked, **found(per_dof - nats, low, high, verdict, detail))]


def weight_sweep(table: pd.DataFrame, rng: np.random.Generator, *, steps: int = 21) -> pd.DataFrame:
    """Return tau of w aleatoric + (1 - w) epistemic, each divided by its spread over tasks.

    The sum of the paper is the weight sd(A) / (sd(A) + sd(E)), which the encoders' widths set.

    Returns
    -------
    DataFrame
        weight (0 to 1), tau, low, high, paper (the paper's weight); empty where a component is
        missing or the same for every task.
    """
    columns = ["weight", "tau", "low", "high", "paper"]
    if lack(table, "total", varying=("aleatoric", "epistemic", "accuracy")):
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

    `plug_in` is as `audit_samples.plug_in`, in the order of the table; None where it does not
    compare.
    """
    term = main_term(table)
    bias = line("few samples", "Does the bias leave the order?", f"tau at least {SAME_ORDER}")
    noise = line("few samples", "Are intervals narrow?", f"at most {NARROW} of the tasks' spread")
    why = lack(table, varying=(term,))
    if why or plug_in is None:
        bias["detail"] = why or NO_PLUG_IN
    else:
        tau = kendalltau(table[term], plug_in).statistic
        shift = f"plug-in {term} is {(plug_in - table[term]).mean():.1f} nats from the corrected"
        bias |= {"value": tau, "verdict": HOLDS if tau >= SAME_ORDER else DOES_NOT, "detail": shift}
    half = ((table[f"{term}_high"] - table[f"{term}_low"]) / 2).dropna()
    with_one = f"{len(half)} of {len(table)} tasks have an interval"
    if why or len(half) < len(table) / 2:
        noise["detail"] = why or f"{with_one}; the others have too few distinct latent prompts"
    else:
        spread = table[term].std()
        ratio = half.median() / spread
        detail = f"median half-width {half.median():.3g}, spread between tasks {spread:.3g} "
        detail += "(standard deviation)" + (f"; {with_one}" if len(half) < len(table) else "")
        noise |= {"value": ratio, "verdict": HOLDS if ratio <= NARROW else DOES_NOT}
        noise |= {"detail": detail}
    return [bias, noise]


def subsets(curves: pd.DataFrame) -> list[dict]:
    """Say whether Figure 5's panels hold at every subset size.

    `curves` are as `tables.subset_curves`; empty where components are missing.
    """
    bar = f"band below 0 at every size from {FEWEST_TASKS}; not if one is above -{NEGLIGIBLE}"
    if curves.empty:
        detail = "the tasks are few, or a component is missing or the same for many tasks"
        question = "Do the panels of Figure 5 hold at every size?"
        return [line("subsets", question, bar, detail=detail)]
    lines = []
    for panel, curve in curves.groupby("panel", sort=False):
        large = curve[curve["size"] >= FEWEST_TASKS]
        shown = {"detail": f"no subset has {FEWEST_TASKS} tasks"}
        if len(large):
            below = (large.hi < 0).mean()
            above = (large.lo > -NEGLIGIBLE).any()
            verdict = HOLDS if below == 1 else DOES_NOT if above else UNKNOWN
            detail = f"tau from {large.tau.min():.2f} to {large.tau.max():.2f} over "
            detail += f"{len(large)} sizes; the share of sizes is given"
            shown = {"value": below, "verdict": verdict, "detail": detail}
        lines.append(line("subsets", panel, bar, **shown))
    return lines


def page(lines: list[dict]) -> pd.DataFrame:
    """Return the lines as one table, with Holm's correction over every p-value on it.

    Returns
    -------
    DataFrame
        `LINE_COLUMNS` and holm; the last line says what the correction leaves significant.
    """
    table = pd.DataFrame(lines, columns=LINE_COLUMNS)
    tested = table.pvalue.notna()
    table["holm"] = np.nan
    last = line("many tests", "Does what is significant survive Holm?", "all of it")
    if tested.any():
        table.loc[tested, "holm"] = holm(table.pvalue[tested].astype(float))
        before, after = ((table[c] < P).sum() for c in ("pvalue", "holm"))
        verdict = UNKNOWN if not before else HOLDS if before == after else DOES_NOT
        detail = f"{after} of {before} p-values below {P}, of {tested.sum()} on this page"
        last |= {"value": float(after), "verdict": verdict, "detail": detail}
    return pd.concat([table, pd.DataFrame([last])], ignore_index=True)


def _covariance(x: pd.Series, y: pd.Series, counts: np.ndarray) -> np.ndarray:
    """Return the covariance of two variables in each resample."""
    weights = counts / counts.sum(axis=1, keepdims=True)
    x, y = (v.to_numpy() - v.mean() for v in (x, y))
    return weights @ (x * y) - (weights @ x) * (weights @ y)


NO_PANELS = "the tasks are few, or have the same uncertainty or accuracy"


def tasks_needed(tau: float, *, power: float = 0.8, alpha: float = P) -> float:
    """Return how many tasks show a tau with a given power (two-sided test, normal limit).

    The least n at which |tau| >= (z_(1 - alpha/2) + z_power) sd, sd^2 = 2 (2n + 5) / (9 n (n - 1))
    the null variance of tau (Kendall 1938); at least 4, infinite at tau = 0.

    >>> [tasks_needed(tau) for tau in (0.7, 0.5, 0.155)]
    [10.0, 18.0, 149.0]
    """
    if tau == 0:
        return np.inf
    ratio = 9 * tau**2 / (2 * (norm.ppf(1 - alpha / 2) + norm.ppf(power)) ** 2)
    b = -(ratio + 2)  # ratio n^2 - (ratio + 2) n - 5 >= 0
    return float(max(4, np.ceil((-b + np.sqrt(b**2 + 20 * ratio)) / (2 * ratio))))


def null_end(n: int) -> float:
    """Return where the middle 95 % of tau ends if the true tau is 0, by its null variance.

    >>> round(null_end(150), 3)
    0.108
    """
    return float(norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))


def powers(statistics: pd.DataFrame) -> list[dict]:
    """Say whether there are enough tasks for each tau seen.

    `statistics` has panel, tau, n and pvalue, as `tables.statistics_of`; it may be empty.
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

    Columns: panel, n, tau, low, high (95 % bootstrap interval; missing with fewer than 8 tasks),
    pvalue, null_low, null_high (the middle 95 % of taus with permuted accuracies), needed (tasks
    for 80 % power at that tau), verdict, loo_low, loo_high (least and greatest tau with one task
    left out).
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


FORM_NOTES = {
    "mean": "falls with spread by itself, for any reference",
    "best": "rises with spread by itself, which works against a negative tau",
    "centroid": "what does not fall with spread by itself",
    "centroid, stand-in": "spread is the video encoder's, as CLIP's embeddings are not stored",
}
"""What a reader must know of a form of accuracy."""


def survivals(
    table: pd.DataFrame,
    forms: pd.DataFrame,
    rng: np.random.Generator,
    similarity: np.ndarray | None = None,
) -> list[dict]:
    """Say whether tau survives other accuracies, chance, and what is known of the prompts.

    Parameters
    ----------
    table : DataFrame
        As `audited`.
    forms : DataFrame
        As `audit_samples.accuracy_forms`: a column a form of accuracy, a row a task of the table.
    rng : numpy.random.Generator
    similarity : ndarray of float, shape (n, n), optional
        As `summary.reference_similarity`, in the order of the table.
    """
    term = main_term(table)
    if why := lack(table, varying=(term, "accuracy")):
        return [line("survival", f"Does tau of {term} survive?", "negative", detail=why)]
    lines = []
    for name, values in forms.items():
        bar = f"interval below 0; not if it is above -{NEGLIGIBLE}"
        asked = "survival", f"tau of {term} with {name}", bar
        if values.nunique() < 2:
            lines.append(line(*asked, detail=f"{name} is the same for every task"))
            continue
        counts = task_counts(len(table), RESAMPLES, rng)
        tau, p = kendalltau(table[term], values)
        low, high = bootstrap_interval(
            resampled_taus(table[[term]].to_numpy().T, values.to_numpy(), counts)[0], CONFIDENCE
        )
        ends = found(tau, low, high, negative(low, high), FORM_NOTES.get(name, ""))
        lines.append(line(*asked, **ends, pvalue=p))
    lines.append(_against_chance(table, term, rng))
    if similarity is not None:
        lines.append(_against_references(table, term, similarity, rng))
    return [*lines, *_given(table, rng)]


def _by_null(tau: float, p: float, high: float) -> str:
    """Say whether a tau is negative, by its p-value and the upper end of its null band.

    Its distance beyond the null is at least tau less that end; where this is negligible, or tau is
    above the band, it does not hold.
    """
    if tau < 0 and p < P:
        return HOLDS
    return DOES_NOT if tau - high > -NEGLIGIBLE else UNKNOWN


def _against_chance(table: pd.DataFrame, term: str, rng: np.random.Generator) -> dict:
    scores = table[[term]].to_numpy().T
    null = permuted_taus(scores, table.accuracy.to_numpy(), PERMUTATIONS, rng)[0]
    tau = kendalltau(table[term], table.accuracy).statistic
    low, high = np.quantile(null, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p = (1 + (np.abs(null) >= abs(tau)).sum()) / (1 + PERMUTATIONS)
    detail = f"{CONFIDENCE:.0%} of permuted accuracies give {low:.2f} to {high:.2f}"
    shown = {"value": tau, "pvalue": p, "verdict": _by_null(tau, p, high), "detail": detail}
    question = f"tau of {term} against permuted accuracies"
    return line("survival", question, f"negative, p below {P}", **shown)


def _against_references(
    table: pd.DataFrame, term: str, similarity: np.ndarray, rng: np.random.Generator
) -> dict:
    """Compare tau with its values where references are dealt to the tasks at random, by CLIP."""
    scores = table[[term]].to_numpy().T
    null = rereferenced_taus(scores, similarity, PERMUTATIONS, rng)[0]
    tau = kendalltau(table[term], np.diag(similarity)).statistic
    low, high = np.quantile(null, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p = (1 + (null <= tau).sum()) / (1 + PERMUTATIONS)
    detail = f"{CONFIDENCE:.0%} of permuted references give {low:.2f} to {high:.2f}: what videos "
    detail += "that scatter lose with any reference"
    shown = {"value": tau, "pvalue": p, "verdict": _by_null(tau, p, high), "detail": detail}
    question = f"tau of {term} against permuted references"
    return line("survival", question, f"below, one-sided p below {P}", **shown)


def _given(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Return partial taus: of each term given the prompt, and of each component given the other."""
    known = {"prompt length": table.prompt.str.split().map(len)}
    known |= {f"category {c}": (table.category == c) for c in table.category.unique()[1:]}
    prompt = pd.DataFrame(known).astype(float)
    asked = [(main_term(table), prompt, "prompt length and category")]
    if not lack(table, varying=("aleatoric", "epistemic")):
        for part, other in (("aleatoric", "epistemic"), ("epistemic", "aleatoric")):
            asked.append((part, table[[other]], other))
    lines = []
    for term, covariates, name in asked:
        question = f"tau of {term} given {name}"
        left = len(table) - np.linalg.matrix_rank(_design(covariates))
        shown = {"detail": f"{left} degrees of freedom are left; {FEWEST_TASKS} are needed"}
        if left >= FEWEST_TASKS:
            tau, p = partial_tau(table[term], table.accuracy, covariates, rng)
            shown = {"value": tau, "pvalue": p, "verdict": _by_null(tau, p, null_end(left))}
        lines.append(line("survival", question, f"negative, p below {P}", **shown))
    return lines


def partial_tau(
    x: pd.Series, y: pd.Series, given: pd.DataFrame, rng: np.random.Generator
) -> tuple[float, float]:
    """Return Kendall's tau of x and y, both float (n,), given covariates (n, k), and its p-value.

    The ranks of both are regressed on the covariates (numbers by rank, indicators as they are); tau
    is that of the residuals, 0 where those of x or of y are constant. For p, one side's residuals
    are permuted and regressed again (Freedman and Lane 1983), and concordant less discordant pairs
    are compared.
    """
    basis = np.linalg.svd(_design(given), full_matrices=False)
    basis = basis.U[:, basis.S > 1e-9 * basis.S[0]]
    left = [_without(rankdata(values), basis) for values in (x, y)]
    if min(np.ptp(v) for v in left) == 0:
        return 0.0, 1.0
    tau = kendalltau(*left).statistic
    shuffled = rng.permuted(np.tile(left[1], (PERMUTATIONS, 1)), axis=1)
    drawn = np.vstack([left[1], *(_without(v, basis) for v in shuffled)])
    seen, *null = np.abs(concordance(left[0][None], drawn)[0])
    return float(tau), float((1 + (np.array(null) >= seen).sum()) / (1 + PERMUTATIONS))


def _design(covariates: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(covariates)), rankdata(covariates.to_numpy(), axis=0)])


def _without(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the residuals of a regression on orthonormal columns, (n,)."""
    return np.round(values - basis @ (basis.T @ values), 9)
