"""The page of figures of an audit."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squbed_utils.figures import style

COLOURS = (style.BLUE, style.ORANGE)


@style.styled
def plot_sweep(sweep: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw tau against the weight of aleatoric (`audit.weight_sweep`); mark the paper's sum."""
    ax = _titled(ax, "tau by the weight of aleatoric")
    ax.set(xlabel="weight of aleatoric (1 − weight: epistemic)", ylabel="Kendall's τ")
    if sweep.empty:
        return style.say(ax, "tasks are few, or a component is missing or constant")
    ax.fill_between(sweep.weight, sweep.low, sweep.high, color=style.BLUE, alpha=0.2, lw=0)
    ax.plot(sweep.weight, sweep.tau, color=style.BLUE)
    paper = sweep.paper.iloc[0]
    ax.axvline(paper, color=style.VERMILLION, lw=0.8, ls="--")
    style.remark(ax, "the sum", (paper, 0.02), (2, 0))
    ax.axhline(0, color=style.GREY, lw=0.6)
    ax.set(xlim=(0, 1), ylim=(-1, max(0.25, 1.1 * sweep.high.max())))
    return ax


@style.styled
def plot_agreement(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how well a few samples order the tasks as others do (`audit_samples.agreement`).

    A line ends where all samples are taken: at the ceiling.
    """
    ax = _titled(ax, "fewer samples: the same order?")
    ax.set(xlabel="samples taken (×: against the other half)", ylabel="τ with a fresh archive")
    if table.empty:
        return style.say(ax, "tasks or samples are few, or all the same")
    for colour, (kind, curve) in zip(COLOURS, table.groupby("kind", sort=False), strict=False):
        error = [curve.tau - curve.low, curve.high - curve.tau]
        ax.errorbar(curve["size"], curve.tau, error, fmt="x", color=colour, lw=1)
        sizes = [*curve["size"], curve.of.iloc[0]]
        ax.plot(sizes, [*curve.fresh, curve.ceiling.iloc[0]], "o-", color=colour, label=kind)
    ax.set_ylim(min(0, table.low.min()), 1.05)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="lower right")
    return ax


@style.styled
def plot_fit(fit: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the share of tasks at or below each p-value of `audit_samples.goodness_of_fit`."""
    ax = _titled(ax, "fit of the von Mises-Fisher model")
    ax.set(xlabel="p-value of a task", ylabel="share of tasks up to it")
    if fit.empty:
        return style.say(ax, "no task can be tested")
    ax.plot([0, 1], [0, 1], color=style.GREY, lw=0.8, ls="--", label="if it fits")
    kinds = fit.groupby("kind", sort=False).pvalue
    for (kind, pvalues), colour, width in zip(kinds, COLOURS, (2.5, 1), strict=False):
        ax.ecdf(pvalues, color=colour, lw=width, label=kind)
    ax.set(xlim=(-0.02, 1), ylim=(0, 1.04))
    ax.legend(loc="center right")
    return ax


@style.styled
def plot_lines(lines: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the taus of the lines on survival of `audit.page`, with the intervals that exist."""
    ax = _titled(ax, "does tau survive?")
    shown = lines[lines.value.notna()].reset_index(drop=True)
    if shown.empty:
        return style.say(ax, "tasks are few, or all the same")
    style.draw_intervals(ax, shown, shown.index, value="value", color=style.BLUE)
    style.name_lines(ax, shown.question.str.removeprefix("tau of "))
    most = 1.1 * shown[["value", "high"]].max(axis=None)
    ax.set(xlabel="Kendall's τ (lines: 95% interval)", xlim=(-1, max(0.5, most)))
    return ax


@style.styled
def figure_audit(
    lines: pd.DataFrame, sweep: pd.DataFrame, few: pd.DataFrame, fit: pd.DataFrame
) -> Figure:
    """Draw an audit: survival, weights, fewer samples, fit; a table without rows says why.

    The tables are as `audit.page`, `audit.weight_sweep`, `audit_samples.agreement` and
    `audit_samples.goodness_of_fit`.
    """
    fig = style.new_figure(3.4)
    top, bottom = fig.subfigures(2, 1)
    survival, weights = top.subplots(1, 2)
    agreement, model = bottom.subplots(1, 2)
    plot_lines(lines[lines.theme == "survival"], ax=survival)
    plot_sweep(sweep, ax=weights)
    plot_agreement(few, ax=agreement)
    plot_fit(fit, ax=model)
    shown = "(a) τ of uncertainty and accuracy by other measures, (b) by the weight of the two "
    shown += (
        "parts, (c) the order of tasks that fewer samples give, (d) p-values of the model's fit"
    )
    counts = lines.verdict.value_counts()
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return style.caption(fig, shown, f"of the {len(lines)} lines of the audit: {found}")


def _titled(ax: Axes | None, title: str) -> Axes:
    ax = style.new_axes(ax)
    ax.set_title(title)
    return ax
