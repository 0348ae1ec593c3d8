import inspect
import io
import struct
import zlib
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from descry import images
from descry.augment import AUGMENTATIONS, augmentation, erase, flip, pad_crop, resized_crop, rotate
from descry.clip import CLIP_MEAN, CLIP_STD
from descry.errors import ImageRejected, UsageError
from descry.images import GALLERY, LARGEST, Limits, decodes, load, read


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def reason(source, limits=GALLERY):
    with pytest.raises(ImageRejected) as caught:
        read(source, limits)
    return caught.value.reason


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return head + struct.pack(">I", 1000) + b"IDAT" + b"\x00" * 40


def test_rejections(tmp_path):
    good = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)))
    assert reason(tmp_path / "absent.png") == "missing"
    assert reason(tmp_path) == "missing"
    assert reason(b"") == "format"
    assert reason(b"GIF89a but not really") == "format"
    assert reason(encoded(Image.new("RGB", (20, 20)), "PPM")) == "format"
    assert reason(good[:400]) == "corrupt"
    assert reason(png_header(100_000, 100_000)) == "too_many_pixels"
    assert reason(png_header(9_000, 9_000)) == "too_many_pixels"
    assert reason(encoded(Image.new("RGB", (1, 1)))) == "too_small"
    assert reason(good, Limits(10, 10**6, 10**6, ("PNG",))) == "too_many_bytes"
    jpeg = encoded(Image.new("RGB", (64, 64), "red"), "JPEG")
    assert reason(jpeg[: len(jpeg) // 2]) == "corrupt"


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_the_limit_of_pixels_is_exact(size):
    limits = Limits(10**9, 1000 * 8, 10**9, ("PNG",))
    picture = encoded(Image.new("RGB", (size, 8)))
    if size <= 1000:
        assert read(picture, limits).size == (size, 8)
    else:
        assert reason(picture, limits) == "too_many_pixels"


def test_unusual_pictures_become_rgb():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sixteen = Image.fromarray(ramp.astype(np.uint16) * 257)
    assert np.abs(np.asarray(read(encoded(sixteen)))[..., 0].astype(int) - ramp).max() <= 1
    assert read(encoded(Image.new("CMYK", (16, 16)), "JPEG")).mode == "RGB"
    assert read(encoded(Image.fromarray(ramp).convert("P"))).mode == "RGB"
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert read(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)
    frames = [Image.new("RGB", (16, 16), c) for c in ("red", "blue")]
    animated = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert read(animated).getpixel((0, 0)) == (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read(encoded(Image.new("RGB", (20, 10)), "JPEG", exif=exif)).size == (10, 20)


def test_sources_are_equal(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 12, 3), np.uint8)
    file = tmp_path / "a.png"
    Image.fromarray(pixels).save(file)
    loaded = load(file, (16, 8))
    assert loaded.shape == (3, 16, 8)
    assert loaded.dtype == np.uint8
    for source in (
        str(file),
        file.read_bytes(),
        pixels,
        Image.fromarray(pixels),
        pixels / 255.0,
        io.BytesIO(file.read_bytes()),
    ):
        assert np.array_equal(load(source, (16, 8)), loaded)
    with pytest.raises(UsageError, match=r"\[0, 1\]"):
        read(pixels.astype(np.float32))
    with pytest.raises(UsageError, match=r"\(H, W, 3\)"):
        read(np.zeros((2, 2, 2, 2)))
    with pytest.raises(UsageError, match="a picture is"):
        read(7)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_keep_shape_range_and_input(name):
    images = torch.rand(9, 3, 32, 16)
    before = images.clone()
    out = augmentation(name)(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(images, before)
    assert torch.equal(out, augmentation(name)(images, torch.Generator().manual_seed(0)))
    if name != "none":
        assert not torch.equal(out, augmentation(name)(images, torch.Generator().manual_seed(1)))


def test_erasing_fills_with_what_clips_mean_is_after_normalisation():
    """Erasing after normalisation writes the mean's value m: before it, that is m · std + mean = mean · (1 + std)."""
    black = torch.zeros(50, 3, 32, 16)
    out = augmentation("flip-crop-erase")(black, torch.Generator().manual_seed(0))
    found = out.permute(0, 2, 3, 1).reshape(-1, 3).unique(dim=0)
    mean, std = np.array(CLIP_MEAN), np.array(CLIP_STD)
    assert torch.equal(found[0], torch.zeros(3))
    assert found[1].numpy() == pytest.approx(mean * (1 + std), abs=1e-6)
    assert len(found) == 2
    assert found[1].tolist() == pytest.approx([0.6108, 0.5775, 0.5208], abs=5e-5)


def test_what_each_augmentation_does():
    g, images = torch.Generator().manual_seed(0), torch.rand(400, 3, 24, 12)
    flipped = flip(images, g)
    mirrored = (flipped == images.flip(3)).all(dim=(1, 2, 3))
    assert 0.4 < mirrored.float().mean() < 0.6
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    ones = torch.ones(400, 3, 40, 40)
    erased = 1 - erase(ones, g, share=1.0, scale=(0.1, 0.2)).mean(dim=(1, 2, 3))
    assert erased.min() > 0.07
    assert erased.max() < 0.21
    assert 0.35 < (erase(ones, g, share=0.5).amin(dim=(1, 2, 3)) == 0).float().mean() < 0.65
    shifted = pad_crop(ones, g, pad=10)
    assert shifted.mean() < 1
    assert torch.allclose(rotate(ones, g, degrees=0.0), ones)
    assert torch.allclose(resized_crop(ones, g), ones, atol=1e-5)
    ramp = torch.linspace(0, 1, 40).expand(50, 3, 40, 40)
    assert resized_crop(ramp, g)[:, 0, 0].sub(ramp[:, 0, 0]).abs().max() < 0.25
    with pytest.raises(UsageError, match="did you mean 'flip'"):
        augmentation("flp")


def test_a_rectangle_that_does_not_fit_is_drawn_again():
    """torchvision's rule, simulated by a loop: of 384 × 128 pictures few erasures are as wide as the picture."""
    from descry.augment import _rectangles

    top, left, tall, wide = _rectangles(384, 128, 20_000, torch.Generator().manual_seed(0), (0.02, 0.4))
    drawn = tall > 0
    assert (top + tall <= 384).all()
    assert (left + wide <= 128).all()
    rng, areas, full = np.random.default_rng(0), [], 0
    for _ in range(20_000):
        for _ in range(10):
            area = 384 * 128 * rng.uniform(0.02, 0.4)
            ratio = np.exp(rng.uniform(np.log(0.3), np.log(3.3)))
            h, w = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if h < 384 and w < 128:
                areas.append(h * w / (384 * 128))
                full += w >= 120
                break
    ours = (tall * wide / (384 * 128))[drawn]
    assert float(ours.mean()) == pytest.approx(np.mean(areas), rel=0.02)
    assert float((wide[drawn] >= 120).float().mean()) == pytest.approx(full / len(areas), abs=0.01)


def test_the_grey_that_is_transparent_is_white_at_every_depth():
    for dtype, kind in ((np.uint8, "L"), (np.uint16, "I;16")):
        grey = np.full((16, 16), 100, dtype)
        grey[:8] = 7
        picture = Image.fromarray(grey)
        assert picture.mode == kind
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", transparency=7)
        shown = np.asarray(read(buffer.getvalue()))
        assert (shown[:8] == 255).all(), kind
        assert (shown[8:] == (100 if dtype is np.uint8 else 0)).all(), "sixteen bits are scaled by their own range"


SHAPES = [(10, 45_000), (39_999, 8), (7, 100), (8, 8), (20, 30)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_data_check_refuses_what_training_refuses(tmp_path, shape, kind):
    """One limit for whoever reads pictures of this machine: check, training, --image, page, sheets and reports."""
    path = tmp_path / f"a.{kind.lower()}"
    Image.new("L", shape, 90).save(path, kind)
    try:
        load(path, (16, 8))
        reason = ""
    except ImageRejected as error:
        reason = error.reason
    assert decodes(path) == reason
    assert bool(reason) == (max(shape) > LARGEST.side or min(shape) < LARGEST.least)


def test_too_many_bytes_are_refused_by_both(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("L", (64, 64), 90).save(path)
    with path.open("ab") as file:
        file.truncate(LARGEST.bytes + 1)
    with pytest.raises(ImageRejected, match="bytes"):
        load(path, (16, 8))
    assert decodes(path) == "too_many_bytes"


def test_what_indexing_takes_when_asked_all_others_show():
    from descry.cli.index import index
    from descry.errors import Bound

    hint = get_type_hints(index, include_extras=True)["max_mp"]
    assert Bound(0, LARGEST.pixels / 1e6, above=True) in hint.__metadata__
    for name in ("read", "load", "decodes", "header"):
        assert inspect.signature(getattr(images, name)).parameters["limits"].default == LARGEST


@pytest.mark.parametrize("nothing", [np.zeros((0, 0, 3)), np.zeros((0, 9), np.uint8), Image.new("RGB", (0, 5))])
def test_a_picture_without_a_pixel_is_refused(nothing):
    with pytest.raises(ImageRejected, match="holds no"):
        images.read(nothing)


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.complex64, object])
def test_the_kind_of_an_array_that_is_not_read_is_named(kind):
    with pytest.raises(UsageError, match="array of "):
        images.read(np.zeros((9, 9, 3)).astype(kind))
