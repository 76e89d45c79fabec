"""The tasks of another archive, with its latent prompts, so that two models are asked the same."""

from pathlib import Path

import pandas as pd

from squbed_utils import profiles
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.files import copy, path_of
from squbed_utils.profiles import Profile
from squbed_utils.roles import Like
from squbed_utils.tasks.task import Source, Task


def read(dataset: Like) -> Source:
    """Read an archive's tasks, latent prompts, references and truth."""
    archive = open_archive(path_of(dataset.path))
    texts = archive.latents(embeddings=False)[["task", "latent", "prompt"]].astype(object)
    known = texts.where(texts.notna(), None).sort_values("latent").groupby("task").prompt.agg(tuple)

    def write_reference(task: Task, target: Path) -> None:
        copy(archive.inside(task.reference), target)

    rows, truth = archive.tasks(), archive.truth()
    asked = set(rows.task if dataset.tasks is None else dataset.tasks)
    if unknown := asked - set(rows.task):
        raise ValueError(f"{archive.folder} has no task {min(unknown)!r}; see its tasks()")
    truth = None if truth is None else truth[truth.task.isin(asked)]
    tasks = [_task(r, known[r["task"]]) for r in rows.to_dict("records") if r["task"] in asked]
    return Source(tasks, truth, None, write_reference)


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
    latents = archive.latents(embeddings=False)
    if latents.prompt.isna().all():
        raise ValueError(f"{folder} does not know the latent prompts of its videos")
    n, shown = latents.groupby("task").size(), len({z for (_, z), m in archive.units.items() if m})
    return profiles.replaced(
        profile,
        dataset={"kind": "like", "path": str(archive.folder)} | chosen,
        refiner=None,
        n=_only(archive, n),
        m=_only(archive, [m for (_, z), m in archive.units.items() if m or z < shown]),
        videos_of=shown if shown < n.max() else None,
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


def _task(row: dict, latent_prompts: tuple[str | None, ...]) -> Task:
    row = {name: None if pd.isna(value) else value for name, value in row.items()}
    named = {"id": row.pop("task"), "category": row.pop("category") or ""}
    return Task(**named, **row, latent_prompts=latent_prompts)
