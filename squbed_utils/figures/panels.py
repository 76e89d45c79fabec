"""Figures 3, 4 and 5: accuracy against uncertainty, this run above the paper's own points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from string import ascii_lowercase
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from squbed_utils.figures import style
from squbed_utils.figures.cases import plot_positions
from squbed_utils.figures.frames import EXAMPLE_HEIGHT, draw_examples
from squbed_utils.text import interval, number

if TYPE_CHECKING:
    from squbed_utils.statistics.examples import Example


ROW_HEIGHT, LEGEND_HEIGHT = 1.75, 0.25


@style.styled
def plot_points(
    points: pd.DataFrame,
    *,
    statistics: pd.Series,
    trend: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one panel: accuracy against uncertainty, one point a task.

    The points are one panel of those that `figure_panels` takes, `statistics` their row, refused if
    of another number of points, and `trend` what there is of their trend.
    """
    if len(points) != statistics["n"]:
        raise ValueError(
            f"panel {points.panel.iloc[0]!r} has {len(points)} points but its statistics are of "
            f"{statistics['n']}; compute them from the points shown"
        )
    ax = style.new_axes(ax)
    if trend is not None and len(trend):
        band = {"color": style.VERMILLION, "alpha": 0.2, "lw": 0}
        ax.fill_between(trend.x, trend.low, trend.high, **band)
        ax.plot(trend.x, trend.y, color=style.VERMILLION)
    if "x_spread" in points:
        spread = {"xerr": points.x_spread, "ecolor": style.GREY, "elinewidth": 0.6}
        ax.errorbar(points.x, points.y, fmt="none", zorder=0, **spread)
    for level in ("", *style.COVERAGE_COLOURS):
        rows = points[points.coverage == level]
        ax.scatter(rows.x, rows.y, s=18 if len(points) <= 100 else 11, **style.dots(level))
    x, y = (style.without_unit(points[column].iloc[0]) for column in ("x_label", "y_label"))
    ax.set(xlabel=x, ylabel=y)
    ax.margins(0.07)
    style.few_ticks(ax)
    ax.set_title(f"{points.panel.iloc[0]}\n{describe(statistics)}")
    return ax


def describe(statistics: pd.Series) -> str:
    """Write a correlation in two short lines: tau and p, then n and the interval of tau, if any."""
    tau, low, high = (number(statistics[k], ".2f") for k in ("tau", "low", "high"))
    ends = f"{statistics['confidence']:.0%} [{low}, {high}]"
    ends = "no interval" if low == "nan" else ends
    return f"τ = {tau}, {style.chance(statistics['pvalue'])}\nn = {statistics['n']}, {ends}"


@style.styled
def figure_panels(
    points: pd.DataFrame,
    statistics: pd.DataFrame,
    examples: list[Example],
    *,
    trend: pd.DataFrame | None = None,
) -> Figure:
    """Draw Figure 3, 4 or 5: a row of panels for each source of points, and example videos.

    Parameters
    ----------
    points : DataFrame
        As `tables.points_of`: row (this run, published) and panel, in the order of drawing; x
        (higher = less certain), y (higher = better), x_label, y_label and coverage (common, rare,
        never; empty: unknown); if wanted x_spread, drawn as x ± x_spread.
    statistics : DataFrame
        As `tables.statistics_of`, one row for each panel's points; else refused.
    examples : list of Example
        Tasks shown below the panels; may be empty.
    trend : DataFrame, optional
        row, panel, x, y, low, high: the line and band of panels that have one.
    """
    rows = list(dict.fromkeys(points.row))
    heights = [ROW_HEIGHT + LEGEND_HEIGHT * _is_coloured(points[points.row == row]) for row in rows]
    if examples:
        heights.append(EXAMPLE_HEIGHT * len(examples) + 0.2)
    fig = style.new_figure(sum(heights))
    parts = fig.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    trend = pd.DataFrame(columns=["row", "panel"]) if trend is None else trend
    tables = (points, statistics, trend)
    for row, part in zip(rows, parts, strict=False):
        _draw_row(part, *(table[table.row == row] for table in tables))
    if examples:
        draw_examples(parts[-1], examples)
    taus = points[["row", "panel"]].drop_duplicates().merge(statistics, on=["row", "panel"])
    return style.caption(fig, *_said(points, taus, with_trend=not trend.empty, examples=examples))


