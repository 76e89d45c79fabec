"""Workers as actors of Ray: one a GPU, or as many as are asked for on CPUs."""

import os
from collections.abc import Iterator

from squbed_utils.collection import pools
from squbed_utils.collection import workers as work
from squbed_utils.collection.workers import BEGUN, DIED, DONE, ENDED, STOPPED, Job
from squbed_utils.models import servers

STARTED_HERE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
"""Of a cluster for one run on this machine alone, which nothing else reaches."""


LONGEST_WAIT = 60.0
"""Seconds for a cluster to answer; by itself Ray waits for minutes, and ends the process."""


def run_on_ray(job: Job, workers: int | None, address: str | None) -> Iterator[work.Unit]:
    """Have a job's units made by actors; yield each that is finished.

    Parameters
    ----------
    job : Job
        Its folder is on a disk that all nodes share.
    workers : int, optional
        By default as many as the cluster has GPUs for, or 1.
    address : str, optional
        Of a cluster; by default one is started here and ended with the run.

    Raises
    ------
    RuntimeError
        If Ray is not installed, the cluster cannot be reached, or has no room for a worker.
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
        yield from pools.drive(pool, min(wanted, room, len(job.todo)), job)
    finally:
        if pool is not None:
            pool.close()
        ray.shutdown()


def _connect(address: str | None, workers: int) -> object:
    """Import Ray and connect; a cluster of its own has a CPU more than there are workers."""
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
    """An actor: each call goes on to the next thing worth telling."""

    def __init__(self, job: Job) -> None:
        self.ending = False
        self.news = work.work(job, lambda: self.ending)

    def step(self, ending: bool) -> tuple[str, object]:
        """Return what happened, and with which unit."""
        self.ending = ending
        try:
            return next(self.news)
        except StopIteration:
            return ENDED, None
        except Exception as error:
            return STOPPED, pools.plain(error)


class RayPool:
    """Actors, each of which one worker runs in.

    Parameters
    ----------
    ray : module
    job : Job
    gpus : float
        That one worker takes; 0 on CPUs.
    """

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

    def wait(self) -> pools.News:
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
