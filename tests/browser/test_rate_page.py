"""The pages for raters in Chromium, with the network cut off: people answer, stop and come back.

`make test-browser` runs these; without playwright or Chromium they are skipped.
"""

import csv
import re

import pytest
from kit import synthetic
from kit.small_archive import make

from squbed_utils import cli, open_archive, summarize
from squbed_utils.commands import rate
from squbed_utils.statistics.tables import metric_points, ranked_tasks, summarize_run

pytestmark = pytest.mark.browser
HOSTILE = {"a": "</script><script>alert(1)</script>", "b": '<img src=x onerror="alert(1)">'}
HOSTILE |= {"c": "\u202eשלום \"quoted\" 'and' more", "d": "word " * 2000}


@pytest.fixture
def archive(tmp_path):
    return open_archive(synthetic.make_archive(tmp_path / "a"))


@pytest.fixture
def asked(opened, archive, tmp_path):
    """Open the page of a question as somebody."""

    def visit(question, rater, page=None, **options):
        path = tmp_path / f"{question}.html"
        path.write_text(rate.page(archive, question), encoding="utf-8")
        if page is None:
            page = opened(path, **options)
        else:
            page.reload()
        page.locator("#name").fill(rater)
        page.get_by_role("button", name="Begin").click()
        return page

    return visit


def saved(page, folder):
    """Press the button, and return the file and its rows."""
    with page.expect_download() as download:
        page.locator("#save").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    with path.open(encoding="utf-8", newline="") as file:
        return path, list(csv.DictReader(file))


def order(page):
    return page.locator("li .long").all_inner_texts()


def test_prompts_are_ranked_by_drag_buttons_and_keys_and_the_ranks_go_to_figure_3(
    asked, archive, tmp_path, capsys
):
    prompts, added = archive.tasks().set_index("task").prompt, []
    for rater in ("Ann", '=Bo, "the" second'):
        page = asked("vagueness", rater)
        first = order(page)
        page.locator("li").nth(3).drag_to(
            page.locator("li").nth(0), target_position={"x": 9, "y": 3}
        )
        assert order(page) == [first[3], *first[:3], *first[4:]]
        page.locator("li").nth(1).focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert order(page)[1:4] == [first[1], first[2], first[0]]
        assert page.locator("#place").inner_text() == "now 4 of 5"
        page.get_by_role("button", name=f"up: {first[0]}").click()
        page.get_by_role("button", name="This is my order").click()
        path, rows = saved(page, tmp_path)
        final = [first[3], first[1], first[0], first[2], first[4]]
        by_rank = sorted(rows, key=lambda row: int(row["value"]))
        assert [prompts[row["task"]] for row in by_rank] == final
        assert {(row["question"], row["video"], row["other"]) for row in rows} == {
            ("vagueness", "", "")
        }
        added += ["--add", str(path)]
    assert cli.main(["rate", str(archive.folder), *added]) == 0
    assert "vagueness (prompts: 5, people: 2): Kendall's W " in capsys.readouterr().out
    assert set(archive.ratings().rater) == {"Ann", '=Bo, "the" second'}
    summary = summarize_run(archive, estimator="squbed")
    ranked = ranked_tasks(summary, ranking=archive.folder / "ratings.csv")
    means = archive.ratings().groupby("task").value.mean()
    assert dict(zip(ranked.task, ranked["rank"], strict=True)) == dict(means)
    points = metric_points(ranked)
    assert set(points.x_label) == {"mean rank of 2 raters ± sd"}
    assert (points.x_spread >= 0).all() and points.x_spread.max() > 0


