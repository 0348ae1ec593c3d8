from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from descry.checkpoint import SKETCHES, read_config, save_model, write_config, write_sketches
from descry.cli import main
from descry.embed import Model, choose_device, load
from descry.errors import ImageRejected, ModelRefused, UsageError
from descry.evaluate import Embedded, evaluate, evaluate_all, scores_of, ways
from descry.methods.interactreid import PRESETS, InteractReID
from descry.query import Part, Query
from descry.search import terms_of


@pytest.fixture
def model(clip, words):
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


@pytest.fixture
def apart(clip, words, tmp_path):
    """A run folder that reads sketches apart, and the method whose image encoder does."""
    method = InteractReID(clip, words, replace(PRESETS["recommended"], stage=2), 0).eval()
    save_model(tmp_path / "run", method, "interactreid", "recommended", {})
    reader, draw = deepcopy(method), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, weight in reader.clip.image_parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=draw)
    before = read_config(tmp_path / "run")
    write_sketches(tmp_path / "run", method, reader, 1000)
    after = read_config(tmp_path / "run")
    assert before["fingerprint"] == after["fingerprint"]
    assert before["search_fingerprint"] != after["search_fingerprint"]
    return tmp_path / "run", reader


def test_a_sketch_and_a_photograph_of_the_same_pixels_are_read_apart(apart, model, toy, tmp_path):
    """Alone and beside words, fitted and as drawn, in one batch; and so does the packed model."""
    folder, reader = apart
    assert main(["model", "pack", str(folder), "--out", str(tmp_path / "packed")]) == 0
    picture = str(toy.test["text"].photos[0].path)
    for name in (folder, tmp_path / "packed"):
        read = load(name, device="cpu")
        sketch, photo = read.embed_sketches([picture]), read.embed_images([picture])
        assert np.allclose(photo, model.embed_images([picture]), atol=1e-6)
        assert np.allclose(sketch, Model(reader, {}, "", device="cpu").embed_images([picture]), atol=2e-3)
        assert not np.allclose(sketch, photo, atol=2e-2)
    fitted = read.fit_sketch(picture).picture
    asked = [Query(sketches=picture, as_drawn=True), Query(photos=picture), Query(sketches=picture)]
    rows = [terms[0].vector for terms in terms_of(read, asked)]
    assert np.allclose(rows, np.concatenate([sketch, photo, read.embed_sketches([fitted])]), atol=1e-5)
    asked = [Query(sketches=picture, wanted="a hat", as_drawn=True), Query(photos=picture, wanted="a hat")]
    rows = [terms[0].vector for terms in terms_of(read, asked, read.ranking.using("early"))]
    word = [read.pseudo_words([picture], sketches=drawn) for drawn in (True, False)]
    assert np.allclose(rows, np.concatenate([read.compose_words(w, ["a hat"]) for w in word]), atol=1e-5)
    assert not np.allclose(*word, atol=1e-4)


def test_a_model_saved_over_another_does_not_inherit_what_reads_its_sketches(apart, model):
    folder, _ = apart
    save_model(folder, model.method, "interactreid", "recommended", {})
    read = load(folder, device="cpu")
    assert not (folder / SKETCHES).exists()
    assert read.sketch_method is read.method


def test_a_model_packed_onto_itself_still_reads_sketches_apart(apart, model, toy):
    folder, _ = apart
    picture = [str(toy.test["text"].photos[0].path)]
    before = load(folder, device="cpu").embed_sketches(picture)
    assert main(["model", "pack", str(folder), "--out", str(folder), "--note", "packed"]) == 0
    assert np.allclose(load(folder, device="cpu").embed_sketches(picture), before, atol=1e-6)


def test_what_reads_sketches_shares_all_weights_but_those_of_its_image_encoder(apart):
    read = load(apart[0], device="cpu")
    own = {name for name, _ in read.method.clip.image_parameters()}
    pairs = list(zip(read.method.clip.named_parameters(), read.sketch_method.clip.parameters(), strict=True))
    assert {name for (name, weight), other in pairs if weight is not other} == own
    assert read.method.words is read.sketch_method.words


def test_the_search_fingerprint_is_made_once_for_each_model_that_is_loaded(apart, monkeypatch):
    from descry import checkpoint

    made, real = [], checkpoint.search_fingerprint
    monkeypatch.setattr(checkpoint, "search_fingerprint", lambda *given: made.append(real(*given)) or made[-1])
    assert [load(apart[0], device="cpu").search_fingerprint] == made


