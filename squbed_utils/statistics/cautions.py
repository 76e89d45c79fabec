"""What a reader of an archive's numbers must know of its texts and its samples."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import OK
from squbed_utils.estimators.checks import first_twins, unit_rows

READERS = {"latent prompts": "the text encoder", "prompts": "CLIP"}
"""The encoder that reads each kind of text."""

UNTOLD = "differ in words and not in their embeddings"

NAMED = 10
"""Tasks that a caution names, at most."""

PLACES = 3
"""Groups of identical samples that a caution names of each task, at most."""


def cautions(archive: Archive) -> list[str]:
    """Return a sentence each on texts longer than an encoder's window and on identical samples."""
    sentences = []
    for read, texts in archive.texts().groupby("text", sort=False):
        cut = texts[texts.tokens > texts.window]
        if len(cut):
            sentences.append(
                f"longer than the window of {READERS[read]}, {cut.window.max():.0f} tokens: "
                f"{len(cut)} of {len(texts)} {read}, the longest of {cut.tokens.max():.0f}; such a "
                "text is embedded as the mean over its windows"
            )
    twins, count = repeated(archive), len(archive.tasks())
    for (what, why), tasks in twins.groupby(["what", "why"], sort=False):
        each = [f"{task} ({_few(list(rows.places))})" for task, rows in tasks.groupby("task")]
        sentences.append(f"{what} {why} in {len(each)} of {count} tasks: {named(each)}")
    return sentences


def repeated(archive: Archive) -> pd.DataFrame:
    """Return each task's samples that are identical and should not be: task, what, why, places.

    A row is a group of identical videos ("latent 0 samples 0, 1"), or of latent prompts whose words
    differ and whose embeddings do not ("latents 0, 1"). A latent prompt drawn twice is a draw like
    any other.
    """
    rows, texts = [], []
    for task in archive.tasks().task:
        text, videos = archive.embeddings(task)
        shown, drawn = pd.DataFrame({"embedding": []}), pd.DataFrame({"embedding": []})
        if _twins(np.concatenate(videos)):  # rare: only then look up their places
            shown = archive.videos(task)
            shown = shown[shown.status == OK]
        if text is not None and _twins(text):
            drawn = archive.latents(task).dropna(subset="prompt")
        for group in _twins(shown.embedding):
            places = shown.iloc[group].groupby("latent")["sample"]
            of = [f"latent {k} sample{'s' * (len(s) > 1)} {_joined(s)}" for k, s in places]
            rows.append((task, "videos", "are identical", " = ".join(of)))
        for group in _twins(drawn.embedding):
            twins = drawn.iloc[group]
            if twins.prompt.nunique() > 1:
                texts.append((task, "latent prompts", UNTOLD, f"latents {_joined(twins.latent)}"))
    return pd.DataFrame(rows + texts, columns=["task", "what", "why", "places"])


def refuse_unmeasured(tasks: list[str], identical: set[str]) -> None:
    """Warn of tasks that a ranking leaves out for identical samples; refuse if none remains."""
    left_out = named([task for task in tasks if task in identical])
    if len(identical) == len(tasks):
        raise ValueError(
            f"the samples of all {len(tasks)} tasks are identical ({left_out}), so nothing was "
            "measured that could be ranked; see whether seeds differ and files are not copies"
        )
    if identical:
        warnings.warn(
            f"{len(identical)} of {len(tasks)} tasks are in no ranking, as identical samples leave "
            f"nothing measured: {left_out}",
            UserWarning,
            stacklevel=3,
        )


def named(names: list[str]) -> str:
    """Return names joined by commas, the first `NAMED` of them."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _twins(embeddings: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the positions of each group of two or more identical embeddings."""
    if not len(embeddings):
        return []
    firsts = first_twins(unit_rows(np.stack(list(embeddings)), "embedding"))
    return [np.flatnonzero(firsts == i) for i in np.flatnonzero(np.bincount(firsts) > 1)]


def _few(places: list[str]) -> str:
    more = f"; and {len(places) - PLACES} more" if len(places) > PLACES else ""
    return "; ".join(places[:PLACES]) + more


def _joined(numbers: pd.Series) -> str:
    return ", ".join(map(str, numbers))
