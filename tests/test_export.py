"""Every route to the image encoder gives float32's vectors up to rounding; exported files run elsewhere."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest
import torch

from descry import encoders, export
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


@pytest.fixture(scope="module", autouse=True)
def written_once(tmp_path_factory):
    """PyTorch's exporter takes seconds a module: each module is exported once and copied from then on."""
    real, kept = export.write_onnx, tmp_path_factory.mktemp("onnx")

    def write(module, sample, path):
        weights = hashlib.sha256(b"".join(x.detach().numpy().tobytes() for x in module.state_dict().values()))
        name = kept / f"{type(module).__name__}-{'x'.join(map(str, np.shape(sample)[1:]))}-{weights.hexdigest()}.onnx"
        if not name.exists():
            real(module, sample, name)
        shutil.copyfile(name, path)
        return path

    with pytest.MonkeyPatch.context() as patch:
        for place in (export, encoders):
            if hasattr(place, "write_onnx"):
                patch.setattr(place, "write_onnx", write)
        yield


def pixels(model, count=5):
    return np.random.default_rng(1).integers(0, 256, (count, 3, *model.image_size), dtype=np.uint8)


@pytest.mark.parametrize("route", ["torch", "autocast", "bf16", "openvino", "onnx", "int8"])
def test_a_route_gives_the_vectors_of_float32(model, route):
    need(*NEEDS.get(route, ()))
    given = pixels(model)
    rows, expected = encoders.build(model, route)(given), model.embed_pixels(given)
    assert rows.shape == expected.shape
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    least = {"torch": 0.999999, "onnx": 0.99999, "int8": 0.95}.get(route, export.PARITY)
    assert (rows * expected).sum(axis=1).min() >= least
    assert encoders.build(model, route)(given[:2]).shape == (2, model.dimension)


def test_openvino_reports_to_nobody():
    """It would send each import and conversion to its makers."""
    need("openvino")
    export.openvino()
    assert sys.modules["openvino.tools.ovc.telemetry_utils"].tm.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.long
def test_the_compiled_route(model):
    given = pixels(model, 40)
    try:
        encoder = encoders.build(model, "compiled")
    except DescryError:
        pytest.skip("no C++ compiler on this machine")
    assert (encoder(given) * model.embed_pixels(given)).sum(axis=1).min() >= export.PARITY
    assert (encoder(given[:3]) * model.embed_pixels(given[:3])).sum(axis=1).min() >= export.PARITY


def test_batches_for_a_compiled_encoder_are_filled_up(model):
    seen = []
    fast = encoders.plain(model)
    encoder = encoders._filled(lambda x: seen.append(len(x)) or fast(x), 4)
    given = pixels(model, 9)
    np.testing.assert_allclose(encoder(given), fast(given), atol=1e-5)
    assert seen == [4, 4, 4]


def test_without_a_compiler_the_compiled_route_says_what_to_do(model, monkeypatch):
    monkeypatch.setattr(encoders.shutil, "which", lambda name: None)
    with pytest.raises(DescryError, match="--encoder bf16"):
        encoders.build(model, "compiled")


def test_a_compiler_that_does_not_work_is_no_end(model, monkeypatch):
    def broken(module, dynamic):
        raise RuntimeError("Python.h is missing\nand more")

    monkeypatch.setattr(encoders, "compiler", lambda: "g++")
    monkeypatch.setattr(encoders.torch, "compile", lambda module, dynamic: lambda x: broken(module, dynamic))
    with pytest.raises(DescryError, match=r"\(Python.h is missing\); use --encoder bf16"):
        encoders.build(model, "compiled")


def test_the_original_model_is_not_touched(model):
    before = {k: v.clone() for k, v in model.method.state_dict().items()}
    encoders.build(model, "bf16")(pixels(model))
    for name, value in model.method.state_dict().items():
        assert value.dtype == before[name].dtype
        assert (value == before[name]).all()


def test_the_choice_follows_from_processor_packages_and_work(monkeypatch):
    little, much, very_much = encoders.WORTH / 2, encoders.WORTH * 2, encoders.PATIENCE * 2
    for bfloat16, openvino, gcc, work, expected in (
        (True, True, "g++", little, ()),
        (True, True, "g++", very_much, ("openvino", "bf16")),
        (True, False, "g++", much, ("bf16",)),
        (True, False, "g++", very_much, ("compiled", "bf16")),
        (True, False, "", very_much, ("bf16",)),
        (False, True, "g++", much, ("openvino",)),
        (False, False, "g++", very_much, ()),
    ):
        monkeypatch.setattr(encoders, "has_bfloat16", lambda answer=bfloat16: answer)
        monkeypatch.setattr(encoders, "compiler", lambda answer=gcc: answer)
        monkeypatch.setattr(encoders.importlib.util, "find_spec", lambda name, answer=openvino: answer or None)
        assert encoders.preferred(work) == expected


