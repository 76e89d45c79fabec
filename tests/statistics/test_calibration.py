"""Kendall's tau and its companions against hand values, literals and scipy."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from squbed_utils.statistics.calibration import bootstrap_interval, kendall
from squbed_utils.statistics.resampling import resampled_taus, task_counts

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
        assert (result.n, result.ties) == (4, 0) and np.isnan(result.interval).all()
        assert result.spearman == pytest.approx(-0.8)
        assert result.pearson == pytest.approx(-5.5 / np.sqrt(5 * 8.75))

    def test_ties_are_counted(self):
        assert kendall([1, 1, 1, 2, 3], [5, 4, 4, 4, 1]).ties == 3 + 3

    @given(SMALL_INTS)
    def test_agrees_with_the_literal_and_with_scipy_auto(self, pairs):
        x, y = map(np.array, zip(*pairs, strict=True))
        result = kendall(x, y)
        assert result.tau == pytest.approx(literal_tau_b(x, y), abs=1e-12)
        peer = stats.kendalltau(x, y, method="auto")
        assert (result.tau, result.pvalue) == pytest.approx(tuple(peer), abs=1e-12)

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
        assert result.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
        assert result.spearman == pytest.approx(stats.spearmanr(x, y).statistic)


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
        result = kendall(x, y, rng=rng(6))
        (taus,) = resampled_taus(x[None], y, task_counts(40, 2000, rng(6)))
        narrow, wide = (bootstrap_interval(taus, c) for c in (0.8, 0.99))
        ends = [wide[0], result.interval[0], narrow[0], result.tau]
        ends += [narrow[1], result.interval[1], wide[1]]
        assert ends == sorted(set(ends))

    def test_fewer_than_eight_tasks_have_none(self):
        x = np.arange(8.0)
        assert np.isnan(kendall(x[1:], -x[1:], rng=rng(7)).interval).all()
        assert kendall(x, -x, rng=rng(7)).interval == (-1, -1)

    def test_resamples_without_a_tau_are_left_out(self):
        x, y = np.arange(8.0), np.array([1.0] * 7 + [0])  # a third of resamples have one accuracy
        assert kendall(x, y, rng=rng(7)).interval[1] < 0

    def test_all_resamples_without_a_tau(self):
        x, y = np.arange(8.0), np.array([1.0] * 7 + [0])
        alike = next(s for s in range(99) if not rng(s).multinomial(8, [1 / 8] * 8)[7])
        with pytest.raises(ValueError, match="none of 1 resamples has a value; take more"):
            kendall(x, y, rng=rng(alike), n_bootstrap=1)

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

    def test_a_seed_is_not_a_generator(self):
        with pytest.raises(TypeError, match="rng is a int; pass numpy.random.default_rng"):
            kendall(range(8), range(8), rng=0)

    def test_correlation_that_overflows(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match="correlation is nan.*rescale"):
                kendall([1.7e308, 1.6e308, -1.7e308], [1, 3, 2])
