"""From a table to training rows and benchmarks: the same steps for every data set, the protocol written as data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from ..errors import DataError, UsageError
from ..query import Part, Query
from ..records import Benchmark, Dataset, Example, Photo, Probe, validate
from .faults import faults, natural, numbered, repeated, unlike
from .table import Row, Table


def train_rows(table: Table, by: str = "photo") -> tuple[Example, ...]:
    """Training examples.

    by "photo": one per photograph and caption, with the sketches drawn from that photograph, or else all of the person.
    by "sketch": one per sketch, with every photograph of the person (Market-Sketch-1K).
    """
    rows = [r for r in table.rows if r.split == "train"]
    photos = [r for r in rows if r.path]
    sketches = [r for r in rows if r.sketch]
    pids = numbered(photos)
    if by == "sketch":
        album: dict[str, list[str]] = defaultdict(list)
        for r in photos:
            album[r.pid].append(table.where(r.path))
        drawn = numbered(sketches)
        return tuple(
            Example(tuple(album[r.pid]), drawn[r.pid], sketches=(table.where(r.sketch),), image_id=i)
            for i, r in enumerate(sketches)
        )
    of_photo: dict[str, list[str]] = defaultdict(list)
    of_person: dict[str, list[str]] = defaultdict(list)
    for r in sketches:
        of_photo[r.drawn_from].append(table.where(r.sketch))
        of_person[r.pid].append(table.where(r.sketch))
    return tuple(
        Example((table.where(r.path),), pids[r.pid], caption, tuple(of_photo.get(r.path) or of_person[r.pid]), back, i)
        for i, r in enumerate(photos)
        for caption, back in _captions(r)
    )


def _captions(row: Row) -> Iterator[tuple[str, str]]:
    captions = row.captions or ("",)
    yield from zip(captions, row.back_translations or ("",) * len(captions), strict=True)


@dataclass(frozen=True)
class Split:
    """The rows of one split with its gallery: what benchmarks are built from. at: path → row number."""

    table: Table
    rows: tuple[Row, ...]
    photos: tuple[Photo, ...]
    at: Mapping[str, int]
    pids: Mapping[str, int]

    @classmethod
    def of(cls, table: Table, split: str) -> Split:
        """The split's rows; its gallery is every photograph that is not itself a query."""
        rows = tuple(r for r in table.rows if r.split == split)
        pids = numbered(rows)
        shown = list({r.path: r for r in rows if r.path and not r.role}.values())
        photos = tuple(Photo(table.where(r.path), pids[r.pid], r.camera, r.track) for r in shown)
        return cls(table, rows, photos, {r.path: i for i, r in enumerate(shown)}, pids)

    def benchmark(self, name: str, probes: Sequence[Probe]) -> dict[str, Benchmark]:
        """The benchmark by its name, or nothing when it has no probes."""
        return {name: Benchmark(name, tuple(probes), self.photos)} if probes else {}

    def text(self, name: str = "text") -> dict[str, Benchmark]:
        """One probe per caption of a gallery photograph; nothing is ignored."""
        rows = [r for r in self.rows if r.path and not r.role]
        return self.benchmark(
            name, [Probe(Query(wanted=(Part(c),)), self.pids[r.pid]) for r in rows for c in r.captions]
        )

    def sketch(
        self, name: str = "sketch", keep: Callable[[Row], bool] = bool, repeat: bool = False
    ) -> dict[str, Benchmark]:
        """One probe per sketch; the photograph it was drawn from is ignored. repeat: once per caption of it."""
        probes = [
            Probe(Query(sketches=(self.drawn(r),)), self.pids[r.pid], self.ignored(r), r.style)
            for r in self.drawings(keep)
            for _ in (self.words_for(r) if repeat else (None,))
        ]
        return self.benchmark(name, probes)

    def both(
        self, name: str = "sketch+text", keep: Callable[[Row], bool] = bool, pick: int | None = None
    ) -> dict[str, Benchmark]:
        """One probe per sketch and caption: its own, else its photograph's, else the person's first.

        pick: only this one of the captions.
        """
        probes = []
        for r in self.drawings(keep):
            words = self.words_for(r)
            for caption in words if pick is None else words[pick : pick + 1]:
                query = Query(sketches=(self.drawn(r),), wanted=(Part(caption),))
                probes.append(Probe(query, self.pids[r.pid], self.ignored(r), r.style))
        return self.benchmark(name, probes)

    def many(self, name: str, keep: Callable[[Row], bool] = bool, words: bool = False) -> dict[str, Benchmark]:
        """One probe per person with all the person's sketches at once (multi-query). words: and their caption."""
        drawn: dict[str, list[Row]] = defaultdict(list)
        for r in self.drawings(keep):
            drawn[r.pid].append(r)
        probes = []
        for pid, rows in drawn.items():
            wanted = tuple(map(Part, self.words_for(rows[0])[:1])) if words else ()
            if words and not wanted:
                continue
            ignore = tuple(sorted({i for r in rows for i in self.ignored(r)}))
            probes.append(Probe(Query(sketches=tuple(map(self.drawn, rows)), wanted=wanted), self.pids[pid], ignore))
        return self.benchmark(name, probes)

    def photo(self, name: str = "photo") -> dict[str, Benchmark]:
        """One probe per photograph whose role is query; the same person by the same camera is ignored.

        An unknown camera equals no other.
        """
        same: dict[tuple[int, str], list[int]] = defaultdict(list)
        for i, p in enumerate(self.photos):
            if p.camera:
                same[p.pid, p.camera].append(i)
        probes = [
            Probe(
                Query(photos=(Part(self.table.where(r.path)),)),
                self.pids[r.pid],
                tuple(same.get((self.pids[r.pid], r.camera), ())),
                r.camera,
            )
            for r in self.rows
            if r.role == "query"
        ]
        return self.benchmark(name, probes)

    def asked_with(self, name: str, photo: bool = False, words: bool = False) -> dict[str, Benchmark]:
        """One probe per photograph whose role is query and caption of it: with the photograph, the words, or both.
        Nothing is ignored, as the words ask for another photograph.
        """
        probes = [
            Probe(
                Query(
                    photos=(Part(self.table.where(r.path)),) if photo else (),
                    wanted=(Part(caption),) if words else (),
                ),
                self.pids[r.pid],
            )
            for r in self.rows
            if r.role == "query"
            for caption in r.captions
        ]
        return self.benchmark(name, probes)

    def words_of_drawings(self, name: str = "text", pick: int = 0) -> dict[str, Benchmark]:
        """The sentence that goes with a person's sketches, alone, once per person."""
        first = {r.pid: r for r in reversed(self.drawings()) if len(r.captions) > pick}
        pids = sorted(first, key=natural)
        return self.benchmark(name, [Probe(Query(wanted=(Part(first[p].captions[pick]),)), self.pids[p]) for p in pids])

    def drawn(self, row: Row) -> Part:
        """A row's sketch as a part of a query."""
        return Part(self.table.where(row.sketch))

    def drawings(self, keep: Callable[[Row], bool] = bool) -> list[Row]:
        """The sketch rows of the split that are kept."""
        return [r for r in self.rows if r.sketch and keep(r)]

    def ignored(self, row: Row) -> tuple[int, ...]:
        """The photograph a sketch was drawn from, as a row number of the gallery; () where there is none."""
        return (self.at[row.drawn_from],) if row.drawn_from in self.at else ()

    def words_for(self, row: Row) -> tuple[str, ...]:
        """Captions that may go with a sketch."""
        if row.captions:
            return row.captions
        return self._of_photo.get(row.drawn_from, ()) or self._of_person.get(row.pid, ())[:1]

    @cached_property
    def _of_photo(self) -> Mapping[str, tuple[str, ...]]:
        held: dict[str, tuple[str, ...]] = defaultdict(tuple)
        for r in self.rows:
            if r.path:
                held[r.path] += r.captions
        return held

    @cached_property
    def _of_person(self) -> Mapping[str, tuple[str, ...]]:
        first: dict[str, tuple[str, ...]] = {}
        for r in self.rows:
            if r.path and r.captions:
                first.setdefault(r.pid, r.captions)
        return first


