import dataclasses
import gc

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

from squbed_utils import profiles, roles
from squbed_utils.models import diffusion, encoders
from squbed_utils.models import load as models
from squbed_utils.models.encoders import unit
from squbed_utils.world.render import render
from squbed_utils.world.scenes import complete


@pytest.fixture(scope="module")
def profile(tiny_profile):
    return profiles.load(tiny_profile)


@pytest.fixture(scope="module")
def loaded(profile):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield models.load(profile)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def videos():
    rng = np.random.default_rng(0)
    return [render(complete({}, rng), rng) for _ in range(5)]


@pytest.fixture(scope="module")
def generate(loaded):
    return lambda prompts, seeds: [video.frames for video in loaded.generate(prompts, seeds)]


def test_generate(generate):
    first, second = generate(["a red circle", "a blue square"], [1, 2])
    assert first.shape == (9, 32, 32, 3) and first.dtype == np.uint8
    assert not (first == second).all()


def test_a_video_does_not_depend_on_its_partners(generate):
    together = generate(["a star", "a red circle", "a blue square"], [1, 2, 3])
    assert (generate(["a blue square"], [3])[0] == together[2]).all()
    assert (generate(["a red circle"] * 2, [2, 2])[1] == together[1]).all()


def test_elsewhere_in_the_batch_it_is_the_same_but_for_rounding(generate):
    first, second = generate(["a star", "a red circle"], [1, 2])
    swapped = generate(["a red circle", "a star"], [2, 1])
    assert np.abs(swapped[0].astype(int) - second).max() <= 1
    assert np.abs(swapped[1].astype(int) - first).max() <= 1


def test_videos_differ_with_the_seed_and_with_the_prompt(generate):
    one, two = generate(["a star", "a star"], [1, 2])
    other = generate(["a red circle"], [1])[0]
    assert not (one == two).all() and not (one == other).all()


def test_another_transformer_takes_the_place_of_the_pipelines_own(profile, tmp_path):
    own = diffusion.load(profile, "cpu")
    pipeline = profile.video_model.path
    other = WanTransformer3DModel.from_pretrained(pipeline, subfolder="transformer")
    torch.nn.init.normal_(other.proj_out.weight)
    other.half().save_pretrained(tmp_path / "other")
    drawn = {}
    for name, folder in (("same", f"{pipeline}/transformer"), ("other", str(tmp_path / "other"))):
        model = dataclasses.replace(profile.video_model, transformer=folder)
        drawn[name] = diffusion.load(dataclasses.replace(profile, video_model=model), "cpu")
    first, same, third = (f(["a star"], [1])[0].frames for f in (own, *drawn.values()))
    assert (first == same).all() and (first != third).any()


def test_generating_leaves_the_global_seed_alone(loaded):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loaded.generate(["a red circle"], [1])
    loaded.refine("a red circle", 1)
    assert (torch.rand(3) == expected).all()


def test_refine_is_seeded(loaded):
    assert loaded.refine("a red circle", 1) == loaded.refine("a red circle", 1)
    assert len({loaded.refine("a red circle", seed) for seed in range(5)}) == 5


def test_refine_returns_the_continuation_only(loaded):
    assert "=>" not in loaded.refine("a red circle", 3).split()[:1]
    assert "</s>" not in loaded.refine("a red circle", 3)


def units(rows):
    return np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-6)


def test_embeddings_are_unit_float32_and_independent_of_partners(loaded, videos):
    frames = [frame for v in videos for frame in v]
    for embed, items in (
        (loaded.embed_videos, videos),
        (loaded.clip_images, frames),
        (loaded.embed_text, ["a circle", "a square", "a star"]),
        (loaded.clip_texts, ["a circle", "a square", "a star"]),
    ):
        rows = embed(items)
        assert rows.dtype == np.float32 and len(rows) == len(items) and units(rows)
        np.testing.assert_allclose(embed(items[::-1]), rows[::-1], atol=1e-6)
        np.testing.assert_array_equal(embed(items[:1]), rows[:1])


def test_lpips(loaded, videos):
    a, b = (list(v) for v in videos[:2])
    distances = loaded.lpips(a + b, b + b)
    assert (distances[:9] > 0).all() and (distances[9:] == 0).all()
    assert loaded.lpips(a[:1], b[:1]) == distances[:1]
    assert loaded.lpips(a[3:4], b[3:4]) == pytest.approx(distances[3:4], rel=1e-5)


def test_lpips_needs_31_pixels(loaded):
    small = [np.zeros((30, 40, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"size \(30, 40\); LPIPS needs 31 x 31"):
        loaded.lpips(small, small)


def test_video_encoder_takes_other_lengths_and_sizes(loaded):
    long = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    assert loaded.embed_videos([long, long[:4]]).shape == (2, 128)


def modules():
    return {id(o): o for o in gc.get_objects() if issubclass(type(o), torch.nn.Module)}


def test_everything_is_in_evaluation_mode(profile):
    before = modules()
    made = models.load(profile)
    new = [module for key, module in modules().items() if key not in before]
    weighted = [module for module in new if any(True for _ in module.parameters())]
    assert made and len(weighted) > 100
    assert [type(module).__name__ for module in weighted if module.training] == []


def test_a_missing_folder_is_one_message(profile, tmp_path):
    gone = roles.Clip(str(tmp_path / "gone"))
    expected = "the clip is expected in .*gone, which has no open_clip_config.json"
    with pytest.raises(FileNotFoundError, match=expected):
        models.load(dataclasses.replace(profile, clip=gone))


def test_guidance_may_be_left_to_the_pipeline(profile):
    plain = dataclasses.replace(profile.video_model, guidance=None)
    made = models.load(dataclasses.replace(profile, video_model=plain)).generate(["a star"], [0])
    assert made[0].frames.shape == (9, 32, 32, 3) and made[0].fps == 8


def test_batches_are_padded_to_one_size():
    sizes = []

    def double(batch):
        sizes.append(len(batch))
        return [2 * x for x in batch]

    assert encoders.in_batches(double, [1, 2, 3, 4, 5], 2) == [2, 4, 6, 8, 10]
    assert sizes == [2, 2, 2]


def test_uint8_by_hand():
    assert diffusion.to_uint8(np.array([-0.1, 0, 0.5, 1, 1.2])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_video_that_is_not_finite_is_an_error(bad):
    with pytest.raises(ValueError, match="values that are not finite"):
        diffusion.to_uint8(np.array([0.5, bad]))


def test_an_embedding_without_direction_is_an_error():
    for bad in (np.zeros((1, 3)), np.full((1, 3), np.nan)):
        with pytest.raises(ValueError, match="an embedding is zero or not finite"):
            unit(bad)
