"""A plan's power and errors against simulation and against what larger samples have."""

import numpy as np
import pandas as pd
import pytest
from kit import small_archive
from scipy import stats

from squbed_utils import cli, open_archive
from squbed_utils.estimators.estimate import estimate
from squbed_utils.files import seed_of
from squbed_utils.statistics import cost as plan
from squbed_utils.statistics.cost import Design, Pilot, power, tasks_for


@pytest.mark.parametrize(("tau", "tasks"), [(0.0, 20), (-0.25, 30), (0.35, 25), (-0.5, 20)])
def test_power_is_how_often_normal_ranks_differ_from_none(tau, tasks):
    rng, r, found = np.random.default_rng(seed_of(tau, tasks)), np.sin(np.pi / 2 * tau), 0
    for _ in range(2000):
        x, noise = rng.normal(size=(2, tasks))
        found += stats.kendalltau(x, r * x + np.sqrt(1 - r**2) * noise).pvalue < 0.05
    assert power(tau, tasks) == pytest.approx(found / 2000, abs=0.03)


def test_the_fewest_tasks_reach_the_power_and_one_less_does_not():
    number = tasks_for(-0.2, 0.9)
    assert power(-0.2, number) >= 0.9 > power(-0.2, number - 1)
    assert tasks_for(0.0, 0.8) is None and tasks_for(-0.99, 0.5) == plan.LEAST_TASKS


def sphere(rng, centre, spread, size):
    """Draw unit vectors around a centre."""
    x = centre + spread * rng.normal(size=(*size, centre.shape[-1]))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def task(rng, n, m):
    """Draw a task: latent prompts around its subject, and videos of each."""
    text = sphere(rng, np.eye(16)[0], 0.2, (n,))
    centres = sphere(rng, np.eye(24)[0], 0.1, (n,))
    spreads = 0.1 * np.exp(0.3 * rng.normal(size=(n, 1)))
    return text, [sphere(rng, c, s, (m,)) for c, s in zip(centres, spreads, strict=True)]


@pytest.mark.parametrize("design", [Design(6, 6, 3), Design(12, 12, 6), Design(10, 10, 12)])
def test_errors_are_those_of_other_samples_of_that_design(tmp_path, design):
    rng = np.random.default_rng(seed_of("plan"))
    known = measured(rng, [task(rng, 8, 6) for _ in range(80)], 8, 6)
    n, _, m = design
    results = [estimate(*task(rng, n, m)) for _ in range(80)]
    found = [np.ptp([getattr(r, f"{t}_interval") for t in plan.TERMS], axis=1) for r in results]
    predicted = plan.widths(known, design).mean()
    assert predicted.to_numpy() == pytest.approx(np.mean(found, axis=0), rel=0.1)


def measured(rng, samples, n, m):
    """Return what `pilot` finds of these samples."""
    table = pd.DataFrame({"task": [f"t{i}" for i in range(len(samples))]})
    table[["aleatoric", "epistemic", "total_error"]] = [plan._errors(pair) for pair in samples]
    fewer, thin = round(2 * n / 3), m // 2
    subsets = np.array(
        [plan._subset(pair, fewer, thin, ("t", i)) for i, pair in enumerate(samples)]
    )
    order, share = plan._growth(table, subsets.T, Design(n, n, m), fewer, thin)
    return Pilot(table, Design(n, n, m), order, share)


def test_a_plan_of_an_archive(tmp_path, capsys):
    prompts = {f"t{i:02}": "a cat" for i in range(16)}
    archive = small_archive.make(tmp_path / "pilot", prompts, n=5, m=4)
    known = plan.pilot(open_archive(archive.folder))
    assert len(known.tasks) >= 10 and 0 <= known.share <= 1 and 0.5 <= known.order <= 1.5
    own = plan.errors(known, known.design)
    for term, column in zip(plan.TERMS, ("aleatoric", "epistemic", "total_error"), strict=True):
        assert own[term].to_numpy() == pytest.approx(known.tasks[column].to_numpy())
    found = plan.plan(known, tasks=300, wanted=0.5, width=1e6)
    assert (found.power >= 0.5).all() and found.videos.is_monotonic_increasing
    assert (found.videos == 300 * found.videos_of * found.m).all()
    line = ["plan", "--pilot", str(archive.folder), "--tasks", "300", "--power", "0.06"]
    assert cli.main([*line, "--profile", "veo-3"]) == 0
    told = capsys.readouterr().out
    assert f"{len(known.tasks)} tasks of 5 latent prompts x 4 videos" in told and "dollars" in told
    for wrong, said in (
        (["--width", "0.001"], "no design reaches that"),
        (["--width", "nan"], "width is nan; expected more than 0 nats"),
        (["--power", "1"], "power is 1.0; expected more than 0 and less than 1"),
        (["--tasks", "1"], "tasks is 1; expected at least 3"),
        (["--accuracy", "beauty"], "unknown accuracy 'beauty'; known: ssim"),
    ):
        assert cli.main([*line, *wrong]) == 2
        assert said in capsys.readouterr().err


def test_a_pilot_too_small_is_refused(tmp_path):
    archive = small_archive.make(tmp_path / "small", {"t0": "a cat"}, n=5, m=4)
    with pytest.raises(ValueError, match="1 tasks of .* a plan needs a pilot of 10"):
        plan.pilot(open_archive(archive.folder))


def test_subsets_without_an_interval_leave_no_gap_in_a_pilot():
    table = pd.DataFrame({"aleatoric": [1.0, 1.0], "epistemic": [2.0, 2.0]})
    errors, design = np.array([[1.2, 1.2], [2.4, np.nan]]), Design(6, 6, 6)
    assert plan._growth(table, errors, design, 4, 3) == plan._growth(
        table, np.array([[1.2, 1.2], [2.4, 2.4]]), design, 4, 3
    )
    with pytest.raises(ValueError, match="no task of the pilot has an interval from 4 of its"):
        plan._growth(table, errors * np.nan, design, 4, 3)


def test_what_no_plan_can_be_made_of_is_refused(tmp_path):
    archive = small_archive.make(tmp_path, {f"t{i:02}": "a cat" for i in range(16)}, n=5, m=4)
    with pytest.raises(ValueError, match="accuracy 'beauty'"):
        plan.pilot(open_archive(archive.folder), accuracy="beauty")
    known = plan.pilot(open_archive(archive.folder))
    for options in ({"tasks": 1}, {"tasks": 0}, {"wanted": 1.5}, {"wanted": 0.0}):
        with pytest.raises(
            ValueError, match=r"(power|tasks) is .*; expected (more than 0 and less|at least 3)"
        ):
            plan.plan(known, **options)
