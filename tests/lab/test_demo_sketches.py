"""What teaches the demo model to read drawings moves nothing but that, and its targets are the oracle's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from descry.embed import load
from descry.errors import UsageError
from descry.query import Query
from descry.records import Benchmark, Photo, Probe
from descry_lab import demo_sketches
from descry_lab.demo_sketches import SHARES, drawing, likely, taught, varied
from descry_people.oracle import oracle_scores
from descry_people.person import make_person


@pytest.fixture(scope="module")
def model():
    return load("demo", device="cpu")


def test_one_step_changes_the_reader_alone(model, tmp_path):
    before = {name: weight.clone() for name, weight in model.method.state_dict().items()}
    reader = taught(model, 4, ((2, 1, 2),))
    assert all(torch.equal(weight, before[name]) for name, weight in model.method.state_dict().items())
    moved = [name for name, weight in reader.state_dict().items() if not torch.equal(weight, before[name])]
    assert moved
    assert all("vision_model" in name or "visual_projection" in name for name in moved)


def test_what_cannot_be_taught_is_refused_before_anything_is_drawn(model, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_sketches, "Lessons", None)
    with pytest.raises(UsageError, match="no packed model"):
        demo_sketches.main([str(tmp_path)])
    monkeypatch.setattr(model, "answers", frozenset({"text"}))
    with pytest.raises(UsageError, match="composed prompts"):
        taught(model)


def test_the_targets_are_those_of_the_oracle():
    people = [make_person(n) for n in range(30)]
    shown = [drawing(person, 0)[2] for person in people]
    odds = likely(shown, people)
    assert torch.allclose(odds.sum(1), torch.ones(30), atol=1e-5)
    probes = [
        Probe(Query(wanted="x"), p.pid, attributes={"expressed": {"sketch": s}})
        for p, s in zip(people, shown, strict=True)
    ]
    bench = Benchmark("drawn", tuple(probes), tuple(Photo(f"{p.pid}.jpg", p.pid) for p in people))
    scores = torch.from_numpy(oracle_scores(bench, {p.pid: p for p in people})).softmax(1)
    assert torch.allclose(odds, scores, atol=1e-4)


def test_drawings_are_of_every_style_and_vary_by_chance():
    styles = {drawing(make_person(n), k)[0] for n in range(20) for k in range(3)}
    assert styles == set(SHARES)
    ink = torch.from_numpy(np.array(drawing(make_person(1), 0)[1].convert("L").resize((48, 96)))).float()[None, None]
    several, kept = varied(
        (ink / 255).expand(40, -1, -1, -1), torch.arange(40) % 2 == 0, torch.Generator().manual_seed(0)
    )
    assert 0 < kept.sum() < 40
    assert torch.equal(several[kept], (ink / 255).expand(int(kept.sum()), -1, -1, -1))
    assert several.min() >= 0
    assert several.max() <= 1
    assert not any(torch.equal(one, ink[0] / 255) for one in several[~kept])
