"""What a searcher's words mean: sentences → phrases that are wanted, unwanted, or hedged.

No language model: a sentence is put into plain words (contractions, typing slips, signs), cut into clauses, and each
clause is read from left to right with a sign, which negations reverse. The words that carry meaning are in
language.json. Negated English is never given to the encoder: "no backpack" becomes the phrase "backpack" with a NOT.
The reading is by rules and may err, which is why phrases are shown as chips before they count.
"""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.resources import files
from typing import Any, NamedTuple

from .errors import LimitExceeded
from .query import Part, Query

# ---------------------------------------------------------------------------------------------- words and things


@cache
def language() -> dict[str, list[str]]:
    """The word lists of language.json."""
    value: dict[str, list[str]] = json.loads(files(__package__).joinpath("language.json").read_text("utf-8"))
    return value


@cache
def words_of(*names: str) -> frozenset[str]:
    """The words of some lists of language.json."""
    return frozenset(word for name in names for word in language()[name])


adjectives = partial(words_of, "colours", "shades", "lengths", "patterns", "cuts", "builds")
"""Words that need a noun: colours, lengths, patterns, builds."""
nouns = partial(words_of, "things", "people")
"""Clothes, things and people."""


_CARRY = re.compile(
    r" (?:(?:and |who |that )?(?:is |was )?(?:wearing|carrying|having|wears|carries|has|had|wore|carried)|"
    r"and dressed in|dressed in|as well as|plus|together with|along with|(?:over|under|underneath) (?=an? )) "
)
_PICTURED = re.compile(r"(?:dressed|clad) (?:(?:all|mostly|completely|entirely) )?in (.+)|all in (.+)")


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
        r"(?:only |just )?(?:(?:the|his|her|their|its|a|an|both) )?([\w -]+?) "
        r"(?:is|was|are|were|should be|must be|could be) (.+)",
        piece,
    )
    if found and found[1] in ("everything", "everything else", "the rest", "rest", "colour", "color"):
        return found[2]
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


# ------------------------------------------------------------------------------------------------- negation scope

# How far a negation reaches: "no hat and a red jacket" takes away the hat and asks for the jacket.
#
# It ends at "and a …", "and with …", "and he has …", and where a thing is followed by "in a …" or "wearing …". It does
# not end inside what describes somebody ("not a man with a hat and a bag"), nor at "and" or "or" before a bare word
# ("without a hat and gloves"), nor between things of one list that all have their article ("without a hat and a bag").

_VERB = (
    r"(?:wearing|carrying|having|holding|wears|carries|has|had|wore|carried|holds|features?|featuring|includes|shows|"
    r"comes with|(?:dressed|clad) in|gain(?:s|ed)|adds|added|puts? on)"
)
_BE = r"(?:is|was|are|were)"
_SIDES = "left|right|back|front|side|middle|background"
ARTICLES = ("a ", "an ", "the ")
_BEGINS = r"(?:more|fewer|less|some|several|many|lots of|two|three|four|different|only|just|instead|now|also|another) "
_DESCRIBES = re.compile(r" (?:with|in|who|that|wearing|carrying|having|holding) ")


@cache
def _ends() -> re.Pattern[str]:
    """What ends it. Groups: joined, by an "and" that begins a new thing; look, by an "and" before an adjective; worn,
    by clothes; has, by a verb; beside, by what is had besides."""

    def one_of(words: frozenset[str]) -> str:
        return "(?:" + "|".join(map(re.escape, sorted(words))) + ")"

    look = one_of(adjectives() | words_of("degrees") | {"and"})
    clothes = one_of(words_of("things") - words_of("holders"))
    named = one_of(adjectives() | nouns())
    adverb = r"(?:(?:now|also|instead|then|just|only|still|currently|plus) )?"
    joined = (
        rf" and (?={adverb}(?:with|he|she|they|it|{_BE}|(?:his|her|their|its) [\w-]+ {_BE}|{_VERB}) "
        rf"|{adverb}(?:in )?(?:an?|the) (?!(?:{_SIDES})\b))"
    )
    fresh = rf" and (?={_BEGINS}|{one_of(adjectives())}(?![\w-]))"
    worn = rf" (?=in (?:(?:an?|the) )?(?:{look} )*{clothes}(?![\w-]))"
    has = rf" (?:who |and who )?(?=(?:{_BE} )?{_VERB} (?:an?|the|his|her|their|some|{named})(?![\w-]))"
    has = rf"{has}| (?=(?:it|he|she|they) (?:{_BE}|{_VERB}) )"
    has = rf"{has}| (?=(?:just|only|instead) (?:an?|the|some|{named})(?![\w-]))"
    beside = (
        rf" (?=with (?:(?:an?|the|his|her|their|some) )?(?:{look} )*{one_of(words_of('things') - {'hair'})}(?![\w-]))"
    )
    return re.compile(rf"(?P<joined>{joined})|(?P<look>{fresh})|(?P<worn>{worn})|(?P<has>{has})|(?P<beside>{beside})")


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
    if found["look"]:  # "no straps and striped" ends, "not tall and thin" and "no red and blue stripes" do not
        return kept[-1] in nouns() | words_of("details") and not set(kept) & adjectives()
    if found["beside"]:  # "not zipped up with a blue hoodie" ends, "no jacket with a hood" does not
        after = set(found.string[found.end() :].split(" with ")[0].split()[1:])
        return not set(kept) & (nouns() | words_of("details", "anyone")) and not after & words_of("details")
    somebody = re.search(rf"\b(?:{'|'.join(words_of('people', 'anyone'))})\b", before)
    if somebody:
        return bool(found["joined"]) and not _DESCRIBES.search(before[somebody.end() :])
    if found["joined"]:
        listed = before.startswith((*ARTICLES, "both ", "his ", "her ", "their ", "its "))
        return not (listed and found.string[found.end() :].startswith(ARTICLES))
    detail = found["worn"] and kept[-1] in words_of("details") and "in the " in found.string[found.start() :][:8]
    return kept[-1] in words_of("things") | adjectives() and not detail


# ---------------------------------------------------------------------------------------------- sentences


class Phrase(NamedTuple):
    """One thing said. weight: 1, or 0.5 where it was hedged ("maybe a scarf")."""

    text: str
    wanted: bool
    weight: float


