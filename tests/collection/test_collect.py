"""Collection: every byte the same, whatever the interruption; nothing lost, nothing mixed."""

import fcntl
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kit import tiny
from kit.collecting import contents, interrupt

from squbed_utils import cli, profiles, video
from squbed_utils.archive import archive as samples
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.verify import verify
from squbed_utils.collection import latent as unit
from squbed_utils.collection.collect import collect
from squbed_utils.collection.existing import score
from squbed_utils.commands import answer
from squbed_utils.commands.notebooks import run_all
from squbed_utils.estimators.estimate import estimate
from squbed_utils.files import seed_of
from squbed_utils.models import accuracy
from squbed_utils.models import load as models
from squbed_utils.statistics import tables
from squbed_utils.statistics.summary import TERMS, as_text, score_tasks, summarize
from squbed_utils.tasks import like
from squbed_utils.world import render, scenes

UNITS = len(tiny.TASKS) * tiny.N


@pytest.fixture
def copy(tiny_archive, tmp_path):
    return shutil.copytree(tiny_archive, tmp_path / "world-tiny")


@pytest.fixture
def made(monkeypatch):
    """Units made from now on."""
    units, make = [], unit.make

    def record(bench, task, latent):
        units.append((task.id, latent))
        make(bench, task, latent)

    monkeypatch.setattr(unit, "make", record)
    return units


def test_the_archive_has_every_file_and_no_other(tiny_archive):
    expected = {".lock", "profile.yaml", "tasks.parquet", "truth.parquet", "archive.sha256"}
    for task in tiny.TASKS:
        expected.add(f"references/{task}.mp4")
        for latent in range(tiny.N):
            expected |= {f"shards/{task}/{latent}{kind}" for kind in (".parquet", ".sha256")}
            expected |= {f"videos/{task}/{latent}_{s}.mp4" for s in range(tiny.M)}
    assert set(contents(tiny_archive)) == expected


def test_killed_and_resumed_is_the_same_byte_for_byte(tiny_profile, tiny_archive, tmp_path, made):
    folder = tmp_path / "world-tiny"
    process, _ = interrupt(tiny_profile, folder, lambda process: process.kill())
    assert process.returncode == -signal.SIGKILL
    before = {p: p.stat().st_mtime_ns for p in folder.glob("shards/*/*.parquet")}
    assert 2 <= len(before) < UNITS
    (folder / "videos" / ".0_0.mp4.1.partial").write_text("what a crash leaves")
    collect(tiny_profile, output=folder)
    assert contents(folder) == contents(tiny_archive)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(made) == UNITS - len(before)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_leaves_a_clean_archive_and_says_how_to_go_on(
    tiny_profile, tiny_archive, tmp_path, workers
):
    folder = tmp_path / "world-tiny"
    process, errors = interrupt(
        tiny_profile,
        folder,
        lambda process: os.killpg(process.pid, signal.SIGINT),
        *("--workers", workers),
    )
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "squbed: interrupted; run the same command again to go on"
    assert "Traceback" not in errors
    assert not list(folder.rglob("*.partial"))
    collect(tiny_profile, output=folder)
    assert contents(folder) == contents(tiny_archive)


@pytest.mark.slow
def test_workers_change_no_byte_and_end_with_their_parent(tiny_profile, tiny_archive, tmp_path):
    folder = tmp_path / "world-tiny"
    process, _ = interrupt(tiny_profile, folder, lambda p: p.kill(), "--workers", "2", after=1)
    collect(tiny_profile, output=folder, workers=2)
    assert contents(folder) == contents(tiny_archive)


def test_a_finished_archive_is_left_alone(tiny_profile, copy, made, monkeypatch):
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("models were loaded"))
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.name != ".lock"}
    collect(tiny_profile, output=copy)
    assert made == []
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_only_what_is_missing_or_damaged_is_made_again(tiny_profile, tiny_archive, copy, made):
    archive = Archive(copy)
    archive.shard("never-0-sign", 1).unlink()
    (copy / "videos/common-0-round/2_0.mp4").unlink()
    (copy / "references/common-0-round.mp4").unlink()
    collect(tiny_profile, output=copy)
    assert made == [("common-0-round", 2), ("never-0-sign", 1)]
    assert contents(copy) == contents(tiny_archive)


