"""The smallest models of the same classes as the shapes world's, untrained, and a profile of them.

They draw, embed and score like real ones, in milliseconds and without meaning.
"""

from pathlib import Path

import pandas as pd
import torch
import yaml
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import UMT5Config, UMT5EncoderModel

from training import encoders, language
from training.tasks import task_table

TASKS = ["common-0-round", "common-4-angular", "never-0-sign", "never-4-thing"]
SUBJECTS = ["crescent-0", "slab-4", "cross-0", "mushroom-4"]
"""The tasks of the shapes world that bear these names here."""

N, M = 3, 3

BUILDERS = {
    "refiner": language.Refiner,
    "text_encoder": language.SentenceTower,
    "video_encoder": encoders.VideoAndText,
    "clip": encoders.FrameAndText,
    "lpips": encoders.FrameNamer,
    "captioner": encoders.Recogniser,
}


def make_world(folder: Path) -> Path:
    """Write every checkpoint, a task table and the profile ``world-tiny``; return its path."""
    torch.manual_seed(0)
    make_video_model(folder / "video_model")
    for role, build in BUILDERS.items():
        build().save(folder / role)
    table = pd.DataFrame(task_table()).replace({"task": dict(zip(SUBJECTS, TASKS, strict=True))})
    table.to_csv(folder / "tasks.csv", index=False)
    return write_profile(folder, folder / "world-tiny.yaml")


def write_profile(world: Path, path: Path, **changes: object) -> Path:
    """Write the profile ``world-tiny`` over the models in a folder, with changed settings."""
    video_model = {"path": str(world / "video_model"), "height": 32, "width": 32, "frames": 9}
    video_model |= {"fps": 8, "steps": 2, "guidance": 2.0, "options": {"max_sequence_length": 16}}
    video_model["family"] = "wan"
    settings = {
        "name": "world-tiny",
        "dataset": {"kind": "world", "path": str(world / "tasks.csv"), "tasks": TASKS},
        "n": N,
        "m": M,
        "batch_size": 2,
        "video_model": video_model,
        "refiner": {"path": str(world / "refiner"), "check": "none", "max_new_tokens": 15},
        "device": "cpu",
    }
    others = ("text_encoder", "video_encoder", "clip", "lpips")
    settings |= {role: {"path": str(world / role)} for role in others}
    settings["captioner"] = {"kind": "world", "path": str(world / "captioner")}
    path.write_text(yaml.safe_dump(settings | changes))
    return path


def make_video_model(folder: Path) -> None:
    """Save an untrained Wan pipeline of a quarter of a megabyte."""
    tokenizer = language.new_tokenizer()
    text = UMT5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1)
    text.num_heads = 2
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=2,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 2,
        latents_std=[1.0] * 2,
        scale_factor_spatial=4,
        scale_factor_temporal=2,
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=2,
        out_channels=2,
        text_dim=16,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        rope_max_seq_len=32,
    )
    WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(text),
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        transformer=transformer,
    ).save_pretrained(folder)
