"""What a searcher does, in the words of the journeys."""

from __future__ import annotations

import math
from typing import Any

WINDOWS = ((360, 740, 1), (640, 400, 2), (1280, 800, 1), (1920, 1080, 1), (2560, 1440, 1))
"""Width and height of windows, and pixels of the screen for one of the page; the second is 1280 × 800 at 200 per
cent."""
SEEN = """node => {
    const box = node.getBoundingClientRect();
    const x = (Math.max(box.left, 0) + Math.min(box.right, innerWidth)) / 2;
    const y = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
    const inside = box.height > 0 && box.top < innerHeight && box.bottom > 0 && box.left < innerWidth && box.right > 0;
    return inside && node.contains(document.elementFromPoint(x, y));
}"""
"""Whether an element is in the window with nothing over its middle."""


def settled(page: Any) -> None:
    """Wait until the round on show is complete with tree and question."""
    page.wait_for_function(
        "() => !descry.page.busy && descry.page.round && descry.page.inquiry.head === descry.page.round.number"
    )


def kept(page: Any) -> None:
    """Wait until the browser has kept the draft: what is read now is read after what was written before."""
    page.evaluate("import('/static/keep.js').then(({ recall }) => recall('draft')).then(() => null)")


def tapped(page: Any, action: Any) -> dict[str, Any]:
    """Do something that makes or shows another round, and wait for it."""
    before = page.evaluate("descry.page.round?.number ?? 0")
    action()
    page.wait_for_function(f"() => descry.page.round && descry.page.round.number !== {before}")
    settled(page)
    return page.evaluate("({number: descry.page.round.number, ids: descry.page.leads.map(l => l.item.id)})")


def say(page: Any, text: str) -> dict[str, Any]:
    page.fill("#text", text)
    return tapped(page, lambda: page.press("#text", "Enter"))


def circle(page: Any, steps: int = 24, cx: float = 0.5, cy: float = 0.2, r: float = 0.12) -> None:
    """Draw a circle with the mouse."""
    box = page.locator("canvas.board").bounding_box()
    for i in range(steps + 1):
        angle = 2 * math.pi * i / steps
        page.mouse.move(
            box["x"] + box["width"] * (cx + r * math.cos(angle)),
            box["y"] + box["height"] * (cy + r / 2 * math.sin(angle)),
        )
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def strokes(page: Any) -> list[Any]:
    return page.evaluate("descry.page.query.board.strokes")


def ids(page: Any) -> list[int]:
    return page.evaluate("descry.page.leads.map(l => l.item.id)")
