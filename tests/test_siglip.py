"""SigLIP and SigLIP 2: vectors of the transformers library, pseudo-words, every method that takes them, refusals."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from backbones import WORDS, write_backbone
from conftest import quick, write_toy
from descry.clip_files import load_clip
from descry.embed import load
from descry.errors import ModelRefused, UsageError
from descry.losses import sigmoid_pairs
from descry.methods import METHODS, Progress, method_class, preset
from descry.training.loop import Settings, train


@pytest.fixture(params=["siglip", "siglip2"])
def given(request, tmp_path):
    """A folder with random weights, and the library's own model."""
    folder = tmp_path / request.param
    return folder, write_backbone(folder, request.param), request.param


def library_images(model, kind, pixels):
    """What the library's own processor and model make of pixels (B, 3, 32, 32) in [0, 1]."""
    pixels = (pixels - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.5
    if kind == "siglip":
        return model.get_image_features(pixel_values=pixels).pooler_output
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    patches = torch.stack([torch.as_tensor(convert_image_to_patches(p.numpy(), 8)) for p in pixels])
    mask, shapes = torch.ones(len(pixels), 16, dtype=torch.long), torch.tensor([[4, 4]] * len(pixels))
    return model.get_image_features(
        pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes
    ).pooler_output


@torch.no_grad()
def test_vectors_are_the_librarys(given):
    folder, model, kind = given
    ours = load(folder, "cpu")
    pixels = torch.rand(3, 3, 32, 32)
    ids = ours.words.ids(["a red top", "a person", "white trousers and a red top"])
    assert (ids[:, 0] != WORDS.start).all()
    full = F.pad(ids, (0, 16 - ids.shape[1]))
    assert torch.allclose(ours.clip.image_features(pixels), library_images(model, kind, pixels), atol=1e-5)
    wanted = model.get_text_features(input_ids=full).pooler_output
    assert torch.allclose(ours.clip.text_features(ids), wanted, atol=1e-5)
    assert torch.allclose(ours.clip.text_tokens(ids)[torch.arange(3), ours.clip.text_end(ids)], wanted, atol=1e-5)
    assert torch.allclose(ours.clip.image_tokens(pixels)[:, 0], ours.clip.image_features(pixels), atol=1e-6)
    assert torch.equal(ours.clip.logit_bias, model.logit_bias)
    assert torch.allclose(ours.clip.temperature, torch.exp(-model.logit_scale.clamp(max=4.60517)))
    assert ours.clip.text_pads(ids)[1].tolist() == [False] * 3 + [True] * 13


def test_the_sigmoid_loss_is_the_librarys(given):
    folder, model, kind = given
    if kind == "siglip2":
        pytest.skip("the same code in the library")
    clip, words = load_clip(folder), load(folder, "cpu").words
    model.logit_scale.data.fill_(2.0)
    clip.logit_scale.data.fill_(2.0)
    pixels = torch.rand(3, 3, 32, 32)
    ids = words.ids(["a red top", "a person", "white trousers"])
    full = F.pad(ids, (0, 16 - ids.shape[1]))
    wanted = model(input_ids=full, pixel_values=clip.normalise(pixels), return_loss=True).loss
    v, t = clip.image_features(pixels), clip.text_features(ids)
    ours = sigmoid_pairs(t, v, torch.arange(3), clip.temperature, clip.logit_bias)
    assert float(ours.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    wanted.backward()
    ours.backward()
    for name, p in clip.model.named_parameters():
        if "position" not in name:
            assert torch.allclose(p.grad, dict(model.named_parameters())[name].grad, atol=1e-4), name
    config = replace(preset("baseline", "recommended"), loss="sigmoid", identity=False, mask_captions=False)
    method = method_class("baseline")(clip, words, config, 3)
    assert clip.logit_scale.requires_grad
    batch = {"image": pixels, "text": ids, "pid": torch.arange(3)}
    found = method.losses(batch, Progress(0, 0, 1, torch.Generator()))["sigmoid"]
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_the_sigmoid_loss_needs_a_siglip(clip, words):
    with pytest.raises(UsageError, match="loss=sigmoid needs a siglip"):
        method_class("baseline")(clip, words, replace(preset("baseline", "recommended"), loss="sigmoid"), 4)


@torch.no_grad()
def test_a_pseudo_word_takes_the_place_of_its_token(given):
    folder, model, _ = given
    clip, words = load_clip(folder), load(folder, "cpu").words
    ids = words.ids(["a photo of * , and a red top"])
    own = model.text_model.embeddings.token_embedding.weight[words.placeholder]
    assert torch.allclose(clip.text_features(ids, own[None]), clip.text_features(ids), atol=1e-6)
    assert not torch.allclose(clip.text_features(ids, torch.ones(1, 32)), clip.text_features(ids), atol=1e-3)


@pytest.mark.parametrize("name", [m for m in METHODS if "siglip" in method_class(m).backbones])
def test_every_method_that_takes_it_trains_and_is_saved(name, given, tmp_path):
    if name == "zero_shot":
        pytest.skip("nothing to train")
    folder, _, _ = given
    words, data = load(folder, "cpu").words, write_toy(tmp_path, 8)
    for stage in (1, 2) if name == "interactreid" else (1,):
        config = preset(name, "recommended")
        config = replace(config, stage=stage) if hasattr(config, "stage") else config
        method = method_class(name)(load_clip(folder, (32, 16)), words, quick(config, epochs=1, augment="none"), 8)
        before = {k: v.clone() for k, v in method.state_dict().items()}
        train(method, name, "recommended", data, tmp_path / f"{name}{stage}", Settings(device="cpu", threads=1))
        assert any(not torch.equal(v, before[k]) for k, v in method.state_dict().items())
        loaded = load(tmp_path / f"{name}{stage}", "cpu")
        assert loaded.clip.kind == "siglip"
        texts = ["a red top", "a person"]
        with torch.no_grad():
            wanted = method.eval().encode_text(words.ids(texts)).numpy()
        assert loaded.embed_texts(texts) == pytest.approx(wanted, abs=1e-5)


def test_what_it_cannot_do_is_said(given, words):
    clip = load_clip(given[0])
    with pytest.raises(UsageError, match="masked patches"):
        clip.image_tokens(torch.rand(1, 3, 32, 32), mask=torch.ones(1, 16, dtype=torch.bool))
    with pytest.raises(UsageError, match="composed=1"):
        method_class("interactreid")(clip, words, replace(preset("interactreid", "recommended"), composed=1.0), 4)
    with pytest.raises(UsageError, match="patches of 8"):
        load_clip(given[0], (30, 16))
    raw = json.loads((given[0] / "config.json").read_text())
    (given[0] / "config.json").write_text(json.dumps(raw | {"model_type": "blip"}))
    with pytest.raises(ModelRefused, match="'siglip2'"):
        load_clip(given[0])
