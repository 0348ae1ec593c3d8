"""The distributed store: a Milvus collection through its ordinary client: embedded file, server or cluster alike.

It answers approximately and keeps no snapshots, no checksums of its own rows and no full score vectors; those are the
local store's. Vectors are the stored float16 values (held as float32, which the embedded engine needs), so that
nothing is lost on the way. Needs the extra `milvus`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

import numpy as np

from ..errors import DescryError, IndexMismatch, StoreUnavailable, UsageError
from ..query import Filters
from .contract import Binding, Entry, Item, from_microseconds, microseconds
from .filters import glob_of
from .local import as_half

NEVER = -(1 << 62)
STEP, MOST = 500, 16384
BYTES = "\0"
PUBLIC = ["id", "path", "sha", "size", "mtime", "camera", "track", "time", "look"]
PARTITIONS = ("none", "camera", "day")


def parse(address: str) -> tuple[str, str]:
    """ "milvus://host:port#name", "milvus+https://…#name" or "milvus:file.db#name" → the client's address and the
    name.
    """
    place, _, name = address.partition("#")
    found = re.fullmatch(r"milvus(?:\+(https?))?:(//)?(.+)", place)
    if not found or (name and not re.fullmatch(r"[A-Za-z_]\w*", name)):
        raise UsageError(
            f"{address} is no address of a Milvus store; write milvus://HOST:PORT#NAME or milvus:FILE.db#NAME, "
            "the name of letters, digits and _"
        )
    scheme, slashes, rest = found.groups()
    return (f"{scheme or 'http'}://{rest}" if slashes else os.path.abspath(rest)), name or "gallery"


class MilvusStore:
    """A `contract.Store`. Ids of items added here come from their paths; `put` keeps the ids of a local gallery."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self, address: str, binding: Binding | None = None, partition_by: str = "none"):
        if not importlib.util.find_spec("pymilvus"):
            raise DescryError("pymilvus is not installed; pip install 'descry[milvus]'")
        from pymilvus import MilvusClient

        self.address = address
        uri, self.name = parse(address)
        self.about = f"{self.name}_about"
        with self._translated(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.client = MilvusClient(uri)
            if not self.client.has_collection(self.name):
                if binding is None:
                    raise UsageError(
                        f"{address} holds no gallery of that name; make one with descry migrate GALLERY --to {address}"
                    )
                self._create(binding, partition_by)
            self.client.load_collection(self.name)
            self.client.load_collection(self.about)
            kept = json.loads(self.client.get(self.about, ids=[1], output_fields=["text"])[0]["text"])
        if kept.get("format") != 1:
            raise IndexMismatch(f"{address} has format {kept.get('format')}; this descry reads format 1")
        self.binding = Binding(**kept["binding"])
        if binding is not None:
            self.binding.check(binding, address)

    def _create(self, binding: Binding, partition_by: str) -> None:
        from pymilvus import DataType

        if partition_by not in PARTITIONS:
            raise UsageError(f"--partition-by {partition_by} was given; allowed: {', '.join(PARTITIONS)}")
        about = json.dumps({"format": 1, "binding": asdict(binding), "partition_by": partition_by})
        self._create_about(about)
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=binding.dimension)
        for name, length in (("path", 8192), ("sha", 64), ("camera", 512), ("track", 512), ("day", 10)):
            schema.add_field(name, DataType.VARCHAR, max_length=length, is_partition_key=name == partition_by)
        for name in ("size", "mtime", "checked", "time", "look", "crc"):
            schema.add_field(name, DataType.INT64)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
        self.client.create_collection(self.name, schema=schema, index_params=index, consistency_level="Strong")

    def _create_about(self, text: str) -> None:
        """One row in a collection beside, since not every engine keeps a collection's description."""
        from pymilvus import DataType

        if self.client.has_collection(self.about):
            self.client.drop_collection(self.about)
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field("text", DataType.VARCHAR, max_length=65535)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
        self.client.create_collection(self.about, schema=schema, index_params=index, consistency_level="Strong")
        self.client.insert(self.about, [{"id": 1, "vector": [1.0, 0.0], "text": text}])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, ConnectionError, TimeoutError) as error:
            raise StoreUnavailable(
                f"{self.address} does not answer or refused: {error}; is it running? Then repeat"
            ) from None

    # ------------------------------------------------------------------ reading

    def count(self) -> int:
        """Number of items."""
        with self._translated():
            return int(self.client.query(self.name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def items(self, ids: Sequence[int]) -> list[Item]:
        """Items by id, in the order asked; unknown ids are left out."""
        rows = {row["id"]: row for row in self.rows(ids, PUBLIC)}
        return [_item(rows[i]) for i in map(int, ids) if i in rows]

    def rows(self, ids: Sequence[int], fields: list[str]) -> list[dict[str, Any]]:
        """Some fields of items, in no order; unknown ids left out."""
        out: list[dict[str, Any]] = []
        plain = [int(i) for i in ids]
        with self._translated():
            for i in range(0, len(plain), STEP):
                out += self.client.query(self.name, filter=f"id in {plain[i : i + STEP]}", output_fields=fields)
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
        if k < 1:
            raise UsageError(f"k={k} results were asked for; ask for at least 1")
        queries = np.asarray(vectors, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.binding.dimension:
            raise UsageError(
                f"query vectors of shape {queries.shape} were given; this gallery compares (T, "
                f"{self.binding.dimension})"
            )
        with self._translated():
            found = self.client.search(
                self.name, queries.tolist(), limit=min(k, MOST), filter=expression(filters), output_fields=["id"]
            )
        hits = [sorted((-h["distance"], h["id"]) for h in row) for row in found]
        width = min(map(len, hits), default=0)
        ids = np.array([[i for _, i in row[:width]] for row in hits], np.int64)
        scores = np.array([[-s for s, _ in row[:width]] for row in hits], np.float32)
        return ids.reshape(len(hits), width), scores.reshape(len(hits), width)

    def ids(self) -> Iterator[list[int]]:
        """Every id, in steps."""
        last = NEVER
        while True:
            with self._translated():
                rows = self.client.query(self.name, filter=f"id > {last}", output_fields=["id"], limit=MOST)
            found = sorted(int(r["id"]) for r in rows)
            if not found:
                return
            if len(found) == MOST:  # the engine returns some 16,384 of them: go through the ids below the largest again
                yield from self._between(last, found[-1])
            else:
                yield found
            last = found[-1]

    def _between(self, low: int, high: int) -> Iterator[list[int]]:
        with self._translated():
            condition = f"id > {low} and id <= {high}"
            count = self.client.query(self.name, filter=condition, output_fields=["count(*)"])[0]["count(*)"]
            if count <= MOST:
                rows = self.client.query(self.name, filter=condition, output_fields=["id"], limit=MOST)
                yield sorted(int(r["id"]) for r in rows)
                return
        middle = (low + high) // 2
        yield from self._between(low, middle)
        yield from self._between(middle, high)

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
        rows = [_row(i, entry, vector) for i, entry, vector in zip(ids, entries, half, strict=True)]
        with self._translated():
            for i in range(0, len(rows), STEP):
                self.client.upsert(self.name, rows[i : i + STEP])

    def delete(self, ids: Iterable[int]) -> int:
        """Remove items; how many there were."""
        present = [int(row["id"]) for row in self.rows(list(ids), ["id"])]
        with self._translated():
            for i in range(0, len(present), STEP):
                self.client.delete(self.name, ids=present[i : i + STEP])
        return len(present)

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


def id_of(path: str) -> int:
    """A positive 63-bit id from a path: the same path, the same item, on any number of machines."""
    return int.from_bytes(blake2b(os.fsencode(path), digest_size=8).digest(), "big") >> 1


def crc_of(vector: np.ndarray) -> int:
    """Checksum of a vector's float16 bytes, as the local store keeps it."""
    return zlib.crc32(np.ascontiguousarray(vector, np.float16).tobytes())


def expression(filters: Filters | None) -> str:
    """Filters in the engine's language. Marks are the asker's: UsageError for a filter by them."""
    if filters is None:
        return ""
    if filters.marked is not None:
        raise UsageError("a distributed store knows no marks; filter by marks in a local gallery")
    parts = []
    if filters.cameras:
        parts.append(f"camera in {json.dumps(list(filters.cameras), ensure_ascii=False)}")
    if filters.since:
        parts.append(f"time >= {microseconds(filters.since)}")
    if filters.until:
        parts.append(f"time <= {microseconds(filters.until)} and time > {NEVER}")
    if filters.path:
        if re.search(r"[?\[\]]", filters.path):
            raise UsageError(
                f"the path pattern {filters.path!r} was given; a distributed store understands only * in it"
            )
        pattern = re.sub(r"([%_\\])", r"\\\1", glob_of(filters.path)).replace("*", "%")
        parts.append(f"path like {json.dumps(pattern, ensure_ascii=False)}")
    return " and ".join(parts)


def _row(number: int, entry: Entry, vector: np.ndarray) -> dict[str, Any]:
    time = microseconds(entry.time)
    look = entry.look - (1 << 64) if entry.look >= 1 << 63 else entry.look
    return {
        "id": int(number),
        "vector": vector.astype(np.float32).tolist(),
        "path": _text(entry.path),
        "sha": entry.sha.hex(),
        "camera": entry.camera,
        "track": entry.track,
        "day": entry.time.date().isoformat() if entry.time else "",
        "size": entry.size,
        "mtime": entry.mtime,
        "checked": entry.checked,
        "time": NEVER if time is None else time,
        "look": look,
        "crc": crc_of(vector),
    }


def _item(row: dict[str, Any]) -> Item:
    time = None if row["time"] == NEVER else from_microseconds(row["time"])
    path, look = _path(row["path"]), row["look"] % (1 << 64)
    return Item(row["id"], path, row["sha"], row["size"], row["mtime"], row["camera"], row["track"], time, look)


def _text(path: str) -> str:
    """A path as text that any engine keeps; bytes that are no UTF-8 are kept one by one behind a mark."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return BYTES + os.fsencode(path).decode("latin-1")
    return path


def _path(text: str) -> str:
    return os.fsdecode(text[1:].encode("latin-1")) if text.startswith(BYTES) else text
