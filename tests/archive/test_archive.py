import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from kit import tiny

from squbed_utils import video
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import LABELS
from squbed_utils.models import captioners
from squbed_utils.profiles import load
from squbed_utils.world import scenes


@pytest.fixture
def archive(tiny_archive):
    return open_archive(tiny_archive)


@pytest.fixture
def copy(tiny_archive, tmp_path):
    return shutil.copytree(tiny_archive, tmp_path / "world-tiny")


def test_tables(archive):
    tasks, latents, videos = archive.tasks(), archive.latents(), archive.videos()
    assert list(tasks.task) == tiny.TASKS
    assert list(tasks) == ["task", "dataset", "category", "prompt", "reference"]
    assert list(latents) == ["task", "latent", "prompt", "embedding", "rejected"]
    assert len(latents) == 4 * tiny.N and len(videos) == 4 * tiny.N * tiny.M
    assert list(videos)[:6] == ["task", "latent", "sample", "seed", "path", "embedding"]
    assert list(videos)[6:] == [*LABELS, "caption", "status", "error"]
    assert videos[list(LABELS)].notna().all(axis=None) and (videos.status == "ok").all()
    assert not videos.duplicated(["task", "latent", "sample"]).any() and videos.seed.is_unique


def test_captions_are_those_of_the_stored_videos(archive, tiny_profile):
    profile, videos = load(tiny_profile), archive.videos()
    frames = [archive.read_video(path) for path in videos.path]
    caption = captioners.load(profile.captioner, "cpu", profile.batch_size)
    assert caption(frames) == list(videos.caption)
    assert all(scenes.parse(text) for text in videos.caption)


def test_the_truth_stands_apart(archive):
    truth = archive.truth()
    assert list(truth.task) == tiny.TASKS and "true_entropy" in truth
    for table in (archive.tasks(), archive.latents(), archive.videos()):
        assert set(table) & set(truth) == {"task"}


def test_embeddings_of_a_task(archive):
    text, videos = archive.embeddings("never-0-sign")
    assert text.shape == (tiny.N, 128) and text.dtype == np.float32
    assert [v.shape for v in videos] == [(tiny.M, 128)] * tiny.N
    rows = archive.videos().query("task == 'never-0-sign' and latent == 1")
    np.testing.assert_array_equal(videos[1], np.stack(list(rows.embedding)))
    latents = archive.latents().query("task == 'never-0-sign'")
    np.testing.assert_array_equal(text, np.stack(list(latents.embedding)))


def test_videos_and_references_can_be_read(archive):
    for path in archive.videos().path[:3]:
        assert archive.read_video(path).shape == (9, 32, 32, 3)
    for task in tiny.TASKS:
        assert archive.reference(task).shape == (9, 32, 32, 3)


def test_profile_says_what_was_run(archive):
    assert archive.profile["name"] == "world-tiny"
    assert {"checkpoints", "versions", "video_model", "seed"} <= set(archive.profile)


def test_failed_videos_are_rows_without_numbers(copy):
    archive = Archive(copy)
    shard = archive.shard("never-0-sign", 1)
    rows = layout.read_table(shard).to_pylist()
    broken = {"path": None, "embedding": None, "status": "failed", "error": "RuntimeError: x"}
    rows[0] |= broken | dict.fromkeys(LABELS)
    archive.write_shard("never-0-sign", 1, rows)
    row = archive.videos().query("status == 'failed'").iloc[0]
    assert row.error == "RuntimeError: x" and row.embedding is None
    assert pd.isna(row[list(LABELS)]).all()
    _, videos = archive.embeddings("never-0-sign")
    assert [len(v) for v in videos] == [3, 2, 3]
    assert archive.finished("never-0-sign", 1)
    assert not archive.finished("never-0-sign", 1, retry_failed=True)


def test_a_missing_archive():
    expected = r"no samples archive in .*world \(no such folder\); run `squbed collect --profile w"
    with pytest.raises(FileNotFoundError, match=expected):
        open_archive("gone/world")


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\(no profile.yaml in it\)"):
        open_archive(tmp_path)


def test_an_unfinished_archive(copy):
    Archive(copy).shard("never-0-sign", 1).unlink()
    expected = "holds 11 of 12 latent prompts; run `squbed collect --profile world-tiny` to finish"
    with pytest.raises(ValueError, match=expected):
        open_archive(copy)


def test_a_broken_table_is_named(copy):
    shard = Archive(copy).shard("never-0-sign", 1)
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match="1.parquet cannot be read .* run `squbed collect` again"):
        open_archive(copy).videos()


@pytest.mark.parametrize("damage", ["no shard", "cut shard", "no video", "empty video", "one row"])
def test_what_counts_as_finished(copy, damage):
    archive = Archive(copy)
    shard, clip = archive.shard("never-0-sign", 1), copy / "videos/never-0-sign/1_2.mp4"
    assert archive.finished("never-0-sign", 1)
    rows = layout.read_table(shard).to_pylist()
    match damage:
        case "no shard":
            shard.unlink()
        case "cut shard":
            shard.write_bytes(shard.read_bytes()[:-20])
        case "no video":
            clip.unlink()
        case "empty video":
            clip.write_bytes(b"")
        case "one row":
            archive.write_shard("never-0-sign", 1, rows[:1])
    assert not archive.finished("never-0-sign", 1)
    assert archive.finished("never-0-sign", 0)


def test_unknown_task(archive):
    with pytest.raises(KeyError, match="has no task 'x'; see its tasks"):
        archive.embeddings("x")


@pytest.mark.parametrize("path", ["../profile.yaml", "/etc/passwd", "videos/../../a.mp4"])
def test_paths_stay_inside(archive, path):
    with pytest.raises(ValueError, match="leads out of the archive"):
        archive.read_video(path)


@pytest.mark.parametrize("task", ["..", "../x", "a/b", ""])
def test_task_ids_stay_inside(archive, task):
    with pytest.raises(ValueError, match="cannot name a file"):
        archive.shard(task, 0)
    with pytest.raises(ValueError, match="cannot name a file"):
        archive.reference(task)


def test_a_table_holds_no_date_and_an_interrupted_write_nothing(copy, monkeypatch):
    archive = Archive(copy)
    shard = archive.shard("never-0-sign", 1)
    before = shard.read_bytes()
    archive.write_shard("never-0-sign", 1, layout.read_table(shard).to_pylist())
    assert shard.read_bytes() == before

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        archive.write_shard("never-0-sign", 1, [])
    assert shard.read_bytes() == before and len(list(shard.parent.iterdir())) == 2 * tiny.N


def test_profile_is_plain_yaml(tiny_archive):
    text = (tiny_archive / "profile.yaml").read_text()
    assert "!!" not in text and yaml.safe_load(text)["n"] == tiny.N


def test_stored_videos_are_lossless(tiny_archive):
    import av

    path = tiny_archive / "videos" / tiny.TASKS[0] / "0_0.mp4"
    with av.open(str(path)) as container:
        assert container.streams.video[0].pix_fmt == "gbrp"
    assert video.read(path).fps == 8
