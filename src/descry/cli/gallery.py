"""descry index, search, gallery …, verify, compact, migrate, merge, export."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import DescryError, UsageError, nearest
from . import results
from .machine import Machine, OnMachine
from .progress import progress

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]
Not = Annotated[tuple[str, ...], tyro.conf.arg(name="not")]


def index(
    folders: tyro.conf.Positional[tuple[str, ...]],
    /,
    out: Path = Path("gallery"),
    model: str = "",
    camera_from: str = "",
    time_from: str = "",
    track_from: str = "",
    table: str = "",
    exclude: tuple[str, ...] = (),
    max_mp: float = 40.0,
    shard: str = "1/1",
    encoder: str = "auto",
    dry_run: Flag = False,
    strict: Flag = False,
    large: Flag = False,
    quiet: Flag = False,
    json_: Json = False,
    machine: OnMachine = Machine(),
) -> int:
    """Index folders of crops (pictures cut out around one person each); repeat it to bring the gallery up to date.

    Args:
        folders: with crops, also in folders below. out: the gallery; made where there is none. model: demo, a run
        folder or a CLIP; "demo" for a new gallery, else the one it was made by. camera_from: dirname, exif, csv, or a
        regular expression over the path with a group. time_from: exif, mtime, csv, or a regular expression.
        track_from: dirname, csv, or a regular expression. table: CSV file with a column path and any of camera, time,
        track. exclude: glob of names or paths to leave out; may be repeated. max_mp: most million pixels of a
        picture. shard: i/n, only the i-th of n parts of the files; join the galleries with descry merge. encoder:
        auto (the fastest route measured here), torch, compiled, onnx, openvino, or int8 (not exact: see
        docs/scale.md). dry_run: count, write nothing. strict: exit with 3 when files were skipped. large: allow more
        than 5 million items. quiet: no progress. json_: print the report as JSON.
    """
    from .. import images
    from ..gallery import Gallery
    from ..gallery.sources import Sources

    machine.settle()
    sources = Sources(camera_from, time_from or ("csv" if table else ""), track_from, table)
    limits = replace(images.GALLERY, pixels=int(max_mp * 1e6))
    with _opened_or_new(Gallery, out, model, machine, encoder, folders) as gallery, _stopping() as stop:
        with progress("indexing", quiet=quiet) as tick:
            report = gallery.index(
                folders,
                sources=sources,
                limits=limits,
                exclude=exclude,
                batch_size=machine.batch_size or 32,
                shard=_shard(shard),
                dry_run=dry_run,
                large=large,
                progress=lambda s: tick(s.done, s.total, f"{s.skipped} skipped" if s.skipped else ""),
                stop=stop,
            )
        count = len(gallery)
    _tell_index(report, count, out, json_)
    if report.interrupted:
        print("descry: interrupted; what was committed is kept. Go on with the same command", file=sys.stderr)
        return 130
    return 3 if strict and report.skipped else 0


@contextmanager
def _opened_or_new(
    gallery: Any, out: Path, model: str, machine: Machine, encoder: str, folders: tuple[str, ...]
) -> Iterator[Any]:
    from ..gallery.walk import files_under, roots_of

    files = sum(1 for root in roots_of(folders) for _ in files_under(root))
    name = model or ("demo" if not (out / "gallery.json").exists() else gallery.open(out).binding.source)
    fresh = not (out / "gallery.json").exists()
    loaded = _load(name, machine, encoder, files if fresh else max(0, files - opened_count(out)))
    opened = gallery.create(out, loaded) if fresh else gallery.open(out, loaded)
    try:
        yield opened
    except BaseException:
        opened.close()
        if fresh and not opened_count(out):
            shutil.rmtree(out, ignore_errors=True)
        raise
    opened.close()


def opened_count(out: Path) -> int:
    """Items of a gallery; 0 when it cannot be opened."""
    from ..gallery import Gallery

    try:
        with Gallery.open(out) as gallery:
            return len(gallery)
    except DescryError:
        return 0


def _load(name: str, machine: Machine, encoder: str = "torch", pictures: int = 0) -> Any:
    from ..embed import load

    model = load(name, machine.device, machine.precision)
    if encoder != "torch":
        from ..export import choose_encoder

        choose_encoder(model, encoder, pictures=pictures)
    return model


def _shard(text: str) -> tuple[int, int]:
    part, slash, whole = text.partition("/")
    if not (slash and part.isdigit() and whole.isdigit()):
        raise UsageError(f"--shard {text} was given; write it as 1/4 for the first of four parts")
    return int(part), int(whole)


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Ctrl-C once: finish the batch, commit and stop. Twice: stop now."""
    asked = False

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print("stopping after this batch; press Ctrl-C again to stop at once", file=sys.stderr)

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
            k: getattr(report, k) for k in ("added", "changed", "moved", "removed", "unchanged", "encoded", "seconds")
        }
        skipped = [{"path": results.shown(path), "reason": reason} for path, reason in report.skipped]
        print(json.dumps(values | {"items": count, "skipped": skipped, "dry_run": report.dry}, indent=1))
        return
    for path, reason in report.skipped:
        print(f"skipped {results.shown(path)}: {reason}", file=sys.stderr)
    verb = "would be " if report.dry else ""
    print(
        f"{verb}added {report.added}, changed {report.changed}, moved {report.moved}, removed {report.removed}, "
        f"unchanged {report.unchanged}, skipped {len(report.skipped)}; {out} holds {count} items"
    )


