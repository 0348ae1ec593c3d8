"""Every recipe runs as a smoke test: two steps a cell, in one work folder, so that shared cells train once."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from descry.errors import UsageError
from descry_lab.papers import TABLES

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = sorted(p.stem for p in RECIPES.glob("*_*.py") if p.stem.split("_")[0] in ("interactreid", "propot", "vfe"))


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(RECIPES))
    yield
    sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def recipe(name):
    return importlib.import_module(name)


def test_there_is_one_recipe_for_every_table_and_figure():
    assert {recipe(name).STUDY.table for name in NAMES} == set(TABLES)
    assert len(NAMES) == len(TABLES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_needs_and_expects(name):
    said = recipe(name).__doc__
    assert all(word in said for word in ("--smoke", "Hardware and time:", "Expected:"))


@pytest.mark.parametrize("name", NAMES)
def test_smoke(name, work, capsys):
    module = recipe(name)
    assert sys.modules["running"].main(module.STUDY, ["--smoke", "--work", str(work), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert all(f"{cell.row}: it runs" in out for cell in module.STUDY.cells)
    assert "claims anything" in out
    assert not (work / "ledger.jsonl").exists()
    for line in out.splitlines():
        if line.startswith("figure: "):
            assert Path(line.removeprefix("figure: ")).stat().st_size > 1000
    torch.set_num_threads(1)


def test_a_finished_cell_is_not_trained_again_and_an_interrupted_one_goes_on(work):
    running, study = sys.modules["running"], recipe("vfe_tps_table6").STUDY
    world = sys.modules["worlds"].worlds("smoke", work, "", [], None, "cpu")
    run = running.fit(study.cells[0], 0, world, world.data[0])
    metrics, weights = run / "metrics.json", (run / "model.safetensors").read_bytes()
    before = metrics.stat().st_mtime_ns
    assert running.fit(study.cells[0], 0, world, world.data[0]) == run
    assert metrics.stat().st_mtime_ns == before
    metrics.unlink()  # as if it had been stopped before the end was written
    assert running.fit(study.cells[0], 0, world, world.data[0]) == run
    assert json.loads(metrics.read_text())["kept_epoch"] == 1
    assert (run / "model.safetensors").read_bytes() == weights


def test_watching_says_what_choosing_on_test_would_add(tmp_path, work, capsys):
    study = recipe("vfe_tps_table4").STUDY
    assert sys.modules["running"].main(study, ["--smoke", "--work", str(tmp_path), "--device", "cpu", "--watch"]) == 0
    assert "would add 0.00" in capsys.readouterr().out  # one epoch leaves nothing to choose


def test_the_small_scale_says_what_it_begins_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worlds = sys.modules["worlds"]
    few = worlds.Budget((96, 48), 2, 1, 2, 1, 2)
    monkeypatch.setitem(worlds.BUDGETS, "small", few)
    assert worlds.worlds("small", tmp_path, "elsewhere", [], None, "cpu").start == "elsewhere"
    world = worlds.worlds("small", tmp_path, "", [], None, "cpu")
    assert world.start == "demo"
    assert "world 1" in world.data[0].source, "cameras that the model which ships has not seen"
    assert set(world.data[0].test) == {"text", "sketch", "sketch+text"}
    assert world.adapt["PEDES"].identities == 3


def test_the_papers_size_needs_the_papers_data():
    study = recipe("propot_table1").STUDY
    with pytest.raises(UsageError, match="--data NAME"):
        sys.modules["running"].main(study, [])
