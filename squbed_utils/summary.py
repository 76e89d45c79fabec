"""From an archive to one row a task: uncertainty, accuracy, counts."""

import warnings

import numpy as np
import pandas as pd

from squbed_utils.accuracy import LABELS
from squbed_utils.estimators import Uncertainty, check_comparable, estimate, pooled_pca
from squbed_utils.samples import FAILED, OK, Archive

TERMS = ("aleatoric", "epistemic", "total")
LEAST_LATENTS, LEAST_VIDEOS = 3, 2
"""What an estimator needs: latent prompts a task, videos a latent prompt."""

Embeddings = tuple[np.ndarray, list[np.ndarray]]


def summarize(
    archive: Archive,
    *,
    estimator: str = "squbed",
    confidence: float = 0.95,
    truth: bool = False,
) -> pd.DataFrame:
    """Estimate every task's uncertainty and average its accuracy.

    Missing data: failed videos are left out; a latent prompt with fewer than two videos is left
    out with them; a task with fewer than three latent prompts is left out and warned of.

    Parameters
    ----------
    archive : Archive
        A finished one; a `pca` in its profile is applied to the embeddings of all tasks together.
    estimator : str
        A name in ``estimators.ESTIMATORS``.
    confidence : float
        Of the intervals, between 0 and 1.
    truth : bool
        Whether to add the columns of the archive's truth.

    Returns
    -------
    pandas.DataFrame
        A row a task: task, dataset, category, prompt; aleatoric, epistemic, total (higher = less
        certain), each with _low, _high and _per_dof; degenerate; n, m (the fewest videos of a
        latent prompt); ssim, psnr, lpips, clip_reference, clip_prompt (means over videos); failed
        (videos).

    Raises
    ------
    ValueError
        If the estimator is unknown, no task is left, the counts make the estimates incomparable,
        or `truth` is asked for and the archive has none.

    Warns
    -----
    UserWarning
        If tasks are left out; they are named.
    """
    tasks = archive.tasks()
    usable = {task: _usable(*archive.embeddings(task)) for task in tasks.task}
    kept = _without_thin_tasks(usable)
    if archive.profile.get("pca"):
        kept = _projected(kept, archive.profile["pca"])
    estimates = {
        task: estimate(*embeddings, estimator=estimator, confidence=confidence)
        for task, embeddings in kept.items()
    }
    check_comparable(estimates.values())
    table = pd.DataFrame({task: _row(u) for task, u in estimates.items()}).T
    table = table.infer_objects().rename_axis("task").reset_index()
    labels = tasks[["task", "dataset", "category", "prompt"]]
    table = labels.merge(table, on="task").merge(_accuracy(archive), on="task")
    return table.merge(_truth(archive), on="task") if truth else table


def _usable(text: np.ndarray, videos: list[np.ndarray]) -> Embeddings:
    good = [i for i, v in enumerate(videos) if len(v) >= LEAST_VIDEOS]
    return text[good], [videos[i] for i in good]


def _without_thin_tasks(usable: dict[str, Embeddings]) -> dict[str, Embeddings]:
    kept = {task: e for task, e in usable.items() if len(e[0]) >= LEAST_LATENTS}
    thin = [task for task in usable if task not in kept]
    if not kept:
        raise ValueError(
            f"no task has {LEAST_LATENTS} latent prompts with {LEAST_VIDEOS} videos each; see the "
            "errors in videos(), then `squbed collect --retry-failed`"
        )
    if thin:
        warnings.warn(
            f"{len(thin)} of {len(usable)} tasks left out for want of videos: {', '.join(thin)}",
            UserWarning,
            stacklevel=3,
        )
    return kept


def _projected(kept: dict[str, Embeddings], dimensions: int) -> dict[str, Embeddings]:
    """Apply pooled PCA to the texts of all tasks, and to their videos."""
    texts = pooled_pca([text for text, _ in kept.values()], dimensions)
    stacked = pooled_pca([np.concatenate(videos) for _, videos in kept.values()], dimensions)
    counts = [[len(v) for v in videos] for _, videos in kept.values()]
    videos = [np.split(x, np.cumsum(c)[:-1]) for x, c in zip(stacked, counts, strict=True)]
    return dict(zip(kept, zip(texts, videos, strict=True), strict=True))


def _row(u: Uncertainty) -> dict[str, object]:
    row: dict[str, object] = {}
    for term in TERMS:
        low, high = getattr(u, f"{term}_interval")
        row |= {term: getattr(u, term), f"{term}_low": low, f"{term}_high": high}
        row[f"{term}_per_dof"] = getattr(u, f"{term}_per_dof")
    return row | {"degenerate": u.degenerate, "n": u.n, "m": u.m}


def _accuracy(archive: Archive) -> pd.DataFrame:
    """Mean accuracies of the videos there are, and the number of those that failed."""
    videos = archive.videos()
    means = videos[videos.status == OK].groupby("task")[list(LABELS)].mean()
    failed = (videos.status == FAILED).groupby(videos.task).sum().rename("failed")
    return means.join(failed).reset_index()


def _truth(archive: Archive) -> pd.DataFrame:
    truth = archive.truth()
    if truth is None:
        raise ValueError(f"archive {archive.folder} has no truth.parquet; leave truth=False")
    return truth
