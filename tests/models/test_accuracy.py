from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchvision.models import squeezenet1_1

from squbed_utils import roles
from squbed_utils.archive import layout
from squbed_utils.models import accuracy
from squbed_utils.models.networks import SQUEEZENET_CUTS, Lpips
from squbed_utils.statistics import tables

SHAPE = (3, 24, 20, 3)


def noise(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def changed(frames, most, seed=1):
    step = np.random.default_rng(seed).integers(-most, most + 1, frames.shape)
    return np.clip(frames.astype(int) + step, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("most", [1, 30, 255])
def test_ssim_is_its_definition(most):
    x, y = noise().astype(float), changed(noise(), most).astype(float)

    def window(v):
        return gaussian_filter(v, sigma=(0, 1.5, 1.5, 0), truncate=3.5)

    mean_x, mean_y, c1, c2 = window(x), window(y), 2.55**2, 7.65**2
    spread = window(x * x) - mean_x**2 + window(y * y) - mean_y**2
    joint = window(x * y) - mean_x * mean_y
    both = (2 * mean_x * mean_y + c1) * (2 * joint + c2)
    both /= (mean_x**2 + mean_y**2 + c1) * (spread + c2)
    expected = both[:, 5:-5, 5:-5].mean()
    found = accuracy.ssim(x.astype(np.uint8), y.astype(np.uint8))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [(32, 32), (11, 40), (150, 130)])
def test_ssim_is_skimages_mean_over_frames(size):
    x, y = noise(shape=(3, *size, 3)), changed(noise(shape=(3, *size, 3)), 20)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    each = [
        structural_similarity(a, b, channel_axis=-1, data_range=255, **wang)
        for a, b in zip(x, y, strict=True)
    ]
    assert accuracy.ssim(x, y) == pytest.approx(np.mean(each), rel=1e-12)


def test_ssim_of_flat_frames_by_hand():
    dark, light = (np.full(SHAPE, v, np.uint8) for v in (50, 100))
    c1 = 2.55**2
    expected = (2 * 50 * 100 + c1) / (50**2 + 100**2 + c1)
    assert accuracy.ssim(dark, light) == pytest.approx(expected, rel=1e-12)


def test_ssim_of_a_negative_is_negative():
    x = noise()
    assert accuracy.ssim(x, 255 - x) < 0


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match=r"size \(10, 32\); SSIM needs at least 11 x 11"):
        accuracy.ssim(noise(shape=(1, 10, 32, 3)), noise(shape=(1, 10, 32, 3)))


def test_psnr_by_hand():
    black = np.zeros(SHAPE, np.uint8)
    assert accuracy.psnr(black, black + 1) == pytest.approx(20 * np.log10(255))
    assert accuracy.psnr(black, black + 255) == 0


def test_psnr_is_skimages_mean_over_frames():
    x, y = noise(), changed(noise(), 20)
    each = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(x, y, strict=True)]
    assert accuracy.psnr(x, y) == pytest.approx(np.mean(each), rel=1e-12)


def test_psnr_of_identical_frames_is_the_cap():
    x, y = noise(), noise()
    assert accuracy.psnr(x, y) == accuracy.PSNR_CAP == 100
    y[0] = changed(y[0], 20)
    one = accuracy.psnr(x[:1], y[:1])
    assert accuracy.psnr(x, y) == pytest.approx((one + 200) / 3)


def test_the_least_change_of_a_world_video_stays_below_the_cap():
    x = np.zeros((1, 32, 32, 3), np.uint8)
    y = x.copy()
    y[0, 0, 0, 0] = 1
    assert accuracy.psnr(x, y) == pytest.approx(83.0, abs=0.1)


@given(st.integers(0, 1000), st.integers(1, 60))
def test_both_are_symmetric_and_best_for_the_video_itself(seed, most):
    x = noise(seed)
    y = changed(x, most, seed)
    for metric in (accuracy.ssim, accuracy.psnr):
        assert metric(x, y) == pytest.approx(metric(y, x), rel=1e-9)
        assert metric(x, y) <= metric(x, x)
    assert accuracy.ssim(x, x) == 1


@pytest.mark.parametrize("metric", [accuracy.ssim, accuracy.psnr])
def test_shapes_must_agree(metric):
    with pytest.raises(ValueError, match="differ in shape; expected .* align them first"):
        metric(noise(), noise()[:2])


def test_mean_cosine_with_frames_and_with_a_prompt():
    frames = np.array([[1, 0], [0, 1]])
    assert accuracy.mean_cosine(frames, frames) == 1
    assert accuracy.mean_cosine(frames, frames[::-1]) == 0
    assert accuracy.mean_cosine(frames, np.array([0.6, 0.8])) == pytest.approx(0.7)


def test_mean_cosine_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(2, 2\) and target \(3,\) do not fit"):
        accuracy.mean_cosine(np.eye(2), np.ones(3))


def test_labels_say_which_lpips():
    assert tables.label("lpips", lpips="unlearned") == "LPIPS (unlearned)"
    assert tables.label("lpips", lpips="alex") == "LPIPS (learned, AlexNet)"
    assert tables.label("lpips", lpips="st-alex") == "ST-LPIPS (AlexNet)"
    assert set(tables.LPIPS_FORMS) == set(layout.LPIPS_KINDS)
    assert set(get_args(roles.Lpips.__annotations__["kind"])) == set(layout.LPIPS_KINDS)
    assert tables.label("ssim", lpips="alex") == "SSIM"
    with pytest.raises(ValueError, match="unknown accuracy 'fvd'; known: ssim, psnr"):
        tables.label("fvd", lpips="alex")


def test_directions():
    assert [name for name, up in layout.HIGHER_IS_BETTER.items() if not up] == ["lpips"]


@pytest.fixture(scope="module")
def squeezenet():
    torch.manual_seed(0)
    return squeezenet1_1().eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 4, 3, 40, 36, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_lpips_is_torchmetrics_with_all_weights_one(squeezenet, images):
    from torchmetrics.functional.image.lpips import _LPIPS

    other = _LPIPS(pretrained=False, net="squeeze", pnet_rand=True, use_dropout=False)
    state = {k: v for k, v in squeezenet.features.state_dict().items()}
    for part in other.net.slices:
        part.load_state_dict({k: state[k] for k in part.state_dict()})
    for head in other.lins:
        torch.nn.init.ones_(head.model[0].weight)
    expected = other(*images, normalize=True).flatten()
    torch.testing.assert_close(Lpips(squeezenet.features, SQUEEZENET_CUTS)(*images), expected)


@torch.inference_mode()
def test_lpips_of_an_image_with_itself_is_zero(squeezenet, images):
    distance = Lpips(squeezenet.features, SQUEEZENET_CUTS)
    assert distance(images[0], images[0]).tolist() == [0] * 4
    assert (distance(*images) > 0).all()
    torch.testing.assert_close(distance(*images), distance(*images.flip(0)))
