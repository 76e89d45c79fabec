"""Every estimator on the same samples: one long table of an archive."""

import pandas as pd

from squbed_utils._checks import check_task
from squbed_utils.estimators import ESTIMATORS
from squbed_utils.samples import Archive
from squbed_utils.summary import TERMS, usable_embeddings


def score_tasks(archive: Archive) -> pd.DataFrame:
    """Return every estimator's terms on every task.

    Parameters
    ----------
    archive : Archive
        A finished one.

    Returns
    -------
    DataFrame
        estimator, component ("aleatoric", "epistemic" or "total"), task, value (higher = less
        certain). A component that an estimator does not have, or cannot have without latent
        prompts, has no rows.

    Raises
    ------
    ValueError
        As `summary.usable_embeddings`.
    """
    rows = []
    for task, embeddings in usable_embeddings(archive).items():
        text, videos, _ = check_task(*embeddings)
        for name, chosen in ESTIMATORS.items():
            if text is None and not chosen.text_optional:
                continue
            terms = zip(TERMS, chosen.function(text, videos)[:3], strict=True)
            rows += [(name, term, task, value) for term, value in terms if value is not None]
    return pd.DataFrame(rows, columns=["estimator", "component", "task", "value"])
