"""descry data …: check, import, leaks, list, sketch, splits, stats."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import Bound
from ..escape import counted, plain
from .machine import Flag, Json, OutFile, OutFolder, Part, Seed, Share, Threads, emit, refuse_unread
from .progress import progress

Name = tyro.conf.Positional[str]
Folder = tyro.conf.Positional[Path]


def check(name: Name, root: Folder, /, pixels: bool = True, threads: Threads = 4, json_: Json = False) -> int:
    """Check whether a data set is complete: folders, pictures, identities shared by splits, published counts.

    Args:
        name: the data set, with options such as pku-sketch:split=3; descry data list names them.
        root: its folder.
        pixels: decode every picture; --no-pixels only looks whether it is there.
        threads: how many pictures are decoded at once.
    """
    from ..data import parse
    from ..data.check import as_json
    from ..data.check import check as run

    which, options = parse(name, "table")
    with progress("decoding", quiet=json_) as tick:
        report = run(which, root, pixels=pixels, threads=threads, progress=tick, **options)
    kind = " (miniature of synthetic people)" if report.miniature else ""
    lines = [f"{report.name}{kind}  {report.root}  {report.variant}"]
    width = max((len(c.what) for c in report.counts), default=0)
    for c in report.counts:
        differs = "DIFFERS  " if c.differs else ""
        expected = "" if c.expected is None else f"  expected {c.expected:>9,}  {differs}{c.source}"
        lines.append(f"  {c.what:<{width}}  {c.found:>9,}{expected}")
    lines += [f"  note: {plain(note)}" for note in report.notes]
    lines += [f"  fault: {plain(fault)}" for fault in report.faults]
    if report.ok:
        lines.append("  whole" if pixels else "  whole; pictures were not decoded")
    else:
        lines += ["", "expected tree:", *report.tree.split("\n"), "", f"how to obtain: {report.obtain}"]
        lines.append(f"terms: {report.terms}")
    emit(json_, as_json(report), *lines)
    return 0 if report.ok else 1


def list_(json_: Json = False, markdown: Flag = False) -> int:
    """The data sets that can be read: tree, how to obtain, terms, published counts.

    Args:
        markdown: print the sections of docs/datasets.md.
    """
    from ..data import DATASETS, module
    from ..data.card import as_markdown

    if json_:
        refuse_unread(list_, locals(), "markdown", "--json prints JSON")
    cards = [module(name).CARD for name in DATASETS]
    if markdown:
        print(*"\n".join(map(as_markdown, cards)).split("\n"), sep="\n", end="")
        return 0
    lines = []
    for card in cards:
        lines += [f"{card.name}: {card.title}. {card.paper}".rstrip(". ") + "."]
        lines += [f"  queries by {', '.join(card.asks)}; variants: {', '.join(card.variants)}"]
        lines += [f"  {part}" for part in card.tree.split("\n")]
        lines += [f"  obtain: {card.obtain}", f"  terms: {card.terms}", ""]
    return emit(json_, [asdict(c) for c in cards], *lines)


def import_(
    table: Folder,
    root: Folder,
    /,
    name: str = "",
    val_share: Part = 0.0,
    test_share: Part = 0.0,
    seed: Seed = 0,
    json_: Json = False,
) -> int:
    """Make a data set of your own from one table (.csv or .jsonl) and the folder of its pictures.

    Columns: split, pid, path or sketch; and where known style, camera, track, role, drawn_from, captions,
    back_translations.

    Args:
        table: one line per photograph or sketch, with paths below root.
        root: the folder of the pictures; table.jsonl and descry.json are written there.
        name: how the data set is called; the folder's name when left out.
        val_share: share of the people without a split who become val.
        test_share: share of the people without a split who become test.
        seed: of that choice.
    """
    from ..data.check import counts
    from ..data.faults import repeated, unlike
    from ..data.own import import_table

    made = import_table(table, root, name, val_share, test_share, seed)
    for note in (*made.notes, *repeated(made), *unlike(made)):
        print(f"note: {plain(note)}", file=sys.stderr)
    said = f"{made.name}: " + ", ".join(f"{n:,} {what}" for what, n in counts(made).items())
    value = {"name": made.name, "root": str(root), "counts": counts(made)}
    return emit(json_, value, said, f"use it as: --data {root}")


def leaks(
    a: Name,
    a_root: Folder,
    b: Name,
    b_root: Folder,
    /,
    out: OutFile | None = None,
    most_bits: Annotated[int, Bound(0, 64)] = 8,
    model: str = "",
    least_cosine: Annotated[float, Bound(-1, 1)] = 0.97,
    threads: Threads = 4,
    json_: Json = False,
) -> int:
    """Find photographs of A's training split that come back in B's evaluation, and the identities to leave out.

    Args:
        a: the data set that is trained on.
        a_root: its folder.
        b: the data set that is evaluated; it may be the same.
        b_root: its folder.
        out: write the list here; descry evaluate can leave its identities out.
        most_bits: how many of the 64 bits of the perceptual hash may differ.
        model: a run folder or demo; its embedding must then agree as well.
        least_cosine: smallest cosine between the two embeddings for a pair to be listed.
        threads: how many pictures are read at once.
    """
    from ..data.leaks import find_leaks

    if not model:
        refuse_unread(leaks, locals(), "least_cosine", "only a --model gives cosines")
    one, other = _table(a, a_root), _table(b, b_root)
    embed = None
    if model:
        from ..embed import load

        embed = load(model).embed_images
    with progress("hashing", quiet=json_) as tick:
        found = find_leaks(
            one, other, most_bits=most_bits, embed=embed, least_cosine=least_cosine, threads=threads, progress=tick
        )
    if out:
        found.save(out)
    lines = []
    for pair in found.pairs[:20]:
        cosine = f", cosine {pair.cosine:.3f}" if pair.cosine is not None else ""
        lines.append(f"{pair.a}  {pair.b}  ({pair.bits} bits{cosine}; {pair.b_split} identity {pair.b_pid})")
    people = counted(sum(len(p) for p in found.identities().values()), "identity", "identities")
    lines.append(f"{counted(len(found.pairs), 'near-duplicate pair')}, {people} of {found.b} to leave out")
    emit(json_, {"pairs": [asdict(p) for p in found.pairs], "identities": found.identities()}, *lines)
    if found.unreadable and not json_:
        print(f"{counted(found.unreadable, 'picture')} could not be read", file=sys.stderr)
    return 0


def _table(name: str, root: Path) -> Any:
    from ..data import module, parse

    which, options = parse(name, "table")
    return module(which).table(root, **options)


def sketch(
    root: Folder,
    /,
    style: str = "xdog",
    photos: str = "imgs",
    sketches: str = "imgs-sketch",
    dropout: Share = 0.0,
    distortion: Share = 0.0,
    seed: Seed = 0,
    threads: Threads = 4,
    json_: Json = False,
) -> int:
    """Draw a sketch of every photograph of a folder into a mirror tree; the same command continues an interrupted run.

    Args:
        root: a data set with a folder of photographs, or a folder of such data sets.
        style: edge, xdog, pencil or sparse.
        photos: name of the folder of photographs.
        sketches: name of the folder beside it to write.
        dropout: share of strokes left out, 0 to 1.
        distortion: how far strokes wander, as a share of the height; 0.02 is a shaky hand.
        seed: of dropout, distortion and paper grain.
        threads: how many are drawn at once.
    """
    from ..data.sketches import Drawing, draw_sketches

    with progress("drawing", quiet=json_) as tick:
        drawn = draw_sketches(root, Drawing(style, dropout, distortion, seed), photos, sketches, threads, tick)
    skipped = [{"path": path, "reason": reason} for path, reason in drawn.skipped]
    made = counted(drawn.made, "sketch", "sketches")
    said = f"{made} drawn, {drawn.kept:,} were there, in {', '.join(drawn.folders)}"
    emit(json_, asdict(drawn) | {"skipped": skipped}, said)
    for path, reason in () if json_ else drawn.skipped[:20]:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    return 3 if drawn.skipped else 0


def splits(root: Folder, out: tyro.conf.Positional[OutFolder], /, json_: Json = False) -> int:
    """Write the ten generated splits of PKU-Sketch in the circulating form (idx/…), each with its hash.

    Args:
        root: the data set.
        out: a folder; idx/ is written into it.
    """
    from ..data.pku_sketch import find_root, generate_split, read_styles, split_hash, write_splits

    folder = find_root(root)
    styles = read_styles(folder)
    write_splits(folder, out, styles)
    told = []
    for split in range(1, 11):
        train, test = generate_split(styles, split)
        told.append({"split": split, "train": len(train), "test": len(test), "sha256": split_hash(train, test)})
    lines = (f"split {row['split']}: {row['train']} train, {row['test']} test, sha256 {row['sha256']}" for row in told)
    return emit(json_, told, *lines)


def stats(name: Name, root: Folder, /, model: str = "", json_: Json = False) -> int:
    """Caption statistics of each split; with a model, how many captions exceed its token limit.

    Args:
        name: the data set.
        root: its folder.
        model: a run folder or demo, whose vocabulary counts the tokens.
    """
    from ..data.check import caption_statistics, commonest
    from ..training.start import tell_unknown

    table = _table(name, root)
    count, limit, words = _counter(model) if model else (None, 77, None)
    lines = caption_statistics(table, count, limit)
    if words is not None:
        tell_unknown(words, (text for row in table.rows for text in (*row.captions, *row.back_translations)))
    said = []
    for c in lines:
        words_in = f"{c.mean_words:.1f} words on average, {c.most_words} at most"
        said.append(f"{c.split}: {counted(c.count, 'caption')}, {c.different:,} different, {words_in}")
        if c.cut is not None:
            tokens = f"{c.mean_tokens:.1f} tokens on average, {c.most_tokens} at most"
            said.append(f"  {tokens}; {c.cut:,} exceed {c.limit} and are cut")
        if c.back_translated:
            said.append(f"  {c.back_translated:,} back-translations")
    said += [f"  {counted(n, 'picture')} with the caption: {text}" for text, n in commonest(table, 3) if n > 1]
    return emit(json_, [asdict(line) for line in lines], *said)


def _counter(model: str) -> tuple[Any, int, Any]:
    """Captions → token counts (start and end included), the limit, and a model's vocabulary itself."""
    from ..embed import load

    words = load(model).words

    def count(captions: Sequence[str]) -> list[int]:
        return [n + words.length - words.room for n in words.counts(captions)]

    return count, words.length, words
