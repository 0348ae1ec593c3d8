"""Galleries that cannot be written: searched, listed, verified and served, and not a byte of them changes."""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import descry
from conftest import write_run
from descry import safe_files
from descry.cli import main
from descry.errors import ReadOnly, UsageError
from descry.gallery.vectors import CACHE
from gallery.plain_model import draw

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders have no permission bits there")


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Set(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


@contextmanager
def obeying() -> Iterator[None]:
    """The superuser obeys permission bits inside (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are laid down, in this
    thread and those it starts)."""
    if os.geteuid():
        yield
        return
    libc, header, sets = ctypes.CDLL(None), _Header(0x20080522, 0), (_Set * 2)()
    if not hasattr(libc, "capset") or libc.capget(ctypes.byref(header), sets):
        pytest.skip("run this test as another user than root")
    before = sets[0].effective
    sets[0].effective &= ~0b110
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0


@contextmanager
def read_only(folder: Path) -> Iterator[dict[str, tuple[bytes, int]]]:
    """Nothing in the folder may be written inside; and nothing was, which is checked at the end."""
    before = state(folder)
    modes = {path: path.stat().st_mode for path in [folder, *folder.iterdir()]}
    for path in modes:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        with obeying():
            with pytest.raises(PermissionError):
                (folder / "probe").write_bytes(b"")
            yield before
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert state(folder) == before


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of twelve crops with one inquiry; not to be written to."""
    folder = tmp_path_factory.mktemp("evidence")
    run = write_run(folder / "run")
    for i in range(12):
        draw(folder / "crops" / f"cam{i % 2}" / f"p{i:03d}.png", i)
    with descry.Gallery.create(folder / "gallery", run) as gallery:
        gallery.index(folder / "crops")
        gallery.inquiry("case").ask(descry.Query(wanted="a red top"))
    return folder / "gallery"


@pytest.fixture
def gallery(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "gallery"))


def test_it_is_searched_and_the_answer_says_that_no_line_was_written(gallery, capsys):
    with descry.Gallery.open(gallery) as opened:
        wanted = opened.search("a red top", k=5)
    (gallery / CACHE).unlink()
    with read_only(gallery):
        assert main(["search", str(gallery), "a red top", "-k", "5", "--json"]) == 0
        out, err = capsys.readouterr()
        said = json.loads(out)
        with descry.Gallery.open(gallery) as opened:
            assert opened.read_only
            assert "read-only" in repr(opened)
            opened.search("a red top", record=False)
    assert [lead["id"] for lead in said["results"]] == list(wanted.ids)
    assert "no line was written to the account: the gallery is read-only" in said["note"]
    assert err.count("no line was written to the account: the gallery is read-only") == 1
    assert "read-only" not in wanted.note


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("gallery list GALLERY", "p003.png"),
        ("gallery info GALLERY", "items          12"),
        ("gallery inspect GALLERY", "items"),
        ("verify GALLERY", "every byte"),
        ("audit verify GALLERY", "account"),
        ("inquiry list GALLERY", "case"),
        ("inquiry show GALLERY case", "p0"),
        ("inquiry replay GALLERY case", "same"),
    ],
)
def test_what_only_reads_works(command, shown, gallery, capsys):
    with read_only(gallery):
        status = main([str(gallery) if a == "GALLERY" else a for a in command.split()])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert shown in out + err


@pytest.mark.parametrize(
    "command",
    [
        "index CROPS --out GALLERY",
        "inquiry new GALLERY other --text red",
        "inquiry refine GALLERY case blue",
        "inquiry export GALLERY case",
        "report GALLERY case -o OUT",
        "finding GALLERY case --item 1",
        "keep GALLERY case --until never",
        "purge GALLERY --inquiry case",
        "gallery delete GALLERY --item 1",
        "gallery relocate GALLERY CROPS /elsewhere",
        "compact GALLERY",
        "audit export GALLERY -o OUT",
    ],
)
def test_what_would_write_is_refused_in_one_line_that_says_what_to_do(command, gallery, made, tmp_path, capsys):
    names = {"GALLERY": str(gallery), "CROPS": str(made.parent / "crops"), "OUT": str(tmp_path / "out.html")}
    with read_only(gallery):
        status = main([names.get(a, a) for a in command.split()])
    err = capsys.readouterr().err
    assert status == 1, err
    assert f"{gallery} is read-only" in err
    assert "Copy it to where you may write" in err


def test_rounds_are_made_in_memory_in_python_and_in_the_chat(gallery, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("a red top\nno hat\n/quit\n"))
    with read_only(gallery):
        with descry.Gallery.open(gallery) as opened:
            session = opened.inquiry("case")
            session.refine("no hat")
            assert len(session.inquiry.rounds) == 2
            assert sorted(opened.inquiry("new").inquiry.rounds) == []
        assert main(["chat", str(gallery), "talk"]) == 0
    out, err = capsys.readouterr()
    assert "rounds end with this chat, and the account gets no line" in err
    assert "p0" in out
    with descry.Gallery.open(gallery) as opened:
        assert opened.inquiries().names() == ["case"]


def test_the_page_works_and_says_so(gallery):
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    from web.in_process import Server, ask

    with read_only(gallery):
        server = Server(gallery, descry.load(_run_of(gallery)))
        with server.client():
            client = server.client(Authorization=f"Bearer {server.token}")
            server.desk.warm()
            facts = client.get("/api/v1/galleries").json()["galleries"][0]
            assert facts["read_only"]
            assert "rounds end with the server, and no line is written to the account" in facts["note"]
            assert [i["name"] for i in client.get("/api/v1/inquiries").json()["inquiries"]] == ["case"]
            inquiry = client.post("/api/v1/inquiries", json={"name": "seen"}).json()["id"]
            assert ask(client, inquiry, "red top")["results"]["leads"]
            refused = client.post(f"/api/v1/inquiries/{inquiry}/reports", json={"format": "html"})
            assert refused.status_code == 409
            assert refused.json()["code"] == "read_only"
        server.gallery.close()


def _run_of(gallery: Path) -> str:
    return json.loads((gallery / "gallery.json").read_text().rpartition("\ncrc32")[0])["binding"]["source"]


def test_what_another_process_writes_meanwhile_is_seen(gallery):
    """Read-only for us need not be read-only for all: a share that somebody else writes to."""
    with descry.Gallery.open(gallery) as writer:
        with read_only_until(gallery) as release:
            reader = descry.Gallery.open(gallery)
            assert (reader.read_only, len(reader)) == (True, 12)
            release()
        writer.delete([1, 2])
    assert len(reader) == 10
    reader.search("a red top", record=False)
    reader.close()


@contextmanager
def read_only_until(folder: Path) -> Iterator[Any]:
    with obeying():
        folder.chmod(0o500)
        yield lambda: folder.chmod(0o700)


def test_a_log_that_was_left_is_read_or_named(gallery, tmp_path):
    """A gallery that was copied while another process had it open: its last commits stand in the log."""
    with descry.Gallery.open(gallery) as opened:
        opened.delete([1])
        copied = Path(shutil.copytree(gallery, tmp_path / "copied"))
        without = Path(shutil.copytree(gallery, tmp_path / "without", ignore=shutil.ignore_patterns("*-shm")))
    assert (copied / "gallery.db-wal").stat().st_size
    with read_only(copied), descry.Gallery.open(copied) as opened:
        assert len(opened) == 11
    with read_only(without), pytest.raises(ReadOnly, match=r"gallery\.db-wal.*copy the whole folder"):
        descry.Gallery.open(without)


def test_threads_read_it_too(gallery):
    found: list[int] = []
    with read_only(gallery), descry.Gallery.open(gallery) as opened:
        for _ in range(3):
            thread = threading.Thread(target=lambda: found.append(len(opened.items([1, 2]))))
            thread.start()
            thread.join()
    assert found == [2, 2, 2]


def test_files_of_others_are_read_where_nobody_can_change_them(gallery, monkeypatch):
    """A mounted image or share keeps the numbers of its own users."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4711)
    with pytest.raises(UsageError, match="a file of another user"):
        descry.Gallery.open(gallery)
    monkeypatch.setattr(safe_files, "on_read_only_disk", lambda folder: True)
    descry.Gallery.open(gallery).close()
