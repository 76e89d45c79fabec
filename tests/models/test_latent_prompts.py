import pytest

from squbed_utils.files import seed_of
from squbed_utils.models import latent_prompts
from squbed_utils.tasks.task import Task

TASK = Task("t", "world", "round", "a red circle", "references/t.mp4")
FULL = "a small red circle moving left on a black background"


def scripted(*answers):
    """Make a refiner that gives these answers in turn and records the seeds."""
    turn, seeds = iter(answers), []

    def refine(prompt, seed):
        seeds.append(seed)
        return next(turn)

    return refine, seeds


def draw(refine, latent=0, seed=0, compatible=latent_prompts.in_the_grammar, listed=False):
    return latent_prompts.draw(
        TASK, latent, refine, seed=seed, compatible=compatible, listed=listed
    )


def test_a_compatible_draw_is_taken_as_it_is():
    refine, _ = scripted(f"  {FULL} \n")
    assert draw(refine) == latent_prompts.LatentPrompt(FULL, ())


def test_other_draws_are_refused_and_kept_count_of():
    refused = ["a blue circle", "", "a red dog", "a red red circle"]
    refine, seeds = scripted(*refused, FULL)
    assert draw(refine) == latent_prompts.LatentPrompt(FULL, tuple(refused))
    assert len(set(seeds)) == 5


def test_after_ten_more_draws_it_gives_up():
    refine, seeds = scripted(*["a blue circle"] * 20)
    expected = "task t, latent prompt 3: none of 11 draws is compatible with 'a red circle'"
    with pytest.raises(ValueError, match=expected):
        draw(refine, latent=3)
    assert len(seeds) == 11


def test_without_a_check_only_empty_draws_are_refused():
    refine, _ = scripted("", "anything at all")
    accepted = draw(refine, compatible=lambda *pair: True)
    assert accepted == latent_prompts.LatentPrompt("anything at all", ("",))


def test_the_seed_is_of_run_task_latent_and_attempt():
    refine, seeds = scripted("a blue circle", FULL)
    draw(refine, latent=2, seed=7)
    assert seeds == [seed_of(7, "prompt", "t", 2, attempt) for attempt in (0, 1)]


def test_from_a_list_each_latent_prompt_takes_its_own():
    refine, seeds = scripted([FULL, "x"], ["y", FULL])
    assert draw(refine, latent=1, seed=7, listed=True) == latent_prompts.LatentPrompt(FULL, ("x",))
    assert seeds == [seed_of(7, "prompts", "t", attempt) for attempt in (0, 1)]
