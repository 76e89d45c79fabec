"""Audit of an archive's samples: other accuracies, the model's fit, and how few samples do.

`table` is as `audit.audited`, `embeddings` as `summary.measured_embeddings`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.spatial.distance import cosine
from scipy.stats import binomtest, kendalltau

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import OK
from squbed_utils.estimators import vmf
from squbed_utils.estimators.checks import KAPPA_MAX, check_task
from squbed_utils.estimators.estimate import LEAST_LATENTS
from squbed_utils.estimators.registry import Videos, evaluate, lookup
from squbed_utils.statistics import tables
from squbed_utils.statistics.audit import P, line, main_term, verdict_of
from squbed_utils.statistics.calibration import REFUTED, SHOWN
from squbed_utils.statistics.cautions import named, repeated
from squbed_utils.statistics.resampling import FEWEST_TASKS
from squbed_utils.statistics.summary import LEAST_VIDEOS, TERMS, Embeddings, summarize

LOSES = 0.05
"""Tau that fewer samples may lose of what two whole archives agree by."""

MOST_REJECTED = 0.2
"""The share of tasks that may be rejected where the model counts as fitting."""

DRAWS = 99
"""Draws of the parametric bootstrap; the least p-value is 1 in 100."""

GROUPS = 3
"""Latent prompts of a task whose videos are tested; more would tell little more."""

AGREEMENT_COLUMNS = ["kind", "size", "of", "term", "tau", "low", "high", "fresh", "ceiling"]


def soundness(archive: Archive, summary: pd.DataFrame) -> list[dict]:
    """Say whether samples are distinct, and whether texts fit their encoders.

    `summary` is as `summary.summarize`, of all tasks.
    """
    twins, texts = repeated(archive), archive.texts()
    capped = summary.task[summary.identical != ""]
    tasks = list(pd.unique(pd.concat([twins.task, capped])))
    detail = f"{named(tasks)}; {len(capped)} of them in no ranking, as a part of theirs is without "
    detail = detail + "spread" if tasks else ""
    question = "samples", "Are the samples of each task distinct?", "no task with identical ones"
    distinct = line(*question, REFUTED if tasks else SHOWN, detail, value=float(len(tasks)))
    question = "samples", "Do texts fit their encoders' windows?", "none longer"
    if texts.empty:
        return [distinct, line(*question, detail="not recorded in this archive")]
    cut = (texts.tokens > texts.window).sum()
    detail = f"of {len(texts)} texts, the longest of {texts.tokens.max():.0f} tokens"
    detail += "; longer ones are the mean over their windows" if cut else ""
    return [distinct, line(*question, REFUTED if cut else SHOWN, detail, value=float(cut))]


def accuracy_forms(archive: Archive, accuracy: str, tasks: pd.Series) -> pd.DataFrame:
    """Return forms of a task's accuracy that spread moves in different ways.

    The mean over dispersed samples falls mechanically: the mean cosine is R cos(centroid), R the
    length of the mean of the samples. "best" is the best video's, which rises with spread;
    "centroid" is the cosine to the mean of all frames, for a cosine.

    Columns mean, best, median and, for a cosine of an archive with CLIP's embeddings, centroid; a
    row a task, in the order of `tasks`; higher = better.
    """
    videos = archive.videos(embeddings=False)
    good = videos[videos.status == OK]
    values = tables.better_is_higher(good, accuracy).groupby(good.task)
    forms = {"mean": values.mean(), "best": values.max(), "median": values.median()}
    clip = archive.clip_means()
    if accuracy == "clip_prompt" and clip is not None:
        forms["centroid"] = forms["mean"] / clip.video.map(np.linalg.norm)
    if accuracy == "clip_reference" and clip is not None:
        known = clip.dropna()
        cosines = map(cosine, known.video, known.reference)  # distances: 1 - cosine
        forms["centroid"] = 1 - pd.Series(cosines, known.index, dtype=float)
    return pd.DataFrame(forms).loc[tasks].reset_index(drop=True)


def plug_in(archive: Archive, table: pd.DataFrame, *, estimator: str) -> pd.Series | None:
    """Return each task's main term by the plug-in estimator, in the order of the table.

    None where it does not compare: counts differ, a video failed, or `estimator`, which made the
    table, is not squbed.
    """
    counts = table[["n", "m"]].drop_duplicates()
    failed = archive.videos(embeddings=False).status.ne(OK).any()
    if estimator != "squbed" or len(counts) > 1 or failed:
        return None
    values = summarize(archive, estimator="squbed_mle").set_index("task")[main_term(table)]
    return values.loc[table.task].reset_index(drop=True)


def panel_statistics(
    table: pd.DataFrame, *, accuracy: str, fraction: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the statistics and the subset curves of the figures' panels that can be drawn.

    They are as `tables.statistics_of` and `tables.subset_curves`, of the `fraction` that
    `tables.part_points` takes; without the panels and curves whose tasks are fewer than
    `resampling.FEWEST_TASKS`, lack a component or are all the same.
    """
    statistics = pd.DataFrame(columns=["panel", "tau", "pvalue", "n"])
    no_curves = pd.DataFrame(columns=["panel", "size", "tau", "lo", "hi"])
    term = main_term(table)
    if len(table) < FEWEST_TASKS or table[[term, "accuracy"]].nunique().min() < 2:
        return statistics, no_curves
    x_label = f"{term} uncertainty"
    whole = tables.points_of(table, term, accuracy, panel=f"{term}, all tasks", x_label=x_label)
    statistics = tables.statistics_of(whole)
    if table[list(TERMS)].isna().any(axis=None):
        return statistics, no_curves
    try:
        parts = tables.part_points(table, accuracy=accuracy, fraction=fraction)
        curves = tables.subset_curves(table, accuracy=accuracy, fraction=fraction)
        return pd.concat([statistics, tables.statistics_of(parts)]), curves
    except ValueError:  # a subset of tasks that are all the same has no tau
        return statistics, no_curves


