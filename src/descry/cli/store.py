"""descry verify, compact, merge, migrate, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import UsageError, nearest
from .progress import progress


def verify(gallery: tyro.conf.Positional[Path], /) -> int:
    """Read every byte that an answer depends on and compare it with what was written. Exit status 5 when one differs.

    Args:
        gallery: a folder made by descry index.
    """
    from ..errors import IndexCorrupt
    from ..gallery import Gallery

    with Gallery.open(gallery) as opened:
        faults = opened.verify()
        count = 0 if faults else len(opened)
    for fault in faults:
        print(f"{fault.where}: {fault.what}")
    if faults:
        return IndexCorrupt.exit_status
    print(f"{gallery}: {count} items, every byte as it was written")
    return 0


def compact(gallery: tyro.conf.Positional[Path], /) -> int:
    """Give back the space of removed items, so that none of their bytes is left.

    Args:
        gallery: a folder made by descry index.
    """
    from ..gallery import Gallery

    with Gallery.open(gallery) as opened:
        print(f"{opened.compact():,} bytes given back")
    return 0


def merge(parts: tyro.conf.Positional[tuple[Path, ...]], /, out: Path) -> int:
    """Join galleries that were indexed in shards into a new one, and compare every vector with its part.

    Args:
        parts: galleries of one model.
        out: the new gallery.
    """
    from .. import audit
    from ..gallery import Gallery
    from ..gallery.merge import merge as join

    with progress("merging") as tick:
        count = join(parts, out, tick)
    with Gallery.open(out) as made:
        audit.changed(made, "merge", parts=len(parts))
    print(f"{out} holds {count} items of {len(parts)} galleries; every vector was compared")
    return 0


def migrate(
    gallery: tyro.conf.Positional[Path],
    /,
    to: str,
    name: str = "",
    partition_by: str = "",
    index_type: str = "auto",
) -> int:
    """Copy a gallery into a distributed store and compare counts and checksums; can be repeated and goes on where it
    stopped.

    Args:
        gallery: a folder made by descry index.
        to: milvus://HOST:PORT, milvus+https://…, or milvus:FILE.db for the embedded one.
        name: of the collection; the folder's name if left out.
        partition_by: camera, day or none, of a new collection; left out, cameras where there are several, else days.
        index_type: flat, hnsw_sq, ivf_sq8, or auto: flat up to 100,000 items, hnsw_sq above.
    """
    from .. import audit
    from ..gallery import Gallery
    from ..gallery.migrate import Layout
    from ..gallery.migrate import migrate as copy

    with progress("migrating") as tick:
        report = copy(gallery, to, name or gallery.resolve().name, Layout(partition_by, index_type), tick)
    with Gallery.open(gallery) as opened:
        audit.changed(opened, "migrate", "export", copied=report.copied, present=report.present)
    print(
        f"{report.total} items in {to}: {report.copied} copied, {report.present} were there; counts and checksums agree"
    )
    print(f"divided by {report.partition_by}; index {report.index}")
    return 0


def export(
    run: tyro.conf.Positional[str],
    /,
    out: Path,
    format_: Annotated[str, tyro.conf.arg(name="format")] = "onnx",
    precision: str = "fp32",
) -> int:
    """Write a model's encoders as files that others can run, with their preprocessing and a parity check.

    Args:
        run: a run folder, a CLIP folder or demo.
        out: a new folder.
        format_: onnx or openvino.
        precision: fp32, fp16 (openvino), or int8.
    """
    from ..embed import load
    from ..export import export as write

    if format_ not in ("onnx", "openvino"):
        raise UsageError(f"there is no format {format_!r}; {nearest(format_, ['onnx', 'openvino'])}")
    report = write(load(run, "cpu"), out, format_, precision)
    print(json.dumps(report, indent=1))
    return 0
