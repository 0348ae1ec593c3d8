"""A model that hashes words: what a conversation needs of one, without weights."""

from __future__ import annotations

import hashlib

import numpy as np

from descry.search import unit

D = 24


class ToyModel:
    """A text is the mean of its words' random directions; a picture is the direction of its bytes."""

    def __init__(self, answers: tuple[str, ...] = ("text", "sketch", "photo", "sketch+text")):
        self.answers = frozenset(answers)
        self.config: dict = {}
        self.fingerprint = "toy"
        self.calls: list[str] = []

    def embed_images(self, pictures):
        self.calls += ["image"] * len(pictures)
        return unit(np.stack([direction(repr(p)) for p in pictures]))

    def embed_texts(self, texts):
        self.calls += ["text"] * len(texts)
        return unit(np.stack([sum(direction(w) for w in text.replace(",", " ").split()) for text in texts]))

    def pseudo_words(self, pictures):
        self.calls += ["word"] * len(pictures)
        return np.stack([direction(repr(p)) for p in pictures])

    def compose_words(self, words, texts):
        self.calls += ["compose"] * len(texts)
        return unit(np.stack([w + 0.3 * direction(t) for w, t in zip(words, texts, strict=True)]))


def direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=D).astype(np.float32)
