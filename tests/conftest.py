"""Fixtures: the tiny models, a profile of them, the archive it fills, and a browser."""

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


@pytest.fixture(scope="module")
def chromium():
    """Start a browser for a file of tests."""
    from kit import browsers

    with browsers.chromium() as browser:
        yield browser


@pytest.fixture
def opened(chromium):
    """Open a file without network; whatever the console says fails the test."""
    said, contexts = [], []

    def visit(path, **options):
        context = chromium.new_context(viewport={"width": 1440, "height": 900}, **options)
        contexts.append(context)
        context.set_default_timeout(30_000)
        context.set_offline(True)
        context.on("request", lambda r: r.url[:5] in ("file:", "data:") or said.append(r.url))
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []
