"""The commands that make archives and profiles; each is a function, with its options above it.

A function's docstring is what ``--help`` says of its command. What a command needs is imported when
it runs, so that help and mistakes cost no time.
"""

import sys
from argparse import Namespace

import squbed_utils
from squbed_utils.commands import options as common
from squbed_utils.commands.options import chosen, command, consent, option
from squbed_utils.files import ROOT, SAMPLES

SHARE = 0.2


@command("check", common.PROFILE, common.LIST)
def check_profile(options: Namespace) -> None:
    """Say what a profile needs, what is missing, and what its run would cost.

    A dry run: look at packages, keys, files, device, memory and disk, and count videos, GPU-hours
    and money. Nothing is loaded, fetched or paid.
    """
    from squbed_utils.commands.check import MISSING, check
    from squbed_utils.profiles import load
    from squbed_utils.tasks.prompts import instead

    profile = load(options.profile)
    findings = check(instead(profile, options.prompts) if options.prompts else profile)
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
    option("--packages", "other models come with packages (`make real`), none from the hub"),
)
def write_profile(options: Namespace) -> None:
    """Write ./NAME.yaml, a short profile of your own video model.

    All other models are open ones that run here: the profile inherits no dataset, no key and no
    cost.
    """
    from squbed_utils import profiles

    settings = chosen(options, "prompts", "packages")
    path = profiles.new(options.name, options.video_model, **settings)
    print(f"{path}: look at it, then run `squbed check --profile {path}`")


@command(
    "plan",
    common.PROFILE,
    option(
        "--pilot ARCHIVE",
        "what tells the noise: an archive of the profile's video model (default: the profile's "
        "own; until it is finished data/samples/world, which then says no widths)",
    ),
    option("--tasks N", "of the run (default: as few as each design needs)"),
    option("--power P", "how often tau is to be found other than zero", default=0.8),
    option("--width NATS", "the most that the median interval of a total may span"),
    common.ACCURACY,
)
def plan_design(options: Namespace) -> None:
    """Say how many latent prompts and videos a run needs, before it is paid for.

    From a pilot archive, how much of each number is noise of latent prompts and of videos; from
    that, of every design, the width of a task's intervals, tau with accuracy and its power, and
    what it costs. The designs of fewest videos that reach what is asked come first.
    """
    from squbed_utils import profiles
    from squbed_utils.archive import layout
    from squbed_utils.models import checkpoints, spending
    from squbed_utils.statistics import cost
    from squbed_utils.statistics.summary import TERMS

    profile = profiles.load(options.profile)
    try:
        archive = squbed_utils.open_archive(options.pilot or SAMPLES / profile.name)
    except (FileNotFoundError, ValueError) as error:
        if options.pilot:
            raise
        archive = squbed_utils.open_archive(SAMPLES / "world")
        common.say(f"{error}; until then the pilot is {archive.folder}")
    models = archive.video_model, checkpoints.video_model_here(profile)
    if options.pilot or options.width:
        layout.require_one_video_model(*models, f"the pilot {archive.folder}")
    known = cost.pilot(archive, accuracy=options.accuracy or "")
    table = cost.plan(known, tasks=options.tasks, wanted=options.power, width=options.width)
    n, _, m = known.design
    print(
        f"pilot {archive.folder}: {len(known.tasks)} tasks of {n} latent prompts x {m} videos; "
        f"{known.share:.0%} of the noise in epistemic uncertainty is of videos of one latent prompt"
    )
    if table.empty:
        raise ValueError("no design reaches that; ask for less --power or more --width or --tasks")
    table = table.drop_duplicates(["videos_of", "m"]).head(10)
    table = table.rename(columns={term: f"{term} width" for term in TERMS})
    if layout.differences_of_models(*models):
        print("the pilot is of another video model: it says no widths, and tau only roughly")
        table = table.drop(columns=[f"{term} width" for term in TERMS])
    if seconds := profile.estimates.seconds:
        table = table.assign(gpu_hours=table.videos * seconds / 3600)
    if spending.cost(profile.video_model, 1):
        table["dollars"] = [spending.cost(profile.video_model, v) for v in table.videos]
    print(table.to_string(index=False, float_format="{:.3g}".format))


