"""Pictures whose folder moved: the items follow, numbers and vectors stay, and nothing is encoded again."""

from __future__ import annotations

import os
import shutil

import pytest

from descry.cli import main
from descry.errors import UsageError
from descry.gallery import Gallery

from .plain_model import draw


@pytest.fixture
def gallery(tmp_path, crops, model):
    (crops / "bad.jpg").write_text("no picture")
    for path in crops.rglob("*.*"):
        os.utime(path, (1.7e9, 1.7e9))
    made = Gallery.create(tmp_path / "g", model)
    made.index(crops)
    yield made
    made.close()


def content(gallery: Gallery) -> dict[int, tuple]:
    return {i.id: (os.path.basename(i.path), i.sha256, i.look) for i in gallery.listed()}


def test_items_follow_their_pictures(gallery, crops, tmp_path, model):
    before, vectors = content(gallery), gallery.vectors(range(1, 25)).tobytes()
    shutil.move(crops, tmp_path / "elsewhere" / "crops")
    report = gallery.relocate(crops, tmp_path / "elsewhere" / "crops")
    assert (report.moved, report.absent, report.joined) == (24, 0, 0)
    assert content(gallery) == before
    assert gallery.vectors(range(1, 25)).tobytes() == vectors
    assert all(i.path.startswith(str(tmp_path / "elsewhere")) for i in gallery.listed())
    assert gallery.verify() == []
    encoded = model.calls
    again = gallery.index(tmp_path / "elsewhere" / "crops")
    assert (again.unchanged, again.added, again.removed, model.calls) == (24, 0, 0, encoded)
    assert [os.path.basename(p) for p, _ in again.skipped] == ["bad.jpg"]


def test_items_without_a_file_at_the_new_place_stay(gallery, crops, tmp_path):
    shutil.copytree(crops, tmp_path / "new")
    (tmp_path / "new" / "cam0" / "p000.png").unlink()
    (tmp_path / "new" / "cam0" / "p002.png").write_bytes(b"of another size")
    report = gallery.relocate(crops, tmp_path / "new")
    assert (report.moved, report.absent) == (22, 2)
    assert sum(i.path.startswith(str(crops)) for i in gallery.listed()) == 2


def test_pictures_indexed_at_both_places_become_one_again(gallery, crops, tmp_path, model):
    before = content(gallery)
    shutil.copytree(crops, tmp_path / "new")
    gallery.index(tmp_path / "new")
    assert len(gallery) == 48
    report = gallery.relocate(crops, tmp_path / "new")
    assert (report.moved, report.joined) == (24, 24)
    assert content(gallery) == before
    assert gallery.verify() == []


def test_what_cannot_be_meant_changes_nothing(gallery, crops, tmp_path):
    before = [i.path for i in gallery.listed()]
    with pytest.raises(UsageError, match=f"its pictures lie below {crops}"):
        gallery.relocate(tmp_path / "nowhere", crops)
    with pytest.raises(UsageError, match="none of the 24 files"):
        gallery.relocate(crops, tmp_path / "nowhere")
    with pytest.raises(UsageError, match="given twice"):
        gallery.relocate(crops, crops)
    other = tmp_path / "other"
    shutil.copytree(crops, other)
    draw(other / "cam0" / "p000.png", 77)
    gallery.index(other)
    (other / "cam0" / "p000.png").write_bytes((crops / "cam0" / "p000.png").read_bytes())
    with pytest.raises(UsageError, match="with another content"):
        gallery.relocate(crops, other)
    assert [i.path for i in gallery.listed() if i.path.startswith(f"{crops}/")] == before


def test_the_command(gallery, crops, tmp_path, capsys):
    gallery.store.release()
    shutil.move(crops, tmp_path / "new")
    (tmp_path / "new" / "cam0" / "p000.png").unlink()
    assert main(["gallery", "relocate", str(gallery.path), str(crops), str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "23 items moved; nothing was encoded again" in said
    assert "1 item not followed" in said
