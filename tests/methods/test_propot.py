"""Propot: the parameters of its Table 4, its loss three ways, and prototypes of the batch against those of
everybody."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import quick
from descry.clip import random_clip
from descry.errors import DataError, UsageError
from descry.methods import Progress
from descry.methods.propot import PRESETS, ROWS, Propot, aggregate, p2i
from descry.methods.rivals import aggregation

PEOPLE = 7
AT = Progress(0, 0, 10, torch.Generator())
K = torch.arange(48, dtype=torch.float32).reshape(6, 8)
I, T = torch.sin(1 + K), torch.cos(0.5 + 1.3 * K)  # noqa: E741
PID = torch.tensor([0, 0, 1, 2, 2, 3])
P = F.normalize(torch.sin(0.3 + 0.9 * torch.arange(40.0)).reshape(5, 8), dim=1)


def make_batch(words, dtype=torch.float32):
    g = torch.Generator().manual_seed(3)
    texts = [
        "a red top and blue trousers",
        "a white top",
        "a green top and red trousers",
        "a blue top",
        "a person",
        "white trousers",
    ]
    ids = words.ids(texts)
    masked = ids.clone()
    masked[:, 2] = words.mask
    labels = torch.zeros_like(ids)
    labels[:, 2] = ids[:, 2]
    images = torch.rand(6, 3, 32, 16, generator=g, dtype=dtype)
    rows = {"image": images, "pid": torch.tensor([0, 0, 2, 3, 3, 5]), "image_id": torch.tensor([0, 1, 2, 3, 3, 4])}
    return rows | {"text": ids, "masked_text": masked, "token_labels": labels}


def everyone(words):
    """Batches in which each of the PEOPLE occurs."""
    batch = make_batch(words)
    return [batch, batch | {"pid": torch.tensor([1, 1, 4, 4, 6, 6]), "image_id": torch.arange(10, 16)}]


def make(clip, words, seed=0, **changes):
    torch.manual_seed(seed)
    model = Propot(clip, words, replace(PRESETS["recommended"], heads=4, **changes), PEOPLE)
    model.prepare(lambda: everyone(words))
    return model


def full_size(config):
    with torch.device("meta"):
        clip = random_clip((384, 128), 16, 512, 768, 12, 512, 12, 49408, 77)
        model = Propot(clip, None, config, 11003)
    return sum(p.numel() for name, p in model.named_parameters() if not name.endswith("logit_scale"))


@pytest.mark.parametrize(
    ("row", "millions"),
    list(zip(ROWS, [155.26, 155.26, 203.48, 158.41, 158.41, 158.41, 206.64, 245.91], strict=True)),
)
def test_parameters_of_table_4(row, millions):
    assert round(full_size(replace(PRESETS["recommended"], **ROWS[row])) / 1e6, 2) == millions


def test_untied_layers_have_more_parameters():
    config = replace(PRESETS["recommended"], **ROWS["+IPP"], tie_layers=False)
    assert full_size(config) == 155_262_203 + 3 * 3_152_384


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, 48.164536), ({"reduction": "sum"}, 192.658142), ({"log": False}, -0.125002)]
)
def test_p2i_reference(changes, expected):
    assert float(p2i(I, PID, P, torch.arange(5), 0.02, **changes)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("log", [True, False])
def test_p2i_slow_loop(log):
    total, present = 0.0, 0
    v = I.double() / I.double().norm(dim=1, keepdim=True)
    for identity in range(5):
        own = [j for j in range(6) if PID[j] == identity]
        if not own:
            continue
        e = np.exp(np.array([float(v[j] @ P[identity].double()) / 0.1 for j in range(6)]))
        terms = [e[j] / e.sum() for j in own]
        total -= sum(np.log(x) if log else x for x in terms) / len(own)
        present += 1
    assert float(p2i(I, PID, P, torch.arange(5), 0.1, log)) == pytest.approx(total / present, rel=1e-5)


def test_p2i_of_one_instance_and_identity_is_zero():
    assert float(p2i(I[:1], [4], P[4:], [4], 0.02)) == pytest.approx(0.0, abs=1e-7)


def test_p2i_symmetric_adds_the_classification_of_instances_among_present_prototypes():
    plain, both = (float(p2i(I, PID, P, torch.arange(5), 0.1, symmetric=s)) for s in (False, True))
    logits = F.normalize(I, dim=1) @ P[:4].T / 0.1
    assert both - plain == pytest.approx(float(F.cross_entropy(logits, PID)), rel=1e-5)


def test_aggregation_closed_form():
    initial, prompted = torch.eye(2), torch.stack([torch.eye(2), torch.zeros(2, 2)])
    weight = np.e / (np.e + 1)
    assert torch.allclose(aggregate(initial, prompted), torch.eye(2) * (1 + weight))


@pytest.mark.parametrize("rival", ["sum", "mean", "mlp", "learned"])
def test_rival_aggregations(rival, clip, words):
    model = make(clip, words, aggregation=rival)
    losses = model.losses(make_batch(words), AT)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.rival.parameters())
    initial, prompted = torch.ones(3, 8), torch.stack([torch.ones(3, 8), 2 * torch.ones(3, 8)])
    value = float(aggregation(rival, 8, 2)(initial, prompted).detach()[0, 0])
    assert {"sum": value == 4, "mean": value == pytest.approx(4 / 3), "learned": value == 2.5, "mlp": 2 < value < 3}[
        rival
    ]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_prototypes_of_the_batch_and_of_everybody_give_equal_loss_and_gradients(clip, words, reduction):
    found = []
    for scope in ("batch", "all"):
        torch.manual_seed(1)
        clip_copy = random_clip(vocabulary=len(words), end=words.end, placeholder=words.placeholder).double()
        model = make(clip_copy, words, prototype_scope=scope, start_silent=False, reduction=reduction).double()
        model.initial = model.initial.double()
        losses = model.losses(make_batch(words, torch.float64), AT)
        sum(losses.values()).backward()
        found.append((losses["p2i"].item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (a, grads_a), (b, grads_b) = found
    assert a == pytest.approx(b, abs=1e-10)
    assert grads_a.keys() == grads_b.keys()
    assert "dpp.prompts" in grads_a
    for name, grad in grads_a.items():
        assert torch.allclose(grad, grads_b[name], rtol=0, atol=1e-10), name
    absent = torch.tensor([1, 4, 6])
    assert not grads_a["dpp.prompts"][:, absent].any()


def test_initial_prototypes_are_unit_means_that_count_each_photograph_once(clip, words):
    model = make(clip, words)
    with torch.no_grad():
        batches = everyone(words)
        v = F.normalize(clip.image_features(batches[0]["image"]), dim=1)
        t = F.normalize(clip.text_features(batches[0]["text"]), dim=1)
    assert torch.allclose(model.initial[0, 0], F.normalize(v[:2].mean(dim=0), dim=0), atol=1e-6)
    assert torch.allclose(model.initial[0, 3], v[3], atol=1e-6)  # rows 3 and 4 are one photograph with two captions
    assert torch.allclose(model.initial[1, 3], F.normalize(t[3:5].mean(dim=0), dim=0), atol=1e-6)


def test_sums_as_printed(clip, words):
    model = make(clip, words, features="sum")
    with torch.no_grad():
        t = clip.text_features(everyone(words)[0]["text"])
    assert torch.allclose(model.initial[1, 3], t[3:5].sum(dim=0), atol=1e-5)


def test_prepare_names_identities_without_rows(clip, words):
    model = Propot(clip, words, replace(PRESETS["recommended"], heads=4), PEOPLE + 2)
    with pytest.raises(DataError, match=r"2 identities .*\[7, 8\]"):
        model.prepare(lambda: everyone(words))


def test_losses_before_prepare_say_what_is_missing(clip, words):
    model = Propot(clip, words, replace(PRESETS["recommended"], heads=4), PEOPLE)
    with pytest.raises(UsageError, match="prepare"):
        model.losses(make_batch(words), AT)


def test_a_silent_start_supervises_with_the_initial_prototypes(clip, words):
    model = make(clip, words)
    pids = torch.tensor([0, 3])
    v = torch.randn(4, clip.dim, generator=torch.Generator().manual_seed(0))
    p, _ = model.prototypes(pids, v, v)
    assert torch.allclose(p, 2 * model.initial[0, pids], atol=1e-6)  # pt + Σ w p_k with p_k = pt


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_switches(row, clip, words):
    model = make(clip, words, **ROWS[row])
    losses = model.losses(make_batch(words), AT)
    assert ("p2i" in losses) == ROWS[row]["prototypes"]
    assert ("mlm" in losses) == ROWS[row]["mlm"]
    sum(losses.values()).backward()
    assert hasattr(model, "dpp") == ROWS[row]["dpp"]


def test_weights_scale_their_terms(clip, words):
    light, heavy = (make(clip, words, p2i_weight=w).losses(make_batch(words), AT)["p2i"].item() for w in (0.2, 2.0))
    assert heavy == pytest.approx(10 * light, rel=1e-5)


def test_detached_instances_get_no_gradient_through_the_prototypes(clip, words):
    model = make(clip, words, detach_instances=True, start_silent=False)
    v = torch.randn(4, clip.dim, requires_grad=True)
    p, t = model.prototypes(torch.tensor([0, 3]), v, v)
    (p + t).sum().backward()
    assert v.grad is None


def test_masked_captions_are_read_when_the_config_says_so(clip, words):
    batch = make_batch(words)
    a, b = (make(clip, words, mask_captions=m).eval().losses(batch, AT)["sdm"].item() for m in (True, False))
    same = make(clip, words, mask_captions=True).eval().losses(batch | {"masked_text": batch["text"]}, AT)["sdm"].item()
    assert a != pytest.approx(b)
    assert same == pytest.approx(b, rel=1e-5)


def test_parameter_groups(clip, words):
    groups = {g["lr_scale"]: g for g in make(clip, words).param_groups()}
    assert set(groups) == {1.0, 10.0}
    held = sum(len(g["params"]) for g in groups.values())
    model = make(clip, words)
    assert held == sum(p.requires_grad for p in model.parameters())
    assert not clip.logit_scale.requires_grad
    model = make(clip, words, bias_rule=True)
    names = {id(p): n for n, p in model.named_parameters()}
    rate = {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in model.param_groups() for p in g["params"]}
    for part in ("id_head.classifier", "word_head.dense", "word_head.norm", "word_head.words"):
        assert rate[f"{part}.bias"] == (10.0, 0.0)  # IRRA's rule for its heads comes after that for biases
    assert rate["word_head.cross.attention.in_proj.bias"] == rate["dpp.sae.0.fc.bias"] == (2.0, 0.0)
    assert rate["clip.model.text_model.final_layer_norm.bias"] == (2.0, 0.0)


def test_inference_needs_no_training_parts(clip, words):
    full, bare = make(clip, words), Propot(clip, words, PRESETS["recommended"])
    assert {k for k in full.state_dict() if k.startswith(full.inference_keys)} == set(bare.state_dict())
    with pytest.raises(UsageError, match="inference"):
        bare.losses(make_batch(words), AT)


def test_unknown_choice_names_the_nearest(clip, words):
    with pytest.raises(UsageError, match="did you mean 'batch'"):
        Propot(clip, words, replace(PRESETS["recommended"], prototype_scope="bach"), 3)


def test_it_learns_the_toy(toy, words, tmp_path):
    from descry.training.loop import Settings, train

    torch.manual_seed(0)
    clip = random_clip(vocabulary=len(words), end=words.end, placeholder=words.placeholder)
    config = quick(
        replace(PRESETS["recommended"], heads=4, new_rate=2.0), epochs=12, batch_size=16, eps=1e-8, augment="none"
    )
    model = Propot(clip, words, config, toy.identities)
    metrics = train(model, "propot", "recommended", toy, tmp_path / "run", Settings(threads=1))
    assert max(metrics["selection_scores"]) > 3 * 100 / 16  # chance is one of sixteen people


def test_the_trainer_prepares_with_every_row_as_it_is(toy, words, clip):
    """Whole, plain batches: the prototypes do not depend on the augmentation or on a dropped last batch."""
    from descry.training.batches import Batches

    config = quick(replace(PRESETS["recommended"], heads=4), batch_size=6)
    made = []
    for augment, world in (("none", 1), ("flip-crop-erase", 1), ("none", 2)):
        recipe = replace(config.recipe, augment=augment, drop_last=True)
        model = Propot(clip, words, config, toy.identities)
        parts = [
            Batches(toy.train, words, clip.image_size, recipe, model.needs, 0, rank, world, 1) for rank in range(world)
        ]
        assert all(list(part.share()) for part in parts)  # each process has its share
        model.prepare(lambda parts=parts: (batch for part in parts for batch in part.share()))
        made.append(model.initial)
    assert torch.equal(made[0], made[1])
    assert torch.allclose(made[0], made[2], atol=1e-6)
    assert torch.allclose(made[0].norm(dim=-1), torch.ones(2, toy.identities), atol=1e-5)
