"""Vagueness from latent prompts: aspects, what fixing one removes, and what has no value."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from squbed_utils.estimators import vmf
from squbed_utils.files import seed_of
from squbed_utils.statistics.vagueness import (
    aspects,
    describe,
    ladder_taus,
    question,
    words_of,
)

COLOURS, PLACES = ("red", "blue", "green", "black"), ("kitchen", "garden")
LATENTS = [
    "A red cat in a kitchen",
    "A blue cat in a garden",
    "a green cat in a kitchen.",
    "There is a cat in a garden, and it is black",
]


def embed(texts):
    """Embed a text as the sum of a direction for each of its words, whatever their order."""
    sums = [
        sum(np.random.default_rng(seed_of(w)).normal(size=64) for w in set(words_of(text)))
        for text in texts
    ]
    return np.stack([x / np.linalg.norm(x) for x in sums])


def test_words_that_stand_for_one_another_are_one_aspect():
    groups = aspects("a cat", LATENTS[:3], embed)
    assert sorted(map(sorted, groups)) == [["blue", "green", "red"], ["garden", "kitchen"]]
    assert groups[1] == ["kitchen", "garden"]  # the most frequent first


def test_words_of_the_prompt_and_words_in_all_latent_prompts_are_no_aspect():
    assert aspects("a red cat", ["a red cat", "a red cat napping"], embed) == [["napping"]]
    assert aspects("a", ["a cat", "the cat", "a cat"], embed) == []


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5), min_size=2))
def test_every_word_is_in_one_aspect_and_no_latent_prompt_has_two_of_one(said):
    latents = [" ".join(f"w{letter}" for letter in letters) for letters in said]
    groups = aspects("x", latents, embed)
    words = [word for group in groups for word in group]
    assert len(words) == len(set(words))
    assert all(len(set(group) & set(words_of(text))) < 2 for group in groups for text in latents)


def test_the_question_is_the_aspect_whose_fixing_removes_most():
    told = describe("a cat", LATENTS[:3], embed)
    colour, place = told["aspects"]
    assert set(colour["words"]) == {"red", "blue", "green"} and 0 < place["removes"]
    fixed = [" ".join(["a red cat in a", p]) for p in ("kitchen", "garden", "kitchen")]
    spreads = [
        3 / 2 * (1 - np.linalg.norm(x.mean(0)) ** 2) for x in map(embed, (fixed, LATENTS[:3]))
    ]
    # of this embedding any colour removes about as much
    assert colour["removes"] == pytest.approx(1 - spreads[0] / spreads[1], abs=0.1)
    assert place["removes"] < colour["removes"] < 1


def test_the_value_is_that_of_the_text_alone():
    told, text = describe("a cat", LATENTS, embed), embed(LATENTS)
    assert told["aleatoric"] == pytest.approx(vmf.entropy(64, vmf.fit(text).kappa))
    assert told["aleatoric_low"] < told["aleatoric"] < told["aleatoric_high"]
    assert told["aleatoric_remark"] == ""


@pytest.mark.parametrize(
    ("latents", "remark"),
    [
        ([], "accepted draws: 0; at least 3 are needed"),
        (LATENTS[:2], "accepted draws: 2; at least 3 are needed"),
        (["a cat"] * 4, "identical latent prompts: set by the cap, not measured"),
    ],
)
def test_what_was_not_measured_has_no_value_and_no_question(latents, remark):
    told = describe("a cat", latents, embed)
    assert told["aleatoric"] is told["aleatoric_low"] is told["aleatoric_high"] is None
    assert (told["aleatoric_remark"], told["aspects"]) == (remark, [])


def test_three_latent_prompts_have_a_value_and_no_interval():
    told = describe("a cat", LATENTS[:3], embed)
    assert told["aleatoric"] is not None and told["aleatoric_low"] is None
    assert told["aleatoric_remark"] == "no interval: 3 distinct latent prompts"


def test_one_word_that_is_there_or_not_is_a_question_too():
    told = describe("a cat", ["a cat", "a cat napping", "a cat"], embed)
    assert told["aspects"][0]["words"] == ["napping"]
    assert 0 < told["aspects"][0]["removes"] < 1


def test_a_question_is_short():
    assert question(list("abcdefgh")) == "a, b, c, d, e, f or another?"


RUNGS = ["an object", "an action", "a sentence"]


def ladder_of(rng, n=10):
    """Return a ladder whose words grow by rung, and latent prompts that add one word each."""
    rows, latents = [], []
    for i in range(3 * n):
        rung, task = i // n, f"t{i:02}"
        prompt = " ".join(["word"] * (1 + 4 * rung + i % 2))
        rows.append({"task": task, "category": RUNGS[rung], "prompt": prompt})
        latents += [
            {"task": task, "prompt": f"{prompt} {w}"} for w in rng.choice(99, 4).astype(str)
        ]
    table = pd.DataFrame(rows).assign(aleatoric=rng.normal(size=3 * n), rank=1)
    return table, pd.DataFrame(latents)


def test_a_ladder_of_length_is_followed_by_words_and_not_by_noise():
    rng = np.random.default_rng(0)
    table, latents = ladder_of(rng)
    found = ladder_taus(table, latents, rungs=RUNGS).set_index("measure")
    rung = table.category.map(RUNGS.index)
    assert found.tau["S-QUBED"] == pytest.approx(kendalltau(table.aleatoric, rung).statistic)
    words = -table.prompt.str.split().str.len()
    assert found.tau["word count"] == pytest.approx(kendalltau(words, rung).statistic)
    assert (found.tau.drop("S-QUBED") < -0.7).all()
    assert found.pvalue["bag of words"] < 1e-4 < 0.05 < found.pvalue["S-QUBED"]
    apart = found.drop("S-QUBED")
    np.testing.assert_allclose(apart.difference, found.tau["S-QUBED"] - apart.tau, atol=1e-12)
    assert (apart.within.abs() < 0.5).all()
    assert ((apart.within_low <= apart.within) & (apart.within <= apart.within_high)).all()
    assert found.loc["S-QUBED", "difference":].isna().all()


def test_within_a_rung_a_measure_agrees_with_itself():
    table, latents = ladder_of(np.random.default_rng(1))
    words = -table.prompt.str.split().str.len()
    found = ladder_taus(table.assign(aleatoric=words.astype(float)), latents, rungs=RUNGS)
    row = found.set_index("measure").loc["word count"]
    assert row.difference == 0 and row.within == pytest.approx(1) and row.difference_pvalue == 1


def test_prompts_without_a_rank_are_left_out_of_a_ladder():
    table, latents = ladder_of(np.random.default_rng(2))
    less = table.assign(**{"rank": [None, *[1] * 29]}, aleatoric=[np.nan, *table.aleatoric[1:]])
    found, rest = (ladder_taus(t, latents, rungs=RUNGS) for t in (less, table[1:]))
    pd.testing.assert_frame_equal(found, rest)
