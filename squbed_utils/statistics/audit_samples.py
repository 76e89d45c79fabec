"""Audit of an archive's samples: other accuracies, the model's fit, and how few samples do.

`table` is as `audit.audited`, `embeddings` as `summary.measured_embeddings`.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, kendalltau

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import HIGHER_IS_BETTER, OK
from squbed_utils.estimators import vmf
from squbed_utils.estimators.checks import KAPPA_MAX, check_task, unit_rows
from squbed_utils.estimators.estimate import LEAST_LATENTS
from squbed_utils.estimators.registry import evaluate, lookup
from squbed_utils.statistics import tables
from squbed_utils.statistics.audit import DOES_NOT, HOLDS, UNKNOWN, P, line, main_term
from squbed_utils.statistics.cautions import named, repeated
from squbed_utils.statistics.resampling import FEWEST_TASKS
from squbed_utils.statistics.summary import LEAST_VIDEOS, TERMS, Embeddings, clip_means, summarize

AGREES = 0.8
"""Kendall's tau from which two orders of the tasks count as the same."""

MOST_REJECTED = 0.2
"""The share of tasks that may be rejected where the model counts as fitting."""

DRAWS = 99
"""Draws of the parametric bootstrap; the least p-value is 1 in 100."""

GROUPS = 3
"""Latent prompts of a task whose videos are tested; more would tell little more."""

COSINES = ("clip_reference", "clip_prompt")


def soundness(archive: Archive, summary: pd.DataFrame) -> list[dict]:
    """Say whether samples are distinct, and whether texts fit their encoders.

    `summary` is as `summary.summarize`, of all tasks.
    """
    twins, texts = repeated(archive), archive.texts()
    asked = "samples", "Are the samples of each task distinct?", "no task with identical ones"
    capped = summary.task[summary.identical != ""]
    tasks = pd.unique(pd.concat([twins.task, capped]))
    distinct = line(*asked, value=float(len(tasks)), verdict=DOES_NOT if len(tasks) else HOLDS)
    if len(tasks):
        distinct["detail"] = f"{named(list(tasks))}; {len(capped)} of them in no ranking, as a "
        distinct["detail"] += "part of theirs is without spread"
    asked = "samples", "Do texts fit their encoders' windows?", "none longer"
    fit = line(*asked, detail="not recorded in this archive")
    if len(texts):
        cut = texts[texts.tokens > texts.window]
        fit |= {"value": float(len(cut)), "verdict": DOES_NOT if len(cut) else HOLDS}
        fit["detail"] = f"of {len(texts)} texts, the longest of {texts.tokens.max():.0f} tokens"
        fit["detail"] += "; longer ones are the mean over their windows" if len(cut) else ""
    return [distinct, fit]


def accuracy_forms(archive: Archive, accuracy: str, tasks: pd.Series) -> pd.DataFrame:
    """Return forms of a task's accuracy that spread moves in different ways.

    The mean over dispersed samples falls mechanically: the mean cosine is R cos(centroid), R the
    length of the mean of the samples. "best" is the best video's, which rises with spread;
    "centroid" is the cosine to the mean of all frames, for a cosine. In an archive without CLIP's
    embeddings it is "centroid, stand-in": the mean divided by the R of the video encoder's.

    Returns
    -------
    DataFrame
        mean, best, median and, for a cosine, centroid; a row a task, in the order of `tasks`;
        higher = better.
    """
    videos = archive.videos()
    sign = 1 if HIGHER_IS_BETTER[accuracy] else -1
    good = videos[videos.status == OK]
    values = (sign * good[accuracy]).groupby(good.task)
    forms = {"mean": values.mean(), "best": values.max(), "median": values.median()}
    if accuracy in COSINES:
        forms |= _centroid(archive, accuracy, values.mean())
    return pd.DataFrame(forms).loc[tasks].reset_index(drop=True)


