"""What a command loads before it works: nothing heavy for help and wrong arguments, no transformers for a search."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "PIL", "numpy", "torch._dynamo", "sympy")


def loaded(*commands: tuple[str, ...], status: int | None = None) -> dict[tuple[str, ...], set[str]]:
    """The heavy packages that had been imported by the end of each command, one after the other in one process.
    status: what each must exit with."""
    script = (
        "import json, sys\nfrom descry.cli import main\nfor command in json.loads(sys.argv[1]):\n"
        "    status = main(command)\n"
        f"    print('\\nLOADED', status, *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, json.dumps(commands)], capture_output=True, text=True)
    said = [line.split() for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert len(said) == len(commands), done.stderr
    assert status is None or {int(ended) for _, ended, *_ in said} == {status}, done.stderr
    return {command: set(names) for command, (_, _, *names) in zip(commands, said, strict=True)}


def test_arguments_are_checked_before_anything_heavy_is_loaded() -> None:
    found = loaded(
        ("--help",),
        ("search", "--help"),
        ("search", "nowhere", "--sketsh", "a.png"),
        ("search", "nowhere", "red", "--device", "gpu"),
        ("train", "interactreid", "--epochs", "many"),
        ("train", "interactreid", "--device", "gpu"),
        ("inquiry", "shoow", "gallery"),
        ("serve", "gallery", "--port", "many"),
        ("evaluate", "--benchmark"),
        ("index", "--out"),
    )
    assert {command: names for command, names in found.items() if names} == {}


def test_what_needs_no_model_loads_no_torch(gallery_folder: str) -> None:
    found = loaded(
        ("inquiry", "list", gallery_folder),
        ("inquiry", "show", gallery_folder),
        ("inquiry", "undo", gallery_folder),
        ("gallery", "info", gallery_folder),
        ("gallery", "list", gallery_folder),
        ("keep", gallery_folder),
        ("audit", "verify", gallery_folder),
        ("verify", gallery_folder),
        status=0,
    )
    assert [command for command, names in found.items() if "torch" in names] == []


def test_a_stored_round_is_shown_as_it_is_with_the_model(gallery_folder: str, capsys, monkeypatch) -> None:
    """The same leads, tree, notes and words that the model does not know, whether or not it is loaded."""
    from descry.cli import inquiry, main

    assert main(["inquiry", "refine", gallery_folder, "inquiry", "red xyzzy"]) == 0
    capsys.readouterr()
    assert main(["inquiry", "show", gallery_folder]) == 0
    quick = capsys.readouterr()
    monkeypatch.setattr(inquiry, "_card", lambda gallery: None)
    assert main(["inquiry", "show", gallery_folder]) == 0
    assert capsys.readouterr() == quick
    assert "xyzzy" in quick.err
    assert "a toy, no evidence of anything" in quick.err


def test_a_search_loads_torch_and_neither_transformers_nor_the_compiler(gallery_folder: str) -> None:
    command = ("search", gallery_folder, "red top")
    assert loaded(command, status=0)[command] == {"torch", "PIL", "numpy"}


LOOKS = """
import gc, sys
looks = []
gc.callbacks.append(lambda phase, about: looks.append(gc.get_count()) if about["generation"] == 2 else None)
from descry.cli import entry
sys.argv[0] = "descry"
try:
    entry()
except SystemExit as stop:
    print(stop.code, gc.isenabled(), len(looks) // 2, gc.get_freeze_count(), len(gc.get_objects()))
"""
"""A command as it starts from a shell, and how often the garbage collector looked through all objects meanwhile."""


@pytest.mark.parametrize("command", [("search", "red top"), ("inquiry", "refine", "inquiry", "red")])
def test_no_garbage_is_looked_for_while_torch_is_imported(gallery_folder: str, command: tuple[str, ...]) -> None:
    *verb, words = command
    at = ["search", gallery_folder] if verb == ["search"] else [*verb[:2], gallery_folder, verb[2]]
    done = subprocess.run([sys.executable, "-c", LOOKS, *at, words], capture_output=True, text=True, check=True)
    status, enabled, looks, frozen, rest = done.stdout.splitlines()[-1].split()
    assert (status, enabled) == ("0", "True"), done.stderr
    assert int(looks) <= 1  # three where it does not rest
    assert int(frozen) > 100 * int(rest)


@pytest.fixture(scope="module")
def gallery_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve crops, indexed by a tiny model."""
    from account import crop
    from conftest import write_run
    from descry.gallery import Gallery
    from descry.query import Query

    root = tmp_path_factory.mktemp("start")
    for i in range(12):
        crop(root / "crops", i)
    with Gallery.create(root / "gallery", str(write_run(root / "run"))) as gallery:
        gallery.index(root / "crops")
        gallery.inquiry().ask(Query(wanted="red top"))
        gallery.inquiry().refine("no hat")
    return str(root / "gallery")
