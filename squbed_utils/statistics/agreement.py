"""Whether people agree: W of ranks, Krippendorff's alpha of grades, Bradley-Terry of pairs.

Answers are those of ``Archive.ratings``; a table of values has a row a unit and a column a rater.
"""

import math

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from squbed_utils.archive.layout import VAGUENESS
from squbed_utils.statistics.calibration import bootstrap_interval
from squbed_utils.statistics.resampling import FEWEST_TASKS, task_counts, widened

RESAMPLES, FEWEST_RANKED = 1000, 3

RELIABLE = 0.9
"""The reliability of a mean over raters that is asked for."""

UNIT = ["task", "video", "other"]


def kendall_w(ranks: np.ndarray) -> float:
    """Return Kendall's coefficient of concordance of ranks (tasks, raters), corrected for ties.

    From 0 to 1: the squared deviations of the raters' summed ranks, over their greatest value
    (Kendall and Babington Smith 1939); NaN if every rater ties all.

    >>> kendall_w(np.array([[1, 1], [2, 3], [3, 2]]))
    0.75
    """
    deviations = rankdata(ranks, axis=0) - (len(ranks) + 1) / 2
    greatest = ranks.shape[1] * (deviations**2).sum()
    return float((deviations.sum(axis=1) ** 2).sum() / greatest) if greatest else math.nan


def krippendorff_alpha(values: np.ndarray) -> float:
    """Return Krippendorff's alpha of ordinal values (units, raters); NaN where a rater gave none.

    1 - observed / expected disagreement, 1 for equal answers and 0 for chance (Krippendorff 2011,
    "Computing Krippendorff's alpha-reliability"). Units with one value count for nothing; NaN if
    all values are equal.

    >>> round(krippendorff_alpha(np.array([[1, 1], [2, 2], [3, 3], [1, 2]])), 3)
    0.79
    """
    levels = np.unique(values[~np.isnan(values)])
    counts = (values[:, :, None] == levels).sum(axis=1)  # (units, levels)
    counts = counts[counts.sum(axis=1) > 1]
    weights = 1 / (counts.sum(axis=1) - 1)
    pairs = np.einsum("u,ua,ub->ab", weights, counts, counts)  # coincidences of two values
    pairs -= np.diag(weights @ counts)
    of_level = pairs.sum(axis=0)
    places = np.cumsum(of_level) - of_level / 2  # mean rank of a level
    distance = np.subtract.outer(places, places) ** 2
    chance = np.outer(of_level, of_level) - np.diag(of_level)
    expected = (chance * distance).sum() / max(of_level.sum() - 1, 1)
    return float(1 - (pairs * distance).sum() / expected) if expected else math.nan


def bradley_terry(ratings: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return each task's strength in the pairs of one question, the strongest first.

    P(i better than j) = 1 / (1 + exp(s_j - s_i)) (Bradley and Terry 1952), a tie being half a win
    of either, at the maximum of the likelihood times a standard normal prior of each strength, so
    that a task that won all is finite. Columns task, strength, low, high, pairs; intervals of 95 %
    over resampled pairs, with all raters of each.
    """
    from sklearn.linear_model import LogisticRegression

    first, second = ratings.task.to_numpy(str), ratings.other.str.split("/").str[1].to_numpy(str)
    tasks = np.union1d(first, second)
    signs = (first[:, None] == tasks) * 1.0 - (second[:, None] == tasks)
    won, design = ratings.value.to_numpy(float), np.concatenate([signs, signs])
    outcome, model = np.repeat([1, 0], len(won)), LogisticRegression(fit_intercept=False)
    units = (ratings.video + " " + ratings.other).to_numpy()

    def strengths(counts: np.ndarray) -> np.ndarray:
        weights = np.concatenate([counts * won, counts * (1 - won)])
        return model.fit(design, outcome, sample_weight=weights).coef_[0]

    drawn = [strengths(counts) for counts in task_counts(len(won), RESAMPLES // 2, rng, units)]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    found = {"task": tasks, "strength": strengths(np.ones(len(won))), "low": low, "high": high}
    table = pd.DataFrame(found | {"pairs": np.abs(signs).sum(axis=0).astype(int)})
    return table.sort_values("strength", ascending=False, ignore_index=True)


def ranks_of(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return the ranks that people gave, a row a task and a column a rater.

    Tasks that some rater did not rank are left out, and the others ranked again.
    """
    asked = ratings[ratings.question == VAGUENESS]
    return asked.pivot(index="task", columns="rater", values="value").dropna().rank()


def agreement(ratings: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return how far raters agree, a row a question.

    Returns
    -------
    DataFrame
        question, statistic (its name), value, low, high (95 % over resampled tasks; missing for
        fewer than eight), units (ranked, graded or compared), raters, reliability of the mean over
        raters (Spearman-Brown, of the mean rank correlation of two raters or of alpha) and needed
        (raters for a reliability of 0.9). Missing where there is one rater or nothing to tell.
    """
    rows = []
    for question, asked in ratings.groupby("question", sort=False):
        ranked = question == VAGUENESS
        table = ranks_of(asked) if ranked else asked.pivot(index=UNIT, columns="rater")["value"]
        values, clusters = table.to_numpy(float), table.index.get_level_values("task").to_numpy()
        statistic, raters = kendall_w if ranked else krippendorff_alpha, values.shape[1]
        row = {"question": question, "units": len(values), "raters": raters}
        row |= {"statistic": "Kendall's W" if ranked else "Krippendorff's alpha"}
        enough = raters > 1 and len(values) >= FEWEST_RANKED
        if enough and math.isfinite(value := statistic(values)):
            row["value"] = value
            if len(set(clusters)) >= FEWEST_TASKS:
                counts = task_counts(len(values), RESAMPLES, rng, clusters).astype(int)
                drawn = [statistic(np.repeat(values, times, axis=0)) for times in counts]
                ends = bootstrap_interval(widened(np.array(drawn), value, clusters))
                row["low"], row["high"] = np.clip(ends, 0 if ranked else -np.inf, 1)
            single = max(0.0, (raters * value - 1) / (raters - 1) if ranked else value)
            row["reliability"] = raters * single / (1 + (raters - 1) * single)
            odds = RELIABLE / (1 - RELIABLE)
            row["needed"] = max(1, math.ceil(odds * (1 - single) / single)) if single else math.inf
        rows.append(row)
    columns = ["question", "statistic", "value", "low", "high", "units", "raters"]
    return pd.DataFrame(rows, columns=[*columns, "reliability", "needed"])
