"""Studies of what came after the three papers: what their rows learn from, FAFA's own score, runs across data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import toy_clip, toy_words
from descry.checkpoint import save_model
from descry.embed import load
from descry.errors import UsageError
from descry.evaluate import Embedded, scores_of
from descry.methods import method_class, preset
from descry.training.loop import Settings
from descry_lab import engine, own_studies
from descry_lab.__main__ import main
from descry_lab.studies import study_of
from descry_people.miniature import write_miniature

CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("later")


def test_rows_of_wrong_pairs_learn_from_captions_that_were_shuffled(work):
    world = own_studies.wrong_pairs("smoke", work, "", CPU)
    clean = [e.caption for e in world.data[0].train]
    for share, rate in own_studies.WRONG.items():
        wrong = [e.caption for e in world.adapt[share].train]
        assert 0 < sum(a != b for a, b in zip(clean, wrong, strict=True)) <= rate * len(clean)
        assert sorted(clean) == sorted(wrong)
        assert "wrong_pairs" in world.adapt[share].source
    for cell in study_of("wrong-pairs").cells[1:]:
        (at,) = engine.trainings(cell, 0, world, world.data[0])
        assert at.taught is world.adapt[cell.row.split(", ")[-1].removesuffix(" wrong pairs")]


def test_pre_training_and_fine_tuning_are_two_trainings_on_two_populations(work):
    world = own_studies.other_domains("smoke", work, "", CPU)
    here, there = (world.adapt[p] for p in own_studies.PLACES)
    assert ("world 0" in here.source, "world 1" in there.source) == (True, True)
    assert set(world.data[0].test) == {"text, here", "text, there"}
    cells = {c.row: c for c in study_of("other-domains").cells}
    first, second = engine.trainings(cells["pre-trained here, fine-tuned there"], 0, world, world.data[0])
    assert (first.taught, second.taught) == (here, there)
    assert (first.origin, second.origin) == (world.start, str(first.folder))
    (alone,) = engine.trainings(cells["trained there"], 0, world, world.data[0])
    assert alone.epochs == first.epochs + second.epochs, "as many steps in all"


def test_long_texts_are_longer_than_the_encoder_reads(work):
    world = own_studies.long_texts("smoke", work, "", CPU)
    words = load("demo", "cpu").words
    told = [p.query.wanted[0].value for p in world.data[0].test["text"].probes]
    told += [e.caption for e in world.data[0].train]
    assert min(map(words.count, told)) > words.room
    assert max(map(words.count, told)) <= own_studies.POSITIONS
    recipes = {c.row: c.changes["recipe"] for c in study_of("long-texts").cells}
    assert (recipes["windows"].long_queries, recipes["more positions, not trained"].text_length) == ("windows", 200)


def test_the_score_of_fafa_is_measured_beside_what_is_served(work, tmp_path):
    world = own_studies.composed("smoke", work, "", CPU)
    words, cls = toy_words(), method_class("fafa")
    torch.manual_seed(0)
    config = replace(preset("fafa", "recommended"), **dict(cls.small))
    for nearest in (2, config.tokens):
        method = cls(toy_clip(words), words, replace(config, nearest=nearest))
        save_model(tmp_path / str(nearest), method, "fafa", "recommended", {})
        model = load(tmp_path / str(nearest), "cpu")
        found = own_studies.nearest_score(model, world, tmp_path)["photo+text nearest"]["R@1"]
        assert 0 <= found <= 100
    bench = world.data[0].test["photo+text"]
    pixels = own_studies.pixels([p.path for p in bench.photos[:3]], model.image_size)
    with torch.inference_mode():
        tokens = model.method.tokens_of(pixels).numpy()
    mean = tokens.mean(axis=1)
    served = model.embed_images([p.path for p in bench.photos[:3]])
    assert np.allclose(served, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)
    assert own_studies.nearest_score(load("demo", "cpu"), world, tmp_path) == {}
    assert scores_of(model, bench.probes[:2], Embedded.of(model, bench)).shape == (2, len(bench.photos))


def test_runs_are_judged_across_data_sets(tmp_path, capsys):
    one = write_miniature("cuhk-pedes", tmp_path / "one")
    other = write_miniature("rstpreid", tmp_path / "other")
    given = ["--data", "cuhk-pedes", str(one), "--data", "rstpreid", str(other), "--device", "cpu"]
    assert main(["across", "demo", "demo", *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| R@1, text | learnt from | cuhk-pedes, {one} | rstpreid, {other} |"
    assert lines[2] == lines[3]
    assert lines[2].startswith("| demo | people → people | ")
    assert lines[2].count("[") == 2
    with pytest.raises(UsageError, match=r"cuhk-pedes has no test benchmark 'sketch'; allowed: text"):
        main(["across", "demo", *given, "--benchmark", "sketch"])
