"""Bringing one's own videos: what goes in comes out scored, and every mistake is named."""

import dataclasses
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from kit import films, small, tiny

from squbed_utils import cli, video
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import LABELS, MEASURING
from squbed_utils.archive.verify import verify
from squbed_utils.collection import latent
from squbed_utils.collection.collect import collect
from squbed_utils.collection.existing import score
from squbed_utils.commands import publish
from squbed_utils.commands.notebooks import run_all
from squbed_utils.figures import frames
from squbed_utils.files import ROOT
from squbed_utils.models import load as models
from squbed_utils.profiles import load
from squbed_utils.statistics import audit_samples, cautions, examples, tables
from squbed_utils.statistics.calibration import NOT_SHOWN, REFUTED, SHOWN
from squbed_utils.statistics.summary import NO_LATENT_PROMPTS, as_text, summarize
from squbed_utils.tasks import captioned, manifest

HEADER = "task,prompt,latent,sample,video,reference"
CLIPS = ROOT.parent / "shared" / "clips" / "manifest.csv"


def shades(seed, count=5, size=(48, 48)):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Folder of lossless videos, a lossy one of another length, rate and size, and no videos."""
    folder = tmp_path_factory.mktemp("clips")
    for i in range(10):
        video.write(folder / f"{i}.mp4", shades(i), 8)
    films.write_lossy(folder / "wide.mp4", shades(9, 11, (44, 64)), 12.5)
    video.write(folder / "tiny.mp4", shades(7, size=(8, 8)), 8)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    (folder / "cut.mp4").write_bytes((folder / "0.mp4").read_bytes()[:-2000])
    return folder


def write(folder, *rows, header=HEADER, name="manifest.csv"):
    path = folder / name
    path.write_text("\n".join((header, *rows)), encoding="utf-8")
    return path


def without_prompts(folder):
    """Two tasks: three latents of unequal size, and one; no latent prompts."""
    places = [(i, j) for i in range(3) for j in range(4 - i)]
    rows = [f"a,a red circle,{i},{j},{k}.mp4,wide.mp4,1" for k, (i, j) in enumerate(places)]
    rows += ["b,a star,5,0,wide.mp4,0.mp4,2.5", "b,a star,5,7,1.mp4,0.mp4,2.5"]
    return write(folder, *rows, header=f"{HEADER},vagueness_rank", name="without.csv")


def with_prompts(folder):
    """Four latent prompts and three, of two videos and three in turn."""
    said = ("", " moving left", " moving up", " on a white background")
    rows = [
        f"{task},{task} circle,{i},{j},{5 * (i // 2) + 2 * (i % 2) + j}.mp4,wide.mp4,"
        f"{task} circle{said[i]},round"
        for task in ("red", "blue")
        for i in range(3 + (task == "red"))
        for j in range(2 + i % 2)
    ]
    return write(folder, *rows, header=f"{HEADER},latent_prompt,category", name="with.csv")


@pytest.fixture(scope="module")
def scored(clips, tiny_profile, tmp_path_factory):
    """Archive of the manifest without latent prompts."""
    folder = tmp_path_factory.mktemp("scored") / "a"
    return score(without_prompts(clips), profile=tiny_profile, output=folder)


@pytest.fixture(scope="module")
def complete(clips, tiny_profile, tmp_path_factory):
    """Archive of the manifest with latent prompts."""
    folder = tmp_path_factory.mktemp("scored") / "b"
    return score(with_prompts(clips), profile=tiny_profile, output=folder)


def test_videos_are_copied_byte_for_byte_and_scored(scored, clips):
    videos = scored.videos()
    assert len(videos) == 11 and (videos.status == "ok").all() and videos.seed.isna().all()
    assert np.isfinite(videos[list(LABELS)].to_numpy()).all()
    for i, path in enumerate(videos.path[videos.task == "a"]):
        assert (scored.folder / path).read_bytes() == (clips / f"{i}.mp4").read_bytes()
    reference = scored.folder / "references" / "a.mp4"
    assert reference.read_bytes() == (clips / "wide.mp4").read_bytes()


def test_numbers_are_those_of_the_models(scored, clips, tiny_profile):
    from squbed_utils import profiles

    loaded = models.load_measuring(profiles.load(tiny_profile))
    assert loaded.generate is None and loaded.refine is None
    row = scored.videos().iloc[0]
    np.testing.assert_array_equal(row.embedding, loaded.embed_videos([shades(0)])[0])
    same = video.align(video.read(clips / "wide.mp4"), video.read(clips / "0.mp4"))
    aligned = scored.videos().iloc[9]
    assert aligned.lpips == pytest.approx(loaded.lpips(list(same[0]), list(same[1])).mean())


def test_without_latent_prompts_aleatoric_is_absent_and_said_to_be(scored):
    table = summarize(scored).set_index("task")
    absent = [f"{t}{part}" for t in ("aleatoric", "total") for part in ("", "_low", "_high")]
    assert table[absent].isna().all(axis=None) and table.epistemic.notna().all()
    assert table.epistemic_low["a"] < table.epistemic["a"] < table.epistemic_high["a"]
    assert math.isnan(table.epistemic_low["b"]) and math.isnan(table.epistemic_high["b"])
    assert table.n.to_dict() == {"a": 3, "b": 1} and table.m.to_dict() == {"a": 2, "b": 2}
    text = as_text(summarize(scored))
    assert NO_LATENT_PROMPTS in text and "nan" not in text.lower()
    assert "(± -) no interval: 1 latent prompt (epistemic of b)" in text
    assert scored.embeddings("b")[0] is None and scored.latents().embedding.isna().all()


def test_with_latent_prompts_all_is_there(complete):
    table = summarize(complete)
    assert list(table.task) == ["red", "blue"] and list(table.n) == [4, 3]
    assert table[["aleatoric", "epistemic", "total", "epistemic_low"]].notna().all(axis=None)
    assert list(table.total_low.notna()) == [True, False]
    assert list(table.total_remark) == ["", "no interval: 3 distinct latent prompts"]
    assert list(complete.latents().prompt[:2]) == ["red circle", "red circle moving left"]
    text = as_text(table)
    assert "-\n" not in text and "distinct latent prompts (aleatoric, total of blue)" in text
    assert (
        "3–4 latent prompts × 2–3 videos"
        in tables.summarize_run(complete, estimator="squbed").row[0]
    )


def test_the_profile_that_is_recorded_is_what_bears_on_the_numbers(scored):
    assert set(scored.profile["checkpoints"]) == set(MEASURING)
    assert not {"video_model", "refiner", "dataset", "n", "m"} & set(scored.profile)


def test_video_model_and_refiner_need_not_be_there(clips, tiny_profile, tmp_path):
    gone = {"path": str(tmp_path / "gone"), "check": "none"}
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "p.yaml", refiner=gone)
    rows = [f"a,a star,0,{j},{j}.mp4,0.mp4" for j in range(2)]
    manifest = write(clips, *rows, name="two.csv")
    archive = score(manifest, profile=profile, output=tmp_path / "archive")
    assert archive.videos().status.tolist() == ["ok", "ok"]


def test_the_ranking_goes_to_figure_3(scored):
    assert list(scored.tasks().vagueness_rank) == [1, 2.5]
    ranked = tables.ranked_tasks(tables.summarize_run(scored, estimator="squbed"))
    assert dict(zip(ranked.task, ranked["rank"], strict=True)) == {"a": 1, "b": 2.5}


def test_no_ranking_no_figure_3(complete):
    assert "vagueness_rank" not in complete.tasks()
    with pytest.raises(ValueError, match="give `ranking`, a CSV of task and rank"):
        tables.ranked_tasks(tables.summarize_run(complete, estimator="squbed"))


def test_figures_4_and_5_say_what_is_missing(scored, complete):
    summary = tables.summarize_run(scored, estimator="squbed")
    with pytest.raises(ValueError, match="latent prompts of all 2 tasks are unknown, so they have"):
        tables.with_parts(summary)
    both = pd.concat([summary, tables.summarize_run(complete, estimator="squbed")])
    assert list(tables.with_parts(both).task) == ["red", "blue"]


@pytest.fixture
def measured(monkeypatch):
    """Videos measured from now on."""
    done, measure = [], latent.measure

    def record(bench, task, videos):
        done.append(task.id)
        return measure(bench, task, videos)

    monkeypatch.setattr(latent, "measure", record)
    return done


def test_a_finished_shard_is_not_scored_again(scored, clips, tiny_profile, tmp_path, measured):
    folder = shutil.copytree(scored.folder, tmp_path / "archive")
    Archive(folder).shard("a", 1).unlink()
    with pytest.raises(ValueError, match="holds 3 of 4 latent prompts; run `squbed score` to fini"):
        open_archive(folder)
    again = score(without_prompts(clips), profile=tiny_profile, output=folder)
    assert measured == ["a"] * 3
    pd.testing.assert_frame_equal(again.videos(), scored.videos())
    names = ("tasks.parquet", "manifest.parquet", "profile.yaml", "shards/a/1.parquet")
    assert all((folder / n).read_bytes() == (scored.folder / n).read_bytes() for n in names)


def test_another_manifest_is_refused(scored, clips, tiny_profile):
    with pytest.raises(ValueError, match="was made of another manifest; choose another --output"):
        score(with_prompts(clips), profile=tiny_profile, output=scored.folder)


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"no table")])
def test_without_its_manifest_an_archive_is_scored_anew(
    scored, clips, tiny_profile, tmp_path, damage, capsys
):
    """Else the shards and references of one manifest are taken for those of another."""
    folder = shutil.copytree(scored.folder, tmp_path / "archive")
    damage(folder / "manifest.parquet")
    rows = [f"a,a red circle,{i},0,{clips}/{i + 4}.mp4,{clips}/9.mp4" for i in range(3)]
    other = write(tmp_path, *rows, name="other.csv")
    again = score(other, profile=tiny_profile, output=folder)
    assert "manifest.parquet" in capsys.readouterr().err
    right = score(other, profile=tiny_profile, output=tmp_path / "right")
    pd.testing.assert_frame_equal(again.videos(), right.videos())
    assert verify(folder) == []


@pytest.mark.parametrize("name", ["references/b.mp4", "tasks.parquet"])
def test_what_is_gone_of_a_scored_archive_comes_back_with_the_same_command(
    scored, clips, tiny_profile, tmp_path, measured, name
):
    folder = shutil.copytree(scored.folder, tmp_path / "archive")
    (folder / name).unlink()
    assert [problem.path for problem in verify(folder)][0] == name
    score(without_prompts(clips), profile=tiny_profile, output=folder)
    assert verify(folder) == [] and measured == []


def test_a_reference_is_read_anew_in_each_run(clips, tiny_profile, tmp_path):
    """The folder of the first archive is used again, as in one session of a notebook."""
    found = []
    for name in ("0.mp4", "1.mp4"):
        shutil.rmtree(tmp_path / "archive", ignore_errors=True)
        rows = [f"a,a star,{i},0,{clips}/{i}.mp4,{clips}/{name}" for i in range(2)]
        table = write(tmp_path, *rows)
        found.append(score(table, profile=tiny_profile, output=tmp_path / "archive").videos().ssim)
    assert [list(ssim == 1) for ssim in found] == [[True, False], [False, True]]


def test_a_collected_archive_is_refused_and_a_scored_one_is_not_collected(
    scored, clips, tiny_profile, tiny_archive
):
    with pytest.raises(ValueError, match="holds videos that were generated there; choose another"):
        score(without_prompts(clips), profile=tiny_profile, output=tiny_archive)
    assert len(collect(tiny_profile, output=scored.folder).tasks()) == 2


class TestOfAnArchive:
    """An archive's videos, measured again."""

    def test_the_same_models_find_the_same(self, tiny_archive, tiny_profile, tmp_path, measured):
        original = open_archive(tiny_archive)
        archive = score(tiny_archive, profile=tiny_profile, output=tmp_path / "again")
        expected, found = summarize(original, truth=True), summarize(archive, truth=True)
        for column in ("aleatoric", "epistemic", "total", *LABELS, "true_entropy"):
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-3, atol=1e-4)
        pd.testing.assert_frame_equal(archive.truth(), original.truth())
        assert list(archive.videos().caption) == list(original.videos().caption)
        assert list(archive.latents().prompt) == list(original.latents().prompt)
        for path in original.videos().path:
            assert archive.inside(path).read_bytes() == original.inside(path).read_bytes()
        count = len(measured)
        assert count == len(original.videos())
        score(tiny_archive, profile=tiny_profile, output=archive.folder)
        assert len(measured) == count

    def test_without_a_captioner(self, tiny_archive, tiny_profile, tmp_path):
        profile = dataclasses.replace(load(tiny_profile), captioner=None)
        archive = score(tiny_archive, profile=profile, output=tmp_path / "again")
        assert archive.videos().caption.isna().all()

    def test_failed_videos_are_left_out(self, tiny_archive, tiny_profile, tmp_path):
        source = Archive(shutil.copytree(tiny_archive, tmp_path / "copy"))
        rows = source.rows("never-0-sign", 1)
        empty = {"embedding": None, "status": "failed", "error": "no", "path": None}
        source.write_shard("never-0-sign", 1, [rows[0] | empty, *rows[1:]])
        found = score(source.folder, profile=tiny_profile, output=tmp_path / "again").videos()
        assert len(found) == 35 and (found.status == "ok").all()

    def test_a_task_without_a_reference_keeps_what_needs_none(
        self, tiny_archive, tiny_profile, tmp_path
    ):
        source = Archive(shutil.copytree(tiny_archive, tmp_path / "copy"))
        first, *others = captioned.read(
            load(tiny_profile).dataset, label=None, cache=None, asked=""
        ).tasks
        source.write_tasks([dataclasses.replace(first, reference=None), *others], None)
        archive = score(source.folder, profile=tiny_profile, output=tmp_path / "again")
        videos = archive.videos().set_index("task")
        assert videos.loc[first.id, list(LABELS)].notna().all().to_dict() == {
            name: name == "clip_prompt" for name in LABELS
        }
        assert videos.drop(first.id)[list(LABELS)].notna().all(axis=None)
        assert archive.reference(first.id) is None and archive.reference(others[0].id) is not None

    def test_in_its_own_folder(self, tiny_archive, tiny_profile):
        with pytest.raises(ValueError, match="holds videos that were generated there; choose anot"):
            score(tiny_archive, profile=tiny_profile, output=tiny_archive)

    def test_a_folder_that_is_none(self, tiny_profile, tmp_path):
        with pytest.raises(ValueError, match="is no archive .no profile.yaml in it. and has no cl"):
            score(tmp_path, profile=tiny_profile, output=tmp_path / "again")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Folder of 20 clips of four prompts by another tool, without references, some rated."""
    folder = tmp_path_factory.mktemp("bare")
    for i in range(20):
        frames = shades(i, count=4).astype(int) // (1 + i % 4)
        films.write_lossy(folder / f"prompt {i // 5}-{i % 5}.mp4", frames.astype(np.uint8), 8)
    votes = [f"prompt {t}-{k}.mp4,other/{t}.mp4,{'ab'[t % 2]}" for t in range(4) for k in range(2)]
    write(folder, *votes, header="video_a,video_b,preferred", name="preferences.csv")
    return folder


@pytest.fixture(scope="module")
def unreferenced(bare, tiny_profile, tmp_path_factory):
    """Archive of these clips."""
    lpips = {"path": str(bare / "gone")}  # not needed, so it need not be there
    profile = tiny.write_profile(tiny_profile.parent, bare / "p.yaml", lpips=lpips)
    return score(bare, profile=profile, output=tmp_path_factory.mktemp("bare") / "a")


class TestABareFolder:
    """Clips without references: CLIP to the prompt and people's ratings are all there is."""

    def test_what_needs_no_reference_is_there_and_the_rest_absent(self, unreferenced):
        videos = unreferenced.videos()
        assert videos.notna()[list(LABELS)].all().to_dict() == {
            name: name == "clip_prompt" for name in LABELS
        }
        assert (
            "lpips" not in unreferenced.profile
            and not (unreferenced.folder / "references").exists()
        )
        assert unreferenced.tasks().reference.isna().all()
        rated = videos.groupby("task", sort=False).rating_preference.agg(["count", "mean"])
        assert rated["count"].tolist() == [2] * 4 and rated["mean"].tolist() == [1, 0, 1, 0]
        text = as_text(summarize(unreferenced))
        assert "need a reference video, which 4 of 4 tasks lack" in text
        assert "clip_prompt  rating_preference" in text and "nan" not in text.lower()

    def test_ratings_stay_where_videos_are_measured_again(
        self, unreferenced, tiny_profile, tmp_path
    ):
        again = score(unreferenced.folder, profile=tiny_profile, output=tmp_path / "again")
        pd.testing.assert_series_equal(
            again.videos().rating_preference, unreferenced.videos().rating_preference
        )

    def test_what_was_understood_is_shown_first(self, bare, tiny_profile, tmp_path, capsys):
        line = ["score", str(bare), "--profile", str(tiny_profile), "--output"]
        assert cli.main([*line, str(tmp_path / "x")]) == 0
        out, err = capsys.readouterr()
        assert f"{bare}: 20 videos of 4 tasks\n" in err and "1 unknown       5" in err
        assert err.index("1 unknown") < err.index("loading models")
        assert "4 tasks, 4 latent prompts (0 draws refused), 20 videos (0 failed)" in out
        assert cli.main([*line, str(bare / "inside")]) == 2
        assert "lies among the clips; choose a folder beside them" in capsys.readouterr().err

    def test_a_manifest_to_edit(self, bare, tiny_profile, tmp_path, capsys):
        folder = shutil.copytree(bare, tmp_path / "copy")
        assert cli.main(["score", str(folder), "--manifest-only"]) == 0
        out, _ = capsys.readouterr()
        written = folder / "manifest.csv"
        assert str(written) in out and "prompt 3-0.mp4" in out
        lines = written.read_text().splitlines()
        written.write_text("\n".join(lines[:6]))
        archive = score(folder, profile=tiny_profile, output=tmp_path / "x")
        assert archive.tasks().prompt.tolist() == ["prompt 0"]

    @pytest.mark.filterwarnings("ignore")
    def test_figure_4_takes_the_accuracies_that_exist(self, unreferenced, tmp_path):
        places = {"samples": unreferenced.folder, "figures": tmp_path, "build": tmp_path / "build"}
        names = {path.name for path in run_all("world", **places, only=["02_total_uncertainty"])}
        assert "figure_4.png" in names
        points = pd.read_csv(tmp_path / "data" / "figure_4.csv")
        own = points[points.row.str.startswith("this run")]
        assert set(own.panel) == {"CLIP, video to prompt", "people: preference"}
        assert "references of 0 of 4 tasks" in own.row[0] and points.x.notna().all()

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")
    def test_every_notebook_runs(self, unreferenced, tmp_path, capsys):
        places = {"samples": unreferenced.folder, "figures": tmp_path, "build": tmp_path / "build"}
        run_all("world", **places)
        said = capsys.readouterr().out
        shown = re.findall(r"\] (\d\d)_\w+: not shown: ", said)
        assert set(shown) - {"10"} == {"01", "03", "06", "08", "09"}  # 10 needs an extra


