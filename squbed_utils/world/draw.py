"""Random scenes, captions and clips: the data that the checkpoints are trained on."""

import numpy as np

from squbed_utils.world.scenes import CATEGORIES, COVERAGE, PHRASINGS, complete, say


def seen_scene(rng: np.random.Generator) -> dict[str, str]:
    """Draw a scene as the video model's training set has them: shapes by their coverage."""
    level = rng.choice(list(COVERAGE), p=np.array(list(COVERAGE.values())) * len(CATEGORIES))
    category = rng.choice(list(CATEGORIES))
    shape = CATEGORIES[category][list(COVERAGE).index(level)]
    return complete({"shape": shape}, rng)


def any_scene(rng: np.random.Generator) -> dict[str, str]:
    """Draw a scene of the whole world, with every shape equally likely."""
    return complete({}, rng)


def partial(scene: dict[str, str], rng: np.random.Generator) -> dict[str, str]:
    """Leave out each attribute of a scene with probability one half."""
    return {a: v for a, v in scene.items() if rng.random() < 0.5}


def caption(scene: dict[str, str], rng: np.random.Generator) -> str:
    """Say a scene in a random phrasing."""
    return say(scene, int(rng.integers(len(PHRASINGS))))
