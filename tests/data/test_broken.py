"""Miniatures broken on purpose, each in one way: the check names exactly that, in one sentence, and nothing else
fails.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from descry.data import read
from descry.data.check import MARKER, check
from descry.errors import DataError


def rows_of(root: Path, file: str) -> list[dict[str, Any]]:
    return json.loads((root / file).read_text("utf-8"))


def edit(file: str, change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        rows = rows_of(root, file)
        change(rows)
        (root / file).write_text(json.dumps(rows), "utf-8")

    return apply


def becomes(file: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda root: (root / file).write_text(json.dumps(change(rows_of(root, file))), "utf-8")


def put(key: str, value: Any, row: int = 3) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[row].__setitem__(key, value)


def drop(key: str, row: int = 3) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[row].pop(key)


def rename(old: str, new: str) -> Callable[[list[dict[str, Any]]], None]:
    def apply(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row[new] = row.pop(old)

    return apply


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def remove(pattern: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = first(root, pattern)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def cut(pattern: str, share: float = 0.5) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = first(root, pattern)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return apply


def write(pattern: str, content: bytes) -> Callable[[Path], None]:
    return lambda root: first(root, pattern).write_bytes(content)


def line(file: str, number: int, text: str | None) -> Callable[[Path], None]:
    """Replace one line of a text file; None removes it."""

    def apply(root: Path) -> None:
        path = first(root, file)
        lines = path.read_text("utf-8").splitlines()
        lines[number : number + 1] = [] if text is None else [text]
        path.write_text("\n".join(lines) + "\n", "utf-8")

    return apply


def move(old: str, new: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = first(root, old)
        path.rename(path.parent / new)

    return apply


def attributes(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Change the attribute file through scipy, as somebody's script would."""

    def apply(root: Path) -> None:
        from scipy.io import loadmat, savemat

        market = loadmat(str(root / "market_attribute.mat"), simplify_cells=True)["market_attribute"]
        change(market)
        savemat(str(root / "market_attribute.mat"), {"market_attribute": market})

    return apply


def tiny(root: Path, pattern: str) -> None:
    Image.new("RGB", (3, 3)).save(first(root, pattern))


CUHK, ICFG, RSTP = ("cuhk-pedes", "reid_raw"), ("icfg-pedes", "hyphen"), ("rstpreid", "data_captions")
REID, TRI = ("cuhk-pedes", "reid"), ("tri-pedes", "imgs-sketch")
MASK, PKU, GIVEN = (
    ("market-sketch-1k", "attributes"),
    ("pku-sketch", "generated splits"),
    ("pku-sketch", "given splits"),
)
MARKET, OWN, CSV = ("market-1501", "photographs"), ("table", "jsonl"), ("table", "csv")
RAW = "reid_raw.json"

