"""The smallest archive that can be scored: embeddings and videos as a test gives them."""

from pathlib import Path

import numpy as np

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import video_path
from squbed_utils.tasks.task import Task
from squbed_utils.video import write

FPS = 8.0


def make(folder: Path, prompts: dict[str, str], *, n: int = 3, m: int = 3, **changes) -> Archive:
    """Write a finished archive of the tasks in `prompts`.

    `changes` may hold `frames(task, latent, sample)`, `clip(task, latent, sample)`, `embedded`, the
    CLIP embeddings of each such triple's video and reference, `caption(task, latent, sample)`,
    `failed`, a set of triples, and `text=False` for latent prompts that are not known.
    """
    archive = Archive(folder)
    tasks = [
        Task(id=t, dataset="d", category="c", prompt=p, reference="") for t, p in prompts.items()
    ]
    archive.write_tasks(tasks, None)
    archive.write_profile({"name": "small", "n": n, "m": m, "pca": None, "estimator": "squbed"})
    rng = np.random.default_rng(0)
    for task in prompts:
        for latent in range(n):
            shared = {"task": task, "latent": latent, "prompt": f"{task} {latent}", "rejected": []}
            shared["text_embedding"] = rng.normal(size=8).tolist()
            if not changes.get("text", True):
                shared |= {"prompt": None, "text_embedding": None}
            rows = [shared | _row(archive, (task, latent, k), rng, changes) for k in range(m)]
            absent = [archive.inside(row["path"]) for row in rows if "path" in row]
            absent = [path for path in absent if not path.exists()]
            for path in absent:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")  # a shard is written after its videos
            archive.write_shard(task, latent, rows)
            for path in absent:
                path.unlink()
    return archive


def _row(archive: Archive, place: tuple[str, int, int], rng, changes: dict) -> dict:
    embedding = (1 + 0.5 * rng.normal(size=16)).tolist()
    row = {"sample": place[2], "seed": 0, "path": video_path(*place)}
    if place in changes.get("failed", ()):
        return row | {"status": "failed", "error": "no reason"}
    if "frames" in changes:
        write(archive.inside(row["path"]), changes["frames"](*place), FPS)
    clip = changes["clip"](*place) if "clip" in changes else rng.uniform()
    if "embedded" in changes:
        names = ("clip_embedding", "clip_reference_embedding")
        row |= dict(zip(names, map(list, changes["embedded"][place]), strict=True))
    if "caption" in changes:
        row |= {"caption": changes["caption"](*place)}
    scores = {"clip_prompt": clip, "lpips": None if clip is None else 1 - clip}
    return row | {"embedding": embedding, "status": "ok"} | scores
