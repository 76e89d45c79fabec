"""The explorer: an archive's tasks, numbers and videos as one page that needs no server.

The page is ``data/templates/explorer.html`` with its script ``explorer.js`` beside it. Its policy
(CSP) forbids every connection; the script builds it of text alone, never of markup.
"""

import base64
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from tqdm import tqdm

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import FOLDERS, LABELS, OK, reference_path, stored_error
from squbed_utils.estimators.checks import check_task
from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.estimators.registry import evaluate
from squbed_utils.figures import style
from squbed_utils.files import replacing
from squbed_utils.pages import TEMPLATES, as_address, preview
from squbed_utils.statistics.cautions import repeated
from squbed_utils.statistics.summary import (
    LEAST_VIDEOS,
    TERMS,
    score_tasks,
    sources,
    summarize,
    usable_embeddings,
    value_text,
)
from squbed_utils.statistics.tables import Y_LABELS, better_is_higher, default_accuracy
from squbed_utils.text import visible
from squbed_utils.video import scan

MOST_BYTES = 5_500_000
"""Of a page that holds its previews: an attribute of a notebook's frame, it stays below 6 MB."""

FORMS = ((128, 16), (96, 12), (64, 8), (48, 6))
"""Longest side in pixels and number of frames of a page's previews; the first that fits is used."""

COUNTS = {"n": "latent prompts", "m": "videos of each", "failed": "failed videos"}
LEFT_OUT = "left out of the estimates for want of videos"
UNSHOWN = {"task", "prompt", "degenerate", "identical", "reference_scene", "reference_seed"}
MARKS = "AB"
FRAME = (
    '<iframe sandbox="allow-scripts" title="{title}" srcdoc="{page}" '
    'style="width: 100%; height: 860px; border: 1px solid #d5dbe1; border-radius: 6px"></iframe>'
)

Labels = dict[str, tuple[str, str]]
"""Column -> what it is called, and the group that it stands in."""

Place = Callable[[int, str], str | None]
"""(number of the archive, path in it) -> the address of its preview, if there is one."""


