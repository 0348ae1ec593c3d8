"""Galleries that somebody crafted: each is refused in one line by every command that meets what is wrong with it.

Nothing in them costs more than it should, none of their text reaches the terminal raw, and no command fails in a way
that was not foreseen.
"""

from __future__ import annotations

import ast
import importlib
import io
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import descry
from conftest import write_small_gallery
from crafted import (
    DEEP,
    in_round,
    instead,
    journal,
    schema,
    seal_config,
    seal_gallery,
    seal_head,
    socket_at,
    sparse,
    sql,
)
from descry.cli import main
from descry.gallery.database import FORMS, SCHEMA, State

Change = Callable[[Path], None]
HUGE = 1 << 61
COMMANDS = {
    "search": ["search", "G", "a red top"],
    "verify": ["verify", "G"],
    "info": ["gallery", "info", "G"],
    "list": ["gallery", "list", "G"],
    "inspect": ["gallery", "inspect", "G"],
    "show": ["inquiry", "show", "G", "x"],
    "inquiries": ["inquiry", "list", "G"],
    "report": ["report", "G", "x", "-o", "OUT"],
    "audit": ["audit", "verify", "G"],
    "refine": ["inquiry", "refine", "G", "x", "blue trousers"],
    "purge": ["purge", "G", "--inquiry", "x"],
    "compact": ["compact", "G"],
    "merge": ["merge", "G", "--out", "OUT"],
}
STORE = ("search", "verify", "info", "list", "inspect", "compact", "merge")
INQUIRY = ("show", "inquiries", "report", "refine", "inspect", "purge")


def without_cache(change: Change) -> Change:
    """The same without the copy of the vectors, from which a search would go on rightly."""

    def changed(folder: Path) -> None:
        (folder / "vectors.cache").unlink()
        change(folder)

    return changed