# What turns the sign, longest first: "+" to wanted, "-" to unwanted; "~" unwanted, but wanted where it already is;
# "--" unwanted with all that "and" adds ("hide the hat and the bag"); "x" an exception and "o" another, whose sign
# depends on what stands before (`_excepted`).
_OWN = "(?:the|his|her|their|its|an?|all|any|both)"
_TURNS: tuple[tuple[str, str], ...] = (
    *((words, "+") for words in ("not only", "not just", "not merely")),
    *((words, "--") for words in ("none of",)),
    *((words, "-") for words in ("no longer", "not any longer", "no more(?! than)")),
    *((words, "-") for words in ("no signs? of", "no trace of", "hardly any", "barely any")),
    *((words, "-") for words in ("instead of", "rather than", "as opposed to", "in (?:place|lieu) of")),
    ("other than", "o"),
    *((words, "--") for words in ("removes?", "excludes?", "avoid", "hide", "get rid of", "filter out")),
    *((words, "-") for words in ("(?:gets|got|gotten) rid of", "(?:does|did|done|do) away with")),
    *((words, "-") for words in ("(?:(?:has|have|had) )?lost", "(?:has|have|had) (?:dropped|shed)")),
    (
        rf"(?:(?:has|have|had) )?(?:dropped|removed|ditched|discarded|shed|let go of|threw away|"
        rf"shaved(?: off)?|(?:cut|pulled|torn|ripped) off)(?= {_OWN} )",
        "-",
    ),
    ("(?:(?:has|have|had) )?(?:takes?|took|taken) off", "-"),
    ("(?:stops|stopped) (?:having|wearing|carrying|holding|being)", "-"),
    *((words, "~") for words in ("without", "lacks?", "lacking", "missing")),
    *((words, "-") for words in ("minus", "neither", "nor", "never", "not", "no", "hardly", "barely", "scarcely")),
    ("except", "x"),
    ("nothing", "- something"),
)
_OWNED = re.compile(rf"(?:lost|removes?|removed|dropped|off|without|rid of) {_OWN} [\w -]+$")
_TURN = re.compile(r"(?<![\w-])(?:" + "|".join(f"({words})" for words, _ in _TURNS) + r")(?![\w-])")
_BREAK = re.compile(
    r"\s*(?:[,.;!?\n]+|(?<![\w-])(?:but|although|though|however|yet|whereas|while|except that)(?![\w-]))\s*"
)

# How people say that something is not to be seen, which does not say that it is not there.
_SEEN = (
    r"(?:be |been )?(?:(?:really|quite|clearly|properly|fully|easily|very|well) )?(?:seen|see|visible|shown|made out|"
    r"make out|recogni[sz]ed?|recogni[sz]able|identify|identified|identifiable|distinguish(?:ed)?|distinguishable|"
    r"determined?|discern(?:ed)?|discernible|describe[d]?|readable|read|legible|clear|told|tell|in view|in sight|"
    r"in the picture)"
)
_UNSEEN = re.compile(
    rf"(?P<relative>(?:^| )(?:(?:that|which|who|whom)(?: (?:i|we|you|one|he|she|they))?|i|we|you|one)|"
    r"(?:^| )whose(?: [\w-]+)+?|(?= no one ))?(?:^| )(?:(?:(?:can|could|do|does|did|am|(?:was|were|am) able to|"
    rf"{_BE}) not|no one (?:can|could)) (?:able to )?(?:{_SEEN}|"
    r"(?:see|read|tell|show|make out|identify|recogni[sz]e|determine) (?:the|his|her|their|its|what|which|how)\b.*?)"
    r"|not (?:clearly )?(?:visible|readable|recogni[sz]able|legible|in view))"
    r"(?: (?:well|clearly|properly|anyway|either|here|because|from|due|under|behind|at all|in|on|at)\b.*)?"
    r"(?=$| and | with )"
)
_SHOWN = re.compile(
    rf" (?:(?:that )?(?:can|could|{_BE})(?: to)? (?:be )?(?:seen|visible|shown|present|in sight|there)|"
    r"in sight|in view|anywhere|to be seen)$"
)
# Comparisons of things with one another: their denial says nothing that a picture could be searched by.
_UNLIKE = re.compile(
    rf"(?:(?:do|does|did|has|have|{_BE}) not|never) "
    r"(?:(?:all|quite|really|exactly|very|of|have|be|look|any|both|even) )*"
    r"(?:alike|identical|equal\b.*|similar\b.*|(?:the |of the )?same\b.*|differ\b.*|different\b.*|match\b.*|"
    r"match(?:ing|ed)\b.*|symmetric\w*|even|uniform|comparable|like\b.*|(?:a )?pair(?:ed)?|consistent|level|"
    r"each other\b.*|one another\b.*|a matching\b.*|(?:go|belong|fit) (?:with\b.*|together\b.*))$|"
    r"(?<![\w-])not (?:alike|identical|(?:a )?matching\b.*|matched|"
    r"(?:the )?same (?:colou?r|length|size|height|width)\b.*)$"
)
_ABSENT = (
    "gone|missing|absent|removed|dropped|ditched|discarded|deleted|omitted|lost|left out|"
    "taken (?:off|away|out)|disappeared|vanished|fallen off|fell off|come off|came off|"
    "not there|no longer (?:there|present|on)|not present|nowhere to be seen|lacking"
)
_GONE = re.compile(
    rf"^(?:and |now |then |with )*(?P<what>.+?) (?P<said>(?:{_BE}|has|have|had|(?:has|have|had) been) )?"
    rf"(?:(?:now|all|also|both) )*(?:{_ABSENT})(?: (?:now|too|completely))?$"
)
_BEARER = re.compile(r"^(?P<bearer>.+?),? (?:with|whose) (?P<thing>(?:(?! with | whose ).)+)$")
# Two statements: "the logo is gone and it has a zip". Not "the hat and the bag are gone".
_STATED = rf"(?:{_BE}|{_VERB}|have|can|could|does|do|did|looks?|no one|disappeared|vanished|fell|came|match|differ)"
_TWO = re.compile(
    rf" and (?=(?:(?:(?:he|she|it|they|there|i|we|you)|{_OWN}(?: [\w-]+){{1,4}}?) )?(?:(?:now|also|then|instead) )?"
    rf"(?:(?:he|she|it|they|there) )?{_STATED} )"
)
_SUBJECT = re.compile(rf"(?:and )?(?:the|his|her|their|its|both) (?!.* {_STATED}(?: |$))")
_UNDECIDED = frozenset(
    {
        *("can", "could", "do", "does", "did", "would", "whether", "if", "except", "unless", "cannot", "unable"),
        *("gone", "disappeared", "vanished", "removed", "ditched", "discarded", "anymore", "formerly", "previously"),
        *("none", "nobody", "noone", "hate", "hates", "dislike", "dislikes", "doubt"),
    }
)
_PAST = re.compile(r"\bused to\b| off$")
# In feedback it asks for less, in a description it is a look.
_TOO = re.compile(rf"(?:^|(?<![\w-])(?:{_BE}|looks?) )(?:(?:a bit|way|far|much|slightly|just|all) )*too \w")
_TOO_TAIL = re.compile(
    rf"(?<=\w) (?:that|which|who) (?:{_BE}|looks?) (?:(?:a bit|way|far|much) )*too [\w-]+(?: for \w+)?"
)
_NOT_A_LOOK = frozenset(
    {
        "other",
        "others",
        "else",
        "same",
        "alike",
        "pair",
        "identify",
        "see",
        "tell",
        "know",
        "help",
        "forget",
        "problem",
        "through",
        "weight",
    }
)
"""Denied by themselves, they say nothing that a picture could be searched by."""


