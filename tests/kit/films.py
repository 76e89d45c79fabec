"""Films as other tools leave them: small clips in many containers, written by PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

RATE = 8
TICK = Fraction(1, 1000)
EXACT = {"libx264": {"qp": "0"}, "libvpx-vp9": {"lossless": "1"}, "mpeg4": {"qscale": "2"}}


def moving(count: int = 12, height: int = 48, width: int = 64, *, seed: int = 0) -> np.ndarray:
    """Return a block that moves over a smooth ground, uint8 (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ground = np.stack([3 * x, 4 * y, 255 - 3 * x], -1).clip(0, 255).astype(np.uint8)
    frames = np.repeat(ground[None], count, 0)
    colour = rng.integers(0, 256, 3)
    for i, frame in enumerate(frames):
        frame[12:28, (3 * i) % (width - 16) :][:, :16] = colour
    return frames


def write_lossy(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write uint8 (T, H, W, 3) frames of even sides as a lossy mp4, as people have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        rate = Fraction(fps).limit_denominator(1000)
        stream = out.add_stream("libx264", rate, options={"crf": "18", "threads": "1"})
        stream.height, stream.width = frames.shape[1:3]
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        out.mux(stream.encode())


def write(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv444p",
    stamps: list[int] | None = None,
    tick: Fraction = TICK,
    aspect: Fraction | None = None,
    matrix: list[int] | None = None,
    sound: float = 0,
    cover: bool = False,
    title: str = "",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Write a clip of 8 frames a second, or with time stamps."""
    with av.open(str(path), "w", container_options=container or {}) as out:
        if title:
            out.metadata["title"] = title
        if cover:
            picture = out.add_stream("mjpeg", 1, options={})
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        stream = out.add_stream(codec, RATE, options=EXACT.get(codec, {}) | (options or {}))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if stamps:
            stream.codec_context.time_base = tick
        if matrix:
            stream.set_display_matrix(matrix)
        audio = out.add_stream("aac", 8000) if sound else None
        if cover:
            red = np.zeros((48, 64, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
            out.mux(picture.encode(av.VideoFrame.from_ndarray(red)))
            out.mux(picture.encode())
        for i, frame in enumerate(frames):
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if stamps:
                shown.pts, shown.time_base = stamps[i], tick
            out.mux(stream.encode(shown))
        out.mux(stream.encode())
        if sound:
            silence = np.zeros((1, int(8000 * sound)), np.float32)
            heard = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            heard.sample_rate = 8000
            out.mux(audio.encode(heard))
            out.mux(audio.encode())
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first part of a file, as a broken download does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damaged(path: Path, *, at: float = 0.5, count: int = 60) -> Path:
    """Overwrite bytes in the middle."""
    data = bytearray(path.read_bytes())
    place = int(len(data) * at)
    data[place : place + count] = np.random.default_rng(0).bytes(count)
    path.write_bytes(data)
    return path


def patched(path: Path, box: bytes, offset: int, value: bytes) -> Path:
    """Overwrite bytes at an offset after the name of an mp4's box."""
    data = bytearray(path.read_bytes())
    place = data.index(box) + len(box) + offset
    data[place : place + len(value)] = value
    path.write_bytes(data)
    return path


def cover_first(path: Path) -> Path:
    """Move an mp4's cover before its streams, as taggers write it; its header is at the end."""
    data = path.read_bytes()
    moov = data.index(b"moov") - 4
    boxes, place = [], moov + 8
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        boxes.append(data[place : place + size])
        place += size
    boxes.sort(key=lambda box: [b"mvhd", b"udta", b"trak"].index(box[4:8]))
    path.write_bytes(data[: moov + 8] + b"".join(boxes))
    return path


def remuxed(path: Path, target: Path, *, start: float) -> Path:
    """Copy packets as they are, so that an edit list hides what comes before a time."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        first = round(start / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - first, packet.dts - first
                packet.stream = copy
                out.mux(packet)
    return target
