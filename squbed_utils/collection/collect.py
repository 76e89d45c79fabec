"""Fill an archive: draw latent prompts, generate, store, embed and score.

The unit of work is one latent prompt of one task. What a unit yields depends on the profile and
its own seeds alone, so order, interruptions and the number of workers change no byte.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from squbed_utils import files, profiles
from squbed_utils.archive import remote
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import TABLES, TWIN, video_path
from squbed_utils.collection import claims
from squbed_utils.collection.executors import LOCAL, Executor
from squbed_utils.collection.workers import Job
from squbed_utils.files import PARTIAL, inside, left_by_a_tool, path_of, seed_of, sha256_of
from squbed_utils.models import checkpoints, spending
from squbed_utils.profiles import NOT_SAMPLED, Profile
from squbed_utils.roles import Captioned, Like, Prompts, World
from squbed_utils.tasks import captioned
from squbed_utils.tasks import like as likes
from squbed_utils.tasks import prompts as lists
from squbed_utils.tasks.task import Source, Task

Confirm = Callable[[str], bool]
"""Costs in words -> whether to go on."""


def collect(
    profile: str | Path | Profile,
    *,
    prompts: Path | str | None = None,
    like: Path | str | None = None,
    tasks: Sequence[str] | None = None,
    by: str | None = None,
    output: Path | str | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    confirm: Confirm | None = None,
    executor: Executor = LOCAL,
) -> Archive:
    """Fill a profile's archive, or go on where an earlier call stopped.

    A finished archive is returned as it is, and so is one that was exported or that is of videos
    made elsewhere (``score``); no model, and no GPU, need be there for it. Several calls may fill
    one archive at the same time, on one machine or on several that share its folder: each makes
    what no other is making.

    Parameters
    ----------
    profile : str, path or Profile
        A name in ``data/profiles/``, a ``.yaml`` file, or a loaded profile.
    prompts : path or str, optional
        A file of prompts (``tasks.prompts.read``), or an installed package such as ``vbench``, in
        place of the profile's dataset.
    like : path, optional
        A sealed archive whose tasks, latent prompts and seeds are taken in place of the profile's,
        so that the two archives differ by their video models alone (``statistics.pairs``).
    tasks : sequence of str, optional
        Those of `like` that are taken; by default all.
    by : {'epistemic', 'total'}, optional
        What ranked `tasks` when they were chosen, which the archive records.
    output : path or str, optional
        The archive's folder, by default ``data/samples/<profile>`` or ``<profile>-<source>`` there,
        which ends in ``-confirmed`` where `tasks` are given, and is ``<profile>-confirmed`` if
        `like` is ``<profile>-twin``; or a URL of fsspec, its home, to which samples are copied as
        they are finished.
    workers : int, optional
        Processes, each with models of its own and one thread. Any number gives the same bytes. By
        default one, or with Ray as many as the cluster has GPUs for.
    retry_failed : bool
        Whether latent prompts with failed videos are made again.
    confirm : callable, optional
        Asked once, before the first paid call: it gets what the run costs, in words, and returns
        whether to go on. Without it nothing is paid.
    executor : Executor
        Where the workers run: here, on a cluster of Ray, or as jobs of SLURM.

    Raises
    ------
    FileNotFoundError
        If the profile, the task table or a model is missing.
    ValueError
        If the folder holds another archive or something else, or another command is filling it.
    RuntimeError
        If worker after worker dies, latent prompts in a row give no video, memory or the budget
        is used up, or the cost is not confirmed.
    OSError
        If the folder cannot be written, or the disk is full.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1")
    profile = profiles.load(profile)
    consent = Consent(confirm)
    profile = asking(profile, prompts, like, tasks, by)
    if profile.dataset is None:
        raise ValueError(f"profile {profile.name} has no dataset; add one, or give --prompts FILE")
    source = Path(prompts or "").stem if like is None else Path(like).absolute().name
    if tasks is not None:
        source = f"{source}-confirmed".removeprefix(f"{profile.name}{TWIN}-")
    place = output or files.SAMPLES / f"{profile.name}-{source}".removesuffix("-")
    with remote.mirrored(place) if remote.is_url(place) else nullcontext(place) as folder:
        archive = Archive(folder)
        if not _is_finished(archive, profile, retry_failed):
            resolved = checkpoints.resolve(profile, captioned.roles_of(profile.dataset))
            with shared(archive):
                with claims.locked(archive.folder):
                    source = begin(archive, profile, resolved, consent)
                options = {"workers": workers, "executor": executor, "retry_failed": retry_failed}
                fill(archive, profile, source.tasks, consent=consent, **options)
        return open_archive(archive.folder)


def asking(
    profile: Profile,
    prompts: Path | str | None,
    like: Path | str | None,
    tasks: Sequence[str] | None = None,
    by: str | None = None,
) -> Profile:
    """Return a profile with a file's prompts, or an archive's, in place of its dataset."""
    if tasks is not None and like is None:
        raise ValueError("tasks are those of an archive; give it as like")
    if prompts is not None and like is not None:
        raise ValueError("prompts and like are both given; expected at most one of them")
    profile = profile if prompts is None else lists.instead(profile, prompts)
    chosen = {"tasks": tasks and sorted(tasks), "by": by}
    return profile if like is None else likes.instead(profile, like, **chosen)


