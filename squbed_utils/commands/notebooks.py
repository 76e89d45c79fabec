"""The one list of notebooks, what they read and save with, and their run in order."""

import hashlib
import html
import json
import os
import time
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import pandas as pd
from IPython.display import HTML, Image, display
from matplotlib.figure import Figure
from pyarrow.parquet import read_schema
from pydantic import Field, FiniteFloat, PositiveInt, TypeAdapter, ValidationError
from tqdm import tqdm

from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import RATING
from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.figures import save as save_figure
from squbed_utils.figures.style import FAMILIES
from squbed_utils.files import PLACE, ROOT, SAMPLES, inside, path_of, sha256_of, write_text
from squbed_utils.profiles import FOLDER, find, load
from squbed_utils.statistics.tables import METRICS, NotShown, save_tables
from squbed_utils.text import expected, visible

SOURCES, TEMPLATE = ROOT / "notebooks", ROOT / "data" / "templates" / "notebook.html.j2"

LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy", "seaborn")
"""Libraries whose versions change a figure's bytes."""


class NotebookError(RuntimeError):
    """A notebook failed, or did not write all its outputs."""


class Shown(Image):
    """A saved figure, which a notebook shows with its caption below it."""

    caption = ""

    def _ipython_display_(self) -> None:
        display(Image(self.data, width=self.width))
        if self.caption:
            words = html.escape(visible(self.caption))
            display(HTML(f'<p class="tex2jax_ignore mathjax_ignore">{words}</p>'))


@dataclass(frozen=True)
class Run:
    """An archive, and the absolute folder of figures made from it; `open_run` makes one."""

    archive: Archive
    folder: Path
    style: str = "paper"

    def save(self, name: str, figure: Figure | None = None, **tables: pd.DataFrame) -> Shown | None:
        """Write a figure as PDF and PNG, its caption as text, and its tables as CSV.

        Parameters
        ----------
        name : str
            Name of the files, such as ``figure_4``.
        figure : Figure, optional
            Any that a function of `squbed_utils.figures` returns; what it shows is returned.
        **tables : DataFrame
            `points` goes to ``data/<name>.csv``, any other to ``data/<name>_<key>.csv``.
        """
        save_tables(self.folder, name, **tables)
        if figure is None:
            return None
        _, png, *_ = save_figure(figure, name, self.folder, style=self.style)
        shown = Shown(png, width=round(144 * figure.get_figwidth()))
        shown.caption = figure.get_label()
        return shown


def open_run(
    profile: str | Path,
    samples: str | Path = "",
    output: str | Path = "figures",
    style: str = "paper",
) -> Run:
    """Open a finished archive to draw figures from it; from then on warnings show as sentences.

    Relative paths start at the repository, whatever the working directory is; where the package is
    installed from a wheel, at the folder where Python was started.

    Parameters
    ----------
    profile : str or path
        A name or a ``.yaml`` file, as in `profiles.load`.
    samples : path, optional
        The archive's folder; by default ``data/samples/<profile>``.
    output : path, optional
        The folder that figures go to; made when the first is saved.
    style : str
        How figures are written, as in `figures.save`.
    """
    warnings.formatwarning = _as_sentence
    folder = PLACE / Path(output).expanduser()
    return Run(open_archive(archive_folder(profile, samples)), folder, style)


FORMAT = warnings.formatwarning


def _as_sentence(message: Warning, category: type[Warning], *place: object) -> str:
    """Return what a warning shows: of one for users its words, without the line of the code."""
    return f"{message}\n" if category is UserWarning else FORMAT(message, category, *place)


def archive_folder(profile: str | Path, samples: str | Path = "") -> Path:
    """Return the absolute path of an archive's folder, profile and samples as in `open_run`."""
    return PLACE / Path(samples).expanduser() if str(samples) else SAMPLES / load(profile).name


def is_sealed(folder: Path) -> bool:
    """Say whether an archive is finished, whatever profile, prompts or other archive it is of."""
    return bool(Archive(folder).sealed)


