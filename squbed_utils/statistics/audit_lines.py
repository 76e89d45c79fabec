"""A line of the audit, and what all its parts share: verdicts, bars and draws."""

import pandas as pd

from squbed_utils.statistics.resampling import FEWEST_TASKS

HOLDS, DOES_NOT, UNKNOWN = "holds", "does not hold", "cannot be told"

NEGLIGIBLE = 0.1
"""Size of a tau that is of no use: where tau is seen to be above minus this, it does not hold."""

P, CONFIDENCE = 0.05, 0.95
RESAMPLES, PERMUTATIONS = 2000, 1000

LINE_COLUMNS = ["theme", "question", "value", "low", "high", "pvalue", "bar", "verdict", "detail"]


def line(theme: str, question: str, bar: str, **found: object) -> dict:
    """Return a line of `LINE_COLUMNS` that cannot be told unless `found` says otherwise."""
    unknown = {"verdict": UNKNOWN, "detail": ""}
    return {"theme": theme, "question": question, "bar": bar} | unknown | found


def found(value: float, low: float, high: float, verdict: str, detail: str) -> dict:
    """Return what an interval found, for `line`."""
    return {"value": value, "low": low, "high": high, "verdict": verdict, "detail": detail}


def negative(low: float, high: float) -> str:
    """Say whether a tau is negative, by its interval."""
    return HOLDS if high < 0 else DOES_NOT if low > -NEGLIGIBLE else UNKNOWN


def main_term(table: pd.DataFrame) -> str:
    """Return "total", or "epistemic" where the latent prompts are not known."""
    return "total" if table.total.notna().all() else "epistemic"


def lack(table: pd.DataFrame, *there: str, varying: tuple[str, ...] = ()) -> str:
    """Say why a line cannot be told; empty where the columns are there and vary.

    Parameters
    ----------
    table : DataFrame
        A row a task.
    *there : str
        Columns that must have no gaps.
    varying : tuple of str
        Columns that must differ between tasks as well.
    """
    if len(table) < FEWEST_TASKS:
        return f"{len(table)} tasks; at least {FEWEST_TASKS} are needed"
    for name in (*there, *varying):
        if table[name].isna().any():
            return f"{name} is missing: latent prompts are not known, or it has no such form"
    constant = [name for name in varying if table[name].nunique() < 2]
    return f"{constant[0]} is the same for every task" if constant else ""
