"""Every estimator and control on the same samples: one long table of an archive."""

import warnings

import numpy as np
import pandas as pd

from squbed_utils.archive.archive import Archive
from squbed_utils.estimators.checks import check_task
from squbed_utils.estimators.estimate import ESTIMATORS
from squbed_utils.estimators.registry import Videos, evaluate
from squbed_utils.statistics.controls import CONTROLS
from squbed_utils.statistics.summary import TERMS, measured_embeddings

COLUMNS = ["estimator", "component", "task", "value"]

Units = dict[str, tuple[np.ndarray | None, Videos]]


def score_tasks(archive: Archive, *, read_videos: bool = True) -> pd.DataFrame:
    """Return every estimator's and control's terms on every task without identical samples.

    Where tasks differ in their counts (failed videos), the estimators whose values depend on the
    counts take as many latent prompts and videos of every task as the poorest task has, the first
    ones, so that all their values compare; the others take all. A control covers the same tasks.

    Parameters
    ----------
    archive : Archive
        A finished one.
    read_videos : bool
        False leaves out the control `motion`, which reads a video of every latent prompt: some
        milliseconds for each of the shapes world's, seconds for one in high definition.

    Returns
    -------
    DataFrame
        estimator, component ("aleatoric", "epistemic" or "total"), task, value (higher = less
        certain). A component that an estimator does not have, or cannot have without latent
        prompts, has no rows; nor has a control whose videos the archive does not hold.

    Raises
    ------
    ValueError
        As `summary.measured_embeddings`; or if an estimator's value is not finite.

    Warns
    -----
    UserWarning
        If tasks are left out, or counts differ.
    """
    whole = {t: check_task(*pair)[:2] for t, pair in measured_embeddings(archive).items()}
    equal = _at_equal_counts(whole)
    rows = []
    for name, chosen in ESTIMATORS.items():
        for task, (text, videos) in (equal if chosen.equal_counts else whole).items():
            if text is None and not chosen.text_optional:
                continue
            terms = zip(TERMS, evaluate(chosen, text, videos)[:3], strict=True)
            rows += [(name, term, task, value) for term, value in terms if value is not None]
    for name, control in CONTROLS.items():
        if control.reads_videos and not read_videos:
            continue
        for component, function in control.functions.items():
            values = function(archive)
            rows += [(name, component, t, values[t]) for t in whole if t in values]
    return pd.DataFrame(rows, columns=COLUMNS)


def sources() -> pd.DataFrame:
    """Return what each estimator and control of `score_tasks` is.

    Returns
    -------
    DataFrame
        Indexed by estimator, in the order of `score_tasks`: label, unit, source (a short
        citation).

    Examples
    --------
    >>> sources().label["energy_split"]
    'Energy split'

    """
    rows = {**ESTIMATORS, **CONTROLS}.items()
    table = pd.DataFrame([(name, x.label, x.unit, x.source) for name, x in rows])
    return table.set_axis(["estimator", "label", "unit", "source"], axis=1).set_index("estimator")


def _at_equal_counts(whole: Units) -> Units:
    """Return the first n latent prompts of each task and their first m videos.

    A task whose latent prompts are not known keeps them all: it has an epistemic term alone, a
    mean over latent prompts.
    """
    sizes = {len(x) for _, videos in whole.values() for x in videos}
    known = {len(text) for text, _ in whole.values() if text is not None}
    if len(sizes) == 1 and len(known) <= 1:
        return whole
    n, m = min(known, default=None), min(sizes)
    warnings.warn(
        f"tasks have {_range(sizes)} videos of a latent prompt and {_range(known)} latent prompts; "
        f"estimators that depend on the counts take the first {m} and {n or 'all'} of each",
        UserWarning,
        stacklevel=3,
    )
    cut = {}
    for task, (text, videos) in whole.items():
        k = n if text is not None else len(videos)
        cut[task] = (None if text is None else text[:k], np.stack([x[:m] for x in videos[:k]]))
    return cut


def _range(counts: set[int]) -> str:
    if not counts:
        return "unknown"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
