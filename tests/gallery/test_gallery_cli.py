"""The commands as a user types them, with a tiny model on disk."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import write_run
from descry.cli import main
from descry.gallery import Gallery

from .plain_model import draw


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("models") / "run")


@pytest.fixture
def gallery(run, crops, tmp_path, capsys) -> Path:
    out = tmp_path / "gallery"
    assert (
        main(
            [
                "index",
                str(crops),
                "--model",
                str(run),
                "--out",
                str(out),
                "--camera-from",
                "dirname",
                "--encoder",
                "torch",
            ]
        )
        == 0
    )
    capsys.readouterr()
    return out


def test_index_and_search(gallery, crops, tmp_path, capsys):
    photo = str(crops / "cam1" / "p005.png")
    outputs = {"--csv": tmp_path / "t.csv", "--sheet": tmp_path / "s.png", "--copy-to": tmp_path / "copied"}
    command = [
        "search",
        str(gallery),
        "--image",
        photo,
        "--text",
        "a red top",
        "--text",
        "blue trousers",
        "--not",
        "a hat",
        "-k",
        "7",
    ]
    assert main([*command, "--json", *[str(x) for pair in outputs.items() for x in pair]]) == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert [r["rank"] for r in answer["results"]] == list(range(1, 8))
    assert answer["considered"] == 24
    assert "no evidence of anything" in shown.err
    with open(tmp_path / "t.csv", newline="") as file:
        assert [int(r["id"]) for r in csv.DictReader(file)] == [r["id"] for r in answer["results"]]
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.size[0] > 600
    assert len(list((tmp_path / "copied").iterdir())) == 7
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert "match" not in "".join(lines).lower()
    assert "%" not in "".join(lines)


def test_search_filters_and_says_what_they_keep_out(gallery, capsys):
    assert main(["search", str(gallery), "--text", "a red top", "--camera", "cam0", "-k", "50"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 12
    assert main(["search", str(gallery), "--text", "a red top", "--camera", "cam7", "--until", "2020-01-01"]) == 0
    assert "--camera excluded all" in capsys.readouterr().err


def test_indexing_says_what_the_model_is_good_for_once(run, crops, tmp_path, capsys):
    command = ["index", str(crops), "--model", str(run), "--out", str(tmp_path / "g"), "--encoder", "torch", "--json"]
    for _ in range(2):  # a new gallery, and one that is there
        assert main(command) == 0
        shown = capsys.readouterr()
        assert shown.err.count("note: a toy, no evidence of anything") == 1
        assert json.loads(shown.out)["items"] == 24


def test_a_dry_run_leaves_nothing_behind(run, crops, gallery, tmp_path, capsys):
    out = tmp_path / "folder" / "new"
    command = ["index", str(crops), "--model", str(run), "--encoder", "torch", "--dry-run", "--out"]
    assert main([*command, str(out)]) == 0
    assert f"would be added 24, changed 0, moved 0, removed 0, unchanged 0, skipped 0; {out} holds 0 items" in (
        capsys.readouterr().out
    )
    assert not out.parent.exists()
    (tmp_path / "empty").mkdir()
    assert main([*command, str(tmp_path / "empty")]) == 0
    assert not any((tmp_path / "empty").iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("x")
    assert main([*command, str(tmp_path / "full")]) == 2
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["a.txt"]
    before = {p.name: p.read_bytes() for p in gallery.iterdir()}
    draw(crops / "more.png", 99)
    assert main([*command, str(gallery)]) == 0
    assert {p.name: p.read_bytes() for p in gallery.iterdir()} == before


def test_unknown_words_are_shown(gallery, capsys):
    assert main(["search", str(gallery), "--text", "a zebra top"]) == 0
    assert "does not know 'zebra'" in capsys.readouterr().err


def test_indexing_again_takes_the_gallerys_own_model(gallery, crops, capsys):
    draw(crops / "more.png", 99)
    assert main(["index", str(crops), "--out", str(gallery), "--encoder", "torch", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["added"], report["unchanged"], report["items"]) == (1, 24, 25)


def test_exit_codes(gallery, crops, run, tmp_path, capsys):
    (crops / "bad.jpg").write_text("x")
    index = ["index", str(crops), "--out", str(gallery), "--encoder", "torch"]
    assert main([*index, "--strict"]) == 3
    other = write_run(tmp_path / "other", seed=5)
    assert main([*index, "--model", str(other)]) == 5
    assert "rebuild" in capsys.readouterr().err
    assert main(["search", str(tmp_path / "nothing"), "--text", "a"]) == 2
    assert main(["search", str(gallery)]) == 2
    assert main(["search", str(gallery), "--text", "a", "--since", "soon"]) == 2
    assert main(["index", str(tmp_path / "no folder"), "--out", str(tmp_path / "g")]) == 2
    assert not (tmp_path / "g").exists()
    (tmp_path / "empty").mkdir()
    assert (
        main(
            ["index", str(tmp_path / "empty"), "--model", str(run), "--out", str(tmp_path / "g"), "--encoder", "torch"]
        )
        == 1
    )
    assert not (tmp_path / "g").exists()
    with Gallery.open(gallery) as held:
        held.store.hold()
        assert main(index) == 6
    assert main([*index, "--model", str(tmp_path / "no model")]) == 4


def test_verify_compact_info_list_delete(gallery, crops, capsys):
    assert main(["verify", str(gallery)]) == 0
    assert main(["gallery", "info", str(gallery), "--json"]) == 0
    info = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert (info["items"], info["cameras"]) == (24, {"cam0": 12, "cam1": 12})
    assert main(["gallery", "list", str(gallery), "--camera", "cam1"]) == 0
    first = capsys.readouterr().out.splitlines()[0].split("\t")[0]
    assert main(["gallery", "delete", str(gallery), "--item", first, "--path", "cam0/*"]) == 0
    assert "removed 13 items" in capsys.readouterr().out
    assert main(["compact", str(gallery)]) == 0
    (crops / "bad.jpg").write_text("x")
    main(["index", str(crops), "--out", str(gallery), "--encoder", "torch", "--quiet"])
    capsys.readouterr()
    assert main(["gallery", "list", str(gallery), "--skipped"]) == 0
    assert "bad.jpg\tformat:" in capsys.readouterr().out
    with sqlite3.connect(gallery / "gallery.db") as db, db.blobopen("blocks", "data", 0) as blob:
        blob.write(b"\x01\x02")
    db.close()
    assert main(["verify", str(gallery)]) == 5
    assert main(["gallery", "delete", str(gallery), "--everything"]) == 2
    assert main(["gallery", "delete", str(gallery), "--everything", "--confirm", "gallery"]) == 0
    assert not gallery.exists()
    assert (crops / "bad.jpg").exists()


def test_shards_are_merged_and_compared(run, crops, gallery, tmp_path, capsys):
    parts = []
    for i in (1, 2):
        parts.append(str(tmp_path / f"part{i}"))
        command = [
            "index",
            str(crops),
            "--model",
            str(run),
            "--out",
            parts[-1],
            "--shard",
            f"{i}/2",
            "--camera-from",
            "dirname",
        ]
        assert main([*command, "--encoder", "torch"]) == 0
    assert main(["merge", *parts, "--out", str(tmp_path / "merged")]) == 0
    with Gallery.open(tmp_path / "merged") as merged, Gallery.open(gallery) as whole:
        assert len(merged) == len(whole) == 24
        ours = {i.path: (i.sha256, i.camera, i.look) for i in merged.listed()}
        assert ours == {i.path: (i.sha256, i.camera, i.look) for i in whole.listed()}
        assert merged.verify() == []
    assert main(["merge", *parts, parts[0], "--out", str(tmp_path / "again")]) == 0
    few = tmp_path / "few"
    draw(few / "a.png", 1)
    for i in (1, 2):  # one of the two holds nothing
        command = ["index", str(few), "--model", str(run), "--out", f"{few}{i}", "--shard", f"{i}/2"]
        assert main([*command, "--encoder", "torch"]) == 0
    assert main(["merge", f"{few}1", f"{few}2", "--out", f"{few}-whole"]) == 0
    other = tmp_path / "other"
    main(
        ["index", str(crops), "--model", str(write_run(tmp_path / "m2", 3)), "--out", str(other), "--encoder", "torch"]
    )
    assert main(["merge", parts[0], str(other), "--out", str(tmp_path / "bad")]) == 5
    assert not (tmp_path / "bad").exists()


def test_table_cells_are_no_formulas(run, tmp_path):
    draw(tmp_path / "c" / "a.png", 1)
    (tmp_path / "t.csv").write_text("path,camera\na.png,=SUM(A1)\n")
    out = tmp_path / "g"
    index = ["index", str(tmp_path / "c"), "--model", str(run), "--out", str(out), "--table", str(tmp_path / "t.csv")]
    assert main([*index, "--encoder", "torch"]) == 0
    assert main(["search", str(out), "--text", "a red top", "--csv", str(tmp_path / "o.csv")]) == 0
    assert "'=SUM(A1)" in (tmp_path / "o.csv").read_text()


@pytest.mark.parametrize("option", ["--csv", "--sheet", "--copy-to"])
def test_nothing_is_written_into_the_gallery(run, tmp_path, capsys, option):
    draw(tmp_path / "c" / "a.png", 1)
    out = tmp_path / "g"
    assert main(["index", str(tmp_path / "c"), "--model", str(run), "--out", str(out), "--encoder", "torch"]) == 0
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    inside = out / ("copies" if option == "--copy-to" else "gallery.db")
    assert main(["search", str(out), "--text", "a red top", option, str(inside)]) == 2
    assert "name a place elsewhere" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_doctor_speaks(run, capsys):
    assert main(["doctor", "--quick", "--model", str(run)]) == 0
    shown = capsys.readouterr().out
    assert any(line.strip().startswith("→") for line in shown.splitlines())
    assert r"\n" not in shown
    assert "threads" in shown
    assert "32" in shown
    assert main(["doctor", "--quick", "--json", "--model", "no such model"]) == 4
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["model"]["advice"]


def test_doctor_names_the_encoder_it_would_take(monkeypatch):
    from descry import doctor

    monkeypatch.setattr(doctor, "measure", lambda model: {"torch": 2.0, "bf16": 4.0})
    monkeypatch.setattr(doctor, "_memory", lambda: doctor.Finding("memory", "not measured"))
    if not doctor.DEMO.is_file():
        pytest.skip("the demo model is not here; recipes/demo.sh trains it")
    found = {f.name: f for f in doctor.examine()}
    assert found["encoder"].value.startswith("bf16, 4 pictures/s of the model demo")
    assert "[fast]" in found["encoder"].advice
    assert "encoder" not in {f.name for f in doctor.examine(quick=True)}


def picture_of_every_format(folder: Path) -> dict[str, bool]:
    """Twelve kinds of files: name → whether it is a picture that is read."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    kinds = {"a.jpg": "JPEG", "b.png": "PNG", "c.webp": "WEBP", "d.bmp": "BMP", "e.tif": "TIFF", "f.gif": "GIF"}
    kinds |= {"g.avif": "AVIF", "h.heic": "HEIF"}
    folder.mkdir(parents=True)
    for number, (name, kind) in enumerate(kinds.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name, kind)
    others = ("i.jp2", "j.svg", "k.mp4", "l")
    for name in others:
        (folder / name).write_bytes(b"something else")
    return dict.fromkeys(kinds, True) | dict.fromkeys(others, False)


