"""What each video buys: designs of fewer videos, drawn from an archive, beside the whole of it.

A design (k, v) has v videos of each of k latent prompts of a task. Latent prompts cost no video, so
the aleatoric part always comes from all n of them. Designs are drawn several times, nested: the
same order of latent prompts and videos serves them all.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.estimators import vmf
from squbed_utils.estimators.checks import check_task
from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.files import seed_of
from squbed_utils.statistics import pooled
from squbed_utils.statistics.audit_samples import fresh_and_ceiling
from squbed_utils.statistics.calibration import SHOWN, bootstrap_interval, equivalence
from squbed_utils.statistics.resampling import (
    FEWEST_TASKS,
    resampled_areas,
    task_counts,
    weighted_taus,
    widening,
)
from squbed_utils.statistics.summary import TERMS, at_equal_counts, measured_embeddings
from squbed_utils.statistics.tables import NotShown
from squbed_utils.statistics.truth import clusters_of

SIZES = (2, 3, 4, 6, 10, 20)
"""Latent prompts of a design, besides all; videos of each are one of these, 1, half or all."""

MARGIN, ALPHA = 0.03, 0.05
"""Tau, or area, that an equivalent design may lose or gain, and the level of the test."""

DRAWS, N_RESAMPLES = 10, 1000

POOLED = "squbed_pooled"
"""S-QUBED's epistemic part as `pooled.pool` gives it; compared with S-QUBED's own."""

BASES = {POOLED: "squbed"}

TAU, AUROC = "tau with accuracy", "AUROC for coverage"
AGREEMENT = "tau with a fresh archive"
"""What is measured: calibration, never-seen against common subjects, and the order of tasks."""


@dataclass(frozen=True)
class Samples:
    """All that an archive holds of tasks with as many latent prompts and videos: unit embeddings.

    `text` is float (T, n, d_t), `videos` float (T, n, m, d_v).
    """

    tasks: list[str]
    text: np.ndarray
    videos: np.ndarray

    def drawn(self, rng: np.random.Generator) -> "Samples":
        """Return the same samples, with each task's latent prompts and their videos shuffled."""
        z = rng.permuted(
            np.broadcast_to(np.arange(self.text.shape[1]), self.text.shape[:2]), axis=1
        )
        shape = self.videos.shape[:3]
        v = rng.permuted(np.broadcast_to(np.arange(shape[2]), shape), axis=2)[..., None]
        videos = np.take_along_axis(self.videos, z[..., None, None], 1)
        text = np.take_along_axis(self.text, z[..., None], 1)
        return Samples(self.tasks, text, np.take_along_axis(videos, v, 2))


def samples_of(archive: Archive) -> Samples:
    """Return the samples of the tasks that can be ranked, at the counts of the poorest.

    NotShown where latent prompts are not known, or there is nothing to leave out.
    """
    pairs = {task: check_task(*pair)[:2] for task, pair in measured_embeddings(archive).items()}
    pairs = {task: pair for task, pair in pairs.items() if pair[0] is not None}
    if len(pairs) < FEWEST_TASKS:
        raise NotShown(
            f"{len(pairs)} tasks have known latent prompts and can be ranked; the cost of a design "
            f"is measured over {FEWEST_TASKS} or more"
        )
    if any(len(x) < 2 for _, videos in pairs.values() for x in videos):
        raise NotShown("some latent prompts have no two videos; designs are drawn from all of them")
    pairs = at_equal_counts(pairs)
    videos = np.stack([np.stack(list(of)) for _, of in pairs.values()])
    return Samples(list(pairs), np.stack([text for text, _ in pairs.values()]), videos)


