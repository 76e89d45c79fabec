"""Train the shapes world's models, and measure them: ``python -m training.train --help``."""

import argparse
import csv
import json
import platform
import time
from collections import Counter
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, WanTransformer3DModel
from safetensors.torch import load_file
from transformers import UMT5EncoderModel

from training import encoders, language, quality
from training.card import write_card
from training.loop import Paused, Trainer, write_stage
from training.tasks import category_of, write_tasks
from training.video_model import (
    Clip,
    Decoder,
    TextToLatents,
    Vae,
    cached_latents,
    coverage,
    dealt_clips,
    exposures,
    loss_on,
    save_pipeline,
    standardise,
)

ROOT = Path(__file__).parent.parent


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
    "text_encoder": Part(language.WordGuesser, 900, {"learning_rate": 2e-3, "fused": False}),
    "vae": Part(Vae, 2700, {"learning_rate": 2e-3, "mixed": True}, batch=16),
    "decoder": Part(Decoder, 2400, {"learning_rate": 5e-4, "mixed": True}, batch=8),
    "transformer": TRANSFORMER,
    "recogniser": Part(encoders.Recogniser, 1000, {"learning_rate": 2e-3, "average": 0}),
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

TRANSFORMERS = [name for name, part in PARTS.items() if part.module is TextToLatents]

PLACES = {
    "text_encoder": "video_model/text_encoder",
    "decoder": "video_model/vae",
    "transformer": "video_model/transformer",
}
"""Part -> its folder in the world's folder, where that is not the part's name."""


class Run(NamedTuple):
    """Where one run of the training keeps its things, and how much of it is done.

    `share` of the steps and of the clips is less than 1 for trials. A `vae` that is given is used
    for its encoder, and none is trained.
    """

    work: Path
    out: Path
    stage: Path | None = None
    vae: Path | None = None
    share: float = 1
    until: float = float("inf")

    def state(self, name: str) -> Path | None:
        """Return the newest saved state of a part, or nothing."""
        paths = [folder / f"{name}.safetensors" for folder in (self.work, self.stage) if folder]
        return next((path for path in paths if path.exists()), None)

    def place(self, name: str) -> Path:
        """Return the folder of a finished part."""
        if name == "vae":
            return self.vae or self.work / "vae"
        return self.out / PLACES.get(name, name)

    def steps(self, name: str) -> int:
        """Return the optimiser steps of a part."""
        return max(1, round(self.share * PARTS[name].steps))

    def clips(self, name: str) -> list[Clip]:
        """Return the training clips of a transformer, or of another part of the video model."""
        return dealt_clips(name)[:: round(1 / self.share)]


def encoded(run: Run, clips: list[Clip]) -> tuple[AutoencoderKLWan, torch.Tensor]:
    """Return the VAE with the latents' scale set, and the clips' latents."""
    vae = AutoencoderKLWan.from_pretrained(run.place("vae")).to(torch.get_default_device())
    latents = cached_latents(vae, run.work / "latents", clips)
    standardise(vae, latents)
    return vae, latents


def build(name: str, run: Run) -> torch.nn.Module:
    """Build the untrained module of a part, with the data that it is trained on."""
    module = PARTS[name].module
    torch.manual_seed(0)
    if module is Vae:
        return Vae(run.clips(name))
    if module is Decoder:
        clips = run.clips(name)
        vae, latents = encoded(run, clips)
        return Decoder(vae, clips, latents)
    if module is not TextToLatents:
        return module()
    text_encoder = UMT5EncoderModel.from_pretrained(run.place("text_encoder"))
    model = TextToLatents(text_encoder.to(torch.get_default_device()))
    if name == "transformer-added":
        load_average(model, run, "transformer")
    elif name != "transformer":
        torch.manual_seed(int(name.removeprefix("transformer-")))
        model = TextToLatents(text_encoder)
    return model


def train_part(name: str, run: Run, compiled: bool = False) -> None:
    """Train a part, or go on with it, and save what it became.

    If the run's time is over first, `Paused` is raised.
    """
    part, model = PARTS[name], build(name, run)
    loss = model.loss
    if part.module is TextToLatents:
        clips = run.clips(name)
        vae, latents = encoded(run, clips)
        loss = loss_on(model, clips, vae, latents)
        if compiled:
            model.transformer.compile()
    trainer = Trainer(
        name, model, folder=run.work, until=run.until, state=run.state(name), **part.options
    )
    trainer.run(lambda rng: loss(rng, part.batch), run.steps(name))
    if name == "transformer":
        decoder = run.place("decoder")
        vae = AutoencoderKLWan.from_pretrained(decoder) if decoder.exists() else vae
        save_pipeline(vae, model, run.out / "video_model")
    else:
        model.save(run.place(name))


def load_average(model: torch.nn.Module, run: Run, name: str) -> None:
    """Load the averaged weights of a part's saved state into a module."""
    state = run.state(name)
    if state is None:
        raise FileNotFoundError(f"{run.work} has no state of {name!r}; train it first")
    means = {n.removeprefix("mean/"): v for n, v in load_file(state).items() if "mean/" in n}
    model.load_state_dict(means, strict=False)


