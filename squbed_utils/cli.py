"""The command ``squbed``: each command is a function, with its options above it.

A function's docstring is what ``--help`` says of its command. What a command needs is imported when
it runs, so that help and mistakes cost no time.
"""

import inspect
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import squbed_utils
from squbed_utils.commands.options import (
    COMMANDS,
    FOLDER,
    PROFILE,
    PROMPTS,
    STRICT,
    YES,
    command,
    consent,
    option,
    parse_values,
    place,
    print_summary,
    warnings_as_lines,
)
from squbed_utils.files import ROOT
from squbed_utils.text import visible

USER_ERROR, DIFFERS, INTERRUPTED = 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on stderr and exit code 2.

    Other exit codes: 0; 3 if ``--strict`` finds a table unlike the reference run's; 130 after
    Ctrl-C.
    """
    options = parser().parse_args(arguments)
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


def print_report(figures: Path, reference: Path, *, strict: bool) -> int:
    """Print which tables are the reference run's; return the exit code."""
    from squbed_utils.commands.reproduce import compare

    tables = compare(figures, reference)
    differing = sum(bool(table.difference) for table in tables)
    print(*tables, sep="\n")
    print(f"{len(tables) - differing} of {len(tables)} tables are those of {reference}")
    return DIFFERS if strict and differing else 0


@command("check", PROFILE)
def check_profile(options: Namespace) -> None:
    """Say what a profile needs, what is missing, and what its run would cost.

    A dry run: look at packages, keys, files, device, memory and disk, and count videos, GPU-hours
    and money. Nothing is loaded, fetched or paid.
    """
    from squbed_utils.commands.check import MISSING, check

    findings = check(options.profile)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print(f"{finding.state:8} {finding.what:{width}}  {finding.detail}")
    missing = sum(finding.state == MISSING for finding in findings)
    if missing:
        raise ValueError(
            f"profile {options.profile} cannot run here yet: {missing} missing, marked above"
        )


@command("profiles")
def list_profiles(options: Namespace) -> None:
    """List the profiles that there are, and what each lacks here.

    A line each: name, video model, what is missing on this machine, what the first run fetches.
    """
    from squbed_utils.commands.check import overview

    rows = list(overview())
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for name, model, lacks in rows:
        print(f"{name:{widths[0]}}  {model:{widths[1]}}  {lacks}")


@command(
    "new",
    option("NAME", "of the profile"),
    option(
        "--video-model MODEL",
        "a function, FILE.py:FUNCTION, or a pipeline of diffusers, by its folder or hub id",
        required=True,
    ),
    option("--prompts FILE", "what to ask it (default: no dataset)"),
)
def write_profile(options: Namespace) -> None:
    """Write ./NAME.yaml, a short profile of your own video model.

    All other models are open ones that run here: the profile inherits no dataset, no key and no
    cost.
    """
    from squbed_utils import profiles

    path = profiles.new(options.name, options.video_model, options.prompts)
    print(f"{path}: look at it, then run `squbed check --profile {path}`")


@command(
    "collect",
    PROFILE,
    option("--prompts FILE", "prompts in place of the profile's dataset: " + PROMPTS),
    option(
        "--like ARCHIVE",
        "ask what an archive asked: its tasks, latent prompts and seeds, for `squbed compare`",
    ),
    option(
        "--output DIR",
        "the archive (default: data/samples/NAME, NAME-FILE or NAME-ARCHIVE), or a URL to keep it at, such as "
        "s3://BUCKET/NAME",
        type=place,
    ),
    option(
        "--workers N",
        "processes with models of their own; any number gives the same result "
        "(default: 1; with ray on GPUs, as many as there is room for)",
        type=int,
    ),
    option(
        "--executor",
        "where they run: here, on a cluster of Ray, or as jobs of SLURM (default: %(default)s)",
        choices=("local", "ray", "slurm"),
        default="local",
    ),
    option("--address HOST:PORT", "of a running cluster of Ray (default: start one)"),
    option(
        "--slurm NAME VALUE",
        "an option of SLURM's jobs, by submitit's name, as in --slurm slurm_partition gpu; "
        "may be repeated",
    ),
    option("--retry-failed", "make latent prompts with failed videos again"),
    YES,
)
def collect_samples(options: Namespace) -> None:
    """Draw latent prompts, generate videos, embed and score them.

    Fill the samples archive of a profile. It can be interrupted at any time; the same command goes
    on where it stopped, and may run several times at once: each run makes what no other is making.
    """
    from squbed_utils.archive.layout import FAILED
    from squbed_utils.collection.executors import Executor

    archive = squbed_utils.collect(
        options.profile,
        prompts=options.prompts,
        like=options.like,
        output=options.output,
        workers=options.workers,
        retry_failed=options.retry_failed,
        confirm=consent(options),
        executor=Executor(options.executor, options.address, parse_values(options.slurm)),
    )
    errors, refused = [], 0
    for unit in archive.units:  # one at a time: there may be more than memory holds
        rows = archive.rows(*unit, ["rejected", "status", "error"])
        refused += len(rows[0]["rejected"])
        errors += [row["error"] for row in rows if row["status"] == FAILED]
    print(
        f"{archive.folder}: {len(archive.tasks())} tasks, {len(archive.units)} latent prompts "
        f"({refused} draws refused), {sum(archive.units.values())} videos ({len(errors)} failed)"
    )
    if errors:
        print(f"squbed: the first failure: {errors[0]}", file=sys.stderr)


