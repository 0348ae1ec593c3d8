"""The account: every edit of its lines is found where it was made, and a cut end by the head that was exported."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from descry.errors import DescryError, Locked, UsageError
from descry.gallery import account as audit
from descry.gallery.account import FIRST, Audit, Line, add_line, commitment
from descry.gallery.database import HEAD, NAME, Database

LINES = 10_000


def add(place: Path | Database, what: str, **facts: object) -> Line:
    """A line in an open database, or in that of a folder, which is made where there is none."""
    if isinstance(place, Database):
        return add_line(place, what, **facts)
    with closing(Database(place, create=not (place / HEAD).exists())) as database:
        return add_line(database, what, **facts)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[bytes]:
    """Ten thousand lines, written as the real ones are but for waiting on the disk."""
    database = Database(tmp_path_factory.mktemp("account"), create=True)
    account = Audit(database)
    with database.writing():
        for i in range(LINES):
            add(account.place, "search", inquiry=f"{i % 7:032x}", round=i, shown=50)
    assert account.verify().to_json() == {
        "lines": LINES, "head": account.head(), "ok": True, "torn": False, "faults": []
    }  # fmt: skip
    return account.read().splitlines(keepends=True)


def judged(folder: Path, lines: list[bytes], head: str = "") -> audit.Verdict:
    (folder / "account.jsonl").write_bytes(b"".join(lines))
    return Audit(folder / "account.jsonl").verify(head)


def sealed(line: bytes, **changes: object) -> bytes:
    """The line changed by someone who knows how lines are sealed."""
    row = json.loads(line)
    row.pop("hash")
    body = json.dumps(row | changes, separators=(",", ":")).encode()
    return body[:-1] + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def flipped(raw: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_any_changed_bit_of_a_line_is_found_at_that_line(tmp_path) -> None:
    account = Audit(tmp_path)
    for i in range(4):
        add(account.place, "search", inquiry=f"{i:032x}", round=i, shown=50)
    lines = account.read().splitlines(keepends=True)
    for at in (0, 1, 3):
        for position in range(len(lines[at])):
            for bit in (0, 3, 5, 7):
                changed = flipped(lines[at], position, bit)
                if b"\n" in changed[:-1]:
                    continue  # two lines then, and two faults: see the next test
                verdict = judged(tmp_path, [*lines[:at], changed, *lines[at + 1 :]])
                assert [f.line for f in verdict.faults] == [at + 1], (changed, verdict)
                assert not verdict.torn, "nor is it taken for an end that may be dropped"


def test_any_changed_byte_among_ten_thousand_lines_is_found_at_its_line(written, tmp_path) -> None:
    rng = random.Random(0)
    for at in (0, LINES - 1, *rng.sample(range(LINES), 10)):
        changed = flipped(written[at], rng.randrange(len(written[at])), rng.randrange(8))
        verdict = judged(tmp_path, [*written[:at], changed, *written[at + 1 :]])
        assert verdict.faults[0].line == at + 1, verdict.faults


def test_a_line_whose_end_was_changed_is_not_dropped_by_the_next_writer(tmp_path) -> None:
    account = Audit(tmp_path)
    for _ in range(3):
        add(account.place, "search")
    whole = account.read()
    stored(tmp_path, 3, account.read().splitlines()[2] + b" ")
    assert [f.line for f in account.verify().faults] == [3]
    add(account.place, "search")
    assert account.read().startswith(whole[:-1])
    assert [f.line for f in account.verify().faults] == [3]
    assert account.verify().lines == 4


def stored(folder: Path, number: int, line: bytes | None) -> None:
    """Put another line in the place of one, or none, behind the gallery's back."""
    with sqlite3.connect(folder / NAME) as db:
        if line is None:
            db.execute("DELETE FROM account WHERE number = ?", (number,))
        else:
            db.execute("UPDATE account SET line = ? WHERE number = ?", (line, number))
    db.close()


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_lines_cut_from_the_end_or_all_of_them_are_noticed_without_a_head(tmp_path, cut: int) -> None:
    account = Audit(tmp_path)
    for _ in range(5):
        add(account.place, "search")
    for number in range(6 - cut, 6):
        stored(tmp_path, number, None)
    faults = account.verify().faults
    assert [f.line for f in faults] == [6 - cut]
    assert "counts 5 lines" in faults[0].what
    add(account.place, "search")
    assert account.verify().faults, "a later line hides nothing"


