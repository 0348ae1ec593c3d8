"""Every screen, light and dark, at the sizes people have: nothing cut off, nothing that axe objects to, pictures to
look at.

Screenshots are written to the folder named in the variable SCREENSHOTS. Every screen at every size, opened there, is
with the long tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from .conftest import Tab
from .deeds import WINDOWS, circle, say, tapped
from .test_indexing import photos

Walk = Sequence[tuple[str, str]]
"""Screens and the sizes at which they are looked at, one after the other in one window."""
SIZES = {
    "1280": (1280, 800, 1),
    "1920": (1920, 1080, 1),
    "360": (360, 740, 1),
    "320": (320, 640, 1),
    "zoom200": (640, 400, 2),
}


def start(page: Any) -> None:
    pass


def results(page: Any) -> None:
    if page.evaluate("!!descry.page.round"):  # another screen was here before
        page.evaluate("descry.page.tab('centre')")
        return
    page.evaluate("descry.page.tab('query')")
    circle(page)
    circle(page, cy=0.5, r=0.2)
    say(page, "red jacket, no backpack")
    page.wait_for_function("() => [...document.querySelectorAll('.tile img')].every(i => i.complete)")


def refined(page: Any) -> None:
    results(page)
    page.evaluate(
        "descry.page.mark(descry.page.leads[2].item.id, 'like');"
        "descry.page.mark(descry.page.leads[3].item.id, 'unlike')"
    )
    page.evaluate("descry.page.compare(descry.page.leads[0]); descry.page.compare(descry.page.leads[1])")
    page.wait_for_function("() => [...document.querySelectorAll('.tray img')].every(i => i.complete && i.naturalWidth)")


def query(page: Any) -> None:
    results(page)
    page.evaluate("descry.page.tab('query')")


def dressing(page: Any) -> None:
    page.evaluate("descry.page.tab('query')")
    page.click(".part-of:has-text('Top')")
    page.click(".wardrobe:popover-open [data-value='sweater']")
    page.wait_for_function("() => descry.page.query.board.figure")
    page.click(".wardrobe:popover-open [data-value='red']")
    page.wait_for_selector(".chip:has-text('red sweater')")


def enlarged(page: Any) -> None:
    page.evaluate("descry.page.tab('query'); descry.page.query.enlarge()")


def told(page: Any) -> None:
    results(page)
    page.wait_for_selector(".tile .fits", state="attached")
    page.click(".tool.about")


def context(page: Any) -> None:
    query(page)
    say(page, "long coat")
    page.evaluate("descry.page.tab('context')")


def detail(page: Any) -> None:
    results(page)
    page.evaluate("descry.page.grid.actions.open(descry.page.leads[1])")
    page.wait_for_selector(".shelf")
    page.wait_for_function("() => [...document.querySelectorAll('dialog img')].every(i => i.complete)")


def compare(page: Any) -> None:
    if not page.locator(".tray .primary").is_visible():
        refined(page)
    page.click(".tray .primary")
    page.wait_for_function("() => [...document.querySelectorAll('dialog img')].every(i => i.complete)")


def listed(page: Any) -> None:
    results(page)
    page.evaluate("descry.page.view()")


def empty(page: Any) -> None:
    results(page)
    page.evaluate("descry.page.context.set({cameras: ['north gate'], since: '2027-01-01T00:00'}, true)")
    page.wait_for_selector(".empty li")


def helped(page: Any) -> None:
    page.evaluate("descry.page.help()")


def toured(page: Any) -> None:
    page.evaluate("descry.page.tour()")


def login(page: Any) -> None:
    page.context.clear_cookies()
    page.evaluate("void descry.page.listed()")
    page.wait_for_selector("dialog.login")


def choosing(page: Any) -> None:
    page.evaluate(
        "descry.page.indexing.mapping = {camera: 'pattern', time: 'pattern', track: '', pattern: '{camera}/{time}_*'}"
    )
    page.evaluate("descry.page.indexing.open()")
    page.wait_for_selector(".seen table")


def indexed(page: Any) -> None:
    choosing(page)
    page.evaluate("descry.page.indexing.begin(false)")
    page.wait_for_selector(".skips tbody tr")


def found(page: Any) -> None:
    results(page)
    if page.locator(".judgement").count():
        return
    for rank, verdict, note in (
        (0, "worth following", "same bag, same shoes; look at the clock"),
        (2, "set aside", "too tall"),
    ):
        page.evaluate(
            "async ([rank, verdict, note]) => { const f = descry.page.findings, id = descry.page.leads[rank].item.id;"
            "const form = f.form(id); form.querySelector(`[value='${verdict}']`).checked = true;"
            "form.querySelector('textarea').value = note; document.body.append(form);"
            "form.requestSubmit(); form.remove(); }",
            [rank, verdict, note],
        )
        page.wait_for_selector(f".judgement:has-text('{note}')", state="attached")


def findings(page: Any) -> None:
    found(page)
    page.evaluate("descry.page.tab('context')")


def judging(page: Any) -> None:
    found(page)
    page.evaluate("descry.page.judge(descry.page.leads[0])")
    page.wait_for_function("() => [...document.querySelectorAll('dialog img')].every(i => i.complete)")


def reporting(page: Any) -> None:
    found(page)
    page.evaluate("descry.page.report()")
    page.wait_for_selector(".reporting .holds li:has-text('digests')")
    page.click(".export button.primary")
    page.wait_for_selector(".head code")


def purging(page: Any) -> None:
    found(page)
    page.evaluate("void descry.page.remove()")
    page.wait_for_selector("dialog.purging")


SCREENS: dict[str, Callable[[Any], None]] = {
    f.__name__: f
    for f in (
        start,
        results,
        refined,
        query,
        dressing,
        enlarged,
        told,
        context,
        detail,
        compare,
        listed,
        empty,
        helped,
        toured,
        login,
        choosing,
        indexed,
        found,
        findings,
        judging,
        reporting,
        purging,
    )
}


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core (MPL-2.0), which comes with the package axe-playwright-python."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    return (Path(package.__file__).parent / "axe.min.js").read_text("utf-8")


def judged(page: Any, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found["violations"] for n in v["nodes"]]


def cut_off(page: Any) -> list[str]:
    """Buttons and words that stick out of the window or of a pane that cannot scroll sideways."""
    return page.evaluate("""() => {
        const out = [];
        if (document.documentElement.scrollWidth > innerWidth) out.push(`page ${document.documentElement.scrollWidth}`);
        for (const node of document.querySelectorAll('button, select, input, textarea, h1, h2, p, .chip, .step')) {
            const box = node.getBoundingClientRect();
            if (!box.width || node.closest('.shelf, .compare, .unseen') || node.matches('.unseen')) continue;
            if (box.right > innerWidth + 1 || box.left < -1) out.push(`${node.tagName} ${node.className}
            ${node.textContent.slice(0, 30)}`);
        }
        for (const pane of document.querySelectorAll('.pane, dialog, .scroll')) {
            if (pane.scrollWidth > pane.clientWidth + 1) out.push(`${pane.id || pane.className} ${pane.scrollWidth} >
            ${pane.clientWidth}`);
        }
        return out;
    }""")


@pytest.fixture(autouse=True)
def _photos(tmp_path):
    photos(tmp_path / "photos", good=40, bad=12)


def left(page: Any) -> None:
    """Close what lies over the page."""
    while page.locator("dialog[open], :popover-open").count():
        page.keyboard.press("Escape")
        page.wait_for_timeout(50)


def shown(chromium: Any, live: Any, axe: str, album: Path | None, walk: Walk, scheme: str) -> list[str]:
    """What is wrong with the screens of a walk, in one window, which is opened at the first size."""
    width, height, scale = SIZES[walk[0][1]]
    more = {"has_touch": True} if walk[0][1] == "360" else {}
    tab = Tab(
        chromium,
        live,
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme=scheme,
        **more,
    )
    wrong, before = [], ("", walk[0][1])
    try:
        page = tab.start()
        for name, size in walk:
            if size != before[1]:
                page.set_viewport_size({"width": SIZES[size][0], "height": SIZES[size][1]})
            if name != before[0]:
                left(page)
                SCREENS[name](page)
            before = name, size
            page.wait_for_timeout(150)
            if album:
                page.screenshot(path=album / f"{name}-{size}-{scheme}.png")
            lines = (*judged(page, axe), *cut_off(page), *(tab.wrong if name != "login" else []))
            wrong += [f"{name} {size} {scheme}: {line}" for line in lines]
        return wrong
    finally:
        tab.close()


@pytest.fixture(scope="session")
def album() -> Path | None:
    if not (folder := os.environ.get("SCREENSHOTS")):
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


WALKS = [
    ("start", "helped"),
    ("toured",),
    ("dressing",),
    ("enlarged",),
    ("results", "told", "detail", "query", "context", "refined", "compare", "listed"),
    ("empty",),
    ("login",),
    ("choosing", "indexed"),
    ("found", "findings", "judging", "reporting", "purging"),
]
NARROW: list[Walk] = [
    [("results", "360"), ("results", "320"), ("told", "360"), ("told", "zoom200"), ("query", "zoom200")],
    [(name, size) for name in ("dressing", "enlarged") for size in ("360", "zoom200")],
    [(name, size) for name in ("choosing", "indexed") for size in ("360", "320")],
    [
        *(("findings", "360"), ("findings", "320"), ("judging", "360")),
        *(("reporting", "360"), ("reporting", "320"), ("purging", "320")),
    ],
]


@pytest.mark.parametrize("names", WALKS, ids="-".join)
def test_screens(chromium, live, axe, album, names):
    assert shown(chromium, live, axe, album, [(name, "1280") for name in names], "light") == []


def test_every_screen_is_in_a_walk():
    assert {name for names in WALKS for name in names} == set(SCREENS)


@pytest.mark.parametrize("walk", NARROW, ids=lambda walk: walk[0][0])
def test_narrow_screens(chromium, live, axe, album, walk):
    assert shown(chromium, live, axe, album, walk, "dark") == []


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("name", list(SCREENS))
def test_all_screens(chromium, live, axe, album, name, size, scheme):
    assert shown(chromium, live, axe, album, [(name, size)], scheme) == []


def test_the_judges_can_object(page, axe):
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend','<img src=\"/static/icon.svg\"><button class=\"wide\"></button>')"
    )
    page.evaluate("document.querySelector('button.wide').style.cssText = 'position: fixed; left: 99%; width: 300px'")
    assert any("image-alt" in line for line in judged(page, axe))
    assert any("wide" in line for line in cut_off(page))


IN_VIEW = """selector => {
    const box = document.querySelector(selector).getBoundingClientRect();
    return box.height > 0 && box.top >= 0 && box.top < innerHeight;
}"""


def test_the_canvas_keeps_the_shape_of_a_drawing(page):
    page.evaluate("descry.page.tab('query')")
    for width, height, _ in WINDOWS:
        page.set_viewport_size({"width": width, "height": height})
        box = page.locator("canvas.board").bounding_box()
        assert box["height"] / box["width"] == pytest.approx(2, abs=0.03), width


@pytest.mark.parametrize("size", [pytest.param(w[:2], marks=[pytest.mark.long] * (w[0] > 1280)) for w in WINDOWS])
def test_pictures_come_first(page, size):
    """Above the leads stands one bar of at most 48 pixels, and a whole row of leads is in view."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    results(page)
    page.wait_for_selector(".ask .question")
    bar = page.locator(".bar-tools").bounding_box()
    assert bar["height"] <= 48
    assert page.evaluate(IN_VIEW, ".ask button:last-of-type")
    seen = page.evaluate("""() => {
        const tops = new Map();
        const low = document.querySelector('#scroll').getBoundingClientRect().bottom;
        for (const tile of document.querySelectorAll('.tile')) {
            const box = tile.getBoundingClientRect();
            if (box.bottom <= Math.min(low, innerHeight) + 0.5 && box.right <= innerWidth)
                tops.set(Math.round(box.top), (tops.get(Math.round(box.top)) ?? 0) + 1);
        }
        return {rows: [...tops.values()], columns: descry.page.grid.columns, first: Math.min(...tops.keys())};
    }""")
    assert seen["rows"], "no lead is wholly in view"
    assert seen["rows"][0] == seen["columns"]
    assert seen["first"] - (bar["y"] + bar["height"]) <= 12, "nothing stands between the bar and the leads"
    page.click(".tool.about")
    assert page.evaluate(IN_VIEW, ".banner")
    assert "not identifications" in page.inner_text(".said")
    page.keyboard.press("Escape")
    assert not page.locator(".banner").is_visible()


