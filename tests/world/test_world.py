"""The shapes world: its grammar, its renderer, its task table and its training loop."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils.files import seed_of
from squbed_utils.world import render as drawing
from squbed_utils.world.draw import partial, seen_scene
from squbed_utils.world.scenes import (
    ATTRIBUTES,
    CATEGORIES,
    COVERAGE,
    category_of,
    complete,
    completions,
    coverage_of,
    entails,
    entropy,
    missing,
    parse,
    say,
    vocabulary,
)
from squbed_utils.world.tasks import COLUMNS, task_table

FULL = {
    "size": "small",
    "colour": "red",
    "shape": "circle",
    "motion": "left",
    "background": "black",
}
scenes = st.fixed_dictionaries({}, optional={a: st.sampled_from(v) for a, v in ATTRIBUTES.items()})


@given(scenes, st.integers(0, 2))
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
    words = {w for s in completions({"shape": "fish"}) for p in range(3) for w in say(s, p).split()}
    assert words <= set(vocabulary())


def test_every_shape_has_one_category_and_one_coverage():
    pairs = [(category_of(s), coverage_of(s)) for s in ATTRIBUTES["shape"]]
    assert sorted(pairs) == sorted((c, level) for c in CATEGORIES for level in COVERAGE)


def test_seen_scenes_follow_the_stated_coverage():
    rng = np.random.default_rng(0)
    levels = [coverage_of(seen_scene(rng)["shape"]) for _ in range(4000)]
    assert "never" not in levels
    assert levels.count("rare") / 4000 == pytest.approx(5 * COVERAGE["rare"], abs=0.012)


def test_leaving_out_keeps_a_part_of_the_scene():
    assert partial(FULL, np.random.default_rng(1)).items() <= FULL.items()


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
@pytest.mark.parametrize("motion", ["left", "down"])
def test_no_shape_is_cut_by_the_frame(shape, motion):
    scene = FULL | {"shape": shape, "motion": motion, "size": "large"}
    masses = []
    for seed in range(4):
        video = drawing.render(scene, np.random.default_rng(seed)).astype(float)
        masses.append(video.sum((1, 2, 3)))
    assert np.ptp(masses) / np.mean(masses) < 0.12


def test_a_circle_covers_its_area_and_its_edge_is_smooth():
    video = drawing.render(FULL | {"motion": "still"}, np.random.default_rng(0))
    alpha = video[0, ..., 0] / (255 * drawing.COLOUR["red"][0])
    assert alpha.sum() == pytest.approx(math.pi * (0.92 * drawing.RADIUS["small"]) ** 2, rel=0.02)
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 10


def test_shapes_differ_from_one_another():
    videos = [
        drawing.render(FULL | {"shape": s, "size": "large"}, np.random.default_rng(0)).astype(float)
        for s in ATTRIBUTES["shape"]
    ]
    distances = [np.abs(a - b).mean() for i, a in enumerate(videos) for b in videos[:i]]
    assert min(distances) > 1


def test_an_open_scene_cannot_be_drawn():
    with pytest.raises(ValueError, match="size, motion, background left open"):
        drawing.render({"colour": "red", "shape": "circle"}, np.random.default_rng(0))


def test_the_task_table_is_factorial_and_says_the_truth():
    rows = list(task_table())
    assert all(tuple(row) == COLUMNS for row in rows)
    cells = {(r["coverage"], r["left_out"], r["category"]) for r in rows}
    assert len(rows) == 2 * len(cells) == 2 * 3 * 5 * 5
    assert len({r["task"] for r in rows}) == 150
    for row in rows:
        scene = parse(row["prompt"])
        assert scene["shape"] == row["subject"]
        assert coverage_of(row["subject"]) == row["coverage"]
        assert len(missing(scene)) == row["left_out"]
        assert row["true_entropy"] == pytest.approx(entropy(scene), abs=1e-6)
        assert entails(row["reference_scene"], row["prompt"])


def test_true_entropy_and_coverage_are_independent():
    by_level = {level: [] for level in COVERAGE}
    for row in task_table():
        by_level[row["coverage"]].append(row["true_entropy"])
    assert by_level["common"] == by_level["rare"] == by_level["never"]


def test_the_shipped_table_is_what_the_code_draws():
    path = Path(__file__).parents[2] / "data/world/tasks.csv"
    with path.open(newline="") as file:
        shipped = list(csv.DictReader(file))
    assert shipped == [{k: str(v) for k, v in row.items()} for row in task_table()]


def test_seeds_are_names():
    assert seed_of("a", 1) != seed_of("a", 2) != seed_of("a1")
    assert 0 <= seed_of("x") < 2**63


def test_training_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from training.first import loop

    monkeypatch.setattr(loop, "SAVE_EVERY", 5)

    def run(folder, fail_at=None):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        seen = []

        def loss(rng):
            seen.append(1)
            if len(seen) == fail_at:
                raise KeyboardInterrupt
            x = torch.from_numpy(rng.standard_normal((8, 3))).float()
            return (model(x) - x.sum(1, keepdim=True) + torch.randn(8, 1)).square().mean()

        loop.train("toy", model, loss, steps=20, learning_rate=0.1, folder=folder)
        return model.weight.detach().clone(), len(seen)

    whole, steps = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", fail_at=13)
    resumed, rest = run(tmp_path / "cut")
    assert (steps, rest) == (20, 10)
    assert torch.equal(whole, resumed)