def _draw_row(
    part: SubFigure, points: pd.DataFrame, statistics: pd.DataFrame, trend: pd.DataFrame
) -> None:
    name = points.row.iloc[0]
    part.suptitle(name.partition(" (")[0], x=0.008, ha="left", fontweight="bold")
    panels = points.groupby("panel", sort=False)
    named = panels.y_label.first().duplicated().any()  # else the axes' labels say what they are
    axes = part.subplots(1, len(panels), squeeze=False)[0]
    for (panel, shown), ax in zip(panels, axes, strict=True):
        found = statistics[statistics.panel == panel]
        if len(found) != 1:
            raise ValueError(
                f"panel {panel!r} of row {name!r} has {len(found)} rows of statistics; expected one"
            )
        line = trend[trend.panel == panel]
        plot_points(shown, statistics=found.iloc[0], trend=line, ax=ax)
        if not named:
            form = panel[panel.find("(") :] if "(" in panel else ""
            ax.set_title(describe(found.iloc[0]))
            label = shown.y_label.iloc[0]
            ax.set_ylabel(label if form in label else f"{label}\n{form}")
    if _is_coloured(points):
        _legend(part, points)


def _is_coloured(points: pd.DataFrame) -> bool:
    """Say whether colours tell points apart, and need a legend."""
    return len(set(points.coverage) - {""}) > 1


def _legend(part: SubFigure, points: pd.DataFrame) -> None:
    """Draw one line: how often the video model saw a task's subject in training, by colour."""
    drawn = {"linestyle": "", "markeredgecolor": "white", "markeredgewidth": 0.3}
    handles = [Line2D([], [], linestyle="", label="subject in training:")]
    handles += [
        Line2D([], [], marker=style.COVERAGE_MARKERS[level], color=colour, label=level, **drawn)
        for level, colour in style.COVERAGE_COLOURS.items()
        if level in set(points.coverage)
    ]
    part.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=0.9)


def _said(
    points: pd.DataFrame, taus: pd.DataFrame, *, with_trend: bool, examples: list[Example]
) -> tuple[str, str]:
    """Return the caption of `figure_panels`; `taus` are the statistics in the order of panels."""
    x = " or ".join(dict.fromkeys(map(style.without_unit, points.x_label)))
    taus = taus.assign(letter=list(ascii_lowercase[: len(taus)]))
    panels = taus.groupby("row", sort=False).letter.agg(["first", "last"])
    letters = panels.agg(lambda ends: "–".join(dict.fromkeys(ends)), axis="columns")
    sources = map("({}) {}".format, letters, letters.index)
    shown = f"accuracy against {x}, one point a task: {'; '.join(sources)}"
    shown += "; line: means of tasks in bins of equal count, with 95% band" * with_trend
    shown += "; below: videos of some tasks" * bool(examples)
    found = map(interval, taus.tau, taus.low, taus.high)
    found = map("({}) {} for {}".format, taus.letter, found, taus.panel)
    withheld = " (none below 8 tasks)" * bool(taus.low.isna().any())
    what = f"Kendall's τ, with its {taus.confidence.iloc[0]:.0%} interval over tasks{withheld}, is "
    return shown, what + "; ".join(found)


KIND_COLOURS = {"signal": style.BLUE, "leakage": style.VERMILLION}


