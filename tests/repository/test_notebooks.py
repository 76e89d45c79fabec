"""The notebooks keep to their form and to the one list; the list is run as it says."""

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest

from squbed_utils import notebooks
from squbed_utils.notebooks import NOTEBOOKS, Notebook, NotebookError, run_all

BY_NAME = {notebook.name: notebook for notebook in NOTEBOOKS}
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
quietly = pytest.mark.filterwarnings("ignore")  # papermill and nbconvert use what others retire


def cells_of(notebook, kind="code"):
    book = nbformat.read(notebook.path, as_version=4)
    return [cell for cell in book.cells if cell.cell_type == kind]


def code_lines(notebook):
    return [
        line
        for cell in cells_of(notebook)
        for line in cell.source.splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]


def test_every_notebook_is_in_the_list_in_order():
    files = sorted(path.stem for path in notebooks.SOURCES.glob("*.ipynb"))
    assert files == [notebook.name for notebook in NOTEBOOKS]


def test_no_file_is_written_twice():
    written = [path for n in NOTEBOOKS for path in n.outputs(Path("f"), truth=True)]
    assert len(written) == len(set(written))


@each_notebook
def test_parameters_are_ten_commented_literals_at_most(notebook):
    found = papermill.inspect_notebook(notebook.path)
    assert list(found) == list(notebook.parameters) and len(found) <= 10
    assert all(parameter["help"] for parameter in found.values())
    tagged = [c for c in cells_of(notebook) if "parameters" in c.metadata.get("tags", [])]
    assert tagged == [cells_of(notebook)[1]]
    assert len(tagged[0].source.splitlines()) == len(found)


@each_notebook
def test_the_form_of_a_notebook(notebook):
    book = nbformat.read(notebook.path, as_version=4)
    nbformat.validate(book)
    kinds = [cell.cell_type for cell in book.cells]
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert kinds[:2] == ["markdown", "code"] and set(kinds[2::2]) == {"markdown"}
    assert set(kinds[3::2]) == {"code"} and kinds.count("code") <= 10
    assert len(code_lines(notebook)) <= 60
    assert not [line for line in code_lines(notebook) if re.match(r"\s*(def|class|async) ", line)]
    assert all(not c.outputs and c.execution_count is None for c in cells_of(notebook))
    assert "print(" in book.cells[-1].source


@each_notebook
def test_the_first_cell_names_every_file_written(notebook):
    text = cells_of(notebook, "markdown")[0].source
    named = set(re.findall(r"[a-z_0-9]+(?=\.csv|`)", text))
    for name in notebook.figures + notebook.truth_figures:
        assert name in named, name
    for name in notebook.tables + notebook.truth_tables:
        assert f"{name}.csv" in text, name
    assert ("data/published/" in text) == notebook.published
    assert "time:" in text and "reads:" in text


@each_notebook
def test_saved_names_are_those_of_the_list(notebook):
    source = "\n".join(cell.source for cell in cells_of(notebook))
    saved = re.findall(r'figures\.save\(\w+, "(\w+)", folder\)', source)
    assert sorted(saved) == sorted(notebook.figures + notebook.truth_figures)
    calls = re.findall(r'save_tables\(folder, "(\w+)", ([^)]*)\)', source)
    keys = [(name, key) for name, given in calls for key in re.findall(r"(\w+)=", given)]
    tables = [name if key == "points" else f"{name}_{key}" for name, key in keys]
    assert sorted(tables) == sorted(notebook.tables + notebook.truth_tables)


