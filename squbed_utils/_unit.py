"""One unit of work: a latent prompt, its videos, and everything measured on them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from squbed_utils import prompts, video
from squbed_utils.accuracy import mean_cosine, psnr, ssim
from squbed_utils.models import Models
from squbed_utils.profiles import Profile
from squbed_utils.samples import FAILED, LONGEST_ERROR, OK, Archive, reference_path, video_path
from squbed_utils.seeds import seed_of
from squbed_utils.tasks import Task
from squbed_utils.video import Video


@dataclass(frozen=True)
class Bench:
    """What a worker needs at hand."""

    profile: Profile
    models: Models
    archive: Archive


def make(bench: Bench, task: Task, latent: int) -> None:
    """Draw one latent prompt, generate and store its videos, measure them, write the shard.

    Parameters
    ----------
    bench : Bench
    task : Task
    latent : int
        From 0 to n - 1.

    Raises
    ------
    ValueError
        If no compatible latent prompt is found, or a stored video cannot be measured. A video
        that cannot be generated raises nothing: its row says so.
    RuntimeError
        If a paid video model's budget is used up.
    """
    profile, models = bench.profile, bench.models
    checked = {"compatible": models.compatible, "listed": models.listed}
    drawn = prompts.draw(task, latent, models.refine, seed=profile.seed, **checked)
    seeds = [seed_of(profile.seed, task.id, latent, sample) for sample in range(profile.m)]
    shared = {"task": task.id, "latent": latent, "prompt": drawn.prompt}
    shared |= {"rejected": list(drawn.rejected)}
    shared |= {"text_embedding": models.embed_text([drawn.prompt])[0].tolist()}
    rows, stored = [], []
    for sample, made in enumerate(models.generate([drawn.prompt] * len(seeds), seeds)):
        row = shared | {"sample": sample, "seed": seeds[sample]}
        if isinstance(made, Exception):
            row |= {"status": FAILED, "error": f"{type(made).__name__}: {made}"[:LONGEST_ERROR]}
            stored.append(None)
        else:
            path = video_path(task.id, latent, sample)
            bench.archive.write_video(path, made)
            row |= {"path": path, "status": OK, "error": None}
            stored.append(video.read(bench.archive.inside(path)))
        rows.append(row)
    for row, measured in zip(rows, _measure(bench, task, stored), strict=True):
        row |= measured
    bench.archive.write_shard(task.id, latent, rows)


def _measure(bench: Bench, task: Task, stored: list[Video | None]) -> list[dict]:
    """Return the embedding and the accuracies of each stored video, nothing for those that failed.

    In a batch another video stands in for a failed one, so that the rest keep their places.
    """
    stand_in = next((v for v in stored if v is not None), None)
    if stand_in is None:
        return [{}] * len(stored)
    measured = measure(bench, task, [v or stand_in for v in stored])
    return [m if v is not None else {} for m, v in zip(measured, stored, strict=True)]


def measure(bench: Bench, task: Task, videos: list[Video]) -> list[dict]:
    """Return the embedding of each video and its accuracies.

    Parameters
    ----------
    bench : Bench
        Its archive holds the task's reference.
    task : Task
        Without a reference, CLIP to the prompt is the only accuracy.
    videos : list of Video

    Returns
    -------
    list of dict
        Columns of a shard.

    Raises
    ------
    ValueError
        If a video or its reference is too small to be scored.
    """
    embeddings = bench.models.embed_videos([v.frames for v in videos])
    score = _like_prompt if task.reference is None else _accuracies
    found = score(bench, task, videos)
    return [{"embedding": e.tolist()} | f for e, f in zip(embeddings, found, strict=True)]


def _like_prompt(bench: Bench, task: Task, videos: list[Video]) -> list[dict]:
    prompt = bench.models.clip_texts([task.prompt])[0]
    each = (bench.models.clip_images(list(v.frames)) for v in videos)
    return [{"clip_prompt": mean_cosine(frames, prompt)} for frames in each]


def _accuracies(bench: Bench, task: Task, videos: list[Video]) -> list[dict]:
    models = bench.models
    reference = _reference(bench.archive.inside(reference_path(task.id)))
    pairs = [video.align(v, reference) for v in videos]
    prompt = models.clip_texts([task.prompt])[0]
    frames = _split(models.clip_images([f for v, _ in pairs for f in v]), pairs)
    targets = _reference_frames(models, pairs)
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
        }
        for i, pair in enumerate(pairs)
    ]


def _reference_frames(models: Models, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list:
    """Embed the reference's frames once, as long as every video is aligned to it alike."""
    targets = []
    for i, (_, reference) in enumerate(pairs):
        alike = i > 0 and np.array_equal(reference, pairs[i - 1][1])
        targets.append(targets[-1] if alike else models.clip_images(list(reference)))
    return targets


def _split(stacked: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Undo the stacking of all videos' frames."""
    return np.split(stacked, np.cumsum([len(v) for v, _ in pairs])[:-1])


_reference = lru_cache(maxsize=4)(video.read)
