"""A threshold on uncertainty below which tasks fall short by no more than a level.

It is chosen on calibration tasks, whose accuracy is known, and used on new ones drawn alike.
Uncertainty: higher = less certain; accuracy: higher = better.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from squbed_utils.estimators.checks import require, require_generator

STARTS = 4
"""Places along the tasks where a sequence of tests starts, each at a part of the error."""

BETS = np.arange(1, 6) / 5.001
"""Stakes of the bets against the level, as shares of the greatest that cannot ruin."""


def reached(losses: np.ndarray, k: np.ndarray, level: float, error: float) -> np.ndarray:
    """Return which thresholds the sequences of tests reach, as positions in rising order.

    Losses are float (n,), 0 to 1, in rising order of uncertainty; k (int) counts the tasks up to
    each distinct threshold. All tests together err with probability `error`.
    """
    below = np.append(0, k[:-1])
    passes = capital(losses, level)[below] >= STARTS / error
    found: set[int] = set()
    for rank in k[-1] * np.arange(1, STARTS + 1) // STARTS:
        start = int(np.searchsorted(k, rank))
        run = int(np.argmin(np.append(passes[start:], False)))
        found.update(range(start, start + run))
    return np.array(sorted(found), dtype=int)


def capital(losses: np.ndarray, level: float) -> np.ndarray:
    """Return the evidence that the mean of the first k losses lies under the level, k = 0..n.

    The mean over stakes b of prod_i (1 + b (level - loss_i)), whose expectation is at most 1 for
    independent losses of mean `level` or more: by Markov's inequality 1/capital is a p-value. It
    does not hang on the order of the losses, and gains by their small variance.
    """
    stakes = BETS[:, None] / (1 - level)
    gains = np.cumsum(np.log1p(stakes * (level - losses)), axis=1)
    return np.append(1.0, np.exp(np.minimum(gains, 500)).mean(axis=0))


GUARANTEES = MARGINAL, ACCEPTED = "marginal", "accepted"


@dataclass(frozen=True)
class Control:
    """A threshold on uncertainty, and what is promised below it.

    Attributes
    ----------
    threshold : float or None
        Accept a task whose uncertainty is at most this; None: accept none.
    level : float
        Promised bound on the risk, in the accuracy's unit.
    guarantee : str
        "marginal": E[shortfall of an accepted task, 0 of another] <= level. "accepted":
        E[shortfall given that a task is accepted] <= level, with probability 1 - error.
    error : float or None
        None for "marginal".
    bound : float
        The greatest shortfall that counts.
    n : int
        Calibration tasks.
    accepted : int
        How many of these are.
    risk : float
        Their shortfall as the guarantee counts it; 0 with none accepted.
    reason : str
        Why none is accepted; empty otherwise.

    """

    threshold: float | None
    level: float
    guarantee: str
    error: float | None
    bound: float
    n: int
    accepted: int
    risk: float
    reason: str

    def accepts(self, uncertainty: ArrayLike) -> np.ndarray:
        """Return whether each task is accepted, shape as given."""
        u = np.asarray(uncertainty, dtype=float)
        return np.zeros(u.shape, bool) if self.threshold is None else u <= self.threshold


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
    values = _finite(accuracy, "accuracy")
    if not np.isfinite(target) or not 0 < bound < np.inf:
        raise ValueError(f"target is {target} and bound {bound}; expected numbers, bound above 0")
    return np.clip(target - values, 0, bound)


def risk_curve(uncertainty: ArrayLike, losses: ArrayLike, *, bound: float) -> dict[str, np.ndarray]:
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
    dict of ndarray, one value a distinct uncertainty
        "threshold", "accepted" (tasks), "marginal", "marginal_bound", "conditional".

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, or a loss is outside 0 to `bound`.

    Examples
    --------
    >>> curve = risk_curve([1, 2, 3], [0.0, 0.0, 0.6], bound=1.0)
    >>> curve["marginal"].round(3).tolist(), curve["marginal_bound"].round(3).tolist()
    ([0.0, 0.0, 0.2], [0.25, 0.25, 0.4])

    """
    t, k, losses = _sorted(uncertainty, losses, bound)
    sums, n = np.cumsum(losses)[k - 1], losses.size
    return {
        "threshold": t,
        "accepted": k,
        "marginal": sums / n,
        "marginal_bound": (sums + bound) / (n + 1),
        "conditional": sums / k,
    }


