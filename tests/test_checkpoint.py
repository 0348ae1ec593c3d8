import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from descry.checkpoint import (
    load_any,
    load_method,
    load_training,
    read_config,
    save_model,
    save_training,
)
from descry.embed import load
from descry.errors import ModelMissing, ModelRefused
from descry.methods.interactreid import PRESETS, InteractReID
from descry.safe_files import write_whole


@pytest.fixture
def run(clip, words, tmp_path):
    method = InteractReID(clip, words, replace(PRESETS["released"], stage=2, mapping_hidden=12), 3).eval()
    print_ = save_model(tmp_path / "run", method, "interactreid", "released", {"note": "a test"})
    return tmp_path / "run", method, print_


def test_round_trip_gives_the_same_vectors(run):
    folder, method, fingerprint = run
    model = load(folder)
    picture = torch.rand(2, 3, 32, 16)
    with torch.no_grad():
        assert torch.equal(model.method.encode_image(picture), method.encode_image(picture))
        assert torch.equal(model.method.compose(picture, ["a red top"] * 2), method.compose(picture, ["a red top"] * 2))
    assert model.fingerprint == fingerprint
    assert model.note == "a test"
    assert model.method.config == method.config
    assert not model.pretrained


def test_half_precision_halves_the_file(run, tmp_path):
    folder, method, _ = run
    save_model(tmp_path / "half", method, "interactreid", "released", {}, half=True)
    sizes = [(f / "model.safetensors").stat().st_size for f in (tmp_path / "half", folder)]
    assert sizes[0] < 0.6 * sizes[1]
    assert load(tmp_path / "half").method.clip.logit_scale.dtype == torch.float32


def edit(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def rewrite(folder, change):
    """Other weights, with a fingerprint that fits them: what is then found is found by the strict loading."""
    from descry.checkpoint import fingerprint, search_fingerprint

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    raw = (folder / "model.safetensors").read_bytes()
    edit(folder, lambda c: c.update(fingerprint=fingerprint(c, raw)))
    edit(folder, lambda c: c.update(search_fingerprint=search_fingerprint(c, folder)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("mapping.fc_out.bias"), "missing: mapping.fc_out.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected: extra"),
        (lambda s: s.update({"mapping.fc_out.bias": torch.zeros(3)}), "shape of mapping.fc_out.bias"),
        (lambda s: s["mapping.fc_out.bias"].fill_(float("inf")), "not finite: mapping.fc_out.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(run, change, text):
    rewrite(run[0], change)
    with pytest.raises(ModelRefused, match=text):
        load_method(run[0])


def test_changed_bytes_and_changed_configs_are_noticed(run):
    folder = run[0]
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-3] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(ModelRefused, match="is not the file"):
        load_method(folder)
    raw[-3] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    load_method(folder)
    edit(folder, lambda c: c["config"].update(prompt="another *"))
    with pytest.raises(ModelRefused, match="is not the file"):
        load_method(folder)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.update(format=9), "format 9"),
        (lambda c: c["config"].update(colour="red"), "'colour'"),
        (lambda c: c["clip"].pop("image_size"), "does not fit"),
    ],
)
def test_configs_of_another_version_are_refused(run, change, text):
    edit(run[0], change)
    rewrite(run[0], lambda state: None)
    with pytest.raises(ModelRefused, match=text):
        load_method(run[0])


def test_what_is_missing_is_said(run, tmp_path):
    with pytest.raises(ModelMissing, match="not a run folder"):
        read_config(tmp_path / "nowhere")
    (run[0] / "model.safetensors").unlink()
    with pytest.raises(ModelMissing, match="first checkpoint"):
        load_method(run[0])
    (run[0] / "config.json").write_text("{")
    with pytest.raises(ModelRefused, match="damaged"):
        read_config(run[0])
    with pytest.raises(ModelMissing, match="nothing to resume"):
        load_training(tmp_path / "training.safetensors")
    with pytest.raises(ModelMissing, match="allow-download"):
        load_any("some-one/some-clip")


def test_training_state_round_trip(tmp_path):
    path = tmp_path / "training.safetensors"
    written = {"step": 7, "epoch": 1, "scores": [0.5], "bound": {"seed": 0}, "best": None}
    save_training(path, {"a": torch.arange(3)}, written)
    tensors, position = load_training(path)
    assert torch.equal(tensors["a"], torch.arange(3))
    assert position == written
    path.write_bytes(b"x")
    with pytest.raises(ModelRefused, match="safetensors"):
        load_training(path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    import os

    path = tmp_path / "a"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("power cut")))
    with pytest.raises(OSError, match="power cut"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_training_stopped_in_its_first_epoch_is_told_to_resume(tmp_path) -> None:
    from descry.checkpoint import load_any

    (tmp_path / "training.safetensors").write_bytes(b"state")
    with pytest.raises(ModelMissing, match=r"not finished an epoch.*--resume"):
        load_any(tmp_path)


def test_a_training_that_has_not_finished_says_so_beside_every_result(tmp_path) -> None:
    from conftest import write_run

    run = write_run(tmp_path / "run")
    (run / "training.safetensors").write_bytes(b"state")
    assert load(run, device="cpu").note == (
        "a toy, no evidence of anything; its training has not finished: go on with the same command and --resume"
    )
    (run / "metrics.json").write_text("{}")
    assert load(run, device="cpu").note == "a toy, no evidence of anything"
