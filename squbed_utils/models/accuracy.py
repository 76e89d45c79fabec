"""Accuracy of a generated video: how much it is like its reference, or like its prompt.

All functions take a video and its reference as ``video.align`` returns them. Higher is better,
except for LPIPS, which is stored as the distance it is.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

PSNR_CAP = 100.0
"""PSNR of identical frames, in dB; 32 x 32 frames that differ stay below 84."""

WINDOW = 11
"""Pixels a side of SSIM's window."""

PIXELS_AT_ONCE = 1 << 14
"""Pixels whose SSIM maps are held at a time: what a processor's cache takes."""

PEAK = 255.0


def ssim(frames: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity over frames and colours, range [-1, 1]; 1 for identical videos.

    Wang et al. 2004: Gaussian window of sigma 1.5 (11 x 11 pixels), K1 = 0.01, K2 = 0.03,
    population covariance, and only windows that lie inside the frame. Both are uint8 (T, H, W, 3),
    H and W at least 11.

    >>> video = np.zeros((2, 16, 16, 3), np.uint8)
    >>> ssim(video, video)
    1.0
    """
    _check_pair(frames, reference)
    if min(frames.shape[1:3]) < WINDOW:
        raise ValueError(
            f"frames have size {frames.shape[1:3]}; SSIM needs at least {WINDOW} x {WINDOW} pixels"
        )
    together = max(1, PIXELS_AT_ONCE // (frames.shape[1] * frames.shape[2]))
    parts = [
        _similarity_maps(frames[i : i + together], reference[i : i + together])
        for i in range(0, len(frames), together)
    ]
    return float(np.concatenate(parts).mean())


def _similarity_maps(frames: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the SSIM of every window inside a few frames: (T, 3, H - 10, W - 10)."""
    margin = WINDOW // 2

    def smooth(values: np.ndarray) -> np.ndarray:
        # truncate=3.5 makes the Gaussian 11 pixels wide
        means = gaussian_filter(values, sigma=1.5, truncate=3.5, axes=(2, 3))
        return means[..., margin:-margin, margin:-margin]

    x, y = (v.transpose(0, 3, 1, 2).astype(float, order="C") for v in (frames, reference))
    mean_x, mean_y = smooth(x), smooth(y)
    variance_x, variance_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def psnr(frames: np.ndarray, reference: np.ndarray) -> float:
    """Mean over frames of the peak signal-to-noise ratio, 10 log10(255^2 / MSE), in dB, [0, 100].

    The ratio of identical frames is infinite; a frame counts with at most `PSNR_CAP`. Both are
    uint8 (T, H, W, 3).

    >>> black = np.zeros((1, 8, 8, 3), np.uint8)
    >>> psnr(black, black + 255), psnr(black, black)
    (0.0, 100.0)
    """
    _check_pair(frames, reference)
    pairs = zip(frames, reference, strict=True)
    error = np.array([np.square(x.astype(float) - y).mean() for x, y in pairs])
    least = PEAK**2 / 10 ** (PSNR_CAP / 10)
    return float((10 * np.log10(PEAK**2 / np.maximum(error, least))).mean())


def mean_cosine(frames: np.ndarray, target: np.ndarray) -> float:
    """Mean cosine of frame embeddings, (T, d), with others, range [-1, 1]; all of unit length.

    The others are the reference's frames at the same times (``clip_reference``), (T, d), or the
    prompt (``clip_prompt``), (d,).

    >>> mean_cosine(np.eye(2), np.array([1.0, 0.0]))
    0.5
    """
    if frames.ndim != 2 or target.shape not in (frames.shape, frames.shape[1:]):
        raise ValueError(
            f"frame embeddings {frames.shape} and target {target.shape} do not fit; "
            "expected (T, d) and (T, d) or (d,)"
        )
    return float((frames.astype(float) * target).sum(-1).mean())


def _check_pair(frames: np.ndarray, reference: np.ndarray) -> None:
    if frames.shape != reference.shape or frames.ndim != 4:
        raise ValueError(
            f"video {frames.shape} and reference {reference.shape} differ in shape; "
            "expected two (T, H, W, 3): align them first"
        )
