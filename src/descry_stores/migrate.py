"""Copying a local gallery into a store beyond one machine, and making sure that it arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from descry.errors import StoreUnavailable, UsageError
from descry.gallery.account import Audit, content
from descry.gallery.contract import EPOCH
from descry.gallery.local import LocalStore
from descry.gallery.merge import stored
from descry.query import Filters
from descry.safe_files import address_of

from .milvus import MilvusStore, crc_of, expression
from .milvus_schema import Layout, write_moments

DAY = timedelta(days=1, microseconds=-1)


@dataclass(frozen=True)
class MigrationReport:
    """total: items that are there now. copied, present: of them, written now and found already. removed: no longer
    local. partition_by, index: how the collection is kept.
    """

    total: int
    copied: int
    present: int
    removed: int
    partition_by: str = "none"
    index: str = "flat"


def migrate(
    gallery: str | Path,
    to: str,
    name: str = "",
    layout: Layout | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MigrationReport:
    """Make the collection at `to` hold exactly the items of a local gallery, under the same ids. Can be repeated:
    what is there with the right checksum is not sent again.

    name: of the collection, when `to` does not say it. layout: its partitions and index; partitions left open are by
    camera where the gallery knows more than one, else by day where it knows times. Raises IndexMismatch when the
    collection belongs to another model, StoreUnavailable when it does not answer, or when counts or checksums differ
    in the end.
    """
    address = to if "#" in to or not name else f"{to}#{_plain(name)}"
    local = LocalStore(gallery)
    layout = layout or Layout()
    try:
        if address_of(to).startswith("postgresql"):
            if layout != Layout():
                raise UsageError(f"--partition-by and --index-type are for Milvus; leave them out for {to}")
            from . import postgres

            report = MigrationReport(*postgres.migrate(local, address, progress), index="exact")
        else:
            report = _to_milvus(local, address, layout, progress)
        counts = {"copied": report.copied, "present": report.present}
        Audit(local.database).append("export", of="migrate", **counts, gallery=content(local))
        return report
    finally:
        local.close()


def _to_milvus(
    local: LocalStore, address: str, layout: Layout, progress: Callable[[int, int], None] | None
) -> MigrationReport:
    remote = MilvusStore(address, local.binding, replace(layout, otherwise=_divisible(local)))
    try:
        remote.level = "Strong" if "//" in address else remote.level  # a file has one reader
        remote.note(unfinished=True)
        report = _copy(local, remote, progress)
        report = replace(report, partition_by=remote.partition_by, index=remote.settle(layout))
        _check_filters(local, remote)
        if moments := local.moments():
            with remote._translated():
                write_moments(remote.client, remote.name, moments)
        remote.note(unfinished=False, count=report.total if moments else None)
        return report
    finally:
        remote.close()


def _divisible(local: LocalStore) -> str:
    """What a new collection is divided by when nobody says it."""
    with local.database.reading() as connection:
        cameras, times = connection.execute("SELECT count(DISTINCT camera), count(time) FROM items").fetchone()
    return "camera" if cameras > 1 else "day" if times else "none"


def _plain(name: str) -> str:
    made = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
    if not made:
        raise UsageError("the collection needs a name; give --name")
    return made if not made[0].isdecimal() else f"_{made}"


def _copy(local: LocalStore, remote: MilvusStore, progress: Callable[[int, int], None] | None) -> MigrationReport:
    total, copied, wanted = local.count(), 0, set()
    for ids, entries, vectors in stored(local):
        there = {
            row["id"]: (row["crc"], row["sha"], row["mtime"]) for row in remote.rows(ids, ["id", "crc", "sha", "mtime"])
        }
        new = [
            i
            for i, number in enumerate(ids)
            if there.get(number) != (crc_of(vectors[i]), entries[i].sha.hex(), entries[i].mtime)
        ]
        if new:
            remote.put([ids[i] for i in new], [entries[i] for i in new], vectors[new])
        copied += len(new)
        wanted.update(ids)
        if progress:
            progress(len(wanted), total)
    surplus = [number for part in remote.matching() for number in part if number not in wanted]
    removed = remote.delete(surplus) if surplus else 0
    _verify(local, remote, len(wanted))
    return MigrationReport(len(wanted), copied, len(wanted) - copied, removed)


def _check_filters(local: LocalStore, remote: MilvusStore) -> None:
    """Whether the filters of the largest cameras and days let as many through as there are. StoreUnavailable says which
    does not: some servers find only a part of what they hold when a collection is divided.
    """
    with local.database.reading() as connection:
        named = connection.execute("SELECT camera, count(*) FROM items GROUP BY 1 ORDER BY 2 DESC LIMIT 50").fetchall()
        times = "SELECT time / 86400000000 AS time, count(*) FROM items WHERE time IS NOT NULL GROUP BY 1"
        days = connection.execute(f"{times} ORDER BY 2 DESC LIMIT 20").fetchall()
    cases = [(f"camera {camera!r}", Filters(cameras=(camera,)), count) for camera, count in named]
    for day, count in days:
        since = EPOCH + timedelta(days=day)
        cases.append((f"day {since.date()}", Filters(since=since, until=since + DAY), count))
    for what, filters, count in cases:
        found = remote.count(expression(filters, remote.partition_by))
        if found != count:
            raise StoreUnavailable(
                f"{remote.address} finds {found} of the {count} items of {what}; do not search it by filters "
                f"(server {remote.version() or 'of unknown version'}); use Milvus 2.4 or later, or migrate to another "
                "name with --partition-by none"
            )


def _verify(local: LocalStore, remote: MilvusStore, total: int) -> None:
    """Counts, and the checksum of every vector as it comes back."""
    found = remote.count()
    if found != total:
        raise StoreUnavailable(
            f"{remote.address} holds {found} items where {total} were sent; run the same command again"
        )
    for ids, _, vectors in stored(local):
        if remote.vectors(ids).tobytes() != vectors.tobytes():
            raise StoreUnavailable(f"vectors in {remote.address} differ from those sent; run the same command again")
