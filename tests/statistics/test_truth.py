"""What touches the truth: by whole subjects, as tests of equivalence, beside what ranks as well."""

import itertools

import numpy as np
import pandas as pd
import pytest
from kit.truths import clustered, rng, summary
from scipy import stats

from squbed_utils import figures
from squbed_utils.estimators.baselines import mean_pairwise_cosine
from squbed_utils.statistics import truth
from squbed_utils.statistics.calibration import bootstrap_interval, equivalence, tau_difference
from squbed_utils.statistics.resampling import (
    level_pvalue,
    resampled_taus,
    task_counts,
    weighted_taus,
)
from squbed_utils.statistics.tables import NotShown


class TestClusters:
    def test_whole_clusters_are_resampled(self):
        names = np.array(["b", "a", "b", "c", "a"])
        counts = task_counts(5, 200, rng(), names)
        for name in "abc":
            assert (np.ptp(counts[:, names == name], axis=1) == 0).all()
        assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()

    def test_clusters_of_one_are_tasks(self):
        assert (task_counts(9, 5, rng(), np.arange(9)) == task_counts(9, 5, rng())).all()

    def test_pairs_within_levels_by_hand(self):
        x, y, levels = np.array([1, 2, 9, 8]), np.array([1, 2, 1, 2]), np.array([0, 0, 1, 1])
        everyone = np.ones((1, 4), np.float32)  # a concordant pair in 0, a discordant one in 1
        assert weighted_taus(x[None], y, everyone, levels).item() == 0
        assert weighted_taus(x[None, :2], y[:2], everyone[:, :2], levels[:2]).item() == 1

    def test_pairs_within_levels_are_counted_one_by_one(self):
        x, y, levels = rng(1).integers(0, 4, size=(3, 30))
        counts = task_counts(30, 20, rng(2))
        found = weighted_taus(x[None], y, counts, levels)[0]
        for row, tau in zip(counts.astype(int), found, strict=True):
            tasks = np.repeat(np.arange(30), row)
            pairs = [p for p in itertools.combinations(tasks, 2) if levels[p[0]] == levels[p[1]]]
            a, b = (np.array([np.sign(v[i] - v[j]) for i, j in pairs]) for v in (x, y))
            assert tau == pytest.approx((a @ b) / np.sqrt((a @ a) * (b @ b)))

    def test_one_level_is_no_level(self):
        x, y = rng(3).normal(size=(2, 12))
        counts = task_counts(12, 9, rng(4))
        same = weighted_taus(x[None], y, counts, np.zeros(12))
        assert same == pytest.approx(weighted_taus(x[None], y, counts))

    @pytest.mark.slow
    def test_intervals_by_subject_hold_their_level_and_by_task_do_not(self):
        generator, draws, everyone = rng(5), 300, np.ones((1, 150), np.float32)
        held = []
        for icc, effect in ((0.31, 0.0), (0.31, 0.6), (0.31, 1.5), (0.6, 0.6)):
            sample = [clustered(generator, icc=icc, effect=effect) for _ in range(1200 + draws)]
            truth_of = np.mean([weighted_taus(x[None], y, everyone) for x, y, _ in sample])
            for x, y, subject in sample[:draws]:
                for clusters in (subject, None):
                    counts = task_counts(150, 400, generator, clusters)
                    taus = resampled_taus(x[None], y, counts, clusters)
                    low, high = bootstrap_interval(taus, 0.95)
                    held.append(low <= truth_of <= high)
        by_subject, by_task = np.reshape(held, (-1, 2)).mean(axis=0)
        assert 0.93 <= by_subject <= 0.97 and by_task < 0.8


