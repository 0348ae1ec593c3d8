"""Names and texts that a terminal would obey, or that look like a line of ours, in everything that commands print."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from conftest import write_joining_run
from descry import Gallery
from descry.cli import main
from descry.escape import Shown, behind, line, plain

EVIL = "a\x1b]0;owned\x07\x9b2J\rb\u202e\nFORGED "


def obeyed(text: str) -> set[str]:
    """What of a text a terminal would obey."""
    return {c for c in text if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Crops, a gallery, a run folder and a data set whose every name and text is such."""
    root = tmp_path_factory.mktemp("names")
    crops, data = root / "crops" / f"{EVIL}camera", root / f"{EVIL}set"
    crops.mkdir(parents=True)
    (data / "imgs").mkdir(parents=True)
    rows = []
    for i, split in enumerate(("train", "train", "val", "test")):
        picture = Image.new("RGB", (32, 64), (60 * i, 90, 120))
        picture.save(crops / f"{i}{EVIL}file.png")
        picture.save(data / "imgs" / f"{i}{EVIL}photo.png")
        row = {"split": split, "pid": f"{i}{EVIL}pid", "path": f"imgs/{i}{EVIL}photo.png", f"more{EVIL}": 1}
        rows.append(row | {"camera": f"{EVIL}camera", "captions": [f"red top {EVIL}caption"]})
    (data / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (crops / f"bad{EVIL}.png").write_bytes(b"nothing")
    (crops / f"other{EVIL}.txt").write_text("")
    (data / "imgs" / f"bad{EVIL}.png").write_bytes(b"nothing")
    os.mkfifo(crops / f"pipe{EVIL}.png")
    (crops / f"link{EVIL}").symlink_to(root)
    write_joining_run(root / f"run{EVIL}", note=f"a note {EVIL}note")
    index = ["index", str(root / "crops"), "--out", str(root / f"g{EVIL}"), "--model", str(root / f"run{EVIL}")]
    assert main([*index, "--camera-from", "dirname", "--track-from", "dirname"]) == 0
    return root


COMMANDS = [
    "index CROPS --out G --model RUN --camera-from dirname",
    "index CROPS --out G --model RUN --dry-run",
    "index CROPS --out G --model RUN --json",
    "search G red", "search G red --json", "search G red --csv OUT.csv --sheet OUT.png --copy-to OUT",
    "search G EVIL", "search G red --camera EVIL", "search EVIL red", "search G red --sketch BAD",
    "gallery info G", "gallery list G", "gallery list G --skipped", "gallery inspect G", "gallery allow CROPS",
    "gallery frame G 1", "gallery relocate G CROPS OUT", "gallery convert G OUT", "gallery delete G --path *none*",
    "inquiry new G x --text red", "inquiry new G EVIL --text red", "inquiry refine G x EVIL", "inquiry show G x",
    "inquiry list G", "inquiry mark G x --like 1", "inquiry replay G x", "inquiry export G x", "inquiry ask G x",
    "finding G x --item 1 --note EVIL", "finding G x", "report G x -o OUT.html", "keep G", "chat G x",
    "verify G", "compact G", "merge G --out OUT", "audit verify G", "audit export G --out OUT",
    "purge G --inquiry x --dry-run", "model info RUN", "model info EVIL", "model card RUN", "doctor --model RUN",
    "data import TABLE SET --name EVIL", "data check table SET", "data stats table SET --model RUN",
    "data leaks table SET table SET", "data sketch SET", "data check EVIL SET", "evaluate RUN --data SET",
    "crop CROPS --out OUT", "compare EVIL EVIL", "EVIL", "gallery EVIL",
]  # fmt: skip


def test_no_command_prints_what_a_terminal_obeys_or_a_line_of_others(place, tmp_path, capsys, monkeypatch) -> None:
    crops = place / "crops" / f"{EVIL}camera"
    named = {
        "CROPS": place / "crops", "G": place / f"g{EVIL}", "RUN": place / f"run{EVIL}", "EVIL": EVIL,
        "SET": place / f"{EVIL}set", "TABLE": place / f"{EVIL}set" / "t.jsonl", "BAD": crops / f"bad{EVIL}.png",
    }  # fmt: skip
    done = 0
    for number, command in enumerate(COMMANDS):
        monkeypatch.setattr("sys.stdin", io.StringIO("/tree\n/chips\n/quit\n"))
        words = [str(named.get(w, w)).replace("OUT", str(tmp_path / f"{number}")) for w in command.split()]
        done += main(words) == 0
        for said in capsys.readouterr():
            assert not obeyed(said), (command, sorted(obeyed(said)))
            assert not [text for text in said.splitlines() if text.startswith("FORGED")], command
            assert "Traceback" not in said, command
            assert "unexpected" not in said, command
    assert done >= 38


def test_what_python_shows_of_a_lead_is_one_line(place) -> None:
    with Gallery.open(place / f"g{EVIL}") as gallery:
        for lead in gallery.search("red"):
            assert not obeyed(repr(lead))
            assert len(repr(lead).splitlines()) == 1


def test_a_stream_passes_what_we_print_and_escapes_the_rest(capsys) -> None:
    shown = Shown(stream=sys.stdout)
    print("one", "two", sep="\n", file=shown)
    print("tab\tand é 漢\n", file=shown)
    print("a\nb\x1b[2J\udcff", file=shown)
    assert capsys.readouterr().out == "one\ntwo\ntab\tand é 漢\n\na\\nb\\u001b[2J\\udcff\n"
    assert shown.isatty() == sys.stdout.isatty()
    assert behind(shown) is sys.stdout
    assert behind(sys.stdout) is sys.stdout


def characters() -> Iterator[str]:
    yield from map(chr, range(0x110000))


def test_what_is_escaped_is_what_is_no_text() -> None:
    import unicodedata

    turning = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u2028\u2029\ufffe\uffff"
    for c in characters():
        hidden = (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t") or c in turning
        assert (plain(c) != c) == hidden, hex(ord(c))
        assert (line(c) != c) == (hidden or c in "\n\t"), hex(ord(c))