@dataclass
class Consent:
    """The user's consent to pay, which is asked for once in a run."""

    confirm: Confirm | None
    given: bool = False

    def require(self, profile: Profile, folder: Path, **counts: int) -> None:
        """Stop unless what is left to do is free, or the user agrees to pay for it."""
        question = spending.bill(profile, folder, **counts)
        if not question or self.given:
            return
        self.given = self.confirm is not None and self.confirm(question)
        if not self.given:
            raise RuntimeError(f"{question}; nothing more is paid until this is confirmed (--yes)")


def _is_finished(archive: Archive, profile: Profile, retry_failed: bool) -> bool:
    """Say whether nothing is to be made, as ever in a published archive or one of other videos.

    Settings alone are compared, so a finished archive opens without its models and GPU.
    """
    if archive.manifest() is not None or archive.exported:
        return True
    if retry_failed or archive.open or not (archive.folder / "profile.yaml").exists():
        return False
    if not has_tables(archive, truth=isinstance(profile.dataset, World)):
        return False
    references = map(archive.inside, archive.tasks().reference.dropna())
    whole = all(archive.finished(*unit) for unit in archive.units)
    whole = whole and all(path.is_file() for path in references)
    return whole and not is_new(archive, settings_over(archive, profile))


def has_tables(archive: Archive, *, truth: bool) -> bool:
    """Say whether the tables of tasks and, if there is one, `truth` are as they were sealed."""
    try:
        archive.tasks()
        if truth and archive.truth() is None:
            return False
    except FileNotFoundError:
        return False
    except ValueError as error:
        tqdm.write(f"{error}; the tables of tasks are written again", file=sys.stderr)
        return False
    return not archive.changed(["tasks.parquet", "truth.parquet"])


def begin(archive: Archive, profile: Profile, resolved: dict, consent: Consent) -> Source:
    """Write the files that come before the videos, if they are missing; return the tasks."""
    new = is_new(archive, resolved)
    if new or not has_tables(archive, truth=isinstance(profile.dataset, World)):
        if isinstance(profile.dataset, Captioned):  # whose captions a paid model may label first
            tasks, latents = profile.dataset.tasks, profile.dataset.tasks * profile.n
            counts = {"tasks": tasks, "latents": latents, "labels": profile.dataset.pool}
            videos = tasks * sum(map(profile.videos, range(profile.n)))
            consent.require(profile, archive.folder, videos=videos, **counts)
        source = _read_source(archive, profile, resolved)
        if isinstance(profile.dataset, Prompts):
            lists.require_sayable([task.prompt for task in source.tasks], profile)
        archive.write_tasks(source.tasks, source.truth)
    else:
        source = captioned.stored(profile.dataset, archive)
    for task in source.tasks:
        # until there is a profile, what lies there may be a reference of other tasks
        if task.reference and (new or not archive.inside(task.reference).is_file()):
            source.write_reference(task, archive.inside(task.reference))
    if new:
        archive.write_profile(resolved)
    return source


def fill(
    archive: Archive,
    profile: Profile,
    tasks: list[Task],
    *,
    consent: Consent,
    workers: int | None = None,
    executor: Executor = LOCAL,
    retry_failed: bool = False,
) -> None:
    """Make what an archive lacks of n latent prompts a task with m videos each, as `collect` says.

    The caller holds the archive and has written its tasks and profile.
    """
    units = [(task, latent) for task in tasks for latent in range(profile.n)]
    todo = [
        (task, latent)
        for task, latent in units
        if not archive.finished(task.id, latent, retry_failed=retry_failed)
    ]
    if todo:
        paths = (video_path(task.id, z, i) for task, z in todo for i in range(profile.videos(z)))
        videos = sum(not archive.inside(path).is_file() for path in paths)
        counts = {"tasks": len({task.id for task, _ in todo}), "latents": len(todo), "labels": 0}
        consent.require(profile, archive.folder, videos=videos, **counts)
        warn_of_versions(archive)
        with claims.locked(archive.folder):
            archive.unseal()
            for task, latent in todo:  # which another run may have finished by now
                if not archive.finished(task.id, latent, retry_failed=retry_failed):
                    archive.shard(task.id, latent).unlink(missing_ok=True)
        running = executor.run(Job(profile, archive.folder.resolve(), todo), workers)
        before = len(units) - len(todo)
        bar = tqdm(total=len(units), initial=before, desc="loading models", file=sys.stderr)
        with bar, closing(running) as finished:
            for _ in finished:
                bar.set_description("latent prompts", refresh=False)
                bar.update()
    if archive.open:
        with claims.locked(archive.folder):
            archive.seal()


