"""A cheaper twin screens tasks, the full model confirms some, and no level is carried over."""

import shutil

import numpy as np
import pytest
import yaml
from kit import small_archive, tiny

from squbed_utils import cli, collect, open_archive, profiles, score, summarize
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive
from squbed_utils.models import checkpoints
from squbed_utils.statistics import decision, pooled


@pytest.fixture(scope="module")
def profile(tiny_profile, tmp_path_factory):
    """Return the file of a profile that names a twin of one step."""
    path = tmp_path_factory.mktemp("twin") / "tiny.yaml"
    return tiny.write_profile(tiny_profile.parent, path, twin={"steps": 1})


@pytest.fixture(scope="module")
def screened(profile):
    folder = profile.parent / "screened"
    assert cli.main(["collect", "--profile", str(profile), "--twin", "--output", str(folder)]) == 0
    return open_archive(folder)


@pytest.fixture(scope="module")
def line(profile, screened):
    line = ["collect", "--profile", str(profile), "--confirm", str(screened.folder)]
    return [*line, "--share", "0.5", "--refer", "0.5", "--output", str(profile.parent / "again")]


@pytest.fixture(scope="module")
def confirmed(line):
    assert cli.main(line) == 0
    return open_archive(line[-1])


def test_a_twin_differs_in_what_the_profile_says_alone(profile):
    whole = profiles.load(profile)
    twin = profiles.twin_of(whole)
    assert twin.name == "world-tiny-twin" and twin.twin is None
    found = profiles.differences(profiles.recorded(whole), profiles.recorded(twin))
    assert found == [
        "name is world-tiny there and world-tiny-twin here",
        "video_model.steps is 2 there and 1 here",
    ]


def test_a_twin_is_checked_as_the_video_model_is(tiny_profile):
    settings = profiles.load(tiny_profile)
    with pytest.raises(ValueError, match="names no twin .* add what differs"):
        profiles.twin_of(settings)
    for wrong, said in (
        ({"steps": 0}, "twin: video_model: steps is 0; expected at least 1"),
        ({"stepz": 1}, "unknown key 'stepz' .did you mean 'steps'"),
        ({"height": 33}, "height is 33; wan takes multiples of 16"),
        ({"kind": "veo", "model": "x"}, "missing height"),
        ({}, "names no twin"),
        ([1], "twin is .1.; expected"),
    ):
        with pytest.raises(ValueError, match=said):
            profiles.replaced(settings, twin=wrong)


