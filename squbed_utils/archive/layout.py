"""The layout of an archive: where its files lie, and what its tables hold.

::

    profile.yaml                     what was run: settings, versions, checkpoint hashes
    tasks.parquet                    a row a task
    manifest.parquet                 where the videos come from, if they were made elsewhere, and
                                     people's ratings of them
    ratings.csv                      what people answered about prompts and videos, if asked
    truth.parquet                    what is really uncertain, where that is known
    labels.json                      caption -> category, where tasks are sampled from a dataset
    dataset.json                     and how: counts, what was left out and why, each task's clip
    references/<task>.mp4            the reference videos
    shards/<task>/<latent>.parquet   a latent prompt and its videos: one row a video
    shards/<task>/<latent>.sha256    SHA-256 of it, its videos and its reference, as `sha256sum
                                     --check` reads it in this folder
    videos/<task>/<latent>_<sample>.mp4
    archive.sha256                   the seal: SHA-256 of the tables, the references and the lists
                                     of sums, written when a run ends; empty while it has not
    spending.json                    what paid models have cost, if there are any
    answers/<sha256>.json            what a model behind an API answered, by what it was asked

The manifest of an archive that ``score`` made of existing videos says how many latent prompts and
videos there are; elsewhere the profile's n, m and videos_of do. ``quantify`` makes an archive of
one task without a reference. Every file is whole or absent and holds no date; equal runs give equal
bytes. ``runs/`` (what was made when) and ``.claims/`` (who makes what now) are no part of the
result; ``ratings.csv`` holds dates and may grow, so the seal does not name it.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types
from pydantic import AwareDatetime, ConfigDict, Field

from squbed_utils import csv_files
from squbed_utils.csv_files import Line, Number
from squbed_utils.files import read_bytes, replacing
from squbed_utils.text import shortened

OK, FAILED, TEXT = "ok", "failed", "text"
"""What became of a video; the row of a latent prompt that gets none holds its text."""

SCHEMA = 2
"""Layout version, in ``profile.yaml``."""

TWIN = "-twin"
"""End of the name of the profile of a video model's twin (``profiles.twin_of``)."""

QUANTIFIED = "quantify"
"""The dataset of a task that ``quantify`` was asked for."""

CHECKSUMS = ".sha256"

SEAL = "archive.sha256"

TABLES = ("profile.yaml", "tasks.parquet", "truth.parquet", "manifest.parquet")
TABLES += ("dataset.json", "labels.json")
"""Files that the seal names and no shard's list of sums does."""

SUMS = "SHA256SUMS"
"""The list of checksums of an exported archive's files."""

ACCOUNT, ACCOUNT_LOCK = "spending.json", ".spending.lock"
"""What paid models have cost, and the lock of whoever changes it."""

LONGEST_ERROR = 500
FOLDERS = re.compile(
    r"""(?<![\w:/\\.~-])(?:file:(?://)?|~[\w.-]*|\.\.|[A-Za-z]:)?[/\\]+"""
    r"""(?:[^\s/\\:'"]+(?:(?<![,;])[ ][^\s/\\:'"]+){0,3}[/\\]+)+"""
)
"""The folders (names of up to four words) of a path in a text: absolute, under ~ or under
``..``."""

VECTORS = ("embedding", "text_embedding", "clip_embedding", "clip_reference_embedding")

READ = ("tokens", "window", "unknown")
"""A text's tokens, its encoder's window (missing: no limit), and its tokens unknown to that."""

SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

COVERAGES = ("common", "rare", "never")

LABELS = {
    "ssim": "SSIM",
    "psnr": "PSNR (dB)",
    "lpips": "LPIPS",
    "clip_reference": "CLIP, video to reference",
    "clip_prompt": "CLIP, video to prompt",
}
"""Accuracy -> its name in figures."""

LPIPS_KINDS = ("unlearned", "alex", "st-alex")

HIGHER_IS_BETTER = {name: name != "lpips" for name in LABELS}

RATING = re.compile(r"rating(_[A-Za-z0-9_]{1,60})?")
"""Columns of people's scores of videos, in a manifest: accuracies like those of `LABELS`. Higher is
better; a video may have none."""

RATINGS = "ratings.csv"

