"""Publish an archive as a dataset that others read without this package.

``hf``: the archive's own files, which `load` opens, and what the Hugging Face hub and its library
read beside them::

    README.md          the dataset card
    croissant.json     the same for machines (MLCommons Croissant 1.0)
    metadata.parquet   a row a video: prompts, seed, embeddings, accuracies
    summary.parquet    a row a task: uncertainties with intervals, mean accuracies
    SHA256SUMS         of every file but the card, which is edited when it is published;
                       `sha256sum -c` and `load(..., verify=True)` read it

``webdataset``: tar files to stream, each video with its row (.json) and embedding (.npy), and all
of the above but the archive.
"""

import io
import json
import math
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePath, PureWindowsPath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from tqdm import tqdm

from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import (
    FAILED,
    FOLDERS,
    OK,
    ROLES,
    SUMS,
    reference_path,
    stored_error,
)
from squbed_utils.files import PARTIAL, sha256_of, write_sums
from squbed_utils.statistics.summary import summarize
from squbed_utils.text import as_markdown, visible

FORMATS = HF, WEBDATASET = "hf", "webdataset"
README = "README.md"

PUBLISHED = (
    *("profile.yaml", "tasks.parquet", "manifest.parquet", "truth.parquet", "dataset.json"),
    *("references", "shards", "videos"),
)
"""Files of an archive that are published; spending, cached answers and labels are not."""

SHARD_MB = 1000
"""Size in 10^6 bytes at which the next tar file begins."""


def export(
    folder: Path | str,
    output: Path | str,
    *,
    format: str = HF,  # noqa: A002 - the option's name
    shard_mb: float = SHARD_MB,
) -> Path:
    """Write a finished archive as a dataset into an empty or new folder, and return the folder.

    `format` is one of `FORMATS`; at `shard_mb` (10^6 bytes, above 0) the next tar file begins.
    Equal archives give equal bytes, and the folder appears when it is whole.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    if not 0 < shard_mb < math.inf:
        raise ValueError(f"shard_mb is {shard_mb}; expected a size above 0, and finite")
    archive, output = open_archive(folder), Path(output)
    _refuse_output(archive, output)
    partial = output.with_name(f".{output.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        rows = metadata(archive)
        summary = summarize(archive, estimator=archive.profile["estimator"])
        if format == HF:
            _copy(archive, partial)
        else:
            _write_tars(archive, rows, partial, int(shard_mb * 1e6))
        _write_parquet(partial / "metadata.parquet", rows)
        _write_parquet(partial / "summary.parquet", summary)
        about = describe(archive, rows, format)
        about["profile"] = without_folders(archive.profile)
        (partial / README).write_text(readme(about), encoding="utf-8")
        machine = croissant(about, rows, sha256_of(partial / "metadata.parquet"))
        text = json.dumps(machine, indent=1, ensure_ascii=False)
        (partial / "croissant.json").write_text(text + "\n", encoding="utf-8")
        _write_sums(partial)
        output.mkdir(parents=True, exist_ok=True)
        os.replace(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return output


def metadata(archive: Archive) -> pd.DataFrame:
    """Return a row for each video that did not fail, with everything that is known of it.

    Columns file_name and reference_file_name (within the dataset), dataset, category, task,
    task_prompt, latent, latent_prompt, sample, seed, the accuracies, text_embedding,
    video_embedding.
    """
    videos = archive.videos()
    videos = videos[videos.status == OK].rename(columns={"embedding": "video_embedding"})
    if videos.empty:
        raise ValueError(f"all videos of {archive.folder} failed; there is nothing to publish")
    latents = archive.latents().rename(
        columns={"prompt": "latent_prompt", "embedding": "text_embedding"}
    )
    tasks = archive.tasks().rename(columns={"prompt": "task_prompt"})
    table = videos.merge(latents.drop(columns="rejected"), on=["task", "latent"]).merge(tasks)
    table = table.assign(
        file_name=table.path,
        reference_file_name=[
            None if reference is None else reference_path(task)
            for task, reference in zip(table.task, table.reference, strict=True)
        ],
    )
    first = ["file_name", "reference_file_name", "dataset", "category", "task", "task_prompt"]
    first += ["latent", "latent_prompt", "sample", "seed"]
    last = ["text_embedding", "video_embedding"]
    table = table.drop(columns=["caption"] if table.caption.isna().all() else [])
    left_out = {"path", "status", "error", "reference", *first, *last}
    return table[first + [c for c in table if c not in left_out] + last]


def _refuse_output(archive: Archive, output: Path) -> None:
    if output.resolve().is_relative_to(archive.folder.resolve()):
        raise ValueError(f"output {output} lies within the archive; choose a folder beside it")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output {output} is there already; choose a new or empty folder")


def _copy(archive: Archive, folder: Path) -> None:
    """Copy the published files of the archive, except those that a crash or a tool left behind.

    Folders of models and videos are removed from its settings, manifest, report and errors.
    """
    for source in map(archive.inside, PUBLISHED):
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        for file in tqdm(files, source.name, unit="file", disable=len(files) < 1000):
            name = file.relative_to(archive.folder.resolve()).as_posix()
            if archive.inside(name).is_file() and not file.name.startswith("."):
                _refuse_home(file)
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    copy = Archive(folder)
    copy.write_profile(without_folders(archive.profile))
    if (report := archive.report()) is not None:
        copy.write_report(without_folders(report))
    if (manifest := archive.manifest()) is not None:
        places = {name: manifest[name].map(without_folders) for name in ("video", "reference")}
        copy.write_manifest(manifest.assign(**places))
    failed = archive.videos().dropna(subset="error")
    failed = failed[failed.error != failed.error.map(stored_error)]
    for task, latent in dict.fromkeys(zip(failed.task, failed.latent, strict=True)):
        copy.write_shard(task, latent, archive.rows(task, latent))


def _refuse_home(file: Path) -> None:
    """Refuse a video that holds the path of the user's home, which some tools write as metadata."""
    home = str(Path.home())
    if file.suffix == ".mp4" and len(home) > 1 and f"{home}/".encode() in file.read_bytes():
        raise ValueError(
            f"{file} holds a path in {home}, perhaps in its metadata, which `ffmpeg -i IN "
            "-map_metadata -1 -c copy OUT` leaves out; do that and score it again"
        )


