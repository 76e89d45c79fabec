"""Weights from files into networks: whole, of the right network, and never a pickle's code."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file

COUNTER = "num_batches_tracked"
"""Suffix of batch normalization's training counters, which old files lack."""


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, and unpickle nothing but tensors and plain containers."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}); expected .safetensors, or "
            "a .pth of tensors alone: get it again"
        ) from error
    if not isinstance(weights, Mapping) or not all(map(torch.is_tensor, weights.values())):
        raise ValueError(f"{path} holds no state dict; expected names and tensors")
    return dict(weights)


def load_into(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load a state dict into its network; a wrong name or shape raises a ValueError with `path`."""
    own = {k: v.shape for k, v in network.state_dict().items() if not k.endswith(COUNTER)}
    given = {k: v.shape for k, v in weights.items() if not k.endswith(COUNTER)}
    wrong = [name for name in own | given if own.get(name) != given.get(name)]
    if wrong:
        raise ValueError(
            f"{path} does not hold the weights of {type(network).__name__}: {len(wrong)} names or "
            f"shapes differ, the first {wrong[0]!r}; correct the path or the kind in the profile"
        )
    network.load_state_dict(weights, strict=False)


def load_pretrained(
    auto: type,
    folder: Path,
    role: str,
    device: str,
    dtype: torch.dtype | None = None,
    *,
    gguf_file: str | None = None,
) -> torch.nn.Module:
    """Load a role's model by one of transformers' Auto classes; refuse one that lacks weights."""
    options = {"gguf_file": gguf_file} if gguf_file else {"use_safetensors": True}
    model, report = auto.from_pretrained(
        folder, local_files_only=True, dtype=dtype, output_loading_info=True, **options
    )
    if report["missing_keys"]:
        raise ValueError(
            f"the {role} in {folder} lacks {len(report['missing_keys'])} of its weights, such as "
            f"{sorted(report['missing_keys'])[0]!r}; get the checkpoint again"
        )
    return model.to(device).eval()
