"""What `descry VERB --help` says: every argument is explained, each by itself."""

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from descry.cli import VERBS

PAGES = Path(__file__).resolve().parents[1] / "tools" / "pages.py"
ROW = re.compile(r"^\| (?P<names>`[^|]*`) \|[^|]*\|(?P<help>[^|]*)\|$", re.MULTILINE)
ADDED = re.compile(r"\((?:required|repeatable|default: .*)\)$")  # what stands behind the text of a docstring


@cache
def explained() -> dict[str, tuple[str, dict[str, str]]]:
    """Verb → its description, and name of an argument → its text, of the command reference."""
    spec = importlib.util.spec_from_file_location("pages", PAGES)
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    out = {}
    for section in re.split(r"^## descry ", pages.commands(), flags=re.MULTILINE)[1:]:
        said, _, table = re.sub(r"\\(.)", r"\1", section.replace(r"\|", "¦")).partition("| | takes | |")
        verb, _, description = said.partition("\n")
        out[verb] = description, {m["names"]: ADDED.sub("", m["help"].strip()).strip() for m in ROW.finditer(table)}
    return out


def plain(names: str) -> list[str]:
    """`-k` `--k` → k, k; `A-ROOT` → a-root."""
    return [name.lstrip("-").lower() for name in names.replace("`", "").split()]


def faults(description: str, arguments: dict[str, str]) -> list[str]:
    """Which arguments have no text, and which texts hold another argument's."""
    out = [f"{names} is not explained" for names, text in arguments.items() if not text or text in plain(names)]
    for names, text in arguments.items():
        for others in arguments.keys() - {names}:
            words = "|".join(re.escape(name).replace(r"\-", "[-_]") for name in plain(others))
            if re.search(rf"(?<![\w-])(?:{words})_?:\s", text):
                out.append(f"{names} holds the text of {others}")
    return out + (["the description holds the arguments"] if "Args:" in description else [])


def test_the_page_of_commands_is_as_the_commands_are():
    spec = importlib.util.spec_from_file_location("pages", PAGES)
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    page = (PAGES.parents[1] / "docs" / "commands.md").read_text("utf-8")
    assert page == pages.commands(), "python tools/pages.py writes it anew"


def test_every_command_is_in_the_reference():
    assert list(explained()) == list(VERBS)
    assert {"`FOLDERS`", "`--out`", "`--camera-from`"} <= explained()["index"][1].keys()
    assert explained()["gallery info"][1]["`--json`"] == "print JSON."


def test_nothing_is_said_twice_of_an_argument():
    page = (PAGES.parents[1] / "docs" / "commands.md").read_text("utf-8")
    assert set(re.findall(r"`--no-[^`]*`", page)) == {"`--no-browser`", "`--no-pixels`"}  # what is on unless it is said
    assert not re.findall(r".*repeated.*\(repeatable\).*|.*\(default: (?:''|None|False)?\).*", page)


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_is_explained_by_itself(verb):
    assert not faults(*explained()[verb])


def test_what_is_not_explained_is_noticed():
    """Paragraphs of several arguments, as `--help` shows them."""
    lost = {"`GALLERY`": "a gallery folder. camera_from: its table.", "`--camera-from`": "", "`NAME`": "name"}
    assert faults("Search.", lost) == [
        "`--camera-from` is not explained",
        "`NAME` is not explained",
        "`GALLERY` holds the text of `--camera-from`",
    ]
    assert faults("Search.\n\nArgs:\n    k, name: of it.", {}) == ["the description holds the arguments"]
    assert not faults("Search.", {"`--data`": "a folder, or two", "`--no-browser`": "for --data: no page."})
