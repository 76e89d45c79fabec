"""One unit of work: a latent prompt, its videos, and everything measured on them."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from squbed_utils import video
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import FAILED, OK, reference_path, video_path
from squbed_utils.files import seed_of
from squbed_utils.models import latent_prompts
from squbed_utils.models.accuracy import mean_cosine, psnr, ssim
from squbed_utils.models.load import Models
from squbed_utils.profiles import Profile
from squbed_utils.roles import Diffusers
from squbed_utils.tasks.task import Task
from squbed_utils.video import Video


@dataclass(frozen=True)
class Bench:
    """A worker's profile, models and archive.

    `embedded` caches the last reference: its aligned frames, and their embeddings.
    """

    profile: Profile
    models: Models
    archive: Archive
    embedded: dict = field(default_factory=dict, compare=False)


def make(bench: Bench, task: Task, latent: int) -> None:
    """Draw one latent prompt (0 to n - 1), make and measure its videos, and write the shard.

    Each video is stored as soon as it is made; a stored video that is whole is kept. At most one
    batch of videos is in memory.

    A unit without a compatible latent prompt, or with a video that cannot be measured, raises
    ValueError; a video that cannot be generated raises nothing, and its row says why. `Stop` means
    that every other unit would fail too: the budget or the memory is used up.
    """
    profile, models = bench.profile, bench.models
    checked = {"compatible": models.compatible, "listed": models.listed}
    drawn = latent_prompts.draw(task, latent, models.refine, seed=profile.seed, **checked)
    shared = {"task": task.id, "latent": latent, "prompt": drawn.prompt}
    shared |= {"rejected": list(drawn.rejected)}
    shared |= embed_texts(models, task.prompt, drawn.prompt)
    rows = []
    for start in range(0, profile.m, profile.batch_size):
        samples = range(start, min(start + profile.batch_size, profile.m))
        errors = _store(bench, task, latent, samples, drawn.prompt)
        paths = [video_path(task.id, latent, sample) for sample in samples]
        measured = _measure_stored(bench, task, paths, errors)
        for sample, path, error, found in zip(samples, paths, errors, measured, strict=True):
            row = shared | {"sample": sample, "seed": _seed(profile, task, latent, sample)}
            row |= {"path": path, "status": OK} if error is None else {"status": FAILED}
            rows.append(row | found | {"error": error})
    bench.archive.write_shard(task.id, latent, rows)


def embed_texts(models: Models, prompt: str, latent_prompt: str | None) -> dict:
    """Return shard columns: the embedding of the latent prompt, if known, and both token counts."""
    found = {f"prompt_{name}": count for name, count in models.clip_texts.read(prompt).items()}
    if latent_prompt is None:
        return found
    read = models.embed_text.read(latent_prompt)
    found |= {f"text_{name}": count for name, count in read.items()}
    return found | {"text_embedding": models.embed_text([latent_prompt])[0].tolist()}


def fail(profile: Profile, archive: Archive, task: Task, latent: int, reason: str) -> None:
    """Write the shard of a unit that cannot be made: failed rows with the reason."""
    shared = {"task": task.id, "latent": latent, "rejected": [], "status": FAILED}
    shared |= {"error": reason}
    rows = [
        shared | {"sample": sample, "seed": _seed(profile, task, latent, sample)}
        for sample in range(profile.m)
    ]
    archive.write_shard(task.id, latent, rows)


def _seed(profile: Profile, task: Task, latent: int, sample: int) -> int:
    return seed_of(profile.seed, task.id, latent, sample)


def _store(bench: Bench, task: Task, latent: int, samples: range, prompt: str) -> list[str | None]:
    """Generate and store the missing videos; return for each sample an error, or None.

    The place in a batch changes the last bit of a video, so a batch of diffusers that lacks a video
    is generated whole. Other models make one video at a time.
    """
    files = [bench.archive.inside(video_path(task.id, latent, sample)) for sample in samples]
    missing = [i for i, file in enumerate(files) if not video.is_whole(file)]
    together = isinstance(bench.profile.video_model, Diffusers)
    calls = [range(len(samples))] if together and missing else [[i] for i in missing]
    errors: list[str | None] = [None] * len(samples)
    for call in calls:
        seeds = [_seed(bench.profile, task, latent, samples[i]) for i in call]
        for i, made in zip(call, bench.models.generate([prompt] * len(seeds), seeds), strict=True):
            if i in missing and isinstance(made, Exception):
                errors[i] = f"{type(made).__name__}: {made}"
            elif i in missing:
                video.write(files[i], made.frames, made.fps)
    return errors


def _measure_stored(
    bench: Bench, task: Task, paths: list[str], errors: list[str | None]
) -> list[dict]:
    """Return the embedding and the accuracies of each stored video, nothing for those that failed.

    In a batch another video replaces a failed one, so that the others keep their places.
    """
    stored = [
        None if error else video.scan(bench.archive.inside(path))
        for path, error in zip(paths, errors, strict=True)
    ]
    stand_in = next((v for v in stored if v is not None), None)
    if stand_in is None:
        return [{}] * len(stored)
    measured = measure(bench, task, [v or stand_in for v in stored])
    return [m if v is not None else {} for m, v in zip(measured, stored, strict=True)]


def measure(bench: Bench, task: Task, videos: list[Video]) -> list[dict]:
    """Return the shard columns of each video: embeddings, accuracies, and any captioner's caption.

    Without a reference, CLIP to the prompt is the only accuracy. A video or reference that is too
    small to be scored raises ValueError.
    """
    frames = [v.frames for v in videos]
    score = _like_prompt if task.reference is None else _accuracies
    found = [
        {"embedding": embedding.tolist()} | accuracies
        for embedding, accuracies in zip(
            bench.models.embed_videos(frames), score(bench, task, videos), strict=True
        )
    ]
    if bench.models.caption is None:
        return found
    captions = bench.models.caption(frames)
    return [row | {"caption": caption} for row, caption in zip(found, captions, strict=True)]


def _like_prompt(bench: Bench, task: Task, videos: list[Video]) -> list[dict]:
    prompt = bench.models.clip_texts([task.prompt])[0]
    each = (bench.models.clip_images(list(v.frames)) for v in videos)
    return [
        {"clip_prompt": mean_cosine(frames, prompt), "clip_embedding": _mean(frames)}
        for frames in each
    ]


def _accuracies(bench: Bench, task: Task, videos: list[Video]) -> list[dict]:
    models = bench.models
    reference = _reference(bench.archive.inside(reference_path(task.id)))
    pairs = [video.align(v, reference) for v in videos]
    prompt = models.clip_texts([task.prompt])[0]
    frames = _split(models.clip_images([f for v, _ in pairs for f in v]), pairs)
    targets = _reference_frames(bench, pairs)
    lpips = _split(
        models.lpips([f for v, _ in pairs for f in v], [f for _, r in pairs for f in r]), pairs
    )
    return [
        {
            "ssim": ssim(*pair),
            "psnr": psnr(*pair),
            "lpips": float(lpips[i].mean()),
            "clip_reference": mean_cosine(frames[i], targets[i]),
            "clip_prompt": mean_cosine(frames[i], prompt),
            "clip_embedding": _mean(frames[i]),
            "clip_reference_embedding": _mean(targets[i]),
        }
        for i, pair in enumerate(pairs)
    ]


def _reference_frames(bench: Bench, pairs: list[tuple]) -> list[np.ndarray]:
    """Embed the reference's frames, once for all videos to which it aligns in the same way."""
    kept, targets = bench.embedded, []
    for _, reference in pairs:
        if not kept or not np.array_equal(kept["reference"], reference):
            kept |= {"reference": reference}
            kept |= {"frames": bench.models.clip_images(list(reference))}
        targets.append(kept["frames"])
    return targets


def _mean(frames: np.ndarray) -> list[float]:
    """Return the mean of the embeddings of frames (T, d)."""
    return frames.mean(axis=0, dtype=float).tolist()


def _split(stacked: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Split stacked frames into one array for each video."""
    return np.split(stacked, np.cumsum([len(v) for v, _ in pairs])[:-1])


_reference = lru_cache(maxsize=1)(video.scan)