@style.styled
def plot_taus(taus: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw Kendall's tau with its interval, one line each, beside the bar that it should meet.

    The table has label, tau, low, high, n, confidence, bar and kind: a "signal" should exceed its
    bar, a "leakage" lie within plus and minus its bar.
    """
    ax = style.new_axes(ax)
    for line, row in taus.reset_index(drop=True).iterrows():
        colour = KIND_COLOURS[row.kind]
        ends = (-row.bar, row.bar) if row.kind == "leakage" else (row.bar, 1.0)
        if np.isfinite(row.bar):
            width = ends[1] - ends[0]
            ax.barh(line, width, left=ends[0], height=0.7, color=colour, alpha=0.15, lw=0)
        style.draw_intervals(ax, taus.iloc[[line]], [line], value="tau", color=colour)
    style.name_lines(ax, taus.label)
    ax.set_xlim(-1, 1)
    ax.set_xlabel(f"Kendall's τ, {taus.confidence.iloc[0]:.0%} interval; shaded: what should hold")
    return ax


@style.styled
def plot_curve(
    curve: pd.DataFrame, *, published: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Draw tau over the number of tasks kept, with its band: one panel of `figure_subset_size`."""
    ax = style.new_axes(ax)
    ax.fill_between(curve["size"], curve.lo, curve.hi, color=style.BLUE, alpha=0.2, lw=0)
    ax.plot(curve["size"], curve.tau, "o-", ms=2.5, color=style.BLUE, label="this run")
    ax.axhline(0, color=style.GREY, lw=0.6)
    shown = curve.shown.iloc[0]
    ax.axvline(shown, color=style.BLACK, lw=0.8, ls="--", label=f"the {shown} of Figure 5")
    if published is not None:
        ax.plot(published.n, published.tau, "X", color=style.VERMILLION, label="published", ls="")
    ax.set_title(curve.panel.iloc[0])
    ax.set(xlabel="tasks kept", ylabel="Kendall's τ", ylim=(-1.08, 1))
    return ax


@style.styled
def figure_subset_size(curves: pd.DataFrame, statistics: pd.DataFrame) -> Figure:
    """Draw tau over the subset's size, a panel for each part of the uncertainty.

    `curves` is as `tables.subset_curves`, `statistics` as `figure_panels`: its rows that begin with
    "published" are the paper's own subsets. It may have no rows.
    """
    theirs = statistics[statistics.row.str.startswith("published")]
    panels = curves.groupby("panel", sort=False)
    fig, found = style.new_figure(2.2), []
    axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for (panel, curve), ax in zip(panels, axes, strict=True):
        part = panel.split(",")[0]
        plot_curve(curve, published=theirs[theirs.panel.str.endswith(part)], ax=ax)
        first, last = curve.iloc[0], curve.iloc[-1]
        found.append(
            f"{interval(first.tau, first.lo, first.hi)} on {first['size']} tasks and "
            f"{interval(last.tau, last.lo, last.hi)} on {last['size']} ({part})"
        )
    handles, names = ax.get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=len(names))
    shown = "Kendall's τ of each part with accuracy, on the tasks with the least of the other part"
    band = f"; band: {curves.confidence.iloc[0]:.0%} interval over tasks"
    return style.caption(fig, shown + band, f"it is {', and '.join(found)}")


@style.styled
def figure_truth(
    points: pd.DataFrame, statistics: pd.DataFrame, positions: pd.DataFrame, taus: pd.DataFrame
) -> Figure:
    """Draw both estimates against both truths.

    `points`, with one row of `statistics`, are the aleatoric estimate against the true entropy;
    `positions` is as `plot_positions`, the epistemic estimate by coverage; `taus` as `plot_taus`.
    """
    fig = style.new_figure(3.9)
    top, bottom = fig.subfigures(2, 1, height_ratios=[2.1, 1.8])
    left, right = top.subplots(1, 2)
    plot_points(points, statistics=statistics.iloc[0], ax=left)
    plot_positions(positions, ax=right)
    plot_taus(taus, ax=bottom.subplots())
    if _is_coloured(points):
        _legend(top, points)
    shown = "both estimates and both truths: (a) aleatoric against the prompt's entropy, (b) "
    shown += "epistemic by coverage, (c) each with its own truth (blue) and the other's (red)"
    found = (f"{interval(row.tau, row.low, row.high)} for {row.label}" for row in taus.itertuples())
    confidence = f"{taus.confidence.iloc[0]:.0%}"
    return style.caption(
        fig, shown, f"Kendall's τ with its {confidence} interval is {'; '.join(found)}"
    )


