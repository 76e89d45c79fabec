"""From a finished archive to one row a task: uncertainty, accuracy, counts."""

import warnings

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import FAILED, LABELS, OK, ratings_of
from squbed_utils.estimators.checks import check_task, identical_parts, unit_rows
from squbed_utils.estimators.estimate import (
    CAPPED,
    ESTIMATORS,
    LEAST_LATENTS,
    Uncertainty,
    check_comparable,
    estimate,
    pooled_pca,
)
from squbed_utils.estimators.registry import Videos, evaluate
from squbed_utils.statistics.cautions import cautions, named, refuse_unmeasured
from squbed_utils.statistics.controls import CONTROLS
from squbed_utils.text import visible

TERMS = ("aleatoric", "epistemic", "total")
LEAST_VIDEOS = 2
"""Videos that an estimator needs of a latent prompt; it needs `LEAST_LATENTS` of a task."""

ABSENT = "-"

NO_LATENT_PROMPTS = (
    "aleatoric and total need latent prompts, which are not known here; epistemic stands alone"
)
NO_PAIRS = "aleatoric and epistemic need two videos of a latent prompt; the total stands alone"

CAP_MARK = " (cap)"

Embeddings = tuple[np.ndarray | None, list[np.ndarray]]


def summarize(
    archive: Archive,
    *,
    estimator: str = "squbed",
    confidence: float = 0.95,
    truth: bool = False,
) -> pd.DataFrame:
    """Estimate every task's uncertainty and average its accuracy.

    Missing data: failed videos are left out; a latent prompt with fewer than two videos is left
    out with them; a task with fewer than three latent prompts is left out and warned of. A task
    whose latent prompts are not known needs one with two videos; its aleatoric and total are
    missing. A task with identical samples is kept and marked; rankings leave it out.

    Parameters
    ----------
    archive : Archive
        A finished one; a `pca` in its profile is applied to the embeddings of all tasks together.
    estimator : str
        A name in ``registry.ESTIMATORS``.
    confidence : float
        Of the intervals, between 0 and 1.
    truth : bool
        Whether to add the columns of the archive's truth.

    Returns
    -------
    pandas.DataFrame
        A row a task: task, dataset, category, prompt; aleatoric, epistemic, total (higher = less
        certain), each with _low, _high, _remark (why it has no interval, or was not measured; else
        empty) and _per_dof; degenerate; identical (of which samples no spread was measured: "latent
        prompts", "videos", both or ""); n, m (the fewest videos of a latent prompt); ssim, psnr,
        lpips, clip_reference, clip_prompt and people's ratings, if there are any (means over videos
        that have them; all but clip_prompt need a reference); failed (videos); vagueness_rank where
        the archive's tasks have one. In ``attrs`` the `video_model` of the archive, for whose
        videos alone a level of these holds.

    Raises
    ------
    ValueError
        If the estimator is unknown, no task is left, the counts make the estimates incomparable,
        or `truth` is asked for and the archive has none. Warnings are as `cautions.cautions`.
    """
    for sentence in cautions(archive):
        warnings.warn(sentence, UserWarning, stacklevel=2)
    estimates = {
        task: estimate(*embeddings, estimator=estimator, confidence=confidence)
        for task, embeddings in usable_embeddings(archive).items()
    }
    check_comparable(estimates.values())
    table = pd.DataFrame({task: _row(u) for task, u in estimates.items()}).T
    table = table.infer_objects().rename_axis("task").reset_index()
    table = table.astype({f"{t}{part}": float for t in TERMS for part in ("", "_low", "_high")})
    labels = archive.tasks().drop(columns="reference")
    table = labels.merge(table, on="task").merge(task_accuracies(archive), on="task")
    if truth and archive.truth() is None:
        raise ValueError(f"archive {archive.folder} has no truth.parquet; leave truth=False")
    table = table.merge(archive.truth(), on="task") if truth else table
    table.attrs["video_model"] = archive.video_model  # whose levels these are
    return table


