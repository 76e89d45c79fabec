"""The language model of a run: it refines prompts, checks refinements and labels captions."""

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from squbed_utils import instructions, roles
from squbed_utils.files import seed_of
from squbed_utils.models import latent_prompts, replies
from squbed_utils.models.checkpoints import locate
from squbed_utils.models.openai import load_openai
from squbed_utils.tasks.captioned import CATEGORIES, UNCLEAR

ATTEMPTS = 3
"""Times that a question is asked until it gets a clear list, yes or no, or category."""

PARALLEL = 8
"""Captions that a model behind an API labels at once."""

Answer = Callable[[str, str, int], str]
"""(instruction, text, seed) -> the model's answer; a list has one item a line."""


@dataclass(frozen=True)
class LanguageModel:
    """A language model as functions.

    `refine` maps (prompt, seed) to a more specific prompt, or to the n prompts of a task if
    `listed` (``draws: list`` in the profile). `compatible` maps (refined, original) to whether the
    refined prompt entails the original; an unclear answer counts as no. `label` maps captions to
    `CATEGORIES`, or to `UNCLEAR` where the answer names none.
    """

    refine: Callable[[str, int], str | list[str]]
    compatible: Callable[[str, str], bool]
    label: Callable[[list[str]], list[str]]
    listed: bool = False


def load(
    settings: roles.Refiner, device: str, *, n: int, answers: Path | None = None
) -> LanguageModel:
    """Load the language model of a profile; `n` latent prompts a task are the length of a list.

    A model behind an API writes its answers into the folder `answers`, and reads them from it.
    """
    if isinstance(settings, roles.CausalLM):
        refine = _load_completion(settings, device)
        return LanguageModel(refine, _checker(settings, device, None), _cannot_label)
    paid = isinstance(settings, roles.OpenAI)
    if paid:
        answer, forget = load_openai(settings, answers)
    else:
        answer, forget = load_chat(settings, device), lambda *question: None
    texts = instructions.read(settings.instructions)

    def ask(name: str, values: dict, seed: int, do: Callable = answer) -> str:
        return do(name, instructions.fill(texts[name], values), seed)

    def refine(prompt: str, seed: int) -> str:
        return " ".join(replies.lines_of(ask("refine", {"prompt": prompt}, seed)))

    @lru_cache(maxsize=16)
    def refine_list(prompt: str, seed: int) -> list[str]:
        values = {"prompt": prompt, "n": n}
        seeds = [seed_of(seed, attempt) for attempt in range(ATTEMPTS)]
        try:
            return _listed((ask("refine_list", values, s) for s in seeds), n)
        except ValueError:
            for s in seeds:
                ask("refine_list", values, s, forget)
            raise

    def decide(name: str, values: dict, words: Sequence[str]) -> str:
        for attempt in range(ATTEMPTS):
            said = ask(name, values, seed_of(0, attempt) if attempt else 0)
            found = replies.choice(said, words)
            if found or (paid and not said):  # a model that declines is not pressed
                return found or UNCLEAR
        if name == "entails":  # an unclear category stands in labels.json
            about = f"no clear yes or no in {ATTEMPTS} answers about {values['refined']!r}"
            tqdm.write(f"{about} (the last: {said[:80]!r}); counted as no", file=sys.stderr)
        return UNCLEAR

    def entails(refined: str, original: str) -> bool:
        return decide("entails", {"refined": refined, "prompt": original}, ("yes", "no")) == "yes"

    def category(caption: str) -> str:
        return decide("category", {"caption": caption}, CATEGORIES)

    def label(captions: list[str]) -> list[str]:
        unique = list(dict.fromkeys(captions))
        with ThreadPoolExecutor(PARALLEL if paid else 1) as pool:
            found = dict(zip(unique, pool.map(category, unique), strict=True))
        return [found[caption] for caption in captions]

    listed = settings.draws == "list"
    check = _checker(settings, device, entails)
    return LanguageModel(refine_list if listed else refine, check, label, listed)


