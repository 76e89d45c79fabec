import dataclasses
import hashlib
import shutil

import pytest
import yaml
from kit import clips, tiny
from safetensors.numpy import load_file

from squbed_utils import cli, files, profiles
from squbed_utils.commands import check
from squbed_utils.commands.check import MISSING, OK, UNKNOWN


def found(profile):
    return {finding.what: (finding.state, finding.detail) for finding in check.check(profile)}


def states(profile):
    return {what: state for what, (state, _) in found(profile).items()}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_embedded_profile_lacks_nothing():
    assert MISSING not in states("world").values()


@pytest.mark.parametrize("name", sorted(p.stem for p in profiles.FOLDER.glob("*.yaml")))
def test_every_profile_passes_a_dry_run(name):
    profile, findings = profiles.load(name), found(name)
    assert {"samples", "device", "memory", "dataset.path", "clip.path"} <= findings.keys()
    counted = findings["samples"][0] == OK
    assert ("disk" in findings) == counted
    assert ("money: videos" in findings) == (profile.video_model.kind == "veo")
    assert ("GPU-hours" in findings) == (counted and profile.video_model.kind != "veo")


def test_samples_are_counted():
    state, detail = found("world-quick")["samples"]
    assert state == OK
    assert detail.startswith("15 tasks x 3 latent prompts x 3 videos = 135 videos, each 9 frames")


def test_weights_are_counted_from_the_files(tiny_profile):
    profile = profiles.load(tiny_profile)
    folder = files.path_of(profile.video_model.path)
    tensors = [t for path in folder.rglob("*.safetensors") for t in load_file(path).values()]
    whole, _ = check._memory_needed(profile)
    assert whole == sum(tensor.nbytes for tensor in tensors)
    half, how = check._memory_needed(dataclasses.replace(profile, dtype="bfloat16"))
    assert half == whole / 2 and "bfloat16" in how
    offloaded = dataclasses.replace(profile.video_model, offload=True)
    assert check._memory_needed(dataclasses.replace(profile, video_model=offloaded))[0] < whole


def test_figures_of_the_profile_come_with_their_source():
    here = found("paper")
    assert "NVIDIA's figures for one B200" in here["GPU-hours"][1]
    assert here["GPU-hours"][1].startswith("188.3, at 33.9 s a video")
    assert "32.5 GB" in here["GPU memory"][1]


def test_missing_keys_and_files_are_named(monkeypatch):
    before = found("veo-3")
    assert before["key OPENAI_API_KEY"][0] == MISSING
    assert before["key GEMINI_API_KEY or GOOGLE_API_KEY"][0] == MISSING
    assert "put it there, or correct lpips.path" in before["lpips.path"][1]
    monkeypatch.setenv("GOOGLE_API_KEY", "secret-word")
    after = found("veo-3")
    assert after["key GEMINI_API_KEY or GOOGLE_API_KEY"] == (OK, "set")
    assert "secret-word" not in str(after)


def test_the_paid_model_costs_what_its_price_says():
    state, detail = found("veo-3")["money: videos"]
    assert (state, detail) == (OK, "$96.00 at the profile's price; its budget is $100.00")


def test_a_budget_too_small(tmp_path):
    path = tmp_path / "p.yaml"
    over = {"extends": "veo-3", "name": "p", "video_model": {"budget": 10}}
    path.write_text(yaml.safe_dump(over))
    assert states(path)["money: videos"] == MISSING


@pytest.mark.parametrize(
    ("refiner", "expected"),
    [
        ({}, (UNKNOWN, "130 calls of gpt-5-nano, and redraws; price not stated, see the vendor's")),
        (
            {"price": 1.0, "budget": 1, "max_tokens": 1000},
            (OK, "130 calls of gpt-5-nano, and redraws; answers at most $0.13, budget $1.00"),
        ),
        (
            {"max_calls": 100},
            (MISSING, "130 calls of gpt-5-nano, and redraws; refiner.max_calls is 100"),
        ),
    ],
)
def test_what_the_language_model_costs(tmp_path, refiner, expected):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"extends": "veo-3", "name": "p", "refiner": refiner}))
    assert found(path)["money: language model"] == expected


