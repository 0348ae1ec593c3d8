"""descry index, verify, compact, merge: how galleries are made and kept whole."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..decoding import interrupt
from ..errors import Bound, DescryError, IndexCorrupt, UsageError
from ..escape import counted, path_text
from ..safe_files import address_of
from .machine import Flag, GalleryStore, Json, Machine, OnMachine, OutFolder, emit, refuse_unread
from .progress import progress


def index(
    folders: tyro.conf.Positional[tuple[str, ...]],
    /,
    out: str = "gallery",
    model: str = "",
    camera_from: str = "",
    time_from: str = "",
    track_from: str = "",
    table: str = "",
    exclude: tuple[str, ...] = (),
    max_mp: Annotated[float, Bound(0, 100, above=True)] = 40.0,
    shard: str = "1/1",
    encoder: str = "auto",
    dry_run: Flag = False,
    strict: Flag = False,
    large: Flag = False,
    links: Flag = False,
    leave_out_empty: Flag = False,
    json_: Json = False,
    machine: OnMachine = Machine(),
) -> int:
    """Index folders of crops (pictures cut out around one person each); repeat it to bring the gallery up to date.

    Args:
        folders: folders of crops, with all folders below them; at least one.
        out: the gallery's folder, or the address of a PostgreSQL store (postgresql://USER@HOST/DATABASE#NAME); made
            where there is none.
        model: a fetched model, a run folder, a CLIP folder, or demo; if omitted, a new gallery gets the model fetched
            last, or demo, and an existing one keeps its own.
        camera_from: dirname, exif, csv, or a regular expression over the path with a group, such as 'cam([0-9]+)'.
        time_from: exif, mtime, csv, or a regular expression.
        track_from: dirname, csv, or a regular expression.
        table: a CSV file with a column path and any of camera, time, track; its values come before all others.
        exclude: glob of names or paths to leave out.
        max_mp: largest picture, in megapixels; larger ones are skipped.
        shard: i/n, only the i-th of n parts of the files; join the galleries with descry merge.
        encoder: auto (the best for this processor), torch, autocast, bf16, compiled, onnx, openvino, or int8
            (not exact, see docs/scale.md); on a GPU auto or torch.
        dry_run: count, write nothing.
        strict: exit with 3 when files were skipped.
        large: allow more than 5 million items.
        links: enter linked folders too.
        leave_out_empty: leave out pictures that the model reads as a scene without people, and list them among the
            skipped; for models of general pictures, refused by others.
    """
    from .. import images
    from ..gallery import Gallery
    from ..gallery.sources import Sources

    _refuse_milvus(out, folders)
    refuse_unread(index, locals(), "machine.seed", "nothing of an index is random")
    machine.settle()
    sources = Sources(camera_from, time_from, track_from, table)
    limits = replace(images.GALLERY, pixels=int(max_mp * 1e6))
    with (
        _place(Path(out), dry_run) as place,
        _opened_or_new(Gallery, place, model, machine, "torch" if dry_run else encoder, folders) as gallery,
        stopping() as stop,
    ):
        if gallery.model.note:
            print(f"note: {gallery.model.note}", file=sys.stderr)
        with progress("indexing") as tick:
            report = gallery.index(
                folders,
                sources=sources,
                limits=limits,
                exclude=exclude,
                batch_size=machine.batch_size,
                shard=_shard(shard),
                dry_run=dry_run,
                large=large,
                links=links,
                leave_out_empty=leave_out_empty,
                progress=lambda s: tick(s.done, s.total, f"{s.skipped} skipped" if s.skipped else ""),
                stop=stop,
            )
        count, oldest = len(gallery), next(gallery.listed(), None)
    _tell_index(report, count, Path(out), json_)
    if report.added and oldest and not os.path.isdir(lost := os.path.dirname(oldest.path)):
        print(
            f"note: items of {path_text(lost)} stay in the gallery, but that folder is not there any more; if it was "
            f"moved here, join both: descry gallery relocate {out} OLD NEW",
            file=sys.stderr,
        )
    if report.interrupted:
        print("descry: interrupted; what was committed is kept. Go on with the same command", file=sys.stderr)
        return 130
    return 3 if strict and report.skipped else 0


def _refuse_milvus(out: str, folders: tuple[str, ...]) -> None:
    """A Milvus store has no place for what indexing remembers; say which two commands do it."""
    if address_of(out).startswith("milvus"):
        raise UsageError(
            f"{out} is a Milvus store, and indexing needs a local gallery (what was seen, skipped and moved). "
            f"Repeat these two: descry index {' '.join(folders)} --out gallery && descry migrate gallery --to {out}"
        )


@contextmanager
def _place(out: Path, dry_run: bool) -> Iterator[Path]:
    """Where the gallery is: for a dry run without one, a folder that goes when the count is done. A folder that holds
    something else is named as it is, so that it is refused.
    """
    taken = opened_there(out) if address_of(out) else out.exists() and (not out.is_dir() or any(out.iterdir()))
    if not dry_run or taken:
        yield out
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def _opened_or_new(
    gallery: Any, out: Path, model: str, machine: Machine, encoder: str, folders: tuple[str, ...]
) -> Iterator[Any]:
    from ..gallery.walk import roots_of
    from ..library import default_model
    from ..listing import files_under

    files = sum(1 for root in roots_of(folders) for _ in files_under(root))
    fresh = not opened_there(out)
    name = model
    if not name and fresh:
        name = default_model()
        known = "the demo model, trained on drawn people; descry model get fetches one for real photographs"
        print(f"model: {known if name == 'demo' else name}", file=sys.stderr)
    elif not name:
        with gallery.open(out) as there:
            name = there.binding.source
    loaded = machine.load(name)
    if encoder != "torch":
        from ..encoders import choose_encoder

        choose_encoder(loaded, encoder, pictures=files if fresh else max(0, files - opened_count(out)))
    opened = gallery.create(out, loaded) if fresh else gallery.open(out, loaded)
    try:
        yield opened
    except BaseException:
        if fresh and address_of(out):
            with suppress(DescryError):
                if not len(opened):
                    opened.erase()
        opened.close()
        if fresh and not address_of(out) and not opened_count(out):
            shutil.rmtree(out, ignore_errors=True)
        raise
    opened.close()


def opened_there(out: Path) -> bool:
    """Whether there is a gallery. Raises StoreUnavailable for a server that does not answer."""
    if not address_of(out):
        return (out / "gallery.json").exists()
    from ..gallery import Gallery

    import_module("descry_stores.postgres").parse(address_of(out))  # raises UsageError for what is no address
    try:
        Gallery.open(out).close()
    except UsageError:
        return False
    return True


def opened_count(out: Path) -> int:
    """Items of a gallery; 0 when it cannot be opened."""
    from ..gallery import Gallery

    try:
        with Gallery.open(out) as gallery:
            return len(gallery)
    except DescryError:
        return 0


def _shard(text: str) -> tuple[int, int]:
    part, _, whole = text.partition("/")
    if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
        raise UsageError(f"--shard {text} was given; write it as 1/4 for the first of four parts")
    return int(part), int(whole)


@contextmanager
def stopping(
    said: str = "stopping after this batch; press Ctrl-C again to stop at once",
) -> Iterator[Callable[[], bool]]:
    """Ctrl-C once: finish the batch, commit and stop; it is said. Twice: stop now."""
    asked = False

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            interrupt()
        asked = True
        print(said, file=sys.stderr)

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:  # not the main thread: the caller stops us otherwise
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _tell_index(report: Any, count: int, out: Path, as_json: bool) -> None:
    if as_json:
        values = {
            k: getattr(report, k)
            for k in ("added", "changed", "moved", "removed", "unchanged", "relabelled", "encoded", "seconds")
        }
        skipped = [{"path": path_text(path), "reason": reason} for path, reason in report.skipped]
        values |= {"items": count, "skipped": skipped, "dry_run": report.dry, "warning": report.warning}
        emit(True, values)
        return
    if report.warning:
        print(f"note: {report.warning}", file=sys.stderr)
    for path, reason in report.skipped:
        print(f"skipped {path_text(path)}: {reason}", file=sys.stderr)
    verb = "would be " if report.dry else ""
    if report.relabelled:
        print(f"camera, time or track read anew of {counted(report.relabelled, 'item')}", file=sys.stderr)
    print(
        f"{verb}added {report.added}, changed {report.changed}, moved {report.moved}, removed {report.removed}, "
        f"unchanged {report.unchanged}, skipped {len(report.skipped)}; {out} holds {counted(count, 'item')}"
    )
    if report.dry:
        print("a dry run opens no picture: files that cannot be read are counted as added", file=sys.stderr)


def verify(gallery: GalleryStore, /, json_: Json = False) -> int:
    """Read every byte that an answer depends on and compare it with what was written. Exit status 5 if one differs."""
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
