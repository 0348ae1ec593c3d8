"""Which items a searcher lets through, asked of the database. Filters never change a score, only who is ranked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import nearest
from ..escape import counted
from ..query import Filters
from .contract import microseconds


def clauses(filters: Filters) -> dict[str, tuple[str, list[Any]]]:
    """SQL condition and its values for each filter that restricts, by name."""
    out: dict[str, tuple[str, list[Any]]] = {}
    if filters.cameras:
        out["cameras"] = (f"camera IN ({','.join('?' * len(filters.cameras))})", list(filters.cameras))
    if filters.since:
        out["since"] = ("time >= ?", [microseconds(filters.since)])
    if filters.until:
        out["until"] = ("time <= ?", [microseconds(filters.until)])
    if filters.path:
        out["path"] = ("CAST(path AS TEXT) GLOB ?", [glob_of(filters.path)])
    return out


def glob_of(pattern: str) -> str:
    """A pattern that does not start at the root may start at any folder: "cam3/*" finds "/data/cam3/a.jpg"."""
    return pattern if pattern.startswith(("/", "*")) or pattern[1:3] == ":\\" else f"*/{pattern}"


def passing_ids(connection: sqlite3.Connection, filters: Filters) -> np.ndarray:
    """(n,) int64 ids of the items that filters let through, marks aside. What has no time passes no time filter."""
    conditions = clauses(filters)
    where = " AND ".join(sql for sql, _ in conditions.values()) or "TRUE"
    values = [v for _, vs in conditions.values() for v in vs]
    return np.fromiter((r[0] for r in connection.execute(f"SELECT id FROM items WHERE {where}", values)), np.int64)


def untold(connection: sqlite3.Connection, filters: Filters) -> tuple[str, ...]:
    """What filters say nothing about, a sentence each: cameras that no item has, items without a camera or a time."""
    said = []
    for camera in filter(None, filters.cameras):  # "" asks for those of unknown camera
        if not connection.execute("SELECT 1 FROM items WHERE camera = ? LIMIT 1", [camera]).fetchone():
            rows = connection.execute("SELECT DISTINCT camera FROM items WHERE camera != '' LIMIT 50")
            held = [row[0] for row in rows]
            there = nearest(camera, held) if held else "cameras are read by descry index with --camera-from"
            said.append(f"no item has the camera {camera!r}; {there}")
    for name, asked, without in (
        ("camera", bool(filters.cameras) and "" not in filters.cameras, "camera = ''"),
        ("time", bool(filters.since or filters.until), "time IS NULL"),
    ):
        count = connection.execute(f"SELECT count(*) FROM items WHERE {without}").fetchone()[0] if asked else 0
        if count:
            said.append(f"{counted(count, 'item')} of unknown {name} {'is' if count == 1 else 'are'} not searched")
    return tuple(said)


def removed_by(connection: sqlite3.Connection, filters: Filters, marked: Iterable[int] = ()) -> dict[str, int]:
    """How many items each filter would keep out by itself: what a page says when nothing is left. marked: ids that
    count as marked.
    """

    def count(condition: str, values: Iterable[Any] = ()) -> int:
        return int(connection.execute(f"SELECT count(*) FROM items WHERE {condition}", list(values)).fetchone()[0])

    total = count("TRUE")
    out = {name: total - count(sql, values) for name, (sql, values) in clauses(filters).items()}
    if filters.marked is not None:
        held = sum(count("id = ?", [int(i)]) for i in set(marked))
        out["marked"] = total - held if filters.marked else held
    return out
