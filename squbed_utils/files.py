"""Paths, checksums and seeds, files that are whole or absent, and locks."""

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath

CARRIED = Path(__file__).resolve().parent / "repository"
"""The files of the repository that a wheel carries; a clone has no such folder."""

ROOT = CARRIED if CARRIED.is_dir() else CARRIED.parents[1]
"""The repository, or what a wheel carries of it."""

PLACE = Path.cwd() if CARRIED.is_dir() else ROOT
"""Where paths in profiles start, and what is made lies: the repository, or where a command runs."""

SAMPLES = PLACE / "data" / "samples"
SUM = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<path>[^/].*)")

PARTIAL = ".partial"
"""Ending of a file that is being written; after a crash such files may be deleted."""

LEFT = (PARTIAL, "~", ".swp", ".swo", ".bak", ".orig", ".tmp", ".crdownload")
LEFT_WHOLE = {"Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r", "__pycache__", "__MACOSX"}
LEFT_WHOLE |= {"@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}

MOST_SUMS = 2**27


def path_of(path: Path | str) -> Path:
    """Return an absolute path; a relative one starts at `ROOT` or, if not there, at `PLACE`."""
    path = Path(path).expanduser()
    return ROOT / path if (ROOT / path).exists() else PLACE / path


def left_by_a_tool(name: str) -> bool:
    """Say whether an editor or file manager left a file of this name; such files are not read.

    >>> [left_by_a_tool(name) for name in (".DS_Store", "._0.parquet", "a.csv~", "0.parquet")]
    [True, True, True, False]
    """
    return name.startswith((".", "~$", "#")) or name.endswith(LEFT) or name in LEFT_WHOLE


def readable_name(prompt: str, hashed: str) -> str:
    """Return a readable file name that differs wherever `hashed` differs."""
    readable = re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:40].strip("-") or "prompt"
    return f"{readable}-{hashlib.sha256(hashed.encode()).hexdigest()[:8]}"


def read_bytes(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; refuse a folder, pipe or device, or more than `most`."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is a folder, a pipe or a device; expected a file")
    if found.st_size > most:
        raise ValueError(f"{path} has {found.st_size:,} bytes; expected at most {most:,}")
    return path.read_bytes()


def inside(folder: Path, path: str) -> Path:
    """Return the absolute path of an archive's file or folder, existing or not.

    A path that leads out of the archive or meets a link, pipe, socket or device is refused; only
    the archive's own folder may be a link.
    """
    named = PureWindowsPath(path)  # knows the separators, drives and roots of every system
    if named.anchor or ".." in named.parts or "\0" in path:
        raise ValueError(f"path {path!r} leads out of the archive {folder}")
    whole = os.path.realpath(folder)  # strings: an archive asks this for each of its files
    for part in Path(path).parts:
        whole = os.path.join(whole, part)
        with suppress(FileNotFoundError, NotADirectoryError):
            mode = os.lstat(whole).st_mode
            if stat.S_ISLNK(mode):
                raise ValueError(
                    f"{whole} is a symbolic link, and none is followed in an archive; put what it "
                    "stands for there, or delete it"
                )
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ValueError(f"{whole} is a pipe, socket or device and no file; delete it")
    return Path(whole)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_bytes(count: float) -> str:
    """Return a number of bytes as text, such as 1.23 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def write_sums(path: Path, sums: dict[str, str]) -> None:
    """Write the SHA-256 of files by their paths, in the format of `sha256sum --check`."""
    write_text(path, "".join(f"{value}  {name}\n" for name, value in sums.items()))


def read_sums(path: Path) -> dict[str, str]:
    """Return the SHA-256 of files by path from a file of `write_sums`; refuse any other file."""
    return parse_sums(read_bytes(path, MOST_SUMS).decode(errors="replace"), str(path))


def parse_sums(text: str, where: str) -> dict[str, str]:
    """Return the SHA-256 of files by path from a list of checksums; `where` starts the error."""
    matches = [SUM.fullmatch(line) for line in text.splitlines()]
    if not matches or not all(matches):
        raise ValueError(f"{where} is no list of checksums")
    return {match["path"]: match["sha256"] for match in matches}


@contextmanager
def replacing(path: Path | str, *, keep_first: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, whose file is flushed to disk and renamed on success.

    With `keep_first`, an existing file at `path` stays as it is.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if keep_first:
            with suppress(FileExistsError):
                os.link(partial, path)
        else:
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 to a file that is whole or absent."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes to a file that is whole or absent."""
    with replacing(target) as partial:
        shutil.copyfile(source, partial)


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock on a file, made if need be, alone or `shared` with others that share it.

    Without `wait`, a lock that another process holds raises BlockingIOError.
    """
    import fcntl  # not on Windows, where an archive can be read but not filled

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        yield


def seed_of(*names: object) -> int:
    """Hash names to a seed, range [0, 2**63), by the first eight bytes of their SHA-256."""
    text = "\x1f".join(str(name).replace("\x1f", " ") for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
