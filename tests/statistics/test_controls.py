"""The controls on archives whose prompts, videos and CLIP scores a test chose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import small_archive

from squbed_utils.statistics.controls import (
    CONTROLS,
    alignment,
    motion,
    prompt_length,
    punc_aleatoric,
    punc_epistemic,
    random_number,
    word_overlap,
)

PROMPTS = {"a": "a dog", "b": "a red ball that  rolls", "c": "two cats asleep"}
STEP = {"a": 3, "b": 0, "c": 40}


def brightening(task, latent, sample):
    """Return frames that change by the task's step, and a latent prompt's index more."""
    step = STEP[task] + latent
    return np.stack([np.full((4, 6, 3), t * step, np.uint8) for t in range(3)])


def test_prompt_length_is_minus_the_words(tmp_path):
    found = prompt_length(small_archive.make(tmp_path, PROMPTS))
    assert found.to_dict() == {"a": -2, "b": -5, "c": -3}


class TestMotion:
    def test_by_hand(self, tmp_path):
        found = motion(small_archive.make(tmp_path, PROMPTS, frames=brightening))
        assert found.to_dict() == {"a": 4, "b": 1, "c": 41}

    def test_darkening_counts_as_brightening(self, tmp_path):
        backwards = small_archive.make(
            tmp_path, PROMPTS, frames=lambda *place: brightening(*place)[::-1]
        )
        assert motion(backwards).to_dict() == {"a": 4, "b": 1, "c": 41}

    def test_reads_the_first_video_that_did_not_fail(self, tmp_path):
        def frames(task, latent, sample):
            return brightening(task, sample, 0)

        failed = {("a", 0, 0), ("a", 1, 0), ("a", 1, 1), *(("b", 2, k) for k in range(3))}
        archive = small_archive.make(tmp_path, PROMPTS, frames=frames, failed=failed)
        assert motion(archive).to_dict() == {"a": 3 + (1 + 2 + 0) / 3, "b": 0, "c": 40}

    def test_single_frames_have_none(self, tmp_path):
        def frames(task, latent, sample):
            return brightening(task, latent, sample)[: 1 if task == "b" else 3]

        archive = small_archive.make(tmp_path, PROMPTS, frames=frames)
        assert motion(archive).to_dict() == {"a": 4, "c": 41}

    def test_an_archive_without_videos_has_none(self, tmp_path):
        assert motion(small_archive.make(tmp_path, PROMPTS)).empty

    def test_a_missing_video_is_named(self, tmp_path):
        archive = small_archive.make(tmp_path, PROMPTS, frames=brightening)
        (tmp_path / "videos" / "b" / "1_0.mp4").unlink()
        with pytest.raises(FileNotFoundError, match="no video .*b/1_0.mp4; check the path"):
            motion(archive)

    def test_a_damaged_video_is_named(self, tmp_path):
        archive = small_archive.make(tmp_path, PROMPTS, frames=brightening)
        (tmp_path / "videos" / "c" / "2_0.mp4").write_bytes(b"no video")
        with pytest.raises(ValueError, match="video .*c/2_0.mp4 cannot be read"):
            motion(archive)


class TestRandomNumber:
    def test_the_name_alone_decides(self, tmp_path):
        one = random_number(small_archive.make(tmp_path / "1", PROMPTS))
        other = dict(reversed(PROMPTS.items()), d="more")
        two = random_number(small_archive.make(tmp_path / "2", other, n=4))
        assert one.to_dict() == two.drop("d").to_dict()
        assert two.nunique() == 4

    def test_is_uniform(self, tmp_path):
        found = random_number(small_archive.make(tmp_path, {f"t{i}": "x" for i in range(200)}, n=0))
        assert found.between(0, 1).all()
        assert found.mean() == pytest.approx(0.5, abs=0.07)
        assert found.std() == pytest.approx(np.sqrt(1 / 12), abs=0.03)


class TestAlignment:
    def test_is_minus_the_mean_over_videos_that_did_not_fail(self, tmp_path):
        def clip(task, latent, sample):
            return {"a": 0.3, "b": -0.2, "c": 0.1}[task] + 0.03 * sample

        archive = small_archive.make(tmp_path, PROMPTS, clip=clip, failed={("a", 0, 0)})
        mean_sample = {"a": 9 / 8, "b": 1, "c": 1}
        expected = {t: -clip(t, 0, k) for t, k in mean_sample.items()}
        assert alignment(archive).to_dict() == pytest.approx(expected)

    def test_a_task_without_scores_is_left_out(self, tmp_path):
        archive = small_archive.make(
            tmp_path, PROMPTS, clip=lambda task, *_: None if task == "b" else 0.5
        )
        assert alignment(archive).to_dict() == {"a": -0.5, "c": -0.5}


class TestPunc:
    CAPTIONS = ("a dog", "A red ball", "a red red dog sleeps", "")

    def make(self, folder, **changes):
        def caption(task, latent, sample):
            return self.CAPTIONS[latent]

        return small_archive.make(folder, PROMPTS, n=4, m=2, caption=caption, **changes)

    def test_by_hand(self, tmp_path):
        archive = self.make(tmp_path)
        aleatoric, epistemic = punc_aleatoric(archive), punc_epistemic(archive)
        assert aleatoric["a"] == pytest.approx(1 - (1 + 1 / 3 + 2 / 5 + 0) / 4)
        assert epistemic["a"] == pytest.approx(1 - (1 + 1 / 2 + 1 + 0) / 4)
        assert aleatoric["b"] == pytest.approx(1 - (1 / 2 + 1 + 2 / 5 + 0) / 4)
        assert epistemic["b"] == pytest.approx(1 - (1 / 5 + 3 / 5 + 2 / 5 + 0) / 4)
        assert aleatoric["c"] == epistemic["c"] == 1

    def test_videos_that_failed_have_no_say(self, tmp_path):
        failed = {("a", latent, k) for latent in (1, 2, 3) for k in range(2)}
        archive = self.make(tmp_path, failed=failed)
        assert punc_aleatoric(archive)["a"] == punc_epistemic(archive)["a"] == 0

    def test_a_task_that_lacks_a_caption_is_left_out(self, tmp_path):
        def caption(task, latent, sample):
            return None if (task, latent, sample) == ("b", 2, 1) else "a dog"

        archive = small_archive.make(tmp_path, PROMPTS, caption=caption)
        assert list(punc_aleatoric(archive).index) == list(punc_epistemic(archive).index)
        assert list(punc_aleatoric(archive).index) == ["a", "c"]

    def test_without_a_captioner_there_is_none(self, tmp_path):
        assert punc_aleatoric(small_archive.make(tmp_path, PROMPTS)).empty


@given(text=st.text("ab c", max_size=12), reference=st.text("ab c", max_size=12))
def test_precision_one_way_is_recall_the_other(text, reference):
    found, back = word_overlap(text, reference), word_overlap(reference, text)
    assert (found["precision"], found["recall"]) == (back["recall"], back["precision"])
    left, shared = reference.split(), 0  # one by one
    for word in text.split():
        if word in left:
            left.remove(word)
            shared += 1
    assert found["precision"] * len(text.split()) == pytest.approx(shared)
    assert found["recall"] * len(reference.split()) == pytest.approx(shared)


def test_each_control_says_what_it_is():
    components = {component for c in CONTROLS.values() for component in c.functions}
    assert components == {"aleatoric", "epistemic", "total"}
    assert all(c.label and c.unit and c.source for c in CONTROLS.values())
    assert [name for name, c in CONTROLS.items() if c.reads_videos] == ["motion"]
