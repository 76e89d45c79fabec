"""A threshold on uncertainty below which tasks fall short by no more than a level.

It is chosen on calibration tasks, whose accuracy is known, and used on new ones drawn alike.
Uncertainty: higher = less certain; accuracy: higher = better.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from squbed_utils.archive.layout import made_by, require_one_video_model
from squbed_utils.estimators.checks import equal_vectors, require, require_generator
from squbed_utils.statistics.tables import NotShown
from squbed_utils.statistics.vagueness import words_of


@dataclass(frozen=True)
class Threshold:
    """A threshold on uncertainty that keeps E[shortfall if accepted, else 0] <= level.

    A task is accepted whose uncertainty is at most `value`; None: none is, and `reason` says why.
    `level` bounds the risk, in the accuracy's unit; `risk` is the summed shortfall of the
    `accepted` ones of n calibration tasks, over n. It holds for videos of one `video_model`, as
    ``Archive.video_model``; empty where that is not known.
    """

    value: float | None
    level: float
    n: int
    accepted: int
    risk: float
    reason: str
    video_model: dict = field(default_factory=dict, repr=False)

    def accepts(self, uncertainty: ArrayLike) -> np.ndarray:
        """Return whether each task is accepted, shape as given.

        A column of another video model's ``summarize`` is a ValueError.
        """
        require_one_video_model(self.video_model, made_by(uncertainty), "the threshold")
        u = np.asarray(uncertainty, dtype=float)
        return np.zeros(u.shape, bool) if self.value is None else u <= self.value


def risk_curve(uncertainty: ArrayLike, losses: ArrayLike, *, bound: float) -> pd.DataFrame:
    """Return the risk of accepting all tasks up to each threshold, ties together.

    Marginal risk R(t) = mean of 1{u <= t} loss, which cannot fall as t rises, and its conformal
    bound n/(n+1) R(t) + B/(n+1). Conditional risk: mean loss of the accepted tasks, which may.

    Parameters
    ----------
    uncertainty, losses : array_like of float, shape (n,)
        One a calibration task; a loss min(max(target - accuracy, 0), B) is how far it falls short.
    bound : float
        B, the greatest loss; for a cosine, target + 1 is never passed.

    Returns
    -------
    DataFrame
        A row a distinct uncertainty, rising: threshold, accepted (tasks), marginal,
        marginal_bound, conditional.

    Examples
    --------
    >>> curve = risk_curve([1, 2, 3], [0.0, 0.0, 0.6], bound=1.0)
    >>> curve.marginal.round(3).tolist(), curve.marginal_bound.round(3).tolist()
    ([0.0, 0.0, 0.2], [0.25, 0.25, 0.4])
    """
    u, losses = equal_vectors(uncertainty, losses, ("uncertainty", "losses"))
    require((losses >= 0) & (losses <= bound), losses, "loss", f"0 to the bound {bound}")
    n = u.size
    order = np.argsort(u, kind="stable")
    u = u[order]
    last = np.flatnonzero(np.append(np.diff(u) > 0, True))  # of each run of ties
    accepted, lost = last + 1, np.cumsum(losses[order])[last]
    return pd.DataFrame(
        {
            "threshold": u[last],
            "accepted": accepted,
            "marginal": lost / n,
            "marginal_bound": (lost + bound) / (n + 1),
            "conditional": lost / accepted,
        }
    )


def control_risk(
    uncertainty: ArrayLike, losses: ArrayLike, *, level: float, bound: float
) -> Threshold:
    """Choose the greatest threshold at which the risk of accepting stays under a level.

    Conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814): the greatest u_i with
    n/(n+1) R(u_i) + B/(n+1) <= level. It holds for exchangeable tasks, in expectation over
    calibration tasks and the next one, for any distribution. The risk counts 0 for what is not
    accepted, so it is the accepted tasks' mean shortfall times their share.

    Parameters
    ----------
    uncertainty, losses : array_like of float, shape (n,)
        As `risk_curve`.
    level : float
        Above 0 and below `bound`, in the accuracy's unit.
    bound : float
        B, the greatest loss.

    Examples
    --------
    >>> control_risk([1, 2, 3], [0.0, 0.0, 0.6], level=0.3, bound=1.0).value
    2.0
    """
    if not 0 < level < bound:
        raise ValueError(f"level is {level}; expected between 0 and the bound ({bound})")
    curve = risk_curve(uncertainty, losses, bound=bound)
    n = int(curve.accepted.iloc[-1])
    valid = curve[curve.marginal_bound <= level]
    if len(valid):
        best = valid.iloc[-1]
        found = float(best.threshold), level, n, int(best.accepted), float(best.marginal), ""
        return Threshold(*found, made_by(uncertainty))
    least = int(np.ceil(bound / level)) - 1
    reason = f"already the most certain of {n} tasks fall short too far for level {level:g}"
    if n < least:
        reason = f"{n} calibration tasks are too few for level {level:g}: at least {least} are "
        reason += "needed"
    return Threshold(None, level, n, 0, 0.0, reason, made_by(uncertainty))


def held_out(
    uncertainty: ArrayLike,
    losses: ArrayLike,
    *,
    level: float,
    bound: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Choose a threshold on a random half of the tasks, and look at the other half, 500 times.

    The promise is kept if the mean of "marginal" stays under the level. Arguments are as in
    `control_risk`, n >= 2. Returned are, a row a split: coverage (share of held-out tasks
    accepted), marginal (mean of accepted shortfall over all held-out tasks), conditional (over the
    accepted ones; 0 where there are none).
    """
    require_generator(rng)
    u, losses = equal_vectors(uncertainty, losses, ("uncertainty", "losses"))
    if u.size < 2:
        raise NotShown("there is one task; expected more, to choose by some and judge by others")
    rows = []
    for _ in range(500):
        first, second = np.array_split(rng.permutation(u.size), 2)
        threshold = control_risk(u[first], losses[first], level=level, bound=bound)
        accepted = threshold.accepts(u[second])
        lost = losses[second][accepted].sum()
        rows.append((accepted.mean(), lost / accepted.size, lost / max(accepted.sum(), 1)))
    return pd.DataFrame(rows, columns=["coverage", "marginal", "conditional"])


