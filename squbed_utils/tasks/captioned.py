"""Tasks of a dataset: captions drawn, labelled, and sampled evenly over the categories.

From the captions that have a clip, `pool` are drawn and labelled. Tasks are taken from them one at
a time, each from a category with the fewest tasks so far, and only if its clip can be decoded.
"""

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import ROLES, reference_path
from squbed_utils.files import path_of, replacing, seed_of, write_text
from squbed_utils.roles import Dataset, Panda70M, VidGen1M
from squbed_utils.tasks import like, panda70m, prompts, shapes_world, vidgen1m
from squbed_utils.tasks.task import Caption, Source, Task, Unusable, check_clip

CATEGORIES = ("animals", "food", "games", "people", "other")

UNCLEAR = "unclear"
"""The label of a caption that fits no single category; it becomes no task."""

BATCH = 20
Label = Callable[[list[str]], list[str]]
"""Captions -> one of `CATEGORIES` each, or `UNCLEAR`."""

Item = TypeVar("Item")


def label_all(captions: Sequence[str], label: Label, cache: Path, *, asked: str) -> dict[str, str]:
    """Return caption -> category; each caption is labelled once, also across interruptions.

    `cache` is a JSON file, rewritten after every `BATCH` captions. `asked` names the model and the
    instruction; labels cached under another name are not used.
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
    """Take `count` items from categories (category -> items) as evenly as possible.

    Each item comes from a category with the fewest items taken so far; one that runs short leaves
    its share to the others. Items are taken one at a time, so a queue may be lazy.

    >>> list(fill_evenly({"a": [1], "b": [2, 3, 4]}, 3))
    [('a', 1), ('b', 2), ('b', 3)]
    """
    queues = {category: iter(items) for category, items in queues.items()}
    taken = Counter()
    while queues and taken.total() < count:
        category = min(queues, key=lambda name: taken[name])
        try:
            item = next(queues[category])
        except StopIteration:
            del queues[category]
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
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged; delete it, and captions are labelled again"
        ) from error
    return labels


def _write_cache(path: Path, asked: str, labels: Mapping[str, str]) -> None:
    text = json.dumps({"asked": asked, "labels": labels}, ensure_ascii=False, indent=1)
    write_text(path, text + "\n")


READERS = {"panda70m": panda70m, "vidgen1m": vidgen1m}
"""Kind of dataset -> the module with its `captions` and `read_clip`."""

WHOLE = {"world": shapes_world, "prompts": prompts, "like": like}
"""Kind of dataset of which nothing is sampled -> the module that reads all of it."""


def read(dataset: Dataset, *, label: Label, cache: Path, asked: str) -> Source:
    """Read the tasks that a profile asks for; the options are those of `label_all`."""
    if dataset.kind in WHOLE:
        return WHOLE[dataset.kind].read(dataset)
    left_out, unusable = Counter(), {category: Counter() for category in CATEGORIES}
    pool, count = _draw(dataset, left_out)
    labels = label_all([caption.text for caption in pool], label, cache, asked=asked)
    queues = {
        category: _usable(dataset, [c for c in pool if labels[c.text] == category], counts)
        for category, counts in unusable.items()
    }
    taken = list(fill_evenly(queues, dataset.tasks))
    report = {
        "dataset": dataset.kind,
        "asked_for": dataset.tasks,
        "captions": count,
        "left_out": dict(sorted(left_out.items())),
        "pool": _by_category(labels[caption.text] for caption in pool),
        "unusable": {c: dict(sorted(reasons.items())) for c, reasons in unusable.items()},
        "tasks": _by_category(category for category, _ in taken),
        "clips": {caption.id: caption.clip for _, caption in taken},
    }
    if not taken:
        raise ValueError(f"{path_of(dataset.path)} gives no task: {describe(report)}")
    tasks = [
        Task(caption.id, dataset.kind, category, caption.text, reference_path(caption.id))
        for category, caption in taken
    ]
    return _source(dataset, tasks, report)


def size(dataset: Dataset) -> int:
    """Return how many tasks a dataset is asked for."""
    return len(WHOLE[dataset.kind].read(dataset).tasks) if dataset.kind in WHOLE else dataset.tasks


def roles_of(dataset: Dataset) -> list[str]:
    """Return the roles of a run on these tasks, theirs first: without references no LPIPS."""
    alone = dataset.kind in ("prompts", "like") and not any(
        task.reference for task in WHOLE[dataset.kind].read(dataset).tasks
    )
    return ["dataset", *(role for role in ROLES if not (alone and role == "lpips"))]


def available(dataset: Panda70M | VidGen1M) -> int:
    """Count the captions that have a clip, up to the tasks asked for."""
    captions = READERS[dataset.kind].captions(dataset, Counter())
    return sum(1 for _ in islice(captions, dataset.tasks))


def stored(dataset: Dataset, archive: Archive) -> Source:
    """Return the tasks that an archive of this dataset holds, without sampling them again."""
    if dataset.kind in WHOLE:
        return WHOLE[dataset.kind].read(dataset)
    report = archive.report()
    if report is None:
        raise ValueError(
            f"{archive.folder} has no dataset.json, which says where its references come from; "
            "put it back, or choose another --output"
        )
    rows = archive.tasks().to_dict("records")
    return _source(dataset, [like.task_of(row) for row in rows], report)


def describe(report: dict) -> str:
    """Say in one line how many tasks of each category there are, and what was left out and why.

    >>> describe({"dataset": "panda70m", "asked_for": 3, "captions": 9, "left_out": {"no video": 4},
    ...           "pool": {"food": 5}, "unusable": {"food": {"empty video": 1}, "other": {}},
    ...           "tasks": {"food": 2}})
    'panda70m: 2 of 3 tasks (food 2) from 5 labelled captions (food 5) of 9; left out: no video 4; \
unusable when sampled: food: empty video 1'
    """
    drawn, taken = report["pool"], report["tasks"]
    unusable = {c: reasons for c, reasons in report["unusable"].items() if reasons}
    looked_at = "; ".join(f"{category}: {_counts(unusable[category])}" for category in unusable)
    return (
        f"{report['dataset']}: {sum(taken.values())} of {report['asked_for']} tasks "
        f"({_counts(taken)}) from {sum(drawn.values())} labelled captions ({_counts(drawn)}) of "
        f"{report['captions']}; left out: {_counts(report['left_out'])}; "
        f"unusable when sampled: {looked_at or 'none'}"
    )


def _draw(dataset: Panda70M | VidGen1M, left_out: Counter) -> tuple[list[Caption], int]:
    """Draw the pool in an order that the seed fixes, and count the captions to choose from."""
    count = 0

    def captions() -> Iterator[Caption]:
        nonlocal count
        for caption in READERS[dataset.kind].captions(dataset, left_out):
            count += 1
            yield caption

    pool = heapq.nsmallest(dataset.pool, captions(), lambda c: seed_of(dataset.seed, c.id))
    return pool, count


def _usable(
    dataset: Panda70M | VidGen1M, captions: Iterable[Caption], counts: Counter
) -> Iterator[Caption]:
    """Yield captions whose clip can be decoded, each when its turn comes; count the others."""
    for caption in captions:
        try:
            check_clip(_read_clip(dataset, caption))
        except Unusable as reason:
            counts[str(reason)] += 1
        else:
            yield caption


def _source(dataset: Panda70M | VidGen1M, chosen: list[Task], report: dict) -> Source:
    """Return sampled tasks as a source, which copies their clips byte for byte."""

    def write_reference(task: Task, path: Path) -> None:
        clip = report["clips"][task.id]
        try:
            data = _read_clip(dataset, Caption(task.id, task.prompt, clip))
            check_clip(data)
        except Unusable as reason:
            raise ValueError(
                f"task {task.id} needs its clip {clip} in {path_of(dataset.videos)} (there is: "
                f"{reason}); put it back as it was"
            ) from reason
        with replacing(path) as partial:
            partial.write_bytes(data)

    return Source(chosen, None, report, write_reference)


def _read_clip(dataset: Panda70M | VidGen1M, caption: Caption) -> bytes:
    return READERS[dataset.kind].read_clip(path_of(dataset.videos), caption)


def _by_category(categories: Iterable[str]) -> dict[str, int]:
    counts = Counter(categories)
    return {c: counts[c] for c in (*CATEGORIES, UNCLEAR) if c != UNCLEAR or counts[c]}


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
