"""Near-duplicates by look and by track."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from descry.gallery.groups import early_look_of, group, look_of, near

RED, BLUE, GREEN, YELLOW, GREY = (200, 30, 30), (30, 30, 200), (30, 110, 30), (90, 90, 10), (80, 80, 80)


def dressed(jacket: tuple[int, int, int], trousers: tuple[int, int, int] = (40, 40, 60)) -> np.ndarray:
    """(3, 128, 64) uint8: one pose before one wall, dressed as asked."""
    wall = np.linspace(120, 200, 64)[None, :] + 20 * np.sin(np.arange(128) / 9)[:, None]
    pixels = np.repeat(wall[..., None], 3, axis=2).astype(np.uint8)
    pixels[12:28, 26:38] = (190, 150, 130)
    pixels[28:70, 18:46], pixels[70:120, 20:44] = jacket, trousers
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def together(*pictures: np.ndarray) -> bool:
    return len(set(group(np.array([look_of(p) for p in pictures], np.uint64)))) == 1


@pytest.mark.parametrize("other", [BLUE, GREEN, YELLOW, GREY], ids=str)
def test_one_pose_in_clothes_of_two_colours_is_two_people(other) -> None:
    assert not together(dressed(RED), dressed(other))
    assert not together(dressed(GREY, RED), dressed(GREY, other))
    level = sum(RED) / sum(other)  # also where both are equally bright, which is all that the hash was of
    assert not together(dressed(RED), dressed(tuple(min(255, int(c * level)) for c in other)))


def test_a_picture_saved_again_brighter_noisier_or_smaller_is_one_with_itself() -> None:
    rng, picture = np.random.default_rng(1), dressed(RED)
    upright = Image.fromarray(picture.transpose(1, 2, 0))
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=60)
    small = upright.resize((32, 64)).resize((64, 128))
    others = [np.asarray(p).transpose(2, 0, 1) for p in (Image.open(file), small)]
    others += [(picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8), picture // 10 * 9 + 12]
    for other in others:
        assert together(picture, other)


def test_a_purge_finds_looks_of_both_kinds() -> None:
    red, blue, early = dressed(RED), dressed(BLUE), np.array([early_look_of(dressed(RED))], np.uint64)
    assert near(np.array([0, look_of(red)], np.uint64), red)
    assert not near(np.array([look_of(blue)], np.uint64), red)
    assert near(early, red)
    assert not near(np.array([early_look_of(red[:, :, ::-1])], np.uint64), red)
    plain = np.full((3, 128, 64), 200, np.uint8)
    assert not near(np.array([look_of(plain), early_look_of(plain)], np.uint64), plain)
    assert not near(np.zeros(0, np.uint64), red)


def test_a_look_survives_light_and_noise_and_not_another_picture():
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.integers(20, 200, (3, 8, 4)), 8, axis=1), 8, axis=2).astype(np.uint8)
    noisy = (smooth + rng.normal(0, 2, smooth.shape) + 10).clip(0, 255).astype(np.uint8)
    other = np.repeat(np.repeat(rng.integers(20, 200, (3, 8, 4)), 8, axis=1), 8, axis=2).astype(np.uint8)
    distance = ((look_of(smooth) ^ look_of(other)) >> 16).bit_count()
    assert distance > 12
    assert ((look_of(smooth) ^ look_of(noisy)) >> 16).bit_count() < distance / 2
    assert look_of(np.zeros((3, 5, 3), np.uint8)) == 0x8888


def test_groups_join_near_looks_and_tracks():
    base = np.random.default_rng(1).integers(0, 2**63, 6, dtype=np.uint64)
    near = np.uint64(0b101 << 16)  # two bits of brightness
    looks = np.array([base[0], base[1], base[0] ^ near, base[2], base[0] ^ np.uint64(1 << 40), base[3]])
    tracks = np.array(["", "a", "", "b", "", "a"])
    assert group(looks).tolist() == [0, 1, 0, 3, 0, 5]
    assert group(looks, tracks).tolist() == [0, 1, 0, 3, 0, 1]
    assert group(np.zeros(0, np.uint64)).tolist() == []
    assert group(np.full(200, base[0])).tolist() == [0] * 200
    grey = np.array([0x8888, 0x8889, 0x888A, 0x8788, 0xF888], np.uint64)  # one step of colour is none, two are
    assert group(grey[[0, 1]]).tolist() == group(grey[[0, 3]]).tolist() == [0, 0]
    assert group(grey[[0, 2]]).tolist() == group(grey[[0, 4]]).tolist() == [0, 1]


def test_the_gallery_groups_what_it_shows(tmp_path, model):
    from descry.gallery import Gallery

    for name, jacket in (("a", RED), ("b", RED), ("c", BLUE)):
        (tmp_path / "c").mkdir(exist_ok=True)
        Image.fromarray(dressed(jacket).transpose(1, 2, 0)).save(tmp_path / "c" / f"{name}.png")
    with Gallery.create(tmp_path / "g", model) as gallery:
        gallery.index(tmp_path / "c")
        assert gallery.groups([1, 2, 3]) == [1, 1, 3]
