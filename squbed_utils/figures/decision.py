"""Figures of a decision: reliability diagram, risk against threshold, map of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squbed_utils.figures import style
from squbed_utils.text import number

if TYPE_CHECKING:
    from squbed_utils.statistics.decision import Threshold

MARKS = (("o", style.GREEN), ("s", style.ORANGE), ("X", style.VERMILLION))
"""A marker and a colour for each action in the order given; either tells them apart."""

BELOW = {"loc": "upper left", "bbox_to_anchor": (-0.05, -0.24), "labelspacing": 0.2}
"""Place of a panel's legend, clear of its points."""


@style.styled
def plot_reliability(
    table: pd.DataFrame, *, errors: dict[str, float], label: str, ax: Axes | None = None
) -> Axes:
    """Draw found against expected accuracy, a point a bin, with its interval and count.

    The table comes from `reliability.reliability`, ece, noise and skill in `errors` from
    `reliability.calibration_errors`; `label` names the accuracy.
    """
    ax = style.new_axes(ax)
    ends = [table[["expected", "low"]].min().min(), table[["expected", "high"]].max().max()]
    ax.plot(ends, ends, color=style.GREY, lw=0.8, ls="--", label="found as expected")
    error = [table.found - table.low, table.high - table.found]
    sizes = "–".join(map(str, sorted({table["count"].min(), table["count"].max()})))
    dots = {"fmt": "o", "color": style.BLUE, "elinewidth": 1, "label": f"mean of {sizes} tasks"}
    ax.errorbar(table.expected, table.found, yerr=error, **dots)
    ax.legend(**BELOW)
    ax.margins(0.1)
    style.few_ticks(ax)
    ax.set(xlabel=f"expected {label}", ylabel=f"found {label}")
    ax.set_title(f"reliability\nECE {errors['ece']:.3f}, skill {number(errors['skill'], '.2f')}")
    return ax


@style.styled
def plot_risk(
    curve: pd.DataFrame, *, threshold: Threshold, label: str, ax: Axes | None = None
) -> Axes:
    """Draw the risk of accepting against the threshold, with the level and the threshold chosen.

    The curve comes from `decision.risk_curve`; `label` is the uncertainty's name and unit.
    """
    ax = style.new_axes(ax)
    for column, name, colour, dashes in (
        ("marginal_bound", "marginal, conformal bound", style.BLUE, "-"),
        ("marginal", "marginal, as found", style.BLUE, ":"),
        ("conditional", "of the accepted, as found", style.GREY, "-"),
    ):
        ax.step(curve.threshold, curve[column], where="post", label=name, color=colour, ls=dashes)
    ax.axhline(threshold.level, color=style.VERMILLION, lw=0.8, ls="--")
    style.remark(ax, f"level {threshold.level:g}", (curve.threshold.min(), threshold.level), (0, 2))
    chosen = f"{threshold.accepted} of {threshold.n} tasks accepted"
    if threshold.value is None:
        chosen += ": no threshold is valid"
    else:
        ax.axvline(threshold.value, color=style.BLACK, lw=1.2)
        place = {
            "color": style.BLACK,
            "xycoords": ("data", "axes fraction"),
            "ha": "right",
            "va": "top",
        }
        style.remark(ax, "threshold", (threshold.value, 1), (-3, -1), **place)
    ax.legend(**BELOW)
    ax.margins(y=0.15)  # room above for the threshold's name
    ax.set_ylim(bottom=0)
    style.few_ticks(ax, x=3)
    ax.set(xlabel=f"threshold on {label}", ylabel="mean shortfall")
    ax.set_title(f"risk of accepting\n{chosen}")
    return ax


@style.styled
def plot_actions(
    suggestions: pd.DataFrame, *, threshold: Threshold, unit: str, ax: Axes | None = None
) -> Axes:
    """Draw epistemic against aleatoric uncertainty, a point a task, by action.

    The grey line shows where both components stand equally high among the tasks shown, the black
    one where the total equals the threshold, if the parts sum to the total. `suggestions` come from
    `decision.suggest`.
    """
    ax = style.new_axes(ax)
    for action, (marker, colour) in zip(suggestions.action.cat.categories, MARKS, strict=True):
        tasks = suggestions[suggestions.action == action]
        dots = {"marker": marker, "color": colour, "edgecolor": "white", "linewidth": 0.3}
        label = f"{action} ({len(tasks)})"
        ax.scatter(tasks.aleatoric, tasks.epistemic, s=16, label=label, **dots)
    ax.margins(0.07)
    limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    sides = [np.sort(suggestions[part]) for part in ("aleatoric", "epistemic")]
    ax.plot(*sides, color=style.GREY, lw=0.8)
    parts = suggestions.aleatoric + suggestions.epistemic
    if threshold.value is not None and np.allclose(parts, suggestions.total):
        ends = np.array(limits["xlim"])
        ax.plot(ends, threshold.value - ends, color=style.BLACK, lw=1.2)
    ax.set(**limits, xlabel=f"aleatoric ({unit})", ylabel=f"epistemic ({unit})")
    style.few_ticks(ax)
    ax.set_title("what to do about each task")
    ax.legend(**BELOW)
    return ax


@style.styled
def figure_decision(
    table: pd.DataFrame,
    errors: dict[str, float],
    curve: pd.DataFrame,
    suggestions: pd.DataFrame,
    *,
    threshold: Threshold,
    labels: dict[str, str],
) -> Figure:
    """Draw reliability, risk and actions side by side.

    `table` and `errors` are as `reliability.reliability` and `reliability.calibration_errors`,
    `curve` and `suggestions` as `decision.risk_curve` and `decision.suggest`; `labels` has the
    names of accuracy and unit in the panels.
    """
    fig = style.new_figure(2.8)
    left, middle, right = fig.subplots(1, 3)
    plot_reliability(table, errors=errors, label=labels["accuracy"], ax=left)
    plot_risk(curve, threshold=threshold, label=f"total ({labels['unit']})", ax=middle)
    plot_actions(suggestions, threshold=threshold, unit=labels["unit"], ax=right)
    shown = f"(a) {labels['accuracy']} found in bins of tasks and what was expected, with "
    shown += (
        f"{table.confidence.iloc[0]:.0%} intervals, (b) the risk of accepting up to a threshold "
    )
    shown += "(black), (c) what to do about each task; grey: where both parts are equally high"
    counts = suggestions.action.value_counts(sort=False)
    found = ", ".join(f"{action} {count}" for action, count in counts.items())
    risk = f"of {threshold.n} tasks, at a mean shortfall of at most {threshold.level:g}: {found}"
    error = f"the expected calibration error is {errors['ece']:.3f}, {errors['noise']:.3f} by noise"
    return style.caption(fig, shown, f"{risk}; {error}")
