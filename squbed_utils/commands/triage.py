"""How vague prompts are, from latent prompts alone: no video is made, and no GPU is needed."""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import shorten

import pandas as pd
from tqdm import tqdm

from squbed_utils import figures, files, profiles
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import stored_error
from squbed_utils.collection.collect import Consent, held, is_new
from squbed_utils.models import checkpoints, latent_prompts
from squbed_utils.models.latent_prompts import NoneCompatible
from squbed_utils.profiles import Profile
from squbed_utils.roles import OpenAI
from squbed_utils.statistics.cautions import named
from squbed_utils.statistics.summary import value_text
from squbed_utils.statistics.tables import save_tables
from squbed_utils.statistics.vagueness import VALUE, describe, question
from squbed_utils.tasks import prompts as lists
from squbed_utils.tasks.task import Task
from squbed_utils.text import visible

NAME, PLACE = "vagueness", "prompts/{}.json"


def vagueness(
    prompts: Path | str,
    *,
    profile: str | Path | Profile = "world",
    n: int | None = None,
    output: Path | str | None = None,
    retry_failed: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> pd.DataFrame:
    """Rank prompts by h(Z given l), and say which question would narrow each most.

    Latent prompts are drawn as `collect` draws them. Each prompt is kept in the folder once it is
    done: an interrupted call goes on there, and a changed file of prompts costs only what is new.

    Parameters
    ----------
    prompts : path or str
        A file of prompts (``tasks.prompts.read``), or an installed package such as ``vbench``.
    profile : str, path or Profile
        Its refiner, text encoder and seed are used; no other model need be there.
    n : int, optional
        Latent prompts (at least 3); by default the profile's.
    output : path, optional
        By default ``data/samples/vagueness/<profile>-<name of the file>``. Gets the figure
        ``vagueness`` and, in ``data/``, its table and that of the latent prompts.
    retry_failed : bool
        Whether prompts with latent prompts that no draw was accepted for are asked again.
    confirm : callable, optional
        Asked before a paid model is used, as in ``collect.collect``.

    Returns
    -------
    DataFrame
        A row a prompt, the vaguest first: rank (1 = the least vague; missing for too few accepted
        draws and for identical ones), task, category, prompt, aleatoric, aleatoric_low and _high
        (nats; 95 % interval), aleatoric_remark (why it has no value or no interval), accepted and
        refused (draws), question, removes (the share of the spread that its answer would remove)
        and differ (all words in which the latent prompts differ, by aspect).

    Raises
    ------
    FileNotFoundError, ValueError
        If the file, the profile or a model is missing; if the file has mistakes, the profile's
        world cannot say a prompt, or the folder is of another profile.
    RuntimeError
        If a budget is used up, or the cost is not confirmed.
    """
    profile = profiles.load(profile)
    profile = lists.instead(profiles.changed(profile, n=n), prompts)
    tasks = lists.read(profile.dataset).tasks
    lists.require_sayable([task.prompt for task in tasks], profile)
    resolved = checkpoints.resolve(profile, ["refiner", "text_encoder"])
    archive = Archive(output or files.SAMPLES / NAME / f"{profile.name}-{Path(prompts).stem}")
    with held(archive):
        if is_new(archive, resolved):
            archive.write_profile(resolved)
        told = {task.id: _kept(archive, task, retry_failed) for task in tasks}
        todo = [task for task in tasks if told[task.id] is None]
        if todo:
            counts = {"tasks": len(todo), "latents": len(todo) * profile.n, "labels": 0}
            Consent(confirm).require(profile, archive.folder, videos=0, **counts)
        for task, found in _ask(profile, archive, todo) if todo else ():
            told[task.id] = found
            text = json.dumps(found, ensure_ascii=False)
            files.write_text(archive.inside(PLACE.format(task.id)), text)
        table = _ranked(tasks, told)
        latents = [{"task": task, **draw} for task in table.task for draw in told[task]["draws"]]
        save_tables(archive.folder, NAME, points=table, latents=pd.DataFrame(latents))
        figures.save(figures.figure_vagueness(table), NAME, archive.folder)
    table.attrs["folder"] = str(archive.folder)
    return table


def _kept(archive: Archive, task: Task, retry_failed: bool) -> dict | None:
    """Return what an earlier call found of a prompt; None if it is to be asked (again)."""
    path = archive.inside(PLACE.format(task.id))
    try:
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"prompt": ""}
        again = told["prompt"] != task.prompt or (retry_failed and told["errors"])
        return None if again else told
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} is damaged; delete it and run the same command again") from error