BROKEN: list[tuple[str, tuple[str, str], Callable[[Path], Any], str]] = [
    ("no annotations", CUHK, remove(RAW), r"no annotations in .*reid_raw\.json, caption_all\.json"),
    ("one split file of three", REID, remove("val_reid.json"), r"val_reid\.json is missing beside train_reid\.json"),
    ("not JSON", CUHK, cut(RAW), r"reid_raw\.json: not JSON \(.* at line 1, column \d+\)"),
    (
        "wrong encoding",
        CUHK,
        write(RAW, '[{"é": 1}]'.encode("latin-1")),
        r"reid_raw\.json, line 1: byte 3 is not UTF-8",
    ),
    ("an object, not a list", CUHK, becomes(RAW, lambda rows: {"rows": rows}), r"reid_raw\.json: a list .* got dict"),
    ("an empty list", CUHK, becomes(RAW, lambda rows: []), r"reid_raw\.json: the list of annotations is empty"),
    (
        "a row that is a list",
        CUHK,
        edit(RAW, lambda rows: rows.__setitem__(2, [])),
        r"row 2: an object is needed; got list",
    ),
    (
        "renamed path key",
        CUHK,
        edit(RAW, rename("file_path", "filename")),
        r"row 0: neither 'file_path' nor 'img_path'.*filename",
    ),
    (
        "renamed captions",
        CUHK,
        edit(RAW, rename("captions", "caption")),
        r"row 0: there is no 'captions'; its keys are",
    ),
    (
        "renamed id",
        RSTP,
        edit("data_captions.json", rename("id", "pid")),
        r"row 0: 'id' must be a whole number; got None",
    ),
    ("id as text", CUHK, edit(RAW, put("id", "4")), r"row 3: 'id' must be a whole number; got '4'"),
    (
        "unknown split",
        ICFG,
        edit("ICFG-PEDES.json", put("split", "dev")),
        r"row 3: split 'dev' is unknown; allowed: train, val, test",
    ),
    (
        "no split where needed",
        RSTP,
        edit("data_captions.json", drop("split")),
        r"row 3: there is no 'split'; this form of rstpreid",
    ),
    ("no captions in a row", CUHK, edit(RAW, put("captions", [])), r"row 3: 'captions' is an empty list"),
    ("an empty caption", CUHK, edit(RAW, put("captions", ["a man", " "])), r"row 3: 'captions' holds an empty text"),
    (
        "captions as one text",
        CUHK,
        edit(RAW, put("captions", "a man")),
        r"row 3: 'captions' must be a list of texts; got str",
    ),
    (
        "a caption too few in bt",
        REID,
        edit("train_reid.json", lambda r: r[1]["captions_bt"].pop()),
        r"row 1: 2 captions but 1 in 'captions_bt'",
    ),
    ("empty path", CUHK, edit(RAW, put("file_path", "")), r"row 3: 'file_path' must be a path; got ''"),
    (
        "a path out of the folder",
        CUHK,
        edit(RAW, put("file_path", "../../etc/x.jpg")),
        r"row 3: '\.\./\.\./etc/x\.jpg' leaves",
    ),
    (
        "an identity in two splits",
        CUHK,
        edit(RAW, lambda r: r[-1].update(id=1)),
        r"1 identities shared between splits: 1 \(test and train\)",
    ),
    (
        "a photograph of two people",
        CUHK,
        edit(RAW, lambda r: r[2].update(file_path=r[0]["file_path"])),
        r"1 files under several identities",
    ),
    ("a row too few", CUHK, edit(RAW, lambda r: r.pop(0)), r"train photos: 13 found, 14 expected"),
    (
        "missing folder",
        CUHK,
        remove("imgs/Market"),
        r"the folder imgs/Market is missing: \d+ pictures, first imgs/Market/",
    ),
    (
        "no image folder at all",
        RSTP,
        remove("imgs"),
        r"the folder imgs is missing: 40 pictures, first imgs/0000_c1_0001\.jpg, ",
    ),
    (
        "absent image",
        ICFG,
        remove("imgs/train/*/*.jpg"),
        r"1 pictures are missing, first imgs/train/0000/0000_000\.jpg",
    ),
    ("truncated JPEG", CUHK, cut("imgs/cam_a/*.jpg"), r"1 pictures are unreadable \(corrupt\), first imgs/cam_a/"),
    (
        "text as JPEG",
        CUHK,
        write("imgs/cam_a/*.jpg", b"not a picture"),
        r"1 pictures are unreadable \(format\), first imgs/cam_a/",
    ),
    ("empty file", CUHK, write("imgs/cam_a/*.jpg", b""), r"1 pictures are unreadable \(format\), first imgs/cam_a/"),
    (
        "a picture of 3 pixels",
        CUHK,
        lambda root: tiny(root, "imgs/cam_a/*.jpg"),
        r"1 pictures are unreadable \(too_small\)",
    ),
    ("a set of Tri-PEDES absent", TRI, remove("RSTPReid"), r"RSTPReid is missing in .*parts=CUHK\+ICFG"),
    (
        "no sketch folder",
        TRI,
        remove("ICFG-PEDES/imgs-sketch"),
        r"ICFG-PEDES has no folder imgs-sketch.*descry data sketch",
    ),
    (
        "a sketch absent",
        TRI,
        remove("RSTPReid/imgs-sketch/*.jpg"),
        r"1 pictures are missing, first RSTPReid/imgs-sketch/0000_c1",
    ),
    ("style folder absent", MASK, remove("sketch/C"), r"the folder sketch/C/train is missing"),
    ("photo folder absent", MASK, remove("photo/query"), r"the folder photo/query is missing"),
    (
        "a name without an id",
        MASK,
        move("photo/query/*.jpg", "x_c1.jpg"),
        r"photo/query/x_c1\.jpg does not begin with a four-digit id",
    ),
    ("no attribute file", MASK, remove("market_attribute.mat"), r"market_attribute\.mat is missing"),
    (
        "a damaged attribute file",
        MASK,
        cut("market_attribute.mat", 0.3),
        r"market_attribute\.mat cannot be read as a MATLAB file",
    ),
    (
        "an attribute lost",
        MASK,
        attributes(lambda m: m["test"].pop("uppurple")),
        r"test: the field uppurple is missing",
    ),
    (
        "an unknown code",
        MASK,
        attributes(lambda m: m["train"]["age"].__setitem__(0, 7)),
        r"field 'age' holds the code 7; allowed are 0 to 4",
    ),
    (
        "too few codes",
        MASK,
        attributes(lambda m: m["train"].update(up=m["train"]["up"][:3])),
        r"field 'up' has 3 values for 6 ids",
    ),
    (
        "codes of other people",
        MASK,
        attributes(lambda m: m["test"].update(image_index=["0900", "0901", "0902", "0903"])),
        r"has no codes for id 0008",
    ),
    ("a part lost", MASK, attributes(lambda m: m.pop("test")), r"'market_attribute' has no part 'test'; it has train"),
    (
        "sketch without photograph",
        MASK,
        lambda root: [p.unlink() for p in root.glob("photo/query/0009_*")],
        r"test: 1 identities are asked for but have no photograph: 0009",
    ),
    ("no styles", PKU, remove("styleAnnotation"), r"the folder styleAnnotation is missing"),
    ("an id of two styles", PKU, line("styleAnnotation/b_4.txt", 0, "1"), r"id 1 stands in a_4\.txt and in b_4\.txt"),
    (
        "a style line that is no id",
        PKU,
        line("styleAnnotation/a_4.txt", 1, "two"),
        r"a_4\.txt, line 2: 'two' is not an id",
    ),
    (
        "a person of no style",
        PKU,
        line("styleAnnotation/c_4.txt", 0, None),
        r"photo/9_01_109\.jpg is of id 9, which split 1 does not know",
    ),
    ("a sketch lost", PKU, remove("sketch/7.jpg"), r"id 7 of split 1 has no sketch"),
    (
        "a sentence lost",
        PKU,
        line("TriReID.txt", 0, None),
        r"TriReID\.txt has 1 sentences for id 1; every id needs two",
    ),
    (
        "a sentence without @",
        PKU,
        line("TriReID.txt", 2, "2/x a man"),
        r"TriReID\.txt, line 3: 'id/…@sentence' is needed",
    ),
    ("a split file lost", GIVEN, remove("idx/test_sketch_1.txt"), r"there is no file .*test_sketch_1\.txt"),
    (
        "a split line in another form",
        GIVEN,
        line("idx/train_visible_1.txt", 0, "photo/1_01_101.jpg"),
        r"train_visible_1\.txt, line 1: 'path id camera style'",
    ),
    (
        "a person in train and test",
        GIVEN,
        lambda root: shutil.copy(root / "idx/train_sketch_1.txt", root / "idx/test_sketch_1.txt"),
        r"split 1 has 15 identities in train and test",
    ),
    ("Market folder absent", MARKET, remove("query"), r"the folder query is missing"),
    ("Market name in another form", MARKET, move("query/*.jpg", "7.jpg"), r"query/7\.jpg is not named like 0002_c1s1"),
    (
        "a query without gallery",
        MARKET,
        lambda root: [p.unlink() for p in root.glob("bounding_box_test/0008_*")],
        r"test: 1 identities are asked for but have no photograph: 0008",
    ),
    (
        "Market test id in train",
        MARKET,
        move("bounding_box_train/0002_c1*", "0007_c1s1_000002_01.jpg"),
        r"1 identities shared between splits: 0007",
    ),
    ("no table", OWN, remove("table.jsonl"), r"holds neither table\.jsonl nor table\.csv"),
    ("a table line that is not JSON", OWN, line("table.jsonl", 4, "{"), r"table\.jsonl, line 5: not JSON"),
    (
        "a row without pid",
        OWN,
        line("table.jsonl", 4, '{"split": "train", "path": "a.jpg"}'),
        r"line 5: there is no 'pid'",
    ),
    (
        "a misspelt split",
        OWN,
        line("table.jsonl", 0, '{"split": "trian", "pid": 1, "path": "a.jpg"}'),
        r"line 1: split 'trian' is unknown; did you mean 'train'",
    ),
    (
        "a row of nothing",
        OWN,
        line("table.jsonl", 0, '{"split": "train", "pid": 1}'),
        r"line 1: it names neither a photograph",
    ),
    (
        "CSV with a cell too many",
        CSV,
        line("table.csv", 1, "train,p0,a.jpg" + "," * 40),
        r"table\.csv, line 2: it has not the 11 cells",
    ),
    ("a damaged marker", OWN, write(MARKER, b"{}"), r"descry-miniature\.json is damaged"),
]


@pytest.mark.parametrize(("kind", "break_it", "message"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_one_precise_message(copied, kind, break_it, message) -> None:
    root = copied(*kind)
    assert check(*kind[:1], root, variant=kind[1]).ok
    break_it(root)
    faults = check(kind[0], root, variant=kind[1], threads=1).faults
    assert len(faults) == 1, faults
    assert re.search(message, faults[0]), faults[0]
    assert "\n" not in faults[0]
    assert "Traceback" not in faults[0]


def test_there_are_at_least_forty() -> None:
    assert len({b[0] for b in BROKEN}) == len(BROKEN) >= 40


@pytest.mark.parametrize(
    ("kind", "break_it"),
    [(b[1], b[2]) for b in BROKEN if b[0] in ("renamed path key", "an identity in two splits", "no styles")],
)
def test_reading_refuses_what_the_check_refuses(copied, kind, break_it) -> None:
    root = copied(*kind)
    break_it(root)
    with pytest.raises(DataError):
        read(kind[0], root, variant=kind[1])
