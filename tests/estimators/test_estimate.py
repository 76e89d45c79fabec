"""The estimators against hand values, slow literals, invariances and simulated coverage."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.embeddings import unit
from scipy import stats
from scipy.optimize import brentq
from scipy.stats import ortho_group

from squbed_utils.estimators import vmf
from squbed_utils.estimators.baselines import energy_split
from squbed_utils.estimators.estimate import ESTIMATORS, check_comparable, estimate, pooled_pca
from squbed_utils.estimators.registry import Estimator, Terms


def task(seed=0, n=5, m=4, d_text=12, d_video=16):
    rng = np.random.default_rng(seed)
    text = vmf.sample(d_text, 4.0 * d_text, n, rng)
    return text, np.stack([vmf.sample(d_video, k, m, rng) for k in rng.uniform(50, 500, n)])


def without_one(text, videos):
    """Return a task's embeddings without each latent prompt in turn."""
    return [(np.delete(text, i, axis=0), np.delete(videos, i, axis=0)) for i in range(len(text))]


@pytest.fixture
def scratch_registry():
    before = dict(ESTIMATORS)
    yield
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


class TestEstimate:
    def test_perpendicular_embeddings_are_uniform(self):
        result = estimate(np.eye(3), np.stack([np.eye(4)] * 3))
        assert result.aleatoric == pytest.approx(np.log(4 * np.pi))
        assert result.epistemic == pytest.approx(np.log(2 * np.pi**2))
        assert result.total == pytest.approx(np.log(8 * np.pi**3))
        per_dof = (result.aleatoric_per_dof, result.epistemic_per_dof, result.total_per_dof)
        assert per_dof == pytest.approx((0, 0, 0), abs=1e-12)
        assert (result.n, result.m, result.counts) == (3, 4, (4, 4, 4))
        assert (result.estimator, result.unit, result.degenerate) == ("squbed", "nats", False)

    @pytest.mark.parametrize("name", ["squbed", "squbed_mle"])
    def test_agrees_with_a_literal_version(self, name):
        text, videos = task()
        result = estimate(text, videos, estimator=name)

        def h(x):
            return vmf.entropy(x.shape[1], vmf.fit(x, corrected=name == "squbed").kappa)

        assert result.aleatoric == pytest.approx(h(text), rel=1e-13)
        assert result.epistemic == pytest.approx(np.mean([h(v) for v in videos]), rel=1e-13)
        assert result.total == pytest.approx(result.aleatoric + result.epistemic, rel=1e-15)
        by_dof = vmf.entropy_per_dof([12, 16], [result.aleatoric, result.epistemic])
        assert result.total_per_dof == pytest.approx(by_dof.sum(), rel=1e-13)

    def test_plug_in_is_lower_by_the_known_bias(self):
        text, videos = task(n=10, m=10, d_text=384, d_video=512)
        corrected, plug_in = (estimate(text, videos, estimator=e) for e in ("squbed", "squbed_mle"))
        bias = -np.log(10 / 9) / 2
        assert plug_in.aleatoric - corrected.aleatoric == pytest.approx(383 * bias, rel=0.15)

    def test_epistemic_interval_is_that_of_a_mean(self):
        text, videos = task()
        result = estimate(text, videos, confidence=0.9)
        h = vmf.entropy(16, vmf.fit(videos).kappa)
        interval = stats.t.interval(0.9, 4, loc=h.mean(), scale=stats.sem(h))
        assert result.epistemic_interval == pytest.approx(interval, rel=1e-10)

    def test_aleatoric_interval_agrees_with_a_literal_version(self):
        text, videos = task()
        result = estimate(text, videos)

        def h(x):
            return vmf.entropy(12, vmf.fit(x).kappa)

        left_out = [h(np.delete(text, i, axis=0)) for i in range(5)]
        jackknife = 4 / 5 * np.sum((left_out - np.mean(left_out)) ** 2)
        distances = [1 - text[i] @ text[j] for i in range(5) for j in range(i)]
        v, step = np.mean(distances), 1e-4
        kappas = vmf.kappa_from_spherical_variance(12, 1 - np.sqrt(1 - v * np.exp([-step, step])))
        slope = np.diff(vmf.entropy(12, kappas))[0] / (2 * step)
        second = slope**2 * np.var(distances) / (10 * v**2)
        half = stats.t.ppf(0.975, 4) * np.sqrt(max(jackknife - 0.75 * second, 0.4 * second))
        expected = (result.aleatoric - half, result.aleatoric + half)
        assert result.aleatoric_interval == pytest.approx(expected, rel=1e-2)
        added = (result.total_interval[1] - result.total) ** 2 - half**2
        alone = (result.epistemic_interval[1] - result.epistemic) ** 2
        cross = np.cov(left_out, [estimate(*pair).epistemic for pair in without_one(text, videos)])
        expected = alone + 2 * stats.t.ppf(0.975, 4) ** 2 * 16 / 5 * cross[0, 1]
        assert added == pytest.approx(expected, rel=0.05)

    def test_an_estimator_that_does_not_see_the_text_keeps_the_plain_jackknife(self):
        text, videos = task()
        result = estimate(text, videos, estimator="energy_split")
        pairs = without_one(text, videos)
        left_out = [ESTIMATORS["energy_split"].function(*pair).total for pair in pairs]
        half = stats.t.ppf(0.975, 4) * np.sqrt(4 * np.var(left_out))
        assert result.total_interval == pytest.approx((result.total - half, result.total + half))

    def test_a_total_whose_parts_vary_against_each_other_keeps_its_interval(self):
        """The correction takes at most the share of its variance that the aleatoric term loses."""
        kinds = [[0, 1], [0, 2], [3, 1], [3, 2], [3, 1]]
        text = np.eye(12)[kinds].sum(axis=1) + np.eye(12)[11]
        left_out = np.array([estimate(x, v).aleatoric for x, v in without_one(text, task()[1])])
        wanted = 4 * 0.9 * (left_out - left_out.mean()) - 8  # entropies of single latent prompts

        def h(cosine):
            return vmf.entropy(16, vmf.kappa_from_spherical_variance(16, 1 - np.sqrt(cosine)))

        cosines = [brentq(lambda c, x=x: h(c) - x, 1e-6, 1 - 1e-6) for x in wanted]
        videos = [[np.eye(16)[0], np.r_[c, np.sqrt(1 - c**2), np.zeros(14)]] for c in cosines]
        result = estimate(text, np.array(videos))
        widths = [
            np.diff(x)[0] / (2 * stats.t.ppf(0.975, 4))
            for x in (result.aleatoric_interval, result.total_interval)
        ]
        assert widths[1] == pytest.approx(0.1 * widths[0], rel=1e-6)

    def test_three_of_either_of_two_kinds_have_an_interval(self):
        """All leave-outs are equal, and the plain jackknife has no width."""
        rng, kinds = np.random.default_rng(0), np.repeat(np.eye(12)[:2], 3, axis=0)
        text = kinds + 1e-3 * rng.normal(size=(6, 12))
        low, high = estimate(text, task(n=6)[1]).aleatoric_interval
        assert 1 < high - low < 20

    @settings(max_examples=15)
    @given(st.integers(0, 2**32 - 1), st.sampled_from(["squbed", "squbed_mle"]))
    def test_rotations_scales_and_orders_change_nothing(self, seed, name):
        text, videos = task(seed)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(text))
        a = estimate(text, videos, estimator=name)
        b = estimate(
            3.0 * (text @ ortho_group.rvs(12, random_state=rng))[order],
            0.1 * (videos @ ortho_group.rvs(16, random_state=rng))[order][:, ::-1],
            estimator=name,
        )
        for field in ("aleatoric", "epistemic", "total", "total_interval", "total_per_dof"):
            assert getattr(b, field) == pytest.approx(getattr(a, field), rel=1e-9)

    @settings(max_examples=15)
    @given(st.integers(0, 2**32 - 1))
    def test_ranking_is_that_of_the_mean_pairwise_cosine(self, seed):
        rng = np.random.default_rng(seed)
        texts = [vmf.sample(12, k, 5, rng) for k in rng.uniform(10, 300, 8)]
        _, videos = task()
        cosine = [(np.square(x.sum(axis=0)).sum() - 5) / 20 for x in texts]
        for name in ("squbed", "squbed_mle"):
            h = [ESTIMATORS[name].function(x, videos).aleatoric for x in texts]
            np.testing.assert_array_equal(np.argsort(h), np.argsort(cosine)[::-1])

    def test_unequal_numbers_of_videos(self):
        text, videos = task()
        ragged = [v[:k] for v, k in zip(videos, (4, 2, 3, 4, 3), strict=True)]
        result = estimate(text, ragged)
        h = [float(vmf.entropy(16, vmf.fit(v).kappa)) for v in ragged]
        assert result.epistemic == pytest.approx(np.mean(h), rel=1e-13)
        assert (result.counts, result.m) == ((4, 2, 3, 4, 3), 2)
        interval = stats.t.interval(0.95, 4, loc=np.mean(h), scale=stats.sem(h))
        assert result.epistemic_interval == pytest.approx(interval, rel=1e-10)

    def test_a_list_equals_an_array(self):
        text, videos = task()
        assert estimate(text, list(videos)) == estimate(text, videos)

    def test_identical_videos_are_flagged_finite_and_without_interval(self):
        text, videos = task()
        whole = estimate(text, videos)
        videos[2] = videos[2, 0]
        found = estimate(text, videos)
        assert found.degenerate and found.identical == ("videos",)
        remark = "identical videos: set by the cap, not measured"
        assert (found.epistemic_remark, found.total_remark) == (remark, remark)
        assert np.isfinite(found.epistemic) and found.epistemic_interval is None
        assert found.total_interval is None
        assert (found.aleatoric_interval, found.aleatoric_remark) == (whole.aleatoric_interval, "")
        assert whole.identical == () and whole.total_remark == ""

    def test_identical_latent_prompts_are_flagged(self):
        found = estimate(np.ones((5, 12)), task()[1])
        assert found.degenerate and found.identical == ("latent prompts",)
        assert found.aleatoric_remark == "identical latent prompts: set by the cap, not measured"
        assert found.aleatoric_interval is None and found.epistemic_interval is not None

    def test_rounding_keeps_samples_identical_and_a_hundredth_apart_does_not(self):
        text, videos = task()
        videos[2] = videos[2, 0]
        noise = np.random.default_rng(0).normal(size=videos[2].shape)
        for scale, identical in ((1e-6, ("videos",)), (1e-2, ())):
            near = videos.copy()
            near[2] += scale * noise
            assert estimate(text, near).identical == identical

    def test_identical_videos_are_said_by_an_estimator_without_cap(self):
        text, videos = task()
        videos[2] = videos[2, 0]
        found = estimate(text, videos, estimator="energy_split")
        assert not found.degenerate and found.identical == ("videos",)
        assert found.epistemic_remark == "identical videos: no spread was measured"

    @pytest.mark.parametrize("distinct", [2, 3])
    def test_few_distinct_latent_prompts_have_no_interval(self, distinct):
        text, videos = task()
        text = text[np.arange(len(text)) % distinct]
        found = estimate(text, videos)
        assert found.aleatoric_interval is None and found.total_interval is None
        remark = f"no interval: {distinct} distinct latent prompts"
        assert found.aleatoric_remark == found.total_remark == remark
        whole = estimate(*task())
        assert found.epistemic_interval == whole.epistemic_interval
        assert found.epistemic_remark == "" and whole.aleatoric_remark == ""

    def test_is_frozen(self):
        with pytest.raises(FrozenInstanceError):
            estimate(*task()).total = 0.0


