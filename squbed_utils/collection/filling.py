"""What every run that fills an archive does first: take hold of its folder, and check it."""

import fcntl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from squbed_utils import profiles
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import SEAL
from squbed_utils.collection import claims, run_log
from squbed_utils.files import PARTIAL, inside, left_by_a_tool, sha256_of
from squbed_utils.models import spending
from squbed_utils.profiles import Profile

LOCK = ".lock"
CONTENTS = {LOCK, "profile.yaml", "tasks.parquet", "truth.parquet", "manifest.parquet"}
CONTENTS |= {"labels.json", "dataset.json", "answers", spending.ACCOUNT, spending.LOCK}
CONTENTS |= {SEAL, claims.FOLDER, run_log.FOLDER}
CONTENTS |= {"references", "shards", "videos", "contact_sheet.png", "contact_sheet.html"}
"""All that an archive's folder holds."""


@contextmanager
def held(archive: Archive) -> Iterator[None]:
    """Hold an archive's folder alone, made if need be, and clear what a crash left in it.

    The system lets go of it however the process ends.

    Raises
    ------
    ValueError
        If the folder holds anything but an archive, or another run holds it.
    """
    with _locked(archive.folder, fcntl.LOCK_EX):
        _clear(archive.folder)
        yield


@contextmanager
def shared(archive: Archive, begin: Callable[[], None]) -> Iterator[None]:
    """Hold an archive's folder with others that collect into it.

    What dead workers left is cleared before and after, unless others are at work.

    Parameters
    ----------
    archive : Archive
    begin : callable
        Called first, by one process at a time.

    Raises
    ------
    ValueError
        If the folder holds anything but an archive, or another run holds it alone.
    """
    folder = archive.folder
    with _locked(folder, fcntl.LOCK_SH):
        with claims.locked(folder):
            _clear_if_alone(folder)
            begin()
        try:
            yield
        finally:
            with suppress(OSError), claims.locked(folder):  # the run's own error matters more
                _clear_if_alone(folder)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    _refuse_foreign(folder)
    with _named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = inside(folder, LOCK).open("a")
    with file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another run is filling {folder}; wait for it to end, or choose another --output"
            ) from error
        yield


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Say what to do about a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"the archive {folder} cannot be written ({error.strerror}); mount it writable, or "
            "choose another --output"
        ) from error


def _clear_if_alone(folder: Path) -> None:
    if not claims.living(folder):
        _clear(folder)


def _clear(folder: Path) -> None:
    for leftover in folder.rglob(f"*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


def is_new(archive: Archive, resolved: dict) -> bool:
    """Say whether an archive has still to be begun; refuse one that was made by another profile.

    What changes no sample is written anew.

    Raises
    ------
    ValueError
        Naming all that differs.
    """
    if not archive.inside("profile.yaml").is_file():
        return True
    found = profiles.differences(archive.profile, resolved)
    if found:
        raise ValueError(
            f"{archive.folder} was made by another profile: {'; '.join(found)}. "
            "Undo the change, choose another --output, or delete that folder"
        )
    if archive.changed(["profile.yaml"]):
        raise ValueError(
            f"{archive.folder / 'profile.yaml'} is not as it was when the archive was sealed; put "
            "it back as it was"
        )
    kept = {key: resolved[key] for key in ("estimator", "pca")}
    if any(archive.profile[key] != value for key, value in kept.items()):
        sums = archive.sealed
        archive.write_profile(archive.profile | kept)
        archive.__dict__.pop("profile")
        if sums:
            archive.write_seal(sums | {"profile.yaml": sha256_of(archive.folder / "profile.yaml")})
    return False


def settings_over(archive: Archive, profile: Profile) -> dict:
    """Return an archive's resolved profile with a profile's settings in their place.

    To be compared where the models and the device, which `resolve` looks at, may be absent.
    """
    there = archive.profile
    settings = asdict(profile)
    del settings["device"]
    encoder, recorded = settings["video_encoder"], there.get("video_encoder")
    if encoder.get("sha256", "") is None and isinstance(recorded, dict):
        encoder["sha256"] = recorded.get("sha256")  # not stated, and recorded by `resolve`
    return there | settings


def warn_of_versions(archive: Archive) -> None:
    """Say on stderr which libraries differ from those that the archive was begun with."""
    here = {name: version(name) for name in profiles.VERSIONED}
    found = profiles.differences(archive.profile["versions"], here)
    if found:
        tqdm.write(
            f"warning: {archive.folder} was begun with other versions ({'; '.join(found)}); its "
            "last digits may differ between parts",
            file=sys.stderr,
        )


def _refuse_foreign(folder: Path) -> None:
    if not folder.is_dir():
        return
    found = sorted(p.name for p in folder.iterdir())
    foreign = [name for name in found if name not in CONTENTS and not left_by_a_tool(name)]
    if foreign:
        raise ValueError(
            f"{folder} holds {foreign[0]!r}, which is no part of an archive; "
            "choose an empty or new folder"
        )
