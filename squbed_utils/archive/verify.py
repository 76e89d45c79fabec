"""Find the files of an archive that are not as they were written."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from squbed_utils import video
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import CHECKSUMS, OK, SUMS, reference_path
from squbed_utils.files import inside, read_sums, sha256_of

MISSING, DAMAGED, UNKNOWN = "missing", "damaged", "unknown"


class Problem(NamedTuple):
    """A missing, damaged or unknown file, by its path, and its task and latent prompt.

    A table or a reference has no `unit`; an unknown file is a shard of no latent prompt.
    """

    path: str
    state: str
    unit: tuple[str, int] | None


def verify(folder: Path | str) -> list[Problem]:
    """Return the files of an archive that differ from its checksums or that it lacks.

    In an unfinished archive the rest counts as missing. ValueError: the profile or the seal cannot
    be read.
    """
    archive = Archive(folder)
    archive.require()
    _ = archive.profile  # which must be readable, for nothing is known without it
    of_units = ("shards/", "videos/", "references/")
    single = [name for name in archive.sealed if not name.startswith(of_units)]
    problems = [Problem(name, _state(archive, name), None) for name in archive.changed(single)]
    for name in ("tasks", "truth", "manifest"):
        path = f"{name}.parquet"
        try:
            getattr(archive, name)()
        except (FileNotFoundError, ValueError):
            problems.append(Problem(path, _state(archive, path), None))
        if name != "truth" and problems and problems[-1].path == path:
            return list(dict.fromkeys(problems))  # nothing says what else there should be
    problems += [problem for unit in archive.units for problem in _of_unit(archive, unit)]
    if not any(problem.unit for problem in problems) and (misfit := archive.misfit()):
        (task, latent), _ = misfit
        problems.append(Problem(f"shards/{task}/{latent}.parquet", DAMAGED, (task, latent)))
    for path in archive.tasks().reference.dropna():
        if not video.is_whole(archive.inside(path)):
            problems.append(Problem(path, _state(archive, path), None))
    problems += [Problem(path, UNKNOWN, None) for path in archive.unknown()]
    return list(dict.fromkeys(problems))


def _of_unit(archive: Archive, unit: tuple[str, int]) -> Iterator[Problem]:
    """Yield the problems of a latent prompt's files."""
    shard, checksums = (f"shards/{unit[0]}/{unit[1]}{kind}" for kind in (".parquet", CHECKSUMS))
    if not archive.inside(shard).is_file():
        yield Problem(shard, MISSING, unit)
        return
    try:
        sums = archive.checksums(*unit)
    except ValueError:
        yield Problem(checksums, _state(archive, checksums), unit)
        return
    for path, expected in sums.items():
        file = archive.inside(path)
        if not file.is_file() or sha256_of(file) != expected:
            common = path == reference_path(unit[0])
            yield Problem(path, _state(archive, path), None if common else unit)
    try:
        rows = archive.checked_shard(*unit).select(["path", "status"]).to_pylist()
    except ValueError:
        yield Problem(shard, DAMAGED, unit)
        return
    if any(row["status"] == OK and row["path"] not in sums for row in rows):
        yield Problem(checksums, DAMAGED, unit)


def _state(archive: Archive, path: str) -> str:
    return DAMAGED if archive.inside(path).is_file() else MISSING


def verify_sums(folder: Path | str) -> list[str]:
    """Return the files of an export that are missing or differ from its list of sums."""
    folder = Path(folder)
    if not (folder / SUMS).is_file():
        raise FileNotFoundError(f"no {SUMS} in {folder}; only an exported dataset has one")
    sums = read_sums(folder / SUMS)
    found = tqdm(sums.items(), "checking", unit="file", disable=len(sums) < 1000)
    return [name for name, digest in found if not _is(folder, name, digest)]


def _is(folder: Path, name: str, digest: str) -> bool:
    with suppress(ValueError, OSError):
        return sha256_of(inside(folder, name)) == digest
    return False
