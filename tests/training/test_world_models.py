"""The shipped checkpoints: what they claim is measured again, and they can be trained anew."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoTokenizer

from squbed_utils.files import ROOT
from squbed_utils.world.render import render
from squbed_utils.world.scenes import ATTRIBUTES, complete, recognise
from training import quality, train, video_model
from training.card import write_card
from training.draw import any_scene, caption, partial
from training.tasks import deal, task_caption

WORLD = ROOT / "data/world"
SHIPPED = [name for name in train.TRANSFORMERS if train.Run(WORLD, WORLD).place(name).exists()]


@pytest.fixture(scope="module")
def pipeline():
    pipe = DiffusionPipeline.from_pretrained(WORLD / "video_model")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def recogniser():
    return AutoModelForImageClassification.from_pretrained(WORLD / "recogniser").eval()


@pytest.fixture(scope="module")
def card():
    return json.loads((WORLD / "quality.json").read_text())


def assert_as_claimed(measured: dict[str, float], claimed: dict[str, float], count: int) -> None:
    """Allow for four standard errors of a proportion, and one miss."""
    for attribute, share in measured.items():
        claim = claimed[attribute]
        slack = 4 * math.sqrt(claim * (1 - claim) / count) + 1 / count
        assert share >= claim - slack, attribute


def test_the_recogniser_is_right_on_fresh_renderings(recogniser, card):
    rng = np.random.default_rng(11)
    scenes = [any_scene(rng) for _ in range(540)]
    named = recognise(recogniser, np.stack([render(s, rng) for s in scenes]))
    assert_as_claimed(quality.agreement(scenes, named), card["recogniser"], 540)


def test_the_video_model_shows_what_a_full_prompt_asks_for(pipeline, recogniser, card):
    rng = np.random.default_rng(12)
    common = [shape for shape, clips in deal().items() if clips == 4096] * 6
    scenes = [complete({"shape": shape}, rng) for shape in common]
    videos = quality.generate(pipeline, [caption(s, rng) for s in scenes])
    measured = quality.agreement(scenes, recognise(recogniser, videos))
    assert_as_claimed(measured, card["generation"]["transformer"]["4096"], 36)


def test_every_word_has_a_row_of_its_own(pipeline):
    rows = pipeline.text_encoder.shared.weight
    ids = pipeline.tokenizer.convert_tokens_to_ids(list(ATTRIBUTES["shape"]))
    assert pipeline.tokenizer.unk_token_id not in ids
    assert torch.cdist(rows[ids], rows[ids]).fill_diagonal_(9).min() > 0.1


def test_the_vae_reconstructs(pipeline, card):
    assert quality.reconstruction(pipeline.vae, count=32) >= card["psnr_db"] - 1


def test_the_refiner_keeps_what_the_prompt_says(card):
    model = AutoModelForCausalLM.from_pretrained(WORLD / "refiner").eval()
    tokenizer = AutoTokenizer.from_pretrained(WORLD / "refiner")
    rng = np.random.default_rng(13)
    torch.manual_seed(13)
    prompts = [task_caption(partial(any_scene(rng), rng), rng) for _ in range(100)]
    kept = [quality.keeps(quality.draw_refinement(model, tokenizer, p), p) for p in prompts]
    claimed = {"compatible": card["refiner"]["compatible"]}
    assert_as_claimed({"compatible": sum(kept) / 100}, claimed, 100)


def test_the_encoders_find_a_scene_again(card):
    assert quality.retrieval(WORLD, count=256) == pytest.approx(card["retrieval"], abs=0.02)


def test_what_does_not_parse_is_not_kept():
    assert not quality.keeps("a red dragon", "a red circle")
    assert not quality.keeps("a red circle", "a red circle")
    full = "a small red circle moving left on a black background"
    assert quality.keeps(full, "a red circle")


def test_the_card_is_what_was_measured(tmp_path, card):
    write_card(tmp_path / "README.md", card, {n: p.steps for n, p in train.PARTS.items()})
    assert (tmp_path / "README.md").read_text() == (WORLD / "README.md").read_text()
    assert card["parameters"] == train.parameters(WORLD)
    assert sum(card["parameters"].values()) <= 60
    assert max(path.stat().st_size for path in WORLD.rglob("*")) < 10e6


@pytest.mark.parametrize("name", SHIPPED)
def test_what_each_subject_was_shown_is_shipped(name):
    with (WORLD / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    clips = {row["subject"]: int(row["clips"]) for row in rows}
    assert clips == video_model.coverage(name)
    for row in rows:
        assert int(row["distinct"]) <= int(row["clips"])
        assert (int(row["exposures"]) > 0) == (int(row["clips"]) > 0)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_every_checkpoint_can_be_trained_from_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "measure", lambda run: None)
    train.train_world(tmp_path / "out", tmp_path / "work", share=1e-4)
    run = train.Run(tmp_path / "work", tmp_path / "out")
    for name in train.PARTS:
        assert list(run.place(name).glob("*.safetensors")), name
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "out/video_model")
    pipe.set_progress_bar_config(disable=True)
    (video,) = quality.generate(pipe, ["a red circle"])
    assert video.shape == (9, 32, 32, 3)


def test_an_unknown_model_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="no model 'gan'; its models: text_encoder"):
        train.train_world(tmp_path, tmp_path, only="gan")


def test_agreement_counts_attributes():
    asked = [dict.fromkeys(ATTRIBUTES, "x"), dict.fromkeys(ATTRIBUTES, "y")]
    named = [dict.fromkeys(ATTRIBUTES, "x"), dict.fromkeys(ATTRIBUTES, "x")]
    assert set(quality.agreement(asked, named).values()) == {0.5}
