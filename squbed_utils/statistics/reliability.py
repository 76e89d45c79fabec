"""What accuracy to expect at an uncertainty, and whether that expectation can be relied on."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from sklearn.dummy import DummyRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from squbed_utils.estimators.checks import equal_vectors, finite_vector, require_generator
from squbed_utils.statistics.calibration import CONFIDENCE
from squbed_utils.statistics.tables import NotShown

LEAST_IN_BIN = 2
"""Tasks that a bin's interval needs."""


def expected_accuracy(uncertainty: ArrayLike, accuracy: ArrayLike, *, at: ArrayLike) -> np.ndarray:
    """Return the accuracy expected at each uncertainty: a falling step function, fitted to tasks.

    Isotonic regression: the non-increasing function with the least squared error (Barlow et al.
    1972), linear between the fitted tasks and constant outside them. All are float (n,), but `at`,
    (k,), where the function is read; it lies between the least and the greatest accuracy given.

    >>> expected_accuracy([1, 2, 3, 4], [0.9, 0.5, 0.7, 0.1], at=[1, 2, 3, 4]).round(6).tolist()
    [0.9, 0.6, 0.6, 0.1]
    """
    x, y = equal_vectors(uncertainty, accuracy)
    return _falling().fit(x, y).predict(finite_vector(at, "at"))


def cross_validated(
    uncertainty: ArrayLike, accuracy: ArrayLike, *, rng: np.random.Generator, folds: int = 5
) -> pd.DataFrame:
    """Return what `expected_accuracy` says of each task when fitted to the tasks of other folds.

    Parameters
    ----------
    uncertainty, accuracy : array_like of float, shape (n,)
    rng : numpy.random.Generator
        Deals the tasks into folds.
    folds : int
        2 to n.

    Returns
    -------
    DataFrame
        A row a task, in the order given: uncertainty, accuracy, expected (by the map), constant
        (the mean accuracy of the other folds), fold.
    """
    require_generator(rng)
    x, y = equal_vectors(uncertainty, accuracy)
    if x.size < 2:
        raise NotShown("there is one task; expected more, to fit on some and to judge by others")
    if not 2 <= folds <= x.size:
        raise ValueError(f"folds is {folds}; expected 2 to {x.size}, the number of tasks")
    fold = rng.permutation(np.arange(x.size) % folds)
    expected, constant = (
        cross_val_predict(model, x[:, None], y, cv=PredefinedSplit(fold))
        for model in (_falling(), DummyRegressor())
    )
    table = {"uncertainty": x, "accuracy": y, "expected": expected, "constant": constant}
    return pd.DataFrame(table | {"fold": fold})


def reliability(expected: ArrayLike, accuracy: ArrayLike, *, bins: int = 5) -> pd.DataFrame:
    """Return the reliability diagram: expected against found accuracy, in bins of equal count.

    Parameters
    ----------
    expected, accuracy : array_like of float, shape (n,)
        As `cross_validated`; expectations of tasks that the map was not fitted to.
    bins : int
        1 to n // 2: along the tasks sorted by what is expected.

    Returns
    -------
    DataFrame
        A row a bin: expected and found (means), low, high (t-interval of found), error (standard
        error of found - expected), count, confidence.
    """
    e, y = equal_vectors(expected, accuracy, ("expected", "accuracy"))
    if not 1 <= bins <= y.size // LEAST_IN_BIN:
        raise ValueError(
            f"bins is {bins}; expected 1 to {y.size // LEAST_IN_BIN} bins of {y.size} tasks"
        )
    rows = []
    for tasks in np.array_split(np.argsort(e, kind="stable"), bins):
        root = np.sqrt(tasks.size)
        mean, spread = y[tasks].mean(), y[tasks].std(ddof=1)
        half = student_t.ppf((1 + CONFIDENCE) / 2, tasks.size - 1) * spread / root
        error = (y[tasks] - e[tasks]).std(ddof=1) / root
        rows.append((e[tasks].mean(), mean, mean - half, mean + half, error, tasks.size))
    columns = ["expected", "found", "low", "high", "error", "count"]
    return pd.DataFrame(rows, columns=columns).assign(confidence=CONFIDENCE)


def trends(points: pd.DataFrame) -> pd.DataFrame:
    """Return the trend of every cloud of points: means in bins of equal count, with intervals.

    `points` are as `tables.points_of`. A bin holds ten tasks at least, a panel has at most ten
    bins, and one that is not enough for three has no trend. The table has row, panel, x, y, low and
    high, as `figures.figure_panels` takes it.
    """
    found = []
    for (row, panel), shown in points.groupby(["row", "panel"], sort=False):
        bins = min(10, len(shown) // 10)
        if bins >= 3:
            table = reliability(shown.x, shown.y, bins=bins)
            found.append(table.assign(row=row, panel=panel, x=table.expected, y=table.found))
    columns = ["row", "panel", "x", "y", "low", "high"]
    return pd.concat(found)[columns] if found else pd.DataFrame(columns=columns)


def calibration_errors(table: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, float]:
    """Return how far the expectations are off, and how much better they are than a constant.

    The expected calibration error is the mean of |found - expected| over bins, weighed by their
    counts (Naeini et al. 2015), in the accuracy's unit: not a probability. It is not 0 for a
    perfect map, as bins hold few tasks: "noise" is what it would then be, the mean of
    sqrt(2/pi) times the bins' standard errors. And a constant has a small one too; so "skill",
    1 - (squared error of the map) / (squared error of the constant), says whether the
    uncertainty adds anything: 1 = all is explained, 0 or less = nothing.

    `table` is as `reliability`, `predictions` as `cross_validated`; ece and noise are in the
    accuracy's unit. `NotShown` if all accuracies are equal, so that there is nothing to explain.
    """
    weight = table["count"] / table["count"].sum()
    by_map, by_constant = (
        ((predictions.accuracy - predictions[model]) ** 2).sum()
        for model in ("expected", "constant")
    )
    if not by_constant > 0:
        raise NotShown("accuracy is equal for all tasks; an expectation has nothing to explain")
    return {
        "ece": float((weight * (table.found - table.expected).abs()).sum()),
        "noise": float((weight * table.error).sum() * np.sqrt(2 / np.pi)),
        "skill": float(1 - by_map / by_constant),
    }


def _falling() -> IsotonicRegression:
    return IsotonicRegression(increasing=False, out_of_bounds="clip")
