"""Where the workers of a collection run: in this process or others here, on Ray, or in SLURM.

Claims coordinate the workers, so a place has only to start them. `watch` looks at the archive for
what they finish, and at them for who has ended.
"""

import importlib
import math
import multiprocessing
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from squbed_utils.archive.archive import Archive
from squbed_utils.collection.claims import Sign
from squbed_utils.collection.workers import (
    FAILED_IN_A_ROW,
    POLL,
    Job,
    Unit,
    last_word,
    look_at,
    one_thread,
    work,
)
from squbed_utils.models import servers
from squbed_utils.models.errors import Stop

GRACE = 60.0
"""Seconds that workers have to end after the last unit."""


@dataclass(frozen=True)
class Executor:
    """Where workers run: ``local``, on ``ray`` or in ``slurm``.

    `address` is that of a running cluster of Ray; None starts one here for the run. `options` are
    those of SLURM's jobs, by submitit's names, such as ``slurm_partition``.
    """

    kind: str = "local"
    address: str | None = None
    options: dict = field(default_factory=dict)

    def run(self, job: Job, workers: int | None) -> Iterator[Unit]:
        """Have workers make a job's units; yield each unit once it is finished."""
        if self.kind == "ray":
            return run_on_ray(job, workers, self.address)
        if self.kind == "slurm":
            return run_on_slurm(job, workers or 1, dict(self.options))
        workers = min(workers or 1, len(job.todo))
        if workers == 1:
            return run_here(job)
        return watch(lambda job, count: [LocalWorker(job) for _ in range(count)], workers, job)


LOCAL = Executor()


class Died(Exception):
    """A worker is gone without a word."""


class Started:
    """A worker that was started in a process of its own.

    `done` says whether it has ended, `error` why (`Died`, its error, or None if it found nothing
    more to do), and `kill` ends it at once.
    """

    def idle(self) -> bool:
        """Say whether it has no unit to finish."""
        return self.done()


Start = Callable[[Job, int], list[Started]]
"""(job, number of workers) -> the workers, started."""


def watch(start: Start, workers: int, job: Job) -> Iterator[Unit]:
    """Start workers and yield each unit once it is finished, by them or by others.

    A worker that dies is replaced; if worker after worker dies, this raises `Stop`. A worker's own
    error ends the others after their units, and is raised.
    """
    archive, todo, deaths, started = Archive(job.folder), job.todo, 0, []
    try:
        with Sign(job.folder) as run:
            job = replace(job, run=run.name)
            started += start(job, workers)
            while todo and started:
                time.sleep(POLL)
                ended = [worker for worker in started if worker.done()]  # before the look
                look = list(look_at(archive, todo))
                todo = [unit for unit, finished in look if not finished]
                if len(todo) < len(look):
                    deaths = 0
                    yield from (unit for unit, finished in look if finished)
                for worker in ended:
                    started.remove(worker)
                    error = worker.error()
                    if not isinstance(error, Died | None):
                        raise error
                    if error is not None and todo:
                        deaths += 1
                        if deaths > FAILED_IN_A_ROW:
                            reason = f" ({error})" if str(error) else ""
                            raise Stop(
                                f"{deaths} workers in a row died, perhaps for lack of memory"
                                f"{reason}; what is finished is kept: run the same command again, "
                                "with fewer workers"
                            )
                        started += start(job, 1)
    finally:
        _end(started, all_done=not todo)
    for worker in started:
        if worker.done() and not isinstance(error := worker.error(), Died | None):
            raise error


def _end(started: list[Started], *, all_done: bool) -> None:
    """Wait for workers to end after their units; kill them at Ctrl-C, or if they hang."""
    end = time.monotonic() + (GRACE if all_done else math.inf)
    if not all_done and not all(worker.idle() for worker in started):
        text = "ending after the latent prompts at hand; press Ctrl-C to end at once"
        tqdm.write(text, file=sys.stderr)
    try:
        while time.monotonic() < end and not all(worker.idle() for worker in started):
            time.sleep(POLL)
    finally:
        for worker in started:
            if not worker.done():
                worker.kill()


def run_here(job: Job) -> Iterator[Unit]:
    """Work in this process."""
    with one_thread():
        yield from work(job)


