"""The training of the shapes world: what models are shown and read, and the resumable loop."""

from collections import Counter

import numpy as np
import pytest
import torch
from transformers import UMT5Config, UMT5EncoderModel

from squbed_utils.world.scenes import ATTRIBUTES, PHRASINGS, say
from training import loop, train, video_model
from training.captions import LIKENESS, facts, sentence, words
from training.language import MAX_TOKENS, WordGuesser, new_tokenizer
from training.tasks import LEVELS, deal

FULL = {"size": "small", "colour": "red", "shape": "star", "motion": "up", "background": "grey"}


def test_every_subject_is_described():
    assert set(LIKENESS) == set(ATTRIBUTES["shape"])


def test_no_sentence_of_the_text_encoder_is_said_as_the_tasks_say_it():
    rng = np.random.default_rng(0)
    drawn = {" ".join(sentence(rng).split()[:3]) for _ in range(2000)}
    assert not drawn & {"here we see", "we see here"}


def test_clips_of_added_subjects_come_last():
    before, after = map(video_model.dealt_clips, ("transformer", "transformer-added"))
    assert after[: len(before)] == before
    added = Counter(subject for subject, _ in after[len(before) :])
    assert len(added) == 8 and set(added.values()) == {1024}
    assert all(deal()[subject] == 0 for subject in added)


def test_training_clips_are_distinct_and_show_no_subject_more_than_it_was_dealt():
    dealt = deal()
    clips = video_model.dealt_clips("transformer")
    assert len(set(clips)) == len(clips) == 6 * sum(LEVELS)
    assert Counter(subject for subject, _ in clips) == +Counter(dealt)
    some = [clip for clip in clips if dealt[clip[0]] <= 16]
    assert all(video_model.clip_scene(clip)[0]["shape"] == clip[0] for clip in some)
    videos = video_model.training_clips(some).flatten(1)
    assert len(torch.unique(videos, dim=0)) == len(some)


def test_exposures_are_what_the_training_drew():
    clips = [("ell", 0), ("tee", 0), ("tee", 1), ("tee", 2)]
    shown = video_model.exposures("toy", clips, steps=100, batch=64)
    assert shown.total() == 6400
    assert shown["tee"] == pytest.approx(4800, abs=150)


def test_every_word_has_a_row_of_its_own_and_every_sentence_fits():
    tokenizer = new_tokenizer()
    ids = [tokenizer.convert_tokens_to_ids(word) for word in words()]
    assert len(set(ids)) == len(words())
    assert tokenizer.unk_token_id not in ids
    longest = [say(FULL, p) for p in range(len(PHRASINGS))] + facts()
    assert max(len(tokenizer(text)["input_ids"]) for text in longest) <= MAX_TOKENS


def small_text_encoder():
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(new_tokenizer()), d_model=128, d_kv=8, d_ff=8, num_layers=1, num_heads=1
        )
    )


@pytest.fixture
def small_video_model(monkeypatch):
    """Build a video model whose transformer is tiny."""
    whole = video_model.WanTransformer3DModel
    monkeypatch.setattr(
        video_model,
        "WanTransformer3DModel",
        lambda **options: whole(
            **options | {"num_layers": 1, "num_attention_heads": 1, "ffn_dim": 16}
        ),
    )
    return video_model.TextToLatents(small_text_encoder())


def test_the_text_encoder_does_not_change_as_the_transformer_trains(small_video_model, tmp_path):
    model = small_video_model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    latents = torch.randn(2, 8, 5, 8, 8)
    trainer = loop.Trainer("toy", model, learning_rate=0.1, folder=tmp_path)
    trainer.run(lambda rng: model.loss(latents, ["a red circle", "a star"]), 1)
    changed = {
        name.split(".")[0] for name, v in model.state_dict().items() if (v != before[name]).any()
    }
    assert changed == {"transformer"}


def test_words_are_guessed_from_their_sentence():
    torch.manual_seed(0)
    model = WordGuesser()
    assert model.loss(np.random.default_rng(0), 4).item() == pytest.approx(np.log(200), abs=3)


def run(folder, until=float("inf"), state=None):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1)
    )

    def loss(rng):
        x = torch.from_numpy(rng.standard_normal((8, 3))).float()
        return (model(x) - x.sum(1, keepdim=True) + torch.randn(8, 1)).square().mean()

    trainer = loop.Trainer("toy", model, learning_rate=0.1, folder=folder, until=until, state=state)
    return trainer.run(loss, 20).state_dict()


def test_training_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(loop.Paused, match="toy: paused after 1 of 20 steps"):
        run(tmp_path, until=0)
    resumed = run(tmp_path, state=tmp_path / "toy.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_stage_goes_on_from_the_averaged_weights(tmp_path):
    whole = run(tmp_path)
    loop.write_stage(tmp_path / "toy.safetensors", tmp_path / "stage")
    stage = tmp_path / "stage/toy.safetensors"
    assert stage.stat().st_size < (tmp_path / "toy.safetensors").stat().st_size / 3
    again = run(tmp_path / "other", state=stage)
    for name in whole:
        torch.testing.assert_close(again[name], whole[name], rtol=1e-3, atol=1e-3)


def test_a_deadline_is_the_earlier_of_the_two():
    assert train.deadline(None, None) == float("inf")
    assert train.deadline("00:00", 1) <= train.deadline(None, 2)
