"""A language model behind OpenAI's API or a compatible server; every answer is kept."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from openai import (
    APIError,
    APIStatusError,
    LengthFinishReasonError,
    OpenAI,
    OpenAIError,
)
from pydantic import BaseModel, ConfigDict, ValidationError

from squbed_utils import roles
from squbed_utils.files import inside, replacing
from squbed_utils.models import language, servers, spending
from squbed_utils.models.errors import Stop
from squbed_utils.tasks.captioned import CATEGORIES

OPENAI_URL = "https://api.openai.com/v1"
ATTEMPTS = 3
"""Times that a question is asked until it gets a readable answer."""

LONGEST_ERROR = 300

LARGEST = 10_000_000
"""The most bytes of an answer: a thousand times what `max_tokens` amounts to."""


class Form(BaseModel):
    """The form that a model's structured answer must have."""

    model_config = ConfigDict(extra="forbid")


class Text(Form):
    """Free text."""

    answer: str


class Items(Form):
    """A list of texts."""

    answer: list[str]


class YesOrNo(Form):
    """One of two words."""

    answer: Literal["yes", "no"]


class Category(Form):
    """One of the categories."""

    answer: Literal[CATEGORIES]


FORMS = {"refine": Text, "refine_list": Items, "entails": YesOrNo, "category": Category}
"""Instruction -> form of its answer; some servers are told the form and do not keep to it."""


def load_openai(settings: roles.OpenAI, answers: Path | None) -> tuple[Callable, Callable]:
    """Return the functions `answer` and `forget` of a server; nothing is asked yet.

    answer(instruction, text, seed) returns text: one line an item for a list, and nothing where the
    model declines. The folder `answers` keeps every answer, so that no question is asked twice; the
    account of calls and dollars lies beside it. It raises `Stop` if the server cannot be reached or
    refuses, if none of `ATTEMPTS` answers is readable, or if a budget is used up.

    forget(instruction, text, seed) deletes a kept answer.
    """
    key = spending.api_key(settings.model, [settings.key])
    url = settings.base_url or OPENAI_URL
    counted = answers and (settings.price != 0 or settings.max_calls is not None)
    account = answers.parent if counted else None
    client = OpenAI(
        api_key=key,
        base_url=url,
        timeout=settings.timeout,
        max_retries=settings.retries,
        http_client=servers.client(settings.timeout, LARGEST),
    )

    def question(name: str, text: str, seed: int) -> tuple[dict, dict, Path | None]:
        request = {"model": settings.model, "messages": [{"role": "user", "content": text}]}
        if settings.temperature is not None:
            request["temperature"] = settings.temperature
        if settings.base_url:
            request["seed"] = seed % 2**31
        asked = request | {"url": url, "form": FORMS[name].model_json_schema(), "draw": seed}
        return request, asked, inside(answers, f"{_sha256(asked)}.json") if answers else None

    def answer(name: str, text: str, seed: int) -> str:
        request, asked, kept = question(name, text, seed)
        known = _read(kept, asked)
        if known is not None:
            return known

        def paid() -> object:
            return _paid(client, settings, request, FORMS[name], account)

        def read(completion: object) -> str:
            return _answer_of(completion, Items if FORMS[name] is Items else Text)

        said = _ask(paid, read, client, settings, lambda text: text.replace(key, "[key]"))
        return said if kept is None else _keep(kept, asked, said)

    def forget(name: str, text: str, seed: int) -> None:
        *_, kept = question(name, text, seed)
        if kept is not None:
            kept.unlink(missing_ok=True)

    return answer, forget


