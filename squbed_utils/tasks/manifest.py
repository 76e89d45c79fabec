"""Manifests: CSV files that say which videos exist, of which tasks and latent prompts."""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from squbed_utils import csv_files, video
from squbed_utils.archive.layout import SAFE_ID
from squbed_utils.csv_files import Row
from squbed_utils.estimators.estimate import LEAST_LATENTS
from squbed_utils.tasks.clips import SMALLEST

REQUIRED = ("task", "prompt", "latent", "sample", "video", "reference")
OPTIONAL = ("latent_prompt", "category", "vagueness_rank")
OF_A_TASK = ("prompt", "reference", "category", "vagueness_rank")
"""Columns that are the same in all rows of a task."""


def read(path: Path | str) -> pd.DataFrame:
    """Read a manifest, and check all of it, references included.

    It is a CSV file with a row a video and the columns task (letters, digits, dots, dashes and
    underscores), prompt, latent and sample (whole numbers from 0), video and reference (paths,
    absolute, from ``~``, or relative to the manifest); optional columns are latent_prompt (of at
    least three latents of a task, or of none), category and vagueness_rank (a number, 1 = least
    vague).

    The table has all nine columns and is ordered by task (as they first occur), latent and sample;
    an optional value that is not given is missing, or "" for category. A ValueError names all
    mistakes with their line numbers.
    """
    path = Path(path)
    rows = csv_files.read(path, "manifest", REQUIRED, OPTIONAL)
    mistakes = [m for line, row in rows for m in _mistakes_in(line, row)]
    if not mistakes:
        mistakes = [*_contradictions(rows), *_wrong_references(rows, path.parent)]
    csv_files.refuse(f"manifest {path}", mistakes)
    return _table(rows)


def locate(name: str, folder: Path) -> Path:
    """Return where a video or reference of a manifest lies; refuse a URL and a missing file."""
    if "://" in name:
        raise ValueError(f"{name} is a URL, which is not fetched; fetch it, and give the file")
    path = folder / name
    if name.startswith("~"):
        path = Path(os.path.expanduser(name))  # an unknown user's stays as it is
    if not path.exists():
        windows = "; write / instead of the backslashes of Windows" if "\\" in name else ""
        raise FileNotFoundError(f"no video {os.path.abspath(path)}{windows}")
    return path


def _mistakes_in(line: int, row: Row) -> Iterator[tuple[int, str]]:
    """Yield the mistakes of one row alone."""
    for name in ("prompt", "video", "reference"):
        if not row[name]:
            yield line, f"{name} is empty"
    if not SAFE_ID.fullmatch(row["task"]):
        yield line, f"task {row['task']!r} cannot name a file; expected letters, digits, . _ -"
    for name in ("latent", "sample"):
        if not (row[name].isascii() and row[name].isdigit() and len(row[name]) < 10):
            yield line, f"{name} is {row[name]!r}; expected a whole number from 0"
    rank = row.get("vagueness_rank", "")
    if rank and csv_files.number(rank) is None:
        yield line, f"vagueness_rank is {rank!r}; expected a number, 1 = least vague"


def _contradictions(rows: list[tuple[int, Row]]) -> Iterator[tuple[int, str]]:
    """Yield the contradictions between rows."""
    yield from _repeated(rows)
    for name in OF_A_TASK:
        yield from _differing(rows, name, "task {task}")
    yield from _differing(rows, "latent_prompt", "task {task}, latent {latent}")
    yield from _half_known(rows)


def _repeated(rows: list[tuple[int, Row]]) -> Iterator[tuple[int, str]]:
    first: dict[tuple, int] = {}
    for line, row in rows:
        place = row["task"], int(row["latent"]), int(row["sample"])
        if first.setdefault(place, line) != line:
            named = "task {}, latent {}, sample {}".format(*place)
            yield line, f"{named} is already in line {first[place]}"


def _differing(rows: list[tuple[int, Row]], name: str, group: str) -> Iterator[tuple[int, str]]:
    """Yield rows whose value differs from that of the first row of their group."""
    first: dict[str, tuple[int, str]] = {}
    for line, row in rows:
        value = row.get(name, "")
        place = group.format(task=row["task"], latent=int(row["latent"]))
        before, other = first.setdefault(place, (line, value))
        if value != other:
            yield line, f"{place} has {name} {value!r}, in line {before} {other!r}"


def _half_known(rows: list[tuple[int, Row]]) -> Iterator[tuple[int, str]]:
    """Yield tasks with too few latent prompts, or with some known and some not."""
    prompts: dict[str, dict[int, str]] = defaultdict(dict)
    first: dict[str, int] = {}
    for line, row in rows:
        first.setdefault(row["task"], line)
        prompts[row["task"]][int(row["latent"])] = row.get("latent_prompt", "")
    for task, of in prompts.items():
        known = sum(map(bool, of.values()))
        remedy = "or leave latent_prompt empty throughout the task, for epistemic alone"
        if 0 < known < len(of):
            what = f"task {task} has a latent_prompt for {known} of its {len(of)} latents"
            yield first[task], f"{what}; give all, {remedy}"
        elif 0 < known < LEAST_LATENTS:
            what = f"task {task} has {known} latent prompts; aleatoric needs {LEAST_LATENTS}"
            yield first[task], f"{what}: add some, {remedy}"


def _wrong_references(rows: list[tuple[int, Row]], folder: Path) -> Iterator[tuple[int, str]]:
    """Yield references that cannot be used; each file is read once."""
    first: dict[str, int] = {}
    for line, row in rows:
        first.setdefault(row["reference"], line)
    for reference, line in tqdm(first.items(), desc="references", leave=False, file=sys.stderr):
        try:
            height, width = video.size_of(locate(reference, folder))
        except (ValueError, OSError) as error:
            yield line, f"reference: {error}"
            continue
        if min(height, width) < SMALLEST:
            least = f"{SMALLEST} x {SMALLEST}"
            yield line, f"reference has frames of {height} x {width}; LPIPS needs {least} pixels"


def _table(rows: list[tuple[int, Row]]) -> pd.DataFrame:
    order = {task: i for i, task in enumerate(dict.fromkeys(row["task"] for _, row in rows))}
    values = [_values(row) for _, row in rows]
    values.sort(key=lambda row: (order[row["task"]], row["latent"], row["sample"]))
    table = pd.DataFrame(values)
    prompts = table.latent_prompt.astype(object)
    return table.assign(latent_prompt=prompts.where(prompts.notna(), None))


def _values(row: Row) -> dict[str, object]:
    values: dict[str, object] = {n: row.get(n, "") for n in (*REQUIRED, *OPTIONAL)}
    values |= {"latent": int(row["latent"]), "sample": int(row["sample"])}
    values["latent_prompt"] = values["latent_prompt"] or None
    values["vagueness_rank"] = float(values["vagueness_rank"] or "nan")
    return values
