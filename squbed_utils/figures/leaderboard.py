"""The leaderboard: tau of every estimator, what rejecting by it gains, and what it mixes up."""

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from squbed_utils.figures import style
from squbed_utils.text import interval, number

ORACLE, CHANCE = "oracle", "chance"
COMPONENT_COLOURS = {"aleatoric": style.BLUE, "epistemic": style.VERMILLION}
OFFSETS = {"aleatoric": -0.17, "epistemic": 0.17}
MOST_REJECTED = 0.95
"""Share of tasks; beyond it the mean of the last few is noise and would set the scale."""

LINE = 0.155
"""Inches a line of text takes."""


@style.styled
def plot_forest(
    rows: pd.DataFrame, *, estimators: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw tau of one component with its interval, a line an estimator, over the null band.

    The rows are those that `figure_leaderboard` takes, of one component; `estimators` names the
    lines from top to bottom, by default as in the table.
    """
    estimators = list(rows.estimator) if estimators is None else list(estimators)
    ax = style.new_axes(ax, height=0.7 + LINE * len(estimators))
    lines = rows.estimator.map(estimators.index)
    ax.barh(lines, rows.null_high - rows.null_low, left=rows.null_low, height=1, color="0.9", lw=0)
    for line, row in zip(lines, rows.itertuples(), strict=True):
        colour = style.BLUE if row.estimator == row.baseline else style.BLACK
        ax.plot([row.low, row.high], [line, line], color=colour, lw=1)
        face = colour if row.holm < 1 - row.confidence else "white"
        ax.plot(row.tau, line, "o", ms=3.5, color=colour, mfc=face, mew=0.8)
        if row.estimator == row.baseline:
            ax.axvline(row.tau, color=style.BLUE, lw=0.6, ls=":")
    _name_lines(ax, estimators, rows.baseline.iloc[0], lines)
    ax.set(title=rows.component.iloc[0], xlabel="Kendall's τ", xlim=_limits(rows))
    return ax


@style.styled
def figure_leaderboard(table: pd.DataFrame) -> Figure:
    """Draw the leaderboard, a panel a component; the estimator of lowest tau on top.

    The table is as `leaderboard.compare`, made `leaderboard.readable`.
    """
    components = list(dict.fromkeys(table.component))
    best = table.groupby("estimator").tau.min().sort_values(kind="stable")
    fig = style.new_figure(0.95 + LINE * len(best))
    panels = fig.subplots(1, len(components), sharey=True, squeeze=False)[0]
    for component, ax in zip(components, panels, strict=True):
        plot_forest(table[table.component == component], estimators=list(best.index), ax=ax)
        ax.set_xlim(_limits(table))
        ax.tick_params(labelleft=ax is panels[0])
    first = table.iloc[0]
    fig.legend(handles=_forest_key(first), loc="outside lower center", ncols=4)
    shown = f"Kendall's τ of every estimator's parts with {first.accuracy} over {first.n} tasks"
    shown += f", with {first.confidence:.0%} intervals; left is better"
    best = table.loc[table.groupby("component", sort=False).tau.idxmin()]
    rows = pd.concat([best, table[table.estimator == first.baseline]]).itertuples()
    found = (f"{r.component} {interval(r.tau, r.low, r.high)} ({r.estimator})" for r in rows)
    return style.caption(fig, shown, f"the best, and {first.baseline}: {'; '.join(found)}")


@style.styled
def plot_rejection(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the mean accuracy of the tasks kept over the share rejected, for one component.

    The rows are those that `figure_rejection` takes. The baseline and the best other estimator
    are coloured; dashed: the oracle; dotted: chance.
    """
    curves = curves[curves.rejected <= MOST_REJECTED]
    ax = style.new_axes(ax)
    baseline = curves.baseline.iloc[0]
    others = curves[~curves.estimator.isin([baseline, ORACLE, CHANCE])]
    best = None if others.empty else others.estimator[others.prr.idxmax()]
    for name, curve in others.groupby("estimator", sort=False):
        if name != best:
            ax.plot(curve.rejected, curve.kept_accuracy, color="0.8", lw=0.6)
    for name, dashes in ((ORACLE, "--"), (CHANCE, ":")):
        curve = curves[curves.estimator == name]
        ax.plot(curve.rejected, curve.kept_accuracy, color=style.GREY, ls=dashes)
    title = [f"{curves.component.iloc[0]}; PRR:"]
    for name, colour, width in ((baseline, style.BLUE, 2), (best, style.ORANGE, 0.8)):
        curve = curves[curves.estimator == name]
        if not curve.empty:
            title.append(f"{number(curve.prr.iloc[0], '.2f')} {name}")
            ax.plot(curve.rejected, curve.kept_accuracy, color=colour, lw=width)
    ax.set(title="\n".join(title), xlabel="share of tasks rejected", xlim=(0, 1))
    ax.set_ylabel(f"mean {curves.accuracy.iloc[0]} of the rest")
    return ax


@style.styled
def figure_rejection(curves: pd.DataFrame) -> Figure:
    """Draw the rejection curves, a panel a component.

    They are as `leaderboard.rejection_curves`, made `leaderboard.readable`.
    """
    curves = curves[curves.rejected <= MOST_REJECTED]
    components = list(dict.fromkeys(curves.component))
    fig, found = style.new_figure(2.4), []
    panels = fig.subplots(1, len(components), sharey=True, squeeze=False)[0]
    for component, ax in zip(components, panels, strict=True):
        plot_rejection(curves[curves.component == component], ax=ax)
        ax.label_outer()
        found.append(ax.get_title(loc="left").replace("; PRR:\n", " ").replace("\n", " and "))
    lines = {
        str(curves.baseline.iloc[0]): {"color": style.BLUE, "lw": 2},
        "the best other": {"color": style.ORANGE, "lw": 0.8},
        "the others": {"color": "0.8", "lw": 0.6},
        ORACLE: {"color": style.GREY, "ls": "--"},
        CHANCE: {"color": style.GREY, "ls": ":"},
    }
    handles = [Line2D([], [], label=name, **line) for name, line in lines.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    shown = f"mean {curves.accuracy.iloc[0]} of the tasks that remain as the least certain are "
    shown += "rejected, by the parts of every estimator"
    what = "the prediction-rejection ratio (PRR; 1: an oracle's, 0: chance) is"
    return style.caption(fig, shown, f"{what} {'; '.join(found)}")


@style.styled
def figure_signals(taus: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw signals, leakages and disentanglement scores, a line an estimator.

    Both tables are as `truth.against_truth`, made `leaderboard.readable`. The highest score is
    drawn on top, estimators without a score below; an empty table of scores gets no panel.
    """
    ranked = scores.sort_values("score", ascending=False, kind="stable")
    names = list(dict.fromkeys([*ranked.estimator, *taus.estimator]))
    fig = style.new_figure(1.0 + LINE * len(names))
    panels = fig.subplots(1, 2 if ranked.empty else 3, sharey=True)
    _draw_taus(panels[0], taus[taus.kind == "signal"], names, "signal: with its own truth")
    _draw_taus(panels[1], taus[taus.kind == "leakage"], names, "leakage: with the other's truth")
    if not ranked.empty:
        lines = map(names.index, ranked.estimator)
        style.draw_intervals(panels[2], ranked, lines, value="score", color=style.BLACK, size=3.5)
        labels = {"title": "disentanglement score", "xlabel": "mean signal − mean |leakage|"}
        panels[2].set(**labels)
    for ax in panels:
        scored = ranked.estimator if ax in panels[2:] else taus.estimator
        _name_lines(ax, names, taus.baseline.iloc[0], map(names.index, scored))
        ax.tick_params(labelleft=ax is panels[0])
    first = taus.iloc[0]
    fig.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    shown = f"Kendall's τ over {first.n} tasks of each estimator's parts with their own truth and "
    shown += f"with the other's, and what is between them; {first.confidence:.0%} intervals"
    named = ranked[(ranked.estimator == first.baseline) | (ranked.score == ranked.score.max())]
    found = (f"{interval(r.score, r.low, r.high)} ({r.estimator})" for r in named.itertuples())
    return style.caption(
        fig, shown, f"the best score, and {first.baseline}'s: {', '.join(found) or 'none'}"
    )


def _draw_taus(ax: Axes, rows: pd.DataFrame, names: list[str], title: str) -> None:
    for component, part in rows.groupby("component"):
        lines = part.estimator.map(names.index) + OFFSETS[component]
        look = {"color": COMPONENT_COLOURS[component], "label": component, "size": 3}
        style.draw_intervals(ax, part, lines, value="tau", **look)
    ax.set(title=title, xlabel="Kendall's τ", xlim=_limits(rows))


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Return limits of an axis of taus that leave out what no row reaches; zero is in."""
    ends = rows[[c for c in ("tau", "low", "high", "null_low", "null_high") if c in rows]]
    return min(0, ends.min(axis=None)) - 0.05, max(0, ends.max(axis=None)) + 0.05


def _name_lines(ax: Axes, names: list[str], bold: str, drawn: Iterable[int]) -> None:
    """Name the lines, and say in those that have nothing drawn that the estimator has no such."""
    style.name_lines(ax, names)
    for line in set(range(len(names))) - set(drawn):
        style.say(ax, "has none", line, transform=ax.get_yaxis_transform())
    for label in ax.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == bold else "normal")


def _forest_key(row: pd.Series) -> list[Line2D | Patch]:
    alpha, band = f"{1 - row.confidence:.2g}", f"null band, {row.confidence:.0%}"
    dots = {"linestyle": "", "marker": "o", "markersize": 3.5, "color": style.BLACK}
    return [
        Line2D([], [], label=f"Holm p (of τ = 0) < {alpha}", **dots),
        Line2D([], [], label=f"≥ {alpha}", markerfacecolor="white", **dots),
        Line2D([], [], color=style.BLUE, ls=":", lw=0.8, label=f"τ of {row.baseline}"),
        Patch(color="0.9", label=f"{band}: {row.permuted} permuted"),
    ]
