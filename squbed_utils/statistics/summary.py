"""From a finished archive to one row a task: uncertainty, accuracy, counts."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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


Shape = tuple[bool, Sequence[int]]


class ByTask(Mapping[str, Embeddings]):
    """Embeddings by task, read whenever a task is asked for, so that few are in memory at once."""

    def __init__(self, tasks: Iterable[str], read: Callable[[str], Embeddings]) -> None:
        self._tasks, self._read = dict.fromkeys(tasks), read

    def __getitem__(self, task: str) -> Embeddings:
        """Read a task's embeddings; KeyError if it is not one of the tasks."""
        self._tasks[task]
        return self._read(task)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def summarize(
    archive: Archive, *, estimator: str = "squbed", confidence: float = 0.95, truth: bool = False
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


def usable_embeddings(archive: Archive) -> Mapping[str, Embeddings]:
    """Return the embeddings of each task that can be estimated, missing data as in `summarize`.

    By task (text, videos): text float (n, d_t), or None where latent prompts are not known; videos
    a list of n arrays (m_i, d_v), m_i >= 2. Where some latent prompts are to have no videos, or all
    at most one, m_i is what there is. A `pca` in the profile is applied to all tasks
    together.
    """
    counts = set(archive.units.values())
    single = counts <= {0, 1}
    every = single or 0 in counts

    def read(task: str) -> Embeddings:
        text, videos = archive.embeddings(task)
        enough = [i for i, x in enumerate(videos) if every or len(x) >= LEAST_VIDEOS]
        return None if text is None else text[enough], [videos[i] for i in enough]

    usable = ByTask(_measurable(archive, 1 if single else LEAST_VIDEOS), read)
    dimensions = archive.profile.get("pca")
    return _projected(usable, dimensions) if dimensions else usable


def latent_entropies(archive: Archive) -> dict[tuple[str, int], float]:
    """Return the uncertainty of each latent prompt's videos, whose mean is the epistemic term."""
    entropies, chosen = {}, ESTIMATORS[archive.profile["estimator"]]
    if chosen.needs_text or archive.profile.get("pca"):  # a task has them only as a whole
        return {}
    for task in archive.tasks().task:
        videos = archive.videos(task)
        for latent, of in videos[videos.status == OK].groupby("latent").embedding:
            if len(of) > 1:
                rows = unit_rows(np.stack(list(of)), "embedding")
                entropies[task, latent] = evaluate(chosen, None, [rows]).epistemic
    return entropies


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


def measured_embeddings(archive: Archive) -> Mapping[str, Embeddings]:
    """Return `usable_embeddings` of the tasks that can be ranked.

    Tasks with identical samples are left out and warned of: their value is set by a cap or is none,
    and would rank as most certain.
    """
    return _measured(archive)[0]


def _measured(archive: Archive) -> tuple[Mapping[str, Embeddings], list[Shape]]:
    """Return the embeddings of the tasks that can be ranked, and the shape of each."""
    usable, identical, shapes = usable_embeddings(archive), set(), []
    for task, pair in usable.items():
        text, videos, counts = check_task(*pair)
        if identical_parts(text, videos):
            identical.add(task)
        else:
            shapes.append((text is not None, counts))
    refuse_unmeasured(list(usable), identical)
    return ByTask([task for task in usable if task not in identical], usable.__getitem__), shapes


def _measurable(archive: Archive, m: int) -> list[str]:
    """Return the tasks with enough latent prompts of m videos; warn of the others."""
    videos = archive.videos(embeddings=False)
    videos = videos[videos.status == OK].groupby(["task", "latent"]).size()
    latents = archive.latents(embeddings=False).set_index(["task", "latent"])
    latents = latents.assign(enough=videos.reindex(latents.index, fill_value=0) >= m)
    tasks, thin, least = list(archive.tasks().task), [], {}
    for task, drawn in latents.groupby("task", sort=False):
        known = drawn.prompt.notna()
        least[task] = LEAST_LATENTS if known.any() else 1
        if drawn.enough[known | ~known.any()].sum() < least[task]:
            thin.append(task)
    if len(thin) == len(tasks):
        raise ValueError(
            f"no task has {max(least.values())} or more latent prompts with {m} or more videos "
            "each; see the errors in videos(), then run the same command with --retry-failed"
        )
    if thin:
        warnings.warn(
            f"{len(thin)} of {len(tasks)} tasks left out for want of videos: {', '.join(thin)}",
            UserWarning,
            stacklevel=4,
        )
    return [task for task in tasks if task not in thin]


def _projected(tasks: Mapping[str, Embeddings], dimensions: int) -> dict[str, Embeddings]:
    """Apply pooled PCA to the texts of all tasks, and to their videos; it needs all at once."""
    tasks = dict(tasks)
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
    videos = archive.videos(embeddings=False)
    accuracies = [*LABELS, *ratings_of(videos)]
    means = videos[videos.status == OK].groupby("task")[accuracies].mean()
    failed = (videos.status == FAILED).groupby(videos.task).sum().rename("failed")
    return means.join(failed).reset_index()


def reference_similarity(archive: Archive, tasks: list[str]) -> np.ndarray | None:
    """Return how like every task's reference every task's videos are, by CLIP, (n, n).

    It is the mean cosine over all frames of the videos of the task of the row with all frames of
    the reference of the task of the column, `tasks` in this order; None where the archive lacks
    embeddings or references.
    """
    means = archive.clip_means()
    if means is None or means.reference[tasks].isna().any():
        return None
    return np.stack(list(means.video[tasks])) @ np.stack(list(means.reference[tasks])).T


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
    whole, shapes = _measured(archive)
    cut, rows = equal_counts(shapes), []
    for task, pair in whole.items():
        pair = check_task(*pair)[:2]
        equal = cut(*pair)
        for name, chosen in ESTIMATORS.items():
            text, videos = equal if chosen.equal_counts else pair
            if text is None and chosen.needs_text:
                continue
            if max(map(len, videos)) < chosen.least_videos:
                continue
            terms = zip(TERMS, evaluate(chosen, text, videos)[:3], strict=True)
            rows += [(name, term, task, value) for term, value in terms if value is not None]
    places = {name: place for place, name in enumerate(ESTIMATORS)}
    rows.sort(key=lambda row: places[row[0]])  # stable: by estimator, then task
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


def equal_counts(shapes: Iterable[Shape]) -> Callable[..., Embeddings]:
    """Return a function that keeps the first n latent prompts of a task and their first m videos.

    `shapes` are those of all tasks: whether the text is known, and each latent prompt's videos. n
    and m are those of the poorest task; a warning says so where tasks differ. A task whose latent
    prompts are not known keeps them all: it has an epistemic term alone, a mean over latent
    prompts.
    """
    sizes, known, shown = set(), set(), set()
    for drawn, counts in shapes:
        sizes.update(filter(None, counts))
        if drawn:
            known.add(len(counts))
            shown.add(np.count_nonzero(counts))
    if max(map(len, (sizes, known, shown))) <= 1:
        return lambda text, videos: (text, videos)
    n, m, most = min(known, default=None), min(sizes), min(shown, default=0)
    warnings.warn(
        f"tasks have {_range(sizes)} videos of a latent prompt and {_range(known)} latent prompts; "
        f"estimators that depend on the counts take the first {m} and {n or 'all'} of each",
        UserWarning,
        stacklevel=3,
    )

    def cut(text: np.ndarray | None, videos: Videos) -> Embeddings:
        if text is None:
            return None, [x[:m] for x in videos]
        # those beyond the most that all tasks have get no videos
        place = np.cumsum([len(x) > 0 for x in videos])
        kept = [x[: m * (i <= most)] for i, x in zip(place, videos, strict=True)]
        return text[:n], kept[:n]

    return cut


def _range(counts: set[int]) -> str:
    if not counts:
        return "unknown"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
