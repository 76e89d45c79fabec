"""One resumable training loop for every checkpoint of the shapes world."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from squbed_utils.files import seed_of

SAVE_EVERY = 200
"""Steps between two saved states: what an interruption can cost."""

WARM_UP = 200
Loss = Callable[[np.random.Generator], torch.Tensor]


class Paused(Exception):
    """The time given to a run is over; the state is saved and the next run goes on from it."""


class Trainer:
    """Trains a module, or goes on where an earlier run stopped.

    AdamW whose learning rate rises over ``WARM_UP`` steps, stays, and falls to nothing over the
    last ``cooldown`` of the steps; an average of the weights follows them and is what is kept in
    the end. Step k draws its batch from a generator seeded with (name, k), so that an interrupted
    run ends where an uninterrupted one does.

    Parameters
    ----------
    name : str
        Names the state file, ``<name>.safetensors`` in ``folder``, and the seeds.
    module : torch.nn.Module
        Its parameters that require a gradient are trained in place.
    learning_rate : float
        The highest of the schedule.
    folder : pathlib.Path
        Where the state is saved: parameters, their average, both moments, the step.
    average : float
        Decay of the average of the weights; early on it is the plain mean of the steps.
    mixed : bool
        Whether matrix products and convolutions run in bfloat16.
    fused : bool
        Whether the optimiser takes its fused steps, which are faster and round otherwise.
    until : float
        Time (as ``time.time`` tells it) at which to stop, with the state saved.
    state : pathlib.Path, optional
        A saved state, or stage of one (``write_stage``), to go on from.
    """

    def __init__(
        self,
        name: str,
        module: torch.nn.Module,
        *,
        learning_rate: float,
        folder: Path,
        average: float = 0.998,
        mixed: bool = False,
        fused: bool = True,
        until: float = float("inf"),
        state: Path | None = None,
    ) -> None:
        self.name, self.module, self.learning_rate = name, module, learning_rate
        self.average, self.mixed, self.until = average, mixed, until
        self.path = folder / f"{name}.safetensors"
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.buffers = dict(module.named_buffers())
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=learning_rate,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            fused=fused,
        )
        self.mean = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.step = 0
        if state:
            self._restore(load_file(state))

    def run(self, loss: Loss, steps: int, cooldown: float = 0.3) -> torch.nn.Module:
        """Train up to a number of steps in all; return the module with its averaged weights.

        Raises
        ------
        Paused
            If the time is over first.
        """
        device = torch.get_default_device().type
        self.module.train()
        bar = tqdm(total=steps, initial=self.step, desc=self.name, mininterval=10)
        while self.step < steps:
            rate = min(1, (self.step + 1) / WARM_UP, (steps - self.step) / (cooldown * steps))
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * rate
            seed = seed_of("train", self.name, self.step)
            torch.manual_seed(seed)
            with torch.autocast(device, torch.bfloat16, self.mixed), self.attention(device):
                value = loss(np.random.default_rng(seed))
                value.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            decay = min(self.average, self.step / (self.step + 9))
            for name, parameter in self.parameters.items():
                self.mean[name].lerp_(parameter.detach(), 1 - decay)
            bar.update()
            bar.set_postfix(loss=f"{value.item():.4g}", refresh=False)
            over = time.time() > self.until
            if self.step % SAVE_EVERY == 0 or self.step == steps or over:
                self.save()
            if over and self.step < steps:
                raise Paused(f"{self.name}: paused after {self.step} of {steps} steps")
        return self.averaged()

    def attention(self, device: str) -> AbstractContextManager:
        """Choose how attention is computed: the CPU's fused one is far slower in bfloat16."""
        slow = self.mixed and device == "cpu"
        return sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()

    @torch.no_grad()
    def averaged(self) -> torch.nn.Module:
        """Put the averaged weights into the module, for use; training must not go on from them."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.mean[name])
        return self.module.eval()

    def save(self) -> None:
        """Write the state under a temporary name, and rename it."""
        tensors = {"step": torch.tensor(self.step)}
        tensors |= {f"buffer/{name}": buffer for name, buffer in self.buffers.items()}
        for name, parameter in self.parameters.items():
            tensors[f"parameter/{name}"] = parameter.detach().contiguous()
            tensors[f"mean/{name}"] = self.mean[name].contiguous()
            for moment in ("exp_avg", "exp_avg_sq"):
                if moment in self.optimizer.state[parameter]:
                    value = self.optimizer.state[parameter][moment]
                    tensors[f"{moment}/{name}"] = value.contiguous()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        save_file(tensors, partial)
        os.replace(partial, self.path)

    @torch.no_grad()
    def _restore(self, tensors: dict[str, torch.Tensor]) -> None:
        self.step = int(tensors["step"])
        for name, buffer in self.buffers.items():
            buffer.copy_(tensors[f"buffer/{name}"])
        for name, parameter in self.parameters.items():
            mean = tensors[f"mean/{name}"]
            self.mean[name].copy_(mean)
            parameter.copy_(tensors.get(f"parameter/{name}", mean))
            if f"exp_avg/{name}" in tensors:
                moments = self.optimizer.state[parameter]
                moments["step"] = torch.tensor(float(self.step), device=parameter.device)
                for moment in ("exp_avg", "exp_avg_sq"):
                    moments[moment] = tensors[f"{moment}/{name}"].to(parameter.device)


def write_stage(state: Path, folder: Path) -> None:
    """Keep of a saved state what a later run can go on from: averages in half precision, step."""
    tensors = load_file(state)
    small = {
        name: value.half() if value.is_floating_point() else value
        for name, value in tensors.items()
        if name == "step" or name.startswith(("mean/", "buffer/"))
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(small, folder / state.name)
