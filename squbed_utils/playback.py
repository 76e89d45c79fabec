"""What a player shows of a file: which stream and pictures, their orientation and duration."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.stream import Disposition

MOST_PIXELS = 2**26
"""Most pixels of a picture, twice those of 8K; a file that claims more is damaged or malicious."""

MOST_FRAMES = 100_000
"""Most frames of a video: almost an hour at 30 a second."""

MOST_BYTES = 2**32
SMALL = 2**26
"""Bytes up to which a whole video is held in memory; a larger one is decoded at each use."""

REMEDY, NO_FRAMES = "get it again", "is cut short: its video stream has no frames"

MOST_RATE = 1000
"""Frames a second; a higher rate is a sign of damaged time stamps."""

OPTIONS = {"max_pixels": str(MOST_PIXELS), "protocol_whitelist": ""}
"""Of FFmpeg. Without protocols, a playlist posing as a video opens no other file and no network."""

DECLARING = {"mov", "matroska", "avi", "flv", "asf"}
"""Containers whose header says how long they are; for others FFmpeg guesses."""


class StoredFrames:
    """The frames of a file, read like a uint8 (T, H, W, 3) array and decoded at each use."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, source: Path | BinaryIO, name: str, shown: np.ndarray, size: tuple) -> None:
        self.shape = (len(shown), *size, 3)
        self._source, self._name, self._shown = source, name, shown

    def __len__(self) -> int:
        return len(self._shown)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.each(np.arange(len(self)))

    def __getitem__(self, key: object) -> np.ndarray:
        """Return one frame (H, W, 3), or several (n, H, W, 3)."""
        places = np.arange(len(self))[key]
        flat = np.atleast_1d(places)
        out = empty(self._name, (len(flat), *self.shape[1:]))
        order = np.argsort(flat, kind="stable")
        for place, frame in zip(order, self.each(flat[order]), strict=True):
            out[place] = frame
        return out.reshape(*np.shape(places), *self.shape[1:])

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        """Return all frames as an array."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def each(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) at ascending places, holding one at a time."""
        wanted = iter(self._shown[places])
        number = next(wanted, None)
        with _opened(self._source, self._name) as film:
            for i, picture in enumerate(film.pictures()):
                pixels = picture.pixels() if i == number else None
                while i == number:
                    yield pixels
                    number = next(wanted, None)
                if number is None:
                    return
        raise ValueError(f"{self._name} changed while it was read; start again")


