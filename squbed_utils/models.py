"""The models of a run, each loaded by its ecosystem's own loader and wrapped as a function.

Everything runs in batches of one fixed size, the last one padded, and every random draw has a CPU
generator of its own. So what comes out for one item depends on the item, its seed and its place in
the batch (which can change the last bit), and not on what else the batch holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from sentence_transformers import SentenceTransformer
from transformers import AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from squbed_utils import _lpips
from squbed_utils.profiles import MARKERS, Profile, device_of, folder_of

FRAME_BATCH = 64
"""Frames that CLIP and LPIPS see at once, at most; fewer where a batch of videos has fewer."""


@dataclass(frozen=True)
class Models:
    """The models of a profile as functions; embeddings are float32 and of unit length.

    Attributes
    ----------
    refine : callable
        (prompt, seed) -> str.
    generate : callable
        (prompts, seeds) -> list of videos, uint8 (T, H, W, 3).
    embed_text : callable
        list of str -> (n, d_t).
    embed_videos : callable
        list of videos, uint8 (T, H, W, 3) -> (n, d_v).
    clip_images : callable
        list of frames, uint8 (H, W, 3) -> (n, d).
    clip_texts : callable
        list of str -> (n, d).
    lpips : callable
        Two lists of n frames, uint8 (H, W, 3) -> distances (n,).

    """

    refine: Callable[[str, int], str]
    generate: Callable[[list[str], list[int]], list[np.ndarray]]
    embed_text: Callable[[list[str]], np.ndarray]
    embed_videos: Callable[[list[np.ndarray]], np.ndarray]
    clip_images: Callable[[list[np.ndarray]], np.ndarray]
    clip_texts: Callable[[list[str]], np.ndarray]
    lpips: Callable[[list[np.ndarray], list[np.ndarray]], np.ndarray]


def load(profile: Profile) -> Models:
    """Load every model of a profile.

    Parameters
    ----------
    profile : Profile

    Returns
    -------
    Models

    Raises
    ------
    FileNotFoundError
        If a model's folder is missing or lacks its main file.
    ValueError
        If the device is not there, or a folder does not hold the kind of model it should.
    """
    device = device_of(profile.device)
    folders = {role: folder_of(profile, role) for role in MARKERS}
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    frame_batch = min(FRAME_BATCH, profile.batch_size * profile.video_model.frames)
    clip_images, clip_texts = _clip(folders["clip"], device, frame_batch)
    return Models(
        refine=_refiner(profile, folders["refiner"], device),
        generate=_generator(profile, folders["video_model"], device),
        embed_text=_text_encoder(folders["text_encoder"], device),
        embed_videos=_video_encoder(folders["video_encoder"], device, profile.batch_size),
        clip_images=clip_images,
        clip_texts=clip_texts,
        lpips=_lpips_distance(folders["lpips"], device, frame_batch),
    )


def in_batches(function: Callable[[list], list], items: list, size: int) -> list:
    """Apply a function to lists of exactly `size` items; the last is padded with its last item.

    Examples
    --------
    >>> in_batches(lambda batch: [len(batch)] * len(batch), ["a", "b", "c"], 2)
    [2, 2, 2]

    """
    results = []
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        padded = batch + [batch[-1]] * (size - len(batch))
        results.extend(list(function(padded))[: len(batch)])
    return results


def spread(frames: np.ndarray, count: int) -> np.ndarray:
    """Take `count` frames evenly spaced from the first to the last.

    Examples
    --------
    >>> spread(np.arange(9), 3)
    array([0, 4, 8])

    """
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


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


def _generator(profile: Profile, folder: Path, device: str) -> Callable:
    model = profile.video_model
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


def _refiner(profile: Profile, folder: Path, device: str) -> Callable:
    settings = profile.refiner
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).to(device).eval()
    sampling = {"do_sample": True, "temperature": settings.temperature, "top_k": 0, "top_p": 1.0}
    sampling |= {"max_new_tokens": settings.max_new_tokens, "pad_token_id": tokenizer.pad_token_id}

    @torch.inference_mode()
    def refine(prompt: str, seed: int) -> str:
        ids = tokenizer(settings.template.format(prompt=prompt))["input_ids"]
        if ids[-1] == tokenizer.eos_token_id:
            ids = ids[:-1]
        inputs = torch.tensor([ids], device=device)
        with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
            torch.manual_seed(seed)
            output = model.generate(inputs, attention_mask=torch.ones_like(inputs), **sampling)
        return tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)

    return refine


def _text_encoder(folder: Path, device: str) -> Callable:
    model = SentenceTransformer(str(folder), device=device, local_files_only=True).eval()

    def embed_text(texts: list[str]) -> np.ndarray:
        rows = [model.encode(text, show_progress_bar=False) for text in texts]
        return _unit(np.stack(rows))

    return embed_text


def _video_encoder(folder: Path, device: str, batch_size: int) -> Callable:
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).to(device).eval()
    count = getattr(model.config, "num_frames", None)

    @torch.inference_mode()
    def batch(videos: list[np.ndarray]) -> list[np.ndarray]:
        pixels = [processor(list(v), return_tensors="pt")["pixel_values"] for v in videos]
        hidden = model(pixel_values=torch.cat(pixels).to(device)).last_hidden_state
        return list(hidden.mean(1).cpu().numpy())

    def embed_videos(videos: list[np.ndarray]) -> np.ndarray:
        spaced = [spread(v, count or len(v)) for v in videos]
        return _unit(np.stack(in_batches(batch, spaced, batch_size)))

    return embed_videos


def _clip(folder: Path, device: str, batch_size: int) -> tuple[Callable, Callable]:
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
    model, tokenizer = model.eval(), open_clip.get_tokenizer(name)

    @torch.inference_mode()
    def batch(frames: list[np.ndarray]) -> list[np.ndarray]:
        pixels = torch.stack([preprocess(Image.fromarray(frame)) for frame in frames])
        return list(model.encode_image(pixels.to(device)).cpu().numpy())

    def clip_images(frames: list[np.ndarray]) -> np.ndarray:
        return _unit(np.stack(in_batches(batch, frames, batch_size)))

    @torch.inference_mode()
    def clip_texts(texts: list[str]) -> np.ndarray:
        rows = [model.encode_text(tokenizer([text]).to(device))[0] for text in texts]
        return _unit(torch.stack(rows).cpu().numpy())

    return clip_images, clip_texts


def _lpips_distance(folder: Path, device: str, batch_size: int) -> Callable:
    model = _lpips.load(folder).to(device)

    @torch.inference_mode()
    def batch(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        x, y = (torch.from_numpy(np.stack(s)).to(device) for s in zip(*pairs, strict=True))
        x, y = (v.permute(0, 3, 1, 2).float() / 255 for v in (x, y))
        return model(x, y).cpu().tolist()

    def lpips(frames: list[np.ndarray], reference: list[np.ndarray]) -> np.ndarray:
        if min(frames[0].shape[:2]) < _lpips.SMALLEST_SIDE:
            raise ValueError(f"frames have size {frames[0].shape[:2]}; LPIPS needs 31 x 31 pixels")
        pairs = list(zip(frames, reference, strict=True))
        return np.array(in_batches(batch, pairs, batch_size))

    return lpips


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit length in float32; refuse a row that has no direction."""
    length = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise ValueError("an embedding is zero or not finite; check the encoder's weights")
    return (rows / length).astype(np.float32)
