"""Paths, names, commands and keys that an archive names; and paths that an export could tell."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from kit import small, small_archive

from squbed_utils import cli, profiles, video
from squbed_utils.archive import remote, verify
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import OK, SHARD, SUMS
from squbed_utils.collection import claims, repair, status
from squbed_utils.commands import publish
from squbed_utils.files import inside
from squbed_utils.tasks.task import Task

BLACK = np.zeros((2, 32, 32, 3), np.uint8)
OUT = "leads out of the archive"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an archive with one task of three latent prompts and three videos each."""
    folder = tmp_path_factory.mktemp("whole") / "archive"
    archive = small_archive.make(folder, {"a": "a cat"}, m=3, frames=lambda *_: BLACK)
    archive.write_tasks([Task("a", "d", "c", "a cat", "references/a.mp4")], None)
    video.write(archive.inside("references/a.mp4"), BLACK, 8)
    return folder


@pytest.fixture
def archive(whole, tmp_path):
    """Folder of a copy, beside a video that is none of it."""
    video.write(tmp_path / "private.mp4", BLACK + 9, 8)
    return shutil.copytree(whole, tmp_path / "archive")


PATHS = [
    "/etc/passwd",
    "../private.mp4",
    "videos/../../private.mp4",
    "videos/../profile.yaml",
    "C:\\Users\\me\\private.mp4",
    "C:private.mp4",
    "\\private.mp4",
    "..\\private.mp4",
    "videos\\..\\..\\private.mp4",
    "\\\\server\\share\\private.mp4",
    "//server/share/private.mp4",
    "videos/a/0_0.mp4\0.txt",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_a_shard_leads_into_the_archive(archive, path, capsys):
    rows = Archive(archive).rows("a", 0)
    rows[0]["path"] = path
    table = pa.Table.from_pylist(rows, schema=SHARD)
    pq.write_table(table, archive / "shards" / "a" / "0.parquet")
    small.resum(archive)
    line = ["score", str(archive), "--profile", "world", "--output", str(archive.parent / "out")]
    assert cli.main(line) == cli.USER_ERROR
    assert re.search(f"{OUT}|expected '(videos|references)/a", capsys.readouterr().err)
    assert not (archive.parent / "out").exists()


@pytest.mark.parametrize("path", ["{}/private.mp4", "../private.mp4", "..\\private.mp4"])
def test_a_reference_lies_in_the_archive(archive, path, capsys):
    path = path.format(archive.parent)
    table = Archive(archive).tasks().assign(reference=path)
    pq.write_table(pa.Table.from_pandas(table), archive / "tasks.parquet")
    line = ["score", str(archive), "--profile", "world", "--output", str(archive.parent / "out")]
    assert cli.main(line) == cli.USER_ERROR
    assert re.search(f"{OUT}|expected '(videos|references)/a", capsys.readouterr().err)
    assert not (archive.parent / "out").exists()


def test_a_checksum_is_of_a_file_of_the_export(archive):
    paths = ["C:\\x", "..\\private.mp4", "videos/../profile.yaml", "../private.mp4"]
    (archive / SUMS).write_text("".join(f"{'0' * 64}  {path}\n" for path in paths))
    assert verify.verify_sums(archive) == paths


def test_a_claim_is_of_a_worker(archive):
    with claims.Worker(archive) as here:
        (archive / ".claims" / "unit-a.0").write_text("x/../../../private.mp4")
        with pytest.raises(ValueError, match=OUT):
            here.claim("a", 0)


LINES = ["3", "[]", "{}", '{"event": "done", "time": 1}', '{"event": [], "time": 1}']
LINES += ['{"event": "done", "time": 1, "seconds": NaN}', '{"event": "start", "time": "now"}']
LINES += ['{"event": "done", "time": 1, "seconds": -1e9}', '{"event": "begin", "time": 1e999}']


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_a_log_that_is_no_event_is_skipped(archive, line, capsys):
    (archive / "runs").mkdir()
    (archive / "runs" / "x.jsonl").write_text('{"event": "begin", "time": 1}\n' + line)
    assert cli.main(["status", str(archive)]) == 0
    assert "0 GPU-hours, 0 CPU-hours" in capsys.readouterr().out
    assert status.read(archive) == {"x": [{"event": "begin", "time": 1}]}


def test_a_log_that_ends_before_it_begins(archive, capsys):
    (archive / "runs").mkdir()
    (archive / "runs" / "x.jsonl").write_text('{"event": "done", "time": 5, "seconds": 2}\n')
    assert cli.main(["status", str(archive)]) == 0
    assert "rate     -" in capsys.readouterr().out


def claim(archive, **settings):
    """Let an archive say that it is of a profile, and lack a video."""
    profile = profiles.load(settings.pop("like", "world"))
    resolved = json.loads(json.dumps(profile, default=vars)) | {"m": 3, "n": 3, "device": "cpu"}
    resolved |= {"checkpoints": {}, "versions": {}} | settings
    Archive(archive).write_profile(resolved)
    (archive / "videos" / "a" / "0_0.mp4").unlink()


FIELDS = ["{prompt}", "{seed}", "{output}"]


def run_it(mark):
    sizes = {"height": 32, "width": 32, "frames": 9, "fps": 8.0, "steps": 1}
    return {"kind": "command", "path": "/", "command": ["touch", str(mark), *FIELDS]} | sizes


EVIL = {"base_url": "http://evil"}
VEO = {"kind": "veo", "model": "v", "height": 720, "width": 1280, "seconds": 8, "fps": 24.0}
VEO |= {"price": 1.0, "budget": 1.0}


@pytest.fixture
def unpaid(monkeypatch):
    """Fail if anything is collected."""
    monkeypatch.setattr(repair, "collect", lambda *_, **__: pytest.fail("it was collected"))


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"video_model": run_it("run")}, "video_model.command \"['touch', 'run', '{prompt}'"),
        (
            {"refiner": {"kind": "openai", "model": "m"} | EVIL | {"key": "HF_TOKEN"}},
            "refiner.base_url 'http://evil', refiner.key 'HF_TOKEN'",
        ),
        (
            {"video_model": {"kind": "python", "call": "evil.py:generate"}},
            "It names video_model.call 'evil.py:generate'",
        ),
        ({"video_model": VEO | EVIL}, "video_model.base_url 'http://evil'"),
        ({"clip": {"path": "../../evil"}}, "but clip.path is ../../evil there and data/world/clip"),
        ({"name": "../evil"}, "'../evil', which this package does not have"),
        ({"name": "evil.yaml"}, "'evil.yaml', which this package does not have"),
        ({"name": "/tmp/evil.yaml"}, "'/tmp/evil.yaml', which this package does not have"),
    ],
    ids=[
        "a command",
        "an address",
        "a function",
        "another",
        "a model",
        "a path",
        "a file",
        "a place",
    ],
)
def test_what_an_archive_names_is_shown_and_not_run(
    archive, monkeypatch, capsys, unpaid, settings, shown
):
    monkeypatch.chdir(archive.parent)
    Path("evil.yaml").write_text(yaml.safe_dump({"extends": "world", "name": "evil"}))
    Path("evil.py").write_text("open('run', 'w')")
    claim(archive, **settings)
    assert cli.main(["verify", str(archive), "--repair", "--yes"]) == cli.USER_ERROR
    error = capsys.readouterr().err
    assert shown in error
    assert f"run `squbed verify {archive} --repair --profile FILE`" in error
    assert not Path("run").exists() and not (archive / "videos" / "a" / "0_0.mp4").exists()


