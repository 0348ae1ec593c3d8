"""The figures of descry plot for which models are run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.cli.machine import Machine
from descry.errors import UsageError, nearest

if TYPE_CHECKING:
    from descry.records import Benchmark, Photo


def _benches(data: tuple[str, ...]) -> dict[str, Any]:
    from descry.training.start import read_data

    if not data:
        raise UsageError("this figure needs --data FOLDER, or --data NAME --data FOLDER")
    held = dict(read_data(data).test)
    if not held:
        raise UsageError(f"{data[-1]} has no test split")
    return held


def grid(
    sources: tuple[str, ...],
    data: tuple[str, ...],
    benchmark: str,
    probes: tuple[int, ...],
    most: int,
    machine: Machine,
    out: Path,
) -> Path:
    """The first photographs of some probes, with right and wrong frames."""
    from ..figures import rank_grid
    from ..grids import shown

    held = _benches(data)
    bench = _bench(held, benchmark or next(iter(held)))
    name = bench.name
    if not all(0 <= p < len(bench.probes) for p in probes):
        raise UsageError(f"probes {probes} were asked for; {name} has 0 to {len(bench.probes) - 1}")
    models = {s: machine.load(s) for s in sources}
    sketched = held.get("sketch") if name.startswith("sketch+") else None
    rows = [row for p in probes for s, model in models.items() for row in shown(model, bench, p, s, most, sketched)]
    return rank_grid(rows, out, most)


def embedding_map(
    sources: tuple[str, ...], data: tuple[str, ...], people: int, machine: Machine, out: Path, how: str
) -> Path:
    """Photographs of a few people in the plane."""
    from ..figures import scatter
    from ..maps import pca, tsne

    if len(sources) > 1:
        raise UsageError(f"a map is of one model; {len(sources)} were given")
    few = _photos(data, people)
    vectors = machine.load(sources[0]).embed_images([p.path for p in few])
    points = pca(vectors) if how == "pca" else tsne(vectors, seed=machine.seed)
    return scatter(
        points, [p.pid for p in few], out, f"{len(few)} photographs of {len({p.pid for p in few})} people, {how}"
    )


def silhouettes(sources: tuple[str, ...], data: tuple[str, ...], people: int, machine: Machine, out: Path) -> Path:
    """A bar for each model: the silhouette of the photographs under their people, −1 to 1 (VFE-TPS §4.5.4)."""
    from descry.methods.vfe_tps import silhouette

    from ..figures import bars

    few = _photos(data, people)
    found = {}
    for source in sources:
        vectors = machine.load(source).embed_images([p.path for p in few])
        found[source] = silhouette(vectors, [p.pid for p in few])
    return bars(found, out, f"silhouette of {len({p.pid for p in few})} people")


def masks(
    sources: tuple[str, ...], data: tuple[str, ...], benchmark: str, people: int, machine: Machine, out: Path
) -> Path:
    """Photographs, what was hidden of them, and what each model drew there."""
    from descry.embed import load

    from ..figures import reconstructions
    from ..internals import drawn, hidden

    bench = _bench(_benches(data), benchmark or "text")
    lines: list[list[Any]] = []
    for source in sources:
        model = load(source, "cpu")
        found = hidden(model, Path(source), bench, people)
        covered, finished = (x.numpy() for x in drawn(found, model))
        if not lines:
            lines = [[photo, hid] for photo, hid in zip(found.photos.numpy(), covered, strict=True)]
        for line, picture in zip(lines, finished, strict=True):
            line.append(picture)
    return reconstructions(lines, ["photograph", "hidden", *(Path(s).name for s in sources)], out)


def prototypes(sources: tuple[str, ...], data: tuple[str, ...], people: int, machine: Machine, out: Path) -> Path:
    """The cosines of Propot's prototypes, words against pictures, of the first training people."""
    from descry.embed import load
    from descry.training.start import read_data

    from ..figures import heatmap
    from ..internals import prototype_similarity

    if len(sources) > 1:
        raise UsageError(f"prototypes are of one model; {len(sources)} were given")
    if not data:
        raise UsageError("prototypes need the data that the run learnt from: --data FOLDER, or NAME and its folder")
    matrix = prototype_similarity(load(sources[0], "cpu"), Path(sources[0]), read_data(data), people)
    names = [str(n) for n in range(len(matrix))]
    return heatmap(matrix, out, "cosine of prototypes: words (down), pictures (across)", (names, names))


def _bench(held: dict[str, Any], name: str) -> Benchmark:
    if name not in held:
        raise UsageError(f"there is no benchmark {name!r}; {nearest(name, list(held))}")
    found: Benchmark = held[name]
    return found


def _photos(data: tuple[str, ...], people: int) -> list[Photo]:
    """The photographs of the first people of a gallery."""
    photos = [p for p in next(iter(_benches(data).values())).photos if p.pid >= 0]
    chosen = set(list(dict.fromkeys(p.pid for p in photos))[:people])
    return [p for p in photos if p.pid in chosen]
