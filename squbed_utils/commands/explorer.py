"""The explorer: an archive's tasks, numbers and videos as one page that needs no server.

The page is ``data/templates/explorer.html`` with the `SCRIPTS` beside it. Its policy (CSP) forbids
every connection; the scripts build it of text alone, never of markup.
"""

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import FOLDERS, LABELS, OK, stored_error
from squbed_utils.commands import pages
from squbed_utils.commands.pages import as_address, preview, render
from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.figures import style
from squbed_utils.files import write_text
from squbed_utils.statistics import summary as summaries
from squbed_utils.statistics.cautions import repeated
from squbed_utils.statistics.summary import TERMS, summarize, value_text
from squbed_utils.statistics.tables import accuracies_there, better_is_higher, forms, y_label
from squbed_utils.text import visible
from squbed_utils.video import scan

SCRIPTS = ("page.js", "statistics.js", "explorer.js")

MOST_BYTES = 5_200_000
"""Of a page that holds its previews: as an attribute of a notebook's frame it stays below 6 MB."""

FORMS = ((128, 16), (96, 12), (64, 8), (48, 6))
"""Longest side in pixels and number of frames of a page's previews; the first that fits is used."""

COUNTS = {"n": "latent prompts", "m": "videos of each", "failed": "failed videos"}
LEFT_OUT = "left out of the estimates for want of videos"
UNSHOWN = ("prompt", "degenerate", "identical", "reference_", *TERMS)
"""How columns of a summary begin that are no axes; the terms themselves are."""

VIDEO = ["latent", "seed", "path", "caption", "error", *LABELS]
"""What the script is told of a video, in this order."""

FLOORS = {"psnr": 0, "rating_accuracy": 1, "rating_preference": 0}
FLOORS |= {"rating_accuracy_prompt": 1, "rating_preference_prompt": 0}
FLOORS |= dict.fromkeys(("ssim", "lpips", "clip_reference", "clip_prompt"), -1)
"""The least that an accuracy can be, so that a target less it bounds every shortfall."""

STARTS = {
    "x": ("total.A", "total", "epistemic", "epistemic.A"),
    "y": ("total.B", "clip_reference", "clip_prompt", "epistemic", "epistemic.B"),
    "colour": ("coverage", "category", "dataset", "total", "epistemic", "epistemic.A"),
    "x2": ("total.difference", "aleatoric", "clip_prompt", "epistemic", "epistemic.difference"),
    "y2": ("clip_reference.difference", "clip_prompt.difference", "epistemic", "epistemic.A"),
    "by": ("epistemic", "epistemic.A"),
}
"""What is drawn at first -> the columns of which the first that is there is taken."""

COLOURS = {
    "category": [style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION, style.PURPLE, style.SKY],
    "coverage": style.COVERAGE_COLOURS,
}
MARKS = "AB"
FRAME = (
    '<iframe sandbox="allow-scripts" title="{title}" srcdoc="{page}" '
    'style="width: 100%; height: 860px; border: 1px solid #d5dbe1; border-radius: 6px"></iframe>'
)

Labels = dict[str, tuple[str, str]]
"""Column -> what it is called, and the group that it stands in."""


@dataclass(frozen=True, eq=False, repr=False)
class Explorer:
    """One archive, or two on the same tasks, as a page; it shows itself in a notebook."""

    archives: tuple[Archive, ...]

    @cached_property
    def page(self) -> str:
        """The page as HTML, with previews of a video of each latent prompt in it."""
        room = MOST_BYTES - len(json.dumps(self._data, ensure_ascii=False).encode())
        return _page(self._data, *_embedded(self.archives, room), "data:")

    def save(self, path: Path | str) -> Path:
        """Write ``NAME.html``, a page that holds its previews, or else a folder; return the path.

        The folder has ``index.html`` and a preview of every video in ``previews/``, which are read
        when a task is opened: for archives of any size. It must be new, empty or such a folder.
        """
        path = Path(path)
        if path.suffix.lower() == ".html":
            file, text = path, self.page
        else:
            file = path / "index.html"
            if not file.is_file() and path.exists() and (path.is_file() or any(path.iterdir())):
                raise ValueError(f"{path} holds something else; choose a new folder or NAME.html")
            text = _page(
                self._data, _beside(self.archives, path), "Previews of all videos", "'self'"
            )
        write_text(file, text)
        return path

    def _repr_html_(self) -> str:
        return FRAME.format(title=escape(self._data["title"]), page=escape(self.page))

    def __repr__(self) -> str:
        return f"{self._data['title']}; .save('page.html') writes it as a page"

    @cached_property
    def _data(self) -> dict:
        """All that the page shows, without its previews."""
        parts = [_table(archive) for archive in self.archives]
        table, labels, notes = parts[0][:3] if len(parts) == 1 else _compared(*parts)
        if {"aleatoric", "epistemic"} <= set(labels):  # by the weight that a slider says
            table = table.assign(weighted=(table.aleatoric + table.epistemic) / 2)
            labels = labels | {"weighted": ("weighted total", "Weighted")}
        names = [visible(FOLDERS.sub("", str(a.profile["name"]))) for a in self.archives]
        if len(set(names)) < len(names):
            names = [visible(archive.folder.resolve().name) for archive in self.archives]
        prompts, details = parts[0][3].prompt, [part[3] for part in parts]
        return {
            "title": f"Explorer of {' and '.join(names)}",
            "names": names,
            "columns": [
                {
                    "key": key,
                    "label": label,
                    "group": group,
                    "number": table[key].dtype.kind in "if",
                    "floor": FLOORS.get(re.sub(r"\.[AB]$", "", key)),
                }
                for key, (label, group) in labels.items()
            ],
            "values": {key: [_plain(value) for value in table[key]] for key in labels},
            "tasks": [
                {"id": task, "prompt": _plain(prompts[task])}
                | {"unranked": bool(any(of.identical[task] for of in details))}
                | {"of": [of.part[task] for of in details]}
                for task in table.index
            ],
            "start": {k: next((c for c in of if c in labels), None) for k, of in STARTS.items()},
            "weighted": "weighted" in labels,
            "accuracies": list(LABELS.values()),
            "notes": [visible(note) for note in notes],
            "colours": COLOURS,
        }


