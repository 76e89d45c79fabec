"""The encoders of a run, and LPIPS; embeddings are float32 and of unit length."""

import math
import re
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path

import diffusers
import numpy as np
import open_clip
import torch
import transformers
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch.nn import functional
from torchvision.models import alexnet, squeezenet1_1
from torchvision.models.video import S3D_Weights, s3d
from torchvision.transforms.functional import center_crop, resize

from squbed_utils import roles
from squbed_utils.models import networks
from squbed_utils.models.checkpoints import locate
from squbed_utils.models.imagenet import LABELS, load_network
from squbed_utils.models.weights import load_into, load_pretrained, read_weights
from squbed_utils.tasks.task import SMALLEST

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
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerBase):
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

    @torch.inference_mode()
    def batch(frames: list[np.ndarray]) -> list[np.ndarray]:
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
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in ARCHITECTURES:
        raise ValueError(
            f"the video_encoder in {folder} is of model_type {config.model_type!r}; known: "
            f"{', '.join(ARCHITECTURES)}"
        )
    prepare, embed = ARCHITECTURES[config.model_type]
    kind = "Video" if prepare is _as_video else "Image"
    processor = getattr(transformers, f"Auto{kind}Processor").from_pretrained(
        folder, local_files_only=True
    )
    model = load_pretrained(transformers.AutoModel, folder, "video_encoder", device)
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

PROBE = 64
"""Pixels a side of frames that show whether an autoencoder looks at the last of them."""


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
    def latents_of(clip: torch.Tensor) -> torch.Tensor:
        return model.encode(2 * clip[None].to(device) - 1).latent_dist.mode()[0]

    def one(video: np.ndarray) -> np.ndarray:
        clip = _square(torch.from_numpy(video).permute(0, 3, 1, 2), settings.size)
        latents = (latents_of(clip) - centre) / scale
        if (least := min(latents.shape[2:])) < GRID:
            side = math.ceil(min(clip.shape[2:]) / least * GRID)
            raise ValueError(
                f"frames of {clip.shape[2]} x {clip.shape[3]} are too small for the vae; set "
                f"video_encoder.size to {side} or more"
            )
        grid = functional.adaptive_avg_pool3d(latents, (latents.shape[1], GRID, GRID))
        return torch.cat([grid.mean(1), grid.std(1, correction=0)]).flatten().cpu().numpy()

    clip = torch.zeros(3, settings.frames, PROBE, PROBE)
    before, clip[:, -1] = latents_of(clip), 1.0
    if torch.equal(latents_of(clip), before):
        raise ValueError(
            f"video_encoder.frames is {settings.frames}, of which the vae in {folder} leaves out "
            "the last; give 8 k + 1 frames, such as 9 or 17"
        )
    return lambda videos: np.stack([one(video) for video in videos]), settings.frames


def _load_s3d(settings: roles.S3D, device: str) -> tuple[Embed, int]:
    path = locate(settings, "video_encoder")
    weights = read_weights(path)
    if settings.kind == "milnce-s3d":
        network = model = networks.S3DG()
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


BACKBONE = re.compile(r"features\.")
"""Beginning of the names of a backbone's weights; its classifier may have any size."""

SLICE = re.compile(r"net\.slice\d\.")
"""The same in a file of ST-LPIPS."""

LPIPS_PIXELS = 2**19
"""The most pixels in a batch of frames (at least one frame); LPIPS takes about 1 kB a pixel."""


def load_lpips(
    settings: roles.Lpips, device: str, batch_size: int
) -> Callable[[list[np.ndarray], list[np.ndarray]], np.ndarray]:
    """Load LPIPS: two lists of n frames, uint8 (H, W, 3) -> distances (n,)."""
    path = locate(settings, "lpips")
    if settings.kind == "unlearned":
        path /= "model.safetensors"
    weights = read_weights(path)
    learned, backbone = None, BACKBONE
    if settings.kind == "st-alex":
        features, cuts = networks.shift_tolerant_alexnet(), networks.SHIFT_TOLERANT_CUTS
        learned, backbone = weights, SLICE
    elif settings.kind == "alex":
        features, cuts = alexnet().features, networks.ALEXNET_CUTS
        brought = "functional/image/lpips_models/alex.pth"
        learned = read_weights(Path(files("torchmetrics") / brought))
    else:
        features, cuts = squeezenet1_1().features, networks.SQUEEZENET_CUTS
    weights = {backbone.sub("", k): v for k, v in weights.items() if backbone.match(k)}
    channels = learned and [learned[f"lin{i}.model.1.weight"].flatten() for i in range(len(cuts))]
    load_into(features, weights, path)
    model = networks.Lpips(features, cuts, channels).to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def batch(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        x, y = (torch.from_numpy(np.stack(s)).to(device) for s in zip(*pairs, strict=True))
        x, y = (v.permute(0, 3, 1, 2).float() / 255 for v in (x, y))
        return model(x, y).cpu().tolist()

    def lpips(frames: list[np.ndarray], reference: list[np.ndarray]) -> np.ndarray:
        if min(frames[0].shape[:2]) < SMALLEST:
            raise ValueError(f"frames have size {frames[0].shape[:2]}; LPIPS needs 31 x 31 pixels")
        pairs = list(zip(frames, reference, strict=True))
        at_once = min(batch_size, max(1, LPIPS_PIXELS // frames[0][..., 0].size))
        return np.array(in_batches(batch, pairs, at_once))

    return lpips
