"""The tables that Figures 3 to 5 draw: points, and the statistics of the points shown.

`summary` is as `summarize_run`, `points` as `points_of`, of any number of rows and panels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from squbed_utils import csv_files
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive
from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.files import ROOT, path_of, replacing, seed_of
from squbed_utils.statistics.agreement import ranks_of
from squbed_utils.statistics.calibration import CONFIDENCE, kendall
from squbed_utils.statistics.cautions import refuse_unmeasured
from squbed_utils.statistics.summary import summarize
from squbed_utils.text import suggestion

PUBLISHED = ROOT / "data" / "published" / "published_points.csv"
PUBLISHED_ROW = "published (arXiv 2510.02571, read off its plots)"
PUBLISHED_LABELS = {
    "uncertainty_rank": "rank by vagueness",
    "total_uncertainty": "total uncertainty",
    "aleatoric_uncertainty": "aleatoric uncertainty",
    "epistemic_uncertainty": "epistemic uncertainty",
    "negative_LPIPS": "negative LPIPS",
    "CLIP": "CLIP score",
}
Y_LABELS = layout.LABELS | {
    "lpips": "negative LPIPS",
    "clip_reference": "CLIP to reference",
    "clip_prompt": "CLIP to prompt",
}
"""Accuracy -> a label short enough for a small panel, where higher = better."""

METRICS = tuple(layout.LABELS)
"""The paper's four, and CLIP's other reading."""

LEAST_TASKS = 3
"""Tasks that a rank correlation needs."""

MOST_PANELS = 4
"""Accuracies that a figure shows side by side."""


POINT_COLUMNS = ["row", "panel", "task", "x", "y", "x_label", "y_label", "coverage", "left_out"]
"""Of a point: what the figures call its source and its panel, its task, and what is drawn."""

PARTS = {"aleatoric": "epistemic", "epistemic": "aleatoric"}
"""A part of the uncertainty -> the other."""


class NotShown(ValueError):
    """What an archive lacks for a figure, in a sentence, with which its notebook ends."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not shown: {self}."]


def summarize_run(archive: Archive, *, estimator: str) -> pd.DataFrame:
    """Return `summary.summarize`, with the truth where the archive has one, and what labels need.

    Further columns: coverage ("" where unknown), left_out (missing where unknown), row (what the
    figures call this run), unit, lpips_form, clip_form.
    """
    table = summarize(archive, estimator=estimator, truth=archive.truth() is not None)
    if "coverage" not in table:
        table = table.assign(coverage="", left_out=None)
    datasets = ", ".join(dict.fromkeys(table.dataset))
    bare, tasks = archive.tasks().reference.isna().sum(), len(archive.tasks())
    datasets += f", references of {tasks - bare} of {tasks} tasks" if bare else ""
    return table.assign(
        left_out=table.left_out.astype("Int64"),
        row=f"this run ({datasets}, {_size_of(archive)}, {ESTIMATORS[estimator].label})",
        unit=ESTIMATORS[estimator].unit,
        **forms(archive),
    )


def _size_of(archive: Archive) -> str:
    """Say how many latent prompts a task has and videos each; a range where that differs."""
    videos = pd.Series(archive.units)
    prompts, videos = videos.groupby(level=0).size(), videos[videos > 0]
    n, shown, m = (
        "–".join(map(str, sorted({counts.min(), counts.max()})))
        for counts in (prompts, videos.groupby(level=0).size(), videos)
    )
    unknown = " (not known)" if archive.latents(embeddings=False).prompt.isna().all() else ""
    some = f", {shown} of them" if shown != n else ""
    return f"{n} latent prompt{'' if n == '1' else 's'}{unknown}{some} × {m} videos"


