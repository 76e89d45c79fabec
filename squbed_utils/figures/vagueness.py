"""Vague prompts: h(Z given l) of each with its interval, and the question that would narrow it."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squbed_utils.figures.style import BLUE, DOUBLE, caption, new_axes, new_figure, styled, wrapped

MOST = 30
"""Most prompts of a figure: the vaguest."""

LINE, LETTERS = 0.27, 46
"""Inches that a prompt takes, and letters of a line."""


@styled
def plot_vagueness(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each ranked prompt as a line, the vaguest on top, with its question on the right.

    The table is that of `vagueness`; a point without an interval is hollow.
    """
    ranked = table[table["rank"].notna()].head(MOST)
    ax = new_axes(ax, width=DOUBLE, height=0.7 + LINE * max(len(ranked), 1))
    for line, row in enumerate(ranked.itertuples()):
        ax.plot([row.aleatoric_low, row.aleatoric_high], [line, line], color=BLUE, lw=1)
        face = "white" if pd.isna(row.aleatoric_low) else BLUE
        ax.plot(row.aleatoric, line, "o", ms=3.5, color=BLUE, mfc=face, mew=0.8)
        if row.question:
            asked = wrapped(f"{row.question} ({row.removes:.0%})", LETTERS, lines=2)
            ax.annotate(asked, (1.02, line), xycoords=("axes fraction", "data"), va="center")
    labels = [wrapped(prompt, LETTERS, lines=2) for prompt in ranked.prompt]
    ax.set_yticks(range(len(ranked)), labels)
    ax.set(ylim=(max(len(ranked), 1) - 0.5, -0.5), xlabel="h(Z | l), nats")
    return ax


@styled
def figure_vagueness(table: pd.DataFrame) -> Figure:
    """Draw the vaguest prompts, and say how many there are and how many have no rank."""
    count = int(table["rank"].notna().sum())
    fig = new_figure(DOUBLE, 0.75 + LINE * max(min(count, MOST), 1))
    plot_vagueness(table, ax=fig.subplots())
    shown = f"The {MOST} vaguest of {count} prompts" if count > MOST else f"{count} prompts"
    none = f", {len(table) - count} more without a rank" if count < len(table) else ""
    fig.suptitle(f"{shown}{none}", x=0.008, ha="left")
    ranked = table.sort_values("rank", kind="stable")
    ends = " and ".join(f"“{ranked.prompt.iloc[place]}”" for place in (0, count - 1))
    told = "h(Z | l) of the latent prompts with 95% intervals; on the right what to ask, and what "
    told += "share of the spread the answer removes"
    return caption(fig, told, f"{shown}{none}; the vaguest and the least vague are {ends}")
