"""The tables behind the figures: which tasks, which points, what holds."""

import numpy as np
import pandas as pd
import pytest

from squbed_utils.files import seed_of
from squbed_utils.statistics import examples, tables
from squbed_utils.statistics import truth as findings
from squbed_utils.statistics.calibration import kendall


def summary(n=8):
    """Return tasks whose uncertainty rises and whose accuracy falls, with known truth."""
    rank = np.arange(n, dtype=float)
    table = pd.DataFrame({"task": [f"t{i}" for i in range(n)], "aleatoric": rank})
    table = table.assign(epistemic=rank[::-1] / 2, total=rank + rank[::-1] / 2)
    for accuracy in tables.METRICS:
        table[accuracy] = rank / n if accuracy == "lpips" else 1 - rank / n
    coverage = (["common"] * 3 + ["rare"] + ["never"] * n)[:n]
    table = table.assign(coverage=coverage, left_out=np.arange(n) // 2, true_entropy=rank)
    table = table.assign(category=(["round", "sign"] * n)[:n], dataset="shapes-world")
    table = table.astype({"left_out": "Int64"})
    table = table.assign(prompt="a circle", row="this run", unit="nats", lpips_form="unlearned")
    table = table.assign(clip_form="open_clip")
    return table.assign(identical="")


def without_truth():
    return summary().drop(columns="true_entropy").assign(coverage="", left_out=pd.NA)


@pytest.mark.parametrize(("figure", "counts"), [(3, [10] * 4), (4, [155, 188]), (5, [6, 6, 17, 4])])
def test_published_points_come_panel_by_panel(figure, counts):
    table = tables.published(figure)
    assert table.groupby("panel", sort=False).size().tolist() == counts
    assert set(table.coverage) == {""} and table.left_out.isna().all()


def test_published_statistics_are_the_printed_ones():
    found = tables.statistics_of(tables.published(3)).set_index("panel")
    assert [f"{p:.3f}" for p in found.pvalue] == ["0.381", "1.000", "0.601", "0.009"]
    assert (found.low <= found.tau).all() and (found.tau <= found.high).all()


def test_there_are_no_published_points_of_figure_1():
    with pytest.raises(ValueError, match="no published points of Figure 1; there are: Fig3"):
        tables.published(1)


def test_a_distance_is_negated_and_says_so():
    points = tables.points_of(summary(), "total", "lpips", panel="p", x_label="x")
    assert points.y.tolist() == (-summary().lpips).tolist()
    assert set(points.y_label) == {"negative LPIPS"}
    assert tables.better_is_higher(summary(), "ssim").tolist() == summary().ssim.tolist()
    with pytest.raises(ValueError, match="unknown accuracy 'fvd'; known: ssim"):
        tables.better_is_higher(summary(), "fvd")


def test_lpips_is_named_in_the_form_it_was_computed():
    names = set(tables.metric_points(summary().assign(rank=range(8))).panel)
    assert names == {"SSIM", "PSNR (dB)", "LPIPS (unlearned)", "CLIP to reference"}
    learned = tables.total_points(summary().assign(lpips_form="alex"), accuracies=["lpips"])
    assert set(learned.panel) == {"LPIPS (learned, AlexNet)"}


REFERENCED = ["ssim", "psnr", "lpips", "clip_reference"]


def test_figures_take_the_accuracies_that_exist():
    whole = summary()
    assert tables.accuracies_of_figure(whole, 3) == REFERENCED
    assert tables.accuracies_of_figure(whole, 4) == ["clip_reference", "clip_prompt"]
    bare = whole.assign(**dict.fromkeys(REFERENCED))
    assert tables.accuracies_of_figure(bare, 3) == tables.accuracies_of_figure(bare, 4)
    assert tables.accuracies_of_figure(bare, 4) == ["clip_prompt"]
    assert set(tables.total_points(bare).panel) == {"CLIP, video to prompt"}
    rated = bare.assign(rating=range(8), rating_motion=1.0)  # of one value, which ranks nothing
    assert tables.accuracies_of_figure(rated, 3) == ["clip_prompt", "rating"]
    assert tables.accuracies_there(rated) == ["clip_prompt", "rating", "rating_motion"]
    both = whole.assign(rating=range(8))  # a rating goes before others, four at most
    assert tables.accuracies_of_figure(both, 3) == ["ssim", "psnr", "clip_reference", "rating"]
    with pytest.raises(tables.NotShown, match="2 tasks have no accuracy that ranks them, which t"):
        tables.accuracies_of_figure(summary(2), 4)


def test_the_default_accuracy_is_the_one_that_most_tasks_have():
    some = summary().assign(clip_reference=[0.5] * 3 + [None] * 5)
    assert tables.default_accuracy(summary()) == "clip_reference"
    assert tables.default_accuracy(some) == "clip_prompt"


def test_a_rating_is_an_accuracy_by_its_own_name():
    rated = summary().assign(rating_visual_quality=range(8))
    points = tables.points_of(rated, "total", "rating_visual_quality", panel="p", x_label="x")
    assert points.y.tolist() == list(range(8))
    assert set(points.y_label) == {"people: visual quality"}
    assert tables.y_label("rating", {"clip_form": "open_clip"}) == "people: rating"
    with pytest.raises(ValueError, match="unknown accuracy 'rating'; known: .*rating_visual_qual"):
        tables.better_is_higher(rated, "rating")


def test_tasks_without_an_accuracy_are_no_points():
    some = summary().assign(ssim=[None, *range(7)])
    points = tables.points_of(some, "total", "ssim", panel="p", x_label="x")
    assert len(points) == 7 and tables.statistics_of(points).n.tolist() == [7]


def test_without_latent_prompts_epistemic_takes_the_place_of_the_total():
    tasks, term = tables.with_main_term(summary())
    assert (len(tasks), term) == (8, "total")
    some = summary().assign(total=[None] * 5 + [1.0, 2.0, 3.0])
    tasks, term = tables.with_main_term(some)
    assert (len(tasks), term) == (3, "total")
    none = summary().assign(total=None, aleatoric=None)
    assert tables.with_main_term(none)[1] == "epistemic"
    with pytest.raises(tables.NotShown, match="latent prompts of all 8 tasks are unknown"):
        tables.with_parts(none)
    assert set(tables.total_points(none, term="epistemic").x_label) == {
        "epistemic uncertainty (nats)"
    }


def test_each_part_is_shown_where_the_other_is_least():
    points = tables.part_points(summary(), accuracy="ssim", fraction=0.5)
    first, second = (t for _, t in points.groupby("panel", sort=False))
    assert first.task.tolist() == ["t4", "t5", "t6", "t7"]
    assert second.task.tolist() == ["t0", "t1", "t2", "t3"]
    assert first.panel.iloc[0] == "aleatoric, on the 4 of 8 tasks with least epistemic"
    assert first.x.tolist() == [4, 5, 6, 7] and second.x.tolist() == [3.5, 3, 2.5, 2]


def test_figure_5_needs_an_aleatoric_component():
    table = summary().assign(aleatoric=np.nan)
    with pytest.raises(ValueError, match="this run: this estimator has no aleatoric component, wh"):
        tables.part_points(table, accuracy="ssim", fraction=0.5)


@pytest.mark.parametrize(("fraction", "kept"), [(0.01, 3), (0.5, 4), (1, 8)])
def test_a_fraction_keeps_at_least_three(fraction, kept):
    assert tables.kept_of(summary(), fraction) == kept


@pytest.mark.parametrize("fraction", [0, -1, 1.1])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match=f"fraction is {fraction}; expected above 0, to 1"):
        tables.kept_of(summary(), fraction)