class Reading(NamedTuple):
    """The meaning of a sentence.

    Attributes:
        phrases: in the order said, each once.
        unclear: pieces that could not be read as wanted or unwanted, as they were understood word by word.
        negated: whether the sentence holds a negation or a contrast at all.
    """

    phrases: tuple[Phrase, ...]
    unclear: tuple[str, ...]
    negated: bool


_MAY_DENY = re.compile(
    rf"{_TURN.pattern}|:|(?<![\w-])(?:{_ABSENT}|too|off|used|{'|'.join(sorted(_UNDECIDED))})(?![\w-])"
)


def may_deny(sentence: str) -> bool:
    """False where no word of a sentence could make `read` find a negation or something unclear; much quicker."""
    return _MAY_DENY.search(plain(sentence)) is not None


@lru_cache(maxsize=4096)
def read(sentence: str) -> Reading:
    """All phrases of a sentence, and what of it could not be decided.

    >>> read("no hat, and the straps aren't alike").phrases
    (Phrase(text='hat', wanted=False, weight=1.0),)
    >>> read("no hat, and the straps aren't alike").unclear
    ('the straps are not alike',)
    """
    text = plain(sentence)
    unclear: list[str] = []
    raws = [piece for raw in _clauses(text) for piece in _decided(raw, unclear)]
    out: list[Phrase] = []
    for clause in _joined(_scoped([c for c in map(_clause, raws) if c])):
        weight, clause = _hedged(clause)
        for wanted, piece in _signed(clause, unclear):
            out += [Phrase(text, wanted, weight) for text in split(piece, wanted)]
    out = [p._replace(text=_against(p, out[:i], out[i + 1 :])) for i, p in enumerate(out)]
    lost = [p for p in out if _lost(p)]
    unclear += [p.text if p.wanted else f"not {p.text}" for p in lost]
    out = [p for p in out if p not in lost and set(p.text.split()) - words_of("universals")]
    phrases = tuple({(p.text, p.wanted): p for p in reversed(out)}.values())[::-1]
    negated = bool(_TURN.search(text) or unclear) or not all(p.wanted for p in phrases)
    return Reading(phrases, tuple(dict.fromkeys(unclear)), negated)


def _lost(phrase: Phrase) -> bool:
    """Whether a phrase holds words that no reading was found for."""
    words = set(phrase.text.split())
    return bool(words & _UNDECIDED or _PAST.search(phrase.text)) or (not phrase.wanted and words <= _NOT_A_LOOK)


def _decided(raw: str, unclear: list[str]) -> list[str]:
    """A clause without what cannot be decided, in pieces; that is added to `unclear`."""
    if re.match(rf"(?:{_BE}|do|does|did|has|have|had|can|could) not (?:it|he|she|they|there|that) ", raw):
        unclear.append(raw)  # a question
        return []
    if tail := _TOO_TAIL.search(raw):
        unclear.append(tail[0].strip())
        return _decided(f"{raw[: tail.start()]}{raw[tail.end() :]}", unclear)
    if _TOO.search(raw) and not _TWO.search(raw):
        unclear.append(raw)
        return []
    two = next((found for found in _TWO.finditer(raw) if not _SUBJECT.match(raw[: found.start()])), None)
    if two:
        halves = raw[: two.start()], raw[two.end() :]
        undecided = (_GONE, _UNLIKE, _UNSEEN, _TOO)
        if any(_withdrawn(half) or any(one.search(half) for one in undecided) for half in halves):
            return [piece for half in halves for piece in _decided(half, unclear)]
    if same := re.match(r"(?:yes |ok )?(?:exactly )?the same(?: (?:one|person|man|woman|as before))? except (.+)", raw):
        if set(same[1].split()) & adjectives() or same[1].startswith(("a ", "an ", "with ", "some ")):
            return [same[1]]
        unclear.append(raw)
        return []
    if re.search(rf" {_STATED}(?: |$)", raw):
        raw = re.sub(r"^(?:and|so|also) (?=the |his |her |their |its )", "", raw)
    if gone := _gone(raw):
        return gone
    if (
        _TURN.search(raw)
        and (shown := _SHOWN.search(raw))
        and not re.search(r" not\b(?! an? )", raw[shown.start() - 4 :])
    ):
        raw = raw[: shown.start()]
    unseen = _UNSEEN.search(raw)
    if unseen:
        before, after = raw[: unseen.start()], re.sub(r"^ and ", "", raw[unseen.end() :]).strip()
        if not before or unseen["relative"] is not None:
            unclear.append(unseen[0].strip())
            return [piece for piece in (before, *_decided(after, unclear)) if piece]
        head, subject = _headed(before)
        if subject and not set(subject.split()) <= words_of("starters"):
            unclear.append(f"{subject}{unseen[0]}".strip())
            return [piece for piece in (head, *_decided(after, unclear)) if piece]
    if unlike := _UNLIKE.search(raw):
        head, subject = _headed(raw[: unlike.start()].rstrip())
        if relative := re.search(r"^(.+?) (?:that|which|who)$", subject):
            unclear.append(unlike[0])
            return [" and ".join(filter(None, (head, relative[1])))]
        unclear.append(f"{subject} {unlike[0]}".strip())
        return [head] if head else []
    return [raw]


