"""Every method takes one step on every kind of encoder that it says it takes, with and without LoRA, and refuses the
others by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backbones import KINDS, words_of, write_backbone
from conftest import quick, write_toy
from descry.adapters import attach, merged_state
from descry.checkpoint import load_method, save_model
from descry.clip import respecified
from descry.clip_files import load_clip
from descry.errors import UsageError
from descry.methods import METHODS, Progress, check_backbone, method_class, preset
from descry.training.batches import Batches
from descry.training.optimisers import optimiser_of

PEOPLE = 8
CASES = [(name, kind) for name in METHODS for kind in KINDS]
TAKEN = [(n, k) for n, k in CASES if k.rstrip("2") in method_class(n).backbones and method_class(n).trained]
FROZEN = ("pic2word", "word4per")
"""Methods that leave their encoders as they are."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One checkpoint of each kind, with weights small enough to train from."""
    root = tmp_path_factory.mktemp("backbones")
    for kind in KINDS:
        write_backbone(root / kind, kind, std=0.05)
    return root


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("people"), PEOPLE)


def made(name, folder, **recipe):
    """A method on the encoders of a folder, as `descry train` makes it."""
    clip = respecified(load_clip(folder), image_size=(32, 16))
    words = words_of(folder, clip.length)
    clip = respecified(clip, end=words.end, placeholder=words.placeholder)
    config = replace(preset(name, "recommended"), **dict(method_class(name).small))
    torch.manual_seed(0)
    return method_class(name)(clip, words, quick(config, batch_size=8, augment="none", **recipe), PEOPLE)


def one_step(method, data):
    """One step of a method by its own optimiser; what its losses were."""
    recipe = method.config.recipe
    batches = Batches(data.train, method.words, (32, 16), recipe, method.needs, 0, threads=1)
    optimiser = optimiser_of(method, recipe)
    method.prepare(batches.share)
    method.train()
    method.begin_epoch(0, batches)
    losses = method.losses(next(iter(batches.epoch(0))), Progress(0, 0, 2, torch.Generator().manual_seed(0)))
    torch.stack(list(losses.values())).sum().backward()
    for group in optimiser.param_groups:
        group["lr"] = 1e-2 * group["lr_scale"]
    optimiser.step()
    return losses


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_a_method_takes_a_step_on_every_backbone_it_accepts(name, kind, folders, people):
    method = made(name, folders / kind)
    check_backbone(name, method.clip)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    losses = one_step(method, people)
    assert all(torch.isfinite(x) for x in losses.values())
    after = method.state_dict()
    assert any(not torch.equal(after[k], v) for k, v in before.items())
    assert all(torch.isfinite(v).all() for v in after.values() if v.is_floating_point())


@pytest.mark.parametrize(("name", "kind"), [c for c in CASES if c[1].rstrip("2") not in method_class(c[0]).backbones])
def test_other_backbones_are_refused_by_name(name, kind, folders):
    taken = " or ".join(method_class(name).backbones)
    with pytest.raises(UsageError, match=f"{name} takes {taken} and was given siglip; methods for siglip: .*baseline"):
        check_backbone(name, load_clip(folders / kind))


@pytest.mark.parametrize(("name", "kind"), [c for c in TAKEN if c[0] not in ("vit_bert", *FROZEN)])
def test_lora_trains_a_change_of_low_rank_and_is_saved_merged(name, kind, folders, people, tmp_path):
    method = made(name, folders / kind, adapter="lora", adapter_rank=2, adapter_targets=("q_proj", "fc1"))
    plain = {k: v.clone() for k, v in method.state_dict().items()}
    attach(method, name, 0)
    assert merged_state(method).keys() == plain.keys()
    assert all(torch.equal(v, plain[k]) for k, v in merged_state(method).items()), "B begins as zero"
    one_step(method, people)
    merged, changed = merged_state(method), set()
    for key, value in merged.items():
        if key.startswith("clip.") and not torch.equal(value, plain[key]):
            changed.add(key.split(".")[-2])
            if value.ndim == 2:
                assert torch.linalg.matrix_rank(value - plain[key], rtol=1e-3) <= 2
    assert changed - {"model"} == {"q_proj", "fc1"}  # a learnt temperature is clip.model.logit_scale
    save_model(tmp_path / "run", method, name, "recommended", {})
    loaded, _ = load_method(tmp_path / "run")
    pixels = torch.rand(2, 3, 32, 16)
    with torch.no_grad():
        assert torch.allclose(loaded.encode_image(pixels), method.eval().encode_image(pixels), atol=1e-5)
        ids = method.words.ids(["a red top", "green trousers"])
        assert torch.allclose(loaded.encode_text(ids), method.encode_text(ids), atol=1e-5)


def test_a_method_without_an_encoder_to_adapt_is_refused_by_name(folders):
    method = made("vit_bert", folders / "clip", adapter="lora")
    with pytest.raises(UsageError, match="adapter=lora adapts a CLIP, and vit_bert trains other encoders"):
        attach(method, "vit_bert", 0)
    for name in FROZEN:
        with pytest.raises(UsageError, match=f"{name} with these settings trains none of q_proj"):
            attach(made(name, folders / "clip", adapter="lora"), name, 0)
    method = made("baseline", folders / "siglip", adapter="lora", adapter_targets=("qkv",))
    with pytest.raises(UsageError, match=r"adapter_targets=qkv was given; allowed: .*q_proj"):
        attach(method, "baseline", 0)


def test_adapters_stay_out_of_an_encoder_that_a_method_freezes(folders):
    clip = respecified(load_clip(folders / "clip"), image_size=(32, 16))
    words = words_of(folders / "clip", clip.length)
    clip = respecified(clip, end=words.end, placeholder=words.placeholder)
    config = replace(preset("interactreid", "recommended"), **dict(method_class("interactreid").small)).with_stage(2)
    method = method_class("interactreid")(clip, words, quick(config, adapter="lora"), PEOPLE)
    attach(method, "interactreid", 0)
    adapted = [n for n, p in method.named_parameters() if "lora_" in n]
    assert adapted
    assert all(n.startswith("clip.model.vision_model.") for n in adapted), "stage 2 keeps the text encoder"
