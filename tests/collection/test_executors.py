"""Workers that fail, die or run elsewhere: a unit is the most that is lost."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest
import torch
from kit import tiny
from kit.collecting import command, contents, wait_for

from squbed_utils.archive.archive import Archive
from squbed_utils.collection import claims, executors, workers
from squbed_utils.collection import latent as _unit
from squbed_utils.collection.collect import collect
from squbed_utils.collection.executors import Died, Executor
from squbed_utils.collection.workers import Job
from squbed_utils.models import diffusion
from squbed_utils.models.errors import Stop
from squbed_utils.profiles import load
from squbed_utils.statistics.summary import summarize
from squbed_utils.tasks import captioned

UNITS = len(tiny.TASKS) * tiny.N


@pytest.fixture
def copy(tiny_archive, tmp_path):
    """Copy the archive without a latent prompt."""
    folder = shutil.copytree(tiny_archive, tmp_path / "world-tiny")
    remove(folder, "never-0-sign", 1)
    return folder


def remove(folder, task, latent):
    Archive(folder).shard(task, latent).unlink()
    for file in (folder / "videos" / task).glob(f"{latent}_*.mp4"):
        file.unlink()


@pytest.fixture
def failing(monkeypatch):
    """Let units fail with the errors in a list, one after the other."""
    errors, make = [], _unit.make

    def fail_or_make(*unit):
        if errors:
            raise errors.pop(0)
        make(*unit)

    monkeypatch.setattr(_unit, "make", fail_or_make)
    return errors


def test_a_unit_that_fails_is_tried_again(tiny_profile, tiny_archive, copy, failing):
    failing.extend([RuntimeError("once"), KeyError("twice")])
    collect(tiny_profile, output=copy)
    assert contents(copy) == contents(tiny_archive)


@pytest.mark.parametrize(("error", "times"), [(RuntimeError("no"), 3), (ValueError("no"), 1)])
def test_then_it_is_recorded_and_the_run_goes_on(
    tiny_profile, tiny_archive, copy, failing, error, times
):
    remove(copy, "never-4-thing", 2)
    failing.extend([error] * times)
    archive = collect(tiny_profile, output=copy)
    assert failing == []
    rows = archive.videos().query("status == 'failed'")
    assert rows.task.tolist() == ["never-0-sign"] * tiny.M and (rows.latent == 1).all()
    assert set(rows.error) == {f"{type(error).__name__}: no"}
    text, videos = archive.embeddings("never-0-sign")
    assert len(text) == len(videos) == tiny.N - 1
    assert Archive(tiny_archive).embeddings("never-4-thing")[0].shape[0] == tiny.N
    with pytest.warns(UserWarning, match="1 of 4 tasks left out for want of videos"):
        assert len(summarize(archive, estimator="squbed")) == 3
    collect(tiny_profile, output=copy, retry_failed=True)
    assert contents(copy) == contents(tiny_archive)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError(), Stop, "out of memory .MemoryError.; what is finished is kept: run fewer"),
        (torch.OutOfMemoryError("CUDA out of memory.\nMore"), Stop, "CUDA out of memory.*offload"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Stop, "out of memory"),
        (Stop("the budget is used up"), Stop, "the budget is used up"),
        (OSError(28, "No space left on device"), OSError, "No space left on device"),
    ],
)
def test_what_no_other_unit_would_escape_ends_the_run(
    tiny_profile, tiny_archive, copy, failing, error, kind, message
):
    failing.append(error)
    with pytest.raises(kind, match=message):
        collect(tiny_profile, output=copy)
    assert not Archive(copy).shard("never-0-sign", 1).is_file()
    collect(tiny_profile, output=copy)
    assert contents(copy) == contents(tiny_archive)


def test_a_pipeline_out_of_memory_fails_no_video():
    def draw(items):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(Stop, match="set video_model.offload or video_model.vae_tiling"):
        diffusion._each(draw, [("a", 0), ("b", 1)])


@pytest.fixture
def job(tiny_profile, copy, monkeypatch):
    """One unit to make, and no time between two looks."""
    monkeypatch.setattr(executors, "POLL", 0)
    profile = load(tiny_profile)
    tasks = captioned.read(profile.dataset, label=None, cache=None, asked="").tasks
    return Job(profile, copy, [(next(t for t in tasks if t.id == "never-0-sign"), 1)])


class Scripted(executors.Started):
    """A worker that finishes a unit, if it is given one, at the second look, and then ends."""

    def __init__(self, word=None, job=None, ends=True):
        self.word, self.job, self.ends, self.looks, self.killed = word, job, ends, 0, False

    def done(self):
        self.looks += 1
        if self.job and self.looks == 2:
            ((task, latent),) = self.job.todo
            _unit.fail(self.job.profile, Archive(self.job.folder), task, latent, "scripted")
        return self.ends and self.looks > 2 * bool(self.job)

    def error(self):
        return self.word

    def kill(self):
        self.killed = True


def started_from(workers):
    """Return what starts the workers of a list, and the jobs for which it did."""
    jobs = []

    def start(job, count):
        jobs.extend([job] * count)
        return [workers.pop(0) for _ in range(count)]

    return start, jobs


def test_a_dead_worker_is_replaced(job):
    start, jobs = started_from([Scripted(Died()), Scripted(job=job)])
    assert list(executors.watch(start, 1, job)) == job.todo
    assert len(jobs) == 2 and claims.is_over(job.folder, jobs[0].run)


@pytest.mark.parametrize("deaths", [2, 3])
def test_a_unit_that_kills_three_workers_is_recorded(job, tiny_archive, deaths):
    with claims.Sign(job.folder) as run:
        claim = job.folder / ".claims" / "unit-never-0-sign.1"
        claim.write_text("\n".join(["dead"] * deaths))
        assert list(workers.work(replace(job, run=run.name))) == job.todo
        assert not claim.exists()
    errors = Archive(job.folder).errors("never-0-sign", 1)
    recorded = ["its worker died 3 times, perhaps for lack of memory"] * tiny.M
    assert errors == (recorded if deaths == 3 else [])


def test_a_run_that_begins_anew_counts_no_deaths_of_an_earlier_one(job):
    claim = job.folder / ".claims" / "unit-never-0-sign.1"
    claim.parent.mkdir(exist_ok=True)
    claim.write_text("dead\n" * 3)
    assert list(workers.work(job)) == job.todo
    assert Archive(job.folder).errors("never-0-sign", 1) == []


def test_workers_that_die_one_after_the_other_stop_the_run(job):
    start, jobs = started_from([Scripted(Died("logs: there")) for _ in range(8)])
    message = "6 workers in a row died, .* .logs: there.; .* run the same command again, with"
    with pytest.raises(Stop, match=message):
        list(executors.watch(start, 1, job))
    assert len(jobs) == 6


def test_an_error_ends_the_others_after_their_units(job, capsys):
    other = Scripted(job=job)
    start, jobs = started_from([Scripted(ValueError("no")), other])
    with pytest.raises(ValueError, match="no"):
        list(executors.watch(start, 2, job))
    assert claims.is_over(job.folder, jobs[0].run)  # by which it knows
    assert Archive(job.folder).finished("never-0-sign", 1) and not other.killed
    assert "ending after the latent prompts at hand" in capsys.readouterr().err


def test_an_error_at_the_last_unit_is_raised(job):
    start, _ = started_from([Scripted(ValueError("no"), job)])
    with pytest.raises(ValueError, match="no"):
        list(executors.watch(start, 1, job))


def test_ctrl_c_again_kills_the_workers(job, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    hanging = Scripted(ends=False)
    start, _ = started_from([hanging])
    monkeypatch.setattr(executors.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(executors.watch(start, 1, job))
    assert hanging.killed


def test_a_worker_ends_with_its_run(job):
    assert list(workers.work(replace(job, run="over"))) == []
    assert not Archive(job.folder).finished("never-0-sign", 1)


@pytest.mark.parametrize("name", ["ray", "submitit"])
def test_a_missing_package(tiny_profile, copy, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    kind = "ray" if name == "ray" else "slurm"
    with pytest.raises(RuntimeError, match=f"needs the package {name}; run `pip install squbed-no"):
        collect(tiny_profile, output=copy, executor=Executor(kind))


def test_an_unknown_option_of_slurm(tiny_profile, copy):
    options = {"cluster": "local", "colour": "red"}
    with pytest.raises(ValueError, match="--slurm: .*colour"):
        collect(tiny_profile, output=copy, executor=Executor("slurm", options=options))


@pytest.mark.slow
def test_slurm_jobs_fill_the_same_archive(tiny_profile, tiny_archive, tmp_path):
    folder = tmp_path / "world-tiny"
    executor = Executor("slurm", options={"cluster": "local"})
    collect(tiny_profile, output=folder, workers=2, executor=executor)
    assert contents(folder) == contents(tiny_archive)
    assert list(tmp_path.glob("world-tiny.slurm/*"))


def children(process):
    """Return the workers of a collection that have begun."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [p for p in found if "spawn_main" in " ".join(p.cmdline())]


