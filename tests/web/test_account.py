"""Findings, report, retention, purge and the account over HTTP."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import pytest

from descry.gallery.account import Audit

from .in_process import Server, ask, png, upload

BASE = "/api/v1/inquiries"


def find(client, inquiry, item, verdict="worth following", **body):
    return client.put(f"{BASE}/{inquiry}/findings/{item}", json={"verdict": verdict} | body)


def found(client, inquiry):
    return client.get(f"{BASE}/{inquiry}/findings").json()["findings"]


def test_a_finding_is_kept_replaced_and_taken_back(client, inquiry):
    lead = ask(client, inquiry, "red jacket")["results"]["leads"][3]
    made = find(client, inquiry, lead["item"]["id"], note="  same bag ", round=1).json()
    assert made["item"] == lead["item"]
    assert (made["verdict"], made["note"], made["round"], made["changed"]) == ("worth following", "same bag", 1, False)
    find(client, inquiry, lead["item"]["id"], "set aside")
    assert [(f["id"], f["verdict"], f["note"]) for f in found(client, inquiry)] == [
        (lead["item"]["id"], "set aside", "")
    ]
    assert client.delete(f"{BASE}/{inquiry}/findings/{lead['item']['id']}").status_code == 204
    assert found(client, inquiry) == []
    assert client.delete(f"{BASE}/{inquiry}/findings/{lead['item']['id']}").status_code == 404


def test_what_is_no_finding_is_refused(client, inquiry):
    assert find(client, inquiry, 1, "match").status_code == 422
    assert find(client, inquiry, 1, note="x" * 1000).status_code == 200
    assert find(client, inquiry, 1, note="x" * 1001).status_code == 422
    assert find(client, inquiry, 999_999).status_code == 404
    assert find(client, "0" * 16, 1).status_code == 404


def test_a_finding_says_when_its_picture_is_gone_or_another(client, inquiry, server):
    find(client, inquiry, 1)
    find(client, inquiry, 2)
    store = server.gallery.store
    with store.database.reading() as connection:
        row = connection.execute("SELECT path, size, mtime FROM items WHERE id = 2").fetchone()
    from descry.gallery.contract import Entry

    entry = replace(Entry(row[0].decode(), b"x" * 32, row[1], row[2]))
    store.add([entry], store.vectors([2]))
    server.gallery.delete([1])
    store.release()
    assert [(f["id"], f["item"] is None, f["changed"]) for f in found(client, inquiry)] == [
        (1, True, False),
        (2, False, True),
    ]


@pytest.mark.parametrize(
    ("format_", "kind"), [("html", "text/html"), ("json", "application/json"), ("csv", "text/csv")]
)
def test_a_report_is_a_file_with_the_head_of_the_account(client, inquiry, server, format_, kind):
    ask(client, inquiry, "red jacket")
    find(client, inquiry, 1, note="same bag")
    made = client.post(f"{BASE}/{inquiry}/reports", json={"format": format_})
    assert made.headers["content-type"].startswith(kind)
    assert made.headers["content-disposition"] == f'attachment; filename="report.{format_}"'
    assert made.headers["cache-control"] == "no-store"
    assert made.headers["x-account-head"] == Audit(server.gallery.path).head()
    assert "same bag" in made.text


def test_a_preview_is_no_export(client, inquiry, server):
    ask(client, inquiry, "red jacket")
    before = Audit(server.gallery.path).head()
    report = client.get(f"{BASE}/{inquiry}/report", params={"redact_paths": True}).json()["report"]
    assert report["notice"] == "Search leads, not an identification"
    assert report["options"] == {"blur_others": False, "redact_paths": True}
    assert Audit(server.gallery.path).head() == before


def test_the_account_is_verified_up_to_a_head_kept_elsewhere(client, inquiry, server):
    ask(client, inquiry, "red jacket")
    head = client.post(f"{BASE}/{inquiry}/reports", json={}).headers["x-account-head"]
    told = client.get("/api/v1/audit", params={"head": head}).json()
    assert (told["ok"], told["head"], told["faults"]) == (True, head, [])
    with sqlite3.connect(server.gallery.path / "gallery.db") as db:
        db.execute("DELETE FROM account WHERE number = ?", (int(head.partition(":")[0]),))
    db.close()
    assert client.get("/api/v1/audit").json()["ok"] is False, "cut lines show without a head too"
    cut = client.get("/api/v1/audit", params={"head": head}).json()
    assert cut["ok"] is False
    assert cut["faults"]
    assert client.get("/api/v1/audit", params={"head": "../x"}).status_code == 422


def test_a_last_day_is_kept(client, inquiry):
    for day in ("2027-01-31", None):
        made = client.patch(f"{BASE}/{inquiry}", json={"keep_until": day})
        assert made.json()["keep_until"] == (day or "")
        assert client.get(BASE).json()["inquiries"][0]["keep_until"] == (day or "")
    for wrong in ("tomorrow", "2027-02-30", 5.5, "2027-01-31T00:00:01"):
        assert client.patch(f"{BASE}/{inquiry}", json={"keep_until": wrong}).status_code == 422
    assert client.patch(f"{BASE}/{inquiry}", json={}).status_code == 422


def test_a_purge_says_what_goes_and_leaves_nothing(client, inquiry, server):
    asset = upload(client, png(6))
    ask(client, inquiry, "zebra umbrella", sketches=[{"asset": asset}])
    find(client, inquiry, 1, note="quagga note")
    plan = client.get(f"{BASE}/{inquiry}/purge").json()
    assert (plan["name"], plan["rounds"], plan["pictures"], plan["findings"]) == ("test", 1, 1, 1)
    assert plan["assets"] == [asset]
    other = client.post(BASE, json={"name": "other"}).json()["id"]
    ask(client, other, "blue hat")
    gone = client.delete(f"{BASE}/{inquiry}").json()
    assert gone["inquiries"] == 1
    assert gone["head"] == Audit(server.gallery.path).head()
    for path in (
        f"{BASE}/{inquiry}",
        f"{BASE}/{inquiry}/findings",
        f"{BASE}/{inquiry}/report",
        f"/api/v1/assets/{asset}",
    ):
        assert client.get(path).status_code == 404, path
    whole = b"".join(p.read_bytes() for p in server.gallery.path.iterdir() if p.is_file())
    for left in (b"zebra", b"quagga", asset.encode(), bytes.fromhex(asset)):
        assert left not in whole
    assert ask(client, other, "red hat")["number"] == 2, "other inquiries go on"
    assert client.get("/api/v1/audit").json()["ok"]


def test_the_example_of_the_page_outlives_a_purge(client, inquiry, server):
    example = upload(client, png(9))
    server.desk.example = {"asset": example, "words": "a hat"}
    client.delete(f"{BASE}/{inquiry}")
    assert client.get(f"/api/v1/assets/{example}").status_code == 200


def test_an_interrupted_purge_is_told_and_finished(client, inquiry, server, monkeypatch):
    from descry.gallery.database import Database

    ask(client, inquiry, "zebra umbrella")
    with monkeypatch.context() as patch:
        patch.setattr(Database, "scrub", lambda *args: 1 / 0)
        assert client.delete(f"{BASE}/{inquiry}").status_code == 500
    assert client.get("/api/v1/purge").json() == {"pending": True}
    assert client.post("/api/v1/purge").json()["inquiries"] == 1
    assert client.get("/api/v1/purge").json() == {"pending": False}
    assert client.post("/api/v1/purge").json() is None


def test_the_account_of_an_inquiry_needs_no_model(folder, drawn):
    from descry.gallery import Gallery

    server = Server(folder)
    with server.client(Authorization=f"Bearer {server.token}") as client:
        inquiry = client.post(BASE, json={"name": "test"}).json()["id"]
        ask(client, inquiry, "red jacket")
        find(client, inquiry, 1)
    server.gallery.close()
    bare = Server(folder)
    bare.gallery.close()
    bare.gallery = bare.desk.gallery = Gallery.open(folder)  # its model is nowhere
    with bare.client(Authorization=f"Bearer {bare.token}") as client:
        assert len(found(client, inquiry)) == 1
        assert client.post(f"{BASE}/{inquiry}/reports", json={"format": "json"}).status_code == 200
        assert client.delete(f"{BASE}/{inquiry}").status_code == 200
    bare.gallery.close()


def test_no_word_of_a_match_and_no_percentage_in_what_is_told(client, inquiry):
    ask(client, inquiry, "red jacket")
    told = json.dumps([client.get(f"{BASE}/{inquiry}/{part}").json() for part in ("report", "purge", "findings")])
    assert "match" not in told.lower()
    assert "%" not in told
