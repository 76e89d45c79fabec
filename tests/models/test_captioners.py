"""Captioners: the recogniser names what is drawn; models of transformers load and run."""

import json

import numpy as np
import pytest
from kit import tiny_checkpoints
from safetensors.torch import load_file, save_file

from squbed_utils import roles
from squbed_utils.files import ROOT
from squbed_utils.models import captioners
from squbed_utils.world import scenes
from squbed_utils.world.render import render

RECOGNISER = roles.Recogniser(str(ROOT / "data" / "world" / "recogniser"), "world")
SCENES = [
    scenes.complete({"shape": s}, np.random.default_rng(i))
    for i, s in enumerate(("heart", "ring", "star"))
]


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    return [render(scene, rng) for scene in SCENES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captioners")
    return {
        kind: tiny_checkpoints.captioner(kind, folder / kind)
        for kind in tiny_checkpoints.CAPTIONERS
    }


def load(folder, **settings):
    return captioners.load(roles.Captioner(str(folder), **settings), "cpu", 2)


class TestRecogniser:
    @pytest.mark.parametrize("batch_size", [1, 2])
    def test_says_what_is_drawn(self, drawn, batch_size):
        caption = captioners.load(RECOGNISER, "cpu", batch_size)
        assert caption(drawn) == [scenes.say(scene) for scene in SCENES]

    def test_a_video_of_another_size_and_length(self, drawn):
        larger = [v.repeat(2, axis=0).repeat(3, axis=1).repeat(3, axis=2) for v in drawn]
        assert captioners.load(RECOGNISER, "cpu", 3)(larger) == [scenes.say(s) for s in SCENES]

    def test_a_model_of_other_labels(self, tmp_path):
        settings = {"model_type": "resnet", "id2label": {"0": "cat", "1": "dog"}}
        (tmp_path / "config.json").write_text(json.dumps(settings))
        with pytest.raises(ValueError, match="does not name the attributes of the shapes world"):
            captioners.load(roles.Recogniser(str(tmp_path), "world"), "cpu", 1)


@pytest.mark.parametrize("kind", tiny_checkpoints.CAPTIONERS)
class TestTransformers:
    def test_a_caption_depends_on_the_video_alone(self, folders, drawn, kind):
        caption = load(folders[kind], max_new_tokens=6, frames=3)
        found = caption([*drawn, drawn[0]])
        assert found[0] == found[3] == caption(drawn[:1])[0]
        assert len(set(found)) > 1
        assert any(found)  # one without training may end a caption at once
        assert all(len(text.split()) <= 6 for text in found)

    def test_half_precision(self, folders, drawn, kind):
        assert load(folders[kind], dtype="bfloat16", max_new_tokens=6)(drawn[:1])[0]

    def test_missing_weights_are_refused(self, folders, tmp_path, kind):
        for file in folders[kind].iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        weights = load_file(tmp_path / "model.safetensors")
        del weights[sorted(weights)[0]]
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match="the captioner in .* lacks 1 of its weights, such as"):
            load(tmp_path)


def test_the_instruction_and_the_number_of_frames_reach_a_chat_model(folders, drawn):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folders["llava"])
    settings = roles.Captioner(str(folders["llava"]), frames=2, instruction="a red circle")
    inputs, before = captioners._inputs(processor, settings, drawn[0])
    assert inputs["pixel_values"].shape == (2, 3, 32, 32)
    text = processor.batch_decode(inputs["input_ids"])[0]
    assert text.endswith("a red circle assistant :") and before == inputs["input_ids"].shape[1]


def test_a_chat_model_without_its_template(folders, tmp_path):
    for file in folders["llava"].iterdir():
        if file.suffix != ".jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match="no chat template, without which 'llava' cannot be asked"):
        load(tmp_path)


def test_a_model_that_makes_no_text(tiny_profile):
    with pytest.raises(ValueError, match="of model_type 'videomae', which makes no text of p"):
        load(tiny_profile.parent / "video_encoder")


def test_no_such_folder():
    with pytest.raises(FileNotFoundError, match="captioner is expected in .*gone, which has no"):
        load("gone")
