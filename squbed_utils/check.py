"""A dry run: what a profile needs, what of it is here, and what its run would cost."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from squbed_utils import check_files, profiles
from squbed_utils.check_files import MISSING, OK, UNKNOWN, Finding, as_bytes
from squbed_utils.families import VEO_KEYS
from squbed_utils.files import SAMPLES, path_of
from squbed_utils.models import checkpoints, spending
from squbed_utils.profiles import Profile
from squbed_utils.roles import Diffusers, OpenAI, Veo
from squbed_utils.tasks import captioned

RAW_SHARE = 0.4
"""Size of a lossless video against its raw pixels, above all that was measured (docs/scale.md): of
six real clips 0.02 to 0.26, of the shapes world 0.37."""

SCORING_SHARE = 6
"""Memory to decode, align and score a video against its raw pixels, measured."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def check(profile: str | Path | Profile) -> list[Finding]:
    """Look at all that a run needs without loading weights, fetching or paying.

    Parameters
    ----------
    profile : str, path or Profile

    Returns
    -------
    list of Finding
        Samples, packages, keys, files, programs, device, memory, disk, GPU-hours and money.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``profiles.load``.
    """
    profile = profile if isinstance(profile, Profile) else profiles.load(profile)
    parts = (_samples, check_files.captions, check_files.packages, _keys, check_files.model_files)
    parts += (check_files.program, check_files.instructions, _device)
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
    """Take the profile's figure, or count the weights, if they are here."""
    model, known = profile.video_model, profile.estimates
    if known.gpu_memory is not None:
        return known.gpu_memory * 1e9, known.source
    folder = path_of(model.path)
    if not folder.is_dir() or check_files.damage(folder):
        return None, "no figure in the profile, and no whole weights here to count"
    parts = [check_files.parameters(part) for part in folder.iterdir()]
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
    """Return the raw bytes of a video."""
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