def _gone(raw: str) -> list[str]:
    """ "a man with the hood removed" → "a man", "remove hood"; [] for a clause that takes nothing away."""
    found = _GONE.match(raw)
    if not found:
        return []
    what, bearer = found["what"], ""
    carried = _BEARER.match(what)
    if carried and (not found["said"] or set(carried["bearer"].split()) & words_of("people", "anyone")):
        bearer, what = carried["bearer"], carried["thing"]
    what = re.sub(r"^(?:the|his|her|their|its|both|one) ", "", what)
    if set(what.split()) & (words_of("people", "anyone") | {"looks", "look"}) or (
        not found["said"] and _DESCRIBES.search(what)
    ):
        return []
    return [*filter(None, [bearer]), f"remove {what}"]


def _headed(said: str) -> tuple[str, str]:
    """What stands before a verb → what was said before, the verb's subject, which may be two things."""
    head, _, subject = said.rpartition(" and ")
    apart = re.match(rf"(?:{_OWN}|he|she|it|they|there|i|we|you) ", f"{subject} ") and not _SUBJECT.match(head)
    return (head, subject) if apart or not head else ("", said)


def _against(phrase: Phrase, before: list[Phrase], after: list[Phrase]) -> str:
    """The phrase, completed from its neighbour of the other sign."""
    for other in (*before[-1:], *after[:1]):
        if other.wanted != phrase.wanted:
            text = completed(phrase.text, other.text)
            if text not in (phrase.text, other.text):
                return text
    return phrase.text


def plain(sentence: str) -> str:
    """Lower case, contractions written out, signs as words, typing slips in known words mended."""
    text = re.sub("[’‘‛´`′＇]", "'", unicodedata.normalize("NFKC", sentence).lower())
    text = re.sub(r"[\u2028\u2029\x85\x0b\x0c]", "\n", text.replace("\t", " ").replace("\r", "\n"))
    text = re.sub(r"[“”„«»\"]", "", text)
    text = re.sub(
        r"([^,.;:!?\n()\[\]]{1,100}?) ?(?:[-–—=:(\[]|\bis:) ?(?:none|no|nope|nil)\b(?= ?(?:[,.;!)\]\n]|$))",
        r", no \1",
        text,
    )
    text = re.sub(r"(?<![\w-])(no|not|without)\s*:\s*([^.;:!?\n]+)", _each, text)
    text = re.sub(r"(?<=\w)\((e?s)\)", r"\1", text)  # "shoe(s)"
    text = re.sub(r"\((\w+)\)(?= \w)", lambda found: found[1] if found[1] in adjectives() else found[0], text)
    text = re.sub(r"[()\[\]{}]", ", ", text).replace("=", ":")
    text = re.sub(r"(?m)^\s*[-•*]\s+(?=\w)", "\n" if "+" not in text else ", no ", text)
    text = re.sub(r"(?:^|(?<=\s))[-−](?=[a-z]{3})", ", no ", text)
    text = re.sub(r"\s[-–—]\s|—", ", no " if "+" in text else ", ", text).replace("+", ", ")
    text = re.sub(r"(?<!\w)(?:w/o(?:ut)?|sans)(?!\w)", "without", text)
    text = re.sub(r"(?<!\w)w/\s?", "with ", text).replace("&", " and ")
    text = re.sub(
        r"(?<!\w)(do|did|does|dos|is|was|are|were|has|have|hav|had|ca|could|should|must|would|wo|ai|need|might|sha)"
        r"(?:'?n'?t|n t|e?nt|not)(?!\w)",
        _expand,
        text,
    )
    text = re.sub(r"(?<!\w)(he|she|there|that|they|you|i|it|what)'?(s|re|m|d|ve|ll)(?!\w)", _pronoun, text)
    text = re.sub(r"(?<!\w)(cannot|can not)(?!\w)", "can not", text)
    text = re.sub(r"(?<=\w)'(?:s|re|m)(?= )", " is", text).replace("'ve ", " have ").replace("'", "")
    text = re.sub(r"([a-z][\w -]{0,100})\?\s*(no|none|nope|yes|yeah)(?!\w)", _answered, text)
    text = "".join(_slips().get(w, w) if w.isalpha() else w for w in re.split(r"([\w-]+)", text))
    text = re.sub(r"(?<![\w-])((?:an?|the) )?([a-z]{3,}?)-?less(?: ([a-z]+))?(?![\w-])", _bare, text)
    for pattern, replacement in _CONTRASTS:
        text = re.sub(pattern, replacement, text)
    return text


_PIECE = r"(?:(?![,.;!?\n]| and | but ).){1,100}?"
"""What one phrase says. Bounded, so that a long text takes time in proportion to its length."""
_END = r"(?=\s*(?:[,.;!?\n]|$| and | but ))"


def _changed(found: re.Match[str]) -> str:
    """ "from a red shirt to a blue one" → "no a red shirt, a blue one"; "from hat to shoes" says where."""
    start, old, new = found.groups()
    looks = [old.startswith(ARTICLES) or bool(set(old.split()) & adjectives()) for old in (old, new)]
    return f"{start}no {old}, {new}" if all(looks) else found[0]


