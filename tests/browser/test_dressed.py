"""People dressed in the page from their records by clicks alone, and found among the photographs of the benchmark.

The demo model searches. The people are synthetic: this shows that figure, chips and search work together, and nothing
about real people. Clicks and seconds go to standard output (pytest -s); the seconds are the browser's and the server's,
without a person's thinking and pointing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from descry.drawing.composing import compose_sketch
from descry.embed import load
from descry.gallery import Gallery
from descry.web.api.description import groups
from descry_people.benchmark import PARTS, SLICE, benchmark, records_of
from descry_people.person import to_json

from .conftest import Tab
from .deeds import ids, tapped
from .live import Live


def dress(page: Any, known: Mapping[str, str]) -> int:
    """Choose each value by a click beside the board; how many clicks that took."""
    clicks = 0
    for at, names in enumerate(groups().values()):
        chosen = [name for name in names if known.get(name, "none") not in ("none", "plain")]
        if chosen:
            page.locator(".part-of").nth(at).click()
        for name in chosen:
            before = page.evaluate("descry.page.query.board.at")
            page.click(f".wardrobe:popover-open [data-attribute='{name}'][data-value='{known[name]}']")
            page.wait_for_function(f"() => descry.page.query.board.at > {before}")
        clicks += len(chosen) + bool(chosen)
    page.keyboard.press("Escape")
    return clicks


@pytest.mark.parametrize(
    ("people", "dressed"), [(SLICE, 3), pytest.param(PARTS["test"][1], 10, marks=pytest.mark.long)]
)
def test_people_dressed_by_clicks_are_found(chromium: Any, tmp_path: Path, people: int, dressed: int) -> None:
    photos = benchmark(tmp_path, people, processes=1, pixels=False).test["text"].photos
    owner, model = {Path(photo.path).name: photo.pid for photo in photos}, load("demo", device="cpu")
    with Gallery.create(tmp_path / "gallery", model) as gallery:
        gallery.index(Path(photos[0].path).parent)
        whose = {item.id: owner[Path(item.path).name] for item in gallery.listed()}
    live = Live(tmp_path / "gallery", model=model)
    tab = Tab(chromium, live)
    page, ranks, clicks, seconds = tab.start(), [], [], []
    try:
        for pid, person in list(records_of(tmp_path, people).items())[:dressed]:
            begun = time.perf_counter()
            clicks.append(1 + dress(page, compose_sketch(to_json(person)).known))
            tapped(page, lambda: page.click(".foot .primary"))
            seconds.append(time.perf_counter() - begun)
            assert len(page.evaluate("descry.page.round.query.sketches")) == 1
            leads = [whose[i] for i in ids(page)]
            ranks.append(leads.index(pid) + 1 if pid in leads else people)
            page.evaluate("descry.page.fresh()")
            page.wait_for_function("() => !descry.page.query.board.figure && !descry.page.inquiry")
        assert tab.wrong == []
    finally:
        tab.close()
        live.stop()
    print(
        f"{len(photos):,} photographs: ranks {ranks}; clicks {median(clicks):g} ({min(clicks)} to {max(clicks)}); "
        f"seconds {median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
    )
    assert median(ranks) == 1
