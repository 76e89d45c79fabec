"""Publish an archive as a dataset that others read without this package.

``hf``: the archive's own files, which `load` opens, and what the Hugging Face hub and its library
read beside them::

    README.md          the dataset card
    croissant.json     the same for machines (MLCommons Croissant 1.0)
    metadata.parquet   a row a video: prompts, seed, embeddings, accuracies
    summary.parquet    a row a task: uncertainties with intervals, mean accuracies
    explorer.html      a page to explore it in a browser, without server or network
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

import jinja2
import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup
from tqdm import tqdm

from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import OK
from squbed_utils.commands.explorer import explore
from squbed_utils.files import PARTIAL, ROOT, sha256_of, write_sums
from squbed_utils.statistics.summary import summarize
from squbed_utils.text import as_markdown, visible

HF = "hf"
FORMATS = (HF, "webdataset")
README = "README.md"

TEMPLATES = ROOT / "data" / "templates"

PUBLISHED = (
    *("profile.yaml", "tasks.parquet", "manifest.parquet", "truth.parquet", "dataset.json"),
    *("references", "shards", "videos"),
)
"""Files of an archive that are published; spending, cached answers and labels are not."""


def export(
    folder: Path | str,
    output: Path | str,
    *,
    format: str = HF,  # noqa: A002 - the option's name
    shard_mb: float = 1000,
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
    if output.resolve().is_relative_to(archive.folder.resolve()):
        raise ValueError(f"output {output} lies within the archive; choose a folder beside it")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output {output} is there already; choose a new or empty folder")
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
        layout.write_table(partial / "metadata.parquet", rows)
        layout.write_table(partial / "summary.parquet", summary)
        about = describe(archive, rows, format)
        (partial / README).write_text(readme(about), encoding="utf-8")
        machine = croissant(about, rows, sha256_of(partial / "metadata.parquet"))
        explore(archive).save(partial / "explorer.html")
        text = json.dumps(machine, indent=1, ensure_ascii=False)
        (partial / "croissant.json").write_text(text + "\n", encoding="utf-8")
        files = sorted(p for p in partial.rglob("*") if p.is_file() and p.name != README)
        sums = {p.relative_to(partial).as_posix(): sha256_of(p) for p in files}
        write_sums(partial / layout.SUMS, sums)
        output.mkdir(parents=True, exist_ok=True)
        os.replace(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return output


def metadata(archive: Archive) -> pd.DataFrame:
    """Return a row for each video that did not fail, with everything that is known of it."""
    videos = archive.videos()
    videos = videos[videos.status == OK].rename(columns={"embedding": "video_embedding"})
    if videos.empty:
        raise ValueError(f"all videos of {archive.folder} failed; there is nothing to publish")
    latents = archive.latents().rename(
        columns={"prompt": "latent_prompt", "embedding": "text_embedding"}
    )
    tasks = archive.tasks().rename(columns={"prompt": "task_prompt"})
    table = videos.merge(latents.drop(columns="rejected"), on=["task", "latent"]).merge(tasks)
    references = table.task.map(layout.reference_path).astype(object)
    references = references.where(table.reference.notna(), None)
    table = table.assign(file_name=table.path, reference_file_name=references)
    first = ["file_name", "reference_file_name", "dataset", "category", "task", "task_prompt"]
    first += ["latent", "latent_prompt", "sample", "seed"]
    last = ["text_embedding", "video_embedding"]
    table = table.drop(columns=["caption"] if table.caption.isna().all() else [])
    left_out = {"path", "status", "error", "reference", *first, *last}
    return table[first + [c for c in table if c not in left_out] + last]


def _copy(archive: Archive, folder: Path) -> None:
    """Copy the published files of the archive, except those that a crash or a tool left behind.

    Left out are folders of models and videos, names of raters and times of answers.
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
    if len(ratings := archive.ratings()):
        numbers = pd.factorize(ratings.rater)[0] + 1
        ratings = ratings.assign(rater=[f"rater {k}" for k in numbers], time=None)
        ratings.drop(columns="line").to_csv(folder / layout.RATINGS, index=False)
    failed = archive.videos().dropna(subset="error")
    failed = failed[failed.error != failed.error.map(layout.stored_error)]
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
    return layout.FOLDERS.sub("", value)


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