def vectors(value: float) -> Change:
    """Vectors that are no vectors, with checksums and moments that are right."""

    def change(folder: Path) -> None:
        with sqlite3.connect(folder / "gallery.db") as db:
            data = db.execute("SELECT data FROM blocks").fetchone()[0]
            rows = np.frombuffer(data, np.float16).copy()
            rows[: len(rows) // 8] = value
            db.execute("UPDATE blocks SET data = ?", (rows.tobytes(),))
        db.close()
        (folder / "vectors.cache").unlink()
        seal_gallery(folder)

    return change


ITEM_CASES: dict[str, Change] = {
    "path is text": sql("UPDATE items SET path = '/a/b.png' WHERE id = 2"),
    "path is empty": sql("UPDATE items SET path = x'' WHERE id = 2"),
    "path holds NUL": sql("UPDATE items SET path = x'2f6100' WHERE id = 2"),
    "path of 100 kB": sql("UPDATE items SET path = zeroblob(100000) WHERE id = 2"),
    "hash of 31 bytes": sql("UPDATE items SET sha = zeroblob(31) WHERE id = 2"),
    "hash is text": sql("UPDATE items SET sha = 'abc' WHERE id = 2"),
    "size is text": sql("UPDATE items SET size = 'much' WHERE id = 2"),
    "size is negative": sql("UPDATE items SET size = -1 WHERE id = 2"),
    "time of the file is no whole number": sql("UPDATE items SET mtime = 1e300 WHERE id = 2"),
    "camera is bytes": sql("UPDATE items SET camera = x'00ff' WHERE id = 2"),
    "camera is no UTF-8": sql("UPDATE items SET camera = CAST(x'ff41' AS TEXT) WHERE id = 2"),
    "camera is a number": sql("UPDATE items SET camera = zeroblob(70000) WHERE id = 2"),
    "time is text": sql("UPDATE items SET time = 'noon' WHERE id = 2"),
    "time beyond the calendar": sql("UPDATE items SET time = 9000000000000000000 WHERE id = 2"),
    "look is text": sql("UPDATE items SET look = 'x' WHERE id = 2"),
    "row is negative": sql("UPDATE items SET row = -1 WHERE id = 2"),
    "row is far outside": sql("UPDATE items SET row = 1099511627776 WHERE id = 2"),
    "row is text": sql("UPDATE items SET row = 'one' WHERE id = 2"),
    "number is negative": sql("UPDATE items SET id = -5 WHERE id = 2"),
    "number is the largest": sql("UPDATE items SET id = 9223372036854775807 WHERE id = 2"),
}
STATE_CASES: dict[str, Change] = {
    "count is absurd": sql("UPDATE state SET count = ?", HUGE),
    "count is negative": sql("UPDATE state SET count = -1"),
    "next number is text": sql("UPDATE state SET next_id = 'x'"),
    "commits beyond all": sql("UPDATE state SET commits = 9223372036854775807"),
    "lines are absurd": sql("UPDATE state SET lines = 1125899906842624"),
    "last is no hash": sql("UPDATE state SET last = ?", "$(touch marker)" * 100),
    "digest is text": sql("UPDATE state SET digest = 'x'"),
    "no state": sql("DELETE FROM state", sealed=False),
    "rows are absurd": sql("UPDATE vectors SET rows = 1099511627776"),
    "another dimension": sql("UPDATE vectors SET dimension = 3"),
    "version is text": sql("UPDATE vectors SET version = 'x'"),
    "block of wrong length": without_cache(sql("UPDATE blocks SET data = zeroblob(7)")),
    "block with a negative number": without_cache(sql("UPDATE blocks SET id = -1")),
    "block is text": without_cache(sql("UPDATE blocks SET data = 'abc'")),
    "vectors are not finite": vectors(np.nan),
    "vectors are infinite": vectors(np.inf),
    "moments of wrong length": sql("UPDATE moments SET data = zeroblob(9)"),
    "moments of more rows than there are": sql("UPDATE moments SET rows = 1000000"),
    "erased row that was never written": sql("INSERT INTO erased VALUES (1099511627776)"),
    "items are gone": sql("DELETE FROM items"),
}
UNREAD = ("erased row that was never written", "moments of wrong length", "moments of more rows than there are")
"""Cases of values that a search does not read."""
SCHEMA_CASES: dict[str, Change] = {
    "generated column without end": schema(
        "UPDATE sqlite_master SET sql = replace(sql, 'camera TEXT NOT NULL', 'camera TEXT AS (printf(''%1000000d'', "
        "id))') WHERE name = 'items'"
    ),
    "check without end": schema(
        "UPDATE sqlite_master SET sql = replace(sql, 'last TEXT NOT NULL', 'last TEXT NOT NULL CHECK (length(printf("
        "''%999999999d'', 1)) > 1)') WHERE name = 'state'"
    ),
    "virtual table": sql("CREATE VIRTUAL TABLE more USING fts5(a)", sealed=False),
    "view without end in the place of a table": schema(
        "UPDATE sqlite_master SET type = 'view', rootpage = 0, sql = 'CREATE VIEW state AS WITH RECURSIVE c(n) AS "
        "(SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c' WHERE name = 'state'"
    ),
    "two tables on one page": schema(
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'items') "
        "WHERE name = 'rounds'"
    ),
    "table on no page": schema("UPDATE sqlite_master SET rootpage = 99999 WHERE name = 'items'"),
    "index of an expression": sql("CREATE INDEX more ON items (abs(size))", sealed=False),
    "300 more tables": schema(*(f"CREATE TABLE t{i} (a)" for i in range(300))),
    "a definition that is none": schema("UPDATE sqlite_master SET sql = 'CREATE TABLE items (' WHERE name = 'items'"),
}
INQUIRY_CASES: dict[str, Change] = {
    "key is text": sql("UPDATE inquiries SET key = 'secret'"),
    "key is empty": sql("UPDATE inquiries SET key = x''"),
    "head is a text": sql("UPDATE inquiries SET head = 'first'"),
    "head is no round": sql("UPDATE inquiries SET head = 77"),
    "date is a command": sql("UPDATE inquiries SET begun = '$(id)', touched = '\x1b[2J'"),
    "visits are no pairs": sql("UPDATE inquiries SET visited = '[1,2,3]'"),
    "visits are nested deeply": sql("UPDATE inquiries SET visited = ?", DEEP),
    "round is nested deeply": sql("UPDATE rounds SET data = ?", DEEP),
    "round is no object": sql("UPDATE rounds SET data = '7'"),
    "round is bytes": sql("UPDATE rounds SET data = x'00'"),
    "round follows itself": in_round(lambda d: d.update(parent=1)),
    "round follows a later one": in_round(lambda d: d.update(parent=9)),
    "number of a round is text": in_round(lambda d: d.update(number="1")),
    "results are no numbers": in_round(lambda d: d.update(results=[["a", 1.0]])),
    "a score is not a number": in_round(lambda d: d.update(results=[[1, float("nan")]])),
    "a weight is text": in_round(lambda d: d["query"]["wanted"][0].update(weight="1")),
    "20,000 phrases": in_round(lambda d: d["query"].update(wanted=d["query"]["wanted"] * 20_000)),
    "a phrase of a megabyte": in_round(lambda d: d["query"]["wanted"][0].update(text="red " * 250_000)),
    "a phrase is a list": in_round(lambda d: d["query"]["wanted"][0].update(text=["a"])),
    "marks are text": in_round(lambda d: d["query"].update(liked="12")),
    "a constant of the formula is infinite": in_round(lambda d: d["formula"].update(evidence=1e999)),
    "no formula": in_round(lambda d: d.pop("formula") and None),
    "an answer that is none": in_round(lambda d: d.update(asked={"hat": "maybe"})),
    "a date that is none": in_round(lambda d: d["query"]["filters"].update(since="yesterday")),
    "a picture that is not there": in_round(
        lambda d: d["query"].update(sketches=[{"sha256": "0" * 64, "weight": 1.0, "on": True}])
    ),
}
FINDING_CASES: dict[str, Change] = {
    "verdict is none of ours": sql("UPDATE findings SET verdict = 'guilty'"),
    "note of 100 kB": sql("UPDATE findings SET note = ?", "x" * 100_000),
    "note is bytes": sql("UPDATE findings SET note = x'00'"),
    "item of a finding is text": sql("UPDATE findings SET item = 'x'"),
    "hash of a finding is a command": sql("UPDATE findings SET sha256 = '$(id)'"),
}
ACCOUNT_CASES: dict[str, Change] = {
    "line is text": sql("UPDATE account SET line = 'abc' WHERE number = 1"),
    "line is nested deeply": sql("UPDATE account SET line = ? WHERE number = 1", DEEP.encode()),
    "line says infinity": sql("UPDATE account SET line = ? WHERE number = 1", b'{"n":1e999,"hash":"0"}\n'),
    "line is gone": sql("DELETE FROM account WHERE number = 1"),
}
FILE_CASES: dict[str, Change] = {
    "database is a pipe": instead("gallery.db", os.mkfifo),
    "database is a folder": instead("gallery.db", Path.mkdir),
    "database is a socket": instead("gallery.db", socket_at),
    "database is empty": instead("gallery.db", lambda path: path.write_bytes(b"")),
    "database of a terabyte of nothing": instead("gallery.db", sparse),
    "lock is a pipe": instead("writer.lock", os.mkfifo),
    "head is a pipe": instead("head", os.mkfifo),
    "head of a terabyte": instead("head", sparse),
    "head is a list": lambda folder: seal_head(folder, [1, 2]),
    "head is nested deeply": lambda folder: seal_head(folder, "[" * 200 + "]" * 200),
    "head counts in text": lambda folder: seal_head(folder, {"commits": "9", "digest": 0, "lines": 0, "last": ""}),
    "config of a terabyte": instead("gallery.json", sparse),
    "config is nested deeply": lambda folder: seal_config(folder, lambda body: DEEP),
    "config is a list": lambda folder: seal_config(folder, lambda body: "[1, 2]"),
    "config is a pipe": instead("gallery.json", os.mkfifo),
    "config is no UTF-8": instead("gallery.json", lambda path: path.write_bytes(b"\xff\xfe\ncrc32 00000000\n")),
    "widest vectors": lambda folder: seal_config(folder, lambda body: body["binding"].update(dimension=65_000)),
    "cache is a pipe": instead("vectors.cache", os.mkfifo),
    "calibration is a pipe": instead("absence.json", os.mkfifo),
}
if hasattr(os, "geteuid") and os.geteuid() == 0:
    FILE_CASES["database is a device"] = instead("gallery.db", lambda path: os.mknod(path, 0o020600, os.makedev(1, 5)))


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy) -> Path:
    """A gallery of six crops with an inquiry of two rounds and a finding, and its model."""
    root = write_small_gallery(tmp_path_factory.mktemp("crafted"), toy)
    folder = str(root / "gallery")
    assert main(["inquiry", "new", folder, "x", "--text", "red top"]) == 0
    assert main(["inquiry", "refine", folder, "x", "blue trousers"]) == 0
    assert main(["finding", folder, "x", "--item", "1", "--note", "seen"]) == 0
    return root


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """A command that does not end fails the test instead of the run."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_: object) -> None:
        raise TimeoutError("the command does not end")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refusals(place: Path, tmp_path: Path, capsys, monkeypatch, change: Change, verbs) -> set[str]:
    """The commands that refuse a gallery changed so. Each says at most one line, and none is surprised."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.chdir(tmp_path)
    crafted, refused = tmp_path / "crafted", set()
    shutil.copytree(place / "gallery", crafted)
    change(crafted)
    capsys.readouterr()
    for verb in verbs:
        named = {"G": str(crafted), "OUT": str(tmp_path / f"out-{verb}.html")}
        status = main([named.get(a, a) for a in COMMANDS[verb]])
        out, err = capsys.readouterr()
        for told in ("unexpected", "Traceback"):
            assert told not in err, (verb, err)
        assert not set(out + err) & {"\x1b", "\x07", "\x9b"}, (verb, out, err)
        if status:
            refused.add(verb)
            told = err.strip().splitlines()
            assert len(told) == 1 or (verb in ("verify", "audit") and out.strip() and not told), (verb, status, err)
    assert not (tmp_path / "marker").exists()
    return refused


