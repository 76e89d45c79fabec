"""Compare a run's tables with those of the reference run in git."""

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from squbed_utils.files import ROOT

REFERENCE = ROOT / "figures" / "reference"
PROFILE = "world"
"""The profile of the reference run."""

TOLERANCE = 1e-4
"""Relative; other processors round sums otherwise, which changes the last digits written."""

NOISE = 1e-12
"""Smaller numbers count as zero; rounding makes them, as in the difference of equal sums."""


class Compared(NamedTuple):
    """A table's difference from its reference, which is empty if the table is reproduced."""

    table: str
    difference: str

    def __str__(self) -> str:
        return f"{self.table}: {self.difference or f'reproduced within {TOLERANCE:g}'}"


DIFFERS = 3


def report(figures: Path, reference: Path, *, strict: bool) -> int:
    """Print which tables are the reference run's; return the exit code."""
    tables = compare(figures, reference)
    differing = sum(bool(table.difference) for table in tables)
    print(*tables, sep="\n")
    print(f"{len(tables) - differing} of {len(tables)} tables are those of {reference}")
    return DIFFERS if strict and differing else 0


def compare(figures: Path | str, reference: Path | str = REFERENCE) -> list[Compared]:
    """Compare every table of the reference run with the same table of another run."""
    tables = sorted((Path(reference) / "data").glob("*.csv"))
    if not tables:
        raise FileNotFoundError(f"no tables in {reference}; expected those of a reference run")
    if not (Path(figures) / "data").is_dir():
        raise FileNotFoundError(f"no tables in {figures}; draw them with `squbed figures`")
    return [Compared(t.name, _difference(Path(figures) / "data" / t.name, t)) for t in tables]


def _difference(path: Path, reference: Path) -> str:
    """Say how a table differs from its reference; empty if it does not."""
    if not path.is_file():
        return "is missing"
    table, expected = (pd.read_csv(p, dtype=str, keep_default_na=False) for p in (path, reference))
    if list(table.columns) != list(expected.columns):
        return f"has the columns {', '.join(table.columns)}, not {', '.join(expected.columns)}"
    if len(table) != len(expected):
        return f"has {len(table)} rows, not {len(expected)}"
    cells = [
        (row + 2, name, value, wanted)
        for name in table.columns
        for row, (value, wanted) in enumerate(zip(table[name], expected[name], strict=True))
        if value != wanted and _distance(value, wanted) > TOLERANCE
    ]
    if not cells:
        return ""
    line, name, value, wanted = max(cells, key=lambda cell: _distance(*cell[2:]))
    return f"{len(cells)} cells differ, most line {line}, {name}: {value!r}, not {wanted!r}"


def _distance(value: str, wanted: str) -> float:
    """Return the relative difference of two numbers, or infinity if one is no number."""
    try:
        a, b = float(value), float(wanted)
    except ValueError:
        return math.inf
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    size = max(abs(a), abs(b))
    return 0.0 if size < NOISE else abs(a - b) / size
