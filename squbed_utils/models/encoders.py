"""The encoders of a run, and LPIPS; embeddings are float32 and of unit length."""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path

import diffusers
import numpy as np
import open_clip
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn import functional
from torchvision.models import alexnet, squeezenet1_1
from torchvision.models.video import S3D_Weights, s3d
from torchvision.transforms import Normalize
from torchvision.transforms.functional import center_crop, resize
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoVideoProcessor,
    PreTrainedTokenizerBase,
)

from squbed_utils import roles
from squbed_utils.models.checkpoints import locate
from squbed_utils.models.imagenet import LABELS, load_network
from squbed_utils.models.weights import load_into, load_pretrained, read_weights

Embed = Callable[[list[np.ndarray]], np.ndarray]
"""Videos, uint8 (T, H, W, 3), or frames, uint8 (H, W, 3) -> their embeddings, float32 (n, d)."""


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit length in float32; refuse a row that has no direction."""
    length = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise ValueError("an embedding is zero or not finite; check the encoder's weights")
    return (rows / length).astype(np.float32)


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


def spread(frames: np.ndarray, count: int) -> np.ndarray:
    """Take `count` frames evenly spaced from the first to the last.

    >>> spread(np.arange(9), 3)
    array([0, 4, 8])
    """
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


class WindowedText:
    """A text encoder that reads texts of any length.

    A text within the window is embedded as it is; for a longer one the unit embeddings of its
    windows are averaged, so that texts which differ late differ in their embeddings too.

    `embed` maps a text to (d,). `tokens` counts a text's tokens, special ones included, and the
    unknown ones; it is None if the encoder's tokenizer does not count. `window` is the most tokens
    that the encoder reads at once; None is any number.
    """

    def __init__(
        self,
        embed: Callable[[str], np.ndarray],
        tokens: Callable[[str], tuple[int, int]] | None,
        window: int | None,
    ) -> None:
        self._embed, self._tokens = embed, tokens
        # a larger number is a tokenizer's way to say that it has no limit
        self.window = window if tokens and window and window < 2**31 else None

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Embed n texts: float32 (n, d), of unit length."""
        return unit(np.stack([self._mean_of_windows(text) for text in texts]))

    def read(self, text: str) -> dict[str, int | None]:
        """Return the counts that `layout.READ` names; {} if the encoder does not count."""
        if self._tokens is None:
            return {}
        tokens, unknown = self._tokens(text)
        return {"tokens": tokens, "window": self.window, "unknown": unknown}

    def windows(self, text: str) -> list[str]:
        """Cut a text between words into as few parts as fit, of about as many words each.

        A word that is too long alone, as in a script without spaces, is cut between characters.
        """
        if self._fits(text):
            return [text]
        pieces = re.findall(r"\S+\s*", text)
        if not (pieces and all(map(self._fits, pieces))):
            pieces = list(text)
        for count in range(2, len(pieces)):
            parts = ["".join(part) for part in np.array_split(pieces, count)]
            if all(map(self._fits, parts)):
                return parts
        return pieces

    def _fits(self, text: str) -> bool:
        return self.window is None or self._tokens(text)[0] <= self.window

    def _mean_of_windows(self, text: str) -> np.ndarray:
        windows = self.windows(text)
        if len(windows) == 1:
            return self._embed(text)
        return unit(np.stack([self._embed(window) for window in windows])).mean(axis=0)


def load_text_encoder(settings: roles.TextEncoder, device: str) -> WindowedText:
    """Load a text encoder: list of str -> float32 (n, d_t)."""
    folder = locate(settings, "text_encoder")
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


