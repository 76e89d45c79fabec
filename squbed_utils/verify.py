"""Whether every file of an archive is as it was written; what is not is made again."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from squbed_utils import profiles, video
from squbed_utils._files import sha256_of
from squbed_utils._filling import settings_over
from squbed_utils.collect import collect
from squbed_utils.layout import CHECKSUMS, OK, reference_path
from squbed_utils.profiles import Profile
from squbed_utils.samples import Archive

MISSING, DAMAGED = "missing", "damaged"

LONGEST_SHOWN = 300
"""Characters of a command or an address that an error shows."""


class Problem(NamedTuple):
    """A file that is not as it should be.

    Attributes
    ----------
    path : str
        Within the archive.
    state : str
        ``missing`` or ``damaged``.
    unit : tuple of (str, int) or None
        The task and latent prompt that the file is of; None for a reference video.

    """

    path: str
    state: str
    unit: tuple[str, int] | None


def verify(folder: Path | str) -> list[Problem]:
    """Compare every shard, video and reference with its checksum.

    Where an archive has no checksums, as one of an earlier version, shards are read and videos
    are decoded instead, which misses slight damage.

    Parameters
    ----------
    folder : path
        An archive, finished or not; what is not finished is no problem.

    Returns
    -------
    list of Problem
        None of them if all is well.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or is not an archive.
    """
    archive = Archive(folder)
    archive.require()
    problems = [problem for unit in archive.units for problem in _of_unit(archive, unit)]
    for path in archive.tasks().reference.dropna():
        if not video.is_whole(archive.inside(path)):
            problems.append(Problem(path, _state(archive, path), None))
    return list(dict.fromkeys(problems))


def repair(
    folder: Path | str,
    problems: list[Problem],
    *,
    profile: str | Path | Profile | None = None,
    **options: object,
) -> Archive:
    """Remove what is damaged, and collect it again.

    Models, programs, addresses and keys are those of a profile here, never the archive's own: that
    is data, and may come from anyone. It only has to be the same.

    Parameters
    ----------
    folder : path
    problems : list of Problem
        As `verify` found them.
    profile : str, path or Profile, optional
        As ``collect.collect`` takes it; by default this package's own of the archive's name.
    **options
        Of ``collect.collect``.

    Returns
    -------
    Archive
        The finished archive.

    Raises
    ------
    ValueError
        If `collect` did not make the archive; the message says what makes its files again. If the
        archive's profile is another, or none is given and the package has no such profile: the
        message shows what commands, addresses and keys the archive names.
    FileNotFoundError, ValueError, RuntimeError, OSError
        As ``collect.collect``.
    """
    archive = Archive(folder)
    profile = _profile(archive, profile)
    for path, _, unit in problems:
        archive.inside(path).unlink(missing_ok=True)
        if unit is not None:  # its shard and checksums are written again with it
            archive.shard(*unit).unlink(missing_ok=True)
    return collect(profile, output=archive.folder, **options)


def _profile(archive: Archive, named: str | Path | Profile | None) -> Profile:
    """Return the profile to collect with, which the user or this package wrote."""
    if "dataset" not in archive.profile:
        made = "score" if archive.manifest() is not None else "quantify"
        raise ValueError(
            f"{archive.folder} was made by `squbed {made}`; delete the files that are named and "
            "run that command again"
        )
    name = archive.profile.get("name")
    if named is None and name not in profiles.names():
        raise ValueError(_asks_for_profile(archive, "which this package does not have"))
    profile = named if isinstance(named, Profile) else profiles.load(named or name)
    found = profiles.differences(archive.profile, settings_over(archive, profile))
    if found:
        raise ValueError(_asks_for_profile(archive, f"but {'; '.join(found)}"))
    return profile


def _asks_for_profile(archive: Archive, why: str) -> str:
    """Say what of an archive's profile runs code or unlocks a service, and how to agree to it."""
    named = [
        f"{role}.{key} {str(settings[key])[:LONGEST_SHOWN]!r}"
        for role, settings in archive.profile.items()
        if isinstance(settings, dict)
        for key in ("command", "base_url", "key")
        if settings.get(key) is not None
    ]
    shows = f". It names {', '.join(named)}" if named else ""
    name = archive.profile.get("name")
    return (
        f"{archive.folder} says that it is of the profile {name!r}, {why}{shows}. "
        "Nothing that an archive names is run or sent: check it, write it into a profile of your "
        f"own, and run `squbed verify {shlex.quote(str(archive.folder))} --repair --profile FILE`"
    )


def _of_unit(archive: Archive, unit: tuple[str, int]) -> Iterator[Problem]:
    """Look at the files of a latent prompt; at none, if it was never finished."""
    shard = f"shards/{unit[0]}/{unit[1]}.parquet"
    checksums = f"shards/{unit[0]}/{unit[1]}{CHECKSUMS}"
    try:
        sums = archive.checksums(*unit)
    except ValueError:
        yield Problem(checksums, DAMAGED, unit)
        return
    if sums is None:
        yield from _without_checksums(archive, unit, shard)
        return
    if not archive.inside(shard).is_file():
        return
    for path, expected in sums.items():
        file = archive.inside(path)
        if not file.is_file() or sha256_of(file) != expected:
            shared = path == reference_path(unit[0])
            yield Problem(path, _state(archive, path), None if shared else unit)


def _without_checksums(archive: Archive, unit: tuple[str, int], shard: str) -> Iterator[Problem]:
    try:
        rows = archive.rows(*unit)
    except FileNotFoundError:
        return
    except ValueError:
        yield Problem(shard, DAMAGED, unit)
        return
    for row in rows:
        if row["status"] == OK and not video.is_whole(archive.inside(row["path"])):
            yield Problem(row["path"], _state(archive, row["path"]), unit)


def _state(archive: Archive, path: str) -> str:
    return DAMAGED if archive.inside(path).is_file() else MISSING
