"""Failures that end a run, and those that cost one unit of work."""

from collections.abc import Iterator
from contextlib import contextmanager

NO_MEMORY = "can't allocate memory"
"""Torch's message on a CPU without memory, for which it has no exception type."""


class Stop(RuntimeError):
    """A failure that every other unit would meet too: the run ends, and nothing is recorded."""


@contextmanager
def memory_named() -> Iterator[None]:
    """Turn every out-of-memory error into one `Stop` that says what helps."""
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        out = isinstance(error, MemoryError | torch.OutOfMemoryError) or NO_MEMORY in str(error)
        if not out:
            raise
        first = str(error).partition("\n")[0][:200] or type(error).__name__
        raise Stop(
            f"out of memory ({first}); what is finished is kept: run fewer workers, set "
            "video_model.offload or video_model.vae_tiling in the profile, or take a larger machine"
        ) from error
