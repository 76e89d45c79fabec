"""A dry run: what a profile needs, what of it is here, and what its run would cost."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from squbed_utils import locate, profiles, tasks
from squbed_utils.profiles import Profile

OK, MISSING, UNKNOWN = "ok", "missing", "unknown"

RAW_SHARE = 0.25
"""Size of a lossless video against its raw pixels: the most among six real clips (0.02 to 0.26)."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Finding(NamedTuple):
    """One thing looked at: its name, ``ok``, ``missing`` or ``unknown``, and the facts."""

    what: str
    state: str
    detail: str


def check(profile: str | Path | Profile) -> list[Finding]:
    """Look at everything that a run needs without loading weights, paying or fetching.

    Parameters
    ----------
    profile : str, path or Profile

    Returns
    -------
    list of Finding
        Packages, keys, files, device, GPU memory, disk, then GPU-hours and money.

    Raises
    ------
    FileNotFoundError, ValueError
        As `profiles.load`.
    """
    profile = profile if isinstance(profile, Profile) else profiles.load(profile)
    parts = (_samples, _packages, _keys, _files, _device, _memory, _disk, _cost)
    return [finding for part in parts for finding in part(profile)]


def _samples(profile: Profile) -> Iterator[Finding]:
    model, count = profile.video_model, tasks.count(profile.dataset)
    size = f"{model.frames} frames of {model.height} x {model.width}"
    yield Finding(
        "samples",
        OK,
        f"{count} tasks x {profile.n} latent prompts x {profile.m} videos = "
        f"{videos_of(profile):,} videos, {size}",
    )


def videos_of(profile: Profile) -> int:
    """Return how many videos a run makes."""
    return tasks.count(profile.dataset) * profile.n * profile.m


def _packages(profile: Profile) -> Iterator[Finding]:
    model = profile.video_model
    if model.kind == "diffusers" and model.family.startswith("cosmos") and model.guardrail:
        there = importlib.util.find_spec("cosmos_guardrail") is not None
        how = "installed" if there else "pip install cosmos_guardrail, or set guardrail: false"
        yield Finding("package cosmos_guardrail", OK if there else MISSING, how)


def _keys(profile: Profile) -> Iterator[Finding]:
    wanted = []
    if profile.refiner.kind == "openai":
        wanted.append((profile.refiner.key,))
    if profile.video_model.kind == "veo":
        wanted.append(("GEMINI_API_KEY", "GOOGLE_API_KEY"))
    for names in wanted:
        there = any(os.environ.get(name) for name in names)
        detail = "set" if there else "not set; export it in the shell that starts the run"
        yield Finding(f"key {' or '.join(names)}", OK if there else MISSING, detail)


def _files(profile: Profile) -> Iterator[Finding]:
    for what, path in _paths(profile):
        there = profiles.path_of(path)
        if there.exists():
            yield Finding(what, OK, f"{path} ({_bytes(size_of(there))})")
        elif locate.HUB_ID.fullmatch(path) and locate.cached(path):
            yield Finding(what, OK, f"{path}, fetched from the hub before")
        elif locate.HUB_ID.fullmatch(path):
            yield Finding(what, UNKNOWN, f"{path} will be fetched from the hub at the first run")
        else:
            yield Finding(what, MISSING, f"nothing at {there}; correct the path or put it there")


def _paths(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield what every path or hub id of a profile is for, and itself."""
    for role in ("dataset", *locate.MARKERS):
        settings = getattr(profile, role)
        for name in ("path", "videos", "image_model", "nli_model", "instructions"):
            if getattr(settings, name, None):
                yield (role if name == "path" else f"{role}.{name}"), getattr(settings, name)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _device(profile: Profile) -> Iterator[Finding]:
    try:
        yield Finding("device", OK, profiles.device_of(profile.device))
    except ValueError as error:
        yield Finding("device", MISSING, str(error))


def _memory(profile: Profile) -> Iterator[Finding]:
    """Estimate what the video model's weights take on the GPU."""
    need, how = _memory_needed(profile)
    if need is None:
        yield Finding("GPU memory", UNKNOWN, how)
        return
    there = _memory_there()
    enough = there is None or need <= there
    here = "no GPU here" if there is None else f"{_bytes(there)} here"
    yield Finding("GPU memory", OK if enough else MISSING, f"{_bytes(need)}: {how}; {here}")


def _memory_needed(profile: Profile) -> tuple[float | None, str]:
    model, known = profile.video_model, profile.estimates
    if model.kind == "veo":
        return 0, "the model runs at its vendor's"
    if known.gpu_memory is not None:
        return known.gpu_memory * 1e9, known.source
    folder = profiles.path_of(model.path)
    if model.kind == "diffusers" and folder.is_dir():
        parts = [_weights(part) for part in folder.iterdir() if part.is_dir()]
        count = max(parts) if model.offload else sum(parts)
        return count * BYTES[profile.dtype], (
            f"{'the largest part' if model.offload else 'all'} of its weights in "
            f"{profile.dtype}, activations not counted"
        )
    return None, "no estimate in the profile, and no weights here to count"


def _weights(folder: Path) -> int:
    """Count the parameters in a folder's safetensors files, from their headers."""
    from safetensors import safe_open

    count = 0
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118  (not a dict)
                size = 1
                for side in file.get_slice(name).get_shape():
                    size *= side
                count += size
    return count


def _memory_there() -> float | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory


def _disk(profile: Profile) -> Iterator[Finding]:
    model = profile.video_model
    raw = model.frames * model.height * model.width * 3
    need = RAW_SHARE * raw * videos_of(profile)
    folder = profiles.SAMPLES
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"at most about {_bytes(need)} of lossless videos; {_bytes(free)} free in {folder}"
    yield Finding("disk", OK if need <= free else MISSING, detail)


def _cost(profile: Profile) -> Iterator[Finding]:
    known, count = profile.estimates, videos_of(profile)
    if profile.video_model.kind == "veo":
        dollars = profile.video_model.price * profile.video_model.seconds * count
        budget = profile.video_model.budget
        detail = (
            f"${dollars:,.2f} for the videos, at the price in the profile; budget ${budget:,.2f}"
        )
        yield Finding("money", OK if dollars <= budget else MISSING, detail)
    elif known.seconds is None:
        yield Finding("GPU-hours", UNKNOWN, "no estimate in the profile; time a few videos first")
    else:
        hours = known.seconds * count / 3600
        yield Finding(
            "GPU-hours", OK, f"{hours:,.1f} at {known.seconds:g} s a video: {known.source}"
        )
    if profile.refiner.kind == "openai":
        calls = tasks.count(profile.dataset) * (
            profile.n if profile.refiner.draws == "independent" else 1
        )
        asked = "and as many checks" if profile.refiner.check == "model" else "no checks"
        yield Finding(
            "language model",
            OK,
            f"{calls:,} requests to {profile.refiner.model}, {asked}, and redraws",
        )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
