"""The audit: verdicts on data whose answer is known, and on too little of it."""

import numpy as np
import pandas as pd
import pytest
from kit import small_archive
from scipy.stats import kendalltau

from squbed_utils import figures
from squbed_utils.estimators import vmf
from squbed_utils.statistics import audit, audit_samples, tables
from squbed_utils.statistics.calibration import NOT_SHOWN, REFUTED, SHOWN, tau_difference
from squbed_utils.statistics.summary import reference_similarity


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def make_table(rng, n: int = 60, *, a: float = 1.0, e: float = 1.0, noise: float = 0.5):
    """Tasks whose accuracy falls with both components, a and e times as much."""
    aleatoric, epistemic = rng.normal(size=(2, n)) * [[a], [e]]
    total = aleatoric + epistemic
    table = pd.DataFrame({"aleatoric": aleatoric, "epistemic": epistemic, "total": total})
    table = table.assign(accuracy=-total + noise * rng.normal(size=n), total_per_dof=total / 100)
    prompts = [" ".join(["word"] * k) for k in rng.integers(1, 9, n)]
    table = table.assign(prompt=prompts, category=rng.choice(["x", "y"], n))
    for term in ("aleatoric", "epistemic", "total"):
        table = table.assign(
            **{f"{term}_low": table[term] - 0.1, f"{term}_high": table[term] + 0.1}
        )
    return table


def verdicts(lines: list[dict]) -> list[str]:
    return [line["verdict"] for line in lines]


def test_shares_hold_where_both_carry_and_fail_where_one_does(rng):
    (both,) = audit.shares(make_table(rng, 300), rng)
    assert both["verdict"] == SHOWN and both["low"] <= both["value"] <= both["high"]
    (one,) = audit.shares(make_table(rng, 300, e=0.1), rng)
    assert one["verdict"] == REFUTED and one["value"] < 0.05


def test_shares_add_up_to_one(rng):
    (line,) = audit.shares(make_table(rng, 50, e=2.0), rng)
    parts = [float(word.rstrip(",")) for word in line["detail"].split() if word[0].isdigit()]
    assert sum(parts[:2]) == pytest.approx(1, abs=0.011)


def test_widths_matter_where_the_other_form_orders_otherwise(rng):
    table = make_table(rng, 200)
    (alike,) = audit.widths(table, rng)
    assert alike["verdict"] == NOT_SHOWN and "both encoders have one width" in alike["detail"]
    nearly = table.assign(total_per_dof=table.aleatoric / 127 + table.epistemic / 128)
    assert verdicts(audit.widths(nearly, rng)) == [SHOWN]
    other = table.assign(total_per_dof=-table.total)
    (line,) = audit.widths(other, rng)
    assert line["verdict"] == REFUTED and line["value"] > 1


def test_a_difference_by_widths_is_of_the_same_resamples():
    """As `tau_difference`: no row is drawn in by a factor of its own."""
    generator = np.random.default_rng(0)
    table = make_table(generator, 12)
    table = table.assign(total_per_dof=table.total + generator.normal(size=12))
    (line,) = audit.widths(table, np.random.default_rng(1))
    pair = table.total_per_dof, table.total, table.accuracy
    expected = tau_difference(*pair, rng=np.random.default_rng(1))
    assert (line["value"], line["low"], line["high"]) == expected[:3]


def test_sweep_ends_at_each_component_alone(rng):
    table = make_table(rng)
    sweep = audit.weight_sweep(table, rng)
    for row, term in ((0, "epistemic"), (20, "aleatoric")):
        tau = kendalltau(table[term], table.accuracy).statistic
        assert sweep.tau[row] == pytest.approx(tau)
    assert (sweep.low <= sweep.tau).all() and (sweep.tau <= sweep.high).all()


def test_tasks_needed_as_published_power_tables_have_it():
    for tau, n in ((0.70, 10), (0.50, 17), (0.155, 150)):
        assert audit.tasks_needed(tau) == audit.tasks_needed(-tau)
        assert audit.tasks_needed(tau) == pytest.approx(n, rel=0.06)
    assert audit.tasks_needed(0.0) == np.inf
    assert audit.tasks_needed(1.0) >= 4


def test_tasks_needed_give_the_power_in_simulation(rng):
    tau = 0.4
    n, rho = int(audit.tasks_needed(tau)), np.sin(np.pi * tau / 2)
    pairs = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=(600, n))
    found = np.mean([kendalltau(*pair.T).pvalue < 0.05 for pair in pairs])
    assert 0.72 < found < 0.9


