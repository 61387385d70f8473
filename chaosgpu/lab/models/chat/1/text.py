# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""The small text model itself: bytes in, 32 scores and a few words out, the same on every machine and every time."""

import numpy as np
from product import product

# Tokens are the bytes of UTF-8 text, so that any client can make them without a tokenizer.
TOKENS = 256
_WIDTH = 64
_HIDDEN = 128
_ANSWER_WORDS = 4
WORDS = [
    "rack",
    "node",
    "card",
    "fan",
    "rail",
    "power",
    "heat",
    "clock",
    "driver",
    "kernel",
    "queue",
    "batch",
    "token",
    "cache",
    "memory",
    "disk",
    "link",
    "switch",
    "cable",
    "probe",
    "canary",
    "alarm",
    "drill",
    "fault",
    "lease",
    "undo",
    "guard",
    "record",
    "proof",
    "host",
    "fleet",
    "quiet",
]


class TextModel:
    """Embedding, weighted mean over the context, one hidden layer. Weights come from the seed alone."""

    def __init__(self, seed: int) -> None:
        self._product = product()
        rng = np.random.default_rng(seed)
        self._embedding = rng.standard_normal((TOKENS, _WIDTH), dtype=np.float32)
        self._hidden = rng.standard_normal((_WIDTH, _HIDDEN), dtype=np.float32) / np.float32(8)
        self._scores = rng.standard_normal((_HIDDEN, len(WORDS)), dtype=np.float32) / np.float32(8)

    def answer(self, tokens: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Score a batch of contexts [rows, length]: FP32 scores [rows, 32] and the words with the best scores."""
        if tokens.size == 0:
            raise ValueError("a request must have at least one token")
        if tokens.min() < 0 or tokens.max() >= TOKENS:
            raise ValueError(f"tokens must be bytes, 0 to {TOKENS - 1}, not {tokens.min()} to {tokens.max()}")
        # Later tokens weigh more: the order of the context matters to the answer.
        weights = np.linspace(1.0, 2.0, tokens.shape[1], dtype=np.float32)
        weights /= weights.sum()
        context = np.einsum("rlw,l->rw", self._embedding[tokens], weights) * np.float32(np.sqrt(tokens.shape[1]))
        logits = self._product(np.tanh(self._product(context, self._hidden)), self._scores).astype(np.float32)
        best = np.argsort(-logits, axis=1, kind="stable")[:, :_ANSWER_WORDS]
        return logits, [" ".join(WORDS[word] for word in row) for row in best]
