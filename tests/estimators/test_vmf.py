"""The von Mises-Fisher numerics against hand values, limits, truth tables and slow literals."""

import csv
import warnings
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import ortho_group

from squbed_utils.estimators import vmf

TRUTH = Path(__file__).parents[1] / "data" / "vmf_truth.csv"
WIDE = st.integers(2, 8192)
LOG_KAPPA = st.floats(-6, 9)


def truth_table():
    with TRUTH.open() as file:
        rows = [list(map(float, row)) for row in list(csv.reader(file))[1:]]
    return np.array(rows).T


def mixed_error(value, truth):
    return np.max(np.abs(value - truth) / np.maximum(1, np.abs(truth)))


def quadrature(n, kappa):
    """Return log C, A, h and 1 - A, worked out with 50 digits.

    1/C = |S^(n-2)| int e^(kt) (1-t^2)^((n-3)/2) dt (Mardia and Jupp 2000, sec. 9.3.2).
    With t = tanh u the trapezoidal rule converges as exp(-pi^2 / (2 h)) or faster, h the step;
    no Bessel function is used.
    """
    with mpmath.workdps(50):
        k, power = mpmath.mpf(kappa), n - 1
        root = 2 * k / (power + mpmath.sqrt(power**2 + 4 * k**2))  # tanh of the saddle
        u0 = mpmath.atanh(root)
        width = 1 / mpmath.sqrt((1 - root**2) * (2 * k * root + power))
        peak = k * root - power * mpmath.log(mpmath.cosh(u0))
        h, mass, first = min(width / 4, mpmath.mpf(1) / 20), mpmath.mpf(0), mpmath.mpf(0)
        for direction in (1, -1):
            j = 0 if direction == 1 else 1
            weight = mpmath.mpf(1)
            while weight > mpmath.mpf(10) ** -36:
                u = u0 + direction * j * h
                t = mpmath.tanh(u)
                weight = mpmath.exp(k * t - power * mpmath.log(mpmath.cosh(u)) - peak)
                mass, first, j = mass + weight, first + weight * t, j + 1
        area = (
            mpmath.log(2)
            + power * mpmath.log(mpmath.pi) / 2
            - mpmath.loggamma(mpmath.mpf(power) / 2)
        )
        log_c = -(area + peak + mpmath.log(mass * h))
        resultant = first / mass
        return tuple(map(float, (log_c, resultant, -log_c - k * resultant, 1 - resultant)))


class TestClosedForms:
    KAPPA = np.array([1e-3, 0.1, 1.0, 5.0, 20.0, 300.0])

    def test_three_dimensions_by_hand(self):
        k = self.KAPPA
        resultant = 1 / np.tanh(k) - 1 / k
        np.testing.assert_allclose(vmf.mean_resultant_length(3, k)[2:], resultant[2:], rtol=1e-13)
        log_c = np.log(k / (4 * np.pi)) - (k + np.log1p(-np.exp(-2 * k)) - np.log(2))
        np.testing.assert_allclose(vmf.log_normalizer(3, k), log_c, rtol=1e-12)
        np.testing.assert_allclose(vmf.entropy(3, k)[2:], (-log_c - k * resultant)[2:], rtol=1e-12)

    @pytest.mark.parametrize("n", [2, 3, 10, 512, 8192])
    def test_uniform_entropy_is_the_log_area(self, n):
        area = np.log(2) + n / 2 * np.log(np.pi) - float(mpmath.loggamma(mpmath.mpf(n) / 2))
        assert vmf.entropy(n, 0.0) == pytest.approx(area, rel=1e-14)
        assert vmf.log_normalizer(n, 0.0) == pytest.approx(-area, rel=1e-14)
        assert vmf.mean_resultant_length(n, 0.0) == 0

    @pytest.mark.parametrize("n", [2, 5, 64])
    def test_concentrated_limit_is_gaussian(self, n):
        gaussian = (n - 1) / 2 * np.log(2 * np.pi * np.e / 1e9)
        assert vmf.entropy(n, 1e9) == pytest.approx(gaussian, abs=n**2 * 1e-9)

    def test_tiny_kappa_is_linear(self):
        assert vmf.mean_resultant_length(10, 1e-300) == pytest.approx(1e-301, rel=1e-14)

    def test_entropy_per_dof_is_zero_for_uniform_and_log_sine_otherwise(self):
        n, kappa = np.array([4, 64, 1024]), np.array([0.0, 300.0, 1e4])
        r = vmf.mean_resultant_length(n, kappa)
        per_dof = vmf.entropy_per_dof(n, vmf.entropy(n, kappa))
        assert per_dof[0] == pytest.approx(0, abs=1e-15)
        np.testing.assert_array_less(np.abs(per_dof - np.log(1 - r**2) / 2) * (n - 1), 0.42)


