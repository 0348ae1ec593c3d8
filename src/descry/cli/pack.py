"""descry model pack: the part of a run folder that others need."""

from __future__ import annotations

import json
from pathlib import Path

import tyro

from ..errors import UsageError
from .machine import Json, emit


def pack(
    run: tyro.conf.Positional[str],
    /,
    out: Path,
    half: bool = False,
    note: str = "",
    json_: Json = False,
) -> int:
    """Write a model for sharing: configuration, inference weights and vocabulary, without optimiser or log.

    Args:
        run: a run folder.
        out: a new folder.
        half: store the weights in 16 bits; they are computed with in 32.
        note: what must be said beside every result of this model; if omitted, the run's own.
    """
    from ..checkpoint import load_any, read_config, save_model, write_config

    if out.exists() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise UsageError(f"{out} holds other things; choose a new folder")
    method, config, folder = load_any(run)
    about = config["about"] | ({"note": note} if note else {})
    if "history" in about:  # folders of this machine are nobody's business
        about["history"] = [step | {"from": Path(step["from"]).name} for step in about["history"]]
    fingerprint = save_model(out, method, config["method"], config["preset"], about, half, "vocabulary" in config)
    packed = read_config(out)
    if "composition" in config:
        packed["composition"] = config["composition"]
        write_config(out, packed)
    size = sum(p.stat().st_size for p in out.iterdir())
    said = f"{out}: {size / 1e6:.1f} MB, fingerprint {fingerprint[:16]} (from {folder})"
    return emit(json_, {"out": str(out), "fingerprint": fingerprint, "bytes": size}, said)
