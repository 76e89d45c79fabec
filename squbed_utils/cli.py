"""The command ``squbed``: its parser, and what its errors look like."""

import inspect
import os
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence

import squbed_utils
from squbed_utils.commands import making, showing  # noqa: F401 - which declare the commands
from squbed_utils.commands.options import COMMANDS, say

USER_ERROR, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 after a user's mistake, 130 after Ctrl-C, or its own code."""
    options = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without the letters of a prompt
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *_: say(message)
            return options.run(options) or 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        say("interrupted; run the same command again to go on")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, RuntimeError) as error:
        if options.traceback:
            raise
        say(error)
        return USER_ERROR
    return 0


def parser() -> ArgumentParser:
    """Return the parser of all commands."""
    whole = ArgumentParser(
        prog="squbed", description="How certain is a text-to-video model? S-QUBED's figures."
    )
    whole.add_argument("--version", action="version", version=squbed_utils.__version__)
    whole.add_argument("--traceback", action="store_true", help="show where an error arose")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, options) in COMMANDS.items():
        summary, _, description = (inspect.getdoc(run) or "").partition("\n\n")
        summary = summary[:1].lower() + summary[1:].removesuffix(".")
        part = commands.add_parser(name, help=summary, description=description)
        part.set_defaults(run=run)
        for names, settings in options:
            part.add_argument(*names, **settings)
    return whole


if __name__ == "__main__":
    sys.exit(main())