def standard(split: Split) -> dict[str, Benchmark]:
    """Every benchmark that the rows of a split allow: text, sketch, sketch+text, photo."""
    return split.text() | split.sketch() | split.both() | split.photo()


def held_out(table: Table, share: float) -> Table:
    """The table with a share of the training identities moved to val, for sets that have none; the same ones always.

    Chosen by the hash of their ids, so neither a seed nor the order of the rows matters. Raises UsageError.
    """
    if not share:
        return table
    people = sorted({r.pid for r in table.rows if r.split == "train"}, key=lambda p: sha256(p.encode()).digest())
    count = round(share * len(people))
    if not 0 < count < len(people) or any(r.split == "val" for r in table.rows):
        what = "it has a val split" if any(r.split == "val" for r in table.rows) else f"it has {len(people)} people"
        raise UsageError(f"hold_out={share} was given for {table.name}, but {what}; give a share between 0 and 1")
    moved = set(people[:count])
    rows = tuple(replace(r, split="val") if r.split == "train" and r.pid in moved else r for r in table.rows)
    return replace(table, rows=rows, notes=(*table.notes, f"{count} training identities held out as val"))


def assemble(
    table: Table,
    by: str = "photo",
    benchmarks: Callable[[Split], dict[str, Benchmark]] = standard,
) -> Dataset:
    """The data set of a table. Raises DataError with every fault of its rows."""
    found = faults(table)
    if found:
        raise DataError(f"{table.name}: " + "; ".join(found) + f"; run: descry data check {table.name} {table.root}")
    present = {r.split for r in table.rows}
    made = {split: benchmarks(Split.of(table, split)) for split in ("val", "test") if split in present}
    notes = (*table.notes, *repeated(table), *unlike(table))
    source = "; ".join(filter(None, (str(table.root), table.variant, *notes)))
    return validate(
        Dataset(table.name, train_rows(table, by), made.get("val", {}), made.get("test", {}), source, notes)
    )
