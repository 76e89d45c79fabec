"""What is drawn is what was given, at a legible size, and saved the same way every time."""

import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from squbed_utils import figures
from squbed_utils.figures.frames import strip
from squbed_utils.figures.panels import describe
from squbed_utils.figures.style import (
    FAMILIES,
    VERMILLION,
    few_ticks,
    part_labels,
)
from squbed_utils.statistics import examples
from squbed_utils.statistics.resampling import FEWEST_TASKS

FIGURES = [f"figure_{i}" for i in range(1, 6)] + ["subset_size", "truth", "contact_sheet"]


def video(frames=9, height=8, width=10, value=100):
    return np.full((frames, height, width, 3), value, np.uint8)


def points(
    row="this run", panel="SSIM", n=5, coverage=("common", "rare", "never", "never", "rare")
):
    table = pd.DataFrame({"x": np.arange(n, dtype=float), "y": np.arange(n, 0, -1.0)})
    table = table.assign(row=row, panel=panel, x_label="total (nats)", y_label="SSIM")
    known = list(coverage)[:n] if coverage else [""] * n
    left_out = pd.array([0, 1, 2, 3, 4][:n] if coverage else [pd.NA] * n, dtype="Int64")
    return table.assign(coverage=known, left_out=left_out, task=[f"t{i}" for i in range(n)])


def statistics(row="this run", panel="SSIM", n=5, **changes):
    values = {"row": row, "panel": panel, "tau": -0.5, "pvalue": 0.012, "n": n, "confidence": 0.95}
    low, high = (-0.9, -0.1) if n >= FEWEST_TASKS else (np.nan, np.nan)
    return pd.Series(values | {"low": low, "high": high} | changes)


def two_rows(panels=("SSIM", "PSNR")):
    rows = (("this run", ("common",) * 5), ("published", ()))
    drawn = [points(r, p, coverage=c) for r, c in rows for p in panels]
    found = [statistics(r, p) for r, _ in rows for p in panels]
    return pd.concat(drawn), pd.DataFrame(found)


def example(label="low", videos=3):
    text = "a small red circle moving left on a striped background"
    latents = list(range(videos))
    return examples.Example("t", label, text, "total −1.0", video(), [video()] * videos, latents)


def positions():
    table = pd.DataFrame({"group": ["common", "common", "never"], "value": [-3.0, -2.0, -1.0]})
    return table.assign(value_label="epistemic (nats)", label=["", "", "marked one"])


def latents(n=3):
    prompts = [f"prompt {i}" for i in range(n)]
    table = pd.DataFrame({"latent": range(n), "prompt": prompts, "entropy": np.arange(n) - 9.0})
    return table.assign(degenerate=False, unit="nats")


def terms():
    table = pd.DataFrame({"term": ["h(Z|l)", "h(V|Z)", "total"], "value": [-8.0, -9.0, -17.0]})
    return table.assign(low=table.value - 1, high=table.value + 1, remark="", unit="nats")


def taus():
    table = pd.DataFrame({"label": ["a and b", "c and d"], "tau": [0.8, 0.1]})
    table = table.assign(low=table.tau - 0.1, high=table.tau + 0.1, confidence=0.9, n=9)
    return table.assign(kind=["signal", "leakage"], bar=[0.65, 0.15])


def curves():
    table = pd.DataFrame({"size": [3, 6, 9], "tau": [-0.9, -0.5, -0.3]})
    few = table["size"] < FEWEST_TASKS
    ends = {"lo": (table.tau - 0.1).mask(few), "hi": (table.tau + 0.1).mask(few)}
    table = table.assign(**ends, shown=6, confidence=0.95)
    return pd.concat([table.assign(panel="aleatoric"), table.assign(panel="epistemic")])


def published():
    table = pd.DataFrame({"panel": ["P aleatoric", "P epistemic"], "n": [4, 6], "tau": [-1, 0.5]})
    own = table.assign(row="this run (a)", n=99, tau=0.9)
    return pd.concat([table.assign(row="published (x)"), own])