def _ask(profile: Profile, archive: Archive, tasks: list[Task]) -> Iterator[tuple[Task, dict]]:
    """Draw the latent prompts of each task, and say what they leave open."""
    from squbed_utils.models import load

    language = load.load_language(profile, archive.folder)
    encoder = load.load_text_encoder(profile)
    options = {"compatible": language.compatible, "listed": language.listed, "seed": profile.seed}

    def draw(task: Task) -> dict:
        draws, errors, refused = [], {}, 0
        for latent in range(profile.n):
            try:
                drawn = latent_prompts.draw(task, latent, language.refine, **options)
                draws.append({"latent": latent, **vars(drawn)})
                refused += len(drawn.rejected)
            except ValueError as error:
                errors[latent] = stored_error(str(error))
                refused += latent_prompts.MAX_DRAWS * isinstance(error, NoneCompatible)
        return {"prompt": task.prompt, "draws": draws, "errors": errors, "refused": refused}

    with ThreadPoolExecutor(8 if isinstance(profile.refiner, OpenAI) else 1) as pool:
        drawn = tqdm(pool.map(draw, tasks), desc="prompts", total=len(tasks), file=sys.stderr)
        for task, told in zip(tasks, drawn, strict=True):
            latents = [each["prompt"] for each in told["draws"]]
            found = describe(task.prompt, latents, encoder)
            if found["aleatoric"] is None and told["errors"]:
                found["aleatoric_remark"] += f" ({next(iter(told['errors'].values()))})"
            yield task, told | found


def _ranked(tasks: list[Task], told: dict[str, dict]) -> pd.DataFrame:
    rows = []
    for task in tasks:
        found = told[task.id]
        aspects = found["aspects"] or [{"words": [], "removes": None}]
        row = {"task": task.id, "category": task.category, "prompt": task.prompt}
        row |= {name: found[name] for name in (*VALUE, "aleatoric_remark")}
        row |= {"accepted": len(found["draws"]), "refused": found["refused"]}
        row |= {"question": question(aspects[0]["words"]), "removes": aspects[0]["removes"]}
        rows.append(row | {"differ": "; ".join(", ".join(one["words"]) for one in aspects)})
    table = pd.DataFrame(rows).astype(dict.fromkeys((*VALUE, "removes"), float))
    table.insert(0, "rank", table.aleatoric.rank(method="min").astype("Int64"))
    return table.sort_values("aleatoric", ascending=False, kind="stable", ignore_index=True)


def as_text(table: pd.DataFrame) -> str:
    """Return the table as text: a line a prompt, then why some have no rank or no interval."""
    asked = table.question + table.removes.map(" (removes {:.0%})".format)
    shown = {
        "rank": table["rank"].astype(object).where(table["rank"].notna(), "-"),
        "h(Z|l), nats": [value_text(row, "aleatoric") for _, row in table.iterrows()],
        "prompt": [shorten(visible(prompt), 60, placeholder=" ...") for prompt in table.prompt],
        "ask": asked.where(table.question != "", "-").map(visible),
    }
    lines = [pd.DataFrame(shown).to_string(index=False)]
    for remark, rows in table[table.aleatoric_remark != ""].groupby("aleatoric_remark"):
        what = "" if rows["rank"].notna().any() else "no rank: "
        lines.append(f"({what}{remark}: {named(list(rows.task))})")
    refused, draws = table.refused.sum(), table.refused.sum() + table.accepted.sum()
    lines.append(f"(draws of latent prompts refused: {refused} of {draws}, {refused / draws:.0%})")
    return "\n".join(lines)
