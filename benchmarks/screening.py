"""What does a cheaper twin of the video model save? Screening, beside designs of fewer videos.

A twin ranks all tasks. The full model makes again the share of them whose ranks are nearest to a
threshold, and takes the places that these hold. Beside it stand the same share at random, and the
uniform designs of the full model. All are held to what the full model says with all its videos.
Costs are steps of the sampler a task.

Usage: OMP_NUM_THREADS=1 python benchmarks/screening.py ARCHIVE TWIN [TWIN ...] --output CSV
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from squbed_utils import open_archive
from squbed_utils.estimators import vmf
from squbed_utils.files import seed_of
from squbed_utils.statistics import cost, decision
from squbed_utils.statistics.calibration import bootstrap_interval
from squbed_utils.statistics.leaderboard import mean_accuracy
from squbed_utils.statistics.resampling import (
    resampled_areas,
    task_counts,
    weighted_taus,
    widened,
)

REFERRED = (0.1, 0.2, 0.33, 0.5)
"""Shares of the tasks above the threshold; agreement is the mean over them."""

USUAL = 0.2
"""The one at which merged ranks are held to accuracy and coverage."""

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
DESIGNS = ((2, 2), (3, 2), (4, 2), (3, 3), (4, 3), (6, 2), (6, 3), (6, 4), (6, 6))
DRAWS, N_RESAMPLES = 10, 1000
UNIFORM, NEAR, RANDOM = "uniform", "near the threshold", "at random"

Rankings = list[dict[float, pd.Series]]
"""For each draw, the share above the threshold -> the tasks' ranks."""


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", help="of the full model, six latent prompts with six videos")
    parser.add_argument("twins", nargs="+", help="archives of the same prompts, of fewer steps")
    parser.add_argument("--fresh", help="ten latent prompts with ten videos, which show the noise")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    table = measure(options.archive, options.twins, options.fresh)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(options.output, index=False)
    print(table.round(3).to_string(index=False))


def measure(folder: str, twins: list[str], fresh: str | None) -> pd.DataFrame:
    """Return a row a way, design or share, and term: as docs/validation.md says of the columns."""
    archive = open_archive(folder)
    full = cost.samples_of(archive)
    truth = archive.truth().set_index("task").loc[full.tasks]
    accuracy = mean_accuracy(archive)[full.tasks].to_numpy()
    clusters, n = truth.subject.to_numpy(), len(full.tasks)
    rng = np.random.default_rng(seed_of("screening"))
    counts = np.vstack([np.ones((1, n), np.float32), task_counts(n, N_RESAMPLES, rng, clusters)])
    whole = uncertainties(full)
    other = fresh_uncertainties(full, whole, fresh) if fresh else None
    rows, replicates = [], []
    for way, by, row, rankings in ways(full, whole, twins, archive.video_model["steps"]):
        usual = [draw[USUAL].to_numpy() for draw in rankings]
        found = {"agreement": counts @ agreement(rankings, whole[by]) / counts.sum(axis=1)}
        found["tau"] = np.mean([weighted_taus(x[None], accuracy, counts)[0] for x in usual], axis=0)
        if by == "epistemic":
            areas = [resampled_areas(x, truth.coverage, counts) for x in usual]
            found["AUROC"] = np.mean(areas, axis=0)
        row = {"way": way, "by": by} | row
        if other:
            row["fresh"] = agreement(rankings, other[by]).mean()
        for name, values in found.items():
            row[name] = values[0]
            row[f"{name}_low"], row[f"{name}_high"] = interval(values, clusters)
        rows.append(row)
        replicates.append(found)
    table = pd.DataFrame(rows)
    beside(table, replicates, clusters)
    return table


