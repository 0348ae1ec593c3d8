"""descry model measure: what is readable, what is not, and what is written."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from descry.checkpoint import write_config
from descry.cli import main
from descry.embed import load
from descry.interact.questions import Asker, vocabulary
from descry.library import DEMO
from descry.query import Part, Query
from descry.ranking import Ranking
from descry.records import Benchmark, Photo, Probe
from descry.search import Arrays, unit
from descry_lab.reading import _said, measure
from descry_people.benchmark import write_part
from descry_people.person import held
from descry_people.read import read_people, read_records

PEOPLE = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_part(tmp_path_factory.mktemp("measure"), "val", PEOPLE)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The demo model's weights without anything that was measured."""
    shutil.copytree(DEMO, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["composition"] = {"default": "late", "joiner": " and "}
    write_config(tmp_path / "run", config)
    return tmp_path / "run"


def test_what_is_measured_is_written_and_served(folder, run, capsys) -> None:
    assert main(["model", "measure", str(run), "--data", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["phrase"]: row for row in told["phrases"]}
    assert told["kept"]
    assert rows["headwear"]["readable"]
    assert rows["headwear"]["auroc"] > 0.8
    assert "attributes" in told["labels"]
    assert any(not row["readable"] for row in rows.values()), "some things cannot be read off forty people"
    ranking = load(run).ranking
    assert ranking.curve("wearing headwear") == tuple(rows["headwear"]["curve"])
    assert ranking.composition.joiner == " and ", "what was not measured stays"
    assert ranking.composition.how == told["composition"]["default"]
    assert ranking.sharpness == pytest.approx(told["sharpness"])
    assert {"text", "sketch"} <= set(told["absence"])
    model = load(run)
    space = Arrays(np.arange(9), unit(np.random.default_rng(0).normal(size=(9, model.dimension))))
    asked = {q.phrase for q in Asker.of(space, model, vocabulary()).questions}
    assert asked == {phrase for phrase, row in rows.items() if row["readable"]} & {q.phrase for q in vocabulary()}


def test_the_shipped_model_and_a_dry_run_change_nothing(folder, run, capsys) -> None:
    before = (DEMO / "config.json").read_bytes(), (run / "config.json").read_bytes()
    assert main(["model", "measure", str(run), "--data", str(folder), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "not changed" in out
    assert "cannot be read" in out
    assert ((DEMO / "config.json").read_bytes(), (run / "config.json").read_bytes()) == before
    assert main(["model", "measure", str(run), "--data", str(folder), "--split", "test"]) == 2
    assert "no test split" in capsys.readouterr().err


class Blind:
    """A model that sees nothing: every picture and text has a random direction."""

    answers = frozenset({"text"})

    def __init__(self):
        self.config, self.ranking, self.rng = {}, Ranking(), np.random.default_rng(0)

    def with_ranking(self, ranking):
        other = Blind()
        other.ranking = ranking
        return other

    def embed_images(self, pictures):
        return unit(self.rng.normal(size=(len(pictures), 64)))

    def embed_texts(self, texts):
        return unit(np.stack([np.random.default_rng(len(t) + 31 * ord(t[0])).normal(size=64) for t in texts]))


def test_a_model_that_sees_nothing_is_asked_nothing_and_not_moves_nobody(folder) -> None:
    bench = read_people(folder).val["text"]
    found = measure(Blind(), {"text": bench}, folder)
    ranking = found.ranking
    kept = [r.phrase for r in found.readings if r.readable]
    assert len(kept) <= 0.06 * len(found.readings), "an interval of 95 % errs now and then"
    assert found.absence["text"].startswith("refused")
    for reading in found.readings:
        if not reading.readable:
            assert ranking.reading(reading.phrase, wanted=False)[0] < 0.03, "a NOT says nothing"


def test_labels_are_read_from_captions_where_there_are_no_attributes() -> None:
    said = {
        0: "A woman in a red jacket with a backpack.",
        1: "She wears a blue jacket, no hat.",
        2: "A man with black trousers.",
    }
    probes = tuple(Probe(Query(wanted=(Part(text),)), pid) for pid, text in said.items())
    photos = tuple(Photo(f"{pid}.png", pid) for pid in (*said, 3))
    questions = list(vocabulary())
    truth = _said(questions, photos, {"text": Benchmark("text", probes, photos)})
    rows = {q.key: row for q, row in zip(questions, truth, strict=True)}
    np.testing.assert_array_equal(rows["woman"], [1, 1, 0, np.nan])
    np.testing.assert_array_equal(rows["red-outer"], [1, 0, 0, np.nan])
    np.testing.assert_array_equal(rows["backpack"], [1, 0, 0, np.nan])
    np.testing.assert_array_equal(rows["black-legs"], [np.nan, np.nan, 1, np.nan])
    np.testing.assert_array_equal(rows["headwear"][:3], [0, 0, 0])


def test_what_captions_say_of_synthetic_people_is_true_of_them(folder) -> None:
    """Labels read from whole sentences agree with the records, but for the errors that witnesses make (4 in 100)."""
    benches, people, questions = read_people(folder).val, read_records(folder), list(vocabulary())
    photos = benches["text"].photos
    wrong = Counter()
    for question, row in zip(questions, _said(questions, photos, {"text": benches["text"]}), strict=True):
        true = np.array([float(held(people[p.pid]).get(question.attribute) in question.values) for p in photos])
        known = np.isfinite(row)
        kind = "colour" if question.attribute.endswith("_colour") else "other"
        wrong[kind] += int((row[known] != true[known]).sum())
        wrong[f"{kind}, all"] += int(known.sum())
    assert wrong["colour"] < 0.04 * wrong["colour, all"], wrong
    assert wrong["other"] < 0.1 * wrong["other, all"], "captions that leave a thing out count as a no"