@pytest.mark.parametrize("case", [*ITEM_CASES, *STATE_CASES])
def test_rows_that_cannot_be_meant(place, tmp_path, capsys, monkeypatch, case) -> None:
    change = (ITEM_CASES | STATE_CASES)[case]
    refused = refusals(place, tmp_path, capsys, monkeypatch, change, STORE)
    assert "verify" in refused
    assert "search" in refused or case in UNREAD


@pytest.mark.parametrize("case", SCHEMA_CASES)
def test_definitions_that_are_not_ours(place, tmp_path, capsys, monkeypatch, case) -> None:
    refused = refusals(place, tmp_path, capsys, monkeypatch, SCHEMA_CASES[case], STORE)
    assert {"verify"} <= refused
    if case != "two tables on one page":  # of items, search reads only what is sound
        assert "search" in refused


@pytest.mark.parametrize("case", [*INQUIRY_CASES, *FINDING_CASES])
def test_inquiries_that_cannot_be_meant(place, tmp_path, capsys, monkeypatch, case) -> None:
    refused = refusals(place, tmp_path, capsys, monkeypatch, (INQUIRY_CASES | FINDING_CASES)[case], INQUIRY)
    assert "report" in refused
    assert "show" in refused or case in FINDING_CASES or "date" in case or "key" in case


