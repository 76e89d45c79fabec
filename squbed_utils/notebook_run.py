"""One run of a notebook: what it depends on, its execution, and the record of both."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from squbed_utils.archive.archive import open_archive
from squbed_utils.files import ROOT, inside, path_of, replacing, sha256_of
from squbed_utils.profiles import FOLDER

LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy", "seaborn")
"""Whose versions a figure's bytes depend on."""

KERNEL, START_TIMEOUT = "python3", 300
SOURCES = ROOT / "notebooks"
PUBLISHED = ROOT / "data" / "published"


class NotebookError(RuntimeError):
    """A notebook failed, or did not write what it should."""


@dataclass(frozen=True)
class Notebook:
    """A notebook and what it takes, reads and writes.

    Attributes
    ----------
    name : str
        File name without ending.
    parameters : tuple of str
        All names in its cell tagged ``parameters``.
    figures, tables : tuple of str
        What it writes: ``<figure>.pdf`` and ``.png``, and ``data/<table>.csv``.
    latex : tuple of str
        Tables that it also writes as ``data/<table>.tex``.
    truth_figures, truth_tables : tuple of str
        What it writes in addition where the archive has a truth.
    published : bool
        Whether it reads ``data/published/``.
    fills : bool
        Whether it fills the archive; any other only reads a finished one.

    """

    name: str
    parameters: tuple[str, ...]
    figures: tuple[str, ...]
    tables: tuple[str, ...]
    latex: tuple[str, ...] = ()
    truth_figures: tuple[str, ...] = ()
    truth_tables: tuple[str, ...] = ()
    published: bool = True
    fills: bool = False

    @property
    def path(self) -> Path:
        """Where its source lies."""
        return SOURCES / f"{self.name}.ipynb"

    def outputs(self, folder: Path, *, truth: bool) -> list[Path]:
        """Return the files that it writes into the folder of figures."""
        figures = self.figures + self.truth_figures * truth
        tables = self.tables + self.truth_tables * truth
        drawn = [folder / f"{name}.{kind}" for name in figures for kind in ("pdf", "png")]
        files = [f"{name}.csv" for name in tables] + [f"{name}.tex" for name in self.latex]
        return drawn + [folder / "data" / name for name in files]