def explore(archive: Archive, other: Archive | None = None) -> Explorer:
    """Show an archive, or two on the same tasks, as a page to explore, in a notebook or as a file.

    Of two archives, the tasks of the same id and prompt are shown side by side, with differences as
    columns. ``.save("page.html")`` of what this returns writes it as one file without need of a
    server or network, and ``.save("folder")`` with the previews of all videos beside it.
    """
    return Explorer((archive,) if other is None else (archive, other))


def _page(data: dict, clips: list[dict[str, str]], note: str, images: str) -> str:
    """Return the page; `clips` are the addresses of each archive's previews by path."""
    found = data | {"clips": clips, "notes": [note, *data["notes"]]}
    return render("explorer.html", SCRIPTS, found, images=images)


def _table(archive: Archive) -> tuple[pd.DataFrame, Labels, list[str], pd.DataFrame]:
    """Return a row a task of what can be drawn, its labels, what must be said, and `_details`."""
    estimator, truth = ESTIMATORS[archive.profile["estimator"]], archive.truth() is not None
    scores, known = pd.DataFrame(columns=["estimator", "component", "task"]), summaries.sources()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        summary = summarize(archive, estimator=estimator.name, truth=truth).set_index("task")
        if (summary.identical == "").any():
            scores = summaries.score_tasks(archive, read_videos=False)
    table, labels = pd.DataFrame(index=archive.tasks().task), {}
    for key, column in summary.items():
        if key in TERMS:
            labels[key] = f"{key} uncertainty ({estimator.unit})", "Uncertainty"
        elif key in accuracies_there(summary):
            column = better_is_higher(summary, key)
            labels[key] = y_label(key, forms(archive)), "Accuracy (higher = better)"
        elif not key.startswith(UNSHOWN) and column.nunique() > 1:
            labels[key] = COUNTS.get(key, key.replace("_", " ")), "Tasks"
        if key in labels and column.notna().any():
            table[key] = column
    for (name, term), rows in scores.groupby(["estimator", "component"], sort=False):
        if name != estimator.name:
            unit = f" ({known.unit[name]})" if known.unit[name] else ""
            labels[f"{name}_{term}"] = f"{known.label[name]}, {term}{unit}", "Other estimators"
            table[f"{name}_{term}"] = rows.set_index("task").value
    notes = list(dict.fromkeys(str(warning.message) for warning in caught))
    return table, {key: labels[key] for key in table}, notes, _details(archive, summary)


def _compared(first: tuple, second: tuple) -> tuple[pd.DataFrame, Labels, list[str]]:
    """Join two archives' tables: a column each and their difference, one where both agree."""
    (a, labels, notes, details), (b, others, more, its) = first, second
    prompts = dict(its.prompt)
    shared = [task for task, prompt in details.prompt.items() if prompts.get(task) == prompt]
    if not shared:
        raise ValueError("the two archives share no task; expected some of equal id and prompt")
    notes = [f"{m}: {note}" for m, said in zip(MARKS, (notes, more), strict=True) for note in said]
    if alone := len(a) + len(b) - 2 * len(shared):
        notes.append(f"{alone} tasks that only one of the archives has are left out")
    a, b, joined, named = a.loc[shared], b.loc[shared], {}, {}
    for key, (label, group) in (labels | others).items():
        both = key in a and key in b
        if both and a[key].equals(b[key]):
            joined[key], named[key] = a[key], (label, group)
            continue
        for mark, table in zip(MARKS, (a, b), strict=True):
            if key in table:
                joined[f"{key}.{mark}"] = table[key]
                named[f"{key}.{mark}"] = f"{mark}: {label}", group
        if both and a[key].dtype.kind in "if":
            joined[f"{key}.difference"] = b[key] - a[key]
            named[f"{key}.difference"] = f"B − A: {label}", group
    return pd.DataFrame(joined), named, notes


