"""Tasks: prompts with a reference video, and readers of where they come from."""

from pathlib import Path

import numpy as np
import pandas as pd

from squbed_utils import csv_files, video
from squbed_utils.archive.layout import COVERAGES
from squbed_utils.files import path_of
from squbed_utils.roles import World
from squbed_utils.tasks.task import Source, Task
from squbed_utils.world import render, scenes

TASK_COLUMNS = ("task", "dataset", "category", "prompt")
REFERENCE_COLUMNS = ("reference_scene", "reference_seed")
TRUTH_COLUMNS = ("coverage", "subject", "clips", "left_out", "true_entropy", "vagueness_rank")


def read(dataset: World) -> Source:
    """Read the tasks of the shapes world that a profile asks for, and their truth."""
    tasks, truth = select(*read_world(path_of(dataset.path)), dataset)
    rows = {row.task: row for row in truth.itertuples()}

    def write_reference(task: Task, path: Path) -> None:
        scene = scenes.parse(rows[task.id].reference_scene)
        rng = np.random.default_rng(rows[task.id].reference_seed)
        video.write(path, render.render(scene, rng), render.FPS)

    return Source(tasks, truth, None, write_reference)


def read_world(path: Path | str) -> tuple[list[Task], pd.DataFrame]:
    """Read the task table of the shapes world, a CSV file with a row a task.

    The tasks are what an estimator may see. The truth has the columns task, coverage (common, rare,
    never), subject, clips (of it that the video model was shown), left_out (0 to 4), true_entropy
    (nats), vagueness_rank, and the reference's content (reference_scene, reference_seed).
    """
    table = _read_csv(Path(path))
    tasks = [
        Task(row.task, row.dataset, row.category, row.prompt, f"references/{row.task}.mp4")
        for row in table.itertuples()
    ]
    return tasks, table[["task", *TRUTH_COLUMNS, *REFERENCE_COLUMNS]]


def select(
    tasks: list[Task], truth: pd.DataFrame, dataset: World
) -> tuple[list[Task], pd.DataFrame]:
    """Select the tasks that a profile names, or some of each cell (coverage, left_out).

    `tasks` (ids), `categories` and `per_cell` of the dataset each narrow the choice; None keeps
    all, and the order is the table's. With `per_cell` k, cell number c (coverage by coverage,
    left_out increasing) gives k tasks from its c-th on, cyclically: so a small selection still has
    every category. An unknown id or category, and an empty choice, raise ValueError.
    """
    keep = pd.Series(True, index=truth.index)
    if dataset.tasks is not None:
        keep &= _chosen(truth.task, dataset.tasks, "task")
    if dataset.categories is not None:
        of = pd.Series([task.category for task in tasks], index=truth.index)
        keep &= _chosen(of, dataset.categories, "category")
    if dataset.per_cell is not None:
        keep &= truth.index.isin(_some_of_each_cell(truth[keep], dataset.per_cell))
    if not keep.any():
        raise ValueError(f"the dataset's choice of tasks leaves none of {len(tasks)}; widen it")
    kept = [task for task, k in zip(tasks, keep, strict=True) if k]
    return kept, truth[keep].reset_index(drop=True)


def _some_of_each_cell(truth: pd.DataFrame, per_cell: int) -> list[int]:
    """Return the index of the rows that `per_cell` selects."""
    kept = []
    level = truth.coverage.map(COVERAGES.index)
    for number, (_, cell) in enumerate(truth.groupby([level, truth.left_out])):
        turn = [(number + i) % len(cell) for i in range(min(per_cell, len(cell)))]
        kept += list(cell.index[turn])
    return kept


def _chosen(values: pd.Series, wanted: list, what: str) -> pd.Series:
    unknown = sorted(set(map(str, wanted)) - set(values))
    if unknown:
        known = ", ".join(sorted(set(values))[:10])
        raise ValueError(f"unknown {what} {unknown[0]!r} in the profile; there are: {known}, ...")
    return values.isin([str(w) for w in wanted])


def _read_csv(path: Path) -> pd.DataFrame:
    columns = (*TASK_COLUMNS, *REFERENCE_COLUMNS, *TRUTH_COLUMNS)
    kinds = dict.fromkeys(("clips", "left_out", "vagueness_rank", "reference_seed"), int)
    kinds["true_entropy"] = float
    rows, mistakes, first = csv_files.read(path, "task table", columns), [], {}
    for line, row in rows:
        if first.setdefault(row["task"], line) != line:
            mistakes.append((line, f"task {row['task']} is already in line {first[row['task']]}"))
        if row["coverage"] not in COVERAGES:
            known = ", ".join(COVERAGES)
            mistakes.append((line, f"coverage is {row['coverage']!r}; known: {known}"))
        for name, kind in kinds.items():
            whole = row[name].isascii() and row[name].isdigit()
            if not (whole if kind is int else csv_files.number(row[name]) is not None):
                expected = "a whole number from 0" if kind is int else "a number"
                mistakes.append((line, f"{name} is {row[name]!r}; expected {expected}"))
    csv_files.refuse(f"task table {path}", mistakes)
    return pd.DataFrame([row for _, row in rows]).astype(kinds)
