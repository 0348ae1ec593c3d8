"""From a lead back to the footage in the page: the frame with the box, the seconds around it, the timeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")
pytest.importorskip("trackers")

from descry import Gallery
from descry.footage import Settings, crop
from descry.gallery.sources import Sources
from footage.making import walks, write_video
from served import toy_model

from .deeds import say
from .live import Live
from .test_screens import IN_VIEW

START = "2026-01-31T14:05:00Z"


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras whose videos browsers play, one in a codec that they do not, and a gallery of their crops."""
    folder = tmp_path_factory.mktemp("footage")
    for name, codec, who in (("gate", "libx264", 1), ("lobby", "libx264", 0), ("yard", "mpeg4", 2)):
        write_video(folder / f"{name}.mp4", walks(7, 10, [(1, 4, who)]), codec=codec, metadata={"creation_time": START})
    crop([str(p) for p in sorted(folder.glob("*.mp4"))], folder / "crops", Settings(keep=2))
    with Gallery.create(folder / "gallery", toy_model()) as gallery:
        gallery.index((str(folder / "crops"),), sources=Sources(table=str(folder / "crops" / "crops.csv"), time="csv"))
    return folder


@pytest.fixture
def live(cropped: Path) -> Iterator[Live]:
    made = Live(cropped / "gallery")
    yield made
    made.stop()


@pytest.fixture
def results(page: Any) -> Any:
    say(page, "a red top")
    return page


def opened(page: Any, camera: str) -> None:
    """Look closely at a lead of a camera."""
    number = page.evaluate("name => descry.page.leads.find(l => l.item.camera === name).item.id", camera)
    page.click(f'.tile[data-id="{number}"] .picture')
    page.wait_for_function("() => document.querySelector('dialog .still')?.naturalWidth")


def test_a_lead_shows_its_frame_and_plays_the_seconds_around_it(results, live):
    asked: list[Any] = []
    results.on("response", lambda answer: asked.append(answer) if answer.url.endswith("/video") else None)
    opened(results, "gate")
    for selector in ("dialog .large", "dialog .still"):
        assert results.evaluate(IN_VIEW, selector), selector
    about = results.inner_text("dialog .near")
    assert "gate.mp4, at 0:00:0" in about
    assert "may be" in about, "the doubt about the clock is told"
    red = """() => {
        const still = document.querySelector('dialog .still');
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [still.naturalWidth, still.naturalHeight];
        const pen = canvas.getContext('2d');
        pen.drawImage(still, 0, 0);
        const {data} = pen.getImageData(0, 0, canvas.width, canvas.height);
        let n = 0;
        for (let i = 0; i < data.length; i += 4) n += data[i] > 190 && data[i + 1] < 110 && data[i + 2] < 110;
        return [canvas.width, canvas.height, n];
    }"""
    wide, high, pixels = results.evaluate(red)
    assert (wide, high) == (320, 240)
    assert pixels > 200, "the box is drawn"
    seconds = results.evaluate(
        "async () => (await (await fetch(`${descry.page.items}/${descry.page.leads.find(l => l.item.camera === 'gate')"
        ".item.id}`)).json()).footage.seconds"
    )
    results.click("text=Play the seconds around it")
    results.wait_for_function("() => document.querySelector('dialog video')?.videoWidth === 320")
    begin = results.evaluate("document.querySelector('dialog video').currentTime")
    assert max(0, seconds - 3.1) <= begin <= seconds
    results.wait_for_function("from => document.querySelector('dialog video').currentTime > from + 0.2", arg=begin)
    assert {answer.status for answer in asked} == {206}, "the browser asks for ranges"
    results.evaluate("document.querySelector('dialog video').currentTime = 6.9")
    results.wait_for_function("() => document.querySelector('dialog video').currentTime > 6")


def test_a_video_that_the_browser_cannot_play_stays_a_frame(results, tab):
    opened(results, "yard")
    results.click("text=Play the seconds around it")
    results.wait_for_selector("text=This browser cannot play that video.")
    assert results.evaluate("document.querySelector('dialog .still').naturalWidth") == 320
    assert not results.locator("text=Play the seconds around it").count()
    tab.wrong[:] = [line for line in tab.wrong if "video" not in line and "media" not in line.lower()]


def test_a_track_is_one_tile_with_its_crops(results):
    tiles = results.evaluate("[...document.querySelectorAll('.tile')].map(t => t.dataset.id)")
    leads = results.evaluate("descry.page.leads.map(l => [l.item.id, l.item.track])")
    assert len(tiles) == len({track for _, track in leads}) == 3
    assert len(leads) == 6
    results.click(".tile .more >> nth=0")
    assert results.locator(".tile").count() == 4


def test_the_timeline_shows_when_each_camera_saw_the_leads(results, live):
    line = results.locator(".timeline")
    assert line.locator(".rows > span").all_inner_texts() == ["gate", "lobby", "yard"]
    assert "6 leads by camera, 2026-01-31 14:05:0" in line.locator("summary").inner_text()
    times = results.evaluate("descry.page.leads.map(l => [l.item.camera, l.item.time])")
    marks = results.evaluate(
        "[...document.querySelectorAll('.timeline .track')]"
        ".map(t => [...t.children].map(i => i.getBoundingClientRect().left))"
    )
    earliest = min(times, key=lambda row: row[1])[0]
    lefts = dict(zip(["gate", "lobby", "yard"], marks, strict=True))
    assert min(min(row) for row in marks) == min(lefts[earliest])
    # by pointer: what is under it is said, a click opens it
    track = line.get_by_role("slider", name="lobby")
    box = track.bounding_box()
    results.mouse.move(box["x"] + box["width"] - 2, box["y"] + 5)
    latest = max(row[1] for row in times if row[0] == "lobby")
    assert latest[:19].replace("T", " ") in line.locator("output").inner_text()
    results.mouse.click(box["x"] + box["width"] - 2, box["y"] + 5)
    results.wait_for_selector("dialog .still")
    assert latest[:19].replace("T", " ") in results.inner_text("dialog .facts")
    results.keyboard.press("Escape")
    # by keyboard: arrows go through the leads of a camera, Enter opens one
    track.focus()
    results.keyboard.press("Home")
    assert track.get_attribute("aria-valuenow") == "1"
    results.keyboard.press("ArrowRight")
    assert track.get_attribute("aria-valuenow") == "2"
    assert "lobby" in track.get_attribute("aria-valuetext")
    results.keyboard.press("Enter")
    results.wait_for_selector("dialog .still")
    results.keyboard.press("Escape")
    # folded away it stays so, also in the next round
    line.locator("summary").click()
    say(results, "a blue top")
    assert not line.locator(".track").count()
    results.click("header .again")
    assert not line.is_visible()


def test_leads_without_a_time_have_no_timeline(results):
    results.evaluate("descry.page.timeline.show(descry.page.leads.map(l => ({...l, item: {...l.item, time: ''}})))")
    assert not results.locator(".timeline").is_visible()
