"""descry evaluate, descry compare."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import UsageError, nearest
from ..escape import counted
from ..ranking import COMPOSITIONS, SERVED
from ..safe_files import read_json
from ..tabular import write_rows
from .machine import Flag, Json, Machine, OnMachine, OutFile, Seed, Size, emit, refuse_unread

LEADS = ("R@1", "mAP")
WAYS = {
    "early": "one prompt of picture and words",
    "late": "the scores of picture and words added",
    "pseudo": "the picture read as a word, and the words",
    "served": "what a search with this model uses",
}
"""What the names in the column composition mean, for those who read the table."""


@dataclass(frozen=True)
class Foreign:
    """Scores of another method in place of a model.

    Args:
        scores: a .npy file of (queries, photographs), larger for nearer.
        write_order: only write the order of rows and columns that a score matrix must have, as CSV, to this file.
    """

    scores: Path | None = None
    write_order: OutFile | None = None


@dataclass(frozen=True)
class Output:
    """What is told, and how.

    Args:
        slices: also by sketch style, camera, attribute and caption length.
        per_query: keep the values of every query in this file; descry compare tests on them.
        csv: also write a table to this file.
        json: print JSON.
    """

    slices: Flag = False
    per_query: OutFile | None = None
    csv: OutFile | None = None
    json: Flag = False


def evaluate(
    run: tyro.conf.Positional[str] = "",
    /,
    data: tuple[str, ...] = (),
    benchmark: str = "",
    split: str = "test",
    leaks: Path | None = None,
    image_size: Size | None = None,
    foreign: Annotated[Foreign, tyro.conf.arg(name="")] = Foreign(),
    output: Annotated[Output, tyro.conf.arg(name="")] = Output(),
    machine: OnMachine = Machine(),
) -> int:
    """Rank metrics with 95 % intervals: of a model, in every way it can answer, or of any method's score matrix.

    Results of a run folder are also recorded in its ledger.jsonl.

    Args:
        run: a run folder, a CLIP folder or hub name, or demo; nothing with --scores.
        data: a data set folder, or NAME and its folder.
        benchmark: only this one of the data set (text, sketch, …); with --scores also a CSV that --write-order wrote.
        split: test or val.
        leaks: a list that descry data leaks wrote; results without its identities are given beside the others.
        image_size: height and width, for a plain CLIP; a run has its own.
    """
    from ..library import DEMO
    from ..studies.results import remember, row_of

    refuse_unread(evaluate, locals(), "machine.batch_size machine.seed", "evaluation has fixed batches and no chance")
    machine.settle()
    begun = time.monotonic()
    if run and not data:
        raise UsageError(f"say what {run} is evaluated on: --data FOLDER, or --data NAME --data FOLDER")
    benchmarks, about = _benchmarks(data, split, benchmark)
    if foreign.write_order:
        refuse_unread(evaluate, locals(), "run leaks image_size output", "--write-order ranks nothing")
        if foreign.scores:
            raise UsageError("--scores and --write-order were given; write the order first, then rank the scores")
        return _write_order(benchmarks, foreign.write_order)
    if foreign.scores:
        if run:
            raise UsageError(f"{run} and --scores were given; a result is of a model or of a score matrix")
        refuse_unread(evaluate, locals(), "leaks image_size", "--scores embeds no picture")
        evaluations, about = _foreign(benchmarks, foreign.scores, about)
    elif run:
        evaluations, about = _model(run, benchmarks, about, leaks, image_size, machine)
    else:
        raise UsageError("name what is evaluated: a run folder, demo, or --scores FILE")
    kept = [row_of(e, per_query=True) for e in evaluations]
    if run and Path(run) != DEMO:
        remember(Path(run), kept, about, " ".join(["descry", *sys.argv[1:]]), time.monotonic() - begun)
    return _report(evaluations, kept, benchmarks, about, output)


def _benchmarks(data: tuple[str, ...], split: str, only: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The benchmarks asked for, and what is said about them."""
    from ..training.start import read_data

    if split not in ("test", "val"):
        raise UsageError(f"there is no split {split!r}; {nearest(split, ['test', 'val'])}")
    if not data:
        if not Path(only).is_file():
            raise UsageError("give --data FOLDER, or --data NAME --data FOLDER; or --benchmark FILE.csv with --scores")
        from ..studies.matrices import read_order

        if split != "test":
            raise UsageError(f"--split {split} was given, and {only} says itself what is ranked; leave it out")
        bench = read_order(only)
        return {bench.name: bench}, {"data": bench.name, "split": "as the file says"}
    dataset = read_data(data)
    held: dict[str, Any] = dict(dataset.test if split == "test" else dataset.val)
    if not held:
        raise UsageError(f"{dataset.name} has no {split} split")
    if only and only not in held:
        raise UsageError(f"{dataset.name} has no benchmark {only!r}; {nearest(only, list(held))}")
    return {only: held[only]} if only else held, {"source": dataset.source, "data": dataset.name, "split": split}