ACCEPT, ASK, DISTRUST = "accept", "ask to be more specific", "do not trust"

ACTIONS = (ACCEPT, ASK, DISTRUST)

FUNCTION_WORDS = frozenset(
    "a an the this that these those and or but of in on at to into onto from by with as is are was "
    "were be been being it its his her their while where which who for there then has have".split()
)
"""English words that build a sentence and show nothing; up, down, over and under can be seen."""


def splitting_words(prompt: str, latent_prompts: Sequence[str]) -> list[str]:
    """Return the five words on which latent prompts differ most, the most even split first.

    A word's presence in the latent prompts has entropy -p log p - (1-p) log(1-p), p the share of
    them that say it; it is greatest where half of them do, and 0 where all or none do. Left out
    are words of the prompt, which need not be asked for, and `FUNCTION_WORDS`. Case is ignored;
    of equal entropies the word said by more comes first, then alphabetically.

    >>> splitting_words("a dog", ["a brown dog runs", "a brown dog", "a black dog", "a dog sits"])
    ['brown', 'black', 'runs', 'sits']
    """
    texts_with = Counter(word for text in latent_prompts for word in set(words_of(text)))
    n, known = len(latent_prompts), FUNCTION_WORDS.union(words_of(prompt))
    splits = [(word, k) for word, k in texts_with.items() if k < n and word not in known]
    splits.sort(key=lambda split: (abs(2 * split[1] - n), -split[1], split[0]))
    return [word for word, _ in splits[:5]]


