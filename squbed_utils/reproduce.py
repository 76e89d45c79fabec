"""Whether a run's tables are those of the reference run, which lies in git."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from squbed_utils.files import ROOT

REFERENCE = ROOT / "figures" / "reference"
"""Figures and tables of the reference run, renewed on purpose by ``make reference``."""

PROFILE = "world"
"""What the reference run ran."""

TOLERANCE = 1e-4
"""Relative: other processors round sums otherwise, and the last digits that are written follow."""

NOISE = 1e-12
"""Smaller numbers are zero but for rounding, as the difference of equal sums is."""


@dataclass(frozen=True)
class Compared:
    """One table beside its reference: `difference` is empty where it is reproduced."""

    table: str
    difference: str

    def __str__(self) -> str:
        """Return a line of the report."""
        return f"{self.table}: {self.difference or f'reproduced within {TOLERANCE:g}'}"


def compare(figures: Path | str, reference: Path | str = REFERENCE) -> list[Compared]:
    """Compare every table of the reference run with that of another run.

    Parameters
    ----------
    figures : path
        Where the run's figures lie; its tables are in ``data/``.
    reference : path
        The same of the reference run.

    Returns
    -------
    list of Compared
        One a table, by name. A number is reproduced if it differs by at most a ten-thousandth of
        its size; any other cell has to be equal.

    Raises
    ------
    FileNotFoundError
        If the reference has no tables, or there is no such run.
    """
    tables = sorted((Path(reference) / "data").glob("*.csv"))
    if not tables:
        raise FileNotFoundError(f"no tables in {reference}; expected those of a reference run")
    if not (Path(figures) / "data").is_dir():
        raise FileNotFoundError(f"no tables in {figures}; draw them with `squbed figures`")
    return [Compared(t.name, _difference(Path(figures) / "data" / t.name, t)) for t in tables]


def _difference(path: Path, reference: Path) -> str:
    """Say how a table differs from its reference; nothing if it does not."""
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
        if not _agree(value, wanted)
    ]
    if not cells:
        return ""
    line, name, value, wanted = max(cells, key=lambda cell: _distance(*cell[2:]))
    return f"{len(cells)} cells differ, most line {line}, {name}: {value!r}, not {wanted!r}"


def _agree(value: str, wanted: str) -> bool:
    return value == wanted or _distance(value, wanted) <= TOLERANCE


def _distance(value: str, wanted: str) -> float:
    """Return by how much of their size two numbers differ; infinity if one is no number."""
    try:
        a, b = float(value), float(wanted)
    except ValueError:
        return math.inf
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    size = max(abs(a), abs(b))
    return 0.0 if size < NOISE else abs(a - b) / size
