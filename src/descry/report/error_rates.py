"""What is known of a model's errors, from its own folder: measured figures or none, never a guess.

Two places are read: `ledger.jsonl`, where `descry evaluate` writes what it measured of a run, and the `metrics.json` of
the demo model. Figures of other weights than those of the gallery, and of another vocabulary or way to rank than the
model has now, are left out (by fingerprint and search fingerprint).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..gallery.contract import Binding
from ..ranking import note_of
from ..safe_files import allowed, read_json
from ..studies import ledger

DEMO = Path(__file__).parents[1] / "models" / "demo"
NONE = "Nothing is known about this model's errors: none were measured of it as it is, or its folder is not here."


def about_model(binding: Binding, redact: bool = False) -> dict[str, Any]:
    """Source, fingerprint, search fingerprint ("" where the model is not in its folder), the model's own note, and
    error rates: rows of what was asked with, R@1 and its 95 % interval (of 100 queries, how many had the person sought
    in first place), data, split, and whether synthetic."""
    folder, rates, config = DEMO if binding.source == "demo" else Path(binding.source), [], {}
    if binding.source == "demo" or allowed(folder):  # a gallery of others may name any folder
        config = _json(folder / "config.json")
    here = config.get("fingerprint") == binding.fingerprint
    known = {"fingerprint": binding.fingerprint}
    known["search_fingerprint"] = str(config.get("search_fingerprint", "")) if here else ""
    if known["search_fingerprint"]:
        rates = _figures(_evaluated, folder, known) or _figures(_packed, folder, known)
    about = config.get("about", {})
    note = note_of(about) if isinstance(about, dict) else ""
    return {
        "source": folder.name if redact else binding.source,
        **known,
        "note": note,
        "error_rates": rates,
        "error_rates_note": "" if rates else NONE,
    }


def _figures(
    read: Callable[[Path, dict[str, str]], list[dict[str, Any]]], folder: Path, known: dict[str, str]
) -> list[dict[str, Any]]:
    """What is read, each figure a number; nothing where the folder, which may come from others, holds anything else."""
    try:
        rates = read(folder, known)
        markdown(rates)
    except (DataError, ValueError, TypeError, LookupError, AttributeError):
        return []
    return rates


def markdown(rates: Sequence[dict[str, Any]]) -> str:
    """Rows of `about_model` as a table: of 100 queries, how many had the person sought first, and how many had not."""
    lines = ["| asked with | first (95 % interval) | not first |", "|---|---|---|"]
    for rate in rates:
        span = "" if rate["interval"] is None else " ({:.1f}–{:.1f})".format(*rate["interval"])
        lines.append(f"| {rate['asked_with']} | {rate['R@1']:.1f}{span} | {100 - rate['R@1']:.1f} |")
    return "\n".join(lines)


def _evaluated(folder: Path, known: dict[str, str]) -> list[dict[str, Any]]:
    entries = [e for e in ledger.read(folder / "ledger.jsonl") if known.items() <= e.config.items()]
    return [
        _rate(asked, {m: figures.get(m) for m in ("R@1", "R@10", "mAP")}, e.intervals.get(asked, {}).get("R@1"))
        | {"data": e.data.get(asked, ""), "split": e.split, "synthetic": e.synthetic}
        for e in entries[-1:]
        for asked, figures in e.figures.items()
    ]


def _packed(folder: Path, known: dict[str, str]) -> list[dict[str, Any]]:
    metrics = _json(folder / "metrics.json")
    if not known.items() <= metrics.items() or not isinstance(metrics.get("test"), dict):
        return []
    return [
        _rate(asked, {m: figures.get(m, [None])[0] for m in ("R@1", "R@10", "mAP")}, figures["R@1"][1:])
        | {"data": "frozen benchmark of synthetic people", "split": "test", "synthetic": True}
        for asked, figures in metrics["test"].items()
    ]


def _rate(asked: str, figures: dict[str, Any], interval: Any) -> dict[str, Any]:
    return {"asked_with": asked, **figures, "interval": list(interval) if interval else None}


def _json(path: Path) -> dict[str, Any]:
    try:
        held = read_json(path)
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}
