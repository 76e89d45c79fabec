"""The same prompts and videos under several encoders: whether they rank alike, and what holds."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.files import seed_of
from squbed_utils.statistics import tables, truth
from squbed_utils.statistics.calibration import kendall
from squbed_utils.statistics.pairs import require_same_samples
from squbed_utils.statistics.summary import TERMS

SHOULD, BETWEEN = "what should hold", "Kendall's tau between the encoders"
COLUMNS = ("panel", "label", "encoders", "value", "low", "high", "pvalue", "bar", "verdict")


def compare(
    archives: Mapping[str, Archive],
    *,
    estimator: str = "squbed",
    accuracy: str = "",
    fraction: float = 0.33,
) -> pd.DataFrame:
    """Hold every finding of Figure 5 and of the truth to each archive's encoders.

    Parameters
    ----------
    archives : mapping of str to Archive
        Finished archives of the same prompts, latent prompts and videos, by the encoders' names, as
        ``squbed score ARCHIVE`` makes them.
    estimator : str
        A name in ``registry.ESTIMATORS``.
    accuracy : str
        As notebook 03; empty: as `tables.default_accuracy`.
    fraction : float
        Of the tasks that Figure 5 shows: those with the least of the other part.

    Returns
    -------
    DataFrame
        panel (what should hold; what follows the truth, by number of attributes left open; whether
        two encoders rank the tasks alike), label, encoders, value (Kendall's tau or an AUROC), low,
        high (95 % intervals, resampled by subject where coverage is touched), pvalue, bar and
        verdict (as `truth.truth_findings`; empty where there is no bar).

    Raises
    ------
    ValueError
        If there are fewer than two archives, or they are not of the same samples.
    """
    if len(archives) < 2:
        raise ValueError(f"{len(archives)} archive; expected two or more, of the same samples")
    each = list(archives.values())
    require_same_samples(each, f"squbed score {each[0].folder} --profile PROFILE --output DIR")
    summaries = {
        name: tables.with_parts(tables.summarize_run(archive, estimator=estimator))
        for name, archive in archives.items()
    }
    rows = []
    for name, tasks in summaries.items():
        found = _findings(tasks, accuracy or tables.default_accuracy(tasks), fraction)
        rows += [row | {"encoders": name} for row in found]
    for a, b in combinations(summaries, 2):
        both = summaries[a].merge(summaries[b], on="task")
        for part in TERMS:
            rng = np.random.default_rng(seed_of("encoders", part))
            tau = kendall(both[f"{part}_x"], both[f"{part}_y"], rng=rng)
            label = part if len(summaries) == 2 else f"{part}: {a} / {b}"
            row = {"panel": BETWEEN, "label": label, "encoders": f"{a} / {b}", "value": tau.tau}
            rows.append(row | dict(zip(("low", "high"), tau.interval, strict=True)))
            rows[-1]["pvalue"] = tau.pvalue
    numbers = dict.fromkeys(("value", "low", "high", "pvalue"), float)
    table = pd.DataFrame(rows, columns=COLUMNS).astype(numbers)
    return table.assign(bar=table.bar.fillna(""), verdict=table.verdict.fillna(""))


def _findings(tasks: pd.DataFrame, accuracy: str, fraction: float) -> list[dict[str, object]]:
    """Return notebook 03's findings of one archive, and what follows the truth within levels."""
    statistics = tables.statistics_of(
        tables.part_points(tasks, accuracy=accuracy, fraction=fraction)
    )
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
