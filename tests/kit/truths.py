"""Summaries of tasks whose truth is known."""

import numpy as np
import pandas as pd


def rng(seed=0):
    """Return a generator."""
    return np.random.default_rng(seed)


def clustered(generator, *, per=5, tasks=10, icc=0.31, effect=0.0):
    """Return a score, its level (0, 1, 2) and its subject, for `per` subjects a level."""
    level, subjects = np.repeat(np.arange(3), per), generator.normal(size=3 * per)
    subject = np.repeat(np.arange(3 * per), tasks)
    noise = generator.normal(size=subject.size)
    score = effect * level[subject] + np.sqrt(icc) * subjects[subject] + np.sqrt(1 - icc) * noise
    return score, level[subject].astype(float), subject


def summary(seed=0):
    """Return a summary of 60 tasks: epistemic follows coverage and subject, aleatoric entropy."""
    score, level, subject = clustered(rng(seed), tasks=4, effect=1.0)
    left_out, noise = np.arange(60) % 4, rng(seed + 1).normal(size=(3, 60))
    table = pd.DataFrame({"task": [f"t{i}" for i in range(60)], "epistemic": score})
    table = table.assign(subject=[f"s{i}" for i in subject], left_out=left_out)
    table["coverage"] = np.array(["common", "rare", "never"])[level.astype(int)]
    table["true_entropy"] = left_out + 0.1 * (np.arange(60) // 4 % 3)
    table["aleatoric"] = table.true_entropy + 0.05 * noise[0]
    table["ssim"] = -table.epistemic + 0.5 * noise[1]
    return table.assign(prompt=[" ".join("w" * (9 - i)) for i in left_out])
