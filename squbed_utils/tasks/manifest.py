"""Manifests: CSV files that say which videos exist, of which tasks and latent prompts."""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BeforeValidator, ConfigDict
from tqdm import tqdm

from squbed_utils import csv_files, video
from squbed_utils.archive.layout import SAFE_ID
from squbed_utils.csv_files import Line, Number, Whole
from squbed_utils.estimators.estimate import LEAST_LATENTS
from squbed_utils.tasks.clips import SMALLEST


def task_id(text: str) -> str:
    """Return a task's id; refuse one that cannot name a file."""
    if not SAFE_ID.fullmatch(text):
        raise ValueError("expected letters, digits, . _ -, since it names files")
    return text


class Row(Line):
    """A video of a manifest."""

    model_config = ConfigDict(extra="forbid")

    task: Annotated[str, BeforeValidator(task_id)]
    prompt: str
    latent: Whole
    sample: Whole
    video: str
    reference: str
    latent_prompt: str | None = None
    category: str = ""
    vagueness_rank: Number | None = None


COLUMNS = tuple(name for name in Row.model_fields if name != "line")

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
    rows = csv_files.read_as(Row, path, "manifest")
    mistakes = [*_contradictions(rows), *_half_known(rows), *_wrong_references(rows, path.parent)]
    csv_files.refuse(f"manifest {path}", mistakes)
    order = {task: i for i, task in enumerate(dict.fromkeys(row.task for row in rows))}
    rows.sort(key=lambda row: (order[row.task], row.latent, row.sample))
    table = pd.DataFrame([row.model_dump(exclude={"line"}) for row in rows])
    prompts = table.latent_prompt.astype(object)
    return table.assign(
        latent_prompt=prompts.where(prompts.notna(), None),
        vagueness_rank=table.vagueness_rank.astype(float),
    )


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


def _contradictions(rows: list[Row]) -> Iterator[tuple[int, str]]:
    """Yield videos that occur twice, and values that differ within a task or a latent prompt."""
    first: dict[str, Row] = {}
    for row in rows:
        task = f"task {row.task}"
        latent = f"{task}, latent {row.latent}"
        sample = f"{latent}, sample {row.sample}"
        before = first.setdefault(sample, row)
        if before is not row:
            yield row.line, f"{sample} is already in line {before.line}"
        for group, columns in ((task, OF_A_TASK), (latent, ("latent_prompt",))):
            before = first.setdefault(group, row)
            for name in columns:
                value, other = getattr(row, name), getattr(before, name)
                if value != other:
                    yield row.line, f"{group} has {name} {value!r}, in line {before.line} {other!r}"


def _half_known(rows: list[Row]) -> Iterator[tuple[int, str]]:
    """Yield tasks with too few latent prompts, or with some known and some not."""
    prompts: dict[str, dict[int, str | None]] = defaultdict(dict)
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(row.task, row.line)
        prompts[row.task][row.latent] = row.latent_prompt
    for task, latents in prompts.items():
        known = sum(map(bool, latents.values()))
        remedy = "or leave latent_prompt empty throughout the task, for epistemic alone"
        if 0 < known < len(latents):
            fault = f"task {task} has a latent_prompt for {known} of its {len(latents)} latents"
            yield first[task], f"{fault}; give all, {remedy}"
        elif 0 < known < LEAST_LATENTS:
            fault = f"task {task} has {known} latent prompts; aleatoric needs {LEAST_LATENTS}"
            yield first[task], f"{fault}: add some, {remedy}"


def _wrong_references(rows: list[Row], folder: Path) -> Iterator[tuple[int, str]]:
    """Yield references that cannot be used; each file is read once."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(row.reference, row.line)
    for reference, line in tqdm(first.items(), desc="references", leave=False, file=sys.stderr):
        try:
            height, width = video.size_of(locate(reference, folder))
        except (ValueError, OSError) as error:
            yield line, f"reference: {error}"
            continue
        if min(height, width) < SMALLEST:
            least = f"{SMALLEST} x {SMALLEST}"
            yield line, f"reference has frames of {height} x {width}; LPIPS needs {least} pixels"
