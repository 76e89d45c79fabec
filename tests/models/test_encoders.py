"""Encoders of every family, on untrained checkpoints of the same classes loaded as a user's."""

import dataclasses
import hashlib
import json
import shutil

import diffusers
import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants
from kit import tiny, tiny_checkpoints
from safetensors.torch import save_file
from torchvision.models import alexnet
from torchvision.models.video import s3d

from squbed_utils import cli, open_archive, profiles, roles, score
from squbed_utils.models import checkpoints, encoders, networks
from squbed_utils.models import load as models
from squbed_utils.models.weights import read_weights
from squbed_utils.statistics import pairs


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def videos():
    """Videos of odd sizes, the shortest of one frame."""
    rng = np.random.default_rng(0)
    shapes = [(9, 33, 47, 3), (2, 64, 31, 3), (1, 17, 90, 3), (30, 40, 40, 3)]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(family):
        if family not in made:
            path = tmp_path_factory.mktemp("encoders") / family
            made[family] = tiny_checkpoints.video_encoder(family, path)
        return made[family]

    return folder


def embedder(settings, batch_size=2):
    return encoders.load_video_encoder(settings, "cpu", batch_size)


def check_rows(embed, videos, dimension):
    rows = embed(videos)
    assert rows.shape == (len(videos), dimension) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embed(videos[::-1]), rows[::-1], atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


@pytest.mark.parametrize("family", encoders.ARCHITECTURES)
def test_a_family_of_transformers(folders, videos, family):
    settings = roles.TransformersVideoEncoder(str(folders(family)))
    assert encoders.load(settings, "cpu")[1] == 4
    check_rows(embedder(settings), videos, 12 if family == "vjepa2" else 16)


@torch.inference_mode()
def test_videomae_is_the_mean_of_its_tokens(folders, videos):
    from transformers import AutoImageProcessor, AutoModel

    folder = folders("videomae")
    encode, _ = encoders.load(roles.TransformersVideoEncoder(str(folder)), "cpu")
    pixels = AutoImageProcessor.from_pretrained(folder)(list(videos[0][:4]), return_tensors="pt")
    expected = AutoModel.from_pretrained(folder)(**pixels).last_hidden_state.mean(1)
    np.testing.assert_array_equal(encode([videos[0][:4]]), expected.numpy())


def test_the_video_processor_drops_no_frame(folders, videos):
    encode, _ = encoders.load(roles.TransformersVideoEncoder(str(folders("vjepa2"))), "cpu")
    four = videos[3][:4]
    changed = four.copy()
    for i in range(4):
        changed[i] = 255 - changed[i]
        assert np.abs(encode([changed]) - encode([four])).max() > 1e-5
        changed[i] = four[i]


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="of model_type 'bert'; known: videomae, xclip, vjepa2, v"):
        embedder(roles.TransformersVideoEncoder(str(tmp_path)))


def test_missing_weights_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders("videomae"), tmp_path / "half")
    weights = read_weights(folder / "model.safetensors")
    kept = {k: v for k, v in weights.items() if "attention" not in k}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="half lacks .* of its weights, such as 'encoder.layer.0"):
        embedder(roles.TransformersVideoEncoder(str(folder)))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def s3d_settings(path, kind, **changes):
    settings = {"sha256": sha256(path), "kind": kind, "frames": 8, "size": 32} | changes
    return roles.S3D(str(path), **settings)


