"""Agreement between raters: published values, closed forms, literal versions, simulated truth."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, rankdata, spearmanr

from squbed_utils.statistics.agreement import (
    agreement,
    bradley_terry,
    kendall_w,
    krippendorff_alpha,
    ranks_of,
)
from squbed_utils.statistics.resampling import task_counts

N = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T
"""Four observers and twelve units, of "Computing Krippendorff's alpha-reliability" (2011)."""


def answers(rows):
    """Return a table of answers (rater, task, other task or "", question, value)."""
    table = pd.DataFrame(rows, columns=["rater", "task", "other", "question", "value"])
    path = "videos/{}/0_0.mp4".format
    video = table.task.map(path).where(table.question != "vagueness", "")
    return table.assign(video=video, other=[path(t) if t else "" for t in table.other])


class TestKendallsW:
    def test_perfect_agreement_is_one_and_opposite_orders_are_zero(self):
        order = np.arange(6.0)
        assert kendall_w(np.stack([order, order, order], axis=1)) == pytest.approx(1)
        assert kendall_w(np.stack([order, order[::-1]], axis=1)) == pytest.approx(0)

    @given(st.integers(0, 2**32), st.integers(2, 6), st.integers(3, 12))
    def test_it_is_the_mean_rank_correlation_of_pairs_of_raters(self, seed, raters, tasks):
        """W = (1 + (m - 1) mean Spearman) / m, exactly, without ties."""
        ranks = np.random.default_rng(seed).permuted(np.tile(np.arange(tasks), (raters, 1)), axis=1)
        pairs = itertools.combinations(ranks, 2)
        mean = np.mean([spearmanr(a, b).statistic for a, b in pairs])
        assert kendall_w(ranks.T) == pytest.approx((1 + (raters - 1) * mean) / raters)

    def test_with_ties_it_is_friedmans_chi_squared_over_its_greatest_value(self):
        values = np.random.default_rng(0).integers(1, 5, (10, 4))
        expected = friedmanchisquare(*values).statistic / (4 * 9)
        assert kendall_w(values) == pytest.approx(expected)
        assert np.isnan(kendall_w(np.ones((5, 3))))


class TestKrippendorffsAlpha:
    def test_the_published_example(self):
        assert round(krippendorff_alpha(KRIPPENDORFF), 3) == 0.815

    def test_by_pairs_of_values(self):
        """The definition, literally: disagreement of values of one unit over that of any two."""
        values = KRIPPENDORFF[np.isfinite(KRIPPENDORFF).sum(axis=1) > 1]
        everything = values[np.isfinite(values)]

        def distance(a, b):
            low, high = sorted((a, b))
            between = ((everything >= low) & (everything <= high)).sum()
            return (between - ((everything == a).sum() + (everything == b).sum()) / 2) ** 2

        observed = 0
        for unit in values:
            given_ = unit[np.isfinite(unit)]
            pairs = itertools.permutations(given_, 2)
            observed += sum(distance(a, b) for a, b in pairs) / (len(given_) - 1)
        expected = sum(distance(a, b) for a, b in itertools.permutations(everything, 2))
        expected /= len(everything) - 1
        assert krippendorff_alpha(KRIPPENDORFF) == pytest.approx(1 - observed / expected)

    @given(st.integers(0, 2**32))
    def test_chance_is_zero_and_raters_have_no_order(self, seed):
        rng = np.random.default_rng(seed)
        values = rng.integers(1, 6, (400, 3)).astype(float)
        alpha = krippendorff_alpha(values)
        assert abs(alpha) < 0.2
        assert krippendorff_alpha(rng.permuted(values, axis=1)) == pytest.approx(alpha)
        assert krippendorff_alpha(values[:, :1].repeat(3, axis=1)) == 1

    def test_equal_answers_and_lonely_ones_have_none(self):
        assert np.isnan(krippendorff_alpha(np.ones((9, 2))))
        assert np.isnan(krippendorff_alpha(np.array([[1, N], [N, 2], [3, N]])))


def test_intervals_are_as_wide_as_few_tasks_make_them():
    """Quantiles over resampled tasks, by hand, sqrt(k / (k - 2)) times as far from the value."""
    generator = np.random.default_rng(0)
    ranks = rankdata(generator.normal(size=(8, 1)) + generator.normal(size=(8, 5)), axis=0)
    rows = [("vagueness", f"t{i}", f"r{j}", x) for (i, j), x in np.ndenumerate(ranks)]
    table = pd.DataFrame(rows, columns=["question", "task", "rater", "value"])
    (row,) = agreement(table, np.random.default_rng(1)).itertuples()
    counts = task_counts(8, 1000, np.random.default_rng(1), table.task.unique()).astype(int)
    drawn = [kendall_w(np.repeat(ranks, times, axis=0)) for times in counts]
    ends = row.value + np.sqrt(8 / 6) * (np.quantile(drawn, (0.025, 0.975)) - row.value)
    assert (row.low, row.high) == pytest.approx(np.clip(ends, 0, 1))


class TestBradleyTerry:
    def test_two_tasks_solve_the_penalised_equation(self):
        """At the maximum, wins - expected wins equals the strength, of opposite signs."""
        votes = [("r", "a", "b", "preference", value) for value in [1] * 7 + [0] * 2 + [0.5] * 2]
        table = bradley_terry(answers(votes), np.random.default_rng(0))
        assert list(table.task) == ["a", "b"] and list(table.pairs) == [11, 11]
        s = table.strength[0]
        assert table.strength[1] == pytest.approx(-s, abs=1e-4)
        assert 8 - 11 / (1 + np.exp(-2 * s)) == pytest.approx(s, abs=1e-3)

    @pytest.mark.slow
    def test_strengths_are_found_again_and_intervals_hold_them(self):
        rng, held = np.random.default_rng(1), []
        truth = np.linspace(-1, 1, 8)
        for _ in range(8):
            votes = [
                (f"r{r}", f"t{i}", f"t{j}", "preference", float(rng.random() < p))
                for i, j in itertools.combinations(range(8), 2)
                for p in [1 / (1 + np.exp(truth[j] - truth[i]))]
                for r in range(12)
            ]
            table = bradley_terry(answers(votes), rng).set_index("task").sort_index()
            assert np.abs(table.strength - truth).max() < 0.75
            held += list((table.low <= truth) & (truth <= table.high))
        assert np.mean(held) > 0.8


class TestAgreement:
    def rankings(self, tasks, raters, noise, seed=0):
        rng = np.random.default_rng(seed)
        rows = []
        for rater in range(raters):
            ranks = rankdata(np.arange(tasks) + noise * tasks * rng.normal(size=tasks))
            rows += [(f"r{rater}", f"t{i:02}", "", "vagueness", r) for i, r in enumerate(ranks)]
        return answers(rows)

    def test_a_mean_over_more_raters_is_as_reliable_as_promised(self):
        """Spearman-Brown, against the correlation of the means of two panels of raters."""
        few, others = (ranks_of(self.rankings(300, 4, 0.4, seed)) for seed in (1, 2))
        measured = np.corrcoef(few.mean(axis=1), others.mean(axis=1))[0, 1]
        row = agreement(self.rankings(300, 4, 0.4, 1), np.random.default_rng(0)).iloc[0]
        assert row.reliability == pytest.approx(measured, abs=0.05)
        single = (4 * row.value - 1) / 3
        for raters, enough in ((row.needed, True), (row.needed - 1, False)):
            assert (raters * single / (1 + (raters - 1) * single) >= 0.9) == enough

    @pytest.mark.slow
    def test_intervals_hold_what_many_tasks_show(self):
        truth = kendall_w(ranks_of(self.rankings(5000, 3, 0.5)).to_numpy())
        held = 0
        for seed in range(40):
            row = agreement(self.rankings(20, 3, 0.5, seed), np.random.default_rng(seed)).iloc[0]
            held += row.low <= truth <= row.high
        assert held >= 32

    def test_below_eight_tasks_there_is_no_interval_and_one_rater_agrees_with_nobody(self):
        row = agreement(self.rankings(7, 3, 0.2), np.random.default_rng(0)).iloc[0]
        assert row.value > 0.5 and np.isnan(row.low) and np.isnan(row.high)
        row = agreement(self.rankings(10, 1, 0.2), np.random.default_rng(0)).iloc[0]
        assert row.raters == 1 and np.isnan(row.value) and np.isnan(row.needed)

    def test_videos_of_a_task_are_resampled_together(self):
        """Copies of each task's answers add nothing: the interval stays as wide."""
        rng = np.random.default_rng(0)
        rows = []
        for i in range(12):
            for r in range(3):
                value = float(np.clip(round(3 + 2 * np.sin(i) + rng.normal()), 1, 5))
                rows.append((f"r{r}", f"t{i}", "", "accuracy", value))
        once = answers(rows)
        copies = [once.assign(video=once.video.str.replace("0_0", f"0_{k}")) for k in range(6)]
        widths = []
        for table in (once, pd.concat(copies)):
            row = agreement(table, np.random.default_rng(1)).iloc[0]
            widths.append(row.high - row.low)
        assert widths[1] == pytest.approx(widths[0], rel=0.15)

    def test_only_common_tasks_are_ranked(self):
        table = self.rankings(6, 2, 0.0)
        table = table[~((table.rater == "r1") & (table.task == "t02"))]
        assert ranks_of(table).to_numpy().tolist() == [[k, k] for k in range(1, 6)]
