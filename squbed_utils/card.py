"""The card of a published dataset."""

import re
from pathlib import PurePath

import pandas as pd
import yaml

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import FAILED, ROLES
from squbed_utils.text import as_markdown, visible

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
    """Return what the card and the Croissant metadata say.

    Parameters
    ----------
    archive : Archive
    rows : DataFrame
        As `publish.metadata`.
    layout : str
        One of `publish.FORMATS`.
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
    """Write the dataset card, with what the hub reads at its top."""
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
    """Return the hub's word for a number of rows."""
    steps = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
    return next((word for least, word in steps.items() if videos < least), "1M<n<10M")


def _models(profile: dict) -> list[tuple[str, str, str]]:
    """Return each model's role, name and hash, of those that the archive names."""
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
    """Return a name as Markdown's code, or escaped where it would end that."""
    return f"`{name}`" if re.fullmatch(r"[\w./:@+ -]+", str(name)) else as_markdown(name)


def _table(rows: object) -> str:
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)