def without_folders(value: object) -> object:
    r"""Return settings without this machine's folders: outside paths keep only their last part.

    >>> without_folders({"path": "/home/me/models/wan", "base_url": "http://10.0.0.1/v1", "n": 6})
    {'path': 'wan', 'base_url': None, 'n': 6}
    >>> without_folders(["../me/wan", "~/run.py", "--to=/home/me/x", r"D:\me\wan", "data/world"])
    ['wan', 'run.py', '--to=x', 'wan', 'data/world']
    """
    if isinstance(value, dict):
        kept = {k: without_folders(v) for k, v in value.items()}
        return kept | ({"base_url": None} if "base_url" in kept else {})
    if isinstance(value, list):
        return [without_folders(v) for v in value]
    if not isinstance(value, str):
        return value
    path = PureWindowsPath(value)  # which knows the separators of every system
    if path.root or value.startswith("~") or ".." in path.parts:
        return path.name
    return FOLDERS.sub("", value)


def _write_parquet(path: Path, table: pd.DataFrame) -> None:
    plain = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
    pq.write_table(plain, path, compression="zstd")


def _write_tars(archive: Archive, rows: pd.DataFrame, folder: Path, limit: int) -> None:
    """Write the videos in order to tar files of about `limit` bytes."""
    tar, number = None, 0
    try:
        for row in tqdm(rows.itertuples(index=False), "videos", total=len(rows), unit="video"):
            if tar is None or tar.offset > limit:
                if tar is not None:
                    tar.close()
                path = folder / f"videos-{number:05d}.tar"
                tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)
                number += 1
            for name, content in _members(archive, row):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    finally:
        tar.close()


def _members(archive: Archive, row: tuple) -> Iterator[tuple[str, bytes]]:
    """Yield one video's files by name; webdataset groups names that differ only in their ending."""
    key = f"{row.task}/{row.latent}_{row.sample}"
    plain = {k: v for k, v in row._asdict().items() if not isinstance(v, np.ndarray)}
    plain = {k: None if pd.isna(v) else v for k, v in plain.items()}
    embedding = io.BytesIO()
    np.save(embedding, row.video_embedding, allow_pickle=False)
    yield f"{key}.json", json.dumps(plain, ensure_ascii=False, allow_nan=False).encode()
    file = archive.inside(row.file_name)
    _refuse_home(file)
    yield f"{key}.mp4", file.read_bytes()
    yield f"{key}.npy", embedding.getvalue()


