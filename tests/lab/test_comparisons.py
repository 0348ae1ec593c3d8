"""Our own studies: their rows, that they share steps and go on where they stopped, their tests and their lines."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from descry.embed import load
from descry.errors import UsageError
from descry.methods import baselines, method_class, preset, propot, vfe_tps
from descry.studies import ledger
from descry.training.loop import Settings
from descry_lab import engine, own_studies, scales
from descry_lab.__main__ import main
from descry_lab.papers import PART, START
from descry_lab.studies import STUDIES, study_of
from descry_lab.tables import markdown, table_of

CPU = Settings(device="cpu")
OWN = {study.table: study for study in own_studies.OWN_STUDIES}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A smoke comparison of two rows with two seeds, noted as if it were small."""
    study = OWN["comparison"].by()
    rows = ("the start, as it is", "Propot baseline", "Propot +IniPt")
    study = replace(study, cells=tuple(c for c in study.cells if c.row in rows))
    work = tmp_path_factory.mktemp("compare")
    world = replace(own_studies.comparison("smoke", work, "", CPU), mark="start", scale="small")
    found = engine.sweep(study, world, (0, 1), work / "ledger.jsonl", "a test")
    return study, world, found, work


def test_every_row_is_a_valid_config_and_names_its_rival():
    for study in OWN.values():
        rows = {c.row for c in study.cells}
        for cell in study.cells:
            assert not cell.against or cell.against in rows - {cell.row}, cell.row
            assert len(cell.taught) in (0, len(cell.stages))
            if cell.method:
                config = replace(preset(cell.method, cell.preset), **cell.changes)
                assert config.with_recipe(scales.shared(config.recipe, scales.BUDGETS["small"], 3)).recipe.epochs == 3
                assert scales.changed(config, {}, scales.BUDGETS["small"]).recipe.batch_size == 64
                assert method_class(cell.method)
        assert table_of(study.table).ours
        assert not study.tested or table_of(f"{study.table}-tests").ours


def test_every_method_and_every_part_of_it_is_compared():
    cells = {c.row: c for c in OWN["comparison"].cells}
    assert {c.method for c in cells.values()} == {"", "baseline", "propot", "vfe_tps", "interactreid"}
    for method, parts in ((baselines, "baseline: "), (propot, "Propot "), (vfe_tps, "VFE-TPS ")):
        assert {parts + name for name in method.ROWS} <= set(cells)
    assert cells["Propot +DPP"].against == "Propot baseline"
    assert cells["VFE-TPS both"].against == "VFE-TPS none"
    assert not cells["Propot baseline"].against
    assert {c.preset for c in cells.values()} == {"", "recommended"}


def test_the_start_must_not_know_the_people_nor_both_worlds():
    assert own_studies.other_world("people: generator 1, seed 0, world 0; synthetic people") == 1
    assert own_studies.other_world("people: generator 1, seed 0, world 1; synthetic people") == 0
    assert own_studies.other_world("") == 1
    for source in ("seed 0, world 0+seed 0, world 1", f"seed {own_studies.POPULATION}, world 0"):
        with pytest.raises(UsageError, match="another --start"):
            own_studies.other_world(source)


def test_all_rows_get_the_same_steps_rate_and_start(compared):
    _, world, found, _ = compared
    told = [json.loads((found[row][0][0] / "metrics.json").read_text()) for row in list(found)[1:]]
    assert told[0]["recipe"] == told[1]["recipe"]
    assert [t["about"]["rows"] for t in told] == [2 * world.budget.people] * 2
    four = replace(world, own=replace(world.budget, epochs=4))
    two = next(c for c in OWN["comparison"].cells if c.stages == (1, 2))
    assert [t.epochs for t in engine.trainings(two, 0, four, four.data[0])] == [2, 2]


def test_an_interrupted_comparison_goes_on(compared):
    study, world, found, work = compared
    weights = found["Propot +IniPt"][1][0] / "model.safetensors"
    before = weights.stat().st_mtime_ns
    lines = len(ledger.read(work / "ledger.jsonl"))
    assert engine.sweep(study, world, (0, 1), work / "ledger.jsonl", "a test") == found
    assert weights.stat().st_mtime_ns == before
    assert len(ledger.read(work / "ledger.jsonl")) == lines, "a line that stands there is not written again"


