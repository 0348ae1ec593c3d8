"""Reports in a real Chromium: a hundred payloads do nothing, nothing is fetched, and axe finds no fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from account import NAME, ask, converse, make, opened
from descry import report
from descry.interact.store import Finding
from payloads import PAYLOADS


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain report, and one for each payload as inquiry, chip and note."""
    root = tmp_path_factory.mktemp("reports")
    with opened(make(root, 12)) as (gallery, store):
        converse(gallery, store)
        (root / "plain.html").write_bytes(report.export(gallery, store, NAME, "html").data)
        for i, text in enumerate(PAYLOADS):
            session = ask(gallery, store, f"{i} {text}", wanted=text)
            store.find(session.inquiry.name, Finding(session.inquiry.current.ids[0], "set aside", text))
            (root / f"{i}.html").write_bytes(report.export(gallery, store, session.inquiry.name, "html").data)
    return root


@pytest.fixture
def page(chromium: Any) -> Any:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def test_a_hundred_payloads_do_nothing(page: Any, reports: Path) -> None:
    asked, said, dialogs = [], [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for i, text in enumerate(PAYLOADS):
        address = (reports / f"{i}.html").as_uri()
        page.goto(address)
        assert page.url == address
        page.mouse.move(300, 300)
        if text.isprintable():
            assert " ".join(text.split()) in " ".join(page.inner_text("body").split())
    others = [url for url in asked if not url.startswith(("file:", "data:"))]
    assert (others, said, dialogs) == ([], [], [])
    assert len([url for url in asked if url.startswith("file:")]) == len(PAYLOADS)


@pytest.mark.parametrize("width", [1280, 360])
def test_a_report_can_be_read_by_all(page: Any, reports: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((reports / "plain.html").as_uri())
    assert page.inner_text(".notice") == report.NOTICE
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    page.emulate_media(media="print")
    assert page.is_visible("#findings")
    assert page.is_visible("#written")


def test_axe_finds_nothing(chromium: Any, reports: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    context = chromium.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto((reports / "plain.html").as_uri())
    found = axe.Axe().run(page)
    context.close()
    assert found.violations_count == 0, found.generate_report()
