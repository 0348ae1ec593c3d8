"""What a user can name: devices, precisions, and models; where fetched models lie, and which one is the default.

A fetched model is a run folder in `models_folder()`; nothing else is remembered.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .safe_files import read_json

if TYPE_CHECKING:
    from .sketching import Fitted
    from .text import Words

DEMO = Path(__file__).parent / "models" / "demo"

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def models_folder() -> Path:
    """DESCRY_MODELS, or descry/models in the user's data folder."""
    named = os.environ.get("DESCRY_MODELS")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(named) if named else Path(data) / "descry" / "models"


def folder_of(name: str) -> Path:
    """Where a model of that name lies once it was fetched: "openai/clip-vit-base-patch16" → its run folder."""
    safe = "".join(c if c.isalnum() or c in "-._" else "--" for c in name).strip(".")
    return models_folder() / (safe or "model")


def fetched(name: str) -> Path | None:
    """The run folder of a model that was fetched by this name, or None."""
    folder = folder_of(name)
    return folder if (folder / "config.json").is_file() else None


def default_model() -> str:
    """What a new gallery takes when no model is named: the model fetched last, else "demo"."""
    runs = [config.parent for config in models_folder().glob("*/config.json")]
    return str(max(runs, key=lambda run: ((run / "config.json").stat().st_mtime, run.name))) if runs else "demo"


class ModelCard:
    """What the files of a run folder say of its model, read without its weights and without PyTorch.

    It is enough to show again what was ranked earlier: its note, which words it knows, how it reads a sketch.
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        from .ranking import Ranking, note_of

        self.folder, self.config = folder, config
        self.fingerprint = str(config.get("fingerprint", ""))
        self.note = note_of(config.get("about", {}))
        self.ranking = Ranking.from_config(config)

    @classmethod
    def of(cls, source: str) -> ModelCard | None:
        """That of "demo", a run folder, or a model that was fetched; None for anything else."""
        folder = DEMO if source == "demo" else Path(source)
        folder = folder if folder.is_dir() else fetched(source) or folder
        try:
            config = read_json(folder / "config.json")
        except (OSError, ValueError):
            return None
        return cls(folder, config) if isinstance(config, dict) and "method" in config else None

    @cached_property
    def words(self) -> Words:
        """Its vocabulary."""
        from .text import Words

        return Words.load(self.folder)

    def fit_sketch(self, picture: Any) -> Fitted:
        """As `Model.fit_sketch`."""
        from . import images
        from .sketching import Fitted, fit_to_ink

        if self.config["config"].get("recipe", {}).get("fit_sketches", True):
            return fit_to_ink(picture)
        return Fitted(images.read(picture), "the model reads sketches as they are drawn")
