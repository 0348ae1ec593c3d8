"""What a piece of a sentence names: cut at "and", "with" or a second verb, stripped to the thing itself."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files


@cache
def language() -> dict[str, list[str]]:
    """The word lists of language.json."""
    return json.loads(files(__package__).joinpath("language.json").read_text("utf-8"))


@cache
def words_of(*names: str) -> frozenset[str]:
    """The words of some lists of language.json."""
    return frozenset(word for name in names for word in language()[name])


def adjectives() -> frozenset[str]:
    """Words that need a noun: colours, lengths, patterns, builds."""
    return words_of("colours", "shades", "lengths", "patterns", "cuts", "builds")


def nouns() -> frozenset[str]:
    """Clothes, things and people."""
    return words_of("things", "people")


_CARRY = re.compile(
    r" (?:(?:and |who |that )?(?:is |was )?(?:wearing|carrying|having|wears|carries|has|had|wore|carried)|"
    r"and dressed in|dressed in|as well as|plus|together with|along with|(?:over|under|underneath) (?=an? )) "
)
_PICTURED = re.compile(r"(?:dressed|clad) (?:all |mostly |completely )?in (.+)|all in (.+)")


def split(piece: str, wanted: bool) -> list[str]:
    """The phrases that one piece of a clause names, each stripped to the thing itself.

    "or" keeps wanted things together (one of them holds) and parts unwanted ones (none of them holds).
    """
    colours = _PICTURED.search(piece)
    if colours and set((colours[1] or colours[2]).split()) <= words_of("colours", "shades") | {"and"}:
        return [colours[0]]
    out = []
    for part in _CARRY.split(f"{piece} "):
        for thing in _listed(part.strip(), wanted):
            out += [text for text in (stripped(t) for t in _possessions(thing)) if text]
    return out


def _listed(piece: str, wanted: bool) -> list[str]:
    """Cut at "and" (for unwanted things also at "or"), but not between adjectives that share a noun."""
    sign = r"\band\b" if wanted else r"\b(?:and|or)\b"
    parts = [p.strip() for p in re.split(sign, piece)]
    out = [parts[0]]
    for part in parts[1:]:
        left, right = stripped(out[-1]).split(), stripped(part).split()
        shared = left and right and set(left) <= adjectives() and any(w in nouns() for w in right)
        if shared and not set(left) <= words_of("builds") - words_of("lengths"):
            joint = re.search(rf"{re.escape(out[-1])}\s+(and|or)\s+{re.escape(part)}", piece)
            out[-1] = f"{out[-1]} {joint[1] if joint else 'and'} {part}"
        else:
            out.append(part)
    return [p.removeprefix("either ") for p in out if p]


def _possessions(piece: str) -> list[str]:
    """ "woman with short hair" are two things, "jacket with a hood" is one: a detail belongs to its garment."""
    found = re.search(
        r"(?<=\w) (?:with|in) (?!the (?:left|right|background)|his |her |their |a (?:ponytail|bun|hand))", piece
    )
    if not found:
        return [piece]
    before, after = piece[: found.start()], piece[found.end() :]
    words = before.split()
    if not any(w in nouns() or w in words_of("anyone") for w in words):
        return [piece] if set(words) - words_of("verbs", "starters") else [after]
    if found[0].strip() == "with" and set(after.split()) & words_of("details") and words[-1] in words_of("things"):
        return [piece]
    return [before, *_possessions(after)]


def stripped(piece: str) -> str:
    """Without articles, pronouns, verbs of wearing and degrees at its ends; "the coat is long" turns into "long
    coat"."""
    piece = _turned(" ".join(piece.split()))
    words = piece.split()
    start, end = 0, len(words)
    while start < end and words[start] in words_of("starters", "verbs", "degrees"):
        start += 1
    while end > start and words[end - 1] in words_of("enders"):
        end -= 1
    kept = words[start:end]
    if kept and kept[-1] in words_of("anyone"):
        kept = kept[:-1]
    if kept in (["something"], ["anything"]) and start and words[start - 1].endswith("ing"):
        kept = [words[start - 1], *kept]
    kept = ["something" if w == "anything" else w for w in kept]
    return " ".join(kept) if kept != ["something"] else ""


def _turned(piece: str) -> str:
    found = re.match(
        r"(?:(?:the|his|her|their|its|a|an|both) )?([\w -]+?) (?:is|was|are|were|should be|must be|could be) (.+)",
        piece,
    )
    if not found or not any(w in words_of("things") for w in found[1].split()):
        return piece
    said = [w for w in found[2].split() if w not in words_of("degrees")]
    if set(said) <= adjectives() | {"and", "or"}:
        return f"{' '.join(said)} {found[1]}"
    return f"{found[1]} {found[2]}"


def completed(phrase: str, other: str) -> str:
    """A bare adjective with the noun of the phrase it is set against: "red", against "blue jacket", is "red jacket".

    Only where the other has an adjective of the same list in that place; otherwise the phrase stays as it is.
    """
    words, rest = phrase.split(), other.split()
    if not words or set(words) - adjectives() or not set(rest) & nouns():
        return phrase
    for name in ("colours", "shades", "lengths", "patterns"):
        if set(words) & words_of(name) and set(rest) & words_of(name):
            kept = [w for w in rest if w not in words_of(name, "shades") or w in words_of("things")]
            return " ".join([*words, *kept])
    return phrase
