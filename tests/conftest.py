"""Fixtures: the tiny models, a profile of them, and the archive it fills."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.load_profile("ci")  # the same examples every time, and none fails for being slow


@pytest.fixture(scope="session")
def tiny_profile(tmp_path_factory) -> Path:
    """Path of the profile ``world-tiny``: 4 tasks, 3 latent prompts, 3 videos, untrained models."""
    from kit import tiny

    return tiny.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def tiny_archive(tiny_profile, tmp_path_factory) -> Path:
    """Folder of the finished archive of ``world-tiny``; copy it before changing it."""
    from squbed_utils.collection.collect import collect

    folder = tmp_path_factory.mktemp("samples") / "world-tiny"
    return collect(tiny_profile, output=folder).folder