def train_world(
    folder: Path,
    work: Path,
    *,
    only: str | None = None,
    share: float = 1,
    device: str = "cpu",
) -> None:
    """Train every model from nothing, or go on after an interruption; measure what they became.

    The trained models, the task tables and the model card go into `folder` (``data/world``),
    unfinished training into `work` (``build/world``). `only` names one part; by default all are
    trained. `share` of the steps and clips may be small for trials. `device` is PyTorch's name.
    """
    run = Run(work, folder, share=share)
    train(run, only, device)
    if not only:
        measure(run)


def train(run: Run, only: str | None = None, device: str = "cpu", compiled: bool = False) -> None:
    """Train all parts in order, or one."""
    if only and only not in PARTS:
        raise ValueError(f"the world has no model {only!r}; its models: {', '.join(PARTS)}")
    for name in [only] if only else PARTS:
        if name == "vae" and run.vae:
            continue
        # A default device, even the CPU, would be a mode that compiled code has to heed.
        with nullcontext() if device == "cpu" else torch.device(device):
            train_part(name, run, compiled)


def measure(run: Run, prompts: int = 7) -> dict[str, object]:
    """Measure the models of a world's folder on fresh draws; write what a reader needs to know.

    That are ``quality.json``, the card ``README.md``, the task tables, and for each transformer a
    table of what each subject was shown: clips, those that differ in a pixel, and exposures.
    """
    folder = run.out
    pipeline = DiffusionPipeline.from_pretrained(run.out / "video_model")
    pipeline.set_progress_bar_config(disable=True)
    report = {
        "recogniser": quality.recogniser_accuracy(folder),
        "psnr_db": quality.reconstruction(pipeline.vae),
        "refiner": quality.refiner_quality(folder),
        "retrieval": quality.retrieval(folder),
        "generation": {},
        "parameters": parameters(folder),
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }
    for name in (name for name in TRANSFORMERS if run.place(name).exists()):
        pipeline.transformer = WanTransformer3DModel.from_pretrained(run.place(name))
        shown = coverage(name)
        report["generation"][name] = quality.generation(pipeline, folder, shown, prompts)
        write_shown(run, name, shown)
    (folder / "quality.json").write_text(json.dumps(report, indent=1) + "\n")
    write_card(folder / "README.md", report, {name: run.steps(name) for name in PARTS})
    write_tasks(folder / "tasks.csv")
    write_tasks(folder / "tasks-added.csv", coverage("transformer-added"))
    return report


def write_shown(run: Run, name: str, shown: dict[str, int]) -> None:
    """Write how many clips, distinct clips and exposures a transformer had of each subject."""
    clips = run.clips(name)
    _, latents = encoded(run, clips)
    pixels = {(clip[0], z.tobytes()) for clip, z in zip(clips, latents.numpy(), strict=True)}
    distinct = Counter(subject for subject, _ in pixels)
    seen = exposures(name, clips, run.steps(name), PARTS[name].batch)
    if name == "transformer-added":  # it went on from the first
        before = run.clips("transformer")
        seen += exposures("transformer", before, run.steps("transformer"), TRANSFORMER.batch)
    with (run.out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("subject", "category", "clips", "distinct", "exposures"))
        for subject, count in shown.items():
            row = (subject, category_of(subject), count, distinct[subject], seen[subject])
            writer.writerow(row)


def parameters(folder: Path) -> dict[str, float]:
    """Return model -> megabytes of safetensors."""
    models = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    sizes = {m.name: sum(f.stat().st_size for f in m.rglob("*.safetensors")) for m in models}
    return {name: round(size / 1e6, 2) for name, size in sizes.items()}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    add = parser.add_argument
    add("--only", choices=PARTS, help="one part; by default all, in order")
    add("--measure", action="store_true", help="train nothing, measure what --out holds")
    add("--work", type=Path, default=ROOT / "build/world", help="unfinished training")
    add("--out", type=Path, help="finished models, laid out as data/world (default: WORK/out)")
    add("--vae", type=Path, help="a VAE whose encoder is used; by default one is trained")
    add("--resume-from", type=Path, help="a folder of stages, used where WORK has no state")
    add("--stage", type=Path, help="write a stage of every state to this folder at the end")
    add("--device", default="cpu", help="as PyTorch names it (default: cpu)")
    add("--compile", action="store_true", help="compile the transformer (takes a C++ compiler)")
    add("--threads", type=int, default=1, help="threads of PyTorch on the CPU (default: 1)")
    add("--share", type=float, default=1, help="share of steps and clips, for trials (default: 1)")
    add("--until", help="time of day, HH:MM, at which to stop")
    add("--minutes", type=float, help="minutes after which to stop")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = Run(
        work=options.work,
        out=options.out or options.work / "out",
        stage=options.resume_from,
        vae=options.vae,
        share=options.share,
        until=deadline(options.until, options.minutes),
    )
    if options.measure:
        print(json.dumps(measure(run), indent=1))
        return
    try:
        train(run, options.only, options.device, options.compile)
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