class TestAccuracy:
    def test_truth_table(self):
        n, kappa, log_c, resultant, h = truth_table()
        assert mixed_error(vmf.log_normalizer(n, kappa), log_c) <= 2e-13
        assert mixed_error(vmf.entropy(n, kappa), h) <= 2e-13
        some = resultant > 0
        ratio = vmf.mean_resultant_length(n, kappa)[some] / resultant[some]
        assert np.max(np.abs(ratio - 1)) <= 1e-14

    def test_quadrature_agrees_with_the_truth_table(self):
        for n, kappa, *truth in truth_table().T[::17]:
            np.testing.assert_allclose(quadrature(int(n), kappa)[:3], truth, rtol=1e-15, atol=1e-16)

    @pytest.mark.slow
    def test_random_points_against_quadrature(self):
        rng = np.random.default_rng(20)
        n = np.floor(2 ** rng.uniform(1, 13, 5000)).astype(int)
        kappa = 10 ** rng.uniform(-3, 9, n.size)
        log_c, resultant, h, variance = np.array(
            list(map(quadrature, n.tolist(), kappa.tolist()))
        ).T
        assert mixed_error(vmf.log_normalizer(n, kappa), log_c) <= 2e-13
        assert mixed_error(vmf.entropy(n, kappa), h) <= 2e-13
        assert np.max(np.abs(vmf.mean_resultant_length(n, kappa) / resultant - 1)) <= 1e-14
        left = 2 * np.finfo(float).eps / resultant  # what one rounding of 1 - R leaves of kappa
        found = vmf.kappa_from_spherical_variance(n, variance)
        assert np.all(np.abs(found / kappa - 1) <= 1e-12 + left)

    def test_agrees_with_scipy_where_scipy_is_right(self):
        for n, kappa in [(2, 0.5), (3, 2.0), (5, 10.0), (10, 30.0)]:
            peer = stats.vonmises_fisher(np.eye(n)[0], kappa)
            assert vmf.entropy(n, kappa) == pytest.approx(peer.entropy(), abs=1e-10)

    def test_regimes_meet(self):
        for n in (2, 10, 60, 512, 4096):
            nu = n / 2 - 1
            edge = max(np.sqrt(max(900 - nu**2, 0)), 4 * np.sqrt(nu + 1))
            below, above = vmf.entropy(n, edge * (1 - 1e-13)), vmf.entropy(n, edge * (1 + 1e-13))
            assert below == pytest.approx(above, rel=1e-12)

    @given(WIDE, LOG_KAPPA)
    def test_entropy_falls_and_resultant_rises_with_kappa(self, n, log_kappa):
        low, high = 10**log_kappa * 0.9, min(10**log_kappa * 1.1, 1e9)
        rounding = 1e-13 * max(1, abs(vmf.entropy(n, low)))
        assert vmf.entropy(n, high) <= vmf.entropy(n, low) + rounding
        assert vmf.mean_resultant_length(n, low) < vmf.mean_resultant_length(n, high) <= 1

    def test_no_nan_and_no_warning_anywhere(self):
        n = np.array([2, 3, 20, 63, 500, 8192, 100_000])[:, None]
        kappa = np.concatenate([[0, 5e-324, 1e-160], np.logspace(-12, 9, 400)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for function in (vmf.entropy, vmf.log_normalizer, vmf.mean_resultant_length):
                values = function(n, kappa)
                assert values.shape == (7, 403)
                assert np.isfinite(values).all()
            variance = np.concatenate([[0, 5e-324, 1e-17, 1], np.linspace(0, 1, 101)])
            assert np.isfinite(vmf.kappa_from_spherical_variance(n, variance)).all()

    def test_equal_alone_and_in_a_batch(self):
        kappa = np.logspace(-2, 8, 20_000)
        batch = vmf.entropy(100, kappa)
        assert [vmf.entropy(100, k) for k in kappa[::4000]] == pytest.approx(
            batch[::4000], rel=1e-15
        )


class TestInverse:
    def test_three_dimensions_by_hand(self):
        resultant = 1 / np.tanh(2.0) - 0.5
        assert vmf.kappa_from_spherical_variance(3, 1 - resultant) == pytest.approx(2, rel=1e-13)

    def test_ends(self):
        np.testing.assert_array_equal(vmf.kappa_from_spherical_variance(8, [0.0, 1.0]), [1e9, 0])

    @settings(max_examples=300)
    @given(WIDE, LOG_KAPPA)
    def test_round_trip(self, n, log_kappa):
        kappa = 10**log_kappa
        resultant = vmf.mean_resultant_length(n, kappa)
        variance = 1 - resultant
        # what one rounding of 1 - R leaves of kappa
        left = 4 * np.finfo(float).eps / min(resultant, variance)
        found = vmf.kappa_from_spherical_variance(n, variance)
        assert found == pytest.approx(kappa, rel=1e-12 + left)

    @pytest.mark.parametrize("n", [2, 64, 512, 4096])
    def test_twelve_digits_from_an_exact_variance(self, n):
        for kappa in (0.3 * n, 3.0 * n, 1e6, 9e8):
            found = vmf.kappa_from_spherical_variance(n, quadrature(n, kappa)[3])
            assert found == pytest.approx(kappa, rel=1e-12)

    @pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
    def test_refuses_a_variance_out_of_range(self, bad):
        with pytest.raises(ValueError, match=r"spherical variance 1 - R at index \(1,\) is"):
            vmf.kappa_from_spherical_variance(8, [0.5, bad])


class TestFit:
    def test_two_perpendicular_directions_by_hand(self):
        plug_in = vmf.fit(np.eye(2), corrected=False)  # R = 1/sqrt 2
        assert vmf.mean_resultant_length(2, plug_in.kappa) == pytest.approx(np.sqrt(0.5))
        np.testing.assert_allclose(plug_in.mu, np.sqrt([0.5, 0.5]))
        assert vmf.fit(np.eye(2)).kappa == 0  # mean pairwise cosine 0

    def test_corrected_resultant_is_the_mean_pairwise_cosine(self):
        x = vmf.sample(20, 30.0, 7, np.random.default_rng(1))
        cosines = [x[i] @ x[j] for i in range(7) for j in range(7) if i != j]
        resultant = vmf.mean_resultant_length(20, vmf.fit(x).kappa)
        assert resultant**2 == pytest.approx(np.mean(cosines), rel=1e-12)

    @pytest.mark.parametrize("spread", [1e-4, 0.02, 0.06, 0.1, 0.11, 0.3, 3.0])  # 0.1 is `NEAR`
    def test_variance_keeps_its_digits_however_near_the_samples_are(self, spread):
        x = np.eye(1, 100) + spread / 10 * np.random.default_rng(0).normal(size=(5, 8, 100))
        exact = x.astype(np.longdouble)
        exact /= np.sqrt(np.square(exact).sum(-1, keepdims=True))
        gaps = np.square(exact - exact.mean(axis=1, keepdims=True)).sum((1, 2)) / 7
        variance = 1 - np.sqrt(np.maximum(1 - gaps, 0))
        kappa = vmf.kappa_from_spherical_variance(100, variance.astype(float))
        np.testing.assert_allclose(vmf.fit(x).kappa, kappa, rtol=1e-11)

    def test_fits_solved_together_are_those_alone(self):
        batches = [np.random.default_rng(n).normal(size=(3, 5, n)) + 1 for n in (4, 30)]
        for fit, x in zip(vmf.fit_all(batches), batches, strict=True):
            np.testing.assert_array_equal(fit.kappa, vmf.fit(x).kappa)
            np.testing.assert_array_equal(fit.mu, vmf.fit(x).mu)

    def test_plug_in_agrees_with_scipy_in_few_dimensions(self):
        x = vmf.sample(4, 8.0, 50, np.random.default_rng(2))
        mu, kappa = stats.vonmises_fisher.fit(x)
        ours = vmf.fit(x, corrected=False)
        assert ours.kappa == pytest.approx(kappa, rel=1e-7)
        np.testing.assert_allclose(ours.mu, mu, atol=1e-12)

    @settings(max_examples=30)
    @given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.booleans())
    def test_rotation_and_scale_change_nothing(self, seed, n, corrected):
        rng = np.random.default_rng(seed)
        x = vmf.sample(n, 3.0 * n, 6, rng)
        q = ortho_group.rvs(n, random_state=rng)
        a = vmf.fit(x, corrected=corrected)
        b = vmf.fit(x @ q * rng.uniform(1e-3, 1e3, (6, 1)), corrected=corrected)
        assert b.kappa == pytest.approx(a.kappa, rel=1e-9)
        np.testing.assert_allclose(b.mu, a.mu @ q, atol=1e-12)

    @settings(max_examples=30)
    @given(st.integers(0, 2**32 - 1), st.booleans())
    def test_ranking_is_that_of_the_mean_pairwise_cosine(self, seed, corrected):
        rng = np.random.default_rng(seed)
        x = np.stack([vmf.sample(16, k, 5, rng) for k in rng.uniform(20, 2000, 12)])
        cosine = (np.square(x.sum(axis=1)).sum(axis=1) - 5) / 20
        h = vmf.entropy(16, vmf.fit(x, corrected=corrected).kappa)
        np.testing.assert_array_equal(np.argsort(h), np.argsort(-cosine))

    def test_batched_equals_one_by_one(self):
        x = np.random.default_rng(3).normal(size=(3, 4, 6, 5)) + 1
        batched = vmf.fit(x)
        assert batched.kappa.shape == batched.degenerate.shape == (3, 4)
        assert batched.mu.shape == (3, 4, 5)
        alone = vmf.fit(x[2, 1])
        assert alone.kappa == pytest.approx(batched.kappa[2, 1], rel=1e-13)
        np.testing.assert_allclose(alone.mu, batched.mu[2, 1], rtol=1e-13)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_identical_samples_are_flagged_and_finite(self, dtype):
        x = np.random.default_rng(4).normal(size=512).astype(dtype)
        result = vmf.fit(np.stack([np.tile(x, (10, 1)), np.eye(10, 512)]))
        np.testing.assert_array_equal(result.degenerate, [True, False])
        assert result.kappa[0] == 1e9
        assert np.isfinite(vmf.entropy(512, result.kappa)).all()

    def test_opposite_samples_have_some_mean_direction(self):
        result = vmf.fit([[3.0, 4.0], [-3.0, -4.0]])
        assert result.kappa == 0
        np.testing.assert_allclose(result.mu, [0.6, 0.8])

    def test_extreme_lengths_neither_overflow_nor_vanish(self):
        x = np.random.default_rng(5).normal(size=(4, 6)) + 1
        for scale in (1e300, 1e-300), (1e300, 1.0, 1e-300, 1.0):
            scale = np.resize(scale, (4, 1))
            assert vmf.fit(x * scale).kappa == pytest.approx(vmf.fit(x).kappa, rel=1e-12)

    def test_bias_of_the_entropy(self):
        """The table of the small-sample study: plug-in -27 nats at n = 512, m = 10."""
        n, kappa, rng = 512, 2000.0, np.random.default_rng(6)
        x = vmf.sample(n, kappa, (200, 10), rng)
        h = vmf.entropy(n, kappa)
        plug_in = vmf.entropy(n, vmf.fit(x, corrected=False).kappa).mean() - h
        corrected = vmf.entropy(n, vmf.fit(x).kappa).mean() - h
        assert plug_in == pytest.approx(-(n - 1) / 2 * np.log(10 / 9), abs=1)
        assert abs(corrected) < 0.7

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_names_the_sample_that_is_not_finite(self, value):
        x = np.ones((2, 3, 4, 5))
        x[1, 2, 3, 0] = value
        with pytest.raises(ValueError, match=r"sample \(1, 2, 3\) is not finite"):
            vmf.fit(x)

    def test_names_the_zero_sample_in_a_later_block(self):
        x = np.ones((600, 10, 512), dtype=np.float32)
        x[599, 7] = 0
        with pytest.raises(ValueError, match=r"sample \(599, 7\) is the zero vector"):
            vmf.fit(x)
        with pytest.raises(ValueError, match=r"sample \(1,\) is the zero vector"):
            vmf.fit([[1.0, 0.0], [0.0, 0.0]])

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((4,), r"shape \(4,\); expected \(\.\.\., m, n\)"),
            ((3, 1, 4), "m = 1; a fit needs at least 2"),
            ((3, 1), "dimension n is 1.0; expected an integer >= 2"),
        ],
    )
    def test_refuses_shapes(self, shape, message):
        with pytest.raises(ValueError, match=message):
            vmf.fit(np.ones(shape))

    def test_refuses_what_is_not_real(self):
        with pytest.raises(ValueError, match="dtype complex128; expected real numbers"):
            vmf.fit(np.ones((3, 4), dtype=complex))


