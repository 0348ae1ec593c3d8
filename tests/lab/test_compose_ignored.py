"""`model compose` and `evaluate` give one figure for every composition, also where a probe may not be compared with
the photograph its sketch was drawn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from descry.evaluate import Embedded, evaluate
from descry.query import Query
from descry.ranking import COMPOSITIONS, Composition
from descry.records import Benchmark, Photo, Probe
from descry_lab.choosing import compare, compositions
from interact.toy import ToyModel


def bench(ignored: bool) -> Benchmark:
    """Twelve people with three photographs; a sketch is drawn from the first, which it may not find."""
    photos = tuple(Photo(f"{pid}-{n}", pid) for pid in range(12) for n in range(3))
    probes = tuple(
        Probe(Query(sketches=f"{pid}-0".encode(), wanted="red jacket"), pid, (3 * pid,) if ignored else ())
        for pid in range(12)
    )
    return Benchmark("sketch+text", probes, photos)


class Copying(ToyModel):
    """A sketch looks like the photograph it was drawn from."""

    def embed_images(self, pictures):
        return super().embed_images([p.decode() if isinstance(p, bytes) else p for p in pictures])

    def pseudo_words(self, pictures):
        return self.embed_images(pictures)


def test_every_composition_has_the_figure_that_evaluate_gives() -> None:
    model, asked = Copying(), bench(ignored=True)
    photos = Embedded.of(model, asked)
    lines = compare(model, asked, photos, compositions())
    assert {line.composition.how for line in lines} == set(COMPOSITIONS)
    for line in lines:
        told = evaluate(model, asked, line.composition, photos).ranks
        np.testing.assert_array_equal(line.ranks.first, told.first)
        np.testing.assert_array_equal(line.ranks.ap, told.ap)


@pytest.mark.parametrize("how", ["late", "sum", "slerp"])
def test_the_photograph_a_sketch_was_drawn_from_does_not_count(how: str) -> None:
    model = Copying()
    composition = Composition(how, text=0.2)
    with_it, without = (
        compare(model, b, Embedded.of(model, b), [composition])[0].ranks.r1 for b in (bench(False), bench(True))
    )
    assert with_it == 100
    assert without < 50, "only chance is left"
    assert replace(bench(True), probes=()).photos == bench(False).photos
