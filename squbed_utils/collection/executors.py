"""Where the workers of a collection run: in this process or others here, on Ray, or in SLURM."""

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from squbed_utils.archive.archive import Archive
from squbed_utils.collection import workers as work
from squbed_utils.collection.workers import (
    BEGUN,
    DIED,
    DONE,
    ENDED,
    STOPPED,
    Job,
    LocalPool,
    Unit,
    drive,
)
from squbed_utils.models import servers

LOCALLY, RAY, SLURM = "local", "ray", "slurm"
KINDS = (LOCALLY, RAY, SLURM)


@dataclass(frozen=True)
class Executor:
    """Where workers run.

    Attributes
    ----------
    kind : str
        ``local``, ``ray`` or ``slurm``.
    address : str or None
        Of a cluster of Ray that already runs; None starts one here for the run.
    options : dict
        Of SLURM's jobs, by submitit's names: ``slurm_partition``, ``gpus_per_node``.
    """

    kind: str = LOCALLY
    address: str | None = None
    options: dict = field(default_factory=dict)

    def run(self, job: Job, workers: int | None) -> Iterator[Unit]:
        """Have workers make a job's units; yield each finished unit."""
        if self.kind == RAY:
            return run_on_ray(job, workers, self.address)
        if self.kind == SLURM:
            return run_on_slurm(job, workers or 1, self.options)
        workers = min(workers or 1, len(job.todo))
        return _in_this_process(job) if workers == 1 else _in_processes(job, workers)


LOCAL = Executor()


def _in_this_process(job: Job) -> Iterator[Unit]:
    import torch

    threads = torch.get_num_threads()
    try:
        for what, unit in work.work(job):
            if what == DONE:
                yield unit
    finally:
        torch.set_num_threads(threads)


def _in_processes(job: Job, workers: int) -> Iterator[Unit]:
    pool = LocalPool(job)
    try:
        yield from drive(pool, workers, job)
    finally:
        pool.close()


STARTED_HERE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
"""Settings of a Ray cluster for one run on this machine, which nothing else reaches."""

LONGEST_WAIT = 60.0
"""Seconds for a cluster to answer; by itself Ray waits for minutes, and ends the process."""


def run_on_ray(job: Job, workers: int | None, address: str | None) -> Iterator[work.Unit]:
    """Have Ray actors make a job's units; yield each finished unit.

    The job's folder is on a disk that all nodes share. `workers` is by default as many as the
    cluster has GPUs for, or 1. Without an `address` a cluster is started here and ended with the
    run.
    """
    gpus = 0.0 if work.device(job) == "cpu" else job.profile.estimates.gpus
    ray = _connect(address, workers or 1)
    pool = None
    try:
        pool = RayPool(ray, job, gpus)
        there = ray.cluster_resources().get("GPU" if gpus else "CPU", 0)
        room = int(there / (gpus or 1))
        if not room:
            raise RuntimeError(
                f"Ray's cluster has {there:g} {'GPUs' if gpus else 'CPUs'}, and one worker takes "
                f"{gpus or 1:g}; add a node, or set estimates.gpus in the profile"
            )
        wanted = workers or (room if gpus else 1)
        yield from work.drive(pool, min(wanted, room, len(job.todo)), job)
    finally:
        if pool is not None:
            pool.close()
        ray.shutdown()


def _connect(address: str | None, workers: int) -> object:
    """Import Ray and connect; a new cluster gets one CPU more than there are workers."""
    if address is None:
        for name, value in STARTED_HERE.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise RuntimeError(
            "the executor ray needs the package ray; run `pip install squbed-notebooks[ray]`, or "
            "leave --executor out"
        ) from error
    here = {"num_cpus": workers + 1, "include_dashboard": False}
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            ray.init(address="local", **quiet, **here)
        else:
            late = ConnectionError(f"no answer after {LONGEST_WAIT:g} s")
            servers.within(LONGEST_WAIT, lambda: ray.init(address=address, **quiet), late)
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise RuntimeError(
            f"no cluster of Ray at {address!r} ({error}); correct --address, or leave it out to "
            "start one here"
        ) from error
    return ray


class _Steps:
    """An actor in which a worker runs: each call returns the worker's next news."""

    def __init__(self, job: Job) -> None:
        self.ending = False
        self.news = work.work(job, lambda: self.ending)

    def step(self, ending: bool) -> tuple[str, object]:
        """Return the next event, and its unit."""
        self.ending = ending
        try:
            return next(self.news)
        except StopIteration:
            return ENDED, None
        except Exception as error:
            return STOPPED, work.plain(error)


