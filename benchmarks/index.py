"""Indexing from files to a gallery: how much of the time is the encoder's, and what everything else adds to it.

    python benchmarks/index.py [--crops 5000] [--route auto] [--size 384 128] [--markdown]

Synthetic crops and ViT-B/16 with random weights: speed does not depend on either. The encoder is also run alone on
pixels that are decoded already, so that the slowing of the encoder by decoding threads shows as well.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encode import vit_b16
from PIL import Image

from descry import images
from descry.embed import Model
from descry.encoders import choose_encoder
from descry.gallery import Gallery

BATCH = 32


def draw(folder: Path, count: int) -> list[Path]:
    """Crops of the size that detectors deliver, each different."""
    folder.mkdir()
    rng, paths = np.random.default_rng(0), []
    for i in range(count):
        blocks = Image.fromarray(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8))
        paths.append(folder / f"{i:06d}.jpg")
        blocks.resize((64, 160), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def alone(model: Model, paths: list[Path], seconds: float) -> float:
    """Pictures per second of the encoder on pixels in memory: the median of its batches."""
    pixels = np.stack([images.load(p, model.image_size) for p in paths[:BATCH]])
    model.embed_pixels(pixels)
    found, begin = [], time.perf_counter()
    while time.perf_counter() - begin < seconds or len(found) < 3:
        start = time.perf_counter()
        model.embed_pixels(pixels)
        found.append(len(pixels) / (time.perf_counter() - start))
    return float(np.median(found))


class Timed:
    """A function that adds up the time spent in it."""

    def __init__(self, work: Callable[..., Any]):
        self.work, self.seconds = work, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return self.work(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - begin


def measure(count: int, route: str, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Draw, encode some alone, index all, and look again."""
    model = vit_b16(size)
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder) / "crops", count)
        chosen = choose_encoder(model, route, pictures=count)
        before = alone(model, paths, seconds)
        with Gallery.create(Path(folder) / "gallery", model) as gallery:
            commit = Timed(gallery.store.commit)
            gallery.store.commit = commit  # type: ignore[method-assign]
            report = gallery.index(Path(folder) / "crops", batch_size=BATCH)
            again = gallery.index(Path(folder) / "crops", batch_size=BATCH)
        after = alone(model, paths, seconds)
    assert (report.added, again.unchanged, again.encoded) == (count, count, 0)
    return {
        "crops": count,
        "size": size,
        "route": chosen,
        "seconds": report.seconds,
        "rate": count / report.seconds,
        "encoder_share": report.encoding / report.seconds,
        "commit_share": commit.seconds / report.seconds,
        "alone": [before, after],
        "of_alone": count / report.seconds / max(before, after),
    }


def table(r: dict[str, Any], markdown: bool) -> str:
    """The same numbers for people."""
    rows = [
        ("crops", f"{r['crops']:,} at {r['size'][0]}×{r['size'][1]}, encoder {r['route']}"),
        ("indexed in", f"{r['seconds']:.1f} s, {r['rate']:.1f} pictures/s"),
        ("time in the encoder", f"{r['encoder_share']:.1%}"),
        ("time in commits", f"{r['commit_share']:.1%}"),
        ("encoder alone, before and after", "{:.1f} and {:.1f} pictures/s".format(*r["alone"])),
        ("end to end, of the encoder alone", f"{r['of_alone']:.1%}"),
    ]
    if markdown:
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    return "\n".join(f"{name:<34}{value}" for name, value in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, default=5000)
    parser.add_argument("--route", default="auto")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 128))
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to run the encoder alone, twice")
    parser.add_argument("--markdown", action="store_true", help="print a table for the documentation")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = measure(args.crops, args.route, tuple(args.size), args.seconds)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    print(table(result, args.markdown))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
