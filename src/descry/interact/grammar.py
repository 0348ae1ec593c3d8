"""The rules that read a searcher's sentence: what is wanted, what is not, and how surely it was said.

No language model: a sentence is put into plain words (contractions, typing slips, signs), cut into clauses, and each
clause is read from left to right with a sign that negations turn. The words that carry meaning stand in
language.json. The order of the steps matters, so `read` lists them all.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from .nouns import adjectives, completed, language, nouns, split, words_of
from .reach import parted


class Phrase(NamedTuple):
    """One thing said. weight: 1, or 0.5 where it was hedged ("maybe a scarf")."""

    text: str
    wanted: bool
    weight: float


# What turns the sign, longest first: "+" to wanted, "-" to unwanted; "~" unwanted, but wanted where it already is;
# "--" unwanted with all that "and" adds ("hide the hat and the bag").
_TURNS: tuple[tuple[str, str], ...] = (
    *((words, "+") for words in ("not only", "not just", "not merely")),
    *((words, "+") for words in ("nothing but", "nothing except", "nothing other than")),
    *((words, "--") for words in ("anything but", "anything except", "none of")),
    *((words, "-") for words in ("no longer", "not any longer", "no more(?! than)")),
    *((words, "-") for words in ("no signs? of", "no trace of", "hardly any", "barely any")),
    *((words, "-") for words in ("instead of", "rather than", "as opposed to")),
    *((words, "--") for words in ("other than", "except for", "apart from")),
    *((words, "--") for words in ("remove", "exclude", "hide", "get rid of", "filter out")),
    *((words, "~") for words in ("without", "lacks?", "lacking", "missing")),
    *((words, "-") for words in ("minus", "neither", "nor", "never", "not", "no", "hardly", "barely")),
    ("except", "--"),
    ("nothing", "- something"),
)
_TURN = re.compile(r"(?<![\w-])(?:" + "|".join(f"({words})" for words, _ in _TURNS) + r")(?![\w-])")
_BREAK = re.compile(
    r"\s*(?:[,.;!?\n]+|(?<![\w-])(?:but|although|though|however|yet|whereas|while|except that)(?![\w-]))\s*"
)


def read(sentence: str) -> list[Phrase]:
    """All phrases of a sentence in the order said, each once."""
    clauses = _scoped([c for c in (_clause(raw) for raw in _clauses(plain(sentence))) if c])
    out: list[Phrase] = []
    for clause in _joined(clauses):
        weight, clause = _hedged(clause)
        for wanted, piece in _signed(clause):
            out += [Phrase(text, wanted, weight) for text in split(piece, wanted)]
    out = [p._replace(text=_against(p, out[:i], out[i + 1 :])) for i, p in enumerate(out)]
    return list({(p.text, p.wanted): p for p in reversed(out)}.values())[::-1]


def _against(phrase: Phrase, before: list[Phrase], after: list[Phrase]) -> str:
    """The phrase, completed from its neighbour of the other sign."""
    for other in (*before[-1:], *after[:1]):
        if other.wanted != phrase.wanted:
            text = completed(phrase.text, other.text)
            if text != phrase.text:
                return text
    return phrase.text


def plain(sentence: str) -> str:
    """Lower case, contractions written out, signs as words, typing slips in known words mended."""
    text = sentence.lower().replace("’", "'").replace("`", "'").replace("\t", " ").replace("\r", "\n")
    text = re.sub(r"(?m)^\s*[-•*]\s+(?=\w)", "\n" if "+" not in text else ", no ", text)
    text = re.sub(r"(?:^|(?<=\s))-(?=[a-z])", ", no ", text)
    text = re.sub(r"\s-\s", ", no " if "+" in text else ", ", text).replace("+", ", ")
    text = re.sub(r"(?<!\w)w/o(?!\w)", "without", text)
    text = re.sub(r"(?<!\w)w/\s?", "with ", text).replace("&", " and ")
    text = re.sub(
        r"(?<!\w)(do|did|does|is|was|are|were|has|have|had|ca|could|should|must|would|wo|ai)n'?t(?!\w)", _expand, text
    )
    text = re.sub(r"(?<!\w)(cannot|can not)(?!\w)", "can not", text)
    text = re.sub(r"(?<=\w)'(?:s|re|m)(?= )", " is", text).replace("'ve ", " have ").replace("'", "")
    text = re.sub(r"([a-z][\w -]*)\?\s*(no|none|nope|yes|yeah)(?!\w)", _answered, text)
    return "".join(mended(w) if w.isalpha() else w for w in re.split(r"([\w-]+)", text))


def _expand(found: re.Match[str]) -> str:
    return {"ca": "can", "wo": "will", "ai": "is"}.get(found[1], found[1]) + " not"


def _answered(found: re.Match[str]) -> str:
    return f"no {found[1]}" if found[2].startswith("n") else found[1]


@cache
def _known() -> dict[str, tuple[str, ...]]:
    cues = ("without", "wearing", "carrying", "never", "neither", "nothing", "instead", "maybe", "perhaps", "probably")
    words = {w for w in (*nouns(), *adjectives(), *words_of("details"), *cues) if len(w) > 2}
    spared = words | words_of("ordinary", "verbs", "starters", "enders", "degrees", "anyone")
    table: dict[str, tuple[str, ...]] = {}
    for word in words:
        for slip in _slips(word) - spared:
            table[slip] = (*table.get(slip, ()), word)
    return table


def _slips(word: str) -> set[str]:
    """Common slips of the fingers: two letters swapped, one dropped, one doubled, a wrong vowel. The first letter
    stays."""
    if len(word) < 3:
        return set()
    cuts = range(1, len(word))
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in cuts if i + 1 < len(word)}
    dropped = {word[:i] + word[i + 1 :] for i in cuts} if len(word) >= 5 else set()
    doubled = {word[: i + 1] + word[i] + word[i + 1 :] for i in cuts}
    vowels = (
        {word[:i] + v + word[i + 1 :] for i in cuts if word[i] in "aeiou" for v in "aeiou"} if len(word) >= 5 else set()
    )
    return (swapped | dropped | doubled | vowels) - {word}


def mended(word: str) -> str:
    """The known word that a typing slip stands for; the word itself where there is none or more than one."""
    found = _known().get(word, ())
    return found[0] if len(found) == 1 else word


def _clauses(text: str) -> list[str]:
    return [c.strip() for c in _BREAK.split(text)]


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
    if any(re.search(pattern, raw) for pattern in language()["withdrawals"]):
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
    padded = re.sub(r" (?:i|we) do not (?:think|believe)(?: that)? ", " not ", padded)
    weight = 1.0
    for word in language()["hedges"]:
        if f" {word} " in padded:
            weight, padded = 0.5, padded.replace(f" {word} ", " ")
    for word in language()["emphases"]:
        padded = padded.replace(f" {word} ", " ")
    return weight, padded.strip()


def _signed(clause: str) -> list[tuple[bool, str]]:
    """The clause cut where its sign turns. Two negations in a row are one ("ain't got no hat"), but "not without" is
    none."""
    out: list[tuple[bool, str]] = []
    wanted, reaches, at, subject = True, False, 0, ""
    for found in [*_TURN.finditer(clause), None]:
        before = clause[at : found.start() if found else None].strip()
        taken, rest = parted(before) if reaches else (before, "")
        if rest:
            out.append((False, f"{subject} {taken}".strip()))
            wanted, subject, before = True, "", rest
        if not found:
            break
        turn = _TURNS[found.lastindex - 1][1]  # type: ignore[operator]
        at = found.end()
        if _says_something(before):
            if _is_subject(before):
                subject = re.sub(r" (?:that|which)(?= \w+$)", "", before)
            else:
                out.append((wanted, f"{subject} {before}".strip()))
        elif not wanted and turn == "~":
            wanted, reaches = True, False
            continue
        wanted, reaches = turn == "+", turn not in ("+", "--")
        if turn.endswith("something"):
            subject = "something"
    out.append((wanted, f"{subject} {before}".strip()))
    return [(sign, piece) for sign, piece in out if piece]


def _says_something(text: str) -> bool:
    return bool(set(text.split()) - words_of("verbs", "starters", "anyone", "degrees"))


def _is_subject(text: str) -> bool:
    """ "the bag is": one thing that a copula says something about, and nothing else."""
    words = text.split()
    if len(words) < 2 or words[-1] not in ("is", "was", "are", "were", "be"):
        return False
    said = [w for w in words[:-1] if w not in ("should", "must", "that", "which")]
    return any(w in words_of("things") for w in said) and not set(said) & (words_of("verbs") | {"and", "who", "with"})
