"""One unit of work: a latent prompt, its videos, and everything measured on them.

A batch is always whole, and each video keeps its place in it, since both change the last bit of
what a model gives. So a batch that lacks one video is generated anew, and where a video failed
another is measured in its place.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from squbed_utils import video
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import FAILED, OK, TEXT, reference_path, video_path
from squbed_utils.files import seed_of
from squbed_utils.models import latent_prompts
from squbed_utils.models.accuracy import mean_cosine, psnr, ssim
from squbed_utils.models.load import Models
from squbed_utils.profiles import Profile
from squbed_utils.tasks.task import Task
from squbed_utils.video import Video
from squbed_utils.video_models import Diffusers, Python


@dataclass
class Bench:
    """A worker's profile, models and archive, and the reference that it read and embedded last."""

    profile: Profile
    models: Models
    archive: Archive
    reference: np.ndarray | None = None
    reference_embedding: np.ndarray | None = None

    def __post_init__(self) -> None:
        # once for the latent prompts of a task in a row; another run may find another file there
        self.scan_reference = lru_cache(maxsize=1)(video.scan)

    def embed_reference(self, frames: np.ndarray) -> np.ndarray:
        """Embed a reference's frames with CLIP, once for all videos that align to them alike."""
        if self.reference is None or not np.array_equal(self.reference, frames):
            self.reference = frames
            self.reference_embedding = self.models.clip_images(list(frames))
        return self.reference_embedding


@dataclass
class Measured:
    """The columns of a shard that are measured on one video; None is not measured."""

    embedding: list[float] | None = None
    ssim: float | None = None
    psnr: float | None = None
    lpips: float | None = None
    clip_reference: float | None = None
    clip_prompt: float | None = None
    clip_embedding: list[float] | None = None
    clip_reference_embedding: list[float] | None = None
    caption: str | None = None


def make(bench: Bench, task: Task, latent: int) -> None:
    """Draw one latent prompt (0 to n - 1), make and measure its videos, and write the shard.

    Each video is stored as soon as it is made; a stored video that is whole is kept. Without a
    compatible latent prompt, or with a video that cannot be measured, this raises ValueError; of a
    video that cannot be generated its row says why.
    """
    profile, models = bench.profile, bench.models
    checked = {"compatible": models.compatible, "listed": models.listed}
    draw = latent_prompts.draw(task, latent, models.refine, seed=profile.seed, **checked)
    texts = embed_texts(models, task.prompt, draw.prompt)
    rows = []
    m = profile.videos(latent)
    if not m:
        rows.append(_unit(task, latent, draw) | texts | {"sample": 0, "status": TEXT})
    for start in range(0, m, profile.batch_size):
        samples = range(start, min(start + profile.batch_size, m))
        paths = [video_path(task.id, latent, sample) for sample in samples]
        seeds = [_seed(profile, task, latent, sample) for sample in samples]
        errors = _store(bench, draw.prompt, paths, seeds)
        measured = _measure_stored(bench, task, paths, errors)
        for i, sample in enumerate(samples):
            row = _unit(task, latent, draw) | texts | vars(measured[i])
            row |= {"sample": sample, "seed": seeds[i], "error": errors[i]}
            made = errors[i] is None
            row |= {"status": OK, "path": paths[i]} if made else {"status": FAILED}
            rows.append(row)
    bench.archive.write_shard(task.id, latent, rows)


def _unit(task: Task, latent: int, draw: latent_prompts.LatentPrompt) -> dict:
    """Return what all rows of a latent prompt share."""
    unit = {"task": task.id, "latent": latent, "prompt": draw.prompt}
    return unit | {"rejected": list(draw.rejected)}


def embed_texts(models: Models, prompt: str, latent_prompt: str | None) -> dict:
    """Return shard columns: the embedding of the latent prompt, if known, and both token counts."""
    columns = {f"prompt_{name}": count for name, count in models.clip_texts.read(prompt).items()}
    if latent_prompt is not None:
        read = models.embed_text.read(latent_prompt)
        columns |= {f"text_{name}": count for name, count in read.items()}
        columns["text_embedding"] = models.embed_text([latent_prompt])[0].tolist()
    return columns