def test_partial_tau_takes_out_a_common_cause(rng):
    cause = rng.normal(size=150)
    x, y = (pd.Series(cause + 0.3 * rng.normal(size=150)) for _ in range(2))
    given = pd.DataFrame({"cause": cause})
    tau, p = audit.partial_tau(x, y, given, rng)
    assert abs(tau) < 0.15 and p > 0.01
    nothing = pd.DataFrame({"other": rng.normal(size=150)})
    tau, p = audit.partial_tau(x, y, nothing, rng)
    assert tau > 0.5 and p < 0.01
    assert audit.partial_tau(x, x, pd.DataFrame({"itself": x}), rng) == (0.0, 1.0)


def test_survivals_say_what_holds_and_what_does_not(rng):
    table = make_table(rng, 120)
    forms = pd.DataFrame({"mean": table.accuracy, "noise": rng.normal(size=120)})
    lines = {line["question"]: line for line in audit.survivals(table, forms, rng)}
    assert lines["tau of total with mean"]["verdict"] == SHOWN
    assert lines["tau of total with noise"]["verdict"] == NOT_SHOWN
    assert lines["tau of total against permuted accuracies"]["pvalue"] < 0.01
    assert lines["tau of epistemic given aleatoric"]["verdict"] == SHOWN


def test_a_useless_score_does_not_hold_once_there_are_tasks(rng):
    table = make_table(rng, 600).assign(accuracy=rng.normal(size=600))
    forms = pd.DataFrame({"mean": table.accuracy, "wrong way": table.total + rng.normal(size=600)})
    similarity = np.add.outer(table.accuracy.to_numpy(), np.zeros(600))
    lines = {
        line["question"]: line["verdict"] for line in audit.survivals(table, forms, rng, similarity)
    }
    assert set(lines.values()) == {REFUTED} and len(lines) == 7
    few = audit.survivals(table[:20], forms[:20], rng, similarity[:20, :20])
    found = {line["question"]: line["verdict"] for line in few}
    assert found["tau of total with mean"] != SHOWN
    assert found["tau of total with wrong way"] == REFUTED


def test_few_tasks_cannot_be_told_and_never_fail(rng):
    table = make_table(rng, 4)
    forms = pd.DataFrame({"mean": table.accuracy})
    lines = audit.shares(table, rng) + audit.widths(table, rng)
    lines += audit.small_samples(table, table.total) + audit.survivals(table, forms, rng)
    lines += audit_samples.how_few(pd.DataFrame(columns=["kind", "size", "term", "tau"]))
    lines += audit_samples.fits(pd.DataFrame(columns=["task", "kind", "pvalue"]))
    assert set(verdicts(lines)) == {NOT_SHOWN}
    page = audit.page(lines)
    assert page.verdict.iloc[-1] == NOT_SHOWN and page.value.isna().all()


def test_without_latent_prompts_only_the_epistemic_term_is_judged(rng):
    table = make_table(rng, 40).assign(aleatoric=np.nan, total=np.nan, total_per_dof=np.nan)
    assert audit.main_term(table) == "epistemic"
    assert verdicts(audit.shares(table, rng) + audit.widths(table, rng)) == [NOT_SHOWN, NOT_SHOWN]
    assert audit.weight_sweep(table, rng).empty
    lines = audit.survivals(table, pd.DataFrame({"mean": table.accuracy}), rng)
    assert all("epistemic" in line["question"] for line in lines)


def test_small_samples_name_a_changed_order_and_wide_intervals(rng):
    table = make_table(rng, 30)
    order, narrow = audit.small_samples(table, table.total - 5)
    assert (order["verdict"], narrow["verdict"]) == (SHOWN, SHOWN)
    assert "-5.0 nats" in order["detail"]
    few = table.assign(total_low=table.total_low.where(table.index < 20))
    assert "20 of 30 tasks have an interval" in audit.small_samples(few, None)[1]["detail"]
    fewer = table.assign(total_low=table.total_low.where(table.index < 14))
    _, untold = audit.small_samples(fewer, None)
    assert untold["verdict"] == NOT_SHOWN and "14 of 30 tasks have an int" in untold["detail"]
    order, _ = audit.small_samples(table, -table.total)
    assert order["verdict"] == REFUTED
    assert "at equal counts" in audit.small_samples(table, None)[0]["detail"]


