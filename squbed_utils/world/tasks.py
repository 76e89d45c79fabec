"""The factorial task table of the shapes world: coverage by what is left out by category."""

import itertools
from collections.abc import Iterator

import numpy as np

from squbed_utils.seeds import seed_of
from squbed_utils.world.draw import caption
from squbed_utils.world.scenes import ATTRIBUTES, CATEGORIES, COVERAGE, complete, entropy, say

OPTIONAL = tuple(a for a in ATTRIBUTES if a != "shape")
"""What a task's prompt may leave out; the subject (the shape) is always named."""

COLUMNS = (
    *("task", "dataset", "category", "prompt", "reference_scene", "reference_seed"),
    *("coverage", "subject", "left_out", "true_entropy", "vagueness_rank"),
)


def task_table() -> Iterator[dict[str, object]]:
    """Yield the 75 tasks, one row each, with their truth.

    Three coverage levels by five numbers of attributes left out by five categories. The set left
    out depends on the last two alone, so that the true entropy and the coverage are independent.
    The vagueness rank, 1 (least vague) to 5, is one more than the number left out.
    """
    for (i, coverage), left_out, (j, category) in itertools.product(
        enumerate(COVERAGE), range(len(OPTIONAL) + 1), enumerate(CATEGORIES)
    ):
        subject = CATEGORIES[category][i]
        name = f"{coverage}-{left_out}-{category}"
        rng = np.random.default_rng(seed_of("task", name))
        dropped = _left_out(left_out, j)
        full = complete({"shape": subject}, rng)
        scene = {a: v for a, v in full.items() if a not in dropped}
        row = (
            *(name, "shapes-world", category, caption(scene, rng)),
            *(say(full), seed_of("reference", name)),
            *(coverage, subject, left_out, round(entropy(scene), 6), left_out + 1),
        )
        yield dict(zip(COLUMNS, row, strict=True))


def _left_out(count: int, turn: int) -> tuple[str, ...]:
    """Return the attributes left out: the sets of a size, taken in turn over the categories."""
    sets = list(itertools.combinations(OPTIONAL, count))
    return sets[turn % len(sets)]
