"""The paper's printed p-values, recomputed from its published points."""

import csv
from pathlib import Path

import pytest

from squbed_utils.statistics.calibration import kendall

PUBLISHED = Path(__file__).parents[2] / "data" / "published"


def read(name):
    with (PUBLISHED / name).open() as file:
        return list(csv.DictReader(file))


POINTS = read("published_points.csv")
PVALUES = read("published_pvalues.csv")


def panel_kendall(figure, panel):
    rows = [r for r in POINTS if (r["figure"], r["panel"]) == (figure, panel)]
    return kendall([float(r["x"]) for r in rows], [float(r["y"]) for r in rows])


def test_there_are_ten_panels():
    assert len(PVALUES) == 10
    assert len(POINTS) == sum(int(r["n_points_digitized"]) for r in PVALUES) == 416


@pytest.mark.parametrize("row", PVALUES, ids=lambda r: f"{r['figure']}-{r['panel']}")
def test_printed_pvalue_to_three_decimals(row):
    result = panel_kendall(row["figure"], row["panel"])
    assert f"{result.pvalue:.3f}" == row["p_published"]
    assert result.pvalue == pytest.approx(float(row["p_digitized"]), abs=1e-6)
    assert result.tau == pytest.approx(float(row["tau_digitized"]), abs=1e-6)
    assert result.n == int(row["n_points_digitized"])


def test_total_on_vidgen_lies_within_its_near_tie():
    result = panel_kendall("Fig4", "VidGen-1M")
    assert 0.1011 < result.pvalue < 0.1017
    assert round(result.pvalue, 4) == 0.1012


def test_smallest_pvalue_that_four_tasks_allow():
    assert panel_kendall("Fig5", "VidGen-1M epistemic").pvalue == pytest.approx(2 / 24)
