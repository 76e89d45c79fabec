"""The one list of notebooks: parameters, inputs, outputs; and the running of them in order."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm.auto import tqdm

from squbed_utils._files import replacing
from squbed_utils.profiles import FOLDER, ROOT, SAMPLES, find, load, path_of
from squbed_utils.samples import open_archive

SOURCES = ROOT / "notebooks"
PUBLISHED = ROOT / "data" / "published"
LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy", "seaborn")
"""Whose versions a figure's bytes depend on."""

KERNEL = "python3"
COMMON = ("profile", "samples", "output")


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
        return drawn + [folder / "data" / f"{name}.csv" for name in tables]


NOTEBOOKS = (
    Notebook(
        "00_collect_samples",
        parameters=(*COMMON, "workers", "task"),
        figures=("contact_sheet", "figure_2"),
        tables=("collected", "figure_2", "figure_2_terms"),
        published=False,
        fills=True,
    ),
    Notebook(
        "01_metric_selection",
        parameters=(*COMMON, "estimator", "ranking", "per_level"),
        figures=("figure_3",),
        tables=("figure_3", "figure_3_statistics", "figure_3_all_metrics"),
    ),
    Notebook(
        "02_total_uncertainty",
        parameters=(*COMMON, "estimator"),
        figures=("figure_4",),
        tables=("summary", "figure_4", "figure_4_statistics", "figure_4_terms"),
        truth_tables=("figure_4_findings",),
    ),
    Notebook(
        "03_disentanglement",
        parameters=(*COMMON, "estimator", "accuracy", "fraction"),
        figures=("figure_1", "figure_5", "subset_size"),
        tables=("figure_1", "figure_5", "figure_5_statistics", "subset_size"),
        truth_figures=("truth",),
        truth_tables=("truth", "truth_statistics", "truth_taus", "figure_5_findings"),
    ),
)


class NotebookError(RuntimeError):
    """A notebook failed, or did not write what it should."""


def archive_folder(profile: str | Path, samples: str | Path = "") -> Path:
    """Return the folder of an archive, wherever the caller runs.

    Parameters
    ----------
    profile : str or path
        A name or a ``.yaml`` file, as `profiles.load`.
    samples : path, optional
        The folder itself, absolute or relative to the repository; empty: the profile's.

    Raises
    ------
    FileNotFoundError, ValueError
        As `profiles.load`.
    """
    return path_of(samples) if str(samples) else SAMPLES / load(profile).name


def run_all(
    profile: str | Path,
    *,
    samples: Path | str | None = None,
    figures: Path | str = Path("figures"),
    build: Path | str = Path("build/notebooks"),
    only: Sequence[str] | None = None,
    parameters: Mapping[str, object] | None = None,
) -> list[Path]:
    """Run the notebooks in order, leaving out those whose inputs and outputs have not changed.

    Executed copies, their HTML and a record of inputs go to ``<build>/<profile>/``.

    Parameters
    ----------
    profile : str or path
        A name in ``data/profiles/``, or a ``.yaml`` file.
    samples : path, optional
        The archive; by default ``data/samples/<profile>``.
    figures, build : path
        Where figures and executed notebooks go, relative to the working directory.
    only : sequence of str, optional
        Names of the notebooks to run; by default all.
    parameters : mapping, optional
        Further parameters; each notebook gets those that it takes.

    Returns
    -------
    list of Path
        All figures and tables.

    Raises
    ------
    FileNotFoundError
        If an input is missing.
    ValueError
        If a notebook or a parameter is unknown; before anything runs.
    NotebookError
        If a notebook fails, or does not write what the list says. The others are not run.
    """
    chosen = _choose(only)
    name = load(profile).name
    archive = Path(samples).absolute() if samples else archive_folder(profile)
    given = {"profile": str(find(profile).absolute()) if _is_file(profile) else str(profile)}
    given |= {"samples": str(archive), "output": str(Path(figures).absolute())}
    runs = [(notebook, _parameters_of(notebook, given, parameters or {})) for notebook in chosen]
    _refuse_unused(chosen, parameters or {})
    written = []
    for number, (notebook, values) in enumerate(runs, 1):
        run = _Run(notebook, values, archive, Path(build).absolute() / name)
        title = f"[{number}/{len(runs)}] {notebook.name}"
        if run.is_finished():
            tqdm.write(f"{title}: unchanged")
        else:
            run.execute(title)
        written += run.outputs()
    return written


