"""Networks that no library here has, by their checkpoints' names: S3D-G, and LPIPS's parts."""

import torch
from torch import nn
from torch.nn import functional

INCEPTIONS = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}
"""Block -> channels: in; branch 0; reduced and out of branches 1 and 2; branch 3."""


class S3DG(nn.Module):
    """The video part: (B, 3, T, H, W) in [0, 1], T, H and W even, to the joint space (B, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Convolution(24, 64)
        self.conv1.conv1 = nn.Conv3d(24, 64, (2, 4, 4), padding=(1, 2, 2), bias=False)
        self.conv_2b = Convolution(64, 64)
        self.conv_2c = Convolution(64, 192, separable=True)
        self.gating = Gating(192)
        for name, channels in INCEPTIONS.items():
            setattr(self, f"mixed_{name}", Inception(channels))
        self.fc = nn.Linear(1024, 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed a batch of videos."""
        x = self.conv1(space_to_depth(x))[:, :, 1:, 1:, 1:]
        x = self.conv_2c(self.conv_2b(pool(x, (1, 3, 3))))
        x = pool(self.gating(x), (1, 3, 3))
        for name in INCEPTIONS:
            if name == "4b":
                x = pool(x, (3, 3, 3))
            if name == "5b":
                x = pool(x, (2, 2, 2))
            x = getattr(self, f"mixed_{name}")(x)
        return self.fc(x.mean((2, 3, 4)))


class Inception(nn.Module):
    """Four branches side by side, each gated."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        inputs, b0, b1_a, b1_b, b2_a, b2_b, b3_b = channels
        self.conv_b0 = Convolution(inputs, b0)
        self.conv_b1_a = Convolution(inputs, b1_a)
        self.conv_b1_b = Convolution(b1_a, b1_b, separable=True)
        self.conv_b2_a = Convolution(inputs, b2_a)
        self.conv_b2_b = Convolution(b2_a, b2_b, separable=True)
        self.conv_b3_b = Convolution(inputs, b3_b)
        for i, outputs in enumerate((b0, b1_b, b2_b, b3_b)):
            setattr(self, f"gating_b{i}", Gating(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Concatenate the branches' channels."""
        pooled = functional.max_pool3d(x, 3, stride=1, padding=1)
        branches = (
            self.gating_b0(self.conv_b0(x)),
            self.gating_b1(self.conv_b1_b(self.conv_b1_a(x))),
            self.gating_b2(self.conv_b2_b(self.conv_b2_a(x))),
            self.gating_b3(self.conv_b3_b(pooled)),
        )
        return torch.cat(branches, 1)


class Convolution(nn.Module):
    """A convolution, or a spatial and a temporal one, each with batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, *, separable: bool = False) -> None:
        super().__init__()
        kernel, padding = ((1, 3, 3), (0, 1, 1)) if separable else (1, 0)
        self.conv1 = nn.Conv3d(inputs, outputs, kernel, padding=padding, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.separable = separable
        if separable:
            self.conv2 = nn.Conv3d(outputs, outputs, (3, 1, 1), padding=(1, 0, 0), bias=False)
            self.bn2 = nn.BatchNorm3d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, T, H, W) to (B, out, T, H, W)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x))) if self.separable else x


class Gating(nn.Module):
    """Self-gating: each channel is weighted by a sigmoid of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the shape (B, C, T, H, W)."""
        return x * torch.sigmoid(self.fc(x.mean((2, 3, 4))))[..., None, None, None]


def space_to_depth(x: torch.Tensor) -> torch.Tensor:
    """Move each 2 x 2 x 2 cube into channels: (B, C, T, H, W) to (B, 8 C, T/2, H/2, W/2)."""
    b, c, t, h, w = x.shape
    cubes = x.reshape(b, c, t // 2, 2, h // 2, 2, w // 2, 2)
    return cubes.permute(0, 3, 5, 7, 1, 2, 4, 6).reshape(b, 8 * c, t // 2, h // 2, w // 2)


def pool(x: torch.Tensor, kernel: tuple[int, int, int]) -> torch.Tensor:
    """Max-pool by two, in time where the kernel spans it, padded at the far ends as TensorFlow."""
    stride = tuple(min(side, 2) for side in kernel)
    ends = [side - step for side, step in zip(kernel, stride, strict=True)]
    padded = functional.pad(x, (0, ends[2], 0, ends[1], 0, ends[0]))
    return functional.max_pool3d(padded, kernel, stride, ceil_mode=True)


SQUEEZENET_CUTS = (2, 5, 8, 10, 11, 12, 13)
ALEXNET_CUTS = (2, 5, 8, 10, 12)
SHIFT_TOLERANT_CUTS = (3, 7, 11, 13, 15)
"""Layers of each network after which LPIPS compares activations."""


def shift_tolerant_alexnet() -> nn.Sequential:
    """Return AlexNet's convolutions as ST-LPIPS has them: all stride by `Blur` (Ghildyal 2022)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, padding=2),
        Blur(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        Blur(64),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        Blur(192),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


class Blur(nn.Module):
    """Every second pixel each way of a blurred picture, mirrored by two pixels at its edges."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.ones(channels, 1, 3, 3) / 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, about H / 2, about W / 2)."""
        x = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(x, self.filt, stride=2, groups=len(self.filt))


SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and deviation of each colour, by which LPIPS standardises pictures in [-1, 1]."""


class Lpips(nn.Module):
    """LPIPS, learned or not (Zhang et al. 2018).

    d(x, y) = sum over layers of the mean over pixels of sum_c w_c (a_c(x) - a_c(y))^2, where a are
    activations of unit length over channels, after the `cuts` of the backbone's `features`. The
    weights w are learned from people's judgements; in the unlearned form, the baseline of the
    paper's table 5, they are one.
    """

    def __init__(
        self,
        features: nn.Sequential,
        cuts: tuple[int, ...],
        weights: list[torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        starts = (0, *cuts[:-1])
        weights = weights or [torch.ones(1)] * len(cuts)
        self.slices = nn.ModuleList(features[a:b] for a, b in zip(starts, cuts, strict=True))
        self.weights = nn.ParameterList(w[:, None, None] for w in weights)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Distance of each pair of images: (B, 3, H, W) twice, range [0, 1], to (B,)."""
        both = (2 * torch.cat([x, y]) - 1 - self.shift) / self.scale
        total = 0
        for part, weights in zip(self.slices, self.weights, strict=True):
            both = part(both)
            unit = both / torch.sqrt(1e-8 + both.square().sum(1, keepdim=True))
            a, b = unit.chunk(2)
            total = total + ((a - b).square() * weights).sum(1).mean((1, 2))
        return total
