"""Time and memory of the leaderboard on a synthetic archive, stage by stage.

Usage: OMP_NUM_THREADS=2 python benchmarks/leaderboard.py [--tasks N] [--rows N] [--width D]

The archive is synthetic and whole (n = m = 10), its embeddings drawn to follow a known uncertainty;
one small video stands for all of a task. Rows beyond the registered estimators' are noisy copies of
theirs.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from squbed_utils import video
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import reference_path, video_path
from squbed_utils.files import seed_of
from squbed_utils.statistics.calibration import kendall
from squbed_utils.statistics.leaderboard import compare, mean_accuracy, rejection_curves, rows_of
from squbed_utils.statistics.summary import reference_similarity, score_tasks, summarize
from squbed_utils.tasks.task import Task

N = M = 10


def make_archive(folder: Path, tasks: int, width: int) -> None:
    """Write a finished archive whose videos are one file of noise."""
    archive = Archive(folder)
    frames = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    ids = [f"task-{i}" for i in range(tasks)]
    archive.write_tasks(
        [Task(i, "synthetic", "any", "a prompt", reference_path(i)) for i in ids], None
    )
    settings = {"name": "synthetic", "n": N, "m": M, "pca": None, "estimator": "squbed"}
    archive.write_profile(settings | {"lpips": {"kind": "unlearned"}})
    for task in ids:
        one = archive.inside(reference_path(task))
        video.write(one, frames, fps=8)
        archive.inside(video_path(task, 0, 0)).parent.mkdir(parents=True)
        for place in range(N * M):
            archive.inside(video_path(task, *divmod(place, M))).hardlink_to(one)
        rng = np.random.default_rng(seed_of("benchmark", task))
        spread = rng.uniform(0.02, 0.1)
        centre = rng.normal(size=width) / np.sqrt(width)
        text, *videos = (centre + spread * rng.normal(size=(N, width)) for _ in range(M + 1))
        alike = {"clip_embedding": centre.tolist(), "clip_reference_embedding": centre.tolist()}
        for latent in range(N):
            rows = [
                row(
                    task, latent, k, text[latent], videos[k][latent], 1 - spread + rng.normal() / 50
                )
                for k in range(M)
            ]
            archive.write_shard(task, latent, [r | alike for r in rows])


def row(
    task: str, latent: int, k: int, text: np.ndarray, embedding: np.ndarray, good: float
) -> dict:
    """Return one video's row of a shard."""
    scores = dict.fromkeys(("ssim", "psnr", "lpips", "clip_reference", "clip_prompt"), good)
    place = {"task": task, "latent": latent, "prompt": "z", "rejected": [], "sample": k, "seed": k}
    found = {"path": video_path(task, latent, k), "status": "ok", "error": None}
    embeddings = {"text_embedding": text.tolist(), "embedding": embedding.tolist()}
    return scores | place | found | embeddings


def with_copies(scores: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Return the scores with noisy copies of the first estimator's, to the number of rows."""
    first = scores[scores.estimator == scores.estimator.iloc[0]]
    there = len(scores[["estimator", "component"]].drop_duplicates())
    copies = max(0, -(-(rows - there) // first.component.nunique()))
    rng = np.random.default_rng(0)
    noisy = [
        first.assign(estimator=f"copy-{i}", value=first.value + rng.normal(size=len(first)))
        for i in range(copies)
    ]
    return pd.concat([scores, *noisy])


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Print how long a stage takes, also in processor time, and the most memory held so far."""
    start, worked = time.perf_counter(), time.process_time()
    yield
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux
    print(f"{stage:<52}{seconds:>8.2f} s{worked:>8.2f} s CPU{peak:>8.2f} GB", flush=True)


def main() -> None:
    """Parse the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=30, help="rows of the leaderboard, at least")
    parser.add_argument("--width", type=int, default=512, help="of both embeddings")
    parser.add_argument(
        "--folder", type=Path, help="of the archive, which is kept, and not rewritten"
    )
    options = parser.parse_args()
    x, y = np.random.default_rng(0).normal(size=(2, options.tasks))
    with timed(f"kendall, {options.tasks} tasks, 10,000 resamples"):
        kendall(x, y, rng=np.random.default_rng(0), n_bootstrap=10_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "archive"
        if not folder.exists():
            with timed("writing the archive (not part of the leaderboard)"):
                make_archive(folder, options.tasks, options.width)
        start = time.perf_counter()
        archive = open_archive(folder)
        with timed("reading the archive"):
            accuracy = mean_accuracy(archive)
            similarity = reference_similarity(archive, list(accuracy.index))
        with timed("one estimator with jackknife intervals"):
            summarize(archive)
        with timed("every registered estimator"):
            score_tasks(archive, read_videos=False)
        with timed("the same, and the control that reads videos"):
            scores = score_tasks(archive)
    scores = with_copies(scores, options.rows)
    with timed("rows"):
        rows = rows_of(scores, accuracy)
    with timed(f"statistics of {len(rows.scores)} rows"):
        compare(rows, similarity=similarity)
    with timed("rejection curves"):
        rejection_curves(rows)
    print(f"{'leaderboard, all stages':<52}{time.perf_counter() - start:>8.2f} s")


if __name__ == "__main__":
    main()
