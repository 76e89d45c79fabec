"""What every worker does, in whatever process: claim a unit, make it, and go on to the next."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tqdm import tqdm

from squbed_utils.archive.archive import Archive
from squbed_utils.collection.claims import Worker
from squbed_utils.collection.status import RunLog
from squbed_utils.models.errors import Stop, memory_named
from squbed_utils.profiles import Profile
from squbed_utils.tasks.task import Task

Unit = tuple[Task, int]

BEGUN, DONE, ENDED, STOPPED, DIED = "begun", "done", "ended", "stopped", "died"
"""Events of a worker: BEGUN and DONE carry a unit, STOPPED carries an error, the others None."""

ATTEMPTS = 3
"""Attempts at a unit that kills its worker or raises; a ValueError, though, is recorded at once."""

FAILED_IN_A_ROW = 5
"""Units in a row without a video, of one worker and two tasks or more, that stop the run."""

POLL = 0.5
"""Seconds between two looks at units that other workers make."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know: the profile, the archive's absolute folder, the units to make.

    The units of `todo` had no shard when the run started.
    """

    profile: Profile
    folder: Path
    todo: list[Unit]


def work(
    job: Job, ended: Callable[[], bool] = lambda: False, *, maker: Callable | None = None
) -> Iterator[tuple[str, Unit]]:
    """Make units until all are finished, by this worker or by others.

    It yields (BEGUN, unit) before this worker makes a unit and (DONE, unit) for each finished one.
    `ended` is asked before each unit, and True ends the work. `maker` builds, from the job, the
    archive and the worker's name, the object that makes units; by default the models make them.
    `Stop` says why going on makes no sense.
    """
    archive, left = Archive(job.folder), job.todo
    with Worker(job.folder) as worker:
        making = (maker or _Maker)(job, archive, worker.name)
        while left:
            waiting = []
            for (task, latent), finished in _look_at(archive, left):
                if ended():
                    return
                if not finished and not worker.claim(task.id, latent):
                    waiting.append((task, latent))
                    continue
                if not finished:
                    try:
                        if not archive.shard(task.id, latent).is_file():  # by another, just now
                            yield BEGUN, (task, latent)
                            making.make(task, latent)
                    finally:
                        worker.release(task.id, latent)
                yield DONE, (task, latent)
            if len(waiting) == len(left):
                time.sleep(POLL)
            left = waiting


def _look_at(archive: Archive, units: list[Unit]) -> Iterator[tuple[Unit, bool]]:
    """Yield each unit, and whether it was finished when its task came up."""
    for _, group in groupby(units, key=lambda unit: unit[0].id):
        of_task = list(group)
        written = archive.written(of_task[0][0].id)
        yield from ((unit, unit[1] in written) for unit in of_task)


def device(job: Job) -> str:
    """Return the device that a job's archive was begun on."""
    return Archive(job.folder).profile["device"]


def new_bench(profile: Profile, folder: Path) -> object:
    """Load the models on one thread: more threads would add sums in another order."""
    import torch

    from squbed_utils.collection import latent as _unit
    from squbed_utils.models import load as models

    torch.set_num_threads(1)
    with memory_named():
        return _unit.Bench(profile, models.load(profile, folder), Archive(folder))


class _Maker:
    """A maker of units, which loads the models for its first unit."""

    def __init__(self, job: Job, archive: Archive, worker: str) -> None:
        where = device(job)
        gpus = 0 if where == "cpu" else job.profile.estimates.gpus
        self.profile, self.archive = replace(job.profile, device=where), archive
        self.log = RunLog(job.folder, worker, device=where, gpus=gpus)
        self.bench = None
        self.failed: list[tuple[str, str]] = []  # task and error of the last units, without a break

    def make(self, task: Task, latent: int) -> None:
        """Make a unit, or record why it cannot be made."""
        if self.bench is None:
            self.bench = new_bench(self.profile, self.archive.folder)
        named = {"task": task.id, "latent": latent}
        self.log.write("begin", **named)
        start = time.monotonic()
        self._attempt(task, latent)
        errors = self.archive.errors(task.id, latent)
        took = {"seconds": round(time.monotonic() - start, 3)}
        self.log.write("done", **named, **took, videos=self.profile.m, failed=len(errors))
        self._stop_if_broken(task.id, errors)

    def _attempt(self, task: Task, latent: int) -> None:
        from squbed_utils.collection import latent as _unit

        for attempt in range(1, ATTEMPTS + 1):
            try:
                with memory_named():
                    return _unit.make(self.bench, task, latent)
            except (Stop, OSError):
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                self.log.write("error", task=task.id, latent=latent, attempt=attempt, error=reason)
                if isinstance(error, ValueError):
                    break
        _unit.fail(self.profile, self.archive, task, latent, reason)

    def _stop_if_broken(self, task: str, errors: list[str]) -> None:
        whole = len(errors) == self.profile.m
        self.failed = [*self.failed, (task, errors[0])] if whole else []
        if len(self.failed) >= FAILED_IN_A_ROW and self.failed[0][0] != task:
            raise Stop(
                f"{len(self.failed)} latent prompts in a row gave no video; the first error: "
                f"{self.failed[0][1]}. Mend that and run the same command again with "
                "--retry-failed, or without it to leave them out"
            )


