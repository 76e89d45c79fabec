"""A model run by scripts of its own: a stand-in script, which also fails in every way."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from squbed_utils import roles, video
from squbed_utils.models import script

SCRIPT = """
import json, os, subprocess, sys, time
from pathlib import Path

do, prompt, seed, output, *more = sys.argv[1:]
output = Path(output)
here = Path(__file__).parent
(here / "seen.json").write_text(json.dumps({"prompt": prompt, "seed": seed, "more": more,
    "output": str(output), "cwd": os.getcwd(), "keys": list(os.environ)}))
if do == "fail":
    print("first line\\nout of memory", file=sys.stderr)
    sys.exit(3)
if do in ("hang", "leave"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (here / "child").write_text(str(child.pid))
    time.sleep(600 if do == "hang" else 0)
made = (here / "made.mp4").read_bytes()
names = {"two": ["a.mp4", "b.mp4"], "none": [], "deep": ["x/y/a.mp4"]}.get(do, ["a.mp4"])
for name in names:
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    (output / name).write_bytes(made[: len(made) // 2] if do == "cut" else made)
"""

WORDS = ["{prompt}", "{seed}", "{output}", "{width}x{height}", "{frames}@{fps}", "{guidance}"]


@pytest.fixture
def code(tmp_path):
    """Make a folder with the script and the video that it hands over."""
    (tmp_path / "script.py").write_text(SCRIPT)
    frames = np.random.default_rng(0).integers(0, 256, (6, 36, 48, 3), dtype=np.uint8)
    video.write(tmp_path / "made.mp4", frames, 12)
    return tmp_path


def model(code, do, timeout=300.0):
    words = [sys.executable, "script.py", do, *WORDS]
    sizes = {"height": 32, "width": 64, "frames": 9, "fps": 24.0, "steps": 2, "guidance": 7.5}
    return roles.Command(kind="command", path=str(code), command=words, timeout=timeout, **sizes)


def seen(code):
    return json.loads((code / "seen.json").read_text())


def test_the_video_comes_as_the_script_wrote_it(code):
    (made,) = script.load(model(code, "deep"))(["a cat"], [5])
    assert made.fps == 12 and made.frames.shape == (6, 36, 48, 3)
    assert (made.frames == video.read(code / "made.mp4").frames).all()


def test_what_the_script_is_given(code, monkeypatch):
    secrets = {"OPENAI_API_KEY", "HF_TOKEN", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"}
    for name in secrets:
        monkeypatch.setenv(name, "sk-secret")
    prompt = 'it\'s "a {seed}" $(touch x); `y` {{}} 猫 \n --flag'
    script.load(model(code, "make"))([prompt], [2**32 + 5])
    given = seen(code)
    assert given["prompt"] == prompt and given["seed"] == "5"
    assert given["more"] == ["64x32", "9@24", "7.5"]
    assert given["cwd"] == str(code) and not (code / "x").exists()
    assert not secrets & set(given["keys"])
    assert not Path(given["output"]).parent.exists()


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("fail", r"failed with exit code 3; its last words: first line \| out of memory"),
        ("none", r"left 0 mp4 files in {output}; expected one"),
        ("two", r"left 2 mp4 files in {output}; expected one"),
        ("cut", "cannot be read|cut short"),
    ],
)
def test_failures_are_that_videos(code, do, message):
    (made,) = script.load(model(code, do))(["a cat"], [1])
    assert isinstance(made, Exception)
    with pytest.raises(type(made), match=message):
        raise made
    assert not Path(seen(code)["output"]).parent.exists()


def test_a_prompt_that_no_process_can_be_given_is_a_failure(code):
    bad, good = script.load(model(code, "make"))(["nul \0", "a cat"], [1, 2])
    assert isinstance(bad, ValueError) and good.fps == 12


def test_a_hanging_script_is_killed_with_its_children(code, monkeypatch):
    child, wait = code / "child", subprocess.Popen.wait

    def until_it_hangs(process, timeout=None):
        if timeout is None:
            return wait(process)
        while not (child.is_file() and child.read_text()):
            time.sleep(0.01)
        raise subprocess.TimeoutExpired("script", timeout)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "wait", until_it_hangs)
        (made,) = script.load(model(code, "hang", timeout=2.0))(["a cat"], [1])
    assert "took longer than 2 s and was stopped" in str(made)
    _wait_for_the_end(int((code / "child").read_text()))
    assert not Path(seen(code)["output"]).parent.exists()


def test_what_a_script_leaves_running_is_ended(code):
    (made,) = script.load(model(code, "leave"))(["a cat"], [1])
    assert made.fps == 12
    _wait_for_the_end(int((code / "child").read_text()))


def _wait_for_the_end(child):
    end = time.monotonic() + 120
    while _alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(process):
    """Say whether a process runs; one that is dead but not collected by its parent does not."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_an_interruption_stops_the_script(code, monkeypatch):
    def interrupted(process, timeout):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        script.load(model(code, "hang"))(["a cat"], [1])


def test_a_script_ends_with_the_process_that_started_it(code):
    """Also when that is killed, and so can clear nothing up."""
    line = "import sys; from squbed_utils import roles\n"
    line += "from squbed_utils.models import script\n"
    line += "sizes = dict(height=32, width=64, frames=9, fps=24.0, steps=2)\n"
    line += "words = [sys.executable, 'script.py', 'hang', '{prompt}', '{seed}', '{output}']\n"
    line += f"model = roles.Command(kind='command', path={str(code)!r}, command=words, **sizes)\n"
    line += "script.load(model)(['a cat'], [1])"
    with subprocess.Popen([sys.executable, "-c", line]) as process:
        for _ in range(6000):
            if (code / "child").is_file() and (code / "child").read_text():
                break
            time.sleep(0.05)
        process.kill()
    _wait_for_the_end(int((code / "child").read_text()))


def test_missing_code_and_program(code, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="nothing at .*gone; put it there, or correct video_model.path"
    ):
        script.load(model(tmp_path / "gone", "make"))
    lacking = model(code, "make")
    lacking.command[0] = "no-such-program"
    with pytest.raises(FileNotFoundError, match="starts with 'no-such-program', which is neither"):
        script.load(lacking)
