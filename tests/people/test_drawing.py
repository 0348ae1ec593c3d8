"""Persons, photographs and sketches: deterministic, varied, and their attributes visible in the pixels."""

from __future__ import annotations

import dataclasses
import math
from random import Random

import numpy as np
import pytest

from descry.drawing.figure import VIEWS, Body, Pose, ribbon
from descry.drawing.layers import figure
from descry.errors import DataError, UsageError
from descry_people import person as P
from descry_people.paint import RGB
from descry_people.person import make_pose
from descry_people.photo import draw_photo
from descry_people.scene import WORLDS, cameras
from descry_people.sketch import STYLES, draw_sketch

PLAIN = dict.fromkeys(("headwear", "beard", "eyewear", "outer", "bag", "neckwear", "carried"), "none")
COLOURLESS = dict.fromkeys(("headwear_colour", "outer_colour", "bag_colour", "neckwear_colour"), "none")


def plain(pid: int = 3, **changes: str) -> P.Person:
    """A person with nothing that covers the upper garment, apart from what is asked for."""
    base = {
        "upper": "t-shirt",
        "sleeves": "short",
        "upper_pattern": "plain",
        "lower": "trousers",
        "lower_pattern": "plain",
    }
    base |= {
        "lower_colour": "black",
        "build": "average",
        "sex": "man",
        "hair_length": "short",
        "hair_style": "straight",
    }
    return dataclasses.replace(P.make_person(pid), **{**PLAIN, **COLOURLESS, **base, "hair_colour": "brown", **changes})


def test_a_person_depends_on_number_and_seed_only() -> None:
    later = [P.make_person(i, 4) for i in (9, 2, 5)]
    assert later == [P.make_person(9, 4), P.make_person(2, 4), P.make_person(5, 4)]
    assert P.make_person(2, 4) != dataclasses.replace(P.make_person(2, 5), pid=2)


def test_every_value_occurs_and_people_differ() -> None:
    people = [P.make_person(i) for i in range(3000)]
    for name, values in P.ATTRIBUTES.items():
        assert {getattr(p, name) for p in people} == set(values), name
    records = [tuple(P.held(p).values()) for p in people]
    assert len(set(records)) == len(records)


def test_attributes_fit_together() -> None:
    for p in (P.make_person(i) for i in range(2000)):
        assert (p.hair_length == "bald") == (p.hair_colour == "none")
        assert p.beard == "none" or p.sex == "man"
        assert (p.upper == "dress") == (p.lower == "bare legs" or (p.lower == "leggings" and p.upper == "dress"))
        for thing in ("bag", "headwear", "outer", "neckwear"):
            assert (getattr(p, thing) == "none") == (getattr(p, f"{thing}_colour") == "none")
        assert p.neckwear != "tie" or p.upper == "shirt"


def test_a_record_survives_json_and_refuses_what_it_does_not_know() -> None:
    one = P.make_person(17)
    assert P.from_json(P.to_json(one)) == one
    with pytest.raises(DataError, match="bag"):
        P.from_json({k: v for k, v in P.to_json(one).items() if k != "bag"})
    with pytest.raises(DataError, match="did you mean 'backpack'"):
        P.from_json(P.to_json(one) | {"bag": "backpak"})
    with pytest.raises(UsageError, match="upper_colour"):
        P.values_of("uper_colour")


def test_tones_cover_every_garment_colour() -> None:
    for colour in P.TONED.values():
        assert set(P.ATTRIBUTES[colour]) - {"none"} <= set(P.TONES)
    assert P.held(plain(upper_colour="white"))["upper_tone"] == "light"
    assert P.held(plain())["outer_tone"] == "none"


@pytest.mark.parametrize("view", VIEWS)
def test_every_garment_can_be_drawn_from_every_side(view: str) -> None:
    for i in range(120):
        one = P.make_person(i)
        for layer in figure(one, make_pose(Random(i), one, view)):
            assert len(layer.points) >= 2
            assert all(-1.0 < x < 1.0 and -0.2 < y < 1.3 for x, y in layer.points), (layer.role, one)


def test_a_turned_body_is_narrower_and_its_front_is_hidden_from_behind() -> None:
    one = plain()
    front, side, back = (Body(one, Pose(yaw=a)) for a in (0.0, math.pi / 2, math.pi))
    assert side.half(0.3) < 0.75 * front.half(0.3)
    assert front.half(0.3) == pytest.approx(back.half(0.3))
    assert front.on_trunk(0.0, 0.3) is not None
    assert back.on_trunk(0.0, 0.3) is None


def test_a_ribbon_is_as_wide_as_twice_its_radius() -> None:
    outline = ribbon([(0.0, 0.0), (0.0, 1.0)], [0.1, 0.2])
    assert max(x for x, _ in outline) == pytest.approx(0.2)
    assert max(y for _, y in outline) == pytest.approx(1.2)
    assert min(y for _, y in outline) == pytest.approx(-0.1)


def test_photographs_are_functions_of_their_parameters() -> None:
    one = P.make_person(5)
    first = draw_photo(one, 1, 2)
    draw_photo(P.make_person(6), 9, 1)
    assert first.tobytes() == draw_photo(one, 1, 2).tobytes()
    assert first.size == (128, 256)
    assert first.mode == "RGB"
    others = [
        draw_photo(one, 2, 2),
        draw_photo(one, 1, 3),
        draw_photo(one, 1, 2, world=1),
        draw_photo(P.make_person(7), 1, 2),
    ]
    assert all(first.tobytes() != other.tobytes() for other in others)
    assert draw_photo(one, 1, size=(48, 96)).size == (48, 96)


