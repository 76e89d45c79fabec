"""Pages for raters, and what their answers do: accuracies, rankings, agreement."""

import base64
import hashlib
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from kit import small_archive, synthetic

from squbed_utils import cli, explore, open_archive, summarize
from squbed_utils.archive.layout import ASKED, RATINGS
from squbed_utils.archive.verify import verify
from squbed_utils.collection import existing
from squbed_utils.collection.collect import held
from squbed_utils.collection.repair import seal
from squbed_utils.commands import publish, rate
from squbed_utils.statistics import leaderboard, tables
from squbed_utils.statistics.summary import score_tasks
from squbed_utils.statistics.tables import ranked_tasks, summarize_run

HEADER = "rater,task,video,other,question,value,time"
PROMPTS = {name: f"prompt {name}" for name in "abcd"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synthetic.make_archive(tmp_path_factory.mktemp("rated") / "a", per_cell=1)


@pytest.fixture
def archive(made, tmp_path):
    return open_archive(shutil.copytree(made, tmp_path / "a"))


def told(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, flags=re.DOTALL)[1])


def write(path, *rows):
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def graded(archive, folder, rater="Ann", seed=0):
    """Write a file of grades, from 1 to 5, of all videos."""
    rng, videos = np.random.default_rng(seed), archive.videos()
    grades = np.clip(np.round(5 * videos.clip_reference + rng.normal(size=len(videos))), 1, 5)
    rows = [
        f"{rater},{v.task},{v.path},,accuracy,{grade:.0f},2026-01-01T00:00:00Z"
        for v, grade in zip(videos.itertuples(), grades, strict=True)
    ]
    return write(folder / f"{rater}.csv", *rows)


def test_the_command_offers_every_question():
    (settings,) = [s for names, s in cli.COMMANDS["rate"][1] if names == ["--question"]]
    assert list(settings["choices"]) == list(ASKED)


