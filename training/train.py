"""Train the shapes world's second edition: ``python -m training.train --help``."""

import argparse
import csv
import json
import time
from collections import Counter
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file
from transformers import UMT5EncoderModel

from training import encoders, language, quality
from training.loop import Paused, Trainer, write_stage
from training.scenes import category_of
from training.video_model import (
    Clip,
    Decoder,
    TextToLatents,
    cached_latents,
    coverage,
    dealt_clips,
    exposures,
    loss_on,
    save_pipeline,
    standardise,
)

ROOT = Path(__file__).parent.parent
FIRST_VAE = ROOT / "data/world/video_model/vae"
"""The first edition's VAE: its encoder is used as it is, its decoder is trained on."""


class Part(NamedTuple):
    """How one part is trained: its module's class, steps in all, the loop's options, the batch."""

    module: type[torch.nn.Module]
    steps: int
    options: dict[str, float]
    batch: int = 64


TRANSFORMER = Part(TextToLatents, 12000, {"learning_rate": 1.5e-3, "mixed": True, "average": 0.999})
# No average follows the running statistics of batch normalisation; 0 keeps the weights that they
# belong to.
PARTS = {
    "text_encoder": Part(language.WordGuesser, 900, {"learning_rate": 2e-3}),
    "transformer": TRANSFORMER,
    "recogniser": Part(encoders.Recogniser, 1000, {"learning_rate": 2e-3, "average": 0}),
    "decoder": Part(Decoder, 2400, {"learning_rate": 5e-4, "mixed": True}, batch=8),
    "refiner": Part(language.Refiner, 2500, {"learning_rate": 3e-3}, batch=128),
    "sentence_encoder": Part(language.SentenceTower, 800, {"learning_rate": 1e-3}, batch=256),
    "video_encoder": Part(encoders.VideoAndText, 1200, {"learning_rate": 1e-3}),
    "clip": Part(encoders.FrameAndText, 1200, {"learning_rate": 1e-3}, batch=96),
    "lpips_backbone": Part(encoders.FrameNamer, 1000, {"learning_rate": 5e-4}, batch=96),
    "transformer-added": TRANSFORMER._replace(steps=3000),
    "transformer-2": TRANSFORMER,
    "transformer-3": TRANSFORMER,
}
"""What is trained, in this order. ``transformer-added`` goes on from what ``transformer`` became,
with clips of subjects that it never saw; the numbered ones are other seeds of an ensemble."""


class Run(NamedTuple):
    """Where one run of the training keeps its things, and when it stops."""

    work: Path
    out: Path
    stage: Path | None = None
    until: float = float("inf")

    def state(self, name: str) -> Path | None:
        """Return the newest saved state of a part, or nothing."""
        paths = [folder / f"{name}.safetensors" for folder in (self.work, self.stage) if folder]
        return next((path for path in paths if path.exists()), None)


def encoded(run: Run, dealt: list[Clip]) -> tuple[AutoencoderKLWan, torch.Tensor]:
    """Return the first edition's VAE with the latents' scale set, and the clips' latents."""
    vae = AutoencoderKLWan.from_pretrained(FIRST_VAE).to(torch.get_default_device())
    latents = cached_latents(vae, run.work / "latents", dealt)
    standardise(vae, latents)
    return vae, latents


def build(name: str, run: Run) -> torch.nn.Module:
    """Build the untrained module of a part, with the data that it is trained on."""
    module = PARTS[name].module
    torch.manual_seed(0)
    if module is Decoder:
        dealt = dealt_clips(name)
        vae, latents = encoded(run, dealt)
        return Decoder(vae, dealt, latents)
    if module is not TextToLatents:
        return module()
    text_encoder = UMT5EncoderModel.from_pretrained(run.out / "text_encoder")
    model = TextToLatents(text_encoder.to(torch.get_default_device()))
    if name == "transformer-added":
        load_average(model, run, "transformer")
    elif name != "transformer":
        torch.manual_seed(int(name.removeprefix("transformer-")))
        model = TextToLatents(text_encoder)
    return model


def train_part(name: str, run: Run, steps: int | None = None, compiled: bool = False) -> None:
    """Train a part, or go on with it, and save what it became.

    Raises
    ------
    Paused
        If the run's time is over first.
    """
    part, model = PARTS[name], build(name, run)
    if part.module is TextToLatents:
        dealt = dealt_clips(name)
        loss = loss_on(model, dealt, *encoded(run, dealt))
        if compiled:
            model.transformer.compile()
    else:
        loss = model.loss
    trainer = Trainer(
        name, model, folder=run.work, until=run.until, state=run.state(name), **part.options
    )
    trainer.run(lambda rng: loss(rng, part.batch), steps or part.steps)
    if part.module is not TextToLatents:
        model.save(run.out / name)