@command(
    "collect",
    common.PROFILE,
    common.LIST,
    common.LIKE,
    option("--twin", "ask the cheaper twin that the profile names of its video model"),
    option(
        "--confirm ARCHIVE",
        "make again what a twin's archive leaves in doubt: as --like, but only the --share of the "
        "tasks nearest by rank to the threshold above which --refer of them lie",
    ),
    option("--share S", f"of the tasks to confirm (default: {SHARE})"),
    option("--refer S", f"of them above the threshold (default: {SHARE})"),
    common.BY,
    option(
        "--output DIR",
        "the archive (default: data/samples/NAME, NAME-FILE or NAME-ARCHIVE, and with --confirm "
        "NAME-confirmed of NAME-twin, NAME-ARCHIVE-confirmed of another), or a URL to keep it at, "
        "such as s3://BUCKET/NAME",
        type=common.place,
    ),
    option(
        "--workers N",
        "processes with models of their own; any number gives the same result "
        "(default: 1; with ray on GPUs, as many as there is room for)",
    ),
    option(
        "--executor local|ray|slurm",
        "where they run: here, on a cluster of Ray, or as jobs of SLURM",
        default="local",
    ),
    option("--address HOST:PORT", "of a running cluster of Ray (default: start one)"),
    option(
        "--slurm NAME VALUE...",
        "an option of SLURM's jobs, by submitit's name, as in --slurm slurm_partition gpu",
    ),
    common.RETRY,
    common.YES,
)
def collect_samples(options: Namespace) -> None:
    """Draw latent prompts, generate videos, embed and score them.

    Fill the samples archive of a profile. It can be interrupted at any time; the same command goes
    on where it stopped, and may run several times at once: each run makes what no other is making.

    To spend less, --twin asks a cheaper twin of the video model, into NAME-twin, and --confirm
    data/samples/NAME-twin asks the video model itself, into NAME-confirmed, of those tasks alone
    that its twin leaves in doubt; `squbed estimate --confirmed` then ranks all tasks.
    """
    from squbed_utils import profiles
    from squbed_utils.collection.executors import Executor

    common.refuse_without("confirm", options, "share", "refer", "by")
    if options.confirm and (options.like or options.prompts or options.twin):
        raise ValueError("--confirm says what to ask of which model; leave out the others")
    profile = options.profile
    if options.twin:
        profile = profiles.twin_of(whole := profiles.load(profile))
        if profile.video_model == whole.video_model:
            raise ValueError(f"profile {whole.name}: twin changes nothing of the model; correct it")
    asked = in_doubt(options) if options.confirm else {"like": options.like}
    archive = squbed_utils.collect(
        profile,
        **asked,
        **chosen(options, "prompts", "output", "workers", "retry_failed"),
        confirm=consent(options),
        executor=Executor(options.executor, options.address, common.parse_values(options.slurm)),
    )
    common.print_made(archive)


def in_doubt(options: Namespace) -> dict[str, object]:
    """Return which tasks of a twin's archive the video model is to confirm, as `collect` takes."""
    from squbed_utils import profiles
    from squbed_utils.archive import layout
    from squbed_utils.models import checkpoints
    from squbed_utils.statistics import decision

    share, refer = (SHARE if x is None else x for x in (options.share, options.refer))
    if not (0 < share <= 1 and 0 < refer < 1):  # which nan is not
        said = f"--share is {share:g}, --refer {refer:g}"
        raise ValueError(f"{said}; expected numbers above 0, --share up to 1, --refer below 1")
    profile, archive = profiles.load(options.profile), squbed_utils.open_archive(options.confirm)
    models = archive.video_model, checkpoints.video_model_here(profile)
    if archive.video_model and not layout.differences_of_models(*models):
        raise ValueError(
            f"{options.confirm} was made by the video model of profile {profile.name} itself; give "
            "an archive of its twin (`squbed collect --twin`)"
        )
    by = options.by or "epistemic"
    tasks = decision.in_doubt(common.uncertainty_of(archive, by), refer=refer, share=share)
    return {"like": options.confirm, "tasks": tasks, "by": by}


