"""The Milvus store: a collection through its ordinary client: embedded file, server or cluster alike.

It answers approximately and keeps no snapshots, no checksums of its own rows and no full score vectors; those are the
local store's. Vectors are the stored float16 values (held as float32, which the embedded engine needs), so that
nothing is lost on the way. milvus_schema.py says how a collection is built, milvus_search.py how one is searched.
Needs the extra `milvus`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import numpy as np

from descry.errors import DescryError, StoreUnavailable, UsageError, install_hint
from descry.gallery.contract import Binding, Entry, Item, from_microseconds, microseconds, mtime_of
from descry.gallery.filters import glob_of
from descry.gallery.local import as_half
from descry.gallery.vectors import Moments
from descry.query import Filters

from . import milvus_schema as schema
from .milvus_schema import Layout, parse

STEP, MOST, SAMPLE = 500, 16384, 4096
NEVER = -(1 << 62)
BYTES = "\0"
UNKNOWN = "(unknown)"  # a field that divides a collection must not be empty
MOST_DAYS = 400
PUBLIC = ["id", "path", "sha", "size", "mtime", "camera", "track", "time", "look"]


class MilvusStore:
    """A store that does nothing beyond its methods here: it is not `LocalStore.complete`. Ids of items added here come
    from their paths; `put` keeps the ids of a local gallery.
    """

    complete = False

    def __init__(self, address: str, binding: Binding | None = None, layout: Layout | None = None):
        if not importlib.util.find_spec("pymilvus"):
            raise DescryError(f"pymilvus is not installed: {install_hint('milvus')}")
        from pymilvus import MilvusClient

        for name in ("pymilvus", "grpc._server"):  # they print what they also raise
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address, self.level = address, "Session"
        """level: how fresh answers are: what this process wrote, and of others what is a few seconds old."""
        self._moments: Moments | None = None
        self._sample: dict[int, np.ndarray] | None = None
        uri, self.name = parse(address)
        with self._translated(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.client = MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""))
        try:
            self._open(binding, layout or Layout())
        except BaseException:
            self.close()
            raise

    def _open(self, binding: Binding | None, layout: Layout) -> None:
        if binding is not None:
            self._clear_half_made()
        with self._translated():
            if not self.client.has_collection(self.name):
                if binding is None:
                    raise UsageError(
                        f"{self.address} holds no gallery of that name; make one with descry migrate GALLERY --to "
                        f"{self.address}"
                    )
                schema.create(self.client, self.name, binding, layout)
            schema.mend(self.client, self.name)
            self.client.load_collection(self.name)
            self.about = schema.read_about(self.client, self.name, self.address)
            self.binding, self.partition_by = Binding(**self.about["binding"]), str(self.about["partition_by"])
            self.index = schema.index_of(self.client, self.name)
        if binding is not None:
            self.binding.check(binding, self.address)
        if layout.partition_by not in ("", self.partition_by):
            raise UsageError(
                f"{self.address} is divided by {self.partition_by} and cannot be divided anew; leave out "
                f"--partition-by, or migrate to another name"
            )

    def _clear_half_made(self) -> None:
        """Remove the folders of collections that the embedded engine had begun when it was killed: it sees none there,
        and cannot make one. Only folders that hold nothing yet.
        """
        for name in (self.name, schema.about_of(self.name), schema.moments_of(self.name)):
            folder = os.path.join(parse(self.address)[0], "collections", name)
            if "//" not in self.address and os.path.isdir(folder) and set(os.listdir(folder)) <= {"schema.json.tmp"}:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, "schema.json.tmp"))
                os.rmdir(folder)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, ConnectionError, TimeoutError) as error:
            said = schema.line(error)
            if "unsupported pattern" in said:
                raise UsageError(
                    f"{self.address} (server {self.version()}) compares only how a path begins; write the folder "
                    "from / on and one * at the end: /FOLDER/*"
                ) from None
            if re.search("not (fully )?loaded", said):
                raise StoreUnavailable(
                    f"{self.address} has not loaded its items yet, as after a start of the server; repeat in a moment"
                ) from None
            if re.search("auth|token|password|permission|privilege", said, re.IGNORECASE):
                raise StoreUnavailable(f"{self.address} refused: {said}; put USER:PASSWORD into MILVUS_TOKEN") from None
            if re.search("connect|timeout|timed out|deadline|unavailable|closed", said, re.IGNORECASE):
                raise StoreUnavailable(f"{self.address} does not answer ({said}); is it running? Then repeat") from None
            raise StoreUnavailable(f"{self.address} could not do it: {said}") from None

    def note(self, **facts: Any) -> None:
        """Keep facts about the collection beside it."""
        self.about |= facts
        with self._translated():
            schema.write_about(self.client, self.name, self.about)

    def moments(self) -> Moments | None:
        """Mean and covariance of all vectors, as they were when a migration last ended; None before."""
        if self._moments is None and self.about.get("count") is not None:
            with self._translated():
                count = int(self.about["count"])
                self._moments = schema.read_moments(self.client, self.name, self.binding.dimension, count)
        return self._moments

    # ------------------------------------------------------------------ reading

    def count(self, condition: str = "") -> int:
        """Number of items, or of those that a condition in the engine's language lets through."""
        with self._translated():
            found = self.client.query(
                self.name, filter=condition, output_fields=["count(*)"], consistency_level=self.level
            )
        return int(found[0]["count(*)"])

    def items(self, ids: Sequence[int]) -> list[Item]:
        """Items by id, in the order asked; unknown ids are left out."""
        rows = {row["id"]: row for row in self.rows(ids, PUBLIC)}
        return [item_of(rows[i]) for i in map(int, ids) if i in rows]

    def rows(self, ids: Sequence[int], fields: list[str], condition: str = "") -> list[dict[str, Any]]:
        """Some fields of items, in no order; unknown ids, and those that a condition excludes, left out."""
        out: list[dict[str, Any]] = []
        plain = [int(i) for i in ids]
        with self._translated():
            for i in range(0, len(plain), STEP):
                asked = _all(f"id in {plain[i : i + STEP]}", condition)
                out += self.client.query(self.name, filter=asked, output_fields=fields, consistency_level=self.level)
        return out

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """(n, D) float16 stored vectors by id; KeyError for an id that is not there."""
        rows = {row["id"]: row["vector"] for row in self.rows(ids, ["id", "vector"])}
        missing = [int(i) for i in ids if int(i) not in rows]
        if missing:
            raise KeyError(f"no items with the ids {missing[:5]} in this gallery")
        found = np.array([rows[int(i)] for i in ids], np.float32)
        return found.reshape(len(ids), self.binding.dimension).astype(np.float16)

    def nearest(self, vectors: np.ndarray, k: int, filters: Filters | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) → ids (T, ≤ k) and cosines, best first; as good as the collection's index finds them."""
        hits = self._found(vectors, k, filters, ["id"])
        ordered = [sorted((-h["distance"], h["id"]) for h in row) for row in hits]
        width = min(map(len, ordered), default=0)
        ids = np.array([[i for _, i in row[:width]] for row in ordered], np.int64)
        scores = np.array([[-s for s, _ in row[:width]] for row in ordered], np.float32)
        return ids.reshape(len(ordered), width), scores.reshape(len(ordered), width)

    def near(self, vectors: np.ndarray, k: int, filters: Filters | None = None) -> dict[int, np.ndarray]:
        """The k items nearest to each of (T, D) vectors, id → (D,) float16, in one call."""
        hits = self._found(vectors, k, filters, ["id", "vector"])
        return {h["id"]: np.array(h["entity"]["vector"], np.float16) for row in hits for h in row}

    def sample(self, total: int) -> dict[int, np.ndarray]:
        """About SAMPLE of `total` items, all of them where they are fewer, id → (D,) float16: those whose vectors have
        the lowest checksums, which have nothing to do with what the vectors show. Read once for one object.
        """
        if self._sample is None:
            below = min(1 << 32, (SAMPLE << 32) // max(1, total))
            with self._translated():
                rows = self.client.query(
                    self.name,
                    filter=f"crc < {below}",
                    output_fields=["id", "vector"],
                    limit=MOST,
                    consistency_level=self.level,
                )
            self._sample = {int(row["id"]): np.array(row["vector"], np.float16) for row in rows}
        return self._sample

    def _found(self, vectors: np.ndarray, k: int, filters: Filters | None, fields: list[str]) -> Any:
        if k < 1:
            raise UsageError(f"k={k} results were asked for; ask for at least 1")
        queries = np.asarray(vectors, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.binding.dimension:
            raise UsageError(
                f"query vectors of shape {queries.shape} were given; this gallery compares (T, "
                f"{self.binding.dimension})"
            )
        limit = min(k, MOST)
        with self._translated():
            return self.client.search(
                self.name,
                queries.tolist(),
                limit=limit,
                filter=expression(filters, self.partition_by),
                search_params=schema.search_params(self.index, limit),
                output_fields=fields,
                consistency_level=self.level,
            )

    def matching(self, filters: Filters | None = None) -> Iterator[list[int]]:
        """Every id that the filters let through, rising, in steps."""
        condition, last = expression(filters, self.partition_by), NEVER
        while True:
            with self._translated():
                rows = self.client.query(
                    self.name,
                    filter=_all(f"id > {last}", condition),
                    output_fields=["id"],
                    limit=MOST,
                    consistency_level=self.level,
                )
            found = sorted(int(r["id"]) for r in rows)
            if not found:
                return
            if len(found) == MOST:  # the engine returns some 16,384 of them: go through the ids below the largest again
                yield from self._between(last, found[-1], condition)
            else:
                yield found
            last = found[-1]

    def _between(self, low: int, high: int, condition: str) -> Iterator[list[int]]:
        inside = _all(f"id > {low} and id <= {high}", condition)
        if self.count(inside) <= MOST:
            with self._translated():
                rows = self.client.query(
                    self.name, filter=inside, output_fields=["id"], limit=MOST, consistency_level=self.level
                )
            yield sorted(int(r["id"]) for r in rows)
            return
        middle = (low + high) // 2
        yield from self._between(low, middle, condition)
        yield from self._between(middle, high, condition)

    def shows(self, path: str) -> bool:
        """Whether a file is that of an item, under whatever name: links and other spellings of it too."""
        found = os.stat(path)
        names = _quoted(_text(name) for name in (os.path.abspath(path), os.path.realpath(path)))
        same = f"size == {found.st_size} and mtime == {mtime_of(found)}"
        asked = f"path in {names} or ({same}) or path like {_literal('%/' + os.path.basename(os.path.realpath(path)))}"
        with self._translated():
            rows = self.client.query(
                self.name, filter=asked, output_fields=["path"], limit=MOST, consistency_level=self.level
            )
        held = [_path(row["path"]) for row in rows]
        return any(os.path.samestat(found, os.stat(name)) for name in held if os.path.exists(name))

    def overview(self) -> dict[str, Any]:
        """Items, cameras with counts, times, partitions, index, model: plain values. Reads three fields of every
        item.
        """
        cameras: Counter[str] = Counter()
        tracks: set[tuple[str, str]] = set()
        first: int | None = None
        last: int | None = None
        for ids in self.matching():
            for row in self.rows(ids, ["camera", "track", "time"]):
                cameras[known(row["camera"])] += 1
                if row["track"]:
                    tracks.add((row["camera"], row["track"]))
                if row["time"] != NEVER:
                    first = min(row["time"], row["time"] if first is None else first)
                    last = max(row["time"], row["time"] if last is None else last)
        span = [t.isoformat() if t else "" for t in (from_microseconds(first), from_microseconds(last))]
        count = sum(cameras.values())
        return {
            "items": count,
            "cameras": {name: n for name, n in cameras.most_common(50) if name or n < count},
            "tracks": len(tracks),
            "from": span[0],
            "to": span[1],
            "address": self.address,
            "partitions": self.partition_by,
            "index": self.index,
            "server": self.version(),
            "unfinished": bool(self.about.get("unfinished")),
            "model": self.binding.source,
            "fingerprint": self.binding.fingerprint,
            "dimension": self.binding.dimension,
            "preprocessing": self.binding.preprocessing,
        }

    # ------------------------------------------------------------------ writing

    def add(self, entries: Sequence[Entry], vectors: np.ndarray) -> list[int]:
        """Store crops; an entry whose path is known replaces that item and keeps its id."""
        ids = [id_of(entry.path) for entry in entries]
        self.put(ids, entries, vectors)
        return ids

    def put(self, ids: Sequence[int], entries: Sequence[Entry], vectors: np.ndarray) -> None:
        """Store crops under given ids."""
        half = as_half(list(np.asarray(vectors)), self.binding.dimension)
        if not len(half) == len(entries) == len(ids):
            raise UsageError(f"{len(entries)} crops came with {len(half)} vectors and {len(ids)} ids; give one of each")
        rows = [row_of(i, entry, vector) for i, entry, vector in zip(ids, entries, half, strict=True)]
        self.delete(ids)  # servers before 2.4 put rows that are upserted where no filter finds them
        with self._translated():
            for i in range(0, len(rows), STEP):
                self.client.insert(self.name, rows[i : i + STEP])

    def missing(self, ids: Sequence[int], entries: Sequence[Entry], vectors: np.ndarray) -> list[int]:
        """Places in a list of crops of those that are not stored under these ids as they are. When a file was last read
        does not count: an index reads a file again whose time is within the clock's grain, and finds it unchanged.
        """
        wanted = [facts_of(*crop) for crop in zip(ids, entries, vectors, strict=True)]
        for facts in wanted:
            del facts["checked"]
        there = {row["id"]: row for row in self.rows(ids, list(wanted[0]))} if wanted else {}
        return [i for i, number in enumerate(ids) if there.get(number) != wanted[i]]

    def settle(self, layout: Layout) -> str:
        """Seal what was written and make the index the one that the layout wants for so many items; its kind."""
        kept = layout.index == "auto" and self.index != "flat"  # somebody chose it
        kind = self.index if kept else layout.kind(self.count())
        with self._translated():
            self.client.flush(self.name)
            if kind != self.index:
                schema.reindex(self.client, self.name, kind, self.binding.dimension)
                self.index = kind
        return kind

    def delete(self, ids: Iterable[int]) -> int:
        """Remove items; how many there were."""
        present = [int(row["id"]) for row in self.rows(list(ids), ["id"])]
        with self._translated():
            for i in range(0, len(present), STEP):
                self.client.delete(self.name, ids=present[i : i + STEP])
        return len(present)

    def erase(self) -> None:
        """Remove the collection and the one beside it."""
        with self._translated():
            for name in (self.name, schema.moments_of(self.name), schema.about_of(self.name)):
                self.client.drop_collection(name)

    def version(self) -> str:
        """The server's version as it tells it, "" where it does not."""
        from pymilvus.exceptions import MilvusException

        with suppress(MilvusException):
            return str(self.client.get_server_version())
        return ""

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


def _all(*conditions: str) -> str:
    return " and ".join(c for c in conditions if c)


# ------------------------------------------------------------------ items as rows, filters in the engine's language


def id_of(path: str) -> int:
    """A positive 63-bit id from a path: the same path, the same item, on any number of machines."""
    return int.from_bytes(blake2b(os.fsencode(path), digest_size=8).digest(), "big") >> 1


def expression(filters: Filters | None, partition_by: str = "none") -> str:
    """Filters in the engine's language. Marks are the asker's: UsageError for a filter by them.

    Where items are divided by day, a time range also names its days: a server looks into partitions only for = and IN
    over the field that divides them. Cameras are asked by IN as they are.
    """
    if filters is None:
        return ""
    if filters.marked is not None:
        raise UsageError("a Milvus store knows no marks; filter by marks in a local gallery")
    parts = []
    if filters.cameras:
        parts.append(f"camera in {_quoted(c or UNKNOWN for c in filters.cameras)}")
    if filters.since:
        parts.append(f"time >= {microseconds(filters.since)}")
    if filters.until:
        parts.append(f"time <= {microseconds(filters.until)} and time > {NEVER}")
    days = _days(filters) if partition_by == "day" else []
    if days:
        parts.append(f"day in {_quoted(days)}")
    if filters.path:
        if re.search(r"[?\[\]]", filters.path):
            raise UsageError(f"the path pattern {filters.path!r} was given; a Milvus store understands only * in it")
        pattern = re.sub(r"([%_\\])", r"\\\1", glob_of(filters.path)).replace("*", "%")
        parts.append(f"path like {_literal(pattern)}")
    return " and ".join(parts)


def _days(filters: Filters) -> list[str]:
    """The days of a range with both ends; none for an open or a very long one, which touches most partitions anyway."""
    if not filters.since or not filters.until:
        return []
    first, count = filters.since.date(), (filters.until.date() - filters.since.date()).days + 1
    return [(first + timedelta(days=i)).isoformat() for i in range(count)] if 0 < count <= MOST_DAYS else []


ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
"""The engine's language reads other characters as they are, and not every escape of JSON."""


def _quoted(values: Iterable[str]) -> str:
    return "[" + ", ".join(map(_literal, values)) + "]"


def _literal(value: str) -> str:
    return f'"{value.translate(ESCAPES)}"'


def row_of(number: int, entry: Entry, vector: np.ndarray) -> dict[str, Any]:
    """One item as the collection holds it. vector: (D,) float16."""
    return facts_of(number, entry, vector) | {"vector": vector.astype(np.float32).tolist()}


def facts_of(number: int, entry: Entry, vector: np.ndarray) -> dict[str, Any]:
    """A row without its vector, of which it has the checksum."""
    time = microseconds(entry.time)
    look = entry.look - (1 << 64) if entry.look >= 1 << 63 else entry.look
    return {
        "id": int(number),
        "path": _text(entry.path),
        "sha": entry.sha.hex(),
        "camera": entry.camera or UNKNOWN,
        "track": entry.track,
        "day": entry.time.date().isoformat() if entry.time else UNKNOWN,
        "size": entry.size,
        "mtime": entry.mtime,
        "checked": entry.checked,
        "time": NEVER if time is None else time,
        "look": look,
        "crc": zlib.crc32(np.ascontiguousarray(vector, np.float16).tobytes()),
    }


def item_of(row: dict[str, Any]) -> Item:
    """A row with the fields of PUBLIC as an Item."""
    time = None if row["time"] == NEVER else from_microseconds(row["time"])
    path, look, camera = _path(row["path"]), row["look"] % (1 << 64), known(row["camera"])
    return Item(row["id"], path, row["sha"], row["size"], row["mtime"], camera, row["track"], time, look)


def known(camera: str) -> str:
    """A camera's name as it was stored, "" for unknown."""
    return "" if camera == UNKNOWN else camera


def _text(path: str) -> str:
    """A path as text that any engine keeps; bytes that are no UTF-8 are kept one by one behind a mark."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return BYTES + os.fsencode(path).decode("latin-1")
    return path


def _path(text: str) -> str:
    return os.fsdecode(text[1:].encode("latin-1")) if text.startswith(BYTES) else text
