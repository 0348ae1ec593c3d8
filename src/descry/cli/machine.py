"""Options that several commands share, what is checked of all, and what arguments are called in help: by what they are,
not by their type in Python."""

from __future__ import annotations

import gc
import inspect
import json
import os
import sys
import types
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, is_dataclass
from fnmatch import fnmatchcase
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import tyro

from ..errors import COUNT, ITEM, NOT_NEGATIVE, PART, SEED, SHARE, SIDE, THREADS, Bound, UsageError, nearest
from ..escape import Shown
from ..library import DEVICES, PRECISIONS
from ..listing import OWN_FILES


class Place(NamedTuple):
    """Where a command writes. It is looked at before the command begins, so no work is lost to a wrong path."""

    folder: bool = False
    makes: bool = True
    """Whether the folder above it is made where it is not there."""

    def check(self, path: Path) -> None:
        """UsageError for a place that cannot be written to, and for a gallery's own file. Nothing is written to find
        out."""
        if (path.parent / OWN_FILES[0]).is_file():
            from ..gallery.local import OWN

            if any(fnmatchcase(path.name.lower(), name) for name in OWN):
                raise UsageError(f"{path} cannot be written: it is a file of the gallery there; name a place elsewhere")
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}); name a place in a folder that you can write to"
            ) from None
        if os.path.lexists(path) and os.path.isdir(path) != self.folder:
            found, wanted = ("no folder", "a folder") if self.folder else ("a folder", "a file")
            raise UsageError(f"{path} cannot be written: it is {found}; name {wanted}")
        above = path if self.folder else path.parent
        while self.makes and above != above.parent and not os.path.lexists(above):
            above = above.parent
        if not os.path.isdir(above):
            what = "not a folder" if os.path.lexists(above) else "not there"
            raise UsageError(f"{path} cannot be written: {above} is {what}; name a place in a folder that is there")
        if not os.path.exists(path) and not os.access(above, os.W_OK | os.X_OK):
            raise UsageError(
                f"{path} cannot be written: you have no right to write in {above}; name a place in another folder"
            )


OutFile = Annotated[Path, Place(makes=False)]
OutPicture = Annotated[Path, Place()]
OutFolder = Annotated[Path, Place(folder=True)]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Json = Annotated[bool, tyro.conf.arg(name="json", help="print JSON."), tyro.conf.FlagCreatePairsOff]
GalleryFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="a folder made by descry index.")]
GalleryStore = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        help="a folder made by descry index, or the address of a PostgreSQL store (postgresql://USER@HOST/DATABASE#NAME)."
    ),
]
GalleryPlace = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        help="a folder made by descry index, or an address (postgresql://USER@HOST/DATABASE#NAME, milvus://…#NAME)."
    ),
]
MovedModel = Annotated[str, tyro.conf.arg(help="where the gallery's model is now, if it was moved.")]
Natural = Annotated[int, NOT_NEGATIVE]
Count = Annotated[int, COUNT]
Item = Annotated[int, ITEM]
Seed = Annotated[int, SEED]
Threads = Annotated[int, THREADS]
Share = Annotated[float, SHARE]
Part = Annotated[float, PART]
Size = tuple[Annotated[int, SIDE], Annotated[int, SIDE]]
HowMany = Annotated[int, COUNT, tyro.conf.arg(aliases=["-k"])]


def checked(function: Callable[..., int]) -> Callable[..., int]:
    """The function of a command, which prints on streams on which nothing of others is obeyed. It raises UsageError
    for a number outside the bound of its option, and for a place that cannot be written to.
    """

    @wraps(function)
    def call(*args: Any, **options: Any) -> int:
        groups: list[tuple[Any, Mapping[str, Any]]] = [
            (function, inspect.signature(function).bind(*args, **options).arguments)
        ]
        for kind, given in groups:
            hints = get_type_hints(kind, include_extras=True)
            for name, value in given.items():
                if is_dataclass(value):
                    groups.append((type(value), vars(value)))
                parts = [hints[name]]  # bounds stand anywhere in a type: tuple[Annotated[int, ITEM], ...]
                for part in parts:
                    parts.extend([*get_args(part), *getattr(part, "__metadata__", ())])
                for place in (part for part in parts if isinstance(part, Place) and isinstance(value, Path)):
                    place.check(value)
                for bound in dict.fromkeys(part for part in parts if isinstance(part, Bound)):
                    option = "-k" if name == "k" else f"--{name.strip('_').replace('_', '-')}"
                    for number in value if isinstance(value, tuple) else (value,):
                        counts = isinstance(number, (int, float)) and not isinstance(number, bool)
                        if counts and not bound.holds(number):
                            bound.check(option, number)
        with redirect_stdout(Shown(stream=sys.stdout)), redirect_stderr(Shown(stream=sys.stderr)):
            return function(*args, **options)

    return call


