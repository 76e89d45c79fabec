"""Tasks: prompts with a reference video, and readers of where they come from."""

import itertools
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from squbed_utils import csv_files, video
from squbed_utils.archive.layout import COVERAGES
from squbed_utils.csv_files import Line, Number, Whole
from squbed_utils.files import path_of
from squbed_utils.roles import World
from squbed_utils.tasks.task import Source, Task
from squbed_utils.world import render, scenes


class Row(Line):
    """A task of the shapes world: what an estimator may see, its truth, and its reference."""

    task: str
    dataset: str
    category: str
    prompt: str
    coverage: Literal[COVERAGES]
    subject: str
    clips: Whole
    left_out: Whole
    true_entropy: Number
    vagueness_rank: Whole
    reference_scene: str
    reference_seed: Whole


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
    """Read the task table of the shapes world: the tasks, and a row each of their truth."""
    rows = csv_files.read_as(Row, path, "task table")
    first = {row.task: row.line for row in reversed(rows)}
    twice = [
        (row.line, f"task {row.task} is already in line {first[row.task]}")
        for row in rows
        if row.line != first[row.task]
    ]
    csv_files.refuse(f"task table {path}", twice)
    tasks = [
        Task(row.task, row.dataset, row.category, row.prompt, f"references/{row.task}.mp4")
        for row in rows
    ]
    seen = {"line", "dataset", "category", "prompt"}
    return tasks, pd.DataFrame([row.model_dump(exclude=seen) for row in rows])


def select(
    tasks: list[Task], truth: pd.DataFrame, dataset: World
) -> tuple[list[Task], pd.DataFrame]:
    """Select the tasks that a profile names, or some of each cell (coverage, left_out).

    Each entry of the dataset narrows the choice; None keeps all. With `per_cell` k, cell number c
    gives k tasks from its c-th on, cyclically: so a small selection still has every category.
    """
    keep = pd.Series(True, index=truth.index)
    if dataset.tasks is not None:
        keep &= _chosen(truth.task, dataset.tasks, "task")
    if dataset.categories is not None:
        categories = pd.Series([task.category for task in tasks], index=truth.index)
        keep &= _chosen(categories, dataset.categories, "category")
    if dataset.per_cell is not None:
        keep &= truth.index.isin(_some_of_each_cell(truth[keep], dataset.per_cell))
    if not keep.any():
        raise ValueError(f"the dataset's choice of tasks leaves none of {len(tasks)}; widen it")
    return list(itertools.compress(tasks, keep)), truth[keep].reset_index(drop=True)


def _some_of_each_cell(truth: pd.DataFrame, per_cell: int) -> list[int]:
    """Return the index of the rows that `per_cell` selects."""
    rows = []
    level = truth.coverage.map(COVERAGES.index)
    for number, (_, cell) in enumerate(truth.groupby([level, truth.left_out])):
        turn = [(number + i) % len(cell) for i in range(min(per_cell, len(cell)))]
        rows += list(cell.index[turn])
    return rows


def _chosen(values: pd.Series, wanted: list, what: str) -> pd.Series:
    unknown = sorted(set(map(str, wanted)) - set(values))
    if unknown:
        known = ", ".join(sorted(set(values))[:10])
        raise ValueError(f"unknown {what} {unknown[0]!r} in the profile; there are: {known}, ...")
    return values.isin([str(w) for w in wanted])
