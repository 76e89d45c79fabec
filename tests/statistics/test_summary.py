import shutil

import numpy as np
import pytest
import yaml
from kit import tiny

from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import LABELS
from squbed_utils.estimators.estimate import estimate, pooled_pca
from squbed_utils.statistics.summary import summarize


@pytest.fixture
def archive(tiny_archive):
    return open_archive(tiny_archive)


@pytest.fixture
def copy(tiny_archive, tmp_path):
    return shutil.copytree(tiny_archive, tmp_path / "world-tiny")


def fail(folder, task, latent, count):
    """Mark the first videos of a latent prompt as failed."""
    archive = Archive(folder)
    rows = layout.read_table(archive.shard(task, latent)).to_pylist()
    for row in rows[:count]:
        row |= {"embedding": None, "path": None, "status": "failed", "error": "x"}
        row |= dict.fromkeys(LABELS)
    archive.write_shard(task, latent, rows)


def test_one_row_a_task_with_the_estimators_values(archive):
    table = summarize(archive)
    assert list(table.task) == tiny.TASKS
    for row in table.itertuples():
        expected = estimate(*archive.embeddings(row.task))
        assert (row.aleatoric, row.epistemic, row.total) == (
            expected.aleatoric,
            expected.epistemic,
            expected.total,
        )
        assert (row.epistemic_low, row.epistemic_high) == expected.epistemic_interval
        assert row.total_remark == expected.total_remark == "no interval: 3 distinct latent prompts"
        assert row.aleatoric_per_dof == expected.aleatoric_per_dof
        assert (row.n, row.m, row.failed) == (tiny.N, tiny.M, 0)
    withheld = [f"{t}_{end}" for t in ("aleatoric", "total") for end in ("low", "high")]
    assert table[withheld].isna().all(axis=None)
    assert table.drop(columns=withheld).notna().all(axis=None)
    assert set(table.identical) == {""}
    assert all(table[c].dtype == float for c in ("aleatoric", "epistemic", "total", *LABELS))


def test_accuracy_is_the_mean_over_the_videos(archive):
    table, videos = summarize(archive), archive.videos()
    for name in LABELS:
        means = [videos[name][videos.task == task].mean() for task in tiny.TASKS]
        np.testing.assert_allclose(table[name], means)


def test_truth_only_when_asked_for(archive):
    assert "coverage" not in summarize(archive)
    table = summarize(archive, truth=True)
    assert list(table.coverage) == ["common", "common", "never", "never"]
    assert list(table.left_out) == [0, 4, 0, 4]


def test_no_truth_to_add(copy):
    for name in ("truth.parquet", "archive.sha256"):
        (copy / name).unlink()
    with pytest.raises(ValueError, match="has no truth.parquet; leave truth=False"):
        summarize(open_archive(copy), truth=True)


def test_a_failed_video_is_left_out_and_counted(copy):
    fail(copy, "never-0-sign", 1, 1)
    table = summarize(open_archive(copy)).set_index("task")
    assert table.failed.to_dict() == {t: int(t == "never-0-sign") for t in tiny.TASKS}
    assert table.m["never-0-sign"] == 2 and table.n["never-0-sign"] == 3


def test_a_task_with_too_few_latent_prompts_is_left_out_and_named(copy):
    fail(copy, "never-0-sign", 1, 2)
    with pytest.warns(UserWarning, match="1 of 4 tasks left out for want of videos: never-0-sign"):
        table = summarize(open_archive(copy))
    assert list(table.task) == [t for t in tiny.TASKS if t != "never-0-sign"]


def test_nothing_left(copy):
    for task in tiny.TASKS:
        fail(copy, task, 0, 3)
    with pytest.raises(
        ValueError, match="no task has 3 or more latent prompts with 2 or more videos"
    ):
        summarize(open_archive(copy))


def test_plug_in_estimates_of_unequal_counts_are_refused(copy):
    fail(copy, "never-0-sign", 1, 1)
    with pytest.raises(ValueError, match="not comparable"):
        summarize(open_archive(copy), estimator="squbed_mle")


def test_unknown_estimator(archive):
    with pytest.raises(ValueError, match="unknown estimator 'x'; known: .*squbed, squbed_mle"):
        summarize(archive, estimator="x")


def test_pca_of_the_profile_is_pooled_over_tasks(copy):
    (copy / "archive.sha256").unlink()
    profile = yaml.safe_load((copy / "profile.yaml").read_text())
    (copy / "profile.yaml").write_text(yaml.safe_dump(profile | {"pca": 5}))
    archive = open_archive(copy)
    pairs = [archive.embeddings(task) for task in tiny.TASKS]
    texts = pooled_pca([text for text, _ in pairs], 5)
    videos = pooled_pca([np.stack(videos) for _, videos in pairs], 5)
    expected = [estimate(t, v).total for t, v in zip(texts, videos, strict=True)]
    np.testing.assert_allclose(summarize(archive).total, expected)
