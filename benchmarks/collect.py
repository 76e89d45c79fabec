"""Collection measured: executors, the archive's overhead, its size, memory, and many workers.

Usage: OMP_NUM_THREADS=1 python benchmarks/collect.py PART [--profile NAME] [--units N]

PART is one of: executors (units an hour of local with 1 worker, of Ray with 1 and 2), overhead
(the archive's share of a unit's time, and bytes a video), sampler (videos a second, and the least
time that their arithmetic takes on this core), memory (peak against the number of tasks), workers
(200 workers share 40,000 units of a stub that sleeps).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from vmf import seconds

from squbed_utils import profiles, video
from squbed_utils.archive.archive import Archive
from squbed_utils.collection import claims, latent, status
from squbed_utils.collection import workers as work
from squbed_utils.collection.collect import collect
from squbed_utils.collection.executors import Executor
from squbed_utils.tasks.task import Task

TASKS = [
    "slab-3",
    "slab-4",
    "clover-1",
    "tee-0",
    "arrow-2",
    "boat-0",
    "drop-3",
    "vee-2",
    "leaf-1",
    "tree-4",
]
PROCESSES, THREADS, SIMULATED, SLEEP = 2, 100, 40_000, 0.5
SIDE = 1024


def some_tasks(name: str, count: int) -> profiles.Profile:
    """Return a profile cut to some tasks."""
    profile = profiles.load(name)
    return replace(profile, dataset=replace(profile.dataset, tasks=TASKS[:count]))


def units_a_minute(folder: Path) -> float:
    """Return the rate since the last worker began, so that loading models does not count."""
    logs = [log for log in status.read(folder).values() if len(log) > 1]
    begun = max(min(e["time"] for e in log if e["event"] == "begin") for log in logs)
    done = [e["time"] for log in logs for e in log if e["event"] == "done" and e["time"] > begun]
    return len(done) / (max(done) - begun) * 60


def executors(name: str, folder: Path) -> None:
    """Print units a minute of each executor."""
    profile, first = some_tasks(name, 10), None
    for kind, workers in (("local", 1), ("ray", 1), ("ray", 2), ("local", 2)):
        output = folder / f"{kind}{workers}"
        collect(profile, output=output, workers=workers, executor=Executor(kind))
        rate = units_a_minute(output)
        first = first or rate
        print(f"{kind:6} {workers} workers  {rate:6.1f} units a minute  {rate / first:.2f} x")


def time_calls(owner: object, name: str, spent: dict) -> None:
    """Add up the seconds, of clock and processor, that a function takes from now on."""
    real = getattr(owner, name)
    spent[name] = np.zeros(2)

    def measured(*arguments: object, **options: object) -> object:
        start = np.array([time.perf_counter(), time.process_time()])
        try:
            return real(*arguments, **options)
        finally:
            spent[name] += [time.perf_counter(), time.process_time()] - start

    setattr(owner, name, measured)


def time_generation(spent: dict) -> None:
    """Add up the seconds that the video model takes, once it is loaded."""
    from squbed_utils.models import load as models

    load = models.load

    def load_timed(*arguments: object) -> object:
        loaded = argparse.Namespace(**vars(load(*arguments)))
        time_calls(loaded, "generate", spent)
        return models.Models(**vars(loaded))

    models.load = load_timed


def overhead(name: str, folder: Path) -> None:
    """Print what storing and all else take, beside generating, and the size of a video."""
    spent, part = {}, {}
    time_generation(spent)
    time_calls(latent, "make", spent)
    stored = [(video, "write"), (video, "is_whole"), (Archive, "write_shard")]
    stored += [(claims.Worker, "claim"), (claims.Worker, "release"), (status.RunLog, "write")]
    for owner, function in stored:
        time_calls(owner, function, part)
    archive = collect(some_tasks(name, 2), output=folder / "overhead")
    videos, generation = len(archive.videos()), spent["generate"]
    rows = {"generation": generation, **part, "all storing": sum(part.values())}
    print("ms a video and share of generation, of clock and of processor")
    for name, took in (rows | {"all but it": spent["make"] - generation}).items():
        each, shares = took / videos * 1e3, took / generation
        print(f"{name:12} {each[0]:8.2f} {shares[0]:8.2%} {each[1]:8.2f} {shares[1]:8.2%}")
    kinds = {"mp4": "videos/*/*", "parquet": "shards/*/*.parquet", "sha256": "shards/*/*.sha256"}
    for kind, pattern in kinds.items():
        size = sum(file.stat().st_size for file in archive.folder.glob(pattern)) / videos
        print(f"{kind:8} {size:8,.0f} bytes a video")


def sampler(name: str) -> None:
    """Print videos a second of one core, and the time of their products at this core's best."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from squbed_utils.models import diffusion

    torch.set_num_threads(1)
    profile = profiles.load(name)
    generate, count = diffusion.load(profile, "cpu"), profile.batch_size
    batch = ["a red clover drifts to the left"] * count, list(range(count))
    with FlopCounterMode(display=False) as counter:
        generate(*batch)
    each = seconds(lambda: generate(*batch)) / count
    square = torch.randn(SIDE, SIDE)
    best = 2 * SIDE**3 / seconds(lambda: square @ square)
    needed = counter.get_total_flops() / count
    print(f"{1 / each:.1f} videos a second ({each * 1e3:.1f} ms), in batches of {count}")
    least = needed / best
    print(f"{needed / 1e9:.2f} GFLOP a video; {SIDE} x {SIDE} by itself: {best / 1e9:.0f} GFLOP/s")
    print(f"so at least {least * 1e3:.1f} ms a video, {least / each:.0%} of its time")


