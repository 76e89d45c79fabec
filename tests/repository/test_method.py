"""What docs/method.md and docs/validation.md name exists."""

import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "method.md").read_text(encoding="utf-8")
PACKAGE = DOCS.parent / "squbed_utils"
NAMES = sorted(set(re.findall(r"`([a-z_]+\.[a-z_]+)`", TEXT)))


@pytest.mark.parametrize("name", NAMES)
def test_every_function_named_exists(name):
    module, function = name.split(".")
    paths = [*PACKAGE.glob(f"{module}.py"), *PACKAGE.glob(f"*/{module}.py")]
    dotted = [".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in paths]
    modules = map(importlib.import_module, dotted)
    assert any(callable(getattr(module, function, None)) for module in modules)


def test_every_equation_is_numbered_once_and_names_a_function():
    numbers = re.findall(r"\\tag\{([MA]\d+[a-z]?)\}", TEXT)
    assert len(numbers) == len(set(numbers))
    assert {f"A{i}" for i in range(1, 12)} <= set(numbers)
    for i in range(1, 11):
        assert f"(M{i})" in TEXT or f"\\tag{{M{i}}}" in TEXT


def test_links_between_documents_lead_somewhere():
    for page in ("method.md", "validation.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (DOCS / target).is_file(), target


def test_the_package_is_where_the_names_are_looked_up():
    assert importlib.import_module("squbed_utils.estimators.vmf") and len(NAMES) > 30
