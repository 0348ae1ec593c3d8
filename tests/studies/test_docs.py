"""docs/evaluation.md: its code runs, and every option it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from descry.cli import VERBS, main

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_the_code_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/evaluation.md", "exec"), {})
    assert "95 %" in capsys.readouterr().out


def lines():
    block = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)
    return [line.split("   ")[0].removeprefix("descry ").strip() for line in block[1].splitlines()]


@pytest.mark.parametrize("line", lines())
def test_every_command_and_option_exists(line, capsys):
    words = line.split()
    verb = " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]
    assert verb in VERBS
    assert main([*verb.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words if word.startswith("--"))