def test_a_twin_is_inherited_with_its_video_model(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: world\nname: mine\nvideo_model: {steps: 8}")
    assert profiles.load(path).twin == profiles.load("world").twin == {"steps": 1}
    path.write_text("extends: world\nname: mine\nvideo_model: {kind: python, call: 'm.py:make'}")
    assert profiles.load(path).twin is None
    path.write_text(path.read_text() + "\ntwin: {call: 'm.py:sketch'}")
    assert profiles.twin_of(profiles.load(path)).video_model.call == "m.py:sketch"
    path.write_text("extends: world\nname: mine\ntwin: null")
    assert profiles.load(path).twin is None
    assert cli.main(["collect", "--profile", str(path), "--twin"]) == 2
    assert "profile mine names no twin" in capsys.readouterr().err
    path.write_text("extends: world\nname: mine\nvideo_model: {steps: 1}")
    assert cli.main(["collect", "--profile", str(path), "--twin"]) == 2
    assert "profile mine: twin changes nothing" in capsys.readouterr().err


def test_an_archive_is_the_same_whether_the_profile_names_a_twin_or_not(profile, tiny_archive):
    sums = open_archive(tiny_archive).sealed
    assert collect(profile, output=tiny_archive).sealed == sums
    assert "twin" not in open_archive(tiny_archive).profile


def test_the_twin_is_asked_the_same(screened, tiny_archive):
    whole, keys = open_archive(tiny_archive), ["task", "latent", "prompt"]
    assert screened.profile["name"] == "world-tiny-twin"
    assert screened.latents()[keys].equals(whole.latents()[keys])
    assert (screened.videos().seed == whole.videos().seed).all()
    assert screened.inside(screened.videos().path[0]).read_bytes() != (
        whole.inside(whole.videos().path[0]).read_bytes()
    )


def test_the_full_model_confirms_what_the_twin_leaves_in_doubt(confirmed, screened, tiny_archive):
    """Two of four tasks: the second and third by the twin's own order, made as the model does."""
    order = summarize(screened).sort_values("epistemic").task
    assert set(confirmed.tasks().task) == set(order[1:3]) == set(confirmed.truth().task)
    whole = open_archive(tiny_archive)
    for path in (*confirmed.videos().path, *confirmed.tasks().reference):
        assert confirmed.inside(path).read_bytes() == whole.inside(path).read_bytes()


def test_confirming_is_resumed_and_repaired(confirmed, line, profile, screened, tmp_path, capsys):
    sums = confirmed.sealed
    assert cli.main(line) == 0 and open_archive(confirmed.folder).sealed == sums
    more = [*line]
    more[more.index("0.5")] = "0.75"
    assert cli.main(more) == 2 and "dataset.tasks is" in capsys.readouterr().err
    folder = shutil.copytree(confirmed.folder, tmp_path / "copy")
    open_archive(folder).shard(confirmed.tasks().task[0], 0).unlink()
    with pytest.raises(ValueError, match="--confirm .*screened"):
        open_archive(folder)
    repair = ["verify", str(folder), "--repair", "--profile", str(profile)]
    assert cli.main([*repair, "--like", str(screened.folder)]) == 0
    assert open_archive(folder).sealed == sums


def test_each_archive_has_a_folder_of_its_own(profile, tmp_path, monkeypatch):
    """By default, also where names have dots."""
    monkeypatch.setattr("squbed_utils.files.SAMPLES", tmp_path / "samples")
    dotted = tmp_path / "dotted.yaml"
    settings = yaml.safe_load(profile.read_text()) | {"name": "tiny-1.3b", "n": 3, "m": 2}
    settings["dataset"]["tasks"] = tiny.TASKS[:2]
    dotted.write_text(yaml.safe_dump(settings))
    line, twin = ["collect", "--profile", str(dotted)], tmp_path / "samples" / "tiny-1.3b-twin"
    half = ["--share", "0.5", "--refer", "0.5"]
    assert cli.main([*line, "--twin"]) == 0
    assert cli.main([*line, "--like", str(twin)]) == 0
    assert cli.main([*line, "--confirm", str(twin), *half]) == 0
    other = shutil.copytree(twin, tmp_path / "other.1")
    assert cli.main([*line, "--confirm", str(other), *half]) == 0
    assert {folder.name: len(open_archive(folder).tasks()) for folder in twin.parent.iterdir()} == {
        "tiny-1.3b-twin": 2,
        "tiny-1.3b-tiny-1.3b-twin": 2,
        "tiny-1.3b-confirmed": 1,
        "tiny-1.3b-other.1-confirmed": 1,
    }


def test_a_twins_archive_is_finished_and_repaired_by_its_profile(
    screened, profile, tmp_path, monkeypatch
):
    folder = shutil.copytree(screened.folder, tmp_path / "copy")
    lost = open_archive(folder).shard(screened.tasks().task[0], 0)
    lost.unlink()
    with pytest.raises(ValueError, match="`squbed collect --profile world-tiny --twin` to finish"):
        open_archive(folder)
    with pytest.raises(FileNotFoundError, match="`squbed collect --profile a --twin` or correct"):
        open_archive(tmp_path / "a-twin")
    repair = ["verify", str(folder), "--repair"]
    assert cli.main([*repair, "--profile", str(profile)]) == 0
    assert open_archive(folder).sealed == screened.sealed
    lost.unlink()
    monkeypatch.setattr(profiles, "FOLDER", tmp_path / "profiles")
    assert cli.main(repair) == 2
    profiles.FOLDER.mkdir()
    shutil.copy(profile, profiles.FOLDER / "world-tiny.yaml")
    assert cli.main(repair) == 0
    assert open_archive(folder).sealed == screened.sealed


def test_all_tasks_are_ranked_and_no_level_is_shown(confirmed, screened, capsys):
    line = ["estimate", str(screened.folder), "--confirmed", str(confirmed.folder), "--csv"]
    assert cli.main(line) == 0
    head, *rows = capsys.readouterr().out.strip().split("\n")
    assert head == "rank,task,confirmed,prompt"
    order = summarize(screened).sort_values("epistemic").task.tolist()
    middle = summarize(confirmed).sort_values("epistemic").task.tolist()
    expected = [order[3], *middle[::-1], order[0]]
    assert [row.split(",")[1] for row in rows] == expected
    assert [row.split(",")[2] for row in rows] == ["False", "True", "True", "False"]
    assert cli.main(line[:-1]) == 0 and "confirmed" in capsys.readouterr().out


def test_all_tasks_are_ranked_by_what_chose_those_to_confirm(
    confirmed, screened, line, tmp_path, capsys
):
    ranked = ["estimate", str(screened.folder), "--confirmed"]
    assert confirmed.profile["dataset"]["by"] == "epistemic"
    assert cli.main([*ranked, str(confirmed.folder), "--by", "total"]) == 2
    assert "were chosen by epistemic; leave out --by" in capsys.readouterr().err
    assert cli.main([*line, "--by", "total"]) == 2
    assert "dataset.by is epistemic there and total here" in capsys.readouterr().err
    folder = tmp_path / "total"
    assert cli.main([*line[:-1], str(folder), "--by", "total"]) == 0
    again = open_archive(folder)
    order = summarize(screened).sort_values("total").task
    assert again.profile["dataset"]["by"] == "total"
    assert set(again.tasks().task) == set(order[1:3])
    capsys.readouterr()
    assert cli.main([*ranked, str(folder), "--csv"]) == 0
    rows = capsys.readouterr().out.strip().split("\n")[1:]
    middle = summarize(again).sort_values("total").task.tolist()
    expected = [order.iloc[3], *middle[::-1], order.iloc[0]]
    assert [row.split(",")[1] for row in rows] == expected


def test_what_cannot_be_confirmed_is_refused(line, screened, confirmed, tiny_archive, capsys):
    for changes, said in (
        (["--confirm", str(tiny_archive)], "was made by the video model of profile world-tiny it"),
        (["--twin"], "leave out the others"),
        (["--like", str(tiny_archive)], "leave out the others"),
        (["--share", "0"], "--share is 0, --refer 0.5; expected numbers above 0"),
        (["--share", "inf"], "--share is inf"),
        (["--share", "nan"], "--share is nan"),
        (["--refer", "1"], "--refer 1; expected"),
        (["--refer", "inf"], "--refer inf"),
        (["--refer", "nan"], "--refer nan"),
        (["--share", "0.1"], "of 4 tasks a share of 0.5 is to lie above the threshold, and 0.1"),
    ):
        assert cli.main([*line, *changes]) == 2
        assert said in capsys.readouterr().err
    for option in (["--share", "0.2"], ["--refer", "0.2"], ["--by", "total"]):
        assert cli.main([*line[:3], *option]) == 2
        assert f"{option[0]} says nothing without --confirm;" in capsys.readouterr().err
    assert cli.main(["estimate", str(screened.folder), "--by", "total"]) == 2
    assert "--by says nothing without --confirmed;" in capsys.readouterr().err
    with pytest.raises(ValueError, match="has no task 'x'"):
        collect(line[2], like=screened.folder, tasks=["x"], output=tiny_archive.parent / "none")
    with pytest.raises(ValueError, match="tasks are those of an archive"):
        collect(line[2], tasks=["x"])
    other = ["estimate", str(confirmed.folder), "--confirmed", str(screened.folder)]
    assert cli.main(other) == 2 and "tasks or prompts that" in capsys.readouterr().err


MODEL = {"steps": 12, "path": "a", "price": 1.0}
SUMS = {"video_model": "0" * 64, "clip": "1" * 64}


@pytest.mark.parametrize(
    ("there", "here", "differences"),
    [
        ({}, {}, []),
        ({"price": 2.0}, {}, []),
        ({"steps": 2}, {}, ["steps is 2 there and 12 here"]),
        ({"path": "b"}, {}, ["path is 'b' there and 'a' here"]),
        ({"checkpoints": SUMS}, {"path": "b", "checkpoints": {**SUMS, "clip": "2"}}, []),
        (
            {"checkpoints": SUMS},
            {"checkpoints": {"video_model": "3"}},
            ["the weights in path differ"],
        ),
        ({"dtype": "bfloat16"}, {}, ["dtype is 'bfloat16' there and None here"]),
        ({"transformer": "t"}, {}, ["transformer is 't' there and None here"]),
        ({"revision": "r"}, {}, ["revision is 'r' there and None here"]),
        ({"revision": "r", "offload": True, "checkpoints": SUMS}, {"checkpoints": SUMS}, []),
        (
            {"revision": "r", "checkpoints": SUMS},
            {"checkpoints": {"video_model": "3"}},
            ["the weights in path differ"],
        ),
        ({"call": "a/m.py:f", "checkpoints": SUMS}, {"call": "m.py:f", "checkpoints": SUMS}, []),
        (
            {"call": "m.py:f", "checkpoints": SUMS},
            {"call": "m.py:g", "checkpoints": SUMS},
            ["call is 'f' there and 'g' here"],
        ),
    ],
)
def test_what_makes_another_video_model(there, here, differences):
    made = []
    for changes in (there, here):
        outside = {k: v for k, v in changes.items() if k in ("checkpoints", "dtype")}
        model = MODEL | {k: v for k, v in changes.items() if k not in outside}
        made.append(layout.video_model_of({"video_model": model} | outside))
    assert layout.differences_of_models(*made) == differences
    assert layout.differences_of_models({}, made[0]) == []
    if differences:
        with pytest.raises(ValueError, match="x is of another video model .*squbed compare"):
            layout.require_one_video_model(*made, "x")


def test_a_video_model_is_told_by_its_weights_where_they_are_here(
    profile, tiny_archive, tmp_path, capsys
):
    """Wherever they lie; and by its settings where they are not."""
    settings, path = yaml.safe_load(profile.read_text()), tmp_path / "moved.yaml"
    folder = shutil.copytree(settings["video_model"]["path"], tmp_path / "weights")
    line = ["collect", "--profile", str(path), "--confirm", str(tiny_archive)]
    line += ["--share", "0.5", "--refer", "0.5", "--output", str(tmp_path / "out")]

    def differences(place):
        settings["video_model"]["path"] = str(place)
        path.write_text(yaml.safe_dump(settings))
        here = checkpoints.video_model_here(profiles.load(path))
        return layout.differences_of_models(open_archive(tiny_archive).video_model, here)

    (gone,) = differences("organisation/model")
    assert gone.startswith("path is ") and "'organisation/model' here" in gone
    assert differences(folder) == []
    assert cli.main(line) == 2 and "was made by the video model" in capsys.readouterr().err
    (folder / "vae" / "config.json").write_text("{}")
    assert differences(folder) == ["the weights in path differ"]


def test_no_threshold_serves_two_video_models(screened, tiny_archive):
    whole, twin = summarize(open_archive(tiny_archive)), summarize(screened)
    losses = np.linspace(0, 1e-9, len(whole))
    threshold = decision.control_risk(whole.total, losses, level=1.0, bound=2.0)
    assert threshold.accepts(whole.total).all() and threshold.accepts(whole.total.to_numpy()).all()
    refused = decision.control_risk(twin.total, losses + 1.9, level=0.1, bound=2.0)
    for one, table in ((threshold, twin), (refused, whole)):
        with pytest.raises(ValueError, match="the threshold is of another video model .steps is"):
            decision.suggest(table, screened.latents(), one)
    with pytest.raises(ValueError, match="the summary is of another video model"):
        pooled.beside(screened, whole)


def test_measured_again_an_archive_keeps_its_video_model(
    screened, tiny_profile, tiny_archive, tmp_path
):
    folder = tmp_path / "again"
    again = score(tiny_archive, profile=tiny_profile, output=folder)
    whole = open_archive(tiny_archive)
    assert again.video_model == whole.video_model
    again.shard(tiny.TASKS[0], 0).unlink()
    with pytest.raises(ValueError, match="video_model.steps is 2 there and 1 here"):
        score(screened.folder, profile=tiny_profile, output=folder)
    assert score(tiny_archive, profile=tiny_profile, output=folder).sealed
    for lacking in ("seed", "video_model"):
        older = {k: v for k, v in again.profile.items() if k != lacking}
        again.write_profile(older)
        again.seal()
        again = score(tiny_archive, profile=tiny_profile, output=folder)
        assert lacking not in again.profile
    assert again.video_model == {}


def test_measured_again_an_archive_keeps_the_seed_of_its_videos(tiny_profile, tmp_path):
    """Asked by --like, the copy's videos have the seeds of the first archive's."""
    world, one = tiny_profile.parent, {"n": 3, "m": 2, "dataset": None}
    first = tiny.write_profile(world, tmp_path / "first.yaml", seed=5, **one)
    other = tiny.write_profile(world, tmp_path / "other.yaml", seed=6, **one)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n")
    collected = collect(first, prompts=prompts, output=tmp_path / "first")
    copy = score(collected.folder, profile=other, output=tmp_path / "copy")
    again = collect(other, like=copy.folder, output=tmp_path / "again")
    assert copy.profile["seed"] == 5
    assert list(again.videos().seed) == list(collected.videos().seed)


def test_a_pilot_is_of_the_profiles_own_video_model(tmp_path, capsys, monkeypatch, profile):
    prompts = {f"t{i}": f"cat {i}" for i in range(12)}
    archive = small_archive.make(tmp_path / "pilot", prompts, n=6, m=4)
    settings = archive.profile | {"video_model": {"steps": 12}}
    archive.write_profile(settings)
    line = ["plan", "--profile", str(profile), "--tasks", "300", "--power", "0.06"]
    assert cli.main([*line, "--pilot", str(archive.folder)]) == 2
    assert "is of another video model" in capsys.readouterr().err
    monkeypatch.setattr("squbed_utils.commands.making.SAMPLES", tmp_path)
    shutil.copytree(archive.folder, tmp_path / "world")
    assert cli.main([*line, "--width", "5"]) == 2
    assert "is of another video model" in capsys.readouterr().err
    assert cli.main(line) == 0
    _, told, head, *_ = capsys.readouterr().out.splitlines()
    assert (
        "it says no widths" in told
        and head.split() == "n videos_of m tasks videos tau power".split()
    )
    shutil.copytree(archive.folder, tmp_path / "world-tiny")
    (tmp_path / "world-tiny" / "profile.yaml").write_text(
        (archive.folder / "profile.yaml").read_text().replace("steps: 12", "steps: 3")
    )
    assert cli.main([*line, "--width", "1e9"]) == 2
    assert "the pilot" in (said := capsys.readouterr().err) and "world-tiny is of another" in said
    open_archive(tmp_path / "world-tiny").shard("t0", 0).unlink()
    assert cli.main(line) == 0
    said = capsys.readouterr()
    assert "world-tiny holds 71 of 72" in said.err and "until then the pilot is" in said.err
    assert "it says no widths" in said.out
    assert cli.main([*line, "--pilot", str(tmp_path / "world-tiny")]) == 2
    assert "until then" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"video_model": {"steps": 2, "sha256": "abc"}},
        {"video_model": {"steps": 2, "sha256": None}},
        {"dataset": {"kind": "like", "path": "a", "tasks": 5}},
        {"dataset": {"kind": "like", "path": "a", "tasks": [5, "a"]}},
        {"dataset": {"kind": "like", "path": "a", "tasks": ["a"], "by": "task"}},
    ],
)
def test_a_damaged_record_is_refused_by_its_file(confirmed, tmp_path, changes):
    folder = shutil.copytree(confirmed.folder, tmp_path / "copy")
    settings = yaml.safe_load((folder / "profile.yaml").read_text())
    (folder / "profile.yaml").write_text(yaml.safe_dump(settings | changes))
    with pytest.raises(ValueError, match=f"copy/profile.yaml: {[*changes][0]} is not as an archi"):
        _ = Archive(folder).video_model
