"""A dry run: what a profile needs, what of that is on this machine, and what its run would cost."""

import importlib.util
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from squbed_utils import instructions as _instructions
from squbed_utils import profiles
from squbed_utils.archive.layout import ROLES
from squbed_utils.files import SAMPLES, path_of, sha256_of
from squbed_utils.models import checkpoints, spending
from squbed_utils.models import script as command
from squbed_utils.models.checkpoints import HUB_ID, MARKERS, locate_file
from squbed_utils.profiles import Profile
from squbed_utils.roles import FAMILIES, S3D, VEO_KEYS, Command, Diffusers, OpenAI, Veo, World
from squbed_utils.tasks import captioned

RAW_SHARE = 0.4
"""Size / raw pixels of a lossless video, above the 0.02 to 0.37 measured (docs/scale.md)."""

SCORING_SHARE = 6
"""Memory to decode, align and score a video / its raw pixels, measured."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

OK, MISSING, UNKNOWN = "ok", "missing", "unknown"

WEIGHTS = "*.safetensors"

PATHS = ("path", "videos", "image_model", "transformer", "nli_model", "instructions")
"""Settings that are paths or hub ids."""


class Finding(NamedTuple):
    """A thing that a run needs, its state (``ok``, ``missing`` or ``unknown``) and the details."""

    what: str
    state: str
    detail: str


def check(profile: str | Path | Profile) -> list[Finding]:
    """Return what a run needs and what is missing, without loading weights, fetching or paying.

    Covers samples, packages, keys, files, programs, device, memory, disk, GPU-hours and money.
    """
    profile = profile if isinstance(profile, Profile) else profiles.load(profile)
    parts = (_samples, captions, packages, _keys, model_files)
    parts += (program, instructions, _device)
    parts += (_memory, _ram, _disk, _hours, _money)
    return [finding for part in parts for finding in part(profile)]


def _samples(profile: Profile) -> Iterator[Finding]:
    tasks, model = _tasks(profile), profile.video_model
    size = f"{model.frames} frames of {model.width} x {model.height}"
    if tasks is None:
        yield Finding("samples", UNKNOWN, f"the tasks cannot be counted; each video {size}")
        return
    counts = f"{tasks} tasks x {profile.n} latent prompts x {profile.m} videos"
    yield Finding("samples", OK, f"{counts} = {_videos(profile):,} videos, each {size}")


def _tasks(profile: Profile) -> int | None:
    try:
        return captioned.size(profile.dataset)
    except FileNotFoundError:
        return None


def _videos(profile: Profile) -> int:
    return (_tasks(profile) or 0) * profile.n * profile.m


def _keys(profile: Profile) -> Iterator[Finding]:
    wanted = [(profile.refiner.key,)] if isinstance(profile.refiner, OpenAI) else []
    wanted += [VEO_KEYS] if isinstance(profile.video_model, Veo) else []
    for names in wanted:
        there = any(os.environ.get(name) for name in names)
        detail = "set" if there else "not set; export it in the shell that starts the run"
        yield Finding(f"key {' or '.join(names)}", OK if there else MISSING, detail)


def _device(profile: Profile) -> Iterator[Finding]:
    try:
        device = checkpoints.device_of(profile.device)
        yield Finding("device", OK, f"{device}; no GPU found" if device == "cpu" else device)
    except ValueError as error:
        yield Finding("device", MISSING, str(error))


def _memory(profile: Profile) -> Iterator[Finding]:
    if not isinstance(profile.video_model, Diffusers):
        return
    need, how = _memory_needed(profile)
    there = _memory_there()
    if need is None:
        yield Finding("GPU memory", UNKNOWN, how)
    elif there is None:
        yield Finding("GPU memory", UNKNOWN, f"{as_bytes(need)} wanted ({how}); no GPU here")
    else:
        state = OK if need <= there else MISSING
        yield Finding("GPU memory", state, f"{as_bytes(need)} of {as_bytes(there)} here ({how})")


def _memory_needed(profile: Profile) -> tuple[float | None, str]:
    """Return the profile's figure of memory, or count the weights if they are on this machine."""
    model, known = profile.video_model, profile.estimates
    if known.gpu_memory is not None:
        return known.gpu_memory * 1e9, known.source
    folder = path_of(model.path)
    if not folder.is_dir() or damage(folder):
        return None, "no figure in the profile, and no whole weights here to count"
    parts = [parameters(part) for part in folder.iterdir()]
    whole = max(parts, default=0) if model.offload else sum(parts)
    kept = "its largest part" if model.offload else "its weights"
    return whole * BYTES[profile.dtype], f"{kept} in {profile.dtype}, activations not counted"


def _memory_there() -> int | None:
    import torch

    there = torch.cuda.is_available()
    return torch.cuda.get_device_properties(0).total_memory if there else None