_CONTRASTS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"(?<![\w-])(?:nobody|noone|no-one|none(?= (?:has|have|had|wears?|is|are|carry|carries)\b))(?![\w-])", "no one"),
    (r"(?<![\w-])(?:next to (?=nothing)|(?:little|few) (?:to|or) (?=no ))", ""),
    # sayings that deny nothing
    (
        r"(?<![\w-])(?:(?:without|no) (?:any |a )?(?:doubt|question)(?: that| about it)?|no (?:wonder|problem|worries)|"
        r"not to mention|last but not least|needless to say|(?:can|could) not help (?:but )?notic(?:e|ing)|"
        r"(?:do not|never) (?:forget|miss|overlook))(?![\w-])",
        ", ",
    ),
    (r"(?<![\w-])(?:(?:i|we) )?doubt (?:(?:that|if|whether) )?", "probably not "),
    (r"(?<![\w-])(?:no|not) (?:less|fewer) than (?=\w)", ""),
    (r"(?<![\w-])not (unlike|dissimilar to)(?![\w-])", "like"),
    (r"(?<![\w-])(not(?: [a-z]+)?|never) too(?= )", r"\1 very"),
    (r"(?<![\w-])(he|she|it|they) too(?= )", r"\1"),
    (r"(?<!not )(?<![\w-])any (?:more|longer)(?=$| ?[,.;!?\n]| and | but )", "anymore"),
    (r"(?<![\w-])(?:am|is|are)( not)? (?:after|(?:looking|searching) for|interested in)(?= )", r"\1 "),
    (r"(?<![\w-])see through(?![\w-])", "see-through"),
    (r"(?<![\w-])no-(?=[a-z]{3})", "no "),
    (r"(?<![\w-])non-([a-z]+) ([\w-]+)", r"\2 not \1"),
    (r"(?<![\w-])(?:devoid|free) of(?![\w-])", "without"),
    # who is to be left out
    (
        r"(?<![\w-])(?:skip|ignore|leave out|drop|forget|discard|avoid|remove|exclude|filter out|hide) "
        r"(?:(?:any|every)(?:one|body)|those|people|(?:all |any )?(?:the )?(?:ones|people))"
        r"(?: who| that|(?= with))(?! (?:is|are) not)",
        "exclude ",
    ),
    (r"(?<![\w-])avoid(?:s|ing)(?![\w-])", "avoid"),
    # had and no longer has
    (
        rf"(?:({_PIECE}) (?:(?:who|that) )?(?:had|has|wore|carried) )?({_PIECE})"
        r"(?: before| earlier| previously| once)?,?(?: but| and)? (?:not|no longer) "
        rf"(?:any ?more|any longer|now|these days){_END}",
        lambda found: f"{found[1] or ''}, never {found[2]}",
    ),
    (rf"({_PIECE}) not at all{_END}", r" never \1"),
    (rf"(?<![\w-])(?:takes?|took|taken|taking) ({_OWN} {_PIECE}) off{_END}", r"took off \1"),
    (
        rf"(?<![\w-])(?:puts?|putting) ({_OWN} {_PIECE}) (?:away|(?<!hair )(?<!hood )(?<!hand )(?<!hands )(?<!arm )"
        rf"(?<!arms )(?<!head )(?<!collar )(?<!visor )(?<!mask )down){_END}",
        r"took off \1",
    ),
    (r"(?<![\w-])(?:puts?|putting) (?:away|down)(?= )", "took off"),
    (r"(?<![\w-])(?:does|do|did) not (?:have|feature|include|contain|come with)(?: got)?(?![\w-])", "without"),
    (r"(?<![\w-])(?:does|do|did) not (wear|carry|hold)(?= )", r"is not \1ing"),
    (r"(?<![\w-])nothing (?:but|except(?: for)?|other than|apart from|besides)(?![\w-])", "only"),
    (
        r"(?<![\w-])((?:any|every)(?:thing|one|body)|all|(?:any|every)(?: (?!but\b)[\w-]+)?) but "
        r"(?!(?:also|he|she|it|they|with|no|not|without|is|was|has|had|wears|his|her)\b)",
        r"\1 except ",
    ),
    (
        r"(?<![\w-])(?:except(?:ing)?(?: for)?(?! that\b)|apart from|aside from|save for|excluding|outside of|"
        r"(?<=[\w,] )(?:save|bar)(?= (?:the|his|her|their|its|an?)\b)|"
        r"with the (?:sole |only |one )?exception of|but for(?! some\b| sure\b))(?![\w-])",
        "except",
    ),
    (
        rf",? *(?:and )?({_PIECE})(?<!swept)(?<!put)(?<!set)(?<!thrown)(?<![a-z]{{3}}ed) (?:excepted|aside){_END}",
        r" except \1",
    ),
    (rf"(?<![\w-])((?:all|everything|entirely|completely|no) {_PIECE}) besides (?=\w)", r"\1 except "),
    # an exception said first or after a comma belongs to its sentence
    (r"(^|[.;!?\n]\s*)except ([^,.;!?\n]+), *([^,.;!?\n]+)", r"\1\3 except \2"),
    (
        rf"(^|[.;!?\n]\s*)except ({_PIECE}) ((?:he|she|it|they|the (?:person|man|woman)) "
        r"(?:is|was|has|had|wears|wore|carries|carried|holds) "
        r"[^.;!?\n]+)",
        r"\1\3 except \2",
    ),
    (r", *(?:and )?(except|other than)(?! that\b)(?![\w-])", r" \1"),
    (
        rf"(?<![\w-])(everything|all|everyone) except ({_PIECE}) ((?:is|are|was|were) {_PIECE}){_END}",
        r"\1 \3 except \2",
    ),
    (r"(?<![\w-])nothing except(?![\w-])", "only"),
    (
        r"(?<![\w-])(?:carry|carries|carried|hold|holds|held) nothing(?! (?:but|except|other)\b)",
        "not carrying something",
    ),
    # one thing in the place of another
    (rf"({_PIECE}) (?:became|(?:has |have )?(?:turned into|become)) (an? {_PIECE}){_END}", r"no \1, \2"),
    (rf"(?<![\w-])less (?:like |of )?(an? {_PIECE}) than (?:like |of )?(an? {_PIECE}){_END}", r"no \1, \2"),
    (rf"(?<![\w-])not so much ({_PIECE}) as ({_PIECE}){_END}", r"not \1, but \2"),
    (rf"(?<![\w-])not ({_PIECE}) so much as ({_PIECE}){_END}", r"not \1, but \2"),
    (rf"(?<![\w-])prefer(?:s|red|ably)? ({_PIECE}) (?:over|to) ({_PIECE}){_END}", r"\1, no \2"),
    (rf"(?<![\w-])substitut(?:e|es|ed|ing) ({_PIECE}) for ({_PIECE}){_END}", r", \1, no \2"),
    (rf"(?<![\w-])(?:more|rather) (?:like |of )?(an? {_PIECE}) than (?:like |of )?(an? {_PIECE}){_END}", r"\1, no \2"),
    (
        rf"(?<![\w-])(?:swap(?:s|ped)?|exchang(?:e|es|ed)|trad(?:e|es|ed)|replac(?:e|es|ed)|switch(?:es|ed)?|"
        r"substitut(?:e|es|ed)|chang(?:e|es|ed)(?! from))(?: out)? "
        rf"({_PIECE}) (?:for|with|by|to) ({_PIECE}){_END}",
        r", no \1, \2",
    ),
    (
        rf"({_PIECE}) (?:is|was|are|were|has been|have been) (?:now )?"
        rf"(?:swapped|exchanged|replaced|switched|substituted) (?:by|with|for|to) ({_PIECE}){_END}",
        r" no \1, \2",
    ),
    (
        rf"(?<![\w-])(?:(?:has|have) )?(?:now )?(?:chang(?:es|ed)|turn(?:s|ed)|gone|goes|went) "
        rf"from ({_PIECE}) (?:in)?to ({_PIECE}){_END}",
        r"is not \1, but \2",
    ),
    (
        rf"(^|[.,;!?\n] *)from (?!(?:the )?(?:head|top|left|right|front|back|side|behind|waist|neck|shoulder|time)\b)"
        rf"({_PIECE}) (?:in)?to ({_PIECE}){_END}",
        _changed,
    ),
    (r"(?<![\w-])(no|not|neither) (?:the|his|her|their|its) (?!same\b)(?=[\w-]+(?:,| or| nor|$))", r"\1 "),
)


