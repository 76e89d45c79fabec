"""Every estimator and component on the same tasks: how well each ranks them by accuracy.

All rows share one set of bootstrap resamples of tasks and one set of permutations, so that
differences are paired and no row depends on which others there are, but for Holm's correction.

The null band is the middle share of Kendall's tau where other tasks' references are dealt to the
tasks: the tau that any reference would give, as videos that scatter lie, on average, further from
all of them. It need not lie around zero. Without the similarity of every task's videos to every
reference, the accuracies are dealt instead, and the band shows chance alone.
"""

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, rankdata

from squbed_utils.archive.archive import Archive
from squbed_utils.files import replacing, seed_of
from squbed_utils.statistics import resampling, tables
from squbed_utils.statistics.calibration import (
    CONFIDENCE,
    aurc,
    auroc,
    bootstrap_interval,
    bootstrap_pvalue,
    holm,
    prediction_rejection_ratio,
    rejection_curve,
)
from squbed_utils.statistics.summary import TERMS, sources, task_accuracies
from squbed_utils.text import interval, number

ITSELF = {"clip_prompt": "alignment"}
"""Accuracy -> the control that is nothing but that accuracy, negated."""


@dataclass(frozen=True)
class Rows:
    """Scores (k, n) of n tasks, higher = less certain; `labels` has their estimator and component.

    `accuracy` (n,) is by task and named after the metric; higher = better.
    """

    labels: pd.DataFrame
    scores: np.ndarray
    accuracy: pd.Series


def mean_accuracy(archive: Archive, metric: str = "") -> pd.Series:
    """Return each task's mean accuracy over its videos, by task and named after the metric.

    LPIPS is negated, so that higher = better; an empty metric is `tables.default_accuracy`. Tasks
    without it are left out. ValueError if it is unknown or no task has it.
    """
    means = task_accuracies(archive).set_index("task")
    metric = metric or tables.default_accuracy(means)
    found = tables.better_is_higher(means, metric).dropna().rename(metric)
    if found.empty:
        raise ValueError(
            f"no task of {archive.folder} has the accuracy {metric!r}, which needs reference "
            f"videos; there is: {', '.join(tables.accuracies_there(means)) or 'none'}"
        )
    found.attrs["label"] = tables.y_label(metric, tables.forms(archive))
    return found


def rows_of(scores: pd.DataFrame, accuracy: pd.Series) -> Rows:
    """Line up scores, as `summary.score_tasks`, and accuracies, as `mean_accuracy`.

    Missing data: tasks without an accuracy are left out of every row, and a row that does not have
    every other task, is constant, or is the accuracy itself, is left out; a warning names each.
    `NotShown` if fewer than three tasks remain, all have one accuracy, or no row is left.
    """
    tasks = [task for task in scores.task.drop_duplicates() if task in accuracy.index]
    accuracy = accuracy[tasks]
    if len(accuracy) < tables.LEAST_TASKS:
        raise tables.NotShown(
            f"{len(accuracy)} tasks have scores and {accuracy.name}; a rank correlation needs at "
            f"least {tables.LEAST_TASKS}"
        )
    if accuracy.min() == accuracy.max():
        raise tables.NotShown(
            f"{accuracy.name} is {accuracy.iloc[0]:g} for all {len(accuracy)} tasks; choose an "
            "accuracy that differs between them"
        )
    _warn(set(scores.task) - set(tasks), f"tasks left out for want of {accuracy.name}")
    itself = scores.estimator == ITSELF.get(accuracy.name)
    _warn(set(scores.estimator[itself]), f"rows left out: they are {accuracy.name} itself")
    scores = scores[~itself]
    keys = ["estimator", "component"]
    order = scores[keys].drop_duplicates()
    wide = scores.pivot(index=keys, columns="task", values="value").reindex(columns=tasks)
    wide = wide.loc[pd.MultiIndex.from_frame(order)]
    incomplete = wide.isna().any(axis=1)
    constant = ~incomplete & (wide.max(axis=1) == wide.min(axis=1))
    _warn(wide[incomplete].index.map(" ".join), "rows left out: they lack tasks that others have")
    _warn(wide[constant].index.map(" ".join), "rows left out: they are the same for every task")
    kept = wide[~incomplete & ~constant]
    if kept.empty:
        raise tables.NotShown("no estimator has different values for the tasks; nothing to compare")
    # Twelve digits of a row's greatest: beyond them equal values differ by rounding.
    greatest = kept.abs().max(axis=1).to_numpy()[:, None]
    values = (kept.to_numpy() / greatest).round(12) * greatest
    return Rows(kept.index.to_frame(index=False), values, accuracy)


