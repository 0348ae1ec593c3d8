from dataclasses import replace

import pytest

from descry.errors import DataError
from descry.query import Query
from descry.records import Benchmark, Dataset, Example, Photo, Probe, validate


def test_the_toy_is_whole(toy):
    assert validate(toy) is toy
    assert toy.identities == 16


def test_each_fault_is_named(toy):
    bench = toy.test["text"]
    photo, probe = bench.photos[0], bench.probes[0]
    cases = {
        "without gaps": replace(toy, train=(Example(("a",), 3),)),
        "no photograph": replace(toy, train=(Example((), 0),)),
        "holds no rows": Dataset("x"),
        "gallery has no photographs": Dataset("x", test={"t": Benchmark("t", (probe,), ())}),
        "there are no probes": Dataset("x", test={"t": Benchmark("t", (), (photo,))}),
        "are in the gallery twice": Dataset("x", val={"t": Benchmark("t", (probe,), (photo, photo))}),
        "asks with nothing": Dataset("x", test={"t": Benchmark("t", (Probe(Query(), 0),), (photo,))}),
        "outside the gallery": Dataset("x", test={"t": Benchmark("t", (replace(probe, ignore=(5,)),), (photo,))}),
    }
    for text, data in cases.items():
        with pytest.raises(DataError, match=text):
            validate(data)


def test_fingerprint_follows_the_questions(toy):
    bench = toy.test["text"]
    assert bench.fingerprint() == Benchmark("text", bench.probes, bench.photos).fingerprint()
    other = replace(bench.probes[0], ignore=(1,))
    assert bench.fingerprint() != replace(bench, probes=(other, *bench.probes[1:])).fingerprint()
    moved = tuple(Photo("elsewhere/" + p.path.rsplit("/", 1)[-1], p.pid, p.camera) for p in bench.photos)
    assert bench.fingerprint() == replace(bench, photos=moved).fingerprint()