def coverage(draw, truth, repetitions):
    """Return how often each interval holds the truth."""
    held = np.zeros(3)
    for _ in range(repetitions):
        r = estimate(*draw())
        intervals = (r.aleatoric_interval, r.epistemic_interval, r.total_interval)
        held += [lo <= t <= hi for (lo, hi), t in zip(intervals, truth, strict=True)]
    return held / repetitions


class TestCoverage:
    @pytest.mark.slow
    def test_on_von_mises_fisher_samples(self):
        """Latent prompts differ in kappa, so the epistemic truth is a mean over them."""
        rng, d = np.random.default_rng(1), 64
        kappas = np.array([100.0, 200.0, 400.0])

        def draw():
            videos = [vmf.sample(d, k, 10, rng) for k in rng.choice(kappas, 10)]
            return vmf.sample(d, 150.0, 10, rng), np.stack(videos)

        aleatoric, epistemic = vmf.entropy(d, 150.0), vmf.entropy(d, kappas).mean()
        held = coverage(draw, (aleatoric, epistemic, aleatoric + epistemic), 400)
        assert np.all(held >= 0.92), held

    @pytest.mark.slow
    def test_on_embeddings_of_low_effective_dimension(self):
        """Real text: spread along few of many directions, where model-based intervals fail."""
        rng, d = np.random.default_rng(2), 128
        scale = 0.5 * np.exp(-np.arange(d) / 8)
        scale[0] = 0

        def draw_text(count):
            x = rng.normal(size=(count, d)) * scale + np.eye(d)[0]
            return x / np.linalg.norm(x, axis=1, keepdims=True)

        def draw():
            return draw_text(10), np.stack([vmf.sample(d, 300.0, 10, rng) for _ in range(10)])

        variance = 1 - np.linalg.norm(draw_text(200_000).mean(axis=0))
        aleatoric = vmf.entropy(d, vmf.kappa_from_spherical_variance(d, variance))
        epistemic = vmf.entropy(d, 300.0)
        held = coverage(draw, (aleatoric, epistemic, aleatoric + epistemic), 400)
        assert np.all(held[[0, 2]] >= 0.92), held

    @pytest.mark.slow
    @pytest.mark.parametrize("n", [6, 10])
    def test_on_few_distinct_latent_prompts(self, n):
        """A prompt that leaves one attribute open, said in three ways: 6 to 24 latent prompts."""
        rng, d, held, withheld = np.random.default_rng(3), 128, [], []
        for values in (2, 4, 5, 8):
            parts = rng.normal(size=(values, d)), 0.5 * rng.normal(size=(3, d))
            kinds = (3 * np.eye(d)[0] * np.sqrt(d) + parts[0][:, None] + parts[1]).reshape(-1, d)
            kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
            length = np.linalg.norm(kinds.mean(axis=0))
            known = vmf.entropy(d, vmf.kappa_from_spherical_variance(d, 1 - length))
            for _ in range(150):
                text = kinds[rng.integers(len(kinds), size=n)]
                interval = estimate(text, rng.normal(size=(n, 2, 4))).aleatoric_interval
                withheld.append(interval is None)
                if interval is not None:
                    held.append(interval[0] <= known <= interval[1])
        assert 0.93 <= np.mean(held) <= 0.99 and np.mean(withheld) <= 0.15


