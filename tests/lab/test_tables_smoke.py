"""Every table runs as a smoke test: two steps a cell, in one work folder, so that shared cells train once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from descry.embed import load
from descry.errors import UsageError
from descry.methods import preset, presets, vfe_tps
from descry.training.loop import Settings
from descry_lab import scales
from descry_lab.__main__ import main
from descry_lab.engine import fit, trainings
from descry_lab.measuring import costs
from descry_lab.papers import TABLES
from descry_lab.scales import worlds
from descry_lab.studies import STUDIES, command_of, study_of

CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def test_there_is_one_study_for_every_table_and_figure_and_list_names_their_commands(capsys):
    assert [name for name, study in STUDIES.items() if not study.world] == list(TABLES)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(command_of(s) in out and s.expected in out for s in STUDIES.values())


def test_a_row_says_its_preset_and_beside_a_papers_figure_it_is_the_papers(capsys):
    for study in STUDIES.values():
        for cell, named in zip(study.cells, study.by().cells, strict=True):
            if cell.method:
                assert named.preset in presets(cell.method)
            assert cell.preset or named.preset == "paper"
        if not study.world:
            assert "recommended" not in {c.preset for c in study.cells}
    assert {c.preset for c in study_of("vfe-tps-6", "released").cells} == {"released"}
    with pytest.raises(UsageError, match="released"):
        main(["propot-4", "--smoke", "--preset", "released"])


def test_table_5_of_vfe_tps_is_one_experiment():
    cells = {c.row: c for c in study_of("vfe-tps-5").cells}
    recipe = preset("vfe_tps", "paper").recipe
    assert cells["linear probe"].changes["recipe"] == recipe
    for cell in cells.values():
        assert replace(preset(cell.method, cell.preset), **cell.changes).image_size == (384, 128)
    assert cells["CLIP fine-tuned (CMPM)"].changes == vfe_tps.ROWS["none"]


def test_every_row_of_table_5_is_judged_at_one_size(work):
    world = worlds("smoke", work, "", [], None, CPU)
    runs = [fit(cell, 0, world, world.data[0]) for cell in study_of("vfe-tps-5").cells]
    assert {load(run, "cpu").image_size for run in runs} == {world.budget.size}


def test_the_page_of_results_has_the_command_and_the_presets_of_every_study():
    page = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text("utf-8")
    for study in STUDIES.values():
        (line,) = [x for x in page.splitlines() if f"| `{command_of(study)}` |" in x]
        assert all(named.preset in line for named in study.by().cells if named.method)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(UsageError, match="--image-encoder"):
        main(["vfe-tps-1"])
    with pytest.raises(UsageError, match="interactreid-1"):
        main(["interactreid1", "--smoke"])
    for words in (["vfe-tps-6", "--smoke", "--threads", "-2"], ["vfe-tps-6", "--smoke", "--accumulate", "0"]):
        with pytest.raises(UsageError, match=r"was given; allowed: [01] or more"):
            main([*words, "--work", str(tmp_path)])
    with pytest.raises(UsageError, match="--jobs 0 was given; allowed: 1 or more"):
        main(["small", "--jobs", "0"])
    study = study_of("interactreid-3")
    world = replace(worlds("smoke", tmp_path, "", [], None, CPU), adapt={})
    with pytest.raises(UsageError, match="--adapt"):
        trainings(study.cells[1], 0, world, world.data[0])


def test_how_a_table_is_trained_reaches_the_loop(work, monkeypatch):
    seen = []
    monkeypatch.setattr("descry_lab.__main__.sweep", lambda study, world, *given: seen.append(world.settings) or {})
    words = ["vfe-tps-6", "--smoke", "--device", "cpu", "--work", str(work), "--precision", "bf16", "--accumulate", "2"]
    assert main([*words, "--checkpoint-gradients", "--cache-gradients", "3"]) == 0
    (held,) = seen
    assert (held.precision, held.accumulate, held.checkpoint_gradients, held.cache_gradients) == ("bf16", 2, True, 3)


def test_costs_are_counted_as_the_papers_count(work):
    world = worlds("smoke", work, "", [], None, CPU)
    got = {}
    for row in (0, 2, 7):
        cell = study_of("propot-4").cells[row]
        run = fit(cell, 0, world, world.data[0])
        got[cell.row] = costs(load(run, "cpu"), world, run)["cost"]
    assert got["baseline"]["training GFLOPs"] == pytest.approx(got["baseline"]["inference GFLOPs"], rel=0.05)
    assert got["+DPP"]["training GFLOPs"] > got["baseline"]["training GFLOPs"]
    assert got["+DPP+IPP+MLM"]["training GFLOPs"] > got["+DPP"]["training GFLOPs"], "masked words are counted"
    assert got["baseline"]["M inference"] <= got["baseline"]["M parameters"] < got["+DPP"]["M parameters"]


TWO = """
import sys
sys.path[:0] = {path}
from descry_lab.__main__ import main
from forked import together
together(lambda: main(["vfe-tps-5", "--only", "CLIP", "--smoke", "--device", "cpu", "--work", {work!r}]))
"""


def test_two_processes_give_the_table_that_one_gives(tmp_path):
    code = TWO.format(path=[str(Path(__file__).parents[1])], work=str(tmp_path))
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    for row in ("zero-shot CLIP", "CLIP fine-tuned (CMPM)"):
        assert done.stdout.count(f"{row}: it runs") == 1, "the first process alone speaks"
    assert done.stdout.count("claims anything") == 1


EVERY = """
import sys
from descry_lab.__main__ import main
from descry_lab.studies import STUDIES
for name in STUDIES:
    assert main([name, "--smoke", "--device", "cpu", "--work", sys.argv[1]]) == 0
