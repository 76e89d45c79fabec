"""Uncertainty of text-to-video models with S-QUBED: numerics, data, models and figures.

Importing the package or its numerics loads neither torch nor diffusers.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Give `load` when it is first asked for, so that importing the package stays light."""
    if name == "load":
        from squbed_utils.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
