"""Workers as an array of SLURM's jobs, sent by submitit."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from squbed_utils.archive.archive import Archive
from squbed_utils.collection import pools
from squbed_utils.collection import workers as work
from squbed_utils.collection.workers import Job

WAIT = 5.0
"""Seconds between two looks at the jobs."""

GRACE = 60.0
"""Seconds that jobs have to end when all is made."""

CLUSTER = "cluster"
"""The option that chooses among submitit's executors: slurm, or local and debug to try it out."""


def run_on_slurm(job: Job, workers: int, options: dict) -> Iterator[work.Unit]:
    """Have a job's units made by an array of jobs; yield each that is finished.

    The jobs' logs are in ``<archive>.slurm`` beside the archive. Each job is a worker like any
    other, so one that is cancelled or runs out of time costs only its unit.

    Parameters
    ----------
    job : Job
        Its folder is on a disk that all nodes share.
    workers : int
        Jobs in the array.
    options : dict
        As ``submitit.AutoExecutor.update_parameters`` takes them.

    Raises
    ------
    RuntimeError
        If submitit is not installed, jobs cannot be sent, or all have ended and units are left.
    ValueError
        If an option is unknown.
    """
    executor = _executor(job, dict(options))
    with executor.batch():
        jobs = [executor.submit(pools.last_word, job) for _ in range(min(workers, len(job.todo)))]
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
    """Yield units as their shards come, until there are all or no job is left."""
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
    """Give workers that find nothing left time to end; jobs in the queue are cancelled."""
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(not s.done() and s.state != "PENDING" for s in jobs):
        time.sleep(1)


def _complain(job: Job, jobs: list) -> None:
    """Raise what ended the first job that did not end well, if units are left."""
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
