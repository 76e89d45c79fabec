"""Sampling from a dataset, and collecting on what was sampled."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from kit import clips, tiny
from kit.collecting import contents, interrupt

from squbed_utils import profiles, video
from squbed_utils.archive.archive import Archive
from squbed_utils.collection.collect import collect
from squbed_utils.models import checkpoints
from squbed_utils.models import load as models
from squbed_utils.roles import Panda70M, VidGen1M
from squbed_utils.tasks import captioned
from squbed_utils.tasks.captioned import CATEGORIES

TEXTS = ["a dog runs", "soup boils", "a chess match", "a woman smiles", "a train"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of a Panda-70M of three clips in each category."""
    folder = tmp_path_factory.mktemp("panda")
    rows = [(f"-{i}video", [f"{text} {i}" for text in TEXTS]) for i in range(3)]
    clips.make_panda(folder, rows)
    return folder


@pytest.fixture
def panda(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "panda")


def settings(folder, **more):
    places = {"path": str(folder / "panda.csv"), "videos": str(folder / "videos")}
    return {"kind": "panda70m", "pool": 50} | places | more


def read(folder, *, label=clips.label, **more):
    """Sample without a cache of earlier labels."""
    dataset = Panda70M(**settings(folder, **more))
    with tempfile.TemporaryDirectory() as empty:
        return captioned.read(dataset, label=label, cache=Path(empty) / "labels.json", asked="")


def test_tasks_are_spread_evenly(whole):
    source = read(whole, tasks=10)
    assert source.report["tasks"] == dict.fromkeys(CATEGORIES, 2)
    assert source.report["pool"] == dict.fromkeys(CATEGORIES, 3)
    assert [task.category for task in source.tasks[:5]] == list(CATEGORIES)
    assert len({task.id for task in source.tasks}) == 10
    assert source.truth is None
    for task in source.tasks:
        assert clips.label([task.prompt]) == [task.category] and task.dataset == "panda70m"


def test_the_seed_alone_chooses(whole):
    chosen = [[t.id for t in read(whole, tasks=5, seed=seed).tasks] for seed in (0, 0, 1, 2)]
    assert chosen[0] == chosen[1] and len({tuple(c) for c in chosen}) > 1


def test_a_smaller_pool_is_part_of_a_larger_one(whole):
    pools = {4: [], 9: []}
    for size, captions in pools.items():
        read(
            whole,
            tasks=4,
            pool=size,
            label=lambda c, kept=captions: kept.extend(c) or clips.label(c),
        )
    assert len(pools[4]) == 4 and len(pools[9]) == 9 and pools[9][:4] == pools[4]


def test_a_category_that_is_empty_leaves_its_share_to_the_others(panda):
    def no_games(captions):
        return ["unclear" if "chess" in text else clips.label([text])[0] for text in captions]

    report = read(panda, tasks=10, label=no_games).report
    assert report["tasks"] == {"animals": 3, "food": 3, "games": 0, "people": 2, "other": 2}
    assert report["pool"]["unclear"] == 3


def test_videos_are_counted_by_reason_and_category(panda):
    def place(row, clip):
        return clips.panda_path(panda / "videos", row, clip)

    place(0, 4).unlink()
    place(1, 0).write_bytes(b"")
    place(2, 1).write_bytes(place(2, 1).read_bytes()[:-1500])
    place(2, 2).write_text("<html>")
    place(0, 3).with_suffix(".txt").write_text("something else")
    clips.make_clip(place(1, 3), size=16)
    source = read(panda, tasks=15)
    assert source.report["captions"] == 14 and source.report["left_out"] == {"no video": 1}
    assert source.report["unusable"] == {
        "animals": {"empty video": 1},
        "food": {"video that cannot be decoded": 1},
        "games": {"video that cannot be decoded": 1},
        "people": {"video of another caption": 1, "video smaller than 31 x 31": 1},
        "other": {},
    }
    assert source.report["tasks"] == dict(zip(CATEGORIES, (2, 2, 2, 1, 2), strict=True))
    assert len(source.tasks) == len(source.report["clips"]) == 9
    assert captioned.describe(source.report) == (
        "panda70m: 9 of 15 tasks (animals 2, food 2, games 2, people 1, other 2) from 14 labelled "
        "captions (animals 3, food 3, games 3, people 3, other 2) of 14; left out: no video 1; "
        "unusable when sampled: animals: empty video 1; food: video that cannot be decoded 1; "
        "games: video that cannot be decoded 1; people: video of another caption 1, "
        "video smaller than 31 x 31 1"
    )


def test_a_dataset_without_any_usable_clip(panda):
    for path in panda.rglob("*.mp4"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="panda.csv gives no task: .* animals: empty video 3;"):
        read(panda, tasks=5)
    shutil.rmtree(panda / "videos/00000")
    with pytest.raises(ValueError, match="gives no task: .* left out: no video 15"):
        read(panda, tasks=5)


