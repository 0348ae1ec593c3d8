"""Every number that a command or a config takes has bounds, and is refused outside them before anything is done."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.cli import VERBS, function_of, main
from descry.cli.machine import checked
from descry.cli.train import Changes, change
from descry.errors import ITEM, PART, POSITIVE, Bound, UsageError
from descry.methods import METHODS, presets


def leaves(hint: Any) -> set[Any]:
    """The plain types inside a hint."""
    if get_origin(hint) is Annotated:
        return leaves(get_args(hint)[0])
    parts = get_args(hint)
    return set().union(*map(leaves, parts)) if parts else {hint}


def bounds_of(hint: Any) -> list[Bound]:
    """The bounds that stand anywhere in a hint."""
    found = [x for x in getattr(hint, "__metadata__", ()) if isinstance(x, Bound)]
    return found + [bound for part in get_args(hint) if not isinstance(part, Bound) for bound in bounds_of(part)]


def numbers() -> list[tuple[str, str, Any]]:
    """(command, name of the parameter, its hint) of every whole or decimal number that any command takes."""
    found = []
    for verb in VERBS:
        hints = get_type_hints(function_of(verb), include_extras=True)
        for name in inspect.signature(function_of(verb)).parameters:
            owner = next((t for t in leaves(hints[name]) if is_dataclass(t)), None)
            inner = get_type_hints(owner, include_extras=True) if owner else {name: hints[name]}
            found += [(verb, n, hint) for n, hint in inner.items() if leaves(hint) & {int, float}]
    return found


NUMBERS = numbers()


SHARED = {(v, n) for v, n, _ in NUMBERS if n in ("batch_size", "threads", "seed")} - {
    ("search", "threads"),
    ("train", "seed"),
}
"""Options that every command has from one place; they are tried through one command each."""


def required(verb: str) -> list[str]:
    """The fewest arguments that a command reads: a word where it needs one, a number where it needs one."""
    function = function_of(verb)
    hints, out = get_type_hints(function, include_extras=True), []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            continue
        option = {"from_": "--from", "round_": "--round"}.get(name, f"--{name.replace('_', '-')}")
        value = "1" if int in leaves(hints[name]) else "nothing"
        out += [value] if parameter.kind is parameter.POSITIONAL_ONLY else [option, value]
    return out


def test_every_number_of_every_command_has_a_bound() -> None:
    assert len(NUMBERS) > 90
    lacking = [(verb, name) for verb, name, hint in NUMBERS if not bounds_of(hint)]
    assert lacking == [("search", "min_")], "a level may be any finite number, or usual; search checks it"


@pytest.mark.parametrize("verb", dict.fromkeys(verb for verb, _, _ in NUMBERS))
def test_a_number_out_of_bounds_is_refused_by_name(verb, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name, hint in ((n, h) for v, n, h in NUMBERS if v == verb and (v, n) not in SHARED and bounds_of(h)):
        bound, option = bounds_of(hint)[0], "-k" if name == "k" else f"--{name.strip('_').replace('_', '-')}"
        parameter = inspect.signature(function_of(verb)).parameters.get(name)
        needed = required(verb)
        if option in needed:
            needed = needed[: needed.index(option)] + needed[needed.index(option) + 2 :]
        below = str(int(bound.low) - 1) if math.isfinite(bound.low) else "-inf"
        for value in ["nan", below] if float in leaves(hint) else [below]:
            if parameter is not None and parameter.kind is parameter.POSITIONAL_ONLY:
                args = [*needed[:-1], value]
            else:
                args = [*needed, option, *[value] * (2 if name in ("image_size", "ranks") else 1)]
            status = main([*verb.split(), *args])
            out, err = capsys.readouterr()
            assert (status, out) == (2, ""), (args, err)
            assert err.startswith(f"descry: {option} {value}")
            assert f"was given; allowed: {bound.told}" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bound", {b for *_, hint in NUMBERS for b in bounds_of(hint)}, ids=str)
def test_no_bound_holds_what_lies_outside_it(bound) -> None:
    assert not any(map(bound.holds, (math.nan, math.inf, -math.inf)))
    for end, step in ((bound.low, -1), (bound.high, 1)):
        assert not math.isfinite(end) or not bound.holds(end + step)
    assert not (bound.above and bound.holds(bound.low))
    assert not (bound.below and bound.holds(bound.high))


@pytest.mark.parametrize(("method", "preset"), [(m, p) for m in METHODS for p in presets(m)])
def test_every_number_of_every_config_is_refused_where_it_cannot_be(method, preset) -> None:
    config = presets(method)[preset]
    config.check()
    tried = 0
    for owner, put in ((config, replace), (config.recipe, lambda r, **v: config.with_recipe(replace(r, **v)))):
        for field in fields(owner):
            value = getattr(owner, field.name)
            kind = type(value[0]) if isinstance(value, tuple) and value else type(value)
            if kind not in (int, float):
                continue
            for bad in (math.nan, math.inf, -math.inf, -2, 10**30):
                wrong = (*value[:-1], bad) if isinstance(value, tuple) else bad
                with pytest.raises(UsageError, match=field.name):
                    put(owner, **{field.name: wrong}).check()
                tried += 1
    assert tried > 40


WRONG = [
    *("lr=0", "lr=nan", "lr=inf", "lr=-1", "lr=", "lr=1,2", "epochs=0", "epochs=1.5", "epochs=-3", "batch_size=-2"),
    *("batch_size=0", "betas=0.9", "betas=0.9,0.99,0.999", "betas=0.9,1", "betas=nan,0.9", "image_size=0,0"),
    *("image_size=64", "image_size=-64,32", "weight_decay=-0.1", "drop_last=maybe", "augment=sideways", "sampler=none"),
    *("recipe=x", "nothing=1", "epochs", "=1", "eps=0", "mask_text=1", "warmup_share=1", "optimiser=sgd"),
]


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("method", METHODS)
def test_a_field_that_is_set_to_nonsense_is_refused(method, text) -> None:
    from descry.cli.machine import Machine

    config = presets(method)["recommended"]
    with pytest.raises(UsageError) as refused:
        change(Changes(set=(text,)), Machine())(config).check()
    assert text.partition("=")[0] in str(refused.value)


@settings(max_examples=50, deadline=None)
@given(
    st.floats() | st.integers(-(10**25), 10**25),
    st.builds(Bound, st.floats(-1e6, 0), st.floats(0, 1e6), st.booleans(), st.booleans()),
)
def test_what_a_bound_lets_pass_lies_inside(value, bound) -> None:
    assert bound.holds(value) == (
        math.isfinite(value)
        and (value > bound.low or (value == bound.low and not bound.above))
        and (value < bound.high or (value == bound.high and not bound.below))
    )

    def command(number: Annotated[float, bound] = 0.0) -> int:
        return 7

    command.__annotations__["number"] = Annotated[float, bound]
    if bound.holds(value):
        assert checked(command)(number=value) == 7
    else:
        with pytest.raises(UsageError, match="--number"):
            checked(command)(number=value)


def test_nothing_is_written_for_a_number_that_cannot_be(tmp_path, capsys) -> None:
    out = tmp_path / "run"
    for option in (["--epochs", "0"], ["--lr", "nan"], ["--batch-size", "-1"], ["--set", "epochs=-1"]):
        args = ["train", "baseline", "--data", str(tmp_path), "--from", "demo", "--out", str(out), *option]
        assert main(args) != 0
        assert not out.exists()
        assert "Traceback" not in capsys.readouterr().err
    assert Path(tmp_path).exists()


def test_a_bound_is_told_to_the_last_digit() -> None:
    assert ITEM.told == "1 or more and at most 9223372036854775807"
    assert PART.told == "0 or more and below 1"
    assert POSITIVE.told == "above 0"
