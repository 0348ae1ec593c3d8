"""Rank metrics against a full argsort in torch and against torchmetrics, and at the size of a city, in bounded memory.

    python benchmarks/metrics.py --out benchmarks/metrics.json            (a minute; needs torchmetrics for its column)
    python benchmarks/metrics.py --large --out benchmarks/metrics.json    (also 100,000 queries × 1,000,000 photographs)

6,156 queries × 3,074 photographs is the test split of CUHK-PEDES. The scores are of random vectors around each person,
so that R@1 is near 70; what is measured does not depend on them. `argsort` is how the field's evaluators do it: sort
all positions, gather the hits, cumulate. All give the same figures, which is checked here.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descry.metrics import rank_people

QUERIES, PHOTOS, PEOPLE = 6156, 3074, 1000


def problem(queries: int, photos: int, people: int, dim: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Unit (Q, D) queries and (G, D) photographs around the people's centres, and whose each is."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, dim)).astype(np.float32)
    whose = rng.integers(0, people, queries), np.arange(photos) % people
    vectors = [centres[w] + 1.25 * rng.normal(size=(len(w), dim)).astype(np.float32) for w in whose]
    return *(v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors), *whose


def by_argsort(scores: torch.Tensor, asked: torch.Tensor, people: torch.Tensor) -> dict[str, float]:
    """R@k, mAP and mINP by sorting every row's positions."""
    order = torch.argsort(scores, dim=1, descending=True)
    hits = people[order] == asked[:, None]
    counts = hits.cumsum(1)
    out = {f"R@{k}": 100 * hits[:, :k].any(1).float().mean().item() for k in (1, 5, 10)}
    places = torch.arange(1, scores.shape[1] + 1)
    relevant = counts[:, -1].double()
    precision = (counts / places * hits).sum(1) / relevant
    last = (hits * places).amax(1)
    return out | {"mAP": 100 * precision.mean().item(), "mINP": 100 * (relevant / last).mean().item()}


def by_torchmetrics(scores: torch.Tensor, asked: torch.Tensor, people: torch.Tensor) -> dict[str, float]:
    """R@1 (as hit rate) and mAP of torchmetrics; it has no mINP. The scores are raised above zero first: it takes every
    relevant photograph with a score of zero or less for an irrelevant one."""
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP

    indexes = torch.arange(len(scores))[:, None].expand_as(scores).reshape(-1)
    target = (people[None, :] == asked[:, None]).reshape(-1)
    found = {}
    for name, metric in (("R@1", RetrievalHitRate(top_k=1)), ("mAP", RetrievalMAP())):
        found[name] = 100 * float(metric(scores.reshape(-1) + 1.0, target, indexes=indexes))
    return found


def timed(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds and the last answer."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        answer = function()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds), answer


def usual(repeats: int) -> list[dict[str, Any]]:
    """The three on 6,156 × 3,074, in one run. Every answer must be the same."""
    left, right, asked, people = problem(QUERIES, PHOTOS, PEOPLE, 64)
    scores = left @ right.T
    tensors = [torch.from_numpy(np.ascontiguousarray(x)) for x in (scores, asked, people)]
    rivals: dict[str, tuple[Callable[[], Any], int]] = {
        "descry": (lambda: rank_people(scores, asked, people).as_dict(), repeats),
        "torch, full argsort": (lambda: by_argsort(*tensors), repeats),
    }
    try:
        import torchmetrics

        rivals[f"torchmetrics {torchmetrics.__version__}"] = (lambda: by_torchmetrics(*tensors), 1)
    except ImportError:
        print("torchmetrics is not installed; its row is left out")
    rows = []
    for name, (function, times) in rivals.items():
        seconds, answer = timed(function, times)
        rows.append({"name": name, "seconds": round(seconds, 3), "runs": times, "figures": answer})
        for key, value in answer.items():
            assert abs(value - rows[0]["figures"][key]) < 1e-3, (name, key, value, rows[0]["figures"])
    return rows


def large(queries: int, photos: int, dim: int, block: int) -> dict[str, Any]:
    """Vectors in, metrics out, without the matrix; peak memory beyond what the vectors take."""
    left, right, asked, people = problem(queries, photos, photos // 4, dim)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, ranks = timed(lambda: rank_people((left, right), asked, people, cells=block), 1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "queries": queries,
        "photos": photos,
        "dim": dim,
        "seconds": round(seconds, 1),
        "vectors MB": round((left.nbytes + right.nbytes) / 1e6),
        "matrix that was not made, GB": round(queries * photos * 4 / 1e9),
        "peak MB before, after": [round(before / 1e3), round(after / 1e3)],
        "R@1": round(ranks.r1, 2),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--large", action="store_true", help="also 10^5 queries × 10^6 photographs")
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--block", type=int, default=64_000_000, help="scores held at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    held: dict[str, Any] = {}
    if args.large:  # first, so that the peak of memory is its own
        held["large"] = large(args.queries, args.photos, args.dim, args.block)
        print(held["large"], flush=True)
    held["6156 x 3074"] = usual(args.repeats)
    for row in held["6156 x 3074"]:
        print(f"{row['name']:<24}{row['seconds']:>9.3f} s   {row['figures']}")
    held["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "threads": args.threads,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    main()
