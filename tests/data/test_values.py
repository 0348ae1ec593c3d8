"""Values of tables: what is missing, what is written in odd ways, and references that meet nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.data.assemble import Split, assemble
from descry.data.faults import faults, natural, numbered, unlike
from descry.data.table import Row, Table, read_table, rows_of, write_table
from descry.errors import DataError, DescryError
from descry.metrics import rank_people
from descry.tabular import NO_VALUE, lines_of

PHOTO = {"split": "test", "pid": "1", "path": "a.png"}


def table(*rows, root="."):
    from pathlib import Path

    return Table("own", Path(root), rows)


@pytest.mark.parametrize(
    "pid", [None, "", float("nan"), "nan", "NaN", "null", "None", True, [1], {}, 7.5, float("inf")]
)
def test_a_missing_or_odd_identity_is_refused(pid):
    with pytest.raises(DataError, match="pid"):
        rows_of(PHOTO | {"pid": pid}, "line 1")


@pytest.mark.parametrize(("pid", "read"), [(7, "7"), (7.0, "7"), ("7", "7"), ("007", "007"), (0, "0"), ("²", "²")])
def test_an_identity_is_read_as_what_it_is(pid, read):
    assert rows_of(PHOTO | {"pid": pid}, "line 1")[0].pid == read


@pytest.mark.parametrize("name", ["camera", "track"])
@pytest.mark.parametrize(("given", "read"), [(0, "0"), (3.0, "3"), (None, ""), (float("nan"), ""), ("nan", "")])
def test_the_camera_of_number_0_is_known_and_a_missing_one_is_not(name, given, read):
    assert getattr(rows_of(PHOTO | {name: given}, "line 1")[0], name) == read


@pytest.mark.parametrize("name", ["camera", "track", "style", "role"])
@pytest.mark.parametrize("given", [["c1"], {"a": 1}, True, 1.5])
def test_a_field_that_is_no_name_is_refused(name, given):
    with pytest.raises(DataError, match=name):
        rows_of(PHOTO | {"sketch": "s.png", name: given}, "line 1")


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_a_caption_with_a_line_separator_is_written_and_read_back(tmp_path, sign):
    rows = (Row("test", "1", "a.png", captions=(f"a red{sign}hat",)), Row("test", "2", "b.png"))
    write_table(tmp_path / "t.jsonl", rows)
    assert read_table(tmp_path / "t.jsonl") == rows
    write_table(tmp_path / "t.csv", rows)
    assert read_table(tmp_path / "t.csv") == rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read(tmp_path, end):
    (tmp_path / "t.csv").write_bytes(end.join(["split,pid,path", "test,1,a.png", "test,2,b.png", ""]).encode())
    lines = [json.dumps(PHOTO), json.dumps(PHOTO | {"pid": 2})]
    (tmp_path / "t.jsonl").write_bytes(end.join(lines).encode())
    assert [r.pid for r in read_table(tmp_path / "t.csv")] == ["1", "2"]
    assert [r.pid for r in read_table(tmp_path / "t.jsonl")] == ["1", "2"]
    assert lines_of(f"a{end}b") == ["a", "b"]


def test_a_long_cell_is_read(tmp_path):
    words = "red hat " * 40_000
    (tmp_path / "t.csv").write_text(f"split,pid,path,caption\ntest,1,a.png,{words}\n")
    assert read_table(tmp_path / "t.csv")[0].captions == (words.strip(),)


def test_another_separator_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("split;pid;path\ntest;1;a.png\n")
    with pytest.raises(DataError, match="separated by ';'"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("pid", ["²", "--5", "9" * 5000, "٣", "-", "7a"])
def test_ids_that_only_look_like_numbers_are_ordered_as_names(pid):
    assert natural(pid) == (1, 0, pid)
    assert numbered([Row("train", pid, "a"), Row("train", "3", "b")]) == {"3": 0, pid: 1, "-1": -1}


def test_class_numbers_do_not_depend_on_the_hash_seed():
    code = (
        "from descry.data.faults import numbered; from descry.data.table import Row;"
        "print(numbered([Row('train', p, p) for p in ('7', '007', '07', 'b', '+7', '0007')]))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "01234"
    }
    assert said == {"{'0007': 0, '007': 1, '07': 2, '7': 3, '+7': 4, 'b': 5, '-1': -1}\n"}


def test_numbers_written_in_two_ways_are_told():
    (note,) = unlike(table(Row("test", "7", "a"), Row("test", "007", "b"), Row("test", "8", "c")))
    assert "'007', '7'" in note


@pytest.mark.parametrize("name", ["p_0.PNG", "0.png", "elsewhere/p_0.png"])
def test_a_drawn_from_that_names_no_photograph_is_refused(name):
    held = table(
        Row("test", "1", "p_0.png"), Row("test", "1", "p_1.png"), Row("test", "1", sketch="s.png", drawn_from=name)
    )
    with pytest.raises(DataError, match=r"1 of 1 sketches name .* that the table does not hold"):
        assemble(held)


def test_a_drawn_from_without_a_sketch_is_not_dropped():
    """A drawing in the column of photographs would be ranked as one, and its source would be searched for."""
    row = {"split": "test", "pid": "1", "path": "s.png", "role": "query", "drawn_from": "p_0.png"}
    with pytest.raises(DataError, match=r"line 4: drawn_from names p_0\.png, but the row has no sketch"):
        rows_of(row, "line 4")
    assert [r.drawn_from for r in rows_of(row | {"path": "", "role": "", "sketch": "s.png"}, "line 4")] == ["p_0.png"]


@pytest.mark.parametrize(("value", "said"), [(None, "null"), ("", "empty")])
@pytest.mark.parametrize("name", ["pid", "split"])
def test_a_needed_field_without_a_value_is_not_called_misspelt(name, value, said):
    row = {"split": "test", "pid": "1", "path": "a.png"} | {name: value}
    with pytest.raises(DataError, match=f"^line 1: '{name}' is {said}; every row needs one$"):
        rows_of(row, "line 1")


def test_a_drawn_from_of_somebody_else_is_refused():
    held = table(
        Row("test", "1", "a.png"), Row("test", "2", "b.png"), Row("test", "1", sketch="s.png", drawn_from="b.png")
    )
    assert any("somebody else" in fault for fault in faults(held))


@pytest.mark.parametrize(
    "row",
    [
        Row("test", "-1", "q.png", role="query"),
        Row("test", "-1", sketch="s.png"),
        Row("test", "-1", "c.png", captions=("a hat",)),
        Row("train", "-1", "t.png"),
    ],
)
def test_two_people_that_nobody_knows_are_not_one(row):
    gallery = (Row("test", "-1", "a.png"), Row("test", "1", "b.png"), Row("test", "1", "c1.png", captions=("red",)))
    assert faults(table(*gallery)) == []
    (fault,) = [f for f in faults(table(*gallery, row)) if "nobody knows" in f]
    assert fault.startswith("1 rows of people that nobody knows (pid -1)")
    with pytest.raises(DataError, match="nobody knows"):
        assemble(table(*gallery, row))


def test_a_known_drawn_from_is_ignored_by_its_sketch():
    held = table(
        Row("test", "1", "a.png"), Row("test", "1", "b.png"), Row("test", "1", sketch="s.png", drawn_from="b.png")
    )
    assert faults(held) == []
    assert Split.of(held, "test").sketch()["sketch"].probes[0].ignore == (1,)


def test_an_unknown_camera_equals_no_other():
    held = table(
        Row("test", "1", "q.png", role="query"),
        Row("test", "2", "r.png", role="query", camera="c1"),
        Row("test", "1", "a.png"),
        Row("test", "2", "b.png", camera="c1"),
        Row("test", "2", "c.png", camera="c2"),
    )
    probes = Split.of(held, "test").photo()["photo"].probes
    assert [p.ignore for p in probes] == [(), (1,)]
    assert "1 of 2 query photographs have no camera" in unlike(held)[0]


def test_whole_numbers_as_scores_are_ranked_with_ignored_photographs():
    scores, query, photos = np.array([[9, 5, 1]]), np.array([0]), np.array([0, 1, 0])
    whole = rank_people(scores, query, photos, ignored=[(0,)])
    assert whole.first.tolist() == [2]
    assert whole.ap.tolist() == [0.5]


_ANY = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers()))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["split", "pid", "path", "sketch", "camera", "track", "role", "caption"]), _ANY))
def test_a_record_of_anything_becomes_rows_or_is_refused(record):
    try:
        rows = rows_of(record, "line 1")
    except DescryError:
        return
    assert all(r.pid and r.pid.lower() != "nan" for r in rows)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.text(min_size=1, max_size=12).filter(lambda t: t.strip() and t.strip().lower() not in NO_VALUE), max_size=4
    )
)
def test_captions_come_back_as_they_were(tmp_path_factory, captions):
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    row = Row("test", "1", "a.png", captions=tuple(t.strip() for t in captions))
    write_table(path, [row])
    assert read_table(path) == (row,)


MISSING = ["nan", "NaN", "null", "None", "<NA>", " nan "]


@pytest.mark.parametrize("missing", MISSING)
def test_a_missing_caption_is_none(tmp_path, missing):
    assert rows_of(PHOTO | {"captions": missing}, "line 1")[0].captions == ()
    (tmp_path / "t.csv").write_text(f"split,pid,path,caption\ntest,1,a.png,{missing}\ntest,1,b.png,a hat\n")
    assert [r.captions for r in read_table(tmp_path / "t.csv")] == [(), ("a hat",)]
    with pytest.raises(DataError, match="stands for a missing value"):
        rows_of(PHOTO | {"captions": ["a hat", missing]}, "line 1")


HALF = {"pid": "a\ud800", "path": "a\udcff.png", "camera": "\udfff", "captions": ["a \ud83d hat"], "caption": "\udc80"}


@pytest.mark.parametrize("name", HALF)
def test_half_of_a_character_is_refused(tmp_path, name):
    (tmp_path / "t.jsonl").write_text(json.dumps(PHOTO | {name: HALF[name]}))
    with pytest.raises(DataError, match=r"line 1: .*half of a character"):
        read_table(tmp_path / "t.jsonl")


@pytest.mark.parametrize("name", ["split", "pid"])
def test_a_column_in_other_letters_is_named(name):
    record = {k.upper() if k == name else k: v for k, v in PHOTO.items()}
    with pytest.raises(
        DataError, match=f"there is no '{name}'; rename the column '{name.upper()}'|rename '{name.upper()}'"
    ):
        rows_of(record, "line 1")


def test_what_is_unknown_or_unread_of_a_data_set_is_said(tmp_path, capsys):
    """By import, check, and whatever else reads it."""
    from PIL import Image

    from descry.cli import main
    from descry.training.start import read_data

    for name in ("q", "a", "b"):
        Image.new("RGB", (16, 32)).save(tmp_path / f"{name}.png")
    lines = ["split,pid,path,role,mood", "test,1,q.png,query,glad", "test,1,a.png,,", "test,01,b.png,,"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    said = ("1 of 1 query photographs have no camera", "written in several ways", "columns that are not read: 'mood'")
    assert main(["data", "check", "table", str(tmp_path), "--no-pixels"]) == 0
    told = capsys.readouterr().out
    read_data((str(tmp_path),))
    noted = capsys.readouterr().err
    assert main(["data", "import", str(tmp_path / "table.csv"), str(tmp_path)]) == 0
    imported = capsys.readouterr().err
    for text in (told, noted, imported):
        assert all(s in text for s in said), text


PLACE = Path()


@pytest.mark.parametrize(
    "pair", [("7", "07"), ("7", "7.0"), ("A", "a"), ("\u00e9", "e\u0301"), ("c 1", "c\u00a01"), ("x", "x\u200b")]
)
def test_names_that_are_probably_one_are_said(pair):
    rows = tuple(Row("test", pid, f"{i}.png", camera=pid) for i, pid in enumerate(pair))
    said = " ".join(unlike(Table("t", PLACE, rows)))
    assert "1 ids are written in several ways and count as different people" in said
    assert "1 names are written in several ways and count as different cameras" in said
    other = tuple(Row("test", pid, f"{i}.png", camera=pid) for i, pid in enumerate(("7", "70", "a7", "-7", "7.5")))
    assert unlike(Table("t", PLACE, other)) == ()


def test_a_photograph_has_one_camera():
    rows = (Row("test", "1", "a.png", camera="c1"), Row("test", "1", "a.png", camera="c2"), Row("test", "1", "b.png"))
    assert "1 photographs are listed with several cameras or tracks: a.png" in faults(Table("t", PLACE, rows))[0]
    assert faults(Table("t", PLACE, (rows[0], rows[0], Row("test", "1", "a.png")))) == []
