"""Videos on paper: strips of frames, rows of examples, contact sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from squbed_utils.figures import style

if TYPE_CHECKING:
    from squbed_utils.statistics.examples import Example


SHOWN = 3
"""Frames shown of a video: the first, the middle and the last."""

GAP = 0.06
"""White between two frames, as a share of a frame's width."""

TEXT_WIDTH, EXAMPLE_HEIGHT, LETTERS = 1.6, 0.72, 28
"""Inches for an example's text and its height, and letters to a line."""

SHEET_HEIGHT, SHEET_LETTERS, COLUMNS = 0.47, 44, 3
"""Inches for a line of a contact sheet, letters of a prompt above a strip, strips side by side."""


@style.styled
def plot_frames(video: np.ndarray, *, count: int = SHOWN, ax: Axes | None = None) -> Axes:
    """Draw evenly spaced frames of a video, uint8 (T, H, W, 3), side by side, first to last.

    A video of fewer than `count` frames is drawn whole.
    """
    ax = style.new_axes(ax, height=1.2)
    _draw_strip(ax, video, count)
    return ax


def _draw_strip(ax: Axes, video: np.ndarray, count: int) -> None:
    """Draw a strip with a thin line around each frame; without it white frames have no edge."""
    image = strip(video, count)
    ax.imshow(image, interpolation="none")
    ax.set_axis_off()
    height, width = video.shape[1:3]
    for left in range(0, image.shape[1], width + _gap(width)):
        edge = Rectangle((left - 0.5, -0.5), width, height, fill=False, lw=0.3, ec=style.GREY)
        ax.add_patch(edge).set_clip_on(False)


def _gap(width: int) -> int:
    return max(1, round(GAP * width))


