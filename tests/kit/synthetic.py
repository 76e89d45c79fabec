"""An archive that no model made: rendered videos, embeddings drawn to follow the truth.

Text spreads with what a prompt leaves open, videos with how little the model saw of the subject;
a subject never seen is replaced by another of its category. So the figures have something
to show without any checkpoint.
"""

from pathlib import Path

import numpy as np

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import video_path
from squbed_utils.files import seed_of
from squbed_utils.roles import World
from squbed_utils.tasks import shapes_world
from squbed_utils.video import write
from squbed_utils.world import render, scenes

WIDTH = 16
SPREAD = {"common": 0.15, "rare": 0.25, "never": 0.4}


def make_archive(folder: Path, *, n: int = 3, m: int = 3, per_cell: int = 1) -> Path:
    """Write a finished archive of 15 tasks a category; return its folder."""
    archive = Archive(folder)
    dataset = World(path="data/world/tasks.csv", per_cell=per_cell)
    source = shapes_world.read(dataset)
    archive.write_tasks(source.tasks, source.truth)
    settings = {"name": "synthetic", "n": n, "m": m, "pca": None, "estimator": "squbed"}
    archive.write_profile(settings | {"lpips": {"kind": "unlearned"}})
    for task, row in zip(source.tasks, source.truth.itertuples(), strict=True):
        _write_task(archive, task, row, n, m)
    return folder


def _write_task(archive, task, row, n, m):
    rng = np.random.default_rng(seed_of("synthetic", task.id))
    reference = scenes.parse(row.reference_scene)
    shown = render.render(reference, np.random.default_rng(row.reference_seed))
    write(archive.inside(task.reference), shown, render.FPS)
    prompt, video = _unit(rng.normal(size=(2, WIDTH)))
    for latent in range(n):
        scene = scenes.complete(scenes.parse(task.prompt), rng)
        text = _unit(prompt + 0.05 * (1 + row.true_entropy) * rng.normal(size=WIDTH))
        rows = [_video(archive, task, row, scene, (latent, k), video, rng) for k in range(m)]
        shared = {"task": task.id, "latent": latent, "prompt": scenes.say(scene)}
        shared |= {"rejected": [], "text_embedding": text.tolist()}
        archive.write_shard(task.id, latent, [shared | r for r in rows])


def _video(archive, task, row, scene, place, centre, rng):
    latent, sample = place
    shape = scenes.CATEGORIES[task.category][-1] if row.coverage == "never" else scene["shape"]
    frames = render.render({**scene, "shape": shape}, rng)
    path = video_path(task.id, latent, sample)
    write(archive.inside(path), frames, render.FPS)
    spread = SPREAD[row.coverage]
    good = 0.9 - spread - 0.04 * row.true_entropy + 0.03 * rng.normal()
    scores = {"ssim": good / 2, "psnr": 20 * good, "lpips": 1 - good}
    scores |= {"clip_reference": good, "clip_prompt": good / 3}
    found = {"sample": sample, "seed": sample, "path": path, "status": "ok", "error": None}
    return scores | found | {"embedding": _unit(centre + spread * rng.normal(size=WIDTH)).tolist()}


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
