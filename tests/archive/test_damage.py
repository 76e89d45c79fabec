"""Whatever happens to an archive's files: the right answer or a clear error, and verify knows."""

import math
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import small

from squbed_utils.archive import verify
from squbed_utils.archive.archive import open_archive
from squbed_utils.collection import existing, status
from squbed_utils.commands.publish import export

FEW, MANY = 10, 1000
"""Examples of each kind of damage."""

CLEAR = (ValueError, OSError)


class Bench:
    """An archive that is damaged and put back, and what it says when it is whole."""

    thorough = True

    def __init__(self, folder):
        self.folder = folder
        self.files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != ".lock"
        }
        self.numbers = small.numbers(open_archive(folder))
        self.rows = existing.of_archive(open_archive(folder))

    def restore(self):
        """Put every file back that differs."""
        for name, data in self.files.items():
            path = self.folder / name
            if not path.is_file() or path.read_bytes() != data:
                path.write_bytes(data)

    def ask(self, name):
        """Ask all that reads an archive; each answer is right, or an error that names a file."""
        for answer, right in self.answers():
            try:
                found = answer()
            except CLEAR as error:
                assert self.folder.name in str(error) or name in str(error), error
                assert len(str(error)) < 1000
            else:
                if right is not None:
                    pd.testing.assert_frame_equal(found, right)
            finally:
                shutil.rmtree(self.folder.with_name("out"), ignore_errors=True)

    def answers(self):
        """Return what is asked, and the right answers where they are told."""
        asked = [
            (lambda: small.numbers(open_archive(self.folder)), self.numbers),
            (lambda: existing.of_archive(open_archive(self.folder)), self.rows),
            (lambda: status.status(self.folder), None),
            (lambda: export(self.folder, self.folder.with_name("out")), None),
        ]
        return asked if self.thorough else asked[:1]

    def problems(self):
        """Return the paths that verify names; an error names them all."""
        try:
            return [problem.path for problem in verify.verify(self.folder)]
        except CLEAR as error:
            return [str(error)]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    return Bench(small.sealed(tmp_path_factory.mktemp("sealed") / "archive"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return Bench(small.bare(tmp_path_factory.mktemp("bare") / "archive"))


@st.composite
def byte_damage(draw):
    """Draw a way to damage a file's bytes."""
    kind = draw(st.sampled_from(["flip", "truncate", "append", "zero", "delete", "empty"]))
    where = draw(st.floats(0, 1, exclude_max=True))
    what = draw(st.binary(min_size=1, max_size=16))
    return kind, where, what


def damage_bytes(data, how):
    kind, where, what = how
    at = int(where * len(data))
    match kind:
        case "flip":
            return data[:at] + bytes([data[at] ^ (what[0] or 1)]) + data[at + 1 :]
        case "truncate":
            return data[:at]
        case "append":
            return data + what
        case "zero":
            return data[:at] + bytes(min(64, len(data) - at)) + data[at + 64 :]
        case "empty":
            return b""


def check_bytes(bench, name, how):
    path = bench.folder / name
    damaged = damage_bytes(bench.files[name], how)
    if damaged == bench.files[name]:
        return
    try:
        path.unlink() if damaged is None else path.write_bytes(damaged)
        bench.ask(name)
        if name != "archive.sha256":  # without which the archive is one that is not sealed
            assert any(name in problem for problem in bench.problems()), name
    finally:
        bench.restore()


COLUMNS = {
    "tasks.parquet": ["task", "dataset", "category", "prompt", "reference"],
    "truth.parquet": ["task", "coverage", "left_out", "true_entropy"],
    small.SHARD: [*pq.read_schema(small.FROZEN / small.SHARD).names],
}
VALUES = st.sampled_from([
    None, True, False, 0, -1, 2**31, 2**63 - 1, 1e308, math.nan, math.inf, "", "x", "..",
    "x" * 21000, b"\xff", [], [0.0], [math.nan], [1e38] * 128, ["x"], [None], {"a": 1},
])  # fmt: skip
SETTINGS = st.sampled_from(["n", "m", "pca", "estimator", "name", "schema", "lpips", "versions"])


def damage_table(path, column, kind, value, row):
    """Change a column's place, type or values; what stays the same is no damage."""
    table = pq.read_table(path, partitioning=None)
    i, row = table.column_names.index(column), row % len(table)
    values = table[column].to_pylist()
    match kind:
        case "drop":
            table = table.drop_columns(column)
        case "rename":
            names = [f"{n}x" if n == column else n for n in table.column_names]
            table = table.rename_columns(names)
        case "all":
            table = table.set_column(i, column, pa.array([value] * len(values)))
        case "one":
            values[row] = value
            try:
                array = pa.array(values, table.schema.field(column).type)
            except (pa.ArrowException, OverflowError, TypeError):
                return False
            table = table.set_column(i, column, array)
        case "swap":
            table = table.set_column(i, column, pa.array(values[::-1], table[column].type))
        case "twice":
            table = pa.concat_tables([table, table.slice(row, 1)])
        case "fewer":
            table = table.slice(row, 1)
        case "none":
            table = table.slice(0, 0)
        case "text":
            table = table.set_column(i, column, pa.array([str(v) for v in values]))
    pq.write_table(table, path)
    return True


KINDS = st.sampled_from(["drop", "rename", "all", "one", "twice", "fewer", "none", "text"])
FREE = {"prompt", "dataset", "category", "rejected", "seed", "error", "coverage", "left_out"}
FREE |= {"true_entropy"}
"""Columns of which nothing else says what they were; a value of the right type is believed."""

MEASURED = {"ssim", "psnr", "lpips", "clip_reference", "clip_prompt", "embedding", "text_embedding"}
"""The same, of numbers."""


def check_table(bench, name, column, kind, value, row):
    right = isinstance(value, float | list) and kind in ("one", "all")
    if column in MEASURED and (right or isinstance(value, int) and kind in ("one", "all")):
        numbers = np.ravel(value).tolist() if isinstance(value, list) else [value]
        if all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
            return  # another number is not to be told from the right one without checksums
    if column in FREE and kind in ("one", "all", "swap", "text"):
        return
    if column in MEASURED and kind == "all" and value is None:
        return  # as if it had never been measured
    try:
        if damage_table(bench.folder / name, column, kind, value, row):
            small.resum(bench.folder)
            bench.ask(name)
    finally:
        bench.restore()


def check_setting(bench, name, value, gone):
    path = bench.folder / "profile.yaml"
    found = yaml.safe_load(path.read_text())
    found.pop(name) if gone else found.update({name: value})
    if name == "estimator" and isinstance(value, str):
        return
    try:
        path.write_text(yaml.safe_dump(found))
        bench.ask("profile.yaml")
    finally:
        bench.restore()


def examples(count):
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, deadline=None, suppress_health_check=quiet)


ALL_FILES = sorted(str(p.relative_to(small.FROZEN)) for p in small.FROZEN.rglob("*") if p.is_file())
ALL_FILES += ["archive.sha256"]
BYTES = given(name=st.sampled_from(ALL_FILES), how=byte_damage())
TABLES = given(
    place=st.sampled_from([(n, c) for n, columns in COLUMNS.items() for c in columns]),
    kind=KINDS,
    value=VALUES,
    row=st.integers(0, 1),
)
PROFILE = given(name=SETTINGS, value=VALUES, gone=st.booleans())


@pytest.fixture
def quick(monkeypatch):
    """Ask for the numbers alone."""
    monkeypatch.setattr(Bench, "thorough", False)


@examples(FEW)
@BYTES
def test_damaged_bytes(quick, sealed, name, how):
    check_bytes(sealed, name, how)


@examples(FEW)
@TABLES
def test_damaged_tables(quick, bare, place, kind, value, row):
    check_table(bare, *place, kind, value, row)


@examples(FEW)
@PROFILE
def test_damaged_settings(quick, bare, name, value, gone):
    check_setting(bare, name, value, gone)


@pytest.mark.slow
@examples(MANY)
@BYTES
def test_damaged_bytes_many_times(sealed, name, how):
    check_bytes(sealed, name, how)


@pytest.mark.slow
@examples(MANY - 200)
@TABLES
def test_damaged_tables_many_times(bare, place, kind, value, row):
    check_table(bare, *place, kind, value, row)


@pytest.mark.slow
@examples(200)
@PROFILE
def test_damaged_settings_many_times(bare, name, value, gone):
    check_setting(bare, name, value, gone)
