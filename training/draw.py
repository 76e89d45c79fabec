"""Random scenes, captions and clips: the data that the checkpoints are trained on."""

import numpy as np
import torch

from squbed_utils.world.render import render
from squbed_utils.world.scenes import ATTRIBUTES, TRAINING_PHRASINGS, complete, say


def any_scene(rng: np.random.Generator) -> dict[str, str]:
    """Draw a scene of the whole world, with every subject equally likely."""
    return complete({}, rng)


def partial(scene: dict[str, str], rng: np.random.Generator) -> dict[str, str]:
    """Leave out each attribute of a scene with probability one half."""
    return {a: v for a, v in scene.items() if rng.random() < 0.5}


def caption(scene: dict[str, str], rng: np.random.Generator) -> str:
    """Say a scene in a random phrasing of those that models are trained with."""
    return say(scene, int(rng.integers(len(TRAINING_PHRASINGS))))


def clips(scenes: list[dict[str, str]], rng: np.random.Generator) -> torch.Tensor:
    """Render scenes onto the default device: float32, (batch, 3, 9, 32, 32), range [-1, 1]."""
    videos = np.stack([render(scene, rng) for scene in scenes])
    pixels = torch.from_numpy(videos).to(torch.get_default_device())
    return pixels.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def labels(scenes: list[dict[str, str]], attribute: str) -> torch.Tensor:
    """Return the index of each scene's value of one attribute: int64, shape (batch,)."""
    return torch.tensor([ATTRIBUTES[attribute].index(s[attribute]) for s in scenes])
