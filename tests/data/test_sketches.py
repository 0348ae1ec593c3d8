"""Sketches from photographs: styles differ, the same seed gives the same bytes, folders are mirrored and resumed."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image, ImageDraw

from descry.data import read
from descry.data.sketches import RECORD, Drawing, draw_sketches
from descry.errors import DataError, UsageError
from descry.sketching import STYLES, sketch

pytest.importorskip("scipy", reason="scipy (extra 'data') is not installed")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Somebody in a red coat and dark trousers in front of a pale wall."""
    image = Image.new("RGB", (64, 128), (214, 210, 200))
    pen = ImageDraw.Draw(image)
    pen.ellipse((24, 8, 40, 28), fill=(190, 150, 120))
    pen.rectangle((18, 30, 46, 74), fill=(190, 30, 40))
    pen.rectangle((20, 74, 44, 122), fill=(30, 30, 46))
    return image


@pytest.mark.parametrize("style", STYLES)
def test_a_drawing_is_dark_strokes_on_white_paper(photo, style) -> None:
    drawn = sketch(photo, style)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (256, 128)
    assert np.median(drawn[:8]) > 240
    ink = (drawn < 128).mean()
    assert 0.005 < ink < 0.6
    outline = drawn[40:240, 28:102]
    assert outline.min() < 90


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_same_bytes(photo, style) -> None:
    once = sketch(photo, style, 5, 0.3, 0.03)
    assert np.array_equal(once, sketch(photo, style, 5, 0.3, 0.03))
    assert not np.array_equal(once, sketch(photo, style, 6, 0.3, 0.03))


def test_styles_differ(photo) -> None:
    drawn = [sketch(photo, style).astype(int) for style in STYLES]
    assert len(drawn) >= 4
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert np.abs(one - other).mean() > 2


def test_dropout_leaves_strokes_out_and_distortion_moves_them(photo) -> None:
    whole = sketch(photo, "edge")
    ink = [(255 - sketch(photo, "edge", 1, share).astype(int)).sum() for share in (0.0, 0.3, 0.7, 1.0)]
    assert ink == sorted(ink, reverse=True)
    assert ink[3] < 0.02 * ink[0]
    moved = sketch(photo, "edge", 1, 0.0, 0.04)
    assert 0.6 < (255 - moved.astype(int)).sum() / (255 - whole.astype(int)).sum() < 1.4
    assert np.abs(moved.astype(int) - whole).mean() > 1


def test_what_cannot_be_meant() -> None:
    with pytest.raises(UsageError, match="did you mean 'pencil'"):
        sketch(Image.new("RGB", (32, 64)), "pensil")
    with pytest.raises(UsageError, match=r"dropout 1\.5"):
        sketch(Image.new("RGB", (32, 64)), "edge", dropout=1.5)


def test_flat_and_tiny_pictures_are_drawn() -> None:
    for picture in (Image.new("RGB", (8, 8)), Image.new("L", (300, 40), 255), Image.new("RGB", (9, 400), (9, 9, 9))):
        for style in STYLES:
            assert sketch(picture, style).shape[0] == 256


def test_what_a_system_writes_beside_photographs_is_passed_over(photo, tmp_path) -> None:
    (tmp_path / "imgs").mkdir()
    photo.save(tmp_path / "imgs" / "1.jpg")
    (tmp_path / "imgs" / "._1.jpg").write_bytes(b"no picture")
    made = draw_sketches(tmp_path)
    assert (made.made, made.skipped) == (1, ())
    assert sorted(p.name for p in (tmp_path / "imgs-sketch").iterdir()) == ["1.jpg", RECORD]


