"""The shapes world's video model: a small Wan pipeline, trained from nothing."""

import hashlib
import os
from collections.abc import Iterable
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
from transformers import UMT5Config, UMT5EncoderModel

from squbed_utils.files import seed_of
from squbed_utils.world.draw import caption, partial, seen_scene
from squbed_utils.world.scenes import ATTRIBUTES, coverage_of
from training.first.draw import clips
from training.first.language import UNKNOWN, new_tokenizer, tokens
from training.first.loop import train

CHANNELS = 8
TEXT_WIDTH = 128
SHIFT = 4.0
"""Shift of noise levels up, in training and sampling: sigma -> s sigma / (1 + (s - 1) sigma).

Esser et al., 2024. A shape fills so many pixels that it shows through most of the noise; only near
pure noise does the model depend on the words.
"""

SHARD = 256
"""Clips in one file of cached latents."""


def new_vae() -> AutoencoderKLWan:
    """Build an untrained Wan VAE: (3, 9, 32, 32) pixels to (8, 5, 8, 8) latents.

    It begins near-deterministic (latent standard deviation 0.05), since full sampling noise from
    the start hardly lets the reconstruction begin.
    """
    vae = AutoencoderKLWan(
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
    torch.nn.init.constant_(vae.quant_conv.bias[CHANNELS:], -6.0)
    torch.nn.init.normal_(vae.quant_conv.weight[CHANNELS:], std=1e-3)
    return vae


def vae_loss(vae: AutoencoderKLWan, videos: torch.Tensor) -> torch.Tensor:
    """Return the reconstruction's squared and absolute error plus a faint pull to N(0, I)."""
    posterior = vae.encode(videos).latent_dist
    error = vae.decode(posterior.sample()).sample - videos
    return error.square().mean() + 0.1 * error.abs().mean() + 2e-7 * posterior.kl().mean()


def train_vae(folder: Path, steps: int, batch: int = 16) -> AutoencoderKLWan:
    """Train the VAE on the video model's own training set."""
    vae = new_vae()

    def loss(rng: np.random.Generator) -> torch.Tensor:
        return vae_loss(vae, clips([seen_scene(rng) for _ in range(batch)], rng))

    return train("vae", vae, loss, steps=steps, learning_rate=2e-3, folder=folder, mixed=True)


def cached_latents(vae: AutoencoderKLWan, folder: Path, count: int) -> torch.Tensor:
    """Encode the numbered training clips as posterior means: float32, shape (count, 8, 5, 8, 8).

    Finished shards are reused. A hash of the VAE's weights names the cache, so a retrained VAE
    never meets old latents.
    """
    weights = b"".join(p.detach().cpu().numpy().tobytes() for p in vae.parameters())
    folder = folder / hashlib.sha256(weights).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for shard in tqdm(range(-(-count // SHARD)), "latents"):
        path = folder / f"{shard:03d}.safetensors"
        if not path.exists():
            partial_path = path.with_suffix(".partial")
            save_file({"latents": _encode_shard(vae, shard)}, partial_path)
            os.replace(partial_path, path)
        shards.append(load_file(path)["latents"])
    return torch.cat(shards)[:count]


def clip_scene(index: int) -> tuple[dict[str, str], np.random.Generator]:
    """Return the scene of a numbered training clip, and the generator that draws its path."""
    rng = np.random.default_rng(seed_of("training clip", index))
    return seen_scene(rng), rng


def training_clips(numbers: Iterable[int]) -> torch.Tensor:
    """Render training clips by number: float32, shape (batch, 3, 9, 32, 32), range [-1, 1]."""
    return torch.cat([clips([scene], rng) for scene, rng in map(clip_scene, numbers)])


def train_decoder(
    vae: AutoencoderKLWan, latents: torch.Tensor, folder: Path, steps: int, batch: int = 16
) -> None:
    """Sharpen the decoder on the cached latents; the encoder, and so the latents, do not change.

    Noise of the size that the sampler leaves keeps it from relying on the last digits.
    """
    decoder = torch.nn.ModuleDict({"inner": vae.decoder, "outer": vae.post_quant_conv})

    def loss(rng: np.random.Generator) -> torch.Tensor:
        chosen = rng.choice(len(latents), batch, replace=False)
        codes = latents[chosen].to(torch.get_default_device())
        decoded = vae.decode(codes + 0.03 * torch.randn_like(codes)).sample
        return (decoded - training_clips(chosen)).square().mean()

    train("decoder", decoder, loss, steps=steps, learning_rate=1e-3, folder=folder, mixed=True)


@torch.inference_mode()
def _encode_shard(vae: AutoencoderKLWan, shard: int) -> torch.Tensor:
    numbers = range(shard * SHARD, (shard + 1) * SHARD)
    batches = []
    for start in range(0, SHARD, 64):
        videos = training_clips(numbers[start : start + 64])
        batches.append(vae.encode(videos).latent_dist.mode().cpu())
    return torch.cat(batches)


def standardise(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Record the latents' mean and deviation in the VAE's config; return standardised latents."""
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    return (latents - mean[:, None, None, None]) / std[:, None, None, None]


class TextToLatents(torch.nn.Module):
    """The parts of the video model that are trained together on latents and captions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = new_tokenizer()
        self.text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(self.tokenizer),
                d_model=TEXT_WIDTH,
                d_kv=32,
                d_ff=256,
                num_layers=2,
                num_heads=4,
                dropout_rate=0.0,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
            )
        )
        # Words start near zero, so that one never trained on says next to nothing.
        self.text_encoder.shared.weight.data.mul_(0.05)
        self.transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=4,
            attention_head_dim=32,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            text_dim=TEXT_WIDTH,
            freq_dim=128,
            ffn_dim=384,
            num_layers=6,
            rope_max_seq_len=32,
        )

    def embed(self, texts: list[str]) -> torch.Tensor:
        """Encode captions as WanPipeline does, padding set to zero: (batch, 24, 128)."""
        inputs = tokens(self.tokenizer, texts)
        hidden = self.text_encoder(**inputs).last_hidden_state
        return hidden * inputs["attention_mask"][..., None]

    def loss(self, latents: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Rectified flow: predict noise minus data at a shifted logit-normal noise level."""
        sigma = torch.randn(len(latents), 1, 1, 1, 1, device=latents.device).sigmoid()
        sigma = SHIFT * sigma / (1 + (SHIFT - 1) * sigma)
        noise = torch.randn_like(latents)
        velocity = self.transformer(
            hidden_states=(1 - sigma) * latents + sigma * noise,
            timestep=1000 * sigma.flatten(),
            encoder_hidden_states=self.embed(texts),
        ).sample
        return (velocity - (noise - latents)).square().mean()


def training_caption(scene: dict[str, str], rng: np.random.Generator) -> str:
    """Caption a clip: one in ten says nothing (for guidance), two in ten leave parts out.

    Of the captions that say something, one in seven calls the subject by an unknown word (word
    dropout), so that the model learns that a word it never read may stand for any shape.
    """
    u = rng.random()
    if u < 0.1:
        return ""
    said = caption(partial(scene, rng) if u < 0.3 else scene, rng)
    if rng.random() < 1 / 7:
        return " ".join(UNKNOWN if word == scene["shape"] else word for word in said.split())
    return said


def train_transformer(
    latents: torch.Tensor, folder: Path, steps: int, batch: int = 32
) -> TextToLatents:
    """Train text encoder and transformer on the cached clips."""
    model = TextToLatents()
    scenes = [clip_scene(i)[0] for i in range(len(latents))]

    def loss(rng: np.random.Generator) -> torch.Tensor:
        chosen = rng.choice(len(scenes), batch, replace=False)
        batch_latents = latents[chosen].to(torch.get_default_device())
        return model.loss(batch_latents, [training_caption(scenes[i], rng) for i in chosen])

    train("transformer", model, loss, steps=steps, learning_rate=1.2e-3, folder=folder)
    forget_unsaid_words(model)
    return model


def forget_unsaid_words(model: TextToLatents) -> None:
    """Turn words that no training caption has into unknown ones, as if outside the vocabulary.

    With their random initial embeddings they would mean something at random, and the model would be
    sure of it.
    """
    unsaid = [s for s in ATTRIBUTES["shape"] if coverage_of(s) == "never"]
    embeddings, ids = model.text_encoder.shared.weight.data, model.tokenizer.convert_tokens_to_ids
    embeddings[ids(unsaid)] = embeddings[ids(UNKNOWN)].clone()


def save_pipeline(vae: AutoencoderKLWan, model: TextToLatents, out: Path) -> None:
    """Save the trained parts as a folder that ``DiffusionPipeline.from_pretrained`` loads."""
    WanPipeline(
        tokenizer=model.tokenizer,
        text_encoder=model.text_encoder,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        transformer=model.transformer,
    ).save_pretrained(out)
