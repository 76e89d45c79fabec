"""Checksums: what is damaged is named, and made again."""

import shutil
import subprocess

import pyarrow.parquet as pq
import pytest
import yaml
from kit.collecting import contents

from squbed_utils import cli
from squbed_utils.archive import verify
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import SEAL
from squbed_utils.archive.verify import Problem
from squbed_utils.collection import repair

VIDEO, SHARD = "videos/never-0-sign/1_2.mp4", "shards/never-0-sign/1.parquet"
UNIT = ("never-0-sign", 1)


@pytest.fixture
def copy(tiny_archive, tmp_path):
    return shutil.copytree(tiny_archive, tmp_path / "world-tiny")


def without_seal(folder):
    """Make an archive one of 0.1.0, which wrote no seal."""
    (folder / SEAL).unlink()


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


def test_damage_is_found_without_a_seal(copy):
    without_seal(copy)
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
    assert verify.verify(copy) == [Problem(f"shards/{UNIT[0]}/1.sha256", "damaged", UNIT)]
    (copy / SEAL).unlink()
    if "etc" in text:
        with pytest.raises(ValueError, match="leads out of the archive"):
            verify.verify(copy)
    else:
        assert verify.verify(copy) == [Problem(f"shards/{UNIT[0]}/1.sha256", "damaged", UNIT)]


def test_a_list_of_checksums_that_is_missing_or_names_too_little(copy):
    without_seal(copy)
    file = (copy / SHARD).with_suffix(".sha256")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if VIDEO not in line))
    name = f"shards/{UNIT[0]}/1.sha256"
    assert verify.verify(copy) == [Problem(name, "damaged", UNIT)]
    file.unlink()
    assert verify.verify(copy) == [Problem(name, "missing", UNIT)]
    with pytest.raises(ValueError, match="1.sha256 is missing, .* run `squbed verify --repair`"):
        open_archive(copy).videos()


def test_what_is_not_finished_is_missing(copy):
    (copy / SHARD).unlink()
    assert verify.verify(copy) == [Problem(SHARD, "missing", UNIT)]


@pytest.mark.parametrize("name", ["profile.yaml", "tasks.parquet", "truth.parquet"])
def test_a_changed_table_is_damaged_and_the_archive_does_not_open(copy, name):
    file = copy / name
    if name == "profile.yaml":
        file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    else:
        pq.write_table(pq.read_table(file).slice(0, 3), file)
    assert Problem(name, "damaged", None) in verify.verify(copy)
    with pytest.raises(ValueError, match=f"(?s){name}.*(as it was|lacks the task)"):
        open_archive(copy)


@pytest.mark.parametrize("name", ["tasks.parquet", "truth.parquet"])
@pytest.mark.parametrize("damage", [truncate, flip, "delete"])
def test_tables_of_tasks_are_written_again(copy, tiny_profile, tiny_archive, name, damage):
    (copy / name).unlink() if damage == "delete" else damage(copy / name)
    state = "missing" if damage == "delete" else "damaged"
    assert [p[:2] for p in verify.verify(copy)] == [(name, state)]
    repair.repair(copy, verify.verify(copy), profile=tiny_profile)
    assert contents(copy) == contents(tiny_archive)


def test_a_changed_profile_is_not_repaired(copy, capsys):
    file = copy / "profile.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    assert cli.main(["verify", str(copy), "--repair"]) == 2
    assert "profile.yaml is not as it was written and cannot be made" in capsys.readouterr().err
    (copy / SEAL).unlink()
    assert cli.main(["verify", str(copy), "--seal"]) == 0
    assert "every file is as it was written" in capsys.readouterr().out


def test_shards_of_no_latent_prompt_are_named_and_tools_leavings_are_not(copy, capsys):
    for name in (".DS_Store", "Thumbs.db", "._1.parquet", "1.parquet~"):
        (copy / "shards/never-0-sign" / name).write_bytes(b"x")
    assert verify.verify(copy) == []
    shutil.copy(copy / SHARD, copy / "shards/never-0-sign/7.parquet")
    unknown = "shards/never-0-sign/7.parquet"
    assert verify.verify(copy) == [Problem(unknown, "unknown", None)]
    assert cli.main(["verify", str(copy), "--repair"]) == 2
    assert f"holds {unknown}, which is of no latent prompt" in capsys.readouterr().err
    with pytest.raises(ValueError, match="7.parquet is of no task and latent prompt"):
        open_archive(copy)


@pytest.mark.parametrize("setting", ["n: 4", "n: 2", "m: 4", "m: 0"])
def test_changed_sizes_are_noticed_without_a_seal(copy, setting):
    without_seal(copy)
    file = copy / "profile.yaml"
    file.write_text(file.read_text().replace(f"\n{setting[0]}: 3\n", f"\n{setting}\n"))
    if setting in ("m: 0", "n: 2"):
        with pytest.raises(ValueError, match=f"profile.yaml: {setting[0]} is .*expected at least"):
            verify.verify(copy)
    else:
        state = "missing" if setting == "n: 4" else "damaged"
        assert {p.state for p in verify.verify(copy)} == {state}


def test_an_archive_of_0_1_0_is_sealed_when_asked(copy, tiny_archive, capsys):
    without_seal(copy)
    assert cli.main(["verify", str(copy)]) == 0
    assert "is not sealed, so its profile and tables have none: `sq" in capsys.readouterr().out
    truncate(copy / VIDEO)
    assert cli.main(["verify", str(copy), "--seal"]) == 2
    assert f"is not whole, {VIDEO} is damaged" in capsys.readouterr().err
    shutil.copy(tiny_archive / VIDEO, copy / VIDEO)
    assert cli.main(["verify", str(copy), "--seal"]) == 0
    assert contents(copy) == contents(tiny_archive)


def test_a_repair_that_was_interrupted_is_not_called_whole(copy, tiny_profile, monkeypatch, capsys):
    flip(copy / SHARD)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(repair, "collect", interrupted)
    line = ["verify", str(copy), "--repair", "--profile", str(tiny_profile)]
    assert cli.main(line) == cli.INTERRUPTED
    assert cli.main(["verify", str(copy)]) == 2
    assert f"missing  {SHARD}" in capsys.readouterr().out


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
        repair.repair(copy, verify.verify(copy))
    assert Archive(copy).inside(VIDEO).is_file()


def test_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="no samples archive in"):
        verify.verify(tmp_path)