@command("status", common.FOLDER)
def print_status(options: Namespace) -> None:
    """Say how far a collection is.

    Count latent prompts done, running and failed; say how fast it goes, how long it will take, and
    how many GPU-hours it took.
    """
    from squbed_utils.collection.status import status

    print(status(options.folder))


@command(
    "verify",
    common.FOLDER,
    option("--repair", "remove what is damaged, and collect it again"),
    option("--seal", "write the checksums of the tables, which an archive of 0.1.0 lacks"),
    option(
        "--profile NAME",
        "what repairs: a profile in data/profiles/, or a .yaml file, the same as the "
        "archive's; nothing that an archive itself names is run (default: the one in "
        "data/profiles/ of the archive's name)",
    ),
    common.LIST,
    common.LIKE,
    common.YES,
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
        given = chosen(options, "profile", "prompts", "like")
        repair(folder, problems, **given, confirm=consent(options))
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
    option("MANIFEST", "a CSV, a row a video; or a folder of clips; or an archive"),
    common.PROFILE,
    option("--output DIR", "the archive (default: data/samples/score/MANIFEST-NAME)"),
    option("--manifest-only", "write a folder's manifest.csv, to be edited, and score nothing"),
    common.RETRY,
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
    from squbed_utils.tasks import folder, manifest

    if options.manifest_only:
        written = folder.write_manifest(options.manifest)
        print(folder.understood(manifest.read(written)), written, sep="\n")
        return
    settings = chosen(options, "profile", "output", "retry_failed")
    archive = squbed_utils.score(options.manifest, **settings)
    common.print_made(archive)
    common.print_summary(archive, None)


@command(
    "quantify",
    option("PROMPT", 'such as "a cat doing something"'),
    common.PROFILE,
    common.N,
    option("--m M", "videos of each, at least 2 (default: the profile's)"),
    common.RETRY,
    option("--seed SEED", "default: the profile's"),
    common.YES,
    option("--output DIR", "default: data/samples/quantify/PROMPT-HASH"),
)
def quantify_prompt(options: Namespace) -> None:
    """Say how uncertain the video model is about one prompt.

    Draw latent prompts for one prompt, generate videos of each, and print the uncertainty. A
    contact sheet is written as PNG and HTML. An interrupted run goes on where it stopped.
    """
    settings = chosen(options, "prompt", "profile", "n", "m", "seed", "output", "retry_failed")
    answer = squbed_utils.quantify(**settings, confirm=consent(options))
    print(answer)
    print(*answer.save(), sep="\n")


@command(
    "vagueness",
    option("FILE", common.PROMPTS),
    common.PROFILE,
    common.N,
    option("--output DIR", "default: data/samples/vagueness/NAME-FILE"),
    option("--retry-failed", "ask the prompts again of which a latent prompt had no accepted draw"),
    common.YES,
)
def rank_by_vagueness(options: Namespace) -> None:
    """Rank prompts by what they leave open, and say what to ask of each.

    Draw latent prompts and print h(Z given l) of each prompt, the vaguest first, with the question
    whose answer would narrow it most. No video is made, and no GPU is needed. Rank 1 is the least
    vague. A table, the latent prompts and a figure are written. An interrupted run goes on where it
    stopped, and a changed file costs only its new prompts.
    """
    from squbed_utils.commands.triage import as_text

    settings = chosen(options, "profile", "n", "output", "retry_failed")
    table = squbed_utils.vagueness(options.file, **settings, confirm=consent(options))
    print(as_text(table))
    print(f"the figure and, in data/, the tables are in {table.attrs['folder']}")


@command(
    "train-world",
    option("--only NAME", "train this model alone"),
    option(
        "--device auto|cpu|cuda|mps",
        "where to train; auto takes CUDA where there is one",
        default="auto",
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
