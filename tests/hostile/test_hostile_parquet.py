"""Tables from elsewhere: each is one clear error that names file and column, or the right answer.

The archive has no seal, and its checksums are those of the changed files, as someone would write
them who means harm: what they would catch is found by what the tables say.
"""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kit import small

from squbed_utils import cli
from squbed_utils.archive.archive import open_archive


def rows(change):
    """Change the rows of a shard."""
    return lambda folder: small.edit(folder / small.SHARD, change)


def value(column, new, row=0):
    """Put one value in the place of another; the shard's types stay."""

    def put(folder):
        path = folder / small.SHARD
        table = pq.read_table(path, partitioning=None)
        values = table[column].to_pylist()
        values[row] = new(values[row]) if callable(new) else new
        small.retype(path, column, pa.array(values, table.schema.field(column).type))

    return put


def other_type(name, column, values):
    return lambda folder: small.retype(folder / name, column, values)


def without(name, column):
    def drop(folder):
        table = pq.read_table(folder / name, partitioning=None)
        pq.write_table(table.drop_columns(column), folder / name)

    return drop


def swap_shards(folder):
    a, b = folder / small.SHARD, folder / small.OTHER
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second), b.write_bytes(first)


def fifo(name):
    def put(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return put


def damaged_page(folder):
    """Break the compressed data of a column, and leave the footer as it is."""
    path = folder / small.SHARD
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)


def many_tasks(folder):
    """Say in a few kilobytes that there are more latent prompts than memory holds."""
    named = [{"task": f"t{i}", "reference": None} for i in range(1001)]
    small.edit(folder / "tasks.parquet", lambda rows: [rows[0] | each for each in named])
    (folder / "truth.parquet").unlink()
    small.settings(folder, n=1000)


def wide(folder):
    path = folder / "tasks.parquet"
    table = pq.read_table(path)
    for i in range(200):
        table = table.append_column(f"x{i}", pa.array(["x"] * len(table)))
    pq.write_table(table, path)


def tall(folder):
    """Two million rows in a few kilobytes."""
    schema = pq.read_schema(folder / "tasks.parquet")
    with pq.ParquetWriter(folder / "tasks.parquet", schema) as file:
        same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2**21, np.int8)), pa.array(["x"]))
        file.write_table(pa.table([same.cast(pa.string())] * len(schema), schema=schema))


def many_groups(folder):
    path = folder / "tasks.parquet"
    pq.write_table(pa.concat_tables([pq.read_table(path)] * 600), path, row_group_size=1)


def twice_a_task(folder):
    small.edit(folder / "tasks.parquet", lambda found: [*found, found[0]])


def foreign_reference(folder):
    def change(found):
        found[0]["reference"] = found[1]["reference"]

    small.edit(folder / "tasks.parquet", change)


def utf8(folder):
    """Put bytes that are no text into a column of text."""
    path = folder / "tasks.parquet"
    table = pq.read_table(path)
    odd = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    pq.write_table(table.set_column(3, "prompt", odd), path)


