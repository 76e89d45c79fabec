"""The models of a run, each loaded by its ecosystem's own loader and wrapped as a function.

Everything runs in batches of one fixed size, the last one padded, and every random draw has a CPU
generator of its own. So an item's result depends on the item, its seed and its place in the batch
(which can change the last bit), and not on the other items of the batch.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from transformers.utils import logging

from squbed_utils.files import inside
from squbed_utils.models import captioners, diffusion, encoders
from squbed_utils.models import language as language_models
from squbed_utils.models.checkpoints import device_of
from squbed_utils.models.encoders import Embed, WindowedText
from squbed_utils.profiles import Profile

FRAME_BATCH = 64
"""The most frames that CLIP and LPIPS see at once; fewer if a batch of videos has fewer."""


@dataclass(frozen=True)
class Models:
    """The models of a profile as functions; embeddings are float32 and of unit length.

    Videos are uint8 (T, H, W, 3), frames uint8 (H, W, 3). `lpips` takes two lists of n frames. If
    `listed`, `refine` returns the n prompts of a task. None are `caption` without a captioner;
    `refine`, `compatible` and `generate` where videos are only measured; and the first two where
    latent prompts are given.
    """

    embed_text: WindowedText
    embed_videos: Embed
    clip_images: Embed
    clip_texts: WindowedText
    lpips: Callable[[list[np.ndarray], list[np.ndarray]], np.ndarray]
    caption: captioners.Caption | None
    refine: Callable[[str, int], str | list[str]] | None = None
    compatible: Callable[[str, str], bool] | None = None
    listed: bool = False
    generate: diffusion.Generate | None = None


def load(profile: Profile, folder: Path | None = None) -> Models:
    """Load every model of a profile; paid ones keep account and answers in `folder`."""
    device = device_of(profile.device)
    frames = profile.video_model.frames or FRAME_BATCH
    frame_batch = min(FRAME_BATCH, profile.batch_size * frames)
    language = profile.refiner and load_language(profile, folder)
    measuring = load_measuring(profile, profile.batch_size, frame_batch)
    with _named("video_model", profile):
        generate = diffusion.load(profile, device, folder)
    names = ("refine", "compatible", "listed") if language else ()
    drawing = {name: getattr(language, name) for name in names}
    return dataclasses.replace(measuring, generate=generate, **drawing)


def load_language(
    profile: Profile, folder: Path | None = None
) -> language_models.LanguageModel | language_models.Completer:
    """Load the language model; a paid one keeps its account and answers in `folder`."""
    device, answers = device_of(profile.device), inside(folder, "answers") if folder else None
    with _named("refiner", profile):
        return language_models.load(profile.refiner, device, n=profile.n, answers=answers)


def load_text_encoder(profile: Profile) -> WindowedText:
    """Load the text encoder."""
    with _named("text_encoder", profile):
        return encoders.load_text_encoder(profile.text_encoder, device_of(profile.device))


def load_measuring(profile: Profile, batch_size: int = 1, frame_batch: int = 16) -> Models:
    """Load the models that embed and score so many videos, and frames of them, at once."""
    logging.disable_progress_bar()
    device = device_of(profile.device)
    with _named("clip", profile):
        clip_images, clip_texts = encoders.load_alignment(profile.clip, device, frame_batch)
    embed_text = load_text_encoder(profile)
    with _named("video_encoder", profile):
        embed_videos = encoders.load_video_encoder(profile.video_encoder, device, batch_size)
    with _named("captioner", profile):
        caption = profile.captioner and captioners.load(profile.captioner, device, batch_size)

    @cache  # loaded when it is first called, which it is not without references
    def lpips() -> Callable:
        return encoders.load_lpips(profile.lpips, device, frame_batch)

    return Models(
        embed_text=embed_text,
        embed_videos=embed_videos,
        clip_images=clip_images,
        clip_texts=clip_texts,
        lpips=lambda frames, references: lpips()(frames, references),
        caption=caption,
    )


@contextmanager
def _named(role: str, profile: Profile) -> Iterator[None]:
    """Name the role and its files in any error that a library raises about them."""
    try:
        yield
    except (ValueError, OSError, RuntimeError, MemoryError, ImportError):
        raise
    except Exception as error:
        first = str(error).partition("\n")[0][:200]
        path = getattr(getattr(profile, role), "path", "its place")
        raise ValueError(
            f"the {role} in {path} cannot be loaded "
            f"({type(error).__name__}: {first}); its config or weights are damaged: get it again"
        ) from error
