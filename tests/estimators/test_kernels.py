"""The estimators on eigenvalues against hand values, literal versions and known states."""

import numpy as np
import pytest
from kit.embeddings import task, values

from squbed_utils.estimators.kernels import (
    conditional_vendi,
    eigenscore,
    graph_laplacian,
    von_neumann,
    von_neumann_jackknife,
)


def entropy(rho):
    eigenvalues = np.linalg.eigvalsh(rho)
    return -sum(x * np.log(x) for x in eigenvalues if x > 1e-14)


class TestVonNeumann:
    def test_two_states_by_hand(self):
        """Two unit vectors with cosine c: eigenvalues (1 +- c) / 2."""
        pair = np.array([[1.0, 0.0], [0.6, 0.8]])
        found = von_neumann(np.eye(3), np.stack([pair] * 3))
        expected = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
        assert values(found) == pytest.approx([0, expected, expected], abs=1e-12)

    def test_agrees_with_a_literal_density_matrix(self):
        text, videos = task()
        ragged = [v[:k] for v, k in zip(videos, (4, 2, 3, 4, 3), strict=True)]
        states = [sum(np.outer(f, f) for f in v) / len(v) for v in ragged]
        total, epistemic = entropy(np.mean(states, axis=0)), np.mean([entropy(s) for s in states])
        found = von_neumann(text, ragged)
        assert values(found) == pytest.approx([total - epistemic, epistemic, total])
        assert found.aleatoric > 0

    def test_saturates_and_the_jackknife_lifts_it(self):
        """Videos drawn evenly from k orthogonal states have the entropy log k."""
        rng = np.random.default_rng(0)
        mean = {}
        for k in (8, 64):
            draws = [np.eye(k)[rng.integers(k, size=(8, 8))] for _ in range(60)]
            for function in (von_neumann, von_neumann_jackknife):
                found = [values(function(np.eye(8), videos)) for videos in draws]
                mean[function, k] = np.mean(found, axis=0)
        plain, lifted = (mean[f, 64] - mean[f, 8] for f in (von_neumann, von_neumann_jackknife))
        for k in (8, 64):
            truth = np.log([k, k])
            plug_in, corrected = mean[von_neumann, k][1:], mean[von_neumann_jackknife, k][1:]
            assert plug_in[0] < np.log(8) and plug_in[1] < np.log(64)
            assert np.all(np.abs(corrected - truth) < 0.75 * np.abs(plug_in - truth))
            assert np.all(plug_in < corrected)
        assert np.all(plain[1:] < lifted[1:]) and np.all(lifted[1:] < np.log(8))

    def test_jackknife_of_two_videos_by_hand(self):
        """One video has no entropy: 2 S - 0; one latent prompt left out of three."""
        pair = np.array([[1.0, 0.0], [0.6, 0.8]])
        s = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
        found = von_neumann_jackknife(np.eye(3), np.stack([pair] * 3))
        assert values(found) == pytest.approx([s - 2 * s, 2 * s, s], abs=1e-12)

    def test_jackknife_agrees_with_a_literal_version(self):
        text, videos = task()

        def total(v):
            flat = v.reshape(-1, v.shape[-1])
            return entropy(flat.T @ flat / len(flat))

        left_out = [total(np.delete(videos, i, axis=0)) for i in range(5)]
        expected = 5 * total(videos) - 4 * np.mean(left_out)
        assert von_neumann_jackknife(text, videos).total == pytest.approx(expected)
        one = [total(np.delete(videos[0], j, axis=0)) for j in range(4)]
        expected = 4 * total(videos[0]) - 3 * np.mean(one)
        assert von_neumann_jackknife(None, videos[:1]).epistemic == pytest.approx(expected)


class TestConditionalVendi:
    def test_agrees_with_the_literal_matrices(self):
        text, videos = task()
        flat, each = videos.reshape(20, -1), np.repeat(text, 4, axis=0)
        k_v, k_z = flat @ flat.T, each @ each.T
        total, of_text = entropy(k_v / 20), entropy(k_z / 20)
        joint = entropy(k_v * k_z / 20)
        expected = [total + of_text - joint, joint - of_text, total]
        assert values(conditional_vendi(text, videos)) == pytest.approx(expected)

    def test_identical_latent_prompts_inform_of_nothing(self):
        text, videos = task()
        found = conditional_vendi(text[[0] * 5], videos)
        assert values(found) == pytest.approx([0, found.total, found.total], abs=1e-12)


class TestEigenScore:
    def test_two_samples_by_hand(self):
        """Components sum to zero, so only the ridge is added: determinant (1+a)^2 - c^2."""
        pair = np.array([[1.0, -1, 0, 0], [1.0, 0, -1, 0]]) / np.sqrt(2)
        found = eigenscore(pair, np.stack([pair] * 2))
        expected = np.log(1.001**2 - 0.25) / 2
        assert found.aleatoric == pytest.approx(expected)
        assert found.epistemic == pytest.approx(expected)

    def test_agrees_with_the_literal_form(self):
        text, videos = task()
        flat = videos.reshape(20, 16)
        centring = np.eye(16) - np.ones((16, 16)) / 16
        determinant = np.linalg.det(flat @ centring @ flat.T + 1e-3 * np.eye(20))
        assert eigenscore(text, videos).total == pytest.approx(np.log(determinant) / 20)


class TestGraphLaplacian:
    def test_two_samples_by_hand(self):
        """W = [[1, c], [c, 1]], D = 1 + c: 1 - lambda = 1 and (1 - c) / (1 + c)."""
        pair = np.array([[1.0, 0.0], [0.6, 0.8]])
        found = graph_laplacian(np.eye(3), np.stack([pair] * 3))
        assert found.epistemic == pytest.approx(1 + 0.4 / 1.6)

    def test_negative_cosines_count_as_none(self):
        pair = np.array([[1.0, 0.0], [-0.6, 0.8]])
        assert graph_laplacian(None, pair[None]).epistemic == pytest.approx(2)

    def test_agrees_with_the_literal_laplacian(self):
        text, videos = task(spread=1.5)
        flat = videos.reshape(20, 16)
        w = np.clip(flat @ flat.T, 0, None)
        root = np.diag(1 / np.sqrt(w.sum(axis=1)))
        eigenvalues = np.linalg.eigvalsh(np.eye(20) - root @ w @ root)
        assert (flat @ flat.T).min() < 0
        expected = np.maximum(0, 1 - eigenvalues).sum()
        assert graph_laplacian(text, videos).total == pytest.approx(expected)
