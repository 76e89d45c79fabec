"""What a video model does not take is refused when the profile is loaded, with what it does."""

import subprocess
import sys

import pytest
import yaml

from squbed_utils import profiles, roles, settings, video_models

NEEDED = ["{prompt}", "{seed}", "{output}"]
SIZES = {"height": 480, "width": 832, "frames": 81, "fps": 16, "steps": 50}


def diffusers(**changes):
    return roles.Diffusers(**{"path": "org/model", "family": "wan"} | SIZES | changes)


def command(**changes):
    return roles.Command(**{"kind": "command", "path": "code", "command": NEEDED} | SIZES | changes)


def veo(**changes):
    settings = {
        "kind": "veo",
        "model": "veo",
        "height": 720,
        "width": 1280,
        "seconds": 8,
        "fps": 24,
    }
    return roles.Veo(**settings | {"price": 0.4, "budget": 10} | changes)


@pytest.mark.parametrize("family", video_models.FAMILIES)
def test_what_every_family_takes_and_reads(family):
    needs = {"cosmos2": {"image_model": "org/image"}, "cosmos2.5": {"revision": "branch"}}
    places = diffusers(family=family, **needs.get(family, {})).places()
    assert places["path"][:2] == ("org/model", "model_index.json")
    assert places["path"].revision == ("branch" if family == "cosmos2.5" else None)
    assert ("image_model" in places) == (family == "cosmos2")


def test_what_other_models_take_and_read(tmp_path):
    folder = diffusers(family="cosmos2.5", path=str(tmp_path))  # a folder needs no revision
    assert not folder.places()["path"].on_the_hub() and diffusers().places()["path"].on_the_hub()
    words = ["run", "{prompt}", "{seed}", "{output}", "{}", "{ }"]
    assert command(command=words).places() == {"path": settings.Place("code")}
    assert veo().places() == {} and veo().frames == 192
    assert roles.Lpips("a/b", "alex").places()["path"].public == settings.PUBLIC_FILES["alex"]
    assert roles.Lpips("a/b").places()["path"].on_the_hub()


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (
            diffusers,
            {"family": "wann"},
            r"family is 'wann' \(did you mean 'wan'\?\); known: ",
        ),
        (diffusers, {"frames": 80}, r"frames is 80; wan takes 4 k \+ 1: set it to 77 or 81"),
        (
            diffusers,
            {"height": 500},
            "500; wan takes multiples of 16: set it to 496 or 512",
        ),
        (diffusers, {"width": 8}, "width is 8; wan takes multiples of 16: set it to 16 "),
        (diffusers, {"family": "cogvideox", "frames": 53}, r"takes 8 k \+ 1: set it to 49 or 57"),
        (diffusers, {"family": "ltx", "height": 496}, "multiples of 32: set it to 480 or 512"),
        (diffusers, {"family": "wan-ti2v", "height": 720}, "multiples of 32: set it to 704 or 736"),
        (
            diffusers,
            {"family": "hunyuan1.5", "guidance": 6.0},
            "guidance is 6, but hunyuan1.5 t",
        ),
        (diffusers, {"family": "cosmos2"}, "missing image_model; cosmos2 starts from the image"),
        (diffusers, {"image_model": "org/image"}, "image_model is not taken by wan; remove it"),
        (diffusers, {"family": "cosmos2.5"}, "missing revision; org/model .*/base/post-trained"),
        (command, {"command": []}, "command\n.*should have at least 1 item"),
        (command, {"command": ["run", 1]}, "command.1\n.*should be a valid string"),
        (command, {"command": ["{prompt}", "{seed}"]}, r"command lacks \{output\}; add it"),
        (command, {"command": ["{prompt}", "{output}"]}, r"command lacks \{seed\}; add it"),
        (
            command,
            {"command": ["{promt}"]},
            r"\{promt\}, which stands for nothing; known: \{pr",
        ),
        (
            command,
            {"command": [*NEEDED, "{guidance}"]},
            r"\{guidance\}, but guidance is not set",
        ),
        (veo, {"height": 704}, "height x width is 704 x 1280; Veo makes 720 x 1280, "),
        (veo, {"seconds": 9}, "seconds\n.*less than or equal to 8"),
        (veo, {"colour": "red"}, "colour\n.*Unexpected keyword argument"),
    ],
)
def test_what_does_not_fit(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_loading_a_profile_checks_it(tmp_path):
    settings = {"extends": "world", "name": "mine", "video_model": {"frames": 10}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    message = "profile mine: video_model: frames is 10; wan takes .*set it to 9 or 13"
    with pytest.raises(ValueError, match=message):
        profiles.load(tmp_path / "mine.yaml")


def test_loading_a_profile_loads_no_model_library():
    probe = "import sys; from squbed_utils import profiles; profiles.load('veo-3'); "
    probe += "print({'torch', 'diffusers', 'google.genai'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


def test_every_family_names_classes_that_are_there():
    import diffusers

    for family in video_models.FAMILIES.values():
        for name in filter(None, (family.pipeline, family.image_pipeline)):
            assert hasattr(diffusers, name)
