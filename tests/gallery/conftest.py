"""What the tests of galleries share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from descry.gallery.local import LocalStore

from .plain_model import PlainModel, binding, draw


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


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = LocalStore.create(tmp_path / "store", binding())
    yield made
    made.close()
