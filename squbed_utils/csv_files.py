"""CSV tables that people write with spreadsheets and scripts; every cell is read as text."""

import codecs
import csv
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, ClassVar, TextIO, TypeVar

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ValidationError

from squbed_utils.text import expected, shortened, suggestion

Row = dict[str, str]

LARGEST, LONGEST_CELL, MOST_SHOWN = 2**28, 2**17, 20
"""Most bytes of a table, most characters of a cell, and most mistakes that an error names."""

BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)


def read(
    path: Path | str,
    what: str,
    required: Collection[str],
    optional: Collection[str] | None = None,
) -> list[tuple[int, Row]]:
    """Read a table whole: each row with its line number, every cell a text.

    Comma, semicolon, tab or bar separate cells; text is UTF-8, or UTF-16 with a byte-order mark.
    Spaces around cells, empty rows, an index column, and the apostrophe of `for_spreadsheets` are
    dropped. Further columns are refused, unless `optional` is None.
    """
    rows, mistakes = [], []
    for line, row in stream(path, what, required, optional):
        if None in row or None in row.values():
            fault = "has another number of fields than the header; quote fields that hold commas"
            mistakes.append((line, fault))
        elif any("\0" in cell for cell in row.values()):
            mistakes.append((line, "holds a NUL character; the file is damaged"))
        elif any(map(str.strip, row.values())):
            rows.append((line, {name: _as_text(cell) for name, cell in row.items()}))
    refuse(f"{what} {path}", mistakes)
    if not rows:
        raise ValueError(f"{what} {path} has no rows; expected one at least")
    return rows


class Line(BaseModel):
    """A row of a table by the number of its line; the fields of a subclass are the columns.

    `families` are patterns of further columns, as `fnmatch` reads them, which are its extras.
    """

    line: int
    families: ClassVar[tuple[str, ...]] = ()


RowOf = TypeVar("RowOf", bound=Line)


def read_as(row_type: type[RowOf], path: Path | str, what: str) -> list[RowOf]:
    """Read a table whole as rows of one type, in which an empty cell has the column's default.

    Columns that the type does not know are refused if it forbids extras.
    """
    columns = {name: f for name, f in row_type.model_fields.items() if name != "line"}
    required = [name for name in columns if columns[name].is_required()]
    others = [*(name for name in columns if name not in required), *row_type.families]
    strict = row_type.model_config.get("extra") is not None
    cells = read(path, what, required, others if strict else None)
    return as_rows(row_type, cells, f"{what} {path}")


def as_rows(row_type: type[RowOf], table: Iterable, where: str, unit: str = "line") -> list[RowOf]:
    """Return numbered rows of cells as `read_as` does; `where` and `unit` name mistakes."""
    rows, mistakes = [], []
    for line, cells in table:
        try:
            values = {name: cell for name, cell in cells.items() if cell}
            rows.append(row_type.model_validate(values | {"line": line}))
        except ValidationError as error:
            for each in error.errors():
                (name,), value = each["loc"], shortened(each["input"])
                fault = f"is {value}; {expected(each['msg'])}"
                mistakes.append((line, f"{name} {'is empty' if name not in values else fault}"))
    refuse(where, mistakes, unit)
    return rows


def refuse(where: str, mistakes: Collection[tuple[int, str]], unit: str = "line") -> None:
    """Raise a ValueError that lists the mistakes line by line, if there are any."""
    if mistakes:
        shown = [f"{unit} {line}: {what}" for line, what in sorted(mistakes)[:MOST_SHOWN]]
        shown += [f"and {len(mistakes) - MOST_SHOWN} more"] * (len(mistakes) > MOST_SHOWN)
        raise ValueError(f"{where} has mistakes: {'; '.join(shown)}")


def text_of(path: Path, what: str, expected: str) -> str:
    """Return the text of a whole file, as UTF-8 or UTF-16 with a byte-order mark."""
    encoding = _encoding(path, what, expected, largest=LARGEST)
    try:
        return path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        line = _undecodable(path)
        raise ValueError(f"{what} {path}, line {line}: not UTF-8; save it as UTF-8") from error


