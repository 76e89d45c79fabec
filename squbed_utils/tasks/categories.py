"""Categories of captions: labelled by a language model, and evenly represented in a sample."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from squbed_utils.files import replacing

CATEGORIES = ("animals", "food", "games", "people", "other")
UNCLEAR = "unclear"
"""The label of a caption that cannot be put into one category; it becomes no task."""

BATCH = 20
"""Captions labelled between two writes of the cache."""

Label = Callable[[list[str]], list[str]]
"""Captions -> one of `CATEGORIES` each, or `UNCLEAR`."""

Item = TypeVar("Item")


def label_all(captions: Sequence[str], label: Label, cache: Path, *, asked: str) -> dict[str, str]:
    """Label captions, each once; what was labelled before an interruption is not asked again.

    Parameters
    ----------
    captions : sequence of str
    label : callable
        list of captions -> as many of `CATEGORIES` or `UNCLEAR`.
    cache : path
        A JSON file, rewritten after every `BATCH` captions. At the end it holds these captions
        alone, in order.
    asked : str
        Names the model and the instruction. Labels cached under another name are not used.

    Returns
    -------
    dict
        Caption -> category.

    Raises
    ------
    ValueError
        If the function returns anything else, or the cache is damaged.
    """
    known = _read_cache(cache, asked)
    labels = {caption: known[caption] for caption in captions if caption in known}
    todo = [caption for caption in dict.fromkeys(captions) if caption not in known]
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        labels |= zip(batch, _checked(label(batch), len(batch)), strict=True)
        _write_cache(cache, asked, known | labels)
    labels = {caption: labels[caption] for caption in captions}
    _write_cache(cache, asked, labels)
    return labels


def fill_evenly(queues: Mapping[str, Iterable[Item]], count: int) -> Iterator[tuple[str, Item]]:
    """Take items from categories as evenly as can be.

    The next item always comes from a category of which the fewest are taken, the first of those
    in the order of the mapping; one that runs short leaves its share to the others. Items are
    taken one at a time, so that a queue may be lazy.

    Parameters
    ----------
    queues : mapping
        Category -> its items.
    count : int
        Items to take; fewer where there are fewer.

    Yields
    ------
    tuple of str and item

    Examples
    --------
    >>> list(fill_evenly({"a": [1], "b": [2, 3, 4]}, 3))
    [('a', 1), ('b', 2), ('b', 3)]

    """
    left = {category: iter(items) for category, items in queues.items()}
    taken = Counter()
    while left and taken.total() < count:
        category = min(left, key=lambda name: taken[name])
        try:
            item = next(left[category])
        except StopIteration:
            del left[category]
            continue
        taken[category] += 1
        yield category, item


def _checked(labels: list[str], count: int) -> list[str]:
    unknown = [label for label in labels if label not in (*CATEGORIES, UNCLEAR)]
    if unknown:
        known = ", ".join((*CATEGORIES, UNCLEAR))
        raise ValueError(f"the labelling function returned {unknown[0]!r}; expected {known}")
    if len(labels) != count:
        raise ValueError(f"the labelling function returned {len(labels)} labels for {count}")
    return labels


def _read_cache(path: Path, asked: str) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        labels = stored["labels"] if stored["asked"] == asked else {}
        _checked(list(labels.values()), len(labels))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged; delete it, and captions are labelled again"
        ) from error
    return labels


def _write_cache(path: Path, asked: str, labels: Mapping[str, str]) -> None:
    with replacing(path) as partial:
        text = json.dumps({"asked": asked, "labels": labels}, ensure_ascii=False, indent=1)
        partial.write_text(text + "\n", encoding="utf-8")
