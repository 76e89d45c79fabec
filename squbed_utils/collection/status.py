"""How far the collection of an archive is, from its files and its log."""

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from squbed_utils.archive.archive import Archive
from squbed_utils.collection import claims as _claims
from squbed_utils.files import inside

RECENT = 3600.0
"""Seconds before the last finished unit over which the rate is taken."""


@dataclass(frozen=True)
class Status:
    """How far a collection is; a unit is one latent prompt with its videos.

    `failed` counts videos, `rate` is in units an hour over the last hour of work, and hours are
    those of all runs so far on finished units; a worker with half a GPU counts half.
    """

    folder: Path
    units: int
    done: int
    running: int
    failed: int
    first_error: str | None
    workers: int
    rate: float | None
    hours_left: float | None
    gpu_hours: float
    cpu_hours: float

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.done} of {self.units} latent prompts are finished"]
        lines.append(f"running  {self.running}, by {self.workers} workers")
        lines.append(f"failed   {self.failed} videos")
        if self.first_error:
            lines[-1] += f"; the first: {self.first_error}"
        lines.append("rate     " + ("-" if self.rate is None else f"{self.rate:,.1f} an hour"))
        left = "-" if self.hours_left is None else f"{self.hours_left:.3g} hours"
        lines.append(f"left     {left}")
        lines.append(f"spent    {self.gpu_hours:.3g} GPU-hours, {self.cpu_hours:.3g} CPU-hours")
        return "\n".join(lines)


def status(folder: Path | str) -> Status:
    """Say how far the collection of an archive is; its folder is only read."""
    archive = Archive(folder)
    archive.require()
    finished = [unit for unit in archive.units if archive.finished(*unit)]
    errors = [error for unit in finished for error in archive.errors(*unit)]
    events = read(archive.folder)
    workers = set(_claims.living(archive.folder))
    claims = _claims.claimed(archive.folder)
    rate = _rate(events, workers)
    left = len(archive.units) - len(finished)
    spent = [_spent(log) for log in events.values()]
    return Status(
        folder=archive.folder,
        units=len(archive.units),
        done=len(finished),
        running=len(claims),
        failed=len(errors),
        first_error=errors[0] if errors else None,
        workers=len(workers),
        rate=rate,
        hours_left=left / rate if rate and workers and left else None,
        gpu_hours=sum(hours * gpus for hours, gpus in spent),
        cpu_hours=sum(hours for hours, gpus in spent if not gpus),
    )


def _rate(events: dict[str, list[dict]], workers: set[str]) -> float | None:
    """Return units an hour of the living workers or, if there are none, of the last ones."""
    at_work = {name: log for name, log in events.items() if name in workers} or events
    done = sorted(e["time"] for log in at_work.values() for e in log if e["event"] == "done")
    if not done:
        return None
    end = time.time() if workers else done[-1]
    begins = (e["time"] for log in at_work.values() for e in log if e["event"] == "begin")
    begun = min(begins, default=done[0])
    start = max(begun, end - RECENT)
    recent = sum(at >= start for at in done)
    return recent / (end - start) * 3600 if end > start and recent else None


def _spent(log: list[dict]) -> tuple[float, float]:
    """Return the hours that a worker spent on units, and its GPUs."""
    gpus = next((e["gpus"] for e in log if e["event"] == "start"), 0)
    return sum(e["seconds"] for e in log if e["event"] == "done") / 3600, gpus


FOLDER = "runs"

NUMBERS = {"start": ("time", "gpus"), "done": ("time", "seconds")}
"""Event -> its numbers; all other events have the time."""


class RunLog:
    """The log of one worker, which takes some `gpus` (0 on a CPU)."""

    def __init__(self, folder: Path, worker: str, *, device: str, gpus: float) -> None:
        self.path = inside(folder, f"{FOLDER}/{worker}.jsonl")
        self.path.parent.mkdir(exist_ok=True)
        self.write("start", device=device, gpus=gpus)

    def write(self, event: str, **values: object) -> None:
        """Append one event with the time, whole even if the process is killed."""
        line = json.dumps({"time": round(time.time(), 3), "event": event} | values) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())


def read(folder: Path) -> dict[str, list[dict]]:
    """Return the events of each worker, in order; other lines, such as cut ones, are skipped."""
    logs = {}
    for path in sorted(inside(folder, FOLDER).glob("*.jsonl")):
        text = inside(folder, f"{FOLDER}/{path.name}").read_text(encoding="utf-8", errors="replace")
        logs[path.stem] = [event for line in text.splitlines() if (event := _event(line))]
    return logs


def _event(line: str) -> dict | None:
    """Return an event, whose numbers can be counted with; None if it is none."""
    with suppress(ValueError, RecursionError, TypeError, KeyError):
        event = json.loads(line)
        values = [event[name] for name in NUMBERS.get(event["event"], ("time",))]
        if all(type(v) in (int, float) and 0 <= v < math.inf for v in values):
            return event
    return None