def test_subset_curves_are_judged_over_all_sizes():
    sizes = {"size": [5, 10, 20, 40], "tau": -0.5, "lo": -0.9}
    holds = pd.DataFrame(sizes | {"panel": "a", "hi": [0.5, -0.1, -0.2, -0.3]})
    never = pd.DataFrame(sizes | {"panel": "b", "hi": 0.1, "lo": [-0.9, -0.3, -0.2, -0.05]})
    some = pd.DataFrame(sizes | {"panel": "c", "hi": [0.5, 0.1, -0.1, -0.1]})
    lines = audit.subsets(pd.concat([holds, never, some]))
    assert verdicts(lines) == [SHOWN, REFUTED, NOT_SHOWN]


def test_page_corrects_over_every_pvalue():
    lines = [{"question": str(p), "pvalue": p, "verdict": SHOWN} for p in (0.04, 0.001)]
    page = audit.page([*lines, {"question": "none", "verdict": SHOWN}])
    assert page.holm[:2].tolist() == [0.04, 0.002] and np.isnan(page.holm[2])
    assert page.verdict.iloc[-1] == SHOWN
    page = audit.page([{"question": "q", "pvalue": 0.03, "verdict": SHOWN}] * 2)
    assert page.verdict.iloc[-1] == REFUTED


def test_published_points_are_audited_as_far_as_they_allow():
    found = audit.published_page().set_index("panel")
    assert len(found) == 10
    assert found.verdict["Panda-70M"] == SHOWN and found.verdict["SSIM"] == REFUTED
    assert (found.holm >= found.pvalue).all()
    many = found[found.n >= 8]
    assert (many.low <= many.tau).all() and (many.tau <= many.high).all()
    assert found[["low", "high"]].notna().all(axis=1).tolist() == (found.n >= 8).tolist()
    assert (found.null_low < 0).all() and (found.null_high > 0).all()
    assert found.tau["Panda-70M"] < found.null_low["Panda-70M"]
    assert (found.loo_low <= found.tau).all() and (found.tau <= found.loo_high).all()


def sphere_tasks(rng, draw, tasks: int = 40, latents: int = 5) -> dict:
    """Tasks of some latent prompts and four videos of each, drawn by `draw(size)`."""
    return {str(i): (draw(latents), [draw(4) for _ in range(latents)]) for i in range(tasks)}


def test_fit_holds_for_the_model_and_fails_on_a_plane(rng):
    good = sphere_tasks(rng, lambda m: vmf.sample(16, 80.0, m, rng))
    lines = audit_samples.fits(audit_samples.goodness_of_fit(good, rng))
    assert verdicts(lines) == [SHOWN, SHOWN]

    def flat(m: int) -> np.ndarray:
        x = np.zeros((m, 16))
        x[:, 0], x[:, 1:3] = 1, 0.2 * rng.normal(size=(m, 2))
        return x

    lines = audit_samples.fits(audit_samples.goodness_of_fit(sphere_tasks(rng, flat), rng))
    assert verdicts(lines) == [REFUTED, REFUTED]


def test_identical_samples_cannot_be_tested(rng):
    same = sphere_tasks(rng, lambda m: np.ones((m, 8)))
    assert audit_samples.goodness_of_fit(same, rng).empty


def test_agreement_of_disjoint_samples_tells_order_from_noise(rng):
    ordered = {
        str(i): (vmf.sample(16, 2.0**i, 6, rng), list(vmf.sample(16, 2.0**i, (6, 5), rng)))
        for i in range(3, 13)
    }
    found = audit_samples.agreement(ordered, rng, estimator="squbed")
    assert list(zip(found.kind, found["size"], found.of, strict=True)) == [
        ("latent prompts", 3, 6),
        ("videos of each", 2, 5),
    ]
    assert found.tau.min() > 0.9 and (found.ceiling >= found.fresh).all()
    assert verdicts(audit_samples.how_few(found)) == [SHOWN, SHOWN]
    alike = sphere_tasks(rng, lambda m: vmf.sample(16, 50.0, m, rng), tasks=40, latents=6)
    found = audit_samples.agreement(alike, rng, estimator="squbed").set_index("kind")
    assert abs(found.tau["latent prompts"]) < 0.25  # part of a whole would agree by far more


