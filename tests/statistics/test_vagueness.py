"""Vagueness from latent prompts: aspects, what fixing one removes, and what has no value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils.estimators import vmf
from squbed_utils.files import seed_of
from squbed_utils.statistics.vagueness import aspects, describe, question, words_of

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
