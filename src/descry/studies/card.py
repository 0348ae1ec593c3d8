"""A model card from what a run folder and its results say; nothing in it is typed by hand, and nothing unknown is
filled in.

With config.json, model.safetensors and the tokenizer beside it, such a folder is what a model hub takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, DataMissing
from ..ranking import note_of
from ..safe_files import read_json

INTENDED = (
    "Research on finding a person in a set of photographs from a sketch, from words, or from both.",
    "Ranking photographs that one has the right to hold and to search, as leads that a person then looks at.",
    "Measuring such systems under one protocol.",
)
REFUSED = (
    "Deciding that two pictures show the same person: a rank is a lead, never an identification.",
    "Live cameras, tracking, or watching people who have not agreed to it.",
    "Any decision about a person without a human who can overrule it and is answerable for it.",
    "Conclusions about ethnicity, religion, health, mood or character.",
)


def model_card(folder: Path, results: Mapping[str, Any] | None = None, licence: str = "") -> str:
    """Markdown for one run folder.

    results: as `descry evaluate --json` gives, with or without slices. licence: of the weights, "" for not stated.
    Raises DataError when the folder holds no run.
    """
    config = _json(folder / "config.json")
    if "method" not in config:
        raise DataError(f"{folder} holds no run: its config.json names no method")
    about = config.get("about", {})
    metrics = _json(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
    lines = [f"# {config['method']}, preset {config['preset']}", ""]
    if note := note_of(about):
        lines += [f"> {note}", ""]
    lines += _facts(config, about, metrics, licence)
    measured = _results(results) if results else ["None are attached: run descry evaluate, then make the card again."]
    lines += ["## Results", "", *measured, ""]
    lines += ["## Intended uses", "", *(f"* {x}" for x in INTENDED), ""]
    lines += ["## Refused uses", "", *(f"* {x}" for x in REFUSED), ""]
    use = ["descry evaluate FOLDER --data DATA", "descry index PHOTOS --model FOLDER --out GALLERY"]
    lines += ["## Use", "", "```", *use, "```", ""]
    return "\n".join(lines)


def _facts(config: Mapping[str, Any], about: Mapping[str, Any], metrics: Mapping[str, Any], licence: str) -> list[str]:
    clip = config.get("clip", {})
    size = clip.get("image_size", ("?", "?"))
    rows = {
        "fingerprint": config.get("fingerprint", "")[:16],
        "written by": f"descry {config.get('descry', '?')}",
        "pictures": f"{size[0]}×{size[1]} (height × width)",
        "weights began as": about.get("weights", "not stated"),
        "started from": _start(about),
        "pretrained CLIP": "yes" if about.get("pretrained") else "no",
        "licence of the weights": licence or "not stated; ask whoever trained it",
        "trained on": about.get("data", "not stated"),
        "source of the data": about.get("source", "not stated"),
        "people, rows": f"{about.get('identities', '?')}, {about.get('rows', '?')}",
        "seed": about.get("seed", "not stated"),
        "precision": about.get("precision", "not stated"),
        "hardware": about.get("hardware", "not stated"),
        "epoch kept": f"{metrics['kept_epoch']} of {metrics['epochs']}"
        if metrics
        else about.get("epoch", "not stated"),
        "selected on": metrics.get("selection", about.get("selection", "not stated")),
        "seconds of training": metrics.get("seconds", "not stated"),
    }
    lines = ["## Facts", "", "| | |", "|---|---|", *(f"| {k} | {_safe(v)} |" for k, v in rows.items()), ""]
    history = about.get("history", [])
    if history:
        lines += ["Stages, first to last:", ""]
        lines += [
            f"1. {h['method']} ({h['preset']}, stage {h['stage']}) from {_safe(h['from'])} on {h['data']}"
            for h in history
        ]
        lines.append("")
    return lines


def _start(about: Mapping[str, Any]) -> str:
    start = about.get("start")
    if not isinstance(start, dict):
        return "not stated"
    return f"{start.get('from', '?')}, {start['note']}" if start.get("note") else str(start.get("from", "?"))


def _results(results: Mapping[str, Any]) -> list[str]:
    said = f"Data {results['data']}, split {results['split']}; epoch selected on: {results['selection']}."
    lines = [said + (f" {results['note']}" if results.get("note") else ""), ""]
    head = ["asked with", "R@1", "R@5", "R@10", "mAP", "mINP", "queries", "people"]
    lines += _table(head, [_row(r, _name(r), r["probes"]) for r in results["results"]])
    if results.get("slices"):
        named = []
        for r in results["slices"]:
            name = f"{_name(r)}: {r['slice']} = {r['value']}"
            named.append(_row(r, name, r["queries"]))
        lines += ["", "Parts of the queries:", "", *_table(head, named)]
    return [*lines, "", "In percent, with 95 % intervals by bootstrap over identities."]


def _name(row: Mapping[str, Any]) -> str:
    return ", ".join(x for x in (row["benchmark"], row["composition"], row.get("note", "")) if x)


def _row(row: Mapping[str, Any], name: str, queries: int) -> list[str]:
    cells = []
    for key in ("R@1", "R@5", "R@10", "mAP", "mINP"):
        text = "–" if row[key] is None else f"{row[key]:.2f}"
        span = row["intervals"].get(key)
        cells.append(f"{text} [{span[0]:.1f}, {span[1]:.1f}]" if span else text)
    return [name, *cells, str(queries), str(row["identities"])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(x)} |" for x in (head, ["---"] * len(head), *rows)]


def _safe(value: Any) -> str:
    """Text for a cell. Of an absolute path, which tells nobody anything elsewhere, only the last part is kept."""
    return re.sub(r"(?<!\S)/\S*/([^\s/]+)", r"\1", str(value)).replace("|", "/")


def _json(path: Path) -> dict[str, Any]:
    try:
        held: dict[str, Any] = read_json(path)
        return held
    except FileNotFoundError:
        raise DataMissing(f"there is no file {path}; give the folder of a run") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; give the folder of a run") from None
