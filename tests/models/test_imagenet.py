"""Image models of timm: as video encoders, as captioners, and in CLIP's place."""

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from squbed_utils import roles
from squbed_utils.models import captioners, encoders, networks
from squbed_utils.models.imagenet import LABELS

NETWORK = "test_efficientnet"
TABBY = LABELS.index("tabby")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = timm.create_model(NETWORK).eval()
    with torch.no_grad():
        network.classifier.bias[TABBY] = 1000  # whatever it sees is a tabby
    return network


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("timm") / "weights.pth"
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("timm") / "folder"
    path.mkdir()
    save_file(network.state_dict(), path / "model.safetensors")
    config = {"architecture": NETWORK, "num_classes": 1000, "pretrained_cfg": {"mean": [0.0] * 3}}
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


@pytest.fixture(scope="module")
def videos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (t, 40, 48, 3), dtype=np.uint8) for t in (5, 1)]


def embed(videos, **settings):
    return encoders.load_video_encoder(roles.Timm(kind="timm", **settings), "cpu", 2)(videos)


def test_features_are_averaged_over_frames(network, file, videos):
    rows = embed(videos, path=file, architecture=NETWORK, size=40, frames=3)
    frames = torch.from_numpy(videos[0][[0, 2, 4], :, 4:44]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(network.pretrained_cfg[k])[:, None, None] for k in ("mean", "std"))
    with torch.inference_mode():
        features = network.forward_head(network.forward_features((frames - mean) / std), True)
    expected = encoders.unit(features.mean(0)[None].numpy())[0]
    np.testing.assert_allclose(rows[0], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_a_folder_says_its_network_and_how_pictures_enter(file, folder, videos):
    from_file = embed(videos, path=file, architecture=NETWORK, size=40)
    assert not np.allclose(embed(videos, path=folder, size=40), from_file, atol=1e-3)


def test_an_unknown_network_is_named(file, videos):
    with pytest.raises(ValueError, match="missing architecture, timm's name of the network in"):
        roles.Timm(file, "timm")
    with pytest.raises(ValueError, match="timm knows no network 'resnet-9'; see timm.list_models"):
        embed(videos, path=file, architecture="resnet-9")


def test_a_caption_is_the_most_probable_labels(file, videos):
    settings = roles.ImageNetLabels(file, "imagenet", NETWORK, size=40, top=2)
    for caption in captioners.load(settings, "cpu", 2)(videos):
        first, second = caption.split(", ", 1)
        assert first == "tabby" and second in LABELS


def test_a_frame_lies_where_its_label_does(file, videos):
    settings = roles.ImageNetAlignment(
        file, "imagenet", NETWORK, size=40, label_encoder="data/world/sentence_encoder"
    )
    images, texts = encoders.load_alignment(settings, "cpu", 4)
    np.testing.assert_allclose(images(list(videos[0])), texts(["tabby"] * 5), atol=1e-5)


def test_a_model_of_other_classes_cannot_caption(tmp_path):
    path = tmp_path / "few"
    path.mkdir()
    save_file(timm.create_model(NETWORK, num_classes=7).state_dict(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"architecture": NETWORK, "num_classes": 7}))
    with pytest.raises(ValueError, match="tells 7 classes apart, and ImageNet has 1000; give a"):
        captioners.load(roles.ImageNetLabels(str(path), "imagenet"), "cpu", 2)


def test_shift_tolerant_lpips_is_read_from_its_own_names(tmp_path):
    torch.manual_seed(0)
    features, parts = networks.shift_tolerant_alexnet(), (0, *networks.SHIFT_TOLERANT_CUTS)
    weights = {}
    for name, value in features.state_dict().items():
        part = next(i for i in range(1, 6) if int(name.split(".")[0]) < parts[i])
        weights[f"net.slice{part}.{name}"] = value
    channels = [64, 192, 384, 256, 256]
    weights |= {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(channels)}
    torch.save(weights, tmp_path / "st.pth")
    distance = encoders.load_lpips(roles.Lpips(str(tmp_path / "st.pth"), "st-alex"), "cpu", 2)
    a, b = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    same, other = distance([a, a], [a, b])
    assert same == 0 and other > 0
    learned = [weights[f"lin{i}.model.1.weight"].flatten() for i in range(5)]
    model = networks.Lpips(features, networks.SHIFT_TOLERANT_CUTS, learned).eval()
    x, y = (torch.from_numpy(v).permute(2, 0, 1)[None] / 255 for v in (a, b))
    assert other == pytest.approx(model(x, y).item(), rel=1e-4)