@style.styled
def figure_dose(table: pd.DataFrame) -> Figure:
    """Draw dose and response: epistemic uncertainty, and confident mistakes where they are known.

    The table is as `truth.dose`. Numbers of clips stand at equal distances.
    """
    panels = 1 + ("mistakes" in table)
    fig = style.new_figure(2.4)
    axes = fig.subplots(1, panels, squeeze=False)[0]
    _draw_dose(axes[0], table, "epistemic", "")
    first = table.iloc[0]
    tau, p = number(first.tau, ".2f"), style.chance(first.pvalue)
    axes[0].set_title(f"τ with clips = {tau}, {p}\n{table.subjects.sum()} subjects")
    axes[0].set_ylabel("epistemic uncertainty")
    shown = "means over the tasks of a number of training clips: epistemic uncertainty"
    found = f"Kendall's τ with clips is {tau} ({p} by subject)"
    if panels == 2:
        _draw_dose(axes[1], table, "mistakes", "mistakes_")
        axes[1].set(title="confident mistakes", ylabel="share of latent prompts", ylim=(0, None))
        shown += " and confident mistakes, latent prompts whose videos all show one wrong subject"
        shares, clips = map("{:.0%}".format, table.mistakes), map("{:,}".format, table.clips)
        found += f"; confident mistakes are {', '.join(shares)} at {'; '.join(clips)} clips"
    lines = f"; lines: {first.confidence:.0%} intervals over subjects"
    return style.caption(fig, shown + lines, found)


def _draw_dose(ax: Axes, table: pd.DataFrame, column: str, prefix: str) -> None:
    places = range(len(table))
    error = [table[column] - table[f"{prefix}low"], table[f"{prefix}high"] - table[column]]
    ax.errorbar(places, table[column], error, fmt="o-", ms=3, color=style.BLUE, elinewidth=0.8)
    ax.set_xticks(places, [f"{clips:,}" for clips in table.clips])
    ax.set_xlabel("distinct clips of the subject in training")


ENCODER_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.BLACK, style.SKY)


