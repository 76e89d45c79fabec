"""A language model behind OpenAI's API or a compatible server; every answer is kept."""

import hashlib
import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Literal

import openai
import tenacity
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from squbed_utils import csv_files, roles
from squbed_utils.files import inside, replacing
from squbed_utils.models import replies, servers, spending
from squbed_utils.models.errors import Stop
from squbed_utils.tasks.captioned import CATEGORIES

OPENAI_URL = "https://api.openai.com/v1"
ATTEMPTS = 3
"""Times that a question is asked until it gets a readable answer."""

LONGEST_ERROR = 300

DOUBLED, LONGEST_ASKED = tenacity.wait_exponential(0.5, max=8.0), 120.0
"""Seconds before a request is made again, and the most of them that a server may ask for."""

BUSY = (openai.RateLimitError, openai.ConflictError, openai.InternalServerError)
"""Answers after which a request is made again, as where no answer came."""

LARGEST = 10_000_000
"""The most bytes of an answer: a thousand times what `max_tokens` amounts to."""


class Form(BaseModel):
    """The form that a model's structured answer must have."""

    model_config = ConfigDict(extra="forbid")


def _form(name: str, text: str, answer: object) -> type[Form]:
    return create_model(name, __base__=Form, __doc__=text, answer=(answer, ...))


Text = _form("Text", "Free text.", str)
Items = _form("Items", "A list of texts.", list[str])
FORMS = {
    "refine": Text,
    "refine_list": Items,
    "entails": _form("YesOrNo", "One of two words.", Literal["yes", "no"]),
    "category": _form("Category", "One of the categories.", Literal[CATEGORIES]),
}
"""Instruction -> form of its answer; some servers are told the form and do not keep to it."""


class Server:
    """A language model behind OpenAI's API or a compatible server.

    The folder `answers` keeps every answer, so that no question is asked twice.
    """

    def __init__(self, settings: roles.OpenAI, answers: Path) -> None:
        self._settings, self._answers = settings, answers
        self._key = spending.api_key(settings.model, [settings.key])
        self._url = settings.base_url or OPENAI_URL
        counted = settings.price != 0 or settings.max_calls is not None
        self._account = answers.parent if counted else None
        self._client = openai.OpenAI(
            api_key=self._key,
            base_url=self._url,
            timeout=settings.timeout,
            max_retries=0,  # by which a lost answer would be paid again, and not booked
            http_client=servers.client(settings.timeout, LARGEST),
        )

    def __call__(self, name: str, text: str, seed: int) -> str:
        """Return an answer as text: one line an item for a list, "" where the model declines.

        Raises `Stop` if the server cannot be reached or refuses, if none of `ATTEMPTS` answers is
        readable, or if a budget is used up.
        """
        request = self._request(text, seed)
        question, path = self._place(name, request, seed)
        answer = _read(path, question)
        if answer is None:
            answer = _keep(path, question, self._ask(request, FORMS[name]))
        return answer

    def forget(self, name: str, text: str, seed: int) -> None:
        """Delete a kept answer, so that the question is asked anew."""
        _, path = self._place(name, self._request(text, seed), seed)
        path.unlink(missing_ok=True)

    def _request(self, text: str, seed: int) -> dict:
        settings = self._settings
        request = {"model": settings.model, "messages": [{"role": "user", "content": text}]}
        if settings.temperature is not None:
            request["temperature"] = settings.temperature
        if settings.base_url:
            request["seed"] = seed % 2**31
        return request

    def _place(self, name: str, request: dict, seed: int) -> tuple[dict, Path]:
        """Return all that an answer depends on, and the path of its file, which is named by it."""
        form = FORMS[name].model_json_schema()
        question = request | {"url": self._url, "form": form, "draw": seed}
        sha256 = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        return question, inside(self._answers, f"{sha256}.json")

    def _ask(self, request: dict, form: type[Form]) -> str:
        """Ask until an answer is readable; no error carries the key or the client's own error."""
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((openai.APIConnectionError, *BUSY)),
            wait=_wait,
            stop=tenacity.stop_after_attempt(self._settings.retries + 1),
            reraise=True,
        )
        for _ in range(ATTEMPTS):
            try:
                return self._without_key(_answer_of(patiently(self._paid, request, form), form))
            except (
                openai.OpenAIError,
                ValueError,
                TypeError,
                AttributeError,
                RecursionError,
            ) as error:
                problem = self._in_words(error)
                if isinstance(error, openai.APIError):
                    break
        raise Stop(
            f"the language model {self._settings.model!r} at {self._client.base_url} gives no "
            f"answer: {problem}; what is finished is kept: run the same command again to go on"
        )

    def _paid(self, request: dict, form: type[Form]) -> ChatCompletion:
        """Ask once: book the most that it can cost before, and correct it to the true cost after.

        A token is at least a byte, so a question has no more tokens than bytes. An error status
        costs nothing, nor does a server that cannot be reached; a lost answer, and an unknown or
        impossible usage, as much as possible.
        """
        settings, schema = self._settings, form.model_json_schema()
        limit = "max_tokens" if settings.base_url else "max_completion_tokens"
        request = request | {limit: settings.max_tokens}
        size = len(json.dumps([request, schema], ensure_ascii=False).encode())
        price = (settings.price or 0) / 1e6
        tokens = size + settings.max_tokens
        costs, unpaid = {spending.CALLS: 1, spending.REFINER: price * tokens}, {}
        if self._account:
            limits = {spending.CALLS: settings.max_calls, spending.REFINER: settings.budget}
            spending.reserve(self._account, costs, limits)
        schema = {"name": form.__name__, "schema": schema, "strict": True}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # of odd usages
                completion = self._client.chat.completions.create(**request)
            used = getattr(completion.usage, "total_tokens", None)
            if type(used) is int and 0 < used <= tokens:
                unpaid = {spending.REFINER: price * (tokens - used)}
            return completion
        except openai.APIStatusError:
            unpaid = costs
            raise
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, servers.UNREACHED):
                unpaid = costs
            raise
        finally:
            if self._account and unpaid:
                spending.give_back(self._account, unpaid)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]")

    def _in_words(self, error: Exception) -> str:
        """Say what went wrong, where trying again has not helped."""
        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        if status in (401, 403):
            return f"it refuses the key (status {status})"
        if status and status < 400:
            return (
                f"it sends elsewhere (status {status}), where the key does not follow; give the "
                "address itself as refiner.base_url"
            )
        if isinstance(error, openai.LengthFinishReasonError):
            most = self._settings.max_tokens
            return f"its answer is longer than refiner.max_tokens, {most}; raise that"
        if isinstance(error, openai.OpenAIError):
            return self._without_key(f"{type(error).__name__}: {error}")[:LONGEST_ERROR]
        return f"its answer is not of the form asked for ({type(error).__name__})"


