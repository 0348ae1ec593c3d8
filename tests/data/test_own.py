"""The plain table: CSV and JSON Lines agree, nothing is lost on the way, and import writes only what is whole."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.data import read
from descry.data.check import counts
from descry.data.own import import_table, table
from descry.data.table import SPLITS, Row, clean_path, read_table, rows_of, write_table
from descry.errors import DataError, UsageError
from descry.tabular import NO_VALUE

WORD = st.text(string.ascii_letters + "äé,;'\"", min_size=1, max_size=12).filter(lambda s: s.lower() not in NO_VALUE)
ROW = st.builds(
    Row,
    split=st.sampled_from(SPLITS),
    pid=st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True),
    path=st.from_regex(r"[a-z]{1,4}/[a-z0-9]{1,6}\.jpg", fullmatch=True),
    camera=st.from_regex(r"(c[0-9])?", fullmatch=True),
    role=st.sampled_from(["", "query"]),
    captions=st.lists(WORD, max_size=3).map(tuple),
)


@settings(deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=8))
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_rows_survive_writing_and_reading(tmp_path_factory, suffix, rows) -> None:
    file = tmp_path_factory.mktemp("t") / f"table.{suffix}"
    write_table(file, rows)
    assert read_table(file) == tuple(rows)


def test_a_hand_written_csv(tmp_path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(
        "pid,split,path,sketch,caption,colour\n7,Train,a\\1.jpg,,a red coat,red\n"
        "7,train,,s/7.png,,\n8,test,b.jpg,s/8.png,x | y,\n",
        encoding="utf-8-sig",
    )
    assert read_table(file) == (
        Row("train", "7", "a/1.jpg", captions=("a red coat",)),
        Row("train", "7", sketch="s/7.png"),
        Row("test", "8", "b.jpg", captions=("x", "y")),
        Row("test", "8", sketch="s/8.png"),
    )


@pytest.mark.parametrize("given_path", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "C:\\x.jpg", "..\\x.jpg"])
def test_paths_stay_in_the_folder(given_path) -> None:
    with pytest.raises(DataError, match="leaves the data set's folder"):
        clean_path(given_path, "row 1")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"split": "train", "pid": 1, "path": "a", "role": "asks"}, "role 'asks' is unknown"),
        ({"split": "train", "pid": 1, "path": 3}, "a path must be text; got int"),
        ({"split": "train", "pid": 1, "path": "a", "captions": {"a": 1}}, "captions must be a list of texts"),
        ({"split": "train", "pid": 1, "path": "a", "captions": ["a", ""]}, "captions holds an empty text"),
        (
            {"split": "train", "pid": 1, "path": "a", "captions": ["a", "b"], "back_translations": ["c"]},
            "2 captions but 1 back",
        ),
        ({"Split": "train", "pid": 1}, "there is no 'split'; rename 'Split'"),
    ],
)
def test_rows_that_are_refused(record, message) -> None:
    with pytest.raises(DataError, match=message):
        rows_of(record, "mine.csv, line 2")


def test_a_caption_with_the_separator_is_not_written_as_csv(tmp_path) -> None:
    with pytest.raises(DataError, match=r"separates captions in CSV; write \.jsonl"):
        write_table(tmp_path / "t.csv", [Row("train", "1", "a.jpg", captions=("a | b",))])


def test_import_writes_a_folder_that_describes_itself(copied, tmp_path) -> None:
    root = copied("table", "csv")
    source = tmp_path / "mine.csv"
    (root / "table.csv").rename(source)
    made = import_table(source, root, "my people")
    assert counts(made) == counts(table(root))
    data = read(str(root))
    assert data.name == "my people"
    assert data.identities == 6
    assert json.loads((root / "descry.json").read_text())["made_from"] == "mine.csv"
    with pytest.raises(DataError, match=r"table\.jsonl exists"):
        import_table(source, root)


def test_import_shares_people_out_by_identity(copied, tmp_path) -> None:
    root = copied("table", "jsonl")
    source = tmp_path / "mine.jsonl"
    lines = [json.loads(line) for line in (root / "table.jsonl").read_text().splitlines()]
    source.write_text("\n".join(json.dumps({k: v for k, v in line.items() if k != "split"}) for line in lines))
    (root / "table.jsonl").unlink()
    with pytest.raises(DataError, match="there is no 'split'"):
        import_table(source, root)
    with pytest.raises(UsageError, match="their sum is below 1"):
        import_table(source, root, val_share=0.5, test_share=0.6)
    made = import_table(source, root, val_share=0.25, test_share=0.25, seed=3)
    people = {split: {r.pid for r in made.rows if r.split == split} for split in SPLITS}
    assert [len(people[s]) for s in SPLITS] == [6, 3, 3]
    assert not people["train"] & people["test"]
    assert read(str(root)).test["text"].probes


def test_import_writes_nothing_when_a_picture_is_missing(copied, tmp_path) -> None:
    root = copied("table", "jsonl")
    source = tmp_path / "mine.jsonl"
    (root / "table.jsonl").rename(source)
    (root / "photos/3_1.jpg").unlink()
    with pytest.raises(DataError, match=r"1 pictures are missing, first photos/3_1\.jpg; nothing was written"):
        import_table(source, root)
    assert not (root / "table.jsonl").exists()
    assert not (root / "descry.json").exists()


def test_a_sketch_takes_the_words_of_its_photograph_or_else_of_its_person(tmp_path) -> None:
    rows = [
        Row("test", "1", "a.jpg", captions=("first",)),
        Row("test", "1", "b.jpg", captions=("second", "third")),
        Row("test", "1", sketch="free.png"),
        Row("test", "1", sketch="b.png", drawn_from="b.jpg"),
        Row("test", "1", sketch="own.png", captions=("feedback",)),
        Row("test", "2", "c.jpg"),
        Row("test", "2", sketch="silent.png"),
    ]
    write_table(tmp_path / "table.jsonl", rows)
    test = read("table", tmp_path).test
    asked = [(p.query.sketches[0].value.rsplit("/", 1)[1], p.query.wanted[0].value) for p in test["sketch+text"].probes]
    assert asked == [("free.png", "first"), ("b.png", "second"), ("b.png", "third"), ("own.png", "feedback")]
    assert [p.ignore for p in test["sketch"].probes] == [(), (1,), (), ()]


def test_folders_of_synthetic_people_go_to_their_own_reader(tmp_path) -> None:
    (tmp_path / "descry.json").write_text(json.dumps({"format": 2, "kind": "synthetic people"}))
    with pytest.raises(DataError, match="format 2; this version reads format 1"):
        read(str(tmp_path))


def test_one_table_serves_the_folder_of_synthetic_people_too(tmp_path) -> None:
    from descry_people.folder import write_people

    root = write_people(
        tmp_path / "p", identities=4, photos=2, sketches=1, captions=1, splits={"train": 2, "test": 2}, processes=1
    )
    assert read(str(root)).name == "people"
    found = counts(table(root))
    assert {k: found[k] for k in ("train ids", "train photos", "test sketches", "test captions")} == {
        "train ids": 2,
        "train photos": 4,
        "test sketches": 2,
        "test captions": 4,
    }
