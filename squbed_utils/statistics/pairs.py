"""The same tasks by several video models, or under several encoders: what differs, what holds.

Tasks of one subject stand or fall together, so what compares models takes subjects as its units
where they are known, and what compares encoders where it touches coverage.
"""

import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp, ttest_ind

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import MEASURING, OK
from squbed_utils.files import seed_of
from squbed_utils.statistics import calibration, resampling, tables, truth
from squbed_utils.statistics.summary import TERMS
from squbed_utils.statistics.truth import subjects_of

N_RESAMPLES = 4000

MEAN, CALIBRATION, ORDER = "mean", "tau with accuracy", "tau between the two"
MISTAKEN = "share more certain where less accurate"
COLUMNS = ("panel", "quantity", "first", "second", "value", "low", "high", "pvalue")


def require_same_samples(archives: Sequence[Archive], command: str) -> None:
    """Refuse archives that do not hold the same latent prompts and as many videos of each.

    `command` makes one like the first.
    """
    keys, (first, *others) = ["task", "latent", "prompt"], archives
    for other in others:
        same = first.latents()[keys].equals(other.latents()[keys]) and first.units == other.units
        if not same:
            raise ValueError(
                f"{first.folder} and {other.folder} hold other latent prompts or numbers of "
                f"videos; make the second by `{command}`"
            )


def paired_tasks(
    first: Archive, second: Archive, *, estimator: str = "squbed", accuracy: str = ""
) -> pd.DataFrame:
    """Return a row a task that both archives could measure, with the columns of both.

    They are finished, of the same tasks and latent prompts (``squbed collect --like``), embedded
    and scored by the same models; ValueError names what differs. An empty accuracy is
    `tables.default_accuracy`. Columns: task, category, prompt, subject where known; aleatoric,
    epistemic, total and every accuracy (higher = better, so LPIPS is negated), each with _first and
    _second; in ``attrs`` the accuracy chosen, its label and the entropies' unit.
    """
    like = f"squbed collect --profile PROFILE --like {shlex.quote(str(first.folder))}"
    require_same_samples((first, second), like)
    if differing := [
        role for role in MEASURING if _measured(first, role) != _measured(second, role)
    ]:
        raise ValueError(
            f"{first.folder} and {second.folder} were measured by other models "
            f"({', '.join(differing)}), whose numbers cannot be compared; measure one of them "
            "again by `squbed score ARCHIVE --profile PROFILE`"
        )
    summaries = [
        tables.with_parts(tables.summarize_run(archive, estimator=estimator))
        for archive in (first, second)
    ]
    names = [n for n in tables.accuracies_there(summaries[0]) if n in summaries[1]]
    accuracy = accuracy or tables.default_accuracy(summaries[0])
    for table in summaries:
        tables.better_is_higher(table, accuracy)  # refuses an unknown one
        for name in names:
            table[name] = tables.better_is_higher(table, name)
    fixed = [c for c in ("task", "category", "prompt", "subject") if c in summaries[0]]
    quantities = [*TERMS, *names]
    pair = summaries[0][[*fixed, *quantities]].merge(
        summaries[1][["task", *quantities]], on="task", suffixes=("_first", "_second")
    )
    pair.attrs |= {"accuracy": accuracy, "label": tables.y_label(accuracy, tables.forms(first))}
    pair.attrs["unit"] = summaries[0].unit.iloc[0]
    return pair


def _measured(archive: Archive, role: str) -> tuple[object, object]:
    """Return a measuring model's settings, but for its place, and its hash."""
    settings = dict(archive.profile.get(role) or {})
    settings.pop("path", None)
    return settings, archive.profile.get("checkpoints", {}).get(role)


