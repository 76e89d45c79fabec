"""The command ``squbed``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import squbed_utils
from squbed_utils import commands as _commands
from squbed_utils.files import ROOT
from squbed_utils.text import visible

USER_ERROR, DIFFERS, INTERRUPTED = 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on stderr and exit code 2.

    Other exit codes: 0; 3 if ``--strict`` finds a table unlike the reference run's; 130 after
    Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without the letters of a prompt
            stream.reconfigure(errors="backslashreplace")
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("\nsqubed: interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, RuntimeError) as error:
        if options.traceback:
            raise
        print(f"squbed: {visible(' '.join(str(error).split()))}", file=sys.stderr)
        return USER_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="squbed", description="How certain is a text-to-video model? S-QUBED's figures."
    )
    parser.add_argument("--version", action="version", version=squbed_utils.__version__)
    parser.add_argument("--traceback", action="store_true", help="show where an error arose")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_check(commands)
    _add_collect(commands)
    _add_status(commands)
    _add_verify(commands)
    _add_score(commands)
    _add_quantify(commands)
    _add_figures(commands)
    _add_reproduce(commands)
    _add_estimate(commands)
    _add_export(commands)
    _add_train_world(commands)
    return parser


def _add_command(commands: argparse._SubParsersAction, run: object, **text: str) -> object:
    command = commands.add_parser(run.__name__.replace("_", "-"), **text)
    command.set_defaults(run=run)
    return command


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile",
        default="world",
        metavar="NAME",
        help="a profile in data/profiles/, or a .yaml file (default: %(default)s)",
    )


def _add_check(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.check,
        help="say what a profile needs, what is missing, and what its run would cost",
        description="A dry run: look at packages, keys, files, device, memory and disk, and count "
        "videos, GPU-hours and money. Nothing is loaded, fetched or paid.",
    )
    _add_profile(command)


def _add_yes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--yes", action="store_true", help="pay for paid models without being asked"
    )


def _place(text: str) -> Path | str:
    """Return a place as a folder's path, or as it is if it is a URL."""
    return text if "://" in text else Path(text)


def _add_collect(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.collect,
        help="draw latent prompts, generate videos, embed and score them",
        description="Fill the samples archive of a profile. It can be interrupted at any time; "
        "the same command goes on where it stopped, and may run several times at once: each run "
        "makes what no other is making.",
    )
    _add_profile(command)
    command.add_argument(
        "--output",
        type=_place,
        metavar="DIR",
        help="the archive (default: data/samples/NAME), or a URL to keep it at, such as "
        "s3://BUCKET/NAME",
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes with models of their own; any number gives the same result "
        "(default: 1; with ray on GPUs, as many as there is room for)",
    )
    command.add_argument(
        "--executor",
        choices=("local", "ray", "slurm"),
        default="local",
        help="where they run: here, on a cluster of Ray, or as jobs of SLURM (default: "
        "%(default)s)",
    )
    command.add_argument(
        "--address", metavar="HOST:PORT", help="of a running cluster of Ray (default: start one)"
    )
    command.add_argument(
        "--slurm",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="an option of SLURM's jobs, by submitit's name, as in --slurm slurm_partition gpu; "
        "may be repeated",
    )
    command.add_argument(
        "--retry-failed", action="store_true", help="make latent prompts with failed videos again"
    )
    _add_yes(command)


