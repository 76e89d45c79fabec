"""The tasks of the shapes world: the deal of clips, three prompts a subject, and their truth."""

import csv
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from squbed_utils.files import seed_of
from squbed_utils.world.scenes import (
    ATTRIBUTES,
    CATEGORIES,
    TASK_PHRASINGS,
    TRAINING_PHRASINGS,
    Scene,
    complete,
    missing,
    say,
)

LEVELS = (0, 1, 4, 16, 64, 256, 1024, 4096)
"""Distinct clips of a subject that the video model is shown: one subject of every family has each
level, and a second one has none."""

RARE = 64
"""Most clips of a subject that is called rare; one with none is called never, others common."""

ADDED = 8, 1024
"""How many of the subjects that were never shown are shown later on, and in how many clips."""

_S, _C, _M, _B = "size", "colour", "motion", "background"
LEFT_OUT = (
    ((), (_S,), (_S, _C)),
    ((_S, _C, _M), (_S, _C, _M, _B), ()),
    ((_C,), (_M, _B), (_S, _C, _B)),
    ((_S, _C, _M, _B), (), (_M,)),
    ((_S, _M), (_C, _M, _B), (_S, _C, _M, _B)),
    ((), (_B,), (_C, _B)),
)
"""What the three prompts of each of six subjects leave out; the subject is always named. The six
(twelve, of those never shown) subjects of every level of coverage share it out among them, so that
coverage and true entropy are independent."""

COLUMNS = (
    *("task", "dataset", "category", "prompt", "reference_scene", "reference_seed"),
    *("coverage", "subject", "clips", "left_out", "true_entropy", "vagueness_rank"),
)


def deal(name: str = "first") -> dict[str, int]:
    """Deal to each subject the number of clips that the video model is shown, seeded by a name."""
    rng = np.random.default_rng(seed_of("deal", name))
    return {
        subject: int(level)
        for subjects in CATEGORIES.values()
        for subject, level in zip(subjects, rng.permutation((0, *LEVELS)), strict=True)
    }


def with_added(coverage: dict[str, int]) -> dict[str, int]:
    """Return a coverage in which some of the subjects that were never shown are shown."""
    never = sorted(subject for subject, count in coverage.items() if count == 0)
    count, clips = ADDED
    rng = np.random.default_rng(seed_of("added", *never))
    return coverage | {str(s): clips for s in rng.permutation(never)[:count]}


def coverage_of(clips: int) -> str:
    """Say in a word how well a number of training clips covers a subject.

    >>> coverage_of(64)
    'rare'
    """
    return "never" if clips == 0 else "rare" if clips <= RARE else "common"


def category_of(shape: str) -> str:
    """Return the family of a subject.

    >>> category_of("fish")
    'thing'
    """
    return next(name for name, shapes in CATEGORIES.items() if shape in shapes)


def completions(scene: Scene) -> Iterator[dict[str, str]]:
    """Yield every full scene compatible with a partial one."""
    choices = [(scene[a],) if a in scene else ATTRIBUTES[a] for a in ATTRIBUTES]
    for values in itertools.product(*choices):
        yield dict(zip(ATTRIBUTES, values, strict=True))


def entropy(scene: Scene) -> float:
    """Return the entropy of the scene that a prompt leaves open, in nats, range [0, log 17280].

    Attributes are independent and uniform, so it is the sum of log(number of values) over the
    attributes left out.

    >>> round(entropy({"shape": "circle", "size": "small", "motion": "up"}), 4)
    3.4657
    """
    return sum(math.log(len(ATTRIBUTES[a])) for a in missing(scene))


def task_table(
    shown: dict[str, int] | None = None, *, seed: int = 0
) -> Iterator[dict[str, object]]:
    """Yield the 162 tasks, one row each, with their truth: three of each subject.

    `shown` is subject -> number of training clips, for a model that was shown others than the deal
    says. Another `seed` draws other scenes, phrasings and references, and deals what is left out to
    other subjects. The vagueness rank, 1 (least vague) to 5, is one more than the number left out.
    """
    dealt, draw = deal(), (seed,) if seed else ()
    for subject, left_out in _design(dealt, seed):
        clips = (shown or dealt)[subject]
        name = f"{subject}-{len(left_out)}"
        rng = np.random.default_rng(seed_of("task", name, *draw))
        full = complete({"shape": subject}, rng)
        scene = {a: v for a, v in full.items() if a not in left_out}
        row = (
            *(name, "shapes-world", category_of(subject), task_caption(scene, rng)),
            *(say(full), seed_of("reference", name, *draw)),
            *(coverage_of(clips), subject, clips),
            *(len(left_out), round(entropy(scene), 6), len(left_out) + 1),
        )
        yield dict(zip(COLUMNS, row, strict=True))


def _design(dealt: dict[str, int], seed: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield subject and what its prompt leaves out, from the most clips to none.

    The families take the rows of ``LEFT_OUT`` in another turn on every level, and by every seed.
    """
    for level, clips in enumerate(sorted(LEVELS, reverse=True)):
        subjects = [s for family in CATEGORIES.values() for s in family if dealt[s] == clips]
        again = len(subjects) // len(CATEGORIES)
        for number, subject in enumerate(subjects):
            family, second = divmod(number, again)
            for left_out in LEFT_OUT[(family + level + second + seed) % len(LEFT_OUT)]:
                yield subject, left_out


def task_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Say a scene in a random phrasing of those that no model is trained with."""
    return say(scene, len(TRAINING_PHRASINGS) + int(rng.integers(len(TASK_PHRASINGS))))


def write_tasks(path: Path, shown: dict[str, int] | None = None, *, seed: int = 0) -> None:
    """Write the task table with its truth as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(task_table(shown, seed=seed))
