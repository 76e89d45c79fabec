"""Texts longer than an encoder's window: how long they are, and where they are cut."""

import re
from collections.abc import Callable

import numpy as np
from transformers import PreTrainedTokenizerBase

UNBOUNDED = 2**31
"""Token limits from here on are a tokenizer's way to say that it has none."""


class WindowedText:
    """A text encoder that reads texts of any length.

    A text within the window is embedded as it is; for a longer one the unit embeddings of its
    windows are averaged, so that texts which differ late differ in their embeddings too.

    `embed` maps a text within the window to (d,), of any length above 0. `tokens` maps a text to
    its number of tokens, special ones included, and how many of them are unknown; it is None if the
    encoder has no tokenizer that counts. `window` is the most tokens that the encoder reads at
    once, special ones included; None is any number.
    """

    def __init__(
        self,
        embed: Callable[[str], np.ndarray],
        tokens: Callable[[str], tuple[int, int]] | None,
        window: int | None,
    ) -> None:
        self._embed, self._tokens = embed, tokens
        self.window = window if tokens and window and window < UNBOUNDED else None

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Embed n texts: float32 (n, d), of unit length."""
        return unit(np.stack([self._mean_of_windows(text) for text in texts]))

    def read(self, text: str) -> dict[str, int | None]:
        """Return the counts that `layout.READ` names; {} if the encoder does not count."""
        if self._tokens is None:
            return {}
        tokens, unknown = self._tokens(text)
        return {"tokens": tokens, "window": self.window, "unknown": unknown}

    def windows(self, text: str) -> list[str]:
        """Cut a text between words into as few parts as fit, of about as many words each.

        A word that is too long alone, as in a script without spaces, is cut between characters.
        """
        if self._fits(text):
            return [text]
        pieces = re.findall(r"\S+\s*", text)
        if not (pieces and all(map(self._fits, pieces))):
            pieces = list(text)
        for count in range(2, len(pieces)):
            parts = ["".join(part) for part in np.array_split(pieces, count)]
            if all(map(self._fits, parts)):
                return parts
        return pieces

    def _fits(self, text: str) -> bool:
        return self.window is None or self._tokens(text)[0] <= self.window

    def _mean_of_windows(self, text: str) -> np.ndarray:
        windows = self.windows(text)
        if len(windows) == 1:
            return self._embed(text)
        return unit(np.stack([self._embed(window) for window in windows])).mean(axis=0)


def counter(tokenizer: object, clean: Callable[[str], str] = str) -> Callable | None:
    """Return the token counter of a transformers tokenizer; None for one of another kind."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return None
    special = tokenizer.num_special_tokens_to_add()

    def tokens(text: str) -> tuple[int, int]:
        ids = tokenizer(clean(text), add_special_tokens=False, truncation=False, verbose=False)
        unknown = ids.input_ids.count(tokenizer.unk_token_id)
        return len(ids.input_ids) + special, unknown

    return tokens


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit length in float32; refuse a row that has no direction."""
    length = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise ValueError("an embedding is zero or not finite; check the encoder's weights")
    return (rows / length).astype(np.float32)