def test_forced_colours_keep_what_tells_parts_and_pressed_buttons_apart(chromium, live):
    tab = Tab(chromium, live, forced_colors="active")
    page = tab.start()
    results(page)
    page.evaluate("descry.page.mark(descry.page.leads[0].item.id, 'like')")
    style = "(s, p) => getComputedStyle(document.querySelector(s))[p]"

    def of(selector: str, name: str) -> str:
        return page.evaluate(f"([s, p]) => ({style})(s, p)", [selector, name])

    parts = [of(f".legend .p{i}", "backgroundColor") for i in range(2)]
    assert len({*parts, of("body", "backgroundColor")}) == 3
    page.evaluate("descry.page.mark(descry.page.leads[1].item.id, 'unlike')")
    page.evaluate("document.activeElement.blur()")
    pen, eraser = ".tools [aria-label^=Pen]", ".tools [aria-label^=Eraser]"
    like, unlike = ".tile.{} .act.like", ".tile.{} .act.unlike"
    for tool, pressed, other in (
        ("pen", pen, eraser),
        ("eraser", eraser, pen),
        ("pen", like.format("like"), unlike.format("like")),
        ("pen", unlike.format("unlike"), like.format("unlike")),
    ):
        page.evaluate(f"descry.page.query.pick('{tool}')")
        assert (of(pressed, "outlineStyle"), of(other, "outlineStyle")) == ("solid", "none"), pressed
    page.locator(".tile .picture").first.click()
    page.wait_for_selector("dialog .bars .part")
    bars = page.evaluate(
        "[...document.querySelectorAll('dialog .bars .part')].map((b) => getComputedStyle(b).backgroundColor)"
    )
    assert len(set(bars)) >= 2
    assert of("dialog", "backgroundColor") not in bars
    page.keyboard.press("Escape")
    swatches = {of(f".swatch[data-value={name}]", "backgroundColor") for name in ("red", "green", "black")}
    assert len(swatches) == 3
    tab.close()


