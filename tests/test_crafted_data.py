"""Data sets and footage that somebody crafted: each is refused in one line, and nothing outside of them is read."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from crafted import DEEP, instead, socket_at, sparse
from descry.cli import main
from descry.data import DATASETS, module
from descry_people.miniature import write_miniature

Change = Callable[[Path], None]
TABLE = "table.jsonl"


def rows(change: Callable[[list[dict[str, Any]]], Any]) -> Change:
    """Other rows, or another text."""

    def changed(folder: Path) -> None:
        path = folder / TABLE
        held = [json.loads(line) for line in path.read_text().splitlines()]
        text = change(held)
        path.write_text(text if isinstance(text, str) else "".join(json.dumps(row) + "\n" for row in held))

    return changed


def row(**values: Any) -> Change:
    """The first row with other values."""
    return rows(lambda held: held[0].update(values))


def about(text: str) -> Change:
    """Another descry.json."""
    return instead("descry.json", lambda path: path.write_text(text))


CASES: dict[str, Change] = {
    "a path out of the folder": row(path="../secret.png"),
    "a path out of the folder, later": row(path="a/../../secret.png"),
    "an absolute path": row(path="/etc/passwd"),
    "a path of another system": row(path="C:\\secret.png"),
    "a path with NUL": row(path="a\0.png"),
    "a path that a terminal obeys": row(path="\x1b[2J.png"),
    "a path of 100 kB": row(path="a" * 100_000),
    "a path that is a list": row(path=["a.png"]),
    "a path that is a device": row(path="/dev/zero"),
    "a sketch out of the folder": row(sketch="../../x.png"),
    "an origin out of the folder": row(drawn_from="../x.png"),
    "an identity that is a list": row(pid=[1]),
    "an identity that is infinite": rows(lambda held: '{"split": "train", "pid": 1e999, "path": "0.png"}\n'),
    "an identity of 5,000 digits": rows(lambda held: '{"split": "train", "pid": %s, "path": "0.png"}\n' % ("9" * 5000)),
    "a split nobody knows": row(split="\x1b[2Jall"),
    "a role nobody knows": row(role="admin"),
    "captions that are no texts": row(captions=[1, 2]),
    "an empty caption": row(captions=[" "]),
    "a row that is nested deeply": rows(lambda held: DEEP),
    "a row that is a list": rows(lambda held: "[1]\n"),
    "a table that is no UTF-8": instead(TABLE, lambda path: path.write_bytes(b"\xff\xfe\x00")),
    "a table of nothing": rows(lambda held: ""),
    "a table of a terabyte": instead(TABLE, sparse),
    "a table that is a pipe": instead(TABLE, os.mkfifo),
    "a table that is a socket": instead(TABLE, socket_at),
    "a table that is a folder": instead(TABLE, Path.mkdir),
    "a description that is nested deeply": about(DEEP),
    "a description that is a list": about("[1]"),
    "a description of another format": about('{"format": 99}'),
    "a description of a terabyte": instead("descry.json", sparse),
    "a description that is a pipe": instead("descry.json", os.mkfifo),
    "a kind that names code": about('{"format": 1, "kind": "os:system"}'),
    "a picture that is a pipe": instead("0.png", os.mkfifo),
    "a picture that is a device": instead("0.png", lambda path: path.symlink_to("/dev/zero")),
    "a picture of a terabyte": instead("0.png", sparse),
    "a picture that is a folder": instead("0.png", Path.mkdir),
}
READ_AS_IT_IS = ("a kind that names code",)
"""Cases of which nothing is used."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "own"
    root.mkdir()
    for i in range(4):
        Image.new("RGB", (16, 32), (i * 60, 0, 0)).save(root / f"{i}.png")
    held = [
        {"split": s, "pid": i, "path": f"{i}.png", "captions": ["a red top"]}
        for i, s in enumerate(("train", "train", "val", "test"))
    ]
    (root / TABLE).write_text("".join(json.dumps(one) + "\n" for one in held))
    assert main(["data", "check", "table", str(root)]) == 0
    return root


@pytest.mark.parametrize("case", CASES)
def test_a_crafted_data_set_is_refused_in_one_line(data, tmp_path, capsys, monkeypatch, case) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, tmp_path / "own")
    (tmp_path / "secret.png").write_bytes((data / "0.png").read_bytes())
    CASES[case](tmp_path / "own")
    capsys.readouterr()
    status = main(["data", "check", "table", str(tmp_path / "own")])
    out, err = capsys.readouterr()
    assert (status == 0) == (case in READ_AS_IT_IS), (out, err)
    assert "unexpected" not in err, err
    assert len(err.strip().splitlines()) <= 1, err
    assert out.strip() or err.strip()
    assert not set(out + err) & {"\x1b", "\x00"}, (out, err)


# ---------------------------------------------------------------------- every reader, every file, every field


EVERY = [(name, variant) for name in DATASETS for variant in module(name).CARD.variants]
ODD = [
    None, True, -1, 10**30, 1.5, "", " ", "\x1b[2J\nFORGED", "../../secret.png", "/etc/passwd", "C:\\secret.png",
    "a\0b", "x" * 200_000, "\udcff", "nan", [], [[]], {}, ["\x1b[2J", 7], {"a": {"b": []}},
]  # fmt: skip
"""Values that stand for what anybody may write into a field."""
TEXTS: dict[str, str | bytes] = {
    "nothing": "", "a list": "[1]", "depth": DEEP, "infinity": "[1e999]", "NaN": "[NaN]", "digits": "9" * 5000,
    "no UTF-8": b"\xff\xfe\x00\xff", "NUL": b"\0" * 1000, "escapes": "\x1b[2J\x07\n" * 50, "long": "a" * 2_000_000,
}  # fmt: skip
KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo, "socket": socket_at, "folder": Path.mkdir, "terabyte": sparse,
    "device": lambda path: path.symlink_to("/dev/zero"), "loop": lambda path: path.symlink_to(path.name),
    "nothing there": lambda path: path.symlink_to("nowhere"),
}  # fmt: skip


