"""Instruction texts for language models: files that a user can edit, with fields in braces."""

import re
from collections.abc import Mapping

from squbed_utils.files import path_of

FIELDS = {
    "refine": ("prompt",),
    "refine_list": ("prompt", "n"),
    "entails": ("refined", "prompt"),
    "category": ("caption",),
}
"""Instruction -> the fields that its file, ``<instruction>.txt``, must hold, and no others."""

FIELD = re.compile(r"\{(\w+)\}")


def read(folder: str) -> dict[str, str]:
    """Return the text of each instruction; refuse one that is missing or has wrong fields."""
    texts = {}
    for name in FIELDS:
        path = path_of(folder) / f"{name}.txt"
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the instruction {path} does not exist; copy data/instructions/{path.name} there, "
                "or correct refiner.instructions in the profile"
            ) from error
        except UnicodeDecodeError as error:
            raise ValueError(f"the instruction {path} is not UTF-8: {error}") from error
        check_fields(texts[name], FIELDS[name], f"the instruction {path}")
    return texts


def check_fields(text: str, fields: tuple[str, ...], where: str) -> None:
    """Refuse a text that lacks one of its fields or has another; `where` starts the error."""
    present = set(FIELD.findall(text))
    expected = ", ".join(f"{{{field}}}" for field in fields)
    for field in sorted(set(fields) - present):
        raise ValueError(f"{where} lacks {{{field}}}; expected {expected}")
    for field in sorted(present - set(fields)):
        raise ValueError(f"{where} has {{{field}}}, which is unknown; expected {expected}")


def fill(text: str, values: Mapping[str, object]) -> str:
    """Fill in the fields of a text once; braces within a value stay as they are."""
    return FIELD.sub(lambda match: str(values[match[1]]), text)
