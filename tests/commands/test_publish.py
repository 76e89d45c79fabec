"""Archives as published datasets: what others' libraries read, and what `load` opens."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from kit.small import FROZEN

import squbed_utils
from squbed_utils import cli
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import OK, SUMS
from squbed_utils.archive.verify import verify_sums
from squbed_utils.collection.collect import collect
from squbed_utils.commands.publish import FORMATS, export
from squbed_utils.statistics.summary import summarize


@pytest.fixture(scope="module")
def exported(tiny_archive, tmp_path_factory) -> Path:
    return export(tiny_archive, tmp_path_factory.mktemp("export") / "hf")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.filterwarnings("ignore")
def test_datasets_reads_the_videos_with_their_embeddings(exported, tiny_archive, tmp_path):
    datasets = importlib.import_module("datasets")
    table = datasets.load_dataset(str(exported), split="train", cache_dir=str(tmp_path))
    undecoded = datasets.Video(decode=False)
    table = table.cast_column("video", undecoded).cast_column("reference", undecoded)
    archive = open_archive(tiny_archive)
    videos = archive.videos().set_index(["task", "latent", "sample"])
    assert len(table) == len(videos) == 36
    for row in table:
        own = videos.loc[row["task"], row["latent"], row["sample"]]
        assert Path(row["video"]["path"]).read_bytes() == archive.inside(own.path).read_bytes()
        np.testing.assert_array_equal(np.float32(row["video_embedding"]), own.embedding)
        assert (row["seed"], row["ssim"]) == (own.seed, own.ssim)
        assert Path(row["reference"]["path"]).stem == row["task"]
    pd.testing.assert_frame_equal(
        pd.read_parquet(exported / "summary.parquet"), summarize(archive), check_dtype=False
    )


@pytest.mark.filterwarnings("ignore")
def test_webdataset_streams_the_same_videos(tiny_archive, tmp_path):
    webdataset = importlib.import_module("webdataset")
    folder = export(tiny_archive, tmp_path / "tars", format="webdataset", shard_mb=0.1)
    tars = sorted(map(str, folder.glob("videos-*.tar")))
    assert len(tars) > 1
    rows = list(webdataset.WebDataset(tars, shardshuffle=False))
    archive = open_archive(tiny_archive)
    assert [row["__key__"].split("/")[0] for row in rows] == archive.videos().task.tolist()
    for row, own in zip(rows, archive.videos().itertuples(), strict=True):
        about = json.loads(row["json"])
        assert (about["task"], about["sample"], about["seed"]) == (own.task, own.sample, own.seed)
        assert row["mp4"] == archive.inside(own.path).read_bytes()
        embedding = np.load(BytesIO(row["npy"]), allow_pickle=False)
        np.testing.assert_array_equal(embedding, own.embedding)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", FORMATS)
def test_croissant_is_valid_and_reads_the_rows(tiny_archive, tmp_path, layout):
    mlcroissant = importlib.import_module("mlcroissant")
    folder = export(tiny_archive, tmp_path / "out", format=layout)
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not dataset.metadata.issues.errors
    rows = list(dataset.records("videos"))
    own = open_archive(tiny_archive).videos()
    assert [row["videos/seed"] for row in rows] == own.seed.tolist()
    np.testing.assert_array_equal(rows[0]["videos/video_embedding"], own.embedding[0])


def test_load_opens_an_export_as_the_archive_it_was(exported, tiny_archive):
    ours, theirs = squbed_utils.load(tiny_archive), squbed_utils.load(exported, verify=True)
    pd.testing.assert_frame_equal(summarize(ours), summarize(theirs))
    task = ours.tasks().task[0]
    np.testing.assert_array_equal(ours.reference(task), theirs.reference(task))


def test_importing_the_package_stays_light():
    code = "import sys, squbed_utils; print('pandas' in sys.modules, squbed_utils.__version__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", squbed_utils.__version__]
    with pytest.raises(AttributeError, match="no attribute 'save'"):
        squbed_utils.save  # noqa: B018


@pytest.mark.parametrize("layout", FORMATS)
def test_equal_archives_give_equal_bytes(tiny_archive, tmp_path, layout):
    copy = shutil.copytree(tiny_archive, tmp_path / "copy")
    first = export(tiny_archive, tmp_path / "a", format=layout)
    second = export(copy, tmp_path / "b", format=layout)
    assert contents(first) == contents(second)


def test_what_is_private_stays_at_home(tiny_archive, tmp_path):
    archive = shutil.copytree(tiny_archive, tmp_path / "archive")
    (archive / "answers").mkdir()
    (archive / "answers" / "1.json").write_text("{}")
    for name in ("spending.json", "labels.json"):
        (archive / name).write_text("{}")
    names = {name.split("/")[0] for name in contents(export(archive, tmp_path / "out"))}
    assert not names & {"answers", "spending.json", "labels.json", ".lock"}


def test_folders_of_this_machine_stay_at_home(exported, tiny_profile):
    home = str(tiny_profile.parent).encode()
    assert home in tiny_profile.read_bytes()
    assert [name for name, content in contents(exported).items() if home in content] == []


def test_an_export_is_read_and_never_filled(exported, tiny_profile):
    before = contents(exported)
    assert collect(tiny_profile, output=exported).folder == exported
    assert contents(exported) == before


def test_card_counts_what_there_is(exported):
    card = (exported / "README.md").read_text(encoding="utf-8")
    for part in ("36 generated videos of 4 tasks", "| round | 1 | 9 |", "0 videos failed"):
        assert part in card
    assert "world-tiny" in card
    assert "`clip_reference`: mean cosine" in card


def test_a_failed_video_is_counted_and_left_out(tiny_archive, tmp_path):
    folder = shutil.copytree(tiny_archive, tmp_path / "archive")
    archive = Archive(folder)
    (task, latent), _ = next(iter(archive.units.items()))
    import pyarrow.parquet as pq

    rows = pq.read_table(archive.shard(task, latent), partitioning=None).to_pylist()
    lost = {"status": "failed", "error": "RuntimeError: no", "path": None, "embedding": None}
    scores = dict.fromkeys(("ssim", "psnr", "lpips", "clip_reference", "clip_prompt"))
    rows[0] |= lost | scores
    archive.write_shard(task, latent, rows)
    out = export(folder, tmp_path / "out")
    assert len(pd.read_parquet(out / "metadata.parquet")) == 35
    assert "1 videos failed" in (out / "README.md").read_text(encoding="utf-8")


def test_damage_is_found_and_named(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    assert verify_sums(copy) == []
    first = next((copy / "videos").rglob("*.mp4"))
    first.write_bytes(first.read_bytes()[:-1])
    name = first.relative_to(copy).as_posix()
    assert verify_sums(copy) == [name]
    with pytest.raises(ValueError, match=f"1 files of .* {name} the first; download"):
        squbed_utils.load(copy, verify=True)


def test_sums_do_not_reach_out_of_the_folder(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (copy / SUMS).write_text(f"{empty}  ../outside\n")
    assert verify_sums(copy) == ["../outside"]


def test_outputs_that_are_refused(tiny_archive, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="is there already; choose a new or empty folder"):
        export(tiny_archive, full)
    assert contents(full) == {"mine.txt": b"kept"}
    with pytest.raises(ValueError, match="lies within the archive"):
        export(tiny_archive, Path(tiny_archive) / "out")
    with pytest.raises(ValueError, match="unknown format 'zip'; known: hf, webdataset"):
        export(tiny_archive, tmp_path / "out", format="zip")
    with pytest.raises(ValueError, match="shard_mb is 0"):
        export(tiny_archive, tmp_path / "out", shard_mb=0)
    with pytest.raises(FileNotFoundError, match="no samples archive"):
        export(tmp_path / "nothing", tmp_path / "out")
    assert not list(tmp_path.glob(".out*"))


def test_an_interrupted_export_leaves_nothing(tiny_archive, tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("squbed_utils.commands.publish.write_sums", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(tiny_archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_names_in_a_tar_stay_within_it(tiny_archive, tmp_path):
    folder = export(tiny_archive, tmp_path / "tars", format="webdataset")
    with tarfile.open(folder / "videos-00000.tar") as tar:
        names = tar.getnames()
    assert len(names) == 3 * 36
    assert not any(name.startswith("/") or ".." in name for name in names)


def test_load_says_what_it_cannot_open(tiny_archive, tmp_path):
    tars = export(tiny_archive, tmp_path / "tars", format="webdataset")
    with pytest.raises(ValueError, match="a dataset to stream"):
        squbed_utils.load(tars)
    with pytest.raises(FileNotFoundError, match="as owner/name"):
        squbed_utils.load("nowhere")
    with pytest.raises(FileNotFoundError, match="as owner/name"):
        squbed_utils.load("../up/out")
    with pytest.raises(FileNotFoundError, match=r"no SHA256SUMS in .*; only an exported"):
        squbed_utils.load(tiny_archive, verify=True)


def test_a_newer_schema_is_refused(tiny_archive, tmp_path):
    copy = shutil.copytree(tiny_archive, tmp_path / "copy")
    path = copy / "profile.yaml"
    assert "schema: 2" in path.read_text()
    path.write_text(path.read_text().replace("schema: 2", "schema: 3"))
    with pytest.raises(ValueError, match="has schema 3, and this version reads 2; install"):
        open_archive(copy)


def test_command_exports(tiny_archive, tmp_path, capsys):
    arguments = ["export", str(tiny_archive), "--output", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    assert "set the licence in README.md" in capsys.readouterr().out
    assert cli.main(arguments) == 2
    assert "is there already" in capsys.readouterr().err


def test_an_archive_of_0_1_0_stays_readable():
    expected = json.loads((FROZEN.parent / "archive.json").read_text())
    archive = squbed_utils.load(FROZEN)
    assert archive.tasks().task.tolist() == expected["tasks"]
    table = summarize(archive)
    for column in ("aleatoric", "epistemic", "total", "ssim", "clip_reference"):
        np.testing.assert_allclose(table[column], expected[column], rtol=1e-9)
    assert table.total_low.isna().all() and table.epistemic_low.notna().all()
    assert (
        archive.texts().empty and (table.total_remark.str.endswith("distinct latent prompts")).all()
    )
    assert archive.videos().caption.isna().all()
    assert archive.clip_means().notna().all(axis=None)
    video = archive.videos().iloc[0]
    assert video.status == OK
    frames = archive.read_video(video.path)
    assert (frames.shape, int(frames.sum())) == ((9, 32, 32, 3), expected["pixels"])


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download of one dataset asks for."""

    folder: Path
    commit = "0" * 40

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        names = sorted(contents(self.folder))
        if self.path.startswith("/api/datasets/ours/shapes/"):
            files = [
                {"rfilename": name, "type": "file", "path": name, "oid": name}
                | {"size": (self.folder / name).stat().st_size}
                for name in names
            ]
            found = files if "/tree/" in self.path else {"sha": self.commit, "siblings": files}
            content = json.dumps({"id": "ours/shapes", **found} if found is not files else found)
            self.reply(content.encode(), "application/json", body=body)
            return
        name = self.path.partition("?")[0].partition(f"/resolve/{self.commit}/")[2]
        if self.path.startswith("/datasets/ours/shapes/") and name in names:
            self.reply((self.folder / name).read_bytes(), "application/octet-stream", body=body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def reply(self, content: bytes, kind: str, *, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hash(content):x}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(exported):
    handler = type("OurHub", (Hub,), {"folder": exported})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def load_from(hub: str, name: str, samples: Path) -> subprocess.CompletedProcess:
    """Load a dataset in a process of its own: the hub's address is read once, at import."""
    code = (
        "import sys, pathlib, squbed_utils, squbed_utils.archive.remote as remote\n"
        "remote.SAMPLES = pathlib.Path(sys.argv[2])\n"
        "archive = squbed_utils.load(sys.argv[1], verify=True)\n"
        "print(len(archive.videos()), archive.reference(archive.tasks().task[0]).shape)"
    )
    online = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(samples / "home")}
    online |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", code, name, str(samples)]
    return subprocess.run(command, env=os.environ | online, capture_output=True, text=True)


def test_load_downloads_a_dataset_from_the_hub(hub, tmp_path):
    found = load_from(hub, "ours/shapes", tmp_path)
    assert found.stdout.strip() == "36 (9, 32, 32, 3)", found.stderr
    missing = load_from(hub, "ours/cubes", tmp_path)
    assert "FileNotFoundError: no folder ours/cubes, and the hub gives no such" in missing.stderr
