"""Captions of a dataset and the bytes of their clips; why one of them cannot be used."""

import io
from dataclasses import dataclass

from squbed_utils import video

LARGEST = 2**30
"""The most bytes of a clip; a clip that claims more is damaged, or made to fill the memory."""

SMALLEST = 31
"""The fewest pixels a side: LPIPS needs them."""


class Unusable(ValueError):
    """A row, caption or clip that is left out; the message is the reason that is counted."""


@dataclass(frozen=True)
class Caption:
    """A caption on one line, the id of the task that it may become, and where its clip lies.

    `clip` is a path within the dataset's folder of videos.
    """

    id: str
    text: str
    clip: str


def text_of(caption: object) -> str:
    """Return a caption on one line; raise `Unusable` if it is empty or no text.

    >>> text_of(" a cat   napping ")
    'a cat napping'
    """
    if not isinstance(caption, str) or not caption.strip():
        raise Unusable("empty caption")
    try:
        caption.encode()
    except UnicodeEncodeError as error:
        raise Unusable("caption not in UTF-8") from error
    if "\ufffd" in caption:
        raise Unusable("caption not in UTF-8")
    return " ".join(caption.split())


def check(data: bytes) -> None:
    """Decode a clip from its first frame to its last; raise `Unusable` if that fails."""
    if not data:
        raise Unusable("empty video")
    try:
        frames = video.decode(io.BytesIO(data), "clip", hold=0).frames
    except ValueError as error:
        raise Unusable("video that cannot be decoded") from error
    if min(frames.shape[1:3]) < SMALLEST:
        raise Unusable(f"video smaller than {SMALLEST} x {SMALLEST}")
