"""Dimension reduction that the estimators survive."""

from collections.abc import Sequence

import numpy as np

from squbed_utils.estimators.checks import real_array, unit_rows


def pooled_pca(embeddings: Sequence[np.ndarray], n_components: int) -> list[np.ndarray]:
    """Project the embeddings of all tasks on the leading axes of one uncentred PCA.

    Axes: the leading eigenvectors of sum x x' over the unit-normalised embeddings of all tasks
    together. Nothing is centred and nothing is fitted to one task: either removes the mean
    resultant length that the estimators measure. Reduction costs ranking accuracy (Kendall's tau
    with the truth .915 at 384 dimensions, .82 at 16, .64 at 5), so it is never applied unasked.

    Parameters
    ----------
    embeddings : list of ndarray, each of shape (..., d)
        One array a task, at least two tasks.
    n_components : int
        From 2 to d, and at most the number of embeddings.

    Returns
    -------
    list of ndarray, each of shape (..., n_components)
        Projected and divided by their length.

    Raises
    ------
    ValueError
        If there are fewer than two tasks, widths differ, `n_components` is out of range, or an
        embedding is zero, not finite or orthogonal to all axes kept.

    Examples
    --------
    >>> [x.shape for x in pooled_pca([np.eye(4), np.ones((2, 3, 4))], 2)]
    [(4, 2), (2, 3, 2)]

    """
    arrays = _check_pool(embeddings, n_components)
    units = [unit_rows(x, f"task {i}'s embedding") for i, x in enumerate(arrays)]
    pooled = np.concatenate([x.reshape(-1, x.shape[-1]) for x in units])
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    axes = vectors[:, ::-1][:, :n_components]
    return [unit_rows(x @ axes, f"task {i}'s projected embedding") for i, x in enumerate(units)]


def _check_pool(embeddings: Sequence[np.ndarray], n_components: int) -> list[np.ndarray]:
    if isinstance(embeddings, np.ndarray) or len(embeddings) < 2:
        raise ValueError(
            f"embeddings are a {type(embeddings).__name__} of length {len(embeddings)}; expected "
            "a list of at least 2 tasks' arrays: axes fitted to one prompt's embeddings destroy "
            "the mean resultant length that the estimators measure"
        )
    arrays = [real_array(x, f"task {i}'s embeddings") for i, x in enumerate(embeddings)]
    for i, x in enumerate(arrays):
        if x.ndim < 2 or x.size == 0 or x.shape[-1] != arrays[0].shape[-1]:
            raise ValueError(
                f"task {i}'s embeddings have shape {x.shape}, task 0's {arrays[0].shape}; "
                "expected (..., d), not empty, with one d for all tasks"
            )
    d = arrays[0].shape[-1]
    limit = min(d, sum(x.size // d for x in arrays))
    if not 2 <= n_components <= limit:
        raise ValueError(f"n_components is {n_components}; expected 2 to {limit}")
    return arrays
