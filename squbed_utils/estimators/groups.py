"""The videos of one task, taken together or latent prompt by latent prompt."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from squbed_utils.estimators.registry import Videos


def equal_groups(videos: Videos) -> list[np.ndarray]:
    """Return the videos as arrays (k, m, d), one for each distinct m, for batched work."""
    if isinstance(videos, np.ndarray):
        return [videos]
    groups = defaultdict(list)
    for x in videos:
        groups[len(x)].append(x)
    return [np.stack(group) for group in groups.values()]


def mean_over_latents(function: Callable[[np.ndarray], np.ndarray], videos: Videos) -> float:
    """Return the mean over latent prompts of a batched function (k, m, d) -> (k,)."""
    return float(np.mean(np.concatenate([function(group) for group in equal_groups(videos)])))


def pooled(videos: Videos) -> np.ndarray:
    """Return all videos of a task, shape (N, d), latent prompt after latent prompt."""
    return np.concatenate(list(videos))


def latent_of(videos: Videos) -> np.ndarray:
    """Return the latent prompt of each pooled video, shape (N,)."""
    return np.repeat(np.arange(len(videos)), [len(x) for x in videos])


def shares(videos: Videos) -> np.ndarray:
    """Return the weight of each pooled video, 1 / (n m_i): latent prompts weigh the same."""
    counts = np.array([len(x) for x in videos])
    return np.repeat(1 / (len(videos) * counts), counts)
