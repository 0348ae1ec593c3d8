"""docs/account.md and docs/responsible-use.md: the commands run, the figures are measured, and nothing is promised."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from account import crop
from descry.cli import VERBS, main
from descry.gallery.contract import Binding
from descry.report.error_rates import DEMO, about_model, markdown

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "account.md", DOCS / "responsible-use.md"]


def test_the_commands_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(20):
        crop(tmp_path / "crops", i)
    assert main(["index", "crops", "--out", "my-gallery", "--encoder", "torch", "--quiet"]) == 0
    for block in re.findall(r"```bash\n(.*?)```", PAGES[0].read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            command = shlex.split(line)
            assert command[0] == "descry"
            assert main(command[1:]) == 0, (line, capsys.readouterr().err)
    assert b"not an identification" in (tmp_path / "shared.html").read_bytes()


def test_every_verb_and_option_they_name_exists(capsys) -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for verb in re.findall(r"`descry ([a-z ]+?)(?: [A-Z<-][^`]*| my-gallery[^`]*)?`", text):
        assert verb in VERBS, verb
    for verb in ("purge", "report", "index", "evaluate"):
        main([verb, "--help"])
    helped = capsys.readouterr().out
    for option in (
        "--expired",
        "--before",
        "--inquiry",
        "--item",
        "--blur-others",
        "--redact-paths",
        "--exclude",
        "--slices",
    ):
        assert option in text
        assert option in helped


def test_the_known_errors_are_those_of_the_model_that_ships() -> None:
    fingerprint = json.loads((DEMO / "config.json").read_text("utf-8"))["fingerprint"]
    table = markdown(about_model(Binding("demo", fingerprint, 128, {}))["error_rates"])
    assert table.count("\n") >= 5
    assert f"python -m descry_lab demo-report -->\n\n{table}\n\n<!-- end" in PAGES[1].read_text("utf-8"), table


def test_nothing_is_promised() -> None:
    for page in PAGES:
        text = page.read_text("utf-8").lower()
        for word in ("compliant", "compliance", "guarantee", "match", "accurate"):
            assert word not in text, (page.name, word)
        assert "not legal advice" in PAGES[1].read_text("utf-8")