def fail(profile: Profile, archive: Archive, task: Task, latent: int, reason: str) -> None:
    """Write the shard of a unit that cannot be made: failed rows with the reason."""
    unit = {"task": task.id, "latent": latent, "rejected": [], "status": FAILED, "error": reason}
    samples = range(profile.videos(latent) or 1)
    rows = [unit | {"sample": i, "seed": _seed(profile, task, latent, i)} for i in samples]
    archive.write_shard(task.id, latent, rows)


def _seed(profile: Profile, task: Task, latent: int, sample: int) -> int:
    return seed_of(profile.seed, task.id, latent, sample)


def _store(bench: Bench, prompt: str, paths: list[str], seeds: list[int]) -> list[str | None]:
    """Generate and store the missing videos of a batch; return for each an error, or None."""
    files = [bench.archive.inside(path) for path in paths]
    missing = [i for i, file in enumerate(files) if not video.is_whole(file)]
    in_batches = isinstance(bench.profile.video_model, Diffusers | Python)
    batches = [range(len(files))] if in_batches and missing else [[i] for i in missing]
    errors: list[str | None] = [None] * len(files)
    for batch in batches:
        videos = bench.models.generate([prompt] * len(batch), [seeds[i] for i in batch])
        for i, made in zip(batch, videos, strict=True):
            if i in missing and isinstance(made, Exception):
                errors[i] = f"{type(made).__name__}: {made}"
            elif i in missing:
                video.write(files[i], made.frames, made.fps)
    return errors


def _measure_stored(
    bench: Bench, task: Task, paths: list[str], errors: list[str | None]
) -> list[Measured]:
    """Measure the stored videos of a batch; of those that failed nothing is known."""
    batch = zip(paths, errors, strict=True)
    stored = [None if error else video.scan(bench.archive.inside(path)) for path, error in batch]
    stand_in = next((clip for clip in stored if clip is not None), None)
    if stand_in is None:
        return [Measured()] * len(stored)
    measured = measure(bench, task, [clip or stand_in for clip in stored])
    return [one if clip else Measured() for one, clip in zip(measured, stored, strict=True)]


def measure(bench: Bench, task: Task, videos: list[Video]) -> list[Measured]:
    """Embed each video, score it against the task's reference and prompt, and caption it."""
    frames = [clip.frames for clip in videos]
    embeddings = bench.models.embed_videos(frames)
    measured = (_like_prompt if task.reference is None else _accuracies)(bench, task, videos)
    captions = bench.models.caption(frames) if bench.models.caption else [None] * len(videos)
    for one, embedding, caption in zip(measured, embeddings, captions, strict=True):
        one.embedding, one.caption = embedding.tolist(), caption
    return measured


def _like_prompt(bench: Bench, task: Task, videos: list[Video]) -> list[Measured]:
    prompt = bench.models.clip_texts([task.prompt])[0]
    each = (bench.models.clip_images(list(clip.frames)) for clip in videos)
    return [
        Measured(clip_prompt=mean_cosine(frames, prompt), clip_embedding=_mean(frames))
        for frames in each
    ]


def _accuracies(bench: Bench, task: Task, videos: list[Video]) -> list[Measured]:
    models = bench.models
    reference = bench.scan_reference(bench.archive.inside(reference_path(task.id)))
    pairs = [video.align(clip, reference) for clip in videos]
    # the frames of all videos go through a model together, and are parted again
    frames = [frame for aligned, _ in pairs for frame in aligned]
    targets = [frame for _, aligned in pairs for frame in aligned]
    ends = np.cumsum([len(aligned) for aligned, _ in pairs])[:-1]
    prompt = models.clip_texts([task.prompt])[0]
    clips = np.split(models.clip_images(frames), ends)
    goals = [bench.embed_reference(aligned) for _, aligned in pairs]
    distances = np.split(models.lpips(frames, targets), ends)
    return [
        Measured(
            ssim=ssim(*pair),
            psnr=psnr(*pair),
            lpips=float(distance.mean()),
            clip_reference=mean_cosine(clip, goal),
            clip_prompt=mean_cosine(clip, prompt),
            clip_embedding=_mean(clip),
            clip_reference_embedding=_mean(goal),
        )
        for pair, clip, goal, distance in zip(pairs, clips, goals, distances, strict=True)
    ]


def _mean(frames: np.ndarray) -> list[float]:
    """Return the mean of the embeddings of frames (T, d)."""
    return frames.mean(axis=0, dtype=float).tolist()
