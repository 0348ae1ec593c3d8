"""From a table to training rows and benchmarks: the same steps for every data set, the protocol written as data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import DataError
from ..query import Part, Query
from ..records import Benchmark, Dataset, Example, Photo, Probe, validate
from .table import SPLITS, Row, Table

DISTRACTORS = ("-1",)
"""Identities of a gallery that no probe looks for."""


def faults(table: Table) -> list[str]:
    """What is wrong with the rows themselves, one sentence each; no file is touched.

    A photograph listed twice for the same person is none, see `repeated`.
    """
    out: list[str] = []
    if not table.rows:
        return ["it holds no rows at all"]
    splits: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in table.rows:
        splits[row.pid].add(row.split)
        file = row.path or row.sketch
        owners[file].add((row.split, row.pid))
    shared = {pid: s for pid, s in splits.items() if len(s) > 1 and pid not in DISTRACTORS}
    if shared:
        named = ", ".join(f"{pid} ({' and '.join(sorted(s))})" for pid, s in list(shared.items())[:3])
        out.append(f"{len(shared)} identities shared between splits: {named}")
        return out
    torn = {file: who for file, who in owners.items() if len(who) > 1}
    if torn:
        file, who = next(iter(torn.items()))
        out.append(
            f"{len(torn)} files under several identities: {file} under {' and '.join(p for _, p in sorted(who))}"
        )
    return out + _unanswerable(table)


def repeated(table: Table) -> tuple[str, ...]:
    """A note on files that are listed more than once for the same person (ICFG-PEDES has one); a gallery shows each once."""
    times = Counter((row.path or row.sketch) for row in table.rows)
    twice = [file for file, n in times.items() if n > 1]
    return (f"{len(twice)} files are listed more than once, first {', '.join(twice[:3])}",) if twice else ()


def _unanswerable(table: Table) -> list[str]:
    out = []
    photographed = {(r.split, r.pid) for r in table.rows if r.path and not r.role}
    for split in SPLITS:
        drawn = {r.pid for r in table.rows if r.split == split and (r.sketch or r.role)}
        alone = sorted(pid for pid in drawn if (split, pid) not in photographed)
        if alone:
            out.append(f"{split}: {len(alone)} identities are asked for but have no photograph: {', '.join(alone[:3])}")
    return out


def natural(pid: str) -> tuple[int, int, str]:
    """Sort key: numbers by value, then names."""
    return (0, int(pid), "") if pid.lstrip("-").isdigit() else (1, 0, pid)


def numbered(rows: Iterable[Row]) -> dict[str, int]:
    """Identity as written → 0 … N−1 in natural order; distractors → −1."""
    pids = sorted({r.pid for r in rows} - set(DISTRACTORS), key=natural)
    return {pid: i for i, pid in enumerate(pids)} | dict.fromkeys(DISTRACTORS, -1)


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
    """The rows of one split with its gallery: what benchmarks are built from. at: path of a photograph → its row
    number.
    """

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
        shown = list({r.path: r for r in reversed(rows) if r.path and not r.role}.values())[::-1]
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
        """One probe per sketch; the photograph it was drawn from is ignored. repeat: once per caption of that
        photograph.
        """
        probes = [
            Probe(Query(sketches=(self.drawn(r),)), self.pids[r.pid], self.ignored(r), r.style)
            for r in self.drawings(keep)
            for _ in (self.words_for(r) if repeat else (None,))
        ]
        return self.benchmark(name, probes)

    def both(
        self, name: str = "sketch+text", keep: Callable[[Row], bool] = bool, pick: int | None = None
    ) -> dict[str, Benchmark]:
        """One probe per sketch and caption: its own, else those of the photograph it was drawn from, else the
        person's first.

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
        """One probe per photograph whose role is query; photographs of the same person by the same camera are
        ignored.
        """
        same: dict[tuple[int, str], list[int]] = defaultdict(list)
        for i, p in enumerate(self.photos):
            same[p.pid, p.camera].append(i)
        probes = [
            Probe(
                Query(photos=(Part(self.table.where(r.path)),)),
                self.pids[r.pid],
                tuple(same[self.pids[r.pid], r.camera]),
                r.camera,
            )
            for r in self.rows
            if r.role == "query"
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
    source = "; ".join(filter(None, (str(table.root), table.variant, *table.notes, *repeated(table))))
    return validate(Dataset(table.name, train_rows(table, by), made.get("val", {}), made.get("test", {}), source))
