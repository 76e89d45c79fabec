"""One prompt, one answer: numbers, latent prompts and a contact sheet."""

import html
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from kit import tiny

from squbed_utils import cli, figures, files, profiles
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.collection import latent
from squbed_utils.commands import answer as quantify
from squbed_utils.commands.answer import Answer
from squbed_utils.estimators.estimate import CAPPED
from squbed_utils.statistics import tables
from squbed_utils.statistics.summary import summarize
from squbed_utils.tasks import prompts
from squbed_utils.text import number
from squbed_utils.world import scenes

PROMPT = 'a "cat" <script>alert(1)</script> & \n dog'
CLEAN = 'a "cat" <script>alert(1)</script> & dog'


@pytest.fixture(scope="module")
def answer(tiny_profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers") / "one"
    return quantify.quantify(PROMPT, profile=tiny_profile, m=2, output=folder)


@pytest.fixture
def made(monkeypatch):
    """Units made from now on."""
    units, make = [], latent.make
    monkeypatch.setattr(
        latent, "make", lambda bench, *unit: (units.append(unit[1]), make(bench, *unit))
    )
    return units


def test_an_answer_has_numbers_and_latent_prompts(answer):
    terms = answer.terms()
    assert list(terms.term) == ["aleatoric", "epistemic", "total"]
    assert terms.low[1] < terms.value[1] < terms.high[1]
    assert terms.low[[0, 2]].isna().all() and terms.high[[0, 2]].isna().all()
    none = "no interval: 3 distinct latent prompts"
    assert list(terms.remark) == [none, "", none]
    assert ["±" in text for text in terms.text] == [False, True, False]
    assert (
        "No interval: 3 distinct latent prompts (aleatoric, total)." in answer.note()
        and "nan" not in answer.note()
    )
    assert terms.value[2] == pytest.approx(terms.value[:2].sum())
    latents = answer.latents()
    assert len(latents) == tiny.N and latents.paths.map(len).tolist() == [2] * tiny.N
    text = repr(answer)
    assert CLEAN in text and all(prompt in text for prompt in latents.prompt)
    assert all(value in text for value in terms.text) and "0 failed" in text


def test_an_answer_says_where_it_lies_among_the_archives_tasks(answer):
    s = answer.summary
    peers = pd.DataFrame(
        {"total": s.total + np.arange(-3, 7.0), "clip_prompt": np.arange(10, 0, -1.0)}
    )
    peers = peers.assign(
        aleatoric=s.aleatoric - 1, epistemic=s.epistemic + 1, clip_reference=np.nan
    )
    placed = Answer(answer.archive, s, peers)
    said = [text.split("; ")[1] for text in placed.terms().meaning]
    assert said == [f"less certain than {share} of 10 tasks" for share in ("100%", "0%", "30%")]
    assert "The accuracy to expect at such a total is CLIP to prompt 7.00." in placed.note()
    assert "less certain than 30% of 10 tasks" in repr(placed) and "30% of 10" in quantify.page(
        placed
    )
    assert Answer(answer.archive, s, peers.head(7)).expected() == ""
    assert "tasks" not in "".join(answer.terms().meaning) and "expect" not in answer.note()
    capped = s.copy()
    capped["total_remark"] = f"identical: {CAPPED}"
    assert Answer(answer.archive, capped, peers).terms().meaning[2] == "their sum"
    assert Answer(answer.archive, capped, peers).expected() == ""


def test_peers_are_the_tasks_of_the_profiles_archive(
    answer, tiny_profile, tiny_archive, monkeypatch
):
    profile = profiles.load(tiny_profile)
    monkeypatch.setattr(files, "SAMPLES", tiny_archive.parent)
    assert quantify._peers(answer.archive, profile) is None  # m is 2 here and 3 there
    alike = Archive(tiny_archive)
    assert len(quantify._peers(alike, profile)) == len(alike.tasks())
    monkeypatch.setattr(files, "SAMPLES", tiny_archive)
    assert quantify._peers(alike, profile) is None


def test_a_latent_prompt_has_its_entropy_and_the_one_that_it_repeats(answer, tmp_path):
    latents = answer.latents()
    assert latents.entropy.mean() == pytest.approx(answer.summary.epistemic)
    assert all(f"{number(h, '.1f')}\u00a0nats" in repr(answer) for h in latents.entropy)
    archive = Archive(shutil.copytree(answer.archive.folder, tmp_path / "copy"))
    rows = archive.rows(answer.summary.task, 2)
    prompt = latents.prompt[0]
    archive.write_shard(answer.summary.task, 2, [row | {"prompt": prompt} for row in rows])
    said = list(Answer(archive, answer.summary).latents().said)
    assert said[2].endswith(", repeats z1") and not any("repeats" in text for text in said[:2])


def test_without_a_reference_there_is_clip_to_the_prompt_alone(answer):
    videos = answer.archive.videos()
    assert videos[["ssim", "psnr", "lpips", "clip_reference"]].isna().all(axis=None)
    assert videos.clip_prompt.between(-1, 1).all() and (videos.status == "ok").all()
    assert pd.isna(answer.archive.tasks().reference[0]) and answer.archive.truth() is None


def test_lpips_need_not_be_there(tiny_profile, tmp_path):
    path = tmp_path / "p.yaml"
    tiny.write_profile(tiny_profile.parent, path, lpips={"path": str(tmp_path / "gone")})
    found = quantify.quantify(PROMPT, profile=path, m=2, output=tmp_path / "one")
    assert np.isfinite(found.terms().value).all() and "lpips" not in found.archive.profile
    assert tables.summarize_run(found.archive, estimator="squbed").lpips_form[0] == ""


def test_an_unfinished_answer_says_how_to_go_on(answer, tmp_path):
    copy = Archive(shutil.copytree(answer.archive.folder, tmp_path / "copy"))
    copy.shard(copy.tasks().task[0], 1).unlink()
    profile = copy.profile
    sizes = f"--n {profile['n']} --m 2 --seed {profile['seed']} --output {copy.folder}"
    again = rf"run `squbed quantify 'a \"cat\" .*' --profile world-tiny {sizes}` to finish it"
    with pytest.raises(ValueError, match=again):
        open_archive(copy.folder)


def test_the_unit_of_work_is_the_collections(answer, tiny_profile, tmp_path):
    profile = profiles.load(tiny_profile)
    assert "dataset" not in answer.archive.profile and answer.archive.profile["m"] == 2
    assert answer.archive.profile["seed"] == profile.seed
    other = quantify.quantify(PROMPT, profile=tiny_profile, m=2, seed=5, output=tmp_path / "other")
    assert set(other.archive.videos().seed).isdisjoint(answer.archive.videos().seed)


def test_a_finished_answer_makes_nothing_and_an_interrupted_one_the_rest(
    answer, tiny_profile, tmp_path, made
):
    folder = shutil.copytree(answer.archive.folder, tmp_path / "copy")
    task = answer.summary.task
    again = quantify.quantify(PROMPT, profile=tiny_profile, m=2, output=folder)
    assert made == [] and again.summary.equals(answer.summary)
    shard = Archive(folder).shard(task, 1)
    before = shard.read_bytes()
    shard.unlink()
    quantify.quantify(PROMPT, profile=tiny_profile, m=2, output=folder)
    assert made == [1] and shard.read_bytes() == before


def test_another_prompt_or_size_in_the_same_folder_is_refused(answer, tiny_profile):
    folder = answer.archive.folder
    with pytest.raises(ValueError, match="answers for .*cat.*; choose another --output"):
        quantify.quantify("a star", profile=tiny_profile, m=2, output=folder)
    with pytest.raises(ValueError, match="made by another profile: m is 2 there and 3 here"):
        quantify.quantify(PROMPT, profile=tiny_profile, m=3, output=folder)


def test_the_default_folder_follows_prompt_and_sizes(tiny_profile):
    profile = profiles.load(tiny_profile)
    folder = quantify._default_folder("A cat, doing ../ something!", profile)
    assert folder.parent == files.SAMPLES / "quantify"
    assert re.fullmatch(r"a-cat-doing-something-[0-9a-f]{8}", folder.name)
    other = quantify._default_folder("A cat, doing ../ something", profile)
    assert other.name != folder.name
    assert files.readable_name("猫", "猫").startswith("prompt-")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2}, "n is 2; expected at least 3"),
        ({"m": 1}, "m is 1, and estimator 'squbed' reads 2 videos"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"prompt": " \n"}, "a prompt is a text of .*, such as 'a small red circle"),
        ({"prompt": "a \udcff"}, "a prompt is a text of at most 20,000 characters in UTF-8"),
    ],
)
def test_what_is_refused_before_anything_runs(tiny_profile, tmp_path, options, message):
    call = {"prompt": "a star", "profile": tiny_profile, "output": tmp_path / "x"} | options
    with pytest.raises(ValueError, match=message):
        quantify.quantify(**call)
    assert not (tmp_path / "x").exists()


