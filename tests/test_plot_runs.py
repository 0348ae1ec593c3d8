"""Figures of trained runs and of a ledger: silhouette, hidden patches, prototypes, ablation bars."""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np
import pytest

from descry.cli import main
from descry.embed import load
from descry.studies import ledger
from descry.training.start import read_data
from descry_lab.internals import prototype_similarity
from descry_lab.papers import TABLES
from descry_people.folder import write_people

pytest.importorskip("matplotlib", reason="figures need the extra `figures`")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of synthetic people, and a run of Propot and of VFE-TPS on it: two steps each."""
    root = tmp_path_factory.mktemp("runs")
    splits = {"train": 6, "val": 0, "test": 4}
    data = write_people(root / "people", 10, 2, 1, 1, splits=splits, size=(16, 32), processes=1)
    for method in ("propot", "vfe_tps"):
        given = ["--from", "random", "--image-size", "32", "16", "--epochs", "1", "--batch-size", "6"]
        given += ["--set", "heads=2", "--device", "cpu"] + (["--set", "mask_unit=4"] if method == "vfe_tps" else [])
        assert main(["train", method, "--data", str(data), "--out", str(root / method), *given]) == 0
    return root


def plot(kind, out, *given):
    return main(["plot", kind, *map(str, given), "--out", str(out), "--device", "cpu"])


def test_silhouette_has_a_bar_for_each_model(trained, tmp_path):
    runs = (trained / "propot", trained / "vfe_tps")
    assert plot("silhouette", tmp_path / "s.svg", *runs, "--data", trained / "people") == 0
    said = (tmp_path / "s.svg").read_text()
    assert all(str(run) in said for run in runs)
    assert "silhouette of 4 people" in said


def test_masks_show_photograph_hidden_and_drawn(trained, tmp_path, capsys):
    out = tmp_path / "m.svg"
    assert plot("masks", out, trained / "vfe_tps", "--data", trained / "people", "--people", "2") == 0
    assert out.read_text().count("<image") == 6
    assert plot("masks", out, trained / "propot", "--data", trained / "people") == 2
    assert "vfe_tps" in capsys.readouterr().err


def test_prototypes_are_cosines_of_the_people_it_learnt_from(trained, tmp_path, capsys):
    data, run = trained / "people", trained / "propot"
    assert plot("prototypes", tmp_path / "p.png", run, "--data", data, "--people", "5") == 0
    matrix = prototype_similarity(load(run, "cpu"), run, read_data((str(data),)), 5)
    assert matrix.shape == (5, 5)
    assert np.abs(matrix).max() <= 1 + 1e-5
    others = write_people(tmp_path / "o", 4, 2, 1, 1, splits={"train": 4}, size=(16, 32), processes=1)
    assert plot("prototypes", tmp_path / "p.png", run, "--data", others) == 1
    assert "what it learnt from" in capsys.readouterr().err
    assert plot("prototypes", tmp_path / "p.png", trained / "vfe_tps", "--data", data) == 2


def test_ablation_bars_come_from_a_ledger(tmp_path, capsys):
    path, table = tmp_path / "ledger.jsonl", TABLES["vfe-tps-6"]
    for row in ("none", "both"):
        for seed in (0, 1):
            figures = {"text": {"R@1": 40.0 + 4 * seed, "mAP": 50.0}}
            entry = ledger.Entry("vfe-tps-6", row, "small", seed, figures, "test", "last", {"text": "x"}, "made up")
            ledger.append(path, entry)
    assert asdict(ledger.read(path)[0])["row"] in table.rows
    assert plot("ablation", tmp_path / "a.svg", path, "--table", "vfe-tps-6") == 0
    said = re.findall(r">([^<>]+)</t", (tmp_path / "a.svg").read_text())
    assert {"none", "both", "paper"} <= {s.strip() for s in said}
    assert plot("ablation", tmp_path / "a.svg", path) == 2
    assert plot("ablation", tmp_path / "a.svg", path, "--table", "vfe-tps-6", "--measure", "mINP") == 2
    assert plot("ablation", tmp_path / "a.svg", path, "--table", "propot-4") == 1
    assert "propot-4" in capsys.readouterr().err
