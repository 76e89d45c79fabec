"""Whatever happens to a collection, going on gives the archive of an undisturbed one.

The models are a stub that sleeps; `test_collect` kills collections with real ones.
"""

import collections
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import types
from contextlib import ExitStack

import pytest
from kit import stub
from kit.collecting import contents

from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.collection import claims as _claims
from squbed_utils.collection import status
from squbed_utils.collection.collect import shared
from squbed_utils.files import PARTIAL

UNITS, SECONDS, LEASE = 24, 0.04, 2.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return what an undisturbed run gives."""
    folder = tmp_path_factory.mktemp("whole") / "archive"
    finish(folder)
    return contents(folder)


def start(folder, *, seconds=SECONDS, workers_on_ray=None, **options):
    line = [sys.executable, stub.__file__, folder, str(UNITS), str(seconds), str(LEASE)]
    line += [str(workers_on_ray)] if workers_on_ray else []
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, **options)


def finish(folder):
    with start(folder) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def shards(folder):
    return len(list(folder.glob("shards/*/*.parquet")))


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def made(folder):
    """Count how often each unit was finished, by the log."""
    events = [
        json.loads(line)
        for f in folder.glob("runs/*")
        for line in f.read_text().split("\n")
        if line
    ]
    return collections.Counter((e["task"], e["latent"]) for e in events if e["event"] == "done")


def check(folder, whole):
    """Hold an archive against the undisturbed one; nothing is left of claims."""
    assert contents(folder) == whole
    assert max(made(folder).values()) == 1
    assert [p.name for p in (folder / ".claims").iterdir()] == ["lock"]
    open_archive(folder)


def kill_at_random(folder, kills, rng):
    """Start and kill collections, each after a random part of a unit or more."""
    for _ in range(kills):
        before = shards(folder)
        with start(folder) as process:
            wait_for(lambda before=before: shards(folder) > before or process.poll() is not None)
            time.sleep(rng.uniform(0, 2 * SECONDS))
            process.kill()


def test_kills_at_random_moments(tmp_path, whole):
    folder = tmp_path / "archive"
    kill_at_random(folder, 3, random.Random(0))
    assert shards(folder) >= 3
    finish(folder)
    check(folder, whole)


@pytest.mark.slow
def test_fifty_kills(tmp_path, whole):
    rng, kills = random.Random(1), 0
    for part in range(10):
        folder = tmp_path / f"archive{part}"
        kill_at_random(folder, 5, rng)
        kills += 5
        finish(folder)
        check(folder, whole)
    assert kills == 50


def kill_workers(folder, process, kills, rng):
    """Kill whoever makes a unit, at random moments, but no unit's worker twice."""
    killed = set()
    while len(killed) < kills:
        time.sleep(rng.uniform(0, 1))
        assert process.poll() is None, process.communicate()[1]
        claims = {claim.name: claim for claim in folder.glob(".claims/unit-*")}
        for name in sorted(claims.keys() - killed)[:1]:
            worker = claims[name].read_text() if claims[name].exists() else ""
            if worker:
                os.kill(int(worker.split("-")[-2]), signal.SIGKILL)
                killed.add(name)


@pytest.mark.slow
def test_fifty_kills_on_ray(tmp_path, whole):
    pytest.importorskip("ray")
    path = {"env": os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}}
    for part in range(5):
        folder = tmp_path / f"archive{part}"
        with start(folder, seconds=1.0, workers_on_ray=3, **path) as process:
            kill_workers(folder, process, 10, random.Random(part))
            _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        check(folder, whole)


def test_two_collections_share_an_archive(tmp_path, whole):
    """Both have joined before any unit is free."""
    folder = tmp_path / "archive"
    stub.begin(folder, UNITS)
    with ExitStack() as stack:
        with worker(folder, LEASE) as here:
            claims = [here.claim(t.id, z) for t in stub.tasks(UNITS) for z in range(stub.LATENTS)]
            assert all(claims)
            processes = [stack.enter_context(start(folder)) for _ in range(2)]
            wait_for(lambda: len(_claims.living(folder)) == 3)
        assert [p.communicate(timeout=300) and p.returncode for p in processes] == [0, 0]
    check(folder, whole)
    assert len(list(folder.glob("runs/*"))) == 2


def test_the_unit_of_a_killed_collection_is_taken_over_at_once(tmp_path, whole):
    folder = tmp_path / "archive"
    with start(folder) as first, start(folder) as second:
        wait_for(lambda: shards(folder) > 3)
        first.kill()
        assert second.communicate(timeout=300) and second.returncode == 0
    check(folder, whole)


