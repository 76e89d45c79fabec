"""Local language models and checks, on untrained checkpoints; texts that a user can edit."""

import numpy as np
import pytest
import torch
from kit import tiny_checkpoints

from squbed_utils import instructions as _instructions
from squbed_utils import roles
from squbed_utils.files import ROOT
from squbed_utils.models import language, openai
from squbed_utils.models.language import LanguageModel

NLI = ["contradiction", "entailment", "neutral"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoints.chat(tmp_path_factory.mktemp("language") / "chat")


@pytest.fixture
def instructions(tmp_path):
    def write(**changed):
        folder = tmp_path / "instructions"
        folder.mkdir()
        for path in (ROOT / "data" / "instructions").iterdir():
            (folder / path.name).write_text(changed.get(path.stem) or path.read_text())
        return str(folder)

    return write


def load(folder, n=2, **settings):
    settings = {"max_new_tokens": 6, "check": "none"} | settings
    return language.load(roles.Chat(str(folder), "chat", **settings), "cpu", n=n)


def saying(reply):
    return LanguageModel(lambda *_: reply, _instructions.read("data/instructions"), 2)


def test_chat_is_seeded_and_returns_the_answer_alone(folder):
    model = load(folder)
    drawn = [model.refine("a red circle", seed) for seed in range(6)]
    assert drawn == [model.refine("a red circle", seed) for seed in range(6)]
    assert len(set(drawn)) == 6
    assert not any(text.startswith("user") and "assistant :" in text for text in drawn)


def test_chat_leaves_the_global_seed_alone(folder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(folder).refine("a red circle", 1)
    assert (torch.rand(3) == expected).all()


def test_the_first_yes_or_no_is_the_most_probable_and_the_next_is_sampled(folder):
    answer = language.Chat(roles.Chat(str(folder), "chat", max_new_tokens=6), "cpu")
    assert answer("entails", "a red circle", 0) == answer("category", "a red circle", 0)
    assert answer("entails", "a red circle", 1) != answer("entails", "a red circle", 2)
    assert answer("refine", "a red circle", 1) != answer("refine", "a red circle", 2)


@pytest.mark.parametrize(
    ("said", "compatible"),
    [("yes", True), ("Yes, it does.", True), ("**yes**", True), ("no", False), ("", False)]
    + [("yesterday", False), ("I say yes", False)],
)
def test_a_yes_is_needed(said, compatible):
    assert saying(said).compatible("a red circle", "a circle") is compatible


@pytest.mark.parametrize(
    ("said", "category"),
    [("Animals.", "animals"), ("it is food", "food"), ("", "unclear"), ("peoples", "unclear")]
    + [("food or games", "unclear"), ("not food", "unclear")],
)
def test_a_category_is_one_that_is_named_alone(said, category):
    assert saying(said).label(["a", "b"]) == [category] * 2


def test_the_category_instruction_names_them_all():
    text = _instructions.read("data/instructions")["category"]
    assert all(category in text for category in openai.CATEGORIES)


def test_a_chat_model_that_gives_no_list_is_an_error(folder):
    with pytest.raises(ValueError, match="asked 3 times for 2 distinct prompts and gave 1 the l"):
        load(folder, draws="list").refine("a circle", 1)


def test_a_chat_model_needs_a_template(tmp_path):
    folder = tiny_checkpoints.chat(tmp_path / "plain", template=None)
    with pytest.raises(ValueError, match="plain has no chat template; take a chat model, or kind"):
        load(folder)


def checked_by(nli):
    return roles.CausalLM("x", check="nli", nli_model=str(nli))


@pytest.mark.parametrize("labels", [NLI, NLI[::-1], [name.upper() for name in NLI]], ids=str)
@pytest.mark.parametrize("probable", NLI)
def test_nli_reads_the_order_of_its_labels(tmp_path, labels, probable):
    winner = [label.lower() for label in labels].index(probable)
    folder = tiny_checkpoints.nli(tmp_path / "nli", labels, winner)
    compatible = language.load_nli(checked_by(folder), "cpu")
    assert compatible("a red circle", "a circle") is (probable == "entailment")


def test_nli_needs_an_entailment(tmp_path):
    folder = tiny_checkpoints.nli(tmp_path / "nli", ["LABEL_0", "LABEL_1"], 0)
    with pytest.raises(ValueError, match="are label_0, label_1; expected entailment among them"):
        language.load_nli(checked_by(folder), "cpu")


def test_nli_as_the_check_of_a_profile(folder, tmp_path):
    nli = tiny_checkpoints.nli(tmp_path / "nli", NLI, 1)
    assert load(folder, check="nli", nli_model=str(nli)).compatible("a red circle", "a circle")
    assert load(folder, check="grammar").compatible("a red circle", "a circle")
    assert not load(folder, check="grammar").compatible("a circle", "a red circle")


@pytest.mark.parametrize(
    "refiner", [(roles.CausalLM, "local"), (roles.Chat, "chat"), (roles.OpenAI, "openai")]
)
def test_nli_without_a_model(refiner):
    make, kind = refiner
    with pytest.raises(ValueError, match="check is nli; name its model in nli_model"):
        make("x", kind=kind, check="nli")


def test_a_raw_template_cannot_judge_or_label(tiny_profile):
    with pytest.raises(ValueError, match="check is model; a refiner of kind local needs"):
        roles.CausalLM("x", check="model")
    settings = roles.CausalLM(str(tiny_profile.parent / "refiner"))
    with pytest.raises(ValueError, match="kind local cannot label captions; expected kind chat"):
        language.load(settings, "cpu", n=3).label(["a circle"])


@pytest.mark.parametrize(
    ("template", "message"),
    [("go", "template lacks {prompt}"), ("{prompt} {x}", "has {x}, which is unknown")],
)
def test_a_template_and_an_opening_have_their_field(template, message):
    with pytest.raises(ValueError, match=message):
        roles.CausalLM("x", template=template)
    with pytest.raises(ValueError, match=message.replace("template", "opening")):
        roles.CausalLM("x", opening=template)


def test_braces_in_a_template_and_in_a_prompt_stay():
    text = 'Answer as {"prompt": "..."}: {refined} / {prompt} {}'
    _instructions.check_fields(text, ("refined", "prompt"), "this")
    filled = _instructions.fill(text, {"refined": "{prompt} {0} {", "prompt": r"\1 {refined}"})
    assert filled == 'Answer as {"prompt": "..."}: {prompt} {0} { / \\1 {refined} {}'


def test_an_edited_instruction_is_asked(instructions):
    asked = []
    texts = _instructions.read(instructions(refine="Say more than: {prompt}"))
    model = LanguageModel(lambda name, text, seed: asked.append(text) or "x", texts, 2)
    assert model.refine("a circle", 1) == "x" and asked == ["Say more than: a circle"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"refine": "Say more."}, r"refine.txt lacks \{prompt\}; expected \{prompt\}"),
        ({"refine_list": "{prompt}"}, r"refine_list.txt lacks \{n\}; expected \{prompt\}, \{n\}"),
        ({"category": "{caption} {prompt}"}, r"category.txt has \{prompt\}, which is unknown"),
    ],
)
def test_an_instruction_without_its_fields(folder, instructions, changed, message):
    with pytest.raises(ValueError, match=message):
        load(folder, instructions=instructions(**changed))


