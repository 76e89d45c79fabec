"""Manifests: CSV files that say which videos exist, of which tasks and latent prompts."""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import BeforeValidator, ConfigDict
from tqdm import tqdm

from squbed_utils import csv_files, video
from squbed_utils.archive.layout import RATING, SAFE_ID, ratings_of
from squbed_utils.csv_files import Line, Number, Whole
from squbed_utils.estimators.estimate import LEAST_LATENTS
from squbed_utils.tasks.task import SMALLEST


def task_id(text: str) -> str:
    """Return a task's id; refuse one that cannot name a file."""
    if not SAFE_ID.fullmatch(text):
        raise ValueError("expected letters, digits, . _ -, since it names files")
    return text


class Told(Line):
    """What people say of a video; its extras are ratings."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number]
    families: ClassVar[tuple[str, ...]] = ("rating_*",)

    prompt: str
    reference: str | None = None
    latent_prompt: str | None = None
    category: str = ""
    vagueness_rank: Number | None = None
    rating: Number | None = None


class Row(Told):
    """A video of a manifest."""

    task: Annotated[str, BeforeValidator(task_id)]
    latent: Whole
    sample: Whole
    video: str


COLUMNS = ("task", "prompt", "latent", "sample", "video", "reference", "latent_prompt")
COLUMNS += ("category", "vagueness_rank")

OF_A_TASK = ("prompt", "reference", "category", "vagueness_rank")


def read(path: Path | str) -> pd.DataFrame:
    """Read a manifest, and check all of it, references included.

    It is a CSV file with a row a video and the columns task (letters, digits, dots, dashes and
    underscores), prompt, latent and sample (whole numbers from 0) and video (a path, absolute, from
    ``~``, or relative to the manifest); optional columns are reference (a path, of a task or of
    none), latent_prompt (of at least three latents of a task, or of none), category,
    vagueness_rank (a number, 1 = least vague), and people's ratings of each video, rating or
    rating_NAME (numbers, higher = better).

    The table has the nine `COLUMNS` and the ratings that some video has, ordered by task (as they
    first occur), latent and sample. A ValueError names all mistakes with their line numbers.
    """
    path = Path(path)
    return checked(csv_files.read_as(Row, path, "manifest"), path.parent, f"manifest {path}")


def checked(rows: list[Row], folder: Path, where: str) -> pd.DataFrame:
    """Return the table of `read`; `where` starts the error that names all mistakes."""
    mistakes = [*_contradictions(rows), *_half_known(rows), *wrong_references(rows, folder)]
    names = dict.fromkeys(name for row in rows for name in row.model_extra)
    wrong = [name for name in names if not RATING.fullmatch(name)]
    mistakes += [(1, f"the column {n!r} is not rating_ and letters, digits or _") for n in wrong]
    csv_files.refuse(where, mistakes)
    order = {task: i for i, task in enumerate(dict.fromkeys(row.task for row in rows))}
    rows = sorted(rows, key=lambda row: (order[row.task], row.latent, row.sample))
    table = pd.DataFrame([row.model_dump(exclude={"line"}) for row in rows])
    rated = [name for name in ratings_of(table) if table[name].notna().any()]
    texts = table[["reference", "latent_prompt"]].astype(object)
    numbers = table[["vagueness_rank", *rated]].astype(float)
    return table.assign(**texts.where(texts.notna(), None), **numbers)[[*COLUMNS, *rated]]


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


def wrong_references(rows: list[Row], folder: Path) -> Iterator[tuple[int, str]]:
    """Yield references that cannot be used; each file is read once."""
    first: dict[str, int] = {}
    for row in rows:
        if row.reference is not None:
            first.setdefault(row.reference, row.line)
    bar = {"desc": "references", "leave": False, "file": sys.stderr, "disable": not first}
    for reference, line in tqdm(first.items(), **bar):
        try:
            height, width = video.size_of(locate(reference, folder))
        except (ValueError, OSError) as error:
            yield line, f"reference: {error}"
            continue
        if min(height, width) < SMALLEST:
            least = f"{SMALLEST} x {SMALLEST}"
            yield line, f"reference has frames of {height} x {width}; LPIPS needs {least} pixels"
