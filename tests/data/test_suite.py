"""One suite over every data set and variant: miniature → check → reader → rows → a training step → evaluation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conftest import quick, toy_clip
from descry.data import DATASETS, module, read
from descry.data.check import check
from descry.embed import Model
from descry.evaluate import evaluate_all
from descry.methods import method_class, preset
from descry.records import validate
from descry.text import word_level
from descry.training.loop import Settings, train
from descry_people.miniature import WRITERS

from .conftest import EVERY

# What the writers draw: ids, photos, captions, sketches of train and test; counted by hand from their plans.
DRAWN = {
    "cuhk-pedes": {"train": (7, 14, 28, 0), "val": (2, 4, 8, 0), "test": (3, 6, 12, 0)},
    "icfg-pedes": {"train": (5, 15, 15, 0), "test": (3, 9, 9, 0)},
    "rstpreid": {"train": (4, 20, 40, 0), "val": (2, 10, 20, 0), "test": (2, 10, 20, 0)},
    "tri-pedes": {"train": (16, 49, 83, 49), "val": (4, 14, 28, 14), "test": (8, 25, 41, 25)},
    "market-sketch-1k": {"train": (6, 18, 0, 36), "test": (4, 12, 0, 23)},
    "pku-sketch": {"train": (15, 30, 0, 15), "test": (5, 10, 0, 5)},
    "market-1501": {"train": (5, 15, 0, 0), "test": (4, 15, 0, 0)},
    "itcpr": {"test": (9, 19, 9, 0)},
    "table": {"train": (6, 12, 12, 6), "val": (2, 4, 4, 2), "test": (4, 8, 8, 4)},
}
KINDS = ("ids", "photos", "captions", "sketches")


def test_every_data_set_has_a_writer_and_a_card() -> None:
    assert set(WRITERS) == set(DATASETS) == set(DRAWN)
    for name in DATASETS:
        card = module(name).CARD
        assert card.name == name
        assert all((card.tree, card.obtain, card.terms, card.variants, card.asks))


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_check_passes_and_counts_what_was_drawn(drawn, name, variant) -> None:
    root = drawn(name, variant)
    report = check(name, root, variant=variant)
    assert report.faults == ()
    assert report.miniature
    assert report.variant
    found = {c.what: c.found for c in report.counts}
    for split, numbers in DRAWN[name].items():
        for kind, number in zip(KINDS, numbers, strict=True):
            if (name, variant, split, kind) == ("market-1501", "attributes", "train", "captions"):
                number = 15
            assert found.get(f"{split} {kind}", 0) == number, (split, kind)


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_rows(drawn, name, variant) -> None:
    root = drawn(name, variant)
    data = validate(read(name, root, variant=variant))
    assert data.identities == DRAWN[name].get("train", (0,))[0]
    assert {kind for bench in data.test.values() for kind in {p.query.kind for p in bench.probes}} <= set(
        module(name).CARD.asks
    )
    for row in data.train:
        for path in (*row.images, *row.sketches):
            assert path.startswith(root.as_posix())
    for bench in (*data.val.values(), *data.test.values()):
        people = {p.pid for p in bench.photos}
        assert all(probe.pid in people for probe in bench.probes)
    again = read(name, root, variant=variant)
    assert again.train == data.train
    assert {k: b.fingerprint() for k, b in again.test.items()} == {k: b.fingerprint() for k, b in data.test.items()}


def method_for(data):
    """A small method that the rows of a data set can train, and what it needs of CLIP."""
    sentences = [e.caption for e in data.train] + [
        part.value for bench in data.test.values() for probe in bench.probes for part in probe.query.wanted
    ]
    words = word_level([*sentences, "a photo of * , and"])
    has_text, has_sketch = any(e.caption for e in data.train), any(e.sketches for e in data.train)
    name = "interactreid" if has_sketch else "propot" if has_text else "zero_shot"
    config = preset(name, "recommended")
    if name != "zero_shot":
        config = quick(config, epochs=1)
    if has_sketch:
        config = replace(config, stage=1 if has_text else 2)
    return name, method_class(name)(toy_clip(words), words, config, data.identities)


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_trains_and_evaluates(drawn, tmp_path, name, variant) -> None:
    """Rows without text and without sketches (Market-1501 alone) train no method of the papers: they are only
    evaluated.
    """
    data = read(name, drawn(name, variant), variant=variant)
    chosen, method = method_for(data)
    if chosen != "zero_shot":
        few = replace(data, train=data.train if chosen == "propot" else data.train[:8], val={})
        heard = []
        train(method, chosen, "recommended", few, tmp_path / "run", Settings(threads=1, device="cpu"), {}, heard.append)
        assert heard
    results = evaluate_all(Model(method.eval(), {}, chosen, device="cpu"), data.test)
    answered = {r.benchmark for r in results if "mean of" not in r.note}
    asked = {k for k, b in data.test.items() if set(b.probes[0].query.kind.split("+")) <= method.answers}
    assert answered == asked
    assert asked
    assert all(0.0 <= r.ranks.as_dict()["mAP"] <= 100.0 for r in results)