News = list[tuple[int, str, object]]
"""(worker's number, BEGUN or DONE or ENDED or STOPPED or DIED, unit or error or None)."""


def drive(pool: object, workers: int, job: Job) -> Iterator[Unit]:
    """Have a pool's workers make units; yield each finished unit, some more than once.

    A worker that dies costs only its unit, which is tried `ATTEMPTS` times in all and then recorded
    as failed. If worker after worker dies, this raises `Stop`. A worker's own error is raised after
    the others have finished their units.
    """
    making, deaths, row, stopped = {}, Counter(), 0, None
    running = {pool.start() for _ in range(workers)}
    while running:
        for worker, what, of in pool.wait():
            if what == BEGUN:
                making[worker] = of
            elif what == DONE:
                making.pop(worker, None)
                row = 0
                yield of
            else:
                running.discard(worker)
            if what == STOPPED:
                stopped = stopped or of
                pool.end()
            elif what == DIED and stopped is None:
                row += 1
                _bury(job, making.pop(worker, None), deaths)
                if row > FAILED_IN_A_ROW:
                    stopped = _dying(row)
                    pool.end()
                else:
                    running.add(pool.start())
    if stopped is not None:
        raise stopped


def _dying(row: int) -> Stop:
    return Stop(
        f"{row} workers in a row died, perhaps for lack of memory; what is finished is kept: "
        "run the same command again, with fewer workers"
    )


def _bury(job: Job, unit: Unit | None, deaths: Counter) -> None:
    """Count a death; record a unit as failed after `ATTEMPTS` deaths."""
    from squbed_utils.collection import latent as _unit

    if unit is None:
        return
    task, latent = unit
    deaths[task.id, latent] += 1
    archive = Archive(job.folder)
    if deaths[task.id, latent] == ATTEMPTS and not archive.finished(task.id, latent):
        reason = f"its worker died {ATTEMPTS} times, perhaps for lack of memory"
        _unit.fail(job.profile, archive, task, latent, reason)


class LocalPool:
    """Worker processes of this machine, none of which outlives this one."""

    def __init__(self, job: Job) -> None:
        self.context, self.job = multiprocessing.get_context("spawn"), job
        self.ending = self.context.Event()
        self.processes, self.connections = {}, {}

    def start(self) -> int:
        """Start a worker; return its number."""
        here, there = self.context.Pipe(duplex=False)
        arguments = (self.job, there, self.ending)
        process = self.context.Process(target=_run, args=arguments, daemon=True)
        process.start()
        there.close()
        self.processes[process.pid], self.connections[here] = process, process.pid
        return process.pid

    def wait(self) -> News:
        """Wait for news."""
        news = []
        for connection in wait(list(self.connections)):
            worker = self.connections[connection]
            try:
                what, of = connection.recv()
            except (EOFError, OSError):
                what, of = DIED, None
            if what in (ENDED, STOPPED, DIED):
                self.processes.pop(worker).join()
                del self.connections[connection]
                connection.close()
            news.append((worker, what, of))
        return news

    def end(self) -> None:
        """Ask every worker to end after its unit."""
        self.ending.set()

    def close(self) -> None:
        """End every worker after its unit; at once, if this is interrupted."""
        self.end()
        if self.processes:
            text = "ending after the latent prompts at hand; press Ctrl-C again to end at once"
            tqdm.write(text, file=sys.stderr)
        try:
            for process in self.processes.values():
                process.join()
        finally:
            for process in self.processes.values():
                process.kill()


def _run(job: Job, parent: Connection, ending: object) -> None:
    """Work in a process of its own; Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    parent.send(last_word(job, parent.send, ending.is_set))


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def last_word(
    job: Job,
    send: Callable[[tuple], None] = lambda news: None,
    ended: Callable[[], bool] = lambda: False,
) -> tuple[str, Exception | None]:
    """Work and report each step to `send`; return how it ended, with an error of a plain type."""
    try:
        for news in work(job, ended):
            send(news)
    except Exception as error:
        return STOPPED, plain(error)
    return ENDED, None


def plain(error: Exception) -> Exception:
    """Return an error of one of Python's own types, or a `Stop`, with the message alone."""
    for kind in (FileNotFoundError, OSError, ValueError, Stop, RuntimeError):
        if isinstance(error, kind):
            return kind(str(error))
    return RuntimeError(f"{type(error).__name__}: {error}")
