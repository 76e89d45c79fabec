"""What the recogniser sees in a video: the five attributes of its scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from squbed_utils.world.scenes import ATTRIBUTES

if TYPE_CHECKING:
    from transformers import ResNetForImageClassification

VALUES = [f"{a}:{v}" for a, values in ATTRIBUTES.items() for v in values]
"""The recogniser's outputs: one softmax per attribute, laid out one after the other."""


def recognise(model: ResNetForImageClassification, videos: np.ndarray) -> list[dict[str, str]]:
    """Name the five attributes of each video, uint8 (batch, 9, 32, 32, 3).

    The recogniser is in evaluation mode.
    """
    import torch

    frames = torch.from_numpy(np.asarray(videos)).permute(0, 1, 4, 2, 3).flatten(1, 2)
    with torch.inference_mode():
        logits = model(frames.to(model.device).float() / 127.5 - 1).logits
    parts = logits.split([len(values) for values in ATTRIBUTES.values()], dim=1)
    chosen = [part.argmax(1).tolist() for part in parts]
    return [
        {a: ATTRIBUTES[a][i] for a, i in zip(ATTRIBUTES, row, strict=True)}
        for row in zip(*chosen, strict=True)
    ]
