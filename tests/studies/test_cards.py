"""Model cards say what the run says; selection on test is measured, not used."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from conftest import quick, toy_clip, toy_words, write_toy
from descry.cli import main
from descry.errors import DataError
from descry.methods.interactreid import PRESETS, InteractReID
from descry.studies.card import model_card
from descry.training.loop import Settings, train
from descry_lab.epochs import Watch, flattery, read_epochs


def test_a_card_has_figures_uses_and_where_the_weights_come_from(bench, tmp_path, capsys):
    args = ["evaluate", str(bench.run), "--data", str(bench.data), "--json", "--slices", "--device", "cpu"]
    assert main(args) == 0
    results = capsys.readouterr().out
    (tmp_path / "r.json").write_text(results)
    out = tmp_path / "card.md"
    assert main(["model", "card", str(bench.run), "--results", str(tmp_path / "r.json"), "--out", str(out)]) == 0
    text, row = out.read_text(), json.loads(results)["results"][0]
    assert f"{row['mAP']:.2f} [{row['intervals']['mAP'][0]:.1f}" in text
    assert all(
        word in text for word in ("never an identification", "never trained", "Live cameras", "not stated", "group = ")
    )
    assert "None are attached" in model_card(bench.run)
    assert "CC0" in model_card(bench.run, licence="CC0")


def test_a_card_names_no_path_of_the_machine_that_trained(bench, tmp_path):
    config = json.loads((bench.run / "config.json").read_text())
    stage = {"method": "baseline", "preset": "paper", "stage": 1, "from": "/home/somebody/clip", "data": "people"}
    config["about"] |= {"source": "/home/somebody/people; synthetic", "history": [stage]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = model_card(tmp_path)
    assert "somebody" not in text
    assert "from clip on people" in text


def test_a_folder_without_a_run_has_no_card(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        model_card(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="no run"):
        model_card(tmp_path)


def test_flattery_is_best_on_test_minus_the_honest_choice():
    rows = [
        {"epoch": 1, "val": 50.0, "test": 40.0},
        {"epoch": 2, "val": 60.0, "test": 44.0},
        {"epoch": 3, "val": 60.0, "test": 47.0},
    ]
    found = flattery(rows)
    assert (found.last, found.val, found.best, found.flattery) == (47.0, 44.0, 47.0, 3.0)
    assert (found.last_epoch, found.val_epoch, found.best_epoch) == (3, 2, 3)
    without = flattery([r | {"val": None} for r in rows[:2]] + [{"epoch": 3, "val": None, "test": 41.0}])
    assert (without.val, without.flattery) == (None, 3.0)
    with pytest.raises(DataError):
        flattery([])


def test_watching_changes_nothing_and_sees_every_epoch(tmp_path):
    (tmp_path / "data").mkdir()
    data, words = write_toy(tmp_path / "data"), toy_words()
    weights = []
    for watched in (False, True):
        torch.manual_seed(0)
        method = InteractReID(toy_clip(words), words, quick(PRESETS["recommended"]), 16)
        heard = []
        watch = Watch(method, data.val, data.test, tmp_path / "epochs.jsonl", "cpu", heard.append)
        out = tmp_path / str(watched)
        train(
            method,
            "interactreid",
            "recommended",
            replace(data),
            out,
            Settings(device="cpu"),
            on_step=watch if watched else heard.append,
        )
        weights.append((out / "model.safetensors").read_bytes())
        assert len(heard) == 8 if watched else True
    assert weights[0] == weights[1]
    rows = read_epochs(tmp_path / "epochs.jsonl")
    scores = json.loads((tmp_path / "True" / "metrics.json").read_text())["selection_scores"]
    assert [r["val"] for r in rows] == pytest.approx(scores)
    assert flattery(rows).flattery >= 0
    (tmp_path / "x").write_text("[]\n")
    with pytest.raises(DataError, match="by epoch"):
        read_epochs(tmp_path / "x")