def test_references_of_some_tasks(clips, tiny_profile, tmp_path):
    said = ("a star", "a red circle moving left", "a small blue circle moving up")
    rows = [
        f"{t},a star,{i},{j},{3 * i + j}.mp4,{'wide.mp4' if t == 'a' else ''},{said[i]},{j}"
        for t in "abc"
        for i in range(3)
        for j in range(3)
    ]
    path = write(clips, *rows, header=f"{HEADER},latent_prompt,rating", name="some.csv")
    archive = score(path, profile=tiny_profile, output=tmp_path / "x")
    summary = tables.summarize_run(archive, estimator="squbed")
    assert summary.ssim.notna().tolist() == [True, False, False] and (summary.rating == 1).all()
    assert "references of 1 of 3 tasks" in summary.row[0]
    assert tables.default_accuracy(summary) == "clip_prompt"
    points = tables.points_of(summary, "total", "ssim", panel="p", x_label="x")
    assert list(points.task) == ["a"]
    shown = [examples.load(archive, t, label="", show={}) for _, t in summary.iterrows()]
    assert [e.reference is None for e in shown] == [False, True, True]
    frames.contact_sheet(shown, of=3)
    rows = publish.metadata(archive).groupby("task").reference_file_name.first()
    assert rows["a"] == "references/a.mp4" and rows[["b", "c"]].isna().all()
    assert "rating" in publish.describe(archive, publish.metadata(archive), "hf")["accuracies"]


