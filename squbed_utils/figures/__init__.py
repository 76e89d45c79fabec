"""Figures 1 to 5, and further ones: axes from tables, figures from axes, and one way to save.

`plot_*` draw one panel on the axes given, or new ones, and return them; `figure_*` draw a whole
figure. Only `save` writes, none computes a result or shows. Every label, count, p-value and
interval comes from the data given.
"""

# ruff: noqa: F401 - the public names
from squbed_utils.figures.audit import figure_audit
from squbed_utils.figures.cases import figure_1, figure_2, plot_positions, plot_terms
from squbed_utils.figures.decision import figure_decision
from squbed_utils.figures.frames import contact_sheet, figure_answer, plot_frames
from squbed_utils.figures.leaderboard import (
    figure_leaderboard,
    figure_rejection,
    figure_signals,
    plot_forest,
    plot_rejection,
)
from squbed_utils.figures.panels import (
    figure_cost,
    figure_dose,
    figure_encoders,
    figure_pairs,
    figure_panels,
    figure_subset_size,
    figure_truth,
    plot_cost,
    plot_curve,
    plot_points,
    plot_taus,
)
from squbed_utils.figures.style import COVERAGE_COLOURS, DOUBLE, SINGLE, STYLE, save
from squbed_utils.figures.vagueness import figure_rungs, figure_vagueness, plot_rungs
