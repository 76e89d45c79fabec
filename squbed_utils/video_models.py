"""The video model of a run: prompts and seeds in, videos out."""

from collections.abc import Callable

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging

from squbed_utils._batches import in_batches
from squbed_utils.locate import locate
from squbed_utils.profiles import Profile


def load(profile: Profile, device: str) -> Callable[[list[str], list[int]], list[np.ndarray]]:
    """Load the video model of a profile.

    Returns
    -------
    callable
        (prompts, seeds) -> list of videos, uint8 (T, H, W, 3).
    """
    model = profile.video_model
    logging.disable_progress_bar()
    folder = locate(model.path, "video_model", revision=model.revision)
    pipeline = DiffusionPipeline.from_pretrained(
        folder, dtype=getattr(torch, profile.dtype), local_files_only=True, use_safetensors=True
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    call = {"height": model.height, "width": model.width, "num_frames": model.frames}
    call |= {"num_inference_steps": model.steps, "output_type": "np"} | model.options
    if model.guidance is not None:
        call["guidance_scale"] = model.guidance

    @torch.inference_mode()
    def batch(items: list[tuple[str, int]]) -> list[np.ndarray]:
        generators = [torch.Generator("cpu").manual_seed(int(seed)) for _, seed in items]
        return list(pipeline([prompt for prompt, _ in items], generator=generators, **call).frames)

    def generate(prompts: list[str], seeds: list[int]) -> list[np.ndarray]:
        items = list(zip(prompts, seeds, strict=True))
        return [to_uint8(v) for v in in_batches(batch, items, profile.batch_size)]

    return generate


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Round float frames in [0, 1] to uint8; refuse what is not finite.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.
    """
    if not np.isfinite(frames).all():
        raise ValueError("the generated video has values that are not finite")
    return np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
