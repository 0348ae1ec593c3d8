"""What a user can name: devices, precisions, and models; where fetched models lie, and which one is the default.

A fetched model is a run folder in `models_folder()`; nothing else is remembered.
"""

from __future__ import annotations

import os
from pathlib import Path

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