def plug_in(archive: Archive, table: pd.DataFrame, *, estimator: str) -> pd.Series | None:
    """Return each task's main term by the plug-in estimator, in the order of the table.

    None where it does not compare: counts differ, a video failed, or `estimator`, which made the
    table, is not squbed.
    """
    counts = table[["n", "m"]].drop_duplicates()
    if estimator != "squbed" or len(counts) > 1 or archive.videos().status.ne(OK).any():
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
    columns = ["panel", "tau", "pvalue", "n"], ["panel", "size", "tau", "lo", "hi"]
    statistics, curves = (pd.DataFrame(columns=c) for c in columns)
    term = main_term(table)
    if len(table) < FEWEST_TASKS or table[[term, "accuracy"]].nunique().min() < 2:
        return statistics, curves
    x_label = f"{term} uncertainty"
    whole = tables.points_of(table, term, accuracy, panel=f"{term}, all tasks", x_label=x_label)
    statistics = tables.statistics_of(whole)
    if table[list(TERMS)].isna().any(axis=None):
        return statistics, curves
    try:
        parts = tables.part_points(table, accuracy=accuracy, fraction=fraction)
        drawn = tables.subset_curves(table, accuracy=accuracy, fraction=fraction)
        return pd.concat([statistics, tables.statistics_of(parts)]), drawn
    except ValueError:  # a subset of tasks that are all the same has no tau
        return statistics, curves


def goodness_of_fit(
    embeddings: dict[str, Embeddings], rng: np.random.Generator, *, draws: int = DRAWS
) -> pd.DataFrame:
    """Test per task whether samples are spread about their mean as a von Mises-Fisher says.

    Under the model the directions from the mean are isotropic. The statistic is the mean squared
    cosine between pairs of them, after the mean is taken out: 1/(d - 1) where they are isotropic,
    larger where samples spread along few directions. Its distribution comes from a parametric
    bootstrap at the fitted kappa. Of videos, it is averaged over latent prompts.

    Few samples show coarse misfits only. In 64 dimensions, samples that spread evenly along half
    of the directions are rejected 45 % of the time with six samples a task and 16 % with three;
    along a quarter, 92 % and 40 % (200 simulated tasks, about 3 points either way).

    Returns
    -------
    DataFrame
        task, kind ("latent prompts" or "videos"), pvalue; without groups of fewer than three or of
        identical samples, which cannot be tested.
    """
    rows = []
    for task, pair in embeddings.items():
        text, videos, _ = check_task(*pair)
        for kind, groups in (("latent prompts", [text]), ("videos", list(videos)[:GROUPS])):
            found = [_isotropy(x, rng, draws) for x in groups if x is not None and len(x) > 2]
            found = [f for f in found if f is not None]
            if found:
                seen, drawn = (np.mean(part, axis=0) for part in zip(*found, strict=True))
                rows.append((task, kind, (1 + (drawn >= seen).sum()) / (1 + draws)))
    return pd.DataFrame(rows, columns=["task", "kind", "pvalue"])


def fits(found: pd.DataFrame) -> list[dict]:
    """Say whether the model fits, by the p-values of `goodness_of_fit`.

    It does not where more tasks are rejected than the level explains (one-sided binomial test),
    and does where the share rejected is surely small.
    """
    lines = []
    for kind in ("latent prompts", "videos"):
        p = found.pvalue[found.kind == kind]
        asked = "model", f"Are {kind} von Mises-Fisher?", f"at most {MOST_REJECTED:.0%} rejected"
        if len(p) < FEWEST_TASKS:
            lines.append(line(*asked, detail=f"{len(p)} tasks can be tested"))
            continue
        rejected = int((p <= P).sum())
        test = binomtest(rejected, len(p), P, alternative="greater")
        interval = binomtest(rejected, len(p), P).proportion_ci(0.95, method="exact")
        fits = HOLDS if interval.high <= MOST_REJECTED else UNKNOWN
        detail = f"{rejected} of {len(p)} tasks; where it does not fit, entropies rank spread and "
        detail += "are no nats"
        shown = {"value": rejected / len(p), "low": interval.low, "high": interval.high}
        shown |= {"pvalue": test.pvalue, "verdict": DOES_NOT if test.pvalue < P else fits}
        lines.append(line(*asked, **shown, detail=detail))
    return lines


