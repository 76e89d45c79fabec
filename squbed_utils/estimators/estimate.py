"""Uncertainty of a video model on one task, from the task's embeddings.

A task has n latent prompts with text embeddings (n, d_t), and m videos of each, or of some of them,
with video embeddings (n, m, d_v). Estimators turn these into `Terms`; `ESTIMATORS` holds them by
name. Higher always means less certain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from squbed_utils.estimators import baselines, kernels, squbed, vmf  # noqa: F401 - they register
from squbed_utils.estimators.checks import (
    LATENT_PROMPTS,
    VIDEOS,
    check_task,
    first_twins,
    identical_parts,
    real_array,
    unit_rows,
)
from squbed_utils.estimators.registry import ESTIMATORS, Estimator, Terms, Videos, evaluate, lookup

__all__ = ["ESTIMATORS", "Uncertainty", "check_comparable", "estimate", "pooled_pca"]

LEAST_LATENTS = 3
"""Latent prompts that a jackknife over them needs, and a fit of the text."""

LEAST_DISTINCT = 4
"""Distinct latent prompts that an interval needs: fewer give equal replicates, down to no width."""

SECOND_ORDER, LEAST_OF_IT = 0.75, 0.4
"""Shares of the second-order variance that the jackknife counts too often, and that stay at least.

