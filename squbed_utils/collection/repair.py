"""What is missing or damaged in an archive is made again."""

import shlex
from pathlib import Path

from squbed_utils import profiles
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import SEAL, TWIN
from squbed_utils.archive.verify import UNKNOWN, Problem, verify
from squbed_utils.collection.collect import asking, collect, held, settings_over
from squbed_utils.profiles import Profile

LOST = ("profile.yaml", "manifest.parquet", "dataset.json", "labels.json")


def seal(folder: Path | str) -> bool:
    """Write the seal that an archive of 0.1.0 lacks, if it is whole; say whether it lacked it."""
    archive = Archive(folder)
    archive.require()
    if archive.sealed:
        return False
    with held(archive):
        if problems := verify(folder):
            raise ValueError(
                f"{archive.folder} is not whole, {problems[0].path} is {problems[0].state}; only "
                "what is whole is sealed"
            )
        archive.seal()
    return True


def repair(
    folder: Path | str,
    problems: list[Problem],
    *,
    profile: str | Path | Profile | None = None,
    prompts: str | Path | None = None,
    like: str | Path | None = None,
    **options: object,
) -> Archive:
    """Remove what `verify` found and collect it again, by the archive's profile or a named one.

    Nothing that the archive names is run. An archive that `collect` did not make, or whose profile
    is another or unknown, is refused; the error says what it would run or send.
    """
    archive = Archive(folder)
    _refuse_lost(archive, problems)
    profile = _profile(archive, profile, prompts, like)
    problems = [problem for problem in problems if problem.state != UNKNOWN]
    archive.unseal()
    for path, _, unit in problems:
        archive.inside(path).unlink(missing_ok=True)
        if unit is not None:  # its shard and checksums are written again with it
            archive.shard(*unit).unlink(missing_ok=True)
    return collect(profile, output=archive.folder, **options)


def _refuse_lost(archive: Archive, problems: list[Problem]) -> None:
    """Refuse to delete files that `collect` did not make, or cannot make again."""
    if "dataset" not in archive.profile:
        made = "score" if archive.manifest() is not None else "quantify"
        raise ValueError(
            f"{archive.folder} was made by `squbed {made}`; delete the files that are named and "
            "run that command again"
        )
    if archive.exported:
        raise ValueError(f"{archive.folder} is an exported dataset; download it again")
    lost = [problem.path for problem in problems if problem.path in LOST]
    if lost:
        raise ValueError(
            f"{archive.folder / lost[0]} is not as it was written and cannot be made again; put it "
            f"back as it was. If the change is meant, delete {archive.folder / SEAL} and run "
            "`squbed verify --seal`"
        )


def _profile(
    archive: Archive,
    named: str | Path | Profile | None,
    prompts: str | Path | None,
    like: str | Path | None,
) -> Profile:
    """Return the local profile to collect with, the user's or this package's, or its twin."""
    name = archive.profile.get("name", "")
    known = [each for each in (name, name.removesuffix(TWIN)) if each in profiles.names()]
    if named is None and not known:
        raise ValueError(_asks_for_profile(archive, "which this package does not have"))
    chosen = map(archive.profile["dataset"].get, ("tasks", "by")) if like else ()
    profile = profiles.load(named or known[0])
    if profile.twin and name == f"{profile.name}{TWIN}":
        profile = profiles.twin_of(profile)
    profile = asking(profile, prompts, like, *chosen)
    found = profiles.differences(archive.profile, settings_over(archive, profile))
    if found:
        raise ValueError(_asks_for_profile(archive, f"but {'; '.join(found)}"))
    return profile


def _asks_for_profile(archive: Archive, why: str) -> str:
    """Say which entries of an archive's profile run code or use a key, and how to approve them."""
    named = [
        f"{role}.{key} {str(settings[key])[:300]!r}"
        for role, settings in archive.profile.items()
        if isinstance(settings, dict)
        for key in ("command", "call", "base_url", "key")
        if settings.get(key) is not None
    ]
    shows = f". It names {', '.join(named)}" if named else ""
    name, dataset = archive.profile.get("name"), archive.profile.get("dataset")
    kind = dataset.get("kind") if isinstance(dataset, dict) else None
    asked = {"prompts": " --prompts FILE", "like": " --like ARCHIVE"}.get(kind, "")
    return (
        f"{archive.folder} says that it is of the profile {name!r}, {why}{shows}. "
        "Nothing that an archive names is run or sent: check it, write it into a profile of your "
        f"own, and run `squbed verify {shlex.quote(str(archive.folder))} --repair --profile FILE"
        f"{asked}`"
    )
