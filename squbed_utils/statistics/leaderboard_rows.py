"""Scores and accuracies of the same tasks, lined up."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.statistics.summary import task_accuracies
from squbed_utils.statistics.tables import (
    LEAST_TASKS,
    accuracies_there,
    better_is_higher,
    default_accuracy,
)

ITSELF = {"clip_prompt": "alignment"}
"""Accuracy -> the control that is nothing but that accuracy, negated."""


@dataclass(frozen=True)
class Rows:
    """Scores of the same tasks, a row for each estimator and component.

    Attributes
    ----------
    labels : DataFrame
        estimator, component; k rows.
    scores : ndarray, shape (k, n)
        Higher = less certain.
    accuracy : Series of float, length n
        By task; higher = better. Named after the metric.

    """

    labels: pd.DataFrame
    scores: np.ndarray
    accuracy: pd.Series


def mean_accuracy(archive: Archive, metric: str = "") -> pd.Series:
    """Return each task's mean accuracy over its videos.

    Parameters
    ----------
    archive : Archive
        A finished one.
    metric : str
        An accuracy; LPIPS is negated. Empty: CLIP to the reference, or where no task has a
        reference CLIP to the prompt.

    Returns
    -------
    Series
        By task, named after the metric; higher = better. Tasks without it are left out.

    Raises
    ------
    ValueError
        If the metric is unknown or no task has it.
    """
    means = task_accuracies(archive).set_index("task")
    metric = metric or default_accuracy(means)
    found = better_is_higher(means, metric).dropna().rename(metric)
    if found.empty:
        raise ValueError(
            f"no task of {archive.folder} has the accuracy {metric!r}, which needs reference "
            f"videos; there is: {accuracies_there(means)}"
        )
    return found


def rows_of(scores: pd.DataFrame, accuracy: pd.Series) -> Rows:
    """Line up scores and accuracies.

    Missing data: tasks without an accuracy are left out of every row, and a row that does not
    have every other task, is constant, or is the accuracy itself, is left out; each is warned of.

    Parameters
    ----------
    scores : DataFrame
        As `scores.score_tasks`.
    accuracy : Series
        As `mean_accuracy`.

    Returns
    -------
    Rows

    Raises
    ------
    ValueError
        If fewer than three tasks are left, all have one accuracy, a score is not finite, or no
        row is left.

    Warns
    -----
    UserWarning
        Naming what is left out.
    """
    tasks = [task for task in scores.task.drop_duplicates() if task in accuracy.index]
    accuracy = accuracy[tasks]
    _refuse_few(accuracy)
    _warn(set(scores.task) - set(tasks), f"tasks left out for want of {accuracy.name}")
    _refuse_not_finite(scores)
    itself = scores.estimator == ITSELF.get(accuracy.name)
    _warn(set(scores.estimator[itself]), f"rows left out: they are {accuracy.name} itself")
    scores = scores[~itself]
    keys = ["estimator", "component"]
    order = scores[keys].drop_duplicates()
    wide = scores.pivot(index=keys, columns="task", values="value").reindex(columns=tasks)
    wide = wide.loc[pd.MultiIndex.from_frame(order)]
    incomplete = wide.isna().any(axis=1)
    constant = ~incomplete & (wide.max(axis=1) == wide.min(axis=1))
    _warn(_names(wide[incomplete]), "rows left out: they lack tasks that others have")
    _warn(_names(wide[constant]), "rows left out: they are the same for every task")
    kept = wide[~incomplete & ~constant]
    if kept.empty:
        raise ValueError("no estimator has different values for the tasks; nothing to compare")
    return Rows(kept.index.to_frame(index=False), kept.to_numpy(), accuracy)


def _refuse_few(accuracy: pd.Series) -> None:
    if len(accuracy) < LEAST_TASKS:
        raise ValueError(
            f"{len(accuracy)} tasks have scores and {accuracy.name}; a rank correlation needs at "
            f"least {LEAST_TASKS}"
        )
    if accuracy.min() == accuracy.max():
        raise ValueError(
            f"{accuracy.name} is {accuracy.iloc[0]:g} for all {len(accuracy)} tasks; choose an "
            "accuracy that differs between them"
        )


def _refuse_not_finite(scores: pd.DataFrame) -> None:
    bad = scores[~np.isfinite(scores.value)]
    if not bad.empty:
        first = bad.iloc[0]
        raise ValueError(
            f"{first.estimator}'s {first.component} of task {first.task!r} is {first.value} "
            f"({len(bad)} scores are not finite); mend the estimator or leave it out"
        )


def _warn(names: set[str], what: str) -> None:
    if names:
        warnings.warn(f"{len(names)} {what}: {', '.join(sorted(names))}", UserWarning, stacklevel=3)


def _names(wide: pd.DataFrame) -> set[str]:
    return {f"{estimator} {component}" for estimator, component in wide.index}
