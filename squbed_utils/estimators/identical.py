"""Samples that are identical, so that they show no spread."""

from collections.abc import Sequence

import numpy as np

from squbed_utils.estimators.checks import KAPPA_MAX

LATENT_PROMPTS, VIDEOS = "latent prompts", "videos"


def first_twins(rows: np.ndarray) -> np.ndarray:
    """Return int (k,): for each of k unit vectors (k, d), the first that it is identical to.

    Two are identical if they lie so close that a fit to them has its kappa at the cap: a thousandth
    apart in 500 dimensions, far more than rounding and far less than any two videos.
    """
    squared = 2 - 2 * (rows @ rows.T)
    return (squared <= 2 * (rows.shape[1] - 1) / KAPPA_MAX).argmax(axis=1)


def identical_parts(text: np.ndarray | None, videos: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Name what has no spread: "latent prompts", the "videos" of a latent prompt, both or neither.

    Embeddings are float64 of unit length: text (n, d_t) or None, videos n arrays (m_i, d_v); of a
    latent prompt with a single video, or none, nothing can be said.
    """
    found = () if text is None or first_twins(text).any() else (LATENT_PROMPTS,)
    spread = all(first_twins(x).any() for x in videos if len(x) > 1)
    return found if spread else (*found, VIDEOS)
