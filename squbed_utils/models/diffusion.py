"""The video model of a run: prompts and seeds in, videos out.

Each of the kinds (a pipeline of diffusers, a command, a Python function, a paid model) becomes one
function that returns, for each prompt and seed, a video or the exception that explains its absence.
A video is stored with the size and frame rate that its model gave it.
"""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import AutoModel, DiffusionPipeline
from diffusers.utils import logging

from squbed_utils.models import script
from squbed_utils.models.checkpoints import class_in, locate
from squbed_utils.models.encoders import in_batches
from squbed_utils.models.errors import Stop, memory_named
from squbed_utils.profiles import Profile
from squbed_utils.video import Video
from squbed_utils.video_models import Command, Diffusers, Python, Veo, families_of

Generate = Callable[[list[str], list[int]], list[Video | Exception]]
"""(prompts, seeds) -> for each a video, or the exception that explains its absence."""

Draw = Callable[[list[tuple[str, int]]], Callable[[int], Video]]
"""A batch of (prompt, seed) -> a function: place in the batch -> its video, or an exception."""

ARGUMENTS = {"height": "height", "width": "width", "frames": "num_frames"}
ARGUMENTS |= {"steps": "num_inference_steps", "guidance": "guidance_scale"}
"""Setting of a profile -> argument of a pipeline's call."""

OURS = ("prompt", "generator", *ARGUMENTS.values(), "output_type", "image", "video", "latents")
OURS += ("num_videos_per_prompt", "return_dict")
"""Arguments of a pipeline that `options` may not set."""


def load(profile: Profile, device: str, folder: Path | None = None) -> Generate:
    """Load the video model of a profile; a paid one keeps its account in `folder`, the archive.

    The returned function raises `Stop` when the budget is used up or the machine is out of memory;
    it returns any other exception in the place of a video.
    """
    model = profile.video_model
    if isinstance(model, Veo):
        from squbed_utils.models import veo  # takes a second to import

        return veo.load(model, folder)
    if isinstance(model, Command):
        return script.load(model)
    if isinstance(model, Python):
        draw = script.load_function(model)
    else:
        draw = _load_diffusers(model, device, getattr(torch, profile.dtype))
    return lambda prompts, seeds: in_batches(
        lambda batch: _each(draw, batch),
        list(zip(prompts, seeds, strict=True)),
        profile.batch_size,
    )


def _each(draw: Draw, items: list[tuple[str, int]]) -> list[Video | Exception]:
    """Generate a batch; if that fails with any exception, generate each of its videos alone.

    A video's place in a batch can change its last bit, so alone it is among copies of itself.
    """
    videos = _attempt(draw, items, range(len(items)))
    if isinstance(videos, list):
        return videos
    if len(items) == 1:
        return [videos]
    alone = [_attempt(draw, [item] * len(items), [i]) for i, item in enumerate(items)]
    return [video[0] if isinstance(video, list) else video for video in alone]


def _attempt(
    draw: Draw, items: list[tuple[str, int]], places: Iterable[int]
) -> list[Video] | Exception:
    """Return the videos at some places of a batch, or why there are none."""
    try:
        with memory_named():
            video_at = draw(items)
            return [video_at(i) for i in places]
    except Stop:
        raise
    except Exception as error:
        return error


def _load_diffusers(model: Diffusers, device: str, dtype: torch.dtype) -> Draw:
    """Load a pipeline, whose frames are float (batch, T, H, W, 3) in [0, 1]."""
    if model.offload and device == "cpu":
        raise ValueError(
            "video_model.offload needs an accelerator, and the device here is the CPU; "
            "set offload: false"
        )
    logging.disable_progress_bar()
    family = model.constraints
    parts = {"safety_checker": guardrail(model.guardrail)} if family.guardrail else {}
    dtypes = {"default": dtype} | dict.fromkeys(family.float32, torch.float32)

    def pipeline_of(setting: str, expected: str, **own: torch.nn.Module) -> DiffusionPipeline:
        folder = locate(model, "video_model", setting)
        _check_class(folder, expected, model.family)
        pipeline = DiffusionPipeline.from_pretrained(
            folder, dtype=dtypes, local_files_only=True, use_safetensors=True, **parts
        )
        pipeline.register_modules(**own)
        return _prepare(pipeline, model, device)

    own = {}
    if model.transformer:
        folder = str(locate(model, "video_model", "transformer"))
        own["transformer"] = AutoModel.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True
        )
    pipeline = pipeline_of("path", family.pipeline, **own)
    call = _arguments(model, pipeline)
    painter = None
    if model.image_model:
        painter = pipeline_of("image_model", family.image_pipeline)
        parameters = inspect.signature(painter.__call__).parameters
        image_call = {name: value for name, value in call.items() if name in parameters}

    @torch.inference_mode()
    def draw(items: list[tuple[str, int]]) -> Callable[[int], Video]:
        batch = {"prompt": [prompt for prompt, _ in items]}
        batch["generator"] = [torch.Generator("cpu").manual_seed(int(seed)) for _, seed in items]
        if painter is not None:
            batch["image"] = list(painter(**batch, **image_call).images)
        frames = pipeline(**batch, **call).frames
        return lambda i: Video(to_uint8(frames[i]), model.fps)

    return draw