def test_numbers_are_those_of_the_stored_videos(tiny_profile, tiny_archive):
    archive, loaded = Archive(tiny_archive), models.load(profiles.load(tiny_profile))
    row = archive.videos().iloc[4]
    stored, reference = archive.read_video(row.path), archive.reference(row.task)
    frames, target = loaded.clip_images(list(stored)), loaded.clip_images(list(reference))
    prompt = archive.tasks().set_index("task").prompt[row.task]
    close = {"rel": 1e-5}
    assert row.ssim == accuracy.ssim(stored, reference)
    assert row.psnr == accuracy.psnr(stored, reference)
    lpips = loaded.lpips(list(stored), list(reference)).mean()
    assert row.lpips == pytest.approx(lpips, **close)
    assert row.clip_reference == pytest.approx((frames * target).sum(1).mean(), **close)
    prompt_embedding = loaded.clip_texts([prompt])[0]
    assert row.clip_prompt == pytest.approx((frames @ prompt_embedding).mean(), **close)
    np.testing.assert_allclose(row.embedding, loaded.embed_videos([stored])[0], atol=1e-6)
    clip = archive.rows(row.task, row.latent)[row["sample"]]
    np.testing.assert_allclose(clip["clip_embedding"], frames.mean(0), atol=1e-6)
    np.testing.assert_allclose(clip["clip_reference_embedding"], target.mean(0), atol=1e-6)
    rows = [r for z in range(tiny.N) for r in archive.rows(row.task, z)]
    of_task, means = [r["clip_embedding"] for r in rows], archive.clip_means().loc[row.task]
    np.testing.assert_array_equal(means.video, np.mean(of_task, axis=0))
    np.testing.assert_array_equal(means.reference, clip["clip_reference_embedding"])