class RayPool:
    """Ray actors with one worker each, which takes some `gpus` (0 on CPUs)."""

    def __init__(self, ray: object, job: Job, gpus: float) -> None:
        self.ray, self.ending, self.count = ray, False, 0
        self.job = ray.put(job)
        self.actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Steps)
        self.steps = {}

    def start(self) -> int:
        """Start a worker; return its number."""
        self.count += 1
        self._step(self.count, self.actor.remote(self.job))
        return self.count

    def wait(self) -> work.News:
        """Wait for news."""
        ready, _ = self.ray.wait(list(self.steps))
        return [self._heard(step) for step in ready]

    def end(self) -> None:
        """Ask every worker to end after its unit."""
        self.ending = True

    def close(self) -> None:
        """End every worker at once; the videos that they have stored are kept."""
        for _, actor in self.steps.values():
            self.ray.kill(actor)

    def _step(self, worker: int, actor: object) -> None:
        self.steps[actor.step.remote(self.ending)] = (worker, actor)

    def _heard(self, step: object) -> tuple[int, str, object]:
        worker, actor = self.steps.pop(step)
        try:
            what, of = self.ray.get(step)
        except self.ray.exceptions.RayActorError:
            return worker, DIED, None
        if what in (BEGUN, DONE):
            self._step(worker, actor)
        return worker, what, of


WAIT = 5.0
"""Seconds between two looks at the jobs."""

GRACE = 60.0
"""Seconds that jobs have to end after the last unit."""

CLUSTER = "cluster"
"""The option that chooses submitit's executor: slurm, or local and debug for trials."""


def run_on_slurm(job: Job, workers: int, options: dict) -> Iterator[work.Unit]:
    """Have an array of SLURM jobs make a job's units; yield each finished unit.

    `workers` is the number of jobs in the array, and `options` are those of
    ``submitit.AutoExecutor.update_parameters``. The job's folder is on a disk that all nodes share;
    the jobs' logs are in ``<archive>.slurm`` beside it. A SLURM job is a worker like any other, so
    one that is cancelled or runs out of time costs only its unit.
    """
    executor = _executor(job, dict(options))
    with executor.batch():
        jobs = [executor.submit(work.last_word, job) for _ in range(min(workers, len(job.todo)))]
    try:
        yield from _watch(job, jobs)
        _let_end(jobs)
    finally:
        for sent in jobs:
            if not sent.done():
                sent.cancel()
    _complain(job, jobs)


def _executor(job: Job, options: dict) -> object:
    try:
        import submitit
    except ImportError as error:
        raise RuntimeError(
            "the executor slurm needs the package submitit; run `pip install "
            "squbed-notebooks[slurm]`, or leave --executor out"
        ) from error
    logs = Path(f"{job.folder}.slurm", secrets.token_hex(4))  # new: what lies there is unpickled
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=options.pop(CLUSTER, "slurm"))
        gpus = 0 if work.device(job) == "cpu" else 1
        executor.update_parameters(name="squbed", gpus_per_node=gpus, **options)
    except (NameError, TypeError, ValueError) as error:
        raise ValueError(f"--slurm: {error}") from error
    return executor


def _watch(job: Job, jobs: list) -> Iterator[work.Unit]:
    """Yield units as their shards appear, until all are finished or no job is left."""
    archive, left = Archive(job.folder), job.todo
    while left:
        over = all(sent.done() for sent in jobs)  # before the look, which then is the last
        waiting = []
        for task, latent in left:
            if archive.finished(task.id, latent):
                yield task, latent
            else:
                waiting.append((task, latent))
        if over:
            return
        left = waiting
        time.sleep(WAIT)


def _let_end(jobs: list) -> None:
    """Give idle workers time to end; cancel the jobs in the queue."""
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(not s.done() and s.state != "PENDING" for s in jobs):
        time.sleep(1)


def _complain(job: Job, jobs: list) -> None:
    """If units are unfinished, raise the error of the first job that failed."""
    archive = Archive(job.folder)
    left = sum(not archive.finished(task.id, latent) for task, latent in job.todo)
    if not left:
        return
    reasons = [_reason(sent) for sent in jobs]
    first = next((reason for reason in reasons if reason), "they ran out of time")
    raise RuntimeError(
        f"all {len(jobs)} jobs have ended and {left} latent prompts are left; the first reason: "
        f"{first} (logs: {job.folder}.slurm). Run the same command again to go on"
    )


def _reason(sent: object) -> str | None:
    """Say why a job ended; None if it ended well."""
    error = sent.exception()
    if error is not None:
        return " ".join(str(error).split())[-300:]
    _, stopped = sent.result()
    return None if stopped is None else str(stopped)
