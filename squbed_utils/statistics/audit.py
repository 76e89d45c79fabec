"""Can an archive's answer be believed? A verdict a line, each with its number.

A verdict rests on an interval or a p-value: "shown" and "refuted" where these decide, "not shown"
where the tasks are too few for either, or the archive cannot say. Uncertainty: higher = less
certain; accuracy: higher = better; so a good tau is negative. That a tau is negative is refuted
where it is seen to be above -0.1.

Each question takes `table`, the tasks as `audited` returns them, and a generator for its resamples,
and returns a list of `line`.
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, norm, rankdata

from squbed_utils.files import seed_of
from squbed_utils.statistics import tables
from squbed_utils.statistics.calibration import (
    CONFIDENCE,
    NOT_SHOWN,
    REFUTED,
    SHOWN,
    bootstrap_interval,
    holm,
    kendall,
    null_spread,
    tau_difference,
)
from squbed_utils.statistics.resampling import (
    FEWEST_TASKS,
    N_PERMUTATIONS,
    N_RESAMPLES,
    concordance,
    permuted_taus,
    rereferenced_taus,
    resampled_taus,
    task_counts,
)
from squbed_utils.statistics.summary import TERMS

NEGLIGIBLE = 0.1
"""Size of a tau that is of no use; "negative" is refuted where tau lies above minus this."""

P = 0.05

LINE_COLUMNS = ["theme", "question", "value", "low", "high", "pvalue", "bar", "verdict", "detail"]

LEAST_SHARE = 0.2
"""Of the total's variance; a component that carries less could be left out."""

WIDTH_MATTERS = 0.1
"""Change of tau, by the units of entropy, from which these matter."""

SAME_ORDER = 0.95
"""Kendall's tau from which a bias leaves the tasks in order."""

NARROW = 0.5
"""Half an interval's width over the spread between tasks: at most this, it tells tasks apart."""


def line(
    theme: str,
    question: str,
    bar: str,
    verdict: str = NOT_SHOWN,
    detail: str = "",
    **numbers: float,
) -> dict:
    """Return a row of `LINE_COLUMNS`; `numbers` are value, low, high and pvalue, where known."""
    row = {"theme": theme, "question": question, "bar": bar, "verdict": verdict, "detail": detail}
    return row | numbers


def verdict_of(shown: bool, refuted: bool) -> str:
    """Return the verdict on a question, from what the evidence decides."""
    return SHOWN if shown else REFUTED if refuted else NOT_SHOWN


def main_term(table: pd.DataFrame) -> str:
    """Return "total", or "epistemic" where the latent prompts are not known."""
    return "total" if table.total.notna().all() else "epistemic"


def lack(table: pd.DataFrame, *complete: str, varying: tuple[str, ...] = ()) -> str:
    """Return why a line cannot be told: few tasks, a column with gaps, or a constant one.

    Empty if the columns `complete` and `varying` have no gaps, and those in `varying` differ by
    task.
    """
    if len(table) < FEWEST_TASKS:
        return f"{len(table)} tasks; at least {FEWEST_TASKS} are needed"
    for name in (*complete, *varying):
        if table[name].isna().any():
            return f"{name} is missing: latent prompts are not known, or it has no such form"
    constant = [name for name in varying if table[name].nunique() < 2]
    return f"{constant[0]} is the same for every task" if constant else ""


def audited(summary: pd.DataFrame, accuracy: str) -> pd.DataFrame:
    """Return the tasks, as `tables.measured`, that have an accuracy, with that in one column.

    `accuracy` is a column of the summary and becomes the column `accuracy` (higher = better).
    ValueError if it is unknown, or no task has it.
    """
    table = tables.measured(summary)
    table = table.assign(accuracy=tables.better_is_higher(table, accuracy))
    table = table[table.accuracy.notna()].reset_index(drop=True)
    if table.empty:
        known = ", ".join(tables.accuracies_there(summary)) or "none"
        raise ValueError(f"no task has the accuracy {accuracy!r}; there is: {known}")
    return table


