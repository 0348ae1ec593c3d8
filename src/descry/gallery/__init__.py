"""Galleries: a folder of crops made searchable. `Gallery` is what people use; the other files are its parts.

gallery.py    create, open, index, search: the face of the package
contract.py   what a store must do, so that the local one and a distributed one can stand in for each other
local.py      the local store: database.py (the one SQLite file), vectors.py (float16 rows, mapped)
scan.py       exact search over stored vectors at the speed of memory; results.py, filters.py: one answer
walk.py, sources.py, reading.py, indexing.py, groups.py    from a folder of pictures to items
upkeep.py     what a gallery holds, whether every byte is as written, pictures that moved
merge.py      shards joined; the stores beyond one machine are in the package descry_stores
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Gallery", "IndexReport", "Item", "Results", "Snapshot"]

_WHERE = {
    "Gallery": "gallery",
    "Results": "results",
    "IndexReport": "indexing",
    "Item": "contract",
    "Snapshot": "contract",
}

if TYPE_CHECKING:
    from .contract import Item, Snapshot
    from .gallery import Gallery
    from .indexing import IndexReport
    from .results import Results


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"descry.gallery has no name {name!r}; it has {', '.join(__all__)}")
