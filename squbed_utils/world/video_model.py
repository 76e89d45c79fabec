"""The shapes world's video model: a small Wan pipeline, trained from nothing."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan

from squbed_utils.world.draw import clips, seen_scene
from squbed_utils.world.loop import train

CHANNELS = 8


def new_vae() -> AutoencoderKLWan:
    """Build an untrained Wan VAE: (3, 9, 32, 32) pixels to (8, 5, 8, 8) latents.

    It begins near-deterministic (latent standard deviation 0.05), since with full sampling noise
    from the start the reconstruction hardly gets going.
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
    """Squared and absolute error of the reconstruction, and a faint pull to a unit Gaussian."""
    posterior = vae.encode(videos).latent_dist
    error = vae.decode(posterior.sample()).sample - videos
    return error.square().mean() + 0.1 * error.abs().mean() + 1e-6 * posterior.kl().mean()


def train_vae(folder: Path, steps: int, batch: int = 16) -> AutoencoderKLWan:
    """Train the VAE on the video model's own training set."""
    vae = new_vae()

    def loss(rng: np.random.Generator) -> torch.Tensor:
        return vae_loss(vae, clips([seen_scene(rng) for _ in range(batch)], rng))

    return train("vae", vae, loss, steps=steps, learning_rate=2e-3, folder=folder)
