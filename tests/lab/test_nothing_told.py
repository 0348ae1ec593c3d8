"""Where a model can tell nobody apart, the commands say so: no calibration, no question, and NOT moves nobody far."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from descry.checkpoint import DEMO, write_config
from descry.cli import main
from descry.ranking import FORMULA

PEOPLE = 45
WORN = ("a red jacket", "a blue jacket", "a backpack", "white trousers", "a hat")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise with sentences at random, a model that was never measured, and its gallery."""
    root, rng = tmp_path_factory.mktemp("nothing"), np.random.default_rng(0)
    (root / "data").mkdir()
    rows = []
    for pid in range(PEOPLE):
        worn = [thing for thing in WORN if rng.random() < 0.5] or ["a red jacket"]
        for n in range(2):
            Image.fromarray(rng.integers(0, 256, (96, 48, 3), np.uint8)).save(root / "data" / f"{pid}_{n}.png")
            row = {"split": "val", "pid": f"{pid}", "path": f"{pid}_{n}.png"}
            rows.append(row | {"captions": ["a person with " + " and ".join(worn)]})
    (root / "table.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    shutil.copytree(DEMO, root / "run")
    config = json.loads((root / "run" / "config.json").read_text("utf-8"))
    config["composition"] = {"default": "late"}
    write_config(root / "run", config)
    assert main(["data", "import", str(root / "table.jsonl"), str(root / "data")]) == 0
    with redirect_stdout(StringIO()) as told:
        assert main(["model", "measure", str(root / "run"), "--data", str(root / "data"), "--json"]) == 0
    (root / "measured.json").write_text(told.getvalue(), "utf-8")
    assert main(["index", str(root / "data"), "--model", str(root / "run"), "--out", str(root / "gallery")]) == 0
    return root


def order(place: Path, capsys, *words: str) -> list[int]:
    assert main(["search", str(place / "gallery"), *words, "-k", str(2 * PEOPLE), "--json"]) == 0
    return [row["id"] for row in json.loads(capsys.readouterr().out)["results"]]


def test_measuring_finds_nothing_that_can_be_read(place: Path) -> None:
    told = json.loads((place / "measured.json").read_text("utf-8"))
    assert told["kept"]
    assert {"a backpack", "a red jacket"} <= {row["phrase"] for row in told["phrases"]}
    assert not [row["phrase"] for row in told["phrases"] if row["readable"]]
    assert told["absence"]["text"].startswith("refused")


def test_a_calibration_is_refused(place: Path, capsys, tmp_path) -> None:
    ids = {row: i for i, row in enumerate(sorted(f"{pid}_{n}" for pid in range(PEOPLE) for n in range(2)), 1)}
    lines = (json.loads(line) for line in (place / "table.jsonl").read_text("utf-8").splitlines()[::2])
    rows = [{"text": row["captions"][0], "ids": [ids[f"{row['pid']}_{n}"] for n in range(2)]} for row in lines]
    (tmp_path / "known.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    command = ["gallery", "calibrate", str(place / "gallery"), "--queries", str(tmp_path / "known.jsonl")]
    assert main(command) != 0
    assert "cannot be told apart" in capsys.readouterr().err
    assert main(["search", str(place / "gallery"), "a red jacket"]) == 0
    assert "probably not" not in capsys.readouterr().err


def test_no_question_is_asked(place: Path, capsys) -> None:
    assert main(["inquiry", "new", str(place / "gallery"), "asked", "a red jacket"]) == 0
    capsys.readouterr()
    assert main(["inquiry", "ask", str(place / "gallery"), "asked", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == []
    assert "reads none of what could be asked about" in told.err


@pytest.mark.parametrize("phrase", ["a backpack", "a red jacket", "a green umbrella"])
def test_a_not_moves_nobody_beyond_the_bound(place: Path, capsys, phrase: str) -> None:
    """What was found unreadable moves nobody at all; what was not measured, at most to the stated place."""
    capsys.readouterr()
    before = order(place, capsys, "a person in white trousers")
    after = order(place, capsys, "a person in white trousers", "--not", phrase)
    assert sorted(before) == sorted(after)
    for place_before, item in enumerate(before, 1):
        assert after.index(item) + 1 <= FORMULA.worst_place(place_before)
    assert (after == before) == (phrase != "a green umbrella")