class TestEstimateRefusals:
    def test_unknown_estimator_lists_the_known(self):
        with pytest.raises(ValueError, match="unknown estimator 'x'; known: .*squbed, squbed_mle"):
            estimate(*task(), estimator="x")

    @pytest.mark.parametrize("confidence", [0.0, 1.0, np.nan])
    def test_confidence(self, confidence):
        with pytest.raises(ValueError, match="confidence is .*; expected between 0 and 1"):
            estimate(*task(), confidence=confidence)

    def test_shapes(self):
        text, videos = task()
        with pytest.raises(ValueError, match=r"text has shape \(2, 12\); expected \(n, d_t\) with"):
            estimate(text[:2], videos[:2])
        with pytest.raises(ValueError, match=r"text has shape \(5, 1\)"):
            estimate(text[:, :1], videos)
        with pytest.raises(ValueError, match="text has 5 latent prompts, videos 4"):
            estimate(text, videos[:4])
        with pytest.raises(ValueError, match="'squbed' needs 2 videos of a latent prompt; there a"):
            estimate(text, videos[:, :1])
        with pytest.raises(ValueError, match=r"latent prompt 3 have shape \(1, 16\); expected"):
            estimate(None, [*videos[:3], videos[3, :1], videos[4]])
        with pytest.raises(ValueError, match="latent prompt 1 have width 9, of latent prompt 0 16"):
            estimate(text, [videos[0], videos[1, :, :9], *videos[2:]])
        with pytest.raises(ValueError, match=r"latent prompt 0 have shape \(4, 1\)"):
            estimate(text, videos[..., :1])

    @pytest.mark.parametrize("as_list", [False, True])
    def test_bad_embeddings_are_named(self, as_list):
        text, videos = task()
        text[3, 1] = np.nan
        with pytest.raises(ValueError, match=r"text embedding \(3,\) is not finite"):
            estimate(text, videos)
        text, videos = task()
        videos[2, 1] = 0
        with pytest.raises(ValueError, match=r"latent prompt 2 \(1,\) is the zero vector"):
            estimate(text, list(videos) if as_list else videos)

    def test_an_estimator_that_returns_nan(self, scratch_registry):
        broken = Estimator("broken", "Broken", "", "none").register
        broken(lambda text, videos: Terms(0.0, np.nan, 0.0))
        with pytest.raises(ValueError, match="'broken' returned Terms.*must be finite"):
            estimate(*task(), estimator="broken")


