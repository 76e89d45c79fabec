"""What every worker does, in whatever process: claim a unit, make it, and go on to the next."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from squbed_utils.archive.archive import Archive
from squbed_utils.collection.claims import Worker, is_over
from squbed_utils.collection.status import RunLog
from squbed_utils.models.errors import Stop, memory_named
from squbed_utils.profiles import Profile
from squbed_utils.tasks.task import Task

Unit = tuple[Task, int]

ATTEMPTS = 3
"""Attempts at a unit that kills its worker or raises; a ValueError, though, is recorded at once."""

FAILED_IN_A_ROW = 5
"""Units in a row without a video, of one worker and two tasks or more, that stop the run."""

POLL = 0.5


@dataclass(frozen=True)
class Job:
    """What a worker needs to know: the profile, the archive's folder, the units without a shard.

    A worker in another process than its run ends with the run whose sign of life `run` names.
    """

    profile: Profile
    folder: Path
    todo: list[Unit]
    run: str | None = None

    @property
    def device(self) -> str:
        """The device that the archive was begun on."""
        return Archive(self.folder).profile["device"]

    @property
    def gpus(self) -> float:
        """GPUs that one worker takes."""
        return 0.0 if self.device == "cpu" else self.profile.estimates.gpus


def work(job: Job, maker: Callable | None = None) -> Iterator[Unit]:
    """Make units until all are finished, by this worker or others; yield each that is finished.

    `maker` builds, from the job and the worker's name, what makes units: by default the models.
    """
    archive, todo = Archive(job.folder), job.todo
    with Worker(job.folder) as worker:
        making = (maker or Maker)(job, worker.name)
        while todo:
            waiting = []
            for (task, latent), finished in look_at(archive, todo):
                if not finished:
                    if job.run and is_over(job.folder, job.run):
                        return
                    attempt = worker.claim(task.id, latent)
                    if not attempt:
                        waiting.append((task, latent))
                        continue
                    try:
                        if not archive.shard(task.id, latent).is_file():  # by another, just now
                            making.make(task, latent, attempt)
                    finally:
                        worker.release(task.id, latent)
                yield task, latent
            if len(waiting) == len(todo):
                time.sleep(POLL)
            todo = waiting


def look_at(archive: Archive, units: list[Unit]) -> Iterator[tuple[Unit, bool]]:
    """Yield each unit, and whether it was finished when its task came up."""
    for task, group in groupby(units, key=lambda unit: unit[0].id):
        written = archive.written(task)
        yield from ((unit, unit[1] in written) for unit in group)


def last_word(job: Job) -> Exception | None:
    """Work; return the error that ended it, if any, of a type that every process can read."""
    try:
        for _ in work(job):
            pass
    except Exception as error:
        for kind in (FileNotFoundError, OSError, ValueError, Stop, RuntimeError):
            if isinstance(error, kind):
                return kind(str(error))
        return RuntimeError(f"{type(error).__name__}: {error}")
    return None


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: more would add sums in another order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def new_bench(profile: Profile, folder: Path) -> object:
    """Load the models on one thread: more threads would add sums in another order."""
    import torch

    from squbed_utils.collection import latent as _unit
    from squbed_utils.models import load as models

    torch.set_num_threads(1)
    with memory_named():
        return _unit.Bench(profile, models.load(profile, folder), Archive(folder))


class Maker:
    """A maker of units, which loads the models for its first unit."""

    def __init__(self, job: Job, worker: str) -> None:
        self.profile, self.archive = replace(job.profile, device=job.device), Archive(job.folder)
        self.log = RunLog(job.folder, worker, device=job.device, gpus=job.gpus)
        self.bench = None
        self.failed: list[tuple[str, str]] = []  # task and error of the last units, without a break

    def make(self, task: Task, latent: int, attempt: int) -> None:
        """Make a unit, or record why it cannot be made."""
        if self.bench is None:
            self.bench = new_bench(self.profile, self.archive.folder)
        unit = {"task": task.id, "latent": latent}
        self.log.write("begin", **unit)
        start = time.monotonic()
        self._attempt(task, latent, attempt)
        seconds = round(time.monotonic() - start, 3)
        errors = self.archive.errors(task.id, latent)
        videos = self.profile.videos(latent)
        self.log.write("done", **unit, seconds=seconds, videos=videos, failed=len(errors))
        self._stop_if_broken(task.id, errors, videos)

    def _attempt(self, task: Task, latent: int, attempt: int) -> None:
        from squbed_utils.collection import latent as _unit

        reason = f"its worker died {ATTEMPTS} times, perhaps for lack of memory"
        for number in range(attempt, ATTEMPTS + 1):
            try:
                with memory_named():
                    return _unit.make(self.bench, task, latent)
            except (Stop, OSError):
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                self.log.write("error", task=task.id, latent=latent, attempt=number, error=reason)
                if isinstance(error, ValueError):
                    break
        _unit.fail(self.profile, self.archive, task, latent, reason)

    def _stop_if_broken(self, task: str, errors: list[str], videos: int) -> None:
        whole = len(errors) == max(videos, 1)
        self.failed = [*self.failed, (task, errors[0])] if whole else []
        if len(self.failed) >= FAILED_IN_A_ROW and self.failed[0][0] != task:
            raise Stop(
                f"{len(self.failed)} latent prompts in a row gave no video; the first error: "
                f"{self.failed[0][1]}. Mend that and run the same command again with "
                "--retry-failed, or without it to leave them out"
            )