def _listed(answers: Iterable[str], n: int) -> list[str]:
    """Return the first list of n distinct prompts; later answers are not asked for."""
    for answer in answers:
        items = {" ".join(line.lower().split()): line for line in replies.lines_of(answer)}
        if len(items) == n:
            return list(items.values())
    raise ValueError(
        f"the language model was asked {ATTEMPTS} times for {n} distinct prompts and gave "
        f"{len(items)} the last time; run again with --retry-failed to ask a model behind an API "
        "anew, set refiner.draws to independent, or take another model"
    )


def _checker(
    settings: roles.Refiner, device: str, entails: Callable[[str, str], bool] | None
) -> Callable[[str, str], bool]:
    """Return the check that the profile names; `entails` is the check by the model itself."""
    if settings.check == "nli":
        return load_nli(settings.nli_model, device)
    return {
        "none": lambda refined, original: True,
        "grammar": latent_prompts.in_the_grammar,
        "model": entails,
    }[settings.check]


def load_nli(path: str, device: str) -> Callable[[str, str], bool]:
    """Load a cross-encoder for natural-language inference from a folder or hub id.

    It maps (refined, original) to whether entailment is the most probable of the model's labels.
    """
    folder = locate(path, "nli_model")
    model = CrossEncoder(
        str(folder),
        device=device,
        local_files_only=True,
        model_kwargs={"use_safetensors": True},
    )
    model.eval()
    labels = [model.config.id2label[i].lower() for i in range(model.config.num_labels)]
    if "entailment" not in labels:
        raise ValueError(
            f"the labels of refiner.nli_model {path} are {', '.join(labels)}; expected entailment "
            "among them"
        )

    def compatible(refined: str, original: str) -> bool:
        scores = model.predict([(refined, original)], show_progress_bar=False)[0]
        return labels[scores.argmax()] == "entailment"

    return compatible


def _cannot_label(captions: list[str]) -> list[str]:
    raise ValueError("a refiner of kind local cannot label captions; expected kind chat or openai")


def _load_completion(settings: roles.CausalLM, device: str) -> Callable[[str, int], str]:
    """Load a causal language model that completes a template."""
    folder = locate(settings.path, "refiner", revision=settings.revision)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True
    )
    sample = _sampler(model.to(device).eval(), tokenizer, settings)

    def refine(prompt: str, seed: int) -> str:
        ids = tokenizer(instructions.fill(settings.template, {"prompt": prompt}))["input_ids"]
        if ids[-1] == tokenizer.eos_token_id:
            ids = ids[:-1]
        return sample(ids, seed)

    return refine


def load_chat(settings: roles.Chat, device: str) -> Answer:
    """Load a causal language model with a chat template.

    Its answers have no thoughts. They are sampled, and equal for equal seeds; for a yes or no and
    for a category, seed 0 gives the most probable answer.
    """
    folder = locate(settings.path, "refiner", revision=settings.revision)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.chat_template:
        raise ValueError(
            f"the refiner in {folder} has no chat template; take a chat model, or kind local"
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=getattr(torch, settings.dtype)
    )
    sample = _sampler(model.to(device).eval(), tokenizer, settings)

    def answer(name: str, text: str, seed: int) -> str:
        encoded = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            enable_thinking=False,
            return_dict=True,
        )
        greedy = name in ("entails", "category") and seed == 0
        return sample(encoded["input_ids"], seed, greedy=greedy).strip()

    return answer


def _sampler(model: object, tokenizer: object, settings: roles.CausalLM | roles.Chat) -> Callable:
    """Return a function (token ids, seed) -> the text that continues them, without thoughts."""
    padding = tokenizer.pad_token_id
    shared = {"max_new_tokens": settings.max_new_tokens}
    shared["pad_token_id"] = tokenizer.eos_token_id if padding is None else padding
    sampling = {"do_sample": True, "temperature": settings.temperature, "top_k": 0, "top_p": 1.0}

    @torch.inference_mode()
    def sample(ids: list[int], seed: int, *, greedy: bool = False) -> str:
        inputs = torch.tensor([ids], device=model.device)
        how = shared | ({"do_sample": False} if greedy else sampling)
        with torch.random.fork_rng(devices=[0] if model.device.type == "cuda" else []):
            torch.manual_seed(seed)
            output = model.generate(inputs, attention_mask=torch.ones_like(inputs), **how)
        return replies.decoded(tokenizer, output[0, len(ids) :])

    return sample
