"""An archive of videos that already exist: embed and score them, generate nothing."""

import math
import shutil
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from squbed_utils import profiles, video
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import FAILED, OK
from squbed_utils.collection.collect import has_tables, held, is_new, warn_of_versions
from squbed_utils.collection.workers import one_thread
from squbed_utils.files import ROOT, SAMPLES, copy, path_of
from squbed_utils.models import checkpoints
from squbed_utils.profiles import Profile
from squbed_utils.tasks import folder as folders
from squbed_utils.tasks import manifest as manifests
from squbed_utils.tasks.task import Task
from squbed_utils.world.render import SIDE

RECORDED = ("name", "estimator", "pca", "device", *layout.MEASURING, "checkpoints", "versions")
"""The settings of a profile that matter for videos that it did not generate; LPIPS only where there
are references."""

Find = Callable[[str], Path]
"""A path in a manifest -> where the file lies: beside a CSV file, or within an archive."""

WORLD = ROOT / "data" / "world"


def score(
    manifest: str | Path,
    *,
    profile: str | Path | Profile,
    output: Path | str | None = None,
    retry_failed: bool = False,
) -> Archive:
    """Make an archive of existing videos, or go on where an earlier call stopped.

    Videos and references are copied byte for byte, whatever their format, and named ``.mp4``. A
    video that is missing, empty, cut short or not a video is a failed row with its reason. One
    video is held in memory at a time, with its reference.

    Parameters
    ----------
    manifest : path
        A CSV file as ``manifest.read`` takes it; or a folder of clips as ``folder.read`` takes it,
        whose table is shown on stderr first, or which holds a ``manifest.csv``; or the folder of an
        archive, whose videos are measured again, by this profile's models, and whose truth is taken
        over.
    profile : str, path or Profile
        Its encoders, CLIP and LPIPS are used; its other models need not be there. Those of the
        shapes world run on any video, but know shapes alone: this warns where it is of others.
    output : path, optional
        The archive's folder; by default ``data/samples/score/<manifest>-<profile>``.
    retry_failed : bool
        Whether latent prompts with failed videos are scored again.

    Returns
    -------
    Archive
        Where the manifest has no latent prompts, aleatoric and total uncertainty are absent; where
        a task has no reference, all accuracies but CLIP to the prompt and people's ratings.

    Raises
    ------
    FileNotFoundError
        If the manifest, the profile or a model is missing.
    ValueError
        If the manifest has mistakes, all of which are named; the archive in its place is not
        finished; the output lies among the clips, or holds something else; or another run fills it.
    """
    profile = profiles.load(profile)
    source = Path(manifest).expanduser().absolute()
    output = Path(output or SAMPLES / "score" / f"{source.stem}-{profile.name}")
    table, truth, find, made_by = _read(source)
    if truth is None and source in output.absolute().parents:
        raise ValueError(f"output {output} lies among the clips; choose a folder beside them")
    roles = [*layout.MEASURING]
    if table.reference.isna().all():
        roles.remove("lpips")
    resolved = checkpoints.resolve(profile, roles)
    resolved = {key: resolved[key] for key in RECORDED if key in resolved}
    archive = Archive(output)
    recorded = archive.profile if archive.inside("profile.yaml").is_file() else made_by
    resolved |= {k: v for k, v in made_by.items() if k in recorded}  # older ones lack some
    with held(archive):
        _refuse_others(archive, table)
        new, firsts = is_new(archive, resolved), table.drop_duplicates("task")
        for row in firsts.dropna(subset="reference").itertuples():
            reference = archive.inside(layout.reference_path(row.task))
            if new or not reference.is_file():
                copy(find(row.reference), reference)
        known = archive.inside("manifest.parquet").is_file()
        if new or not known or not has_tables(archive, truth=truth is not None):
            archive.write_tasks([_task(row) for row in firsts.itertuples()], truth)
            archive.write_manifest(table)
            archive.write_profile(resolved)
        todo = [
            unit for unit in archive.units if not archive.finished(*unit, retry_failed=retry_failed)
        ]
        if todo:
            warn_of_versions(archive)
            archive.unseal()
            _score_all(profile, archive, table, find, todo)
        if archive.open:
            archive.seal()
    archive = open_archive(archive.folder)
    _warn_of_other_worlds(archive, profile)
    return archive


def _warn_of_other_worlds(archive: Archive, profile: Profile) -> None:
    """Warn if the encoders are the shapes world's but words or frames are not."""
    encoders = {role: getattr(profile, role).path for role in ("text_encoder", "video_encoder")}
    known = {role for role, path in encoders.items() if path_of(path).is_relative_to(WORLD)}
    signs = []
    if "text_encoder" in known:
        texts = archive.texts()
        strange = (texts.unknown > 0).sum()
        signs += [f"{strange} of {len(texts)} texts have words it lacks"] if strange else []
    if "video_encoder" in known:
        videos = archive.videos(embeddings=False)
        firsts = videos[videos.status == OK].drop_duplicates("task").path
        sizes = (archive.read_video(path).shape[1:3] for path in firsts)
        other = next((size for size in sizes if size != (SIDE, SIDE)), None)
        signs += ["frames are {} x {}, not {} x {}".format(*other, SIDE, SIDE)] if other else []
    if signs:
        warnings.warn(
            f"profile {profile.name} has encoders of the shapes world, which know shapes only, and "
            f"these videos are of another ({'; '.join(signs)}): the numbers mean little; give a "
            "--profile with real encoders",
            UserWarning,
            stacklevel=3,
        )


