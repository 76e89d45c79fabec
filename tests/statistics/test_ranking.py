"""Rejection, Holm and resampled taus against hand values, literals and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from squbed_utils.statistics.calibration import (
    aurc,
    auroc,
    bootstrap_interval,
    bootstrap_pvalue,
    holm,
    prediction_rejection_ratio,
    rejection_curve,
)
from squbed_utils.statistics.resampling import (
    permuted_taus,
    rereferenced_taus,
    resampled_taus,
    task_counts,
    weighted_taus,
)


def rng(seed=0):
    return np.random.default_rng(seed)


class TestRejection:
    def test_by_hand(self):
        assert rejection_curve([3, 1, 2], [0.0, 0.6, 0.9]) == pytest.approx([0.6, 0.75, 0.5])
        assert aurc([3, 1, 2], [0.0, 0.6, 0.9]) == pytest.approx(0.9 - (0.6 + 0.75 + 0.5) / 3)
        oracle = (0.9 + 0.75 + 0.5) / 3
        ratio = ((0.6 + 0.75 + 0.5) / 3 - 0.5) / (oracle - 0.5)
        assert prediction_rejection_ratio([3, 1, 2], [0.0, 0.6, 0.9]) == pytest.approx(ratio)

    def test_equal_uncertainties_are_averaged_over_orders(self):
        x, y = np.array([1, 1, 1, 2]), np.array([0.1, 0.9, 0.2, 0.4])
        orders = [np.lexsort((rng(s).random(4), x)) for s in range(4000)]
        literal = np.mean([np.cumsum(y[o]) / np.arange(1, 5) for o in orders], axis=0)
        assert rejection_curve(x, y) == pytest.approx(literal, abs=0.02)

    def test_limits(self):
        y = rng().normal(size=30)
        assert prediction_rejection_ratio(-y, y) == pytest.approx(1)
        symmetric = np.arange(31.0)
        assert prediction_rejection_ratio(symmetric, symmetric) == pytest.approx(-1)
        x = rng(1).normal(size=(400, 30))
        assert np.mean([prediction_rejection_ratio(r, y) for r in x]) == pytest.approx(0, abs=0.05)

    @given(st.integers(0, 999))
    def test_scale_of_accuracy_changes_no_ratio_and_monotone_maps_nothing(self, seed):
        x, y = rng(seed).normal(size=(2, 20))
        ratio = prediction_rejection_ratio(x, y)
        assert prediction_rejection_ratio(np.exp(x), 3 * y + 1) == pytest.approx(ratio)
        assert aurc(x, 3 * y + 1) == pytest.approx(3 * aurc(x, y))
        assert ratio <= 1 + 1e-12 and aurc(x, y) >= aurc(-y, y) - 1e-12

    def test_refusals(self):
        with pytest.raises(ValueError, match="uncertainty has 3 values and accuracy 2"):
            rejection_curve([1, 2, 3], [1, 2])
        with pytest.raises(ValueError, match=r"accuracy\[1\] is nan"):
            prediction_rejection_ratio([1, 2, 3], [1, np.nan, 2])


class TestAuroc:
    def test_by_hand(self):
        assert auroc([1, 3, 2, 4], [0.9, 0.8, 0.2, 0.1], threshold=0.5) == 0.75
        assert auroc([1, 2, 3], [0.9, 0.5, 0.5], threshold=0.9) == 1.0

    @given(*[st.lists(st.integers(0, 5), min_size=2, max_size=15)] * 2)
    def test_agrees_with_counting_pairs_and_is_antisymmetric(self, low, high):
        low, high = [9, *low], [-9, *high]
        counted = np.mean([(b > a) + (b == a) / 2 for a in low for b in high])
        accuracy = np.repeat([1.0, 0.0], [len(low), len(high)])
        assert auroc([*low, *high], accuracy, threshold=0.5) == pytest.approx(counted)
        assert auroc(np.negative([*low, *high]), accuracy, threshold=0.5) == pytest.approx(
            1 - counted
        )

    @pytest.mark.parametrize(("threshold", "below"), [(0.1, 0), (5.0, 3)])
    def test_a_threshold_with_one_side_empty_is_refused(self, threshold, below):
        message = f"{below} of 3 tasks have an accuracy below the threshold .*above 0.1, to 0.9"
        with pytest.raises(ValueError, match=message):
            auroc([1, 2, 3], [0.9, 0.5, 0.1], threshold=threshold)


class TestHolm:
    def test_by_hand(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
        assert holm([0.2]).tolist() == [0.2]

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_between_no_correction_and_bonferroni_in_the_same_order(self, p):
        p, corrected = np.array(p), holm(p)
        assert (p <= corrected).all() and (corrected <= np.minimum(1, p * p.size) + 1e-12).all()
        assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"pvalue at index \(1,\) is 1.5; expected 0 to 1"):
            holm([0.1, 1.5])
        with pytest.raises(ValueError, match=r"pvalues\[0\] is nan"):
            holm([np.nan])


class TestBootstrap:
    def test_by_hand(self):
        replicates = np.r_[np.full(90, -0.1), np.full(9, 0.1), np.nan]
        assert bootstrap_pvalue(replicates) == pytest.approx(2 * 10 / 100)
        assert bootstrap_pvalue(np.zeros(9)) == 1
        assert bootstrap_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))

    def test_nothing_to_take_an_interval_of(self):
        with pytest.raises(ValueError, match="none of 2 resamples has a value; take more"):
            bootstrap_interval(np.full(2, np.nan), 0.95)

    def test_p_and_interval_agree(self):
        for seed in range(50):
            replicates = rng(seed).normal(rng(seed).normal(1.9), 1, size=1999)
            low, high = bootstrap_interval(replicates, 0.95)
            if abs(bootstrap_pvalue(replicates) - 0.05) > 0.003:
                assert (bootstrap_pvalue(replicates) < 0.05) == (low > 0 or high < 0)


class TestResampling:
    def test_taus_are_scipys(self):
        scores, y = rng(1).integers(0, 5, size=(3, 9)), rng(2).integers(0, 4, size=9)
        counts = task_counts(9, 60, rng(3))
        found = weighted_taus(scores, y, counts)
        for x, row in zip(scores, found, strict=True):
            repeated = [(np.repeat(x, c), np.repeat(y, c)) for c in counts.astype(int)]
            literal = [stats.kendalltau(*pair).statistic for pair in repeated]
            assert row == pytest.approx(literal, abs=1e-12, nan_ok=True)

    def test_a_resample_of_one_task_has_no_tau(self):
        counts = np.array([[3, 0, 0], [1, 1, 1]], np.float32)
        assert np.isnan(weighted_taus(np.eye(3)[:1], np.arange(3), counts)[0]).tolist() == [1, 0]

    def test_resamples_spread_as_the_jackknife_says_if_it_says_less(self):
        x = np.arange(20.0)
        loose, tight = rng(26).normal(size=20), x + 3 * rng(12).normal(size=20)
        counts = task_counts(20, 4000, rng(13))
        for y, less in ((loose, False), (tight, True)):
            tau, raw = stats.kendalltau(x, y).statistic, weighted_taus(x[None], y, counts)[0]
            left_out = [
                stats.kendalltau(np.delete(x, i), np.delete(y, i)).statistic for i in range(20)
            ]
            jackknife = np.sqrt(19) * np.std(left_out)
            found = resampled_taus(x[None], y, counts)[0]
            assert (jackknife < raw.std()) == less
            factor = jackknife / raw.std() if less else 1
            assert found == pytest.approx(tau + factor * (raw - tau), abs=1e-12)

    def test_resamples_of_few_tasks_are_as_drawn(self):
        x, y = rng(14).normal(size=(2, 9))
        counts = task_counts(9, 50, rng(15))
        drawn = weighted_taus(x[None], y, counts)
        assert resampled_taus(x[None], y, counts) == pytest.approx(drawn, nan_ok=True)

    def test_perfect_order_stays_perfect(self):
        x, counts = np.arange(12.0), task_counts(12, 50, rng(16))
        assert (resampled_taus(x[None], -x, counts) == -1).all()

    def test_permuted_taus_are_scipys(self):
        scores, y = rng(4).integers(0, 5, size=(3, 8)), rng(5).integers(0, 4, size=8)
        found = permuted_taus(scores, y, 40, rng(6))
        ranks = np.tile(stats.rankdata(y).astype(np.float32), (40, 1))
        for p, shuffled in enumerate(rng(6).permuted(ranks, axis=1)):
            literal = [stats.kendalltau(x, shuffled).statistic for x in scores]
            assert found[:, p] == pytest.approx(literal, abs=1e-12)

    def test_taus_with_other_references_are_scipys(self):
        scores, similarity = rng(4).integers(0, 5, size=(3, 8)), rng(5).integers(0, 9, (8, 8))
        found = rereferenced_taus(scores, similarity, 40, rng(6))
        for p, dealt in enumerate(rng(6).permuted(np.tile(np.arange(8), (40, 1)), axis=1)):
            other = [similarity[task, reference] for task, reference in enumerate(dealt)]
            literal = [stats.kendalltau(x, other).statistic for x in scores]
            assert found[:, p] == pytest.approx(literal, abs=1e-12)

    def test_a_reference_that_is_like_nothing_has_no_tau(self):
        assert np.isnan(rereferenced_taus(np.arange(3)[None], np.ones((3, 3)), 2, rng(0))).all()

    def test_exact_for_many_tasks(self):
        x = np.arange(3000)
        assert weighted_taus(x[None], -x, np.ones((1, 3000), np.float32)).item() == -1

    def test_equal_seed_equal_result(self):
        x, y = rng(7).normal(size=(2, 3, 20))[0], rng(8).normal(size=20)
        a, b, c = (permuted_taus(x, y, 10, rng(s)) for s in (1, 1, 2))
        assert (a == b).all() and (a != c).any()

    def test_a_seed_is_not_a_generator(self):
        with pytest.raises(TypeError, match="rng is a int"):
            task_counts(3, 2, 0)
        with pytest.raises(TypeError, match="rng is a int"):
            permuted_taus(np.eye(3), np.arange(3), 2, 0)
        with pytest.raises(TypeError, match="rng is a int"):
            rereferenced_taus(np.eye(3), np.eye(3), 2, 0)

    @pytest.mark.slow
    def test_false_positives_of_the_null_band(self):
        generator, outside = rng(9), 0
        for _ in range(2000):
            x, y = generator.normal(size=(2, 40))
            null = permuted_taus(x[None], y, 1000, generator)[0]
            low, high = np.quantile(null, [0.025, 0.975])
            outside += not low <= stats.kendalltau(x, y).statistic <= high
        assert 0.04 <= outside / 2000 <= 0.06

    @pytest.mark.slow
    def test_scatter_alone_leaves_one_null_band_and_not_the_other(self):
        generator, beyond, by_chance = rng(11), 0, 0
        for _ in range(500):
            length = generator.uniform(0.3, 1, size=40)  # of the mean of each task's frames
            directions, references = generator.normal(size=(2, 40, 16)) + 1
            similarity = (length[:, None] * directions) @ references.T
            own, scatter = np.diag(similarity), -length
            tau = stats.kendalltau(scatter, own).statistic
            null = rereferenced_taus(scatter[None], similarity, 500, generator)[0]
            beyond += tau < np.quantile(null, 0.05)
            chance = permuted_taus(scatter[None], own, 500, generator)[0]
            by_chance += tau < np.quantile(chance, 0.05)
        assert 0.03 <= beyond / 500 <= 0.07
        assert by_chance / 500 > 0.5

    @pytest.mark.slow
    def test_false_positives_of_a_difference_between_equals(self):
        generator, found = rng(10), 0
        for _ in range(400):
            truth, a, b = generator.normal(size=(3, 60))
            scores = np.stack([truth + a, truth + b])
            first, second = resampled_taus(scores, -truth, task_counts(60, 500, generator))
            found += bootstrap_pvalue(first - second) < 0.05
        assert 0.02 <= found / 400 <= 0.08
