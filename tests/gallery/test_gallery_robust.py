"""Killed, full, flipped, hostile, crowded: the gallery loses nothing it acknowledged and never answers wrongly in
silence.

Small counts in every run, the full ones under `long`. Child processes are forked, so that nothing is imported twice.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import struct
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from descry import safe_files
from descry.errors import DescryError, IndexCorrupt, Locked
from descry.gallery import Gallery, indexing
from descry.gallery.local import LocalStore
from descry.lock import WriterLock
from forked import child, ended, forks

from .plain_model import PlainModel, binding, draw, entries, unit_rows


def content(store: LocalStore) -> list[tuple]:
    """Every item with its id and vector."""
    shot = store.snapshot()
    rows = [shot.vectors(shot.columns([i]))[0].tobytes() for i in shot.ids]
    return [(i.id, i.path, i.sha256, i.camera, i.look, row) for i, row in zip(store.items(shot.ids), rows, strict=True)]


# ---------------------------------------------------------------------- killed


def busy(folder: Path, acknowledged: int) -> None:
    """Write without end: add, change, delete, compact, purge; after each commit say so on a pipe."""
    store = LocalStore(folder)
    rng = random.Random(os.getpid())
    rows = unit_rows(8)
    number = store.database.state().next_id * 10
    while True:
        what = rng.choice(["add", "add", "add", "change", "delete", "compact", "purge"])
        shot = store.snapshot()
        if what == "add":
            store.add(entries(8, start=number), rows)
            number += 8
        elif what == "change" and len(shot):
            store.add([*store_entries(store, rng.choices(shot.ids.tolist(), k=1))], rows[:1])
        elif what == "delete" and len(shot) > 20:
            store.delete(rng.sample(shot.ids.tolist(), 3))
        elif what == "compact":
            store.compact()
        elif what == "purge" and len(shot) > 20:
            store.delete(rng.sample(shot.ids.tolist(), 3))
            store.compact()
        os.write(acknowledged, struct.pack("<qq", store.database.state().generation, store.count()))


def store_entries(store: LocalStore, ids: list[int]):
    from descry.gallery.contract import Entry

    return [Entry(i.path, bytes.fromhex(i.sha256), i.size, i.mtime, look=i.look) for i in store.items(ids)]


def kill_while_writing(folder: Path, rounds: int, seed: int) -> int:
    rng = random.Random(seed)
    LocalStore.create(folder, binding()).close()
    for _ in range(rounds):
        read, write = os.pipe()
        pid = child(lambda: busy(folder, write))  # noqa: B023 - used before the next round
        os.close(write)
        time.sleep(rng.uniform(0.005, 0.08))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        generation, count = struct.unpack("<qq", said[-16:]) if said else (0, 0)
        store = LocalStore(folder)
        state = store.database.check_head()
        assert state.generation >= generation
        if state.generation == generation and said:
            assert state.count == count
        assert store.verify() == []
        items = store.items(store.snapshot().ids)
        assert len({i.path for i in items}) == len(items) == state.count
        store.hold()
        assert store.verify() == []
        store.close()
    return rounds


@forks
def test_a_lock_that_was_given_back_is_free_whatever_was_forked_meanwhile(tmp_path):
    """A forked process has the file open too, until it ends; it must neither keep the lock nor give it back for us."""
    lock = WriterLock(tmp_path)
    with child_that_waits():
        lock.release()
        again = WriterLock(tmp_path)
        assert ended(child(again.release)) == 0
        with pytest.raises(Locked):
            WriterLock(tmp_path)
        again.release()


@contextmanager
def child_that_waits():
    pid = child(lambda: time.sleep(600))
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        ended(pid)


@forks
def test_killed_40_times_while_adding_changing_deleting_compacting_and_purging(tmp_path):
    assert kill_while_writing(tmp_path / "s", 40, seed=0) == 40


@forks
@pytest.mark.long
def test_killed_200_times(tmp_path):
    assert kill_while_writing(tmp_path / "s", 200, seed=1) == 200


class SlowModel(PlainModel):
    """Leaves time to be killed in."""

    def embed_pixels(self, pixels: np.ndarray) -> np.ndarray:
        time.sleep(0.004)
        return super().embed_pixels(pixels)


@forks
@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.long)])
def test_an_index_killed_again_and_again_equals_one_that_was_not(tmp_path, monkeypatch, kills):
    monkeypatch.setattr(indexing, "COMMIT_ITEMS", 6)
    crops = tmp_path / "crops"
    for i in range(120 if kills > 10 else 60):
        draw(crops / f"{i:03d}.png", i // 2)
    with Gallery.create(tmp_path / "straight", SlowModel()) as straight:
        straight.index(crops, batch_size=3)
        expected = content(straight.store)
    rng, done = random.Random(kills), 0
    Gallery.create(tmp_path / "killed", SlowModel()).close()

    def work() -> None:
        with Gallery.open(tmp_path / "killed", SlowModel()) as gallery:
            gallery.index(crops, batch_size=3)

    for _ in range(kills):
        pid = child(work)
        time.sleep(rng.uniform(0.0, 0.08))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with Gallery.open(tmp_path / "killed") as gallery:
            assert len(gallery) >= done
            done = len(gallery)
            assert gallery.verify() == []
    with Gallery.open(tmp_path / "killed", SlowModel()) as gallery:
        gallery.index(crops, batch_size=3)
        assert content(gallery.store) == expected


# ---------------------------------------------------------------------- writes that fail


def fail_from(n: int, monkeypatch) -> dict[str, int]:
    """The n-th write or sync of the cache and the head, and all after it, fail like a full disk."""
    calls = {"n": 0}

    def guarded(real):
        def call(fd, *rest):
            calls["n"] += 1
            if calls["n"] >= n:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, *rest)

        return call

    monkeypatch.setattr(safe_files, "os_write", guarded(os.write))
    monkeypatch.setattr(safe_files, "os_fsync", guarded(os.fsync))
    return calls


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    """Files beside the database fail at their n-th write, and cost nothing; the database has room for n more pages."""
    store = LocalStore.create(tmp_path / "s", binding())
    rows = unit_rows(12)
    ids = store.add(entries(12), rows)
    before, answer = content(store), store.nearest(rows[:3], 5)
    connection = store.database.connection()
    failures, beside = {"beside": 0, "inside": 0}, 0
    for n in [*range(1, 12), *range(-40, 1, 5)]:
        with monkeypatch.context() as patch:
            where = "beside" if n > 0 else "inside"
            if n > 0:
                calls = fail_from(n, patch)
            else:
                pages = connection.execute("PRAGMA page_count").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count = {pages - n}")
            try:
                store.add(entries(600, start=100), unit_rows(600))
            except DescryError as error:
                failures[where] += "No space left" in str(error) or "is full" in str(error)
            else:
                beside += n > 0 and calls["n"] >= n
            connection.execute("PRAGMA max_page_count = 1000000")
        reopened = LocalStore(tmp_path / "s")
        now = content(reopened)
        assert now[: len(before)] == before
        if len(now) == len(before):
            np.testing.assert_array_equal(reopened.nearest(rows[:3], 5)[0], answer[0])
        else:
            assert len(now) == len(before) + 600
            store.delete([i for i, *_ in now[len(before) :]])
            store.compact()
        assert reopened.verify() == []
        reopened.close()
    assert failures["beside"] == 0
    assert beside >= 2
    assert failures["inside"] >= 6
    assert store.items(ids[:1])
    store.close()


@forks
@pytest.mark.long
def test_any_of_200_writes_may_fail_below_sqlite_too(tmp_path):
    """Every write, sync and truncation of the process, SQLite's own ones among them, made to fail by a preloaded
    library.
    """
    import subprocess

    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler to make writes fail below SQLite")
    library = tmp_path / "fail.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, Path(__file__).with_name("fail_writes.c"), "-ldl"], check=True
    )
    here = Path(__file__).parents[1]
    environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": f"{here}:{os.pathsep.join(sys.path)}"}
    code = f"import gallery.test_gallery_robust as t; print(t.fail_each({str(tmp_path)!r}, 200))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 150


def fail_each(folder: str, times: int) -> int:
    """Run under the preloaded library: let the n-th write fail for n = 1 … times, and look at what is left."""
    import ctypes

    library = ctypes.CDLL(None)
    rows, failed = unit_rows(40), 0
    place = Path(folder) / "s"
    store = LocalStore.create(place, binding())
    store.add(entries(12), rows[:12])
    store.close()
    before = content_of(place)
    for n in range(1, times + 1):
        work = Path(folder) / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(place, work)

        def write(work=work, n=n) -> None:
            store = LocalStore(work)
            library.fail_from(ctypes.c_long(n), ctypes.c_int([errno.ENOSPC, errno.EIO][n % 2]))
            for i in range(8):
                store.add(entries(4, start=1000 * (i + 1)), rows[:4])
                store.delete(store.snapshot().ids[-2:])
            store.compact()
            store.close()
            library.fail_from(ctypes.c_long(-1), ctypes.c_int(0))

        pid = child(write)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in (0, 3), (n, status)
        store = LocalStore(work)
        now = content(store)
        assert now[: len(before)] == before, n
        assert store.verify() == [], n
        store.add(entries(2, start=90000), rows[:2])
        assert store.count() == len(now) + 2
        store.close()
        failed += status == 3
    return failed


def content_of(folder: Path) -> list[tuple]:
    store = LocalStore(folder)
    try:
        return content(store)
    finally:
        store.close()


# ---------------------------------------------------------------------- flipped and cut


def flip(folder: Path, rng: random.Random) -> str:
    """Change one byte of one file, or cut its end off; what was done."""
    path = rng.choice([p for p in sorted(folder.iterdir()) if p.stat().st_size])
    data = bytearray(path.read_bytes())
    if rng.random() < 0.2:
        at = rng.randrange(len(data))
        path.write_bytes(data[:at])
        return f"{path.name} cut at {at}"
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"{path.name} flipped at {at}"


def damage(folder: Path, times: int, seed: int) -> dict[str, int]:
    rng, seen = random.Random(seed), {"on open": 0, "by verify": 0, "harmless": 0}
    rows, place = unit_rows(150), folder / "sound"
    store = LocalStore.create(place, binding())
    ids = store.add(entries(150, camera="c", track="t"), rows)
    store.delete(ids[::10])
    pid = child(lambda: killed_writer(place)) if hasattr(os, "fork") and seed % 2 else 0
    store.release()
    if pid:
        os.waitpid(pid, 0)
    store.close() if not pid else store.database.close()
    reference = folder / "reference"
    shutil.copytree(place, reference)
    store = LocalStore(reference)
    expected = content(store), store.nearest(rows[:20], 30), store.count()
    store.close()
    for _ in range(times):
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(place, work)
        what = flip(work, rng)
        try:
            store = LocalStore(work)
        except DescryError:
            seen["on open"] += 1
            continue
        try:
            if store.verify():
                seen["by verify"] += 1
                continue
            found = content(store), store.nearest(rows[:20], 30), store.count()
            assert found[0] == expected[0], what
            assert found[2] == expected[2], what
            np.testing.assert_array_equal(found[1][0], expected[1][0], what)
            np.testing.assert_array_equal(found[1][1], expected[1][1], what)
            seen["harmless"] += 1
        finally:
            store.close()
    return seen


def killed_writer(folder: Path) -> None:
    """Leave a log behind, as a killed writer does."""
    store = LocalStore(folder)
    store.add(entries(10, start=5000), unit_rows(10, seed=3))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("seed", [0, 1])
def test_flipped_bytes_are_found_or_change_nothing(tmp_path, seed):
    seen = damage(tmp_path, 60, seed)
    assert sum(seen.values()) == 60
    assert seen["by verify"] > 5


@pytest.mark.long
def test_1000_flips_and_cuts(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    seen = [damage(tmp_path / "a", 500, 10), damage(tmp_path / "b", 500, 11)]
    with capsys.disabled():
        print(f"\n1000 flips and cuts: {seen}")
    assert sum(sum(s.values()) for s in seen) == 1000


# ---------------------------------------------------------------------- hostile pictures


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    made = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        made += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return made


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it has that many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png([(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 4_000_000, 9)), (b"IEND", b"")])


def hostile(folder: Path, count: int, seed: int) -> None:
    """Mutated, renamed, animated, CMYK, 16-bit, palette, rotated, empty, tiny and bomb pictures."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    base = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 20, 3), dtype=np.uint8))
    suffixes = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp"}
    plain = {}
    for kind in suffixes:
        buffer = BytesIO()
        base.save(buffer, kind)
        plain[kind] = buffer.getvalue()
    base.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.full((40, 20), 40000, np.uint16)).save(folder / "deep.png")
    base.convert("P").save(folder / "palette.png", transparency=3)
    base.save(folder / "animated.webp", save_all=True, append_images=[base.rotate(180)] * 3)
    base.save(folder / "animated.png", save_all=True, append_images=[base] * 3)
    exif = Image.Exif()
    exif[274] = 6
    base.save(folder / "rotated.jpg", exif=exif)
    (folder / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    base.save(folder / "gif.jpg", "GIF")
    base.save(folder / "tiff.png", "TIFF")
    (folder / "page.jpg").write_text("<html>")
    (folder / "text.png").write_bytes(
        png(
            [
                (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)),
                (b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 80_000_000, 9)),
            ]
        )
    )
    for i, size in enumerate([(8000, 8000), (65535, 65535), (2_000_000, 2000), (4_000_000_000, 1)]):
        (folder / f"bomb{i}.png").write_bytes(bomb(*size))
    while len(list(folder.iterdir())) < count:
        kind = rng.choice(list(suffixes))
        data = bytearray(plain[kind])
        for _ in range(rng.choice([1, 3, 20])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            data = data[: rng.randrange(len(data))]
        suffix = suffixes[rng.choice(list(suffixes))]
        (folder / f"mutated{len(list(folder.iterdir())):03d}.{suffix}").write_bytes(data)


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.long)])
def test_hostile_pictures_are_skipped_with_a_reason(tmp_path, model, count):
    for i in range(20):
        draw(tmp_path / "crops" / f"{i:02d}.png", i)
    with Gallery.create(tmp_path / "clean", model) as clean:
        clean.index(tmp_path / "crops")
        good = {i.path: row for i, row in zip(clean.listed(), clean.vectors(clean.snapshot().ids), strict=True)}
    hostile(tmp_path / "crops" / "00bad", count, seed=count)
    with Gallery.create(tmp_path / "dirty", model) as dirty:
        report = dirty.index(tmp_path / "crops")
        assert report.added + len(report.skipped) == count + 20
        reasons = {why.split(":")[0] for _, why in report.skipped}
        assert reasons <= {"format", "corrupt", "too_many_pixels", "too_small", "too_many_bytes"}
        assert {"format", "corrupt", "too_many_pixels", "too_small"} <= reasons
        found = {i.path: row for i, row in zip(dirty.listed(), dirty.vectors(dirty.snapshot().ids), strict=True)}
    for path, row in good.items():
        np.testing.assert_array_equal(found[path], row)


