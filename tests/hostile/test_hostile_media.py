"""Media that is damaged, made to mislead, or made to fill the memory: one clear line for each."""

import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from kit import films

from squbed_utils import video
from squbed_utils.models import accuracy

FILM = films.moving()


def _film(folder: Path, name: str = "a.mp4", **options: object) -> Path:
    return films.write(folder / name, FILM, **options)


def _cut(name: str, share: float = 0.6, **options: object):
    return lambda folder: films.cut(_film(folder, name, **options), share)


def _damaged(name: str, at: float = 0.5, **options: object):
    return lambda folder: films.damaged(_film(folder, name, **options), at=at)


def _text(name: str, text: str, beside: str = ""):
    def build(folder: Path) -> Path:
        if beside:
            _film(folder, beside)
        (folder / name).write_text(text)
        return folder / name

    return build


def _sound_alone(folder: Path) -> Path:
    with av.open(str(folder / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", 8000)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        heard.sample_rate = 8000
        out.mux(stream.encode(heard))
        out.mux(stream.encode())
    return folder / "a.mp4"


def _cover_alone(folder: Path) -> Path:
    with av.open(str(folder / "a.mp4"), "w") as out:
        picture = out.add_stream("mjpeg", 1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        picture.disposition = films.Disposition.attached_pic
        out.mux(picture.encode(av.VideoFrame.from_ndarray(FILM[0])))
        out.mux(picture.encode())
    return folder / "a.mp4"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


def _two_sizes(folder: Path) -> Path:
    parts = _film(folder, "a.ts"), films.write(folder / "b.ts", films.moving(height=64))
    (folder / "c.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder / "c.ts"


def _png(folder: Path, side: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return folder / "a.png"


def _many(folder: Path) -> Path:
    return films.patched(_film(folder), b"stsz", 8, struct.pack(">I", 2**31 - 1))


def _whole_packets(folder: Path) -> Path:
    reordered = {"bf": "2", "b_strategy": "0", "qp": "20"}
    path = _film(folder, "a.ts", pix_fmt="yuv420p", options=reordered)
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0)]
    path.write_bytes(path.read_bytes()[: starts[5]])  # its last picture is shown after the next two
    return path


def _wide(folder: Path) -> Path:
    return films.patched(
        _film(folder, aspect=Fraction(2)), b"pasp", 0, struct.pack(">II", 60_000, 1)
    )


CASES = [
    ("mkv", "an mkv cut to 60 %", _cut("a.mkv"), "is cut short: it lasts 1.50 s by its header"),
    ("webm", "a webm cut to 60 %", _cut("a.webm", codec="libvpx-vp9"), "cut short: it lasts 1.50"),
    ("avi", "an AVI cut to 60 %", _cut("a.avi", codec="mjpeg", pix_fmt="yuvj420p"), "cut short"),
    ("flv", "an FLV cut to 60 %", _cut("a.flv", pix_fmt="yuv420p"), "cut short"),
    ("ts", "a transport stream cut to 50 %", _cut("a.ts", 0.5), "is damaged: 1 of 5 frames"),
    ("ts-packet", "a transport stream cut between two packets", _whole_packets, "ends within"),
    ("sound-cut", "an mkv with sound, cut to 60 %", _cut("a.mkv", sound=1.5), "cut short"),
    ("one-frame-less", "an mkv without its last frame", _cut("a.mkv", 0.93), "is cut short"),
    ("h264", "bytes overwritten in H.264", _damaged("a.mp4"), "is damaged"),
    (
        "mpeg2",
        "bytes overwritten in MPEG-2",
        _damaged("a.ts", 0.6, codec="mpeg2video", pix_fmt="yuv420p"),
        "is damaged: 1 of 11 frames are corrupt, the first is frame [0-9]+",
    ),
    (
        "mjpeg",
        "bytes overwritten in motion JPEG",
        _damaged("a.avi", codec="mjpeg", pix_fmt="yuvj420p"),
        "is damaged or cut short after [0-9]+ frames",
    ),
    ("sound", "sound without a picture", _sound_alone, "has no video stream, only audio"),
    ("cover", "nothing but cover art", _cover_alone, "has no video stream, only a cover picture"),
    ("size", "a size that changes", _two_sizes, "frame 13 is 64 x 64, those before are 64 x 48"),
    (
        "list",
        "a playlist that shows another file",
        _text("a.m3u8", "#EXTM3U\n#EXTINF:2,\nb.mp4\n#EXT-X-ENDLIST\n", "b.mp4"),
        "cannot be read",
    ),
    (
        "concat",
        "a script that joins other files, named mp4",
        _text("a.mp4", "ffconcat version 1.0\nfile b.mp4\nfile b.mp4\n", "b.mp4"),
        "cannot be read",
    ),
    ("pipe", "a pipe, which would wait for ever", _pipe, "is a folder, a pipe or a device"),
    ("folder", "a folder", lambda folder: folder, "is a folder, a pipe or a device"),
    ("device", "a device", lambda _: Path("/dev/zero"), "is a folder, a pipe or a device"),
    ("png", "a PNG of 30,000 x 30,000", lambda f: _png(f, 30_000), "30000 x 30000|cannot be read"),
    ("many", "an mp4 that claims 2^31 frames", _many, "at most 100000|is damaged|cannot be read"),
    (
        "wide",
        "pixels 60,000 times as wide as high",
        _wide,
        "frame 1 is 3840000 x 48; shorten it, or make it smaller",
    ),
    (
        "angle",
        "a picture shown at 45 degrees",
        lambda f: _film(f, matrix=[46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30]),
        "shown at an angle other than 90, 180 or 270 degrees",
    ),
    (
        "fast",
        "frames a 10,000th of a second apart",
        lambda f: films.write(f / "a.mp4", FILM, stamps=list(range(12)), tick=Fraction(1, 10_000)),
        "time stamps of 10000 frames a second; expected 1 to 1000",
    ),
    (
        "long",
        "a frame shown for twelve days",
        lambda f: films.write(f / "a.mkv", FILM[:3], stamps=[0, 125, 10**9]),
        "lasts 1000000 s at 8 frames a second; at most 100000 frames are read",
    ),
]
"""(id, what the input is, how it is made, the error)."""

VARIED = [0, 1, 2, 3, 5, 8, 9, 11]
"""Frames of a film at variable rate; each stays until the next."""

TURN = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
HELD = FILM[VARIED][np.searchsorted(VARIED, np.arange(12), "right") - 1]


def _joined(folder: Path) -> Path:
    before = np.concatenate([films.moving(8, seed=3), FILM])
    path = films.write(folder / "long.mp4", before, options={"g": "50"})
    return films.remuxed(path, folder / "a.mp4", start=1)


def _latin(folder: Path) -> Path:
    path = _film(folder, title="XXXX")
    path.write_bytes(path.read_bytes().replace(b"XXXX", "Zoé".encode("latin-1") + b"\xff"))
    return path


def _junk(folder: Path) -> Path:
    path = _film(folder, "a.ts")
    path.write_bytes(bytes(range(1, 200)) * 5 + path.read_bytes())
    return path


def _colon(folder: Path) -> Path:
    os.chdir(folder)
    _film(folder).rename("take:2.mp4")
    return Path("take:2.mp4")


SHOWN = [
    (
        "cover art",
        "cover art as the first stream",
        lambda f: films.cover_first(_film(f, cover=True)),
        FILM,
    ),
    ("edit list", "a clip cut with stream copy", _joined, FILM),
    (
        "turned",
        "a film stored turned by a quarter",
        lambda f: films.write(f / "a.mp4", np.rot90(FILM, axes=(1, 2)), matrix=TURN),
        FILM,
    ),
    (
        "upside down",
        "a film stored upside down",
        lambda f: films.write(
            f / "a.mp4", FILM[:, ::-1, ::-1], matrix=[-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30]
        ),
        FILM,
    ),
    (
        "mirrored",
        "a film stored mirrored",
        lambda f: films.write(
            f / "a.mp4", FILM[:, :, ::-1], matrix=[-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
        ),
        FILM,
    ),
    ("vfr mp4", "a variable rate in mp4", None, HELD),
    ("vfr mkv", "a variable rate in mkv", None, HELD),
    ("metadata", "a title that is not UTF-8", _latin, FILM),
    ("junk", "a transport stream after other bytes", _junk, FILM),
    ("sound", "sound that lasts longer", lambda f: _film(f, sound=3), FILM),
    ("colon", "a name with a colon, as a protocol's", _colon, FILM),
]
"""(id, what the input is, how it is made, what is shown)."""


@pytest.mark.parametrize(
    ("build", "error"), [(c[2], c[3]) for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_cannot_be_trusted_is_one_clear_line(build, error, tmp_path):
    path = build(tmp_path)
    with pytest.raises(ValueError, match=error) as caught:
        video.read(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    assert not video.is_whole(path)


@pytest.mark.parametrize(
    ("name", "build", "shown"), [(c[0], c[2], c[3]) for c in SHOWN], ids=[c[0] for c in SHOWN]
)
def test_what_a_player_shows_is_read(name, build, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if build is None:
        path = tmp_path / f"a.{name.split()[1]}"
        films.write(path, FILM[VARIED], stamps=[125 * i for i in VARIED])
    else:
        path = build(tmp_path)
    plain = video.read(films.write(tmp_path / "twin.mp4", shown))
    made = video.read(path)
    assert made.fps == plain.fps == 8 and made.frames.shape == plain.frames.shape
    assert accuracy.psnr(made.frames, plain.frames) > 60
