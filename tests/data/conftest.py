"""Every miniature, drawn once in a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from descry.data import DATASETS, module
from descry_people.miniature import write_miniature

NEEDS_SCIPY = {("market-sketch-1k", "attributes"), ("market-1501", "attributes")}
EVERY = [(name, variant) for name in DATASETS for variant in module(name).CARD.variants]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """(name, variant) → the folder of its miniature; not to be changed."""
    held: dict[tuple[str, str], Path] = {}

    def one(name: str, variant: str) -> Path:
        if (name, variant) in NEEDS_SCIPY:
            pytest.importorskip("scipy", reason="scipy (extra 'data') is not installed")
        if (name, variant) not in held:
            held[name, variant] = write_miniature(name, tmp_path_factory.mktemp(name) / "set", variant)
        return held[name, variant]

    return one


@pytest.fixture
def copied(drawn: Callable[[str, str], Path], tmp_path: Path) -> Callable[[str, str], Path]:
    """(name, variant) → a copy that a test may break."""

    def one(name: str, variant: str) -> Path:
        return Path(shutil.copytree(drawn(name, variant), tmp_path / name))

    return one