def test_what_is_not_checked_of_a_pipeline_without_a_family_is_said(tmp_path):
    folder = tmp_path / "pipeline"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "LTXPipeline"}')
    model = {"kind": "diffusers", "path": str(folder), "fps": 8}
    path = write(tmp_path / "p.yaml", extends="base/free.yaml", video_model=model)
    state, detail = found(path)["video_model.family"]
    assert state == UNKNOWN and detail.startswith(
        "none: not checked are sizes and numbers of frame"
    )
    assert detail.endswith("; ltx is known to fit it")
    assert found(path)["samples"] == (
        UNKNOWN,
        "no dataset; give a file of prompts (--prompts); each video as its model makes it",
    )
    assert found(path)["memory, disk"][0] == UNKNOWN
    (folder / "model_index.json").write_text('{"_class_name": "AnimateDiffPipeline"}')
    assert "known to fit" not in found(path)["video_model.family"][1]
    assert "video_model.family" not in found("wan2.1-1.3b") | found("world")


def test_a_functions_file_is_looked_for(tmp_path):
    model = {"kind": "python", "call": f"{tmp_path}/mine.py:generate"}
    path = write(tmp_path / "p.yaml", extends="world-quick", video_model=model)
    state, detail = found(path)["video_model.call"]
    assert state == MISSING and "put it there, or correct video_model.call" in detail
    (tmp_path / "mine.py").write_text("raise SystemExit('it was run')")
    assert found(path)["video_model.call"][0] == OK
    assert found(path)["samples"][1].endswith("= 135 videos, each as its model makes it")


def test_the_list_of_profiles_says_what_each_lacks(capsys, monkeypatch):
    monkeypatch.setattr(profiles, "names", lambda: ["veo-3", "wan2.1-1.3b", "world"])
    assert cli.main(["profiles"]) == 0
    veo, wan, world = capsys.readouterr().out.splitlines()
    assert (
        veo.split()[:3] == ["veo-3", "veo-3.0-generate-001", "missing:"]
        and "key GEMINI_API_KEY or GOO" in veo
    )
    assert wan.split()[:2] == ["wan2.1-1.3b", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"]
    assert "key OPENAI_API_KEY, dataset.path" in wan and "; to fetch: video_model.path, text" in wan
    assert world.split()[:2] == ["world", "data/world/video_model"]
    assert world.endswith("  nothing is missing")


def test_a_hub_id_is_not_fetched():
    assert found("wan2.1-1.3b")["video_model.path"] == (
        UNKNOWN,
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers will be fetched from the hub by the first run",
    )


def write(path, **over):
    path.write_text(yaml.safe_dump({"name": "p"} | over))
    return path


def test_a_file_of_s3d_is_compared_with_its_sha256(tmp_path):
    weights = tmp_path / "s3d.pth"
    encoder = {"kind": "milnce-s3d", "path": str(weights)}
    path = write(tmp_path / "p.yaml", extends="paper", video_encoder=encoder)
    assert "video_encoder.sha256" not in states(path)
    weights.write_bytes(b"weights")
    state, detail = found(path)["video_encoder.sha256"]
    its_own = hashlib.sha256(b"weights").hexdigest()
    assert state == UNKNOWN and detail.startswith(f"not stated; found {its_own}")
    for sha256, state in (("0" * 64, MISSING), (its_own, OK)):
        write(path, extends="paper", video_encoder=encoder | {"sha256": sha256})
        assert states(path)["video_encoder.path"] == state
    write(path, extends="paper", video_encoder=encoder | {"sha256": "my own"})
    with pytest.raises(ValueError, match="video_encoder: sha256 is 'my own'; it should match p"):
        profiles.load(path)


def test_the_program_of_a_command_is_looked_for(tmp_path):
    words = ["./generate", "scripts/run.py", "{prompt}", "{output}", "{seed}"]
    over = {"path": str(tmp_path), "command": words}
    path = write(tmp_path / "p.yaml", extends="open-sora-2", video_model=over)
    assert found(path)["program ./generate"] == (
        MISSING,
        "neither on the PATH nor in video_model.path",
    )
    state, detail = found(path)["script scripts/run.py"]
    assert state == MISSING and f"not in {tmp_path}" in detail
    (tmp_path / "scripts").mkdir()
    for name in ("generate", "scripts/run.py"):
        (tmp_path / name).touch()
    here = states(path)
    assert here["program ./generate"] == here["script scripts/run.py"] == OK


@pytest.mark.parametrize(
    ("tasks", "state", "detail"),
    [
        (2, OK, "at least 2 have a clip"),
        (3, MISSING, "2 have a clip, dataset.tasks is 3; get clips, or lower it"),
    ],
)
def test_a_dataset_with_fewer_clips_than_tasks(tmp_path, tasks, state, detail):
    places = clips.make_panda(tmp_path, [("aaaaaaaaaaa", ["a dog", "a train"])])
    path = write(tmp_path / "p.yaml", extends="paper", dataset=places | {"tasks": tasks})
    assert found(path)["captions"] == (state, detail)
    assert "captions" not in states("paper-vidgen1m")  # whose files are not here


def test_a_dataset_of_another_format_is_named(tmp_path):
    places = clips.make_panda(tmp_path, [("aaaaaaaaaaa", ["a dog"])])
    (tmp_path / "panda.csv").write_text("video,text\n1,a dog\n")
    path = write(tmp_path / "p.yaml", extends="paper", dataset=places)
    state, detail = found(path)["captions"]
    assert state == MISSING and "panda.csv" in detail


def test_an_instruction_without_its_field_is_named(tmp_path):
    shutil.copytree(files.ROOT / "data/instructions", tmp_path / "instructions")
    over = {"instructions": str(tmp_path / "instructions")}
    path = write(tmp_path / "p.yaml", extends="paper", refiner=over)
    assert states(path)["refiner.instructions"] == OK
    (tmp_path / "instructions/refine.txt").write_text("Refine it.")
    state, detail = found(path)["refiner.instructions"]
    assert state == MISSING and "refine.txt lacks {prompt}" in detail


@pytest.mark.parametrize("role", ["video_model", "text_encoder", "clip"])
@pytest.mark.parametrize("kept", [0, 4, -1], ids=["empty", "no header", "cut short"])
def test_damaged_weights_are_one_finding(tiny_profile, tmp_path, role, kept):
    profile = profiles.load(tiny_profile)
    settings = getattr(profile, role)
    folder = shutil.copytree(files.path_of(settings.path), tmp_path / "model")
    weights = next(folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:kept])
    changed = dataclasses.replace(settings, path=str(folder))
    here = found(dataclasses.replace(profile, **{role: changed}))
    state, detail = here[f"{role}.path"]
    assert state == MISSING and f"{weights} is damaged" in detail
    assert [state for state, _ in here.values()].count(MISSING) == 1


