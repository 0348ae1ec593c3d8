"""docs/first-hour.md: its ten commands run one after the other, each in this process."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from descry.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "first-hour.md").read_text(encoding="utf-8")


def test_ten_commands_from_nothing_to_a_search(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
    assert len(commands) == 10
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "descry"
        assert main(words[1:]) == 0, (command, capsys.readouterr().err)
        said = capsys.readouterr()
    assert "not identifications" in said.err
    assert (tmp_path / "mini" / "losses.png").is_file()