def control_risk(
    uncertainty: ArrayLike,
    losses: ArrayLike,
    *,
    level: float,
    bound: float,
    guarantee: str = MARGINAL,
    error: float = 0.1,
) -> Control:
    """Choose the greatest threshold at which the risk of accepting stays under a level.

    "marginal": conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814): the greatest
    u_i with n/(n+1) R(u_i) + B/(n+1) <= level. It holds for exchangeable tasks, in
    expectation over calibration tasks and the next one, for any distribution. The risk counts 0
    for what is not accepted, so it is the accepted tasks' mean shortfall times their share.

    "accepted": learn then test (Angelopoulos et al. 2021, arXiv 2110.01052), the tests by betting
    (Waudby-Smith and Ramdas 2024, arXiv 2010.09686). Sequences of tests run up the sorted tasks
    from four fixed ranks, each at a quarter of the error and until its first failure; a test of
    threshold u_(k) uses the tasks below it. It holds with probability 1 - error over independent
    calibration tasks, provided that the mean shortfall of the tasks below t does not fall as t
    rises; isotonic regression assumes as much.

    Parameters
    ----------
    uncertainty, losses : array_like of float, shape (n,)
        One a calibration task; losses as `shortfall`.
    level : float
        Above 0 and below `bound`, in the accuracy's unit.
    bound : float
        B, the greatest loss.
    guarantee : str
        One of `GUARANTEES`.
    error : float
        Of "accepted", between 0 and 1.

    Returns
    -------
    Control
        With threshold None, and the reason, where no threshold keeps the promise.

    Raises
    ------
    ValueError
        If the guarantee is unknown, an option is out of range, or as `risk_curve`.

    Examples
    --------
    >>> control_risk([1, 2, 3], [0.0, 0.0, 0.6], level=0.3, bound=1.0).threshold
    2.0

    """
    if guarantee not in GUARANTEES:
        raise ValueError(f"unknown guarantee {guarantee!r}; known: {', '.join(GUARANTEES)}")
    if not 0 < level < bound or not 0 < error < 1:
        raise ValueError(
            f"level is {level} and error {error}; expected the level between 0 and the bound "
            f"({bound}), the error between 0 and 1"
        )
    t, k, losses = _sorted(uncertainty, losses, bound)
    sums, n = np.cumsum(losses)[k - 1], losses.size
    if guarantee == MARGINAL:
        valid = np.flatnonzero((sums + bound) / (n + 1) <= level)
        risk, reason = sums / n, _marginal_reason(n, level, bound)
    else:
        valid = reached(losses / bound, k, level / bound, error)
        risk, reason = sums / k, _accepted_reason(n, level, bound, error)
    last = valid[-1] if valid.size else None
    return Control(
        threshold=None if last is None else float(t[last]),
        level=level,
        guarantee=guarantee,
        error=error if guarantee == ACCEPTED else None,
        bound=bound,
        n=n,
        accepted=0 if last is None else int(k[last]),
        risk=0.0 if last is None else float(risk[last]),
        reason=reason if last is None else "",
    )


def held_out(
    uncertainty: ArrayLike,
    losses: ArrayLike,
    choose: Callable[[np.ndarray, np.ndarray], Control],
    *,
    rng: np.random.Generator,
    splits: int = 500,
) -> dict[str, np.ndarray]:
    """Choose a threshold on a random half of the tasks, and look at the other half; many times.

    The marginal promise is kept if the mean of "marginal" stays under the level.

    Parameters
    ----------
    uncertainty, losses : array_like of float, shape (n,)
        As `control_risk`, n >= 2.
    choose : callable
        (uncertainty, losses) -> Control.
    rng : numpy.random.Generator
    splits : int

    Returns
    -------
    dict of ndarray, each of shape (splits,)
        "coverage" (share of held-out tasks accepted), "marginal" (mean of accepted shortfall over
        all held-out tasks), "conditional" (over the accepted ones; 0 where there are none).

    Raises
    ------
    ValueError
        If there are fewer than two tasks or no splits, or as `control_risk`.
    TypeError
        If `rng` is not a Generator.
    """
    require_generator(rng)
    u, losses = _finite(uncertainty, "uncertainty"), _finite(losses, "losses")
    if u.size < 2 or u.size != losses.size or splits < 1:
        raise ValueError(
            f"{u.size} uncertainties, {losses.size} losses, {splits} splits; expected equal "
            "numbers of at least 2, and at least 1 split"
        )
    rows = np.empty((3, splits))
    for i in range(splits):
        first, second = np.array_split(rng.permutation(u.size), 2)
        accepted = choose(u[first], losses[first]).accepts(u[second])
        lost = losses[second][accepted].sum()
        rows[:, i] = accepted.mean(), lost / accepted.size, lost / max(accepted.sum(), 1)
    return dict(zip(("coverage", "marginal", "conditional"), rows, strict=True))


def _sorted(uncertainty: ArrayLike, losses: ArrayLike, bound: float) -> tuple[np.ndarray, ...]:
    """Return distinct uncertainties rising, the number of tasks up to each, and sorted losses."""
    u, losses = _finite(uncertainty, "uncertainty"), _finite(losses, "losses")
    if u.size != losses.size:
        raise ValueError(f"{u.size} uncertainties and {losses.size} losses; expected as many")
    require((losses >= 0) & (losses <= bound), losses, "loss", f"0 to the bound {bound}")
    order = np.argsort(u, kind="stable")
    last = np.flatnonzero(np.append(np.diff(u[order]) > 0, True))
    return u[order][last], last + 1, losses[order]


