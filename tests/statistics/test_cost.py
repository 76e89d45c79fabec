"""Designs of fewer videos: their scores are the estimators', and the curve says what they cost."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from kit import small_archive
from kit.embeddings import unit

from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.estimators.registry import evaluate
from squbed_utils.statistics import cost
from squbed_utils.statistics.calibration import SHOWN
from squbed_utils.statistics.tables import NotShown


def samples(seed=0, tasks=24, n=4, m=4, d=16):
    """Return samples whose spread grows from task to task, and accuracies that fall with it."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(0.2, 0.9, tasks)
    text = 1 + spread[:, None, None] * rng.normal(size=(tasks, n, d))
    centres = 1 + 0.5 * spread[:, None, None, None] * rng.normal(size=(tasks, n, 1, d))
    videos = centres + spread[:, None, None, None] * rng.normal(size=(tasks, n, m, d))
    names = [f"t{i}" for i in range(tasks)]
    accuracy = pd.Series(-spread + 0.1 * rng.normal(size=tasks), names, name="clip")
    truth = pd.DataFrame({"task": names, "subject": np.repeat(np.arange(tasks // 2), 2)})
    truth["coverage"] = [("common", "rare", "never")[3 * i // tasks] for i in range(tasks)]
    return cost.Samples(names, unit(text), unit(videos)), accuracy, truth


@pytest.fixture(scope="module")
def curve():
    return cost.curve(*samples())


@pytest.mark.parametrize("name", ["energy_split", "squbed", "entropy_power"])
def test_scores_are_those_of_the_estimators(name):
    drawn, _, _ = samples()
    found = cost.scores(drawn, 3, 2)
    for i in (0, 7):
        terms = evaluate(ESTIMATORS[name], drawn.text[i], drawn.videos[i, :3, :2])
        assert found["total", name][i] == pytest.approx(terms.total)
        if name == "squbed":
            assert found["epistemic", name][i] == pytest.approx(terms.epistemic)


def test_one_video_of_a_latent_prompt_gives_the_energy_total_alone():
    drawn, _, _ = samples()
    found = cost.scores(drawn, 4, 1)
    assert list(found) == [("total", "energy_split")]
    cosines = drawn.videos[5, :, 0] @ drawn.videos[5, :, 0].T
    assert found["total", "energy_split"][5] == pytest.approx(
        1 - cosines[np.triu_indices(4, 1)].mean()
    )


def test_the_energy_total_of_one_video_each_is_unbiased():
    """Its mean over all ways to take one video of each latent prompt is the whole archive's."""
    drawn, _, _ = samples(tasks=8, n=3, m=2)
    totals = []
    for i in np.ndindex(2, 2, 2):
        videos = np.stack([drawn.videos[:, z, v] for z, v in enumerate(i)], axis=1)[:, :, None]
        one = cost.Samples(drawn.tasks, drawn.text, videos)
        totals.append(cost.scores(one, 3, 1)["total", "energy_split"])
    whole = cost.scores(drawn, 3, 2)["total", "energy_split"]
    assert np.mean(totals, axis=0) == pytest.approx(whole)


def test_a_draw_shuffles_videos_within_their_latent_prompt():
    drawn, _, _ = samples()
    other = drawn.drawn(np.random.default_rng(0))
    assert not np.array_equal(other.videos, drawn.videos)
    for task in (0, 3):
        for text, videos in zip(other.text[task], other.videos[task], strict=True):
            (i,) = np.flatnonzero((drawn.text[task] == text).all(axis=1))
            expected = drawn.videos[task, i]
            assert sorted(map(tuple, videos)) == sorted(map(tuple, expected))


@pytest.mark.parametrize("m", range(2, 25))
def test_a_half_of_the_videos_is_a_design(m):
    found = cost.designs(5, m)
    assert {(5, m // 2), (5, 1), (2, m)} <= set(found) and found[-1] == (5, m)
    assert len(set(found)) == len(found) and all(2 <= k <= 5 and 1 <= v <= m for k, v in found)


def test_the_whole_archive_is_no_worse_than_itself(curve):
    whole = curve[(curve.videos == 16) & curve.difference.notna()]
    plain = whole[whole.estimator != cost.POOLED]
    assert len(plain) == 5 and (plain.difference == 0).all() and (plain.verdict == SHOWN).all()
    assert (plain.draws < 1e-9).all()


def test_all_videos_have_no_p_value_where_a_resample_lacks_a_pair():
    drawn, accuracy, truth = samples()
    truth["coverage"] = ["never", "never", *["common"] * 22]  # of one subject, often not drawn
    table = cost.curve(drawn, accuracy, truth)
    whole = table[(table.measure == cost.AUROC) & (table.videos == 16)].set_index("estimator")
    assert np.isnan(whole.pvalue["squbed"]) and whole.low.notna().all()


def test_fewer_videos_are_worth_less(curve):
    rows = curve[(curve.measure == cost.AGREEMENT) & (curve.estimator == "squbed")]
    value = rows[rows.component == "epistemic"].set_index(["latents", "each"]).value
    assert value[2, 2] < value[4, 2] < rows.ceiling.iloc[0] + 0.02
    areas = curve[curve.measure == cost.AUROC]
    assert areas.value.between(0.5, 1).all() and set(areas.component) == {"epistemic"}
    assert (curve.low <= curve.value).all() and (curve.value <= curve.high).all()
    assert set(curve.k) == {12} and set(curve.n) == {24}


def test_agreement_is_with_videos_that_are_not_shared():
    """Where videos are noise and latent prompts alike, disjoint videos order tasks at random."""
    rng = np.random.default_rng(0)
    drawn, accuracy, _ = samples(tasks=40)
    videos = unit(1 + rng.normal(size=(40, 4, 4, 16)))
    table = cost.curve(replace(drawn, videos=videos), accuracy)
    rows = table[(table.measure == cost.AGREEMENT) & (table.component == "epistemic")]
    assert rows.half.abs().max() < 0.2


def test_equal_samples_give_equal_curves(curve):
    pd.testing.assert_frame_equal(curve, cost.curve(*samples()))


def test_without_truth_tasks_stand_for_themselves():
    drawn, accuracy, _ = samples()
    table = cost.curve(drawn, accuracy.drop("t3"))
    assert cost.AUROC not in set(table.measure) and set(table.k) == set(table.n) == {23}


def test_saved_is_the_cheapest_equivalent_design(curve):
    found = cost.saved(curve)
    for row in found.itertuples():
        same = curve[(curve.measure == row.measure) & (curve.component == row.component)]
        same = same[(same.estimator == row.estimator) & (same.verdict == SHOWN)]
        assert row.videos == same.videos.min() and row.share == row.videos / 16


def test_saved_says_what_choosing_costs():
    """Holm by hand over the designs of one estimator; all videos are no test."""
    rows = [(4, 0.01, SHOWN), (6, 0.04, SHOWN), (8, 0.002, SHOWN), (9, 0.3, ""), (16, None, SHOWN)]
    table = pd.DataFrame(rows, columns=["videos", "pvalue", "verdict"]).astype({"pvalue": float})
    same = dict.fromkeys(("measure", "component", "estimator", "label"), "a")
    numbers = dict.fromkeys(("latents", "each", "difference"), 1)
    ends = dict.fromkeys(("difference_low", "difference_high"), 0.0)
    table = table.assign(**same, **numbers, **ends)
    other = table.assign(label="b", verdict=["", "", "", "", SHOWN])
    found = cost.saved(pd.concat([table, other], ignore_index=True)).set_index("label")
    assert found.videos.to_dict() == {"a": 4, "b": 16}
    assert found.holm["a"] == pytest.approx(3 * 0.01) and np.isnan(found.holm["b"])


def test_no_interval_leaves_the_range_of_its_measure():
    drawn, accuracy, truth = samples(tasks=8)
    table = cost.curve(drawn, accuracy, truth)
    assert (table.high <= 1).all() and (table.high == 1).any()
    assert (table.low >= np.where(table.measure == cost.AUROC, 0, -1)).all()


def test_what_cannot_be_drawn_is_said(tmp_path):
    prompts = {f"t{i}": f"prompt {i}" for i in range(9)}
    unknown = small_archive.make(tmp_path / "a", prompts, text=False)
    with pytest.raises(NotShown, match="0 tasks have known latent prompts and can be ranked; the"):
        cost.samples_of(unknown)
    drawn, accuracy, _ = samples()
    with pytest.raises(NotShown, match="24 tasks with clip are too few or all alike"):
        cost.curve(drawn, accuracy * 0)


def test_an_archive_gives_its_samples(tmp_path):
    prompts = {f"t{i}": f"prompt {i}" for i in range(9)}
    whole = cost.samples_of(small_archive.make(tmp_path / "a", prompts))
    assert whole.text.shape == (9, 3, 8) and whole.videos.shape == (9, 3, 3, 16)
    failed = small_archive.make(tmp_path / "b", prompts, failed={("t2", 0, 1)})
    with pytest.warns(UserWarning, match="tasks have 2 to 3 videos of a latent prompt"):
        assert cost.samples_of(failed).videos.shape == (9, 3, 2, 16)
