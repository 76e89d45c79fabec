"""What should hold where the truth is known, and whether it does."""

import numpy as np
import pandas as pd

from squbed_utils.archive.layout import COVERAGES
from squbed_utils.files import seed_of
from squbed_utils.statistics.calibration import Auroc, auroc, kendall

TOTAL_AT_MOST, TOTAL_P = -0.35, 1e-4
PART_P = 0.05
ALEATORIC_AT_LEAST = 0.65
AUROC_AT_LEAST = 0.9
LEAKAGE_WITHIN = 0.15

POINT_COLUMNS = ("row", "panel", "task", "x", "y", "x_label", "y_label", "coverage", "left_out")

SEPARATION = "AUROC of epistemic, never seen against common subjects"
HOLDS, DOES_NOT = "holds", "does not hold"


def calibration_findings(statistics: pd.DataFrame) -> pd.DataFrame:
    """Judge total uncertainty against accuracy (Figure 4).

    Parameters
    ----------
    statistics : DataFrame
        As `tables.statistics_of`; the rows of this run.

    Returns
    -------
    DataFrame
        finding, value, pvalue, bar, verdict ("holds" or "does not hold").
    """
    bar = f"tau at most {TOTAL_AT_MOST}, p below {TOTAL_P:g}"
    return pd.DataFrame(
        _finding(
            f"total uncertainty against {row.panel}",
            (row.tau, row.pvalue),
            bar,
            row.tau <= TOTAL_AT_MOST and row.pvalue < TOTAL_P,
        )
        for row in statistics.itertuples()
    )


def part_findings(statistics: pd.DataFrame) -> pd.DataFrame:
    """Judge each part where the other is least (Figure 5); as `calibration_findings`."""
    bar = f"tau negative, p below {PART_P}"
    return pd.DataFrame(
        _finding(row.panel, (row.tau, row.pvalue), bar, row.tau < 0 and row.pvalue < PART_P)
        for row in statistics.itertuples()
    )


def truth_points(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the aleatoric estimate (y) against the true entropy (x), as `tables.points_of`."""
    return summary.assign(
        panel="aleatoric, estimate and truth",
        x=summary.true_entropy,
        y=summary.aleatoric,
        x_label="true entropy of the prompt (nats)",
        y_label=f"aleatoric ({summary.unit.iloc[0]})",
    )[list(POINT_COLUMNS)]


def truth_taus(summary: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return tau of each estimate against each truth.

    Parameters
    ----------
    summary : DataFrame
        As `tables.summarize_run`, of an archive with a truth.
    confidence : float
        Of the bootstrap intervals over tasks.

    Returns
    -------
    DataFrame
        estimate, truth, label, tau, pvalue, n, low, high, confidence, kind ("signal" where the
        two should go together, else "leakage"), bar (the least signal, the most leakage; missing
        where none is stated).

    Raises
    ------
    ValueError
        If the summary has no truth.
    """
    if "true_entropy" not in summary:
        raise ValueError("the summary has no true_entropy; use an archive with a truth.parquet")
    truths = truths_of(summary)
    asked = (
        ("aleatoric", "true entropy", "signal", ALEATORIC_AT_LEAST),
        ("epistemic", "coverage", "signal", np.nan),
        ("aleatoric", "coverage", "leakage", LEAKAGE_WITHIN),
        ("epistemic", "true entropy", "leakage", LEAKAGE_WITHIN),
    )
    rows = []
    for estimate, truth, kind, bar in asked:
        rng = np.random.default_rng(seed_of("truth", estimate, truth))
        k = kendall(summary[estimate], truths[truth], rng=rng, confidence=confidence)
        row = {"estimate": estimate, "truth": truth, "label": f"{estimate} and {truth}"}
        row |= {"tau": k.tau, "pvalue": k.pvalue, "n": k.n, "confidence": confidence}
        row |= dict(zip(("low", "high"), k.interval, strict=True)) | {"kind": kind, "bar": bar}
        rows.append(row)
    return pd.DataFrame(rows)


def truths_of(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return both truths of each task, from its true_entropy and its coverage (more = rarer)."""
    coverage = table.coverage.map(COVERAGES.index)
    return {"true entropy": table.true_entropy, "coverage": coverage}


def truth_findings(summary: pd.DataFrame, taus: pd.DataFrame) -> pd.DataFrame:
    """Judge the estimates against the truths.

    Parameters
    ----------
    summary : DataFrame
    taus : DataFrame
        As `truth_taus`.

    Returns
    -------
    DataFrame
        As `calibration_findings`.
    """
    rows = []
    for row in taus.dropna(subset="bar").itertuples():
        signal = row.kind == "signal"
        name = f"Kendall's tau of {row.label}" + ("" if signal else " (leakage)")
        bar = f"at least {row.bar}" if signal else f"within ±{row.bar}"
        good = row.tau >= row.bar if signal else abs(row.tau) <= row.bar
        rows.append(_finding(name, (row.tau, row.pvalue), bar, good))
    found = separation(summary)
    good = found.auroc >= AUROC_AT_LEAST
    rows.append(_finding(SEPARATION, found, f"at least {AUROC_AT_LEAST}", good))
    return pd.DataFrame(rows)


def separation(summary: pd.DataFrame) -> Auroc:
    """Return how well epistemic uncertainty tells never-seen subjects from common ones."""
    levels = ("common", "never")
    return auroc(*(summary.epistemic[summary.coverage == level] for level in levels))


def truth_positions(summary: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """Return `examples.positions` without its marks, titled with the separation."""
    found = separation(summary)
    title = f"{SEPARATION}\n{found.auroc:.2f}, p = {found.pvalue:.2g}".replace("e-", "e−")
    return positions.assign(label="", title=title)


def _finding(name: str, found: tuple[float, float], bar: str, good: bool) -> dict[str, object]:
    verdict = HOLDS if good else DOES_NOT
    return {"finding": name, "value": found[0], "pvalue": found[1], "bar": bar, "verdict": verdict}
