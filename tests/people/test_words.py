"""Sentences: varied, without negation, and saying what they are said to express."""

from __future__ import annotations

import re

import pytest

from descry.drawing import vocabulary as V
from descry.drawing.person import ATTRIBUTES
from descry.errors import UsageError
from descry_people.person import make_person
from descry_people.sentences import COMPLETENESS, describe, phrases

NEGATION = re.compile(r"\b(no|not|without|never|none|nor|neither|lacks?|lacking|cannot)\b|n't|n’t")

SAYS = {
    **{
        f"{garment}_colour": V.COLOURS
        for garment in ("upper", "lower", "outer", "shoes", "bag", "headwear", "neckwear")
    },
    **V.NOUNS,
    "hair_colour": V.COLOURS,
    "hair_length": V.HAIR_LENGTHS,
    "hair_style": V.HAIR_STYLES,
    "upper_pattern": {**V.PATTERNS, **V.AFTER},
    "lower_pattern": {**V.PATTERNS, **V.AFTER},
    "sleeves": V.SLEEVES,
    "sex": V.SUBJECTS,
    "age": V.AGES,
    "build": V.BUILDS,
}


def sentences() -> list[str]:
    people = [make_person(i) for i in range(400)]
    return [describe(p, 1, c, 0.1).text for p in people for c in COMPLETENESS]


def test_no_negation_in_anything_models_train_on() -> None:
    chips = [phrase for values in V.PHRASES.values() for names in values.values() for phrase in names]
    for text in [*sentences(), *chips]:
        assert not NEGATION.search(text), text


def test_wording_is_lower_case_varied_and_of_few_words() -> None:
    texts = sentences()
    assert all(
        text == text.lower() and text.strip() == text and "  " not in text and " ," not in text for text in texts
    )
    assert not [text for text in texts if re.search(r"\ban [^aeiou]|\ba [aeiou]", text)]
    assert len(set(texts)) > 0.85 * len(texts)
    assert 150 < len({word for text in texts for word in re.findall(r"[a-z-]+", text)}) < 400


@pytest.mark.parametrize("completeness", COMPLETENESS)
def test_a_sentence_says_all_that_it_expresses(completeness: str) -> None:
    for i in range(300):
        said = describe(make_person(i), 7, completeness, 0.1)
        for name, value in said.expressed.items():
            ways = SAYS[name][value]
            heads = [
                w
                for way in ways
                for w in (
                    way,
                    *(
                        [way.split(" ", 1)[1]]
                        if way.startswith(("long ", "short ", "open ", "high ", "folded "))
                        else []
                    ),
                )
            ]
            assert any(w in said.text for w in heads), (name, value, said.text)


def test_without_errors_a_sentence_is_true_and_fuller_ones_tell_more() -> None:
    told = dict.fromkeys(COMPLETENESS, 0)
    for i in range(200):
        one = make_person(i)
        for completeness in COMPLETENESS:
            expressed = describe(one, 3, completeness).expressed
            assert all(getattr(one, name) == value for name, value in expressed.items())
            assert "none" not in expressed.values()
            told[completeness] += len(expressed)
    assert told["complete"] > 1.5 * told["partial"] > 3 * told["vague"]


def test_memory_errs_at_the_stated_rate() -> None:
    wrong = told = 0
    for i in range(600):
        one = make_person(i)
        expressed = describe(one, 1, "complete", 0.25).expressed
        wrong += sum(getattr(one, name) != value for name, value in expressed.items())
        told += len(expressed)
    assert 0.2 < wrong / told < 0.27


def test_sentences_are_functions_of_their_parameters() -> None:
    one = make_person(8)
    assert describe(one, 1) == describe(one, 1)
    assert len({describe(one, k).text for k in range(20)}) > 15


def test_phrases_name_what_holds() -> None:
    for i in range(100):
        one = make_person(i)
        rows = phrases(one)
        held = [name for name in ATTRIBUTES if getattr(one, name) not in ("none", "plain")]
        assert [name for _, name in rows] == held
        assert all(phrase in V.PHRASES[name][getattr(one, name)] for phrase, name in rows)


def test_every_value_that_can_be_seen_has_a_phrase() -> None:
    for name, values in ATTRIBUTES.items():
        assert set(V.PHRASES[name]) >= set(values) - {"none", "plain"}, name


def test_articles() -> None:
    assert [V.article(n) for n in ("orange top", "red tee", "dark glasses", "fedora", "blue jeans")] == [
        *("an orange top", "a red tee", "dark glasses", "a fedora", "blue jeans")
    ]


def test_unknown_completeness_and_rates_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'partial'"):
        describe(make_person(0), 0, "partiel")
    with pytest.raises(UsageError, match="0 to 1"):
        describe(make_person(0), 0, "vague", -0.1)
