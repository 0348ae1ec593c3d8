"""A small stand-in for a model, pictures to index, and entries with random vectors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from descry import images
from descry.gallery.contract import Binding, Entry

DIMENSION = 32


class PlainModel:
    """Pictures become a fixed random projection of their pixels, each by itself; words become a hash."""

    def __init__(self, name: str = "plain", seed: int = 0):
        self.name, self.note, self.folder = name, "", None
        self.dimension, self.image_size = DIMENSION, (32, 16)
        self.fingerprint = hashlib.sha256(f"{name} {seed}".encode()).hexdigest()
        self.preprocessing = {"size": [32, 16], "resize": "bicubic"}
        self.answers = frozenset({"text", "sketch", "photo"})
        self.config: dict[str, Any] = {}
        self.calls = 0
        self.projection = np.random.default_rng(seed).normal(size=(3 * 32 * 16, DIMENSION))

    def embed_pixels(self, pixels: np.ndarray) -> np.ndarray:
        self.calls += len(pixels)
        rows = []
        for picture in pixels:
            row = ((picture.reshape(-1, 1) / 127.5 - 1) * self.projection).sum(axis=0)
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32)

    def embed_images(self, pictures: Any) -> np.ndarray:
        return self.embed_pixels(np.stack([images.load(p, self.image_size) for p in pictures]))

    def embed_texts(self, texts: Any) -> np.ndarray:
        return unit_rows(len(texts), seed=len(texts[0]))

    def compose(self, pictures: Any, texts: Any) -> np.ndarray:
        raise NotImplementedError


def unit_rows(count: int, dimension: int = DIMENSION, seed: int = 0) -> np.ndarray:
    """(count, dimension) float32 random unit rows."""
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def entries(count: int, start: int = 0, **fields: Any) -> list[Entry]:
    """Entries that name files which need not exist."""
    return [
        Entry(f"/crops/{i:06d}.jpg", hashlib.sha256(b"%d" % i).digest(), 100 + i, 10**18 + i, look=i, **fields)
        for i in range(start, start + count)
    ]


def binding(dimension: int = DIMENSION) -> Binding:
    return Binding("plain", "f" * 64, dimension, {"size": [32, 16]})


def draw(path: Path, seed: int, size: tuple[int, int] = (20, 40)) -> Path:
    """A JPEG or PNG of coloured blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 255, (4, 2, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path)
    return path
