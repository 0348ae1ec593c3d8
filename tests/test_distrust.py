"""Folders that others made: no file outside is touched, nothing of theirs is believed, and it is said in one line."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import io
import json
import os
import re
import shutil
import sqlite3
import tempfile
import zlib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from conftest import write_small_gallery
from descry import Gallery, images
from descry.cli import main
from descry.cli.search import tell
from descry.embed import load
from descry.errors import ImageRejected, UsageError
from descry.gallery.account import Audit
from descry.gallery.local import OWN
from descry.gallery.reading import as_indexed
from descry.query import digest

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
    root = write_small_gallery(tmp_path_factory.mktemp("distrust"), toy)
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


# ---------------------------------------------------------------------- odd names and places


def test_a_folder_whose_name_is_no_utf8_is_indexed_and_its_camera_named(place, tmp_path, capsys) -> None:
    """Also by a regular expression and for tracks; the gallery's own folder may be named so too."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/cam\xff1"))
    try:
        shutil.copytree(place / "crops", odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    for name, args in {
        "a": ["--camera-from", "dirname", "--track-from", "dirname"],
        "b": ["--camera-from", r"(cam[^/]*)"],
        os.fsdecode(b"g\xfe"): [],
    }.items():
        made = tmp_path / name
        assert main(["index", str(odd), "--out", str(made), "--model", str(place / "run"), *args]) == 0
        assert main(["gallery", "list", str(made)]) == 0
        assert main(["search", str(made), "red top"]) == 0
        with Gallery.open(made) as gallery:
            assert len(gallery) == 6
        assert main(["verify", str(made)]) == 0


def test_odd_entries_of_a_folder_stop_no_index(place, tmp_path, capsys) -> None:
    """A link to itself, a path longer than the system takes, a folder that cannot be read, a pipe, a socket."""
    from crafted import socket_at

    crops = tmp_path / "crops"
    shutil.copytree(place / "crops", crops)
    (crops / "loop").symlink_to(crops / "loop")
    (crops / "loop.png").symlink_to(crops / "loop.png")
    (crops / "above").symlink_to(crops)
    os.mkfifo(crops / "pipe.png")
    socket_at(crops / "socket.png")
    deep, here = crops, os.getcwd()
    try:
        os.chdir(crops)
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        shutil.copy(place / "crops" / os.listdir(place / "crops")[0], "far.png")
    finally:
        os.chdir(here)
    out = tmp_path / "g"
    assert main(["index", str(deep), "--out", str(out), "--model", str(place / "run"), "--links"]) == 0
    with Gallery.open(out) as gallery:
        assert len(gallery) >= 6


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes links beside the root")
def test_items_follow_a_folder_to_the_root_and_back(place, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DESCRY_ROOTS", str(tmp_path / "roots"))  # "/" is allowed for this test alone
    monkeypatch.setattr("descry.safe_files._allowed", set())
    name = f"descry-test-{os.getpid()}"
    link = Path("/") / name
    (tmp_path / "r").mkdir()
    shutil.copytree(place / "crops", tmp_path / "r" / name)
    with Gallery.create(tmp_path / "g", load(place / "run", device="cpu")) as gallery:
        gallery.index(tmp_path / "r" / name)
        link.symlink_to(tmp_path / "r" / name)
        try:
            assert gallery.relocate(tmp_path / "r", "/").moved == 6
            assert {os.path.dirname(item.path) for item in gallery.listed()} == {str(link)}
            assert gallery.index(link).unchanged == 6
            assert len(gallery) == 6
            assert gallery.relocate("/", tmp_path / "r").moved == 6
        finally:
            link.unlink()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to another user")
def test_a_file_of_another_user_is_refused_wherever_it_is_ours_by_name(place, tmp_path, capsys, monkeypatch) -> None:
    """Every file of a gallery and of a run folder, one after another: they could be changed while they are read."""
    me, other = 65533, 65534
    shutil.copytree(place / "gallery", tmp_path / "gallery")
    shutil.copytree(place / "run", tmp_path / "run")
    own = [p for name in ("gallery", "run") for p in sorted((tmp_path / name).iterdir())]
    commands = {
        "gallery": (["gallery", "info", "G"], ["verify", "G"], ["audit", "verify", "G"]),
        "run": (["model", "info", "R"],),
    }
    named = {"G": str(tmp_path / "gallery"), "R": str(tmp_path / "run")}
    for path in own:
        os.chown(path, me, -1)
    monkeypatch.setattr("os.geteuid", lambda: me)
    for path in own:
        os.chown(path, other, -1)
        for command in commands[path.parent.name]:
            assert main([named.get(a, a) for a in command]) == 2, (path.name, command)
            err = capsys.readouterr().err
            assert f"{path.name} is a file of another user" in err
            assert len(err.strip().splitlines()) == 1
        os.chown(path, me, -1)
    for folder in commands:
        assert main([named.get(a, a) for a in commands[folder][0]]) == 0


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can become another user")
def test_as_another_user_nothing_of_it_is_read(place, tmp_path, capsys) -> None:
    """Gallery, run folder, report, sheet, table and account that commands write: a child that is nobody opens none."""
    tmp_path.chmod(0o755)
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    crops, made = str(place / "crops"), str(out / "g")
    assert main(["index", crops, "--out", made, "--model", str(place / "run")]) == 0
    assert main(["inquiry", "new", made, "x", "--text", "red top"]) == 0
    assert main(["report", made, "x", "-o", str(out / "r.html")]) == 0
    assert main(["search", made, "red", "--csv", str(out / "s.csv"), "--sheet", str(out / "s.png")]) == 0
    assert main(["audit", "export", made, "--out", str(out / "account")]) == 0
    files = [p for p in [*out.iterdir(), *Path(made).iterdir()] if p.is_file()]
    assert len(files) >= 8
    (out / "open to all").write_text("")
    (out / "open to all").chmod(0o644)
    files.append(out / "open to all")  # so that it shows when the way there is closed
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for above in (tmp_path, *tmp_path.parents):  # the way there stands open: what is tested are our own files
                os.chmod(above, os.stat(above).st_mode | 0o011) if str(above).startswith("/tmp/") else None
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            opened = []
            for path in files:
                try:
                    os.close(os.open(path, os.O_RDONLY))
                    opened.append(path.name)
                except OSError:
                    pass
            os.write(write, json.dumps(opened).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert json.loads(pipe.read()) == ["open to all"]


@pytest.fixture
def own(place, tmp_path, capsys):
    """A gallery and its pictures that a test may spoil."""
    shutil.copytree(place / "crops", tmp_path / "crops")
    assert main(["index", str(tmp_path / "crops"), "--out", str(tmp_path / "g"), "--model", str(place / "run")]) == 0
    assert main(["inquiry", "new", str(tmp_path / "g"), "x", "--text", "red top"]) == 0
    capsys.readouterr()
    return tmp_path


WRITES = {
    "table": ["search", "G", "red", "--csv", "P"],
    "sheet": ["search", "G", "red", "--sheet", "P"],
    "inquiry": ["inquiry", "refine", "G", "x", "hat", "--sheet", "P"],
    "chat": ["chat", "G", "x", "--sheet", "P"],
    "account": ["audit", "export", "G", "--out", "P"],
}


@pytest.mark.parametrize("named", ["itself", "link above", "hard link"])
@pytest.mark.parametrize("what", WRITES)
def test_no_result_is_written_over_a_picture_of_the_gallery(own, capsys, monkeypatch, what, named) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    picture = next(p for p in sorted((own / "crops").rglob("*")) if p.is_file())
    before, path = picture.read_bytes(), picture
    if named == "link above":
        (own / "way").symlink_to(own / "crops")
        path = own / "way" / picture.relative_to(own / "crops")
    elif named == "hard link":
        path = own / picture.name.upper()
        os.link(picture, path)
    put = {"G": str(own / "g"), "P": str(path)}
    assert main([put.get(a, a) for a in WRITES[what]]) == 2
    err = capsys.readouterr().err
    assert f"{path} is a picture of this gallery" in err
    assert picture.read_bytes() == path.read_bytes() == before
    other = own / f"other{picture.suffix}"
    other.write_bytes(b"an older result")
    put["P"] = str(other)
    assert main([put.get(a, a) for a in WRITES[what]]) == 0, "an older result is replaced"


@pytest.mark.parametrize("write", ["to_csv", "sheet"])
def test_results_in_python_go_over_no_picture_and_into_no_gallery(own, write) -> None:
    """As on the command line, also when the gallery was closed meanwhile."""
    with Gallery.open(own / "g") as gallery:
        found = gallery.search("red", k=2)
    picture = Path(found.paths[0])
    before = picture.read_bytes()
    for part in (found, found[:1], found.above(0)):
        with pytest.raises(UsageError, match="is a picture of this gallery"):
            getattr(part, write)(picture)
        for name in ("leads.png", "gallery.db", "more/leads.png"):
            with pytest.raises(UsageError, match="lies in the gallery's own folder"):
                getattr(part, write)(own / "g" / name)
    assert picture.read_bytes() == before
    assert not (own / "g" / "more").exists()
    getattr(found, write)(own / "leads.png")
    getattr(found, write)(own / "leads.png")


def test_a_frame_goes_over_no_picture(own, capsys) -> None:
    picture = next(p for p in sorted((own / "crops").rglob("*")) if p.is_file())
    before = picture.read_bytes()
    assert main(["gallery", "frame", str(own / "g"), "1", "--out", str(picture)]) == 2
    assert f"{picture} is a picture of this gallery" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_a_changed_picture_is_known_by_another_way_to_it(own, place, capsys) -> None:
    """Neither its path as it was indexed nor its size and time say so."""
    (own / "way").symlink_to(own / "crops")
    assert main(["index", str(own / "way"), "--out", str(own / "h"), "--model", str(place / "run")]) == 0
    picture = next(p for p in sorted((own / "crops").rglob("*")) if p.is_file())
    picture.write_bytes(picture.read_bytes() + b"more")
    before = picture.read_bytes()
    assert main(["search", str(own / "h"), "red", "--csv", str(picture)]) == 2
    assert f"{picture} is a picture of this gallery" in capsys.readouterr().err
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "unreadable"),
        (OSError(errno.EIO, "Input/output error"), "unreadable"),
        (OSError(errno.ESTALE, "Stale file handle"), "unreadable"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "missing"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory"), "missing"),
    ],
)
def test_a_picture_behind_a_folder_that_cannot_be_read_is_not_called_gone(own, monkeypatch, capsys, error, reason):
    """Every reader of a picture, when its folder lets nobody in: the file is there, and can be read again tomorrow."""
    with Gallery.open(own / "g") as gallery:
        found = gallery.search("red", k=1)
    picture, real, isfile = found.paths[0], os.stat, os.path.isfile

    def stat(path, *args, **options):
        if os.fspath(path) == picture:
            raise error
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os.path, "isfile", lambda path: os.fspath(path) != picture and isfile(path))
    readers = {
        "read": lambda: images.read(picture),
        "header": lambda: images.header(picture), "digest": lambda: digest(picture),
        "as_indexed": lambda: as_indexed(found.items[0]),
    }  # fmt: skip
    for name, read in readers.items():
        with pytest.raises(ImageRejected) as caught:
            read()
        assert caught.value.reason == reason, name
        assert (error.strerror in str(caught.value)) == (reason == "unreadable"), str(caught.value)
    assert images.decodes(picture) == reason


