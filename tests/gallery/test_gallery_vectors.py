"""Vectors in one SQLite file: exact, erased in place, a cache that may vanish or lie, moments that stay true."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from descry.errors import IndexCorrupt, UsageError
from descry.gallery.vectors import CACHE, FOLD, HEADER, ROWS, SCHEMA, Vectors

D = 16
FILE = "gallery.db"


def connected(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / FILE, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=EXTRA", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def written(vectors: Vectors, connection: sqlite3.Connection, act) -> None:
    connection.execute("BEGIN IMMEDIATE")
    act()
    connection.execute("COMMIT")
    vectors.cache.finish()


def mapped(vectors: Vectors, connection: sqlite3.Connection) -> np.ndarray:
    """The rows of one moment, as a search asks for them."""
    connection.execute("BEGIN")
    try:
        return vectors.mapped(connection, lambda: connected(vectors.folder))
    finally:
        connection.execute("ROLLBACK")


def some(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, D))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def opened(tmp_path):
    vectors, connection = Vectors(tmp_path, D), connected(tmp_path)
    connection.executescript("BEGIN;" + SCHEMA + "COMMIT;")
    vectors.create(connection)
    yield vectors, connection
    connection.close()


def bytes_of(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.iterdir()))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (ROWS, 1), (ROWS - 1, 2, 200), (FOLD + 3, 5)])
def test_rows_come_back_as_they_were_given_by_both_ways(opened, sizes) -> None:
    vectors, connection = opened
    rows = some(sum(sizes))
    mapped(vectors, connection)  # an empty cache, which every append then keeps up
    at = 0
    for n in sizes:
        written(vectors, connection, lambda at=at, n=n: vectors.append(connection, rows[at : at + n]))
        at += n
        assert vectors.cache.view(vectors.extent(connection)) is not None, "the writer keeps the cache up"
        assert np.array_equal(mapped(vectors, connection), rows[:at])
    wanted = np.random.default_rng(1).permutation(at)
    assert np.array_equal(vectors.read(connection, wanted), rows[wanted])
    assert vectors.verify(connection) == []


def test_erased_rows_leave_no_byte_and_the_others_stay(opened, tmp_path) -> None:
    vectors, connection = opened
    rows = some(500)
    written(vectors, connection, lambda: vectors.append(connection, rows))
    mapped(vectors, connection)
    gone = np.array([0, 63, 64, 200, 499])
    assert all(rows[i].tobytes() in bytes_of(tmp_path) for i in gone)
    before = mapped(vectors, connection)
    written(vectors, connection, lambda: vectors.erase(connection, gone))
    assert np.array_equal(before, rows), "whoever has mapped the rows keeps them"
    written(vectors, connection, lambda: vectors.clean(connection))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert np.array_equal(before, rows)
    left = bytes_of(tmp_path)
    assert not any(rows[i].tobytes() in left for i in gone)
    rows[gone] = 0
    assert np.array_equal(mapped(vectors, connection), rows)
    assert vectors.verify(connection) == []


@pytest.mark.parametrize("harm", ["delete", "cut", "header", "old", "foreign dimension"])
def test_a_cache_that_is_gone_or_unfit_is_made_again(opened, tmp_path, harm) -> None:
    vectors, connection = opened
    rows, path = some(300), tmp_path / CACHE
    written(vectors, connection, lambda: vectors.append(connection, rows[:200]))
    mapped(vectors, connection)
    old = path.read_bytes()
    written(vectors, connection, lambda: vectors.append(connection, rows[200:]))
    if harm == "delete":
        path.unlink()
    elif harm == "cut":
        os.truncate(path, path.stat().st_size - 1)
    elif harm == "header":
        path.write_bytes(b"x" + path.read_bytes()[1:])
    elif harm == "old":
        path.write_bytes(old)
    else:
        path.unlink()
        other = replace(vectors.extent(connection), dimension=2 * D)
        Vectors(tmp_path, 2 * D).cache.make(other, lambda _: iter([(0, np.zeros((300, 2 * D), np.float16))]))
    assert vectors.cache.view(vectors.extent(connection)) is None
    assert np.array_equal(mapped(vectors, connection), rows)
    assert vectors.cache.view(vectors.extent(connection)) is not None


def test_a_flipped_byte_of_a_present_cache_is_found_by_verify(opened, tmp_path) -> None:
    vectors, connection = opened
    written(vectors, connection, lambda: vectors.append(connection, some(130)))
    mapped(vectors, connection)
    with open(tmp_path / CACHE, "r+b") as file:
        file.seek(HEADER + 70 * 2 * D)
        file.write(b"\xff")
    assert vectors.verify(connection) == [f"{CACHE} differs from block 1; delete it, it is made again"]


def test_a_changed_block_is_refused_and_named(opened) -> None:
    vectors, connection = opened
    written(vectors, connection, lambda: vectors.append(connection, some(130)))
    with connection.blobopen("blocks", "data", 1) as blob:
        blob.write(b"\xff")
    with pytest.raises(IndexCorrupt, match="block 1 of its vectors is not as it was written"):
        vectors.read(connection, [70])
    assert any("block 1" in fault for fault in vectors.verify(connection))
    assert np.array_equal(vectors.read(connection, [3]), some(130)[3:4]), "another block is not concerned"


def test_an_erasure_writes_little_more_than_its_rows(tmp_path) -> None:
    vectors, connection = Vectors(tmp_path, 512), connected(tmp_path)
    connection.executescript("BEGIN;" + SCHEMA + "COMMIT;")
    vectors.create(connection)
    rows = np.ones((20 * ROWS, 512), np.float16)
    written(vectors, connection, lambda: vectors.append(connection, rows))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    written(vectors, connection, lambda: vectors.erase(connection, range(5, 20 * ROWS, ROWS)))
    pages = (tmp_path / f"{FILE}-wal").stat().st_size / 4096
    assert pages < 20 * 2 + 10, "each row lies on one page or two; a block has seventeen"
    connection.close()


def test_a_cache_that_is_a_link_is_not_followed(opened, tmp_path) -> None:
    vectors, connection = opened
    victim = tmp_path / "victim"
    victim.write_bytes(b"not ours")
    written(vectors, connection, lambda: vectors.append(connection, some(3)))
    (tmp_path / CACHE).unlink()
    (tmp_path / CACHE).symlink_to(victim)
    with pytest.raises(UsageError, match="symbolic link"):
        mapped(vectors, connection)
    assert victim.read_bytes() == b"not ours"


def test_a_transaction_taken_back_leaves_every_row(opened) -> None:
    vectors, connection = opened
    rows = some(200)
    written(vectors, connection, lambda: vectors.append(connection, rows))
    mapped(vectors, connection)
    connection.execute("BEGIN IMMEDIATE")

    vectors.append(connection, some(70, 4))
    vectors.erase(connection, [5, 6])
    connection.execute("ROLLBACK")
    vectors.cache.leave()
    again = Vectors(vectors.folder, D)
    assert np.array_equal(mapped(again, connection), rows)
    written(vectors, connection, lambda: vectors.append(connection, some(3, 9)))
    assert np.array_equal(mapped(vectors, connection), np.concatenate([rows, some(3, 9)]))


def test_moments_stay_those_of_the_rows(opened) -> None:
    vectors, connection = opened
    rng, rows = np.random.default_rng(3), some(3 * FOLD)
    kept = np.zeros(len(rows), bool)
    for at in range(0, len(rows), 1000):
        written(vectors, connection, lambda at=at: vectors.append(connection, rows[at : at + 1000]))
        kept[at : at + 1000] = True
        gone = rng.choice(np.flatnonzero(kept), 20, replace=False)
        written(vectors, connection, lambda gone=gone: vectors.erase(connection, gone))
        kept[gone] = False
    left = rows[kept].astype(np.float64)
    queries = rng.standard_normal((5, D))
    mean, spread = vectors.moments(connection).of(queries)
    assert vectors.moments(connection).count == kept.sum()
    np.testing.assert_allclose(mean, (queries @ left.T).mean(1), atol=1e-12)
    np.testing.assert_allclose(spread, (queries @ left.T).std(1), rtol=1e-12)
    assert vectors.verify(connection) == []


def test_moments_of_other_rows_are_found(opened) -> None:
    vectors, connection = opened
    written(vectors, connection, lambda: vectors.append(connection, some(FOLD)))
    moments = vectors.moments(connection)
    vectors._put_moments(connection, FOLD, type(moments)(moments.count, moments.total + 1e-3, moments.products))
    assert vectors.verify(connection) == ["the moments are not those of the vectors"]


WRITER = """
import sys, numpy as np
sys.path.insert(0, {tests!r})
from test_gallery_vectors import connected, some, written, D
from descry.gallery.vectors import Vectors
from pathlib import Path
folder = Path({folder!r})
vectors, connection = Vectors(folder, D), connected(folder)
while True:
    n = vectors.extent(connection).rows
    written(vectors, connection, lambda: vectors.append(connection, some(50, n)))
    written(vectors, connection, lambda: vectors.erase(connection, [n + 7]))
    written(vectors, connection, lambda: vectors.clean(connection))
    print(n, flush=True)
