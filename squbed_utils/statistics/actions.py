"""What to do about each answer: accept it, ask for a more specific prompt, or do not trust it."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from squbed_utils.estimators.checks import require
from squbed_utils.statistics.decision import Control

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
        action, tasks, share, mean_accuracy (missing where there are no tasks).
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