def test_broken_videos_are_failed_rows_with_their_reason(clips, tiny_profile, tmp_path, measured):
    bad = ["gone.mp4", "empty.mp4", "text.mp4", "cut.mp4", "tiny.mp4", ".", "x" * 300]
    rows = [f"a,a star,0,{i},{name},0.mp4" for i, name in enumerate([*bad, "1.mp4", "2.mp4"])]
    path, folder = write(clips, *rows, name="bad.csv"), tmp_path / "archive"
    archive = score(path, profile=tiny_profile, output=folder)
    videos = archive.videos()
    assert list(videos.status) == ["failed"] * 7 + ["ok"] * 2
    reasons = [
        "no video",
        "is empty",
        "cannot be read",
        "cannot be read",
        "LPIPS needs",
        "is a folder, a pipe or a device",
        "File name too long",
    ]
    for reason, error in zip(reasons, videos.error[:7], strict=True):
        assert reason in error
    assert summarize(archive).failed[0] == 7
    assert len(list(folder.glob("videos/a/*"))) == 2
    before = len(measured)
    score(path, profile=tiny_profile, output=folder)
    assert len(measured) == before
    score(path, profile=tiny_profile, output=folder, retry_failed=True)
    assert len(measured) > before


def copies(folder):
    """Three tasks of three latent prompts: one of copies, one with a pair of them, one without."""
    files = {"seedless": "000 111 222", "pair": "00 34 67", "honest": "012 345 678"}
    rows = [
        f"{task},a red circle,{i},{j},{file}.mp4,wide.mp4,a red circle {'up' * i}"
        for task, latents in files.items()
        for i, row in enumerate(latents.split())
        for j, file in enumerate(row)
    ]
    return write(folder, *rows, header=f"{HEADER},latent_prompt", name="copies.csv")


