"""The system's Chromium, driven by playwright; without either, a test is skipped and says so."""

import shutil
import time
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium():
    """Give a running browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed; `apt-get install chromium` brings one")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def visit_when_up(page, address, seconds=90):
    """Open a page of a server that is just starting."""
    from playwright.sync_api import Error

    end = time.monotonic() + seconds
    while True:
        try:
            return page.goto(address)
        except Error:
            assert time.monotonic() < end, f"nothing answers at {address}"
            time.sleep(0.5)
