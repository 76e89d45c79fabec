"""What each video buys: designs of fewer videos, drawn from an archive, beside the whole of it.

A design (k, v) has v videos of each of k latent prompts of a task. Latent prompts cost no video, so
the aleatoric part always comes from all n of them. Designs are drawn several times, nested: the
same order of latent prompts and videos serves them all.

Before a run, a plan: a nested analysis of variance of a pilot. With n latent prompts, of which k
get m videos each, a task's terms vary as

    var(aleatoric) ~ n^(-2 p),    var(epistemic) ~ (1 - s + s (m0 - 1) / (m - 1)) / k,

s the share that is of videos within a latent prompt, in a pilot of m0 videos: h is a logarithm of a
spread, so that its variance falls as that of a mean of m - 1 squares. p is 1/2 for what varies as a
mean does, and more where latent prompts are few distinct ones. Both are found on subsets of the
pilot. What varies between tasks beyond that is what they truly differ by; the rest is noise, which
draws tau towards zero.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import gammaln
from scipy.stats import norm
from scipy.stats import t as student_t

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import HIGHER_IS_BETTER
from squbed_utils.estimators import vmf
from squbed_utils.estimators.checks import check_task
from squbed_utils.estimators.estimate import ESTIMATORS, LEAST_DISTINCT, estimate
from squbed_utils.files import seed_of
from squbed_utils.statistics import calibration, pooled, resampling, tables
from squbed_utils.statistics.audit_samples import fresh_and_ceiling
from squbed_utils.statistics.summary import TERMS, Embeddings, equal_counts, measured_embeddings
from squbed_utils.statistics.tables import NotShown
from squbed_utils.statistics.truth import subjects_of

SIZES = (2, 3, 4, 6, 10, 20)
"""Latent prompts of a design, besides all; videos of each are one of these, 1, half or all."""

MARGIN, ALPHA = 0.03, 0.05
"""Tau, or area, that an equivalent design may lose or gain, and the level of the test."""

DRAWS, N_RESAMPLES = 10, 1000

POOLED = "squbed_pooled"
"""S-QUBED's epistemic part as `pooled.pool` gives it; compared with S-QUBED's own."""

BASES = {POOLED: "squbed"}

TAU, AUROC = "tau with accuracy", "AUROC for coverage"
AGREEMENT = "tau with a fresh archive"
"""What is measured: calibration, never-seen against common subjects, and the order of tasks."""


@dataclass(frozen=True)
class Samples:
    """All that an archive holds of tasks with as many latent prompts and videos: unit embeddings.

    `text` is float (T, n, d_t), `videos` float (T, n, m, d_v).
    """

    tasks: list[str]
    text: np.ndarray
    videos: np.ndarray

    def drawn(self, rng: np.random.Generator) -> "Samples":
        """Return the same samples, with each task's latent prompts and their videos shuffled."""
        z = rng.permuted(
            np.broadcast_to(np.arange(self.text.shape[1]), self.text.shape[:2]), axis=1
        )
        shape = self.videos.shape[:3]
        v = rng.permuted(np.broadcast_to(np.arange(shape[2]), shape), axis=2)[..., None]
        videos = np.take_along_axis(self.videos, z[..., None, None], 1)
        text = np.take_along_axis(self.text, z[..., None], 1)
        return Samples(self.tasks, text, np.take_along_axis(videos, v, 2))


def samples_of(archive: Archive) -> Samples:
    """Return the samples of the tasks that can be ranked, at the counts of the poorest.

    NotShown where latent prompts are not known, or there is nothing to leave out.
    """
    pairs = {task: check_task(*pair)[:2] for task, pair in measured_embeddings(archive).items()}
    pairs = {task: pair for task, pair in pairs.items() if pair[0] is not None}
    if len(pairs) < resampling.FEWEST_TASKS:
        raise NotShown(
            f"{len(pairs)} tasks have known latent prompts and can be ranked; the cost of a design "
            f"is measured over {resampling.FEWEST_TASKS} or more"
        )
    if any(len(x) < 2 for _, videos in pairs.values() for x in videos):
        raise NotShown("some latent prompts have no two videos; designs are drawn from all of them")
    cut = equal_counts((True, [len(x) for x in videos]) for _, videos in pairs.values())
    pairs = {task: cut(*pair) for task, pair in pairs.items()}
    videos = np.stack([np.stack(list(of)) for _, of in pairs.values()])
    return Samples(list(pairs), np.stack([text for text, _ in pairs.values()]), videos)


def designs(n: int, m: int) -> list[tuple[int, int]]:
    """Return the designs (k, v) drawn from n latent prompts with m videos each; the last is whole.

    Halves of the videos are among them, which `curve` holds against each other.

    >>> designs(3, 2)
    [(2, 1), (2, 2), (3, 1), (3, 2)]
    """
    latents = sorted({k for k in (*SIZES, n) if 2 <= k <= n})
    each = sorted({v for v in (1, *SIZES, m // 2, m) if 1 <= v <= m})
    return [(k, v) for k in latents for v in each]


def scores(
    samples: Samples, k: int, v: int, prior: pooled.Prior | None = None
) -> dict[tuple[str, str], np.ndarray]:
    """Return each task's uncertainty (T,) from its first k latent prompts' first v videos.

    By component and estimator: as `energy_split`, `squbed` and `entropy_power` of `estimators`, and
    with a `prior` pooled; one video of a latent prompt gives the energy split's total alone.
    """
    means = samples.videos[:, :k, :v].mean(axis=2)
    between = np.square(means.sum(axis=1)).sum(axis=1) - np.square(means).sum(axis=(1, 2))
    found = {("total", "energy_split"): 1 - between / (k * (k - 1))}
    if v < 2:
        return found
    d_text, d_video = samples.text.shape[-1], samples.videos.shape[-1]
    aleatoric = vmf.entropy(d_text, vmf.fit(samples.text).kappa)
    h = entropies(samples, k, v)
    epistemic = h[:, :k].mean(axis=1)
    powers = 2 * aleatoric / (d_text - 1), 2 * epistemic / (d_video - 1)
    found["total", "squbed"] = aleatoric + epistemic
    found["total", "entropy_power"] = np.logaddexp(*powers)
    found["epistemic", "squbed"] = epistemic
    if prior is not None:
        found["epistemic", POOLED] = pooled.pool(*_flat(samples, h, k, v), prior=prior).value
    return found


def entropies(samples: Samples, k: int, v: int) -> np.ndarray:
    """Return h(V given z) of the first k latent prompts, from v videos, and 0 of others (T, n)."""
    h = np.zeros(samples.text.shape[:2])
    h[:, :k] = vmf.entropy(samples.videos.shape[-1], vmf.fit(samples.videos[:, :k, :v]).kappa)
    return h


def _flat(samples: Samples, h: np.ndarray, k: int, v: int) -> tuple[np.ndarray, ...]:
    """Return the arguments of `pooled.pool`, a row a latent prompt."""
    tasks, n, d = samples.text.shape
    m = np.where(np.arange(tasks * n) % n < k, v, 0)
    return samples.text.reshape(-1, d), h.ravel(), m, np.repeat(np.arange(tasks), n)


def curve(samples: Samples, accuracy: pd.Series, truth: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return what designs of fewer videos are worth, beside all videos.

    Parameters
    ----------
    samples : Samples
    accuracy : Series
        By task, of all its videos, higher = better, as `leaderboard.mean_accuracy`.
    truth : DataFrame, optional
        As `Archive.truth`; without it there is no AUROC, and tasks are their own clusters, which
        else are subjects.

    Returns
    -------
    DataFrame
        A row a measure, component, estimator and design: measure ("tau with accuracy", negative =
        calibrated; "AUROC for coverage", of never-seen against common subjects; "tau with a fresh
        archive", of all videos and the same latent prompts), component, estimator, label, latents,
        each (videos of a latent prompt), videos (of a task), value (mean over draws of the design),
        low, high (resampled by cluster, which holds the noise of draws too, as each task has its
        own), draws (standard deviation between them). Of the first two measures: difference (to all
        videos; a pooled estimate's to the plain one's), its _low and _high (the interval of the
        test), pvalue and verdict (of equivalence within `MARGIN`, as `calibration.equivalence`; no
        p-value of all videos themselves). Of the last: half (tau with a disjoint half of the
        videos, from which it follows by Spearman-Brown) and ceiling (tau of two fresh archives).
        n (tasks), k (clusters), confidence. `NotShown` if too few tasks have the accuracy, or all
        have the same.
    """
    tasks = [task for task in samples.tasks if task in accuracy.index]
    kept = np.isin(samples.tasks, tasks)
    samples = Samples(tasks, samples.text[kept], samples.videos[kept])
    y = accuracy[tasks].to_numpy()
    if len(tasks) < resampling.FEWEST_TASKS or y.min() == y.max():
        raise NotShown(f"{len(tasks)} tasks with {accuracy.name} are too few or all alike")
    known = None if truth is None else truth.set_index("task").loc[tasks]
    clusters = None if known is None else subjects_of(known)
    counts = resampling.task_counts(
        len(tasks), N_RESAMPLES, np.random.default_rng(seed_of("cost")), clusters
    )
    # The estimate stands before its resamples, so that one line scores them all.
    counts = np.vstack([np.ones((1, len(tasks)), counts.dtype), counts])
    coverage, ends = () if known is None else known.coverage, {"never", "common"}
    values: dict[tuple, list[np.ndarray]] = defaultdict(list)
    for k, v, half, found in _drawn(samples):
        for (component, estimator), x in found.items():
            key = (component, estimator, k, v)
            values[TAU, *key].append(resampling.weighted_taus(x[None], y, counts)[0])
            if component == "epistemic" and ends <= set(coverage):
                values[AUROC, *key].append(resampling.resampled_areas(x, coverage, counts))
            base = half.get((component, BASES.get(estimator, estimator)))
            if base is not None:
                values[AGREEMENT, *key].append(resampling.weighted_taus(x[None], base, counts)[0])
    sizes = samples.videos.shape[1:3]
    rows = [_row(key, values, sizes, clusters) for key in values]
    k = len(tasks) if clusters is None else np.unique(clusters).size
    table = pd.DataFrame(rows).assign(n=len(tasks), k=k, confidence=calibration.CONFIDENCE)
    ranks = {name: rank for rank, name in enumerate((TAU, AUROC, AGREEMENT, *TERMS[::-1]))}
    columns = ["measure", "component", "estimator", "videos"]
    return table.sort_values(
        columns, key=lambda c: c.map(lambda x: ranks.get(x, x)), ignore_index=True
    )


def _drawn(samples: Samples) -> Iterator[tuple[int, int, dict, dict]]:
    """Yield k, v, the scores of a disjoint half and those of the design, for designs and draws.

    The half is empty where the design has a part in it. The pooled estimate's prior is that of a
    design's first draw.
    """
    n, m = samples.videos.shape[1:3]
    priors: dict[tuple[int, int], pooled.Prior] = {}
    for draw in range(DRAWS):
        drawn = samples.drawn(np.random.default_rng(seed_of("design", draw)))
        others = replace(drawn, videos=drawn.videos[:, :, m - m // 2 :])
        half = scores(others, n, m // 2) if m > 1 else {}
        for k, v in designs(n, m):
            if v > 1 and (k, v) not in priors and len(samples.tasks) * k <= pooled.MOST:
                priors[k, v] = pooled.fit(*_flat(drawn, entropies(drawn, k, v), k, v))
            disjoint = half if v <= m - m // 2 else {}
            yield k, v, disjoint, scores(drawn, k, v, priors.get((k, v)))


def _row(
    key: tuple, values: dict[tuple, list[np.ndarray]], sizes: tuple, clusters: np.ndarray | None
) -> dict[str, object]:
    """Return a design's row of `curve`, from its replicates and those of all videos."""
    measure, component, estimator, k, v = key
    base = BASES.get(estimator, estimator)
    whole = (measure, component, base, *sizes)
    label = ESTIMATORS[base].label + ", pooled" * (estimator == POOLED)
    row = {"measure": measure, "component": component, "estimator": estimator, "label": label}
    row |= {"latents": k, "each": v, "videos": k * v}
    mean = np.mean(values[key], axis=0)
    if measure == AGREEMENT:
        n, m = sizes
        row["half"] = mean[0]
        halves = np.mean(values[measure, component, base, n, m // 2], axis=0)[0]
        mean, row["ceiling"] = fresh_and_ceiling(mean, halves, m / (m // 2))
    spread = resampling.widened(mean[1:], mean[0], clusters)
    ends = np.clip(calibration.bootstrap_interval(spread), 0 if measure == AUROC else -1, 1)
    row["value"], (row["low"], row["high"]) = mean[0], ends
    row["draws"], row["verdict"] = np.std([draw[0] for draw in values[key]]), ""
    if measure != AGREEMENT:
        gap = mean - np.mean(values[whole], axis=0)
        gaps = resampling.widened(gap[1:], gap[0], clusters)
        row["difference"] = gap[0]
        row["difference_low"], row["difference_high"] = calibration.bootstrap_interval(
            gaps, 1 - 2 * ALPHA
        )
        row["pvalue"], row["verdict"] = calibration.equivalence(gaps, MARGIN, alpha=ALPHA)
        if key == whole:  # it is what it is compared with
            row["pvalue"] = np.nan
    return row


def saved(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the design of fewest videos that is equivalent to all videos, of each measure.

    Columns: measure, component, estimator, label, latents, each, videos, of (all videos of a task),
    share (videos over `of`), difference, difference_low, difference_high, pvalue (of this design by
    itself), holm (corrected for all designs among which it was chosen, on the same archive).
    """
    columns = ["measure", "component", "estimator", "label"]
    most, tested = curve.videos.max(), curve.dropna(subset="pvalue").groupby(columns).pvalue
    curve = curve.assign(
        of=most, share=curve.videos / most, holm=tested.transform(calibration.holm)
    )
    shown = curve[curve.verdict == calibration.SHOWN].sort_values(["videos", "pvalue"])
    first = shown.drop_duplicates(columns).sort_values(columns, ignore_index=True)
    columns += ["latents", "each", "videos", "of", "share", "difference"]
    return first[[*columns, "difference_low", "difference_high", "pvalue", "holm"]]


PLANNED = (5, 6, 8, 10, 15, 20)
"""Latent prompts, and from 2 on videos of each, among which a design is sought."""

LEAST_TASKS, MOST_TASKS = 10, 100_000

PLAN_COLUMNS = ("n", "videos_of", "m", "tasks", "videos", *TERMS, "tau", "power")

ORDERS = (0.5, 1.5)
"""Bounds of p: that of a mean, and somewhat above that of a U-statistic without linear term, 1."""

PILOT_DRAWS = 3
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

    `tasks` has task; total (nats); aleatoric, epistemic and total_error, standard errors of the
    terms (nats); accuracy (higher = better), accuracy_between and accuracy_within (its variances
    over latent prompts and over videos of one). `order` and `share` are p and s of the module.
    """

    tasks: pd.DataFrame
    design: Design
    order: float
    share: float


def pilot(archive: Archive, *, accuracy: str = "") -> Pilot:
    """Measure the noise of an archive's tasks, for `plan`; accuracy as in notebook 03.

    The archive has at least five latent prompts a task and three videos of each. Tasks with failed
    videos, identical samples, or too few distinct latent prompts for an interval are left out.
    ValueError if the accuracy is unknown, fewer than `LEAST_TASKS` tasks are left, or none has an
    interval from fewer samples.
    """
    summary = tables.summarize_run(archive, estimator="squbed")
    accuracy = accuracy or tables.default_accuracy(summary)
    tables.better_is_higher(summary, accuracy)  # refuses an unknown one
    sign = 1 if HIGHER_IS_BETTER.get(accuracy, True) else -1
    scores = archive.videos(embeddings=False).dropna(subset=accuracy)
    scores = scores.groupby(["task", "latent"])[accuracy]
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
        drawn = [_subset((text, videos), fewer, thinner, (task, i)) for i in range(PILOT_DRAWS)]
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
    growth = []
    for of, there in zip(subsets, (tasks.aleatoric, tasks.epistemic), strict=True):
        whole = np.isfinite(of)
        if not whole.any():
            raise ValueError(
                f"no task of the pilot has an interval from {fewer} of its latent prompts, or from "
                f"{thinner} videos of each; make a larger one"
            )
        growth.append(of[whole].mean() / there[whole].mean())
    order = np.log(growth[0]) / np.log(design.n / fewer)
    share = (growth[1] ** 2 - 1) / ((design.m - 1) / (thinner - 1) - 1)
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


def widths(known: Pilot, design: Design) -> pd.DataFrame:
    """Return the widths of each task's intervals that a design is to have, by term, in nats."""
    sizes = np.array([design.n, design.videos_of, design.videos_of])
    return 2 * student_t.ppf((1 + calibration.CONFIDENCE) / 2, sizes - 1) * errors(known, design)


def expected_tau(known: Pilot, design: Design) -> float:
    """Return the tau of the total with accuracy that a design is to have.

    The correlation r = sin(pi tau / 2) of the pilot's ranks is taken free of the noise in both
    (Spearman 1904), and given that of the design.
    """
    of, designs = known.tasks, (known.design, design)
    of_total = [np.square(errors(known, d).total).mean() for d in designs]
    of_accuracy = [
        ((of.accuracy_between + of.accuracy_within / d.m) / d.videos_of).mean() for d in designs
    ]
    r = np.sin(np.pi / 2 * calibration.kendall(of.total, of.accuracy).tau)
    for values, (there, here) in ((of.total, of_total), (of.accuracy, of_accuracy)):
        true = max(values.var() - there, 0.01 * values.var())
        r *= np.sqrt((true + there) / (true + here))
    return float(2 / np.pi * np.arcsin(np.clip(r, -0.999, 0.999)))


def power(tau: float, tasks: int) -> float:
    """Return how often tau is found other than zero at 5 %, of normal ranks (Esscher 1924).

    >>> round(power(0.0, 50), 3), round(power(-0.5, 50), 2)
    (0.05, 1.0)
    """
    half = 2 / np.pi * np.arcsin(np.sin(np.pi / 2 * tau) / 2)
    variance = 1 - tau**2 + 2 * (tasks - 2) * (1 / 9 - half**2)
    spread = np.sqrt(2 / (tasks * (tasks - 1)) * variance)
    bar = norm.isf(ALPHA / 2) * calibration.null_spread(tasks)
    return float(norm.sf((bar - abs(tau)) / spread) + norm.cdf((-bar - abs(tau)) / spread))


def tasks_for(tau: float, wanted: float) -> int | None:
    """Return the fewest tasks of that power; None if `MOST_TASKS` are too few."""
    numbers = range(LEAST_TASKS, MOST_TASKS + 1)
    place = bisect_left(numbers, wanted, key=lambda number: power(tau, number))
    return numbers[place] if place < len(numbers) else None


def plan(
    known: Pilot, *, tasks: int | None = None, wanted: float = 0.8, width: float | None = None
) -> pd.DataFrame:
    """Return the designs that reach what is asked, the one of fewest videos first.

    A run has `tasks`, by default as few as each design needs; `wanted` is the power of tau of the
    total with accuracy, at 5 %; `width` the most that the median interval of a task's total may
    span, in nats. Columns: n, videos_of, m, tasks, videos (of all tasks), aleatoric, epistemic,
    total (median widths of a task's intervals, nats), tau (expected) and power; no rows if no
    design does.
    """
    for what, value, fits, range_ in (
        ("tasks", tasks, tasks is None or tasks >= 3, "at least 3"),
        ("power", wanted, 0 < wanted < 1, "more than 0 and less than 1"),
        ("width", width, width is None or width > 0, "more than 0 nats"),
    ):
        if not fits:
            raise ValueError(f"{what} is {value}; expected {range_}")
    rows = []
    for n in PLANNED:
        for design in (Design(n, k, m) for k in PLANNED if k <= n for m in (2, *PLANNED)):
            tau = expected_tau(known, design)
            number = tasks or tasks_for(tau, wanted)
            if number is None:
                continue
            row = design._asdict() | {"tasks": number, "videos": number * design.videos}
            row |= widths(known, design).median().to_dict()
            rows.append(row | {"tau": tau, "power": power(tau, number)})
    table = pd.DataFrame(rows, columns=PLAN_COLUMNS)
    enough = table.power >= wanted
    if width is not None:
        enough &= table.total <= width
    return table[enough].sort_values(["videos", "n"], ignore_index=True)