def test_a_last_line_sealed_anew_is_noticed_without_a_head(tmp_path) -> None:
    account = Audit(tmp_path)
    for _ in range(3):
        add(account.place, "search")
    stored(tmp_path, 3, sealed(account.read().splitlines()[2], shown=7))
    assert [f.line for f in account.verify().faults] == [3]


def test_a_change_sealed_anew_is_found_at_the_line_after_it(written, tmp_path) -> None:
    for at in (0, 17, LINES - 2):
        lines = [*written[:at], sealed(written[at], shown=7), *written[at + 1 :]]
        assert [f.line for f in judged(tmp_path, lines).faults] == [at + 2]
    number, head = LINES, json.loads(written[-1])["hash"]
    lines = [*written[:-1], sealed(written[-1], shown=7)]
    assert judged(tmp_path, lines).ok, "nothing in the file can tell"
    assert [f.line for f in judged(tmp_path, lines, f"{number}:{head}").faults] == [LINES]


def test_any_removed_line_is_found_at_its_place(written, tmp_path) -> None:
    rng = random.Random(1)
    for at in (0, LINES - 2, *rng.sample(range(LINES - 1), 8)):
        faults = judged(tmp_path, written[:at] + written[at + 1 :]).faults
        assert [f.line for f in faults] == [at + 1]
        assert "removed" in faults[0].what


def test_lines_that_changed_places_or_stand_twice_are_found(written, tmp_path) -> None:
    rng = random.Random(2)
    for at in (0, LINES - 2, *rng.sample(range(LINES - 1), 5)):
        swapped = [*written[:at], written[at + 1], written[at], *written[at + 2 :]]
        assert judged(tmp_path, swapped).faults[0].line == at + 1
    twice = [*written[:41], written[40], *written[41:]]
    assert judged(tmp_path, twice).faults[0].line == 42
    moved = [*written[1:], written[0]]
    assert judged(tmp_path, moved).faults[0].line == 1


def test_a_line_put_in_is_found(written, tmp_path) -> None:
    forged = sealed(written[20], n=21, before=json.loads(written[19])["hash"], shown=1)
    assert judged(tmp_path, [*written[:20], forged, *written[20:]]).faults[0].line == 22


@pytest.mark.parametrize("cut", [1, 10, LINES])
def test_a_cut_end_is_found_by_the_exported_head(written, tmp_path, cut: int) -> None:
    head = json.loads(written[-1])["hash"]
    left = written[: LINES - cut]
    assert judged(tmp_path, left).ok, "nothing in the file can tell"
    for exported, line in ((f"{LINES}:{head}", LINES), (head, len(left) + 1)):
        verdict = judged(tmp_path, left, exported)
        assert [f.line for f in verdict.faults] == [line]
        assert "cut" in verdict.faults[0].what
    assert judged(tmp_path, written, f"{LINES}:{head}").ok
    earlier = json.loads(written[99])["hash"]
    assert judged(tmp_path, written, f"100:{earlier}").ok, "more was written since the head was exported"
    assert not judged(tmp_path, written, f"101:{earlier}").ok


def test_a_history_written_anew_is_found_by_the_exported_head(written, tmp_path) -> None:
    lines, before = [], FIRST
    for raw in written[:50]:
        lines.append(sealed(raw, shown=1, before=before))
        before = json.loads(lines[-1])["hash"]
    assert judged(tmp_path, lines).ok
    assert [f.line for f in judged(tmp_path, lines, f"50:{json.loads(written[49])['hash']}").faults] == [50]


def test_the_cut_line_at_the_end_of_an_exported_file_is_no_change_of_a_line(written, tmp_path) -> None:
    for rest in (b'{"n":2,"at":"2026', b"x" * 200_000):
        verdict = judged(tmp_path, [*written[:9], rest])
        assert verdict.ok
        assert verdict.torn
        assert verdict.lines == 9


def test_a_line_is_taken_back_with_the_act_it_is_about(tmp_path) -> None:
    database = Database(tmp_path, create=True)
    account = Audit(database)
    head = add(account.place, "index", items=3).head

    def act() -> None:
        with database.writing():
            add(account.place, "search")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        act()
    assert account.head() == head
    assert add(account.place, "search").number == 2
    assert account.verify().ok
    database.close()


def test_lines_go_on_behind_a_damaged_one(tmp_path) -> None:
    account = Audit(tmp_path)
    for _ in range(3):
        add(account.place, "search")
    stored(tmp_path, 3, b"rubbish\n")
    add(account.place, "search")
    add(account.place, "search")
    assert [f.line for f in account.verify().faults] == [3]


