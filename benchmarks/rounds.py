"""How long a round takes: refining by words, marks, "closest of these", and the next question, without the encoders'
time.

Vectors are random (speed does not depend on what they show), written into an ordinary gallery and read as a search
reads them. Prints a table and, with --out, JSON with the machine beside it. Encoding is left out on purpose: it
depends on the model; `benchmarks/encode.py` measures it.

    python benchmarks/rounds.py --items 100000 --dimension 512 --out rounds.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import descry  # noqa: F401 - before NumPy and PyTorch, so that their waiting threads sleep as in every command

# isort: split
import numpy as np

from descry.gallery.contract import Binding, Entry
from descry.gallery.local import LocalStore
from descry.gallery.scan import Rows
from descry.interact.questions import Asker, vocabulary
from descry.interact.session import Session
from descry.query import Query
from descry.ranking import Ranking
from descry.search import Term, rank, unit


class Stub:
    """An encoder that takes no time: every new text or picture is the next random direction. Its ranking says that it
    reads every attribute, so that all questions are asked."""

    answers = frozenset({"text", "sketch", "photo", "sketch+text"})

    def __init__(self, dimension: int):
        self.ranking = Ranking(curves={question.phrase: (3.0, -1.0) for question in vocabulary()})
        self.pool = unit(np.random.default_rng(1).normal(size=(4096, dimension)))
        self.at = 0

    def _next(self, n: int) -> np.ndarray:
        self.at = (self.at + n) % (len(self.pool) - 256)
        return self.pool[self.at : self.at + n]

    def embed_images(self, pictures: Any) -> np.ndarray:
        return self._next(len(pictures))

    def embed_texts(self, texts: Any) -> np.ndarray:
        return self._next(len(texts))

    def pseudo_words(self, pictures: Any) -> np.ndarray:
        return self._next(len(pictures))

    def compose_words(self, words: Any, texts: Any) -> np.ndarray:
        return self._next(len(texts))


def filled(folder: Path, items: int, dimension: int) -> LocalStore:
    """A gallery of random unit vectors."""
    store = LocalStore.create(folder, Binding("stub", "0" * 64, dimension, {"size": [1, 1]}))
    rng = np.random.default_rng(0)
    for start in range(0, items, 20_000):
        n = min(20_000, items - start)
        entries = [
            Entry(f"/crops/{i:08d}.jpg", hashlib.sha256(b"%d" % i).digest(), 1, 1, look=i)
            for i in range(start, start + n)
        ]
        store.add(entries, unit(rng.normal(size=(n, dimension))))
    return store


def timed(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Milliseconds: median and 95th percentile."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    taken.sort()
    return {"median": statistics.median(taken), "p95": taken[int(0.95 * (len(taken) - 1))]}


def measure(items: int, dimension: int, repeats: int) -> dict[str, dict[str, float]]:
    """All timings for one size of gallery."""
    with tempfile.TemporaryDirectory() as place:
        store = filled(Path(place) / "gallery", items, dimension)
        model = Stub(dimension)
        session = Session(Rows(store, store.snapshot()), model, k=50)
        session.ask(Query(sketches=b"drawing"))
        count = iter(range(10**6))

        def refine() -> None:
            session.go(1)
            session.refine(f"red jacket with mark {next(count)}, no backpack")

        def mark() -> None:
            session.go(1)
            session.mark(like=[session.inquiry.current.ids[3]], unlike=[session.inquiry.current.ids[0]])

        def closest() -> None:
            session.go(1)
            session.closest(session.inquiry.current.ids[4])

        def reset(work: Callable[[], None]) -> Callable[[], None]:
            def once() -> None:
                if len(session.inquiry.rounds) > 400:
                    for child in session.inquiry.children(1):
                        session.delete(child.number)
                work()

            return once

        out = {
            name: timed(reset(work), repeats)
            for name, work in (("refine", refine), ("mark", mark), ("closest", closest))
        }
        start = time.perf_counter()
        asker = Asker.of(session.space, model, vocabulary())
        out["questions made ready, once"] = {"median": 1000 * (time.perf_counter() - start)}
        session.go(1)
        scores = session.leads.everything
        out[f"next of {len(asker.questions)} questions"] = timed(lambda: asker.next(scores, session.query, {}), repeats)
        session.refine("hat")
        out |= nine_terms(session.space, model, repeats)
        out["undo and redo"] = timed(lambda: (session.undo(), session.redo()), repeats)
        store.close()
    return out


def nine_terms(space: Any, model: Stub, repeats: int) -> dict[str, dict[str, float]]:
    """Ranking by nine vectors (a composition of two parts, two phrases, two NOT, like, unlike) beside ranking by one.

    They take turns; the ratio is that of each pair.
    """
    v = list(model.embed_texts(range(6)))
    sketch, text = np.stack(v[:2]) / np.linalg.norm(v[0] + v[1])
    parts = (("sketch", "drawing", sketch), ("text", "red jacket", text))
    nine = [Term("sketch+text", "red jacket", 1.0, sketch + text, parts=parts)]
    nine += [Term("text", name, 1.0, vector, "evidence") for name, vector in zip("ab", v[2:4], strict=True)]
    nine += [Term("not", name, 1.0, vector, "not") for name, vector in zip("cd", v[4:6], strict=True)]
    marked = Query(wanted="red jacket", liked=space.ids[5:6].tolist(), unliked=space.ids[9:10].tolist())
    one = [Term("text", "red jacket", 1.0, v[1])]
    works = {
        "one query": lambda: rank(space, one, Query(wanted="red jacket")),
        "round of nine terms": lambda: rank(space, nine, marked),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for name, work in list(works.items()) * (repeats + 1):
        start = time.perf_counter()
        work()
        taken[name].append(1000 * (time.perf_counter() - start))
    ratios = sorted(b / a for a, b in zip(*taken.values(), strict=True))
    return {name: {"median": statistics.median(ms[1:])} for name, ms in taken.items()} | {
        "nine terms / one query, no ms": {"median": statistics.median(ratios), "p95": ratios[int(0.95 * repeats)]}
    }


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[100_000])
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = {str(n): measure(n, args.dimension, args.repeats) for n in args.items}
    for n, row in rows.items():
        print(f"{int(n):,} items of {args.dimension} dimensions")
        for name, ms in row.items():
            print(f"  {name:<32}" + "".join(f"  {k} {v:8.1f} ms" for k, v in ms.items()))
    if args.out:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()}
        args.out.write_text(json.dumps({"dimension": args.dimension, "ms": rows, **machine}, indent=1) + "\n")


if __name__ == "__main__":
    main()