def every_figure():
    walked = example(videos=3)
    return {
        "figure_1": figures.figure_1([example("never"), example("common")], positions()),
        "figure_2": figures.figure_2(walked, latents(), terms()),
        "figure_3": figures.figure_panels(*two_rows(), [example()]),
        "figure_4": figures.figure_panels(*two_rows(), [example()] * 3),
        "figure_5": figures.figure_panels(*two_rows(), []),
        "subset_size": figures.figure_subset_size(curves(), published()),
        "truth": figures.figure_truth(points(), statistics().to_frame().T, positions(), taus()),
        "contact_sheet": figures.contact_sheet([example() for _ in range(4)], of=9),
    }


def test_two_models_are_drawn_as_they_are_given():
    values = {"epistemic_first": [-3.0, -2.0, -1.0], "epistemic_second": [-4.0, -1.0, -2.0]}
    values |= {"ssim_first": [0.5, 0.5, 0.5], "ssim_second": [0.25, 0.75, 0.75]}
    tasks = pd.DataFrame(values)
    tasks.attrs = {"accuracy": "ssim", "label": "SSIM", "unit": "nats"}
    row = {"panel": "tau with accuracy", "quantity": "total", "first": -0.5, "second": 0.25}
    table = pd.DataFrame([row | {"value": 0.75, "low": 0.5, "high": 1.0, "pvalue": 0.0001}])
    fig = figures.figure_pairs(tasks, table, ("one", "two"))
    assert fig.get_label().startswith("One and two on the same 3 tasks: ")
    said = "τ total −0.50 and 0.25; more certain on 1 of 1 tasks that lost accuracy."
    assert fig.get_label().endswith(said)
    assert [ax.get_title(loc="left")[:3] for ax in fig.axes] == ["(a)", "(b)", "(c)"]


def words(fig):
    return [t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible()]


@pytest.fixture(scope="module")
def drawn():
    return every_figure()


def test_a_point_for_every_row_coloured_by_coverage():
    ax = figures.plot_points(points(), statistics=statistics())
    drawn = np.concatenate([c.get_offsets() for c in ax.collections if len(c.get_offsets())])
    assert sorted(map(tuple, drawn)) == sorted(zip(points().x, points().y, strict=True))
    colours = {tuple(c) for col in ax.collections for c in col.get_facecolors()}
    assert {to_rgba(c) for c in figures.COVERAGE_COLOURS.values()} <= colours
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("total", "SSIM")


def test_the_title_says_the_statistics_given():
    found = statistics(tau=-0.25, pvalue=0.0401, low=-0.61, n=8)
    ax = figures.plot_points(points(n=8, coverage=()), statistics=found)
    assert ax.get_title(loc="left") == "SSIM\nτ = −0.25, p = 0.040\nn = 8, 95% [−0.61, −0.10]"


def test_fewer_than_eight_tasks_have_no_interval():
    assert FEWEST_TASKS == 8  # as the captions say
    assert describe(statistics(n=7)) == "τ = −0.50, p = 0.012\nn = 7, no interval"
    table, found = two_rows()
    said = figures.figure_panels(table, found, []).get_label()
    assert "(none below 8 tasks), is (a) −0.50 for SSIM; (b) −0.50 for PSNR; (c)" in said
    assert f"(none below {FEWEST_TASKS} tasks)" in said
    said = figures.figure_panels(points(n=9, coverage=()), statistics(n=9).to_frame().T, [])
    assert "is (a) −0.50 [−0.90, −0.10] for SSIM." in said.get_label()


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.0, "p = 1.000"), (0.001, "p = 0.001"), (2.1e-4, "p = 2e−4"), (3e-12, "p = 3e−12")],
)
def test_small_p_values_keep_their_size(p, text):
    assert f", {text}\n" in describe(statistics(pvalue=p))


def test_statistics_of_other_points_are_refused():
    with pytest.raises(ValueError, match="'SSIM' has 5 points but its statistics are of 7"):
        figures.plot_points(points(), statistics=statistics(n=7))


def test_a_panel_without_statistics_is_refused():
    table, found = two_rows()
    with pytest.raises(
        ValueError, match="panel 'PSNR' of row 'published' has 0 rows of statistics"
    ):
        figures.figure_panels(table, found.iloc[:-1], [])