def test_copies_are_named_and_their_value_is_the_caps(clips, tiny_profile, tmp_path, capsys):
    line = ["score", str(copies(clips)), "--profile", str(tiny_profile)]
    assert cli.main([*line, "--output", str(tmp_path / "x")]) == 0
    out, err = capsys.readouterr()
    everywhere = "; ".join(f"latent {i} samples 0, 1, 2" for i in range(3))
    named = f"pair (latent 0 samples 0, 1), seedless ({everywhere})"
    assert f"squbed: videos are identical in 2 of 3 tasks: {named}\n" in err
    marked = "(cap) identical videos: set by the cap, not measured (epistemic, total of seedless, p"
    assert marked in out and "± 0.00" not in out
    with pytest.warns(UserWarning, match="videos are identical in 2 of 3 tasks"):
        table = summarize(open_archive(tmp_path / "x")).set_index("task")
    assert table.identical.to_dict() == {"seedless": "videos", "pair": "videos", "honest": ""}
    assert table.epistemic_low.notna().to_dict() == {"seedless": 0, "pair": 0, "honest": 1}


def test_a_file_used_for_two_latent_prompts_is_named(clips, tiny_profile, tmp_path):
    rows = [f"a,a star,{i},{j},{k}.mp4,0.mp4" for i, j, k in ((0, 0, 1), (0, 1, 2), (1, 7, 1))]
    archive = score(
        write(clips, *rows, name="twice.csv"), profile=tiny_profile, output=tmp_path / "x"
    )
    named = "a (latent 0 sample 0 = latent 1 sample 7)"
    assert cautions.cautions(archive) == [f"videos are identical in 1 of 1 tasks: {named}"]