def agreement(
    embeddings: dict[str, Embeddings],
    rng: np.random.Generator,
    *,
    estimator: str,
    repeats: int = 5,
) -> pd.DataFrame:
    """Return how well subsamples, `repeats` of each size, order the tasks as all samples do.

    A subsample shares samples with the whole, so its agreement is an upper bound for new ones.

    Returns
    -------
    DataFrame
        kind ("latent prompts" or "videos of each"), size, term, tau (mean over repeats of Kendall's
        tau with the order of all samples), low, high (least and greatest); empty for fewer than
        `FEWEST_TASKS` tasks, or tasks that are all the same.
    """
    units = {task: check_task(*pair)[:2] for task, pair in embeddings.items()}
    known = all(text is not None for text, _ in units.values())
    if not known:
        units = {task: (None, videos) for task, (_, videos) in units.items()}
    term = TERMS.index("total") if known else TERMS.index("epistemic")
    whole = _order(units, estimator, term)
    if len(units) < FEWEST_TASKS or len(set(whole)) < 2:
        return pd.DataFrame(columns=["kind", "size", "term", "tau", "low", "high"])
    n = min(len(videos) for _, videos in units.values())
    m = min(len(x) for _, videos in units.values() for x in videos)
    least = LEAST_LATENTS if known else 1
    rows = []
    asked = [("latent prompts", _fewer_latents, n, k) for k in _sizes(least, n)]
    asked += [("videos of each", _fewer_videos, m, k) for k in _sizes(LEAST_VIDEOS, m)]
    for kind, cut, most, size in asked:
        taus = []
        for _ in range(repeats if size < most else 0):
            part = {task: cut(*pair, size, rng) for task, pair in units.items()}
            tau = kendalltau(whole, _order(part, estimator, term)).statistic
            taus.append(0.0 if np.isnan(tau) else tau)  # no order agrees with none
        taus = taus or [1.0]
        rows.append((kind, size, TERMS[term], np.mean(taus), min(taus), max(taus)))
    return pd.DataFrame(rows, columns=["kind", "size", "term", "tau", "low", "high"])


def how_few(found: pd.DataFrame) -> list[dict]:
    """Say whether fewer samples give the same order, by the taus of `agreement`."""
    lines = []
    for kind in ("latent prompts", "videos of each"):
        curve = found[found.kind == kind]
        bar = f"tau with the order of all at least {AGREES}"
        asked = "few samples", f"Would fewer {kind} give the same order?", bar
        if len(curve) < 2:
            lines.append(line(*asked, detail="too few samples or tasks to leave any out"))
            continue
        enough = curve["size"][curve.tau >= AGREES].min()
        verdict = HOLDS if enough < curve["size"].max() else DOES_NOT
        detail = f"{enough:g} of {curve['size'].max()} do; with the fewest, "
        detail += f"{curve['size'].iloc[0]}, tau is {curve.tau.iloc[0]:.2f}; an upper bound, as "
        detail += "they are among all"
        lines.append(line(*asked, value=float(enough), verdict=verdict, detail=detail))
    return lines


def _centroid(archive: Archive, accuracy: str, means: pd.Series) -> dict[str, pd.Series]:
    """Return the cosine to the centroid of each task's frames, under its name."""
    clip = clip_means(archive)
    if clip is None:
        videos = archive.videos()
        good = videos[videos.status == OK].groupby("task").embedding
        return {"centroid, stand-in": means / good.apply(_mean_length)}
    length = clip.video.map(np.linalg.norm)
    if accuracy == "clip_prompt":
        return {"centroid": means / length}
    clip = clip.dropna()
    cosines = [v @ r / np.linalg.norm(r) for v, r in zip(clip.video, clip.reference, strict=True)]
    return {"centroid": pd.Series(cosines, clip.index, float) / length[clip.index]}


def _mean_length(embeddings: pd.Series) -> float:
    """Return the length of the mean of embeddings at unit length."""
    return float(np.linalg.norm(unit_rows(np.stack(list(embeddings)), "embedding").mean(axis=0)))


def _isotropy(
    x: np.ndarray, rng: np.random.Generator, draws: int
) -> tuple[float, np.ndarray] | None:
    """Return the statistic of one set of samples (m, d), and of draws from the fit (draws,)."""
    kappa = float(vmf.fit(x).kappa)
    if not 0 < kappa < KAPPA_MAX:
        return None
    drawn = vmf.sample(x.shape[1], kappa, (draws, len(x)), rng)
    return float(_squared_cosines(x)), _squared_cosines(drawn)


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
    return sorted(set(np.linspace(least, most, 5).round().astype(int).tolist()))


def _order(units: dict, estimator: str, term: int) -> list[float]:
    chosen = lookup(estimator)
    return [evaluate(chosen, *pair)[term] for pair in units.values()]


def _fewer_latents(text: np.ndarray | None, videos, size: int, rng: np.random.Generator) -> tuple:
    kept = np.sort(rng.choice(len(videos), size, replace=False))
    return None if text is None else text[kept], [videos[i] for i in kept]


def _fewer_videos(text: np.ndarray | None, videos, size: int, rng: np.random.Generator) -> tuple:
    return text, [x[np.sort(rng.choice(len(x), size, replace=False))] for x in videos]
