"""Profiles from elsewhere, of a run and of an archive: one clear error that names the file."""

import os

import pytest
from kit import small

from squbed_utils import cli, profiles
from squbed_utils.archive.archive import open_archive

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
WORLD = "extends: world\nname: mine\n"
HEX = "0x" + "f" * 6000

PROFILES = [
    ("laughs", LAUGHS, r"mine.yaml is not valid YAML: it holds more than 50,000 values, aliases"),
    ("holds itself", "a: &a\n  b: *a\n", r"mine.yaml .*nested deeper than 20 levels, or holds its"),
    ("deep lists", "a: " + "[" * 5000, r"mine.yaml is not valid YAML: it is nested too deep"),
    ("deep mappings", "".join("  " * i + f"k{i}:\n" for i in range(40)), r"deeper than 20 levels"),
    ("large", "# " + "x" * 2**19, r"mine.yaml has 524,290 bytes; expected at most 262,144"),
    ("key twice", WORLD + "n: 6\nm: 6\nn: 3\n", r"mine.yaml .*the key 'n' stands twice \(line 1\)"),
    ("nested key twice", WORLD + "lpips:\n  path: a\n  path: b\n", r"the key 'path' stands twice"),
    ("name of an object", "name: !!python/name:os.system\n", r"line 1 has the tag .*os.system'; e"),
    ("call", "name: !!python/object/apply:os.getcwd []\n", r"mine.yaml .* has the tag"),
    ("binary", WORLD + "seed: !!binary aGk=\n", r"mine.yaml .*line 3 has the tag '.*binary'"),
    ("set", WORLD + "dataset: !!set {a, b}\n", r"mine.yaml .* has the tag '.*set'"),
    ("int of nothing", WORLD + "n: !!int ''\n", r"mine.yaml .*line 3 has the tag '.*int'"),
    ("long number", WORLD + "seed: " + "9" * 5000 + "\n", r"mine.yaml .*a number of 5,000 digits"),
    ("long hexadecimal", WORLD + f"seed: {HEX}\n", r"mine.yaml .*a number of 6,002 digits"),
    ("no date", "extends: world\nname: 2024-13-13\n", r"mine.yaml is not valid YAML: month must"),
    ("control character", "name: \x07\n", r"mine.yaml is not valid YAML: unacceptable character"),
    ("n", WORLD + "n: 1000000\n", r"n is 1000000; expected at most 1000"),
    ("m", WORLD + "m: 123456789\n", r"m is 123456789; expected at most 1000"),
    ("steps", WORLD + "video_model: {steps: 99999999}\n", r"steps is 99999999; .*at most 10000"),
    ("frames", WORLD + "video_model: {frames: 99999999}\n", r"frames is 99999999; .*at most 10000"),
    ("height", WORLD + "video_model: {height: 10000000}\n", r"height is 10000000; .*at most 16384"),
    ("fps", WORLD + "video_model: {fps: 1.0e+9}\n", r"fps is 1000000000.0; .*at most 1000"),
    ("batch", WORLD + "batch_size: 10000000000\n", r"batch_size is 10000000000; .*at most 10000"),
    ("seed", WORLD + "seed: 99999999999999999999\n", r"seed is 99999999999999999999; .*at most"),
    ("pca", WORLD + "pca: 10000000000\n", r"pca is 10000000000; .*at most 100000"),
    ("nan option", WORLD + "video_model: {options: {a: .nan}}\n", r"options: a is nan; expected a"),
    ("inf in an option", WORLD + "video_model: {options: {a: [1, .inf]}}\n", r"options: a: 2 is i"),
    ("long text", WORLD + f"refiner: {{template: '{'x' * 20000}{{prompt}}'}}\n", r"at most 10000"),
    ("long name", f"extends: world\nname: {'x' * 300}\n", r"expected"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"), [case[1:] for case in PROFILES], ids=[case[0] for case in PROFILES]
)
def test_a_profile_from_elsewhere(tmp_path, capsys, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        profiles.load(path)
    assert cli.main(["collect", "--profile", str(path), "--output", str(tmp_path / "a")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) < 1000 and not (tmp_path / "a").exists()


def test_a_pipe_for_a_profile_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="mine.yaml is a folder, a pipe or a device; expected a f"):
        profiles.load(path)


def test_a_few_aliases_are_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: world\nname: &a mine\nrefiner:\n  template: '{prompt} =>'\nm: 7\n")
    assert profiles.load(path).m == 7
    path.write_text("extends: world\nname: mine\nn: &k 5\nm: *k\n")
    assert (profiles.load(path).n, profiles.load(path).m) == (5, 5)


def text(new):
    return lambda folder: (folder / "profile.yaml").write_text(new)


def lacks(name):
    def drop(folder):
        lines = (folder / "profile.yaml").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(f"{name}:")]
        (folder / "profile.yaml").write_text("".join(kept))

    return drop


ARCHIVES = [
    ("empty", text(""), r"profile.yaml holds 'None'; expected keys and values"),
    ("list", text("- 1\n"), r"profile.yaml holds .*expected keys and values"),
    ("no YAML", text("a: ["), r"profile.yaml is not valid YAML"),
    ("laughs", text(LAUGHS), r"profile.yaml .*more than 50,000 values"),
    ("not UTF-8", lambda f: (f / "profile.yaml").write_bytes(b"\xff"), r"profile.yaml is not UTF-"),
    ("no n", lacks("n"), r"manifest.parquet, which says what videos there are"),
    ("no m", lacks("m"), r"profile.yaml lacks m; put it back"),
    ("no estimator", lacks("estimator"), r"profile.yaml lacks estimator; put it back"),
    ("m of 0", lambda f: small.settings(f, m=0), r"profile.yaml: m is 0; expected at least 1"),
    ("n of text", lambda f: small.settings(f, n="3"), r"profile.yaml: n is '3'; expected int"),
    ("n true", lambda f: small.settings(f, n=True), r"profile.yaml: n is True; expected int"),
    ("n nan", lambda f: small.settings(f, n=float("nan")), r"profile.yaml: n is nan; expected int"),
    ("n huge", lambda f: small.settings(f, n=10**9), r"profile.yaml: n is 1000000000; .*at most 1"),
    ("n null", lambda f: small.settings(f, n=None), r"profile.yaml: n is None; expected int"),
    ("n less", lambda f: small.settings(f, n=2), r"profile.yaml: n is 2; expected at least 3"),
    ("m other", lambda f: small.settings(f, m=3), r"0.parquet holds 2 rows, .*expected 3, 0, 1, 2"),
    ("pca of text", lambda f: small.settings(f, pca="x"), r"profile.yaml: pca is 'x'; expected in"),
    ("pca of 0", lambda f: small.settings(f, pca=0), r"profile.yaml: pca is 0; expected at least "),
    ("name of a list", lambda f: small.settings(f, name=["a"]), r"profile.yaml: name is \['a'\]; "),
    ("estimator of a list", lambda f: small.settings(f, estimator=["a"]), r"estimator is \['a'\]"),
    ("lpips of text", lambda f: small.settings(f, lpips="x"), r"profile.yaml: lpips is 'x'; expec"),
    ("versions of text", lambda f: small.settings(f, versions="1"), r"profile.yaml: versions is '"),
    ("hashes of numbers", lambda f: small.settings(f, checkpoints={"clip": 1}),
     r"profile.yaml: checkpoints: clip is 1; expected text"),
    ("schema true", lambda f: small.settings(f, schema=True), r"has schema True, and this version"),
    ("schema of text", lambda f: small.settings(f, schema="1"), r"has schema '1', and this versio"),
    ("schema of before", lambda f: small.settings(f, schema=1), r"yaml has schema 1, and this ver"),
    ("no schema", lacks("schema"), r"has schema None, and this version reads 2"),
    ("schema of a list", lambda f: small.settings(f, schema=[1]), r"has schema \[1\], and this ve"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "message"), [case[1:] for case in ARCHIVES], ids=[case[0] for case in ARCHIVES]
)
def test_an_archives_profile_from_elsewhere(tmp_path, capsys, damage, message):
    folder = small.bare(tmp_path / "archive")
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        archive = open_archive(folder)
        small.numbers(archive), archive.profile["estimator"]
    assert cli.main(["estimate", str(folder)]) == cli.USER_ERROR
    assert cli.main(["export", str(folder), "--output", str(tmp_path / "out")]) == cli.USER_ERROR
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not (tmp_path / "out").exists()


def test_a_parameter_that_is_no_yaml_is_one_line(capsys):
    assert cli.main(["figures", "--only", "05_audit", "-p", "fraction", "["]) == cli.USER_ERROR
    assert "parameter fraction is '['; expected a valid number" in capsys.readouterr().err