@torch.no_grad()
def fill_in_statistics(network):
    """Let batch normalization see data; untrained, the gates let nothing through."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = None
    network.train()(torch.rand(6, 3, 8, 32, 32))
    network.eval()


@pytest.fixture(scope="module")
def s3d_files(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("s3d")
    made = {"torchvision-s3d": s3d(), "milnce-s3d": networks.S3DG()}
    fill_in_statistics(made["milnce-s3d"])
    for kind, network in made.items():
        torch.save(network.state_dict(), folder / f"{kind}.pth")
    return {kind: folder / f"{kind}.pth" for kind in made}


@pytest.mark.parametrize(("kind", "dimension"), [("torchvision-s3d", 1024), ("milnce-s3d", 512)])
def test_s3d(s3d_files, videos, kind, dimension):
    check_rows(embedder(s3d_settings(s3d_files[kind], kind)), videos[:3], dimension)


@torch.inference_mode()
def test_torchvision_s3d_is_its_mean_feature(s3d_files, videos):
    encode, frames = encoders.load(
        s3d_settings(s3d_files["torchvision-s3d"], "torchvision-s3d"), "cpu"
    )
    network = s3d().eval()
    network.load_state_dict(torch.load(s3d_files["torchvision-s3d"], weights_only=True))
    clip = encoders.spread(videos[0], frames)
    pixels = encoders._kinetics(32)(torch.from_numpy(clip).permute(0, 3, 1, 2))
    expected = network.features(pixels[None]).mean((2, 3, 4))
    np.testing.assert_allclose(encode([clip]), expected.numpy(), rtol=1e-6)


def test_milnce_files_may_hold_the_text_part_and_lack_counters(s3d_files, tmp_path, videos):
    weights = torch.load(s3d_files["milnce-s3d"], weights_only=True)
    full = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    torch.save(full | {"text_module.fc1.weight": torch.ones(2, 2)}, tmp_path / "full.pth")
    save_file(weights, tmp_path / "same.safetensors")
    rows = [
        embedder(s3d_settings(path, "milnce-s3d"))(videos[:1])
        for path in (s3d_files["milnce-s3d"], tmp_path / "full.pth", tmp_path / "same.safetensors")
    ]
    assert (rows[0] == rows[1]).all() and (rows[0] == rows[2]).all()


def test_milnce_parameters_have_the_published_names_and_sizes():
    shapes = {name: tuple(p.shape) for name, p in networks.S3DG().named_parameters()}
    assert shapes["conv1.conv1.weight"] == (64, 24, 2, 4, 4)
    assert shapes["conv_2c.conv2.weight"] == (192, 192, 3, 1, 1)
    assert shapes["gating.fc.weight"] == (192, 192)
    assert shapes["mixed_4e.conv_b1_b.conv1.weight"] == (288, 144, 1, 3, 3)
    assert shapes["mixed_5c.gating_b3.fc.bias"] == (128,)
    assert shapes["fc.weight"] == (512, 1024)


def test_space_to_depth_by_hand():
    x = torch.arange(2 * 2 * 2 * 4).reshape(1, 2, 2, 2, 4)
    deep = networks.space_to_depth(x)
    assert deep.shape == (1, 16, 1, 1, 2)
    for t, h, w, c in np.ndindex(2, 2, 2, 2):
        channel = ((t * 2 + h) * 2 + w) * 2 + c
        assert deep[0, channel, 0, 0].tolist() == x[0, c, t, h, w::2].tolist()


def test_pooling_pads_at_the_far_end():
    x = torch.arange(6.0).reshape(1, 1, 1, 1, 6)
    assert networks.pool(x, (1, 3, 3)).flatten().tolist() == [2, 4, 5]
    assert networks.pool(x.reshape(1, 1, 6, 1, 1), (2, 2, 2)).flatten().tolist() == [1, 3, 5]


def test_frames_for_milnce_are_scaled_and_cut_in_the_middle():
    frames = torch.zeros(2, 3, 32, 64, dtype=torch.uint8)
    frames[..., 16:48] = 255
    assert (encoders._square(frames, 32) == 1).all()
    assert encoders._square(frames[..., :31, :17], 32).shape == (3, 2, 32, 32)


def test_a_file_with_another_sha256_is_refused(s3d_files):
    path = s3d_files["milnce-s3d"]
    settings = s3d_settings(path, "milnce-s3d", sha256="0" * 64)
    expected = f"has the sha256 {sha256(path)}, but the profile's video_encoder.sha256 is 000000"
    with pytest.raises(ValueError, match=expected):
        embedder(settings)


def test_a_file_of_another_network_is_refused(s3d_files):
    settings = s3d_settings(s3d_files["torchvision-s3d"], "milnce-s3d")
    with pytest.raises(ValueError, match="does not hold the weights of S3DG: .* names or shapes"):
        embedder(settings)


@pytest.mark.parametrize(("name", "value"), [("frames", 9), ("size", 33)])
def test_odd_sizes_of_s3d_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}\n.*should be a multiple of 2"):
        roles.S3D("x", "milnce-s3d", **{name: value})


def test_a_pickle_is_never_run(tmp_path):
    torch.save({"x": print}, tmp_path / "bad.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("bad.pth", "empty.pth", "text.safetensors"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
            read_weights(tmp_path / name)
    with pytest.raises(ValueError, match="list.pth holds no state dict; expected names and tens"):
        read_weights(tmp_path / "list.pth")


@pytest.fixture(scope="module")
def alexnet_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(alexnet().state_dict(), path)
    return path


@torch.inference_mode()
def test_learned_lpips_is_torchmetrics(alexnet_file):
    from torchmetrics.functional.image.lpips import _LPIPS

    other = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    state = torch.load(alexnet_file, weights_only=True)
    for part in (getattr(other.net, f"slice{i}") for i in range(1, 6)):
        part.load_state_dict({k: state[f"features.{k}"] for k in part.state_dict()})
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (2, 3, 45, 37, 3), dtype=np.uint8)
    tensors = (torch.from_numpy(v).permute(0, 3, 1, 2) / 255 for v in (x, y))
    expected = other(*tensors, normalize=True).flatten().numpy()
    distance = encoders.load_lpips(roles.Lpips(str(alexnet_file), "alex"), "cpu", 2)
    np.testing.assert_allclose(distance(list(x), list(y)), expected, rtol=1e-5)
    assert (distance(list(x), list(x)) == 0).all() and (expected > 0).all()


def test_text_prompts_are_those_of_the_profile(tiny_profile, tmp_path):
    folder = shutil.copytree(tiny_profile.parent / "text_encoder", tmp_path / "text")
    file = folder / "config_sentence_transformers.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"prompts": {"query": "a red ", "document": ""}}))
    plain, query = (
        encoders.load_text_encoder(roles.TextEncoder(str(folder), prompt_name=name), "cpu")
        for name in (None, "query")
    )
    np.testing.assert_array_equal(query(["circle"]), plain(["a red circle"]))
    with pytest.raises(ValueError, match="prompt_name is 'qury'; known to .*text: .*query, docum"):
        encoders.load_text_encoder(roles.TextEncoder(str(folder), prompt_name="qury"), "cpu")


def test_clip_from_a_snapshot_of_the_hub(tiny_profile, tmp_path, monkeypatch):
    """The hub's cache holds links to files that are named by their hashes."""
    repository = tmp_path / "models--me--clip"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    for file in (tiny_profile.parent / "clip").iterdir():
        blob = shutil.copy(file, repository / "blobs" / sha256(file))
        (snapshot / file.name).symlink_to(blob)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    frames = [np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)]
    found = [
        encoders.load_clip(roles.Clip(path), "cpu", 1)[0](frames)
        for path in ("me/clip", str(tiny_profile.parent / "clip"))
    ]
    assert (found[0] == found[1]).all()