def test_the_unit_of_a_hanging_collection_is_taken_over_after_its_lease(tmp_path, whole):
    folder = tmp_path / "archive"
    with start(folder, seconds=1.0) as hanging:
        wait_for(lambda: list(folder.glob(".claims/unit-*")))
        hanging.send_signal(signal.SIGSTOP)
        finish(folder)
        hanging.send_signal(signal.SIGCONT)
        assert hanging.communicate(timeout=300) and hanging.returncode == 0
    assert contents(folder) == whole


@pytest.mark.slow
def test_a_full_disk_stops_the_run_in_one_line(tmp_path, whole):
    """A limit on the size of files gives the same error as a full disk, but for its number."""
    folder = tmp_path / "archive"
    with start(folder) as process:
        wait_for(lambda: shards(folder) > 2)
        process.kill()

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))

    with start(folder, preexec_fn=limit) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 1 and "OSError" in errors.splitlines()[-1]
    assert not list(folder.rglob("*.partial"))
    assert not list(folder.glob(".claims/unit-*"))
    finish(folder)
    check(folder, whole)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder]
    if subprocess.run(line, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full(small_disk, whole):
    folder = small_disk / "archive"
    with start(folder) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 1 and "No space left" in errors.splitlines()[-1]
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    finish(folder)
    check(folder, whole)


def test_a_disk_that_cannot_be_written(small_disk, whole):
    folder = small_disk / "archive"
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    with start(folder) as process:
        wait_for(lambda: shards(folder) > 2)
        process.kill()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with start(folder) as process:
        _, errors = process.communicate(timeout=300)
    assert "cannot be written (Read-only file system); mount it writable" in errors
    assert status.status(folder).done == shards(folder)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    finish(folder)
    check(folder, whole)


def worker(folder, lease=0.6):
    return _claims.Worker(folder, lease)


def test_a_claim_is_one_workers(tmp_path):
    with worker(tmp_path) as a, worker(tmp_path) as b:
        assert a.claim("t", 0) and not a.claim("t", 0) and not b.claim("t", 0)
        assert b.claim("t", 1) and _claims.claimed(tmp_path) == {"t.0": a.name, "t.1": b.name}
        a.release("t", 1)
        assert not a.claim("t", 1)  # as it was not its to release
        a.release("t", 0)
        assert b.claim("t", 0)
    assert _claims.living(tmp_path) == []


def test_a_claim_counts_the_workers_that_died_of_its_unit(tmp_path):
    with worker(tmp_path) as a, worker(tmp_path) as b:
        claim = tmp_path / ".claims/unit-t.0"
        claim.write_text("first\nsecond")
        assert a.claim("t", 0) == 3 and claim.read_text().split() == ["first", "second", a.name]
        assert b.claim("t", 0) == 0 and b.claim("t", 1) == 1
        a.release("t", 0)
        assert b.claim("t", 0) == 1


def test_claims_of_the_dead_last_as_long_as_a_run(tmp_path):
    with _claims.Sign(tmp_path):
        claim = tmp_path / ".claims/unit-t.0"
        claim.write_text("dead")
        _claims.clear(tmp_path)
        assert claim.exists() and _claims.living(tmp_path) == []
    assert not claim.exists()


def test_of_many_workers_one_gets_a_claim(tmp_path):
    workers = [worker(tmp_path, lease=30) for _ in range(8)]
    got = []
    for each in workers:
        each.__enter__()
    (tmp_path / ".claims/unit-t.0").write_text("dead")
    threads = [threading.Thread(target=lambda w=w: got.append(w.claim("t", 0))) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [0] * 7 + [2]
    for each in workers:
        each.__exit__()


@pytest.mark.parametrize("others", [0, 1])
def test_the_last_run_to_end_clears_what_dead_workers_left(tmp_path, others):
    """A worker that was killed while it wrote leaves part of a file, which no other touches."""
    partial = tmp_path / "shards" / "t" / f".0.parquet.1234{PARTIAL}"
    with ExitStack() as stack:
        with shared(Archive(tmp_path)):
            for _ in range(others):
                stack.enter_context(worker(tmp_path))
            partial.parent.mkdir(parents=True)
            partial.touch()
        assert partial.exists() == bool(others)  # which may be writing it


def test_a_tasks_folder_may_have_the_ending_of_part_of_a_file(tmp_path):
    made = tmp_path / "shards" / f"movie{PARTIAL}"
    made.mkdir(parents=True)
    (tmp_path / ".lock").touch()
    with shared(Archive(tmp_path)):
        pass
    assert made.is_dir()


@pytest.fixture
def seconds(monkeypatch):
    """Give workers a clock that stands still until it is set."""
    passed = [0.0]
    monkeypatch.setattr(_claims, "time", types.SimpleNamespace(monotonic=lambda: passed[0]))
    return passed


def elsewhere(folder, name="far-1-x"):
    """Leave the claim of a worker on another machine."""
    file = folder / f".claims/worker-{name}"
    file.write_text("another machine")
    (folder / ".claims/unit-t.0").write_text(name)
    return file


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_clock_that_jumps_frees_no_claim_and_keeps_none(tmp_path, seconds, jump):
    """The stamps of a living worker far from here move with its clock, or jump with it."""
    with worker(tmp_path, lease=60) as here:
        file = elsewhere(tmp_path)
        for beat in range(8):
            os.utime(file, (1e9 + beat, 1e9 + beat + (jump if beat > 3 else 0)))
            assert not here.claim("t", 0)
            seconds[0] += 15
        seconds[0] += 46  # it beats no more
        assert here.claim("t", 0)


def test_a_claim_without_a_name_ends_with_the_lease(tmp_path, seconds):
    with worker(tmp_path, lease=60) as here:
        (tmp_path / ".claims/unit-t.0").touch()
        for passed in (0, 60):
            seconds[0] = passed
            assert not here.claim("t", 0)
        seconds[0] = 61
        assert here.claim("t", 0)


def test_a_worker_taken_for_dead_announces_itself_again(tmp_path):
    with worker(tmp_path) as here:
        (file,) = tmp_path.glob(".claims/worker-*")
        file.unlink()
        wait_for(lambda: _claims.living(tmp_path) == [here.name])


def clock(now):
    return types.SimpleNamespace(time=lambda: now)


def test_status(tmp_path, monkeypatch):
    """Three units of 540 s, one every 600 s, and a fourth that is being made."""
    folder = tmp_path / "archive"
    stub.begin(folder, UNITS)
    archive, (task, *_) = Archive(folder), stub.tasks(UNITS)
    with worker(folder) as here:
        monkeypatch.setattr(status, "time", clock(1000))
        log = status.RunLog(folder, here.name, device="cpu", gpus=0)
        for latent in range(3):
            log.write("begin", task=task.id, latent=latent)
            stub.make(0, archive, task, latent)
            monkeypatch.setattr(status, "time", clock(1600 + 600 * latent))
            log.write("done", task=task.id, latent=latent, seconds=540)
        assert here.claim(task.id, 3)
        monkeypatch.setattr(status, "time", clock(2800))
        now = status.status(folder)
    assert (now.units, now.done, now.running, now.workers, now.failed) == (UNITS, 3, 1, 1, 0)
    assert (now.rate, now.hours_left) == (6, (UNITS - 3) / 6)
    assert (now.gpu_hours, now.cpu_hours) == (0, 0.45)
    dead = status.status(folder)
    assert dead.workers == dead.running == 0 and dead.hours_left is None
    assert f"3 of {UNITS} latent prompts are finished" in str(dead)


def test_status_counts_gpu_hours_and_failures(tmp_path):
    finish(tmp_path / "archive")
    archive = Archive(tmp_path / "archive")
    rows = archive.rows("t0", 0)
    rows[0] |= {"status": "failed", "error": "RuntimeError: no"}
    archive.write_shard("t0", 0, rows)
    (log,) = archive.folder.glob("runs/*")
    log.write_text(
        re.sub(r'"seconds": [0-9.]+', '"seconds": 0', log.read_text())
        .replace('"gpus": 0.0', '"gpus": 0.5')
        .replace('"cpu"', '"cuda"')
        + '{"event": "done", "task": "t9", "latent": 1, "seconds": 7200, "time": 1}\n{"cut sho'
    )
    found = status.status(archive.folder)
    assert (found.gpu_hours, found.cpu_hours) == (1, 0)
    assert found.failed == 1 and found.first_error == "RuntimeError: no"
    assert "failed   1 videos; the first: RuntimeError: no" in str(found)


def test_status_of_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="no samples archive in .*no profile.yaml in it"):
        status.status(tmp_path)