def counter(tokenizer: object, clean: Callable[[str], str] = str) -> Callable | None:
    """Return the token counter of a transformers tokenizer; None for one of another kind."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return None
    special = tokenizer.num_special_tokens_to_add()

    def tokens(text: str) -> tuple[int, int]:
        ids = tokenizer(clean(text), add_special_tokens=False, truncation=False, verbose=False)
        unknown = ids.input_ids.count(tokenizer.unk_token_id)
        return len(ids.input_ids) + special, unknown

    return tokens


def load_alignment(
    settings: roles.Alignment, device: str, batch_size: int
) -> tuple[Embed, WindowedText]:
    """Load CLIP, or ImageNet's labels in a text encoder in its place, as `load_clip` does.

    A frame's embedding is then the mean of the labels' unit embeddings, weighted by probability.
    """
    if isinstance(settings, roles.Clip):
        return load_clip(settings, device, batch_size)
    look = load_network(settings, "clip", device, classify=True)
    embed_text = load_text_encoder(roles.TextEncoder(settings.label_encoder), device)
    labels = embed_text(LABELS)

    def embed_frames(frames: list[np.ndarray]) -> np.ndarray:
        logits = torch.stack(in_batches(look, frames, batch_size))
        return unit(logits.softmax(1).numpy() @ labels)

    return embed_frames, embed_text


def load_clip(settings: roles.Clip, device: str, batch_size: int) -> tuple[Embed, WindowedText]:
    """Load CLIP as two functions: frames, uint8 (H, W, 3) -> (n, d), and list of str -> (n, d)."""
    folder = locate(settings, "clip")
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
    model, tokenizer = model.eval(), open_clip.get_tokenizer(name)

    size, (*_, last) = model.visual.image_size, preprocess.transforms

    @torch.inference_mode()
    def batch(frames: list[np.ndarray]) -> list[np.ndarray]:
        if isinstance(last, Normalize) and {f.shape[:2] for f in frames} == {tuple(size)}:
            # of CLIP's own size: what is left of preparing them is quicker for all at once
            pixels = last(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous() / 255)
        else:
            pixels = torch.stack([preprocess(Image.fromarray(frame)) for frame in frames])
        return list(model.encode_image(pixels.to(device)).cpu().numpy())

    def clip_images(frames: list[np.ndarray]) -> np.ndarray:
        return unit(np.stack(in_batches(batch, frames, batch_size)))

    @lru_cache(maxsize=1)  # a task's prompt, which each of its batches asks for
    @torch.inference_mode()
    def embed(text: str) -> np.ndarray:
        return model.encode_text(tokenizer([text]).to(device))[0].cpu().numpy()

    return clip_images, WindowedText(embed, _counter(tokenizer), tokenizer.context_length)


def _counter(tokenizer: Callable) -> Callable[[str], tuple[int, int]] | None:
    """Return the token counter of an open_clip tokenizer, which may hold one of transformers."""
    if isinstance(tokenizer, open_clip.tokenizer.SimpleTokenizer):
        return lambda text: (len(tokenizer.encode(text)) + 2, 0)
    return counter(tokenizer.tokenizer, getattr(tokenizer, "clean_fn", str))


def load_video_encoder(settings: roles.VideoEncoder, device: str, batch_size: int) -> Embed:
    """Load a video encoder: list of videos, uint8 (T, H, W, 3) -> float32 (n, d_v)."""
    encode, frames = load(settings, device)

    def embed_videos(videos: list[np.ndarray]) -> np.ndarray:
        spaced = [spread(v, frames) for v in videos]
        return unit(np.stack(in_batches(encode, spaced, batch_size)))

    return embed_videos


def load(settings: roles.VideoEncoder, device: str) -> tuple[Embed, int]:
    """Load a video encoder as a function, and the number of frames T that it takes.

    The function embeds a batch of videos, all of T frames of any size; rows are not normalized.
    """
    if isinstance(settings, roles.S3D):
        return _load_s3d(settings, device)
    if isinstance(settings, roles.Timm):
        return _load_timm(settings, device)
    if isinstance(settings, roles.Autoencoder):
        return _load_autoencoder(settings, device)
    return _load_transformers(settings, device)


def _load_transformers(settings: roles.TransformersVideoEncoder, device: str) -> tuple[Embed, int]:
    folder = locate(settings, "video_encoder")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in ARCHITECTURES:
        raise ValueError(
            f"the video_encoder in {folder} is of model_type {config.model_type!r}; known: "
            f"{', '.join(ARCHITECTURES)}"
        )
    prepare, embed = ARCHITECTURES[config.model_type]
    auto = AutoVideoProcessor if prepare is _as_video else AutoImageProcessor
    processor = auto.from_pretrained(folder, local_files_only=True)
    model = load_pretrained(AutoModel, folder, "video_encoder", device)
    vision = getattr(config, "vision_config", config)
    count = vision.frames_per_clip if config.model_type == "vjepa2" else vision.num_frames

    @torch.inference_mode()
    def encode(videos: list[np.ndarray]) -> np.ndarray:
        pixels = torch.cat([prepare(processor, video) for video in videos])
        return embed(model, pixels.to(device)).float().cpu().numpy()

    return encode, count


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
    "videomae": (_as_images, lambda model, x: model(pixel_values=x).last_hidden_state.mean(1)),
    "xclip": (_as_images, lambda model, x: model.get_video_features(pixel_values=x).pooler_output),
    "vjepa2": (_as_video, lambda model, x: model.get_vision_features(x).mean(1)),
    "videoprism": (
        _as_video,
        lambda model, x: model.get_video_features(pixel_values_videos=x).pooler_output.flatten(1),
    ),
    "videoprism_vision_model": (
        _as_video,
        lambda model, x: model(pixel_values_videos=x).last_hidden_state.mean(1),
    ),
}
"""`model_type` -> how a video is prepared, and how a batch of prepared videos is embedded."""


def _load_timm(settings: roles.Timm, device: str) -> tuple[Embed, int]:
    """Load an image model whose features are averaged over a video's frames."""
    look = load_network(settings, "video_encoder", device)

    def encode(videos: list[np.ndarray]) -> np.ndarray:
        return np.stack([look(list(video)).mean(0).numpy() for video in videos])

    return encode, settings.frames


