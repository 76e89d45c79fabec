"""A video model of the user's own: a command, one subprocess a video, or a Python function."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from squbed_utils import video
from squbed_utils.files import path_of
from squbed_utils.instructions import fill
from squbed_utils.models.checkpoints import locate
from squbed_utils.text import shortened, suggestion
from squbed_utils.video import Video
from squbed_utils.video_models import Command, Python

GUARD = 'exec 3<&0; { read -r _ <&3; kill -9 0; } & exec "$@" </dev/null 3<&-'
"""Runs a command for a shell; when the pipe that is its stdin closes, kills the process group."""

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
    the seed modulo 2**32, since many libraries take no larger one.
    """
    with tempfile.TemporaryDirectory(prefix="squbed-") as temporary:
        output, log = Path(temporary, "output"), Path(temporary, "stderr")
        output.mkdir()
        values = vars(model) | {"path": folder, "output": output}
        values |= {"prompt": prompt, "seed": seed % 2**32}
        texts = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in values.items()}
        words = [fill(word, texts) for word in model.command]
        _run(words, folder, model.timeout, log)
        films = list(output.rglob("*.mp4"))
        if len(films) != 1:
            raise ValueError(f"the command left {len(films)} mp4 files in {{output}}; expected one")
        return video.read(films[0])


def _run(words: list[str], folder: Path, timeout: float, log: Path) -> None:
    """Run to the end; what then still runs is killed, also after a timeout or our own death."""
    environment = {k: v for k, v in os.environ.items() if not SECRET.search(k)}
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            ["sh", "-c", GUARD, "sh", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,  # which closes where this block ends, and with this process
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        ) as process,
    ):
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"the command took longer than {timeout:g} s and was stopped{_tail(log)}"
            ) from error
    if code:
        raise RuntimeError(f"the command failed with exit code {code}{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = " | ".join([line.strip() for line in lines if line.strip()][-5:])
    return f"; its last words: {last[-400:]}" if last else ""


def load_function(model: Python) -> Callable:
    """Run the user's file; return a function that draws a batch, a `diffusion.Draw`.

    What runs is the text of the file that is hashed, never its compiled copy. The file's folder is
    where its imports are looked for last, and seeds come modulo 2**32.
    """
    file = locate(model, "video_model", "call")
    module = ModuleType("squbed_video_model")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    sys.path.append(str(file.parent))
    _explained(file, lambda: exec(compile(file.read_bytes(), file, "exec", 0, True), vars(module)))
    name = model.call.rpartition(":")[2]
    functions = [key for key, value in vars(module).items() if callable(value)]
    if name not in functions:
        hint = suggestion(name, functions)
        raise ValueError(f"{file} has no function {name!r}{hint}; correct video_model.call")
    function, where = getattr(module, name), f"{file}: {name}"

    def draw(items: list[tuple[str, int]]) -> Callable[[int], Video]:
        prompts, seeds = [prompt for prompt, _ in items], [seed % 2**32 for _, seed in items]
        made = _explained(file, lambda: function(prompts, seeds))
        if not isinstance(made, list | tuple) or len(made) != len(items):
            raise ValueError(
                f"{where} returned {_described(made)} for {len(items)} prompts; expected a list "
                f"of {len(items)} pairs (frames, fps)"
            )
        return lambda i: _checked(made[i], where)

    return draw


def _explained(file: Path, call: Callable[[], object]) -> object:
    """Call; an error becomes a RuntimeError that names the last line of the file that it passed."""
    try:
        return call()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [(f.filename, f.lineno) for f in frames if f.filename != __file__]
        lines = lines or [(str(file), getattr(error, "lineno", None))]
        place, line = next((each for each in reversed(lines) if each[0] == str(file)), lines[-1])
        at = f"{place}, line {line}" if line else place
        raise RuntimeError(f"{at}: {type(error).__name__}: {error}") from error


def _checked(made: object, where: str) -> Video:
    """Return what a function made of one prompt as a video, or say what is wrong with it."""
    try:
        frames, fps = made
        if isinstance(frames, np.ndarray) and not isinstance(fps, bool) and 0.1 <= fps <= 1000:
            return Video(frames, float(fps))
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"{where} returned {_described(made)} for a prompt; expected (frames, fps): a numpy array, "
        "uint8 (T, H, W, 3), none of them 0, and frames a second, 0.1 to 1000"
    )


def _described(made: object) -> str:
    """Say what a function returned: an array by dtype and shape, a tuple by its parts."""
    if isinstance(made, np.ndarray):
        return f"{made.dtype} {made.shape}"
    if isinstance(made, tuple) and len(made) < 5:
        return f"({', '.join(map(_described, made))})"
    if isinstance(made, list):
        return f"a list of {len(made)}"
    return shortened(made) if isinstance(made, Real | str | None) else f"a {type(made).__name__}"
