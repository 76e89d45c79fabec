"""The command ``squbed``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import squbed_utils

USER_ERROR, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on stderr and exit code 2.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        0; 2 after a user's mistake; 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("\nsqubed: interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, RuntimeError) as error:
        if options.traceback:
            raise
        print(f"squbed: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="squbed", description="How certain is a text-to-video model? S-QUBED's figures."
    )
    parser.add_argument("--version", action="version", version=squbed_utils.__version__)
    parser.add_argument("--traceback", action="store_true", help="show where an error arose")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_collect(commands)
    _add_figures(commands)
    _add_estimate(commands)
    _add_train_world(commands)
    return parser


def _add_command(commands: argparse._SubParsersAction, run: object, **text: str) -> object:
    command = commands.add_parser(run.__name__.strip("_").replace("_", "-"), **text)
    command.set_defaults(run=run)
    return command


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile",
        default="world",
        metavar="NAME",
        help="a profile in data/profiles/, or a .yaml file (default: %(default)s)",
    )


def _add_collect(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _collect,
        help="draw latent prompts, generate videos, embed and score them",
        description="Fill the samples archive of a profile. It can be interrupted at any time; "
        "the same command goes on where it stopped.",
    )
    _add_profile(command)
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="the archive (default: data/samples/NAME)"
    )
    command.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes with models of their own; any number gives the same result "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--retry-failed", action="store_true", help="make latent prompts with failed videos again"
    )
    command.add_argument(
        "--yes", action="store_true", help="pay for a paid video model without being asked"
    )


def _add_figures(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _figures,
        help="run the notebooks that draw the figures",
        description="Run the notebooks on a finished archive, in order.",
    )
    _add_profile(command)
    command.add_argument(
        "--samples", type=Path, metavar="DIR", help="the archive (default: data/samples/NAME)"
    )
    command.add_argument(
        "--output",
        type=Path,
        default=Path("figures"),
        metavar="DIR",
        help="where figures go (default: %(default)s)",
    )
    command.add_argument(
        "--build",
        type=Path,
        default=Path("build/notebooks"),
        metavar="DIR",
        help="where executed notebooks go (default: %(default)s)",
    )
    command.add_argument(
        "--only", action="append", metavar="NOTEBOOK", help="run this one; may be repeated"
    )


def _add_estimate(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _estimate,
        help="print each task's uncertainty",
        description="Print a table of the tasks in an archive: aleatoric, epistemic and total "
        "uncertainty with intervals; higher is less certain.",
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a samples archive")
    command.add_argument(
        "--estimator", metavar="NAME", help="by name (default: the one of the archive's profile)"
    )
    command.add_argument("--csv", action="store_true", help="all columns, as CSV")


def _add_train_world(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _train_world,
        help="train the shapes world's models from nothing",
        description="Train every checkpoint of the shapes world, or go on with what an "
        "interruption left.",
    )
    command.add_argument("--only", metavar="NAME", help="train this model alone")
    command.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps"),
        help="where to train; auto takes CUDA where there is one (default: %(default)s)",
    )
    command.add_argument(
        "--quick",
        action="store_true",
        help="a fiftieth of the steps, into build/world-quick, to see that it runs",
    )


def _collect(options: argparse.Namespace) -> None:
    from squbed_utils.collect import collect
    from squbed_utils.samples import FAILED

    archive = collect(
        options.profile,
        output=options.output,
        workers=options.workers,
        retry_failed=options.retry_failed,
        confirm=lambda question: options.yes or _agreed(question),
    )
    videos, latents = archive.videos(), archive.latents()
    failed, refused = videos[videos.status == FAILED], int(latents.rejected.map(len).sum())
    print(
        f"{archive.folder}: {len(archive.tasks())} tasks, {len(latents)} latent prompts "
        f"({refused} draws refused), {len(videos)} videos ({len(failed)} failed)"
    )
    if len(failed):
        print(f"squbed: the first failure: {failed.error.iloc[0]}", file=sys.stderr)


def _agreed(question: str) -> bool:
    """Ask on a terminal; where there is none, the answer is no."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question}. Go on? [y/N] ").strip().lower() in ("y", "yes")


def _figures(options: argparse.Namespace) -> None:
    from squbed_utils.notebooks import run_all

    run_all(
        options.profile,
        samples=options.samples,
        figures=options.output,
        build=options.build,
        only=options.only,
    )


def _estimate(options: argparse.Namespace) -> None:
    from squbed_utils.samples import open_archive
    from squbed_utils.summary import TERMS, summarize

    archive = open_archive(options.folder)
    table = summarize(archive, estimator=options.estimator or archive.profile["estimator"])
    if options.csv:
        print(table.to_csv(index=False), end="")
        return
    for term in TERMS:
        half = (table[f"{term}_high"] - table[f"{term}_low"]) / 2
        table[term] = [f"{v:.2f} ± {h:.2f}" for v, h in zip(table[term], half, strict=True)]
    columns = ["task", *TERMS, "clip_reference", "failed", "prompt"]
    print(table[columns].to_string(index=False, float_format="{:.3f}".format))


def _train_world(options: argparse.Namespace) -> None:
    from squbed_utils.profiles import ROOT, device_of
    from squbed_utils.world.train import STEPS, train_world

    build, steps = ROOT / "build", STEPS
    folder, work = ROOT / "data" / "world", build / "world"
    if options.quick:
        folder, work = build / "world-quick", build / "world-quick-work"
        steps = {name: max(1, count // 50) for name, count in STEPS.items()}
    train_world(folder, work, only=options.only, steps=steps, device=device_of(options.device))


if __name__ == "__main__":
    sys.exit(main())
