import numpy as np
import pytest
from PIL import Image

from descry.embed import Model, choose_device
from descry.errors import ImageRejected, UsageError
from descry.evaluate import Embedded, evaluate, evaluate_all, scores_of, ways
from descry.methods.interactreid import PRESETS, InteractReID
from descry.query import Part, Query
from descry.search import terms_of


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


def test_queries_become_vectors_of_the_same_encoder(model, toy):
    probe = toy.test["sketch+text"].probes[3].query
    sketch, text = probe.sketches[0].value, probe.wanted[0].value
    s, t = model.embed_images([sketch])[0], model.embed_texts([text])[0]

    def vectors(query, how=None):
        return [term.vector for term in terms_of(model, [query], model.ranking.using(how))[0]]

    assert np.allclose(vectors(probe, "late"), [s, t], atol=1e-5)
    assert np.allclose(vectors(probe, "early"), model.compose([sketch], [text]), atol=1e-5)
    assert np.allclose(vectors(probe, "pseudo")[0], model.compose([sketch], [""])[0], atol=1e-5)
    assert np.allclose(vectors(Query(sketches=sketch)), [s], atol=1e-5)
    assert np.allclose(vectors(Query(wanted=text)), [t], atol=1e-5)
    two = Query(wanted=("a red top", Part("a hat", on=False), "blue trousers"))
    assert np.allclose(vectors(two), model.embed_texts(["a red top, blue trousers"]), atol=1e-5)
    mixed = terms_of(model, [Query(wanted=text), probe, Query(sketches=sketch)], model.ranking.using("late"))
    assert [len(terms) for terms in mixed] == [1, 2, 1]


@pytest.mark.parametrize(("preset", "same"), [("released", True), ("recommended", True), ("paper", False)])
def test_texts_are_read_as_captions_were_in_training_where_the_preset_says_so(clip, words, toy, preset, same):
    """The released InteractReID cleans captions for judging too."""
    from dataclasses import replace

    model = Model(InteractReID(clip, words, replace(PRESETS[preset], stage=2), 0).eval(), {}, "toy", device="cpu")
    loud, plain = "A red: top!", "a red top"
    assert np.array_equal(*model.embed_texts([loud, plain])) == same
    word = model.pseudo_words([toy.test["text"].photos[0].path])
    assert np.array_equal(*(model.compose_words(word, [t]) for t in (loud, plain))) == same


def test_what_cannot_be_asked(model):
    with pytest.raises(UsageError, match="empty"):
        terms_of(model, [Query()])
    with pytest.raises(UsageError, match="did you mean 'early'"):
        model.ranking.using("erly")
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
    photos = Embedded.of(model, toy.test["photo"])
    assert scores_of(model, toy.test["photo"].probes, photos).shape == (16, 32)


def test_a_model_without_pseudo_words_answers_by_late_fusion(clip, words, toy):
    one = Model(InteractReID(clip, words, PRESETS["recommended"], 0).eval(), {}, "toy", device="cpu")
    assert ways(one, toy.test["sketch+text"]) == ["late"]
    assert evaluate(one, toy.test["sketch+text"]).composition == "late"