def test_a_lead_with_a_name_too_long_for_this_disk_ends_no_search(own, capsys) -> None:
    with Gallery.open(own / "g") as gallery:
        found = gallery.search("red", k=1)
    long = dataclasses.replace(found, items=(dataclasses.replace(found.items[0], path="/" + "x" * 5000),))
    tell(long, False)
    assert "cannot be found any more" in capsys.readouterr().err


def test_copies_go_over_no_picture_of_the_gallery(own, capsys) -> None:
    gallery = str(own / "g")
    assert main(["search", gallery, "red", "-k", "1", "--json"]) == 0
    lead = json.loads(capsys.readouterr().out)["results"][0]
    first = Path(lead["path"])
    taken = first.with_name(f"0001_{lead['id']}{first.suffix}")
    taken.write_bytes(next(p for p in first.parent.iterdir() if p != first and p.is_file()).read_bytes())
    assert main(["index", str(own / "crops"), "--out", gallery]) == 0
    before = taken.read_bytes()
    assert main(["search", gallery, "red", "--copy-to", str(first.parent)]) == 0
    said = capsys.readouterr().err
    assert taken.read_bytes() == before
    assert "is not copied" not in said or f"{taken} is a picture of this gallery" in said


@pytest.mark.parametrize("end", ["quit", "end of input", "Ctrl-C", "read-only"])
def test_a_chat_leaves_no_picture_of_its_own(own, capsys, monkeypatch, end) -> None:
    """The contact sheet nobody asked for: the owner's alone, of a name nobody can guess, and gone afterwards."""
    temporary, sheets = own / "tmp", []
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = {p.name for p in (own / "g").iterdir()}
    chat = importlib.import_module("descry.cli.chat")
    shown = chat._picture

    def looked_at(path, draw):
        draw(path)
        sheets.append((path, path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o077))
        if end == "Ctrl-C":
            raise KeyboardInterrupt
        return shown(path, draw)

    monkeypatch.setattr(chat, "_picture", looked_at)
    monkeypatch.setattr("sys.stdin", io.StringIO("/quit\n" if end == "quit" else ""))
    if end == "read-only":
        monkeypatch.setattr("descry.gallery.database.writable", lambda path: False)
    status = main(["chat", str(own / "g"), "x"])
    assert status == (130 if end == "Ctrl-C" else 0), capsys.readouterr().err
    (place, mode, others), *_ = sheets
    assert (mode, others) == (0o600, 0)
    assert re.fullmatch(r"sheet-[0-9a-f]{16}\.png", place.name)
    assert place.is_relative_to(temporary if end == "read-only" else own / "g")
    assert not list(temporary.iterdir())
    assert {p.name for p in (own / "g").iterdir()} == before


