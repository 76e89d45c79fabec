"""The explorer in JupyterLab, in a real browser that reaches this machine alone."""

import os
import shutil
import socket
import subprocess
import sys

import nbformat
import pytest
from kit import browsers
from kit.small import FROZEN

pytestmark = pytest.mark.browser


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab on a notebook of one cell, which explores an archive; give its address."""
    shutil.copytree(FROZEN, tmp_path / "archive")
    code = "from squbed_utils import explore, open_archive\nexplore(open_archive('archive'))"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    cells = [nbformat.v4.new_code_cell(code)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)  # else Lab asks for one
    nbformat.write(notebook, tmp_path / "explore.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "RUNTIME")}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "s"), "IPYTHONDIR": str(tmp_path / "i")}
    folders |= {"JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "w")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=t", "--LabApp.news_url=None"]
    log = (tmp_path / "log").open("w")
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | folders, stdout=log, stderr=log
    ) as server:
        yield f"http://127.0.0.1:{port}/lab/tree/explore.ipynb?token=t"
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
    log.close()


def test_a_cell_of_jupyterlab_shows_the_explorer_alive(lab, tmp_path):
    said = []
    with browsers.chromium() as browser:
        context = browser.new_context(viewport={"width": 1400, "height": 1200})
        context.route(lambda url: "//127.0.0.1:" not in url, lambda route: route.abort())
        page = context.new_page()
        page.on("console", lambda m: said.append(m.text) if "srcdoc" in str(m.location) else None)
        browsers.visit_when_up(page, lab)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        frame = page.frame_locator("iframe[title^='Explorer of']")
        frame.locator("#task h2").wait_for(timeout=120_000)
        first = frame.locator("#task h2").inner_text()
        frame.get_by_role("button", name="next task").click()
        assert frame.locator("#task h2").inner_text() != first
        assert frame.locator("#task img").first.evaluate("i => i.decode().then(() => true)")
        page.screenshot(path=tmp_path / "lab.png")
    assert said == []