def _ram(profile: Profile) -> Iterator[Finding]:
    need = SCORING_SHARE * _pixels(profile) * profile.batch_size
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    detail = f"{as_bytes(need)} a worker to score what it generates at once, "
    detail += f"{as_bytes(there)} here; models not counted"
    yield Finding("memory", OK if need <= there else MISSING, detail)


def _pixels(profile: Profile) -> int:
    """Return the number of raw bytes of a video."""
    model = profile.video_model
    return 3 * model.frames * model.height * model.width


def _disk(profile: Profile) -> Iterator[Finding]:
    need = RAW_SHARE * _pixels(profile) * _videos(profile)
    place = next(p for p in (SAMPLES, *SAMPLES.parents) if p.exists())
    free = shutil.disk_usage(place).free
    detail = f"about {as_bytes(need)} for the videos, lossless; {as_bytes(free)} are free"
    yield Finding("disk", OK if need <= free else MISSING, detail)


def _hours(profile: Profile) -> Iterator[Finding]:
    known = profile.estimates
    if isinstance(profile.video_model, Veo):
        return
    if known.seconds is None:
        yield Finding("GPU-hours", UNKNOWN, "no figure in the profile; time a few videos first")
    else:
        hours = known.seconds * _videos(profile) / 3600
        detail = f"{hours:,.1f}, at {known.seconds:g} s a video ({known.source})"
        yield Finding("GPU-hours", OK, detail)


def _money(profile: Profile) -> Iterator[Finding]:
    if isinstance(profile.video_model, Veo):
        dollars = spending.cost(profile.video_model, _videos(profile))
        budget = profile.video_model.budget
        detail = f"${dollars:,.2f} at the profile's price; its budget is ${budget:,.2f}"
        yield Finding("money: videos", OK if dollars <= budget else MISSING, detail)
    if isinstance(profile.refiner, OpenAI):
        tasks, labels = _tasks(profile) or 0, getattr(profile.dataset, "pool", 0)
        yield _money_of_calls(
            profile.refiner,
            spending.calls(profile.refiner, tasks=tasks, latents=tasks * profile.n, labels=labels),
        )


def _money_of_calls(refiner: OpenAI, calls: int) -> Finding:
    what, detail = "money: language model", f"{calls:,} calls of {refiner.model}, and redraws"
    if refiner.max_calls is not None and calls > refiner.max_calls:
        return Finding(what, MISSING, f"{detail}; refiner.max_calls is {refiner.max_calls:,}")
    if refiner.price is None:
        return Finding(what, UNKNOWN, f"{detail}; price not stated, see the vendor's")
    most = spending.most_for_answers(refiner, calls)
    budget = "none" if refiner.budget is None else f"${refiner.budget:,.2f}"
    return Finding(what, OK, f"{detail}; answers at most ${most:,.2f}, budget {budget}")


def captions(profile: Profile) -> Iterator[Finding]:
    """Check that a dataset has enough clips for the tasks that are to be sampled from it."""
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
    """Check that the packages that a video model needs beside diffusers are installed."""
    model = profile.video_model
    if isinstance(model, Diffusers) and FAMILIES[model.family].guardrail and model.guardrail:
        there = importlib.util.find_spec("cosmos_guardrail") is not None
        detail = "installed" if there else "pip install cosmos_guardrail, or set guardrail: false"
        yield Finding("package cosmos_guardrail", OK if there else MISSING, detail)


def model_files(profile: Profile) -> Iterator[Finding]:
    """Check each file, folder and hub model that the profile names."""
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
    """Check that a `Command` video model's program and scripts exist."""
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
    """Check that the instructions of the language model can be read."""
    folder = getattr(profile.refiner, "instructions", None)
    if folder and path_of(folder).is_dir():
        try:
            _instructions.read(folder)
        except (FileNotFoundError, ValueError) as error:
            yield Finding("instructions", MISSING, str(error))


def _marker(settings: object, role: str, name: str) -> str | None:
    """Return the file that a model's folder must hold, or None if the path is no hub model's."""
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
    """Return what is wrong with a folder's first damaged safetensors file, or None."""
    from safetensors import SafetensorError

    for path in sorted(folder.rglob(WEIGHTS)):
        try:
            _count(path)
        except (SafetensorError, OSError) as error:
            return f"{path} is damaged ({error}); put it there again"
    return None


def parameters(folder: Path) -> int:
    """Count the parameters in the headers of a folder's safetensors files."""
    return sum(map(_count, folder.rglob(WEIGHTS)))


def _count(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())


def as_bytes(count: float) -> str:
    """Return a number of bytes as text.

    >>> as_bytes(1234567)
    '1.23 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
