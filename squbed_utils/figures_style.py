"""How every figure looks, and the one way to save it."""

import functools
from collections.abc import Callable, Collection
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squbed_utils._files import replacing

SINGLE, DOUBLE = 3.25, 6.75
"""Widths of one and of two columns of a paper, in inches."""

SMALLEST = 6.5
"""Points; no text is smaller at a paper's column width."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "axes.titlelocation": "left",
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "figure.titlesize": 7.5,
    "figure.facecolor": "white",
    "figure.dpi": 150,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "xtick.labelsize": SMALLEST,
    "ytick.labelsize": SMALLEST,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.fontsize": SMALLEST,
    "legend.title_fontsize": SMALLEST,
    "legend.frameon": False,
    "legend.handletextpad": 0.2,
    "legend.columnspacing": 1.0,
    "legend.borderpad": 0.2,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "squbed",
    "axes.unicode_minus": True,
}

BLUE, ORANGE, BLACK, GREEN = "#0072B2", "#E69F00", "#000000", "#009E73"
VERMILLION, SKY, PURPLE, GREY = "#D55E00", "#56B4E9", "#CC79A7", "#7F7F7F"
"""Okabe and Ito's colours, which people with any colour vision can tell apart, and a grey."""

COVERAGE_COLOURS = {"common": SKY, "rare": ORANGE, "never": BLACK}
LEFT_OUT_MARKERS = {0: "o", 1: "s", 2: "^", 3: "D", 4: "v"}


def styled(function: Callable) -> Callable:
    """Run a plotting function under the style sheet, whatever the caller has set."""

    @functools.wraps(function)
    def under_style(*args: object, **options: object) -> object:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            return function(*args, **options)

    return under_style


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that no window or notebook shows unasked; inches."""
    return Figure(figsize=(width, height), layout="constrained")


def new_axes(ax: Axes | None, *, width: float = SINGLE, height: float = 2.2) -> Axes:
    """Return the axes given, or those of a new one-panel figure."""
    return new_figure(width, height).subplots() if ax is None else ax


def require_columns(table: pd.DataFrame, columns: Collection[str], what: str) -> None:
    """Refuse a table that lacks a column or has no rows.

    Raises
    ------
    ValueError
        Naming the table, what it lacks and what it has.
    """
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"{what} lacks the columns {', '.join(missing)}; it has: {', '.join(table.columns)}"
        )
    if table.empty:
        raise ValueError(f"{what} has no rows; expected at least one")


@styled
def save(
    fig: Figure, name: str, folder: Path | str, *, kinds: Collection[str] = ("pdf", "png")
) -> list[Path]:
    """Write a figure as PDF and PNG; equal figures give equal bytes.

    No dates or versions are written, and fonts are embedded. Each file is written under a
    temporary name and renamed.

    Parameters
    ----------
    fig : Figure
    name : str
        File name without ending, such as ``figure_3``.
    folder : path
        Made if need be.
    kinds : collection of str
        ``pdf``, ``png`` or both.

    Returns
    -------
    list of Path
        A file of each kind.

    Raises
    ------
    ValueError
        If the name holds a folder or an ending.
    """
    if not name or Path(name).name != name or "." in name:
        raise ValueError(f"figure name {name!r} is not a plain name; expected such as 'figure_3'")
    nothing = {
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
        "png": {"Software": None},
    }
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
    return paths
