"""One way to list a folder of pictures or videos: whoever reads one says the same of the same entries."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import descry
from descry.data.sketches import Drawing, draw_sketches
from descry.footage.reading import FootageError, sources_of
from descry.gallery import Gallery
from descry.web.folders import Folders, Refusal
from gallery.plain_model import PlainModel, draw

ROOT = Path(descry.__file__).parent
OWN = {
    *("cli/index.py _place", "cli/model.py pack", "export.py export", "gallery/conversion.py _stamp"),
    *("gallery/conversion.py convert", "gallery/inspecting.py inspect", "gallery/local.py _unfinished"),
    *("gallery/local.py create", "gallery/local.py erase", "gallery/local.py size", "gallery/merge.py merge"),
    *(
        "safe_files.py refuse_links",
        "cli/resident.py stamp",
        "footage/cropping.py __init__",
        "footage/cropping.py _sweep",
    ),
    *("footage/detecting.py _holds_boxes", "footage/detecting.py content_of"),
    *("data/files.py missing_files", "data/files.py pictures_in"),
}
"""They look into a folder that descry or a data set laid out, by the names that stand in it, and read no tree."""


def test_no_other_function_lists_a_folder() -> None:
    found = set()
    for file in ROOT.rglob("*.py"):
        for function in (n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.FunctionDef)):
            for node in ast.walk(function):
                listing = ("scandir", "walk", "iterdir", "rglob", "listdir")
                if isinstance(node, ast.Attribute) and node.attr in listing and ast.unparse(node) != "ast.walk":
                    found.add(f"{file.relative_to(ROOT).as_posix()} {function.name}")
    assert found - OWN == {"listing.py entries_of"}
    assert not OWN - found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """imgs/ with a picture, another format, no suffix, a linked folder, a broken link, a pipe, a locked and a vanished
    folder."""
    place = tmp_path / "root" / "imgs"
    draw(place / "a.png", 1)
    for name in ("b.xyz", "noname", "locked/c.png", "vanished/d.png", ".hidden/e.png"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"x")
    draw(tmp_path / "elsewhere" / "f.png", 2)
    (place / "linked").symlink_to(tmp_path / "elsewhere")
    (place / "broken").symlink_to(tmp_path / "nothing")
    os.mkfifo(place / "pipe")
    listed = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        if str(path).endswith("vanished"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return place


SAID = {
    "b.xyz": "by its name (.xyz)",
    "noname": "by its name (no suffix)",
    "locked": "the folder cannot be listed: Permission denied",
    "vanished": "the folder cannot be listed: No such file or directory",
    "linked": "a linked folder, which was not entered",
    "broken": "a link to nothing that is there",
    "pipe": "no regular file",
}


def by_index(place: Path) -> dict[str, str]:
    with Gallery.create(place.parent / "g", PlainModel()) as gallery:
        report = gallery.index(place)
        assert (report.added, len(report.skipped)) == (1, len(gallery.skipped()))
        return dict(report.skipped)


def by_sketches(place: Path) -> dict[str, str]:
    drawn = draw_sketches(place.parent, Drawing("edge", 0.0, 0.0, 0), threads=1)
    assert drawn.made == 1
    return dict(drawn.skipped)


def by_footage(place: Path) -> dict[str, str]:
    found = sources_of([place])
    assert [s.path for s in found if not isinstance(s, FootageError)] == [str(place)]
    return dict(str(s).split(": ", 1) for s in found if isinstance(s, FootageError))


@pytest.mark.parametrize("reader", [by_index, by_sketches, by_footage])
def test_every_reader_of_a_folder_says_the_same(folder, reader) -> None:
    told = {os.path.basename(path): why for path, why in reader(folder).items()}
    assert set(told) == set(SAID)
    for name, why in SAID.items():
        assert why in told[name]


def test_the_page_says_that_a_folder_cannot_be_listed(folder) -> None:
    listed = Folders([folder])
    root = listed.listed().folders[0]
    locked = next(place for place in listed.listed(root.id).folders if place.name.endswith("locked"))
    with pytest.raises(Refusal, match="the folder cannot be listed: Permission denied; check its permissions"):
        listed.listed(locked.id)


def test_a_locked_folder_beside_photographs_ends_no_drawing(folder) -> None:
    (folder.parent / "locked").mkdir()
    draw(folder.parent / "b" / "imgs" / "a.png", 3)
    drawn = draw_sketches(folder.parent, Drawing("edge", 0.0, 0.0, 0), threads=1)
    assert drawn.made == 2
    assert (str(folder.parent / "locked"), "missing: the folder cannot be listed: Permission denied") in drawn.skipped