def test_memory_to_score_is_by_the_pixels():
    assert found("paper")["memory"][1].startswith("1.51 GB a worker to score")


def test_a_path_of_two_parts_that_is_no_hub_id(tmp_path):
    encoder = {"kind": "torchvision-s3d", "path": "models/s3d.pth", "sha256": "0" * 64}
    over = {"extends": "wan2.1-1.3b", "name": "p", "video_encoder": encoder}
    over["refiner"] = {"instructions": "my/instructions"}
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(over))
    here = states(path)
    assert here["video_encoder.path"] == here["refiner.instructions"] == MISSING


def test_a_folder_without_its_model(tmp_path):
    over = {"extends": "world", "name": "p", "clip": {"path": str(tmp_path)}}
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(over))
    state, detail = found(path)["clip.path"]
    assert state == MISSING and "which has no open_clip_config.json; train" in detail


def test_the_command_lists_all_and_fails_on_what_is_missing(capsys, tiny_profile, tmp_path):
    assert cli.main(["check", "--profile", str(tiny_profile)]) == 0
    assert "ok       samples" in capsys.readouterr().out
    lacking = tiny.write_profile(
        tiny_profile.parent, tmp_path / "p.yaml", clip={"path": str(tmp_path / "gone")}
    )
    assert cli.main(["check", "--profile", str(lacking)]) == cli.USER_ERROR
    shown = capsys.readouterr()
    assert "missing  clip.path" in shown.out
    assert "cannot run here yet: 1 missing, marked above" in shown.err


def test_prompts_take_the_place_of_the_dataset(tmp_path, capsys):
    (tmp_path / "p.txt").write_text("a star\na red circle\n")
    assert cli.main(["check", "--prompts", str(tmp_path / "p.txt")]) == 0
    assert "2 tasks x 6 latent prompts x 6 videos = 72 videos" in capsys.readouterr().out
    assert cli.main(["check", "--prompts", str(tmp_path / "gone.txt")]) == 2
    assert "dataset.path" in capsys.readouterr().out
