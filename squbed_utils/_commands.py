"""What each command of ``squbed`` does; what it needs is imported when it runs."""

import sys
from argparse import Namespace


def check(options: Namespace) -> None:
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
    from squbed_utils._executors import Executor
    from squbed_utils.collect import collect
    from squbed_utils.layout import FAILED

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
    from squbed_utils.status import status

    print(status(options.folder))


def verify(options: Namespace) -> None:
    from squbed_utils.verify import repair, verify

    problems = verify(options.folder)
    for problem in problems:
        print(f"{problem.state:8} {problem.path}")
    if problems and options.repair:
        repair(
            options.folder,
            problems,
            confirm=lambda question: options.yes or _agreed(question),
        )
        problems = verify(options.folder)
    if problems:
        raise ValueError(
            f"{len(problems)} files of {options.folder} are missing or damaged; run `squbed verify "
            "--repair` to make them again"
        )
    print(f"{options.folder}: every file is as it was written")


def _from_yaml(pairs: list[tuple[str, str]]) -> dict[str, object]:
    """Read the values that were given beside names."""
    import yaml

    try:
        return {name: yaml.safe_load(value) for name, value in pairs}
    except yaml.YAMLError as error:
        raise ValueError(f"a value of {[*dict(pairs)]} is no YAML: {error}") from error


def _agreed(question: str) -> bool:
    """Ask on a terminal; where there is none, the answer is no."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question}. Go on? [y/N] ").strip().lower() in ("y", "yes")


def score(options: Namespace) -> None:
    from squbed_utils.layout import FAILED
    from squbed_utils.score import score

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
    from squbed_utils.quantify import quantify

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


def figures(options: Namespace) -> None:
    from squbed_utils import home
    from squbed_utils.notebooks import parse, run_all

    samples = options.samples
    if home.is_url(samples):
        samples = home.fetch(samples)
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


def estimate(options: Namespace) -> None:
    from squbed_utils.samples import open_archive

    archive = open_archive(options.folder)
    _print_summary(archive, options.estimator or archive.profile["estimator"], csv=options.csv)


def _print_summary(archive: object, estimator: str, *, csv: bool = False) -> None:
    """Print a row a task; who is left out, and why, is one line on stderr."""
    import warnings

    from squbed_utils._tables import for_spreadsheets
    from squbed_utils.summary import as_text, summarize

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        table = summarize(archive, estimator=estimator)
    for warning in caught:
        print(f"squbed: {warning.message}", file=sys.stderr)
    if csv:
        table = for_spreadsheets(table)
    print(table.to_csv(index=False) if csv else as_text(table) + "\n", end="")


def export(options: Namespace) -> None:
    from squbed_utils.export import export

    folder = export(
        options.folder, options.output, format=options.format, shard_mb=options.shard_mb
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{folder}: {len(files):,} files, {size / 1e6:,.1f} MB; set the licence in README.md")


def train_world(options: Namespace) -> None:
    from squbed_utils.profiles import ROOT, device_of
    from squbed_utils.world.train import CLIPS, STEPS, train_world

    build, steps = ROOT / "build", STEPS
    folder, work, clips = ROOT / "data" / "world", build / "world", CLIPS
    if options.quick:
        folder, work = build / "world-quick", build / "world-quick-work"
        steps = {name: max(1, count // 50) for name, count in STEPS.items()}
        clips = CLIPS // 50
    device = device_of(options.device)
    train_world(folder, work, only=options.only, steps=steps, clips=clips, device=device)
