"""A rank grid "before and after" shows the same sketch twice."""

from __future__ import annotations

from pathlib import Path

from descry.query import Query
from descry.records import Benchmark, Photo, Probe
from descry_lab.grids import shown
from interact.toy import ToyModel


def test_before_and_after_are_of_one_sketch_where_a_person_has_several(tmp_path) -> None:
    photos = tuple(Photo(f"{n}.png", n // 2) for n in range(6))
    drawn = [str(tmp_path / "first.png"), str(tmp_path / "second.png")]
    for path in drawn:
        Path(path).write_bytes(path.encode())
    alone = Benchmark("sketch", tuple(Probe(Query(sketches=s), 1) for s in drawn), photos)
    both = Benchmark("sketch+text", tuple(Probe(Query(sketches=s, wanted="red"), 1) for s in drawn), photos)
    for n, sketch in enumerate(drawn):
        assert [row.query for row in shown(ToyModel(), both, n, before=alone)] == [sketch, sketch]
