"""The notebook of recipes/ runs from its first cell to its last, and is kept without what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "recipes" / "first_search.ipynb"


def test_it_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in cells if c["cell_type"] == "code")
    assert "no evidence of accuracy on real people" in " ".join("".join(c["source"]).replace("\n", " ") for c in cells)


@pytest.mark.filterwarnings("ignore")  # the kernel's own packages warn; ours run in another process
def test_it_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="running the notebook needs nbclient")
    nbclient = pytest.importorskip("nbclient", reason="running the notebook needs nbclient")
    pytest.importorskip("ipykernel", reason="running the notebook needs ipykernel")
    pytest.importorskip("matplotlib", reason="the notebook draws: install the extra `figures`")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    text = "".join(out.get("text", "") for out in said)
    assert "not this one:" in text
    assert "sketch+text" in text
    assert any("image/png" in out.get("data", {}) for out in said)