def test_the_shapes_world_says_what_it_can_say(capsys, tmp_path):
    line = ["quantify", "a cat doing something", "--output", str(tmp_path / "x")]
    assert cli.main(line) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "cannot say 'a cat doing something': it says a thing or one of 54 shapes" in err
    assert prompts.EXAMPLE in err and not (tmp_path / "x").exists()


def test_the_example_can_be_said():
    scene = scenes.parse(prompts.EXAMPLE)
    assert (scene["colour"], scene["shape"], scene["motion"]) == ("red", "circle", "left")
    assert scenes.parse("a star") == {"shape": "star"}


def test_html_is_self_contained_and_escaped(answer):
    page = quantify.page(answer)
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; dog" in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 2 * tiny.N
    assert all(s.startswith("data:image/webp;base64,") for s in sources)
    assert "http" not in page and answer._repr_html_() in page
    assert all(text in page for text in answer.terms().text)


def test_previews_move_at_the_videos_pace(answer):
    import base64
    import io

    from PIL import Image

    source = re.findall(r'src="data:image/webp;base64,([^"]*)"', answer._repr_html_())[0]
    image = Image.open(io.BytesIO(base64.b64decode(source)))
    image.load()
    assert (image.n_frames, image.size) == (9, (32, 32)) and image.info["duration"] == 125


