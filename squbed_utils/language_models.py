"""The language model of a run: a prompt in, a more specific one out."""

from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from squbed_utils.locate import locate
from squbed_utils.roles import Refiner


def load_refiner(settings: Refiner, device: str) -> Callable[[str, int], str]:
    """Load a language model as a function (prompt, seed) -> a more specific prompt."""
    folder = locate(settings.path, "refiner", revision=settings.revision)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).to(device).eval()
    sampling = {"do_sample": True, "temperature": settings.temperature, "top_k": 0, "top_p": 1.0}
    sampling |= {"max_new_tokens": settings.max_new_tokens, "pad_token_id": tokenizer.pad_token_id}

    @torch.inference_mode()
    def refine(prompt: str, seed: int) -> str:
        ids = tokenizer(settings.template.format(prompt=prompt))["input_ids"]
        if ids[-1] == tokenizer.eos_token_id:
            ids = ids[:-1]
        inputs = torch.tensor([ids], device=device)
        with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
            torch.manual_seed(seed)
            output = model.generate(inputs, attention_mask=torch.ones_like(inputs), **sampling)
        return tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)

    return refine
