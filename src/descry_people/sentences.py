"""Sentences about synthetic people, written only from the attributes that are told, in many wordings.

What is told is chosen first, then perhaps misremembered, and then put into words; so `expressed` is what the sentence
says.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from descry.drawing.person import ATTRIBUTES, Person
from descry.drawing.vocabulary import (
    AFTER,
    AGES,
    BUILDS,
    COLOURS,
    HAIR_LENGTHS,
    HAIR_STYLES,
    NOUNS,
    PATTERNS,
    PHRASES,
    SLEEVES,
    SUBJECTS,
    article,
)
from descry.errors import UsageError, nearest

COMPLETENESS = ("complete", "partial", "vague")
FACETS: dict[str, tuple[str, ...]] = {
    "hair": ("hair_length", "hair_style", "hair_colour"),
    "beard": ("beard",),
    "eyewear": ("eyewear",),
    "headwear": ("headwear", "headwear_colour"),
    "upper": ("upper", "upper_colour", "upper_pattern", "sleeves"),
    "outer": ("outer", "outer_colour"),
    "lower": ("lower", "lower_colour", "lower_pattern"),
    "shoes": ("shoes", "shoes_colour"),
    "bag": ("bag", "bag_colour"),
    "neckwear": ("neckwear", "neckwear_colour"),
    "carried": ("carried",),
}
"""What a sentence speaks of as one thing → the attributes it may tell of it."""

_LOOK, _WEAR, _CARRY = (
    ("hair", "beard"),
    ("headwear", "neckwear", "eyewear", "outer", "upper", "lower", "shoes"),
    ("bag", "carried"),
)
_WEIGHT = {"upper": 4.0, "lower": 3.0, "outer": 3.5, "bag": 3.0, "hair": 2.0, "headwear": 2.0}
_SILENT = ("none", "plain")


@dataclass(frozen=True, slots=True)
class Sentence:
    """text: lower case, punctuated as people write. expressed: attribute → the value the text says, right or wrong."""

    text: str
    expressed: dict[str, str]


def _present(person: Person) -> dict[str, tuple[str, ...]]:
    """The facets there is something to say about, with the attributes that hold."""
    found = {}
    for facet, names in FACETS.items():
        told = tuple(n for n in names if getattr(person, n) not in _SILENT)
        if told and not (facet == "hair" and person.headwear == "beanie" and person.hair_length == "short"):
            found[facet] = told
    return found


def _choose(person: Person, rng: Random, completeness: str) -> list[str]:
    """The names of the attributes that are told."""
    facets = _present(person)
    who, share, inner = {"complete": ((1.0, 0.5, 0.6), 0.93, 0.93), "partial": ((0.85, 0.2, 0.2), 0.0, 0.8)}.get(
        completeness, ((0.5, 0.1, 0.05), 0.0, 0.5)
    )
    names = [n for n, p in zip(("sex", "age", "build"), who, strict=True) if rng.random() < p]
    if completeness == "complete":
        chosen = [f for f in facets if f in ("upper", "lower") or rng.random() < share]
    else:
        count = rng.randint(3, 4) if completeness == "partial" else rng.choice((1, 1, 2))
        pool = sorted(facets, key=lambda f: rng.random() ** (1 / _WEIGHT.get(f, 1.0)), reverse=True)
        chosen = [f for f in facets if f in pool[:count]]
    for facet in chosen:
        told = [n for n in facets[facet] if rng.random() < inner]
        if facet == "hair" and person.hair_length == "bald":
            told = ["hair_length"]
        if "sleeves" in told and (person.upper in ("t-shirt", "tank top", "sweater", "hoodie") or rng.random() < 0.4):
            told.remove("sleeves")  # said by the garment already
        names += told if any(n in told for n in facets[facet][:2]) else [facets[facet][0]]
    return names


def _wrong(name: str, value: str, rng: Random) -> str:
    options = [v for v in ATTRIBUTES[name] if v not in (*_SILENT, value, "bald", "dress", "bare legs")]
    return rng.choice(options) if options else value


def _garment(facet: str, told: dict[str, str], rng: Random) -> str:
    """A noun with its adjectives and no article: "long-sleeved red striped shirt"; "" when nothing is told of it."""
    if not any(n in told for n in FACETS[facet]):
        return ""
    kind, colour = told.get(facet, ""), told.get(f"{facet}_colour", "")
    pattern = told.get(f"{facet}_pattern", "")
    noun = rng.choice(NOUNS[facet].get(kind) or NOUNS[facet][""])
    before = [rng.choice(COLOURS[colour])] if colour else []
    if pattern in PATTERNS:
        before.insert(rng.randint(0, len(before)), rng.choice(PATTERNS[pattern]))
    if facet == "upper" and "sleeves" in told:
        before.insert(0, rng.choice(SLEEVES[told["sleeves"]]))
    first, _, rest = noun.partition(" ")
    if rest and first in ("long", "short", "open", "high", "folded"):  # "long green coat", as people say it
        before, noun = [first, *before], rest
    after = f" {rng.choice(AFTER[pattern])}" if pattern in AFTER else ""
    return " ".join([*before, noun]) + after


def _hair(told: dict[str, str], rng: Random) -> str:
    length, style, colour = (told.get(n, "") for n in FACETS["hair"])
    if length == "bald":
        return rng.choice(HAIR_LENGTHS["bald"])
    if not (length or style or colour):
        return ""
    words = [rng.choice(HAIR_LENGTHS[length])] if length else []
    if style in ("straight", "curly"):
        words.append(rng.choice(HAIR_STYLES[style]))
    if colour:
        words.append(rng.choice(COLOURS[colour]))
    words.append("hair")
    if style in ("ponytail", "bun"):
        words.append(rng.choice(HAIR_STYLES[style]))
    return " ".join(words)


def _who(told: dict[str, str], rng: Random) -> str:
    """The subject: "young heavy woman", "man of average build"."""
    noun = rng.choice(SUBJECTS[told.get("sex", "")])
    if ("age" in told or "build" in told) and noun == "someone":
        noun = "person"
    build = rng.choice(BUILDS[told["build"]]) if "build" in told else ""
    words = [rng.choice(AGES[told["age"]])] if "age" in told else []
    if build and not build.endswith("build"):
        words.insert(rng.randint(0, len(words)), build)
    return " ".join([*words, noun]) + (f" of {build}" if build.endswith("build") else "")


def _things(told: dict[str, str], facets: tuple[str, ...], rng: Random, bare: bool = False) -> list[str]:
    """One noun phrase per facet, in a random order; bare: without articles."""
    things = []
    for facet in facets:
        noun = _hair(told, rng) if facet == "hair" else _garment(facet, told, rng)
        if noun:
            things.append(noun if bare or (facet == "hair") else article(noun))
    if rng.random() < 0.4:
        rng.shuffle(things)
    return things


def _wear(told: dict[str, str], rng: Random) -> list[str]:
    """What is worn; a garment over another is sometimes said so."""
    facets: tuple[str, ...] = _WEAR
    over, under = _garment("outer", told, rng), _garment("upper", told, rng)
    if over and under and rng.random() < 0.5:
        facets = tuple(f for f in _WEAR if f not in ("outer", "upper"))
        return [f"{article(over)} over {article(under)}", *_things(told, facets, rng)]
    return _things(told, facets, rng)


def _join(things: list[str]) -> str:
    return things[0] if len(things) == 1 else ", ".join(things[:-1]) + " and " + things[-1]


def _caption(told: dict[str, str], rng: Random) -> str:
    """One sentence in the manner of the field's captions: who, with what hair, wearing and carrying what."""
    who = _who(told, rng)
    start = "someone" if who == "someone" else rng.choice((article(who), article(who), f"the {who}"))
    look, wear, carry = _things(told, _LOOK, rng), _wear(told, rng), _things(told, _CARRY, rng)
    text = start + (f" with {_join(look)}" if look else "")
    if wear:
        text += f" {rng.choice(('wearing', 'is wearing', 'wears', 'dressed in', 'in'))} {_join(wear)}"
    if carry:
        text += rng.choice((",", " and")) if wear else ""
        text += f" {rng.choice(('carrying', 'holding', 'has', 'carries'))} {_join(carry)}"
    return text + "."