def _write_sums(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != README)
    write_sums(folder / SUMS, {p.relative_to(folder).as_posix(): sha256_of(p) for p in files})


UNITS = {
    "ssim": "structural similarity to the reference, mean over frames, -1 to 1",
    "psnr": "peak signal-to-noise ratio to the reference (dB)",
    "lpips": "LPIPS distance to the reference, mean over frames; lower is better",
    "clip_reference": "mean cosine of CLIP embeddings of frames and the reference's frames",
    "clip_prompt": "mean cosine of CLIP embeddings of frames and the task's prompt",
}

CARD = """---
{front}---

# {name}

{videos:,} generated videos of {tasks:,} tasks, for benchmarking how well the uncertainty of a
text-to-video model is measured. Each task is a prompt; its latent prompts are refinements of it,
and each latent prompt has several videos.

## Contents

| category | tasks | videos |
|---|---|---|
{categories}

{failed} videos failed and are not here. {references} of the tasks have a reference video. {truth}

| file | what |
|---|---|
{files}

## How it was made

| part | model | sha256 |
|---|---|---|
{models}

Seed {seed}; the seed of each video is in `metadata.parquet`. Versions: {versions}.

## Uncertainty and accuracy

`summary.parquet` holds each task's aleatoric, epistemic and total uncertainty by the estimator
`{estimator}` (S-QUBED, arXiv 2510.02571: von Mises-Fisher entropies of the latent prompts' text
embeddings and of their videos' embeddings, and the sum), with 95 % jackknife intervals over latent
prompts; a remark says where there is none, or where identical samples left nothing to measure.
Higher means less certain. Accuracies, of each video and averaged over each task's:

{accuracies}

## Licence of the parts

Prompts and references come from {datasets}; generated videos come from the model named above. The
terms of both apply to what is derived from them, and this export grants nothing beyond them. Say
so where you publish it, and set `license` at the top of this card.

## Known limits

- One reference shows one of many videos that fit a vague prompt, so accuracy falls with vagueness
  by itself.
- Embeddings and accuracies are those of the encoders above; entropies of other widths do not
  compare.
- Consistent errors have little spread: a model that is wrong in the same way each time looks
  certain.
- Spending records, cached answers of language models and labels of the source are left out.

## Reading it

{reading}
"""

READING = {
    "hf": """```python
import datasets, squbed_utils
videos = datasets.load_dataset(FOLDER_OR_NAME, split="train")  # a row a video
videos = videos.cast_column("video", datasets.Video(decode=False))  # unless torchcodec is there
archive = squbed_utils.load(FOLDER_OR_NAME)  # what the notebooks read; summary.parquet by pandas
```""",
    "webdataset": """```python
import glob, webdataset
videos = webdataset.WebDataset(sorted(glob.glob("videos-*.tar")), shardshuffle=False)
```""",
}

FILES = {
    "hf": {
        "metadata.parquet": "a row a video: prompts, seed, embeddings, accuracies",
        "summary.parquet": "a row a task: uncertainties with intervals, mean accuracies",
        "videos/, references/": "mp4, lossless (RGB H.264; browsers mistake its colours)",
        "profile.yaml, tasks.parquet, shards/, ...": "the archive, as `squbed_utils.load` opens it",
        "croissant.json, SHA256SUMS": "metadata for machines; checksums",
    },
    "webdataset": {
        "videos-*.tar": "of each video: its row (.json), the mp4, its embedding (.npy)",
        "metadata.parquet": "a row a video: prompts, seed, embeddings, accuracies",
        "summary.parquet": "a row a task: uncertainties with intervals, mean accuracies",
        "croissant.json, SHA256SUMS": "metadata for machines; checksums",
    },
}


def describe(archive: Archive, rows: pd.DataFrame, layout: str) -> dict:
    """Return the contents of the card and of the Croissant metadata.

    `rows` is the table of `publish.metadata`, `layout` one of `FORMATS`.
    """
    profile, tasks = archive.profile, archive.tasks()
    counts = rows.groupby("category").agg(tasks=("task", "nunique"), videos=("task", "size"))
    truth = archive.truth() is not None
    return {
        "name": f"{visible(str(profile['name']))}-uncertainty",
        "layout": layout,
        "videos": len(rows),
        "tasks": len(tasks),
        "counts": counts,
        "failed": int((archive.videos().status == FAILED).sum()),
        "references": int(tasks.reference.notna().sum()),
        "truth": "`truth.parquet` says what is really uncertain." if truth else "",
        "datasets": ", ".join(sorted(set(tasks.dataset))),
        "accuracies": [name for name in UNITS if rows[name].notna().any()],
        "profile": profile,
    }


