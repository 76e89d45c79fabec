"""Controls: scores that need no uncertainty to be measured, from an archive's tables and videos.

An estimator that does not beat them has shown nothing. Each takes an archive and returns a Series
of float by task, directed as uncertainties are: higher = less certain. PUNC, which asks a captioner
what the videos show, stands with them: it sees no embedding.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import OK
from squbed_utils.estimators.baselines import mean_pairwise_cosine
from squbed_utils.estimators.checks import unit_rows
from squbed_utils.files import seed_of

WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class NullScore:
    """A control: functions by component ("aleatoric", "epistemic" or "total"), and their unit.

    `label` names it in figures and tables, `source` is a short citation, and `reads_videos` says
    whether it reads videos and not only tables.
    """

    functions: dict[str, Callable[[Archive], pd.Series]]
    unit: str
    label: str
    source: str
    reads_videos: bool = False


def prompt_length(archive: Archive) -> pd.Series:
    """Return minus the number of words of each task's prompt: a short prompt leaves more open."""
    tasks = archive.tasks().set_index("task")
    return -tasks.prompt.str.split().str.len().astype(float)


def motion(archive: Archive) -> pd.Series:
    """Return how much each task's videos move: the mean absolute change of a pixel per frame.

    Of each latent prompt the first video that did not fail is read, and the mean taken over its
    pixels, colours and pairs of neighbouring frames, then over latent prompts: grey levels per
    frame, 0 (still) to 255. A task of single frames is left out; all are if the archive holds none
    of these videos, as one that was passed on without them. FileNotFoundError if it holds some.
    """
    videos = archive.videos(embeddings=False)
    first = videos[videos.status == OK].drop_duplicates(["task", "latent"])
    if not any(archive.inside(path).is_file() for path in first.path):
        return pd.Series(dtype=float)
    moves = []
    for path in first.path:
        frames = archive.read_video(path).astype(np.int16)
        moves.append(np.abs(np.diff(frames, axis=0)).mean() if len(frames) > 1 else np.nan)
    return pd.Series(moves, first.index).groupby(first.task, sort=False).mean().dropna()


def random_number(archive: Archive) -> pd.Series:
    """Return a number for each task that its name alone decides: uniform from 0 to 1."""
    tasks = archive.tasks().task
    draws = [np.random.default_rng(seed_of("control", task)).random() for task in tasks]
    return pd.Series(draws, index=tasks)


def alignment(archive: Archive) -> pd.Series:
    """Return minus the mean cosine of videos to their prompt, in CLIP's space: -1 (agrees) to 1.

    The mean of `clip_prompt` over videos that did not fail (the overall consistency of VBench,
    Huang et al. 2024, which takes another encoder of both). It is an accuracy that needs no
    reference, and no measure of spread.
    """
    videos = archive.videos(embeddings=False)
    return -videos[videos.status == OK].groupby("task", sort=False).clip_prompt.mean().dropna()


def punc_aleatoric(archive: Archive) -> pd.Series:
    """Return 1 - precision of each task's captions: what videos show that was not asked for.

    The precision of a caption is the share of its words that the task's prompt has, and the mean
    is taken over videos that did not fail (PUNC, Franchi et al. 2025, arXiv 2412.03178, with words
    compared as ROUGE-1 does). A captioner names what the prompt left open, so a vague prompt has
    little precision; so has a talkative captioner.

    From 0 (every word was asked for) to 1. A task with a video without a caption, as all are
    without a captioner, is left out; an empty caption has precision 0.
    """
    return 1 - _word_overlaps(archive, "precision")


def punc_epistemic(archive: Archive) -> pd.Series:
    """Return 1 - recall of each task's captions: what was asked for that videos do not show.

    The recall of a caption is the share of the prompt's words that it has; else as
    `punc_aleatoric`: 0 (captions say every word) to 1. Words that a captioner never uses count as
    not shown.
    """
    return 1 - _word_overlaps(archive, "recall")


CONTROLS: dict[str, NullScore] = {
    "prompt_length": NullScore({"aleatoric": prompt_length}, "words", "Prompt length", "Control"),
    "motion": NullScore(
        {"epistemic": motion}, "grey levels per frame", "Pixel motion", "Control", reads_videos=True
    ),
    "random": NullScore({"total": random_number}, "dimensionless", "Random number", "Control"),
    "alignment": NullScore(
        {"total": alignment},
        "dimensionless",
        "Alignment to the prompt",
        "Huang et al. 2024 (VBench)",
    ),
    "punc": NullScore(
        {"aleatoric": punc_aleatoric, "epistemic": punc_epistemic},
        "share of words",
        "PUNC",
        "Franchi et al. 2025, arXiv 2412.03178",
    ),
}


def _word_overlaps(archive: Archive, share: str) -> pd.Series:
    """Return the mean precision or recall of each task's captions against its prompt."""
    videos = archive.videos(embeddings=False)
    prompts = archive.tasks().set_index("task").prompt
    means = {}
    for task, captions in videos[videos.status == OK].groupby("task", sort=False).caption:
        if captions.notna().all():
            means[task] = np.mean([word_overlap(text, prompts[task])[share] for text in captions])
    return pd.Series(means, dtype=float)


def word_overlap(text: str, reference: str) -> dict[str, float]:
    """Compare the words of two texts as ROUGE-1 does, without stemming and without case.

    precision and recall are the shared words as a share of those of `text` and of `reference`, 0 of
    no words; a word that each text has k times, or more often, is shared k times.

    >>> word_overlap("A red ball on a table", "a red cube")
    {'precision': 0.333..., 'recall': 0.666...}
    """
    ours, theirs = (Counter(WORD.findall(t.casefold())) for t in (text, reference))
    shared = (ours & theirs).total()
    return {"precision": shared / max(ours.total(), 1), "recall": shared / max(theirs.total(), 1)}


def word_spreads(latents: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the spread of each task's latent prompts by measures that know no meaning, by name.

    It is 1 - mean pairwise cosine of bags of words, and of sums of random word vectors.
    """
    groups = latents.reset_index(drop=True).groupby("task", sort=False).groups
    words = CountVectorizer(token_pattern=r"\S+").fit_transform(latents.prompt).toarray()
    rng = np.random.default_rng(seed_of("truth", "controls"))
    vectors = rng.normal(size=(words.shape[1], 128))
    spreads = {}
    for name, x in {"bag of words": words, "random word vectors": words @ vectors}.items():
        unit = unit_rows(x, f"{name} embedding")
        cosines = {task: mean_pairwise_cosine(unit[rows]) for task, rows in groups.items()}
        spreads[name] = 1 - pd.Series(cosines, dtype=float)
    return spreads
