"""descry model compose: which way of joining sketch and words is served, chosen on validation."""

from __future__ import annotations

import sys
from typing import Any

import tyro

from descry.cli.machine import Flag, Json, Machine, OnMachine, emit, refuse_unread
from descry.errors import UsageError


def compose(
    run: tyro.conf.Positional[str],
    /,
    data: tuple[str, ...],
    keep: Flag = False,
    json_: Json = False,
    machine: OnMachine = Machine(),
) -> int:
    """Compare the ways of joining a sketch and words on a validation split; with --keep, searches use the best.

    Args:
        run: a run folder, or demo.
        data: a data set with a validation benchmark "sketch+text", or NAME and its folder.
        keep: write the best into the run's config.json; vectors, and so galleries, stay valid.
    """
    from descry.checkpoint import load_any, read_config, write_config
    from descry.evaluate import Embedded
    from descry.training.start import read_data

    from ..choosing import compare, compositions

    refuse_unread(compose, locals(), "machine.batch_size machine.seed", "it has fixed batches and no chance")
    machine.settle()
    bench = read_data(data).val.get("sketch+text")
    if bench is None:
        raise UsageError("the data set has no validation benchmark sketch+text; the test split is not for choosing")
    model = machine.load(run)
    print(f"comparing compositions on {len(bench.probes)} validation queries", file=sys.stderr)
    lines = compare(model, bench, Embedded.of(model, bench), compositions())
    best = lines[0].composition.to_json()
    if keep:
        folder = load_any(run)[2]
        chosen = {"chosen_on": bench.fingerprint()[:16], "R@1": round(lines[0].ranks.r1, 2)}
        config = model.ranking.using(lines[0].composition).saved(read_config(folder), **chosen)
        write_config(folder, config)
    rows = [_row(line) for line in lines]
    if json_:
        emit(True, {"best": best, "kept": keep, "compositions": rows})
        return 0
    for row in rows:
        figures = f"R@1 {row['R@1']:6.2f}  mAP {row['mAP']:6.2f}  {row['paired']}"
        print(f"{row['how']:<12} text {row['text']:<5} early {row['early']:<4} {figures}")
    print(f"best on validation: {best['default']}{'; now served' if keep else '; --keep makes it the served one'}")
    return 0


def _row(line: Any) -> dict[str, Any]:
    c, r = line.composition, line.ranks
    paired = "" if line.against is None else " ".join(f"{k} {v:.3g}" for k, v in line.against.items())
    return {
        "how": c.how,
        "text": c.text,
        "early": c.early,
        "R@1": round(r.r1, 2),
        "mAP": round(r.map, 2),
        "paired": paired,
    }
