"""`--json`: every command that tells something offers it, and then prints JSON alone, with the same counts."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from account import crop
from conftest import write_run
from descry.cli import VERBS, main
from descry_people.miniature import write_miniature
from descry_stores.migrate import MigrationReport
from docs.reading import options

# they write one file and print its name, or talk with a person
SILENT = {"plot", "model card", "serve", "chat"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture
def place(run: Path, tmp_path: Path, capsys) -> Path:
    """A gallery of six crops."""
    return indexed(run, tmp_path, "g", range(6))


def indexed(run: Path, root: Path, name: str, people: range) -> Path:
    for i in people:
        crop(root / f"crops-{name}", i)
    command = ["index", f"{root}/crops-{name}", "--model", str(run), "--out", f"{root}/{name}", "--encoder", "torch"]
    assert main([*command, "--quiet"]) == 0
    return root / name


def told(capsys, *args: object, status: int = 0) -> object:
    capsys.readouterr()
    got = main([*map(str, args), "--json"])
    out = capsys.readouterr()
    assert got == status, out.err
    return json.loads(out.out)


def test_every_command_that_tells_something_offers_it() -> None:
    assert {verb for verb in VERBS if "--json" not in options(verb)} == SILENT


def test_verify_and_compact(place, capsys) -> None:
    assert told(capsys, "verify", place) == {"ok": True, "items": 6, "faults": []}
    assert told(capsys, "gallery", "delete", place, "--item", 1) == {"removed": 1, "items": 5}
    assert told(capsys, "compact", place)["bytes"] >= 0
    with sqlite3.connect(place / "gallery.db") as db, db.blobopen("blocks", "data", 0) as blob:
        blob.write(b"\x01\x02")
    db.close()
    verdict = told(capsys, "verify", place, status=5)
    assert (verdict["ok"], verdict["items"]) == (False, None)
    assert set(verdict["faults"][0]) == {"where", "what"}


def test_a_whole_gallery_is_deleted(place, capsys) -> None:
    command = ("gallery", "delete", place, "--everything", "--confirm", place.name)
    assert told(capsys, *command) == {"removed": 6, "items": 0}
    assert not (place / "gallery.json").exists()


def test_relocate(place, tmp_path, capsys) -> None:
    old, new = tmp_path / "crops-g", tmp_path / "moved"
    old.rename(new)
    min(new.rglob("*.*")).unlink()
    assert told(capsys, "gallery", "relocate", place, old, new) == {"moved": 5, "absent": 1, "joined": 0}


def test_merge(run, place, tmp_path, capsys) -> None:
    other = indexed(run, tmp_path, "h", range(6, 10))
    made = told(capsys, "merge", place, other, "--out", tmp_path / "both")
    assert made == {"out": str(tmp_path / "both"), "items": 10, "galleries": 2}


def test_migrate(place, capsys, monkeypatch) -> None:
    monkeypatch.setattr("descry_stores.migrate.migrate", lambda *given: MigrationReport(6, 4, 2, 1, "camera", "flat"))
    assert told(capsys, "migrate", place, "--to", "milvus:x.db") == {
        **{"to": "milvus:x.db", "total": 6, "copied": 4, "present": 2, "removed": 1},
        **{"partition_by": "camera", "index": "flat"},
    }


def test_export(run, tmp_path, capsys, monkeypatch) -> None:
    about = {"precision": "fp32", "files": ["image.onnx"], "least_cosine_to_fp32": {"image": 0.9999}, "note": ""}
    monkeypatch.setattr("descry.export.export", lambda *given: about)
    assert told(capsys, "export", run, "--out", tmp_path / "x") == about
    assert main(["export", str(run), "--out", str(tmp_path / "x")]) == 0
    assert "image.onnx in fp32; least cosine to fp32: image 0.9999" in capsys.readouterr().out


def test_an_inquiry_is_deleted(place, capsys) -> None:
    assert main(["inquiry", "new", str(place), "case", "--text", "a red top"]) == 0
    assert main(["inquiry", "refine", str(place), "case", "--text", "no hat"]) == 0
    assert told(capsys, "inquiry", "delete", place, "case", "--round", 2) == {"inquiry": "case", "rounds": [2]}
    gone = told(capsys, "inquiry", "delete", place, "case")
    assert (gone["inquiry"], gone["removed"]["inquiries"]) == ("case", 1)
    assert told(capsys, "inquiry", "list", place) == []


def test_data(tmp_path, capsys) -> None:
    market, pku = tmp_path / "market", write_miniature("pku-sketch", tmp_path / "pku")
    made = told(capsys, "data", "miniature", "market-1501", market)
    assert [(m["name"], m["folder"]) for m in made] == [("market-1501", str(market))]
    assert all(n > 0 for n in made[0]["counts"].values())
    splits = told(capsys, "data", "splits", pku, tmp_path / "idx")
    assert [(s["split"], s["train"], s["test"], len(s["sha256"])) for s in splits[:1]] == [(1, 15, 5, 16)]
    assert len(splits) == 10


def test_data_import_and_sketch(tmp_path, capsys) -> None:
    for i in range(3):
        crop(tmp_path / "own" / "imgs", i)
    (tmp_path / "own" / "imgs" / "bad.jpg").write_bytes(b"x")
    drawn = told(capsys, "data", "sketch", tmp_path / "own", "--style", "edge", status=3)
    assert (drawn["made"], drawn["kept"], len(drawn["skipped"])) == (3, 0, 1)
    assert set(drawn["skipped"][0]) == {"path", "reason"}
    (tmp_path / "own" / "imgs" / "bad.jpg").unlink()
    pictures = sorted((tmp_path / "own" / "imgs").rglob("*.*"))
    rows = "".join(f"train,{i},{path.relative_to(tmp_path / 'own')}\n" for i, path in enumerate(pictures))
    (tmp_path / "t.csv").write_text("split,pid,path\n" + rows)
    made = told(capsys, "data", "import", tmp_path / "t.csv", tmp_path / "own", "--name", "mine")
    assert (made["name"], made["root"]) == ("mine", str(tmp_path / "own"))
    assert made["counts"] == {"train ids": 3, "train photos": 3}
