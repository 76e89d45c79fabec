"""The samples archive: all that a run drew, embedded and scored, as plain files in one folder."""

import json
import os
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from squbed_utils import video
from squbed_utils._files import read_sums, replacing, sha256_of, write_sums
from squbed_utils.accuracy import LABELS
from squbed_utils.layout import (
    CHECKSUMS,
    OK,
    QUANTIFIED,
    READ,
    SCHEMA,
    SHARD,
    SUMS,
    read_table,
    reference_path,
    safe,
    stored_error,
    write_table,
)
from squbed_utils.tasks import Task
from squbed_utils.video import Video

SHARD_NAME = re.compile(r"[0-9]+\.parquet")
LATENT_COLUMNS = ["task", "latent", "prompt", "embedding", "rejected"]
EMBEDDED = ["latent", "text_embedding", "embedding", "status"]
VIDEO_COLUMNS = ["task", "latent", "sample", "seed", "path", "embedding", *LABELS]
VIDEO_COLUMNS += ["caption", "status", "error"]


def open_archive(folder: Path | str) -> "Archive":
    """Open a finished archive for reading.

    Parameters
    ----------
    folder : path
        ``data/samples/<profile>``, or where ``squbed collect --output`` wrote.

    Returns
    -------
    Archive

    Raises
    ------
    FileNotFoundError
        If the folder is missing or is not an archive.
    ValueError
        If the collection is not finished.
    """
    archive = Archive(folder)
    archive.require()
    units = archive.units
    there = sum(archive.shard(task, latent).is_file() for task, latent in units)
    if there < len(units):
        raise ValueError(
            f"archive {archive.folder} holds {there} of {len(units)} latent prompts; run "
            f"`{_begun_by(archive)}` to finish it"
        )
    return archive


class Archive:
    """An archive in a folder; its tables are read once, when they are first asked for.

    Parameters
    ----------
    folder : path
        Need not exist yet: `open_archive` checks, ``collect`` fills.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def require(self) -> None:
        """Raise FileNotFoundError if the folder does not hold an archive."""
        if not (self.folder / "profile.yaml").is_file():
            what = "no profile.yaml in it" if self.folder.is_dir() else "no such folder"
            raise FileNotFoundError(
                f"no samples archive in {self.folder} ({what}); run "
                f"`squbed collect --profile {self.folder.name}` or correct the path"
            )

    @cached_property
    def profile(self) -> dict:
        """The resolved profile: settings, checkpoints (sha256) and versions."""
        self.require()
        found = yaml.safe_load((self.folder / "profile.yaml").read_text(encoding="utf-8"))
        schema = found.pop("schema", 1)
        if schema not in range(1, SCHEMA + 1):
            raise ValueError(
                f"archive {self.folder} has schema {schema!r}, and this version reads 1 to "
                f"{SCHEMA}; install the version of squbed-notebooks that wrote it, or a newer one"
            )
        return found

    @property
    def exported(self) -> bool:
        """Whether this is a published copy, which is read and not filled."""
        return (self.folder / SUMS).is_file()

    def tasks(self) -> pd.DataFrame:
        """Return a row a task: task, dataset, category, prompt, reference.

        And vagueness_rank (1 = least vague) where a manifest ranks the tasks.
        """
        return read_table(self.folder / "tasks.parquet").to_pandas()

    def truth(self) -> pd.DataFrame | None:
        """Return a row a task of what is really uncertain; None where it is not known.

        No estimator may see it.
        """
        path = self.folder / "truth.parquet"
        return read_table(path).to_pandas() if path.is_file() else None

    def report(self) -> dict | None:
        """Return how tasks were sampled from their dataset; None where they were not sampled."""
        path = self.folder / "dataset.json"
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); put it back as it was") from error

    def manifest(self) -> pd.DataFrame | None:
        """Return where the videos come from, a row a video; None if they were generated here."""
        path = self.folder / "manifest.parquet"
        return read_table(path).to_pandas() if path.is_file() else None

    @cached_property
    def units(self) -> dict[tuple[str, int], int]:
        """All that the archive should hold: (task, latent) -> number of videos."""
        manifest = self.manifest()
        if manifest is None:
            n, m = self.profile["n"], self.profile["m"]
            return {(task, latent): m for task in self.tasks().task for latent in range(n)}
        sizes = manifest.groupby(["task", "latent"], sort=False).size()
        return {(task, int(latent)): int(size) for (task, latent), size in sizes.items()}

    def latents(self) -> pd.DataFrame:
        """Return a row a latent prompt: task, latent, prompt, embedding, rejected.

        `embedding` is float32 (d_t,); `rejected` lists the draws refused before this one. Where
        latent prompts are not known, prompt and embedding are missing.
        """
        rows = self._rows.drop_duplicates(["task", "latent"])
        rows = rows.drop(columns="embedding").rename(columns={"text_embedding": "embedding"})
        return rows[LATENT_COLUMNS].reset_index(drop=True)

    def texts(self) -> pd.DataFrame:
        """Return a row a text that was embedded: task, text, tokens, window, unknown.

        `text` is "latent prompts" (read by the text encoder) or "prompts" (by CLIP); without rows
        where an earlier version wrote the archive. See `layout.READ`.
        """
        kinds = {"latent prompts": ("text", ["task", "latent"]), "prompts": ("prompt", ["task"])}
        found = []
        for text, (prefix, key) in kinds.items():
            rows = self._rows.dropna(subset=f"{prefix}_tokens").drop_duplicates(key)
            named = {f"{prefix}_{count}": count for count in READ}
            found.append(rows.rename(columns=named).assign(text=text)[["task", "text", *READ]])
        return pd.concat(found, ignore_index=True)

    def videos(self) -> pd.DataFrame:
        """Return a row a video, failures included.

        Columns task, latent, sample, seed, path (within the archive), embedding (float32 (d_v,)),
        ssim, psnr, lpips, clip_reference, clip_prompt, caption, status ("ok" or "failed"), error. A
        failed video's embedding is None and its accuracies are missing; without a captioner, so are
        captions.
        """
        return self._rows[VIDEO_COLUMNS].copy()

    def clip_embeddings(self) -> pd.DataFrame:
        """Return a row a video that did not fail: task, clip_embedding, clip_reference_embedding.

        float32 (d,), the means of unit frame embeddings over the aligned frames; None where there
        is no reference, or where an earlier version wrote the archive.
        """
        columns = ["task", "clip_embedding", "clip_reference_embedding"]
        return self._rows.loc[self._rows.status == OK, columns].reset_index(drop=True)

    def embeddings(self, task: str) -> tuple[np.ndarray | None, list[np.ndarray]]:
        """Return one task's embeddings, without its failed videos.

        Where some latent prompts are known, those that could not be drawn are left out.

        Parameters
        ----------
        task : str

        Returns
        -------
        text : numpy.ndarray or None
            float32, shape (n, d_t); None where the latent prompts are not known.
        videos : list of n numpy.ndarray
            float32, shape (m_i, d_v).

        Raises
        ------
        KeyError
            If the archive has no such task.
        """
        if task not in self._places:
            raise KeyError(f"archive {self.folder} has no task {task!r}; see its tasks()")
        latents, texts, found, status = (c[self._places[task]] for c in self._embedded)
        text, videos = [], []
        for latent in np.unique(latents):
            text.append(texts[latents == latent][0])
            good = found[(latents == latent) & (status == OK)]
            videos.append(np.stack(good) if len(good) else np.empty((0, 2), np.float32))
        drawn = [i for i, embedding in enumerate(text) if embedding is not None]
        if not drawn:
            return None, videos
        return np.stack([text[i] for i in drawn]), [videos[i] for i in drawn]

    def read_video(self, path: str) -> np.ndarray:
        """Read a video by its path within the archive: uint8 (T, H, W, 3).

        Raises
        ------
        ValueError
            If the path leads out of the archive.
        """
        return video.read(self.inside(path)).frames

    def reference(self, task: str) -> np.ndarray:
        """Read the reference video of a task: uint8 (T, H, W, 3)."""
        return self.read_video(reference_path(task))

    def inside(self, path: str) -> Path:
        """Return the absolute path of a file in the archive; refuse one that lies outside."""
        whole = (self.folder / path).resolve()
        if not whole.is_relative_to(self.folder.resolve()):
            raise ValueError(f"path {path!r} leads out of the archive {self.folder}")
        return whole

    def shard(self, task: str, latent: int) -> Path:
        """Return where the shard of a latent prompt lies."""
        return self.inside(f"shards/{safe(task)}/{latent:d}.parquet")

    def finished(self, task: str, latent: int, *, retry_failed: bool = False) -> bool:
        """Say whether a latent prompt's shard and videos are there and whole.

        Parameters
        ----------
        task : str
        latent : int
        retry_failed : bool
            Whether a shard with failed videos counts as not finished.
        """
        try:
            rows = self.rows(task, latent, ["status", "path"])
        except (FileNotFoundError, ValueError):
            return False
        failed = [row for row in rows if row["status"] != OK]
        if len(rows) != self.units[task, latent] or (failed and retry_failed):
            return False
        files = (self.inside(row["path"]) for row in rows if row["status"] == OK)
        return all(file.is_file() and file.stat().st_size for file in files)

    def written(self, task: str) -> set[int]:
        """Return the latent prompts of a task that have a shard."""
        folder = self.shard(task, 0).parent
        files = os.listdir(folder) if folder.is_dir() else []
        return {int(name.removesuffix(".parquet")) for name in files if SHARD_NAME.fullmatch(name)}

    def rows(self, task: str, latent: int, columns: list[str] | None = None) -> list[dict]:
        """Return the shard of a latent prompt, a row a video; all columns, if none are named.

        Raises
        ------
        FileNotFoundError
            If it is not finished.
        ValueError
            If the shard is damaged.
        """
        return read_table(self.shard(task, latent), columns).to_pylist()

    def errors(self, task: str, latent: int) -> list[str]:
        """Return the errors of a finished latent prompt's failed videos."""
        rows = self.rows(task, latent, ["status", "error"])
        return [row["error"] for row in rows if row["status"] != OK]

    def write_shard(self, task: str, latent: int, rows: list[dict]) -> None:
        """Write the rows of one latent prompt and the checksums; from then on it is finished.

        Errors are stored without the folders of this machine.
        """
        rows = [row | {"error": stored_error(row.get("error"))} for row in rows]
        shard = self.shard(task, latent)
        with replacing(shard) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema=SHARD), partial, compression="zstd")
            paths = [row["path"] for row in rows if row["status"] == OK]
            if self.inside(reference_path(task)).is_file():
                paths.append(reference_path(task))
            sums = {path: sha256_of(self.inside(path)) for path in paths}
            sums[f"shards/{task}/{latent}.parquet"] = sha256_of(partial)
            with replacing(shard.with_suffix(CHECKSUMS)) as partial_sums:
                write_sums(partial_sums, sums)

    def checksums(self, task: str, latent: int) -> dict[str, str] | None:
        """Return the SHA-256 of a latent prompt's shard, videos and reference by their paths.

        None where there are none, as in an archive of an earlier version.

        Raises
        ------
        ValueError
            If the file cannot be read.
        """
        file = self.shard(task, latent).with_suffix(CHECKSUMS)
        if not file.is_file():
            return None
        try:
            return read_sums(file)
        except ValueError as error:
            raise ValueError(f"{error}; run `squbed verify --repair`") from error

    def write_tasks(self, tasks: list[Task], truth: pd.DataFrame | None) -> None:
        """Write the tables of tasks and of their truth."""
        rows = [
            {"task": t.id, "dataset": t.dataset, "category": t.category, "prompt": t.prompt}
            | {"reference": t.reference, "vagueness_rank": t.vagueness_rank}
            for t in tasks
        ]
        table = pa.Table.from_pylist(rows)
        ranked = any(t.vagueness_rank is not None for t in tasks)
        table = table if ranked else table.drop_columns("vagueness_rank")
        write_table(self.folder / "tasks.parquet", table)
        if truth is not None:
            table = pa.Table.from_pandas(truth, preserve_index=False).replace_schema_metadata()
            write_table(self.folder / "truth.parquet", table)

    def write_report(self, report: dict) -> None:
        """Write how tasks were sampled from their dataset."""
        with replacing(self.folder / "dataset.json") as partial:
            text = json.dumps(report, ensure_ascii=False, indent=1)
            partial.write_text(text + "\n", encoding="utf-8")

    def write_manifest(self, manifest: pd.DataFrame) -> None:
        """Write where the videos come from."""
        table = pa.Table.from_pandas(manifest, preserve_index=False).replace_schema_metadata()
        write_table(self.folder / "manifest.parquet", table)

    def write_profile(self, resolved: dict) -> None:
        """Write the resolved profile, which makes the folder an archive."""
        with replacing(self.folder / "profile.yaml") as partial:
            text = yaml.safe_dump({"schema": SCHEMA} | resolved, sort_keys=False)
            partial.write_text(text, encoding="utf-8")

    def write_video(self, path: str, clip: Video) -> None:
        """Write a video, lossless, to its path within the archive."""
        video.write(self.inside(path), clip.frames, clip.fps)

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        """Where each task's rows are, found once for all tasks."""
        return self._rows.groupby("task").indices

    @cached_property
    def _embedded(self) -> list[np.ndarray]:
        """Return what `embeddings` reads as arrays: rows of a table are slow to take."""
        return [self._rows[name].to_numpy() for name in EMBEDDED]

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """All shards, in the order of tasks, latent prompts and samples."""
        with ThreadPoolExecutor() as pool:
            shards = list(pool.map(lambda unit: read_table(self.shard(*unit)), self.units))
        empty = SHARD.empty_table()  # has all columns, which those of version 1 have not
        return pa.concat_tables([empty, *shards], promote_options="default").to_pandas()


def _begun_by(archive: Archive) -> str:
    """Return the command that began an archive."""
    if archive.manifest() is not None:
        return "squbed score"
    first = archive.tasks().iloc[0]
    named = f"--profile {archive.profile['name']}"
    if first.dataset != QUANTIFIED:
        return f"squbed collect {named}"
    sizes = " ".join(f"--{name} {archive.profile[name]}" for name in ("n", "m", "seed"))
    place = shlex.quote(str(archive.folder))
    return f"squbed quantify {shlex.quote(first.prompt)} {named} {sizes} --output {place}"
