"""The page docs/commands.md, from the commands' own help.

``python tests/kit/commands_page.py`` writes it again.
"""

import inspect
from pathlib import Path

from squbed_utils import cli
from squbed_utils.commands.reproduce import DIFFERS

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

GROUPS = {
    "Before a run": ("profiles", "new", "check", "vagueness", "plan"),
    "Samples": ("collect", "status", "verify"),
    "Your own videos, or one prompt": ("score", "quantify"),
    "Numbers and figures": (
        "estimate",
        "explore",
        "rate",
        "figures",
        "compare",
        "encoders",
        "reproduce",
    ),
    "Publishing": ("export",),
    "The shapes world": ("train-world",),
}

INTRODUCTION = (
    "`squbed COMMAND --help` says the same in a terminal. `squbed --version` prints the version, "
    "and `squbed --traceback COMMAND ...` shows where an error arose. A relative path starts where "
    "the command is run; one in a profile starts at the repository."
)

HEAD = """# Commands

{INTRODUCTION}

| exit code | when |
|---|---|
| 0 | all went well |
| {USER_ERROR} | something is wrong, as one line on stderr says |
| {DIFFERS} | `--strict`, and a table is not the reference run's |
| {INTERRUPTED} | interrupted by Ctrl-C; the same command goes on |
"""


def page() -> str:
    """Return the page's text."""
    parts = [HEAD.format(INTRODUCTION=INTRODUCTION, DIFFERS=DIFFERS, **vars(cli))]
    for title, names in GROUPS.items():
        parts += [f"## {title}\n", *map(section, names)]
    return "\n".join(parts)


def section(name: str) -> str:
    """Return a command's part: what it does, how it is called, and its options."""
    run, options = cli.COMMANDS[name]
    given = [settings["metavar"] for names, settings in options if not names[0].startswith("-")]
    lines = [f"### `{' '.join(['squbed', name, *given])}`\n"]
    lines += [" ".join(text.split()) + "\n" for text in inspect.getdoc(run).split("\n\n")]
    lines += ["| option | what |", "|---|---|", *(row(*option) for option in options), ""]
    return "\n".join(lines)


def row(names: list[str], settings: dict[str, object]) -> str:
    """Return an option's row."""
    value = settings.get("metavar", "\\|".join(settings.get("choices", ())))
    value = value if isinstance(value, str) else " ".join(value)
    option = ", ".join(names) + f" {value}" * bool(value)
    option = option if names[0].startswith("-") else value
    needed = "needed: " if settings.get("required") else ""
    return f"| `{option}` | {needed}{settings['help'] % settings} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
