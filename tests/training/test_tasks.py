"""The tasks of the shapes world: the deal of clips, the table and its truth."""

import csv
import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils.world.scenes import (
    ATTRIBUTES,
    CATEGORIES,
    PHRASINGS,
    TASK_PHRASINGS,
    TRAINING_PHRASINGS,
    entails,
    missing,
    parse,
    say,
)
from training.tasks import (
    COLUMNS,
    LEVELS,
    category_of,
    completions,
    coverage_of,
    deal,
    entropy,
    task_table,
    with_added,
)

WORLD = Path(__file__).parents[2] / "data/world"
scenes = st.fixed_dictionaries({}, optional={a: st.sampled_from(v) for a, v in ATTRIBUTES.items()})


@given(scenes)
def test_entropy_is_the_log_of_the_number_of_completions(scene):
    assert entropy(scene) == pytest.approx(math.log(sum(1 for _ in completions(scene))), abs=1e-12)


def test_no_prompt_of_a_task_is_a_sentence_of_the_training():
    full = parse("a small red circle moving left on a black background")
    partial = [
        {a: full[a] for a in kept} for n in range(6) for kept in itertools.combinations(full, n)
    ]
    training, tasks = (
        {say(scene, PHRASINGS.index(form)) for scene in partial for form in forms}
        for forms in (TRAINING_PHRASINGS, TASK_PHRASINGS)
    )
    assert not training & tasks
    assert {row["prompt"] for row in task_table()}.isdisjoint(training)


def test_a_deal_gives_every_level_one_subject_of_each_category():
    dealt = deal()
    assert dealt == deal() != deal("second")
    assert set(dealt) == set(ATTRIBUTES["shape"]) and len(dealt) == 54
    for category, subjects in CATEGORIES.items():
        assert sorted(dealt[s] for s in subjects) == [0, *LEVELS]
        assert {category_of(s) for s in subjects} == {category}


def test_eight_subjects_that_were_never_shown_are_added():
    dealt = deal()
    changed = {s: (dealt[s], clips) for s, clips in with_added(dealt).items() if clips != dealt[s]}
    assert len(changed) == 8 and set(changed.values()) == {(0, 1024)}


def test_coverage_has_three_names():
    named = [(coverage_of(clips), clips) for clips in LEVELS]
    assert Counter(name for name, _ in named) == {"never": 1, "rare": 4, "common": 3}
    assert named[0] == ("never", 0)


def test_the_task_table_asks_for_every_subject_three_times_and_says_the_truth():
    rows, dealt = list(task_table()), deal()
    assert all(tuple(row) == COLUMNS for row in rows)
    assert len({row["task"] for row in rows}) == len(rows) == 3 * 54
    assert Counter(row["subject"] for row in rows) == dict.fromkeys(ATTRIBUTES["shape"], 3)
    for row in rows:
        scene = parse(row["prompt"])
        assert scene["shape"] == row["subject"]
        assert category_of(row["subject"]) == row["category"]
        assert dealt[row["subject"]] == row["clips"]
        assert coverage_of(row["clips"]) == row["coverage"]
        assert len(missing(scene)) == row["left_out"] == row["vagueness_rank"] - 1
        assert row["true_entropy"] == pytest.approx(entropy(scene), abs=1e-6)
        assert entails(row["reference_scene"], row["prompt"])


def test_true_entropy_and_coverage_are_independent():
    by_level = {clips: Counter() for clips in LEVELS}
    for row in task_table():
        by_level[row["clips"]][row["true_entropy"]] += 1
    assert len({frozenset(entropies) for entropies in by_level.values()}) == 1
    twice = {value: 2 * count for value, count in by_level[4096].items()}
    assert by_level.pop(0) == twice
    assert all(entropies == by_level[4096] for entropies in by_level.values())


@pytest.mark.parametrize("name", ["tasks", "tasks-added"])
def test_the_shipped_table_is_what_the_code_draws(name):
    with (WORLD / f"{name}.csv").open(newline="") as file:
        shipped = list(csv.DictReader(file))
    shown = with_added(deal()) if name == "tasks-added" else None
    assert shipped == [{k: str(v) for k, v in row.items()} for row in task_table(shown)]


def test_tasks_of_another_model_differ_in_coverage_alone():
    truth = ("clips", "coverage")
    first, other = (
        [{k: v for k, v in row.items() if k not in truth} for row in task_table(shown)]
        for shown in (None, with_added(deal()))
    )
    assert first == other