def memory(folder: Path, tasks: int) -> None:
    """Print the peak memory of a worker that stores the units of some tasks."""
    made = [Task(f"t{i}", "stub", "", "a stub", "references/x.mp4") for i in range(tasks)]
    stubbed(folder, made, latents=2, seconds=0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{tasks:6} tasks  {peak / 1024:8.1f} MiB")


def stubbed(folder: Path, tasks: list[Task], *, latents: int, seconds: float) -> int:
    """Work on an archive as a worker does, with a stub that sleeps; return the units it made."""
    archive = Archive(folder)
    todo = [(task, latent) for task in tasks for latent in range(latents)]
    job = work.Job(profiles.load("world"), folder, todo)
    maker = StubMaker(archive, seconds)
    for _ in work.work(job, maker=lambda *_: maker):
        pass
    return maker.made


class StubMaker:
    """Sleeps, and leaves an empty shard."""

    def __init__(self, archive: Archive, seconds: float) -> None:
        self.archive, self.seconds, self.made = archive, seconds, 0

    def make(self, task: Task, latent: int, attempt: int) -> None:
        """Make a unit."""
        self.made += 1
        time.sleep(self.seconds)
        shard = self.archive.shard(task.id, latent)
        shard.parent.mkdir(parents=True, exist_ok=True)
        with shard.open("x"):  # fails, if the unit is made twice
            pass


def many(folder: Path, units: int) -> None:
    """Run the threads of one of the processes; print what each made, as JSON."""
    tasks = [Task(f"t{i}", "stub", "", "a stub", "references/x.mp4") for i in range(units // 10)]
    counts = []

    def one() -> None:
        counts.append(stubbed(folder, tasks, latents=10, seconds=SLEEP))

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


def workers(folder: Path, units: int) -> None:
    """Print how 200 workers share units, against the time that the sleeping alone takes."""
    line = [sys.executable, __file__, "many", "--units", str(units), "--folder", str(folder)]
    start = time.perf_counter()
    running = [subprocess.Popen(line, stdout=subprocess.PIPE) for _ in range(PROCESSES)]
    counts = [json.loads(process.communicate()[0]) for process in running]
    took = time.perf_counter() - start
    each = [count for part in counts for count in part]
    there = len(list(folder.glob("shards/*/*.parquet")))
    print(f"{len(each)} workers, {there} of {units} units, each made {sum(each) / there:.3f} times")
    print(f"{min(each)} to {max(each)} units a worker")
    print(f"{took:.0f} s; the sleeping alone takes {units * SLEEP / len(each):.0f} s")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser()
    parts = ("executors", "overhead", "sampler", "memory", "workers", "many")
    parser.add_argument("part", choices=parts)
    parser.add_argument("--profile", default="world")
    parser.add_argument("--units", type=int, default=SIMULATED)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.part in ("executors", "overhead"):
            {"executors": executors, "overhead": overhead}[options.part](options.profile, folder)
        elif options.part == "sampler":
            sampler(options.profile)
        elif options.part == "memory":
            memory(folder, options.units)
        elif options.part == "many":
            many(folder, options.units)
        else:
            workers(folder, options.units)


if __name__ == "__main__":
    main()
