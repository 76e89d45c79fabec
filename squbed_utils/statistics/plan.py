"""The plan before a run: what a design of latent prompts and videos is worth, from a pilot.

A nested analysis of variance. With n latent prompts, of which k get m videos each, a task's terms
vary as

    var(aleatoric) ~ n^(-2 p),    var(epistemic) ~ (1 - s + s (m0 - 1) / (m - 1)) / k,

s the share that is of videos within a latent prompt, in a pilot of m0 videos: h is a logarithm of a
spread, so that its variance falls as that of a mean of m - 1 squares. p is 1/2 for what varies as a
mean does, and more where latent prompts are few distinct ones. Both are found on subsets of the
pilot. What varies between tasks beyond that is what they truly differ by; the rest is noise, which
draws tau towards zero.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import gammaln
from scipy.stats import norm
from scipy.stats import t as student_t

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import HIGHER_IS_BETTER
from squbed_utils.estimators.estimate import LEAST_DISTINCT, estimate
from squbed_utils.files import seed_of
from squbed_utils.statistics import tables
from squbed_utils.statistics.calibration import kendall
from squbed_utils.statistics.summary import TERMS, Embeddings, measured_embeddings

SIZES = (4, 5, 6, 8, 10, 15, 20)
"""Latent prompts, and from 2 on videos of each, among which a design is sought."""

LEAST_TASKS, MOST_TASKS = 10, 100_000

COLUMNS = ("n", "videos_of", "m", "tasks", "videos", *TERMS, "tau", "power")

ORDERS = (0.5, 1.5)
"""Bounds of p: that of a mean, and somewhat above that of a U-statistic without linear term, 1."""

DRAWS = 3
"""Subsets of a task of the pilot, of each size."""


class Design(NamedTuple):
    """n latent prompts a task, of which `videos_of` get m videos each."""

    n: int
    videos_of: int
    m: int

    @property
    def videos(self) -> int:
        """Videos of a task."""
        return self.videos_of * self.m


class Pilot(NamedTuple):
    """What a pilot archive tells of the noise in an uncertainty and in an accuracy.

    Attributes
    ----------
    tasks : DataFrame
        task; total (nats); aleatoric, epistemic and total_error, standard errors of the terms
        (nats); accuracy (higher = better), accuracy_between and accuracy_within (its variances over
        latent prompts and over videos of one).
    design : Design
    order, share : float
        p and s of the module's equation.
    """

    tasks: pd.DataFrame
    design: Design
    order: float
    share: float


def pilot(archive: Archive, *, accuracy: str = "") -> Pilot:
    """Measure the noise of an archive's tasks.

    Parameters
    ----------
    archive : Archive
        Of at least five latent prompts a task and three videos of each. Tasks with failed videos,
        identical samples, or too few distinct latent prompts for an interval are left out.
    accuracy : str
        As notebook 03; empty: as `tables.default_accuracy`.

    Raises
    ------
    ValueError
        If fewer than `LEAST_TASKS` tasks are left.
    """
    summary = tables.summarize_run(archive, estimator="squbed")
    accuracy = accuracy or tables.default_accuracy(summary)
    sign = 1 if HIGHER_IS_BETTER.get(accuracy, True) else -1
    scores = archive.videos().dropna(subset=accuracy).groupby(["task", "latent"])[accuracy]
    scores, within = sign * scores.mean().unstack(), scores.var().unstack()
    n, m = (int(summary[size].max()) for size in ("n", "m"))
    design, fewer, thinner = Design(n, n, m), max(LEAST_DISTINCT, round(2 * n / 3)), max(2, m // 2)
    rows, subsets = [], []
    for task, (text, videos) in measured_embeddings(archive).items():
        if text is None or len(videos) < max(n, 5) or min(map(len, videos)) < max(m, 3):
            continue
        errors = _errors((text, videos))
        if np.isnan(errors).any() or task not in scores.index:
            continue
        row = dict(zip(("aleatoric", "epistemic", "total_error"), errors, strict=True))
        mean, noise = scores.loc[task], within.loc[task].mean()
        row |= {"task": task, "accuracy": mean.mean(), "accuracy_within": noise}
        rows.append(row | {"accuracy_between": max(mean.var() - noise / m, 0)})
        drawn = [_subset((text, videos), fewer, thinner, (task, i)) for i in range(DRAWS)]
        subsets.append(np.mean(drawn, axis=0))
    if len(rows) < LEAST_TASKS:
        raise ValueError(
            f"{len(rows)} tasks of {archive.folder} have five latent prompts, three videos of each "
            f"and an interval; a plan needs a pilot of {LEAST_TASKS}"
        )
    table = pd.DataFrame(rows).merge(summary[["task", "total"]], on="task")
    return Pilot(table, design, *_growth(table, np.array(subsets).T, design, fewer, thinner))


def _growth(
    tasks: pd.DataFrame, subsets: np.ndarray, design: Design, fewer: int, thinner: int
) -> tuple[float, float]:
    """Return p and s, from subsets' errors (2, T): the aleatoric one, and the epistemic one."""
    of_text, of_videos = subsets
    whole = np.isfinite(of_text)
    growth = of_text[whole].mean() / tasks.aleatoric[whole].mean()
    order = np.log(growth) / np.log(design.n / fewer)
    growth = (of_videos.mean() / tasks.epistemic.mean()) ** 2
    share = (growth - 1) / ((design.m - 1) / (thinner - 1) - 1)
    return float(np.clip(order, *ORDERS)), float(np.clip(share, 0, 1))


