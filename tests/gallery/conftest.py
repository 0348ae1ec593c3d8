"""What the tests of galleries share."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from descry.gallery.local import LocalStore

from .plain_model import PlainModel, binding, draw
from .postgres_server import Server


@pytest.fixture(autouse=True)
def _milvus_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client waits half a second before it first asks whether an index stands; a small one stands at once."""
    if handler := sys.modules.get("pymilvus.client.grpc_handler"):
        clock = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: time.sleep(min(seconds, 0.01))})
        monkeypatch.setattr(handler, "time", clock)


@pytest.fixture
def model() -> PlainModel:
    return PlainModel()


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """24 crops in two folders of cameras."""
    folder = tmp_path / "crops"
    for i in range(24):
        draw(folder / f"cam{i % 2}" / f"p{i:03d}.png", i)
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Any:
    """One PostgreSQL server for the tests of this process."""
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def postgres(postgres_server: Server) -> str:
    """An address of its own, where there is no gallery yet."""
    return f"{postgres_server.place()}#t{time.time_ns()}"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = LocalStore.create(tmp_path / "store", binding())
    yield made
    made.close()
