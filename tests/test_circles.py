"""No module of the product imports another that imports it, inside packages and inside functions too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import descry

ROOT = Path(descry.__file__).parent


def modules() -> dict[str, Path]:
    found = {".".join(("descry", *p.relative_to(ROOT).with_suffix("").parts)): p for p in ROOT.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that run when this one runs, wherever the import stands; not those it takes types from."""
    tree = ast.parse(path.read_text("utf-8"))
    typed = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    left_out = {id(inner) for node in typed for inner in ast.walk(node)}
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in left_out:
            yield from (a.name for a in node.names if a.name in known and a.name != name)
        if not isinstance(node, ast.ImportFrom) or id(node) in left_out:
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        parent = ".".join([*base, *filter(None, [node.module])])
        for alias in node.names:
            target = f"{parent}.{alias.name}" if f"{parent}.{alias.name}" in known else parent
            if target in known and target != name and not name.startswith(f"{target}."):
                yield target


@pytest.mark.parametrize(
    "text",
    [
        "from .b import f",
        "from . import b",
        "from descry.b import f",
        "import descry.b",
        "def f():\n    from .b import f",
        "class A:\n    def f(self):\n        import descry.b as b",
    ],
)
def test_an_import_is_seen_however_it_is_written(tmp_path, text) -> None:
    (tmp_path / "a.py").write_text(text)
    known = {"descry.a": tmp_path / "a.py", "descry.b": tmp_path / "b.py"}
    assert set(imported("descry.a", tmp_path / "a.py", known)) == {"descry.b"}
    (tmp_path / "a.py").write_text("if TYPE_CHECKING:\n    from .b import f")
    assert not set(imported("descry.a", tmp_path / "a.py", known))


def test_no_module_imports_one_that_imports_it() -> None:
    known = modules()
    graph = {name: set(imported(name, path, known)) for name, path in known.items()}
    assert "descry.ranking" in graph["descry.search"]  # the graph is not empty
    TopologicalSorter(graph).prepare()
    with pytest.raises(CycleError):
        TopologicalSorter(graph | {"descry.errors": {"descry.search"}}).prepare()
