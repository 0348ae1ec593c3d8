"""How a model begins: the four rows differ in what they say they differ in, and a finished row is not trained again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from descry.studies import ledger
from descry_people.benchmark import write_part
from descry_people.folder import write_people

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import demo_start

    return demo_start


@pytest.fixture
def work(recipe, tmp_path):
    scale = recipe.SMOKE
    write_people(
        tmp_path / "people",
        identities=scale.people,
        photos=2,
        sketches=1,
        captions=2,
        first=recipe.FIRST,
        splits={"train": scale.people},
        processes=1,
    )
    write_part(tmp_path / "bench", "val", scale.asked)
    return tmp_path


def test_rows_train_are_kept_and_go_into_the_ledger(recipe, work):
    names = ["AdamW, random patches and positions", "Muon, whitened patches and waves"]
    found = {(name, 0): recipe.run(name, 0, recipe.SMOKE, work) for name in names}
    weights = [(work / f"{number}-0" / "training.safetensors").read_bytes() for number in (0, 3)]
    assert weights[0] != weights[1]
    for number, name in ((0, "adamw"), (3, "muon")):
        config = json.loads((work / f"{number}-0" / "config.json").read_text("utf-8"))
        assert config["config"]["recipe"]["optimiser"] == name
    before = (work / "0-0" / "log.jsonl").stat().st_mtime_ns
    assert recipe.run(names[0], 0, recipe.SMOKE, work) == found[names[0], 0]
    assert (work / "0-0" / "log.jsonl").stat().st_mtime_ns == before
    file = work / "ledger.jsonl"
    assert recipe.write_down(recipe.entries(found, recipe.SMOKE), file) == 2
    assert recipe.write_down(recipe.entries(found, recipe.SMOKE), file) == 0
    rows = ledger.latest(ledger.read(file))
    assert {r.row for r in rows} == set(names)
    assert all(0 <= r.figures["text"]["R@1"] <= 100 for r in rows)
