"""Which tasks the figures show, by stated rules, and their frames from the archive.

A task is a row of `summary`, which is as `tables.summarize_run`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import OK
from squbed_utils.estimators import vmf
from squbed_utils.statistics.tables import NotShown, default_accuracy, kept_of
from squbed_utils.text import number
from squbed_utils.video import resize_area

LONGEST_SIDE = 256
"""Pixels of a frame in a figure, at most: three times what a paper's column prints."""

QUANTILES = {"low": 0.1, "middle": 0.5, "high": 0.9}

MOST_IN_SHEET = 75

SHOWN = 3
"""Frames of a video that a contact sheet shows."""


@dataclass(frozen=True, eq=False)
class Example:
    """A task with some of its videos, to be drawn; `label` says what it is an example of.

    `values` are printed below the prompt. The reference, if there is one, and each video are uint8
    (T, H, W, 3); `latents` has the latent prompt of each video.
    """

    task: str
    label: str
    prompt: str
    values: str
    reference: np.ndarray | None
    videos: list[np.ndarray]
    latents: list[int]


def load(
    archive: Archive, task: pd.Series, *, label: str, show: Mapping[str, str], count: int = 3
) -> Example:
    """Read a task's reference and the first video of each of its first `count` latent prompts.

    Latent prompts without a video are passed over. `show` maps columns, whose values are printed,
    to their names in print; how many of the task's videos are shown stands beside them.
    """
    every = _videos(archive, task.task)
    videos = every.groupby("latent").head(1).head(count)
    digits = {column: ".1f" if abs(task[column]) >= 10 else ".2f" for column in show}
    values = [f"{show[c]}\u00a0{number(task[c], spec)}" for c, spec in digits.items()]
    values.append(f"{len(videos)}\u00a0of\u00a0{len(every)}\u00a0videos")
    return _example(archive, task, videos, label, ", ".join(values))


def low_middle_high(summary: pd.DataFrame, by: str, *, typical: str = "") -> dict[str, pd.Series]:
    """Return the tasks a tenth, half and nine tenths of the way up in a column.

    With `typical`, another column, a place is the tenth of the tasks around it, and its task the
    one whose value is nearest to their median: none that stands for its neighbours badly.
    """
    ordered = summary.sort_values(by, kind="stable")
    half = len(ordered) // 20 if typical else 0
    chosen = {}
    for name, q in QUANTILES.items():
        place = round(q * (len(ordered) - 1))
        around = ordered.iloc[max(0, place - half) : place + half + 1]
        if half:
            place = ordered.index.get_loc(
                (around[typical] - around[typical].median()).abs().idxmin()
            )
        chosen[name] = ordered.iloc[place].copy()
    return chosen