class TestRegistry:
    def test_a_baseline_joins(self, scratch_registry):
        @Estimator("spread", "Spread", "", "cosine").register
        def spread(text, videos):
            return Terms(float(np.var(text)), 0.5, float(np.var(text)) + 0.5)

        result = estimate(*task(), estimator="spread")
        assert (result.unit, result.epistemic, result.total_per_dof) == ("cosine", 0.5, None)
        assert result.epistemic_interval is None  # an interval without width is none
        reason = "no interval: the same whichever latent prompt is left out"
        assert result.epistemic_remark == reason and result.aleatoric_remark == ""

    def test_a_name_is_taken_once(self):
        with pytest.raises(ValueError, match="'squbed' is already registered"):
            Estimator("squbed", "Again", "", "nats").register(None)


class TestComparable:
    def test_corrected_allows_unequal_counts(self):
        text, videos = task()
        check_comparable([estimate(text, videos), estimate(text[:4], videos[:4, :2])])
        check_comparable([])

    def test_plug_in_refuses_unequal_counts(self):
        text, videos = task()
        a = estimate(text, videos, estimator="squbed_mle")
        check_comparable([a, a])
        fewer = estimate(text, videos[:, :3], estimator="squbed_mle")
        with pytest.raises(ValueError, match="uncertainty 2 has counts.*use estimator 'squbed'"):
            check_comparable([a, a, fewer])
        smaller = estimate(text[:4], videos[:4], estimator="squbed_mle")
        with pytest.raises(ValueError, match="uncertainty 1 has n 4, uncertainty 0 has 5"):
            check_comparable(iter([a, smaller]))

    @pytest.mark.parametrize("name", ["squbed", "squbed_mle"])
    @pytest.mark.parametrize("field", ["d_text", "d_video"])
    def test_widths(self, name, field):
        a = estimate(*task(), estimator=name)
        with pytest.raises(ValueError, match=f"has {field} 99.*embedding width"):
            check_comparable([a, replace(a, **{field: 99})])

    def test_estimators(self):
        pair = [estimate(*task(), estimator=e) for e in ("squbed", "squbed_mle")]
        with pytest.raises(ValueError, match="has estimator 'squbed_mle', uncertainty 0 has"):
            check_comparable(pair)


