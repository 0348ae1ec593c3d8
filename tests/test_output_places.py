"""Where a command writes is looked at before it begins: no work is lost to a wrong path."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from descry.cli import VERBS, function_of, main
from descry.cli.machine import Place, checked
from descry.errors import UsageError

READ = {
    "gallery", "folder", "queries", "parts", "leaks", "scores", "run", "file", "tokenizer", "root", "table", "a_root",
    "b_root", "train", "data", "questions", "old",
}  # fmt: skip
"""Paths that commands read, by the names of their parameters."""
READ_TOO = {("gallery relocate", "new")}


def parts(hint: Any) -> list[Any]:
    found = [hint]
    for part in found:
        found += [*get_args(part), *getattr(part, "__metadata__", ())]
    return found


def paths(verb: str) -> list[tuple[str, Any, Place | None]]:
    """Every path that a command takes: its name, the group of options that holds it, and where it may be written."""
    found = []
    groups: list[Any] = [inspect.unwrap(function_of(verb))]
    for kind in groups:
        for name, hint in get_type_hints(kind, include_extras=True).items():
            inside = parts(hint)
            groups += [part for part in inside if isinstance(part, type) and is_dataclass(part)]
            if Path in inside and name != "return":
                found.append((name, kind, next((p for p in inside if isinstance(p, Place)), None)))
    return found


WRITTEN = [(verb, name, kind, place) for verb in VERBS for name, kind, place in paths(verb) if place]


def test_every_path_is_read_or_has_a_place() -> None:
    unmarked = {(verb, name) for verb in VERBS for name, _, place in paths(verb) if not place and name not in READ}
    assert unmarked == READ_TOO
    assert {name for _, name, _, _ in WRITTEN} >= {"out", "csv_", "sheet", "copy_to", "write_order", "per_query", "csv"}


@pytest.mark.parametrize(("verb", "name", "kind", "place"), WRITTEN, ids=[f"{w[0]} {w[1]}" for w in WRITTEN])
def test_a_place_that_cannot_be_written_is_refused_before_the_command_begins(
    verb, name, kind, place, tmp_path, monkeypatch
) -> None:
    """The command's own code is never entered: whatever else was given, nothing was worked on."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    Path("folder").mkdir()
    function = inspect.unwrap(function_of(verb))

    def begun(*args: Any, **options: Any) -> int:
        raise AssertionError("the command began")

    begun.__signature__ = inspect.signature(function)
    begun.__annotations__ = get_type_hints(function, include_extras=True)
    wrong = {"file/x.png": "file is not a folder", ("file" if place.folder else "folder"): "cannot be written"}
    Path("g").mkdir()
    Path("g/gallery.json").write_text("{}")
    if not place.folder:
        wrong |= dict.fromkeys(("g/gallery.json", "g/Gallery.DB", "g/new.partial"), "it is a file of the gallery there")
    wrong |= {} if place.makes else {"missing/x.png": "missing is not there"}
    for bad, says in wrong.items():
        ways = inspect.signature(function).parameters
        given = {n: _value(p, n == name, kind, function, Path(bad), name) for n, p in ways.items()}
        with pytest.raises(UsageError) as refused:
            checked(begun)(*_positional(function, given), **_options(function, given))
        assert bad in str(refused.value)
        assert says in str(refused.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder", "g", "gallery.json"]


def _value(parameter: Any, itself: bool, kind: Any, function: Any, bad: Path, name: str) -> Any:
    if itself and kind is function:
        return bad
    default = None if parameter.default is parameter.empty else parameter.default
    if kind is not function and type(default) is kind:
        return kind(**{name: bad})
    return default


def _positional(function: Any, given: dict[str, Any]) -> list[Any]:
    ways = inspect.signature(function).parameters
    return [value for n, value in given.items() if ways[n].kind is ways[n].POSITIONAL_ONLY]


def _options(function: Any, given: dict[str, Any]) -> dict[str, Any]:
    ways = inspect.signature(function).parameters
    return {n: value for n, value in given.items() if ways[n].kind is not ways[n].POSITIONAL_ONLY}


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UsageError, match="no right to write in"):
        Place(makes=False).check(tmp_path / "x.csv")
    with pytest.raises(UsageError, match="no right to write in"):
        Place(folder=True).check(tmp_path / "new" / "run")


def test_a_search_with_a_wrong_place_prints_no_lead(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for option in ("--csv missing/x.csv", "--sheet .", "--copy-to /dev/null/x"):
        assert main(["search", "nowhere", "red", *option.split()]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"descry: {option.split()[1]} cannot be written: ")
        assert len(err.splitlines()) == 1


def test_a_place_that_can_be_written_is_taken(tmp_path) -> None:
    (tmp_path / "old.csv").write_text("")
    Place(makes=False).check(tmp_path / "new.csv")
    Place(makes=False).check(tmp_path / "old.csv")
    Place().check(tmp_path / "a" / "b" / "sheet.png")
    Place(folder=True).check(tmp_path)
    Place(folder=True).check(tmp_path / "a" / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.csv"]
