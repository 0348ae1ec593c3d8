"""A small stand-in for a model, pictures to index, and entries with random vectors."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from descry import images
from descry.gallery.contract import Binding, Entry
from descry.gallery.local import LocalStore
from descry.query import Filters, Query
from descry.search import Term

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


# ---------------------------------------------------------------------- a large gallery, and what is asked of it

DAY = datetime(2026, 1, 1)


def crowd(count: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    """(count, dimension) unit rows in clusters, some equal: as people who are seen again and again."""
    rng = np.random.default_rng(seed)
    rows = unit_rows(max(1, count // 6), dimension, seed)[rng.integers(0, max(1, count // 6), count)]
    rows = rows + rng.choice([0.0, 0.15], (count, 1)) * rng.normal(size=rows.shape) / np.sqrt(dimension) * 4
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def filled(place, count: int, dimension: int = 32) -> LocalStore:
    """A local store of that many items, of nine cameras and ninety days; some of unknown camera or time."""
    store = LocalStore.create(place, binding(dimension))
    made = [
        replace(
            e,
            camera=f"cam{i % 9}" if i % 11 else "",
            time=DAY + timedelta(days=i % 90, minutes=i) if i % 7 else None,
            path=f"/crops/{'abc'[i % 3]}/{i:07d}.jpg",
        )
        for i, e in enumerate(entries(count))
    ]
    store.add(made, crowd(count, dimension))
    store.delete(store.snapshot().ids[5:20].tolist())  # ids and rows differ
    store.release()
    return store


FILTERS = (
    Filters(),
    Filters(cameras=("cam1",)),
    Filters(cameras=("cam2", "")),
    Filters(since=DAY + timedelta(days=8), until=DAY + timedelta(days=14)),
    Filters(path="b/*"),
)


def asked(kind: str, rng: np.random.Generator, ids: np.ndarray, dimension: int) -> tuple[list[Term], Query]:
    """A query of a kind as terms and marks."""
    draw_one = iter(unit_rows(9, dimension, int(rng.integers(1 << 31))))
    sketch = Term("sketch", "sketch", 1.0, next(draw_one))
    words = [Term("text", f"w{i}", 1.0, next(draw_one), "evidence") for i in range(2)]
    no = Term("not", "n", 1.0, next(draw_one), "not")
    marks = rng.choice(ids, 4, replace=False).tolist()
    kinds = {
        "sketch": ([sketch], {}),
        "phrase": ([words[0]], {}),
        "two phrases": (words, {}),
        "no": ([no], {}),
        "sketch and words": ([sketch, *words], {}),
        "sketch, words and no": ([sketch, *words, no], {}),
        "round": (
            [sketch, *words, no],
            {"liked": tuple(marks[:2]), "unliked": (marks[2],), "closest": (marks[3],)},
        ),
    }
    terms, said = kinds[kind]
    return terms, Query(**said, filters=FILTERS[int(rng.integers(len(FILTERS)))])


KINDS = ("sketch", "phrase", "two phrases", "no", "sketch and words", "sketch, words and no", "round")
