"""Uncertainty of text-to-video models with S-QUBED: numerics, data, models and figures.

Importing the package or its numerics loads neither torch nor diffusers.
"""

__version__ = "0.1.0"
