"""How a command is declared, and what several commands do alike."""

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path

import squbed_utils
from squbed_utils.text import one_line

Run = Callable[[Namespace], int | None]
Option = tuple[list[str], dict[str, object]]

MOST_SHOWN = 20
"""Failed videos whose error is shown."""

COMMANDS: dict[str, tuple[Run, tuple[Option, ...]]] = {}
"""What runs a command, and its options, by the command's name."""


def command(name: str, *options: Option) -> Callable[[Run], Run]:
    """Make a function the command of that name."""

    def register(run: Run) -> Run:
        COMMANDS[name] = run, options
        return run

    return register


def folder(text: str) -> Path:
    """Return a folder's path, there or not."""
    if Path(text).is_file():
        raise ArgumentTypeError(f"{text} is a file; give a folder")
    return Path(text)


def place(text: str) -> Path | str:
    """Return a place as a folder's path, or as it is if it is a URL."""
    return text if "://" in text else folder(text)


PATHS = ("ARCHIVE", "ARCHIVES", "ARCHIVE_B", "CSV", "FOLDER", "MANIFEST", "PATH")
TYPES = {"DIR": folder} | dict.fromkeys(PATHS, Path)
TYPES |= dict.fromkeys(("N", "M", "SEED"), int) | dict.fromkeys(("P", "S", "NATS", "MB"), float)
"""What a value is by its name in a usage; any other is a text."""


def option(usage: str, text: str, **settings: object) -> Option:
    """Describe an option by its usage and its help, and by more that argparse takes.

    The usage is ``--workers N``, whose type is of `TYPES`, ``--only NOTEBOOK...`` for what may be
    repeated, ``--by epistemic|total`` for a choice, ``--slurm NAME VALUE`` for several values,
    ``--yes`` for a switch, or ``FOLDER`` for what must be given.
    """
    words = usage.removesuffix("...").split()
    names = [word for word in words if word.startswith("-")]
    values = words[len(names) :]
    settings["help"] = text + " (default: %(default)s)" * ("default" in settings)
    if not values:
        settings["action"] = "store_true"
    elif "|" in values[0]:
        settings["choices"] = tuple(values[0].split("|"))
    elif len(values) > 1:
        settings |= {"nargs": len(values), "metavar": tuple(values)}
    else:
        settings = {"metavar": values[0], "type": TYPES.get(values[0])} | settings
    if usage.endswith("..."):
        settings |= {"action": "append", "default": []}
        settings["help"] += "; may be repeated"
    return names or [values[0].lower()], settings


PROFILE = option("--profile NAME", "a profile in data/profiles/, or a .yaml file", default="world")
FOLDER = option("FOLDER", "a samples archive")
PROMPTS = "a text, one a line, CSV or JSON lines, or an installed package: vbench, vbench2"
LIST = option("--prompts FILE", "prompts in place of the profile's dataset: " + PROMPTS)
LIKE = option(
    "--like ARCHIVE",
    "ask what an archive asked: its tasks, latent prompts and seeds, for `squbed compare`",
)
N = option("--n N", "latent prompts, at least 3 (default: the profile's)")
ACCURACY = option(
    "--accuracy NAME", "such as ssim (default: CLIP to the reference, or to the prompt)"
)
FIGURES = option("--output DIR", "where figures go", default=Path("figures"))
RETRY = option("--retry-failed", "make latent prompts with failed videos again")
BY = option(
    "--by epistemic|total",
    "what ranks them (default: what ranked them in `collect --confirm`, there epistemic)",
)
YES = option("--yes", "pay for paid models without being asked")
STRICT = option("--strict", "end with exit code 3 if a table is not the reference run's")


def chosen(options: Namespace, *names: str) -> dict[str, object]:
    """Return the values of some options by their names."""
    return {name: getattr(options, name) for name in names}


def refuse_without(needed: str, options: Namespace, *names: str) -> None:
    """Refuse options that say nothing without another."""
    given = [f"--{name}" for name in names if getattr(options, name) is not None]
    if given and not getattr(options, needed):
        raise ValueError(f"{given[0]} says nothing without --{needed}; give both, or neither")


def say(message: object) -> None:
    """Say something beside a command's output, as one line on stderr."""
    print(f"squbed: {one_line(message)}", file=sys.stderr)


def consent(options: Namespace) -> Callable[[str], bool]:
    """Return what agrees to costs: ``--yes``, or the user on a terminal; else nothing is paid."""

    def agreed(question: str) -> bool:
        if options.yes or not sys.stdin.isatty():
            return options.yes
        return input(f"{question}. Go on? [y/N] ").strip().lower() in ("y", "yes")

    return agreed


def parse_values(pairs: list[tuple[str, str]]) -> dict[str, object]:
    """Read the values of NAME VALUE options as YAML."""
    from squbed_utils import plain_yaml

    return {name: plain_yaml.parse(value, f"the value of {name}") for name, value in pairs}


def print_made(archive: object) -> None:
    """Print how much an archive holds; a line on stderr each says why the first videos failed."""
    from squbed_utils.archive.layout import FAILED

    failed, refused = [], 0
    for task, latent in archive.units:  # one at a time: there may be more than memory holds
        rows = archive.rows(task, latent, ["sample", "rejected", "status", "error"])
        refused += len(rows[0]["rejected"])
        where = f"task {task}, latent {latent}, sample"
        failed += [f"{where} {r['sample']}: {r['error']}" for r in rows if r["status"] == FAILED]
    print(
        f"{archive.folder}: {len(archive.tasks())} tasks, {len(archive.units)} latent prompts "
        f"({refused} draws refused), {sum(archive.units.values())} videos ({len(failed)} failed)"
    )
    for said in failed[:MOST_SHOWN]:
        say(said)
    if len(failed) > MOST_SHOWN:
        say(f"and {len(failed) - MOST_SHOWN} more")


def uncertainty_of(archive: object, by: str, estimator: str | None = None) -> object:
    """Return what ranks an archive's tasks, epistemic or total, as a Series by task."""
    from squbed_utils.statistics import tables

    table = tables.summarize_run(archive, estimator=estimator or archive.profile["estimator"])
    return tables.with_parts(table).set_index("task")[by]


def print_summary(archive: object, estimator: str | None, *, csv: bool = False) -> None:
    """Print a row a task; a line on stderr says which tasks are left out, and why."""
    from squbed_utils.csv_files import for_spreadsheets
    from squbed_utils.statistics.summary import as_text

    table = squbed_utils.summarize(archive, estimator=estimator or archive.profile["estimator"])
    print(for_spreadsheets(table).to_csv(index=False) if csv else as_text(table) + "\n", end="")
