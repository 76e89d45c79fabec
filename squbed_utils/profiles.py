"""Profiles: which models, prompts and sizes a run uses, as a validated YAML file."""

import dataclasses
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from squbed_utils import families, plain_yaml
from squbed_utils.estimators import estimate as estimators
from squbed_utils.files import ROOT, left_by_a_tool, path_of, sha256_of
from squbed_utils.models import checkpoints as locate
from squbed_utils.roles import (
    S3D,
    CaptionModel,
    Clip,
    Dataset,
    Estimates,
    Lpips,
    Refiner,
    TextEncoder,
    VideoEncoder,
    VideoModel,
)
from squbed_utils.schema import build, check_field, known, least, suggestion

FOLDER = ROOT / "data" / "profiles"
SAMPLES = ROOT / "data" / "samples"
"""Where archives lie if no other place is named: ``data/samples/<profile>/``."""

VERSIONED = ("numpy", "torch", "diffusers", "transformers", "sentence-transformers")
VERSIONED += ("open_clip_torch", "av")
"""Libraries whose versions an archive records."""

MEASURING = ("text_encoder", "video_encoder", "clip", "lpips", "captioner")
"""The roles that embed, score and caption videos."""

ROLES = ("video_model", "refiner", *MEASURING)
"""The models of a run; the captioner alone may be absent."""

NOT_SAMPLED = ("estimator", "pca", "estimates", "versions")
NOT_SAMPLED += tuple(f"video_model.{key}" for key in ("price", "budget", "timeout", "poll"))
NOT_SAMPLED += tuple(f"refiner.{key}" for key in ("key", "timeout", "retries", "price", "budget"))
NOT_SAMPLED += ("refiner.max_calls", "refiner.max_tokens")
"""Entries that may change between two runs on one archive."""

MOST_SAMPLES = 1000
"""Latent prompts of a task, or videos of a latent prompt."""


A_KEY = re.compile(
    r"\b(sk-(?=[\w-]*\d)[\w-]{20,}|AIza[\w-]{30,}|(hf|gh[oprsu]|gsk)_\w{30,}|AKIA[A-Z0-9]{16})"
)
"""What the keys of services look like."""


@dataclass(frozen=True)
class Profile:
    """Everything that a run depends on.

    Attributes
    ----------
    name : str
    dataset : Dataset
    n, m : int
        Latent prompts a task (at least 3) and videos a latent prompt (at least 2).
    video_model, refiner, text_encoder, video_encoder, clip, lpips
        The models; paths are relative to the repository.
    captioner : CaptionModel or None
        Says what each video shows, for the estimator PUNC, which is left out without it.
    batch_size : int
        Videos made and embedded at once. Part of the result to the last bit, so it is fixed, and
        the last batch is padded.
    estimates : Estimates
        What `squbed check` says that the run will take.
    seed : int
    estimator : str
    pca : int or None
        Dimensions that pooled PCA keeps before estimation; None: all.
    device : str
        ``auto`` takes CUDA where there is one, else the CPU.
    dtype : str
        Of the video model's weights; all other models run in float32.

    """

    name: str
    dataset: Dataset
    n: int = least(3, most=MOST_SAMPLES)
    m: int = least(2, most=MOST_SAMPLES)
    video_model: VideoModel
    refiner: Refiner
    text_encoder: TextEncoder
    video_encoder: VideoEncoder
    clip: Clip
    lpips: Lpips
    batch_size: int = least(1, most=10_000)
    captioner: CaptionModel | None = None
    estimates: Estimates = Estimates()
    seed: int = least(0, most=2**63 - 1, default=0)
    estimator: str = "squbed"
    pca: int | None = least(2, most=100_000, default=None)
    device: str = known("auto", "cpu", "cuda", "mps", default="auto")
    dtype: str = known("float32", "bfloat16", "float16", default="float32")


def load(name: str | Path) -> Profile:
    """Read a profile by its name in ``data/profiles/``, or from a ``.yaml`` file.

    Parameters
    ----------
    name : str or path
        ``world``, or a path that ends in ``.yaml``.

    Returns
    -------
    Profile

    Raises
    ------
    FileNotFoundError
        If there is no such profile; the known ones are listed.
    ValueError
        If a key is unknown or missing, or a value is of the wrong type or out of range.

    Examples
    --------
    >>> load("world").n
    6

    """
    settings = _read(find(name), ())
    for entry, value in settings.items():
        if A_KEY.search(str(value)):
            raise ValueError(
                f"profile {name}: {entry} holds what looks like a key, which would be archived; "
                "take it out, and set an environment variable"
            )
    profile = build(Profile, settings, f"profile {settings.get('name', name)}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", profile.name):
        raise ValueError(
            f"profile {name}: name is {profile.name!r}; expected letters, digits, dots and dashes"
        )
    estimators.lookup(profile.estimator)
    families.check(profile.video_model, f"profile {profile.name}: video_model")
    return profile


