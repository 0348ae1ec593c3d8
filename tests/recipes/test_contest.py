"""The two comparisons from one start: their rows, that they go on where they stopped, their tests and their lines."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from descry.errors import UsageError
from descry.methods import baselines, interactreid, method_class, preset, propot, vfe_tps
from descry.studies import ledger
from descry_lab.tables import markdown

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(RECIPES))
    yield
    sys.path.remove(str(RECIPES))


def recipe(name):
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A smoke comparison of two rows with two seeds."""
    compare, contest = recipe("compare_synthetic"), recipe("contest")
    work = tmp_path_factory.mktemp("compare")
    held = compare.contest(work, "", compare.SMOKE, False)
    found = contest.run(held, compare.wanted(dict(held.rows), "Propot +IniPt"))
    torch.set_num_threads(1)
    return held, found


@pytest.mark.parametrize("name", ["compare_synthetic", "demo_stage2"])
def test_every_row_is_a_valid_config_and_names_its_rival(name):
    module, contest = recipe(name), recipe("contest")
    table = module.rows() if name == "compare_synthetic" else module.rows({"temperature": 0.04})
    for row_name, row in table.items():
        config = replace(preset(row.method, row.preset), **row.changes)
        assert not row.against or row.against in table, row_name
        assert row.against != row_name
        assert config.with_recipe(contest.shared(config.recipe, contest.Budget(), 3)).recipe.epochs == 3
        assert method_class(row.method)


def test_every_method_and_every_part_of_it_is_compared():
    compare = recipe("compare_synthetic")
    table = compare.rows()
    assert {row.method for row in table.values()} == {"baseline", "propot", "vfe_tps", "interactreid"}
    for method, parts in ((baselines, "baseline: "), (propot, "Propot "), (vfe_tps, "VFE-TPS ")):
        assert {parts + name for name in method.ROWS} <= set(table)
    few = compare.rows(rivals=False)
    assert not [name for name in few if " for " in name]
    assert compare.wanted(few, "Propot +DPP")[0] == "Propot baseline"


def test_the_start_must_not_know_the_people_nor_both_worlds():
    compare = recipe("compare_synthetic")
    assert compare.other_world("people: generator 1, seed 0, world 0; synthetic people") == 1
    assert compare.other_world("people: generator 1, seed 0, world 1; synthetic people") == 0
    assert compare.other_world("") == 1
    for source in ("seed 0, world 0+seed 0, world 1", f"seed {compare.POPULATION}, world 0"):
        with pytest.raises(UsageError, match="another --start"):
            compare.other_world(source)


def test_all_rows_get_the_same_steps_rate_and_start(compared):
    held, _ = compared
    configs = [json.loads((held.run(n, 0) / "metrics.json").read_text()) for n in ("Propot baseline", "Propot +IniPt")]
    assert configs[0]["recipe"] == configs[1]["recipe"]
    assert [c["about"]["rows"] for c in configs] == [24, 24]
    contest = recipe("contest")
    two = contest.Row("interactreid", stages=(1, 2))
    taught = contest.rows_of(held, "")
    budget = replace(held, budget=replace(held.budget, epochs=4))
    assert (contest.steps_of(budget, two, taught), contest.steps_of(budget, contest.Row("propot"), taught)) == (2, 4)


def test_an_interrupted_comparison_goes_on(compared):
    held, found = compared
    contest = recipe("contest")
    run = held.run("Propot +IniPt", 1)
    assert not (run / "training.safetensors").exists()
    before = (run / "model.safetensors").stat().st_mtime_ns
    again = contest.run(held, ["Propot baseline", "Propot +IniPt"])
    assert again == found
    assert (run / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="another start, people or budget"):
        contest.run(replace(held, budget=replace(held.budget, lr=1.0)), ["Propot baseline"])


def test_paired_tests_and_lines_of_the_ledger(compared, tmp_path):
    held, _ = compared
    contest, verdict, note = (recipe(n) for n in ("contest", "verdict", "note_comparison"))
    found = contest.finished(held)
    tested = verdict.tests(held, found, "text")["Propot +IniPt"]
    ours, theirs = (verdict.hits(found[n], "text")[0] for n in ("Propot +IniPt", contest.FIRST))
    assert tested[verdict.START].difference == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert set(tested) == {verdict.START, verdict.PART}
    path = tmp_path / "ledger.jsonl"
    count = verdict.write_down(note.lines(held.work), path)
    assert verdict.write_down(note.lines(held.work), path) == 0
    lines = ledger.read(path)
    assert len(lines) == count
    assert {x.table for x in lines} == {"comparison", "comparison-tests"}
    assert {x.seed for x in lines if x.row == "Propot +IniPt"} == {0, 1}
    table = markdown(lines, "comparison", "small")
    assert "| Propot +IniPt | " in table
    assert "no evidence of accuracy on real people" in table
    assert "±" in table.split("| Propot +IniPt")[1].splitlines()[0]
    assert markdown(lines, "comparison-tests", "small").count("\n| Propot") == 2


def test_a_seed_that_is_missing_is_no_row_of_the_tests(compared):
    held, _ = compared
    contest, verdict = recipe("contest"), recipe("verdict")
    more = replace(held, seeds=(0, 1, 2))
    assert verdict.tests(more, contest.finished(more), "text") == {}


def test_the_study_of_stage_2(tmp_path, monkeypatch, capsys):
    study, contest, verdict = (recipe(n) for n in ("demo_stage2", "contest", "verdict"))
    monkeypatch.setattr(sys, "argv", ["demo_stage2.py", "--smoke", "--work", str(tmp_path), "--only", "replay and"])
    study.main()
    torch.set_num_threads(1)
    assert "claims anything" in capsys.readouterr().out
    held = study.contest(tmp_path, "", study.SMOKE)
    silent, mixed = contest.rows_of(held, ""), contest.rows_of(held, "replayed")
    assert not any(e.caption for e in silent.train)
    assert sum(bool(e.caption) for e in mixed.train) == len(silent.train) == len(mixed.train) // 2
    row = "direct, replay and pseudo-words"
    log = [json.loads(x) for x in (held.run(row, 0) / "log.jsonl").read_text().splitlines()]
    plain = [json.loads(x) for x in (held.run(study.PLAIN, 0) / "log.jsonl").read_text().splitlines()]
    assert {"replay", "composed", "direct", "scc", "align"} <= set(log[0])
    assert sum("scc" in x for x in log) == sum("scc" in x for x in plain)  # the same number of steps
    assert interactreid.Config().replay == interactreid.Config().composed == 0.0
    lines = list(verdict.entries(held, contest.finished(held), study.COMMAND, study.TESTS))
    assert {x.table for x in lines} == {study.TABLE, study.TESTS}
    assert {"text", "sketch", "sketch+text early", "sketch+text late"} == set(lines[1].figures)


@pytest.mark.long
def test_several_at_a_time_give_what_one_gives(compared, tmp_path):
    held, found = compared
    compare, contest = recipe("compare_synthetic"), recipe("contest")
    other = compare.contest(tmp_path, held.start, compare.SMOKE, False)
    again = contest.run(other, ["Propot baseline", "Propot +IniPt"], jobs=2)
    for name in ("Propot baseline", "Propot +IniPt"):
        for seed in (0, 1):
            assert [r["R@1"] for r in again[name][seed]["results"]] == [r["R@1"] for r in found[name][seed]["results"]]
