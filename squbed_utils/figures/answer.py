"""The contact sheet of one prompt's answer: its numbers, its latent prompts, their videos."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squbed_utils.figures.frames import plot_frames, stretched
from squbed_utils.figures.style import DOUBLE, GREY, SMALLEST, require_columns, styled, wrapped

PROMPT_WIDTH, PROMPT_LETTERS, LINE = 1.9, 36, 0.115
"""Inches for a latent prompt's text, letters to a line, and inches a line."""

TALLEST, ROW_GAP, MARGIN = 0.8, 0.07, 0.08
"""Inches: of a frame, between two lines of frames, and at the edge."""

TITLE, BOLD = {"fontsize": 8.5, "fontweight": "bold"}, {"fontweight": "bold"}
FAINT = {"color": GREY}


@styled
def figure_answer(
    prompt: str, terms: pd.DataFrame, latents: pd.DataFrame, *, note: str = ""
) -> Figure:
    """Draw the contact sheet of one prompt.

    Parameters
    ----------
    prompt : str
    terms : DataFrame
        term, text (its value, written out), meaning.
    latents : DataFrame
        latent, prompt, frames (a list of uint8 (H, W, 3), one of each video).
    note : str
        Printed below the terms.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a column is missing or a table is empty.
    """
    require_columns(terms, ("term", "text", "meaning"), "the table of terms")
    require_columns(latents, ("latent", "prompt", "frames"), "the table of latent prompts")
    room = DOUBLE - PROMPT_WIDTH - 2 * MARGIN
    texts = [
        wrapped(f"z{row.latent + 1}: {row.prompt}", PROMPT_LETTERS) for row in latents.itertuples()
    ]
    heights = [
        max(_frame_height(frames, room), LINE * len(text.splitlines())) + ROW_GAP
        for frames, text in zip(latents.frames, texts, strict=True)
    ]
    head = _head_lines(prompt, terms, note)
    height = sum(line[0] for line in head) + sum(heights) + 2 * MARGIN
    fig = Figure(figsize=(DOUBLE, height))
    top = _write_head(fig, head, height - MARGIN)
    for frames, text, line in zip(latents.frames, texts, heights, strict=True):
        _write(fig, MARGIN, top, text, linespacing=1.1)
        place = np.array([MARGIN + PROMPT_WIDTH, top - line + ROW_GAP, room, line - ROW_GAP])
        _draw_videos(fig.add_axes(place / np.tile([DOUBLE, height], 2)), frames)
        top -= line
    return fig


def _head_lines(prompt: str, terms: pd.DataFrame, note: str) -> list[tuple[float, list]]:
    """Return lines of the head: inches, and pairs of text and style with their left edges."""
    title = wrapped(f"“{prompt}”", 80)
    lines = [(0.17 * len(title.splitlines()) + 0.03, [(0, title, TITLE)])]
    lines += [
        (0.14, [(0, t.term, BOLD), (0.7, t.text, {}), (2.1, t.meaning, FAINT)])
        for t in terms.itertuples()
    ]
    text = wrapped(note, 135)
    return [*lines, (LINE * len(text.splitlines()) + 0.1, [(0, text, {"fontsize": SMALLEST})])]


def _write_head(fig: Figure, lines: list[tuple[float, list]], top: float) -> float:
    for height, pieces in lines:
        for left, text, style in pieces:
            _write(fig, MARGIN + left, top, text, **({"fontsize": 7} | style))
        top -= height
    return top


def _write(fig: Figure, left: float, top: float, text: str, **style: object) -> None:
    """Write text below and right of a place in inches."""
    width, height = fig.get_size_inches()
    fig.text(left / width, top / height, text, va="top", **({"fontsize": SMALLEST} | style))


def _draw_videos(ax: Axes, frames: list[np.ndarray]) -> None:
    ax.set_axis_off()
    if not frames:
        ax.text(0, 1, "no video", va="top", fontsize=SMALLEST, color=GREY)
        return
    alike = np.concatenate([stretched(f[None], frames[0].shape[:2]) for f in frames])
    plot_frames(alike, count=len(alike), ax=ax)
    ax.set_anchor("NW")


def _frame_height(frames: list[np.ndarray], room: float) -> float:
    if not frames:
        return 0
    height, width = frames[0].shape[:2]
    return min(TALLEST, room / len(frames) * height / width)
