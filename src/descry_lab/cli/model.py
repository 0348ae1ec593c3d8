"""descry model measure and descry model compose: what a model can read of people, and how sketch and words are joined,
both on labelled data that is not for testing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from descry.cli.machine import Flag, Json, Machine, OnMachine, emit, refuse_unread
from descry.errors import UsageError, nearest
from descry.escape import counted

if TYPE_CHECKING:
    from ..choosing import Line
    from ..reading import Measured


def measure(
    run: tyro.conf.Positional[str],
    /,
    data: tuple[str, ...],
    split: str = "val",
    dry_run: Flag = False,
    json_: Json = False,
    machine: OnMachine = Machine(),
) -> int:
    """Measure which words a model can read, and how it should rank; write it into the run's config.json.

    Phrases, NOT phrases and answers are then weighted by these measurements, and questions ask only about what the
    model reads. Labels are attributes where the data has them, else words of its captions. Vectors, and so
    galleries, stay valid.

    Args:
        run: a run folder, or demo (which is measured and not changed).
        data: a data set with a validation split, or NAME and its folder.
        split: val; test is for data that nothing will be reported on.
        dry_run: measure and write nothing.
    """
    from descry.checkpoint import load_any, read_config, write_config
    from descry.training.start import read_data

    from ..reading import measure as run_measure

    if split not in ("val", "test"):
        raise UsageError(f"--split {split} was given; {nearest(split, ['val', 'test'])}")
    refuse_unread(measure, locals(), "machine.batch_size machine.seed", "it has fixed batches and no chance")
    machine.settle()
    benchmarks = getattr(read_data(data), split)
    if not benchmarks:
        raise UsageError(
            f"the data set has no {split} split; give one that has, or --split {'test' if split == 'val' else 'val'}"
        )
    model = machine.load(run)
    bench = max(benchmarks.values(), key=lambda b: len(b.photos))
    print(f"measuring on {counted(len(bench.photos), 'photograph')} of the {split} split", file=sys.stderr)
    found = run_measure(model, benchmarks, Path(data[-1]))
    folder = load_any(run)[2]
    keep = not dry_run and run != "demo"
    if keep:
        notes = {"measured_on": f"{bench.fingerprint()[:16]}, {split}"}
        config = found.ranking.saved(read_config(folder), **notes)
        write_config(folder, config)
    if json_:
        emit(True, found.to_json() | {"kept": keep})
        return 0
    print(*_lines(found), sep="\n")
    print(f"{folder}: {'now ranks and asks by this' if keep else 'not changed'}")
    return 0


def _lines(found: Measured) -> list[str]:
    out = [f"labels: {found.labels}", f"{'phrase':<34} with / without   told apart, of 100 pairs (95 % interval)"]
    for r in found.readings:
        said = "" if r.readable else "   cannot be read"
        better = f"   as {', '.join(r.prompts[0])}" if r.prompts else ""
        span = f"{100 * r.auroc:5.1f} ({100 * r.low:.1f} to {100 * r.high:.1f})"
        out.append(f"{r.phrase:<34} {r.people[0]:>4} / {r.people[1]:<7} {span}{said}{better}")
    bad = [r.phrase for r in found.readings if not r.readable]
    readable = len(found.readings) - len(bad)
    out.append(
        f"{readable} of {counted(len(found.readings), 'phrase')} can be read; of the others nothing is asked, "
        "nor do they count"
    )
    if bad:
        out.append(f"cannot be read: {', '.join(bad)}")
    if found.unmeasured:
        out.append(f"too few people to measure: {', '.join(found.unmeasured)}")
    if found.compositions:
        best = found.compositions[0]
        out.append(
            f"sketch and words: {best.composition.how} is best (R@1 {best.ranks.r1:.2f}, mAP {best.ranks.map:.2f})"
        )
    out += [f"absence, {kind}: {said}" for kind, said in found.absence.items()]
    return out


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
    rows = [_compared(line) for line in lines]
    if json_:
        emit(True, {"best": best, "kept": keep, "compositions": rows})
        return 0
    for row in rows:
        figures = f"R@1 {row['R@1']:6.2f}  mAP {row['mAP']:6.2f}  {row['paired']}"
        print(f"{row['how']:<12} text {row['text']:<5} early {row['early']:<4} {figures}")
    print(f"best on validation: {best['default']}{'; now served' if keep else '; --keep makes it the served one'}")
    return 0


def _compared(line: Line) -> dict[str, Any]:
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