def hallucination(summary: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the most confident hallucination and a faithful task to hold against it, by label.

    With a truth: of the tasks on subjects that the video model never saw, and that leave the
    least open, the one with the lowest epistemic uncertainty; beside it the task on a common
    subject that leaves as much open, of the same category if there is one. Without: of the
    quarter of tasks with the worst and with the best match of video and reference, or prompt
    (`tables.default_accuracy`), those with the lowest epistemic uncertainty.
    """
    if (summary.coverage == "never").any() and (summary.coverage == "common").any():
        never = _least_open(summary[summary.coverage == "never"])
        wrong = never.loc[never.epistemic.idxmin()]
        common = _least_open(summary[summary.coverage == "common"])
        same = common[common.category == wrong.category]
        right = (common if same.empty else same).iloc[0]
        return {"never seen in training": wrong, "common in training": right}
    accuracy = default_accuracy(summary)
    ordered = summary.dropna(subset=accuracy).sort_values(accuracy, kind="stable")
    if ordered.empty:
        raise NotShown("no task has an accuracy by which a video could be told to be wrong")
    quarter = max(1, len(ordered) // 4)
    worst, best = ordered.head(quarter), ordered.tail(quarter)
    return {
        "worst match": worst.loc[worst.epistemic.idxmin()],
        "best match": best.loc[best.epistemic.idxmin()],
    }


def apart(summary: pd.DataFrame, *, fraction: float) -> dict[str, pd.Series]:
    """Return a task high in aleatoric only, one high in epistemic only, and one low in both.

    Of the tasks that Figure 5 keeps for the least of one part, the one with the most of the
    other; and the one whose larger rank of the two is smallest.
    """
    k = kept_of(summary, fraction)
    worse = summary[["aleatoric", "epistemic"]].rank().max(axis=1)
    return {
        "low in both": summary.loc[worse.idxmin()],
        "aleatoric only": summary.loc[summary.nsmallest(k, "epistemic").aleatoric.idxmax()],
        "epistemic only": summary.loc[summary.nsmallest(k, "aleatoric").epistemic.idxmax()],
    }


def positions(summary: pd.DataFrame, value: str, marked: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Return where tasks lie among all tasks, for `figures.plot_positions`.

    `value` is a column, higher = less certain. `marked` maps labels to rows; each of these is
    labelled with the share of tasks that are less certain than it. Columns: task, group (coverage,
    or the category where that is unknown), value, value_label, label.
    """
    known = (summary.coverage != "").any()
    table = summary.assign(group=summary.coverage if known else summary.category)
    table = table.assign(value=table[value], label="")
    table["value_label"] = f"{value} uncertainty ({table.unit.iloc[0]}), one point a task"
    for name, row in marked.items():
        share = (table[value] > row[value]).mean()
        text = f"{name}: more certain than {share:.0%} of {len(table)} tasks"
        table.loc[table.task == row.task, "label"] = text
    return table[["task", "group", "value", "value_label", "label"]]


def middle_task(summary: pd.DataFrame) -> pd.Series:
    """Return the task to walk through: of common subjects with two attributes open, the middle.

    Without such tasks, of all; middle in total uncertainty, or in epistemic without total.
    """
    by = "epistemic" if summary.total.isna().any() else "total"
    chosen = summary[(summary.coverage == "common") & summary.left_out.eq(2).fillna(False)]
    return low_middle_high(summary if chosen.empty else chosen, by)["middle"]


def find(summary: pd.DataFrame, task: str) -> pd.Series:
    """Return the row of a task; refuse an unknown one and name some known ones."""
    rows = summary[summary.task == task]
    if rows.empty:
        known = ", ".join(summary.task.head(5)) + ", ..." * (len(summary) > 5)
        raise ValueError(f"no task {task!r} in the archive; there are: {known}")
    return rows.iloc[0]


def walk(archive: Archive, task: pd.Series) -> tuple[Example, pd.DataFrame, pd.DataFrame]:
    """Return S-QUBED's steps on one task: videos of each latent prompt, entropies, sums.

    `task` is a row of the summary made with the estimator ``squbed``. Returned are three videos of
    each latent prompt; latents: latent, prompt ("not known" where it is not), entropy h(V|z_i) in
    nats, degenerate (its videos are identical), unit; and terms: term, value, low, high, remark,
    unit: h(Z|l), the mean of h(V|z_i), and their sum; absent ones have no row.
    """
    videos = _videos(archive, task.task)
    videos = videos.groupby("latent").filter(lambda rows: len(rows) >= 2)
    prompts = archive.latents(task.task, embeddings=False).set_index("latent").prompt
    prompts = prompts.fillna("not known")
    latents = []
    for latent, rows in videos.groupby("latent"):
        embeddings = np.stack(list(rows.embedding))
        fit = vmf.fit(embeddings)
        entropy = float(vmf.entropy(embeddings.shape[1], fit.kappa))
        latents.append((latent, prompts[latent], entropy, bool(fit.degenerate)))
    columns = ["latent", "prompt", "entropy", "degenerate"]
    latents = pd.DataFrame(latents, columns=columns).assign(unit="nats")
    names = {"aleatoric": "h(Z|l), aleatoric", "epistemic": "mean of h(V|zᵢ), epistemic"}
    terms = [
        (name, *task[[t, f"{t}_low", f"{t}_high", f"{t}_remark"]])
        for t, name in (names | {"total": "sum, total"}).items()
    ]
    terms = pd.DataFrame(terms, columns=["term", "value", "low", "high", "remark"])
    drawn = videos.groupby("latent").head(3)
    example = _example(archive, task, drawn, values=f"{len(drawn)} of {len(videos)}")
    return example, latents, terms.dropna(subset="value").assign(unit=task.unit)


def sheet(archive: Archive) -> list[Example]:
    """Return every task for a contact sheet, with a video of each latent prompt (at most six).

    Of more than `MOST_IN_SHEET` tasks, that many evenly spaced ones.
    """
    tasks = archive.tasks()
    chosen = np.linspace(0, len(tasks) - 1, min(MOST_IN_SHEET, len(tasks))).round().astype(int)
    return [
        load(archive, row, label=row.task, show={}, count=6)
        for _, row in tasks.iloc[chosen].iterrows()
    ]


def collected(archive: Archive) -> pd.DataFrame:
    """Return what was collected, a row a task.

    Columns: task, latents, distinct (latent prompts), refused (draws), videos, failed.
    """
    latents, videos = archive.latents(embeddings=False), archive.videos(embeddings=False)
    drawn = latents.assign(refused=latents.rejected.map(len)).groupby("task", sort=False)
    table = drawn.agg(
        latents=("latent", "size"), distinct=("prompt", "nunique"), refused=("refused", "sum")
    )
    made = videos.assign(failed=videos.status != OK).groupby("task", sort=False)
    return table.join(made.agg(videos=("sample", "size"), failed=("failed", "sum"))).reset_index()


def _videos(archive: Archive, task: str) -> pd.DataFrame:
    """Return the rows of a task's videos that did not fail."""
    videos = archive.videos(task)
    return videos[videos.status == OK]


def _example(
    archive: Archive, task: pd.Series, videos: pd.DataFrame, label: str = "", values: str = ""
) -> Example:
    reference = archive.reference(task.task)
    reference = None if reference is None else _small(reference)
    frames = [_small(archive.read_video(path)) for path in videos.path]
    latents = videos.latent.tolist()
    return Example(task.task, label, task.prompt, values, reference, frames, latents)


def _small(video: np.ndarray) -> np.ndarray:
    """Return the first, middle and last frame, reduced, which are all that figures show."""
    chosen = np.linspace(0, len(video) - 1, min(SHOWN, len(video))).round().astype(int)
    height, width = video.shape[1:3]
    scale = min(1, LONGEST_SIDE / max(height, width))
    return resize_area(video[chosen], *(max(1, round(scale * side)) for side in (height, width)))


def _least_open(tasks: pd.DataFrame) -> pd.DataFrame:
    return tasks[tasks.left_out == tasks.left_out.min()]