def test_identical_samples_are_in_no_ranking_and_the_row_says_how_many():
    table = summary().assign(identical=["videos", *[""] * 7])
    with pytest.warns(UserWarning, match="1 of 8 tasks are in no ranking, as identical .*: t0$"):
        kept = tables.with_parts(table)
    assert list(kept.task) == [f"t{i}" for i in range(1, 8)]
    assert set(kept.row) == {"this run; 1 of 8 tasks left out: identical samples"}
    pd.testing.assert_frame_equal(tables.measured(kept), kept.assign(identical=""))
    assert list(tables.with_parts(summary()).row) == ["this run"] * 8


def test_nothing_but_identical_samples_is_refused():
    with pytest.raises(ValueError, match="samples of all 8 tasks are identical .*whether seeds d"):
        tables.measured(summary().assign(identical="latent prompts"))


def test_statistics_by_hand():
    points = tables.total_points(summary(4), accuracies=["ssim"])
    found = tables.statistics_of(points).iloc[0]
    assert (found.tau, found.n, found.ties) == (-1.0, 4, 0)
    assert found.pvalue == pytest.approx(2 / 24)


def test_what_to_quote_has_no_interval_below_eight_tasks():
    both = [
        tables.total_points(summary(n), accuracies=["ssim"]).assign(row=f"{n} (x)") for n in (7, 8)
    ]
    few, enough = tables.quoted(tables.statistics_of(pd.concat(both))).splitlines()
    assert few == "tau -1.00, p = 0.0004, n = 7: SSIM, 7"
    assert enough == "tau -1.00 [-1.00, -1.00], p = 5e-05, n = 8: SSIM, 8"


