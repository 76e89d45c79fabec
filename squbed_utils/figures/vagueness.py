"""Vague prompts: h(Z given l) of each with its interval, and the question that would narrow it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squbed_utils.figures import style
from squbed_utils.figures.panels import draw_encoders

MOST = 30
"""Most prompts of a figure: the vaguest."""

LINE, LETTERS = 0.27, 46
"""Inches that a prompt takes, and letters of a line."""


@style.styled
def figure_vagueness(table: pd.DataFrame) -> Figure:
    """Draw each ranked prompt as a line, the vaguest on top, with its question on the right.

    The table is that of `vagueness`; a point without an interval is hollow. The figure says how
    many prompts there are and how many have no rank.
    """
    ranked = table[table["rank"].notna()]
    count, drawn = len(ranked), ranked.head(MOST)
    fig = style.new_figure(0.75 + LINE * max(len(drawn), 1))
    ax = fig.subplots()
    for line, row in enumerate(drawn.itertuples()):
        ax.plot([row.aleatoric_low, row.aleatoric_high], [line, line], color=style.BLUE, lw=1)
        face = "white" if pd.isna(row.aleatoric_low) else style.BLUE
        ax.plot(row.aleatoric, line, "o", ms=3.5, color=style.BLUE, mfc=face, mew=0.8)
        if row.question:
            asked = style.wrapped(f"{row.question} ({row.removes:.0%})", LETTERS, lines=2)
            ax.annotate(asked, (1.02, line), xycoords=("axes fraction", "data"), va="center")
    style.name_lines(
        ax, [style.wrapped(prompt, LETTERS, lines=2) for prompt in drawn.prompt], zero=False
    )
    ax.set_xlabel("h(Z | l), nats")
    said = f"The {MOST} vaguest of {count} prompts" if count > MOST else f"{count} prompts"
    said += f", {len(table) - count} more without a rank" if count < len(table) else ""
    fig.suptitle(said, x=0.008, ha="left")
    shown = "h(Z | l) of the latent prompts with 95% intervals; on the right what to ask, and what "
    shown += "share of the spread the answer removes"
    if count:
        said += "; from the vaguest, “{}”, to the least vague, “{}”".format(
            *ranked.prompt.iloc[[0, -1]]
        )
    return style.caption(fig, shown, said)


@style.styled
def plot_rungs(table: pd.DataFrame, rungs: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw h(Z | l) of each ranked prompt, a row a rung, and a line at each rung's median."""
    ax = style.new_axes(ax)
    labels = []
    for line, rung in enumerate(rungs):
        values = table.aleatoric[(table.category == rung) & table["rank"].notna()]
        heights = line + 0.6 * (np.arange(len(values)) + 0.5) / max(len(values), 1) - 0.3
        ax.plot(values, heights, "o", ms=2.5, color=style.BLUE, mew=0)
        if len(values):
            ax.plot([values.median()] * 2, [line - 0.4, line + 0.4], color=style.GREY)
        first = table.prompt[table.category == rung].iloc[0]
        labels.append(f"{rung} ({len(values)}), such as\n" + style.wrapped(first, 30, lines=3))
    style.name_lines(ax, labels, zero=False)
    ax.set_xlabel("h(Z | l), nats")
    return ax


@style.styled
def figure_rungs(table: pd.DataFrame, taus: pd.DataFrame, rungs: Sequence[str]) -> Figure:
    """Draw a ladder of prompts: h(Z | l) by rung, and which measures follow it.

    `table` is as of `vagueness`, with the rung in `category`; `taus` as of `ladder_taus`.
    """
    fig = style.new_figure(2.6)
    left, right = fig.subplots(1, 2, width_ratios=[1.2, 1])
    plot_rungs(table, rungs, ax=left)
    panel = taus.rename(columns={"measure": "label", "tau": "value"})
    draw_encoders(right, panel.assign(panel="with the rung", encoders=""), {})
    right.set(xlim=(-1.05, max(0.3, *(taus.high + 0.05))), xlabel="Kendall's τ; 95 % interval")
    none = int(table["rank"].isna().sum())
    told = f"; {none} of {len(table)} prompts have no rank" if none else ""
    said = f"prompts that say more are less vague where τ is negative{told}"
    fig.suptitle(said[0].upper() + said[1:], x=0.008, ha="left")
    shown = "h(Z | l) of prompts by rung, with the median, and τ of each measure with the rung"
    return style.caption(fig, shown, said)
