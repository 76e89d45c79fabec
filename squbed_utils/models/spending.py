"""What a paid model costs, its key, and the account of it in the archive's folder."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from squbed_utils.archive.layout import ACCOUNT, ACCOUNT_LOCK
from squbed_utils.files import inside, locked, write_text
from squbed_utils.models.errors import Stop
from squbed_utils.profiles import Profile
from squbed_utils.roles import OpenAI, VideoModel
from squbed_utils.video_models import Veo

VIDEOS, REFINER, CALLS = "dollars", "refiner_dollars", "refiner_calls"
LIMITS = {VIDEOS: "video_model.budget", REFINER: "refiner.budget", CALLS: "refiner.max_calls"}
"""Entry of the account -> what limits it in a profile."""


def api_key(model: str, variables: Sequence[str]) -> str:
    """Return a service's key from the first environment variable that is set."""
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

    `tasks` need prompts drawn, `latents` is the number to draw, `labels` are captions to label.
    """
    draws = latents if refiner.draws == "independent" else tasks
    return draws + (latents if refiner.check == "model" else 0) + labels


def most_for_answers(refiner: OpenAI, calls: int) -> float:
    """Return the most that the answers of some calls cost, in US dollars; questions come on top."""
    return calls * refiner.max_tokens * refiner.price / 1e6


def bill(profile: Profile, folder: Path, *, videos: int, **counts: int) -> str | None:
    """Say in words what the remaining videos and calls cost; None if they are free."""
    model, refiner, parts = profile.video_model, profile.refiner, []
    if dollars := cost(model, videos):
        parts.append(
            f"{videos} videos of {model.model} cost about ${dollars:.2f}; "
            f"${spent(folder):.2f} of the budget of ${model.budget:.2f} are spent"
        )
    if isinstance(refiner, OpenAI) and refiner.price != 0 and (number := calls(refiner, **counts)):
        limit = "" if refiner.max_calls is None else f" of {refiner.max_calls:,}"
        so_far = f"{spent(folder, CALLS):,.0f} calls{limit} are made"
        price = f"price not stated; {so_far}"
        if refiner.price is not None:
            most = most_for_answers(refiner, number)
            budget = "" if refiner.budget is None else f" of the budget of ${refiner.budget:.2f}"
            price = f"their answers cost at most ${most:.2f}; {so_far}, "
            price += f"${spent(folder, REFINER):.2f}{budget} are spent"
        parts.append(f"about {number:,} calls of {refiner.model}: {price}")
    return "; ".join(parts) or None


def spent(folder: Path, entry: str = VIDEOS) -> float:
    """Return what an archive has used up so far: dollars, or calls."""
    return _read(folder)[entry]


def _read(folder: Path) -> dict[str, float]:
    path = inside(folder, ACCOUNT)
    if not path.is_file():
        return dict.fromkeys(LIMITS, 0.0)
    try:
        account = {REFINER: 0, CALLS: 0} | json.loads(path.read_text(encoding="utf-8"))
        account = {entry: float(account[entry]) for entry in LIMITS}
        if not all(0 <= amount < math.inf for amount in account.values()):
            raise ValueError("what is spent is a finite number, 0 or more")
        return account
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f'{path} cannot be read ({error}); write {{"{VIDEOS}": N}} into it, with what the '
            f'vendor of the videos has billed for this archive, and likewise "{REFINER}" and '
            f'"{CALLS}" for the language model'
        ) from error


def reserve(folder: Path, costs: Mapping[str, float], limits: Mapping[str, float | None]) -> None:
    """Add costs, by the account's entries, to the account before paying.

    A cost that would pass its limit (None: no limit) raises `Stop`, and nothing is added.
    """
    with locked(inside(folder, ACCOUNT_LOCK)):
        account = _read(folder)
        for entry, cost in costs.items():
            if limits[entry] is not None and account[entry] + cost > limits[entry] + 1e-9:
                raise Stop(
                    f"the budget of {_amount(entry, limits[entry])} is used up: "
                    f"{_amount(entry, account[entry])} are spent (see {Path(folder, ACCOUNT)}) "
                    f"and what comes next costs {_amount(entry, cost)}; what is finished is kept: "
                    f"raise {LIMITS[entry]} in the profile and run the same command again"
                )
        _add(folder, account, costs)


def give_back(folder: Path, costs: Mapping[str, float]) -> None:
    """Subtract from the account what was not paid after all."""
    with locked(inside(folder, ACCOUNT_LOCK)):
        _add(folder, _read(folder), {entry: -cost for entry, cost in costs.items()})


def _add(folder: Path, account: dict[str, float], costs: Mapping[str, float]) -> None:
    account = {entry: round(before + costs.get(entry, 0), 9) for entry, before in account.items()}
    write_text(inside(folder, ACCOUNT), json.dumps(account) + "\n")


def _amount(entry: str, amount: float) -> str:
    return f"{amount:,.0f} calls" if entry == CALLS else f"${amount:.{4 if amount < 0.01 else 2}f}"
