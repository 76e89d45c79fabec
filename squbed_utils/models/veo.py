"""Veo behind google-genai: a video is started, polled until it is ready, and paid by the second."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import tenacity
from google import genai
from google.genai import types
from google.genai.errors import APIError

from squbed_utils import playback, video
from squbed_utils.models import servers, spending
from squbed_utils.models.errors import Stop
from squbed_utils.video import Video
from squbed_utils.video_models import VEO_KEYS, Veo

BUSY = (429, 503)
"""Answers after which a request is made again."""

UNPAID = (APIError, *servers.UNREACHED)
"""Errors before a video is begun, which therefore cost nothing."""

FATAL = (401, 403, 404)
"""Answers that every other video would get too: a bad key, an unknown model."""

LARGEST, LONGEST_ERROR = 2**30, 300
"""The most bytes of an answer with its video, and the most characters of a quoted error."""

ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 8, 1.0, 60.0
"""Tries to start a video, and the seconds between them: doubled each time, up to the longest."""


def load(model: Veo, folder: Path) -> Callable[[list[str], list[int]], list]:
    """Return a function that makes a video for each prompt and seed, one after the other.

    The cost of one call's videos is booked before the first is started; videos that the service
    refuses to start are booked back. So an interrupted call counts as paid, and the budget is never
    passed. The service gets the seed modulo 2**32, which is all that it takes.
    """
    key = spending.api_key(model.model, VEO_KEYS)
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
        videos = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            end, operation = time.monotonic() + model.timeout, None
            try:
                operation = _start(client, model, prompt, seed)
                videos.append(_wait(client, model, operation, end))
            except Exception as error:
                reason = str(error) or type(error).__name__
                if operation is None and isinstance(error, UNPAID):
                    what = "is refused" if isinstance(error, APIError) else "cannot be reached"
                    reason = f"{model.model} {what}: {reason}"
                    fatal = getattr(error, "code", None) in FATAL or "API key" in reason
                    unpaid = len(prompts) - len(videos) if fatal else 1
                    spending.give_back(folder, {spending.VIDEOS: price * unpaid})
                    if fatal:
                        raise Stop(_without(key, reason)) from None
                videos.append(RuntimeError(_without(key, reason)))
        return videos

    return generate


def _without(key: str, reason: str) -> str:
    return reason.replace(key, "***")[:LONGEST_ERROR]


def _start(
    client: genai.Client, model: Veo, prompt: str, seed: int
) -> types.GenerateVideosOperation:
    """Start a video; try again where the service is busy or has not seen the request.

    google-genai's own retries would start it twice where an answer is lost.
    """
    config = types.GenerateVideosConfig(
        number_of_videos=1,
        seed=seed % 2**32,
        duration_seconds=model.seconds,
        aspect_ratio="16:9" if model.width > model.height else "9:16",
        resolution=f"{min(model.height, model.width)}p",
        generate_audio=False,
    )
    source = types.GenerateVideosSource(prompt=prompt)
    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(servers.UNREACHED)
        | tenacity.retry_if_exception(_is_busy),
        wait=tenacity.wait_exponential(FIRST_WAIT, max=LONGEST_WAIT),
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(model.timeout),
        sleep=time.sleep,
        reraise=True,
    )
    return patiently(client.models.generate_videos, model=model.model, source=source, config=config)


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, APIError) and error.code in BUSY


def _wait(
    client: genai.Client, model: Veo, operation: types.GenerateVideosOperation, end: float
) -> Video:
    """Poll a started video until it is ready, and read it."""
    while not operation.done:
        if time.monotonic() + model.poll > end:
            raise RuntimeError(f"no video after {model.timeout:g} s")
        time.sleep(model.poll)
        try:
            operation = client.operations.get(operation)
        except (APIError, httpx2.TransportError) as error:  # the video is paid, so poll again
            if isinstance(error, APIError) and not _is_busy(error):
                raise
    if operation.error:
        raise RuntimeError(f"the service failed: {operation.error}")
    answer = operation.response or types.GenerateVideosResponse()
    content = answer.generated_videos and answer.generated_videos[0].video
    if not content or not content.video_bytes:
        reasons = "; ".join(answer.rai_media_filtered_reasons or ["no reason given"])
        raise RuntimeError(f"the service returned no video: {reasons}")
    file = io.BytesIO(content.video_bytes)
    return video.decode(file, "the video of the service", hold=playback.MOST_BYTES)
