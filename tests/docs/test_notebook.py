"""The notebook of recipes/ runs from its first cell to its last, and is kept with its pictures and its text."""

from __future__ import annotations

import json
import re
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


@pytest.mark.filterwarnings("ignore")  # the kernel's own packages warn; ours run in another process
def test_it_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="running the notebook needs nbclient")
    nbclient = pytest.importorskip("nbclient", reason="running the notebook needs nbclient")
    pytest.importorskip("ipykernel", reason="running the notebook needs ipykernel")
    pytest.importorskip("matplotlib", reason="the notebook draws: install the extra `figures`")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    stored = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert [{*shown} for shown in kinds(notebook.cells)] == [{*shown} for shown in kinds(stored)]
    said = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    text = "".join(out.get("text", "") for out in said)
    assert "not this one:" in text
    assert "sketch+text" in text
    assert any("image/png" in out.get("data", {}) for out in said)
