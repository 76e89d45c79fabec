"""What each command of ``squbed`` does; each imports what it needs when it runs."""

import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check(options: Namespace) -> None:
    """Print what a profile needs, what is missing and what its run would cost."""
    from squbed_utils.check import MISSING, check

    findings = check(options.profile)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print(f"{finding.state:8} {finding.what:{width}}  {finding.detail}")
    missing = sum(finding.state == MISSING for finding in findings)
    if missing:
        raise ValueError(
            f"profile {options.profile} cannot run here yet: {missing} missing, marked above"
        )


def collect(options: Namespace) -> None:
    """Fill an archive, and print how many tasks, latent prompts and videos it has."""
    from squbed_utils.archive.layout import FAILED
    from squbed_utils.collection.collect import collect
    from squbed_utils.collection.executors import Executor

    slurm = _from_yaml(options.slurm)
    archive = collect(
        options.profile,
        output=options.output,
        workers=options.workers,
        retry_failed=options.retry_failed,
        confirm=lambda question: options.yes or _agreed(question),
        executor=Executor(options.executor, options.address, slurm),
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


def status(options: Namespace) -> None:
    """Print how far a collection has come."""
    from squbed_utils.collection.status import status

    print(status(options.folder))


def verify(options: Namespace) -> None:
    """Print each file that differs from its checksum; with --repair, make it again."""
    from squbed_utils.archive.archive import Archive
    from squbed_utils.archive.verify import UNKNOWN, verify
    from squbed_utils.collection.repair import repair, seal

    if options.seal:
        seal(options.folder)
    problems = verify(options.folder)
    for problem in problems:
        print(f"{problem.state:8} {problem.path}")
    if options.repair and any(problem.state != UNKNOWN for problem in problems):
        repair(
            options.folder,
            problems,
            profile=options.profile,
            confirm=lambda question: options.yes or _agreed(question),
        )
        problems = verify(options.folder)
    unknown = [problem.path for problem in problems if problem.state == UNKNOWN]
    if len(problems) > len(unknown):
        raise ValueError(
            f"{len(problems)} files of {options.folder} are missing or damaged; run `squbed verify "
            "--repair` to make them again"
        )
    if unknown:
        raise ValueError(
            f"{options.folder} holds {unknown[0]}, which is of no latent prompt of it; move it away"
        )
    archive = Archive(options.folder)
    if archive.sealed:
        print(f"{options.folder}: every file is as it was written")
        return
    why = "its last run has not ended" if archive.open else "`squbed verify --seal` adds them"
    print(
        f"{options.folder}: every file that has a checksum is as it was written; the archive is "
        f"not sealed, so its profile and tables have none: {why}"
    )


def _from_yaml(pairs: list[tuple[str, str]]) -> dict[str, object]:
    """Read the values of NAME VALUE options as YAML."""
    from squbed_utils import plain_yaml

    return {name: plain_yaml.parse(value, f"the value of {name}") for name, value in pairs}


def _agreed(question: str) -> bool:
    """Ask the user on a terminal; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question}. Go on? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print each warning as one line on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: print(f"squbed: {message}", file=sys.stderr)
        yield


def score(options: Namespace) -> None:
    """Make an archive from existing videos, and print its summary."""
    from squbed_utils.archive.layout import FAILED
    from squbed_utils.collection.existing import score

    with _warnings_as_lines():
        archive = score(
            options.manifest,
            profile=options.profile,
            output=options.output,
            retry_failed=options.retry_failed,
        )
    videos = archive.videos()
    failed = videos[videos.status == FAILED]
    print(f"{archive.folder}: {len(archive.tasks())} tasks, {len(videos)} videos", end=" ")
    print(f"({len(failed)} failed)")
    for row in failed.itertuples():
        place = f"task {row.task}, latent {row.latent}, sample {row.sample}"
        print(f"squbed: {place}: {row.error}", file=sys.stderr)
    _print_summary(archive, archive.profile["estimator"])


def quantify(options: Namespace) -> None:
    """Print the uncertainty about one prompt."""
    from squbed_utils.answer import quantify

    answer = quantify(
        options.prompt,
        profile=options.profile,
        n=options.n,
        m=options.m,
        seed=options.seed,
        output=options.output,
        retry_failed=options.retry_failed,
        confirm=lambda question: options.yes or _agreed(question),
    )
    print(answer)
    for path in answer.save():
        print(path)


def figures(options: Namespace) -> int:
    """Run the notebooks."""
    from squbed_utils.archive import remote
    from squbed_utils.notebooks import parse, run_all
    from squbed_utils.reproduce import PROFILE, REFERENCE

    changed = options.samples or options.only or options.ranking or options.parameter
    compared = options.profile == PROFILE and not changed
    compared &= options.output.resolve() != REFERENCE
    if options.strict and not compared:
        raise ValueError(
            f"--strict compares whole runs of the profile {PROFILE}; leave out --samples, --only, "
            "--ranking and --parameter, or --strict"
        )
    samples = options.samples
    if remote.is_url(samples):
        samples = remote.fetch(samples)
    parameters = parse(options.parameter)
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
    return _reproduced(options.output, REFERENCE, strict=options.strict) if compared else 0


def reproduce(options: Namespace) -> int:
    """Compare tables with those of the reference run."""
    return _reproduced(options.figures, options.reference, strict=options.strict)


def _reproduced(figures: Path, reference: Path, *, strict: bool) -> int:
    """Print the report; return the exit code."""
    from squbed_utils.cli import DIFFERS
    from squbed_utils.reproduce import compare

    tables = compare(figures, reference)
    differing = [table for table in tables if table.difference]
    for table in tables:
        print(table)
    print(f"{len(tables) - len(differing)} of {len(tables)} tables are those of {reference}")
    return DIFFERS if strict and differing else 0


def estimate(options: Namespace) -> None:
    """Print each task's uncertainty."""
    from squbed_utils.archive.archive import open_archive

    archive = open_archive(options.folder)
    _print_summary(archive, options.estimator or archive.profile["estimator"], csv=options.csv)


def _print_summary(archive: object, estimator: str, *, csv: bool = False) -> None:
    """Print a row a task; a line on stderr says which tasks are left out, and why."""
    from squbed_utils.csv_files import for_spreadsheets
    from squbed_utils.statistics.summary import as_text, summarize

    with _warnings_as_lines():
        table = summarize(archive, estimator=estimator)
    if csv:
        table = for_spreadsheets(table)
    print(table.to_csv(index=False) if csv else as_text(table) + "\n", end="")


def export(options: Namespace) -> None:
    """Write an archive as a dataset."""
    from squbed_utils.publish import export

    folder = export(
        options.folder, options.output, format=options.format, shard_mb=options.shard_mb
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{folder}: {len(files):,} files, {size / 1e6:,.1f} MB; set the licence in README.md")


def train_world(options: Namespace) -> None:
    """Train the shapes world's models."""
    from squbed_utils.files import ROOT
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
