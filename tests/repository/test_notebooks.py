"""The notebooks keep to their form and to the one list; the list is run as it says."""

import ast
import base64
import os
import re
import shutil
import subprocess
import warnings
from html import escape, unescape
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from kit import gallery_page
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from squbed_utils import open_archive, open_run, summarize
from squbed_utils.commands import notebooks
from squbed_utils.commands.notebooks import COMMON, NOTEBOOKS, Notebook, NotebookError, run_all
from squbed_utils.files import ROOT

BY_NAME = {notebook.name: notebook for notebook in NOTEBOOKS}
TRUTH = ("coverage", "clips")
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
quietly = pytest.mark.filterwarnings("ignore")  # papermill and nbconvert use what others retire


def cells_of(path, kind="code"):
    book = nbformat.read(path, as_version=4)
    return [cell for cell in book.cells if cell.cell_type == kind]


def code_lines(notebook):
    return [
        line
        for cell in cells_of(notebook.path)
        for line in cell.source.splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]


def test_every_notebook_is_in_the_list_in_order():
    files = sorted(path.stem for path in notebooks.SOURCES.glob("*.ipynb"))
    assert files == [notebook.name for notebook in NOTEBOOKS]


def test_every_notebook_leads_to_the_next():
    for notebook, after in pairwise(NOTEBOOKS):
        (title,) = cells_of(after.path, "markdown")[0].source.splitlines()[:1]
        link = f"- next: [{title.removeprefix('# ')}]({after.name}.ipynb)"
        assert link in cells_of(notebook.path, "markdown")[0].source.splitlines()


def test_the_gallery_shows_every_figure_with_its_caption():
    renew = "docs/gallery.md is out of date; renew it by `python tests/kit/gallery_page.py`"
    assert gallery_page.PAGE.read_text(encoding="utf-8") == gallery_page.page(), renew
    pictures = {path.stem for path in gallery_page.REFERENCE.glob("*.png")}
    assert set(re.findall(r"reference/(\w+)\.png", gallery_page.page())) == pictures


def test_no_file_is_written_twice():
    written = [path for n in NOTEBOOKS for path in n.outputs(Path("f"), truth=TRUTH)]
    assert len(written) == len(set(written))


@each_notebook
def test_parameters_are_ten_commented_literals_at_most(notebook):
    found = papermill.inspect_notebook(notebook.path)
    assert list(found) == [*COMMON, *notebook.parameters] and len(found) <= 10
    assert all(parameter["help"] for parameter in found.values())
    assert set(notebook.parameters) <= set(notebooks.PARAMETERS)
    cells = cells_of(notebook.path)
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == [cells[1]]
    assert len(tagged[0].source.splitlines()) == len(found)


@each_notebook
def test_the_form_of_a_notebook(notebook):
    book = nbformat.read(notebook.path, as_version=4)
    nbformat.validate(book)
    kinds = [cell.cell_type for cell in book.cells]
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert kinds[:2] == ["markdown", "code"] and set(kinds[2::2]) == {"markdown"}
    assert set(kinds[3::2]) == {"code"} and kinds.count("code") <= 10
    assert len(code_lines(notebook)) <= 40
    assert not [line for line in code_lines(notebook) if re.match(r"\s*(def|class|async) ", line)]
    assert all(not c.outputs and c.execution_count is None for c in cells_of(notebook.path))
    assert "print(" in book.cells[-1].source


@each_notebook
def test_the_first_cell_names_every_file_written(notebook):
    text = cells_of(notebook.path, "markdown")[0].source
    named = set(re.findall(r"[a-z_0-9]+(?=\.csv|`)", text))
    for name in notebook.figures + notebook.truth_figures + notebook.asked_figures:
        assert name in named, name
    for name in notebook.tables + notebook.truth_tables + notebook.asked_tables:
        assert f"{name}.csv" in text, name
    reads = re.search(r"\.published(_page)?\(", "\n".join(code_lines(notebook))) is not None
    assert ("data/published/" in text) == reads
    assert "time:" in text and "reads:" in text


