"""Show other people's text literally: never as control, markup or mathematics."""

import difflib
import re
import unicodedata

JOINERS = "\u200c\u200d"
"""Invisible, but part of how some scripts and emoji are written."""

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|&~$])")


def visible(text: str) -> str:
    r"""Return a text with an escape for each character that acts but cannot be seen.

    Escaped are control characters (except line end and tab), half surrogates, and characters that
    change the writing direction or have no width.

    >>> visible("a\x1b[31m \u202eb\n")
    'a\\x1b[31m \\u202eb\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in HIDDEN else c for c in text)


def _escaped(char: str) -> str:
    kept = char in "\n\t" or char in JOINERS
    return char if kept else char.encode("unicode_escape", "surrogatepass").decode()


def one_line(text: object) -> str:
    r"""Return a text on one line, as `visible` does.

    >>> one_line("a\n  b\x1b")
    'a b\\x1b'
    """
    return visible(" ".join(str(text).split()))


def as_markdown(text: object) -> str:
    r"""Return a text on one line that Markdown shows literally, also in a table.

    >>> as_markdown("<b> | a_b")
    '\\<b\\> \\| a\\_b'
    """
    return MARKDOWN.sub(r"\\\1", one_line(text))


def shortened(value: object) -> str:
    """Return a value as text short enough for an error."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def number(value: float, spec: str) -> str:
    """Return a number as people write it, with a minus sign and not a hyphen.

    >>> number(-0.25, ".1f")
    '−0.2'
    """
    return format(value, spec).replace("-", "−")


def interval(value: float, low: float, high: float) -> str:
    """Write a value with its interval, if it has one.

    >>> interval(-0.5, -0.75, -0.25), interval(0.5, float("nan"), float("nan"))
    ('−0.50 [−0.75, −0.25]', '0.50')
    """
    value, low, high = (number(x, "z.2f") for x in (value, low, high))
    return value if low == "nan" else f"{value} [{low}, {high}]"


def suggestion(name: str, known: list[str]) -> str:
    """Return a hint at the nearest known name, or an empty text."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


PLAIN = {
    "Value error, ": "",
    "Input should be": "expected",
    "Input should have": "expected",
    ", unable to parse string as a number": "",
    ", unable to parse string as an integer": "",
    "Extra inputs are not permitted": "it has no such entry",
    "String should": "it should",
    "List should": "it should",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


def expected(message: str) -> str:
    """Return a message of pydantic in the words of our errors.

    >>> expected("Input should be greater than or equal to 3")
    'expected at least 3'
    """
    for words, plain in PLAIN.items():
        message = message.replace(words, plain)
    return "expected keys and values" if "dictionary" in message else message