class TestEntropyPower:
    def test_powers_of_the_parts_add(self):
        text, videos = task()
        parts, found = (estimate(text, videos, estimator=e) for e in ("squbed", "entropy_power"))
        power = np.exp(2 * parts.aleatoric / 11) + np.exp(2 * parts.epistemic / 15)
        assert np.exp(found.total) == pytest.approx(power, rel=1e-12)
        assert (found.aleatoric, found.epistemic) == pytest.approx(
            (2 * parts.aleatoric / 11, 2 * parts.epistemic / 15)
        )
        assert found.total_interval[0] < found.total < found.total_interval[1]

    def test_a_part_without_spread_adds_nothing(self):
        text, videos = task()
        videos[:] = videos[:, :1]
        found = estimate(text, videos, estimator="entropy_power")
        assert found.total == pytest.approx(found.aleatoric, abs=1e-6) and found.degenerate
        summed = estimate(text, videos)
        assert summed.total < summed.aleatoric - 100  # the logarithms' sum falls with it

    def test_of_a_normal_spread_it_is_the_variance_per_coordinate(self):
        d, kappa = 512, 1e6  # a tangent normal with variance 1 / kappa a coordinate
        h = vmf.entropy(d, kappa)
        assert 2 * h / (d - 1) == pytest.approx(np.log(2 * np.pi * np.e / kappa), abs=1e-3)


