"""Journeys 12 and 16: compare, find, report; the token expires; and an inquiry that is purged is gone."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from descry.gallery.account import Audit
from descry.interact.store import InquiryStore

from .deeds import circle, say, settled, tapped
from .test_indexing import photos
from .test_journeys import payloads


def judged(page: Any, verdict: str, note: str) -> None:
    """Fill the form of the finding dialog on top."""
    form = page.locator("dialog.judging form")
    form.locator(f"label:has-text('{verdict}')").click()
    form.locator("textarea").fill(note)
    form.locator("button.primary").click()
    page.wait_for_selector("dialog.judging", state="detached")


def reported(page: Any) -> None:
    page.click("button:has-text('Report, retention')")
    page.wait_for_selector(".reporting .holds li:has-text('digests')")


def exported(page: Any, tmp_path: Path, label: str) -> tuple[Path, str]:
    """Download a report: the file, and the head that the page shows."""
    page.click(f".export label:has-text('{label}')")
    page.evaluate("document.querySelector('.export .head').replaceChildren()")
    with page.expect_download() as coming:
        page.click(".export button.primary")
    target = tmp_path / coming.value.suggested_filename
    coming.value.save_as(target)
    page.wait_for_selector(".head code")
    return target, page.locator(".head code").inner_text()


def test_compare_find_and_a_report_that_lists_both(page, tab, live, tmp_path):
    circle(page)
    made = say(page, "red jacket, no backpack")
    first, second = made["ids"][:2]
    page.locator(".tile .picture").first.focus()
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.click(".tray .primary")
    page.click(".compare [aria-label='Finding: 1']")
    judged(page, "Worth following", "same bag <script>alert(1)</script>")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.locator(f"[data-id='{second}'] .picture").focus()
    page.keyboard.press("f")
    judged(page, "Set aside", "=HYPERLINK(1)")
    assert page.locator(".sign-of.follow").count() == 1
    assert page.locator(".sign-of.aside").count() == 1
    lines = page.locator(".findings .judgement").all_inner_texts()
    assert [("Worth following" in line, "Set aside" in line) for line in lines] == [(True, False), (False, True)]
    assert "same bag <script>" in lines[0]
    reported(page)
    holds = page.locator(".reporting .holds").inner_text()
    assert "Search leads, not an identification" in holds
    assert "2 findings: 1 worth following, 1 set aside" in holds
    html, head = exported(page, tmp_path, "HTML")
    assert (head.split(":")[0].isdigit(), head) == (True, Audit(live.folder).head())
    shown = tab.context.new_page()
    asked: list[str] = []
    shown.on("request", lambda r: asked.append(r.url))
    shown.on("dialog", lambda d: asked.append(d.message))
    shown.goto(html.as_uri())
    text = shown.locator("body").inner_text()
    for wanted in ("Search leads, not an identification", "same bag <script>alert(1)</script>", "=HYPERLINK(1)"):
        assert wanted in text
    assert all(url.startswith(("file:", "data:")) for url in asked), asked
    shown.close()
    data = json.loads(exported(page, tmp_path, "JSON")[0].read_text())
    assert {f["item"]: f["verdict"] for f in data["findings"]} == {first: "worth following", second: "set aside"}
    table, head = exported(page, tmp_path, "CSV")
    cells = [cell for row in csv.reader(io.StringIO(table.read_text())) for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert Audit(live.folder).verify(head).ok


def test_a_finding_is_changed_taken_back_and_outlives_the_server(page, tab, live):
    made = say(page, "red jacket")
    page.evaluate("descry.page.grid.actions.open(descry.page.leads[0])")
    page.click("dialog button:has-text('Finding')")
    page.click(".judged-here button.primary")
    assert page.evaluate("document.querySelector('.judge input').validity.valueMissing")
    page.click(".judged-here label:has-text('Set aside')")
    page.fill(".judged-here textarea", "too tall")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".judgement .badge.aside")
    page.keyboard.press("Escape")
    live.stop()
    live.start()
    tab.start(live.address)
    settled(page)
    page.wait_for_selector(".judgement:has-text('too tall')")
    assert page.locator(f"[data-id='{made['ids'][0]}'] .sign-of.aside").count() == 1
    page.click(".judgement")
    judged(page, "Worth following", "taller on a second look")
    assert page.locator(".judgement .badge.follow").count() == 1
    page.click(".judgement")
    page.click("dialog button:has-text('Take back')")
    page.wait_for_selector(".findings .note")
    assert page.locator(".sign-of").count() == 0
    tab.wrong.clear()  # of the time without a server


def test_a_purged_inquiry_leaves_nothing_but_the_account(page, tab, live):
    page.fill("#text", "zebra umbrella")
    circle(page)
    tapped(page, lambda: page.press("#text", "Enter"))
    page.keyboard.press("Escape")
    page.locator(".tile .picture").first.focus()
    page.keyboard.press("f")
    judged(page, "Worth following", "quagga note")
    name = page.evaluate("descry.page.inquiry.name")
    asset = page.evaluate("descry.page.round.query.sketches[0].sha256")
    whole = b"".join(p.read_bytes() for p in live.folder.iterdir() if p.is_file())
    assert b"quagga note" in whole
    page.click("[aria-label='Purge this inquiry']")
    page.wait_for_selector("dialog.purging")
    said = page.locator("dialog.purging").inner_text()
    for wanted in (name, "1 round", "1 sketch or picture", "1 finding", "cannot be brought back", "This stays"):
        assert wanted in said, wanted
    assert page.evaluate("document.activeElement.textContent") == "Keep it"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("fetch('/api/v1/inquiries').then(r => r.json()).then(i => i.inquiries.length)") == 1
    page.click("[aria-label='Purge this inquiry']")
    page.click("dialog.purging button.danger")
    page.wait_for_selector(".toast:has-text('is gone')")
    assert page.locator("#topbar select option").all_inner_texts() == ["New inquiry"]
    assert page.locator(".findings .note").count() == 1
    whole = b"".join(p.read_bytes() for p in live.folder.iterdir() if p.is_file())
    for gone in (b"zebra", b"quagga", asset.encode(), bytes.fromhex(asset), name.encode()):
        assert gone not in whole, gone
    assert Audit(live.folder).verify().ok
    kept = page.evaluate(
        "new Promise(done => { const o = indexedDB.open('descry'); o.onsuccess = () => {"
        "const a = o.result.transaction('kept').objectStore('kept').getAllKeys();"
        "a.onsuccess = () => done(a.result); } })"
    )
    assert not [key for key in kept if asset in key]
    assert page.evaluate(f"fetch('/api/v1/assets/{asset}').then(r => r.status)") == 404
    tab.wrong.clear()  # Chromium writes the 404 that was asked for into its console


def test_a_last_day_is_set_and_said_when_it_is_over(page, tab, live):
    say(page, "red jacket")
    name = page.evaluate("descry.page.inquiry.name")
    reported(page)
    later = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    page.fill(".reporting input[type=date]", later)
    page.locator(".reporting input[type=date]").blur()
    page.wait_for_function("day => descry.page.inquiry.keep_until === day", arg=later)
    store = InquiryStore(live.folder)
    assert store.about(name).keep_until == later
    store.close()
    page.fill(".reporting input[type=date]", "2020-01-31")
    page.locator(".reporting input[type=date]").blur()
    page.wait_for_selector(".reporting .warn:has-text('is over')")
    page.keyboard.press("Escape")
    page.reload()
    page.wait_for_selector(".found-pane .warn:has-text('is over')")
    assert f"{name} (past its last day)" in page.locator("#topbar select").inner_text()
    reported(page)
    page.click("button:has-text('No day')")
    page.wait_for_function("() => descry.page.inquiry.keep_until === ''")
    page.wait_for_selector(".found-pane .warn", state="hidden")


def test_an_expired_token_loses_neither_the_note_nor_the_report(page, tab, live, tmp_path):
    say(page, "red jacket")
    page.locator(".tile .picture").first.focus()
    page.keyboard.press("f")
    page.click("dialog.judging label:has-text('Worth following')")
    page.fill("dialog.judging textarea", "written before it expired")
    tab.context.clear_cookies()
    page.click("dialog.judging button.primary")
    page.wait_for_selector("dialog.login")
    page.fill("dialog.login input", live.link)
    page.click("dialog.login button.primary")
    page.wait_for_selector(".judgement:has-text('written before it expired')")
    reported(page)
    tab.context.clear_cookies()
    with page.expect_download():
        page.click(".export button.primary")
        page.fill("dialog.login input", live.link)
        page.click("dialog.login button.primary")
    tab.wrong.clear()  # Chromium writes every 401 into its console


def test_findings_and_the_report_without_a_pointer(page):
    say(page, "red jacket")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("f")
    page.wait_for_selector("dialog.judging")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("by keyboard, flu")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".judgement:has-text('by keyboard, flu')")
    assert page.evaluate("document.activeElement.className") == "picture", "focus comes back to the lead"
    page.focus("button:has-text('Report, retention')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".reporting")
    with page.expect_download():
        page.focus(".export button.primary")
        page.keyboard.press("Enter")


def test_a_purge_that_was_interrupted_is_finished_from_the_page(page, tab, live, monkeypatch):
    from descry import purge
    from descry.gallery.database import Database

    say(page, "zebra umbrella")

    def dies(*args: Any) -> None:
        raise OSError("the disk went away")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "scrub", dies)
        page.click("[aria-label='Purge this inquiry']")
        page.click("dialog.purging button.danger")
        page.wait_for_function("() => document.querySelector('dialog.purging .warn').textContent")
    assert purge.pending(live.folder)
    page.keyboard.press("Escape")
    page.reload()
    page.click("dialog button:has-text('Finish the purge')")
    page.wait_for_selector(".toast:has-text('finished')")
    assert not purge.pending(live.folder)
    assert not any(b"zebra" in p.read_bytes() for p in live.folder.iterdir() if p.is_file())
    tab.wrong.clear()  # the refusal that was asked for


def test_notes_and_folders_of_hostile_words_are_text(page, tab, live, tmp_path):
    opened: list[str] = []
    page.on("dialog", lambda d: (opened.append(d.message), d.dismiss()))
    say(page, "red jacket")
    page.evaluate(
        "async notes => { for (const [i, note] of notes.entries()) await fetch("
        "`/api/v1/inquiries/${descry.page.inquiry.id}/findings/${i % 72 + 1}`, {method: 'PUT', "
        "headers: {'Content-Type': 'application/json'}, body: JSON.stringify({verdict: 'set aside', note})}); }",
        payloads()[:72],
    )
    for i, row in enumerate(payloads()[72:]):
        (tmp_path / "photos" / f"{i} {row}".replace("/", "∕")[:100]).mkdir()
    photos(tmp_path / "photos" / "<img src=x onerror=alert(1)>", good=3, bad=2)
    page.evaluate("descry.page.findings.load()")
    page.wait_for_function("() => document.querySelectorAll('.judgement').length === 72")
    page.locator(".judgement").first.click()
    page.keyboard.press("Escape")
    page.evaluate("descry.page.indexing.open()")
    page.click(".entry:has-text('<img src=x onerror=alert(1)>')")
    page.wait_for_selector(".crumbs b:has-text('<img src=x')")
    page.wait_for_selector(".seen table")
    page.click("dialog button.primary:has-text('Index')")
    page.wait_for_selector(".skips tbody tr:has-text('<img src=x')")
    strange = "script, iframe, svg[onload], [onerror], [onfocus], [ontoggle], link, style"
    assert page.locator("body").locator(strange).count() == 0
    assert opened == []
