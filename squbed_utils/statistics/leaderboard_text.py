"""The leaderboard in words and as LaTeX."""

from pathlib import Path

import pandas as pd

from squbed_utils.files import replacing
from squbed_utils.statistics.leaderboard import BASELINE
from squbed_utils.statistics.summary import TERMS

ALPHA = 0.05
"""Below which a corrected p-value counts."""

HEADERS = {
    "estimator": "estimator",
    "component": "component",
    "tau": r"$\tau$ (interval)",
    "holm": r"$p_\mathrm{Holm}$",
    "null": "null band",
    "difference": r"$\Delta\tau$ to S-QUBED",
    "difference_holm": r"$p_\mathrm{Holm}$ of $\Delta$",
    "auroc": "AUROC",
    "prr": "PRR",
    "aurc": "AURC",
}


def verdict(table: pd.DataFrame) -> str:
    """Say for each component whether S-QUBED is beaten, by what and by how much.

    A row beats S-QUBED where its tau is lower; the interval and Holm's correction say whether
    that would hold on other tasks.

    Parameters
    ----------
    table : DataFrame
        As `leaderboard.compare`.

    Returns
    -------
    str
        A sentence or two a line, a line a component.
    """
    components = [term for term in TERMS if term in set(table.component)]
    return "\n".join(_verdict_on(table[table.component == term], term) for term in components)


def truth_verdict(scores: pd.DataFrame) -> str:
    """Say whether S-QUBED is beaten in telling the two uncertainties apart.

    Parameters
    ----------
    scores : DataFrame
        As `leaderboard_truth.against_truth`.

    Returns
    -------
    str
    """
    own = scores[scores.estimator == BASELINE]
    if own.empty:
        return "disentanglement: S-QUBED has no score here, for want of a component."
    text = f"disentanglement: S-QUBED scores {_number(own.score.iloc[0])}{_interval(own.iloc[0])}."
    better = scores[scores.difference > 0].sort_values("score", ascending=False)
    return f"{text} {_beaten(better, len(scores) - 1, 'score', 'higher')}"


def as_latex(table: pd.DataFrame) -> str:
    """Set the leaderboard as a LaTeX table.

    Parameters
    ----------
    table : DataFrame
        As `leaderboard.compare`.

    Returns
    -------
    str
        A ``tabular``, to be input into a document that loads ``booktabs``.
    """
    first = table.iloc[0]
    shown = pd.DataFrame({"estimator": table.estimator, "component": table.component})
    taus = (f"${_plain(r.tau)}$ {_math(r.low, r.high)}" for r in table.itertuples())
    shown["tau"] = [text.strip() for text in taus]
    shown["holm"] = table.holm.map(_math_p)
    shown["null"] = [_math(r.null_low, r.null_high) for r in table.itertuples()]
    shown["difference"] = [_math_difference(r) for r in table.itertuples()]
    shown["difference_holm"] = table.difference_holm.map(_math_p)
    for name in ("auroc", "prr", "aurc"):
        shown[name] = [f"${_plain(value)}$" for value in table[name]]
    styler = shown.rename(columns=HEADERS).style.hide(axis="index")
    styler = styler.format(escape="latex", subset=["estimator"])
    text = styler.to_latex(hrules=True, column_format="ll" + "r" * (shown.shape[1] - 2))
    about = f"% {first.accuracy} of {first.n} tasks, confidence {first.confidence:g}"
    return f"{about}; needs the package booktabs\n{text}"


def save_latex(folder: Path | str, name: str, table: pd.DataFrame) -> None:
    """Write the leaderboard as ``<folder>/data/<name>.tex``.

    Parameters
    ----------
    folder : path
    name : str
    table : DataFrame
        As `leaderboard.compare`.
    """
    with replacing(Path(folder) / "data" / f"{name}.tex") as partial:
        partial.write_text(as_latex(table), encoding="utf-8")


def _verdict_on(rows: pd.DataFrame, component: str) -> str:
    own = rows[rows.estimator == BASELINE]
    if own.empty:
        return f"{component}: S-QUBED has no row here; nothing is compared with it."
    row = own.iloc[0]
    where = "below" if row.tau < row.null_low else "above" if row.tau > row.null_high else "inside"
    band = f"{where} the null band"
    text = f"{component}: S-QUBED has tau {_number(row.tau)}{_interval(row)}, {band}"
    text += f" of permuted {row.permuted} (Holm p {_p(row.holm)})."
    better = rows[rows.difference < 0].sort_values("tau")
    return f"{text} {_beaten(better, len(rows) - 1, 'tau', 'lower')}"


def _beaten(better: pd.DataFrame, others: int, value: str, sense: str) -> str:
    if better.empty:
        return f"No other ({others}) has a {sense} one."
    best = better.iloc[0]
    if pd.isna(best.difference_holm):
        return (
            f"{len(better)} of {others} others have a {sense} one, the best {best.estimator}, "
            f"{_number(best[value])}; the tasks are too few to say more."
        )
    corrected = int((better.difference_holm < ALPHA).sum())
    held = "survives" if best.difference_holm < ALPHA else "does not survive"
    by = f"[{_number(best.difference_low)}, {_number(best.difference_high)}]"
    return (
        f"{len(better)} of {others} others have a {sense} one, {corrected} of them after Holm's "
        f"correction. Best: {best.estimator}, {_number(best[value])}{_interval(best)}, a "
        f"difference of {_number(best.difference)} {by}, which {held} Holm "
        f"(p {_p(best.difference_holm)})."
    )


def _interval(row: pd.Series) -> str:
    if pd.isna(row.low):
        return ""
    return f" [{_number(row.low)}, {_number(row.high)}]"


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00")


def _number(value: float) -> str:
    return _plain(value).replace("-", "−")


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def _math(low: float, high: float) -> str:
    if pd.isna(low):
        return ""
    return f"$[{_plain(low)}, {_plain(high)}]$"


def _math_p(value: float) -> str:
    if pd.isna(value):
        return "--"
    return f"${value:.3f}$" if value >= 0.001 else "$<0.001$"


def _math_difference(row: object) -> str:
    if pd.isna(row.difference):
        return "--"
    ends = _math(row.difference_low, row.difference_high)
    return f"${_plain(row.difference)}$ {ends}".strip()