def _bare(found: re.Match[str]) -> str:
    """ "a hatless man" → "a man, no hat, "; "a hoodless red jacket" → "no hood, a red jacket"."""
    article, thing, after = found[1] or "", found[2], found[3] or ""
    if thing not in words_of("things") or f"{thing}less" in adjectives():
        return found[0]
    if after in nouns() or after in words_of("anyone"):
        return f"{article}{after}, no {thing}, "
    return f", no {thing}, {article}{after}" if after in adjectives() else f"{article}without {thing} {after}".rstrip()


def _each(found: re.Match[str]) -> str:
    """ "no: hat, bag" → "no hat, no bag"."""
    return ", ".join(
        f"{found[1]} {thing.strip()}" for thing in re.split(r",|\band\b|\bor\b", found[2]) if thing.strip()
    )


def _expand(found: re.Match[str]) -> str:
    whole = {"ca": "can", "wo": "will", "ai": "is", "dos": "does", "hav": "have", "sha": "shall"}
    return whole.get(found[1], found[1]) + " not"


_RUN_TOGETHER = ("hes", "shes", "theres", "thats", "theyre", "theyve", "youre", "ive", "im", "whats")


def _pronoun(found: re.Match[str]) -> str:
    """ "he's" and "hes" → "he is". Without an apostrophe only what is no other word."""
    word, ending = found[1], found[2]
    if "'" not in found[0] and word + ending not in _RUN_TOGETHER:
        follows = re.match(r" (?:not|no|an?|the)\b", found.string[found.end() :])
        if word + ending != "its" or not follows:
            return found[0]
    after = found.string[found.end() :]
    had = "had" if re.match(r" (?:no|not|an?|the|got|been|never)\b", after) else "would"
    has = "has" if re.match(r" (?:got|been|lost|had|no)\b", after) and word in ("he", "she", "it") else "is"
    return f"{word} " + {"s": has, "re": "are", "m": "am", "d": had, "ve": "have", "ll": "will"}[ending]


def _answered(found: re.Match[str]) -> str:
    return f"no {found[1]}" if found[2].startswith("n") else found[1]


@cache
def _slips() -> dict[str, str]:
    """Common slip of the fingers → the known word that it stands for, where that is one and no other."""
    cues = ("without", "wearing", "carrying", "never", "neither", "nothing", "instead", "maybe", "perhaps", "probably")
    words = {w for w in (*nouns(), *adjectives(), *words_of("details"), *cues) if len(w) > 2}
    spared = words | words_of("ordinary", "verbs", "starters", "enders", "degrees", "anyone")
    table: dict[str, tuple[str, ...]] = {}
    for word in words:  # two letters swapped, one dropped, one doubled, a wrong vowel; the first letter stays
        cuts = range(1, len(word))
        slips = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in cuts if i + 1 < len(word)}
        slips |= {word[: i + 1] + word[i] + word[i + 1 :] for i in cuts}
        if len(word) >= 5:
            slips |= {word[:i] + word[i + 1 :] for i in cuts}
            slips |= {word[:i] + v + word[i + 1 :] for i in cuts if word[i] in "aeiou" for v in "aeiou"}
        for slip in slips - spared - {word}:
            table[slip] = (*table.get(slip, ()), word)
    return {slip: known[0] for slip, known in table.items() if len(known) == 1}


def _clauses(text: str) -> list[str]:
    return [c.strip() for c in _BREAK.split(text)]


def _withdrawn(raw: str) -> bool:
    """Whether a clause says that nothing is known or that something does not matter."""
    return any(re.search(pattern, raw) for pattern in language()["withdrawals"])


def _clause(raw: str) -> str:
    """A clause without references and withdrawn things; "" when nothing is left. "bag: none" → "no bag"."""
    if ":" in raw:
        name, _, value = (part.strip() for part in raw.partition(":"))
        if value in ("none", "no", "nothing"):
            raw = f"no {name}"
        else:
            raw = (
                f"{value} {name}" if value and set(value.split()) <= adjectives() else value if value != "yes" else name
            )
    if _withdrawn(raw):
        return ""
    for pattern in language()["references"]:
        raw = re.sub(rf"^(?:(?:yes|no|and|ok|okay|so|i think|maybe) )*{pattern}", "", raw).strip()
    raw = re.sub(r"^no (?=(?:it|he|she|they|that|the [\w-]+) (?:is|was|were|are|had|has|wore)\b)", "", raw)
    return "" if raw in ("no", "yes", "nope", "yeah", "ok", "nah") else raw