def compare(tasks: pd.DataFrame, *, accuracy: str) -> pd.DataFrame:
    """Hold two models' uncertainties and accuracies on the same tasks against each other.

    `tasks` is as `paired_tasks`; the accuracy is for what asks whether a model is right to be
    certain. Subjects are resampled where they are known, else tasks; below eight of them no
    interval is stated.

    Columns: panel, quantity, first, second (each model's), value, low, high, pvalue (of no effect,
    by the same test or resamples as the interval). By panel: the mean of a quantity, value the mean
    change (second less first), by Student's t; tau of a term with accuracy, value the difference of
    taus on the same resamples (negative: the second is the better calibrated); tau between the two
    models' values of a term; of the tasks on which the second is the less accurate, the share on
    which it is also the more certain, beside that share of all tasks (`first`).
    """
    clusters = subjects_of(tasks)
    quantities = [c.removesuffix("_first") for c in tasks if c.endswith("_first")]
    rows = [_mean(tasks, quantity, clusters) for quantity in quantities]
    known = tasks.dropna(subset=[f"{accuracy}_first", f"{accuracy}_second"])
    clusters = subjects_of(known)
    counts = resampling.task_counts(
        len(known), N_RESAMPLES, np.random.default_rng(seed_of("pairs")), clusters
    )
    members = np.arange(len(known)) if clusters is None else clusters
    enough = np.unique(members).size >= resampling.FEWEST_TASKS
    for term in TERMS:
        row, drawn = {"panel": CALIBRATION, "quantity": term}, {}
        for which in ("first", "second"):
            x, y = (known[f"{name}_{which}"].to_numpy() for name in (term, accuracy))
            row[which] = resampling.plain_tau(x, y)
            drawn[which] = resampling.weighted_taus(x[None], y, counts)[0]
        row["value"] = row["second"] - row["first"]
        gaps = resampling.widened(drawn["second"] - drawn["first"], row["value"], clusters)
        rows.append(row | _spread(gaps, enough))
    for term in TERMS:
        x, y = (known[f"{term}_{which}"].to_numpy() for which in ("first", "second"))
        (taus,) = resampling.resampled_taus(x[None], y, counts, clusters)
        row = {"panel": ORDER, "quantity": term, "value": resampling.plain_tau(x, y)}
        rows.append(row | _spread(taus, enough))
    less = (known[f"{accuracy}_second"] < known[f"{accuracy}_first"]).to_numpy()
    if less.any():
        certain = (known.epistemic_second < known.epistemic_first).to_numpy()
        with np.errstate(invalid="ignore"):
            shares = (counts @ (less & certain)) / (counts @ less)
        row = {"panel": MISTAKEN, "quantity": "epistemic", "first": certain.mean()}
        row["value"] = certain[less].mean()
        shares = resampling.widened(shares, row["value"], clusters)
        enough = np.unique(members[less]).size >= resampling.FEWEST_TASKS
        rows.append(row | _spread(np.clip(shares, 0, 1), enough) | {"pvalue": np.nan})
    return pd.DataFrame(rows, columns=COLUMNS)


def _mean(tasks: pd.DataFrame, quantity: str, clusters: np.ndarray | None) -> dict[str, object]:
    """Return the means of a quantity and their change, over clusters, or else over tasks."""
    pair = tasks[[f"{quantity}_first", f"{quantity}_second"]].set_axis(["first", "second"], axis=1)
    members = np.arange(len(tasks)) if clusters is None else clusters
    pair = pair.assign(member=members).dropna().groupby("member").mean()
    changed = _mean_change((pair.second - pair["first"]).to_numpy())
    return {"panel": MEAN, "quantity": quantity} | pair.mean().to_dict() | changed


def _mean_change(*groups: np.ndarray) -> dict[str, float]:
    """Return value, low, high and pvalue of a mean change (k,), or of the first less the second.

    Interval and p-value are those of one test, Student's t, or Welch's of two groups. Fewer than
    `FEWEST_TASKS` in a group have neither, nor has what does not vary; no change at all has p 1.
    """
    value = groups[0].mean() - sum(group.mean() for group in groups[1:])
    if not any(np.ptp(group) for group in groups):
        return {"value": value} if value else {"value": value, "pvalue": 1.0}
    if min(map(len, groups)) < resampling.FEWEST_TASKS:
        return {"value": value}
    one = len(groups) == 1
    test = ttest_1samp(*groups, 0) if one else ttest_ind(*groups, equal_var=False)
    low, high = test.confidence_interval(calibration.CONFIDENCE)
    return {"value": value, "low": low, "high": high, "pvalue": test.pvalue}


