"""Who makes which unit: claims in an archive's folder, by which any number of workers share it.

Each worker has a file of its own, which it keeps locked and touches every few seconds. A claim is a
file named after its unit; one worker makes it and writes its name into it. A claim ends with the
unit or with its worker: at once if the worker ran on this machine and its lock is free, elsewhere
when the worker's file has not changed for `LEASE` seconds. The worker that waits counts these on
its own steady clock, so clocks that jump, or differ between machines, do no harm.
"""

import fcntl
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from squbed_utils.files import inside

FOLDER = ".claims"
LOCK = "lock"
WORKER, UNIT = "worker-", "unit-"
LEASE = 60.0
"""Seconds without a sign of life after which a worker counts as dead."""

BEATS = 12
"""Signs of life in that time."""


class Worker:
    """A worker's place among those that share an archive's folder; a context manager.

    All workers of an archive have the same `lease`, in seconds.
    """

    def __init__(self, folder: Path, lease: float | None = None) -> None:
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
        self.name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.folder = inside(folder, FOLDER)
        self.lease = LEASE if lease is None else lease
        self._own = self.folder / f"{WORKER}{self.name}"
        self._seen: dict[str, tuple[int, float]] = {}
        self._end = threading.Event()
        self._file = None

    def __enter__(self) -> "Worker":
        self.folder.mkdir(parents=True, exist_ok=True)
        clear(self.folder.parent)
        self._announce()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        with suppress(FileNotFoundError):
            self._own.unlink()
        self._file.close()
        clear(self.folder.parent)

    def claim(self, task: str, latent: int) -> bool:
        """Claim a unit; say whether this worker has it now."""
        path = self._path(task, latent)
        if self._create(path):
            return True
        if not self._abandoned(path):
            return False
        with locked(self.folder.parent):
            if not self._abandoned(path):
                return False
            path.unlink(missing_ok=True)
            return self._create(path)

    def release(self, task: str, latent: int) -> None:
        """End a claim, unless another worker has taken it over."""
        path = self._path(task, latent)
        with locked(self.folder.parent):
            if _read(path) == self.name:
                path.unlink()

    def _path(self, task: str, latent: int) -> Path:
        return inside(self.folder, f"{UNIT}{task}.{latent}")

    def _create(self, path: Path) -> bool:
        try:
            with path.open("x") as file:
                file.write(self.name)
        except FileExistsError:
            return False
        return True

    def _abandoned(self, path: Path) -> bool:
        """Say whether a claim's worker is dead, or a claim without a name is a lease old."""
        owner = _read(path)
        sign = inside(self.folder, f"{WORKER}{owner}") if owner else path
        if owner and is_dead_here(sign):
            return True
        return self._silent(sign)

    def _silent(self, sign: Path) -> bool:
        """Say whether a file has not changed for a lease since this worker first saw it so."""
        try:
            stamp = sign.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        before, since = self._seen.get(sign.name, (None, 0.0))
        if stamp != before:
            self._seen[sign.name] = (stamp, time.monotonic())
            return False
        return time.monotonic() - since > self.lease

    def _announce(self) -> None:
        """Make the worker's file, locked before others can see it."""
        hidden = self.folder / f".{self._own.name}"
        if self._file is not None:
            self._file.close()
        self._file = hidden.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(_machine())
        self._file.flush()
        os.rename(hidden, self._own)

    def _beat(self) -> None:
        while not self._end.wait(self.lease / BEATS):
            try:
                os.utime(self._own)
            except FileNotFoundError:  # taken for dead, as after a long sleep
                self._announce()


def is_dead_here(path: Path) -> bool:
    """Say whether a worker is surely dead: its file is gone, or is unlocked on this machine."""
    try:
        with path.open() as file:
            if file.read() != _machine():
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False


def living(folder: Path) -> list[str]:
    """Return the workers of an archive that are not known to be dead."""
    files = _left_in(folder, WORKER)
    return [file.name.removeprefix(WORKER) for file in files if not is_dead_here(file)]


def claimed(folder: Path) -> dict[str, str]:
    """Return the units that living workers make: ``task.latent`` -> worker."""
    alive = set(living(folder))
    owners = {file.name.removeprefix(UNIT): _read(file) for file in _left_in(folder, UNIT)}
    return {unit: owner for unit, owner in owners.items() if owner in alive}


def clear(folder: Path) -> None:
    """Remove the files of workers that are known to be dead, and their claims."""
    with locked(folder):
        for file in _left_in(folder, WORKER):
            if is_dead_here(file):
                file.unlink(missing_ok=True)
        for file in _left_in(folder, UNIT):
            owner = _read(file)
            if owner and not inside(file.parent, f"{WORKER}{owner}").exists():
                file.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change what others rely on."""
    path = inside(folder, f"{FOLDER}/{LOCK}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _left_in(folder: Path, kind: str) -> list[Path]:
    """Return the files of workers, or of units, in an archive's folder."""
    claims = inside(folder, FOLDER)
    return [inside(claims, file.name) for file in sorted(claims.glob(f"{kind}*"))]


def _read(path: Path) -> str:
    """Return the name in a claim; "" if the claim is gone or not yet written."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _machine() -> str:
    """Name this machine and its last start, as far as the system tells."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.is_file() else ''}"
