"""Looking through an unchanged folder again, and what a large gallery costs in memory and on disk.

python benchmarks/reindex.py [--files 100000] [--items 1000000]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from descry.gallery.contract import Binding, Entry
from descry.gallery.indexing import Indexer
from descry.gallery.local import LocalStore
from descry.gallery.walk import plan

DIMENSION = 512


class Cheap:
    """Stands in for a model with vectors of a few pixels, so that everything but the encoder is measured."""

    image_size = (32, 16)

    def embed_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """(B, 3, 32, 16) → (B, D) unit rows."""
        rows = pixels.reshape(len(pixels), -1)[:, :DIMENSION].astype(np.float32) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def unchanged(files: int) -> None:
    """Index small files, then look again."""
    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (32, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    with tempfile.TemporaryDirectory() as folder:
        crops = Path(folder) / "crops"
        for i in range(files):
            path = crops / f"{i // 1000:04d}" / f"{i:07d}.jpg"
            if i % 1000 == 0:
                path.parent.mkdir(parents=True)
            path.write_bytes(buffer.getvalue() + i.to_bytes(8, "big"))
            os.utime(path, (1.7e9, 1.7e9))
        store = LocalStore.create(Path(folder) / "gallery", Binding("cheap", "0" * 64, DIMENSION, {}))
        begin = time.perf_counter()
        first = Indexer(store, Cheap()).run(plan(store, [str(crops)]))
        middle = time.perf_counter()
        again = Indexer(store, Cheap()).run(plan(store, [str(crops)]))
        end = time.perf_counter()
        store.close()  # folds the log into the database
        database = (store.folder / "gallery.db").stat().st_size
    assert (first.added, again.unchanged, again.encoded) == (files, files, 0)
    print(
        f"{files:,} files: indexed in {middle - begin:.1f} s without an encoder, again in {end - middle:.2f} s; "
        f"database {database / files:.0f} bytes an item"
    )


def large(items: int) -> None:
    """Memory of a process that fills, opens and searches a gallery of that many items."""
    rng, step = np.random.default_rng(0), 20_000
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore.create(Path(folder) / "gallery", Binding("cheap", "0" * 64, DIMENSION, {}))
        for start in range(0, items, step):
            rows = rng.standard_normal((min(step, items - start), DIMENSION), np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            entries = [
                Entry(f"/crops/{i // 1000:05d}/{i:08d}.jpg", i.to_bytes(32, "big"), 4000, 10**18, camera=f"c{i % 20}")
                for i in range(start, start + len(rows))
            ]
            store.add(entries, rows)
        store.close()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store = LocalStore(Path(folder) / "gallery")
        begin = time.perf_counter()
        store.snapshot()
        opened = time.perf_counter()
        store.nearest(rows[:1], 100)
        first = time.perf_counter()
        store.nearest(rows[:1], 100)
        second = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = store.size()
        store.close()
    print(
        f"{items:,} items: {size / 1e9:.2f} GB on disk, peak memory {peak / 2**20:.2f} GB (before opening "
        f"{before / 2**20:.2f}), snapshot {opened - begin:.1f} s, first search {first - opened:.2f} s, "
        f"second {1e3 * (second - first):.0f} ms"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    args = parser.parse_args()
    unchanged(args.files)
    large(args.items)
