"""Texts beyond an encoder's window: counted, cut between words, averaged."""

import numpy as np
import open_clip
import pytest

from squbed_utils.models import encoders
from squbed_utils.models.encoders import WindowedText, counter


def by_words(window, unknown=()):
    """Return an encoder whose tokens are words between two marks; it counts letters."""

    def embed(text):
        assert len(text.split()) + 2 <= window
        return np.bincount([ord(c) % 8 for c in text if not c.isspace()], minlength=8) + 0.0

    words = lambda text: (len(text.split()) + 2, sum(w in unknown for w in text.split()))  # noqa: E731
    return WindowedText(embed, words, window)


def direction(text):
    row = np.bincount([ord(c) % 8 for c in text if not c.isspace()], minlength=8)
    return row / np.linalg.norm(row)


def test_within_the_window_a_text_is_embedded_as_it_is():
    found = by_words(5)(["ab cd ef", "gh"])
    expected = np.stack([direction("ab cd ef"), direction("gh")]).astype(np.float32)
    np.testing.assert_array_equal(found, expected)


def test_of_a_longer_text_the_windows_are_averaged():
    text = "ab cd ef gh"
    encoder = by_words(5)
    assert encoder.windows(text) == ["ab cd ", "ef gh"]
    mean = direction("ab cd") + direction("ef gh")
    np.testing.assert_allclose(encoder([text])[0], mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize(("words", "parts"), [(3, 1), (4, 2), (6, 2), (7, 3), (10, 4)])
def test_windows_are_as_few_as_fit_and_hold_the_whole_text(words, parts):
    text = " ".join(f"w{i}" for i in range(words))
    found = by_words(5).windows(text)
    assert "".join(found) == text and len(found) == parts
    sizes = [len(part.split()) for part in found]
    assert max(sizes) <= 3 and max(sizes) - min(sizes) <= 1


def test_a_word_longer_than_the_window_is_cut_within():
    encoder = WindowedText(lambda text: np.ones(2), lambda text: (len(text), 0), 4)
    assert encoder.windows("猫が庭で寝ています") == ["猫が庭", "で寝て", "います"]


def test_counts_are_those_of_the_tokenizer():
    encoder = by_words(5, unknown=("dog",))
    assert encoder.read("a dog runs far") == {"tokens": 6, "window": 5, "unknown": 1}


@pytest.mark.parametrize("window", [None, 10**30])
def test_without_a_limit_nothing_is_cut(window):
    encoder = WindowedText(lambda text: np.ones(2), lambda text: (len(text), 0), window)
    assert encoder.windows("x" * 9) == ["x" * 9]
    assert encoder.read("xy") == {"tokens": 2, "window": None, "unknown": 0}


def test_an_encoder_that_does_not_count_reads_all():
    assert counter(object()) is None
    encoder = WindowedText(lambda text: np.ones(2), None, 4)
    assert encoder.windows("x" * 9) == ["x" * 9] and encoder.read("x") == {}


@pytest.mark.parametrize(("words", "cut"), [(75, False), (76, True)])
def test_clips_own_tokenizer_is_counted_with_both_ends(words, cut):
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    text = "cat " * words
    assert encoders._counter(tokenizer)(text) == (words + 2, 0)
    last = tokenizer([text])[0, -2], tokenizer([text + "dog"])[0, -2]
    assert (words + 2 > tokenizer.context_length) == cut and last[0] == last[1]


@pytest.mark.parametrize("role", ["text_encoder", "clip"])
def test_texts_that_differ_late_differ_in_their_embedding(tiny_profile, role):
    path = str(tiny_profile.parent / role)
    if role == "clip":
        embed = encoders.load_clip(encoders.roles.Clip(path), "cpu", 1)[1]
    else:
        embed = encoders.load_text_encoder(encoders.roles.TextEncoder(path), "cpu")
    shared = "a small red circle moving left on a black background " * 3
    rows = embed([shared + "a star", shared + "a large house", "a star"])
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    np.testing.assert_array_equal(rows[2:], embed(["a star"]))
    assert embed.read(shared)["tokens"] == 31 and embed.read("a star")["tokens"] == 3
    assert embed.read("a dog runs")["unknown"] == 2
