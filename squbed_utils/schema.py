"""Mappings read from YAML, checked against dataclasses."""

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from types import UnionType

LONGEST_TEXT = 10_000
"""Most characters of a setting."""


def least(least: float, *, most: float = math.inf, **default: object) -> object:
    """Return a dataclass field with a least and a greatest value."""
    return dataclasses.field(metadata={"least": least, "most": most}, **default)


def known(*known: str, **default: object) -> object:
    """Return a dataclass field whose value is one of some words."""
    return dataclasses.field(metadata={"known": known}, **default)


def build(cls: type, values: object, where: str) -> object:
    """Make a dataclass from a mapping, checking keys, types and ranges; `where` starts every error.

    A field's metadata may hold `least` and `most` (numbers) or `known` (choices). Raises ValueError
    if `values` is no mapping or an entry is unknown, missing or wrong.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {shortened(values)}; expected keys and values")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            hint = suggestion(str(key)[:100], list(fields))
            known = ", ".join(fields)
            raise ValueError(f"{where}: unknown key {shortened(key)}{hint}; known: {known}")
    missing = [f.name for f in fields.values() if f.name not in values and not _has_default(f)]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}; add it or extend a profile")
    hints = typing.get_type_hints(cls)
    return cls(
        **{k: _convert(hints[k], v, f"{where}: {k}", fields[k].metadata) for k, v in values.items()}
    )


def check_field(cls: type, name: str, value: object, where: str) -> None:
    """Check one value against a dataclass's field, as `build` does."""
    (field,) = (f for f in dataclasses.fields(cls) if f.name == name)
    _convert(typing.get_type_hints(cls)[name], value, where, field.metadata)


def _has_default(f: dataclasses.Field) -> bool:
    return f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING


def _convert(hint: type, value: object, where: str, rule: Mapping) -> object:
    """Check one value against its type and its rule."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    kinds = tuple(filter(dataclasses.is_dataclass, typing.get_args(hint)))
    if kinds and not (value is None and type(None) in typing.get_args(hint)):
        return build(_of_kind(kinds, value, where), value, where)
    accepted = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in accepted and type(value) is int:
        value = float(value)
    if type(value) not in accepted:
        names = " or ".join("null" if a is type(None) else a.__name__ for a in accepted)
        raise ValueError(f"{where} is {shortened(value)}; expected {names}")
    if "least" in rule and value is not None:
        if not rule["least"] <= value <= rule["most"] or value == math.inf:
            bound = f"at most {rule['most']}" if rule["most"] < value < math.inf else "finite"
            expected = f"at least {rule['least']}, and {bound}"
            raise ValueError(f"{where} is {value!r}; expected {expected}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value!r}; expected a finite number")
    if "known" in rule and value not in rule["known"]:
        raise ValueError(f"{where} is {shortened(value)}; known: {', '.join(rule['known'])}")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{where} has {len(value):,} characters; expected at most {LONGEST_TEXT}")
    for key, each in _entries(value):  # of free lists and mappings
        _convert(type(each), each, f"{where}: {key}", {})
    return value


def _entries(value: object) -> list[tuple[object, object]]:
    """Return the entries of a list or mapping with their places or keys; else an empty list."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value, 1)) if isinstance(value, list) else []


def shortened(value: object) -> str:
    """Return a value as text short enough for an error."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _of_kind(classes: tuple[type, ...], value: object, where: str) -> type:
    """Return the dataclass that a mapping's `kind` names, by default the first."""
    kinds = {kind: cls for cls in classes for kind in _kinds(cls)}
    if not isinstance(value, dict) or "kind" not in value:
        return classes[0]
    if not isinstance(value["kind"], str) or value["kind"] not in kinds:
        hint = suggestion(str(value["kind"])[:100], list(kinds))
        named = f"{where}: kind is {shortened(value['kind'])}{hint}"
        raise ValueError(f"{named}; known: {', '.join(kinds)}")
    return kinds[value["kind"]]


def _kinds(cls: type) -> tuple[str, ...]:
    return next(f.metadata["known"] for f in dataclasses.fields(cls) if f.name == "kind")


def suggestion(name: str, known: list[str]) -> str:
    """Return a hint at the nearest known name, or an empty text."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
