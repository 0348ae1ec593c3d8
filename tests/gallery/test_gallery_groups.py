"""Near-duplicates by look and by track."""

from __future__ import annotations

import numpy as np

from descry.gallery.groups import group, look_of


def test_a_look_survives_light_and_noise_and_not_another_picture():
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.integers(20, 200, (3, 8, 4)), 8, axis=1), 8, axis=2).astype(np.uint8)
    noisy = (smooth + rng.normal(0, 2, smooth.shape) + 10).clip(0, 255).astype(np.uint8)
    other = np.repeat(np.repeat(rng.integers(20, 200, (3, 8, 4)), 8, axis=1), 8, axis=2).astype(np.uint8)
    distance = (look_of(smooth) ^ look_of(other)).bit_count()
    assert distance > 12
    assert (look_of(smooth) ^ look_of(noisy)).bit_count() < distance / 2
    assert look_of(np.zeros((3, 5, 3), np.uint8)) == 0


def test_groups_join_near_looks_and_tracks():
    base = np.random.default_rng(1).integers(0, 2**63, 6, dtype=np.uint64)
    looks = np.array([base[0], base[1], base[0] ^ np.uint64(0b101), base[2], base[0] ^ np.uint64(1 << 40), base[3]])
    tracks = np.array(["", "a", "", "b", "", "a"])
    assert group(looks).tolist() == [0, 1, 0, 3, 0, 5]
    assert group(looks, tracks).tolist() == [0, 1, 0, 3, 0, 1]
    assert group(np.zeros(0, np.uint64)).tolist() == []
    assert group(np.full(200, base[0])).tolist() == [0] * 200


def test_the_gallery_groups_what_it_shows(tmp_path, model):
    from descry.gallery import Gallery

    from .plain_model import draw

    for name in ("a", "b"):
        draw(tmp_path / "c" / f"{name}.png", 1)
    draw(tmp_path / "c" / "c.png", 2)
    with Gallery.create(tmp_path / "g", model) as gallery:
        gallery.index(tmp_path / "c")
        assert gallery.groups([1, 2, 3]) == [1, 1, 3]
