"""A threshold on uncertainty below which tasks fall short by no more than a level.

It is chosen on calibration tasks, whose accuracy is known, and used on new ones drawn alike.
Uncertainty: higher = less certain; accuracy: higher = better.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from squbed_utils.estimators.checks import finite_vector, require, require_generator


@dataclass(frozen=True)
class Threshold:
    """A threshold on uncertainty that keeps E[shortfall if accepted, else 0] <= level.

    Attributes
    ----------
    value : float or None
        Accept a task whose uncertainty is at most this; None: accept none.
    level : float
        Promised bound on the risk, in the accuracy's unit.
    n : int
        Calibration tasks.
    accepted : int
        How many of these are.
    risk : float
        Their summed shortfall over n.
    reason : str
        Why none is accepted; empty otherwise.

    """

    value: float | None
    level: float
    n: int
    accepted: int
    risk: float
    reason: str

    def accepts(self, uncertainty: ArrayLike) -> np.ndarray:
        """Return whether each task is accepted, shape as given."""
        u = np.asarray(uncertainty, dtype=float)
        return np.zeros(u.shape, bool) if self.value is None else u <= self.value


def shortfall(accuracy: ArrayLike, *, target: float, bound: float) -> np.ndarray:
    """Return min(max(target - accuracy, 0), bound): how far each task falls short.

    Parameters
    ----------
    accuracy : array_like of float, shape (n,)
        Higher = better.
    target : float
        The accuracy that is wanted, in the same unit.
    bound : float
        Above 0; a shortfall above it counts as this. For a cosine, target + 1 is never passed.

    Returns
    -------
    ndarray of float, shape (n,)
        0 to `bound`.

    Raises
    ------
    ValueError
        If a value is not finite or the bound is not above 0.

    Examples
    --------
    >>> shortfall([0.9, 0.4, -0.8], target=0.5, bound=1.0).round(6).tolist()
    [0.0, 0.1, 1.0]

    """
    accuracy = finite_vector(accuracy, "accuracy")
    if not np.isfinite(target) or not 0 < bound < np.inf:
        raise ValueError(f"target is {target} and bound {bound}; expected numbers, bound above 0")
    return np.clip(target - accuracy, 0, bound)


def risk_curve(uncertainty: ArrayLike, losses: ArrayLike, *, bound: float) -> pd.DataFrame:
    """Return the risk of accepting all tasks up to each threshold, ties together.

    Marginal risk R(t) = mean of 1{u <= t} loss, which cannot fall as t rises, and its conformal
    bound n/(n+1) R(t) + B/(n+1). Conditional risk: mean loss of the accepted tasks, which may.

    Parameters
    ----------
    uncertainty, losses : array_like of float, shape (n,)
        One a calibration task; losses as `shortfall`.
    bound : float
        B, the greatest loss.

    Returns
    -------
    DataFrame
        A row a distinct uncertainty, rising: threshold, accepted (tasks), marginal,
        marginal_bound, conditional.

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, or a loss is outside 0 to `bound`.

    Examples
    --------
    >>> curve = risk_curve([1, 2, 3], [0.0, 0.0, 0.6], bound=1.0)
    >>> curve.marginal.round(3).tolist(), curve.marginal_bound.round(3).tolist()
    ([0.0, 0.0, 0.2], [0.25, 0.25, 0.4])

    """
    u, losses = finite_vector(uncertainty, "uncertainty"), finite_vector(losses, "losses")
    n = u.size
    if n != losses.size:
        raise ValueError(f"{n} uncertainties and {losses.size} losses; expected as many")
    require((losses >= 0) & (losses <= bound), losses, "loss", f"0 to the bound {bound}")
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
        One a calibration task; losses as `shortfall`.
    level : float
        Above 0 and below `bound`, in the accuracy's unit.
    bound : float
        B, the greatest loss.

    Returns
    -------
    Threshold
        With value None, and the reason, where no threshold keeps the promise.

    Raises
    ------
    ValueError
        If the level is out of range, or as `risk_curve`.

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
        return Threshold(
            float(best.threshold), level, n, int(best.accepted), float(best.marginal), ""
        )
    least = int(np.ceil(bound / level)) - 1
    reason = f"already the most certain of {n} tasks fall short too far for level {level:g}"
    if n < least:
        reason = f"{n} calibration tasks are too few for level {level:g}: at least {least} are "
        reason += "needed"
    return Threshold(None, level, n, 0, 0.0, reason)


def held_out(
    uncertainty: ArrayLike,
    losses: ArrayLike,
    *,
    level: float,
    bound: float,
    rng: np.random.Generator,
    splits: int = 500,
) -> pd.DataFrame:
    """Choose a threshold on a random half of the tasks, and look at the other half; many times.

    The promise is kept if the mean of "marginal" stays under the level.

    Parameters
    ----------
    uncertainty, losses : array_like of float, shape (n,)
        As `control_risk`, n >= 2.
    level, bound : float
        As `control_risk`.
    rng : numpy.random.Generator
    splits : int

    Returns
    -------
    DataFrame
        A row a split: coverage (share of held-out tasks accepted), marginal (mean of accepted
        shortfall over all held-out tasks), conditional (over the accepted ones; 0 where there are
        none).

    Raises
    ------
    ValueError
        If there are fewer than two tasks or no splits, or as `control_risk`.
    TypeError
        If `rng` is not a Generator.
    """
    require_generator(rng)
    u, losses = finite_vector(uncertainty, "uncertainty"), finite_vector(losses, "losses")
    if u.size < 2 or u.size != losses.size or splits < 1:
        raise ValueError(
            f"{u.size} uncertainties, {losses.size} losses, {splits} splits; expected equal "
            "numbers of at least 2, and at least 1 split"
        )
    rows = []
    for _ in range(splits):
        first, second = np.array_split(rng.permutation(u.size), 2)
        threshold = control_risk(u[first], losses[first], level=level, bound=bound)
        accepted = threshold.accepts(u[second])
        lost = losses[second][accepted].sum()
        rows.append((accepted.mean(), lost / accepted.size, lost / max(accepted.sum(), 1)))
    return pd.DataFrame(rows, columns=["coverage", "marginal", "conditional"])


ACCEPT, ASK, DISTRUST = "accept", "ask to be more specific", "do not trust"

ACTIONS = (ACCEPT, ASK, DISTRUST)

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

FUNCTION_WORDS = frozenset(
    "a an the this that these those and or but of in on at to into onto from by with as is are was "
    "were be been being it its his her their while where which who for there then has have".split()
)
"""English words that build a sentence and show nothing; up, down, over and under can be seen."""


def splitting_words(prompt: str, latent_prompts: Sequence[str], *, most: int = 5) -> list[str]:
    """Return the words on which latent prompts differ most, the most even split first.

    A word's presence in the latent prompts has entropy -p log p - (1-p) log(1-p), p the share of
    them that say it; it is greatest where half of them do, and 0 where all or none do. Left out
    are words of the prompt, which need not be asked for, and `FUNCTION_WORDS`. Case is ignored;
    of equal entropies the word said by more comes first, then alphabetically.

    Parameters
    ----------
    prompt : str
    latent_prompts : sequence of str, length n
    most : int
        How many words at most.

    Returns
    -------
    list of str
        Empty where the latent prompts say the same.

    Examples
    --------
    >>> splitting_words("a dog", ["a brown dog runs", "a brown dog", "a black dog", "a dog sits"])
    ['brown', 'black', 'runs', 'sits']

    """
    texts_with = Counter(word for text in latent_prompts for word in _words(text))
    n, known = len(latent_prompts), _words(prompt) | FUNCTION_WORDS
    splits = [(word, k) for word, k in texts_with.items() if k < n and word not in known]
    splits.sort(key=lambda split: (abs(2 * split[1] - n), -split[1], split[0]))
    return [word for word, _ in splits[:most]]


def suggest(
    summary: pd.DataFrame,
    latents: pd.DataFrame,
    threshold: Threshold,
    *,
    reference: pd.DataFrame | None = None,
    words: int = 5,
) -> pd.DataFrame:
    """Suggest an action for each task.

    The rule. Accept a task whose total uncertainty is at most the threshold. Of the others, ask
    for a more specific prompt if its latent prompts differ in some word, and its aleatoric
    uncertainty stands at least as high among the reference tasks as its epistemic does
    (position: the share of tasks below, ties counting half); else do not trust the video model
    with it. Positions are compared and not nats, whose scale is set by the encoders' widths.

    Parameters
    ----------
    summary : DataFrame
        task, prompt, aleatoric, epistemic, total: as `tables.with_parts`.
    latents : DataFrame
        task, prompt of every latent prompt: as ``Archive.latents()``.
    threshold : Threshold
        As `control_risk`, of total uncertainty.
    reference : DataFrame, optional
        The calibration tasks, with aleatoric and epistemic; by default `summary` itself.
    words : int
        How many words to name where a user is asked.

    Returns
    -------
    DataFrame
        A row a task: task, prompt, total, aleatoric, epistemic, aleatoric_position,
        epistemic_position (0 to 1), action (categorical, of `ACTIONS`), words (on which the latent
        prompts differ most, joined by commas; empty unless the user is asked).

    Raises
    ------
    ValueError
        If an uncertainty is not finite, or there is no task.
    """
    reference = summary if reference is None else reference
    for table in (summary, reference):
        for term in ("aleatoric", "epistemic", "total"):
            if len(table) and table[term].isna().all():
                raise ValueError(
                    f"no task has a value of {term}; choose an estimator that gives all three, "
                    "such as squbed"
                )
            finite_vector(table[term], term)
    texts = latents.groupby("task").prompt.agg(list)
    table = summary[["task", "prompt", "total", "aleatoric", "epistemic"]].reset_index(drop=True)
    for part in ("aleatoric", "epistemic"):
        ordered = np.sort(reference[part].to_numpy(float))
        below, up_to = (np.searchsorted(ordered, table[part], side) for side in ("left", "right"))
        table[f"{part}_position"] = (below + up_to) / 2 / len(ordered)
    named = pd.Series(
        ", ".join(splitting_words(row.prompt, texts[row.task], most=words))
        for row in table.itertuples()
    )
    vague = (table.aleatoric_position >= table.epistemic_position) & (named != "")
    action = np.where(threshold.accepts(table.total), ACCEPT, np.where(vague, ASK, DISTRUST))
    action = pd.Categorical(action, ACTIONS)
    return table.assign(action=action, words=named.where(action == ASK, ""))


def by_action(suggestions: pd.DataFrame, accuracy: pd.Series) -> pd.DataFrame:
    """Return how many tasks have each action, and how accurate they are.

    Parameters
    ----------
    suggestions : DataFrame
        As `suggest`.
    accuracy : Series
        A value a task, in the same order.

    Returns
    -------
    DataFrame
        action, tasks, share, mean_accuracy (missing without tasks).
    """
    values = pd.Series(np.asarray(accuracy, dtype=float))
    groups = values.groupby(suggestions.action.array, observed=False)
    table = groups.agg(tasks="size", mean_accuracy="mean")
    table.insert(1, "share", table.tasks / len(suggestions))
    return table.rename_axis("action").reset_index()


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.casefold()))
