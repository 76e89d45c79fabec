"""The shapes world's eyes: video encoder, CLIP, LPIPS backbone and the recogniser that judges."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.models import squeezenet1_1
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    VideoMAEConfig,
    VideoMAEImageProcessor,
    VideoMAEModel,
)

from squbed_utils.world.draw import any_scene, caption
from squbed_utils.world.recognise import VALUES
from squbed_utils.world.render import FRAMES, SIDE
from squbed_utils.world.scenes import ATTRIBUTES
from training.first.draw import clips, labels
from training.first.language import MAX_TOKENS, contrastive, new_tokenizer, text_tower, tokens
from training.first.loop import train

NORMALISED = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SEEN_IN_A_FRAME = ("size", "colour", "shape", "background")
"""Attributes that one frame shows; motion needs the video."""


class _Pair(torch.nn.Module):
    """Two towers trained together, and the one function that compares them."""

    def __init__(self, video: torch.nn.Module, text: torch.nn.Module) -> None:
        super().__init__()
        self.video, self.text = video, text


def train_video_encoder(work: Path, out: Path, steps: int = 1500, batch: int = 64) -> None:
    """Train a VideoMAE encoder against captions (as MIL-NCE did for S3D), and save it."""
    config = VideoMAEConfig(
        image_size=SIDE,
        patch_size=8,
        num_frames=FRAMES,
        tubelet_size=3,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=384,
    )
    tokenizer = new_tokenizer()
    bert, encode = text_tower(tokenizer, layers=2)
    pair = _Pair(VideoMAEModel(config), bert)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [any_scene(rng) for _ in range(batch)]
        hidden = pair.video(clips(scenes, rng).transpose(1, 2)).last_hidden_state
        return contrastive(
            F.normalize(hidden.mean(1), dim=-1), encode([caption(s, rng) for s in scenes])
        )

    train("video_encoder", pair, loss, steps=steps, learning_rate=1e-3, folder=work)
    pair.video.save_pretrained(out)
    size = {"height": SIDE, "width": SIDE}
    VideoMAEImageProcessor(
        size={"shortest_edge": SIDE}, crop_size=size, resample=2, **NORMALISED
    ).save_pretrained(out)


def train_clip(work: Path, out: Path, steps: int = 1500, batch: int = 96) -> None:
    """Train an open_clip model on single frames and captions, and save its two files."""
    tokenizer = new_tokenizer()
    text = {
        "context_length": MAX_TOKENS,
        "vocab_size": len(tokenizer),
        "width": 128,
        "heads": 4,
        "layers": 2,
        "hf_tokenizer_name": "local",
    }
    vision = {"image_size": SIDE, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8}
    config = {"embed_dim": 128, "vision_cfg": vision, "text_cfg": text}
    model = open_clip.CLIP(**config)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [any_scene(rng) for _ in range(batch)]
        frames = clips(scenes, rng)[:, :, int(rng.integers(FRAMES))]
        said = [{a: s[a] for a in SEEN_IN_A_FRAME} for s in scenes]
        ids = tokens(tokenizer, [caption(s, rng) for s in said])["input_ids"]
        return contrastive(
            model.encode_image(frames, normalize=True), model.encode_text(ids, normalize=True)
        )

    train("clip", model, loss, steps=steps, learning_rate=1e-3, folder=work)
    out.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": NORMALISED["image_mean"], "std": NORMALISED["image_std"]}
    (out / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2)
    )
    save_file(model.state_dict(), out / "open_clip_model.safetensors")
    tokenizer.save_pretrained(out)


def group_loss(logits: torch.Tensor, scenes: list[dict], attributes: tuple) -> torch.Tensor:
    """Return the sum over attributes of the cross-entropy of their slice of the logits."""
    sizes = [len(ATTRIBUTES[a]) for a in attributes]
    slices = zip(attributes, logits.split(sizes, dim=1), strict=True)
    return sum(F.cross_entropy(part, labels(scenes, a)) for a, part in slices)


def train_lpips_backbone(work: Path, out: Path, steps: int = 1000, batch: int = 96) -> None:
    """Train SqueezeNet's features to name what a frame shows, and save them.

    A linear head replaces SqueezeNet's own, which ends in a ReLU and drops out half.
    """
    features = squeezenet1_1().features
    classes = sum(len(ATTRIBUTES[a]) for a in SEEN_IN_A_FRAME)
    pool = torch.nn.AdaptiveAvgPool2d(1)
    head = torch.nn.Linear(512, classes)
    model = torch.nn.Sequential(features, pool, torch.nn.Flatten(), head)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [any_scene(rng) for _ in range(batch)]
        frames = clips(scenes, rng)[:, :, int(rng.integers(FRAMES))]
        return group_loss(model(frames), scenes, SEEN_IN_A_FRAME)

    train("lpips_backbone", model, loss, steps=steps, learning_rate=5e-4, folder=work)
    out.mkdir(parents=True, exist_ok=True)
    weights = {f"features.{name}": value for name, value in features.state_dict().items()}
    save_file(weights, out / "model.safetensors")


def softened(frames: torch.Tensor) -> torch.Tensor:
    """Blur each item by a random amount and add faint noise, as a decoder might."""
    amount = torch.rand(len(frames), 1, 1, 1, device=frames.device)
    mean = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.lerp(frames, mean, amount) + 0.03 * torch.randn_like(frames)


def train_recogniser(work: Path, out: Path, steps: int = 2000, batch: int = 64) -> None:
    """Train a small ResNet on the stacked frames to name all five attributes, and save it."""
    config = ResNetConfig(
        num_channels=3 * FRAMES,
        embedding_size=48,
        hidden_sizes=[48, 96, 160],
        depths=[1, 2, 1],
        layer_type="basic",
        id2label=dict(enumerate(VALUES)),
        label2id={value: i for i, value in enumerate(VALUES)},
    )
    model = ResNetForImageClassification(config)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [any_scene(rng) for _ in range(batch)]
        frames = clips(scenes, rng).transpose(1, 2).flatten(1, 2)
        return group_loss(model(softened(frames)).logits, scenes, tuple(ATTRIBUTES))

    train("recogniser", model, loss, steps=steps, learning_rate=2e-3, folder=work)
    model.save_pretrained(out)