@dataclass(frozen=True, eq=False, repr=False)
class Explorer:
    """One archive, or two on the same tasks, as a page; it shows itself in a notebook.

    Attributes
    ----------
    archives : tuple of Archive
    """

    archives: tuple[Archive, ...]

    @cached_property
    def page(self) -> str:
        """The page with its previews, one video of each latent prompt, as HTML."""
        return _page(self._data, *_embedded(self.archives, len(json.dumps(self._data(_none)))))

    def save(self, path: Path | str) -> Path:
        """Write ``NAME.html``, a page that holds its previews; or else a folder, and return it.

        The folder has ``index.html`` and a preview of every video in ``previews/``, which are read
        when a task is opened: for archives of any size. It must be new, empty or such a folder.
        """
        path = Path(path)
        whole = path.suffix.lower() in (".html", ".htm")
        if whole:
            text, file = self.page, path
        else:
            file = path / "index.html"
            if path.exists() and not file.is_file() and (not path.is_dir() or any(path.iterdir())):
                raise ValueError(
                    f"{path} holds something else; choose a new folder, or a file NAME.html"
                )
            text = _page(self._data, *_beside(self.archives, path))
        with replacing(file) as partial:
            partial.write_text(text, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        return FRAME.format(title=escape(self._title), page=escape(self.page))

    def __repr__(self) -> str:
        return f"{self._title}; .save('page.html') writes it as a page"

    @property
    def _title(self) -> str:
        return f"Explorer of {' and '.join(self._names)}"

    @cached_property
    def _names(self) -> list[str]:
        names = [visible(FOLDERS.sub("", str(a.profile["name"]))) for a in self.archives]
        alike = len(names) > len(set(names))
        return [f"{name} ({m})" if alike else name for name, m in zip(names, MARKS, strict=False)]

    @cached_property
    def _tables(self) -> tuple[pd.DataFrame, Labels, list[pd.DataFrame], list[str]]:
        return _compared([_table(archive) for archive in self.archives])

    def _data(self, place: Place) -> dict:
        """Return all that the page shows; `place` says where the previews are."""
        table, labels, summaries, notes = self._tables
        parts = zip(self.archives, summaries, strict=True)
        details = [_details(a, s, place, number) for number, (a, s) in enumerate(parts)]
        identical = [set(s.index[s.identical != ""]) for s in summaries]
        tasks = self.archives[0].tasks().set_index("task").loc[table.index]
        colours = {"category": [style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION]}
        colours["category"] += [style.SKY, style.PURPLE, style.BLACK]
        return {
            "title": self._title,
            "names": self._names,
            "columns": [
                {"key": key, "label": label, "group": group, "number": _is_number(table[key])}
                | {"place": place}
                for place, (key, (label, group)) in enumerate(labels.items())
            ],
            "values": {key: [_plain(v) for v in table[key]] for key in labels},
            "tasks": [
                {
                    "id": task,
                    "prompt": visible(prompt),
                    "unranked": any(task in of for of in identical),
                    "of": [of[task] for of in details],
                }
                for task, prompt in tasks.prompt.items()
            ],
            "start": _start(labels, table),
            "weighted": "weighted" in labels,
            "accuracies": list(Y_LABELS.values()),
            "notes": [visible(note) for note in notes],
            "colours": colours | {"coverage": style.COVERAGE_COLOURS},
        }


def explore(archive: Archive, other: Archive | None = None) -> Explorer:
    """Show an archive, or two on the same tasks, as a page to explore, in a notebook or as a file.

    Parameters
    ----------
    archive, other : Archive
        Finished ones. Of two, the tasks of the same id and prompt are shown side by side, with
        differences as columns.

    Returns
    -------
    Explorer
        It shows itself in a notebook; ``.save("page.html")`` writes it as one file without need of
        a server or network, and ``.save("folder")`` with the previews of all videos beside it.

    Raises
    ------
    ValueError
        As `summarize`; or if two archives share no task.
    """
    return Explorer((archive,) if other is None else (archive, other))


def _none(number: int, path: str) -> None:
    return None


def _page(data: Callable[[Place], dict], place: Place, note: str, images: str) -> str:
    found = data(place)
    found["notes"].insert(0, note)
    text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":  # what could end the element, or a line of a script
        text = text.replace(char, f"\\u{ord(char):04x}")
    script = TEMPLATES.loader.get_source(TEMPLATES, "explorer.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return TEMPLATES.get_template("explorer.html").render(
        **found, data=Markup(text), script=Markup(script), sum=digest, images=images
    )


def _table(archive: Archive) -> tuple[pd.DataFrame, Labels, pd.DataFrame, list[str]]:
    """Return a row a task of what can be drawn, its labels, the summary, and what must be said."""
    estimator = ESTIMATORS[archive.profile["estimator"]]
    notes, scores = [], None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        known = archive.truth() is not None
        summary = summarize(archive, estimator=estimator.name, truth=known).set_index("task")
        try:
            scores = score_tasks(archive, read_videos=False)
        except ValueError as error:  # all tasks are identical samples
            notes.append(str(error))
    notes += dict.fromkeys(str(warning.message) for warning in caught)
    table, labels = pd.DataFrame(index=archive.tasks().task), {}
    for key in summary:
        column = summary[key]
        if key in TERMS:
            labels[key] = f"{key} uncertainty ({estimator.unit})", "Uncertainty"
        elif key in LABELS:
            column = better_is_higher(summary, key)
            labels[key] = Y_LABELS[key], "Accuracy (higher = better)"
        elif key not in UNSHOWN and not key.startswith(TERMS) and column.nunique() > 1:
            group = "Counts" if key in COUNTS else "Task"
            labels[key] = COUNTS.get(key, key.replace("_", " ")), group
        if key in labels and column.notna().any():
            table[key] = column
    if scores is not None:
        known = sources()
        for (name, term), rows in scores.groupby(["estimator", "component"], sort=False):
            if name != estimator.name:
                unit = f" ({known.unit[name]})" if known.unit[name] else ""
                labels[f"{name}_{term}"] = f"{known.label[name]}, {term}{unit}", "Other estimators"
                table[f"{name}_{term}"] = rows.set_index("task").value
    return table, {key: labels[key] for key in table}, summary, notes


def _compared(parts: list[tuple]) -> tuple[pd.DataFrame, Labels, list[pd.DataFrame], list[str]]:
    """Join two archives' tables: a column each and their difference, one where both agree."""
    if len(parts) == 1:
        table, labels, summary, notes = parts[0]
        if {"aleatoric", "epistemic"} <= set(table):  # by the weight that the page's slider says
            table["weighted"] = table[["aleatoric", "epistemic"]].mean(axis=1, skipna=False)
            labels["weighted"] = "weighted total", "Uncertainty"
        return table, labels, [summary], notes
    (a, labels, first, notes), (b, others, second, more) = parts
    shared = [task for task in a.index if task in b.index]
    prompts = [s.prompt.reindex(shared) for s in (first, second)]
    shared = [t for t in shared if not (prompts[0] != prompts[1])[t] or pd.isna(prompts[0][t])]
    if not shared:
        raise ValueError("the two archives share no task; expected some of equal id and prompt")
    notes = [f"{m}: {note}" for m, said in zip(MARKS, (notes, more), strict=True) for note in said]
    if (alone := len(a) + len(b) - 2 * len(shared)) > 0:
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
                named[f"{key}.{mark}"] = f"{mark}: {label}", f"{mark}: {group}"
        if both and _is_number(a[key]):
            joined[f"{key}.difference"] = b[key] - a[key]
            named[f"{key}.difference"] = f"B − A: {label}", f"B − A: {group}"
    return pd.DataFrame(joined), named, [first, second], notes


def _start(labels: Labels, table: pd.DataFrame) -> dict[str, str | None]:
    """Return the columns that are drawn at first, by what they are drawn as."""
    accuracy = default_accuracy(pd.DataFrame(columns=LABELS).join(table, lsuffix="_"))
    wanted = {
        "x": ("total.A", "total", "epistemic"),
        "y": ("total.B", accuracy, "epistemic"),
        "colour": ("coverage", "category", "dataset"),
        "x2": ("total.difference", "aleatoric", "epistemic"),
        "y2": (f"{accuracy}.difference", "epistemic"),
        "by": ("epistemic", "epistemic.A"),
    }
    return {use: next((k for k in keys if k in labels), None) for use, keys in wanted.items()}


def _details(archive: Archive, summary: pd.DataFrame, place: Place, number: int) -> dict[str, dict]:
    """Return by task: its terms, marks, latent prompts, videos and reference."""
    latents, videos = archive.latents(), archive.videos().astype({"seed": "Int64"})
    twins, entropies = repeated(archive).groupby("task"), _entropies(archive)
    references = archive.tasks().set_index("task").reference
    rows, prompts = dict(list(videos.groupby("task"))), dict(list(latents.groupby("task")))
    found = {}
    for task, reference in references.items():
        row = summary.loc[task] if task in summary.index else None
        marks = twins.get_group(task) if task in twins.groups else pd.DataFrame()
        found[task] = {
            "terms": [_term(row, term) for term in TERMS],
            "marks": [f"{mark.what} {mark.why}: {mark.places}" for mark in marks.itertuples()],
            "reference": place(number, reference_path(task)) if pd.notna(reference) else None,
            "referenced": bool(pd.notna(reference)),
            "latents": [
                {"prompt": _plain(z.prompt), "entropy": _plain(entropies.get((task, z.latent)))}
                for z in prompts[task].sort_values("latent").itertuples()
            ],
            "videos": [
                {
                    "latent": v.latent,
                    "seed": None if pd.isna(v.seed) else str(v.seed),
                    "scores": [_plain(getattr(v, name)) for name in LABELS],
                    "caption": _plain(v.caption),
                    "problem": None if v.status == OK else visible(stored_error(str(v.error))),
                    "clip": place(number, v.path) if v.status == OK else None,
                }
                for v in rows[task].sort_values(["latent", "sample"]).itertuples()
            ],
        }
    return found


def _term(row: pd.Series | None, term: str) -> dict[str, str]:
    text = "–" if row is None else value_text(row, term).replace("-", "−")
    return {"text": text, "remark": LEFT_OUT if row is None else row[f"{term}_remark"]}


def _entropies(archive: Archive) -> dict[tuple[str, int], float]:
    """Return the uncertainty of each latent prompt's videos, whose mean is the epistemic term."""
    chosen = ESTIMATORS[archive.profile["estimator"]]
    if not chosen.text_optional:  # one latent prompt alone has no value
        return {}
    videos, drawn = archive.videos(), archive.latents().dropna(subset="prompt")
    counts = videos[videos.status == OK].groupby(["task", "latent"]).size()
    enough, known = set(counts.index[counts >= LEAST_VIDEOS]), set(drawn.task)
    if known:
        enough &= set(zip(drawn.task, drawn.latent, strict=True)) | {
            place for place in enough if place[0] not in known
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said by the summary
        usable = usable_embeddings(archive)
    found = {}
    for task, pair in usable.items():
        places = sorted(place for place in enough if place[0] == task)
        for place, x in zip(places, check_task(*pair)[1], strict=True):
            found[place] = evaluate(chosen, None, [x]).epistemic
    return found


def _embedded(archives: tuple[Archive, ...], used: int) -> tuple[Place, str, str]:
    """Return previews that fit into a page: references, then a video of each latent prompt."""
    jobs, count = [], 0
    for number, archive in enumerate(archives):
        videos = archive.videos()
        count += len(videos)
        first = videos[videos.status == OK].drop_duplicates(["task", "latent"])
        jobs += [(-1, number, reference_path(t)) for t in _referenced(archive)]
        jobs += [(v.latent, number, v.path) for v in first.itertuples()]
    jobs.sort(key=lambda job: job[0])
    room = MOST_BYTES - used
    shown = [video for *_, video in _scanned(archives, jobs[:: max(1, len(jobs) // 16)])]
    for side, frames in FORMS:  # noqa: B007 - the first that fits, or the smallest
        sizes = [len(as_address(preview(v, side=side, frames=frames))) for v in shown]
        if not sizes or np.mean(sizes) * len(jobs) < 0.95 * room:
            break
    addresses, videos = {}, 0
    for latent, number, path, video in _scanned(archives, jobs):
        address = as_address(preview(video, side=side, frames=frames))
        if (room := room - len(address)) < 0:
            break
        addresses[number, path] = address
        videos += latent >= 0
    note = (
        f"Previews of {videos:,} of {count:,} videos, at most one of each latent prompt, at most "
        f"{side} pixels and {frames} frames each; saved as a folder, the explorer shows all"
    )
    return lambda *key: addresses.get(key), note, "data:"


def _beside(archives: tuple[Archive, ...], folder: Path) -> tuple[Place, str, str]:
    """Write a preview of every video into a folder."""
    jobs, addresses = [], {}
    for number, archive in enumerate(archives):
        videos = archive.videos()
        paths = map(reference_path, _referenced(archive))
        jobs += [(0, number, path) for path in [*paths, *videos[videos.status == OK].path]]
    for _, number, path, video in _scanned(archives, jobs):
        name = f"previews/{MARKS[number]}/{Path(path).with_suffix('.webp').as_posix()}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(preview(video))
        addresses[number, path] = name
    return lambda *key: addresses.get(key), "Previews of all videos", "'self'"


def _scanned(archives: tuple[Archive, ...], jobs: list[tuple]) -> Iterator[tuple]:
    """Yield (rank, number of the archive, path, video) of the videos that the archives hold."""
    for rank, number, path in tqdm(jobs, "previews", unit="video", disable=len(jobs) < 500):
        try:
            yield rank, number, path, scan(archives[number].inside(path))
        except (FileNotFoundError, ValueError):
            continue  # the page says that there is no preview


def _referenced(archive: Archive) -> pd.Series:
    tasks = archive.tasks()
    return tasks.task[tasks.reference.notna()]


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _plain(value: object) -> float | str | None:
    """Return a cell as JSON has it: nine digits of a number, a text without hidden characters."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, str | bool | np.bool_):
        return visible(str(value))
    return float(f"{value:.9g}") if np.isfinite(value) else None
