"""Small datasets in the formats of Panda-70M and VidGen-1M, with real clips."""

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
from kit import films

OLD = ["videoID", "url", "timestamp", "caption", "matching_score"]
NEW = [*OLD, "desirable_filtering", "shot_boundary_detection"]
WORDS = {"dog": "animals", "soup": "food", "chess": "games", "woman": "people", "train": "other"}


def label(captions: list[str]) -> list[str]:
    """Label captions by the one of `WORDS` that they hold."""
    return [next((c for word, c in WORDS.items() if word in text), "unclear") for text in captions]


def make_clip(path: Path, *, seed: int = 0, size: int = 32, frames: int = 6) -> bytes:
    """Write a lossy mp4, as datasets hold them, and return its bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 4, 4, 3), dtype=np.uint8)
    films.write_lossy(path, pixels.repeat(size // 4, 1).repeat(size // 4, 2), 25)
    return path.read_bytes()


def panda_row(video_id: str, captions: list[str], **changes: str) -> dict:
    """Return one row of the table, as text."""
    n = len(captions)
    spans = [[f"0:0{i}:00.000", f"0:0{i}:08.500"] for i in range(n)]
    row = {"videoID": video_id, "url": f"https://www.youtube.com/watch?v={video_id}"}
    row |= {"timestamp": str(spans), "caption": str(captions), "matching_score": str([0.45] * n)}
    row |= {"desirable_filtering": str(["desirable"] * n)}
    row |= {"shot_boundary_detection": str([[["0:00:00.000", "0:00:08.500"]]] * n)}
    return row | changes


def write_table(path: Path, rows: list[dict], columns: list[str] = NEW) -> Path:
    """Write a CSV as the dataset's."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    return path


def panda_path(videos: Path, row: int, clip: int) -> Path:
    """Return where the download tool puts a clip."""
    return videos / f"{row // 100:05d}" / f"{row:07d}_{clip:05d}.mp4"


def make_panda(folder: Path, rows: list[tuple[str, list[str]]], columns: list[str] = NEW) -> dict:
    """Write a Panda-70M of (video id, captions), with every clip; return its settings."""
    videos = folder / "videos"
    for number, (_, captions) in enumerate(rows):
        for clip, caption in enumerate(captions):
            path = panda_path(videos, number, clip)
            make_clip(path, seed=10 * number + clip)
            path.with_suffix(".txt").write_text(caption, encoding="utf-8")
            path.with_suffix(".json").write_text(json.dumps({"caption": caption}))
    table = write_table(folder / "panda.csv", [panda_row(*row) for row in rows], columns)
    return {"kind": "panda70m", "path": str(table), "videos": str(videos)}


def make_vidgen(folder: Path, entries: object, zips: dict[str, dict[str, bytes]]) -> dict:
    """Write a VidGen-1M: its JSON, and zips of entry -> bytes; return its settings."""
    videos = folder / "zips"
    videos.mkdir(parents=True)
    (folder / "captions.json").write_text(json.dumps(entries), encoding="utf-8")
    for name, files in zips.items():
        with zipfile.ZipFile(videos / name, "w") as archive:
            for entry, data in files.items():
                archive.writestr(entry, data)
    return {"kind": "vidgen1m", "path": str(folder / "captions.json"), "videos": str(videos)}
