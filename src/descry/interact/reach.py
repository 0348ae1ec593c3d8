"""How far a negation reaches: "no hat and a red jacket" takes away the hat and asks for the jacket.

It ends at "and a …", "and with …", "and he has …", and where a thing is followed by "in a …" or "wearing …". It does
not end inside what describes somebody ("not a man with a hat and a bag"), nor at "and" or "or" before a bare word
("without a hat and gloves"), nor between things of one list that all have their article ("without a hat and a bag").
"""

from __future__ import annotations

import re
from functools import cache

from .nouns import adjectives, nouns, stripped, words_of

_VERB = r"(?:wearing|carrying|having|wears|carries|has|had|wore|carried|(?:dressed|clad) in)"
_BE = r"(?:is|was|are|were)"
_SIDES = "left|right|back|front|side|middle|background"
ARTICLES = ("a ", "an ", "the ")
_DESCRIBES = re.compile(r" (?:with|in|who|that|wearing|carrying|having|holding) ")


@cache
def _ends() -> re.Pattern[str]:
    """What ends it. Groups: joined, by an "and" that begins a new thing; worn, by clothes; has, by a verb."""

    def one_of(words: frozenset[str]) -> str:
        return "(?:" + "|".join(map(re.escape, sorted(words))) + ")"

    look = one_of(adjectives() | words_of("degrees") | {"and"})
    clothes = one_of(words_of("things") - words_of("holders"))
    named = one_of(adjectives() | nouns())
    joined = (
        rf" and (?=(?:with|he|she|they|{_BE}|his [\w-]+ {_BE}|her [\w-]+ {_BE}|their [\w-]+ {_BE}|{_VERB}) "
        rf"|(?:in )?(?:an?|the) (?!(?:{_SIDES})\b))"
    )
    worn = rf" (?=in (?:(?:an?|the) )?(?:{look} )*{clothes}(?![\w-]))"
    has = rf" (?:who |and who )?(?=(?:{_BE} )?{_VERB} (?:an?|the|his|her|their|some|{named})(?![\w-]))"
    return re.compile(rf"(?P<joined>{joined})|(?P<worn>{worn})|(?P<has>{has})")


def parted(piece: str) -> tuple[str, str]:
    """What stands after a negation → what it takes away, what is wanted again ("" where it reaches to the end).

    >>> parted("hat and a red jacket")
    ('hat', 'a red jacket')
    """
    piece = " ".join(piece.split())
    for found in _ends().finditer(piece):
        before = piece[: found.start()]
        if _ended(before, found):
            return before, piece[found.end() :]
    return piece, ""


def _ended(before: str, found: re.Match[str]) -> bool:
    kept = stripped(before).split()
    if not kept and not found["joined"]:
        return False  # "not seen in a red jacket": it has taken nothing away yet
    somebody = re.search(rf"\b(?:{'|'.join(words_of('people', 'anyone'))})\b", before)
    if somebody:
        return bool(found["joined"]) and not _DESCRIBES.search(before[somebody.end() :])
    if found["joined"]:
        return not (before.startswith(ARTICLES) and found.string[found.end() :].startswith(ARTICLES))
    detail = found["worn"] and kept[-1] in words_of("details") and "in the " in found.string[found.start() :][:8]
    return kept[-1] in words_of("things") | adjectives() and not detail