class TestSample:
    @pytest.mark.parametrize("n", [2, 3, 20, 512])
    @pytest.mark.parametrize("kappa", [0.0, 1.0, 100.0, 1e5])
    def test_moments(self, n, kappa):
        x = vmf.sample(n, kappa, 4000, np.random.default_rng(8))
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-12)
        w = x[:, 0]
        error = np.std(w) / np.sqrt(len(w))
        assert abs(w.mean() - vmf.mean_resultant_length(n, kappa)) < 4.5 * error + 1e-15

    def test_distribution_of_the_cosine_in_three_dimensions(self):
        w = vmf.sample(3, 4.0, 5000, np.random.default_rng(9))[:, 0]
        result = stats.kstest(w, lambda t: np.expm1(4 * (t + 1)) / np.expm1(8))
        assert result.pvalue > 1e-3

    def test_tangent_directions_are_uniform(self):
        _, a, b = vmf.sample(3, 5.0, 5000, np.random.default_rng(10)).T
        assert stats.kstest(np.arctan2(a, b), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3

    def test_point_mass_limit_keeps_its_spread(self):
        x = vmf.sample(64, 1e9, 2000, np.random.default_rng(11))
        assert np.square(x[:, 1:]).sum(axis=1).mean() == pytest.approx(63e-9, rel=0.02)

    def test_equal_seed_equal_draw(self):
        a, b, c = (vmf.sample(5, 3.0, (2, 3), np.random.default_rng(s)) for s in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert a.shape == (2, 3, 5)
        assert not np.array_equal(a, c)

    def test_refusals(self):
        rng = np.random.default_rng(0)
        with pytest.raises(ValueError, match="dimension n is 1.0"):
            vmf.sample(1, 1.0, 3, rng)
        with pytest.raises(ValueError, match="concentration kappa is -1.0; expected 0 to 1e9"):
            vmf.sample(3, -1.0, 3, rng)
        with pytest.raises(TypeError, match="rng is a int; pass numpy.random.default_rng"):
            vmf.sample(3, 1.0, 3, 0)


@pytest.mark.parametrize("function", [vmf.log_normalizer, vmf.mean_resultant_length, vmf.entropy])
class TestRefusals:
    @pytest.mark.parametrize("bad", [-1.0, 1.1e9, np.nan, np.inf])
    def test_kappa(self, function, bad):
        with pytest.raises(ValueError, match=r"kappa at index \(1, 0\) is .*; expected 0 to 1e9"):
            function(3, [[1.0], [bad]])

    @pytest.mark.parametrize("bad", [1, 2.5, np.nan, np.inf, -3])
    def test_dimension(self, function, bad):
        with pytest.raises(ValueError, match=r"dimension n at index \(1,\) is"):
            function([3, bad], 1.0)


def test_entropy_per_dof_refuses_nan():
    with pytest.raises(ValueError, match="entropy h is nan; expected a finite number"):
        vmf.entropy_per_dof(3, np.nan)
