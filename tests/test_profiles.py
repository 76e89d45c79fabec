import dataclasses
import json
import shutil

import pytest
import yaml

from squbed_utils import files, profiles, roles
from squbed_utils.archive.layout import ROLES
from squbed_utils.collection.collect import collect
from squbed_utils.models import checkpoints
from squbed_utils.profiles import load

NAMES = sorted(path.stem for path in profiles.FOLDER.glob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    def write(name="mine", **settings):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"extends": "world", "name": name} | settings))
        return path

    return write


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_is_valid_and_named_as_its_file(name):
    assert load(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_is_documented(name):
    documented = (files.ROOT / "docs" / "profiles.md").read_text()
    assert f"| `{name}`" in documented or f", `{name}`" in documented


def test_sizes_of_the_embedded_profiles():
    embedded = [load(name) for name in NAMES if name.startswith("world")]
    sizes = {p.name: (p.n, p.m, p.dataset.per_cell) for p in embedded}
    assert sizes["world"] == (6, 6, None)
    assert sizes["world-quick"] == (3, 3, 1)
    assert sizes["world-10x10"] == (10, 10, None)


def test_profiles_of_real_models_have_the_papers_sample_sizes_but_for_two():
    found = {name: load(name) for name in NAMES if not name.startswith("world")}
    sizes = {name: (profile.n, profile.m) for name, profile in found.items()}
    assert len(sizes) == 16
    assert (sizes.pop("veo-3"), sizes.pop("real")) == ((3, 2), (6, 10))  # paid; drawn on a CPU
    assert set(sizes.values()) == {(10, 10)}


def test_tools_leavings_do_not_change_the_hash(tmp_path):
    (tmp_path / "weights").write_text("w")
    before = checkpoints.hash_of(tmp_path)
    for name in (".git", "__pycache__", ".cache"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    assert checkpoints.hash_of(tmp_path) == before


def test_extends_changes_only_what_is_given(write):
    world, mine = load("world"), load(write(video_model={"steps": 50}, n=4))
    assert mine.video_model == dataclasses.replace(world.video_model, steps=50)
    assert dataclasses.replace(mine, name="world", n=6, video_model=world.video_model) == world


def test_extends_a_file_beside(write):
    write("base", seed=5)
    assert load(write("top", extends="base.yaml")).seed == 5


def test_extends_in_a_circle(write):
    write("b", extends="a.yaml")
    circular = write("a", extends="b.yaml")
    with pytest.raises(ValueError, match="profile a extends itself: a -> b -> a"):
        load(circular)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sed": 1}, r"profile mine: unknown key 'sed' \(did you mean 'seed'\?\); known: name, "),
        ({"video_model": {"hight": 3}}, "video_model: unknown key 'hight'.*known: path, fps"),
        ({"n": 2}, "profile mine: n is 2; expected at least 3"),
        ({"m": 0}, "m is 0; expected at least 1"),
        (
            {"video_model": {"fps": float("inf")}},
            "video_model: fps is inf; expected a finite n",
        ),
        ({"n": "six"}, "n is 'six'; expected a valid integer"),
        ({"n": True}, "n is True; expected a valid integer"),
        ({"n": 6.0}, "n is 6.0; expected a valid integer"),
        ({"pca": "x"}, "pca is 'x'; expected a valid integer"),
        ({"video_model": {"fps": 0}}, "video_model: fps is 0; expected at least 0.1"),
        ({"video_model": {"guidance": -1}}, "guidance is -1; expected at least 0"),
        ({"video_model": "wan"}, "video_model is 'wan'; expected keys and values"),
        ({"dataset": {"kind": "panda"}}, "dataset: kind is 'panda' .*'panda70m'"),
        (
            {"lpips": {"kind": "vgg", "path": "x"}},
            "lpips: kind is 'vgg'; expected 'unlearned'",
        ),
        ({"device": "tpu"}, "device is 'tpu'; expected 'auto', 'cpu', 'cuda' or 'mps'"),
        ({"estimator": "x"}, "unknown estimator 'x'; known: .*squbed, squbed_mle"),
        ({"name": "../x"}, "name is '../x'; expected letters, digits"),
        ({"n": 2, "clip": {}}, "profile mine: n is 2; expected at least 3$"),
        ({"n": 2, "clip": {"path": 1}}, "n is 2; expected at least 3; also clip: path is 1; exp"),
        ({"video_model": {"options": {"a": [1, {"b": 1.0e999}]}}}, "options: a: 2: b is inf; exp"),
        ({"dataset": {"tasks": ["a", 2.5]}}, "dataset: tasks: 2 is 2.5; expected a valid"),
    ],
)
def test_mistakes(write, settings, message):
    with pytest.raises(ValueError, match=message):
        load(write(**settings))


