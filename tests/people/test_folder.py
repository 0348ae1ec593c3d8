"""The folder of people: whole, resumable, the same for any number of processes; read as a valid data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from descry.errors import DataError, UsageError
from descry_people.folder import digest_pixels, digest_records, write_people
from descry_people.person import make_person
from descry_people.plan import Mixture
from descry_people.read import read_people, read_records

SMALL = {"photos": 3, "sketches": 2, "captions": 2, "size": (32, 64), "splits": {"train": 5, "val": 2, "test": 3}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "ten", 10, processes=1, **SMALL)  # type: ignore[arg-type]


def test_the_folder_is_an_ordinary_data_set(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    photos, sketches = [r for r in rows if "path" in r], [r for r in rows if "sketch" in r]
    assert (len(photos), len(sketches)) == (30, 20)
    assert sorted({r["pid"] for r in photos}) == list(range(10))
    assert {r["split"]: len({x["pid"] for x in rows if x["split"] == r["split"]}) for r in rows} == SMALL["splits"]
    assert all(len(r["captions"]) == len(r["caption_expressed"]) == 2 for r in photos)
    for row in photos:
        with Image.open(folder / row["path"]) as image:
            assert image.size == (32, 64)
    assert len({r["camera"] for r in photos if r["pid"] == 4}) == 3
    about = json.loads((folder / "descry.json").read_text())
    assert "no evidence" in about["kind"]
    assert about["parameters"]["seed"] == 0
    assert read_records(folder) == {i: make_person(i) for i in range(10)}


def test_read_as_a_valid_data_set(folder: Path) -> None:
    data = read_people(folder)
    assert data.identities == 5
    assert len(data.train) == 5 * 3 * 2
    assert len({e.image_id for e in data.train}) == 15
    assert all(len(e.sketches) == 2 and e.caption and Path(e.images[0]).is_file() for e in data.train)
    assert list(data.test) == ["text", "sketch", "sketch+text", "photo", "photo+text"]
    for name, bench in data.test.items():
        assert [p.pid for p in bench.probes] == [7, 8, 9]
        assert len(bench.photos) == 9
        for probe in bench.probes:
            assert probe.query.kind == {"photo+text": "photo+text"}.get(name, name)
            for photo in probe.query.photos:
                assert [bench.photos[i].path for i in probe.ignore] == [photo.value]
    both = data.test["sketch+text"].probes[0]
    assert set(both.attributes["expressed"]) == {"sketch", "text"}
    assert both.group.count(", ") == 1


def test_splits_share_nobody(folder: Path) -> None:
    data = read_people(folder)
    seen = [
        {e.pid for e in data.train},
        {p.pid for p in data.val["text"].photos},
        {p.pid for p in data.test["text"].photos},
    ]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 10


def test_two_processes_write_the_same_and_a_stopped_run_goes_on(folder: Path, tmp_path: Path) -> None:
    other = write_people(tmp_path / "two", 10, processes=2, **SMALL)  # type: ignore[arg-type]
    assert digest_records(other) == digest_records(folder)
    assert digest_pixels(other) == digest_pixels(folder)
    (other / "descry.json").rename(other / "descry.part.json")
    with pytest.raises(DataError, match="begun and not finished"):
        read_people(other)
    lost, cut, kept = (other / "photos" / f"00000{i}_0.jpg" for i in (1, 2, 3))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:300])
    before, seen = kept.stat().st_mtime_ns, []
    write_people(tmp_path / "two", 10, processes=1, progress=lambda done, total: seen.append((done, total)), **SMALL)  # type: ignore[arg-type]
    assert digest_pixels(other) == digest_pixels(folder)
    assert kept.stat().st_mtime_ns == before
    assert seen[-1] == (10, 10)
    assert not list(other.glob("*/.*"))


def test_other_people_in_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"other parameters \(seed 0 there, 1 now\)"):
        write_people(folder, 10, seed=1, processes=1, **SMALL)  # type: ignore[arg-type]
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_people(tmp_path, 2, processes=1)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"identities": 0}, "1 or more"),
        ({"splits": {"train": 3}}, "add up to the 4"),
        ({"splits": {"trian": 4}}, "did you mean 'train'"),
        ({"photos": 0}, "photos was 0"),
        ({"world": 5}, "no world 5"),
        ({"size": (3, 900_000)}, "16 to 2048"),
    ],
)
def test_impossible_parameters_write_nothing(tmp_path: Path, change: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        write_people(tmp_path / "out", **{"identities": 4, "processes": 1, **change})
    assert not (tmp_path / "out").exists()


def test_a_mixture_names_what_it_does_not_know() -> None:
    with pytest.raises(UsageError, match="did you mean 'vague'"):
        Mixture(completeness={"vage": 1.0})
    with pytest.raises(UsageError, match="above 0"):
        Mixture(styles={"line": 0.0})
    with pytest.raises(UsageError, match="error rate"):
        Mixture(text_error=2.0)


def test_the_mixture_is_kept_and_first_chooses_other_people(tmp_path: Path) -> None:
    only = Mixture({"vague": 1.0}, {"sparse": 1.0}, 0.0, 0.0)
    out = write_people(
        tmp_path / "m", 6, 1, 1, 1, size=(16, 32), first=50, processes=1, mixture=only, splits={"test": 6}
    )
    data = read_people(out)
    assert {p.group for p in data.test["sketch+text"].probes} == {"sparse, vague"}
    records = read_records(out)
    assert records == {i: make_person(50 + i) for i in range(6)}
    for probe in data.test["text"].probes:
        expressed = probe.attributes["expressed"]["text"]
        assert all(getattr(records[probe.pid], name) == value for name, value in expressed.items())


def test_a_folder_of_photographs_only(tmp_path: Path) -> None:
    data = read_people(
        write_people(tmp_path / "p", 2, 2, 0, 0, size=(16, 32), processes=1, splits={"train": 1, "test": 1})
    )
    assert [e.caption for e in data.train] == ["", ""]
    assert list(data.test) == ["photo"]


def test_damaged_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no descry\.json"):
        read_people(tmp_path)
    (tmp_path / "descry.json").write_text((folder / "descry.json").read_text())
    with pytest.raises(DataError, match=r"table\.jsonl is missing"):
        read_people(tmp_path)
    (tmp_path / "table.jsonl").write_text('{"split": "tr')
    with pytest.raises(DataError, match="damaged"):
        read_people(tmp_path)
    about = json.loads((folder / "descry.json").read_text()) | {"format": 99}
    (tmp_path / "descry.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match="format 99"):
        read_people(tmp_path)
