"""Findings, dates and keys: kept beside the rounds, and the lines of the account that a saved round makes."""

from __future__ import annotations

import json
import sqlite3
from datetime import date
from pathlib import Path

import pytest

from descry.errors import DescryError, LimitExceeded, UsageError
from descry.gallery import account as audit
from descry.gallery.account import Audit, canonical, commitment, key_of_day
from descry.interact.rounds import Inquiry
from descry.interact.session import Session
from descry.interact.store import MAX_FINDINGS, Finding, InquiryStore
from descry.query import Query


@pytest.fixture
def store(tmp_path: Path):
    opened = InquiryStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def session(space, model, store) -> Session:
    made = Session(space, model, Inquiry("case 1"), store, k=20)
    made.ask(Query(sketches=b"drawing", wanted="red jacket"))
    return made


def lines(store: InquiryStore) -> list[dict]:
    return [json.loads(raw) for raw in Audit(store.database).read().splitlines()]


def test_findings_survive_a_restart_and_belong_to_their_inquiry(session, space, model, store, tmp_path) -> None:
    kept = store.find("case 1", Finding(12, "worth following", "a bag", 1, "ab" * 32))
    assert kept.at.endswith("+00:00")
    store.find("case 1", Finding(11, "set aside"))
    Session(space, model, Inquiry("case 2"), store).ask(Query(wanted="hat"))
    again = InquiryStore(tmp_path)
    assert [f.item for f in again.findings("case 1")] == [11, 12]
    assert again.findings("case 1")[1] == kept
    assert again.findings("case 2") == []
    changed = again.find("case 1", Finding(12, "set aside", "another bag", 1))
    assert again.findings("case 1")[1] == changed
    assert again.unfind("case 1", 12)
    assert not again.unfind("case 1", 12)
    assert again.about("case 1").findings == 1
    again.delete("case 1")
    again.close()
    assert store._db.execute("SELECT count(*) FROM findings").fetchone() == (0,)


def test_findings_refuse_what_cannot_be_meant(session, store, monkeypatch) -> None:
    with pytest.raises(UsageError, match="did you mean 'set aside'"):
        Finding(1, "set asid")
    Finding(1, "set aside", "x" * 1000)
    with pytest.raises(LimitExceeded, match="1001 characters"):
        Finding(1, "set aside", "x" * 1001)
    with pytest.raises(UsageError, match="no inquiry 'x'"):
        store.find("x", Finding(1, "set aside"))
    monkeypatch.setattr("descry.interact.store.MAX_FINDINGS", 2)
    for item in (1, 2, 2):
        store.find("case 1", Finding(item, "set aside"))
    with pytest.raises(LimitExceeded, match="2 findings"):
        store.find("case 1", Finding(3, "set aside"))
    assert MAX_FINDINGS == 500


def test_an_inquiry_knows_its_dates(session, store) -> None:
    about = store.about("case 1")
    assert about.begun == about.touched or about.begun < about.touched
    assert (about.rounds, about.findings, about.keep_until) == (1, 0, "")
    store.keep_until("case 1", date(2027, 1, 31))
    assert store.about("case 1").keep_until == "2027-01-31"
    session.refine("hat")
    assert store.about("case 1").keep_until == "2027-01-31"
    store.keep_until("case 1", None)
    assert store.about("case 1").to_json()["keep_until"] == ""


def test_each_round_is_accounted_for_and_can_be_proved_with_the_key_alone(session, store) -> None:
    session.refine("no backpack")
    session.undo()
    session.mark(like=[12])
    told = lines(store)
    assert [(row["what"], row["round"], row["parent"]) for row in told] == [
        ("search", 1, 0), ("search", 2, 1), ("search", 3, 1)
    ]  # fmt: skip
    first, key = session.inquiry.rounds[1], store.key("case 1")
    said = first.query.to_json()
    assert told[0]["inquiry"] == store.about("case 1").ref
    assert told[0]["pictures"] == [commitment(key, "picture", said["sketches"][0]["sha256"])]
    assert told[0]["query"] == commitment(key, "query", canonical(said))
    assert told[0]["results"] == commitment(key, "results", canonical([[i, s] for i, s in first.results]))
    raw = Audit(store.database).read()
    for secret in (
        b"case 1",
        b"red",
        b"backpack",
        b"drawing",
        said["sketches"][0]["sha256"].encode(),
        key.hex().encode(),
    ):
        assert secret not in raw
    assert Audit(store.database).verify().ok


def test_a_search_that_cannot_be_accounted_for_is_not_kept(session, store, monkeypatch) -> None:
    def fail(*args: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(audit, "Line", fail)
        with pytest.raises(DescryError, match="is full; what was committed before is kept"):
            session.refine("hat")
    assert sorted(store.load("case 1").rounds) == [1]
    assert Audit(store.database).verify().lines == 1


def test_two_inquiries_have_two_keys(session, space, model, store) -> None:
    Session(space, model, Inquiry("case 2"), store).ask(Query(sketches=b"drawing", wanted="red jacket"))
    one, other = lines(store)
    for name in ("inquiry", "query", "pictures"):
        assert one[name] != other[name], "the same search tells nothing about the other one"
    assert key_of_day(store.database) == key_of_day(store.database) != store.key("case 1")


def test_what_was_deleted_is_not_written_anew_by_one_who_still_holds_it(session, space, model, store, tmp_path) -> None:
    other = InquiryStore(tmp_path)
    held = Session(space, model, other.load("case 1"), other)
    session.refine("hat")
    session.delete(2)
    held.inquiry.rounds |= {2: session.inquiry.rounds[1]}
    store.delete("case 1")
    with pytest.raises(UsageError, match="deleted meanwhile"):
        held.refine("bag")
    Session(space, model, Inquiry("case 1"), store).ask(Query(wanted="another one of that name"))
    with pytest.raises(UsageError, match="deleted meanwhile"):
        held.refine("bag")
    other.close()
    assert len(store.load("case 1").rounds) == 1


def test_rounds_that_were_deleted_are_not_written_anew(session, space, model, store, tmp_path) -> None:
    session.refine("hat")
    other = InquiryStore(tmp_path)
    held = Session(space, model, other.load("case 1"), other)
    session.delete(2)
    with pytest.raises(UsageError, match=r"round 2 .* deleted meanwhile"):
        held.refine("bag")
    other.close()
    assert sorted(store.load("case 1").rounds) == [1]
