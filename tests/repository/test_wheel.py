"""A wheel, unpacked into an empty folder, has all that the package reads at run time."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from kit import tiny

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
BUILT_FROM += ("squbed_utils", "data", "notebooks", "figures/reference")
NOT_CARRIED = {"training", "build"}
"""Folders of a clone that only `squbed train-world` uses, which asks for a clone."""

PROBE = """
from pathlib import Path
from squbed_utils import files, profiles
from squbed_utils.commands import notebooks
from squbed_utils.archive.layout import ROLES
from squbed_utils.instructions import read
from squbed_utils.commands.reproduce import REFERENCE, compare
assert Path(profiles.__file__).is_relative_to(UNPACKED)
assert files.SAMPLES == Path.cwd() / "data" / "samples"
assert files.path_of("mine/videos") == Path.cwd() / "mine/videos"
assert profiles.names() == NAMES
for name in NAMES:
    profiles.load(name)
world = profiles.load("world")
paths = [getattr(world, role).path for role in ("dataset", *ROLES) if getattr(world, role)]
assert all(files.path_of(path).is_relative_to(UNPACKED) for path in paths), paths
assert all(notebook.path.is_file() for notebook in notebooks.NOTEBOOKS)
assert not any(compare(REFERENCE).values())
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Build a wheel from the files of git alone, and unpack it."""
    pytest.importorskip("setuptools", reason="a wheel is built by setuptools")
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("a wheel is built by pip, which is not installed")
    listing = subprocess.run(
        ["git", "ls-files", "-z", *BUILT_FROM], cwd=ROOT, capture_output=True, text=True
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("wheel")
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    line = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"]
    line += ["--no-index", "--quiet", "--wheel-dir", str(folder)]
    built = subprocess.run(line, cwd=folder / "source", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def run(unpacked, folder, *words):
    environment = {"PYTHONPATH": str(unpacked), "PATH": "", "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_wheel_has_what_the_code_names(unpacked):
    carried = unpacked / "squbed_utils" / "repository"
    named = set()
    for path in (ROOT / "squbed_utils").rglob("*.py"):
        assert (unpacked / path.relative_to(ROOT)).is_file(), path
        for parts in re.findall(r'\bROOT((?: / "[^"]+")+)', path.read_text(encoding="utf-8")):
            named.add("/".join(re.findall(r'"([^"]+)"', parts)))
    assert {"data/profiles", "data/templates", "notebooks", "figures/reference"} <= named
    needed = {name for name in named if name.split("/")[0] not in NOT_CARRIED}
    missing = {name for name in needed if not (carried / name).exists()}
    assert not missing, f"setup.py does not carry {', '.join(sorted(missing))}"
    for name in ("instructions", "profiles", "published", "templates", "world"):
        for path in (ROOT / "data" / name).rglob("*"):
            assert (carried / path.relative_to(ROOT)).exists(), path


@pytest.mark.slow
def test_a_wheel_finds_its_files_from_any_folder(unpacked, tmp_path):
    from squbed_utils import profiles

    given = f"UNPACKED, NAMES = {str(unpacked)!r}, {profiles.names()!r}\n"
    probe = run(unpacked, tmp_path, "-c", given + PROBE)
    assert probe.returncode == 0, probe.stderr


@pytest.mark.slow
def test_the_commands_of_a_wheel_run_from_any_folder(unpacked, tmp_path):
    frozen = ROOT / "tests" / "data" / "archive"
    line = ["-m", "squbed_utils.cli", "score", str(frozen), "--profile", "world"]
    scored = run(unpacked, tmp_path, *line, "--output", "mine")
    assert scored.returncode == 0, scored.stderr
    assert (
        "mine: 2 tasks, 6 latent prompts (0 draws refused), 12 videos (0 failed)" in scored.stdout
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    figures = run(unpacked, tmp_path, "-m", "squbed_utils.cli", "figures", "--only", "x")
    assert figures.returncode == 2 and "00_collect_samples" in figures.stderr


@pytest.mark.slow
def test_what_a_wheel_draws_lands_in_the_current_folder(unpacked, tmp_path):
    """Also in a notebook's kernel, with a profile whose paths are relative."""
    tiny.make_world(tmp_path)
    profile = tmp_path / "world-tiny.yaml"
    profile.write_text(profile.read_text().replace(f"{tmp_path}/", ""))
    before = {path: path.stat().st_mtime_ns for path in unpacked.rglob("*")}
    line = ["figures", "--profile", profile.name, "--only", "00_collect_samples"]
    drawn = run(unpacked, tmp_path, "-m", "squbed_utils.cli", *line)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "figures" / "data" / "collected.csv").is_file()
    assert (tmp_path / "build" / "notebooks" / "world-tiny" / "00_collect_samples.html").is_file()
    saved = "import pandas; from squbed_utils import open_run; run = open_run('world-tiny.yaml')\n"
    saved += "run.save('mine', points=pandas.DataFrame({'a': [1]})); print(run.folder)"
    other = run(unpacked, tmp_path, "-c", saved)
    assert other.stdout.strip() == str(tmp_path / "figures"), other.stderr
    assert (tmp_path / "figures" / "data" / "mine.csv").is_file()
    assert (tmp_path / "data" / "samples" / "world-tiny" / "archive.sha256").is_file()
    after = {path: path.stat().st_mtime_ns for path in unpacked.rglob("*")}
    assert _sources(after) == _sources(before)


def _sources(paths):
    """Leave out what Python compiles, and folders, whose time that changes."""
    return {p: time for p, time in paths.items() if p.is_file() and p.suffix != ".pyc"}
