"""YAML from untrusted files: plain values only, limited in size, depth and number."""

from collections import Counter
from pathlib import Path

import yaml

from squbed_utils.files import read_bytes

MOST_BYTES = 2**18
MOST_VALUES = 50_000
"""Most values of a file, counting each alias as all that it stands for."""

DEEPEST = 20
LONGEST_NUMBER = 100
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read(path: Path, what: str) -> dict:
    """Return the keys and values of a YAML file; `what` names its kind in errors."""
    try:
        text = read_bytes(path, MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} {path} is not UTF-8 ({error}); save it as UTF-8") from error
    values = parse(text, f"{what} {path}")
    if not isinstance(values, dict):
        raise ValueError(f"{what} {path} holds {str(values)[:40]!r}; expected keys and values")
    return values


def parse(text: str, where: str) -> object:
    """Return the value of a YAML text; `where` starts every error."""
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(loader, node, [0])
        return loader.construct_document(node)
    except RecursionError as error:
        raise ValueError(f"{where} is not valid YAML: it is nested too deep") from error
    except (yaml.YAMLError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"{where} is not valid YAML: {problem}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check(loader: yaml.SafeLoader, node: yaml.Node, seen: list[int], depth: int = 1) -> None:
    """Refuse tags, repeated keys, and more values or levels than a profile can need."""
    seen[0] += 1
    if seen[0] > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES:,} values, aliases counted in full")
    if depth > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels, or holds itself")
    place = f"line {node.start_mark.line + 1}"
    scalar = isinstance(node, yaml.ScalarNode)
    plain = scalar and node.style is None
    if node.tag != loader.resolve(type(node), node.value if scalar else None, (plain, not plain)):
        raise ValueError(f"{place} has the tag {node.tag!r}; expected plain values")
    if scalar:
        if node.tag in NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise ValueError(f"{place} has a number of {len(node.value):,} digits")
        return
    if isinstance(node, yaml.MappingNode):
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if keys and max(keys.values()) > 1:
            raise ValueError(f"the key {keys.most_common(1)[0][0][:40]!r} stands twice ({place})")
    for child in node.value:
        for each in child if isinstance(child, tuple) else (child,):
            _check(loader, each, seen, depth + 1)
