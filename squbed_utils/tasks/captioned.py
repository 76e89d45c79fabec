"""Tasks of a dataset: captions drawn, labelled, and sampled evenly over the categories.

Of the captions whose clips are there, `pool` are drawn and labelled. Tasks are taken from them one
at a time, each from a category of which the fewest are taken, and only if its clip can be decoded.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import reference_path
from squbed_utils.files import path_of, replacing, seed_of
from squbed_utils.roles import Dataset, Panda70M, VidGen1M, World
from squbed_utils.tasks import clips, panda70m, shapes_world, vidgen1m
from squbed_utils.tasks.categories import CATEGORIES, UNCLEAR, Label, fill_evenly, label_all
from squbed_utils.tasks.clips import Caption, Unusable
from squbed_utils.tasks.task import Source, Task

READERS = {"panda70m": panda70m, "vidgen1m": vidgen1m}
"""Kind of dataset -> the module with its `captions` and `read_clip`."""


def read(dataset: Dataset, *, label: Label, cache: Path, asked: str) -> Source:
    """Read the tasks that a profile asks for.

    Parameters
    ----------
    dataset : World, Panda70M or VidGen1M
        A profile's.
    label, cache, asked
        As `categories.label_all` takes them; the shapes world has categories of its own.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError
        If the dataset's table or its videos are not where the profile says.
    ValueError
        If the table is not of the dataset's format, or no caption has a clip that can be used.
    """
    if isinstance(dataset, World):
        return shapes_world.read(dataset)
    left_out, unusable = Counter(), {category: Counter() for category in CATEGORIES}
    pool, found = _draw(dataset, left_out)
    labels = label_all([caption.text for caption in pool], label, cache, asked=asked)
    taken = _sample(dataset, pool, labels, unusable)
    report = {
        "dataset": dataset.kind,
        "asked_for": dataset.tasks,
        "captions": found,
        "left_out": _sorted(left_out),
        "pool": _by_category(labels[caption.text] for caption in pool),
        "unusable": {category: _sorted(reasons) for category, reasons in unusable.items()},
        "tasks": _by_category(category for category, _ in taken),
        "clips": {caption.id: caption.clip for _, caption in taken},
    }
    if not taken:
        raise ValueError(f"{path_of(dataset.path)} gives no task: {describe(report)}")
    return _source(dataset, [_task(dataset, *one) for one in taken], report)


def size(dataset: Dataset) -> int:
    """Return how many tasks a dataset is asked for.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read`, for the shapes world.
    """
    return len(shapes_world.read(dataset).tasks) if isinstance(dataset, World) else dataset.tasks


def available(dataset: Panda70M | VidGen1M) -> int:
    """Count the captions whose clips are there, up to the tasks asked for.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read`.
    """
    captions = READERS[dataset.kind].captions(dataset, Counter())
    return sum(1 for _ in islice(captions, dataset.tasks))


def stored(dataset: Dataset, archive: Archive) -> Source:
    """Return the tasks that an archive of this dataset holds, without sampling them again.

    Parameters
    ----------
    dataset : World, Panda70M or VidGen1M
    archive : Archive

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If the archive has lost its ``dataset.json``, or that is damaged.
    """
    if isinstance(dataset, World):
        return shapes_world.read(dataset)
    report = archive.report()
    if report is None:
        raise ValueError(
            f"{archive.folder} has no dataset.json, which says where its references come from; "
            "put it back, or choose another --output"
        )
    chosen = [
        Task(row.task, row.dataset, row.category, row.prompt, row.reference)
        for row in archive.tasks().itertuples()
    ]
    return _source(dataset, chosen, report)


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
    """Draw the pool, in an order of its own, and count the captions that it is drawn from."""
    number = count()
    captions = READERS[dataset.kind].captions(dataset, left_out)
    keyed = ((seed_of(dataset.seed, c.id), next(number), c) for c in captions)
    pool = [caption for _, _, caption in heapq.nsmallest(dataset.pool, keyed)]
    return pool, next(number)


def _task(dataset: Panda70M | VidGen1M, category: str, caption: Caption) -> Task:
    reference = reference_path(caption.id)
    return Task(caption.id, dataset.kind, category, caption.text, reference)


def _sample(
    dataset: Panda70M | VidGen1M,
    pool: list[Caption],
    labels: dict[str, str],
    unusable: dict[str, Counter],
) -> list[tuple[str, Caption]]:
    """Take captions evenly; a clip is looked at when its turn comes, so few are decoded."""
    queues = {
        category: _usable(dataset, [c for c in pool if labels[c.text] == category], counts)
        for category, counts in unusable.items()
    }
    return list(fill_evenly(queues, dataset.tasks))


def _usable(
    dataset: Panda70M | VidGen1M, captions: Iterable[Caption], counts: Counter
) -> Iterator[Caption]:
    for caption in captions:
        try:
            clips.check(_read_clip(dataset, caption))
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
            clips.check(data)
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


def _sorted(counts: Counter) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