def test_a_panel_without_tau_is_named():
    points = tables.total_points(summary().assign(ssim=1.0), accuracies=["ssim"])
    with pytest.raises(ValueError, match="panel 'SSIM' has no tau: accuracy is 1.0 for all 8"):
        tables.statistics_of(points)


def test_ranked_tasks_are_common_and_spread_over_categories():
    table = pd.concat([summary(10)] * 2).reset_index(drop=True)
    table = table.assign(coverage="common", left_out=np.repeat(range(5), 4))
    table["category"] = list("abcd") * 5
    table["true_entropy"] = table.left_out.astype(float)
    table["task"] = [f"t{i}" for i in range(20)]
    ranked = tables.ranked_tasks(table)
    assert ranked.category.tolist() == list("abcdabcdab")
    assert ranked["rank"].tolist() == [1.5, 1.5, 3.5, 3.5, 5.5, 5.5, 7.5, 7.5, 9.5, 9.5]
    assert len(tables.ranked_tasks(table, per_level=99)) == 20


def test_raters_answers_are_a_ranking(tmp_path):
    path, header = tmp_path / "ratings.csv", "question;rater;task;value"
    one, two = ([f"vagueness;{r};t{k};{v}" for k, v in enumerate(of)] for r, of in
                (("a", (1, 2, 3)), ("b", (1, 3, 2))))  # fmt: skip
    path.write_text("\n".join([header, *one]))
    ranked = tables.ranked_tasks(without_truth(), ranking=path)
    assert list(ranked["rank"]) == [1, 2, 3] and "raters" not in ranked
    assert set(tables.metric_points(ranked, metrics=["ssim"]).x_label) == {"rank by vagueness"}
    path.write_text("\n".join([header, *one, *two, "vagueness;b;t4;4"]))
    ranked = tables.ranked_tasks(without_truth(), ranking=path)
    assert list(ranked.task) == ["t0", "t1", "t2"] and list(ranked["rank"]) == [1, 2.5, 2.5]
    assert ranked.rank_spread.tolist() == pytest.approx([0, 0.5**0.5, 0.5**0.5])
    points = tables.metric_points(ranked, metrics=["ssim"])
    assert set(points.x_label) == {"mean rank of 2 raters ± sd"}
    assert list(points.x_spread) == list(ranked.rank_spread)
    path.write_text("\n".join([header, *one]).replace("t2", "elsewhere"))
    with pytest.raises(ValueError, match="rank the task 'elsewhere', which is not shown here"):
        tables.ranked_tasks(without_truth(), ranking=path)


