"""The one schema for people data: rows for training, probes and photographs for evaluation, and their check.

Paths are strings, absolute or relative to the current folder; readers in `descry.data` make them. The protocol is data,
not branches: `Probe.ignore` names the photographs that a probe may not be compared with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import DataError
from .query import Query


@dataclass(frozen=True, slots=True)
class Example:
    """One training row.

    images: photographs of the person; of several, one is drawn each epoch. pid: identity, 0 … N−1 within a data set.
    caption: "" where the set has none. back_translation: the caption's partner, "" where absent.
    sketches: like `images`. image_id: same number, same photograph (several captions may share it).
    """

    images: tuple[str, ...]
    pid: int
    caption: str = ""
    sketches: tuple[str, ...] = ()
    back_translation: str = ""
    image_id: int = -1


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph of an evaluation gallery. pid −1: a distractor that no probe looks for."""

    path: str
    pid: int
    camera: str = ""
    track: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question of an evaluation: who is looked for, with what, and which photographs (row numbers) do not count.

    group: the slice it belongs to (a sketch's style, a camera); "" for none.
    attributes: what is known about the query, for slices and oracles; never shown to a model.
    """

    query: Query
    pid: int
    ignore: tuple[int, ...] = ()
    group: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """Probes of one query type against one set of photographs. name: e.g. "sketch+text"."""

    name: str
    probes: tuple[Probe, ...]
    photos: tuple[Photo, ...]

    def fingerprint(self) -> str:
        """SHA-256 over ids, file names, phrases and ignore sets; two runs with the same one answered the same
        questions.
        """
        rows: list[Any] = [[p.path.rsplit("/", 1)[-1], p.pid, p.camera] for p in self.photos]
        for probe in self.probes:
            q = probe.query
            pictures = [str(p.value).rsplit("/", 1)[-1] for p in (*q.sketches, *q.photos)]
            rows.append([probe.pid, sorted(probe.ignore), pictures, [p.value for p in q.wanted]])
        return hashlib.sha256(json.dumps([self.name, rows]).encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Training rows and, for each split, benchmarks by query type ("text", "sketch", "photo", "sketch+text", …).

    val may be empty (ICFG-PEDES has none): then the last epoch is kept, or identities of train are held out.
    source: where it was read from and as which variant, for the record. notes: what was assumed, is unknown or not read
    of it, a sentence each; part of source too.
    """

    name: str
    train: tuple[Example, ...] = ()
    val: Mapping[str, Benchmark] = field(default_factory=dict)
    test: Mapping[str, Benchmark] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def identities(self) -> int:
        """Number of training identities."""
        return len({e.pid for e in self.train})

    def fingerprint(self) -> str:
        """SHA-256 over ids, file names and captions of the training rows; two runs with the same one learnt from the
        same.
        """
        mark = hashlib.sha256(self.name.encode())
        for row in self.train:
            files = [str(path).rsplit("/", 1)[-1] for path in (*row.images, *row.sketches)]
            mark.update(json.dumps([row.pid, files, row.caption]).encode())
        return mark.hexdigest()


def validate(data: Dataset) -> Dataset:
    """The same data set, or DataError with every fault found (at most 20 named)."""
    faults: list[str] = []
    pids = sorted({e.pid for e in data.train})
    if pids and pids != list(range(len(pids))):
        faults.append(f"training ids must be 0 … {len(pids) - 1} without gaps; found {pids[0]} … {pids[-1]}")
    for i, row in enumerate(data.train):
        if not row.images:
            faults.append(f"training row {i} (pid {row.pid}) has no photograph")
    for split, benchmarks in (("val", data.val), ("test", data.test)):
        for name, bench in benchmarks.items():
            faults += [f"{split} {name}: {fault}" for fault in _benchmark_faults(bench)]
    if not (data.train or data.val or data.test):
        faults.append("it holds no rows at all")
    if faults:
        more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError(f"{data.name}: {len(faults)} faults\n  " + "\n  ".join(faults[:20]) + more)
    return data


def _benchmark_faults(bench: Benchmark) -> list[str]:
    faults = [] if bench.photos else ["the gallery has no photographs"]
    if not bench.probes:
        faults.append("there are no probes")
    paths = [p.path for p in bench.photos]
    if len(set(paths)) < len(paths):
        faults.append(f"{len(paths) - len(set(paths))} photographs are in the gallery twice")
    for i, probe in enumerate(bench.probes):
        if not probe.query.kind:
            faults.append(f"probe {i} (pid {probe.pid}) asks with nothing")
        if any(not 0 <= j < len(paths) for j in probe.ignore):
            faults.append(f"probe {i} ignores photographs outside the gallery of {len(paths)}")
    return faults
