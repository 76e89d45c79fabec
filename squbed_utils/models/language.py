"""The language model of a run: it refines prompts, checks refinements and labels captions."""

import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteriaList

from squbed_utils import instructions, roles
from squbed_utils.files import seed_of
from squbed_utils.models import latent_prompts, replies
from squbed_utils.models.checkpoints import locate
from squbed_utils.models.encoders import load_text_encoder
from squbed_utils.models.openai import Server
from squbed_utils.models.weights import load_pretrained
from squbed_utils.tasks.captioned import CATEGORIES, UNCLEAR

ATTEMPTS = 3
"""Times that a question is asked until it gets a clear list, yes or no, or category."""

Answer = Callable[[str, str, int], str]
"""(instruction, text, seed) -> the model's answer; a list has one item a line."""

Check = Callable[[str, str], bool]


class LanguageModel:
    """A language model that follows instructions.

    `refine` maps (prompt, seed) to a more specific prompt, or to the n prompts of a task if
    `listed`. `compatible` is the profile's check, or the model's own, `entails`.
    """

    def __init__(
        self,
        answer: Answer,
        texts: dict[str, str],
        n: int,
        *,
        listed: bool = False,
        check: Check | None = None,
    ) -> None:
        self._answer, self._texts, self._n = answer, texts, n
        self._server = answer if isinstance(answer, Server) else None
        self.listed, self.compatible = listed, check or self.entails
        self.refine = lru_cache(maxsize=16)(self._refine_list) if listed else self._refine

    def entails(self, refined: str, original: str) -> bool:
        """Ask whether a refined prompt entails the original; an unclear answer counts as no."""
        values = {"refined": refined, "prompt": original}
        return self._decide("entails", values, ("yes", "no")) == "yes"

    def label(self, captions: list[str]) -> list[str]:
        """Return the one of `CATEGORIES` of each caption, or `UNCLEAR`."""
        unique = list(dict.fromkeys(captions))
        with ThreadPoolExecutor(8 if self._server else 1) as pool:
            decided = pool.map(
                lambda caption: self._decide("category", {"caption": caption}, CATEGORIES), unique
            )
            labels = dict(zip(unique, decided, strict=True))
        return [labels[caption] for caption in captions]

    def _refine(self, prompt: str, seed: int) -> str:
        return " ".join(replies.lines_of(self._ask("refine", {"prompt": prompt}, seed)))

    def _refine_list(self, prompt: str, seed: int) -> list[str]:
        """Return the first list of n distinct prompts; if there is none, no list is kept."""
        values = {"prompt": prompt, "n": self._n}
        seeds = [seed_of(seed, attempt) for attempt in range(ATTEMPTS)]
        for list_seed in seeds:
            lines = replies.lines_of(self._ask("refine_list", values, list_seed))
            prompts = {" ".join(line.lower().split()): line for line in lines}
            if len(prompts) == self._n:
                return list(prompts.values())
        if self._server:
            question = self._question("refine_list", values)
            for list_seed in seeds:
                self._server.forget("refine_list", question, list_seed)
        raise ValueError(
            f"the language model was asked {ATTEMPTS} times for {self._n} distinct prompts and "
            f"gave {len(prompts)} the last time; run again with --retry-failed to ask a model "
            "behind an API anew, set refiner.draws to independent, or take another model"
        )

    def _decide(self, name: str, values: dict, words: Sequence[str]) -> str:
        """Return the word that the model answers with, or `UNCLEAR`."""
        for attempt in range(ATTEMPTS):
            reply = self._ask(name, values, seed_of(0, attempt) if attempt else 0)
            word = replies.choice(reply, words)
            if word:
                return word
            if self._server and not reply:  # a model that declines is not pressed
                return UNCLEAR
        if name == "entails":  # an unclear category stands in labels.json
            about = f"no clear yes or no in {ATTEMPTS} answers about {values['refined']!r}"
            tqdm.write(f"{about} (the last: {reply[:80]!r}); counted as no", file=sys.stderr)
        return UNCLEAR

    def _question(self, name: str, values: dict) -> str:
        return instructions.fill(self._texts[name], values)

    def _ask(self, name: str, values: dict, seed: int) -> str:
        return self._answer(name, self._question(name, values), seed)


