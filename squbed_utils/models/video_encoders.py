"""Video encoders: one vector a video, from transformers' models or from S3D."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torchvision.models.video import S3D_Weights, s3d
from torchvision.transforms.functional import center_crop, resize
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoVideoProcessor

from squbed_utils import roles
from squbed_utils.models.checkpoints import locate, locate_file
from squbed_utils.models.s3d import S3DG, TEXT_PART
from squbed_utils.models.weights import load_into, read_weights, refuse_incomplete

Encode = Callable[[list[np.ndarray]], np.ndarray]
"""A batch of videos, uint8 (T, H, W, 3), all of the length that the encoder takes -> (B, d)."""


def load(settings: roles.VideoEncoder, device: str) -> tuple[Encode, int]:
    """Load a video encoder.

    Parameters
    ----------
    settings : TransformersVideoEncoder or S3D
    device : str

    Returns
    -------
    encode : callable
        A batch of videos, uint8 (T, H, W, 3) -> float32 (B, d), not normalized. Frames may have
        any size.
    frames : int
        The T that it takes.

    Raises
    ------
    FileNotFoundError
        If the model is not there.
    ValueError
        If it is of an unknown architecture, or a file is not the one that it should be.
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
    """Prepare frames with a video processor, which must not choose among them: (1, T, 3, H, W)."""
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
"""`model_type` of a config -> (preparation of a video, embedding of a batch, frames it takes)."""


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
    """Return torchvision's own preparation for Kinetics-400, in its proportions at another size."""
    scaled = round(size * 256 / 224)
    return S3D_Weights.KINETICS400_V1.transforms(
        crop_size=(size, size), resize_size=(scaled, scaled)
    )
