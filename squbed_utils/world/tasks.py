"""The factorial task table of the shapes world: coverage by what is left out by category."""

import itertools
from collections.abc import Iterator

import numpy as np

from squbed_utils.files import seed_of
from squbed_utils.world.draw import caption
from squbed_utils.world.scenes import ATTRIBUTES, CATEGORIES, COVERAGE, complete, entropy, say

DRAWS = 2
"""Tasks of each coverage, number left out and category: ten a cell of coverage and number."""

OPTIONAL = tuple(a for a in ATTRIBUTES if a != "shape")
"""What a task's prompt may leave out; the subject (the shape) is always named."""

COLUMNS = (
    *("task", "dataset", "category", "prompt", "reference_scene", "reference_seed"),
    *("coverage", "subject", "left_out", "true_entropy", "vagueness_rank"),
)


def task_table() -> Iterator[dict[str, object]]:
    """Yield the 150 tasks, one row each, with their truth.

    Three coverage levels by five numbers of attributes left out by five categories, two draws of
    each. The set left out does not depend on the coverage, so that the true entropy and the
    coverage are independent. The vagueness rank, 1 (least vague) to 5, is one more than the number
    left out.
    """
    for (i, coverage), left_out, draw, (j, category) in itertools.product(
        enumerate(COVERAGE), range(len(OPTIONAL) + 1), range(DRAWS), enumerate(CATEGORIES)
    ):
        subject = CATEGORIES[category][i]
        name = f"{coverage}-{left_out}-{category}" + (f"-{draw + 1}" if draw else "")
        rng = np.random.default_rng(seed_of("task", name))
        dropped = _left_out(left_out, draw * len(CATEGORIES) + j)
        full = complete({"shape": subject}, rng)
        scene = {a: v for a, v in full.items() if a not in dropped}
        row = (
            *(name, "shapes-world", category, caption(scene, rng)),
            *(say(full), seed_of("reference", name)),
            *(coverage, subject, left_out, round(entropy(scene), 6), left_out + 1),
        )
        yield dict(zip(COLUMNS, row, strict=True))


def _left_out(count: int, turn: int) -> tuple[str, ...]:
    """Return the attributes left out: the sets of one size, in turn over the categories."""
    sets = list(itertools.combinations(OPTIONAL, count))
    return sets[turn % len(sets)]