def strip(video: np.ndarray, count: int) -> np.ndarray:
    """Return evenly spaced frames of uint8 (T, H, W, 3) in a row with white between: (H, W', 3)."""
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8 or not len(video):
        raise ValueError(f"video is {video.dtype} {video.shape}; expected uint8 (T, H, W, 3)")
    if count < 1:
        raise ValueError(f"count is {count}; expected at least one frame")
    chosen = np.linspace(0, len(video) - 1, min(count, len(video))).round().astype(int)
    if count == 1:
        chosen = [len(video) // 2]
    gap = np.full((video.shape[1], _gap(video.shape[2]), 3), 255, np.uint8)
    pieces = [piece for i in chosen for piece in (video[i], gap)]
    return np.concatenate(pieces[:-1], axis=1)


def draw_examples(part: Figure | SubFigure, examples: list[Example]) -> None:
    """Draw a row for each example: its text, its reference, its videos."""
    known = any(example.reference is not None for example in examples)
    columns = known + max(len(example.videos) for example in examples)
    image_width = (part.bbox.width / part.figure.dpi - TEXT_WIDTH) / columns
    ratios = [TEXT_WIDTH, *[image_width] * columns]
    axes = part.subplots(len(examples), 1 + columns, squeeze=False, width_ratios=ratios)
    for row, example in zip(axes, examples, strict=True):
        for ax in row:
            ax.set_axis_off()
        row[0].set(label=style.PANEL, title=example.label)
        text = [
            style.wrapped(line, LETTERS) for line in (f"“{example.prompt}”", example.values) if line
        ]
        place = {"xy": (0, 1), "xycoords": "axes fraction", "va": "top", "fontsize": style.SMALLEST}
        row[0].annotate("\n".join(text), **place)
        videos = [example.reference, *example.videos] if known else example.videos
        for ax, video in zip(row[1:], videos, strict=False):
            if video is None:
                style.say(ax, "none")
            else:
                plot_frames(video, ax=ax)
    axes[0, 1].set_title("reference" if known else "generated")
    if known:
        axes[0, 2].set_title("generated")


@style.styled
def contact_sheet(examples: list[Example], *, of: int) -> Figure:
    """Draw tasks as strips: a frame of the reference, if any, framed; then one of each video.

    At least one is given; its prompt stands above the strip. The figure says how many of the tasks,
    `of` in number, it shows.
    """
    if not examples:
        raise ValueError("a contact sheet of no tasks; give at least one example")
    rows = -(-len(examples) // COLUMNS)
    height = SHEET_HEIGHT * rows + 0.25
    fig = Figure(figsize=(style.DOUBLE, height))
    fig.subplots_adjust(0.005, 0.03 / height, 0.995, 1 - 0.34 / height, wspace=0.03, hspace=0.4)
    axes = fig.subplots(rows, COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, example in zip(axes.T.flat, examples, strict=False):
        videos = [v for v in (example.reference, *example.videos) if v is not None]
        ax.set_title(style.wrapped(example.prompt, SHEET_LETTERS, lines=1), pad=1.5)
        if not videos:
            continue
        size = (example.videos or videos)[0].shape[1:3]
        videos = [stretched(video, size) for video in videos]
        frames = np.stack([video[len(video) // 2] for video in videos])
        _draw_strip(ax, frames, len(frames))
        if example.reference is not None:
            ax.patches[0].set(edgecolor=style.VERMILLION, linewidth=1.2)
        ax.set_anchor("W")
    known = any(example.reference is not None for example in examples)
    shown = f"{len(examples)} of {of} tasks, each with the middle frame of "
    shown += "its reference (framed), then of " * known + "a video of each of its latent prompts"
    fig.text(0.005, 1 - 0.05 / height, shown, va="top")
    counts = dict.fromkeys(example.values for example in examples)
    return style.caption(fig, shown, f"of a task it shows {' or '.join(counts)}")


def stretched(video: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return frames (T, H, W, 3) in another size (rows, columns), by nearest pixels."""
    rows, columns = (
        np.linspace(0, old - 1, new).round().astype(int)
        for old, new in zip(video.shape[1:3], size, strict=True)
    )
    return video[:, rows][:, :, columns]


PROMPT_WIDTH, PROMPT_LETTERS, LINE = 1.9, 36, 0.115
"""Inches for a latent prompt's text, letters to a line, and inches a line."""

TALLEST, ROW_GAP, MARGIN = 0.8, 0.07, 0.08
"""Inches: of a frame, between two lines of frames, and at the edge."""

TITLE, BOLD = {"fontsize": 8.5, "fontweight": "bold"}, {"fontweight": "bold"}

FAINT = {"color": style.GREY}


@style.styled
def figure_answer(
    prompt: str, terms: pd.DataFrame, latents: pd.DataFrame, *, note: str = ""
) -> Figure:
    """Draw the contact sheet of one prompt, with the note below the terms.

    `terms` has term, text (its value, written out) and meaning; `latents` has latent, prompt and
    frames, a list of uint8 (H, W, 3), one of each video.
    """
    room = style.DOUBLE - PROMPT_WIDTH - 2 * MARGIN
    rows = []
    for row in latents.itertuples():
        text, tall = style.wrapped(f"z{row.latent + 1}: {row.prompt}", PROMPT_LETTERS), 0
        if row.frames:
            height, width = row.frames[0].shape[:2]
            tall = min(TALLEST, room / len(row.frames) * height / width)
        rows.append((text, row.frames, max(tall, LINE * len(text.splitlines())) + ROW_GAP))
    head = _head_lines(prompt, terms, note)
    height = sum(line[0] for line in head) + sum(line for _, _, line in rows) + 2 * MARGIN
    fig = Figure(figsize=(style.DOUBLE, height))
    top = height - MARGIN
    for line, pieces in head:
        for left, text, font in pieces:
            _write(fig, MARGIN + left, top, text, **({"fontsize": 7} | font))
        top -= line
    for text, frames, line in rows:
        _write(fig, MARGIN, top, text)
        place = np.array([MARGIN + PROMPT_WIDTH, top - line + ROW_GAP, room, line - ROW_GAP])
        _draw_videos(fig.add_axes(place / np.tile([style.DOUBLE, height], 2)), frames)
        top -= line
    return fig


def _head_lines(prompt: str, terms: pd.DataFrame, note: str) -> list[tuple[float, list]]:
    """Return the head's lines: their inches, and pieces of left edge, text and font."""
    title = style.wrapped(f"“{prompt}”", 80)
    lines = [(0.17 * len(title.splitlines()) + 0.03, [(0, title, TITLE)])]
    lines += [
        (0.14, [(0, t.term, BOLD), (0.7, t.text, {}), (2.1, t.meaning, FAINT)])
        for t in terms.itertuples()
    ]
    text = style.wrapped(note, 135)
    return [
        *lines,
        (LINE * len(text.splitlines()) + 0.1, [(0, text, {"fontsize": style.SMALLEST})]),
    ]


def _write(fig: Figure, left: float, top: float, text: str, **font: object) -> None:
    """Write text with its upper left corner at a place in inches."""
    width, height = fig.get_size_inches()
    fig.text(left / width, top / height, text, va="top", **({"fontsize": style.SMALLEST} | font))


def _draw_videos(ax: Axes, frames: list[np.ndarray]) -> None:
    ax.set_axis_off()
    if not frames:
        ax.text(0, 1, "no video", va="top", fontsize=style.SMALLEST, color=style.GREY)
        return
    alike = np.concatenate([stretched(f[None], frames[0].shape[:2]) for f in frames])
    plot_frames(alike, count=len(alike), ax=ax)
    ax.set_anchor("NW")