def test_plots_draw_on_the_axes_given():
    fig = mpl.figure.Figure()
    ax = fig.subplots()
    assert figures.plot_points(points(), statistics=statistics(), ax=ax) is ax
    assert figures.plot_frames(video(), ax=ax) is ax
    assert figures.plot_taus(taus(), ax=ax) is ax


def test_rows_are_named_as_given(drawn):
    text = [t.get_text() for t in words(drawn["figure_3"])]
    assert text.count("this run") == text.count("published") == 1
    assert text.count("(a) SSIM\nτ = −0.50, p = 0.012\nn = 5, no interval") == 1
    assert "reference" in text


def test_panels_that_differ_in_their_accuracy_are_named_once():
    names = {"SSIM": "SSIM", "LPIPS (form)": "negative LPIPS"}
    table = pd.concat([points(panel=p).assign(y_label=y) for p, y in names.items()])
    found = pd.DataFrame([statistics(panel=p) for p in names])
    axes = figures.figure_panels(table, found, []).axes
    titles = [ax.get_title(loc="left") for ax in axes]
    assert [title[:7] for title in titles] == ["(a) τ =", "(b) τ ="]
    assert [ax.get_ylabel() for ax in axes] == ["SSIM", "negative LPIPS\n(form)"]


def test_a_trend_is_drawn_as_it_is_given():
    line = pd.DataFrame({"x": [0.0, 2.0], "y": [4.0, 2.0], "low": [3.0, 1.0], "high": [5.0, 3.0]})
    trend = line.assign(row="this run", panel="PSNR")
    drawn = figures.figure_panels(*two_rows(), [], trend=trend)
    plain, with_trend, *others = drawn.axes
    assert not plain.lines and not any(ax.lines for ax in others)
    assert with_trend.lines[0].get_xydata().tolist() == [[0, 4], [2, 2]]
    band = with_trend.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (1, 5) and "line: means of tasks" in drawn.get_label()


def test_a_legend_tells_colours_apart_where_there_are_several():
    one, several = two_rows(), (points(), statistics().to_frame().T)
    legends = [
        [t.get_text() for part in figures.figure_panels(*tables, []).subfigs for t in legend(part)]
        for tables in (one, several)
    ]
    assert legends == [[], ["subject in training:", "common", "rare", "never"]]


def legend(part):
    return [text for key in part.legends for text in key.get_texts()]


def test_published_subsets_stand_in_the_panel_of_their_part(drawn):
    crosses = [
        line for ax in drawn["subset_size"].axes for line in ax.lines if line.get_marker() == "X"
    ]
    assert [line.get_xydata().tolist() for line in crosses] == [[[4, -1]], [[6, 0.5]]]


def test_letters_name_the_panels_in_reading_order(drawn):
    letters = {
        name: [t.get_text()[1] for t in words(fig) if t.get_text()[2:3] == ")"]
        for name, fig in drawn.items()
    }
    counts = {"figure_1": "abc", "figure_2": "abcd", "figure_3": "abcde", "figure_4": "abcdefg"}
    counts |= {"figure_5": "abcd", "subset_size": "ab", "truth": "abc", "contact_sheet": ""}
    assert {name: "".join(sorted(found)) for name, found in letters.items()} == counts
    first, second, *_ = drawn["figure_4"].axes
    assert first.get_title(loc="left").startswith("(a) SSIM")
    assert second.get_title(loc="left").startswith("(b) PSNR")


@pytest.mark.parametrize("name", FIGURES)
def test_a_caption_is_two_sentences_with_numbers_of_the_data(drawn, name, tmp_path):
    said = drawn[name].get_label()
    assert len(re.findall(r"(?<=\w|[)\]])\.(?= [A-Z]|$)", said)) == 2, said
    numbers = {
        "figure_2": "−17.0 nats",
        "figure_4": "−0.50",
        "subset_size": "−0.90 on 3 tasks and −0.30 [−0.40, −0.20] on 9",
    }
    numbers |= {"truth": "0.80 [0.70, 0.90] for a and b", "contact_sheet": "4 of 9 tasks"}
    assert numbers.get(name, "") in said
    saved = figures.save(drawn[name], name, tmp_path)
    assert [p.suffix for p in saved] == [".pdf", ".png", ".txt"]
    assert saved[-1].read_text(encoding="utf-8") == f"{said}\n"