def _add_status(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.status,
        help="say how far a collection is",
        description="Count latent prompts done, running and failed; say how fast it goes, how "
        "long it will take, and how many GPU-hours it took.",
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a samples archive")


def _add_verify(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.verify,
        help="compare every file of an archive with its checksum",
        description="List the files that are missing, damaged or unknown; the exit code is 2 if "
        "there are any.",
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a samples archive")
    command.add_argument(
        "--repair", action="store_true", help="remove what is damaged, and collect it again"
    )
    command.add_argument(
        "--seal",
        action="store_true",
        help="write the checksums that an archive of an earlier version lacks",
    )
    command.add_argument(
        "--profile",
        metavar="NAME",
        help="what repairs: a profile in data/profiles/, or a .yaml file, the same as the "
        "archive's; nothing that an archive itself names is run (default: the one in "
        "data/profiles/ of the archive's name)",
    )
    _add_yes(command)


def _add_score(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.score,
        help="make an archive of videos that already exist, and print their uncertainty",
        description="Embed and score existing videos into a samples archive that every notebook "
        "reads, and print each task's uncertainty. The manifest is a CSV file with the columns "
        "task, prompt, latent, sample, video, reference, and if wanted latent_prompt, category, "
        "vagueness_rank; paths are relative to it. In its place, the folder of an archive has its "
        "videos measured again, as by other encoders. An interrupted run goes on where it stopped.",
    )
    command.add_argument(
        "manifest", type=Path, metavar="MANIFEST", help="a CSV, a row a video; or an archive"
    )
    _add_profile(command)
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the archive that is made"
    )
    command.add_argument(
        "--retry-failed", action="store_true", help="score latent prompts with failed videos again"
    )


def _add_quantify(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.quantify,
        help="say how uncertain the video model is about one prompt",
        description="Draw latent prompts for one prompt, generate videos of each, and print the "
        "uncertainty. A contact sheet is written as PNG and HTML. An interrupted run goes on "
        "where it stopped.",
    )
    command.add_argument("prompt", metavar="PROMPT", help='such as "a cat doing something"')
    _add_profile(command)
    command.add_argument(
        "--n", type=int, metavar="N", help="latent prompts, at least 3 (default: the profile's)"
    )
    command.add_argument(
        "--m", type=int, metavar="M", help="videos of each, at least 2 (default: the profile's)"
    )
    command.add_argument(
        "--retry-failed", action="store_true", help="make latent prompts with failed videos again"
    )
    command.add_argument("--seed", type=int, metavar="SEED", help="default: the profile's")
    _add_yes(command)
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="default: data/samples/quantify/PROMPT-HASH"
    )


def _add_figures(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.figures,
        help="run the notebooks that draw the figures",
        description="Run the notebooks on a finished archive, in order. At the end the tables of "
        "the profile `world` are compared with those of the reference run.",
    )
    _add_profile(command)
    command.add_argument(
        "--samples",
        type=_place,
        metavar="DIR",
        help="the archive (default: data/samples/NAME), or the URL that it is kept at",
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
    command.add_argument(
        "--ranking", type=Path, metavar="CSV", help="task and rank by vagueness, for Figure 3"
    )
    command.add_argument(
        *("-p", "--parameter"),
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of a notebook, its value as in YAML; may be repeated",
    )
    _add_strict(command)


def _add_reproduce(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.reproduce,
        help="compare the tables of a run with those of the reference run",
        description="Say of each table of figures/reference/ whether the run reproduced it, or "
        "what differs and by how much.",
    )
    command.add_argument(
        "--figures",
        type=Path,
        default=Path("figures"),
        metavar="DIR",
        help="where the run's figures are (default: %(default)s)",
    )
    command.add_argument(
        "--reference",
        type=Path,
        default=ROOT / "figures" / "reference",
        metavar="DIR",
        help="the other run (default: figures/reference in the repository)",
    )
    _add_strict(command)


def _add_strict(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--strict",
        action="store_true",
        help="end with exit code 3 if a table is not the reference run's",
    )


def _add_estimate(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.estimate,
        help="print each task's uncertainty",
        description="Print a table of the tasks in an archive: aleatoric, epistemic and total "
        "uncertainty with intervals; higher is less certain.",
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a samples archive")
    command.add_argument(
        "--estimator", metavar="NAME", help="by name (default: the one of the archive's profile)"
    )
    command.add_argument("--csv", action="store_true", help="all columns, as CSV")


def _add_export(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.export,
        help="write an archive as a dataset to publish",
        description="Write a finished archive with a card, metadata and checksums. hf: a folder "
        "that `datasets.load_dataset` and `squbed_utils.load` read. webdataset: tar files to "
        "stream.",
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a samples archive")
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="a new or empty folder"
    )
    command.add_argument(
        "--format",
        default="hf",
        choices=("hf", "webdataset"),
        help="the dataset's layout (default: %(default)s)",
    )
    command.add_argument(
        "--shard-mb",
        type=float,
        default=1000,
        metavar="MB",
        help="webdataset: the size at which the next tar file is begun (default: %(default)s)",
    )


def _add_train_world(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands,
        _commands.train_world,
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
        help="a fiftieth of the steps and clips, into build/world-quick, to see that it runs",
    )


if __name__ == "__main__":
    sys.exit(main())