@each_notebook
def test_saved_names_are_those_of_the_list(notebook):
    drawn, tables = [], []
    for node in ast.walk(ast.parse("\n".join(code_lines(notebook)))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.save":
            name, *figure = node.args
            drawn += [name.value] * len(figure)
            keys = [keyword.arg for keyword in node.keywords]
            tables += [name.value if key == "points" else f"{name.value}_{key}" for key in keys]
    expected = notebook.figures + notebook.truth_figures + notebook.asked_figures
    assert sorted(drawn) == sorted(expected)
    expected = notebook.tables + notebook.truth_tables + notebook.asked_tables
    assert sorted(tables) == sorted(expected)


def test_an_unknown_notebook_or_parameter_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="unknown notebook '9_x'; known: 00_collect_samples, 01"):
        run_all("world", build=tmp_path, only=["9_x"])
    with pytest.raises(
        ValueError, match="unknown parameter 'estimatr'; known: accuracy, added, bound, ens"
    ):
        run_all("world", build=tmp_path, parameters={"estimatr": "squbed"})
    with pytest.raises(FileNotFoundError, match="no profile 'wrld'"):
        run_all("wrld", build=tmp_path)
    only = ["05_audit"]
    with pytest.raises(
        ValueError, match="unknown parameter 'level'; known: accuracy, estimator, f"
    ):
        run_all("world", build=tmp_path, only=only, parameters={"level": 0.2})
    assert not list(tmp_path.iterdir())


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no samples archive in .*gone"):
        run_all("world", samples=tmp_path / "gone", build=tmp_path, only=["02_total_uncertainty"])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("workers", "0", "greater than 0"),
        ("workers", "two", "a valid integer"),
        ("fraction", "1.5", "at most 1"),
        ("level", 0, "greater than 0"),
        ("bound", "inf", "a finite number"),
        ("threshold", "low", "a valid number"),
        ("task", 7, "a valid string"),
        ("estimator", "squbd", "'squbed', 'squbed_mle'"),
        ("accuracy", "clip", "'', 'ssim', 'psnr'"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(tmp_path, name, value, expected):
    said = f"parameter {name} is {value!r}; expected {expected}"
    with pytest.raises(ValueError, match=re.escape(said)):
        run_all("world", build=tmp_path, parameters={name: value})
    assert not list(tmp_path.iterdir())


def test_archives_lie_where_the_profile_says():
    assert notebooks.archive_folder("world").parts[-3:] == ("data", "samples", "world")
    assert notebooks.archive_folder("world", "/a/b") == Path("/a/b")
    assert notebooks.archive_folder("world", "data/x") == ROOT / "data" / "x"


def test_a_run_saves_a_figure_and_its_tables_and_shows_what_it_saved(drawn, tmp_path):
    run = open_run("world-quick", os.path.relpath(drawn, ROOT), tmp_path / "figures")
    assert run.archive.tasks().equals(run.archive.tasks()) and run.folder == tmp_path / "figures"
    table = pd.DataFrame({"x": [1 / 3, 2]})
    assert run.save("a", points=table, statistics=table) is None
    image = run.save("b", Figure(figsize=(2, 1)), sweep=table)
    assert {p.name for p in run.folder.iterdir()} == {"b.pdf", "b.png", "data"}
    assert {p.name for p in (run.folder / "data").iterdir()} == {
        f"{name}.csv" for name in ("a", "a_statistics", "b_sweep")
    }
    assert (run.folder / "data" / "a.csv").read_text() == "x\n0.33333\n2\n"
    assert image.data == (run.folder / "b.png").read_bytes() and image.width == 288
    figure = Figure(figsize=(2, 1))
    figure.set_label("What it shows. What it says.")
    assert run.save("c", figure).caption == (run.folder / "c.txt").read_text().strip()


def test_warnings_in_a_notebook_are_sentences(drawn, tmp_path):
    before = warnings.formatwarning
    try:
        open_run("world-quick", drawn, tmp_path)
        assert warnings.formatwarning(UserWarning("1 task left out"), UserWarning, "f.py", 3) == (
            "1 task left out\n"
        )
        others = warnings.formatwarning(RuntimeWarning("overflow"), RuntimeWarning, "f.py", 3)
        assert others.startswith("f.py:3: RuntimeWarning: overflow")
    finally:
        warnings.formatwarning = before


def test_a_run_needs_a_finished_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="no samples archive in .*gone"):
        open_run("world", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="no profile 'wrld'"):
        open_run("wrld")