@dataclass(frozen=True)
class _Run:
    """One notebook with the values of its parameters."""

    notebook: Notebook
    values: dict[str, object]
    archive: Path
    build: Path

    def file(self, ending: str) -> Path:
        return self.build / f"{self.notebook.name}{ending}"

    def outputs(self) -> list[Path]:
        truth = (self.archive / "truth.parquet").is_file()
        return self.notebook.outputs(Path(self.values["output"]), truth=truth)

    def results(self) -> list[Path]:
        return [*self.outputs(), self.file(".ipynb"), self.file(".html")]

    def key(self) -> str:
        """Hash all that the outputs depend on."""
        files = [self.notebook.path, *sorted((ROOT / "squbed_utils").rglob("*.py"))]
        files += sorted(FOLDER.glob("*.yaml"))
        if _is_file(self.values["profile"]):
            files.append(Path(self.values["profile"]))
        if self.notebook.published:
            files += sorted(PUBLISHED.glob("*.csv"))
        versions = {name: version(name) for name in LIBRARIES}
        digest = hashlib.sha256(json.dumps([self.values, versions], sort_keys=True).encode())
        for file in files:
            digest.update(f"\0{file.name}\0{_sha256(file)}".encode())
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
        if not self.notebook.fills:
            open_archive(self.archive)
        if self.notebook.published and not any(PUBLISHED.glob("*.csv")):
            raise FileNotFoundError(f"{self.notebook.name} reads {PUBLISHED}, which has no CSV")

    def run_cells(self, title: str) -> None:
        import papermill
        from nbclient.exceptions import DeadKernelError

        partial, failed = self.file(".partial.ipynb"), self.file(".failed.ipynb")
        try:
            papermill.execute_notebook(
                self.notebook.path,
                partial,
                parameters=self.values,
                kernel_name=KERNEL,
                cwd=SOURCES,
                progress_bar={"desc": title},
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
        seen = path.stat().st_size if path.suffix == ".mp4" else _sha256(path)
        digest.update(f"{name}\0{seen}\0".encode())
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    return (Path(top) / name for top, _, names in os.walk(folder) for name in names)


def _choose(only: Sequence[str] | None) -> list[Notebook]:
    known = {notebook.name: notebook for notebook in NOTEBOOKS}
    wanted = [name.removesuffix(".ipynb") for name in only] if only else list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"unknown notebook {unknown[0]!r}; known: {', '.join(known)}")
    return [notebook for name, notebook in known.items() if name in wanted]


def _parameters_of(notebook: Notebook, given: Mapping, further: Mapping) -> dict[str, object]:
    """Return the values that a notebook gets, refusing a list that its source does not bear out."""
    import papermill

    if not notebook.path.is_file():
        raise FileNotFoundError(f"no notebook {notebook.path}; restore it from the repository")
    found = set(papermill.inspect_notebook(notebook.path))
    if found != set(notebook.parameters):
        differing = ", ".join(sorted(found ^ set(notebook.parameters)))
        raise ValueError(
            f"{notebook.name} and squbed_utils.notebooks.NOTEBOOKS differ in the parameters "
            f"{differing}; name each in both"
        )
    values = {**given, **further}
    return {name: values[name] for name in notebook.parameters if name in values}


def _refuse_unused(chosen: Sequence[Notebook], parameters: Mapping[str, object]) -> None:
    known = sorted({name for notebook in chosen for name in notebook.parameters})
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; known: {', '.join(known)}")


def _is_file(profile: str | Path) -> bool:
    return str(profile).endswith((".yaml", ".yml"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {str(path): _sha256(path) if path.is_file() else "missing" for path in paths}


def _to_html(executed: Path) -> str:
    from nbconvert import HTMLExporter

    return HTMLExporter().from_filename(str(executed))[0]