def test_save_writes_png_and_html(answer):
    png, page = answer.save()
    assert png.read_bytes()[:4] == b"\x89PNG" and "<html" in page.read_text(encoding="utf-8")
    assert {path.parent for path in (png, page)} == {answer.archive.folder}
    assert not (answer.archive.folder / "contact_sheet.pdf").exists()


@pytest.mark.parametrize("broken", ["png", "html"])
def test_an_output_that_fails_costs_no_other(answer, monkeypatch, capsys, broken):
    def fail(*args, **options):
        raise RuntimeError("no\nroom \x1b")

    place = (figures, "save") if broken == "png" else (quantify, "page")
    monkeypatch.setattr(*place, fail)
    (written,) = answer.save()
    assert {written.suffix[1:], broken} == {"png", "html"}
    err = capsys.readouterr().err
    expected = rf"squbed: \S*contact_sheet.{broken} was not written: RuntimeError: no room \\x1b\n"
    assert re.fullmatch(expected, err)


def test_a_terminal_without_the_letters_shows_their_codes(answer, tiny_profile, monkeypatch):
    import io

    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    line = ["quantify", PROMPT, "--profile", str(tiny_profile), "--m", "2", "--output"]
    assert cli.main([*line, str(answer.archive.folder)]) == 0
    out.flush()
    assert b"\\u201c" in out.buffer.getvalue()


