"""Prompts and model answers of strangers: shown as they are written, read for what they say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from kit.chat_server import completion, serving
from matplotlib.text import Text

from squbed_utils import figures, instructions, roles
from squbed_utils import text as _text
from squbed_utils.commands import answer as answer_module
from squbed_utils.commands import publish
from squbed_utils.figures import style
from squbed_utils.models import language, replies
from squbed_utils.models import latent_prompts as prompts
from squbed_utils.tasks.task import Task

THOUGHT = "The categories are animals, food or people. Is it yes or no?"
PROMPT = "a red star\non snow"

CASES = [
    ("a thought", f"<think>{THOUGHT}</think>\n{{}}"),
    ("a thought in capitals", f"<THINK>\n{THOUGHT}\n</THINK>\n\n{{}}"),
    ("another name", f"<thinking>{THOUGHT}</thinking>{{}}"),
    ("an attribute", f'<reasoning effort="high">{THOUGHT}</reasoning>{{}}'),
    ("two thoughts", f"<think>{THOUGHT}</think><think>no</think>{{}}"),
    ("a thought within one", f"<think>a <think>{THOUGHT}</think> b</think>{{}}"),
    ("opened by the template", f"{THOUGHT}\n</think>\n{{}}"),
    ("a thought after the answer", f"{{}}\n<think>{THOUGHT}"),
    ("other marks", f"[THINK]{THOUGHT}[/THINK]{{}}"),
    ("channels", f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|channel|>final<|message|>{{}}"),
    ("a fence", "```text\n{}\n```"),
    ("JSON in a fence", '```json\n{{"answer": "{}"}}\n```'),
    ("quotes", '"{}"'),
    ("bold", "**{}**"),
    ("a wrapping tag", f"<think>{THOUGHT}</think><answer>{{}}</answer>"),
]


def load(*said, listed=False):
    """Return a model that says these things, the last over and over, and what it is asked."""
    asked = []

    def answer(name, text, seed):
        asked.append((name, seed))
        return said[min(len(asked), len(said)) - 1]

    texts = instructions.read("data/instructions")
    return language.LanguageModel(answer, texts, 2, listed=listed), asked


@pytest.mark.parametrize("form", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_around_an_answer_is_no_part_of_it(form):
    assert load(form.format("a red star"))[0].refine("a star", 1) == "a red star"
    assert load(form.format("Yes"))[0].compatible("a red star", "a star")
    assert not load(form.format("No"))[0].compatible("a red star", "a star")
    assert load(form.format("food"))[0].label(["soup"]) == ["food"]


@pytest.mark.parametrize("form", [c[1] for c in CASES[:10]], ids=[c[0] for c in CASES[:10]])
@pytest.mark.parametrize("listed", ["1. a\n2) b", "- a\n* b", '["a", "b"]', "Here:\n**a**\n“b”"])
def test_lists(form, listed):
    assert load(form.format(listed), listed=True)[0].refine("a star", 1) == ["a", "b"]


def test_a_thought_that_is_cut_is_no_answer():
    model, asked = load("<think>red, yes, food", "a red star")
    draw = {"seed": 0, "compatible": lambda *_: True}
    assert prompts.draw(Task("t", "d", "", "a star", None), 0, model.refine, **draw).rejected == (
        "",
    )
    model, asked = load("<think>red, yes, food", "yes")
    assert model.compatible("a red star", "a star") and len(asked) == 2
    assert load("<think>red, yes, food")[0].label(["soup"]) == ["unclear"]


@pytest.mark.parametrize("said", ["", "yes and no", "I say yes", "yes/no", "No idea", "maybe"])
def test_an_unclear_answer_is_asked_again_and_then_counts_as_unclear(said, capsys):
    model, asked = load(said, said, "No.")
    assert not model.compatible("a red star", "a star") and capsys.readouterr().err == ""
    assert [name for name, _ in asked] == ["entails"] * 3 and len({s for _, s in asked}) == 3
    model, asked = load(said)
    assert not model.compatible("a red star", "a star") and len(asked) == 3
    assert "no clear yes or no in 3 answers about 'a red star'" in capsys.readouterr().err


@pytest.mark.parametrize("said", ["food or games", "not food", "other people", "soup", "foods"])
def test_an_unclear_category(said):
    model, asked = load(said)
    assert model.label(["soup"]) == ["unclear"] and len(asked) == 3
    assert load(said, "Category: **Food**.")[0].label(["soup"]) == ["food"]


@pytest.mark.parametrize(
    "content",
    [
        '<think>{"answer": "no"}</think>\n{"answer": "Yes."}',
        '```json\n{"answer": "<think>no</think>yes"}\n```',
        '{"answer": "it says no</think> yes"}',
    ],
)
def test_servers_that_think_aloud(monkeypatch, tmp_path, content):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with serving() as server:
        server.script = [(200, completion(content))]
        settings = roles.OpenAI("nano", "openai", base_url=server.url, check="model")
        model = language.load(settings, "cpu", n=2, answers=tmp_path)
        assert model.compatible("a red star", "a star") and len(server.asked) == 1


def test_thoughts_whose_marks_are_special_tokens():
    class Tokenizer:
        all_special_tokens = ("<|end|>",)

        def decode(self, text, *, skip_special_tokens):
            return (
                text.replace("[THINK]", "").replace("[/THINK]", "") if skip_special_tokens else text
            )

    assert replies.decoded(Tokenizer(), "[THINK]no[/THINK]yes<|end|>") == "yes"


SHOWN = [
    ("$5 and $6", "$5 and $6"),
    (r"$\frac", r"$\frac"),
    ("5^ $6_", "5^ $6_"),
    ("a\x1b[31mb\x07", r"a\x1b[31mb\x07"),
    ("a \u202eb\u2066c", r"a \u202eb\u2066c"),
    ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    ("half \ud83d", r"half \ud83d"),
    ("<b>&amp;</b>", "<b>&amp;</b>"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_texts_are_drawn_as_they_are_written(text, shown):
    terms = pd.DataFrame({"term": ["total"], "text": ["1 nats"], "meaning": ["sum"]})
    frames, prompts = [[np.zeros((8, 8, 3), np.uint8)]], pd.Series([text], dtype=object)
    latents = pd.DataFrame({"latent": [0], "prompt": prompts, "frames": frames})
    fig = figures.figure_answer(text, terms, latents, note=text)
    fig.draw_without_rendering()
    written = [t.get_text() for t in fig.findobj(Text)]
    assert {f"“{shown}”", f"z1: {shown}", shown} <= set(written)
    assert not any(t.get_parse_math() for t in fig.findobj(Text))


@pytest.mark.parametrize("rc", [{"text.parse_math": True}, {"axes.titlesize": 20}])
def test_a_text_on_axes_of_the_caller_is_no_mathematics_either(rc):
    with plt.rc_context(rc):
        fig, ax = plt.subplots()
        table = pd.DataFrame({"group": ["$a_b$", "c"], "value": [1.0, 2.0], "label": ["$x^2$", ""]})
        figures.plot_positions(table.assign(value_label="$5 to $6", title="$\\frac"), ax=ax)
        fig.draw_without_rendering()
    plt.close(fig)
    assert {"$5 to $6", "$\\frac", "$a_b$", "$x^2$"} <= {t.get_text() for t in ax.findobj(Text)}


def test_what_no_font_has_is_a_box_and_one_line(monkeypatch, capsys):
    monkeypatch.setitem(style.STYLE, "font.family", ["DejaVu Sans"])
    style._characters.cache_clear()
    terms = pd.DataFrame({"term": ["total"], "text": ["1 nats"], "meaning": ["猫 猫"]})
    latents = pd.DataFrame({"latent": [0, 1], "prompt": ["一只红色的猫", "é"], "frames": [[], []]})
    fig = figures.figure_answer("猫", terms, latents)
    style._characters.cache_clear()
    assert {"“□”", "z1: □□□□□□", "z2: é"} <= {t.get_text() for t in fig.findobj(Text)}
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith(
        "squbed: no installed font has 一 只 猫 的 红 色:"
    )


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_html_shows_texts_as_they_are_written(text, shown):
    escaped = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown_by = answer_module.TEMPLATES.from_string("{{ text }}").render(text=text)
    assert shown_by == escaped


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a | b\nc", r"a \| b c"),
        ("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))"),
        ("<img src=x>", r"\<img src=x\>"),
        ("$x$ `y` *z* #1", r"\$x\$ \`y\` \*z\* \#1"),
        ("\u202ea", r"\\u202ea"),
    ],
)
def test_cards_show_texts_as_they_are_written(text, markdown):
    assert _text.as_markdown(text) == markdown


def test_a_models_name_cannot_leave_its_code():
    assert publish.as_code("Qwen/Qwen2-0.5B") == "`Qwen/Qwen2-0.5B`"
    assert publish.as_code("a`<b>|") == r"a\`\<b\>\|"


def test_wide_letters_count_for_two():
    assert style.wrapped("一只红色的猫在睡觉", 8).splitlines() == [
        "一只红色",
        "的猫在睡",
        "觉",
    ]
    assert style.wrapped("word " * 999, 20).count("\n") == 11