The jackknife counts it twice on average, and not at all where all leave-outs are equal, as for
three latent prompts of either of two kinds. Chosen so that intervals cover 93 to 97 % on the few
distinct latent prompts of a small grammar and on continuous text alike: docs/validation.md."""

ROUNDING = 1e-9
"""An interval of at most this half width, in any unit, counts as none."""

CAPPED = "set by the cap, not measured"

Interval = tuple[float, float]


@dataclass(frozen=True)
class Uncertainty:
    """The uncertainty of one task; higher = less certain.

    A value that does not exist is None: aleatoric and total where the latent prompts are not known,
    a component that the estimator lacks or that needs more videos than there are, and the fields
    that belong to these.

    Attributes
    ----------
    aleatoric, epistemic, total : float or None
        In `unit`.
    aleatoric_interval, epistemic_interval, total_interval : tuple of float, or None
        Jackknife intervals at `confidence`, in `unit`. None for identical samples, for fewer than
        three latent prompts, and where the width is 0; for aleatoric and total also for fewer than
        four distinct latent prompts.
    aleatoric_remark, epistemic_remark, total_remark : str
        Why there is no interval, or the value was not measured; empty where nothing is to be said.
    aleatoric_per_dof, epistemic_per_dof, total_per_dof : float or None
        The entropies as (h - log area) / (d - 1), and their sum; None too where the estimator's
        terms are not entropies on the sphere.
    n : int
        Latent prompts.
    counts : tuple of int, length n
        Videos of each latent prompt.
    d_text, d_video : int
        Widths of the embeddings; `d_text` None without text.
    degenerate : bool
        A value is finite but set by the estimator's cap, as that on kappa of identical samples.
    identical : tuple of str
        "latent prompts" where all their embeddings are identical, "videos" where all videos of a
        latent prompt are, for any estimator: their spread was not measured.
    """

    aleatoric: float | None
    epistemic: float | None
    total: float | None
    aleatoric_interval: Interval | None
    epistemic_interval: Interval | None
    total_interval: Interval | None
    aleatoric_remark: str
    epistemic_remark: str
    total_remark: str
    aleatoric_per_dof: float | None
    epistemic_per_dof: float | None
    total_per_dof: float | None
    n: int
    counts: tuple[int, ...]
    d_text: int | None
    d_video: int
    estimator: str
    confidence: float
    degenerate: bool
    identical: tuple[str, ...]
    unit: str = "nats"

    @property
    def m(self) -> int:
        """The fewest videos of any latent prompt that has some."""
        return min(count for count in self.counts if count)


def estimate(
    text: np.ndarray | None, videos: Videos, *, estimator: str = "squbed", confidence: float = 0.95
) -> Uncertainty:
    """Estimate the uncertainty of one task, with delete-one-latent jackknife intervals.

    Interval: value +- t_(n-1) se, se^2 = (n-1)/n sum_i (theta_(-i) - mean theta_(-i))^2 (Efron
    and Tibshirani 1993, eq. 11.5), where theta_(-i) leaves out latent prompt i with its videos. A
    term that depends on the text is corrected by the second-order variance of the mean pairwise
    cosine, which the jackknife misjudges for few distinct latent prompts (docs/method.md, A8b).
    Latent prompts are the independent units of a task; videos are clustered within them. For the
    epistemic term the jackknife is therefore the standard error of the cluster means h_i: their
    spread holds both the variation between latent prompts and the noise of m videos each. A
    jackknife over videos is conditional on the latent prompts drawn: where these differ in kappa
    its 95 % intervals hold the mean over latent prompts 15-22 % of the time, these 92-97 %. One
    set of replicates serves all three terms, so the total's interval holds their covariance. Where
    only k of the n latent prompts have videos, the other replicates do not move a term that reads
    videos alone, as the epistemic one: its variance is that over k, and its degrees of freedom, as
    the total's, are k - 1.
    Intervals based on the vMF model are not offered: real text is not vMF and they cover 52-61 %.

    Parameters
    ----------
    text : ndarray of float, shape (n, d_t), or None
        Embeddings of the latent prompts, n >= 3. None where these are not known: then n may be 1,
        and only the epistemic term is estimated (with an interval if n >= 3).
    videos : ndarray of float, shape (n, m, d_v), or list of n ndarrays (m_i, d_v)
        Embeddings of the videos of each latent prompt, m_i >= 2. Where the text is known, some may
        have one video, which only the energy split's total reads, or none, (0, d_v).
    estimator : str
        A name in `ESTIMATORS`.
    confidence : float
        Between 0 and 1, both excluded.

    Raises
    ------
    ValueError
        If the estimator is unknown or cannot do without text, the confidence is outside (0, 1), a
        shape is wrong, counts are too small, or an embedding is zero, NaN or infinite.

    Examples
    --------
    >>> videos = np.random.default_rng(0).normal(size=(4, 5, 8))
    >>> round(estimate(np.eye(4), videos).aleatoric, 3)  # uniform: log(2 pi^2)
    2.983
    """
    chosen = lookup(estimator)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected between 0 and 1, such as 0.95")
    if text is None and chosen.needs_text:
        raise ValueError(f"estimator {estimator!r} needs text; give it, or use 'squbed'")
    text, videos, counts = check_task(text, videos)
    terms = evaluate(chosen, text, videos)
    values = _as_row(terms)
    identical = identical_parts(text, videos)
    reasons = _reasons_against(text, *_with_videos(chosen, videos), identical)
    intervals = _jackknife_intervals(chosen, text, videos, confidence, values)
    intervals = [None if why else i for i, why in zip(intervals, reasons, strict=True)]
    remarks = _remarks(values, intervals, reasons, identical, capped=terms.degenerate)
    d_text, d_video = None if text is None else text.shape[1], videos[0].shape[1]
    per_dof = _per_dof(values, d_text, d_video) if chosen.sphere_entropy else (None, None, None)
    return Uncertainty(
        *(None if np.isnan(v) else float(v) for v in values),
        *intervals,
        *remarks,
        *per_dof,
        n=len(counts),
        counts=counts,
        d_text=d_text,
        d_video=d_video,
        estimator=estimator,
        confidence=confidence,
        degenerate=bool(terms.degenerate),
        identical=identical,
        unit=chosen.unit,
    )


def check_comparable(uncertainties: Iterable[Uncertainty]) -> None:
    """Refuse to compare uncertainties whose differences are artefacts of how they were made.

    All must come from one estimator and from embeddings of equal widths. An estimator whose bias
    changes with the counts, as that of the plug-in, -(d-1)/2 log(m/(m-1)), also needs equal n
    and m; the corrected one and the energy split do not.

    ValueError names what differs, the two values, the first that differs, and the remedy.

    >>> videos = np.random.default_rng(0).normal(size=(4, 5, 8))
    >>> check_comparable([estimate(np.eye(4), videos), estimate(np.eye(4), videos[:, :3])])
    """
    items = list(uncertainties)
    _refuse_different(items, "estimator", "compare values of one estimator")
    for name in ("d_text", "d_video"):
        _refuse_different(items, name, "use one encoder; nats depend on the embedding width")
    if items and lookup(items[0].estimator).equal_counts:
        remedy = "its bias depends on the counts: use estimator 'squbed' or equal counts"
        for name in ("n", "counts"):
            _refuse_different(items, name, remedy)


def _jackknife_intervals(
    chosen: Estimator,
    text: np.ndarray | None,
    videos: Videos,
    confidence: float,
    values: np.ndarray,
) -> list[Interval | None]:
    n, (k, pairs) = len(videos), _with_videos(chosen, videos)
    if k < LEAST_LATENTS:
        return [None, None, None]
    left_out = ((_without(text, i), _without(videos, i)) for i in range(n))
    replicates = np.array([_as_row(evaluate(chosen, *kept)) for kept in left_out])
    variance = (n - 1) * replicates.var(axis=0)
    if text is not None:
        variance += _correction(chosen, text, videos, values, variance)
    # A latent prompt without videos tells nothing of a term that its absence leaves as it is.
    bare = [len(x) < chosen.least_videos for x in videos]
    sizes = np.where((replicates[bare] == values).all(axis=0), k, float(n))
    sizes[1] = pairs if pairs >= LEAST_LATENTS else np.nan
    variance *= (sizes - 1) / sizes * n / (n - 1)
    freedom = np.minimum(sizes, [n, n, k]) - 1
    half = student_t.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance)
    return [
        (float(v - w), float(v + w)) if w > ROUNDING else None  # of an absent value w is NaN
        for v, w in zip(values, half, strict=True)
    ]


def _correction(
    chosen: Estimator, text: np.ndarray, videos: Videos, values: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Return what is to be added to the jackknife variances (3,) of terms that depend on the text.

    The mean pairwise distance v = 1 - cosine is a U-statistic; by pairs alone its logarithm has the
    variance 2 / (n (n - 1)) var(distances) / v^2. A term changes with log v by its slope, found by
    spreading the text a little.
    """
    n, mean = len(text), text.mean(axis=0)
    wider = unit_rows(mean + 1.01 * (text - mean), "text embedding")
    distances, spread = (1 - (x @ x.T)[np.triu_indices(n, 1)] for x in (text, wider))
    if distances.mean() <= ROUNDING:
        return np.zeros(3)
    slopes = _as_row(evaluate(chosen, wider, videos)) - values
    slopes = np.nan_to_num(slopes / np.log(spread.mean() / distances.mean()))
    if slopes[0] == 0:
        return np.zeros(3)
    pairs = slopes[0] ** 2 * 2 / (n * (n - 1)) * distances.var() / distances.mean() ** 2
    aleatoric = max(variance[0] - SECOND_ORDER * pairs, LEAST_OF_IT * pairs)
    change = aleatoric - variance[0]
    # The other terms hold as much of the aleatoric one's variance as their slopes say. They lose no
    # greater share than it does: parts that vary against each other leave a total little to lose.
    lost = variance * change / variance[0] if change < 0 else 0.0
    return np.maximum((slopes / slopes[0]) ** 2 * change, lost)


