"""Simulations of what the statistics promise, with fewer draws than docs/validation.md has."""

import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def simulate():
    return runpy.run_path(str(ROOT / "benchmarks" / "validation.py"))


def numbers(table, columns):
    """Return the first number of each cell."""
    return table[columns].map(lambda cell: float(str(cell).split()[0]))


def read_table(name):
    """Return the numbers of a table in the document."""
    block = DOCUMENT.split(f"<!-- {name} -->\n")[1].split(f"<!-- end {name} -->")[0]
    head, _, *rows = [line.strip("| ").split(" | ") for line in block.strip().splitlines()]
    return pd.DataFrame(rows, columns=head)


class TestDocument:
    """The numbers that the document states, held to their bars."""

    def test_every_simulation_has_its_table(self, simulate):
        tables = re.findall(r"<!-- (?!end )(\w+) -->", DOCUMENT)
        assert sorted(tables) == sorted(simulate["SIMULATIONS"])

    def test_intervals_of_tau(self):
        table = read_table("tau_coverage")
        found = numbers(table, list(table)[1:])
        assert found.min().min() >= 93
        assert found.max().max() <= 97

    def test_intervals_of_a_difference(self):
        table = read_table("difference_coverage")
        assert numbers(table, list(table)[1:]).min().min() >= 94.5

    def test_intervals_of_an_area(self):
        table = read_table("area_coverage")
        found = numbers(table, [name for name in table if name.startswith("AUROC")])
        assert found.iloc[1].min() >= 89 and found.max().max() <= 97

    def test_intervals_of_a_task(self):
        found = numbers(read_table("jackknife_coverage"), ["aleatoric", "epistemic", "total"])
        assert found.min().min() >= 93
        assert found.max().max() <= 97.5

    def test_widths_of_a_plan(self):
        table = read_table("plan_widths")
        terms = ["aleatoric", "epistemic", "total"]
        missed = table[terms].map(lambda cell: abs(float(cell.removesuffix("%"))))
        assert missed[table.pilot == "world-10x10"].max().max() <= 10
        assert missed[["epistemic", "total"]].max().max() <= 10

    def test_intervals_in_the_exact_grammar(self):
        table = read_table("grammar_coverage")
        left_open = [f"{count} open" for count in (1, 2, 3, 4)]
        found = numbers(table, left_open)
        assert found.min().min() >= 93
        assert found.max().max() <= 97
        withheld = table[left_open].map(lambda cell: float(cell.split("(")[1].split()[0]))
        assert withheld.max().max() <= 15

    def test_intervals_of_few_with_videos(self):
        table = read_table("design_coverage")
        found = numbers(table, ["aleatoric", "epistemic", "total"])
        assert found.min().min() >= 93
        assert found[table["with videos"] == "6"].max().max() <= 97.5

    def test_pooled_intervals(self):
        table = read_table("pooled_coverage")
        found = numbers(table, ["coverage", "tau plain", "tau pooled"])
        assert found.coverage.min() >= 93 and found.coverage.max() <= 97
        assert (found["tau pooled"] >= found["tau plain"]).all()
        recurs = (table["words tell"] == "subjects") & (table["tasks a subject"] == "5")
        assert (found["tau pooled"] - found["tau plain"])[recurs].min() > 0.02

    def test_null_band(self):
        found = numbers(read_table("null_band"), ["continuous", "ties"])
        assert found.max().max() <= 6
        assert found[1:].min().min() >= 4

    def test_reference_band(self):
        found = numbers(read_table("reference_band"), ["references", "accuracies"])
        assert found.references.max() <= 6
        assert found.references[1:].min() >= 4
        assert (found.accuracies > 2 * found.references).all()

    def test_risk_control(self):
        table = read_table("risk_control")
        assert (numbers(table, ["mean risk"])["mean risk"] <= table.level.astype(float)).all()

    def test_entropy_bias(self):
        table = read_table("entropy_bias").astype(float).set_index(["width", "samples"])
        assert table["corrected, worst"].abs().loc[(512, 10)] <= 1
        assert table["corrected, worst"].abs().loc[(64, 10)] <= 0.5
        theory = table["-(d-1)/2 log(m/(m-1))"]
        assert ((table["plug-in, worst"] - theory).abs() <= 5).all()


def test_tables_go_between_their_marks(simulate):
    text = "a\n<!-- x -->\nold\n<!-- end x -->\nb"
    assert simulate["with_table"](text, "x", "new") == "a\n<!-- x -->\nnew\n<!-- end x -->\nb"
    with pytest.raises(ValueError, match="the document has 0 places for y; expected one"):
        simulate["with_table"](text, "y", "new")


def test_ordered_pairs_by_hand(simulate):
    found = simulate["ordered_pairs"](pd.DataFrame([[1, 2, 3], [3, 1, 1]]).to_numpy())
    assert found.tolist() == [3, -2]


@pytest.mark.slow
class TestSimulations:
    def test_intervals_of_tau(self, simulate):
        table = simulate["tau_coverage"](200)
        found = numbers(table, list(table)[1:])
        assert found.to_numpy().mean() == pytest.approx(95.2, abs=1.5)
        assert found.min().min() >= 87

    def test_intervals_of_a_difference(self, simulate):
        table = simulate["difference_coverage"](200, 500)
        assert numbers(table, list(table)[1:]).min().min() >= 91

    def test_intervals_of_a_task(self, simulate):
        table = simulate["jackknife_coverage"](200)
        found = numbers(table, ["aleatoric", "epistemic", "total"])
        assert found.to_numpy().mean() == pytest.approx(95.5, abs=1.5)
        assert found.min().min() >= 88

    def test_intervals_in_the_exact_grammar(self, simulate):
        found = numbers(simulate["grammar_coverage"](100), ["1 open", "2 open", "3 open", "4 open"])
        assert found.to_numpy().mean() == pytest.approx(95, abs=2)
        assert found.min().min() >= 85

    def test_intervals_of_few_with_videos(self, simulate):
        found = numbers(simulate["design_coverage"](100), ["aleatoric", "epistemic", "total"])
        assert found.to_numpy().mean() == pytest.approx(95.5, abs=2)

    def test_pooled_intervals(self, simulate):
        found = numbers(simulate["pooled_coverage"](3), ["coverage", "tau plain", "tau pooled"])
        assert found.coverage.mean() == pytest.approx(94.5, abs=2)
        assert (found["tau pooled"] > found["tau plain"] - 0.03).all()

    def test_null_band(self, simulate):
        found = numbers(simulate["null_band"](400, 500), ["continuous", "ties"])
        assert found[1:].to_numpy().mean() == pytest.approx(5, abs=1.5)

    def test_reference_band(self, simulate):
        found = numbers(simulate["reference_band"](100, 300), ["references", "accuracies"])
        assert found.references.mean() == pytest.approx(5, abs=3)
        assert (found.accuracies > 2 * found.references).all()

    def test_risk_control(self, simulate):
        table = simulate["risk_control"](500)
        risks = numbers(table, ["mean risk"])["mean risk"]
        errors = table["mean risk"].str.split().str[2].astype(float)
        assert (risks <= table.level + 3 * errors).all()

    def test_entropy_bias(self, simulate):
        table = simulate["entropy_bias"](300).set_index(["width", "samples"])
        corrected = table["corrected, worst"].astype(float).abs()
        assert corrected.loc[(512, 10)] <= 1.5
        assert table["plug-in, worst"].astype(float).loc[(512, 10)] == pytest.approx(-27, abs=2)
