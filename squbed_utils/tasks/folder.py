"""A bare folder of clips: the manifest that their names, and two tables beside them, amount to.

``prompts.csv`` says what the clips are of, ``preferences.csv`` which of two people preferred.
"""

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd
from pydantic import ConfigDict

from squbed_utils import csv_files
from squbed_utils.archive.layout import SAFE_ID, ratings_of
from squbed_utils.csv_files import MOST_SHOWN, Line
from squbed_utils.estimators.estimate import LEAST_LATENTS
from squbed_utils.files import left_by_a_tool, readable_name, replacing
from squbed_utils.tasks.manifest import Row, Told, checked
from squbed_utils.text import shortened, suggestion, visible

SUFFIXES = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif"}

NAMES = "<prompt>-<number>.mp4, <task>/<sample>.mp4 or <task>/<latent>/<sample>.mp4"

NAME = re.compile(
    r"(?P<prompt>[^/]+)-(?P<number>[0-9]+)"
    r"|(?P<task>[^/]+)/((?P<latent>[^/]+)/)?(?P<sample>[^/]+)"
)
MANIFEST, PROMPTS, PREFERENCES = "manifest.csv", "prompts.csv", "preferences.csv"

SHARES = {"a": 1.0, "b": 0.0, "tie": 0.5}
"""Which of two videos was preferred -> what the first has won."""


class Said(Told):
    """A row of ``prompts.csv``: of one clip, by `video`, or of all of a task or a latent prompt."""

    video: str | None = None
    task: str | None = None
    latent: str | None = None


class Vote(Line):
    """A row of ``preferences.csv``: two clips of which one was preferred."""

    model_config = ConfigDict(extra="forbid")

    video_a: str
    video_b: str
    preferred: Literal["a", "b", "tie"]
    dimension: str = "preference"


Place = tuple[str, str, str, str, Told]
"""Texts that stand for a task, a latent prompt and a sample; the clip, and what is said of it."""

Mistakes = list[tuple[int, str]]


def read(folder: Path) -> pd.DataFrame:
    """Return the manifest of a folder of clips, as ``manifest.read`` does; paths are within it.

    Clips are named as `NAMES` says. A task's folder is its prompt, unless ``prompts.csv`` has a row
    for that `task`; if that has the column `video`, it says all, and names say nothing.
    """
    table, mistakes = folder / PROMPTS, []
    said = csv_files.read_as(Said, table, "prompts") if table.is_file() else []
    where = f"prompts {table}" if said else f"folder {folder}"
    clips = _clips(folder, {_plain(row.reference) for row in said if row.reference})
    places = (_by_rows if any(row.video for row in said) else _by_names)(clips, said, mistakes)
    csv_files.refuse(where, mistakes)
    ratings = _ratings(folder / PREFERENCES, clips)
    latents = _numbers((task, latent) for task, latent, *_ in places)
    samples = _numbers(((task, latent), sample) for task, latent, sample, *_ in places)
    rows = []
    for task, latent, sample, video, told in places:
        row = told.model_dump(exclude={"video", "task", "latent"}, exclude_none=True)
        row |= {"latent": latents[task, latent], "sample": samples[(task, latent), sample]}
        row |= {"task": task if SAFE_ID.fullmatch(task) else readable_name(task, task)}
        row |= {"video": video} | ratings[video]
        rows.append(Row.model_validate({name: str(value) for name, value in row.items()}))
    return checked(rows, folder, where)


def write_manifest(folder: Path) -> Path:
    """Write what `read` understands as ``manifest.csv`` into the folder; never over one."""
    path = folder / MANIFEST
    if path.exists():
        raise ValueError(f"{path} is there already, and is what is scored; edit it, or delete it")
    table = read(folder)
    with replacing(path) as partial:
        csv_files.for_spreadsheets(table).to_csv(partial, index=False)
    return path


def understood(table: pd.DataFrame) -> str:
    """Return a manifest as text, a line a task, for people to see whether it is what they meant."""
    lines = []
    for task, of in table.groupby("task", sort=False):
        known = "" if of.latent_prompt.notna().all() else " unknown"
        line = {"task": task, "prompt": shortened(visible(of.prompt.iloc[0]))[1:-1]}
        line |= {"latent prompts": f"{of.latent.nunique()}{known}", "videos": len(of)}
        line |= {"first": of.video.iloc[0], "reference": of.reference.iloc[0] or "-"}
        lines.append(line | {name: f"{of[name].count()} rated" for name in ratings_of(of)})
    text = pd.DataFrame(lines[:MOST_SHOWN]).to_string(index=False)
    more = len(lines) - MOST_SHOWN
    return text + (f"\nand {more} more tasks" if more > 0 else "")


