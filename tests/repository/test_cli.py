import csv
import io
import re
import shlex
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest
from kit import commands_page, tiny

import squbed_utils
from squbed_utils import cli
from squbed_utils.collection import collect
from squbed_utils.commands import options
from squbed_utils.files import ROOT


def run(capsys, *arguments):
    code = cli.main(arguments)
    return code, *capsys.readouterr()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_names_every_option(capsys, name):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and text.startswith(f"usage: squbed {name} [-h]")
    for names, settings in cli.COMMANDS[name][1]:
        shown = names if names[0].startswith("-") else [settings["metavar"]]
        assert all(word in text for word in shown)


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in cli.COMMANDS)


def test_the_page_of_commands_is_their_help():
    renew = "docs/commands.md is out of date; renew it by `python tests/kit/commands_page.py`"
    assert commands_page.PAGE.read_text(encoding="utf-8") == commands_page.page(), renew
    grouped = [name for names in commands_page.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(cli.COMMANDS)


def test_make_calls_commands_as_they_are():
    recipes = subprocess.run(
        [
            "make",
            "--dry-run",
            "figures",
            "reproduce",
            "reference",
            "confirm",
            "others",
            "encoders",
            "prompts",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.replace("\\\n", " ")
    calls = re.findall(r"bin/squbed ([^|\n]*)", recipes)
    assert len(calls) >= 10
    for call in calls:
        options = cli.parser().parse_args(shlex.split(call))
        assert all(len(pair) == 2 for pair in getattr(options, "parameter", []))


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == squbed_utils.__version__


def test_importing_the_command_loads_no_model_library():
    heavy = "{'torch', 'diffusers', 'transformers', 'pandas'}"
    probe = f"import sys, squbed_utils.cli; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


@pytest.mark.parametrize("arguments", [["paint"], ["collect", "--worker", "x"], []])
def test_wrong_arguments_end_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2


def test_collect_says_what_is_there(capsys, tiny_profile, tiny_archive):
    code, out, _ = run(
        capsys, "collect", "--profile", str(tiny_profile), "--output", str(tiny_archive)
    )
    assert code == 0
    assert "4 tasks, 12 latent prompts (" in out and "36 videos (0 failed)" in out


def test_collect_hands_on_its_options(monkeypatch, tiny_archive):
    given = {}

    def record(profile, **options):
        given.update(options, profile=profile)
        return collect.open_archive(tiny_archive)

    monkeypatch.setattr(collect, "collect", record)
    cli.main(["collect", "--profile", "p", "--output", "o", "--workers", "3", "--retry-failed"])
    assert (given["profile"], str(given["output"])) == ("p", "o")
    assert given["workers"] == 3 and given["retry_failed"]


def test_estimate_prints_a_row_a_task(capsys, tiny_archive):
    code, out, _ = run(capsys, "estimate", str(tiny_archive))
    head, *rows, note = out.splitlines()
    assert code == 0 and [row.split()[0] for row in rows] == tiny.TASKS
    assert "no interval: 3 distinct latent prompts (aleatoric, total of" in note
    assert head.split()[:4] == ["task", "aleatoric", "epistemic", "total"]


def test_estimate_as_csv(capsys, tiny_archive):
    _, out, _ = run(capsys, "estimate", str(tiny_archive), "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["task"] for row in rows] == tiny.TASKS
    assert all(float(row["epistemic_low"]) < float(row["epistemic_high"]) for row in rows)
    assert all(row["total_low"] == row["total_high"] == "" for row in rows)
    assert all("distinct latent prompts" in row["total_remark"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["collect", "--profile", "wrld"], "no profile 'wrld' (did you mean 'world'?)"),
        (["estimate", "nowhere"], "no samples archive in nowhere (no such folder); run `squbed c"),
        (
            ["figures", "--ranking", "gone.csv"],
            f"no ranking {Path.cwd() / 'gone.csv'}; expected a CSV of",
        ),
        (["quantify", "a star", "--profile", "wrld"], "no profile 'wrld' (did you mean 'world'?)"),
        (["quantify", "a star", "--n", "2"], "profile world: n is 2; expected at least 3"),
        (["train-world", "--only", "x"], "the world has no model 'x'; its models: "),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith(f"squbed: {message}") and err.count("\n") == 1


def test_warnings_are_lines(capsys, monkeypatch):
    def warn(options):
        for text in ("one\ntask", "one\ntask", "another"):
            warnings.warn(text, UserWarning, stacklevel=1)

    monkeypatch.setitem(cli.COMMANDS, "profiles", (warn, ()))
    assert run(capsys, "profiles") == (0, "", "squbed: one task\nsqubed: another\n")
    assert run(capsys, "profiles")[2].count("\n") == 2  # in every run, once


def test_failed_videos_are_a_line_each_and_some_are_shown(capsys):
    row = {"rejected": ["x", "y"], "status": "failed", "error": "RuntimeError: out of\nmemory"}
    shards = {0: [row | {"sample": i} for i in range(24)], 1: [{"rejected": [], "status": "text"}]}
    shards[0][0]["status"] = "ok"
    archive = types.SimpleNamespace(
        folder="f",
        tasks=lambda: ["a"],
        units={("a", 0): 24, ("a", 1): 0},
        rows=lambda task, latent, columns: shards[latent],
    )
    options.print_made(archive)
    out, err = capsys.readouterr()
    assert out == "f: 1 tasks, 2 latent prompts (2 draws refused), 24 videos (23 failed)\n"
    first, *_, last = err.splitlines()
    assert first == "squbed: task a, latent 0, sample 1: RuntimeError: out of memory"
    assert last == "squbed: and 3 more" and err.count("\n") == 21


@pytest.mark.parametrize(
    "arguments",
    [
        ["figures", "--output"],
        ["figures", "--build"],
        ["compare", "a", "b", "--output"],
        ["quantify", "a star", "--output"],
        ["collect", "--output"],
    ],
)
def test_a_file_is_no_folder(arguments, capsys, tmp_path):
    file = tmp_path / "x.txt"
    file.touch()
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, str(file)])
    assert stop.value.code == 2
    assert f"argument {arguments[-1]}: {file} is a file; give a folder" in capsys.readouterr().err


def test_encoders_of_one_name_are_told_apart(capsys, monkeypatch, tiny_archive):
    def named(archives):
        raise ValueError(" and ".join(archives))

    monkeypatch.setattr("squbed_utils.statistics.pairs.compare_encoders", named)
    code, _, err = run(capsys, "encoders", str(tiny_archive), str(tiny_archive))
    first, second = err.removeprefix("squbed: ").strip().split(" and ")
    assert code == 2 and second == f"{first} ({tiny_archive.name})"


def test_unknown_estimator(capsys, tiny_archive):
    code, _, err = run(capsys, "estimate", str(tiny_archive), "--estimator", "x")
    assert code == 2 and err.startswith("squbed: unknown estimator 'x'; known: ")


def test_the_traceback_on_request():
    with pytest.raises(FileNotFoundError):
        cli.main(["--traceback", "estimate", "nowhere"])


def test_ctrl_c(capsys, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(collect, "collect", stop)
    code, _, err = run(capsys, "collect")
    assert code == 130 and err.strip() == "squbed: interrupted; run the same command again to go on"


@pytest.mark.parametrize("quick", [False, True])
def test_train_world_hands_on_its_options(monkeypatch, quick):
    from training import train

    given = {}
    monkeypatch.setattr(
        train, "train_world", lambda folder, work, **o: given.update(o, folder=folder)
    )
    cli.main(["train-world", "--only", "clip", "--device", "cpu", *["--quick"] * quick])
    assert (given["only"], given["device"]) == ("clip", "cpu")
    assert given["folder"].name == ("world-quick" if quick else "world")
    assert (given["share"] < 1) == quick


def test_figures_hands_on_its_options(monkeypatch, tmp_path, capsys):
    given = {}

    def run_all(profile, **options):
        given.update(options, profile=profile)
        return ["a.png", "a.csv"]

    runner = types.SimpleNamespace(run_all=run_all)
    monkeypatch.setitem(sys.modules, "squbed_utils.commands.notebooks", runner)
    monkeypatch.setattr(squbed_utils, "notebooks", runner, raising=False)
    line = ["figures", "--profile", "p", "--output", "o", "--only", "a", "--only", "b"]
    cli.main(line)
    assert given["profile"] == "p" and str(given["figures"]) == "o"
    assert capsys.readouterr().out == "2 figures and tables are in o\n"
    assert given["only"] == ["a", "b"] and given["samples"] is None and given["parameters"] == {}
    ranking = tmp_path / "ranks.csv"
    ranking.touch()
    monkeypatch.chdir(tmp_path)
    cli.main([*line, "--ranking", "ranks.csv", "-p", "per_level", "3", "-p", "task", "a"])
    assert given["parameters"] == {"per_level": "3", "task": "a", "ranking": str(ranking)}
