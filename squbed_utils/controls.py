"""Controls: scores that need no uncertainty to be measured, from an archive's tables and videos.

An estimator that does not beat them has shown nothing. Each control has one component; they are
directed as uncertainties are, higher = less certain.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from squbed_utils.samples import OK, Archive
from squbed_utils.seeds import seed_of


@dataclass(frozen=True)
class Control:
    """A control.

    Attributes
    ----------
    component : str
        "aleatoric", "epistemic" or "total".
    function : callable
        Archive -> Series of values by task.
    unit : str
    label : str
        Its name in a figure or a table.
    source : str
        Where it comes from, as a short citation.
    reads_videos : bool
        Whether it reads videos and not only tables.

    """

    component: str
    function: Callable[[Archive], pd.Series]
    unit: str
    label: str
    source: str
    reads_videos: bool = False


def prompt_length(archive: Archive) -> pd.Series:
    """Return minus the number of words of each task's prompt: a short prompt leaves more open.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    Series of float, by task
        Words, below 0.
    """
    tasks = archive.tasks().set_index("task")
    return -tasks.prompt.str.split().str.len().astype(float)


def motion(archive: Archive) -> pd.Series:
    """Return how much each task's videos move: the mean absolute change of a pixel per frame.

    Of each latent prompt the first video that did not fail is read, and the mean taken over its
    pixels, colours and pairs of neighbouring frames, then over latent prompts.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    Series of float, by task
        Grey levels per frame, 0 (still) to 255. A task of single frames is left out; all are if
        the archive holds none of these videos, as one that was passed on without them.

    Raises
    ------
    FileNotFoundError
        If it holds some of them only; names the first that is missing.
    ValueError
        If a video is damaged.
    """
    videos = archive.videos()
    first = videos[videos.status == OK].drop_duplicates(["task", "latent"])
    if not any(archive.inside(path).is_file() for path in first.path):
        return pd.Series(dtype=float)
    moves = pd.Series([_motion(archive.read_video(path)) for path in first.path], first.index)
    return moves.groupby(first.task, sort=False).mean().dropna()


def random_number(archive: Archive) -> pd.Series:
    """Return a number for each task that its name alone decides.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    Series of float, by task
        Uniform from 0 to 1; the same in every archive.
    """
    tasks = archive.tasks().task
    draws = [np.random.default_rng(seed_of("control", task)).random() for task in tasks]
    return pd.Series(draws, index=tasks)


def alignment(archive: Archive) -> pd.Series:
    """Return minus the mean cosine of each task's videos to its prompt, in CLIP's space.

    The mean of `clip_prompt` over videos that did not fail (the overall consistency of VBench,
    Huang et al. 2024, which takes another encoder of both). It is an accuracy that needs no
    reference, and no measure of spread.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    Series of float, by task
        -1 (agrees) to 1.
    """
    videos = archive.videos()
    return -videos[videos.status == OK].groupby("task", sort=False).clip_prompt.mean().dropna()


CONTROLS: dict[str, Control] = {
    "prompt_length": Control("aleatoric", prompt_length, "words", "Prompt length", "Control"),
    "motion": Control(
        "epistemic",
        motion,
        "grey levels per frame",
        "Pixel motion",
        "Control",
        reads_videos=True,
    ),
    "random": Control("total", random_number, "dimensionless", "Random number", "Control"),
    "alignment": Control(
        "total",
        alignment,
        "dimensionless",
        "Alignment to the prompt",
        "Huang et al. 2024 (VBench)",
    ),
}


def _motion(frames: np.ndarray) -> float:
    """Return the mean absolute difference of neighbouring frames; NaN for a single frame."""
    if len(frames) < 2:
        return np.nan
    return float(np.abs(np.diff(frames.astype(np.int16), axis=0)).mean())