def suggest(summary: pd.DataFrame, latents: pd.DataFrame, threshold: Threshold) -> pd.DataFrame:
    """Suggest an action for each task.

    The rule. Accept a task whose total uncertainty is at most the threshold. Of the others, ask
    for a more specific prompt if its latent prompts differ in some word, and its aleatoric
    uncertainty stands at least as high among the tasks as its epistemic does (position: the share
    of tasks below, ties counting half); else do not trust the video model with it. Positions are
    compared and not nats, whose scale is set by the encoders' widths.

    Parameters
    ----------
    summary : DataFrame
        task, prompt, aleatoric, epistemic, total: as `tables.with_parts`.
    latents : DataFrame
        task, prompt of every latent prompt: as ``Archive.latents()``.
    threshold : Threshold
        As `control_risk`, of total uncertainty.

    Returns
    -------
    DataFrame
        A row a task: task, prompt, total, aleatoric, epistemic, aleatoric_position,
        epistemic_position (0 to 1), action (categorical, of `ACTIONS`), words (on which the latent
        prompts differ most, joined by commas; empty unless the user is asked).
    """
    texts = latents.groupby("task").prompt.agg(list)
    table = summary[["task", "prompt", "total", "aleatoric", "epistemic"]].reset_index(drop=True)
    for part in ("aleatoric", "epistemic"):
        table[f"{part}_position"] = (table[part].rank() - 0.5) / len(table)
    named = pd.Series(
        ", ".join(splitting_words(row.prompt, texts[row.task])) for row in table.itertuples()
    )
    vague = (table.aleatoric_position >= table.epistemic_position) & (named != "")
    action = np.where(threshold.accepts(table.total), ACCEPT, np.where(vague, ASK, DISTRUST))
    action = pd.Categorical(action, ACTIONS)
    return table.assign(action=action, words=named.where(action == ASK, ""))


def by_action(suggestions: pd.DataFrame, accuracy: pd.Series) -> pd.DataFrame:
    """Return how many tasks have each action, and how accurate they are, a value a task in order.

    Columns: action, tasks, share, mean_accuracy (missing without tasks).
    """
    values = pd.Series(np.asarray(accuracy, dtype=float))
    groups = values.groupby(suggestions.action.array, observed=False)
    table = groups.agg(tasks="size", mean_accuracy="mean")
    table.insert(1, "share", table.tasks / len(suggestions))
    return table.rename_axis("action").reset_index()


def in_doubt(uncertainty: pd.Series, *, refer: float, share: float) -> list[str]:
    """Return the tasks nearest by rank to the threshold above which a share of them lies.

    They are those that a better, dearer video model may yet move across it. More are taken in
    addition to fewer.

    Parameters
    ----------
    uncertainty : Series
        By task.
    refer : float
        The share of the tasks, the most uncertain, above the threshold; between 0 and 1.
    share : float
        Of the tasks, to be returned; above 0, up to 1.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If a share is out of range, or so small that it is no task.

    Examples
    --------
    >>> in_doubt(pd.Series([4.0, 1, 3, 2], list("abcd")), refer=0.5, share=0.5)
    ['c', 'd']
    """
    n = len(uncertainty)
    above, count = round(refer * n), round(share * n)
    if not (0 < above < n and 0 < count <= n):
        raise ValueError(
            f"of {n} tasks a share of {refer:g} is to lie above the threshold, and {share:g} to be "
            "confirmed; expected one task or more of each, and one or more below the threshold"
        )
    ordered = uncertainty.sort_values(ascending=False, kind="stable").index
    apart = np.abs(np.arange(n) + 0.5 - above)
    return list(ordered[np.argsort(apart, kind="stable")[:count]])


def merged_ranks(screened: pd.Series, confirmed: pd.Series) -> pd.Series:
    """Return the ranks of tasks, 1 = the least uncertain, some of which two video models ranked.

    The confirmed tasks keep the places that they have among all, and take them in the order that
    the second model gives: no level of one is held to a level of the other.

    Parameters
    ----------
    screened, confirmed : Series
        Uncertainty by task; `confirmed` of some of them, by the other model.

    Returns
    -------
    Series
        By task, in the order of `screened`.

    Raises
    ------
    ValueError
        If a confirmed task is not among the screened.

    Examples
    --------
    >>> screened = pd.Series([1.0, 2, 3, 4], list("abcd"))
    >>> merged_ranks(screened, pd.Series([90.0, 80], list("bc"))).to_dict()
    {'a': 1, 'b': 3, 'c': 2, 'd': 4}
    """
    if unknown := sorted(set(confirmed.index) - set(screened.index)):
        raise ValueError(f"{unknown[0]!r} was confirmed, and is not among the tasks to rank")
    ranks = screened.rank(method="first").astype(int)
    ranks[confirmed.sort_values(kind="stable").index] = np.sort(ranks[confirmed.index])
    return ranks
