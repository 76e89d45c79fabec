"""What every worker does, in whatever process: claim a unit, make it, and go on to the next."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from squbed_utils.archive.archive import Archive
from squbed_utils.collection.claims import Worker
from squbed_utils.collection.run_log import RunLog
from squbed_utils.models.errors import Stop, memory_named
from squbed_utils.profiles import Profile
from squbed_utils.tasks.task import Task

Unit = tuple[Task, int]

BEGUN, DONE, ENDED, STOPPED, DIED = "begun", "done", "ended", "stopped", "died"
"""What is heard of a worker: with a unit, with a unit, with None, with the error, with None."""

ATTEMPTS = 3
"""How often a unit is tried that raises an error, or whose worker dies; then it is recorded as
failed. A mistake in its input (ValueError) is the same every time, and is recorded at once."""

FAILED_IN_A_ROW = 5
"""Units of one worker, of at least two tasks, without any video, after which the run stops: then
it is rather the machine or the model that is broken."""

POLL = 0.5
"""Seconds between two looks at units that other workers are making."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know.

    Attributes
    ----------
    profile : Profile
    folder : Path
        The archive's, absolute.
    todo : list of Unit
        What was not finished when the run started, none of which had a shard then.

    """

    profile: Profile
    folder: Path
    todo: list[Unit]


def work(
    job: Job, ended: Callable[[], bool] = lambda: False, *, maker: Callable | None = None
) -> Iterator[tuple[str, Unit]]:
    """Make units until all are finished, by this worker or by others.

    Parameters
    ----------
    job : Job
    ended : callable
        Asked before each unit; True ends the work.
    maker : callable, optional
        (job, archive, worker's name) -> an object that makes units; by default the models do.

    Yields
    ------
    (BEGUN, unit) before this worker makes a unit, (DONE, unit) for each that is finished.

    Raises
    ------
    Stop
        If going on makes no sense; the message says why.
    FileNotFoundError, ValueError, RuntimeError
        If a model cannot be loaded.
    OSError
        If the archive cannot be written.
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
    """Load the models, on one thread: with more, sums come out in another order."""
    import torch

    from squbed_utils.collection import latent as _unit
    from squbed_utils.models import load as models

    torch.set_num_threads(1)
    with memory_named():
        return _unit.Bench(profile, models.load(profile, folder), Archive(folder))


class _Maker:
    """Makes units with models that are loaded when the first is made."""

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
