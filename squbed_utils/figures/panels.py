"""Figures 3, 4 and 5: accuracy against uncertainty, this run above the paper's own points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from squbed_utils.figures.cases import plot_positions
from squbed_utils.figures.frames import EXAMPLE_HEIGHT, draw_examples
from squbed_utils.figures.style import (
    BLACK,
    BLUE,
    COVERAGE_COLOURS,
    DOUBLE,
    GREEN,
    GREY,
    LEFT_OUT_MARKERS,
    ORANGE,
    PURPLE,
    SKY,
    SMALLEST,
    VERMILLION,
    new_axes,
    new_figure,
    require_columns,
    styled,
    wrapped,
)

if TYPE_CHECKING:
    from squbed_utils.statistics.examples import Example


POINT_COLUMNS = ("row", "panel", "x", "y", "x_label", "y_label", "coverage", "left_out")
STATISTIC_COLUMNS = ("row", "panel", "tau", "pvalue", "n", "low", "high", "confidence")
ROW_HEIGHT, LEGEND_HEIGHT = 1.75, 0.25


@styled
def plot_points(points: pd.DataFrame, *, statistics: pd.Series, ax: Axes | None = None) -> Axes:
    """Draw one panel: accuracy against uncertainty, one point a task.

    The points are one panel of those that `figure_panels` takes, `statistics` their row. Another
    number of points than the statistics say is refused.
    """
    require_columns(points, POINT_COLUMNS, "the table of points")
    if len(points) != statistics["n"]:
        raise ValueError(
            f"panel {points.panel.iloc[0]!r} has {len(points)} points but its statistics are of "
            f"{statistics['n']}; compute them from the points shown"
        )
    ax = new_axes(ax)
    _scatter(points, ax)
    ax.set(xlabel=points.x_label.iloc[0], ylabel=points.y_label.iloc[0])
    ax.margins(0.07)
    ax.locator_params(nbins=3, steps=[1, 2, 5, 10])
    title = f"{points.panel.iloc[0]}\n{describe(statistics)}"
    ax.set_title(title, fontsize=SMALLEST, linespacing=1.25)
    return ax


def _scatter(points: pd.DataFrame, ax: Axes) -> None:
    """Draw tasks of known coverage by colour and marker, the others in grey."""
    size = 16 if len(points) <= 100 else 6
    known = points.coverage != ""
    ax.scatter(
        "x", "y", data=points[~known], s=size, facecolor=GREY, edgecolor="white", linewidth=0.2
    )
    if known.any():
        sns.scatterplot(
            points[known].astype({"left_out": int}),
            x="x",
            y="y",
            hue="coverage",
            style="left_out",
            palette=COVERAGE_COLOURS,
            markers=LEFT_OUT_MARKERS,
            s=size,
            edgecolor="white",
            linewidth=0.3,
            legend=False,
            ax=ax,
        )


def describe(statistics: pd.Series) -> str:
    """Write a correlation in two short lines: tau and p, then n and the interval of tau."""
    tau, low, high = (f"{statistics[k]:.2f}".replace("-", "−") for k in ("tau", "low", "high"))
    p = statistics["pvalue"]
    p_text = f"{p:.3f}" if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-").replace("-", "−")
    return (
        f"τ = {tau}, p = {p_text}\n"
        f"n = {statistics['n']}, {statistics['confidence']:.0%} [{low}, {high}]"
    )


@styled
def figure_panels(
    points: pd.DataFrame, statistics: pd.DataFrame, examples: list[Example]
) -> Figure:
    """Draw Figure 3, 4 or 5: a row of panels for each source of points, and example videos.

    Parameters
    ----------
    points : DataFrame
        row (this run, published) and panel, in the order of drawing; x (higher = less certain),
        y (higher = better), x_label, y_label, coverage (common, rare, never; empty: unknown) and
        left_out (0 to 4; missing: unknown).
    statistics : DataFrame
        row, panel, tau, pvalue, n, low, high, confidence: one row for each panel's points.
    examples : list of Example
        Tasks shown below the panels; may be empty.

    Raises
    ------
    ValueError
        If a panel has no statistics, or another number of points than they say.
    """
    require_columns(points, POINT_COLUMNS, "the table of points")
    require_columns(statistics, STATISTIC_COLUMNS, "the table of statistics")
    rows = list(dict.fromkeys(points.row))
    with_truth = [bool((points.coverage[points.row == row] != "").any()) for row in rows]
    heights = [ROW_HEIGHT + LEGEND_HEIGHT * truth for truth in with_truth]
    if examples:
        heights.append(EXAMPLE_HEIGHT * len(examples) + 0.2)
    fig = new_figure(DOUBLE, sum(heights))
    parts = fig.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, part in zip(rows, parts, strict=False):
        _draw_row(part, points[points.row == row], statistics[statistics.row == row])
    if examples:
        draw_examples(parts[-1], examples)
    return fig


def _draw_row(part: SubFigure, points: pd.DataFrame, statistics: pd.DataFrame) -> None:
    panels = list(dict.fromkeys(points.panel))
    part.suptitle(points.row.iloc[0], x=0.008, ha="left", fontweight="bold")
    for panel, ax in zip(panels, part.subplots(1, len(panels), squeeze=False)[0], strict=True):
        found = statistics[statistics.panel == panel]
        if len(found) != 1:
            raise ValueError(
                f"panel {panel!r} of row {points.row.iloc[0]!r} has {len(found)} rows of "
                "statistics; expected one"
            )
        plot_points(points[points.panel == panel], statistics=found.iloc[0], ax=ax)
    if (points.coverage != "").any():
        _legend(part, points)


def _legend(part: SubFigure, points: pd.DataFrame) -> None:
    """Draw one line: what the model saw in training by colour, what the prompt omits by marker."""
    drawn = {"linestyle": "", "markeredgecolor": "white", "markeredgewidth": 0.3}
    handles = [Line2D([], [], linestyle="", label="subject in training:")]
    handles += [
        Line2D([], [], marker="o", color=colour, label=level, **drawn)
        for level, colour in COVERAGE_COLOURS.items()
        if level in set(points.coverage)
    ]
    handles += [Line2D([], [], linestyle="", label="  attributes left open:")]
    handles += [
        Line2D([], [], marker=marker, color=GREY, label=str(count), **drawn)
        for count, marker in LEFT_OUT_MARKERS.items()
        if count in set(points.left_out.dropna())
    ]
    part.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=0.9)


TAU_COLUMNS = ("label", "tau", "low", "high", "kind", "bar", "confidence")

CURVE_COLUMNS = ("panel", "size", "tau", "lo", "hi", "shown", "confidence")

KIND_COLOURS = {"signal": BLUE, "leakage": VERMILLION}


@styled
def plot_taus(taus: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw Kendall's tau with its interval, one line each, beside the bar that it should meet.

    The table has label, tau, low, high, confidence, bar and kind: a "signal" should exceed its bar,
    a "leakage" lie within plus and minus its bar.
    """
    require_columns(taus, TAU_COLUMNS, "the table of taus")
    ax = new_axes(ax)
    for line, row in enumerate(taus.itertuples()):
        colour = KIND_COLOURS[row.kind]
        start = -row.bar if row.kind == "leakage" else row.bar
        end = row.bar if row.kind == "leakage" else 1.0
        if np.isfinite(row.bar):
            ax.barh(line, end - start, left=start, height=0.7, color=colour, alpha=0.15, lw=0)
        error = [[row.tau - row.low], [row.high - row.tau]]
        ax.errorbar(row.tau, line, xerr=error, fmt="o", color=colour, elinewidth=1)
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set_yticks(range(len(taus)), taus.label)
    ax.set(xlim=(-1, 1), ylim=(len(taus) - 0.5, -0.5))
    ax.set_xlabel(f"Kendall's τ, {taus.confidence.iloc[0]:.0%} interval; shaded: what should hold")
    return ax