@pytest.mark.parametrize("size", [(16, 16), (24, 60), (48, 96), (300, 90)])
def test_photographs_and_sketches_of_any_size(size: tuple[int, int]) -> None:
    for i in range(42):
        assert draw_photo(P.make_person(i), i, i % 6, size, world=i % 2).size == size
        assert draw_sketch(P.make_person(i), i, list(STYLES)[i % 3], 0.1, size).image.size == size


def test_a_photograph_refuses_what_does_not_exist() -> None:
    one = P.make_person(0)
    for bad in ({"camera": 99}, {"world": 7}, {"view": "above"}, {"size": (4, 8)}):
        with pytest.raises(UsageError):
            draw_photo(one, 0, **bad)  # type: ignore[arg-type]


def test_worlds_share_no_camera_and_no_place() -> None:
    assert len(cameras(0)) >= 6
    names = [{c.name for c in world} for world in WORLDS]
    places = [{p for c in world for p in c.places} for world in WORLDS]
    assert not names[0] & names[1]
    assert not places[0] & places[1]


def torso(person: P.Person, seed: int) -> np.ndarray:
    pixels = np.asarray(draw_photo(person, seed, seed % 7, view="front").resize((48, 96))).astype(float)
    return pixels[28:42, 20:28].mean(axis=(0, 1))


@pytest.mark.parametrize("colour", ["red", "green", "blue", "yellow", "black", "white"])
def test_the_colour_of_the_upper_garment_is_seen_at_48_by_96(colour: str) -> None:
    named = ("red", "green", "blue", "yellow", "black", "white")
    seen = 0
    for seed in range(12):
        mean = torso(plain(seed, upper_colour=colour), seed)
        nearest = min(named, key=lambda name: float(np.sum((mean - np.array(RGB[name])) ** 2)))
        seen += nearest == colour
    assert seen >= 8, f"{seen} of 12"


@pytest.mark.parametrize(
    "change",
    [
        {"bag": "backpack", "bag_colour": "red"},
        {"headwear": "hat", "headwear_colour": "red"},
        {"lower": "shorts"},
        {"hair_length": "long"},
        {"outer": "coat", "outer_colour": "beige"},
        {"upper_pattern": "striped"},
        {"shoes": "boots"},
        {"neckwear": "scarf", "neckwear_colour": "yellow"},
        {"carried": "umbrella"},
    ],
)
def test_an_attribute_changes_the_photograph_and_the_sketch(change: dict[str, str]) -> None:
    a, b = plain(shoes="sandals"), plain(**{"shoes": "sandals", **change})
    photos = [np.asarray(draw_photo(p, 3, 6, view="front").resize((48, 96))).astype(float) for p in (a, b)]
    assert (np.abs(photos[0] - photos[1]).max(axis=2) > 40).sum() >= 15
    sketches = [np.asarray(draw_sketch(p, 3, "line").image.resize((48, 96))).astype(float) for p in (a, b)]
    assert (np.abs(sketches[0] - sketches[1]).max(axis=2) > 40).sum() >= 8


@pytest.mark.parametrize("style", STYLES)
def test_a_sketch_is_dark_on_white_without_colour(style: str) -> None:
    drawn = draw_sketch(P.make_person(11), 4, style, 0.2)
    pixels = np.asarray(drawn.image).astype(int)
    assert drawn.image.mode == "RGB"
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert (pixels > 240).mean() > 0.5
    assert pixels.min() < 130
    again = draw_sketch(P.make_person(11), 4, style, 0.2)
    assert drawn.image.tobytes() == again.image.tobytes()
    assert drawn.expressed == again.expressed


@pytest.mark.parametrize("style", STYLES)
def test_without_errors_a_sketch_expresses_what_holds(style: str) -> None:
    for i in range(20):
        one = P.make_person(i)
        expressed = draw_sketch(one, i, style, 0.0, (48, 96)).expressed
        assert set(expressed) == set(STYLES[style])
        assert expressed.items() <= P.held(one).items()


def test_memory_errs_at_the_stated_rate_and_draws_what_it_expresses() -> None:
    wrong = told = 0
    for i in range(250):
        one = P.make_person(i)
        drawn = draw_sketch(one, i, "line", 0.2, (32, 64)).expressed
        wrong += sum(P.held(one)[name] != value for name, value in drawn.items())
        told += len(drawn)
    # a little below 0.2: what cannot be wrong (a dress is no skirt) never is
    assert 0.13 < wrong / told < 0.21
    assert {
        P.held(P.make_person(3))[k] == v for k, v in draw_sketch(P.make_person(3), 0, "pencil", 1.0).expressed.items()
    } == {
        False,
        True,
    }


def test_a_sparse_sketch_shows_nothing_it_does_not_express() -> None:
    a = plain(upper_pattern="plain", eyewear="none", lower_colour="black")
    b = plain(
        upper_pattern="checked",
        eyewear="glasses",
        lower_colour="white",
        build="average",
        neckwear="scarf",
        neckwear_colour="red",
    )
    assert draw_sketch(a, 1, "sparse").image.tobytes() == draw_sketch(b, 1, "sparse").image.tobytes()
    assert draw_sketch(a, 1, "line").image.tobytes() != draw_sketch(b, 1, "line").image.tobytes()


def test_only_pencil_shows_tone() -> None:
    dark, light = plain(upper_colour="black"), plain(upper_colour="white")
    for style in STYLES:
        same = draw_sketch(dark, 1, style).image.tobytes() == draw_sketch(light, 1, style).image.tobytes()
        assert same == (style != "pencil")


def test_a_sketch_refuses_unknown_styles_and_rates() -> None:
    with pytest.raises(UsageError, match="did you mean 'pencil'"):
        draw_sketch(P.make_person(0), 0, "pensil")
    with pytest.raises(UsageError, match="0 to 1"):
        draw_sketch(P.make_person(0), 0, "line", 1.5)