def write_notebook(folder, name, parameters, code):
    book = nbformat.v4.new_notebook()
    cells = [("parameters", parameters), ("work", code)]
    book.cells = [nbformat.v4.new_code_cell(source, id=i) for i, source in cells]
    book.cells[0].metadata.tags = ["parameters"]
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    book.metadata.language_info = {"name": "python"}
    nbformat.write(book, folder / f"{name}.ipynb")


def use(monkeypatch, folder, *listed):
    monkeypatch.setattr(notebooks, "SOURCES", folder)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", listed)


WRITE = """
from pathlib import Path
Path(output, "data").mkdir(parents=True, exist_ok=True)
Path(output, "data", "t.csv").write_text("a")
"""
PARAMETERS = "profile = 'p'  # one\nsamples = ''  # two\noutput = ''  # three"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two notebooks that need no archive, and the arguments that run them."""
    a = Notebook("a", (), (), ("t",), fills=True)
    b = Notebook("b", (), (), (), fills=True)
    use(monkeypatch, tmp_path, a, b)
    write_notebook(tmp_path, "a", PARAMETERS, WRITE)
    write_notebook(tmp_path, "b", PARAMETERS, "1 + 1")
    (tmp_path / "archive").mkdir()
    places = {"samples": tmp_path / "archive", "figures": tmp_path / "figures"}
    return places | {"build": tmp_path / "build"}


@quietly
def test_what_has_not_changed_is_not_run_again(small, tmp_path, capfd):
    assert run_all("world", **small) == [tmp_path / "figures" / "data" / "t.csv"]
    folder = tmp_path / "build" / "world"
    assert sorted(p.name for p in folder.iterdir()) == [
        f"{name}.{ending}" for name in "ab" for ending in ("html", "ipynb", "json")
    ]
    capfd.readouterr()
    run_all("world", **small)
    assert "[1/2] a: unchanged" in capfd.readouterr().out
    (tmp_path / "figures" / "data" / "t.csv").unlink()
    run_all("world", **small, only=["a"])
    assert "unchanged" not in capfd.readouterr().out
    assert (tmp_path / "figures" / "data" / "t.csv").is_file()


@quietly
def test_runs_from_one_folder_have_sockets_of_their_own(small, tmp_path):
    told = """
import json
from ipykernel import get_connection_file
with open(get_connection_file()) as file:
    place = json.load(file)["ip"]
