"""Figures 1 and 2: a hallucination, and the method walked through on one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from squbed_utils.figures import style
from squbed_utils.figures.frames import EXAMPLE_HEIGHT, draw_examples, plot_frames
from squbed_utils.text import number

if TYPE_CHECKING:
    from squbed_utils.statistics.examples import Example


LATENT_HEIGHT, LATENT_LETTERS = 0.55, 26
OPEN = {"color": style.BLUE, "mfc": "white", "zorder": 3}

SPREAD = (0, -0.16, 0.16, -0.08, 0.08)
"""Heights that neighbours take in turn, so that they do not cover each other."""


@style.styled
def plot_positions(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one value of every task by group, with some tasks ringed and labelled.

    The table has group (a line each, the first on top), value, value_label, label (empty: no ring),
    and optionally title.
    """
    ax = style.new_axes(ax, height=1.4)
    groups = list(dict.fromkeys(table.group))
    for line, group in enumerate(groups):
        rows = table[table.group == group].sort_values("value", kind="stable")
        rows = rows.assign(height=line + np.resize(SPREAD, len(rows)))
        ax.scatter(rows.value, rows.height, s=14, **style.dots(group))
        for k, row in enumerate(rows[rows.label != ""].itertuples()):
            ax.scatter(
                row.value, row.height, s=50, facecolor="none", edgecolor=style.VERMILLION, lw=1
            )
            right = row.value > table.value.min() + 0.6 * np.ptp(table.value)
            at = (row.value, line + min(SPREAD))
            style.remark(ax, row.label, at, (0, 5 + 8 * k), ha="right" if right else "left")
    ax.set(yticks=range(len(groups)), yticklabels=groups)
    ax.set(xlabel=style.without_unit(table.value_label.iloc[0]), ylim=(len(groups) - 0.6, -0.75))
    if "title" in table:
        ax.set_title(table.title.iloc[0])
    return ax


@style.styled
def figure_1(examples: list[Example], positions: pd.DataFrame) -> Figure:
    """Draw Figure 1: a hallucination beside a faithful video, and how certain the model seems.

    `positions` is as `plot_positions`: the uncertainty of every task, a label for each example.
    """
    heights = [EXAMPLE_HEIGHT * len(examples) + 0.2, 1.5]
    fig = style.new_figure(sum(heights))
    top, bottom = fig.subfigures(2, 1, height_ratios=heights)
    draw_examples(top, examples)
    plot_positions(positions, ax=bottom.subplots())
    shown = "videos of two prompts, reference on the left, and below, ringed, where they lie among "
    shown += f"all tasks by {style.without_unit(positions.value_label.iloc[0])}"
    return style.caption(fig, shown, "; ".join(positions.label[positions.label != ""]))


@style.styled
def plot_terms(terms: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw values with their intervals, one line each, the values written beside.

    The table has term, value, low and high (missing: no interval), remark and unit. A remark stands
    beside its value; a value that was not measured has an open marker.
    """
    ax = style.new_axes(ax, height=1.2)
    lines = np.arange(len(terms))
    style.draw_intervals(ax, terms, lines, value="value", color=style.BLUE)
    for line, row in zip(lines, terms.itertuples(), strict=True):
        if row.remark:
            if not row.remark.startswith("no interval"):
                ax.plot(row.value, line, "o", **OPEN)
            side, x = ("right", -6) if row.value > terms.value.mean() else ("left", 6)
            style.remark(ax, row.remark, (row.value, line), (x, 0), ha=side, va="center")
    names = terms.term.str.replace("|l)", "|ℓ)", regex=False) + " = "
    style.name_lines(ax, names + terms.value.map(lambda value: number(value, ".1f")), zero=False)
    ax.set_xlabel(terms.unit.iloc[0])
    return ax


@style.styled
def figure_2(example: Example, latents: pd.DataFrame, terms: pd.DataFrame) -> Figure:
    """Draw Figure 2: from a prompt to latent prompts, to their videos, to entropies and sums.

    The arguments are as `examples.walk`; entropies that the cap set have an open marker. An example
    with a latent prompt without video is refused.
    """
    heights = [0.3, LATENT_HEIGHT * len(latents) + 0.3, 0.95]
    fig = style.new_figure(sum(heights))
    head, body, foot = fig.subfigures(3, 1, height_ratios=heights)
    head.text(0.01, 0.45, f"prompt ℓ: “{example.prompt}”", fontsize=8, fontweight="bold")
    _draw_latents(body, example, latents)
    plot_terms(terms, ax=foot.subplots())
    shown = f"the method on the prompt ℓ, “{example.prompt}”: (a) its latent prompts zᵢ, (b) their "
    shown += f"videos, {example.values}, (c) the entropy of each latent prompt's videos, dashed "
    shown += "their mean, (d) the terms with 95% intervals"
    found = (f"{row.term} = {number(row.value, '.1f')} {row.unit}" for row in terms.itertuples())
    return style.caption(fig, shown, "its terms are " + "; ".join(found).replace("|l)", "|ℓ)"))


def _draw_latents(part: SubFigure, example: Example, latents: pd.DataFrame) -> None:
    by_latent = {
        latent: [v for v, i in zip(example.videos, example.latents, strict=True) if i == latent]
        for latent in latents.latent
    }
    columns = min(map(len, by_latent.values()))
    if not columns:
        raise ValueError(f"the example {example.task} has a latent prompt without any video")
    ratios = [1.45, *[4.0 / columns] * columns, 1.3]
    # Headings have a line of their own, so that they stand at one height.
    ratios = {"width_ratios": ratios, "height_ratios": [0.01, *[1] * len(latents)]}
    grid = part.add_gridspec(1 + len(latents), columns + 2, **ratios)
    for place, title in ((0, "latent prompts"), (slice(1, -1), "videos of each")):
        heading = part.add_subplot(grid[0, place], label=style.PANEL, title=title)
        heading.set_axis_off()
    for line, row in enumerate(latents.itertuples(), 1):
        text = part.add_subplot(grid[line, 0])
        text.set_axis_off()
        words = style.wrapped(f"z{row.latent + 1}: {row.prompt}", LATENT_LETTERS)
        text.text(0, 0.5, words, va="center", fontsize=style.SMALLEST, transform=text.transAxes)
        axes = [part.add_subplot(grid[line, 1 + k]) for k in range(columns)]
        for ax, video in zip(axes, by_latent[row.latent], strict=False):
            plot_frames(video, ax=ax)
    _plot_entropies(latents, part.add_subplot(grid[:, -1]))


def _plot_entropies(latents: pd.DataFrame, ax: Axes) -> None:
    mean = latents.entropy.mean()
    lines = np.arange(len(latents))
    ax.plot(latents.entropy, lines, "o", color=style.BLUE)
    ax.axvline(mean, color=style.VERMILLION, lw=0.8, ls="--")
    ax.plot(latents.entropy[latents.degenerate], lines[latents.degenerate], "o", **OPEN)
    style.few_ticks(ax, x=3)
    style.name_lines(ax, [f"z{latent + 1}" for latent in latents.latent], zero=False)
    ax.set_xlabel(latents.unit.iloc[0])
    ax.set_title("h(V|zᵢ), mean dashed")
