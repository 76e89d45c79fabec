"""Clips and labels of scenes as tensors."""

import numpy as np
import torch

from squbed_utils.world.render import render
from squbed_utils.world.scenes import ATTRIBUTES


def clips(scenes: list[dict[str, str]], rng: np.random.Generator) -> torch.Tensor:
    """Render scenes onto the default device: float32, (batch, 3, 9, 32, 32), range [-1, 1]."""
    videos = np.stack([render(scene, rng) for scene in scenes])
    pixels = torch.from_numpy(videos).to(torch.get_default_device())
    return pixels.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def labels(scenes: list[dict[str, str]], attribute: str) -> torch.Tensor:
    """Return the index of each scene's value of one attribute: int64, shape (batch,)."""
    return torch.tensor([ATTRIBUTES[attribute].index(s[attribute]) for s in scenes])
