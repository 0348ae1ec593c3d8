"""A gallery in PostgreSQL: the answers of the local one, one transaction an act, and one line for whatever happens."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.cli import main
from descry.errors import DescryError, IndexMismatch, Locked, ReadOnly, StoreUnavailable, UsageError
from descry.gallery import Gallery
from descry.gallery.account import Audit, add_line
from descry.gallery.local import LocalStore
from descry.gallery.scan import answer
from descry.interact.rounds import Inquiry
from descry.interact.store import Finding
from descry.query import Filters, Query
from descry.ranking import FORMULA
from descry.safe_files import address_of
from descry.search import Term
from descry_stores.migrate import migrate
from forked import child, ended, forks

from .plain_model import DAY, FILTERS, KINDS, PlainModel, asked, binding, draw, entries, filled, unit_rows

pytest.importorskip("psycopg", reason="psycopg is not installed (pip install -e '.[postgres]')")
from descry_stores import postgres as stores
from descry_stores.postgres import PostgresStore, parse, regex_of


def compared(here: LocalStore, there: PostgresStore, count: int, kind: str, seed: int = 0) -> None:
    """The first twenty are the same, with the same scores, and the filters let the same number through."""
    rng, ids = np.random.default_rng(seed), here.snapshot().ids
    for _ in range(count):
        terms, query = asked(kind, rng, ids, here.binding.dimension)
        one, other = (answer(store, terms, query, 20, FORMULA) for store in (here, there))
        assert other.ids == one.ids, (kind, query.filters)
        assert (other.considered, other.total, other.exact) == (one.considered, one.total, True)
        np.testing.assert_allclose(other.scores, one.scores, atol=2e-3)
        assert other.items == one.items


@pytest.fixture(scope="module")
def both(tmp_path_factory, postgres_server):
    """The same 585 items locally and in PostgreSQL."""
    folder = tmp_path_factory.mktemp("pair") / "local"
    here = filled(folder, 600)
    address = f"{postgres_server.place()}#both"
    assert migrate(folder, address).copied == 585
    there = PostgresStore(address)
    yield here, there
    here.close()
    there.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_twenty_are_the_local_ones(both, kind):
    here, there = both
    compared(here, there, 40, kind)


@pytest.mark.long
def test_the_first_twenty_are_the_local_ones_among_a_hundred_thousand(tmp_path, postgres):
    here = filled(tmp_path / "local", 100_000, 128)
    assert migrate(tmp_path / "local", postgres).copied == 99_985
    there = PostgresStore(postgres)
    for kind in KINDS:
        compared(here, there, 200, kind, seed=1)
    there.close()
    here.close()


@pytest.mark.parametrize("filters", FILTERS[1:])
def test_filters_let_the_same_items_through(both, filters):
    here, there = both
    lists = [[i for part in store.matching(filters) for i in part] for store in both]
    assert lists[0] == lists[1]
    assert 0 < len(lists[0]) < 585
    found, scores = there.nearest(unit_rows(8), 30, filters)
    same, others = here.nearest(unit_rows(8), 30, filters)
    np.testing.assert_array_equal(found, same)
    np.testing.assert_array_equal(scores, others)


def test_the_longest_pattern_is_taken(both):
    for pattern, count in (("*" + "x" * 4095, 0), ("*" + "[a-z]" * 800, 0), ("?" * 4094 + "*", 0)):
        for store in both:
            assert sum(len(part) for part in store.matching(Filters(path=pattern))) == count
    with pytest.raises(UsageError, match="at most 4,096"):
        Filters(path="x" * 4097)


def test_filters_that_let_nothing_through_are_counted(both):
    for store in both:
        terms, query = [Term("text", "a hat", 1.0, unit_rows(1)[0])], Query(wanted="a hat")
        for filters, removed in (
            (Filters(cameras=("nowhere",)), {"cameras": 585}),
            (Filters(path="z/*", since=DAY + timedelta(days=400)), {"path": 585, "since": 585}),
            (Filters(marked=True), {"marked": 585}),
        ):
            found = answer(store, terms, query.replace(filters=filters), 20, FORMULA)
            assert (found.ids, found.removed, found.considered) == ((), removed, 0)


def test_a_gallery_is_verified_in_one_pass_over_its_items(both, monkeypatch):
    _, there = both
    monkeypatch.setattr(stores, "STEP", 100)
    honest, said = stores.Connection.execute, []
    monkeypatch.setattr(stores.Connection, "execute", lambda self, *a, **o: said.append(a[0]) or honest(self, *a, **o))
    assert there.verify() == []
    assert len([sql for sql in said if "FROM items" in sql]) == 6 + 1  # the last one finds nothing


def test_moments_are_those_of_the_vectors(both):
    here, there = both
    one, other = here.moments(), there.moments()
    assert one.count == other.count == 585
    np.testing.assert_allclose(other.total, one.total, rtol=1e-9)
    np.testing.assert_allclose(other.products, one.products, rtol=1e-9)


# ---------------------------------------------------------------------- migrating


def test_migrating_again_sends_what_changed_and_removes_what_went(tmp_path, postgres):
    here = filled(tmp_path / "local", 60)
    first = migrate(tmp_path / "local", postgres)
    assert (first.total, first.copied, first.present, first.removed, first.index) == (45, 45, 0, 0, "exact")
    ids = here.snapshot().ids.tolist()
    here.delete(ids[:2])
    here.add([replace(entries(60)[40], path="/crops/b/0000040.jpg", camera="moved")], unit_rows(1, seed=9))
    here.add(entries(3, start=900), unit_rows(3, seed=4))
    here.release()
    again = migrate(tmp_path / "local", postgres)
    assert (again.total, again.copied, again.present, again.removed) == (46, 4, 42, 2)
    there = PostgresStore(postgres)
    assert there.verify() == []
    left = here.snapshot().ids.tolist()
    assert there.snapshot().ids.tolist() == left
    assert there.items(left) == here.items(left)
    np.testing.assert_array_equal(there.vectors(left), here.vectors(left))
    assert there.add(entries(1, start=990), unit_rows(1, seed=5))[0] > max(left)
    there.close()
    here.close()


def test_a_migration_that_was_cut_off_changed_nothing(tmp_path, postgres, monkeypatch):
    monkeypatch.setattr("descry.gallery.merge.STEP", 10)
    here = filled(tmp_path / "local", 60)
    migrate(tmp_path / "local", postgres)
    here.add(entries(40, start=900), unit_rows(40, seed=4))
    here.release()

    def cut(done: int, total: int) -> None:
        if done >= 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(tmp_path / "local", postgres, progress=cut)
    there = PostgresStore(postgres)
    assert (there.count(), there.verify()) == (45, [])
    there.close()
    assert migrate(tmp_path / "local", postgres).copied == 40
    here.close()


def test_a_vector_that_arrives_changed_is_noticed_and_nothing_is_kept(tmp_path, postgres, monkeypatch):
    filled(tmp_path / "local", 60).close()
    honest = PostgresStore.vectors
    monkeypatch.setattr(PostgresStore, "vectors", lambda self, ids: -honest(self, ids))
    with pytest.raises(StoreUnavailable, match="differ from those sent"):
        migrate(tmp_path / "local", postgres)
    with Gallery.open(postgres) as there:
        assert len(there) == 0


def test_the_gallery_of_another_model_is_refused(tmp_path, postgres):
    filled(tmp_path / "local", 60).close()
    PostgresStore.create(postgres, binding(16)).close()
    with pytest.raises(IndexMismatch, match="descry index DIR --model"):
        migrate(tmp_path / "local", postgres)
    with pytest.raises(IndexMismatch, match="descry index DIR --model"):
        Gallery.open(postgres, PlainModel())


def test_options_of_milvus_are_refused(tmp_path, postgres, capsys):
    filled(tmp_path / "local", 60).close()
    assert main(["migrate", str(tmp_path / "local"), "--to", postgres, "--index-type", "flat"]) == 2
    assert "leave them out" in capsys.readouterr().err


# ---------------------------------------------------------------------- what a team does


@pytest.fixture
def gallery(postgres, crops, model):
    """24 crops, indexed into PostgreSQL itself."""
    made = Gallery.create(postgres, model)
    made.index(crops)
    made.store.release()
    yield made
    made.close()


def test_a_folder_is_indexed_and_brought_up_to_date(gallery, crops):
    draw(crops / "cam0" / "p000.png", 500)
    (crops / "cam1" / "p001.png").unlink()
    (crops / "cam1" / "p003.png").rename(crops / "cam0" / "p003.png")
    draw(crops / "new.png", 501)
    report = gallery.index(crops)
    assert (report.added, report.changed, report.moved, report.removed) == (1, 1, 1, 1)
    assert (len(gallery), gallery.verify()) == (24, [])
    best = gallery.search(photo=str(crops / "new.png"), k=1)
    assert best.paths == (str(crops / "new.png"),)


def test_rounds_findings_and_the_account_are_kept_by_the_server(gallery, crops, postgres, model):
    talk = gallery.inquiry("red")
    talk.ask(Query(photos=str(crops / "cam0" / "p004.png")))
    talk.mark(like=[talk.leads.ids[0].item()])
    with Gallery.open(postgres, model) as other:
        again = other.inquiry("red")
        assert [r.results for r in again.inquiry.rounds.values()] == [r.results for r in talk.inquiry.rounds.values()]
        assert [same for _, same in again.replay()] == [True, True]
        again.ask(Query(wanted="a hat"))
        with pytest.raises(Locked, match="was changed by another process"):
            talk.ask(Query(wanted="a coat"))
        assert talk.refresh()
        talk.ask(Query(wanted="a coat"))
    account = Audit(gallery.store.database)
    assert account.verify().ok
    kinds = [json.loads(line)["what"] for line in account.read().splitlines()]
    assert kinds == ["index", "search", "search", "search", "search"]
    assert len(gallery.search("a hat")) == 20
    assert Audit(postgres).verify().lines == 6


def test_an_act_and_its_line_are_kept_together_or_not_at_all(gallery, monkeypatch):
    ids = gallery.store.snapshot().ids.tolist()
    lines = gallery.store.database.state().lines
    monkeypatch.setattr("descry.gallery.account.Line", lambda *row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gallery.delete(ids[:3])
    monkeypatch.undo()
    assert (len(gallery), gallery.store.database.state().lines) == (24, lines)
    assert gallery.purge(ids[:3]) == 3
    assert (len(gallery), gallery.store.database.state().lines) == (21, lines + 1)


def test_many_write_at_once_and_nothing_is_lost(gallery):
    def work(number: int) -> None:
        for _ in range(5):
            add_line(gallery.store.database, "export", of="audit", who=number)

    before = gallery.store.database.state().lines
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = Audit(gallery.store.database).verify()
    assert (verdict.ok, verdict.lines) == (True, before + 20)


def test_one_indexes_at_a_time(gallery, postgres, crops, model):
    gallery.store.hold()
    with Gallery.open(postgres, model) as other:
        with pytest.raises(Locked, match="is being written by another process"):
            other.index(crops)
        gallery.store.release()
        assert other.index(crops).unchanged == 24


def test_a_role_that_may_only_read_searches_and_writes_nothing(gallery, postgres, postgres_server, model, monkeypatch):
    schema = gallery.store.database.schema
    postgres_server.sql(
        f"GRANT USAGE ON SCHEMA {schema} TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader"
    )
    expected = gallery.search("a hat").ids
    monkeypatch.setenv("PGPASSWORD", "reads")
    with Gallery.open(postgres.replace("owner@", "reader@"), model) as opened:
        found = opened.search("a hat")
        assert (found.ids, opened.read_only) == (expected, True)
        assert "no line was written to the account" in found.note
        opened.inquiry("mine").ask(Query(wanted="a hat"))
        with pytest.raises(ReadOnly, match="read-only for this role"):
            opened.delete([1])
    monkeypatch.undo()
    assert Audit(gallery.store.database).verify().lines == 2  # indexed, and searched by the owner


# ---------------------------------------------------------------------- what may happen


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_items_deleted_while_somebody_searches(gallery, postgres, model):
    """A search sees one moment; a snapshot that was kept says that items are gone; the next round goes on."""
    talk = gallery.inquiry("red")
    talk.ask(Query(wanted="a hat"))
    ids = gallery.store.snapshot().ids.tolist()
    with Gallery.open(postgres, model) as other, gallery.store.reading() as rows:
        before = gallery.search("a hat", record=False).ids
        other.delete(ids[:5])
        assert gallery.store.count() == 24
        assert len(rows.similarities(unit_rows(1))[0]) == 24
        assert gallery.search("a hat", record=False).ids == before
    with pytest.raises(Locked, match="5 of the items searched were deleted"):
        rows.similarities(unit_rows(1))
    with pytest.raises(Locked, match="1 of the items searched were deleted"):
        rows.vectors(np.array([0]))
    made = talk.ask(Query(wanted="a coat"))
    assert not set(ids[:5]) & {i for i, _ in made.results}
    assert len(gallery.search("a hat")) == 19


def test_a_wrong_password(gallery, postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(StoreUnavailable, match="refused: password authentication failed") as error:
        Gallery.open(postgres)
    assert "~/.pgpass or PGPASSWORD" in one_line(error.value)
    assert "wrong" not in str(error.value)


def test_no_server(tmp_path):
    with pytest.raises(StoreUnavailable, match="cannot be reached or went away") as error:
        Gallery.open(f"postgresql://owner@{str(tmp_path).replace('/', '%2F')}/postgres#g")
    one_line(error.value)


def test_a_server_that_is_killed(gallery, postgres, postgres_server, model):
    expected = gallery.search("a hat").ids
    lines = gallery.store.database.state().lines

    def killed() -> None:
        with gallery.store.database.writing():
            add_line(gallery.store.database, "export", of="audit")
            postgres_server.signal(signal.SIGKILL)
            gallery.search("a hat")

    with pytest.raises(StoreUnavailable, match="cannot be reached or went away") as error:
        killed()
    assert "nothing that was acknowledged is lost" in one_line(error.value)
    postgres_server.start()
    assert gallery.search("a hat").ids == expected  # the same object goes on
    assert gallery.store.database.state().lines == lines + 1
    assert (Audit(postgres).verify().ok, gallery.verify()) == (True, [])


def test_a_server_that_is_frozen(gallery, postgres_server, monkeypatch):
    monkeypatch.setattr(stores.Connection, "patience", 1.0)
    monkeypatch.setattr(stores, "CONNECTING", 2)
    expected = gallery.search("a hat").ids
    postgres_server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="has not answered for") as error:
            gallery.search("a hat")
    finally:
        postgres_server.signal(signal.SIGCONT)
    assert "see whether the server is well" in one_line(error.value)
    monkeypatch.undo()
    assert gallery.search("a hat").ids == expected


def test_rows_that_others_changed_are_noticed(gallery, postgres_server):
    schema = gallery.store.database.schema
    postgres_server.sql(f"UPDATE {schema}.items SET camera = 'other' WHERE id = 3")
    copied = f"(SELECT v FROM {schema}.embeddings WHERE row = 9)"
    postgres_server.sql(f"UPDATE {schema}.embeddings SET v = {copied} WHERE row = 4")
    said = [fault.what for fault in gallery.verify()]
    assert any("item 3 does not fit its checksum" in what for what in said)
    assert any("the vector of item" in what for what in said)
    postgres_server.sql(f"UPDATE {schema}.items SET sha = 'x' WHERE id = 3")
    with pytest.raises(DescryError, match="the column 'sha' holds"):
        gallery.items([3])


def test_a_database_without_pgvector_or_gallery(postgres_server):
    with pytest.raises(UsageError, match="holds no gallery of that name"):
        Gallery.open(f"{postgres_server.place()}#none")
    bare = postgres_server.place().replace("/postgres", "/template1")
    with pytest.raises(UsageError, match="has no pgvector"):
        PostgresStore.create(f"{bare}#g", binding())


# ---------------------------------------------------------------------- what the database does below


def test_every_table_is_rewritten_when_removed_bytes_are_to_go(tmp_path, postgres, postgres_server, monkeypatch):
    """The sums of vectors too, from which a removed vector could be calculated."""
    monkeypatch.setattr("descry.gallery.vectors.FOLD", 8)
    filled(tmp_path / "local", 60).close()
    migrate(tmp_path / "local", postgres)
    with Gallery.open(postgres) as gallery:
        schema = gallery.store.database.schema
        with gallery.store.database.reading() as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = ?", (schema,)).fetchall()
            sums = connection.execute("SELECT data FROM moments").fetchone()[0]
        assert {name for (name,) in tables} == set(stores.OWN)
        gallery.purge(gallery.store.snapshot().ids[:3].tolist())
    postgres_server.sql("CHECKPOINT")
    files = [path for path in (postgres_server.folder / "data" / "base").rglob("*") if path.is_file()]
    assert not [path for path in files if sums[64:128] in path.read_bytes()]


def test_a_snapshot_is_not_gone_on_with_after_items_were_put_below_its_last(tmp_path, postgres):
    filled(tmp_path / "local", 60).close()
    migrate(tmp_path / "local", postgres)
    one, other = PostgresStore(postgres), PostgresStore(postgres)
    assert len(one.snapshot()) == 45
    other.put([7, 900], entries(2, start=900), unit_rows(2, seed=4))
    assert one.snapshot().ids.tolist() == sorted([7, 900, *range(1, 6), *range(21, 61)])
    one.close()
    other.close()


@pytest.mark.parametrize("what", ["verify", "compact", "migrate"])
def test_work_on_whole_tables_is_waited_for(tmp_path, postgres, monkeypatch, what):
    filled(tmp_path / "local", 60).close()
    migrate(tmp_path / "local", postgres)
    honest = stores.Connection.execute

    def slow(self, query, *values, **options):
        if "VACUUM" in query or "FROM items" in query:
            honest(self, "SELECT pg_sleep(0.5)")
        return honest(self, query, *values, **options)

    with Gallery.open(postgres) as gallery:
        gallery.store.hold()
        monkeypatch.setattr(stores.Connection, "patience", 0.2)
        monkeypatch.setattr(stores.Connection, "execute", slow)
        if what == "migrate":
            gallery.store.release()
            assert migrate(tmp_path / "local", postgres).present == 45
        else:
            getattr(gallery, what)()
        assert gallery.store.database.connection().patience == 0.2


@pytest.mark.parametrize("where", ["lock_timeout", "has_table_privilege"])
def test_a_connection_that_fails_while_it_is_opened_is_closed(postgres, monkeypatch, where):
    from psycopg.errors import InsufficientPrivilege

    made, honest, opened = [], stores.Connection.execute, stores.Connection.connect
    monkeypatch.setattr(stores.Connection, "connect", lambda *a, **o: made.append(opened(*a, **o)) or made[-1])

    def refused(self, query, *values, **options):
        if where in query:
            raise InsufficientPrivilege("not for you")
        return honest(self, query, *values, **options)

    monkeypatch.setattr(stores.Connection, "execute", refused)
    with pytest.raises(ReadOnly, match="not for you"):
        Gallery.open(postgres)
    assert [connection.closed for connection in made] == [True]


def test_a_connection_that_the_server_ended_is_forgotten(gallery):
    database = gallery.store.database
    for _ in range(3):
        database.connection().close()
        assert len(gallery) == 24
    assert len(database._open) == 1


def test_idle_connections_that_a_server_ended_are_replaced_unseen(gallery, postgres_server):
    """After a restart, every thread of a page had one failure before."""
    expected = gallery.search("a hat").ids
    with ThreadPoolExecutor(3) as threads:
        for work in (lambda: len(gallery), lambda: gallery.search("a hat").ids):
            everyone = threading.Barrier(3)
            for done in [threads.submit(lambda e=everyone: (len(gallery), e.wait(20))) for _ in range(3)]:
                done.result()
            postgres_server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'descry' AND pid <> pg_backend_pid()"
            )
            time.sleep(0.1)
            assert [threads.submit(work).result() for _ in range(3)] == [work()] * 3
    assert gallery.search("a hat").ids == expected
    assert (Audit(gallery.store.database).verify().ok, gallery.verify()) == (True, [])


def test_a_role_that_does_not_own_the_tables_is_told_that_bytes_stay(
    gallery, postgres, postgres_server, model, monkeypatch
):
    schema = gallery.store.database.schema
    gallery.store.release()
    postgres_server.sql(
        f"GRANT USAGE ON SCHEMA {schema} TO writer; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO writer"
    )
    monkeypatch.setenv("PGPASSWORD", "writes")
    with Gallery.open(postgres.replace("owner@", "writer@"), model) as opened:
        with pytest.raises(ReadOnly, match="let the role that owns the tables run descry compact") as error:
            opened.purge([1, 2])
        assert "no answer any more" in one_line(error.value)
        assert len(opened.search("a hat")) == 20
    assert len(gallery) == 22


def test_an_older_pgvector_is_refused(postgres_server):
    """One without 16-bit vectors, as before 0.7."""
    import psycopg

    postgres_server.sql("CREATE DATABASE older")
    place = postgres_server.place().replace("/postgres", "/older")
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector; ALTER TYPE halfvec RENAME TO other")
    with pytest.raises(UsageError, match="ALTER EXTENSION vector UPDATE"):
        PostgresStore.create(f"{place}#g", binding())


def test_a_removal_beside_a_long_reading_says_what_is_left_to_do(tmp_path, postgres):
    """What was removed is gone; only its bytes wait for the reader."""
    filled(tmp_path / "local", 20).close()
    migrate(tmp_path / "local", postgres)
    with Gallery.open(postgres) as reader, Gallery.open(postgres) as gallery, reader.store.database.reading() as other:
        other.execute("SELECT count(*) FROM items").fetchone()
        gallery.store.database.connection().execute("SET lock_timeout = '1s'")
        with pytest.raises(Locked, match=r"is in no answer any more.*run descry compact postgresql"):
            gallery.store.database.scrub()


def test_names_differ_in_capital_letters_and_a_copy_knows_how_its_model_searched(tmp_path, postgres):
    local = filled(tmp_path / "local", 20)
    local.note_search("a" * 64)
    local.close()
    for address in (f"{postgres}x", f"{postgres}X"):
        assert migrate(tmp_path / "local", address).copied == 5
        with Gallery.open(address) as gallery:
            assert gallery.store.config["search_fingerprint"] == "a" * 64


def test_a_migration_sends_one_moment_of_the_local_gallery(tmp_path, postgres):
    """Somebody indexes into it between sending and comparing."""
    here = filled(tmp_path / "local", 60)
    told = []

    def meanwhile(done: int, total: int) -> None:
        if done == 45:
            here.add(entries(1, start=900), unit_rows(1, seed=4))
            here.delete([1])
        told.append((done, total))

    assert migrate(tmp_path / "local", postgres, progress=meanwhile).total == 45
    assert told == [(45, 90), (90, 90)]
    assert migrate(tmp_path / "local", postgres).copied == 1
    there = PostgresStore(postgres)
    assert there.snapshot().ids.tolist() == here.snapshot().ids.tolist()
    there.close()
    here.close()


def test_others_search_and_write_while_somebody_migrates(tmp_path, postgres, model):
    """All but items: they see those of before, and every line of the account is there afterwards."""
    here = filled(tmp_path / "local", 60)
    migrate(tmp_path / "local", postgres)
    here.add(entries(5, start=900), unit_rows(5, seed=4))
    here.delete([1])
    here.release()
    with Gallery.open(postgres) as other:
        other.store.database.connection().execute("SET lock_timeout = '100ms'")
        account, notes = Audit(other.store.database), other.inquiries()
        lines = account.verify().lines

        def meanwhile(done: int, total: int) -> None:
            assert (len(other), other.store.snapshot().ids[0]) == (45, 1)
            add_line(other.store.database, "export", of="audit")
            notes.save(Inquiry(f"after {done}"))
            with pytest.raises(Locked, match="is being written by another process"):
                other.delete([2])

        assert migrate(tmp_path / "local", postgres, progress=meanwhile).copied == 5
        assert notes.names() == ["after 49", "after 98"]
        assert (account.verify().ok, account.verify().lines) == (True, lines + 2 + 2 + 1)
        assert (len(other), other.verify()) == (49, [])
        assert other.store.snapshot().ids.tolist() == here.snapshot().ids.tolist()
        notes.close()
    here.close()


def test_only_a_folder_is_migrated(postgres, capsys):
    assert main(["migrate", postgres, "--to", "milvus:a.db"]) == 2
    assert "name its folder" in capsys.readouterr().err


def test_the_gallery_of_an_address_without_a_name(postgres_server, model):
    with Gallery.create(postgres_server.place(), model) as made:
        assert made.name == "gallery"
        assert made.store.database.schema == "descry_gallery"
        made.erase()


def test_pictures_that_moved_are_followed(gallery, crops, tmp_path, model):
    before = {item.id: (os.path.basename(item.path), item.sha256) for item in gallery.listed()}
    vectors = gallery.vectors(list(before)).tobytes()
    crops.rename(tmp_path / "moved")
    report = gallery.relocate(crops, tmp_path / "moved")
    assert (report.moved, report.absent, report.joined) == (24, 0, 0)
    assert {item.id: (os.path.basename(item.path), item.sha256) for item in gallery.listed()} == before
    assert all(item.path.startswith(str(tmp_path / "moved")) for item in gallery.listed())
    assert gallery.vectors(list(before)).tobytes() == vectors
    assert gallery.verify() == []
    encoded = model.calls
    assert (gallery.index(tmp_path / "moved").unchanged, model.calls) == (24, encoded)


def test_findings_and_the_last_day_of_an_inquiry_are_kept_for_all(gallery, postgres):
    gallery.inquiry("red").ask(Query(wanted="a hat"))
    with Gallery.open(postgres) as other:
        one, same = gallery.inquiries(), other.inquiries()
        for store, verdict in ((one, "set aside"), (same, "worth following")):  # the later one counts
            store.find("red", Finding(3, verdict, "at the gate", 1, gallery.items([3])[0].sha256))
        same.find("red", Finding(4, "set aside", "", 1, ""))
        same.keep_until("red", date(2027, 1, 31))
        assert [(f.item, f.verdict, f.note) for f in one.findings("red")] == [
            (3, "worth following", "at the gate"),
            (4, "set aside", ""),
        ]
        about = one.about("red")
        assert (about.keep_until, about.rounds, about.findings) == ("2027-01-31", 1, 2)
        assert same.unfind("red", 4)
        same.keep_until("red", None)
        assert (one.about("red").keep_until, [f.item for f in one.findings("red")]) == ("", [3])
        one.close()
        same.close()


# ---------------------------------------------------------------------- what may happen, in the terminal


@pytest.fixture
def team(tmp_path, toy, postgres):
    """Six crops in PostgreSQL: their address, the folder of the crops, and the local gallery that they came from."""
    from tests.conftest import write_small_gallery

    root = write_small_gallery(tmp_path, toy)
    migrate(root / "gallery", postgres)
    return postgres, root / "crops", root / "gallery"


def command(what: str, team) -> list[str]:
    there, crops, local = team
    return {
        "search": ["search", there, "a red top"],
        "inquiry": ["inquiry", "new", there, "red", "--text", "a red top"],
        "index": ["index", str(crops), "--out", there],
        "migrate": ["migrate", str(local), "--to", there],
        "delete": ["gallery", "delete", there, "--item", "1"],
        "verify": ["verify", there],
        "audit": ["audit", "verify", there],
    }[what]


COMMANDS = ("search", "inquiry", "index", "migrate", "delete", "verify", "audit")


def failed(words: list[str], capsys) -> str:
    """What a command that fails says: one line."""
    assert main(words) == StoreUnavailable.exit_status
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("descry: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("what", COMMANDS)
def test_a_wrong_password_is_told_in_one_line(team, capsys, monkeypatch, what):
    monkeypatch.setenv("PGPASSWORD", "wrong")
    said = failed(command(what, team), capsys)
    assert "~/.pgpass or PGPASSWORD" in said
    assert "wrong" not in said
    monkeypatch.undo()
    with Gallery.open(team[0]) as there:
        assert (len(there), there.verify()) == (6, [])


@pytest.mark.parametrize("what", COMMANDS)
def test_a_server_that_is_not_there_or_frozen_is_told_in_one_line(team, capsys, monkeypatch, postgres_server, what):
    monkeypatch.setattr(stores.Connection, "patience", 1.0)
    monkeypatch.setattr(stores, "CONNECTING", 2)
    postgres_server.signal(signal.SIGSTOP)
    try:
        assert "has not answered for" in failed(command(what, team), capsys)
    finally:
        postgres_server.signal(signal.SIGCONT)
    postgres_server.signal(signal.SIGKILL)
    try:
        assert "cannot be reached or went away" in failed(command(what, team), capsys)
    finally:
        postgres_server.start()
    monkeypatch.undo()
    with Gallery.open(team[0]) as there:
        assert (len(there), there.verify(), Audit(team[0]).verify().ok) == (6, [], True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_migration_whose_server_is_killed_or_frozen_changes_nothing(tmp_path, postgres, postgres_server, monkeypatch,
                                                                      number):  # fmt: skip
    monkeypatch.setattr("descry.gallery.merge.STEP", 10)
    here = filled(tmp_path / "local", 60)
    migrate(tmp_path / "local", postgres)
    here.add(entries(40, start=900), unit_rows(40, seed=4))
    here.release()
    monkeypatch.setattr(stores, "WHOLE", 1.0)

    def ends(done: int, total: int) -> None:
        if done == 70:
            postgres_server.signal(number)

    try:
        with pytest.raises(StoreUnavailable, match=r"went away|has not answered") as error:
            migrate(tmp_path / "local", postgres, progress=ends)
    finally:
        postgres_server.signal(signal.SIGCONT) if number == signal.SIGSTOP else postgres_server.start()
    assert "nothing that was acknowledged is lost" in one_line(error.value)
    there = PostgresStore(postgres)
    assert (there.count(), there.verify()) == (45, [])
    there.close()
    assert (migrate(tmp_path / "local", postgres).copied, here.count()) == (40, 85)
    here.close()


@forks
@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.long)])
def test_a_writer_that_is_killed_leaves_whole_acts(tmp_path, postgres, kills):
    """Killed at any moment while it adds, deletes and writes into the account: what it said is done is there, and what
    is there is whole."""
    PostgresStore.create(postgres, binding()).close()
    rng, told = random.Random(kills), 0
    for round_ in range(kills):
        read, write = os.pipe()

        def work(write: int = write, start: int = 1000 * round_) -> None:
            store = PostgresStore(postgres)
            for number in range(start, start + 1000, 4):
                with store.database.writing():
                    store.add(entries(4, start=number), unit_rows(4, seed=number))
                    store.delete(store.snapshot().ids[:1].tolist())
                    add_line(store.database, "index", of="test")
                os.write(write, bytes(8))

        pid = child(work)
        os.close(write)
        first = b"" if round_ % 2 else os.read(read, 8)  # the even ones live until something is done
        time.sleep((0.2 + 0.3 * rng.random()) if round_ % 2 else 0.1 * rng.random())
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        with os.fdopen(read, "rb") as pipe:
            acknowledged = len(first + pipe.read()) // 8
        told += acknowledged
        store = PostgresStore(postgres)
        before = (0, 0) if round_ == 0 else before  # noqa: F821 - of the round before
        count, lines = store.count(), store.database.state().lines
        done = lines - before[1]
        assert done in (acknowledged, acknowledged + 1)
        assert count - before[0] == 3 * done
        assert store.verify() == []
        before = (count, lines)
        assert Audit(store.database).verify().ok
        store.hold()  # the server has given the dead writer's lock back
        store.close()
    assert told, "no writer lived long enough to say that anything is done"


def test_items_that_somebody_deletes_between_two_rounds(gallery, postgres, model):
    """A liked item goes: the next round says so, and goes on without it."""
    talk = gallery.inquiry("red")
    talk.ask(Query(wanted="a hat"))
    first, second = (int(number) for number in talk.leads.ids[:2])
    talk.mark(like=[first, second])
    with Gallery.open(postgres, model) as other:
        other.delete([first])
    made = talk.ask(Query(wanted="a coat", liked=(first, second)))
    assert first not in {number for number, _ in made.results}
    assert "1 of the 2 items that marks and choices name left the gallery" in talk.leads.note


def test_a_dry_run_makes_no_gallery_and_a_failed_one_leaves_none(tmp_path, crops, postgres, postgres_server, capsys):
    assert main(["index", str(crops), "--out", postgres, "--model", "demo", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 24
    (tmp_path / "empty").mkdir()
    assert main(["index", str(tmp_path / "empty"), "--out", postgres, "--model", "demo"]) != 0
    assert "is it the right folder" in capsys.readouterr().err
    with pytest.raises(UsageError, match="holds no gallery of that name"):
        Gallery.open(postgres)
    assert main(["index", str(crops), "--out", "postgresql://h/d#a b", "--dry-run"]) == 2
    assert "write postgresql://" in capsys.readouterr().err


# ---------------------------------------------------------------------- addresses and patterns


@pytest.mark.parametrize("address", ["postgresql://u:secret@h/d#g", "postgresql://h/d?password=secret#g"])
def test_passwords_do_not_stand_in_addresses(address):
    with pytest.raises(UsageError, match="PGPASSWORD") as error:
        parse(address)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("address", ["postgresql://h#g", "postgresql://h/d#a b", "postgresql://h/d#pg-x"])
def test_addresses_that_cannot_be_meant(address):
    with pytest.raises(UsageError, match="write postgresql://"):
        parse(address)


@pytest.mark.parametrize(
    "address",
    [
        *("postgresql://u@h:5432/d#g", "postgresql:///d#g", "postgresql://u@%2Ftmp%2Fs/d#g"),
        *("postgresql://u@h/d?sslmode=require#g", "milvus://h:19530#g", "milvus+https://h#g", "milvus:/tmp/a.db#g"),
        "milvus:a.db#g",
    ],
)
def test_an_address_survives_being_a_path(address):
    from pathlib import Path

    assert address_of(address) == address_of(Path(address)) == address


@pytest.mark.parametrize("place", ["gallery", "/tmp/postgresql", "C:\\gallery", "postgresql", "postgres.db"])
def test_folders_are_no_addresses(place):
    assert address_of(place) == ""


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.sampled_from("ab/.*?[]^-é猫\\%_+($|"), max_size=8),
    st.lists(st.text(st.sampled_from("ab/.-^]é猫\\%_+($|\n"), min_size=1, max_size=6), min_size=1, max_size=6),
)
def test_path_patterns_mean_what_they_mean_locally(pattern, paths):
    """As SQLite's GLOB, over the same bytes; compared with Python's regular expressions, which agree on these."""
    made = re.compile(regex_of(pattern), re.DOTALL)
    for path in paths:
        local = sqlite3.connect(":memory:").execute("SELECT ? GLOB ?", (path, pattern)).fetchone()[0]
        assert bool(made.fullmatch(os.fsencode(path).decode("latin-1"))) == bool(local), (pattern, path)


def test_ranges_of_characters_end_where_they_end_locally():
    letters = "\x01 !-/09A]^az\x7f\x80\xbf\xc0éÿĀſ߿ࠀ࿿က、中猫龥\ud7ff\ue000\uffff\U00010000😀\U000fffff\U0010ffff"
    local = sqlite3.connect(":memory:")
    for first in letters:
        for last in letters:
            for pattern in (f"[{first}-{last}]", f"[^{first}-{last}]"):
                made = re.compile(regex_of(pattern), re.DOTALL)
                asked = [local.execute("SELECT ? GLOB ?", (one, pattern)).fetchone()[0] for one in letters]
                assert [bool(made.fullmatch(os.fsencode(one).decode("latin-1"))) for one in letters] == asked, pattern


def test_path_patterns_over_any_bytes(gallery, crops):
    names = ["é.png", "a[b].png", os.fsdecode(b"caf\xe9.png")]
    for i, name in enumerate(names):
        draw(crops / "odd" / "x.png", 700 + i).rename(crops / "odd" / name)
    gallery.index(crops)
    cases = {
        "odd/[a-龥].png": 1,
        "odd/[!-ê].png": 1,
        "odd/[ê-龥].png": 0,
        "odd/[^b-龥]*": 1,
        "odd/*": 3,
        "odd/é.png": 1,
        "odd/?.png": 1,
        "a[[]b].png": 1,
        "odd/caf?.png": 1,
        "nothing/*": 0,
    }
    for pattern, count in cases.items():
        assert len(list(gallery.listed(Filters(path=pattern)))) == count, pattern


# ---------------------------------------------------------------------- the commands


def test_the_commands_take_the_address(tmp_path, toy, postgres, capsys, monkeypatch):
    from tests.conftest import write_small_gallery

    monkeypatch.chdir(tmp_path)
    root = write_small_gallery(tmp_path, toy)
    base = postgres.partition("#")[0]

    def told(*words: str) -> str:
        assert main([*words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    assert "6 copied" in told("migrate", str(root / "gallery"), "--to", base, "--name", "team")
    there = f"{base}#team"
    local = json.loads(told("search", str(root / "gallery"), "a red top", "--json"))["results"]
    found = json.loads(told("search", there, "a red top", "--json"))["results"]
    assert [row["id"] for row in found] == [row["id"] for row in local]
    assert json.loads(told("gallery", "info", there, "--json"))["items"] == 6
    assert len(told("gallery", "list", there).splitlines()) == 6
    assert "every byte as it was written" in told("verify", there)
    told("inquiry", "new", there, "red", "--text", "a red top")
    told("inquiry", "refine", there, "red", "no hat")
    assert "red" in told("inquiry", "list", there)
    assert len(told("inquiry", "show", there, "red").splitlines()) == 6
    told("report", there, "red", "--out", str(tmp_path / "r.html"))
    assert "red" in (tmp_path / "r.html").read_text()
    assert "lines" in told("audit", "verify", there)
    told("purge", there, "red")
    assert "red" not in told("inquiry", "list", there)
    assert json.loads(told("index", str(root / "crops"), "--out", there, "--json"))["unchanged"] == 6
    told("compact", there)
    assert main(["gallery", "calibrate", there]) == 2
    assert "calibrate the local gallery" in capsys.readouterr().err
    told("gallery", "delete", there, "--item", str(found[0]["id"]))
    told("gallery", "delete", there, "--everything", "--confirm", "team")
    assert main(["gallery", "info", there]) == 2
    assert "holds no gallery" in capsys.readouterr().err


def test_an_address_stands_whole_in_every_message(tmp_path, toy, postgres, capsys, monkeypatch):
    """A path would have lost one of its slashes, and what somebody copies from a message would name nothing."""
    from tests.conftest import write_small_gallery

    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    root = write_small_gallery(tmp_path, toy)
    there = f"{postgres.partition('#')[0]}#whole"
    assert main(["migrate", str(root / "gallery"), "--to", there]) == 0
    assert main(["inquiry", "new", there, "x", "--text", "red"]) == 0
    capsys.readouterr()
    gone = there.replace("#whole", "#nobody")
    tried = [
        *(["gallery", "frame", there, "99"], ["gallery", "delete", there, "--item", "99"]),
        *(["gallery", "relocate", there, "/nowhere", str(root)], ["gallery", "delete", there, "--everything"]),
        *([verb, *more, gone] for verb, *more in (["inquiry", "list"], ["audit", "verify"], ["verify"], ["compact"])),
        *(["purge", there, "--inquiry", "nobody"], ["report", there, "nobody", "-o", str(tmp_path / "r.html")]),
        *(["finding", there, "nobody"], ["keep", there, "nobody", "--until", "never"], ["gallery", "list", there]),
        *(["gallery", "calibrate", there], ["index", str(root / "none"), "--out", there], ["purge", there]),
        *(["inquiry", "show", there, "nobody"], ["gallery", "info", there], ["verify", there], ["purge", there, "x"]),
    ]
    named = 0
    for args in tried:
        main(args)
        said = "".join(capsys.readouterr()).replace(there, "ADDRESS").replace(gone, "ADDRESS")
        assert "postgresql:" not in said, (args, said)
        named += "ADDRESS" in said
    assert named >= 6
    with Gallery.open(there) as gallery:
        assert there in str(gallery.store.rows._corrupt("a vector"))


def test_the_page_works_for_a_team(tmp_path, postgres):
    """Rounds, items and findings over HTTP, of two servers of one gallery."""
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    from served import make_gallery
    from web.in_process import Server as Page
    from web.in_process import ask

    make_gallery(tmp_path, 4, 3).close()
    migrate(tmp_path / "gallery", postgres)
    pages = [Page(tmp_path / "gallery"), Page(postgres), Page(postgres)]
    for page in pages:
        page.desk.warm()
    local, one, other = (page.client(Authorization=f"Bearer {page.token}") for page in pages)
    with local, one, other:
        numbers = [c.post("/api/v1/inquiries", json={"name": "red"}).json()["id"] for c in (local, one)]
        rounds = [ask(c, number, "a red jacket", "-hat") for c, number in zip((local, one), numbers, strict=True)]
        shown = [[row["item"]["id"] for row in made["results"]["leads"]] for made in rounds]
        assert shown[0] == shown[1]
        assert len(shown[1]) == 12
        assert [row["name"] for row in other.get("/api/v1/inquiries").json()["inquiries"]] == ["red"]
        again = ask(other, numbers[1], "a coat")
        assert again["number"] == 2
        gallery = one.get("/api/v1/galleries").json()["galleries"][0]["id"]
        item = one.get(f"/api/v1/galleries/{gallery}/items/{shown[1][0]}")
        assert (item.status_code, item.json()["camera"] != "") == (200, True)
        facets = one.get(f"/api/v1/galleries/{gallery}/facets").json()
        assert facets.get("total") == 12, facets
    for page in pages:
        page.gallery.close()
    assert Audit(postgres).verify().ok
