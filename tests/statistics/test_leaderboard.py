"""The leaderboard: what each row says, who beats S-QUBED, what is left out, what is drawn."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from kit import synthetic
from matplotlib.text import Text
from scipy import stats

from squbed_utils import figures
from squbed_utils.archive import layout
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.commands.notebooks import NotebookError, run_all
from squbed_utils.statistics import leaderboard
from squbed_utils.statistics.calibration import kendall
from squbed_utils.statistics.leaderboard import (
    INTERVALS,
    compare,
    mean_accuracy,
    readable,
    rejection_curves,
    resamples_for,
    rows_of,
)
from squbed_utils.statistics.resampling import N_RESAMPLES
from squbed_utils.statistics.summary import score_tasks
from squbed_utils.statistics.tables import NotShown
from squbed_utils.statistics.truth import against_truth

N = 40


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return open_archive(synthetic.make_archive(tmp_path_factory.mktemp("board") / "synthetic"))


def accuracy(n=N):
    values = np.random.default_rng(0).normal(size=n)
    return pd.Series(values, index=[f"t{i}" for i in range(n)], name="ssim")


def scores(n=N, **noise):
    """Return estimators that follow the accuracy, each with its noise, in every component."""
    noise = noise or {"squbed": 1.0, "better": 0.1, "worse_one": 5.0}
    rng, y = np.random.default_rng(1), accuracy(n)
    tables = []
    for estimator, scale in noise.items():
        for component in ("aleatoric", "epistemic", "total"):
            table = pd.DataFrame({"task": y.index, "value": -y.to_numpy()})
            table["value"] += scale * rng.normal(size=n)
            tables.append(table.assign(estimator=estimator, component=component))
    return pd.concat(tables)[["estimator", "component", "task", "value"]]


def truth(n=N):
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"task": accuracy(n).index, "true_entropy": rng.integers(0, 5, n) / 2})
    return table.assign(coverage=rng.choice(["common", "rare", "never"], n))


def told_apart(n=N, noise=0.0):
    """Return an estimator "squbed" that follows both truths, and a "mixed" one."""
    rng, known = np.random.default_rng(3), truth(n)
    entropy = known.true_entropy.to_numpy()
    coverage = known.coverage.map(["common", "rare", "never"].index).to_numpy()
    parts = {
        ("squbed", "aleatoric"): entropy + noise * rng.normal(size=n),
        ("squbed", "epistemic"): coverage + noise * rng.normal(size=n),
        ("mixed", "aleatoric"): entropy + coverage,
        ("mixed", "epistemic"): entropy + coverage,
        ("half", "epistemic"): coverage + 0.0,
    }
    return pd.concat(
        pd.DataFrame({"estimator": e, "component": c, "task": known.task, "value": v})
        for (e, c), v in parts.items()
    )


def test_values_that_differ_by_rounding_are_tied():
    table = scores()
    noise = 1e-15 * np.random.default_rng(0).normal(size=len(table))
    tied = table.assign(value=table.value.round(1))
    pairs = [compare(rows_of(t, accuracy())) for t in (tied, tied.assign(value=tied.value + noise))]
    pd.testing.assert_frame_equal(*pairs)


class TestCompare:
    def test_tau_p_and_null_are_of_the_row(self):
        rows = rows_of(scores(), accuracy())
        table = compare(rows)
        for x, row in zip(rows.scores, table.itertuples(), strict=True):
            expected = kendall(x, rows.accuracy)
            assert (row.tau, row.pvalue) == pytest.approx((expected.tau, expected.pvalue))
            assert row.low < row.tau < row.high and row.holm >= row.pvalue
            sd = np.sqrt(2 * (2 * N + 5) / (9 * N * (N - 1)))  # of tau where nothing is related
            assert row.null_low == pytest.approx(-1.96 * sd, abs=0.06)
            assert row.null_high == pytest.approx(1.96 * sd, abs=0.06)
        assert set(table.n) == {N} and set(table.accuracy) == {"ssim"}

    def test_the_null_band_deals_references_where_it_can(self):
        rows = rows_of(scores(), accuracy())
        lost_anywhere = -np.outer(stats.rankdata(rows.scores[0]), np.ones(N))
        table = compare(rows, similarity=lost_anywhere)
        assert set(table.permuted) == {"references"}
        assert (table.null_low[0], table.null_high[0]) == (-1, -1)
        assert set(compare(rows).permuted) == {"accuracies"}

    def test_differences_are_paired_and_to_the_same_component(self):
        table = compare(rows_of(scores(), accuracy())).set_index(["estimator", "component"])
        own = table.loc["squbed"]
        assert own.difference.isna().all() and own.difference_holm.isna().all()
        for other in ("better", "worse_one"):
            gap = table.loc[other].tau - own.tau
            np.testing.assert_allclose(table.loc[other].difference, gap)
        assert (table.loc["better"].difference_high < 0).all()
        assert (table.loc["better"].difference_holm < 0.1).all()
        assert (table.loc["worse_one"].difference_low > 0).all()

    def test_a_twin_does_not_differ(self):
        both = pd.concat([scores(squbed=1.0), scores(squbed=1.0).assign(estimator="twin")])
        twin = compare(rows_of(both, accuracy())).set_index("estimator").loc["twin"]
        assert (twin[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
        assert (twin.difference_pvalue == 1).all()

    def test_rows_that_order_tasks_alike_count_once(self):
        twin = scores().assign(estimator=lambda t: t.estimator + "_twin")
        twin["value"] = np.exp(twin.value)
        table = compare(rows_of(pd.concat([scores(), twin]), accuracy()))
        alone = compare(rows_of(scores(), accuracy()))
        own, other = table[:9], table[9:].reset_index(drop=True)
        assert (own.identical == "").all()
        assert other.identical.tolist() == (own.estimator + " " + own.component).tolist()
        np.testing.assert_allclose(own.holm, alone.holm)
        np.testing.assert_allclose(other.holm, own.holm)
        compared = own.difference_holm.notna()
        np.testing.assert_allclose(other.difference_holm[compared], own.difference_holm[compared])
        np.testing.assert_allclose(own.difference_holm, alone.difference_holm)
        assert (other.difference_holm[:3] == 1).all()  # S-QUBED's own twin

    def test_totals_against_their_own_aleatoric_term(self):
        table = scores(squbed=1.0, other=0.1)
        spoilt = (table.estimator == "squbed") & (table.component == "total")
        table.loc[spoilt, "value"] = np.random.default_rng(4).normal(size=N)
        found = compare(rows_of(table, accuracy()))
        assert found.over_aleatoric.notna().tolist() == (found.component == "total").tolist()
        row = found.set_index(["estimator", "component"])
        for name in ("squbed", "other"):
            gap = row.tau[name, "total"] - row.tau[name, "aleatoric"]
            assert row.over_aleatoric[name, "total"] == pytest.approx(gap)
        assert row.over_aleatoric_low["squbed", "total"] > 0
        last = leaderboard.verdict(found).splitlines()[-1]
        assert last.startswith("sum: of 2 totals, better after Holm's correction than their own")
        assert "term: none; worse: squbed (" in last and "other" not in last

    def test_no_row_depends_on_the_others_but_for_holm(self):
        every = compare(rows_of(scores(), accuracy()))
        alone = compare(rows_of(scores().query("estimator == 'squbed'"), accuracy()))
        shared = [c for c in every if "holm" not in c]  # all orders of tasks are distinct here
        pd.testing.assert_frame_equal(every[every.estimator == "squbed"][shared], alone[shared])

    def test_order_of_tasks_changes_no_measure(self):
        table = compare(rows_of(scores(), accuracy()))
        other = compare(rows_of(scores().iloc[::-1], accuracy()))
        keys, same = ["estimator", "component"], ["tau", "pvalue", "auroc", "prr", "aurc"]
        a, b = (t.set_index(keys)[same].sort_index() for t in (table, other))
        np.testing.assert_allclose(a, b)

    def test_without_squbed_nothing_is_compared(self):
        table = compare(rows_of(scores(better=0.1), accuracy()))
        assert table.difference.isna().all() and table.difference_holm.isna().all()
        assert "S-QUBED has no row here" in leaderboard.verdict(table)

    def test_the_threshold_is_the_median_or_given(self):
        rows = rows_of(scores(), accuracy())
        assert compare(rows).threshold[0] == accuracy().median()
        assert compare(rows, threshold=0.5).threshold[0] == 0.5
        with pytest.raises(ValueError, match="40 of 40 tasks have an accuracy below the threshold"):
            compare(rows, threshold=99)


class TestRows:
    def test_too_few_tasks(self):
        with pytest.raises(ValueError, match="2 tasks have scores and ssim; a rank correlation ne"):
            rows_of(scores(2), accuracy(2))

    def test_tasks_without_an_accuracy_are_left_out_and_named(self):
        with pytest.warns(UserWarning, match="1 tasks left out for want of ssim: t0"):
            rows = rows_of(scores(), accuracy().drop("t0"))
        assert rows.scores.shape == (9, N - 1)

    def test_a_constant_row_is_left_out_and_named(self):
        flat = scores(squbed=1.0, flat=1.0)
        flat.loc[(flat.estimator == "flat") & (flat.component == "total"), "value"] = 2.0
        with pytest.warns(UserWarning, match="1 rows left out: .* same for every task: flat total"):
            rows = rows_of(flat, accuracy())
        assert len(rows.labels) == 5

    def test_a_row_that_lacks_a_task_is_left_out_and_named(self):
        table = scores()
        lost = (table.estimator == "better") & (table.component == "total") & (table.task == "t3")
        with pytest.warns(UserWarning, match="lack tasks that others have: better total"):
            rows_of(table[~lost], accuracy())

    def test_nothing_left(self):
        with (
            pytest.warns(UserWarning, match="3 rows left out"),
            pytest.raises(ValueError, match="no estimator has different values for the tasks"),
        ):
            rows_of(scores(squbed=1.0).assign(value=1.0), accuracy())

    def test_one_accuracy_for_all(self):
        with pytest.raises(ValueError, match="ssim is 1 for all 40 tasks; choose an accuracy"):
            rows_of(scores(), accuracy() * 0 + 1)


class TestAccuracy:
    def test_means_over_videos_and_lpips_negated(self, archive):
        videos = archive.videos()
        expected = videos.groupby("task").lpips.mean()
        found = mean_accuracy(archive, "lpips")
        np.testing.assert_allclose(found, -expected[found.index])
        assert mean_accuracy(archive).name == "clip_reference"

    def test_without_references_clip_to_the_prompt(self, archive, monkeypatch):
        videos = archive.videos()
        videos[["ssim", "psnr", "lpips", "clip_reference"]] = np.nan
        monkeypatch.setattr(Archive, "videos", lambda _, **_options: videos)
        assert mean_accuracy(archive).name == "clip_prompt"
        message = "has the accuracy 'ssim', which needs reference videos; there is: clip_prompt"
        with pytest.raises(ValueError, match=message):
            mean_accuracy(archive, "ssim")

    def test_unknown(self, archive):
        with pytest.raises(ValueError, match="unknown accuracy 'fvd'; known: ssim"):
            mean_accuracy(archive, "fvd")


class TestTruth:
    def test_a_perfect_estimator_has_full_signals(self):
        taus, found = against_truth(rows_of(told_apart(), accuracy()), truth())
        own = taus[(taus.estimator == "squbed") & (taus.kind == "signal")]
        assert own.tau.to_numpy() == pytest.approx(1)
        assert own.pvalue.to_numpy() == pytest.approx(2 / (N_RESAMPLES + 1))
        assert found.estimator.tolist() == ["squbed", "mixed"]  # "half" has no aleatoric term
        assert found.signal[0] == pytest.approx(1)

    def test_the_score_by_hand(self):
        taus, found = against_truth(rows_of(told_apart(noise=1.0), accuracy()), truth())
        own = taus[taus.estimator == "squbed"]
        signal, leakage = (own[own.kind == k].tau for k in ("signal", "leakage"))
        expected = signal.mean() - leakage.abs().mean()
        assert found.score[0] == pytest.approx(expected)
        known = truth().true_entropy
        rows = told_apart(noise=1.0).query("estimator == 'squbed' and component == 'aleatoric'")
        tau = stats.kendalltau(rows.value, known).statistic
        assert own.tau.iloc[0] == pytest.approx(tau)
        assert (found.low <= found.score).all() and (found.score <= found.high).all()

    def test_the_mixed_one_is_beaten_and_does_not_beat(self):
        _, found = against_truth(rows_of(told_apart(), accuracy()), truth())
        assert found.difference[1] < 0 and np.isnan(found.difference[0])
        text = leaderboard.truth_verdict(found)
        assert "disentanglement: S-QUBED scores 0." in text and "No other (1)" in text
        swapped = found.assign(estimator=["good", "squbed"], difference=[0.5, np.nan])
        swapped = swapped.assign(difference_low=0.4, difference_high=0.6, difference_holm=0.01)
        assert "Best: good" in leaderboard.truth_verdict(swapped)
        assert "for want of a component" in leaderboard.truth_verdict(found[1:])

    def test_no_estimator_with_both_terms(self):
        half = told_apart().query("component == 'epistemic'")
        taus, found = against_truth(rows_of(half, accuracy()), truth())
        assert found.empty and len(taus) == 6
        assert "for want of a component" in leaderboard.truth_verdict(found)
        assert len(figures.figure_signals(taus, found).axes) == 2

    def test_refusals(self):
        rows = rows_of(told_apart(), accuracy())
        with pytest.raises(NotShown, match="coverage is the same for all 40 tasks"):
            against_truth(rows, truth().assign(coverage="rare"))


class TestFewTasks:
    """So few that they say nothing of others: what is seen is said, and no more."""

    def test_nothing_is_said_of_intervals_and_differences(self):
        table = compare(rows_of(scores(7), accuracy(7)))
        assert table[INTERVALS].isna().all(axis=None)
        seen = ["tau", "pvalue", "holm", "null_low", "null_high", "auroc", "prr", "aurc"]
        assert np.isfinite(table[seen]).all(axis=None)
        text = leaderboard.verdict(table)
        assert "the tasks are too few to say more" in text and "nan" not in text
        assert "nan" not in leaderboard.as_latex(table)
        assert len(figures.figure_leaderboard(table).axes) == 3

    def test_nor_of_the_truth(self):
        taus, found = against_truth(rows_of(told_apart(7), accuracy(7)), truth(7))
        assert found[["low", "high", "difference_holm"]].isna().all(axis=None)
        assert taus[["low", "high"]].isna().all(axis=None)
        assert np.isfinite(taus.tau).all() and np.isfinite(found.score).all()
        assert "nan" not in leaderboard.truth_verdict(found)
        assert len(figures.figure_signals(taus, found).axes) == 3

    def test_eight_are_enough(self):
        table = compare(rows_of(scores(8), accuracy(8)))
        assert np.isfinite(table[["low", "high"]]).all(axis=None)


def test_the_default_threshold_parts_tied_accuracies():
    tied = accuracy().where(accuracy() > accuracy().quantile(0.8), -9.0)
    table = compare(rows_of(scores(), tied))
    assert table.threshold[0] == tied[tied > -9].min() and np.isfinite(table.auroc).all()


def test_holm_has_room_below_five_percent_with_many_rows():
    many = rows_of(scores(**{"squbed": 1.0} | {f"e{i}": 0.1 for i in range(30)}), accuracy())
    assert resamples_for(many) == 9300
    table = compare(many)
    assert (table.difference_holm[3:] < 0.05).any()


def test_an_accuracy_is_not_compared_with_itself():
    y = accuracy().rename("clip_prompt")
    table = scores(squbed=1.0, alignment=0.0)
    with pytest.warns(UserWarning, match="1 rows left out: they are clip_prompt itself: alignment"):
        assert set(rows_of(table, y).labels.estimator) == {"squbed"}
    assert set(rows_of(table, accuracy()).labels.estimator) == {"squbed", "alignment"}


class TestText:
    def test_who_beats_squbed(self):
        table = compare(rows_of(scores(), accuracy()))
        lines = leaderboard.verdict(table).splitlines()
        assert [line.split(":")[0] for line in lines] == ["aleatoric", "epistemic", "total", "sum"]
        for line in lines[:3]:
            assert "1 of 2 others have a lower one, 1 of them after Holm's correction" in line
            assert "Best: better, −0.9" in line and "which survives Holm (p = 0.0" in line
        said = (
            r"S-QUBED has tau \S+ \[.*\] \(Holm p of no correlation .*\), below the null band of "
        )
        assert re.match(rf"aleatoric: {said}permuted accuracies\. 1 of 2", lines[0])
        wrong_way = table.assign(tau=0.9)
        assert "above the null band" in leaderboard.verdict(wrong_way)

    def test_not_beaten_and_not_surviving(self):
        table = compare(rows_of(scores(squbed=0.1, worse=5.0), accuracy()))
        assert leaderboard.verdict(table).count("No other (1) has a lower one.") == 3
        close = table.assign(difference=-0.01, difference_holm=0.4)
        assert "does not survive Holm (p = 0.400)" in leaderboard.verdict(close)

    def test_latex_is_balanced_and_escaped(self, tmp_path):
        table = compare(rows_of(scores(squbed=1, worse_one=2, **{"50%&": 3}), accuracy()))
        leaderboard.save_latex(tmp_path, "board", table)
        text = (tmp_path / "data" / "board.tex").read_text()
        about, *lines = text.splitlines()
        assert about.startswith("% ssim of 40 tasks") and "booktabs" in about
        assert lines[0] == r"\begin{tabular}{llrrrrrrrr}" and lines[-1] == r"\end{tabular}"
        body = [line for line in lines if line.endswith(r"\\")]
        assert len(body) == 1 + 9
        for line in body:
            plain = line.replace(r"\&", "").replace(r"\%", "").replace(r"\_", "")
            assert plain.count("&") == 9 and plain.count("$") % 2 == 0 and "%" not in plain
            assert plain.count("{") == plain.count("}")
            assert all("_" not in part for part in plain.split("$")[::2])
        assert r"worse\_one & total" in text and r"50\%\& &" in text and "nan" not in text


def words(fig):
    return [t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible()]


@pytest.fixture(scope="module")
def drawn():
    rows = rows_of(scores(), accuracy())
    signals = against_truth(rows_of(told_apart(), accuracy()), truth())
    return {
        "leaderboard": figures.figure_leaderboard(compare(rows)),
        "rejection": figures.figure_rejection(rejection_curves(rows)),
        "signals": figures.figure_signals(*signals),
    }


class TestFigures:
    @pytest.mark.parametrize("name", ["leaderboard", "rejection", "signals"])
    def test_text_is_legible_and_inside(self, drawn, name):
        fig = drawn[name]
        fig.draw_without_rendering()
        assert fig.get_size_inches()[0] == figures.DOUBLE
        for text in words(fig):
            assert text.get_fontsize() >= 6.5
        ticks = [t for ax in fig.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
        for text in [t for t in words(fig) if t not in ticks]:
            box = text.get_window_extent()
            assert box.x0 >= -2 and box.x1 <= fig.bbox.x1 + 2, text.get_text()
            assert box.y0 >= -2 and box.y1 <= fig.bbox.y1 + 2, text.get_text()

    def test_the_forest_shows_the_table(self):
        table = compare(rows_of(scores(), accuracy())).query("component == 'total'")
        ax = figures.plot_forest(table)
        points = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
        assert points == table.tau.tolist()
        assert [bar.get_x() for bar in ax.patches] == table.null_low.tolist()
        assert [t.get_text() for t in ax.get_yticklabels()] == table.estimator.tolist()
        low, high = ax.get_xlim()
        ends = (
            table[["low", "null_low"]].min(axis=None),
            table[["high", "null_high"]].max(axis=None),
        )
        assert ax.get_title(loc="left") == "total"
        assert (low, high) == pytest.approx((min(0, ends[0]) - 0.05, max(0, ends[1]) + 0.05))

    def test_a_line_without_a_part_says_so(self):
        table = compare(rows_of(scores(), accuracy())).query("component == 'total'")
        names = [*table.estimator, "another"]
        ax = figures.plot_forest(table, estimators=names)
        assert [(t.get_text(), t.get_position()[1]) for t in ax.texts] == [
            ("has none", len(names) - 1)
        ]

    def test_names_take_the_place_of_keys(self):
        table = pd.DataFrame({"estimator": ["energy_split", "oracle"], "baseline": "squbed"})
        measured = table.assign(accuracy="clip_reference", tau=0.5)
        measured.attrs["label"] = "CLIP to reference"
        shown = readable(measured)
        assert shown.estimator.tolist() == ["Energy split", "oracle"]
        assert set(shown.baseline) == {"S-QUBED"} and set(shown.accuracy) == {"CLIP to reference"}
        assert readable(table).baseline.tolist() == ["S-QUBED"] * 2 and "accuracy" not in readable(
            table
        )

    def test_rejection_names_the_best_other(self):
        curves = rejection_curves(rows_of(scores(), accuracy())).query("component == 'total'")
        _, *named = figures.plot_rejection(curves).get_title(loc="left").splitlines()
        assert [line.split(" ")[1] for line in named] == ["squbed", "better"]
        assert {float(line.split(" ")[0].replace("−", "-")) for line in named} <= set(
            curves.prr.round(2)
        )
        alone = curves[curves.estimator.isin(["squbed", "oracle", "chance"])]
        assert len(figures.plot_rejection(alone).get_title(loc="left").splitlines()) == 2

    def test_curves_start_with_all_tasks_and_end_with_one(self):
        curves = rejection_curves(rows_of(scores(), accuracy()))
        for _, curve in curves.groupby(["estimator", "component"]):
            assert curve.kept_accuracy.iloc[-1] == pytest.approx(accuracy().mean())
            assert curve.rejected.iloc[-1] == 0 and len(curve) == N
        oracle = curves[curves.estimator == "oracle"].kept_accuracy
        assert oracle.max() == accuracy().max()


@pytest.mark.filterwarnings("ignore:.*rows left out. they are the same for every task")
def test_an_archive_from_end_to_end(archive):
    table = compare(rows_of(score_tasks(archive), mean_accuracy(archive)))
    assert {"squbed", "squbed_mle"} <= set(table.estimator) and set(table.n) == {15}
    own = table[table.estimator == "squbed"].set_index("component")
    assert own.tau["total"] < own.null_low["total"]


@pytest.mark.filterwarnings("ignore:.*rows left out. they are")
def test_without_truth_latent_prompts_or_references(archive, tmp_path):
    bare = open_archive(strip(archive, tmp_path / "bare"))
    table = compare(rows_of(score_tasks(bare), mean_accuracy(bare)))
    assert set(table.accuracy) == {"clip_prompt"} and "alignment" not in set(table.estimator)
    assert set(table[table.estimator == "squbed"].component) == {"epistemic"}
    with pytest.raises(ValueError, match="no task of .* has the accuracy 'ssim'"):
        mean_accuracy(bare, "ssim")
    assert len(figures.figure_leaderboard(table).axes) >= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs_without_truth_latent_prompts_or_references(archive, tmp_path):
    bare = strip(archive, tmp_path / "bare")
    where = {"figures": tmp_path / "f", "build": tmp_path / "b", "only": ["04_estimators"]}
    written = run_all("world-quick", samples=bare, **where)
    assert "leaderboard.tex" in {p.name for p in written}
    assert "signals.png" not in {p.name for p in written}
    with pytest.raises(NotebookError, match="no task of .* has the accuracy 'ssim'"):
        run_all("world-quick", samples=bare, parameters={"accuracy": "ssim"}, **where)


def strip(archive, folder):
    """Take references' scores, latent prompts and truth out of a copy of an archive."""
    shutil.copytree(archive.folder, folder)
    (folder / "truth.parquet").unlink()
    bare = Archive(folder)
    for task, latent in archive.units:
        rows = layout.read_table(bare.shard(task, latent)).to_pylist()
        gone = dict.fromkeys(["ssim", "psnr", "lpips", "clip_reference", "prompt"])
        bare.write_shard(task, latent, [r | gone | {"text_embedding": None} for r in rows])
    return folder


@pytest.mark.parametrize(
    ("role", "kind", "accuracy", "said"),
    [
        ("clip", "imagenet", "clip_prompt", "ImageNet labels to prompt"),
        ("lpips", "st-alex", "lpips", "negative ST-LPIPS"),
    ],
)
def test_an_accuracy_is_called_by_what_measured_it(
    archive, monkeypatch, role, kind, accuracy, said
):
    monkeypatch.setitem(archive.profile, role, {"kind": kind})
    accuracies = mean_accuracy(archive, accuracy)
    known = scores(len(accuracies)).assign(task=lambda t: accuracies.index[t.index])
    rows = rows_of(known, accuracies)
    for table in (compare(rows), rejection_curves(rows)):
        assert set(readable(table).accuracy) == {said}