def test_leads_that_are_older_than_the_query_say_so(page):
    results(page)
    assert not page.locator(".pending").is_visible()
    page.locator(".chip .sign").first.click()
    assert "older than the query" in page.inner_text(".pending")
    assert page.evaluate(IN_VIEW, ".pending .primary")
    tapped(page, lambda: page.click(".pending .primary"))
    assert not page.locator(".pending").is_visible()


def test_sixteen_parts_have_sixteen_colours(page):
    colours = page.evaluate("""() => [...Array(16).keys()].map((i) => {
        const part = document.createElement('i');
        part.className = `part p${i}`;
        document.body.append(part);
        return getComputedStyle(part).backgroundColor;
    })""")
    assert len(set(colours)) == 16


def test_what_stands_above_the_line_is_what_was_counted(page):
    results(page)
    last = page.evaluate("descry.page.leads.at(-1).item.id")
    page.evaluate(f"descry.page.mark({last}, 'like')")
    tapped(page, lambda: page.click(".pending .primary"))
    page.evaluate("""() => {  // at the first level that some of the leads shown pass and others do not
        descry.page.grid.grouped = false;
        const shown = (row) => descry.page.leads.filter((l) => l.score > row.score).length;
        const between = (row) => row.above > 0 && shown(row) < descry.page.leads.length - 1;
        descry.page.drawLine(descry.page.round.levels.findIndex(between));
    }""")
    counted = page.evaluate("""() => {
        const { entries, state } = descry.page.grid;
        const line = entries.findIndex((e) => e.line);
        const before = entries.slice(0, line).filter((e) => e.lead);
        return [line, before.filter((e) => e.lead.score > state.line).length, state.above,
                before.filter((e) => e.lead.score <= state.line && !state.liked.has(e.lead.item.id)).length];
    }""")
    assert counted[0] > 0
    assert counted[1] == counted[2]
    assert counted[3] == 0