def test_a_pool_smaller_than_the_sample(whole):
    with pytest.raises(ValueError, match="pool is 5; expected at least tasks, 6"):
        read(whole, tasks=6, pool=5)


def test_a_reference_is_the_clip_byte_for_byte(whole, tmp_path):
    source = read(whole, tasks=5)
    task = source.tasks[0]
    source.write_reference(task, tmp_path / "a.mp4")
    clip = whole / "videos" / source.report["clips"][task.id]
    assert (tmp_path / "a.mp4").read_bytes() == clip.read_bytes()


def test_vidgen_is_sampled_alike(tmp_path):
    entries = [{"vid": f"_{i}-Scene-000{i}", "caption": text} for i, text in enumerate(TEXTS)]
    data = clips.make_clip(tmp_path / "a.mp4")
    files = {f"deep/{entry['vid']}.mp4": data for entry in entries}
    files[f"deep/{entries[1]['vid']}.mp4"] = data[:-1500]
    found = clips.make_vidgen(tmp_path, entries, {"VidGen_video_0.zip": files})
    dataset = VidGen1M(**found, tasks=5, pool=5)
    source = captioned.read(dataset, label=clips.label, cache=tmp_path / "l.json", asked="")
    assert source.report["unusable"]["food"] == {"video that cannot be decoded": 1}
    assert sorted(task.category for task in source.tasks) == ["animals", "games", "other", "people"]
    source.write_reference(source.tasks[0], tmp_path / "reference.mp4")
    assert (tmp_path / "reference.mp4").read_bytes() == data
    assert not list(tmp_path.rglob("deep"))


@pytest.fixture(scope="module")
def panda_profile(tiny_profile, whole, tmp_path_factory):
    dataset = settings(whole, tasks=6)
    path = tmp_path_factory.mktemp("profile") / "panda-tiny.yaml"
    return tiny.write_profile(tiny_profile.parent, path, name="panda-tiny", dataset=dataset)


@pytest.fixture(scope="module")
def archive(panda_profile, tmp_path_factory):
    return collect_labelled(panda_profile, tmp_path_factory.mktemp("a"), clips.label)


def collect_labelled(profile, output, label):
    """Collect with a function in place of the profile's language model."""
    load = models.load_language

    def labelling(*args):
        model = load(*args)
        model.label = label
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load_language", labelling)
        return collect(profile, output=output)


def forbidden(captions):
    pytest.fail(f"asked for the categories of {captions}")


def test_collecting_on_a_dataset(archive, whole):
    tasks, report = archive.tasks(), archive.report()
    assert list(tasks.category) == [*CATEGORIES, "animals"]
    assert set(tasks.task) == set(report["clips"]) and archive.truth() is None
    assert len(archive.videos()) == 6 * tiny.N * tiny.M
    assert (archive.videos().status == "ok").all() and archive.videos().ssim.notna().all()
    for task, clip in report["clips"].items():
        stored = (archive.folder / f"references/{task}.mp4").read_bytes()
        assert stored == (whole / "videos" / clip).read_bytes()
    assert set(json.loads((archive.folder / "labels.json").read_text())["labels"]) == {
        f"{text} {i}" for text in TEXTS for i in range(3)
    }


