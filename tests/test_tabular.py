"""Tables as people have them, through every reader of tables: the right value, or one line that names what is wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descry
from descry.data.leaks import Leaks, Pair, load_leaks, resolved
from descry.data.table import read_table
from descry.errors import DataError, DescryError, UsageError
from descry.gallery import Gallery
from descry.gallery.sources import Sources
from descry.gallery.sources import read_table as read_sources
from descry.interact.questions import vocabulary
from descry.query import Query
from descry.records import Benchmark, Photo, Probe
from descry.studies.ledger import read as read_ledger
from descry.studies.matrices import read_order, write_order
from descry.tabular import NO_VALUE, csv_rows, json_lines, name_of, path_of

CSV: dict[str, tuple[Callable[[Path], object], list[str], list[list[str]]]] = {
    "data set": (lambda p: read_table(p), ["split", "pid", "path"], [["test", "1", "a.png"], ["test", "2", "b.png"]]),
    "cameras": (lambda p: read_sources(str(p)), ["path", "camera"], [["a.png", "c1"], ["b.png", "c2"]]),
    "order": (lambda p: read_order(p), ["role", "pid", "picture"], [["query", "1", "q"], ["photo", "1", "a.png"]]),
}
"""Every reader of a CSV file that a person wrote: reader, columns, rows."""
JSONL: dict[str, tuple[Callable[[Path], object], dict[str, object]]] = {
    "data set": (lambda p: read_table(p), {"split": "test", "pid": "1", "path": "a.png"}),
    "ledger": (lambda p: len(read_ledger(p)), {
        "format": 1, "table": "t", "row": "r", "scale": "own", "seed": 0, "figures": {}, "split": "test",
        "selection": "last", "data": {}, "command": "descry",
    }),
}  # fmt: skip


def test_no_other_place_reads_csv() -> None:
    """Whoever reads a table of somebody else does it through `descry.tabular`."""
    root, found = Path(descry.__file__).parent, set()
    for file in root.rglob("*.py"):
        if re.search(r"\bcsv\.(reader|DictReader)\b", file.read_text("utf-8")):
            found.add(file.relative_to(root).as_posix())
    # what descry crop wrote itself is read by its own exact columns
    assert found == {"tabular.py", "footage/origin.py", "footage/cropping.py"}


def test_very_many_columns_are_refused_at_once(tmp_path) -> None:
    """Each was once compared with all before it, and with every name that is read: minutes."""
    begun = time.process_time()
    for names in (["path", *map(str, range(200_000))], ["path", *map(str, range(100_000)), "path"]):
        path = tmp_path / "t.csv"
        path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
        with pytest.raises(DataError, match="columns; at most"):
            csv_rows(path)
        path = tmp_path / "t.jsonl"
        path.write_text("{" + ", ".join(f'"{name}": 1' for name in names) + "}\n")
        with pytest.raises(DataError, match=r"names; at most|'path' is in it twice"):
            list(json_lines(path))
    assert time.process_time() - begun < 20


def test_digits_are_those_that_a_number_is_made_of() -> None:
    """str.isdigit() holds for "²", of which int() makes no number."""
    for package in ("descry", "descry_lab", "descry_people"):
        root = Path(descry.__file__).parents[1] / package
        for file in root.rglob("*.py"):
            assert ".isdigit(" not in file.read_text("utf-8"), f"{file}: use isdecimal() or an expression"


def write(path: Path, columns: list[str], rows: list[list[str]], end: str = "\n", bom: bool = False) -> Path:
    quoted = [",".join('"' + c.replace('"', '""') + '"' for c in row) for row in [columns, *rows]]
    path.write_bytes((end.join([*quoted, ""])).encode("utf-8-sig" if bom else "utf-8"))
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("name", CSV)
def test_every_line_end_and_a_mark_of_bytes_are_read(tmp_path, name, bom, end) -> None:
    read, columns, rows = CSV[name]
    assert read(write(tmp_path / "order.csv", columns, rows, end, bom)) == read(
        write(tmp_path / "order.csv", columns, rows)
    )
    spaced = write(tmp_path / "order.csv", [f" {c} " for c in columns], [*rows, [""] * len(columns)], end, bom)
    assert read(spaced) == read(write(tmp_path / "order.csv", columns, rows)), "spaces and an empty row"


def faulty(columns: list[str], rows: list[list[str]]) -> dict[str, bytes]:
    """Name of the fault → the file."""
    line = [",".join(row) for row in [columns, *rows]]
    return {
        "twice": "\n".join([f"{line[0]},{columns[1]}", *(f"{x},9" for x in line[1:])]).encode(),
        "separated": "\n".join(line).replace(",", ";").encode(),
        "cells": f"{line[0]}\n{line[1]},extra\n".encode(),
        "not UTF-8": b"\xff\xfe" + "\n".join(line).encode("utf-16-le"),
        "did you mean": "\n".join([line[0].replace(columns[1], f"{columns[1]}s"), *line[1:]]).encode(),
        "not CSV": f'{line[0]}\n{line[1]}\n"{"x" * 17_000_000}",b,c\n'.encode(),
        "end of data": f'{line[0]}\n"{line[1]}\n{line[2]}\n'.encode(),  # an open quote would swallow the rows below
        "expected after": f'{line[0]}\n"{line[1][:1]}"{line[1]}\n'.encode(),
    }


@pytest.mark.parametrize("fault", faulty(["a", "b"], [["c", "d"], ["e", "f"]]))
@pytest.mark.parametrize("name", CSV)
def test_what_is_wrong_with_a_table_is_named(tmp_path, name, fault) -> None:
    read, columns, rows = CSV[name]
    (tmp_path / "order.csv").write_bytes(faulty(columns, rows)[fault])
    with pytest.raises(DataError) as refused:
        read(tmp_path / "order.csv")
    if not (name == "data set" and fault == "did you mean"):  # there the column itself is missed first
        assert fault in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("name", CSV)
def test_a_table_that_is_no_file_is_named(tmp_path, name) -> None:
    for path, said in ((tmp_path / "nope.csv", "there is no file"), (tmp_path, "folder")):
        with pytest.raises(DataError, match=f"{said}|not a table"):
            CSV[name][0](path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", JSONL)
def test_json_lines_are_read_whatever_ends_them(tmp_path, name, end) -> None:
    read, row = JSONL[name]
    text = json.dumps(
        row | ({"command": "a\u2028b\x85c"} if "command" in row else {"caption": "a\u2028b\x85c"}), ensure_ascii=False
    )
    plain, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    plain.write_text(text + "\n", "utf-8")
    other.write_bytes(b"\xef\xbb\xbf" + end.join(["", text, "", ""]).encode())
    assert read(plain) == read(other)


@pytest.mark.parametrize("text", ['{"pid": 1, "pid": 2}', "[1]", "{", "nul", '{"a": 1' + "0" * 5000 + "}"])
def test_a_line_that_is_no_object_is_named(tmp_path, text) -> None:
    (tmp_path / "t.jsonl").write_text(f"\n{text}\n")
    with pytest.raises(DataError, match=r"t\.jsonl, line 2"):
        list(json_lines(tmp_path / "t.jsonl"))


@pytest.mark.parametrize("missing", ["", " ", *NO_VALUE, "NaN", "NULL", "None"])
def test_a_missing_camera_time_or_track_is_unknown_in_every_table(tmp_path, missing) -> None:
    write(tmp_path / "t.csv", ["path", "camera", "time", "track"], [["a.png", missing, missing, missing]])
    fields = Sources(table=str(tmp_path / "t.csv")).fields("/x/a.png", 0)
    assert fields == {"camera": "", "time": None, "track": ""}
    write(tmp_path / "d.csv", ["split", "pid", "path", "camera"], [["test", "1", "a.png", missing]])
    assert read_table(tmp_path / "d.csv")[0].camera == ""
    write(tmp_path / "o.csv", ["role", "pid", "camera"], [["query", "1", ""], ["photo", "1", missing]])
    assert read_order(tmp_path / "o.csv").photos[0].camera == ""
    for columns, row in ((["split", "pid", "path"], ["test", missing, "a"]), (["role", "pid"], ["photo", missing])):
        with pytest.raises(DataError, match="pid"):
            (read_table if "split" in columns else read_order)(write(tmp_path / "p.csv", columns, [row]))


WAYS = ["cam0/p.png", "./cam0/p.png", ".\\cam0\\p.png", " cam0/p.png ", "cam0//p.png", "cam0/./p.png", "cam0\\p.png"]


@pytest.mark.parametrize("way", WAYS)
def test_a_path_is_cleaned_the_same_way_in_every_table(tmp_path, way) -> None:
    assert path_of(way) == "cam0/p.png"
    write(tmp_path / "t.csv", ["path", "camera"], [[way, "north"]])
    assert Sources(table=str(tmp_path / "t.csv")).fields("/x/cam0/p.png", 0)["camera"] == "north"
    rows = [["test", "1", way, "", ""], ["test", "1", "q.png", "", ""], ["test", "1", "", "s.png", way]]
    write(tmp_path / "d.csv", ["split", "pid", "path", "sketch", "drawn_from"], rows)
    photo, _, sketch = read_table(tmp_path / "d.csv")
    assert photo.path == sketch.drawn_from == "cam0/p.png"


@given(st.text(max_size=30))
def test_a_clean_path_stays_as_it_is(text) -> None:
    assert path_of(path_of(text)) == path_of(text)


@given(st.lists(st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True).filter(lambda t: t not in NO_VALUE), min_size=1))
def test_a_plain_path_is_not_changed(parts) -> None:
    assert path_of("/".join(parts)) == "/".join(parts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=5), st.booleans())
def test_any_csv_is_read_or_refused(tmp_path_factory, rows, bom) -> None:
    path = tmp_path_factory.mktemp("t") / "order.csv"
    for name, (read, columns, good) in CSV.items():
        try:
            write(path, columns, [*good, *([*row, "x"][: len(columns)] for row in rows)], bom=bom)
            read(path)
        except (DescryError, UnicodeEncodeError):
            continue
        assert name in CSV
    path.write_text("\n".join(",".join(row) for row in rows), "utf-8", errors="replace")
    try:
        names, found = csv_rows(path)
    except DescryError:
        return
    assert len(set(names)) == len(names)
    assert all(list(row) == names for _, row in found)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers()))
def test_a_name_is_what_it_is_or_is_refused(value) -> None:
    try:
        name = name_of(value, "pid")
    except DataError:
        assert not isinstance(value, (str, int)) or isinstance(value, bool)
        return
    assert name == name.strip()
    assert name.lower() not in NO_VALUE
    if isinstance(value, int):
        assert name == str(value)
    if isinstance(value, float) and name:
        assert float(name) == value


BENCH = Benchmark(
    "order",
    (Probe(Query(wanted="red, “hat”\nand scarf"), 7, (1,), "line"), Probe(Query(wanted="blue"), 8)),
    (Photo("a.png", 7, "c1"), Photo("b,\u2028.png", 7, ""), Photo("c.png", 8, "nan")),
)


def test_an_order_of_scores_is_written_and_read_back(tmp_path) -> None:
    write_order(BENCH, tmp_path / "order.csv")
    found = read_order(tmp_path / "order.csv")
    assert [p.ignore for p in found.probes] == [(1,), ()]
    assert [p.pid for p in found.photos] == [0, 0, 1]
    assert [p.camera for p in found.photos] == ["c1", "", ""]
    assert found.photos[1].path == "b,\u2028.png"


def test_an_order_whose_identities_never_meet_is_refused(tmp_path) -> None:
    write(tmp_path / "order.csv", ["role", "pid"], [["query", "7"], ["photo", "007"], ["photo", "7.0"]])
    with pytest.raises(DataError, match="no query has the pid of a photograph"):
        read_order(tmp_path / "order.csv")


# ------------------------------------------------------------------------------ references are resolved or refused


def indexed(tmp_path: Path, model, rows: list[list[str]], **options):
    from gallery.plain_model import draw

    for i, name in enumerate(("cam0/p0.png", "cam0/p1.png", "cam1/p1.png")):
        draw(tmp_path / "crops" / name, i)
    table = write(tmp_path / "t.csv", ["path", "camera"], rows)
    with Gallery.create(tmp_path / "g", model) as gallery:
        report = gallery.index(tmp_path / "crops", sources=Sources(table=str(table)), **options)
        return report, {Path(i.path).name: i.camera for i in gallery.items(gallery.snapshot().ids)}


@pytest.fixture
def model():
    from gallery.plain_model import PlainModel

    return PlainModel()


@pytest.mark.parametrize("path", ["q.png", "crops/cam0/P0.png", "/elsewhere/cam0/p0.png", "../crops/cam0/p0.png"])
def test_a_table_that_names_no_picture_is_refused(tmp_path, model, path) -> None:
    with pytest.raises(DataError, match="none of its 1 rows names a picture"):
        indexed(tmp_path, model, [[path, "c"]])


def test_a_row_that_names_no_picture_is_counted(tmp_path, model) -> None:
    report, cameras = indexed(tmp_path, model, [["p0.png", "north"], ["typo.png", "south"]])
    assert cameras["p0.png"] == "north"
    assert "1 of 2 rows name no picture here, first typo.png" in report.warning


def test_a_row_that_names_two_pictures_is_refused(tmp_path, model) -> None:
    with pytest.raises(DataError, match=r"p1\.png names .*cam0/p1.png and .*cam1/p1.png"):
        indexed(tmp_path, model, [["p1.png", "north"]])


@pytest.mark.parametrize("rows", [[], [["p0.png", ""]], [["p0.png", "-"], ["cam0/p1.png", "N/A"]]])
def test_a_table_that_holds_nothing_is_refused(tmp_path, model, rows) -> None:
    with pytest.raises(DataError, match="no row with a camera"):
        indexed(tmp_path, model, rows)


def test_two_names_of_one_picture_agree_or_are_refused(tmp_path, model) -> None:
    report, cameras = indexed(tmp_path, model, [["p0.png", "north"], ["cam0/p0.png", "north"]])
    assert (cameras["p0.png"], report.warning) == ("north", "")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"p0\.png and cam0/p0\.png are the same picture with other values"):
        indexed(tmp_path / "b", model, [["p0.png", "north"], ["cam0/p0.png", "south"]])


def test_a_number_that_may_stand_for_several_is_no_name() -> None:
    assert (name_of(2.0**53 - 1, "pid"), name_of(2**53 + 1, "pid")) == ("9007199254740991", "9007199254740993")
    for value in (2.0**53, -(2.0**60), 1e22):
        with pytest.raises(DataError, match="several whole numbers"):
            name_of(value, "pid")


def test_a_picture_that_stands_in_a_table_twice_is_refused(tmp_path) -> None:
    write(tmp_path / "t.csv", ["path", "camera"], [["a.png", "1"], ["./a.png", "1"]])
    assert len(Sources(table=str(tmp_path / "t.csv")).rows) == 1
    write(tmp_path / "t.csv", ["path", "camera"], [["a.png", "1"], [".\\a.png", "2"]])
    with pytest.raises(DataError, match=r"line 3: a\.png is in it twice with other values"):
        Sources(table=str(tmp_path / "t.csv"))


def test_a_source_that_the_table_lacks_is_refused(tmp_path) -> None:
    write(tmp_path / "t.csv", ["path", "camera"], [["a.png", "1"]])
    with pytest.raises(UsageError, match="has no column time"):
        Sources(time="csv", table=str(tmp_path / "t.csv"))


def test_what_a_pattern_takes_for_a_time_and_is_none_is_told() -> None:
    said = Sources(time=r"_(\d+)\.").unmatched(["/x/a_1769868420.png", "/x/a_20260131140509.png"])
    assert said == "--time-from finds no time in 1 of 2 paths, such as '1769868420'"


def test_a_list_of_leaks_of_other_data_is_refused(tmp_path) -> None:
    leaks = Leaks("a", "b", (Pair("x.png", "imgs/c.png", "1", "2", "train", "test", 0),))
    resolved(leaks, [Benchmark("t", BENCH.probes, (Photo("/root/imgs/c.png", 8),))], "test")
    resolved(leaks, [BENCH], "val")
    with pytest.raises(DataError, match="none of them is in this data"):
        resolved(leaks, [BENCH], "test")
    leaks.save(tmp_path / "leaks.json")
    assert load_leaks(tmp_path / "leaks.json") == leaks
    for wrong in ("null", "7", '""', '["a"]'):
        text = (tmp_path / "leaks.json").read_text().replace('"imgs/c.png"', wrong)
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match="not a list of leaks"):
            load_leaks(tmp_path / "bad.json")


@pytest.mark.parametrize("row", [{"key": 7}, {"values": "red"}, {"values": [1]}, {"phrase": None}, {"question": ""}])
def test_a_question_that_is_no_text_is_refused(tmp_path, row) -> None:
    good = {"key": "hat", "question": "a hat?", "phrase": "a hat", "values": ["yes"]}
    path = tmp_path / "q.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([good]).encode())
    assert vocabulary(path)[0].values == ("yes",)
    path.write_text(json.dumps([good | row]))
    with pytest.raises(DataError, match="row 0"):
        vocabulary(path)


ASKED = [
    *({"ids": [1]}, {"text": "red"}, {"text": "red", "ids": []}, {"text": "red", "ids": ["1"]}),
    *(
        {"text": "red", "ids": [True]},
        {"text": "red", "ids": [1.5]},
        {"text": "red", "ids": 1},
        {"text": 7, "ids": [1]},
    ),
    *({"text": "red", "ids": [99]}, {"texts": "red", "ids": [1]}, {"text": "", "ids": [1]}),
]


@pytest.mark.parametrize("row", ASKED)
def test_a_query_with_a_known_answer_is_read_or_refused(tmp_path, row) -> None:
    from types import SimpleNamespace

    from descry.cli.absence import _asked

    path = tmp_path / "q.jsonl"
    path.write_text("\n" + json.dumps(row) + "\n")
    gallery = SimpleNamespace(snapshot=lambda: SimpleNamespace(ids=np.array([1, 2])), model=None)
    with pytest.raises(DataError, match="line 2 of"):
        _asked(gallery, path, 10, True)


NO_FILES = {
    *("footage/detecting.py", "purge.py", "encoders.py", "descry_lab/conversation.py", "descry_stores/postgres.py"),
    *("descry_stores/milvus_schema.py", "studies/ledger.py"),
}
"""Messages, bytes (which have no further line ends), and files of the system."""


def test_lines_of_files_are_parted_by_one_function() -> None:
    """str.splitlines parts at U+2028 and U+0085 too, which stand inside captions."""
    import descry

    product = Path(descry.__file__).parent
    found = {
        file.relative_to(product.parent).as_posix().removeprefix("descry/")
        for root in ("descry", "descry_lab", "descry_people", "descry_stores")
        for file in product.with_name(root).rglob("*.py")
        if ".splitlines(" in file.read_text("utf-8")
    }
    assert found == NO_FILES
