"""The journeys of a searcher, in Chromium."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from served import make_gallery

from .conftest import Tab
from .deeds import circle, ids, say, settled, strokes, tapped
from .live import Live


def test_from_the_example_to_leads(page):
    page.click(".example")
    made = tapped(page, lambda: page.click(".foot .primary"))
    assert len(made["ids"]) == 50
    page.click(".tool.about")
    assert page.locator(".banner").is_visible()
    assert "does not identify" in page.locator(".banner").inner_text()
    assert page.locator(".tile").count() > 5


def test_draw_with_the_mouse_undo_redo_erase_and_search(page):
    page.select_option(".sliders select", "front")
    circle(page)
    circle(page, cy=0.5)
    assert len(strokes(page)) == 2
    page.keyboard.press("Control+z")
    assert len(strokes(page)) == 1
    page.keyboard.press("Control+Shift+Z")
    page.keyboard.press("e")
    box = page.locator("canvas.board").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.62, box["y"] + box["height"] * 0.2)
    assert len(strokes(page)) == 1, "the eraser takes the stroke it touches"
    assert tapped(page, lambda: page.click(".foot .primary"))["number"] == 1
    drawn = page.evaluate(
        "descry.page.query.board.export().then(b => b.arrayBuffer()).then(a => [...new Uint8Array(a)])"
    )
    pixels = np.asarray(Image.open(io.BytesIO(bytes(drawn))).convert("L"))
    assert pixels.shape == (1024, 512)
    assert 200 < (pixels < 250).sum() < 20_000, "one circle, and nothing of the silhouette"
    assert (pixels[700:] == 255).all()


def test_a_pen_presses_and_a_finger_draws(tab):
    page = tab.start()
    box = page.locator("canvas.board").bounding_box()
    wire = tab.context.new_cdp_session(page)
    for i, force in enumerate((0.1, 0.5, 1.0)):
        x, y = box["x"] + 60 + 20 * i, box["y"] + 100
        kind = "mousePressed" if i == 0 else "mouseMoved"
        wire.send(
            "Input.dispatchMouseEvent",
            {
                "type": kind,
                "x": x,
                "y": y,
                "button": "left",
                "buttons": 1,
                "force": force,
                "pointerType": "pen",
                "clickCount": 1,
            },
        )
    wire.send(
        "Input.dispatchMouseEvent",
        {"type": "mouseReleased", "x": x, "y": y, "button": "left", "pointerType": "pen", "clickCount": 1},
    )
    press = [p[2] for p in strokes(page)[0]["points"]]
    assert press == sorted(press)
    assert press[-1] > press[0] + 0.5
    wire.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for kind, points in (
        ("touchStart", [(80, 200)]),
        ("touchMove", [(120, 260)]),
        ("touchMove", [(140, 300)]),
        ("touchEnd", []),
    ):
        at = [{"x": box["x"] + x, "y": box["y"] + y} for x, y in points]
        wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    page.wait_for_function("() => descry.page.query.board.strokes.length === 2")


def test_search_as_i_draw_keeps_one_round(page):
    page.check("text=Search as I draw")
    tapped(page, lambda: circle(page))
    tapped(page, lambda: circle(page, cy=0.6))
    assert page.locator(".step").count() == 1


def test_words_become_chips_that_are_flipped_weighed_and_switched(page):
    first = say(page, "red jacket, no backpack")
    assert page.locator(".chip").count() == 2
    assert page.locator(".chip.not").inner_text().split() == ["NOT", "backpack"]
    page.locator(".chip .sign").first.click()
    page.locator(".chip .weight").nth(1).fill("2")
    second = tapped(page, lambda: page.click(".foot .primary"))
    assert page.evaluate("descry.page.round.query.unwanted.map(p => [p.text, p.weight])") == [
        ["red jacket", 1],
        ["backpack", 2],
    ]
    assert second["ids"] != first["ids"]
    page.locator(".chip .text").first.click()
    assert page.locator(".chip.off").count() == 1
    page.fill("#text", "a blue jacket")
    page.locator(".chip .sign").first.click()
    page.locator(".chip .text").first.click()
    page.click("[aria-label=Add]")
    page.wait_for_selector(".clash .ask")
    page.click("text=Replace")
    texts = page.evaluate("descry.page.query.phrases.map(p => p.text)")
    assert "red jacket" not in texts
    assert "blue jacket" in texts


def test_pictures_by_file_drop_and_paste(page, drawn):
    sketch = sorted((drawn / "people" / "sketches").iterdir())[1]
    page.set_input_files("input[type=file]", str(sketch))
    page.wait_for_selector(".card")
    data = base64.b64encode(sketch.read_bytes()).decode()
    give = """([data, kind]) => {
        const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([bytes.slice(0, bytes.length - (kind === 'drop' ? 0 : 12))], 'x.png', {type:
        'image/png'}));
        const event = kind === 'drop' ? new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true})
                                      : new ClipboardEvent('paste', {clipboardData: files, bubbles: true});
        document.querySelector('.paper').dispatchEvent(event);
    }"""
    other = sorted((drawn / "people" / "sketches").iterdir())[2]
    page.evaluate(give, [base64.b64encode(other.read_bytes()).decode(), "drop"])
    page.wait_for_function("() => document.querySelectorAll('.card').length === 2")
    third = sorted((drawn / "people" / "sketches").iterdir())[3]
    data = base64.b64encode(third.read_bytes()).decode()
    page.evaluate(give.replace("- (kind === 'drop' ? 0 : 12)", ""), [data, "paste"])
    page.wait_for_function("() => document.querySelectorAll('.card').length === 3")
    page.locator(".card button.plain").first.click()
    tapped(page, lambda: page.click(".foot .primary"))
    query = page.evaluate("descry.page.round.query")
    assert (len(query["sketches"]), len(query["photos"])) == (2, 1)


def test_pictures_beyond_the_limit_of_a_query_are_refused_with_the_number(page, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(9)]
    for i, file in enumerate(files):
        Image.new("RGB", (60, 120), (20 * i, 40, 40)).save(file)
    most = page.evaluate("descry.page.query.limits.pictures") - 1
    page.set_input_files("input[type=file]", files[:most])
    page.wait_for_function(f"() => document.querySelectorAll('.card').length === {most}")
    assert page.locator(".toast.warn").count() == 0
    page.set_input_files("input[type=file]", files[most:])
    page.wait_for_selector(".toast.warn")
    assert f"at most {most} pictures beside the drawing" in page.inner_text(".toast.warn")
    assert page.locator(".card").count() == most
    page.locator(".card [aria-label^=Remove]").first.click()
    page.set_input_files("input[type=file]", files[-1])
    page.wait_for_function(f"() => document.querySelectorAll('.card').length === {most}")
    assert page.locator(".toast.warn").count() == 0


def test_a_picture_that_is_none_is_refused_with_the_reason(page, tab, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("not a picture")
    page.set_input_files("input[type=file]", str(bad))
    page.wait_for_selector(".toast.warn")
    assert "PNG" in page.locator(".toast").inner_text()
    tab.wrong.clear()  # Chromium writes every refused request into its console


def test_marks_rounds_undo_and_branch_by_keyboard(page):
    first = say(page, "red jacket")
    page.locator(".tile .picture").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("l")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("u")
    assert page.locator(".pending").is_visible()
    second = tapped(page, lambda: page.keyboard.press("Enter"))
    assert second["ids"][0] == first["ids"][1]
    assert first["ids"][2] not in second["ids"]
    page.locator(".tile .picture").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("l")
    third = tapped(page, lambda: page.keyboard.press("Enter"))
    page.locator("h1").click()
    back = tapped(page, lambda: page.keyboard.press("["))
    assert back["ids"] == second["ids"]
    again = tapped(page, lambda: page.keyboard.press("["))
    assert again["ids"] == first["ids"]
    forth = tapped(page, lambda: page.keyboard.press("]"))
    assert forth["ids"] == second["ids"]
    tapped(page, lambda: page.keyboard.press("["))
    branch = say(page, "no hat")
    assert branch["number"] == 4
    assert third["number"] == 3
    depths = page.evaluate("descry.page.inquiry.rounds.map(r => [r.number, r.depth])")
    assert depths == [[1, 0], [2, 1], [3, 2], [4, 1]]


def test_marks_and_a_branch_by_mouse(page):
    first = say(page, "red jacket")
    for n, act in ((1, "like"), (2, "unlike")):
        page.locator(".tile").nth(n).hover()
        page.locator(".tile").nth(n).locator(f".act.{act}").click()
    second = tapped(page, lambda: page.click(".pending .primary"))
    assert second["ids"][0] == first["ids"][1]
    assert first["ids"][2] not in second["ids"]
    assert tapped(page, lambda: page.locator(".step").first.click())["ids"] == first["ids"]
    assert say(page, "no hat")["number"] == 3
    assert page.evaluate("descry.page.inquiry.rounds.map(r => r.parent)") == [0, 1, 1]


def test_filters_narrow_down_and_explain_an_empty_list(page):
    say(page, "red jacket")
    tapped(page, lambda: page.locator(".cameras label", has_text="north gate").locator("input").check())
    assert "24 of 72" in page.locator(".bar-tools .count").inner_text()
    since = page.locator("input[type=datetime-local]").first
    tapped(page, lambda: (since.fill("2027-01-01T00:00"), since.blur()))
    text = page.locator(".empty").inner_text()
    assert "Nothing passes the filters" in text
    assert "From: excludes 72" in text
    tapped(page, lambda: page.locator(".empty li", has_text="From").locator("button").click())
    assert page.locator(".tile").count() > 0


def test_nothing_is_lost_when_the_server_stops_or_the_tab_crashes(page, tab, live):
    circle(page)
    made = say(page, "red jacket")
    page.fill("#text", "and a hat")
    circle(page, cy=0.6)
    live.stop()
    page.click("[aria-label=Add]")
    page.wait_for_selector(".gone-banner")
    assert page.input_value("#text") == "and a hat"
    live.start()
    page.wait_for_selector(".gone-banner", state="detached")
    page.close()
    tab.wrong.clear()  # of the time without a server
    tab.open()
    page = tab.start(live.address)
    settled(page)
    assert ids(page) == made["ids"]
    assert page.input_value("#text") == "and a hat"
    assert len(strokes(page)) == 2
    again = tapped(page, lambda: page.press("#text", "Enter"))
    assert again["number"] == 2


def test_an_expired_token_asks_for_the_link_over_the_page(page, tab, live):
    say(page, "red jacket")
    page.fill("#text", "a hat")
    tab.context.clear_cookies()
    page.press("#text", "Enter")
    page.wait_for_selector("dialog.login")
    page.fill("dialog.login input", "wrong")
    page.click("dialog.login button.primary")
    page.wait_for_function("() => document.querySelector('.login .warn').textContent")
    page.fill("dialog.login input", live.link)
    tapped(page, lambda: page.click("dialog.login button.primary"))
    assert "hat" in page.evaluate("descry.page.query.phrases.map(p => p.text).join()")
    tab.wrong.clear()  # Chromium writes every 401 into its console


def test_the_whole_task_without_a_pointer(page):
    page.keyboard.press("/")
    page.keyboard.type("red jacket, no hat")
    first = tapped(page, lambda: page.keyboard.press("Enter"))
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    page.wait_for_selector("dialog .why table")
    page.keyboard.press("l")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.className") == "picture", "focus comes back to the lead"
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    assert page.locator(".tray img").count() == 2
    second = tapped(page, lambda: page.keyboard.press("Enter"))
    assert second["ids"][0] == first["ids"][1]
    page.locator(".tile .picture").first.focus()
    tapped(page, lambda: page.keyboard.press("k"))
    page.keyboard.press("?")
    page.wait_for_selector("dialog.help")
    page.uncheck("text=Single-letter keys")
    page.keyboard.press("Escape")
    page.locator(".tile .picture").first.focus()
    page.keyboard.press("u")
    assert not page.locator(".pending").is_visible()


def test_the_whole_task_without_dragging(page):
    page.click(".example")
    page.fill("#text", "red jacket")
    tapped(page, lambda: page.click(".foot .primary"))
    page.hover(".tile >> nth=3")
    page.locator(".act.like").nth(3).click()
    made = tapped(page, lambda: page.click(".pending .primary"))
    page.wait_for_selector(".ask .question")
    tapped(page, lambda: page.click(".ask button >> text=No"))
    tapped(page, lambda: page.locator(".step").first.click())
    tapped(page, lambda: page.locator(".step").nth(1).click())
    assert ids(page) == made["ids"]


def test_comparing_and_looking_closely(page):
    say(page, "red jacket, no hat")
    for n in range(3):
        page.locator(".tile .picture").nth(n).focus()
        page.keyboard.press("c")
    page.click(".tray .primary")
    assert page.locator(".compare figure").count() == 3
    page.wait_for_function(
        "() => [...document.querySelectorAll('.frame img')].every(i => i.complete && i.naturalWidth)"
    )
    page.locator(".zoom input").fill("3")
    frames = page.locator(".frame")
    frames.first.evaluate("f => f.scrollTo(40, 60)")
    page.wait_for_function("() => [...document.querySelectorAll('.frame')].every(f => f.scrollTop === 60)")
    page.keyboard.press("Escape")
    page.locator(".tile .picture").nth(1).click()
    page.wait_for_selector(".why tbody tr")
    assert page.locator(".shelf img").count() > 4
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('dialog h2')?.textContent === 'Lead 3'")


def test_three_leads_are_compared_in_four_clicks(page):
    say(page, "red jacket, no hat")
    for n in range(3):
        page.locator(".tile").nth(n).hover()
        page.locator(".tile").nth(n).locator(".act.compare").click()
    assert page.locator(".tile .act.compare[aria-pressed=true]").count() == 3
    page.click(".tray .primary")
    assert page.locator(".compare figure").count() == 3
    page.keyboard.press("Escape")
    page.click(".tray button.plain")
    assert page.evaluate("descry.page.tray.length") == 0
    assert page.locator(".tile .act.compare[aria-pressed=true]").count() == 0


def test_each_lead_shows_which_phrases_fit(page):
    say(page, "red jacket, no hat")
    page.wait_for_selector(".tile .fits")
    signs = page.locator(".tile .fits").first.inner_text().split()
    assert len([s for s in signs if s in "✓–✗"]) == 2
    known = page.evaluate("descry.page.fitsOf(descry.page.leads[0].item.id)")
    assert [k["phrase"] for k in known] == ["red jacket", "NOT hat"]
    page.locator(".tile .picture").first.click()
    said = page.locator("dialog .fit").inner_text()
    assert all(k["phrase"] in said for k in known)


def test_the_focus_stays_with_the_leads(page):
    say(page, "red jacket")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("l")
    tapped(page, lambda: page.keyboard.press("Enter"))
    assert page.evaluate("document.activeElement.className") == "picture"
    page.keyboard.press("Tab")
    assert "like" in page.evaluate("document.activeElement.className"), "marks can be reached without letters"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    page.click("dialog button:has-text('Finding')")
    page.click(".judged-here label:has-text('Set aside')")
    page.click(".judged-here button.primary")
    page.wait_for_selector(".judgement")
    assert page.evaluate("!!document.activeElement.closest('dialog .row')")


def test_the_gallery_grows_while_one_searches(page, live, tmp_path):
    made = say(page, "red jacket")
    more = tmp_path / "more"
    more.mkdir()
    for i in range(5):
        Image.new("RGB", (40, 80), (40 * i, 30, 30)).save(more / f"{i}.png")
    live.gallery.index(more)
    page.evaluate("descry.page.open(descry.page.inquiry.id)")
    page.wait_for_function("() => document.querySelector('.said').textContent.includes('has changed')")
    assert ids(page) == made["ids"]
    say(page, "no hat")
    assert "77" in page.locator(".bar-tools .count").inner_text()


def test_hostile_names_are_only_text(page, tab):
    opened = []
    page.on("dialog", lambda d: (opened.append(d.message), d.dismiss()))
    nasty = "<img src=x onerror=alert(1)> jacket"
    page.fill("#text", nasty)
    tapped(page, lambda: page.press("#text", "Enter"))
    page.evaluate(
        "descry.page.query.phrases = [{text: '<script>alert(2)</script>', wanted: true, weight: 1, on: true}];"
        "descry.page.query.changed()"
    )
    tapped(page, lambda: page.click(".foot .primary"))
    names = page.evaluate("""async () => {
        const rows = (await (await fetch('/api/v1/galleries/gallery/items?limit=200')).json()).items;
        return rows.filter(i => !i.name.startsWith('crop')).map(i => [i.id, i.name]);
    }""")
    assert len(names) == 6
    for number, name in names:
        lead = page.evaluate(f"descry.page.leads.find(l => l.item.id === {number}) ?? null")
        if lead:
            page.evaluate(f"descry.page.grid.actions.open(descry.page.leads.find(l => l.item.id === {number}))")
            page.wait_for_selector("dialog dd")
            assert name in page.locator("dialog dl").inner_text()
            page.keyboard.press("Escape")
            page.wait_for_selector("dialog", state="detached")
    assert opened == []
    assert page.locator("#app script, #app img[onerror]").count() == 0


def payloads() -> list[str]:
    """104 ways in which a name has run as code somewhere."""
    script = ["alert({n})", "confirm({n})", "eval('alert({n})')", "window.open('//evil.com/{n}')"]
    wrap = ["<script>{s}</script>", "<img src=x onerror={s}>", "<svg onload={s}>", '"><script>{s}</script>', "'-{s}-'"]
    wrap += [
        "javascript:{s}",
        "</textarea><script>{s}</script>",
        "<iframe srcdoc='<script>{s}</script>'>",
        "{{{{{s}}}}}",
    ]
    wrap += ["${{{s}}}", "<a href='javascript:{s}'>x</a>", "<details open ontoggle={s}>", "--><script>{s}</script>"]
    wrap += ["<input autofocus onfocus={s}>", "<math><mi xlink:href='javascript:{s}'>", "';{s}//", '";{s}//', "`;{s}//"]
    wrap += [
        "<style>@import'//evil.com'</style>{s}",
        "<link rel=stylesheet href=//evil.com>{s}",
        "\u2028{s}",
        "%3Cscript%3E{s}",
    ]
    wrap += [
        "&lt;script&gt;{s}&lt;/script&gt;",
        "<body onload={s}>",
        "<base href=//evil.com>{s}",
        "]]><script>{s}</script>",
    ]
    return [w.format(s=s.format(n=i)) for i, w in enumerate(wrap) for s in script]


def test_a_hundred_payloads_run_nowhere(chromium, tmp_path):
    rows = payloads()
    assert len(rows) >= 100
    names = {i: row.replace("/", "∕")[:120] + ".jpg" for i, row in enumerate(rows)}
    make_gallery(tmp_path, people=52, photos=2, names=names, cameras=rows).close()
    live = Live(tmp_path / "gallery")
    tab = Tab(chromium, live)
    page = tab.start()
    opened = []
    page.on("dialog", lambda d: (opened.append(d.message), d.dismiss()))
    say(page, "red jacket")
    assert page.locator(".cameras .name").all_inner_texts().__len__() == len({r.strip() for r in rows})
    for start in range(0, len(rows), 32):
        page.evaluate(
            "rows => { const q = descry.page.query;"
            "q.phrases = rows.map(text => ({text, wanted: true, weight: 1, on: true, cut: text, unknown: [text]}));"
            "q.changed(); }",
            rows[start : start + 32],
        )
        tapped(page, lambda: page.click(".foot .primary"))
        page.evaluate("descry.page.grid.actions.open(descry.page.leads[7])")
        page.wait_for_selector("dialog .why table")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
    strange = "script, iframe, svg[onload], [onerror], [onfocus], [ontoggle], link, style"
    assert page.locator("#app").locator(strange).count() == 0
    assert opened == []
    assert tab.wrong == []
    tab.close()
    live.stop()


@pytest.mark.long
def test_two_thousand_leads_scroll_like_fifty(chromium, tmp_path):
    from descry.gallery import Gallery
    from served import toy_model

    crops = tmp_path / "crops"
    crops.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2100):
        Image.fromarray(rng.integers(0, 255, (8, 4, 3), dtype=np.uint8)).resize((32, 64)).save(crops / f"{i:04d}.jpg")
    gallery = Gallery.create(tmp_path / "gallery", toy_model())
    gallery.index(crops)
    gallery.close()
    live = Live(tmp_path / "gallery")
    tab = Tab(chromium, live)
    page = tab.start()
    say(page, "red jacket")
    for _ in range(60):
        page.evaluate("descry.page.grid.node.scrollTop = 1e9")
        time.sleep(0.05)
        if page.evaluate("descry.page.leads.length") == 2000:
            break
    assert page.evaluate("descry.page.leads.length") == 2000
    assert page.locator(".tile").count() < 120, "only the tiles in view exist"
    assert tab.wrong == []
    tab.close()
    live.stop()


def test_the_page_is_small():
    import gzip

    from descry.web.app import STATIC

    files = [p for p in Path(STATIC).iterdir() if p.suffix in (".js", ".css")]
    assert sum(len(gzip.compress(p.read_bytes())) for p in files) <= 60 * 1024


def test_large_photographs_are_made_smaller_and_told_from_sketches(page, tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (300, 225, 3), dtype=np.uint8)).resize((3000, 4000))
    noise.save(tmp_path / "phone.jpg", quality=97)
    assert (tmp_path / "phone.jpg").stat().st_size > 1_000_000
    page.set_input_files("input[type=file]", str(tmp_path / "phone.jpg"))
    page.wait_for_selector(".card")
    assert page.locator(".card").inner_text().strip() == "Photo"
    size = page.evaluate(
        "(async () => { const i = new Image(); i.src = document.querySelector('.card img').src;"
        " await i.decode(); return [i.naturalWidth, i.naturalHeight]; })()"
    )
    assert size == [1200, 1600]
    drawn = Image.new("RGB", (600, 1200), "white")
    drawn.paste((0, 0, 0), (200, 100, 210, 1000))
    drawn.save(tmp_path / "lines.png")
    page.set_input_files("input[type=file]", str(tmp_path / "lines.png"))
    page.wait_for_function("() => document.querySelectorAll('.card').length === 2")
    assert page.locator(".card").nth(1).inner_text().strip() == "Sketch"


def test_an_inquiry_has_the_name_that_was_written(page):
    page.fill("[aria-label='Name of this inquiry']", "north gate, Tuesday")
    say(page, "red jacket")
    page.wait_for_function(
        "() => document.querySelector('#topbar select').selectedOptions[0].text === 'north gate, Tuesday'"
    )
    page.evaluate("descry.page.fresh()")
    page.wait_for_selector("[aria-label='Name of this inquiry']")
    assert page.input_value("[aria-label='Name of this inquiry']") == ""
