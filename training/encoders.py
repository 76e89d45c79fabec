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

from squbed_utils.world.render import FRAMES, SIDE
from squbed_utils.world.scenes import ATTRIBUTES, VALUES
from training.draw import any_scene, caption, clips, labels
from training.language import MAX_TOKENS, SentenceTower, contrastive, new_tokenizer, tokens

NORMALISED = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SEEN_IN_A_FRAME = ("size", "colour", "shape", "background")
"""Attributes that one frame shows; motion needs the video."""


def softened(frames: torch.Tensor) -> torch.Tensor:
    """Blur each item by a random amount and add faint noise, as a decoder might."""
    amount = torch.rand(len(frames), 1, 1, 1, device=frames.device)
    mean = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.lerp(frames, mean, amount) + 0.03 * torch.randn_like(frames)


def group_loss(logits: torch.Tensor, scenes: list[dict], attributes: tuple) -> torch.Tensor:
    """Return the sum over attributes of the cross-entropy of their slice of the logits."""
    sizes = [len(ATTRIBUTES[a]) for a in attributes]
    slices = zip(attributes, logits.float().split(sizes, dim=1), strict=True)
    return sum(F.cross_entropy(part, labels(scenes, a)) for a, part in slices)


class Recogniser(torch.nn.Module):
    """A small ResNet that names all five attributes from the stacked frames of a video."""

    def __init__(self) -> None:
        super().__init__()
        config = ResNetConfig(
            num_channels=3 * FRAMES,
            embedding_size=48,
            hidden_sizes=[48, 96, 160],
            depths=[1, 2, 1],
            layer_type="basic",
            id2label=dict(enumerate(VALUES)),
            label2id={value: i for i, value in enumerate(VALUES)},
        )
        self.net = ResNetForImageClassification(config)

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Cross-entropy of all attributes on fresh renderings, softened as a decoder might."""
        scenes = [any_scene(rng) for _ in range(batch)]
        frames = clips(scenes, rng).transpose(1, 2).flatten(1, 2)
        return group_loss(self.net(softened(frames)).logits, scenes, tuple(ATTRIBUTES))

    def save(self, out: Path) -> None:
        """Save the network."""
        self.net.save_pretrained(out)


class VideoAndText(torch.nn.Module):
    """A VideoMAE encoder and the sentence tower that it is trained against, as S3D was."""

    def __init__(self) -> None:
        super().__init__()
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
        self.video, self.text = VideoMAEModel(config), SentenceTower(layers=2)

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Contrastive loss of clips and their captions."""
        scenes = [any_scene(rng) for _ in range(batch)]
        hidden = self.video(clips(scenes, rng).transpose(1, 2)).last_hidden_state
        texts = self.text([caption(s, rng) for s in scenes])
        return contrastive(F.normalize(hidden.mean(1), dim=-1), texts)

    def save(self, out: Path) -> None:
        """Save the video encoder with its preprocessing."""
        self.video.save_pretrained(out)
        size = {"height": SIDE, "width": SIDE}
        VideoMAEImageProcessor(
            size={"shortest_edge": SIDE}, crop_size=size, resample=2, **NORMALISED
        ).save_pretrained(out)


class FrameAndText(torch.nn.Module):
    """An open_clip model of single frames and captions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = new_tokenizer()
        text = {
            "context_length": MAX_TOKENS,
            "vocab_size": len(self.tokenizer),
            "width": 128,
            "heads": 4,
            "layers": 2,
            "hf_tokenizer_name": "local",
        }
        vision = {"image_size": SIDE, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8}
        self.config = {"embed_dim": 128, "vision_cfg": vision, "text_cfg": text}
        self.clip = open_clip.CLIP(**self.config)

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Contrastive loss of one frame of each clip and a caption of what a frame shows."""
        scenes = [any_scene(rng) for _ in range(batch)]
        frames = clips(scenes, rng)[:, :, int(rng.integers(FRAMES))]
        said = [caption({a: s[a] for a in SEEN_IN_A_FRAME}, rng) for s in scenes]
        ids = tokens(self.tokenizer, said)["input_ids"]
        return contrastive(
            self.clip.encode_image(frames, normalize=True),
            self.clip.encode_text(ids, normalize=True),
        )

    def save(self, out: Path) -> None:
        """Save the two files that open_clip loads from a folder, and the tokenizer."""
        out.mkdir(parents=True, exist_ok=True)
        preprocess = {"mean": NORMALISED["image_mean"], "std": NORMALISED["image_std"]}
        (out / "open_clip_config.json").write_text(
            json.dumps({"model_cfg": self.config, "preprocess_cfg": preprocess}, indent=2)
        )
        save_file(self.clip.state_dict(), out / "open_clip_model.safetensors")
        self.tokenizer.save_pretrained(out)


class FrameNamer(torch.nn.Module):
    """SqueezeNet's features, which LPIPS uses, under a linear head that names what a frame shows.

    The head stands in for SqueezeNet's own, which ends in a ReLU and drops out half.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = squeezenet1_1().features
        self.head = torch.nn.Linear(512, sum(len(ATTRIBUTES[a]) for a in SEEN_IN_A_FRAME))

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Cross-entropy of what one frame of each clip shows."""
        scenes = [any_scene(rng) for _ in range(batch)]
        frames = clips(scenes, rng)[:, :, int(rng.integers(FRAMES))]
        return group_loss(self.head(self.features(frames).mean((2, 3))), scenes, SEEN_IN_A_FRAME)

    def save(self, out: Path) -> None:
        """Save the features."""
        out.mkdir(parents=True, exist_ok=True)
        weights = {f"features.{name}": v for name, v in self.features.state_dict().items()}
        save_file(weights, out / "model.safetensors")
