"""What a Milvus collection of crops looks like: fields, partitions, index, and a row beside that says whose it is."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from descry.errors import IndexMismatch, UsageError, nearest
from descry.gallery.contract import Binding
from descry.gallery.vectors import Moments

FORMAT = 1
PARTITIONS = ("none", "camera", "day")
BUCKETS = 64
FLAT_UP_TO = 100_000
CELLS = 1024
INDEXES: dict[str, dict[str, Any]] = {
    "flat": {},
    "hnsw_sq": {"M": 16, "efConstruction": 200, "sq_type": "SQ8"},
    "ivf_sq8": {"nlist": CELLS},
}


@dataclass(frozen=True)
class Layout:
    """How a collection is kept. partition_by: "none", "camera", "day", or "" for whatever it has; otherwise: what a
    new one gets then.

    index: "flat" (every vector compared), "hnsw_sq" (a graph over vectors of one byte a number), "ivf_sq8" (cells of
    such vectors: less memory, slower), or "auto": flat up to FLAT_UP_TO items, where comparing all is quick and loses
    nobody, hnsw_sq above.
    """

    partition_by: str = ""
    index: str = "auto"
    otherwise: str = "none"

    def __post_init__(self) -> None:
        if self.partition_by and self.partition_by not in PARTITIONS:
            raise UsageError(
                f"--partition-by {self.partition_by} was given; {nearest(self.partition_by, list(PARTITIONS))}"
            )
        if self.index not in ("auto", *INDEXES):
            raise UsageError(f"--index-type {self.index} was given; {nearest(self.index, ['auto', *INDEXES])}")

    def kind(self, items: int) -> str:
        """The index for that many items."""
        return self.index if self.index != "auto" else "flat" if items <= FLAT_UP_TO else "hnsw_sq"


def parse(address: str) -> tuple[str, str]:
    """ "milvus://host:port#name", "milvus+https://…#name" or "milvus:file.db#name" → the client's address and the
    name.
    """
    place, _, name = address.partition("#")
    found = re.fullmatch(r"milvus(?:\+(https?))?:(//)?(.+)", place)
    if found and found[2] and "@" in found[3]:
        raise UsageError(
            "the address holds a user and a password, which others could read in the list of processes; put them into "
            "MILVUS_TOKEN as USER:PASSWORD and leave them out"
        )
    if not found or (name and not re.fullmatch(r"[A-Za-z_]\w*", name)):
        raise UsageError(
            f"{address} is not an address of a Milvus store; write milvus://HOST:PORT#NAME or milvus:FILE.db#NAME, "
            "the name of letters, digits and _"
        )
    scheme, slashes, rest = found.groups()
    return (f"{scheme or 'http'}://{rest}" if slashes else os.path.abspath(rest)), name or "gallery"


def create(client: Any, name: str, binding: Binding, layout: Layout) -> None:
    """A new collection, and the one beside it that says what it is bound to."""
    from pymilvus import DataType

    partition_by = layout.partition_by or layout.otherwise
    _create_beside(client, about_of(name), 2, 65535)
    write_about(
        client, name, {"format": FORMAT, "binding": asdict(binding), "partition_by": partition_by, "unfinished": True}
    )
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=binding.dimension)
    for field, length in (("path", 8192), ("sha", 64), ("camera", 512), ("track", 512), ("day", 16)):
        schema.add_field(field, DataType.VARCHAR, max_length=length, is_partition_key=field == partition_by)
    for field in ("size", "mtime", "checked", "time", "look", "crc"):
        schema.add_field(field, DataType.INT64)
    divided = {} if partition_by == "none" else {"num_partitions": BUCKETS}
    client.create_collection(
        name, schema=schema, index_params=_index(client, layout.kind(0)), consistency_level="Session", **divided
    )


def _index(client: Any, kind: str) -> Any:
    index = client.prepare_index_params()
    index.add_index("vector", index_type=kind.upper(), metric_type="IP", params=INDEXES[kind])
    return index


def index_of(client: Any, name: str) -> str:
    """The kind of index a collection has."""
    return str(client.describe_index(name, client.list_indexes(name)[0])["index_type"]).lower()


def reindex(client: Any, name: str, kind: str, dimension: int) -> None:
    """Build another kind of index. Until it stands, the collection does not answer. UsageError, with nothing changed,
    for a kind that the server does not know; when it fails later, the kind that was there is built again.
    """
    from pymilvus.exceptions import MilvusException

    old, trial = index_of(client, name), f"{name}_trial"
    try:
        _create_beside(client, trial, dimension, kind=kind)
        client.insert(trial, [{"id": 1, "vector": [1.0] * dimension}])
        client.flush(trial)
        client.load_collection(trial)
        client.search(trial, [[1.0] * dimension], limit=1, search_params=search_params(kind, 1))
    except MilvusException as error:
        raise UsageError(
            f"this server cannot build the index {kind} ({line(error)}); the collection is as it was: choose another "
            "--index-type"
        ) from None
    finally:
        client.drop_collection(trial)
    client.release_collection(name)
    _drop_index(client, name)
    try:
        client.create_index(name, _index(client, kind))
        client.load_collection(name)
    except BaseException:
        client.release_collection(name)
        _drop_index(client, name)
        client.create_index(name, _index(client, old))
        client.load_collection(name)
        raise


def _drop_index(client: Any, name: str) -> None:
    for found in client.list_indexes(name):
        client.drop_index(name, found)


def mend(client: Any, name: str) -> None:
    """Build an index where an interrupted change left none: without one a collection cannot even be searched."""
    if not client.list_indexes(name):
        client.create_index(name, _index(client, "flat"))


def line(error: BaseException) -> str:
    """What an error says, in one line; of a connection that failed, what the server said."""
    details = getattr(error.__cause__, "details", None)  # of gRPC
    if callable(details) and details():
        return str(details()).strip().splitlines()[0][:200]
    return (str(getattr(error, "message", "")) or str(error) or type(error).__name__).strip().splitlines()[0][:200]


def search_params(kind: str, limit: int) -> dict[str, Any]:
    """How hard to look for that many: an eighth of the cells, or a front a little wider than what is asked for."""
    params = {"hnsw_sq": {"ef": max(64, math.ceil(1.2 * limit))}, "ivf_sq8": {"nprobe": CELLS // 8}}
    return {"metric_type": "IP", "params": params.get(kind, {})}


def about_of(name: str) -> str:
    """The collection beside that says what it is bound to."""
    return f"{name}_about"


def moments_of(name: str) -> str:
    """The collection beside that holds mean and covariance of all vectors."""
    return f"{name}_moments"


def _create_beside(client: Any, name: str, dimension: int, text: int = 0, kind: str = "flat") -> None:
    """A small collection anew, since not every engine keeps a collection's description. text: most characters of its
    field `text`, 0 for none.
    """
    from pymilvus import DataType

    if client.has_collection(name):
        client.drop_collection(name)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    if text:
        schema.add_field("text", DataType.VARCHAR, max_length=text)
    client.create_collection(name, schema=schema, index_params=_index(client, kind), consistency_level="Strong")


def write_about(client: Any, name: str, kept: dict[str, Any]) -> None:
    """Write what a collection is bound to, anew."""
    client.upsert(about_of(name), [{"id": 1, "vector": [1.0, 0.0], "text": json.dumps(kept)}])


def read_about(client: Any, name: str, address: str) -> dict[str, Any]:
    """What `write_about` wrote. IndexMismatch for a format of another descry."""
    client.load_collection(about_of(name))
    rows = client.get(about_of(name), ids=[1], output_fields=["text"])
    kept: dict[str, Any] = json.loads(rows[0]["text"]) if rows else {}
    if kept.get("format") != FORMAT:
        raise IndexMismatch(
            f"{address} has format {kept.get('format')}; this descry reads format {FORMAT}: migrate again"
        )
    return kept


def write_moments(client: Any, name: str, moments: Moments) -> None:
    """Keep the covariance of all vectors row by row, and their mean behind it."""
    _create_beside(client, moments_of(name), len(moments.total))
    mean = moments.total / max(1, moments.count)
    covariance = moments.products / max(1, moments.count) - np.outer(mean, mean)
    rows = [{"id": i, "vector": row.astype(np.float32).tolist()} for i, row in enumerate([*covariance, mean])]
    for i in range(0, len(rows), 256):
        client.insert(moments_of(name), rows[i : i + 256])


def read_moments(client: Any, name: str, dimension: int, count: int) -> Moments | None:
    """The moments of that many items; None where none were kept."""
    if not client.has_collection(moments_of(name)):
        return None
    client.load_collection(moments_of(name))
    rows: dict[int, Any] = {}
    for i in range(0, dimension + 1, 256):
        asked = list(range(i, min(i + 256, dimension + 1)))
        rows |= {r["id"]: r["vector"] for r in client.get(moments_of(name), ids=asked, output_fields=["id", "vector"])}
    if len(rows) != dimension + 1:
        return None
    mean = np.array(rows[dimension], np.float64)
    covariance = np.array([rows[i] for i in range(dimension)], np.float64)
    return Moments(count, mean * count, (covariance + np.outer(mean, mean)) * count)