# ---------------------------------------------------------------------- another file between the look and the opening


@pytest.fixture
def swapped(monkeypatch):
    """As if somebody put a pipe in the place of a file after it was looked at: `swapped(path)` arms it for the path."""
    armed: set[str] = set()
    honest = os.open

    def opened(path, flags, *rest, **more):
        if not isinstance(path, int) and os.fspath(path) in armed and os.path.isfile(path):
            os.unlink(path)
            os.mkfifo(path)
        return honest(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", opened)
    return lambda path: armed.add(os.fspath(path))


def test_a_pipe_put_in_the_place_of_a_file_is_no_file(place, tmp_path, swapped) -> None:
    """Whoever opens a pipe waits for ever. By every helper that opens, and for a picture in every way it is read."""
    from descry import images
    from descry.gallery.reading import Reader, as_indexed
    from descry.gallery.sources import Sources
    from descry.gallery.walk import Found
    from descry.safe_files import open_own, open_regular, read_own, read_regular

    shutil.copytree(place / "crops", tmp_path / "crops")
    with Gallery.create(tmp_path / "g", load(place / "run", device="cpu")) as gallery:
        gallery.index(tmp_path / "crops")
        item = next(iter(gallery.listed()))
    path = Path(item.path)
    data = path.read_bytes()
    reader = Reader((16, 8), images.GALLERY, Sources(camera="exif"), {})
    found = Found(item.path, item.size, item.mtime)
    ways = {
        "open_regular": lambda: open_regular(path).close(),
        "read_regular": lambda: read_regular(path, 1 << 20),
        "read_own": lambda: read_own(path, 1 << 20),
        "open_own": lambda: open_own(path),
        "shown": lambda: as_indexed(item),
        "read": lambda: images.read(item.path),
        "header": lambda: images.header(item.path),
    }
    for name, way in ways.items():
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        swapped(path)
        with pytest.raises((OSError, UsageError, ImageRejected)) as caught:
            way()
        assert "regular" in str(caught.value) or "not there" in str(caught.value) or "argument" in str(caught.value), (
            name
        )
    for way in (lambda: reader.read(found).reason, lambda: reader.fields(found, {"camera": "x"})["camera"]):
        path.unlink()
        path.write_bytes(data)
        assert way() in ("missing", "x")
