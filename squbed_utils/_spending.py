"""What a paid model costs, its key, and the account of it in the archive's folder."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from squbed_utils._errors import Stop
from squbed_utils._files import replacing
from squbed_utils.roles import Veo, VideoModel

ACCOUNT, LOCK = "spending.json", ".spending.lock"


def api_key(model: str, variables: Sequence[str]) -> str:
    """Return the key of a service from the first environment variable that is set.

    Raises
    ------
    ValueError
        If none is set, or what is there can be no key.
    """
    variable = next((name for name in variables if os.environ.get(name, "").strip()), None)
    if variable is None:
        raise ValueError(
            f"{model} needs an API key; set the environment variable {' or '.join(variables)} (to "
            "any word for a local server that asks for none) and run the same command again"
        )
    key = os.environ[variable].strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(
            f"the environment variable {variable} holds characters that no key has; set it again"
        )
    return key


def cost(model: VideoModel, videos: int) -> float:
    """Return what some videos cost, in US dollars; 0 for a model that runs here.

    Parameters
    ----------
    model : VideoModel
    videos : int
    """
    return videos * model.seconds * model.price if isinstance(model, Veo) else 0.0


def spent(folder: Path) -> float:
    """Return the dollars spent on an archive so far.

    Raises
    ------
    ValueError
        If the account cannot be read.
    """
    path = Path(folder, ACCOUNT)
    if not path.is_file():
        return 0.0
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["dollars"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} cannot be read ({error}); write {{"dollars": N}} into it, with what the '
            "vendor has billed for this archive"
        ) from error


def reserve(folder: Path, dollars: float, budget: float) -> None:
    """Add to the account before paying.

    Raises
    ------
    Stop
        If that would pass the budget; nothing is added then.
    """
    with _locked(folder):
        before = spent(folder)
        if before + dollars > budget + 1e-9:
            raise Stop(
                f"the budget of ${budget:.2f} is used up: ${before:.2f} are spent (see "
                f"{Path(folder, ACCOUNT)}) and the next videos cost ${dollars:.2f}; what is "
                "finished is kept: raise video_model.budget in the profile and run the same "
                "command again"
            )
        _write(folder, before + dollars)


def give_back(folder: Path, dollars: float) -> None:
    """Take from the account what was not paid after all."""
    with _locked(folder):
        _write(folder, spent(folder) - dollars)


def _write(folder: Path, dollars: float) -> None:
    with replacing(Path(folder, ACCOUNT)) as partial:
        partial.write_text(json.dumps({"dollars": round(dollars, 6)}) + "\n", encoding="utf-8")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one worker at a time use the account."""
    with Path(folder, LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
