"""Numerics, data and figures behind the notebooks."""