class TestLevels:
    def test_an_exact_p_is_one_in_the_number_of_arrangements(self):
        level, subject = np.repeat([0, 1], 50), np.repeat(np.arange(10), 10)
        p = level_pvalue(np.arange(100.0), level, rng(), clusters=subject)
        assert p == 2 / 252  # of the ways to deal five and five, this one and its mirror image

    def test_every_arrangement_by_hand(self):
        x, level = np.array([3, 1, 4, 1.5, 9]), np.array([0, 0, 1, 1, 1])
        taus = [stats.kendalltau(x, deal).statistic for deal in set(itertools.permutations(level))]
        seen = abs(stats.kendalltau(x, level).statistic)
        expected = np.mean(np.abs(taus) >= seen - 1e-12)
        assert level_pvalue(x, level, rng()) == pytest.approx(expected)

    def test_more_tasks_of_the_same_subjects_are_no_more_evidence(self):
        score, level, subject = clustered(rng(6), tasks=1, effect=2.0)
        ends = level != 1
        once = level_pvalue(score[ends], level[ends], rng(), clusters=subject[ends])
        many = [np.repeat(v[ends], 20) for v in (score, level, subject)]
        assert level_pvalue(*many[:2], rng(), clusters=many[2]) == pytest.approx(once)

    def test_random_arrangements_agree_with_all(self, monkeypatch):
        score, level, subject = clustered(rng(7), per=3, tasks=4, effect=0.7)
        exact = level_pvalue(score, level, rng(), clusters=subject)
        monkeypatch.setattr("squbed_utils.statistics.resampling.MOST_ARRANGEMENTS", 1600)
        assert level_pvalue(score, level, rng(), clusters=subject) == pytest.approx(exact, abs=0.04)

    def test_a_subject_with_two_levels_is_refused(self):
        with pytest.raises(ValueError, match="tasks of a have different levels; expected one"):
            level_pvalue(
                np.arange(3), np.array([0, 1, 1]), rng(), clusters=np.array(["a", "a", "b"])
            )

    @pytest.mark.slow
    def test_false_positives(self):
        generator = rng(8)
        draws = (clustered(generator, per=4, tasks=5, icc=0.6) for _ in range(600))
        p = [level_pvalue(x, level, generator, clusters=s) for x, level, s in draws]
        assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.075


class TestEquivalence:
    def test_three_verdicts_by_hand(self):
        replicates = np.linspace(-0.1, 0.1, 99)
        assert equivalence(replicates, 0.15) == (1 / 100, "shown")
        assert equivalence(replicates + 0.12, 0.15)[1] == "not shown"
        assert equivalence(-replicates - 0.3, 0.15) == (1.0, "refuted")

    def test_shown_where_the_interval_at_90_percent_lies_within(self):
        for shift in np.linspace(-0.3, 0.3, 61):
            replicates = rng(9).normal(shift, 0.05, size=1999)
            low, high = bootstrap_interval(replicates, 0.9)
            p, verdict = equivalence(replicates, 0.15)
            if abs(p - 0.05) > 0.003:
                assert (verdict == "shown") == (-0.15 < low and high < 0.15)
            if min(abs(low - 0.15), abs(high + 0.15)) > 0.003:
                assert (verdict == "refuted") == (low > 0.15 or high < -0.15)

    @pytest.mark.slow
    def test_at_the_bar_five_percent_are_shown(self):
        generator = rng(10)
        found = [
            equivalence(generator.normal(generator.normal(0.15, 0.04), 0.04, size=999), 0.15)
            for _ in range(2000)
        ]
        assert 0.035 <= np.mean([verdict == "shown" for _, verdict in found]) <= 0.065


class TestDifference:
    def test_by_hand(self):
        y = np.arange(12.0)
        found = tau_difference(-y, y, y, rng=rng())
        assert found[:3] == pytest.approx((-2, -2, -2)) and found.pvalue == pytest.approx(2 / 2001)

    def test_against_itself_and_mirrored(self):
        a, b, y = rng(11).normal(size=(3, 40))
        assert tau_difference(a, a, y, rng=rng()) == (0, 0, 0, 1)
        there, back = (tau_difference(*p, y, rng=rng()) for p in ((a, b), (b, a)))
        assert there[:3] == pytest.approx((-back.value, -back.high, -back.low))


