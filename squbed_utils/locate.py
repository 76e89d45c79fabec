"""Where a model lies: a folder as it is, or a hub id, fetched once and then a folder too."""

import re
from pathlib import Path

from squbed_utils._files import path_of

MARKERS = {
    "video_model": "model_index.json",
    "refiner": "config.json",
    "text_encoder": "modules.json",
    "video_encoder": "config.json",
    "clip": "open_clip_config.json",
    "lpips": "model.safetensors",
}
"""Role -> the file that the folder of its model must hold."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
UNSAFE = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "*.gguf"]
"""What is never fetched: pickles, and formats that no loader here reads."""


def locate(path: str, role: str, *, revision: str | None = None) -> Path:
    """Return the folder of a model; fetch it first if it is a hub id not fetched before.

    Parameters
    ----------
    path : str
        A folder, absolute or relative to the repository, or a hub id.
    role : str
        A key of `MARKERS`.
    revision : str, optional
        Of a hub id: a branch, tag or commit.

    Raises
    ------
    FileNotFoundError
        If the folder does not hold such a model, or the hub id cannot be fetched; the message
        says what to fetch and where to put it.
    """
    folder = path_of(path)
    if not folder.exists() and HUB_ID.fullmatch(path):
        folder = _fetch(path, role, revision)
    if not (folder / MARKERS[role]).is_file():
        raise FileNotFoundError(
            f"the {role} is expected in {folder}, which has no {MARKERS[role]}; train the shapes "
            f"world with `squbed train-world`, or correct {role}.path in the profile"
        )
    return folder


def code_folder(path: str) -> Path:
    """Return the folder of a video model that runs by scripts of its own.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = path_of(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the scripts of the video model are expected in {folder}, which does not exist; clone "
            "them there, or correct video_model.path in the profile"
        )
    return folder


def _fetch(hub_id: str, role: str, revision: str | None) -> Path:
    """Fetch a model from the hub, or find it in the cache: only safetensors and settings."""
    from diffusers import DiffusionPipeline
    from huggingface_hub import snapshot_download

    try:
        if role == "video_model":
            return Path(DiffusionPipeline.download(hub_id, revision=revision, use_safetensors=True))
        return Path(snapshot_download(hub_id, revision=revision, ignore_patterns=UNSAFE))
    except OSError as error:
        at = f" --revision {revision}" if revision else ""
        raise FileNotFoundError(
            f"the {role} {hub_id!r} is neither a folder here nor to be had from the hub "
            f"({type(error).__name__}); on a machine with internet run `hf download {hub_id}{at} "
            f"--local-dir DIR`, copy DIR here, and set {role}.path to it"
        ) from error
