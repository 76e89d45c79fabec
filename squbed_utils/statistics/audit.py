"""Can an archive's answer be believed? A verdict a line, each with its number.

A verdict rests on an interval or a p-value: "holds" and "does not hold" where these decide, "cannot
be told" where the tasks are too few for either. Uncertainty: higher = less certain; accuracy:
higher = better; so a good tau is negative. One that is seen to be above -0.1 does not hold.
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from squbed_utils.statistics import tables
from squbed_utils.statistics.audit_lines import (
    CONFIDENCE,
    DOES_NOT,
    FEWEST_TASKS,
    HOLDS,
    LINE_COLUMNS,
    NEGLIGIBLE,
    RESAMPLES,
    UNKNOWN,
    P,
    found,
    lack,
    line,
    main_term,
)
from squbed_utils.statistics.ranking import bootstrap_interval, holm
from squbed_utils.statistics.resampling import resampled_taus, task_counts
from squbed_utils.statistics.summary import TERMS

LEAST_SHARE, WIDTH_MATTERS, SAME_ORDER, NARROW = 0.2, 0.1, 0.95, 0.5

NO_PLUG_IN = "plug-in values compare with squbed's alone, and at equal counts"


def accuracy_of(summary: pd.DataFrame, accuracy: str = "") -> str:
    """Return an accuracy's name; empty: CLIP to the reference, or without any to the prompt."""
    return accuracy or tables.default_accuracy(summary)


def audited(summary: pd.DataFrame, accuracy: str) -> pd.DataFrame:
    """Return the tasks, as `tables.measured`, that have an accuracy, and what the audit reads.

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
        weight (0 to 1), tau, low, high, paper (that weight); empty where a component is missing or
        the same for every task.
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

    Parameters
    ----------
    table : DataFrame
    plug_in : Series or None
        As `audit_samples.plug_in`, in the order of the table.
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
    """Say whether the disentanglement panels hang on how many tasks are kept.

    Parameters
    ----------
    curves : DataFrame
        As `tables.subset_curves`; empty where components are missing.
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
    """Set the lines as one table, with Holm's correction over every p-value on it.

    Returns
    -------
    DataFrame
        `LINE_COLUMNS` and holm; a last line says what the correction leaves.
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