def _spread(replicates: np.ndarray, enough: bool) -> dict[str, float]:
    """Return low, high and the p-value of no effect of replicates, if these are of enough tasks.

    Replicates that are all the same, as those of a tau or share of 1, tell no spread.
    """
    low, high = calibration.bootstrap_interval(replicates) if enough else (0.0, 0.0)
    if high - low < 1e-9:
        return {}
    return {"low": low, "high": high, "pvalue": calibration.bootstrap_pvalue(replicates)}


def paired_change(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return how each part changed between two models, on subjects of added clips and on others.

    Both tables are as `summary.summarize` with the truth; the second model was shown more clips of
    some subjects. Columns: group ("added", "others", "added less others"), part, change (mean over
    subjects, after less before), low, high, pvalue (of one t-test over subjects; missing for fewer
    than eight), subjects, tasks, confidence.
    """
    pair = before.merge(after, on=["task", "subject"], suffixes=("_before", "_after"))
    added = pair.clips_after > pair.clips_before
    if len(pair) < max(len(before), len(after)) or added.all() or not added.any():
        raise ValueError(
            f"{len(pair)} tasks are in both tables of {len(before)} and {len(after)}, {added.sum()}"
            " of them on subjects with added clips; expected the same tasks, some of them added"
        )
    rows = []
    for part in tables.PARTS:
        changes = pair[f"{part}_after"] - pair[f"{part}_before"]
        own, others = (
            changes[kept].groupby(pair.subject).mean().to_numpy() for kept in (added, ~added)
        )
        for group, means, tasks in (
            ("added", (own,), added.sum()),
            ("others", (others,), (~added).sum()),
            ("added less others", (own, others), len(pair)),
        ):
            row = {"group": group, "part": part, "subjects": sum(map(len, means)), "tasks": tasks}
            rows.append(row | _mean_change(*means))
    columns = ["group", "part", "value", "low", "high", "pvalue", "subjects", "tasks"]
    table = pd.DataFrame(rows, columns=columns).rename(columns={"value": "change"})
    return table.assign(confidence=calibration.CONFIDENCE)


def disagreement(archives: Sequence[Archive]) -> pd.Series:
    """Return how far the videos of several models lie apart at the same latent prompts, by task.

    It is the energy distance of two models' video embeddings (Szekely and Rizzo 2013, unbiased: 0
    on average where the models are the same), averaged over latent prompts and pairs of models.
    Videos of one seed, which share their noise, are never compared.
    """
    like = f"squbed collect --profile PROFILE --like {archives[0].folder}"
    require_same_samples(archives, like)
    values = {}
    for task in archives[0].tasks().task:
        models = [archive.embeddings(task)[1] for archive in archives]
        latents = [x for a, b in combinations(models, 2) for x in zip(a, b, strict=True)]
        values[task] = np.mean([_energy(x, y) for x, y in latents if min(len(x), len(y)) > 1])
    return pd.Series(values, name="disagreement").rename_axis("task")


def _energy(x: np.ndarray, y: np.ndarray) -> float:
    """Return the energy distance of two samples (m, d), over pairs of unequal index."""
    m = min(len(x), len(y))
    apart = ~np.eye(m, dtype=bool)

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return np.linalg.norm(a[:m, None] - b[None, :m], axis=-1)[apart].mean()

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def ensemble_taus(summary: pd.DataFrame, disagreement: pd.Series) -> pd.DataFrame:
    """Return tau of each part with the models' disagreement, over means of subjects.

    `summary` has the truth's column subject. Returns part, tau, low, high, pvalue, subjects,
    confidence.
    """
    table = summary.merge(disagreement.reset_index(), on="task")
    means = table.groupby("subject")[["aleatoric", "epistemic", "disagreement"]].mean()
    rows = []
    for part in tables.PARTS:
        rng = np.random.default_rng(seed_of("ensemble", part))
        k = calibration.kendall(means[part], means.disagreement, rng=rng)
        rows.append((part, k.tau, *k.interval, k.pvalue, k.n))
    columns = ["part", "tau", "low", "high", "pvalue", "subjects"]
    return pd.DataFrame(rows, columns=columns).assign(confidence=calibration.CONFIDENCE)


def confident_mistakes(archive: Archive, subjects: pd.Series) -> pd.Series:
    """Return, by task, the share of latent prompts whose videos all show one wrong subject.

    `subjects` is task -> the subject asked for. What a video shows is read from its caption, so the
    archive needs a captioner that names subjects; captions that name none count as no mistake, and
    failed videos not at all.
    """
    videos, known = archive.videos(embeddings=False), set(subjects)
    videos = videos[videos.status == OK]
    words = videos.caption.fillna("").str.split()
    videos = videos.assign(shown=[next((w for w in said if w in known), "") for said in words])
    latents = videos.groupby(["task", "latent"]).shown.agg(["nunique", "first"]).reset_index()
    wrong = latents["first"].ne(latents.task.map(subjects)) & latents["first"].ne("")
    shares = (wrong & latents["nunique"].eq(1)).groupby(latents.task).mean()
    return shares.rename("confident_mistake")


SHOULD, BETWEEN = "what should hold", "Kendall's tau between the encoders"
ENCODER_COLUMNS = ("panel", "label", "encoders", "value", "low", "high", "pvalue", "bar", "verdict")


def compare_encoders(archives: Mapping[str, Archive]) -> pd.DataFrame:
    """Hold every finding of Figure 5 and of the truth to each archive's encoders, given by name.

    The archives are of the same prompts, latent prompts and videos, as ``squbed score ARCHIVE``
    makes them. Columns: panel (what should hold; what follows the truth, by number of attributes
    left open; whether two encoders rank the tasks alike), label, encoders, value (Kendall's tau or
    an AUROC), low, high (resampled by subject where coverage is touched), pvalue, bar and verdict
    (as `truth.truth_findings`; empty where there is no bar).
    """
    if len(archives) < 2:
        raise ValueError(f"{len(archives)} archive; expected two or more, of the same samples")
    each = list(archives.values())
    require_same_samples(each, f"squbed score {each[0].folder} --profile PROFILE --output DIR")
    summaries = {
        name: tables.with_parts(tables.summarize_run(archive, estimator="squbed"))
        for name, archive in archives.items()
    }
    rows = []
    for name, tasks in summaries.items():
        rows += [row | {"encoders": name} for row in _findings(tasks)]
    for a, b in combinations(summaries, 2):
        both = summaries[a].merge(summaries[b], on="task")
        for part in TERMS:
            rng = np.random.default_rng(seed_of("encoders", part))
            k = calibration.kendall(both[f"{part}_x"], both[f"{part}_y"], rng=rng)
            label = part if len(summaries) == 2 else f"{part}: {a} / {b}"
            row = (BETWEEN, label, f"{a} / {b}", k.tau, *k.interval, k.pvalue)
            rows.append(dict(zip(ENCODER_COLUMNS, row, strict=False)))
    numbers = dict.fromkeys(("value", "low", "high", "pvalue"), float)
    table = pd.DataFrame(rows, columns=ENCODER_COLUMNS).astype(numbers)
    return table.assign(bar=table.bar.fillna(""), verdict=table.verdict.fillna(""))


def _findings(tasks: pd.DataFrame) -> list[dict[str, object]]:
    """Return notebook 03's findings of one archive, and what follows the truth within levels."""
    accuracy = tables.default_accuracy(tasks)
    points = tables.part_points(tasks, accuracy=accuracy, fraction=0.33)
    statistics = tables.statistics_of(points)
    found, ends = [truth.part_findings(statistics)], statistics[["low", "high"]].to_numpy()
    within = []
    if "true_entropy" in tasks:
        taus = truth.truth_taus(tasks)
        found.append(truth.truth_findings(tasks, taus))
        areas = truth.separation_within(tasks)
        overall = areas[areas.level == "all"][["low", "high"]]
        ends = np.vstack([ends, taus.dropna(subset="bar")[["low", "high"]], overall])
        by_level = (
            (truth.aleatoric_within(tasks).rename(columns={"tau": "value"}), truth.ALEATORIC),
            (areas.rename(columns={"auroc": "value"}), truth.SEPARATION),
        )
        for table, panel in by_level:
            label = table.level.where(table.level.isin(["pooled", "all"]), table.level + " open")
            within += table.assign(panel=panel, label=label).to_dict("records")
    found = pd.concat(found).rename(columns={"finding": "label"})
    found[["low", "high"]] = ends
    return found.assign(panel=SHOULD).to_dict("records") + within