def test_halves_step_up_by_spearman_and_brown():
    rows = [("k", 2, 8, "total", [0.2, 0.4]), ("k", 4, 8, "total", [0.5])]
    found = audit_samples.stepped_up(rows)
    r = np.sin(np.pi / 4)
    assert found.ceiling.tolist() == pytest.approx([np.arcsin(2 * r / (1 + r)) * 2 / np.pi] * 2)
    fresh = np.sin(np.pi * 0.15) * np.sqrt(2 / (1 + r)), r * np.sqrt(2 / (1 + r))
    assert found.fresh.tolist() == pytest.approx((np.arcsin(fresh) * 2 / np.pi).tolist())
    assert found[["tau", "low", "high"]].iloc[0].tolist() == pytest.approx([0.3, 0.2, 0.4])


def test_the_ceiling_is_what_two_fresh_archives_agree_by(rng):
    kappas = 64 * np.exp(0.25 * rng.normal(size=120))

    def archive(latents):
        return {
            str(i): (None, [vmf.sample(32, k, 3, rng) for _ in range(latents)])
            for i, k in enumerate(kappas)
        }

    one, other = (archive(4) for _ in range(2))
    values = [
        [np.mean([float(vmf.entropy(32, vmf.fit(x).kappa)) for x in videos]) for _, videos in a]
        for a in (one.values(), other.values())
    ]
    found = audit_samples.agreement(one, rng, estimator="squbed", repeats=3)
    ceiling = found.ceiling[found.kind == "latent prompts"].iloc[-1]
    assert ceiling == pytest.approx(kendalltau(*values).statistic, abs=0.08)


def test_fewer_samples_are_refuted_where_they_lose_much():
    row = {"kind": "latent prompts", "size": 3, "of": 6, "tau": 0.4, "fresh": 0.45}
    few, untold = audit_samples.how_few(pd.DataFrame([row | {"ceiling": 0.6}]))
    assert few["verdict"] == REFUTED and few["value"] == pytest.approx(0.15)
    assert "too few samples or tasks to split in halves" in untold["detail"]


def test_agreement_of_too_few_tasks_is_empty(rng):
    few = sphere_tasks(rng, lambda m: vmf.sample(8, 9.0, m, rng), tasks=3)
    assert audit_samples.agreement(few, rng, estimator="squbed").empty


def test_accuracy_forms_by_hand(tmp_path):
    archive = small_archive.make(tmp_path / "a", {"t": "one", "u": "two"}, n=3, m=2)
    videos = archive.videos()
    forms = audit_samples.accuracy_forms(archive, "clip_prompt", pd.Series(["u", "t"]))
    own = videos.clip_prompt[videos.task == "u"]
    assert forms.iloc[0].to_dict() == pytest.approx(
        {"mean": own.mean(), "best": own.max(), "median": own.median()}
    )
    lpips = audit_samples.accuracy_forms(archive, "lpips", pd.Series(["t"]))
    assert list(lpips) == ["mean", "best", "median"]
    assert lpips.best[0] == pytest.approx(-videos.lpips[videos.task == "t"].min())


def test_the_centroid_is_that_of_all_frames(tmp_path, rng):
    embeddings = rng.normal(size=(2, 3, 2, 2, 8))
    places = [(task, i, j) for task in "tu" for i in range(3) for j in range(2)]
    clip = dict(zip(places, embeddings.reshape(-1, 2, 8), strict=True))
    archive = small_archive.make(tmp_path / "a", {"t": "one", "u": "two"}, n=3, m=2, embedded=clip)
    videos, references = embeddings[..., 0, :].mean((1, 2)), embeddings[..., 1, :].mean((1, 2))
    similarity = reference_similarity(archive, ["u", "t"])
    np.testing.assert_allclose(similarity, videos[::-1] @ references[::-1].T, rtol=1e-6)
    lengths = np.linalg.norm(videos, axis=-1), np.linalg.norm(references, axis=-1)
    cosines = (videos * references).sum(-1) / lengths[0] / lengths[1]
    forms = audit_samples.accuracy_forms(archive, "clip_reference", pd.Series(["t", "u"]))
    np.testing.assert_allclose(forms["centroid"], cosines, rtol=1e-6)
    forms = audit_samples.accuracy_forms(archive, "clip_prompt", pd.Series(["t", "u"]))
    np.testing.assert_allclose(forms["centroid"], forms["mean"] / lengths[0], rtol=1e-6)


