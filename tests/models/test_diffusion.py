"""Every family of pipelines, from a folder of tiny random weights as a user's would lie."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest
import torch
from kit import tiny_video

from squbed_utils import profiles, roles
from squbed_utils.archive.archive import Archive
from squbed_utils.collection import latent, workers
from squbed_utils.models import checkpoints as checkpoints_module
from squbed_utils.models import diffusion
from squbed_utils.tasks import shapes_world
from squbed_utils.video import Video, write

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""numpy warns of how a scheduler of diffusers hands it torch's numbers."""

PROMPTS = ["a red circle", "a blue square", "a star"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the settings of a tiny pipeline by family, built when first asked for."""
    made = {}

    def build(family, **changes):
        if family not in made:
            made[family] = tiny_video.make(family, tmp_path_factory.mktemp(family))
        return roles.Diffusers(**made[family] | changes)

    return build


@pytest.fixture(scope="module")
def world(tiny_profile):
    return profiles.load(tiny_profile)


@pytest.fixture
def load(world):
    def load(model, **changes):
        profile = dataclasses.replace(world, video_model=model, **changes)
        return diffusion.load(profile, "cpu")

    return load


@pytest.mark.parametrize(
    "family",
    [
        "ltx",
        "cosmos2",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("cosmos2.5", "cogvideox")),
        pytest.param("hunyuan1.5", marks=pytest.mark.slow),
    ],
)
def test_a_video_depends_on_its_prompt_and_seed_alone(built, load, family):
    generate = load(built(family))
    together = [made.frames for made in generate(PROMPTS, [1, 2, 3])]
    assert {frames.shape for frames in together} == {(9, 32, 32, 3)}
    assert not (together[0] == together[1]).all()
    (alone,) = generate(PROMPTS[2:], [3])
    assert alone.fps == 8 and (alone.frames == together[2]).all()
    other, partner = generate(["a red circle", "a star"], [1, 9])
    assert (other.frames == together[0]).all()
    assert not (partner.frames == together[1]).all()


def test_the_image_model_has_a_say(built, load, tmp_path):
    tiny_video.make("cosmos2", tmp_path)
    torch.manual_seed(1)
    tiny_video.cosmos2(tmp_path / "other")
    image = str(tmp_path / "other" / "image")
    first, second = (
        load(model)(PROMPTS[:1], [1])[0].frames
        for model in (built("cosmos2"), built("cosmos2", image_model=image))
    )
    assert not (first == second).all()


def test_the_frame_rate_reaches_the_pipeline(built, load):
    slow, fast = (load(built("ltx", fps=fps))(PROMPTS[:1], [1])[0] for fps in (8, 24))
    assert (slow.fps, fast.fps) == (8, 24)
    assert not (slow.frames == fast.frames).all()


def test_tiling_is_switched_on(built, load):
    plain, tiled = (
        load(built("ltx", height=64, width=64, vae_tiling=tiling)) for tiling in (False, True)
    )
    first, second = plain(PROMPTS[:1], [1])[0], tiled(PROMPTS[:1], [1])[0]
    assert first.frames.shape == second.frames.shape == (9, 64, 64, 3)


def test_the_weights_have_the_profiles_dtype(built, world, monkeypatch):
    seen = {}
    real = diffusion._prepare

    def spy(pipeline, model, device):
        seen.update(
            {
                name: part.dtype
                for name, part in pipeline.components.items()
                if isinstance(part, torch.nn.Module)
            }
        )
        return real(pipeline, model, device)

    monkeypatch.setattr(diffusion, "_prepare", spy)
    diffusion.load(dataclasses.replace(world, dtype="bfloat16"), "cpu")
    assert seen["transformer"] == torch.bfloat16 and seen["vae"] == torch.float32


def test_offloading_needs_an_accelerator(built, load):
    with pytest.raises(ValueError, match="offload needs an accelerator, .*set offload: false"):
        load(built("ltx", offload=True))


def test_another_pipeline_than_the_familys(built, load):
    ltx = built("ltx")
    with pytest.raises(ValueError, match="holds a LTXPipeline, but family wan .*set family: ltx"):
        load(dataclasses.replace(ltx, family="wan"))
    image = built("cosmos2").image_model
    message = "holds a Cosmos2TextToImagePipeline, but family cosmos2 needs a Cosmos2VideoToWorld"
    with pytest.raises(ValueError, match=message):
        load(built("cosmos2", path=image))


def test_a_pipeline_that_has_no_family_runs_with_its_calls_defaults(load, tmp_path):
    settings = tiny_video.animatediff(tmp_path) | {"steps": 2}
    generate = load(roles.Diffusers(**settings))
    together = [made.frames for made in generate(PROMPTS, [1, 2, 3])]
    assert {frames.shape for frames in together} == {(16, 32, 32, 3)}  # its call has 16
    assert not (together[0] == together[1]).all()
    (alone,) = generate(PROMPTS[2:], [3])
    assert alone.fps == 8 and (alone.frames == together[2]).all()
    given = roles.Diffusers(**settings | {"frames": 4, "height": 64, "steps": 1, "guidance": 1.0})
    assert load(given)(PROMPTS[:1], [1])[0].frames.shape == (4, 64, 32, 3)


def test_without_a_family_the_frame_rate_reaches_a_call_that_takes_one(built, load):
    model = built("ltx", fps=24)
    bare = dataclasses.replace(model, family=None)
    (first,), (second,) = (load(each)(PROMPTS[:1], [1]) for each in (model, bare))
    assert (first.frames == second.frames).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ('"Other"', "holds a Other, which diffusers .* does not have, .* kind: python or command"),
        ('["pipeline", "Mine"]', "which diffusers .* does not have, and no code .* is run"),
        ('"LTXVideoTransformer3DModel"', "which diffusers .* does not have"),
        ('"WanImageToVideoPipeline"', "which needs image; expected text to video"),
        ('"LTXLatentUpsamplePipeline"', "which takes no prompt; expected text to video"),
    ],
)
def test_a_pipeline_that_cannot_be_called_as_it_is(load, tmp_path, name, message):
    (tmp_path / "pipeline.py").write_text("raise SystemExit('run')")
    (tmp_path / "model_index.json").write_text(f'{{"_class_name": {name}}}')
    with pytest.raises(ValueError, match=message):
        load(roles.Diffusers(path=str(tmp_path), fps=8))


def test_a_size_that_the_call_does_not_take(load, tmp_path, monkeypatch):
    settings = tiny_video.animatediff(tmp_path) | {"frames": 4}
    monkeypatch.setitem(diffusion.ARGUMENTS, "frames", "video_length")
    message = "frames is 4, but AnimateDiffPipeline takes no video_length; take it out, or"
    with pytest.raises(ValueError, match=message):
        load(roles.Diffusers(**settings))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"_class_name": "Other"}'])
def test_a_damaged_or_unknown_pipeline(built, load, tmp_path, text):
    (tmp_path / "model_index.json").write_text(text)
    message = "is damaged|names no pipeline class|holds a Other, .*no family has"
    with pytest.raises(ValueError, match=message):
        load(built("ltx", path=str(tmp_path)))


@pytest.mark.parametrize("name", ["flow_shift", "height", "generator"])
def test_an_option_that_is_not_taken(built, load, name):
    message = f"options: '{name}' is not an option of LTXPipeline; it takes: negative_prompt, "
    with pytest.raises(ValueError, match=message):
        load(built("ltx", options={name: 3}))


def test_a_missing_image_model(built, load, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        load(built("cosmos2", image_model=str(tmp_path / "gone")))


def test_the_guardrail_needs_its_package(built, load):
    message = "guardrail of Cosmos needs the package cosmos_guardrail, .*pip install.*or, .*false"
    with pytest.raises(RuntimeError, match=message):
        load(built("cosmos2", guardrail=True))


class Checker(diffusion._LetPass):
    """Refuses squares by their prompt, and videos as it is told."""

    blind = False

    def check_text_safety(self, prompt):
        return "square" not in prompt

    def check_video_safety(self, frames):
        return None if self.blind else frames


@pytest.fixture
def checker(monkeypatch):
    module = types.ModuleType("cosmos_guardrail")
    module.CosmosSafetyChecker = type("CosmosSafetyChecker", (Checker,), {})
    monkeypatch.setitem(sys.modules, "cosmos_guardrail", module)
    return module.CosmosSafetyChecker


def test_a_refused_prompt_is_that_videos_failure(built, load, checker):
    generate = load(built("cosmos2", guardrail=True))
    good, refused, last = generate(PROMPTS, [1, 2, 3])
    assert isinstance(refused, ValueError) and "detected unsafe text" in str(refused)
    expected = load(built("cosmos2"))(PROMPTS, [1, 2, 3])
    assert (good.frames == expected[0].frames).all()
    assert (last.frames == expected[2].frames).all()


def test_a_refused_video_is_a_failure(built, load, checker, monkeypatch):
    monkeypatch.setattr(checker, "blind", True)
    (refused,) = load(built("cosmos2", guardrail=True))(PROMPTS[:1], [1])
    assert str(refused) == "the Cosmos guardrail refuses the generated video"


def test_a_refusal_is_a_row_of_the_archive(built, world, checker, tmp_path, monkeypatch):
    """As a run has it: the refiner's draw holds the refused word."""
    profile = dataclasses.replace(world, video_model=built("cosmos2", guardrail=True))
    archive, (task, *_) = Archive(tmp_path), shapes_world.read(profile.dataset).tasks
    write(archive.inside(task.reference), np.zeros((9, 32, 32, 3), np.uint8), 8)
    bench = workers.new_bench(profile, tmp_path)
    refining = dataclasses.replace(bench.models, refine=lambda prompt, seed: "a square")
    latent.make(dataclasses.replace(bench, models=refining), task, 0)
    rows = _read(archive.shard(task.id, 0))
    assert rows.status.tolist() == ["failed"] * profile.m
    assert rows.error.str.contains("Cosmos Guardrail detected unsafe text").all()
    assert rows.path.isna().all()


def _read(path):
    import pandas as pd

    return pd.read_parquet(path)


def test_a_video_that_is_not_finite_is_that_videos_failure():
    def draw(items):
        frames = np.zeros((len(items), 2, 4, 4, 3))
        frames[[prompt == "bad" for prompt, _ in items]] = np.nan
        return lambda i: Video(diffusion.to_uint8(frames[i]), 8)

    good, bad = diffusion._each(draw, [("good", 0), ("bad", 0)])
    assert good.fps == 8 and "values that are not finite" in str(bad)


def test_a_single_video_that_fails_is_not_drawn_again():
    drawn = []

    def draw(items):
        drawn.append(items)
        raise ValueError("refused")

    (refused,) = diffusion._each(draw, [("bad", 0)])
    assert str(refused) == "refused" and len(drawn) == 1


def test_what_is_recorded_of_two_pipelines(built, world):
    resolved = checkpoints_module.resolve(dataclasses.replace(world, video_model=built("cosmos2")))
    checkpoints = resolved["checkpoints"]
    assert len(checkpoints["image_model"]) == 64
    assert checkpoints["image_model"] != checkpoints["video_model"]
    assert json.loads(json.dumps(resolved)) == resolved