def _paid(
    client: OpenAI, settings: roles.OpenAI, request: dict, form: type[Form], folder: Path | None
) -> object:
    """Ask once: book the most that the call can cost before, and correct it to the true cost after.

    A token is at least a byte, so a question has no more tokens than bytes. An error status costs
    nothing. If the usage is unknown or impossible, the most counts.
    """
    limit = {"max_tokens" if settings.base_url else "max_completion_tokens": settings.max_tokens}
    request = request | limit
    size = len(json.dumps([request, form.model_json_schema()], ensure_ascii=False).encode())
    price = (settings.price or 0) / 1e6
    tokens = size + settings.max_tokens
    most = price * tokens
    costs = {spending.CALLS: 1, spending.REFINER: most}
    if folder:
        limits = {spending.CALLS: settings.max_calls, spending.REFINER: settings.budget}
        spending.reserve(folder, costs, limits)
    unpaid = {}
    schema = {"name": form.__name__, "schema": form.model_json_schema(), "strict": True}
    request["response_format"] = {"type": "json_schema", "json_schema": schema}
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of odd usages
            completion = client.chat.completions.create(**request)
        used = getattr(completion.usage, "total_tokens", None)
        if type(used) is int and 0 < used <= tokens:
            unpaid = {spending.REFINER: price * (tokens - used)}
    except APIStatusError:
        unpaid = costs
        raise
    finally:
        if folder and unpaid:
            spending.give_back(folder, unpaid)
    return completion


def _ask(
    paid: Callable,
    read: Callable[[object], str],
    client: OpenAI,
    settings: roles.OpenAI,
    scrub: Callable[[str], str],
) -> str:
    """Ask until an answer is readable; no error carries the key or the client's own error."""
    problem = ""
    for _ in range(ATTEMPTS):
        try:
            return scrub(read(paid()))
        except (OpenAIError, ValueError, TypeError, AttributeError, RecursionError) as error:
            problem = _in_words(error, settings, scrub)
            if isinstance(error, APIError):
                break
    raise Stop(
        f"the language model {settings.model!r} at {client.base_url} gives no answer: {problem}; "
        "what is finished is kept: run the same command again to go on"
    )


def _in_words(error: Exception, settings: roles.OpenAI, scrub: Callable[[str], str]) -> str:
    """Say what went wrong; the client has already tried again where that can help."""
    if isinstance(error, APIStatusError) and error.status_code in (401, 403):
        return f"it refuses the key (status {error.status_code})"
    if isinstance(error, APIStatusError) and error.status_code < 400:
        return (
            f"it sends elsewhere (status {error.status_code}), where the key does not follow; give "
            "the address itself as refiner.base_url"
        )
    if isinstance(error, LengthFinishReasonError):
        return f"its answer is longer than refiner.max_tokens, {settings.max_tokens}; raise that"
    if isinstance(error, OpenAIError):
        return scrub(f"{type(error).__name__}: {error}")[:LONGEST_ERROR]
    return f"its answer is not of the form asked for ({type(error).__name__})"


def _answer_of(completion: object, form: type[Text] | type[Items]) -> str:
    """Return an answer as text: one line an item for a list, "" for a refusal."""
    if not completion.choices:
        raise ValueError("no choices")
    choice = completion.choices[0]
    if choice.finish_reason == "length":
        raise LengthFinishReasonError(completion=completion)
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return ""
    try:
        said = form.model_validate_json(choice.message.content).answer
    except ValidationError:  # thoughts before it, or a fence around it
        said = form.model_validate_json(language.bare(choice.message.content)).answer
    items = [said] if isinstance(said, str) else said
    items = [language.without_thoughts(item) for item in items]
    return items[0] if isinstance(said, str) else "\n".join(" ".join(i.split()) for i in items)


def _sha256(asked: dict) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _read(path: Path | None, asked: dict) -> str | None:
    """Return a kept answer; None if there is none or it cannot be read."""
    if path is None or not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["asked"] == asked and isinstance(kept["answer"], str):
            return kept["answer"]
    except (ValueError, KeyError, TypeError):
        pass
    path.unlink(missing_ok=True)
    return None


def _keep(path: Path, asked: dict, said: str) -> str:
    """Write an answer unless another worker was first; return the one that counts."""
    with replacing(path, keep_first=True) as partial:
        text = json.dumps({"answer": said, "asked": asked}, ensure_ascii=False, indent=1)
        partial.write_text(text, encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["answer"]
