"""Vagueness before any video: ranked, resumable, and never paid for without consent."""

import json
from collections import Counter
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from kit import tiny

from squbed_utils import cli, figures, profiles
from squbed_utils.commands.triage import vagueness
from squbed_utils.models import encoders, latent_prompts
from squbed_utils.statistics.vagueness import describe
from squbed_utils.world import scenes
from training import tasks

PROMPTS = ["a cat, napping", "a dog", "two\tfish"]
ATTRIBUTE_OF = {value: name for name, values in scenes.ATTRIBUTES.items() for value in values}


@pytest.fixture(scope="module")
def done(tiny_profile, tmp_path_factory):
    """Return the folder of a profile without a video model, its prompts, and what they gave."""
    folder = tmp_path_factory.mktemp("vagueness")
    (folder / "p.txt").write_text("\n".join(PROMPTS))
    gone = {"path": str(folder / "gone")}
    absent = {role: gone for role in ("video_encoder", "clip", "lpips")}
    tiny.write_profile(tiny_profile.parent, folder / "p.yaml", captioner=None, **absent)
    vagueness(folder / "p.txt", profile=folder / "p.yaml", n=4, output=folder / "out")
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Tasks and latent prompts drawn from now on."""
    draws, draw = [], latent_prompts.draw

    def record(task, latent, *args, **options):
        draws.append((task.prompt, latent))
        return draw(task, latent, *args, **options)

    monkeypatch.setattr(latent_prompts, "draw", record)
    return draws


def again(folder, prompts="p.txt"):
    return vagueness(folder / prompts, profile=folder / "p.yaml", n=4, output=folder / "out")


def test_a_finished_call_draws_nothing_and_gives_the_same(done, drawn):
    table = again(done)
    assert not drawn and set(table.prompt) == {" ".join(p.split()) for p in PROMPTS}
    stored = pd.read_csv(done / "out" / "data" / "vagueness.csv")
    assert list(stored.task) == list(table.task) and table.aleatoric.is_monotonic_decreasing
    assert sorted(table["rank"]) == [1, 2, 3] and table["rank"].iloc[0] == 3
    latents = pd.read_csv(done / "out" / "data" / "vagueness_latents.csv")
    assert latents.groupby("task").size().tolist() == [4] * 3
    assert (done / "out" / "vagueness.png").is_file()


def test_a_changed_file_costs_only_what_is_new(done, drawn):
    (done / "q.txt").write_text("a dog\na bird\n")
    table = again(done, "q.txt")
    assert drawn == [("a bird", latent) for latent in range(4)]
    assert set(table.prompt) == {"a dog", "a bird"}


def test_latent_prompts_are_those_of_a_collection(done, tiny_profile, tmp_path):
    from squbed_utils.collection.collect import collect

    (tmp_path / "one.txt").write_text("a dog\n")
    archive = collect(tiny_profile, prompts=tmp_path / "one.txt", output=tmp_path / "out")
    kept = json.loads((done / "out" / "prompts" / f"{archive.tasks().task[0]}.json").read_text())
    assert [d["prompt"] for d in kept["draws"][: tiny.N]] == list(archive.latents().prompt)


def test_a_damaged_file_is_named(done, tmp_path):
    path = next((done / "out" / "prompts").glob("a-cat-*.json"))
    text = path.read_text()
    path.write_text(text[:40])
    with pytest.raises(ValueError, match=f"{path.name} is damaged; delete it"):
        again(done)
    path.write_text(text)


def test_another_profile_is_refused(done):
    with pytest.raises(ValueError, match="made by another profile: n is 4 there and 5 here"):
        vagueness(done / "p.txt", profile=done / "p.yaml", n=5, output=done / "out")


def test_too_few_accepted_draws_have_no_rank_and_say_so(done, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latent_prompts, "MAX_DRAWS", 1)
    draw = latent_prompts.draw

    def refuse(task, latent, refine, **options):
        if task.prompt == "a dog" and latent > 1:
            options["compatible"] = lambda *_: False
        return draw(task, latent, refine, **options)

    monkeypatch.setattr(latent_prompts, "draw", refuse)
    command = ["vagueness", str(done / "p.txt"), "--profile", str(done / "p.yaml")]
    assert cli.main([*command, "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "(no rank: accepted draws: 2; at least 3 are needed (task a-dog-" in out
    assert "none of 1 draws is compatible with 'a dog'" in out and "nan" not in out.lower()
    assert out.splitlines()[-2] == "(draws of latent prompts refused: 1 of 9, 11%)"
    table = pd.read_csv(tmp_path / "out" / "data" / "vagueness.csv")
    assert table["rank"].isna().tolist() == [False, False, True] and table.prompt[2] == "a dog"
    assert table.accepted.tolist()[2] == 2


def test_prompts_with_failures_are_asked_again_if_wanted(done, tmp_path, drawn, monkeypatch):
    options = {"profile": done / "p.yaml", "n": 4, "output": tmp_path / "out"}
    refuse = lambda *_: False  # noqa: E731
    monkeypatch.setattr(latent_prompts, "MAX_DRAWS", 1)
    once = latent_prompts.draw
    fail = lambda task, latent, *args, compatible, **kept: once(  # noqa: E731
        task,
        latent,
        *args,
        compatible=refuse if (task.prompt, latent) == ("a dog", 3) else compatible,
        **kept,
    )
    monkeypatch.setattr(latent_prompts, "draw", fail)
    table = vagueness(done / "p.txt", **options).set_index("prompt")
    assert (table.accepted["a dog"], table.refused["a dog"], table.refused.sum()) == (3, 1, 1)
    monkeypatch.setattr(latent_prompts, "draw", once)
    drawn.clear()
    assert vagueness(done / "p.txt", **options).accepted.sum() == 11 and not drawn
    assert vagueness(done / "p.txt", **options, retry_failed=True).accepted.sum() == 12
    assert drawn == [("a dog", latent) for latent in range(4)]


def test_nothing_is_paid_without_consent(done, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    paid = {"kind": "openai", "model": "m", "check": "none", "price": 1.0}
    path = tiny.write_profile(done.parent, tmp_path / "paid.yaml", refiner=paid)
    profile = profiles.changed(profiles.load(done / "p.yaml"), refiner=paid)
    questions = []
    with pytest.raises(RuntimeError, match="about 9 calls of m: .* until this is confirmed"):
        vagueness(
            done / "p.txt",
            profile=profile,
            output=tmp_path / "out",
            confirm=lambda question: questions.append(question),
        )
    assert len(questions) == 1 and "videos" not in questions[0] and path.is_file()


def test_a_figure_shows_the_vaguest_and_counts_the_rest():
    count = 33
    table = pd.DataFrame(
        {
            "prompt": [f"prompt $x_{i}" for i in range(count)],
            "rank": pd.array([*range(count, 1, -1), None], dtype="Int64"),
            "aleatoric": [*np.linspace(0, -90, count - 1), np.nan],
            "aleatoric_low": np.nan,
            "aleatoric_high": np.nan,
            "question": ["red or blue?", *[""] * (count - 1)],
            "removes": [0.5, *[np.nan] * (count - 1)],
        }
    )
    fig = figures.figure_vagueness(table)
    said = fig.get_suptitle()
    assert said.startswith("The 30 vaguest of 32 prompts, 1 more without a rank")
    assert [t.get_text() for t in fig.axes[0].texts] == ["red or blue? (50%)"]
    assert len(fig.axes[0].get_yticklabels()) == 30
    ends = "from the vaguest, “prompt $x_0”, to the least vague, “prompt $x_31”."
    assert fig.get_label().endswith(ends)


def test_a_figure_of_rungs_shows_each_prompt_and_measure():
    rungs = ["an object", "an action"]
    table = pd.DataFrame(
        {
            "category": ["an object"] * 3 + ["an action"] * 3,
            "prompt": [f"prompt {i}" for i in range(6)],
            "aleatoric": [-1.0, -3, -2, -5, -4, np.nan],
            "rank": pd.array([5, 3, 4, 1, 2, None], dtype="Int64"),
        }
    )
    ends = {"tau": [-0.5, 0.2], "low": [-0.7, -0.2], "high": [-0.1, 0.6]}
    taus = pd.DataFrame({"measure": ["S-QUBED", "word count"]} | ends)
    fig = figures.figure_rungs(table, taus, rungs)
    left, right = fig.axes
    shown = [line.get_xdata().tolist() for line in left.lines if line.get_marker() == "o"]
    assert shown == [[-1, -3, -2], [-5, -4]]
    medians = [line.get_xdata()[0] for line in left.lines if line.get_marker() != "o"]
    assert medians == [-2, -4.5]
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels[1] == "an action (2), such as\nprompt 3"
    assert [text.get_text() for text in right.get_yticklabels()] == ["S-QUBED", "word count"]
    assert right.get_xlim()[1] == pytest.approx(0.65)
    assert fig.get_suptitle().endswith("; 1 of 6 prompts have no rank")


def asked(prompt, words):
    """Say whether an aspect is the attribute whose fixing lowers the true entropy most."""
    size = {name: len(scenes.ATTRIBUTES[name]) for name in scenes.missing(scenes.parse(prompt))}
    ((attribute, _),) = Counter(map(ATTRIBUTE_OF.get, words)).most_common(1)
    return size.get(attribute, 0) == max(size.values())


def test_it_asks_for_what_lowers_the_true_entropy_most():
    """Of one prompt for each choice of open attributes, with completions of the world's grammar."""
    encoder = encoders.load_text_encoder(profiles.load("world").text_encoder, "cpu")
    one = lru_cache(None)(lambda text: encoder([text])[0])
    rng = np.random.default_rng(0)
    right = {}
    for row in tasks.task_table():
        scene = scenes.parse(row["prompt"])
        left_out = tuple(scenes.missing(scene))
        if len(left_out) >= 2 and left_out not in right:
            drawn = [scenes.complete(scene, rng) for _ in range(6)]
            latents = [scenes.say(each, int(rng.integers(6))) for each in drawn]
            told = describe(row["prompt"], latents, lambda texts: np.stack([*map(one, texts)]))
            right[left_out] = asked(row["prompt"], told["aspects"][0]["words"])
    assert len(right) == 8 and np.mean([*right.values()]) >= 0.8, right


@pytest.mark.slow
def test_in_the_world_it_asks_the_right_question_of_80_percent(tmp_path):
    rows = [row for row in tasks.task_table() if row["left_out"] >= 2]
    pd.DataFrame(rows)[["task", "prompt"]].to_csv(tmp_path / "p.csv", index=False)
    world = profiles.changed(profiles.load("world"), seed=1)
    table = vagueness(tmp_path / "p.csv", profile=world, output=tmp_path / "out")
    aspects = table.differ.str.split("; ").str[0].str.split(", ")
    right = [asked(*pair) for pair in zip(table.prompt, aspects, strict=True)]
    assert len(right) == 90 and np.mean(right) >= 0.8
