"""One suite for every store, and what the local one adds: verify, compact, snapshots, one writer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from descry.errors import IndexCorrupt, IndexMismatch, Locked, UsageError
from descry.gallery.contract import Binding
from descry.gallery.local import LocalStore
from descry.query import Filters

from .plain_model import binding, entries, unit_rows


def open_local(place, made):
    return LocalStore.create(place / "local", made) if not (place / "local").exists() else LocalStore(place / "local")


def open_embedded(place, made):
    return milvus(f"milvus:{place / 'm.db'}#crops", made)


def open_quantised(place, made):
    from descry_stores.milvus_schema import Layout

    return milvus(f"milvus:{place / 'q.db'}#crops", made, Layout("day", "hnsw_sq"))


def milvus(address, made, layout=None):
    pytest.importorskip("pymilvus", reason="pymilvus is not installed (pip install -e '.[milvus]')")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (pip install -e '.[milvus]')")
    from descry_stores.milvus import MilvusStore

    return MilvusStore(address, made, layout)


def open_postgres(address, made):
    from descry_stores.postgres import PostgresStore

    try:
        store = PostgresStore(address)
    except UsageError:
        return PostgresStore.create(address, made)
    store.binding.check(made, address)
    return store


STORES = {
    "local": open_local,
    "postgres": open_postgres,
    "milvus file": open_embedded,
    "milvus file, quantised": open_quantised,
    "milvus server": milvus,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Milvus server on loopback for the tests of this file; its address without a name."""
    command = shutil.which("milvus-lite", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not command:
        pytest.skip("milvus-lite is not installed (pip install -e '.[milvus]')")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = tmp_path_factory.mktemp("milvus")
    arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data)]
    with open(data / "log", "wb") as log:
        process = subprocess.Popen([command, *arguments], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"milvus://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(params=list(STORES))
def opened(request, tmp_path):
    """A function that opens the store under test, again and again, in the same place."""
    made = []
    place = tmp_path
    if request.param == "postgres":
        place = request.getfixturevalue("postgres")
    if request.param == "milvus server":
        place = f"{request.getfixturevalue('server')}#t{time.time_ns()}"

    def opener(wanted: Binding | None = None):
        made.append(STORES[request.param](place, wanted or binding()))
        return made[-1]

    yield opener
    for store in made:
        store.close()


# ---------------------------------------------------------------------- every store


def test_what_was_added_is_found(opened):
    store, rows = opened(), unit_rows(40)
    ids = store.add(entries(40), rows)
    assert len(set(ids)) == store.count() == 40
    found, scores = store.nearest(rows[[3, 17]], 5)
    assert found[:, 0].tolist() == [ids[3], ids[17]]
    np.testing.assert_allclose(scores[:, 0], 1, atol=2e-3)
    assert [i.path for i in store.items([ids[3], 10**9, ids[1]])] == ["/crops/000003.jpg", "/crops/000001.jpg"]
    np.testing.assert_array_equal(store.vectors([ids[5], ids[2]]), rows[[5, 2]].astype(np.float16))


def test_filters_restrict_who_is_ranked(opened):
    store, rows = opened(), unit_rows(30)
    made = [
        replace(
            e,
            camera="ab"[i % 2],
            time=datetime(2026, 1, 1 + i % 10) if i % 3 else None,
            path=f"/data/{'xy'[i % 2]}/{i}.jpg",
        )
        for i, e in enumerate(entries(30))
    ]
    ids = store.add(made, rows)
    cases = {
        Filters(cameras=("b",)): [i for i in range(30) if i % 2],
        Filters(since=datetime(2026, 1, 4), until=datetime(2026, 1, 5)): [
            i for i in range(30) if i % 3 and i % 10 in (3, 4)
        ],
        Filters(path="x/*"): [i for i in range(30) if i % 2 == 0],
        Filters(cameras=("a",), path="*/y/*"): [],
    }
    for filters, expected in cases.items():
        found, _ = store.nearest(rows[:1], 30, filters)
        assert sorted(found[0].tolist()) == sorted(ids[i] for i in expected), filters


def test_deleted_items_are_gone(opened):
    store, rows = opened(), unit_rows(20)
    ids = store.add(entries(20), rows)
    assert store.delete([ids[4], ids[9], 10**9]) == 2
    assert store.count() == 18
    assert ids[4] not in store.nearest(rows[4:5], 20)[0]
    assert store.items([ids[4]]) == []
    with pytest.raises(KeyError):
        store.vectors([ids[4]])


def test_everything_is_there_after_reopening(opened):
    store, rows = opened(), unit_rows(25)
    ids = store.add(entries(25, camera="é", track="t"), rows)
    store.delete(ids[:2])
    before = store.nearest(rows[:4], 10), store.items(ids)
    store.close()
    again = opened()
    assert again.count() == 23
    np.testing.assert_array_equal(again.nearest(rows[:4], 10)[0], before[0][0])
    assert again.items(ids) == before[1]
    assert again.add(entries(1, start=100), unit_rows(1, seed=8))[0] not in ids


def test_a_known_path_is_replaced_and_keeps_its_id(opened):
    store, rows = opened(), unit_rows(10)
    ids = store.add(entries(10), rows)
    assert store.add([entries(10)[3]], -rows[3:4]) == [ids[3]]
    assert store.count() == 10
    np.testing.assert_array_equal(store.vectors([ids[3]])[0], (-rows[3]).astype(np.float16))


@pytest.mark.parametrize("field", [{"fingerprint": "0" * 64}, {"dimension": 16}, {"preprocessing": {"size": [1, 1]}}])
def test_another_model_is_refused_with_the_command_that_rebuilds(opened, field):
    store = opened()
    other = Binding(
        **(
            {"source": "other", **{k: getattr(store.binding, k) for k in ("fingerprint", "dimension", "preprocessing")}}
            | field
        )
    )
    with pytest.raises(IndexMismatch, match="descry index DIR --model other"):
        store.binding.check(other, "the gallery")
    store.binding.check(store.binding, "the gallery")


@pytest.mark.parametrize("vectors", [unit_rows(3, 16), unit_rows(2), np.full((3, 32), np.nan), 2 * unit_rows(3)])
def test_vectors_that_do_not_fit_change_nothing(opened, vectors):
    store = opened()
    with pytest.raises(UsageError):
        store.add(entries(3), vectors)
    assert store.count() == 0


def test_what_filters_let_through_is_listed_and_summed_up(opened):
    store, rows = opened(), unit_rows(30)
    made = [replace(e, camera="ab"[i % 2], time=datetime(2026, 1, 1 + i)) for i, e in enumerate(entries(30))]
    ids = store.add(made, rows)
    cases = {None: ids, Filters(cameras=("b",)): ids[1::2], Filters(until=datetime(2026, 1, 3)): ids[:3]}
    for filters, expected in cases.items():
        assert [i for part in store.matching(filters) for i in part] == sorted(expected)
    facts = store.overview()
    assert (facts["items"], facts["cameras"]) == (30, {"a": 15, "b": 15})
    assert (facts["from"], facts["to"]) == ("2026-01-01T00:00:00", "2026-01-30T00:00:00")
    assert facts["dimension"] == 32


def test_an_unknown_camera_is_one_like_others(opened):
    store, rows = opened(), unit_rows(6)
    made = [replace(e, camera="" if i < 2 else "a") for i, e in enumerate(entries(6))]
    ids = store.add(made, rows)
    assert [i.camera for i in store.items(ids)] == ["", "", "a", "a", "a", "a"]
    assert sorted(store.nearest(rows[:1], 6, Filters(cameras=("",)))[0][0].tolist()) == sorted(ids[:2])
    assert store.overview()["cameras"] == {"": 2, "a": 4}


def test_a_track_is_counted_with_its_camera_and_a_missing_one_is_none(opened):
    made = [replace(e, camera="ab"[i % 2], track="17"[i // 2] if i < 4 else "") for i, e in enumerate(entries(6))]
    store = opened()
    store.add(made, unit_rows(6))
    assert store.overview()["tracks"] == 4


def test_an_item_that_moves_to_another_camera_and_day_is_there_once(opened):
    store, rows = opened(), unit_rows(4)
    first, second = entries(4, camera="a", time=datetime(2026, 1, 1)), entries(4, camera="b", time=datetime(2026, 2, 2))
    ids = store.add(first, rows)
    assert store.add(second, rows) == ids
    assert store.count() == 4
    assert {i.camera for i in store.items(ids)} == {"b"}
    assert store.nearest(rows[:1], 4, Filters(cameras=("a",)))[0].shape == (1, 0)
    found = store.nearest(rows[:1], 4, Filters(since=datetime(2026, 2, 1), until=datetime(2026, 2, 3)))[0]
    assert sorted(found[0].tolist()) == sorted(ids)


# ---------------------------------------------------------------------- the local store


def test_one_writer_many_readers(tmp_path):
    store = LocalStore.create(tmp_path / "s", binding())
    store.add(entries(5), unit_rows(5))
    other = LocalStore(tmp_path / "s")
    with pytest.raises(Locked, match=f"process {os.getpid()}"):
        other.add(entries(1, start=9), unit_rows(1))
    assert other.nearest(unit_rows(1), 5)[0].shape == (1, 5)
    store.release()
    other.add(entries(1, start=9), unit_rows(1))
    store.close()
    other.close()


def test_a_snapshot_does_not_move(store):
    from descry.gallery import scan

    rows = unit_rows(30)
    ids = store.add(entries(20), rows[:20])
    old = store.snapshot()
    store.add(entries(10, start=20), rows[20:])
    store.delete(ids[:5])
    store.compact()
    assert old.ids.tolist() == ids
    assert scan.nearest(old, rows[:1], 3)[0][0, 0] == ids[0]
    assert len(store.snapshot()) == 25


def test_growing_and_reloading_give_the_same_snapshot(store):
    rows = unit_rows(40)
    for i in range(0, 40, 4):
        ids = store.add(entries(4, start=i), rows[i : i + 4])
        if i == 20:
            store.delete(ids[1:2])
        grown = store.snapshot()
        store._last = None
        fresh = store.snapshot()
        assert grown.ids.tolist() == fresh.ids.tolist()
        assert [b.tolist() for b in grown.blocks] == [b.tolist() for b in fresh.blocks]
        assert (grown.rows is None) == (fresh.rows is None)
        assert grown.rows is None or (grown.rows == fresh.rows).all()


@pytest.mark.parametrize("later", [0, 3])
@pytest.mark.parametrize("gone", [8, 20])
def test_a_reader_from_before_a_compaction_sees_what_a_fresh_one_sees(store, later, gone):
    """When more than half is gone, the rows that stay get other places."""
    rows = unit_rows(35)
    ids = store.add(entries(32), rows[:32])
    store.delete(ids[:gone])
    reader = LocalStore(store.folder)
    reader.snapshot()
    store.compact()
    if later:
        ids += store.add(entries(later, start=32), rows[32 : 32 + later])
    shot = reader.snapshot()
    assert shot.ids.tolist() == ids[gone:]
    half = rows[gone : 32 + later].astype(np.float16)
    np.testing.assert_array_equal(shot.vectors(np.arange(len(shot))), half)
    assert reader.nearest(half[-1:], 1)[0][0, 0] == ids[-1]
    reader.close()


def test_a_view_from_before_another_threads_snapshot_stays_as_it_was(store):
    from threading import Thread

    rows = unit_rows(9)
    ids = store.add(entries(8), rows[:8])
    store.release()

    def write() -> None:
        store.add(entries(1, start=8), rows[8:])
        store.snapshot()

    with store.database.reading():
        assert store.count() == 8
        other = Thread(target=write)
        other.start()
        other.join()
        assert store.snapshot().ids.tolist() == ids
        latest = store._last
        assert store.snapshot().ids.tolist() == ids
    assert len(store.snapshot()) == 9
    assert store.snapshot() is latest  # the older view did not push the newer one out


def test_compact_removes_every_byte(store):
    rows, others = unit_rows(60), unit_rows(60, seed=1)
    hidden = {"camera": "secretcam", "track": "secrettrack"}
    secret = [replace(e, path=f"/crops/secret-{i}.jpg", **hidden) for i, e in enumerate(entries(60))]
    mixed = [x for pair in zip(secret, entries(60, start=100), strict=True) for x in pair]
    ids = store.add(mixed, np.stack([rows, others], axis=1).reshape(120, -1))
    kept = store.vectors(ids[1::2])
    needles = [rows[i].astype(np.float16).tobytes() for i in range(60)] + [b"secret", *(e.sha for e in secret)]
    store.delete(ids[::2])
    before = store.size()
    assert store.compact() == before - store.size() > 0
    content = b"".join(p.read_bytes() for p in store.folder.iterdir())
    assert not [n for n in needles if n in content]
    np.testing.assert_array_equal(store.vectors(ids[1::2]), kept)
    assert store.verify() == []


def test_an_empty_store_compacts_and_answers(store):
    store.add(entries(3), unit_rows(3))
    store.delete(store.snapshot().ids)
    assert store.nearest(unit_rows(2), 4)[0].shape == (2, 0)
    store.compact()
    assert store.verify() == []
    assert store.count() == 0
    assert store.nearest(unit_rows(2), 4)[0].shape == (2, 0)
    with store.database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM blocks").fetchone()[0] == 0


def test_leftovers_of_a_killed_writer_are_swept(store, tmp_path):
    rows = unit_rows(6)
    ids = store.add(entries(4), rows[:4])
    cache = store.folder / "vectors.cache"
    store.close()
    with open(cache, "ab") as file:
        file.write(b"rest of a write")
    (store.folder / "vectors.cache.partial").write_bytes(b"never finished")
    again = LocalStore(store.folder)
    ids += again.add(entries(2, start=9), rows[4:])
    assert not (store.folder / "vectors.cache.partial").exists()
    np.testing.assert_array_equal(again.vectors(ids), rows.astype(np.float16))
    assert again.verify() == []
    again.close()


def test_a_lost_commit_is_noticed(store):
    """The log cut back to an older commit is a consistent database; only the head tells."""
    store.add(entries(3), unit_rows(3))
    store.close()
    old = (store.folder / "gallery.db").read_bytes()
    again = LocalStore(store.folder)
    again.add(entries(3, start=5), unit_rows(3))
    again.close()
    (store.folder / "gallery.db").write_bytes(old)
    with pytest.raises(IndexCorrupt, match="commit 2, though 3"):
        LocalStore(store.folder)


def test_folders_that_are_no_gallery_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no gallery"):
        LocalStore(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        LocalStore.create(tmp_path, binding())
    with pytest.raises(UsageError, match="not empty"):
        LocalStore.create(tmp_path / "file", binding())
