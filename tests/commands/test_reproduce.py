"""A run is reproduced if its tables are the reference run's, up to a ten-thousandth."""

import pandas as pd
import pytest

from squbed_utils import cli
from squbed_utils.commands import reproduce


@pytest.fixture
def runs(tmp_path):
    """Return the folders of a run and of a reference run with the same table."""
    table = pd.DataFrame({"task": ["001", "002"], "tau": [-0.48123, 0.0], "n": [150, 75]})
    folders = tmp_path / "run", tmp_path / "reference"
    for folder in folders:
        (folder / "data").mkdir(parents=True)
        table.to_csv(folder / "data" / "figure_4.csv", index=False)
    return folders


def altered(runs, old, new):
    path = runs[0] / "data" / "figure_4.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return only_difference(runs)


def only_difference(runs):
    ((table, difference),) = reproduce.compare(*runs).items()
    assert table == "figure_4.csv"
    return difference


def test_equal_tables_are_reproduced(runs, capsys):
    assert only_difference(runs) == ""
    assert reproduce.report(*runs, strict=True) == 0
    assert capsys.readouterr().out.startswith("figure_4.csv: reproduced within 0.0001\n1 of 1")


@pytest.mark.parametrize("nearby", ["-0.48121", "-0.48127"])
def test_a_ten_thousandth_is_no_difference(runs, nearby):
    assert altered(runs, "-0.48123", nearby) == ""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("-0.48123", "-0.48133", "1 cells differ, most line 2, tau: '-0.48133', not '-0.48123'"),
        ("-0.48123", "0.48123", "1 cells differ, most line 2, tau: '0.48123', not '-0.48123'"),
        (",150", ",151", "1 cells differ, most line 2, n: '151', not '150'"),
        ("-0.48123", "", "1 cells differ, most line 2, tau: '', not '-0.48123'"),
        ("0.0,75", "1e-9,75", "1 cells differ, most line 3, tau: '1e-9', not '0.0'"),
        ("002,0.0,75\n", "", "has 1 rows, not 2"),
        ("tau", "rho", "has other columns: lacks tau; has beyond them rho"),
        ("tau,n", "tau,n,p", "has other columns: lacks none; has beyond them p"),
        ("-0.48123", "inf", "1 cells differ, most line 2, tau: 'inf', not '-0.48123'"),
    ],
)
def test_what_differs_is_named_with_its_place(runs, old, new, line):
    assert altered(runs, old, new) == line


def test_the_largest_difference_is_shown(runs):
    path = runs[0] / "data" / "figure_4.csv"
    path.write_text(path.read_text().replace("-0.48123", "-0.5").replace(",75", ",80"))
    assert only_difference(runs) == "2 cells differ, most line 3, n: '80', not '75'"


def test_rounding_of_zero_is_no_difference(runs):
    assert altered(runs, "0.0,75", "-3e-17,75") == ""


def test_a_missing_table_is_named(runs):
    (runs[0] / "data" / "figure_4.csv").unlink()
    assert only_difference(runs) == "is missing"


def test_a_run_that_is_not_there_is_refused(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="no tables in .*gone; draw them with"):
        reproduce.compare(tmp_path / "gone", runs[1])
    with pytest.raises(FileNotFoundError, match="no tables in .*gone; expected those"):
        reproduce.compare(runs[0], tmp_path / "gone")


def test_strict_ends_with_its_own_exit_code(runs, capsys):
    line = ["reproduce", "--figures", str(runs[0]), "--reference", str(runs[1])]
    assert cli.main([*line, "--strict"]) == 0
    altered(runs, "-0.48123", "-0.49123")
    assert cli.main(line) == 0
    assert cli.main([*line, "--strict"]) == reproduce.DIFFERS == 3
    report = capsys.readouterr().out.splitlines()
    assert report[-2].startswith("figure_4.csv: 1 cells differ, most line 2, tau")
    assert report[-1].startswith("0 of 1 tables are those of")


def test_strict_needs_a_whole_run_of_the_reference_profile(capsys):
    for more in (["--profile", "world-quick"], ["--only", "05_audit"], ["--samples", "s"]):
        assert cli.main(["figures", "--strict", *more]) == cli.USER_ERROR
        assert "--strict compares whole runs of the profile world" in capsys.readouterr().err


def test_figures_of_an_archive_that_is_not_there_are_refused_before_anything_is_made(
    tmp_path, capsys
):
    line = ["figures", "--samples", str(tmp_path / "none"), "--output", str(tmp_path / "f")]
    assert cli.main(line) == cli.USER_ERROR
    assert "no samples archive in" in capsys.readouterr().err and not list(tmp_path.iterdir())