def search(
    gallery: tyro.conf.Positional[str],
    /,
    sketch: tuple[str, ...] = (),
    image: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    not_: Not = (),
    like: tuple[int, ...] = (),
    unlike: tuple[int, ...] = (),
    closest: tuple[int, ...] = (),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 20,
    camera: tuple[str, ...] = (),
    since: str = "",
    until: str = "",
    path: str = "",
    composition: str = "",
    model: str = "",
    json_: Json = False,
    csv_: Annotated[Path | None, tyro.conf.arg(name="csv")] = None,
    sheet: Path | None = None,
    copy_to: Path | None = None,
    machine: OnMachine = Machine(),
) -> int:
    """Search a gallery with any of sketches, photographs, words and marks. Results are leads, never identifications.

    Args:
        gallery: a folder made by descry index, or the address of a migrated one (milvus://HOST:PORT#NAME).
        sketch: a drawing of the person; may be repeated, like all of the next.
        image: a photograph of the person.
        text: a phrase that holds, such as "a red jacket".
        not_: a phrase that must not hold, without a negation: --not backpack.
        like: id of an item that is close; it stands first.
        unlike: id of an item that is not the person.
        closest: id chosen as the closest of those shown.
        k: how many to show.
        camera: only this camera; may be repeated.
        since: only from this time on, as 2026-01-31 or 2026-01-31T14:05.
        until: only up to this time; a day alone means all of it.
        path: only paths of this glob.
        composition: how sketch and words are joined, instead of what the model's validation chose.
        model: where the gallery's model now lies, if it was moved.
        json_: print JSON.
        csv_: also write a table to this file.
        sheet: also write a contact sheet to this picture.
        copy_to: also copy the pictures shown to this folder.
    """
    from ..compose import Composition
    from ..gallery import Gallery
    from ..query import Filters, Query

    machine.settle()
    filters = Filters(camera, _time(since, "--since"), _time(until, "--until", end=True), path)
    query = Query(sketch, image, text, not_, like, unlike, closest, filters)
    with Gallery.open(gallery, _load(model, machine) if model else None) as opened:
        _tell_words(opened.model, query)
        found = opened.search(query, k, composition=Composition(composition) if composition else None)
    if found.note:
        print(f"note: {found.note}", file=sys.stderr)
    results.tell(found, json_)
    if csv_:
        results.write_csv(csv_, found)
    if sheet:
        results.contact_sheet(sheet, found)
    if copy_to:
        results.copy_pictures(copy_to, found)
    return 0


def _tell_words(model: Any, query: Any) -> None:
    """Say which words the model never saw, and what its limit cuts off."""
    for part in (*query.wanted, *query.unwanted):
        unknown = model.words.unknown(part.value)
        if unknown:
            print(f"note: this model does not know {', '.join(map(repr, unknown))}", file=sys.stderr)
        cut = model.words.cut(part.value)
        if cut:
            print(f"note: the text is too long; not read: {cut!r}", file=sys.stderr)


