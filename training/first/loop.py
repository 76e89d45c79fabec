"""One resumable training loop for every checkpoint of the shapes world."""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from squbed_utils.files import seed_of

SAVE_EVERY = 100
"""Steps between two checkpoints: the most that an interruption can cost."""

Loss = Callable[[np.random.Generator], torch.Tensor]


def train(
    name: str,
    module: torch.nn.Module,
    loss: Loss,
    *,
    steps: int,
    learning_rate: float,
    folder: Path,
    mixed: bool = False,
) -> torch.nn.Module:
    """Train a module in place, or go on after an interruption; return it in evaluation mode.

    AdamW under a cosine schedule with a linear warm-up over the first twentieth, whose top is
    `learning_rate`. Step k draws its batch from a generator seeded with (name, k), so an
    interrupted run ends where an uninterrupted one does.

    `loss` draws a batch with the generator it is given and returns a scalar tensor. The file
    ``<name>.safetensors`` in `folder` keeps parameters, moments and the step. With `mixed`, matrix
    products and convolutions run in bfloat16.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, betas=(0.9, 0.99))
    state = folder / f"{name}.safetensors"
    done = _restore(state, module, optimizer) if state.exists() else 0
    device = torch.get_default_device().type
    module.train()
    for step in (bar := tqdm(range(done, steps), name, initial=done, total=steps, mininterval=5)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _schedule((step + 1) / steps)
        seed = seed_of("train", name, step)
        torch.manual_seed(seed)
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            value = loss(np.random.default_rng(seed))
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{value.item():.4g}", refresh=False)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            _save(state, module, optimizer, step + 1)
    return module.eval()


def _schedule(progress: float) -> float:
    """Return the fraction of the top learning rate at a fraction of the steps."""
    return min(1.0, 20 * progress) * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


def _moments(
    module: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[str, torch.nn.Parameter, dict]]:
    for name, parameter in module.named_parameters():
        yield name, parameter, optimizer.state[parameter]


def _save(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors = {"step": torch.tensor(step)}
    for name, parameter, moments in _moments(module, optimizer):
        tensors[f"parameter/{name}"] = parameter.detach().contiguous()
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in moments:
                tensors[f"{moment}/{name}"] = moments[moment].contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    os.replace(partial, path)


@torch.no_grad()
def _restore(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    tensors = load_file(path)
    step = int(tensors["step"])
    for name, parameter, moments in _moments(module, optimizer):
        parameter.copy_(tensors[f"parameter/{name}"])
        if f"exp_avg/{name}" in tensors:
            moments["step"] = torch.tensor(float(step), device="cpu")
            moments["exp_avg"] = tensors[f"exp_avg/{name}"].to(parameter.device)
            moments["exp_avg_sq"] = tensors[f"exp_avg_sq/{name}"].to(parameter.device)
    return step
