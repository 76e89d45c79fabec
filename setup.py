"""A wheel carries, beside the code, what it reads: data, notebooks and the reference tables.

In a clone they lie where git has them; everything else about the package is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = [f"data/{name}" for name in ("instructions", "profiles", "published", "templates")]
CARRIED += [
    "data/bars.yaml",
    "data/figures.mplstyle",
    "data/world",
    "notebooks",
    "figures/reference/data",
]


class BuildWithData(build_py):
    """Copy them into the package as ``repository/``, where ``squbed_utils.files.ROOT`` looks."""

    def run(self) -> None:
        """Build the package, and copy the files unless the install only points at the clone."""
        super().run()
        if not self.editable_mode:
            for name in CARRIED:
                target = Path(self.build_lib) / "squbed_utils" / "repository" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if Path(name).is_dir():
                    shutil.copytree(name, target, dirs_exist_ok=True)
                else:
                    shutil.copy(name, target)


setup(cmdclass={"build_py": BuildWithData})
