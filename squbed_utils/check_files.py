"""What of a profile's files, programs and instructions is here, without loading any weight."""

import importlib.util
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from squbed_utils import instructions as _instructions
from squbed_utils.archive.layout import ROLES
from squbed_utils.families import FAMILIES
from squbed_utils.files import path_of, sha256_of
from squbed_utils.models import script as command
from squbed_utils.models.checkpoints import HUB_ID, MARKERS, locate_file
from squbed_utils.profiles import Profile
from squbed_utils.roles import S3D, Command, Diffusers, World
from squbed_utils.tasks import captioned

OK, MISSING, UNKNOWN = "ok", "missing", "unknown"

WEIGHTS = "*.safetensors"

PATHS = ("path", "videos", "image_model", "nli_model", "instructions")
"""Settings that are paths or hub ids."""


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes
    ----------
    what : str
    state : str
        ``ok``, ``missing`` or ``unknown``.
    detail : str

    """

    what: str
    state: str
    detail: str


def captions(profile: Profile) -> Iterator[Finding]:
    """Look whether a dataset has clips for as many tasks as it is to give."""
    dataset = profile.dataset
    if isinstance(dataset, World):
        return
    if not (path_of(dataset.path).exists() and path_of(dataset.videos).exists()):
        return  # which `model_files` says
    try:
        there = captioned.available(dataset)
    except (FileNotFoundError, ValueError) as error:
        yield Finding("captions", MISSING, str(error))
        return
    if there < dataset.tasks:
        detail = f"{there} have a clip, dataset.tasks is {dataset.tasks}; get clips, or lower it"
        yield Finding("captions", MISSING, detail)
    else:
        yield Finding("captions", OK, f"at least {there} have a clip")


def packages(profile: Profile) -> Iterator[Finding]:
    """Look for packages that a video model wants beside diffusers."""
    model = profile.video_model
    if isinstance(model, Diffusers) and FAMILIES[model.family].guardrail and model.guardrail:
        there = importlib.util.find_spec("cosmos_guardrail") is not None
        detail = "installed" if there else "pip install cosmos_guardrail, or set guardrail: false"
        yield Finding("package cosmos_guardrail", OK if there else MISSING, detail)


def model_files(profile: Profile) -> Iterator[Finding]:
    """Look for each file, folder and hub model that the profile names."""
    for role in ("dataset", *ROLES):
        settings = getattr(profile, role)
        for name in PATHS:
            if getattr(settings, name, None):
                marker = _marker(settings, role, name)
                revision = getattr(settings, "revision", None) if name == "path" else None
                yield _file(f"{role}.{name}", getattr(settings, name), marker, revision)
        if isinstance(settings, S3D):
            yield _hash(f"{role}.sha256", role, settings)


def _hash(what: str, role: str, settings: S3D) -> Finding:
    stated, file = settings.sha256, path_of(settings.path)
    if stated is not None and not re.fullmatch("[0-9a-fA-F]{64}", stated):
        detail = f"{stated!r} is no sha256, 64 hexadecimal digits; correct it, or leave it out"
        return Finding(what, MISSING, detail)
    if not file.is_file():
        detail = "not stated" if stated is None else "compared when the file is there"
        return Finding(what, UNKNOWN, detail)
    if stated is None:
        detail = f"not stated; found {sha256_of(file)}, which the archive will record"
        return Finding(what, UNKNOWN, detail)
    try:
        locate_file(settings.path, role, settings.kind, sha256=stated)
    except ValueError as error:
        return Finding(what, MISSING, str(error))
    return Finding(what, OK, "the file's")


def program(profile: Profile) -> Iterator[Finding]:
    """Look for the program and scripts of a video model that runs by its own."""
    model = profile.video_model
    if not isinstance(model, Command):
        return
    program, *words = model.command
    there = command.find_program(model) is not None
    detail = "found" if there else "neither on the PATH nor in video_model.path"
    yield Finding(f"program {program}", OK if there else MISSING, detail)
    for script in (word for word in words if word.endswith(".py") and "{" not in word):
        there = (path_of(model.path) / script).is_file()
        detail = "found" if there else f"not in {path_of(model.path)}; install it or correct it"
        yield Finding(f"script {script}", OK if there else MISSING, detail)


def instructions(profile: Profile) -> Iterator[Finding]:
    """Read the instructions of the language model."""
    folder = getattr(profile.refiner, "instructions", None)
    if folder and path_of(folder).is_dir():
        try:
            _instructions.read(folder)
        except (FileNotFoundError, ValueError) as error:
            yield Finding("instructions", MISSING, str(error))


def _marker(settings: object, role: str, name: str) -> str | None:
    """Return what a model's folder must hold; None for a path that is no hub model's."""
    if name in MARKERS:
        return MARKERS[name]
    alone = isinstance(settings, S3D | Command) or getattr(settings, "kind", None) == "alex"
    return MARKERS[role] if name == "path" and role != "dataset" and not alone else None


def _file(what: str, path: str, marker: str | None, revision: str | None) -> Finding:
    there = path_of(path)
    if there.exists():
        if marker and not (there / marker).is_file():
            return Finding(what, MISSING, f"{there} has no {marker}; correct {what}")
        if marker and (found := damage(there)):
            return Finding(what, MISSING, found)
        return Finding(what, OK, f"{path} ({as_bytes(_size(there))})")
    if marker is None or not HUB_ID.fullmatch(path):
        return Finding(what, MISSING, f"nothing at {there}; put it there, or correct {what}")
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(path, marker, revision=revision), str):
        return Finding(what, OK, f"{path}, fetched from the hub before")
    return Finding(what, UNKNOWN, f"{path} will be fetched from the hub by the first run")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def damage(folder: Path) -> str | None:
    """Name a folder's first safetensors file whose header cannot be read or does not fit it."""
    from safetensors import SafetensorError

    for path in sorted(folder.rglob(WEIGHTS)):
        try:
            _count(path)
        except (SafetensorError, OSError) as error:
            return f"{path} is damaged ({error}); put it there again"
    return None


def parameters(folder: Path) -> int:
    """Count the parameters in a folder's safetensors files, by their headers."""
    return sum(map(_count, folder.rglob(WEIGHTS)))


def _count(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())


def as_bytes(count: float) -> str:
    """Write a number of bytes.

    >>> as_bytes(1234567)
    '1.23 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