PARAMETERS = {
    **dict.fromkeys(("task", "ranking", "added", "ensemble", "prompts"), str),
    "style": Literal[*FAMILIES],
    "estimator": Literal[*ESTIMATORS],
    "accuracy": Literal["", *METRICS] | Annotated[str, Field(pattern=f"^{RATING.pattern}$")],
    **dict.fromkeys(("workers", "per_level", "per_rung"), PositiveInt),
    **dict.fromkeys(("level", "bound"), Annotated[FiniteFloat, Field(gt=0)]),
    "fraction": Annotated[FiniteFloat, Field(gt=0, le=1)],
    **dict.fromkeys(("target", "threshold"), FiniteFloat),
}
COMMON = ("profile", "samples", "output")


@dataclass(frozen=True)
class Notebook:
    """A notebook's parameters after the `COMMON` ones, its inputs and its outputs.

    It writes each of `figures` as ``.pdf``, ``.png`` and ``.txt`` (its caption), `tables` as
    ``data/<table>.csv`` and `latex` also as ``.tex``; where the archive's truth has the column
    `needs`, the `truth_` ones too, and the `asked_` ones where a parameter asks for them. `fills`:
    the archive need not be there.
    """

    name: str
    parameters: tuple[str, ...]
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    latex: tuple[str, ...] = ()
    truth_figures: tuple[str, ...] = ()
    truth_tables: tuple[str, ...] = ()
    asked_figures: tuple[str, ...] = ()
    asked_tables: tuple[str, ...] = ()
    needs: str = "coverage"
    fills: bool = False

    @property
    def path(self) -> Path:
        """The path of its source."""
        return SOURCES / f"{self.name}.ipynb"

    def outputs(self, folder: Path, *, truth: Collection[str]) -> list[Path]:
        """Return the files that it writes into the folder of figures, by the truth's columns."""
        known = self.needs in truth
        figures = self.figures + self.truth_figures * known
        tables = self.tables + self.truth_tables * known
        drawn = [folder / f"{name}.{kind}" for name in figures for kind in ("pdf", "png", "txt")]
        files = [f"{name}.csv" for name in tables] + [f"{name}.tex" for name in self.latex]
        return drawn + [folder / "data" / name for name in files]


NOTEBOOKS = (
    Notebook(
        "00_collect_samples",
        parameters=("workers", "task", "style"),
        figures=("contact_sheet", "figure_2"),
        tables=("collected", "figure_2", "figure_2_terms"),
        fills=True,
    ),
    Notebook(
        "01_metric_selection",
        parameters=("estimator", "ranking", "per_level", "style"),
        figures=("figure_3",),
        tables=("figure_3", "figure_3_statistics", "figure_3_all_metrics"),
    ),
    Notebook(
        "02_total_uncertainty",
        parameters=("estimator", "style"),
        figures=("figure_4",),
        tables=("summary", "figure_4", "figure_4_statistics", "figure_4_terms"),
        truth_tables=("figure_4_findings",),
    ),
    Notebook(
        "03_disentanglement",
        parameters=("estimator", "accuracy", "fraction", "style"),
        figures=("figure_5", "subset_size"),
        tables=("figure_5", "figure_5_statistics", "subset_size"),
        truth_figures=("truth",),
        truth_tables=("truth", "truth_statistics", "truth_taus", "figure_5_findings"),
    ),
    Notebook(
        "04_estimators",
        parameters=("accuracy", "threshold", "style"),
        figures=("leaderboard", "rejection"),
        tables=("leaderboard", "leaderboard_rejection"),
        latex=("leaderboard",),
        truth_figures=("signals",),
        truth_tables=("leaderboard_signals", "leaderboard_disentanglement"),
    ),
    Notebook(
        "05_audit",
        parameters=("estimator", "accuracy", "fraction", "style"),
        figures=("audit",),
        tables=("audit", "audit_sweep", "audit_agreement", "audit_fit", "audit_published"),
    ),
    Notebook(
        "06_decision",
        parameters=("estimator", "accuracy", "target", "level", "bound", "style"),
        figures=("decision",),
        tables=("decision", "decision_reliability", "decision_risk", "decision_actions"),
    ),
    Notebook(
        "07_confident_mistakes",
        parameters=("estimator", "style"),
        figures=("figure_1",),
        tables=("figure_1",),
    ),
    Notebook(
        "08_dose_and_response",
        parameters=("estimator", "added", "ensemble", "style"),
        truth_figures=("dose",),
        truth_tables=("dose", "truth_controls", "truth_levels"),
        asked_tables=("dose_added", "dose_ensemble"),
        needs="clips",
    ),
    Notebook(
        "09_cost",
        parameters=("accuracy", "style"),
        figures=("cost",),
        tables=("cost", "cost_saved", "cost_pooled"),
    ),
    Notebook(
        "10_real_prompts",
        parameters=("prompts", "per_rung", "style"),
        asked_figures=("real_prompts",),
        asked_tables=("real_prompts", "real_prompts_asked", "real_prompts_taus"),
        fills=True,
    ),
)