@styled
def plot_curve(curve: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw tau over the number of tasks kept, with its band: one panel of `figure_subset_size`."""
    require_columns(curve, CURVE_COLUMNS, "the curve")
    ax = new_axes(ax)
    ax.fill_between(curve["size"], curve.lo, curve.hi, color=BLUE, alpha=0.2, lw=0)
    ax.plot(curve["size"], curve.tau, "o-", ms=2.5, color=BLUE)
    ax.axhline(0, color=GREY, lw=0.6)
    shown = curve.shown.iloc[0]
    ax.axvline(shown, color=VERMILLION, lw=0.8, ls="--")
    ax.set_title(f"{curve.panel.iloc[0]}\n{curve.confidence.iloc[0]:.0%} band")
    ax.set(xlabel=f"tasks kept (dashed: the {shown} of Figure 5)", ylabel="Kendall's τ")
    ax.set_ylim(-1, 1)
    return ax


@styled
def figure_subset_size(curves: pd.DataFrame) -> Figure:
    """Draw tau over the subset's size, a panel for each part of the uncertainty.

    Parameters
    ----------
    curves : DataFrame
        panel, size, tau, lo, hi, confidence, and `shown`, the size that Figure 5 shows.
    """
    require_columns(curves, CURVE_COLUMNS, "the table of curves")
    panels = list(dict.fromkeys(curves.panel))
    fig = new_figure(DOUBLE, 2.0)
    for panel, ax in zip(panels, fig.subplots(1, len(panels), squeeze=False)[0], strict=True):
        plot_curve(curves[curves.panel == panel], ax=ax)
    return fig


@styled
def figure_truth(
    points: pd.DataFrame, statistics: pd.DataFrame, positions: pd.DataFrame, taus: pd.DataFrame
) -> Figure:
    """Draw both estimates against both truths.

    Parameters
    ----------
    points, statistics : DataFrame
        As `figure_panels`: the aleatoric estimate against the true entropy; one row of statistics.
    positions : DataFrame
        As `plot_positions`: the epistemic estimate by coverage.
    taus : DataFrame
        As `plot_taus`.
    """
    fig = new_figure(DOUBLE, 3.9)
    top, bottom = fig.subfigures(2, 1, height_ratios=[2.1, 1.8])
    left, right = top.subplots(1, 2)
    plot_points(points, statistics=statistics.iloc[0], ax=left)
    plot_positions(positions, ax=right)
    plot_taus(taus, ax=bottom.subplots())
    return fig


DOSE_COLUMNS = ("clips", "subjects", "epistemic", "low", "high", "tau", "pvalue", "confidence")


@styled
def plot_dose(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw epistemic uncertainty over the number of training clips, with its band over subjects.

    The table is that of `figure_dose`. Numbers of clips stand at equal distances.
    """
    require_columns(table, DOSE_COLUMNS, "the table of doses")
    ax = new_axes(ax)
    _draw_dose(ax, table, "epistemic", "")
    first = table.iloc[0]
    p = f"{first.pvalue:.2g}".replace("e-0", "e−")
    tau = f"{first.tau:.2f}".replace("-", "−")
    title = f"τ with clips = {tau}, p = {p}\n{table.subjects.sum()} subjects"
    ax.set_title(f"{title}, {first.confidence:.0%} band over subjects", fontsize=SMALLEST)
    ax.set_ylabel("epistemic uncertainty")
    return ax


@styled
def figure_dose(table: pd.DataFrame) -> Figure:
    """Draw dose and response: epistemic uncertainty, and confident mistakes where they are known.

    Parameters
    ----------
    table : DataFrame
        clips (ascending), subjects, epistemic, low, high (missing for a single subject), tau,
        pvalue, confidence; and, if known, mistakes (0 to 1), mistakes_low and mistakes_high.
    """
    require_columns(table, DOSE_COLUMNS, "the table of doses")
    panels = 1 + ("mistakes" in table)
    fig = new_figure(DOUBLE, 2.4)
    axes = fig.subplots(1, panels, squeeze=False)[0]
    plot_dose(table, ax=axes[0])
    if panels == 2:
        _draw_dose(axes[1], table, "mistakes", "mistakes_")
        axes[1].set(title="confident mistakes", ylabel="share of latent prompts", ylim=(0, None))
    return fig


def _draw_dose(ax: Axes, table: pd.DataFrame, column: str, prefix: str) -> None:
    places = range(len(table))
    low, high = (table[f"{prefix}{end}"].fillna(table[column]) for end in ("low", "high"))
    ax.fill_between(places, low, high, color=BLUE, alpha=0.2, lw=0)
    ax.plot(places, table[column], "o-", ms=3, color=BLUE)
    ax.set_xticks(places, [f"{clips:,}" for clips in table.clips])
    ax.set_xlabel("distinct clips of the subject in training")


ENCODER_COLUMNS = ("panel", "label", "encoders", "value", "low", "high")

ENCODER_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, BLACK, SKY)


