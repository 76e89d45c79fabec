"""The commands that show what an archive says; each is a function, with its options above.

A function's docstring is what ``--help`` says of its command. What a command needs is imported when
it runs, so that help and mistakes cost no time.
"""

import shlex
from argparse import Namespace
from pathlib import Path

import squbed_utils
from squbed_utils.commands import options as common
from squbed_utils.commands.options import chosen, command, option
from squbed_utils.files import as_bytes, write_text


@command(
    "encoders",
    option("ARCHIVES", "archives of the same samples, by other encoders", nargs="+"),
    common.FIGURES,
)
def compare_encoders(options: Namespace) -> None:
    """Hold what was found to other encoders.

    Take archives of the same prompts and videos, measured by other encoders (`squbed score ARCHIVE
    --profile PROFILE`). Draw and print whether they rank the tasks alike, and every finding of
    notebook 03 under each.
    """
    from squbed_utils import figures
    from squbed_utils.settings import named
    from squbed_utils.statistics import pairs, tables

    archives = {}
    for archive in map(squbed_utils.open_archive, options.archives):
        profile = archive.profile
        names = [named(profile[role]["path"]) for role in ("text_encoder", "video_encoder")]
        if profile["video_encoder"].get("kind") == "vae":
            names[1] = "latent space"
        name = ", ".join(dict.fromkeys(names))
        archives[f"{name} ({archive.folder.name})" if name in archives else name] = archive
    table = pairs.compare_encoders(archives)
    tables.save_tables(options.output, "encoders", points=table)
    paths = figures.save(figures.figure_encoders(table), "encoders", options.output)
    print(table.to_string(index=False, float_format="{:.2g}".format), *paths, sep="\n")


@command(
    "compare",
    option("ARCHIVE", "of the first video model"),
    option("ARCHIVE_B", "of the second, made by `squbed collect --like ARCHIVE`"),
    option("--estimator NAME", "by name", default="squbed"),
    common.ACCURACY,
    common.FIGURES,
)
def compare_models(options: Namespace) -> None:
    """Compare two video models on the same tasks and latent prompts.

    For checkpoints, LoRAs, step counts, quantised and distilled twins: paired changes of
    uncertainty and accuracy with intervals, each model's calibration, and whether the second is
    more certain where it is less accurate. Draw, save and print them.
    """
    from squbed_utils import figures
    from squbed_utils.statistics import pairs, tables

    first, second = map(squbed_utils.open_archive, (options.archive, options.archive_b))
    settings = {"estimator": options.estimator, "accuracy": options.accuracy or ""}
    tasks = pairs.paired_tasks(first, second, **settings)
    table = pairs.compare(tasks, accuracy=tasks.attrs["accuracy"])
    tables.save_tables(options.output, "compare", points=table, tasks=tasks)
    names = (first.folder.name, second.folder.name)
    paths = figures.save(figures.figure_pairs(tasks, table, names), "compare", options.output)
    print("{} tasks; first: {}, second: {}".format(len(tasks), *names))
    print(table.to_string(index=False, float_format="{:.3g}".format, na_rep="-"), *paths, sep="\n")
    both = shlex.join([str(options.archive), str(options.archive_b)])
    print(f"`squbed explore {both}` shows the tasks side by side")


@command(
    "figures",
    common.PROFILE,
    option(
        "--samples DIR",
        "the archive (default: data/samples/NAME), or the URL that it is kept at",
        type=common.place,
    ),
    common.FIGURES,
    option("--build DIR", "where executed notebooks go", default=Path("build/notebooks")),
    option("--only NOTEBOOK...", "run this one"),
    option("--ranking CSV", "task and rank by vagueness, for Figure 3"),
    option("-p --parameter NAME VALUE...", "a parameter of a notebook"),
    common.STRICT,
)
def draw_figures(options: Namespace) -> int:
    """Run the notebooks that draw the figures.

    Run the notebooks on a finished archive, in order. At the end the tables of the profile `world`
    are compared with those of the reference run.
    """
    from squbed_utils.archive import remote
    from squbed_utils.archive.archive import Archive
    from squbed_utils.commands.notebooks import run_all
    from squbed_utils.commands.reproduce import PROFILE, REFERENCE, report

    changed = options.samples or options.only or options.ranking or options.parameter
    compared = options.profile == PROFILE and not changed
    compared &= options.output.resolve() != REFERENCE
    if options.strict and not compared:
        raise ValueError(
            f"--strict compares whole runs of the profile {PROFILE}; leave out --samples, --only, "
            "--ranking and --parameter, or --strict"
        )
    samples = remote.fetch(options.samples) if remote.is_url(options.samples) else options.samples
    if samples:
        Archive(samples).require()
    parameters = dict(options.parameter)
    if options.ranking:
        ranking = options.ranking.expanduser().absolute()
        if not ranking.is_file():
            raise FileNotFoundError(f"no ranking {ranking}; expected a CSV of task, rank")
        parameters["ranking"] = str(ranking)
    own = chosen(options, "profile", "build", "only")
    written = run_all(**own, samples=samples, figures=options.output, parameters=parameters)
    if compared:
        return report(options.output, REFERENCE, strict=options.strict)
    print(f"{len(written)} figures and tables are in {options.output}")
    return 0