def _wait(state: tenacity.RetryCallState) -> float:
    """Wait as long as the server says, or twice as long each time."""
    response = getattr(state.outcome.exception(), "response", None)
    asked = response is not None and csv_files.number(response.headers.get("retry-after", ""))
    return asked if asked and 0 < asked <= LONGEST_ASKED else DOUBLED(state)


def _answer_of(completion: ChatCompletion, form: type[Form]) -> str:
    """Return an answer as text: one line an item for a list, "" for a refusal."""
    if not completion.choices:
        raise ValueError("no choices")
    choice = completion.choices[0]
    if choice.finish_reason == "length":
        raise openai.LengthFinishReasonError(completion=completion)
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return ""
    form = Items if form is Items else Text  # servers do not keep to the choice of words
    try:
        answer = form.model_validate_json(choice.message.content).answer
    except ValidationError:  # thoughts before it, or a fence around it
        answer = form.model_validate_json(replies.bare(choice.message.content)).answer
    if form is Text:
        return replies.without_thoughts(answer)
    return "\n".join(" ".join(replies.without_thoughts(item).split()) for item in answer)


def _read(path: Path, question: dict) -> str | None:
    """Return a kept answer; None if there is none or it cannot be read."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        entry = json.loads(path.read_text(encoding="utf-8"))
        if entry["asked"] == question and isinstance(entry["answer"], str):
            return entry["answer"]
    path.unlink(missing_ok=True)
    return None


def _keep(path: Path, question: dict, answer: str) -> str:
    """Write an answer unless another worker was first; return the one that counts."""
    with replacing(path, keep_first=True) as partial:
        text = json.dumps({"answer": answer, "asked": question}, ensure_ascii=False, indent=1)
        partial.write_text(text, encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["answer"]
