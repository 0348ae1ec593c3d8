"""Exact search against NumPy, FAISS flat and USearch exact, beside the memory bandwidth measured in the same run.

    pip install -e '.[bench]' && python benchmarks/search.py [--rows 100000 1000000] [--markdown]

Random unit vectors: speed does not depend on content here, recall is against the float64 product of the stored float16
rows. What storing them rounded costs is printed too: how much of the best K of the unrounded vectors is found. Random
vectors lie closer together than real ones, so that this share is a low one. Each time is the median of repeated calls;
the spread between the quickest and slowest is printed as noise.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descry.gallery import scan
from descry.gallery.contract import Snapshot

K, DIMENSION, BATCH = 100, 512, 64


def clock(work: Callable[[], Any], repeat: int) -> dict[str, float]:
    """Median, quickest and slowest of repeated calls, in milliseconds."""
    work()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return {"median": float(np.median(times)), "quickest": min(times), "slowest": max(times)}


def bandwidth(megabytes: int = 1024) -> float:
    """Bytes per second that all threads read together: the best of several sums over a large integer array."""
    data = torch.ones(megabytes << 17, dtype=torch.int64)
    return data.numel() * 8 / (clock(data.sum, 9)["quickest"] / 1e3)


def drawn(rows: int) -> Iterator[np.ndarray]:
    """Random unit rows in float32, the same ones each time, a part at a time."""
    rng, limit = np.random.default_rng(0), 1 << 18
    for start in range(0, rows, limit):
        part = rng.standard_normal((min(limit, rows - start), DIMENSION), np.float32)
        yield part / np.linalg.norm(part, axis=1, keepdims=True)


def stored(rows: int, folder: Path) -> Snapshot:
    """Those rows in one mapped file, as a gallery keeps them."""
    path, at = folder / "rows.f16", 0
    made = np.memmap(path, np.float16, "w+", 4096, (rows, DIMENSION))
    for part in drawn(rows):
        made[at : at + len(part)] = part
        at += len(part)
    made.flush()
    block = np.memmap(path, np.float16, "c", 4096, (rows, DIMENSION))
    return Snapshot(1, 0, np.arange(1, rows + 1), (block,), None)


def truth(blocks: Iterable[np.ndarray], queries: np.ndarray, rows: int) -> np.ndarray:
    """Ids of the best K by a float64 product over all rows."""
    scores = np.empty((len(queries), rows))
    start = 0
    for block in blocks:
        for i in range(0, len(block), 65536):
            part = block[i : i + 65536].astype(np.float64)
            scores[:, start : start + len(part)] = queries.astype(np.float64) @ part.T
            start += len(part)
    ids = np.arange(1, rows + 1)
    return np.stack([ids[np.lexsort((ids, -row))[:K]] for row in scores])


def overlap(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean share of the expected K that was found."""
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, expected, strict=True)]))


def rivals(shot: Snapshot) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name → a function from (T, D) queries to (T, K) ids."""
    half = np.concatenate(shot.blocks)
    single = half.astype(np.float32)

    def numpy_single(queries: np.ndarray) -> np.ndarray:
        scores = queries @ single.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.take_along_axis(scores, best, 1).argsort(axis=1)[:, ::-1]
        return np.take_along_axis(best, order, 1) + 1

    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "descry": lambda queries: scan.nearest(shot, queries, K)[0],
        "NumPy float32": numpy_single,
    }
    try:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        flat = faiss.IndexFlatIP(DIMENSION)
        flat.add(single)
        found["FAISS flat"] = lambda queries: flat.search(queries, K)[1] + 1
    except ImportError:
        print("FAISS is not installed: pip install -e '.[bench]'")
    try:
        from usearch.index import MetricKind, search

        threads = torch.get_num_threads()

        def exact(queries: np.ndarray) -> np.ndarray:
            got = search(half, queries.astype(np.float16), K, MetricKind.IP, exact=True, threads=threads)
            return np.atleast_2d(got.keys).astype(np.int64) + 1

        found["USearch exact f16"] = exact
    except ImportError:
        print("USearch is not installed: pip install -e '.[bench]'")
    return found


def measure(rows: int, repeat: int) -> dict[str, Any]:
    """All rivals on one size."""
    rng = np.random.default_rng(1)
    queries = rng.standard_normal((BATCH, DIMENSION), np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        shot = stored(rows, Path(folder))
        expected = truth(shot.blocks, queries, rows)
        kept = overlap(expected, truth(drawn(rows), queries, rows))
        speed = bandwidth()
        floor = 1e3 * rows * DIMENSION * 2 / speed
        out: dict[str, Any] = {
            "rows": rows,
            "bandwidth_gb_s": speed / 1e9,
            "floor_ms": floor,
            "unrounded": kept,
            "results": {},
        }
        for name, ask in rivals(shot).items():
            ids = np.concatenate([ask(queries[i : i + 1]) for i in range(8)])
            recall = overlap(ids, expected[: len(ids)])
            one = clock(lambda ask=ask: ask(queries[:1]), repeat)
            many = clock(lambda ask=ask: ask(queries), max(3, repeat // 4))
            wide = overlap(ask(queries), expected)
            order = bool((ask(queries) == expected).all()) if name == "descry" else None
            out["results"][name] = {
                "one_ms": one,
                "over_floor": one["median"] / floor,
                "batch_qps": 1e3 * BATCH / many["median"],
                "batch_ms": many,
                "recall": float(min(recall, wide)),
                "order_exact": order,
            }
    return out


def table(results: list[dict[str, Any]]) -> str:
    """The same numbers for people."""
    lines = []
    for size in results:
        lines += [
            f"\n{size['rows']:,} × {DIMENSION} float16, k = {K}; memory reads {size['bandwidth_gb_s']:.1f} GB/s, "
            f"so one pass takes at least {size['floor_ms']:.1f} ms\n"
            f"of the best {K} of the unrounded vectors, storing float16 keeps {size['unrounded']:.2%}",
            f"{'':<20}{'one query, ms':>15}{'(min–max)':>16}{'× floor':>9}{'batch queries/s':>17}{'recall':>9}",
        ]
        for name, row in size["results"].items():
            spread = f"({row['one_ms']['quickest']:.1f}–{row['one_ms']['slowest']:.1f})"
            lines.append(
                f"{name:<20}{row['one_ms']['median']:>15.1f}{spread:>16}{row['over_floor']:>9.2f}"
                f"{row['batch_qps']:>17.0f}{row['recall']:>9.4f}"
            )
    return "\n".join(lines)


def markdown(results: list[dict[str, Any]]) -> str:
    """The table of docs/gallery.md."""
    lines = []
    for size in results:
        lines += [
            f"\n{size['rows']:,} × {DIMENSION}, k = {K}; memory reads {size['bandwidth_gb_s']:.1f} GB/s; "
            f"{size['unrounded']:.2%} of the best {K} of the unrounded vectors kept:\n",
            "| | one query, ms | × memory floor | batch of 64, queries/s | recall |",
            "|---|---|---|---|---|",
        ]
        for name, row in size["results"].items():
            lines.append(
                f"| {name} | {row['one_ms']['median']:.1f} | {row['over_floor']:.2f} | {row['batch_qps']:.0f} | "
                f"{row['recall']:.4f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--markdown", action="store_true", help="print tables for the documentation")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = [measure(rows, args.repeat) for rows in args.rows]
    print(
        f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    print(markdown(results) if args.markdown else table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