def test_a_ranking_can_be_given(tmp_path):
    path = tmp_path / "ranking.csv"
    path.write_text("task,rank\nt3,1\nt0,2\n")
    ranked = tables.ranked_tasks(without_truth(), ranking=path)
    assert dict(zip(ranked.task, ranked["rank"], strict=True)) == {"t0": 2, "t3": 1}
    path.write_text("task,rank\nt99,1\n")
    with pytest.raises(ValueError, match=r"line 2: unknown task 't99'.*; the archive has t0, t1"):
        tables.ranked_tasks(without_truth(), ranking=path)
    with pytest.raises(ValueError, match="on a common subject, .*; give `ranking`"):
        tables.ranked_tasks(without_truth())


def test_curves_end_with_all_tasks_and_hold_the_one_shown():
    curves = tables.subset_curves(summary(), accuracy="ssim", fraction=0.5)
    for _, curve in curves.groupby("panel"):
        assert curve["size"].iloc[-1] == 8 and 4 in set(curve["size"])
        assert set(curve.shown) == {4}
    assert curves.tau[curves.panel.str.startswith("aleatoric")].to_numpy() == pytest.approx(-1.0)


def test_a_curve_is_kendall_on_each_subset_of_least_of_the_other_part():
    table = summary(12).assign(epistemic=np.random.default_rng(0).permutation(12) + 0.0)
    curves = tables.subset_curves(table, accuracy="ssim", fraction=0.5)
    rng = np.random.default_rng(seed_of("subsets", "aleatoric"))
    for row in curves[curves.panel.str.startswith("aleatoric")].itertuples():
        kept = table.iloc[np.argsort(table.epistemic)[: row.size]]
        one = kendall(kept.aleatoric, kept.ssim, rng=rng)
        assert (row.tau, row.pvalue) == (one.tau, one.pvalue)
        assert np.array_equal((row.lo, row.hi), one.interval, equal_nan=True)


def test_a_subset_without_a_tau_names_its_size():
    table = summary().assign(aleatoric=[2.0] + [1.0] * 7)
    with pytest.raises(ValueError, match="size 3 has no tau: uncertainty is 1.0 for all 3"):
        tables.subset_curves(table, accuracy="ssim", fraction=0.5)


def test_tables_are_written_the_same_every_time(tmp_path):
    table = pd.DataFrame({"a": [1 / 3, 2.0], "b": ["x", "é"]})
    for folder in ("one", "two"):
        tables.save_tables(tmp_path / folder, "figure_9", points=table, terms=table)
    files = sorted(p.name for p in (tmp_path / "one" / "data").iterdir())
    assert files == ["figure_9.csv", "figure_9_terms.csv"]
    text = (tmp_path / "one" / "data" / "figure_9.csv").read_bytes()
    assert text == (tmp_path / "two" / "data" / "figure_9.csv").read_bytes()
    assert text.decode() == "a,b\n0.33333,x\n2,é\n"


def test_low_middle_high_lie_a_tenth_from_the_ends():
    found = examples.low_middle_high(summary(11), "aleatoric")
    assert {k: v.task for k, v in found.items()} == {"low": "t1", "middle": "t5", "high": "t9"}


def test_an_example_may_be_typical_of_the_tasks_around_it():
    table = summary(41).assign(ssim=1.0)
    table.loc[[3, 4, 36], "ssim"] = [0.5, 0.0, 0.0]  # outliers; the places are 4, 20 and 36
    found = examples.low_middle_high(table, "aleatoric", typical="ssim")
    assert {k: v.task for k, v in found.items()} == {"low": "t2", "middle": "t18", "high": "t34"}
    few = examples.low_middle_high(summary(11), "aleatoric", typical="ssim")
    assert [row.task for row in few.values()] == ["t1", "t5", "t9"]


def test_the_hallucination_is_the_most_certain_of_the_never_seen():
    table = summary().assign(left_out=0, epistemic=[1.0, 2, 3, 4, 9, 5, 6, 7])
    cases = examples.hallucination(table)
    assert [c.task for c in cases.values()] == ["t5", "t1"]
    assert list(cases) == ["never seen in training", "common in training"]