def goodness_of_fit(embeddings: dict[str, Embeddings], rng: np.random.Generator) -> pd.DataFrame:
    """Test per task whether samples are spread about their mean as a von Mises-Fisher says.

    Under the model the directions from the mean are isotropic. The statistic is the mean squared
    cosine between pairs of them, after the mean is taken out: 1/(d - 1) where they are isotropic,
    larger where samples spread along few directions. Its distribution comes from a parametric
    bootstrap at the fitted kappa. Of videos, it is averaged over latent prompts.

    Few samples show coarse misfits only. In 64 dimensions, samples that spread evenly along half
    of the directions are rejected 45 % of the time with six samples a task and 16 % with three;
    along a quarter, 92 % and 40 % (200 simulated tasks, about 3 points either way).

    Columns: task, kind ("latent prompts" or "videos"), pvalue; without groups of fewer than three
    or of identical samples, which cannot be tested.
    """
    rows = []
    for task, pair in embeddings.items():
        text, videos, _ = check_task(*pair)
        for kind, groups in (("latent prompts", [text]), ("videos", list(videos)[:GROUPS])):
            tests = []
            for x in groups:
                kappa = 0.0 if x is None or len(x) < 3 else float(vmf.fit(x).kappa)
                if 0 < kappa < KAPPA_MAX:
                    simulated = vmf.sample(x.shape[1], kappa, (DRAWS, len(x)), rng)
                    tests.append((_squared_cosines(x), _squared_cosines(simulated)))
            if tests:
                own, null = (np.mean(part, axis=0) for part in zip(*tests, strict=True))
                rows.append((task, kind, (1 + (null >= own).sum()) / (1 + DRAWS)))
    return pd.DataFrame(rows, columns=["task", "kind", "pvalue"])