@pytest.mark.parametrize("years", [-3, 3])
def test_a_photograph_that_was_replaced_is_drawn_again_whatever_its_date(tmp_path, years) -> None:
    """As after `rsync -a` or a restored copy: its date may be older than that of the sketch."""
    photo = tmp_path / "imgs" / "a.png"
    photo.parent.mkdir()
    Image.effect_noise((32, 64), 90).convert("RGB").save(photo)
    assert draw_sketches(tmp_path).made == 1
    assert (draw_sketches(tmp_path).made, draw_sketches(tmp_path).kept) == (0, 1)
    before, date = (tmp_path / "imgs-sketch" / "a.png").read_bytes(), photo.stat().st_mtime + years * 3.15e7
    Image.linear_gradient("L").resize((32, 64)).convert("RGB").save(photo)
    os.utime(photo, (date, date))
    assert (draw_sketches(tmp_path).made, draw_sketches(tmp_path).kept) == (1, 1)
    assert (tmp_path / "imgs-sketch" / "a.png").read_bytes() != before


def test_a_tri_pedes_is_made_from_photographs(copied) -> None:
    """Miniature without its sketches → `draw_sketches` → the reader of Tri-PEDES."""
    import shutil

    root = copied("tri-pedes", "imgs-sketch2")
    for folder in root.glob("*/imgs-sketch2"):
        shutil.rmtree(folder)
    drawing = Drawing("sparse", 0.1, 0.01)
    drawn = draw_sketches(root, drawing, threads=2)
    assert (drawn.made, drawn.kept, drawn.skipped) == (88, 0, ())
    assert len(read("tri-pedes", root, variant="imgs-sketch").train) == 83

    victim = root / "RSTPReid/imgs-sketch/0001_c2_0001.jpg"
    before = victim.read_bytes()
    victim.unlink()
    again = draw_sketches(root, drawing, threads=1)
    assert (again.made, again.kept) == (1, 87)
    assert victim.read_bytes() == before
    with pytest.raises(DataError, match=r"was drawn with style 'sparse'.*--sketches"):
        draw_sketches(root, Drawing("edge"))


def test_unreadable_photographs_are_skipped_with_the_reason(tmp_path) -> None:
    (tmp_path / "imgs").mkdir()
    Image.new("RGB", (32, 64), (200, 90, 90)).save(tmp_path / "imgs/a.jpg")
    (tmp_path / "imgs/b.jpg").write_bytes(b"no picture")
    drawn = draw_sketches(tmp_path, Drawing("edge"), threads=1)
    assert drawn.made == 1
    assert drawn.skipped == ((str(tmp_path / "imgs/b.jpg"), "format"),)
    assert not list(tmp_path.rglob("*.partial"))
    assert (tmp_path / "imgs-sketch" / RECORD).is_file()


def test_sketches_of_another_origin_are_left_alone(tmp_path) -> None:
    for folder in ("imgs", "imgs-sketch"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (32, 64)).save(tmp_path / folder / "a.jpg")
    with pytest.raises(DataError, match="holds sketches of another origin"):
        draw_sketches(tmp_path, Drawing())
    with pytest.raises(DataError, match="holds no folder 'photos'"):
        draw_sketches(tmp_path, Drawing(), photos="photos")


def test_every_file_of_a_folder_is_drawn_or_listed(tmp_path, refusing) -> None:
    photos = tmp_path / "imgs"
    for name in ("a.png", "deep/b.png", "locked/c.png", ".hidden/d.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 64), "red").save(photos / name)
    for name in ("notes.txt", "deep/e.jp2", "f.png.bak", ".DS_Store"):
        (photos / name).write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    refusing[str(photos / "locked")] = PermissionError(13, "Permission denied")
    drawn = draw_sketches(tmp_path, Drawing("edge", 0.0, 0.0, 0), threads=1)
    assert drawn.made == 2
    assert {name: reason.split(":")[0] for name, reason in drawn.skipped} == {
        "locked": "missing", "linked": "link", "notes.txt": "format", "deep/e.jp2": "format", "f.png.bak": "format",
    }  # fmt: skip
    assert draw_sketches(tmp_path, Drawing("edge", 0.0, 0.0, 0), threads=1).kept == 2
