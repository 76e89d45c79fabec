"""A dry run: what a profile needs, what of that is on this machine, and what its run would cost."""

import importlib.util
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from squbed_utils import profiles, roles, video_models
from squbed_utils.archive.layout import ROLES
from squbed_utils.files import SAMPLES, as_bytes, path_of, sha256_of
from squbed_utils.models import checkpoints, spending
from squbed_utils.models.script import find_program
from squbed_utils.profiles import Profile
from squbed_utils.settings import Settings
from squbed_utils.tasks import captioned

RAW_SHARE = 0.4
"""Size / raw pixels of a lossless video, above the 0.02 to 0.37 measured (docs/scale.md)."""

SCORING_SHARE = 6
"""Memory to decode, align and score a video / its raw pixels, measured."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

OK, MISSING, UNKNOWN = "ok", "missing", "unknown"

FETCHED = "will be fetched from the hub by the first run"


class Finding(NamedTuple):
    """A thing that a run needs, its state (``ok``, ``missing`` or ``unknown``) and the details."""

    what: str
    state: str
    detail: str


def check(profile: str | Path | Profile) -> list[Finding]:
    """Return what a run needs and what is missing, without loading weights, fetching or paying.

    Covers samples, packages, keys, files, programs, device, memory, disk, GPU-hours and money.
    """
    profile = profiles.load(profile)
    parts = (_samples, captions, packages, _keys, model_files, _family)
    parts += (program, _device, _memory, _room)
    if _tasks(profile):
        parts += (_hours, _money)
    return [finding for part in parts for finding in part(profile)]


def overview() -> Iterator[tuple[str, str, str]]:
    """Yield each of the package's profiles: its name, its video model, and what is missing here."""
    for name in profiles.names():
        profile = profiles.load(name)
        model, findings = profile.video_model, check(profile)
        missing = [finding.what for finding in findings if finding.state == MISSING]
        fetched = [finding.what for finding in findings if FETCHED in finding.detail]
        lists = {"missing: ": missing, "; to fetch: ": fetched}
        said = "".join(what + ", ".join(names) for what, names in lists.items() if names)
        called = next(getattr(model, k) for k in ("path", "call", "model") if hasattr(model, k))
        yield name, called, said or "nothing is missing"


def _either(what: str, ready: bool, detail: str, otherwise: str | None = None) -> Finding:
    return Finding(what, OK if ready else MISSING, detail if ready else otherwise or detail)


def _samples(profile: Profile) -> Iterator[Finding]:
    tasks, model = _tasks(profile), profile.video_model
    size = f"{model.frames} frames of {model.width} x {model.height}"
    size = size if _pixels(profile) else "as its model makes it"
    if profile.dataset is None:
        detail = f"no dataset; give a file of prompts (--prompts); each video {size}"
        yield Finding("samples", UNKNOWN, detail)
    elif tasks is None:
        yield Finding("samples", UNKNOWN, f"the tasks cannot be counted; each video {size}")
    else:
        some = f", {profile.videos_of} of them" if profile.videos_of else ""
        counts = f"{tasks} tasks x {profile.n} latent prompts{some} x {profile.m} videos"
        yield Finding("samples", OK, f"{counts} = {_videos(profile):,} videos, each {size}")


def _tasks(profile: Profile) -> int | None:
    try:
        return profile.dataset and captioned.size(profile.dataset)
    except FileNotFoundError:
        return None


def _videos(profile: Profile) -> int:
    return (_tasks(profile) or 0) * sum(map(profile.videos, range(profile.n)))


def _pixels(profile: Profile) -> int:
    """Return the number of raw bytes of a video, 0 where the profile does not say its size."""
    model = profile.video_model
    return 3 * (model.frames or 0) * (model.height or 0) * (model.width or 0)


def _keys(profile: Profile) -> Iterator[Finding]:
    keys = [(profile.refiner.key,)] if isinstance(profile.refiner, roles.OpenAI) else []
    keys += [video_models.VEO_KEYS] if isinstance(profile.video_model, roles.Veo) else []
    for names in keys:
        ready = any(os.environ.get(name) for name in names)
        remedy = "not set; export it in the shell that starts the run"
        yield _either(f"key {' or '.join(names)}", ready, "set", remedy)


