"""Workers in processes of their own, here or on a cluster of Ray, and what is heard of them.

A pool starts a worker (`start`), waits for news of any (`wait`), asks all to end after the unit
that they are at (`end`), and stops what is left (`close`). `drive` is the rest.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait

from tqdm import tqdm

from squbed_utils.archive.archive import Archive
from squbed_utils.collection import workers as work
from squbed_utils.collection.workers import (
    ATTEMPTS,
    BEGUN,
    DIED,
    DONE,
    ENDED,
    FAILED_IN_A_ROW,
    STOPPED,
    Job,
)
from squbed_utils.models.errors import Stop

News = list[tuple[int, str, object]]
"""(worker's number, BEGUN or DONE or ENDED or STOPPED or DIED, unit or error or None)."""


def drive(pool: object, workers: int, job: Job) -> Iterator[work.Unit]:
    """Have units made by a pool's workers; yield each that is finished, some more than once.

    A worker that dies costs only its unit, which is tried again: `ATTEMPTS` times in all, then it
    is recorded as failed.

    Raises
    ------
    Stop
        If worker after worker dies.
    OSError, ValueError, RuntimeError
        What ended a worker; the others have finished their units by then.
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


def _bury(job: Job, unit: work.Unit | None, deaths: Counter) -> None:
    """Count a death, and record the unit that was the last of too many workers."""
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
    """Processes of this machine; none outlives this one.

    Parameters
    ----------
    job : Job
    """

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
    """Work, telling of each step; return how it ended, with an error that any process can read."""
    try:
        for news in work.work(job, ended):
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