@command("status", FOLDER)
def print_status(options: Namespace) -> None:
    """Say how far a collection is.

    Count latent prompts done, running and failed; say how fast it goes, how long it will take, and
    how many GPU-hours it took.
    """
    from squbed_utils.collection.status import status

    print(status(options.folder))


@command(
    "verify",
    FOLDER,
    option("--repair", "remove what is damaged, and collect it again"),
    option("--seal", "write the checksums of the tables, which an archive of 0.1.0 lacks"),
    option(
        "--profile NAME",
        "what repairs: a profile in data/profiles/, or a .yaml file, the same as the "
        "archive's; nothing that an archive itself names is run (default: the one in "
        "data/profiles/ of the archive's name)",
    ),
    YES,
)
def verify_archive(options: Namespace) -> None:
    """Compare every file of an archive with its checksum.

    List the files that are missing, damaged or unknown; the exit code is 2 if there are any.
    """
    from squbed_utils.archive.archive import Archive
    from squbed_utils.archive.verify import UNKNOWN, verify
    from squbed_utils.collection.repair import repair, seal

    folder = options.folder
    if options.seal:
        seal(folder)
    problems = verify(folder)
    for problem in problems:
        print(f"{problem.state:8} {problem.path}")
    if options.repair and any(problem.state != UNKNOWN for problem in problems):
        repair(folder, problems, profile=options.profile, confirm=consent(options))
        problems = verify(folder)
    unknown = [problem.path for problem in problems if problem.state == UNKNOWN]
    if len(problems) > len(unknown):
        raise ValueError(
            f"{len(problems)} files of {folder} are missing or damaged; run `squbed verify "
            "--repair` to make them again"
        )
    if unknown:
        raise ValueError(
            f"{folder} holds {unknown[0]}, which is of no latent prompt of it; move it away"
        )
    archive = Archive(folder)
    if archive.sealed:
        print(f"{folder}: every file is as it was written")
        return
    why = "its last run has not ended" if archive.open else "`squbed verify --seal` adds them"
    print(
        f"{folder}: every file that has a checksum is as it was written; the archive is not "
        f"sealed, so its profile and tables have none: {why}"
    )


@command(
    "score",
    option("MANIFEST", "a CSV, a row a video; or a folder of clips; or an archive", type=Path),
    PROFILE,
    option("--output DIR", "the archive (default: data/samples/score/MANIFEST-NAME)", type=Path),
    option("--manifest-only", "write a folder's manifest.csv, to be edited, and score nothing"),
    option("--retry-failed", "score latent prompts with failed videos again"),
)
def score_videos(options: Namespace) -> None:
    """Make an archive of videos that already exist, and print their uncertainty.

    Embed and score existing videos into a samples archive that every notebook reads, and print each
    task's uncertainty. The manifest is a CSV file with the columns task, prompt, latent, sample,
    video, and if wanted reference, latent_prompt, category, vagueness_rank, rating, rating_NAME;
    paths are relative to it. In its place, a folder of clips is read by their names
    (PROMPT-NUMBER.mp4, TASK/SAMPLE.mp4 or TASK/LATENT/SAMPLE.mp4) and a prompts.csv in it, and
    what was understood is shown first; the folder of an archive has its videos measured again, as
    by other encoders. An interrupted run goes on where it stopped.
    """
    from squbed_utils.archive.layout import FAILED
    from squbed_utils.tasks import folder, manifest

    if options.manifest_only:
        written = folder.write_manifest(options.manifest)
        print(folder.understood(manifest.read(written)), written, sep="\n")
        return
    with warnings_as_lines():
        archive = squbed_utils.score(
            options.manifest,
            profile=options.profile,
            output=options.output,
            retry_failed=options.retry_failed,
        )
    videos = archive.videos()
    failed = videos[videos.status == FAILED]
    print(
        f"{archive.folder}: {len(archive.tasks())} tasks, {len(videos)} videos "
        f"({len(failed)} failed)"
    )
    for row in failed.itertuples():
        where = f"task {row.task}, latent {row.latent}, sample {row.sample}"
        print(f"squbed: {where}: {row.error}", file=sys.stderr)
    print_summary(archive, None)


