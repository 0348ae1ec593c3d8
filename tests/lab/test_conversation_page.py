"""The page of the conversation shows what lies in results, for the model that ships."""

import json

from descry.checkpoint import read_config
from descry.library import DEMO
from descry_lab import conversation


def test_the_page_shows_the_results_and_they_are_of_the_shipped_model():
    found = json.loads(conversation.FOUND.read_text("utf-8"))
    assert conversation.section(found) in conversation.PAGE.read_text("utf-8")
    assert found["model"] == read_config(DEMO)["fingerprint"]


def test_every_part_is_there():
    found = json.loads(conversation.FOUND.read_text("utf-8"))
    text = conversation.section(found)
    for name in conversation.ROWS.values():
        assert f"| {name} |" in text
    assert text.count("| no") == 0
    assert all(f"| {row['key']} |" in text for row in found["NOT"])
    assert all(f"| {kind} |" in text for kind in found["absence"])