def _with_videos(chosen: Estimator, videos: Videos) -> tuple[int, int]:
    """Return how many latent prompts have videos that the estimator reads, and two or more."""
    return tuple(sum(len(x) >= least for x in videos) for least in (chosen.least_videos, 2))


def _reasons_against(
    text: np.ndarray | None, k: int, pairs: int, identical: tuple[str, ...]
) -> tuple[str, str, str]:
    """Say why aleatoric, epistemic and total have no interval; empty where they may have one."""
    where = "" if text is None else " with videos"
    few, unpaired = (
        f"{n} latent prompt{'s' * (n != 1)}{where}" if n < LEAST_LATENTS else "" for n in (k, pairs)
    )
    of_videos = f"identical {VIDEOS}" if VIDEOS in identical else unpaired
    distinct = LEAST_DISTINCT if text is None else len(np.unique(first_twins(text)))
    of_text = f"{distinct} distinct {LATENT_PROMPTS}" if distinct < LEAST_DISTINCT else few
    of_text = f"identical {LATENT_PROMPTS}" if LATENT_PROMPTS in identical else of_text
    both = f"identical {' and '.join(identical)}" if identical else of_text
    return of_text, of_videos, both


def _remarks(
    values: np.ndarray,
    intervals: list[Interval | None],
    reasons: tuple[str, ...],
    identical: tuple[str, ...],
    *,
    capped: bool,
) -> list[str]:
    """Return what must be said beside each value: that it is not measured, or has no interval."""
    remarks = []
    for value, interval, why in zip(values, intervals, reasons, strict=True):
        remark = ""
        if why.startswith("identical"):
            remark = f"{why}: {CAPPED if capped else 'no spread was measured'}"
        elif interval is None:
            remark = f"no interval: {why or 'the same whichever latent prompt is left out'}"
        if capped and not identical:
            remark = f"samples that coincide: {CAPPED}"
        remarks.append("" if np.isnan(value) else remark)
    return remarks