def test_no_clock_is_read_for_the_choice(model, monkeypatch):
    def clock():
        raise AssertionError("the choice of a route was timed")

    for name in ("perf_counter", "monotonic", "process_time", "time"):
        monkeypatch.setattr(encoders.time, name, clock)
    monkeypatch.setattr(encoders, "preferred", lambda work: ("bf16",))
    try:
        assert [encoders.choose_encoder(model) for _ in range(2)] == ["bf16", "bf16"]
        assert model.encoder is not None
        assert encoders.choose_encoder(model, "torch") == "torch"
        assert model.encoder is None
    finally:
        model.encoder = None


def test_little_work_is_not_worth_another_route(model):
    assert encoders.choose_encoder(model, pictures=3) == "torch"
    assert model.encoder is None
    assert encoders.multiplications(model) > 1000


def test_a_chosen_route_that_fails_or_loses_parity_is_passed_over(model, monkeypatch):
    def odd(m, route):
        if route == "openvino":
            raise DescryError("does not work here")
        return lambda x: -encoders.plain(m)(x)

    monkeypatch.setattr(encoders, "preferred", lambda work: ("openvino", "bf16"))
    monkeypatch.setattr(encoders, "build", odd)
    assert encoders.choose_encoder(model) == "torch"
    assert model.encoder is None


def test_a_route_that_loses_parity_is_not_taken(model, monkeypatch):
    monkeypatch.setattr(encoders, "ENOUGH", float("inf"))
    monkeypatch.setattr(encoders, "PARITY", 0.99)
    monkeypatch.setattr(encoders, "available", lambda: ("bf16", "autocast"))
    honest = encoders.build
    wrong = lambda m, route: (lambda x: -honest(m, route)(x)) if route == "bf16" else honest(m, route)  # noqa: E731
    monkeypatch.setattr(encoders, "build", wrong)
    assert set(encoders.measure(model)) == {"torch", "autocast"}


def test_unknown_routes_and_formats_are_refused(model, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'openvino'"):
        encoders.choose_encoder(model, "openvin")
    with pytest.raises(UsageError, match="no format"):
        export.export(model, tmp_path / "x", "tflite")
    with pytest.raises(UsageError, match="not written in"):
        export.export(model, tmp_path / "x", "onnx", "fp16")
    (tmp_path / "y").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        export.export(model, tmp_path, "onnx")


@pytest.fixture(scope="module")
def apart(model):
    """A model that reads sketches by an encoder of their own."""
    other = copy.deepcopy(model.method)
    with torch.no_grad():
        for _, weight in other.clip.image_parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    return Model(model.method, dict(model.config), "tiny", device="cpu", sketch_method=other)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        ("onnx", "fp32"),
        ("openvino", "fp16"),
        pytest.param("openvino", "fp32", marks=pytest.mark.long),
        ("onnx", "int8"),
    ],
)
def test_exported_files_describe_themselves_and_agree(model, apart, tmp_path, kind, precision):
    """What reads sketches apart is exported too; in 8 bits a model that has no such encoder."""
    need(*NEEDS[kind])
    given = apart if precision != "int8" else model
    about = export.export(given, tmp_path / "out", kind, precision)
    assert json.loads((tmp_path / "out" / "preprocessing.json").read_text()) == about
    names = {"image", "text", "sketch"} if given is apart else {"image", "text"}
    assert set(about["files"]) == set(about["least_cosine_to_fp32"]) == names
    least = {name: 0.95 if precision == "int8" and name == "image" else 0.999 for name in names}
    assert all(about["least_cosine_to_fp32"][name] > least[name] for name in names)
    assert about["image"]["size"] == list(model.image_size)
    assert Words.load(tmp_path / "out").ids(["a red top"]).shape[1] > 2
    crops = pixels(model, 3).astype(np.float32)
    rows = {n: export.run_file(tmp_path / "out" / about["files"][n], kind, crops) for n in names - {"text"}}
    assert rows["image"].shape == (3, model.dimension)
    if given is apart:
        assert about["files"]["sketch"] in about["sketch"]
        assert "fit each drawing to its ink first" in about["sketch"]
        with torch.inference_mode():
            wanted = apart.sketch_method.encode_image(torch.from_numpy(crops) / 255).numpy()
        np.testing.assert_allclose(rows["sketch"], wanted, atol=1e-3 if precision == "fp32" else 5e-3)
        assert not np.allclose(rows["sketch"], model.embed_pixels(crops.astype(np.uint8)), atol=1e-2)