def _details(archive: Archive, summary: pd.DataFrame) -> pd.DataFrame:
    """Return a row a task: prompt, identical, part (what its panel shows of this archive)."""
    tasks, unit = archive.tasks().set_index("task"), ESTIMATORS[archive.profile["estimator"]].unit
    twins, entropies = repeated(archive), summaries.latent_entropies(archive)
    marks = twins.what + " " + twins.why + ": " + twins.places
    latents = archive.latents(embeddings=False)
    latents = latents.set_index(["task", "latent"])[["prompt"]].sort_index()
    latents = latents.assign(entropy=[entropies.get(place) for place in latents.index])
    videos = archive.videos(embeddings=False).sort_values(["latent", "sample"]).set_index("task")
    errors = videos.error.map(lambda error: stored_error(str(error)), "ignore")
    seeds = videos.seed.astype("Int64").astype("string")  # no number of a script's has its digits
    videos = videos.assign(seed=seeds, error=errors)[VIDEO]
    parts = {}
    for task, row in tasks.join(summary[[c for c in summary if c not in tasks]]).iterrows():
        known = task in summary.index
        parts[task] = {
            "terms": [
                {"name": term, "unit": unit, "text": value_text(row, term).replace("-", "−")}
                | {"remark": row[f"{term}_remark"] if known else LEFT_OUT}
                for term in TERMS
            ],
            "marks": list(marks[twins.task == task]),
            "reference": _plain(row.reference),
            "latents": _rows(latents.loc[task].reset_index()),
            "videos": _rows(videos.loc[[task]]),
        }
    identical = summary.identical.reindex(tasks.index, fill_value="") != ""
    return tasks[["prompt"]].assign(identical=identical, part=pd.Series(parts))


def _embedded(archives: tuple[Archive, ...], room: int) -> tuple[list[dict], str]:
    """Return previews of at most `room` bytes by path, and what they are of.

    References come first, then a video of the first latent prompts, and so on.
    """
    jobs = sorted(_jobs(archives, every=False), key=lambda job: job[0])
    some = [video for *_, video in _scanned(archives, jobs[:: max(1, len(jobs) // 16)])]
    side, frames = pages.fitting(some, FORMS, (0.97 * room) / max(1, len(jobs)) - 60)
    clips, shown = [{} for _ in archives], 0
    for latent, number, path, video in _scanned(archives, jobs):
        address = as_address(preview(video, side=side, frames=frames))
        room -= len(address) + 60
        if room < 0:
            break
        clips[number][path] = address
        shown += latent >= 0
    count = sum(len(archive.videos(embeddings=False)) for archive in archives)
    return clips, (
        f"Previews of {shown:,} of {count:,} videos, at most one of each latent prompt, {side} "
        f"pixels and {frames} frames; saved as a folder, the explorer has previews of all"
    )


def _beside(archives: tuple[Archive, ...], folder: Path) -> list[dict]:
    """Write a preview of every video into a folder; return their addresses by path."""
    clips = [{} for _ in archives]
    for _, number, path, video in _scanned(archives, list(_jobs(archives, every=True))):
        name = f"previews/{MARKS[number]}/{path.removesuffix('.mp4')}.webp"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(preview(video))
        clips[number][path] = name
    return clips


def _jobs(archives: tuple[Archive, ...], *, every: bool) -> Iterator[tuple[int, int, str]]:
    """Yield (latent prompt or -1, number of the archive, path) of the videos to be shown."""
    for number, archive in enumerate(archives):
        videos = archive.videos(embeddings=False)
        videos = videos[videos.status == OK]
        yield from ((-1, number, path) for path in archive.tasks().reference.dropna() if path)
        for v in (videos if every else videos.drop_duplicates(["task", "latent"])).itertuples():
            yield v.latent, number, v.path


def _scanned(archives: tuple[Archive, ...], jobs: list[tuple]) -> Iterator[tuple]:
    """Yield each job and its video, if the archive holds it; else the page has no preview."""
    for latent, number, path in tqdm(jobs, "previews", unit="video", disable=len(jobs) < 2000):
        try:
            yield latent, number, path, scan(archives[number].inside(path))
        except (FileNotFoundError, ValueError):
            continue


def _rows(table: pd.DataFrame) -> list[list[float | str | None]]:
    return [[_plain(value) for value in row] for row in table.itertuples(index=False)]


def _plain(value: object) -> float | str | None:
    """Return a cell as JSON has it: nine digits of a number, a text without hidden characters."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, str | bool | np.bool_):
        return visible(str(value))
    return float(f"{value:.9g}") if np.isfinite(value) else None
