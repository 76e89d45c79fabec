"""How every figure looks, and the one way to save it."""

import dataclasses
import functools
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from squbed_utils.files import ROOT, replacing
from squbed_utils.text import number, visible

SINGLE, DOUBLE = 3.25, 6.75
"""Widths of one and of two columns of a paper, in inches."""

LINE_SPACING = 1.15
"""Times the font's size."""

STYLE = mpl.rc_params_from_file(ROOT / "data" / "figures.mplstyle", use_default_template=False)
STYLE["font.family"] = [f for f in STYLE["font.family"] if f in fontManager.get_font_names()]
FAMILIES = {"paper": STYLE["font.family"], "talk": STYLE["font.family"][1:]}
"""Fonts by style: with serifs, as papers have them, and without, which carry further in a room."""

SMALLEST = STYLE["xtick.labelsize"]
"""Points; no text is smaller at a paper's column width."""

BLUE, ORANGE, BLACK, GREEN = "#0072B2", "#E69F00", "#000000", "#009E73"
VERMILLION, SKY, PURPLE, GREY = "#D55E00", "#56B4E9", "#CC79A7", "#7F7F7F"
"""Colours of Okabe and Ito, told apart with any colour vision, and a grey."""

COVERAGE_COLOURS = {"common": SKY, "rare": ORANGE, "never": BLACK}
COVERAGE_MARKERS = {"common": "o", "rare": "s", "never": "^"}


def dots(coverage: str) -> dict[str, object]:
    """Return how tasks on subjects of a coverage are drawn; grey where it is unknown."""
    colour, marker = COVERAGE_COLOURS.get(coverage, GREY), COVERAGE_MARKERS.get(coverage, "o")
    return {"color": colour, "marker": marker, "edgecolor": "white", "lw": 0.3}


PANEL = "panel"
"""Label of axes that are a panel although they show no axis, such as those of videos."""


@contextmanager
def under_style() -> Iterator[None]:
    """Set the style sheet inside the context, whatever the caller has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def styled(function: Callable) -> Callable:
    """Run a plotting function under the style sheet, and draw every given text literally.

    No text is read as mathematics, also on axes that the caller made. Invisible characters are
    escaped. A character that no installed font has becomes a box, and a line on stderr names it.
    """

    @functools.wraps(function)
    def draw(*args: object, **options: object) -> Axes | Figure:
        with under_style():
            missing: set[str] = set()
            args = [_drawable(value, missing) for value in args]
            options = {name: _drawable(value, missing) for name, value in options.items()}
            drawn = function(*args, **options)
            if isinstance(drawn, Figure):
                _letter_panels(drawn)
            for text in drawn.findobj(Text):
                text.set_parse_math(False)
                text.set_linespacing(LINE_SPACING)  # fonts differ in their own
            _tell(missing)
            return drawn

    return draw


def _letter_panels(fig: Figure) -> None:
    """Begin the title of each panel with its letter, where there are several."""
    panels = [ax for ax in fig.axes if ax.axison or ax.get_label() == PANEL]
    for letter, ax in zip(ascii_lowercase, panels if len(panels) > 1 else (), strict=False):
        ax.set_title(f"({letter}) {ax.get_title(loc='left')}".strip())


def caption(fig: Figure, shown: str, found: str) -> Figure:
    """Give a figure its caption, which `save` writes: what it shows, and what the data say."""
    sentences = (f"{s[0].upper() if s[0].isascii() else s[0]}{s[1:]}." for s in (shown, found))
    fig.set_label(" ".join(sentences))
    return fig


def chance(p: float) -> str:
    """Write a p-value.

    >>> chance(0.0401), chance(3e-12)
    ('p = 0.040', 'p = 3e−12')
    """
    small = number(p, ".0e").replace("e−0", "e−")
    return f"p = {p:.3f}" if p >= 0.001 else f"p = {small}"


def without_unit(label: str) -> str:
    """Return a label without the entropy's unit, where only the order of values is read."""
    return label.replace(" (nats)", "")


def few_ticks(ax: Axes, *, x: int = 5, y: int = 4) -> None:
    """Mark each axis at a few round places; `save` takes fewer where labels would touch."""
    for axis, count in ((ax.xaxis, x), (ax.yaxis, y)):
        axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 5, 10]))


def part_labels(fig: Figure) -> None:
    """Mark fewer places on every axis of numbers whose labels touch, until none does."""
    fig.draw_without_rendering()
    for axis in [axis for ax in fig.axes if ax.axison for axis in (ax.xaxis, ax.yaxis)]:
        locator, count = axis.get_major_locator(), len(axis.get_majorticklocs())
        while isinstance(locator, MaxNLocator) and count > 1 and _touch(axis):
            count -= 1
            locator.set_params(nbins=count, min_n_ticks=1)


def _touch(axis: Axis) -> bool:
    """Say whether two labels within the axis's limits have less than a letter between them."""
    low, high = sorted(axis.get_view_interval())
    axis.get_majorticklabels()  # puts ticks where the locator has them now
    labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [label.get_window_extent() for label in labels if label.get_visible()]
    gap = SMALLEST / 2 * axis.figure.dpi / 72 if axis.axis_name == "x" else 0
    ends = sorted((b.x0, b.x1) if axis.axis_name == "x" else (b.y0, b.y1) for b in boxes)
    return any(a[1] + gap > b[0] for a, b in pairwise(ends))