def shares(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether both components carry the total's variance.

    share = cov(component, total) / var(total); the two add up to 1. Bootstrap over tasks.
    """
    bar = f"the lesser share at least {LEAST_SHARE}"
    question = "shares", "Do both components carry the total?", bar
    why = lack(table, "aleatoric", "epistemic", varying=("total",))
    if not why and not np.allclose(table.aleatoric + table.epistemic, table.total):
        why = "this estimator's components do not add up to its total"
    if why:
        return [line(*question, detail=why)]
    counts = task_counts(len(table), N_RESAMPLES, rng)
    weights = counts / counts.sum(axis=1, keepdims=True)
    terms = (table[[*TERMS]] - table[[*TERMS]].mean()).to_numpy()
    total = terms[:, 2:]
    covariances = weights @ (terms * total) - (weights @ terms) * (weights @ total)
    with np.errstate(invalid="ignore", divide="ignore"):
        lesser = (covariances[:, :2] / covariances[:, 2:]).min(axis=1)
    low, high = bootstrap_interval(lesser)
    a, e = (table[t].cov(table.total) / table.total.var() for t in ("aleatoric", "epistemic"))
    both = 2 * table.aleatoric.cov(table.epistemic) / table.total.var()
    detail = f"aleatoric {a:.2f}, epistemic {e:.2f} of the variance, of which their covariance "
    detail += f"is {both:.2f}"
    verdict = verdict_of(low >= LEAST_SHARE, high < LEAST_SHARE)
    return [line(*question, verdict, detail, value=min(a, e), low=low, high=high)]


def sum_helps(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether the total ranks accuracy better than its own aleatoric term, both resampled."""
    bar = "difference of tau below 0; refuted if it is above"
    question = "shares", "Does the total rank better than aleatoric alone?", bar
    if why := lack(table, varying=("aleatoric", "total", "accuracy")):
        return [line(*question, detail=why)]
    found = tau_difference(table.total, table.aleatoric, table.accuracy, rng=rng)
    total, alone = (kendalltau(table[t], table.accuracy)[0] for t in ("total", "aleatoric"))
    verdict = verdict_of(found.high < 0, found.low > 0)
    return [line(*question, verdict, f"tau {total:.2f} and {alone:.2f}", **found._asdict())]


def widths(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Say whether tau hangs on the encoders' widths: nats against nats per degree of freedom.

    Encoders of one width cannot tell: one form of the total is then the other rescaled.
    """
    bar = f"tau per degree of freedom within ±{WIDTH_MATTERS} of tau"
    question = "widths", "Do the encoders' widths leave tau as it is?", bar
    if why := lack(table, varying=("total", "total_per_dof", "accuracy")):
        return [line(*question, detail=why)]
    scores = table[["total", "total_per_dof"]].to_numpy(dtype=float).T
    if np.corrcoef(scores)[0, 1] > 1 - 1e-9:
        detail = "both encoders have one width; it takes two of different widths to tell"
        return [line(*question, detail=detail)]
    gap, low, high, _ = tau_difference(*scores[::-1], table.accuracy, rng=rng)
    nats, per_dof = (kendalltau(x, table.accuracy).statistic for x in scores)
    within = max(abs(low), abs(high)) <= WIDTH_MATTERS
    verdict = verdict_of(within, low > WIDTH_MATTERS or high < -WIDTH_MATTERS)
    detail = f"tau {nats:.2f} in nats, {per_dof:.2f} per degree of freedom"
    return [line(*question, verdict, detail, value=gap, low=low, high=high)]


def weight_sweep(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return tau of w aleatoric + (1 - w) epistemic, each divided by its spread over tasks.

    The sum of the paper is the weight sd(A) / (sd(A) + sd(E)), which the encoders' widths set.
    Columns: weight (0 to 1), tau, low, high, paper (the paper's weight); empty where a component is
    missing or the same for every task.
    """
    columns = ["weight", "tau", "low", "high"]
    if lack(table, "total", varying=("aleatoric", "epistemic", "accuracy")):
        return pd.DataFrame(columns=[*columns, "paper"])
    spread = table[["aleatoric", "epistemic"]].std()
    weights = np.linspace(0, 1, 21)
    a, e = (table[term].to_numpy() / spread[term] for term in spread.index)
    scores = np.outer(weights, a) + np.outer(1 - weights, e)
    resampled = resampled_taus(scores, table.accuracy, task_counts(len(a), N_RESAMPLES, rng))
    rows = [
        (weight, kendalltau(score, table.accuracy).statistic, *bootstrap_interval(taus))
        for weight, score, taus in zip(weights, scores, resampled, strict=True)
    ]
    return pd.DataFrame(rows, columns=columns).assign(paper=spread.aleatoric / spread.sum())


def small_samples(table: pd.DataFrame, plug_in: pd.Series | None) -> list[dict]:
    """Say whether few samples blur the tasks' order: by bias, and by noise.

    `plug_in` is as `audit_samples.plug_in`, in the order of the table; None where it does not
    compare.
    """
    term = main_term(table)
    why = lack(table, varying=(term,))
    bias = "few samples", "Does the bias leave the order?", f"tau at least {SAME_ORDER}"
    if why or plug_in is None:
        untold = why or "plug-in values compare with squbed's alone, and at equal counts"
        lines = [line(*bias, detail=untold)]
    else:
        tau = kendalltau(table[term], plug_in).statistic
        detail = f"plug-in {term} is {(plug_in - table[term]).mean():.1f} nats from the corrected"
        lines = [line(*bias, SHOWN if tau >= SAME_ORDER else REFUTED, detail, value=tau)]
    noise = "few samples", "Are intervals narrow?", f"at most {NARROW} of the tasks' spread"
    half = ((table[f"{term}_high"] - table[f"{term}_low"]) / 2).dropna()
    with_one = f"{len(half)} of {len(table)} tasks have an interval"
    if why or len(half) < len(table) / 2:
        detail = why or f"{with_one}; the others have too few distinct latent prompts"
        return [*lines, line(*noise, detail=detail)]
    spread = table[term].std()
    ratio = half.median() / spread
    detail = f"median half-width {half.median():.3g}, spread between tasks {spread:.3g} "
    detail += "(standard deviation)" + (f"; {with_one}" if len(half) < len(table) else "")
    return [*lines, line(*noise, SHOWN if ratio <= NARROW else REFUTED, detail, value=ratio)]


def subsets(curves: pd.DataFrame) -> list[dict]:
    """Say whether Figure 5's panels hold at every subset size.

    `curves` are as `tables.subset_curves`; empty where components are missing.
    """
    bar = f"band below 0 at every size from {FEWEST_TASKS}; refuted if one is above -{NEGLIGIBLE}"
    if curves.empty:
        detail = "the tasks are few, or a component is missing or the same for many tasks"
        question = "Do the panels of Figure 5 hold at every size?"
        return [line("subsets", question, bar, detail=detail)]
    lines = []
    for panel, curve in curves.groupby("panel", sort=False):
        large = curve[curve["size"] >= FEWEST_TASKS]
        if large.empty:
            detail = f"no subset has {FEWEST_TASKS} tasks"
            lines.append(line("subsets", panel, bar, detail=detail))
            continue
        below = (large.hi < 0).mean()
        verdict = verdict_of(below == 1, (large.lo > -NEGLIGIBLE).any())
        detail = f"tau from {large.tau.min():.2f} to {large.tau.max():.2f} over {len(large)} sizes"
        detail += "; the share of sizes is given"
        lines.append(line("subsets", panel, bar, verdict, detail, value=below))
    return lines


def page(lines: list[dict]) -> pd.DataFrame:
    """Return the lines as one table, with Holm's correction over every p-value on it, as holm.

    The last line says what the correction leaves significant.
    """
    table = pd.DataFrame(lines, columns=LINE_COLUMNS)
    tested = table.pvalue.notna()
    table["holm"] = np.nan
    question = "many tests", "Does what is significant survive Holm?", "all of it"
    last = line(*question)
    if tested.any():
        table.loc[tested, "holm"] = holm(table.pvalue[tested].astype(float))
        before, after = ((table[c] < P).sum() for c in ("pvalue", "holm"))
        verdict = verdict_of(before == after > 0, after < before)
        detail = f"{after} of {before} p-values below {P}, of {tested.sum()} on this page"
        last = line(*question, verdict, detail, value=float(after))
    return pd.concat([table, pd.DataFrame([last])], ignore_index=True)


def tasks_needed(tau: float, *, reliability: float = 1.0) -> float:
    """Return how many tasks show a tau at 5 % with a power of 80 % (two-sided, normal limit).

    The least n at which |tau| >= (z_(1 - alpha/2) + z_power) sd, sd as `calibration.null_spread`;
    at least 4, infinite at tau = 0. That spread is of tau = 0, whatever the distribution: up to
    three tasks more than `cost.power` asks for, which takes normal ranks and ten tasks or more.
    Where one side is people's mean, of this `reliability`, tau is what is seen of the true one:
    their errors weaken the correlation r of normal variables,
    tau = 2 / pi arcsin(r), by its root (Spearman 1904).

    >>> [tasks_needed(tau) for tau in (0.7, 0.5, 0.155)]
    [10.0, 18.0, 149.0]
    >>> [tasks_needed(0.5, reliability=reliability) for reliability in (0.9, 0.5)]
    [20.0, 35.0]
    """
    tau = 2 / np.pi * np.arcsin(np.sin(np.pi / 2 * tau) * np.sqrt(reliability))
    if tau == 0:
        return np.inf
    ratio = 9 * tau**2 / (2 * (norm.ppf(1 - P / 2) + norm.ppf(0.8)) ** 2)
    b = -(ratio + 2)  # ratio n^2 - (ratio + 2) n - 5 >= 0
    return float(max(4, np.ceil((-b + np.sqrt(b**2 + 20 * ratio)) / (2 * ratio))))


def powers(statistics: pd.DataFrame) -> list[dict]:
    """Say whether there are enough tasks for each tau seen.

    `statistics` has panel, tau, n and pvalue, as `tables.statistics_of`; it may be empty.
    """
    bar = "80 % power at the tau seen"
    if statistics.empty:
        detail = "the tasks are few, or have the same uncertainty or accuracy"
        return [line("power", "Enough tasks?", bar, detail=detail)]
    lines = []
    for row in statistics.itertuples():
        needed = tasks_needed(row.tau)
        verdict = SHOWN if row.n >= needed else REFUTED
        detail = f"tau {row.tau:.2f} needs {needed:,.0f} tasks; there are {row.n}"
        numbers = {"value": needed, "pvalue": row.pvalue}
        lines.append(line("power", f"Enough tasks? {row.panel}", bar, verdict, detail, **numbers))
    return lines


def published(figure: int) -> pd.DataFrame:
    """Audit the paper's own panels of a figure, as far as their points allow.

    Columns: panel, n, tau, low, high (missing with fewer than 8 tasks), pvalue, null_low, null_high
    (the middle 95 % of taus with permuted accuracies), needed (tasks for 80 % power at that tau),
    verdict, loo_low, loo_high (least and greatest tau with one task left out), figure.
    """
    points = tables.published(figure)
    table = tables.statistics_of(points)[["panel", "n", "tau", "low", "high", "pvalue"]]
    rows = []
    for stats in table.itertuples():
        x, y = points.loc[points.panel == stats.panel, ["x", "y"]].to_numpy().T
        rng = np.random.default_rng(seed_of("published", figure, stats.panel))
        null = bootstrap_interval(permuted_taus(x[None], y, N_PERMUTATIONS, rng)[0])
        needed = tasks_needed(stats.tau)
        others = ~np.eye(stats.n, dtype=bool)
        taus = [kendalltau(x[i], y[i]).statistic for i in others if stats.n > 3] or [stats.tau]
        verdict = SHOWN if stats.n >= needed else REFUTED
        rows.append((*null, needed, verdict, min(taus), max(taus)))
    columns = ["null_low", "null_high", "needed", "verdict", "loo_low", "loo_high"]
    return table.join(pd.DataFrame(rows, columns=columns)).assign(figure=figure)


def published_page() -> pd.DataFrame:
    """Return `published` of Figures 3 to 5, with Holm's correction over all their p-values."""
    table = pd.concat([published(figure) for figure in (3, 4, 5)], ignore_index=True)
    return table.assign(holm=holm(table.pvalue))


FORM_NOTES = {
    "mean": "falls with spread by itself, for any reference",
    "best": "rises with spread by itself, which works against a negative tau",
    "centroid": "what does not fall with spread by itself",
}
"""What a reader must know of a form of accuracy."""


def survivals(
    table: pd.DataFrame,
    forms: pd.DataFrame,
    rng: np.random.Generator,
    similarity: np.ndarray | None = None,
) -> list[dict]:
    """Say whether tau survives other accuracies, chance, and what is known of the prompts.

    `forms` is as `audit_samples.accuracy_forms`: a column a form of accuracy, a row a task of the
    table; `similarity` (n, n) as `summary.reference_similarity`, in the order of the table.
    """
    term = main_term(table)
    if why := lack(table, varying=(term, "accuracy")):
        return [line("survival", f"Does tau of {term} survive?", "negative", detail=why)]
    scores, lines = table[[term]].to_numpy().T, []
    for name, values in forms.items():
        bar = f"interval below 0; refuted if it is above -{NEGLIGIBLE}"
        question = "survival", f"tau of {term} with {name}", bar
        if values.nunique() < 2:
            lines.append(line(*question, detail=f"{name} is the same for every task"))
            continue
        k = kendall(table[term], values, rng=rng)
        low, high = k.interval
        verdict = verdict_of(high < 0, low > -NEGLIGIBLE)
        numbers = {"value": k.tau, "low": low, "high": high, "pvalue": k.pvalue}
        lines.append(line(*question, verdict, FORM_NOTES.get(name, ""), **numbers))
    tau = kendalltau(table[term], table.accuracy).statistic
    null = permuted_taus(scores, table.accuracy.to_numpy(), N_PERMUTATIONS, rng)[0]
    dealt = term, "permuted accuracies", f"negative, p below {P}"
    lines.append(_against(*dealt, tau, null, np.abs(null) >= abs(tau)))
    if similarity is not None:
        tau = kendalltau(table[term], np.diag(similarity)).statistic
        null = rereferenced_taus(scores, similarity, N_PERMUTATIONS, rng)[0]
        dealt = term, "permuted references", f"below, one-sided p below {P}"
        note = ": what videos that scatter lose with any reference"
        lines.append(_against(*dealt, tau, null, null <= tau, note))
    return [*lines, *_given(table, rng)]


def _against(
    term: str,
    dealt: str,
    bar: str,
    tau: float,
    null: np.ndarray,
    extreme: np.ndarray,
    note: str = "",
) -> dict:
    """Compare tau with those of accuracies or references dealt at random; `extreme`: as far."""
    low, high = bootstrap_interval(null)
    p = (1 + extreme.sum()) / (1 + N_PERMUTATIONS)
    detail = f"{CONFIDENCE:.0%} of {dealt} give {low:.2f} to {high:.2f}{note}"
    verdict = _by_null(tau, p, high)
    question = f"tau of {term} against {dealt}"
    return line("survival", question, bar, verdict, detail, value=tau, pvalue=p)


def _by_null(tau: float, p: float, high: float) -> str:
    """Say whether a tau is negative, by its p-value and the upper end of its null band.

    Its distance beyond the null is at least tau less that end; where this is negligible, or tau is
    above the band, it is refuted.
    """
    return verdict_of(tau < 0 and p < P, tau - high > -NEGLIGIBLE)


def _given(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Return partial taus: of each term given the prompt, and of each component given the other."""
    prompt = {"prompt length": table.prompt.str.split().map(len)}
    prompt |= {f"category {c}": (table.category == c) for c in table.category.unique()[1:]}
    prompt = pd.DataFrame(prompt).astype(float)
    cases = [(main_term(table), prompt, "prompt length and category")]
    if not lack(table, varying=("aleatoric", "epistemic")):
        cases.append(("aleatoric", table[["epistemic"]], "epistemic"))
        cases.append(("epistemic", table[["aleatoric"]], "aleatoric"))
    lines = []
    for term, covariates, name in cases:
        question = "survival", f"tau of {term} given {name}", f"negative, p below {P}"
        freedom = len(table) - np.linalg.matrix_rank(_design(covariates))
        if freedom < FEWEST_TASKS:
            detail = f"{freedom} degrees of freedom are left; {FEWEST_TASKS} are needed"
            lines.append(line(*question, detail=detail))
            continue
        null_end = norm.ppf((1 + CONFIDENCE) / 2) * null_spread(freedom)
        tau, p = partial_tau(table[term], table.accuracy, covariates, rng)
        lines.append(line(*question, _by_null(tau, p, null_end), value=tau, pvalue=p))
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
    x, y = (_residuals(rankdata(values), basis) for values in (x, y))
    if min(np.ptp(x), np.ptp(y)) == 0:
        return 0.0, 1.0
    shuffled = rng.permuted(np.tile(y, (N_PERMUTATIONS, 1)), axis=1)
    own, *null = np.abs(
        concordance(x[None], np.vstack([y, *(_residuals(values, basis) for values in shuffled)]))[0]
    )
    p = (1 + (np.array(null) >= own).sum()) / (1 + N_PERMUTATIONS)
    return float(kendalltau(x, y).statistic), float(p)


def _design(covariates: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(covariates)), rankdata(covariates.to_numpy(), axis=0)])


def _residuals(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the residuals of a regression on orthonormal columns, (n,)."""
    return np.round(values - basis @ (basis.T @ values), 9)
