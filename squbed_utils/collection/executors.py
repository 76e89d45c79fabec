"""Where the workers of a collection run: in this process or others here, on Ray, or in SLURM."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from squbed_utils.collection import workers as work
from squbed_utils.collection.pools import LocalPool, drive
from squbed_utils.collection.workers import DONE, Job, Unit

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
        Of a cluster of Ray that runs already; None starts one here for the run.
    options : dict
        Of SLURM's jobs, by submitit's names: ``slurm_partition``, ``gpus_per_node``.

    """

    kind: str = LOCALLY
    address: str | None = None
    options: dict = field(default_factory=dict)

    def run(self, job: Job, workers: int | None) -> Iterator[Unit]:
        """Have a job's units made; yield each that is finished."""
        if self.kind == RAY:
            from squbed_utils.collection import ray

            return ray.run_on_ray(job, workers, self.address)
        if self.kind == SLURM:
            from squbed_utils.collection import slurm

            return slurm.run_on_slurm(job, workers or 1, self.options)
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
