"""Models of the user's own: a script and a function, which also fail in every way."""

import dataclasses
import json
import os
import py_compile
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kit import tiny

from squbed_utils import profiles, quantify, roles, video
from squbed_utils.collection.collect import collect
from squbed_utils.models import checkpoints, diffusion, script
from squbed_utils.models.errors import Stop

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


ARRAY = "np.full((4, 32, 32, 3), len(p), np.uint8)"

GOOD = f"""import numpy as np
def generate(prompts, seeds):
    return [({ARRAY}, 8) for p in prompts]
"""


@pytest.fixture
def function(tmp_path, tiny_profile):
    """Return a function that writes the user's file, and loads it as a run does."""

    def load(text, call="mine.py:generate", batch_size=2):
        (tmp_path / "mine.py").write_text(text)
        model = roles.Python(kind="python", call=f"{tmp_path}/{call}")
        profile = profiles.load(tiny_profile)
        profile = dataclasses.replace(profile, video_model=model, batch_size=batch_size)
        return diffusion.load(profile, "cpu")

    return load


def test_a_function_makes_each_prompts_video(function):
    first, second, third = function(GOOD)(["a", "bb", "ccc"], [2**32 + 5, 1, 2])
    assert [int(made.frames[0, 0, 0, 0]) for made in (first, second, third)] == [1, 2, 3]
    assert first.fps == 8.0


def test_a_function_is_given_whole_batches_and_seeds_of_32_bits(function, capsys):
    function(GOOD.replace("    return", "    print(prompts, seeds); return"))(["a"], [2**32 + 5])
    assert capsys.readouterr().out == "['a', 'a'] [5, 5]\n"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "None for 1 prompts; expected a list of 1 pairs"),
        ("np.zeros((1, 2))", r"float64 \(1, 2\) for 1 prompts; expected a list"),
        ("[]", "a list of 0 for 1 prompts; expected a list of 1 pairs"),
        ("{'a': 1}", "a dict for 1 prompts; expected a list of 1 pairs"),
        ("[1]", r"1 for a prompt; expected \(frames, fps\): a numpy array"),
        (f"[{ARRAY}]", r"uint8 \(4, 32, 32, 3\) for a prompt; expected \(frames, fps\)"),
        (f"[{ARRAY}[:2]]", r"uint8 \(2, 32, 32, 3\) for a prompt; expected \(frames, fps\)"),
        (f"[({ARRAY}, 8, 8)]", r"\(uint8 \(4, 32, 32, 3\), 8, 8\) for a prompt"),
        ("[([1], 8)]", r"\(a list of 1, 8\) for a prompt; expected .*numpy array, uint8 \(T, H"),
        (f"[({ARRAY} / 255, 8)]", r"\(float64 \(4, 32, 32, 3\), 8\) for a prompt"),
        (f"[({ARRAY}[0], 8)]", r"\(uint8 \(32, 32, 3\), 8\) for a prompt"),
        (f"[({ARRAY}[:0], 8)]", r"\(uint8 \(0, 32, 32, 3\), 8\) for a prompt; .* none of them 0"),
        (f"[({ARRAY}, '8')]", r", '8'\) for a prompt; expected .* frames a second, 0.1 to 1000"),
        (f"[({ARRAY}, None)]", r", None\) for a prompt; expected"),
        (f"[({ARRAY}, True)]", r", True\) for a prompt; expected"),
        (f"[({ARRAY}, float('nan'))]", r", nan\) for a prompt; expected"),
        (f"[({ARRAY}, 0)]", r", 0\) for a prompt; expected"),
    ],
)
def test_what_a_function_returns_is_checked(function, returned, message):
    text = (
        f"import numpy as np\ndef generate(prompts, seeds):\n    p = 'x'\n    return {returned}\n"
    )
    (made,) = function(text, batch_size=1)(["a"], [1])
    assert isinstance(made, ValueError)
    with pytest.raises(ValueError, match=f"mine.py: generate returned .*{message}"):
        raise made