def _warn(names: Collection[str], what: str) -> None:
    if len(names):
        warnings.warn(f"{len(names)} {what}: {', '.join(sorted(names))}", UserWarning, stacklevel=3)


BASELINE = "squbed"
"""What every other estimator is compared with, component by component."""

RESAMPLES_A_ROW = 100
"""Resamples for each row, at least: a bootstrap p-value cannot be less than 2 / (resamples + 1),
which Holm's correction multiplies by the number of rows."""

INTERVALS = ["low", "high"]
INTERVALS += [
    f"{compared}_{column}"
    for compared in ("difference", "over_aleatoric")
    for column in ("low", "high", "pvalue", "holm")
]


def compare(
    rows: Rows, *, similarity: np.ndarray | None = None, threshold: float | None = None
) -> pd.DataFrame:
    """Return the leaderboard: how well each row ranks the tasks by accuracy.

    Parameters
    ----------
    rows : Rows
    similarity : ndarray, shape (n, n), optional
        As `summary.reference_similarity`, where the accuracy is CLIP to the reference: the null
        band then deals references to tasks, and else accuracies.
    threshold : float, optional
        Of accuracy, for the AUROC; by default the median over tasks.

    Returns
    -------
    DataFrame
        estimator, component; tau (negative = calibrated), low, high (bootstrap interval over
        tasks), pvalue, holm (corrected over all rows), null_low, null_high (the null band),
        permuted ("references" or "accuracies", for the null band); identical (the first row that
        orders the tasks in the same way, else empty: such rows count as one in every correction);
        difference (tau less that of S-QUBED's same component; negative = better than S-QUBED) and
        over_aleatoric (on rows of totals: tau less that of the estimator's own aleatoric
        component; negative = the sum helps), missing without such a component, each with _low,
        _high, _pvalue and _holm (corrected over all differences); auroc, prr (prediction-rejection
        ratio; higher = better), aurc (lower = better); accuracy (the metric), threshold, n,
        confidence, baseline (S-QUBED's name). With fewer than 8 tasks the intervals, and all
        columns of differences but their size, are missing: so few tasks say nothing of others.

    Raises
    ------
    ValueError
        If no task is below the threshold or none above it.
    """
    y = rows.accuracy.to_numpy()
    if threshold is None:
        median = float(np.median(y))
        # Where no value is below the median: the least that has one below it.
        threshold = median if y.min() < median else float(y[y > median].min())
    tests = [kendalltau(x, y) for x in rows.scores]
    tau = np.array([test.statistic for test in tests])
    pvalue = np.array([test.pvalue for test in tests])
    counts = resampling.task_counts(y.size, resamples_for(rows), _rng("resamples"))
    plain = resampling.weighted_taus(rows.scores, y, counts)
    dealt = resampling.permuted_taus if similarity is None else resampling.rereferenced_taus
    what = y if similarity is None else similarity
    null = dealt(rows.scores, what, resampling.N_PERMUTATIONS, _rng("permutations"))
    first = first_alike(rankdata(rows.scores, axis=1))
    table = rows.labels.assign(tau=tau)
    table[["low", "high"]] = [*map(bootstrap_interval, resampling.drawn_in(plain, rows.scores, y))]
    table = table.assign(pvalue=pvalue, holm=holm_of_distinct(pvalue, first))
    table[["null_low", "null_high"]] = [*map(bootstrap_interval, null)]
    table["permuted"] = "accuracies" if similarity is None else "references"
    names = rows.labels.estimator + " " + rows.labels.component
    table["identical"] = np.where(first == table.index, "", names.to_numpy()[first])
    places = {(row.estimator, row.component): row.Index for row in rows.labels.itertuples()}
    own = {
        place: places[estimator, "aleatoric"]
        for (estimator, component), place in places.items()
        if component == "total" and (estimator, "aleatoric") in places
    }
    for name, bases in (("difference", counterparts(rows.labels)), ("over_aleatoric", own)):
        table = table.join(paired(bases, tau, plain, first, name=name))
    table["auroc"] = [auroc(x, y, threshold=threshold) for x in rows.scores]
    table["prr"] = [prediction_rejection_ratio(x, y) for x in rows.scores]
    table["aurc"] = [aurc(x, y) for x in rows.scores]
    if y.size < resampling.FEWEST_TASKS:
        table[INTERVALS] = np.nan
    shared = {"accuracy": rows.accuracy.name, "threshold": threshold, "n": y.size}
    table.attrs |= rows.accuracy.attrs
    return table.assign(**shared, confidence=CONFIDENCE, baseline=BASELINE)


