"""The shapes world: its grammar, its deal, its renderer and its task table."""

import csv
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils.files import seed_of
from squbed_utils.world import render as drawing
from squbed_utils.world.scenes import (
    ATTRIBUTES,
    CATEGORIES,
    PHRASINGS,
    TASK_PHRASINGS,
    TRAINING_PHRASINGS,
    complete,
    entails,
    missing,
    parse,
    say,
    vocabulary,
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
FULL = {
    "size": "small",
    "colour": "red",
    "shape": "circle",
    "motion": "left",
    "background": "black",
}
scenes = st.fixed_dictionaries({}, optional={a: st.sampled_from(v) for a, v in ATTRIBUTES.items()})


@given(scenes, st.integers(0, len(PHRASINGS) - 1))
def test_parse_reads_what_say_says(scene, phrasing):
    assert parse(say(scene, phrasing)) == scene


@given(scenes)
def test_entropy_is_the_log_of_the_number_of_completions(scene):
    assert entropy(scene) == pytest.approx(math.log(sum(1 for _ in completions(scene))), abs=1e-12)


@given(scenes, st.integers(0, 2**32))
def test_a_completion_is_full_and_entails_its_prompt(scene, seed):
    full = complete(scene, np.random.default_rng(seed))
    assert not missing(full)
    assert entails(say(full, 1), say(scene))


def test_entailment_goes_one_way():
    assert entails("a red circle moving left", "a red circle")
    assert not entails("a red circle", "a red circle moving left")
    assert not entails("a blue circle moving left", "a red circle")


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("a red dragon", "no word 'dragon'"),
        ("a red blue circle", "names the colour twice"),
        ("circle red a", "fits no sentence form; one that does: 'a red circle'"),
    ],
)
def test_what_the_grammar_cannot_read_is_named(sentence, message):
    with pytest.raises(ValueError, match=message):
        parse(sentence)


def test_unknown_attributes_and_values_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown attribute 'weight'; known: size"):
        say({"weight": "heavy"})
    with pytest.raises(ValueError, match="unknown colour 'mauve'; known: red"):
        entropy({"colour": "mauve"})


def test_every_word_that_is_said_is_in_the_vocabulary():
    words = {
        w for s in completions({"shape": "fish"}) for p in range(10) for w in say(s, p).split()
    }
    assert words <= set(vocabulary())


def test_no_prompt_of_a_task_is_a_sentence_of_the_training():
    partial = [
        {a: FULL[a] for a in kept} for n in range(6) for kept in itertools.combinations(FULL, n)
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


def test_a_video_has_the_stated_form_and_is_its_seed():
    first, again, other = (drawing.render(FULL, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (9, 32, 32, 3)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()


def centroid(frame: np.ndarray) -> np.ndarray:
    weight = frame.max(-1).astype(float)
    rows, columns = np.indices(weight.shape)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("motion", ATTRIBUTES["motion"])
def test_the_shape_moves_as_it_is_told(motion):
    video = drawing.render(FULL | {"motion": motion}, np.random.default_rng(0))
    moved = centroid(video[-1]) - centroid(video[0])
    expected = 8 * drawing.STEP * np.array(drawing.DIRECTION[motion])
    assert moved == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("shape", ATTRIBUTES["shape"])
def test_no_shape_is_cut_by_the_frame(shape):
    x, y = np.meshgrid(*[np.linspace(-1.4, 1.4, 281)] * 2)
    inside = drawing.SHAPES[shape](x, y)
    assert 0.02 < inside.mean() < 0.6
    # The spark's points are thinner than anything that a pixel shows: a hundredth may stick out.
    extent = max(np.quantile(abs(axis[inside]), 0.99) for axis in (x, y))
    farthest = drawing.RADIUS["large"] * extent
    assert farthest + 4 * drawing.STEP + drawing.DRIFT <= drawing.SIDE / 2


def test_a_circle_covers_its_area_and_its_edge_is_smooth():
    video = drawing.render(FULL | {"motion": "still"}, np.random.default_rng(0))
    alpha = video[0, ..., 0] / (255 * drawing.COLOUR["red"][0])
    assert alpha.sum() == pytest.approx(math.pi * (0.92 * drawing.RADIUS["small"]) ** 2, rel=0.02)
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 10


def test_every_shape_differs_from_every_other_in_the_small_size():
    still = FULL | {"colour": "yellow", "motion": "still"}
    pictures = {
        shape: drawing.render(still | {"shape": shape}, np.random.default_rng(0))[0, ..., 0] / 255
        for shape in ATTRIBUTES["shape"]
    }
    for a, b in itertools.combinations(pictures, 2):
        apart = np.abs(pictures[a] - pictures[b]).sum()
        assert apart > 0.12 * max(pictures[a].sum(), pictures[b].sum()), (a, b)


def test_an_open_scene_cannot_be_drawn():
    with pytest.raises(ValueError, match="size, motion, background left open"):
        drawing.render({"colour": "red", "shape": "circle"}, np.random.default_rng(0))


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


def test_seeds_are_names():
    assert seed_of("a", 1) != seed_of("a", 2) != seed_of("a1")
    assert 0 <= seed_of("x") < 2**63