def test_without_truth_the_hallucination_is_the_most_certain_of_the_worst():
    cases = examples.hallucination(without_truth())
    assert [c.task for c in cases.values()] == ["t7", "t1"]


def test_a_task_without_an_accuracy_is_no_match():
    table = without_truth()
    table.loc[table.task == "t1", ["clip_reference", "clip_prompt"]] = np.nan
    assert "t1" not in [c.task for c in examples.hallucination(table).values()]
    bare = table.assign(clip_reference=np.nan, clip_prompt=np.nan)
    with pytest.raises(tables.NotShown, match="no task has an accuracy by which a video could"):
        examples.hallucination(bare)


def test_tasks_apart_are_high_in_one_part_only():
    found = examples.apart(summary(), fraction=0.5)
    assert found["aleatoric only"].task == "t7" and found["epistemic only"].task == "t0"
    assert found["low in both"].task in ("t3", "t4")


def test_positions_say_how_many_are_less_certain():
    table = summary()
    found = examples.positions(table, "epistemic", {"never seen": table.iloc[7]})
    assert found.label.iloc[7] == "never seen: more certain than 88% of 8 tasks"
    assert (found.label != "").sum() == 1 and found.group.tolist() == table.coverage.tolist()
    assert set(examples.positions(without_truth(), "total", {}).group) == {"round", "sign"}


def test_a_task_is_found_by_name():
    assert examples.find(summary(), "t2").task == "t2"
    with pytest.raises(ValueError, match="no task 't99' in the archive; there are: t0, t1"):
        examples.find(summary(), "t99")


@pytest.mark.parametrize(
    ("tau", "p", "verdict"),
    [(-0.36, 9e-5, "holds"), (-0.36, 2e-4, "does not hold"), (-0.34, 1e-9, "does not hold")],
)
def test_the_bar_of_total_uncertainty(tau, p, verdict):
    found = findings.calibration_findings(
        pd.DataFrame([{"panel": "CLIP", "tau": tau, "pvalue": p}])
    )
    assert found.verdict.tolist() == [verdict]
    assert found.bar.tolist() == ["tau at most -0.35, p below 0.0001"]


@pytest.mark.parametrize(
    ("tau", "p", "verdict"),
    [(-0.1, 0.04, "holds"), (0.1, 0.04, "does not hold"), (-0.5, 0.06, "does not hold")],
)
def test_the_bar_of_each_part(tau, p, verdict):
    found = findings.part_findings(pd.DataFrame([{"panel": "CLIP", "tau": tau, "pvalue": p}]))
    assert found.verdict.tolist() == [verdict]


def test_estimates_are_held_against_both_truths():
    taus = findings.truth_taus(summary()).set_index("label")
    assert taus.tau["aleatoric and true entropy"] == pytest.approx(1)
    assert taus.tau["epistemic and true entropy"] == pytest.approx(-1)
    assert taus.tau["aleatoric and coverage"] > 0 > taus.tau["epistemic and coverage"]
    verdicts = findings.truth_findings(summary(), taus.reset_index()).verdict.tolist()
    assert verdicts == ["holds", "refuted", "refuted", "does not hold"]
    with pytest.raises(ValueError, match="the summary has no true_entropy"):
        findings.truth_taus(without_truth())


def test_separation_of_the_never_seen():
    table = summary().assign(epistemic=summary().aleatoric)
    found = findings.truth_findings(table, findings.truth_taus(table)).iloc[-1]
    assert (found.value, found.verdict) == (1.0, "holds")


@pytest.mark.parametrize(
    ("accuracy", "form", "expected"),
    [
        ("clip_reference", "open_clip", "CLIP"),
        ("clip_prompt", "imagenet", "ImageNet labels"),
        ("rating_motion", "imagenet", "people: motion"),
        ("lpips", "", "negative LPIPS"),
    ],
)
def test_an_accuracy_is_called_what_it_is(accuracy, form, expected):
    assert tables.short_label(accuracy, pd.DataFrame({"clip_form": [form]})) == expected