@dataclass(frozen=True)
class Execution:
    """A notebook, its parameters' values, and the folder of its executed copy, HTML and record."""

    notebook: Notebook
    values: dict[str, object]
    build: Path

    def file(self, ending: str) -> Path:
        """Return the path of a file in the build folder."""
        return self.build / f"{self.notebook.name}{ending}"

    def outputs(self) -> list[Path]:
        """Return the paths of the figures and tables that the run must write."""
        file = Path(self.values["samples"], "truth.parquet")
        truth = read_schema(file).names if file.is_file() else ()
        return self.notebook.outputs(Path(self.values["output"]), truth=truth)

    def record(self) -> dict[str, object]:
        """Return all that the outputs depend on, and the outputs, as they are now."""
        files = [self.notebook.path, TEMPLATE, *FOLDER.glob("*.yaml")]
        files += (ROOT / "data" / "published").glob("*.csv")
        files += Path(__file__).parents[1].rglob("*.py")
        files += [path_of(self.values[k]) for k in ("profile", "ranking") if self.values.get(k)]
        folders = [self.values["samples"], *str(self.values.get("ensemble", "")).split()]
        folders += [path_of(self.values[k]) for k in ("added", "prompts") if self.values.get(k)]
        return {
            "parameters": self.values,
            "versions": {name: version(name) for name in LIBRARIES},
            "archives": [digest_archive(path_of(folder)) for folder in folders],
            "inputs": _hashes(files),
            "outputs": _hashes([*self.outputs(), self.file(".ipynb"), self.file(".html")]),
        }

    def is_finished(self) -> bool:
        """Say whether inputs and outputs are as they were recorded after the last run."""
        try:
            return json.loads(self.file(".json").read_text(encoding="utf-8")) == self.record()
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    def execute(self, title: str) -> None:
        """Run the notebook, check what it wrote, and then record it as finished.

        Of one that ends with a sentence (`NotShown`), what an earlier run wrote and this did not
        is deleted.
        """
        if not self.notebook.fills:
            open_archive(self.values["samples"])
        start = time.time_ns()
        self.build.mkdir(parents=True, exist_ok=True)
        whole = self.run_cells(title)
        stale = [p for p in self.outputs() if not p.is_file() or p.stat().st_mtime_ns < start]
        for path in [] if whole else stale:
            path.unlink(missing_ok=True)
        if whole and stale:
            raise NotebookError(
                f"{self.notebook.name} ran but did not write {', '.join(p.name for p in stale)}; "
                "correct the notebook or squbed_utils.commands.notebooks.NOTEBOOKS"
            )
        write_text(self.file(".html"), as_html(self.file(".ipynb")))
        write_text(self.file(".json"), json.dumps(self.record(), indent=1))

    def run_cells(self, title: str) -> bool:
        """Run the cells, and return whether to the last; an error names the cell that failed."""
        import nbformat
        import papermill
        from nbclient.exceptions import DeadKernelError
        from traitlets.config import Config

        partial, failed = self.file(".partial.ipynb"), self.file(".failed.ipynb")
        failed.unlink(missing_ok=True)
        whole = True
        try:
            with TemporaryDirectory() as sockets:  # no port to overhear, nor another run's sockets
                channel = {"transport": "ipc", "ip": f"{sockets}/kernel"}
                papermill.execute_notebook(
                    self.notebook.path,
                    partial,
                    parameters=self.values,
                    kernel_name="python3",
                    cwd=PLACE,  # where relative paths in a profile start
                    start_timeout=300,
                    progress_bar={"desc": title},
                    extra_arguments=["--log-level=CRITICAL"],  # an interrupt at its end is no error
                    config=Config(KernelManager=channel),
                )
        except papermill.PapermillExecutionError as error:
            whole = error.ename != NotShown.__name__
            if whole:
                os.replace(partial, failed)
                raise NotebookError(
                    f"{self.notebook.name} failed in cell {error.exec_count}: {error.ename}: "
                    f"{error.evalue}; the executed copy is {failed}"
                ) from error
            tqdm.write(f"{title}: not shown: {error.evalue}")
            book = nbformat.read(partial, as_version=4)
            marks = "papermill-error-cell-tag"  # it was no error
            book.cells = [c for c in book.cells if marks not in c.metadata.get("tags", ())]
            nbformat.write(book, partial)
        except DeadKernelError as error:
            raise NotebookError(
                f"the kernel of {self.notebook.name} died; is there enough memory?"
            ) from error
        os.replace(partial, self.file(".ipynb"))
        return whole