def draw_encoders(ax: Axes, table: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw one panel: a line a label, a point with interval an encoder, grey without a colour."""
    labels, names = list(dict.fromkeys(table.label)), list(dict.fromkeys(table.encoders))
    for i, name in enumerate(names):
        rows = table[table.encoders == name]
        lines = [labels.index(label) + (i + 1) / (len(names) + 1) - 0.5 for label in rows.label]
        colour = colours.get(name, style.GREY)
        style.draw_intervals(ax, rows, lines, value="value", color=colour, label=name)
    style.name_lines(ax, [style.wrapped(label, 44) for label in labels])
    ax.set_xlim(min(-0.05, *(table.low - 0.05)), 1.05)
    ax.set_title(style.wrapped(table.panel.iloc[0], 38))


@style.styled
def figure_encoders(table: pd.DataFrame) -> Figure:
    """Draw the same prompts and videos under several encoders, a panel each question.

    The table is as `pairs.compare_encoders`; the first panel is as wide as the figure.
    """
    first, *others = (rows for _, rows in table.groupby("panel", sort=False))
    fig = style.new_figure(4.8)
    top, bottom = fig.subfigures(2, 1, height_ratios=[1.1, 1])
    colours = dict(zip(dict.fromkeys(first.encoders), itertools.cycle(ENCODER_COLOURS)))
    above = top.subplots()
    draw_encoders(above, first, colours)
    above.set_xlabel("Kendall's τ, or AUROC; 95% interval")
    for rows, ax in zip(others, bottom.subplots(1, len(others), squeeze=False)[0], strict=True):
        draw_encoders(ax, rows, colours)
    handles, names = above.get_legend_handles_labels()
    bottom.legend(handles, names, loc="outside lower center", ncols=len(names))
    last = table[table.panel == table.panel.iloc[-1]]
    shown = "the same prompts and videos under several encoders: (a) every finding, (b) and the "
    shown += "following by number of attributes that the prompt leaves open; lines: 95% intervals"
    found = (f"{interval(r.value, r.low, r.high)} for {r.label}" for r in last.itertuples())
    return style.caption(fig, shown, f"{last.panel.iloc[0]} is {'; '.join(found)}")


@style.styled
def figure_pairs(tasks: pd.DataFrame, table: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """Draw two video models on the same tasks: certainty, whether it is justified, calibration.

    `tasks` is as `pairs.paired_tasks`, with its ``attrs``, and `table` as `pairs.compare`; `names`
    are what the two models are called.
    """
    accuracy, label, unit = (tasks.attrs[key] for key in ("accuracy", "label", "unit"))
    change = tasks[f"{accuracy}_second"] - tasks[f"{accuracy}_first"]
    more = tasks.epistemic_second - tasks.epistemic_first
    wrong = (change < 0) & (more < 0)
    fig = style.new_figure(2.5)
    levels, changes, taus = fig.subplots(1, 3, width_ratios=[1, 1, 0.9])
    for chosen, colour in ((~wrong, style.BLUE), (wrong, style.VERMILLION)):
        of = tasks[chosen]
        levels.scatter(of.epistemic_first, of.epistemic_second, s=7, color=colour, lw=0, alpha=0.7)
        changes.scatter(change[chosen], more[chosen], s=7, color=colour, lw=0, alpha=0.7)
    ends = tasks[["epistemic_first", "epistemic_second"]].stack().agg(["min", "max"])
    levels.plot(ends, ends, color=style.GREY, lw=0.6)
    levels.set(xlabel=f"{names[0]} ({unit})", ylabel=f"{names[1]} ({unit})")
    levels.set_title("epistemic uncertainty")
    for line in (changes.axvline, changes.axhline):
        line(0, color=style.GREY, lw=0.6)
    changes.set(xlabel=f"change of {label}", ylabel=f"change of epistemic ({unit})")
    mistaken = f"more certain on {wrong.sum()} of {(change < 0).sum()} tasks that lost accuracy"
    changes.set_title(style.wrapped(mistaken, 30), color=style.VERMILLION)
    rows = table[table.panel == "tau with accuracy"].reset_index(drop=True)
    style.name_lines(taus, rows.quantity)
    for which, colour, name, up in zip(
        ("first", "second"), (style.GREY, style.BLUE), names, (-0.12, 0.12), strict=True
    ):
        taus.plot(rows[which], rows.index + up, "o", color=colour, label=name)
    for line, row in rows.iterrows():
        taus.annotate(
            style.chance(row.pvalue), (0.02, line - 0.3), fontsize=style.SMALLEST, color=style.GREY
        )
    taus.set(xlim=(-1, 0.6), ylim=(len(rows) - 0.5, -0.6), xlabel=f"Kendall's τ with {label}")
    taus.set_title("calibration; p of the difference")
    fig.legend(loc="outside lower right", ncols=2)
    shown = (
        f"{names[0]} and {names[1]} on the same {len(tasks)} tasks: (a) epistemic uncertainty of "
    )
    shown += "both, (b) its change and that of accuracy, (c) Kendall's τ of each with accuracy"
    found = (
        f"{row.quantity} {number(row.first, '.2f')} and {number(row.second, '.2f')}"
        for row in rows.itertuples()
    )
    return style.caption(fig, shown, f"τ {'; '.join(found)}; {mistaken}")


@style.styled
def plot_cost(
    table: pd.DataFrame, *, colours: Mapping[str, str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one panel of `figure_cost`: a measure of one component over the videos of a task.

    Designs that no cheaper one beats are drawn, and that of all videos. A hollow point is not shown
    to be equivalent to all videos; dashed: the ceiling. Labels that are not among the `colours`
    are grey.
    """
    ax = style.new_axes(ax)
    names = list(dict.fromkeys(table.label))
    falls = table.value.mean() < 0  # tau with accuracy, where more negative is better
    for i, name in enumerate(names):
        rows = table[table.label == name].sort_values("value", ascending=falls)
        rows = rows.drop_duplicates("videos").sort_values("videos")
        best = rows.value.cummin() if falls else rows.value.cummax()
        rows = rows[(rows.value == best) | (rows.videos == rows.videos.max())]
        colour = (colours or {}).get(name, style.GREY)
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


@style.styled
def figure_cost(table: pd.DataFrame) -> Figure:
    """Draw what designs of fewer videos are worth (`cost.curve`), a panel a measure and part."""
    panels = [rows for _, rows in table.groupby(["measure", "component"], sort=False)]
    lines = 1 + len(panels) // 3  # the last place is the legend's
    fig = style.new_figure(0.3 + 2.0 * lines)
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
    shown = "Designs of fewer videos beside all videos of a task, a panel a measure and component"
    least = table[table.verdict == "shown"].sort_values("videos")
    least = least.drop_duplicates(["measure", "component"])
    found = [f"{r.component} ({r.measure}): {r.videos}" for r in least.itertuples()]
    most = f"fewest videos of {table.videos.max()} shown to be equivalent"
    return style.caption(fig, shown, f"{most}, each test by itself: {'; '.join(found)}")
