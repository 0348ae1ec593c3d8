"""Tables and ledger stand and fall together; the README stays short and shows what it talks about."""

from __future__ import annotations

import re

from descry.studies import ledger
from descry_lab.tables import regenerate

from .reading import PAGES, ROOT

LEDGER = ROOT / "results" / "ledger.jsonl"


def test_a_ledger_without_one_of_its_lines_is_noticed(tmp_path):
    lines = LEDGER.read_text("utf-8").splitlines(keepends=True)
    counted = {e.key: i for i, e in enumerate(ledger.read(LEDGER))}  # of a key, its last line is what tables show
    for number in (min(counted.values()), max(counted.values())):
        shorter = tmp_path / f"without-{number}.jsonl"
        shorter.write_text("".join(line for i, line in enumerate(lines) if i != number), "utf-8")
        assert regenerate(PAGES, shorter, write=False), f"line {number + 1} of the ledger stands in no table"


def test_the_readme_is_short_and_its_pictures_are_there():
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count("\n") <= 250
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) >= 2
    assert all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)


def test_the_map_leads_to_what_it_names() -> None:
    """Files of README's and CONTRIBUTING's map are there, and hold the functions that stand beside them."""
    pages = ("README.md", "CONTRIBUTING.md", "docs/architecture.md")
    readme, map_, journeys = ((ROOT / name).read_text("utf-8") for name in pages)
    for path in re.findall(r"`(src/[^`]+)`", readme + map_):
        assert "PAPER" in path or (ROOT / path).exists(), path
    for path in re.findall(r"`((?:\w+/)*\w+\.(?:py|md|toml))`", journeys):
        assert (ROOT / path).exists() or (ROOT / "src" / "descry" / path).exists(), path
    named = re.findall(r"`([\w.]+)` in `((?:src/)?[\w/]+\.py)`", map_)
    assert {"Vectors.append", "Asker.next", "fit_to_ink", "_inversion"} <= {name for name, _ in named}
    for name, path in named:
        file = ROOT / path if path.startswith("src/") else ROOT / "src/descry/methods" / path
        for part in name.split("."):
            assert re.search(rf"(?:def|class) {part}\b", file.read_text("utf-8")), (name, path)