def as_html(executed: Path) -> str:
    """Return an executed notebook as one page that loads nothing, with its answer at the top.

    The answer is what the last cell printed, or why the notebook ended before.
    """
    import nbformat
    from nbconvert import HTMLExporter

    book = nbformat.read(executed, as_version=4)
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    ended = [o.traceback for o in outputs if o.output_type == "error"]
    printed = [o.text for o in book.cells[-1].get("outputs", ()) if o.output_type == "stream"]
    answer = html.escape("\n".join(ended[-1] if ended else printed))
    book.cells[0].source = book.cells[0].source.replace(".ipynb)", ".html)")
    if answer:
        source = f"**In short**\n<pre>{answer}</pre>"
        book.cells.insert(1, nbformat.v4.new_markdown_cell(source, id="answer"))
    exporter = HTMLExporter(raw_template=TEMPLATE.read_text(encoding="utf-8"))
    return exporter.from_notebook_node(book)[0]


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {str(p): sha256_of(p) if p.is_file() else "no file" for p in sorted(paths)}


def digest_archive(folder: Path) -> str:
    """Return a hash of an archive: tables by content, videos by name and size."""
    digest = hashlib.sha256()
    paths = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
    for path in sorted(path for path in paths if not path.name.startswith(".")):
        name = path.relative_to(folder).as_posix()
        inside(folder, name)
        content = path.stat().st_size if path.suffix == ".mp4" else sha256_of(path)
        digest.update(f"{name}\0{content}\0".encode())
    return digest.hexdigest()


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

    `only` names those to run (default: all); each gets the `parameters` that it takes. Executed
    copies, their HTML and records go to ``<build>/<profile>/``. Unknown names and values of a wrong
    type or range are a ValueError before anything runs; a NotebookError stops the run.
    """
    chosen = _choose(only)
    given = _read(parameters or {}, chosen)
    folder = Path(build).absolute() / load(profile).name
    samples = Path(samples).absolute() if samples else archive_folder(profile)
    if str(profile).endswith((".yaml", ".yml")):
        profile = find(profile).absolute()
    places = (str(profile), str(samples), str(Path(figures).absolute()))
    common = dict(zip(COMMON, places, strict=True))
    written = []
    for number, notebook in enumerate(chosen, 1):
        own = {name: given[name] for name in notebook.parameters if name in given}
        execution = Execution(notebook, common | own, folder)
        title = f"[{number}/{len(chosen)}] {notebook.name}"
        if execution.is_finished():
            tqdm.write(f"{title}: unchanged")
        else:
            execution.execute(title)
        written += [path for path in execution.outputs() if path.is_file()]
    return written


def _choose(only: Sequence[str] | None) -> list[Notebook]:
    known = {notebook.name: notebook for notebook in NOTEBOOKS}
    wanted = [name.removesuffix(".ipynb") for name in only or known]
    for name in wanted:
        if name not in known:
            raise ValueError(f"unknown notebook {name!r}; known: {', '.join(known)}")
        if not known[name].path.is_file():
            raise FileNotFoundError(f"no {known[name].path}; restore it from the repository")
    return [notebook for name, notebook in known.items() if name in wanted]


def _read(parameters: Mapping[str, object], chosen: Sequence[Notebook]) -> dict[str, object]:
    """Return parameters, numbers also from text; refuse one that no chosen notebook has."""
    known = sorted({name for notebook in chosen for name in notebook.parameters})
    values = {}
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"unknown parameter {name!r}; known: {', '.join(known)}")
        try:
            values[name] = TypeAdapter(PARAMETERS[name]).validate_python(value)
        except ValidationError as error:
            mistake = expected(error.errors()[0]["msg"])
            raise ValueError(f"parameter {name} is {value!r}; {mistake}") from error
    return values