GRID = 8
"""Rows, and columns, of an autoencoder's latents."""


def _load_autoencoder(settings: roles.Autoencoder, device: str) -> tuple[Embed, int]:
    """Load a pipeline's autoencoder: each channel's mean and deviation over time, on a grid."""
    folder = locate(settings, "video_encoder")
    own = {"subfolder": "vae", "local_files_only": True, "use_safetensors": True}
    model = diffusers.AutoModel.from_pretrained(str(folder), **own).eval()
    if any(weight.is_meta for weight in model.parameters()):
        raise ValueError(f"the vae in {folder} lacks some of its weights; get the checkpoint again")
    if not any(weight.ndim == 5 for weight in model.to(device).parameters()):  # none spans time
        raise ValueError(f"the vae in {folder} is one of images; expected one of videos")
    centre, scale = (
        torch.as_tensor(model.config.get(name) or [plain]).view(-1, 1, 1, 1).to(device)
        for name, plain in (("latents_mean", 0.0), ("latents_std", 1.0))
    )

    @torch.inference_mode()
    def encode(videos: list[np.ndarray]) -> np.ndarray:
        clips = [_square(torch.from_numpy(v).permute(0, 3, 1, 2), settings.size) for v in videos]
        latents = model.encode(2 * torch.stack(clips).to(device) - 1).latent_dist.mode()
        latents = (latents - centre) / scale
        grids = functional.adaptive_avg_pool3d(latents, (latents.shape[2], GRID, GRID))
        return torch.cat([grids.mean(2), grids.std(2, correction=0)], 1).flatten(1).cpu().numpy()

    return encode, settings.frames


def _load_s3d(settings: roles.S3D, device: str) -> tuple[Embed, int]:
    path = locate(settings, "video_encoder")
    weights = read_weights(path)
    if settings.kind == "milnce-s3d":
        network = model = S3DG()
        prepare = partial(_square, size=settings.size)
        weights = {k: v for k, v in weights.items() if not k.startswith("text_module.")}
    else:
        network, prepare = s3d(), _kinetics(settings.size)
        model = network.features
    load_into(network, weights, path)
    model.to(device).eval()

    @torch.inference_mode()
    def encode(videos: list[np.ndarray]) -> np.ndarray:
        clips = [prepare(torch.from_numpy(video).permute(0, 3, 1, 2)) for video in videos]
        rows = model(torch.stack(clips).to(device))
        return (rows if rows.ndim == 2 else rows.mean((2, 3, 4))).cpu().numpy()

    return encode, settings.frames


def _square(frames: torch.Tensor, size: int | None) -> torch.Tensor:
    """Scale the shorter side, cut the middle: uint8 (T, 3, H, W) to [0, 1], (3, T, size, size).

    Without a size, frames stay as large as they are.
    """
    scaled = frames.float() / 255
    if size:
        scaled = center_crop(resize(scaled, [size], antialias=True).clamp(0, 1), [size])
    return scaled.permute(1, 0, 2, 3)


def _kinetics(size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return torchvision's preparation for Kinetics-400, scaled in proportion to another size."""
    scaled = round(size * 256 / 224)
    return S3D_Weights.KINETICS400_V1.transforms(
        crop_size=(size, size), resize_size=(scaled, scaled)
    )


INCEPTIONS = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}
"""Block -> channels: in; branch 0; reduced and out of branches 1 and 2; branch 3."""


