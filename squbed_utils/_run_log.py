"""The log of a run: what each worker made, when, and how long it took.

``runs/<worker>.jsonl`` in the archive, a line an event. No other file of an archive holds a time,
and no result is read from here.
"""

import json
import os
import time
from pathlib import Path

FOLDER = "runs"


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
        self.path = folder / FOLDER / f"{worker}.jsonl"
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
    return {path.stem: _read(path) for path in sorted((folder / FOLDER).glob("*.jsonl"))}


def _read(path: Path) -> list[dict]:
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events
