"""Every baseline against hand values, limits, invariances, literal versions and simulations."""

import mpmath
import numpy as np
import pytest
from kit.embeddings import task, unit, values
from scipy.stats import ortho_group

from squbed_utils.estimators import vmf
from squbed_utils.estimators.baselines import (
    energy_split,
    kappa,
    knn_entropy,
    pairwise_distance,
    semantic_entropy,
)
from squbed_utils.estimators.estimate import ESTIMATORS, check_comparable, estimate

BASELINES = [name for name in ESTIMATORS if not name.startswith("squbed")]
ADDITIVE = ["energy_split", "von_neumann", "von_neumann_jackknife", "conditional_vendi"]
ADDITIVE += ["semantic_entropy"]


def terms(name, text, videos):
    return ESTIMATORS[name].function(text, videos)


def orthogonal(n=3, m=4):
    return np.eye(n), np.eye(n * m).reshape(n, m, n * m)


def half_sphere(d, m):
    """Return what `knn_entropy` gives m orthogonal samples in d dimensions."""
    area = mpmath.log(mpmath.pi ** (mpmath.mpf(d) / 2) / mpmath.gamma(mpmath.mpf(d) / 2))
    return float(area + mpmath.digamma(m) - mpmath.digamma(1))


def log_det_of_identical(squared_length, m):
    return (np.log(m * squared_length + 1e-3) + (m - 1) * np.log(1e-3)) / m


LOG3, LOG4, LOG12 = np.log([3, 4, 12])
ORTHOGONAL = {
    "energy_split": (0, 1, 1),
    "pairwise_distance": (1, 1, 1),
    "semantic_entropy": (LOG3, LOG4, LOG12),
    "kappa": (0, 0, 0),
    "knn_entropy": (half_sphere(3, 3), half_sphere(12, 4), half_sphere(12, 12)),
    "von_neumann": (LOG3, LOG4, LOG12),
    "conditional_vendi": (LOG3, LOG4, LOG12),
    "graph_laplacian": (np.nan, 4, 12),
}
IDENTICAL = {
    "energy_split": (0, 0, 0),
    "pairwise_distance": (0, 0, 0),
    "semantic_entropy": (0, 0, 0),
    "kappa": (-1e9, -1e9, -1e9),
    "von_neumann": (0, 0, 0),
    "von_neumann_jackknife": (0, 0, 0),
    "conditional_vendi": (0, 0, 0),
    "eigenscore": [
        log_det_of_identical(s, m) for s, m in ((2 / 3, 3), (11 / 12, 4), (11 / 12, 12))
    ],
    "graph_laplacian": (np.nan, 1, 1),
}


class TestLimits:
    @pytest.mark.parametrize("name", ORTHOGONAL)
    def test_orthogonal_samples(self, name):
        assert values(terms(name, *orthogonal())) == pytest.approx(
            ORTHOGONAL[name], abs=1e-9, nan_ok=True
        )

    @pytest.mark.parametrize("name", IDENTICAL)
    def test_identical_samples(self, name):
        text, videos = np.eye(3)[[0, 0, 0]], np.tile(np.eye(12)[0], (3, 4, 1))
        found = terms(name, text, videos)
        assert values(found) == pytest.approx(IDENTICAL[name], abs=1e-9, nan_ok=True)
        assert found.degenerate == (name == "kappa")

    @pytest.mark.parametrize("name", BASELINES)
    def test_higher_is_less_certain(self, name):
        found = [values(terms(name, *task(spread=s))) for s in (0.05, 0.4)]
        rises = np.nan_to_num(found[1] - found[0], nan=1.0)
        assert (rises > 0).all()


class TestInvariance:
    @pytest.mark.parametrize("name", BASELINES)
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_order(self, name, seed):
        text, videos = task(seed)
        rng = np.random.default_rng(seed)
        order, sample_order = rng.permutation(5), rng.permutation(4)
        shuffled = terms(name, text[order], videos[order][:, sample_order])
        expected = values(terms(name, text, videos))
        assert values(shuffled) == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)

    @pytest.mark.parametrize("name", [b for b in BASELINES if b != "eigenscore"])
    def test_rotation(self, name):
        text, videos = task()
        turned = (
            text @ ortho_group.rvs(12, random_state=0),
            videos @ ortho_group.rvs(16, random_state=1),
        )
        expected = values(terms(name, text, videos))
        assert values(terms(name, *turned)) == pytest.approx(expected, rel=1e-9, nan_ok=True)

    @pytest.mark.parametrize("name", BASELINES)
    def test_a_list_equals_an_array(self, name):
        text, videos = task()
        assert values(terms(name, text, list(videos))) == pytest.approx(
            values(terms(name, text, videos)), rel=1e-12, nan_ok=True
        )

    @pytest.mark.parametrize("name", [b for b in BASELINES if b != "conditional_vendi"])
    def test_without_text_the_epistemic_term_is_the_same(self, name):
        text, videos = task()
        alone = terms(name, None, videos)
        assert alone[:3] == (None, terms(name, text, videos).epistemic, None)

    @pytest.mark.parametrize("name", BASELINES)
    def test_unequal_counts_weigh_latent_prompts_the_same(self, name):
        text, videos = task()
        ragged = [v[:k] for v, k in zip(videos, (4, 2, 3, 4, 3), strict=True)]
        found = values(terms(name, text, ragged))
        assert np.isfinite(found[1:]).all()
        if name not in ("semantic_entropy", "conditional_vendi"):  # these see all videos at once
            alone = [terms(name, None, [v]).epistemic for v in ragged]
            assert found[1] == pytest.approx(np.mean(alone), rel=1e-12)


