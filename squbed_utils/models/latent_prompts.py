"""Latent prompts: more specific prompts, drawn from a language model and checked."""

from collections.abc import Callable
from dataclasses import dataclass

from squbed_utils.files import seed_of
from squbed_utils.tasks.task import Task
from squbed_utils.world.scenes import entails

MAX_DRAWS = 11
Refine = Callable[[str, int], str | list[str]]
"""(prompt, seed) -> a more specific prompt, or the list of all n of a task."""


class NoneCompatible(ValueError):
    """All `MAX_DRAWS` draws of a latent prompt were refused."""


@dataclass(frozen=True)
class LatentPrompt:
    """An accepted draw, and the draws that were refused before it."""

    prompt: str
    rejected: tuple[str, ...]


def draw(
    task: Task,
    latent: int,
    refine: Refine | None,
    *,
    seed: int,
    compatible: Callable[[str, str], bool] | None,
    listed: bool = False,
) -> LatentPrompt:
    """Draw one latent prompt of a task, independently of all others unless `listed`.

    An empty or incompatible draw is drawn again, so accepted draws follow the refiner's
    distribution given that they are compatible. If `listed`, `refine` returns one list with the
    draws of all of the task's latent prompts; after a refusal another list. Where none of
    `MAX_DRAWS` draws is compatible, this raises `NoneCompatible`. Where the task's latent prompts
    are given, nothing is drawn.
    """
    if task.latent_prompts is not None:
        return _given(task, latent)
    rejected = []
    for attempt in range(MAX_DRAWS):
        if listed:
            text = refine(task.prompt, seed_of(seed, "prompts", task.id, attempt))[latent]
        else:
            text = refine(task.prompt, seed_of(seed, "prompt", task.id, latent, attempt))
        refined = " ".join(text.split())
        if refined and compatible(refined, task.prompt):
            return LatentPrompt(refined, tuple(rejected))
        rejected.append(refined)
    raise NoneCompatible(
        f"task {task.id}, latent prompt {latent}: none of {MAX_DRAWS} draws is compatible with "
        f"{task.prompt!r} (the last: {rejected[-1]!r}); use another refiner, instruction or check"
    )


def _given(task: Task, latent: int) -> LatentPrompt:
    if latent >= len(task.latent_prompts) or not task.latent_prompts[latent]:
        raise ValueError(
            f"task {task.id}: latent prompt {latent} is not known in the archive that gives them"
        )
    return LatentPrompt(task.latent_prompts[latent], ())


def in_the_grammar(refined: str, original: str) -> bool:
    """Say whether a draw keeps everything that its prompt names, by the shapes world's grammar."""
    try:
        return entails(refined, original)
    except ValueError:
        return False
