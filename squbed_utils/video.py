"""Read, write and align videos."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from scipy.sparse import csr_array

from squbed_utils import playback
from squbed_utils.files import replacing

LOSSLESS = {"qp": "0", "threads": "1", "preset": "faster"}
"""Exact pixels, and the same bytes every time: one thread, no date. Of 720p, the default preset
takes twice the time to save 5 % of the bytes."""


@dataclass(frozen=True, eq=False)
class Video:
    """A video at a constant rate: frame i is on screen from i / fps to (i + 1) / fps seconds.

    `frames` are uint8 (T, H, W, 3), RGB: an array, or a `playback.StoredFrames`, which is read like
    one and decodes on demand. `fps` is frames a second, > 0. `notes` say what is unusual.
    """

    frames: "np.ndarray | playback.StoredFrames"
    fps: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_frames(self.frames)
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps is {self.fps}; expected a positive number of frames a second")


def check_frames(frames: np.ndarray) -> None:
    """Refuse an array that is not a video: uint8, shape (T, H, W, 3), nothing empty."""
    shape, dtype = getattr(frames, "shape", None), getattr(frames, "dtype", type(frames).__name__)
    if shape is None or len(shape) != 4 or shape[-1] != 3 or 0 in shape or dtype != np.uint8:
        raise ValueError(f"frames are {dtype} {shape}; expected uint8 (T, H, W, 3), T, H, W >= 1")


def write(path: Path | str, frames: np.ndarray, fps: float) -> None:
    """Write uint8 (T, H, W, 3) RGB frames as a lossless mp4, whole or absent, at `fps` > 0.

    ``read`` returns the same pixels, and equal input gives equal bytes.
    """
    video, rate = Video(frames, fps), Fraction(fps).limit_denominator(100_000)
    with replacing(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate, options=LOSSLESS)
        stream.pix_fmt = "rgb24"
        stream.height, stream.width = video.frames.shape[1:3]
        for frame in video.frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def read(path: Path | str) -> Video:
    """Read what a player shows of a video file (see `playback.play`), its frames as an array.

    Raises FileNotFoundError, or ValueError if it is no video, empty, cut short, damaged or too big.
    """
    video = scan(path)
    return Video(np.asarray(video.frames), video.fps, video.notes)


def scan(path: Path | str, *, hold: int = playback.SMALL) -> Video:
    """Read a video as `read` does; frames of more than `hold` bytes are decoded at each use."""
    return decode(path := _existing(path), f"video {path}", hold=hold)


def size_of(path: Path | str) -> tuple[int, int]:
    """Return the height and width of a video as shown, from its begin alone."""
    path = _existing(path)
    return playback.size_of(path, f"video {path}")


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no video {path}; check the path, or generate it again")
    if not path.is_file():
        raise ValueError(f"video {path} is a folder, a pipe or a device; expected a file")
    if path.stat().st_size == 0:
        raise ValueError(f"video {path} is empty (0 bytes); delete it and generate it again")
    return path


def is_whole(path: Path) -> bool:
    """Say whether a video exists and can be decoded to its end."""
    try:
        scan(path, hold=0)
    except (FileNotFoundError, ValueError):
        return False
    return True


def decode(source: Path | BinaryIO, name: str, *, hold: int) -> Video:
    """Decode a path or a seekable open file; errors call it by `name`."""
    return Video(*playback.play(source, name, hold=hold))


def align(video: Video, reference: Video) -> tuple[np.ndarray, np.ndarray]:
    """Bring a video and its reference to one length, rate and size: uint8, both (T, H, W, 3).

    The rule, which changes nothing where the two already agree:

    1. Time. Both are cut to the shorter duration and sampled at the lower of the two frame rates.
       For the time k / rate the frame with the nearest time stamp is taken; of two equally near
       ones the later.
    2. Shape. The video is cropped around its centre to the reference's aspect ratio.
    3. Size. The one with more pixels is reduced to the size of the other by averaging areas.
       Nothing is enlarged, except by a pixel a side that the rounding of step 2 left short.
    """
    rate = min(video.fps, reference.fps)
    duration = min(len(v.frames) / v.fps for v in (video, reference))
    count = max(1, int(np.floor(duration * rate + 1e-6)))
    times = np.arange(count) / rate
    target = reference.frames.shape[1:3]
    cropped = _window(*video.frames.shape[1:3], *target)
    smaller = min(cropped, target, key=np.prod)
    return _fitted(video, times, target, smaller), _fitted(reference, times, target, smaller)


def _fitted(video: Video, times: np.ndarray, aspect: tuple, size: tuple) -> np.ndarray:
    """Return frames at some times, cropped and reduced; stored frames are held one at a time."""
    nearest = np.floor(times * video.fps + 0.5 + 1e-6).astype(int)
    places = np.minimum(nearest, len(video.frames) - 1)
    if isinstance(video.frames, np.ndarray):
        return resize_area(crop_to_aspect(video.frames[places], *aspect), *size)
    out = playback.empty("a comparison", (len(places), *size, 3))
    for i, frame in enumerate(video.frames.each(places)):
        out[i] = resize_area(crop_to_aspect(frame[None], *aspect), *size)[0]
    return out


def crop_to_aspect(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut the largest centred window of aspect ratio height : width out of frames (T, H, W, 3)."""
    h, w = frames.shape[1:3]
    new_h, new_w = _window(h, w, height, width)
    top, left = (h - new_h) // 2, (w - new_w) // 2
    return frames[:, top : top + new_h, left : left + new_w]


def _window(h: int, w: int, height: int, width: int) -> tuple[int, int]:
    """Return the largest size within h, w with the aspect ratio height : width."""
    if w * height > h * width:
        return h, max(1, round(h * width / height))
    return max(1, round(w * height / width)), w


def resize_area(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize frames, uint8 (T, H, W, 3), to uint8 (T, height, width, 3).

    Each new pixel is the mean, rounded to nearest, of the area that it covers.
    """
    h, w = frames.shape[1:3]
    if (h, w) == (height, width):
        return frames
    rows, columns = _area_weights(h, height), _area_weights(w, width)
    out = np.empty((len(frames), height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        mixed = (rows @ frame.reshape(h, w * 3).astype(np.float64)).reshape(height, w, 3)
        across = columns @ mixed.transpose(1, 0, 2).reshape(w, height * 3)
        out[i] = np.rint(across.reshape(width, height, 3)).transpose(1, 0, 2)
    return out


@lru_cache(maxsize=8)
def _area_weights(old: int, new: int) -> csr_array:
    """Return weights (new, old): the fraction of each new interval that each old one covers."""
    edges = np.linspace(0, old, new + 1)
    unit = np.arange(old)
    overlap = np.minimum(edges[1:, None], unit + 1) - np.maximum(edges[:-1, None], unit)
    weights = np.maximum(overlap, 0)
    return csr_array(weights / weights.sum(1, keepdims=True))
