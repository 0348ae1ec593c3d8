"""Folders that others made: no file outside is touched, nothing of theirs is believed, and it is said in one line."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import zlib
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from conftest import toy_clip, toy_words
from descry import Gallery
from descry.audit import Audit
from descry.checkpoint import save_model
from descry.cli import main
from descry.embed import load
from descry.gallery.local import OWN
from descry.methods.interactreid import PRESETS, InteractReID

LINKS = [
    *("audit.jsonl", "audit.lock", "writer.lock", "purge.lock", "purge.json", "vectors.cache", "gallery.db"),
    *("inquiries.db", "inquiries.db-journal", "head", "head.partial", "gallery.json", "gallery.json.partial"),
    *("absence.json", "absence.json.partial", "page.key", "purge.json.partial"),
]
COMMANDS = {
    "search": ["search", "G", "a red top"],
    "index": ["index", "CROPS", "--out", "G"],
    "verify": ["verify", "G"],
    "compact": ["compact", "G"],
    "info": ["gallery", "info", "G"],
    "list": ["gallery", "list", "G"],
    "delete": ["gallery", "delete", "G", "--item", "1"],
    "calibrate": ["gallery", "calibrate", "G"],
    "inquiry": ["inquiry", "new", "G", "x", "--text", "red"],
    "chat": ["chat", "G", "x"],
    "keep": ["keep", "--gallery", "G"],
    "purge": ["purge", "G", "--inquiry", "x"],
    "audit verify": ["audit", "verify", "G"],
    "audit export": ["audit", "export", "G", "--out", "COPY"],
    "report": ["report", "x", "--gallery", "G", "-o", "COPY.html"],
    "merge": ["merge", "G", "--out", "COPY"],
    "relocate": ["gallery", "relocate", "G", "CROPS", "COPY"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy) -> Path:
    root = tmp_path_factory.mktemp("distrust")
    words = toy_words()
    method = InteractReID(toy_clip(words), words, replace(PRESETS["released"], stage=2, mapping_hidden=12), 3).eval()
    save_model(root / "run", method, "interactreid", "released", {"note": ""})
    crops = root / "crops"
    crops.mkdir()
    for photo in toy.test["sketch"].photos[:6]:
        shutil.copy(photo.path, crops)
    with Gallery.create(root / "gallery", load(root / "run", device="cpu")) as gallery:
        gallery.index(crops)
    return root


@pytest.mark.parametrize("name", LINKS)
def test_no_command_writes_through_a_link(place, tmp_path, capsys, monkeypatch, name) -> None:
    """12 and more links, 17 commands: the victim's file stays as it was, and each is refused in one line."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    victim = tmp_path / "victim"
    victim.write_text("export PATH=/usr/bin  # no newline at the end")
    before = (victim.read_bytes(), victim.stat().st_mtime_ns)
    for verb, args in COMMANDS.items():
        gallery = tmp_path / f"g-{verb.replace(' ', '-')}"
        shutil.copytree(place / "gallery", gallery)
        (gallery / name).unlink(missing_ok=True)
        (gallery / name).symlink_to(victim)
        named = {"G": str(gallery), "CROPS": str(place / "crops"), "COPY": str(tmp_path / f"copy-{verb}")}
        named["COPY.html"] = f"{named['COPY']}.html"
        status = main([named.get(a, a) for a in args])
        err = capsys.readouterr().err
        assert (victim.read_bytes(), victim.stat().st_mtime_ns) == before, verb
        assert status != 0, (verb, name)
        assert "symbolic link" in err, (verb, name, err)
        assert "Traceback" not in err
    assert any(Path(name).match(pattern) for pattern in OWN)


def sealed(path: Path, **changes) -> None:
    """gallery.json with other values, and a checksum that is right: whoever gives a folder can compute it."""
    body = json.loads(path.read_text().rsplit("\ncrc32 ", 1)[0]) | changes
    text = json.dumps(body, indent=1, sort_keys=True)
    path.write_text(f"{text}\ncrc32 {zlib.crc32(text.encode()):08x}\n")


BINDING = {"source": "demo", "fingerprint": "0" * 64, "dimension": 64, "preprocessing": {}}