def test_an_unknown_notebook_or_parameter_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="unknown notebook '9_x'; known: 00_collect_samples, 01"):
        run_all("world", build=tmp_path, only=["9_x"])
    with pytest.raises(
        ValueError, match="unknown parameter 'estimatr'; known: accuracy, bound, est"
    ):
        run_all("world", build=tmp_path, parameters={"estimatr": "squbed"})
    with pytest.raises(FileNotFoundError, match="no profile 'wrld'"):
        run_all("wrld", build=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no samples archive in .*gone"):
        run_all("world", samples=tmp_path / "gone", build=tmp_path, only=["02_total_uncertainty"])


def test_a_parameter_missing_from_the_source_is_refused(tmp_path, monkeypatch):
    write_notebook(tmp_path, "a", "profile = 'p'  # one", "")
    use(monkeypatch, tmp_path, Notebook("a", ("profile", "speed"), (), ()))
    with pytest.raises(ValueError, match="differ in the parameters speed; name each in both"):
        run_all("world", build=tmp_path / "build")


def test_archives_lie_where_the_profile_says():
    assert notebooks.archive_folder("world").parts[-3:] == ("data", "samples", "world")
    assert notebooks.archive_folder("world", "/a/b") == Path("/a/b")
    assert notebooks.archive_folder("world", "data/x").is_absolute()


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
    common = notebooks.COMMON
    a = Notebook("a", common, (), ("t",), published=False, fills=True)
    b = Notebook("b", common, (), (), published=False, fills=True)
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
    assert not list((tmp_path / "build" / "world").glob("a.*"))


def run_of(notebook, folder, **changes):
    values = {"profile": "world", "output": str(folder / "figures")} | changes
    return notebooks.Run(notebook, values, folder / "archive", folder / "build")


def test_the_key_follows_every_input(small, tmp_path, monkeypatch):
    notebook = notebooks.NOTEBOOKS[0]
    key = run_of(notebook, tmp_path).key()
    assert run_of(notebook, tmp_path).key() == key
    assert run_of(notebook, tmp_path, estimator="squbed_mle").key() != key
    ranking = tmp_path / "ranking.csv"
    ranking.write_text("task,rank")
    ranked = run_of(notebook, tmp_path, ranking=str(ranking)).key()
    ranking.write_text("rank,task")
    assert run_of(notebook, tmp_path, ranking=str(ranking)).key() not in (key, ranked)
    (tmp_path / "archive" / "tasks.parquet").write_text("x")
    changed = run_of(notebook, tmp_path).key()
    assert changed != key
    (tmp_path / "archive" / ".lock").write_text("x")
    assert run_of(notebook, tmp_path).key() == changed
    (tmp_path / "archive" / "v.mp4").write_text("x")
    assert run_of(notebook, tmp_path).key() != changed
    write_notebook(tmp_path, "a", PARAMETERS, "2 + 2")
    (tmp_path / "archive" / "v.mp4").unlink()
    assert run_of(notebook, tmp_path).key() != changed


@quietly
def test_every_notebook_runs_on_a_tiny_profile(tiny_profile, tmp_path):
    from kit import tiny

    dataset = {"kind": "world", "path": str(tiny_profile.parent / "tasks.csv"), "per_cell": 1}
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "tiny.yaml", dataset=dataset)
    figures, build = tmp_path / "figures", tmp_path / "build"
    written = run_all(profile, samples=tmp_path / "archive", figures=figures, build=build)
    assert written == [p for n in NOTEBOOKS for p in n.outputs(figures, truth=True)]
    assert {p for p in figures.rglob("*") if p.is_file()} == set(written)
    summary = pd.read_csv(figures / "data" / "summary.csv")
    assert len(summary) == 15 and summary.total.notna().all()
    for name in ("02_total_uncertainty", "03_disentanglement"):
        (executed,) = build.rglob(f"{name}.ipynb")
        text = "".join(json.loads(executed.read_text())["cells"][-1]["outputs"][0]["text"])
        assert "verdict" in text and re.search(r"holds|does not hold", text)


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
def test_an_archive_without_truth_needs_a_ranking(drawn, tmp_path):
    (drawn / "truth.parquet").unlink()
    where = {"samples": drawn, "figures": tmp_path / "figures", "build": tmp_path / "build"}
    with pytest.raises(NotebookError, match="give `ranking`, a CSV of task and rank"):
        run_all("world-quick", **where, only=["01_metric_selection"])
    written = run_all("world-quick", **where, only=["03_disentanglement"])
    assert "figure_5.png" in {path.name for path in written}
    assert "truth.png" not in {path.name for path in written}