def usable_embeddings(archive: Archive) -> dict[str, Embeddings]:
    """Return the embeddings of each task that can be estimated, missing data as in `summarize`.

    By task (text, videos): text float (n, d_t), or None where latent prompts are not known; videos
    a list of n arrays (m_i, d_v), m_i >= 2. Where some latent prompts are to have no videos, or all
    at most one, m_i is what there is. A `pca` in the profile is applied to all tasks
    together.
    """
    counts = set(archive.units.values())
    usable, single = {}, counts <= {0, 1}
    every = single or 0 in counts
    for task in archive.tasks().task:
        text, videos = archive.embeddings(task)
        enough = [i for i, x in enumerate(videos) if every or len(x) >= LEAST_VIDEOS]
        usable[task] = None if text is None else text[enough], [videos[i] for i in enough]
    measurable = _without_thin_tasks(usable, 1 if single else LEAST_VIDEOS)
    dimensions = archive.profile.get("pca")
    return _projected(measurable, dimensions) if dimensions else measurable


def latent_entropies(archive: Archive) -> dict[tuple[str, int], float]:
    """Return the uncertainty of each latent prompt's videos, whose mean is the epistemic term."""
    videos, chosen = archive.videos(), ESTIMATORS[archive.profile["estimator"]]
    if not chosen.text_optional or archive.profile.get("pca"):  # a task has them only as a whole
        return {}
    good = videos[videos.status == OK].groupby(["task", "latent"]).embedding
    rows = {z: unit_rows(np.stack(list(of)), "embedding") for z, of in good if len(of) > 1}
    return {z: evaluate(chosen, None, [embeddings]).epistemic for z, embeddings in rows.items()}


def as_text(table: pd.DataFrame) -> str:
    """Return a summary as text: a line a task, then a sentence on each value shown as a dash."""
    shown = table[["task"]].copy()
    for term in TERMS:
        shown[term] = [value_text(row, term) for _, row in table.iterrows()]
    bare = table.clip_reference.isna()
    accuracies = ["clip_reference"] * (not bare.all()) + ["clip_prompt"] * int(bare.any())
    shown = shown.join(table[[*accuracies, *ratings_of(table), "failed"]])
    shown = shown.assign(prompt=table.prompt.map(visible))
    lines = [shown.to_string(index=False, float_format="{:.3f}".format, na_rep=ABSENT)]
    if table.total.isna().any():
        lines.append(f"({ABSENT}) {NO_LATENT_PROMPTS}")
    if table.epistemic.isna().any():
        lines.append(f"({ABSENT}) {NO_PAIRS}")
    if bare.any():
        tasks = f"{bare.sum()} of {len(table)} tasks"
        lines.append(f"accuracies but clip_prompt need a reference video, which {tasks} lack")
    for (remark, terms), tasks in _by_remark(table).items():
        mark = CAP_MARK.strip() if remark.endswith(CAPPED) else f"(± {ABSENT})"
        lines.append(f"{mark} {remark} ({terms} of {named(tasks)})")
    return "\n".join(lines)


def value_text(row: pd.Series, term: str) -> str:
    """Return a value of a summary with half its interval; what is missing is a dash.

    >>> row = pd.Series({"total": 1.5, "total_low": 1.25, "total_high": 1.75, "total_remark": ""})
    >>> value_text(row, "total")
    '1.50 ± 0.25'
    """
    value, half = row[term], (row[f"{term}_high"] - row[f"{term}_low"]) / 2
    if np.isnan(value):
        return ABSENT
    if row[f"{term}_remark"].endswith(CAPPED):
        return f"{value:.2f}{CAP_MARK}"
    return f"{value:.2f} ± {ABSENT if np.isnan(half) else f'{half:.2f}'}"