class TestPooledPca:
    def test_full_rank_keeps_every_cosine(self):
        x = np.random.default_rng(0).normal(size=(3, 6, 5))
        y = pooled_pca(list(x), 5)
        for a, b in zip(x, y, strict=True):
            unit = a / np.linalg.norm(a, axis=1, keepdims=True)
            np.testing.assert_allclose(b @ b.T, unit @ unit.T, atol=1e-12)

    def test_agrees_with_an_uncentred_svd(self):
        x = np.random.default_rng(1).normal(size=(2, 7, 6)) + 2
        unit = (x / np.linalg.norm(x, axis=-1, keepdims=True)).reshape(-1, 6)
        projected = unit @ np.linalg.svd(unit, full_matrices=False)[2][:3].T
        projected /= np.linalg.norm(projected, axis=1, keepdims=True)
        y = np.concatenate(pooled_pca(list(x), 3))
        np.testing.assert_allclose(y @ y.T, projected @ projected.T, atol=1e-12)

    def test_shapes_and_the_mean_direction_survive(self):
        videos = [task(s)[1] + 1.0 for s in range(3)]
        reduced = pooled_pca(videos, 4)
        assert [r.shape for r in reduced] == [(5, 4, 4)] * 3
        assert all(np.linalg.norm(r.mean(axis=(0, 1))) > 0.5 for r in reduced)

    @pytest.mark.parametrize(
        ("embeddings", "k", "message"),
        [
            ([np.eye(4)], 2, "list of length 1; expected a list of at least 2 tasks.*destroy"),
            (np.ones((3, 4, 5)), 2, "ndarray of length 3; expected a list of at least 2 tasks"),
            ([np.eye(4), np.eye(5)], 2, r"task 1's embeddings have shape \(5, 5\), task 0's"),
            ([np.eye(4), np.ones(4)], 2, r"task 1's embeddings have shape \(4,\)"),
            ([np.eye(4), np.eye(4)], 5, "n_components is 5; expected 2 to 4"),
            ([np.eye(4), np.eye(4)], 1, "n_components is 1; expected 2 to 4"),
            ([np.eye(4), np.zeros((2, 4))], 2, r"task 1's embedding \(0,\) is the zero vector"),
        ],
    )
    def test_refusals(self, embeddings, k, message):
        with pytest.raises(ValueError, match=message):
            pooled_pca(embeddings, k)


def test_without_text_the_epistemic_term_stands_alone():
    rng = np.random.default_rng(0)
    text, videos = rng.normal(size=(4, 6)), rng.normal(size=(4, 5, 8))
    whole, alone = estimate(text, videos), estimate(None, videos)
    assert alone.epistemic == whole.epistemic
    assert alone.epistemic_interval == pytest.approx(whole.epistemic_interval)
    assert alone.epistemic_per_dof == whole.epistemic_per_dof and alone.n == 4
    absent = [alone.aleatoric, alone.total, alone.aleatoric_interval, alone.total_interval]
    absent += [alone.aleatoric_per_dof, alone.total_per_dof, alone.d_text]
    assert absent == [None] * 7
    check_comparable([alone, whole, alone])


