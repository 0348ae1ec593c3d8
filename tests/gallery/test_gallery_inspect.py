"""`descry gallery inspect`: what is in a folder that somebody else made, told without believing or touching it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sqlite3
from pathlib import Path

import pytest

from descry import Gallery
from descry.cli import main
from descry.gallery import inspecting
from descry.gallery.inspecting import inspect
from descry.gallery.local import LocalStore
from descry.interact.store import InquiryStore

from .plain_model import PlainModel, binding, draw, entries, unit_rows


@pytest.fixture
def place(tmp_path: Path, crops: Path) -> Path:
    """A closed gallery of 24 crops in two folders."""
    with Gallery.create(tmp_path / "g", PlainModel()) as gallery:
        gallery.index(crops)
    return tmp_path / "g"


def state_of(folder: Path) -> dict[str, object]:
    """Every name with its bytes, mode and time of change."""
    rows = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        rows[path.name] = (about.st_mode, about.st_mtime_ns, data)
    return rows


def change(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "gallery.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def warned(facts: dict, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in facts["warnings"])


def test_a_gallery_of_ones_own_has_nothing_against_it(place, crops) -> None:
    before = state_of(place)
    facts = inspect(place)
    assert state_of(place) == before
    assert facts["warnings"] == []
    assert (facts["format"], facts["model"]["source"], facts["model"]["dimension"]) == (2, "plain", "32")
    assert facts["counts"]["items"] == 24
    assert (facts["counts"]["account lines"], facts["counts"]["inquiries"]) == (1, 0)
    assert {f["name"] for f in facts["files"]} == {p.name for p in place.iterdir()}
    assert all((f["mode"], f["refused"], f["ours"]) == ("0600", "", True) for f in facts["files"])
    assert [(row["items"], row["allowed"]) for row in facts["pictures"]] == [(12, True), (12, True)]
    assert {row["folder"] for row in facts["pictures"]} == {str(crops / "cam0"), str(crops / "cam1")}


def test_links_and_other_things_are_named_and_not_opened(place, tmp_path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (place / "gallery.json").unlink()
    (place / "gallery.json").symlink_to(victim)
    (place / "gallery.db").unlink()
    os.mkfifo(place / "gallery.db")
    (place / "run.sh").write_text("rm -rf /")
    os.link(victim, place / "absence.json")
    facts = inspect(place)
    assert warned(facts, "gallery.json", "symbolic link", str(victim))
    assert warned(facts, "gallery.db", "no regular file")
    assert warned(facts, "run.sh", "none of descry's files")
    assert warned(facts, "absence.json", "2 names")
    assert facts["counts"] == {}
    assert "mine" not in json.dumps({**facts, "warnings": []})


@pytest.mark.skipif(os.name == "nt", reason="files have no owner by number there")
def test_a_file_of_another_user_is_named(place, monkeypatch) -> None:
    owner = (place / "gallery.db").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    facts = inspect(place)
    assert warned(facts, "gallery.db", "another user")
    assert next(f for f in facts["files"] if f["name"] == "gallery.db")["owner"] == pwd.getpwuid(owner).pw_name
    assert "items" not in facts["counts"]


def test_a_folder_that_others_can_read_is_said(place) -> None:
    place.chmod(0o755)
    (place / "gallery.db").chmod(0o666)
    facts = inspect(place)
    assert warned(facts, "the folder", "0755")
    assert warned(facts, "gallery.db", "0666")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END", "trigger 't'"),
        ("CREATE TRIGGER sqlitex AFTER INSERT ON items BEGIN DELETE FROM items; END", "trigger 'sqlitex'"),
        ("CREATE VIEW v AS SELECT * FROM items", "view 'v'"),
        ("CREATE TABLE more (a)", "table 'more'"),
        ("CREATE INDEX i ON items (camera)", "index 'i'"),
        ('CREATE TABLE "two\nlines\x1b[2J" (a)', "two"),
    ],
)
def test_what_descry_did_not_make_is_named_and_the_rest_is_counted(place, statement, told) -> None:
    change(place, statement)
    facts = inspect(place)
    assert warned(facts, told)
    assert len(facts["foreign"]) == 1
    assert facts["counts"]["items"] == 24


def test_what_stands_in_the_log_alone_is_seen_and_the_log_stays(place) -> None:
    """A gallery in use, or one whose writer was killed."""
    db = sqlite3.connect(place / "gallery.db", isolation_level=None)
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("CREATE VIEW v AS SELECT 1")
    copy = place.parent / "copy"
    shutil.copytree(place, copy, ignore=shutil.ignore_patterns("*-shm"))
    db.close()
    before = state_of(copy)
    assert inspect(copy)["foreign"] == ["view 'v'"]
    assert state_of(copy) == before


def test_a_log_too_large_to_copy_is_said(place, monkeypatch) -> None:
    (place / "gallery.db-wal").write_bytes(b"x" * 100)
    monkeypatch.setattr(inspecting, "LOG_BYTES", 50)
    facts = inspect(place)
    assert warned(facts, "100 bytes", "were not read")
    assert facts["counts"]["items"] == 24


def test_a_table_under_our_name_that_is_not_ours_is_not_read(place) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    change(place, "DROP TABLE items", f"CREATE VIEW items AS {endless}")
    facts = inspect(place)
    assert warned(facts, "view 'items'")
    assert warned(facts, "no table items")
    assert facts["pictures"] == []


def test_a_count_beyond_the_most_is_left_open(place, monkeypatch) -> None:
    monkeypatch.setattr(inspecting, "MOST", 23)
    assert inspect(place)["counts"]["items"] is None


def test_counting_ends_after_a_number_of_steps(place, monkeypatch) -> None:
    monkeypatch.setattr(inspecting, "STEPS", 10)
    monkeypatch.setattr(inspecting, "ALL_STEPS", 300)
    facts = inspect(place)
    assert warned(facts, "gallery.db cannot be read", "interrupted")


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 5000, b"[" * 100_000, b"{}", b'{"format": ' + b"9" * 5000 + b"}", b'{"format": [1]}', b"\xff",
     b"[]", b'{"format": 2, "binding": {"source": 7}}', b'{"format": 2, "binding": {"source": "a\\u0000b"}}',
     b"x" * (1 << 21),
     b'{"format": 2, "created": "\\u001b[2J\\n\\n", "binding": {"source": "' + b"/" * 9000 + b'"}}'],
)  # fmt: skip
def test_a_crafted_gallery_json_is_told_on_single_lines(place, data, capsys) -> None:
    (place / "gallery.json").write_bytes(data)
    assert main(["gallery", "inspect", str(place)]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    assert "gallery.json" in out.out
    assert "\x1b" not in out.out
    assert max(map(len, out.out.splitlines())) < 1000


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_database_is_told(place, damage) -> None:
    (place / "gallery.db").write_bytes(damage)
    facts = inspect(place)
    assert warned(facts, "gallery.db")
    assert facts["counts"].get("items") is None


def test_flipped_bytes_anywhere_are_told_or_harmless(place) -> None:
    whole = (place / "gallery.db").read_bytes()
    for at in range(0, min(len(whole), 60_000), 997):
        (place / "gallery.db").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        inspect(place)


def test_a_model_and_pictures_out_of_named_folders(tmp_path) -> None:
    given = binding()
    store = LocalStore.create(tmp_path / "s", type(given)("/etc/evil model", given.fingerprint, 32, {}))
    store.add(entries(3), unit_rows(3))
    store.close()
    facts = inspect(tmp_path / "s")
    assert (facts["model"]["path"], facts["model"]["allowed"]) == (True, False)
    assert warned(facts, "/etc/evil model", "would not be loaded")
    assert facts["pictures"] == [{"folder": "/crops", "items": 3, "allowed": False}]
    assert warned(facts, "3 items", "no folder that you named")


def test_folders_of_pictures_are_taken_together_but_allowed_ones_apart(place, tmp_path, crops) -> None:
    elsewhere = tmp_path / "elsewhere"
    rows = [(1000 + i, os.fsencode(elsewhere / f"{i:04}" / "deep" / "x.png"), i) for i in range(inspecting.FILES * 11)]
    with sqlite3.connect(place / "gallery.db") as db:
        db.executemany(
            "INSERT INTO items VALUES (?1, ?2, x'00', 1, 1, 1, '', '', NULL, 0, ?1, 0, 0)", [r[:2] for r in rows]
        )
        db.execute("INSERT INTO items VALUES (9000, 'text', x'00', 1, 1, 1, '', '', NULL, 0, 9000, 0, 0)")
        db.execute("INSERT INTO items VALUES (9001, zeroblob(900000), x'00', 1, 1, 1, '', '', NULL, 0, 9001, 0, 0)")
    db.close()
    facts = inspect(place)
    assert sum(row["items"] for row in facts["pictures"] if row["allowed"]) == 24
    assert [row for row in facts["pictures"] if not row["allowed"]] == [
        {"folder": str(elsewhere), "items": len(rows), "allowed": False}
    ]
    assert warned(facts, "2 items have no path")


def test_a_folder_of_a_hundred_thousand_names_is_not_all_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(inspecting, "FILES", 5)
    for i in range(20):
        (tmp_path / f"{i}\n\x1b").touch()
    facts = inspect(tmp_path)
    assert len(facts["files"]) == 5
    assert warned(facts, "more than 5 files")
    assert all("\n" not in f["name"] and "\x1b" not in f["name"] for f in facts["files"])


@pytest.mark.parametrize("name", ["nothing", "file", "a\0b"])
def test_what_is_no_folder_is_refused_in_one_line(tmp_path, capsys, name) -> None:
    (tmp_path / "file").touch()
    assert main(["gallery", "inspect", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert "name the folder of a gallery" in err


def test_text_and_json_say_the_same(place, capsys) -> None:
    InquiryStore(place).close()
    change(place, "CREATE VIEW v AS SELECT 1")
    assert main(["gallery", "inspect", str(place), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert main(["gallery", "inspect", str(place)]) == 0
    out = capsys.readouterr().out
    for file in facts["files"]:
        assert file["name"] in out
    assert f"warning   {facts['warnings'][0]}" in out
    assert "items                24" in out


def test_a_link_to_a_gallery_is_said(place, tmp_path) -> None:
    (tmp_path / "link").symlink_to(place)
    assert warned(inspect(tmp_path / "link"), "the folder itself is a symbolic link", str(place))


def test_no_model_is_loaded_and_no_picture_is_opened(place, crops, monkeypatch) -> None:
    draw(crops / "more.png", 1)
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *a, **k: opened.append(str(path)) or real(path, *a, **k))
    inspect(place)
    assert all(str(place) in path or "descry-" in path for path in opened)
