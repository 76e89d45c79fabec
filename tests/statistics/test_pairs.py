"""Paired changes, disagreement of models and confident mistakes, by hand and by symmetry."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from kit import small_archive
from scipy import stats

from squbed_utils import open_archive
from squbed_utils.statistics import pairs
from squbed_utils.statistics.pairs import (
    compare,
    confident_mistakes,
    disagreement,
    ensemble_taus,
    paired_change,
)


def summary(subjects=12, tasks=3, clips=0):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"subject": np.repeat([f"s{i}" for i in range(subjects)], tasks)})
    table["task"] = [f"{s}-{i}" for i, s in enumerate(table.subject)]
    parts = {part: rng.normal(size=len(table)) for part in ("aleatoric", "epistemic")}
    return table.assign(clips=clips, **parts)


@pytest.fixture
def pair():
    before = summary(18)
    added = before.subject.isin([f"s{i}" for i in range(8)])
    after = before.assign(clips=np.where(added, 1024, 0))
    noise = np.random.default_rng(1).normal(scale=0.01, size=len(before))
    after["epistemic"] = before.epistemic - 2.0 * added + noise
    return before, after


def test_a_change_on_the_added_subjects_alone(pair):
    found = paired_change(*pair).set_index(["part", "group"])
    assert found.change["epistemic", "added"] == pytest.approx(-2, abs=0.01)
    assert found.high["epistemic", "added"] < -1.9
    assert found.change["epistemic", "others"] == pytest.approx(0, abs=0.01)
    assert found.change["epistemic", "added less others"] == pytest.approx(-2, abs=0.02)
    assert found.change["aleatoric", "added"] == 0 and found.pvalue["aleatoric", "added"] == 1
    assert found.subjects["epistemic", "others"] == 10 and found.tasks["epistemic", "others"] == 30


def test_interval_and_p_of_a_change_are_of_one_test(pair):
    """Means over subjects, by hand, with Student's t; Welch's for the difference."""
    before, after = pair
    by_subject = (after.epistemic - before.epistemic).groupby(before.subject).mean()
    own = by_subject.index.isin([f"s{i}" for i in range(8)])
    found = paired_change(before, after).set_index(["part", "group"]).loc["epistemic"]
    for group, x in (("added", by_subject[own]), ("others", by_subject[~own])):
        error = x.std(ddof=1) / np.sqrt(len(x))
        half = stats.t.ppf(0.975, len(x) - 1) * error
        row = found.loc[group]
        assert (row.low, row.high) == pytest.approx((x.mean() - half, x.mean() + half))
        assert row.pvalue == pytest.approx(2 * stats.t.sf(abs(x.mean()) / error, len(x) - 1))
    of = [(by_subject[k].var(ddof=1) / k.sum(), k.sum() - 1) for k in (own, ~own)]
    freedom = sum(v for v, _ in of) ** 2 / sum(v**2 / k for v, k in of)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(v for v, _ in of))
    row = found.loc["added less others"]
    assert (row.low, row.high) == pytest.approx((row.change - half, row.change + half))


def test_the_interval_covers_the_mean_of_eight_subjects():
    held, agree = [], []
    for seed in range(300):
        rng, before = np.random.default_rng(seed), summary(16)
        by_subject = dict(zip(before.subject.unique(), rng.normal(size=16), strict=True))
        after = before.assign(clips=np.where(before.subject < "s2", 1, 0))
        after["epistemic"] = before.epistemic + before.subject.map(by_subject)
        row = paired_change(before, after).set_index(["part", "group"]).loc["epistemic", "added"]
        held.append(row.low <= 0 <= row.high)
        agree.append(held[-1] == (row.pvalue >= 0.05))
    assert all(agree)
    assert 0.925 < np.mean(held) <= 0.985


def test_below_eight_subjects_a_change_has_neither_interval_nor_p(pair):
    before, after = pair
    after["clips"] = after.clips.where(after.subject != "s7", 0)
    found = paired_change(before, after).set_index(["part", "group"]).loc["epistemic"]
    ends = found[["low", "high", "pvalue"]].notna().all(axis=1)
    assert ends.to_dict() == {"added": False, "others": True, "added less others": False}


def test_tables_of_other_tasks_are_refused(pair):
    before, after = pair
    with pytest.raises(ValueError, match="53 tasks are in both tables of 54 and 53"):
        paired_change(before, after[1:])
    with pytest.raises(ValueError, match="0 of them on subjects with added clips"):
        paired_change(before, before)


def archive(videos, prompts=("a", "b"), captions=None):
    """Return what stands in for an archive of one task: videos (n, m, d)."""
    tasks = pd.DataFrame({"task": ["t"]})
    latents = pd.DataFrame({"task": "t", "latent": range(len(prompts)), "prompt": prompts})
    return SimpleNamespace(
        tasks=lambda: tasks,
        latents=lambda: latents,
        embeddings=lambda task: (None, list(videos)),
        units={},
        folder="a",
    )


def test_disagreement_by_hand():
    near, far = np.array([[0.0], [1.0]]), np.array([[3.0], [5.0]])
    # Pairs of unequal index: 5 and 2 apart between the models, 1 and 2 within them.
    assert disagreement([archive([near]), archive([far])])["t"] == pytest.approx(7 - 1 - 2)


def test_models_that_are_the_same_disagree_by_nothing_on_average():
    rng = np.random.default_rng(0)
    apart = [
        disagreement([archive(rng.normal(size=(2, 6, 4))) for _ in range(3)])["t"]
        for _ in range(300)
    ]
    assert np.mean(apart) == pytest.approx(0, abs=4 * np.std(apart) / np.sqrt(300))
    shifted = [archive(rng.normal(size=(2, 6, 4)) + 2 * k) for k in range(3)]
    assert disagreement(shifted)["t"] > max(apart)


def test_other_latent_prompts_are_refused():
    videos = np.zeros((2, 2, 1))
    with pytest.raises(ValueError, match="hold other latent prompts .* --like"):
        disagreement([archive(videos), archive(videos, ("a", "c"))])


def test_tau_with_disagreement_is_over_subjects():
    table = summary(20)
    values = table.set_index("task").epistemic.rename("disagreement")
    found = ensemble_taus(table, values).set_index("part")
    assert found.tau["epistemic"] == 1 and abs(found.tau["aleatoric"]) < 0.5
    assert (found.subjects == 20).all()


def test_a_mistake_is_confident_where_all_videos_show_it():
    shown = {
        ("t", 0): ["a red ring", "a red ring"],  # wrong, and sure of it
        ("t", 1): ["a red ring", "a red star"],
        ("t", 2): ["a red star", "a red star"],
        ("u", 0): [None, "a thing"],
        ("v", 0): ["a red star", ""],  # the second failed, and shows nothing
    }
    rows = [(*unit, caption) for unit, captions in shown.items() for caption in captions]
    videos = pd.DataFrame(rows, columns=["task", "latent", "caption"])
    videos["status"] = np.where(videos.caption == "", "failed", "ok")
    subjects = pd.Series({"t": "star", "u": "ring", "v": "ring"})
    found = confident_mistakes(SimpleNamespace(videos=lambda **_options: videos), subjects)
    assert found.to_dict() == {"t": 1 / 3, "u": 0, "v": 1}


def two_models(n=60, seed=0, worse=0.0, clusters=None):
    """Two models' numbers on the same tasks; the second's accuracy heeds its uncertainty less."""
    rng = np.random.default_rng(seed)
    doubt, table = rng.normal(size=n), {"task": [f"t{i}" for i in range(n)]}
    for which, weight in (("first", 1.0), ("second", 1.0 - worse)):
        own = doubt + 0.3 * rng.normal(size=n)
        parts = {"aleatoric": rng.normal(size=n), "epistemic": own, "total": own}
        table |= {f"{name}_{which}": values for name, values in parts.items()}
        table[f"ssim_{which}"] = -weight * own + rng.normal(size=n)
    table["aleatoric_second"] = table["aleatoric_first"]
    table = pd.DataFrame(table)
    return table if clusters is None else table.assign(subject=np.arange(n) % clusters)


def test_every_number_of_a_comparison():
    tasks = two_models(200, worse=1.0)
    tasks["epistemic_second"] -= 2
    found = compare(tasks, accuracy="ssim").set_index(["panel", "quantity"])
    mean = found.loc[pairs.MEAN]
    change = tasks.epistemic_second - tasks.epistemic_first
    assert mean.value["epistemic"] == pytest.approx(change.mean())
    assert mean.low["epistemic"] < change.mean() < mean.high["epistemic"] < -1.5
    assert mean.pvalue["epistemic"] == pytest.approx(stats.ttest_1samp(change, 0).pvalue)
    assert mean.value["aleatoric"] == 0 and mean.pvalue["aleatoric"] == 1
    assert np.isnan(mean.low["aleatoric"])  # nothing differs, so nothing varies
    taus = {
        w: stats.kendalltau(tasks[f"total_{w}"], tasks[f"ssim_{w}"]).statistic
        for w in ("first", "second")
    }
    row = found.loc[pairs.CALIBRATION].loc["total"]
    assert (row["first"], row.second) == pytest.approx((taus["first"], taus["second"]))
    assert row.value == pytest.approx(taus["second"] - taus["first"])
    assert 0 < row.low < row.value < row.high and row.pvalue < 0.01
    assert found.loc[pairs.ORDER].value["aleatoric"] == 1
    assert np.isnan(found.loc[pairs.ORDER].low["aleatoric"])
    between = stats.kendalltau(tasks.epistemic_first, tasks.epistemic_second).statistic
    assert found.loc[pairs.ORDER].value["epistemic"] == pytest.approx(between)
    less = tasks.ssim_second < tasks.ssim_first
    row = found.loc[pairs.MISTAKEN].loc["epistemic"]
    assert row.value == pytest.approx((change < 0)[less].mean())
    assert row["first"] == pytest.approx((change < 0).mean())
    assert row.value == 1 and np.isnan(row.low)  # of equal answers no spread is known
    tasks["epistemic_second"] += 1.9
    row = compare(tasks, accuracy="ssim").set_index("panel").loc[pairs.MISTAKEN]
    assert 0 < row.low < row.value < row.high < 1


@pytest.mark.parametrize("clusters", [None, 20])
def test_models_of_equal_calibration_differ_as_often_as_chance_allows(clusters):
    found = []
    for seed in range(200):
        table = compare(two_models(40, seed, clusters=clusters), accuracy="ssim")
        row = table.set_index(["panel", "quantity"]).loc[(pairs.CALIBRATION, "total")]
        found.append(row.pvalue < 0.05)
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_below_eight_tasks_no_interval_is_stated():
    table = compare(two_models(7), accuracy="ssim")
    assert table[["low", "high"]].isna().all(axis=None) and table.value.notna().all()


def test_below_eight_subjects_no_interval_is_stated():
    """However many tasks they have; of those that became worse as well."""
    table = compare(two_models(60, clusters=7), accuracy="ssim")
    assert table[["low", "high"]].isna().all(axis=None) and table.value.notna().all()
    tasks = two_models(60, clusters=12)
    tasks["ssim_second"] = tasks.ssim_first + np.where(tasks.subject < 5, -0.1, 0.1)
    found = compare(tasks, accuracy="ssim").set_index("panel")
    assert np.isnan(found.low[pairs.MISTAKEN]) and found.low[pairs.CALIBRATION].notna().all()


def test_a_change_is_of_tasks_that_both_have():
    tasks = two_models(60, clusters=20)
    tasks["ssim_first"] = tasks.task.str[1:].astype(float)
    tasks["ssim_second"] = tasks.ssim_first.where(tasks.index % 3 > 0)  # nothing changed
    row = compare(tasks, accuracy="ssim").set_index(["panel", "quantity"]).loc[(pairs.MEAN, "ssim")]
    assert row.value == 0 and row.pvalue == 1


def test_archives_that_other_models_measured_are_refused(tmp_path):
    first, second = (small_archive.make(tmp_path / n, {"t0": "a cat"}) for n in ("a", "b"))
    text = {"path": "here", "kind": "open_clip"}
    first.write_profile(first.profile | {"clip": text, "checkpoints": {"clip": "1"}})
    second.write_profile(second.profile | {"clip": text, "checkpoints": {"clip": "2"}})
    first, second = open_archive(first.folder), open_archive(second.folder)
    with pytest.raises(ValueError, match=r"measured by other models \(clip\).*squbed score"):
        pairs.paired_tasks(first, second)


def test_the_command_that_makes_the_second_can_be_copied(tmp_path):
    first = small_archive.make(tmp_path / "a b", {"t0": "a cat"})
    second = small_archive.make(tmp_path / "c", {"t1": "a dog"})
    first, second = open_archive(first.folder), open_archive(second.folder)
    with pytest.raises(ValueError, match="--like '.*/a b'`"):
        pairs.paired_tasks(first, second)
