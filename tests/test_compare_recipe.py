"""The synthetic comparison: its statistics, its rows, and (long) a small run from end to end."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from descry.methods import method_class, preset

PATH = Path(__file__).resolve().parents[1] / "recipes" / "compare_synthetic.py"


@pytest.fixture(scope="module")
def recipe():
    import sys

    spec = importlib.util.spec_from_file_location("compare_synthetic", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_row_is_a_valid_config_and_names_its_rival(recipe):
    table = recipe.rows()
    for name, row in table.items():
        config = replace(preset(row.method, "recommended"), **row.changes)
        assert not row.against or row.against in table, name
        assert row.against != name
        assert config.with_recipe(recipe.recipe(config.recipe, recipe.Budget(), 3)).recipe.epochs == 3
        assert method_class(row.method)


def test_the_paired_test(recipe):
    rng = np.random.default_rng(0)
    base = rng.random((3, 400))
    better = recipe.compared(base + 0.2 + 0.1 * rng.standard_normal((3, 400)), base)
    assert better["low"] < better["difference"] < better["high"]
    assert better["low"] > 0
    assert better["p"] == pytest.approx(1 / 10_001)
    same = recipe.compared(base, base)
    assert same["p"] == 1.0
    assert same["difference"] == 0.0


def test_the_paired_test_keeps_its_level(recipe, monkeypatch):
    monkeypatch.setattr(recipe, "FLIPS", 400)
    rng = np.random.default_rng(1)
    false = [recipe.compared(*rng.standard_normal((2, 1, 60)))["p"] <= 0.05 for _ in range(300)]
    assert 0.015 < np.mean(false) < 0.095


def test_the_table_says_that_people_are_synthetic(recipe):
    runs = [{"first": [1, 2], "ap": [1.0, 0.5]} | dict.fromkeys(("R@1", "R@5", "R@10", "mAP", "mINP"), 50.0)] * 2
    found = {"zero-shot": runs, "a": runs}
    lines = [recipe.summary("zero-shot", found, ""), recipe.summary("a", found, "zero-shot")]
    about = {"budget": {"seeds": (0, 1)}, "hardware": "x", "seconds": 1.0, "torch": "2"}
    text = recipe.markdown(lines, about)
    assert text.startswith("**Synthetic people: no evidence of accuracy on real people.**")
    assert "| a | 50.00 ± 0.00 |" in text


@pytest.mark.long
def test_a_small_run_is_repeated_from_what_it_kept(recipe, tmp_path):
    budget = replace(recipe.SMALL, seeds=(0, 1))
    first = recipe.run(tmp_path / "work", tmp_path / "out", budget, "Propot +IniPt", 1)
    assert [row["row"] for row in first] == ["zero-shot", "Propot baseline", "Propot +IniPt"]
    again = recipe.run(tmp_path / "work", tmp_path / "out", budget, "Propot +IniPt", 1)
    assert first == again
    assert json.loads((tmp_path / "out" / "compare_synthetic.json").read_text())["about"]["synthetic"]
