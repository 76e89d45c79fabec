"""The shipped checkpoints: what they claim is measured again, and they can be trained anew."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoTokenizer

from squbed_utils.world.draw import any_scene, caption, partial
from squbed_utils.world.recognise import recognise
from squbed_utils.world.render import render
from squbed_utils.world.scenes import ATTRIBUTES, CATEGORIES, complete, coverage_of
from training.first import quality, train, video_model
from training.first.card import write_card
from training.first.language import UNKNOWN

WORLD = Path(__file__).parents[2] / "data/world"


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
    for attribute, share in claimed.items():
        slack = 4 * math.sqrt(share * (1 - share) / count) + 1 / count
        assert measured[attribute] >= share - slack, attribute


def test_the_recogniser_is_right_on_fresh_renderings(recogniser, card):
    rng = np.random.default_rng(11)
    scenes = [any_scene(rng) for _ in range(600)]
    named = recognise(recogniser, np.stack([render(s, rng) for s in scenes]))
    assert_as_claimed(quality.agreement(scenes, named), card["recogniser"], 600)


def test_the_video_model_shows_what_a_full_prompt_asks_for(pipeline, recogniser, card):
    rng = np.random.default_rng(12)
    common = [shapes[0] for shapes in CATEGORIES.values()] * 8
    scenes = [complete({"shape": shape}, rng) for shape in common]
    videos = quality.generate(pipeline, [caption(s, rng) for s in scenes])
    measured = quality.agreement(scenes, recognise(recogniser, videos))
    assert_as_claimed(measured, card["generation"]["common"], 40)


def test_one_subject_in_seven_is_called_by_an_unknown_word():
    rng = np.random.default_rng(0)
    scene = complete({"shape": "circle"}, rng)
    said = [
        text for text in (video_model.training_caption(scene, rng) for _ in range(4000)) if text
    ]
    unknown = [text for text in said if UNKNOWN in text.split()]
    named = [text for text in said if "circle" in text.split()]
    assert 0.11 < len(unknown) / (len(unknown) + len(named)) < 0.18


def test_the_shipped_model_reads_words_never_said_as_unknown(pipeline):
    words = pipeline.text_encoder.shared.weight
    ids = pipeline.tokenizer.convert_tokens_to_ids
    for shape in ATTRIBUTES["shape"]:
        same = torch.equal(words[ids(shape)], words[ids(UNKNOWN)])
        assert same == (coverage_of(shape) == "never")


def test_the_vae_reconstructs(pipeline, card):
    assert quality.reconstruction(pipeline, count=32) >= card["psnr_db"] - 1


def test_the_refiner_keeps_what_the_prompt_says(card):
    model = AutoModelForCausalLM.from_pretrained(WORLD / "refiner").eval()
    tokenizer = AutoTokenizer.from_pretrained(WORLD / "refiner")
    rng = np.random.default_rng(13)
    torch.manual_seed(13)
    prompts = [caption(partial(any_scene(rng), rng), rng) for _ in range(100)]
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
    write_card(tmp_path / "README.md", card, train.STEPS, train.CLIPS)
    assert (tmp_path / "README.md").read_text() == (WORLD / "README.md").read_text()
    assert card["parameters"] == train.parameters(WORLD)
    assert sum(card["parameters"].values()) <= 30


def test_every_checkpoint_can_be_trained_from_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(video_model, "SHARD", 64)
    monkeypatch.setattr(train, "measure", lambda folder, steps, clips: {})
    steps = dict.fromkeys(train.STEPS, 1)
    train.train_world(tmp_path / "out", tmp_path / "work", steps=steps, clips=64)
    for name in (*train.TRAINERS, "video_model"):
        assert list((tmp_path / "out" / name).rglob("*.safetensors")), name
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "out/video_model")
    pipe.set_progress_bar_config(disable=True)
    (video,) = quality.generate(pipe, ["a red circle"])
    assert video.shape == (9, 32, 32, 3)


def test_an_unknown_model_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="no model 'gan'; its models: sentence_encoder"):
        train.train_world(tmp_path, tmp_path, only="gan")


def test_agreement_counts_attributes():
    asked = [dict.fromkeys(ATTRIBUTES, "x"), dict.fromkeys(ATTRIBUTES, "y")]
    named = [dict.fromkeys(ATTRIBUTES, "x"), dict.fromkeys(ATTRIBUTES, "x")]
    assert set(quality.agreement(asked, named).values()) == {0.5}