def _scoped(clauses: list[str]) -> list[str]:
    """A NOT list that closes with "or" stays NOT: "no hat, glasses or bag"."""
    out = list(clauses)
    for i, clause in enumerate(clauses):
        signs = _signed(clause)
        if not _TURN.search(clause) or (signs and signs[-1][0]) or out[i] != clause:
            continue
        bare = re.search(r"\bno (?!(?:an?|the)\b)", clause)  # "no hat, a bag or gloves": no "a" stands under "no"
        for j in range(i + 1, len(clauses)):
            words = parted(clauses[j])[0].split()
            if clauses[j].startswith("nor "):
                out[i + 1 : j] = [f"no {c}" for c in clauses[i + 1 : j]]
                break
            own = re.match(r"(and )?(?:the|his|her|their|its) ", clauses[j])  # "lost the hood, its belt, and the zip"
            if not own or set(words) & (words_of("verbs") - {"and"}) or not _OWNED.search(clause):
                own = None
            elif own[1]:
                out[i + 1 : j + 1] = [f"no {c.removeprefix('and ')}" for c in clauses[i + 1 : j + 1]]
                break
            if _TURN.search(clauses[j]) or set(words) & words_of("verbs") or (bare and words[:1] in (["a"], ["an"])):
                break
            if "or" in words and "and" not in words:
                out[i + 1 : j + 1] = [f"no {c.removeprefix('or ')}" for c in clauses[i + 1 : j + 1]]
                break
    return out


def _joined(clauses: list[str]) -> list[str]:
    """Adjectives set apart by a comma go to their noun: "a tall, thin man"."""
    out: list[str] = []
    for clause in clauses:
        words, before = clause.split(), out[-1].split() if out else []
        bare = [w for w in before if w not in ("a", "an", "the")]
        head = next((w for w in words if w in nouns()), "")
        fitting = (
            words_of("builds")
            if head in words_of("people")
            else adjectives() - (words_of("builds") - words_of("lengths", "cuts"))
        )
        if bare and head and not _TURN.search(clause) and set(bare) <= fitting and words[0] in adjectives():
            out[-1] = f"{out[-1]} {clause}"
        else:
            out.append(clause)
    return out


def _hedged(clause: str) -> tuple[float, str]:
    padded = f" {clause} "
    padded = re.sub(r" (?:(?:i|we) )?do not (?:think|believe)(?: that)? ", " not ", padded)
    weight = 1.0
    for word in language()["hedges"]:
        if f" {word} " in padded:
            weight, padded = 0.5, padded.replace(f" {word} ", " ")
    for word in language()["emphases"]:
        padded = padded.replace(f" {word} ", " ")
    return weight, padded.strip()


def _signed(clause: str, unclear: list[str] | None = None) -> list[tuple[bool, str]]:
    """The clause cut where its sign turns. Two negations in a row are one ("ain't got no hat"), but "not without" is
    none. unclear: takes what cannot be decided."""
    out: list[tuple[bool, str]] = []
    wanted, reaches, at, subject, excepts = True, False, 0, "", ""
    for found in [*_TURN.finditer(clause), None]:
        before = clause[at : found.start() if found else None].strip()
        if excepts:
            out, excepts, before = _excepted(out, before, excepts, [] if unclear is None else unclear), "", ""
            wanted = True
        taken, rest = parted(before) if reaches else (before, "")
        if reaches and not rest and found and _TURNS[found.lastindex - 1][1] == "~":  # type: ignore[operator]
            taken, _, rest = before.rpartition(" and ") if " and " in before else (before, "", "")
        if rest:
            out.append((False, f"{subject} {taken}".strip()))
            wanted, subject, before = True, "", rest
        if not found:
            break
        turn = _TURNS[found.lastindex - 1][1]  # type: ignore[operator]
        at = found.end()
        if _says_something(before):
            if _is_subject(before) and turn not in "xo":
                subject = re.sub(r" (?:that|which)(?= \w+$)", "", re.sub(r"^(?:any|some|every) ", "", before))
                kind = clause[at:].lstrip().startswith(ARTICLES)  # "a bag that is not a backpack"
                if kind or (not before.endswith(subject) and _predicate(clause[at:])):
                    out.append((True, re.sub(r" \w+$", "", subject)))
                subject = "" if kind else subject
            else:
                out.append((wanted, f"{subject} {before}".strip()))
        elif not wanted and turn == "~":
            wanted, reaches = True, False
            continue
        if turn in "xo":
            excepts, reaches, subject = turn, False, ""
            continue
        wanted, reaches = turn == "+", turn not in ("+", "--")
        if turn.endswith("something"):
            subject = "something"
    out.append((wanted, f"{subject} {before}".strip()))
    return [(sign, piece) for sign, piece in out if piece]


def _predicate(after: str) -> bool:
    """Whether what a relative clause denies is more than an adjective: "that is not zipped up"."""
    first = parted(after.strip())[0].split()
    return bool(first) and not set(first) <= adjectives() | words_of("degrees") | {"and", "or"}


