"""Everything in a folder is accounted for: what is not read is listed with its reason, and nothing is lost for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from descry.gallery import Gallery
from descry.gallery.sources import Sources
from descry.images import GALLERY, Limits

from .plain_model import draw


@pytest.fixture
def gallery(tmp_path, model):
    with Gallery.create(tmp_path / "gallery", model) as made:
        yield made


def reasons(report) -> dict[str, str]:
    return {os.path.basename(path): why.split(":")[0] for path, why in report.skipped}


def old(folder: Path) -> None:
    """All files long unchanged, so that size and time alone tell that they are."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (10**9, 10**9))


@pytest.mark.parametrize(
    "error",
    [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file"), OSError(5, "Input/output error")],
)
def test_a_folder_that_cannot_be_listed_ends_nothing_and_keeps_its_items(gallery, crops, refusing, error):
    assert gallery.index(crops).added == 24
    refusing[str(crops / "cam0")] = error
    report = gallery.index(crops)
    assert (report.removed, report.unchanged, len(gallery)) == (0, 12, 24)
    assert reasons(report) == {"cam0": "missing"}
    assert any(path.endswith("cam0") for path, _ in gallery.skipped())
    refusing.clear()
    report = gallery.index(crops)
    assert (report.unchanged, report.removed, report.skipped, gallery.skipped()) == (24, 0, [], [])


def test_a_mount_that_went_away_removes_nothing(gallery, crops):
    gallery.index(crops)
    shutil.rmtree(crops / "cam1")
    (crops / "cam1").mkdir()
    report = gallery.index(crops)
    assert (report.removed, len(gallery), reasons(report)) == (0, 24, {"cam1": "empty"})
    (crops / "cam1").rmdir()
    assert gallery.index(crops).removed == 12, "a folder that was removed is gone"


def test_a_folder_that_was_always_empty_is_no_news(gallery, crops):
    (crops / "void").mkdir()
    assert gallery.index(crops).skipped == []


OTHERS = ("a.jp2", "b.svg", "c.txt", "d.mp4", "e.psd", "f", "g.cr2", "h.pdf", "i.zip", "j.ico", "k.PNG2", "l.xyz")


def test_files_of_twelve_other_kinds_are_listed_and_kept_in_the_list(gallery, crops):
    for name in OTHERS:
        (crops / name).write_bytes(b"something")
    report = gallery.index(crops)
    assert report.added == 24
    assert reasons(report) == dict.fromkeys(OTHERS, "format")
    assert {os.path.basename(path) for path, _ in gallery.skipped()} == set(OTHERS)
    (crops / "c.txt").unlink()
    gallery.index(crops)
    assert {os.path.basename(path) for path, _ in gallery.skipped()} == set(OTHERS) - {"c.txt"}


def test_linked_folders_are_told_and_read_on_request(gallery, crops, tmp_path):
    draw(tmp_path / "elsewhere" / "one.png", 500)
    os.symlink(tmp_path / "elsewhere", crops / "linked")
    os.symlink(crops, crops / "cam0" / "loop")
    os.symlink(tmp_path / "nothing", crops / "broken")
    report = gallery.index(crops)
    assert report.added == 24
    assert reasons(report) == {"linked": "link", "loop": "link", "broken": "link"}
    report = gallery.index(crops, links=True)
    assert (report.added, report.unchanged) == (1, 24)
    assert reasons(report) == {"loop": "link", "broken": "link"}
    report = gallery.index(crops)
    assert (report.removed, len(gallery)) == (0, 25), "not asked to follow it is no reason to remove"


def test_a_pipe_is_told(gallery, crops):
    os.mkfifo(crops / "pipe.png")
    assert reasons(gallery.index(crops)) == {"pipe.png": "special"}


def test_a_skip_is_tried_again_when_its_reason_may_have_gone(gallery, crops, monkeypatch):
    small = Limits(GALLERY.bytes, 100, GALLERY.side, GALLERY.formats)
    old(crops)
    report = gallery.index(crops, limits=small)
    assert (report.added, set(reasons(report).values())) == (0, {"too_many_pixels"})
    report = gallery.index(crops)
    assert (report.added, report.skipped) == (24, [])


def test_a_damaged_file_is_not_read_again(gallery, crops, monkeypatch):
    (crops / "half.png").write_bytes((crops / "cam0" / "p000.png").read_bytes()[:60])
    old(crops)
    gallery.index(crops)
    from descry.gallery import reading

    monkeypatch.setattr(reading.Reader, "read", lambda self, found: pytest.fail("read again"))
    assert reasons(gallery.index(crops)) == {"half.png": "corrupt"}


def labels(gallery) -> set[tuple[str, str]]:
    return {(item.camera, item.track) for item in gallery.items(gallery.snapshot().ids)}


def test_sources_named_later_take_effect_without_encoding(gallery, crops, model, tmp_path):
    old(crops)
    gallery.index(crops)
    assert labels(gallery) == {("", "")}
    model.calls = 0
    report = gallery.index(crops, sources=Sources(camera="dirname"))
    assert (report.relabelled, report.unchanged, report.encoded, model.calls) == (24, 24, 0, 0)
    assert labels(gallery) == {("cam0", ""), ("cam1", "")}
    assert gallery.index(crops, sources=Sources(camera="dirname")).relabelled == 0
    assert gallery.index(crops).relabelled == 0, "no source named leaves what is there"
    table = tmp_path / "t.csv"
    table.write_text("path,camera,time,track\np000.png,north,2026-01-31 14:05,x\n")
    report = gallery.index(crops, sources=Sources(time="csv", table=str(table)))
    item = next(i for i in gallery.items(gallery.snapshot().ids) if i.path.endswith("p000.png"))
    assert (report.relabelled, item.camera, item.track, str(item.time)) == (1, "north", "x", "2026-01-31 14:05:00")
    assert gallery.verify() == []


def test_sources_named_later_are_those_of_a_gallery_made_anew(gallery, crops, model, tmp_path):
    gallery.index(crops)
    old(crops)
    gallery.index(crops, sources=Sources(camera="dirname", time="mtime", track="p(\\d+)"))
    with Gallery.create(tmp_path / "anew", model) as anew:
        anew.index(crops, sources=Sources(camera="dirname", time="mtime", track="p(\\d+)"))
        fields = [{(i.path, i.camera, i.track, i.time) for i in g.items(g.snapshot().ids)} for g in (gallery, anew)]
    assert fields[0] == fields[1]