class TestThroughEstimate:
    @pytest.mark.parametrize("name", BASELINES)
    def test_has_finite_intervals(self, name):
        result = estimate(*task(), estimator=name)
        there = [result.epistemic_interval, result.total_interval]
        if name == "graph_laplacian":
            assert (result.aleatoric, result.aleatoric_interval) == (None, None)
        else:
            there.append(result.aleatoric_interval)
        assert all(np.isfinite(i).all() and i[0] < i[1] for i in there)
        assert result.total_per_dof is None and not result.degenerate

    @pytest.mark.parametrize("name", ADDITIVE)
    def test_total_is_the_sum(self, name):
        result = estimate(*task(), estimator=name)
        assert result.total == pytest.approx(result.aleatoric + result.epistemic, abs=1e-13)
        assert abs(result.aleatoric) > 1e-3

    @pytest.mark.parametrize("name", [b for b in BASELINES if ESTIMATORS[b].equal_counts])
    def test_unequal_counts_do_not_compare(self, name):
        text, videos = task()
        pair = [estimate(text, v, estimator=name) for v in (videos, videos[:, :3])]
        with pytest.raises(ValueError, match="uncertainty 1 has counts .*bias depends on the cou"):
            check_comparable(pair)

    def test_energy_splits_of_unequal_counts_compare(self):
        text, videos = task()
        check_comparable(
            [
                estimate(text, videos, estimator="energy_split"),
                estimate(text[:3], videos[:3, :2], estimator="energy_split"),
            ]
        )

    def test_every_estimator_has_a_label_and_a_source(self):
        assert all(e.label and e.source and e.unit for e in ESTIMATORS.values())
        assert len({e.label for e in ESTIMATORS.values()}) == len(ESTIMATORS)


class TestEnergySplit:
    def test_agrees_with_a_literal_version(self):
        text, videos = task()
        n, m = videos.shape[:2]
        within, between = [], []
        for i in range(n):
            for k in range(n):
                for j in range(m):
                    for h in range(m):
                        if (i, j) != (k, h):
                            (within if i == k else between).append(videos[i, j] @ videos[k, h])
        cw, cb = np.mean(within), np.mean(between)
        assert values(energy_split(text, videos)) == pytest.approx([cw - cb, 1 - cw, 1 - cb])

    @pytest.mark.parametrize(("n", "m", "repetitions"), [(2, 2, 4000), (40, 40, 40)])
    def test_is_unbiased_at_any_counts(self, n, m, repetitions):
        """Von Mises-Fisher centres, von Mises-Fisher videos: E f.f' = A(k)^2, A(k)^2 A(c)^2."""
        rng, d, c, k = np.random.default_rng(3), 6, 8.0, 5.0
        centres = vmf.sample(d, c, (repetitions, n), rng)
        noise = vmf.sample(d, k, (repetitions, n, m), rng)
        found = [energy_split(x, turned(x, v)) for x, v in zip(centres, noise, strict=True)]
        cw = vmf.mean_resultant_length(d, k) ** 2
        cb = cw * vmf.mean_resultant_length(d, c) ** 2
        found = np.array([values(f) for f in found])
        error = found.std(axis=0, ddof=1) / np.sqrt(repetitions)
        assert np.all(np.abs(found.mean(axis=0) - [cw - cb, 1 - cw, 1 - cb]) < 3.5 * error)
        assert np.all(error < 0.02)


def turned(centres, videos):
    """Reflect videos around the first axis to lie around their centres."""
    normal = unit(centres - np.eye(centres.shape[1])[0])[:, None]
    return videos - 2 * (videos * normal).sum(axis=-1, keepdims=True) * normal


