"""A gallery in PostgreSQL: the answers of the local one, one transaction an act, and one line for whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import threading
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.cli import main
from descry.errors import DescryError, IndexMismatch, Locked, ReadOnly, StoreUnavailable, UsageError
from descry.gallery import Gallery
from descry.gallery.account import Audit
from descry.gallery.contract import changed
from descry.gallery.local import LocalStore
from descry.gallery.scan import answer
from descry.query import Filters, Query
from descry.ranking import FORMULA
from descry.safe_files import address_of
from descry.search import Term
from descry_stores.migrate import migrate

from .plain_model import PlainModel, binding, draw, entries, unit_rows

pytest.importorskip("psycopg", reason="psycopg is not installed (pip install -e '.[postgres]')")
from descry_stores import postgres as stores
from descry_stores.postgres import PostgresStore, parse, regex_of

DAY = datetime(2026, 1, 1)


def crowd(count: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    """(count, dimension) unit rows in clusters, some equal: as people who are seen again and again."""
    rng = np.random.default_rng(seed)
    rows = unit_rows(max(1, count // 6), dimension, seed)[rng.integers(0, max(1, count // 6), count)]
    rows = rows + rng.choice([0.0, 0.15], (count, 1)) * rng.normal(size=rows.shape) / np.sqrt(dimension) * 4
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def filled(place, count: int, dimension: int = 32) -> LocalStore:
    """A local store of that many items, of nine cameras and ninety days; some of unknown camera or time."""
    store = LocalStore.create(place, binding(dimension))
    made = [
        changed(
            e,
            camera=f"cam{i % 9}" if i % 11 else "",
            time=DAY + timedelta(days=i % 90, minutes=i) if i % 7 else None,
            path=f"/crops/{'abc'[i % 3]}/{i:07d}.jpg",
        )
        for i, e in enumerate(entries(count))
    ]
    store.add(made, crowd(count, dimension))
    store.delete(store.snapshot().ids[5:20].tolist())  # ids and rows differ
    store.release()
    return store


FILTERS = (
    Filters(),
    Filters(cameras=("cam1",)),
    Filters(cameras=("cam2", "")),
    Filters(since=DAY + timedelta(days=8), until=DAY + timedelta(days=14)),
    Filters(path="b/*"),
)


def asked(kind: str, rng: np.random.Generator, ids: np.ndarray, dimension: int) -> tuple[list[Term], Query]:
    """A query of a kind as terms and marks."""
    draw_one = iter(unit_rows(9, dimension, int(rng.integers(1 << 31))))
    sketch = Term("sketch", "sketch", 1.0, next(draw_one))
    words = [Term("text", f"w{i}", 1.0, next(draw_one), "evidence") for i in range(2)]
    no = Term("not", "n", 1.0, next(draw_one), "not")
    marks = rng.choice(ids, 4, replace=False).tolist()
    kinds = {
        "sketch": ([sketch], {}),
        "phrase": ([words[0]], {}),
        "two phrases": (words, {}),
        "no": ([no], {}),
        "sketch and words": ([sketch, *words], {}),
        "sketch, words and no": ([sketch, *words, no], {}),
        "round": (
            [sketch, *words, no],
            {"liked": tuple(marks[:2]), "unliked": (marks[2],), "closest": (marks[3],)},
        ),
    }
    terms, said = kinds[kind]
    return terms, Query(**said, filters=FILTERS[int(rng.integers(len(FILTERS)))])


KINDS = ("sketch", "phrase", "two phrases", "no", "sketch and words", "sketch, words and no", "round")


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
    here.add([changed(entries(60)[40], path="/crops/b/0000040.jpg", camera="moved")], unit_rows(1, seed=9))
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
    monkeypatch.setattr("descry.gallery.account.sealed", lambda row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gallery.delete(ids[:3])
    monkeypatch.undo()
    assert (len(gallery), gallery.store.database.state().lines) == (24, lines)
    assert gallery.purge(ids[:3]) == 3
    assert (len(gallery), gallery.store.database.state().lines) == (21, lines + 1)


def test_many_write_at_once_and_nothing_is_lost(gallery):
    def work(number: int) -> None:
        for _ in range(5):
            Audit(gallery.store.database).append("export", of="audit", who=number)

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
            Audit(gallery.store.database).append("export", of="audit")
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


def test_path_patterns_over_any_bytes(gallery, crops):
    names = ["é.png", "a[b].png", os.fsdecode(b"caf\xe9.png")]
    for i, name in enumerate(names):
        draw(crops / "odd" / "x.png", 700 + i).rename(crops / "odd" / name)
    gallery.index(crops)
    cases = {"odd/*": 3, "odd/é.png": 1, "odd/?.png": 1, "a[[]b].png": 1, "odd/caf?.png": 1, "nothing/*": 0}
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
