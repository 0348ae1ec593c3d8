"""A result as a file: figures with intervals, and on request the values of every query, from which all later tests
follow.

One JSON object: what was evaluated (model, data, split, selection), and `results`, a row for each benchmark and
composition with its `intervals`. With values per query a row also has `queries`: identities, first, ap, inp as in
`metrics.Ranks`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError, DataMissing
from ..evaluate import Evaluation
from ..metrics import Ranks, summarise
from ..ranking import is_synthetic
from ..safe_files import read_json, write_whole
from .intervals import DRAWS, MEASURES, intervals, measures
from .ledger import Entry, append, hardware, now, own_commit

FORMAT = 1
KIND = "descry results"


def row_of(
    evaluation: Evaluation, missing: str = "miss", draws: int = DRAWS, per_query: bool = False
) -> dict[str, Any]:
    """A row of plain values with its 95 % intervals; none where all queries are one person's."""
    e = evaluation
    people = len(np.unique(e.identities))
    found = intervals(measures(e.ranks, missing), e.identities, draws=draws) if people > 1 else {}
    held = {name: [round(i.low, 2), round(i.high, 2)] for name, i in found.items()}
    row = e.as_row() | {"identities": people, "intervals": held}
    if per_query:
        row["queries"] = {
            "identities": [int(x) for x in e.identities],
            "first": [int(x) for x in e.ranks.first],
            "ap": _plain(e.ranks.ap),
            "inp": _plain(e.ranks.inp),
        }
    return row


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row for CSV: an interval becomes two columns, values per query are left out."""
    out = {k: v for k, v in row.items() if k not in ("intervals", "queries")}
    for name, (low, high) in row["intervals"].items():
        out |= {f"{name} low": low, f"{name} high": high}
    return out


def write_results(path: Path, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Write a results file; about: what was evaluated, plain values."""
    held = {"kind": KIND, "format": FORMAT} | about | {"results": list(rows)}
    write_whole(path, json.dumps(held, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """What `descry evaluate --json` printed or `--per-query` wrote. Raises DataError for anything else."""
    again = "make it with: descry evaluate RUN --data FOLDER --per-query FILE"
    try:
        held: Any = read_json(path)
    except FileNotFoundError:
        raise DataMissing(f"there is no file {path}; {again}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); {again}") from None
    if not isinstance(held, dict) or held.get("kind") != KIND:
        raise DataError(f"{path} is not a results file; {again}")
    if held.get("format") != FORMAT:
        raise DataError(f"{path} has format {held.get('format')!r}; this version reads format {FORMAT}; {again}")
    return held


def ranks_of(row: dict[str, Any], missing: str = "miss") -> tuple[Ranks, np.ndarray]:
    """A row's values per query as Ranks, and whose each query is. Raises DataError where the row holds none."""
    queries = row.get("queries")
    if not queries:
        raise DataError(f"{row.get('benchmark')}: no values per query are kept; evaluate again with --per-query FILE")
    ap, inp = (np.array([np.nan if x is None else x for x in queries[k]], np.float64) for k in ("ap", "inp"))
    first, whose = np.array(queries["first"], np.int64), np.array(queries["identities"], np.int64)
    if not len(first) == len(whose) == len(ap) == len(inp):
        raise DataError(f"{row.get('benchmark')}: the values per query are of different lengths; the file is damaged")
    return summarise(first, ap, inp, row["photos"], missing), whose


def remember(run: Path, rows: Sequence[dict[str, Any]], about: dict[str, Any], command: str, seconds: float) -> bool:
    """Add an evaluation to the ledger of its own run folder; False where there is none, or it cannot be written."""
    try:
        held = read_json(run / "config.json")
        figures = {asked_of(r): {m: float(r[m]) for m in MEASURES} for r in rows}
        entry = Entry(
            table="evaluation",
            row=str(held["method"]),
            scale="own",
            seed=int(held.get("about", {}).get("seed", 0)),
            figures=figures,
            intervals={asked_of(r): r["intervals"] for r in rows},
            split=about["split"],
            selection=about["selection"],
            data={asked_of(r): r["data"] for r in rows},
            command=command,
            config={name: about[name] for name in ("fingerprint", "search_fingerprint")},
            synthetic="synthetic" in about["note"] or is_synthetic(about.get("source", "")),
            commit=own_commit(),
            hardware=hardware(torch.get_num_threads()),
            seconds=round(seconds, 1),
            at=now(),
        )
        append(run / "ledger.jsonl", entry)
    except (OSError, ValueError, KeyError):
        return False
    return True


def remember_training(run: Path, metrics: Mapping[str, Any], command: str) -> bool:
    """Add a finished training to the ledger of its run folder; False where it cannot be written.

    metrics: as `train` returns. Its figure is the mean R@1 by which the epoch was kept, where one was chosen.
    """
    try:
        held = read_json(run / "config.json")
        about, scores = metrics["about"], metrics["selection_scores"]
        entry = Entry(
            table="training",
            row=str(held["method"]),
            scale="own",
            seed=int(about["seed"]),
            figures={"kept epoch": {"R@1": round(max(scores), 4)}} if scores else {},
            split="test" if metrics["selection"].startswith("test") else "val" if scores else "none",
            selection=metrics["selection"],
            data={about["data"]: about["data_sha256"]},
            command=command,
            config=dict(held["config"]) | {"fingerprint": held.get("fingerprint", "")},
            synthetic="synthetic" in about.get("note", "") or is_synthetic(about.get("source", "")),
            commit=own_commit(),
            hardware=hardware(about.get("threads", 0), about.get("gpu", "")),
            seconds=metrics["seconds"],
            at=now(),
        )
        append(run / "ledger.jsonl", entry)
    except (OSError, ValueError, KeyError):
        return False
    return True


def asked_of(row: dict[str, Any]) -> str:
    """What a row's queries were: benchmark, composition and note in one name."""
    return " ".join(x for x in (row["benchmark"], row["composition"], row.get("note", "")) if x)


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 9) for v in values]
