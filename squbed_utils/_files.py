"""Paths, and files that are whole or absent."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository; paths in profiles are relative to it."""

PARTIAL = ".partial"
"""Ending of a file that is being written; after a crash such files may be deleted."""


def path_of(path: Path | str) -> Path:
    """Return a profile's path as an absolute one."""
    return ROOT / Path(path).expanduser()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path | str, *, keep_first: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed.

    Parameters
    ----------
    path : path
        The final name. Its folder is made if need be.
    keep_first : bool
        Whether a file that is there by then stays as it is.
    """
    path = Path(path)
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
