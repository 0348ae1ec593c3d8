"""What a Milvus collection of crops looks like: fields, partitions, index, and a row beside that says whose it is."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import IndexMismatch, UsageError, nearest
from .contract import Binding

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
    if not found or (name and not re.fullmatch(r"[A-Za-z_]\w*", name)):
        raise UsageError(
            f"{address} is no address of a Milvus store; write milvus://HOST:PORT#NAME or milvus:FILE.db#NAME, "
            "the name of letters, digits and _"
        )
    scheme, slashes, rest = found.groups()
    return (f"{scheme or 'http'}://{rest}" if slashes else os.path.abspath(rest)), name or "gallery"


def create(client: Any, name: str, binding: Binding, layout: Layout) -> None:
    """A new collection, and the one beside it that says what it is bound to."""
    from pymilvus import DataType

    partition_by = layout.partition_by or layout.otherwise
    _create_about(
        client, name, json.dumps({"format": FORMAT, "binding": asdict(binding), "partition_by": partition_by})
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
        name, schema=schema, index_params=_index(client, layout.kind(0)), consistency_level="Strong", **divided
    )


def _index(client: Any, kind: str) -> Any:
    index = client.prepare_index_params()
    index.add_index("vector", index_type=kind.upper(), metric_type="IP", params=INDEXES[kind])
    return index


def index_of(client: Any, name: str) -> str:
    """The kind of index a collection has."""
    return str(client.describe_index(name, client.list_indexes(name)[0])["index_type"]).lower()


def reindex(client: Any, name: str, kind: str) -> None:
    """Build another kind of index. Until it stands, the collection does not answer."""
    client.release_collection(name)
    client.drop_index(name, client.list_indexes(name)[0])
    client.create_index(name, _index(client, kind))
    client.load_collection(name)


def search_params(kind: str, limit: int) -> dict[str, Any]:
    """How hard to look for that many: an eighth of the cells, or a front a little wider than what is asked for."""
    params = {"hnsw_sq": {"ef": max(64, math.ceil(1.2 * limit))}, "ivf_sq8": {"nprobe": CELLS // 8}}
    return {"metric_type": "IP", "params": params.get(kind, {})}


def about_of(name: str) -> str:
    """The collection beside."""
    return f"{name}_about"


def _create_about(client: Any, name: str, text: str) -> None:
    """One row in a collection beside, since not every engine keeps a collection's description."""
    from pymilvus import DataType

    if client.has_collection(about_of(name)):
        client.drop_collection(about_of(name))
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("text", DataType.VARCHAR, max_length=65535)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_collection(about_of(name), schema=schema, index_params=index, consistency_level="Strong")
    client.insert(about_of(name), [{"id": 1, "vector": [1.0, 0.0], "text": text}])


def read_about(client: Any, name: str, address: str) -> tuple[Binding, str]:
    """What a collection is bound to, and what it is divided by. IndexMismatch for a format of another descry."""
    client.load_collection(about_of(name))
    rows = client.get(about_of(name), ids=[1], output_fields=["text"])
    kept = json.loads(rows[0]["text"]) if rows else {}
    if kept.get("format") != FORMAT:
        raise IndexMismatch(f"{address} has format {kept.get('format')}; this descry reads format {FORMAT}")
    return Binding(**kept["binding"]), str(kept.get("partition_by", "none"))
