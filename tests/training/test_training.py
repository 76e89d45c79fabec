"""The second edition of the shapes world: its grammar, its deal, its drawings, its training."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from transformers import UMT5Config, UMT5EncoderModel

from squbed_utils.world import scenes as first
from training import loop, render, scenes, train, video_model
from training.captions import LIKENESS, facts, sentence, words
from training.language import MAX_TOKENS, WordGuesser, new_tokenizer
from training.scenes import ATTRIBUTES, CATEGORIES, LEVELS, PHRASINGS, TASK_PHRASINGS

FULL = {"size": "small", "colour": "red", "shape": "star", "motion": "up", "background": "grey"}


def partial_scenes():
    names = list(FULL)
    for count in range(len(names) + 1):
        for kept in itertools.combinations(names, count):
            yield {a: FULL[a] for a in kept}


def test_the_grammar_holds_the_first_edition():
    for attribute, values in first.ATTRIBUTES.items():
        assert set(values) <= set(ATTRIBUTES[attribute])
    for scene, phrasing in itertools.product(partial_scenes(), range(len(first.PHRASINGS))):
        assert scenes.say(scene, phrasing) == first.say(scene, phrasing)


def test_there_are_as_many_subjects_as_asked_for_and_each_has_its_drawing():
    subjects = ATTRIBUTES["shape"]
    assert len(set(subjects)) == len(subjects) == 54
    assert set(render.SUBJECTS) == set(subjects) == set(LIKENESS)


@pytest.mark.parametrize("phrasing", range(len(PHRASINGS)))
def test_every_sentence_is_read_as_it_was_meant(phrasing):
    for scene in partial_scenes():
        assert scenes.parse(scenes.say(scene, phrasing)) == scene


def test_no_prompt_of_a_task_is_a_sentence_of_the_training():
    training, tasks = (
        {scenes.say(scene, p) for scene in partial_scenes() for p in numbers}
        for numbers in (range(6), range(6, 10))
    )
    assert len(TASK_PHRASINGS) == 4
    assert not training & tasks
    rng = np.random.default_rng(0)
    drawn = {" ".join(sentence(rng).split()[:3]) for _ in range(2000)}
    assert not drawn & {"here we see", "we see here"}


def test_a_deal_gives_every_level_one_subject_of_each_category():
    dealt = scenes.deal()
    assert dealt == scenes.deal() != scenes.deal("second")
    for subjects in CATEGORIES.values():
        assert sorted(dealt[s] for s in subjects) == [0, *LEVELS]
    assert Counter(dealt.values()) == {level: 12 if level == 0 else 6 for level in LEVELS}


def test_eight_subjects_that_were_never_shown_are_added():
    dealt = scenes.deal()
    added = scenes.with_added(dealt)
    changed = [s for s in dealt if added[s] != dealt[s]]
    assert len(changed) == 8
    assert {(dealt[s], added[s]) for s in changed} == {(0, 1024)}
    before, after = map(video_model.dealt_clips, ("transformer", "transformer-added"))
    assert after[: len(before)] == before
    assert {s for s, _ in after[len(before) :]} == set(changed)


def test_training_clips_are_distinct_and_show_no_subject_more_than_it_was_dealt():
    dealt = scenes.deal()
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


def test_a_video_has_the_stated_form_and_is_its_seed():
    one, again, other = (render.render(FULL, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.shape == (9, 32, 32, 3)
    assert one.dtype == np.uint8
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize("shape", ATTRIBUTES["shape"])
def test_no_subject_is_cut_by_the_frame(shape):
    x, y = np.meshgrid(*[np.linspace(-1.4, 1.4, 281)] * 2)
    inside = render.SUBJECTS[shape](x, y)
    assert 0.02 < inside.mean() < 0.6
    # The spark's points are thinner than anything that a pixel shows: a hundredth may stick out.
    extent = max(np.quantile(abs(axis[inside]), 0.99) for axis in (x, y))
    farthest = render.RADIUS["large"] * extent
    assert farthest + 4 * render.STEP + render.DRIFT <= 16


def test_every_drawing_differs_from_every_other_in_the_small_size():
    still = FULL | {"colour": "yellow", "motion": "still", "background": "black"}
    pictures = {
        shape: render.render(still | {"shape": shape}, np.random.default_rng(0))[0, ..., 0] / 255
        for shape in ATTRIBUTES["shape"]
    }
    for a, b in itertools.combinations(pictures, 2):
        apart = np.abs(pictures[a] - pictures[b]).sum()
        assert apart > 0.12 * max(pictures[a].sum(), pictures[b].sum()), (a, b)


def test_an_open_scene_cannot_be_drawn():
    with pytest.raises(ValueError, match="size, motion, background left open"):
        render.render({"colour": "red", "shape": "circle"}, np.random.default_rng(0))


def test_every_word_has_a_row_of_its_own_and_every_sentence_fits():
    tokenizer = new_tokenizer()
    ids = [tokenizer.convert_tokens_to_ids(word) for word in words()]
    assert len(set(ids)) == len(words())
    assert tokenizer.unk_token_id not in ids
    longest = [scenes.say(FULL, p) for p in range(len(PHRASINGS))] + facts()
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
