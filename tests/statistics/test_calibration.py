"""Kendall's tau and its companions against hand values, literals and scipy."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from squbed_utils.statistics.calibration import auroc, kendall, lowest, tau_by_subset

SMALL_INTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=40
).filter(lambda pairs: all(len(set(v)) > 1 for v in zip(*pairs, strict=True)))


def rng(seed=0):
    return np.random.default_rng(seed)


def literal_tau_b(x, y):
    """Count pairs one by one."""
    signs = [
        (np.sign(a[0] - b[0]), np.sign(a[1] - b[1]))
        for a, b in itertools.combinations(list(zip(x, y, strict=True)), 2)
    ]
    both = sum(s * t for s, t in signs)
    return both / np.sqrt(sum(s * s for s, _ in signs) * sum(t * t for _, t in signs))


class TestKendall:
    def test_by_hand(self):
        result = kendall([1, 2, 3, 4], [9, 7, 5, 6])  # 1 concordant pair, 5 discordant
        assert result.tau == pytest.approx(-4 / 6)
        assert result.pvalue == pytest.approx(8 / 24)  # 3 + 1 of 24 orders on either side
        assert result.paper_confidence == pytest.approx(1 - 8 / 24)
        assert (result.n, result.method, result.interval) == (4, "exact", None)
        assert result.spearman.value == pytest.approx(-0.8)
        assert result.pearson.value == pytest.approx(-5.5 / np.sqrt(5 * 8.75))

    def test_ties_are_counted(self):
        result = kendall([1, 1, 1, 2, 3], [5, 4, 4, 4, 1])
        assert (result.n_ties_x, result.n_ties_y) == (3, 3)
        assert result.method == "asymptotic"

    @given(SMALL_INTS)
    def test_agrees_with_the_literal_and_with_scipy_auto(self, pairs):
        x, y = map(np.array, zip(*pairs, strict=True))
        result = kendall(x, y)
        assert result.tau == pytest.approx(literal_tau_b(x, y), abs=1e-12)
        peer = stats.kendalltau(x, y, method="auto")
        assert (result.tau, result.pvalue) == pytest.approx(tuple(peer), abs=1e-12)

    @pytest.mark.parametrize("n", [3, 10, 33, 34, 60])
    def test_reported_method_is_the_one_auto_takes(self, n):
        x = np.arange(n)
        for y in (rng(n).permutation(n), x, x[::-1], np.r_[1, 0, x[2:]]):
            result = kendall(x, y)
            assert result.pvalue == stats.kendalltau(x, y, method="auto").pvalue
            assert result.pvalue == stats.kendalltau(x, y, method=result.method).pvalue

    @given(SMALL_INTS)
    def test_reversal_negates_and_monotone_maps_change_nothing(self, pairs):
        x, y = map(np.array, zip(*pairs, strict=True))
        tau = kendall(x, y).tau
        assert kendall(-x, y).tau == pytest.approx(-tau)
        assert kendall(np.exp(x), y**3).tau == pytest.approx(tau)
        assert kendall(y, x).tau == pytest.approx(tau)

    def test_companions_agree_with_scipy(self):
        x, y = rng().normal(size=(2, 30))
        result = kendall(x, y)
        assert result.pearson == pytest.approx(tuple(stats.pearsonr(x, y)))
        assert result.spearman == pytest.approx(tuple(stats.spearmanr(x, y)))


class TestBootstrap:
    def test_resampled_taus_agree_with_scipy(self):
        x, y = rng(1).integers(0, 6, size=(2, 9))
        interval = kendall(x, y, rng=rng(2), n_bootstrap=500).interval
        counts = rng(2).multinomial(9, np.full(9, 1 / 9), size=500)
        taus = [stats.kendalltau(np.repeat(x, c), np.repeat(y, c)).statistic for c in counts]
        assert interval == pytest.approx(tuple(np.quantile(taus, [0.025, 0.975])), abs=1e-12)

    def test_equal_seed_equal_interval(self):
        x, y = rng(3).normal(size=(2, 20))
        a, b, c = (kendall(x, y, rng=rng(s)).interval for s in (5, 5, 6))
        assert a == b != c

    def test_interval_holds_tau_and_widens_with_confidence(self):
        x = rng(4).normal(size=40)
        y = -x + rng(5).normal(size=40)
        narrow = kendall(x, y, rng=rng(6), confidence=0.8)
        wide = kendall(x, y, rng=rng(6), confidence=0.99)
        assert wide.interval[0] < narrow.interval[0] < narrow.tau
        assert narrow.tau < narrow.interval[1] < wide.interval[1]

    def test_resamples_without_a_tau_are_counted(self):
        result = kendall([1, 2, 3], [3, 2, 1], rng=rng(7), n_bootstrap=9000)
        assert result.interval == (-1, -1)
        assert result.n_dropped / 9000 == pytest.approx(1 / 9, abs=0.015)  # one task three times

    def test_all_resamples_without_a_tau(self):
        one_task = next(s for s in range(999) if rng(s).multinomial(3, [1 / 3] * 3).max() == 3)
        with pytest.raises(ValueError, match="none of 1 resamples has a value; take more"):
            kendall([1, 2, 3], [3, 2, 1], rng=rng(one_task), n_bootstrap=1)

    @pytest.mark.slow
    def test_coverage_of_the_interval(self):
        rho, covered = -0.5, 0
        truth = 2 / np.pi * np.arcsin(rho)  # tau of the bivariate normal
        generator = rng(8)
        for _ in range(400):
            x, e = generator.normal(size=(2, 60))
            result = kendall(x, rho * x + np.sqrt(1 - rho**2) * e, rng=generator)
            covered += result.interval[0] <= truth <= result.interval[1]
        assert 0.91 <= covered / 400 <= 0.985


class TestKendallRefusals:
    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            ([1, 2], [1, 2], "n = 2 tasks; a rank correlation needs at least 3"),
            ([1, 2, 3], [1, 2], "uncertainty has 3 values and accuracy 2"),
            ([1, np.nan, 3], [1, 2, 3], r"uncertainty\[1\] is nan \(1 of 3 are not finite\)"),
            ([1, 2, 3], [1, 2, np.inf], r"accuracy\[2\] is inf"),
            ([2, 2, 2], [1, 2, 3], "uncertainty is 2.0 for all 3 tasks; a constant"),
            ([1, 2, 3], [0, 0, 0], "accuracy is 0.0 for all 3 tasks; a constant"),
            ([[1, 2, 3]], [1, 2, 3], r"uncertainty has shape \(1, 3\); expected \(n,\)"),
            ([], [], r"uncertainty has shape \(0,\); expected \(n,\), not empty"),
        ],
    )
    def test_inputs(self, x, y, message):
        with pytest.raises(ValueError, match=message):
            kendall(x, y)

    @pytest.mark.parametrize("options", [{"confidence": 1.0}, {"n_bootstrap": 0}])
    def test_options(self, options):
        with pytest.raises(ValueError, match="confidence between 0 and 1 and n_bootstrap of at"):
            kendall([1, 2, 3], [3, 1, 2], **options)

    def test_a_seed_is_not_a_generator(self):
        with pytest.raises(TypeError, match="rng is a int; pass numpy.random.default_rng"):
            kendall([1, 2, 3], [3, 1, 2], rng=0)
        with pytest.raises(TypeError, match="rng is a NoneType"):
            tau_by_subset([1, 2, 3], [3, 1, 2], [1, 2, 3], sizes=[3], rng=None)

    def test_correlation_that_overflows(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match="pearsonr gives nan.*rescale"):
                kendall([1.7e308, 1.6e308, -1.7e308], [1, 3, 2])


class TestLowest:
    def test_by_hand(self):
        assert lowest([5, 1, 4, 1, 0], k=3).tolist() == [4, 1, 3]
        assert lowest([5, 1, 4, 1, 0], fraction=0.5).tolist() == [4, 1]
        assert lowest([5, 1, 4], fraction=0.01).tolist() == [1]

    @given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
    def test_agrees_with_a_sort_of_pairs(self, values, data):
        k = data.draw(st.integers(1, len(values)))
        expected = [i for _, i in sorted(zip(values, range(len(values)), strict=True))[:k]]
        assert lowest(values, k=k).tolist() == expected

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "k is None and fraction is None; give exactly one"),
            ({"k": 1, "fraction": 0.5}, "k is 1 and fraction is 0.5; give exactly one"),
            ({"k": 4}, "k is 4; expected 1 to 3"),
            ({"k": 0}, "k is 0; expected 1 to 3"),
            ({"fraction": 0.0}, "fraction is 0.0; expected above 0, to 1"),
        ],
    )
    def test_refusals(self, options, message):
        with pytest.raises(ValueError, match=message):
            lowest([1, 2, 3], **options)


class TestTauBySubset:
    def test_agrees_with_kendall_on_each_subset(self):
        x, y, by = rng(9).normal(size=(3, 25))
        curve = tau_by_subset(x, y, by, sizes=[5, 25], rng=rng(10))
        generator = rng(10)
        for i, size in enumerate([5, 25]):
            kept = np.argsort(by)[:size]
            one = kendall(x[kept], y[kept], rng=generator)
            row = [curve[name][i] for name in ("size", "tau", "pvalue", "lo", "hi")]
            assert row == [size, one.tau, one.pvalue, *one.interval]

    def test_refusals(self):
        with pytest.raises(ValueError, match="by has 2 values and uncertainty 4"):
            tau_by_subset([1, 2, 3, 4], [1, 2, 3, 5], [1, 2], sizes=[3], rng=rng())
        with pytest.raises(ValueError, match="size 3 has no tau: uncertainty is 1.0 for all 3"):
            tau_by_subset([1, 1, 1, 4], [1, 2, 3, 5], [1, 2, 3, 4], sizes=[3], rng=rng())
        with pytest.raises(ValueError, match="k is 5; expected 1 to 4"):
            tau_by_subset([1, 1, 1, 4], [1, 2, 3, 5], [1, 2, 3, 4], sizes=[5], rng=rng())


class TestAuroc:
    def test_by_hand(self):
        assert auroc([1, 2], [2, 3]).auroc == 3.5 / 4
        assert auroc([0, 0, 0], [1, 1]).auroc == 1
        assert auroc([2, 2], [2, 2, 2]) == (0.5, 1.0)

    @given(*[st.lists(st.integers(0, 5), min_size=1, max_size=15)] * 2)
    def test_agrees_with_counting_pairs_and_is_antisymmetric(self, low, high):
        counted = np.mean([(b > a) + (b == a) / 2 for a in low for b in high])
        result, swapped = auroc(low, high), auroc(high, low)
        assert result.auroc == pytest.approx(counted)
        assert result.auroc + swapped.auroc == pytest.approx(1)
        assert result.pvalue == pytest.approx(swapped.pvalue)
        assert 0 <= result.pvalue <= 1

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"score_positive has shape \(0,\)"):
            auroc([1], [])
        with pytest.raises(ValueError, match=r"score_negative\[0\] is nan"):
            auroc([np.nan], [1])