def test_long_texts_differ_are_counted_and_said(clips, tiny_profile, tmp_path):
    long = "a red circle " * 5
    rows = [
        f"{task},{before}a star,{i},{j},{2 * i + j}.mp4,9.mp4,{before}a {colour} star"
        for task, before in (("long", long), ("short", ""))
        for i, colour in enumerate(("red", "blue", "green"))
        for j in range(2)
    ]
    path = write(clips, *rows, header=f"{HEADER},latent_prompt", name="long.csv")
    archive = score(path, profile=tiny_profile, output=tmp_path / "x")
    texts = archive.texts().set_index("task")
    assert list(texts.text.value_counts()) == [6, 2] and set(texts.window) == {16}
    assert (texts.tokens["long"] > 16).all() and (texts.tokens["short"] < 16).all()
    assert archive.embeddings("long")[0].std(axis=0).max() > 1e-3
    expected = [
        "longer than the window of the text encoder, 16 tokens: 3 of 6 latent prompts, the longest "
        "of 19; such a text is embedded as the mean over its windows",
        "longer than the window of CLIP, 16 tokens: 1 of 2 prompts, the longest of 18; such a text "
        "is embedded as the mean over its windows",
    ]
    assert cautions.cautions(archive) == expected
    texts, samples = audit_samples.soundness(archive, pd.DataFrame({"task": [], "identical": []}))
    assert (texts["verdict"], samples["verdict"], samples["value"]) == (SHOWN, REFUTED, 4)


