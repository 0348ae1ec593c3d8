"""Pictures of phones, scanners and the web: HEIC, AVIF, TIFF and the first frame of a GIF."""

from __future__ import annotations

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from descry import images
from descry.errors import ImageRejected
from descry.gallery import Gallery

from gallery.plain_model import PlainModel  # isort: skip

FORMATS = {"a.heic": "HEIF", "a.avif": "AVIF", "a.tif": "TIFF", "a.gif": "GIF", "a.jfif": "JPEG"}


def written(kind: str, **options) -> bytes:
    pillow_heif.register_heif_opener()
    image = Image.new("RGB", (64, 128), (200, 30, 30))
    image.paste((30, 30, 200), (0, 64, 64, 128))
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", sorted(set(FORMATS.values())))
def test_pixels_are_right(kind):
    pixels = np.asarray(images.read(written(kind)), int)
    assert pixels.shape == (128, 64, 3)
    assert np.abs(pixels[20, 30] - (200, 30, 30)).max() < 25
    assert np.abs(pixels[100, 30] - (30, 30, 200)).max() < 25


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF", "GIF"])
def test_damaged_ones_are_refused(kind):
    data = written(kind)
    with pytest.raises(ImageRejected):
        images.read(data[: len(data) // 3])


def test_of_a_gif_the_first_frame_is_read():
    later = [Image.new("RGB", (64, 128), (0, 255, 0))]
    assert images.read(written("GIF", save_all=True, append_images=later)).getpixel((30, 20))[0] > 150


def test_a_folder_of_them_is_indexed(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, kind in FORMATS.items():
        (folder / name).write_bytes(written(kind))
    with Gallery.create(tmp_path / "gallery", PlainModel()) as gallery:
        report = gallery.index(folder)
    assert (report.added, report.skipped) == (len(FORMATS), [])


def test_too_much_text_in_a_png_is_named():
    held = PngImagePlugin.PngInfo()
    held.add_text("note", "x" * 2_000_000, zip=True)
    with pytest.raises(ImageRejected, match="more text or colour profile than is read") as refused:
        images.read(written("PNG", pnginfo=held))
    assert refused.value.reason == "too_many_bytes"  # the picture is whole
