"""A gallery's store at N vectors of 512: CPU seconds, wall seconds and bytes of each step, each of one call.

python benchmarks/store.py FOLDER [N]

N is 100,000 unless given; FOLDER must not exist and is removed. Only what every version of the store has is used, so
that another checkout on PYTHONPATH can be measured beside this one.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from descry.gallery.contract import Binding, Entry
from descry.gallery.local import LocalStore

D, STEP = 512, 20_000


def rows(start: int, n: int) -> np.ndarray:
    made = np.random.default_rng(start).standard_normal((n, D), np.float32)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float16)


def entries(start: int, count: int) -> list[Entry]:
    return [Entry(f"/p/{i}.jpg", hashlib.sha256(b"%d" % i).digest(), 1, 1) for i in range(start, start + count)]


def timed(name: str, act: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{name:<44} {cpu:8.2f} CPU s {wall:8.2f} s", flush=True)


def search(store: LocalStore) -> None:
    store.nearest(rows(0, 1).astype(np.float32), 20)


def first_search(folder: Path) -> None:
    """In a process of its own, with PyTorch imported before."""
    import torch  # noqa: F401

    timed("  open and first search, new process", lambda: search(LocalStore(folder)))
    print(f"  memory at its peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def measure(folder: Path, n: int) -> None:
    store = LocalStore.create(folder, Binding("none", "0" * 64, D, {}))
    made = [rows(at, STEP) for at in range(0, n, STEP)]

    def fill() -> None:
        for at, part in enumerate(made):
            store.add(entries(at * STEP, len(part)), part)

    timed("  fill in steps of 20,000", fill)
    made.clear()
    size = sum(p.stat().st_size for p in folder.iterdir())
    print(f"  {size / n:,.0f} bytes a row")
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); import store; store.first_search(store.Path({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    timed("  first search", lambda: search(store))
    timed("  ten searches", lambda: [search(store) for _ in range(10)])
    timed("  add 1,000", lambda: store.add(entries(n + 1, 1000), rows(n + 1, 1000)))
    timed("  search after it", lambda: search(store))
    gone = (np.random.default_rng(0).choice(n, 1000, replace=False) + 1).tolist()
    held = [row.tobytes() for row in store.vectors(gone[:5])]
    timed("  delete 1,000 scattered", lambda: store.delete(gone))
    timed("  snapshot after it", store.snapshot)
    timed("  compact", store.compact)
    timed("  first search after it", lambda: search(store))
    timed("  ten searches", lambda: [search(store) for _ in range(10)])
    for path in folder.iterdir():
        data = path.read_bytes()
        assert not any(row in data for row in held), path
    del data
    print(f"  no byte of {len(held)} removed rows, looked for in every file")
    timed("  overview", store.overview)
    timed("  verify", lambda: print("  faults:", store.verify()))
    store.close()


if __name__ == "__main__":
    place, number = Path(sys.argv[1]), int((*sys.argv, "100000")[2])
    place.mkdir()
    try:
        print(f"{number:,} x {D}; load {os.getloadavg()[0]:.1f}")
        measure(place / "gallery", number)
    finally:
        shutil.rmtree(place)
