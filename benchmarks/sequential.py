"""Does it pay to give more videos to the tasks whose rank is least certain? By subsampling.

Each task starts with two videos of two latent prompts. Rounds of two or more videos go to the
twentieth of the tasks that a rule names, until a task has so many on average. Beside it stand the
uniform designs of equal cost. Nothing of the package does this: docs/validation.md says why.

Usage: OMP_NUM_THREADS=1 python benchmarks/sequential.py data/samples/world-confirm
"""

import argparse

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from squbed_utils import open_archive
from squbed_utils.estimators import vmf
from squbed_utils.files import seed_of
from squbed_utils.statistics import cost
from squbed_utils.statistics.leaderboard import mean_accuracy
from squbed_utils.statistics.resampling import resampled_areas

STAGES = ((2, 2), (3, 2), (4, 2), (6, 2), (6, 3))
"""Latent prompts and videos of each that a task has, from one round to the next."""

BUDGETS = (6, 8, 12)
RULES = ("rank", "standard error", "at random")
DRAWS = 10


def main() -> None:
    """Print how each rule orders the tasks at each mean number of videos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", help="a finished archive of six latent prompts with six videos")
    archive = open_archive(parser.parse_args().archive)
    samples = cost.samples_of(archive)
    accuracy = mean_accuracy(archive)[samples.tasks].to_numpy()
    coverage = archive.truth().set_index("task").coverage[samples.tasks]
    rows = []
    for draw in range(DRAWS):
        drawn = samples.drawn(np.random.default_rng(seed_of("sequential", draw)))
        m = drawn.videos.shape[2]
        other = entropies(drawn.videos[:, :, m - m // 2 :]).mean(axis=1)
        for rule, videos, epistemic in orders(drawn.videos, draw):
            area = resampled_areas(epistemic, coverage, np.ones((1, len(accuracy))))[0]
            taus = [kendalltau(epistemic, y).statistic for y in (other, accuracy)]
            rows.append((rule, videos, *taus, area))
    columns = ["rule", "videos", "disjoint half", "accuracy", "AUROC"]
    table = pd.DataFrame(rows, columns=columns).groupby(["rule", "videos"])
    print(table.mean().join(table.sem(), rsuffix=" se").round(3).to_string())


def orders(videos: np.ndarray, draw: int) -> list[tuple[str, int, np.ndarray]]:
    """Return rule, videos and each task's epistemic part (T,), from videos (T, n, m, d)."""
    h = [entropies(videos[:, :k, :v]) for k, v in STAGES]
    means = np.stack([x.mean(axis=1) for x in h], axis=1)
    common = h[-2].var(axis=1, ddof=1).mean()  # a task's own variance is that of a few values
    variances = [(x.var(axis=1, ddof=1) + common) / 2 / x.shape[1] for x in h]
    errors = np.sqrt(np.stack(variances, axis=1))
    costs = np.array([k * v for k, v in STAGES])
    found = [("uniform", b, means[:, list(costs).index(b)]) for b in BUDGETS]
    for rule in RULES:
        for budget in BUDGETS:
            rng = np.random.default_rng(seed_of("sequential", rule, budget, draw))
            stage = np.zeros(len(means), int)
            while costs[stage].mean() < budget:
                value, error = (x[np.arange(len(x)), stage] for x in (means, errors))
                width = widths(rule, value, error, rng)
                width[stage == len(STAGES) - 1] = -1
                stage[np.argsort(-width)[: len(width) // 20]] += 1
            found.append((rule, budget, means[np.arange(len(means)), stage]))
    return found


def widths(rule: str, value: np.ndarray, error: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return by what each task (T,) is chosen for more videos."""
    if rule == "at random":
        return rng.random(len(value))
    if rule == "standard error":
        return error.copy()
    low, high = (np.searchsorted(np.sort(value), value + side * error) for side in (-2, 2))
    return (high - low).astype(float)


def entropies(videos: np.ndarray) -> np.ndarray:
    """Return h(V given z) of each latent prompt (T, n), from videos (T, n, m, d)."""
    return vmf.entropy(videos.shape[-1], vmf.fit(videos).kappa)


if __name__ == "__main__":
    main()
