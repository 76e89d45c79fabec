"""The shapes world's language: tokenizer, text encoder, refiner and sentence encoder."""

import shutil
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers import PreTrainedTokenizerFast as FastTokenizer

from training.captions import sentence, words
from training.draw import any_scene, caption, partial

MAX_TOKENS = 16
"""Longest sentence in tokens, the end mark included."""

UNKNOWN, MASK, ARROW = "<unk>", "<mask>", "=>"
"""The tokens of an unknown word, of a word that is to be guessed, and between a prompt and its
refinement."""

TEXT_WIDTH = 128


def new_tokenizer() -> FastTokenizer:
    """Build the word-level tokenizer that every text model of the world shares.

    The end mark has the highest number, where CLIP's text tower looks for it.
    """
    known = ["<pad>", UNKNOWN, MASK, ARROW, *words(), "</s>"]
    ids = {word: i for i, word in enumerate(known)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", ids["</s>"])]
    )
    return FastTokenizer(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token=UNKNOWN,
        mask_token=MASK,
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


class WordGuesser(torch.nn.Module):
    """The text encoder, and a table of words by which it guesses those that are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = new_tokenizer()
        self.encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(self.tokenizer),
                d_model=TEXT_WIDTH,
                d_kv=32,
                d_ff=256,
                num_layers=2,
                num_heads=4,
                dropout_rate=0.0,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
            )
        )
        self.guess = torch.nn.Linear(TEXT_WIDTH, len(self.tokenizer))

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Cross-entropy of every word of a batch of sentences of which one word in five is hidden.

        Words that are shown are named as well: what a word is has to stay in its place.
        """
        texts = [sentence(rng) for _ in range(batch)]
        hide = rng.random((batch, MAX_TOKENS)) < 0.2
        inputs = tokens(self.tokenizer, texts)
        ids, real = inputs["input_ids"], inputs["attention_mask"] == 1
        hidden = torch.from_numpy(hide).to(ids.device) & real
        shown = ids.masked_fill(hidden, self.tokenizer.mask_token_id)
        states = self.encoder(shown, attention_mask=inputs["attention_mask"]).last_hidden_state
        return F.cross_entropy(self.guess(states[real]), ids[real])

    def save(self, out: Path) -> None:
        """Save the text encoder."""
        self.encoder.save_pretrained(out)


class Refiner(torch.nn.Module):
    """A causal language model that completes prompts as the grammar does."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = new_tokenizer()
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=96,
                intermediate_size=256,
                num_hidden_layers=3,
                num_attention_heads=4,
                max_position_embeddings=2 * MAX_TOKENS,
                tie_word_embeddings=True,
                pad_token_id=self.tokenizer.pad_token_id,
                bos_token_id=None,
                eos_token_id=self.tokenizer.eos_token_id,
            )
        )

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Cross-entropy of full captions after captions that leave parts out."""
        scenes = [any_scene(rng) for _ in range(batch)]
        prompts = [caption(partial(scene, rng), rng) for scene in scenes]
        texts = [f"{p} {ARROW} {caption(s, rng)}" for p, s in zip(prompts, scenes, strict=True)]
        inputs = tokens(self.tokenizer, texts, 2 * MAX_TOKENS)
        ids = inputs["input_ids"]
        arrow = (ids == self.tokenizer.convert_tokens_to_ids(ARROW)).int()
        hidden = (arrow.cumsum(1) - arrow == 0) | (inputs["attention_mask"] == 0)
        return self.model(**inputs, labels=ids.masked_fill(hidden, -100)).loss

    def save(self, out: Path) -> None:
        """Save the language model and its tokenizer."""
        self.model.save_pretrained(out)
        self.tokenizer.save_pretrained(out)


def contrastive(a: torch.Tensor, b: torch.Tensor, temperature: float = 0.05) -> torch.Tensor:
    """Return the symmetric InfoNCE of two batches of unit vectors (batch, d), paired row by row."""
    logits = a @ b.T / temperature
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class SentenceTower(torch.nn.Module):
    """A small BERT whose mean token is a sentence's unit vector.

    Trained on entailment pairs (a sentence, and it again with parts left out), the usual recipe of
    sentence encoders: the other sentences of the batch are the negatives.
    """

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.tokenizer = new_tokenizer()
        config = BertConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=128,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=24,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, texts: list[str]) -> torch.Tensor:
        """Encode sentences: unit vectors, (batch, 128)."""
        inputs = tokens(self.tokenizer, texts)
        weight = inputs["attention_mask"][..., None].float()
        hidden = self.bert(**inputs).last_hidden_state
        return F.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)

    def loss(self, rng: np.random.Generator, batch: int) -> torch.Tensor:
        """Contrastive loss of captions and the same with parts left out."""
        scenes = [any_scene(rng) for _ in range(batch)]
        kept = [{a: v for a, v in s.items() if rng.random() < 0.8} for s in scenes]
        return contrastive(
            self([caption(s, rng) for s in scenes]), self([caption(s, rng) for s in kept])
        )

    def save(self, out: Path) -> None:
        """Save as a folder that ``SentenceTransformer`` loads."""
        folder = out.with_name(f"{out.name}.bert")
        self.bert.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        transformer = Transformer(str(folder), max_seq_length=MAX_TOKENS)
        pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
        SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(
            str(out), create_model_card=False
        )
        shutil.rmtree(folder)