def readme(about: dict) -> str:
    """Return the dataset card, which begins with what the hub reads."""
    profile = about["profile"]
    files = FILES[about["layout"]]
    return CARD.format(
        **{k: about[k] for k in ("videos", "tasks", "failed", "references", "truth")},
        name=as_markdown(about["name"]),
        front=_front(about),
        categories=_table(
            (as_markdown(c.Index), c.tasks, c.videos) for c in about["counts"].itertuples()
        ),
        files=_table((f"`{name}`", what) for name, what in files.items()),
        models=_table(_models(profile)),
        seed=as_markdown(profile.get("seed", "unknown")),
        versions=as_markdown(", ".join(f"{k} {v}" for k, v in profile.get("versions", {}).items())),
        estimator=profile["estimator"],
        accuracies="\n".join(f"- `{name}`: {UNITS[name]}" for name in about["accuracies"]),
        datasets=as_markdown(about["datasets"]),
        reading=READING[about["layout"]],
    )


def _front(about: dict) -> str:
    """Return the card's YAML, which tells the hub's library what to read."""
    front = {
        "pretty_name": about["name"],
        "license": "other",
        "task_categories": ["text-to-video"],
        "tags": ["uncertainty-quantification", "text-to-video", "croissant"],
        "size_categories": [_size(about["videos"])],
    }
    videos = {"config_name": "videos", "default": True, "drop_labels": True}
    if about["layout"] == "hf":
        paths = ["metadata.parquet", "videos/**", "references/**"]
        videos["data_files"] = [{"split": "train", "path": paths}]
    else:
        videos["data_files"] = [{"split": "train", "path": "videos-*.tar"}]
    return yaml.safe_dump(front | {"configs": [videos]}, sort_keys=False)


def _size(videos: int) -> str:
    """Return the hub's size category for a number of rows."""
    steps = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
    return next((word for least, word in steps.items() if videos < least), "1M<n<10M")


def _models(profile: dict) -> list[tuple[str, str, str]]:
    """Return the role, name and hash of each model that the archive names."""
    found = []
    for role in ROLES:
        if model := profile.get(role):
            name = PurePath(model.get("path") or model.get("model") or model["kind"])
            name = name.name if name.is_absolute() else name
            digest = profile.get("checkpoints", {}).get(role, "-")
            digest = re.sub(r"^(.{12}).+", r"\1...", digest)
            found.append((role, _as_code(name), as_markdown(digest)))
    return found


def _as_code(name: object) -> str:
    """Return a name as Markdown code, or escaped if it would end the code."""
    return f"`{name}`" if re.fullmatch(r"[\w./:@+ -]+", str(name)) else as_markdown(name)


def _table(rows: object) -> str:
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)


PAPER = "S-QUBED, arXiv 2510.02571"

TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)

CONTEXT = {term: f"cr:{term}" for term in TERMS} | {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
"""The JSON-LD context of the Croissant specification."""


def croissant(about: dict, rows: pd.DataFrame, sha256: str) -> dict:
    """Return MLCommons Croissant 1.0 metadata (JSON-LD) of the table of videos.

    `about` is from `describe`, `rows` from `metadata`, `sha256` of ``metadata.parquet``.
    """
    table = {
        "@type": "cr:FileObject",
        "@id": "metadata.parquet",
        "name": "metadata.parquet",
        "contentUrl": "metadata.parquet",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": about["name"],
        "description": f"{about['videos']} generated videos of {about['tasks']} tasks, with "
        "prompts, references, seeds, embeddings and accuracies",
        "citeAs": PAPER,
        "version": "1.0.0",
        "distribution": [table],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "videos",
                "name": "videos",
                "field": [_field(name, rows[name]) for name in rows],
            }
        ],
    }


def _field(name: str, column: pd.Series) -> dict:
    embedding = name.endswith("_embedding")
    kind = "f" if embedding else column.dtype.kind
    types = {"f": "sc:Float", "i": "sc:Integer"}
    field = {
        "@type": "cr:Field",
        "@id": f"videos/{name}",
        "name": name,
        "dataType": types.get(kind, "sc:Text"),
        "source": {"fileObject": {"@id": "metadata.parquet"}, "extract": {"column": name}},
    }
    return field | ({"repeated": True} if embedding else {})
