"""Uncertainty of text-to-video models with S-QUBED: numerics, data, models and figures.

Importing the package or its numerics loads neither torch nor diffusers.
"""

from importlib import import_module

__version__ = "0.1.0"

FACE = {
    "open_archive": "archive.archive",
    "open_run": "commands.notebooks",
    "load": "archive.remote",
    "collect": "collection.collect",
    "score": "collection.existing",
    "quantify": "commands.answer",
    "vagueness": "commands.triage",
    "estimate": "estimators.estimate",
    "summarize": "statistics.summary",
    "explore": "commands.explorer",
}
"""Each public function's module, which is imported when the function is first used."""

__all__ = ["__version__", *FACE]


def __getattr__(name: str) -> object:
    if name in FACE:
        return getattr(import_module(f"squbed_utils.{FACE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(globals().keys() | FACE.keys())
