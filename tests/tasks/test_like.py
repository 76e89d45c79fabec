"""An archive's own tasks, latent prompts and seeds, asked of another video model."""

import shutil
from dataclasses import asdict

import pandas as pd
import pytest
from kit import small_archive, tiny

from squbed_utils import cli, collect, open_archive, profiles
from squbed_utils.archive.archive import Archive
from squbed_utils.models import load
from squbed_utils.tasks import like


@pytest.fixture(scope="module")
def profile(tiny_profile, tmp_path_factory):
    """Return the tiny profile with a video model of one step, and a refiner that is not there."""
    settings = profiles.load(tiny_profile)
    model = vars(settings.video_model) | {"steps": 1}
    refiner = vars(settings.refiner) | {"path": "nowhere"}
    return profiles.replaced(settings, name="fewer", video_model=model, refiner=refiner, seed=9)


@pytest.fixture(scope="module")
def fewer(profile, tiny_archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("like") / "fewer"
    return collect(profile, like=tiny_archive, output=folder)


def test_the_same_model_makes_the_same_archive_without_a_language_model(
    tiny_profile, tiny_archive, tmp_path, monkeypatch
):
    monkeypatch.setattr(load, "load_language", None)
    again = collect(tiny_profile, like=tiny_archive, output=tmp_path / "again")
    first = open_archive(tiny_archive)
    drawn = ["task", "latent", "prompt"]
    assert again.latents()[drawn].equals(first.latents()[drawn])
    assert (again.videos().seed == first.videos().seed).all()
    for path in (*first.videos().path, *first.tasks().reference):
        assert again.inside(path).read_bytes() == first.inside(path).read_bytes()
    assert again.tasks().equals(first.tasks()) and again.truth().equals(first.truth())
    assert again.profile["refiner"] is None


def test_another_model_has_other_videos_of_the_same_latent_prompts(fewer, tiny_archive):
    first = open_archive(tiny_archive)
    assert (fewer.latents().prompt == first.latents().prompt).all()
    assert (fewer.videos().seed == first.videos().seed).all()
    assert fewer.profile["seed"] == first.profile["seed"] != 9
    pairs = [(first.inside(p), fewer.inside(p)) for p in first.videos().path]
    assert all(one.read_bytes() != other.read_bytes() for one, other in pairs)


def test_it_is_finished_and_goes_on_from_its_recorded_profile(fewer, profile, tiny_archive):
    sums = fewer.sealed
    assert collect(profile, like=tiny_archive, output=fewer.folder).sealed == sums
    shard = fewer.shard(tiny.TASKS[0], 0)
    before = shard.read_bytes()
    shard.unlink()
    with pytest.raises(ValueError, match=r"--like .*tiny.* --output .*fewer"):
        open_archive(fewer.folder)
    collect(profile, like=tiny_archive, output=fewer.folder)
    assert shard.read_bytes() == before


def test_the_archive_is_read_once_until_it_changes(profile, tiny_archive, tmp_path, monkeypatch):
    read, latents = [], Archive.latents
    monkeypatch.setattr(
        Archive, "latents", lambda self, **options: read.append(self) or latents(self, **options)
    )
    folder = shutil.copytree(tiny_archive, tmp_path / "tiny")
    asked = like.instead(profile, folder)
    whole = like.read(asked.dataset)
    assert len(like.read(asked.dataset).tasks) == 4 and len(read) == 1
    assert open_archive(folder).tasks().task.tolist() == [task.id for task in whole.tasks]
    archive = Archive(folder)
    archive.write_tasks(whole.tasks[:3], whole.truth)
    for latent in range(3):
        archive.shard(tiny.TASKS[3], latent).unlink()
        archive.shard(tiny.TASKS[3], latent).with_suffix(".sha256").unlink()
    archive.seal()
    assert len(like.read(asked.dataset).tasks) == 3 and len(read) == 2


def test_what_cannot_be_like_is_refused(profile, tiny_archive, tmp_path):
    with pytest.raises(FileNotFoundError, match="no samples archive"):
        collect(profile, like=tmp_path / "none", output=tmp_path / "b")
    with pytest.raises(ValueError, match="at most one"):
        collect(profile, like=tiny_archive, prompts="vbench", output=tmp_path / "b")
    unsealed = small_archive.make(tmp_path / "unsealed", {"t0": "a cat"})
    with pytest.raises(ValueError, match="is not sealed"):
        like.instead(profile, unsealed.folder)
    without = small_archive.make(tmp_path / "without", {"t0": "a cat"}, text=False)
    without.seal()
    with pytest.raises(ValueError, match="does not know the latent prompts"):
        like.instead(profile, without.folder)
    assert not (tmp_path / "b").exists()


def test_no_profile_lacks_a_refiner_otherwise(tiny_profile):
    with pytest.raises(ValueError, match="refiner is the language model"):
        profiles.replaced(profiles.load(tiny_profile), refiner=None)


def test_the_two_archives_are_compared(fewer, tiny_archive, tmp_path, capsys):
    line = ["compare", str(tiny_archive), str(fewer.folder), "--output", str(tmp_path)]
    assert cli.main(line) == 0
    told = capsys.readouterr().out
    assert "4 tasks; first:" in told and "squbed explore" in told and "nan" not in told.lower()
    table = pd.read_csv(tmp_path / "data" / "compare.csv").set_index(["panel", "quantity"])
    tasks = pd.read_csv(tmp_path / "data" / "compare_tasks.csv")
    assert (tasks.aleatoric_first == tasks.aleatoric_second).all()
    change = (tasks.epistemic_second - tasks.epistemic_first).groupby(tasks.subject).mean()
    assert table.value["mean", "epistemic"] == pytest.approx(change.mean(), abs=1e-3)
    assert (tmp_path / "compare.png").stat().st_size
    assert cli.main(["compare", str(tiny_archive), str(tmp_path / "none")]) == 2


def test_a_damaged_one_is_repaired_like_the_same_archive(
    fewer, profile, tiny_profile, tiny_archive, tmp_path, capsys
):
    model = {**asdict(profile.video_model), "options": dict(profile.video_model.options)}
    path = tiny.write_profile(tiny_profile.parent, tmp_path / "fewer.yaml", video_model=model)
    path.write_text(path.read_text().replace("world-tiny", "fewer", 1))
    folder = shutil.copytree(fewer.folder, tmp_path / "copy")
    shard = open_archive(folder).shard(tiny.TASKS[0], 0)
    before = shard.read_bytes()
    shard.unlink()
    line = ["verify", str(folder), "--repair", "--profile", str(path)]
    assert cli.main(line) == 2 and "--like ARCHIVE`" in capsys.readouterr().err
    assert cli.main([*line, "--like", str(tiny_archive)]) == 0
    assert shard.read_bytes() == before
