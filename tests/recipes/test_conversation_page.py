"""The page of the conversation shows what lies in results, for the model that ships."""

import json
from pathlib import Path

import pytest

from descry.checkpoint import DEMO, read_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import conversation_page

    return conversation_page


def test_the_page_shows_the_results_and_they_are_of_the_shipped_model(page):
    found = json.loads(page.FOUND.read_text("utf-8"))
    assert page.section(found) in page.PAGE.read_text("utf-8")
    assert found["model"] == read_config(DEMO)["fingerprint"]


def test_every_part_is_there(page):
    found = json.loads(page.FOUND.read_text("utf-8"))
    text = page.section(found)
    for name in page.ROWS.values():
        assert f"| {name} |" in text
    assert text.count("| no") == 0
    assert all(f"| {row['key']} |" in text for row in found["NOT"])
    assert all(f"| {kind} |" in text for kind in found["absence"])
