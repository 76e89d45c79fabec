"""Thresholds with a promise, expected accuracy, actions and their figures."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kit.synthetic import make_archive

from squbed_utils.archive.archive import open_archive
from squbed_utils.figures.decision import figure_decision, plot_actions, plot_reliability, plot_risk
from squbed_utils.figures.style import BLACK
from squbed_utils.statistics.decision import (
    ACCEPT,
    ACTIONS,
    ASK,
    DISTRUST,
    Threshold,
    by_action,
    control_risk,
    held_out,
    in_doubt,
    merged_ranks,
    risk_curve,
    splitting_words,
    suggest,
)
from squbed_utils.statistics.reliability import (
    calibration_errors,
    cross_validated,
    expected_accuracy,
    reliability,
    trends,
)
from squbed_utils.statistics.tables import NotShown, summarize_run

TASKS = st.lists(
    st.tuples(st.integers(0, 9), st.floats(0, 1, allow_subnormal=False)), min_size=1, max_size=40
)


def rng(seed=0):
    return np.random.default_rng(seed)


def threshold(value):
    return Threshold(value, 0.1, 10, 5, 0.05, "")


class TestRiskCurve:
    def test_by_hand_with_a_tie(self):
        curve = risk_curve([3, 1, 2, 2], [1.0, 0.0, 0.2, 0.4], bound=1.0)
        assert curve.threshold.tolist() == [1, 2, 3]
        assert curve.accepted.tolist() == [1, 3, 4]
        assert curve.marginal.tolist() == pytest.approx([0, 0.15, 0.4])
        assert curve.marginal_bound.tolist() == pytest.approx([0.2, 1.6 / 5, 2.6 / 5])
        assert curve.conditional.tolist() == pytest.approx([0, 0.2, 0.4])

    @given(TASKS)
    def test_marginal_risk_never_falls(self, tasks):
        curve = risk_curve(*zip(*tasks, strict=True), bound=1.0)
        assert curve.marginal.is_monotonic_increasing
        assert (curve.marginal_bound > curve.marginal - 1e-12).all()

    @pytest.mark.parametrize(
        ("u", "losses", "message"),
        [
            ([1, 2], [0.1], "uncertainty has 2 values and losses 1; expected one of"),
            ([1, 2], [0.1, 1.5], r"loss at index \(1,\) is 1.5; expected 0 to the bound 1.0"),
            ([1, 2], [0.1, -0.5], r"loss at index \(1,\) is -0.5"),
            ([1, np.inf], [0.1, 0.5], r"uncertainty\[1\] is inf"),
            ([], [], r"uncertainty has shape \(0,\); expected \(n,\), not empty"),
        ],
    )
    def test_refusals(self, u, losses, message):
        with pytest.raises(ValueError, match=message):
            risk_curve(u, losses, bound=1.0)


class TestControlRisk:
    @settings(max_examples=50)
    @given(TASKS, st.floats(0.05, 0.9))
    def test_is_the_greatest_threshold_that_the_definition_allows(self, tasks, level):
        u, losses = map(np.array, zip(*tasks, strict=True))
        n = u.size
        bounds = np.array([(np.sum((u <= t) * losses) + 1) / (n + 1) for t in u])
        assume(np.abs(bounds - level).min() > 1e-9)  # two ways to round may part at the level
        allowed = u[bounds <= level]
        found = control_risk(u, losses, level=level, bound=1.0)
        assert (found.value is None) == (allowed.size == 0)
        if allowed.size:
            assert found.value == allowed.max()
            assert found.accepted == (u <= found.value).sum()
            assert found.risk == pytest.approx(np.mean((u <= found.value) * losses))
            assert found.reason == ""

    def test_too_few_tasks_accept_none_and_say_so(self):
        found = control_risk([1, 2, 3], [0, 0, 0], level=0.1, bound=1.0)
        assert (found.value, found.accepted, found.risk) == (None, 0, 0.0)
        assert found.reason == (
            "3 calibration tasks are too few for level 0.1: at least 9 are needed"
        )
        assert not found.accepts([-1e9, 0, 1e9]).any()

    def test_enough_tasks_by_a_hair(self):
        assert control_risk(np.arange(9), np.zeros(9), level=0.1, bound=1.0).accepted == 9
        assert control_risk(np.arange(8), np.zeros(8), level=0.1, bound=1.0).value is None

    def test_bad_answers_among_the_most_certain_are_the_reason(self):
        found = control_risk(np.zeros(40), np.ones(40), level=0.1, bound=1.0)
        assert found.reason == (
            "already the most certain of 40 tasks fall short too far for level 0.1"
        )

    def test_accepts_up_to_the_threshold(self):
        assert threshold(2.0).accepts([1.9, 2.0, 2.1]).tolist() == [True, True, False]

    def test_order_of_tasks_does_not_matter(self):
        u, losses = rng().normal(size=50), rng(1).uniform(0, 0.3, 50)
        order = rng(2).permutation(50)
        first, second = (
            control_risk(u[i], losses[i], level=0.2, bound=1.0) for i in (slice(None), order)
        )
        assert first.value == second.value

    @pytest.mark.parametrize("level", [0, 1.0])
    def test_refuses_a_level_out_of_range(self, level):
        with pytest.raises(ValueError, match=r"expected between 0 and the bound \(1.0\)"):
            control_risk([1, 2], [0, 0], level=level, bound=1.0)


class TestHeldOut:
    def test_holds_the_level_and_equal_seeds_agree(self):
        u = rng().normal(size=80)
        losses = np.clip(0.5 - (0.6 - 0.3 * u), 0, 1)
        options = {"level": 0.1, "bound": 1.0}
        found, again, other = (held_out(u, losses, rng=rng(k), **options) for k in (3, 3, 4))
        assert found.marginal.mean() <= 0.1
        assert (found.conditional >= found.marginal).all()
        assert 0.3 < found.coverage.mean() < 1
        assert found.equals(again) and not found.equals(other)

    def test_none_accepted_is_no_risk(self):
        found = held_out(np.arange(6), np.ones(6), level=0.01, bound=1.0, rng=rng())
        assert (found == 0).all(axis=None) and len(found) == 500

    def test_refusals(self):
        with pytest.raises(NotShown, match="there is one task; expected more, to choose by"):
            held_out([1], [0], level=0.1, bound=1.0, rng=rng())
        with pytest.raises(TypeError, match="rng is a int"):
            held_out(np.arange(4), np.zeros(4), level=0.1, bound=1.0, rng=0)


class TestReliability:
    def test_isotonic_pools_violators(self):
        found = expected_accuracy([4, 1, 2, 3], [0.2, 1.0, 0.4, 0.6], at=[0, 1.5, 2.5, 9])
        assert found == pytest.approx([1.0, 0.75, 0.5, 0.2])

    def test_cross_validation_never_uses_the_task_itself(self):
        x, y = np.arange(10.0), np.linspace(1, 0, 10)
        first = cross_validated(x, y, rng=rng(1))
        y[4] = 50.0
        second = cross_validated(x, y, rng=rng(1))
        same = first.fold == first.fold[4]
        assert (first.expected[same] == second.expected[same]).all()
        assert (first.constant[~same] != second.constant[~same]).all()
        assert sorted(first.fold.value_counts()) == [2] * 5

    def test_table_by_hand(self):
        table = reliability([0.1, 0.9, 0.2, 0.8], [0.0, 1.0, 0.4, 0.8], bins=2)
        assert table.expected.tolist() == pytest.approx([0.15, 0.85])
        assert table.found.tolist() == pytest.approx([0.2, 0.9])
        assert table["count"].tolist() == [2, 2]
        half = 12.706205 * np.sqrt(0.08) / np.sqrt(2)  # t with one degree of freedom
        assert table.high[0] - table.found[0] == pytest.approx(half, rel=1e-6)

    def test_errors_by_hand(self):
        predictions = pd.DataFrame(
            {"accuracy": [0.0, 1.0], "expected": [0.1, 0.8], "constant": [1.0, 0.0]}
        )
        table = pd.DataFrame(
            {"expected": [0.1, 0.8], "found": [0.0, 1.0], "error": [0.2, 0.4], "count": [3, 1]}
        )
        found = calibration_errors(table, predictions)
        assert found["ece"] == pytest.approx(0.75 * 0.1 + 0.25 * 0.2)
        assert found["noise"] == pytest.approx(0.25 * np.sqrt(2 / np.pi))
        assert found["skill"] == pytest.approx(1 - 0.05 / 2)

    def test_noise_is_the_error_of_a_perfect_map(self):
        errors = []
        for seed in range(200):
            e = rng(seed).uniform(size=60)
            y = e + 0.2 * rng(seed + 1000).normal(size=60)
            predictions = pd.DataFrame({"accuracy": y, "expected": e, "constant": y.mean()})
            errors.append(calibration_errors(reliability(e, y), predictions))
        found = pd.DataFrame(errors).mean()
        assert found.ece == pytest.approx(found.noise, rel=0.06)

    def test_an_uninformative_uncertainty_has_no_skill(self):
        x, y = rng(5).normal(size=(2, 200))
        predictions = cross_validated(x, y, rng=rng())
        found = calibration_errors(reliability(predictions.expected, y), predictions)
        assert found["skill"] < 0.05

    @pytest.mark.parametrize(
        ("work", "message"),
        [
            (
                lambda: expected_accuracy([1], [1, 2], at=[1]),
                "uncertainty has 1 values and accuracy 2",
            ),
            (lambda: expected_accuracy([1, np.nan], [1, 2], at=[1]), r"uncertainty\[1\] is nan"),
            (lambda: expected_accuracy([1], [1], at=[np.inf]), r"at\[0\] is inf"),
            (lambda: cross_validated([1, 2], [1, 2], rng=rng()), "folds is 5; expected 2 to 2"),
            (lambda: cross_validated([1], [1], rng=rng()), "there is one task; expected more, to"),
            (lambda: reliability([1, 2], [1, 2], bins=2), "expected 1 to 1 bins of 2 tasks"),
        ],
    )
    def test_refusals(self, work, message):
        with pytest.raises(ValueError, match=message):
            work()

    def test_equal_accuracies_have_no_skill_to_measure(self):
        predictions = cross_validated([1, 2, 3, 4], [0.5] * 4, rng=rng(), folds=2)
        table = reliability(predictions.expected, predictions.accuracy, bins=2)
        with pytest.raises(NotShown, match="accuracy is equal for all tasks"):
            calibration_errors(table, predictions)


class TestWords:
    def test_even_splits_come_first(self):
        latents = ["a red dog runs", "A red dog", "a blue dog", "the dog's hat, red"]
        assert splitting_words("a dog", latents) == ["red", "blue", "dog's", "hat", "runs"]
        many = [f"a dog {word}" for word in "abcdef"]
        assert splitting_words("a dog", many) == ["b", "c", "d", "e", "f"]

    def test_what_all_say_or_the_prompt_says_is_left_out(self):
        assert splitting_words("Red dog", ["a red dog sits", "a dog sits on the grass"]) == [
            "grass"
        ]

    def test_equal_latent_prompts_differ_in_nothing(self):
        assert splitting_words("a dog", ["a dog"] * 3) == []

    def test_other_scripts(self):
        assert splitting_words("собака", ["рыжая собака", "собака"]) == ["рыжая"]


def summary_of(aleatoric, epistemic):
    a, e = np.array(aleatoric, float), np.array(epistemic, float)
    tasks = [f"t{i}" for i in range(a.size)]
    table = {"task": tasks, "prompt": "a dog", "aleatoric": a, "epistemic": e, "total": a + e}
    return pd.DataFrame(table)


def latents_of(summary):
    rows = [(t, f"a {colour} dog") for t in summary.task for colour in ("red", "blue")]
    return pd.DataFrame(rows, columns=["task", "prompt"])


class TestSuggest:
    def test_by_hand(self):
        summary = summary_of([1, 9, 2, 5], [10, 20, 90, 25])
        found = suggest(summary, latents_of(summary), threshold(12.0))
        assert found.action.tolist() == [ACCEPT, ASK, DISTRUST, ASK]
        assert found.aleatoric_position.tolist() == [0.125, 0.875, 0.375, 0.625]
        assert found.words.tolist() == ["", "blue, red", "", "blue, red"]

    def test_units_do_not_matter_to_the_components(self):
        summary = summary_of([1, 9, 2, 5], [10, 20, 90, 25])
        scaled = summary.assign(aleatoric=summary.aleatoric * 1000)
        first, second = (suggest(s, latents_of(s), threshold(None)) for s in (summary, scaled))
        assert first.action.tolist() == second.action.tolist()

    def test_nothing_to_ask_where_latent_prompts_agree(self):
        summary = summary_of([9, 1], [10, 20])
        same = pd.DataFrame({"task": ["t0", "t0", "t1", "t1"], "prompt": "a dog"})
        assert suggest(summary, same, threshold(None)).action.tolist() == [DISTRUST] * 2

    def test_by_action_counts_every_action(self):
        summary = summary_of([1, 9, 2], [10, 20, 90])
        suggestions = suggest(summary, latents_of(summary), threshold(None))
        found = by_action(suggestions, pd.Series([0.5, 0.7, 0.1], index=[7, 8, 9]))
        assert found.action.tolist() == list(ACTIONS)
        assert found.tasks.tolist() == [0, 2, 1]
        assert found.mean_accuracy[1:].tolist() == pytest.approx([0.6, 0.1])


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """All tables of the section, from a synthetic archive."""
    archive = open_archive(make_archive(tmp_path_factory.mktemp("decision") / "archive"))
    summary = summarize_run(archive, estimator="squbed")
    accuracy = summary.clip_reference
    losses = (0.7 - accuracy).clip(0, 1)
    predictions = cross_validated(summary.total, accuracy, rng=rng())
    table = reliability(predictions.expected, accuracy)
    chosen = control_risk(summary.total, losses, level=0.1, bound=1.0)
    return {
        "table": table,
        "errors": calibration_errors(table, predictions),
        "curve": risk_curve(summary.total, losses, bound=1.0),
        "suggestions": suggest(summary, archive.latents(), chosen),
        "threshold": chosen,
    }


def test_trends_are_means_of_bins_where_there_are_enough_tasks():
    x = np.arange(30.0)
    cloud = pd.DataFrame({"row": "r", "panel": "cloud", "x": x, "y": -x})
    few = cloud.head(29).assign(panel="few")
    found = trends(pd.concat([cloud, few]))
    assert set(found.panel) == {"cloud"} and found.x.tolist() == [4.5, 14.5, 24.5]
    assert found.y.tolist() == [-4.5, -14.5, -24.5]
    assert ((found.low < found.y) & (found.y < found.high)).all()
    assert trends(few).empty and list(trends(few)) == list(found)


class TestOnAnArchive:
    def test_suggestions_follow_the_threshold(self, answered):
        found = answered["suggestions"]
        accepted = answered["threshold"].accepts(found.total)
        assert ((found.action == ACCEPT) == accepted).all()
        assert (found.words[found.action == ASK] != "").all()
        assert 0 < accepted.sum() < len(found)

    def test_reliability_says_how_many_tasks_a_bin_has(self, answered):
        ax = plot_reliability(answered["table"], errors=answered["errors"], label="CLIP")
        counts = sorted(set(answered["table"]["count"]))
        said = [t.get_text() for t in ax.get_legend().get_texts()][-1]
        assert said == f"mean of {'–'.join(map(str, counts))} tasks"
        assert f"ECE {answered['errors']['ece']:.3f}" in ax.get_title(loc="left")

    def test_risk_shows_level_and_threshold(self, answered):
        ax = plot_risk(answered["curve"], threshold=answered["threshold"], label="total")
        level, chosen = ax.lines[-2:]
        assert list(level.get_ydata()) == [0.1, 0.1]
        assert list(chosen.get_xdata()) == [answered["threshold"].value] * 2
        assert [t.get_text() for t in ax.texts] == ["level 0.1", "threshold"]
        assert f"{answered['threshold'].accepted} of " in ax.get_title(loc="left")

    def test_risk_says_where_no_threshold_is_valid(self, answered):
        none = Threshold(None, 0.05, 15, 0, 0.0, "too few")
        ax = plot_risk(answered["curve"], threshold=none, label="total")
        assert [t.get_text() for t in ax.texts] == ["level 0.05"]
        assert "0 of 15 tasks accepted: no threshold is valid" in ax.get_title(loc="left")

    def test_actions_are_told_apart_and_counted(self, answered):
        suggestions = answered["suggestions"]
        ax = plot_actions(suggestions, threshold=threshold(None), unit="nats")
        counts = suggestions.action.value_counts()
        labels = [c.get_label() for c in ax.collections]
        assert labels == [f"{a} ({counts.get(a, 0)})" for a in ACTIONS]
        assert sum(len(c.get_offsets()) for c in ax.collections) == len(suggestions)

    def test_the_threshold_is_a_line_only_where_the_parts_sum(self, answered):
        suggestions = answered["suggestions"]
        other = suggestions.assign(total=suggestions.total + suggestions.aleatoric)
        for table, drawn in ((suggestions, True), (other, False)):
            ax = plot_actions(table, threshold=threshold(0.0), unit="nats")
            lines = [line for line in ax.lines if line.get_color() == BLACK]
            assert [sum(xy) for line in lines for xy in line.get_xydata()] == [0, 0] * drawn

    def test_figure_has_three_panels(self, answered):
        given = {k: answered[k] for k in ("table", "errors", "curve", "suggestions", "threshold")}
        labels = {"accuracy": "CLIP", "unit": "nats"}
        fig = figure_decision(**given, labels=labels)
        assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in fig.axes] == [
            ("expected CLIP", "found CLIP"),
            ("threshold on total (nats)", "mean shortfall"),
            ("aleatoric (nats)", "epistemic (nats)"),
        ]
        counts = answered["suggestions"].action.value_counts(sort=False)
        assert ", ".join(f"{a} {n}" for a, n in counts.items()) in fig.get_label()


def ranked(seed, n=20):
    values = np.random.default_rng(seed).permutation(n).astype(float)
    return pd.Series(values, [f"t{i}" for i in range(n)])


def test_in_doubt_are_the_tasks_beside_the_threshold_and_more_in_addition_to_fewer():
    screened = ranked(0)
    shares = (0.1, 0.2, 0.5, 1.0)
    chosen = [in_doubt(screened, refer=0.25, share=share) for share in shares]
    assert set(screened[chosen[0]]) == {14, 15} and set(screened[chosen[1]]) == {13, 14, 15, 16}
    assert set(screened[chosen[2]]) == set(range(10, 20)) and set(chosen[3]) == set(screened.index)
    assert all(more[: len(fewer)] == fewer for fewer, more in pairwise(chosen))


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_merged_ranks_keep_places_and_take_the_other_models_order_whatever_its_level(share):
    screened, full = ranked(1), ranked(2)
    tasks = in_doubt(screened, refer=0.5, share=share)
    ranks = merged_ranks(screened, full[tasks])
    assert sorted(ranks) == list(range(1, 21)) and list(ranks.index) == list(screened.index)
    others = screened.index.difference(tasks)
    assert (ranks[others] == screened.rank()[others]).all()
    assert sorted(ranks[tasks]) == sorted(screened.rank()[tasks])
    assert (ranks[tasks].rank() == full[tasks].rank()).all()
    assert ranks.equals(merged_ranks(np.exp(screened), 7 * full[tasks] - 1000))


def test_of_no_task_nothing_is_confirmed():
    for refer, share in ((0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.1), (0.01, 0.5)):
        with pytest.raises(ValueError, match="of 20 tasks a share of .* expected one task or more"):
            in_doubt(ranked(0), refer=refer, share=share)
    with pytest.raises(ValueError, match="'x' was confirmed, and is not among the tasks"):
        merged_ranks(ranked(0), pd.Series([1.0], ["x"]))
