"""Where a model lies: in a folder, in a file, or on the hub, from which it is fetched once."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Iterable
from importlib.metadata import version
from pathlib import Path

import safetensors

from squbed_utils import instructions
from squbed_utils.archive.layout import ROLES
from squbed_utils.files import left_by_a_tool, path_of, sha256_of
from squbed_utils.profiles import VERSIONED, Profile
from squbed_utils.roles import S3D, CausalLM, Command, Lpips, Refiner

MARKERS = {
    "video_model": "model_index.json",
    "image_model": "model_index.json",
    "transformer": "config.json",
    "refiner": "config.json",
    "nli_model": "config.json",
    "text_encoder": "modules.json",
    "video_encoder": "config.json",
    "clip": "open_clip_config.json",
    "lpips": "model.safetensors",
    "captioner": "config.json",
}
"""Role -> the file that the folder of its model must hold."""

PUBLIC_FILES = {
    "torchvision-s3d": "s3d-d76dad2f.pth (torchvision's S3D_Weights.KINETICS400_V1)",
    "milnce-s3d": "s3d_howto100m.pth (of antoine77340/S3D_HowTo100M on GitHub)",
    "alex": "alexnet-owt-7be5be79.pth (torchvision's AlexNet_Weights.IMAGENET1K_V1)",
}
"""Kind of a model that is one file -> how its makers call the file."""

POINTER = b"version https://git-lfs"

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
UNSAFE = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "*.gguf"]
"""Files that are never fetched: pickles, and formats that no loader here reads."""


def sources(profile: object, roles: Iterable[str]) -> dict[str, Path]:
    """Return role -> the folder or file from which a profile's model is read, for some roles.

    The result also has ``image_model``, ``transformer``, ``nli_model`` and ``instructions/*.txt``
    where a model reads them; a model behind an API has no entry. Damaged weights, a wrong sha256
    and an incomplete instruction raise ValueError; a missing file raises FileNotFoundError, which
    says what to fetch and where to put it.
    """
    found = {}
    for role in roles:
        settings = getattr(profile, role)
        if isinstance(settings, S3D):
            found[role] = locate_file(settings.path, role, settings.kind, sha256=settings.sha256)
        elif isinstance(settings, Lpips) and settings.kind == "alex":
            found[role] = locate_file(settings.path, role, settings.kind)
        elif isinstance(settings, Command):
            found[role] = code_folder(settings.path)
        elif hasattr(settings, "path"):
            revision = getattr(settings, "revision", None)
            found[role] = locate(settings.path, role, revision=revision)
    for part in ("image_model", "transformer") if "video_model" in roles else ():
        if path := getattr(profile.video_model, part, None):
            found[part] = locate(path, part)
    found |= _read_by_the_refiner(profile.refiner) if "refiner" in roles else {}
    for role in MARKERS.keys() & found.keys():
        if not isinstance(getattr(profile, role, None), Command):
            _refuse_damaged(found[role], role)
    return found


def _refuse_damaged(path: Path, role: str) -> None:
    """Refuse truncated weights, Git LFS pointers and invalid JSON."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        own = any(map(left_by_a_tool, file.relative_to(path).parts))
        if own or file.suffix not in (".json", ".safetensors") or not file.is_file():
            continue
        try:
            with file.open("rb") as stream:
                if stream.read(len(POINTER)) == POINTER:
                    raise ValueError("it is a pointer of Git LFS, and not what it stands for")
            if file.suffix == ".json":
                json.loads(file.read_text(encoding="utf-8-sig"))
            else:
                with safetensors.safe_open(file, "np"):  # which holds its header against its size
                    pass
        except (ValueError, RecursionError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"the {role}'s file {file} is damaged ({error}); get it again"
            ) from error


def _read_by_the_refiner(refiner: Refiner) -> dict[str, Path]:
    """Return the files that the refiner reads beside its own folder."""
    found = {}
    if refiner.check == "nli":
        found["nli_model"] = locate(refiner.nli_model, "nli_model")
    if not isinstance(refiner, CausalLM):
        instructions.read(refiner.instructions)
        texts = instructions.files(refiner.instructions).values()
        found |= {f"instructions/{path.name}": path for path in texts}
    return found


def locate(path: str, role: str, *, revision: str | None = None) -> Path:
    """Return the folder of a model; fetch a hub id on its first use.

    `path` is a folder (absolute or relative to the repository) or a hub id, of which `revision` is
    a branch, tag or commit; `role` is a key of `MARKERS`.
    """
    folder = path_of(path)
    if not folder.exists() and HUB_ID.fullmatch(path):
        folder = _fetch(path, role, revision)
    if not (folder / MARKERS[role]).is_file():
        raise FileNotFoundError(
            f"the {role} is expected in {folder}, which has no {MARKERS[role]}; train the shapes "
            f"world with `squbed train-world`, or correct {_key(role)} in the profile"
        )
    return folder


def code_folder(path: str) -> Path:
    """Return the folder of a video model that runs by scripts of its own."""
    folder = path_of(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the scripts of the video model are expected in {folder}, which does not exist; clone "
            "them there, or correct video_model.path in the profile"
        )
    return folder


def locate_file(path: str, role: str, kind: str, *, sha256: str | None = None) -> Path:
    """Return the file of a model that is one file; check its sha256 (hexadecimal) if one is given.

    `path` is absolute or relative to the repository; `kind` is a key of `PUBLIC_FILES`.
    """
    file = path_of(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"the {role}'s weights are expected in the file {file}, which does not exist; get "
            f"{PUBLIC_FILES[kind]}, put it there, or correct {_key(role)} in the profile"
        )
    if sha256 is not None:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sha256.lower():
            raise ValueError(
                f"{file} has the sha256 {found}, but the profile's {role}.sha256 is {sha256}; get "
                f"{PUBLIC_FILES[kind]} again, or correct the profile"
            )
    return file


def _fetch(hub_id: str, role: str, revision: str | None) -> Path:
    """Fetch a model's safetensors and settings from the hub, or from the hub's cache."""
    from diffusers import DiffusionPipeline
    from huggingface_hub import snapshot_download

    try:
        if role in ("video_model", "image_model"):
            return Path(DiffusionPipeline.download(hub_id, revision=revision, use_safetensors=True))
        return Path(snapshot_download(hub_id, revision=revision, ignore_patterns=UNSAFE))
    except OSError as error:
        at = f" --revision {revision}" if revision else ""
        raise FileNotFoundError(
            f"the {role} {hub_id!r} is neither a folder here nor to be had from the hub "
            f"({type(error).__name__}); on a machine with internet run `hf download {hub_id}{at} "
            f"--local-dir DIR`, copy DIR here, and set {_key(role)} to it"
        ) from error


def _key(role: str) -> str:
    """Return the profile's key that holds a role's path."""
    of = {"nli_model": "refiner", "image_model": "video_model", "transformer": "video_model"}
    return f"{of[role]}.{role}" if role in of else f"{role}.path"


def device_of(name: str) -> str:
    """Return the device that a profile names; ``auto`` is CUDA if it is available, else the CPU."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[name]:
        raise ValueError(f"device {name!r} is not available here; set device: auto in the profile")
    return name


def resolve(profile: Profile, roles: Collection[str] = ("dataset", *ROLES)) -> dict:
    """Return what an archive records: all settings, checkpoint hashes and library versions.

    Only the roles that the run uses are recorded; the models of the others may be absent.
    """
    table = path_of(profile.dataset.path)
    if "dataset" in roles and not table.is_file():
        raise FileNotFoundError(
            f"profile {profile.name} expects its tasks in {table}, which does not exist; "
            "correct dataset.path"
        )
    settings = dataclasses.asdict(profile) | {"device": device_of(profile.device)}
    for role in {"dataset", *ROLES} - set(roles):
        del settings[role]
    checkpoints = {"dataset": _sha256(table)} if "dataset" in roles else {}
    models = sources(profile, [role for role in ROLES if role in roles])
    checkpoints |= {name: _sha256(path) for name, path in models.items()}
    if "video_encoder" in roles and isinstance(profile.video_encoder, S3D):
        settings["video_encoder"]["sha256"] = sha256_of(models["video_encoder"])  # stated or not
    versions = {name: version(name) for name in VERSIONED}
    return settings | {"checkpoints": checkpoints, "versions": versions}


def _sha256(path: Path) -> str:
    """Hash a file, or the files of a folder with their names; skip files that tools leave."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    files = [p for p in files if not any(map(left_by_a_tool, p.relative_to(path).parts))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
