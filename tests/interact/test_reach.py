"""How far a negation reaches: what is said after its end is wanted again."""

from __future__ import annotations

import pytest

from descry.language import parse

ENDS = {
    "a man without a hat in a red jacket": "man, NOT hat, red jacket",
    "a man without a hat in blue jeans": "man, NOT hat, blue jeans",
    "a woman with no bag in a long red and white coat": "woman, NOT bag, long red and white coat",
    "a man without a hat wearing a red jacket": "man, NOT hat, red jacket",
    "a man without a hat who wears glasses": "man, NOT hat, glasses",
    "a man without a hat dressed in black": "man, NOT hat, dressed in black",
    "the man with no hat wears a red jacket": "man, NOT hat, red jacket",
    "no hat and a red jacket": "NOT hat, red jacket",
    "without a hat and a bag": "NOT hat, NOT bag",
    "no hat and the red jacket": "NOT hat, red jacket",
    "no hat and in a red jacket": "NOT hat, red jacket",
    "without hat and with glasses": "NOT hat, glasses",
    "without a hat and wearing glasses": "NOT hat, glasses",
    "he has no hat and has a bag": "NOT hat, bag",
    "he has no hat and he is tall": "NOT hat, tall",
    "no hat and his jacket is red": "NOT hat, red jacket",
    "he is not tall and is thin": "NOT tall, thin",
    "no hat or glasses and a red jacket": "NOT hat, NOT glasses, red jacket",
    "no hat, glasses or bag and a red jacket": "NOT hat, NOT glasses, NOT bag, red jacket",
    "no hat, a red jacket or a coat": "NOT hat, red jacket or a coat",
    "no hat and a red jacket, blue jeans or shorts": "NOT hat, red jacket, blue jeans or shorts",
    "never without his hat, bag or umbrella": "hat, bag or umbrella",
    "the bag is not red and the hat is blue": "NOT red bag, blue hat",
    "no hat and a jacket that is not red": "NOT hat, NOT red jacket",
    "no hat and a bag and no glasses": "NOT hat, bag, NOT glasses",
    "jeans instead of shorts and a red jacket": "jeans, NOT shorts, red jacket",
    "maybe no hat and a red jacket": "NOT hat, red jacket",
    "no hat & a red jacket": "NOT hat, red jacket",
}
STAYS = {
    "no hat and no bag": "NOT hat, NOT bag",
    "without a hat and gloves": "NOT hat, NOT gloves",
    "no hat or gloves": "NOT hat, NOT gloves",
    "without a hat or a bag": "NOT hat, NOT bag",
    "without a hat, a bag or an umbrella": "NOT hat, NOT bag, NOT umbrella",
    "not in a coat": "NOT coat",
    "not wearing a hat": "NOT hat",
    "not a man in a red jacket": "NOT man, NOT red jacket",
    "not a man in a red jacket and a hat": "NOT man, NOT red jacket, NOT hat",
    "not the one wearing a hat": "NOT hat",
    "no people with a hat and a bag": "NOT hat, NOT bag",
    "hide the ones with a hat and a bag": "NOT hat, NOT bag",
    "remove the hat and the bag": "NOT hat, NOT bag",
    "anything except a hat and a bag": "NOT hat, NOT bag",
    "no dog in a bag": "NOT dog, NOT bag",
    "no stripes in the shirt": "NOT stripes, NOT shirt",
    "no hat in the picture": "NOT hat, NOT picture",
    "no bag in his hand": "NOT bag in his hand",
    "no bag on the left and the right": "NOT bag on the left, NOT right",
    "no bag carried by hand": "NOT bag, NOT by hand",
}


@pytest.mark.parametrize(("said", "chips"), ENDS.items(), ids=ENDS)
def test_what_follows_its_end_is_wanted(said: str, chips: str) -> None:
    assert ", ".join(map(str, parse(said))) == chips


@pytest.mark.parametrize(("said", "chips"), STAYS.items(), ids=STAYS)
def test_what_it_reaches_stays_unwanted(said: str, chips: str) -> None:
    assert ", ".join(map(str, parse(said))) == chips


def test_a_hedge_holds_on_both_sides_of_the_end() -> None:
    assert [c.weight for c in parse("maybe no hat and a red jacket")] == [0.5, 0.5]
