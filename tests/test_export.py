"""Every route to the image encoder gives float32's vectors up to rounding; exported files run elsewhere."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from descry import export
from descry.clip import random_clip
from descry.embed import Model
from descry.errors import DescryError, UsageError
from descry.methods import method_class, preset
from descry.text import Words

NEEDS = {"openvino": ("openvino",), "onnx": ("onnxruntime", "onnxscript"), "int8": ("onnxruntime", "onnxscript")}


def need(*packages: str) -> None:
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed (pip install -e '.[fast]')")


@pytest.fixture(scope="module")
def model():
    from conftest import toy_words

    words: Words = toy_words()
    clip = random_clip(vocabulary=len(words), end=words.end, placeholder=words.placeholder, seed=0)
    method = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0).eval()
    return Model(method, {"fingerprint": "f" * 64}, "tiny", device="cpu")


def pixels(model, count=5):
    return np.random.default_rng(1).integers(0, 256, (count, 3, *model.image_size), dtype=np.uint8)


@pytest.mark.parametrize("route", ["torch", "autocast", "bf16", "openvino", "onnx", "int8"])
def test_a_route_gives_the_vectors_of_float32(model, route):
    need(*NEEDS.get(route, ()))
    given = pixels(model)
    rows, expected = export.build(model, route)(given), model.embed_pixels(given)
    assert rows.shape == expected.shape
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    least = {"torch": 0.999999, "onnx": 0.99999, "int8": 0.95}.get(route, export.PARITY)
    assert (rows * expected).sum(axis=1).min() >= least
    assert export.build(model, route)(given[:2]).shape == (2, model.dimension)


@pytest.mark.long
def test_the_compiled_route(model):
    given = pixels(model, 4)
    try:
        encoder = export.build(model, "compiled")
    except DescryError:
        pytest.skip("no C++ compiler on this machine")
    assert (encoder(given) * model.embed_pixels(given)).sum(axis=1).min() >= export.PARITY


def test_the_original_model_is_not_touched(model):
    before = {k: v.clone() for k, v in model.method.state_dict().items()}
    export.build(model, "bf16")(pixels(model))
    for name, value in model.method.state_dict().items():
        assert value.dtype == before[name].dtype
        assert (value == before[name]).all()


def test_the_choice_is_measured_once_and_kept(model, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(export, "measure", lambda m: asked.append(m) or {"torch": 10.0, "bf16": 20.0})
    cache = tmp_path / "deep" / "encoders.json"
    try:
        assert export.choose_encoder(model, "auto", cache) == "bf16"
        assert model.encoder is not None
        assert export.choose_encoder(model, "auto", cache) == "bf16"
        assert len(asked) == 1
        cache.write_text("damaged")
        assert export.choose_encoder(model, "auto", cache) == "bf16"
        assert len(asked) == 2
    finally:
        model.encoder = None


def test_a_route_that_loses_parity_is_not_taken(model, monkeypatch):
    monkeypatch.setattr(export, "ENOUGH", float("inf"))
    monkeypatch.setattr(export, "PARITY", 0.99)
    monkeypatch.setattr(export, "available", lambda: ("bf16", "autocast"))
    honest = export.build
    wrong = lambda m, route: (lambda x: -honest(m, route)(x)) if route == "bf16" else honest(m, route)  # noqa: E731
    monkeypatch.setattr(export, "build", wrong)
    assert set(export.measure(model)) == {"torch", "autocast"}


def test_unknown_routes_and_formats_are_refused(model, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'openvino'"):
        export.choose_encoder(model, "openvin")
    with pytest.raises(UsageError, match="no format"):
        export.export(model, tmp_path / "x", "tflite")
    with pytest.raises(UsageError, match="not written in"):
        export.export(model, tmp_path / "x", "onnx", "fp16")
    (tmp_path / "y").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        export.export(model, tmp_path, "onnx")


@pytest.mark.parametrize(("kind", "precision"), [("onnx", "fp32"), ("openvino", "fp16"), ("onnx", "int8")])
def test_exported_files_describe_themselves_and_agree(model, tmp_path, kind, precision):
    need(*NEEDS[kind])
    about = export.export(model, tmp_path / "out", kind, precision)
    assert json.loads((tmp_path / "out" / "preprocessing.json").read_text()) == about
    assert about["least_cosine_to_fp32"]["text"] > 0.999
    assert about["least_cosine_to_fp32"]["image"] > (0.95 if precision == "int8" else 0.999)
    assert about["image"]["size"] == list(model.image_size)
    assert Words.load(tmp_path / "out").ids(["a red top"]).shape[1] > 2
    given = pixels(model, 3).astype(np.float32)
    rows = export.run_file(tmp_path / "out" / about["files"]["image"], kind, given)
    assert rows.shape == (3, model.dimension)
