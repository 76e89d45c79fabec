"""Pooling of tasks by a Gaussian process: a hand value, its limits, and a slow literal version."""

import numpy as np
import pandas as pd
import pytest
from kit import small_archive as kit_small
from kit.embeddings import unit
from scipy.stats import kendalltau, multivariate_normal

from squbed_utils.statistics import pooled
from squbed_utils.statistics.pooled import Prior, fit, pool
from squbed_utils.statistics.summary import summarize


def archive(seed, *, subjects, each, n=4, told=True):
    """Return text, true level, h and task of tasks whose words tell their subject, or nothing."""
    rng = np.random.default_rng(seed)
    tasks = subjects * each
    subject, task = np.repeat(np.arange(subjects), each), np.repeat(np.arange(tasks), n)
    words = unit(rng.normal(size=(subjects, 32)))[subject] + 0.3 * unit(
        rng.normal(size=(tasks, 32))
    )
    text = words[task] + 0.3 * unit(rng.normal(size=(tasks * n, 32)))
    level = rng.normal(size=tasks) if not told else rng.normal(size=subjects)[subject]
    return text, level, level[task] + 1.5 * rng.normal(size=tasks * n), task


def test_without_likeness_a_task_is_shrunk_as_by_hand():
    """Of words that tell nothing, u ~ N(0, b s^2) and e ~ N(0, c s^2): the textbook shrinkage."""
    text = np.eye(12)
    h, task = np.repeat([1.0, 5.0, 9.0], 4) + np.tile([-1, 1], 6), np.repeat(np.arange(3), 4)
    prior = Prior(length=0.05, task=2.0, noise=3.0)  # so short that f is noise of variance 1
    found = pool(text, h, np.full(12, 2), task, prior=prior)
    kept = 2 / (2 + (1 + 3) / 4)  # variance of a task's u over that of its mean
    own = (1 / 4) / (2 + (1 + 3) / 4)  # f of its own four, which is part of the value
    assert found.value == pytest.approx(5 + (kept + own) * np.array([-4, 0, 4]))


def test_the_likelihood_is_that_of_the_model():
    """The loss differs from a literal restricted log-likelihood by a constant alone."""
    text, _, h, task = archive(0, subjects=3, each=2)
    m = np.array([2, 3, 4, 5] * 6)
    losses, literal = [], []
    for prior in (Prior(0.5, 0.1, 1.0), Prior(1.5, 1.0, 0.3)):
        solved = pooled._Solved(prior, unit(text), h, 1 / (m - 1), task)
        losses.append(solved.loss)
        near = np.square(unit(text)[:, None] - unit(text)).sum(-1)
        covariance = np.exp(-near / (2 * prior.length**2))
        covariance += prior.task * (task[:, None] == task) + np.diag(prior.noise / (m - 1))
        free = np.linalg.svd(np.ones((1, 24)))[2][1:]  # contrasts, that no mean moves
        scale = (free @ h) @ np.linalg.solve(free @ covariance @ free.T, free @ h) / 23
        normal = multivariate_normal(cov=scale * free @ covariance @ free.T)
        literal.append(-normal.logpdf(free @ h))
        assert solved.scale == pytest.approx(scale)
    assert np.subtract(*losses) == pytest.approx(np.subtract(*literal), abs=1e-5)


def test_tasks_learn_from_one_another_where_words_tell():
    gains = []
    for seed in range(4):
        text, level, h, task = archive(seed, subjects=8, each=5)
        found = pool(text, h, np.full(h.size, 3), task)
        plain = h.reshape(-1, 4).mean(axis=1)
        gains.append(kendalltau(found.value, level)[0] - kendalltau(plain, level)[0])
        assert ((found.low < found.value) & (found.value < found.high)).all()
    assert np.mean(gains) > 0.05


def test_where_no_subject_recurs_the_plain_order_stays():
    text, level, h, task = archive(0, subjects=40, each=1, told=False)
    found, plain = pool(text, h, np.full(h.size, 3), task), h.reshape(-1, 4).mean(axis=1)
    assert kendalltau(found.value, plain)[0] > 0.9


def test_fewer_videos_count_for_less_and_none_for_nothing():
    text, _, h, task = archive(1, subjects=6, each=3)
    many = np.full(h.size, 4)
    prior = fit(text, h, many, task)
    whole = pool(text, h, many, task, prior=prior)
    few = pool(text, h, np.where(task == 0, 2, many), task, prior=prior)
    assert few.high[0] - few.low[0] > whole.high[0] - whole.low[0]
    none = np.where(task == 0, 1, many)
    unread = pool(text, np.where(task == 0, np.nan, h), none, task, prior=prior)
    assert unread.value[0] == pool(text, h, none, task, prior=prior).value[0]
    assert np.isfinite(unread.value).all() and unread.high[0] > few.high[0]


def test_tasks_keep_their_order_and_rows_may_come_in_any():
    text, _, h, task = archive(2, subjects=4, each=2)
    prior, names = Prior(0.7, 0.1, 1.0), np.array([f"t{9 - i}" for i in task])
    found = pool(text, h, np.full(h.size, 3), names, prior=prior).value
    order = np.random.default_rng(0).permutation(h.size)
    mixed = pool(text[order], h[order], np.full(h.size, 3), names[order], prior=prior).value
    first = list(dict.fromkeys(names[order]))
    expected = dict(zip(dict.fromkeys(names), found, strict=True))
    assert mixed == pytest.approx([expected[name] for name in first])


def test_what_cannot_be_pooled_is_refused():
    text, _, h, task = archive(0, subjects=3, each=1)
    with pytest.raises(ValueError, match="12 texts, 11 entropies, 12 counts and 12 tasks; expect"):
        pool(text, h[1:], np.full(12, 2), task)
    with pytest.raises(ValueError, match="0 latent prompts have two videos; pooling needs 3"):
        pool(text, h, np.ones(12), task)
    h[3] = np.inf
    with pytest.raises(ValueError, match=r"entropy h at index \(3,\) is inf; expected a finite"):
        pool(text, h, np.full(12, 2), task)


def test_the_pooled_value_stands_beside_the_plain_one(tmp_path):
    archive = kit_small.make(tmp_path / "a", {f"t{i}": f"prompt {i}" for i in range(9)})
    summary = summarize(archive)
    table = pooled.beside(archive, summary)
    assert list(table.task) == list(summary.task)
    assert table.epistemic.tolist() == summary.epistemic.tolist()
    assert (table.pooled_low < table.pooled).all() and (table.pooled < table.pooled_high).all()
    assert isinstance(table, pd.DataFrame) and table.pooled.between(-100, 100).all()
