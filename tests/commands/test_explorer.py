"""The explorer's page: what it says of an archive, what it holds, and what it lets no text do."""

import base64
import hashlib
import html
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from kit import small_archive, synthetic
from kit.small import FROZEN
from PIL import Image

from squbed_utils import cli, explore, open_archive, summarize
from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import OK
from squbed_utils.commands import explorer
from squbed_utils.commands.pages import preview
from squbed_utils.files import ROOT
from squbed_utils.video import Video

SCRIPTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "data" / "templates").glob("*.js")
}
HOSTILE = {
    "script": "</script><script>alert(1)</script><!-- ]]>",
    "quotes": "\"double\" 'single' `back` &amp; \\u003c ${1}",
    "turned": "\u202eevil\u202c \u2028 שלום مرحبا \x1b[31m",
    "long": "word " * 2000,
    "image": '<img src=x onerror="alert(1)">',
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    return open_archive(synthetic.make_archive(tmp_path_factory.mktemp("explored") / "a"))


@pytest.fixture(scope="module")
def page(archive) -> str:
    return explore(archive).page


def told(page: str) -> dict:
    """Return the JSON that a page holds."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, flags=re.DOTALL)[1])


def test_the_page_holds_the_numbers_of_the_summary(archive, page):
    data, summary = told(page), summarize(archive, truth=True)
    assert [task["id"] for task in data["tasks"]] == list(summary.task)
    for column in ("total", "aleatoric", "clip_reference", "true_entropy"):
        np.testing.assert_allclose(data["values"][column], summary[column], rtol=1e-8)
    assert data["values"]["coverage"] == list(summary.coverage)
    np.testing.assert_allclose(data["values"]["lpips"], -summary.lpips, rtol=1e-8)
    known = {column["key"]: column for column in data["columns"]}
    assert set(known) == set(data["values"]) and known["total"]["number"]
    assert {"energy_split_total", "weighted", "category"} < set(known)
    assert {"n", "m", "dataset", "reference_seed", "total_low"}.isdisjoint(known)
    assert data["start"] == {"x": "total", "y": "clip_reference", "colour": "coverage"} | {
        "x2": "aleatoric", "y2": "epistemic", "by": "epistemic",
    }  # fmt: skip


def test_a_task_has_its_latent_prompts_entropies_and_videos(archive, page):
    data, videos = told(page), archive.videos()
    summary = summarize(archive).set_index("task")
    for task in data["tasks"]:
        (part,) = task["of"]
        entropies = [entropy for *_, entropy in part["latents"]]
        assert np.mean(entropies) == pytest.approx(summary.epistemic[task["id"]])
        own = videos[videos.task == task["id"]]
        assert [row[1] for row in part["videos"]] == [str(seed) for seed in own.seed]
        assert [row[5] for row in part["videos"]] == pytest.approx(list(own.ssim))
        assert part["reference"] in data["clips"][0]
        first = own.drop_duplicates("latent")
        assert set(first.path) <= set(data["clips"][0])
        assert not set(own.path) - set(first.path) & set(data["clips"][0])


def test_seeds_keep_all_digits(archive):
    assert explorer._plain(str(2**62 + 1)) == str(2**62 + 1)
    assert explorer._plain(np.float64("nan")) is None and explorer._plain(np.inf) is None


def test_the_page_is_whole_and_may_fetch_nothing(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    script = re.search(r"<script>(.*)</script>", page, flags=re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert script == "\n".join(SCRIPTS[name] for name in explorer.SCRIPTS)
    assert f"script-src 'sha256-{digest}'" in policy
    assert page.count("<script") == 2 and len(page.encode()) < 6e6
    left = page.replace("http://www.w3.org/2000/svg", "").replace(
        "http://www.w3.org/1999/xhtml", ""
    )
    assert "http" not in left.replace("http-equiv", "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_short_and_makes_no_markup_of_text(name):
    lines = SCRIPTS[name].splitlines()
    assert len(lines) <= 500 and max(map(len, lines)) <= 100
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("):
        assert way not in SCRIPTS[name]


def test_hostile_texts_stay_text(tmp_path):
    archive = small_archive.make(tmp_path / "a", HOSTILE, caption=lambda *_: HOSTILE["script"])
    page = explore(archive).page
    assert page.count("<script") == 2 and "<img src=x" not in page and "\u202e" not in page
    prompts = {task["id"]: task["prompt"] for task in told(page)["tasks"]}
    for name in ("script", "quotes", "long", "image"):
        assert prompts[name] == HOSTILE[name]
    assert prompts["turned"] == r"\u202eevil\u202c \u2028 שלום مرحبا \x1b[31m"
    frame = explore(archive)._repr_html_()
    assert frame.count("<") == 2 and "&lt;script" in frame  # the frame, begun and ended


def test_what_is_not_there_is_none_and_said(tmp_path):
    failed = {("a", 0, k) for k in range(3)} | {("b", z, k) for z in range(3) for k in range(3)}
    archive = small_archive.make(tmp_path / "a", {"a": "a", "b": "b", "c": "c"}, n=4, failed=failed)
    data = told(explore(archive).page)
    a, b, _ = (task["of"][0] for task in data["tasks"])
    assert a["latents"][0][2] is None and a["latents"][1][2] is not None
    assert a["videos"][0][4] == "no reason" and a["videos"][-1][4] is None
    assert data["values"]["total"][1] is None
    assert {term["remark"] for term in b["terms"]} == {explorer.LEFT_OUT}
    assert [term["text"] for term in b["terms"]] == ["−"] * 3
    assert any("left out for want of videos: b" in note for note in data["notes"])
    assert data["clips"] == [{}] and "Previews of 0 of 36 videos" in data["notes"][0]


def test_without_latent_prompts_the_epistemic_part_stands_alone(tmp_path):
    archive = small_archive.make(tmp_path / "a", {"a": "a", "b": "b", "c": "c"}, text=False)
    data = told(explore(archive).page)
    assert "total" not in data["values"] and not data["weighted"]
    assert data["start"]["x"] == "epistemic" and data["start"]["y"] == "clip_prompt"
    assert data["start"]["x2"] == "clip_prompt" and data["start"]["y2"] == "epistemic"
    assert data["tasks"][0]["of"][0]["terms"][2]["text"] == "−"
    assert data["tasks"][0]["of"][0]["latents"][0][:2] == [0, None]


def test_identical_samples_are_marked_and_not_ranked(tmp_path):
    folder = shutil.copytree(FROZEN, tmp_path / "a")
    archive = Archive(folder)
    first, second = archive.tasks().task
    for latent in range(3):
        rows = archive.rows(first, latent)
        same = {"embedding": rows[0]["embedding"]}
        archive.write_shard(first, latent, [row | same for row in rows])
    one, other = told(explore(open_archive(folder)).page)["tasks"]
    assert one["id"] == first and one["unranked"] and not other["unranked"]
    assert one["of"][0]["marks"][0].startswith("videos are identical: latent 0 samples 0, 1")
    assert one["of"][0]["terms"][1]["remark"].endswith("set by the cap, not measured")
    assert "(cap)" in one["of"][0]["terms"][1]["text"] and other["of"][0]["marks"] == []


def test_previews_become_smaller_and_fewer_to_fit(archive, page, monkeypatch):
    whole = told(page)["clips"][0]
    used = len(json.dumps(told(page) | {"clips": []}, ensure_ascii=False))
    monkeypatch.setattr(explorer, "MOST_BYTES", used + 40_000)
    small_page = explore(archive).page
    data = told(small_page)
    shown = data["clips"][0]
    assert 0 < len(shown) < len(whole) and sum(map(len, shown.values())) < 40_000
    videos = [path for path in shown if path.startswith("videos")]
    assert data["notes"][0].startswith(f"Previews of {len(videos)} of 135 videos, at most one")
    references = [path for path in whole if path.startswith("references")]
    assert list(shown)[: len(references)] == references[: len(shown)]
    assert "48 pixels and 6 frames" in data["notes"][0]


def test_a_preview_is_reduced_as_asked():
    frames = np.random.default_rng(0).integers(0, 256, (20, 100, 200, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(preview(Video(frames, 10), side=50, frames=5)))
    assert image.size == (50, 25) and image.n_frames == 5
    image.load()
    assert image.info["duration"] == 400


def test_a_folder_has_every_preview_and_replaces_only_its_own(archive, tmp_path):
    folder = explore(archive).save(tmp_path / "site")
    page = (folder / "index.html").read_text(encoding="utf-8")
    (clips,) = told(page)["clips"]
    videos = archive.videos()
    assert set(clips) == {*videos[videos.status == OK].path, *archive.tasks().reference}
    assert all((folder / name).read_bytes()[8:12] == b"WEBP" for name in clips.values())
    assert "img-src 'self';" in html.unescape(page) and "data:image" not in page
    explore(archive).save(folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="mine holds something else; choose a new folder or NAME"):
        explore(archive).save(tmp_path / "mine")


def test_two_archives_have_columns_each_and_differences(archive, tmp_path):
    folder = shutil.copytree(archive.folder, tmp_path / "b")
    for task in archive.tasks().task[:4]:
        rows = archive.rows(task, 0)
        changed = [row | {"embedding": row["embedding"][::-1]} for row in rows[:1]]
        Archive(folder).write_shard(task, 0, changed + rows[1:])
    data = told(explore(archive, open_archive(folder)).page)
    values = data["values"]
    difference = np.subtract(values["total.B"], values["total.A"])
    np.testing.assert_allclose(values["total.difference"], difference, atol=1e-6)
    assert (difference[:4] > 0).all() and not difference[4:].any()
    for same in ("true_entropy", "aleatoric", "clip_reference"):
        assert same in values and f"{same}.A" not in values
    assert data["names"] == ["a", "b"] and not data["weighted"] and len(data["clips"]) == 2
    assert (data["start"]["x"], data["start"]["y"]) == ("total.A", "total.B")
    assert all(len(task["of"]) == 2 for task in data["tasks"])


def test_two_archives_need_a_task_in_common(archive):
    with pytest.raises(ValueError, match="the two archives share no task; expected some of equal"):
        explore(archive, open_archive(FROZEN)).page  # noqa: B018


def test_the_command_writes_a_page(archive, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert cli.main(["explore", str(archive.folder), "--output", str(path)]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(rf"{re.escape(str(path))}: \d+ kB; open it in a browser\n", out)
    assert path.read_text(encoding="utf-8") == explore(archive).page
    assert repr(explore(archive)) == "Explorer of synthetic; .save('page.html') writes it as a page"


def test_an_export_has_the_page_beside_its_card(archive, tmp_path):
    from squbed_utils.commands.publish import export

    folder = export(archive.folder, tmp_path / "hf")
    page = (folder / "explorer.html").read_text(encoding="utf-8")
    assert len(told(page)["tasks"]) == 15 and str(Path.home()) not in page
    assert "explorer.html" in (folder / "README.md").read_text(encoding="utf-8")
    assert "  explorer.html\n" in (folder / "SHA256SUMS").read_text(encoding="utf-8")