@styled
def plot_encoders(
    table: pd.DataFrame, *, colours: Mapping[str, str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one panel of `figure_encoders`: a line a label, a point with interval an encoder.

    Encoders that are not among the `colours` are grey.
    """
    require_columns(table, ENCODER_COLUMNS, "the table of encoders")
    ax = new_axes(ax)
    labels, names = list(dict.fromkeys(table.label)), list(dict.fromkeys(table.encoders))
    for i, name in enumerate(names):
        rows = table[table.encoders == name]
        lines = [labels.index(label) + (i + 1) / (len(names) + 1) - 0.5 for label in rows.label]
        error = [rows.value - rows.low, rows.high - rows.value]
        colour = (colours or {}).get(name, GREY)
        ax.errorbar(rows.value, lines, xerr=error, fmt="o", color=colour, lw=1, label=name)
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set_yticks(range(len(labels)), [wrapped(label, 44) for label in labels])
    ax.set(ylim=(len(labels) - 0.5, -0.5), xlim=(min(-0.05, *(table.low - 0.05)), 1.05))
    ax.set_title(wrapped(table.panel.iloc[0], 38))
    return ax


@styled
def figure_encoders(table: pd.DataFrame) -> Figure:
    """Draw the same prompts and videos under several encoders, a panel each question.

    Parameters
    ----------
    table : DataFrame
        As `statistics.encoders.compare`: panel, label, encoders, value, low, high (95 %). The first
        panel is as wide as the figure.
    """
    require_columns(table, ENCODER_COLUMNS, "the table of encoders")
    first, *others = (rows for _, rows in table.groupby("panel", sort=False))
    fig = new_figure(DOUBLE, 4.8)
    top, bottom = fig.subfigures(2, 1, height_ratios=[1.1, 1])
    colours = dict(zip(dict.fromkeys(first.encoders), itertools.cycle(ENCODER_COLOURS)))
    above = plot_encoders(first, colours=colours, ax=top.subplots())
    above.set_xlabel("Kendall's τ, or AUROC; 95 % interval")
    for rows, ax in zip(others, bottom.subplots(1, len(others), squeeze=False)[0], strict=True):
        plot_encoders(rows, colours=colours, ax=ax)
    handles, names = above.get_legend_handles_labels()
    bottom.legend(handles, names, loc="outside lower center", ncols=len(names))
    return fig


PAIR_COLUMNS = ("panel", "quantity", "first", "second", "value", "low", "high", "pvalue")


@styled
def figure_pairs(tasks: pd.DataFrame, table: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """Draw two video models on the same tasks: certainty, whether it is justified, calibration.

    Parameters
    ----------
    tasks : DataFrame
        As `statistics.pairs.paired_tasks`, with its ``attrs``.
    table : DataFrame
        As `statistics.pairs.compare`.
    names : tuple of str
        What the two models are called.
    """
    require_columns(table, PAIR_COLUMNS, "the table of a comparison")
    accuracy, label, unit = (tasks.attrs[key] for key in ("accuracy", "label", "unit"))
    change = tasks[f"{accuracy}_second"] - tasks[f"{accuracy}_first"]
    more = tasks.epistemic_second - tasks.epistemic_first
    wrong = (change < 0) & (more < 0)
    fig = new_figure(DOUBLE, 2.5)
    levels, changes, taus = fig.subplots(1, 3, width_ratios=[1, 1, 0.9])
    for chosen, colour in ((~wrong, BLUE), (wrong, VERMILLION)):
        of = tasks[chosen]
        levels.scatter(of.epistemic_first, of.epistemic_second, s=7, color=colour, lw=0, alpha=0.7)
        changes.scatter(change[chosen], more[chosen], s=7, color=colour, lw=0, alpha=0.7)
    ends = tasks[["epistemic_first", "epistemic_second"]].stack().agg(["min", "max"])
    levels.plot(ends, ends, color=GREY, lw=0.6)
    levels.set(xlabel=f"{names[0]} ({unit})", ylabel=f"{names[1]} ({unit})")
    levels.set_title("epistemic uncertainty")
    for line in (changes.axvline, changes.axhline):
        line(0, color=GREY, lw=0.6)
    changes.set(xlabel=f"change of {label}", ylabel=f"change of epistemic ({unit})")
    mistaken = f"{wrong.sum()} of {(change < 0).sum()} less accurate, yet more certain"
    changes.set_title(wrapped(mistaken, 30), color=VERMILLION)
    rows = table[table.panel == "tau with accuracy"].reset_index(drop=True)
    for which, colour, name, up in (
        ("first", GREY, names[0], -0.12),
        ("second", BLUE, names[1], 0.12),
    ):
        taus.plot(rows[which], rows.index + up, "o", color=colour, label=name)
    for line, row in rows.iterrows():
        p = "p < 0.001" if row.pvalue < 0.001 else f"p = {row.pvalue:.2g}"
        taus.annotate(p, (0.02, line - 0.3), fontsize=SMALLEST, color=GREY)
    taus.axvline(0, color=GREY, lw=0.6)
    taus.set_yticks(rows.index, rows.quantity)
    taus.set(xlim=(-1, 0.6), ylim=(len(rows) - 0.5, -0.6), xlabel=f"Kendall's τ with {label}")
    taus.set_title("calibration; p of the difference")
    fig.legend(loc="outside lower right", ncols=2)
    return fig


COST_COLUMNS = ("measure", "component", "label", "latents", "each", "videos", "value")
COST_COLUMNS += ("low", "high", "verdict", "ceiling")


@styled
def plot_cost(
    table: pd.DataFrame, *, colours: Mapping[str, str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one panel of `figure_cost`: a measure of one component over the videos of a task.

    Designs that no cheaper one beats are drawn, and that of all videos. A hollow point is not shown
    to be equivalent to all videos; dashed: the ceiling. Labels that are not among the `colours`
    are grey.
    """
    require_columns(table, COST_COLUMNS, "the table of costs")
    ax = new_axes(ax)
    names = list(dict.fromkeys(table.label))
    falls = table.value.mean() < 0  # tau with accuracy, where more negative is better
    for i, name in enumerate(names):
        rows = table[table.label == name].sort_values("value", ascending=falls)
        rows = rows.drop_duplicates("videos").sort_values("videos")
        best = rows.value.cummin() if falls else rows.value.cummax()
        rows = rows[(rows.value == best) | (rows.videos == rows.videos.max())]
        colour = (colours or {}).get(name, GREY)
        error = [rows.value - rows.low, rows.high - rows.value]
        places = rows.videos * 1.03 ** (i - (len(names) - 1) / 2)  # so that none hides another
        ax.errorbar(places, rows.value, yerr=error, color=colour, lw=0.8, label=name)
        hollow = (rows.verdict != "shown") & rows.ceiling.isna()
        faces = np.where(hollow, "white", colour)
        ax.scatter(places, rows.value, 11, faces, edgecolors=colour, linewidths=0.8, zorder=3)
        if rows.ceiling.notna().any():
            ax.axhline(rows.ceiling.iloc[0], color=colour, lw=0.6, ls="--")
    ticks = [2 ** int(x) for x in np.arange(0, np.log2(table.videos.max()) + 0.5)]
    ax.set_xscale("log")
    ax.set_xticks(ticks, [str(x) for x in ticks])
    ax.minorticks_off()
    ax.set_xlim(table.videos.min() / 1.2, table.videos.max() * 1.2)
    ax.set(xlabel="videos of a task", ylabel=table.measure.iloc[0].replace("tau", "Kendall's τ"))
    ax.set_title(f"{table.component.iloc[0]} uncertainty")
    return ax


@styled
def figure_cost(table: pd.DataFrame) -> Figure:
    """Draw what designs of fewer videos are worth, a panel a measure and component.

    Parameters
    ----------
    table : DataFrame
        As `statistics.cost.curve`: measure, component, label, latents, each, videos, value, low,
        high, verdict, ceiling, confidence.
    """
    require_columns(table, COST_COLUMNS, "the table of costs")
    panels = [rows for _, rows in table.groupby(["measure", "component"], sort=False)]
    lines = 1 + len(panels) // 3  # the last place is the legend's
    fig = new_figure(DOUBLE, 0.3 + 2.0 * lines)
    axes = fig.subplots(lines, 3, squeeze=False).ravel()
    colours = dict(zip(dict.fromkeys(table.label), itertools.cycle(ENCODER_COLOURS)))
    for ax, rows in zip(axes, panels, strict=False):
        plot_cost(rows, colours=colours, ax=ax)
    for ax in axes[len(panels) :]:
        ax.axis("off")
    handles = [Line2D([], [], color=c, marker="o", ms=3) for c in colours.values()]
    title = "filled: equivalent to all videos,\nwhere that is tested; dashed: what two\n"
    title += f"fresh archives agree by; lines:\n{table.confidence.iloc[0]:.0%} intervals"
    axes[-1].legend(handles, list(colours), title=title, alignment="left", loc="center left")
    return fig
