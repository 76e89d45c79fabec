"""LPIPS without its learned weights, on a SqueezeNet of one's own."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torchvision.models import squeezenet1_1

CUTS = (2, 5, 8, 10, 11, 12, 13)
"""Layers of SqueezeNet 1.1 after which LPIPS compares activations."""

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
SMALLEST_SIDE = 31


class UnlearnedLpips(torch.nn.Module):
    """The unlearned form of LPIPS (Zhang et al. 2018, the baseline of their table 5).

    d(x, y) = sum over layers of the mean over pixels of ||a(x) - a(y)||^2, where a are activations
    of unit length over channels. The learned form weights the channels; this one does not.

    Parameters
    ----------
    features : torch.nn.Sequential
        The convolutional part of SqueezeNet 1.1.
    """

    def __init__(self, features: torch.nn.Sequential) -> None:
        super().__init__()
        starts = (0, *CUTS[:-1])
        self.slices = torch.nn.ModuleList(features[a:b] for a, b in zip(starts, CUTS, strict=True))
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Distance of each pair of images: (B, 3, H, W) twice, range [0, 1], to (B,)."""
        both = (2 * torch.cat([x, y]) - 1 - self.shift) / self.scale
        total = 0
        for part in self.slices:
            both = part(both)
            unit = both / torch.sqrt(1e-8 + both.square().sum(1, keepdim=True))
            a, b = unit.chunk(2)
            total = total + (a - b).square().sum(1).mean((1, 2))
        return total


def load(folder: Path) -> UnlearnedLpips:
    """Load the SqueezeNet in ``model.safetensors``; its classifier may have any size."""
    network = squeezenet1_1()
    weights = load_file(folder / "model.safetensors")
    prefix = "features."
    network.features.load_state_dict(
        {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    )
    return UnlearnedLpips(network.features).eval()
