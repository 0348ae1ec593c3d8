"""Gallery: what people use. Open needs no PyTorch; the model it is bound to is loaded when a search first needs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import images
from ..errors import DataError, LimitExceeded, UsageError
from ..query import Filters, Query
from .contract import Binding, Fault, Item, Snapshot
from .indexing import Indexer, IndexReport, Step
from .local import LocalStore
from .sources import Sources
from .walk import plan, roots_of

TOO_MANY = 5_000_000


@dataclass(frozen=True, eq=False)
class Results:
    """A ranked answer: leads to look at, best first. Scores order items of one answer; they are no probabilities.

    ids, paths, scores: k of each. items: the same with metadata. cosines: (k,) of the query's first term. parts:
    (kind, label) of each part of the query; contributions: (parts, k), whose columns sum to the scores. considered:
    items that passed the filters, of total. removed: how many each filter keeps out by itself, when nothing was left.
    exact: whether every item was compared. generation: the commit that was searched. note: what must be said beside
    the answer.
    """

    ids: tuple[int, ...]
    paths: tuple[str, ...]
    scores: np.ndarray
    items: tuple[Item, ...] = ()
    cosines: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    parts: tuple[tuple[str, str], ...] = ()
    contributions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    considered: int = 0
    total: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    exact: bool = True
    generation: int = 0
    note: str = ""

    def __len__(self) -> int:
        return len(self.ids)


class Gallery:
    """A folder of vectors and what is known about the crops they came from. Use it in a `with` block, or call
    `close`.
    """

    def __init__(self, store: LocalStore, model: Any = None):
        self.store = store
        self._model: Any = None
        if model is not None:
            self._bind(model)

    @classmethod
    def create(cls, path: str | Path, model: Any = "demo") -> Gallery:
        """A new gallery for the vectors of a model: "demo", a run folder, or what `descry.load` gave.

        UsageError when the folder exists and is not empty.
        """
        loaded = _loaded(model)
        return cls(LocalStore.create(path, binding_of(loaded)), loaded)

    @classmethod
    def open(cls, path: str | Path, model: Any = None) -> Gallery:
        """An existing gallery. model: another way to the model it was made by, else IndexMismatch."""
        if str(path).startswith("milvus"):
            from .milvus import MilvusStore

            return cls(MilvusStore(str(path)), model)  # type: ignore[arg-type]
        return cls(LocalStore(path), model)

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.store.folder

    @property
    def binding(self) -> Binding:
        """The model and preprocessing its vectors come from."""
        return self.store.binding

    @property
    def model(self) -> Any:
        """The model it is bound to, loaded on first use. ModelRefused when gone, IndexMismatch when changed."""
        if self._model is None:
            self._bind(self.binding.source)
        return self._model

    def _bind(self, model: Any) -> None:
        loaded = _loaded(model)
        self.binding.check(binding_of(loaded), str(getattr(self.store, "address", "") or self.path))
        self._model = loaded

    # ------------------------------------------------------------------ indexing

    def index(
        self,
        folders: str | Path | Iterable[str | Path],
        *,
        model: Any = None,
        sources: Sources | None = None,
        exclude: Sequence[str] = (),
        limits: images.Limits = images.GALLERY,
        batch_size: int = 32,
        shard: tuple[int, int] = (1, 1),
        dry_run: bool = False,
        large: bool = False,
        progress: Callable[[Step], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> IndexReport:
        """Bring the gallery up to date with folders of crops: new, changed, moved and deleted files; can be repeated.

        sources: where camera, time and track come from. exclude: globs of names or paths. shard: (i, n), only the
        i-th of n parts of the files, for indexing on many machines. dry_run: count, write nothing. large: more than 5
        million items.
        """
        roots = roots_of([folders] if isinstance(folders, (str, Path)) else folders)
        if not roots:
            raise UsageError("no folder was named; name one or more folders of crops")
        if model is not None:
            self._bind(model)
        if not dry_run:
            self.store.hold()
        work = plan(self.store, roots, exclude, shard)
        if dry_run:
            changed = sum(1 for f in work.fresh if f.number)
            added = len(work.fresh) - changed
            return IndexReport(added, changed, 0, len(work.gone), work.unchanged, skipped=work.still, dry=True)
        if self.store.count() + len(work.fresh) > TOO_MANY and not large:
            raise LimitExceeded(
                f"{self.path} would hold more than {TOO_MANY:,} items, which one machine searches slowly; "
                "migrate to a distributed store (descry migrate), or allow it with --large"
            )
        if not work.fresh and not work.unchanged and not work.gone:
            raise DataError(f"nothing to index in {', '.join(roots)}")
        total = len(work.fresh)

        def tell(step: Step) -> None:
            if progress:
                progress(dataclasses.replace(step, total=total))

        indexer = Indexer(self.store, self.model if work.fresh else None, sources, limits, batch_size, tell, stop)  # type: ignore[arg-type]
        return indexer.run(work)

    # ------------------------------------------------------------------ searching

    def search(
        self,
        query: Query,
        k: int = 20,
        model: Any = None,
        *,
        composition: Any = None,
        snapshot: Snapshot | None = None,
        marked: Iterable[int] = (),
    ) -> Results:
        """The k best items for a query, by the one formula of `descry.ranking`; liked items stand first.

        composition: how sketch and words are put together, else as the model's validation chose. snapshot: search the
        rows of an earlier moment; metadata is as of now. marked: further ids that count as marked for the filter.
        Raises UsageError for an empty query or k < 1, IndexMismatch for another model.
        """
        from .. import compose
        from .searching import answer

        if model is not None:
            self._bind(model)
        terms = compose.terms(self.model, query, composition) if asks(query) else []
        if "scores" not in self.store.capabilities:
            from . import remote

            formula = compose.formula_of(self.model)
            return remote.answer(self.store, terms, query, k, formula, self.model.note)  # type: ignore[arg-type]
        return answer(self.store, terms, query, k, compose.formula_of(self.model), snapshot, marked, self.model.note)

    def nearest(
        self, vectors: np.ndarray, k: int = 20, filters: Filters | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) query vectors → ids (T, ≤ k) and cosines, best first, ties by rising id; exact, in one pass for
        many.
        """
        return self.store.nearest(np.atleast_2d(vectors), k, filters)

    def scores(self, vectors: np.ndarray, snapshot: Snapshot | None = None) -> np.ndarray:
        """(T, D) → (T, N) float32 cosines of every item, columns as in snapshot.ids; off by at most 0.001."""
        from . import scan

        return scan.similarities(snapshot or self.snapshot(), np.atleast_2d(vectors))

    def rescore(self, vectors: np.ndarray, ids: Sequence[int], snapshot: Snapshot | None = None) -> np.ndarray:
        """(T, D) → (T, n) float64 cosines of chosen items: what decides the order of those on show."""
        from . import scan

        rows = snapshot or self.snapshot()
        return scan.rescore(rows, np.atleast_2d(vectors), rows.columns(ids))

    def snapshot(self) -> Snapshot:
        """The rows as they are now; later writes do not change it."""
        return self.store.snapshot()

    def allowed(
        self, filters: Filters, snapshot: Snapshot | None = None, marked: Iterable[int] = ()
    ) -> np.ndarray | None:
        """(N,) bool: which columns of the snapshot the filters let through; None for all."""
        return self.store.allowed(snapshot or self.snapshot(), filters, marked)

    def vectors(self, ids: Sequence[int], snapshot: Snapshot | None = None) -> np.ndarray:
        """(n, D) float32 stored vectors by id; KeyError for an id that is not there."""
        with nullcontext(snapshot) if snapshot else self.store.reading() as rows:
            return rows.vectors(rows.columns(ids)).astype(np.float32)

    def items(self, ids: Sequence[int]) -> list[Item]:
        """Items by id, in the order asked; ids that are not there are left out."""
        return self.store.items(ids)

    # ------------------------------------------------------------------ the rest

    def __len__(self) -> int:
        return self.store.count()

    def delete(self, ids: Iterable[int]) -> int:
        """Remove items from answers at once; their bytes go with `compact`. How many there were."""
        return self.store.delete(ids)

    def purge(self, ids: Iterable[int]) -> int:
        """Remove items, and every byte of them from the gallery's files. How many there were."""
        gone = self.store.delete(ids)
        self.store.compact()
        return gone

    def compact(self) -> int:
        """Remove the bytes of deleted items; bytes won."""
        return self.store.compact()

    def verify(self) -> list[Fault]:
        """Every fault in any byte that an answer depends on; an empty list when there is none."""
        return self.store.verify()

    def info(self) -> dict[str, Any]:
        """What it holds: plain values."""
        from .overview import overview

        return overview(self.store)

    def listed(self, filters: Filters | None = None) -> Iterator[Item]:
        """Items that the filters let through, by rising id."""
        with self.store.reading() as rows:
            allowed = self.store.allowed(rows, filters)
            ids = rows.ids if allowed is None else rows.ids[allowed]
            for i in range(0, len(ids), 500):
                yield from self.store.items(ids[i : i + 500].tolist())

    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of every file that was not read."""
        from .overview import skipped

        return skipped(self.store)

    def groups(self, ids: Sequence[int], distance: int = 3) -> list[int]:
        """For each item the first one of `ids` that it is nearly the same as, or shares a track with."""
        from .groups import group

        items = self.items(ids)
        tracks = np.array([f"{i.camera} {i.track}" if i.track else "" for i in items])
        return [items[j].id for j in group(np.array([i.look for i in items], np.uint64), tracks, distance)]

    def erase(self) -> None:
        """Remove the gallery's own files, and its folder if nothing else is in it. Pictures are not touched."""
        self.store.erase()

    def close(self) -> None:
        """Release locks and files."""
        self.store.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def asks(query: Query) -> bool:
    """Whether any picture or phrase is on."""
    return any(p.on for p in (*query.sketches, *query.photos, *query.wanted, *query.unwanted))


def binding_of(model: Any) -> Binding:
    """What a gallery keeps of a model."""
    folder = getattr(model, "folder", None)
    source = str(model.name) if model.name == "demo" or folder is None else str(Path(folder).resolve())
    return Binding(source, model.fingerprint, model.dimension, model.preprocessing)


def _loaded(model: Any) -> Any:
    if not isinstance(model, (str, Path)):
        return model
    from ..embed import load

    return load(model)