def test_an_archive_that_did_not_count_texts_is_read(complete, tmp_path):
    folder = shutil.copytree(complete.folder, tmp_path / "old")
    for shard in folder.glob("shards/*/*.parquet"):
        table = layout.read_table(shard)
        counts = [c for c in table.column_names if c.endswith(layout.READ)]
        layout.write_table(shard, table.drop_columns(counts))
    small.resum(folder)
    (folder / layout.SEAL).unlink()
    old = open_archive(folder)
    assert len(complete.texts()) == 9 and old.texts().empty and cautions.cautions(old) == []
    pd.testing.assert_frame_equal(summarize(old), summarize(complete))
    said = audit_samples.soundness(old, summarize(old))[1]
    assert (said["verdict"], said["detail"]) == (NOT_SHOWN, "not recorded in this archive")


@pytest.mark.parametrize(
    ("size", "prompt", "sign"),
    [
        (32, "a red circle", None),
        (48, "a red circle", "frames are 48 x 48, not 32 x 32"),
        (32, "a dog with a hat", "1 of 1 texts have words it lacks"),
    ],
)
def test_other_worlds_are_told_from_that_of_shapes(
    clips, tiny_profile, tmp_path, monkeypatch, size, prompt, sign
):
    monkeypatch.setattr("squbed_utils.collection.existing.WORLD", tiny_profile.parent)
    for i in range(3):
        video.write(tmp_path / f"{i}.mp4", shades(i, size=(size, size)), 8)
    rows = [f"a,{prompt},0,{i},{i}.mp4,2.mp4" for i in range(2)]
    path, call = write(tmp_path, *rows), {"profile": tiny_profile, "output": tmp_path / "x"}
    if sign is None:
        score(path, **call)
        return
    with pytest.warns(
        UserWarning, match="encoders of the shapes world, which know shapes"
    ) as found:
        score(path, **call)
    message = str(found[0].message)
    assert sign in message and "give a --profile with real encoders" in message
    monkeypatch.undo()
    score(path, **call)  # the same encoders elsewhere make no claim


