"""The app without a network, and short ways to ask it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.testclient import TestClient

from descry.gallery import Gallery
from descry.web.app import create_app
from descry.web.desk import Desk
from descry.web.limits import LIMITS
from descry.web.safety import Tokens
from served import toy_model

HOST = "127.0.0.1:8642"
HOSTS = frozenset({HOST, "localhost:8642"})


class Server:
    """An app with what a test needs of it."""

    def __init__(self, folder: Path, model: Any = None, folders: Sequence[Path] = (), **limits: Any):
        self.now = 1_800_000_000.0
        self.gallery = Gallery.open(folder, model or toy_model())
        self.tokens = Tokens(b"s" * 32, clock=lambda: self.now)
        self.desk = Desk(self.gallery, replace(LIMITS, **({"burst": 500} | limits)), folders)
        self.app = create_app(self.desk, self.tokens, lambda: HOSTS)
        self.token = self.tokens.make()

    def client(self, **headers: str) -> TestClient:
        """A client that is no browser: no cookie, no Bearer unless given. Errors are answers."""
        return TestClient(self.app, base_url=f"http://{HOST}", headers=headers, raise_server_exceptions=False)


def png(seed: int = 0, size: tuple[int, int] = (64, 128)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (seed * 40 % 256, 80, 120)).save(buffer, "PNG")
    return buffer.getvalue()


def upload(client: TestClient, data: bytes | None = None) -> str:
    return client.post("/api/v1/assets", files={"file": ("a.png", data or png(), "image/png")}).json()["id"]


def ask(client: TestClient, inquiry: str, *said: str, **body: Any) -> dict:
    """A round of phrases; "-backpack" is NOT backpack."""
    phrases = [{"text": s.lstrip("-"), "wanted": not s.startswith("-")} for s in said]
    answer = client.post(f"/api/v1/inquiries/{inquiry}/rounds", json={"phrases": phrases} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()
