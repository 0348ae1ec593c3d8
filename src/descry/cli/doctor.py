"""descry doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from .machine import Flag, Json


def doctor(
    model: str = "",
    folder: Path = Path("."),
    quick: Flag = False,
    json_: Json = False,
) -> int:
    """What this machine can do, and one line of advice for each problem. Exit status 4 when the model named is refused.

    Args:
        model: also load this model and time its encoder: demo, a run folder or a CLIP.
        folder: where galleries will lie.
        quick: leave out what takes seconds.
        json_: print JSON.
    """
    from ..doctor import examine

    found = examine(model, folder, quick)
    if json_:
        print(json.dumps([asdict(f) for f in found], indent=1))
        return 4 if any(finding.refused for finding in found) else 0
    for finding in found:
        print(f"{finding.name:<11} {finding.value}")
        if finding.advice:
            print(f"{'':<11} → {finding.advice}")
    return 4 if any(finding.refused for finding in found) else 0
