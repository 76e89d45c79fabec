"""Pages on which people rank prompts, grade videos or choose the better of two, and their answers.

The page is ``data/templates/rate.html`` with the `SCRIPTS` beside it: one file that needs no server
and no network, shows no score, id or file name, and saves a CSV of `layout.Rating`.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import ASKED, OK, RATINGS, Rating, latest, read_ratings
from squbed_utils.collection.collect import held
from squbed_utils.commands.pages import as_address, fitting, preview, render
from squbed_utils.csv_files import for_spreadsheets
from squbed_utils.files import seed_of, write_text
from squbed_utils.statistics.agreement import RELIABLE, agreement, bradley_terry
from squbed_utils.statistics.audit import tasks_needed
from squbed_utils.statistics.cautions import named
from squbed_utils.statistics.tables import ranked_tasks
from squbed_utils.text import number as plain
from squbed_utils.text import visible
from squbed_utils.video import scan

SCRIPTS = ("page.js", "rate.js")

MOST_BYTES = 24_000_000
"""Of a page's previews."""

FORMS = ((384, 48), (256, 32), (192, 24), (128, 16))
"""Longest side in pixels and number of frames of previews; the first that fits is used."""

TASKS, RANKED, FEWEST = 24, 10, 3
"""Tasks of a page where no number is given: whose videos are shown, and that are ranked."""

TRUTH = {"coverage", "left_out", "true_entropy"}


def page(
    archive: Archive, question: str, *, tasks: int | None = None, videos: int | None = None
) -> str:
    """Return a page that asks one of the questions `layout.ASKED` about an archive.

    Tasks are drawn evenly over categories, or are those of Figure 3 if they are to be ranked, the
    truth is known and no number is given; of each, `videos` (1) are drawn evenly over latent
    prompts. A pair is of two tasks; each video is in two pairs. All raters are asked the same.
    """
    for name, number, least in (("tasks", tasks, FEWEST), ("videos", videos, 1)):
        if number is not None and number < least:
            raise ValueError(f"{name} is {number}; expected at least {least}")
    count, rng = ASKED[question][0], np.random.default_rng(seed_of("rate", question))
    by_prompt = count == 0 or question.endswith("_prompt")
    made, table, truth = archive.videos(embeddings=False), archive.tasks(), archive.truth()
    made = made[made.status == OK]
    table["reference"] = table.reference.replace("", None)
    if count:
        table = table[table.task.isin(made.task) & (by_prompt | table.reference.notna())]
    known = truth is not None and set(truth) >= TRUTH and "common" in set(truth.coverage)
    if known and not count and not tasks:
        table = ranked_tasks(table.merge(truth, on="task"))
    else:
        table = _evenly(table, ["category"], rng).head(tasks or (TASKS if count else RANKED))
    if len(table) < FEWEST:
        hint = "" if by_prompt else f", of those with a reference; {question}_prompt needs none"
        raise ValueError(f"{archive.folder}: {len(table)} tasks to ask about, not {FEWEST}{hint}")
    columns = ["task", "prompt" if by_prompt else "reference"]
    sides = table[columns].map(visible)
    if count:
        drawn = _evenly(made, ["task", "latent"], rng)[["task", "path"]]
        sides = sides.merge(drawn.groupby("task").head(videos or 1), on="task")
    items = [[side] for side in sides.to_dict("records")]
    if count > 1:
        place = sides.groupby("task", sort=False).cumcount()
        rings = (ring.iloc[rng.permutation(len(ring))] for _, ring in sides.groupby(place))
        rings = [ring.to_dict("records") for ring in rings if len(ring) >= FEWEST]
        items = [[side, ring[i - 1]] for ring in rings for i, side in enumerate(ring)]
    found = {"question": question, "prompts": by_prompt, "items": items}
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]
    clips = _clips(archive, sides.get("path", []), sides.get("reference", []))
    found |= {"page": digest, "clips": clips}
    return render("rate.html", SCRIPTS, found, images="data:")


def _evenly(table: pd.DataFrame, groups: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Return rows in a random order, in which no group has two before another that is left."""
    drawn = table.iloc[rng.permutation(len(table))]
    return drawn.iloc[np.argsort(drawn.groupby(groups).cumcount(), kind="stable")]


def _clips(archive: Archive, *paths: Sequence[str]) -> dict[str, str]:
    """Return the addresses of previews by path, as large as there is room for."""
    names = list(dict.fromkeys(name for some in paths for name in some))
    some = [scan(archive.inside(name)) for name in names[:: max(1, len(names) // 8)]]
    side, frames = fitting(some, FORMS, MOST_BYTES / max(1, len(names)))
    found = ((name, scan(archive.inside(name))) for name in names)
    return {n: as_address(preview(video, side=side, frames=frames)) for n, video in found}


def add(archive: Archive, files: Sequence[Path]) -> None:
    """Add answers that pages saved to the archive's ``ratings.csv``; the last counts."""
    if archive.exported:
        raise ValueError(f"{archive.folder} is a published copy; add answers to the archive itself")
    given = [read_ratings(path, archive.samples) for path in files]
    columns = [name for name in Rating.model_fields if name != "line"]
    with held(archive):
        before = [archive.ratings()] if archive.inside(RATINGS).is_file() else []
        answers = latest(pd.concat([*before, *given], ignore_index=True))[columns]
        text = for_spreadsheets(answers).to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        write_text(archive.inside(RATINGS), text)


def report(archive: Archive) -> str:
    """Return how far raters agree, and how many raters and tasks it takes, as text."""
    ratings = archive.ratings()
    if ratings.empty:
        raise ValueError(f"{archive.inside(RATINGS)} has no answers; give --question or --add")
    lines = [f"answers: {len(ratings)}, by {visible(named(sorted(set(ratings.rater))))}"]
    drawn = {q: np.random.default_rng(seed_of("agreement", q)) for q in ratings.question.unique()}
    each = [agreement(asked, drawn[q]) for q, asked in ratings.groupby("question", sort=False)]
    for row in pd.concat(each).itertuples():
        what = ("prompts", "videos", "pairs")[ASKED[row.question][0]]
        said = f"{row.question} ({what}: {row.units}, people: {row.raters})"
        if np.isnan(row.value):
            lines.append(f"{said}: too little in common for a number")
            continue
        numbers = [plain(x, ".2f") for x in (row.value, row.low, row.high) if not np.isnan(x)]
        ends = f" [{', '.join(numbers[1:])}]" if len(numbers) > 1 else ""
        lines.append(f"{said}: {row.statistic} {numbers[0]}{ends}")
        if row.reliability == 0:
            lines.append("  they agree no more than by chance: their mean tells nothing")
            continue
        needed = {t: tasks_needed(t, reliability=row.reliability) for t in (0.3, 0.5, 0.7)}
        enough = [f"{tasks:.0f} for {tau}" for tau, tasks in needed.items()]
        lines.append(
            f"  reliability of the mean of {row.raters}: {row.reliability:.2f}, of {row.needed:.0f}"
            f": {RELIABLE}; tasks that show a tau with 80 % power: {', '.join(enough)}"
        )
    for question, pairs in ratings[ratings.other != ""].groupby("question"):
        strengths = bradley_terry(pairs, drawn[question])
        table = strengths.to_string(index=False, float_format="{:.2f}".format)
        lines.append(f"{question}, Bradley-Terry (logits):\n{table}")
    return "\n".join(lines)
