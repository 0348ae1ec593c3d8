"""From folders of crops to a gallery: decode on several threads, encode on one, commit every few hundred items.

Files are taken in one fixed order and commits fall between encoder batches, so a run that was interrupted and resumed
puts the same pictures into the same batches, and its vectors are those of a run that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from .. import images
from .contract import Entry
from .local import Batch, LocalStore, as_half
from .reading import Loaded, Reader
from .sources import Sources
from .walk import NOBODY, Found, Plan

COMMIT_ITEMS, COMMIT_SECONDS, MOST_PENDING = 256, 2.0, 1024


class PixelEncoder(Protocol):
    """What indexing asks of a model: `descry.embed.Model` has it, and so has a small fake in a test."""

    image_size: tuple[int, int]

    def embed_pixels(self, pixels: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Step:
    """How far indexing is. done, total: files. encoded: pictures that went through the encoder. seconds: so far."""

    done: int
    total: int
    encoded: int
    skipped: int
    seconds: float


@dataclass
class IndexReport:
    """What indexing did. added, changed, moved, removed, unchanged: items. encoded: pictures that went through the
    encoder.

    relabelled: unchanged items whose camera, time or track was read anew, since sources were named. skipped: (path,
    reason) of everything that was not read: files, also those skipped by earlier runs, and folders. seconds, encoding:
    wall time in all and in the encoder. interrupted: it was asked to stop; what was committed is kept. dry: nothing
    was written. warning: what must be said about the gallery's size and about pictures that are no crops, "" for
    nothing.
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    relabelled: int = 0
    encoded: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    encoding: float = 0.0
    interrupted: bool = False
    dry: bool = False
    warning: str = ""