@command(
    "quantify",
    option("PROMPT", 'such as "a cat doing something"'),
    PROFILE,
    option("--n N", "latent prompts, at least 3 (default: the profile's)", type=int),
    option("--m M", "videos of each, at least 2 (default: the profile's)", type=int),
    option("--retry-failed", "make latent prompts with failed videos again"),
    option("--seed SEED", "default: the profile's", type=int),
    YES,
    option("--output DIR", "default: data/samples/quantify/PROMPT-HASH", type=Path),
)
def quantify_prompt(options: Namespace) -> None:
    """Say how uncertain the video model is about one prompt.

    Draw latent prompts for one prompt, generate videos of each, and print the uncertainty. A
    contact sheet is written as PNG and HTML. An interrupted run goes on where it stopped.
    """
    answer = squbed_utils.quantify(
        options.prompt,
        profile=options.profile,
        n=options.n,
        m=options.m,
        seed=options.seed,
        output=options.output,
        retry_failed=options.retry_failed,
        confirm=consent(options),
    )
    print(answer)
    print(*answer.save(), sep="\n")


@command(
    "vagueness",
    option("FILE", PROMPTS),
    PROFILE,
    option("--n N", "latent prompts, at least 3 (default: the profile's)", type=int),
    option("--output DIR", "default: data/samples/vagueness/NAME-FILE", type=Path),
    YES,
)
def rank_by_vagueness(options: Namespace) -> None:
    """Rank prompts by what they leave open, and say what to ask of each.

    Draw latent prompts and print h(Z given l) of each prompt, the vaguest first, with the question
    whose answer would narrow it most. No video is made, and no GPU is needed. Rank 1 is the least
    vague. A table, the latent prompts and a figure are written. An interrupted run goes on where it
    stopped, and a changed file costs only its new prompts.
    """
    from squbed_utils.commands.triage import as_text

    settings = {name: getattr(options, name) for name in ("profile", "n", "output")}
    table = squbed_utils.vagueness(options.file, **settings, confirm=consent(options))
    print(as_text(table))
    print(f"the figure and, in data/, the tables are in {table.attrs['folder']}")


@command(
    "encoders",
    option("ARCHIVES", "archives of the same samples, by other encoders", type=Path, nargs="+"),
    option("--output DIR", "default: %(default)s", type=Path, default=Path("figures")),
)
def compare_encoders(options: Namespace) -> None:
    """Hold what was found to other encoders.

    Take archives of the same prompts and videos, measured by other encoders (`squbed score ARCHIVE
    --profile PROFILE`). Draw and print whether they rank the tasks alike, and every finding of
    notebook 03 under each.
    """
    from squbed_utils import figures
    from squbed_utils.archive.archive import open_archive
    from squbed_utils.settings import named
    from squbed_utils.statistics import encoders, tables

    archives = {}
    for folder in options.archives:
        profile = (archive := open_archive(folder)).profile
        paths = [profile[role]["path"] for role in ("text_encoder", "video_encoder")]
        archives[", ".join(dict.fromkeys(map(named, paths)))] = archive
    table = encoders.compare(archives)
    tables.save_tables(options.output, "encoders", points=table)
    paths = figures.save(figures.figure_encoders(table), "encoders", options.output)
    print(table.to_string(index=False, float_format="{:.2g}".format), *paths, sep="\n")


@command(
    "figures",
    PROFILE,
    option(
        "--samples DIR",
        "the archive (default: data/samples/NAME), or the URL that it is kept at",
        type=place,
    ),
    option(
        "--output DIR",
        "where figures go (default: %(default)s)",
        type=Path,
        default=Path("figures"),
    ),
    option(
        "--build DIR",
        "where executed notebooks go (default: %(default)s)",
        type=Path,
        default=Path("build/notebooks"),
    ),
    option("--only NOTEBOOK", "run this one; may be repeated", action="append"),
    option("--ranking CSV", "task and rank by vagueness, for Figure 3", type=Path),
    option(
        "-p --parameter NAME VALUE",
        "a parameter of a notebook, its value as in YAML; may be repeated",
    ),
    STRICT,
)
def draw_figures(options: Namespace) -> int:
    """Run the notebooks that draw the figures.

    Run the notebooks on a finished archive, in order. At the end the tables of the profile `world`
    are compared with those of the reference run.
    """
    from squbed_utils.archive import remote
    from squbed_utils.commands.notebooks import run_all
    from squbed_utils.commands.reproduce import PROFILE, REFERENCE

    changed = options.samples or options.only or options.ranking or options.parameter
    compared = options.profile == PROFILE and not changed
    compared &= options.output.resolve() != REFERENCE
    if options.strict and not compared:
        raise ValueError(
            f"--strict compares whole runs of the profile {PROFILE}; leave out --samples, --only, "
            "--ranking and --parameter, or --strict"
        )
    samples = remote.fetch(options.samples) if remote.is_url(options.samples) else options.samples
    parameters = dict(options.parameter)
    if options.ranking:
        ranking = options.ranking.expanduser().absolute()
        if not ranking.is_file():
            raise FileNotFoundError(f"no ranking {ranking}; expected a CSV of task, rank")
        parameters["ranking"] = str(ranking)
    run_all(
        options.profile,
        samples=samples,
        figures=options.output,
        build=options.build,
        only=options.only,
        parameters=parameters,
    )
    return print_report(options.output, REFERENCE, strict=options.strict) if compared else 0