def _clips(folder: Path, references: set[str]) -> list[str]:
    """Return the paths of the clips within the folder, in order."""
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in files if not any(map(left_by_a_tool, path.parts))]
    clips = [path.as_posix() for path in files if path.suffix.lower() in SUFFIXES]
    clips = [clip for clip in clips if clip not in references]
    if not clips:
        raise ValueError(
            f"folder {folder} is no archive (no profile.yaml in it) and has no clips; expected "
            f"files named {NAMES}"
        )
    return clips


def _by_rows(clips: list[str], said: list[Said], mistakes: Mistakes) -> list[Place]:
    """Return the clips that rows name; a clip without a row is left out."""
    places = []
    for row in said:
        video = _plain(row.video or "")
        if video not in clips:
            fault = f"no clip {row.video!r} in this folder{suggestion(video, clips)}"
            mistakes.append((row.line, fault if row.video else "video is empty"))
        latent = row.latent or row.latent_prompt or "0"
        places.append((row.task or row.prompt, latent, video, video, row))
    return places


def _by_names(clips: list[str], said: list[Said], mistakes: Mistakes) -> list[Place]:
    """Return what each clip's name says, with the row of its task or latent prompt."""
    told = {(row.task, row.latent): row for row in said}
    places, first, latents = [], {}, defaultdict(set)
    for clip in clips:
        if (name := NAME.fullmatch(clip.rpartition(".")[0])) is None:
            mistakes.append((0, f"{clip} is not named {NAMES}; rename it, or name it in {PROMPTS}"))
            continue
        task, latent = name["prompt"] or name["task"], name["latent"] or "0"
        sample = name["number"] or name["sample"]
        place = task, latent, sample.lstrip("0") if sample.isdecimal() else sample
        if (other := first.setdefault(place, clip)) != clip:
            mistakes.append((0, f"{other} and {clip} are the same sample; rename one"))
        row = told.get((task, latent)) or told.get((task, None))
        if row is None and said:
            mistakes.append((0, f"{clip} is of the task {task!r}, which has no row"))
        latents[task].add(latent)
        places.append((task, latent, sample, clip, row or Told(line=0, prompt=_words(task))))
    for row in said:
        if row.task not in latents:
            hint = suggestion(row.task or "", sorted(latents))
            mistakes.append((row.line, f"no clips of the task {row.task!r}{hint}"))
    for i, (task, latent, sample, clip, row) in enumerate(places):
        texts = len(latents[task]) >= LEAST_LATENTS and not all(map(str.isdecimal, latents[task]))
        if texts and row.latent_prompt is None:
            row = row.model_copy(update={"latent_prompt": _words(latent)})
            places[i] = task, latent, sample, clip, row
    return places


def _ratings(path: Path, clips: list[str]) -> dict[str, dict[str, float]]:
    """Return the share of its comparisons that each clip won, ties half, by what was compared."""
    won, mistakes = defaultdict(lambda: defaultdict(list)), []
    for vote in csv_files.read_as(Vote, path, "preferences") if path.is_file() else ():
        share, name = SHARES[vote.preferred], "rating_" + re.sub(r"\W+", "_", vote.dimension)
        pair = {_plain(vote.video_a): share, _plain(vote.video_b): 1 - share}
        if len(pair) < 2 or not set(pair) & set(clips):
            mistakes.append((vote.line, "expected two videos, one of them a clip in this folder"))
        for video, share in pair.items():
            won[video][name].append(share)
    csv_files.refuse(f"preferences {path}", mistakes)
    means = {v: {n: sum(of) / len(of) for n, of in names.items()} for v, names in won.items()}
    return defaultdict(dict, means)


def _numbers(pairs: object) -> dict[tuple, int]:
    """Return the numbers of the texts of each group: what they are, or else their order."""
    groups: dict[object, dict[str, None]] = defaultdict(dict)
    for group, text in pairs:
        groups[group][text] = None
    return {
        (group, text): int(text) if all(map(str.isdecimal, texts)) else order
        for group, texts in groups.items()
        for order, text in enumerate(texts)
    }


def _plain(path: str) -> str:
    return PurePosixPath(path).as_posix()


def _words(name: str) -> str:
    """Return a name as people would write it: underscores are spaces."""
    return " ".join(name.replace("_", " ").split())
