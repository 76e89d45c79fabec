"""Whether tau survives other accuracies, chance, and what is known of the prompts."""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, rankdata

from squbed_utils.statistics.audit_lines import (
    CONFIDENCE,
    DOES_NOT,
    FEWEST_TASKS,
    HOLDS,
    NEGLIGIBLE,
    PERMUTATIONS,
    RESAMPLES,
    UNKNOWN,
    P,
    found,
    lack,
    line,
    main_term,
    negative,
)
from squbed_utils.statistics.audit_power import null_end
from squbed_utils.statistics.ranking import bootstrap_interval
from squbed_utils.statistics.resampling import (
    concordance,
    permuted_taus,
    rereferenced_taus,
    resampled_taus,
    task_counts,
)

FORM_NOTES = {
    "mean": "falls with spread by itself, for any reference",
    "best": "rises with spread by itself, which works against a negative tau",
    "centroid": "what does not fall with spread by itself",
    "centroid, stand-in": "spread is the video encoder's, as CLIP's embeddings are not stored",
}
"""What to know of a form of accuracy."""


def survivals(
    table: pd.DataFrame,
    forms: pd.DataFrame,
    rng: np.random.Generator,
    similarity: np.ndarray | None = None,
) -> list[dict]:
    """Say whether tau survives other accuracies, chance, and what is known of the prompts.

    Parameters
    ----------
    table : DataFrame
        As `audit.audited`.
    forms : DataFrame
        Other forms of the accuracy, a column each, a row a task of the table.
    rng : numpy.random.Generator
    similarity : ndarray, optional
        As `summary.reference_similarity`, in the order of the table.
    """
    term = main_term(table)
    if why := lack(table, varying=(term, "accuracy")):
        return [line("survival", f"Does tau of {term} survive?", "negative", detail=why)]
    lines = []
    for name, values in forms.items():
        bar = f"interval below 0; not if it is above -{NEGLIGIBLE}"
        asked = "survival", f"tau of {term} with {name}", bar
        if values.nunique() < 2:
            lines.append(line(*asked, detail=f"{name} is the same for every task"))
            continue
        counts = task_counts(len(table), RESAMPLES, rng)
        tau, p = kendalltau(table[term], values)
        low, high = bootstrap_interval(
            resampled_taus(table[[term]].to_numpy().T, values.to_numpy(), counts)[0], CONFIDENCE
        )
        ends = found(tau, low, high, negative(low, high), FORM_NOTES.get(name, ""))
        lines.append(line(*asked, **ends, pvalue=p))
    lines.append(_against_chance(table, term, rng))
    if similarity is not None:
        lines.append(_against_references(table, term, similarity, rng))
    return [*lines, *_given(table, rng)]


def _by_null(tau: float, p: float, high: float) -> str:
    """Say whether a tau is negative, by its p-value and the upper end of its null band.

    What it has beyond the null is at least tau less that end; where this is negligible, or tau is
    above the band, it does not hold.
    """
    if tau < 0 and p < P:
        return HOLDS
    return DOES_NOT if tau - high > -NEGLIGIBLE else UNKNOWN


def _against_chance(table: pd.DataFrame, term: str, rng: np.random.Generator) -> dict:
    scores = table[[term]].to_numpy().T
    null = permuted_taus(scores, table.accuracy.to_numpy(), PERMUTATIONS, rng)[0]
    tau = kendalltau(table[term], table.accuracy).statistic
    low, high = np.quantile(null, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p = (1 + (np.abs(null) >= abs(tau)).sum()) / (1 + PERMUTATIONS)
    detail = f"{CONFIDENCE:.0%} of permuted accuracies give {low:.2f} to {high:.2f}"
    shown = {"value": tau, "pvalue": p, "verdict": _by_null(tau, p, high), "detail": detail}
    question = f"tau of {term} against permuted accuracies"
    return line("survival", question, f"negative, p below {P}", **shown)


def _against_references(
    table: pd.DataFrame, term: str, similarity: np.ndarray, rng: np.random.Generator
) -> dict:
    """Compare tau with what it is where every task gets another's reference, by the same CLIP."""
    scores = table[[term]].to_numpy().T
    null = rereferenced_taus(scores, similarity, PERMUTATIONS, rng)[0]
    tau = kendalltau(table[term], np.diag(similarity)).statistic
    low, high = np.quantile(null, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p = (1 + (null <= tau).sum()) / (1 + PERMUTATIONS)
    detail = f"{CONFIDENCE:.0%} of permuted references give {low:.2f} to {high:.2f}: what videos "
    detail += "that scatter lose with any reference"
    shown = {"value": tau, "pvalue": p, "verdict": _by_null(tau, p, high), "detail": detail}
    question = f"tau of {term} against permuted references"
    return line("survival", question, f"below, one-sided p below {P}", **shown)


def _given(table: pd.DataFrame, rng: np.random.Generator) -> list[dict]:
    """Return partial taus: of each term given the prompt, and of each component given the other."""
    known = {"prompt length": table.prompt.str.split().map(len)}
    known |= {f"category {c}": (table.category == c) for c in table.category.unique()[1:]}
    prompt = pd.DataFrame(known).astype(float)
    asked = [(main_term(table), prompt, "prompt length and category")]
    if not lack(table, varying=("aleatoric", "epistemic")):
        for part, other in (("aleatoric", "epistemic"), ("epistemic", "aleatoric")):
            asked.append((part, table[[other]], other))
    lines = []
    for term, covariates, name in asked:
        question = f"tau of {term} given {name}"
        left = len(table) - np.linalg.matrix_rank(_design(covariates))
        shown = {"detail": f"{left} degrees of freedom are left; {FEWEST_TASKS} are needed"}
        if left >= FEWEST_TASKS:
            tau, p = partial_tau(table[term], table.accuracy, covariates, rng)
            shown = {"value": tau, "pvalue": p, "verdict": _by_null(tau, p, null_end(left))}
        lines.append(line("survival", question, f"negative, p below {P}", **shown))
    return lines


def partial_tau(
    x: pd.Series, y: pd.Series, given: pd.DataFrame, rng: np.random.Generator
) -> tuple[float, float]:
    """Return Kendall's tau of two variables without what others explain of them, and its p-value.

    The ranks of both are regressed on the covariates (numbers by rank, indicators as they are);
    tau is that of the residuals. For p, one side's residuals are permuted and regressed again
    (Freedman and Lane 1983), and concordant less discordant pairs are compared.

    Parameters
    ----------
    x, y : Series of float, length n
    given : DataFrame
        A column a covariate.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of float
        tau (0 where nothing is left of either) and p.
    """
    basis = np.linalg.svd(_design(given), full_matrices=False)
    basis = basis.U[:, basis.S > 1e-9 * basis.S[0]]
    left = [_without(rankdata(values), basis) for values in (x, y)]
    if min(np.ptp(v) for v in left) == 0:
        return 0.0, 1.0
    tau = kendalltau(*left).statistic
    shuffled = rng.permuted(np.tile(left[1], (PERMUTATIONS, 1)), axis=1)
    drawn = np.vstack([left[1], *(_without(v, basis) for v in shuffled)])
    seen, *null = np.abs(concordance(left[0][None], drawn)[0])
    return float(tau), float((1 + (np.array(null) >= seen).sum()) / (1 + PERMUTATIONS))


def _design(covariates: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(covariates)), rankdata(covariates.to_numpy(), axis=0)])


def _without(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the residuals of a regression on orthonormal columns, (n,)."""
    return np.round(values - basis @ (basis.T @ values), 9)