def ways(
    full: cost.Samples, whole: dict[str, pd.Series], twins: list[str], steps: int
) -> Iterator[tuple[str, str, dict, Rankings]]:
    """Yield each way to rank the tasks, by what, what it costs, and the ranks it gives."""
    drawn = [full.drawn(np.random.default_rng(seed_of("screening", i))) for i in range(DRAWS)]
    for k, v in DESIGNS:
        cheaper = [uncertainties(samples, k, v) for samples in drawn]
        for by in whole:
            row = {"latents": k, "each": v, "steps": k * v * steps}
            yield UNIFORM, by, row, [dict.fromkeys(REFERRED, one[by].rank()) for one in cheaper]
    for folder in twins:
        archive = open_archive(folder)
        twin, fewer = cost.samples_of(archive), archive.video_model["steps"]
        if twin.tasks != full.tasks:
            raise ValueError(f"{folder} measures other tasks; make it by `squbed collect --like`")
        screened = uncertainties(twin)
        for by, share in ((by, share) for by in whole for share in SHARES):
            row = {"twin": fewer, "share": share, "steps": 36 * (fewer + share * steps)}
            near = {r: near_threshold(screened[by], r, share) for r in REFERRED}
            merged = {r: merge(screened[by], whole[by], near[r]) for r in REFERRED}
            yield NEAR, by, row, [merged]
            if 0 < share < 1:
                count, draws = len(near[USUAL]), []
                for i in range(DRAWS):
                    rng = np.random.default_rng(seed_of("screening", by, share, i))
                    chosen = rng.choice(full.tasks, count, replace=False)
                    draws.append(
                        dict.fromkeys(REFERRED, merge(screened[by], whole[by], list(chosen)))
                    )
                yield RANDOM, by, row, draws


def near_threshold(screened: pd.Series, refer: float, share: float) -> list[str]:
    """Return the tasks to confirm; none of no share."""
    return decision.in_doubt(screened, refer=refer, share=share) if share else []


def merge(screened: pd.Series, whole: pd.Series, tasks: list[str]) -> pd.Series:
    """Return the ranks when the full model confirms some tasks."""
    return decision.merged_ranks(screened, whole[tasks])


def uncertainties(samples: cost.Samples, k: int = 6, v: int = 6) -> dict[str, pd.Series]:
    """Return S-QUBED's epistemic part and total by task, of a design's videos."""
    found = cost.scores(samples, k, v)
    return {
        by: pd.Series(found[by, "squbed"], index=samples.tasks) for by in ("epistemic", "total")
    }


def fresh_uncertainties(
    full: cost.Samples, whole: dict[str, pd.Series], folder: str
) -> dict[str, pd.Series]:
    """Return the same from the videos of a larger archive that the full one does not share."""
    larger = cost.samples_of(open_archive(folder))
    videos = larger.videos[[larger.tasks.index(task) for task in full.tasks]]
    parts = (videos[:, :6, 6:], videos[:, 6:])
    h = [vmf.entropy(x.shape[-1], vmf.fit(x).kappa) for x in parts]
    epistemic = pd.Series(np.concatenate(h, axis=1).mean(axis=1), index=full.tasks)
    return {"epistemic": epistemic, "total": whole["total"] - whole["epistemic"] + epistemic}


def agreement(rankings: Rankings, target: pd.Series) -> np.ndarray:
    """Return for each task (n,) how often it lies on the side of the threshold of the target."""
    sides = [
        above(ranks, refer) == above(target, refer)
        for draw in rankings
        for refer, ranks in draw.items()
    ]
    return np.mean(sides, axis=0)


def above(values: pd.Series, refer: float) -> np.ndarray:
    """Return which tasks (n,) are among the most uncertain share."""
    n = len(values)
    return (values.rank(method="first") > n - round(refer * n)).to_numpy()


def interval(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a value that stands before its replicates."""
    return bootstrap_interval(widened(values[1:], values[0], clusters))


def beside(table: pd.DataFrame, replicates: list[dict], clusters: np.ndarray) -> None:
    """Add the gain of each measure over the cheapest uniform design that costs no less."""
    uniform = table[table.way == UNIFORM]
    for i, row in table[table.way != UNIFORM].iterrows():
        dearer = uniform[(uniform.by == row.by) & (uniform.steps >= row.steps)]
        if dearer.empty:
            continue
        j = dearer.steps.idxmin()
        table.loc[i, "uniform"] = f"{table.latents[j]:g} x {table.each[j]:g}"
        for name, values in replicates[i].items():
            gain = values - replicates[j][name]
            columns = [f"{name}_gain", f"{name}_gain_low", f"{name}_gain_high"]
            table.loc[i, columns] = gain[0], *interval(gain, clusters)


if __name__ == "__main__":
    main()