@dataclass(frozen=True)
class Run:
    """A notebook with the values of its parameters.

    Attributes
    ----------
    notebook : notebooks.Notebook
    values : dict
        Parameter -> value.
    archive, build : Path
        The archive, and where the executed copy, its HTML and the record go.

    """

    notebook: Notebook
    values: dict[str, object]
    archive: Path
    build: Path

    def file(self, ending: str) -> Path:
        """Path of a file that the run leaves in its build folder."""
        return self.build / f"{self.notebook.name}{ending}"

    def outputs(self) -> list[Path]:
        """Paths of the figures and tables that the run has to write."""
        truth = (self.archive / "truth.parquet").is_file()
        return self.notebook.outputs(Path(self.values["output"]), truth=truth)

    def results(self) -> list[Path]:
        """Paths of everything that the run writes."""
        return [*self.outputs(), self.file(".ipynb"), self.file(".html")]

    def key(self) -> str:
        """Hash all that the outputs depend on."""
        files = [self.notebook.path, *sorted((ROOT / "squbed_utils").rglob("*.py"))]
        files += sorted(FOLDER.glob("*.yaml"))
        if is_file(self.values["profile"]):
            files.append(Path(self.values["profile"]))
        if self.values.get("ranking"):
            files.append(path_of(self.values["ranking"]))
        if self.notebook.published:
            files += sorted(PUBLISHED.glob("*.csv"))
        versions = {name: version(name) for name in LIBRARIES}
        digest = hashlib.sha256(json.dumps([self.values, versions], sort_keys=True).encode())
        for file in files:
            digest.update(f"\0{file.name}\0{sha256_of(file)}".encode())
        digest.update(digest_archive(self.archive).encode())
        return digest.hexdigest()

    def is_finished(self) -> bool:
        """Say whether the record is of these inputs and of the outputs as they lie there."""
        try:
            record = json.loads(self.file(".json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        if record.get("outputs") != _hashes(self.results()):
            return False
        return record.get("inputs") == self.key()

    def execute(self, title: str) -> None:
        """Run the notebook, check what it wrote, and only then record it as finished."""
        self.require_inputs()
        start = time.time_ns()
        for ending in (".json", ".ipynb", ".html", ".failed.ipynb"):
            self.file(ending).unlink(missing_ok=True)
        self.build.mkdir(parents=True, exist_ok=True)
        self.run_cells(title)
        self.require_outputs(start)
        with replacing(self.file(".html")) as partial:
            partial.write_text(_to_html(self.file(".ipynb")), encoding="utf-8")
        record = {"inputs": self.key(), "outputs": _hashes(self.results())}
        with replacing(self.file(".json")) as partial:
            partial.write_text(json.dumps(record, indent=1), encoding="utf-8")

    def require_inputs(self) -> None:
        """Refuse a notebook whose inputs are missing."""
        if not self.notebook.fills:
            open_archive(self.archive)
        if self.notebook.published and not any(PUBLISHED.glob("*.csv")):
            raise FileNotFoundError(f"{self.notebook.name} reads {PUBLISHED}, which has no CSV")

    def run_cells(self, title: str) -> None:
        """Run the cells, and say which one failed."""
        import papermill
        from nbclient.exceptions import DeadKernelError
        from traitlets.config import Config

        partial, failed = self.file(".partial.ipynb"), self.file(".failed.ipynb")
        try:
            papermill.execute_notebook(
                self.notebook.path,
                partial,
                parameters=self.values,
                kernel_name=KERNEL,
                cwd=SOURCES,
                start_timeout=START_TIMEOUT,
                progress_bar={"desc": title},
                extra_arguments=["--log-level=CRITICAL"],  # an interrupt at its end is no error
                config=Config(KernelManager={"transport": "ipc"}),  # no port, nothing to overhear
            )
        except papermill.PapermillExecutionError as error:
            os.replace(partial, failed)
            raise NotebookError(
                f"{self.notebook.name} failed in cell {error.exec_count}: {error.ename}: "
                f"{error.evalue}; the executed copy is {failed}"
            ) from error
        except DeadKernelError as error:
            raise NotebookError(
                f"the kernel of {self.notebook.name} died; is there enough memory?"
            ) from error
        os.replace(partial, self.file(".ipynb"))

    def require_outputs(self, start: int) -> None:
        """Refuse a run that left a result unwritten."""
        stale = [p for p in self.outputs() if not p.is_file() or p.stat().st_mtime_ns < start]
        if stale:
            self.file(".ipynb").unlink()
            names = ", ".join(path.name for path in stale)
            raise NotebookError(
                f"{self.notebook.name} ran but did not write {names}; correct the notebook or "
                "squbed_utils.notebooks.NOTEBOOKS"
            )


def digest_archive(folder: Path) -> str:
    """Hash an archive: tables by content, videos by name and size (their scores are in tables).

    Parameters
    ----------
    folder : Path

    Returns
    -------
    str
        Hexadecimal; of a missing folder, that of nothing.
    """
    digest = hashlib.sha256()
    for path in sorted(_files_below(folder)):
        if path.name.startswith("."):
            continue
        name = path.relative_to(folder).as_posix()
        inside(folder, name)
        seen = path.stat().st_size if path.suffix == ".mp4" else sha256_of(path)
        digest.update(f"{name}\0{seen}\0".encode())
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    return (Path(top) / name for top, _, names in os.walk(folder) for name in names)


def is_file(profile: str | Path) -> bool:
    """Say whether a profile is named by its file."""
    return str(profile).endswith((".yaml", ".yml"))


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {str(path): sha256_of(path) if path.is_file() else "missing" for path in paths}


def _to_html(executed: Path) -> str:
    from nbconvert import HTMLExporter

    return HTMLExporter().from_filename(str(executed))[0]
