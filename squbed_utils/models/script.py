"""A video model run by scripts of its own, in one subprocess a video."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from squbed_utils import video
from squbed_utils.files import path_of
from squbed_utils.instructions import fill
from squbed_utils.models import script_guard
from squbed_utils.models.checkpoints import locate
from squbed_utils.roles import Command
from squbed_utils.video import Video

TAIL, LONGEST_TAIL = 5, 400
"""Last lines of stderr that an error quotes, and how many characters of them."""

GUARD = Path(script_guard.__file__)

SECRET = re.compile(r"(_KEY|_TOKEN|_SECRET|_PASSWORD|_CREDENTIALS)$|^AWS_")
"""Environment variables that a script does not get: the keys and passwords of services."""


def load(model: Command) -> Callable[[list[str], list[int]], list[Video | Exception]]:
    """Return a function that runs the command once for each prompt and seed."""
    folder = locate(model, "video_model")
    if find_program(model) is None:
        raise FileNotFoundError(
            f"video_model.command starts with {model.command[0]!r}, which is neither on the PATH "
            f"nor in {folder}; install it or correct the command"
        )
    return lambda prompts, seeds: [
        _attempt(model, folder, prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)
    ]


def find_program(model: Command) -> str | None:
    """Return the command's program, from the PATH or its own folder; None if it is missing."""
    own = path_of(model.path) / model.command[0]
    return shutil.which(model.command[0]) or (str(own) if own.is_file() else None)


def _attempt(model: Command, folder: Path, prompt: str, seed: int) -> Video | Exception:
    try:
        return run(model, folder, prompt, seed)
    except (OSError, RuntimeError, ValueError) as error:
        return error


def run(model: Command, folder: Path, prompt: str, seed: int) -> Video:
    """Run the command for one video, in a temporary folder that is then removed.

    The command runs in the folder of its code, without the API keys of this environment. It gets
    the seed modulo 2**32, since many libraries take no larger one. A failure or a timeout raises
    RuntimeError with the last lines of stderr; anything but one readable mp4 raises ValueError.
    """
    with tempfile.TemporaryDirectory(prefix="squbed-") as temporary:
        output, log = Path(temporary, "output"), Path(temporary, "stderr")
        output.mkdir()
        values = vars(model) | {"path": folder, "output": output}
        values |= {"prompt": prompt, "seed": seed % 2**32}
        texts = {name: _text(value) for name, value in values.items()}
        words = [fill(word, texts) for word in model.command]
        _run(words, folder, model.timeout, log)
        found = sorted(output.rglob("*.mp4"))
        if len(found) != 1:
            raise ValueError(f"the command left {len(found)} mp4 files in {{output}}; expected one")
        return video.read(found[0])


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _run(words: list[str], folder: Path, timeout: float, log: Path) -> None:
    """Run to the end; a timeout, or the death of this process, kills all that was started."""
    environment = {k: v for k, v in os.environ.items() if not SECRET.search(k)}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-S", str(GUARD), *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    with process.stdin:
        code = _wait(process, timeout, log)
    if code:
        raise RuntimeError(f"the command failed with exit code {code}{_tail(log)}")


def _wait(process: subprocess.Popen, timeout: float, log: Path) -> int:
    try:
        return process.wait(timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise RuntimeError(
                f"the command took longer than {timeout:g} s and was stopped{_tail(log)}"
            ) from error
        raise


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = " | ".join([line.strip() for line in lines if line.strip()][-TAIL:])
    return f"; its last words: {last[-LONGEST_TAIL:]}" if last else ""