def test_paired_tests_and_lines_of_the_ledger(compared, tmp_path):
    study, world, found, work = compared
    tested = engine.compared(study, found, world, "text")["Propot +IniPt"]
    ours, theirs = (engine.hits(found[n], world, "text")[0] for n in ("Propot +IniPt", study.cells[0].row))
    assert tested[START].difference == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert set(tested) == {START, PART}
    said = engine.differences(study, found, world, ["text"])
    assert any("Propot +IniPt against Propot baseline" in line for line in said)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes((work / "ledger.jsonl").read_bytes())
    for _ in range(2):
        engine.note_tests(study, found, world, path)
    lines = ledger.read(path)
    assert sorted(x.row for x in lines if x.table == "comparison-tests") == ["Propot +IniPt", "Propot baseline"]
    assert {x.seed for x in lines if x.table == "comparison" and x.row == "Propot +IniPt"} == {0, 1}
    table = markdown(lines, "comparison", "small")
    assert "no evidence of accuracy on real people" in table
    assert "±" in table.split("| Propot +IniPt")[1].splitlines()[0]
    assert markdown(lines, "comparison-tests", "small").count("\n| Propot") == 2


def test_a_row_that_lacks_a_seed_is_not_tested(compared):
    study, world, found, _ = compared
    short = found | {"Propot +IniPt": found["Propot +IniPt"][:1]}
    assert "Propot +IniPt" not in engine.compared(study, short, world, "text")


def test_stage_2_goes_on_from_the_encoder_that_photographs_and_sketches_share(tmp_path):
    """The model that ships reads sketches with weights of their own, which stage 2 does not train."""
    begin = load(own_studies.one_encoder("demo", tmp_path / "start"), "cpu")
    demo = load("demo", "cpu")
    assert demo.sketch_method is not demo.method
    assert begin.sketch_method is begin.method
    assert begin.fingerprint == demo.fingerprint
    assert begin.search_fingerprint != demo.search_fingerprint
    again = own_studies.one_encoder(str(tmp_path / "start"), tmp_path / "second")
    assert again == str(tmp_path / "start")


def test_stage_2_sees_captions_only_where_it_replays(tmp_path):
    world = own_studies.demo_stage2("smoke", tmp_path, "", CPU)
    silent, mixed = world.data[0], world.adapt["replayed"]
    assert not any(e.caption for e in silent.train)
    assert sum(bool(e.caption) for e in mixed.train) == len(silent.train) == len(mixed.train) // 2
    study = study_of("demo-stage2")
    rows = ("one rate for all", "direct, replay and pseudo-words", "paper's preset as it is")
    cells = [c for row in rows for c in study.cells if c.row == row]
    logs = {}
    for cell in cells[:2]:
        run = engine.fit(cell, 0, world, world.data[0])
        logs[cell.row] = [json.loads(x) for x in (run / "log.jsonl").read_text().splitlines()]
    plain, replayed = logs.values()
    assert {"replay", "composed", "direct", "scc", "align"} <= set(replayed[0])
    assert sum("scc" in x for x in plain) == sum("scc" in x for x in replayed), "the same number of steps"
    printed = engine.config_of(cells[2], 2, world, world.data[0], 2)
    assert (printed["temperature"], printed["stage2"]["lr"]) == (0.07, preset("interactreid", "paper").stage2.lr)


def test_a_clip_begins_in_two_ways_and_two_optimisers_train_it(tmp_path, capsys):
    assert main(["demo-start", "--smoke", "--work", str(tmp_path), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.count("it runs") == 4
    world = own_studies.demo_start("smoke", tmp_path, "", CPU)
    assert world.start != world.origins["whitened"]
    runs = {c.row: engine.trainings(c, 0, world, world.data[0])[0] for c in study_of("demo-start").cells}
    world = replace(world, mark=engine.load(world.start, "cpu").fingerprint)
    runs = {c.row: engine.fit(c, 0, world, world.data[0]) for c in study_of("demo-start").cells}
    assert len({run.parent.name for run in runs.values()}) == 4
    for row, run in runs.items():
        recipe = json.loads((run / "config.json").read_text("utf-8"))["config"]["recipe"]
        assert recipe["optimiser"] == row.split(",")[0].lower()
        assert own_studies.last_loss(None, world, run)["training"]["loss"] > 0


def test_what_our_studies_need_is_said(tmp_path):
    for given, said in (
        (["comparison"], "--small or --smoke"),
        (["comparison", "--small"], "--start RUN"),
        (["demo-stage2", "--small"], "--start demo"),
        (["demo-start", "--smoke", "--start", "demo"], "leave --start out"),
    ):
        with pytest.raises(UsageError, match=said):
            main([*given, "--work", str(tmp_path)])
    assert set(OWN) <= set(STUDIES)
