"""Mappings read from YAML, checked against dataclasses."""

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from types import UnionType


def least(least: float, **default: object) -> object:
    """Declare a dataclass's field whose value must be at least a number."""
    return dataclasses.field(metadata={"least": least}, **default)


def known(*known: str, **default: object) -> object:
    """Declare a dataclass's field whose value must be one of some words."""
    return dataclasses.field(metadata={"known": known}, **default)


def build(cls: type, values: object, where: str) -> object:
    """Make a dataclass of a mapping, checking keys, types and ranges.

    Parameters
    ----------
    cls : type
        A dataclass; a field's metadata may hold `least` (a number) or `known` (choices).
    values : object
        What the YAML holds in this place; anything but a mapping is refused.
    where : str
        Named at the start of every error.

    Raises
    ------
    ValueError
        If a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {values!r}; expected keys and values")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            hint = suggestion(str(key), list(fields))
            raise ValueError(f"{where}: unknown key {key!r}{hint}; known: {', '.join(fields)}")
    missing = [f.name for f in fields.values() if f.name not in values and not _has_default(f)]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}; add it or extend a profile")
    hints = typing.get_type_hints(cls)
    return cls(
        **{k: _convert(hints[k], v, f"{where}: {k}", fields[k].metadata) for k, v in values.items()}
    )


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
        raise ValueError(f"{where} is {value!r}; expected {names}")
    if "least" in rule and value is not None and not rule["least"] <= value < math.inf:
        raise ValueError(f"{where} is {value!r}; expected at least {rule['least']}, and finite")
    if "known" in rule and value not in rule["known"]:
        raise ValueError(f"{where} is {value!r}; known: {', '.join(rule['known'])}")
    return value


def _of_kind(classes: tuple[type, ...], value: object, where: str) -> type:
    """Pick the dataclass that a mapping's `kind` names; the first where it names none."""
    kinds = {kind: cls for cls in classes for kind in _kinds(cls)}
    if not isinstance(value, dict) or "kind" not in value:
        return classes[0]
    if not isinstance(value["kind"], str) or value["kind"] not in kinds:
        hint = suggestion(str(value["kind"]), list(kinds))
        raise ValueError(f"{where}: kind is {value['kind']!r}{hint}; known: {', '.join(kinds)}")
    return kinds[value["kind"]]


def _kinds(cls: type) -> tuple[str, ...]:
    return next(f.metadata["known"] for f in dataclasses.fields(cls) if f.name == "kind")


def suggestion(name: str, known: list[str]) -> str:
    """Return a hint at the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