UNITS = {
    "ssim": "structural similarity to the reference, mean over frames, -1 to 1",
    "psnr": "peak signal-to-noise ratio to the reference (dB)",
    "lpips": "LPIPS distance to the reference, mean over frames; lower is better",
    "clip_reference": "mean cosine of CLIP embeddings of frames and the reference's frames",
    "clip_prompt": "mean cosine of CLIP embeddings of frames and the task's prompt",
}

SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
"""Number of rows below which a dataset is of each of the hub's sizes."""


def describe(archive: Archive, rows: pd.DataFrame, form: str) -> dict:
    """Return what the templates of the card and of the Croissant metadata say."""
    recorded, tasks = archive.profile, archive.tasks()
    profile = without_folders(recorded)
    counts = rows.groupby("category").agg(tasks=("task", "nunique"), videos=("task", "size"))
    versions = profile.get("versions", {})
    units = UNITS | dict.fromkeys(layout.ratings_of(rows), "people's rating; higher is better")
    return {
        "name": f"{visible(without_folders(str(recorded['name'])))}-uncertainty",
        "layout": form,
        "size": next((name for most, name in SIZES.items() if len(rows) < most), "1M<n<10M"),
        "videos": len(rows),
        "tasks": len(tasks),
        "categories": counts.reset_index(names="name").to_dict("records"),
        "failed": (archive.videos().status == layout.FAILED).sum(),
        "references": tasks.reference.notna().sum(),
        "truth": archive.truth() is not None,
        "models": [_model(role, profile) for role in layout.ROLES if profile.get(role)],
        "seed": profile.get("seed", "unknown"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "estimator": recorded["estimator"],
        "accuracies": {name: text for name, text in units.items() if rows[name].notna().any()},
        "datasets": ", ".join(sorted(set(tasks.dataset))),
    }


def _model(role: str, profile: dict) -> dict[str, object]:
    """Return a model's role, name and shortened hash."""
    model = profile[role]
    names = (model.get(key) for key in ("path", "call", "model", "kind"))
    name = PurePath(next(filter(None, names), "unknown"))
    digest = profile.get("checkpoints", {}).get(role, "-")
    return {
        "role": role,
        "name": name.name if name.is_absolute() else name,
        "digest": re.sub(r"^(.{12}).+", r"\1...", digest),
    }


def readme(about: dict) -> str:
    """Return the dataset card, which begins with what the hub reads; all values stay literal."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else as_markdown(value),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = as_code
    environment.filters["yaml"] = lambda value: Markup(yaml.safe_dump(value))
    card = (TEMPLATES / "dataset_card.md").read_text(encoding="utf-8")
    return environment.from_string(card).render(about)


def as_code(name: object) -> Markup:
    """Return a name as Markdown code, or escaped if it would end the code."""
    plain = re.fullmatch(r"[\w./:@+ -]+", str(name))
    return Markup(f"`{name}`" if plain else as_markdown(name))


def croissant(about: dict, rows: pd.DataFrame, sha256: str) -> dict:
    """Return MLCommons Croissant 1.0 metadata (JSON-LD) of the table of videos."""
    whole = json.loads((TEMPLATES / "croissant.json").read_text(encoding="utf-8"))
    whole["name"] = about["name"]
    whole["description"] = (
        f"{about['videos']} generated videos of {about['tasks']} tasks, with prompts, references, "
        "seeds, embeddings and accuracies"
    )
    whole["distribution"][0]["sha256"] = sha256
    whole["recordSet"][0]["field"] = [_field(name, rows[name]) for name in rows]
    return whole


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