def test_nothing_but_failures(clips, tiny_profile, tmp_path, capsys):
    path = write(clips, "a,a star,0,0,gone.mp4,0.mp4", name="none.csv")
    line = ["score", str(path), "--profile", str(tiny_profile), "--output", str(tmp_path / "x")]
    assert cli.main(line) == 2
    assert (
        "no task has 1 or more latent prompts with 1 or more videos each" in capsys.readouterr().err
    )


ROW = "a,a star,0,0,0.mp4,0.mp4"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,a star,x,0,0.mp4,0.mp4"], "line 2: latent is 'x'; expected a whole number from 0"),
        (["a,a star,0,-1,0.mp4,0.mp4"], "line 2: sample is '-1'; expected a whole number"),
        (["a,a star,1.0,0,0.mp4,0.mp4"], "line 2: latent is '1.0'"),
        (["../a,a star,0,0,0.mp4,0.mp4"], "line 2: task is '../a'; expected letters"),
        (["a, ,0,0,0.mp4,0.mp4"], "line 2: prompt is empty"),
        (["a,a star,0,0,,0.mp4"], "line 2: video is empty"),
        ([ROW, "a,a star,0,1,0.mp4,"], "line 3: task a has reference None, in line 2 '0.mp4'"),
        ([ROW, "a,a star, now,0,1,0.mp4,0.mp4"], "line 3: has another number of fields than the"),
        ([ROW, "a,a star"], "line 3: has another number of fields"),
        ([ROW, ROW], "line 3: task a, latent 0, sample 0 is already in line 2"),
        ([ROW, "a,a disc,0,1,0.mp4,0.mp4"], "line 3: task a has prompt 'a disc', in line 2 'a st"),
        ([ROW, "a,a star,0,1,0.mp4,1.mp4"], "line 3: task a has reference '1.mp4', in line 2 '0."),
        (["a,a star,0,0,0.mp4,gone.mp4"], "line 2: reference: no video .*gone.mp4"),
        (["a,a star,0,0,0.mp4,empty.mp4"], "line 2: reference: video .*empty.mp4 is empty"),
        (["a,a star,0,0,0.mp4,text.mp4"], "line 2: reference: video .* cannot be read"),
        (["a,a star,0,0,0.mp4,tiny.mp4"], "reference has frames of 8 x 8; LPIPS needs 31 x 31"),
        (["a,x,y,0,0.mp4,0.mp4", "b,,0,0,0.mp4,0.mp4"], "line 2: latent.*line 3: prompt is empty"),
        (["a,x,y,0,0.mp4,0.mp4"] * 30, "line 21: .*; and 10 more"),
    ],
)
def test_mistakes_are_named_with_their_lines(clips, rows, message):
    with pytest.raises(ValueError, match=message):
        manifest.read(write(clips, *rows, name="wrong.csv"))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("vagueness_rank", ["x", "x"], "line 2: vagueness_rank is 'x'; expected a number"),
        ("vagueness_rank", ["nan", "nan"], "line 2: vagueness_rank is 'nan'"),
        ("vagueness_rank", ["1", "2"], "line 3: task a has vagueness_rank 2.0, in line 2 1.0"),
        ("category", ["food", "games"], "line 3: task a has category 'games', in line 2 'food'"),
        ("latent_prompt", ["p", ""], "line 2: task a has a latent_prompt for 1 of its 2 latents"),
        ("latent_prompt", ["p", "q"], "line 2: task a has 2 latent prompts; aleatoric needs 3"),
    ],
)
def test_mistakes_in_what_may_be_left_out(clips, column, values, message):
    rows = [f"a,a star,{i},0,0.mp4,0.mp4,{value}" for i, value in enumerate(values)]
    with pytest.raises(ValueError, match=message):
        manifest.read(write(clips, *rows, header=f"{HEADER},{column}", name="wrong.csv"))


