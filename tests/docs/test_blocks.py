"""Every code block of the documentation runs, page by page, each in a folder of its own and in this process.

A block that cannot run here says why in a comment before it, `<!-- not run: … -->`; its commands, and those that a page
only names, must exist with the options that they are given.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil

import pytest

from descry.cli import main
from descry_people.folder import write_people

from .reading import PAGES, ROOT, blocks, fault, named

pytest.importorskip("matplotlib", reason="the pages draw figures: install the extra `figures`")

PAGES_THAT_RUN = [p for p in PAGES if any(b.kind in ("bash", "python") for b in blocks(p))]
SHORTER = {
    "own-data.md": {"--identities 120": "--identities 40", "--epochs 4": "--epochs 1"},
}
"""Pages that take long: what every run exchanges in their commands; the long tests run them as they stand."""

# what a page takes for granted: galleries by these names; {page: names}
GALLERIES = {"account.md": ["my-gallery"], "api.md": ["gallery"], "conversation.md": ["GALLERY"]}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Photographs and a sketch of a few synthetic people, and a gallery of them by the model that ships."""
    root = tmp_path_factory.mktemp("docs")
    people = write_people(root / "people", 40, 2, 1, 1, splits={"test": 40}, size=(48, 96), processes=1)
    assert main(["index", str(people / "photos"), "--model", "demo", "--out", str(root / "gallery")]) == 0
    return root


@pytest.fixture
def folder(photographs, tmp_path, monkeypatch):
    """Where a page's blocks run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("PHOTOS", "crops"):
        shutil.copytree(photographs / "people" / "photos", tmp_path / name)
    shutil.copy(next((photographs / "people" / "sketches").iterdir()), tmp_path / "drawing.png")
    shutil.copy(next((photographs / "people" / "photos").iterdir()), tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.parametrize(
    ("page", "exchanged"),
    [
        *(pytest.param(p, SHORTER.get(p.name, {}), id=p.name) for p in PAGES_THAT_RUN),
        *(
            pytest.param(p, {}, id=f"{p.name} as it stands", marks=pytest.mark.long)
            for p in PAGES_THAT_RUN
            if p.name in SHORTER
        ),
    ],
)
def test_the_blocks_of_a_page_run(page, exchanged, folder, photographs, capsys):
    assert all(any(long in block.code for block in blocks(page)) for long in exchanged)
    for name in GALLERIES.get(page.name, []):
        shutil.copytree(photographs / "gallery", folder / name)
    names: dict[str, object] = {}
    printed: list[str] = []
    for block in blocks(page):
        if block.why:
            continue
        if block.kind == "python":
            exec(compile(block.code, page.name, "exec"), names)
        for line in block.lines if block.kind == "bash" else []:
            for long, short in exchanged.items():
                line = line.replace(long, short)
            printed += _shell(line, capsys)
    if page.name == "first-hour.md":
        assert [len(b.lines) for b in blocks(page)] == [10], "ten commands"
        assert (folder / "mini" / "losses.png").is_file()
    if page.name == "own-data.md":
        shown = [line for block in blocks(page) if block.kind == "text" for line in block.lines]
        assert {*map(_shape, shown)} <= {*map(_shape, printed)}, "what the page shows is what the commands print"
        trained, said, gained = map(float, re.findall(r"[-+]?\d+\.\d+", shown[-1])[:3])
        assert gained == pytest.approx(trained - said, abs=0.011)
        assert f"Before training, R@1 is {said:.0f}." in page.read_text("utf-8")
        rows = [json.loads((folder / name).read_text())["results"] for name in ("before.json", "after.json")]
        (before,), (after,) = rows
        if not exchanged:
            assert after["R@1"] > before["R@1"] + 10, "training improves the score, as the page says"
            assert (before["R@1"], after["R@1"]) == pytest.approx((said, trained), abs=5), "a little, says the page"


def _shape(line: str) -> str:
    """A line of output with 0 in the place of its numbers and lists of numbers, and one space between words."""
    return " ".join(re.sub(r"[-+]?\d[\d.]*(, *[-+]?\d[\d.]*)*", "0", line).split())


def _shell(line, capsys) -> list[str]:
    """Run one line of a page; the lines that it prints."""
    words = shlex.split(line, comments=True)
    if words[0] == "descry":
        capsys.readouterr()
        status = main(words[1:])
        out, err = capsys.readouterr()
        assert status == 0, (line, err)
        return [*out.splitlines(), *err.splitlines()]
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), line
    else:
        assert words[0] == "cd", f"{line}: not a command of ours; give the block a reason not to be run"
    return []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_names_exists(page):
    assert [f"{command}: {wrong}" for command in named(page) if (wrong := fault(command))] == []


def test_a_block_that_is_not_run_says_why():
    for page in PAGES:
        assert all(len(b.why.split()) >= 3 for b in blocks(page) if b.why), page.name
        assert page.read_text("utf-8").count("<!-- not run") == sum(bool(b.why) for b in blocks(page)), page.name


def test_an_unknown_command_and_an_unknown_option_are_found():
    assert fault("descry train propot --data X --from Y --out Z --tensorboard") == ""
    assert "no command" in fault("descry trian propot")
    assert "--tensor" in fault("descry train propot --tensor")
    assert fault("torchrun --nproc-per-node 2 -m descry train propot --data X") == ""
    assert "no command" in fault("descry data chek X")


def test_scripts_that_pages_name_exist():
    for page in PAGES:
        for script in re.findall(r"(?:python )((?:recipes|tools|benchmarks)/[\w.]+)", page.read_text("utf-8")):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"
