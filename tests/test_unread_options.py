"""Nothing that is asked for is left unread: an option that another one makes idle is refused by name."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

import descry
from descry.cli import VERBS, function_of, main
from descry.cli.machine import Machine, OnMachine
from descry.cli.train import Changes, change
from descry.errors import UsageError
from descry.methods import METHODS, presets
from descry.training.loop import Settings

PEOPLE = ["--photos 2", "--sketches 1", "--captions 1", "--val 1", "--test 1", "--width 64", "--height 64"]
BESIDE: dict[str, list[str]] = {
    "people OUT --videos 2": [*PEOPLE, "--processes 1", "--oracle", "--benchmark-version 2", "--benchmark test"],
    "people OUT --benchmark test": [*PEOPLE, "--identities 7", "--seed 1", "--world 1", "--first 3", "--train X"],
    "people OUT": ["--benchmark-version 2", "--oracle", "--train X"],
    "evaluate --benchmark FILE --write-order OUT": [
        "--csv OUT2",
        "--slices",
        "--image-size 64 32",
        "--leaks X",
        "--scores X",
    ],
    "evaluate --benchmark FILE --scores X": ["--image-size 64 32", "--leaks X", "--split val"],
    "data leaks table X table X": ["--least-cosine 0.5"],
    "data list --json": ["--markdown"],
    "finding X notes --item 1 --remove": ["--note why", "--verdict aside"],
    "finding X notes": ["--note why", "--verdict aside", "--remove"],
    "gallery delete X --item 1": ["--confirm X"],
    "gallery delete X --everything --confirm X": ["--item 1", "--path *", "--until 2026-01-01"],
    "sketch compose --list": ["--set top=jacket", "--out OUT.png", "--width 64", "--height 64"],
    "sketch compose --set top=jacket": ["--width 64", "--height 64"],
    "search X --sketch X": ["--verbatim"],
    "crop X --start 2026-01-31": ["--time-from (.*)"],
    "plot losses X --out OUT": [
        "--data X",
        "--benchmark text",
        "--table t",
        "--measure mAP",
        "--probes 1",
        "--people 3",
    ],
    "plot cmc X --out OUT": ["--data X", "--most 3"],
    "keep X": ["--until 2026-01-31"],
    "search X red": ["--as-drawn", "--batch-size 8", "--seed 1"],
    "evaluate demo --data X": ["--batch-size 8", "--seed 1"],
    "index X --out OUT": ["--seed 1"],
    "crop X --out OUT": ["--seed 1"],
    "demo": ["--seed 1"],
    "model compose X --data X": ["--batch-size 8", "--seed 1"],
    "model measure X --data X": ["--batch-size 8", "--seed 1"],
    "plot masks X --data X --out OUT": ["--batch-size 8", "--seed 1"],
}

NO_ITEM = "no item was named; give --item with an id, as search and inquiry show them"
SAID = {
    ("evaluate --benchmark FILE --write-order OUT", "--scores X"): (
        "--scores and --write-order were given; write the order first, then rank the scores"
    ),
    ("evaluate --benchmark FILE --scores X", "--split val"): (
        "--split val was given, and FILE says itself what is ranked; leave it out"
    ),
    **{("finding X notes", option): NO_ITEM for option in BESIDE["finding X notes"]},
    ("keep X", "--until 2026-01-31"): (
        "name an inquiry and a day, as descry keep GALLERY NAME --until 2027-01-31; or neither, for a list"
    ),
}
"""What is said where the option itself is wanted and something beside it is missing or in its way."""


@pytest.mark.parametrize("command", BESIDE)
def test_an_option_that_would_not_be_read_is_refused(command, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("role,pid\nquery,1\nphoto,1\n")
    before = sorted(tmp_path.iterdir())
    for option in BESIDE[command]:
        status = main([*command.split(), *option.split()])
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), (option, err)
        name = re.escape(option.split()[0])
        said = (
            re.escape(SAID[command, option])
            if (command, option) in SAID
            else rf"{name} was given, and .+; leave it out"
        )
        assert re.fullmatch(f"descry: {said}\n", err), (option, err)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("texts", [("epochs=2", "epochs=3"), ("lr=0.1", "lr=0.2"), ("epochs=9",)])
def test_a_field_that_is_set_twice_is_refused(texts) -> None:
    config = presets("baseline")["recommended"]
    with pytest.raises(UsageError, match="is given twice"):
        change(Changes(epochs=3, lr=0.5, set=texts), Machine())(config)


def test_finishing_a_purge_is_never_a_rehearsal(tmp_path, monkeypatch, capsys) -> None:
    """--dry-run removes nothing, also where an interrupted purge waits to be finished."""
    import contextlib
    from types import SimpleNamespace

    from descry import purge as removing

    @contextlib.contextmanager
    def kept(gallery):
        yield SimpleNamespace(path=tmp_path), None

    monkeypatch.setattr("descry.cli.report.kept", kept)
    monkeypatch.setattr(removing, "pending", lambda path: True)
    monkeypatch.setattr(removing, "finish", lambda *a: pytest.fail("finished"))
    for option in ("--dry-run", "--keep-crops"):
        assert main(["purge", str(tmp_path), option]) == 2
        assert option in capsys.readouterr().err


# ---------------------------------------------------------------------- every option and every field, found by code

IDLE = {("inquiry export", "json_"): "it prints JSON with and without"}
BY_CALL = {"settle": {"device", "precision", "threads"}, "load": {"device", "precision", "allow_download"}}
"""What the methods of Machine read."""
HANDED = {"train": {"batch_size"}, "plot": {"seed", "allow_download"}, "demo": {"batch_size", "allow_download"}}
"""What a command hands on with the whole group to another function of its module."""


def loads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_read_or_refused(verb) -> None:
    """A parameter that its function never names has no effect, whatever was given."""
    function = inspect.unwrap(function_of(verb))
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    unread = set(inspect.signature(function).parameters) - loads(tree)
    assert unread == {name for of, name in IDLE if of == verb}


@pytest.mark.parametrize("verb", [v for v in VERBS if "machine" in inspect.signature(function_of(v)).parameters])
def test_every_option_of_the_machine_is_read_or_refused(verb) -> None:
    function = inspect.unwrap(function_of(verb))
    assert Machine in get_args(OnMachine)
    source = inspect.getsource(function)
    used = {n.attr for n in ast.walk(ast.parse(textwrap.dedent(source))) if isinstance(n, ast.Attribute)}
    read = {field.name for field in fields(Machine) if field.name in used or f"machine.{field.name}" in source}
    module = Path(inspect.getfile(function)).read_text("utf-8")
    read |= {name for call, names in BY_CALL.items() if f"machine.{call}" in module for name in names}
    assert read | HANDED.get(verb, set()) == {field.name for field in fields(Machine)}


def test_every_field_of_a_config_is_read() -> None:
    """What --set and a preset can say is asked for somewhere."""
    read: set[str] = set()
    for file in Path(descry.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        read |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
        read |= {n.args[1].value for n in ast.walk(tree) if asks_by_name(n)}
    owners = [o for m in METHODS for c in presets(m).values() for o in (c, c.recipe)]
    assert {f.name for o in (*owners, Settings()) for f in fields(o)} - read == {"image_encoder"}, (
        "vit_bert reads it by a loop"
    )


def asks_by_name(node: ast.AST) -> bool:
    """Whether a node is getattr(…, "name")."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
    return called and len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