def _rng(purpose: str) -> np.random.Generator:
    return np.random.default_rng(seed_of("leaderboard", purpose))


def resamples_for(rows: Rows) -> int:
    """Return how many resamples leave Holm's correction over all rows room below 5 %."""
    return max(resampling.N_RESAMPLES, RESAMPLES_A_ROW * len(rows.scores))


def counterparts(labels: pd.DataFrame) -> dict[int, int]:
    """Return the row of S-QUBED's same component for each row of another estimator that has one."""
    base_of = {row.component: row.Index for row in labels.itertuples() if row.estimator == BASELINE}
    others = labels[(labels.estimator != BASELINE) & labels.component.isin(list(base_of))]
    return {row.Index: base_of[row.component] for row in others.itertuples()}


def paired(
    bases: dict[int, int],
    values: np.ndarray,
    replicates: np.ndarray,
    first: np.ndarray,
    *,
    name: str,
) -> pd.DataFrame:
    """Compare rows with others on the same resamples; the columns begin with `name`.

    `bases` has each row's other; `values` (k,) are compared, `replicates` (k, n_resamples) are the
    values in each resample, not drawn in, and `first` is as `first_alike`. A row that is alike its
    other does not differ: p is 1, and Holm's correction does not count it.
    """
    columns = [name, *(f"{name}_{part}" for part in ("low", "high", "pvalue"))]
    table = pd.DataFrame(np.nan, index=range(len(values)), columns=[*columns, f"{name}_holm"])
    for row, base in bases.items():
        gaps = replicates[row] - replicates[base]
        ends = bootstrap_interval(gaps)
        table.loc[row, columns] = values[row] - values[base], *ends, bootstrap_pvalue(gaps)
    alike = [row for row, base in bases.items() if first[row] == first[base]]
    tested = [row for row in bases if row not in alike]
    table.loc[alike, f"{name}_holm"] = 1.0
    if tested:
        pairs = first_alike(np.array([[first[row], first[bases[row]]] for row in tested]))
        corrected = holm_of_distinct(table[f"{name}_pvalue"][tested].to_numpy(), pairs)
        table.loc[tested, f"{name}_holm"] = corrected
    return table


def first_alike(rows: np.ndarray) -> np.ndarray:
    """Return int (k,): for each of k rows (k, n), the first that is equal to it to nine digits.

    >>> first_alike(np.array([[1.0, 2.0], [2.0, 2.0], [1.0, 2.0]])).tolist()
    [0, 1, 0]
    """
    _, first, group = np.unique(np.round(rows, 9), axis=0, return_index=True, return_inverse=True)
    return first[group.ravel()]


