"""LPIPS on a backbone of one's own: learned on AlexNet, or unlearned on SqueezeNet."""

from importlib.resources import files
from pathlib import Path

import torch
from torchvision.models import alexnet, squeezenet1_1

from squbed_utils.models.weights import load_into, read_weights

SQUEEZENET_CUTS = (2, 5, 8, 10, 11, 12, 13)
"""Layers of SqueezeNet 1.1 after which LPIPS compares activations."""

ALEXNET_CUTS = (2, 5, 8, 10, 12)
"""The same of AlexNet."""

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
SMALLEST_SIDE = 31


class Lpips(torch.nn.Module):
    """LPIPS, learned or not (Zhang et al. 2018).

    d(x, y) = sum over layers of the mean over pixels of sum_c w_c (a_c(x) - a_c(y))^2, where a are
    activations of unit length over channels. The weights w are learned from people's judgements; in
    the unlearned form, the baseline of the paper's table 5, they are one.

    `features` is the convolutional part of the backbone, `cuts` are the layers after which
    activations are compared, and `weights` are one (channels,) for each cut.
    """

    def __init__(
        self,
        features: torch.nn.Sequential,
        cuts: tuple[int, ...],
        weights: list[torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        starts = (0, *cuts[:-1])
        self.slices = torch.nn.ModuleList(features[a:b] for a, b in zip(starts, cuts, strict=True))
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])
        self.weights = None
        if weights is not None:
            self.weights = torch.nn.ParameterList(w[:, None, None] for w in weights)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Distance of each pair of images: (B, 3, H, W) twice, range [0, 1], to (B,)."""
        both = (2 * torch.cat([x, y]) - 1 - self.shift) / self.scale
        total = 0
        for i, part in enumerate(self.slices):
            both = part(both)
            unit = both / torch.sqrt(1e-8 + both.square().sum(1, keepdim=True))
            a, b = unit.chunk(2)
            squares = (a - b).square()
            if self.weights is not None:
                squares = squares * self.weights[i]
            total = total + squares.sum(1).mean((1, 2))
        return total


def load_unlearned(folder: Path) -> Lpips:
    """Load the SqueezeNet in ``model.safetensors``; its classifier may have any size."""
    return Lpips(_features(squeezenet1_1(), folder / "model.safetensors"), SQUEEZENET_CUTS).eval()


def load_alex(path: Path) -> Lpips:
    """Load an AlexNet from a file, and the learned weights that torchmetrics brings."""
    heads = read_weights(Path(files("torchmetrics") / "functional/image/lpips_models/alex.pth"))
    weights = [heads[f"lin{i}.model.1.weight"].flatten() for i in range(len(ALEXNET_CUTS))]
    return Lpips(_features(alexnet(), path), ALEXNET_CUTS, weights).eval().requires_grad_(False)


def _features(network: torch.nn.Module, path: Path) -> torch.nn.Sequential:
    prefix = "features."
    weights = {k: v for k, v in read_weights(path).items() if k.startswith(prefix)}
    load_into(network.features, {k.removeprefix(prefix): v for k, v in weights.items()}, path)
    return network.features