class S3DG(nn.Module):
    """The video part: (B, 3, T, H, W) in [0, 1], T, H and W even, to the joint space (B, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Convolution(24, 64)
        self.conv1.conv1 = nn.Conv3d(24, 64, (2, 4, 4), padding=(1, 2, 2), bias=False)
        self.conv_2b = Convolution(64, 64)
        self.conv_2c = Convolution(64, 192, separable=True)
        self.gating = Gating(192)
        for name, channels in INCEPTIONS.items():
            setattr(self, f"mixed_{name}", Inception(channels))
        self.fc = nn.Linear(1024, 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed a batch of videos."""
        x = self.conv1(space_to_depth(x))[:, :, 1:, 1:, 1:]
        x = self.conv_2c(self.conv_2b(pool(x, (1, 3, 3))))
        x = pool(self.gating(x), (1, 3, 3))
        for name in INCEPTIONS:
            if name == "4b":
                x = pool(x, (3, 3, 3))
            if name == "5b":
                x = pool(x, (2, 2, 2))
            x = getattr(self, f"mixed_{name}")(x)
        return self.fc(x.mean((2, 3, 4)))


class Inception(nn.Module):
    """Four branches side by side, each gated."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        inputs, b0, b1_a, b1_b, b2_a, b2_b, b3_b = channels
        self.conv_b0 = Convolution(inputs, b0)
        self.conv_b1_a = Convolution(inputs, b1_a)
        self.conv_b1_b = Convolution(b1_a, b1_b, separable=True)
        self.conv_b2_a = Convolution(inputs, b2_a)
        self.conv_b2_b = Convolution(b2_a, b2_b, separable=True)
        self.conv_b3_b = Convolution(inputs, b3_b)
        for i, outputs in enumerate((b0, b1_b, b2_b, b3_b)):
            setattr(self, f"gating_b{i}", Gating(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Concatenate the branches' channels."""
        pooled = functional.max_pool3d(x, 3, stride=1, padding=1)
        branches = (
            self.gating_b0(self.conv_b0(x)),
            self.gating_b1(self.conv_b1_b(self.conv_b1_a(x))),
            self.gating_b2(self.conv_b2_b(self.conv_b2_a(x))),
            self.gating_b3(self.conv_b3_b(pooled)),
        )
        return torch.cat(branches, 1)


class Convolution(nn.Module):
    """A convolution, or a spatial and a temporal one, each with batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, *, separable: bool = False) -> None:
        super().__init__()
        kernel, padding = ((1, 3, 3), (0, 1, 1)) if separable else (1, 0)
        self.conv1 = nn.Conv3d(inputs, outputs, kernel, padding=padding, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.separable = separable
        if separable:
            self.conv2 = nn.Conv3d(outputs, outputs, (3, 1, 1), padding=(1, 0, 0), bias=False)
            self.bn2 = nn.BatchNorm3d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, T, H, W) to (B, out, T, H, W)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x))) if self.separable else x


class Gating(nn.Module):
    """Self-gating: each channel is weighted by a sigmoid of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the shape (B, C, T, H, W)."""
        return x * torch.sigmoid(self.fc(x.mean((2, 3, 4))))[..., None, None, None]


def space_to_depth(x: torch.Tensor) -> torch.Tensor:
    """Move each 2 x 2 x 2 cube into channels: (B, C, T, H, W) to (B, 8 C, T/2, H/2, W/2)."""
    b, c, t, h, w = x.shape
    cubes = x.reshape(b, c, t // 2, 2, h // 2, 2, w // 2, 2)
    return cubes.permute(0, 3, 5, 7, 1, 2, 4, 6).reshape(b, 8 * c, t // 2, h // 2, w // 2)


def pool(x: torch.Tensor, kernel: tuple[int, int, int]) -> torch.Tensor:
    """Max-pool by two, in time where the kernel spans it, padded at the far ends as TensorFlow."""
    stride = tuple(min(side, 2) for side in kernel)
    ends = [side - step for side, step in zip(kernel, stride, strict=True)]
    padded = functional.pad(x, (0, ends[2], 0, ends[1], 0, ends[0]))
    return functional.max_pool3d(padded, kernel, stride, ceil_mode=True)


SQUEEZENET_CUTS = (2, 5, 8, 10, 11, 12, 13)
ALEXNET_CUTS = (2, 5, 8, 10, 12)
SHIFT_TOLERANT_CUTS = (3, 7, 11, 13, 15)
"""Layers of each network after which LPIPS compares activations."""

BACKBONE = "features."
"""Beginning of the names of a backbone's weights; its classifier may have any size."""