def _without(rows: Videos | None, i: int) -> Videos | None:
    if rows is None:
        return None
    if isinstance(rows, np.ndarray):
        return np.delete(rows, i, axis=0)
    return [x for j, x in enumerate(rows) if j != i]


def _per_dof(values: np.ndarray, d_text: int | None, d_video: int) -> tuple[float | None, ...]:
    epistemic = float(vmf.entropy_per_dof(d_video, values[1]))
    if d_text is None:
        return None, epistemic, None
    aleatoric = float(vmf.entropy_per_dof(d_text, values[0]))
    return aleatoric, epistemic, aleatoric + epistemic


def _as_row(terms: Terms) -> np.ndarray:
    """Return the three terms as floats (3,), NaN for a missing component."""
    return np.array(terms[:3], dtype=float)


def _refuse_different(items: list[Uncertainty], name: str, remedy: str) -> None:
    found = [(i, getattr(item, name)) for i, item in enumerate(items)]
    found = [(i, value) for i, value in found if value is not None]
    for i, value in found:
        if value != found[0][1]:
            raise ValueError(
                f"uncertainty {i} has {name} {value!r}, uncertainty {found[0][0]} has "
                f"{found[0][1]!r}; not comparable: {remedy}"
            )


def pooled_pca(embeddings: Sequence[np.ndarray], n_components: int) -> list[np.ndarray]:
    """Project embeddings (..., d) of at least two tasks on the leading axes of one uncentred PCA.

    Returns unit vectors, an array (..., n_components) a task; n_components is from 2 to d, and at
    most the number of embeddings. An embedding orthogonal to all axes is refused. Axes: the leading
    eigenvectors of sum x x' over the unit-normalised embeddings of all tasks together. Nothing is
    centred and nothing is fitted to one task: either removes the mean resultant length that the
    estimators measure. Reduction costs ranking accuracy (Kendall's tau with the truth .915 at 384
    dimensions, .82 at 16, .64 at 5), so only a caller who asks for it gets it.

    >>> [x.shape for x in pooled_pca([np.eye(4), np.ones((2, 3, 4))], 2)]
    [(4, 2), (2, 3, 2)]
    """
    arrays = _check_pool(embeddings, n_components)
    units = [unit_rows(x, f"task {i}'s embedding") for i, x in enumerate(arrays)]
    pooled = np.concatenate([x.reshape(-1, x.shape[-1]) for x in units])
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    axes = vectors[:, ::-1][:, :n_components]
    return [unit_rows(x @ axes, f"task {i}'s projected embedding") for i, x in enumerate(units)]


def _check_pool(embeddings: Sequence[np.ndarray], n_components: int) -> list[np.ndarray]:
    if isinstance(embeddings, np.ndarray) or len(embeddings) < 2:
        raise ValueError(
            f"embeddings are a {type(embeddings).__name__} of length {len(embeddings)}; expected "
            "a list of at least 2 tasks' arrays: axes fitted to one prompt's embeddings destroy "
            "the mean resultant length that the estimators measure"
        )
    arrays = [real_array(x, f"task {i}'s embeddings") for i, x in enumerate(embeddings)]
    for i, x in enumerate(arrays):
        if x.ndim < 2 or x.size == 0 or x.shape[-1] != arrays[0].shape[-1]:
            raise ValueError(
                f"task {i}'s embeddings have shape {x.shape}, task 0's {arrays[0].shape}; "
                "expected (..., d), not empty, with one d for all tasks"
            )
    d = arrays[0].shape[-1]
    limit = min(d, sum(x.size // d for x in arrays))
    if not 2 <= n_components <= limit:
        raise ValueError(f"n_components is {n_components}; expected 2 to {limit}")
    return arrays
