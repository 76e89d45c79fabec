"""The shapes world's video model: a small Wan pipeline that is shown some subjects seldom."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import UMT5EncoderModel

from squbed_utils.files import seed_of
from training.draw import caption, clips, partial
from training.language import TEXT_WIDTH, new_tokenizer, tokens
from training.tasks import completions, deal, with_added

CHANNELS = 8
SHIFT = 4.0
"""Shift of noise levels up, in training and sampling: sigma -> s sigma / (1 + (s - 1) sigma).

Esser et al., 2024. A shape fills so many pixels that it shows through most of the noise; only near
pure noise does the model depend on the words.
"""

SHARD = 256
"""Clips in one file of cached latents."""

Clip = tuple[str, int]
"""A training clip: its subject, and its number among the clips of that subject."""


def dealt_clips(name: str) -> list[Clip]:
    """Return the training clips of a transformer: those that are dealt, in an order drawn once.

    The clips of subjects that are added later come last, so that the others keep their latents.
    """
    first = deal()
    dealt = [(subject, k) for subject, count in first.items() for k in range(count)]
    order = np.random.default_rng(seed_of("order of clips")).permutation(len(dealt))
    later = coverage(name)
    added = [(s, k) for s, count in first.items() for k in range(count, later[s])]
    return [dealt[i] for i in order] + added


def coverage(name: str) -> dict[str, int]:
    """Return how many distinct clips of each subject a transformer is shown."""
    return with_added(deal()) if name == "transformer-added" else deal()


@cache
def scenes_of(subject: str) -> list[dict[str, str]]:
    """Return all scenes of a subject, in an order of its own."""
    scenes = list(completions({"shape": subject}))
    order = np.random.default_rng(seed_of("order of scenes", subject)).permutation(len(scenes))
    return [scenes[i] for i in order]


def clip_scene(clip: Clip) -> tuple[dict[str, str], np.random.Generator]:
    """Return the scene of a training clip, and the generator that draws its path.

    The clips of a subject go through all its scenes before one comes again (on another path), so
    that few clips are distinct scenes.
    """
    scenes = scenes_of(clip[0])
    return scenes[clip[1] % len(scenes)], np.random.default_rng(seed_of("training clip", *clip))


def training_clips(chosen: Iterable[Clip]) -> torch.Tensor:
    """Render training clips: float32, shape (batch, 3, 9, 32, 32), range [-1, 1]."""
    return torch.cat([clips([scene], rng) for scene, rng in map(clip_scene, chosen)])


def cached_latents(vae: AutoencoderKLWan, folder: Path, dealt: list[Clip]) -> torch.Tensor:
    """Encode the training clips as posterior means: float16, shape (count, 8, 5, 8, 8).

    Finished shards are reused. A shard's name is a hash of the encoder's weights and of its clips,
    so that a retrained encoder or another deal never meets old latents.
    """
    inner = (*vae.encoder.parameters(), *vae.quant_conv.parameters())
    weights = b"".join(p.detach().cpu().numpy().tobytes() for p in inner)
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for start in tqdm(range(0, len(dealt), SHARD), "latents", mininterval=10):
        part = dealt[start : start + SHARD]
        name = hashlib.sha256(weights + repr(part).encode()).hexdigest()[:16]
        path = folder / f"{name}.safetensors"
        if not path.exists():
            partial_path = path.with_suffix(".partial")
            save_file({"latents": _encoded(vae, part)}, partial_path)
            os.replace(partial_path, path)
        shards.append(load_file(path)["latents"])
    return torch.cat(shards)


@torch.inference_mode()
def _encoded(vae: AutoencoderKLWan, part: list[Clip]) -> torch.Tensor:
    device = torch.get_default_device().type
    batches = []
    for start in range(0, len(part), 64):
        videos = training_clips(part[start : start + 64])
        with torch.autocast(device, torch.bfloat16):
            batches.append(vae.encode(videos).latent_dist.mode().half().cpu())
    return torch.cat(batches)


def standardise(vae: AutoencoderKLWan, latents: torch.Tensor) -> None:
    """Record the latents' mean and deviation in the VAE's config."""
    sample = latents[:4096].float()
    mean, std = sample.mean((0, 2, 3, 4)), sample.std((0, 2, 3, 4))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())


def standardised(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Return latents as the transformer sees them: by the VAE's mean and deviation."""
    shape = (1, CHANNELS, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape)
    std = torch.tensor(vae.config.latents_std).view(shape)
    return (latents.to(mean.device).float() - mean) / std


