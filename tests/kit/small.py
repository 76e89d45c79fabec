"""An archive of six latent prompts that 0.1.0 wrote; any test may damage it, in milliseconds."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from squbed_utils import files
from squbed_utils.collection import repair
from squbed_utils.statistics.summary import TERMS, summarize

FROZEN = Path(__file__).parents[1] / "data" / "archive"
SHARD = "shards/common-4-angular/1.parquet"
OTHER = "shards/never-4-thing/0.parquet"


def sealed(folder: Path) -> Path:
    """Copy the archive and seal it."""
    shutil.copytree(FROZEN, folder)
    repair.seal(folder)
    return folder


def bare(folder: Path) -> Path:
    """Copy the archive, which has no seal."""
    return shutil.copytree(FROZEN, folder)


def resum(folder: Path) -> None:
    """Write every list of checksums again, as someone would who changes an archive on purpose."""
    for path in folder.glob("shards/*/*.sha256"):
        names = [name for name in files.read_sums(path) if (folder / name).is_file()]
        files.write_sums(path, {name: files.sha256_of(folder / name) for name in names})


def numbers(archive: object) -> pd.DataFrame:
    """Return what a user reads first."""
    columns = [f"{term}{part}" for term in TERMS for part in ("", "_low", "_high")]
    table = summarize(archive).set_index("task")
    return table[[*columns, "ssim", "psnr", "lpips", "clip_reference", "clip_prompt", "n", "m"]]


def edit(path: Path, change: object) -> None:
    """Write a table anew with its rows, as dicts, changed."""
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    changed = change(rows)
    rows = rows if changed is None else changed
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def retype(path: Path, column: str, values: pa.Array) -> None:
    """Put other values, of any type, in a column's place."""
    table = pq.read_table(path, partitioning=None)
    i = table.column_names.index(column)
    pq.write_table(table.set_column(i, column, values), path)


def settings(folder: Path, **changes: object) -> None:
    """Change an archive's recorded profile."""
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
