"""The local store: one folder, embedded, exact.

  gallery.json        what it is bound to          items.db, head      items and how far commits have come
  vectors-*.f16       vectors                      writer.lock         who writes

Order of every write: vectors on disk → rows committed → head. Killed anywhere in between, the folder is as it was
after the last commit; leftovers are swept away by the next writer.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, lock
from ..errors import DescryError, IndexCorrupt, IndexMismatch, UsageError
from ..lock import WriterLock
from ..query import Filters
from ..safe_files import FOLDER, refuse_links
from . import files, segments
from .batch import Batch, as_half
from .contract import Binding, Entry, Fault, Item, Snapshot
from .database import HEAD, NAME, Database
from .filters import allowed_ids
from .mapping import grown, mapped

FORMAT = 1
CONFIG = "gallery.json"
OWN = (
    *(f"{CONFIG}*", f"{NAME}*", f"{HEAD}*", f"{lock.NAME}*", "vectors-*", "inquiries.db*", "audit.*", "purge.*"),
    *("absence.json*", "page.key*", "*.partial"),
)
"""Names of everything that descry keeps in a gallery's folder."""
STEP = 500


class LocalStore:
    """See the module's text. Threads may share one; each gets its own view of the database."""

    capabilities = frozenset({"exact", "scores", "snapshot", "verify", "compact"})

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        refuse_links(self.folder, OWN, "gallery")
        self.config = self._read_config()
        self.binding = _binding(self.folder, self.config)
        self.database = Database(self.folder)
        self._lock: WriterLock | None = None
        self._last: Snapshot | None = None

    @classmethod
    def create(cls, folder: str | Path, binding: Binding) -> LocalStore:
        """A new, empty store. UsageError when the folder holds anything already."""
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and is not empty; name a new folder for the gallery")
        with _disk(folder):
            folder.mkdir(FOLDER, parents=True, exist_ok=True)
            Database(folder, create=True).close()
            made = datetime.now(UTC).isoformat(timespec="seconds")
            config = {
                "format": FORMAT,
                "descry": __version__,
                "created": made,
                "vectors": "float16",
                "binding": asdict(binding),
            }
            files.write_sealed(folder / CONFIG, config)
        return cls(folder)

    def _read_config(self) -> dict[str, Any]:
        try:
            config = files.read_sealed(self.folder / CONFIG)
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(
                f"{self.folder} is no gallery: it holds no {CONFIG}; make one with descry index DIR --out {self.folder}"
            ) from None
        if config.get("format") != FORMAT:
            raise IndexMismatch(
                f"{self.folder} has format {config.get('format')}; this descry reads format {FORMAT}: "
                f"index again into a new folder"
            )
        return config

    # ------------------------------------------------------------------ reading

    def count(self) -> int:
        """Number of items."""
        return self.database.state().count

    def items(self, ids: Sequence[int]) -> list[Item]:
        """Items by id, in the order asked; unknown ids are left out."""
        return self.database.items(ids)

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """The current snapshot, with the database held at that moment for everything asked inside the block."""
        with self.database.reading():
            yield self.snapshot()

    def snapshot(self) -> Snapshot:
        """The rows as they are now. Cheap when nothing changed, and when rows were only appended."""
        for _ in range(5):
            with self.database.reading():
                state, old = self.database.state(), self._last
                if old and old.generation > state.generation:  # of another thread, whose view is newer than ours
                    old = None
                if old and old.generation == state.generation:
                    return old
                try:
                    same = old is not None and old.layout == state.layout
                    made = grown(self, old, state) if old and same else mapped(self, state)
                except FileNotFoundError:  # compacted between the two looks
                    continue
            if len(made) != state.count:
                raise IndexCorrupt(
                    f"{self.folder} says it has {state.count} items and holds {len(made)}; run descry verify"
                )
            last = self._last
            if last is None or last.generation <= made.generation:
                self._last = made
            return made
        raise IndexCorrupt(
            f"{self.folder} lacks a vectors file that its database names; restore it from a copy, or index again"
        )

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """(n, D) float16 stored vectors by id; KeyError for an id that is not there."""
        with self.reading() as snapshot:
            return snapshot.vectors(snapshot.columns(ids))

    def nearest(self, vectors: np.ndarray, k: int, filters: Filters | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) → ids (T, ≤ k) and cosines, float32, best first, ties by rising id. Exact; see `scan`."""
        from . import scan

        with self.reading() as snapshot:
            allowed = self.allowed(snapshot, filters)
            return scan.nearest(snapshot, vectors, k, allowed)

    def allowed(self, snapshot: Snapshot, filters: Filters | None, marked: Iterable[int] = ()) -> np.ndarray | None:
        """(N,) bool: which columns the filters let through; None for all."""
        with self.database.reading() as connection:
            ids = allowed_ids(connection, filters, marked)
        if ids is None:
            return None
        inside = np.isin(snapshot.ids, ids[0])
        return inside if ids[1] else ~inside

    def matching(self, filters: Filters | None = None) -> Iterator[list[int]]:
        """Every id that the filters let through, rising, in steps, of one moment."""
        with self.reading() as rows:
            allowed = self.allowed(rows, filters)
            ids = rows.ids if allowed is None else rows.ids[allowed]
            for i in range(0, len(ids), STEP):
                yield ids[i : i + STEP].tolist()

    def overview(self) -> dict[str, Any]:
        """What it holds and what it is bound to: plain values."""
        from .overview import overview

        return overview(self)

    # ------------------------------------------------------------------ writing

    @property
    def held(self) -> bool:
        """Whether this store holds the writer's lock."""
        return self._lock is not None

    def hold(self) -> None:
        """Take the writer's lock and sweep up what an interrupted writer left. Raises Locked."""
        if self._lock is not None:
            return
        with _disk(self.folder):
            self._lock = WriterLock(self.folder)
            try:
                self.database.check_head()
                self._sweep()
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Give the writer's lock back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _sweep(self) -> None:
        with self.database.reading() as connection:
            known = {segments.name_of(n): (n, rows) for n, rows in connection.execute("SELECT id, rows FROM segments")}
        for path in self.folder.iterdir():
            if path.name.endswith(".partial") or (path.name.startswith("vectors-") and path.name not in known):
                path.unlink(missing_ok=True)
        for number, rows in known.values():
            segments.cut(self.folder, number, rows, self.binding.dimension)

    def add(self, entries: Sequence[Entry], vectors: np.ndarray) -> list[int]:
        """Store crops with their (n, D) vectors; an entry whose path is known replaces that item and keeps its id."""
        return self.commit(Batch(added=list(entries), vectors=list(np.asarray(vectors))))

    def delete(self, ids: Iterable[int]) -> int:
        """Remove items; how many there were. Their bytes go with the next `compact`."""
        before = self.count()
        self.commit(Batch(removed=[int(i) for i in ids]))
        return before - self.count()

    def commit(self, batch: Batch) -> list[int]:
        """Make a batch durable; the ids of what was added. On any error nothing of it is there."""
        self.hold()
        half = as_half(batch.vectors, self.binding.dimension)
        if len(half) != len(batch.added):
            raise UsageError(f"{len(batch.added)} crops came with {len(half)} vectors; give one vector per crop")
        with _disk(self.folder):
            places, sizes = self._append(half)
            with self.database.writing() as change:
                for number in batch.removed:
                    change.remove(number)
                for number, entry in batch.updated:
                    change.update(number, entry)
                for skip in batch.skipped:
                    change.skip(*skip)
                for path in batch.unskipped:
                    change.unskip(path)
                for number, rows in sizes.items():
                    change.segment(number, rows)
                return [
                    change.insert(entry, place, zlib.crc32(row))
                    for entry, place, row in zip(batch.added, places, half, strict=True)
                ]

    def _append(self, half: np.ndarray) -> tuple[list[tuple[int, int]], dict[int, int]]:
        """Write rows behind the last ones: their places, and the new size of each segment touched."""
        with self.database.reading() as connection:
            number, used = connection.execute("SELECT id, rows FROM segments ORDER BY id DESC LIMIT 1").fetchone() or (
                1,
                0,
            )
        limit, places, sizes, done = segments.capacity(self.binding.dimension), [], {}, 0
        while done < len(half):
            if used >= limit:
                number, used = number + 1, 0
            part = half[done : done + limit - used]
            segments.append(self.folder, number, used, part)
            places += [(number, used + i) for i in range(len(part))]
            used, done = used + len(part), done + len(part)
            sizes[number] = used
        return places, sizes

    def compact(self) -> int:
        """Rewrite what holds removed vectors, and the database, so that their bytes are gone; bytes won."""
        from .compaction import compact

        self.hold()
        with _disk(self.folder):
            return compact(self)

    def verify(self) -> list[Fault]:
        """Every fault in any byte that an answer depends on."""
        from .verification import verify

        return verify(self)

    def size(self) -> int:
        """Bytes of the folder's files."""
        return sum(p.stat().st_size for p in self.folder.iterdir() if p.is_file())

    def erase(self) -> None:
        """Remove the files that are the store's own, and the folder when nothing else is in it. Raises Locked."""
        self.hold()
        self.close()
        own = [CONFIG, NAME, f"{NAME}-wal", f"{NAME}-shm", HEAD, lock.NAME]
        for path in [
            *(self.folder / name for name in own),
            *self.folder.glob("vectors-*.f16"),
            *self.folder.glob("*.partial"),
        ]:
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def close(self) -> None:
        """Release lock and connections."""
        self.release()
        self.database.close()
        self._last = None


def _binding(folder: Path, config: dict[str, Any]) -> Binding:
    """The binding of a gallery.json whose every value was looked at: a received one may say anything."""
    kinds = {"source": str, "fingerprint": str, "dimension": int, "preprocessing": dict}
    given: Any = config.get("binding")
    made = config.get("created")
    wrong = "binding" if not isinstance(given, dict) or set(given) != set(kinds) else ""
    if not wrong:
        wrong = next((name for name, kind in kinds.items() if type(given[name]) is not kind), "")
    if not wrong and not (0 < given["dimension"] <= 65_536 and re.fullmatch(r"[0-9a-f]{0,64}", given["fingerprint"])):
        wrong = "dimension or fingerprint"
    if not wrong and not (isinstance(made, str) and re.fullmatch(r"[0-9T:.+Z-]{10,40}", made)):
        wrong = "created"
    if wrong:
        raise IndexCorrupt(f"{folder / CONFIG} says something impossible about its {wrong}; do not trust this gallery")
    return Binding(**given)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        raise DescryError(
            f"writing to {folder} failed: {what}; what was committed before is kept. Free space or mend "
            f"the disk, then repeat"
        ) from error