def _read(source: Path) -> tuple[pd.DataFrame, pd.DataFrame | None, Find, dict]:
    """Return the manifest, the truth of its tasks if known, and what locates its files.

    And what is to be recorded of the video model and its seed, if an archive says it.
    """
    if not source.is_dir():
        return manifests.read(source), None, lambda path: manifests.locate(path, source.parent), {}
    if not any((source / name).exists() for name in ("profile.yaml", "tasks.parquet")):
        written = source / folders.MANIFEST
        table = manifests.read(written) if written.exists() else folders.read(source)
        what = f"{len(table)} videos of {table.task.nunique()} tasks"
        print(f"{source}: {what}\n{folders.understood(table)}", file=sys.stderr)
        return table, None, lambda path: manifests.locate(path, source), {}
    archive = open_archive(source)
    table = of_archive(archive)
    for path in (*table.video.dropna(), *table.reference.dropna().unique()):
        archive.inside(path)  # refused before any is copied
    made_by = {"video_model": archive.video_model, "seed": archive.profile.get("seed")}
    made_by = {key: value for key, value in made_by.items() if value not in ({}, None)}
    return table, archive.truth(), archive.inside, made_by


def _refuse_others(archive: Archive, table: pd.DataFrame) -> None:
    """Refuse an archive of other videos than these.

    Where the manifest is not whole, nothing says what shards and references are of; all go.
    """
    if not archive.inside("profile.yaml").is_file():
        return
    remedy = "choose another --output, or delete that folder"
    if "n" in archive.profile:
        raise ValueError(f"{archive.folder} holds videos that were generated there; {remedy}")
    path = archive.inside("manifest.parquet")
    try:
        before = layout.read_table(path, layout.MANIFEST).to_pandas()
        if archive.changed([path.name]):
            raise ValueError(f"{path} is not as it was when the archive was sealed")
    except (FileNotFoundError, ValueError) as error:
        tqdm.write(f"{error}; all videos are scored again", file=sys.stderr)
        path.unlink(missing_ok=True)
        for name in ("shards", "references"):
            shutil.rmtree(archive.inside(name), ignore_errors=True)
        return
    if _rows_of(before) != _rows_of(table):
        raise ValueError(f"{archive.folder} was made of another manifest; {remedy}")


def _rows_of(table: pd.DataFrame) -> list[dict]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _task(row: tuple) -> Task:
    rank = None if pd.isna(row.vagueness_rank) else float(row.vagueness_rank)
    reference = None if pd.isna(row.reference) else layout.reference_path(row.task)
    return Task(row.task, "manifest", row.category, row.prompt, reference, rank)


def _score_all(
    profile: Profile,
    archive: Archive,
    table: pd.DataFrame,
    find: Find,
    todo: list[tuple[str, int]],
) -> None:
    """Score the remaining units on one thread, as ``collect`` does."""
    from squbed_utils.collection import latent as _unit
    from squbed_utils.models import load as models

    noticed: dict[str, list[str]] = defaultdict(list)
    groups = dict(list(table.groupby(["task", "latent"], sort=False)))
    count = sum(len(groups[unit]) for unit in todo)
    bar = tqdm(total=len(table), initial=len(table) - count, desc="loading models", file=sys.stderr)
    with one_thread(), bar:
        bench = _unit.Bench(profile, models.load_measuring(profile), archive)
        bar.set_description("videos")
        for unit in todo:
            rows = []
            for row in groups[unit].itertuples():
                rows.append(_score_one(bench, row, find, noticed))
                bar.update()
            texts = _unit.embed_texts(bench.models, row.prompt, row.latent_prompt)
            archive.write_shard(*unit, [one | texts for one in rows])
    for note, names in noticed.items():
        print(f"{note}: {len(names)} of {count} videos, such as {names[0]}", file=sys.stderr)


def _score_one(bench: object, row: tuple, find: Find, noticed: dict[str, list[str]]) -> dict:
    """Copy and measure one video, or return why that failed; there is none of some prompts."""
    from squbed_utils.collection import latent as _unit

    video_row = {"task": row.task, "latent": row.latent, "sample": row.sample}
    video_row |= {"prompt": row.latent_prompt, "rejected": []}
    if row.video is None:
        return video_row | {"status": layout.TEXT}
    path = layout.video_path(row.task, row.latent, row.sample)
    try:
        source = find(row.video)
        clip = video.scan(source)
        for note in clip.notes:
            noticed[note].append(row.video)
        (measured,) = _unit.measure(bench, _task(row), [clip])
    except (ValueError, OSError) as error:
        return video_row | {"status": FAILED, "error": str(error)}
    copy(source, bench.archive.inside(path))
    return video_row | vars(measured) | {"path": path, "status": OK}


def of_archive(archive: Archive) -> pd.DataFrame:
    """Return the manifest of a finished archive's own videos that did not fail, paths within it.

    A latent prompt that has no videos by design is a row without one.
    """
    rows, tasks = archive.rows_of_all, archive.tasks().drop(columns="dataset")
    known = rows.task[rows.status == OK]
    if known.empty:
        raise ValueError(f"all videos of {archive.folder} failed; there is nothing to score")
    rows = rows[rows.task.isin(known) & (rows.status != FAILED)]
    rows = rows.rename(columns={"path": "video", "prompt": "latent_prompt"})
    table = rows.merge(tasks, on="task")
    texts = table[["video", "reference", "latent_prompt"]].astype(object)
    table = table.assign(**texts.where(texts.notna(), None))
    table = table.assign(vagueness_rank=table.get("vagueness_rank", math.nan))
    return table[[*manifests.COLUMNS, *layout.ratings_of(table)]]