def claimed_by(folder):
    return [f.read_text() for f in folder.glob(".claims/unit-*")]


def kill_a_worker(folder):
    """Kill the worker that holds a unit, if one does just now; say whether it did."""
    with suppress(FileNotFoundError, psutil.NoSuchProcess):
        for name in claimed_by(folder):
            if name:
                psutil.Process(int(name.split("-")[-2])).kill()
                return True
    return False


def generated_twice(folder):
    lines = [line for f in folder.glob("runs/*") for line in f.read_text().splitlines()]
    done = [(e["task"], e["latent"]) for e in map(json.loads, lines) if e["event"] == "done"]
    return len(done) - len(set(done))


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_its_unit(tiny_profile, tiny_archive, tmp_path):
    folder = tmp_path / "world-tiny"
    line = command(tiny_profile, folder, "--workers", "2")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(children(process)) == 2 and kill_a_worker(folder), process)
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert contents(folder) == contents(tiny_archive) and generated_twice(folder) == 0


@pytest.mark.slow
def test_ray_fills_the_same_archive_though_an_actor_is_killed(tiny_profile, tiny_archive, tmp_path):
    pytest.importorskip("ray")
    folder = tmp_path / "world-tiny"
    line = command(tiny_profile, folder, "--executor", "ray", "--workers", "2")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: kill_a_worker(folder), process)
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert contents(folder) == contents(tiny_archive) and generated_twice(folder) == 0


@pytest.mark.slow
def test_ray_ends_with_its_collection(tiny_profile, tiny_archive, tmp_path):
    pytest.importorskip("ray")
    folder = tmp_path / "world-tiny"
    line = command(tiny_profile, folder, "--executor", "ray", "--workers", "2")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: claimed_by(folder), process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=240)  # Ray's own helpers look up rarely
    assert alive == []
    collect(tiny_profile, output=folder)
    assert contents(folder) == contents(tiny_archive) and generated_twice(folder) == 0
