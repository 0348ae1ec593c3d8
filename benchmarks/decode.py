"""How fast photographs become batches: reading, resizing, augmenting, checking and hashing, beside a plain Pillow loop.

    python benchmarks/decode.py [--photos FOLDER] [--size 384 128] [--seconds 2] [--out decode.json]

Without a folder 256 synthetic photographs are drawn. Every way does the same work on the same files, and the best
of three rounds is kept. Numbers belong to this machine; `threads` is how many decode at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from descry.augment import augmentation
from descry.data.files import decodes, in_chunks
from descry.data.leaks import perceptual_hash
from descry.images import SUFFIXES, load, read

BATCH = 64


def draw(folder: Path, count: int = 256) -> None:
    """Synthetic photographs at the size of common crops."""
    from descry_people.person import make_person
    from descry_people.photo import draw_photo

    for i in range(count):
        draw_photo(make_person(i, 0), seed=i, camera=i % 6, size=(128, 256)).save(folder / f"{i:04d}.jpg", quality=90)


def pillow(path: Path, size: tuple[int, int]) -> np.ndarray:
    """What a data set's loader usually does: open, upright, RGB, bicubic."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright.resize(size[::-1], Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def in_turn(work: Callable[[Path], Any], paths: list[Path]) -> Iterator[Any]:
    yield from map(work, paths)


def threaded(threads: int) -> Callable[[Callable[[Path], Any], list[Path]], Iterator[Any]]:
    def run(work: Callable[[Path], Any], paths: list[Path]) -> Iterator[Any]:
        for _, done in in_chunks(lambda p: work(Path(p)), [str(p) for p in paths], threads, chunk=32):
            yield from done

    return run


def rate(run: Callable[[], int], seconds: float) -> float:
    """Pictures per second: the best of three rounds of at least seconds / 3 each."""
    best = 0.0
    for _ in range(3):
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds / 3:
            done += run()
        best = max(best, done / (time.perf_counter() - begun))
    return best


def batches(paths: list[Path], load_one: Callable[[Path], np.ndarray], threads: int, name: str) -> int:
    """Decoded by threads, stacked, augmented as a batch."""
    change = augmentation(name)
    generator = torch.Generator().manual_seed(0)
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(paths), BATCH):
            pixels = np.stack(list(pool.map(load_one, paths[begin : begin + BATCH])))
            change(torch.from_numpy(pixels).float().div_(255), generator)
    return len(paths)


def measure(paths: list[Path], size: tuple[int, int], seconds: float) -> dict[str, float]:
    """Way → pictures per second."""
    cores = os.cpu_count() or 1
    works: dict[str, Callable[[Path], Any]] = {
        "plain Pillow loop": lambda p: pillow(p, size),
        "images.load (limits, orientation, resize)": lambda p: load(p, size),
        "check: decode to the end": decodes,
        "leaks: perceptual hash": lambda p: perceptual_hash(read(p)),
    }
    out = {}
    for name, work in works.items():
        list(in_turn(work, paths))
        for threads, run in ((1, in_turn), (cores, threaded(cores))):
            out[f"{name}, {threads} thread{'s' * (threads > 1)}"] = rate(
                lambda run=run, work=work: sum(1 for _ in run(work, paths)), seconds
            )
    for name in ("flip", "flip-crop-erase", "two-of-six"):
        out[f"batches of {BATCH}, {name}, decoded, {cores} threads"] = rate(
            lambda name=name: batches(paths, lambda p: load(p, size), cores, name), seconds
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(384, 128))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as held:
        folder = args.photos or Path(held)
        if args.photos is None:
            draw(folder)
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        sizes = [read(p).size for p in paths[:100]]
        rates = measure(paths, tuple(args.size), args.seconds)
    result = {
        "what": "pictures per second",
        "pictures": len(paths),
        "median_size": [int(n) for n in np.median(sizes, axis=0)],
        "resized_to": list(args.size),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "torch_threads": torch.get_num_threads()},
        "rates": {k: round(v, 1) for k, v in rates.items()},
    }
    width = max(map(len, rates))
    for name, value in rates.items():
        print(f"{name:<{width}}  {value:>9,.0f}")
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