"""


def test_kills_lose_nothing_acknowledged_and_leave_no_wrong_row(opened, tmp_path) -> None:
    vectors, connection = opened
    mapped(vectors, connection)
    code = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    rng, acknowledged, said = np.random.default_rng(7), -50, set[int]()
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(int(rng.integers(1, 12))):
            said.add(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        said |= {int(line) for line in rest if line.isdigit()}
        acknowledged = max(said)
        found = mapped(vectors, connection)
        rows = len(found)
        assert rows >= acknowledged + 50
        for n in range(0, rows, 50):
            expected, block = some(50, n), np.array(found[n : n + 50])
            if n in said or not block[7].any():
                expected[7] = 0
            assert np.array_equal(block, expected), n
        assert vectors.verify(connection) == []


def test_a_reader_beside_a_writer_sees_only_whole_rows(opened, tmp_path) -> None:
    vectors, connection = opened
    code = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    try:
        rows = 0
        while rows < 1500 and process.poll() is None:
            found = mapped(vectors, connection)
            rows = len(found)
            for n in range(0, rows, 50):
                block, expected = np.array(found[n : n + 50]), some(50, n)
                if not block[7].any():  # erased by now
                    expected[7] = 0
                assert np.array_equal(block, expected), n
        assert rows >= 1500, "the writer ended early"
    finally:
        process.kill()
        process.wait()


def test_repacking_keeps_the_chosen_rows_and_their_moments(opened, tmp_path) -> None:
    vectors, connection = opened
    rows, rng = some(FOLD + 300), np.random.default_rng(2)
    written(vectors, connection, lambda: vectors.append(connection, rows))
    before = mapped(vectors, connection)
    kept = np.sort(rng.choice(len(rows), 900, replace=False))
    gone = np.setdiff1d(np.arange(len(rows)), kept)
    written(vectors, connection, lambda: vectors.erase(connection, gone))
    written(vectors, connection, lambda: vectors.repack(connection, kept))
    assert np.array_equal(mapped(vectors, connection), rows[kept])
    assert np.array_equal(before, rows), "whoever has mapped the rows keeps them"
    assert vectors.verify(connection) == []
    written(vectors, connection, lambda: vectors.append(connection, rows[:70]))
    assert np.array_equal(mapped(vectors, connection), np.concatenate([rows[kept], rows[:70]]))
    assert vectors.verify(connection) == []


def test_a_view_from_before_an_erasure_never_sees_its_zeros(opened, tmp_path) -> None:
    """Whatever became of the cache since the view began: cleaned, gone, or made again by somebody else."""
    vectors, connection = opened
    rows, reader = some(300), connected(tmp_path)
    written(vectors, connection, lambda: vectors.append(connection, rows))
    mapped(vectors, connection)
    reader.execute("BEGIN")
    assert Vectors(tmp_path, D).extent(reader).rows == 300
    written(vectors, connection, lambda: vectors.erase(connection, [7, 70]))
    other = Vectors(tmp_path, D)
    assert np.array_equal(other.mapped(reader, lambda: connected(tmp_path)), rows), "still there"
    written(vectors, connection, lambda: vectors.clean(connection))
    assert np.array_equal(other.mapped(reader, lambda: connected(tmp_path)), rows), "cleaned"
    (tmp_path / CACHE).unlink()
    assert np.array_equal(other.mapped(reader, lambda: connected(tmp_path)), rows), "gone"
    mapped(vectors, connection)
    written(vectors, connection, lambda: vectors.append(connection, rows[:9]))
    assert np.array_equal(other.mapped(reader, lambda: connected(tmp_path)), rows), "made again"
    reader.execute("ROLLBACK")
    assert not np.array_equal(other.mapped(reader), rows)
    reader.close()