VAGUENESS, GRADES, CHOICES = "vagueness", (1, 2, 3, 4, 5), (0, 0.5, 1)

ASKED = {
    VAGUENESS: (0, ()),
    "accuracy": (1, GRADES),
    "accuracy_prompt": (1, GRADES),
    "preference": (2, CHOICES),
    "preference_prompt": (2, CHOICES),
}
"""Question to people -> of how many videos it is asked, and its answers, where not any rank: to
rank prompts by vagueness; to grade a video, or choose the better of two, by the reference or by the
prompt."""

VIDEOS = ("of no video", "of a `video` and no `other`", "of a `video` and an `other`")

SHARD = pa.schema(
    [
        ("task", pa.string()),
        ("latent", pa.int32()),
        ("prompt", pa.string()),
        ("rejected", pa.list_(pa.string())),
        ("text_embedding", pa.list_(pa.float32())),
        *((f"{text}_{count}", pa.int32()) for text in ("text", "prompt") for count in READ),
        ("sample", pa.int32()),
        ("seed", pa.int64()),
        ("path", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        *((name, pa.float64()) for name in LABELS),
        ("clip_embedding", pa.list_(pa.float32())),
        ("clip_reference_embedding", pa.list_(pa.float32())),
        ("caption", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
    ]
)
"""Columns of a shard. A failed video has null embeddings and accuracies, and so has the one row of
a latent prompt that gets no videos (status "text"); a task without a reference has null accuracies,
except clip_prompt, and no clip_reference_embedding; an unknown latent prompt has null prompt and
text embedding; seed is null where the video was made elsewhere, caption without a captioner. text_*
are `READ` of the latent prompt by the text encoder, prompt_* of the task's prompt by CLIP; archives
of 0.1.0 lack them. CLIP embeddings are means of unit frame embeddings over the aligned frames."""

MOST_BYTES = 2**30
MOST_ROWS, MOST_COLUMNS, MOST_GROUPS, MOST_VALUES = 1_000_000, 100, 1000, 2**27
"""Largest numbers in a table's footer; values are those of one column."""

LONGEST_TEXT = 20_000
MEASURING = ("text_encoder", "video_encoder", "clip", "lpips", "captioner")
"""The roles that embed, score and caption videos."""

ROLES = ("video_model", "refiner", *MEASURING)
"""The models of a run; captioner and, where latent prompts are given, refiner may be absent."""

PAID = ("price", "budget", "timeout", "poll")
"""Settings of a video model that change no video."""

PLACES = {"path": "video_model", "call": "video_model"}
PLACES |= {"transformer": "transformer", "image_model": "image_model"}
"""Setting of a video model that says where its weights lie -> the name of their checksum."""

TOLD = PLACES | {"revision": "video_model", "offload": "video_model"}
"""The same, and settings that say nothing more of weights whose checksum is known."""

BOUNDS = {
    "n": (3, 1000),
    "m": (1, 1000),
    "videos_of": (3, 1000),
    "batch_size": (1, 10_000),
    "seed": (0, 2**63 - 1),
    "pca": (2, 100_000),
}
"""The least and the greatest value of each whole number in a profile."""

TEXTS = ("name", "estimator", "device", "dtype")


class Column(NamedTuple):
    """A column's name and type; `needed`: it must exist, `full`: no value may be missing."""

    name: str
    kind: str
    needed: bool = True
    full: bool = True


KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "text": lambda t: types.is_string(t) or types.is_large_string(t),
    "whole numbers": types.is_integer,
    "numbers": lambda t: types.is_integer(t) or types.is_floating(t),
    "vectors": lambda t: types.is_list(t) and types.is_floating(t.value_type),
    "texts": lambda t: types.is_list(t) and types.is_string(t.value_type),
}


def columns(kind: str, names: str, **settings: bool) -> tuple[Column, ...]:
    """Return columns of one kind."""
    return tuple(Column(name, kind, **settings) for name in names.split())


TASKS = columns("text", "task dataset category prompt") + columns("text", "reference", full=False)
TASKS += columns("numbers", "vagueness_rank", needed=False, full=False)

TRUTH = columns("text", "task") + columns("text", "coverage subject", needed=False)
TRUTH += columns("whole numbers", "clips left_out", needed=False)
TRUTH += columns("numbers", "true_entropy", needed=False)

MANIFEST = columns("text", "task prompt category")
MANIFEST += columns("text", "video reference latent_prompt", full=False)
MANIFEST += columns("whole numbers", "latent sample")
MANIFEST += columns("numbers", "vagueness_rank", full=False)

COUNTED = {f"{text}_{count}" for text in ("text", "prompt") for count in READ}

ROWS = tuple(
    Column(
        field.name,
        next(kind for kind, fits in KINDS.items() if fits(field.type)),
        needed=field.name not in COUNTED,
        full=field.name in ("task", "latent", "sample", "status"),
    )
    for field in SHARD
)
"""Columns of a shard; `SHARD` holds their exact types."""


def ratings_of(columns: Iterable[str]) -> list[str]:
    """Return the columns that hold people's scores."""
    return [name for name in columns if RATING.fullmatch(name)]


Samples = Mapping[tuple[str, int], list[int]]


class Rating(Line):
    """A row of ``ratings.csv``: one person's rank (1 = the least vague), grade or choice.

    A preference is 1 where `video` is better, 0 where `other` is, 0.5 where neither.
    """

    model_config = ConfigDict(extra="forbid")

    rater: str
    task: str
    video: str = ""
    other: str = ""
    question: Literal[*ASKED]
    value: Annotated[Number, Field(ge=0)]
    time: AwareDatetime | None = None


def read_ratings(path: Path, samples: Samples | None = None) -> pd.DataFrame:
    """Return people's answers, a row each as `Rating`; of equal questions the last answer.

    With an archive's `samples`, the samples of each (task, latent), others are refused.
    """
    owner = {video_path(*unit, k): unit[0] for unit, of in (samples or {}).items() for k in of}
    tasks, paths = set(owner.values()), {"", *owner}
    rows, mistakes = csv_files.read_as(Rating, path, "ratings"), []
    for row in rows:
        strange = {row.task} - tasks or {row.video, row.other} - paths
        if samples and (strange or owner.get(row.video, row.task) != row.task):
            what = f"the task {row.task!r} with the videos {row.video!r}, {row.other!r}"
            mistakes.append((row.line, f"the archive does not have {what}"))
        count, values = ASKED[row.question]
        if (bool(row.video), bool(row.other)) != (count > 0, count > 1):
            mistakes.append((row.line, f"{row.question} is asked {VIDEOS[count]}"))
        if values and row.value not in values:
            known = ", ".join(f"{value:g}" for value in values)
            mistakes.append((row.line, f"value is {row.value:g}; expected one of {known}"))
    csv_files.refuse(f"ratings {path}", mistakes)
    table = pd.DataFrame([row.model_dump() for row in rows])
    table["time"] = pd.to_datetime(table.time, utc=True)
    return latest(table)


def latest(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of which nobody gave a later one to the same question."""
    table = ratings.sort_values("time", kind="stable", na_position="first")
    same = ["rater", "question", "task", "video", "other"]
    return table.drop_duplicates(same, keep="last").sort_index(ignore_index=True)


def rated(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return the mean grade of each video and the share of its pairs that it won, by its path."""
    graded = ratings[ratings.video != ""]
    pairs = graded[graded.other != ""]
    graded = pd.concat([graded, pairs.assign(video=pairs.other, value=1 - pairs.value)])
    means = graded.pivot_table(index="video", columns="question", values="value")
    return means.add_prefix("rating_").rename_axis(columns=None)


def safe(task: str) -> str:
    """Return the id of a task; refuse one that is not a plain file name."""
    if not SAFE_ID.fullmatch(task):
        raise ValueError(f"task id {task!r} cannot name a file; expected letters, digits, . _ -")
    return task


def reference_path(task: str) -> str:
    """Return the path of a task's reference video within an archive."""
    return f"references/{safe(task)}.mp4"


def video_path(task: str, latent: int, sample: int) -> str:
    """Return the path of a video within an archive."""
    return f"videos/{safe(task)}/{latent:d}_{sample:d}.mp4"


def stored_error(error: str | None) -> str | None:
    r"""Return an error as it is stored: cut to a length, and without the folders of this machine.

    >>> stored_error("ValueError: video /home/me/clips/x.mp4 is empty; see https://a.org/b/c")
    'ValueError: video x.mp4 is empty; see https://a.org/b/c'
    >>> stored_error(r"no 'C:\Users\Jo Doe\x.mp4', ~/a/y.mp4 or file:///tmp/a b/z.mp4")
    "no 'x.mp4', y.mp4 or z.mp4"
    """
    return None if error is None else FOLDERS.sub("", error)[:LONGEST_ERROR]


def read_table(
    path: Path, columns: Iterable[Column] = (), *, digest: str | None = None
) -> pa.Table:
    """Read a table; refuse a damaged or too large one, or one without its SHA-256 or `columns`."""
    data = read_bytes(path, MOST_BYTES)
    try:
        if digest is not None and hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("it is not what was written, by its checksum")
        with pq.ParquetFile(pa.BufferReader(data)) as file:  # faster than pyarrow's own read_table
            _refuse_large(file.metadata)
            table = file.read(use_threads=False)  # a shard is small
        table.validate(full=True)
        if len(set(table.column_names)) < table.num_columns:
            raise ValueError("it has two columns of one name")
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"table {path} cannot be read ({reason}); delete it and run `squbed collect` again, or "
            "`squbed verify --repair`"
        ) from error
    check_types(table, columns, path)
    check_cells(table, columns, path)
    return table


def _refuse_large(footer: pq.FileMetaData) -> None:
    """Refuse, before reading it, a table whose footer exceeds the limits of an archive."""
    groups = [footer.row_group(i) for i in range(min(footer.num_row_groups, MOST_GROUPS))]
    columns = [g.column(i) for g in groups for i in range(min(g.num_columns, MOST_COLUMNS))]
    for what, number, most in (
        ("row groups", footer.num_row_groups, MOST_GROUPS),
        ("columns", footer.num_columns, MOST_COLUMNS),
        ("rows", max(footer.num_rows, sum(group.num_rows for group in groups)), MOST_ROWS),
        ("values in a column", max((c.num_values for c in columns), default=0), MOST_VALUES),
        ("bytes", sum(max(0, c.total_uncompressed_size) for c in columns), MOST_BYTES),
    ):
        if number > most:
            raise ValueError(f"it says that it has {number:,} {what}; expected at most {most:,}")


def check_types(table: pa.Table, columns: Iterable[Column], path: Path) -> None:
    """Refuse a table that lacks a column, or has one of another type."""
    types_of = {field.name: field.type for field in table.schema}
    for column in columns:
        if (kind := types_of.get(column.name)) is not None:
            empty = types.is_null(kind) and not column.full
            if not empty and not KINDS[column.kind](kind):
                where = f"table {path}: column {column.name}"
                raise ValueError(f"{where} is of type {kind}; expected {column.kind}")
        elif column.needed:
            raise ValueError(f"table {path} lacks the column {column.name}")


def check_cells(table: pa.Table, columns: Iterable[Column], path: Path) -> None:
    """Refuse a table with a value that is missing, infinite, not a number or too long."""
    for column in columns:
        if column.name not in table.column_names:
            continue
        values, where = table[column.name], f"table {path}: column {column.name}"
        if column.full and values.null_count:
            _refuse_rows(pc.is_null(values), where, "is missing")
        if types.is_floating(values.type):
            _refuse_rows(pc.is_inf(values), where, "is infinite")
            if column.full:
                _refuse_rows(pc.is_nan(values), where, "is not a number")
        if column.kind == "text" and values.nbytes > LONGEST_TEXT:
            long = pc.greater(pc.utf8_length(values), LONGEST_TEXT)
            _refuse_rows(long, where, f"has more than {LONGEST_TEXT:,} characters")


def _refuse_rows(wrong: pa.ChunkedArray, where: str, what: str) -> None:
    if (row := pc.index(wrong, True).as_py()) >= 0:
        raise ValueError(f"{where}, row {row + 1}: the value {what}")


def check_ids(ids: list[str], path: Path) -> None:
    """Refuse a table without task ids, with an id twice, or with one that cannot name a file."""
    if not ids:
        raise ValueError(f"table {path} has no rows; expected one a task")
    odd = next((task for task in ids if not SAFE_ID.fullmatch(task)), None)
    if odd is not None:
        raise ValueError(f"table {path}: task id {odd[:120]!r} cannot name a file")
    twice, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise ValueError(f"table {path} has the task {twice!r} twice; ids must differ")


def as_shard(table: pa.Table, path: Path, task: str, latent: int, samples: list[int]) -> pa.Table:
    """Return a table with the columns and types of `SHARD`, of the rows that its path says.

    A latent prompt without samples has one row, which holds its text.
    """
    known = (OK, FAILED) if samples else (TEXT, FAILED)
    samples = samples or [0]
    if not table.schema.equals(SHARD):
        check_types(table, ROWS, path)
        names, empty = table.column_names, pa.nulls(len(table))
        try:
            columns = [table[name] if name in names else empty for name in SHARD.names]
            table = pa.table(columns, names=SHARD.names).cast(SHARD)
        except pa.ArrowException as error:
            raise ValueError(f"table {path} cannot be read ({error})") from error
    if any(table[column.name].null_count for column in ROWS if column.full):
        check_cells(table, ROWS, path)
    rows = table.select(["task", "latent", "sample", "status", "path"]).to_pylist()
    for number, row in enumerate(rows, 1):
        where = f"table {path}, row {number}"
        for name, expected in (("task", task), ("latent", latent)):
            _expect(
                row[name] == expected, f"{where}: {name}", row[name], f"the file's, {expected!r}"
            )
        _expect(row["status"] in known, f"{where}: status", row["status"], " or ".join(known))
        place = video_path(task, latent, row["sample"])
        right = row["status"] != OK or row["path"] == place
        _expect(right, f"{where}: path", row["path"], repr(place))
    numbers = [row["sample"] for row in rows]
    if sorted(numbers) != sorted(samples):
        raise ValueError(
            f"table {path} holds {len(numbers)} rows, of the samples {_few(numbers)}; expected "
            f"{len(samples)}, {_few(samples)}"
        )
    return table


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + ", ..." * (len(numbers) > 10)


def check_shard(table: pa.Table, path: Path) -> None:
    """Refuse a shard with an unusable cell: an embedding that is missing, zero or not finite."""
    check_cells(table, ROWS, path)
    good = pc.equal(table["status"], OK)
    for name in VECTORS:
        where, values = f"table {path}: column {name}", table[name].combine_chunks()
        if name == "embedding":
            _refuse_rows(pc.and_(good, pc.is_null(values)), where, "is missing")
            stray = pc.and_not(pc.is_valid(values), good)
            _refuse_rows(stray, where, "is there, but the video failed")
        if name == "text_embedding":
            unlike = pc.xor(pc.is_null(values), pc.is_null(table["prompt"]))
            _refuse_rows(unlike, where, "is there without a prompt, or missing with one")
        widths = sorted(set(pc.list_value_length(values).drop_null().to_pylist()))
        if len(widths) > 1 or 0 in widths:
            raise ValueError(f"{where} has vectors of {_few(widths)} numbers; expected one width")
        if not widths:
            continue
        matrix = pc.fill_null(values.flatten(), math.nan).to_numpy().reshape(-1, *widths)
        wrong = ~(np.isfinite(matrix).all(axis=1) & matrix.any(axis=1))
        if wrong.any():
            row = np.flatnonzero(values.is_valid())[wrong][0] + 1
            raise ValueError(f"{where}, row {row}: the vector is zero or not finite")
    for name in LABELS:
        wrong = pc.and_(good, pc.is_nan(pc.fill_null(table[name], 0.0)))
        _refuse_rows(wrong, f"table {path}: column {name}", "is not a number")


def mean_vector(vectors: pa.ChunkedArray) -> np.ndarray | None:
    """Return the mean of vectors that are not null, float64 (d,); None without any of one width."""
    known = vectors.drop_null().combine_chunks()
    if len(pc.list_value_length(known).unique()) != 1:
        return None
    return known.flatten().to_numpy().reshape(len(known), -1).mean(axis=0, dtype=float)


def write_table(path: Path, table: pa.Table | pd.DataFrame) -> None:
    """Write a table to a file that is whole or absent."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


class Recorded(dict):
    """The profile that an archive records; a missing entry raises an error that names its file."""

    def __init__(self, settings: dict, path: Path) -> None:
        super().__init__(settings)
        self.path = path

    def __missing__(self, key: str) -> None:
        raise ValueError(f"profile {self.path} lacks {key}; put it back as it was")


def video_model_of(profile: Mapping) -> dict:
    """Return what a profile, or an archive's record of one, says of the video model.

    Its settings, dtype and, where they are recorded, sha256 of weights; empty where videos were
    made elsewhere, so that nothing is known.
    """
    model = dict(profile.get("video_model") or {})
    hashes = profile.get("checkpoints") or {}
    found = {name: hashes[name] for name in PLACES.values() if name in hashes}
    known = {"dtype": profile.get("dtype"), "sha256": found} | model
    return {k: v for k, v in known.items() if k not in PAID} if model else {}


def made_by(table: object) -> dict:
    """Return the video model of a table of ``summarize``, or of a column of it, if it is known."""
    return getattr(table, "attrs", {}).get("video_model", {})


def differences_of_models(there: Mapping, here: Mapping) -> list[str]:
    """Say in words how two video models, as `video_model_of`, differ; [] if one is not known.

    Weights of one checksum are the same wherever they lie; of one file, functions are told apart.
    """
    if not there or not here:
        return []
    found = []
    for key in sorted({*there, *here} - {"sha256"}):
        values = [one.get(key) for one in (there, here)]
        sums = [one["sha256"].get(TOLD.get(key)) for one in (there, here)]
        if None not in sums:
            if key in PLACES and sums[0] != sums[1]:
                found.append(f"the weights in {key} differ")
            values = [str(value).rpartition(":")[2] if key == "call" else None for value in values]
        if values[0] != values[1]:
            found.append("{} is {} there and {} here".format(key, *map(shortened, values)))
    return found


def require_one_video_model(there: Mapping, here: Mapping, what: str) -> None:
    """Refuse to carry a level of uncertainty from one video model's videos to another's.

    Fewer steps alone lower it by half and leave the order of tasks. Both are as `video_model_of`;
    `what` names what is carried, and begins the error.
    """
    if found := differences_of_models(there, here):
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(
            f"{what} is of another video model ({'; '.join(found[:3])}{more}), and levels of "
            "uncertainty differ between video models, even where only the number of steps does; "
            "take it from an archive of this one. Orders do compare: see `squbed compare` and "
            "`squbed collect --confirm`"
        )


def check_recorded(settings: Mapping, where: str) -> None:
    """Refuse a recorded profile that could not have been written; the error names the entry."""
    for name, value in settings.items():
        entry = f"{where}: {name}"
        if name in TEXTS:
            _expect(isinstance(value, str), entry, value, "text")
        if name in BOUNDS and not (name in ("pca", "videos_of") and value is None):
            least, most = BOUNDS[name]
            _expect(type(value) is int, entry, value, "int")
            _expect(least <= value <= most, entry, value, f"at least {least}, and at most {most}")
        if name in ("dataset", "checkpoints", "versions", *ROLES):
            value = {} if value is None and name in ("captioner", "refiner") else value
            _expect(isinstance(value, dict), entry, value, "keys and values")
            for key in ("kind", "path", "model") if name in ("dataset", *ROLES) else value:
                text = value.get(key, "")
                _expect(isinstance(text, str), f"{entry}: {key}", text, "text")
            wrong = name == "video_model" and not isinstance(value.get("sha256", {}), dict)
            if value.get("kind") == "like":
                tasks, by = value.get("tasks") or [], value.get("by")
                wrong = not isinstance(tasks, list) or by not in (None, "epistemic", "total")
                wrong = wrong or not all(isinstance(task, str) for task in tasks)
            if wrong:
                raise ValueError(f"{entry} is not as an archive has it; put it back as it was")
    if settings.get("lpips", {}).get("kind", "alex") not in LPIPS_KINDS:
        raise ValueError(f"{where}: lpips: kind is unknown; known: {', '.join(LPIPS_KINDS)}")


def _expect(holds: bool, entry: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{entry} is {shortened(value)}; expected {expected}")