def _time(text: str, option: str, end: bool = False) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise UsageError(f"{option} {text} is no time; write it as 2026-01-31 or 2026-01-31T14:05") from None
    return time + timedelta(days=1, microseconds=-1) if end and len(text) == 10 else time


def info(gallery: tyro.conf.Positional[Path], /, json_: Json = False) -> int:
    """What a gallery holds: items, cameras, times, size, and the model it is bound to.

    Args:
        gallery: a folder made by descry index.
        json_: print JSON.
    """
    from ..gallery import Gallery

    with Gallery.open(gallery) as opened:
        facts = opened.info()
    if json_:
        print(json.dumps(facts, indent=1))
        return 0
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k or 'unknown'} {v}" for k, v in value.items()) or "none"
        print(f"{name:<14} {value}")
    return 0


def list_(
    gallery: tyro.conf.Positional[Path],
    /,
    camera: tuple[str, ...] = (),
    since: str = "",
    until: str = "",
    path: str = "",
    skipped: Flag = False,
    json_: Json = False,
) -> int:
    """The items of a gallery, one a line: id, path, camera, time, track.

    Args:
        gallery: a folder made by descry index.
        camera: only this camera; may be repeated.
        since: only from this time on.
        until: only up to this time.
        path: only paths of this glob.
        skipped: list the files that could not be read instead, with the reason.
        json_: print JSON lines.
    """
    from ..gallery import Gallery
    from ..query import Filters

    filters = Filters(camera, _time(since, "--since"), _time(until, "--until", end=True), path)
    with Gallery.open(gallery) as opened:
        if skipped:
            for name, reason in opened.skipped():
                print(
                    json.dumps({"path": results.shown(name), "reason": reason})
                    if json_
                    else f"{results.shown(name)}\t{reason}"
                )
            return 0
        for item in opened.listed(filters):
            row = {"id": item.id, "path": results.shown(item.path), "camera": item.camera}
            row |= {"time": item.time.isoformat() if item.time else "", "track": item.track}
            print(json.dumps(row) if json_ else "\t".join(str(v) for v in row.values()))
    return 0


def delete(
    gallery: tyro.conf.Positional[Path],
    /,
    item: tuple[int, ...] = (),
    path: str = "",
    until: str = "",
    everything: Flag = False,
    confirm: str = "",
) -> int:
    """Remove items and every byte of them, or a whole gallery. The pictures themselves are not touched.

    Args:
        gallery: a folder made by descry index.
        item: id of an item; may be repeated.
        path: all items of this glob.
        until: all items up to this time.
        everything: the whole gallery.
        confirm: with --everything, the name of the gallery's folder.
    """
    from ..gallery import Gallery
    from ..query import Filters

    if everything:
        if confirm != gallery.resolve().name:
            raise UsageError(f"to remove the whole gallery repeat its name: --confirm {gallery.resolve().name}")
        Gallery.open(gallery).erase()
        print(f"removed {gallery}")
        return 0
    if not (item or path or until):
        raise UsageError("nothing was named; give --item ID, --path GLOB, --until TIME, or --everything")
    with Gallery.open(gallery) as opened:
        ids = set(item)
        if path or until:
            ids |= {i.id for i in opened.listed(Filters(until=_time(until, "--until", end=True), path=path))}
        print(f"removed {opened.purge(ids)} items; {gallery} holds {len(opened)}")
    return 0


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
    from ..gallery.merge import merge as join

    with progress("merging") as tick:
        count = join(parts, out, tick)
    print(f"{out} holds {count} items of {len(parts)} galleries; every vector was compared")
    return 0


def migrate(
    gallery: tyro.conf.Positional[Path],
    /,
    to: str,
    name: str = "",
    partition_by: str = "none",
) -> int:
    """Copy a gallery into a distributed store and compare counts and checksums; can be repeated and goes on where it
    stopped.

    Args:
        gallery: a folder made by descry index.
        to: milvus://HOST:PORT, milvus+https://…, or milvus:FILE.db for the embedded one.
        name: of the collection; the folder's name if left out.
        partition_by: none, camera or day.
    """
    from ..gallery.migrate import migrate as copy

    with progress("migrating") as tick:
        report = copy(gallery, to, name or gallery.resolve().name, partition_by, tick)
    print(
        f"{report.total} items in {to}: {report.copied} copied, {report.present} were there; counts and checksums agree"
    )
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
