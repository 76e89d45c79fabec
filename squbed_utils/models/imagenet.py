"""Image models of timm, as video encoders and, by ImageNet's labels, as readers of videos."""

import json
from collections.abc import Callable

import numpy as np
import timm
import torch
from timm.data import resolve_model_data_config
from torchvision.models import AlexNet_Weights
from torchvision.transforms.functional import center_crop, normalize, resize

from squbed_utils import roles
from squbed_utils.models.checkpoints import locate
from squbed_utils.models.weights import load_into, read_weights
from squbed_utils.settings import PACKAGED

LABELS = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
Look = Callable[[list[np.ndarray]], torch.Tensor]
"""Frames, uint8 (H, W, 3), of one size -> a row a frame: features, or the classes' logits."""


def load_network(
    settings: roles.ImageModel, role: str, device: str, *, classify: bool = False
) -> Look:
    """Load an image model without its last layer, or with it to `classify`."""
    path = locate(settings, role)
    config, file = {}, path
    if path.is_dir():
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        file = path / "model.safetensors"
    architecture = settings.network or config.get("architecture")
    if not timm.is_model(architecture):
        raise ValueError(f"{role}: timm knows no network {architecture!r}; see timm.list_models()")
    weights = read_weights(file)
    network = timm.create_model(
        architecture,
        num_classes=config.get("num_classes"),
        pretrained_cfg_overlay=config.get("pretrained_cfg"),
    )
    if settings.path in PACKAGED:  # whose names are another library's, in timm's order
        weights = dict(zip(network.state_dict(), weights.values(), strict=True))
    load_into(network, weights, file)
    if classify and network.num_classes != len(LABELS):
        raise ValueError(
            f"{role}: {architecture} tells {network.num_classes} classes apart, and ImageNet has "
            f"{len(LABELS)}; give a model that was trained on ImageNet-1k"
        )
    network.to(device).eval()
    data = resolve_model_data_config(network)
    size = settings.size or data["input_size"][-1]

    @torch.inference_mode()
    def look(frames: list[np.ndarray]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
        pixels = center_crop(resize(pixels, [size], antialias=True).clamp(0, 1), [size])
        features = network.forward_features(normalize(pixels, data["mean"], data["std"]).to(device))
        return network.forward_head(features, pre_logits=not classify).float().cpu()

    return look
