"""The log of a training: one JSON line a step always, TensorBoard's files on request, a ledger line at the end."""

from __future__ import annotations

import json
import sys

import pytest

from descry.errors import UsageError
from descry.studies import ledger
from descry.studies.results import remember_training
from descry.training.state import Log

ROWS = [{"step": 0, "epoch": 0, "lr": 0.1, "sdm": 2.0}, {"step": 1, "epoch": 0, "lr": 0.2, "sdm": 1.5}]


def write(run, *rows, **given):
    run.mkdir(exist_ok=True)
    log = Log(run, **given)
    for row in rows:
        log.write(row)
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_repeats_no_step(tmp_path):
    write(tmp_path, *ROWS, {"epoch": 0, "val": 50.0})
    assert write(tmp_path, start=1) == ROWS[:1]


def test_the_validation_of_the_epoch_before_stays(tmp_path):
    rows = [*ROWS, {"epoch": 0, "val": 50.0}, {"step": 2, "epoch": 1, "lr": 0.1, "sdm": 1.0}]
    write(tmp_path, *rows)
    assert write(tmp_path, start=2) == rows[:3]


def test_only_the_first_process_writes(tmp_path):
    Log(tmp_path, writes=False).write(ROWS[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_board_holds_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert write(tmp_path, *ROWS, {"epoch": 0, "val": 50.0}, board=True)[:2] == ROWS
    held = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(held.Tags()["scalars"]) == {"lr", "loss/sdm", "val"}
    assert [(x.step, x.value) for x in held.Scalars("loss/sdm")] == [(0, 2.0), (1, 1.5)]
    assert [x.value for x in held.Scalars("val")] == [50.0]


def test_without_the_package_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"\[tensorboard\]"):
        Log(tmp_path, board=True)
    assert not (tmp_path / "log.jsonl").exists()


def test_a_finished_training_stands_in_the_ledger_of_its_run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"method": "propot", "config": {"prompts": 4}}))
    about = {"seed": 3, "data": "toy", "data_sha256": "ab", "note": "synthetic", "threads": 1, "gpu": ""}
    metrics = {"about": about, "selection_scores": [10.0, 30.0], "selection": "val", "seconds": 4.5}
    assert remember_training(tmp_path, metrics, "descry train propot")
    [entry] = ledger.read(tmp_path / "ledger.jsonl")
    assert (entry.table, entry.row, entry.seed, entry.split) == ("training", "propot", 3, "val")
    assert entry.figures == {"kept epoch": {"R@1": 30.0}}
    assert entry.data == {"toy": "ab"}
    assert entry.seconds == 4.5
    assert entry.hardware
    assert entry.synthetic
    assert not remember_training(tmp_path / "elsewhere", metrics, "")
