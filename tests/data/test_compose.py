"""`model compose` and `evaluate` give one figure for every composition, on every data set that asks with pictures and
words, and leave out the photograph that a sketch was drawn from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.conftest import EVERY
from descry.checkpoint import DEMO
from descry.cli import main
from descry.data import read
from descry.evaluate import Embedded, evaluate, scores_of
from descry.ranking import COMPOSITIONS, Composition, Ranking
from descry.records import Benchmark
from descry_lab.choosing import compare
from descry_people.benchmark import write_part
from descry_people.read import read_people
from interact.toy import ToyModel


class Copying(ToyModel):
    """A sketch looks exactly like the photograph it was drawn from, as its probe names it."""

    def __init__(self, bench: Benchmark):
        super().__init__()
        self.drawn_from = {
            part.value: bench.photos[probe.ignore[0]].path
            for probe in bench.probes if probe.ignore for part in probe.query.sketches
        }  # fmt: skip

    def embed_images(self, pictures):
        return super().embed_images([self.drawn_from.get(p, p) for p in pictures])

    def pseudo_words(self, pictures):
        return self.embed_images(pictures)


def asked_with_both(dataset) -> list[Benchmark]:
    splits = [dataset.val or {}, dataset.test or {}]
    both = [b for split in splits for b in split.values() if any(p.query.sketches for p in b.probes)]
    return [b for b in both if any(p.query.wanted for p in b.probes)]


def first_places(model: ToyModel, bench: Benchmark, photos: Embedded) -> list[int]:
    """Place of the best photograph of the person, by a sort, without what the probe ignores."""
    out = []
    for probe, scores in zip(bench.probes, scores_of(model, bench.probes, photos), strict=True):
        order = [i for i in np.argsort(-scores, kind="stable").tolist() if i not in set(probe.ignore)]
        out.append(next(n for n, i in enumerate(order, 1) if bench.photos[i].pid == probe.pid))
    return out


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_every_composition_has_one_figure(name: str, variant: str, drawn) -> None:
    benches = asked_with_both(read(name, drawn(name, variant)))
    ignoring = [b for b in benches if any(p.ignore for p in b.probes)]
    assert bool(ignoring) == (name == "tri-pedes"), "the sketches of no other set name a photograph of the gallery"
    check([*ignoring, *benches][:2])


@pytest.fixture
def own(copied) -> Path:
    """A table of one's own whose sketches name the photograph that they were drawn from."""
    folder = copied("table", "jsonl")
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text("utf-8").splitlines()]
    photo = {row["pid"]: row["path"] for row in reversed(rows) if row.get("path") and row.get("role") != "query"}
    rows = [row | ({"drawn_from": photo[row["pid"]]} if row.get("sketch") else {}) for row in rows]
    (folder / "table.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    return folder


def test_on_ones_own_table(own: Path) -> None:
    ignoring = [b for b in asked_with_both(read("table", own)) if all(p.ignore for p in b.probes)]
    assert ignoring
    check(ignoring)


def test_on_synthetic_people(tmp_path) -> None:
    check(asked_with_both(read_people(write_part(tmp_path, "val", 6))))


def check(benches: list[Benchmark]) -> None:
    for whole in benches:
        bench = replace(whole, probes=whole.probes[:12])
        model = Copying(bench)
        photos = Embedded.of(model, bench)
        lines = compare(model, bench, photos, [Composition(how, text=0.35) for how in COMPOSITIONS])
        assert {line.composition.how for line in lines} == set(COMPOSITIONS)
        for line in lines:
            told = evaluate(model, bench, line.composition, photos).ranks
            np.testing.assert_array_equal(line.ranks.first, told.first)
            np.testing.assert_array_equal(line.ranks.ap, told.ap)
        model.ranking = Ranking().using(lines[0].composition)
        assert lines[0].ranks.first.tolist() == first_places(model, bench, photos)


def test_the_commands_print_one_figure(own: Path, tmp_path, capsys) -> None:
    """What `model compose --keep` says of the best is what `evaluate` says of what is served."""
    run = shutil.copytree(DEMO, tmp_path / "run")
    assert any(p.ignore for p in read("table", own).val["sketch+text"].probes)
    assert main(["model", "compose", str(run), "--data", str(own), "--keep", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["compositions"][0]
    assert main(["evaluate", str(run), "--data", str(own), "--split", "val", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = [row for row in told["results"] if row["composition"] == "served"]
    assert [(round(r["R@1"], 2), round(r["mAP"], 2)) for r in rows] == [(best["R@1"], best["mAP"])]
