"""Rounds that are kept: items that leave the gallery, rounds of the command line, filters that leave nothing."""

from __future__ import annotations

from contextlib import contextmanager

from descry.gallery import Gallery
from descry.gallery.scan import Rows
from descry.interact.rounds import Inquiry
from descry.interact.session import Session
from descry.interact.store import InquiryStore
from descry.query import Filters, Query
from descry.search import rank as search
from descry.web.desk import identity
from served import toy_model

from .in_process import Server, ask


@contextmanager
def restarted(folder):
    server = Server(folder)
    with server.client(Authorization=f"Bearer {server.token}") as client:
        server.desk.warm()
        yield client
    server.gallery.close()


def ids_of(page):
    return [lead["item"]["id"] for lead in page["leads"]]


def test_an_item_that_leaves_locks_no_inquiry(client, inquiry, server, folder):
    base = f"/api/v1/inquiries/{inquiry}"
    ids = ids_of(ask(client, inquiry, "red jacket")["results"])
    gone, liked, rival = ids[3], ids[5], ids[7]
    assert client.put(f"{base}/marks/{liked}", json={"mark": "like"}).status_code == 200
    chosen = client.post(f"{base}/closest", json={"item": gone}).json()
    shown = ids_of(chosen["results"])
    assert chosen["note"] == ""
    assert server.gallery.delete([gone, liked, rival]) == 3
    with restarted(folder) as again:
        found = again.get(f"{base}/rounds/3")
        assert found.status_code == 200, found.text
        found = found.json()
        assert ids_of(found["results"]) == [i for i in shown if i not in (gone, liked, rival)], "the stored order"
        assert found["note"].startswith("3 of the ")
        assert found["replayable"] is False
        assert again.get(f"{base}/rounds/3/results", params={"limit": 200}).status_code == 200
        assert again.get(f"{base}/question").status_code == 200
        more = ask(again, inquiry, "red jacket", "-hat")
        assert more["total"] == 69
        assert more["note"].startswith("3 of the ")
        refused = again.post(f"{base}/closest", json={"item": gone})
        assert (refused.status_code, refused.json()["code"]) == (422, "usage")
        cleared = again.delete(f"{base}/marks/{gone}").json()
        assert cleared["query"]["closest"] == []
        assert cleared["note"].startswith("1 of the "), "the like is still named, the choice is not"
        for wrong in (gone, 10**9):
            refused = again.put(f"{base}/marks/{wrong}", json={"mark": "like"})
            assert f"holds no item {wrong}" in refused.json()["detail"]


def test_a_round_of_nothing_but_marks_is_shown_as_stored_when_they_left(client, inquiry, server, folder):
    base = f"/api/v1/inquiries/{inquiry}"
    made = ask(client, inquiry, liked=[7])["results"]
    assert server.gallery.delete([7]) == 1
    with restarted(folder) as again:
        found = again.get(f"{base}/rounds/1").json()
        assert ids_of(found["results"]) == [i for i in ids_of(made) if i != 7]
        assert {tuple(lead["shares"]) for lead in found["results"]["leads"]} == {()}
        assert (found["results"]["cursor"], found["levels"]) == ("", [])
        assert "nothing" in found["note"]
        assert again.get(f"{base}/rounds/1/contributions/9").status_code == 404
        assert again.get(f"{base}/question").status_code == 200
        assert ask(again, inquiry, "red jacket")["number"] == 2
    server.gallery.delete(server.gallery.snapshot().ids)
    with restarted(folder) as again:
        assert again.get(f"{base}/rounds/2").json()["results"]["leads"] == []


def test_a_short_round_of_the_command_line_goes_on(folder):
    narrow = Filters(cameras=("north gate",))
    with Gallery.open(folder, toy_model()) as gallery:
        store = InquiryStore(folder)
        session = Session(Rows(gallery.store, gallery.snapshot()), gallery.model, Inquiry("typed"), store, k=20)
        session.ask(Query(wanted="red jacket"))
        first = session.ask(Query(wanted="red jacket", filters=narrow))
        session.mark(unlike=first.ids[:2])
        rounds = session.inquiry.rounds
        truth = {n: search(session.space, session.terms(r.query), r.query, 72).ids.tolist() for n, r in rounds.items()}
        store.close()
    assert (len(truth[1]), len(truth[2])) == (72, 24)
    assert 20 < len(truth[3]) <= 22, "more than the round keeps, fewer than the filters let through"
    inquiry = f"/api/v1/inquiries/{identity('typed')}"
    with restarted(folder) as client:
        for number in (3, 2, 1):
            page = client.get(f"{inquiry}/rounds/{number}").json()["results"]
            assert page["available"] == len(truth[number])
            ids, cursor = ids_of(page), page["cursor"]
            while cursor:
                page = client.get(f"{inquiry}/rounds/{number}/results", params={"cursor": cursor, "limit": 7}).json()
                ids, cursor = ids + ids_of(page), page["cursor"]
            assert ids == truth[number]
            whole = client.get(f"{inquiry}/rounds/{number}/results", params={"limit": 200}).json()
            assert (ids_of(whole), whole["cursor"], whole["available"]) == (ids, "", len(ids))


def test_only_marked_and_nothing_marked_says_so(client, inquiry):
    made = ask(client, inquiry, "hat", filters={"marked": True})
    assert made["results"]["leads"] == []
    assert made["removed"] == {"marked": 72}
    both = ask(client, inquiry, "hat", liked=[3], filters={"marked": True, "since": "2027-01-01T00:00:00"})
    assert both["removed"] == {"since": 72, "marked": 71}
    others = ask(client, inquiry, "hat", liked=[3], filters={"marked": False, "since": "2027-01-01T00:00:00"})
    assert others["removed"] == {"since": 72, "marked": 1}
