"""Copying a local gallery into a store beyond one machine, and making sure that it arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from descry.errors import StoreUnavailable, UsageError
from descry.gallery.account import add_line, content
from descry.gallery.contract import EPOCH
from descry.gallery.local import LocalStore
from descry.gallery.merge import send
from descry.query import Filters
from descry.safe_files import address_of

from .milvus import MilvusStore, expression
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
    """Make the store at `to` hold exactly the items of a local gallery, under the same ids. Can be repeated: what is
    there with the right checksum is not sent again.

    name: of the gallery there, when `to` does not say it. layout: partitions and index of a Milvus collection;
    partitions left open are by camera where the gallery knows more than one, else by day where it knows times.
    progress: (done, of how many); an item counts when it is sent, and when it is compared. Raises IndexMismatch when
    the store belongs to another model, StoreUnavailable when it does not answer, or when counts or vectors differ in
    the end.
    """
    address = to if "#" in to or not name else f"{to}#{_plain(name)}"
    if held := address_of(gallery):
        raise UsageError(f"{held} is a store already; migrate copies a gallery of this machine: name its folder")
    layout, local = layout or Layout(), LocalStore(gallery)
    try:
        if local.read_only:  # the account of what leaves is kept here
            raise local.database.unwritable()
        with local.reading():  # what is sent and what it is compared with are of one moment
            if address_of(to).startswith("postgresql"):
                if layout != Layout():
                    raise UsageError(f"--partition-by and --index-type are for Milvus; leave them out for {to}")
                from . import postgres

                report = _report(postgres.migrate(local, address, progress), index="exact")
            else:
                report = _to_milvus(local, address, layout, progress)
            sent = content(local)
        counts = {"copied": report.copied, "present": report.present}
        add_line(local.database, "export", of="migrate", **counts, gallery=sent)
        return report
    finally:
        local.close()


def _report(counts: tuple[int, int, int], **kept: str) -> MigrationReport:
    total, copied, removed = counts
    return MigrationReport(total, copied, total - copied, removed, **kept)


def _to_milvus(
    local: LocalStore, address: str, layout: Layout, progress: Callable[[int, int], None] | None
) -> MigrationReport:
    remote = MilvusStore(address, local.binding, replace(layout, otherwise=_divisible(local)))
    try:
        remote.level = "Strong" if "//" in address else remote.level  # a file has one reader
        remote.note(unfinished=True)
        counts = send(local, remote, progress)
        report = _report(counts, partition_by=remote.partition_by, index=remote.settle(layout))
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


def _check_filters(local: LocalStore, remote: MilvusStore) -> None:
    """Whether the filters of the largest cameras and days let as many through as there are. StoreUnavailable says which
    does not: some servers find only a part of what they hold when a collection is divided.
    """
    with local.database.reading() as connection:
        named = connection.execute("SELECT camera, count(*) FROM items GROUP BY 1 ORDER BY 2 DESC LIMIT 50").fetchall()
        times = "SELECT time / 86400000000 AS time, count(*) FROM items WHERE time IS NOT NULL GROUP BY 1"
        days = connection.execute(f"{times} ORDER BY 2 DESC LIMIT 20").fetchall()
    asked = [(name, count) for name, count in named if not name or name.strip()]  # no filter asks for blanks
    cases = [(f"camera {camera!r}", Filters(cameras=(camera,)), count) for camera, count in asked]
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
