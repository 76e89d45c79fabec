"""What a paid model costs, its key, and the account of it in the archive's folder."""

import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from squbed_utils.files import inside, replacing
from squbed_utils.models.errors import Stop
from squbed_utils.profiles import Profile
from squbed_utils.roles import OpenAI, Veo, VideoModel

ACCOUNT, LOCK = "spending.json", ".spending.lock"

VIDEOS, REFINER, CALLS = "dollars", "refiner_dollars", "refiner_calls"
LIMITS = {VIDEOS: "video_model.budget", REFINER: "refiner.budget", CALLS: "refiner.max_calls"}
"""Entry of the account -> what limits it in a profile."""


def api_key(model: str, variables: Sequence[str]) -> str:
    """Return a service's key from the first environment variable that is set.

    If none is set, or its value can be no key, this raises ValueError.
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
    """Return what some videos cost, in US dollars; 0 for a model that runs here."""
    return videos * model.seconds * model.price if isinstance(model, Veo) else 0.0


def calls(refiner: OpenAI, *, tasks: int, latents: int, labels: int) -> int:
    """Return how often a language model is asked, redraws not counted.

    `tasks` need latent prompts drawn, `latents` are the latent prompts to draw, and `labels` the
    captions to label.
    """
    draws = latents if refiner.draws == "independent" else tasks
    return draws + (latents if refiner.check == "model" else 0) + labels


def most_for_answers(refiner: OpenAI, calls: int) -> float:
    """Return the most that the answers of some calls cost, in US dollars; questions come on top."""
    return calls * refiner.max_tokens * refiner.price / 1e6


def bill(profile: Profile, folder: Path, *, videos: int, **counts: int) -> str | None:
    """Say in words what the remaining videos and calls cost; None if they are free.

    `folder` is the archive's, `videos` are the videos to make, and `counts` are those of `calls`.
    """
    model, refiner, parts = profile.video_model, profile.refiner, []
    dollars = cost(model, videos)
    if dollars:
        parts += [
            f"{videos} videos of {model.model} cost about ${dollars:.2f}; "
            f"${spent(folder):.2f} of the budget of ${model.budget:.2f} are spent"
        ]
    asked = calls(refiner, **counts) if isinstance(refiner, OpenAI) and refiner.price != 0 else 0
    if asked:
        parts += [f"about {asked:,} calls of {refiner.model}: {_price(refiner, asked, folder)}"]
    return "; ".join(parts) or None


def _price(refiner: OpenAI, asked: int, folder: Path) -> str:
    made = f"{spent(folder, CALLS):,.0f} calls"
    made += f" of {refiner.max_calls:,}" if refiner.max_calls is not None else ""
    if refiner.price is None:
        return f"price not stated; {made} are made"
    most = most_for_answers(refiner, asked)
    words = f"their answers cost at most ${most:.2f}; {made} are made, "
    of = f" of the budget of ${refiner.budget:.2f}" if refiner.budget is not None else ""
    return f"{words}${spent(folder, REFINER):.2f}{of} are spent"


def spent(folder: Path, entry: str = VIDEOS) -> float:
    """Return what an archive has used up so far: dollars, or calls."""
    return _read(folder)[entry]


def _read(folder: Path) -> dict[str, float]:
    path = inside(folder, ACCOUNT)
    if not path.is_file():
        return dict.fromkeys(LIMITS, 0.0)
    try:
        account = json.loads(path.read_text(encoding="utf-8"))
        account = {
            entry: float(account[entry] if entry == VIDEOS else account.get(entry, 0))
            for entry in LIMITS
        }
        if not all(0 <= value < math.inf for value in account.values()):
            raise ValueError("what is spent is a finite number, 0 or more")
        return account
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f'{path} cannot be read ({error}); write {{"{VIDEOS}": N}} into it, with what the '
            f'vendor of the videos has billed for this archive, and likewise "{REFINER}" and '
            f'"{CALLS}" for the language model'
        ) from error


def reserve(folder: Path, costs: Mapping[str, float], limits: Mapping[str, float | None]) -> None:
    """Add costs to the account of the archive's folder before paying.

    Both mappings go from an entry of the account: to what is added, and to its limit (None: no
    limit). A cost that would pass its limit raises `Stop`, and nothing is added.
    """
    with _locked(folder):
        account = _read(folder)
        for entry, more in costs.items():
            if limits[entry] is not None and account[entry] + more > limits[entry] + 1e-9:
                raise Stop(
                    f"the budget of {_amount(entry, limits[entry])} is used up: "
                    f"{_amount(entry, account[entry])} are spent (see {Path(folder, ACCOUNT)}) "
                    f"and what comes next costs {_amount(entry, more)}; what is finished is kept: "
                    f"raise {LIMITS[entry]} in the profile and run the same command again"
                )
        _write(folder, account, costs, 1)


def give_back(folder: Path, costs: Mapping[str, float]) -> None:
    """Subtract from the account what was not paid after all."""
    with _locked(folder):
        _write(folder, _read(folder), costs, -1)


def _amount(entry: str, amount: float) -> str:
    return f"{amount:,.0f} calls" if entry == CALLS else f"${amount:.{4 if amount < 0.01 else 2}f}"


def _write(folder: Path, account: dict, costs: Mapping[str, float], sign: int) -> None:
    account = {e: round(value + sign * costs.get(e, 0), 9) for e, value in account.items()}
    with replacing(inside(folder, ACCOUNT)) as partial:
        partial.write_text(json.dumps(account) + "\n", encoding="utf-8")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one worker at a time use the account."""
    with inside(folder, LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