class TestTruth:
    def test_leakages_are_tests_of_equivalence(self):
        taus = truth.truth_taus(summary())
        assert set(taus.verdict[taus.kind == "leakage"]) <= {"shown", "not shown", "refuted"}
        found = truth.truth_findings(summary(), taus).set_index("finding")
        leak = "Kendall's tau of epistemic and true entropy (leakage)"
        row = taus[(taus.estimate == "epistemic") & (taus.kind == "leakage")].iloc[0]
        assert tuple(found.loc[leak, ["value", "pvalue", "verdict"]]) == (
            row.tau,
            row.equivalence_pvalue,
            row.verdict,
        )

    def test_a_leak_beyond_its_bar_is_refuted(self):
        leaking = summary().assign(
            aleatoric=lambda t: t.coverage.map(["common", "rare", "never"].index)
        )
        row = (
            truth.truth_taus(leaking).query("estimate == 'aleatoric' and kind == 'leakage'").iloc[0]
        )
        assert row.verdict == "refuted" and row.tau == pytest.approx(1)

    def test_coverage_is_of_subjects_and_without_them_of_tasks(self):
        with_subjects, without = (
            truth.truth_taus(t) for t in (summary(), summary().drop(columns="subject"))
        )
        pick = with_subjects.truth == "coverage"
        assert (with_subjects.tau == without.tau).all()
        width = (with_subjects.high - with_subjects.low) / (without.high - without.low)
        assert width[1] > 1 and width[~pick].tolist() == [1, 1]
        assert with_subjects.pvalue[1] > without.pvalue[1]

    def test_clips_order_coverage_where_they_are_known(self):
        clips = summary().coverage.map({"common": 64, "rare": 4, "never": 0})
        pair = (truth.truths_of(t)["coverage"] for t in (summary(), summary().assign(clips=clips)))
        assert stats.kendalltau(*pair).statistic == pytest.approx(1)

    def test_separation_is_of_subjects(self):
        ends = summary()[lambda t: t.coverage != "rare"]
        u = stats.mannwhitneyu(*(ends.epistemic[ends.coverage == c] for c in ("never", "common")))
        area, pvalue = truth.separation(summary())
        assert area == pytest.approx(u.statistic / 400)
        assert pvalue >= 1 / 252 and pvalue > u.pvalue
        marked = pd.DataFrame({"label": ["a"]})
        title = truth.truth_positions(summary(), marked).title[0]
        assert title.endswith(f"{area:.2f}, p = {pvalue:.2g} by subject")


class TestWithinLevels:
    def test_by_hand(self):
        found = truth.within_levels(summary(), accuracy="ssim")
        assert found.level.tolist() == ["0", "1", "2", "3", "pooled", "all"] * 2
        table = summary()
        part = table[table.left_out == 2]
        row = found[(found.target == "ssim") & (found.level == "2")].iloc[0]
        assert row.tau == pytest.approx(stats.kendalltau(part.epistemic, part.ssim).statistic)
        assert (found.low <= found.tau).all() and (found.tau <= found.high).all()

    def test_what_levels_share_vanishes_within_them(self):
        table = summary().assign(epistemic=lambda t: t.left_out + 0.0, ssim=lambda t: -t.left_out)
        found = truth.within_levels(table, accuracy="ssim").query("target == 'ssim'")
        assert found.level.tolist() == ["all"] and found.tau.tolist() == [-1]


class TestSeparationWithinLevels:
    """How well epistemic tells never-seen from common, by level."""

    def test_each_level_is_an_auroc_and_all_is_the_separation(self):
        table = summary()
        found = truth.separation_within(table).set_index("level")
        assert found.index.tolist() == ["0", "1", "2", "3", "pooled", "all"]
        assert found.auroc["all"] == pytest.approx(truth.separation(table)[0])
        part = table[table.left_out == 1]
        pair = (part.epistemic[part.coverage == name] for name in ("never", "common"))
        u = stats.mannwhitneyu(*pair).statistic
        assert found.auroc["1"] == pytest.approx(u / 25)
        assert (found.low <= found.auroc).all() and (found.auroc <= found.high).all()

    def test_pooled_counts_pairs_of_one_level(self):
        rows = [("common", 0, 0, 1.0), ("never", 1, 0, 2.0), ("common", 2, 1, 9.0)]
        rows += [("never", 3, 1, 8.0), ("never", 4, 2, 0.0)]
        table = pd.DataFrame(rows, columns=["coverage", "subject", "left_out", "epistemic"])
        found = truth.separation_within(table).set_index("level").auroc
        assert found.to_dict() == pytest.approx(
            {"0": 1.0, "1": 0.0, "pooled": 0.5, "all": (1 + 0 + 1 + 0 + 0 + 0) / 6}
        )

    def test_the_interval_is_of_subjects(self):
        table = summary()
        by_task = table.assign(subject=table.task)
        widths = [
            np.subtract(*truth.separation_within(t)[["high", "low"]].to_numpy()[-1])
            for t in (table, by_task)
        ]
        assert widths[0] > widths[1] > 0


