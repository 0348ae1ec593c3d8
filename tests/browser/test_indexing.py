"""Journeys 2 and 17: index a folder with bad files and read what was left out; index while searching."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .deeds import ids, say, settled, tapped


def photos(folder: Path, good: int, bad: int = 0, first: int = 0) -> None:
    """Pictures named CAMERA/DATE_TIME_NUMBER.jpg, and files that only look like pictures, in five ways."""
    rng = np.random.default_rng(first)
    for i in range(first, first + good):
        path = folder / f"gate {i % 2 + 1}" / f"20260302_08{i // 60:02d}{i % 60:02d}_{i:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 8, 3), dtype=np.uint8)).resize((32, 64)).save(path)
    whole = next(folder.rglob("*.jpg")).read_bytes()
    for i in range(bad):
        ways = [
            whole[: len(whole) // 2],
            b"",
            b"<svg onload=alert(1)>",
            b"GIF89a" + bytes(20),
            b"\x89PNG\r\n\x1a\n" + bytes(30),
        ]
        (folder / "gate 1" / f"bad <b>{i:02d}.jpg").write_bytes(ways[i % 5])
    for path in folder.rglob("*.*"):
        os.utime(path, (1.7e9, 1.7e9))


SEEN = """node => {
  const box = node.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return node === top || node.contains(top) || top.contains(node);
}"""
"""Whether nothing lies over the middle of an element."""


class Gate:
    """The model waits before each batch of pictures until it is let through; words and sketches pass."""

    def __init__(self, model: Any):
        self.turn, self.real = threading.Semaphore(0), model.embed_pixels
        model.embed_pixels = self.embed

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        if threading.current_thread().name == "index":
            assert self.turn.acquire(timeout=300)
        return self.real(pixels)

    def free(self) -> None:
        for _ in range(1000):
            self.turn.release()


def freed_when_asked_to_stop(job: Any, gate: Gate) -> None:
    while job.want != "stopped":
        time.sleep(0.01)
    gate.free()


@pytest.fixture
def gate(live):
    made = Gate(live.model)
    yield made
    made.free()


def opened(page: Any) -> None:
    page.click("[aria-label='Index a folder']")
    page.wait_for_selector(".indexing .crumbs")


def begun(page: Any) -> None:
    """The index of the folder that the screen opens with is under way."""
    opened(page)
    page.wait_for_selector(".seen table")
    page.click("dialog button.primary:has-text('Index')")


def finished(page: Any) -> None:
    page.wait_for_selector(".job button.primary:has-text('Search the gallery')")


def test_a_folder_with_twenty_bad_files_is_indexed_and_the_list_read(page, live, tmp_path):
    photos(tmp_path / "photos" / "march", good=50, bad=20)
    opened(page)
    page.click(".entry:has-text('march')")
    page.wait_for_selector(".entry:has-text('gate 2')")
    page.select_option(".fields select >> nth=0", "pattern")
    page.select_option(".fields select >> nth=1", "pattern")
    page.wait_for_selector(".seen .warn:has-text('needs {camera}')")
    assert page.locator("button:has-text('Dry run')").is_disabled()
    page.fill(".fields input", "{camera}/{time}_*")
    page.wait_for_selector(".seen table")
    rows = page.locator(".seen tbody tr").all_inner_texts()
    assert any(r.split("\t")[1:3] == ["gate 1", "2026-03-02 08:00:00"] for r in rows)
    page.click("button:has-text('Dry run')")
    page.wait_for_selector(".job .counts dd")
    assert page.locator(".job .counts").inner_text().split() == ["Added", "70"]
    assert page.evaluate("fetch('/api/v1/galleries').then(r => r.json()).then(g => g.galleries[0].items)") == 72
    page.click(".job button.primary")
    finished(page)
    assert "70 of 70 files · 20 skipped" in page.locator(".job .line").inner_text()
    assert page.locator(".job .counts").inner_text().split() == ["Added", "50", "Skipped", "20"]
    assert page.locator("h3:has-text('20 files could not be read')").is_visible()
    left = page.locator(".skips tbody tr")
    assert left.count() == 20
    assert "photos/march/gate 1/bad <b>00.jpg" in left.first.inner_text()
    reasons = {row.split("\t")[1] for row in left.all_inner_texts()}
    assert reasons == {"damaged", "no picture format that is read"}
    page.click("button:has-text('Search the gallery')")
    page.wait_for_selector("dialog", state="detached")
    assert "122 crops in this gallery" in page.locator(".empty").inner_text()
    assert page.locator(".cameras .name").all_inner_texts() == [
        "car park",
        "gate 1",
        "gate 2",
        "north gate",
        "south gate",
    ]
    say(page, "red jacket")
    assert "122 crops ranked" in page.locator(".bar-tools .count").inner_text()


def test_a_folder_that_cannot_be_read_is_said_and_another_can_be_chosen(page, tab, tmp_path, monkeypatch):
    from descry.web import folders

    photos(tmp_path / "photos" / "march", good=2)
    (tmp_path / "photos" / "locked").mkdir()
    listing = folders.entries_of

    def refusing(path, missed):
        if Path(path).name == "locked":  # whoever runs the tests may read everything
            missed.append(folders.Missed(str(path), "unreadable", "Permission denied"))
            return []
        return listing(path, missed)

    monkeypatch.setattr(folders, "entries_of", refusing)
    opened(page)
    with page.expect_response(lambda answer: "/folders?within=" in answer.url) as answer:
        page.click(".entry:has-text('locked')")
    assert answer.value.status == 422
    said = page.locator("dialog .toast", has_text="photos/locked: Permission denied; check its permissions")
    said.wait_for()
    assert said.evaluate(SEEN)
    assert len(tab.wrong) == 1
    tab.wrong.clear()  # Chromium writes the 422 that was asked for into its console
    page.click(".entry:has-text('march')")
    page.wait_for_selector(".entry:has-text('gate 2')")


def test_a_job_goes_on_through_a_reload_and_is_paused_and_gone_on_with(page, tab, live, gate, tmp_path):
    photos(tmp_path / "photos", good=100)
    begun(page)
    gate.turn.release()
    page.wait_for_function("() => descry.page.indexing.job?.done >= 32")
    page.reload()
    page.wait_for_selector("dialog .job progress")
    assert "of 100 files" in page.locator(".job .line").inner_text()
    page.click("button:has-text('Pause')")
    page.wait_for_selector(".job .note:has-text('Pausing')")
    gate.turn.release()
    page.wait_for_selector(".job .note:has-text('Paused')")
    held = page.evaluate("descry.page.indexing.job.done")
    assert 32 <= held < 100
    page.keyboard.press("Escape")
    assert page.locator("#topbar .working").inner_text() == "Indexing paused"
    page.click("#topbar .working")
    page.click("button:has-text('Go on')")
    gate.free()
    finished(page)
    assert "100 of 100 files" in page.locator(".job .line").inner_text()
    assert page.locator(".job .counts").inner_text().split() == ["Added", "100"]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.reload()
    page.wait_for_selector("body[data-ready]", state="attached")
    assert page.locator("dialog[open]").count() == 0


def test_searching_goes_on_while_a_folder_is_indexed(page, live, gate, tmp_path, monkeypatch):
    monkeypatch.setattr("descry.gallery.indexing.COMMIT_SECONDS", 0.0)
    photos(tmp_path / "photos", good=150)
    first = say(page, "red jacket")
    begun(page)
    page.wait_for_selector(".job progress")
    page.keyboard.press("Escape")
    page.wait_for_selector("#topbar .working")
    for said, at_least in (("blue coat", 72), ("black hat", 72 + 32)):
        made = say(page, said)
        assert len(made["ids"]) == 50
        assert page.evaluate("descry.page.round.total") >= at_least
        assert page.evaluate("new Set(descry.page.leads.map(l => l.item.id)).size") == 50
        gate.turn.release()
        page.wait_for_function("n => descry.page.indexing.job?.done > n", arg=at_least - 72)
    back = tapped(page, lambda: page.evaluate("descry.page.head({round: 1})"))
    assert back["ids"] == first["ids"], "a round stays what it was"
    gate.free()
    page.wait_for_selector(".toast:has-text('150 added')")
    page.wait_for_selector("#topbar .working", state="hidden")
    page.wait_for_function("() => document.querySelector('.said').textContent.includes('has changed since this round')")
    assert ids(page) == first["ids"]
    say(page, "white shoes")
    settled(page)
    assert page.evaluate("descry.page.round.total") == 222


def test_a_stopped_server_ends_the_job_and_the_page_says_so(page, tab, live, gate, tmp_path):
    photos(tmp_path / "photos", good=100)
    begun(page)
    gate.turn.release()
    page.wait_for_function("() => descry.page.indexing.job?.done >= 32")
    (job,) = live.desk.indexing.jobs.values()
    waiter = threading.Thread(target=freed_when_asked_to_stop, args=(job, gate))
    waiter.start()
    live.stop()
    waiter.join()
    assert (job.state, job.done) == ("stopped", 64)
    live.start()
    # The last thing that the stopping server says may still arrive: then the page shows a stopped job.
    told = page.locator(".toast:has-text('started anew'), .job:has-text('Indexing was stopped')").first
    told.wait_for()
    if page.locator(".job:has-text('Indexing was stopped')").count():
        page.click(".job button:has-text('Choose another folder')")
    page.wait_for_selector(".seen table")
    page.click("dialog button.primary:has-text('Index')")
    finished(page)
    page.keyboard.press("Escape")
    say(page, "red jacket")
    assert page.evaluate("descry.page.round.total") == 172
    tab.wrong.clear()  # of the time without a server


def test_a_folder_is_indexed_without_a_pointer(page, live, tmp_path):
    photos(tmp_path / "photos" / "march", good=5)
    page.focus("[aria-label='Index a folder']")
    page.keyboard.press("Enter")
    page.wait_for_selector(".entry")
    page.focus(".entry")
    page.keyboard.press("Enter")
    page.wait_for_selector(".entry:has-text('gate 1')")
    assert page.evaluate("document.activeElement.className").startswith("entry")
    page.wait_for_selector(".seen table")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Index":
            break
    page.keyboard.press("Enter")
    finished(page)
    assert page.evaluate("document.activeElement.textContent") == "Search the gallery"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")
    page.wait_for_function("() => document.activeElement.id === 'text'")
