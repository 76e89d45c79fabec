"""Instruction texts for language models: files that a user can edit, with fields in braces."""

import re
from collections.abc import Mapping
from pathlib import Path

from squbed_utils.files import path_of

FIELDS = {
    "refine": ("prompt",),
    "refine_list": ("prompt", "n"),
    "entails": ("refined", "prompt"),
    "category": ("caption",),
}
"""Instruction -> the fields that its file, ``<instruction>.txt``, must hold, and no others."""

FIELD = re.compile(r"\{(\w+)\}")


def files(folder: str) -> dict[str, Path]:
    """Return the path of each instruction in a folder, absolute or relative to the repository."""
    found = {name: path_of(folder) / f"{name}.txt" for name in FIELDS}
    for path in found.values():
        if not path.is_file():
            raise FileNotFoundError(
                f"the instruction {path} does not exist; copy data/instructions/{path.name} there, "
                "or correct refiner.instructions in the profile"
            )
    return found


def read(folder: str) -> dict[str, str]:
    """Return the text of each instruction; refuse one that is not UTF-8 or has wrong fields."""
    texts = {}
    for name, path in files(folder).items():
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"the instruction {path} is not UTF-8: {error}") from error
        check_fields(texts[name], FIELDS[name], f"the instruction {path}")
    return texts


def check_fields(text: str, fields: tuple[str, ...], where: str) -> None:
    """Refuse a text that lacks one of its fields or has another; `where` starts the error."""
    found = set(FIELD.findall(text))
    expected = ", ".join(f"{{{field}}}" for field in fields)
    for field in [f for f in fields if f not in found]:
        raise ValueError(f"{where} lacks {{{field}}}; expected {expected}")
    for field in sorted(found - set(fields)):
        raise ValueError(f"{where} has {{{field}}}, which is unknown; expected {expected}")


def fill(text: str, values: Mapping[str, object]) -> str:
    """Fill in the fields of a text once; braces within a value stay as they are.

    >>> fill("Prompt: {prompt}", {"prompt": "a {prompt} in {braces}"})
    'Prompt: a {prompt} in {braces}'
    """
    return FIELD.sub(lambda match: str(values[match[1]]), text)
