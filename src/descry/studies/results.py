"""A result as a file: figures with intervals, and on request the values of every query, from which all later tests
follow; two results compared; and the same figures over parts of the queries.

One JSON object: what was evaluated (model, data, split, selection), and `results`, a row for each benchmark and
composition with its `intervals`. With values per query a row also has `queries`: identities, first, ap, inp as in
`metrics.Ranks`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError, DataMissing, UsageError, nearest
from ..evaluate import Evaluation
from ..metrics import Ranks, summarise
from ..ranking import is_synthetic
from ..records import Benchmark
from ..safe_files import read_json, write_whole
from .intervals import DRAWS, FLIPS, MEASURES, holm, intervals, measures, paired
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


# ----------------------------------------------------------------------------- two results compared


SAYS = ("data", "split", "selection", "pretrained_clip")


def compare(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    ways: tuple[str, str] | None = None,
    only: Sequence[str] = ("R@1", "mAP"),
    flips: int = FLIPS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A line for each benchmark, composition and measure that both results have: A minus B, interval, p, p after Holm.

    All are corrected together (Holm): the more are compared, the larger a single difference must be.

    a, b: as `read_results` gives. ways: compare A's queries composed the first way with B's composed the second
    (early, late, pseudo); None compares equal ways. only: measures. A line without values per query has only the
    difference. Raises UsageError for an unknown measure, DataError when there is nothing the two share.
    """
    for name in only:
        if name not in MEASURES:
            raise UsageError(f"there is no measure {name!r}; {nearest(name, MEASURES)}")
    lines = [line for x, y in _pairs(a, b, ways) for line in _lines(x, y, only, flips, seed)]
    tested = [line for line in lines if line["p"] is not None]
    for line, p in zip(tested, holm([line["p"] for line in tested]), strict=True):
        line["p holm"] = p
    return lines


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What else tells the two results apart and may explain a difference, a sentence each."""
    return [f"{key}: A {a.get(key)!r}, B {b.get(key)!r}" for key in SAYS if a.get(key) != b.get(key)]


def _pairs(
    a: Mapping[str, Any], b: Mapping[str, Any], ways: tuple[str, str] | None
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    rows = [{(r["benchmark"], r["composition"], r.get("note", "")): r for r in x["results"]} for x in (a, b)]
    out = []
    for (bench, how, note), row in rows[0].items():
        other = how if ways is None else ways[1]
        if ways is not None and how != ways[0]:
            continue
        if (bench, other, note) in rows[1]:
            out.append((row, rows[1][bench, other, note]))
    if not out:
        held = [sorted({f"{x[0]} {x[1]}".strip() for x in r}) for r in rows]
        raise DataError(f"the results share nothing to compare; A holds {held[0]}, B holds {held[1]}; see --ways")
    for x, y in out:
        if x["data"] != y["data"]:
            raise DataError(
                f"{x['benchmark']}: A and B answered other questions (data {x['data']} and {y['data']}); "
                "evaluate both on the same data set, split and version"
            )
    return out


def _lines(x: dict[str, Any], y: dict[str, Any], only: Sequence[str], flips: int, seed: int) -> list[dict[str, Any]]:
    both = "queries" in x and "queries" in y
    if both:
        (one, whose), (other, again) = ranks_of(x), ranks_of(y)
        if len(whose) != len(again) or (whose != again).any():
            raise DataError(f"{x['benchmark']}: the queries of A and B are in different orders; evaluate both again")
        values = measures(one), measures(other)
    lines = []
    for name in only:
        how = x["composition"] if x["composition"] == y["composition"] else f"{x['composition']} / {y['composition']}"
        line = {"benchmark": x["benchmark"], "composition": how, "note": x.get("note", ""), "measure": name}
        line |= {"A": x[name], "B": y[name], "difference": round(x[name] - y[name], 2)}
        line |= dict.fromkeys(("low", "high", "p", "p holm", "identities"))
        if both:
            line |= asdict(paired(values[0][name], values[1][name], whose, flips, seed=seed))
        lines.append(line)
    return lines


# ----------------------------------------------------------------------------- parts of the queries


LENGTHS = ((0, 10), (11, 20), (21, 30), (31, 50), (51, 10**9))
MOST_VALUES = 20
FEWEST = 10  # identities; of fewer a bootstrap says nothing that can be trusted


def labels(bench: Benchmark) -> dict[str, list[str]]:
    """Name of the slice → the value of each probe ("" for none), for the slices that divide these probes: the probe's
    group (a sketch's style, a sentence's completeness), plain attributes, the camera that took the query's photograph,
    ranges of caption lengths."""
    camera = {p.path: p.camera for p in bench.photos}
    words = [sum(len(str(part.value).split()) for part in p.query.wanted) for p in bench.probes]
    out = {
        "group": [p.group for p in bench.probes],
        "caption length": [next((_range(r) for r in LENGTHS if 0 < n <= r[1]), "") for n in words],
        "camera": [next((camera.get(str(x.value), "") for x in p.query.photos), "") for p in bench.probes],
    }
    for name in sorted({k for p in bench.probes for k, v in p.attributes.items() if isinstance(v, (str, bool, int))}):
        values = [p.attributes.get(name, "") for p in bench.probes]
        out[name] = [str(v) if isinstance(v, (str, bool, int)) else "" for v in values]
    return {k: v for k, v in out.items() if 2 <= len({x for x in v if x}) <= MOST_VALUES}


def slices(bench: Benchmark, evaluation: Evaluation, draws: int = DRAWS) -> list[dict[str, Any]]:
    """A row of plain values for each part of the queries: slice, value, queries, identities, measures, intervals.

    Raises UsageError when the evaluation is not of this benchmark.
    """
    if evaluation.probes != len(bench.probes):
        raise UsageError(f"the evaluation has {evaluation.probes} queries, the benchmark {len(bench.probes)}")
    figures, rows = measures(evaluation.ranks), []
    for name, values in labels(bench).items():
        for value in _ordered(values):
            chosen = np.array([v == value for v in values])
            whose = evaluation.identities[chosen]
            part = {k: v[chosen] for k, v in figures.items()}
            people = len(np.unique(whose))
            sure = intervals(part, whose, draws=draws) if people >= FEWEST else {}
            rows.append(
                {"benchmark": bench.name, "composition": evaluation.composition, "slice": name, "value": value}
                | {"queries": int(chosen.sum()), "identities": people}
                | {k: _mean(v) for k, v in part.items()}
                | {"intervals": {k: [round(i.low, 2), round(i.high, 2)] for k, i in sure.items()}}
            )
    return rows


def _mean(values: np.ndarray) -> float | None:
    counted = values[np.isfinite(values)]
    return round(float(counted.mean()), 2) if len(counted) else None


def _ordered(values: list[str]) -> list[str]:
    """Without the empty one; ranges of lengths by length, names by alphabet."""
    found = {v for v in values if v}
    lengths = [_range(r) for r in LENGTHS]
    return sorted(found, key=lambda v: (lengths.index(v) if v in lengths else 0, v))


def _range(bounds: tuple[int, int]) -> str:
    low, high = bounds
    return (
        f"over {low - 1} words" if high == LENGTHS[-1][1] else f"{low}-{high} words" if low else f"up to {high} words"
    )
