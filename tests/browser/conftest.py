"""A browser for each file of tests, and pages without network whose console must stay silent."""

import pytest
from kit import browsers


@pytest.fixture(scope="module")
def chromium():
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
