"""The samples archive: all that a run drew, embedded and scored, as plain files in one folder."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from squbed_utils import files, plain_yaml, video
from squbed_utils.archive import layout
from squbed_utils.archive.layout import CHECKSUMS, FAILED, LABELS, OK, SEAL, SUMS, reference_path
from squbed_utils.files import inside, left_by_a_tool, replacing, sha256_of, write_sums, write_text
from squbed_utils.text import shortened

if TYPE_CHECKING:
    from squbed_utils.tasks.task import Task

SHARD_NAME = re.compile(r"[0-9]+\.parquet")
EMBEDDED = ["latent", "status", "text_embedding", "embedding"]
VIDEO_COLUMNS = ["task", "latent", "sample", "seed", "path", "embedding", *LABELS]
VIDEO_COLUMNS += ["caption", "status", "error"]

MOST_HELD = 2**28
"""Bytes of embeddings that stay in memory; those of further tasks are read whenever asked for."""


def open_archive(folder: Path | str) -> Archive:
    """Open a finished archive for reading.

    Parameters
    ----------
    folder : path
        ``data/samples/<profile>``, or where ``squbed collect --output`` wrote.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is missing or is no archive; if the collection is not finished.
    """
    archive = Archive(folder)
    archive.require()
    units = archive.units
    if changed := archive.changed(layout.TABLES):
        raise ValueError(
            f"{archive.folder / changed[0]} is not as it was when the archive was sealed; put it "
            f"back as it was; `squbed verify {archive.folder}` names all that differs"
        )
    there = sum(archive.shard(task, latent).is_file() for task, latent in units)
    if there < len(units):
        raise ValueError(
            f"archive {archive.folder} holds {there} of {len(units)} latent prompts; run "
            f"`{_begun_by(archive)}` to finish it"
        )
    if unknown := archive.unknown():
        raise ValueError(
            f"{archive.folder / unknown[0]} is of no task and latent prompt of the archive; put "
            "profile.yaml and tasks.parquet back as they were, or move that file away"
        )
    return archive


class Archive:
    """A samples archive in a folder; it reads each table when it is first asked for.

    Tables are read once and kept; embeddings are read task by task, and of many tasks more than
    once, so that memory does not grow with them.

    The folder need not exist yet: `open_archive` checks it, ``collect`` fills it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._held: dict[str, pa.Table] = {}
        self._clip_means: list[tuple] = []

    def require(self) -> None:
        """Raise FileNotFoundError if the folder does not hold an archive."""
        if not self.inside("profile.yaml").is_file():
            what = "no profile.yaml in it" if self.folder.is_dir() else "no such folder"
            named = _option(self.folder.absolute().name)
            raise FileNotFoundError(
                f"no samples archive in {self.folder} ({what}); run `squbed collect {named}` or "
                "correct the path"
            )

    @cached_property
    def profile(self) -> dict:
        """The resolved profile: settings, checkpoints (sha256) and versions."""
        self.require()
        path = self.inside("profile.yaml")
        found = plain_yaml.read(path, "profile")
        schema = found.pop("schema", None)
        if type(schema) is not int or schema != layout.SCHEMA:
            raise ValueError(
                f"profile {path} has schema {shortened(schema)}, and this version reads "
                f"{layout.SCHEMA}; install the version of squbed-notebooks that wrote it, or a "
                "newer one"
            )
        layout.check_recorded(found, f"profile {path}")
        return layout.Recorded(found, path)

    @property
    def video_model(self) -> dict:
        """What made the videos, as `layout.video_model_of`; no level holds for those of another."""
        return layout.video_model_of(self.profile)

    @property
    def exported(self) -> bool:
        """Whether this is a published copy, which is only read and never filled."""
        return self.inside(SUMS).is_file()

    def tasks(self) -> pd.DataFrame:
        """Return a row a task: task, dataset, category, prompt, reference.

        The column vagueness_rank (1 = least vague) is added where a manifest ranks the tasks.
        """
        path = self.inside("tasks.parquet")
        table = layout.read_table(path, layout.TASKS)
        layout.check_ids(table["task"].to_pylist(), path)
        found = table.to_pandas()
        for task, reference in zip(found.task, table["reference"].to_pylist(), strict=True):
            if reference and reference != reference_path(task):
                shown = f"{reference[:120]!r}; expected {reference_path(task)!r}"
                raise ValueError(f"table {path}: the reference of task {task} is {shown}")
        return found

    def truth(self) -> pd.DataFrame | None:
        """Return a row a task of what is really uncertain, or None; no estimator may see it."""
        path = self.inside("truth.parquet")
        if not path.exists():
            return None
        table = layout.read_table(path, layout.TRUTH)
        ids = table["task"].to_pylist()
        layout.check_ids(ids, path)
        if unknown := [task for task in self.tasks().task if task not in set(ids)]:
            raise ValueError(f"table {path} lacks the task {unknown[0]!r} of tasks.parquet")
        return table.to_pandas()

    def report(self) -> dict | None:
        """Return how tasks were sampled from their dataset, or None where they were not sampled."""
        path = self.inside("dataset.json")
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged ({error}); put it back as it was") from error
        clips = found.get("clips") if isinstance(found, dict) else None
        clips = clips if isinstance(clips, dict) else {}
        if not all(isinstance(clips.get(task), str) for task in self.tasks().task):
            raise ValueError(f"{path} does not say each task's clip; put it back as it was")
        return found

    def manifest(self) -> pd.DataFrame | None:
        """Return where the videos come from, a row a video, or None if they were generated here."""
        path = self.inside("manifest.parquet")
        if not path.exists():
            if self.inside("profile.yaml").exists() and "n" not in self.profile:
                raise FileNotFoundError(
                    f"there is no {path}, which says what videos there are; run `squbed score`"
                )
            return None
        table = layout.read_table(path, layout.MANIFEST)
        ratings = layout.ratings_of(table.column_names)
        rated = [layout.Column(name, "numbers", full=False) for name in ratings]
        layout.check_types(table, rated, path)
        layout.check_cells(table, rated, path)
        found = table.to_pandas()
        if found.empty or found[["latent", "sample"]].min(axis=None) < 0:
            raise ValueError(f"table {path} has no rows, or numbers below 0; put it back")
        if found.duplicated(["task", "latent", "sample"]).any():
            raise ValueError(f"table {path} has a sample twice; put it back as it was")
        if set(found.task) != set(self.tasks().task):
            raise ValueError(f"table {path} is of other tasks than tasks.parquet; put both back")
        return found

    def ratings(self) -> pd.DataFrame:
        """Return people's answers, as `layout.read_ratings`; no rows if nobody was asked."""
        path = self.inside(layout.RATINGS)
        if not path.is_file():
            return pd.DataFrame(columns=list(layout.Rating.model_fields))
        return layout.read_ratings(path, self.samples)

    @cached_property
    def units(self) -> dict[tuple[str, int], int]:
        """All that the archive should hold: (task, latent) -> number of videos."""
        return {unit: len(samples) for unit, samples in self.samples.items()}

    @cached_property
    def samples(self) -> dict[tuple[str, int], list[int]]:
        """The numbers of these videos."""
        manifest = self.manifest()
        if manifest is None:
            n, samples = self.profile["n"], list(range(self.profile["m"]))
            k = self.profile.get("videos_of") or n
            each = [samples if latent < k else [] for latent in range(n)]
            if (count := n * len(tasks := self.tasks().task)) > layout.MOST_ROWS:
                most = f"expected at most {layout.MOST_ROWS:,}"
                raise ValueError(f"{self.folder} says that it has {count:,} latent prompts; {most}")
            return {(task, z): each[z] for task in tasks for z in range(n)}
        groups = manifest.groupby(["task", "latent"], sort=False)
        return {
            (task, int(z)): of["sample"][of.video.notna()].astype(int).tolist()
            for (task, z), of in groups
        }

    def latents(self, task: str | None = None, *, embeddings: bool = True) -> pd.DataFrame:
        """Return a row a latent prompt, of one task or all.

        Columns task, latent, prompt, embedding, rejected. `embedding` is float32 (d_t,); without
        `embeddings` there is no such column, and nothing large is held. `rejected` lists the draws
        refused before this one. Where latent prompts are not known, prompt and embedding are
        missing.
        """
        rows = self._rows_with("text_embedding" if embeddings else None, task)
        rows = rows.drop_duplicates(["task", "latent"])
        columns = ["task", "latent", "prompt", *["embedding"] * embeddings, "rejected"]
        return rows[columns].reset_index(drop=True)

    def texts(self) -> pd.DataFrame:
        """Return a row for each text that was embedded: task, text, tokens, window, unknown.

        `text` is "latent prompts" (read by the text encoder) or "prompts" (read by CLIP); the
        others are `layout.READ`. Archives of 0.1.0 have no such rows.
        """
        kinds = {"latent prompts": ("text", ["task", "latent"]), "prompts": ("prompt", ["task"])}
        found = []
        for text, (prefix, key) in kinds.items():
            rows = self.rows_of_all.dropna(subset=f"{prefix}_tokens").drop_duplicates(key)
            named = {f"{prefix}_{count}": count for count in layout.READ}
            rows = rows.rename(columns=named).assign(text=text)
            found.append(rows[["task", "text", *layout.READ]])
        return pd.concat(found, ignore_index=True)

    def videos(self, task: str | None = None, *, embeddings: bool = True) -> pd.DataFrame:
        """Return a row a video, of one task or all, failures included.

        Columns task, latent, sample, seed, path (within the archive), embedding (float32 (d_v,)),
        ssim, psnr, lpips, clip_reference, clip_prompt, caption, status ("ok" or "failed"), error,
        and people's ratings, if there are any. A failed video has None as embedding and no
        accuracies; without a captioner there are no captions. A latent prompt that gets no videos
        has no row. Without `embeddings` there is no such column, and nothing large is held.
        """
        rows = self._rows_with("embedding" if embeddings else None, task)
        rows = rows[rows.status != layout.TEXT]
        columns = [name for name in VIDEO_COLUMNS if name in rows]
        return rows[[*columns, *layout.ratings_of(rows)]].reset_index(drop=True)

    def clip_means(self) -> pd.DataFrame | None:
        """Return the mean CLIP embedding of all frames of each task's videos, and of its reference.

        By task: video, reference; float64 (d,), not of unit length. The reference is None for a
        task without one; the table is None where an earlier version wrote the archive, without CLIP
        embeddings. A task whose every video failed has no row.
        """
        _ = self.rows_of_all  # which are read with them
        table = pd.DataFrame(self._clip_means, columns=["task", "video", "reference"])
        return None if table.video.isna().any() else table.set_index("task")

    def embeddings(self, task: str) -> tuple[np.ndarray | None, list[np.ndarray]]:
        """Return one task's embeddings, without its failed videos.

        If only some latent prompts could be drawn, the others are left out. An unknown task raises
        KeyError.

        Returns
        -------
        text : numpy.ndarray or None
            float32, shape (n, d_t); None where the latent prompts are not known.
        videos : list of n numpy.ndarray
            float32, shape (m_i, d_v).
        """
        rows = self._embedded(task)
        latents, status, texts, found = (rows[name].to_numpy() for name in EMBEDDED)
        text, videos = [], []
        width = next((x.size for x in found if x is not None), 2)
        for latent in np.unique(latents):
            text.append(texts[latents == latent][0])
            good = found[(latents == latent) & (status == OK)]
            videos.append(np.stack(good) if len(good) else np.empty((0, width), np.float32))
        drawn = [i for i, embedding in enumerate(text) if embedding is not None]
        if not drawn:
            return None, videos
        return np.stack([text[i] for i in drawn]), [videos[i] for i in drawn]

    def read_video(self, path: str) -> np.ndarray:
        """Read a video, uint8 (T, H, W, 3), by its path within the archive."""
        return video.read(self.inside(path)).frames

    def reference(self, task: str) -> np.ndarray | None:
        """Read the reference video of a task, uint8 (T, H, W, 3); None if it has none."""
        path, known = reference_path(task), self.tasks().set_index("task").reference
        return None if pd.isna(known[task]) else self.read_video(path)

    def inside(self, path: str) -> Path:
        """Return the absolute path of a file in the archive, checked by ``files.inside``."""
        return inside(self.folder, path)

    def shard(self, task: str, latent: int) -> Path:
        """Return the path of a latent prompt's shard."""
        return self.inside(f"shards/{layout.safe(task)}/{latent:d}.parquet")

    def finished(self, task: str, latent: int, *, retry_failed: bool = False) -> bool:
        """Say whether a shard is intact and its videos are there; all, with `retry_failed`."""
        try:
            rows = self.rows(task, latent, ["status", "path"])
        except (FileNotFoundError, ValueError):
            return False
        if retry_failed and any(row["status"] == FAILED for row in rows):
            return False
        files = (self.inside(row["path"]) for row in rows if row["status"] == OK)
        return all(file.is_file() and file.stat().st_size for file in files)

    def written(self, task: str) -> set[int]:
        """Return the latent prompts of a task that have a shard."""
        folder = self.shard(task, 0).parent
        files = os.listdir(folder) if folder.is_dir() else []
        return {int(name.removesuffix(".parquet")) for name in files if SHARD_NAME.fullmatch(name)}

    def rows(self, task: str, latent: int, columns: list[str] | None = None) -> list[dict]:
        """Return the shard of a latent prompt, a row a video; all columns, if none are named."""
        table, path = self._read_shard(task, latent)
        layout.check_cells(table, layout.ROWS, path)
        return (table.select(columns) if columns else table).to_pylist()

    def _read_shard(self, task: str, latent: int) -> tuple[pa.Table, Path]:
        """Return a latent prompt's shard, whose cells may hold anything, and its path."""
        path, sums = self.shard(task, latent), self.checksums(task, latent)
        name = f"shards/{task}/{latent}.parquet"
        if name not in sums:
            listed = path.with_suffix(CHECKSUMS)
            raise ValueError(f"{listed} does not name {name}; run `squbed verify --repair`")
        table = layout.read_table(path, digest=sums[name])
        return layout.as_shard(table, path, task, latent, self.samples[task, latent]), path

    def checked_shard(self, task: str, latent: int) -> pa.Table:
        """Return a latent prompt's shard; refuse one whose embeddings or scores are unusable."""
        table, path = self._read_shard(task, latent)
        layout.check_shard(table, path)
        return table

    def unknown(self) -> list[str]:
        """Return the files among the shards that belong to no latent prompt of the archive."""
        folder, units = self.folder / "shards", self.units
        names = {f.relative_to(self.folder).as_posix() for f in folder.rglob("*") if not f.is_dir()}
        kinds = (".parquet", CHECKSUMS)
        names -= {f"shards/{task}/{latent}{kind}" for task, latent in units for kind in kinds}
        return sorted(n for n in names if not any(map(left_by_a_tool, n.split("/"))))

    def errors(self, task: str, latent: int) -> list[str]:
        """Return the errors of a finished latent prompt's failed videos."""
        rows = self.rows(task, latent, ["status", "error"])
        return [row["error"] for row in rows if row["status"] == FAILED]

    def write_shard(self, task: str, latent: int, rows: list[dict]) -> None:
        """Write the rows of one latent prompt and its checksums, which makes it finished."""
        self.unseal()
        rows = [row | {"error": layout.stored_error(row.get("error"))} for row in rows]
        shard = self.shard(task, latent)
        with replacing(shard) as partial:
            table = pa.Table.from_pylist(rows, schema=layout.SHARD)
            pq.write_table(table, partial, compression="zstd")
            paths = [row["path"] for row in rows if row["status"] == OK]
            if self.inside(reference_path(task)).is_file():
                paths.append(reference_path(task))
            sums = {path: sha256_of(self.inside(path)) for path in paths}
            sums[f"shards/{task}/{latent}.parquet"] = sha256_of(partial)
            write_sums(shard.with_suffix(CHECKSUMS), sums)

    def checksums(self, task: str, latent: int) -> dict[str, str]:
        """Return the SHA-256 of a latent prompt's shard, videos and reference by their paths."""
        name = f"shards/{layout.safe(task)}/{latent:d}{CHECKSUMS}"
        file = self.inside(name)
        data = files.read_bytes(file, files.MOST_SUMS) if file.is_file() else None
        if data is None or name in self.sealed and sha256(data).hexdigest() != self.sealed[name]:
            raise ValueError(
                f"{file} is missing, or not as it was when the archive was sealed; run `squbed "
                "verify --repair`"
            )
        try:
            return files.parse_sums(data.decode(errors="replace"), str(file))
        except ValueError as error:
            raise ValueError(f"{error}; run `squbed verify --repair`") from error

    @cached_property
    def sealed(self) -> dict[str, str]:
        """The SHA-256 of sealed files by path (in an export, of all files); {} without a seal."""
        path = self.folder / (SUMS if self.exported else SEAL)
        return files.read_sums(path) if path.exists() and not self.open else {}

    @property
    def open(self) -> bool:
        """Whether a run has begun to fill the archive and has not ended."""
        path = self.folder / SEAL
        return not self.exported and path.is_file() and not path.stat().st_size

    def changed(self, names: Iterable[str]) -> list[str]:
        """Return those of the given files that are missing or differ from the seal."""
        named = [(name, self.inside(name)) for name in names if name in self.sealed]
        return [n for n, f in named if not f.is_file() or sha256_of(f) != self.sealed[n]]

    def seal(self) -> None:
        """Write the seal, unless a latent prompt is not finished."""
        lists = [f"shards/{task}/{latent}{CHECKSUMS}" for task, latent in self.units]
        shards = [self.shard(*unit) for unit in self.units]
        if not all(path.is_file() for path in [*map(self.inside, lists), *shards]):
            return
        names = [*layout.TABLES, *map(reference_path, self.tasks().task)]
        names = [name for name in names if self.inside(name).is_file()]
        self.write_seal({name: sha256_of(self.inside(name)) for name in [*names, *lists]})

    def write_seal(self, sums: dict[str, str]) -> None:
        """Write the seal."""
        write_sums(self.folder / SEAL, sums)
        self.__dict__.pop("sealed", None)

    def unseal(self) -> None:
        """Empty the seal, as every change to the archive does until a run ends."""
        if not self.open:
            self.write_seal({})
        self.__dict__.pop("sealed", None)

    def write_tasks(self, tasks: list[Task], truth: pd.DataFrame | None) -> None:
        """Write the tables of tasks and of their truth."""
        self.unseal()
        columns = ["dataset", "category", "prompt", "reference", "vagueness_rank"]
        if all(task.vagueness_rank is None for task in tasks):
            columns.remove("vagueness_rank")
        values = {name: [getattr(task, name) for task in tasks] for name in columns}
        table = pa.table({"task": [task.id for task in tasks]} | values)
        layout.write_table(self.inside("tasks.parquet"), table)
        if truth is not None:
            layout.write_table(self.inside("truth.parquet"), truth)

    def write_report(self, report: dict) -> None:
        """Write how tasks were sampled from their dataset."""
        self.unseal()
        text = json.dumps(report, ensure_ascii=False, indent=1)
        write_text(self.inside("dataset.json"), text + "\n")

    def write_manifest(self, manifest: pd.DataFrame) -> None:
        """Write where the videos come from."""
        self.unseal()
        layout.write_table(self.inside("manifest.parquet"), manifest)

    def write_profile(self, resolved: dict) -> None:
        """Write the resolved profile, which makes the folder an archive."""
        self.unseal()
        text = yaml.safe_dump({"schema": layout.SCHEMA} | resolved, sort_keys=False)
        write_text(self.inside("profile.yaml"), text)

    def _embedded(self, task: str) -> pa.Table:
        """Return the columns `EMBEDDED` of a task's shards."""
        if task not in self._places:
            raise KeyError(f"archive {self.folder} has no task {task!r}; see its tasks()")
        held = self._held.get(task)
        return self._read_task(task).select(EMBEDDED) if held is None else held

    def _rows_with(self, vectors: str | None, task: str | None) -> pd.DataFrame:
        """Return the rows of a task or all; `embedding` holds the named vectors, if any."""
        rows = self.rows_of_all if task is None else self.rows_of_all.iloc[self._places[task]]
        if vectors is None:
            return rows
        tables = map(self._embedded, self._units_of if task is None else [task])
        return rows.assign(
            embedding=np.concatenate([table[vectors].to_numpy() for table in tables])
        )

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        """The row numbers of each task in `rows_of_all`."""
        return self.rows_of_all.groupby("task").indices

    @cached_property
    def _units_of(self) -> dict[str, list[tuple[str, int]]]:
        units = {task: [] for task, _ in self.units}
        for unit in self.units:
            units[unit[0]].append(unit)
        return units

    @cached_property
    def rows_of_all(self) -> pd.DataFrame:
        """All shards but their vectors, in the order of tasks, latent prompts and samples."""
        if misfit := self.misfit():
            raise ValueError(f"table {self.shard(*misfit[0])}: {misfit[1]}")
        rows, manifest = self._unchecked.drop(columns=[*layout.VECTORS]), self.manifest()
        answers = layout.rated(self.ratings())
        if manifest is not None:
            old = [name for name in layout.ratings_of(manifest) if name not in answers]
            rows = rows.merge(manifest[["task", "latent", "sample", *old]], "left")
        return rows.join(answers, on="path")

    @cached_property
    def _unchecked(self) -> pd.DataFrame:
        """The same, with the widths of vectors, before shards are held against each other."""
        rows, room, self._clip_means = [], MOST_HELD, []
        with ThreadPoolExecutor() as pool:
            found = zip(self._units_of, pool.map(self._scan, self._units_of), strict=True)
            for task, (table, embedded, means) in found:
                rows.append(table)
                self._clip_means += [(task, *means)] if means else []
                room -= embedded.nbytes
                if room >= 0:
                    self._held[task] = embedded
        return pa.concat_tables(rows).combine_chunks().to_pandas()  # in one piece: taking is quick

    def _scan(self, task: str) -> tuple[pa.Table, pa.Table, tuple]:
        """Return a task's rows with widths for vectors, its embeddings, and the means of CLIP's."""
        table = self._read_task(task)
        good = table.filter(pc.equal(table["status"], OK))
        clip, reference = good["clip_embedding"], good["clip_reference_embedding"]
        means = (
            None if clip.null_count else layout.mean_vector(clip),
            layout.mean_vector(reference),
        )
        first = pa.array(np.diff(table["latent"].to_numpy(), prepend=-1) != 0)
        text = pc.if_else(first, table["text_embedding"], None)  # that of a latent prompt, once
        embedded = table.select(EMBEDDED).set_column(2, "text_embedding", text)
        for place, name in enumerate(table.column_names):
            if name in layout.VECTORS:
                table = table.set_column(place, name, pc.list_value_length(table[name]))
        return table, embedded.combine_chunks(), means if len(good) else ()

    def _read_task(self, task: str) -> pa.Table:
        """Return a task's shards as one table; refuse unusable embeddings and scores."""
        units = self._units_of[task]
        table = pa.concat_tables([self._read_shard(*unit)[0] for unit in units])
        try:
            layout.check_shard(table, self.folder / "shards")
        except ValueError:  # rare: look at each, to name the one that is unusable
            table = pa.concat_tables([self.checked_shard(*unit) for unit in units])
        return table

    def misfit(self) -> tuple[tuple[str, int], str] | None:
        """Return a shard that does not fit the others, and what is wrong with it.

        Embeddings have one width; what one video of a task has of scores and prompts, all have.
        """
        rows = self._unchecked
        for name in layout.VECTORS:
            widths = rows[name].dropna().astype(int)
            odd = widths.index[widths != widths.mode().max()]
            if len(odd):
                row = rows.loc[odd[0]]
                others = f"{widths[odd[0]]} numbers, and others of {widths.mode().max()}"
                return (row.task, row.latent), f"column {name} has vectors of {others}"
        good = rows[rows.status == OK]
        for name in (*LABELS, "prompt"):
            known = good[name].notna()
            odd = good[known.groupby(good.task).transform("any") & ~known]
            if len(odd):
                row, others = odd.iloc[0], "others of the task have one"
                what = f"that of sample {row['sample']} is missing, and {others}"
                return (row.task, row.latent), f"column {name}: {what}"
        return None


def _option(profile: str) -> str:
    """Return the options that name a profile: that of a twin is no file."""
    name = profile.removesuffix(layout.TWIN)
    return f"--profile {shlex.quote(name)}{'' if name == profile else ' --twin'}"


def _begun_by(archive: Archive) -> str:
    """Return the command that began an archive."""
    if archive.manifest() is not None:
        return "squbed score"
    first = archive.tasks().iloc[0]
    named = _option(str(archive.profile["name"]))
    place = shlex.quote(str(archive.folder))
    asked = archive.profile.get("dataset", {})
    if asked.get("kind") in ("prompts", "like"):
        option = "confirm" if asked.get("tasks") else asked["kind"]  # of which share, it cannot say
        named += f" --{option} {shlex.quote(asked['path'])} --output {place}"
    if first.dataset != layout.QUANTIFIED or asked.get("kind") == "like":
        return f"squbed collect {named}"
    sizes = {name: shlex.quote(str(archive.profile[name])) for name in ("n", "m", "seed")}
    sizes = " ".join(f"--{name} {value}" for name, value in sizes.items())
    return f"squbed quantify {shlex.quote(first.prompt)} {named} {sizes} --output {place}"
