"""descry data …: exit codes and what is printed, in this process."""

from __future__ import annotations

import json

import pytest

from descry.cli import main


def run(capsys, *args: str) -> tuple[int, str, str]:
    status = main(["data", *args])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_miniature_then_check(tmp_path, capsys) -> None:
    root = str(tmp_path / "m")
    assert run(capsys, "miniature", "market-1501", root) == (0, root + "\n", "")
    status, out, _ = run(capsys, "check", "market-1501", root)
    assert status == 0
    assert "miniature of synthetic people" in out
    assert "whole" in out
    status, _, err = run(capsys, "miniature", "market-1501", root)
    assert status == 1
    assert "is not empty" in err
    assert run(capsys, "miniature", "market1501", root)[0] == 2


def test_a_broken_tree_exits_with_one_and_says_how_to_obtain_it(copied, capsys) -> None:
    root = copied("cuhk-pedes", "reid_raw")
    (root / "reid_raw.json").unlink()
    status, out, err = run(capsys, "check", "cuhk-pedes", str(root))
    assert (status, err) == (1, "")
    assert "fault: cuhk-pedes: no annotations" in out
    assert "how to obtain: Ask the authors" in out
    status, out, _ = run(capsys, "check", "cuhk-pedes", str(root), "--json")
    held = json.loads(out)
    assert status == 1
    assert held["ok"] is False
    assert len(held["faults"]) == 1
    assert held["obtain"]


def test_options_behind_the_name(drawn, capsys) -> None:
    root = str(drawn("pku-sketch", "generated splits"))
    status, out, _ = run(capsys, "check", "pku-sketch:split=4", root, "--json")
    assert status == 0
    assert "split 4 of 10" in json.loads(out)["notes"][0]
    assert run(capsys, "check", "tri-pedes:parts=ICFG", str(drawn("tri-pedes", "imgs-sketch")))[0] == 0
    status, _, err = run(capsys, "check", "pku-sketch:fold=4", root)
    assert status == 2
    assert "takes no option 'fold=4'" in err


def test_list(capsys) -> None:
    status, out, _ = run(capsys, "list", "--json")
    assert status == 0
    assert {c["name"] for c in json.loads(out)} >= {"cuhk-pedes", "market-sketch-1k", "table"}
    assert "terms:" in run(capsys, "list")[1]


def test_leaks(copied, capsys, tmp_path) -> None:
    root = copied("rstpreid", "data_captions")
    (root / "imgs/0007_c1_0001.jpg").write_bytes((root / "imgs/0001_c1_0001.jpg").read_bytes())
    out_file = tmp_path / "leaks.json"
    status, out, _ = run(
        capsys, "leaks", "rstpreid", str(root), "rstpreid", str(root), "--most-bits", "0", "--out", str(out_file)
    )
    assert status == 0
    assert "1 near-duplicate pair, 1 identity of rstpreid to leave out" in out
    assert json.loads(out_file.read_text())["identities"] == {"test": ["7"]}


def test_stats(drawn, capsys) -> None:
    status, out, _ = run(capsys, "stats", "cuhk-pedes", str(drawn("cuhk-pedes", "reid")))
    assert status == 0
    assert "train: 28 captions" in out
    assert "28 back-translations" in out


def test_import(copied, capsys, tmp_path) -> None:
    root = copied("table", "csv")
    (root / "table.csv").rename(tmp_path / "t.csv")
    status, out, _ = run(capsys, "import", str(tmp_path / "t.csv"), str(root), "--name", "mine")
    assert status == 0
    assert out.startswith("mine: 6 train ids, 12 train photos")


def test_import_names_the_columns_that_it_does_not_read(copied, capsys, tmp_path) -> None:
    """A column "description" is no caption; left without a word, the set would have no sentences."""
    root = copied("table", "jsonl")
    lines = (root / "table.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) | {"description": "a red coat", "empty": ""} for line in lines]
    (root / "table.jsonl").unlink()
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    status, _, err = run(capsys, "import", str(tmp_path / "t.jsonl"), str(root))
    assert status == 0
    assert "'description'" in err
    assert "'captions'" in err
    assert "empty" not in err
    (root / "table.jsonl").unlink()
    (tmp_path / "t.jsonl").write_text("\n".join(lines), "utf-8")
    assert run(capsys, "import", str(tmp_path / "t.jsonl"), str(root))[::2] == (0, "")


def test_sketch(copied, capsys) -> None:
    pytest.importorskip("scipy", reason="scipy (extra 'data') is not installed")
    root = copied("icfg-pedes", "hyphen")
    status, out, _ = run(capsys, "sketch", str(root), "--style", "edge", "--threads", "2")
    assert status == 0
    assert "24 sketches drawn, 0 were there" in out
    (root / "imgs/train/bad.jpg").write_bytes(b"x")
    status, _, err = run(capsys, "sketch", str(root), "--style", "edge")
    assert status == 3
    assert "bad.jpg: format" in err


def test_splits_are_written_down(drawn, capsys, tmp_path) -> None:
    status, out, _ = run(capsys, "splits", str(drawn("pku-sketch", "generated splits")), str(tmp_path))
    assert status == 0
    assert out.count("15 train, 5 test") == 10
    assert len(list(tmp_path.glob("idx/*.txt"))) == 40


def test_stats_with_a_model_count_tokens_and_what_is_cut(drawn, capsys, monkeypatch) -> None:
    from types import SimpleNamespace

    from descry.data import module
    from descry.text import word_level

    root = drawn("cuhk-pedes", "reid_raw")
    captions = [c for r in module("cuhk-pedes").table(root).rows for c in r.captions]
    words = word_level(captions, length=20)
    monkeypatch.setattr("descry.embed.load", lambda name: SimpleNamespace(words=words))
    status, out, _ = run(capsys, "stats", "cuhk-pedes", str(root), "--model", "some-run", "--json")
    assert status == 0
    cut = sum(bool(words.cut(c)) for c in captions)
    assert sum(line["cut"] for line in json.loads(out)) == cut > 0
    assert {line["limit"] for line in json.loads(out)} == {20}
    none = word_level(["rote Jacke"], length=20)
    monkeypatch.setattr("descry.embed.load", lambda name: SimpleNamespace(words=none))
    status, _, err = run(capsys, "stats", "cuhk-pedes", str(root), "--model", "some-run")
    assert status == 0
    assert "this model does not know" in err
    assert "100 % of the texts hold one" in err


def test_leaks_with_a_model_ask_its_embedding(copied, capsys, monkeypatch) -> None:
    from types import SimpleNamespace

    import numpy as np

    asked = []

    def embed_images(paths):
        asked.extend(paths)
        return np.eye(len(paths), 8, dtype=np.float32)

    root = copied("rstpreid", "data_captions")
    (root / "imgs/0007_c1_0001.jpg").write_bytes((root / "imgs/0001_c1_0001.jpg").read_bytes())
    monkeypatch.setattr("descry.embed.load", lambda name: SimpleNamespace(embed_images=embed_images))
    options = ("rstpreid", str(root), "rstpreid", str(root), "--most-bits", "0", "--model", "demo", "--json")
    status, out, _ = run(capsys, "leaks", *options)
    assert status == 0
    assert [p["cosine"] for p in json.loads(out)["pairs"]] == [1.0]
    assert len(asked) == 2