@pytest.fixture
def collected(monkeypatch):
    """Profiles that were collected with, instead of collecting."""
    given = []
    monkeypatch.setattr(repair, "collect", lambda profile, **_: given.append(profile))
    return given


def test_a_profile_that_the_user_names_repairs_if_it_is_the_archives(
    archive, tmp_path, collected, capsys
):
    mine = tmp_path / "mine.yaml"
    model = run_it("run") | {"kind": "command"}
    settings = {"extends": "world", "name": "mine", "n": 3, "m": 3, "video_model": model}
    mine.write_text(yaml.safe_dump(settings))
    claim(archive, name="mine", video_model=model | {"guidance": None, "timeout": 3600.0})
    problems = verify.verify(archive)
    repair.repair(archive, problems, profile=mine)
    assert [profile.video_model.command for profile in collected] == [["touch", "run", *FIELDS]]
    mine.write_text(
        yaml.safe_dump(settings | {"video_model": model | {"command": ["other", *FIELDS]}})
    )
    with pytest.raises(ValueError, match=r"video_model.command is \['touch', .* here.* --profile"):
        repair.repair(archive, problems, profile=mine)
    assert len(collected) == 1


def test_a_profile_of_this_package_needs_not_be_named(archive, collected):
    claim(archive, n=6, m=6)
    repair.repair(archive, [])
    assert collected == [profiles.load("world")]


def test_a_command_that_is_to_be_copied_is_quoted(archive):
    (archive / "shards" / "a" / "0.parquet").unlink()
    tasks = Archive(archive).tasks().assign(dataset="quantify", prompt="a cat'; rm -rf ~ #")
    pq.write_table(pa.Table.from_pandas(tasks), archive / "tasks.parquet")
    settings = Archive(archive).profile | {"seed": 0, "name": "x; rm -rf ~"}
    Archive(archive).write_profile(settings)
    with pytest.raises(ValueError, match="run `squbed quantify ") as caught:
        open_archive(archive)
    words = shlex.split(str(caught.value).split("`")[1])
    assert words[:3] == ["squbed", "quantify", "a cat'; rm -rf ~ #"] and "x; rm -rf ~" in words


