"""Tables that people or strangers wrote: the right values, or an error that names the line."""

import pandas as pd
import pytest

from squbed_utils import csv_files
from squbed_utils.statistics import tables
from squbed_utils.tasks import manifest, shapes_world
from training.tasks import COLUMNS

TASKS = ["001", "NA", "b"]
RANKS = {"001": 1.0, "NA": 2.0, "b": 3.0}
PLAIN = "task,rank\n001,1\nNA,2\nb,3\n"
HEADER = "task,prompt,latent,sample,video,reference"
WORLD = ",".join(COLUMNS)
ROW = "a,world,round,a star,a star,1,common,star,4096"

CASES = [
    ("ids with leading zeros and NA", "ranking", PLAIN, RANKS),
    ("a repeated id", "ranking", PLAIN + "b,3", "line 5: task b is already in line 4"),
    ("an empty rank", "ranking", "task,rank\nb,", "line 2: rank is empty; expected a number"),
    ("a rank in words", "ranking", "task,rank\nb,low", "line 2: rank is 'low'; expected a n"),
    ("an infinite rank", "ranking", "task,rank\nb,inf", "line 2: rank is 'inf'; expected a n"),
    ("a decimal comma", "ranking", "task;rank\nb;1,5", "line 2: rank is '1,5'; expected a number"),
    ("semicolons", "ranking", PLAIN.replace(",", ";"), RANKS),
    ("tabs", "ranking", PLAIN.replace(",", "\t"), RANKS),
    ("the first line of Excel", "ranking", "sep=;\n" + PLAIN.replace(",", ";"), RANKS),
    ("UTF-16", "ranking", PLAIN.encode("utf-16"), RANKS),
    ("UTF-16 without its mark", "ranking", PLAIN.encode("utf-16-le"), "line 1: holds a NUL char"),
    (
        "Latin-1",
        "ranking",
        (PLAIN + "é,4").encode("latin-1"),
        "line 5: not UTF-8; save it as UTF-8",
    ),
    ("a NUL", "ranking", PLAIN + "b\0,4", "line 5: holds a NUL character"),
    ("spaces in the header", "ranking", PLAIN.replace("task,rank", " task , rank"), RANKS),
    ("a column twice", "ranking", "task,rank,rank\nb,1,2", "line 1: has the column rank twice"),
    ("a row that is too short", "ranking", PLAIN + "b", "line 5: has another number of fields"),
    ("an unclosed quote", "ranking", PLAIN + '"b,4\n' + "x,1\n" * 9, "line 5: not valid CSV"),
    ("an endless cell", "ranking", PLAIN + "x" * 140_000, "line 5: .*more than 131,072 characters"),
    ("a misspelt column", "ranking", "task,rnk\nb,1", r"'rnk' \(did you mean 'rank'\?\)"),
    ("an id that lost its zeros", "ranking", "task,rank\n01,1", "unknown task '01'.*mean '001'"),
    ("a table without rows", "ranking", "task,rank\n,\n\n", "has no rows; expected one at least"),
    ("a manifest with semicolons", "manifest", HEADER.replace(",", ";"), "has no rows"),
    ("a manifest with an index", "manifest", f",{HEADER}\n0,a,p,x,0,v,r", "line 2: latent is 'x'"),
    ("a task table with a word", "tasks", f"{WORLD}\n{ROW},x,1,1", "line 2: left_out is 'x'"),
    ("a task table with nan", "tasks", f"{WORLD}\n{ROW},1,nan,1", "line 2: true_entropy is 'nan'"),
]


def read(door, path):
    if door == "ranking":
        ranked = tables.ranked_tasks(pd.DataFrame({"task": TASKS}), ranking=path)
        return dict(zip(ranked.task, ranked["rank"], strict=True))
    return manifest.read(path) if door == "manifest" else shapes_world.read_world(path)


@pytest.mark.parametrize(("door", "content", "expected"), [c[1:] for c in CASES], ids=lambda c: "")
def test_a_table_is_read_right_or_refused_with_its_line(tmp_path, door, content, expected):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if isinstance(expected, dict):
        assert read(door, path) == expected
    else:
        with pytest.raises(ValueError, match=expected) as caught:
            read(door, path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_absurd_size_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "LARGEST", 10)
    (tmp_path / "table.csv").write_text(PLAIN)
    with pytest.raises(ValueError, match="table.csv has 0 MB; expected 0 at most"):
        read("ranking", tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("https://example.com/0.mp4", "https://example.com/0.mp4 is a URL, which is not fetched"),
        ("sub\\0.mp4", r"no video /.*/sub\\0.mp4; write / instead of the backslashes of Windows"),
        ("sub/0.mp4", r"no video /.*/sub/0.mp4$"),
        ("~/gone/0.mp4", r"no video /home/me/gone/0.mp4$"),
        ("~nobody-of-this-name/0.mp4", "no video .*nobody-of-this-name/0.mp4$"),
    ],
)
def test_paths_in_a_manifest(tmp_path, monkeypatch, name, message):
    monkeypatch.setenv("HOME", "/home/me")
    with pytest.raises((ValueError, OSError), match=message):
        manifest.locate(name, tmp_path)


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "＝1", "'=1", "''+x"]
HARMLESS = ["a = b", "-1.5", "+3e5", "-inf", "it's", "'quoted'", "", "NA", "001"]


def test_a_spreadsheet_runs_no_text_and_we_read_back_what_was_written(tmp_path):
    table = pd.DataFrame({"prompt": FORMULAS + HARMLESS})
    table["x"] = -0.5
    tables.save_tables(tmp_path, "t", points=table)
    raw = pd.read_csv(tmp_path / "data" / "t.csv", dtype=str, keep_default_na=False)
    assert list(raw.prompt) == [f"'{text}" for text in FORMULAS] + HARMLESS
    assert set(raw.x) == {"-0.5"}
    rows = csv_files.read(tmp_path / "data" / "t.csv", "table", ("prompt", "x"))
    assert [row["prompt"] for _, row in rows] == FORMULAS + HARMLESS