def _excepted(out: list[tuple[bool, str]], exception: str, kind: str, unclear: list[str]) -> list[tuple[bool, str]]:
    """What was said, with an exception to it.

    To a denial it is wanted ("no bag except a purse"), to all there is unwanted ("everything but the bag"). To a look
    it is wanted where it has its own ("all in black except for white trainers") or is new ("except a scarf"), and else
    lacks that look ("all in black except the trainers" are not black). kind: "o" for "other than", which takes away
    from a plain thing ("a bag other than a backpack").
    """
    exception = re.sub(r"^(?:for|of|in) ", "", exception.strip())
    if not exception:
        return out
    if out and not out[-1][0]:
        kept = out[:-1] if set(out[-1][1].split()) & {"something", "anything"} else out
        return [*kept, (True, exception)]
    said = " ".join(piece for _, piece in out)
    said = re.sub(
        r"(?:\b(?:in|of) )?\b(?:any|every|all)(?: other)? (?:colou?r|kind|sort|type|style)s?\b", "", said
    ).strip()
    words = set(said.split())
    new = exception.split()
    those = re.match(
        r"(?:those(?: people)?|the ones|ones|people|anyone|everyone|the people) (?:who |that )?(?=\w)", exception
    )
    if not words - words_of("universals", "verbs", "starters", "anyone", "degrees"):
        return [(False, exception[those.end() :] if those else exception)]
    kept = [(sign, piece) for sign, piece in out[:-1]] + ([(True, said)] if said else [])
    if those or set(new) & words_of("people", "anyone"):
        return [*kept, (False, exception[those.end() :] if those else exception)]
    bare = [w for w in new if w not in ("the", "his", "her", "their", "its", "a", "an")]
    if bare and set(bare) <= adjectives():
        thing = [w for w in said.split() if w in words_of("things")]
        return [*kept, (False, " ".join([*bare, *thing[-1:]]))]
    if (
        kind == "o"
        and not words & (words_of("universals") - {"the"})
        and not re.search(r"\b(?:entirely|completely)\b", said)
    ):
        return [*kept, (False, exception)]
    if set(bare) & adjectives() or new[0] in ("a", "an", "some", "one", "two", "with", "wearing", "has", "that"):
        return [*kept, (True, exception)]
    look = [w for w in said.split() if w in words_of("colours", "shades", "patterns")]
    if look and bare and bare[-1] in words_of("things", "details"):
        return [*kept, (False, " ".join([*look[:2], *bare]))]
    unclear.append(f"except {exception}")
    return kept


def _says_something(text: str) -> bool:
    return bool(set(text.split()) - words_of("verbs", "starters", "anyone", "degrees"))


def _is_subject(text: str) -> bool:
    """ "the bag is": one thing that a copula says something about, and nothing else."""
    words = text.split()
    if len(words) < 2 or words[-1] not in ("is", "was", "are", "were", "be"):
        return False
    said = [w for w in words[:-1] if w not in ("should", "must", "that", "which")]
    return any(w in words_of("things") for w in said) and not set(said) & (words_of("verbs") | {"and", "who", "with"})


# ---------------------------------------------------------------------------------------------- phrases as chips

MAX_CHARACTERS = 1000
MAX_PARTS = 32


@dataclass(frozen=True, slots=True)
class Chip:
    """One phrase. wanted: False for NOT. weight: 0 to 2. cut: what of it lies beyond the encoder's limit, unread."""

    text: str
    wanted: bool = True
    weight: float = 1.0
    on: bool = True
    cut: str = ""

    def flipped(self) -> Chip:
        """The same phrase with the other sign."""
        return dataclasses.replace(self, wanted=not self.wanted)

    def __str__(self) -> str:
        return self.text if self.wanted else f"NOT {self.text}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two chips that can hardly both hold; the searcher says whether the new one replaces the old one or both stay."""

    old: Chip
    new: Chip
    why: str


def parse(sentence: str, words: Any = None) -> list[Chip]:
    """Free feedback → chips in the order said. words: the model's `Words`, to say what its limit cuts off.

    Raises LimitExceeded beyond 1,000 characters or 32 phrases.

    >>> [str(c) for c in parse("wearing a red jacket, no backpack")]
    ['red jacket', 'NOT backpack']
    """
    if len(sentence) > MAX_CHARACTERS:
        raise LimitExceeded(
            f"the text has {len(sentence)} characters, allowed are {MAX_CHARACTERS}; say it in several rounds"
        )
    phrases = read(sentence).phrases
    if len(phrases) > MAX_PARTS:
        raise LimitExceeded(f"the text names {len(phrases)} things, allowed are {MAX_PARTS}; say it in several rounds")
    cut = words.cut if words is not None else lambda text: ""
    return [Chip(p.text, p.wanted, p.weight, cut=cut(p.text)) for p in phrases]


def chips_of(query: Query) -> list[Chip]:
    """The phrases of a query as chips."""
    rows = [(part, True) for part in query.wanted] + [(part, False) for part in query.unwanted]
    return [Chip(part.value, wanted, part.weight, part.on) for part, wanted in rows]


def conflicts(held: Sequence[Chip], new: Sequence[Chip]) -> list[Conflict]:
    """What the new chips contradict among those held: the other sign, another colour of one garment, man and woman."""
    found = []
    for chip in new:
        for old in held:
            why = _contradiction(old, chip) if old.on and chip.on else ""
            if why:
                found.append(Conflict(old, chip, why))
    return found


def _contradiction(old: Chip, new: Chip) -> str:
    if old.wanted != new.wanted:
        return "wanted and unwanted at once" if old.text == new.text else ""
    if not new.wanted or old.text == new.text:
        return ""
    a, b = set(old.text.split()), set(new.text.split())
    thing = a & b & nouns()
    for name in ("colours", "lengths", "patterns"):
        one, other = a & words_of(name), b & words_of(name)
        if thing and one and other and not one & other:
            return f"{' '.join(sorted(one))} or {' '.join(sorted(other))} {' '.join(sorted(thing))}"
    men, women = {"man", "boy", "guy", "gentleman", "male"}, {"woman", "girl", "lady", "female"}
    if (a & men and b & women) or (a & women and b & men):
        return f"{old.text} or {new.text}"
    return ""


def added(query: Query, chips: Sequence[Chip], replace: Sequence[Chip] = ()) -> Query:
    """The query with more chips. A phrase said again takes the new sign and weight; replace: held chips that go.

    Raises LimitExceeded beyond 32 phrases.
    """
    gone = {c.text for c in (*replace, *chips)}
    kept = [c for c in chips_of(query) if c.text not in gone]
    return with_chips(query, [*kept, *{c.text: c for c in chips}.values()])


def with_chips(query: Query, chips: Sequence[Chip]) -> Query:
    """The query with exactly these phrases. Raises LimitExceeded beyond 32."""
    if len(chips) > MAX_PARTS:
        raise LimitExceeded(f"{len(chips)} phrases were given, allowed are {MAX_PARTS}; switch off or delete some")

    def parts(wanted: bool) -> tuple[Part, ...]:
        return tuple(Part(c.text, c.weight, c.on) for c in chips if c.wanted == wanted)

    return query.replace(wanted=parts(True), unwanted=parts(False))