def test_a_sha256_that_is_not_stated_is_recorded(tiny_profile, s3d_files):
    path = s3d_files["milnce-s3d"]
    settings = s3d_settings(path, "milnce-s3d", sha256=None)
    profile = dataclasses.replace(profiles.load(tiny_profile), video_encoder=settings)
    resolved = checkpoints.resolve(profile)
    assert resolved["video_encoder"]["sha256"] == sha256(path)
    stated = dataclasses.replace(settings, sha256=sha256(path).upper())
    again = checkpoints.resolve(dataclasses.replace(profile, video_encoder=stated))
    assert profiles.differences(resolved, again) == []


def test_a_profile_of_single_files_runs(tiny_profile, s3d_files, alexnet_file, videos):
    profile = dataclasses.replace(
        profiles.load(tiny_profile),
        video_encoder=s3d_settings(s3d_files["milnce-s3d"], "milnce-s3d"),
        lpips=roles.Lpips(str(alexnet_file), "alex"),
    )
    resolved = checkpoints.resolve(profile)
    assert set(resolved["checkpoints"]) >= {"video_encoder", "lpips"}
    assert resolved["video_encoder"]["sha256"] == sha256(s3d_files["milnce-s3d"])
    assert models.load(profile).embed_videos(videos[:1]).shape == (1, 512)


@pytest.fixture
def autoencoder(tiny_profile):
    return roles.Autoencoder(str(tiny_profile.parent / "video_model"), kind="vae")


def test_an_autoencoders_latents_by_hand(autoencoder, monkeypatch):
    """Channel 0 rises from 0 to 2 over time, channel 1 is 1 in the first column and else 0."""
    latents = torch.zeros(1, 2, 3, 8, 8)
    latents[:, 0] = torch.arange(3.0)[:, None, None]
    latents[:, 1, :, :, 0] = 1
    encode, frames = encoders.load(autoencoder, "cpu")
    taken = []

    class Given:
        def __init__(self, x):
            taken.append(x)
            self.latent_dist = self

        def mode(self):
            return latents

    monkeypatch.setattr("diffusers.AutoencoderKLWan.encode", lambda self, x: Given(x))
    video = np.zeros((frames, 32, 32, 3), np.uint8)
    video[:, :, :, 2] = 255
    mean, mark, deviation, steady = encode([video])[0].reshape(4, 8, 8)
    assert frames == 9 and (mean == 1).all() and (steady == 0).all()
    np.testing.assert_allclose(deviation, np.sqrt(2 / 3), rtol=1e-6)
    assert (mark[:, 0] == 1).all() and (mark[:, 1:] == 0).all()
    assert taken[0].shape == (1, 3, 9, 32, 32)
    assert (taken[0][:, :2] == -1).all() and (taken[0][:, 2] == 1).all()


