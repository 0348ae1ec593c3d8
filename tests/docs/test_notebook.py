"""The notebook of recipes/ runs from its first cell to its last, and is kept with its pictures and its text."""

from __future__ import annotations

import ast
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "recipes" / "first_search.ipynb"


def kinds(cells) -> list[list[str]]:
    """For each code cell, what it shows: "stream", or the richest form of a value."""
    richest = ("image/png", "text/html", "text/plain")
    return [
        [next((k for k in richest if k in out.get("data", {})), out["output_type"]) for out in cell["outputs"]]
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def test_it_is_kept_with_the_pictures_that_it_shows():
    text = NOTEBOOK.read_text("utf-8")
    cells = json.loads(text)["cells"]
    assert all(shown for shown in kinds(cells))
    assert ["image/png"] in kinds(cells)
    assert "data:image/jpeg;base64," in text  # thumbnails of the leads
    assert len(text) < 1_000_000
    assert not re.search(r"/(?:home|root|work)/", text)
    assert "no evidence of accuracy on real people" in " ".join("".join(c["source"]).replace("\n", " ") for c in cells)


def run(source: str, names: dict[str, object]) -> tuple[str, object]:
    """Run a cell as a notebook does: what it prints, and the value of its last line where that is an expression."""
    body, value, printed = ast.parse(source).body, None, io.StringIO()
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), NOTEBOOK.name, "exec"), names)
        if last:
            value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
    return printed.getvalue(), value


def test_it_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the notebook draws: install the extra `figures`")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    forms = {"image/png": "_repr_png_", "text/html": "_repr_html_"}
    stored = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    names: dict[str, object] = {}
    text = ""
    for cell, kept in zip((c for c in stored if c["cell_type"] == "code"), kinds(stored), strict=True):
        printed, value = run("".join(cell["source"]), names)
        shown = {"stream"} if printed else set()
        if value is not None:
            shown.add(
                next((kind for kind, form in forms.items() if hasattr(value, form) and getattr(value, form)()), "")
            )
        assert shown == {*kept}, cell["source"]
        text += printed
    assert "not this one:" in text
    assert "sketch+text" in text
    names["gallery"].close()