def test_grades_are_kept_when_a_rater_comes_back_and_become_an_accuracy(asked, archive, tmp_path):
    page = asked("accuracy", "Ann")
    first = page.locator("figure img").nth(1).get_attribute("src")
    for key in "35":
        page.keyboard.press(key)
    page.get_by_role("button", name="2", exact=False).first.click()
    assert page.locator("#place").inner_text() == "4 of 15"
    page = asked("accuracy", "Ann", page)
    assert page.locator("#place").inner_text() == "4 of 15"
    for _ in range(3):
        page.get_by_role("button", name="Back").click()
    assert page.locator("[aria-pressed=true]").inner_text().startswith("3")
    assert page.locator("figure img").nth(1).get_attribute("src") == first
    page.keyboard.press("4")  # a second thought
    path, rows = saved(page, tmp_path)
    assert sorted(row["value"] for row in rows) == ["2", "4", "5"]
    other = asked("accuracy", "Bo")  # in another order, and from a file
    assert other.locator("#place").inner_text() == "1 of 15"
    shown = other.locator("figure img").nth(1).get_attribute("src")
    other.reload()
    other.locator("input[type=file]").set_input_files(path)
    assert other.locator("#name").is_visible()  # a name is still missing
    other.locator("#name").fill("Bo")
    other.get_by_role("button", name="Begin").click()
    other.get_by_text("How close does").wait_for()
    again = {row["video"]: row["value"] for row in saved(other, tmp_path)[1]}
    assert again == {row["video"]: row["value"] for row in rows}
    strange = tmp_path / "strange.csv"
    strange.write_text("rater,task\nBo,nothing\n")
    other = asked("accuracy_prompt", "")
    other.locator("#name").fill("Cy")
    other.locator("input[type=file]").set_input_files(strange)
    other.get_by_text("no answers to this page are in that file").wait_for()
    assert shown != first
    rate.add(archive, [path])
    table = open_archive(archive.folder).videos().set_index("path").rating_accuracy
    assert {row["video"]: float(row["value"]) for row in rows} == dict(table.dropna())
    means = summarize(open_archive(archive.folder)).set_index("task").rating_accuracy
    assert {row["task"] for row in rows} == set(means.dropna().index)


def test_pairs_are_answered_by_side_and_stored_by_video(asked, archive, tmp_path):
    """Each rater prefers the video whose reference is what it shows, wherever it stands."""
    scores = archive.videos().set_index("path").clip_reference
    lefts = []
    for rater in ("Ann", "Bo"):
        page = asked("preference", rater)
        clips = page.evaluate(
            "Object.fromEntries(Object.entries(data.clips).map(([k, v]) => [v, k]))"
        )
        left = 0
        while page.locator(".answers").count():
            videos = [
                clips[page.locator(".side").nth(k).locator("img").nth(1).get_attribute("src")]
                for k in (0, 1)
            ]
            best = max((0, 1), key=lambda k: scores[videos[k]])
            left += best == 0
            page.keyboard.press(("ArrowLeft", "ArrowRight")[best])
        lefts.append(left)
        path, rows = saved(page, tmp_path)
        assert len(rows) == 15 and all(row["task"] in row["video"] for row in rows)
        for row in rows:
            better = scores[row["video"]] > scores[row["other"]]
            assert float(row["value"]) == better
            assert row["other"].split("/")[1] != row["task"]
        rate.add(archive, [path])
    assert all(0 < left < 15 for left in lefts)
    text = rate.report(archive)
    assert "preference (pairs: 15, people: 2): Krippendorff's alpha 1.00" in text
    assert "preference, Bradley-Terry" in text


def test_raters_are_blind_and_all_is_within_reach(asked, archive):
    hidden = [*archive.tasks().task, *archive.videos().path, "never", "rare", "clip_reference"]
    for question in ("vagueness", "accuracy", "preference_prompt"):
        page = asked(question, "Ann", reduced_motion="reduce")
        shown = page.locator("body").inner_text() + " ".join(
            page.locator("main *").evaluate_all(
                "all => all.flatMap(n => [...n.attributes].map(a => a.value.slice(0, 200)))"
            )
        )
        assert not [word for word in hidden if re.search(rf"(?<![\w/;,+]){word}(?!\w)", shown)]
        if question == "vagueness":
            continue
        page.locator("main canvas").first.wait_for()  # a picture stands still in place of a video
        page.get_by_role("button", name="Play").click()
        assert page.locator("main canvas").count() == 0
        page.locator("#play").focus()
        for _ in range(2):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.locator("#place").inner_text().startswith("2 of")
        for width in (390, 1100):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_prompts_are_shown_and_do_nothing(opened, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(rate.page(make(tmp_path / "a", HOSTILE), "vagueness"), encoding="utf-8")
    page = opened(path)
    page.get_by_role("button", name="Begin").click()
    assert page.locator("#name").is_visible()  # who gives no name does not begin
    page.locator("#name").fill(HOSTILE["b"])
    page.keyboard.press("Enter")
    expected = [*HOSTILE.values()]
    expected[2] = expected[2].replace("\u202e", r"\u202e")
    shown = page.locator("li .long").evaluate_all("all => all.map(node => node.textContent)")
    assert sorted(shown) == sorted(expected)
    assert page.locator("script").count() == 2 and page.locator("main img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
