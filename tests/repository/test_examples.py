"""The examples of video models of one's own run, and are what docs/profiles.md shows."""

import os
import sys
from pathlib import Path

import pytest

from squbed_utils import profiles
from squbed_utils.commands import check
from squbed_utils.models import diffusion

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture(autouse=True)
def this_python(monkeypatch):
    """Let `python` be the one that runs the tests."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_is_missing(path):
    assert not [f for f in check.check(path) if f.state == check.MISSING]


def test_the_function_and_the_script_make_the_same_videos():
    made = {}
    for path in EXAMPLES:
        generate = diffusion.load(profiles.load(path), "cpu")
        made[path.stem] = generate(["a red square", "a square"], [5, 6])
    assert set(made) == {"command", "python"}
    for one, other in zip(*made.values(), strict=True):
        assert one.fps == other.fps == 8
        assert (one.frames == other.frames).all() and one.frames.shape == (9, 32, 32, 3)
    red, any_colour = (video.frames.reshape(-1, 3).max(axis=0) for video in made["python"])
    assert red.tolist() == [220, 40, 40] != any_colour.tolist()


def test_a_video_depends_on_its_prompt_and_seed_alone():
    generate = diffusion.load(profiles.load(ROOT / "examples" / "python.yaml"), "cpu")
    (first,), (_, second) = (
        generate(["a square"], [6]),
        generate(["a red square", "a square"], [5, 6]),
    )
    assert (first.frames == second.frames).all()


def test_every_example_is_shown():
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").iterdir():
        if path.is_file():
            assert f"`examples/{path.name}`" in page, path
