"""The language model of a run: it refines prompts, checks refinements and labels captions."""

import json
import re
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
from squbed_utils.models import latent_prompts
from squbed_utils.models.checkpoints import locate
from squbed_utils.models.openai import load_openai
from squbed_utils.tasks.captioned import CATEGORIES, UNCLEAR

_TAG = r"(?:\w+:)?(?:think|thinking|thoughts?|antthinking|reasoning|reflection|scratchpad)\b[^<>]*"

MARK = re.compile(
    rf"(?P<closes><\s*/\s*{_TAG}(?:>|$)|<\s*{_TAG}/>|\[/THINK\]|◁/think▷"
    r"|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|channel\|>\s*final\b[^<]*<\|message\|>)"
    rf"|<\s*{_TAG}(?:>|$)|\[THINK\]|◁think▷"
    r"|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|channel\|>\s*\w+[^<]*<\|message\|>",
    re.IGNORECASE,
)
"""Where a thought begins or ends, as the chat templates of reasoning models write it."""

WRAPPER = re.compile(r"</?(?:answer|output|response|result|final)>", re.IGNORECASE)

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)

BULLET = re.compile(r"^(?:\W{0,2}(?:prompt\s+)?\(?\d+(?:[.):]|\s+[-–—])\W{0,2}|[-*•–—+])\s+", re.I)

QUOTES = ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("**", "**"), ("`", "`")

LEAD = r"(?:(?:\w+ )?(?:answer|category|label)\W*(?:is\b|:)|(?:it|this|that) is\b)?"


def without_thoughts(text: str) -> str:
    """Return a reply without its thoughts.

    A block that is never closed was cut short; a block that is only closed was opened by the
    template.

    >>> without_thoughts("<think>yes, or</think> no"), without_thoughts("or</think>no <think> ye")
    ('no', 'no')
    """
    said, thinking, end = [], False, 0
    for mark in MARK.finditer(text):
        if mark["closes"] and not thinking:
            said.clear()
        elif not thinking:
            said.append(text[end : mark.start()])
        thinking, end = not mark["closes"], mark.end()
    if not thinking:
        said.append(text[end:])
    return "".join(said).strip()


def decoded(tokenizer: object, tokens: object) -> str:
    """Return tokens as text, without thoughts, whose marks may be special tokens."""
    text = tokenizer.decode(tokens, skip_special_tokens=False)
    if not MARK.search(text):
        return tokenizer.decode(tokens, skip_special_tokens=True)
    text = without_thoughts(text)
    for special in tokenizer.all_special_tokens:
        text = text.replace(special, "")
    return text.strip()


def bare(text: str) -> str:
    """Strip a reply of its thoughts, of a tag that wraps it, and of a fence around the answer."""
    text = WRAPPER.sub("", without_thoughts(text)).strip()
    fenced = FENCE.search(text)
    return fenced[2].strip() if fenced else text


def lines_of(text: str) -> list[str]:
    r"""Return the texts that a reply lists, one a line or as JSON; one text is a list of one.

    >>> lines_of('Here are two:\n1. "a cat"\n2) **a dog**'), lines_of('["a cat", "a dog"]')
    (['a cat', 'a dog'], ['a cat', 'a dog'])
    """
    text = bare(text)
    lines = [_plain(line) for line in _listed_in_json(text) or text.splitlines()]
    lines = [line for line in lines if line]
    return [line for line in lines if not line.endswith(":")] or lines


def choice(text: str, words: Sequence[str]) -> str | None:
    """Return the one of a few words that a reply answers with; None if that is not clear.

    The word stands first, or after "the answer is" or the like. If its sentence goes on, a
    punctuation mark follows the word, and no other of the words stands in the sentence.

    >>> [choice(t, ("yes", "no")) for t in ("**Yes.**", "no, it lacks the cat", "yes and no")]
    ['yes', 'no', None]
    """
    text = bare(text)
    text = "\n".join(_listed_in_json(text) or [text]).lower()
    word = rf"\b(?:{'|'.join(words)})\b"
    found = re.match(rf"\W*{LEAD}\W*({word})(?![ \t]*[\w/|&])([^.!?\n]*)", text)
    if found is None or re.search(word, found[2]):
        return None
    return found[1]


def _listed_in_json(text: str) -> list[str]:
    """Return the texts in JSON: a text, a list of texts, or an object that holds either alone."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    for _ in range(2):
        if isinstance(value, dict) and len(value) == 1:
            (value,) = value.values()
    items = value if isinstance(value, list) else [value]
    items = [next(iter(i.values()), i) if isinstance(i, dict) else i for i in items]
    return items if all(isinstance(item, str) for item in items) else []


def _plain(line: str) -> str:
    line = BULLET.sub("", line.strip()).strip()
    for first, last in QUOTES:
        inner = line.rstrip(",")[len(first) : -len(last)]
        quoted = line.startswith(first) and line.rstrip(",").endswith(last)
        if quoted and inner and first not in inner and last not in inner:
            line = inner.strip()
    return line


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
        return " ".join(lines_of(ask("refine", {"prompt": prompt}, seed)))

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
            found = choice(said, words)
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
        items = {" ".join(line.lower().split()): line for line in lines_of(answer)}
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
        return load_nli(settings, device)
    return {
        "none": lambda refined, original: True,
        "grammar": latent_prompts.in_the_grammar,
        "model": entails,
    }[settings.check]


def load_nli(settings: roles.Refiner, device: str) -> Callable[[str, str], bool]:
    """Load a cross-encoder for natural-language inference.

    It maps (refined, original) to whether entailment is the most probable of the model's labels.
    """
    folder = locate(settings, "refiner", "nli_model")
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
            f"the labels of refiner.nli_model {settings.nli_model} are {', '.join(labels)}; "
            "expected entailment among them"
        )

    def compatible(refined: str, original: str) -> bool:
        scores = model.predict([(refined, original)], show_progress_bar=False)[0]
        return labels[scores.argmax()] == "entailment"

    return compatible


def _cannot_label(captions: list[str]) -> list[str]:
    raise ValueError("a refiner of kind local cannot label captions; expected kind chat or openai")


def _load_completion(settings: roles.CausalLM, device: str) -> Callable[[str, int], str]:
    """Load a causal language model that completes a template."""
    folder = locate(settings, "refiner")
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
    folder = locate(settings, "refiner")
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
        return decoded(tokenizer, output[0, len(ids) :])

    return sample
