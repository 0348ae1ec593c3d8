"""Cost: the parameters and multiply-adds of the papers' tables, and a report of a small model."""

import json
from dataclasses import replace

import pytest
import torch

from conftest import toy_clip
from descry import cost
from descry.checkpoint import save_model
from descry.clip import random_clip
from descry.embed import load
from descry.errors import UsageError
from descry.methods import METHODS, method_class, preset
from descry_lab.tracing import image_macs, prototype_macs, text_macs


@pytest.fixture(scope="module")
def vit_b():
    with torch.device("meta"):
        return random_clip((384, 128), 16, 512, 768, 12, 512, 12, 49408, 77)


@pytest.mark.parametrize(
    ("changes", "billions"),
    [
        ({"dpp": False, "ipp_intra": False, "ipp_inter": False}, 0.0113),
        ({"prototypes": False, "ipp_intra": False, "ipp_inter": False}, 5.4258),
        ({"prototypes": False, "dpp": False, "ipp_inter": False}, 2.7801),
        ({"prototypes": False, "dpp": False, "ipp_intra": False}, 2.7801),
        ({"prototypes": False, "dpp": False}, 5.5603),
    ],
)
def test_increments_of_propots_table_4(changes, billions):
    assert round(prototype_macs(11_003, 64, **changes) / 1e9, 4) == billions


def test_parameters_of_vit_b(vit_b):
    model = method_class("zero_shot")(vit_b, None, preset("zero_shot", "paper"), 0)
    every, moving = cost.parts(model)
    assert every["image encoder"] + every["text encoder"] == 149_617_664
    assert every["temperature"] == 1
    assert moving == every


def test_multiply_adds_of_a_layer_by_hand():
    layer = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.LayerNorm(4))
    assert cost.multiply_adds(lambda: layer(torch.zeros(3, 8)), [layer]) == 3 * 8 * 4 + 5 * 3 * 4


def test_a_real_pass_and_the_meta_device_count_the_same(words):
    clip = toy_clip(words)
    model = method_class("zero_shot")(clip, words, preset("zero_shot", "paper"), 0)
    batch = cost.example_batch(model, 1)
    assert cost.multiply_adds(lambda: model.encode_image(batch["image"]), [model]) == image_macs(clip)
    ours = cost.multiply_adds(lambda: model.encode_text(batch["text"]), [model])
    width, others, length = 32, 23, 24  # what the end of a text does not need of the other tokens' last layer
    queries, attention = others * width * width, 2 * others * length * width
    perceptron, projection, norms = others * 8 * width * width, others * width * width, 2 * 5 * others * width
    output = others * width * width
    assert text_macs(clip, 24) - ours == queries + attention + output + perceptron + projection + norms


@pytest.mark.parametrize("stage", [1, 2])
def test_a_step_of_interactreid_with_all_its_terms(words, stage):
    every = {"composed": 1.0, "replay": 1.0, "anchor": 1.0, "direct": 1.0}
    config = replace(preset("interactreid", "recommended"), stage=stage, mapping_hidden=16, **every)
    model = method_class("interactreid")(toy_clip(words), words, config, 4)
    milliseconds, peak = cost.training_step(model, 4)
    assert milliseconds > 0
    assert peak > 1e7


@pytest.mark.parametrize("name", [n for n in METHODS if method_class(n).trained])
def test_a_report_of_every_trained_method(words, tmp_path, name):
    config = replace(preset(name, "recommended"), **method_class(name).small)
    torch.manual_seed(0)
    save_model(tmp_path / "run", method_class(name)(toy_clip(words), words, config, 0), name, "recommended", {})
    found = cost.report(load(tmp_path / "run", "cpu"), identities=9, training=True, batch=4)
    all_kept = ("interactreid", "vit_bert", "rde", "pic2word", "word4per")  # these search with all that they train
    assert found.training or name in all_kept
    assert not set(found.training) & set(found.inference)
    assert found.step_ms > 0
    assert found.peak_bytes > 1e7
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["inference_total"] == sum(found.inference.values())
    total = plain["training_total" if found.training else "inference_total"]
    assert f"{total / 1e6:,.2f} M" in found.text()


def test_zero_shot_has_no_step(words, tmp_path):
    save_model(
        tmp_path / "run",
        method_class("zero_shot")(toy_clip(words), words, preset("zero_shot", "paper"), 0),
        "zero_shot",
        "paper",
        {},
    )
    model = load(tmp_path / "run", "cpu")
    assert cost.report(model).step_ms == 0
    with pytest.raises(UsageError, match="not trained"):
        cost.report(model, training=True)


def test_example_rows_are_valid_texts(words):
    model = method_class("zero_shot")(toy_clip(words), words, preset("zero_shot", "paper"), 0)
    ids = cost.example_batch(model, 6)["text"]
    assert (ids[:, 0] == words.start).all()
    assert (ids[:, -1] == words.end).all()
    assert not (ids == words.placeholder).any()
    assert ((ids == words.end).sum(dim=1) == 1).all()
