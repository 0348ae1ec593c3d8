"""Real Chromium (Debian's) against a real server. Without a Chromium these tests skip, but in CI they fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from served import make_gallery  # noqa: E402

from .live import Live  # noqa: E402

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")  # the first needs the least
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), "")
HOSTILE = {
    0: "<img src=x onerror=alert(1)>.jpg",
    1: '"><script>alert(1)<∕script>.jpg',
    2: "javascript:alert(1).jpg",
    3: "'-alert(1)-'.jpg",
    4: "${alert(1)}{{alert(1)}}.jpg",
    5: "a\u202egpj.exe .jpg",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """It ends with these tests: while Playwright is there, an event loop runs in this thread; others need their own."""
    if not CHROMIUM:
        line = "no Chromium found; install Debian's package chromium, or name one in the variable CHROMIUM"
        pytest.fail(line) if os.environ.get("CI") == "true" else pytest.skip(line)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    make_gallery(folder, names=HOSTILE).close()
    return folder


@pytest.fixture
def live(drawn: Path, tmp_path: Path) -> Iterator[Live]:
    shutil.copytree(drawn / "gallery", tmp_path / "gallery")
    example = sorted((drawn / "people" / "sketches").iterdir())[0]
    (tmp_path / "photos").mkdir(exist_ok=True)
    made = Live(tmp_path / "gallery", example, folders=[tmp_path / "photos"])
    yield made
    made.stop()


class Tab:
    """A browser tab that remembers what must not happen: errors, requests to another host, dialogs of scripts."""

    def __init__(self, chromium: Any, live: Live, **context: Any):
        self.live, self.allowed = live, 0
        self.context = chromium.new_context(**({"viewport": {"width": 1280, "height": 800}} | context))
        self.context.set_default_timeout(120_000)  # a machine may have much else to do
        self.wrong: list[str] = []
        self.open()

    def open(self) -> None:
        self.page = self.context.new_page()
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self.asked)

    def asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.live.address).netloc:
            self.wrong.append(f"asked another host: {request.url}")

    def start(self, link: str = "") -> Any:
        self.page.goto(link or self.live.link)
        self.page.wait_for_selector("body[data-ready]", state="attached")
        return self.page

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def tab(chromium: Any, live: Live, request: pytest.FixtureRequest) -> Iterator[Tab]:
    made = Tab(chromium, live, **getattr(request, "param", {}))
    yield made
    made.close()
    assert made.wrong == []


@pytest.fixture
def page(tab: Tab) -> Any:
    return tab.start()
