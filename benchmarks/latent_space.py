"""What do the same videos say under another encoder? Two archives, paired over their tasks.

Usage: OMP_NUM_THREADS=1 python benchmarks/latent_space.py ARCHIVE OTHER --output CSV
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from squbed_utils import open_archive
from squbed_utils.files import seed_of
from squbed_utils.statistics import cost
from squbed_utils.statistics.calibration import bootstrap_interval
from squbed_utils.statistics.leaderboard import mean_accuracy
from squbed_utils.statistics.resampling import (
    resampled_areas,
    task_counts,
    weighted_taus,
    widened,
)

N_RESAMPLES = 2000


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", help="with the truth")
    parser.add_argument("other", help="the same videos, measured by `squbed score ARCHIVE`")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    table = measure(options.archive, options.other)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(options.output, index=False)
    print(table.round(3).to_string(index=False))


def measure(folder: str, other: str) -> pd.DataFrame:
    """Return measure, component, estimator; own, other and their difference, with intervals.

    Measures are tau with accuracy, tau between the two (in `other`), and the AUROC of never-seen
    against common subjects, which are resampled.
    """
    archives = open_archive(folder), open_archive(other)
    first, second = map(cost.samples_of, archives)
    if first.tasks != second.tasks:
        raise ValueError(f"{other} measures other tasks; make it by `squbed score {folder}`")
    accuracy = mean_accuracy(archives[0])[first.tasks].to_numpy()
    truth = archives[0].truth().set_index("task").loc[first.tasks]
    clusters, n = truth.subject.to_numpy(), len(first.tasks)
    rng = np.random.default_rng(seed_of("vae"))
    counts = np.vstack([np.ones((1, n), np.float32), task_counts(n, N_RESAMPLES, rng, clusters)])
    latents, each = first.videos.shape[1:3]
    x, y = (cost.scores(samples, latents, each) for samples in (first, second))
    rows = []
    for component, estimator in x:
        own, others = x[component, estimator], y[component, estimator]
        key = {"component": component, "estimator": estimator}
        taus = [weighted_taus(values[None], accuracy, counts)[0] for values in (own, others)]
        rows.append({"measure": "tau with accuracy"} | key | both(*taus, clusters))
        between = weighted_taus(own[None], others, counts)[0]
        rows.append({"measure": "tau between the two"} | key | named("other", between, clusters))
    key = {"component": "epistemic", "estimator": "squbed"}
    areas = [resampled_areas(of[tuple(key.values())], truth.coverage, counts) for of in (x, y)]
    rows.append({"measure": "AUROC for coverage"} | key | both(*areas, clusters))
    return pd.DataFrame(rows)


def both(own: np.ndarray, other: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return two values and their difference, each before its replicates, with intervals."""
    values = {"own": own, "other": other, "difference": other - own}
    return {k: v for name, of in values.items() for k, v in named(name, of, clusters).items()}


def named(name: str, values: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return a value that stands before its replicates, and its 95 % interval."""
    low, high = bootstrap_interval(widened(values[1:], values[0], clusters))
    return {name: values[0], f"{name}_low": low, f"{name}_high": high}


if __name__ == "__main__":
    main()