def empty(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return an uninitialised uint8 array for frames; refuse a shape that would fill the memory."""
    if (size := math.prod(shape)) > MOST_BYTES:
        raise ValueError(
            f"{name} takes {size / 2**30:.1f} GB of pictures, {' x '.join(map(str, shape))}; at "
            f"most {MOST_BYTES / 2**30:.0f} GB are held at once: shorten it, or make it smaller"
        )
    return np.empty(shape, np.uint8)


def size_of(source: Path | BinaryIO, name: str) -> tuple[int, int]:
    """Return the height and width that a player shows, from the first picture alone.

    PyAV does not tell from a header how a picture is turned.
    """
    with _opened(source, name) as film:
        for picture in film.pictures():
            _check_picture(name, 1, picture.size, picture.size)
            return picture.size
    raise ValueError(f"{name} {NO_FRAMES}; {REMEDY}")


def play(
    source: Path | BinaryIO, name: str, *, hold: int
) -> tuple["np.ndarray | StoredFrames", float, tuple[str, ...]]:
    """Decode a file from its first picture to its last, and return what a player shows of it.

    - Stream: of several that which ffmpeg takes, the largest; never a cover picture.
    - Picture: turned and mirrored by the display matrix, its pixels made square, transparent ones
      on black.
    - Time: the first picture is at 0. A picture stays until the time stamp of the next. Where
      stamps are not evenly spaced, pictures are repeated at the rate that the stamps lie on. What
      an edit list hides is left out.

    Returned are frames, uint8 (T, H, W, 3) RGB, as an array up to `hold` bytes; their rate; and
    what is unusual. `name` is what an error calls the file, which must be able to seek.
    """
    frames, stamps, damaged, size, notes = [], [], [], None, set()
    with _opened(source, name) as film:
        for picture in film.pictures():
            stamps.append((picture.frame.pts, picture.frame.duration))
            if picture.frame.is_corrupt:
                damaged.append(len(stamps))
            size = size or picture.size
            _check_picture(name, len(stamps), picture.size, size)
            notes.update(picture.notes)
            if math.prod(size) * 3 * len(stamps) <= hold:
                frames.append(picture.pixels())
        if not stamps:
            raise ValueError(f"{name} {NO_FRAMES}; {REMEDY}")
        if damaged:
            raise ValueError(
                f"{name} is damaged: {len(damaged)} of {len(stamps)} frames are corrupt, the first "
                f"is frame {damaged[0]}; {REMEDY}"
            )
        shown, fps = _timeline(name, stamps, film.stream)
        film.check_end(fps)
        if len(film.container.streams.video) > 1:
            notes.add("one of several video streams")
        if film.hidden:
            notes.add("frames that an edit list hides")
    if not np.array_equal(shown, np.arange(len(stamps))):
        notes.add("variable frame rate")
    if math.prod(size) * 3 * max(len(stamps), len(shown)) <= hold:
        held = np.stack([frames[i] for i in shown])
    else:
        held = StoredFrames(source, name, shown, size)
    return held, fps, tuple(sorted(notes))


@contextmanager
def _opened(source: Path | BinaryIO, name: str) -> Iterator["_Film"]:
    """Open the stream of a file that a player shows."""
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            with av.open(file, options=OPTIONS, metadata_errors="replace") as container:
                yield _Film(name, container, _best_stream(container, name), size)
    except av.FFmpegError as error:
        raise ValueError(
            f"{name} cannot be read ({error.strerror}); expected a video file, such as H.264 in mp4"
        ) from error


def _best_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """Return the video stream that ffmpeg picks by default: the largest that is no cover."""
    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not films:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        kinds = "a cover picture" if container.streams.video else kinds
        raise ValueError(f"{name} has no video stream, only {kinds}; expected a video file")
    films = [s for s in films if s.codec_context is not None]
    if not films:
        raise ValueError(f"{name} has a video stream of an unknown codec; convert it to H.264")
    stream = max(
        films,
        key=lambda s: s.width * s.height + 5_000_000 * bool(s.disposition & Disposition.default),
    )
    if stream.width * stream.height > MOST_PIXELS or stream.frames > MOST_FRAMES:
        raise ValueError(
            f"{name} says that it has {stream.frames} frames of {stream.width} x {stream.height}; "
            f"at most {MOST_FRAMES} of {MOST_PIXELS} pixels are read"
        )
    stream.thread_type = "NONE"  # starting threads takes longer than a short video
    if stream.codec_context.name == "mjpeg":  # which alone hides errors unless told to stop
        stream.codec_context.options = {"err_detect": "explode"}
    return stream


class _Film:
    """A stream that is decoded from its begin to its end, and how far its packets reach."""

    def __init__(
        self, name: str, container: av.container.InputContainer, stream: av.VideoStream, size: int
    ) -> None:
        self.name, self.container, self.stream, self._size = name, container, stream, size
        self._ends, self._places = {}, []
        self._silent = self.hidden = False

    def pictures(self) -> "Iterator[_Picture]":
        """Yield the pictures in the order of display."""
        count, aspect = 0, self.stream.sample_aspect_ratio
        try:
            for packet in self.container.demux():
                if packet.pts is not None:
                    self._record(packet)
                for frame in packet.decode() if packet.stream.index == self.stream.index else ():
                    count += 1
                    yield _Picture(frame, aspect, self.name)
        except av.FFmpegError as error:
            if not count:
                raise
            raise ValueError(
                f"{self.name} is damaged or cut short after {count} frames ({error.strerror}); "
                f"{REMEDY}"
            ) from error

    def _record(self, packet: av.Packet) -> None:
        self._silent |= not packet.duration  # of how long it lasts
        end = (packet.pts + (packet.duration or 0)) * packet.time_base
        self._ends[packet.stream_index] = max(self._ends.get(packet.stream_index, end), end)
        if packet.stream_index == self.stream.index:
            self._places.append((packet.pts, packet.dts, packet.pos))
            self.hidden |= packet.is_discard

    def check_end(self, fps: float) -> None:
        """Refuse a file that ends earlier than its header says."""
        if not self._places:
            return
        stream, container = self.stream, self.container
        kind = container.format.name.split(",")[0]
        if kind == "mpegts":
            self._check_transport_stream()
        declared, end = 0, self._ends[stream.index]
        if kind in DECLARING and stream.duration:
            declared = ((stream.start_time or 0) + stream.duration) * stream.time_base
        elif kind in DECLARING and container.duration:
            declared, end = container.duration / av.time_base, max(self._ends.values())
        gaps = np.diff(sorted(pts for pts, _, _ in self._places)) * float(stream.time_base)
        longest = max(gaps, default=0)  # which the last frame may last too, and not say so
        if declared - end > max(longest - 0.5 / fps, 0.5 / fps) + self._silent / fps:
            raise ValueError(
                f"{self.name} is cut short: it lasts {float(declared):.2f} s by its header, and "
                f"its frames end at {float(end):.2f} s; {REMEDY}"
            )

    def _check_transport_stream(self) -> None:
        """Refuse a file that ends within a packet, or has a picture but not those before it."""
        pts, dts, places = zip(*self._places, strict=True)
        places = [place for place in places if place is not None]
        steps = [size for size in (188, 192, 204) if not (np.diff(places) % size).any()]
        cut = bool(steps and places) and (self._size - places[0]) % steps[0] != 0
        if None not in dts and len(pts) > 1:
            gaps = np.diff(dts)  # even, while what is shown has a gap: what belongs there is gone
            cut |= np.ptp(gaps) <= 1 and np.diff(sorted(pts)).max() > 1.5 * gaps[0]
        if cut:
            raise ValueError(
                f"{self.name} is cut short: it ends within a packet or a group; {REMEDY}"
            )


class _Picture:
    """A decoded frame, and how a player shows it; `size` is its height and width as shown."""

    def __init__(self, frame: av.VideoFrame, aspect: Fraction | None, name: str) -> None:
        self.frame = frame
        self._width = round(frame.width * (aspect or 1))
        self._matrix = _display_matrix(frame, name)
        size = frame.height, self._width
        self.size = size[::-1] if _is_quarter_turn(self._matrix) else size

    @property
    def notes(self) -> Iterator[str]:
        """Say what is unusual about it."""
        if self._width != self.frame.width:
            yield "pixels that are not square"
        if self._matrix is not None:
            yield "turned or mirrored"

    def pixels(self) -> np.ndarray:
        """Return its pixels, uint8 (H, W, 3)."""
        form = self.frame.format
        if form.name == "gbrp" and self._width == self.frame.width:
            pixels = self.frame.to_ndarray()  # as archives hold it: no slow conversion
        elif form.has_palette or any(part.is_alpha for part in form.components):
            pixels = _on_black(_filtered(self.frame, self._width, "rgba"))
        else:
            pixels = _filtered(self.frame, self._width, "rgb24")
        return pixels if self._matrix is None else _turn(pixels, self._matrix)


def _filtered(frame: av.VideoFrame, width: int, kind: str) -> np.ndarray:
    """Convert with ffmpeg's own filter, which places chroma where players do."""
    graph = av.filter.Graph()
    size = {"width": frame.width, "height": frame.height, "format": frame.format}
    nodes = graph.add_buffer(**size, time_base=frame.time_base), graph.add("scale", f"{width}:ih")
    graph.link_nodes(*nodes, graph.add("format", kind), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull().to_ndarray()


def _display_matrix(frame: av.VideoFrame, name: str) -> np.ndarray | None:
    """Return the 2 x 2 matrix that turns and mirrors, rows for x and y; None for the identity."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return None
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2] / 2**16
    if np.abs(matrix).min(axis=1).max() > 0.01 * np.abs(matrix).max():
        raise ValueError(f"{name} is shown at an angle other than 90, 180 or 270 degrees; turn it")
    return None if np.array_equal(matrix, np.eye(2)) else matrix


def _is_quarter_turn(matrix: np.ndarray | None) -> bool:
    return matrix is not None and abs(matrix[0, 1]) > abs(matrix[0, 0])


def _turn(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn and mirror pixels (H, W, 3); a point (x, y) moves to (x, y) @ matrix."""
    if _is_quarter_turn(matrix):
        pixels, matrix = pixels.swapaxes(0, 1), matrix[::-1]
    across, down = (-1 if value < 0 else 1 for value in np.diagonal(matrix))
    return pixels[::down, ::across]


def _on_black(pixels: np.ndarray) -> np.ndarray:
    """Return RGB and alpha, uint8 (H, W, 4), blended on black."""
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _check_picture(name: str, number: int, size: tuple, first: tuple) -> None:
    if number > MOST_FRAMES or math.prod(size) > MOST_PIXELS:
        raise ValueError(
            f"{name} has more than {MOST_FRAMES} frames, or of more than {MOST_PIXELS} pixels: "
            f"frame {number} is {size[1]} x {size[0]}; shorten it, or make it smaller"
        )
    if size != first:
        raise ValueError(
            f"{name} changes its size: frame {number} is {size[1]} x {size[0]}, those before are "
            f"{first[1]} x {first[0]}; cut it there"
        )


def _timeline(name: str, stamps: list[tuple], stream: av.VideoStream) -> tuple[np.ndarray, float]:
    """Return the picture on screen at each tick of a constant rate, and that rate.

    The rate is the file's if its time stamps lie on it, else that of their smaller gaps.
    """
    stated = stream.average_rate or stream.guessed_rate or Fraction(0)
    pts, order = [stamp for stamp, _ in stamps], np.arange(len(stamps))
    if len(pts) == 1:
        return order, float(min(stated or 1, MOST_RATE))
    if None in pts:  # as in a bare stream, whose codec alone knows the rate
        return order, _checked_rate(name, stream.guessed_rate or stated)
    gaps = np.diff(pts)
    if not (gaps > 0).any():
        return order, _checked_rate(name, stated)
    if (gaps < 0).any():  # where stamps start anew
        gaps = np.where(gaps < 0, int(np.median(gaps[gaps > 0])), gaps)
    times = np.append(0, np.cumsum(gaps))
    visible = np.append(np.diff(times) > 0, True)  # a picture shown for no time is not seen
    times, order = times[visible], order[visible]
    measured = (len(times) - 1) / (int(times[-1]) * stream.time_base)
    for rate in (stated, stream.base_rate or stated, measured):
        steps, fps = _on_grid(times, rate, stream.time_base)
        if fps:
            break
    else:
        fps = 1 / (int(np.quantile(np.diff(times), 0.1, method="lower")) * stream.time_base)
        steps = np.rint(times * float(fps * stream.time_base)).astype(int)
    fps, last = _checked_rate(name, fps), 1
    if not stream.codec_context.has_b_frames:  # which give durations in the order of decoding
        last = max(1, round((stamps[-1][1] or 0) * float(stream.time_base) * fps))
    count = steps[-1] + last
    if count > MOST_FRAMES:
        raise ValueError(
            f"{name} lasts {count / fps:.0f} s at {fps:.4g} frames a second; at most {MOST_FRAMES} "
            "frames are read: shorten it"
        )
    return order[np.searchsorted(steps, np.arange(count), "right") - 1], fps


def _on_grid(times: np.ndarray, rate: Fraction, tick: Fraction) -> tuple[np.ndarray, Fraction]:
    """Return the steps of a rate at which times lie, and the rate, or 0 if they lie on none."""
    exact = times * float(rate * tick)
    steps = np.rint(exact).astype(int)
    gaps = np.diff(steps)
    if np.abs(exact - steps).max() > rate * tick + 1e-3 or not (gaps > 0).all():
        return steps, Fraction(0)
    step = int(np.gcd.reduce(gaps))
    often = gaps // step  # mostly above 5 where it is so fine that any stamp lies on it
    common = often.max() <= 5 or np.quantile(often, 0.1) <= 5
    return steps // step, rate / step if common else Fraction(0)


def _checked_rate(name: str, rate: Fraction) -> float:
    fps = float(rate)
    if not 0 < fps <= MOST_RATE:
        raise ValueError(
            f"{name} has time stamps of {fps:.0f} frames a second; expected 1 to {MOST_RATE}: they "
            "are damaged, so convert it again at its true rate"
        )
    return fps
