"""One file of inquiries and several who write it: nobody's rounds are lost, a failed save changes nothing, and a file
that is locked or full is not called damaged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from descry import purge
from descry.errors import DescryError, IndexCorrupt, Locked, UsageError
from descry.gallery import account
from descry.gallery.account import Audit, key_of_day
from descry.gallery.database import NAME as NAME_OF_FILE
from descry.interact.rounds import Inquiry
from descry.interact.session import Session
from descry.interact.store import InquiryStore
from descry.query import Query

NAME = "case 1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[InquiryStore]:
    opened = InquiryStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def session(space, model, store: InquiryStore) -> Session:
    made = Session(space, model, Inquiry(NAME), store, k=20)
    made.ask(Query(sketches=b"drawing", wanted="red jacket"))
    return made


@pytest.fixture
def other(session: Session, space, model, tmp_path: Path) -> Iterator[Session]:
    """Another process that opened the same inquiry."""
    opened = InquiryStore(tmp_path)
    yield Session(space, model, opened.load(NAME), opened, k=20)
    opened.close()


def everything(session: Session) -> tuple:
    inquiry = session.inquiry
    return dict(inquiry.rounds), inquiry.head, inquiry.last, dict(inquiry.visited), list(session._leads)


# ---------------------------------------------------------------------- two processes on one inquiry


@pytest.mark.parametrize("act", ["search", "delete", "undo"])
def test_rounds_of_another_process_are_neither_deleted_nor_hidden(session, other, store, act: str) -> None:
    session.refine("hat")
    other.refresh()
    other.refine("bag")
    other.refine("scarf")
    before = everything(session)
    with pytest.raises(Locked, match=r"changed by another process.*load the inquiry again"):
        {"search": lambda: session.refine("coat"), "delete": lambda: session.delete(2), "undo": session.undo}[act]()
    assert everything(session) == before, "what could not be saved was not done"
    assert {n: r.change for n, r in store.load(NAME).rounds.items()} == {
        n: r.change for n, r in other.inquiry.rounds.items()
    }
    assert sorted(other.inquiry.rounds) == [1, 2, 3, 4]
    assert Audit(store.database).verify().lines == 4


def test_a_session_goes_on_with_what_another_process_made(session, other, store) -> None:
    assert not session.refresh(), "nothing has changed"
    other.refine("bag")
    assert session.refresh()
    assert session.inquiry.current == other.inquiry.current
    assert session.refine("hat").number == 3
    session.delete(2)
    assert other.refresh()
    assert other.refine("scarf").number == 4
    other.undo()
    assert session.refresh(), "another round is on show"
    assert session.inquiry.head == other.inquiry.head
    assert sorted(store.load(NAME).rounds) == [1, 4]


def test_an_inquiry_of_a_name_that_is_taken_is_not_saved_over_it(session, space, model, store) -> None:
    with pytest.raises(UsageError, match=r"there is an inquiry 'case 1' already"):
        Session(space, model, Inquiry(NAME), store).ask(Query(wanted="hat"))
    assert store.load(NAME).current == session.inquiry.current


# ---------------------------------------------------------------------- what cannot be saved is not done


@pytest.mark.parametrize("begun", [True, False])
def test_a_search_without_its_line_in_the_account_is_in_no_memory_either(
    space, model, store, monkeypatch, begun: bool
) -> None:
    session = Session(space, model, Inquiry(NAME), store, k=20)
    if begun:
        session.ask(Query(wanted="red jacket"))
    before = everything(session)

    def full(*args: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(account, "Line", full)
        for _ in range(2):
            with pytest.raises(DescryError, match="is full; what was committed before is kept"):
                session.ask(Query(wanted="hat"))
        if begun:
            with pytest.raises(DescryError, match="is full; what was committed before is kept"):
                session.mark(like=[10])
    assert everything(session) == before
    made = session.ask(Query(wanted="coat"))
    assert made.number == len(store.load(NAME).rounds) == Audit(store.database).verify().lines == 1 + begun


def test_a_search_elsewhere_in_the_tree_that_fails_leaves_the_place_alone(session, store, monkeypatch) -> None:
    session.refine("hat")
    assert session.ask(Query(wanted="coat"), below=1).parent == 1
    assert session.ask(Query(wanted="coat"), below=0).parent == 0
    before = everything(session)
    with pytest.raises(UsageError, match="empty"):
        session.ask(Query(), below=1)
    with pytest.raises(UsageError, match="no round 9"):
        session.ask(Query(wanted="coat"), below=9)
    assert everything(session) == before


# ---------------------------------------------------------------------- locked, full, damaged


def test_a_file_that_is_locked_is_not_called_damaged(session, store, tmp_path) -> None:
    store._db.execute("PRAGMA busy_timeout = 10")
    holder = sqlite3.connect(tmp_path / NAME_OF_FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    reads = [store.names, lambda: store.load(NAME), lambda: store.about(NAME), lambda: store.findings(NAME)]
    reads += [lambda: store.on_show(NAME), lambda: store.key(NAME), lambda: purge.rounds_with(store, ())]
    reads += [lambda: purge._before(store.database, date(2027, 1, 1))]
    reads += [lambda: purge.findings_on(store, (), ()), lambda: InquiryStore(tmp_path).close()]
    for act in reads:
        act()  # whoever reads is not kept waiting by a writer
    writes = [lambda: session.refine("hat"), lambda: store.delete(NAME), lambda: store.keep_until(NAME, None)]
    writes += [lambda: store.unfind(NAME, 1), store.database.scrub, lambda: key_of_day(store.database)]
    for act in writes:
        with pytest.raises(Locked) as refused:
            act()
        assert "move it away" not in str(refused.value)
    holder.close()
    assert session.refine("hat").number == 2
    assert store.names() == [NAME]


def test_a_reader_blocks_no_commit(session, store, tmp_path) -> None:
    store._db.execute("PRAGMA busy_timeout = 10")
    reader = sqlite3.connect(tmp_path / NAME_OF_FILE, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM rounds").fetchone()
    assert session.refine("hat").number == 2
    reader.close()
    assert session.refine("bag").number == 3
    assert sorted(store.load(NAME).rounds) == [1, 2, 3]


def test_a_full_disk_is_called_full_and_what_was_kept_stays(session, store) -> None:
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DescryError, match="full; what was committed before is kept") as refused:
        session.ask(Query(sketches=b"x" * 100_000))
    assert type(refused.value) is DescryError
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert session.ask(Query(sketches=b"x" * 100_000)).number == 2
    assert sorted(store.load(NAME).rounds) == [1, 2]


def test_what_is_no_database_or_a_damaged_one_is_said_and_left_alone(store, session, tmp_path) -> None:
    whole = (tmp_path / NAME_OF_FILE).read_bytes()
    text = b"this is a text file, and not a small one " * 100
    for name, data in (("text", text), ("foreign", b""), ("spoilt", whole[:4096] + b"\xff" * (len(whole) - 4096))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / NAME_OF_FILE).write_bytes(data)
        shutil.copy(tmp_path / "head", folder)
        with pytest.raises(IndexCorrupt, match="restore"):
            InquiryStore(folder).names()
        assert (folder / NAME_OF_FILE).read_bytes() == data or not data
    with pytest.raises((DescryError, OSError)):
        InquiryStore(tmp_path / "nowhere" / "deeper")
    assert store.names() == [NAME]
