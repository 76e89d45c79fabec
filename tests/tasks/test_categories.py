import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils.tasks import captioned
from squbed_utils.tasks.captioned import CATEGORIES, fill_evenly, label_all

COUNTS = st.dictionaries(st.sampled_from(CATEGORIES), st.integers(0, 30))


def taken_from(available, count):
    queues = {name: range(n) for name, n in available.items()}
    items = list(fill_evenly(queues, count))
    return {name: [i for n, i in items if n == name] for name in available}


@given(COUNTS, st.integers(0, 120))
def test_filling_is_as_even_as_can_be(available, count):
    taken = taken_from(available, count)
    sizes = {name: len(items) for name, items in taken.items()}
    assert sum(sizes.values()) == min(count, sum(available.values()))
    for name, items in taken.items():
        assert items == list(range(len(items))) and sizes[name] <= available[name]
    for a, b in itertools.permutations(sizes, 2):
        assert sizes[a] >= sizes[b] - 1 or sizes[a] == available[a]


@given(COUNTS, st.integers(0, 120))
def test_no_other_choice_has_a_larger_smallest_share(available, count):
    """Sorted shares are those of raising one level for all, which is known to be fairest."""
    sizes = sorted(map(len, taken_from(available, count).values()))
    left, level = min(count, sum(available.values())), 0
    while left >= (open_ := sum(n > level for n in available.values())) > 0:
        left, level = left - open_, level + 1
    whole = sorted(min(n, level) for n in available.values())
    assert sum(sizes) - sum(whole) == left
    assert all(a <= b <= a + 1 for a, b in zip(whole, sizes, strict=True))


def test_filling_by_hand():
    available = {"animals": 50, "food": 10, "games": 0, "people": 500, "other": 500}
    sizes = {name: len(items) for name, items in taken_from(available, 200).items()}
    assert sizes == {"animals": 50, "food": 10, "games": 0, "people": 70, "other": 70}


def test_queues_are_read_no_further_than_needed():
    read = []
    queue = (read.append(i) or i for i in range(100))
    assert list(fill_evenly({"a": queue, "b": []}, 3)) == [("a", 0), ("a", 1), ("a", 2)]
    assert read == [0, 1, 2]


class Counting:
    """A labelling function that remembers what it was asked, and can break off."""

    def __init__(self, last=10**9):
        self.asked, self.last = [], last

    def __call__(self, captions):
        if len(self.asked) + len(captions) > self.last:
            raise RuntimeError("out of credit")
        self.asked += captions
        return ["food" if caption.endswith("0") else "other" for caption in captions]


def test_after_an_interruption_nothing_is_asked_twice(tmp_path):
    captions, whole = [f"caption {i}" for i in range(50)], Counting()
    expected = label_all(captions, whole, tmp_path / "whole.json", asked="x")
    first, second = Counting(last=45), Counting()
    with pytest.raises(RuntimeError, match="out of credit"):
        label_all(captions, first, tmp_path / "cut.json", asked="x")
    assert label_all(captions, second, tmp_path / "cut.json", asked="x") == expected
    assert first.asked + second.asked == whole.asked == captions
    assert len(first.asked) == 2 * captioned.BATCH
    assert (tmp_path / "cut.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_equal_captions_are_asked_once(tmp_path):
    label = Counting()
    assert label_all(["a0", "b", "a0"], label, tmp_path / "x", asked="") == {
        "a0": "food",
        "b": "other",
    }
    assert label.asked == ["a0", "b"]


def test_answers_to_another_question_are_not_used(tmp_path):
    label = Counting()
    label_all(["a", "b"], label, tmp_path / "x", asked="one")
    label_all(["a"], label, tmp_path / "x", asked="two")
    assert label.asked == ["a", "b", "a"]
    assert json.loads((tmp_path / "x").read_text()) == {"asked": "two", "labels": {"a": "other"}}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["cats", "food"],
            "returned 'cats'; expected animals, food, games, people, other, unclear",
        ),
        (["food"], "returned 1 labels for 2"),
    ],
)
def test_labels_that_are_none(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message):
        label_all(["a", "b"], lambda captions: labels, tmp_path / "x", asked="")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"asked": "", "labels": ["food"]}',
        '{"asked": "", "labels": {"a": "x"}}',
        "[" * 10**5,
    ],
)
def test_a_damaged_cache(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ValueError, match="labels.json is damaged; delete it, and captions are"):
        label_all(["a"], Counting(), tmp_path / "labels.json", asked="")