SLICE = re.compile(r"net\.slice\d\.")
"""The same in a file of ST-LPIPS."""

LPIPS_PIXELS = 2**19
"""The most pixels in a batch of frames (at least one frame); LPIPS takes about 1 kB a pixel."""

SMALLEST_SIDE = 31


def load_lpips(
    settings: roles.Lpips, device: str, batch_size: int
) -> Callable[[list[np.ndarray], list[np.ndarray]], np.ndarray]:
    """Load LPIPS: two lists of n frames, uint8 (H, W, 3) -> distances (n,)."""
    path = locate(settings, "lpips")
    if settings.kind == "unlearned":
        path /= "model.safetensors"
    weights = read_weights(path)
    if settings.kind == "st-alex":
        features, cuts, learned = shift_tolerant_alexnet(), SHIFT_TOLERANT_CUTS, weights
        weights = {SLICE.sub("", k): v for k, v in weights.items() if SLICE.match(k)}
    else:
        learned = None
        if settings.kind == "alex":
            features, cuts = alexnet().features, ALEXNET_CUTS
            brought = "functional/image/lpips_models/alex.pth"
            learned = read_weights(Path(files("torchmetrics") / brought))
        else:
            features, cuts = squeezenet1_1().features, SQUEEZENET_CUTS
        weights = {
            k.removeprefix(BACKBONE): v for k, v in weights.items() if k.startswith(BACKBONE)
        }
    channels = learned and [learned[f"lin{i}.model.1.weight"].flatten() for i in range(len(cuts))]
    load_into(features, weights, path)
    model = Lpips(features, cuts, channels).to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def batch(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        x, y = (torch.from_numpy(np.stack(s)).to(device) for s in zip(*pairs, strict=True))
        x, y = (v.permute(0, 3, 1, 2).float() / 255 for v in (x, y))
        return model(x, y).cpu().tolist()

    def lpips(frames: list[np.ndarray], reference: list[np.ndarray]) -> np.ndarray:
        if min(frames[0].shape[:2]) < SMALLEST_SIDE:
            raise ValueError(f"frames have size {frames[0].shape[:2]}; LPIPS needs 31 x 31 pixels")
        pairs = list(zip(frames, reference, strict=True))
        at_once = min(batch_size, max(1, LPIPS_PIXELS // frames[0][..., 0].size))
        return np.array(in_batches(batch, pairs, at_once))

    return lpips


def shift_tolerant_alexnet() -> nn.Sequential:
    """Return AlexNet's convolutions as ST-LPIPS has them: all stride by `Blur` (Ghildyal 2022)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, padding=2),
        Blur(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        Blur(64),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        Blur(192),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


class Blur(nn.Module):
    """Every second pixel each way of a blurred picture, mirrored by two pixels at its edges."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.ones(channels, 1, 3, 3) / 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, about H / 2, about W / 2)."""
        x = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(x, self.filt, stride=2, groups=len(self.filt))


SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and deviation of each colour, by which LPIPS standardises pictures in [-1, 1]."""


class Lpips(nn.Module):
    """LPIPS, learned or not (Zhang et al. 2018).

    d(x, y) = sum over layers of the mean over pixels of sum_c w_c (a_c(x) - a_c(y))^2, where a are
    activations of unit length over channels, after the `cuts` of the backbone's `features`. The
    weights w are learned from people's judgements; in the unlearned form, the baseline of the
    paper's table 5, they are one.
    """

    def __init__(
        self,
        features: nn.Sequential,
        cuts: tuple[int, ...],
        weights: list[torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        starts = (0, *cuts[:-1])
        weights = weights or [torch.ones(1)] * len(cuts)
        self.slices = nn.ModuleList(features[a:b] for a, b in zip(starts, cuts, strict=True))
        self.weights = nn.ParameterList(w[:, None, None] for w in weights)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Distance of each pair of images: (B, 3, H, W) twice, range [0, 1], to (B,)."""
        both = (2 * torch.cat([x, y]) - 1 - self.shift) / self.scale
        total = 0
        for part, weights in zip(self.slices, self.weights, strict=True):
            both = part(both)
            unit = both / torch.sqrt(1e-8 + both.square().sum(1, keepdim=True))
            a, b = unit.chunk(2)
            total = total + ((a - b).square() * weights).sum(1).mean((1, 2))
        return total