def stream(
    path: Path | str,
    what: str,
    required: Collection[str],
    optional: Collection[str] | None = None,
    *,
    lenient: bool = False,
    longest: int = LONGEST_CELL,
) -> Iterator[tuple[int, dict]]:
    """Yield each row of a table with its line number while reading; a missing cell is None.

    With `lenient`, a file may have any size, undecodable bytes, and a quote anywhere.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))
    expected = f"expected a CSV file with the columns {', '.join(required)}"
    encoding = _encoding(path, what, expected, largest=math.inf if lenient else LARGEST)
    limit, line = csv.field_size_limit(longest), 1
    try:
        errors = "replace" if lenient else "strict"
        with path.open(encoding=encoding, errors=errors, newline="") as file:
            separator, strict = _separator(file, required), not lenient
            reader = csv.DictReader(
                file, delimiter=separator, skipinitialspace=strict, strict=strict
            )
            header = [name.strip() for name in reader.fieldnames or ()]
            if header and header[0] in ("", "Unnamed: 0"):  # which only counts the rows
                header[0] = ""
            _check_header(header, f"{what} {path}", required, optional)
            reader.fieldnames = header
            for row in reader:
                row.pop("", None)
                yield reader.line_num, row
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        line = _undecodable(path) if encoding.startswith("utf-8") else line
        name = encoding.removesuffix("-sig").upper()
        raise ValueError(f"{what} {path}, line {line}: not {name}; save it as UTF-8") from error
    except csv.Error as error:
        reason = f"a cell of more than {longest:,} characters" if "limit" in str(error) else error
        raise ValueError(
            f"{what} {path}, line {line}: not valid CSV ({reason}); is a quote missing there?"
        ) from error
    finally:
        csv.field_size_limit(limit)


def number(text: str) -> float | None:
    """Return a cell as a finite number, or None if it is not one."""
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63):
        raise ValueError("expected a whole number from 0")
    return int(text)


def _finite(text: str) -> float:
    value = number(text)
    if value is None:
        raise ValueError("expected a number")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_finite)]
"""Types of the columns of a `Line`."""


def for_spreadsheets(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for CSV in which no spreadsheet takes a text for a formula.

    Such a text gets an apostrophe before it, which `read` removes.
    """
    return table.map(
        lambda cell: f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell
    )


def _is_formula(text: str) -> bool:
    return FORMULA.match(text) is not None and NUMBER.fullmatch(text) is None


def _as_text(cell: str) -> str:
    cell = cell.strip()
    return cell[1:] if cell[:1] == "'" and _is_formula(cell[1:]) else cell


def _encoding(path: Path, what: str, expected: str, *, largest: float) -> str:
    """Return a file's encoding by its first bytes; refuse a file that is missing or no text."""
    if not path.exists():
        raise FileNotFoundError(f"no {what} {path}; {expected}")
    if not path.is_file():
        raise ValueError(f"{what} {path} is a folder or a device; {expected}")
    size = path.stat().st_size
    if size > largest:
        raise ValueError(
            f"{what} {path} has {size / 1e6:,.0f} MB; expected {largest / 1e6:,.0f} at most"
        )
    with path.open("rb") as file:
        start = file.read(2**16)
    encoding = next((name for bom, name in BOMS.items() if start.startswith(bom)), "utf-8")
    if encoding.startswith("utf-8") and b"\0" in start:
        line = start[: start.index(b"\0")].count(b"\n") + 1
        raise ValueError(
            f"{what} {path}, line {line}: holds a NUL character, so it is damaged or not UTF-8; "
            "save it as UTF-8"
        )
    return encoding


def _separator(file: TextIO, required: Collection[str]) -> str:
    """Return the header's cell separator, and move the file past the ``sep=`` line of Excel."""
    first = file.readline()
    if first.strip().lower().startswith("sep="):
        return first.strip()[4:5] or ","
    file.seek(0)

    def known(separator: str) -> int:
        return len(set(required) & {c.strip().strip('"').strip() for c in first.split(separator)})

    return max(",;\t|", key=known)


def _check_header(
    header: list[str], where: str, required: Collection[str], optional: Collection[str] | None
) -> None:
    if not any(header):
        raise ValueError(f"{where} is empty; expected a header: {', '.join(required)}")
    known = [*required, *(optional or ())]
    names = dict.fromkeys(name for name in header if name)
    extra = [name for name in names if not any(fnmatchcase(name, each) for each in known)]
    wrong = [f"lacks the column {name}" for name in required if name not in header]
    if optional is not None or wrong:
        wrong += [f"has an unknown column {n!r}{suggestion(n, known)}" for n in extra]
    wrong += [f"has the column {n} twice" for n in names if header.count(n) > 1 and n not in extra]
    wrong += ["has a column without a name"] * ("" in header[1:])
    if wrong:
        columns = ", ".join(required)
        if optional:
            columns += f", and if wanted {', '.join(optional)}"
        raise ValueError(f"{where}, line 1: {'; '.join(wrong)}; the columns are {columns}")


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return number
