"""What a language model replies: its answer without thoughts, as a text, a list or a choice."""

import json
import re
from collections.abc import Sequence

_TAG = r"(?:\w+:)?(?:think|thinking|thoughts?|antthinking|reasoning|reflection|scratchpad)\b[^<>]*"

MARK = re.compile(
    rf"(?P<closes><\s*/\s*{_TAG}(?:>|$)|<\s*{_TAG}/>|\[/THINK\]|◁/think▷"
    r"|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|channel\|>\s*final\b[^<]*<\|message\|>)"
    rf"|<\s*{_TAG}(?:>|$)|\[THINK\]|◁think▷"
    r"|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|channel\|>\s*\w+[^<]*<\|message\|>",
    re.IGNORECASE,
)
"""Where a thought begins or ends, as the chat templates of reasoning models write it."""

WRAPPER = re.compile(r"</?(?:answer|output|response|result|final)>", re.IGNORECASE)

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)

BULLET = re.compile(r"^(?:\W{0,2}(?:prompt\s+)?\(?\d+(?:[.):]|\s+[-–—])\W{0,2}|[-*•–—+])\s+", re.I)

QUOTES = ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("**", "**"), ("`", "`")

LEAD = r"(?:(?:\w+ )?(?:answer|category|label)\W*(?:is\b|:)|(?:it|this|that) is\b)?"


def without_thoughts(text: str) -> str:
    """Return a reply without its thoughts, of which only one end may be there.

    >>> without_thoughts("<think>yes, or</think> no"), without_thoughts("or</think>no <think> ye")
    ('no', 'no')
    """
    said, thinking, end = [], False, 0
    for mark in MARK.finditer(text):
        if mark["closes"] and not thinking:
            said.clear()
        elif not thinking:
            said.append(text[end : mark.start()])
        thinking, end = not mark["closes"], mark.end()
    if not thinking:
        said.append(text[end:])
    return "".join(said).strip()


def decoded(tokenizer: object, tokens: object) -> str:
    """Return tokens as text, without thoughts, whose marks may be special tokens."""
    text = tokenizer.decode(tokens, skip_special_tokens=False)
    if not MARK.search(text):
        return tokenizer.decode(tokens, skip_special_tokens=True)
    text = without_thoughts(text)
    for special in tokenizer.all_special_tokens:
        text = text.replace(special, "")
    return text.strip()


def bare(text: str) -> str:
    """Strip a reply of its thoughts, of a tag that wraps it, and of a fence around the answer."""
    text = WRAPPER.sub("", without_thoughts(text)).strip()
    fenced = FENCE.search(text)
    return fenced[2].strip() if fenced else text


def lines_of(text: str) -> list[str]:
    r"""Return the texts that a reply lists, one a line or as JSON; one text is a list of one.

    >>> lines_of('Here are two:\n1. "a cat"\n2) **a dog**'), lines_of('["a cat", "a dog"]')
    (['a cat', 'a dog'], ['a cat', 'a dog'])
    """
    text = bare(text)
    lines = [_plain(line) for line in _listed_in_json(text) or text.splitlines()]
    lines = [line for line in lines if line]
    return [line for line in lines if not line.endswith(":")] or lines


def choice(text: str, words: Sequence[str]) -> str | None:
    """Return the one of a few words that a reply answers with; None if that is not clear.

    The word stands first, or after "the answer is" or the like. If its sentence goes on, a
    punctuation mark follows the word, and no other of the words stands in the sentence.

    >>> [choice(t, ("yes", "no")) for t in ("**Yes.**", "no, it lacks the cat", "yes and no")]
    ['yes', 'no', None]
    """
    text = bare(text)
    text = "\n".join(_listed_in_json(text) or [text]).lower()
    word = rf"\b(?:{'|'.join(words)})\b"
    answer = re.match(rf"\W*{LEAD}\W*({word})(?![ \t]*[\w/|&])([^.!?\n]*)", text)
    if answer is None or re.search(word, answer[2]):
        return None
    return answer[1]


def _listed_in_json(text: str) -> list[str]:
    """Return the texts in JSON: a text, a list of texts, or an object that holds either alone."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    for _ in range(2):
        if isinstance(value, dict) and len(value) == 1:
            (value,) = value.values()
    items = value if isinstance(value, list) else [value]
    items = [next(iter(i.values()), i) if isinstance(i, dict) else i for i in items]
    return items if all(isinstance(item, str) for item in items) else []


def _plain(line: str) -> str:
    line = BULLET.sub("", line.strip()).strip()
    for first, last in QUOTES:
        inner = line.rstrip(",")[len(first) : -len(last)]
        quoted = line.startswith(first) and line.rstrip(",").endswith(last)
        if quoted and inner and first not in inner and last not in inner:
            line = inner.strip()
    return line
