"""A server in this process: the app called directly, with a small gallery of synthetic people and a model of random
weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

from starlette.testclient import TestClient

from served import make_gallery

from .in_process import Server


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """people/, crops/ and gallery/; not to be written to."""
    folder = tmp_path_factory.mktemp("drawn")
    make_gallery(folder).close()
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the gallery that a test may change."""
    shutil.copytree(drawn / "gallery", tmp_path / "gallery")
    return tmp_path / "gallery"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    with made.client():  # runs the app's beginning and end
        yield made
    made.gallery.close()


@pytest.fixture
def client(server: Server) -> TestClient:
    """A script with the token."""
    made = server.client(Authorization=f"Bearer {server.token}")
    server.desk.warm()
    return made


@pytest.fixture
def inquiry(client: TestClient) -> str:
    return client.post("/api/v1/inquiries", json={"name": "test"}).json()["id"]
