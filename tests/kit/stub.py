"""Collection with a stub in the place of the models: it starts in a second and sleeps.

Claims, workers, shards, videos and the log are the real ones. As a script it collects into a
folder: ``stub.py FOLDER UNITS SECONDS [LEASE [WORKERS_ON_RAY]]``.
"""

import dataclasses
import functools
import sys
import time
import types
from importlib.metadata import version
from pathlib import Path

import numpy as np

from squbed_utils import profiles, video
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import video_path
from squbed_utils.collection import claims
from squbed_utils.collection import workers as work
from squbed_utils.collection.collect import Consent, fill, shared
from squbed_utils.collection.executors import LOCAL, Executor
from squbed_utils.profiles import Profile
from squbed_utils.tasks.task import Task

LATENTS, VIDEOS = 4, 2


def profile() -> Profile:
    settings = profiles.load("world")
    return dataclasses.replace(settings, n=LATENTS, m=VIDEOS)


def tasks(units: int) -> list[Task]:
    names = [f"t{i}" for i in range(units // LATENTS)]
    return [Task(name, "stub", "", name, f"references/{name}.mp4") for name in names]


def make(seconds: float, archive: Archive, task: Task, latent: int) -> None:
    """Write what depends on the unit alone, slowly; keep videos that are there."""
    rows = []
    for sample in range(VIDEOS):
        path = video_path(task.id, latent, sample)
        if not archive.inside(path).is_file():
            time.sleep(seconds / VIDEOS)
            frames = np.full((2, 32, 32, 3), (len(task.id) + latent * 16 + sample) % 256, np.uint8)
            video.write(archive.inside(path), frames, 8)
        rows.append({"task": task.id, "latent": latent, "sample": sample, "path": path})
    archive.write_shard(task.id, latent, [row | {"status": "ok"} for row in rows])


def install(seconds: float) -> None:
    """Put the stub in the models' place, in this process."""
    unit = types.ModuleType("squbed_utils.collection.latent")
    unit.make = lambda bench, task, latent: make(seconds, bench.archive, task, latent)
    sys.modules["squbed_utils.collection.latent"] = unit
    sys.modules["squbed_utils.collection"].latent = unit
    work.new_bench = lambda profile, folder: types.SimpleNamespace(archive=Archive(folder))


def begin(folder: Path, units: int) -> None:
    archive = Archive(folder)
    if not (folder / "profile.yaml").is_file():
        archive.write_tasks(tasks(units), None)
        versions = {name: version(name) for name in profiles.VERSIONED}
        settings = {"name": "stub", "n": LATENTS, "m": VIDEOS, "device": "cpu"}
        archive.write_profile(settings | {"versions": versions})


def collect(folder: Path, units: int, executor: Executor = LOCAL, workers: int = 1) -> None:
    archive = Archive(folder)
    with shared(archive):
        with claims.locked(folder):
            begin(folder, units)
        options = {"executor": executor, "workers": workers}
        fill(archive, profile(), tasks(units), consent=Consent(None), **options)


def on_ray(seconds: float) -> Executor:
    """Have workers on Ray put the stub in the models' place when they start."""
    import ray

    before = {"runtime_env": {"worker_process_setup_hook": lambda: install(seconds)}}
    ray.init = functools.partial(ray.init, **before)
    return Executor("ray")


if __name__ == "__main__":
    folder, units, seconds, *more = sys.argv[1:]
    install(float(seconds))
    claims.LEASE = float(more[0]) if more else claims.LEASE
    if more[1:]:
        collect(Path(folder), int(units), on_ray(float(seconds)), int(more[1]))
    else:
        collect(Path(folder), int(units))