def test_a_failed_video_is_left_out(answer, tiny_profile, tmp_path):
    folder = shutil.copytree(answer.archive.folder, tmp_path / "copy")
    archive, task = Archive(folder), answer.summary.task
    rows = layout.read_table(archive.shard(task, 0)).to_pylist()
    for row in rows:
        row |= {"path": None, "embedding": None, "clip_prompt": None, "status": "failed"}
    archive.write_shard(task, 0, rows)
    with pytest.raises(ValueError, match="no task has 3 or more latent prompts.*--retry-failed"):
        quantify.quantify(PROMPT, profile=tiny_profile, m=2, output=folder)
    shown = Answer(Archive(folder), answer.summary)
    assert "(2 failed)" in shown.note() and "no video" in shown._repr_html_()
    assert "no video" in [t.get_text() for ax in shown.figure().axes for t in ax.texts]


def test_identical_videos_are_said_and_named(answer, tmp_path, capsys):
    archive = Archive(shutil.copytree(answer.archive.folder, tmp_path / "copy"))
    task = answer.summary.task
    rows = archive.rows(task, 1)
    archive.write_shard(task, 1, [row | {"embedding": rows[0]["embedding"]} for row in rows])
    assert "identical" not in repr(answer)
    archive = open_archive(archive.folder)
    with pytest.warns(UserWarning, match="videos are identical in 1 of 1 tasks"):
        found = Answer(archive, summarize(archive).iloc[0])
    text = repr(found)
    assert "Identical videos: set by the cap, not measured (epistemic, total)." in text
    assert f"Videos are identical in 1 of 1 tasks: {task} (latent 1 samples 0, 1)." in text
    assert "(cap) nats" in found.terms().text[1] and found.note() in _note_of(found)
    assert cli.main(["estimate", str(archive.folder)]) == 0
    out, err = capsys.readouterr()
    assert f"set by the cap, not measured (epistemic, total of {task})" in out
    assert err == f"squbed: videos are identical in 1 of 1 tasks: {task} (latent 1 samples 0, 1)\n"


def _note_of(answer):
    return html.unescape(re.search('<p class="note">(.*?)</p>', answer._repr_html_())[1])


def texts_of(fig):
    fig.draw_without_rendering()
    boxes = [t.get_window_extent() for t in fig.texts]
    return boxes + [ax.get_window_extent() for ax in fig.axes]


def test_nothing_overlaps_on_a_contact_sheet():
    long = " ".join(["a very long latent prompt of a large language model"] * 6)
    terms = pd.DataFrame({"term": ["aleatoric", "total"], "text": ["-1000.25 ± 100.25 nats"] * 2})
    frames = [np.zeros((72, 128, 3), np.uint8)] * 10
    latents = pd.DataFrame({"latent": range(3), "prompt": long, "frames": [frames, [], frames[:1]]})
    fig = figures.figure_answer(long, terms.assign(meaning="their sum"), latents, note=long)
    boxes = texts_of(fig)
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not [1 for a, b in pairs if a.shrunk(0.98, 0.9).overlaps(b.shrunk(0.98, 0.9))]
    assert all(box.y0 >= 0 and box.x1 <= fig.bbox.width for box in boxes)


def test_the_command_prints_the_answer_and_the_files(answer, tiny_profile, capsys):
    line = ["quantify", PROMPT, "--profile", str(tiny_profile), "--m", "2", "--output"]
    assert cli.main([*line, str(answer.archive.folder)]) == 0
    out = capsys.readouterr().out
    assert repr(answer) in out and out.splitlines()[-1].endswith("contact_sheet.html")


def test_the_summary_of_an_answer_prints_no_nan(answer, capsys):
    assert cli.main(["estimate", str(answer.archive.folder)]) == 0
    assert "nan" not in capsys.readouterr().out.lower()
    assert json.loads(summarize(answer.archive).to_json())["ssim"] == {"0": None}
