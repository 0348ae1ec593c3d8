"""descry plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from ..errors import DataError, UsageError, nearest
from .machine import Machine, OnMachine


def plot(
    kind: tyro.conf.Positional[str],
    sources: tyro.conf.Positional[tuple[str, ...]],
    /,
    out: Path,
    data: tuple[str, ...] = (),
    benchmark: str = "",
    measure: str = "R@1",
    probes: tuple[int, ...] = (),
    people: int = 10,
    most: int = 10,
    machine: OnMachine = Machine(),
) -> int:
    """Figures as PNG, SVG or PDF, by the name of the file.

    cmc, bars: from files of descry evaluate --per-query. losses: from run folders. rounds: from files of descry
    simulate --json. grid: first photographs with right and wrong frames, one row for each model and probe; where a
    benchmark asks with sketch and words, the sketch alone stands before it. map: photographs of a few people by t-SNE,
    or by PCA (map-pca).

    Args:
        kind: cmc, bars, losses, rounds, grid, map or map-pca.
        sources: what is drawn: result files, run folders, or models.
        out: the file to write: .png, .svg or .pdf.
        data: for grid and map: a data set folder, or NAME and its folder; its test split is drawn.
        benchmark: which one of the data set or of the result files; left out, the first.
        measure: for bars and rounds.
        probes: for grid: numbers of probes from 0; may be repeated; left out, the first three.
        people: for map: how many.
        most: for grid: photographs in a row.
    """
    machine.settle()
    kinds: dict[str, Callable[[], Path]] = {
        "cmc": lambda: _cmc(sources, benchmark, out),
        "bars": lambda: _bars(sources, benchmark, measure, out),
        "losses": lambda: _losses(sources, out),
        "rounds": lambda: _rounds(sources, measure, out),
        "grid": lambda: _grid(sources, data, benchmark, probes or (0, 1, 2), most, machine, out),
        "map": lambda: _map(sources, data, people, machine, out, "tsne"),
        "map-pca": lambda: _map(sources, data, people, machine, out, "pca"),
    }
    if kind not in kinds:
        raise UsageError(f"there is no figure {kind!r}; {nearest(kind, list(kinds))}")
    if not sources:
        raise UsageError(f"{kind} needs what is drawn: result files, run folders or models")
    print(kinds[kind]())
    return 0


def _rows(sources: tuple[str, ...], benchmark: str) -> dict[str, dict[str, Any]]:
    """Name → row of the result files; a file with several compositions gives one row for each."""
    from ..studies.results import read_results

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
    from ..figures import curves
    from ..studies.results import ranks_of

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


def _losses(sources: tuple[str, ...], out: Path) -> Path:
    from ..figures import curves

    lines: dict[str, list[float]] = {}
    for source in sources:
        log = Path(source) / "log.jsonl"
        if not log.is_file():
            raise DataError(f"{source} holds no log.jsonl; give the folder of a training run")
        name = f"{Path(source).name} " if len(sources) > 1 else ""
        for line in log.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
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
                f"{source} holds no {measure} per round ({error}); make it: descry simulate … --json"
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


def _benches(data: tuple[str, ...]) -> dict[str, Any]:
    from .starting import read_data

    if not data:
        raise UsageError("this figure needs --data FOLDER, or --data NAME --data FOLDER")
    held = dict(read_data(data).test)
    if not held:
        raise UsageError(f"{data[-1]} has no test split")
    return held


def _grid(
    sources: tuple[str, ...],
    data: tuple[str, ...],
    benchmark: str,
    probes: tuple[int, ...],
    most: int,
    machine: Machine,
    out: Path,
) -> Path:
    from ..embed import load
    from ..figures import rank_grid
    from ..studies.showing import shown

    held = _benches(data)
    name = benchmark or next(iter(held))
    if name not in held:
        raise UsageError(f"there is no benchmark {name!r}; {nearest(name, list(held))}")
    bench = held[name]
    if not all(0 <= p < len(bench.probes) for p in probes):
        raise UsageError(f"probes {probes} were asked for; {name} has 0 to {len(bench.probes) - 1}")
    models = {s: load(s, machine.device, machine.precision) for s in sources}
    sketched = held.get("sketch") if name.startswith("sketch+") else None
    rows = [row for p in probes for s, model in models.items() for row in shown(model, bench, p, s, most, sketched)]
    return rank_grid(rows, out, most)


def _map(sources: tuple[str, ...], data: tuple[str, ...], people: int, machine: Machine, out: Path, how: str) -> Path:
    from ..embed import load
    from ..figures import scatter
    from ..studies.maps import pca, tsne

    if len(sources) > 1:
        raise UsageError(f"a map is of one model; {len(sources)} were given")
    photos = [p for p in next(iter(_benches(data).values())).photos if p.pid >= 0]
    chosen = set(list(dict.fromkeys(p.pid for p in photos))[:people])
    few = [p for p in photos if p.pid in chosen]
    vectors = load(sources[0], machine.device, machine.precision).embed_images([p.path for p in few])
    points = pca(vectors) if how == "pca" else tsne(vectors, seed=machine.seed)
    return scatter(points, [p.pid for p in few], out, f"{len(few)} photographs of {len(chosen)} people, {how}")
