"""Fill an archive: draw latent prompts, generate, store, embed and score.

The unit of work is one latent prompt of one task. What a unit yields depends on the profile and
its own seeds alone, so order, interruptions and the number of workers change no byte.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path

from tqdm import tqdm

from squbed_utils import _spending, datasets, profiles
from squbed_utils._filling import held, is_new, warn_of_versions
from squbed_utils.categories import Label
from squbed_utils.profiles import Profile
from squbed_utils.samples import Archive, open_archive
from squbed_utils.seeds import seed_of
from squbed_utils.tasks import Source, Task

Unit = tuple[Task, int]


def collect(
    profile: str | Path | Profile,
    *,
    output: Path | str | None = None,
    workers: int = 1,
    retry_failed: bool = False,
    label: Label | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> Archive:
    """Fill a profile's archive, or go on where an earlier call stopped.

    An archive of videos that were made elsewhere (``score``) is returned as it is.

    Parameters
    ----------
    profile : str, path or Profile
        A name in ``data/profiles/``, a ``.yaml`` file, or a loaded profile.
    output : path, optional
        The archive's folder; by default ``data/samples/<profile>``.
    workers : int
        Processes, each with models of its own and one thread. Any number gives the same bytes.
    retry_failed : bool
        Whether latent prompts with failed videos are made again.
    label : callable, optional
        Captions -> their categories, for a dataset whose tasks are sampled by category; by
        default the profile's language model is asked.
    confirm : callable, optional
        Asked once, before the first paid call of a profile with a paid video model: it gets what
        the run costs, in words, and returns whether to go on. Without it nothing is paid.

    Returns
    -------
    Archive
        The finished archive.

    Raises
    ------
    FileNotFoundError
        If the profile, the task table or a model is missing.
    ValueError
        If the folder holds an archive of another profile or something else, another run is
        filling it, or a task gets no compatible latent prompt.
    RuntimeError
        If a worker dies, the cost is not confirmed, or the budget is used up.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1")
    profile = profile if isinstance(profile, Profile) else profiles.load(profile)
    archive = Archive(output or profiles.SAMPLES / profile.name)
    if archive.manifest() is not None:
        return open_archive(archive.folder)
    resolved = profiles.resolve(profile)
    with held(archive):
        new = is_new(archive, resolved)
        if new:
            source = _read_source(archive, profile, resolved, label)
            archive.write_tasks(source.tasks, source.truth)
        else:
            source = datasets.stored(profile.dataset, archive)
        for task in source.tasks:
            if not archive.inside(task.reference).is_file():
                source.write_reference(task, archive.inside(task.reference))
        if new:
            archive.write_profile(resolved)
        chosen, options = source.tasks, {"workers": workers, "retry_failed": retry_failed}
        fill(archive, profile, chosen, confirm=confirm, **options)
    return open_archive(archive.folder)


def fill(
    archive: Archive,
    profile: Profile,
    chosen: list[Task],
    *,
    workers: int = 1,
    retry_failed: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> None:
    """Make what an archive lacks of n latent prompts a task with m videos each.

    Parameters
    ----------
    archive : Archive
        Locked by the caller, its tasks and profile written.
    profile : Profile
    chosen : list of Task
    workers, retry_failed, confirm
        As `collect`.

    Raises
    ------
    ValueError, RuntimeError
        As `collect`.
    """
    units = [(task, latent) for task in chosen for latent in range(profile.n)]
    todo = [
        (task, latent)
        for task, latent in units
        if not archive.finished(task.id, latent, retry_failed=retry_failed)
    ]
    if todo:
        _confirm_cost(profile, archive.folder, len(todo) * profile.m, confirm)
        warn_of_versions(archive)
        make_all = _in_this_process if workers == 1 else _in_workers
        done = make_all(profile, archive.folder, todo, workers)
        _show_progress(done, len(units) - len(todo), len(units))


def _confirm_cost(
    profile: Profile, folder: Path, videos: int, confirm: Callable[[str], bool] | None
) -> None:
    """Stop unless what is left to do is free, or someone agrees to pay for it."""
    dollars = _spending.cost(profile.video_model, videos)
    if not dollars:
        return
    before, budget = _spending.spent(folder), profile.video_model.budget
    question = (
        f"{videos} videos of {profile.video_model.model} cost about ${dollars:.2f}; "
        f"${before:.2f} of the budget of ${budget:.2f} are spent"
    )
    if confirm is None or not confirm(question):
        raise RuntimeError(f"{question}; nothing more is paid until this is confirmed (--yes)")


def _show_progress(done: Generator[Unit], before: int, total: int) -> None:
    bar = tqdm(total=total, initial=before, desc="loading models", file=sys.stderr)
    with bar, closing(done):
        for _ in done:
            bar.set_description("latent prompts", refresh=False)
            bar.update()


def _in_this_process(
    profile: Profile, folder: Path, todo: list[Unit], workers: int
) -> Generator[Unit]:
    """Make one unit after the other, here."""
    import torch

    from squbed_utils import _unit

    threads = torch.get_num_threads()
    bench = _new_bench(profile, folder)
    try:
        for unit in todo:
            _unit.make(bench, *unit)
            yield unit
    finally:
        torch.set_num_threads(threads)


def _in_workers(profile: Profile, folder: Path, todo: list[Unit], workers: int) -> Generator[Unit]:
    """Make units in processes of their own; none outlives this one."""
    executor = ProcessPoolExecutor(
        min(workers, len(todo)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(profile, folder),
    )
    try:
        futures = {executor.submit(_make_in_worker, *unit): unit for unit in todo}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker died, perhaps for lack of memory; what is finished is kept: "
            "run the same command again, with fewer workers"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


_worker: dict = {}


def _start_worker(profile: Profile, folder: Path) -> None:
    """Leave Ctrl-C to the parent, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(profile=profile, folder=folder)


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _make_in_worker(task: Task, latent: int) -> None:
    from squbed_utils import _unit

    if "bench" not in _worker:
        _worker["bench"] = _new_bench(_worker["profile"], _worker["folder"])
    _unit.make(_worker["bench"], task, latent)


def _new_bench(profile: Profile, folder: Path) -> object:
    """Load the models, on one thread: with more, sums come out in another order."""
    import torch

    from squbed_utils import _unit, models

    torch.set_num_threads(1)
    return _unit.Bench(profile, models.load(profile, folder), Archive(folder))


def _read_source(archive: Archive, profile: Profile, resolved: dict, label: Label | None) -> Source:
    """Read the dataset; sample its tasks, if it is one that is sampled, and say how."""
    hashes = resolved["checkpoints"]
    instruction = hashes.get("instructions/category.txt")
    asked = seed_of(resolved["refiner"], hashes.get("refiner"), instruction)
    source = datasets.read(
        profile.dataset,
        label=label or _label_by(profile, archive.folder),
        cache=archive.folder / "labels.json",
        asked=f"{asked:016x}",
    )
    if source.report is not None:
        archive.write_report(source.report)
        tqdm.write(datasets.describe(source.report), file=sys.stderr)
    return source


def _label_by(profile: Profile, folder: Path) -> Label:
    """Return a function that asks the profile's language model, loaded when first asked."""

    def label(captions: list[str]) -> list[str]:
        return model().label(captions)

    @cache
    def model() -> object:
        from squbed_utils import language_models

        device = profiles.device_of(profile.device)
        answers = folder / "answers"
        return language_models.load(profile.refiner, device, n=profile.n, answers=answers)

    return label
