"""VidGen-1M: a JSON list of captions, and clips in zips that are never unpacked."""

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from squbed_utils.archive.layout import SAFE_ID
from squbed_utils.files import path_of
from squbed_utils.roles import VidGen1M
from squbed_utils.tasks.task import LARGEST, Caption, Unusable, text_of

DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)
"""Errors from a damaged, encrypted or unknown zip."""


def captions(dataset: VidGen1M, left_out: Counter) -> Iterator[Caption]:
    """Yield the captions that have a clip in a zip, in the order of the JSON.

    `left_out` counts the skipped zips, entries of zips, and captions by reason. A vid may begin
    with a dash or an underscore, which no file name here does; hence the prefix of ids.
    """
    entries = _entries(path_of(dataset.path))
    clips, vids = _index(path_of(dataset.videos), left_out), set()
    for entry in entries:
        try:
            vid, caption = _vid(entry), text_of(entry.get("caption"))
            if vid in vids:
                raise Unusable("vid that occurs before")
            vids.add(vid)
            if vid not in clips:
                raise Unusable("no video")
            yield Caption(f"vidgen1m-{vid}", caption, clips[vid])
        except Unusable as reason:
            left_out[str(reason)] += 1


def read_clip(folder: Path, caption: Caption) -> bytes:
    """Return one entry of a zip, never unpacked; raise `Unusable` if it is gone or damaged."""
    name, _, entry = caption.clip.partition("/")
    try:
        with zipfile.ZipFile(folder / name) as archive:
            info = archive.getinfo(entry)
            if info.file_size > LARGEST:
                raise Unusable("video too large")
            return archive.read(info)
    except (*DAMAGED, KeyError) as error:
        raise Unusable("video that cannot be read from its zip") from error


def _entries(path: Path) -> list:
    try:
        with path.open(encoding="utf-8-sig") as file:
            entries = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is no JSON, or cut short ({error}); fetch VidGen-1M's captions again"
        ) from error
    if not isinstance(entries, list):
        raise ValueError(
            f"{path} holds a {type(entries).__name__}; expected a list of entries, each with vid "
            "and caption"
        )
    return entries


def _vid(entry: object) -> str:
    vid = entry.get("vid") if isinstance(entry, dict) else None
    if not isinstance(vid, str):
        raise Unusable("entry without a vid")
    if not (vid and SAFE_ID.fullmatch(f"vidgen1m-{vid}")):
        raise Unusable("vid that cannot name a file")
    return vid


def _index(folder: Path, left_out: Counter) -> dict[str, str]:
    """Return vid -> zip and entry of all clips; only the zips' lists of contents are read."""
    clips = {}
    zips = sorted(folder.glob("*.zip"))
    if not zips:
        raise FileNotFoundError(f"no zips in {folder}; correct dataset.videos")
    for path in zips:
        for info in _contents(path, left_out):
            vid = PurePosixPath(info.filename).stem
            if vid in clips:
                left_out["zip entry that occurs before"] += 1
            clips.setdefault(vid, f"{path.name}/{info.filename}")
    return clips


def _contents(path: Path, left_out: Counter) -> list[zipfile.ZipInfo]:
    """List the mp4 files in a zip; a damaged zip has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [info for info in archive.infolist() if info.filename.endswith(".mp4")]
    except (*DAMAGED, ValueError):
        left_out["damaged zip"] += 1
        return []
