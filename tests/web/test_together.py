"""The page and the command line at one inquiry in turns, and searches that the account has no room for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from descry.gallery import account
from descry.gallery.account import Audit
from descry.interact.rounds import Inquiry
from descry.interact.session import Session
from descry.interact.store import InquiryStore
from descry.query import Query

from .in_process import Server, ask


@pytest.fixture
def elsewhere(server: Server) -> Iterator[InquiryStore]:
    """The file of inquiries, as another process has it open."""
    opened = InquiryStore(server.gallery.path)
    yield opened
    opened.close()


def terminal(server: Server, store: InquiryStore) -> Session:
    """What `descry inquiry` opens."""
    return Session(server.desk.space(), server.gallery.model, store.load("test"), store, 50)


def tree(client, inquiry: str) -> list[tuple[int, str]]:
    return [(row["number"], row["change"]) for row in client.get(f"/api/v1/inquiries/{inquiry}").json()["rounds"]]


def test_page_and_command_line_take_turns_and_lose_nothing(server, client, inquiry, elsewhere) -> None:
    base = f"/api/v1/inquiries/{inquiry}"
    ask(client, inquiry, "red jacket")
    shell = terminal(server, elsewhere)
    shell.refine("hat")
    shell.refine("bag")
    made = ask(client, inquiry, "coat")
    assert (made["number"], made["parent"]) == (4, 3)
    shell = terminal(server, elsewhere)
    shell.refine("scarf")
    assert client.put(f"{base}/head", json={"step": "undo"}).json()["number"] == 4
    shell = terminal(server, elsewhere)
    shell.go(2)
    marked = client.put(f"{base}/marks/{shell.inquiry.current.ids[3]}", json={"mark": "like"}).json()
    assert (marked["number"], marked["parent"]) == (6, 2)
    assert [n for n, _ in tree(client, inquiry)] == [1, 2, 3, 4, 5, 6]
    assert sorted(elsewhere.load("test").rounds) == [1, 2, 3, 4, 5, 6]
    assert Audit(elsewhere.database).verify().lines == 7, "the run of the indexer, and six rounds"


def test_what_the_command_line_deleted_is_gone_from_the_page(server, client, inquiry, elsewhere) -> None:
    base = f"/api/v1/inquiries/{inquiry}"
    for said in ("red jacket", "hat"):
        ask(client, inquiry, said)
    terminal(server, elsewhere).delete(2)
    assert client.get(f"{base}/rounds/2").status_code == 404
    assert ask(client, inquiry, "bag")["number"] == 3
    elsewhere.delete("test")
    assert client.get(base).status_code == 404
    assert client.put(f"{base}/head", json={"step": "undo"}).status_code == 404


@pytest.mark.parametrize("where", ["page", "terminal"])
def test_an_inquiry_begun_anew_under_an_old_name_has_rankings_of_its_own(
    server, client, inquiry, elsewhere, where: str
) -> None:
    deepest = {"cursor": "0", "limit": 72}
    for said in ("red jacket", "hat"):
        ask(client, inquiry, said)
    assert len(client.get(f"/api/v1/inquiries/{inquiry}/rounds/2/results", params=deepest).json()["leads"]) == 72
    elsewhere.delete("test")
    if where == "page":
        assert client.post("/api/v1/inquiries", json={"name": "test"}).json()["id"] == inquiry
        for said in ("green coat", "blue skirt"):
            ask(client, inquiry, said)
    else:
        shell = Session(server.desk.space(), server.gallery.model, Inquiry("test"), elsewhere, 50)
        for said in ("green coat", "blue skirt"):
            shell.ask(Query(wanted=said))
    leads = client.get(f"/api/v1/inquiries/{inquiry}/rounds/2/results", params=deepest).json()["leads"]
    assert len(leads) == 72
    for lead in leads:
        assert abs(sum(lead["shares"]) - lead["score"]) < 1e-3, "shares of another round"


def test_a_search_the_account_has_no_room_for_is_nowhere(client, inquiry, elsewhere, monkeypatch) -> None:
    base = f"/api/v1/inquiries/{inquiry}"
    ask(client, inquiry, "red jacket")
    second = ask(client, inquiry, "hat")
    before, item = tree(client, inquiry), second["results"]["leads"][3]["item"]["id"]

    def full(*args: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    coat = {"phrases": [{"text": "coat"}]}
    question = client.get(f"{base}/question").json()["question"]["key"]
    with monkeypatch.context() as patch:
        patch.setattr(account, "Line", full)
        for body in (coat, coat | {"replace": 2}, coat | {"parent": 1}):
            assert client.post(f"{base}/rounds", json=body).status_code == 500
        assert client.put(f"{base}/marks/{item}", json={"mark": "like"}).status_code == 500
        assert client.post(f"{base}/closest", json={"item": item}).status_code == 500
        assert client.post(f"{base}/answers", json={"key": question, "answer": "no"}).status_code == 500
    assert tree(client, inquiry) == before
    assert client.get(base).json()["head"] == 2, "the place in the tree has not moved either"
    assert client.get(f"{base}/rounds/3").status_code == 404
    assert elsewhere.on_show("test") == 2
    ask(client, inquiry, "scarf")
    assert sorted(elsewhere.load("test").rounds) == [1, 2, 3]
    assert Audit(elsewhere.database).verify().lines == 4, "the run of the indexer, and three rounds"