def _by_remark(table: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return the tasks that have each remark, by remark and its terms, joined by commas."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for _, row in table.iterrows():
        remarks = [row[f"{term}_remark"] for term in TERMS]
        for remark in dict.fromkeys(filter(None, remarks)):
            terms = ", ".join(t for t, r in zip(TERMS, remarks, strict=True) if r == remark)
            tasks.setdefault((remark, terms), []).append(row.task)
    return tasks


def measured_embeddings(archive: Archive) -> dict[str, Embeddings]:
    """Return `usable_embeddings` of the tasks that can be ranked.

    Tasks with identical samples are left out and warned of: their value is set by a cap or is none,
    and would rank as most certain.
    """
    usable = usable_embeddings(archive)
    identical = {task for task, pair in usable.items() if identical_parts(*check_task(*pair)[:2])}
    refuse_unmeasured(list(usable), identical)
    return {task: pair for task, pair in usable.items() if task not in identical}


def _without_thin_tasks(usable: dict[str, Embeddings], m: int) -> dict[str, Embeddings]:
    least = {task: 1 if text is None else LEAST_LATENTS for task, (text, _) in usable.items()}
    enough = {task: sum(len(x) >= m for x in videos) for task, (_, videos) in usable.items()}
    thin = [task for task, count in enough.items() if count < least[task]]
    if len(thin) == len(usable):
        raise ValueError(
            f"no task has {max(least.values())} or more latent prompts with {m} or more videos "
            "each; see the errors in videos(), then run the same command with --retry-failed"
        )
    if thin:
        warnings.warn(
            f"{len(thin)} of {len(usable)} tasks left out for want of videos: {', '.join(thin)}",
            UserWarning,
            stacklevel=4,
        )
    return {task: usable[task] for task in usable if task not in thin}


def _projected(tasks: dict[str, Embeddings], dimensions: int) -> dict[str, Embeddings]:
    """Apply pooled PCA to the texts of all tasks, and to their videos."""
    known = {task: text for task, (text, _) in tasks.items() if text is not None}
    texts = dict(
        zip(known, pooled_pca([*known.values()], dimensions) if known else (), strict=True)
    )
    pooled = pooled_pca([np.concatenate(videos) for _, videos in tasks.values()], dimensions)
    projected = {}
    for x, (task, (_, videos)) in zip(pooled, tasks.items(), strict=True):
        ends = np.cumsum([len(v) for v in videos])[:-1]
        projected[task] = texts.get(task), np.split(x, ends)
    return projected


def _row(u: Uncertainty) -> dict[str, object]:
    row: dict[str, object] = {}
    for term in TERMS:
        row[term] = getattr(u, term)
        row[f"{term}_low"], row[f"{term}_high"] = getattr(u, f"{term}_interval") or (None, None)
        for name in (f"{term}_remark", f"{term}_per_dof"):
            row[name] = getattr(u, name)
    row.update(degenerate=u.degenerate, identical=", ".join(u.identical), n=u.n, m=u.m)
    return row


def task_accuracies(archive: Archive) -> pd.DataFrame:
    """Return each task's mean accuracies over its videos, and how many videos failed."""
    videos = archive.videos()
    accuracies = [*LABELS, *ratings_of(videos)]
    means = videos[videos.status == OK].groupby("task")[accuracies].mean()
    failed = (videos.status == FAILED).groupby(videos.task).sum().rename("failed")
    return means.join(failed).reset_index()


def clip_means(archive: Archive) -> pd.DataFrame | None:
    """Return the mean CLIP embedding of all frames of each task's videos, and of its reference.

    By task: video, reference; float64 (d,), not of unit length. The reference is None for a task
    without one; the table is None where an earlier version wrote the archive, without CLIP
    embeddings.
    """
    rows = archive.clip_embeddings()
    if rows.clip_embedding.isna().any():
        return None
    return rows.groupby("task").agg(_mean_of).set_axis(["video", "reference"], axis=1)


def reference_similarity(archive: Archive, tasks: list[str]) -> np.ndarray | None:
    """Return how like every task's reference every task's videos are, by CLIP, (n, n).

    It is the mean cosine over all frames of the videos of the task of the row with all frames of
    the reference of the task of the column, `tasks` in this order; None where the archive lacks
    embeddings or references.
    """
    means = clip_means(archive)
    if means is None or means.reference[tasks].isna().any():
        return None
    return np.stack(list(means.video[tasks])) @ np.stack(list(means.reference[tasks])).T


def _mean_of(embeddings: pd.Series) -> np.ndarray | None:
    """Return the mean of the embeddings that are not None; None without any."""
    known = [e for e in embeddings if e is not None]
    return np.mean(known, axis=0, dtype=float) if known else None


Units = dict[str, tuple[np.ndarray | None, Videos]]


def score_tasks(archive: Archive, *, read_videos: bool = True) -> pd.DataFrame:
    """Return every estimator's and control's terms on every task without identical samples.

    Where tasks differ in their counts (failed videos), the estimators whose values depend on the
    counts take as many latent prompts and videos of every task as the poorest task has, the first
    ones, so that all their values compare; the others take all. A control covers the same tasks.
    A warning says which tasks are left out, and that counts differ. Without `read_videos` there is
    no control `motion`, which reads a video of every latent prompt: some milliseconds for each of
    the shapes world's, seconds for one in high definition.

    Columns: estimator, component ("aleatoric", "epistemic" or "total"), task, value (higher = less
    certain). A component that an estimator does not have, or cannot have without latent prompts,
    has no rows; nor has a control whose videos the archive does not hold.
    """
    whole = {t: check_task(*pair)[:2] for t, pair in measured_embeddings(archive).items()}
    equal = at_equal_counts(whole)
    rows = []
    for name, chosen in ESTIMATORS.items():
        for task, (text, videos) in (equal if chosen.equal_counts else whole).items():
            if text is None and not chosen.text_optional:
                continue
            if max(map(len, videos)) < chosen.least_videos:
                continue
            terms = zip(TERMS, evaluate(chosen, text, videos)[:3], strict=True)
            rows += [(name, term, task, value) for term, value in terms if value is not None]
    for name, control in CONTROLS.items():
        if control.reads_videos and not read_videos:
            continue
        for component, function in control.functions.items():
            values = function(archive)
            rows += [(name, component, t, values[t]) for t in whole if t in values]
    return pd.DataFrame(rows, columns=["estimator", "component", "task", "value"])


def sources() -> pd.DataFrame:
    """Return label, unit and source (a short citation) of what `score_tasks` applies, by estimator.

    >>> sources().label["energy_split"]
    'Energy split'
    """
    rows = {**ESTIMATORS, **CONTROLS}.items()
    table = pd.DataFrame([(name, x.label, x.unit, x.source) for name, x in rows])
    return table.set_axis(["estimator", "label", "unit", "source"], axis=1).set_index("estimator")


def at_equal_counts(whole: Units) -> Units:
    """Return the first n latent prompts of each task and their first m videos.

    A task whose latent prompts are not known keeps them all: it has an epistemic term alone, a
    mean over latent prompts.
    """
    sizes = {len(x) for _, videos in whole.values() for x in videos if len(x)}
    known = {len(text) for text, _ in whole.values() if text is not None}
    shown = {sum(map(bool, map(len, of))) for text, of in whole.values() if text is not None}
    if max(map(len, (sizes, known, shown))) <= 1:
        return whole
    n, m = min(known, default=None), min(sizes)
    warnings.warn(
        f"tasks have {_range(sizes)} videos of a latent prompt and {_range(known)} latent prompts; "
        f"estimators that depend on the counts take the first {m} and {n or 'all'} of each",
        UserWarning,
        stacklevel=3,
    )
    cut, most = {}, min(shown, default=0)
    for task, (text, videos) in whole.items():
        if text is None:
            cut[task] = None, [x[:m] for x in videos]
        else:  # those beyond the most that all tasks have get no videos
            place = np.cumsum([len(x) > 0 for x in videos])
            kept = [x[: m * (i <= most)] for i, x in zip(place, videos, strict=True)]
            cut[task] = text[:n], kept[:n]
    return cut


def _range(counts: set[int]) -> str:
    if not counts:
        return "unknown"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
