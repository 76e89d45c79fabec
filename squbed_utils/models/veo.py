"""Veo behind google-genai: a video is started, polled until it is ready, and paid by the second."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
from google import genai
from google.genai import types
from google.genai.errors import APIError

from squbed_utils import video
from squbed_utils.models import servers, spending
from squbed_utils.models.errors import Stop
from squbed_utils.roles import VEO_KEYS, Veo
from squbed_utils.video import Video

BUSY = (429, 503)
"""Answers after which a request is made again."""

FATAL = (401, 403, 404)
"""Answers that every other video would get too: a bad key, an unknown model."""

UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout)
"""Errors before the service has seen the request: starting a video twice would be paid twice."""

LARGEST, LONGEST_ERROR = 2**30, 300
"""The most bytes of an answer with its video, and the most characters of a quoted error."""

ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 8, 1.0, 60.0
"""Tries of one request, and the seconds between them: doubled each time, up to the longest."""


def load(model: Veo, folder: Path | None) -> Callable[[list[str], list[int]], list]:
    """Return a function that makes a video for each prompt and seed, one after the other.

    The service gets the seed modulo 2**32, which is all that it takes. The cost of one call's
    videos is booked in the archive's account before the first video is started; videos that the
    service refuses to start are booked back. So an interrupted call counts as paid, and the budget
    is never passed. Without an archive's folder for the account this raises RuntimeError.
    """
    key = spending.api_key(model.model, VEO_KEYS)
    if folder is None:
        raise RuntimeError(f"{model.model} is paid; run it with `squbed collect`, which asks first")
    # Of the endpoints that google-genai knows, those for enterprises make videos.
    options = types.HttpOptions(
        base_url=model.base_url,
        timeout=round(model.timeout * 1000),
        httpx_client=servers.client(model.timeout, LARGEST),
    )
    client = genai.Client(enterprise=True, api_key=key, http_options=options)
    price = spending.cost(model, 1)

    def generate(prompts: list[str], seeds: list[int]) -> list[Video | Exception]:
        costs = {spending.VIDEOS: price * len(prompts)}
        spending.reserve(folder, costs, {spending.VIDEOS: model.budget})
        made = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            end = time.monotonic() + model.timeout
            try:
                made.append(_wait(client, model, _start(client, model, prompt, seed, end), end))
            except _Refused as error:
                fatal = error.code in FATAL or "API key" in str(error)
                unpaid = len(prompts) - len(made) if fatal else 1
                spending.give_back(folder, {spending.VIDEOS: price * unpaid})
                if fatal:
                    raise Stop(_without(key, error)) from None
                made.append(RuntimeError(_without(key, error)))
            except Exception as error:
                made.append(RuntimeError(_without(key, error)))
        return made

    return generate


class _Refused(Exception):
    """The service did not start a video, so nothing is paid."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def _without(key: str, error: Exception) -> str:
    return (str(error) or type(error).__name__).replace(key, "***")[:LONGEST_ERROR]


def _start(
    client: genai.Client, model: Veo, prompt: str, seed: int, end: float
) -> types.GenerateVideosOperation:
    config = types.GenerateVideosConfig(
        number_of_videos=1,
        seed=seed % 2**32,
        duration_seconds=model.seconds,
        aspect_ratio="16:9" if model.width > model.height else "9:16",
        resolution=f"{min(model.height, model.width)}p",
        generate_audio=False,
    )
    source = types.GenerateVideosSource(prompt=prompt)
    start = client.models.generate_videos
    try:
        return _patiently(
            lambda: start(model=model.model, source=source, config=config), end, UNREACHED
        )
    except APIError as error:
        raise _Refused(f"{model.model} is refused: {error}", error.code) from error
    except UNREACHED as error:
        raise _Refused(f"{model.model} cannot be reached: {error}") from error


def _wait(
    client: genai.Client, model: Veo, operation: types.GenerateVideosOperation, end: float
) -> Video:
    """Poll a started video until it is ready, and read it."""
    while not operation.done:
        if time.monotonic() + model.poll > end:
            raise RuntimeError(f"no video after {model.timeout:g} s")
        time.sleep(model.poll)
        asked = operation
        operation = _patiently(
            lambda asked=asked: client.operations.get(asked), end, (httpx2.TransportError,)
        )
    return _read(operation)


def _patiently(request: Callable, end: float, lost: tuple[type[Exception], ...]) -> object:
    """Make a request; make it again where the service is busy or the connection is lost."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return request()
        except APIError as error:
            if error.code not in BUSY:
                raise
            asked = _asked_wait(error)
        except lost:
            asked = None
        pause = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) if asked is None else asked
        if time.monotonic() + pause > end:
            break
        time.sleep(pause)
    return request()


def _asked_wait(error: APIError) -> float | None:
    """Return the seconds that the service asks to wait; None if it does not say."""
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _read(operation: types.GenerateVideosOperation) -> Video:
    """Read the video of a finished operation."""
    if operation.error:
        raise RuntimeError(f"the service failed: {operation.error}")
    answer = operation.response or types.GenerateVideosResponse()
    content = answer.generated_videos and answer.generated_videos[0].video
    if not content or not content.video_bytes:
        reasons = "; ".join(answer.rai_media_filtered_reasons or ["no reason given"])
        raise RuntimeError(f"the service returned no video: {reasons}")
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(content.video_bytes)
        file.flush()
        return video.read(file.name)
