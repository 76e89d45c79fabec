"""Embeddings of one task, drawn around their centres."""

import numpy as np


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def task(seed=0, n=5, m=4, d_text=12, d_video=16, spread=0.4):
    """Return unit embeddings of one task; those of a latent prompt share a centre."""
    rng = np.random.default_rng(seed)
    text = unit(1 + spread * rng.normal(size=(n, d_text)))
    centres = 1 + spread * rng.normal(size=(n, 1, d_video))
    return text, unit(centres + spread * rng.normal(size=(n, m, d_video)))


def values(found):
    """Return terms as numbers; NaN for a component that there is not."""
    return np.array(found[:3], dtype=float)
