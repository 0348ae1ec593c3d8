"""recipes/demo.sh trains what ships: its numbers for stage 1 are those of the packed model."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "recipes" / "demo.sh"


def test_the_recipe_says_what_the_shipped_model_was_trained_with() -> None:
    config = json.loads(resources.files("descry").joinpath("models/demo/config.json").read_text("utf-8"))["config"]
    script = SCRIPT.read_text("utf-8").replace("\\\n", " ")
    (line,) = re.findall(r'^train "\$WORK/stage1".*$', script, re.MULTILINE)
    for name in re.findall(r"\$([A-Z]+)\b(?!/)", line):
        line += " " + " ".join(re.findall(rf'^{name}="(.*)"$', script, re.MULTILINE))
    (common,) = re.findall(r"--batch-size .*$", script, re.MULTILINE)
    said = dict(re.findall(r"--set (\w+)=([^\s\"]+)", f"{line} {common}"))
    said |= {
        name.replace("-", "_"): value for name, value in re.findall(r"--(epochs|lr|batch-size) (\S+)", line + common)
    }
    assert {"epochs", "lr", "batch_size", "optimiser", "composed", "sketch_text", "augment"} <= set(said)
    shipped = config | config["stage1"]
    for name, value in said.items():
        kept = shipped[name]
        assert (value == kept) if isinstance(kept, str) else json.loads(value) == kept, (name, value, kept)
