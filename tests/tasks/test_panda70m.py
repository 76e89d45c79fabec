from collections import Counter

import pytest
from kit import clips

from squbed_utils.roles import Panda70M
from squbed_utils.tasks import panda70m
from squbed_utils.tasks import task as _clips
from squbed_utils.tasks.task import Unusable


def read(settings):
    left_out = Counter()
    return list(panda70m.captions(Panda70M(**settings), left_out)), dict(left_out)


def write(tmp_path, rows, columns=clips.NEW):
    """Write a table whose every clip is there, if only by name."""
    for number in range(len(rows)):
        path = clips.panda_path(tmp_path / "videos", number, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        for clip in range(3):
            clips.panda_path(tmp_path / "videos", number, clip).touch()
    clips.write_table(tmp_path / "panda.csv", rows, columns)
    places = {"path": str(tmp_path / "panda.csv"), "videos": str(tmp_path / "videos")}
    return {"kind": "panda70m"} | places


def refused(tmp_path, **changes):
    rows = [clips.panda_row("aaaaaaaaaaa", ["a dog", "a cat"], **changes)]
    rows += [clips.panda_row("bbbbbbbbbbb", ["a train"])]
    found, left_out = read(write(tmp_path, rows))
    assert [caption.text for caption in found] == ["a train"]
    return left_out


@pytest.mark.parametrize("columns", [clips.OLD, clips.NEW])
def test_a_caption_a_clip_with_its_place(tmp_path, columns):
    rows = [("-2yHu5qgTzM", ["a dog", "two dogs"]), ("_uQs-YDb5VA", ["a train"])]
    found, left_out = read(clips.make_panda(tmp_path, rows, columns))
    assert [(c.id, c.text, c.clip) for c in found] == [
        ("panda70m--2yHu5qgTzM.0", "a dog", "00000/0000000_00000.mp4"),
        ("panda70m--2yHu5qgTzM.1", "two dogs", "00000/0000000_00001.mp4"),
        ("panda70m-_uQs-YDb5VA.0", "a train", "00000/0000001_00000.mp4"),
    ]
    assert left_out == {}


def test_the_published_example(tmp_path):
    text = (
        ",".join(clips.NEW) + "\n-2yHu5qgTzM,https://www.youtube.com/watch?v=-2yHu5qgTzM,"
        "\"[['0:01:20.880', '0:01:23.983']]\",\"['A neuron in a black background.']\","
        '"[0.451416015625]","[\'1_still_foreground_image\']",'
        "\"[[['0:00:00.000', '0:00:03.069']]]\"\n"
    )
    settings = write(tmp_path, [{}])
    (tmp_path / "panda.csv").write_text(text)
    assert [c.text for c in read(settings)[0]] == ["A neuron in a black background."]


def test_the_hundredth_row_starts_a_shard(tmp_path):
    settings = write(tmp_path, [clips.panda_row(f"{i:011d}", ["a dog"]) for i in range(101)])
    found, _ = read(settings)
    assert [c.clip for c in found[99:]] == ["00000/0000099_00000.mp4", "00001/0000100_00000.mp4"]


def test_refused_rows_count_in_the_numbering(tmp_path):
    rows = [clips.panda_row("a", ["a dog"], caption="["), clips.panda_row("b", ["a cat"])]
    found, _ = read(write(tmp_path, rows))
    assert [c.clip for c in found] == ["00000/0000001_00000.mp4"]


@pytest.mark.parametrize(
    "bad",
    ["", "['a dog', 'a cat'", "a dog", "{'a': 1}", "'ab'", "open('x')", "[" * 500, "['a\\d' 1]"],
)
def test_bad_literals(tmp_path, bad):
    assert refused(tmp_path, caption=bad) == {"row with a bad literal": 1}


@pytest.mark.parametrize("column", ["timestamp", "caption", "matching_score"])
def test_lists_of_unequal_lengths(tmp_path, column):
    assert refused(tmp_path, **{column: "[1]"}) == {"row with lists of unequal lengths": 1}


@pytest.mark.parametrize("bad", ["../../etc/passwd", "a/b", "", "a b", "x" * 101, "é"])
def test_ids_that_cannot_name_a_file(tmp_path, bad):
    assert refused(tmp_path, videoID=bad) == {"row with an id that cannot name a file": 1}


def test_ids_that_occur_twice(tmp_path):
    rows = [clips.panda_row("a", ["a dog"]), clips.panda_row("a", ["a cat"])]
    found, left_out = read(write(tmp_path, rows))
    assert [c.text for c in found] == ["a dog"]
    assert left_out == {"row with an id that occurs before": 1}


def test_a_table_that_is_cut_short(tmp_path):
    rows = [clips.panda_row("a", ["a dog"]), clips.panda_row("b", ["a cat", "a cow"])]
    settings = write(tmp_path, rows)
    whole = (tmp_path / "panda.csv").read_bytes()
    start = whole.index(b"b,https")
    for end in range(start + 1, len(whole.rstrip())):
        (tmp_path / "panda.csv").write_bytes(whole[:end])
        found, left_out = read(settings)
        assert [c.text for c in found[:1]] == ["a dog"]
        assert sum(left_out.values()) == 1 or [c.text for c in found[1:]] == ["a cat", "a cow"]


def test_too_many_fields(tmp_path):
    settings = write(tmp_path, [clips.panda_row("a", ["a dog"]), clips.panda_row("b", ["a cat"])])
    lines = (tmp_path / "panda.csv").read_text().splitlines()
    (tmp_path / "panda.csv").write_text("\n".join([lines[0], lines[1] + ",more", lines[2]]))
    found, left_out = read(settings)
    assert [c.text for c in found] == ["a cat"]
    assert left_out == {"row with too few or too many fields": 1}


def test_captions_in_other_scripts_with_quotes_and_lines(tmp_path):
    texts = ["猫が寝ている", "кот\nспит", "it's a \"dog\", 'here'"]
    found, _ = read(write(tmp_path, [clips.panda_row("a", texts)]))
    assert [c.text for c in found] == ["猫が寝ている", "кот спит", texts[2]]


@pytest.mark.parametrize("bad", ["''", "'  '", "None", "3", "'\\ud800'"])
def test_captions_that_are_no_text(tmp_path, bad):
    rows = [clips.panda_row("a", ["x", "y"], caption=f"[{bad}, 'a dog']")]
    found, left_out = read(write(tmp_path, rows))
    assert [c.clip for c in found] == ["00000/0000000_00001.mp4"]
    reason = "caption not in UTF-8" if "ud800" in bad else "empty caption"
    assert left_out == {reason: 1}


def test_bytes_that_are_not_utf_8(tmp_path):
    settings = write(tmp_path, [clips.panda_row("a", ["a dog"]), clips.panda_row("b", ["a cat"])])
    data = (tmp_path / "panda.csv").read_bytes()
    (tmp_path / "panda.csv").write_bytes(data.replace(b"a dog", b"a d\xffg"))
    found, left_out = read(settings)
    assert [c.text for c in found] == ["a cat"] and left_out == {"caption not in UTF-8": 1}


def test_a_byte_order_mark(tmp_path):
    settings = write(tmp_path, [clips.panda_row("a", ["a dog"])])
    (tmp_path / "panda.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "panda.csv").read_bytes())
    assert len(read(settings)[0]) == 1


def test_huge_fields(tmp_path):
    long = "a dog " * 100_000
    found, left_out = read(write(tmp_path, [clips.panda_row("a", [long])]))
    assert found[0].text == long.strip() and left_out == {}


def test_a_quote_that_is_never_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(panda70m, "LONGEST_FIELD", 1000)
    settings = write(tmp_path, [clips.panda_row("a", ["a dog"])])
    with (tmp_path / "panda.csv").open("a") as file:
        file.write('"' + "b,c\n" * 1000)
    with pytest.raises(ValueError, match=r"panda.csv, line \d: not valid CSV .*quote missing"):
        read(settings)


def test_clips_that_are_not_there(tmp_path):
    settings = write(tmp_path, [clips.panda_row("a", ["a dog", "a cat"])])
    clips.panda_path(tmp_path / "videos", 0, 0).unlink()
    found, left_out = read(settings)
    assert [c.text for c in found] == ["a cat"] and left_out == {"no video": 1}


def test_missing_files_and_columns(tmp_path):
    settings = write(tmp_path, [clips.panda_row("a", ["a dog"])], ["videoID", "url"])
    with pytest.raises(ValueError, match="lacks the column timestamp; lacks the column caption"):
        read(settings)
    (tmp_path / "panda.csv").write_text("")
    with pytest.raises(ValueError, match="is empty; expected a header: videoID, timestamp"):
        read(settings)
    with pytest.raises(FileNotFoundError, match="no folder of clips .*gone; correct dataset.vid"):
        read(settings | {"videos": str(tmp_path / "gone")})


@pytest.fixture
def one(tmp_path):
    settings = clips.make_panda(tmp_path, [("a", ["a dog"])])
    return tmp_path / "videos", read(settings)[0][0]


def test_a_clip_is_read_byte_for_byte(one):
    folder, caption = one
    data = panda70m.read_clip(folder, caption)
    assert data == (folder / "00000/0000000_00000.mp4").read_bytes()
    _clips.check_clip(data)


def test_a_clip_that_goes_with_another_caption(one):
    folder, caption = one
    (folder / "00000/0000000_00000.txt").write_text("a dog\n")
    panda70m.read_clip(folder, caption)
    (folder / "00000/0000000_00000.txt").write_text("a cat")
    with pytest.raises(Unusable, match="^video of another caption$"):
        panda70m.read_clip(folder, caption)
    (folder / "00000/0000000_00000.txt").unlink()
    panda70m.read_clip(folder, caption)


def test_a_clip_that_is_gone_or_too_large(one, monkeypatch):
    folder, caption = one
    monkeypatch.setattr(panda70m, "LARGEST", 100)
    with pytest.raises(Unusable, match="^video too large$"):
        panda70m.read_clip(folder, caption)
    (folder / caption.clip).unlink()
    with pytest.raises(Unusable, match="^video that cannot be read$"):
        panda70m.read_clip(folder, caption)


@pytest.mark.parametrize("path", ["../a.mp4", "00000/../../a.mp4", "/tmp/a.mp4"])
def test_a_clip_outside_the_folder(tmp_path, path):
    clips.make_clip(tmp_path / "a.mp4")
    with pytest.raises(Unusable, match="^video outside the dataset's folder$"):
        panda70m.read_clip(tmp_path / "videos", _clips.Caption("a", "a dog", path))


def test_clips_are_checked_to_the_last_frame(tmp_path):
    data = clips.make_clip(tmp_path / "a.mp4", frames=30)
    with pytest.raises(Unusable, match="^empty video$"):
        _clips.check_clip(b"")
    for end in (1, 10, len(data) // 2, len(data) - 1000, len(data) - 100):
        with pytest.raises(Unusable, match="^video that cannot be decoded$"):
            _clips.check_clip(data[:end])
    with pytest.raises(Unusable, match="^video that cannot be decoded$"):
        _clips.check_clip(b"<html>gone</html>")
    small = clips.make_clip(tmp_path / "b.mp4", size=28)
    with pytest.raises(Unusable, match="^video smaller than 31 x 31$"):
        _clips.check_clip(small)
