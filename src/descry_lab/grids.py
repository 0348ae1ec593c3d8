"""What a model finds for single probes, as rows of a rank grid, so that people can look at the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from descry.embed import Model
from descry.evaluate import Embedded, scores_of
from descry.records import Benchmark, Probe


@dataclass(frozen=True)
class Shown:
    """One answered probe: its drawing or photograph ("" for none), its words, the first paths, and which are right."""

    found: Sequence[str]
    right: Sequence[bool | None]
    query: str = ""
    text: str = ""
    name: str = ""


def answered(bench: Benchmark, probe: Probe, scores: np.ndarray, name: str = "", most: int = 10) -> Shown:
    """The first photographs of one probe. scores: (photographs,), larger is nearer; those it ignores are left out."""
    scores = np.array(scores, np.float64)
    scores[list(probe.ignore)] = -np.inf
    best = [bench.photos[i] for i in np.argsort(-scores, kind="stable")[:most]]
    drawn = [str(p.value) for p in (*probe.query.sketches, *probe.query.photos)]
    said = ", ".join(str(p.value) for p in probe.query.wanted)
    return Shown([p.path for p in best], [p.pid == probe.pid for p in best], drawn[0] if drawn else "", said, name)


def shown(
    model: Model, bench: Benchmark, probe: int, name: str = "", most: int = 10, before: Benchmark | None = None
) -> list[Shown]:
    """What a model finds for one probe; with `before`, first for the same sketch alone there."""
    asked = bench.probes[probe]
    rows = []
    if before:
        drawn = [p.value for p in asked.query.sketches]
        own = [p for p in before.probes if p.pid == asked.pid]
        first = next((p for p in own if [s.value for s in p.query.sketches] == drawn), next(iter(own), None))
        rows = shown(model, replace(before, probes=(first,)), 0, name, most) if first else []
    scores = scores_of(model, [asked], Embedded.of(model, bench))[0]
    return [*rows, answered(bench, asked, scores, name, most)]
