"""A gallery in a Milvus server that the tests start: the local leads, filters by count, one line for whatever happens.

`pip install --target DIR --no-deps milvus==2.3.5`; then PYTHONPATH=DIR pytest -n 0 -s -m long on this file prints the
figures of docs/scale.md. `-k "not 100000"` leaves the long form out.
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from descry.cli import main
from descry.errors import IndexMismatch, StoreUnavailable, UsageError
from descry.gallery import Gallery
from descry.gallery.local import LocalStore
from descry.gallery.scan import answer
from descry.query import Filters, Query
from descry.ranking import FORMULA
from descry_stores import milvus_search
from descry_stores.migrate import migrate
from descry_stores.milvus import MilvusStore, expression
from descry_stores.milvus_schema import Layout

from .milvus_server import TOKEN, MilvusServer
from .plain_model import FILTERS, KINDS, PlainModel, asked, binding, entries, filled, unit_rows

pytestmark = pytest.mark.long

ASKED = (*FILTERS[:4], Filters(path="/crops/b/*"))  # of other patterns this server says that it has none
ROWS = {**{kind: (kind, None) for kind in KINDS}, "camera": ("round", ASKED[1]), "time": ("round", ASKED[3])}


@pytest.fixture(scope="module")
def server():
    made = MilvusServer()
    yield made
    made.stop()


@pytest.fixture(scope="module", params=[2_000, 100_000])
def pair(request, server, tmp_path_factory):
    """The same items locally and on the server, and how many queries of a kind to compare."""
    folder = tmp_path_factory.mktemp("pair") / "local"
    here, begun = filled(folder, request.param, 128), time.perf_counter()
    address = f"{server.place}#pair{request.param}"
    report = migrate(folder, address)
    assert (report.copied, report.partition_by, report.index) == (request.param - 15, "camera", "flat")
    there = MilvusStore(address)
    print(f"\n{there.version()}: {report.copied} × 128 migrated in {time.perf_counter() - begun:.0f} s")
    yield here, there, 200 if request.param > 10_000 else 20
    there.close()
    here.close()


@pytest.mark.parametrize("row", ROWS)
def test_the_local_leads_are_found_and_what_may_differ_is_said(pair, row):
    here, there, rounds = pair
    kind, filters = ROWS[row]
    rng, kept, seconds = np.random.default_rng(1), [], ([], [])
    for _ in range(rounds):
        terms, query = asked(kind, rng, here.snapshot().ids, 128)
        query = query.replace(filters=ASKED[FILTERS.index(query.filters)] if filters is None else filters)
        times = [time.perf_counter()]
        one = answer(here, terms, query, 20, FORMULA)
        times.append(time.perf_counter())
        other = milvus_search.answer(there, terms, query, 20, FORMULA)
        times.append(time.perf_counter())
        for spent, of in zip(np.diff(times), seconds, strict=True):
            of.append(float(spent))
        kept.append(len({*one.ids} & {*other.ids}) / len(one.ids))
        assert (other.exact, other.total) == (False, one.total)
        assert "approximate: ranked among" in other.note
        judged = any(t.shape in ("evidence", "not") for t in terms)
        assert ("how far a phrase may put somebody back" in other.note) == (judged and other.considered < other.total)
        if "all that the filters let through" in other.note:
            assert other.considered == one.considered
    local, far = map(statistics.median, seconds)
    print(f"\n{one.total} {row}: {np.mean(kept):.2%} kept, worst {min(kept):.0%}; s {local:.3f} {far:.3f}", end="")
    assert np.mean(kept) >= 0.99


def test_filters_let_the_same_items_through(pair):
    here, there, _ = pair
    for filters in ASKED:
        ids = [i for part in here.matching(filters) for i in part]
        assert there.count(expression(filters, there.partition_by)) == len(ids), filters
        assert [i for part in there.matching(filters) for i in part] == ids, filters


def test_items_that_somebody_deletes_during_searches_are_left_out(pair):
    """Another client deletes, a few at a time; then they are sent again."""
    here, there, rounds = pair
    ids = here.snapshot().ids[: 8 * rounds].tolist()
    other = MilvusStore(there.address)

    def deleting() -> None:
        for i in range(0, len(ids), 8):
            assert other.delete(ids[i : i + 8]) == 8

    beside = threading.Thread(target=deleting)
    beside.start()
    rng = np.random.default_rng(3)
    while beside.is_alive():
        terms, query = asked("sketch and words", rng, here.snapshot().ids, 128)
        assert len(milvus_search.answer(there, terms, query.replace(filters=Filters()), 20, FORMULA)) >= 12
    beside.join()
    other.close()
    assert migrate(here.folder, there.address).copied == len(ids)


# ---------------------------------------------------------------------- what may happen


@pytest.fixture
def small(tmp_path, server):
    """45 items and the address of their copy."""
    filled(tmp_path / "local", 60).close()
    address = f"{server.place}#t{time.time_ns()}"
    migrate(tmp_path / "local", address)
    yield tmp_path / "local", address
    os.environ["MILVUS_TOKEN"] = TOKEN
    store = MilvusStore(address)
    store.erase()
    store.close()


def searcher() -> PlainModel:
    """The model that galleries of `filled` are bound to."""
    made = PlainModel()
    made.fingerprint, made.preprocessing = binding().fingerprint, binding().preprocessing
    return made


def failed(words: list[str], capsys) -> str:
    """What a command that fails says: one line."""
    capsys.readouterr()
    assert main(words) != 0
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert len(said[0]) < 500
    return said[0]


def works(small, count: int = 45) -> None:
    """The copy holds what it held, and answers as before."""
    with Gallery.open(small[1]) as there:
        assert len(there) == count
        assert len(there.search("a hat", model=searcher())) == 20
    assert migrate(*small).copied == 0


@pytest.mark.parametrize("token", ["root:wrong", "nobody:wrong", ""])
def test_a_wrong_password_is_told_at_once(small, monkeypatch, capsys, token):
    monkeypatch.setenv("MILVUS_TOKEN", token)
    begun = time.perf_counter()
    for words in (["gallery", "info", small[1]], ["migrate", str(small[0]), "--to", small[1]]):
        said = failed(words, capsys)
        assert "refused" in said
        assert "put USER:PASSWORD into MILVUS_TOKEN" in said
        assert "wrong" not in said
    assert time.perf_counter() - begun < 20
    monkeypatch.undo()
    works(small)


def test_the_model_of_another_gallery_is_refused(small, tmp_path):
    with pytest.raises(IndexMismatch, match="descry index DIR --model"):
        Gallery.open(small[1], PlainModel())
    LocalStore.create(tmp_path / "other", replace(LocalStore(small[0]).binding, fingerprint="e" * 64)).close()
    with pytest.raises(IndexMismatch):
        migrate(tmp_path / "other", small[1])
    works(small)


def test_a_server_that_is_killed(small, server, capsys):
    with Gallery.open(small[1], searcher()) as there:
        expected = there.search("a hat").ids
        server.signal(signal.SIGKILL)
        try:
            with pytest.raises(StoreUnavailable, match=r"does not answer .* is it running") as error:
                there.search("a hat")
            assert "\n" not in str(error.value)
            for words in (["gallery", "info", small[1]], ["migrate", str(small[0]), "--to", small[1]]):
                assert "is it running" in failed(words, capsys)
        finally:
            server.start()
    works(small)
    with Gallery.open(small[1], searcher()) as there:
        assert there.search("a hat").ids == expected


def test_a_server_that_is_frozen(small, server, capsys):
    with Gallery.open(small[1], searcher()) as there:
        server.signal(signal.SIGSTOP)
        begun = time.perf_counter()
        try:
            with pytest.raises(StoreUnavailable, match="does not answer") as error:
                there.search("a hat")
            assert "\n" not in str(error.value)
            assert "does not answer" in failed(["gallery", "info", small[1]], capsys)
            assert time.perf_counter() - begun < 240
        finally:
            server.signal(signal.SIGKILL)  # frozen for long, it ends by itself
            server.start()
    works(small)


def test_a_migration_whose_server_is_killed_goes_on(small, server, monkeypatch):
    monkeypatch.setattr("descry.gallery.merge.STEP", 10)
    local = LocalStore(small[0])
    local.add(entries(40, start=900), unit_rows(40, seed=4))
    local.close()

    def ends(done: int, total: int) -> None:
        if done == 70:
            server.signal(signal.SIGKILL)

    try:
        with pytest.raises(StoreUnavailable, match="is it running"):
            migrate(*small, progress=ends)
    finally:
        server.start()
    with Gallery.open(small[1], searcher()) as there:
        assert "a migration into it has not finished" in there.search("a hat").note
    report = migrate(*small)
    assert (report.total, report.copied) == (85, 15)
    works(small, 85)


def test_an_index_that_this_server_cannot_build_changes_nothing(small):
    with pytest.raises(UsageError, match=r"cannot build the index hnsw_sq .*; the collection is as it was"):
        migrate(*small, layout=Layout(index="hnsw_sq"))
    works(small)
    assert migrate(*small, layout=Layout(index="ivf_sq8")).index == "ivf_sq8"
    works(small)


@pytest.mark.parametrize("divided", ["camera", "day", "none"])
def test_what_changed_is_sent_again_and_filters_find_it(small, divided):
    """Rows that are written twice are where this server's filters look for them."""
    address = f"{small[1]}_{divided}"
    migrate(small[0], address, layout=Layout(divided))
    local = LocalStore(small[0])
    local.add([replace(e, camera="moved", path=e.path) for e in entries(20, start=900)], unit_rows(20, seed=4))
    migrate(small[0], address)
    local.add([replace(e, camera="cam1") for e in entries(20, start=900)], unit_rows(20, seed=4))
    local.delete(local.snapshot().ids[:3].tolist())
    local.close()
    assert migrate(small[0], address).copied == 20
    store = MilvusStore(address)
    assert store.count(expression(Filters(cameras=("moved",)), divided)) == 0
    assert store.count(expression(Filters(cameras=("cam1",)), divided)) >= 20
    assert store.count() == 62
    store.erase()
    store.close()


