"""Panda-70M: a CSV with a row a source video, and clips as its download tool lays them out.

Every column after the url is a Python literal: a list with an entry a clip. The tool knows a video
by its row: with rows and clips counted from 0, clip c of row r lies at
``{r // 100:05d}/{r:07d}_{c:05d}.mp4``, with its caption in a ``.txt`` beside it.
"""

import ast
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from squbed_utils import csv_files
from squbed_utils.archive.layout import SAFE_ID
from squbed_utils.files import path_of
from squbed_utils.roles import Panda70M
from squbed_utils.tasks.task import LARGEST, Caption, Unusable, text_of

ROWS_A_SHARD = 100
REQUIRED = ("videoID", "timestamp", "caption")
LISTS = ("timestamp", "caption", "matching_score", "desirable_filtering", "shot_boundary_detection")
"""Columns that hold lists; older tables lack the last two."""

LONGEST_FIELD = 2**27
"""Characters; a longer field is a quote that is never closed."""


def captions(dataset: Panda70M, left_out: Counter) -> Iterator[Caption]:
    """Yield the captions that have a clip, in the order of the table.

    `left_out` counts the skipped rows and captions by reason. A video id may begin with a dash or
    an underscore, which no file name here does; hence the prefix of ids.
    """
    folder = path_of(dataset.videos)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of clips {folder}; correct dataset.videos")
    ids, shard, clips = set(), "", set()
    table = path_of(dataset.path)
    rows = csv_files.stream(table, "table", REQUIRED, lenient=True, longest=LONGEST_FIELD)
    for number, (_, row) in enumerate(rows):
        if shard != f"{number // ROWS_A_SHARD:05d}":
            shard = f"{number // ROWS_A_SHARD:05d}"
            clips = {path.name for path in (folder / shard).glob("*.mp4")}
        try:
            texts = _clip_captions(row, ids)
        except Unusable as reason:
            left_out[str(reason)] += 1
            continue
        for clip, text in enumerate(texts):
            try:
                name = f"{number:07d}_{clip:05d}.mp4"
                if name not in clips:
                    raise Unusable("no video")
                yield Caption(_id(row, clip), text_of(text), f"{shard}/{name}")
            except Unusable as reason:
                left_out[str(reason)] += 1


def read_clip(folder: Path, caption: Caption) -> bytes:
    """Return the bytes of a clip; raise `Unusable` if it is gone or the clip of another caption."""
    path = folder / caption.clip
    if Path(caption.clip).is_absolute() or ".." in Path(caption.clip).parts:
        raise Unusable("video outside the dataset's folder")
    beside = path.with_suffix(".txt")
    try:
        if path.stat().st_size > LARGEST:
            raise Unusable("video too large")
        if beside.is_file():
            text = beside.read_text(encoding="utf-8", errors="replace")
            if " ".join(text.split()) != caption.text:
                raise Unusable("video of another caption")
        return path.read_bytes()
    except OSError as error:
        raise Unusable("video that cannot be read") from error


def _clip_captions(row: dict, ids: set[str]) -> list:
    """Return the captions of a row's clips, and add its id to `ids`."""
    if None in row or None in row.values():
        raise Unusable("row with too few or too many fields")
    lists = [_literal(row[column]) for column in LISTS if column in row]
    if len({len(entries) for entries in lists}) != 1:
        raise Unusable("row with lists of unequal lengths")
    if not (row["videoID"] and SAFE_ID.fullmatch(_id(row, len(lists[0])))):
        raise Unusable("row with an id that cannot name a file")
    if row["videoID"] in ids:
        raise Unusable("row with an id that occurs before")
    ids.add(row["videoID"])
    return lists[LISTS.index("caption")]


def _literal(text: str) -> list:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            value = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise Unusable("row with a bad literal") from error
    if not isinstance(value, list):
        raise Unusable("row with a bad literal")
    return value


def _id(row: dict, clip: int) -> str:
    return f"panda70m-{row['videoID']}.{clip}"