class Indexer:
    """One run over one plan. stop: asked after each file. progress: called about once per batch. done: called inside
    the last transaction, with what the whole run did. empty: which vectors, (N, D), are of pictures that show nobody;
    those are left out and listed as skipped.
    """

    def __init__(
        self,
        store: LocalStore,
        model: PixelEncoder,
        sources: Sources | None = None,
        limits: images.Limits = images.GALLERY,
        batch_size: int = 32,
        progress: Callable[[Step], None] | None = None,
        stop: Callable[[], bool] | None = None,
        done: Callable[[IndexReport], None] | None = None,
        empty: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.store, self.model, self.limits, self.batch_size = store, model, limits, batch_size
        self.sources = sources or Sources()
        self.progress, self.stop, self.told = progress, stop or (lambda: False), done
        self.empty, self.nobody = empty, set[bytes]()
        self.report = IndexReport()
        self.begun = self.committed = time.monotonic()
        self.known: dict[bytes, int] = {}
        self.fresh: dict[bytes, np.ndarray] = {}
        self.gone: dict[bytes, list[int]] = {}
        self.pending: list[Loaded] = []
        self.batch = Batch()
        self.done = 0

    def run(self, plan: Plan) -> IndexReport:
        """Carry out the plan and say what was done. The store's lock is held meanwhile."""
        self.store.hold()
        self.report.unchanged = plan.unchanged
        self.report.skipped = plan.skipped
        now = time.time_ns()
        self.batch.skipped += [(m.path, m.reason, m.detail, 0, 0, now) for m in plan.newly]
        self._relabel(plan)
        self._learn(plan)
        for loaded in self._read(plan):
            self.done += 1
            self._take(loaded)
            if self._full():
                self._flush()
            if self.stop():  # also among files that are refused, which fill no batch
                self.report.interrupted = True
                break
        self._flush()  # encodes what is left, before the last transaction begins
        with self.store.database.writing():
            if len(self.batch):
                self._commit()
            if not self.report.interrupted:
                self._forget(plan)
            self.report.seconds = time.monotonic() - self.begun
            self.report.skipped.sort()
            if self.told:
                self.told(self.report)
        return self.report

    def _read(self, plan: Plan) -> Iterator[Loaded]:
        """Every fresh file, with its pixels unless a stored vector stands for its content."""
        if plan.fresh:  # without fresh files no model is needed, and none is given
            reader = Reader(self.model.image_size, self.limits, self.sources, self.known)
            for loaded in reader.ahead(plan.fresh, 3 * self.batch_size):
                while loaded.entry and not self._known(loaded.entry.sha) and loaded.pixels is None:
                    loaded = reader.read(loaded.found)  # its content was known when it was read, and is not any more
                yield loaded

    def _learn(self, plan: Plan) -> None:
        """Which contents are known, and which of them lost their file: those may turn up elsewhere."""
        if not plan.fresh:
            return
        lost = set(plan.gone.values())
        with self.store.database.reading() as connection:
            for number, sha in connection.execute("SELECT id, sha FROM items ORDER BY id DESC"):
                self.known[sha] = number
                if number in lost:
                    self.gone.setdefault(sha, []).append(number)

    def _known(self, sha: bytes) -> bool:
        """Whether an item holds this content now: the one that did may have been replaced or removed by a commit."""
        number = self.known.get(sha)
        if number is not None and not self._is(number, sha):
            del self.known[sha]
        return sha in self.known

    def _relabel(self, plan: Plan) -> None:
        """Camera, time and track of files that have not changed, where the sources given now say something else."""
        if not self.sources.named or not plan.same:
            return
        reader = Reader((1, 1), self.limits, self.sources, {})
        for start in range(0, len(plan.same), COMMIT_ITEMS):
            files = {f.number: f for f in plan.same[start : start + COMMIT_ITEMS]}
            for item in self.store.items(list(files)):
                held = {"camera": item.camera, "track": item.track, "time": item.time}
                fields = reader.fields(files[item.id], held)
                if fields != held:
                    sha = bytes.fromhex(item.sha256)
                    entry = Entry(item.path, sha, item.size, item.mtime, look=item.look, checked=time.time_ns())
                    self.batch.updated.append((item.id, replace(entry, **fields)))
                    self.report.relabelled += 1
            if len(self.batch) >= COMMIT_ITEMS:
                self._commit()

    # ------------------------------------------------------------------ taking one file

    def _take(self, loaded: Loaded) -> None:
        found, entry = loaded.found, loaded.entry
        if entry is None:
            return self._skip(found, loaded.reason, loaded.detail)
        if found.number and self._is(found.number, entry.sha):
            self._update(found.number, entry)
            self.report.unchanged += 1
        elif not found.number and self.gone.get(entry.sha):
            self._update(self.gone[entry.sha].pop(0), entry)
            self.report.moved += 1
        else:
            self.pending.append(loaded)

    def _skip(self, found: Found, reason: str, detail: str) -> None:
        self.report.skipped.append((found.path, f"{reason}: {detail}"))
        self.batch.skipped.append((found.path, reason, detail, found.size, found.mtime, time.time_ns()))
        if found.number:  # it was readable once and is not any more: its old vector must not answer for it
            self.batch.removed.append(found.number)
            self.report.removed += 1

    def _is(self, number: int, sha: bytes) -> bool:
        items = self.store.items([number])
        return bool(items) and items[0].sha256 == sha.hex()

    def _update(self, number: int, entry: Entry) -> None:
        items = self.store.items([number])
        self.batch.updated.append((number, replace(entry, look=items[0].look)))

    def _full(self) -> bool:
        if len(self.pending) >= MOST_PENDING or len(self.batch) >= MOST_PENDING:
            return True
        return len(self.pending) >= self.batch_size and len(self._new()) >= self.batch_size

    def _new(self) -> dict[bytes, Loaded]:
        """Pending contents that no stored or just encoded vector stands for."""
        out: dict[bytes, Loaded] = {}
        for loaded in self.pending:
            assert loaded.entry is not None
            if loaded.pixels is not None and loaded.entry.sha not in self.known and loaded.entry.sha not in self.fresh:
                out.setdefault(loaded.entry.sha, loaded)
        return out

    # ------------------------------------------------------------------ encoding and committing

    def _flush(self) -> None:
        new = self._new()
        if new:
            begin = time.monotonic()
            vectors = self.model.embed_pixels(np.stack([loaded.pixels for loaded in new.values()]))  # type: ignore[misc]
            self.report.encoding += time.monotonic() - begin
            self.report.encoded += len(new)
            if self.empty:
                self.nobody |= {sha for sha, nobody in zip(new, self.empty(vectors), strict=True) if nobody}
            self.fresh |= dict(zip(new, as_half(list(vectors), self.store.binding.dimension), strict=True))
        for loaded in self.pending:
            self._queue(loaded)
        self.pending.clear()
        due = len(self.batch) >= COMMIT_ITEMS or time.monotonic() - self.committed >= COMMIT_SECONDS
        if len(self.batch) and (due or self.stop()):
            self._commit()
        if self.progress:
            seconds = time.monotonic() - self.begun
            self.progress(Step(self.done, self.done, self.report.encoded, len(self.report.skipped), seconds))

    def _queue(self, loaded: Loaded) -> None:
        entry = loaded.entry
        assert entry is not None
        if entry.sha in self.nobody:
            return self._skip(loaded.found, NOBODY, "the model reads it as a scene without people")
        if entry.sha in self.fresh:
            vector = self.fresh[entry.sha]
        else:
            number = self.known[entry.sha]
            vector = self.store.vectors([number])[0]
            entry = replace(entry, look=self.store.items([number])[0].look)
        self.batch.added.append(entry)
        self.batch.vectors.append(vector)
        if loaded.found.number:
            self.report.changed += 1
        else:
            self.report.added += 1

    def _commit(self) -> None:
        ids = self.store.commit(self.batch)
        for number, entry in zip(ids, self.batch.added, strict=True):
            self.known[entry.sha] = number
        self.batch = Batch()
        self.fresh.clear()
        self.committed = time.monotonic()

    def _forget(self, plan: Plan) -> None:
        """Items whose file is gone and whose content turned up nowhere else."""
        lost = [number for numbers in self.gone.values() for number in numbers]
        if lost or plan.forgotten:
            self.store.commit(Batch(removed=sorted(lost), unskipped=plan.forgotten))
        self.report.removed += len(lost)
