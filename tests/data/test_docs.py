"""docs/datasets.md: its tables are the cards, its blocks run, and its help is that of the commands."""

from __future__ import annotations

import re
from pathlib import Path

from descry.cli import main
from descry.data import DATASETS

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
MARK = "<!-- from here to the end: descry data list --markdown -->\n\n"


def test_the_generated_part_is_what_the_command_prints(capsys) -> None:
    assert main(["data", "list", "--markdown"]) == 0
    assert PAGE.read_text("utf-8").split(MARK)[1] == capsys.readouterr().out


def test_every_data_set_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8").split(MARK)[1]
    assert re.findall(r"^## .*\(`(.+)`\)$", page, re.MULTILINE) == list(DATASETS)


def test_the_blocks_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8").split(MARK)[0]
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            command = line.split("#")[0].split()
            assert command[0] == "descry"
            assert main(command[1:]) == 0, line
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), {})
    assert "7 28 ['text']" in capsys.readouterr().out


def test_the_table_of_the_page_is_read(tmp_path) -> None:
    from descry.data.table import read_table

    text = re.search(r"```text\n(split,pid.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert text is not None
    (tmp_path / "t.csv").write_text(text[1])
    rows = read_table(tmp_path / "t.csv")
    assert [(r.pid, len(r.captions)) for r in rows] == [("7", 2), ("7", 0), ("9", 1)]


def test_synthetic_people_are_called_what_they_are() -> None:
    from descry_people.miniature import NOTE

    assert "says nothing about real people" in PAGE.read_text("utf-8")
    assert "No evidence of accuracy on real people" in NOTE