def test_missing_keys(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\nn: 3\n")
    with pytest.raises(ValueError, match="profile a: missing dataset, m, video_model, .*extend"):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["", "- 1", "just words"])
def test_not_a_mapping(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match="a.yaml holds .* expected keys and values"):
        load(tmp_path / "a.yaml")


def test_not_utf8(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ValueError, match="a.yaml is not UTF-8 .*save it as UTF-8"):
        load(tmp_path / "a.yaml")


def test_a_kind_that_is_no_word(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: world\nname: a\nvideo_model:\n  kind: [veo]\n")
    with pytest.raises(
        ValueError, match=r"video_model: kind is .*did you mean 'veo'.*known: diffusers"
    ):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object/apply:os.system ['true']"])
def test_not_yaml(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match="a.yaml is not valid YAML"):
        load(tmp_path / "a.yaml")


def test_unknown_profile():
    with pytest.raises(FileNotFoundError, match=r"no profile 'wrld' \(did you mean 'world'\?\); k"):
        load("wrld")


def test_a_profile_of_ones_own_is_given_by_its_file(tmp_path, monkeypatch):
    (tmp_path / "own.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no profile 'own' \(did you mean 'own.yaml'\?\)"):
        load("own")


def test_options_reach_the_video_model(write):
    options = load(write(video_model={"options": {"flow_shift": 3}})).video_model.options
    assert options == {"max_sequence_length": 16, "flow_shift": 3}


def test_resolve_records_hashes_versions_and_the_device(tiny_profile):
    resolved = checkpoints.resolve(load(tiny_profile))
    assert set(resolved["checkpoints"]) == {"dataset", *ROLES}
    assert all(len(digest) == 64 for digest in resolved["checkpoints"].values())
    assert {"torch", "diffusers"} <= set(resolved["versions"])
    assert resolved["device"] == "cpu"
    assert yaml.safe_load(yaml.safe_dump(resolved)) == resolved


def test_the_captioner_may_be_absent_or_a_language_model(write):
    assert load(write(captioner=None)).captioner is None
    settings = {"kind": "transformers", "path": "some/model", "frames": 4}
    assert load(write(captioner=settings)).captioner == roles.Captioner("some/model", frames=4)


def test_an_unknown_captioner(write):
    with pytest.raises(ValueError, match=r"captioner: kind is 'worlds' \(did you mean 'world'\?\)"):
        load(write(captioner={"kind": "worlds", "path": "x"}))


def test_a_changed_weight_changes_the_hash(tiny_profile, tmp_path):
    profile = load(tiny_profile)
    folder = shutil.copytree(files.path_of(profile.clip.path), tmp_path / "clip")
    moved = dataclasses.replace(profile, clip=roles.Clip(str(folder)))
    before, same = (checkpoints.resolve(p)["checkpoints"] for p in (profile, moved))
    assert before == same
    weights = folder / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    after = checkpoints.resolve(moved)["checkpoints"]
    assert [role for role in after if after[role] != before[role]] == ["clip"]


@pytest.mark.parametrize("role", ROLES)
def test_a_missing_model_is_named(tiny_profile, tmp_path, role):
    profile = load(tiny_profile)
    gone = dataclasses.replace(getattr(profile, role), path=str(tmp_path / "gone"))
    expected = f"the {role} is expected in .*gone, which has no .*train-world"
    with pytest.raises(FileNotFoundError, match=expected):
        checkpoints.resolve(dataclasses.replace(profile, **{role: gone}))


def test_a_missing_task_table(tiny_profile):
    profile = load(tiny_profile)
    gone = dataclasses.replace(profile, dataset=roles.World("gone.csv"))
    with pytest.raises(FileNotFoundError, match="expects its tasks in .*gone.csv"):
        checkpoints.resolve(gone)


def test_a_device_that_is_not_there():
    import torch

    if torch.cuda.is_available():
        pytest.skip("CUDA is there")
    assert checkpoints.device_of("auto") == "cpu"
    with pytest.raises(ValueError, match="device 'cuda' is not available here; set device: auto"):
        checkpoints.device_of("cuda")


def test_differences_name_the_setting_and_skip_what_changes_no_sample():
    old = {"n": 6, "video_model": {"steps": 12}, "estimator": "squbed", "versions": {"torch": "1"}}
    new = {"n": 6, "video_model": {"steps": 50}, "estimator": "other", "versions": {"torch": "2"}}
    old |= {"refiner": {"model": "x", "key": "A", "timeout": 9.0, "retries": 5}}
    new |= {"refiner": {"model": "x", "key": "B", "timeout": 99.0, "retries": 9}}
    assert profiles.differences(old, new) == ["video_model.steps is 12 there and 50 here"]


FUNCTION = "def generate(prompts, seeds):\n    return []\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with a model and prompts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my model.py").write_text(FUNCTION)
    (tmp_path / '猫 "p".txt').write_text("a cat\na dog\n")
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "model_index.json").write_text('{"_class_name": "LTXPipeline"}')
    return tmp_path


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "my model.py:generate",
            roles.Python(call="{}/my model.py:generate", kind="python"),
        ),
        ("my model:generate", roles.Python(call="{}/my model.py:generate", kind="python")),
        ("pipeline", roles.Diffusers(path="{}/pipeline", fps=8)),
        ("./pipeline/", roles.Diffusers(path="{}/pipeline", fps=8)),
        ("org/model-1.3b", roles.Diffusers(path="org/model-1.3b", fps=8)),
    ],
)
def test_a_new_profile_is_ready_and_inherits_nothing_paid(here, model, expected):
    path = profiles.new("mine", model, '猫 "p".txt')
    profile = load(path)
    settings = {k: v.format(here) for k, v in vars(expected).items() if k in ("call", "path")}
    assert profile.video_model == dataclasses.replace(expected, **settings)
    assert profile.dataset == roles.Prompts(path=str(here / '猫 "p".txt'), kind="prompts")
    assert isinstance(profile.refiner, roles.Chat) and profile.name == "mine"
    assert not any(
        hasattr(role, "key") or hasattr(role, "price") for role in vars(profile).values()
    )
    assert 8 <= len(path.read_text().splitlines()) <= 15 and path.read_text().count("#") >= 4


