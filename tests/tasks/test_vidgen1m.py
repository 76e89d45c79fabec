import json
import stat
import warnings
import zipfile
from collections import Counter

import pytest
from kit import clips

from squbed_utils.roles import VidGen1M
from squbed_utils.tasks import vidgen1m
from squbed_utils.tasks.task import Caption, Unusable

DOG = {"vid": "Eep9uvenxAo-Scene-0030", "caption": "a dog"}
CAT = {"vid": "-2yHu5qgTzM-Scene-0001", "caption": "a cat"}


def read(settings):
    left_out = Counter()
    return list(vidgen1m.captions(VidGen1M(**settings), left_out)), dict(left_out)


def make(tmp_path, entries, *names):
    """Write a dataset with clips that are there, if only by name."""
    return clips.make_vidgen(tmp_path, entries, {"VidGen_video_0.zip": dict.fromkeys(names, b"")})


def test_clips_at_any_depth_of_any_zip(tmp_path):
    zips = {"VidGen_video_0.zip": {f"{DOG['vid']}.mp4": b"dog", "readme.txt": b""}}
    zips["VidGen_video_1.zip"] = {f"a/b/{CAT['vid']}.mp4": b"cat", "a/": b""}
    settings = clips.make_vidgen(tmp_path, [DOG, CAT], zips)
    found, left_out = read(settings)
    assert [(c.id, c.text, c.clip) for c in found] == [
        ("vidgen1m-Eep9uvenxAo-Scene-0030", "a dog", f"VidGen_video_0.zip/{DOG['vid']}.mp4"),
        ("vidgen1m--2yHu5qgTzM-Scene-0001", "a cat", f"VidGen_video_1.zip/a/b/{CAT['vid']}.mp4"),
    ]
    assert left_out == {}
    assert [vidgen1m.read_clip(tmp_path / "zips", c) for c in found] == [b"dog", b"cat"]
    assert len(list((tmp_path / "zips").rglob("*"))) == 2


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (3, "entry without a vid"),
        ({"caption": "a dog"}, "entry without a vid"),
        ({"vid": 7, "caption": "a dog"}, "entry without a vid"),
        ({"vid": "../x", "caption": "a dog"}, "vid that cannot name a file"),
        ({"vid": "", "caption": "a dog"}, "vid that cannot name a file"),
        ({"vid": "x" * 101, "caption": "a dog"}, "vid that cannot name a file"),
        ({"vid": "x"}, "empty caption"),
        ({"vid": "x", "caption": ["a dog"]}, "empty caption"),
        ({"vid": "x", "caption": " "}, "empty caption"),
        ({"vid": "x", "caption": "\ud800"}, "caption not in UTF-8"),
        ({"vid": "x", "caption": "a dog"}, "no video"),
        (CAT | {"caption": "again"}, "vid that occurs before"),
    ],
)
def test_entries_that_are_left_out(tmp_path, entry, reason):
    found, left_out = read(
        make(tmp_path, [CAT, entry, DOG], *(f"{e['vid']}.mp4" for e in [DOG, CAT]))
    )
    assert [c.text for c in found] == ["a cat", "a dog"] and left_out == {reason: 1}


def test_captions_in_other_scripts(tmp_path):
    found, _ = read(make(tmp_path, [DOG | {"caption": "猫が\n寝ている"}], f"{DOG['vid']}.mp4"))
    assert found[0].text == "猫が 寝ている"


@pytest.mark.parametrize(
    "name", ["/{}", "../{}", "a/../../{}", "C:\\{}", "a\\..\\{}", "..\\{}", "c:/{}"]
)
def test_zip_entries_that_point_outside_are_only_read(tmp_path, name):
    settings = make(tmp_path, [DOG], name.format(f"{DOG['vid']}.mp4"))
    before = sorted(tmp_path.parent.rglob("*"))
    found, left_out = read(settings)
    assert [vidgen1m.read_clip(tmp_path / "zips", each) for each in found] == [b""] * len(found)
    assert sorted(tmp_path.parent.rglob("*")) == before and len(found) + sum(left_out.values()) == 1


