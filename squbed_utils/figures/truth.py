"""Figures that only a world with known truth allows, and tau over the subset's size."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squbed_utils.figures.cases import plot_positions
from squbed_utils.figures.panels import plot_points
from squbed_utils.figures.style import (
    BLUE,
    DOUBLE,
    GREY,
    VERMILLION,
    new_axes,
    new_figure,
    require_columns,
    styled,
)

TAU_COLUMNS = ("label", "tau", "low", "high", "kind", "bar", "confidence")
CURVE_COLUMNS = ("panel", "size", "tau", "lo", "hi", "shown", "confidence")
KIND_COLOURS = {"signal": BLUE, "leakage": VERMILLION}


@styled
def plot_taus(taus: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw Kendall's tau with its interval, one line each, beside the bar that it should meet.

    Parameters
    ----------
    taus : DataFrame
        label, tau, low, high, confidence, kind ("signal": should exceed its bar; "leakage": should
        lie within plus and minus its bar) and bar.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a column is missing or the table is empty.
    """
    require_columns(taus, TAU_COLUMNS, "the table of taus")
    ax = new_axes(ax)
    for line, row in enumerate(taus.itertuples()):
        colour = KIND_COLOURS[row.kind]
        start = -row.bar if row.kind == "leakage" else row.bar
        end = row.bar if row.kind == "leakage" else 1.0
        if np.isfinite(row.bar):
            ax.barh(line, end - start, left=start, height=0.7, color=colour, alpha=0.15, lw=0)
        error = [[row.tau - row.low], [row.high - row.tau]]
        ax.errorbar(row.tau, line, xerr=error, fmt="o", color=colour, elinewidth=1)
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set_yticks(range(len(taus)), taus.label)
    ax.set(xlim=(-1, 1), ylim=(len(taus) - 0.5, -0.5))
    ax.set_xlabel(f"Kendall's τ, {taus.confidence.iloc[0]:.0%} interval; shaded: what should hold")
    return ax


@styled
def plot_curve(curve: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw tau as a function of how many tasks are kept, with its band.

    Parameters
    ----------
    curve : DataFrame
        One panel's rows: panel, size, tau, lo, hi, confidence, and `shown`, the size that
        Figure 5 shows.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a column is missing or the table is empty.
    """
    require_columns(curve, CURVE_COLUMNS, "the curve")
    ax = new_axes(ax)
    ax.fill_between(curve["size"], curve.lo, curve.hi, color=BLUE, alpha=0.2, lw=0)
    ax.plot(curve["size"], curve.tau, "o-", ms=2.5, color=BLUE)
    ax.axhline(0, color=GREY, lw=0.6)
    shown = curve.shown.iloc[0]
    ax.axvline(shown, color=VERMILLION, lw=0.8, ls="--")
    ax.set_title(f"{curve.panel.iloc[0]}\n{curve.confidence.iloc[0]:.0%} band")
    ax.set(xlabel=f"tasks kept (dashed: the {shown} of Figure 5)", ylabel="Kendall's τ")
    ax.set_ylim(-1, 1)
    return ax


@styled
def figure_subset_size(curves: pd.DataFrame) -> Figure:
    """Draw tau over the subset's size, a panel for each part of the uncertainty.

    Parameters
    ----------
    curves : DataFrame
        As `plot_curve`, for every panel.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        As `plot_curve`.
    """
    require_columns(curves, CURVE_COLUMNS, "the table of curves")
    panels = list(dict.fromkeys(curves.panel))
    fig = new_figure(DOUBLE, 2.0)
    for panel, ax in zip(panels, fig.subplots(1, len(panels), squeeze=False)[0], strict=True):
        plot_curve(curves[curves.panel == panel], ax=ax)
    return fig


@styled
def figure_truth(
    points: pd.DataFrame, statistics: pd.DataFrame, positions: pd.DataFrame, taus: pd.DataFrame
) -> Figure:
    """Draw both estimates against both truths.

    Parameters
    ----------
    points, statistics : DataFrame
        As `plot_points`: the aleatoric estimate against the true entropy; one row of statistics.
    positions : DataFrame
        As `plot_positions`: the epistemic estimate by coverage.
    taus : DataFrame
        As `plot_taus`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        As the plots.
    """
    fig = new_figure(DOUBLE, 3.9)
    top, bottom = fig.subfigures(2, 1, height_ratios=[2.1, 1.8])
    left, right = top.subplots(1, 2)
    plot_points(points, statistics=statistics.iloc[0], ax=left)
    plot_positions(positions, ax=right)
    plot_taus(taus, ax=bottom.subplots())
    return fig