def _errors(embeddings: Embeddings) -> np.ndarray:
    """Return the standard errors of a task's terms (3,), NaN for one without an interval."""
    result = estimate(*embeddings)
    intervals = [getattr(result, f"{term}_interval") or (np.nan, np.nan) for term in TERMS]
    return np.ptp(intervals, axis=1) / 2 / student_t.ppf(0.975, result.n - 1)


def _subset(
    embeddings: Embeddings, fewer: int, thinner: int, name: tuple[str, int]
) -> tuple[float, float]:
    """Return the aleatoric error from fewer latent prompts, and the epistemic from fewer videos."""
    (text, videos), rng = embeddings, np.random.default_rng(seed_of("pilot", *name))
    kept = rng.permutation(len(text))[:fewer]
    thin = [x[rng.permutation(len(x))[:thinner]] for x in videos]
    fewer = _errors((text[kept], [videos[i] for i in kept]))
    return fewer[0], _errors((text, thin))[1]


def errors(known: Pilot, design: Design) -> pd.DataFrame:
    """Return the standard errors that a design's tasks are to have, by term, in nats.

    That of a total holds the covariance of its parts as the pilot's does.
    """
    of, (n, _, m) = known.tasks, known.design
    aleatoric = of.aleatoric * (n / design.n) ** known.order
    thinner = 1 - known.share + known.share * (m - 1) / (design.m - 1)
    # A mean of standard errors falls short of their root mean square, the more the fewer they are.
    short = _shortfall(design.videos_of) / _shortfall(n)
    epistemic = of.epistemic * np.sqrt(n / design.videos_of * thinner) * short
    joint = of.total_error / np.hypot(of.aleatoric, of.epistemic)
    total = joint * np.hypot(aleatoric, epistemic)
    return pd.DataFrame({"aleatoric": aleatoric, "epistemic": epistemic, "total": total})


def _shortfall(n: int) -> float:
    """Return the mean of a standard deviation of n normal numbers, over the true one."""
    return float(np.sqrt(2 / (n - 1)) * np.exp(gammaln(n / 2) - gammaln((n - 1) / 2)))