def _prepare(pipeline: DiffusionPipeline, model: Diffusers, device: str) -> DiffusionPipeline:
    """Put a pipeline on its device, in evaluation mode."""
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    if model.constraints.slicing:
        pipeline.vae.enable_slicing()
    if model.vae_tiling:
        pipeline.vae.enable_tiling()
    if model.offload:
        pipeline.enable_model_cpu_offload(device=device)
        return pipeline
    return pipeline.to(device)


def _check_class(folder: Path, expected: str, family: str | None) -> None:
    """Refuse a folder whose pipeline is not of the family's class, or no text-to-video pipeline."""
    name = class_in(folder)
    if family is None:
        _refuse_unknown(folder, name)
    elif name != expected:
        own = families_of(name)
        known = "no family has it; take family out to call it as it is"
        fits = f"set family: {own[0]}" if own else known
        raise ValueError(
            f"{folder} holds a {name}, but family {family} needs a {expected} there; {fits}, or "
            "correct the path"
        )


def _refuse_unknown(folder: Path, name: object) -> None:
    """Refuse a class that is not one of diffusers that makes videos of text alone."""
    made = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(made, type) and issubclass(made, DiffusionPipeline)):
        raise ValueError(
            f"{folder} holds a {name}, which diffusers {diffusers.__version__} does not have, and "
            "no code of a model's folder is run; use kind: python or command"
        )
    wanted = inspect.signature(made.__call__).parameters
    needed = [
        n for n, p in wanted.items() if p.default is p.empty and p.kind == p.POSITIONAL_OR_KEYWORD
    ]
    needed = [n for n in needed if n not in ("self", "prompt")]
    if "prompt" not in wanted or needed:
        lacks = f"needs {', '.join(needed)}" if needed else "takes no prompt"
        raise ValueError(f"{folder} holds a {name}, which {lacks}; expected text to video")


def _arguments(model: Diffusers, pipeline: DiffusionPipeline) -> dict:
    """Return the arguments of every call; refuse what the pipeline does not take."""
    parameters, named = inspect.signature(pipeline.__call__).parameters, type(pipeline).__name__
    options = [name for name in parameters if name not in OURS]
    for name in model.options:
        if name not in options:
            raise ValueError(
                f"video_model.options: {name!r} is not an option of {named}; "
                f"it takes: {', '.join(options)}"
            )
    call = {}
    for setting, name in ARGUMENTS.items():
        if (value := getattr(model, setting)) is None:
            continue
        if name not in parameters:
            raise ValueError(
                f"video_model.{setting} is {value}, but {named} takes no {name}; take it out, or "
                "set what it takes instead in video_model.options"
            )
        call[name] = value
    rates = [model.constraints.rate] if model.family else ["frame_rate", "fps"]
    call |= {rate: model.fps for rate in rates if rate in parameters}
    return call | {"output_type": "np"} | model.options


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Round float frames in [0, 1] to uint8; NaN and infinite values raise ValueError."""
    if not np.isfinite(frames).all():
        raise ValueError("the generated video has values that are not finite")
    return np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)


def guardrail(wanted: bool) -> object:
    """Return the Cosmos guardrail if it is wanted, else an object that lets everything pass."""
    if not wanted:
        return _LetPass()
    try:
        from cosmos_guardrail import CosmosSafetyChecker
    except ImportError as error:
        raise RuntimeError(
            "the guardrail of Cosmos needs the package cosmos_guardrail, which is not installed; "
            "run `pip install cosmos_guardrail`, or, where the model's licence allows it, set "
            "video_model.guardrail: false in the profile"
        ) from error
    checker = CosmosSafetyChecker()
    check = checker.check_video_safety

    def check_or_refuse(frames: np.ndarray) -> np.ndarray:
        checked = check(frames)
        if checked is None:
            raise ValueError("the Cosmos guardrail refuses the generated video")
        return checked

    checker.check_video_safety = check_or_refuse
    return checker


class _LetPass:
    """A checker, with the methods that the pipelines call, that lets everything pass."""

    device, dtype = torch.device("cpu"), torch.float32

    def to(self, *where: object) -> "_LetPass":
        return self

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray:
        return frames