SHARD, TASKS = r"shards/common-4-angular/1.parquet", r"tasks.parquet"
CASES = [
    ("page", damaged_page, rf"{SHARD} cannot be read"),
    ("ids swapped", swap_shards, rf"{SHARD}, row 1: task is 'never-4-thing'; expected the fil"),
    ("latent", value("latent", 2), rf"{SHARD}, row 1: latent is 2; expected the file's, 1"),
    ("row twice", rows(lambda r: [r[0], r[0]]), rf"{SHARD} holds 2 rows, of the samples 0, 0; exp"),
    ("row lost", rows(lambda r: r[:1]), rf"{SHARD} holds 1 rows, of the samples 0; expected 2"),
    ("row more", rows(lambda r: [*r, r[1] | {"sample": 2, "path": r[1]["path"][:-5] + "2.mp4"}]),
     rf"{SHARD} holds 3 rows, of the samples 0, 1, 2; expected 2"),
    ("path of another", value("path", "videos/never-4-thing/0_0.mp4"), rf"{SHARD}, row 1: path is"),
    ("null id", value("task", None), rf"{SHARD}: column task, row 1: the value is missing"),
    ("null embedding", value("embedding", None), rf"{SHARD}: column embedding, row 1: .* missing"),
    ("null score", value("ssim", None), rf"{SHARD}: column ssim: that of sample 0 is missing"),
    ("nan score", value("psnr", float("nan")), rf"{SHARD}: column psnr, row 1: .* not a number"),
    ("infinite score", value("lpips", float("inf")), rf"{SHARD}: column lpips, row 1: .* infinite"),
    ("nan in an embedding", value("embedding", lambda v: [float("nan"), *v[1:]]),
     rf"{SHARD}: column embedding, row 1: the vector is zero or not finite"),
    ("zero embedding", value("embedding", lambda v: [0.0] * len(v), row=1),
     rf"{SHARD}: column embedding, row 2: the vector is zero or not finite"),
    ("width in a shard", value("embedding", lambda v: v[:-1]), rf"{SHARD}: column embedding has v"),
    ("width of a shard", rows(lambda r: [x | {"embedding": x["embedding"][:-1]} for x in r]),
     rf"{SHARD}: column embedding has vectors of 127 numbers, and others of 128"),
    ("width of CLIP", rows(lambda r: [x | {"clip_embedding": x["clip_embedding"][:-1]} for x in r]),
     rf"{SHARD}: column clip_embedding has vectors of"),
    ("text without its prompt", value("prompt", None), rf"{SHARD}: column text_embedding, row 1"),
    ("failed with an embedding", value("status", "failed"), rf"{SHARD}: column embedding, row 1: "),
    ("status", value("status", "fine"), rf"{SHARD}, row 1: status is 'fine'; expected ok or"),
    ("no column", without(small.SHARD, "embedding"), rf"{SHARD} lacks the column embedding"),
    ("no score", without(small.SHARD, "clip_prompt"), rf"{SHARD} lacks the column clip_prompt"),
    ("embedding of text", other_type(small.SHARD, "embedding", pa.array(["a", "b"])),
     rf"{SHARD}: column embedding is of type string; expected vectors"),
    ("score of text", other_type(small.SHARD, "ssim", pa.array(["0.5", "0.6"])),
     rf"{SHARD}: column ssim is of type string; expected numbers"),
    ("score of bool", other_type(small.SHARD, "ssim", pa.array([True, False])),
     rf"{SHARD}: column ssim is of type bool; expected numbers"),
    ("huge latent", other_type(small.SHARD, "latent", pa.array([2**40, 2**40])),
     rf"{SHARD} cannot be read"),
    ("long text", value("prompt", "x" * 100_000), rf"{SHARD}: column prompt, row 1: .* more than"),
    ("pipe for a shard", fifo(small.SHARD), rf"{SHARD} is a pipe, socket or device"),
    ("pipe for a table", fifo("tasks.parquet"), rf"{TASKS} is a pipe, socket or device"),
    ("pipe for a manifest", lambda folder: os.mkfifo(folder / "manifest.parquet"),
     r"manifest.parquet is a pipe, socket or device"),
    ("no table", lambda folder: (folder / "tasks.parquet").write_bytes(b""), rf"{TASKS} cannot be"),
    ("columns", wide, rf"{TASKS} cannot be read \(it says that it has 205 columns"),
    ("rows", tall, rf"{TASKS} cannot be read \(it says that it has 2,097,152 rows; expected at m"),
    ("row groups", many_groups, rf"{TASKS} cannot be read \(it says that it has 1,200 row groups"),
    ("latent prompts", many_tasks, r"it has 1,001,000 latent prompts; expected at most 1,0"),
    ("task twice", twice_a_task, rf"{TASKS} has the task 'common-4-angular' twice"),
    ("no tasks", lambda folder: small.edit(folder / "tasks.parquet", lambda found: found[:0]),
     rf"{TASKS} has no rows"),
    ("task id", lambda folder: small.edit(folder / "tasks.parquet", lambda found: [
        found[0] | {"task": "../up"}, found[1]]), rf"{TASKS}: task id '../up' cannot name a file"),
    ("null prompt", lambda folder: small.edit(folder / "tasks.parquet", lambda found: [
        found[0] | {"prompt": None}, found[1]]), rf"{TASKS}: column prompt, row 1: .* is missing"),
    ("no prompts", without("tasks.parquet", "prompt"), rf"{TASKS} lacks the column prompt"),
    ("bytes for text", utf8, rf"{TASKS} cannot be read"),
    ("reference of another", foreign_reference, rf"{TASKS}: the reference of task common-4-angula"),
    ("shard more", lambda folder: (folder / "shards/never-4-thing/3.parquet").write_bytes(
        (folder / small.OTHER).read_bytes()), r"3.parquet is of no task and latent prompt"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in CASES], ids=[
    case[0] for case in CASES])  # fmt: skip
def test_a_table_from_elsewhere(tmp_path, capsys, damage, message):
    folder = small.bare(tmp_path / "archive")
    damage(folder)
    small.resum(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        small.numbers(open_archive(folder))
    assert cli.main(["estimate", str(folder)]) == cli.USER_ERROR
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.main(["verify", str(folder)]) == cli.USER_ERROR


def test_the_untouched_archive_is_fine(tmp_path):
    folder = small.bare(tmp_path / "archive")
    assert cli.main(["estimate", str(folder)]) == cli.main(["verify", str(folder)]) == 0


def test_what_truth_lacks(tmp_path):
    folder = small.bare(tmp_path / "archive")
    small.edit(folder / "truth.parquet", lambda found: found[:1])
    with pytest.raises(ValueError, match=r"truth.parquet lacks the task 'never-4-thing' of tasks"):
        open_archive(folder).truth()
    small.edit(folder / "truth.parquet", lambda found: [*found, *found])
    with pytest.raises(ValueError, match=r"truth.parquet has the task 'common-4-angular' twice"):
        open_archive(folder).truth()


def test_leavings_of_tools_are_not_read(tmp_path):
    folder = small.bare(tmp_path / "archive")
    expected = small.numbers(open_archive(folder))
    for name in (".DS_Store", "Thumbs.db", "._1.parquet", "1.parquet~", ".1.parquet.swp", "#1#"):
        for place in (folder, folder / "shards", (folder / small.SHARD).parent):
            (place / name).write_bytes(b"x")
    assert cli.main(["verify", str(folder)]) == 0
    assert small.numbers(open_archive(folder)).equals(expected)
