import numpy as np
import pytest
from PIL import Image

from descry.embed import Model, choose_device
from descry.errors import ImageRejected, UsageError
from descry.evaluate import evaluate, evaluate_all, similarity, ways
from descry.methods.interactreid import PRESETS, InteractReID
from descry.query import Part, Query


@pytest.fixture
def model(clip, words):
    from dataclasses import replace

    return Model(InteractReID(clip, words, replace(PRESETS["recommended"], stage=2), 0).eval(), {}, "toy", device="cpu")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_images_from_any_source_give_the_same_unit_rows(model, toy):
    path = toy.test["text"].photos[0].path
    rows = model.embed_images([path, Image.open(path), np.asarray(Image.open(path))], batch_size=2)
    assert rows.dtype == np.float32
    assert rows.shape == (3, model.dimension)
    assert np.allclose(rows, rows[:1])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert model.embed_images([]).shape == (0, model.dimension)
    with pytest.raises(UsageError, match="list"):
        model.embed_images(path)
    with pytest.raises(ImageRejected):
        model.embed_images(["absent.png"])


def test_progress_is_told(model, toy):
    seen = []
    model.embed_images([p.path for p in toy.test["text"].photos[:5]], batch_size=2, progress=seen.append)
    assert seen == [2, 4, 5]


def test_queries_are_composed(model, toy):
    probe = toy.test["sketch+text"].probes[3].query
    sketch, text = probe.sketches[0].value, probe.wanted[0].value
    s, t = model.embed_images([sketch])[0], model.embed_texts([text])[0]
    late = model.embed_queries([probe], "late")[0]
    assert np.allclose(late, unit(s + t), atol=1e-5)
    early = model.embed_queries([probe], "early")[0]
    assert np.allclose(early, model.compose([sketch], [text])[0], atol=1e-5)
    assert np.allclose(model.embed_queries([probe], "pseudo")[0], model.compose([sketch], [""])[0], atol=1e-5)
    assert np.allclose(model.embed_queries([Query(sketches=sketch)])[0], s, atol=1e-5)
    assert np.allclose(model.embed_queries([Query(wanted=text)])[0], t, atol=1e-5)
    weighted = Query(sketches=Part(sketch, 0.5), wanted=Part(text, 2.0))
    assert np.allclose(model.embed_queries([weighted], "late")[0], unit(0.5 * s + 2 * t), atol=1e-5)
    mixed = model.embed_queries([Query(wanted=text), probe, Query(sketches=sketch)])
    assert np.allclose(mixed, np.stack([t, early, s]), atol=1e-5)
    two = Query(wanted=("a red top", Part("a hat", on=False), "blue trousers"))
    assert np.allclose(model.embed_queries([two])[0], model.embed_texts(["a red top, blue trousers"])[0], atol=1e-5)


def test_what_cannot_be_asked(model):
    with pytest.raises(UsageError, match="empty"):
        model.embed_queries([Query(unwanted="a hat")])
    with pytest.raises(UsageError, match="did you mean 'early'"):
        model.embed_queries([Query(wanted="a")], "erly")
    with pytest.raises(UsageError, match="did you mean 'cpu'"):
        choose_device("cpus")
    with pytest.raises(UsageError, match="bf16"):
        choose_device("cpu", "fp16")


def test_half_precision_is_close(model, clip, words, toy):
    paths = [p.path for p in toy.test["text"].photos]
    half = Model(model.method, {}, "toy", device="cpu", precision="bf16")
    # a random network of width 64; the routes of real size are held to 0.999 in test_export.py
    assert (model.embed_images(paths) * half.embed_images(paths)).sum(axis=1).min() > 0.995


def test_evaluation_asks_in_every_way_the_model_can(model, toy):
    results = evaluate_all(model, toy.test)
    assert [(r.benchmark, r.composition) for r in results] == [
        ("text", ""), ("sketch", ""), ("photo", ""),
        ("sketch+text", "early"), ("sketch+text", "late"), ("sketch+text", "pseudo"),
        ("photo+text", "early"), ("photo+text", "late"), ("photo+text", "pseudo"),
    ]  # fmt: skip
    photo = next(r for r in results if r.benchmark == "photo")
    assert photo.ranks.queries == 16
    again = evaluate(model, toy.test["photo"])
    assert again.ranks.r1 == photo.ranks.r1
    assert similarity(model, toy.test["photo"]).shape == (16, 32)


def test_a_model_without_pseudo_words_answers_by_late_fusion(clip, words, toy):
    one = Model(InteractReID(clip, words, PRESETS["recommended"], 0).eval(), {}, "toy", device="cpu")
    assert ways(one, toy.test["sketch+text"]) == ["late"]
    assert one.composition() == "late"
    assert evaluate(one, toy.test["sketch+text"]).composition == "late"
