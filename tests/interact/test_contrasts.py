"""Negation and contrast as people write them: twenty sentences and more of each kind, with the right reading."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.language import may_deny, parse, read

EXCEPTIONS = {
    "all in black except for white trainers": ["all in black", "white trainers"],
    "all white apart from a black belt": ["white", "black belt"],
    "anything but red": ["NOT red"],
    "everything but the backpack": ["NOT backpack"],
    "no bag except for a purse": ["NOT bag", "purse"],
    "Dressed entirely in grey, except for red shoes.": ["dressed entirely in grey", "red shoes"],
    "all in black except the trainers": ["all in black", "NOT black trainers"],
    "everyone except men": ["NOT men"],
    "anyone but a woman": ["NOT woman"],
    "shoes other than white": ["shoes", "NOT white shoes"],
    "a bag other than a backpack": ["bag", "NOT backpack"],
    "shoes in any colour but white": ["shoes", "NOT white shoes"],
    "not carrying anything apart from a phone": ["phone"],
    "nothing on his head except a cap": ["cap"],
    "wearing nothing but shorts": ["shorts"],
    "no luggage other than a small suitcase": ["NOT luggage", "small suitcase"],
    "except for white shoes, all in black": ["all in black", "white shoes"],
    "apart from a yellow scarf he is dressed in black": ["dressed in black", "yellow scarf"],
    "a black dress with the exception of a white collar": ["black dress", "white collar"],
    "all black save for a red tie": ["black", "red tie"],
    "all in white but for brown sandals": ["all in white", "brown sandals"],
    "without any bags aside from a handbag": ["NOT bags", "handbag"],
    "all blue, other than a grey cap": ["blue", "grey cap"],
    "show me everyone except those with a hat": ["NOT hat"],
    "plain shirt apart from a logo": ["plain shirt", "logo"],
    "a red coat, everything else is black except the white boots": ["red coat", "black", "white boots"],
}

CONTRASTS = {
    "a plain skirt instead of stripes, it has long sleeves": ["plain skirt", "NOT stripes", "long sleeves"],
    "trousers rather than a skirt, and a red top": ["trousers", "NOT skirt", "red top"],
    "a coat instead of a jacket and he has a hat": ["coat", "NOT jacket", "hat"],
    "blue as opposed to green, with short sleeves": ["blue", "NOT green", "short sleeves"],
    "not a backpack, but rather a handbag": ["NOT backpack", "handbag"],
    "swapped the coat for a jacket": ["NOT coat", "jacket"],
    "the coat is replaced by a jacket": ["NOT coat", "jacket"],
    "replaced the hat with a helmet and has a beard": ["NOT hat", "helmet", "beard"],
    "the jacket changed from red to blue": ["NOT red jacket", "blue jacket"],
    "instead of jeans, black shorts": ["NOT jeans", "black shorts"],
    "jeans in place of shorts": ["jeans", "NOT shorts"],
    "rather than a cap she has a hat": ["NOT cap", "hat"],
    "not a dress but a skirt, with long hair": ["NOT dress", "skirt", "long hair"],
    "no longer has a logo, but a collar": ["NOT logo", "collar"],
    "a blue bag not a red one": ["blue bag", "NOT red bag"],
    "boots, not trainers, and a long coat": ["boots", "NOT trainers", "long coat"],
    "dots instead of stripes and it has a belt": ["dots", "NOT stripes", "belt"],
    "has sleeves instead of straps, the colour is red": ["sleeves", "NOT straps", "red"],
    "he has neither hat nor bag but a scarf": ["NOT hat", "NOT bag", "scarf"],
    "a hoodie rather than a shirt, no bag": ["hoodie", "NOT shirt", "NOT bag"],
    "without the logo it has stripes": ["NOT logo", "stripes"],
    "is solid black instead of floral": ["solid black", "NOT floral"],
}

CHANGES = {
    "has lost the print and now has long sleeves": ["NOT print", "long sleeves"],
    "has lost its belt": ["NOT belt"],
    "lost the hat but kept the scarf": ["NOT hat", "kept the scarf"],
    "the stripes are gone": ["NOT stripes"],
    "the hat is missing": ["NOT hat"],
    "his bag has been removed": ["NOT bag"],
    "the hood is no longer there": ["NOT hood"],
    "he has taken off the coat": ["NOT coat"],
    "she took off her glasses": ["NOT glasses"],
    "got rid of the logo and now has a collar": ["NOT logo", "collar"],
    "no longer wearing a cap and now has a beard": ["NOT cap", "beard"],
    "no more stripes": ["NOT stripes"],
    "removes the belt": ["NOT belt"],
    "has no print and now has buttons": ["NOT print", "buttons"],
    "has dropped the collar": ["NOT collar"],
    "the logo is gone, the sleeves are shorter": ["NOT logo", "shorter sleeves"],
    "has lost the sleeves and is red": ["NOT sleeves", "red"],
    "the belt is absent": ["NOT belt"],
    "has lost the buttons, and also has a hood": ["NOT buttons", "hood"],
    "no longer has the print, instead has stripes": ["NOT print", "stripes"],
    "the flowers were removed": ["NOT flowers"],
}

ADDED = {
    "has no straps and striped": ["NOT straps", "striped"],
    "no sleeves and black": ["NOT sleeves", "black"],
    "without a hood and red": ["NOT hood", "red"],
    "has no pattern and longer sleeves": ["NOT pattern", "longer sleeves"],
    "no hat and blue jeans": ["NOT hat", "blue jeans"],
    "is darker and has no buttons and shorter sleeves": ["darker", "NOT buttons", "shorter sleeves"],
    "lacks a belt and is floral": ["NOT belt", "floral"],
    "has no collar and more buttons": ["NOT collar", "more buttons"],
    "doesn't have long sleeves and is blue": ["NOT long sleeves", "blue"],
    "without a hat and gloves": ["NOT hat", "NOT gloves"],
    "he is not tall and thin": ["NOT tall", "NOT thin"],
    "no bag and two dogs": ["NOT bag", "two dogs"],
    "no hat or red gloves": ["NOT hat", "NOT red gloves"],
    "no stripes and it is plain": ["NOT stripes", "plain"],
    "no print and now a belt": ["NOT print", "belt"],
    "no logo and features a hood": ["NOT logo", "hood"],
    "a black sweater that is not zipped up with a blue hoodie with a red logo on it": [
        "black sweater",
        "NOT black sweater zipped up",
        "blue hoodie with a red logo on it",
    ],
    "a man not looking at the camera with a red bag": ["man", "NOT looking at the camera", "red bag"],
    "not wearing a jacket with a hood": ["NOT jacket with a hood"],
    "a dress with no sleeves and a belt": ["dress", "NOT sleeves", "belt"],
    "has no buttons and different sleeves": ["NOT buttons", "different sleeves"],
    "not smiling with a long coat": ["NOT smiling", "long coat"],
}

WITHOUT_APOSTROPHE = {
    "he doesnt have a hat": ["NOT hat"],
    "you cant see a bag": ["NOT bag"],
    "it isnt red": ["NOT red"],
    "she wasnt carrying a bag": ["NOT bag"],
    "they werent wearing hats": ["NOT hats"],
    "his trousers arent blue": ["NOT blue trousers"],
    "he didnt wear glasses": ["NOT glasses"],
    "dont show hats": ["NOT hats"],
    "she hasnt got a scarf": ["NOT scarf"],
    "he hadnt a beard": ["NOT beard"],
    "they havent got bags": ["NOT bags"],
    "it couldnt be a child": ["NOT child"],
    "it shouldnt have sleeves": ["NOT sleeves"],
    "it mustnt be striped": ["NOT striped"],
    "it wouldnt be a dress": ["NOT dress"],
    "he wont have a hat": ["NOT hat"],
    "he aint got no hat": ["NOT hat"],
    "hes not wearing a hat": ["NOT hat"],
    "shes got no bag": ["NOT bag"],
    "theres no hat": ["NOT hat"],
    "doesn t have a hood": ["NOT hood"],
    "he dosent have a bag": ["NOT bag"],
    "its not a skirt": ["NOT skirt"],
    "he does’nt have a hat": ["NOT hat"],
    "he’d no hat": ["NOT hat"],
    "theyre not in a coat": ["NOT coat"],
}

UNDECIDED = {
    "the straps aren't alike": ([], "the straps are not alike"),
    "something in his hands that can't be seen": (["something in his hands"], "that can not be seen"),
    "his shoes can't be seen": ([], "his shoes can not be seen"),
    "the face is not visible": ([], "the face is not visible"),
    "a red coat and his shoes are not visible": (["red coat"], "his shoes are not visible"),
    "the sleeves are not the same length": ([], "the sleeves are not the same length"),
    "wears a shirt that doesn't match his trousers": (["shirt"], "does not match his trousers"),
    "her shoes do not match": ([], "her shoes do not match"),
    "carrying an object which isn't clearly visible": (["object"], "which is not clearly visible"),
    "the logo isn't readable, blue jeans": (["blue jeans"], "the logo is not readable"),
    "his hands cannot be seen": ([], "his hands can not be seen"),
    "the socks aren't identical": ([], "the socks are not identical"),
    "the text on his shirt could not be made out": ([], "the text on his shirt could not be made out"),
    "a bag whose colour cannot be identified": (["bag"], "whose colour can not be identified"),
    "the two sides aren't symmetrical": ([], "the two sides are not symmetrical"),
    "the straps are not similar": ([], "the straps are not similar"),
    "a hat, and the gloves aren't equal": (["hat"], "the gloves are not equal"),
    "a text on it that I couldn't make out": (["text on it"], "that i could not make out"),
    "the shoes were not seen": ([], "the shoes were not seen"),
    "hat not visible": ([], "hat not visible"),
    "the same except for the hat": ([], "the same except the hat"),
    "a jacket except the hood": (["jacket"], "except the hood"),
    "her legs can't be seen and she wears a hat": (["hat"], "her legs can not be seen"),
    "the stripes don't match and it has a belt": ([], "the stripes do not match and it has a belt"),
}

READ = {**EXCEPTIONS, **CONTRASTS, **CHANGES, **ADDED, **WITHOUT_APOSTROPHE}


@pytest.mark.parametrize("kind", [EXCEPTIONS, CONTRASTS, CHANGES, ADDED, WITHOUT_APOSTROPHE, UNDECIDED])
def test_every_kind_has_twenty_sentences(kind: dict) -> None:
    assert len(kind) >= 20


@pytest.mark.parametrize("text", READ, ids=lambda text: text[:60])
def test_negation_and_contrast_are_read_right(text: str) -> None:
    assert [str(chip) for chip in parse(text)] == READ[text]


@pytest.mark.parametrize("text", UNDECIDED, ids=lambda text: text[:60])
def test_what_cannot_be_decided_is_shown_and_not_guessed(text: str) -> None:
    chips, piece = UNDECIDED[text]
    said = read(text)
    assert [str(chip) for chip in parse(text)] == chips
    assert said.negated
    assert any(piece in unclear for unclear in said.unclear), said.unclear


@pytest.mark.parametrize("text", [*READ, *UNDECIDED], ids=lambda text: text[:60])
def test_no_word_of_a_negation_reaches_the_encoder(text: str) -> None:
    for chip in parse(text):
        assert not re.search(r"\b(?:not?|can|does|do|without|except|nor|neither)\b", chip.text), chip


_SAID = [
    *("red", "jacket", "bag", "hat", "hair", "man", "and", "or", "but", "with", "a", "the", "his", ",", ".", ":", "?"),
    *("no", "not", "without", "isn't", "cant", "w/o", "-bag", "none", "nothing", "never", "except", "other than"),
    *("is", "was", "gone", "missing", "absent", "removed", "taken off", "nowhere to be seen", "visible", "seen"),
    *(
        "can",
        "could",
        "whether",
        "if",
        "do",
        "does",
        "unless",
        "instead of",
        "rather than",
        "alike",
        "only",
        "anything",
    ),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_SAID), min_size=1, max_size=8).map(" ".join))
def test_the_quick_look_for_a_negation_misses_none(sentence: str) -> None:
    assert may_deny(sentence) or not read(sentence).negated


def test_plain_words_need_no_second_reading() -> None:
    assert not any(map(may_deny, ("red top", "a tall man in a blue jacket with a backpack", "white trainers")))
    assert all(map(may_deny, ("no hat", "the hat is gone", "bag: none", "anything but red", "can he be seen")))