def test_one_latent_prompt_to_a_latent(clips):
    rows = [f"a,a star,0,{i},0.mp4,0.mp4,{p}" for i, p in enumerate("pq")]
    with pytest.raises(ValueError, match="task a, latent 0 has latent_prompt 'q', in line 2 'p'"):
        manifest.read(write(clips, *rows, header=f"{HEADER},latent_prompt", name="wrong.csv"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a header: prompt, task"),
        (HEADER.encode(), "has no rows; expected one at least"),
        (b"task,prompt,latent\na,b,0", "line 1: lacks the column sample; lacks the column video"),
        (f"{HEADER},latent_promt\n{ROW},x".encode(), r"'latent_promt' \(did you mean 'latent_pr"),
        (f"{HEADER},task\n{ROW},a".encode(), "line 1: has the column task twice"),
        (f"{HEADER}\n{ROW}\n\xe9".encode("latin-1"), "line 3: not UTF-8; save it as UTF-8"),
        (f'{HEADER}\n{ROW}\na,"x'.encode(), "line 3: not valid CSV"),
    ],
)
def test_files_that_are_no_manifest(tmp_path, content, message):
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        manifest.read(path)


def test_a_missing_manifest(tmp_path):
    with pytest.raises(FileNotFoundError, match="no manifest .*m.csv; expected a CSV"):
        manifest.read(tmp_path / "m.csv")


def test_other_scripts_quotes_and_a_byte_order_mark(clips):
    path = clips / "other.csv"
    row = f'\ufeff{HEADER}\r\na,"猫, ""dort""\nici",0,0,0.mp4,0.mp4\r\n\r\n'
    path.write_bytes(row.encode())
    table = manifest.read(path)
    assert list(table.prompt) == ['猫, "dort"\nici'] and list(table.latent) == [0]


def test_rows_are_ordered_and_paths_may_be_absolute(clips):
    rows = [f"{t},a star,{i},0,{clips}/0.mp4,0.mp4" for t, i in (("b", 10), ("a", 0), ("b", 9))]
    table = manifest.read(write(clips, *rows, name="order.csv"))
    assert list(zip(table.task, table.latent, strict=True)) == [("b", 9), ("b", 10), ("a", 0)]


def test_the_command(scored, clips, tiny_profile, capsys):
    line = ["score", str(without_prompts(clips)), "--profile", str(tiny_profile)]
    assert cli.main([*line, "--output", str(scored.folder)]) == 0
    out = capsys.readouterr().out
    assert "2 tasks, 4 latent prompts (0 draws refused), 11 videos (0 failed)" in out
    assert NO_LATENT_PROMPTS in out


def test_the_commands_mistakes_are_one_line(capsys, tmp_path):
    assert cli.main(["score", str(tmp_path / "m.csv"), "--output", str(tmp_path / "o")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("squbed: no manifest ") and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_file(), reason=f"no real clips in {CLIPS.parent}")
def test_real_clips_of_mixed_length_rate_and_size(tmp_path):
    with pytest.warns(UserWarning, match="has encoders of the shapes world"):
        archive = score(CLIPS, profile="world", output=tmp_path / "archive")
    videos = archive.videos()
    assert len(videos) == 9 and (videos.status == "ok").all()
    assert np.isfinite(videos[list(LABELS)].to_numpy()).all()
    table = summarize(archive)
    assert table.epistemic.notna().all() and table.total.isna().all()
    assert list(archive.tasks().vagueness_rank) == [1, 2, 3]