FAILING = f"""import numpy as np
def helper(): return {{}}["x"]
def generate(prompts, seeds):
    if "bad" in prompts:
        LINE
    return [({ARRAY}, 8) for p in prompts]
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 / 0", "mine.py, line 5: ZeroDivisionError: division by zero"),
        ("helper()", "mine.py, line 2: KeyError: 'x'"),
        ("np.linalg.inv([[0.0]])", "mine.py, line 5: LinAlgError: Singular matrix"),
        ("raise SystemExit(3)", "mine.py, line 5: SystemExit: 3"),
    ],
)
def test_an_error_of_a_function_names_its_line_and_is_that_videos(function, line, message):
    good, bad = function(FAILING.replace("LINE", line))(["good", "bad"], [1, 2])
    assert good.fps == 8 and isinstance(bad, RuntimeError)
    assert str(bad).endswith(message)


def test_memory_that_a_function_lacks_ends_the_run(function):
    text = GOOD.replace("    return", "    raise MemoryError('too big'); return")
    with pytest.raises(Stop, match=r"out of memory \(too big\)"):
        function(text)(["a"], [1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:", "mine.py, line 2: SyntaxError: "),
        (
            "import no_such_module_here",
            "mine.py, line 1: ModuleNotFoundError: No module named 'no_",
        ),
        ("import sys\nsys.exit('later')", "mine.py, line 2: SystemExit: later"),
        ("x = 1\0", "mine.py.*: (SyntaxError|ValueError): "),
    ],
)
def test_a_file_that_does_not_load(function, text, message):
    with pytest.raises(RuntimeError, match=message):
        function(text)


def test_a_function_of_other_arguments_is_named(function):
    (made,) = function("def generate(prompt): pass", batch_size=1)(["a"], [1])
    assert "mine.py: TypeError: generate() takes 1 positional argument but 2" in str(made)


def test_a_missing_function_or_file(function):
    for text in (GOOD, "generat = 1\n" + GOOD):
        with pytest.raises(
            ValueError, match=r"no function 'generat' \(did you mean 'generate'\?\)"
        ):
            function(text, call="mine.py:generat")
    with pytest.raises(FileNotFoundError, match="other.py; put it there, .*video_model.call"):
        function(GOOD, call="other.py:generate")


def test_what_runs_is_the_text_and_not_its_compiled_copy(function, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("8)", "9)"))
    py_compile.compile(path, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert function(GOOD)(["a"], [1])[0].fps == 8


def test_a_function_imports_what_lies_beside_it(function, tmp_path):
    (tmp_path / "beside_mine.py").write_text(GOOD)
    assert function("from beside_mine import generate")(["a"], [1])[0].fps == 8


def test_a_changed_source_is_another_run(tmp_path, tiny_profile):
    path = tmp_path / "mine.py"
    hashes = []
    for text in (GOOD, GOOD + "\n"):
        path.write_text(text)
        model = roles.Python(kind="python", call=f"{path}:generate")
        profile = dataclasses.replace(profiles.load(tiny_profile), video_model=model)
        hashes.append(checkpoints.resolve(profile)["checkpoints"])
    assert [role for role in hashes[0] if hashes[0][role] != hashes[1][role]] == ["video_model"]


def test_a_failing_function_is_a_failed_row_with_its_line(function, tmp_path, tiny_profile):
    function(FAILING.replace('"bad" in prompts', "seeds[0] % 2").replace("LINE", "1 / 0"))
    model = {"kind": "python", "call": f"{tmp_path}/mine.py:generate"}
    profile = tiny.write_profile(
        tiny_profile.parent, tmp_path / "p.yaml", video_model=model, batch_size=1
    )
    archive = collect(profile, output=tmp_path / "made")
    videos = archive.videos()
    failed = videos[videos.status == "failed"]
    assert (failed.seed % 2 == 1).all() and 0 < len(failed) < len(videos)
    assert failed.error.str.endswith("mine.py, line 5: ZeroDivisionError: division by zero").all()
    assert archive.profile["video_model"] == model


def test_one_prompt_needs_no_dataset(function, tmp_path, tiny_profile):
    function(GOOD)
    changes = {"video_model": {"kind": "python", "call": f"{tmp_path}/mine.py:generate"}}
    changes |= {"dataset": None, "n": 3, "m": 2}
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "p.yaml", **changes)
    archive = quantify("a red thing", profile=profile, output=tmp_path / "made").archive
    assert len(archive.videos()) == 6 and "dataset" not in archive.profile