@pytest.fixture
def one_thread():
    """As collection runs: with more threads, sums come out in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_video_is_what_its_seed_and_latent_prompt_give(tiny_profile, tiny_archive, one_thread):
    archive, loaded = Archive(tiny_archive), models.load(profiles.load(tiny_profile))
    row = archive.videos().query("sample == 2").iloc[2]  # the first of its batch
    assert row.seed == seed_of(0, row.task, row.latent, row["sample"])
    latent = archive.latents().set_index(["task", "latent"]).loc[(row.task, row.latent)]
    (made,) = loaded.generate([latent.prompt], [row.seed])
    assert (made.frames == archive.read_video(row.path)).all()
    np.testing.assert_allclose(latent.embedding, loaded.embed_text([latent.prompt])[0])


def test_references_are_the_scenes_of_the_task_table(tiny_archive):
    archive = Archive(tiny_archive)
    prompts = archive.tasks().set_index("task").prompt
    for row in archive.truth().itertuples():
        scene, rng = scenes.parse(row.reference_scene), np.random.default_rng(row.reference_seed)
        assert (archive.reference(row.task) == render.render(scene, rng)).all()
        assert scenes.entails(row.reference_scene, prompts[row.task])


def refusing(monkeypatch, refuse):
    """Let the video model refuse some (prompt, seed)."""
    load = models.load

    def load_refusing(profile, folder):
        loaded = load(profile, folder)
        generate = loaded.generate

        def generate_or_refuse(prompts, seeds):
            refused = RuntimeError("no video of it")
            made = zip(seeds, generate(prompts, seeds), strict=True)
            return [refused if refuse(seed) else video for seed, video in made]

        return models.Models(**vars(loaded) | {"generate": generate_or_refuse})

    monkeypatch.setattr(models, "load", load_refusing)


def test_a_failed_video_is_a_row_and_the_others_are_as_ever(
    tiny_profile, tiny_archive, copy, monkeypatch
):
    seed = seed_of(0, "never-0-sign", 1, 2)
    Archive(copy).shard("never-0-sign", 1).unlink()
    (copy / "videos/never-0-sign/1_2.mp4").unlink()
    with monkeypatch.context() as patch:
        refusing(patch, lambda s: s == seed)
        archive = collect(tiny_profile, output=copy)
    rows = archive.videos()
    failed = rows[rows.status == "failed"]
    assert failed.seed.tolist() == [seed]
    assert failed.error.iloc[0].startswith("RuntimeError: no video of ")
    others = rows.drop(failed.index).drop(columns="embedding").reset_index(drop=True)
    whole = Archive(tiny_archive).videos().drop(failed.index).drop(columns="embedding")
    pd.testing.assert_frame_equal(others, whole.reset_index(drop=True), check_exact=True)
    collect(tiny_profile, output=copy)
    assert (Archive(copy).videos().status == "failed").sum() == 1
    collect(tiny_profile, output=copy, retry_failed=True)
    assert contents(copy) == contents(tiny_archive)


def test_a_latent_prompt_without_any_video_is_kept(tiny_profile, copy, monkeypatch):
    for folder in ("shards", "videos"):
        shutil.rmtree(copy / folder / "never-0-sign")
    refusing(monkeypatch, lambda seed: True)
    archive = collect(tiny_profile, output=copy)
    assert len(archive.latents()) == UNITS
    assert (archive.videos().status == "failed").sum() == tiny.N * tiny.M


def test_another_profile_is_refused_with_what_differs(tiny_profile, copy, tmp_path):
    changed = tiny.write_profile(tiny_profile.parent, tmp_path / "changed.yaml", seed=3, m=4)
    expected = "made by another profile: m is 3 there and 4 here; seed is 0 there and 3 here.*dele"
    with pytest.raises(ValueError, match=expected):
        collect(changed, output=copy)


def test_another_checkpoint_is_refused(tiny_profile, copy):
    profile = yaml.safe_load((copy / "profile.yaml").read_text())
    profile["checkpoints"]["clip"] = "0" * 64
    (copy / "profile.yaml").write_text(yaml.safe_dump(profile))
    Archive(copy).shard("never-0-sign", 1).unlink()
    with pytest.raises(ValueError, match="checkpoints.clip is 000000000000... there and "):
        collect(tiny_profile, output=copy)


def test_the_estimator_may_change(tiny_profile, copy, tmp_path, made):
    changed = tiny.write_profile(tiny_profile.parent, tmp_path / "a.yaml", estimator="squbed_mle")
    assert collect(changed, output=copy).profile["estimator"] == "squbed_mle"
    assert made == []


def test_other_versions_are_told_of_when_something_is_left_to_do(tiny_profile, copy, capsys):
    (copy / "archive.sha256").unlink()
    profile = yaml.safe_load((copy / "profile.yaml").read_text())
    profile["versions"]["torch"] = "1.0"
    (copy / "profile.yaml").write_text(yaml.safe_dump(profile))
    collect(tiny_profile, output=copy)
    assert "warning" not in capsys.readouterr().err
    Archive(copy).shard("never-0-sign", 1).unlink()
    collect(tiny_profile, output=copy)
    assert "was begun with other versions (torch is 1.0 there and " in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(tiny_profile, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds 'thesis.tex' and is no archive"):
        collect(tiny_profile, output=tmp_path)


def test_samples_without_a_profile_are_no_other_profiles(tiny_profile, copy, tmp_path):
    """Else what one profile made is recorded as another's."""
    (copy / "profile.yaml").unlink()
    other = tiny.write_profile(tiny_profile.parent, tmp_path / "other.yaml", seed=1)
    with pytest.raises(ValueError, match="holds shards, and no profile.yaml that says what made"):
        collect(other, output=copy)
    shutil.rmtree(copy / "shards")
    with pytest.raises(ValueError, match="holds videos, and no profile.yaml"):
        collect(other, output=copy)


def test_a_reference_of_a_run_that_had_not_begun_is_written_anew(tiny_profile, tmp_path):
    """Until there is a profile, the folder may be that of a run of other references."""
    black, white = (np.full((9, 32, 32, 3), value, np.uint8) for value in (0, 255))
    video.write(tmp_path / "white.mp4", white, 8)
    video.write(tmp_path / "archive" / "references" / "a.mp4", black, 8)
    (tmp_path / "archive" / ".lock").touch()
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt,task,reference\na red circle,a,white.mp4\n")
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "one.yaml", m=2)
    archive = collect(profile, prompts=prompts, output=tmp_path / "archive")
    assert (archive.reference("a") == white).all()