"""


@pytest.mark.long
def test_two_processes_make_every_table(tmp_path):
    script = tmp_path / "every.py"
    script.write_text(EVERY)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    words += ["--nproc-per-node", "2", str(script), str(tmp_path / "work")]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = sum(len(study.cells) for study in STUDIES.values())
    assert done.stdout.count(": it runs") == rows, "every row once: the first process alone speaks"


OURS = ("comparison", "demo-stage2", "composed")  # no papers' tables, and slow
FEW = {n: s.cells[-1].row for n, s in STUDIES.items() if len(s.cells) > 5} | {"vfe-tps-figure6": "hidden = 0.6"}
"""Of a study with many rows only these run in every run; the long tests run it whole."""


@pytest.mark.parametrize(
    ("name", "row"),
    [
        *((name, FEW.get(name, "")) for name in STUDIES if name not in OURS),
        *(pytest.param(name, "", marks=pytest.mark.long) for name in STUDIES if name in OURS or name in FEW),
    ],
)
def test_smoke(name, row, work, capsys):
    assert main([name, "--smoke", "--work", str(work), "--device", "cpu", "--only", row]) == 0
    out = capsys.readouterr().out
    assert all(f"{cell.row}: it runs" in out for cell in STUDIES[name].cells if row in cell.row)
    assert "claims anything" in out
    assert not (work / "ledger.jsonl").exists()
    for line in out.splitlines():
        if line.startswith("figure: "):
            assert Path(line.removeprefix("figure: ")).stat().st_size > 1000
    torch.set_num_threads(1)


def test_a_finished_cell_is_not_trained_again_and_an_interrupted_one_goes_on(work):
    study, world = study_of("vfe-tps-6"), worlds("smoke", work, "", [], None, CPU)
    run = fit(study.cells[0], 0, world, world.data[0])
    metrics, weights = run / "metrics.json", (run / "model.safetensors").read_bytes()
    before = metrics.stat().st_mtime_ns
    assert fit(study.cells[0], 0, world, world.data[0]) == run
    assert metrics.stat().st_mtime_ns == before
    metrics.unlink()  # as if it had been stopped before the end was written
    assert fit(study.cells[0], 0, world, world.data[0]) == run
    assert json.loads(metrics.read_text())["kept_epoch"] == 1
    assert (run / "model.safetensors").read_bytes() == weights


def test_watching_says_what_choosing_on_test_would_add(tmp_path, work, capsys):
    assert main(["vfe-tps-6", "--only", "none", "--smoke", "--work", str(tmp_path), "--device", "cpu", "--watch"]) == 0
    assert "would add 0.00" in capsys.readouterr().out  # one epoch leaves nothing to choose


def test_the_small_scale_says_what_it_begins_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = scales.Budget((96, 48), 2, 1, 2, 1, 2)
    monkeypatch.setitem(scales.BUDGETS, "small", few)
    assert worlds("small", tmp_path, "elsewhere", [], None, CPU).start == "elsewhere"
    world = worlds("small", tmp_path, "", [], None, CPU)
    assert world.start == "demo"
    assert "world 1" in world.data[0].source, "cameras that the model which ships has not seen"
    assert set(world.data[0].test) == {"text", "sketch", "sketch+text"}
    assert world.adapt["PEDES"].identities == 3


def test_the_papers_size_needs_the_papers_data():
    with pytest.raises(UsageError, match="--data NAME"):
        main(["propot-1"])
