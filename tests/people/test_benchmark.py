"""The frozen benchmark is the one that was frozen, and its rankers without a model do what they say."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from descry.drawing.person import Person
from descry.errors import DataError, UsageError
from descry.query import Part, Query
from descry.records import Benchmark, Example, Photo, Probe
from descry_people import benchmark as B
from descry_people import oracle as O
from descry_people.cli import people as people_command
from descry_people.person import make_person
from descry_people.plan import GENERATOR_VERSION, Mixture


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


def test_the_first_people_are_drawn_and_described_as_they_were_frozen(root: Path) -> None:
    data = B.benchmark(root, B.SLICE, processes=1)  # raises if a hash differs
    assert len(data.test["text"].photos) == 2 * B.SLICE
    assert {len(b.probes) for b in data.test.values()} == {B.SLICE}
    assert not data.train


def test_a_changed_sentence_or_pixel_is_refused(root: Path, tmp_path: Path) -> None:
    folder = B.write_part(tmp_path, "test", B.SLICE, processes=1)
    photo = sorted((folder / "photos").iterdir())[5]
    whole = photo.read_bytes()
    Image.new("RGB", B.SIZE).save(photo)
    if PIL.__version__ == B.manifest()[f"test-{B.SLICE}"]["pillow"]:
        with pytest.raises(DataError, match="pixels differ"):
            B.check(folder, "test")
    B.check(folder, "test", pixels=False)
    photo.write_bytes(whole)
    table = folder / "table.jsonl"
    table.write_text(table.read_text().replace("black", "white", 1))
    with pytest.raises(DataError, match="records differ"):
        B.check(folder, "test", pixels=False)


def test_the_manifest_belongs_to_this_version() -> None:
    for name, row in B.manifest().items():
        version = 2 if "-v2" in name else B.BENCHMARK_VERSION
        assert (row["benchmark"], row["generator"]) == (version, GENERATOR_VERSION), name
    assert {name: B.manifest()[name]["people"] for name in B.PARTS} == {"test": 1000, "val": 500, "calibration": 4000}
    assert Mixture() == B.MIXTURE
    assert B.MIXTURE.sketch_error > 0


def test_version_2_asks_for_the_same_people_with_lay_drawings_too(root: Path) -> None:
    one, two = (B.benchmark(root, B.SLICE, processes=1, version=v) for v in (1, 2))  # raises if a hash differs
    for kind in ("text", "photo"):
        pairs = zip(one.test[kind].probes, two.test[kind].probes, strict=True)
        assert all((a.pid, a.group, a.attributes) == (b.pid, b.group, b.attributes) for a, b in pairs)
    styles = [p.group for p in two.test["sketch"].probes]
    assert 0.1 < styles.count("lay") / len(styles) < 0.5
    assert "lay" not in [p.group for p in one.test["sketch"].probes]
    with pytest.raises(UsageError, match="allowed: 1, 2"):
        B.write_part(root, "test", B.SLICE, version=3)


def test_parts_and_training_people_are_disjoint() -> None:
    ranges = sorted([(0, B.TRAIN_LIMIT), *((first, first + count) for first, count in B.PARTS.values())])
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges))
    B.check_training(0, B.TRAIN_LIMIT)
    B.check_training(1_000_000, 5, seed=B.SEED + 1)
    for first, count in ((999_999, 2), (1_000_000, 1), (-1, 5)):
        with pytest.raises(UsageError, match="benchmark"):
            B.check_training(first, count)
    with pytest.raises(UsageError, match="parts"):
        B.write_part(Path("unused"), "train")
    with pytest.raises(UsageError, match="1 to 1000"):
        B.write_part(Path("unused"), "test", 2000)


@pytest.mark.long
@pytest.mark.parametrize("part", B.PARTS)
def test_the_whole_benchmark_is_as_frozen_and_its_ceiling_where_it_was_set(part: str, tmp_path: Path) -> None:
    B.benchmark(tmp_path, part=part)
    ceiling = B.baseline_table(tmp_path, part=part)["oracle"]
    assert 75 <= ceiling["text"] <= 95
    assert 50 <= ceiling["sketch"] <= 85
    assert 90 <= ceiling["sketch+text"] <= 99


def asked(expressed: dict[str, dict[str, str]], pids: list[int], pid: int = 0) -> Benchmark:
    photos = tuple(Photo(f"{i}.jpg", p) for i, p in enumerate(pids))
    return Benchmark("text", (Probe(Query(wanted=(Part("x"),)), pid, attributes={"expressed": expressed}),), photos)


def dressed(pid: int, **changes: str) -> Person:
    return dataclasses.replace(make_person(1), pid=pid, **changes)  # type: ignore[arg-type]


def test_the_oracle_is_the_stated_likelihood() -> None:
    people = {0: dressed(0, sex="man", age="young"), 1: dressed(1, sex="man", age="elderly")}
    mixture = Mixture(text_error=0.1, sketch_error=0.2)
    bench = asked({"text": {"sex": "man", "age": "young"}, "sketch": {"sex": "woman"}}, [0, 1, 1])
    right, wrong = math.log(0.9), math.log(0.1 / 2)
    expected = [2 * right + math.log(0.2), right + wrong + math.log(0.2)]
    np.testing.assert_allclose(
        O.oracle_scores(bench, people, mixture), [[expected[0], expected[1], expected[1]]], rtol=1e-6
    )


def test_ties_stay_ties_and_jitter_breaks_them_for_whole_people() -> None:
    people = {i: dressed(i) for i in range(4)}
    bench = asked({"text": {"sex": "man"}}, [0, 0, 1, 1, 2, 2, 3, 3])
    assert len(np.unique(O.oracle_scores(bench, people))) == 1
    firsts = [int(O.oracle_scores(bench, people, jitter=k).argmax()) // 2 for k in range(400)]
    assert all(70 < firsts.count(i) < 130 for i in range(4))
    loose = O.oracle_scores(bench, people, jitter=0).reshape(4, 2)
    assert (loose[:, 0] == loose[:, 1]).all()


def test_the_oracle_needs_records_and_what_is_expressed() -> None:
    with pytest.raises(DataError, match="no record"):
        O.oracle_scores(asked({"text": {}}, [0, 7]), {0: dressed(0)})
    bare = dataclasses.replace(asked({}, [0]), probes=(Probe(Query(wanted=(Part("x"),)), 0),))
    with pytest.raises(DataError, match="does not say"):
        O.oracle_scores(bare, {0: dressed(0)})


def paint(path: Path, upper: tuple[int, int, int], lower: tuple[int, int, int]) -> str:
    image = Image.new("RGB", (48, 96), upper)
    image.paste(lower, (0, 48, 48, 96))
    image.save(path)
    return str(path)


def test_the_histogram_ranker_sees_colours_in_their_place(tmp_path: Path) -> None:
    red, blue = (198, 38, 42), (44, 92, 198)
    files = [
        paint(tmp_path / "0.png", red, blue),
        paint(tmp_path / "1.png", blue, red),
        paint(tmp_path / "2.png", red, red),
    ]
    photos = tuple(Photo(p, i) for i, p in enumerate(files))
    words = Probe(
        Query(wanted=(Part("x"),)),
        0,
        attributes={"expressed": {"text": {"upper_colour": "red", "lower_colour": "blue"}}},
    )
    photo = Probe(Query(photos=(Part(files[1]),)), 1, attributes={"expressed": {}})
    scores = O.histogram_scores(Benchmark("text", (words, photo), photos))
    np.testing.assert_allclose(scores, [[2.0, 0.0, 1.0], [0.0, 2.0, 1.0]], atol=1e-6)


def test_the_linear_baseline_finds_a_colour_it_was_fitted_on(tmp_path: Path) -> None:
    rng, rows, people = np.random.default_rng(0), [], {}
    for pid in range(24):
        name, colour = (("red", (198, 38, 42)), ("blue", (44, 92, 198)))[pid % 2]
        shade = tuple(int(c) for c in np.clip(np.array(colour) + rng.integers(-20, 20, 3), 0, 255))
        rows.append(Example((paint(tmp_path / f"{pid}.png", shade, (90, 90, 90)),), pid))  # type: ignore[arg-type]
        people[pid] = dressed(pid, upper_colour=name)
    fitted = O.linear_attributes(rows[:20], people, ridge=1.0)
    bench = asked({"text": {"upper_colour": "red"}}, [20, 21, 22, 23])
    photos = tuple(Photo(rows[p.pid].images[0], p.pid) for p in bench.photos)
    scores = O.linear_scores(dataclasses.replace(bench, photos=photos), fitted)[0]
    assert min(scores[0], scores[2]) > max(scores[1], scores[3])
    with pytest.raises(DataError, match="training people"):
        O.linear_attributes([], people)


def test_hit_rate_leaves_out_what_is_ignored() -> None:
    photos = tuple(Photo(f"{i}", p) for i, p in enumerate([0, 0, 1, 1]))
    probes = (Probe(Query(photos=(Part("0"),)), 0, (0,)), Probe(Query(photos=(Part("2"),)), 1, (2,)))
    scores = np.array([[9.0, 1.0, 2.0, 0.0], [0.0, 1.0, 9.0, 2.0]])
    assert B.hit_rate(Benchmark("photo", probes, photos), scores) == 50.0


def test_the_command_writes_people_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    sizes = {"photos": 1, "sketches": 1, "captions": 1, "width": 16, "height": 32, "processes": 1}
    assert people_command(out, identities=10, val=2, json_=True, **sizes) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["splits"] == {"train": 7, "val": 2, "test": 1}
    assert told.err == ""
    assert people_command(out, identities=10, val=2, **sizes) == 0
    shown = capsys.readouterr().out
    assert "no evidence of accuracy on real people" in shown
    with pytest.raises(UsageError, match="add up"):
        people_command(tmp_path / "other", identities=3, val=9, json_=True, **sizes)