@pytest.mark.parametrize(
    "changes",
    [
        {"created": "$(touch marker)"},
        {"created": "`id`"},
        {"created": 7},
        {"created": None},
        {"created": "x" * 10_000},
        {"created": '2026"; DROP TABLE items'},
        {"binding": None},
        {"binding": []},
        {"binding": {}},
        {"binding": BINDING | {"dimension": -1}},
        {"binding": BINDING | {"dimension": 10**12}},
        {"binding": BINDING | {"dimension": True}},
        {"binding": BINDING | {"dimension": "64"}},
        {"binding": BINDING | {"source": None}},
        {"binding": BINDING | {"source": ["a"]}},
        {"binding": BINDING | {"fingerprint": "$(id)"}},
        {"binding": BINDING | {"preprocessing": "no"}},
        {"binding": BINDING | {"more": 1}},
        {"format": "1"},
    ],
)
def test_a_crafted_gallery_json_is_refused_in_one_line(place, tmp_path, capsys, monkeypatch, changes) -> None:
    shutil.copytree(place / "gallery", tmp_path / "g")
    sealed(tmp_path / "g" / "gallery.json", **changes)
    monkeypatch.chdir(tmp_path)
    for args in (["search", "g", "red"], ["verify", "g"], ["gallery", "info", "g"]):
        assert main(args) in (2, 4, 5)
        err = capsys.readouterr().err
        assert len(err.strip().splitlines()) == 1
        assert "unexpected" not in err
    assert not (tmp_path / "marker").exists()
    assert b"$(" not in Audit(tmp_path / "g").read()


@pytest.mark.parametrize(("table", "column"), [("items", "camera"), ("inquiries", "name")])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
        "CREATE VIEW v AS SELECT * FROM {table}",
        "CREATE TABLE more (a)",
        "CREATE INDEX i ON {table} ({column})",
        "CREATE TRIGGER sqlitex AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
    ],
)
def test_a_database_that_holds_what_descry_did_not_make_is_refused(
    place, tmp_path, capsys, table, column, statement
) -> None:
    shutil.copytree(place / "gallery", tmp_path / "g")
    assert main(["inquiry", "new", str(tmp_path / "g"), "x", "--text", "red top"]) == 0
    capsys.readouterr()
    with sqlite3.connect(tmp_path / "g" / "gallery.db") as db:
        db.execute(statement.format(table=table, column=column))
    db.close()
    assert main(["inquiry", "show", str(tmp_path / "g"), "x"]) != 0
    err = capsys.readouterr().err
    assert "do not trust" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "words.json", "tokenizer.json", "config.json.partial"]
)
def test_a_run_folder_with_links_is_refused_and_nothing_is_written_through_them(place, tmp_path, capsys, name) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    shutil.copytree(place / "run", tmp_path / "run")
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(victim)
    assert main(["model", "info", str(tmp_path / "run")]) != 0
    assert "symbolic link" in capsys.readouterr().err
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["descry.json", "table.jsonl", "table.jsonl.partial", "descry.json.partial"])
def test_writing_a_data_set_replaces_a_link_and_leaves_what_it_points_to(place, tmp_path, name) -> None:
    from descry.data.table import Row, write_table
    from descry.safe_files import write_whole

    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / name).symlink_to(victim)
    write_table(tmp_path / "table.jsonl", [Row("a.jpg", "1")])
    write_whole(tmp_path / "descry.json", "{}")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "table.jsonl").is_symlink()


def test_a_new_gallery_is_private(place, tmp_path) -> None:
    with Gallery.create(tmp_path / "g", load(place / "run", device="cpu")) as gallery:
        gallery.index(place / "crops")
    assert (tmp_path / "g").stat().st_mode & 0o077 == 0


def test_a_file_that_goes_away_while_it_is_looked_at_is_no_fault(tmp_path, monkeypatch) -> None:
    """SQLite removes its log and its index when the last process closes the database."""
    from descry import safe_files

    (tmp_path / "gallery.db").write_bytes(b"")
    (tmp_path / "gallery.db-shm").write_bytes(b"")

    def listed(name: str, pattern: str) -> bool:
        (tmp_path / "gallery.db-shm").unlink(missing_ok=True)
        return fnmatchcase(name, pattern)

    monkeypatch.setattr(safe_files, "fnmatchcase", listed)
    safe_files.refuse_links(tmp_path, ["gallery.db*"], "gallery")
