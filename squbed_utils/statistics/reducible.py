"""What more training data would take away, and where models of other seeds disagree.

Tasks of one subject stand or fall together, so every interval resamples subjects.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from squbed_utils.archive.archive import Archive
from squbed_utils.files import seed_of
from squbed_utils.statistics.calibration import bootstrap_interval, kendall

N_RESAMPLES = 4000


def paired_change(
    before: pd.DataFrame, after: pd.DataFrame, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Return how each part changed between two models, on subjects of added clips and on others.

    Parameters
    ----------
    before, after : DataFrame
        As `summary.summarize` with the truth: task, subject, clips, aleatoric, epistemic. The
        second model was shown more clips of some subjects.

    Returns
    -------
    DataFrame
        group ("added", "others", "added less others"), part, change (mean over subjects, after less
        before), low, high (subjects resampled), pvalue (Wilcoxon's, by subject; missing for the
        difference), subjects, tasks, confidence.
    """
    pair = before.merge(after, on=["task", "subject"], suffixes=("_before", "_after"))
    added = pair.clips_after > pair.clips_before
    if len(pair) < max(len(before), len(after)) or added.all() or not added.any():
        raise ValueError(
            f"{len(pair)} tasks are in both tables of {len(before)} and {len(after)}, {added.sum()}"
            " of them on subjects with added clips; expected the same tasks, some of them added"
        )
    rows, rng = [], np.random.default_rng(seed_of("paired change"))
    for part in ("aleatoric", "epistemic"):
        pair["change"] = pair[f"{part}_after"] - pair[f"{part}_before"]
        drawn = {}
        for group, kept in (("added", added), ("others", ~added)):
            changes = pair[kept].groupby("subject").change.mean().to_numpy()
            drawn[group] = changes.mean(), _resampled_means(changes, rng)
            sizes = {"subjects": changes.size, "tasks": int(kept.sum())}
            pvalue = wilcoxon(changes).pvalue if changes.any() else 1.0
            rows.append({"group": group, "part": part, "pvalue": pvalue} | sizes)
        a, b = drawn["added"], drawn["others"]
        drawn["added less others"] = a[0] - b[0], a[1] - b[1]
        rows.append({"group": "added less others", "part": part, "pvalue": np.nan})
        rows[-1] |= {"subjects": pair.subject.nunique(), "tasks": len(pair)}
        for row, (change, means) in zip(rows[-3:], drawn.values(), strict=True):
            row["change"] = change
            row["low"], row["high"] = bootstrap_interval(means, confidence)
    columns = ["group", "part", "change", "low", "high", "pvalue", "subjects", "tasks"]
    return pd.DataFrame(rows)[columns].assign(confidence=confidence)


def _resampled_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return means of resampled subjects, as far apart as those of samples are."""
    n = values.size
    means = values[rng.integers(n, size=(N_RESAMPLES, n))].mean(axis=1)
    return values.mean() + np.sqrt(n / max(n - 1, 1)) * (means - values.mean())


def disagreement(archives: Sequence[Archive]) -> pd.Series:
    """Return how far the videos of several models lie apart at the same latent prompts, by task.

    It is the energy distance of two models' video embeddings (Szekely and Rizzo 2013, unbiased: 0
    on average where the models are the same), averaged over latent prompts and pairs of models.
    Videos of one seed, which share their noise, are never compared.
    """
    tables = [archive.latents().set_index(["task", "latent"]).prompt for archive in archives]
    if any(not table.equals(tables[0]) for table in tables[1:]):
        raise ValueError(
            "the archives have other latent prompts; collect them with one profile but for the "
            "video model"
        )
    values = {}
    for task in archives[0].tasks().task:
        models = [archive.embeddings(task)[1] for archive in archives]
        values[task] = np.mean(
            [_energy(x, y) for a, b in combinations(models, 2) for x, y in zip(a, b, strict=True)]
        )
    return pd.Series(values, name="disagreement").rename_axis("task")


def _energy(x: np.ndarray, y: np.ndarray) -> float:
    """Return the energy distance of two samples (m, d), over pairs of unequal index."""
    m = min(len(x), len(y))
    apart = ~np.eye(m, dtype=bool)

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return np.linalg.norm(a[:m, None] - b[None, :m], axis=-1)[apart].mean()

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def ensemble_taus(
    summary: pd.DataFrame, disagreement: pd.Series, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Return tau of each part with the models' disagreement, over means of subjects.

    `summary` has the truth's column subject. Returns part, tau, low, high, pvalue, subjects,
    confidence.
    """
    table = summary.merge(disagreement.reset_index(), on="task")
    means = table.groupby("subject")[["aleatoric", "epistemic", "disagreement"]].mean()
    rows = []
    for part in ("aleatoric", "epistemic"):
        rng = np.random.default_rng(seed_of("ensemble", part))
        k = kendall(means[part], means.disagreement, rng=rng, confidence=confidence)
        row = {"part": part, "tau": k.tau} | dict(zip(("low", "high"), k.interval, strict=True))
        rows.append(row | {"pvalue": k.pvalue, "subjects": k.n, "confidence": confidence})
    return pd.DataFrame(rows)


def confident_mistakes(archive: Archive, subjects: pd.Series) -> pd.Series:
    """Return, by task, the share of latent prompts whose videos all show one wrong subject.

    `subjects` is task -> the subject asked for. What a video shows is read from its caption, so the
    archive needs a captioner that names subjects; captions that name none count as no mistake.
    """
    videos, known = archive.videos(), set(subjects)
    words = videos.caption.fillna("").str.split()
    videos = videos.assign(shown=[next((w for w in said if w in known), "") for said in words])
    latents = videos.groupby(["task", "latent"]).shown.agg(["nunique", "first"]).reset_index()
    wrong = latents["first"].ne(latents.task.map(subjects)) & latents["first"].ne("")
    shares = (wrong & latents["nunique"].eq(1)).groupby(latents.task).mean()
    return shares.rename("confident_mistake")