class TestDesigns:
    """Latent prompts without videos, or with a single one."""

    def test_all_texts_and_the_videos_there_are(self):
        text, videos = task(n=8)
        some = [*videos[:4], *[np.empty((0, 16))] * 4]
        found, whole = estimate(text, some), estimate(text, videos)
        assert (found.aleatoric, found.n, found.m) == (whole.aleatoric, 8, 4)
        assert found.counts == (4, 4, 4, 4, 0, 0, 0, 0)
        assert found.epistemic == estimate(text[:4], videos[:4]).epistemic
        assert found.total == found.aleatoric + found.epistemic
        check_comparable([found, whole])
        with pytest.raises(ValueError, match="counts.*not comparable"):
            check_comparable([estimate(text, x, estimator="kappa") for x in (some, videos)])

    def test_intervals_of_either_part_are_those_of_its_own_samples(self):
        text, videos = task(n=8)
        some = [*videos[:4], *[np.empty((0, 16))] * 4]
        found = estimate(text, some)
        assert found.aleatoric_interval == pytest.approx(estimate(text, videos).aleatoric_interval)
        alone = estimate(None, videos[:4])
        assert found.epistemic_interval == pytest.approx(alone.epistemic_interval)
        low, high = found.total_interval
        assert low < found.total < high

    @pytest.mark.parametrize("term", ["aleatoric", "epistemic", "total"])
    def test_a_term_that_reads_videos_alone_has_the_interval_of_those(self, term):
        text, videos = task(n=20)
        some = [*videos[:4], *[np.empty((0, 16))] * 16]
        found = estimate(text, some, estimator="energy_split")
        alone = estimate(text[:4], videos[:4], estimator="energy_split")
        assert getattr(found, term) == pytest.approx(getattr(alone, term))
        name = f"{term}_interval"
        assert getattr(found, name) == pytest.approx(getattr(alone, name))

    @pytest.mark.parametrize("name", sorted(ESTIMATORS))
    def test_every_estimator_knows_them(self, name):
        text, videos = task(n=6)
        some = [*videos[:4], *[np.empty((0, 16))] * 2]
        found, few = (estimate(*x, estimator=name) for x in ((text, some), (text[:4], videos[:4])))
        assert found.epistemic == pytest.approx(few.epistemic)

    def test_one_video_each_gives_the_energy_total(self):
        text, videos = task()
        found = estimate(text, videos[:, :1], estimator="energy_split")
        cosines = videos[:, 0] @ videos[:, 0].T
        assert found.total == pytest.approx(1 - cosines[np.triu_indices(5, 1)].mean())
        assert (found.epistemic, found.aleatoric, found.epistemic_interval) == (None, None, None)
        assert found.total_interval[0] < found.total < found.total_interval[1]
        assert found.identical == () and found.epistemic_remark == found.total_remark == ""

    def test_pairs_of_some_split_the_total_of_all(self):
        text, videos = task(n=6)
        mixed = [*videos[:3, :2], *videos[3:, :1]]
        found = estimate(text, mixed, estimator="energy_split")
        pairs = [float(a @ b) for a, b in videos[:3, :2]]
        assert found.epistemic == pytest.approx(1 - np.mean(pairs))
        assert found.aleatoric == pytest.approx(found.total - found.epistemic)
        two = estimate(text, [*videos[:2, :2], *videos[2:, :1]], estimator="energy_split")
        assert two.epistemic_remark == "no interval: 2 latent prompts with videos"
        assert two.total_interval is not None

    def test_the_split_of_one_and_two_videos_is_unbiased(self):
        rng, terms = np.random.default_rng(0), []
        for _ in range(3000):
            centres = unit(1 + 0.8 * rng.normal(size=(3, 1, 6)))
            videos = unit(centres + 0.5 * rng.normal(size=(3, 2, 6)))
            whole = energy_split(np.eye(3), videos)
            few = energy_split(np.eye(3), [videos[0], videos[1], videos[2, :1]])
            terms.append(np.subtract(few[:3], whole[:3]))
        assert np.abs(np.mean(terms, axis=0)).max() < 4 * np.std(terms, axis=0).max() / 3000**0.5

    def test_a_task_without_any_video_is_refused(self):
        with pytest.raises(ValueError, match="there are no videos; expected those of at least one"):
            estimate(task()[0], [np.empty((0, 16))] * 5)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_latent_prompts_have_no_interval(n):
    videos = np.random.default_rng(0).normal(size=(n, 5, 8))
    found = estimate(None, videos)
    assert np.isfinite(found.epistemic) and found.epistemic_interval is None
    assert found.epistemic_remark == f"no interval: {n} latent prompt{'s' * (n > 1)}"


def test_no_text_and_no_videos():
    with pytest.raises(ValueError, match="there are no videos; expected those of at least one"):
        estimate(None, [])


def test_an_estimator_that_needs_text_says_so():
    Estimator("needs_text", "", "", "x", needs_text=True).register(
        lambda text, videos: Terms(1, 2, 3)
    )
    try:
        with pytest.raises(ValueError, match="estimator 'needs_text' needs text; give it, or use"):
            estimate(None, np.eye(3)[None], estimator="needs_text")
    finally:
        del ESTIMATORS["needs_text"]
