"""The figure that dresses itself: by click, by touch and by keyboard; chips, undo, and what is searched with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .deeds import circle, kept, settled, strokes, tapped


def known(page: Any) -> dict[str, str]:
    found = page.evaluate("descry.page.query.board.figure?.known ?? {}")
    return {name: value for name, value in found.items() if name != "view"}


def chips(page: Any) -> list[str]:
    return page.evaluate("descry.page.query.phrases.map(p => p.text)")


def choose(page: Any, part: str, *values: str) -> None:
    """Open a part by its button and choose values."""
    button = page.locator(f".part-of:has-text('{part}')")
    button.click()
    for value in values:
        before = page.evaluate("descry.page.query.board.at")
        page.locator(".wardrobe:popover-open button", has_text=value).or_(
            page.locator(f".wardrobe:popover-open button[aria-label='{value}']")
        ).first.click()
        page.wait_for_function(f"() => descry.page.query.board.at > {before}")
    page.keyboard.press("Escape")


def drawing(page: Any) -> np.ndarray:
    data = page.evaluate(
        "descry.page.query.board.export().then(b => b.arrayBuffer()).then(a => [...new Uint8Array(a)])"
    )
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("L"))


def test_the_board_opens_with_a_figure_of_which_nothing_is_known(page):
    assert page.locator(".dressed.neutral").is_visible()
    assert page.locator(".part-of").count() >= 10
    assert {text.split("\n")[-1] for text in page.locator(".part-of").all_inner_texts()} == {"?"}
    assert (drawing(page) == 255).all(), "the neutral figure is no drawing"
    assert page.locator(".foot .primary").is_disabled()


def test_a_click_on_a_part_dresses_it_in_one_request(page):
    box = page.locator("canvas.board").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.35)
    page.wait_for_selector(".wardrobe:popover-open")
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if "/api/" in r.url else None)
    page.locator(".wardrobe:popover-open [data-value='sweater']").click()
    page.wait_for_function("() => descry.page.query.board.figure")
    assert [url.split("/api/v1")[1] for url in asked] == ["/figure"]
    page.locator(".wardrobe:popover-open [data-value='red']").click()
    page.wait_for_function("() => descry.page.query.phrases.some(p => p.text.includes('red sweater'))")
    assert known(page) == {"top": "sweater", "top.colour": "red"}
    assert chips(page) == ["a red sweater"]
    assert strokes(page) == [], "a click is no stroke"
    drawn = drawing(page)
    assert 1000 < (drawn < 128).sum() < 100_000
    page.locator(".wardrobe:popover-open [data-attribute='top.colour'][data-value='']").click()
    page.wait_for_function("() => descry.page.query.phrases.some(p => p.text === 'a sweater')")


def test_each_choice_can_be_undone_and_the_chip_goes_with_it(page):
    choose(page, "Headwear", "cap", "blue")
    choose(page, "Bottom", "jeans")
    assert set(chips(page)) == {"a blue cap", "jeans"}
    page.click("[aria-label='Undo stroke']")
    assert chips(page) == ["a blue cap"]
    page.click("[aria-label='Undo stroke']")
    assert chips(page) == ["a cap"]
    page.click("[aria-label='Redo stroke']")
    assert chips(page) == ["a blue cap"]
    page.click(".chip .tool")
    page.wait_for_function("() => !descry.page.query.board.figure")
    assert chips(page) == []
    assert page.locator(".dressed.neutral").is_visible()


def test_what_excludes_each_other_gives_way(page):
    choose(page, "Bottom", "trousers")
    choose(page, "Top", "dress")
    assert known(page) == {"top": "dress"}
    choose(page, "Bottom", "jeans")
    assert known(page) == {"bottom": "jeans"}
    choose(page, "Bag", "red", "none")
    assert known(page)["bag"] == "none"
    assert not any("bag" in text for text in chips(page))
    assert page.locator(".toast.warn").count() == 0


def test_freehand_lies_on_top_and_both_come_back(page):
    choose(page, "Over it", "coat", "black")
    circle(page)
    assert len(strokes(page)) == 1
    page.fill("#text", "umbrella")
    tapped(page, lambda: page.press("#text", "Enter"))
    query = page.evaluate("descry.page.round.query")
    assert len(query["sketches"]) == 1
    assert {p["text"] for p in query["wanted"]} == {"a black coat", "umbrella"}
    kept(page)
    page.reload()
    page.wait_for_selector("body[data-ready]", state="attached")
    settled(page)
    assert known(page) == {"over": "coat", "over.colour": "black"}
    assert len(strokes(page)) == 1
    choose(page, "Over it", "brown")
    assert set(chips(page)) == {"a brown coat", "umbrella"}
    tapped(page, lambda: page.click(".foot .primary"))
    tapped(page, lambda: page.locator(".step").first.click())
    assert known(page)["over.colour"] == "black"
    choose(page, "Over it", "green")
    assert set(chips(page)) == {"a green coat", "umbrella"}, "chips of an older round still belong to the figure"


def test_back_and_side(page):
    choose(page, "Hair", "long")
    front = drawing(page)
    page.select_option(".sliders select", "back")
    page.wait_for_function("() => descry.page.query.board.figure.known.view === 'back'")
    assert (drawing(page) != front).any()


def test_keyboard_alone_dresses_and_searches(page):
    page.focus(".part-of:has-text('Top')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".wardrobe:popover-open")
    page.wait_for_function("() => document.activeElement.textContent === 'Don\\'t remember'")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_function("() => descry.page.query.board.figure")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className").startswith("part-of")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.closest('.wardrobe:popover-open')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_function("() => Object.keys(descry.page.query.board.figure.known).length >= 3")
    page.keyboard.press("Escape")
    made = tapped(page, lambda: (page.keyboard.press("/"), page.keyboard.press("Enter")))
    assert made["number"] == 1
    assert len(page.evaluate("descry.page.round.query.sketches")) == 1


@pytest.mark.parametrize("tab", [{"viewport": {"width": 360, "height": 740}, "has_touch": True}], indirect=True)
def test_by_touch(tab):
    page = tab.start()
    page.evaluate("descry.page.tab('query')")
    box = page.locator("canvas.board").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.7)
    page.wait_for_selector(".wardrobe:popover-open")
    page.locator(".wardrobe:popover-open [data-value='shorts']").tap()
    page.wait_for_function("() => descry.page.query.board.figure?.known.bottom === 'shorts'")
    seen = page.locator(".wardrobe:popover-open").bounding_box()
    assert seen["x"] >= 0
    assert seen["x"] + seen["width"] <= 360
    assert seen["y"] >= 0
    assert seen["y"] + seen["height"] <= 740


def test_the_enlarged_board_fills_the_window_and_escape_leaves_it(page):
    small = page.locator("canvas.board").bounding_box()
    page.click("[aria-label='Enlarge the drawing']")
    large = page.locator("canvas.board").bounding_box()
    assert large["height"] > 1.5 * small["height"]
    assert large["y"] + large["height"] <= 800
    assert large["height"] / large["width"] == pytest.approx(2, abs=0.03)
    circle(page)
    assert len(strokes(page)) == 1
    page.keyboard.press("Escape")
    assert page.locator("canvas.board").bounding_box()["height"] == pytest.approx(small["height"], abs=1)