def test_a_figure_without_a_caption_has_no_text(tmp_path):
    assert [p.name for p in figures.save(mpl.figure.Figure(), "f", tmp_path)] == ["f.pdf", "f.png"]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("style", FAMILIES)
def test_labels_of_ticks_never_touch(name, style, tmp_path):
    fig = every_figure()[name]
    figures.save(fig, name, tmp_path, style=style)
    fig.draw_without_rendering()  # saved in other resolutions
    for axis in [axis for ax in fig.axes if ax.axison for axis in (ax.xaxis, ax.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
        boxes = [t.label1.get_window_extent() for t in ticks if t.label1.get_text()]
        assert len(boxes) >= 1
        assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)], name


def test_labels_that_would_touch_get_fewer():
    fig = mpl.figure.Figure(figsize=(0.9, 1))
    ax = fig.subplots()
    ax.plot([-1084.5, -1076.5], [0, 1])
    few_ticks(ax)
    fig.draw_without_rendering()
    before = len(ax.get_xticks())
    part_labels(fig)
    assert 1 <= len(ax.get_xticks()) < before


def test_a_style_is_a_family_of_fonts(tmp_path):
    found = {}
    for style in FAMILIES:
        fig = figures.figure_subset_size(curves(), published())
        _, png, _ = figures.save(fig, style, tmp_path, style=style)
        ticks = [label for ax in fig.axes for label in ax.get_xticklabels()]
        assert {t.get_fontfamily()[0] for t in [*words(fig), *ticks]} == {FAMILIES[style][0]}
        found[style] = png.read_bytes()
    assert found["paper"] != found["talk"]
    with pytest.raises(ValueError, match="unknown style 'poster'; known: paper, talk"):
        figures.save(fig, "f", tmp_path, style="poster")


def test_marked_tasks_are_labelled():
    ax = figures.plot_positions(positions())
    assert [t.get_text() for t in ax.texts] == ["marked one"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["common", "never"]


def test_entropies_are_drawn_with_their_mean(drawn):
    ax = next(a for a in drawn["figure_2"].axes if "mean dashed" in a.get_title(loc="left"))
    assert ax.lines[0].get_xdata().tolist() == latents().entropy.tolist()
    assert set(ax.lines[1].get_xdata()) == {latents().entropy.mean()}


def test_every_latent_prompt_is_named_beside_its_entropy():
    fig = figures.figure_2(example(videos=6), latents(6), terms())
    ax = next(a for a in fig.axes if "mean dashed" in a.get_title(loc="left"))
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"z{i}" for i in range(1, 7)]


def test_what_was_not_measured_is_an_open_marker_with_its_remark():
    table = terms().assign(remark=["no interval: 2 distinct latent prompts", "", "identical: set"])
    ax = figures.plot_terms(table.assign(low=[np.nan, -10, np.nan], high=[np.nan, -8, np.nan]))
    assert [t.get_text() for t in ax.texts] == [r for r in table.remark if r]
    opened = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata().tolist() for line in opened] == [[-17.0]]
    spans = [np.ptp(s[:, 0]) for c in ax.collections for s in c.get_segments() if len(s)]
    assert [s for s in spans if np.isfinite(s)] == [2.0]
    assert not figures.plot_terms(terms()).texts


def test_entropies_set_by_the_cap_are_open(drawn):
    table = latents().assign(degenerate=[False, True, False])
    fig = figures.figure_2(example(), table, terms())
    for shown, expected in ((fig, [table.entropy[1]]), (drawn["figure_2"], [])):
        ax = next(a for a in shown.axes if "mean dashed" in a.get_title(loc="left"))
        opened = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
        assert [x for line in opened for x in line.get_xdata()] == expected


def test_a_latent_prompt_without_video_is_refused():
    with pytest.raises(ValueError, match="example t has a latent prompt without any video"):
        figures.figure_2(example(videos=2), latents(3), terms())


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_legible_at_the_width_of_a_paper(drawn, name):
    fig = drawn[name]
    assert fig.get_size_inches()[0] in (figures.SINGLE, figures.DOUBLE)
    assert min(t.get_fontsize() for t in words(fig)) >= 6.5