def test_lists_of_sketches_are_read_like_lists_of_photographs(apart, toy):
    read, picture = load(apart[0], device="cpu"), str(toy.test["text"].photos[0].path)
    assert read.embed_sketches([]).shape == (0, read.dimension)
    assert read.pseudo_words([], sketches=True).shape == (0, read.clip.text_width)
    assert read.compose([], [], sketches=True).shape == (0, read.dimension)
    for one in (picture, Image.new("RGB", (9, 9)), b"bytes"):
        for asked in (read.embed_images, read.embed_sketches, read.pseudo_words):
            with pytest.raises(UsageError, match=r"one picture was given .* put it in a list"):
                asked(one)
    words = read.pseudo_words([picture], sketches=True)
    assert np.allclose(read.compose([picture], ["a hat"], sketches=True), read.compose_words(words, ["a hat"]))
    assert not np.allclose(read.compose([picture], ["a hat"]), read.compose_words(words, ["a hat"]), atol=1e-4)


def test_what_a_model_costs_counts_the_encoder_of_sketches(apart, capsys):
    assert main(["model", "info", str(apart[0])]) in (0, None)
    said = capsys.readouterr().out
    counts = {line.split("  ")[1].strip(): line.split()[-1] for line in said.splitlines() if line.startswith("  ")}
    assert counts["image encoder of sketches"] == counts["image encoder"]


def test_training_from_a_model_that_reads_sketches_apart_says_what_is_left_out(apart, toy, tmp_path, capsys):
    from descry.training.start import start

    folder, _ = apart
    method, _ = start(
        "interactreid",
        "recommended",
        1,
        str(folder),
        toy,
        tmp_path / "new",
        None,
        False,
        False,
        0,
        lambda config: config,
    )
    assert "reads sketches with an image encoder of their own" in capsys.readouterr().err
    save_model(tmp_path / "new", method, "interactreid", "recommended", {})
    assert not (tmp_path / "new" / SKETCHES).exists()


def test_a_difference_of_low_rank_is_the_nearest(clip, words, tmp_path):
    method = InteractReID(clip, words, replace(PRESETS["recommended"], stage=2), 0).eval()
    save_model(tmp_path, method, "interactreid", "recommended", {})
    reader = deepcopy(method)
    weight = reader.clip.model.visual_projection.weight
    with torch.no_grad():
        weight += torch.outer(torch.arange(len(weight)) * 0.1, torch.ones(weight.shape[1]))
    write_sketches(tmp_path, method, reader, 1)
    read = load(tmp_path, device="cpu").sketch_method.clip
    for (name, wanted), (_, got) in zip(reader.clip.image_parameters(), read.image_parameters(), strict=True):
        assert torch.allclose(wanted, got, atol=5e-3), name
    sizes = {name: part.shape for name, part in load_file(tmp_path / SKETCHES).items()}
    assert sizes["model.visual_projection.weight.left"] == (len(weight), 1)


@pytest.mark.parametrize("harm", ["another file", "no number", "a side too long", "a weight too few", "one too many"])
def test_a_file_for_sketches_that_does_not_fit_is_refused(apart, harm):
    folder, _ = apart
    parts = load_file(folder / SKETCHES)
    name = "model.visual_projection.weight"
    if harm == "no number":
        parts[name][0, 0] = float("nan")
    elif harm == "a side too long":
        whole = parts.pop(name)
        parts |= {f"{name}.left": torch.zeros(len(whole), 500), f"{name}.right": torch.zeros(500, whole.shape[1])}
    elif harm == "a weight too few":
        del parts[name]
    elif harm == "one too many":
        parts["clip.other"] = torch.zeros(2)
    else:
        parts[name] += 1
    save_file(parts, folder / SKETCHES)
    if harm == "another file":
        with pytest.raises(ModelRefused, match="not what was written"):
            load(folder, device="cpu")
        return
    write_config(folder, read_config(folder))
    with pytest.raises(ModelRefused, match="does not fit this model"):
        load(folder, device="cpu")


@pytest.mark.parametrize(("preset", "same"), [("released", True), ("recommended", True), ("paper", False)])
def test_texts_are_read_as_captions_were_in_training_where_the_preset_says_so(clip, words, toy, preset, same):
    """The released InteractReID cleans captions for judging too."""
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