def load_average(model: torch.nn.Module, run: Run, name: str) -> int:
    """Load the averaged weights of a part's saved state into a module; return its step."""
    state = run.state(name)
    if state is None:
        raise FileNotFoundError(f"{run.work} has no state of {name!r}; train it first")
    tensors = load_file(state)
    means = {n.removeprefix("mean/"): v for n, v in tensors.items() if n.startswith("mean/")}
    model.load_state_dict(means, strict=False)
    return int(tensors["step"])


def measure(run: Run, name: str, per_subject: int) -> dict[str, object]:
    """Save the pipeline of a transformer as far as it is, measure it, and add a line to its log.

    ``<name>.jsonl`` has one line a measurement; ``<name>.csv`` counts what each subject was shown:
    clips, those that differ in a pixel, and exposures.
    """
    covered, dealt = coverage(name), dealt_clips(name)
    model = build(name, run)
    step = load_average(model, run, name)
    vae, latents = encoded(run, dealt)
    if run.state("decoder"):
        load_average(Decoder(vae, dealt, latents), run, "decoder")
    pipeline = save_pipeline(vae, model.eval(), run.out / name)
    table = quality.generation_accuracy(pipeline, run.out, covered, per_subject)
    row = {
        "step": step,
        "recogniser": quality.recogniser_accuracy(run.out),
        "psnr_db": quality.reconstruction(vae),
        "agreement": table,
    }
    with (run.work / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    pixels = {(clip[0], z.tobytes()) for clip, z in zip(dealt, latents.numpy(), strict=True)}
    distinct = Counter(subject for subject, _ in pixels)
    shown = exposures(name, dealt, step, PARTS[name].batch)
    with (run.out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("subject", "category", "clips", "distinct", "exposures"))
        for subject, clips in covered.items():
            writer.writerow(
                (subject, category_of(subject), clips, distinct[subject], shown[subject])
            )
    return row


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    add = parser.add_argument
    add("--only", choices=PARTS, help="one part; by default all, in order")
    add(
        "--measure", choices=[n for n in PARTS if "transformer" in n], help="measure, train nothing"
    )
    add("--per-subject", type=int, default=40, help="videos a subject to measure (default: 40)")
    add("--work", type=Path, default=ROOT / "build/world2", help="unfinished training")
    add("--out", type=Path, help="finished models (default: WORK/out)")
    add("--resume-from", type=Path, help="a folder of stages, used where WORK has no state")
    add("--stage", type=Path, help="write a stage of every state to this folder at the end")
    add("--device", default="cpu", help="as PyTorch names it (default: cpu)")
    add("--compile", action="store_true", help="compile the transformer (takes a C++ compiler)")
    add("--threads", type=int, default=1, help="threads of PyTorch on the CPU (default: 1)")
    add("--steps", type=int, help="optimiser steps in all, for trials")
    add("--until", help="time of day, HH:MM, at which to stop")
    add("--minutes", type=float, help="minutes after which to stop")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    until = deadline(options.until, options.minutes)
    run = Run(options.work, options.out or options.work / "out", options.resume_from, until)
    if options.measure:
        print(json.dumps(measure(run, options.measure, options.per_subject), indent=1))
        return
    try:
        for name in [options.only] if options.only else PARTS:
            # A default device, even the CPU, would be a mode that compiled code has to heed.
            with nullcontext() if options.device == "cpu" else torch.device(options.device):
                train_part(name, run, options.steps, options.compile)
    except Paused as pause:
        print(pause)
    if options.stage:
        for state in sorted(run.work.glob("*.safetensors")):
            write_stage(state, options.stage)


def deadline(until: str | None, minutes: float | None) -> float:
    """Return the earlier of a time of day (the next such) and some minutes from now."""
    times = [float("inf")]
    if minutes is not None:
        times.append(time.time() + 60 * minutes)
    if until:
        stop = datetime.combine(datetime.now(), datetime.strptime(until, "%H:%M").time())
        times.append((stop if stop > datetime.now() else stop + timedelta(days=1)).timestamp())
    return min(times)


if __name__ == "__main__":
    main()
