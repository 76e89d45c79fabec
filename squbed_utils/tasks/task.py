"""What is asked: a prompt with its reference video, and where such tasks come from: captions."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from squbed_utils import video
from squbed_utils.archive.layout import SAFE_ID


@dataclass(frozen=True)
class Task:
    """One prompt and the reference video to which its videos are compared.

    `id` names files. `reference` is a path within the archive. `vagueness_rank` is people's, 1 =
    the least vague. `latent_prompts` are those of another archive, where they are not drawn.
    """

    id: str
    dataset: str
    category: str
    prompt: str
    reference: str | None
    vagueness_rank: float | None = None
    latent_prompts: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        if not SAFE_ID.fullmatch(self.id):
            raise ValueError(
                f"task id {self.id!r} cannot name a file; expected at most 100 letters, digits, "
                "dots, dashes and underscores, the first a letter or digit"
            )
        if not self.prompt.strip():
            raise ValueError(f"task {self.id} has an empty prompt; write one or drop the task")


@dataclass(frozen=True)
class Source:
    """The tasks of a dataset, a row a task of what is really uncertain (if known), and a report.

    The report says of sampled tasks how many there are by category, and what was left out.
    `write_reference` writes a task's reference video to a path.
    """

    tasks: list[Task]
    truth: pd.DataFrame | None
    report: dict | None
    write_reference: Callable[[Task, Path], None]


LARGEST = 2**30
"""The most bytes of a clip; a clip that claims more is damaged, or made to fill the memory."""

BROKEN = re.compile("[\ud800-\udfff\ufffd]")
"""What is no character of UTF-8, or was none before it was replaced."""

SMALLEST = 31
"""The fewest pixels a side: LPIPS needs them."""


class Unusable(ValueError):
    """A row, caption or clip that is left out; the message is the reason that is counted."""


@dataclass(frozen=True)
class Caption:
    """A caption on one line, the id of the task that it may become, and its clip's path."""

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
    if BROKEN.search(caption):
        raise Unusable("caption not in UTF-8")
    return " ".join(caption.split())


def check_clip(data: bytes) -> None:
    """Decode a clip from its first frame to its last; raise `Unusable` if that fails."""
    if not data:
        raise Unusable("empty video")
    try:
        frames = video.decode(io.BytesIO(data), "clip", hold=0).frames
    except ValueError as error:
        raise Unusable("video that cannot be decoded") from error
    if min(frames.shape[1:3]) < SMALLEST:
        raise Unusable(f"video smaller than {SMALLEST} x {SMALLEST}")
