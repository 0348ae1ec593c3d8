"""descry verify, compact, merge, export."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import UsageError, nearest
from ..escape import counted
from .machine import GalleryStore, Json, OutFolder, emit
from .progress import progress


def verify(gallery: GalleryStore, /, json_: Json = False) -> int:
    """Read every byte that an answer depends on and compare it with what was written. Exit status 5 if one differs."""
    from ..errors import IndexCorrupt
    from ..gallery import Gallery

    with Gallery.open(gallery) as opened:
        faults = opened.verify()
        count = 0 if faults else len(opened)
    value = {"ok": not faults, "items": None if faults else count, "faults": [asdict(fault) for fault in faults]}
    lines = [f"{fault.where}: {fault.what}" for fault in faults]
    emit(json_, value, *lines or [f"{gallery}: {counted(count, 'item')}, every byte as it was written"])
    return IndexCorrupt.exit_status if faults else 0


def compact(gallery: GalleryStore, /, json_: Json = False) -> int:
    """Free the space of removed items, so that none of their bytes is left."""
    from ..gallery import Gallery

    with Gallery.open(gallery) as opened:
        given = opened.compact()
    return emit(json_, {"bytes": given}, f"{given:,} bytes given back")


def merge(parts: tyro.conf.Positional[tuple[Path, ...]], /, out: OutFolder, json_: Json = False) -> int:
    """Join galleries that were indexed in shards into a new one, and compare every vector with its part.

    Args:
        parts: galleries of one model.
        out: the new gallery.
    """
    from ..gallery.merge import merge as join

    with progress("merging", quiet=json_) as tick:
        count = join(parts, out, tick)
    said = f"{out} holds {counted(count, 'item')} of {len(parts)} galleries; every vector was compared"
    return emit(json_, {"out": str(out), "items": count, "galleries": len(parts)}, said)


def export(
    run: tyro.conf.Positional[str],
    /,
    out: OutFolder,
    format_: Annotated[str, tyro.conf.arg(name="format")] = "onnx",
    precision: str = "fp32",
    json_: Json = False,
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
    agreement = ", ".join(f"{part} {cosine:.4f}" for part, cosine in report["least_cosine_to_fp32"].items())
    said = f"{out}: {', '.join(report['files'])} in {report['precision']}; least cosine to fp32: {agreement}"
    emit(json_, report, said)
    if report["note"] and not json_:
        print(f"note: {report['note']}", file=sys.stderr)
    return 0