def test_counts_are_printed(panda_profile, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(models, "load", lambda profile, folder: pytest.fail("stop here"))
    with pytest.raises(pytest.fail.Exception, match="stop here"):
        collect_labelled(panda_profile, tmp_path, clips.label)
    assert "panda70m: 6 of 6 tasks (animals 2, food 1, games 1, peo" in capsys.readouterr().err


def test_interrupted_and_resumed_is_the_same_byte_for_byte(
    panda_profile, archive, tmp_path, monkeypatch
):
    folder = tmp_path / "archive"
    asked = []

    def label_some(captions):
        if asked:
            raise KeyboardInterrupt
        asked.extend(captions)
        return clips.label(captions)

    monkeypatch.setattr("squbed_utils.tasks.captioned.BATCH", 4)
    with pytest.raises(KeyboardInterrupt):
        collect_labelled(panda_profile, folder, label_some)
    assert list(contents(folder)) == [".lock", "labels.json"]

    def label_others(captions):
        assert not set(captions) & set(asked)
        return clips.label(captions)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("squbed_utils.collection.latent.make", stop_after(3))
        collect_labelled(panda_profile, folder, label_others)
    shards = list(folder.glob("shards/*/*.parquet"))
    assert len(shards) == 3
    collect_labelled(panda_profile, folder, forbidden)
    assert contents(folder) == contents(archive.folder)


def stop_after(count):
    """Return a unit's work that is interrupted after so many."""
    from squbed_utils.collection import latent

    make, done = latent.make, []

    def make_or_stop(*unit):
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(unit)
        make(*unit)

    return make_or_stop


@pytest.mark.slow
def test_killed_and_resumed_from_the_command_line(panda_profile, archive, tmp_path):
    """Labels and tasks come from the archive, so the command needs no language model."""
    folder = tmp_path / "archive"
    shutil.copytree(archive.folder, folder, ignore=shutil.ignore_patterns("shards", "videos"))
    process, _ = interrupt(panda_profile, folder, lambda process: process.kill())
    assert process.returncode < 0
    collect_labelled(panda_profile, folder, forbidden)
    assert contents(folder) == contents(archive.folder)


def test_a_lost_reference_is_copied_again(panda_profile, archive, tmp_path):
    folder = shutil.copytree(archive.folder, tmp_path / "archive")
    shutil.rmtree(folder / "references")
    collect_labelled(panda_profile, folder, forbidden)
    assert contents(folder) == contents(archive.folder)


def test_a_lost_reference_whose_clip_is_lost_too(tiny_profile, panda, tmp_path):
    dataset = settings(panda, tasks=5)
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "p.yaml", dataset=dataset)
    loaded = profiles.load(profile)
    source = read(panda, tasks=5)
    archive = Archive(tmp_path / "archive")
    archive.write_tasks(source.tasks, None)
    archive.write_report(source.report)
    archive.write_profile(checkpoints.resolve(loaded))
    shutil.rmtree(panda / "videos")
    expected = r"task panda70m-.* needs its clip 00000/0.*\(there is: video that cannot be read\)"
    with pytest.raises(ValueError, match=expected):
        collect(profile, output=archive.folder)


def test_a_lost_or_damaged_report(panda_profile, archive, tmp_path):
    folder = shutil.copytree(archive.folder, tmp_path / "archive")
    (folder / "dataset.json").write_text("{")
    next(folder.glob("shards/*/*.parquet")).unlink()
    with pytest.raises(ValueError, match=r"dataset.json is damaged \(.*put it back as it was"):
        collect(panda_profile, output=folder)
    for places in ("{}", '{"panda70m--0video.0": 5}', "[]"):
        (folder / "dataset.json").write_text(f'{{"clips": {places}}}')
        with pytest.raises(ValueError, match="dataset.json does not say each task's clip; put it"):
            collect(panda_profile, output=folder)
    (folder / "dataset.json").unlink()
    with pytest.raises(ValueError, match="has no dataset.json, which says where its references"):
        collect(panda_profile, output=folder)


def test_a_language_model_that_cannot_label(panda_profile, tmp_path):
    with pytest.raises(
        ValueError, match="local cannot label captions; expected kind chat or openai"
    ):
        collect(panda_profile, output=tmp_path / "archive")


def test_another_table_is_another_profile(tiny_profile, panda, tmp_path):
    dataset = settings(panda, tasks=5)
    path = tiny.write_profile(tiny_profile.parent, tmp_path / "p.yaml", dataset=dataset)
    profile = profiles.load(path)
    before = checkpoints.resolve(profile)
    (panda / "panda.csv").write_bytes((panda / "panda.csv").read_bytes() + b"\n")
    found = profiles.differences(before, checkpoints.resolve(profile))
    assert [text.split()[0] for text in found] == ["checkpoints.dataset"]


def test_labels_of_another_language_model_are_asked_again(tiny_profile, panda, tmp_path):
    asked = []

    def unclear(captions):
        asked.extend(captions)
        return ["unclear"] * len(captions)

    for temperature in (1.0, 1.0, 0.5):
        refiner = {"path": str(tiny_profile.parent / "refiner"), "temperature": temperature}
        changes = {"dataset": settings(panda, tasks=5), "refiner": refiner}
        path = tiny.write_profile(tiny_profile.parent, tmp_path / "p.yaml", **changes)
        with pytest.raises(ValueError, match="gives no task"):
            collect_labelled(path, tmp_path / "archive", unclear)
    assert len(asked) == 2 * 15


def test_a_profile_of_a_dataset_is_read_with_its_defaults(whole, tiny_profile, tmp_path):
    dataset = {key: value for key, value in settings(whole).items() if key != "pool"}
    path = tiny.write_profile(tiny_profile.parent, tmp_path / "p.yaml", dataset=dataset)
    read_ = profiles.load(path).dataset
    assert (read_.tasks, read_.pool, read_.seed) == (200, 2000, 0)
    assert yaml.safe_load(yaml.safe_dump(checkpoints.resolve(profiles.load(path))))


def test_references_are_readable(archive):
    for task in archive.tasks().task:
        assert video.read(archive.folder / f"references/{task}.mp4").frames.shape == (6, 32, 32, 3)
