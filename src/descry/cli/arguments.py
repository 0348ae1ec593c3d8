"""What the arguments of a command are called in its help: by what they are, not by their type in Python."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

KINDS: dict[Any, str] = {str: "TEXT", Path: "PATH", int: "N", float: "X"}
TAKES = {
    **dict.fromkeys(("model", "models", "run", "runs"), "MODEL"),
    **dict.fromkeys(("since", "until", "before"), "TIME"),
    **dict.fromkeys(("sketch", "image", "sheet", "csv_", "table"), "FILE"),
    **dict.fromkeys(("item", "like", "unlike", "clear", "closest"), "ID"),
    **dict.fromkeys(("folder", "copy_to"), "FOLDER"),
    "inquiry": "NAME",
    "camera": "NAME",
    "device": "DEVICE",
    "precision": "PRECISION",
    "not_": "PHRASE",
}
"""What some options take that go by the same name everywhere."""


def named(function: Callable[..., int]) -> Callable[..., int]:
    """The same function, each argument of which has a name for what it takes: a positional one its own, an option what
    `TAKES` or its type says. Those that have one keep it.
    """
    _name(function)
    return function


def _name(function: Any) -> None:
    if getattr(function, "_named", False):
        return
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints:
            continue
        hint = hints[name]
        positional = parameter.kind is parameter.POSITIONAL_ONLY
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if inspect.isclass(plain) and hasattr(plain, "__dataclass_fields__"):
            _name(plain)
            continue
        takes = TAKES.get(name) or (name.strip("_").upper().replace("_", "-") if positional else _kind(plain))
        if takes and not _has_name(hint):
            shown = _shown(takes, plain, parameter, positional)
            function.__annotations__[name] = Annotated[hint, tyro.conf.arg(metavar=shown)]
    function._named = True


def _has_name(hint: Any) -> bool:
    return any(getattr(extra, "metavar", None) for extra in getattr(hint, "__metadata__", ()))


def _kind(plain: Any) -> str:
    """What a type takes: "" for flags and choices, which name themselves."""
    if get_origin(plain) is Annotated:
        return _kind(get_args(plain)[0])
    if get_origin(plain) in (Union, types.UnionType):
        kinds = [part for part in get_args(plain) if part is not type(None)]
        if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
            return "|".join(map(str, get_args(kinds[0])))
        return _kind(kinds[0]) if len(kinds) == 1 else ""
    if get_origin(plain) is tuple:
        parts = get_args(plain)
        if len(parts) == 2 and parts[1] is ...:
            return _kind(parts[0])
        return " ".join(_kind(part) for part in parts) if all(map(_kind, parts)) else ""
    return "" if plain is bool or get_origin(plain) is Literal else KINDS.get(plain, "")


def _shown(takes: str, plain: Any, parameter: inspect.Parameter, positional: bool) -> str:
    """A positional argument as usage lines write it: in brackets where it may be left out, with dots where repeated."""
    if not positional:
        return takes
    many = get_origin(plain) is tuple
    said = f"{takes} ..." if many else takes
    return f"[{said}]" if many or parameter.default is not parameter.empty else said
