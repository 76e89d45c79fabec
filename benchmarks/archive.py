"""How an archive behaves when it is large: its files and bytes, and the time and memory of reading.

Run with ``python benchmarks/archive.py --tasks 400 --n 10 --m 10 --folder DIR``. The archive is
synthetic: embeddings are random, of the widths that MiniLM, S3D and CLIP have, and every video is a
copy of one small file, so that bytes are those of the tables, and files and times those of a run.
"""

import argparse
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from squbed_utils import video
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import LABELS
from squbed_utils.archive.remote import load
from squbed_utils.commands.publish import export
from squbed_utils.statistics import summary
from squbed_utils.statistics.summary import summarize
from squbed_utils.tasks.task import Task

TEXT, VIDEO, CLIP = 384, 512, 512
"""Widths of embeddings."""

PROMPT = "a small red circle moving slowly to the left in front of a white background"
"""About as long as a latent prompt is."""


def make(folder: Path, tasks: int, n: int, m: int) -> Archive:
    """Write a finished archive of random embeddings."""
    archive, rng = Archive(folder), np.random.default_rng(0)
    chosen = [
        Task(f"task-{i:05d}", "synthetic", "other", PROMPT, f"references/task-{i:05d}.mp4")
        for i in range(tasks)
    ]
    archive.write_tasks(chosen, None)
    archive.write_profile({"name": folder.name, "estimator": "squbed", "pca": None, "n": n, "m": m})
    clip = np.zeros((9, 32, 32, 3), np.uint8)
    video.write(archive.inside("videos/clip.mp4"), clip, 8)
    content = archive.inside("videos/clip.mp4").read_bytes()
    archive.inside("videos/clip.mp4").unlink()
    for task in chosen:
        paths = [layout.video_path(task.id, *divmod(k, m)) for k in range(n * m)]
        for path in [task.reference, *paths]:
            archive.inside(path).parent.mkdir(parents=True, exist_ok=True)
            archive.inside(path).write_bytes(content)
        reference = _unit(rng, CLIP)
        for latent in range(n):
            archive.write_shard(task.id, latent, _rows(rng, task.id, latent, m, reference))
    return archive


def _rows(
    rng: np.random.Generator, task: str, latent: int, m: int, reference: list[float]
) -> list[dict]:
    text, *videos = (_unit(rng, width) for width in (TEXT, *[VIDEO] * m))
    shared = {"task": task, "latent": latent, "prompt": PROMPT, "rejected": []}
    shared |= {"text_embedding": text, "status": layout.OK, "error": None}
    shared |= {"clip_reference_embedding": reference}
    return [
        shared
        | {"sample": k, "seed": k, "path": layout.video_path(task, latent, k), "embedding": video}
        | dict.fromkeys(LABELS, rng.random())
        | {"clip_embedding": _unit(rng, CLIP)}
        for k, video in enumerate(videos)
    ]


def _unit(rng: np.random.Generator, width: int) -> list[float]:
    x = rng.normal(size=width)
    x[0] += np.sqrt(width)
    return (x / np.linalg.norm(x)).tolist()


def _timed(name: str, step: object) -> object:
    start = time.perf_counter()
    result = step()
    taken = time.perf_counter() - start
    print(f"{name:38} {taken:8.2f} s   peak memory {_peak():6.0f} MB", flush=True)
    return result


def _peak() -> float:
    """Return the most memory that this process has held, in MB; macOS counts bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _sizes(folder: Path) -> None:
    for part in ("shards", "videos", "references"):
        files = [p for p in (folder / part).rglob("*") if p.is_file()]
        total = sum(p.stat().st_size for p in files)
        print(
            f"{part:12} {len(files):7} files {total / 1e6:9.1f} MB {total / len(files):8.0f} B each"
        )


def main() -> None:
    """Make the archive unless it is there, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    for name, default in (("tasks", 400), ("n", 10), ("m", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    print(f"imported                               peak memory {_peak():6.0f} MB")
    if not options.folder.exists():
        sizes = (options.tasks, options.n, options.m)
        _timed("write", lambda: make(options.folder, *sizes))
        return
    _sizes(options.folder)
    archive = _timed("open", lambda: open_archive(options.folder))
    _timed("read every shard", archive.videos)
    _timed("embeddings of one task", lambda: archive.embeddings(archive.tasks().task[0]))
    _timed("summarize (squbed)", lambda: summarize(archive))
    _timed("score_tasks (every estimator)", lambda: summary.score_tasks(archive))
    exported = options.folder.with_name(f"{options.folder.name}-exported")
    shutil.rmtree(exported, ignore_errors=True)
    _timed("export, hf", lambda: export(options.folder, exported))
    print(f"metadata.parquet {(exported / 'metadata.parquet').stat().st_size / 1e6:.1f} MB")
    _timed("load the export", lambda: load(exported))
    _timed("load and verify the export", lambda: load(exported, verify=True))


if __name__ == "__main__":
    main()