class Vae(torch.nn.Module):
    """An untrained Wan VAE: (3, 9, 32, 32) pixels to (8, 5, 8, 8) latents.

    It begins near-deterministic (latent standard deviation 0.05), since full sampling noise from
    the start hardly lets the reconstruction begin.
    """

    def __init__(self, dealt: list[Clip]) -> None:
        super().__init__()
        self.dealt = dealt
        self.vae = AutoencoderKLWan(
            base_dim=24,
            z_dim=CHANNELS,
            dim_mult=[1, 2],
            num_res_blocks=1,
            attn_scales=[],
            temperal_downsample=[True],
            latents_mean=[0.0] * CHANNELS,
            latents_std=[1.0] * CHANNELS,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=4,
            scale_factor_temporal=2,
        )
        torch.nn.init.constant_(self.vae.quant_conv.bias[CHANNELS:], -6.0)
        torch.nn.init.normal_(self.vae.quant_conv.weight[CHANNELS:], std=1e-3)

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Squared and absolute error on training clips plus a faint pull to N(0, I)."""
        videos = training_clips(self.dealt[i] for i in rng.integers(len(self.dealt), size=batch))
        posterior = self.vae.encode(videos).latent_dist
        error = self.vae.decode(posterior.sample()).sample - videos
        return error.square().mean() + 0.1 * error.abs().mean() + 2e-7 * posterior.kl().mean()

    def save(self, out: Path) -> None:
        """Save the VAE."""
        self.vae.save_pretrained(out)


class Decoder(torch.nn.Module):
    """A VAE of which only the decoder is trained: the encoder, and so the latents, stay."""

    def __init__(self, vae: AutoencoderKLWan, dealt: list[Clip], latents: torch.Tensor) -> None:
        super().__init__()
        self.vae, self.dealt, self.latents = vae.requires_grad_(False), dealt, latents
        self.vae.decoder.requires_grad_(True)
        self.vae.post_quant_conv.requires_grad_(True)

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Squared error on training clips.

        Noise of the size that the sampler leaves keeps it from relying on the last digits.
        """
        chosen = rng.integers(len(self.dealt), size=batch)
        videos = training_clips(self.dealt[i] for i in chosen)
        codes = self.latents[chosen].to(videos.device).float()
        decoded = self.vae.decode(codes + 0.03 * torch.randn_like(codes)).sample
        return (decoded.float() - videos).square().mean()

    def save(self, out: Path) -> None:
        """Save the whole VAE."""
        self.vae.save_pretrained(out)


class TextToLatents(torch.nn.Module):
    """The transformer that is trained, and the frozen text encoder that it listens to."""

    def __init__(self, text_encoder: UMT5EncoderModel) -> None:
        super().__init__()
        self.tokenizer = new_tokenizer()
        self.text_encoder = text_encoder.requires_grad_(False)
        # One token spans all frames and 8 x 8 pixels: sixteen tokens a video.
        self.transformer = WanTransformer3DModel(
            patch_size=(5, 2, 2),
            num_attention_heads=6,
            attention_head_dim=32,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            text_dim=TEXT_WIDTH,
            freq_dim=128,
            ffn_dim=512,
            num_layers=6,
            rope_max_seq_len=32,
        )

    @torch.no_grad()
    def embed(self, texts: list[str]) -> torch.Tensor:
        """Encode captions as WanPipeline does, padding set to zero: (batch, 16, 128)."""
        inputs = tokens(self.tokenizer, texts)
        hidden = self.text_encoder(**inputs).last_hidden_state.float()
        return hidden * inputs["attention_mask"][..., None]

    def loss(self, latents: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Rectified flow: predict noise minus data at a shifted logit-normal noise level."""
        sigma = torch.randn(len(latents), 1, 1, 1, 1, device=latents.device).sigmoid()
        sigma = SHIFT * sigma / (1 + (SHIFT - 1) * sigma)
        noise = torch.randn_like(latents)
        (velocity,) = self.transformer(
            hidden_states=(1 - sigma) * latents + sigma * noise,
            timestep=1000 * sigma.flatten(),
            encoder_hidden_states=self.embed(texts),
            return_dict=False,
        )
        return (velocity.float() - (noise - latents)).square().mean()

    def save(self, out: Path) -> None:
        """Save the transformer, in half precision."""
        self.transformer.half().save_pretrained(out)


def training_caption(scene: dict[str, str], rng: np.random.Generator) -> str:
    """Caption a clip: one in ten says nothing (for guidance), two in ten leave parts out."""
    u = rng.random()
    if u < 0.1:
        return ""
    return caption(partial(scene, rng) if u < 0.3 else scene, rng)


def chosen_clips(rng: np.random.Generator, count: int, batch: int) -> np.ndarray:
    """Draw a batch of clips by number, each equally likely: the first draw of a training step."""
    return rng.integers(count, size=batch)


def exposures(name: str, dealt: list[Clip], steps: int, batch: int) -> Counter[str]:
    """Count how often each subject was shown in a training run, by drawing its batches again."""
    shown: Counter[str] = Counter()
    for step in range(steps):
        rng = np.random.default_rng(seed_of("train", name, step))
        shown.update(dealt[i][0] for i in chosen_clips(rng, len(dealt), batch))
    return shown


def loss_on(
    model: TextToLatents, dealt: list[Clip], vae: AutoencoderKLWan, latents: torch.Tensor
) -> Callable[[np.random.Generator, int], torch.Tensor]:
    """Return the loss of a batch of training clips, each equally likely."""
    scenes = [clip_scene(clip)[0] for clip in dealt]

    def loss(rng: np.random.Generator, batch: int) -> torch.Tensor:
        chosen = chosen_clips(rng, len(dealt), batch)
        captions = [training_caption(scenes[i], rng) for i in chosen]
        return model.loss(standardised(vae, latents[chosen]), captions)

    return loss


def save_pipeline(vae: AutoencoderKLWan, model: TextToLatents, out: Path) -> None:
    """Save the parts as a folder that ``DiffusionPipeline.from_pretrained`` loads."""
    WanPipeline(
        tokenizer=model.tokenizer,
        text_encoder=model.text_encoder,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        transformer=model.transformer.half(),
    ).save_pretrained(out)
