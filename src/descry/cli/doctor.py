"""descry doctor."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path

from .machine import Flag, Json, emit


def doctor(
    model: str = "",
    folder: Path = Path("."),
    quick: Flag = False,
    json_: Json = False,
) -> int:
    """What this machine can do, and one line of advice for each problem. Exit status 4 when the model named is refused.

    Args:
        model: also load this model and time its encoder: demo, a run folder or a CLIP.
        folder: where you will keep galleries.
        quick: skip the checks that take seconds.
    """
    from ..doctor import examine

    found = examine(model, folder, quick)
    lines = [(f"{f.name:<11} {f.value}", *((f"{'':<11} → {f.advice}",) if f.advice else ())) for f in found]
    emit(json_, [asdict(f) for f in found], *chain.from_iterable(lines))
    return 4 if any(finding.refused for finding in found) else 0
