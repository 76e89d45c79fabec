"""The tasks of another archive, with its latent prompts, so that two models are asked the same."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pandas as pd

from squbed_utils import profiles
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import SEAL
from squbed_utils.files import copy, inside, path_of, sha256_of
from squbed_utils.profiles import Profile
from squbed_utils.roles import Like
from squbed_utils.tasks.task import Source, Task


def read(dataset: Like) -> Source:
    """Read an archive's tasks, latent prompts, references and truth."""
    source = _all_of(folder := path_of(dataset.path))
    known = {task.id for task in source.tasks}
    asked = known if dataset.tasks is None else set(dataset.tasks)
    if unknown := asked - known:
        raise ValueError(f"{folder} has no task {min(unknown)!r}; see its tasks()")
    truth = None if source.truth is None else source.truth[source.truth.task.isin(asked)]
    return replace(source, tasks=[t for t in source.tasks if t.id in asked], truth=truth)


def _all_of(folder: Path) -> Source:
    """Read all tasks of an archive, once for as long as it is sealed as it is."""
    seal = folder / SEAL
    return _read(folder, sha256_of(seal) if seal.is_file() else "")


@lru_cache(maxsize=1)
def _read(folder: Path, _: str) -> Source:
    archive = open_archive(folder)
    texts = archive.latents(embeddings=False)[["task", "latent", "prompt"]].astype(object)
    known = texts.where(texts.notna(), None).sort_values("latent").groupby("task").prompt.agg(tuple)
    tasks = [task_of(row, known[row["task"]]) for row in archive.tasks().to_dict("records")]

    def write_reference(task: Task, target: Path) -> None:
        copy(inside(folder, task.reference), target)

    return Source(tasks, archive.truth(), None, write_reference)


def instead(profile: Profile, folder: Path | str, **chosen: object) -> Profile:
    """Return a profile that asks its video model what an archive asked, with the same seeds.

    `chosen` are the tasks to ask, by default all, and `by` what they were ranked, as `Like` has
    them. The archive must be sealed, know its latent prompts, and have equally many for every task.
    """
    archive = open_archive(Path(folder).expanduser().absolute())
    if not archive.sealed:
        raise ValueError(
            f"{folder} is not sealed; end its collection, or run `squbed verify {folder} --seal`"
        )
    latents = [task.latent_prompts for task in _all_of(archive.folder).tasks]
    if not any(map(any, latents)):
        raise ValueError(f"{folder} does not know the latent prompts of its videos")
    n = _only(archive, map(len, latents))
    shown = len({z for (_, z), m in archive.units.items() if m})
    return profiles.replaced(
        profile,
        dataset={"kind": "like", "path": str(archive.folder)} | chosen,
        refiner=None,
        n=n,
        m=_only(archive, [m for (_, z), m in archive.units.items() if m or z < shown]),
        videos_of=shown if shown < n else None,
        seed=archive.profile.get("seed", profile.seed),
    )


def _only(archive: Archive, counts: object) -> int:
    """Return the one number that all counts are."""
    if len(different := sorted(set(counts))) > 1:
        raise ValueError(
            f"{archive.folder} has {different[0]} to {different[-1]} latent prompts or videos of "
            "each; expected the same number for every task"
        )
    return different[0]


def task_of(row: dict, latent_prompts: tuple[str | None, ...] | None = None) -> Task:
    """Return a row of an archive's tasks as a task."""
    row = {name: None if pd.isna(value) else value for name, value in row.items()}
    named = {"id": row.pop("task"), "category": row.pop("category") or ""}
    return Task(**named, **row, latent_prompts=latent_prompts)