def emit(as_json: bool, value: Any, *lines: str) -> int:
    """Print the result of a command, as one value of JSON or as lines for people; returns 0, an exit status."""
    if as_json:
        lines = (*json.dumps(value, indent=1, default=str).split("\n"),)
    print(*lines, sep="\n", end="\n" if lines else "")
    return 0


def refuse_unread(command: Callable[..., Any], given: Mapping[str, Any], names: str, why: str) -> None:
    """UsageError for an option that was given and would not be read beside another.

    Args:
        command: whose options they are.
        given: values by name, as `locals()` has them at the command's beginning.
        names: of the parameters that are not read, with spaces between; machine.seed is one option of a group.
        why: the half sentence that says so.
    """
    parameters = inspect.signature(command).parameters
    for name in names.split():
        name, _, only = name.partition(".")
        pairs = {name: (given[name], parameters[name].default)}
        if is_dataclass(given[name]):  # a group of options
            pairs = {
                n: (value, getattr(parameters[name].default, n))
                for n, value in vars(given[name]).items()
                if only in ("", n)
            }
        for option, (value, default) in pairs.items():
            if value != default:
                raise UsageError(f"--{option.strip('_').replace('_', '-')} was given, and {why}; leave it out")


@dataclass(frozen=True)
class Machine:
    """How a command uses this machine.

    Args:
        device: auto (a GPU when there is one), cpu, cuda (NVIDIA) or mps (Apple).
        precision: fp32, bf16, or fp16 on a GPU; auto is bf16 for training on a GPU that supports it, otherwise fp32.
        batch_size: how many pictures are processed at once; 0 lets the command choose.
        threads: number of CPU threads; 0 uses all cores.
        seed: seed for everything that is random.
        allow_download: allow a model given by its hub name to be fetched from the network.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: Annotated[int, Bound(0, 65_536)] = 0
    threads: Threads = 0
    seed: Seed = 0
    allow_download: Flag = False

    def __post_init__(self) -> None:
        """UsageError for values that are not allowed; nothing heavy is imported for it."""
        for name, allowed in (("device", DEVICES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"--{name} {getattr(self, name)} was given; {nearest(getattr(self, name), list(allowed))}"
                )

    def settle(self) -> Machine:
        """Import PyTorch and tell it how many threads to use. UsageError for a device that is not here.

        The garbage collector rests during the first import, and afterwards leaves alone what the modules made, all of
        which stays until the process ends. Its looks through them would take a quarter of the time.
        """
        rests = "torch" not in sys.modules and gc.isenabled()
        if rests:
            gc.disable()
        try:
            import torch

            from ..embed import choose_device
        finally:
            if rests:
                gc.freeze()
                gc.enable()
        choose_device(self.device, self.precision)
        if self.threads:
            torch.set_num_threads(self.threads)
        return self

    def load(self, name: Any, image_size: tuple[int, int] | None = None) -> Any:
        """The model of that name, on the device and in the precision asked for."""
        from ..embed import load

        return load(name, self.device, self.precision, image_size, self.allow_download)


OnMachine = Annotated[Machine, tyro.conf.arg(name="")]


# --------------------------------------------------------------------- what arguments are called in help


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


def named(function: Any) -> Any:
    """The same function, each argument of which has a name for what it takes: a positional one its own, an option what
    `TAKES` or its type says. Those that have one keep it. Groups of options are named too.
    """
    if getattr(function, "_named", False):
        return function
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints:
            continue
        hint = hints[name]
        positional = parameter.kind is parameter.POSITIONAL_ONLY
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if inspect.isclass(plain) and hasattr(plain, "__dataclass_fields__"):
            named(plain)
            continue
        takes = TAKES.get(name) or (name.strip("_").upper().replace("_", "-") if positional else _kind(plain))
        has_one = any(getattr(extra, "metavar", None) for extra in getattr(hint, "__metadata__", ()))
        if takes and not has_one:
            shown = _shown(takes, plain, parameter, positional)
            function.__annotations__[name] = Annotated[hint, tyro.conf.arg(metavar=shown)]
    function._named = True
    return function


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
