"""Batches of one fixed size."""

from collections.abc import Callable


def in_batches(function: Callable[[list], list], items: list, size: int) -> list:
    """Apply a function to lists of exactly `size` items; the last is padded with its last item.

    Examples
    --------
    >>> in_batches(lambda batch: [len(batch)] * len(batch), ["a", "b", "c"], 2)
    [2, 2, 2]

    """
    results = []
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        padded = batch + [batch[-1]] * (size - len(batch))
        results.extend(list(function(padded))[: len(batch)])
    return results
