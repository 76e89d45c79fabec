"""Checks shared by the numerical modules: the first offending value is named by its index."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

KAPPA_MAX = 1e9


def require(good: np.ndarray, values: np.ndarray, name: str, expected: str) -> None:
    """Raise ValueError for the first value that is not good."""
    if np.all(good):
        return
    index = tuple(int(i) for i in np.argwhere(~np.asarray(good))[0])
    place = f" at index {index}" if index else ""
    raise ValueError(f"{name}{place} is {values[index]}; expected {expected}")


def dimension(n: ArrayLike) -> np.ndarray:
    """Return dimensions as floats; refuse any that is not an integer of at least 2."""
    n = np.asarray(n, dtype=float)
    require((n >= 2) & (n == np.floor(n)) & np.isfinite(n), n, "dimension n", "an integer >= 2")
    return n


def concentration(kappa: ArrayLike) -> np.ndarray:
    """Return concentrations as floats; refuse any outside 0 to KAPPA_MAX."""
    kappa = np.asarray(kappa, dtype=float)
    require((kappa >= 0) & (kappa <= KAPPA_MAX), kappa, "concentration kappa", "0 to 1e9")
    return kappa


def require_generator(rng: object) -> None:
    """Refuse a seed or None where a generator is needed."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a {type(rng).__name__}; pass numpy.random.default_rng(seed)")


def real_array(values: ArrayLike, name: str) -> np.ndarray:
    """Return an array of floating type; refuse one that does not hold real numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {values.dtype}; expected real numbers in equal rows")
    return values if values.dtype.kind == "f" else values.astype(float)


def unit_rows(x: np.ndarray, name: str) -> np.ndarray:
    """Return vectors (..., d) in float64 at unit length, also if squares overflow or vanish."""
    x, length = measured_rows(x, name)
    return x / length[..., None]


def measured_rows(
    x: np.ndarray, name: str, index_of: Callable[..., tuple[int, ...]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors (..., d) in float64, scaled if squares overflow or vanish, and their lengths.

    `index_of` turns an index into `x` into the one that an error shows, for a block of an array.
    """
    x = np.asarray(x, dtype=float)
    with np.errstate(over="ignore"):
        squared = np.vecdot(x, x)
    if squared.size and not (squared.min() > 1e-200 and squared.max() < 1e200):
        x = _scaled_rows(x, name, index_of)
        squared = np.vecdot(x, x)
    return x, np.sqrt(squared)


def _scaled_rows(
    x: np.ndarray, name: str, index_of: Callable[..., tuple[int, ...]] | None
) -> np.ndarray:
    """Scale rows (..., d) to largest component 1; refuse the first that is zero or not finite."""
    scale = np.abs(x).max(axis=-1)
    good = np.isfinite(scale) & (scale > 0)
    if not good.all():
        index = tuple(int(i) for i in np.argwhere(~good)[0])
        fault = "the zero vector" if scale[index] == 0 else "not finite"
        shown = index_of(*index) if index_of else index
        raise ValueError(
            f"{name} {shown} is {fault}; a direction is a finite non-zero vector: "
            "drop it or repair the encoder that made it"
        )
    return x / scale[..., None]


def finite_vector(values: ArrayLike, name: str) -> np.ndarray:
    """Return values as floats (n,), n >= 1; refuse another shape and a value that is not finite."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name} has shape {values.shape}; expected (n,), not empty")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(
            f"{name}[{bad[0]}] is {values[bad[0]]} ({bad.size} of {values.size} are not finite); "
            "drop those tasks from every input, and say how many"
        )
    return values


def equal_vectors(
    x: ArrayLike, y: ArrayLike, names: tuple[str, str] = ("uncertainty", "accuracy")
) -> tuple[np.ndarray, np.ndarray]:
    """Return two finite float vectors (n,), n >= 1; refuse unequal lengths."""
    x, y = (finite_vector(values, name) for values, name in zip((x, y), names, strict=True))
    if x.size != y.size:
        raise ValueError(
            f"{names[0]} has {x.size} values and {names[1]} {y.size}; expected one of each a task"
        )
    return x, y


def task_pair(uncertainty: ArrayLike, accuracy: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return two float vectors (n,) with a rank correlation: n >= 3, finite, not constant."""
    x, y = equal_vectors(uncertainty, accuracy)
    if x.size < 3:
        raise ValueError(f"n = {x.size} tasks; a rank correlation needs at least 3")
    for name, v in (("uncertainty", x), ("accuracy", y)):
        if v.min() == v.max():
            raise ValueError(
                f"{name} is {v[0]} for all {v.size} tasks; a constant has no rank correlation"
            )
    return x, y


def check_task(
    text: ArrayLike | None, videos: ArrayLike | Sequence[ArrayLike]
) -> tuple[np.ndarray | None, np.ndarray | list[np.ndarray], tuple[int, ...]]:
    """Return one task's embeddings at unit length, and each latent prompt's number of videos.

    Videos keep the form in which they were given: an array (n, m, d_v) or a list of (m_i, d_v).
    A latent prompt whose text is known may have one video or none.
    """
    least = 2 if text is None else 1
    if text is not None:
        text = _unit_text(text, len(videos))
    if not any(map(len, videos)):
        raise ValueError("there are no videos; expected those of at least one latent prompt")
    first = next(i for i, x in enumerate(videos) if len(x))
    d = _unit_videos(videos[first], first, least).shape[1]
    units = [
        _unit_videos(x, i, least) if len(x) else np.empty((0, d)) for i, x in enumerate(videos)
    ]
    for i, x in enumerate(units):
        if x.shape[1] != d:
            raise ValueError(
                f"videos of latent prompt {i} have width {x.shape[1]}, of latent prompt {first} "
                f"{d}; expected one video encoder's width"
            )
    counts = tuple(len(x) for x in units)
    stacked = np.stack(units) if isinstance(videos, np.ndarray) else units
    return text, stacked, counts


def _unit_text(text: ArrayLike, count: int) -> np.ndarray:
    text = real_array(text, "text")
    if text.ndim != 2 or len(text) < 3 or text.shape[1] < 2:
        raise ValueError(
            f"text has shape {text.shape}; "
            "expected (n, d_t) with n >= 3 latent prompts and d_t >= 2"
        )
    if count != len(text):
        raise ValueError(
            f"text has {len(text)} latent prompts, videos {count}; expected equal numbers"
        )
    return unit_rows(text, "text embedding")


def _unit_videos(x: ArrayLike, i: int, least: int) -> np.ndarray:
    x = real_array(x, f"videos of latent prompt {i}")
    if x.ndim != 2 or len(x) < least or x.shape[1] < 2:
        raise ValueError(
            f"videos of latent prompt {i} have shape {x.shape}; expected (m, d_v) with d_v >= 2 "
            f"and m >= {least}: leave out a latent prompt with fewer videos"
        )
    return unit_rows(x, f"video embedding of latent prompt {i}")


LATENT_PROMPTS, VIDEOS = "latent prompts", "videos"
"""Of what samples may be identical, so that they show no spread."""


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