@command(
    "reproduce",
    option("--figures DIR", "where the run's figures are", default=Path("figures")),
    option("--reference DIR", "the other run (default: figures/reference in the repository)"),
    common.STRICT,
)
def compare_tables(options: Namespace) -> int:
    """Compare the tables of a run with those of the reference run.

    Say of each table of figures/reference/ whether the run reproduced it, or what differs and by
    how much.
    """
    from squbed_utils.commands.reproduce import REFERENCE, report

    return report(options.figures, options.reference or REFERENCE, strict=options.strict)


@command(
    "estimate",
    common.FOLDER,
    option("--estimator NAME", "by name (default: the one of the archive's profile)"),
    option("--csv", "all columns, as CSV"),
    option(
        "--confirmed ARCHIVE",
        "what `squbed collect --confirm` made again: rank all tasks, these among themselves",
    ),
    common.BY,
)
def print_estimates(options: Namespace) -> None:
    """Print each task's uncertainty.

    Print a table of the tasks in an archive: aleatoric, epistemic and total uncertainty with
    intervals; higher is less certain. With --confirmed, the ranks of the tasks alone, since two
    models' levels do not compare, the most uncertain first.
    """
    common.refuse_without("confirmed", options, "by")
    archive = squbed_utils.open_archive(options.folder)
    if not options.confirmed:
        common.print_summary(archive, options.estimator, csv=options.csv)
        return
    from squbed_utils.csv_files import for_spreadsheets
    from squbed_utils.statistics import decision

    confirmed, asked = squbed_utils.open_archive(options.confirmed), ["task", "prompt"]
    if len(archive.tasks().merge(confirmed.tasks(), on=asked)) < len(confirmed.tasks()):
        raise ValueError(f"{options.confirmed} has tasks or prompts that {options.folder} lacks")
    by = (confirmed.profile.get("dataset") or {}).get("by") or options.by or "epistemic"
    if options.by not in (None, by):
        raise ValueError(f"the tasks of {options.confirmed} were chosen by {by}; leave out --by")
    archives = (archive, confirmed)
    ranked, again = (common.uncertainty_of(a, by, options.estimator) for a in archives)
    ranks = decision.merged_ranks(ranked, again).rename("rank").reset_index()
    table = ranks.assign(confirmed=ranks.task.isin(again.index)).merge(archive.tasks(), "left")
    table = table[["rank", "task", "confirmed", "prompt"]].sort_values("rank", ascending=False)
    plain = table.to_string(index=False) + "\n"
    print(for_spreadsheets(table).to_csv(index=False) if options.csv else plain, end="")


@command(
    "explore",
    common.FOLDER,
    option("ARCHIVE_B", "another archive on the same tasks, shown beside it", nargs="?"),
    option(
        "--output PATH",
        "NAME.html, one page with previews of some videos, or a folder with those of all",
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
    print(f"{file}: {as_bytes(file.stat().st_size)}; open it in a browser")


@command(
    "rate",
    common.FOLDER,
    option(
        "--question vagueness|accuracy|accuracy_prompt|preference|preference_prompt",
        "what to ask: ranks of prompts by vagueness; of videos grades of accuracy, 1 to 5, or the "
        "better of two (preference), beside their references or, with _prompt, their prompts",
    ),
    option(
        "--tasks N",
        "how many to ask about, at least 3 (default: 24, and 10 to rank, those of Figure 3 if the "
        "truth is known)",
    ),
    option("--videos N", "of each task (default: 1)"),
    option("--output FILE", "the page (default: rate-QUESTION.html)"),
    option("--add CSV...", "add the answers that a page saved to the archive"),
)
def ask_people(options: Namespace) -> None:
    """Ask people about an archive's prompts and videos, and say how far they agree.

    With --question, write a page that needs no server and no network: it shows prompts, or videos
    in random order and blind to every score, goes on where a person stopped, and saves a CSV of
    answers. With --add, put such files into the archive's ratings.csv, from which accuracies
    rating_QUESTION come, and which `squbed figures --ranking` takes. Without either, print
    agreement: Kendall's W of ranks, Krippendorff's alpha of grades, Bradley-Terry of pairs.
    """
    from squbed_utils.commands import rate

    common.refuse_without("question", options, "tasks", "videos", "output")
    archive = squbed_utils.open_archive(options.folder)
    if options.question:
        path = options.output or f"rate-{options.question}.html"
        text = rate.page(archive, options.question, **chosen(options, "tasks", "videos"))
        write_text(path, text)
        print(f"{path}: {as_bytes(len(text))}; open it in a browser, or send it to people")
    if options.add:
        rate.add(archive, options.add)
    if options.add or not options.question:
        print(rate.report(archive))


@command(
    "export",
    common.FOLDER,
    option("--output DIR", "a new or empty folder", required=True),
    option("--format hf|webdataset", "the dataset's layout", default="hf"),
    option(
        "--shard-mb MB", "webdataset: the size at which the next tar file is begun", default=1000
    ),
)
def export_dataset(options: Namespace) -> None:
    """Write an archive as a dataset to publish.

    Write a finished archive with a card, metadata and checksums. hf: a folder that
    `datasets.load_dataset` and `squbed_utils.load` read. webdataset: tar files to stream.
    """
    from squbed_utils.commands.publish import export

    folder = export(**chosen(options, "folder", "output", "format", "shard_mb"))
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    size = as_bytes(sum(sizes))
    print(f"{folder}: {len(sizes):,} files, {size}; set the licence in README.md")
