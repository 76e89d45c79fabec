from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils import video
from squbed_utils.video import Video

CLIPS = Path(__file__).parents[2] / "shared" / "clips"

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="no real clips in ../shared/clips")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(9, 32, 32), (1, 16, 16), (4, 31, 33)])
@pytest.mark.parametrize("fps", [8, 16.0, 24000 / 1001, 1245000 / 50431])
def test_lossless(tmp_path, shape, fps):
    frames = noise(*shape)
    video.write(tmp_path / "a.mp4", frames, fps)
    back = video.read(tmp_path / "a.mp4")
    np.testing.assert_array_equal(back.frames, frames)
    assert back.fps == pytest.approx(fps, rel=1e-9)


def test_equal_videos_give_equal_bytes(tmp_path):
    for name in "ab":
        video.write(tmp_path / f"{name}.mp4", noise(9, 32, 32), 8)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_nothing_but_the_video_is_left(tmp_path):
    video.write(tmp_path / "new" / "a.mp4", noise(2, 16, 16), 8)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_an_interrupted_write_leaves_no_video(tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        video.write(tmp_path / "a.mp4", noise(2, 16, 16), 8)
    assert list(tmp_path.iterdir()) == []


def test_missing_file():
    with pytest.raises(FileNotFoundError, match="no video .*gone.mp4; check the path"):
        video.read("gone.mp4")


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ValueError, match=r"a.mp4 is empty \(0 bytes\); delete it"):
        video.read(tmp_path / "a.mp4")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_truncated_file(tmp_path, keep):
    video.write(tmp_path / "a.mp4", noise(9, 32, 32), 8)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ValueError, match="a.mp4 (cannot be read|is cut short)"):
        video.read(tmp_path / "a.mp4")


def test_not_a_video(tmp_path):
    (tmp_path / "a.mp4").write_text("a red circle")
    with pytest.raises(ValueError, match="cannot be read .* expected a video file"):
        video.read(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    "frames",
    [noise(2, 8, 8).astype(float), noise(8, 8), noise(0, 8, 8), noise(2, 8, 8)[..., :1], None],
    ids=["float", "an image", "no frames", "grey", "nothing"],
)
def test_what_is_no_video_is_refused(frames):
    with pytest.raises(ValueError, match=r"expected uint8 \(T, H, W, 3\)"):
        Video(frames, 8)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_fps_is_positive(fps):
    with pytest.raises(ValueError, match=f"fps is {fps}; expected a positive"):
        Video(noise(2, 8, 8), fps)


def test_align_changes_nothing_where_both_agree():
    a, b = noise(9, 32, 32), noise(9, 32, 32, seed=1)
    x, y = video.align(Video(a, 8), Video(b, 8))
    assert (x == a).all() and (y == b).all()


def test_align_takes_the_nearest_time_stamp():
    counted = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None, None], (8, 4, 4, 3))
    x, y = video.align(Video(counted, 8), Video(counted[:3], 3))
    assert y[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert x[:, 0, 0, 0].tolist() == [0, 3, 5]  # time stamps 1/3 and 2/3 lie at 2.67 and 5.33


def test_align_cuts_to_the_shorter():
    x, y = video.align(Video(noise(16, 8, 8), 8), Video(noise(12, 8, 8), 12))
    assert len(x) == len(y) == 8


def test_align_keeps_at_least_one_frame():
    x, y = video.align(Video(noise(1, 8, 8), 30), Video(noise(9, 8, 8), 8))
    assert len(x) == len(y) == 1


def test_align_crops_the_middle_and_takes_the_smaller_size():
    wide = noise(2, 20, 60)
    x, y = video.align(Video(wide, 8), Video(noise(2, 40, 40), 8))
    assert x.shape == y.shape == (2, 20, 20, 3)
    assert (x == wide[:, :, 20:40]).all()


def test_crop_to_a_taller_aspect():
    frames = noise(1, 60, 20)
    assert (video.crop_to_aspect(frames, 1, 1) == frames[:, 20:40]).all()


def test_area_means_by_hand():
    frames = np.array([0, 3, 6, 9], np.uint8).reshape(1, 1, 4, 1) * np.ones(3, np.uint8)
    assert video.resize_area(frames, 1, 2)[0, 0, :, 0].tolist() == [2, 8]  # 1.5, 7.5: to even
    thirds = video.resize_area(frames, 1, 3)[0, 0, :, 0]
    assert thirds.tolist() == [1, 4, 8]  # (0 + 3/3) / (4/3) = 0.75, 4.5, 8.25


def test_area_of_blocks_is_their_mean():
    frames = noise(2, 12, 18)
    expected = np.rint(frames.reshape(2, 4, 3, 6, 3, 3).mean((2, 4)))
    np.testing.assert_array_equal(video.resize_area(frames, 4, 6), expected)


@given(
    st.tuples(st.integers(1, 6), st.integers(2, 30), st.integers(2, 30)),
    st.tuples(st.integers(1, 6), st.integers(2, 30), st.integers(2, 30)),
    st.sampled_from([1.0, 8.0, 24000 / 1001, 30.0]),
    st.sampled_from([1.0, 7.5, 16.0, 25.0]),
)
def test_align_gives_equal_shapes_and_keeps_a_constant(a, b, fps, other):
    x, y = video.align(
        Video(np.full((*a, 3), 7, np.uint8), fps), Video(np.full((*b, 3), 9, np.uint8), other)
    )
    assert x.shape == y.shape and x.dtype == y.dtype == np.uint8
    assert (x == 7).all() and (y == 9).all()
    assert x.shape[1] <= max(a[1], b[1]) and x.shape[2] <= max(a[2], b[2])


@needs_clips
@pytest.mark.parametrize("task", ["low", "med", "high"])
def test_real_clips_of_mixed_rates_and_sizes(task):
    reference = video.read(CLIPS / f"{task}_reference.mp4")
    generated = video.read(CLIPS / f"{task}_0.mp4")
    x, y = video.align(generated, reference)
    assert x.shape == y.shape == (x.shape[0], *reference.frames.shape[1:])
    seconds = min(len(v.frames) / v.fps for v in (reference, generated))
    assert len(x) == int(seconds * min(reference.fps, generated.fps))