def _sentences(told: dict[str, str], rng: Random) -> str:
    """Several short sentences with a pronoun."""
    pronoun = {"woman": "she", "man": "he"}.get(told.get("sex", ""), "the person")
    look, wear, carry = _things(told, _LOOK, rng), _wear(told, rng), _things(told, _CARRY, rng)
    parts = [f"{pronoun} {rng.choice(('has', 'has got'))} {_join(look)}."] if look else []
    if wear:
        parts.append(f"{pronoun} {rng.choice(('is wearing', 'wears', 'is dressed in', 'has on'))} {_join(wear)}.")
    if carry:
        parts.append(f"{pronoun} {rng.choice(('is carrying', 'carries', 'holds', 'has'))} {_join(carry)}.")
    if rng.random() < 0.3:
        rng.shuffle(parts)
    who = _who(told, rng)
    opening = who if who == "someone" else article(who)
    return " ".join([f"{rng.choice(('there is ', 'this is ', ''))}{opening}.", *parts])


def _list(told: dict[str, str], rng: Random) -> str:
    """A few phrases, as one types them into a search box."""
    things = _things(told, (*_LOOK, *_WEAR), rng, bare=True)
    carry = _things(told, _CARRY, rng, bare=rng.random() < 0.5)
    things += [f"{rng.choice(('carrying', 'with'))} {_join(carry)}"] if carry and rng.random() < 0.5 else carry
    if any(n in told for n in ("sex", "age", "build")):
        things.insert(0, _who(told, rng))
    return ", ".join(things) or rng.choice(SUBJECTS[""])


