"""Who makes which unit: claims in an archive's folder, by which any number of workers share it.

Each worker has a file of its own, its sign of life, which it keeps locked and touches every few
seconds. A claim is a file named after its unit: a line for each worker that has had the unit, the
last of them its holder, those before it dead. A claim ends with the unit or with its holder: at
once if the holder ran on this machine and its lock is free, elsewhere when its file has not changed
for `LEASE` seconds. The worker that waits counts these on its own steady clock, so clocks that
jump, or differ between machines, do no harm.

A run that starts workers in other processes has such a file, too; its workers end when it is gone.
"""

import fcntl
import os
import re
import secrets
import socket
import threading
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Self

from squbed_utils import files
from squbed_utils.files import inside

FOLDER = ".claims"
LOCK = "lock"
RUN, WORKER, UNIT = "run-", "worker-", "unit-"
LEASE = 60.0
"""Seconds without a sign of life after which a worker counts as dead."""

BEATS = 12


class Sign:
    """A sign of life in an archive's folder, of a run or a worker; all have one lease (s)."""

    kind = RUN

    def __init__(self, folder: Path, lease: float | None = None) -> None:
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
        self.name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.folder = inside(folder, FOLDER)
        self.lease = LEASE if lease is None else lease
        self._own = self.folder / f"{self.kind}{self.name}"
        self._end = threading.Event()
        self._file = None

    def __enter__(self) -> Self:
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

    def _announce(self) -> None:
        """Make the file, locked before others can see it."""
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


class Worker(Sign):
    """A worker's place among those that share an archive's folder."""

    kind = WORKER

    def __init__(self, folder: Path, lease: float | None = None) -> None:
        super().__init__(folder, lease)
        self._seen: dict[str, tuple[int, float]] = {}

    def claim(self, task: str, latent: int) -> int:
        """Claim a unit; return which attempt at it this is, from 1, or 0 if it is another's."""
        path = self._path(task, latent)
        if self._create(path, []):
            return 1
        if not self._abandoned(path):
            return 0
        with locked(self.folder.parent):
            dead = _holders(path)
            if not self._abandoned(path):
                return 0
            path.unlink()
            return len(dead) + 1 if self._create(path, dead) else 0

    def release(self, task: str, latent: int) -> None:
        """End a claim, unless another worker has taken it over."""
        path = self._path(task, latent)
        with locked(self.folder.parent):
            if _holders(path)[-1:] == [self.name]:
                path.unlink()

    def _path(self, task: str, latent: int) -> Path:
        return inside(self.folder, f"{UNIT}{task}.{latent}")

    def _create(self, path: Path, dead: list[str]) -> bool:
        try:
            with path.open("x") as file:
                file.write("\n".join([*dead, self.name]))
        except FileExistsError:
            return False
        return True

    def _abandoned(self, path: Path) -> bool:
        """Say whether a claim's holder is dead, or a claim without a name is a lease old."""
        holders = _holders(path)
        sign = inside(self.folder, f"{WORKER}{holders[-1]}") if holders else path
        return bool(holders and is_dead_here(sign)) or self._silent(sign)

    def _silent(self, sign: Path) -> bool:
        """Say whether a file has not changed for a lease since this worker first saw it so."""
        try:
            stamp = sign.stat().st_mtime_ns
        except FileNotFoundError:  # just now, so the next look tells
            return False
        before, since = self._seen.get(sign.name, (None, 0.0))
        if stamp != before:
            self._seen[sign.name] = (stamp, time.monotonic())
            return False
        return time.monotonic() - since > self.lease


def is_dead_here(path: Path) -> bool:
    """Say whether a file's owner is surely dead: it is gone, or is unlocked on this machine."""
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


def is_over(folder: Path, run: str) -> bool:
    """Say whether a run has ended, or is known to be dead."""
    return is_dead_here(inside(folder, f"{FOLDER}/{RUN}{run}"))


def living(folder: Path, kind: str = WORKER) -> list[str]:
    """Return the workers, or the runs, of an archive that are not known to be dead."""
    return [f.name.removeprefix(kind) for f in _files(folder, kind) if not is_dead_here(f)]


def claimed(folder: Path) -> dict[str, str]:
    """Return the units that living workers make: ``task.latent`` -> worker."""
    alive = living(folder)
    holders = {file.name.removeprefix(UNIT): _holders(file) for file in _files(folder, UNIT)}
    return {unit: names[-1] for unit, names in holders.items() if names and names[-1] in alive}


def clear(folder: Path) -> None:
    """Remove the files of the dead and, once nobody is left to count them, all claims."""
    with locked(folder):
        for file in [*_files(folder, RUN), *_files(folder, WORKER)]:
            if is_dead_here(file):
                file.unlink(missing_ok=True)
        if not living(folder, RUN) and not living(folder):
            for file in _files(folder, UNIT):
                file.unlink(missing_ok=True)


def locked(folder: Path) -> AbstractContextManager[None]:
    """Let one process at a time change what others rely on."""
    return files.locked(inside(folder, f"{FOLDER}/{LOCK}"))


def _files(folder: Path, kind: str) -> list[Path]:
    """Return the files of runs, of workers, or of claims in an archive's folder."""
    claims = inside(folder, FOLDER)
    return [inside(claims, file.name) for file in sorted(claims.glob(f"{kind}*"))]


def _holders(path: Path) -> list[str]:
    """Return the names in a claim, the holder's last; none if it is gone or not yet written."""
    try:
        return path.read_text(errors="replace").split()
    except FileNotFoundError:
        return []


def _machine() -> str:
    """Name this machine and its last start, as far as the system tells."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.is_file() else ''}"
