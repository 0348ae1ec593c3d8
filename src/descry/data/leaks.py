"""`descry data leaks`: the same photograph in two data sets or two splits, and the identities to leave out because of
it.

CUHK-PEDES holds photographs of Market-1501, and RSTPReid and ICFG-PEDES both come from MSMT17: a model trained on the
one has seen people of the other's test. First a perceptual hash, which survives resizing and recompression; then,
where the caller passes an embedding, the cosine of the two pictures, which separates the same photograph from merely
similar ones.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ..errors import DataError, ImageRejected
from ..images import read
from ..records import Benchmark
from ..safe_files import json_of, write_whole
from ..tabular import read_text
from .files import in_chunks
from .table import Table

SIDE, LOW = 32, 8
FORMAT = 1
BITS = LOW * LOW


@dataclass(frozen=True, slots=True)
class Pair:
    """Photographs of A and B that look the same. bits: of 64, how many differ. cosine: None where not computed."""

    a: str
    b: str
    a_pid: str
    b_pid: str
    a_split: str
    b_split: str
    bits: int
    cosine: float | None = None


@dataclass(frozen=True)
class Leaks:
    """Near-duplicate photographs of A (seen in training) and B (evaluated), as paths below the two roots."""

    a: str
    b: str
    pairs: tuple[Pair, ...]
    unreadable: int = 0

    def identities(self) -> Mapping[str, tuple[str, ...]]:
        """Split of B → identities of B with at least one such photograph: whom to leave out."""
        out: dict[str, set[str]] = defaultdict(set)
        for pair in self.pairs:
            out[pair.b_split].add(pair.b_pid)
        return {split: tuple(sorted(pids)) for split, pids in sorted(out.items())}

    def save(self, path: Path) -> None:
        """Write the list as JSON; `load_leaks` reads it."""
        rows = [{k: getattr(p, k) for k in Pair.__slots__} for p in self.pairs]
        held = {"format": FORMAT, "a": self.a, "b": self.b, "unreadable": self.unreadable, "pairs": rows}
        write_whole(path, json.dumps(held | {"identities": self.identities()}, indent=1) + "\n")


def load_leaks(path: str | Path) -> Leaks:
    """The list that `Leaks.save` wrote. Raises DataError for anything else."""
    try:
        held: Any = json_of(read_text(Path(path)))
        if held["format"] != FORMAT:
            raise DataError(f"{path}: format {held['format']!r}; this version reads format {FORMAT}")
        pairs = tuple(Pair(**row) for row in held["pairs"])
        if any(not isinstance(x, str) or not x for p in pairs for x in (p.a, p.b, p.b_split)):
            raise TypeError("paths are texts")
        return Leaks(held["a"], held["b"], pairs, held["unreadable"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is not a list of leaks; make one: descry data leaks A B --out {path}") from None


def _cosines(size: int) -> np.ndarray:
    """(size, size) matrix of the discrete cosine transform, type II."""
    k, n = np.indices((size, size))
    return np.cos(np.pi * k * (2 * n + 1) / (2 * size))


DCT = _cosines(SIDE)[:LOW].astype(np.float32)


def perceptual_hash(image: Image.Image) -> np.ndarray:
    """(64,) bool: which low frequencies of the 32 × 32 grey picture lie above their median."""
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
    low = DCT @ grey @ DCT.T
    return (low > np.median(low)).ravel()


def find_leaks(
    a: Table,
    b: Table,
    a_splits: Sequence[str] = ("train",),
    b_splits: Sequence[str] = ("val", "test"),
    most_bits: int = 8,
    embed: Callable[[list[str]], np.ndarray] | None = None,
    least_cosine: float = 0.97,
    threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Leaks:
    """Photographs of A's splits that come back in B's. most_bits: how many of 64 may differ.

    embed: paths → (N, D) unit rows; then a pair must also reach least_cosine. A and B may be the same table.
    """
    rows = [[r for r in t.rows if r.path and r.split in s] for t, s in ((a, a_splits), (b, b_splits))]
    paths = [[t.where(r.path) for r in rs] for t, rs in zip((a, b), rows, strict=True)]
    total = len(paths[0]) + len(paths[1])
    tick = progress or (lambda done, total: None)
    left = _hash_all(paths[0], threads, lambda n: tick(n, total))
    right = _hash_all(paths[1], threads, lambda n: tick(len(paths[0]) + n, total))
    pairs = []
    for i, j, bits in _near(left[0], right[0], most_bits):
        one, other = rows[0][left[1][i]], rows[1][right[1][j]]
        if a.where(one.path) != b.where(other.path):
            pairs.append(Pair(one.path, other.path, one.pid, other.pid, one.split, other.split, bits))
    if embed and pairs:
        pairs = _confirmed(pairs, a, b, embed, least_cosine)
    return Leaks(a.name, b.name, tuple(pairs), total - len(left[1]) - len(right[1]))


def _hash_all(paths: list[str], threads: int, tick: Callable[[int], Any]) -> tuple[np.ndarray, list[int]]:
    """((N, 64) ±1 float32, the row numbers that could be read)."""

    def one(path: str) -> np.ndarray | None:
        try:
            return perceptual_hash(read(path))
        except ImageRejected:
            return None

    codes, good, done = [], [], 0
    for chunk, found in in_chunks(one, paths, threads):
        codes += [code for code in found if code is not None]
        good += [done + i for i, code in enumerate(found) if code is not None]
        done += len(chunk)
        tick(done)
    return np.where(np.array(codes, bool).reshape(-1, BITS), 1, -1).astype(np.float32), good


def _near(a: np.ndarray, b: np.ndarray, most_bits: int, block: int = 4096) -> Iterable[tuple[int, int, int]]:
    """(row of a, row of b, differing bits), by one product: with ±1 codes the distance is (64 − a·b) / 2."""
    for begin in range(0, len(a), block):
        bits = (BITS - a[begin : begin + block] @ b.T) / 2
        for i, j in zip(*np.nonzero(bits <= most_bits), strict=True):
            yield begin + int(i), int(j), int(bits[i, j])


def _confirmed(
    pairs: list[Pair], a: Table, b: Table, embed: Callable[[list[str]], np.ndarray], least: float
) -> list[Pair]:
    left = list(dict.fromkeys(a.where(p.a) for p in pairs))
    right = list(dict.fromkeys(b.where(p.b) for p in pairs))
    vectors = dict(zip(left, embed(left), strict=True)), dict(zip(right, embed(right), strict=True))
    scored = [replace(p, cosine=float(vectors[0][a.where(p.a)] @ vectors[1][b.where(p.b)])) for p in pairs]
    return [p for p in scored if (p.cosine or 0.0) >= least]


def resolved(leaks: Leaks, benchmarks: Iterable[Benchmark], split: str) -> None:
    """Raise DataError where the list names photographs of this split, and the benchmarks hold none of them: it was made
    for other data.
    """
    named = [p for p in leaks.pairs if p.b_split == split]
    leaked = _leaked(leaks)
    if named and not any(leaked(photo.path) for bench in benchmarks for photo in bench.photos):
        raise DataError(
            f"the list of leaks names {len(named)} photographs of {leaks.b}, {split} split, first {named[0].b}; none "
            f"of them is in this data; make a list for it: descry data leaks {leaks.a} ROOT THIS ROOT --out FILE"
        )


def _leaked(leaks: Leaks) -> Callable[[str], bool]:
    """Whether a photograph's path ends in one that leaks, below the root of B."""
    named = {PurePosixPath(p.b).parts for p in leaks.pairs}
    lengths = {len(parts) for parts in named}

    def leaked(path: str) -> bool:
        parts = PurePosixPath(path).parts
        return any(parts[-n:] in named for n in lengths)

    return leaked


def without_leaks(benchmark: Benchmark, leaks: Leaks) -> Benchmark:
    """The benchmark without the identities that leak: probes and photographs go, ignore sets are renumbered.

    Photographs are known by their path below the root of B, so the tree may have moved since the list was made.
    """
    leaked = _leaked(leaks)
    out = {p.pid for p in benchmark.photos if p.pid >= 0 and leaked(p.path)}
    kept = [i for i, p in enumerate(benchmark.photos) if p.pid not in out]
    number = {old: new for new, old in enumerate(kept)}
    probes = tuple(
        replace(p, ignore=tuple(number[i] for i in p.ignore if i in number))
        for p in benchmark.probes
        if p.pid not in out
    )
    return replace(benchmark, probes=probes, photos=tuple(benchmark.photos[i] for i in kept))