def test_tau_against_permuted_references(rng):
    table = make_table(rng, 60)
    lost = -table.total.rank().to_numpy()
    with_any = np.outer(lost, np.ones(60)) + rng.normal(size=(60, 60))
    with_their_own = np.diag(lost) - 30
    for similarity, verdict in ((with_any, REFUTED), (with_their_own, SHOWN)):
        forms = pd.DataFrame({"mean": table.accuracy})
        lines = audit.survivals(table, forms, rng, similarity)
        found = {line["question"]: line for line in lines}
        line = found["tau of total against permuted references"]
        assert line["verdict"] == verdict and line["value"] < -0.9


def test_audited_keeps_tasks_with_the_accuracy():
    summary = pd.DataFrame({"task": ["a", "b"], "ssim": [0.5, np.nan], "identical": ""})
    assert audit.audited(summary, "ssim").task.tolist() == ["a"]
    other = summary.iloc[1:].assign(clip_prompt=0.3)
    with pytest.raises(ValueError, match="no task has the accuracy 'ssim'; there is: clip_prompt"):
        audit.audited(other, "ssim")


def test_without_references_the_accuracy_is_clip_to_the_prompt():
    summary = pd.DataFrame({"clip_reference": [np.nan], "clip_prompt": [0.2]})
    assert tables.default_accuracy(summary) == "clip_prompt"
    assert tables.default_accuracy(summary.assign(clip_reference=0.5)) == "clip_reference"


@pytest.mark.parametrize("constant", [["accuracy"], ["aleatoric", "epistemic", "total"]])
def test_what_is_the_same_for_every_task_cannot_be_told(rng, constant):
    table = make_table(rng, 20).assign(**dict.fromkeys(constant, 0.5))
    lines = audit.widths(table, rng)
    lines += audit.survivals(table, pd.DataFrame({"mean": table.accuracy}), rng)
    assert set(verdicts(lines)) == {NOT_SHOWN}
    assert "is the same for every task" in lines[-1]["detail"]
    assert audit.weight_sweep(table, rng).empty
    drawn = audit_samples.panel_statistics(table, accuracy="ssim", fraction=0.5)
    assert all(part.empty for part in drawn)


def test_a_component_that_is_constant_carries_nothing(rng):
    table = make_table(rng, 40).assign(aleatoric=-1.0)
    table = table.assign(total=table.aleatoric + table.epistemic)
    (line,) = audit.shares(table, rng)
    assert (line["verdict"], line["value"]) == (REFUTED, 0)
    assert audit.weight_sweep(table, rng).empty


def test_components_that_do_not_add_up_have_no_shares(rng):
    table = make_table(rng, 40).assign(total=1.0 * np.arange(40))
    (line,) = audit.shares(table, rng)
    assert line["verdict"] == NOT_SHOWN and "do not add up" in line["detail"]


def test_a_category_for_each_task_leaves_nothing_to_judge(rng):
    table = make_table(rng, 20).assign(category=[str(i) for i in range(20)])
    lines = audit.survivals(table, pd.DataFrame({"mean": table.accuracy}), rng)
    line = next(x for x in lines if "prompt length" in x["question"])
    assert line["verdict"] == NOT_SHOWN and "0 degrees of freedom are left" in line["detail"]


def test_partial_tau_rejects_as_often_as_its_level_allows(rng, monkeypatch):
    monkeypatch.setattr(audit, "N_PERMUTATIONS", 99)
    found = []
    for _ in range(300):
        groups = pd.get_dummies(rng.integers(0, 5, 20)).astype(float)
        x, y = (pd.Series(rng.normal(size=20)) for _ in range(2))
        found.append(audit.partial_tau(x, y, groups, rng)[1] <= 0.05)
    assert 0.02 < np.mean(found) < 0.09


def test_missing_panels_and_curves_cannot_be_told():
    lines = audit.powers(pd.DataFrame(columns=["panel", "tau", "pvalue", "n"]))
    lines += audit.subsets(pd.DataFrame(columns=["panel", "size", "tau", "lo", "hi"]))
    assert verdicts(lines) == [NOT_SHOWN, NOT_SHOWN] and all(line["detail"] for line in lines)


def test_holm_has_nothing_to_say_where_nothing_is_significant():
    page = audit.page([{"question": "q", "pvalue": 0.3, "verdict": SHOWN}])
    assert page.verdict.iloc[-1] == NOT_SHOWN