def test_an_instruction_that_cannot_be_read(folder, instructions):
    from pathlib import Path

    texts = Path(instructions())
    (texts / "entails.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="entails.txt is not UTF-8"):
        load(folder, instructions=str(texts))
    (texts / "entails.txt").unlink()
    with pytest.raises(FileNotFoundError, match="entails.txt does not exist; copy data/instructio"):
        load(folder, instructions=str(texts))


def test_a_check_by_words():
    check = language.load_words(
        roles.CausalLM(
            "-",
            check="words",
            similarity_model="data/world/sentence_encoder",
            similarity=0.0,
            unwanted=["naked"],
        ),
        "cpu",
    )
    assert check("a small red circle moving left", "a red circle")
    assert not check("a small circle moving left", "a red circle")
    assert not check("a small naked red circle", "a red circle")
    assert not check("There is a red circle.", "a red circle")  # which adds nothing


def test_a_check_by_words_needs_an_encoder_and_has_a_floor(monkeypatch):
    with pytest.raises(ValueError, match="check is words; name a text encoder in similarity_model"):
        roles.CausalLM("-", check="words")
    rows = {"a cat": [1.0, 0.0], "a cat asleep": [0.8, 0.6], "a cat of fog": [0.3, 0.95]}
    embed = lambda texts: np.array([rows[text] for text in texts])  # noqa: E731
    monkeypatch.setattr(language, "load_text_encoder", lambda *_: embed)
    check = language.load_words(
        roles.CausalLM("-", check="words", similarity_model="-", similarity=0.4), "cpu"
    )
    assert check("a cat asleep", "a cat") and not check("a cat of fog", "a cat")


def test_a_draw_begins_with_its_opening_and_is_a_line(folder, monkeypatch):
    settings = roles.CausalLM(
        str(folder), check="none", template="a {prompt} :", opening="{prompt}"
    )
    model, asked = language.load(settings, "cpu", n=3), []
    drawn = [model.refine("red circle.", seed) for seed in range(6)]
    assert len(set(drawn)) > 1 and all(text.startswith("red circle") for text in drawn)
    sample = lambda ids, seed: asked.append(model._tokenizer.decode(ids)) or " at dusk\nred"  # noqa: E731
    monkeypatch.setattr(model, "sample", sample)
    assert model.refine("red circle.", 1) == "red circle at dusk"
    assert asked == ["a red <unk> : red circle"]  # the full stop, an unknown word, stays there


def test_a_completion_ends_with_its_line(folder, monkeypatch):
    model = language.load(roles.CausalLM(str(folder), check="none", max_new_tokens=9), "cpu", n=3)
    whole = [len(model.refine("a circle", seed).split()) for seed in range(6)]
    texts = {1: "red", 2: "blue\n"}
    decode = lambda rows: [texts[int(row[0])] for row in rows]  # noqa: E731
    monkeypatch.setattr(type(model._tokenizer), "batch_decode", lambda _, rows: decode(rows))
    assert model._line_ends(torch.tensor([[2, 1], [1, 2]]), None).tolist() == [False, True]
    texts.update(dict.fromkeys(range(99), "\n"))
    first = [len(model.refine("a circle", seed).split()) for seed in range(6)]
    assert max(first) <= 1 < max(whole)
