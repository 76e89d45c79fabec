"""How a command is declared, and what several commands do alike."""

import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import squbed_utils

Run = Callable[[Namespace], int | None]
Option = tuple[list[str], dict[str, object]]

COMMANDS: dict[str, tuple[Run, tuple[Option, ...]]] = {}
"""What runs a command, and its options, by the command's name."""


def command(name: str, *options: Option) -> Callable[[Run], Run]:
    """Make a function the command of that name."""

    def register(run: Run) -> Run:
        COMMANDS[name] = run, options
        return run

    return register


def option(usage: str, text: str, **settings: object) -> Option:
    """Describe an option by its usage and its help, and by more that argparse takes.

    The usage is ``--workers N``, ``-p --parameter NAME VALUE`` (which may be repeated), ``--yes``
    for a switch, or ``FOLDER`` for what must be given.
    """
    names = [word for word in usage.split() if word.startswith("-")]
    values = [word for word in usage.split() if not word.startswith("-")]
    if len(values) > 1:
        settings |= {"nargs": len(values), "metavar": tuple(values)}
        settings |= {"action": "append", "default": []}
    elif values:
        settings["metavar"] = values[0]
    elif "choices" not in settings:
        settings["action"] = "store_true"
    return names or [values[0].lower()], {"help": text} | settings


def place(text: str) -> Path | str:
    """Return a place as a folder's path, or as it is if it is a URL."""
    return text if "://" in text else Path(text)


PROFILE = option(
    "--profile NAME",
    "a profile in data/profiles/, or a .yaml file (default: %(default)s)",
    default="world",
)
FOLDER = option("FOLDER", "a samples archive", type=Path)
PROMPTS = "a text, one a line, CSV or JSON lines, or an installed package: vbench, vbench2"
LIST = option("--prompts FILE", "prompts in place of the profile's dataset: " + PROMPTS)
LIKE = option(
    "--like ARCHIVE",
    "ask what an archive asked: its tasks, latent prompts and seeds, for `squbed compare`",
)
N = option("--n N", "latent prompts, at least 3 (default: the profile's)", type=int)
ACCURACY = option(
    "--accuracy NAME", "such as ssim (default: CLIP to the reference, or to the prompt)"
)
FIGURES = option("--output DIR", "default: %(default)s", type=Path, default=Path("figures"))
RETRY = option("--retry-failed", "make latent prompts with failed videos again")
BY = option(
    "--by",
    "what ranks them (default: what ranked them in `collect --confirm`, there epistemic)",
    choices=("epistemic", "total"),
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
        raise ValueError(f"{given[0]} says how to --{needed}; give that too, or leave it out")


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


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning as one line on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: print(f"squbed: {message}", file=sys.stderr)
        yield


def uncertainty_of(archive: object, by: str, estimator: str | None = None) -> object:
    """Return what ranks an archive's tasks, epistemic or total, as a Series by task."""
    from squbed_utils.statistics import tables

    with warnings_as_lines():
        table = tables.summarize_run(archive, estimator=estimator or archive.profile["estimator"])
        return tables.with_parts(table).set_index("task")[by]


def print_summary(archive: object, estimator: str | None, *, csv: bool = False) -> None:
    """Print a row a task; a line on stderr says which tasks are left out, and why."""
    from squbed_utils.csv_files import for_spreadsheets
    from squbed_utils.statistics.summary import as_text

    with warnings_as_lines():
        table = squbed_utils.summarize(archive, estimator=estimator or archive.profile["estimator"])
    print(for_spreadsheets(table).to_csv(index=False) if csv else as_text(table) + "\n", end="")
