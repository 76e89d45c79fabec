"""Which room may import which, and what stays unloaded until it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "squbed_utils"

TOOLS = {"files", "text", "csv_files", "plain_yaml", "playback", "video"}
ROLES = {"settings", "video_models", "roles"}
LEFT = TOOLS | ROLES | {"instructions", "profiles", "archive", "estimators", "world"}
MAY_IMPORT = {
    "files": set(),
    "text": set(),
    "csv_files": {"files", "text"},
    "plain_yaml": {"files", "text"},
    "playback": {"files"},
    "video": {"files", "playback"},
    "world": {"files"},
    "instructions": {"files"},
    "settings": {"files", "text"},
    "video_models": {"files", "text", "instructions", "settings"},
    "roles": {"files", "text", "instructions", "settings", "video_models"},
    "profiles": ROLES | {"files", "text", "plain_yaml", "archive", "estimators"},
    "archive": TOOLS,
    "tasks": LEFT,
    "models": LEFT | {"tasks"},
    "collection": LEFT | {"tasks", "models"},
    "estimators": set(),
    "statistics": TOOLS | {"archive", "estimators"},
    "figures": {"files", "text"},
}
"""Room, or module at the door -> what of the package it may import beside itself. What is not named
here is a command: it may import everything, and nothing but commands imports it."""

ESTIMATORS_IMPORT = {"numpy", "scipy"}
TORCH = {"torch", "torchvision", "diffusers", "transformers", "sentence_transformers", "open_clip"}
TORCH_AT_ONCE = {"models"}
"""The room that may import torch, and what stands on it, at module level."""


def imports(path):
    """(line, module, whether at module level) of every import but those for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing, inner = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            typing |= set(ast.walk(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in typing:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, node not in inner
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}", node not in inner


def broken(package):
    """One line for every import that a rule forbids."""
    lines = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        room, where = parts[0], path.relative_to(package.parent)
        if room == "__init__":
            continue
        for line, name, at_once in imports(path):
            top, *below = name.split(".")
            if top == "squbed_utils" and below:
                other = below[0]
                if (package / other).is_dir() or (package / f"{other}.py").is_file():
                    allowed = MAY_IMPORT.get(room, {other}) | {room}
                    if other not in allowed or (other not in MAY_IMPORT and room in MAY_IMPORT):
                        lines.append(f"{where}:{line}: {room} imports {name}")
                elif room in MAY_IMPORT:
                    lines.append(f"{where}:{line}: {room} imports {name} from the public face")
            elif room == "estimators" and top not in ESTIMATORS_IMPORT | sys.stdlib_module_names:
                lines.append(f"{where}:{line}: estimators imports {top}")
            elif top in TORCH and at_once and room not in TORCH_AT_ONCE:
                lines.append(f"{where}:{line}: {room} imports {top} at module level")
    return lines


def test_every_room_imports_only_what_it_may():
    assert not broken(PACKAGE), "\n" + "\n".join(broken(PACKAGE))


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("archive/layout.py", "from squbed_utils.tasks import clips", "archive imports"),
        ("tasks/task.py", "from squbed_utils.models.errors import Stop", "tasks imports"),
        ("models/load.py", "from squbed_utils.statistics.summary import TERMS", "models imports"),
        ("estimators/vmf.py", "import pandas as pd", "estimators imports pandas"),
        ("estimators/vmf.py", "from squbed_utils.files import replacing", "estimators imports"),
        ("statistics/audit.py", "from squbed_utils import figures", "statistics imports"),
        ("figures/style.py", "from squbed_utils.archive import layout", "figures imports"),
        ("collection/collect.py", "from squbed_utils.cli import main", "collection imports"),
        ("collection/collect.py", "from squbed_utils import load", "from the public face"),
        ("world/scenes.py", "from squbed_utils.video import read", "world imports"),
        ("video.py", "import torch", "video imports torch at module level"),
    ],
)
def test_a_line_that_breaks_a_rule_is_named(tmp_path, file, line, said):
    for path in PACKAGE.rglob("*.py"):
        copy = tmp_path / "squbed_utils" / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("", encoding="utf-8")
    (tmp_path / "squbed_utils" / file).write_text(f'"""A module."""\n\n{line}\n', encoding="utf-8")
    (found,) = broken(tmp_path / "squbed_utils")
    assert found.startswith(f"squbed_utils/{file}:3: ") and said in found


def loaded(*lines):
    """Names of the modules that a fresh interpreter has loaded after some lines."""
    code = "\n".join([*lines, "import sys", "print(*sys.modules)"])
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_opening_an_archive_loads_no_model_no_image_library_and_no_world():
    frozen = Path(__file__).parents[1] / "data" / "archive"
    names = loaded(
        "from squbed_utils import open_archive",
        f"archive = open_archive({str(frozen)!r})",
        "archive.videos(), archive.tasks()",
    )
    assert not names & {"torch", "skimage", "sklearn", "squbed_utils.world", "squbed_utils.models"}


def test_estimators_load_numpy_and_scipy_alone():
    names = loaded("import squbed_utils.estimators.estimate")
    assert not names & {"torch", "skimage", "sklearn", "pandas", "pyarrow", "matplotlib", "yaml"}
    ours = {name for name in names if name.startswith("squbed_utils.")}
    assert all(name.startswith("squbed_utils.estimators") for name in ours)


def test_a_public_name_is_a_function_whatever_was_imported_before():
    code = """
import squbed_utils
names = [name for name in squbed_utils.__all__ if name != "__version__"]
before = {name: getattr(squbed_utils, name) for name in names}
import importlib, pkgutil
for name in names:
    importlib.import_module(before[name].__module__)
assert not {m.name for m in pkgutil.iter_modules(squbed_utils.__path__)} & set(names)
for name in names:
    space = {}
    exec(f"from squbed_utils import {name}", space)
    assert callable(space[name]) and space[name] is before[name], name
    assert space[name].__name__ == name
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_face_is_what_a_dir_shows_and_nothing_else_is_found():
    import squbed_utils

    face = {"open_archive", "open_run", "load", "collect", "score", "quantify", "estimate"}
    assert face < set(dir(squbed_utils))
    with pytest.raises(AttributeError, match="no attribute 'save'"):
        squbed_utils.save  # noqa: B018
