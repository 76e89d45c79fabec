"""Vague prompts: h(Z given l) of each with its interval, and the question that would narrow it."""

import pandas as pd
from matplotlib.figure import Figure

from squbed_utils.figures.style import BLUE, DOUBLE, caption, new_figure, styled, wrapped

MOST = 30
"""Most prompts of a figure: the vaguest."""

LINE, LETTERS = 0.27, 46
"""Inches that a prompt takes, and letters of a line."""


@styled
def figure_vagueness(table: pd.DataFrame) -> Figure:
    """Draw each ranked prompt as a line, the vaguest on top, with its question on the right.

    The table is that of `vagueness`; a point without an interval is hollow. The figure says how
    many prompts there are and how many have no rank.
    """
    ranked = table[table["rank"].notna()]
    count, drawn = len(ranked), ranked.head(MOST)
    fig = new_figure(DOUBLE, 0.75 + LINE * max(len(drawn), 1))
    ax = fig.subplots()
    for line, row in enumerate(drawn.itertuples()):
        ax.plot([row.aleatoric_low, row.aleatoric_high], [line, line], color=BLUE, lw=1)
        face = "white" if pd.isna(row.aleatoric_low) else BLUE
        ax.plot(row.aleatoric, line, "o", ms=3.5, color=BLUE, mfc=face, mew=0.8)
        if row.question:
            asked = wrapped(f"{row.question} ({row.removes:.0%})", LETTERS, lines=2)
            ax.annotate(asked, (1.02, line), xycoords=("axes fraction", "data"), va="center")
    labels = [wrapped(prompt, LETTERS, lines=2) for prompt in drawn.prompt]
    ax.set_yticks(range(len(drawn)), labels)
    ax.set(ylim=(max(len(drawn), 1) - 0.5, -0.5), xlabel="h(Z | l), nats")
    said = f"The {MOST} vaguest of {count} prompts" if count > MOST else f"{count} prompts"
    said += f", {len(table) - count} more without a rank" if count < len(table) else ""
    fig.suptitle(said, x=0.008, ha="left")
    shown = "h(Z | l) of the latent prompts with 95% intervals; on the right what to ask, and what "
    shown += "share of the spread the answer removes"
    if count:
        said += "; from the vaguest, “{}”, to the least vague, “{}”".format(
            *ranked.prompt.iloc[[0, -1]]
        )
    return caption(fig, shown, said)
