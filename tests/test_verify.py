"""Checksums: what is damaged is named, and made again."""

import shutil
import subprocess

import pytest
import yaml
from test_collect import contents

from squbed_utils import cli, verify
from squbed_utils.samples import Archive
from squbed_utils.verify import Problem

VIDEO, SHARD = "videos/never-0-sign/1_2.mp4", "shards/never-0-sign/1.parquet"
UNIT = ("never-0-sign", 1)


@pytest.fixture
def copy(tiny_archive, tmp_path):
    return shutil.copytree(tiny_archive, tmp_path / "world-tiny")


def truncate(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_whole_archive_has_no_problem(tiny_archive):
    assert verify.verify(tiny_archive) == []


def test_the_checksums_are_those_of_sha256sum(tiny_archive):
    files = sorted(str(p.relative_to(tiny_archive)) for p in tiny_archive.glob("shards/*/*.sha256"))
    line = ["sha256sum", "--check", "--strict", "--quiet", *files]
    assert subprocess.run(line, cwd=tiny_archive).returncode == 0


@pytest.mark.parametrize("damage", [truncate, flip], ids=["truncated", "a bit flipped"])
@pytest.mark.parametrize("path", [VIDEO, SHARD])
def test_damage_is_found(copy, path, damage):
    damage(copy / path)
    assert verify.verify(copy) == [Problem(path, "damaged", UNIT)]


def test_damage_is_found_without_checksums(copy):
    for file in copy.glob("shards/*/*.sha256"):
        file.unlink()
    assert verify.verify(copy) == []
    truncate(copy / VIDEO)
    truncate(copy / "shards/common-0-round/0.parquet")
    (copy / "videos/common-0-round/1_0.mp4").unlink()
    assert [p[:2] for p in verify.verify(copy)] == [
        ("shards/common-0-round/0.parquet", "damaged"),
        ("videos/common-0-round/1_0.mp4", "missing"),
        (VIDEO, "damaged"),
    ]


@pytest.mark.parametrize("text", ["", "what?", f"{'0' * 64}  ../../etc/passwd"])
def test_damaged_checksums(copy, text):
    file = (copy / SHARD).with_suffix(".sha256")
    file.write_text(text)
    if "etc" in text:
        with pytest.raises(ValueError, match="leads out of the archive"):
            verify.verify(copy)
    else:
        assert verify.verify(copy) == [Problem(f"shards/{UNIT[0]}/1.sha256", "damaged", UNIT)]


def test_what_is_not_finished_is_no_problem(copy):
    (copy / SHARD).unlink()
    assert verify.verify(copy) == []


def test_repair_makes_what_is_damaged_again_and_nothing_else(
    copy, tiny_profile, tiny_archive, capsys
):
    flip(copy / SHARD)
    truncate(copy / VIDEO)
    flip(copy / "references/never-4-thing.mp4")
    kept = copy / "videos/never-0-sign/1_1.mp4"
    before = kept.stat().st_mtime_ns
    assert cli.main(["verify", str(copy)]) == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"damaged  {VIDEO}",
        f"damaged  {SHARD}",
        "damaged  references/never-4-thing.mp4",
    ]
    assert "3 files of" in shown.err and "run `squbed verify --repair`" in shown.err
    line = ["verify", str(copy), "--repair", "--profile", str(tiny_profile)]
    assert cli.main(line) == 0
    assert "every file is as it was written" in capsys.readouterr().out
    assert contents(copy) == contents(tiny_archive)
    assert kept.stat().st_mtime_ns == before


def test_what_another_command_made_is_not_repaired(copy):
    truncate(copy / VIDEO)
    profile = yaml.safe_load((copy / "profile.yaml").read_text())
    del profile["dataset"]
    (copy / "profile.yaml").write_text(yaml.safe_dump(profile))
    with pytest.raises(ValueError, match="was made by `squbed quantify`; delete the files"):
        verify.repair(copy, verify.verify(copy))
    assert Archive(copy).inside(VIDEO).is_file()


def test_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="no samples archive in"):
        verify.verify(tmp_path)
