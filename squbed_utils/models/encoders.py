"""The encoders of a run, and LPIPS; embeddings are float32 and of unit length."""

from collections.abc import Callable
from functools import partial

import numpy as np
import open_clip
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from torchvision.models.video import S3D_Weights, s3d
from torchvision.transforms.functional import center_crop, resize
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoVideoProcessor

from squbed_utils import roles
from squbed_utils.models import lpips as _lpips
from squbed_utils.models.checkpoints import locate, locate_file
from squbed_utils.models.s3d import S3DG, TEXT_PART
from squbed_utils.models.weights import load_into, read_weights, refuse_incomplete
from squbed_utils.models.windows import WindowedText, counter, unit

LPIPS_PIXELS = 2**19
"""The most pixels in a batch of frames (at least one frame); LPIPS takes about 1 kB a pixel."""


def load_text_encoder(settings: roles.TextEncoder, device: str) -> WindowedText:
    """Load a text encoder: list of str -> float32 (n, d_t)."""
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
    """Load a video encoder: list of videos, uint8 (T, H, W, 3) -> float32 (n, d_v)."""
    encode, frames = load(settings, device)

    def embed_videos(videos: list[np.ndarray]) -> np.ndarray:
        spaced = [spread(v, frames) for v in videos]
        return unit(np.stack(in_batches(encode, spaced, batch_size)))

    return embed_videos


def load_clip(
    settings: roles.Clip, device: str, batch_size: int
) -> tuple[Callable[[list[np.ndarray]], np.ndarray], WindowedText]:
    """Load CLIP as two functions: frames, uint8 (H, W, 3) -> (n, d), and list of str -> (n, d)."""
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

    >>> spread(np.arange(9), 3)
    array([0, 4, 8])
    """
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _counter(tokenizer: Callable) -> Callable[[str], tuple[int, int]] | None:
    """Return the token counter of an open_clip tokenizer, which may hold one of transformers."""
    if isinstance(tokenizer, open_clip.tokenizer.SimpleTokenizer):
        return lambda text: (len(tokenizer.encode(text)) + 2, 0)
    return counter(tokenizer.tokenizer, getattr(tokenizer, "clean_fn", str))


def in_batches(function: Callable[[list], list], items: list, size: int) -> list:
    """Apply a function to lists of exactly `size` items; the last is padded with its last item.

    >>> in_batches(lambda batch: [len(batch)] * len(batch), ["a", "b", "c"], 2)
    [2, 2, 2]
    """
    results = []
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        padded = batch + [batch[-1]] * (size - len(batch))
        results.extend(list(function(padded))[: len(batch)])
    return results


Encode = Callable[[list[np.ndarray]], np.ndarray]
"""A batch of videos, uint8 (T, H, W, 3), with the T that the encoder takes -> (B, d)."""


def load(settings: roles.VideoEncoder, device: str) -> tuple[Encode, int]:
    """Load a video encoder as a function, and the number of frames T that it takes.

    The function embeds a batch of videos, uint8 (T, H, W, 3) with frames of any size, as float32
    (B, d), not normalized.
    """
    if isinstance(settings, roles.S3D):
        return _load_s3d(settings, device)
    return _load_transformers(settings, device)


def _load_transformers(settings: roles.TransformersVideoEncoder, device: str) -> tuple[Encode, int]:
    folder = locate(settings.path, "video_encoder", revision=settings.revision)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in ARCHITECTURES:
        raise ValueError(
            f"the video_encoder in {folder} is of model_type {config.model_type!r}; known: "
            f"{', '.join(ARCHITECTURES)}"
        )
    prepare, embed, length = ARCHITECTURES[config.model_type]
    auto = AutoVideoProcessor if prepare is _as_video else AutoImageProcessor
    processor = auto.from_pretrained(folder, local_files_only=True)
    model, report = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    refuse_incomplete(report, "video_encoder", folder)
    model = model.to(device).eval()

    @torch.inference_mode()
    def encode(videos: list[np.ndarray]) -> np.ndarray:
        pixels = torch.cat([prepare(processor, video) for video in videos])
        return embed(model, pixels.to(device)).float().cpu().numpy()

    return encode, length(config)


def _as_images(processor: Callable, video: np.ndarray) -> torch.Tensor:
    """Prepare frames with an image processor: (1, T, 3, H, W)."""
    pixels = processor(list(video), return_tensors="pt")["pixel_values"]
    return pixels if pixels.ndim == 5 else pixels[None]


def _as_video(processor: Callable, video: np.ndarray) -> torch.Tensor:
    """Prepare frames with a video processor that must use every frame: (1, T, 3, H, W)."""
    return processor(
        torch.from_numpy(video).permute(0, 3, 1, 2), return_tensors="pt", do_sample_frames=False
    )["pixel_values_videos"]


ARCHITECTURES = {
    "videomae": (
        _as_images,
        lambda model, pixels: model(pixel_values=pixels).last_hidden_state.mean(1),
        lambda config: config.num_frames,
    ),
    "xclip": (
        _as_images,
        lambda model, pixels: model.get_video_features(pixel_values=pixels).pooler_output,
        lambda config: config.vision_config.num_frames,
    ),
    "vjepa2": (
        _as_video,
        lambda model, pixels: model.get_vision_features(pixels).mean(1),
        lambda config: config.frames_per_clip,
    ),
    "videoprism": (
        _as_video,
        lambda model, pixels: model.get_video_features(pixels).pooler_output.flatten(1),
        lambda config: config.vision_config.num_frames,
    ),
    "videoprism_vision_model": (
        _as_video,
        lambda model, pixels: model(pixel_values_videos=pixels).last_hidden_state.mean(1),
        lambda config: config.num_frames,
    ),
}
"""`model_type` -> (preparation of a video, embedding of a batch, frames that it takes)."""


def _load_s3d(settings: roles.S3D, device: str) -> tuple[Encode, int]:
    path = locate_file(settings.path, "video_encoder", settings.kind, sha256=settings.sha256)
    weights = read_weights(path)
    if settings.kind == "milnce-s3d":
        network, prepare = S3DG(), partial(_square, size=settings.size)
        weights = {k: v for k, v in weights.items() if not k.startswith(TEXT_PART)}
    else:
        network, prepare = s3d(), _kinetics(settings.size)
    load_into(network, weights, path)
    model = network if settings.kind == "milnce-s3d" else network.features
    model = model.to(device).eval()

    @torch.inference_mode()
    def encode(videos: list[np.ndarray]) -> np.ndarray:
        clips = [prepare(torch.from_numpy(video).permute(0, 3, 1, 2)) for video in videos]
        rows = model(torch.stack(clips).to(device))
        return (rows if rows.ndim == 2 else rows.mean((2, 3, 4))).cpu().numpy()

    return encode, settings.frames


def _square(frames: torch.Tensor, size: int) -> torch.Tensor:
    """Scale the shorter side, cut the middle: uint8 (T, 3, H, W) to [0, 1], (3, T, size, size)."""
    scaled = resize(frames.float() / 255, [size], antialias=True).clamp(0, 1)
    return center_crop(scaled, [size]).permute(1, 0, 2, 3)


def _kinetics(size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return torchvision's preparation for Kinetics-400, scaled in proportion to another size."""
    scaled = round(size * 256 / 224)
    return S3D_Weights.KINETICS400_V1.transforms(
        crop_size=(size, size), resize_size=(scaled, scaled)
    )
