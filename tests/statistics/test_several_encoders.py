"""The same samples under several encoders: one table of what holds, and its figure."""

import types

import numpy as np
import pandas as pd
import pytest
from kit.truths import summary

from squbed_utils import figures
from squbed_utils.figures.style import BLUE, GREY, ORANGE
from squbed_utils.statistics import pairs, tables, truth


def archive(prompt="a red star", videos=2):
    latents = pd.DataFrame({"task": ["t0"], "latent": [0], "prompt": [prompt]})
    return types.SimpleNamespace(latents=lambda: latents, units={("t0", 0): videos}, folder="a")


@pytest.fixture
def measured(monkeypatch):
    """Two encoders' summaries, of which the second tells nothing."""
    own = summary().assign(row="this run", unit="nats", lpips_form="", identical="")
    own = own.assign(clip_form="open_clip")
    own["total"] = own.aleatoric + own.epistemic
    own["clip_reference"] = own.ssim - 0.2 * own.aleatoric
    own["clip_prompt"] = own.clip_reference
    noise = {part: np.random.default_rng(i).normal(size=60) for i, part in enumerate(pairs.TERMS)}
    archives = {"own": archive(), "blind": archive()}
    found = {id(a): t for a, t in zip(archives.values(), (own, own.assign(**noise)), strict=True)}
    monkeypatch.setattr(tables, "summarize_run", lambda a, estimator: found[id(a)])
    return archives


def test_every_finding_under_each(measured):
    table = pairs.compare_encoders(measured)
    should = table[table.panel == pairs.SHOULD].set_index(["encoders", "label"])
    verdicts = should.verdict.unstack("encoders")
    assert len(verdicts) == 6 and (verdicts.blind != "").all()
    assert verdicts.own[f"{truth.ALEATORIC}"] == "holds"
    assert verdicts.blind[f"{truth.ALEATORIC}"] == "does not hold"
    assert (should.low <= should.value).all() and (should.value <= should.high).all()
    within = table[table.panel == truth.SEPARATION]
    assert within.label.tolist()[:6] == ["0 open", "1 open", "2 open", "3 open", "pooled", "all"]
    between = table[table.panel == pairs.BETWEEN]
    assert between.label.tolist() == list(pairs.TERMS) and (between.value.abs() < 0.5).all()
    assert set(between.encoders) == {"own / blind"}


def test_archives_of_other_samples_are_refused(measured):
    with pytest.raises(ValueError, match="1 archive; expected two or more, of the same samples"):
        pairs.compare_encoders({"own": measured["own"]})
    for other in (archive("a blue star"), archive(videos=3)):
        with pytest.raises(ValueError, match="a and a hold other .*squbed score a --profile"):
            pairs.compare_encoders({"own": measured["own"], "other": other})


def test_the_figure_shows_the_table(measured):
    table = pairs.compare_encoders(measured)
    figure = figures.figure_encoders(table)
    first, *others = figure.axes
    titles = [ax.get_title(loc="left").replace("\n", " ") for ax in figure.axes]
    panels = zip("abcd", table.panel.unique(), strict=True)
    assert titles == [f"({letter}) {panel}" for letter, panel in panels]
    drawn = {c.get_label(): c.lines[0] for c in first.containers}
    assert {name: line.get_color() for name, line in drawn.items()} == {
        "own": BLUE,
        "blind": ORANGE,
    }
    shown = table[(table.panel == pairs.SHOULD) & (table.encoders == "own")]
    np.testing.assert_allclose(drawn["own"].get_xdata(orig=False), shown.value)
    assert others[-1].containers[0].lines[0].get_color() == GREY
