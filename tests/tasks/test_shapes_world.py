import hashlib

import numpy as np
import pandas as pd
import pytest

from squbed_utils import plain_yaml, video
from squbed_utils.files import ROOT
from squbed_utils.profiles import load
from squbed_utils.roles import World
from squbed_utils.tasks import shapes_world
from squbed_utils.tasks.task import Task
from squbed_utils.world import render, scenes
from training.tasks import task_table


@pytest.fixture
def table():
    return pd.DataFrame(task_table())


def written(table, tmp_path):
    table.to_csv(tmp_path / "tasks.csv", index=False)
    return tmp_path / "tasks.csv"


def test_the_world_has_162_tasks_and_hides_the_truth(table, tmp_path):
    read, truth = shapes_world.read_world(written(table, tmp_path))
    assert len(read) == len(truth) == 162
    assert [task.id for task in read] == list(truth.task) == list(table.task)
    assert read[0].reference == f"references/{read[0].id}.mp4"
    seen = {"id", "dataset", "category", "prompt", "reference", "vagueness_rank", "latent_prompts"}
    assert set(vars(read[0])) == seen
    assert all(task.vagueness_rank is None and task.latent_prompts is None for task in read)
    pd.testing.assert_frame_equal(truth, table[list(truth)], check_dtype=False)
    assert shapes_world.Row.model_fields.keys() == {"line", *table}


def choose(table, tmp_path, **choice):
    read, truth = shapes_world.read_world(written(table, tmp_path))
    kept, kept_truth = shapes_world.select(read, truth, World(path="", **choice))
    assert [task.id for task in kept] == list(kept_truth.task)
    return kept, kept_truth


def test_one_of_each_cell_has_every_level_and_every_category(table, tmp_path):
    kept, truth = choose(table, tmp_path, per_cell=1)
    assert len(kept) == len(truth.groupby(["coverage", "left_out"])) == 15
    assert len({task.category for task in kept}) == 6


def test_more_of_each_cell_than_there_are_is_all(table, tmp_path):
    assert len(choose(table, tmp_path, per_cell=17)[0]) == 162


def test_named_tasks_in_the_order_of_the_table(table, tmp_path):
    kept, _ = choose(table, tmp_path, tasks=["cross-0", "crescent-0"])
    assert [task.id for task in kept] == ["crescent-0", "cross-0"]


def test_categories(table, tmp_path):
    kept, _ = choose(table, tmp_path, categories=["round", "sign"], per_cell=1)
    assert {task.category for task in kept} == {"round", "sign"} and len(kept) == 15


def test_unknown_task_or_category(table, tmp_path):
    with pytest.raises(ValueError, match="unknown task 'x' in the profile; there are: aitch-"):
        choose(table, tmp_path, tasks=["x"])
    with pytest.raises(ValueError, match="unknown category 'flat' in the profile"):
        choose(table, tmp_path, categories=["flat"])


def test_nothing_left(table, tmp_path):
    with pytest.raises(ValueError, match="leaves none of 162; widen it"):
        choose(table, tmp_path, tasks=["cross-0"], categories=["round"])


@pytest.mark.parametrize("id", ["../a", "a/b", "", ".a", "a b", "x" * 101, "a\n"])
def test_an_id_that_is_no_file_name(id):
    with pytest.raises(ValueError, match="cannot name a file"):
        Task(id, "world", "round", "a circle", "")


def test_an_empty_prompt():
    with pytest.raises(ValueError, match="task t has an empty prompt"):
        Task("t", "world", "round", " ", "")


def test_errors_of_the_table(table, tmp_path):
    with pytest.raises(FileNotFoundError, match="no task table .*gone.csv; expected a CSV"):
        shapes_world.read_world(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="lacks the column prompt; lacks the column subject"):
        shapes_world.read_world(written(table.drop(columns=["subject", "prompt"]), tmp_path))
    with pytest.raises(ValueError, match="has no rows"):
        shapes_world.read_world(written(table[:0], tmp_path))
    with pytest.raises(ValueError, match="line 4: task crescent-0 is already in line 2"):
        shapes_world.read_world(written(table.iloc[[0, 1, 0]], tmp_path))
    with pytest.raises(
        ValueError, match="line 2: coverage is 'often'; expected 'common', 'rare' or 'never'"
    ):
        shapes_world.read_world(written(table.assign(coverage="often"), tmp_path))


def test_a_source_of_the_world_renders_its_references(table, tmp_path):
    dataset = World(path=str(written(table, tmp_path)), per_cell=1)
    source = shapes_world.read(dataset)
    assert source.report is None and list(source.truth.task) == [t.id for t in source.tasks]
    row = source.truth.iloc[3]
    source.write_reference(source.tasks[3], tmp_path / "reference.mp4")
    rng = np.random.default_rng(row.reference_seed)
    expected = render.render(scenes.parse(row.reference_scene), rng)
    assert (video.read(tmp_path / "reference.mp4").frames == expected).all()


def test_the_confirmation_archive_follows_from_the_frozen_bars():
    """A bar that changes takes another seed, other tasks and another archive with it."""
    seed = int(hashlib.sha256((ROOT / "data/bars.yaml").read_bytes()).hexdigest()[:8], 16)
    profile = load("world-confirm")
    assert profile.seed == seed
    drawn = pd.DataFrame(task_table(seed=seed))
    shipped = pd.read_csv(ROOT / profile.dataset.path)
    pd.testing.assert_frame_equal(shipped, drawn, check_dtype=False)
    bars = plain_yaml.read(ROOT / "data/bars.yaml", "the bars")
    assert (profile.n, profile.m) == (bars["n"], bars["m"])


def test_another_seed_draws_other_tasks_of_the_same_design(table):
    other = pd.DataFrame(task_table(seed=3))
    assert (other.prompt.isin(table.prompt)).mean() < 0.1
    assert not set(other.reference_seed) & set(table.reference_seed)
    for each in (table, other):
        assert (each.groupby("clips").left_out.mean() == each.left_out.mean()).all()
    assert set(other.task) != set(table.task)