@command(
    "reproduce",
    option(
        "--figures DIR",
        "where the run's figures are (default: %(default)s)",
        type=Path,
        default=Path("figures"),
    ),
    option(
        "--reference DIR",
        "the other run (default: figures/reference in the repository)",
        type=Path,
        default=ROOT / "figures" / "reference",
    ),
    STRICT,
)
def compare_tables(options: Namespace) -> int:
    """Compare the tables of a run with those of the reference run.

    Say of each table of figures/reference/ whether the run reproduced it, or what differs and by
    how much.
    """
    return print_report(options.figures, options.reference, strict=options.strict)


@command(
    "estimate",
    FOLDER,
    option("--estimator NAME", "by name (default: the one of the archive's profile)"),
    option("--csv", "all columns, as CSV"),
)
def print_estimates(options: Namespace) -> None:
    """Print each task's uncertainty.

    Print a table of the tasks in an archive: aleatoric, epistemic and total uncertainty with
    intervals; higher is less certain.
    """
    print_summary(squbed_utils.open_archive(options.folder), options.estimator, csv=options.csv)


@command(
    "explore",
    FOLDER,
    option("ARCHIVE_B", "another archive on the same tasks, shown beside it", type=Path, nargs="?"),
    option(
        "--output PATH",
        "NAME.html, one page with previews of some videos, or a folder with those of all "
        "(default: %(default)s)",
        type=Path,
        default=Path("explorer.html"),
    ),
)
def explore_archive(options: Namespace) -> None:
    """Write an archive, or two on the same tasks, as a page to explore in a browser.

    Two linked scatters, a table and each task's playing videos, in a page that needs no server and
    no network.
    """
    archives = [squbed_utils.open_archive(f) for f in (options.folder, options.archive_b) if f]
    path = squbed_utils.explore(*archives).save(options.output)
    file = path / "index.html" if path.is_dir() else path
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB; open it in a browser")


@command(
    "export",
    FOLDER,
    option("--output DIR", "a new or empty folder", type=Path, required=True),
    option(
        "--format",
        "the dataset's layout (default: %(default)s)",
        default="hf",
        choices=("hf", "webdataset"),
    ),
    option(
        "--shard-mb MB",
        "webdataset: the size at which the next tar file is begun (default: %(default)s)",
        type=float,
        default=1000,
    ),
)
def export_dataset(options: Namespace) -> None:
    """Write an archive as a dataset to publish.

    Write a finished archive with a card, metadata and checksums. hf: a folder that
    `datasets.load_dataset` and `squbed_utils.load` read. webdataset: tar files to stream.
    """
    from squbed_utils.commands.publish import export

    folder = export(
        options.folder, options.output, format=options.format, shard_mb=options.shard_mb
    )
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    size = sum(sizes) / 1e6
    print(f"{folder}: {len(sizes):,} files, {size:,.1f} MB; set the licence in README.md")


@command(
    "train-world",
    option("--only NAME", "train this model alone"),
    option(
        "--device",
        "where to train; auto takes CUDA where there is one (default: %(default)s)",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps"),
    ),
    option(
        "--quick", "a fiftieth of the steps and clips, into build/world-quick, to see that it runs"
    ),
)
def train_world_models(options: Namespace) -> None:
    """Train the shapes world's models from nothing.

    Train every checkpoint of the shapes world, or go on with what an interruption left.
    """
    from squbed_utils.models.checkpoints import device_of

    if not (ROOT / "training").is_dir():
        raise FileNotFoundError(
            "the training of the world is not installed with the package; run `squbed train-world` "
            "in a clone of the repository"
        )
    sys.path.insert(0, str(ROOT))
    from training.train import train_world

    folder, work, share = ROOT / "data" / "world", ROOT / "build" / "world", 1
    if options.quick:
        folder, work = ROOT / "build" / "world-quick", ROOT / "build" / "world-quick-work"
        share = 1 / 50
    device = device_of(options.device)
    train_world(folder, work, only=options.only, share=share, device=device)


if __name__ == "__main__":
    sys.exit(main())