def test_an_autoencoder_embeds_videos_of_any_size(autoencoder, videos):
    check_rows(embedder(dataclasses.replace(autoencoder, size=32)), videos, 2 * 2 * 64)
    same = [videos[0][:, :32, :32]]
    plain, scaled = (
        embedder(dataclasses.replace(autoencoder, size=size))(same) for size in (None, 32)
    )
    np.testing.assert_array_equal(plain, scaled)


def test_an_autoencoder_takes_videos_of_several_sizes_at_once(autoencoder, videos):
    embed = embedder(autoencoder)
    wide = np.concatenate([videos[0]] * 2, axis=2)
    both = embed([videos[0], wide])
    np.testing.assert_array_equal(both, np.concatenate([embed([videos[0]]), embed([wide])]))


@pytest.mark.parametrize("frames", [4, 8, 10])
def test_frames_that_an_autoencoder_would_leave_out_are_refused(autoencoder, frames):
    with pytest.raises(ValueError, match=rf"frames is {frames}, of which .* leaves out the last"):
        encoders.load(dataclasses.replace(autoencoder, frames=frames), "cpu")


def test_frames_too_small_for_the_grid_are_refused(autoencoder, videos):
    with pytest.raises(ValueError, match=r"16 x 16 are too small .*size to 32 or more"):
        embedder(autoencoder)([videos[0][:, :16, :16]])


def test_latents_are_held_to_their_usual_mean_and_deviation(autoencoder, tmp_path, videos):
    folder = shutil.copytree(autoencoder.path, tmp_path / "model")
    config = folder / "vae" / "config.json"
    settings = json.loads(config.read_text()) | {"latents_mean": [5.0, 0], "latents_std": [1, 100]}
    config.write_text(json.dumps(settings))
    before, after = (
        encoders.load(dataclasses.replace(autoencoder, path=str(path), size=32), "cpu")[0]
        for path in (autoencoder.path, folder)
    )
    clip = [encoders.spread(videos[0], 9)]
    plain, moved = (one(clip).reshape(4, 64) for one in (before, after))
    expected = plain / [[1], [100], [1], [100]] - [[5], [0], [0], [0]]
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_an_autoencoder_of_images_or_without_weights_is_refused(autoencoder, tmp_path):
    folder = shutil.copytree(autoencoder.path, tmp_path / "model")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    kept = {k: v for k, v in read_weights(weights).items() if "encoder.conv_in" not in k}
    save_file(kept, weights, metadata={"format": "pt"})
    settings = dataclasses.replace(autoencoder, path=str(folder))
    with pytest.raises(ValueError, match="the vae in .* lacks some of its weights"):
        embedder(settings)
    images = diffusers.AutoencoderKL(block_out_channels=[4], norm_num_groups=1, latent_channels=2)
    shutil.rmtree(folder / "vae")
    images.save_pretrained(folder / "vae")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("AutoencoderKLWan", "AutoencoderKL"))
    with pytest.raises(ValueError, match="is one of images; expected one of videos"):
        embedder(settings)


def test_an_archive_is_measured_in_the_latent_space_of_its_model(
    autoencoder, tiny_profile, tiny_archive, tmp_path
):
    settings = {"kind": "vae", "path": autoencoder.path}
    profile = tiny.write_profile(tiny_profile.parent, tmp_path / "vae.yaml", video_encoder=settings)
    whole = open_archive(tiny_archive)
    again = score(tiny_archive, profile=profile, output=tmp_path / "again")
    videos, before = again.videos(), whole.videos()
    assert (videos.status == "ok").all() and videos.embedding.map(len).eq(256).all()
    pd.testing.assert_series_equal(videos.ssim, before.ssim)
    embed = embedder(autoencoder)
    rows = embed([whole.read_video(path) for path in before.path[:2]])
    np.testing.assert_allclose(np.stack(videos.embedding[:2]), rows, atol=1e-6)
    assert pairs.compare_encoders({"own": whole, "vae": again}).value.notna().any()
    other = shutil.copytree(again.folder, tmp_path / "other")
    line = ["encoders", str(whole.folder), str(again.folder), str(other)]
    assert cli.main([*line, "--output", str(tmp_path / "figures")]) == 0
    names = set(pd.read_csv(tmp_path / "figures" / "data" / "encoders.csv").encoders)
    assert {"text_encoder, latent space", "text_encoder, latent space (other)"} < names
