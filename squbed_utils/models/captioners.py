"""Captioners: what a video shows, in words."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import resize
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from squbed_utils import roles
from squbed_utils.models import replies
from squbed_utils.models.checkpoints import locate
from squbed_utils.models.encoders import in_batches, spread
from squbed_utils.models.imagenet import LABELS, load_network
from squbed_utils.models.weights import load_pretrained
from squbed_utils.world import render, scenes
from squbed_utils.world.scenes import VALUES, recognise

UNASKED = ("blip", "git")
"""Model types that describe a picture without an instruction."""

Caption = Callable[[list[np.ndarray]], list[str]]
"""Videos, uint8 (T, H, W, 3) -> a caption of each, on one line; empty if the model says nothing."""


def load(settings: roles.CaptionModel, device: str, batch_size: int) -> Caption:
    """Load a captioner, which decodes greedily: equal videos have equal captions.

    The recogniser sees `batch_size` videos at once; a language model sees them one by one.
    """
    if isinstance(settings, roles.Recogniser):
        return _load_recogniser(settings, device, batch_size)
    if isinstance(settings, roles.ImageNetLabels):
        return _load_labels(settings, device)
    return _load_transformers(settings, device)


def _load_recogniser(settings: roles.Recogniser, device: str, batch_size: int) -> Caption:
    folder = locate(settings, "captioner")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if list(config.id2label.values()) != VALUES:
        raise ValueError(
            f"the captioner in {folder} does not name the attributes of the shapes world; give the "
            "recogniser that `squbed train-world` makes, or set captioner.kind: transformers"
        )
    model = load_pretrained(AutoModelForImageClassification, folder, "captioner", device)

    def batch(videos: list[np.ndarray]) -> list[str]:
        return [scenes.say(scene) for scene in recognise(model, np.stack(videos))]

    def caption(videos: list[np.ndarray]) -> list[str]:
        return in_batches(batch, [_as_rendered(v) for v in videos], batch_size)

    return caption


def _as_rendered(video: np.ndarray) -> np.ndarray:
    """Resample a video to the frames of the shapes world: uint8 (9, 32, 32, 3)."""
    frames, side = spread(video, render.FRAMES), [render.SIDE] * 2
    if list(frames.shape[1:3]) == side:
        return frames
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    return resize(pixels, side, antialias=True).permute(0, 2, 3, 1).numpy()


def _load_labels(settings: roles.ImageNetLabels, device: str) -> Caption:
    look = load_network(settings, "captioner", device, classify=True)

    def say(video: np.ndarray) -> str:
        probable = look(list(spread(video, settings.frames))).softmax(1).mean(0)
        return ", ".join(LABELS[i] for i in probable.topk(settings.top).indices)

    return lambda videos: [say(video) for video in videos]


def _load_transformers(settings: roles.Captioner, device: str) -> Caption:
    folder = locate(settings, "captioner")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise ValueError(
            f"the captioner in {folder} is of model_type {config.model_type!r}, which makes no "
            "text of pictures; give a model such as BLIP, LLaVA or Qwen-VL"
        )
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    if not _chats(processor) and config.model_type not in UNASKED:
        raise ValueError(
            f"the captioner in {folder} has no chat template, without which {config.model_type!r} "
            f"cannot be asked; get its processor's files, or give one of {', '.join(UNASKED)}"
        )
    dtype = getattr(torch, settings.dtype)
    model = load_pretrained(AutoModelForImageTextToText, folder, "captioner", device, dtype)

    @torch.inference_mode()
    def say(video: np.ndarray) -> str:
        inputs, repeated = _inputs(processor, settings, video)
        inputs = inputs.to(device, model.dtype)
        tokens = model.generate(
            **inputs, do_sample=False, num_beams=1, max_new_tokens=settings.max_new_tokens
        )
        text = replies.decoded(processor.tokenizer, tokens[0, repeated:])
        return " ".join(text.split())

    return lambda videos: [say(video) for video in videos]


def _chats(processor: object) -> bool:
    return getattr(processor, "chat_template", None) is not None


def _inputs(
    processor: Callable, settings: roles.Captioner, video: np.ndarray
) -> tuple[dict[str, torch.Tensor], int]:
    """Return the model's inputs, and how many of their tokens its answer repeats."""
    if not _chats(processor):
        middle = Image.fromarray(video[len(video) // 2])
        return processor(images=middle, return_tensors="pt"), 0
    pictures = [Image.fromarray(frame) for frame in spread(video, settings.frames)]
    content = [{"type": "image", "image": picture} for picture in pictures]
    content.append({"type": "text", "text": settings.instruction})
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return inputs, inputs["input_ids"].shape[1]