@forks
def test_a_bomb_costs_little_memory(tmp_path):
    """Peak of a process that reads bombs, beyond one that reads the crops only."""
    for i in range(4):
        draw(tmp_path / "crops" / f"{i}.png", i)
    peaks = []
    for name in ("without", "with"):
        if name == "with":
            for i, size in enumerate([(7000, 7200), (65535, 65535), (4_000_000_000, 1)]):
                (tmp_path / "crops" / f"bomb{i}.png").write_bytes(bomb(*size))
        read, write = os.pipe()

        def work(name=name, write=write) -> None:
            with Gallery.create(tmp_path / name, PlainModel()) as gallery:
                gallery.index(tmp_path / "crops")
            os.write(write, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).encode())

        pid = child(work)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            peaks.append(int(pipe.read()))
        assert os.waitpid(pid, 0)[1] == 0
    rise = (peaks[1] - peaks[0]) / (1024 if sys.platform != "darwin" else 1024 * 1024)
    assert rise <= 150


# ---------------------------------------------------------------------- crowded


def crowd(folder: Path, crops: Path, readers: int, asks: int) -> int:
    """Readers search while one indexes and deletes; each answer must be of one commit. How many answers."""
    errors: list[BaseException] = []
    answered = [0] * readers
    sizes, finished = set(), threading.Event()

    def read(which: int) -> None:
        try:
            with Gallery.open(folder) as gallery:
                while answered[which] < asks or not finished.is_set():
                    with gallery.store.reading() as rows:
                        ids, _ = gallery.store.nearest(unit_rows(1, seed=which), 5000)
                        assert len(gallery.items(ids[0])) == len(rows) == ids.shape[1] == gallery.store.count()
                        sizes.add(len(rows))
                    answered[which] += 1
                    finished.wait(0.01)  # readers that never pause leave the writer no processor
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(readers)]
    for thread in threads:
        thread.start()
    try:
        with Gallery.open(folder, PlainModel()) as writer:
            writer.index(crops, batch_size=2)
            writer.purge(writer.snapshot().ids[:4])
            writer.index(crops, batch_size=2)
    finally:
        finished.set()
    for thread in threads:
        thread.join()
    assert not errors, errors[:3]
    assert len(sizes) > 1
    return sum(answered)


