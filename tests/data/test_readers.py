"""What each reader promises beyond the common suite: protocols, splits, sentences, numbering."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from descry.data import DATASETS, module, parse, read
from descry.data.market_attributes import FIELDS, attribute_sentence, read_attributes
from descry.data.pku_sketch import (
    STYLE_SIZES,
    TRAIN_SIZES,
    generate_split,
    read_styles,
    split_hash,
    train_sizes,
    write_splits,
)
from descry.errors import DataError, UsageError

EXAMPLE = {"gender": 2, "hair": 2, "up": 2, "down": 2, "clothes": 1, "age": 2, "upwhite": 2, "downwhite": 2}


def codes(**held: int) -> dict[str, int]:
    return dict.fromkeys(FIELDS, 1) | held


# ---------------------------------------------------------------- the attribute sentence


def test_the_sentence_of_the_published_example() -> None:
    expected = "A teenager woman with long hair. She is in white short sleeve clothes, and wears white short dress."
    assert attribute_sentence(codes(**EXAMPLE)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_sentence_does_not_depend_on_the_order_of_fields(seed) -> None:
    held = codes(**EXAMPLE, hat=2, bag=2)
    order = np.random.default_rng(seed).permutation(len(held))
    shuffled = {list(held)[i]: held[list(held)[i]] for i in order}
    assert attribute_sentence(shuffled) == attribute_sentence(held)


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (
            codes(age=3, gender=1, upred=2, upblue=2, hat=2, backpack=2, clothes=2),
            "An adult man with short hair. He is in red and blue long sleeve clothes, "
            "and wears long pants with a hat and a backpack.",
        ),
        ({}, "A person with hair. He or she is in sleeve clothes, and wears clothes."),
        (
            codes(age=4, downbrown=2, handbag=2),
            "An old man with short hair. He is in long sleeve clothes, and wears brown long dress with a handbag.",
        ),
        (
            codes(age=1, gender=1, bag=2),
            "A young man with short hair. He is in long sleeve clothes, and wears long dress with a bag.",
        ),
    ],
)
def test_sentences_of_other_codes(held, sentence) -> None:
    assert attribute_sentence(held) == sentence


def test_the_wording_of_beyond_domain_gap() -> None:
    assert attribute_sentence(codes(**EXAMPLE, hat=2, bag=2), "bdg") == (
        "A teenage woman with long hair. She is in white short sleeve clothes, "
        "and wears white short dress with hat and bag."
    )
    with pytest.raises(UsageError, match="wording 'irra'"):
        attribute_sentence({}, "irra")


def test_attributes_are_read_by_name_from_a_file_with_another_order_in_each_part(drawn) -> None:
    root = drawn("market-sketch-1k", "attributes")
    from scipy.io import loadmat

    market = loadmat(str(root / "market_attribute.mat"), simplify_cells=True)["market_attribute"]
    orders = [[k for k in market[part] if k != "image_index"] for part in ("train", "test")]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(FIELDS)
    held = read_attributes(root / "market_attribute.mat")
    for part in ("train", "test"):
        for i, pid in enumerate(market[part]["image_index"]):
            assert held[pid] == {field: int(market[part][field][i]) for field in FIELDS}


def test_string_codes_and_a_single_person_are_read_too(tmp_path) -> None:
    """NumPy 2 refuses int() of a one-element string array, on which the released reader relies."""
    pytest.importorskip("scipy", reason="scipy (extra 'data') is not installed")
    from scipy.io import savemat

    part = {f: np.array([["1"]], dtype=object) for f in FIELDS} | {"image_index": np.array([["0002"]], dtype=object)}
    savemat(str(tmp_path / "market_attribute.mat"), {"market_attribute": {"train": part, "test": part}})
    assert read_attributes(tmp_path / "market_attribute.mat") == {"0002": dict.fromkeys(FIELDS, 1)}


# ---------------------------------------------------------------- Market-Sketch-1K


def test_market_sketch_protocols(drawn) -> None:
    root = drawn("market-sketch-1k", "attributes")
    data = read("market-sketch-1k", root)
    test = data.test
    assert len(test["sketch"].probes) == sum(len(test[f"sketch/{s}"].probes) for s in "ABCDEF") == 23
    assert [len(p.query.sketches) for p in test["sketch/all"].probes] == [5, 6, 6, 6]
    assert Counter(p.group for p in test["sketch"].probes) == {"A": 4, "B": 4, "C": 4, "D": 4, "E": 4, "F": 3}
    assert all(not p.ignore for b in test.values() for p in b.probes)
    assert len(test["text"].probes) == 4
    sentences = {p.pid: p.query.wanted[0].value for p in test["text"].probes}
    assert all(p.query.wanted[0].value == sentences[p.pid] for p in test["sketch+text"].probes)
    assert all(len(e.images) == 3 and len(e.sketches) == 1 and e.caption == "" for e in data.train)


def test_market_sketch_across_styles(drawn) -> None:
    root = drawn("market-sketch-1k", "attributes")
    data = read("market-sketch-1k:train_styles=ABC,test_styles=DF", root)
    assert {Path(s).parts[-3] for e in data.train for s in e.sketches} == set("ABC")
    assert {p.group for p in data.test["sketch"].probes} == set("DF")
    assert len(data.test["sketch"].photos) == 12
    assert "trained on styles ABC, tested on DF" in data.source
    with pytest.raises(UsageError, match="allowed are letters of ABCDEF"):
        read("market-sketch-1k", root, test_styles="AZ")


def test_training_photographs_without_a_sketch_are_left_out_and_stray_files_too(copied) -> None:
    root = copied("market-sketch-1k", "attributes")
    for path in root.glob("sketch/*/train/0002.jpg"):
        path.unlink()
    (root / "photo/train/Thumbs.db").write_bytes(b"x")
    data = read("market-sketch-1k", root)
    assert data.identities == 5
    assert "3 training photographs of people without a sketch" in data.source
    assert "Thumbs.db is not a picture" in data.source


# ---------------------------------------------------------------- PKU-Sketch


def styles_of_the_real_sizes() -> dict[str, tuple[str, ...]]:
    pids = iter(range(1, 201))
    return {s: tuple(str(next(pids)) for _ in range(n)) for s, n in zip("abcde", STYLE_SIZES, strict=True)}


@pytest.mark.parametrize("split", range(1, 11))
def test_generated_splits_have_the_published_style_counts(split) -> None:
    styles = styles_of_the_real_sizes()
    train, test = generate_split(styles, split)
    assert (len(train), len(test)) == (150, 50)
    assert not set(train) & set(test)
    assert tuple(len(set(train) & set(styles[s])) for s in sorted(styles)) == TRAIN_SIZES == (34, 15, 60, 25, 16)


def test_generated_splits_differ_and_never_change() -> None:
    hashes = [split_hash(*generate_split(styles_of_the_real_sizes(), k)) for k in range(1, 11)]
    assert len(set(hashes)) == 10
    assert hashes[0] == split_hash(*generate_split(styles_of_the_real_sizes(), 1))
    # Recorded when the recipe was written: RandomState promises the same stream for ever.
    assert hashes[0] == RECORDED[0]
    assert hashes[9] == RECORDED[1]


RECORDED = ("e52f3a065299e408", "ad4123e76380c329")


def test_other_sizes_give_three_quarters() -> None:
    assert train_sizes([4, 4, 4, 4, 4]) == [3, 3, 3, 3, 3]
    assert sum(train_sizes([5, 7, 2, 9])) == round(23 * 0.75)
    assert all(0 <= t <= n for t, n in zip(train_sizes([1, 2, 3]), [1, 2, 3], strict=True))


def test_every_training_person_is_in_an_epoch_with_both_photographs(drawn) -> None:
    data = read("pku-sketch", drawn("pku-sketch", "generated splits"))
    seen = Counter(e.pid for e in data.train)
    assert seen == dict.fromkeys(range(15), 2)
    assert all(
        len(e.sketches) == 1 and Path(e.sketches[0]).stem == Path(e.images[0]).stem.split("_")[0] for e in data.train
    )
    assert {len(b.probes) for b in data.test.values()} == {5}


def test_both_sentences_are_two_benchmarks(drawn) -> None:
    test = read("pku-sketch", drawn("pku-sketch", "generated splits")).test
    first, second = (test[f"sketch+text/{i}"].probes for i in (1, 2))
    assert [p.pid for p in first] == [p.pid for p in second]
    assert all(a.query.wanted != b.query.wanted for a, b in zip(first, second, strict=True))
    assert len(test["sketch"].photos) == 10


def test_given_and_generated_splits_agree_when_written_by_us(drawn, tmp_path) -> None:
    given, root = drawn("pku-sketch", "given splits"), drawn("pku-sketch", "generated splits")
    write_splits(root, tmp_path, read_styles(root))
    for name in ("train_visible_4.txt", "test_sketch_10.txt", "splits.sha256"):
        assert (tmp_path / "idx" / name).read_text() == (given / "idx" / name).read_text()
    for split in (1, 7):
        a = read("pku-sketch", given, split=split)
        b = read("pku-sketch", root, split=split)
        assert a.test["sketch"].fingerprint() == b.test["sketch"].fingerprint()
        assert f"split {split} of 10, given, sha256" in a.source
    assert read("pku-sketch", root, split=1).train != read("pku-sketch", root, split=2).train
    with pytest.raises(UsageError, match="splits 1 to 10"):
        read("pku-sketch", root, split=11)


# ---------------------------------------------------------------- Tri-PEDES


def test_tri_pedes_ignores_exactly_the_photograph_a_sketch_was_drawn_from(drawn) -> None:
    test = read("tri-pedes", drawn("tri-pedes", "imgs-sketch")).test
    for name in ("sketch/CUHK", "sketch/ICFG", "sketch/RSTP", "sketch+text/CUHK", "sketch+text/RSTP"):
        bench = test[name]
        for probe in bench.probes:
            assert len(probe.ignore) == 1
            drawn_from = bench.photos[probe.ignore[0]]
            assert drawn_from.pid == probe.pid
            assert drawn_from.path == probe.query.sketches[0].value.replace("imgs-sketch", "imgs")
    assert all(not p.ignore for p in test["text/CUHK"].probes)


def test_tri_pedes_joins_identities_and_reads_subsets(drawn) -> None:
    root = drawn("tri-pedes", "imgs-sketch")
    data = read("tri-pedes", root)
    sets = {Path(e.images[0]).relative_to(root).parts[0]: set() for e in data.train}
    for e in data.train:
        sets[Path(e.images[0]).relative_to(root).parts[0]].add(e.pid)
        assert e.sketches == (e.images[0].replace("/imgs/", "/imgs-sketch/"),)
    assert [len(s) for s in sets.values()] == [7, 5, 4]
    assert not set.intersection(*sets.values())
    one = read("tri-pedes:parts=ICFG", root)
    assert set(one.test) == {"text", "sketch", "sketch+text"}
    two = read("tri-pedes:parts=CUHK+RSTP", root)
    assert two.identities == 11
    repeated = read("tri-pedes:parts=CUHK,sketch_per_caption=true", root).test["sketch"]
    assert len(repeated.probes) == 12 == 2 * len({p.query.sketches for p in repeated.probes})


# ---------------------------------------------------------------- the text data sets


def test_back_translations_are_partners_or_absent(drawn) -> None:
    rows = read("cuhk-pedes", drawn("cuhk-pedes", "reid")).train
    assert all(e.back_translation and e.back_translation != e.caption for e in rows)
    assert all(e.back_translation == "" for e in read("cuhk-pedes", drawn("cuhk-pedes", "reid_raw")).train)


def test_captions_of_one_photograph_share_its_number(drawn) -> None:
    rows = read("rstpreid", drawn("rstpreid", "data_captions")).train
    assert len({e.image_id for e in rows}) == len({e.images for e in rows}) == 20
    assert Counter(e.image_id for e in rows) == dict.fromkeys(range(20), 2)


def test_caption_all_without_splits_is_split_by_id(copied) -> None:
    root = copied("cuhk-pedes", "caption_all")
    rows = json.loads((root / "caption_all.json").read_text())
    moved = {"train": 0, "val": 11_003, "test": 12_000}
    for row in rows:
        row["id"] += moved[row["split"]]
    splits = [row.pop("split") for row in rows]
    (root / "caption_all.json").write_text(json.dumps(rows))
    table = module("cuhk-pedes").table(root)
    assert [r.split for r in table.rows] == splits
    assert table.notes == ("the annotations have no 'split': it was taken from the id",)


def test_ids_that_begin_anew_in_test_are_other_people(copied) -> None:
    root = copied("icfg-pedes", "hyphen")
    rows = json.loads((root / "ICFG-PEDES.json").read_text())
    for row in rows:
        row["id"] -= 5 * (row["split"] == "test")
    (root / "ICFG-PEDES.json").write_text(json.dumps(rows))
    data = read("icfg-pedes", root)
    assert {p.pid for p in data.test["text"].photos} == {0, 1, 2}
    assert "the ids of test begin anew" in data.source


def test_a_training_photograph_listed_twice_is_two_captions(copied) -> None:
    root = copied("icfg-pedes", "hyphen")
    rows = json.loads((root / "ICFG-PEDES.json").read_text())
    rows.insert(1, rows[0] | {"captions": ["another sentence"]})
    (root / "ICFG-PEDES.json").write_text(json.dumps(rows))
    data = read("icfg-pedes", root)
    assert len(data.train) == 16
    assert "1 files are listed more than once, first imgs/train/0000/0000_000.jpg" in data.source


def test_a_gallery_shows_a_photograph_listed_twice_once(copied) -> None:
    root = copied("icfg-pedes", "hyphen")
    rows = json.loads((root / "ICFG-PEDES.json").read_text())
    rows.append(rows[-1] | {"captions": ["another sentence"]})
    (root / "ICFG-PEDES.json").write_text(json.dumps(rows))
    bench = read("icfg-pedes", root).test["text"]
    assert (len(bench.probes), len(bench.photos)) == (10, 9)


@pytest.mark.parametrize("prefix", ["imgs/", "CUHK-PEDES/imgs/", "CUHK-PEDES\\imgs\\"])
def test_paths_may_begin_with_the_folders(copied, prefix) -> None:
    root = copied("cuhk-pedes", "reid_raw")
    plain = read("cuhk-pedes", root).train
    rows = json.loads((root / "reid_raw.json").read_text())
    for row in rows:
        row["img_path"] = prefix + row.pop("file_path").replace("/", "\\" if "\\" in prefix else "/")
    (root / "reid_raw.json").write_text(json.dumps(rows), encoding="utf-8-sig")
    assert read("cuhk-pedes", root).train == plain


def test_several_forms_side_by_side(copied) -> None:
    root = copied("cuhk-pedes", "reid")
    shutil.copy(root / "train_reid.json", root / "reid_raw.json")
    with pytest.raises(DataError, match=r"variant caption_all is not in .*; found: reid_raw, reid"):
        read("cuhk-pedes", root, variant="caption_all")
    assert len(read("cuhk-pedes", root, variant="reid").train) == 28
    with pytest.raises(UsageError, match="did you mean 'reid_raw'"):
        read("cuhk-pedes", root, variant="reid_rwa")


def test_the_usual_folder_inside_the_root_is_found(copied, tmp_path) -> None:
    for name, variant, usual in (
        ("rstpreid", "data_captions", "RSTPReid"),
        ("pku-sketch", "given splits", "PKUSketchRE-ID_V1"),
        ("market-1501", "photographs", "Market-1501-v15.09.15"),
    ):
        root = copied(name, variant)
        outer = tmp_path / f"outer-{name}"
        outer.mkdir()
        root.rename(outer / usual)
        assert read(name, outer).train


# ---------------------------------------------------------------- Market-1501


def test_market_1501_protocol(drawn) -> None:
    bench = read("market-1501", drawn("market-1501", "photographs")).test["photo"]
    assert not any("/-1_" in p.path for p in bench.photos)
    assert [p.path.rsplit("/", 1)[1][:4] for p in bench.photos if p.pid == -1] == ["0000"] * 3
    for probe in bench.probes:
        assert [(bench.photos[i].pid, bench.photos[i].camera) for i in probe.ignore] == [(probe.pid, "c1")]
        assert "/query/" in probe.query.photos[0].value


def test_market_1501_with_attributes_has_captions_for_training(drawn) -> None:
    data = read("market-1501", drawn("market-1501", "attributes"))
    assert all(e.caption.endswith(".") for e in data.train)
    assert set(data.test) == {"photo"}


# ---------------------------------------------------------------- names and options


def test_unknown_names_and_options_name_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'rstpreid'"):
        module("rstp-reid")
    with pytest.raises(UsageError, match=r"takes no option 'splitt=2'; did you mean 'split'"):
        parse("pku-sketch:splitt=2")
    with pytest.raises(UsageError, match="split must be a whole number; got 'one'"):
        parse("pku-sketch:split=one")
    with pytest.raises(UsageError, match="needs the folder it lies in"):
        read("cuhk-pedes")
    assert parse("tri-pedes:parts=CUHK+ICFG,sketch_per_caption=true") == (
        "tri-pedes",
        {"parts": ("CUHK", "ICFG"), "sketch_per_caption": True},
    )


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_that_is_not_there(name, tmp_path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read(name, tmp_path / "nowhere")
    with pytest.raises(DataError):
        read(name, tmp_path)


def test_a_folder_that_describes_itself(drawn, tmp_path) -> None:
    assert read(str(drawn("table", "csv"))).train == read("table", drawn("table", "csv")).train
    with pytest.raises(DataError, match=r"holds none of descry\.json, table\.jsonl, table\.csv"):
        read(str(tmp_path))


# ---------------------------------------------------------------- validation where a set has none


@pytest.mark.parametrize(
    ("name", "variant", "share", "people"),
    [
        ("icfg-pedes", "hyphen", 0.4, 2),
        ("market-sketch-1k", "attributes", 0.34, 2),
        ("pku-sketch", "generated splits", 0.2, 3),
        ("market-1501", "photographs", 0.2, 1),
    ],
)
def test_training_people_are_held_out_as_val(drawn, name, variant, share, people) -> None:
    root = drawn(name, variant)
    whole, data = read(name, root), read(f"{name}:hold_out={share}", root)
    assert data.identities == whole.identities - people
    assert set(data.val) == set(whole.test)
    for bench in data.val.values():
        assert {p.pid for p in bench.photos} == set(range(people))
    trained = {path for e in data.train for path in e.images}
    assert not trained & {p.path for b in data.val.values() for p in b.photos}
    assert {k: b.fingerprint() for k, b in data.test.items()} == {k: b.fingerprint() for k, b in whole.test.items()}
    assert f"{people} training identities held out as val" in data.source


def test_what_cannot_be_held_out(drawn) -> None:
    with pytest.raises(UsageError, match="it has 5 people"):
        read("icfg-pedes:hold_out=0.01", drawn("icfg-pedes", "hyphen"))
    with pytest.raises(UsageError, match="hold_out must be a number"):
        read("icfg-pedes:hold_out=few", drawn("icfg-pedes", "hyphen"))


# ---------------------------------------------------------------- ITCPR


def test_itcpr_looks_for_the_instance_and_not_the_person(drawn) -> None:
    data = read("itcpr", drawn("itcpr", "json"))
    assert data.train == ()
    assert list(data.test) == ["photo+text", "photo", "text"]
    bench = data.test["photo+text"]
    found = [[p.path for p in bench.photos if p.pid == probe.pid] for probe in bench.probes]
    assert [len(f) for f in found] == [2] + [1] * 8, "the first query has two targets"
    asked = str(bench.probes[0].query.photos[0].value)
    same = [p for p in bench.photos if p.path.startswith(asked[: -len("0.jpg")])]
    assert [p.pid for p in same] == [bench.probes[0].pid, -1, bench.probes[0].pid], "another photograph of the person"
    assert asked not in {p.path for p in bench.photos}
    assert all(probe.ignore == () for b in data.test.values() for probe in b.probes)
    assert Counter(p.group for p in bench.probes) == {"Celeb-reID": 3, "PRCC": 3, "LAST": 3}
    for name, kind in (("photo", "photo"), ("text", "text")):
        assert {p.query.kind for p in data.test[name].probes} == {kind}
        assert [p.pid for p in data.test[name].probes] == [p.pid for p in bench.probes]


def test_itcpr_ranks_a_reference_photograph_that_stands_in_the_gallery(copied) -> None:
    root = copied("itcpr", "json")
    query, gallery = (json.loads((root / f"{n}.json").read_text()) for n in ("query", "gallery"))
    gallery.append({k: query[0][k] for k in ("file_path", "datasets", "person_id")} | {"instance_id": -1})
    (root / "gallery.json").write_text(json.dumps(gallery))
    bench = read("itcpr", root).test["photo"]
    assert [p.pid for p in bench.photos if p.path == str(bench.probes[0].query.photos[0].value)] == [-1]


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("query", {"instance_id": -1}, "query.json, row 0: 'instance_id' is -1"),
        ("query", {"caption": " "}, "query.json, row 0: 'caption' must be a text"),
        ("gallery", {"instance_id": "1"}, "gallery.json, row 0: 'instance_id' must be a whole number"),
        ("gallery", {"file_path": "../a.jpg"}, "leaves the data set's folder"),
        ("gallery", {"person_id": None}, "'person_id' must be a whole number; got None"),
    ],
)
def test_itcpr_annotations_that_cannot_be_read_say_where(copied, file, change, said) -> None:
    root = copied("itcpr", "json")
    rows = json.loads((root / f"{file}.json").read_text())
    (root / f"{file}.json").write_text(json.dumps([rows[0] | change, *rows[1:]]))
    with pytest.raises(DataError, match=said):
        read("itcpr", root)
    (root / f"{file}.json").write_text("{")
    with pytest.raises(DataError, match=f"{file}.json: not JSON"):
        read("itcpr", root)


def test_the_figures_of_itcpr_are_those_of_evaluate(drawn, tmp_path, capsys) -> None:
    from conftest import write_run
    from descry.cli import main

    run = str(write_run(tmp_path / "run"))
    given = ["evaluate", run, "--data", "itcpr", "--data", str(drawn("itcpr", "json")), "--device", "cpu", "--json"]
    assert main(given) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [(r["benchmark"], r["composition"], r["probes"], r["photos"]) for r in rows] == [
        ("photo+text", "late", 9, 19), ("photo", "", 9, 19), ("text", "", 9, 19)
    ]  # fmt: skip
    assert all(0 <= r["R@1"] <= r["R@10"] <= 100 for r in rows)


# ---------------------------------------------------------------- what is unknown, left out or meets nothing


@pytest.mark.parametrize(
    ("name", "variant", "folder"),
    [("market-1501", "photographs", "query"), ("market-sketch-1k", "no attributes", "photo/train"),
     ("pku-sketch", "given splits", "photo")],
)  # fmt: skip
def test_files_that_are_no_pictures_are_told(copied, name, variant, folder) -> None:
    root = copied(name, variant)
    (root / folder / "Thumbs.db").write_bytes(b"x")
    assert any("Thumbs.db" in note for note in read(name, root, variant=variant).notes)


def test_an_unknown_camera_of_pku_sketch_equals_no_other(copied) -> None:
    root = copied("pku-sketch", "generated splits")
    first = sorted((root / "photo").iterdir())[0]
    first.rename(first.with_name(first.name.split("_")[0] + first.suffix))
    cameras = [r.camera for r in module("pku-sketch").table(root, "generated splits").rows if r.path]
    assert cameras.count("") == 1
    assert "0" not in cameras


def test_ids_of_pku_sketch_that_meet_nothing_are_named(copied) -> None:
    root = copied("pku-sketch", "given splits")
    words = root / "TriReID.txt"
    if not words.exists():
        words.write_text("")
    lines = words.read_text().splitlines()
    words.write_text("\n".join([*lines, "987/x@a man", "987/y@a man"]))
    with pytest.raises(DataError, match="sentences for 1 ids that split 1 lacks, first 987"):
        module("pku-sketch").table(root)
    words.write_text("\n".join(lines[2:] or ["1/x@a man", "1/y@a man"]))
    assert any("no sentences for" in note for note in module("pku-sketch").table(root).notes)
    words.unlink()
    for name in ("²_1.jpg", f"{'9' * 30}_1.jpg"):
        (root / "photo" / name).write_bytes(b"")
        with pytest.raises(DataError, match="does not begin with an id"):
            module("pku-sketch").table(root)
        (root / "photo" / name).unlink()
    styles = sorted((root / "styleAnnotation").iterdir())[0]
    left = styles.read_text().split("\n", 1)
    styles.write_text(left[1])
    with pytest.raises(DataError, match=f"id {left[0].strip()} of split 1 stands in no file of styleAnnotation"):
        module("pku-sketch").table(root)
