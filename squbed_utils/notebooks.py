"""The one list of notebooks with their parameters, inputs and outputs; and their run in order."""

import ast
import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from squbed_utils import plain_yaml
from squbed_utils.archive.archive import open_archive
from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.files import ROOT, SAMPLES, inside, path_of, replacing, sha256_of
from squbed_utils.profiles import FOLDER, find, load
from squbed_utils.statistics.tables import METRICS

LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy", "seaborn")
"""Libraries whose versions change a figure's bytes."""

KERNEL, START_TIMEOUT = "python3", 300

SOURCES = ROOT / "notebooks"

PUBLISHED = ROOT / "data" / "published"


class NotebookError(RuntimeError):
    """A notebook failed, or did not write all its outputs."""


@dataclass(frozen=True)
class Notebook:
    """A notebook's parameters (those of its cell tagged ``parameters``), inputs and outputs.

    It writes each of `figures` as ``.pdf`` and ``.png``, `tables` as ``data/<table>.csv`` and
    `latex` also as ``.tex``; where the archive has a truth, the `truth_` ones too. `published`: it
    reads ``data/published/``. `fills`: it fills the archive, which others only read.
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
        """The path of its source."""
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
    """A notebook, its parameters' values, its archive, and the folder of the executed copy."""

    notebook: Notebook
    values: dict[str, object]
    archive: Path
    build: Path

    def file(self, ending: str) -> Path:
        """Return the path of a file that the run writes into its build folder."""
        return self.build / f"{self.notebook.name}{ending}"

    def outputs(self) -> list[Path]:
        """Return the paths of the figures and tables that the run must write."""
        truth = (self.archive / "truth.parquet").is_file()
        return self.notebook.outputs(Path(self.values["output"]), truth=truth)

    def results(self) -> list[Path]:
        """Return the paths of everything that the run writes."""
        return [*self.outputs(), self.file(".ipynb"), self.file(".html")]

    def key(self) -> str:
        """Return a hash of everything that the outputs depend on."""
        files = [self.notebook.path, *sorted(Path(__file__).parent.rglob("*.py"))]
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
        """Say whether the record agrees with the inputs and outputs as they are now."""
        try:
            record = json.loads(self.file(".json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        if record.get("outputs") != _hashes(self.results()):
            return False
        return record.get("inputs") == self.key()

    def execute(self, title: str) -> None:
        """Run the notebook, check what it wrote, and then record it as finished."""
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
        """Run the cells; an error names the cell that failed."""
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
        """Refuse a run that did not write all its outputs."""
        stale = [p for p in self.outputs() if not p.is_file() or p.stat().st_mtime_ns < start]
        if stale:
            self.file(".ipynb").unlink()
            names = ", ".join(path.name for path in stale)
            raise NotebookError(
                f"{self.notebook.name} ran but did not write {names}; correct the notebook or "
                "squbed_utils.notebooks.NOTEBOOKS"
            )


def digest_archive(folder: Path) -> str:
    """Return a hash of an archive: tables by content, videos by name and size.

    The tables hold the videos' scores. A missing folder has the hash of nothing.
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
    """Say whether a profile is given as a file rather than a name."""
    return str(profile).endswith((".yaml", ".yml"))


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {str(path): sha256_of(path) if path.is_file() else "missing" for path in paths}


def _to_html(executed: Path) -> str:
    from nbconvert import HTMLExporter

    return HTMLExporter().from_filename(str(executed))[0]


__all__ = ["NOTEBOOKS", "Notebook", "NotebookError", "archive_folder", "digest_archive", "run_all"]

COMMON = ("profile", "samples", "output")

RANGES = {
    **dict.fromkeys(("workers", "per_level"), ("1 or more", lambda value: value >= 1)),
    **dict.fromkeys(("level", "bound"), ("above 0", lambda value: value > 0)),
    "fraction": ("above 0, to 1", lambda value: 0 < value <= 1),
    "accuracy": (f"one of {', '.join(METRICS)}", lambda value: value in ("", *METRICS)),
    "estimator": ("one that is registered", ESTIMATORS.__contains__),
    "ranking": ("a file that is there", lambda value: not value or path_of(value).is_file()),
}
"""What a parameter's value must be, beside having the type of its default."""

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
    Notebook(
        "04_estimators",
        parameters=(*COMMON, "accuracy", "threshold"),
        figures=("leaderboard", "rejection"),
        tables=("leaderboard", "leaderboard_rejection"),
        latex=("leaderboard",),
        truth_figures=("signals",),
        truth_tables=("leaderboard_signals", "leaderboard_disentanglement"),
        published=False,
    ),
    Notebook(
        "05_audit",
        parameters=(*COMMON, "estimator", "accuracy", "fraction"),
        figures=("audit",),
        tables=("audit", "audit_sweep", "audit_agreement", "audit_fit", "audit_published"),
    ),
    Notebook(
        "06_decision",
        parameters=(*COMMON, "estimator", "accuracy", "target", "level", "bound"),
        figures=("decision",),
        tables=("decision", "decision_reliability", "decision_risk", "decision_actions"),
        published=False,
    ),
)

NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
NAMES |= {list: "a list, as in [1, 2]", dict: "names and values"}
"""Types of parameters -> how errors call them."""


def archive_folder(profile: str | Path, samples: str | Path = "") -> Path:
    """Return the folder of an archive, whatever the working directory is.

    Parameters
    ----------
    profile : str or path
        A name or a ``.yaml`` file, as in `profiles.load`.
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
    """Run the notebooks in order, skipping unchanged ones; return all figures and tables.

    A notebook is unchanged if its inputs and outputs are as recorded. `only` names those to run
    (default: all); each gets the `parameters` that it takes. `samples` is the archive (default: the
    profile's). Outputs go to `figures`, executed copies, their HTML and records to
    ``<build>/<profile>/``. Unknown names and values of a wrong type or range are a ValueError
    before anything runs; a NotebookError stops the run.
    """
    chosen = _choose(only)
    name = load(profile).name
    archive = Path(samples).absolute() if samples else archive_folder(profile)
    given = {"profile": str(find(profile).absolute()) if is_file(profile) else str(profile)}
    given |= {"samples": str(archive), "output": str(Path(figures).absolute())}
    runs = [(notebook, _parameters_of(notebook, given, parameters or {})) for notebook in chosen]
    _refuse_unused(chosen, parameters or {})
    written = []
    for number, (notebook, values) in enumerate(runs, 1):
        run = Run(notebook, values, archive, Path(build).absolute() / name)
        title = f"[{number}/{len(runs)}] {notebook.name}"
        if run.is_finished():
            tqdm.write(f"{title}: unchanged")
        else:
            run.execute(title)
        written += run.outputs()
    return written


def parse(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Read typed parameters: text stays as it is (001, NA), anything else is YAML."""
    defaults = {}
    for notebook in NOTEBOOKS:
        defaults |= _defaults(notebook)
    values = {}
    for name, text in pairs:
        if isinstance(defaults.get(name), str) and not text.startswith(("'", '"')):
            values[name] = text
            continue
        values[name] = plain_yaml.parse(text, f"the value of {name}")
    return values


def _choose(only: Sequence[str] | None) -> list[Notebook]:
    known = {notebook.name: notebook for notebook in NOTEBOOKS}
    wanted = [name.removesuffix(".ipynb") for name in only] if only else list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"unknown notebook {unknown[0]!r}; known: {', '.join(known)}")
    return [notebook for name, notebook in known.items() if name in wanted]


def _parameters_of(notebook: Notebook, given: Mapping, further: Mapping) -> dict[str, object]:
    """Return the values that a notebook gets; refuse it if its source has other parameters."""
    defaults = _defaults(notebook)
    found = set(defaults)
    if found != set(notebook.parameters):
        differing = ", ".join(sorted(found ^ set(notebook.parameters)))
        raise ValueError(
            f"{notebook.name} and squbed_utils.notebooks.NOTEBOOKS differ in the parameters "
            f"{differing}; name each in both"
        )
    values = {**given, **further}
    values = {name: values[name] for name in notebook.parameters if name in values}
    for name, value in values.items():
        _check(name, value, defaults[name])
    return values


def _defaults(notebook: Notebook) -> dict[str, object]:
    import papermill

    if not notebook.path.is_file():
        raise FileNotFoundError(f"no notebook {notebook.path}; restore it from the repository")
    found = papermill.inspect_notebook(notebook.path)
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


def _check(name: str, value: object, default: object) -> None:
    """Refuse a value of another type than its default (None: or a number), or out of range."""
    expected = "None or a number" if default is None else NAMES[type(default)]
    right = type(value) is type(default)
    if isinstance(default, float | None):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        right = number and math.isfinite(value) or value is default
    elif isinstance(default, list) and right and default:
        right = all(type(item) is type(default[0]) for item in value)
        expected += f", each {NAMES[type(default[0])]}"
    if right and name in RANGES:
        described, is_allowed = RANGES[name]
        expected, right = f"{expected}, {described}", is_allowed(value)
    if not right:
        shown = path_of(value) if name == "ranking" and isinstance(value, str) else repr(value)
        raise ValueError(f"parameter {name} is {shown}; expected {expected}")


def _refuse_unused(chosen: Sequence[Notebook], parameters: Mapping[str, object]) -> None:
    known = sorted({name for notebook in chosen for name in notebook.parameters})
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; known: {', '.join(known)}")