@pytest.mark.parametrize("model", ["my model.py:generate", "pipeline"])
def test_a_new_profile_of_packages_names_no_model_of_the_hub(here, model):
    profile = load(profiles.new("mine", model, packages=True))
    roles_of = ("refiner", "text_encoder", "video_encoder", "clip", "lpips", "captioner")
    places = [getattr(profile, role).places().values() for role in roles_of]
    assert not [place.path for each in places for place in each if place.on_the_hub()]
    assert all(getattr(profile, role).path.startswith("package:") for role in roles_of)
    assert profile.dataset is None and (profile.n, profile.m) == (6, 4)
    assert getattr(profile.video_model, "family", None) is None


def test_a_new_profile_without_prompts_has_no_dataset(here):
    path = profiles.new("mine", "org/model")
    assert load(path).dataset is None
    with pytest.raises(ValueError, match="profile mine has no dataset; add one, or give --prompts"):
        collect(path, output=here / "made")
    assert not (here / "made").exists()
    assert load(profiles.new("other", "org/model", "vbench")).dataset.path == "vbench"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("../x", "org/model"), "x.yaml is no name of letters, digits, dots and dashes"),
        (("there", "org/model"), "there.yaml exists; choose another name"),
        (("mine", "my model.py"), "my model.py is no video model; expected FILE.py:FUNCTION, or"),
        (("mine", "."), ". is no video model; .*its folder, which holds model_index.json. For"),
        (("mine", "gone.py:generate"), "no file .*gone.py; check the path"),
        (("mine", "org/model", "gone.txt"), "no file .*gone.txt; check the path"),
    ],
)
def test_what_no_new_profile_is_made_of(here, arguments, message):
    (here / "there.yaml").write_text("mine")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        profiles.new(*arguments)
    assert not (here / "mine.yaml").exists() and (here / "there.yaml").read_text() == "mine"


@pytest.mark.parametrize("call", ["mine.py", "mine.py:", ":generate", "mine.py:a b", "mine.py:1"])
def test_a_call_that_names_no_function(write, call):
    message = "video_model: call is .*; expected a file and a function in it, such as my_model.py:g"
    with pytest.raises(ValueError, match=message):
        load(write(video_model={"kind": "python", "call": call}))


def test_a_family_needs_sizes_and_no_family_needs_none(write):
    pipeline = {"kind": "diffusers", "path": "org/model", "fps": 8}
    base = {"extends": "base/free.yaml"}
    assert load(write(**base, video_model=pipeline)).video_model.frames is None
    message = "video_model: missing height, width, frames, steps; add it or extend a profile"
    with pytest.raises(ValueError, match=message):
        load(write(**base, video_model=pipeline | {"family": "wan"}))


def test_an_archive_from_before_a_setting_was_is_of_the_same_profile():
    new = json.loads(json.dumps(load("world"), default=vars))
    old = json.loads(json.dumps(new))
    for name in profiles.ADDED:
        role, setting = name.split(".")
        del old[role][setting]
    assert profiles.differences(old, new) == []
    old["clip"]["kind"] = "other"
    assert profiles.differences(old, new) == ["clip.kind is other there and open_clip here"]
