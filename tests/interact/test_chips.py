"""Reading feedback: a table of sentences written before the rules, one half of it set aside; and no crash on
anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.errors import LimitExceeded
from descry.language import Chip, added, chips_of, conflicts, parse, with_chips
from descry.query import Part, Query

TABLE = [
    json.loads(line) for line in Path(__file__).with_name("feedback_sentences.jsonl").read_text("utf-8").splitlines()
]


def read(sentence: str) -> list[list]:
    return [["+" if c.wanted else "-", c.text, c.weight] for c in parse(sentence)]


def test_the_table_is_large_and_half_of_it_is_set_aside() -> None:
    assert len(TABLE) >= 120
    assert abs(sum(row["aside"] for row in TABLE) - len(TABLE) / 2) <= 1
    assert len({row["text"] for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("row", [r for r in TABLE if not r["aside"]], ids=lambda r: r["text"][:50])
def test_the_half_the_rules_were_written_with(row: dict) -> None:
    assert read(row["text"]) == row["chips"]


def test_nine_of_ten_of_the_half_set_aside_are_read_exactly() -> None:
    aside = [row for row in TABLE if row["aside"]]
    right = sum(read(row["text"]) == row["chips"] for row in aside)
    print(f"{right} of the {len(aside)} sentences set aside are read exactly")
    assert right >= 0.9 * len(aside), f"{right} of {len(aside)}"
    page = " ".join((Path(__file__).resolve().parents[2] / "docs" / "conversation.md").read_text("utf-8").split())
    assert f"{len(TABLE)} sentences" in page
    assert f"**{right} of the {len(aside)} set aside** ({100 * right / len(aside):.1f} %)" in page


WORDS = st.sampled_from(
    [
        *[
            "no",
            "not",
            "without",
            "but",
            "and",
            "or",
            "nor",
            "neither",
            "never",
            "only",
            "nothing",
            "anything",
            "red",
            "blue",
            "long",
            "jacket",
            "hat",
            "bag",
            "hair",
        ],
        *[
            "man",
            "with",
            "in",
            "is",
            "wearing",
            "isn't",
            "don't",
            "ain't",
            ",",
            ".",
            ";",
            ":",
            "?",
            "-",
            "+",
            "&",
            "w/o",
            "w/",
            "maybe",
            "i",
            "think",
            "the",
            "a",
            "his",
            "instead",
            "of",
        ],
        *["rather", "than", "if", "he", "'ll", "x", "é", "帽子"],
        "\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=120), st.lists(WORDS, max_size=25).map(" ".join)))
def test_nothing_crashes_and_no_chip_is_empty_or_negated(text: str) -> None:
    try:
        chips = parse(text)
    except LimitExceeded:
        return
    for chip in chips:
        assert chip.text.strip() == chip.text != ""
        assert not {"no", "not", "without", "never", "nor", "neither"} & set(chip.text.split()), chip
    assert parse(text) == chips


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([r["text"] for r in TABLE]), st.integers(0, 10**6))
def test_slips_of_the_fingers_never_crash(text: str, at: int) -> None:
    if len(text) > 2:
        i = at % (len(text) - 1)
        parse(text[:i] + text[i + 1] + text[i] + text[i + 2 :])


def test_limits() -> None:
    parse("red " * 250)
    with pytest.raises(LimitExceeded, match="1001 characters"):
        parse("x" * 1001)
    with pytest.raises(LimitExceeded, match="33 things"):
        parse(", ".join(f"thing{'a' * i}" for i in range(1, 34)))


def test_what_the_encoder_cuts_off_is_shown() -> None:
    class Short:
        def cut(self, text: str) -> str:
            return text[10:]

    assert [c.cut for c in parse("red jacket with a hood, hat", Short())] == [" with a hood", ""]


@pytest.mark.parametrize(
    ("held", "new", "why"),
    [
        ("red jacket", "blue jacket", "red or blue jacket"),
        ("a man", "a woman", "man or woman"),
        ("long hair", "short hair", "long or short hair"),
        ("striped shirt", "checked shirt", "striped or checked shirt"),
        ("no backpack", "backpack", "wanted and unwanted at once"),
        ("red jacket", "blue jeans", ""),
        ("red jacket", "red jacket with a hood", ""),
        ("no red jacket", "no blue jacket", ""),
    ],
)
def test_conflicts_are_offered(held: str, new: str, why: str) -> None:
    assert [c.why for c in conflicts(parse(held), parse(new))] == ([why] if why else [])


def test_chips_go_into_a_query_and_come_back() -> None:
    query = added(Query(sketches=b"s"), parse("red jacket, no backpack, maybe a scarf"))
    assert [p.value for p in query.wanted] == ["red jacket", "scarf"]
    assert query.wanted[1].weight == 0.5
    assert query.unwanted == (Part("backpack"),)
    assert query.sketches == (Part(b"s"),)
    turned = [c.flipped() if c.text == "backpack" else c for c in chips_of(query)]
    assert [p.value for p in with_chips(query, turned).wanted] == ["red jacket", "scarf", "backpack"]
    assert added(query, [Chip("backpack")]).unwanted == (), "a phrase said again takes the new sign"
    replaced = added(query, [Chip("blue jacket")], replace=[Chip("red jacket")])
    assert [p.value for p in replaced.wanted] == ["scarf", "blue jacket"]
    with pytest.raises(LimitExceeded, match="33 phrases"):
        with_chips(query, [Chip(f"p{i}") for i in range(33)])


@pytest.mark.parametrize(
    ("text", "chips"),
    [
        ("a woman who wears a long skirt and is not carrying a handbag", ["woman", "long skirt", "NOT handbag"]),
        ("no it was a green jumper with no hood", ["green jumper", "NOT hood"]),
        ("no the jacket was red", ["red jacket"]),
        ("could you remove the ones with a hat", ["NOT hat"]),
        ("a T-Shirt that isn't white", ["NOT white t-shirt"]),
        ("I'm pretty sure she had blonde hair", ["blonde hair"]),
        ("no more than one bag", ["NOT more than one bag"]),
    ],
)
def test_sentences_that_were_once_read_wrongly(text: str, chips: list[str]) -> None:
    assert [str(c) for c in parse(text)] == chips
