"""descry migrate."""

from __future__ import annotations

from dataclasses import asdict

from descry.cli.machine import GalleryFolder, Json, emit
from descry.cli.progress import progress
from descry.escape import counted


def migrate(
    gallery: GalleryFolder,
    /,
    to: str,
    name: str = "",
    partition_by: str = "",
    index_type: str = "auto",
    json_: Json = False,
) -> int:
    """Copy a gallery into PostgreSQL or Milvus and compare counts and checksums.

    Repeat it to update the copy, or to continue after an interruption. While it writes into PostgreSQL, others go on
    with the gallery as it was before.

    Args:
        to: postgresql://USER@HOST:PORT/DATABASE; or milvus://HOST:PORT, milvus+https://…, milvus:FILE.db.
        name: of the gallery there; the folder's name if left out.
        partition_by: (Milvus) camera, day or none, of a new collection; if omitted, cameras where there are several,
            else days.
        index_type: (Milvus) flat, hnsw_sq, ivf_sq8, or auto: flat up to 100,000 items, hnsw_sq above.
    """
    from .migrate import migrate as copy
    from .milvus_schema import Layout

    with progress("migrating", quiet=json_) as tick:
        report = copy(gallery, to, name or gallery.resolve().name, Layout(partition_by, index_type), tick)
    here = f"{report.copied} copied, {report.present} were there; counts and checksums agree"
    parts = [] if report.index == "exact" else [f"divided by {report.partition_by}; index {report.index}"]
    return emit(json_, {"to": to} | asdict(report), f"{counted(report.total, 'item')} in {to}: {here}", *parts)