@pytest.mark.parametrize(
    "name", ["shards/../1.sha256", "shards/..\\..\\x/1.sha256"], ids=["up", "up by another system"]
)
def test_a_name_in_a_store_lies_in_the_archive(tmp_path, monkeypatch, name):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(remote, "SAMPLES", tmp_path / "samples")
    store = fsspec.filesystem("memory")
    store.pipe_file(f"/hostile/a/{name}" if "\\" not in name else "/hostile/a/profile.yaml", b"x")
    try:
        listed = [f"/hostile/a/{name}"]
        monkeypatch.setattr(type(store), "find", lambda *_: listed)
        monkeypatch.setattr(type(store), "cat_file", lambda *_: f"{'0' * 64}  x\n".encode())
        with pytest.raises(ValueError, match=OUT):
            remote.fetch("memory://hostile/a")
    finally:
        store.store.clear()


def every_text(folder):
    """Return all that an export's files hold, the values and metadata of tables too."""
    parts = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        parts.append(file.read_bytes())
        if file.suffix == ".parquet":
            table = pq.read_table(file, partitioning=None)
            parts += [repr(table.to_pylist()).encode(), repr(table.schema.metadata).encode()]
            parts.append(repr(pq.read_metadata(file).metadata).encode())
    return b"\n".join(parts)


HOME = "/home/jane doe"
ERRORS = ["no /home/jane doe/clips/x.mp4", "see '/home/jane doe/a.py'", "~/jane doe/x.py failed"]
ERRORS += [r"no C:\Users\jane doe\x.mp4", "file:///home/jane doe/x.mp4 is cut", "../../jane doe/x"]


@pytest.mark.parametrize("layout", publish.FORMATS)
def test_an_export_tells_of_no_machine(archive, layout, tmp_path):
    places = [f"{HOME}/wan", "C:\\Users\\jane doe\\wan", "../jane doe/wan", "~/jane doe/wan"]
    model = run_it("x") | {"command": ["run", f"--to={HOME}/x", f"{HOME}/run.py", *places]}
    changes = {"path": places[1], "revision": None}
    claimed = {"name": "small", "estimator": "squbed", "pca": None, "text_encoder": changes}
    claimed |= {"clip": {"path": places[2]}, "lpips": {"path": places[3]}}
    claimed |= {"n": 3, "m": 3, "video_model": model | {"path": places[0]}}
    samples = Archive(archive)
    samples.write_profile(claimed)
    samples.write_report({"clips": {"a": places[0]}, "pool": {"food": 1}})
    for latent, error in ((0, ERRORS[:3]), (1, ERRORS[3:])):
        rows = samples.rows("a", latent)
        lost = {"status": "failed", "embedding": None, "path": None}
        rows[1] |= lost | {"error": "; ".join(error)}
        samples.write_shard("a", latent, rows)
    out = publish.export(archive, tmp_path / "out", format=layout)
    text = every_text(out)
    for trace in (b"jane", str(tmp_path).encode(), str(Path.home()).encode() + b"/"):
        assert trace not in text
    assert b"wan" in text
    if layout == publish.HF:
        assert [problem for problem in verify.verify(out) if problem.unit] == []


def test_the_places_of_a_manifest_stay_at_home(archive, tmp_path):
    rows = Archive(archive).videos()
    table = (
        rows[["task", "latent", "sample"]]
        .assign(prompt="a cat in /r/aww/x", video=f"{HOME}/a.mp4", reference="..\\jane doe\\b.mp4")
        .assign(category="", latent_prompt=None, vagueness_rank=np.nan)
    )
    Archive(archive).write_manifest(table)
    written = Archive(publish.export(archive, tmp_path / "out")).manifest()
    assert set(written.prompt) == {"a cat in /r/aww/x"}
    assert set(written.video) == {"a.mp4"} and set(written.reference) == {"b.mp4"}


@pytest.mark.parametrize("layout", publish.FORMATS)
def test_a_video_whose_metadata_tell_of_this_user_is_refused(archive, layout, tmp_path):
    path = archive / "videos" / "a" / "0_0.mp4"
    path.write_bytes(path.read_bytes() + f"comment={Path.home()}/clips".encode())
    with pytest.raises(ValueError, match="0_0.mp4 holds a path in .*-map_metadata -1"):
        publish.export(archive, tmp_path / "out", format=layout)
    assert not (tmp_path / "out").exists()


def test_a_file_of_an_archive_is_found_by_its_path(archive):
    assert Archive(archive).inside("videos/a/0_0.mp4") == archive / "videos" / "a" / "0_0.mp4"
    assert inside(archive, "videos/new/0_0.mp4") == archive / "videos" / "new" / "0_0.mp4"
    assert (Archive(archive).videos().status == OK).all()
