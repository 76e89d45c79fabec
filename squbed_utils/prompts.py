"""Latent prompts: more specific prompts, drawn from a language model and checked."""

from collections.abc import Callable
from dataclasses import dataclass

from squbed_utils.seeds import seed_of
from squbed_utils.tasks import Task
from squbed_utils.world.scenes import entails

MAX_DRAWS = 11
"""Draws of one latent prompt: the first and ten more."""

Refine = Callable[[str, int], str]
"""(prompt, seed) -> a more specific prompt; equal arguments give equal results."""


@dataclass(frozen=True)
class LatentPrompt:
    """An accepted draw, and the draws that were refused before it.

    Attributes
    ----------
    prompt : str
    rejected : tuple of str

    """

    prompt: str
    rejected: tuple[str, ...]


def draw(task: Task, latent: int, refine: Refine, *, seed: int, check: str) -> LatentPrompt:
    """Draw one latent prompt of a task, independently of all others.

    A draw that is empty, or that `check` refuses, is drawn again; so accepted draws follow the
    refiner's distribution given that they are compatible.

    Parameters
    ----------
    task : Task
    latent : int
        Which of the task's n latent prompts. It seeds the draw, with the task and the run's seed.
    refine : callable
        (prompt, seed) -> str.
    seed : int
        The run's.
    check : str
        A name in `CHECKS`.

    Returns
    -------
    LatentPrompt

    Raises
    ------
    ValueError
        If the check is unknown, or none of `MAX_DRAWS` draws is compatible.
    """
    if check not in CHECKS:
        raise ValueError(f"unknown check {check!r}; known: {', '.join(CHECKS)}")
    rejected = []
    for attempt in range(MAX_DRAWS):
        drawn = refine(task.prompt, seed_of(seed, "prompt", task.id, latent, attempt))
        refined = " ".join(drawn.split())
        if refined and CHECKS[check](refined, task.prompt):
            return LatentPrompt(refined, tuple(rejected))
        rejected.append(refined)
    raise ValueError(
        f"task {task.id}, latent prompt {latent}: none of {MAX_DRAWS} draws is compatible with "
        f"{task.prompt!r} (the last: {rejected[-1]!r}); use another refiner or template"
    )


def in_the_grammar(refined: str, original: str) -> bool:
    """Say whether a draw keeps all that its prompt names, as the shapes world reads both.

    A draw that the grammar cannot read is refused.

    >>> in_the_grammar("a small red circle", "a red circle"), in_the_grammar("red", "a red circle")
    (True, False)
    """
    try:
        return entails(refined, original)
    except ValueError:
        return False


CHECKS: dict[str, Callable[[str, str], bool]] = {
    "grammar": in_the_grammar,
    "none": lambda refined, original: True,
}
"""Check -> (refined, original) -> is it compatible?"""
