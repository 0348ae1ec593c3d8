"""One SQLite file of vectors beside the segments that galleries are kept in: CPU seconds, wall seconds, bytes.

python benchmarks/store.py FOLDER [N [PAGE_SIZE ...]]

N vectors of 512 (default 100,000), the same for both; FOLDER must not exist.
Each figure is of one call. The segments' store also keeps its items; the vectors' tables hold no items yet, so "fill",
"add", "erase" and "verify" of the two are not the same work.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from descry.gallery.contract import Binding, Entry
from descry.gallery.local import LocalStore
from descry.gallery.vectors import CACHE, ROWS, SCHEMA, Vectors

D, STEP = 512, 20_000
FILE = "gallery.db"


def rows(start: int, n: int) -> np.ndarray:
    made = np.random.default_rng(start).standard_normal((n, D), np.float32)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float16)


def connected(folder: Path, page: int = 4096) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / FILE, isolation_level=None)
    for pragma in (f"page_size={page}", "journal_mode=WAL", "synchronous=EXTRA", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def timed(name: str, act: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{name:<44} {cpu:8.2f} CPU s {wall:8.2f} s", flush=True)


def change(vectors: Vectors, connection: sqlite3.Connection, act: Callable[[], object]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with vectors.changing(connection):
        act()
        connection.execute("COMMIT")


def first_search(kind: str, folder: Path) -> None:
    """In a process of its own: open, and the cosines of one query with all rows."""
    here, call = str(Path(__file__).parent), f"store.{kind}(store.Path({str(folder)!r}))"
    code = f"import sys; sys.path.insert(0, {here!r}); import store; {call}"
    subprocess.run([sys.executable, "-c", code], check=True)


def cold_file(folder: Path) -> None:
    def act() -> None:
        best(Vectors(folder, D).mapped(connected(folder)))

    timed("  one file: open and first scan, new process", act)


def cold_segments(folder: Path) -> None:
    def act() -> None:
        store = LocalStore(folder)
        for block in store.snapshot().blocks:
            best(block)

    timed("  segments: open and first scan, new process", act)


def best(block: np.ndarray) -> None:
    """Reads every row; the product is the same for both and stands for the scan."""
    query = rows(0, 1)[0].astype(np.float32)
    for at in range(0, len(block), 8192):
        block[at : at + 8192].astype(np.float32) @ query


def file(folder: Path, n: int, page: int) -> None:
    folder.mkdir()
    connection, vectors = connected(folder, page), Vectors(folder, D)
    connection.executescript("BEGIN;" + SCHEMA + "COMMIT;")
    vectors.create(connection)
    vectors.mapped(connection)

    def fill() -> None:
        for at in range(0, n, STEP):
            made = rows(at, STEP)
            change(vectors, connection, lambda made=made: vectors.append(connection, made))

    print(f"one file, pages of {page}, blocks of {ROWS} rows")
    timed("  fill in steps of 20,000, with drawing", fill)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (folder / FILE).stat().st_size
    print(f"  {size / n:,.0f} bytes a row in the file, {(folder / CACHE).stat().st_size / n:,.0f} in the cache")
    first_search("cold_file", folder)
    timed("  add 1,000", lambda: change(vectors, connection, lambda: vectors.append(connection, rows(n + 1, 1000))))
    gone = np.random.default_rng(0).choice(n, 1000, replace=False)
    held = vectors.read(connection, gone[:5])
    timed("  erase 1,000 scattered", lambda: change(vectors, connection, lambda: vectors.erase(connection, gone)))
    print(f"  log after it: {(folder / (FILE + '-wal')).stat().st_size / 1e6:.1f} MB")
    timed("  checkpoint", lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    for path in folder.iterdir():
        data = path.read_bytes()
        assert not any(row.tobytes() in data for row in held), path
    del data
    print(f"  no byte of {len(held)} erased rows, looked for in every file")
    timed("  moments", lambda: vectors.moments(connection))
    timed("  verify", lambda: print("  faults:", vectors.verify(connection)))
    (folder / CACHE).unlink()
    timed("  cache made again", lambda: Vectors(folder, D).mapped(connection))
    connection.close()


def segments(folder: Path, n: int) -> None:
    store = LocalStore.create(folder, Binding("none", "0" * 64, D, {}))

    def entries(start: int, count: int) -> list[Entry]:
        return [Entry(f"/p/{i}.jpg", hashlib.sha256(b"%d" % i).digest(), 1, 1) for i in range(start, start + count)]

    def fill() -> None:
        for at in range(0, n, STEP):
            store.add(entries(at, STEP), rows(at, STEP))

    print("segments")
    timed("  fill in steps of 20,000, with drawing", fill)
    print(f"  {sum(p.stat().st_size for p in folder.iterdir()) / n:,.0f} bytes a row with its item")
    first_search("cold_segments", folder)
    timed("  add 1,000", lambda: store.add(entries(n + 1, 1000), rows(n + 1, 1000)))
    gone = (np.random.default_rng(0).choice(n, 1000, replace=False) + 1).tolist()
    timed("  delete 1,000 scattered", lambda: store.delete(gone))
    timed("  compact", store.compact)
    timed("  verify", lambda: print("  faults:", store.verify()))
    store.close()


if __name__ == "__main__":
    place, number = Path(sys.argv[1]), int((*sys.argv, "100000")[2])
    place.mkdir()
    try:
        print(f"{number:,} x {D}; load {os.getloadavg()[0]:.1f}")
        for size in map(int, sys.argv[3:] or ("4096",)):
            file(place / f"file-{size}", number, size)
            shutil.rmtree(place / f"file-{size}")
        segments(place / "segments", number)
    finally:
        shutil.rmtree(place)
