"""What docs/api.md shows, runs; what it lists, exists."""

from __future__ import annotations

import re
from pathlib import Path

from served import toy_model

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_python_of_the_api_page_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr("descry.embed.load", lambda *args, **kwargs: toy_model())
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_every_operation_stands_in_the_table(server):
    text = (DOCS / "api.md").read_text("utf-8")
    for path in server.app.app.openapi()["paths"]:
        last = path.removeprefix("/api/v1").split("/")
        name = next(part for part in reversed(last) if part and not part.startswith("{"))
        assert name in text, path