class TestPage:
    @pytest.mark.parametrize("question", ASKED)
    def test_it_is_whole_and_may_fetch_nothing(self, archive, question):
        page = rate.page(archive, question)
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
        script = re.search(r"<script>(.*)</script>", page, flags=re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert f"script-src 'sha256-{digest}'" in policy and page.count("<script") == 2
        left = page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
        assert "http" not in left.replace("http://www.w3.org/1999/xhtml", "")

    @pytest.mark.parametrize("question", ASKED)
    def test_it_holds_no_score_and_no_truth(self, archive, question):
        page = rate.page(archive, question)
        data = told(page)
        columns = {name for item in data["items"] for side in item for name in side}
        beside = "prompt" if data["prompts"] else "reference"
        assert columns == {"task", beside} | ({"path"} if question != "vagueness" else set())
        assert set(data) == {"question", "prompts", "items", "page", "clips"}
        for video in archive.videos().itertuples():
            assert f"{video.clip_reference:.6f}"[1:] not in page

    def test_all_are_asked_the_same_evenly_over_categories(self, archive):
        assert rate.page(archive, "accuracy") == rate.page(archive, "accuracy")
        items = told(rate.page(archive, "accuracy_prompt", tasks=9))["items"]
        category = archive.tasks().set_index("task").category
        counts = pd.Series([category[side["task"]] for (side,) in items]).value_counts()
        assert counts.max() - counts.min() <= 1 and len(counts) == category.nunique()

    def test_several_videos_of_a_task_are_of_different_latent_prompts(self, archive):
        items = told(rate.page(archive, "accuracy", tasks=5, videos=3))["items"]
        videos = archive.videos().set_index("path")
        of = pd.DataFrame([(s["task"], videos.latent[s["path"]]) for (s,) in items])
        assert len(of) == 15 and not of.duplicated().any()

    @pytest.mark.parametrize("tasks", [3, 4, 6])
    def test_pairs_are_of_two_tasks_and_each_video_is_in_two(self, archive, tasks):
        data = told(rate.page(archive, "preference", tasks=tasks, videos=2))
        pairs = [tuple(side["path"] for side in item) for item in data["items"]]
        assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 2 * tasks
        assert all(a["task"] != b["task"] for a, b in data["items"])
        counts = pd.Series([path for pair in pairs for path in pair]).value_counts()
        assert set(counts) == {2} and len(counts) == 2 * tasks
        assert set(data["clips"]) == {
            *counts.index,
            *(f"references/{a['task']}.mp4" for a, _ in data["items"]),
        }

    def test_ranked_are_the_tasks_of_figure_3_where_the_truth_is_known(self, archive):
        expected = ranked_tasks(summarize_run(archive, estimator="squbed"))
        items = told(rate.page(archive, "vagueness"))["items"]
        assert {side["task"] for (side,) in items} == set(expected.task)
        other = told(rate.page(archive, "vagueness", tasks=7))["items"]
        assert len(other) == 7

    def test_what_cannot_be_asked_is_said(self, archive, tmp_path, capsys):
        bare = small_archive.make(tmp_path / "bare", PROMPTS)
        with pytest.raises(ValueError, match="0 tasks to ask about.*accuracy_prompt needs none"):
            rate.page(bare, "accuracy")
        with pytest.raises(ValueError, match="tasks is 2; expected at least 3"):
            rate.page(archive, "vagueness", tasks=2)
        with pytest.raises(ValueError, match="videos is 0; expected at least 1"):
            rate.page(archive, "accuracy", videos=0)
        line = ["rate", str(archive.folder), "--question", "vagueness", "--output", str(tmp_path)]
        assert cli.main(line) == 2
        assert f"{tmp_path} is a folder; give the name of a file" in capsys.readouterr().err
        assert len(told(rate.page(bare, "vagueness"))["items"]) == 4

    def test_failed_videos_are_not_shown(self, tmp_path):
        failed = {("a", z, k) for z in range(3) for k in range(3)} | {("b", 0, 0)}
        frames = lambda *_: np.zeros((4, 16, 16, 3), np.uint8)  # noqa: E731
        archive = small_archive.make(tmp_path / "x", PROMPTS, failed=failed, frames=frames)
        items = told(rate.page(archive, "accuracy_prompt", videos=9))["items"]
        paths = [side["path"] for (side,) in items]
        assert len(paths) == 8 + 9 + 9 and "videos/b/0_0.mp4" not in paths


class TestAnswers:
    def test_the_mean_grade_is_an_accuracy_like_any_other(self, archive, tmp_path):
        rate.add(archive, [graded(archive, tmp_path, name, i) for i, name in enumerate("AB")])
        archive = open_archive(archive.folder)
        ratings, videos = archive.ratings(), archive.videos()
        means = ratings.groupby("video").value.mean()
        assert dict(videos.set_index("path").rating_accuracy) == dict(means)
        summary = summarize_run(archive, estimator="squbed")
        expected = videos.groupby("task").rating_accuracy.mean()
        np.testing.assert_allclose(summary.rating_accuracy, expected[summary.task])
        assert "rating_accuracy" in tables.accuracies_of_figure(summary, 4)
        points = tables.total_points(summary, accuracies=["rating_accuracy"])
        assert set(points.y_label) == {"people: accuracy"}
        mean = leaderboard.mean_accuracy(archive, "rating_accuracy")
        rows = leaderboard.rows_of(score_tasks(archive), mean)
        np.testing.assert_allclose(rows.accuracy, expected[rows.accuracy.index])
        data = told(explore(archive).page)
        (column,) = [c for c in data["columns"] if c["key"] == "rating_accuracy"]
        assert (column["label"], column["floor"]) == ("people: accuracy", 1)
        assert verify(archive.folder) == []

    def test_the_share_of_pairs_that_were_won(self, archive, tmp_path):
        a, b, c = archive.videos().drop_duplicates("task").head(3).itertuples()
        rows = [(a, b, 1), (a, b, 0.5), (b, c, 0), (a, c, 1)]
        lines = [
            f"r{i},{x.task},{x.path},{y.path},preference,{v}," for i, (x, y, v) in enumerate(rows)
        ]
        rate.add(archive, [write(tmp_path / "p.csv", *lines)])
        won = open_archive(archive.folder).videos().set_index("path").rating_preference.dropna()
        assert dict(won) == pytest.approx({a.path: 2.5 / 3, b.path: 0.5 / 3, c.path: 0.5})

    def test_the_last_answer_counts_and_a_file_added_twice_adds_nothing(self, archive, tmp_path):
        video = archive.videos().iloc[0]
        row = "'=Ann,{},{},,accuracy,{},{}".format
        late = row(video.task, video.path, 5, "2026-01-02T00:00:00Z")
        early = row(video.task, video.path, 1, "2026-01-01T00:00:00Z")
        first, second = write(tmp_path / "1.csv", late), write(tmp_path / "2.csv", early)
        rate.add(archive, [first])
        before = (archive.folder / "ratings.csv").read_bytes()
        rate.add(archive, [second, first])
        assert (archive.folder / "ratings.csv").read_bytes() == before
        (answer,) = archive.ratings().itertuples()
        assert (answer.rater, answer.value, answer.time.isoformat()) == (
            "=Ann", 5, "2026-01-02T00:00:00+00:00"
        )  # fmt: skip
        with held(archive):  # a run may go on in the folder
            pass

    def test_mistakes_are_named_by_their_lines_and_nothing_is_added(self, archive, tmp_path):
        video, other = archive.videos().path[0], archive.videos().path[20]
        task = archive.videos().task[0]
        path = write(
            tmp_path / "bad.csv",
            f"a,nobody,{video},,accuracy,3,",
            f"a,{task},{other},,accuracy,3,",
            f"a,{task},{video},,accuracy,6,",
            f"a,{task},{video},,preference,1,",
            f"a,{task},{video},{other},preference,2,",
            f"a,{task},{video},,vagueness,2,",
            f"a,{task},{video},,accuracy,3,",
        )
        with pytest.raises(ValueError) as error:
            rate.add(archive, [path])
        text = str(error.value)
        assert text.startswith(f"ratings {path} has mistakes: line 2: the archive does not have")
        assert "line 3: the archive does not have" in text
        assert "line 4: value is 6; expected one of 1, 2, 3, 4, 5" in text
        assert "line 5: preference is asked of a `video` and an `other`" in text
        assert "line 6: value is 2; expected one of 0, 0.5, 1" in text
        assert "line 7: vagueness is asked of no video" in text and "line 8" not in text
        assert not (archive.folder / "ratings.csv").exists()
        for cells, fault in (
            ("a,{},,,vagueness,low,", "value is 'low'; expected a number"),
            ("a,{},,,vague,1,", "question is 'vague'; expected 'vagueness'"),
            ("a,{},,,vagueness,1,2026-01-01T00:00:00", "time is .*; expected timezone info"),
            (",{},,,vagueness,1,", "rater is empty"),
        ):
            with pytest.raises(ValueError, match=fault):
                rate.add(archive, [write(path, cells.format(task))])
        with pytest.raises(FileNotFoundError, match="no ratings .*gone.csv"):
            rate.add(archive, [tmp_path / "gone.csv"])

    def test_ratings_go_with_the_videos_into_another_archive(self, archive, tmp_path):
        rate.add(archive, [graded(archive, tmp_path)])
        manifest = existing.of_archive(open_archive(archive.folder))
        assert manifest.rating_accuracy.notna().all()

    def test_answers_go_before_ratings_of_the_same_name_in_a_manifest(self, archive, tmp_path):
        manifest = existing.of_archive(archive).assign(rating_accuracy=9.0, rating_motion=2.0)
        archive.write_manifest(manifest)
        rate.add(open_archive(archive.folder), [graded(archive, tmp_path)])
        videos = open_archive(archive.folder).videos()
        assert videos.rating_accuracy.max() <= 5 and (videos.rating_motion == 2).all()

    def test_an_export_names_nobody(self, archive, tmp_path):
        seal(archive.folder)
        rate.add(archive, [graded(archive, tmp_path, "Annabel Lee")])
        folder = publish.export(archive.folder, tmp_path / "out")
        copy = open_archive(folder)
        text = (folder / "ratings.csv").read_text()
        assert "rater 1" in text and "Annabel" not in text and "2026" not in text
        pd.testing.assert_series_equal(
            copy.videos().rating_accuracy, open_archive(archive.folder).videos().rating_accuracy
        )
        with pytest.raises(ValueError, match="is a published copy"):
            rate.add(copy, [])


class TestReport:
    def test_the_command_writes_adds_and_reports(self, archive, tmp_path, capsys):
        output = tmp_path / "page.html"
        line = ["rate", str(archive.folder)]
        assert cli.main([*line, "--question", "accuracy", "--output", str(output)]) == 0
        assert output.is_file() and "open it in a browser" in capsys.readouterr().out
        assert cli.main(line) == cli.USER_ERROR
        assert "has no answers; give --question or --add" in capsys.readouterr().err
        for more in (["--tasks", "5"], ["--videos", "2"], ["--output", "x.html"]):
            assert cli.main([*line, *more]) == cli.USER_ERROR
            assert f"{more[0]} says nothing without --question; give" in capsys.readouterr().err
        files = [graded(archive, tmp_path, f"r{i}", i) for i in range(3)]
        assert cli.main([*line, *(w for f in files for w in ("--add", str(f)))]) == 0
        said = capsys.readouterr().out
        assert "answers: 405, by r0, r1, r2\n" in said
        assert "accuracy (videos: 135, people: 3): Krippendorff's alpha 0." in said
        assert re.search(r"alpha 0\.\d\d \[0\.\d\d, 0\.\d\d\]", said)
        assert re.search(r"reliability of the mean of 3: 0\.\d\d, of \d+: 0\.9; tasks that", said)

    def test_an_interval_is_the_same_whatever_else_was_asked(self, archive, tmp_path):
        graded_files = [graded(archive, tmp_path, f"r{i}", i) for i in range(3)]
        others = [path.with_suffix(".other.csv") for path in graded_files]
        for path, other in zip(graded_files, others, strict=True):
            other.write_text(path.read_text().replace(",accuracy,", ",accuracy_prompt,"))
        rate.add(archive, others)
        alone = rate.report(archive).split("\n")[1]
        archive.inside(RATINGS).unlink()
        rate.add(archive, [*graded_files, *others])
        assert "accuracy_prompt" in alone and alone in rate.report(archive).split("\n")

    def test_what_has_no_number_is_said_without_nan(self, archive, tmp_path):
        a, b, *_ = archive.videos().drop_duplicates("task").itertuples()
        rows = [f"Ann,{a.task},{a.path},,accuracy,3,", f"Ann,{a.task},,,vagueness,1,"]
        rows += [f"Bo,{b.task},,,vagueness,1,", f"Bo,{a.task},{a.path},{b.path},preference,1,"]
        rate.add(archive, [write(tmp_path / "few.csv", *rows)])
        text = rate.report(archive)
        assert "accuracy (videos: 1, people: 1): too little in common for a number" in text
        assert "vagueness (prompts: 0, people: 2): too little in common" in text
        assert "nan" not in text.lower() and "preference, Bradley-Terry" in text
        with pytest.raises(ValueError, match="each of 2 people ranked 0 tasks of the same"):
            ranked_tasks(summarize(archive, truth=True), ranking=archive.folder / "ratings.csv")
