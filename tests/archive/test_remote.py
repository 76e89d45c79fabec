"""Archives whose home is a URL: what goes there, comes back, and is mended."""

import json
import shutil

import fsspec
import pytest

import squbed_utils
from squbed_utils import cli
from squbed_utils.archive import remote
from squbed_utils.collection import latent as unit
from squbed_utils.collection.collect import collect

URL = "memory://bucket/world-tiny"


@pytest.fixture(autouse=True)
def bucket(tmp_path, monkeypatch):
    """Give an empty store in memory, and an empty folder for working folders."""
    monkeypatch.setattr(remote, "SAMPLES", tmp_path / "samples")
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()


@pytest.fixture
def kept(tiny_archive, bucket):
    """Give the store, once a finished archive has gone home."""
    shutil.copytree(tiny_archive, remote.Home(URL).folder)
    remote.Home(URL).push()
    shutil.rmtree(remote.Home(URL).folder)
    return bucket


def at_home(bucket):
    names = bucket.find("/bucket/world-tiny")
    return {name.removeprefix("/bucket/world-tiny/"): bucket.cat_file(name) for name in names}


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in named.items() if not name.startswith((".", "runs/"))}


@pytest.fixture
def made(monkeypatch):
    """Units made from now on."""
    units, make = [], unit.make
    monkeypatch.setattr(
        unit, "make", lambda bench, task, z: (units.append((task.id, z)), make(bench, task, z))
    )
    return units


def test_what_is_collected_goes_home_byte_for_byte(tiny_profile, tiny_archive, bucket):
    archive = collect(tiny_profile, output=URL)
    assert at_home(bucket) == contents(tiny_archive) == contents(archive.folder)


def test_a_run_goes_on_on_another_machine(tiny_profile, tiny_archive, bucket, monkeypatch, made):
    make = unit.make

    def interrupted(bench, task, latent):
        if len(made) == 7:
            raise KeyboardInterrupt
        make(bench, task, latent)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(unit, "make", interrupted)
        collect(tiny_profile, output=URL)
    assert len([name for name in at_home(bucket) if remote.SUMS.fullmatch(name)]) == 7
    shutil.rmtree(remote.Home(URL).folder)
    collect(tiny_profile, output=URL)
    assert len(made) == len(set(made)) == 12
    assert at_home(bucket) == contents(tiny_archive)


def test_the_profile_is_home_before_the_first_latent_prompt(tiny_profile, bucket, monkeypatch):
    """Else a machine that goes on has samples of which nothing says what made them."""
    put, home = type(bucket).put_file, []
    monkeypatch.setattr(type(bucket), "put_file", lambda *a, **k: home.append(a[2]) or put(*a, **k))
    collect(tiny_profile, output=URL)
    order = [name.rpartition("world-tiny/")[2] for name in home]
    assert order.index("profile.yaml") < min(i for i, n in enumerate(order) if "shards" in n)
    assert order[-1] == "archive.sha256"


def test_what_another_machine_has_paid_counts_here(kept, tmp_path):
    account = {"dollars": 5.0, "refiner_dollars": 1.0, "refiner_calls": 3.0}
    here = remote.Home(URL)
    here.pull()
    (here.folder / "spending.json").write_text(json.dumps(account))
    here.push()
    shutil.move(here.folder, tmp_path / "first")
    there = remote.Home(URL)
    there.pull()
    with_more = account | {"dollars": 8.0, "refiner_calls": 2.0}
    (there.folder / "spending.json").write_text(json.dumps(with_more))
    there.push()
    shutil.rmtree(there.folder)
    shutil.move(tmp_path / "first", here.folder)
    remote.Home(URL).pull()
    assert json.loads((here.folder / "spending.json").read_text()) == account | {"dollars": 8.0}
    kept.pipe_file(f"{there.root}/spending.json", b"[1]")
    with pytest.raises(ValueError, match="spending.json, or that at memory.* is no account"):
        remote.Home(URL).pull()


def test_what_is_home_is_opened_anywhere(kept, tiny_archive):
    archive = squbed_utils.load(URL)
    assert contents(archive.folder) == contents(tiny_archive)
    assert archive.videos().equals(squbed_utils.load(tiny_archive).videos())


@pytest.mark.parametrize(
    "lost", ["videos/common-0-round/0_1.mp4", "shards/common-0-round/0.parquet"]
)
@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_what_is_damaged_there_is_named_and_made_again(
    kept, tiny_profile, tiny_archive, made, lost, how
):
    path = f"/bucket/world-tiny/{lost}"
    kept.rm_file(path)
    if how == "damaged":
        kept.pipe_file(path, b"not what was stored")
    with pytest.raises(
        ValueError, match=f"1 files at {URL} are missing or not .* {lost} the first"
    ):
        squbed_utils.load(URL)
    collect(tiny_profile, output=URL)
    assert made == [("common-0-round", 0)]
    assert at_home(kept) == contents(tiny_archive)


def test_a_latent_prompt_without_its_checksums_is_not_there_yet(kept, tiny_profile, made):
    kept.rm_file("/bucket/world-tiny/shards/common-0-round/2.sha256")
    with pytest.raises(ValueError, match="holds 11 of 12 latent prompts; run `squbed collect"):
        squbed_utils.load(URL)
    collect(tiny_profile, output=URL)
    assert made == [("common-0-round", 2)]


def test_no_path_leads_out_of_the_working_folder(kept, tmp_path):
    listed = f"{'0' * 64}  ../../stolen.mp4\n".encode()
    kept.pipe_file("/bucket/world-tiny/shards/common-0-round/0.sha256", listed)
    kept.pipe_file("/bucket/stolen.mp4", b"")
    with pytest.raises(ValueError, match="leads out of the archive"):
        squbed_utils.load(URL)
    assert not list(tmp_path.rglob("stolen.mp4"))


def test_a_store_that_fails_loses_nothing(tiny_profile, bucket, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(OSError, match="cannot be reached .*quota"):
        patch.setattr(type(bucket), "put_file", lambda *_, **__: fail())
        collect(tiny_profile, output=URL)
    assert len(squbed_utils.load(remote.Home(URL).folder).units) == 12
    collect(tiny_profile, output=URL)
    assert at_home(bucket) == contents(remote.Home(URL).folder)


def fail():
    raise ConnectionError("over quota")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere://bucket/world", "nowhere://bucket/world cannot be used .*Protocol not known"),
        ("gs://bucket/world", "install the package of its protocol, or correct the URL"),
        ("memory://bucket/nothing", "there is nothing at memory://bucket/nothing"),
    ],
)
def test_a_url_that_is_no_good_is_one_sentence(url, message, capsys):
    assert cli.main(["figures", "--profile", "world", "--samples", url]) == cli.USER_ERROR
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        remote.fetch(url)
    assert "Traceback" not in capsys.readouterr().err
