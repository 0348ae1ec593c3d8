"""descry plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from descry.cli.machine import Count, Machine, Natural, OnMachine, OutPicture, refuse_unread
from descry.errors import Bound, DataError, UsageError, nearest
from descry.tabular import json_lines

if TYPE_CHECKING:
    from descry.records import Benchmark, Photo

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
    refuse_unread(plot, locals(), "machine.batch_size", "figures have fixed batches")
    machine.settle()
    if kind not in KINDS:
        raise UsageError(f"there is no figure {kind!r}; {nearest(kind, list(KINDS))}")
    unread = " ".join(name for name, figures in READ.items() if kind not in figures)
    refuse_unread(plot, locals(), unread, f"{kind} does not read it")
    if kind != "map":
        refuse_unread(plot, locals(), "machine.seed", f"nothing of {kind} is random")
    if not sources:
        raise UsageError(f"{kind} needs what is drawn: result files, run folders or models")
    asked = Asked(sources, out, data, benchmark, table, measure, probes or (0, 1, 2), people, most, machine)
    print(KINDS[kind](asked))
    return 0


@dataclass(frozen=True)
class Asked:
    """The options of `plot`."""

    sources: tuple[str, ...]
    out: Path
    data: tuple[str, ...]
    benchmark: str
    table: str
    measure: str
    probes: tuple[int, ...]
    people: int
    most: int
    machine: Machine


def _rows(asked: Asked) -> dict[str, dict[str, Any]]:
    """Name → row of the result files; a file with several compositions gives one row for each."""
    from descry.studies.results import read_results

    out: dict[str, dict[str, Any]] = {}
    held: list[str] = []
    for source in asked.sources:
        for row in read_results(source)["results"]:
            held.append(row["benchmark"])
            if row["benchmark"] == (asked.benchmark or held[0]):
                how = " ".join(x for x in (row["composition"], row.get("note", "")) if x)
                name = Path(source).stem if len(asked.sources) > 1 else ""
                out[f"{name} {how}".strip() or row["benchmark"]] = row
    if not out:
        known = nearest(asked.benchmark, sorted(set(held)))
        raise UsageError(f"there is no benchmark {asked.benchmark!r} in these files; {known}")
    return out


def _cmc(asked: Asked) -> Path:
    from descry.studies.results import ranks_of

    from ..figures import curves

    lines = {name: ranks_of(row)[0].cmc[:20].tolist() for name, row in _rows(asked).items()}
    return curves(lines, asked.out)


def _bars(asked: Asked) -> Path:
    from ..figures import bars

    rows, measure = _rows(asked), asked.measure
    some = next(iter(rows.values()))
    if measure not in some:
        raise UsageError(f"there is no measure {measure!r}; {nearest(measure, [k for k in some if k[0] in 'Rm'])}")
    errors = {name: tuple(r["intervals"][measure]) for name, r in rows.items() if measure in r["intervals"]}
    return bars({name: r[measure] for name, r in rows.items()}, asked.out, f"{measure} (%), 95 % intervals", errors)


def _ablation(asked: Asked) -> Path:
    """One bar for each row of a table, the mean over seeds; the range over seeds, or of one seed its interval."""
    from descry.studies.ledger import latest, read

    from ..figures import bars
    from ..tables import table_of

    table, measure = asked.table, asked.measure
    shown = table_of(table) if table else None
    if not shown:
        raise UsageError("ablation needs --table NAME, such as propot-4")
    column = next((c for c in shown.columns if c.measure == measure), None)
    if not column:
        raise UsageError(
            f"{table} has no measure {measure!r}; {nearest(measure, sorted({c.measure for c in shown.columns}))}"
        )
    rows: dict[str, list[Any]] = {}
    for entry in latest([e for source in asked.sources for e in read(Path(source))], table):
        if entry.scale != "smoke" and measure in entry.figures.get(column.asked, {}):
            rows.setdefault(entry.row, []).append(entry)
    if not rows:
        raise DataError(
            f"{', '.join(asked.sources)} holds no line of {table}; its recipe writes them into WORK/ledger.jsonl"
        )
    values, errors = {}, {}
    for row, entries in rows.items():
        found = [e.figures[column.asked][measure] for e in entries]
        values[row] = sum(found) / len(found)
        interval = entries[0].intervals.get(column.asked, {}).get(measure)
        if len(found) > 1 or interval:
            errors[row] = (min(found), max(found)) if len(found) > 1 else tuple(interval)
    at = shown.columns.index(column)
    papers = {row: figures[at] for row, figures in shown.rows.items() if row in values}
    return bars(
        values, asked.out, column.label, errors, papers if any(v is not None for v in papers.values()) else None
    )


def _losses(asked: Asked) -> Path:
    from ..figures import curves

    lines: dict[str, list[float]] = {}
    for source in asked.sources:
        log = Path(source) / "log.jsonl"
        if not log.is_file():
            raise DataError(f"{source} holds no log.jsonl; give the folder of a training run")
        name = f"{Path(source).name} " if len(asked.sources) > 1 else ""
        for _, row in json_lines(log):
            for key in row.keys() - {"step", "epoch", "lr", "val"}:
                lines.setdefault(f"{name}{key}", []).append(row[key])
    return curves({k: smoothed(v) for k, v in sorted(lines.items())}, asked.out, labels=("step", "loss"))


def smoothed(values: list[float], over: int = 50) -> list[float]:
    """The running mean of the last steps, at most `over` of them: single batches hide where a loss goes."""
    total, out = 0.0, []
    for i, value in enumerate(values):
        total += value - (values[i - over] if i >= over else 0.0)
        out.append(total / min(i + 1, over))
    return out


def _rounds(asked: Asked) -> Path:
    """A line for each policy: the mean over seeds, with a band of one standard deviation where there are several."""
    from ..figures import curves

    courses: dict[str, list[list[float]]] = {}
    for source in asked.sources:
        try:
            held = json.loads(Path(source).read_text(encoding="utf-8"))
            for course in held["courses"] if isinstance(held, dict) else held:
                courses.setdefault(course["policy"], []).append(course["curve"][asked.measure])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{source} holds no {asked.measure} per round ({error}); make it: descry simulate … --out FILE"
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
    return curves(mean, asked.out, x, ("round", f"{asked.measure} (%)"), bands)


def _over(courses: list[list[float]], function: Callable[[list[float]], float]) -> list[float]:
    return [function(list(values)) for values in zip(*courses, strict=True)]


def _benches(asked: Asked) -> dict[str, Benchmark]:
    from descry.training.start import read_data

    if not asked.data:
        raise UsageError("this figure needs --data FOLDER, or --data NAME --data FOLDER")
    held = dict(read_data(asked.data).test)
    if not held:
        raise UsageError(f"{asked.data[-1]} has no test split")
    return held


def _bench(held: dict[str, Benchmark], name: str) -> Benchmark:
    if name not in held:
        raise UsageError(f"there is no benchmark {name!r}; {nearest(name, list(held))}")
    return held[name]


def _photos(asked: Asked) -> list[Photo]:
    """The photographs of the first people of a gallery."""
    from ..internals import of_first

    return of_first(next(iter(_benches(asked).values())), asked.people)


def _grid(asked: Asked) -> Path:
    """The first photographs of some probes, with right and wrong frames."""
    from ..figures import rank_grid
    from ..grids import shown

    held = _benches(asked)
    bench = _bench(held, asked.benchmark or next(iter(held)))
    if not all(0 <= p < len(bench.probes) for p in asked.probes):
        raise UsageError(f"probes {asked.probes} were asked for; {bench.name} has 0 to {len(bench.probes) - 1}")
    models = {s: asked.machine.load(s) for s in asked.sources}
    alone = held.get("sketch") if bench.name.startswith("sketch+") else None
    rows = [row for p in asked.probes for s, model in models.items()
            for row in shown(model, bench, p, s, asked.most, alone)]  # fmt: skip
    return rank_grid(rows, asked.out, asked.most)


def _map(asked: Asked, how: str = "tsne") -> Path:
    """Photographs of a few people in the plane."""
    from ..figures import scatter
    from ..maps import pca, tsne

    if len(asked.sources) > 1:
        raise UsageError(f"a map is of one model; {len(asked.sources)} were given")
    few = _photos(asked)
    vectors = asked.machine.load(asked.sources[0]).embed_images([p.path for p in few])
    points = pca(vectors) if how == "pca" else tsne(vectors, seed=asked.machine.seed)
    people = [p.pid for p in few]
    return scatter(points, people, asked.out, f"{len(few)} photographs of {len(set(people))} people, {how}")


def _silhouettes(asked: Asked) -> Path:
    """A bar for each model: the silhouette of the photographs under their people, −1 to 1 (VFE-TPS §4.5.4)."""
    from descry.methods.vfe_tps import silhouette

    from ..figures import bars

    few = _photos(asked)
    paths, people = [p.path for p in few], [p.pid for p in few]
    found = {s: silhouette(asked.machine.load(s).embed_images(paths), people) for s in asked.sources}
    return bars(found, asked.out, f"silhouette of {len(set(people))} people")


def _masks(asked: Asked) -> Path:
    """Photographs, what was hidden of them, and what each model drew there."""
    from descry.embed import load

    from ..figures import reconstructions
    from ..internals import redrawn

    bench = _bench(_benches(asked), asked.benchmark or "text")
    lines = redrawn(((load(s, "cpu"), Path(s)) for s in asked.sources), bench, asked.people)
    return reconstructions(lines, ["photograph", "hidden", *(Path(s).name for s in asked.sources)], asked.out)


def _prototypes(asked: Asked) -> Path:
    """The cosines of Propot's prototypes, words against pictures, of the first training people."""
    from descry.embed import load
    from descry.training.start import read_data

    from ..figures import heatmap
    from ..internals import prototype_similarity

    if len(asked.sources) > 1:
        raise UsageError(f"prototypes are of one model; {len(asked.sources)} were given")
    if not asked.data:
        raise UsageError("prototypes need the data that the run learnt from: --data FOLDER, or NAME and its folder")
    run = asked.sources[0]
    matrix = prototype_similarity(load(run, "cpu"), Path(run), read_data(asked.data), asked.people)
    names = [str(n) for n in range(len(matrix))]
    return heatmap(matrix, asked.out, "cosine of prototypes: words (down), pictures (across)", (names, names))


KINDS: dict[str, Callable[[Asked], Path]] = {
    "cmc": _cmc, "bars": _bars, "losses": _losses, "rounds": _rounds, "ablation": _ablation, "grid": _grid,
    "map": _map, "map-pca": lambda asked: _map(asked, "pca"), "silhouette": _silhouettes, "masks": _masks,
    "prototypes": _prototypes,
}  # fmt: skip
