"""What a fresh clone promises: pins in step, light imports, small files, clean notebooks."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import squbed_utils

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["dev"]
LOCK = (ROOT / "requirements.lock").read_text()
MEGABYTE = 1_000_000

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run(*command, **options):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


def tracked_files():
    listing = run("git", "ls-files", "-z")
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def pins():
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


def version_of(name):
    (specifier,) = pins()[canonicalize_name(name)].specifier
    return specifier.version


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda text: Requirement(text).name)
def test_the_lock_satisfies_pyproject(dependency):
    requirement = Requirement(dependency)
    assert requirement.specifier.contains(version_of(requirement.name))


def test_the_lock_pins_one_exact_version_of_each_package():
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    assert len(pins()) == len(lines)
    for pin in pins().values():
        assert [specifier.operator for specifier in pin.specifier] == ["=="], str(pin)


def test_the_lock_names_no_address():
    assert "://" not in LOCK
    assert not re.search(r"^\s*-", LOCK, flags=re.MULTILINE)
    assert all(pin.url is None for pin in pins().values())


@pytest.mark.parametrize("name", ["triton", "cuda-bindings", "cuda-toolkit"])
def test_cuda_packages_are_skipped_on_macos(name):
    assert not pins()[name].marker.evaluate({"sys_platform": "darwin"})
    assert pins()[name].marker.evaluate({"sys_platform": "linux"})


def test_every_nvidia_package_is_skipped_on_macos():
    nvidia = [pin for name, pin in pins().items() if name.startswith("nvidia-")]
    assert nvidia
    assert not [str(pin) for pin in nvidia if pin.marker.evaluate({"sys_platform": "darwin"})]


def test_conda_installs_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, *_, through_pip = environment["dependencies"]
    assert PYPROJECT["project"]["requires-python"] == python.replace("python=", ">=")
    assert through_pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_a_start_in_a_browser_is_prepared():
    """It fills the archive of a profile that there is, with the versions that are tested."""
    script = ROOT / ".binder" / "postBuild"
    assert script.stat().st_mode & 0o111 and run("bash", "-n", str(script)).returncode == 0
    (profile,) = re.findall(r"squbed collect --profile (\S+)", script.read_text())
    assert (ROOT / "data" / "profiles" / f"{profile}.yaml").is_file()
    assert "--constraint requirements.lock --editable ." in script.read_text()
    oldest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert (ROOT / ".binder" / "runtime.txt").read_text() == f"python-{oldest}\n"


def test_pre_commit_uses_the_locked_versions():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    for hook in hooks:
        (pin,) = map(Requirement, hook["additional_dependencies"])
        assert str(pin.specifier) == f"=={version_of(pin.name)}"


def test_citation_and_changelog_have_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == squbed_utils.__version__
    assert f"\n## {squbed_utils.__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_citation_has_the_paper():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    assert paper["url"].endswith("/2510.02571")
    assert [a["family-names"] for a in paper["authors"]] == ["Mei", "Shorinwa", "Majumdar"]


def test_every_file_in_git_is_small():
    large = [path.name for path in tracked_files() if path.stat().st_size > 10 * MEGABYTE]
    assert large == []


def test_the_checkpoints_are_small():
    world = ROOT / "data" / "world"
    sizes = [path.stat().st_size for path in tracked_files() if path.is_relative_to(world)]
    assert sum(sizes) <= 60 * MEGABYTE


def test_notebooks_have_no_outputs():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text())
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code), path.name
        assert "papermill" not in notebook["metadata"], path.name


@pytest.mark.parametrize("module", ["squbed_utils", "squbed_utils.statistics.calibration"])
def test_importing_loads_no_model_library(module):
    probe = f"import sys, {module}; print({{'torch', 'diffusers'}} & set(sys.modules))"
    result = run(sys.executable, "-c", probe, check=True)
    assert result.stdout.strip() == "set()"


@needs_make
@pytest.mark.parametrize("target", ["figures", "test", "test-slow", "lab", "lint", "clean", "help"])
def test_make_has_the_target(target, tmp_path):
    result = run("make", "--dry-run", target, f"VENV={tmp_path}", f"PYTHON={sys.executable}")
    assert result.returncode == 0, result.stderr


@needs_make
def test_make_refuses_an_old_python(tmp_path):
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = run("make", "lint", f"VENV={tmp_path / 'venv'}", f"PYTHON={old}")
    assert result.returncode == 2
    assert f"Python 3.11 or newer is needed, but '{old}' is not" in result.stderr
    assert not (tmp_path / "venv").exists()
