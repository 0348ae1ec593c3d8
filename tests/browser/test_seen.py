"""What a searcher sees, at the sizes that windows have: nothing that must be seen lies outside the window or beneath
something else, and nothing that was done is lost from view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Tab
from .deeds import SEEN, WINDOWS, circle, kept, say, settled, strokes, tapped
from .live import Live

SIZES = [pytest.param(w, id=f"{w[0]}x{w[1]}", marks=[pytest.mark.long] * (w[1] > 400)) for w in WINDOWS]
"""The lowest always; the others, where less can be hidden, with the long tests."""


@pytest.fixture(params=SIZES)
def tab(chromium: Any, live: Live, request: pytest.FixtureRequest) -> Any:
    width, height, scale = request.param
    made = Tab(chromium, live, viewport={"width": width, "height": height}, device_scale_factor=scale)
    yield made
    made.close()
    assert made.wrong == []


def sees(page: Any, selector: str) -> bool:
    """Whether the first of some elements is in the window with nothing over it, once what moves has come to rest and
    the pictures above it have their heights: within ten seconds."""
    page.wait_for_selector(selector, state="attached")
    for _ in range(100):
        page.wait_for_timeout(100)
        if page.locator(selector).first.evaluate(SEEN):
            return True
    return False


def scrolled(page: Any, selector: str) -> None:
    """Scroll to the first of some elements, as a person would who looks for it in its pane."""
    page.locator(selector).first.evaluate("node => node.scrollIntoView({block: 'center'})")


def pane(page: Any, name: str) -> None:
    """Show a pane; where all three are in view, this changes nothing."""
    page.evaluate(f"descry.page.tab('{name}')")


def test_unsent_work_stays_in_view_when_a_question_is_answered(page: Any) -> None:
    say(page, "red jacket")
    pane(page, "query")
    scrolled(page, "canvas.board")
    circle(page)
    assert len(strokes(page)) == 1
    page.fill("#text", "blue jeans")
    page.click("[aria-label=Add]")
    page.wait_for_selector(".chip:has-text('blue jeans')")
    pane(page, "centre")
    page.evaluate("descry.page.mark(descry.page.leads[0].item.id, 'like')")
    assert sees(page, ".pending .primary")
    liked = page.evaluate("descry.page.leads[0].item.id")
    tapped(page, lambda: page.click(".ask button >> text=No"))
    assert sees(page, f".tile[data-id='{liked}'] .picture")
    assert page.locator(f".tile[data-id='{liked}'].like").count() == 1
    pane(page, "query")
    assert len(strokes(page)) == 1
    scrolled(page, "canvas.board")
    assert sees(page, "canvas.board")
    scrolled(page, ".chip:has-text('blue jeans')")
    assert sees(page, ".chip:has-text('blue jeans')")


def test_a_deleted_round_can_be_brought_back_by_what_is_in_view(page: Any) -> None:
    say(page, "red jacket")
    pane(page, "query")
    second = say(page, "hat")
    pane(page, "context")
    page.locator(".history [aria-label^='Delete round 2']").click()
    page.wait_for_function("() => descry.page.round.number === 1")
    assert sees(page, ".offer button")
    tapped(page, lambda: page.click(".offer button"))
    back = page.evaluate("descry.page.leads.map(l => l.item.id)")
    both = min(len(back), len(second["ids"]))  # more leads come where there is room for them
    assert both >= 20
    assert back[:both] == second["ids"][:both]


def test_nothing_of_an_older_inquiry_is_in_view_in_a_new_one(page: Any) -> None:
    say(page, "red jacket")
    page.evaluate("descry.page.compare(descry.page.leads[0]); descry.page.compare(descry.page.leads[1])")
    pane(page, "centre")
    assert sees(page, ".tray .primary")
    page.evaluate("descry.page.grid.node.scrollTop = 400")
    page.evaluate("descry.page.fresh()")
    page.wait_for_function("() => !descry.page.inquiry")
    pane(page, "centre")
    assert sees(page, ".empty h2")
    assert not page.locator(".tray").is_visible()
    assert page.evaluate("descry.page.tray.length") == 0
    assert page.locator(".tile").count() == 0


def test_an_empty_list_says_in_view_which_filter_to_take_away(page: Any) -> None:
    say(page, "red jacket")
    pane(page, "centre")
    page.evaluate("descry.page.grid.node.scrollTop = 400")
    page.evaluate("descry.page.context.set({cameras: ['north gate'], since: '2027-01-01T00:00'}, true)")
    page.wait_for_selector(".empty li", state="attached")
    assert sees(page, ".empty h2")
    assert sees(page, ".empty li button")


def test_cameras_stay_where_they_are_while_they_are_chosen(page: Any) -> None:
    for text in ("red jacket", "hat", "boots", "bag"):
        pane(page, "query")
        say(page, text)
    pane(page, "context")
    scrolled(page, ".cameras input")
    before = page.locator(".cameras").bounding_box()["y"]
    for i in range(2):
        tapped(page, lambda i=i: page.locator(".cameras input").nth(i).check())
        pane(page, "context")
        assert page.locator(".cameras").bounding_box()["y"] == pytest.approx(before, abs=1)
    assert sees(page, ".cameras input:checked")


def test_the_focus_is_on_a_lead_in_view_after_refining_by_keyboard(page: Any) -> None:
    say(page, "red jacket")
    pane(page, "centre")
    page.locator(".tile .picture").first.focus()
    page.keyboard.press("l")
    tapped(page, lambda: page.keyboard.press("Enter"))
    assert sees(page, ".tile .picture:focus")


def test_marks_that_are_not_sent_are_in_view_after_a_reload(page: Any) -> None:
    say(page, "red jacket")
    pane(page, "query")
    scrolled(page, "canvas.board")
    circle(page)
    page.evaluate("descry.page.mark(descry.page.leads[0].item.id, 'like')")
    kept(page)
    page.reload()
    page.wait_for_selector("body[data-ready]", state="attached")
    assert page.evaluate("descry.page.pending.size") == 1
    assert len(strokes(page)) == 1
    pane(page, "centre")
    assert sees(page, ".pending .primary")
    assert sees(page, ".tile.like .picture")


def test_what_another_window_deleted_leaves_the_draft_and_a_reason_in_view(page: Any, tab: Tab) -> None:
    say(page, "red jacket")
    settled(page)
    page.evaluate("fetch(`/api/v1/inquiries/${descry.page.inquiry.id}`, {method: 'DELETE'}).then(() => null)")
    pane(page, "query")
    page.fill("#text", "hat")
    page.press("#text", "Enter")
    page.wait_for_function("() => !descry.page.busy && !descry.page.inquiry")
    assert sees(page, ".toast.warn")
    pane(page, "query")
    scrolled(page, ".chip:has-text('hat')")
    assert sees(page, ".chip:has-text('hat')")
    assert page.evaluate("descry.page.query.phrases.map(p => p.text)") == ["red jacket", "hat"]
    page.evaluate("descry.page.search()")
    settled(page)
    assert page.evaluate("descry.page.round.number") == 1
    tab.wrong.clear()  # Chromium writes the 404 that was asked for into its console


def dropped(page: Any, file: Path, kind: str) -> None:
    """Drop a file on the middle of the leads."""
    page.evaluate(
        """([bytes, name, type]) => {
            const files = new DataTransfer();
            files.items.add(new File([Uint8Array.from(bytes)], name, {type}));
            const box = document.querySelector('#centre').getBoundingClientRect();
            const at = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
            const event = new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true});
            if (at.dispatchEvent(event)) throw new Error('the browser would open the file itself');
        }""",
        [list(file.read_bytes()), file.name, kind],
    )


def test_a_picture_dropped_on_the_leads_is_taken_and_another_file_refused_in_view(page: Any, tmp_path: Path) -> None:
    pane(page, "centre")
    (tmp_path / "list.txt").write_text("no picture")
    dropped(page, tmp_path / "list.txt", "text/plain")
    assert sees(page, ".toast.warn")
    assert "PNG" in page.inner_text(".toast.warn")
    Image.new("RGB", (60, 120), (180, 40, 40)).save(tmp_path / "red.png")
    dropped(page, tmp_path / "red.png", "image/png")
    page.wait_for_selector(".card", state="attached")
    assert page.locator(".toast.warn").count() == 0
    pane(page, "query")
    scrolled(page, ".card")
    assert sees(page, ".card")


def test_the_tour_shows_what_it_speaks_of(page: Any) -> None:
    """Also in a gallery without an example sketch, as `descry serve` has none."""
    page.evaluate("descry.page.tour()")
    for _ in range(5):
        assert sees(page, ".tour .primary")
        lit = page.evaluate("'#' + document.querySelector('.lit').id")
        box = page.locator(lit).bounding_box()
        assert box["width"] > 0
        assert box["height"] > 0
        assert "example" not in page.inner_text(".tour p")
        page.click(".tour .primary")
    assert page.locator(".tour").count() == 0


def test_the_compared_pictures_are_zoomed_about_their_middle_and_moved_by_dragging(page: Any) -> None:
    say(page, "red jacket")
    page.evaluate("descry.page.compare(descry.page.leads[0]); descry.page.compare(descry.page.leads[1])")
    pane(page, "centre")
    page.click(".tray .primary")
    page.wait_for_function("() => [...document.querySelectorAll('.frame img')].every(i => i.naturalWidth)")
    page.locator(".zoom input").fill("3")
    middle = "f => (f.scrollLeft + f.clientWidth / 2) / f.scrollWidth"
    before = page.locator(".frame").first.evaluate(middle)
    assert before == pytest.approx(0.5, abs=0.03)
    assert sees(page, ".frame img")
    box = page.locator(".frame").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + min(box["height"] / 2, 80)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y - 10, steps=4)
    page.mouse.up()
    assert page.locator(".frame").first.evaluate(middle) > before


def test_a_warning_is_in_view_over_a_dialog_too_and_goes_with_the_next_success(page: Any, tmp_path: Path) -> None:
    say(page, "red jacket")
    pane(page, "centre")
    page.locator(".tile .picture").first.click()
    page.wait_for_selector("dialog .shelf figcaption", state="attached")
    (tmp_path / "list.txt").write_text("no picture")
    dropped(page, tmp_path / "list.txt", "text/plain")
    assert sees(page, "dialog .toast.warn")
    covered = page.evaluate(
        """() => {
        const box = (node) => node.getBoundingClientRect();
        const a = box(document.querySelector('.toast.warn'));
        const over = (b) => b.left < a.right && a.left < b.right && b.top < a.bottom && a.top < b.bottom;
        return [...document.querySelectorAll('dialog .shelf figcaption')].filter((c) => over(box(c))).length;
    }"""
    )
    assert covered == 0, "the times of the neighbours can be read"
    Image.new("RGB", (60, 120), (180, 40, 40)).save(tmp_path / "red.png")
    dropped(page, tmp_path / "red.png", "image/png")
    page.wait_for_selector(".card", state="attached")
    assert page.locator(".toast").count() == 0
    page.keyboard.press("Escape")
    pane(page, "query")
    page.fill("#text", "?!")
    page.press("#text", "Enter")
    assert sees(page, ".toast.warn")
    page.fill("#text", "hat")
    page.click("[aria-label=Add]")
    page.wait_for_selector(".chip:has-text('hat')", state="attached")
    assert page.locator(".toast").count() == 0


def test_as_many_leads_stand_above_the_line_as_are_counted(page: Any) -> None:
    say(page, "red jacket")
    pane(page, "centre")
    page.evaluate("descry.page.grid.grouped = false")
    for above in (1, 2):
        page.evaluate(
            """above => {
            const rows = descry.page.round.levels;
            const score = (descry.page.leads[above - 1].score + descry.page.leads[above].score) / 2;
            rows[0] = {score, above: descry.page.leads.filter(l => l.score > score).length};
            descry.page.drawLine(0);
        }""",
            above,
        )
        shown = page.evaluate("descry.page.above")
        said = page.evaluate("descry.page.stand.textContent")
        tiles = page.evaluate("descry.page.grid.entries.findIndex(e => e.line)")
        assert (shown, tiles) == (above, above)
        assert said.split()[0] == str(above)
        assert ("stands out" if above == 1 else "stand out") in said
