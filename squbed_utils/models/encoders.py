"""The encoders of a run, and LPIPS; embeddings are float32 and of unit length."""

from collections.abc import Callable

import numpy as np
import open_clip
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from squbed_utils import roles
from squbed_utils.models import lpips as _lpips
from squbed_utils.models import video_encoders
from squbed_utils.models.batches import in_batches
from squbed_utils.models.checkpoints import locate, locate_file
from squbed_utils.models.windows import WindowedText, counter, unit

LPIPS_PIXELS = 2**19
"""Of a batch of frames, at most, or one frame: its activations take about a kilobyte a pixel."""


def load_text_encoder(settings: roles.TextEncoder, device: str) -> WindowedText:
    """Load a text encoder: list of str -> (n, d_t).

    Raises
    ------
    FileNotFoundError
        If the model is not there.
    ValueError
        If it has no prompt of the profile's `prompt_name`; those that it has are listed.
    """
    folder = locate(settings.path, "text_encoder", revision=settings.revision)
    model = SentenceTransformer(str(folder), device=device, local_files_only=True).eval()
    name = settings.prompt_name
    if name is not None and name not in model.prompts:
        raise ValueError(
            f"text_encoder.prompt_name is {name!r}; known to {settings.path}: "
            f"{', '.join(model.prompts) or 'none'}"
        )

    before = model.prompts.get(name or model.default_prompt_name, "")
    tokenizer = getattr(model.tokenizer, "tokenizer", model.tokenizer)  # within a processor
    return WindowedText(
        lambda text: model.encode(text, prompt_name=name, show_progress_bar=False),
        counter(tokenizer, lambda text: before + text),
        model.max_seq_length,
    )


def load_video_encoder(
    settings: roles.VideoEncoder, device: str, batch_size: int
) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Load a video encoder: list of videos, uint8 (T, H, W, 3) -> (n, d_v)."""
    encode, frames = video_encoders.load(settings, device)

    def embed_videos(videos: list[np.ndarray]) -> np.ndarray:
        spaced = [spread(v, frames) for v in videos]
        return unit(np.stack(in_batches(encode, spaced, batch_size)))

    return embed_videos


def load_clip(
    settings: roles.Clip, device: str, batch_size: int
) -> tuple[Callable[[list[np.ndarray]], np.ndarray], WindowedText]:
    """Load CLIP: frames, uint8 (H, W, 3) -> (n, d), and list of str -> (n, d)."""
    folder = locate(settings.path, "clip", revision=settings.revision)
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
    model, tokenizer = model.eval(), open_clip.get_tokenizer(name)

    @torch.inference_mode()
    def batch(frames: list[np.ndarray]) -> list[np.ndarray]:
        pixels = torch.stack([preprocess(Image.fromarray(frame)) for frame in frames])
        return list(model.encode_image(pixels.to(device)).cpu().numpy())

    def clip_images(frames: list[np.ndarray]) -> np.ndarray:
        return unit(np.stack(in_batches(batch, frames, batch_size)))

    @torch.inference_mode()
    def embed(text: str) -> np.ndarray:
        return model.encode_text(tokenizer([text]).to(device))[0].cpu().numpy()

    return clip_images, WindowedText(embed, _counter(tokenizer), tokenizer.context_length)


def load_lpips(
    settings: roles.Lpips, device: str, batch_size: int
) -> Callable[[list[np.ndarray], list[np.ndarray]], np.ndarray]:
    """Load LPIPS: two lists of n frames, uint8 (H, W, 3) -> distances (n,)."""
    if settings.kind == "alex":
        model = _lpips.load_alex(locate_file(settings.path, "lpips", settings.kind)).to(device)
    else:
        model = _lpips.load_unlearned(locate(settings.path, "lpips")).to(device)

    @torch.inference_mode()
    def batch(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        x, y = (torch.from_numpy(np.stack(s)).to(device) for s in zip(*pairs, strict=True))
        x, y = (v.permute(0, 3, 1, 2).float() / 255 for v in (x, y))
        return model(x, y).cpu().tolist()

    def lpips(frames: list[np.ndarray], reference: list[np.ndarray]) -> np.ndarray:
        if min(frames[0].shape[:2]) < _lpips.SMALLEST_SIDE:
            raise ValueError(f"frames have size {frames[0].shape[:2]}; LPIPS needs 31 x 31 pixels")
        pairs = list(zip(frames, reference, strict=True))
        at_once = min(batch_size, max(1, LPIPS_PIXELS // frames[0][..., 0].size))
        return np.array(in_batches(batch, pairs, at_once))

    return lpips


def spread(frames: np.ndarray, count: int) -> np.ndarray:
    """Take `count` frames evenly spaced from the first to the last.

    Examples
    --------
    >>> spread(np.arange(9), 3)
    array([0, 4, 8])

    """
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _counter(tokenizer: Callable) -> Callable[[str], tuple[int, int]] | None:
    """Return how one of open_clip's tokenizers counts: its own, or one of transformers within."""
    if isinstance(tokenizer, open_clip.tokenizer.SimpleTokenizer):
        return lambda text: (len(tokenizer.encode(text)) + 2, 0)
    return counter(tokenizer.tokenizer, getattr(tokenizer, "clean_fn", str))
