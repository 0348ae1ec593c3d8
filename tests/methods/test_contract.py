"""Every method of the table keeps the contract; a number out of its bounds is refused, wherever it stands."""

import math
from dataclasses import fields, is_dataclass, replace

import pytest

from conftest import toy_clip, toy_words
from descry.errors import UsageError
from descry.methods import METHODS, Method, method_class, preset, presets
from descry.methods.contract import MethodConfig, Recipe

CONFIGS = [(name, which) for name in METHODS for which in presets(name)]


def numbers(owner):
    """The names of the numeric fields of a dataclass."""
    return [f.name for f in fields(owner) if type(getattr(owner, f.name)) in (int, float)]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_subclass_with_documented_fields(name):
    cls = method_class(name)
    config = preset(name, "recommended")
    assert issubclass(cls, Method)
    assert isinstance(config, MethodConfig)
    for owner in (type(config), Recipe):
        text = owner.__doc__
        assert [f.name for f in fields(owner) if f"\n        {f.name}: " not in text] == []
    method = cls(toy_clip(toy_words()), toy_words(), replace(config, **cls.small), 4)
    assert method.identities == 4
    assert all(hasattr(method, part) for part in method.encoders)


@pytest.mark.parametrize(("name", "which"), CONFIGS)
def test_every_preset_is_within_its_bounds(name, which):
    presets(name)[which].check()


def test_released_is_offered_where_code_was_released():
    assert {name for name in METHODS if "released" in presets(name)} >= {"interactreid", "vfe_tps", "baseline"}
    for name in ("propot", "vit_bert", "zero_shot"):
        with pytest.raises(UsageError, match="released no code"):
            preset(name, "released")


def test_the_released_settings_of_pku_sketch_are_its_own():
    pku, market = preset("interactreid", "released", "pku-sketch"), preset("interactreid", "released", "market")
    assert (pku.stage2.epochs, pku.stage2.batch_size) == (40, 16)
    assert (market.stage2.epochs, market.stage2.batch_size) == (20, 32)
    assert replace(pku, stage2=market.stage2) == market


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e9])
@pytest.mark.parametrize("name", METHODS)
def test_every_number_has_bounds(name, value):
    config = preset(name, "recommended")
    owners = [(config, lambda **c: replace(config, **c))]
    owners += [(config.recipe, lambda **c: config.with_recipe(replace(config.recipe, **c)))]
    for owner, changed in owners:
        assert is_dataclass(owner)
        for field in numbers(owner):
            with pytest.raises(UsageError, match=f"{field}="):
                changed(**{field: value}).check()


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0}, {"epochs": -3}, {"batch_size": 0}, {"batch_size": -2}, {"lr": 0.0}, {"betas": (0.9, 1.0)},
        {"eps": 0.0}, {"mask_text": 1.0}, {"back_translation": 1.5}, {"warmup_share": 1.0}, {"instances": 0},
        {"optimiser": "sgd"}, {"sampler": "pxk"}, {"schedule": "weekly"}, {"selection": "best"},
    ],
)  # fmt: skip
def test_a_recipe_that_trains_nothing_or_cannot_be_is_refused(change):
    config = preset("baseline", "recommended")
    with pytest.raises(UsageError, match=rf"{next(iter(change))}=.*allowed"):
        config.with_recipe(replace(config.recipe, **change)).check()