@pytest.fixture(scope="module", params=EVERY, ids=" ".join)
def whole(request, tmp_path_factory) -> tuple[str, Path]:
    """The name of a data set, with its variant, and a sound miniature of it."""
    name, variant = request.param
    if "attributes" in variant:
        pytest.importorskip("scipy", reason="scipy (extra 'data') is not installed")
    return name, write_miniature(name, tmp_path_factory.mktemp("whole") / "set", variant)


def judged(name: str, folder: Path, capsys, what: str, *more: str) -> int:
    """The status of the check. Whatever is wrong is said in one line, or as faults of the report."""
    capsys.readouterr()
    status = main(["data", "check", name, str(folder), *more])
    out, err = capsys.readouterr()
    assert status in (0, 1, 2), (what, status, err)
    assert "unexpected" not in err, (what, err)
    assert "Traceback" not in err, (what, err)
    assert len(err.strip().splitlines()) <= 1, (what, err)
    assert len(err) < 5_000, (what, err[:500])
    assert not set(out + err) & {"\x1b", "\x07", "\x00"}, (what, out, err)
    assert not [line for line in (out + err).splitlines() if line.startswith("FORGED")], (what, out, err)
    return status


SHARES = pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.long, id="all")])
"""One in so many changes: shifted by one from file to file and from field to field, so that each change meets some."""


@SHARES
def test_every_file_of_every_data_set_may_be_anything(whole, share, tmp_path, capsys) -> None:
    """Each table, annotation and note, and one picture of each folder: another kind of file, or another text."""
    name, sound = whole
    assert judged(name, sound, capsys, "sound") == 0
    folder = tmp_path / "set"
    shutil.copytree(sound, folder)
    files = sorted(path.relative_to(sound) for path in sound.rglob("*") if path.is_file())
    pictures = {path.parent: path for path in files if path.suffix in (".jpg", ".png")}
    chosen = [path for path in files if path.suffix not in (".jpg", ".png")] + list(pictures.values())[:2]
    done = 0
    for at, path in enumerate(chosen):
        held = (folder / path).read_bytes()
        changes: dict[str, Callable[[Path], Any]] = dict(KINDS)
        if path not in pictures.values():
            for title, text in TEXTS.items():
                data = text if isinstance(text, bytes) else text.encode()
                changes[title] = lambda place, data=data: place.write_bytes(data)
        for title, change in list(changes.items())[at % share :: share]:
            (folder / path).unlink()
            change(folder / path)
            judged(name, folder, capsys, f"{path}: {title}", *(() if path in pictures.values() else ("--no-pixels",)))
            done += 1
            shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()
            (folder / path).write_bytes(held)
    assert done >= 2 * (len(KINDS) // share)
    assert judged(name, folder, capsys, "sound again") == 0


@SHARES
def test_every_field_of_every_annotation_may_be_anything(whole, share, tmp_path, capsys) -> None:
    name, sound = whole
    folder, done = tmp_path / "set", 0
    shutil.copytree(sound, folder)
    for path in sorted(folder.rglob("*.json*")):
        text = path.read_text("utf-8")
        lines = path.suffix == ".jsonl"
        held = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
        if not isinstance(held, list) or not held or not isinstance(held[0], dict):
            continue
        for at, key in enumerate([*held[0], "more"]):
            for value in ODD[at % share :: share]:
                rows = [held[0] | {key: value}, *held[1:]]
                said = "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows)
                path.write_text(said, "utf-8")
                judged(name, folder, capsys, f"{path.name}: {key} = {value!r:.40}", "--no-pixels")
                done += 1
        path.write_text(text, "utf-8")
    assert done or name in ("market-1501", "market-sketch-1k", "pku-sketch") or any(folder.rglob("*.csv"))


def test_attributes_that_unfold_to_gigabytes_are_refused(tmp_path, capsys) -> None:
    """A MATLAB file is compressed; what it unfolds to is bounded by the process that reads it."""
    pytest.importorskip("scipy", reason="scipy (extra 'data') is not installed")
    root = write_miniature("market-1501", tmp_path / "set", "attributes")
    path = next(root.rglob("market_attribute.mat"))
    packer, size = zlib.compressobj(1), 1 << 30
    head = struct.pack("<IIII", 6, 8, 9, 0) + struct.pack("<IIii", 5, 8, 1, size)
    head += struct.pack("<II", 1, 16) + b"market_attribute" + struct.pack("<II", 2, size)
    body = packer.compress(struct.pack("<II", 14, len(head) + size) + head)
    body += b"".join(packer.compress(bytes(1 << 24)) for _ in range(size >> 24)) + packer.flush()
    begin = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    path.write_bytes(begin + (struct.pack("<II", 15, len(body)) + body) * 3)
    assert path.stat().st_size < 16 << 20
    assert judged("market-1501", root, capsys, "a bomb") != 0
