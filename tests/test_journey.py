"""How many functions and files of the package one command enters: what a newcomer reads before a change to search.

Counted with sys.setprofile over all threads. A function counts once, however often it is called, also when it is a
lambda, a method or a function inside another. A comprehension or generator expression belongs to the function it stands
in (Python 3.12 runs most of them there). Bodies of modules and classes, run when they are imported, do not count.

The bars stand a little above what is reached today, and may be lowered and not raised. The goal is 100 functions in 19
files.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import descry
from account import crop
from conftest import write_run
from descry.cli import main
from descry.gallery import Gallery

PACKAGE = str(Path(descry.__file__).parent)
INSIDE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
FUNCTIONS, FILES = 221, 25
OPTIMISED = 1  # set for functions, not for bodies of modules and classes


def entered(work: Callable[[], Any]) -> dict[str, set[str]]:
    """File of the package → functions entered while work runs."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    found: dict[str, set[str]] = {}
    for code in codes:
        parts = code.co_qualname.split(".")
        while parts and parts[-1] in INSIDE:
            parts = parts[:-1]
            parts = parts[:-1] if parts and parts[-1] == "<locals>" else parts
        if code.co_filename.startswith(PACKAGE) and code.co_flags & OPTIMISED and parts:
            found.setdefault(code.co_filename[len(PACKAGE) + 1 :], set()).add(".".join(parts))
    return found


def test_the_count_is_of_functions_and_of_nothing_twice() -> None:
    from descry.query import Query

    found = entered(lambda: [Query(wanted=("a", "b")).kind for _ in range(3)])
    assert set(found) == {"query.py"}
    assert {"Query.__post_init__", "Query.kind", "Part.__post_init__"} <= found["query.py"]
    assert not any("<" in name for name in found["query.py"] if "lambda" not in name)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve crops, indexed by a tiny model."""
    root = tmp_path_factory.mktemp("journey")
    for i in range(12):
        crop(root / "crops", i)
    with Gallery.create(root / "gallery", str(write_run(root / "run"))) as made:
        made.index(root / "crops")
    return root / "gallery"


def test_a_search_enters_few_functions_and_files(gallery: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sketch = str(next((gallery.parent / "crops").rglob("*.png")))
    found = entered(lambda: main(["search", str(gallery), "red top", "--sketch", sketch]))
    assert len(capsys.readouterr().out.splitlines()) == 12
    names = sorted(f"{file}: {name}" for file, functions in found.items() for name in functions)
    assert len(found) <= FILES, names
    assert len(names) <= FUNCTIONS, names
