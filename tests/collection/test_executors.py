"""Workers that fail, die or run elsewhere: a unit is the most that is lost."""

import builtins
import json
import shutil
import signal
import subprocess

import psutil
import pytest
import torch
from kit import tiny
from kit.collecting import command, contents, wait_for

from squbed_utils.archive.archive import Archive
from squbed_utils.collection import latent as _unit
from squbed_utils.collection import workers
from squbed_utils.collection.collect import collect
from squbed_utils.collection.executors import Executor
from squbed_utils.collection.workers import BEGUN, DIED, DONE, ENDED, STOPPED, Job
from squbed_utils.models import diffusion
from squbed_utils.models.errors import Stop
from squbed_utils.profiles import load
from squbed_utils.statistics.summary import summarize

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
        diffusion._each(draw, [("a", 0), ("b", 1)], 8)


class ScriptedPool:
    """Workers that do what a list says."""

    def __init__(self, news):
        self.news, self.started, self.ended = news, 0, False

    def start(self):
        self.started += 1
        return self.started

    def wait(self):
        return [self.news.pop(0)]

    def end(self):
        self.ended = True


@pytest.fixture
def job(tiny_profile, copy):
    task = next(t for t in _tasks(tiny_profile) if t.id == "never-0-sign")
    return Job(load(tiny_profile), copy, [(task, 1)])


def _tasks(tiny_profile):
    from squbed_utils.tasks import captioned

    return captioned.read(load(tiny_profile).dataset, label=None, cache=None, asked="").tasks


def test_a_dead_worker_is_replaced(job):
    unit = job.todo[0]
    pool = ScriptedPool([(1, BEGUN, unit), (1, DIED, None), (2, DONE, unit), (2, ENDED, None)])
    assert list(workers.drive(pool, 1, job)) == [unit]
    assert pool.started == 2


def test_a_unit_that_kills_its_workers_is_recorded(job):
    unit, news = job.todo[0], []
    for worker in (1, 2, 3):
        news += [(worker, BEGUN, unit), (worker, DIED, None)]
    pool = ScriptedPool([*news, (4, DONE, unit), (4, ENDED, None)])
    assert list(workers.drive(pool, 1, job)) == [unit]
    errors = Archive(job.folder).errors("never-0-sign", 1)
    assert errors == ["its worker died 3 times, perhaps for lack of memory"] * tiny.M


def test_workers_that_die_one_after_the_other_stop_the_run(job):
    pool = ScriptedPool([(worker, DIED, None) for worker in range(1, 8)])
    with pytest.raises(Stop, match="6 workers in a row died, .* run the same command again, with"):
        list(workers.drive(pool, 1, job))
    assert pool.started == 6


def test_an_error_ends_the_others_after_their_units(job):
    unit = job.todo[0]
    news = [(2, BEGUN, unit), (1, STOPPED, ValueError("no")), (2, DONE, unit), (2, ENDED, None)]
    pool = ScriptedPool(news)
    done = workers.drive(pool, 2, job)
    assert next(done) == unit and pool.ended
    with pytest.raises(ValueError, match="no"):
        next(done)


@pytest.mark.parametrize("name", ["ray", "submitit"])
def test_a_missing_package(tiny_profile, copy, monkeypatch, name):
    real = builtins.__import__

    def without(module, *more):
        if module == name:
            raise ImportError(module)
        return real(module, *more)

    monkeypatch.setattr(builtins, "__import__", without)
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


def claims(folder):
    return [f.read_text() for f in folder.glob(".claims/unit-*")]


def generated_twice(folder):
    lines = [line for f in folder.glob("runs/*") for line in f.read_text().splitlines()]
    done = [(e["task"], e["latent"]) for e in map(json.loads, lines) if e["event"] == "done"]
    return len(done) - len(set(done))


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_its_unit(tiny_profile, tiny_archive, tmp_path):
    folder = tmp_path / "world-tiny"
    line = command(tiny_profile, folder, "--workers", "2")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: claims(folder) and len(children(process)) == 2, process)
        psutil.Process(int(claims(folder)[0].split("-")[-2])).kill()
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert contents(folder) == contents(tiny_archive) and generated_twice(folder) == 0


@pytest.mark.slow
def test_ray_fills_the_same_archive_though_an_actor_is_killed(tiny_profile, tiny_archive, tmp_path):
    pytest.importorskip("ray")
    folder = tmp_path / "world-tiny"
    line = command(tiny_profile, folder, "--executor", "ray", "--workers", "2")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: claims(folder), process)
        psutil.Process(int(claims(folder)[0].split("-")[-2])).kill()
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert contents(folder) == contents(tiny_archive) and generated_twice(folder) == 0


@pytest.mark.slow
def test_ray_ends_with_its_collection(tiny_profile, tiny_archive, tmp_path):
    pytest.importorskip("ray")
    folder = tmp_path / "world-tiny"
    line = command(tiny_profile, folder, "--executor", "ray", "--workers", "2")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: claims(folder), process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=240)  # Ray's own helpers look up rarely
    assert alive == []
    collect(tiny_profile, output=folder)
    assert contents(folder) == contents(tiny_archive) and generated_twice(folder) == 0