UNPRIVILEGED = """
import ctypes, os, shutil, sys
crops, out, run = sys.argv[1:4]
if os.geteuid() == 0:  # root may read every folder, unless it gives its capabilities away
    libc, none = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 6)()
    assert libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), none) == 0, "capset"
scandir, seen = os.scandir, []
def vanishing(path):
    if os.fspath(path).endswith("vanishing"):
        seen.append(path)
        if len(seen) == 2:  # the files have been counted; now the folder is listed to be read
            os.scandir = scandir
            shutil.rmtree(path)
    return scandir(path)
os.scandir = vanishing
from descry.cli import main
for mode in (0o700, 0, 0o700):
    os.chmod(os.path.join(crops, "locked"), mode)
    status = main(["index", crops, "--out", out, "--model", run, "--json", "--quiet", "--encoder", "torch"])
    assert status == 0, status
    print("----")
"""


def test_a_folder_of_everything_ends_with_every_file_accounted_for(run, tmp_path):
    """One unreadable sub-folder, one that vanishes, twelve formats and a link, by the command itself."""
    crops = tmp_path / "crops"
    formats = picture_of_every_format(crops / "formats")
    for i in range(3):
        draw(crops / "locked" / f"x{i}.png", 100 + i)
        draw(crops / "vanishing" / f"y{i}.png", 200 + i)
        draw(tmp_path / "elsewhere" / f"z{i}.png", 300 + i)
    (crops / "linked").symlink_to(tmp_path / "elsewhere")

    command = [sys.executable, "-c", UNPRIVILEGED, str(crops), str(tmp_path / "g"), str(run)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads(text) for text in done.stdout.split("----\n") if text]
    skipped = [sorted(f"{Path(s['path']).name} {s['reason'].split(':')[0]}" for s in t["skipped"]) for t in told]
    counts = [(t["added"], t["unchanged"], t["removed"], t["items"]) for t in told]
    pictures, others = sum(formats.values()), [f"{name} format" for name, read in formats.items() if not read]
    always = [*others, "linked link"]
    assert counts == [(pictures + 3, 0, 0, 11), (0, pictures, 0, 11), (0, 11, 0, 11)]
    assert skipped == [sorted([*always, *more]) for more in (["vanishing missing"], ["locked missing"], [])]
