"""Gallery: what people use. Open needs no PyTorch; the model it is bound to is loaded when a search first needs it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import images
from ..errors import DataError, DescryError, ModelRefused, UsageError
from ..escape import counted
from ..query import Filters, Query, ids_of
from ..safe_files import address_of, allow, allowed
from .account import add_line, asked, content, key_of_day, ref_of
from .contract import Binding, Fault, Item, Snapshot
from .guard import EmptyScenes, full_frames
from .indexing import Indexer, IndexReport, Step
from .local import SEARCHES, LocalStore
from .results import Results, check_size
from .sources import Sources
from .walk import LASTING, NOBODY, plan, roots_of

if TYPE_CHECKING:
    from ..interact.session import Session
    from ..interact.store import InquiryStore
    from ..ranking import Composition
    from .upkeep import RelocationReport

CHANGED = (
    "the vocabulary, ranking or sketch reading of the model has changed since this gallery was last indexed, so "
    "leads may stand in another order than before; descry index takes note of it"
)
READ_ONLY = "no line was written to the account: the gallery is read-only"
LOCALLY = "do it in the local gallery that it was migrated from"


class Gallery(AbstractContextManager["Gallery"]):
    """A folder of vectors and what is known about the crops they came from. Use it in a `with` block, or call
    `close`.

    Attributes:
        path: its folder.
        binding: the model and preprocessing that its vectors come from.
        read_only: whether it can be searched, listed and verified, and nothing can be written: neither items, nor
            inquiries, nor lines of the account.
    """

    def __init__(self, store: LocalStore, model: Any = None, load: Callable[[Any], Any] | None = None):
        self.store, self._load = store, load or _loaded
        self._name, self.binding = str(getattr(store, "address", "") or store.folder), store.binding
        self.path = Path(self._name)
        self.read_only: bool = getattr(store, "read_only", False)
        self._model: Any = None
        self._opened: list[InquiryStore] = []
        self._unrecorded = 0
        if model is not None:
            self._bind(model)

    @classmethod
    def create(cls, path: str | Path, model: Any = "demo") -> Gallery:
        """A new gallery for the vectors of a model: "demo", a run folder, or what `descry.load` gave. path: a folder,
        or the address of a PostgreSQL store.

        UsageError when the folder exists and is not empty.
        """
        loaded, address = _loaded(model), address_of(path)
        kind = _store_at(address) if address.startswith("postgresql") else LocalStore
        return cls(kind.create(address or path, binding_of(loaded)), loaded)

    @classmethod
    def open(cls, path: str | Path, model: Any = None, load: Callable[[Any], Any] | None = None) -> Gallery:
        """An existing gallery. model: another way to the model it was made by, else IndexMismatch. load: how a model
        that is named is loaded, `descry.load` unless given.
        """
        address = address_of(path) if ":" in str(path) else ""
        store = _store_at(address)(address) if address else LocalStore(path)
        try:
            return cls(store, model, load)
        except BaseException:
            store.close()
            raise

    @property
    def name(self) -> str:
        """The name of its folder, or the one behind the # of its address."""
        known = self._name.partition("#")[2] if address_of(self._name) else self.path.resolve().name
        return known or "gallery"

    @property
    def model(self) -> Any:
        """The model it is bound to, loaded on first use. ModelRefused when gone, IndexMismatch when changed."""
        if self._model is None:
            source = self.binding.source
            if os.path.exists(source) and not allowed(source):
                raise ModelRefused(
                    f"{self._name} names the model {source}, which you did not name yourself. If you trust it: "
                    f"--model {source}, once"
                )
            self._bind(source, named=False)
        return self._model

    def _bind(self, model: Any, named: bool = True) -> None:
        """Search with a model. named: by the user, so that it may be opened again by its path."""
        loaded = self._load(model) if isinstance(model, (str, Path)) else model
        binding = binding_of(loaded)
        self.binding.check(binding, self._name)
        if named and os.path.isdir(binding.source):
            allow(binding.source)
        self._model = loaded

    def note(self, model: Any = None) -> str:
        """What must be said beside every result: the model's own note, and whether it searches otherwise than when
        this gallery was last indexed. model: or its card; the gallery's own unless given. "" for nothing."""
        model = model or self.model
        before, now = getattr(self.store, "config", {}).get(SEARCHES), getattr(model, SEARCHES, "")  # Milvus keeps none
        changed = bool(before and now and before != now and self.store.read_config().get(SEARCHES) != now)
        return "; ".join(filter(None, (getattr(model, "note", ""), CHANGED * changed)))

    def _needs_local(self, verb: str, instead: str) -> None:
        """UsageError on a Milvus store for what only the local one does."""
        if not self.store.complete:
            raise UsageError(f"{self._name} is a Milvus store and cannot {verb}; {instead}")

    # ------------------------------------------------------------------ indexing

    def index(
        self,
        folders: str | Path | Iterable[str | Path],
        *,
        model: Any = None,
        sources: Sources | None = None,
        exclude: Sequence[str] = (),
        limits: images.Limits = images.GALLERY,
        batch_size: int = 0,
        shard: tuple[int, int] = (1, 1),
        dry_run: bool = False,
        large: bool = False,
        links: bool = False,
        leave_out_empty: bool = False,
        progress: Callable[[Step], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> IndexReport:
        """Bring the gallery up to date with folders of crops: new, changed, moved and deleted files; can be repeated.

        sources: where camera, time and track come from. exclude: globs of names or paths. shard: (i, n), only the
        i-th of n parts of the files, for indexing on many machines; it may be empty. batch_size: pictures at a time; 0
        for 32, or 256 on a GPU. dry_run: count, write nothing. large: more than 5 million items. links: enter linked
        folders. The account gets a line, also of a run that fails, unless it is dry.
        """
        self._needs_local(
            "be indexed into directly", f"descry index DIR --out GALLERY, then descry migrate GALLERY --to {self._name}"
        )
        with nullcontext() if dry_run else self._failing("index"):
            roots = roots_of([folders] if isinstance(folders, (str, Path)) else folders)
            if not roots:
                raise UsageError("no folder was named; name one or more folders of crops")
            if model is not None:
                self._bind(model)
            for root in roots:
                allow(root)
            if not dry_run:
                self.store.hold()
            lasting = (*LASTING, NOBODY) if leave_out_empty else LASTING
            work = plan(self.store, roots, exclude, shard, links, lasting)
            paths = [found.path for found in work.fresh]
            every = [*paths, *(found.path for found in work.same), *(path for path, _ in work.still)]
            notes = (full_frames(paths, roots), sources.unmatched(every, whole=shard[1] == 1) if sources else "")
            unfit = "; ".join(filter(None, notes))
            if dry_run:
                changed = sum(1 for f in work.fresh if f.number)
                added = len(work.fresh) - changed
                return IndexReport(
                    added, changed, 0, len(work.gone), work.unchanged, skipped=work.skipped, dry=True, warning=unfit
                )
            size_warning = check_size(self._name, self.store.count() + sum(not f.number for f in work.fresh), large)
            warning = " ".join(filter(None, (size_warning, unfit)))
            if shard[1] == 1 and not work.fresh and not work.unchanged and not work.gone and not work.missed:
                raise DataError(f"nothing to index in {', '.join(roots)}")
            total = len(work.fresh)

            def tell(step: Step) -> None:
                if progress:
                    progress(dataclasses.replace(step, total=total))

            def indexed(report: IndexReport) -> None:
                counts = {k: getattr(report, k) for k in ("added", "changed", "moved", "removed", "interrupted")}
                self._record("index", **counts, skipped=len(report.skipped), **self._content())

            model = self.model if work.fresh else None
            if self._model is not None:
                self.store.note_search(getattr(self._model, SEARCHES, ""))
            if model is not None:
                self.store.note_encoder(getattr(model, "inexact", ""))
            device = getattr(getattr(model, "device", None), "type", "cpu")
            size = batch_size or (32 if device == "cpu" else 256)
            empty = EmptyScenes(model) if leave_out_empty and model else None
            indexer = Indexer(self.store, model, sources, limits, size, tell, stop, indexed, empty)
            return dataclasses.replace(indexer.run(work), warning=warning)

    # ------------------------------------------------------------------ searching

    def search(
        self,
        query: Query | str | Sequence[str] = (),
        k: int = 20,
        model: Any = None,
        *,
        sketch: Any = (),
        photo: Any = (),
        exclude: str | Sequence[str] = (),
        filters: Filters | None = None,
        composition: Composition | str | None = None,
        least: float | str | None = None,
        snapshot: Snapshot | None = None,
        marked: Iterable[int] = (),
        record: bool = True,
    ) -> Results:
        """The k best items for a query (see `descry.search`); liked items come first.

        query: a `Query`, or the words that hold: gallery.search("red jacket", sketch="s.png", exclude="backpack").
        sketch, photo: pictures (path, PIL image or array), one or several. exclude: phrases that must not be true of
        the person. filters: which items may be ranked. These four go with words; a Query holds its own.

        Negations in wanted texts become NOT phrases, unless the query is verbatim; `Results.query` says how it was
        understood. composition: how sketch and words are put together, by name or as a value; else as the model's
        validation chose. least: only leads above this level, in spreads over the middle of all scores, or "usual" for
        the page's line (`Results.above`). snapshot: search the rows of an earlier moment; metadata is as of now.
        marked: further ids that count as marked for the filter. The account gets a line, also of a search that fails;
        record=False is for evaluation, and the next line, or the closing, says how many searches it left out. Raises
        UsageError for an empty query, k < 1 or another level, IndexMismatch for another model. A read-only gallery is
        searched without a line, and `Results.note` says so.
        """
        if not isinstance(query, Query):
            query = Query(sketch, photo, query, exclude, filters=filters or Filters())
        elif sketch or photo or exclude or filters:
            raise UsageError(
                "a Query was given with sketch, photo, exclude or filters beside it; put them into the Query"
            )
        from ..ranking import ranking_of
        from ..search import checked_level, terms_of, understood
        from .scan import answer

        self._unrecorded += not record and not self.read_only
        with self._failing("search") if record else nullcontext():
            if least is not None:
                checked_level(least)
            if model is not None:
                self._bind(model)
            if isinstance(k, bool) or not hasattr(k, "__index__"):
                raise UsageError(f"k={k!r} results were asked for; ask for a whole number, at least 1")
            if both := set(query.liked) & set(query.unliked):
                raise UsageError(f"item {min(both)} was liked and unliked at once; say which")
            query, ranking = understood(query), ranking_of(self.model).using(composition)
            parts = (*query.sketches, *query.photos, *query.wanted, *query.unwanted)
            terms = terms_of(self.model, [query], ranking)[0] if any(p.on for p in parts) else []
            if self.store.complete:
                found = answer(self.store, terms, query, k, ranking.formula, snapshot, marked, self.note())
            else:
                approximate = import_module("descry_stores.milvus_search").answer
                found = approximate(self.store, terms, query, k, ranking.formula, self.note())
            found = dataclasses.replace(
                found if least is None else found.above(least), outside=partial(outside, gallery=self._name)
            )
        if record and self.read_only:
            return dataclasses.replace(found, note="; ".join(filter(None, (found.note, READ_ONLY))))
        if record and self.store.complete:  # committed to under the key of the day
            results = [(item.id, round(float(s), 6)) for item, s in zip(found.items, found.scores, strict=True)]
            moment = f"{self.store.config['created']} {found.generation}"
            with self.store.database.writing():
                key = key_of_day(self.store.database)
                facts = asked(key, found.query, results, moment, self.binding.fingerprint)
                facts[SEARCHES] = getattr(self.model, SEARCHES, "")
                self._record("search", inquiry="", day=ref_of(key), **facts)
        return found

    def notice(self, query: Query, composition: Composition | str | None = None) -> str:
        """Whether the person of a query is probably not in this gallery, in words; "" for a gallery that was not
        calibrated (`descry gallery calibrate`)."""
        from ..interact import absence
        from ..ranking import ranking_of
        from .scan import Rows

        if not self.store.complete or not (self.path / absence.FILE).exists():
            return ""
        found, fault = absence.readable(self.path)
        ranking = ranking_of(self.model).using(composition)
        with self.store.reading() as rows:
            said = absence.notice_of(Rows(self.store, rows), self.model, query, found, ranking)
        return f"uncalibrated: {fault}" if fault else said

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
        return scan.rescore(rows, np.atleast_2d(vectors), rows.columns(ids_of(ids)))

    def snapshot(self) -> Snapshot:
        """The rows as they are now; later writes do not change it. UsageError on a Milvus store."""
        self._needs_local("show one moment", LOCALLY)
        return self.store.snapshot()

    def allowed(
        self, filters: Filters, snapshot: Snapshot | None = None, marked: Iterable[int] = ()
    ) -> np.ndarray | None:
        """(N,) bool: which columns of the snapshot the filters let through; None for all."""
        return self.store.allowed(snapshot or self.snapshot(), filters, marked)

    def vectors(self, ids: Sequence[int], snapshot: Snapshot | None = None) -> np.ndarray:
        """(n, D) float32 stored vectors by id; KeyError for an id that is not there."""
        with nullcontext(snapshot) if snapshot else self.store.reading() as rows:
            return rows.vectors(rows.columns(ids_of(ids))).astype(np.float32)

    def items(self, ids: Sequence[int]) -> list[Item]:
        """Items by id, in the order asked; ids that are not there are left out."""
        return self.store.items(ids_of(ids))

    # ------------------------------------------------------------------ the rest

    def inquiry(self, name: str = "inquiry", k: int = 50) -> Session:
        """The inquiry of this name: rounds of search that the gallery stores. It is created if it does not exist.

        k: how many leads a round shows. Close the gallery when done. In a read-only gallery new rounds are in memory
        only, and end with the process.
        """
        from ..interact.rounds import Inquiry
        from ..interact.session import Session
        from .scan import Rows

        store = self.inquiries()
        self._opened.append(store)
        held = store.load(name) if name in store.names() else Inquiry(name)
        return Session(Rows(self.store, self.snapshot()), self.model, held, store, k)

    def inquiries(self) -> InquiryStore:
        """The inquiries that it keeps. Those of a read-only gallery are copied to memory, which the caller closes, and
        so is what is added to them.
        """
        from ..interact.store import InquiryStore
        from .database import MemoryDatabase

        self._needs_local("keep inquiries", LOCALLY)
        return InquiryStore(MemoryDatabase(self.store.database) if self.read_only else self.store.database)

    def __repr__(self) -> str:
        state = ", read-only" if self.read_only else ""
        return f"Gallery({self._name!r}, {counted(len(self), 'item')}, model {self.binding.source!r}{state})"

    def __len__(self) -> int:
        return self.store.count()

    def delete(self, ids: Iterable[int]) -> int:
        """Remove items from answers at once; their bytes go with `compact`. How many there were. The account gets a
        line.
        """
        ids = ids_of(ids)
        with self._act("delete") as line:
            gone = self.store.delete(ids)
            line |= {"items": gone, **self._content()}
        return gone

    def purge(self, ids: Iterable[int], record: bool = True) -> int:
        """Remove items, and every byte of them from the gallery's files. How many there were. A Milvus store
        removes their bytes itself, when it next compacts. record: add a line to the account.
        """
        ids = ids_of(ids)
        if record:
            with self._act("delete") as line:
                gone = self.store.delete(ids)
                line |= {"items": gone, "bytes": True, **self._content()}
        else:
            gone = self.store.delete(ids)
        if self.store.complete:
            self.store.compact()
        return gone

    def compact(self) -> int:
        """Remove the bytes of deleted items; bytes won. UsageError on a Milvus store, which does it by itself."""
        self._needs_local("be compacted from outside", LOCALLY)
        return self.store.compact()

    def relocate(self, old: str | Path, new: str | Path) -> RelocationReport:
        """Tell it that the pictures below the folder `old` now lie below `new`; nothing is encoded again. See
        `upkeep.relocate`.
        """
        from .upkeep import relocate

        self._needs_local("be relocated", LOCALLY)
        with self._act("index", of="relocate") as line:
            report = relocate(self.store, old, new)
            line |= {"moved": report.moved, "absent": report.absent, "joined": report.joined, **self._content()}
        allow(new)
        return report

    def verify(self) -> list[Fault]:
        """Every fault in any byte that an answer depends on; an empty list when there is none. UsageError on a
        Milvus store.
        """
        self._needs_local("be verified", f"{LOCALLY}; descry migrate compares every vector again")
        return self.store.verify()

    def info(self) -> dict[str, Any]:
        """What it holds: plain values."""
        return self.store.overview()

    def listed(self, filters: Filters | None = None) -> Iterator[Item]:
        """Items that the filters let through, by rising id."""
        for ids in self.store.matching(filters):
            yield from self.store.items(ids)

    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of every file that was not read; UsageError on a Milvus store, which does not know."""
        self._needs_local("say what was skipped", LOCALLY)
        with self.store.database.reading() as connection:
            rows = connection.execute("SELECT path, reason, detail FROM skipped ORDER BY path").fetchall()
        return [(os.fsdecode(path), f"{reason}: {detail}") for path, reason, detail in rows]

    def groups(self, ids: Sequence[int], distance: int = 3) -> list[int]:
        """For each item the first one of `ids` that it is nearly the same as, or shares a track with."""
        from .groups import group

        items = self.items(ids)
        tracks = np.array([f"{i.camera}\0{i.track}" if i.track else "" for i in items])
        return [items[j].id for j in group(np.array([i.look for i in items], np.uint64), tracks, distance)]

    def erase(self) -> None:
        """Remove the gallery's own files, and its folder if nothing else is in it. Pictures are not touched."""
        self.store.erase()

    # ------------------------------------------------------------------ the account

    def _record(self, what: str, **facts: Any) -> None:
        """Add a line to the account. A Milvus store has none."""
        if not self.store.complete:
            return
        left_out, self._unrecorded = self._unrecorded, 0
        add_line(self.store.database, what, **facts, **({"unrecorded_searches": left_out} if left_out else {}))

    @contextmanager
    def _act(self, what: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """An act and its line are committed together or not at all. The line says what is put into the mapping."""
        line: dict[str, Any] = {}
        with self._failing(what, **facts):
            if not self.store.complete:
                yield line
                return
            self.store.hold()
            with self.store.database.writing():
                yield line
                self._record(what, **facts, **line)

    @contextmanager
    def _failing(self, what: str, **facts: Any) -> Iterator[None]:
        """An act that fails leaves a line too, which says by which error."""
        try:
            yield
        except Exception as error:
            with suppress(DescryError):  # the act's own error is the one to tell
                self._record(what, **facts, failed=getattr(error, "code", type(error).__name__))
            raise

    def _content(self) -> dict[str, Any]:
        if not self.store.complete:
            return {}
        return {"gallery": content(self.store), "model": self.binding.fingerprint}

    def close(self, *_: object) -> None:
        """Release locks and files, those of its inquiries too. The end of a `with` block does it."""
        if self._unrecorded:
            self._record("search", inquiry="", evaluation=True)
        for store in self._opened:
            store.close()
        self._opened.clear()
        self.store.close()

    __exit__ = close


def binding_of(model: Any) -> Binding:
    """What a gallery keeps of a model."""
    folder = getattr(model, "folder", None)
    source = str(model.name) if model.name == "demo" or folder is None else str(Path(folder).resolve())
    return Binding(source, model.fingerprint, model.dimension, model.preprocessing)


def _store_at(address: str) -> Any:
    """The class of the store behind an address; a package of its own has them."""
    name = "Milvus" if address.startswith("milvus") else "Postgres"
    return getattr(import_module(f"descry_stores.{name.lower()}"), f"{name}Store")


def _loaded(model: Any) -> Any:
    if not isinstance(model, (str, Path)):
        return model
    from ..embed import load

    return load(model)


def outside(out: str | Path, gallery: str | Path) -> None:
    """UsageError for a file or folder in the gallery's own folder, and for one of its pictures: they are evidence.

    gallery: a folder or an address; "" for none.
    """
    if not gallery:
        return
    address = address_of(gallery)
    if not address and Path(out).resolve().is_relative_to(Path(gallery).resolve()):
        raise UsageError(f"{out} lies in the gallery's own folder, which a purge leaves clean; name a place elsewhere")
    if Path(out).is_file():
        with Gallery.open(address or gallery) as opened:
            if opened.store.shows(str(out)):
                raise UsageError(f"{out} is a picture of this gallery; pictures are never changed: name another file")