def test_a_full_disk_is_said_and_leaves_the_account_whole(tmp_path) -> None:
    database = Database(tmp_path, create=True)
    account = Audit(database)
    head, connection = add(account.place, "index").head, database.connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DescryError, match=r"is full.* Free space"):
        add(account.place, "search", inquiry="x" * 9000)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert account.verify().ok
    assert account.head() == head
    add(account.place, "search")
    assert account.verify().lines == 2
    database.close()


def test_writers_wait_for_each_other(tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        heads = {line.head for line in pool.map(lambda i: add(tmp_path, "search", round=i), range(120))}
    verdict = Audit(tmp_path).verify()
    assert verdict.ok
    assert verdict.lines == len(heads) == 120


ADDS = """
import sys
from pathlib import Path
from test_audit import add
while True:
    print(add(Path(sys.argv[1]), "search", shown=50).head, flush=True)
"""


def test_what_was_acknowledged_is_there_after_writers_were_killed(tmp_path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", ADDS, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
        )
        for _ in range(2)
    ]
    said = [writer.stdout.readline() for writer in writers for _ in range(20)]
    for writer in writers:
        writer.kill()
        said += writer.communicate()[0].splitlines(keepends=True)
    account = Audit(tmp_path)
    add(account.place, "search")
    verdict = account.verify()
    assert verdict.ok
    assert not verdict.torn
    heads = [line.strip() for line in said if line.endswith("\n")]
    assert len(heads) >= 40
    assert all(account.verify(head).ok for head in heads[:: max(1, len(heads) // 50)])


def test_a_writer_that_never_ends_is_named(tmp_path) -> None:
    database = Database(tmp_path, create=True)
    database.connection().execute("PRAGMA busy_timeout = 10")
    holder = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Locked, match="busy in another process"):
        add_line(database, "search")
    holder.close()
    database.close()


def test_what_is_given_wrongly_is_refused(tmp_path) -> None:
    account = Audit(tmp_path)
    assert account.head() == f"0:{FIRST}"
    assert account.verify(account.head()).ok
    with pytest.raises(UsageError, match="did you mean 'search'"):
        add(account.place, "serch")
    for head in ("abc", "x:" + "0" * 64, "12:" + "g" * 64):
        with pytest.raises(UsageError, match="64 hex digits"):
            account.verify(head)


def test_the_export_ends_with_the_line_that_says_so(tmp_path) -> None:
    account = Audit(tmp_path)
    add(account.place, "index")
    data, head = account.export()
    assert json.loads(data.splitlines()[-1])["what"] == "export"
    out = tmp_path / "exported.jsonl"
    out.write_bytes(data)
    add(account.place, "search")
    assert Audit(out).verify(head).ok, "an exported account can be verified by itself"
    assert Audit(tmp_path).verify(head).ok


def test_commitments_tell_nothing_without_the_key() -> None:
    one, other = b"1" * 32, b"2" * 32
    assert commitment(one, "picture", "ab") == commitment(one, "picture", b"ab")
    made = [commitment(k, w, v) for k in (one, other) for w in ("picture", "query") for v in ("ab", "ac")]
    assert len(set(made)) == 8


@pytest.mark.parametrize(
    "body",
    [
        b'{"n":1e999,"before":"0"}',
        b'{"n":NaN,"before":"0"}',
        b'{"n":-3,"before":"0"}',
        b'{"n":true,"before":"0"}',
        b'{"n":2.5,"before":"0"}',
        b'{"n":2,"before":{}}',
        b'{"n":' + b"9" * 4000 + b',"before":"0"}',
        b'{"n":' + b"9" * 5000 + b',"before":"0"}',
        b'{"n":2,"before":"0","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b"[2]",
    ],
    ids=["infinite", "nan", "negative", "bool", "fraction", "no hash before", "large", "too large", "deep", "list"],
)
def test_a_line_that_was_sealed_with_an_odd_content_is_a_fault_and_blocks_nothing(tmp_path, body: bytes) -> None:
    account = Audit(tmp_path)
    add(account.place, "index", items=1)
    add(account.place, "search")
    stored(tmp_path, 2, body[:-1] + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n')
    assert [fault.line for fault in account.verify().faults][:1] == [2]
    assert add(account.place, "search", inquiry="").number == 3
    assert add(account.place, "search", inquiry="").number == 4
    assert account.export()[1] == account.head()
    assert {fault.line for fault in account.verify().faults} <= {2, 3}, "lines after it are judged afresh"
