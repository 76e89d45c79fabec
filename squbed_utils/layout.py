"""The layout of an archive: where its files lie, and what its tables hold.

::

    profile.yaml                     what was run: settings, versions, checkpoint hashes
    tasks.parquet                    a row a task
    manifest.parquet                 where the videos come from, if they were made elsewhere
    truth.parquet                    what is really uncertain, where that is known
    labels.json                      caption -> category, where tasks are sampled from a dataset
    dataset.json                     and how: counts, what was left out and why, each task's clip
    references/<task>.mp4            the reference videos
    shards/<task>/<latent>.parquet   a latent prompt and its videos: one row a video
    shards/<task>/<latent>.sha256    SHA-256 of it, its videos and its reference, as `sha256sum
                                     --check` reads it in this folder
    videos/<task>/<latent>_<sample>.mp4
    spending.json                    what paid models have cost, if there are any
    answers/<sha256>.json            what a model behind an API answered, by what it was asked

An archive that ``score`` made of existing videos has a manifest, which says how many latent
prompts and videos there are; in any other the profile's n and m do. One that ``quantify`` made
holds one task without a reference. Every file is whole or absent, and none holds a date; equal
runs give equal bytes. Only ``runs/``, the log of what was made when, and ``.claims/``, who makes
what at this moment, are no part of the result.
"""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from squbed_utils._files import replacing
from squbed_utils.accuracy import LABELS
from squbed_utils.tasks import SAFE_ID

OK, FAILED = "ok", "failed"

SCHEMA = 2
"""Version of this layout, in ``profile.yaml``; an archive without one is of version 1, which has no
CLIP embeddings and is read like any other."""

QUANTIFIED = "quantify"
"""The dataset of a task that ``quantify`` was asked for."""

CHECKSUMS = ".sha256"

SUMS = "SHA256SUMS"
"""In an archive that was exported: the sums of its files."""

LONGEST_ERROR = 500
"""Characters of a failed video's error that are stored."""

FOLDERS = re.compile(r"""(?<![\w:/.~-])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'"]+[/\\])+""")
"""The folders of an absolute path within a text."""

READ = ("tokens", "window", "unknown")
"""Of a text: its tokens, how many its encoder reads at once (missing: any number), and how many of
them that encoder does not know."""

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
"""Columns of a shard; embeddings and accuracies are null where the video failed, all but CLIP of
the video and to the prompt where there is no reference, prompt and text embedding where the latent
prompt is not known, the seed where the video was made elsewhere, and the caption where the profile
has no captioner. `READ` is told of the latent prompt by the text encoder (text_), and of the task's
prompt by CLIP (prompt_); earlier archives do not have it. CLIP embeddings are means over the
aligned frames, each of unit length."""


def safe(task: str) -> str:
    """Return a task id; refuse one that is not a plain file name."""
    if not SAFE_ID.fullmatch(task):
        raise ValueError(f"task id {task!r} cannot name a file; expected letters, digits, . _ -")
    return task


def reference_path(task: str) -> str:
    """Return where a task's reference video lies within an archive."""
    return f"references/{safe(task)}.mp4"


def video_path(task: str, latent: int, sample: int) -> str:
    """Return where a video lies within an archive."""
    return f"videos/{safe(task)}/{latent:d}_{sample:d}.mp4"


def stored_error(error: str | None) -> str | None:
    """Return an error as it is stored: not long, and the same on every machine.

    >>> stored_error("ValueError: video /home/me/clips/x.mp4 is empty; see https://a.org/b/c")
    'ValueError: video x.mp4 is empty; see https://a.org/b/c'
    """
    return None if error is None else FOLDERS.sub("", error)[:LONGEST_ERROR]


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table, or some columns of it; say what to do about a damaged one."""
    try:
        with pq.ParquetFile(path) as file:  # in half the time of pyarrow's own read_table
            return file.read(columns=columns, use_threads=False)  # a shard is small
    except pa.ArrowException as error:
        raise ValueError(
            f"table {path} cannot be read ({error}); delete it and run `squbed collect` again"
        ) from error


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table, whole or not at all."""
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")
