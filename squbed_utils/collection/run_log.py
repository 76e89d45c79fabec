"""The log of a run: what each worker made, when, and how long it took.

``runs/<worker>.jsonl`` in the archive, a line an event. No other file of an archive holds a time,
and no result is read from here.
"""

import json
import math
import os
import time
from pathlib import Path

from squbed_utils.files import inside

FOLDER = "runs"

NUMBERS = {"start": ("time", "gpus"), "done": ("time", "seconds")}
"""Event -> the numbers that it has; any other has the time."""


class RunLog:
    """The log of one worker.

    Parameters
    ----------
    folder : Path
        The archive's.
    worker : str
    device : str
    gpus : float
        That the worker takes; 0 on a CPU.
    """

    def __init__(self, folder: Path, worker: str, *, device: str, gpus: float) -> None:
        self.path = inside(folder, f"{FOLDER}/{worker}.jsonl")
        self.path.parent.mkdir(exist_ok=True)
        self.write("start", device=device, gpus=gpus)

    def write(self, event: str, **values: object) -> None:
        """Append one event with the time, whole even if the process is killed."""
        line = json.dumps({"time": round(time.time(), 3), "event": event} | values) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


def read(folder: Path) -> dict[str, list[dict]]:
    """Return the events of each worker, in order; a line that a full disk cut short is left out."""
    logs = sorted(inside(folder, FOLDER).glob("*.jsonl"))
    return {path.stem: _read(inside(folder, f"{FOLDER}/{path.name}")) for path in logs}


def _read(path: Path) -> list[dict]:
    events = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not _is_event(event):
            raise ValueError(
                f"{path}, line {number} is no event of a run; delete the file, from which no "
                "result is read"
            )
        events.append(event)
    return events


def _is_event(event: object) -> bool:
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return False
    values = [event.get(name) for name in NUMBERS.get(event["event"], ("time",))]
    return all(type(v) in (int, float) and 0 <= v < math.inf for v in values)