def describe(person: Person, seed: int, completeness: str = "complete", error_rate: float = 0.0) -> Sentence:
    """A sentence about a person.

    completeness: "complete" tells nearly all, "partial" three or four things, "vague" one or two. error_rate:
    probability that a told attribute is told wrongly. Raises UsageError for another completeness, and for a rate
    outside 0 to 1.
    """
    rng = Random(f"words {completeness} {seed} {person.pid}")
    told = _told(person, rng, completeness, error_rate)
    form = rng.random()
    long_form = {"complete": 0.55, "partial": 0.5, "vague": 0.35}[completeness]
    if form < long_form:
        text = _caption(told, rng)
    elif form < long_form + (0.35 if completeness == "complete" else 0.2):
        text = _sentences(told, rng)
    else:
        text = _list(told, rng)
    return Sentence(text, told)


def _told(person: Person, rng: Random, completeness: str, error_rate: float) -> dict[str, str]:
    if completeness not in COMPLETENESS:
        raise UsageError(f"a completeness of {completeness!r} was given; {nearest(completeness, COMPLETENESS)}")
    if not 0.0 <= error_rate <= 1.0:
        raise UsageError(f"an error rate of {error_rate} was given; allowed is 0 to 1")
    told = {name: getattr(person, name) for name in _choose(person, rng, completeness)}
    return {name: _wrong(name, value, rng) if rng.random() < error_rate else value for name, value in told.items()}


def phrases(person: Person) -> list[tuple[str, str]]:
    """(phrase, attribute) for every attribute that there is something to say about, in the order of the record."""
    rows = ((name, getattr(person, name)) for name in ATTRIBUTES)
    return [(PHRASES[name][value][0], name) for name, value in rows if value not in _SILENT]