def _device(profile: Profile) -> Iterator[Finding]:
    try:
        device = checkpoints.device_of(profile.device)
        yield Finding("device", OK, f"{device}; no GPU found" if device == "cpu" else device)
    except ValueError as error:
        yield Finding("device", MISSING, str(error))


def _memory(profile: Profile) -> Iterator[Finding]:
    if not isinstance(profile.video_model, roles.Diffusers):
        return
    import torch

    need, source = _memory_needed(profile)
    if need is None:
        yield Finding("GPU memory", UNKNOWN, source)
    elif not torch.cuda.is_available():
        yield Finding("GPU memory", UNKNOWN, f"{as_bytes(need)} wanted ({source}); no GPU here")
    else:
        memory = torch.cuda.get_device_properties(0).total_memory
        detail = f"{as_bytes(need)} of {as_bytes(memory)} here ({source})"
        yield _either("GPU memory", need <= memory, detail)


def _memory_needed(profile: Profile) -> tuple[float | None, str]:
    """Return the profile's figure of memory, or count the weights if they are on this machine."""
    model, known = profile.video_model, profile.estimates
    if known.gpu_memory is not None:
        return known.gpu_memory * 1e9, known.source
    try:
        parts = [parameters(part) for part in path_of(model.path).iterdir()]
    except (SafetensorError, OSError):
        return None, "no figure in the profile, and no whole weights here to count"
    count = max(parts, default=0) if model.offload else sum(parts)
    counted = "its largest part" if model.offload else "its weights"
    return count * BYTES[profile.dtype], f"{counted} in {profile.dtype}, activations not counted"


def _room(profile: Profile) -> Iterator[Finding]:
    """Say whether the videos fit into memory and on the disk."""
    if not (pixels := _pixels(profile)):
        yield Finding("memory, disk", UNKNOWN, "for videos whose size the profile does not say")
        return
    need = SCORING_SHARE * pixels * profile.batch_size
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    detail = f"{as_bytes(need)} a worker to score what it generates at once, "
    detail += f"{as_bytes(memory)} here; models not counted"
    yield _either("memory", need <= memory, detail)
    if need := RAW_SHARE * pixels * _videos(profile):
        place = next(p for p in (SAMPLES, *SAMPLES.parents) if p.exists())
        free = shutil.disk_usage(place).free
        detail = f"about {as_bytes(need)} for the videos, lossless; {as_bytes(free)} are free"
        yield _either("disk", need <= free, detail)


def _hours(profile: Profile) -> Iterator[Finding]:
    known = profile.estimates
    if isinstance(profile.video_model, roles.Veo):
        return
    if known.seconds is None:
        yield Finding("GPU-hours", UNKNOWN, "no figure in the profile; time a few videos first")
    else:
        hours = known.seconds * _videos(profile) / 3600
        detail = f"{hours:,.1f}, at {known.seconds:g} s a video ({known.source})"
        yield Finding("GPU-hours", OK, detail)


def _money(profile: Profile) -> Iterator[Finding]:
    model, refiner = profile.video_model, profile.refiner
    if isinstance(model, roles.Veo):
        dollars = spending.cost(model, _videos(profile))
        detail = f"${dollars:,.2f} at the profile's price; its budget is ${model.budget:,.2f}"
        yield _either("money: videos", dollars <= model.budget, detail)
    if not isinstance(refiner, roles.OpenAI):
        return
    tasks, labels = _tasks(profile) or 0, getattr(profile.dataset, "pool", 0)
    calls = spending.calls(refiner, tasks=tasks, latents=tasks * profile.n, labels=labels)
    what, detail = "money: language model", f"{calls:,} calls of {refiner.model}, and redraws"
    if refiner.max_calls is not None and calls > refiner.max_calls:
        yield Finding(what, MISSING, f"{detail}; refiner.max_calls is {refiner.max_calls:,}")
    elif refiner.price is None:
        yield Finding(what, UNKNOWN, f"{detail}; price not stated, see the vendor's")
    else:
        most = spending.most_for_answers(refiner, calls)
        budget = "none" if refiner.budget is None else f"${refiner.budget:,.2f}"
        yield Finding(what, OK, f"{detail}; answers at most ${most:,.2f}, budget {budget}")


