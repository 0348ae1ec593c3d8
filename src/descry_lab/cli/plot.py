"""descry plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from descry.cli.machine import Count, Machine, Natural, OnMachine, OutPicture, refuse_unread
from descry.errors import Bound, DataError, UsageError, nearest
from descry.tabular import json_lines

_PEOPLE = ("map", "map-pca", "silhouette", "masks", "prototypes")
READ = {
    "data": ("grid", *_PEOPLE), "benchmark": ("cmc", "bars", "grid", "masks"), "table": ("ablation",),
    "measure": ("bars", "ablation", "rounds"), "probes": ("grid",), "people": _PEOPLE, "most": ("grid",),
}  # fmt: skip
"""Option → the figures that read it."""


def plot(
    kind: tyro.conf.Positional[str],
    sources: tyro.conf.Positional[tuple[str, ...]],
    /,
    out: OutPicture,
    data: tuple[str, ...] = (),
    benchmark: str = "",
    table: str = "",
    measure: str = "R@1",
    probes: tuple[Natural, ...] = (),
    people: Count = 10,
    most: Annotated[int, Bound(1, 1000)] = 10,
    machine: OnMachine = Machine(),
) -> int:
    """Figures as PNG, SVG or PDF, by the name of the file.

    From files of descry evaluate --per-query: cmc, bars. From a ledger: ablation, the rows of one --table beside the
    paper's. From run folders: losses. From files of descry simulate --out: rounds. From models and --data: grid, first
    photographs with right and wrong frames, a row for each model and probe (for queries of sketch and words, the
    sketch alone comes first); map, photographs of a few people by t-SNE, or by PCA (map-pca);
    silhouette, how well people lie apart; masks, what VFE-TPS draws where photographs were hidden; prototypes, how
    similar those of Propot are.

    Args:
        kind: cmc, bars, ablation, losses, rounds, grid, map, map-pca, silhouette, masks or prototypes.
        sources: what is drawn: result files, a ledger, run folders, or models.
        out: the file to write: .png, .svg or .pdf.
        data: for figures of models: a data set folder, or NAME and its folder; its test split is drawn.
        benchmark: which one of the data set or of the result files; if omitted, the first.
        table: for ablation: propot-4, vfe-tps-6, …
        measure: for bars, ablation and rounds.
        probes: for grid: numbers of the queries, counted from 0; if omitted, the first three.
        people: for map, silhouette, masks and prototypes: how many.
        most: for grid: photographs in a row.
    """
    from . import plot_models as models

    refuse_unread(plot, locals(), "machine.batch_size", "figures have fixed batches")
    machine.settle()
    kinds: dict[str, Callable[[], Path]] = {
        "cmc": lambda: _cmc(sources, benchmark, out),
        "bars": lambda: _bars(sources, benchmark, measure, out),
        "losses": lambda: _losses(sources, out),
        "rounds": lambda: _rounds(sources, measure, out),
        "ablation": lambda: _ablation(sources, table, measure, out),
        "grid": lambda: models.grid(sources, data, benchmark, probes or (0, 1, 2), most, machine, out),
        "map": lambda: models.embedding_map(sources, data, people, machine, out, "tsne"),
        "map-pca": lambda: models.embedding_map(sources, data, people, machine, out, "pca"),
        "silhouette": lambda: models.silhouettes(sources, data, people, machine, out),
        "masks": lambda: models.masks(sources, data, benchmark, people, machine, out),
        "prototypes": lambda: models.prototypes(sources, data, people, machine, out),
    }
    if kind not in kinds:
        raise UsageError(f"there is no figure {kind!r}; {nearest(kind, list(kinds))}")
    unread = " ".join(name for name, figures in READ.items() if kind not in figures)
    refuse_unread(plot, locals(), unread, f"{kind} does not read it")
    if kind != "map":
        refuse_unread(plot, locals(), "machine.seed", f"nothing of {kind} is random")
    if not sources:
        raise UsageError(f"{kind} needs what is drawn: result files, run folders or models")
    print(kinds[kind]())
    return 0


def _rows(sources: tuple[str, ...], benchmark: str) -> dict[str, dict[str, Any]]:
    """Name → row of the result files; a file with several compositions gives one row for each."""
    from descry.studies.results import read_results

    out: dict[str, dict[str, Any]] = {}
    held: list[str] = []
    for source in sources:
        for row in read_results(source)["results"]:
            held.append(row["benchmark"])
            if row["benchmark"] == (benchmark or held[0]):
                how = " ".join(x for x in (row["composition"], row.get("note", "")) if x)
                name = Path(source).stem if len(sources) > 1 else ""
                out[f"{name} {how}".strip() or row["benchmark"]] = row
    if not out:
        raise UsageError(f"there is no benchmark {benchmark!r} in these files; {nearest(benchmark, sorted(set(held)))}")
    return out


def _cmc(sources: tuple[str, ...], benchmark: str, out: Path) -> Path:
    from descry.studies.results import ranks_of

    from ..figures import curves

    lines = {name: ranks_of(row)[0].cmc[:20].tolist() for name, row in _rows(sources, benchmark).items()}
    return curves(lines, out)


def _bars(sources: tuple[str, ...], benchmark: str, measure: str, out: Path) -> Path:
    from ..figures import bars

    rows = _rows(sources, benchmark)
    some = next(iter(rows.values()))
    if measure not in some:
        raise UsageError(f"there is no measure {measure!r}; {nearest(measure, [k for k in some if k[0] in 'Rm'])}")
    errors = {name: tuple(r["intervals"][measure]) for name, r in rows.items() if measure in r["intervals"]}
    return bars({name: r[measure] for name, r in rows.items()}, out, f"{measure} (%), 95 % intervals", errors)


def _ablation(sources: tuple[str, ...], table: str, measure: str, out: Path) -> Path:
    """One bar for each row of a table, the mean over seeds; the range over seeds, or of one seed its interval."""
    from descry.studies.ledger import latest, read

    from ..figures import bars
    from ..tables import table_of

    shown = table_of(table) if table else None
    if not shown:
        raise UsageError("ablation needs --table NAME, such as propot-4")
    column = next((c for c in shown.columns if c.measure == measure), None)
    if not column:
        raise UsageError(
            f"{table} has no measure {measure!r}; {nearest(measure, sorted({c.measure for c in shown.columns}))}"
        )
    rows: dict[str, list[Any]] = {}
    for entry in latest([e for source in sources for e in read(Path(source))], table):
        if entry.scale != "smoke" and measure in entry.figures.get(column.asked, {}):
            rows.setdefault(entry.row, []).append(entry)
    if not rows:
        raise DataError(f"{', '.join(sources)} holds no line of {table}; its recipe writes them into WORK/ledger.jsonl")
    values, errors = {}, {}
    for row, entries in rows.items():
        found = [e.figures[column.asked][measure] for e in entries]
        values[row] = sum(found) / len(found)
        interval = entries[0].intervals.get(column.asked, {}).get(measure)
        if len(found) > 1 or interval:
            errors[row] = (min(found), max(found)) if len(found) > 1 else tuple(interval)
    at = shown.columns.index(column)
    papers = {row: figures[at] for row, figures in shown.rows.items() if row in values}
    return bars(values, out, column.label, errors, papers if any(v is not None for v in papers.values()) else None)


def _losses(sources: tuple[str, ...], out: Path) -> Path:
    from ..figures import curves

    lines: dict[str, list[float]] = {}
    for source in sources:
        log = Path(source) / "log.jsonl"
        if not log.is_file():
            raise DataError(f"{source} holds no log.jsonl; give the folder of a training run")
        name = f"{Path(source).name} " if len(sources) > 1 else ""
        for _, row in json_lines(log):
            for key in row.keys() - {"step", "epoch", "lr", "val"}:
                lines.setdefault(f"{name}{key}", []).append(row[key])
    return curves({k: smoothed(v) for k, v in sorted(lines.items())}, out, labels=("step", "loss"))


def smoothed(values: list[float], over: int = 50) -> list[float]:
    """The running mean of the last steps, at most `over` of them: single batches hide where a loss goes."""
    total, out = 0.0, []
    for i, value in enumerate(values):
        total += value - (values[i - over] if i >= over else 0.0)
        out.append(total / min(i + 1, over))
    return out


def _rounds(sources: tuple[str, ...], measure: str, out: Path) -> Path:
    """A line for each policy: the mean over seeds, with a band of one standard deviation where there are several."""
    from ..figures import curves

    courses: dict[str, list[list[float]]] = {}
    for source in sources:
        try:
            held = json.loads(Path(source).read_text(encoding="utf-8"))
            for course in held["courses"] if isinstance(held, dict) else held:
                courses.setdefault(course["policy"], []).append(course["curve"][measure])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{source} holds no {measure} per round ({error}); make it: descry simulate … --out FILE"
            ) from None
    mean = {name: _over(c, lambda v: sum(v) / len(v)) for name, c in courses.items()}
    bands = {}
    for name, several in courses.items():
        if len(several) > 1:
            spread = _over(several, lambda v: (sum((x - sum(v) / len(v)) ** 2 for x in v) / (len(v) - 1)) ** 0.5)
            bands[name] = (
                [m - s for m, s in zip(mean[name], spread, strict=True)],
                [m + s for m, s in zip(mean[name], spread, strict=True)],
            )
    x = list(range(max(len(v) for v in mean.values())))
    return curves(mean, out, x, ("round", f"{measure} (%)"), bands)


def _over(courses: list[list[float]], function: Callable[[list[float]], float]) -> list[float]:
    return [function(list(values)) for values in zip(*courses, strict=True)]
