"""A run folder that was never trained and a folder of synthetic people: what is tested is bookkeeping, not accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from conftest import toy_clip, toy_words
from descry.checkpoint import save_model
from descry.methods.interactreid import PRESETS, InteractReID
from descry_people.folder import write_people


@dataclass(frozen=True)
class Bench:
    run: Path
    data: Path


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("bench")
    splits = {"train": 0, "val": 0, "test": 14}
    data = write_people(root / "data", 14, photos=2, sketches=1, captions=1, splits=splits, size=(16, 32), processes=1)
    words = toy_words()
    torch.manual_seed(0)
    method = InteractReID(toy_clip(words), words, replace(PRESETS["recommended"], stage=2))
    save_model(root / "run", method, "interactreid", "recommended", {"note": "never trained", "pretrained": False})
    return Bench(root / "run", Path(data))