def designs(n: int, m: int) -> list[tuple[int, int]]:
    """Return the designs (k, v) drawn from n latent prompts with m videos each; the last is whole.

    Halves of the videos are among them, which `curve` holds against each other.

    >>> designs(3, 2)
    [(2, 1), (2, 2), (3, 1), (3, 2)]
    """
    latents = sorted({k for k in (*SIZES, n) if 2 <= k <= n})
    each = sorted({v for v in (1, *SIZES, m // 2, m) if 1 <= v <= m})
    return [(k, v) for k in latents for v in each]


def scores(
    samples: Samples, k: int, v: int, prior: pooled.Prior | None = None
) -> dict[tuple[str, str], np.ndarray]:
    """Return each task's uncertainty (T,) from its first k latent prompts' first v videos.

    By component and estimator: as `energy_split`, `squbed` and `entropy_power` of `estimators`, and
    with a `prior` pooled; one video of a latent prompt gives the energy split's total alone.
    """
    means = samples.videos[:, :k, :v].mean(axis=2)
    between = np.square(means.sum(axis=1)).sum(axis=1) - np.square(means).sum(axis=(1, 2))
    found = {("total", "energy_split"): 1 - between / (k * (k - 1))}
    if v < 2:
        return found
    d_text, d_video = samples.text.shape[-1], samples.videos.shape[-1]
    aleatoric = vmf.entropy(d_text, vmf.fit(samples.text).kappa)
    h = entropies(samples, k, v)
    epistemic = h[:, :k].mean(axis=1)
    powers = 2 * aleatoric / (d_text - 1), 2 * epistemic / (d_video - 1)
    found["total", "squbed"] = aleatoric + epistemic
    found["total", "entropy_power"] = np.logaddexp(*powers)
    found["epistemic", "squbed"] = epistemic
    if prior is not None:
        found["epistemic", POOLED] = pooled.pool(*_flat(samples, h, k, v), prior=prior).value
    return found


def entropies(samples: Samples, k: int, v: int) -> np.ndarray:
    """Return h(V given z) of the first k latent prompts, from v videos, and 0 of others (T, n)."""
    h = np.zeros(samples.text.shape[:2])
    h[:, :k] = vmf.entropy(samples.videos.shape[-1], vmf.fit(samples.videos[:, :k, :v]).kappa)
    return h


def _flat(samples: Samples, h: np.ndarray, k: int, v: int) -> tuple[np.ndarray, ...]:
    """Return the arguments of `pooled.pool`, a row a latent prompt."""
    tasks, n, d = samples.text.shape
    m = np.where(np.arange(tasks * n) % n < k, v, 0)
    return samples.text.reshape(-1, d), h.ravel(), m, np.repeat(np.arange(tasks), n)


def curve(
    samples: Samples,
    accuracy: pd.Series,
    truth: pd.DataFrame | None = None,
    *,
    cluster: str = "subject",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return what designs of fewer videos are worth, beside all videos.

    Parameters
    ----------
    samples : Samples
    accuracy : Series
        By task, of all its videos, higher = better, as `leaderboard.mean_accuracy`.
    truth : DataFrame, optional
        As `Archive.truth`; without it there is no AUROC, and tasks are their own clusters.
    cluster : str
        The truth's column of what is resampled as a whole.
    confidence : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        A row a measure, component, estimator and design: measure ("tau with accuracy", negative =
        calibrated; "AUROC for coverage", of never-seen against common subjects; "tau with a fresh
        archive", of all videos and the same latent prompts), component, estimator, label, latents,
        each (videos of a latent prompt), videos (of a task), value (mean over draws of the design),
        low, high (resampled by cluster), draws (standard deviation between them). Of the first two
        measures: difference (to all videos; a pooled estimate's to the plain one's), its _low and
        _high (the interval of the test), pvalue and verdict (of equivalence within `MARGIN`, as
        `calibration.equivalence`; no p-value of all videos themselves). Of the last: half (tau with
        a disjoint half of the videos, from which it follows by Spearman-Brown) and ceiling (tau of
        two fresh archives). n (tasks), k (clusters), confidence.

    Raises
    ------
    NotShown
        If too few tasks have the accuracy, or all have the same.
    """
    tasks = [task for task in samples.tasks if task in accuracy.index]
    kept = np.isin(samples.tasks, tasks)
    samples = Samples(tasks, samples.text[kept], samples.videos[kept])
    y = accuracy[tasks].to_numpy()
    if len(tasks) < FEWEST_TASKS or y.min() == y.max():
        raise NotShown(f"{len(tasks)} tasks with {accuracy.name} are too few or all alike")
    known = None if truth is None else truth.set_index("task").loc[tasks]
    clusters = None if known is None else clusters_of(known, cluster)
    counts = task_counts(len(tasks), N_RESAMPLES, np.random.default_rng(seed_of("cost")), clusters)
    # The estimate stands before its resamples, so that one line scores them all.
    counts = np.vstack([np.ones((1, len(tasks)), counts.dtype), counts])
    coverage, ends = () if known is None else known.coverage, {"never", "common"}
    values: dict[tuple, list[np.ndarray]] = defaultdict(list)
    for k, v, half, found in _drawn(samples):
        for (component, estimator), x in found.items():
            key = (component, estimator, k, v)
            values[TAU, *key].append(weighted_taus(x[None], y, counts)[0])
            if component == "epistemic" and ends <= set(coverage):
                values[AUROC, *key].append(resampled_areas(x, coverage, counts))
            base = half.get((component, BASES.get(estimator, estimator)))
            if base is not None:
                values[AGREEMENT, *key].append(weighted_taus(x[None], base, counts)[0])
    sizes = samples.videos.shape[1:3]
    rows = [_row(key, values, sizes, widening(clusters), confidence) for key in values]
    k = len(tasks) if clusters is None else np.unique(clusters).size
    table = pd.DataFrame(rows).assign(n=len(tasks), k=k, confidence=confidence)
    ranks = {name: rank for rank, name in enumerate((TAU, AUROC, AGREEMENT, *TERMS[::-1]))}
    columns = ["measure", "component", "estimator", "videos"]
    return table.sort_values(
        columns, key=lambda c: c.map(lambda x: ranks.get(x, x)), ignore_index=True
    )


def _drawn(samples: Samples) -> Iterator[tuple[int, int, dict, dict]]:
    """Yield k, v, the scores of a disjoint half and those of the design, for designs and draws.

    The half is empty where the design has a part in it. The pooled estimate's prior is that of a
    design's first draw.
    """
    n, m = samples.videos.shape[1:3]
    priors: dict[tuple[int, int], pooled.Prior] = {}
    for draw in range(DRAWS):
        drawn = samples.drawn(np.random.default_rng(seed_of("design", draw)))
        others = replace(drawn, videos=drawn.videos[:, :, m - m // 2 :])
        half = scores(others, n, m // 2) if m > 1 else {}
        for k, v in designs(n, m):
            if v > 1 and (k, v) not in priors and len(samples.tasks) * k <= pooled.MOST:
                priors[k, v] = pooled.fit(*_flat(drawn, entropies(drawn, k, v), k, v))
            disjoint = half if v <= m - m // 2 else {}
            yield k, v, disjoint, scores(drawn, k, v, priors.get((k, v)))


def _row(
    key: tuple, values: dict[tuple, list[np.ndarray]], sizes: tuple, wider: float, confidence: float
) -> dict[str, object]:
    """Return a design's row of `curve`, from its replicates and those of all videos."""
    measure, component, estimator, k, v = key
    base = BASES.get(estimator, estimator)
    label = ESTIMATORS[base].label + ", pooled" * (estimator == POOLED)
    row = {"measure": measure, "component": component, "estimator": estimator, "label": label}
    row |= {"latents": k, "each": v, "videos": k * v}
    mean = np.mean(values[key], axis=0)
    if measure == AGREEMENT:
        n, m = sizes
        row["half"] = mean[0]
        halves = np.mean(values[measure, component, base, n, m // 2], axis=0)[0]
        mean, row["ceiling"] = fresh_and_ceiling(mean, halves, m / (m // 2))
    spread = mean[0] + wider * (mean[1:] - mean[0])
    row["value"], (row["low"], row["high"]) = mean[0], bootstrap_interval(spread, confidence)
    row["draws"], row["verdict"] = np.std([draw[0] for draw in values[key]]), ""
    if measure != AGREEMENT:
        gap = mean - np.mean(values[measure, component, base, *sizes], axis=0)
        gaps = gap[0] + wider * (gap[1:] - gap[0])
        row["difference"] = gap[0]
        row["difference_low"], row["difference_high"] = bootstrap_interval(gaps, 1 - 2 * ALPHA)
        row["pvalue"], row["verdict"] = equivalence(gaps, MARGIN, alpha=ALPHA)
        if not gaps.any():  # it is what it is compared with
            row["pvalue"] = np.nan
    return row


def saved(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the design of fewest videos that is equivalent to all videos, of each measure.

    Returns
    -------
    DataFrame
        measure, component, estimator, label, latents, each, videos, of (all videos of a task),
        share (videos over `of`), difference, difference_low, difference_high, pvalue.
    """
    columns = ["measure", "component", "estimator", "label"]
    shown = curve[curve.verdict == SHOWN].sort_values(["videos", "pvalue"])
    first = shown.drop_duplicates(columns).sort_values(columns)
    most = curve.videos.max()
    first = first.assign(of=most, share=first.videos / most)
    columns += ["latents", "each", "videos", "of", "share", "difference"]
    columns += ["difference_low", "difference_high", "pvalue"]
    return first[columns].reset_index(drop=True)