def test_deletion_and_erasure(small, capsys):
    with Gallery.open(small[1]) as there:
        first = next(iter(there.listed())).id
    assert main(["gallery", "delete", small[1], "--item", str(first), "--path", "/crops/b/*"]) == 0
    assert "removed" in capsys.readouterr().out
    with Gallery.open(small[1]) as there:
        assert all(item.id != first and "/b/" not in item.path for item in there.listed())
    assert main(["gallery", "delete", small[1], "--everything", "--confirm", small[1].rpartition("#")[2]]) == 0
    assert "holds no gallery of that name" in failed(["gallery", "info", small[1]], capsys)
    migrate(*small)


def test_what_it_does_not_offer_is_refused_in_one_line(small, tmp_path, capsys):
    there = small[1]
    for words in (
        *(["index", str(tmp_path), "--out", there], ["serve", there, "--no-browser"], ["inquiry", "list", there]),
        *(
            ["inquiry", "new", there, "--text", "a hat"],
            ["report", there, "red", "--out", str(tmp_path / "r.html")],
            ["audit", "verify", there],
        ),
        *(["verify", there], ["compact", there], ["purge", there, "red"], ["gallery", "calibrate", there]),
        *(["gallery", "list", there, "--path", "b/*"], ["gallery", "list", f"{there}x"]),
    ):
        assert there in failed(words, capsys), words
    with Gallery.open(there) as opened, pytest.raises(UsageError, match="knows no marks"):
        opened.search(Query(wanted="a hat", filters=Filters(marked=True)), model=searcher())