"""
    write_notebook(tmp_path, "a", PARAMETERS, told + WRITE.replace('"a"', "place"))
    places = set()
    for _ in range(2):
        (written,) = run_all("world", **small, only=["a"])
        places.add(Path(written.read_text()))
        written.unlink()
    assert len(places) == 2 and all(place.is_absolute() for place in places)
    assert not any(place.parent.exists() for place in places)


@quietly
def test_a_failing_notebook_stops_the_run(small, tmp_path):
    write_notebook(tmp_path, "a", PARAMETERS, "raise ValueError('too few tasks')")
    with pytest.raises(NotebookError, match="a failed in cell .: ValueError: too few tasks; the"):
        run_all("world", **small)
    found = sorted(p.name for p in (tmp_path / "build" / "world").iterdir())
    assert found == ["a.failed.ipynb"]


@quietly
def test_a_notebook_that_does_not_write_what_it_should_is_refused(small, tmp_path):
    write_notebook(tmp_path, "a", PARAMETERS, "1 + 1")
    with pytest.raises(NotebookError, match="a ran but did not write t.csv; correct the notebook"):
        run_all("world", **small)
    assert [p.name for p in (tmp_path / "build" / "world").iterdir()] == ["a.ipynb"]


def record_of(notebook, folder, **changes):
    places = {"samples": str(folder / "archive"), "output": str(folder / "figures")}
    values = {"profile": "world"} | places | changes
    return notebooks.Execution(notebook, values, folder / "build").record()


def test_the_record_follows_every_input(small, tmp_path):
    notebook = notebooks.NOTEBOOKS[0]
    records = [record_of(notebook, tmp_path)]
    assert record_of(notebook, tmp_path) == records[0]
    records.append(record_of(notebook, tmp_path, estimator="squbed_mle"))
    ranking = tmp_path / "ranking.csv"
    for text in ("task,rank", "rank,task"):
        ranking.write_text(text)
        records.append(record_of(notebook, tmp_path, ranking=str(ranking)))
    for name in ("tasks.parquet", "v.mp4"):
        (tmp_path / "archive" / name).write_text("x")
        records.append(record_of(notebook, tmp_path))
    plain = records[-1]
    other = {"added": str(tmp_path / "b"), "ensemble": f"{tmp_path / 'b'} {tmp_path / 'c'}"}
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks.parquet").write_text("x")
        records.append(record_of(notebook, tmp_path, **other))
    assert record_of(notebook, tmp_path, **other) == records[-1]
    (tmp_path / "archive" / ".lock").write_text("x")
    assert record_of(notebook, tmp_path) == plain
    write_notebook(tmp_path, "a", PARAMETERS, "2 + 2")
    records.append(record_of(notebook, tmp_path))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "data").mkdir()
    (tmp_path / "figures" / "data" / "t.csv").write_text("a")
    records.append(record_of(notebook, tmp_path))
    assert all(a != b for i, a in enumerate(records) for b in records[:i])


@quietly
def test_every_notebook_runs_on_a_tiny_profile(tiny_profile, tmp_path):
    from kit import tiny

    dataset = {"kind": "world", "path": str(tiny_profile.parent / "tasks.csv"), "per_cell": 1}
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "tiny.yaml", dataset=dataset)
    figures, build = tmp_path / "figures", tmp_path / "build"
    written = run_all(profile, samples=tmp_path / "archive", figures=figures, build=build)
    assert written == [p for n in NOTEBOOKS for p in n.outputs(figures, truth=TRUTH)]
    assert {p for p in figures.rglob("*") if p.is_file()} == set(written)
    summary = pd.read_csv(figures / "data" / "summary.csv")
    assert len(summary) == 15 and summary.total.notna().all()
    (folder,) = build.iterdir()
    for notebook in NOTEBOOKS:
        html = (folder / f"{notebook.name}.html").read_text(encoding="utf-8")
        assert not LOADED.findall(html), notebook.name
        if notebook.asked_figures:  # which were not asked for
            continue
        shown = [base64.b64decode(png) for png in shown_as(folder, notebook.name, "image/png")]
        for name in notebook.figures + notebook.truth_figures:
            assert (figures / f"{name}.png").read_bytes() in shown, name
            caption = (figures / f"{name}.txt").read_text(encoding="utf-8").strip()
            assert caption in unescape(html), name
        printed = cells_of(folder / f"{notebook.name}.ipynb")[-1].outputs[0].text
        assert html.index(escape(printed.splitlines()[0], quote=False)) < html.index("What to run")
        assert ".ipynb" not in html
    for name in ("02_total_uncertainty", "03_disentanglement"):
        text = cells_of(folder / f"{name}.ipynb")[-1].outputs[0].text
        assert "verdict" in text and re.search(r"holds|does not hold", text)
    by_hand_and_called(folder)


@quietly
def test_few_tasks_show_no_nan(tiny_archive, tmp_path):
    where = {"samples": tiny_archive, "figures": tmp_path, "build": tmp_path / "build"}
    names = ["02_total_uncertainty", "03_disentanglement"]
    run_all("world-quick", **where, only=names)
    for name in names:
        shown = "\n".join(shown_as(tmp_path / "build" / "world-quick", name, "text/plain"))
        assert "statistic=" in shown and not re.search(r"\bnan\b", shown, re.IGNORECASE)


LOADED = re.compile(r"<script|<link|<iframe|@import|(?:src=|url\()(?!\s*[\"']?data:)")
"""What makes a page fetch something."""


def shown_as(folder, name, kind):
    """Every output of an executed notebook that has a form of that kind."""
    cells = cells_of(folder / f"{name}.ipynb")
    outputs = [output for cell in cells for output in cell.outputs if "data" in output]
    return [output.data[kind] for output in outputs if kind in output.data]


NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?")


def by_hand_and_called(folder):
    """Hold the values that notebooks compute in the open against those of the package."""
    (table,) = (t for t in shown_as(folder, "00_collect_samples", "text/plain") if "by hand" in t)
    total = shown_as(folder, "02_total_uncertainty", "text/plain")[0]
    for line in (*table.splitlines()[1:], total):
        mine, called = map(float, NUMBER.findall(line))
        assert mine == pytest.approx(called, rel=1e-6)
    split = shown_as(folder, "04_estimators", "text/plain")[0]
    within, between, *called = map(float, NUMBER.findall(split))
    assert [within, between] == pytest.approx(called, abs=1e-6)


@pytest.fixture
def drawn(tmp_path):
    """Folder of an archive that needed no model, of one task of each cell."""
    from kit import synthetic

    return synthetic.make_archive(tmp_path / "archive")


@quietly
def test_regenerating_gives_the_same_bytes(drawn, tmp_path):
    first, again = (
        run_all(
            "world-quick",
            samples=drawn,
            figures=tmp_path / name,
            build=tmp_path / name / "build",
            only=["02_total_uncertainty.ipynb"],
        )
        for name in ("one", "two")
    )
    assert first and [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


@quietly
def test_peoples_answers_are_a_ranking_and_an_accuracy(drawn, tmp_path):
    """Three people rank the prompts and grade the videos, each with errors of their own."""
    archive, rows = open_archive(drawn), ["rater,task,video,other,question,value"]
    truth = archive.truth().set_index("task").true_entropy
    for rater in "abc":
        rng = np.random.default_rng(ord(rater))
        ranks = (truth + rng.normal(size=len(truth))).rank()
        rows += [f"{rater},{task},,,vagueness,{rank:g}" for task, rank in ranks.items()]
        for v in archive.videos().itertuples():
            grade = round(min(5, max(1, 6 * v.clip_reference + rng.normal())))
            rows.append(f"{rater},{v.task},{v.path},,accuracy,{grade}")
    ratings = drawn / "ratings.csv"
    ratings.write_text("\n".join(rows))
    run_all(
        "world-quick",
        samples=drawn,
        figures=tmp_path / "figures",
        build=tmp_path / "build",
        only=["01_metric_selection", "04_estimators"],
        parameters={"ranking": str(ratings), "accuracy": "rating_accuracy"},
    )
    points = pd.read_csv(tmp_path / "figures" / "data" / "figure_3.csv")
    own = points[points.x_spread.notna()]
    answers = open_archive(drawn).ratings()
    ranks = answers[answers.question == "vagueness"].groupby("task").value
    panel = own[own.y_label == "people: accuracy"].set_index("task")
    np.testing.assert_allclose(panel.x, ranks.mean()[panel.index], rtol=1e-4)
    np.testing.assert_allclose(panel.x_spread, ranks.std()[panel.index], rtol=1e-4)
    assert set(own.x_label) == {"mean rank of 3 raters ± sd"}
    table = pd.read_csv(tmp_path / "figures" / "data" / "leaderboard.csv")
    summary = summarize(open_archive(drawn))
    row = table[(table.estimator == "squbed") & (table.component == "total")].iloc[0]
    expected = kendalltau(summary.total, summary.rating_accuracy).statistic
    assert row.tau == pytest.approx(expected, abs=1e-4)


@quietly
def test_an_archive_without_truth_needs_a_ranking(drawn, tmp_path, capsys):
    (drawn / "truth.parquet").unlink()
    where = {"samples": drawn, "figures": tmp_path / "figures", "build": tmp_path / "build"}
    left = tmp_path / "figures" / "figure_3.png"  # by a run on another archive
    left.parent.mkdir()
    left.touch()
    assert run_all("world-quick", **where, only=["01_metric_selection"]) == []
    sentence = "nobody ranked the prompts by vagueness; give `ranking`, a CSV of task and rank"
    assert sentence in capsys.readouterr().out and not left.exists()
    (copy,) = (tmp_path / "build").rglob("*.ipynb")
    shown = [text for c in cells_of(copy) for o in c.outputs for text in o.get("traceback", ())]
    assert len(shown) == 1 and shown[0].startswith("Not shown: ") and sentence in shown[0]
    html = copy.with_suffix(".html").read_text()
    assert "An Exception" not in html and html.index(sentence) < html.index("What to run")
    written = run_all("world-quick", **where, only=["03_disentanglement"])
    assert "figure_5.png" in {path.name for path in written}
    assert "truth.png" not in {path.name for path in written}


@quietly
def test_real_prompts_are_asked_only_where_a_folder_is_named(tmp_path, capsys):
    """`make figures` needs neither the package of the prompts nor an archive of them."""
    where = {"samples": tmp_path / "none", "figures": tmp_path / "f", "build": tmp_path / "build"}
    assert run_all("world", **where, only=["10_real_prompts"]) == []
    assert "] 10_real_prompts: not shown: it asks VBench's prompts, " in capsys.readouterr().out
    assert not (tmp_path / "f").exists() and not (tmp_path / "none").exists()


@quietly
def test_a_notebook_runs_from_any_folder(drawn, tmp_path):
    """As in JupyterLab, where a copy runs beside itself and paths start at the repository."""
    (tmp_path / "elsewhere").mkdir()
    papermill.execute_notebook(
        BY_NAME["07_confident_mistakes"].path,
        tmp_path / "elsewhere" / "copy.ipynb",
        parameters={
            "samples": os.path.relpath(drawn, ROOT),
            "output": os.path.relpath(tmp_path / "figures", ROOT),
        },
        cwd=tmp_path / "elsewhere",
        progress_bar=False,
    )
    assert (tmp_path / "figures" / "figure_1.png").is_file()
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["copy.ipynb"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_lab_has_copies_that_follow_their_originals_until_they_are_saved(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    originals, lab = tmp_path / "notebooks", tmp_path / "lab"
    originals.mkdir()
    for name in "ab":
        (originals / f"{name}.ipynb").write_text("1")

    def copy():
        command = ["make", "--silent", "copies", "PYTHON=python"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return result.stdout, [(lab / f"{name}.ipynb").read_text() for name in "ab"]

    said, held = copy()
    assert "in lab/" in said and held == ["1", "1"]
    (lab / "a.ipynb").write_text("mine")
    for name in "ab":
        (originals / f"{name}.ipynb").write_text("2")
    said, held = copy()
    assert "lab/a.ipynb is yours and stays" in said and held == ["mine", "2"]
    (lab / "a.ipynb").unlink()
    said, held = copy()
    assert "yours" not in said and held == ["2", "2"]
