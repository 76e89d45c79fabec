"""Links and special files in an archive: none is followed, for reading, copying or writing."""

import os
import shutil

import numpy as np
import pytest
from kit import small_archive

from squbed_utils import cli, profiles
from squbed_utils.archive.archive import Archive
from squbed_utils.collection import claims, collect
from squbed_utils.collection import status as status_module
from squbed_utils.commands.notebooks import digest_archive
from squbed_utils.models import load, spending

SECRET = "what no archive may read, copy or write"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an archive with one task of three latent prompts and two videos each."""
    folder = tmp_path_factory.mktemp("whole") / "archive"
    black = np.zeros((2, 32, 32, 3), np.uint8)
    small_archive.make(folder, {"a": "a cat"}, m=2, frames=lambda *_: black)
    return folder


@pytest.fixture
def archive(whole, tmp_path):
    """Folder of a copy, with a folder `outside` and a file in it beside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text(SECRET)
    return shutil.copytree(whole, tmp_path / "archive")


def link(name, target="secret"):
    """Put a link at a place in the archive, moving what is there to its target."""

    def plant(archive):
        path, outside = archive / name, archive.parent / "outside" / target
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            shutil.rmtree(outside) if outside.is_dir() else outside.unlink(missing_ok=True)
            path.rename(outside)
        path.symlink_to(outside)

    return plant


def loop(archive):
    shutil.rmtree(archive / "videos" / "a")
    (archive / "videos" / "a").symlink_to(archive / "videos" / "b")
    (archive / "videos" / "b").symlink_to(archive / "videos" / "a")


def chain(archive):
    (archive / "one").symlink_to(archive.parent / "outside")
    (archive / "videos" / "a" / "more").symlink_to(archive / "one" / "secret")


def within(archive):
    video = archive / "videos" / "a" / "0_0.mp4"
    video.unlink()
    video.symlink_to(archive / "videos" / "a" / "0_1.mp4")


def pipe(name):
    def plant(archive):
        path = archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return plant


def command(*words):
    def run(archive):
        more = ["--output", str(archive.parent / "out")] if words[0] == "export" else []
        return cli.main([words[0], str(archive), *words[1:], *more])

    return run


def fill(archive):
    with collect.shared(Archive(archive)):
        pass


def hold(archive):
    with collect.held(Archive(archive)):
        pass


def work(archive):
    with claims.Worker(archive):
        pass


def log(archive):
    status_module.RunLog(archive, "worker", device="cpu", gpus=0)


def pay(archive):
    spending.reserve(archive, {"dollars": 1.0}, {"dollars": 9.0})


def ask(archive):
    load.load_language(profiles.load("wan2.1-1.3b"), archive).label(["a cat"])


export, status, verify, estimate = map(command, ("export", "status", "verify", "estimate"))
LINK, PIPE = "is a symbolic link, and none is followed", "is a pipe, socket or device"

CASES = [
    ("the report is a link to a secret", link("dataset.json"), export, LINK),
    ("a file among the videos is one", link("videos/a/more.mp4"), export, LINK),
    ("a hidden file is one", link("videos/a/.more"), export, LINK),
    ("a folder among the videos is one", link("videos/more", "."), export, LINK),
    ("a video is one", link("videos/a/1_0.mp4"), export, LINK),
    ("the folder of videos is one", link("videos", "videos"), export, LINK),
    ("the folder of a task's videos is one", link("videos/a", "a"), verify, LINK),
    ("the folder of shards is one", link("shards", "shards"), estimate, LINK),
    ("a shard is one", link("shards/a/0.parquet"), estimate, LINK),
    ("a list of checksums is one", link("shards/a/0.sha256"), export, LINK),
    ("the settings are one", link("profile.yaml"), status, LINK),
    ("the tasks are one", link("tasks.parquet"), status, LINK),
    ("the truth is one", link("truth.parquet"), export, LINK),
    ("the manifest is one", link("manifest.parquet"), status, LINK),
    ("a link leads to a link", chain, export, LINK),
    ("links in a circle", loop, export, LINK),
    ("a link stays within", within, verify, LINK),
    ("a link to nowhere is the lock", link(".lock", "nothing"), fill, LINK),
    ("another is the lock of a run alone", link(".lock", "nothing"), hold, LINK),
    ("another is the lock of claims", link(".claims/lock", "nothing"), work, LINK),
    ("claims are a link to a folder", link(".claims", "."), work, LINK),
    ("a claim is a link", link(".claims/unit-a.0"), status, LINK),
    ("a worker is a link", link(".claims/worker-x"), status, LINK),
    ("the log is a link to a folder", link("runs", "."), log, LINK),
    ("a log is a link", link("runs/x.jsonl"), status, LINK),
    ("the account is a link", link("spending.json"), pay, LINK),
    ("the lock of the account is a link to nowhere", link(".spending.lock", "nothing"), pay, LINK),
    ("kept answers are a link to a folder", link("answers", "."), ask, LINK),
    ("a worker is a pipe", pipe(".claims/worker-x"), status, PIPE),
    ("a claim is a pipe", pipe(".claims/unit-a.0"), status, PIPE),
    ("a log is a pipe", pipe("runs/x.jsonl"), status, PIPE),
    ("the settings are a pipe", pipe("profile.yaml"), status, PIPE),
    ("a shard is a pipe", pipe("shards/a/0.parquet"), estimate, PIPE),
    ("a video is a pipe", pipe("videos/a/0_0.mp4"), export, PIPE),
    ("the manifest is a pipe", pipe("manifest.parquet"), status, PIPE),
    ("any file is a pipe, where figures are drawn", pipe("notes"), digest_archive, PIPE),
]


@pytest.mark.parametrize(
    ("plant", "run", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_it_is_named_and_not_followed(archive, capsys, plant, run, message):
    plant(archive)
    outside = archive.parent / "outside"
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    try:
        code, shown = run(archive), capsys.readouterr().err
    except ValueError as error:
        code, shown = cli.USER_ERROR, str(error)
    assert code == cli.USER_ERROR and message in shown and "Traceback" not in shown
    assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before
    assert not (archive.parent / "out").exists()


def test_the_archives_own_folder_may_be_a_link(archive):
    place = archive.parent / "place"
    place.symlink_to(archive)
    assert cli.main(["status", str(place)]) == 0
    assert Archive(place).inside("videos/a/0_0.mp4") == archive / "videos" / "a" / "0_0.mp4"


def test_what_a_dead_run_left_is_cleared_without_following_a_link(archive):
    outside = archive.parent / "outside" / "mine.partial"
    outside.write_text(SECRET)
    (archive / "videos" / "a" / "more").symlink_to(outside.parent)
    (archive / "videos" / "a" / ".0_0.mp4.1.partial").symlink_to(outside)
    fill(archive)
    assert outside.read_text() == SECRET
    assert not (archive / "videos" / "a" / ".0_0.mp4.1.partial").is_symlink()
