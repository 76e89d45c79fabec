"""The shapes world: its grammar and its renderer."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils.files import seed_of
from squbed_utils.world import render as drawing
from squbed_utils.world.scenes import (
    ATTRIBUTES,
    PHRASINGS,
    complete,
    entails,
    missing,
    parse,
    say,
    vocabulary,
)
from training.tasks import (
    completions,
    entropy,
)

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


def test_seeds_are_names():
    assert seed_of("a", 1) != seed_of("a", 2) != seed_of("a1")
    assert 0 <= seed_of("x") < 2**63
