"""The commands of the account as a user types them: finding, keep, report, audit, purge; and the lines others leave."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from account import crop
from conftest import write_run
from descry.cli import main
from descry.embed import load
from descry.gallery.account import Audit


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture
def place(run: Path, tmp_path: Path, capsys) -> Path:
    """A gallery of twelve crops, indexed by the command, with one inquiry."""
    for i in range(12):
        crop(tmp_path / "crops", i)
    index = ["index", tmp_path / "crops", "--model", run, "--out", tmp_path / "g", "--encoder", "torch", "--quiet"]
    said(capsys, *index)
    sketch = crop(tmp_path / "other", 50)
    said(capsys, "inquiry", "new", tmp_path / "g", "north gate", "--sketch", sketch, "--text", "a red top")
    return tmp_path / "g"


def said(capsys, *args: object, status: int = 0) -> str:
    got = main([str(a) for a in args])
    out = capsys.readouterr()
    assert got == status, out.err
    return out.out if not status else out.err + out.out


def told(capsys, *args: object, status: int = 0) -> dict:
    return json.loads(said(capsys, *args, "--json", status=status))


def lines(place: Path) -> list[dict]:
    return [json.loads(raw) for raw in Audit(place).read().decode().splitlines()]


def test_nothing_is_exported_into_the_gallery_or_to_nowhere(place, tmp_path, capsys) -> None:
    before = {p.name: p.read_bytes() for p in place.iterdir()}
    for out in (place / "r.html", place / "below" / ".." / "r.html", tmp_path / "nowhere" / "r.html"):
        assert "name a " in said(capsys, "report", "north gate", "--gallery", place, "-o", out, status=2)
    for out in (place / "audit.jsonl", place / "inquiries.db", tmp_path):
        assert "name a " in said(capsys, "audit", "export", place, "-o", out, status=2)
    after = {p.name: p.read_bytes() for p in place.iterdir() if not p.name.startswith("gallery.db-")}
    assert after == {name: data for name, data in before.items() if not name.startswith("gallery.db-")}


def test_changes_of_a_whole_gallery_leave_their_line(place, tmp_path, capsys) -> None:
    (tmp_path / "crops").rename(tmp_path / "moved")
    said(capsys, "gallery", "relocate", place, tmp_path / "crops", tmp_path / "moved")
    said(capsys, "merge", place, "--out", tmp_path / "merged")
    moved, merged = lines(place)[-1], lines(tmp_path / "merged")
    assert (moved["what"], moved["of"], moved["moved"], moved["gallery"]["items"]) == ("index", "relocate", 12, 12)
    assert [(r["what"], r["of"], r["parts"], r["gallery"]["items"]) for r in merged] == [("index", "merge", 1, 12)]
    assert str(tmp_path) not in Audit(place).read().decode()


def test_each_command_leaves_its_line(place, tmp_path, capsys, run) -> None:
    said(capsys, "search", place, "--text", "a blue top")
    said(capsys, "index", tmp_path / "crops", "--out", place, "--encoder", "torch", "--quiet", "--dry-run")
    said(capsys, "report", "north gate", "--gallery", place, "-o", tmp_path / "r.json")
    said(capsys, "inquiry", "export", place, "north gate")
    said(capsys, "inquiry", "delete", place, "north gate")
    rows = lines(place)
    assert [r["what"] for r in rows] == ["index", "search", "search", "export", "export", "purge"]
    first, asked, alone = rows[:3]
    assert (first["added"], first["gallery"]["items"], first["skipped"]) == (12, 12, 0)
    assert asked["inquiry"]
    assert asked["asked_with"] == "sketch+text"
    assert len(asked["pictures"]) == 1
    assert not alone["inquiry"]
    assert alone["day"]
    assert alone["asked_with"] == "text"
    assert alone["shown"] == 12
    assert alone["model"] == first["model"]
    assert alone["search_fingerprint"] == load(run, device="cpu").search_fingerprint
    assert alone["gallery"] == asked["gallery"] == first["gallery"]["snapshot"], "it says what was searched among"
    whole = Audit(place).read()
    for text in (b"red top", b"blue", b"north", b"crops", b".png"):
        assert text not in whole


def test_findings_and_dates(place, capsys) -> None:
    gallery = ("--gallery", place)
    assert said(capsys, "finding", "north gate", *gallery) == "no findings yet\n"
    note = "a bag\n\x1b[31mlike hers"
    rows = told(capsys, "finding", "north gate", *gallery, "--item", 3, "--note", note)
    assert [(r["item"], r["verdict"], r["round"], r["note"]) for r in rows] == [(3, "worth following", 1, note)]
    assert len(rows[0]["sha256"]) == 64
    out = said(capsys, "finding", "north gate", *gallery, "--item", 5, "--verdict", "set aside")
    assert out == "item 3: worth following  a bag \\u001b[31mlike hers\nitem 5: set aside\n"
    assert len(told(capsys, "finding", "north gate", *gallery, "--item", 5, "--remove")) == 1
    assert "no finding about item 5" in said(
        capsys, "finding", "north gate", *gallery, "--item", 5, "--remove", status=2
    )
    assert "no item 99" in said(capsys, "finding", "north gate", *gallery, "--item", 99, status=2)
    assert "set aside, worth following" in said(
        capsys, "finding", "north gate", *gallery, "--item", 3, "--verdict", "hm", status=2
    )
    about = told(capsys, "keep", "north gate", "--until", "2027-01-31", *gallery)
    assert (about["keep_until"], about["findings"], about["rounds"]) == ("2027-01-31", 1, 1)
    assert "kept until purged" in said(capsys, "keep", "north gate", "--until", "never", *gallery)
    assert "2027-01-31" in said(capsys, "keep", "north gate", "--until", "soon", *gallery, status=2)
    assert "or neither" in said(capsys, "keep", "north gate", *gallery, status=2)
    assert said(capsys, "keep", *gallery).startswith("north gate: kept until purged (1 round, 1 finding, last used")
    assert [row["name"] for row in told(capsys, "keep", *gallery)] == ["north gate"]


def test_a_report_in_each_format(place, tmp_path, capsys) -> None:
    said(capsys, "finding", "north gate", "--gallery", place, "--item", 3)
    for kind in ("html", "json", "csv"):
        out = tmp_path / f"out.{kind}"
        row = told(capsys, "report", "north gate", "--gallery", place, "-o", out, "--blur-others", "--redact-paths")
        assert (row["format"], row["bytes"]) == (kind, out.stat().st_size)
        assert row["audit_head"] == Audit(place).head()
        assert b"not an identification" in out.read_bytes()
        assert b".png" not in out.read_bytes()
        assert b"a toy, no evidence of anything" in out.read_bytes()
    shown = said(capsys, "report", "north gate", "--gallery", place, "-o", out)
    assert "Search leads, not an identification" in shown
    assert Audit(place).head() in shown
    assert "csv, html, json" in said(capsys, "report", "north gate", "--gallery", place, "-o", "out.pdf", status=2)
    assert "no inquiry 'x'" in said(capsys, "report", "x", "--gallery", place, "-o", out, status=2)
    long = tmp_path / f"{'x' * 300}.html"
    assert "a folder that you can" in said(capsys, "report", "north gate", "--gallery", place, "-o", long, status=2)


def test_the_account_is_verified_and_exported(place, tmp_path, capsys) -> None:
    verdict = told(capsys, "audit", "verify", place)
    assert verdict["ok"]
    assert verdict["lines"] == 2
    row = told(capsys, "audit", "export", place, "-o", tmp_path / "account.jsonl")
    assert row["lines"] == 3
    assert told(capsys, "audit", "verify", tmp_path / "account.jsonl", "--head", row["audit_head"])["ok"]
    assert row["audit_head"] in said(capsys, "audit", "verify", place, "--head", row["audit_head"])
    copy = tmp_path / "account.jsonl"
    whole = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(whole[:-1]))
    assert told(capsys, "audit", "verify", copy)["ok"]
    found = told(capsys, "audit", "verify", copy, "--head", row["audit_head"], status=5)["faults"]
    assert [f["line"] for f in found] == [3]
    copy.write_bytes(whole[0].replace(b'"added":12', b'"added":13') + b"".join(whole[1:]))
    assert "line 1 was changed" in said(capsys, "audit", "verify", copy, status=5)
    with sqlite3.connect(place / "gallery.db") as db:
        db.execute("DELETE FROM account WHERE number = 3")
    db.close()
    assert [f["line"] for f in told(capsys, "audit", "verify", place, status=5)["faults"]] == [3]
    with sqlite3.connect(place / "gallery.db") as db:
        db.execute("UPDATE account SET line = ? WHERE number = 1", (whole[0].replace(b'"added":12', b'"added":13'),))
    db.close()
    assert "line 1 was changed" in said(capsys, "audit", "verify", place, status=5)
    assert "neither a gallery" in said(capsys, "audit", "verify", tmp_path, status=2)


def test_purge_says_what_would_go_and_then_removes_it(place, tmp_path, capsys) -> None:
    said(capsys, "finding", "north gate", "--gallery", place, "--item", 3)
    before = Audit(place).read()
    plan = told(capsys, "purge", place, "--inquiry", "north gate", "--item", 3, "--item", 4, "--dry-run")
    assert (plan["inquiries"], plan["item_ids"], plan["findings"]) == (["north gate"], [3, 4], 1)
    assert "would remove 2 items" in said(capsys, "purge", place, "--item", 3, "--item", 4, "--dry-run")
    assert Audit(place).read() == before
    done = told(capsys, "purge", place, "--inquiry", "north gate", "--item", 3, "--item", 4)
    assert (done["inquiries"], done["items"], done["findings"], done["still_on_disk"]) == (1, 2, 1, 2)
    assert done["head"] == Audit(place).head()
    assert told(capsys, "gallery", "info", place)["items"] == 10
    assert "nothing was named" in said(capsys, "purge", place, status=2)
    assert "write it as 2027-01-31" in said(capsys, "purge", place, "--before", "soon", status=2)
    out = said(capsys, "purge", place, "--before", "2999-01-01")
    assert "removed 0 inquiries" in out
    assert "0 items, 0 keys" in out
    said(capsys, "search", place, "--text", "a blue top")
    assert told(capsys, "purge", place, "--before", "2999-01-01")["days"] == 1
    assert told(capsys, "purge", place, "--expired")["inquiries"] == 0


def test_an_interrupted_purge_is_mentioned_and_finished(place, tmp_path, capsys, monkeypatch) -> None:
    from descry.errors import DescryError
    from descry.gallery.database import Database

    def fail(*args: object) -> None:
        raise DescryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "scrub", fail)
        assert "the disk is full" in said(capsys, "purge", place, "--inquiry", "north gate", status=1)
    assert "a purge was interrupted" in said(capsys, "finding", "north gate", "--gallery", place, status=2)
    assert told(capsys, "purge", place)["inquiries"] == 1
    assert Audit(place).verify().ok


def test_what_is_deleted_from_a_gallery_is_purged(place, tmp_path, capsys) -> None:
    said(capsys, "finding", "north gate", "--gallery", place, "--item", 3)
    assert "removed 1 item;" in said(capsys, "gallery", "delete", place, "--item", 3)
    assert told(capsys, "finding", "north gate", "--gallery", place) == []
    assert lines(place)[-1]["what"] == "purge"
    said(capsys, "gallery", "delete", place, "--everything", "--confirm", place.name)
    assert not place.exists()


def test_a_distributed_store_has_none_of_this_and_says_where_it_is(capsys) -> None:
    address = "milvus://127.0.0.1:1#crops"
    for command in (
        ("report", "x", "-o", "r.html", "--gallery", address),
        ("finding", "x", "--gallery", address),
        ("keep", "--gallery", address),
        ("purge", address, "--expired"),
        ("audit", "verify", address),
        ("audit", "export", address, "-o", "a.jsonl"),
        ("inquiry", "show", address, "x"),
    ):
        assert "local gallery that it was migrated from" in said(capsys, *command, status=2), command


def test_a_finding_without_an_item_is_not_taken_for_a_list(place, capsys) -> None:
    for option in (("--remove",), ("--note", "a bag")):
        assert "give --item" in said(capsys, "finding", "north gate", "--gallery", place, *option, status=2)
