"""Data sets and footage that somebody crafted: each is refused in one line, and nothing outside of them is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from crafted import DEEP, instead, socket_at, sparse
from descry.cli import main

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
