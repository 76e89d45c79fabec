"""Compare a run's tables with those of the reference run in git."""

from pathlib import Path

import numpy as np
import pandas as pd

from squbed_utils.files import ROOT

REFERENCE = ROOT / "figures" / "reference"
PROFILE = "world"
"""The profile of the reference run."""

TOLERANCE = 1e-4
"""Relative; other processors round sums otherwise, which changes the last digits written."""

NOISE = 1e-12
"""Smaller numbers count as zero; rounding makes them, as in the difference of equal sums."""


DIFFERS = 3


def report(figures: Path, reference: Path, *, strict: bool) -> int:
    """Print which tables are the reference run's; return the exit code."""
    tables = compare(figures, reference)
    differing = sum(map(bool, tables.values()))
    for table, difference in tables.items():
        print(f"{table}: {difference or f'reproduced within {TOLERANCE:g}'}")
    print(f"{len(tables) - differing} of {len(tables)} tables are those of {reference}")
    return DIFFERS if strict and differing else 0


def compare(figures: Path | str, reference: Path | str = REFERENCE) -> dict[str, str]:
    """Return how each table of the reference run differs from another run's; empty: not at all."""
    tables = sorted((Path(reference) / "data").glob("*.csv"))
    if not tables:
        raise FileNotFoundError(f"no tables in {reference}; expected those of a reference run")
    if not (Path(figures) / "data").is_dir():
        raise FileNotFoundError(f"no tables in {figures}; draw them with `squbed figures`")
    return {t.name: _difference(Path(figures) / "data" / t.name, t) for t in tables}


def _difference(path: Path, reference: Path) -> str:
    """Say how a table differs from its reference; empty if it does not."""
    if not path.is_file():
        return "is missing"
    table, expected = (pd.read_csv(p, dtype=str, keep_default_na=False) for p in (path, reference))
    if list(table.columns) != list(expected.columns):
        lacks, more = (
            ", ".join(a.columns.difference(b.columns)) or "none"
            for a, b in ((expected, table), (table, expected))
        )
        return f"has other columns: lacks {lacks}; has beyond them {more}"
    if len(table) != len(expected):
        return f"has {len(table)} rows, not {len(expected)}"
    a, b = (t.apply(pd.to_numeric, errors="coerce").to_numpy(float) for t in (table, expected))
    size = np.maximum(abs(a), abs(b))
    with np.errstate(invalid="ignore"):  # where one is no number, or infinite
        apart = np.where(size < NOISE, 0, abs(a - b) / size)
    apart = np.where(table == expected, 0, np.nan_to_num(apart, nan=np.inf))
    if not (differs := apart > TOLERANCE).any():
        return ""
    row, column = np.unravel_index(apart.argmax(), apart.shape)
    value, wanted = (t.iat[row, column] for t in (table, expected))
    place = f"line {row + 2}, {table.columns[column]}"
    return f"{differs.sum()} cells differ, most {place}: {value!r}, not {wanted!r}"
