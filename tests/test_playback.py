"""A video is what a player shows: geometry, colour, time and memory, against twins and ffmpeg."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from kit import films

from squbed_utils import playback, video
from squbed_utils.models import accuracy

CASES = Path(__file__).parents[2] / "shared" / "cases"
FILM = films.moving()

needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="no cases in ../shared/cases")
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def aligned(path, reference):
    return video.align(video.read(path), video.read(reference))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pixels_are_made_square(tmp_path, name):
    path = films.write(tmp_path / name, FILM[:, :, ::2], aspect=Fraction(2))
    made = video.read(path)
    assert made.frames.shape == FILM.shape and made.notes == ("pixels that are not square",)
    assert accuracy.psnr(made.frames, FILM) > 30  # unscaled: 13


def test_a_transparent_pixel_is_shown_on_black(tmp_path):
    pixels = np.full((32, 32, 4), 200, np.uint8)
    pixels[:16, :, 3], pixels[16:, :, 3] = 0, 255
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("ffv1", 8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgra"
        frame = av.VideoFrame.from_ndarray(pixels[..., [2, 1, 0, 3]].copy(), format="bgra")
        out.mux([*stream.encode(frame), *stream.encode()])
    shown = video.read(tmp_path / "a.mkv").frames[0]
    assert (shown[:16] == 0).all() and (shown[16:] == 200).all()


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuvj420p", "gray", "bgr0"])
@pytest.mark.parametrize("matrix", [1, 6])
def test_colours_are_those_of_the_film(tmp_path, pix_fmt, matrix):
    colour = np.array([90, 90, 90] if pix_fmt == "gray" else [200, 60, 30], np.uint8)
    codec = "mjpeg" if pix_fmt == "yuvj420p" else "ffv1"
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream(codec, 8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pix_fmt
        if codec == "ffv1" and pix_fmt.startswith("yuv"):
            stream.colorspace, stream.color_range = matrix, 1
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), colour, np.uint8))
        told = {} if codec == "mjpeg" else {"dst_colorspace": {1: "ITU709", 6: "ITU601"}[matrix]}
        frame = frame.reformat(format=pix_fmt, **told)
        out.mux([*stream.encode(frame), *stream.encode()])
    shown = video.read(tmp_path / "a.mkv").frames
    assert np.abs(shown.astype(int) - colour).max() <= 3


def test_frames_that_are_not_held_are_the_same(tmp_path):
    path = films.write(tmp_path / "a.mp4", FILM)
    held, stored = video.read(path), video.scan(path, hold=0)
    assert isinstance(stored.frames, playback.StoredFrames) and stored.fps == held.fps
    assert stored.frames.shape == FILM.shape and len(stored.frames) == 12
    for key in (3, slice(2, 9, 3), [5, 5, 1], -1, np.array([0, 11])):
        np.testing.assert_array_equal(stored.frames[key], held.frames[key])
    np.testing.assert_array_equal(np.stack(list(stored.frames)), held.frames)
    other = video.Video(films.moving(20, 40, 40, seed=2), 12)
    for pair in zip(video.align(stored, other), video.align(held, other), strict=True):
        np.testing.assert_array_equal(*pair)
    for pair in zip(video.align(other, stored), video.align(other, held), strict=True):
        np.testing.assert_array_equal(*pair)


TURN = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (48, 64)),
        ({"aspect": Fraction(2)}, (48, 128)),
        ({"matrix": TURN}, (64, 48)),
        ({"matrix": TURN, "aspect": Fraction(2)}, (128, 48)),
        ({"cover": True}, (48, 64)),
    ],
    ids=["plain", "wide pixels", "turned", "turned, wide pixels", "cover"],
)
def test_the_size_is_that_of_what_is_shown(tmp_path, options, size):
    path = films.write(tmp_path / "a.mp4", FILM, **options)
    assert video.size_of(path) == video.read(path).frames.shape[1:3] == size


def test_the_size_is_known_from_the_begin(tmp_path):
    path = films.cut(films.write(tmp_path / "a.mkv", FILM), 0.6)
    assert video.size_of(path) == (48, 64)
    with pytest.raises(ValueError, match="a.mkv is cut short"):
        video.read(path)
    with pytest.raises(ValueError, match="is cut short: its video stream has no frames"):
        video.size_of(films.cut(path, 0.4))


def test_only_what_is_used_is_held(tmp_path, monkeypatch):
    path = films.write(tmp_path / "a.mp4", FILM)
    stored = video.scan(path, hold=FILM.nbytes - 1)
    monkeypatch.setattr(playback, "MOST_BYTES", 2 * FILM[0].nbytes)
    assert stored.frames[[0, 11]].shape == (2, 48, 64, 3)
    with pytest.raises(ValueError, match="a.mp4 takes 0.0 GB of pictures, 12 x 48 x 64 x 3; at"):
        stored.frames[:]


@pytest.mark.parametrize(("most", "value"), [("MOST_FRAMES", 11), ("MOST_PIXELS", 3000)])
def test_limits_are_named(tmp_path, monkeypatch, most, value):
    path = films.write(tmp_path / "a.mp4", FILM)
    monkeypatch.setattr(playback, most, value)
    with pytest.raises(ValueError, match=f"12 frames of 64 x 48; at most .*{value}.* are read"):
        video.read(path)


def test_a_still_picture_is_a_video_of_one_frame(tmp_path):
    from PIL import Image

    Image.fromarray(FILM[0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(video.read(tmp_path / "a.png").frames, FILM[:1])


def test_jitter_keeps_every_frame_once(tmp_path):
    stamps = [125 * i + [0, 9, -9][i % 3] for i in range(12)]
    made = video.read(films.write(tmp_path / "a.mkv", FILM, stamps=stamps))
    shown = [int(np.abs(FILM.astype(int) - frame).sum((1, 2, 3)).argmin()) for frame in made.frames]
    assert sorted(set(shown)) == list(range(12)) and shown == sorted(shown)


def test_the_best_stream_is_the_largest(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        streams = [out.add_stream("ffv1", 8) for _ in range(2)]
        for stream, side in zip(streams, (32, 48), strict=True):
            stream.width = stream.height = side
            stream.pix_fmt = "bgr0"
        for stream in streams:
            for frame in films.moving(3, stream.height, stream.width):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            out.mux(stream.encode())
    made = video.read(tmp_path / "a.mkv")
    np.testing.assert_array_equal(made.frames, films.moving(3, 48, 48))
    assert made.notes == ("one of several video streams",)


PAIRS = [
    ("cover_art/cover_{}.mp4", "cover_art/plain_{}.mp4", 99),
    ("edit_list/cut_{}.mp4", "edit_list/whole_{}.mp4", 40),
    ("rotation/rotated_{}.mp4", "rotation/upright_{}.mp4", 40),
    ("vfr/vfr_{}.mp4", "vfr/cfr_{}.mp4", 70),
    ("cut_short_stream/whole_{}.mkv", "cut_short_stream/whole_{}.mp4", 40),
    ("cut_short_stream/whole_{}.ts", "cut_short_stream/whole_{}.mp4", 40),
    ("cut_short_stream/whole_{}.webm", "cut_short_stream/whole_{}.mp4", 35),
]


@needs_cases
@pytest.mark.parametrize(("path", "twin", "least"), PAIRS, ids=[p[0].split("_{")[0] for p in PAIRS])
def test_cases_are_their_undisturbed_twins(path, twin, least):
    for i in range(2):
        made, plain = aligned(CASES / path.format(i), CASES / twin.format(i))
        assert len(made) >= 16 and accuracy.psnr(made, plain) > least


@needs_cases
@pytest.mark.parametrize(
    ("path", "error"),
    [
        *((f"cut_short_stream/part_{i}.{k}", "cut short") for i in (0, 1) for k in ("mkv", "webm")),
        *((f"cut_short_stream/part_{i}.{k}", "cut short") for i in (0, 1) for k in ("ts", "mp4")),
        *((f"corrupt_middle/damaged_{i}.mp4", "of 24 frames are corrupt") for i in range(3)),
        ("audio_only/sound.mp4", "has no video stream, only audio"),
        *((f"size_change/changes_{i}.ts", "frame 9 is 128 x 96") for i in (0, 1)),
    ],
)
def test_cases_are_refused_with_the_reason(path, error):
    with pytest.raises(ValueError, match=error):
        video.read(CASES / path)


def played(path, fps, shape):
    """Return what ffmpeg's command plays, at a rate."""
    command = ["ffmpeg", "-v", "error", "-i", str(path)]
    command += ["-vf", f"fps={fps!r},scale=iw*sar:ih", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, *shape)


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.mp4", {"pix_fmt": "yuv420p"}),
        ("ten.mkv", {"pix_fmt": "yuv420p10le"}),
        ("wide.mkv", {"pix_fmt": "yuv420p", "aspect": Fraction(3, 2)}),
        ("tall.mp4", {"pix_fmt": "yuv420p", "aspect": Fraction(1, 2)}),
        ("fields.mp4", {"pix_fmt": "yuv420p", "options": {"flags": "+ildct+ilme"}}),
        ("turned.mp4", {"matrix": [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]}),
        ("flipped.mp4", {"matrix": [0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30]}),
        ("cover.mp4", {"cover": True}),
        (
            "varied.mkv",
            {"stamps": [0, 125, 250, 500, 625, 1000, 1125, 1375, 1500, 1625, 1750, 2000]},
        ),
        ("film.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuv420p"}),
        ("film.ts", {"pix_fmt": "yuv420p"}),
        ("film.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    ],
)
def test_frames_are_those_that_ffmpeg_plays(tmp_path, name, options):
    path = films.write(tmp_path / name, FILM, **options)
    made = video.read(path)
    expected = played(path, made.fps, made.frames.shape[1:])
    assert len(made.frames) == len(expected)
    assert accuracy.psnr(made.frames, expected) > 50
    assert accuracy.ssim(made.frames, expected) > 0.999