def fits(fit: pd.DataFrame) -> list[dict]:
    """Say whether the model fits, by the p-values of `goodness_of_fit`.

    It is refuted where more tasks are rejected than the level explains (one-sided binomial test),
    and shown where the share rejected is surely small.
    """
    lines = []
    for kind in ("latent prompts", "videos"):
        bar = f"at most {MOST_REJECTED:.0%} rejected"
        question = "model", f"Are {kind} von Mises-Fisher?", bar
        p = fit.pvalue[fit.kind == kind]
        if len(p) < FEWEST_TASKS:
            lines.append(line(*question, detail=f"{len(p)} tasks can be tested"))
            continue
        rejected = int((p <= P).sum())
        pvalue = binomtest(rejected, len(p), P, alternative="greater").pvalue
        low, high = binomtest(rejected, len(p), P).proportion_ci(0.95, method="exact")
        verdict = REFUTED if pvalue < P else verdict_of(high <= MOST_REJECTED, False)
        detail = f"{rejected} of {len(p)} tasks; where it does not fit, entropies rank spread and "
        detail += "are no nats"
        numbers = {"value": rejected / len(p), "low": low, "high": high, "pvalue": pvalue}
        lines.append(line(*question, verdict, detail, **numbers))
    return lines


def agreement(
    embeddings: dict[str, Embeddings], rng: np.random.Generator, *, estimator: str, repeats: int = 5
) -> pd.DataFrame:
    """Return how well a few samples order the tasks as others do, of which they share none.

    A few latent prompts of each task, or a few videos of each latent prompt, are held against a
    half of the samples that is disjoint from them. What whole archives would give follows by the
    Spearman-Brown formula, on the scale of correlations, r = sin(pi tau / 2): if halves of a
    sample correlate by r, two fresh samples of c halves do by c r / (1 + (c - 1) r). For videos
    the latent prompts are the same on both sides.

    Columns: kind ("latent prompts" or "videos of each"), size (of the few), of (in this archive),
    term, tau (mean over `repeats` splits of Kendall's tau of both orders), low, high (least and
    greatest), fresh (tau of the few and a fresh whole archive), ceiling (of two fresh whole
    archives); empty for fewer than `FEWEST_TASKS` tasks or tasks that are all the same, and without
    sizes of which the halves cannot be estimated.
    """
    units = [_with_videos(*check_task(*pair)[:2]) for pair in embeddings.values()]
    known = all(text is not None for text, _ in units)
    if not known:
        units = [(None, videos) for _, videos in units]
    term = "total" if known else "epistemic"
    chosen = lookup(estimator)

    def value(text: np.ndarray | None, videos: list[np.ndarray]) -> float:
        return evaluate(chosen, text, videos)[TERMS.index(term)]

    few = len(units) < FEWEST_TASKS or not all(len(videos) for _, videos in units)
    if few or len({value(*unit) for unit in units}) < 2:
        return pd.DataFrame(columns=AGREEMENT_COLUMNS)

    n = min(len(videos) for _, videos in units)
    m = min(len(x) for _, videos in units for x in videos)
    rows = []
    for size in _sizes(LEAST_LATENTS if known else 1, n // 2):
        taus = []
        for _ in range(repeats):
            orders = []
            for text, videos in units:
                parts = _disjoint(len(videos), size, n // 2, rng)
                texts = [text[part] if known else None for part in parts]
                few = [[videos[i] for i in part] for part in parts]
                orders.append([value(*pair) for pair in zip(texts, few, strict=True)])
            taus.append(_tau(orders))
        rows.append(("latent prompts", size, n, term, taus))
    for size in _sizes(LEAST_VIDEOS, m // 2):
        taus = []
        for _ in range(repeats):
            orders = []
            for text, videos in units:
                parts = [_disjoint(len(x), size, m // 2, rng) for x in videos]
                few = [[x[part[i]] for x, part in zip(videos, parts, strict=True)] for i in (0, 1)]
                orders.append([value(text, x) for x in few])
            taus.append(_tau(orders))
        rows.append(("videos of each", size, m, term, taus))
    return stepped_up(rows)


def _with_videos(text: np.ndarray | None, videos: Videos) -> Embeddings:
    """Return a task's latent prompts that have two videos, as those alone can be parted."""
    kept = [i for i, x in enumerate(videos) if len(x) >= LEAST_VIDEOS]
    return None if text is None else text[kept], [videos[i] for i in kept]


def _disjoint(n: int, size: int, half: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return positions of `size` of n samples, and of a half that shares none with them."""
    order = rng.permutation(n)
    return order[:size], order[n - half :]


def _tau(orders: list[list[float]]) -> float:
    """Return Kendall's tau of two values of each task; 0 where one has no order."""
    return float(np.nan_to_num(kendalltau(*np.transpose(orders)).statistic))


def stepped_up(rows: list[tuple]) -> pd.DataFrame:
    """Return the table of `agreement` from kind, size, of, term and taus, the half's size last."""
    halves = {kind: (n / size, np.mean(taus)) for kind, size, n, _, taus in rows}
    table = []
    for kind, size, n, term, taus in rows:
        tau, (c, half) = np.mean(taus), halves[kind]
        numbers = (tau, min(taus), max(taus), *fresh_and_ceiling(tau, half, c))
        table.append((kind, size, n, term, *numbers))
    return pd.DataFrame(table, columns=AGREEMENT_COLUMNS)


def fresh_and_ceiling(tau: ArrayLike, half: float, c: float) -> tuple[ArrayLike, float]:
    """Return tau of a few samples and a fresh whole archive, and that of two (Spearman-Brown).

    `tau`, or an array of them, is that of the few and a disjoint part, `half` that of two such
    parts, of which a whole archive has c.
    """
    r = max(np.sin(np.pi / 2 * half), 0)
    longer = c / (1 + (c - 1) * r)  # a whole archive's reliability over that of its part
    found = np.sin(np.pi / 2 * tau) * np.sqrt(longer), r * longer
    fresh, ceiling = (np.arcsin(np.clip(x, -1, 1)) * 2 / np.pi for x in found)
    return fresh, ceiling


def how_few(table: pd.DataFrame) -> list[dict]:
    """Say whether fewer samples order the tasks as well as all do, by the taus of `agreement`."""
    lines = []
    bar = f"tau with a fresh archive at most {LOSES} below that of two"
    for kind in ("latent prompts", "videos of each"):
        question = "few samples", f"Would fewer {kind} give the same order?", bar
        curve = table[table.kind == kind]
        if curve.empty:
            lines.append(line(*question, detail="too few samples or tasks to split in halves"))
            continue
        enough = curve[curve.ceiling - curve.fresh <= LOSES]
        row = curve.iloc[-1] if enough.empty else enough.iloc[0]
        detail = f"{row['size']} of {row.of}: tau with a fresh archive {row.fresh:.2f}, of two "
        detail += f"{row.ceiling:.2f}; with the other half of this one {row.tau:.2f}"
        verdict = REFUTED if enough.empty else SHOWN
        lines.append(line(*question, verdict, detail, value=row.ceiling - row.fresh))
    return lines


def _squared_cosines(x: np.ndarray) -> np.ndarray:
    """Return the mean squared cosine over pairs of directions from the mean, of (..., m, d)."""
    centred = x - x.mean(axis=-2, keepdims=True)
    norms = np.linalg.norm(centred, axis=-1, keepdims=True)
    directions = centred / np.maximum(norms, np.finfo(float).tiny)
    gram = directions @ np.swapaxes(directions, -1, -2)
    m = x.shape[-2]
    return (np.square(gram).sum(axis=(-1, -2)) - m) / (m * (m - 1))


def _sizes(least: int, most: int) -> list[int]:
    """Return up to five sizes from the least to the most."""
    if most < least:
        return []
    return sorted(set(np.linspace(least, most, 5).round().astype(int).tolist()))