def _marginal_reason(n: int, level: float, bound: float) -> str:
    least = int(np.ceil(bound / level)) - 1
    if n < least:
        return f"{n} calibration tasks are too few for level {level:g}: at least {least} are needed"
    return f"already the most certain of {n} tasks fall short too far for level {level:g}"


def _accepted_reason(n: int, level: float, bound: float, error: float) -> str:
    least = int(np.log(STARTS / error) / -np.log1p(-level / bound)) + 1
    return (
        f"no test of {n} tasks shows a mean shortfall under {level:g} at error {error:g}; even "
        f"without any shortfall it takes more than {least} tasks"
    )


def _finite(values: ArrayLike, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"{name} has shape {values.shape}; expected (n,), not empty")
    require(np.isfinite(values), values, name, "a finite number: leave that task out")
    return values


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
    said = Counter(word for text in latent_prompts for word in _words(text))
    n, known = len(latent_prompts), _words(prompt) | FUNCTION_WORDS
    differing = [(word, k) for word, k in said.items() if k < n and word not in known]
    differing.sort(key=lambda pair: (abs(2 * pair[1] - n), -pair[1], pair[0]))
    return [word for word, _ in differing[:most]]


def suggest(
    summary: pd.DataFrame,
    latents: pd.DataFrame,
    control: Control,
    *,
    reference: pd.DataFrame | None = None,
    words: int = 5,
) -> pd.DataFrame:
    """Suggest an action for each task.

    The rule. Accept a task whose total uncertainty is at most the control's threshold. Of the
    others, ask for a more specific prompt if its latent prompts differ in some word, and its
    aleatoric uncertainty stands at least as high among the reference tasks as its epistemic does
    (position: the share of tasks below, ties counting half); else do not trust the video model
    with it. Positions are compared and not nats, whose scale is set by the encoders' widths.

    Parameters
    ----------
    summary : DataFrame
        task, prompt, aleatoric, epistemic, total: as `tables.with_parts`.
    latents : DataFrame
        task, prompt of every latent prompt: as ``Archive.latents()``.
    control : Control
        As `decision.control_risk`, of total uncertainty.
    reference : DataFrame, optional
        The calibration tasks, with aleatoric and epistemic; by default `summary` itself.
    words : int
        How many words to name where a user is asked.

    Returns
    -------
    DataFrame
        A row a task: task, prompt, total, aleatoric, epistemic, aleatoric_position,
        epistemic_position (0 to 1), action (one of `ACTIONS`), words (on which the latent prompts
        differ most, joined by commas; empty unless the user is asked).

    Raises
    ------
    ValueError
        If an uncertainty is not finite, or there is no task.
    """
    reference = summary if reference is None else reference
    for table in (summary, reference):
        _require_terms(table)
    texts = latents.groupby("task").prompt.agg(list)
    table = summary[["task", "prompt", "total", "aleatoric", "epistemic"]].reset_index(drop=True)
    for part in ("aleatoric", "epistemic"):
        table[f"{part}_position"] = _positions(table[part], reference[part])
    named = pd.Series(
        ", ".join(splitting_words(row.prompt, texts[row.task], most=words))
        for row in table.itertuples()
    )
    vague = (table.aleatoric_position >= table.epistemic_position) & (named != "")
    action = np.where(control.accepts(table.total), ACCEPT, np.where(vague, ASK, DISTRUST))
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
    found = values.groupby(suggestions.action.to_numpy()).agg(["size", "mean"]).reindex(ACTIONS)
    table = found.rename(columns={"size": "tasks", "mean": "mean_accuracy"})
    table["tasks"] = table.tasks.fillna(0).astype(int)
    table = table.rename_axis("action").reset_index()
    table.insert(2, "share", table.tasks / len(suggestions))
    return table


def _positions(values: pd.Series, reference: pd.Series) -> np.ndarray:
    found, values = np.sort(reference.to_numpy(float)), values.to_numpy(float)
    sides = [np.searchsorted(found, values, side) for side in ("left", "right")]
    return np.mean(sides, axis=0) / found.size


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.casefold()))


def _require_terms(table: pd.DataFrame) -> None:
    if table.empty:
        raise ValueError("there are no tasks to suggest an action for; expected at least one")
    for name in ("aleatoric", "epistemic", "total"):
        if table[name].isna().all():
            raise ValueError(
                f"no task has a value of {name}; choose an estimator that gives all three, such as "
                "squbed"
            )
        values = table[name].to_numpy(dtype=float)
        require(np.isfinite(values), values, name, "a number: leave that task out (with_parts)")
