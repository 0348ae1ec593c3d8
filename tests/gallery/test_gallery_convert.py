"""`descry gallery convert`: a gallery that descry wrote in format 1 becomes one of format 2, whole or not at all.

format1.zip was written by the last descry of that format: numbers 1 to 24 without 3 and 20, in two segments of 12 rows,
with one skipped file, two inquiries, a finding and two lines of account.
"""

from __future__ import annotations

import json
import sqlite3
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from crafted import journal
from descry import Gallery
from descry.cli import main
from descry.errors import DescryError, IndexMismatch
from descry.gallery.account import Audit
from descry.gallery.conversion import KEPT, convert
from descry.gallery.inspecting import inspect
from descry.gallery.local import LocalStore
from descry.interact.store import InquiryStore

from .plain_model import entries, unit_rows

RECORDED = Path(__file__).with_name("format1.zip")
HEADS = "2:8557a9617486686a4fc262500b1af33c098d20f533bfc714a10e469d16cf9523"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with zipfile.ZipFile(RECORDED) as file:
        file.extractall(tmp_path / "old")
    return tmp_path / "old"


def bytes_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def rows_of(folder: Path, name: str, sql: str) -> list[tuple]:
    db = sqlite3.connect(f"file:{folder / name}?immutable=1", uri=True)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def test_a_journal_that_came_with_a_gallery_deletes_nothing(old, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    journal("inquiries.db", tmp_path / "mine.txt")(old)
    with pytest.raises(DescryError, match=r"inquiries\.db-journal names another file"):
        convert(old, tmp_path / "new")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_everything_arrives_and_the_old_folder_stays(old, tmp_path) -> None:
    (old / "absence.json").write_text("{}\n")
    before, new = bytes_of(old), tmp_path / "new"
    report = convert(old, new)
    assert bytes_of(old) == before
    assert (new / "absence.json").read_text() == "{}\n"
    assert (report.items, report.skipped, report.inquiries, report.lines, report.account_ok) == (22, 1, 2, 2, True)
    with Gallery.open(new) as gallery:
        assert gallery.verify() == []
        ids = [n for n in range(1, 25) if n not in (3, 20)]
        held = gallery.items(ids)
        assert [item.id for item in held] == ids
        expected = [*entries(20, camera="cam1"), *entries(4, start=30)]
        assert [(i.path, i.sha256, i.camera, i.size, i.mtime, i.look) for i in held] == [
            (e.path, e.sha.hex(), e.camera, e.size, e.mtime, e.look) for e in (expected[n - 1] for n in ids)
        ]
        width = gallery.binding.dimension
        vectors = np.concatenate([unit_rows(20, width), unit_rows(4, width, seed=1)]).astype(np.float16)
        assert gallery.store.vectors(ids).tobytes() == vectors[[n - 1 for n in ids]].tobytes()
        assert [path for path, _ in gallery.skipped()] == ["/crops/broken.jpg"]
        assert gallery.store.add(entries(1, start=90), unit_rows(1, width)) == [25]
    assert {p.name for p in tmp_path.iterdir()} == {"old", "new"}


def test_inquiries_and_findings_can_be_gone_on_with(old, tmp_path, capsys) -> None:
    convert(old, tmp_path / "new")
    store = InquiryStore(tmp_path / "new")
    assert store.names() == ["case 1", "case 2"]
    assert store.load("case 1").rounds[1].query.wanted[-1].value == "red top"
    assert len(store.load("case 2").rounds[1].query.sketches) == 1
    assert [(f.item, f.note) for f in store.findings("case 1")] == [(5, "look again")]
    keys = rows_of(old, "inquiries.db", "SELECT name, key FROM inquiries ORDER BY id")
    assert [(name, store.key(name)) for name in store.names()] == keys
    found = store.load("case 2")
    found.visited[1] = 1
    store.save(found)
    store.unfind("case 1", 5)
    assert store.findings("case 1") == []
    store.close()
    assert main(["inquiry", "show", str(tmp_path / "new"), "case 1"]) == 0


def test_the_whole_gallery_can_be_removed_with_the_old_account(old, tmp_path) -> None:
    convert(old, tmp_path / "new")
    assert main(["gallery", "delete", str(tmp_path / "new"), "--everything", "--confirm", "new"]) == 0
    assert not (tmp_path / "new").exists()


def test_the_account_is_kept_as_a_file_and_the_new_one_begins_with_its_head(old, tmp_path, capsys) -> None:
    new = tmp_path / "new"
    convert(old, new)
    assert (new / KEPT).read_bytes() == (old / "audit.jsonl").read_bytes()
    assert Audit(new / KEPT).verify(HEADS).ok
    assert main(["audit", "verify", str(new / KEPT), "--head", HEADS]) == 0
    assert Audit(new).verify().ok
    first = json.loads(Audit(new).read().splitlines()[0])
    assert (first["of"], first["account"]) == ("convert", {"lines": 2, "head": HEADS, "ok": True})


def test_a_changed_account_is_carried_and_said(old, tmp_path, capsys) -> None:
    lines = (old / "audit.jsonl").read_bytes()
    (old / "audit.jsonl").write_bytes(lines.replace(b'"n":1', b'"n":7', 1))
    assert main(["gallery", "convert", str(old), str(tmp_path / "new")]) == 0
    assert "not as it was written" in capsys.readouterr().err


def test_the_refusal_of_format_1_names_the_command(old, tmp_path, capsys) -> None:
    with pytest.raises(IndexMismatch, match=f"descry gallery convert {old} NEW"):
        LocalStore(old)
    assert main(["gallery", "convert", str(old), str(tmp_path / "new"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"out": str(tmp_path / "new"), "items": 22, "skipped": 1, "inquiries": 2} | {
        "lines": 2,
        "account_ok": True,
    }


def test_inspect_knows_the_files_of_format_1(old) -> None:
    assert [w for w in inspect(old)["warnings"] if "open to other users" not in w] == [
        "it has format 1; this descry reads format 2 (descry gallery convert makes one of the other)"
    ]


def test_what_stands_in_the_log_alone_arrives(old, tmp_path) -> None:
    """A gallery whose writer was killed: the removal of item 5 is in the log."""
    from descry.gallery.database import seal_of

    work = tmp_path / "work"
    work.mkdir()
    (work / "items.db").write_bytes((old / "items.db").read_bytes())
    db = sqlite3.connect(work / "items.db", isolation_level=None)
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("BEGIN")
    (seal,) = db.execute("SELECT seal FROM items WHERE id = 5").fetchone()
    state = list(db.execute("SELECT generation, layout, next_id, count, digest FROM state").fetchone())
    state = [state[0] + 1, state[1] + 1, state[2], state[3] - 1, state[4] ^ seal]
    db.execute("DELETE FROM items WHERE id = 5")
    names = "generation = ?, layout = ?, next_id = ?, count = ?, digest = ?, seal = ?"
    db.execute(f"UPDATE state SET {names}", (*state, seal_of(*state)))
    db.execute("COMMIT")
    (old / "items.db-wal").write_bytes((work / "items.db-wal").read_bytes())
    db.close()
    before = bytes_of(old)
    assert convert(old, tmp_path / "new").items == 21
    assert bytes_of(old) == before


def spoil(folder: Path, name: str, at: int) -> None:
    data = bytearray((folder / name).read_bytes())
    data[at] ^= 0x10
    (folder / name).write_bytes(data)


def sql(folder: Path, name: str, statement: str) -> None:
    with sqlite3.connect(folder / name) as db:
        db.execute(statement)
    db.close()


def reformat(folder: Path, **changes: object) -> None:
    body = json.loads((folder / "gallery.json").read_text().rsplit("\ncrc32 ", 1)[0]) | changes
    text = json.dumps(body, indent=1, sort_keys=True)
    (folder / "gallery.json").write_text(f"{text}\ncrc32 {zlib.crc32(text.encode()):08x}\n")


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda g: spoil(g, "vectors-000001.f16", 70), "the vector of item 1 has changed"),
        (lambda g: spoil(g, "vectors-000002.f16", 3), "does not begin like"),
        (lambda g: (g / "vectors-000002.f16").unlink(), "missing"),
        (lambda g: (g / "vectors-000002.f16").write_bytes((g / "vectors-000002.f16").read_bytes()[:100]), "cut"),
        (lambda g: (g / "head").unlink(), "'head'"),
        (lambda g: sql(g, "items.db", "UPDATE items SET camera = 'x' WHERE id = 4"), "item 4"),
        (lambda g: sql(g, "items.db", "DELETE FROM items WHERE id = 4"), "holds 21 items where 22"),
        (lambda g: sql(g, "items.db", "DELETE FROM skipped"), "or others"),
        (lambda g: sql(g, "items.db", "UPDATE state SET count = 21"), "its state"),
        (lambda g: sql(g, "items.db", "CREATE VIEW v AS SELECT 1"), "do not trust"),
        (lambda g: sql(g, "inquiries.db", "CREATE TABLE more (a)"), "do not trust"),
        (lambda g: sql(g, "inquiries.db", "DELETE FROM inquiries WHERE id = 1"), "a row of rounds"),
        (lambda g: sql(g, "inquiries.db", "UPDATE inquiries SET key = NULL"), "a row of inquiries"),
        (lambda g: (g / "items.db").write_bytes(b"no database" * 999), "items.db"),
        (lambda g: (g / "items.db").unlink(), "items.db"),
        (lambda g: (g / "audit.jsonl").unlink() or (g / "audit.jsonl").symlink_to("/etc/passwd"), "symbolic link"),
        (lambda g: (g / "purge.json").write_text("{}"), "waits for a purge"),
        (lambda g: reformat(g, format=2), "has format 2"),
        (lambda g: reformat(g, binding={}), "impossible"),
        (lambda g: (g / "gallery.json").unlink(), "no gallery"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused_in_one_line_and_nothing_is_left(
    old, tmp_path, capsys, spoilt, told
) -> None:
    spoilt(old)
    assert main(["gallery", "convert", str(old), str(tmp_path / "new")]) not in (0, 1)
    err = capsys.readouterr().err.strip()
    assert told in err
    assert len(err.splitlines()) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"old"}


def test_a_place_that_is_taken_or_lies_in_the_old_folder_is_refused(old, tmp_path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").touch()
    before = bytes_of(old)
    for place in (tmp_path / "new", old, old / "new"):
        with pytest.raises(DescryError):
            convert(old, place)
    assert bytes_of(old) == before
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["mine"]


def test_a_gallery_in_use_is_not_taken_half(old, tmp_path) -> None:
    with pytest.raises(DescryError, match="changed while it was read"):
        convert(old, tmp_path / "new", lambda done, total: (old / "audit.jsonl").write_bytes(b"") and None)
    assert not (tmp_path / "new").exists()


def test_inquiries_of_the_first_version_get_keys(old, tmp_path) -> None:
    """Before there was an account: no keys, no dates, no findings."""
    from descry.gallery.conversion import FIRST_SCHEMA

    rows = rows_of(old, "inquiries.db", "SELECT id, name, head, last, visited FROM inquiries")
    (old / "inquiries.db").unlink()
    with sqlite3.connect(old / "inquiries.db") as db:
        for statement in FIRST_SCHEMA.split(";"):
            db.execute(statement)
        db.executemany("INSERT INTO inquiries VALUES (?, ?, ?, ?, ?)", rows)
    db.close()
    convert(old, tmp_path / "new")
    store = InquiryStore(tmp_path / "new")
    assert len({store.key(name) for name in store.names()}) == 2
    store.close()