@pytest.mark.parametrize("case", ACCOUNT_CASES)
def test_an_odd_line_of_the_account_is_told_and_blocks_nothing_else(place, tmp_path, capsys, monkeypatch, case) -> None:
    refused = refusals(place, tmp_path, capsys, monkeypatch, ACCOUNT_CASES[case], ("audit", "search", "refine", "show"))
    assert refused == {"audit"}


@pytest.mark.parametrize("case", FILE_CASES)
def test_files_that_are_not_what_their_names_say(place, tmp_path, capsys, monkeypatch, case) -> None:
    refused = refusals(place, tmp_path, capsys, monkeypatch, FILE_CASES[case], STORE)
    assert {"search", "info", "verify"} <= refused


def test_a_journal_that_came_with_a_gallery_deletes_nothing(place, tmp_path, capsys, monkeypatch) -> None:
    """SQLite deletes the file that a rollback journal names as that of further databases."""
    victim = tmp_path / "mine.txt"
    victim.write_text("mine")
    shutil.copytree(place / "gallery", tmp_path / "plain")
    journal("gallery.db", victim)(tmp_path / "plain")
    with closing(sqlite3.connect(tmp_path / "plain" / "gallery.db")) as db:
        db.execute("SELECT count(*) FROM items").fetchone()
    assert not victim.exists(), "the journal is one that SQLite goes by"
    victim.write_text("mine")
    refused = refusals(place, tmp_path, capsys, monkeypatch, journal("gallery.db", victim), COMMANDS)
    assert set(COMMANDS) - refused == {"inspect"}
    assert victim.read_text() == "mine"
    assert main(["gallery", "inspect", str(tmp_path / "crafted")]) == 0
    assert "gallery.db-journal could make SQLite" in "".join(capsys.readouterr())