@pytest.mark.parametrize("name", FIGURES)
def test_text_stays_inside(drawn, name):
    fig = drawn[name]
    fig.draw_without_rendering()
    ticks = [t for ax in fig.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    for text in [t for t in words(fig) if t not in ticks]:
        box = text.get_window_extent()
        assert box.x0 >= -2 and box.x1 <= fig.bbox.x1 + 2, text.get_text()
        assert box.y0 >= -2 and box.y1 <= fig.bbox.y1 + 2, text.get_text()


def test_nothing_is_shown_and_no_setting_changed():
    before = dict(mpl.rcParams)
    figures.figure_panels(*two_rows(), [])
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_a_callers_style_changes_nothing(tmp_path):
    plain = figures.save(figures.figure_subset_size(curves(), published()), "a", tmp_path)
    with mpl.rc_context({"font.size": 20, "savefig.dpi": 50, "axes.facecolor": "red"}):
        styled = figures.save(figures.figure_subset_size(curves(), published()), "b", tmp_path)
    assert plain[1].read_bytes() == styled[1].read_bytes()


def test_equal_figures_give_equal_bytes(tmp_path):
    first = figures.save(
        figures.figure_panels(*two_rows(), [example()]), "figure_3", tmp_path / "a"
    )
    again = figures.save(
        figures.figure_panels(*two_rows(), [example()]), "figure_3", tmp_path / "b"
    )
    assert [p.name for p in first] == ["figure_3.pdf", "figure_3.png", "figure_3.txt"]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [p.name for p in first]


def test_the_pdf_embeds_its_fonts_and_no_date(tmp_path):
    fig = figures.figure_subset_size(curves(), published())
    pdf = figures.save(fig, "f", tmp_path)[0].read_bytes()
    assert b"/FontFile2" in pdf and b"/Subtype /Type3" not in pdf
    assert b"CreationDate" not in pdf and b"/Producer" not in pdf


@pytest.mark.parametrize("name", ["", "a/b", "figure.png"])
def test_a_figure_name_is_a_plain_name(tmp_path, name):
    with pytest.raises(ValueError, match="is not a plain name"):
        figures.save(mpl.figure.Figure(), name, tmp_path)


def test_a_strip_has_the_first_middle_and_last_frame():
    clip = np.stack([video(1, value=v)[0] for v in range(9)])
    image = strip(clip, 3)
    assert image.shape == (8, 3 * 10 + 2 * 1, 3)
    assert [image[0, left, 0] for left in (0, 11, 22)] == [0, 4, 8]
    assert image[0, 10, 0] == 255
    assert strip(clip, 1)[0, 0, 0] == 4
    assert strip(clip[:2], 3).shape[1] == 21


def test_a_strip_of_no_video_is_refused():
    with pytest.raises(ValueError, match=r"video is float64 \(2, 2\); expected uint8"):
        strip(np.zeros((2, 2)), 3)
    with pytest.raises(ValueError, match="count is 0"):
        figures.plot_frames(video(), count=0)
    with pytest.raises(ValueError, match="contact sheet of no tasks"):
        figures.contact_sheet([], of=1)


def test_a_reference_of_another_size_fits_the_contact_sheet():
    other = examples.Example("t", "t", "p", "", video(5, 16, 20), [video()], [0])
    ax = figures.contact_sheet([other], of=1).axes[0]
    assert ax.images[0].get_array().shape[0] == 8
    reference, *generated = ax.patches
    assert reference.get_edgecolor() == to_rgba(VERMILLION) and len(generated) == 1
    assert generated[0].get_edgecolor() != reference.get_edgecolor()


def test_a_spread_is_drawn_about_the_points_that_have_one():
    spread = points().assign(x_spread=[0.5, 1.0, np.nan, 2.0, 0.0])
    ax = figures.plot_points(spread, statistics=statistics())
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    widths = [segment[1][0] - segment[0][0] for segment in lines.get_segments() if len(segment)]
    assert np.nanmax(widths) == 4.0 and np.isfinite(widths).sum() == 4
    middles = [np.mean(segment[:, 0]) for segment in lines.get_segments() if len(segment)]
    assert [m for m in middles if np.isfinite(m)] == [0, 1, 3, 4]
