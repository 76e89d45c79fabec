"""The shapes world's language: its tokenizer, the refiner and the sentence encoder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

from squbed_utils.world.draw import any_scene, caption, partial
from squbed_utils.world.scenes import vocabulary
from training.first.loop import train

MAX_TOKENS = 24
"""Longest sentence in tokens, the end mark included."""

UNKNOWN = "<unk>"
"""The token of every word outside the vocabulary."""

ARROW = "=>"
"""The token between a prompt and its refinement."""


def new_tokenizer() -> FastTokenizer:
    """Build the word-level tokenizer that every text model of the world shares.

    The end mark has the highest number, where CLIP's text tower looks for it.
    """
    words = ["<pad>", UNKNOWN, ARROW, *vocabulary(), "</s>"]
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", ids["</s>"])]
    )
    return FastTokenizer(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token=UNKNOWN,
        eos_token="</s>",
        model_max_length=MAX_TOKENS,
        padding_side="right",
    )


def tokens(tokenizer: FastTokenizer, texts: list[str], length: int = MAX_TOKENS) -> dict:
    """Encode texts, padded to one length: ``input_ids`` and ``attention_mask`` (batch, length)."""
    encoded = tokenizer(
        texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    device = torch.get_default_device()
    return {name: encoded[name].to(device) for name in ("input_ids", "attention_mask")}


def train_refiner(work: Path, out: Path, steps: int = 2500, batch: int = 128) -> None:
    """Train a causal language model to complete prompts as the grammar does, and save it."""
    tokenizer = new_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=2 * MAX_TOKENS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [any_scene(rng) for _ in range(batch)]
        prompts = [caption(partial(scene, rng), rng) for scene in scenes]
        texts = [f"{p} {ARROW} {caption(s, rng)}" for p, s in zip(prompts, scenes, strict=True)]
        inputs = tokens(tokenizer, texts, 2 * MAX_TOKENS)
        ids = inputs["input_ids"]
        arrow = (ids == tokenizer.convert_tokens_to_ids(ARROW)).int()
        hidden = (arrow.cumsum(1) - arrow == 0) | (inputs["attention_mask"] == 0)
        return model(**inputs, labels=ids.masked_fill(hidden, -100)).loss

    train("refiner", model, loss, steps=steps, learning_rate=3e-3, folder=work)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def new_bert(tokenizer: FastTokenizer, layers: int) -> BertModel:
    """Build a small untrained BERT over the world's vocabulary."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertModel(config, add_pooling_layer=False)


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the unit mean of the tokens that are not padding: (batch, length, d) to (batch, d)."""
    weight = mask[..., None].to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)


def contrastive(a: torch.Tensor, b: torch.Tensor, temperature: float = 0.05) -> torch.Tensor:
    """Return the symmetric InfoNCE of two batches of unit vectors (batch, d), paired row by row."""
    logits = a @ b.T / temperature
    target = torch.arange(len(a), device=a.device)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def text_tower(tokenizer: FastTokenizer, layers: int) -> tuple[BertModel, Callable]:
    """Return a small BERT and the function from sentences to unit vectors that it computes."""
    bert = new_bert(tokenizer, layers)

    def encode(texts: list[str]) -> torch.Tensor:
        inputs = tokens(tokenizer, texts)
        return mean_pool(bert(**inputs).last_hidden_state, inputs["attention_mask"])

    return bert, encode


def train_sentence_encoder(work: Path, out: Path, steps: int = 1500, batch: int = 256) -> None:
    """Train on entailment pairs (a sentence, and the same with parts left out), and save.

    As usual for sentence encoders, the other sentences of the batch are the negatives.
    """
    tokenizer = new_tokenizer()
    bert, encode = text_tower(tokenizer, layers=3)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [any_scene(rng) for _ in range(batch)]
        kept = [{a: v for a, v in s.items() if rng.random() < 0.8} for s in scenes]
        return contrastive(
            encode([caption(s, rng) for s in scenes]), encode([caption(s, rng) for s in kept])
        )

    train("sentence_encoder", bert, loss, steps=steps, learning_rate=1e-3, folder=work)
    folder = work / "bert"
    bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=MAX_TOKENS)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(
        str(out), create_model_card=False
    )