def test_20_readers_see_whole_commits_while_indexing(tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "COMMIT_ITEMS", 4)
    for i in range(48):
        draw(tmp_path / "crops" / f"{i:02d}.png", i)
    Gallery.create(tmp_path / "g", PlainModel()).close()
    assert crowd(tmp_path / "g", tmp_path / "crops", 20, 5) >= 100


@pytest.mark.long
def test_20_readers_with_50_searches_each(tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "COMMIT_ITEMS", 4)
    for i in range(200):
        draw(tmp_path / "crops" / f"{i:03d}.png", i)
    Gallery.create(tmp_path / "g", PlainModel()).close()
    assert crowd(tmp_path / "g", tmp_path / "crops", 20, 50) >= 1000


def test_a_damaged_gallery_says_so_when_searched(tmp_path):
    store = LocalStore.create(tmp_path / "s", binding())
    store.add(entries(10), unit_rows(10))
    expected = store.nearest(unit_rows(1), 3)[0].tolist()
    store.close()
    cache = tmp_path / "s" / "vectors.cache"
    cache.write_bytes(cache.read_bytes()[:100])
    store = LocalStore(tmp_path / "s")
    assert store.nearest(unit_rows(1), 3)[0].tolist() == expected, "a cut copy costs nothing but time"
    store.close()
    database = tmp_path / "s" / "gallery.db"
    database.write_bytes(database.read_bytes()[: 5 * 4096])
    with pytest.raises(IndexCorrupt, match="damaged"):
        LocalStore(tmp_path / "s").nearest(unit_rows(1), 3)
