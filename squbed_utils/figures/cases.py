"""Figures 1 and 2: a hallucination, and the method walked through on one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from squbed_utils.figures.frames import EXAMPLE_HEIGHT, draw_examples, plot_frames
from squbed_utils.figures.style import (
    BLUE,
    COVERAGE_COLOURS,
    DOUBLE,
    GREY,
    SMALLEST,
    VERMILLION,
    new_axes,
    new_figure,
    remark,
    styled,
    wrapped,
)
from squbed_utils.text import number

if TYPE_CHECKING:
    from squbed_utils.statistics.examples import Example


LATENT_HEIGHT, LATENT_LETTERS = 0.55, 26
OPEN = {"color": BLUE, "mfc": "white", "zorder": 3}


@styled
def plot_positions(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one value of every task by group, with some tasks ringed and labelled.

    The table has group (a line each, the first on top), value, value_label, label (empty: no ring),
    and optionally title.
    """
    ax = new_axes(ax, height=1.4)
    groups = list(dict.fromkeys(table.group))
    for line, group in enumerate(groups):
        rows = table[table.group == group]
        colour = COVERAGE_COLOURS.get(group, GREY)
        ax.scatter(rows.value, np.full(len(rows), line), s=14, color=colour, alpha=0.75, lw=0)
        for k, row in enumerate(rows[rows.label != ""].itertuples()):
            ax.scatter(row.value, line, s=50, facecolor="none", edgecolor=VERMILLION, lw=1)
            right = row.value > table.value.min() + 0.6 * np.ptp(table.value)
            remark(
                ax, row.label, (row.value, line), (0, 6 + 8 * k), ha="right" if right else "left"
            )
    ax.set(yticks=range(len(groups)), yticklabels=groups, xlabel=table.value_label.iloc[0])
    ax.set_ylim(len(groups) - 0.6, -0.75)
    if "title" in table:
        ax.set_title(table.title.iloc[0], fontsize=SMALLEST, linespacing=1.25)
    return ax


@styled
def figure_1(examples: list[Example], positions: pd.DataFrame) -> Figure:
    """Draw Figure 1: a hallucination beside a faithful video, and how certain the model seems.

    Parameters
    ----------
    examples : list of Example
    positions : DataFrame
        As `plot_positions`: the uncertainty of every task, with a label for each example.
    """
    heights = [EXAMPLE_HEIGHT * len(examples) + 0.2, 1.5]
    fig = new_figure(DOUBLE, sum(heights))
    top, bottom = fig.subfigures(2, 1, height_ratios=heights)
    draw_examples(top, examples)
    plot_positions(positions, ax=bottom.subplots())
    return fig


@styled
def plot_terms(terms: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw values with their intervals, one line each, the values written beside.

    The table has term, value, low and high (missing: no interval), remark and unit. A remark stands
    beside its value; a value that was not measured has an open marker.
    """
    ax = new_axes(ax, height=1.2)
    lines = np.arange(len(terms))
    error = [terms.value - terms.low, terms.high - terms.value]
    ax.errorbar(terms.value, lines, xerr=error, fmt="o", color=BLUE, elinewidth=1)
    for line, row in zip(lines, terms.itertuples(), strict=True):
        if row.remark:
            if not row.remark.startswith("no interval"):
                ax.plot(row.value, line, "o", **OPEN)
            side, x = ("right", -6) if row.value > terms.value.mean() else ("left", 6)
            remark(ax, row.remark, (row.value, line), (x, 0), ha=side, va="center")
    ax.set_yticks(lines, [f"{row.term} = {number(row.value, '.1f')}" for row in terms.itertuples()])
    ax.set(xlabel=terms.unit.iloc[0], ylim=(len(terms) - 0.5, -0.5))
    return ax


@styled
def figure_2(example: Example, latents: pd.DataFrame, terms: pd.DataFrame) -> Figure:
    """Draw Figure 2: from a prompt to latent prompts, to their videos, to entropies and sums.

    Parameters
    ----------
    example : Example
        Videos of every latent prompt, equally many.
    latents : DataFrame
        latent, prompt, entropy of its videos, degenerate (set by the cap: an open marker), unit.
    terms : DataFrame
        As `plot_terms`: aleatoric, epistemic and total.

    Raises
    ------
    ValueError
        If a latent prompt has no video in the example.
    """
    heights = [0.3, LATENT_HEIGHT * len(latents) + 0.3, 0.95]
    fig = new_figure(DOUBLE, sum(heights))
    head, body, foot = fig.subfigures(3, 1, height_ratios=heights)
    head.text(0.01, 0.45, f"prompt l: “{example.prompt}”", fontsize=8, fontweight="bold")
    _draw_latents(body, example, latents)
    plot_terms(terms, ax=foot.subplots())
    return fig


def _draw_latents(part: SubFigure, example: Example, latents: pd.DataFrame) -> None:
    by_latent = {
        latent: [v for v, i in zip(example.videos, example.latents, strict=True) if i == latent]
        for latent in latents.latent
    }
    columns = min(map(len, by_latent.values()))
    if not columns:
        raise ValueError(f"the example {example.task} has a latent prompt without any video")
    ratios = [1.45, *[4.0 / columns] * columns, 1.3]
    grid = part.add_gridspec(len(latents), columns + 2, width_ratios=ratios)
    for line, row in enumerate(latents.itertuples()):
        text = part.add_subplot(grid[line, 0])
        text.set_axis_off()
        words = wrapped(f"z{row.latent + 1}: {row.prompt}", LATENT_LETTERS)
        text.text(0, 0.5, words, va="center", fontsize=SMALLEST, transform=text.transAxes)
        axes = [part.add_subplot(grid[line, 1 + k]) for k in range(columns)]
        for ax, video in zip(axes, by_latent[row.latent], strict=False):
            plot_frames(video, ax=ax)
        if line == 0:
            text.set_title("1  latent prompts")
            axes[0].set_title("2  videos of each")
    _plot_entropies(latents, part.add_subplot(grid[:, -1]))


def _plot_entropies(latents: pd.DataFrame, ax: Axes) -> None:
    mean = latents.entropy.mean()
    lines = np.arange(len(latents))
    ax.plot(latents.entropy, lines, "o", color=BLUE)
    ax.axvline(mean, color=VERMILLION, lw=0.8, ls="--")
    ax.plot(latents.entropy[latents.degenerate], lines[latents.degenerate], "o", **OPEN)
    ax.set(yticks=lines, ylim=(len(latents) - 0.5, -0.5), xlabel=latents.unit.iloc[0])
    ax.set_yticklabels([f"z{latent + 1}" for latent in latents.latent])
    ax.set_title("3  h(V|zᵢ), mean dashed")
    ax.locator_params(axis="x", nbins=4)