def measured(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the tasks that can be ranked: those without identical samples.

    The value of such samples is set by a cap, or is no spread at all, and would rank as most
    certain. A warning names the tasks left out, and `row`, which the figures show, says how many;
    ValueError if none remains.
    """
    whole = summary.identical == ""
    refuse_unmeasured(list(summary.task), set(summary.task[~whole]))
    note = f"; {(~whole).sum()} of {len(summary)} tasks left out: identical samples"
    tasks = summary[whole].reset_index(drop=True)
    return tasks if whole.all() else tasks.assign(row=tasks.row + note)


def with_parts(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the tasks, as `measured`, that have all three terms; `NotShown` if none has."""
    tasks, term = with_main_term(summary)
    if term != "total":
        raise NotShown(
            f"the latent prompts of all {len(tasks)} tasks are unknown, so they have no "
            "aleatoric and no total uncertainty to draw; give latent_prompt in the manifest"
        )
    if tasks.epistemic.isna().any():
        raise NotShown(
            "a single video of each latent prompt has no epistemic uncertainty to draw; make two"
        )
    return tasks


def with_main_term(summary: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the tasks, as `measured`, that have a total uncertainty, and "total".

    Where none has, as latent prompts are not known: all of them, and "epistemic".
    """
    summary = measured(summary)
    tasks = summary[summary.total.notna()].reset_index(drop=True)
    return (summary, "epistemic") if tasks.empty else (tasks, "total")


def published(figure: int) -> pd.DataFrame:
    """Return the paper's own points of Figure 3, 4 or 5, as `points_of` returns a run's."""
    columns = ("figure", "panel", "x_quantity", "y_quantity", "index", "x", "y")
    table = pd.DataFrame(r for _, r in csv_files.read(PUBLISHED, "published points", columns))
    points = table[table.figure == f"Fig{figure}"]
    if points.empty:
        known = ", ".join(sorted(set(table.figure)))
        raise ValueError(f"no published points of Figure {figure}; there are: {known}")
    return _ordered(
        points.assign(
            row=PUBLISHED_ROW,
            task="published " + points["index"],
            x_label=points.x_quantity.replace(PUBLISHED_LABELS),
            y_label=points.y_quantity.replace(PUBLISHED_LABELS),
            coverage="",
            left_out=pd.NA,
        )
    )


def points_of(summary: pd.DataFrame, x: str, y: str, *, panel: str, x_label: str) -> pd.DataFrame:
    """Return the points of one panel: an accuracy of the tasks that have it, against a column.

    x is a column (higher = less certain), y an accuracy; LPIPS is negated, and labelled so, so that
    higher = better. Columns are `POINT_COLUMNS`, and x_spread, by which x varies, if `summary` has
    it.
    """
    table = summary.assign(panel=panel, x=summary[x], y=better_is_higher(summary, y))
    measured = summary.iloc[0]
    names = {"panel": _as_measured(panel, measured), "y_label": y_label(y, measured)}
    return _ordered(table[table.y.notna()].assign(x_label=x_label, **names))


def better_is_higher(summary: pd.DataFrame, accuracy: str) -> pd.Series:
    """Return an accuracy, negated if it is a distance; refuse an unknown one."""
    known = [*layout.HIGHER_IS_BETTER, *layout.ratings_of(summary)]
    if accuracy not in known:
        raise ValueError(f"unknown accuracy {accuracy!r}; known: {', '.join(known)}")
    return summary[accuracy] if layout.HIGHER_IS_BETTER.get(accuracy, True) else -summary[accuracy]


def ranked_tasks(
    summary: pd.DataFrame, *, ranking: Path | str = "", per_level: int = 2
) -> pd.DataFrame:
    """Return the tasks of Figure 3 with their rank by vagueness, 1 = least vague.

    Without a file, by the archive's own ranking (vagueness_rank) if it has one and no truth.
    Without either: tasks whose subject the video model saw often, `per_level` of each number of
    attributes left out, the categories taken in turn so that each occurs as often; ranked by
    true entropy, equal ones sharing their mean rank.

    `ranking` is a CSV file with columns task and rank, or an archive's ``ratings.csv``, whose ranks
    are averaged; absolute or relative to the repository. Returned are the chosen rows with `rank`,
    and of several raters rank_spread and raters. ValueError names what is wrong in the file,
    `NotShown` that there is neither a file nor a task known to be on a common subject.
    """
    if ranking:
        return _ranking_from_file(summary, path_of(ranking))
    common = summary[summary.coverage == "common"]
    if len(common):
        return _ranking_from_truth(common, list(dict.fromkeys(summary.category)), per_level)
    if "vagueness_rank" not in summary:
        raise NotShown(
            "no task is known to be on a common subject, and nobody ranked the prompts by "
            "vagueness; give `ranking`, a CSV of task and rank, as `squbed rate` makes it"
        )
    return summary[summary.vagueness_rank.notna()].assign(rank=summary.vagueness_rank)


def _ranking_from_truth(
    common: pd.DataFrame, categories: list[str], per_level: int
) -> pd.DataFrame:
    """Return `per_level` tasks of each number of attributes left out, ranked by true entropy."""
    # Each level begins two categories after the one before, where that ended if it gave two tasks.
    turn = (common.category.map(categories.index) - 2 * common.left_out) % len(categories)
    ordered = common.assign(turn=turn).sort_values(["left_out", "turn"])
    tasks = ordered.groupby("left_out").head(per_level)
    return tasks.assign(rank=tasks.true_entropy.rank())


def _ranking_from_file(summary: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the tasks that a CSV file of task and rank names, with their rank.

    Of people's answers, as ``squbed rate`` adds them, the rank is the mean over raters; rank_spread
    is its standard deviation between them, if they are several, and raters their number.
    """
    try:
        next(csv_files.stream(path, "ranking", ("rater", "question")), None)
    except (ValueError, OSError):
        rows = csv_files.read(path, "ranking", ("task", "rank"))
    else:
        answers = ranks_of(layout.read_ratings(path))
        several = {"rank_spread": answers.std(axis=1), "raters": answers.shape[1]}
        several = several if answers.shape[1] > 1 else {}
        ranks = pd.DataFrame({"rank": answers.mean(axis=1)} | several).reset_index()
        if len(ranks) < LEAST_TASKS:
            raise ValueError(
                f"ratings {path}: each of {answers.shape[1]} people ranked {len(ranks)} tasks of "
                f"the same; at least {LEAST_TASKS} are needed: give all the same page"
            )
        if unknown := [task for task in ranks.task if task not in set(summary.task)]:
            raise ValueError(
                f"ratings {path} rank the task {unknown[0]!r}, which is not shown here"
            )
        return summary.merge(ranks, on="task")
    tasks = list(summary.task)
    mistakes, first = [], {}
    for line, row in rows:
        if row["task"] not in tasks:
            known = f"unknown task {row['task']!r}{suggestion(row['task'], tasks)}"
            mistakes.append((line, f"{known}; the archive has {', '.join(tasks[:3])}, ..."))
        if first.setdefault(row["task"], line) != line:
            mistakes.append((line, f"task {row['task']} is already in line {first[row['task']]}"))
        if csv_files.number(row["rank"]) is None:
            said = repr(row["rank"]) if row["rank"] else "empty"
            mistakes.append((line, f"rank is {said}; expected a number, 1 = least vague"))
    csv_files.refuse(f"ranking {path}", mistakes)
    ranks = pd.DataFrame({"task": r["task"], "rank": float(r["rank"])} for _, r in rows)
    return summary.merge(ranks, on="task")


def metric_points(ranked: pd.DataFrame, *, metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Return Figure 3's points of this run: each accuracy against the rank by vagueness."""
    metrics = metrics or accuracies_of_figure(ranked, 3)
    form = ranked.lpips_form.iloc[0]
    panels = {m: label(m, lpips=form) if m == "lpips" else y_label(m, {}) for m in metrics}
    x_label = "rank by vagueness"
    if "raters" in ranked:
        x_label = f"mean rank of {ranked.raters.iloc[0]} raters ± sd"
        ranked = ranked.assign(x_spread=ranked.rank_spread)
    return pd.concat(
        [points_of(ranked, "rank", m, panel=name, x_label=x_label) for m, name in panels.items()]
    )


def total_points(
    summary: pd.DataFrame, *, accuracies: Sequence[str] = (), term: str = "total"
) -> pd.DataFrame:
    """Return Figure 4's points of this run: total uncertainty, or another, against accuracies."""
    accuracies = accuracies or accuracies_of_figure(summary, 4)
    x_label = f"{term} uncertainty ({summary.unit.iloc[0]})"
    names = {y: label(y, lpips=summary.lpips_form.iloc[0]) for y in accuracies}
    return pd.concat(
        [points_of(summary, term, y, panel=names[y], x_label=x_label) for y in accuracies]
    )


def part_points(summary: pd.DataFrame, *, accuracy: str, fraction: float) -> pd.DataFrame:
    """Return Figure 5's points of this run: each part where the other is least.

    The `fraction` of the tasks that is drawn, above 0, to 1, are those with the least of the other
    part. ValueError if it is out of range, or the estimator has no aleatoric component.
    """
    if summary.aleatoric.isna().all():
        raise ValueError(
            f"{summary.row.iloc[0]}: this estimator has no aleatoric component, which Figure 5 "
            "needs; choose another, such as squbed"
        )
    panels = []
    for part, other in PARTS.items():
        tasks = summary.nsmallest(kept_of(summary, fraction), other).sort_index()
        name = f"{part}, on the {len(tasks)} of {len(summary)} tasks with least {other}"
        x_label = f"{part} uncertainty ({summary.unit.iloc[0]})"
        panels.append(points_of(tasks, part, accuracy, panel=name, x_label=x_label))
    return pd.concat(panels)


def kept_of(summary: pd.DataFrame, fraction: float) -> int:
    """Return how many tasks a fraction keeps: the nearest whole number, at least three."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected above 0, to 1")
    return max(LEAST_TASKS, round(fraction * len(summary)))


def statistics_of(points: pd.DataFrame) -> pd.DataFrame:
    """Return Kendall's tau of each panel's points, with p, n and a bootstrap interval over tasks.

    Columns: row, panel, tau, pvalue, n, confidence, low, high (missing for fewer than eight tasks),
    ties (pairs tied in x or y), pearson, spearman. `NotShown` says why `calibration.kendall` finds
    no tau, and in which panel.
    """
    rows = []
    for (row, panel), shown in points.groupby(["row", "panel"], sort=False):
        rng = np.random.default_rng(seed_of("interval", panel))
        try:
            k = kendall(shown.x, shown.y, rng=rng)
        except ValueError as error:
            raise NotShown(f"panel {panel!r} has no tau: {error}") from error
        numbers = (k.tau, k.pvalue, k.n, CONFIDENCE, *k.interval, k.ties, k.pearson, k.spearman)
        rows.append((row, panel, *numbers))
    columns = ["row", "panel", "tau", "pvalue", "n", "confidence", "low", "high", "ties"]
    return pd.DataFrame(rows, columns=[*columns, "pearson", "spearman"])


def quoted(statistics: pd.DataFrame) -> str:
    """Return the lines to quote of `statistics_of`: tau, its interval and p of each panel."""
    lines = []
    for r in statistics.itertuples():
        ends = "" if np.isnan(r.low) else f" [{r.low:.2f}, {r.high:.2f}]"
        row = r.row.partition(" (")[0]
        lines.append(f"tau {r.tau:.2f}{ends}, p = {r.pvalue:.2g}, n = {r.n}: {r.panel}, {row}")
    return "\n".join(lines)


def subset_curves(summary: pd.DataFrame, *, accuracy: str, fraction: float) -> pd.DataFrame:
    """Return tau over the number of tasks in the subset, for both parts.

    Columns: panel, size, tau, pvalue, lo, hi (the band), shown (the size that `fraction` gives, as
    in `part_points`), confidence. ValueError, as `calibration.kendall`, names the subset's size.
    """
    n, shown = len(summary), kept_of(summary, fraction)
    sizes = sorted({*np.linspace(max(LEAST_TASKS, n // 10), n, 15).round().astype(int), shown})
    values = better_is_higher(summary, accuracy)
    rows = []
    for part, other in PARTS.items():
        rng = np.random.default_rng(seed_of("subsets", part))
        panel = f"{part}, on the tasks with least {other}"
        for size in sizes:
            tasks = summary.nsmallest(size, other)
            try:
                k = kendall(tasks[part], values[tasks.index], rng=rng)
            except ValueError as error:
                raise ValueError(f"the subset of size {size} has no tau: {error}") from error
            rows.append((size, k.tau, k.pvalue, *k.interval, panel))
    table = pd.DataFrame(rows, columns=["size", "tau", "pvalue", "lo", "hi", "panel"])
    return table.assign(shown=shown, confidence=CONFIDENCE)


def default_accuracy(table: pd.DataFrame) -> str:
    """Return the accuracy taken where none is named.

    CLIP to the reference, or CLIP to the prompt where more tasks have that, for want of references.
    """
    counts = table[["clip_reference", "clip_prompt"]].notna().sum()
    return counts.idxmax() if counts.any() else "clip_prompt"


def accuracies_there(table: pd.DataFrame, *, ranked: bool = False) -> list[str]:
    """Return the accuracies that some task has; with `ranked`, those that can rank the tasks."""
    names = [m for m in (*METRICS, *layout.ratings_of(table)) if m in table]
    if ranked:
        names = [m for m in names if table[m].count() >= LEAST_TASKS and table[m].nunique() > 1]
    return [m for m in names if table[m].notna().any()]


def accuracies_of_figure(table: pd.DataFrame, figure: int) -> list[str]:
    """Return the accuracies that Figure 3 or 4 shows of a run, four at most.

    Of Figure 3 the paper's four, of Figure 4 those that look at a video's meaning; of both the
    default one and people's ratings, which go before others. `NotShown` if none ranks the tasks.
    """
    papers = METRICS[:4] if figure == 3 else METRICS[3:]
    first = [default_accuracy(table), *layout.ratings_of(table)]
    there = accuracies_there(table, ranked=True)
    chosen = sorted({*papers, *first} & {*there}, key=there.index)
    if not chosen:
        raise NotShown(
            f"{len(table)} tasks have no accuracy that ranks them, which takes {LEAST_TASKS} "
            "tasks with different ones"
        )
    kept = sorted(chosen, key=lambda name: name not in first)[:MOST_PANELS]
    return [name for name in chosen if name in kept]


DIGITS = "%.5g"
"""How a table's numbers are written: with the digits that another machine reproduces."""


def save_tables(folder: Path | str, name: str, **tables: pd.DataFrame) -> None:
    """Write a figure's data as ``<folder>/data/<name>.csv`` and ``<name>_<key>.csv``.

    `points` has the plain name; any other table is named after its key.
    """
    for key, table in tables.items():
        ending = "" if key == "points" else f"_{key}"
        with replacing(Path(folder) / "data" / f"{name}{ending}.csv") as partial:
            plain = csv_files.for_spreadsheets(table)
            plain.to_csv(partial, index=False, float_format=DIGITS, lineterminator="\n")


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    columns = [*POINT_COLUMNS, *(["x_spread"] if "x_spread" in table else [])]
    return table[columns].astype({"left_out": "Int64", "x": float, "y": float})


LPIPS_FORMS = {
    "unlearned": "LPIPS (unlearned)",
    "alex": "LPIPS (learned, AlexNet)",
    "st-alex": "ST-LPIPS (AlexNet)",
}
"""A profile's ``lpips.kind`` -> what a figure calls it."""


def label(name: str, *, lpips: str) -> str:
    """Return what a figure calls an accuracy; LPIPS names its form, the profile's ``lpips.kind``.

    >>> label("lpips", lpips="unlearned")
    'LPIPS (unlearned)'
    """
    if name == "lpips":
        return LPIPS_FORMS[lpips]
    return layout.LABELS[name] if name in layout.LABELS else y_label(name, {})


def forms(archive: Archive) -> dict[str, str]:
    """Return lpips_form and clip_form, the kinds of model that an archive's LPIPS and CLIP are."""
    return {
        "lpips_form": archive.profile.get("lpips", {}).get("kind", ""),  # none without references
        "clip_form": archive.profile.get("clip", {}).get("kind", "open_clip"),
    }


def y_label(accuracy: str, measured: Mapping[str, str]) -> str:
    """Return an accuracy's label of `Y_LABELS`, or that of people's ratings.

    `measured` says by what, as `forms`, or as a row of `summarize_run`.

    >>> y_label("lpips", {"lpips_form": "st-alex"})
    'negative ST-LPIPS'
    >>> y_label("clip_prompt", {"clip_form": "imagenet"})
    'ImageNet labels to prompt'
    """
    if layout.RATING.fullmatch(accuracy):
        return f"people: {accuracy.removeprefix('rating_').replace('_', ' ')}"
    if accuracy not in Y_LABELS:
        raise ValueError(f"unknown accuracy {accuracy!r}; known: {', '.join(Y_LABELS)}")
    if accuracy == "lpips" and measured.get("lpips_form") == "st-alex":
        return "negative ST-LPIPS"
    return _as_measured(Y_LABELS[accuracy], measured)


def short_label(accuracy: str, summary: pd.DataFrame) -> str:
    """Return what an accuracy of these tasks is called beside a video, such as CLIP."""
    return y_label(accuracy, summary.iloc[0]).partition(" to ")[0]


def _as_measured(name: str, measured: Mapping[str, str]) -> str:
    """Return a label; ImageNet's labels that stand for CLIP are called so."""
    by_imagenet = measured.get("clip_form") == "imagenet"
    return name.replace("CLIP", "ImageNet labels") if by_imagenet else name
