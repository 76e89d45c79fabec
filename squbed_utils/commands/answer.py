"""The uncertainty of a video model about one prompt, with a contact sheet."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from squbed_utils import figures, files, profiles
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import FAILED, OK, QUANTIFIED, ROLES
from squbed_utils.collection.collect import Consent, fill, held, is_new
from squbed_utils.commands.pages import LONGEST_SIDE, TEMPLATES, as_address, preview
from squbed_utils.estimators.estimate import CAPPED, ESTIMATORS
from squbed_utils.files import readable_name
from squbed_utils.models import checkpoints
from squbed_utils.profiles import Profile
from squbed_utils.statistics import tables
from squbed_utils.statistics.cautions import cautions
from squbed_utils.statistics.reliability import expected_accuracy
from squbed_utils.statistics.resampling import FEWEST_TASKS
from squbed_utils.statistics.summary import ABSENT, latent_entropies, summarize, value_text
from squbed_utils.tasks import prompts
from squbed_utils.tasks.task import Task
from squbed_utils.text import number, one_line, visible
from squbed_utils.video import scan

MEANINGS = {
    "aleatoric": "what the prompt leaves open",
    "epistemic": "what the model does not know",
    "total": "their sum",
}


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """The uncertainty of a video model about one prompt; it shows itself in a notebook.

    Attributes
    ----------
    archive : Archive
        Of one task without a reference.
    summary : Series
        A row of ``summary.summarize``.
    peers : DataFrame or None
        The tasks of the profile's own archive, if it is finished and made alike.
    """

    archive: Archive
    summary: pd.Series
    peers: pd.DataFrame | None = None

    @property
    def prompt(self) -> str:
        """The prompt that was asked."""
        return self.summary.prompt

    def terms(self) -> pd.DataFrame:
        """Return a row each for aleatoric, epistemic and total uncertainty.

        Columns term, value, low, high, unit, meaning (with the share of the `peers` that are more
        certain), text, and remark: why a value was not measured or has no interval.
        """
        s, unit = self.summary, ESTIMATORS[self.archive.profile["estimator"]].unit
        texts = [value_text(s, term).removesuffix(f" ± {ABSENT}") for term in MEANINGS]
        return pd.DataFrame(
            {
                "term": list(MEANINGS),
                "value": [s[term] for term in MEANINGS],
                "low": [s[f"{term}_low"] for term in MEANINGS],
                "high": [s[f"{term}_high"] for term in MEANINGS],
                "unit": unit,
                "meaning": [meaning + self._place(term) for term, meaning in MEANINGS.items()],
                "text": [f"{text} {unit}".replace("-", "−") for text in texts],
                "remark": [s[f"{term}_remark"] for term in MEANINGS],
            }
        )

    def _place(self, term: str) -> str:
        """Say how many of the peers are more certain; nothing of a value set by the cap."""
        if self.peers is None or self.summary[f"{term}_remark"].endswith(CAPPED):
            return ""
        share = (self.peers[term] < self.summary[term]).mean()
        return f"; less certain than {share:.0%} of {len(self.peers)} tasks"

    def expected(self) -> str:
        """Say what accuracy to expect at this total, by the map of notebook 06; or nothing."""
        if self.peers is None or self.summary.total_remark.endswith(CAPPED):
            return ""
        name = tables.default_accuracy(self.peers)
        tasks = self.peers.dropna(subset=["total", name])
        if len(tasks) < FEWEST_TASKS:
            return ""
        fit = expected_accuracy(tasks.total, tasks[name], at=[self.summary.total])
        label = tables.y_label(name, tables.forms(self.archive))
        return f"the accuracy to expect at such a total is {label} {number(fit[0], '.2f')}"

    def latents(self) -> pd.DataFrame:
        """Return a row a latent prompt: latent, prompt, paths (of the videos that did not fail).

        And entropy, that of its videos, if they are enough, and said: that in words, and repeats.
        """
        videos, unit = self.archive.videos(), ESTIMATORS[self.archive.profile["estimator"]].unit
        paths = videos[videos.status == OK].groupby("latent").path.agg(list)
        table = self.archive.latents()[["task", "latent", "prompt"]]
        found = latent_entropies(self.archive)
        entropies = pd.Series(
            [found.get((z.task, z.latent)) for z in table.itertuples()], dtype=float
        )
        first = table.groupby("prompt").latent.transform("min")
        said = entropies.map(
            lambda value: f"{number(value, '.1f')}\u00a0{unit}", na_action="ignore"
        )
        repeats = (", repeats z" + (first + 1).astype(str)).where(first < table.latent, "")
        said = (said.fillna("") + repeats).str.removeprefix(", ")
        paths = [paths.get(latent, []) for latent in table.latent]
        return table.assign(paths=paths, entropy=entropies, said=said)

    def note(self) -> str:
        """Say what the numbers mean, and how many videos they are of."""
        videos = self.archive.videos()
        failed = int((videos.status == FAILED).sum())
        remarks = self.terms().query("remark != ''").groupby("remark", sort=False).term
        said = [f"{remark} ({', '.join(terms)})" for remark, terms in remarks]
        return (
            "Higher = less certain; ± is a 95 % interval over latent prompts. "
            f"{len(self.latents())} latent prompts, {len(videos)} videos ({failed} failed), "
            f"profile {self.archive.profile['name']}."
            + "".join(
                f" {one[0].upper()}{one[1:]}."
                for one in [*filter(None, [self.expected()]), *said, *cautions(self.archive)]
            )
        )

    def figure(self) -> Figure:
        """Draw the contact sheet: a line a latent prompt, with the middle frame of each video."""
        latents = self.latents()
        videos = [[self.archive.read_video(path) for path in paths] for paths in latents.paths]
        middles = [[frames[len(frames) // 2] for frames in row] for row in videos]
        words = (latents.prompt + " (" + latents.said + ")").where(
            latents.said != "", latents.prompt
        )
        latents = latents.assign(frames=middles, prompt=words)
        return figures.figure_answer(self.prompt, self.terms(), latents, note=self.note())

    def save(self) -> list[Path]:
        """Write ``contact_sheet.png`` and ``.html`` into the archive's folder; return their paths.

        A file that cannot be written is a line on stderr.
        """
        paths = []
        for kind in ("png", "html"):
            path = self.archive.folder / f"contact_sheet.{kind}"
            try:
                if kind == "png":
                    figures.save(self.figure(), path.stem, path.parent, kinds=("png",))
                else:
                    files.write_text(path, page(self).encode(errors="replace").decode())
            except Exception as error:  # noqa: BLE001 - whatever a library fails with
                reason = one_line(f"{type(error).__name__}: {error}")
                print(f"squbed: {path} was not written: {reason[:300]}", file=sys.stderr)
            else:
                paths.append(path)
        return paths

    def _repr_html_(self) -> str:
        return page(self, whole=False)

    def __repr__(self) -> str:
        lines = [f"“{self.prompt}”"]
        lines += [f"  {t.term:9}  {t.text}  ({t.meaning})" for t in self.terms().itertuples()]
        lines += [self.note()]
        lines += [f"  z{z.latent + 1}  {z.prompt}  {z.said}" for z in self.latents().itertuples()]
        return visible("\n".join(lines))


def quantify(
    prompt: str,
    *,
    profile: str | Path | Profile = "world",
    n: int | None = None,
    m: int | None = None,
    seed: int | None = None,
    output: Path | str | None = None,
    retry_failed: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> Answer:
    """Draw latent prompts for one prompt, generate videos of each, and estimate the uncertainty.

    Parameters
    ----------
    prompt : str
    profile : str, path or Profile
        A name in ``data/profiles/``, a ``.yaml`` file, or a loaded profile.
    n, m, seed : int, optional
        Latent prompts (at least 3), videos of each (at least 2), and the run's seed; by default the
        profile's.
    output : path, optional
        The archive's folder, by default ``data/samples/quantify/<prompt>-<hash>``; an interrupted
        call goes on there.
    retry_failed : bool
        Whether latent prompts with failed videos are made again.
    confirm : callable, optional
        Asked before a paid model is used, as in ``collect.collect``.

    Raises
    ------
    FileNotFoundError
        If the profile or a model is missing.
    ValueError
        If the prompt is empty, or cannot be said in the profile's world; if n, m or seed is too
        small; if the folder holds something else; or if too many videos fail.
    """
    profile = profiles.load(profile)
    prompt = prompts.checked(prompt)
    prompts.require_sayable([prompt], profile)
    profile = profiles.changed(profile, n=n, m=m, seed=seed)
    task = Task(readable_name(prompt, prompt), QUANTIFIED, "", prompt, reference=None)
    archive = Archive(output or _default_folder(prompt, profile))
    roles = [role for role in ROLES if role != "lpips"]  # which needs a reference
    resolved = checkpoints.resolve(profile, roles)
    with held(archive):
        if is_new(archive, resolved):
            archive.write_tasks([task], None)
            archive.write_profile(resolved)
        asked = list(archive.tasks().prompt)
        if asked != [prompt]:
            raise ValueError(
                f"{archive.folder} answers for {asked[0]!r}; choose another --output, or delete it"
            )
        fill(archive, profile, [task], retry_failed=retry_failed, consent=Consent(confirm))
    archive = open_archive(archive.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the answer itself says what they do
        summary = summarize(archive, estimator=profile.estimator).iloc[0]
        return Answer(archive, summary, _peers(archive, profile))


NOT_MEASURED = ("dataset", "lpips", "captioner", "seed", "name", "batch_size", "device")
"""Entries of a profile on which no uncertainty hangs."""


def _peers(archive: Archive, profile: Profile) -> pd.DataFrame | None:
    """Return the tasks of the profile's archive, if it is finished and made as the answer is."""
    try:
        others = open_archive(files.SAMPLES / profile.name)
    except (FileNotFoundError, ValueError):
        return None
    made = [
        _measured(one.profile) | {"checkpoints": _measured(one.profile["checkpoints"])}
        for one in (others, archive)
    ]
    if profiles.differences(*made):
        return None
    tasks, term = tables.with_main_term(tables.summarize_run(others, estimator=profile.estimator))
    return tasks if term == "total" else None


def _measured(settings: dict) -> dict:
    return {key: value for key, value in settings.items() if key not in NOT_MEASURED}


def _default_folder(prompt: str, profile: Profile) -> Path:
    settings = "\0".join(map(str, (prompt, profile.name, profile.n, profile.m, profile.seed)))
    return files.SAMPLES / "quantify" / readable_name(prompt, settings)


def page(answer: Answer, *, whole: bool = True) -> str:
    """Return an answer as an HTML page or, if not `whole`, as what a notebook shows of it."""
    latents, inside = answer.latents(), answer.archive.inside

    def preview_of(path: str) -> dict:
        video = scan(inside(path))
        small = video.frames.shape[2] < LONGEST_SIDE
        return {"address": as_address(preview(video)), "small": small}

    latents = latents.assign(previews=[list(map(preview_of, paths)) for paths in latents.paths])
    return TEMPLATES.get_template("answer.html").render(answer=answer, latents=latents, whole=whole)