def captions(profile: Profile) -> Iterator[Finding]:
    """Check that a dataset has enough clips for the tasks that are to be sampled from it."""
    dataset = profile.dataset
    if not isinstance(dataset, roles.Captioned):
        return
    if not (path_of(dataset.path).exists() and path_of(dataset.videos).exists()):
        return  # which `model_files` says
    try:
        count = captioned.available(dataset)
    except (FileNotFoundError, ValueError) as error:
        yield Finding("captions", MISSING, str(error))
        return
    few = f"{count} have a clip, dataset.tasks is {dataset.tasks}; get clips, or lower it"
    yield _either("captions", count >= dataset.tasks, f"at least {count} have a clip", few)


def packages(profile: Profile) -> Iterator[Finding]:
    """Check that the packages that a video model needs beside diffusers are installed."""
    model = profile.video_model
    if isinstance(model, roles.Diffusers) and model.guardrail and model.constraints.guardrail:
        installed = importlib.util.find_spec("cosmos_guardrail") is not None
        remedy = "pip install cosmos_guardrail, or set guardrail: false"
        yield _either("package cosmos_guardrail", installed, "installed", remedy)


def _family(profile: Profile) -> Iterator[Finding]:
    """Say what was not checked of a pipeline that is called as it is."""
    model = profile.video_model
    if isinstance(model, roles.Diffusers) and model.family is None:
        try:
            own = video_models.families_of(checkpoints.class_in(path_of(model.path)))
        except (ValueError, OSError):  # not here, which `model_files` says
            own = []
        known = f"; {' or '.join(own)} is known to fit it" if own else ""
        detail = "none: not checked are sizes and numbers of frames, parts that need float32, and "
        detail += f"that a video depends on its prompt and seed alone{known}"
        yield Finding("video_model.family", UNKNOWN, detail)


def model_files(profile: Profile) -> Iterator[Finding]:
    """Check each file, folder and hub model that the profile names."""
    known = _tasks(profile) is not None
    for role in captioned.roles_of(profile.dataset) if known else ("dataset", *ROLES):
        settings = getattr(profile, role)
        for setting in settings.places() if settings else ():
            yield _place(settings, role, setting)
        if isinstance(settings, roles.S3D) and not settings.sha256:
            file = path_of(settings.path)
            if file.is_file():
                detail = f"not stated; found {sha256_of(file)}, which the archive will record"
                yield Finding(f"{role}.sha256", UNKNOWN, detail)


def _place(settings: Settings, role: str, setting: str) -> Finding:
    place, what = settings.places()[setting], f"{role}.{setting}"
    if place.on_the_hub():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(place.path, place.marker, revision=place.revision)
        if isinstance(cached, str):
            return Finding(what, OK, f"{place.path}, fetched from the hub before")
        return Finding(what, UNKNOWN, f"{place.path} {FETCHED}")
    try:
        paths = checkpoints.read_by(settings, role, setting).values()
    except (ValueError, OSError) as error:
        return Finding(what, MISSING, str(error))
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    size = sum(file.stat().st_size for file in files if file.is_file())
    return Finding(what, OK, f"{place.path} ({as_bytes(size)})")


def program(profile: Profile) -> Iterator[Finding]:
    """Check that a `Command` video model's program and scripts exist."""
    model = profile.video_model
    if not isinstance(model, roles.Command):
        return
    program, *words = model.command
    absent = "neither on the PATH nor in video_model.path"
    yield _either(f"program {program}", find_program(model) is not None, "found", absent)
    folder = path_of(model.path)
    for script in (word for word in words if word.endswith(".py") and "{" not in word):
        absent = f"not in {folder}; install it or correct it"
        yield _either(f"script {script}", (folder / script).is_file(), "found", absent)


def parameters(folder: Path) -> int:
    """Count the parameters in the headers of a folder's safetensors files."""
    count = 0
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "np") as file:
            count += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
    return count