def _one(benchmarks: dict[str, Any]) -> Any:
    if len(benchmarks) > 1:
        raise UsageError(f"say which one with --benchmark; the data set has {', '.join(benchmarks)}")
    return next(iter(benchmarks.values()))


def _write_order(benchmarks: dict[str, Any], path: Path) -> int:
    from ..studies.matrices import write_order

    bench = _one(benchmarks)
    write_order(bench, path)
    print(f"{path}: {counted(len(bench.probes), 'query', 'queries')}, then {counted(len(bench.photos), 'photograph')}")
    print(
        "next: save your scores in this order with numpy.save, then descry evaluate --scores FILE.npy --benchmark "
        f"{path}"
    )
    return 0


def _foreign(benchmarks: dict[str, Any], scores: Path, about: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    from ..evaluate import judged
    from ..studies.matrices import read_scores

    bench = _one(benchmarks)
    said = {"model": str(scores.name), "selection": "unknown: scores of another method", "note": ""}
    return [judged(bench, read_scores(scores, bench))], said | about


def _model(
    run: str,
    benchmarks: dict[str, Any],
    about: dict[str, Any],
    leaks: Path | None,
    image_size: Any,
    machine: Machine,
) -> tuple[list[Any], dict[str, Any]]:
    from ..data.leaks import load_leaks, resolved
    from ..evaluate import evaluate_all
    from ..training.start import tell_unknown

    listed = load_leaks(leaks) if leaks else None
    if listed:
        resolved(listed, benchmarks.values(), about["split"])
    model = machine.load(run, image_size)
    tell_unknown(model.words, (p.value for b in benchmarks.values() for q in b.probes for p in q.query.wanted))
    found = evaluate_all(model, benchmarks, lambda line: print(line, file=sys.stderr, flush=True), listed)
    said = {
        "model": run,
        "fingerprint": model.fingerprint,
        "search_fingerprint": model.search_fingerprint,
        "pretrained_clip": model.pretrained,
        "selection": _selection(Path(run), model.about),
        "note": model.note,
    }
    return found, said | about


def _selection(run: Path, about: Mapping[str, Any]) -> str:
    """By what the epoch was chosen, as the run folder says."""
    try:
        return str(read_json(run / "metrics.json")["selection"])
    except (OSError, ValueError, KeyError):
        return str(about.get("selection", "nothing was selected here"))


def _report(
    evaluations: list[Any],
    kept: list[dict[str, Any]],
    benchmarks: dict[str, Any],
    about: dict[str, Any],
    output: Output,
) -> int:
    from ..studies.results import FORMAT, KIND, flat, slices, write_results

    rows = [{k: v for k, v in row.items() if k != "queries"} for row in kept]
    whole = [e for e in evaluations if not e.note and e.benchmark in benchmarks]
    parts = [row for e in whole for row in slices(benchmarks[e.benchmark], e)] if output.slices else []
    if output.per_query:
        write_results(output.per_query, about, kept)
    if output.csv:
        lines = [flat(row) for row in rows + parts]
        names = list(dict.fromkeys(name for line in lines for name in line))
        write_rows(output.csv, [names, *([line.get(name, "") for name in names] for line in lines)])
    if output.json:
        emit(True, {"kind": KIND, "format": FORMAT} | about | {"results": rows, "slices": parts})
        return 0
    print(*table([_shown(row) for row in rows]), sep="\n")
    if parts:
        print("", *table([_shown(row) for row in parts]), sep="\n")
    known = "pretrained_clip" in about
    clip = f"{'a' if about['pretrained_clip'] else 'no'} pretrained CLIP was used" if known else ""
    said = [f"{about['data']}, {about['split']} split", f"epoch selected on: {about['selection']}", clip, about["note"]]
    print("; ".join(filter(None, said)))
    print("[…] 95 % intervals by bootstrap over identities", file=sys.stderr)
    if ways := [f"{name}: {WAYS[name]}" for name in dict.fromkeys(row["composition"] for row in rows) if name in WAYS]:
        print(f"composition  {'; '.join(ways)}", file=sys.stderr)
    return 0


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """A row as text: intervals beside the leading figures."""
    out = {}
    for name, value in row.items():
        if name in ("intervals", "without_relevant") or (name == "note" and not value):
            continue
        text = f"{value:.2f}" if isinstance(value, float) else "" if value is None else str(value)
        if name in LEADS and name in row["intervals"]:
            low, high = row["intervals"][name]
            text += f" [{low:.1f}, {high:.1f}]"
        out[name] = text
    return out


def table(rows: list[dict[str, str]]) -> list[str]:
    """Rows of text as columns for a terminal; figures to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([row.get(n, "") for n in names] for row in rows)]
    width = [max(len(line[i]) for line in cells) for i in range(len(names))]
    left = {i for i, n in enumerate(names) if any(row.get(n, "")[:1].isalpha() for row in rows)}
    lines = [
        "  ".join(c.ljust(width[i]) if i in left else c.rjust(width[i]) for i, c in enumerate(line)) for line in cells
    ]
    return [line.rstrip() for line in lines]


def compare(
    a: tyro.conf.Positional[str],
    b: tyro.conf.Positional[str],
    /,
    ways: tuple[str, str] | None = None,
    measure: tuple[str, ...] = (),
    json_: Json = False,
    seed: Seed = 0,
) -> int:
    """Two results on the same queries: differences with 95 % intervals and a paired test over identities.

    Args:
        a: a file that descry evaluate wrote with --per-query. A file of --json will do, but is compared without a test.
        b: another; or the same, to compare two ways of composing.
        ways: compose A's queries in the first way and B's in the second, such as served and early.
        measure: R@1, R@5, R@10, mAP, mINP; if omitted, R@1 and mAP.
        seed: of the exchanges and draws.
    """
    from ..studies.results import compare as lines_of
    from ..studies.results import differences, read_results

    for way in ways or ():
        if way not in (SERVED, *COMPOSITIONS):
            raise UsageError(f"there is no composition {way!r}; {nearest(way, (SERVED, *COMPOSITIONS))}")
    one, other = read_results(a), read_results(b)
    lines = lines_of(one, other, ways, measure or ("R@1", "mAP"), seed=seed)
    said = differences(one, other)
    value = {"A": a, "B": b, "differences": said, "lines": lines}
    shown = table([_compared(line) for line in lines])
    emit(json_, value, *shown, *(f"the two also differ in {sentence}" for sentence in said))
    if json_:
        return 0
    if any(line["p"] is None for line in lines):
        print("lines without p: no values per query were kept; evaluate with --per-query FILE", file=sys.stderr)
    else:
        print(
            "paired sign-flip test over identities, corrected for all lines (Holm): below 0.05, at most 5 % of such "
            "tables claim a difference where there is none",
            file=sys.stderr,
        )
    return 0


def _compared(line: dict[str, Any]) -> dict[str, str]:
    out = {k: str(line[k]) for k in ("benchmark", "composition", "note", "measure") if line[k]}
    out |= {"A": f"{line['A']:.2f}", "B": f"{line['B']:.2f}", "A - B": f"{line['difference']:+.2f}"}
    if line["p"] is not None:
        out |= {"95 %": f"[{line['low']:+.2f}, {line['high']:+.2f}]", "p": f"{line['p']:.4f}"}
        out |= {"p holm": f"{line['p holm']:.4f}", "identities": str(line["identities"])}
    return out