def _drawable(value: object, missing: set[str]) -> object:
    """Return an argument of a plotting function with every text in it made drawable."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else _as_drawn(value, missing)
    if isinstance(value, pd.DataFrame | pd.Series):
        if isinstance(value, pd.DataFrame):
            text = value.select_dtypes(["object", "string"])
            return value.assign(**{c: _drawable(text[c], missing) for c in text})
        return value.map(lambda cell: _drawable(cell, missing))
    if isinstance(value, list | tuple):
        return type(value)(_drawable(item, missing) for item in value)
    if isinstance(value, dict):
        return {key: _drawable(item, missing) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **_drawable(vars(value), missing))
    return value


def _as_drawn(text: str, missing: set[str]) -> str:
    """Put a box for each character that no font has, and nothing if that character has no width."""
    drawn = ""
    for char in visible(text):
        there = char.isspace() or ord(char) in _characters()
        width = unicodedata.category(char) not in ("Cf", "Mn", "Me")
        drawn += char if there else "□" * width
        missing |= {char} if width and not there else set()
    return drawn


@functools.cache
def _characters() -> set[int]:
    """Return the code points that the fonts of the style sheet have."""
    fonts = [fontManager.findfont(FontProperties(family=name)) for name in STYLE["font.family"]]
    return set().union(*(get_font(font).get_charmap() for font in fonts))


def _tell(missing: set[str], told: set[str] = set()) -> None:  # noqa: B006 - once a process
    if missing - told:
        print(
            f"squbed: no installed font has {' '.join(sorted(missing)[:20])}: drawn as □ in "
            "figures; install a font that has it, such as Noto Sans CJK or Noto Emoji",
            file=sys.stderr,
        )
        told |= missing


def wrapped(text: str, letters: int, *, lines: int = 12) -> str:
    r"""Break a text into lines of at most `letters` letters; a wide letter counts for two.

    >>> wrapped("a red star", 6), wrapped("一只红色的猫", 6)
    ('a red\nstar', '一只红\n色的猫')
    """
    pad = "\0"  # beside each wide letter while lines are counted
    wide = (c + pad if unicodedata.east_asian_width(c) in "WF" else c for c in text)
    how = {"max_lines": lines, "placeholder": " …"}
    return textwrap.fill("".join(wide), letters, **how).replace(pad, "")


def new_figure(height: float, *, width: float = DOUBLE) -> Figure:
    """Return an empty figure of a size in inches, which no window or notebook shows unasked."""
    return Figure(figsize=(width, height), layout="constrained")


def new_axes(ax: Axes | None, *, height: float = 2.2) -> Axes:
    """Return the axes given, or those of a new one-panel figure, a column wide."""
    return new_figure(height, width=SINGLE).subplots() if ax is None else ax


def remark(
    ax: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **style: object
) -> None:
    """Write a remark, coloured unless the style says otherwise, some points beside a place."""
    style = {"color": VERMILLION, "fontsize": SMALLEST, "textcoords": "offset points"} | style
    ax.annotate(text, at, xytext=offset, **style)


def say(ax: Axes, text: str, y: float = 0.5, **place: object) -> Axes:
    """Write small words in the middle of axes, or of a line, that have nothing to show."""
    style = {"ha": "center", "va": "center", "fontsize": SMALLEST, "color": GREY}
    ax.text(0.5, y, text, **style, **({"transform": ax.transAxes} | place))
    return ax


def name_lines(ax: Axes, names: Sequence[str], *, zero: bool = True) -> None:
    """Name the lines 0 to n - 1, the first on top, and mark zero."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    if zero:
        ax.axvline(0, color=GREY, lw=0.6)


def draw_intervals(
    ax: Axes,
    rows: pd.DataFrame,
    lines: Iterable[float],
    *,
    value: str,
    color: str,
    label: str | None = None,
    size: float = 4,
) -> None:
    """Draw a column of values, each on its line, with intervals from low to high where they are."""
    x = rows[value]
    error = [x - rows.low, rows.high - x]
    ax.errorbar(x, list(lines), xerr=error, fmt="o", ms=size, color=color, lw=1, label=label)


def save(
    fig: Figure,
    name: str,
    folder: Path | str,
    *,
    kinds: Collection[str] = ("pdf", "png"),
    style: str = "paper",
) -> list[Path]:
    """Write a figure as PDF and PNG, and its caption as text; equal figures give equal bytes.

    The files hold no dates or versions, and embed their fonts. Each is written under a temporary
    name and renamed.

    `name` is without ending, such as ``figure_3``, `kinds` are ``pdf``, ``png`` or both, and the
    style ``paper`` writes with serifs, ``talk`` without. Returned is a path of each kind, and then
    that of the caption, if the figure has one.
    """
    if style not in FAMILIES:
        raise ValueError(f"unknown style {style!r}; known: {', '.join(FAMILIES)}")
    if not name or Path(name).name != name or "." in name:
        raise ValueError(f"figure name {name!r} is not a plain name; expected such as 'figure_3'")
    nothing = {
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
        "png": {"Software": None},
    }
    with under_style():
        for text in fig.findobj(Text):
            text.set_fontfamily(FAMILIES[style])
        for ax in fig.axes:
            ax.tick_params(labelfontfamily=FAMILIES[style])  # also of ticks that are yet to come
        part_labels(fig)
        fig.draw_without_rendering()
        fig.set_layout_engine("none")  # laid out once, so that both files agree
        for part in fig.subfigs:  # the layout's last bits depend on where objects lie in memory
            part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 6))
        for ax in fig.axes:
            ax.set_position(np.round(ax.get_position(original=True).bounds, 6))
        paths = []
        for kind in kinds:
            paths.append(Path(folder) / f"{name}.{kind}")
            with replacing(paths[-1]) as partial:
                fig.savefig(partial, format=kind, metadata=nothing[kind])
    if fig.get_label():
        paths.append(Path(folder) / f"{name}.txt")
        with replacing(paths[-1]) as partial:
            partial.write_text(f"{fig.get_label()}\n", encoding="utf-8", errors="replace")
    return paths
