"""How good the second edition's checkpoints are, measured on fresh draws."""

from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from transformers import AutoModelForImageClassification, ResNetForImageClassification

from squbed_utils.files import seed_of
from squbed_utils.world.render import FRAMES, SIDE
from training.draw import any_scene, caption, clips
from training.first.quality import SAMPLING
from training.language import MAX_TOKENS
from training.render import render
from training.scenes import ATTRIBUTES, LEVELS, complete


def generator_of(*names: object) -> np.random.Generator:
    """Return a NumPy generator seeded by names."""
    return np.random.default_rng(seed_of("quality", *names))


@torch.inference_mode()
def recognise(model: ResNetForImageClassification, videos: np.ndarray) -> list[dict[str, str]]:
    """Name the five attributes of each video: uint8, shape (batch, 9, 32, 32, 3)."""
    frames = torch.from_numpy(np.asarray(videos)).permute(0, 1, 4, 2, 3).flatten(1, 2)
    logits = model(frames.to(model.device).float() / 127.5 - 1).logits
    parts = logits.split([len(values) for values in ATTRIBUTES.values()], dim=1)
    chosen = [part.argmax(1).tolist() for part in parts]
    return [
        {a: ATTRIBUTES[a][i] for a, i in zip(ATTRIBUTES, row, strict=True)}
        for row in zip(*chosen, strict=True)
    ]


def agreement(asked: list[dict[str, str]], named: list[dict[str, str]]) -> dict[str, float]:
    """Fraction of scenes that agree, by attribute."""
    pairs = list(zip(asked, named, strict=True))
    return {a: float(np.mean([s[a] == r[a] for s, r in pairs])) for a in ATTRIBUTES}


def recogniser_accuracy(folder: Path, count: int = 1080) -> dict[str, object]:
    """Fraction of fresh renderings named rightly, by attribute, and for each subject and size."""
    model = AutoModelForImageClassification.from_pretrained(folder / "recogniser").eval()
    rng = generator_of("recogniser")
    scenes = [any_scene(rng) for _ in range(count)]
    named = recognise(model, np.stack([render(scene, rng) for scene in scenes]))
    wrong = {
        f"{s['size']} {s['shape']} as {r['shape']}"
        for s, r in zip(scenes, named, strict=True)
        if s["shape"] != r["shape"]
    }
    return agreement(scenes, named) | {"mistakes": sorted(wrong)}


@torch.inference_mode()
def reconstruction(vae: torch.nn.Module, count: int = 128) -> float:
    """Peak signal-to-noise ratio of the VAE on fresh clips, mean over clips, dB."""
    rng = generator_of("vae")
    videos = clips([any_scene(rng) for _ in range(count)], rng)
    ratios = []
    for batch in videos.split(32):
        decoded = vae.decode(vae.encode(batch).latent_dist.mode()).sample
        error = (decoded.clamp(-1, 1) - batch).square().mean((1, 2, 3, 4)) / 4
        ratios += (-10 * error.log10()).tolist()
    return float(np.mean(ratios))


def generate(pipeline: DiffusionPipeline, prompts: list[str]) -> np.ndarray:
    """Generate one video a prompt: uint8, shape (prompts, 9, 32, 32, 3)."""
    videos = pipeline(
        prompt=prompts,
        height=SIDE,
        width=SIDE,
        num_frames=FRAMES,
        generator=[torch.Generator().manual_seed(i) for i in range(len(prompts))],
        max_sequence_length=MAX_TOKENS,
        output_type="np",
        **SAMPLING,
    ).frames
    return np.round(255 * videos).astype(np.uint8)


def generation_accuracy(
    pipeline: DiffusionPipeline, folder: Path, coverage: dict[str, int], per_subject: int = 40
) -> dict[int, dict[str, float]]:
    """Agreement of generated videos with fully specified prompts, by coverage and attribute."""
    model = AutoModelForImageClassification.from_pretrained(folder / "recogniser").eval()
    table = {}
    for level in sorted({*LEVELS, *coverage.values()}):
        rng = generator_of("generation", level)
        subjects = [s for s, count in coverage.items() if count == level] * per_subject
        scenes = [complete({"shape": subject}, rng) for subject in subjects]
        prompts = [caption(scene, rng) for scene in scenes]
        parts = [prompts[k : k + 48] for k in range(0, len(prompts), 48)]
        videos = np.concatenate([generate(pipeline, part) for part in parts])
        table[level] = agreement(scenes, recognise(model, videos))
    return table