def test_aleatoric_within_is_that_of_the_controls():
    found = truth.aleatoric_within(summary()).set_index("level").tau
    table = summary()
    part = table[table.left_out == 3]
    assert found["3"] == pytest.approx(stats.kendalltau(part.aleatoric, part.true_entropy)[0])
    assert found.index[-2:].tolist() == ["pooled", "all"]


class TestControls:
    def latents(self):
        words = ["red", "blue", "tall", "wide"]
        rows = [
            (row.task, " ".join(["a", "thing", words[rng(i + 9 * n).integers(1 + row.left_out)]]))
            for i, row in enumerate(summary().itertuples())
            for n in range(4)
        ]
        return pd.DataFrame(rows, columns=["task", "prompt"])

    def test_every_measure_over_all_and_within(self):
        found = truth.truth_controls(summary(), self.latents())
        assert set(found.kind[found.measure != "S-QUBED"]) == {"control"}
        tau = found.set_index(["measure", "level"]).tau
        table = summary()
        assert tau["S-QUBED", "all"] == pytest.approx(
            stats.kendalltau(table.aleatoric, table.true_entropy).statistic
        )
        assert tau["prompt length", "all"] == tau["attributes left open", "all"] > 0.8
        assert ("prompt length", "pooled") not in tau.index  # one length a level
        assert tau["distinct words", "all"] > 0.4

    def test_the_spread_is_that_of_pairs(self):
        unit = rng(2).normal(size=(5, 7))
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        pairs = [1 - a @ b for a, b in itertools.combinations(unit, 2)]
        assert 1 - mean_pairwise_cosine(unit) == pytest.approx(np.mean(pairs))


def doses(mistakes=True):
    """Return eight subjects at each of 0, 4 and 64 clips, of which epistemic falls with clips."""
    clips, subject = np.repeat([0, 4, 64], 24), np.repeat(np.arange(24), 3)
    epistemic = -np.repeat([1.0, 2.0, 3.0], 24) + 0.2 * rng(3).normal(size=24)[subject]
    table = pd.DataFrame({"subject": subject, "clips": clips, "epistemic": epistemic})
    return table.assign(confident_mistake=(clips == 0) * 0.5) if mistakes else table


class TestDose:
    def test_by_hand(self):
        found = truth.dose(doses())
        assert found.clips.tolist() == [0, 4, 64] and set(found.subjects) == {8}
        first = doses()[:24]
        assert found.epistemic[0] == pytest.approx(first.epistemic.mean())
        of_subjects = first.groupby("subject").epistemic.mean()
        half = stats.t.ppf(0.975, 7) * stats.sem(of_subjects)
        assert found.high[0] - found.epistemic[0] == pytest.approx(half, rel=0.1)
        assert found.mistakes.tolist() == [0.5, 0, 0] and set(found.pvalue) == {1 / 10_000}
        assert found.tau[0] == stats.kendalltau(doses().epistemic, doses().clips).statistic

    def test_a_table_without_doses_is_refused(self):
        with pytest.raises(ValueError, match=r"lacks \['clips'\] or has one number of clips"):
            truth.dose(doses().drop(columns="clips"))
        with pytest.raises(NotShown, match="of at least two numbers of clips"):
            truth.dose(doses().assign(clips=3))

    @pytest.mark.parametrize("mistakes", [True, False])
    def test_the_figure_shows_the_table(self, mistakes):
        table = truth.dose(doses(mistakes))
        axes = figures.figure_dose(table).axes
        assert len(axes) == 1 + mistakes
        assert axes[0].lines[0].get_ydata().tolist() == table.epistemic.tolist()
        assert [t.get_text() for t in axes[0].get_xticklabels()] == ["0", "4", "64"]
        assert "24 subjects" in axes[0].get_title(loc="left") + axes[0].get_title()
        ends = [segment[:, 1] for segment in axes[0].collections[0].get_segments()]
        assert np.array(ends) == pytest.approx(table[["low", "high"]].to_numpy())

    def test_a_mean_without_an_interval_is_drawn_without_one(self):
        axes = figures.figure_dose(truth.dose(doses())).axes[1]
        assert not any(map(len, axes.collections[0].get_segments()))  # all subjects say the same

    def test_no_interval_of_a_share_exceeds_one(self):
        table = doses()
        table["confident_mistake"] = ((table.subject < 7) & (table.clips == 0)) + 0.0
        found = truth.dose(table)
        assert found.mistakes[0] == 7 / 8 and found.mistakes_high[0] == 1