def _read_source(archive: Archive, profile: Profile, resolved: dict) -> Source:
    """Read the dataset's tasks; if they are sampled, write the report and print it."""
    hashes = resolved["checkpoints"]
    instruction = hashes.get("instructions/category.txt")
    refiner = resolved["refiner"] or {}
    settings = {k: v for k, v in refiner.items() if f"refiner.{k}" not in NOT_SAMPLED}
    asked = seed_of(settings, hashes.get("refiner"), instruction)

    @cache  # loaded when the first captions are labelled
    def model() -> object:
        from squbed_utils.models import load as models

        return models.load_language(profile, archive.folder)

    source = captioned.read(
        profile.dataset,
        label=lambda captions: model().label(captions),
        cache=archive.inside("labels.json"),
        asked=f"{asked:016x}",
    )
    if source.report is not None:
        archive.write_report(source.report)
        tqdm.write(captioned.describe(source.report), file=sys.stderr)
    return source


LOCK = ".lock"

OURS = {LOCK, "answers", *TABLES}
"""Of these the folder of a run has one, from its start on."""


@contextmanager
def held(archive: Archive) -> Iterator[None]:
    """Hold an archive's folder alone, made if need be, and clear what a crash left in it."""
    with _lock(archive.folder, shared=False):
        _clear(archive.folder)
        yield


@contextmanager
def shared(archive: Archive) -> Iterator[None]:
    """Hold an archive's folder together with other runs that collect into it.

    What dead workers left is cleared before and after, unless other workers are at work.
    """
    with _lock(archive.folder, shared=True):
        _clear_if_alone(archive.folder)
        try:
            yield
        finally:
            with suppress(OSError):  # the run's own error matters more
                _clear_if_alone(archive.folder)


@contextmanager
def _lock(folder: Path, *, shared: bool) -> Iterator[None]:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if not left_by_a_tool(name)]
    if foreign and OURS.isdisjoint(names):
        raise ValueError(
            f"{folder} holds {foreign[0]!r} and is no archive; choose an empty or new folder"
        )
    with ExitStack() as stack:
        try:
            lock = files.locked(inside(folder, LOCK), shared=shared, wait=False)
            stack.enter_context(lock)
        except BlockingIOError as error:
            raise ValueError(
                f"another run is filling {folder}; wait for it to end, or choose another --output"
            ) from error
        except OSError as error:
            raise OSError(
                f"the archive {folder} cannot be written ({error.strerror}); mount it writable, or "
                "choose another --output"
            ) from error
        yield


def _clear_if_alone(folder: Path) -> None:
    with claims.locked(folder):
        if not claims.living(folder):
            _clear(folder)


def _clear(folder: Path) -> None:
    for leftover in folder.rglob(f".*{PARTIAL}"):  # no task's folder begins with a dot
        leftover.unlink(missing_ok=True)


def is_new(archive: Archive, resolved: dict) -> bool:
    """Say whether an archive has no profile yet; refuse an archive of another profile.

    Settings that change no sample are updated in the archive.
    """
    if not archive.inside("profile.yaml").is_file():
        if made := [*archive.folder.glob("shards/*"), *archive.folder.glob("videos/*")]:
            raise ValueError(
                f"{archive.folder} holds {made[0].parent.name}, and no profile.yaml that says what "
                "made them; put it back as it was, choose another --output, or delete that folder"
            )
        return True
    if differences := profiles.differences(archive.profile, resolved):
        raise ValueError(
            f"{archive.folder} was made by another profile: {'; '.join(differences)}. "
            "Undo the change, choose another --output, or delete that folder"
        )
    if archive.changed(["profile.yaml"]):
        raise ValueError(
            f"{archive.folder / 'profile.yaml'} is not as it was when the archive was sealed; put "
            "it back as it was"
        )
    changes = {key: resolved[key] for key in ("estimator", "pca")}
    if any(archive.profile[key] != value for key, value in changes.items()):
        sums = archive.sealed
        archive.write_profile(archive.profile | changes)
        archive.__dict__.pop("profile")
        if sums:
            archive.write_seal(sums | {"profile.yaml": sha256_of(archive.folder / "profile.yaml")})
    return False


def settings_over(archive: Archive, profile: Profile) -> dict:
    """Return an archive's resolved profile with the settings of another profile in their place.

    Nothing is resolved, since the models and the device may be absent.
    """
    settings = profiles.recorded(profile)
    del settings["device"]
    encoder, recorded = settings["video_encoder"], archive.profile.get("video_encoder")
    if encoder.get("sha256", "") is None and isinstance(recorded, dict):
        encoder["sha256"] = recorded.get("sha256")  # not stated, and recorded by `resolve`
    if "lpips" not in archive.profile:
        del settings["lpips"]
    if isinstance(profile.dataset, Prompts | Like):
        table = path_of(profile.dataset.places()["path"].path)
        if table.is_file():  # which may have changed
            hashes = archive.profile["checkpoints"] | {"dataset": checkpoints.hash_of(table)}
            settings["checkpoints"] = hashes
    return archive.profile | settings


def warn_of_versions(archive: Archive) -> None:
    """Warn on stderr of libraries that differ in version from those that began the archive."""
    here = {name: version(name) for name in profiles.VERSIONED}
    if differences := profiles.differences(archive.profile["versions"], here):
        tqdm.write(
            f"warning: {archive.folder} was begun with other versions ({'; '.join(differences)}); "
            "its last digits may differ between parts",
            file=sys.stderr,
        )