class TestPairwiseDistance:
    def test_agrees_with_a_literal_version(self):
        text, videos = task()
        triangle = np.triu_indices(5, 1), np.triu_indices(4, 1), np.triu_indices(20, 1)
        flat = videos.reshape(20, -1)
        expected = [1 - (text @ text.T)[triangle[0]].mean()]
        expected.append(np.mean([1 - (v @ v.T)[triangle[1]].mean() for v in videos]))
        expected.append(1 - (flat @ flat.T)[triangle[2]].mean())
        assert values(pairwise_distance(text, videos)) == pytest.approx(expected)

    @pytest.mark.parametrize("name", ["squbed", "squbed_mle", "kappa"])
    def test_is_the_order_of_s_qubed_at_equal_counts(self, name):
        tasks = [task(seed, spread=s) for seed, s in enumerate(np.linspace(0.1, 0.6, 12))]
        order = np.random.default_rng(0).permutation(12)
        for pick in (
            lambda e, text, videos: terms(e, text, videos).aleatoric,
            lambda e, text, videos: terms(e, None, videos[:1]).epistemic,
        ):
            ranks = [
                np.argsort([pick(e, *tasks[t]) for t in order]) for e in (name, "pairwise_distance")
            ]
            np.testing.assert_array_equal(*ranks)


class TestSemanticEntropy:
    def test_equal_shares_in_another_order_are_tied(self):
        """Six latent prompts of 1 to 6 meanings each, in any order and by any names."""
        rng, found = np.random.default_rng(0), set()
        for _ in range(20):
            counts = rng.permutation(6) + 1
            videos = [np.eye(6)[rng.permutation(6)[np.arange(6) % k]] for k in counts]
            found.add(semantic_entropy(None, videos).epistemic)
        assert len(found) == 1

    def test_by_hand(self):
        a, b = np.eye(2)
        found = semantic_entropy(np.eye(2), np.array([[a, a, b, b], [a, a, a, a]]))
        total = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
        expected = [total - np.log(2) / 2, np.log(2) / 2, total]
        assert values(found) == pytest.approx(expected)

    @pytest.mark.parametrize(("cosine", "entropy"), [(0.901, 0.0), (0.899, np.log(2))])
    def test_a_meaning_ends_at_a_cosine_of_point_nine(self, cosine, entropy):
        pair = np.array([[1.0, 0.0], [cosine, np.sqrt(1 - cosine**2)]])
        found = semantic_entropy(np.eye(3), np.stack([pair] * 3))
        assert values(found) == pytest.approx([0, entropy, entropy], abs=1e-12)

    def test_aleatoric_is_the_mutual_information(self):
        rng = np.random.default_rng(0)
        clusters = rng.integers(3, size=(4, 6))
        joint = np.array([[np.mean(row == c) for c in range(3)] for row in clusters]) / 4
        marginal = joint.sum(axis=0) / 4
        there = joint > 0
        expected = (
            joint[there] * np.log(joint / marginal, where=there, out=joint * 0)[there]
        ).sum()
        found = semantic_entropy(np.eye(4), np.eye(3)[clusters])
        assert found.aleatoric == pytest.approx(expected)


def test_kappa_is_that_of_the_fits():
    text, videos = task()
    expected = [-vmf.fit(text).kappa, -np.mean([vmf.fit(v).kappa for v in videos])]
    expected.append(-vmf.fit(videos.reshape(20, -1)).kappa)
    assert values(kappa(text, videos)) == pytest.approx(expected, rel=1e-12)


class TestKnnEntropy:
    def test_on_the_circle_by_hand(self):
        """Angles 0, .1, .3: nearest .1, .1, .2; a cap is an arc; psi(3) - psi(1) = 3/2."""
        angles = np.array([0.0, 0.1, 0.3])
        text = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        found = knn_entropy(text, np.stack([text] * 3)).aleatoric
        assert found == pytest.approx(1.5 + np.log([0.2, 0.2, 0.4]).mean(), rel=1e-12)

    @pytest.mark.parametrize(("d", "concentration"), [(3, 0.0), (3, 5.0), (6, 10.0)])
    def test_approaches_the_entropy(self, d, concentration):
        x = vmf.sample(d, concentration, 2000, np.random.default_rng(0))
        found = knn_entropy(x, x[None, :10]).aleatoric
        assert found == pytest.approx(vmf.entropy(d, concentration), abs=0.15)

    @pytest.mark.parametrize("where", ["text", "videos"])
    def test_twins_are_finite_and_flagged(self, where):
        text, videos = task()
        rows = text if where == "text" else videos[2]
        rows[1] = rows[0]
        found = knn_entropy(text, videos)
        assert np.isfinite(values(found)).all() and found.degenerate
        assert not knn_entropy(*task()).degenerate
        rows[1] = unit(rows[0] + 1e-9)
        assert values(knn_entropy(text, videos)) == pytest.approx(values(found), rel=1e-8)