def statements() -> Iterator[tuple[str, str]]:
    """Every SELECT of the product's own database in the source, with the names in braces put in."""
    known = {
        "table": "items",
        "column": "id",
        "where": "1",
        "condition": "1",
        "marks": "1",
        "order": "id",
        "count": "1",
    }
    source = Path(descry.__file__).parent
    for path in sorted(source.rglob("*.py")):
        if path.name in ("conversion.py", "inspecting.py"):  # they judge databases of others by name
            continue
        module = ".".join(("descry", *path.relative_to(source).with_suffix("").parts))
        text = path.read_text("utf-8")
        nodes = list(ast.walk(ast.parse(text))) if "SELECT " in text or "BLOCKS" in text else []
        inner = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                parts: list[ast.expr] = [node]
            elif isinstance(node, ast.JoinedStr):
                parts = node.values
            else:
                continue
            begins = parts[0].value if parts and isinstance(parts[0], ast.Constant) else ""
            within = isinstance(parts[0], ast.FormattedValue) and ast.unparse(parts[0].value) == "BLOCKS"
            if not (isinstance(begins, str) and begins.startswith("SELECT ")) and not within:
                continue
            namespace = (
                known | vars(importlib.import_module(module)) | {"State": State, "columns": FINDING, "without": "1"}
            )
            yield (
                path.name,
                "".join(
                    part.value if isinstance(part, ast.Constant) else str(eval(ast.unparse(part.value), namespace))
                    for part in parts
                    if isinstance(part, (ast.Constant, ast.FormattedValue))
                ),
            )


FINDING = "item, verdict, note, round, sha256, at"
PLAIN = {"1", "name", "type", "sql"}
"""Columns of SQLite's own."""


def test_every_column_that_is_read_has_a_form() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        read = 0
        for file, statement in statements():
            try:
                found = db.execute(statement, ["1"] * statement.count("?"))
            except sqlite3.Error as error:
                raise AssertionError(f"{file}: {statement}: {error}") from None
            names = {column[0] for column in found.description}
            unknown = {n for n in names - set(FORMS) - PLAIN if not n.lower().startswith(("count(", "(select count("))}
            assert not unknown, (file, statement)
            read += 1
    assert read > 50
