"""The explorer in Chromium, with the network cut off: it brushes, sorts, plays, and says nothing.

`make test-browser` runs these; without playwright or Chromium they are skipped.
"""

import io
import json
import re
import shutil

import nbformat
import numpy as np
import pytest
from kit import synthetic
from kit.small import FROZEN
from kit.small_archive import make
from PIL import Image
from scipy.stats import kendalltau

from squbed_utils import explore, open_archive, summarize, video
from squbed_utils.commands.notebooks import as_html
from squbed_utils.statistics.calibration import kendall
from squbed_utils.statistics.decision import control_risk

pytestmark = pytest.mark.browser
HOSTILE = {"a": "</script><script>alert(1)</script>", "b": '<img src=x onerror="alert(1)">'}
HOSTILE |= {"c": "\u202eשלום \"quoted\" 'and' more", "d": "word " * 2000}


def until(page, expression):
    """Wait for an expression to hold, asked from outside: the page's policy forbids to poll it."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return open_archive(synthetic.make_archive(tmp_path_factory.mktemp("browser") / "a"))


@pytest.fixture(scope="module")
def path(archive, tmp_path_factory):
    return explore(archive).save(tmp_path_factory.mktemp("pages") / "page.html")


def brush(page, where, left, top, right, bottom):
    """Drag over a scatter, between shares of its width and height; wait for the interval."""
    box = page.locator(where).bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"])
          for x, y in ((left, top), (right, bottom))]  # fmt: skip
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=5)
    page.mouse.up()


def selected(page):
    """Return the ids of the tasks that the table shows, by their prompts."""
    return page.locator("#rows td:first-child button").all_inner_texts()


def readout(page, number):
    until(page, f"document.getElementById('tau{number}').dataset.interval != 'null'")
    data = page.locator(f"#tau{number}").evaluate("node => ({...node.dataset})")
    return float(data["tau"]), int(data["n"]), json.loads(data["interval"])


def test_tau_of_what_is_brushed_is_scipys_and_its_interval_the_packages(opened, path, archive):
    page = opened(path)
    table = summarize(archive).set_index("prompt")
    for part in ((0, 0, 1, 1), (0.05, 0, 0.93, 0.97)):
        brush(page, "#plot1", *part)
        rows = table.loc[selected(page)]
        for number, x, y in ((1, "total", "clip_reference"), (2, "aleatoric", "epistemic")):
            tau, n, interval = readout(page, number)
            assert n == len(rows) >= 8
            assert tau == pytest.approx(kendalltau(rows[x], rows[y]).statistic, abs=1e-12)
            expected = kendall(rows[x], rows[y], rng=np.random.default_rng(0)).interval
            np.testing.assert_allclose(interval, expected, atol=0.06)
    assert n < len(table)
    brush(page, "#plot2", 0.3, 0.3, 0.7, 0.7)
    assert len(selected(page)) < n and "[" not in page.locator("#tau2").inner_text()
    page.keyboard.press("Escape")
    assert len(selected(page)) == len(table)


def test_the_table_sorts_searches_and_follows_legend_and_slider(opened, path, archive):
    page, table = opened(path), summarize(archive, truth=True)
    page.get_by_role("button", name="CLIP to reference").click()
    assert selected(page) == list(table.sort_values("clip_reference", ascending=False).prompt)
    page.get_by_role("button", name="CLIP to reference").click()
    assert selected(page) == list(table.sort_values("clip_reference").prompt)
    bound = round(table.total.median(), 2)
    page.locator("#search").fill(f"total > {bound}, here")
    kept = table[(table.total > bound) & table.prompt.str.contains("here")]
    assert sorted(selected(page)) == sorted(kept.prompt) != []
    page.locator("#search").fill("coverage = never")
    assert sorted(selected(page)) == sorted(table[table.coverage == "never"].prompt)
    page.locator("#search").fill("")
    page.get_by_role("button", name="rare 5").click()
    assert sorted(selected(page)) == sorted(table[table.coverage != "rare"].prompt)
    page.get_by_role("button", name="show all").click()
    page.locator("#share").fill("40")
    assert sorted(selected(page)) == sorted(table.nsmallest(6, "epistemic").prompt)


def test_the_weight_makes_a_column(opened, path, archive):
    page, table = opened(path), summarize(archive)
    page.locator("#x").select_option("weighted")
    page.locator("#weight").fill("25")
    total = 0.25 * table.aleatoric + 0.75 * table.epistemic
    expected = kendalltau(total, table.clip_reference).statistic
    assert readout(page, 1)[0] == pytest.approx(expected, abs=1e-12)


def test_target_and_level_choose_the_threshold_of_the_package(opened, path, archive):
    page, table = opened(path), summarize(archive)
    decided = page.locator("#decided")
    for target, level, search in ((0.55, 0.35, ""), (0.6, 0.3, ""), (0.7, 0.12, "coverage = rare")):
        page.locator("#search").fill(search)
        low, high = table.clip_reference.min(), table.clip_reference.max()
        page.locator("#target").fill(str(low + target * (high - low)))
        page.locator("#level").fill(str(level * (high - low)))
        target, level = (float(page.locator(f"#{k}").input_value()) for k in ("target", "level"))
        rows = table.set_index("prompt").loc[selected(page)]
        losses = (target - rows.clip_reference).clip(0, target + 1)
        found = control_risk(rows.total, losses, level=level, bound=target + 1)
        shown = decided.get_attribute("data-threshold")
        if found.value is None:
            assert shown == "none" and decided.inner_text().startswith("no threshold keeps this")
            continue
        assert float(shown) == pytest.approx(found.value, rel=1e-8)
        said = f"and less: {found.accepted} of {len(rows)} tasks, mean shortfall {found.risk:.3f}"
        assert said in decided.inner_text()
        assert page.locator("#plot1 .decided").count() == 2
    page.locator("#y").select_option("aleatoric")
    assert not page.locator("#decision").is_visible()


def test_arrows_walk_through_the_tasks_in_the_tables_order(opened, path):
    page = opened(path)
    prompts = selected(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.locator("#task h2").inner_text() == prompts[2]
    assert page.locator("tr[aria-current] button").inner_text() == prompts[2]
    page.keyboard.press("ArrowUp")
    assert page.locator("#place").inner_text() == "2 of 15"
    page.locator("#search").press("ArrowDown")  # a key of the text field
    assert page.locator("#task h2").inner_text() == prompts[1]
    page.locator("#head button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#head th").first.get_attribute("aria-sort") == "ascending"


def frames_of(page):
    """Return the pictures of the first video at several times."""
    clip = page.locator("#task li .clip:visible").first
    return [(page.wait_for_timeout(130), clip.screenshot())[1] for _ in range(8)]


def open_moving(page, archive):
    """Show a task whose first video moves, and whose reference is of one colour near its top."""
    videos = archive.videos()
    for row in videos[(videos.latent == 0) & (videos["sample"] == 0)].itertuples():
        frames, top = archive.read_video(row.path), archive.reference(row.task)[:, 1:6, 8:19]
        if (frames != frames[0]).any() and (top == top[0, 0, 0]).all():
            page.locator("#search").fill(row.task)
            page.locator("#after").click()
            return
    raise AssertionError("no such task")


def test_previews_play_and_pause_in_the_right_colours(opened, path, archive):
    page = opened(path)
    open_moving(page, archive)
    assert len(set(frames_of(page))) > 1
    page.get_by_role("button", name="Pause").click()
    page.locator("#task li canvas").first.wait_for()
    assert len(set(frames_of(page))) == 1
    name = page.locator("#task .chip").first.inner_text()
    shown = np.asarray(Image.open(io.BytesIO(page.locator("figure .clip:visible").screenshot())))
    reference = video.read(archive.inside(f"references/{name}.mp4")).frames
    corner = np.median(shown[8:16, 40:56, :3], axis=(0, 1))  # within a flat background
    background = reference[:, 3:5, 13:18].reshape(-1, 3)
    assert np.abs(background - corner).max(axis=1).min() <= 3
    page.get_by_role("button", name="Play").click()
    assert len(set(frames_of(page))) > 1


def test_nothing_plays_for_those_who_want_no_motion(opened, path):
    page = opened(path, reduced_motion="reduce")
    page.locator("#task li canvas").first.wait_for()
    assert len(set(frames_of(page))) == 1
    label = page.locator("#task canvas").nth(1).get_attribute("aria-label")
    assert label.startswith("video 1 of latent prompt 1: ")


def test_hostile_texts_are_shown_and_do_nothing(opened, tmp_path):
    archive = make(tmp_path / "a", HOSTILE, caption=lambda *_: HOSTILE["a"])
    page = opened(explore(archive).save(tmp_path / "page.html"))
    shown = []
    for _ in HOSTILE:
        shown.append(page.locator("#task h2").text_content())
        page.keyboard.press("ArrowDown")
    expected = [*HOSTILE.values()]
    expected[2] = expected[2].replace("\u202e", r"\u202e")
    assert sorted(shown) == sorted(expected)
    assert page.locator("script").count() == 2 and page.locator("main img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_two_archives_stand_side_by_side(opened, archive, tmp_path):
    folder = shutil.copytree(archive.folder, tmp_path / "other")
    pair = explore(archive, open_archive(folder))
    page = opened(pair.save(tmp_path / "pair.html"))
    assert page.locator("#task section h3").all_inner_texts() == ["A: a", "B: other"]
    left, right = (page.locator("#task section").nth(k).bounding_box() for k in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]


def test_a_folder_shows_every_video(opened, tmp_path):
    page = opened(explore(open_archive(FROZEN)).save(tmp_path / "site") / "index.html")
    until(page, "[...document.querySelectorAll('#task img')].every(i => i.complete)")
    sizes = page.locator("#task img").evaluate_all("all => all.map(image => image.naturalWidth)")
    assert len(sizes) == 7 and all(sizes)


@pytest.mark.parametrize("width", [420, 980])
def test_narrow_pages_need_no_sideways_scrolling(opened, path, width):
    page = opened(path)
    page.set_viewport_size({"width": width, "height": 900})
    drawn = f"[...document.querySelectorAll('svg')].every(s => s.clientWidth < {width})"
    until(page, drawn)  # an observer draws the scatters again once the page has another width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_notebooks_html_copy_shows_it_alive(opened, archive, tmp_path):
    output = nbformat.v4.new_output("display_data", {"text/html": explore(archive)._repr_html_()})
    cell = nbformat.v4.new_code_cell("explore(archive)", outputs=[output])
    notebook, path = tmp_path / "notebook.ipynb", tmp_path / "notebook.html"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    path.write_text(as_html(notebook), encoding="utf-8")
    frame = opened(path).frame_locator("iframe")
    frame.get_by_role("button", name="CLIP to reference").click()
    assert re.match(r"τ = −?\d\.\d\d", frame.locator("#tau1").inner_text())
    assert frame.locator("#task img").first.evaluate("image => image.decode().then(() => true)")
