"""A drawing and phrases from what is remembered: unknown parts leave no line, known ones are drawn and said."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import descry
from descry.cli import main
from descry.drawing.composing import PARTS, UNKNOWN
from descry.drawing.vocabulary import PHRASES
from descry.embed import load
from descry.errors import UsageError
from descry_people.person import make_person, to_json

DARK = 90


def dark(record: dict[str, object], size: tuple[int, int] = (128, 256)) -> np.ndarray:
    """(H, W) bool: where a composed drawing has a dark line."""
    return np.asarray(descry.compose_sketch(record, size).sketch.convert("L")) < DARK


def test_nothing_known_is_a_light_neutral_figure_and_no_phrase() -> None:
    made = descry.compose_sketch({})
    pixels = np.asarray(made.sketch.convert("L"))
    assert made.phrases == ()
    assert made.blank
    assert made.known == {}
    assert made.sketch.mode == "RGB"
    assert 0.01 < (pixels < 230).mean() < 0.15
    assert (pixels < DARK).mean() < 0.002  # the eyes
    assert (pixels[:9] == 255).all()


@pytest.mark.parametrize("nothing", [None, "", UNKNOWN, "don't remember"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_not_remembered_is_as_if_it_were_left_out(part: str, nothing: object) -> None:
    known = {"sex": "woman", "shoes": "boots"}
    known.pop(part, None)
    a, b = descry.compose_sketch(known), descry.compose_sketch({**known, part: nothing})
    assert a.sketch.tobytes() == b.sketch.tobytes()
    assert (a.phrases, a.known) == (b.phrases, b.known)


@pytest.mark.parametrize(
    ("known", "rows"),
    [
        ({"top": "shirt"}, (0.12, 0.58)),
        ({"over": "jacket"}, (0.12, 0.60)),
        ({"bottom": "jeans"}, (0.40, 1.0)),
        ({"bottom": "short skirt"}, (0.40, 1.0)),
        ({"shoes": "boots"}, (0.75, 1.0)),
        ({"headwear": "hat"}, (0.0, 0.16)),
        ({"hair": "long"}, (0.0, 0.36)),
        ({"glasses": "sunglasses"}, (0.05, 0.16)),
        ({"bag": "suitcase"}, (0.40, 1.0)),
    ],
)
@pytest.mark.parametrize("view", ["front", "back", "side"])
def test_only_what_is_known_is_drawn_dark(known: dict[str, str], rows: tuple[float, float], view: str) -> None:
    seen = dark(known | {"view": view}).any(axis=1)
    seen &= ~dark({"view": view}).any(axis=1)
    if not (known.get("glasses") and view == "back"):
        assert seen.any()
    places = np.flatnonzero(seen) / len(seen)
    assert all(rows[0] <= place <= rows[1] for place in places), (known, places.min(), places.max())


def test_none_says_that_a_thing_is_absent_and_draws_no_line() -> None:
    for part in ("bag", "headwear", "neckwear", "glasses", "over", "carried"):
        assert descry.compose_sketch({part: "none"}).sketch.tobytes() == descry.compose_sketch({}).sketch.tobytes()
        assert descry.compose_sketch({part: "none"}).phrases == ()


@pytest.mark.parametrize(
    ("known", "phrases"),
    [
        ({"top": "jacket", "top.colour": "red"}, ("a red jacket",)),
        ({"over": "jacket", "over.colour": "red", "top": "shirt"}, ("a red jacket", "a shirt")),
        ({"top.colour": "red"}, ("a red top",)),
        ({"top": "shirt", "top.pattern": "striped", "top.colour": "blue", "top.sleeves": "long"},
         ("a long-sleeved blue striped shirt",)),
        ({"top": "t-shirt", "top.sleeves": "short", "top.pattern": "logo"}, ("a t-shirt with a logo on the chest",)),
        ({"bottom": "jeans", "bottom.colour": "dark blue"}, ("dark blue jeans",)),
        ({"shoes": "trainers", "shoes.colour": "white"}, ("white trainers",)),
        ({"hair": "long", "hair.colour": "blond", "hair.style": "curly"}, ("long curly blond hair",)),
        ({"hair.style": "ponytail"}, ("a ponytail",)),
        ({"hair": "bald", "hair.colour": "red"}, ("a bald head",)),
        ({"sex": "woman", "age": "elderly", "glasses": "glasses", "headwear": "cap"},
         ("a woman", "an elderly person", "glasses", "a cap")),
    ],
)  # fmt: skip
def test_phrases_say_what_is_known(known: dict[str, str], phrases: tuple[str, ...]) -> None:
    assert descry.compose_sketch(known).phrases == phrases


def test_the_demo_model_knows_every_word_of_every_part() -> None:
    words = load("demo", "cpu").words
    for part, values in PARTS.items():
        for value in values:
            base = {"top": "shirt"} if part == "top.sleeves" else {}
            for phrase in descry.compose_sketch(base | {part: value}).phrases:
                assert not words.unknown(phrase), (phrase, words.unknown(phrase))


def test_every_value_of_every_part_is_drawn_from_every_view_and_one_thing_has_one_phrase() -> None:
    for view in PARTS["view"]:
        for part, values in PARTS.items():
            for value in values:
                made = descry.compose_sketch({"view": view, part: value}, (32, 64))
                assert len(made.phrases) <= 1
    single = {p for values in PHRASES.values() for names in values.values() for p in names}
    assert set(descry.compose_sketch({"bag": "backpack", "top.colour": "red"}).phrases) <= single


def test_a_synthetic_persons_record_is_composed_as_its_sketch_shows_it() -> None:
    for pid in range(40):
        record = to_json(make_person(pid))
        made = descry.compose_sketch(record)
        assert not made.blank
        assert "skin" not in made.known
        assert made.phrases


def test_views_build_and_height_change_the_figure() -> None:
    base = {"top": "t-shirt", "bottom": "trousers"}
    drawn = {view: descry.compose_sketch(base | {"view": view}).sketch.tobytes() for view in PARTS["view"]}
    assert drawn["side"] == drawn["right"]
    assert len(set(drawn.values())) == 4

    def width(**more: str) -> int:
        return int(np.ptp(np.flatnonzero(dark(base | more).any(axis=0))))

    assert width(build="slim") < width(build="average") < width(build="heavy")
    assert width(height="tall") < width() < width(height="short")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"topp": "shirt"}, "there is no part 'topp'; did you mean 'top'"),
        ({"top": "jaket"}, "top was 'jaket'; did you mean 'jacket'"),
        ({"top.colour": "crimson"}, "allowed: .*red"),
        ({"top": 3}, "top was 3"),
        ({"top": ["jacket"]}, r"top was \['jacket'\]"),
        ({"top": "jacket", "over": "coat"}, "top=jacket and over=coat"),
        ({"top": "jacket", "top.pattern": "striped"}, "top.pattern was given for a jacket"),
        ({"top": "dress", "bottom": "jeans"}, "bare legs, leggings"),
        ({"bag": "none", "bag.colour": "red"}, "leave one out"),
        (["top"], "mapping"),
    ],
)
def test_errors_name_what_was_given_and_what_is_allowed(record: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        descry.compose_sketch(record)


@pytest.mark.parametrize("size", [(8, 256), (128, 4096)])
def test_a_size_out_of_range_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="16 to 2048"):
        descry.compose_sketch({}, size)


def test_the_command_draws_and_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s.png"
    asked = ["sketch", "compose", "--set", "top=jacket", "--set", "top.colour=red", "--out", str(out)]
    assert main(asked) == 0
    assert capsys.readouterr().out == "a red jacket\n"
    made = descry.compose_sketch({"top": "jacket", "top.colour": "red"})
    with Image.open(out) as image:
        assert image.convert("RGB").tobytes() == made.sketch.tobytes()
    record = tmp_path / "r.json"
    record.write_text(json.dumps({"bottom": "jeans", "hair": None}))
    assert main(["sketch", "compose", str(record), "--set", "bottom=shorts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "sketch": None, "phrases": ["shorts"], "known": {"bottom": "shorts"}, "blank": False,
    }  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO('{"bag": "backpack"}'))
    assert main(["sketch", "compose", "-"]) == 0
    assert capsys.readouterr().out == "a backpack\n"


def test_the_command_lists_parts_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sketch", "compose", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {part: [*values, UNKNOWN] for part, values in PARTS.items()}
    assert main(["sketch", "compose", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(PARTS)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "--set PART=VALUE"),
        (["--set", "top"], "top=jacket"),
        (["--set", "top=jacket", "--out", "s.jpg"], "s.png"),
        (["none-here.json"], "there is no file none-here.json"),
    ],
)
def test_the_command_refuses_with_reasons(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sketch", "compose", *args]) in (1, 2)
    assert message in capsys.readouterr().err
