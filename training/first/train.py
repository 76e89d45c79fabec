"""Train every checkpoint of the shapes world from nothing, measure them, write the model card."""

import csv
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from squbed_utils.world.tasks import COLUMNS, task_table
from training.first import encoders, language, quality, video_model
from training.first.card import write_card

STEPS = {
    "sentence_encoder": 800,
    "refiner": 3000,
    "video_encoder": 1000,
    "clip": 800,
    "recogniser": 2600,
    "lpips_backbone": 1000,
    "vae": 2700,
    "decoder": 2600,
    "transformer": 14000,
}
"""Optimiser steps of each part; the order is the order of training."""

CLIPS = 12288
"""Clips in the video model's training set."""

TRAINERS: dict[str, Callable] = {
    "sentence_encoder": language.train_sentence_encoder,
    "refiner": language.train_refiner,
    "video_encoder": encoders.train_video_encoder,
    "clip": encoders.train_clip,
    "recogniser": encoders.train_recogniser,
    "lpips_backbone": encoders.train_lpips_backbone,
}


def train_video_model(work: Path, out: Path, steps: dict[str, int], clips: int) -> None:
    """Train VAE, decoder, transformer and text encoder in turn, and save the pipeline."""
    vae = video_model.train_vae(work, steps["vae"])
    raw = video_model.cached_latents(vae, work / "latents", clips)
    video_model.train_decoder(vae, raw, work, steps["decoder"])
    latents = video_model.standardise(vae, raw)
    torch.manual_seed(0)
    model = video_model.train_transformer(latents, work, steps["transformer"])
    video_model.save_pipeline(vae, model, out)


def train_world(
    folder: Path,
    work: Path,
    *,
    only: str | None = None,
    steps: dict[str, int] | None = None,
    clips: int = CLIPS,
    device: str = "cpu",
) -> None:
    """Train the checkpoints, or go on after an interruption.

    The trained models, the task table and the model card go into `folder` (``data/world``),
    unfinished training into `work` (``build/world``). `only` names one model; by default all are
    trained, then the task table and the card are written. `steps` (optimiser steps by part, by
    default ``STEPS``) and `clips` (in the video model's training set) may be smaller for trials.
    `device` is PyTorch's name.
    """
    steps = STEPS | (steps or {})
    names = [*TRAINERS, "video_model"]
    if only and only not in names:
        raise ValueError(f"the world has no model {only!r}; its models: {', '.join(names)}")
    for name in [only] if only else names:
        torch.manual_seed(0)
        start = time.perf_counter()
        with torch.device(device):
            if name == "video_model":
                train_video_model(work, folder / name, steps, clips)
            else:
                TRAINERS[name](work, folder / name, steps=steps[name])
        print(f"{name}: {(time.perf_counter() - start) / 60:.1f} minutes")
    if not only:
        write_tasks(folder / "tasks.csv")
        measure(folder, steps, clips)


def write_tasks(path: Path) -> None:
    """Write the task table with its truth as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(task_table())


def measure(folder: Path, steps: dict[str, int], clips: int) -> dict[str, object]:
    """Measure the checkpoints on fresh draws; write ``quality.json`` and the card from it."""
    pipeline = DiffusionPipeline.from_pretrained(folder / "video_model")
    pipeline.set_progress_bar_config(disable=True)
    report = {
        "recogniser": quality.recogniser_accuracy(folder),
        "psnr_db": quality.reconstruction(pipeline),
        "generation": quality.generation_accuracy(pipeline, folder),
        "refiner": quality.refiner_quality(folder),
        "retrieval": quality.retrieval(folder),
        "parameters": parameters(folder),
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }
    (folder / "quality.json").write_text(json.dumps(report, indent=1) + "\n")
    write_card(folder / "README.md", report, steps, clips)
    return report


def parameters(folder: Path) -> dict[str, float]:
    """Return model -> megabytes of safetensors."""
    models = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    sizes = {m.name: sum(f.stat().st_size for f in m.rglob("*.safetensors")) for m in models}
    return {name: round(size / 1e6, 2) for name, size in sizes.items()}