def _package(name: str) -> ModuleType:
    """Import the package of an executor, or say how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = {"submitit": "slurm"}.get(name, name)
        raise RuntimeError(
            f"the executor {extra} needs the package {name}; run `pip install "
            f"squbed-notebooks[{extra}]`, or leave --executor out"
        ) from error


class LocalWorker(Started):
    """A worker in a process of this machine, which does not outlive this one."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.word, word = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(job, word), daemon=True)
        self.process.start()
        word.close()

    def done(self) -> bool:
        """Say whether it has had its last word, or is gone."""
        return self.word.poll()

    def error(self) -> Exception | None:
        """Return its last word."""
        try:
            return self.word.recv()
        except EOFError:
            return Died()
        finally:
            self.process.join()

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()


def _run(job: Job, word: Connection) -> None:
    """Work in a process of its own; Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    word.send(last_word(job))


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


LONGEST_WAIT = 60.0
"""Seconds for a cluster to answer; by itself Ray waits for minutes, and ends the process."""


def run_on_ray(job: Job, workers: int | None, address: str | None) -> Iterator[Unit]:
    """Have tasks of Ray make a job's units, whose folder is on a disk that all nodes share.

    `workers` is by default as many as the cluster has GPUs for, or 1.
    """
    ray = _connect(address, workers or 1)
    try:
        kind, each = ("GPU", job.gpus) if job.gpus else ("CPU", 1)
        size = ray.cluster_resources().get(kind, 0)
        room = int(size / each)
        if not room:
            raise RuntimeError(
                f"Ray's cluster has {size:g} {kind}s, and one worker takes {each:g}; add a node, "
                "or set estimates.gpus in the profile"
            )
        task = ray.remote(num_cpus=1, num_gpus=job.gpus, max_retries=0)(last_word)
        wanted = workers or (room if job.gpus else 1)

        def start(job: Job, count: int) -> list[RayWorker]:
            return [RayWorker(ray, task.remote(job)) for _ in range(count)]

        yield from watch(start, min(wanted, room, len(job.todo)), job)
    finally:
        ray.shutdown()


def _connect(address: str | None, workers: int) -> object:
    """Import Ray and connect; a new cluster gets one CPU more than there are workers."""
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # nothing else reaches this cluster
    ray = _package("ray")
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


class RayWorker(Started):
    """A worker in a task of Ray."""

    def __init__(self, ray: object, task: object) -> None:
        self.ray, self.task = ray, task

    def done(self) -> bool:
        """Say whether the task has ended."""
        return bool(self.ray.wait([self.task], timeout=0)[0])

    def error(self) -> Exception | None:
        """Return its last word."""
        try:
            return self.ray.get(self.task)
        except self.ray.exceptions.RayTaskError as error:  # as on a node without the package
            return RuntimeError(str(error)[-300:])
        except self.ray.exceptions.RayError:
            return Died()

    def kill(self) -> None:
        """End its process."""
        self.ray.cancel(self.task, force=True)


def run_on_slurm(job: Job, workers: int, options: dict) -> Iterator[Unit]:
    """Have an array of so many SLURM jobs make a job's units, on a disk that all nodes share.

    The jobs' logs are in ``<archive>.slurm`` beside the archive.
    """
    submitit = _package("submitit")
    logs = Path(f"{job.folder}.slurm", secrets.token_hex(4))  # new: what lies there is unpickled
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=options.pop("cluster", "slurm"))
        gpus = 0 if job.device == "cpu" else 1
        executor.update_parameters(name="squbed", gpus_per_node=gpus, **options)
    except (NameError, TypeError, ValueError) as error:
        raise ValueError(f"--slurm: {error}") from error

    def start(job: Job, count: int) -> list[SlurmWorker]:
        with executor.batch():
            sent = [executor.submit(last_word, job) for _ in range(count)]
        return [SlurmWorker(one, logs) for one in sent]

    yield from watch(start, min(workers, len(job.todo)), job)


class SlurmWorker(Started):
    """A worker in a job of SLURM."""

    def __init__(self, sent: object, logs: Path) -> None:
        self.sent, self.logs = sent, logs

    def done(self) -> bool:
        """Say whether the job has ended."""
        return self.sent.done()

    def idle(self) -> bool:
        """Say whether the job has ended or is in the queue."""
        return self.sent.done() or self.sent.state == "PENDING"

    def error(self) -> Exception | None:
        """Return its last word, or why the job has none."""
        error = self.sent.exception()
        if error is None:
            return self.sent.result()
        return Died(f"the last: {' '.join(str(error).split())[-300:]}; logs: {self.logs}")

    def kill(self) -> None:
        """Cancel the job."""
        self.sent.cancel()