def test_an_archive_that_another_command_fills_is_refused(tiny_profile, copy):
    Archive(copy).shard("never-0-sign", 1).unlink()
    with (copy / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another run is filling .*; wait for it to end"):
            collect(tiny_profile, output=copy)
    collect(tiny_profile, output=copy)


def test_a_finished_archive_opens_where_models_and_device_are_absent(
    tiny_profile, copy, tmp_path, made
):
    gone = {"path": str(tmp_path / "gone"), "kind": "unlearned"}
    (copy / "archive.sha256").unlink()
    profile = yaml.safe_load((copy / "profile.yaml").read_text())
    profile["lpips"] |= gone
    (copy / "profile.yaml").write_text(yaml.safe_dump(profile))
    elsewhere = tiny.write_profile(
        tiny_profile.parent, tmp_path / "gone.yaml", lpips=gone, device="mps"
    )
    assert len(collect(elsewhere, output=copy).videos()) == UNITS * tiny.M
    Archive(copy).shard("never-0-sign", 1).unlink()
    with pytest.raises(ValueError, match="device 'mps' is not available here"):
        collect(elsewhere, output=copy)


def test_workers_are_at_least_one(tiny_profile, tmp_path):
    with pytest.raises(ValueError, match="workers is 0; expected at least 1"):
        collect(tiny_profile, output=tmp_path, workers=0)


def test_latent_prompts_that_all_fail_stop_the_run(tiny_profile, tmp_path, monkeypatch):
    refiner = {"path": str(tiny_profile.parent / "refiner"), "check": "grammar"}
    strict = tiny.write_profile(tiny_profile.parent, tmp_path / "strict.yaml", refiner=refiner)
    message = "5 latent prompts in a row gave no video; the first .*none of 11 draws is compatible"
    with pytest.raises(RuntimeError, match=message):
        collect(strict, output=tmp_path / "archive")
    with pytest.raises(ValueError, match="holds 5 of 12 latent prompts"):
        samples.open_archive(tmp_path / "archive")


def test_collecting_leaves_the_number_of_threads_alone(tiny_profile, copy):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    Archive(copy).shard("never-0-sign", 1).unlink()
    collect(tiny_profile, output=copy)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_stored_video_has_the_profiles_rate(tiny_archive):
    assert video.read(tiny_archive / "videos/never-0-sign/0_0.mp4").fps == 8


@pytest.fixture(scope="module")
def of_prompts(tiny_profile, tmp_path_factory):
    """Return the folder of an archive of two prompts of a file, in place of the profile's tasks."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "two.txt").write_text("a cat, napping\na dog\n")
    tiny.write_profile(tiny_profile.parent, folder / "p.yaml", lpips={"path": str(folder / "gone")})
    collect(folder / "p.yaml", prompts=folder / "two.txt", output=folder / "out")
    return folder


def test_a_file_of_prompts_is_collected_without_references(of_prompts):
    archive = samples.open_archive(of_prompts / "out")
    tasks, videos = archive.tasks(), archive.videos()
    assert list(tasks.prompt) == ["a cat, napping", "a dog"] and tasks.reference.isna().all()
    assert set(tasks.dataset) == {"prompts"} and len(videos) == 2 * tiny.N * tiny.M
    assert videos.lpips.isna().all() and videos.clip_prompt.notna().all()
    assert "lpips" not in archive.profile and archive.sealed
    asked = f"--prompts {of_prompts / 'two.txt'} --output {archive.folder}"
    assert samples._begun_by(archive) == f"squbed collect --profile world-tiny {asked}"


def test_it_is_finished_until_the_file_is_another(of_prompts, tmp_path, made):
    folder = shutil.copytree(of_prompts, tmp_path / "copy")
    options = {"prompts": of_prompts / "two.txt", "output": folder / "out"}
    collect(folder / "p.yaml", **options)
    assert not made
    options["prompts"] = folder / "two.txt"
    with pytest.raises(ValueError, match="made by another profile: dataset.path is"):
        collect(folder / "p.yaml", **options)
    options["prompts"] = of_prompts / "two.txt"
    options["prompts"].write_text("a cat, napping\na dog\na fish\n")
    with pytest.raises(ValueError, match="checkpoints.dataset is .* choose another --output"):
        collect(folder / "p.yaml", **options)
    options["prompts"].write_text("a cat, napping\na dog\n")


def test_what_is_damaged_is_made_again_of_the_same_prompts(of_prompts, tmp_path, capsys):
    folder = shutil.copytree(of_prompts / "out", tmp_path / "out")
    whole = contents(folder)
    next(folder.rglob("*.mp4")).write_bytes(b"")
    command = ["verify", str(folder), "--repair", "--profile", str(of_prompts / "p.yaml")]
    assert cli.main(command) == 2
    assert "--repair --profile FILE --prompts FILE`" in capsys.readouterr().err
    assert cli.main([*command, "--prompts", str(of_prompts / "two.txt")]) == 0
    assert contents(folder) == whole


def test_one_prompt_alone_has_the_same_latent_prompts_and_videos(of_prompts, tmp_path):
    alone = answer.quantify("a dog", profile=of_prompts / "p.yaml", output=tmp_path / "one").archive
    task, whole = alone.tasks().task[0], samples.open_archive(of_prompts / "out")
    assert task == whole.tasks().task[1]
    for latent in range(tiny.N):
        assert alone.rows(task, latent, ["prompt"]) == whole.rows(task, latent, ["prompt"])
        path = alone.inside(f"videos/{task}/{latent}_0.mp4")
        assert path.read_bytes() == whole.inside(f"videos/{task}/{latent}_0.mp4").read_bytes()


def test_a_prompt_that_the_world_cannot_say_begins_no_archive(tmp_path):
    (tmp_path / "p.txt").write_text("a star\na cat\n")
    with pytest.raises(ValueError, match="cannot say 'a cat': it says"):
        collect("world", prompts=tmp_path / "p.txt", output=tmp_path / "out")
    assert not (tmp_path / "out" / "profile.yaml").exists()


@pytest.fixture(scope="module")
def design(tiny_profile, tmp_path_factory):
    """Profile and archive of five latent prompts a task, of which three get two videos."""
    folder = tmp_path_factory.mktemp("design")
    changes = {"n": 5, "m": 2, "videos_of": 3}
    profile = tiny.write_profile(tiny_profile.parent, folder / "design.yaml", **changes)
    collect(profile, output=folder / "archive")
    return profile, folder / "archive"


def test_latent_prompts_without_videos_are_complete(design, made):
    profile, folder = design
    archive = samples.open_archive(folder)
    assert archive.units["common-0-round", 2] == 2 and archive.units["common-0-round", 4] == 0
    assert len(archive.latents()) == 5 * len(tiny.TASKS) and archive.latents().prompt.notna().all()
    videos = archive.videos()
    assert set(videos.latent) == {0, 1, 2} and (videos.status == "ok").all()
    text, found = archive.embeddings("common-0-round")
    assert len(text) == 5 and [len(x) for x in found] == [2, 2, 2, 0, 0]
    assert not list((folder / "videos").glob("*/[34]_*.mp4"))
    assert verify(folder) == []
    collect(profile, output=folder, retry_failed=True)
    assert made == []


def test_what_a_design_shares_with_a_whole_archive_is_the_same(design, tiny_archive):
    whole, some = (samples.open_archive(folder) for folder in (tiny_archive, design[1]))
    for task in tiny.TASKS:
        (text, videos), (texts, few) = whole.embeddings(task), some.embeddings(task)
        assert np.array_equal(text, texts[: tiny.N])
        assert all(np.array_equal(x[:2], y) for x, y in zip(videos, few, strict=False))


def test_a_design_is_summarized_with_all_its_latent_prompts(design):
    archive = samples.open_archive(design[1])
    table = summarize(archive)
    assert set(table.n) == {5} and set(table.m) == {2} and (table.failed == 0).all()
    text, videos = archive.embeddings(table.task[0])
    assert table.aleatoric[0] == pytest.approx(estimate(text, videos).aleatoric)
    assert table.epistemic[0] == pytest.approx(estimate(None, videos[:3]).epistemic)
    scores = score_tasks(archive)
    assert {"squbed", "conditional_vendi", "energy_split"} <= set(scores.estimator)
    row = tables.summarize_run(archive, estimator="squbed").row[0]
    assert "5 latent prompts, 3 of them × 2 videos" in row


def test_a_design_that_is_measured_again_keeps_latent_prompts_without_videos(design, tmp_path):
    profile, folder = design
    first, again = (
        samples.open_archive(folder),
        score(folder, profile=profile, output=tmp_path / "a"),
    )
    assert again.units == first.units and verify(again.folder) == []
    assert summarize(again)[["n", "m", *TERMS]].equals(summarize(first)[["n", "m", *TERMS]])
    assert score(again.folder, profile=profile, output=tmp_path / "b").units == first.units
    asked = like.instead(profiles.load(profile), again.folder)
    assert (asked.n, asked.m, asked.videos_of) == (5, 2, 3)


def test_another_model_is_asked_the_same_design(design, tmp_path):
    profile, folder = design
    first, again = (
        samples.open_archive(folder),
        collect(profile, like=folder, output=tmp_path / "a"),
    )
    assert again.units == first.units and again.profile["videos_of"] == 3
    assert summarize(again)[[*TERMS]].equals(summarize(first)[[*TERMS]])


def test_a_latent_prompt_that_cannot_be_drawn_fails_without_videos_too(
    design, tmp_path, monkeypatch
):
    def fail(*args, **options):
        raise ValueError("no compatible latent prompt")

    monkeypatch.setattr(unit.latent_prompts, "draw", fail)
    archive = Archive(shutil.copytree(design[1], tmp_path / "a"))
    shutil.rmtree(tmp_path / "a" / "shards" / "common-0-round")
    collect(design[0], output=archive.folder)
    found = archive.rows("common-0-round", 4)
    assert [row["status"] for row in found] == ["failed"] and "no compatible" in found[0]["error"]
    assert not archive.finished("common-0-round", 4, retry_failed=True)


def test_one_video_of_each_latent_prompt_gives_the_total_alone(tiny_profile, tmp_path):
    changes = {"n": 4, "m": 1, "estimator": "energy_split"}
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "one.yaml", **changes)
    archive = collect(profile, output=tmp_path / "one")
    table = summarize(archive, estimator="energy_split")
    assert table.total.notna().all() and table.epistemic.isna().all() and set(table.m) == {1}
    assert "the total stands alone" in as_text(table) and "nan" not in as_text(table).lower()
    assert set(score_tasks(archive).estimator) >= {"energy_split", "random"}
    with pytest.raises(ValueError, match="'squbed' needs 2 videos of a latent prompt; there are 1"):
        summarize(archive)
    with pytest.raises(tables.NotShown, match="a single video of each latent prompt has no epist"):
        tables.with_parts(tables.summarize_run(archive, estimator="energy_split"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": 1}, "m is 1, and estimator 'squbed' reads 2 videos of a latent prompt; take more"),
        ({"videos_of": 4}, "videos_of is 4; expected at most n, which is 3"),
        ({"videos_of": 2}, "videos_of is 2; expected at least 3"),
    ],
)
def test_a_design_that_cannot_be_is_refused(tiny_profile, tmp_path, changes, message):
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "x.yaml", **changes)
    with pytest.raises(ValueError, match=message):
        profiles.load(profile)


def test_the_notebooks_take_an_archive_of_a_file_of_prompts(of_prompts, tmp_path):
    where = {"samples": of_prompts / "out", "figures": tmp_path / "f", "build": tmp_path / "b"}
    written = run_all(of_prompts / "p.yaml", **where, only=["00_collect_samples"])
    assert "contact_sheet.png" in {path.name for path in written}