def names() -> list[str]:
    """Return the names of the profiles that come with this package."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml") if not left_by_a_tool(p.name))


def find(name: str | Path) -> Path:
    """Return the file of a profile; refuse an unknown name and list the known ones."""
    text = str(name)
    path = Path(text) if text.endswith((".yaml", ".yml")) else FOLDER / f"{text}.yaml"
    if path.is_file():
        return path
    if path.exists():
        raise ValueError(f"profile {path} is a folder, a pipe or a device; expected a file")
    raise FileNotFoundError(
        f"no profile {text!r}{suggestion(text, names())}; known: {', '.join(names())}; or give the "
        "path of a .yaml file"
    )


def device_of(name: str) -> str:
    """Return the device that a profile's name stands for here: ``auto`` is CUDA or the CPU.

    Raises
    ------
    ValueError
        If the named device is not there.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[name]:
        raise ValueError(f"device {name!r} is not available here; set device: auto in the profile")
    return name


def resolve(profile: Profile, roles: Collection[str] = ("dataset", *ROLES)) -> dict:
    """Return what an archive records: all settings, checkpoint hashes and library versions.

    Parameters
    ----------
    profile : Profile
    roles : collection of str
        Those that the run uses; the others are left out, and need not be there.

    Raises
    ------
    FileNotFoundError
        If the task table or a model is missing.
    ValueError
        If the device is not there.
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
    models = locate.sources(profile, [role for role in ROLES if role in roles])
    checkpoints |= {name: _sha256(path) for name, path in models.items()}
    if "video_encoder" in roles and isinstance(profile.video_encoder, S3D):
        settings["video_encoder"]["sha256"] = sha256_of(models["video_encoder"])  # stated or not
    versions = {name: version(name) for name in VERSIONED}
    return settings | {"checkpoints": checkpoints, "versions": versions}


def check_recorded(settings: Mapping, where: str) -> None:
    """Refuse what an archive records of its profile, if it could not have been written.

    Raises
    ------
    ValueError
        Naming the entry.
    """
    plain = [f.name for f in dataclasses.fields(Profile) if f.name not in ("dataset", *ROLES)]
    for name in settings:
        if name in plain and name != "estimates":
            check_field(Profile, name, settings[name], f"{where}: {name}")
        elif name in ("dataset", "checkpoints", "versions", *ROLES):
            value = {} if settings[name] is None and name == "captioner" else settings[name]
            if not isinstance(value, dict):
                raise ValueError(f"{where}: {name} is {_short(value)}; expected keys and values")
            told = ("kind", "path", "model") if name in ("dataset", *ROLES) else value
            odd = [key for key in told if not isinstance(value.get(key, ""), str)]
            if odd:
                expected = f"{_short(value[odd[0]])}; expected text"
                raise ValueError(f"{where}: {name}: {odd[0]} is {expected}")
    if settings.get("lpips", {}).get("kind", "alex") not in ("unlearned", "alex"):
        raise ValueError(f"{where}: lpips: kind is unknown; known: unlearned, alex")


def differences(old: Mapping, new: Mapping, *, where: str = "") -> list[str]:
    """List in words what two resolved profiles differ in, leaving out what changes no sample.

    Examples
    --------
    >>> differences({"n": 6, "pca": None}, {"n": 10, "pca": 8})
    ['n is 6 there and 10 here']

    """
    found = []
    for key in sorted(old.keys() | new.keys(), key=str):
        a, b, name = old.get(key), new.get(key), f"{where}{key}"
        if a == b or name in NOT_SAMPLED:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, where=f"{name}.")
        else:
            found.append(f"{name} is {_short(a)} there and {_short(b)} here")
    return found


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _read(path: Path, seen: tuple[Path, ...]) -> dict:
    """Read one file over what it extends."""
    if path in seen:
        chain = " -> ".join(p.stem for p in (*seen, path))
        raise ValueError(f"profile {path.stem} extends itself: {chain}; break the circle")
    settings = plain_yaml.read(path, "profile")
    base = settings.pop("extends", None)
    if base is None:
        return settings
    beside = path.parent / str(base)
    parent = beside if beside.suffix == ".yaml" and beside.is_file() else find(base)
    return _merge(_read(parent, (*seen, path)), settings)


def _merge(base: dict, over: dict) -> dict:
    """Lay one mapping over another; a role that changes its kind takes nothing over."""
    nested = {
        key: _merge(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict)
        and isinstance(base.get(key), dict)
        and value.get("kind", base[key].get("kind")) == base[key].get("kind")
    }
    return base | over | nested


def _sha256(path: Path) -> str:
    """Hash a file, or a folder's files with their names; not what tools leave there."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    files = [p for p in files if not any(map(left_by_a_tool, p.relative_to(path).parts))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
