"""Muon for the matrices inside the layers, AdamW for the rest, as one optimiser."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from conftest import toy_clip, toy_words
from descry.clip import random_clip
from descry.errors import UsageError
from descry.methods import METHODS, Recipe, decay_groups, method_class, preset
from descry.methods.zero_shot import ZeroShot
from descry.training.optimisers import MuonAdamW, inner_matrices, optimiser_of

BETAS, EPS = (0.9, 0.999), 1e-8


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(6, 4), nn.Linear(4, 4)]), "head": nn.Linear(4, 2)})


def _names(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(f"body.{name}", parameter) for name, parameter in module.named_parameters()]


def _optimiser(module: nn.Module, rate: float = 20.0) -> MuonAdamW:
    named = _names(module)
    return MuonAdamW(decay_groups(named, 0.1), inner_matrices(named), 1e-2, rate, BETAS, EPS, 0.1)


def _gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_only_matrices_inside_layers_are_muons():
    clip = random_clip()
    named = list(clip.named_parameters())
    inner = inner_matrices(named)
    chosen = {name for name, parameter in named if id(parameter) in inner}
    assert any("vision_model" in name for name in chosen)
    assert any("text_model" in name for name in chosen)
    outside = ("embedding", "visual_projection", "text_projection", "bias", "norm")
    assert not any(part in name for part in outside for name in chosen)


def test_each_part_steps_as_the_library_alone_would():
    one = _network()
    other = copy.deepcopy(one)
    joint = _optimiser(one)
    matrices = [p for n, p in _names(other) if p.ndim == 2 and ".layers." in n]
    muon = torch.optim.Muon(matrices, lr=0.2, weight_decay=0.1, momentum=0.95)
    rest = [(n, p) for n, p in _names(other) if not any(p is m for m in matrices)]
    adamw = torch.optim.AdamW(decay_groups(rest, 0.1), lr=1e-2, betas=BETAS, eps=EPS, fused=True)
    for seed in range(3):
        for module in (one, other):
            _gradients(module, seed)
        for optimiser in (joint, muon, adamw):
            optimiser.step()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_rate_of_the_matrices_follows_the_schedule():
    groups = _optimiser(_network(), rate=50.0).param_groups
    assert {(g["inner"], g["lr_scale"]) for g in groups} == {(True, 50.0), (False, 1.0)}


def test_a_restored_state_goes_on_bit_for_bit():
    one = _network()
    first = _optimiser(one)
    _gradients(one, 0)
    first.step()
    other = copy.deepcopy(one)
    second = _optimiser(other)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for module, optimiser in ((one, first), (other, second)):
        _gradients(module, 1)
        optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_an_older_torch_is_told(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UsageError, match=r"needs torch 2\.9"):
        _optimiser(_network())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_another_recipe(name):
    changed = preset(name, "recommended").with_recipe(Recipe(7, 3, 0.5))
    assert (changed.recipe.epochs, changed.recipe.batch_size, changed.recipe.lr) == (7, 3, 0.5)


def test_what_has_nothing_to_train_is_refused():
    method = ZeroShot(toy_clip(toy_words()), toy_words(), preset("zero_shot", "recommended"))
    with pytest.raises(UsageError, match="nothing to train; it is used as it is"):
        optimiser_of(method, method.config.recipe)


def test_an_unknown_optimiser_is_refused():
    method = ZeroShot(toy_clip(toy_words()), toy_words(), preset("zero_shot", "recommended"))
    with pytest.raises(UsageError, match="optimiser='sgd' was given; allowed: adam, adamw, muon"):
        optimiser_of(method, Recipe(1, 1, 0.1, optimiser="sgd"))


@pytest.mark.parametrize("fused", [True, False])
def test_scaled_gradients_are_clipped_only_without_the_fused_kernel(fused):
    """Fabric refuses to clip scaled gradients of an optimiser that unscales them itself."""
    name = "baseline"
    config = replace(preset(name, "recommended"), **method_class(name).small)
    method = method_class(name)(toy_clip(toy_words()), toy_words(), config, 4)
    optimiser = optimiser_of(method, config.recipe, fused=fused)
    assert getattr(optimiser, "_step_supports_amp_scaling", False) == fused


def test_weights_of_16_bits_would_lose_the_papers_steps():
    weight = torch.tensor(0.05, dtype=torch.float16)
    assert weight - 1e-5 == weight