def widths(known: Pilot, design: Design, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the widths of each task's intervals that a design is to have, by term, in nats."""
    sizes = np.array([design.n, design.videos_of, design.videos_of])
    return 2 * student_t.ppf((1 + confidence) / 2, sizes - 1) * errors(known, design)


def expected_tau(known: Pilot, design: Design) -> float:
    """Return the tau of the total with accuracy that a design is to have.

    The correlation r = sin(pi tau / 2) of the pilot's ranks is taken free of the noise in both
    (Spearman 1904), and given that of the design.
    """
    of = known.tasks
    r = np.sin(np.pi / 2 * kendall(of.total, of.accuracy).tau)
    for values, noise in ((of.total, _noise), (of.accuracy, _noise_of_accuracy)):
        there, here = noise(known, known.design), noise(known, design)
        true = max(values.var() - there, 0.01 * values.var())
        r *= np.sqrt((true + there) / (true + here))
    return float(2 / np.pi * np.arcsin(np.clip(r, -0.999, 0.999)))


def _noise(known: Pilot, design: Design) -> float:
    return np.square(errors(known, design).total).mean()


def _noise_of_accuracy(known: Pilot, design: Design) -> float:
    of = known.tasks
    return ((of.accuracy_between + of.accuracy_within / design.m) / design.videos_of).mean()


def power(tau: float, tasks: int, *, alpha: float = 0.05) -> float:
    """Return how often tau is found other than zero, of normal ranks (Esscher 1924).

    >>> round(power(0.0, 50), 3), round(power(-0.5, 50), 2)
    (0.05, 1.0)
    """
    r, pairs = np.sin(np.pi / 2 * tau), tasks * (tasks - 1)
    null = np.sqrt(2 * (2 * tasks + 5) / (9 * pairs))
    half = 2 / np.pi * np.arcsin(r / 2)
    spread = np.sqrt(2 / pairs * (1 - tau**2 + 2 * (tasks - 2) * (1 / 9 - half**2)))
    bar = norm.isf(alpha / 2) * null
    return float(norm.sf((bar - abs(tau)) / spread) + norm.cdf((-bar - abs(tau)) / spread))


def tasks_for(tau: float, wanted: float, *, alpha: float = 0.05) -> int | None:
    """Return the fewest tasks of that power; None if `MOST_TASKS` are too few."""
    low, high = LEAST_TASKS, MOST_TASKS
    if power(tau, high, alpha=alpha) < wanted:
        return None
    while low < high:
        middle = (low + high) // 2
        enough = power(tau, middle, alpha=alpha) >= wanted
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


def plan(
    known: Pilot,
    *,
    tasks: int | None = None,
    wanted: float = 0.8,
    width: float | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return the designs that reach what is asked, the one of fewest videos first.

    Parameters
    ----------
    known : Pilot
    tasks : int, optional
        Tasks of the run; by default as few as each design needs.
    wanted : float
        Power of tau of the total with accuracy, at 5 %.
    width : float, optional
        The most that the interval of a task's total may span on average, in nats.
    confidence : float
        Of the intervals.

    Returns
    -------
    DataFrame
        n, videos_of, m, tasks, videos (of all tasks), aleatoric, epistemic, total (mean widths of
        a task's intervals, nats), tau (expected) and power; without rows if no design does.
    """
    rows = []
    for n in SIZES:
        for design in (Design(n, k, m) for k in SIZES if k <= n for m in (2, *SIZES)):
            tau = expected_tau(known, design)
            number = tasks or tasks_for(tau, wanted)
            if number is None:
                continue
            row = design._asdict() | {"tasks": number, "videos": number * design.videos}
            row |= widths(known, design, confidence=confidence).mean().to_dict()
            rows.append(row | {"tau": tau, "power": power(tau, number)})
    table = pd.DataFrame(rows, columns=COLUMNS)
    enough = table.power >= wanted
    if width is not None:
        enough &= table.total <= width
    return table[enough].sort_values(["videos", "n"], ignore_index=True)