def test_few_tasks_do_not_show_that_the_model_fits():
    few = pd.DataFrame({"task": range(8), "kind": "videos", "pvalue": 0.5})
    assert audit_samples.fits(few)[1]["verdict"] == NOT_SHOWN
    many = pd.DataFrame({"task": range(40), "kind": "videos", "pvalue": 0.5})
    assert audit_samples.fits(many)[1]["verdict"] == SHOWN


def test_latent_prompts_known_of_some_tasks_only(rng):
    tasks = sphere_tasks(rng, lambda m: vmf.sample(8, 9.0, m, rng), tasks=8)
    tasks["0"] = (None, tasks["0"][1])
    found = audit_samples.agreement(tasks, rng, estimator="squbed", repeats=1)
    assert set(found.term) == {"epistemic"} and found.notna().all(axis=None)


def test_identical_samples_have_no_order_to_agree_with(rng):
    same = {str(i): (np.ones((4, 8)), [np.ones((3, 8))] * 4) for i in range(9)}
    assert audit_samples.agreement(same, rng, estimator="squbed").empty


def test_another_estimator_has_no_plug_in_form(tmp_path):
    archive = small_archive.make(tmp_path / "a", {"t": "one"}, n=3, m=2)
    table = pd.DataFrame({"task": ["t"], "n": 3, "m": 2, "total": 1.0})
    assert audit_samples.plug_in(archive, table, estimator="energy_split") is None
    assert audit_samples.plug_in(archive, table, estimator="squbed").size == 1


def test_figure_draws_a_whole_and_an_empty_audit(rng):
    table = make_table(rng, 30)
    page = audit.page(audit.survivals(table, pd.DataFrame({"mean": table.accuracy}), rng))
    sweep = audit.weight_sweep(table, rng)
    few = pd.DataFrame(columns=audit_samples.AGREEMENT_COLUMNS)
    fit = pd.DataFrame(columns=["task", "kind", "pvalue"])
    fig = figures.figure_audit(page, sweep, few, fit)
    survival, weights, agreement, model = fig.axes
    taus = page.value[page.theme == "survival"].dropna()
    assert [x for line in survival.lines for x in line.get_xdata() if line.get_marker() == "o"] == (
        taus.tolist()
    )
    assert weights.lines[0].get_ydata().tolist() == sweep.tau.tolist()
    assert [ax.texts[0].get_text() for ax in (agreement, model)] == [
        "tasks or samples are few, or all the same",
        "no task can be tested",
    ]
    row = {"kind": "videos of each", "size": 2, "of": 6, "tau": 0.7, "low": 0.6, "high": 0.8}
    few = pd.DataFrame([row | {"fresh": 0.75, "ceiling": 0.9}])
    fit = pd.DataFrame({"task": ["a", "b"], "kind": "videos", "pvalue": [0.01, 0.55]})
    agreement, model = figures.figure_audit(page, sweep, few, fit).axes[-2:]
    halves, line = (line.get_xydata().tolist() for line in agreement.lines)
    assert (halves, line) == ([[2, 0.7]], [[2, 0.75], [6, 0.9]])
    _, shares = model.lines
    assert shares.get_xydata()[1:].tolist() == [[0.01, 0.5], [0.55, 1]]
    assert f"Of the {len(page)} lines of the audit: " in fig.get_label()


def test_power_lines_say_what_is_needed():
    row = {"panel": "p", "tau": -0.1, "pvalue": 0.5, "n": 25, "low": -0.4, "high": 0.2}
    (line,) = audit.powers(pd.DataFrame([row]))
    assert line["verdict"] == REFUTED and "there are 25" in line["detail"]


def test_a_sum_is_told_from_its_aleatoric_term(rng):
    (helps,) = audit.sum_helps(make_table(rng, 200), rng)
    assert helps["verdict"] == SHOWN and helps["value"] <= helps["high"] < 0
    blurred = make_table(rng, 200, e=0.0)
    blurred = blurred.assign(total=blurred.aleatoric + rng.normal(size=200))
    (hurts,) = audit.sum_helps(blurred, rng)
    assert hurts["verdict"] == REFUTED and 0 < hurts["low"] <= hurts["value"]
    taus = [kendalltau(blurred[t], blurred.accuracy)[0] for t in ("total", "aleatoric")]
    assert hurts["value"] == pytest.approx(taus[0] - taus[1])
    assert verdicts(audit.sum_helps(make_table(rng, 4), rng)) == [NOT_SHOWN]
