"""Requests to untrusted servers: their answers are limited in time and size."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

import httpx2

UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout)
"""Errors before a server has seen the request, which therefore costs nothing."""


def client(seconds: float, largest: int) -> httpx2.Client:
    """Return a client that follows no redirect, so that a key goes to no other host.

    `seconds` limits a whole request (httpx: each read alone), `largest` the bytes of an answer.
    """
    return httpx2.Client(transport=Bounded(seconds, largest), follow_redirects=False)


class Bounded(httpx2.HTTPTransport):
    """A transport that raises if an answer takes longer, or is larger, than its limits."""

    def __init__(self, seconds: float, largest: int) -> None:
        super().__init__()
        self.seconds, self.largest = seconds, largest

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request in a thread, which is abandoned when the time is over."""
        request.headers["accept-encoding"] = "identity"  # what is packed has no size yet
        end = time.monotonic() + self.seconds
        late = httpx2.ReadTimeout(f"no whole answer after {self.seconds:g} s", request=request)
        return within(self.seconds, lambda: self._whole(request, end), late)

    def _whole(self, request: httpx2.Request, end: float) -> httpx2.Response:
        response = super().handle_request(request)
        body, packed = bytearray(), response.headers.get("content-encoding", "identity")
        try:
            for part in response.stream:
                body += part
                if len(body) > self.largest or packed != "identity":
                    what = f"{packed} coded" if packed != "identity" else "too large"
                    raise httpx2.DecodingError(f"an answer that is {what}", request=request)
                if time.monotonic() > end:
                    break  # nobody waits any more
        finally:
            response.close()
        return httpx2.Response(response.status_code, headers=response.headers, content=bytes(body))


def within(seconds: float, ask: Callable[[], object], late: Exception) -> object:
    """Return what `ask` returns or raise what it raises; raise `late` if that takes too long."""
    answer = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    wait([answer], timeout=seconds)
    if not answer.done():
        raise late
    return answer.result()