class Sampler:
    """A causal language model of transformers, which samples; `ends` say where a text ends."""

    ends: tuple[Callable, ...] = ()

    def __init__(self, settings: roles.CausalLM | roles.Chat, device: str) -> None:
        folder, named = locate(settings, "refiner"), {}
        if folder.is_file():
            folder, named = folder.parent, {"gguf_file": folder.name}
        self._settings = settings
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **named)
        if isinstance(settings, roles.Chat) and not self._tokenizer.chat_template:
            raise ValueError(
                f"the refiner in {folder} has no chat template; take a chat model, or kind local"
            )
        dtype = getattr(torch, settings.dtype) if isinstance(settings, roles.Chat) else None
        self._model = load_pretrained(
            AutoModelForCausalLM, folder, "refiner", device, dtype, **named
        )

    @torch.inference_mode()
    def sample(self, ids: list[int], seed: int, *, greedy: bool = False) -> str:
        """Return the text that continues token ids, without thoughts."""
        model, tokenizer = self._model, self._tokenizer
        options = {"do_sample": False}
        if not greedy:
            temperature = self._settings.temperature
            options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        padding, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        inputs = torch.tensor([ids], device=model.device)
        with torch.random.fork_rng(devices=[0] if model.device.type == "cuda" else []):
            torch.manual_seed(seed)
            output = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=self._settings.max_new_tokens,
                pad_token_id=end if padding is None else padding,
                stopping_criteria=StoppingCriteriaList(self.ends),
                **options,
            )
        return replies.decoded(tokenizer, output[0, len(ids) :])


class Chat(Sampler):
    """A causal language model with a chat template."""

    def __call__(self, name: str, text: str, seed: int) -> str:
        """Return a sampled answer; to a yes or no or a category, seed 0 gives the most probable."""
        encoded = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            enable_thinking=False,
            return_dict=True,
        )
        greedy = name in ("entails", "category") and seed == 0
        return self.sample(encoded["input_ids"], seed, greedy=greedy).strip()


class Completer(Sampler):
    """A causal language model that completes a template, and can do nothing else."""

    listed = False

    def __init__(self, settings: roles.CausalLM, device: str, check: Check) -> None:
        super().__init__(settings, device)
        self.compatible = check
        self.ends = (self._line_ends,)

    def refine(self, prompt: str, seed: int) -> str:
        """Return a more specific prompt: the first line of the completion, after the opening."""
        opening = instructions.fill(self._settings.opening, {"prompt": prompt.rstrip(" .!?")})
        text = instructions.fill(self._settings.template, {"prompt": prompt})
        ids = self._tokenizer(f"{text} {opening}" if opening else text)["input_ids"]
        ids = ids[:-1] if ids[-1] == self._tokenizer.eos_token_id else ids
        return (opening + self.sample(ids, seed)).strip().partition("\n")[0]

    def _line_ends(self, ids: torch.Tensor, _: object) -> torch.Tensor:
        """Say of each row of token ids whether its last token ends the line, and so the draw."""
        return torch.tensor(["\n" in text for text in self._tokenizer.batch_decode(ids[:, -1:])])

    def label(self, captions: list[str]) -> list[str]:
        """Refuse: a template cannot ask for a category."""
        raise ValueError(
            "a refiner of kind local cannot label captions; expected kind chat or openai"
        )


def load(
    settings: roles.Refiner, device: str, *, n: int, answers: Path | None = None
) -> LanguageModel | Completer:
    """Load the language model of a profile; one behind an API keeps its answers in `answers`."""
    check = _checker(settings, device)
    if isinstance(settings, roles.CausalLM):
        return Completer(settings, device, check)
    server = isinstance(settings, roles.OpenAI)
    answer = Server(settings, answers) if server else Chat(settings, device)
    texts = instructions.read(settings.instructions)
    return LanguageModel(answer, texts, n, listed=settings.draws == "list", check=check)


def _checker(settings: roles.Refiner, device: str) -> Check | None:
    """Return the check that the profile names; None for the model's own."""
    if settings.check == "nli":
        return load_nli(settings, device)
    if settings.check == "words":
        return load_words(settings, device)
    checks = {"none": lambda *_: True, "grammar": latent_prompts.in_the_grammar, "model": None}
    return checks[settings.check]


def load_nli(settings: roles.Refiner, device: str) -> Check:
    """Load a check by a cross-encoder: entailment is the most probable of its labels."""
    model = CrossEncoder(
        str(locate(settings, "refiner", "nli_model")),
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


def load_words(settings: roles.CausalLM, device: str) -> Check:
    """Load a check by words, and by a text encoder, as `roles.CausalLM` says."""
    place = roles.TextEncoder(settings.similarity_model)
    embed, unwanted = load_text_encoder(place, device), set(settings.unwanted)

    def compatible(refined: str, original: str) -> bool:
        words = content_words(refined)
        if words & unwanted or not content_words(original) < words:
            return False
        a, b = embed([refined, original])
        return float(a @ b) >= settings.similarity

    return compatible


def content_words(text: str) -> set[str]:
    """Return the words of a text that are not grammar alone, in lower case.

    >>> sorted(content_words("A person is doing something in the old house"))
    ['house', 'old', 'person']
    """
    return set(re.findall(r"[^\W\d_]+", text.lower())) - ENGLISH_STOP_WORDS - {"doing"}