def test_links_and_encrypted_entries_give_no_clip(tmp_path):
    settings = make(tmp_path, [DOG, CAT], f"{CAT['vid']}.mp4")
    link = zipfile.ZipInfo(f"{DOG['vid']}.mp4")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "zips/VidGen_video_1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert vidgen1m.read_clip(tmp_path / "zips", read(settings)[0][0]) == b"/etc/passwd"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{DOG['vid']}.mp4", "secret")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(Unusable, match="video that cannot be read from its zip"):
        vidgen1m.read_clip(tmp_path / "zips", read(settings)[0][0])


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"<html>"])
def test_a_damaged_zip(tmp_path, damage):
    settings = make(tmp_path, [DOG, CAT], f"{CAT['vid']}.mp4")
    path = tmp_path / "zips/VidGen_video_1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{DOG['vid']}.mp4", b"x" * 1000)
    assert len(read(settings)[0]) == 2
    path.write_bytes(damage(path.read_bytes()))
    found, left_out = read(settings)
    assert [c.text for c in found] == ["a cat"] and left_out == {"damaged zip": 1, "no video": 1}


def test_a_clip_in_two_zips_is_the_first(tmp_path):
    name = f"{DOG['vid']}.mp4"
    zips = {"VidGen_video_0.zip": {name: b"first"}, "VidGen_video_1.zip": {name: b"second"}}
    settings = clips.make_vidgen(tmp_path, [DOG], zips)
    found, left_out = read(settings)
    assert vidgen1m.read_clip(tmp_path / "zips", found[0]) == b"first"
    assert left_out == {"zip entry that occurs before": 1}


def test_clips_that_cannot_be_read(tmp_path, monkeypatch):
    settings = clips.make_vidgen(tmp_path, [DOG], {"a.zip": {f"{DOG['vid']}.mp4": b"x" * 1000}})
    caption, path = read(settings)[0][0], tmp_path / "zips/a.zip"
    cannot = "^video that cannot be read from its zip$"
    with monkeypatch.context() as patch, pytest.raises(Unusable, match="^video too large$"):
        patch.setattr(vidgen1m, "LARGEST", 100)
        vidgen1m.read_clip(tmp_path / "zips", caption)
    path.write_bytes(path.read_bytes().replace(b"x" * 1000, b"y" * 1000))
    with pytest.raises(Unusable, match=cannot):
        vidgen1m.read_clip(tmp_path / "zips", caption)
    with pytest.raises(Unusable, match=cannot):
        vidgen1m.read_clip(tmp_path / "zips", Caption("x", "x", "a.zip/gone.mp4"))
    path.unlink()
    with pytest.raises(Unusable, match=cannot):
        vidgen1m.read_clip(tmp_path / "zips", caption)


def test_a_clip_that_is_compressed(tmp_path):
    settings = make(tmp_path, [DOG])
    with zipfile.ZipFile(tmp_path / "zips/b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{DOG['vid']}.mp4", b"x" * 1000)
    caption = read(settings)[0][0]
    assert vidgen1m.read_clip(tmp_path / "zips", caption) == b"x" * 1000


@pytest.mark.parametrize("text", ["", "[{", "\x00", "[" * 100_000, json.dumps([DOG])[:-5]])
def test_a_json_that_is_cut_short(tmp_path, text):
    settings = make(tmp_path, [DOG])
    (tmp_path / "captions.json").write_text(text)
    with pytest.raises(ValueError, match="captions.json is no JSON, or cut short"):
        read(settings)


def test_a_json_that_is_not_utf_8(tmp_path):
    settings = make(tmp_path, [DOG])
    (tmp_path / "captions.json").write_bytes(b'["\xff"]')
    with pytest.raises(ValueError, match="captions.json is no JSON, or cut short"):
        read(settings)


def test_a_json_of_something_else(tmp_path):
    with pytest.raises(ValueError, match="holds a dict; expected a list of entries, each with vid"):
        read(make(tmp_path, DOG))


def test_no_zips(tmp_path):
    settings = make(tmp_path, [DOG])
    with pytest.raises(FileNotFoundError, match="no zips in .*gone; correct dataset.videos"):
        read(settings | {"videos": str(tmp_path / "gone")})


def test_an_entry_that_is_twice_in_one_zip(tmp_path):
    settings = make(tmp_path, [DOG])
    with zipfile.ZipFile(tmp_path / "zips/b.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(f"{DOG['vid']}.mp4", b"1")
        archive.writestr(f"{DOG['vid']}.mp4", b"2")
    assert read(settings)[1] == {"zip entry that occurs before": 1}