def holm_of_distinct(pvalues: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return p-values (k,) with Holm's correction over distinct rows, `first` as `first_alike`.

    >>> holm_of_distinct(np.array([0.01, 0.01, 0.04]), np.array([0, 0, 2])).tolist()
    [0.02, 0.02, 0.04]
    """
    distinct, place = np.unique(first, return_inverse=True)
    return holm(pvalues[distinct])[place]


def rejection_curves(rows: Rows) -> pd.DataFrame:
    """Return the mean accuracy of the remaining tasks as the least certain are rejected.

    Columns: estimator, component, rejected (share of tasks), kept_accuracy, prr, accuracy (the
    metric), baseline; for each component also the rows "oracle" (rejects the least accurate first)
    and "chance".
    """
    y = rows.accuracy.to_numpy()
    curves = [
        (label.estimator, label.component, rejection_curve(x, y), prediction_rejection_ratio(x, y))
        for label, x in zip(rows.labels.itertuples(), rows.scores, strict=True)
    ]
    for component in dict.fromkeys(rows.labels.component):
        curves.append(("oracle", component, rejection_curve(-y, y), 1.0))
        curves.append(("chance", component, np.full(y.size, y.mean()), 0.0))
    columns = ["estimator", "component", "kept_accuracy", "prr"]
    table = pd.DataFrame(curves, columns=columns)
    rejected = 1 - np.arange(1, y.size + 1) / y.size
    table.insert(2, "rejected", [rejected] * len(table))
    table = table.explode(["rejected", "kept_accuracy"], ignore_index=True)
    table = table.astype({"rejected": float, "kept_accuracy": float})
    table.attrs |= rows.accuracy.attrs
    return table.assign(accuracy=rows.accuracy.name, baseline=BASELINE)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of this module or of `truth.against_truth` with names in place of keys."""
    names = sources().label.to_dict()
    keys = [column for column in ("estimator", "baseline") if column in table]
    table = table.assign(**{key: table[key].map(lambda k: names.get(k, k)) for key in keys})
    return table.assign(accuracy=table.attrs["label"]) if "label" in table.attrs else table


def verdict(table: pd.DataFrame) -> str:
    """Say in a line for each component whether S-QUBED is beaten, by what and by how much.

    `table` is as `compare` returns it. A row beats S-QUBED where its tau is lower; the interval and
    Holm's correction say whether that would hold on other tasks.
    """
    components = [term for term in TERMS if term in set(table.component)]
    lines = [_verdict_on(table[table.component == term], term) for term in components]
    sums = table[table.identical == ""].dropna(subset="over_aleatoric_holm")
    return "\n".join([*lines, *([_verdict_on_sums(sums)] if len(sums) else [])])


def truth_verdict(scores: pd.DataFrame) -> str:
    """Say whether S-QUBED is beaten in telling the two uncertainties apart.

    `scores` is the second table of `truth.against_truth`.
    """
    own = scores[scores.estimator == BASELINE]
    if own.empty:
        return "disentanglement: S-QUBED has no score here, for want of a component."
    score = interval(*own.iloc[0][["score", "low", "high"]])
    better = scores[scores.difference > 0].sort_values("score", ascending=False)
    beaten = _beaten(better, len(scores) - 1, "score", "higher")
    return f"disentanglement: S-QUBED scores {score}. {beaten}"


def as_latex(table: pd.DataFrame) -> str:
    """Return the leaderboard as a LaTeX ``tabular``, for a document that loads ``booktabs``."""
    first, ends = table.iloc[0], zip(table.null_low, table.null_high, strict=True)
    gaps = (table[f"difference{part}"] for part in ("", "_low", "_high"))
    columns = {
        "estimator": table.estimator,
        "component": table.component,
        r"$\tau$ (interval)": map(_math, table.tau, table.low, table.high),
        r"$p_\mathrm{Holm}$": map(_math_p, table.holm),
        "null band": (f"$[{low:z.2f}, {high:z.2f}]$" for low, high in ends),
        r"$\Delta\tau$ to S-QUBED": map(_math, *gaps),
        r"$p_\mathrm{Holm}$ of $\Delta$": map(_math_p, table.difference_holm),
        **{name.upper(): map("${:z.2f}$".format, table[name]) for name in ("auroc", "prr", "aurc")},
    }
    styler = pd.DataFrame({name: list(cells) for name, cells in columns.items()}).style
    styler = styler.hide(axis="index").format(escape="latex", subset=["estimator"])
    text = styler.to_latex(hrules=True, column_format="ll" + "r" * (len(columns) - 2))
    about = f"% {first.accuracy} of {first.n} tasks, confidence {first.confidence:g}"
    return f"{about}; needs the package booktabs\n{text}"


def save_latex(folder: Path | str, name: str, table: pd.DataFrame) -> None:
    """Write the leaderboard as ``<folder>/data/<name>.tex``."""
    with replacing(Path(folder) / "data" / f"{name}.tex") as partial:
        partial.write_text(as_latex(table), encoding="utf-8")


def _math(value: float, low: float, high: float) -> str:
    text = interval(value, low, high).replace("−", "-").replace(" [", "$ $[")
    return "--" if pd.isna(value) else f"${text}$"


def _math_p(value: float) -> str:
    return "--" if pd.isna(value) else f"${_p(value).removeprefix('= ')}$"


def _verdict_on(rows: pd.DataFrame, component: str) -> str:
    own = rows[rows.estimator == BASELINE]
    if own.empty:
        return f"{component}: S-QUBED has no row here; nothing is compared with it."
    row = own.iloc[0]
    where = "below" if row.tau < row.null_low else "above" if row.tau > row.null_high else "inside"
    text = f"{component}: S-QUBED has tau {interval(row.tau, row.low, row.high)} (Holm p of no "
    text += f"correlation {_p(row.holm)}), {where} the null band of permuted {row.permuted}."
    better = rows[rows.difference < 0].sort_values("tau")
    return f"{text} {_beaten(better, len(rows) - 1, 'tau', 'lower')}"


def _verdict_on_sums(totals: pd.DataFrame) -> str:
    """Say which totals rank tasks better, and which worse, than their own aleatoric terms alone."""
    sure = totals[totals.over_aleatoric_holm < 1 - totals.confidence]
    better, worse = (
        [
            f"{row.estimator} ({_interval_of(row, 'over_aleatoric')})"
            for _, row in sure[sign * sure.over_aleatoric < 0].iterrows()
        ]
        for sign in (1, -1)
    )
    return (
        f"sum: of {len(totals)} totals, better after Holm's correction than their own aleatoric "
        f"term: {', '.join(better) or 'none'}; worse: {', '.join(worse) or 'none'}."
    )


def _beaten(better: pd.DataFrame, others: int, value: str, sense: str) -> str:
    if better.empty:
        return f"No other ({others}) has a {sense} one."
    best = better.iloc[0]
    many = f"{len(better)} of {others} others have a {sense} one"
    if pd.isna(best.difference_holm):
        few = "the tasks are too few to say more"
        return f"{many}, the best {best.estimator}, {number(best[value], 'z.2f')}; {few}."
    alpha = 1 - best.confidence
    corrected = int((better.difference_holm < alpha).sum())
    held = "survives" if best.difference_holm < alpha else "does not survive"
    return (
        f"{many}, {corrected} of them after Holm's correction. Best: {best.estimator}, "
        f"{interval(best[value], best.low, best.high)}, a difference of "
        f"{_interval_of(best, 'difference')}, which {held} Holm (p {_p(best.difference_holm)})."
    )


def _interval_of(row: pd.Series, name: str) -> str:
    return interval(*row[[name, f"{name}_low", f"{name}_high"]])


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"
