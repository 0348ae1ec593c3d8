"""Paths in what people wrote: notes, names and phrases, of which a report without paths must leave them out too.

A text is taken apart into what stands between blanks, and what may stay is said, not what must go: words, numbers,
times, and pairs such as grey/blue of words that descriptions are made of. Whatever else could be part of a path goes,
and with it what follows a path that may hold blanks. Names of the gallery's own files and folders go in any spelling:
another case, another Unicode form, other separators, without a suffix. Every step looks at each character a bounded
number of times.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

GONE = "(path)"
LONGEST = 16
"""Words of a name beyond which only its beginning is looked for."""
FIXED = ("format", "notice", "options", "limits")
"""Parts of a report that nobody wrote."""

_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"\S+")
_EDGES = "()[]{}<>|\"'“”‘’«»,;:!?.…"
_CLOSED = tuple(",;:!?.)]}>\"'”’»")
_NUMBERS = re.compile(r"\d{1,4}(?:/\d{1,4}){1,2}")
_ENDS = frozenset(
    re.findall(
        r"\w+",
        "a about above after and are as at be because been before below but by for from had has have he her here "
        "his i if in into is it its near not of on or she so than that the their them then there these they this "
        "those to too was we were when where which while who with without you",
    )
)
"""Words with which a sentence goes on after a path."""
_PAIRS = frozenset(
    re.findall(
        r"\w+",
        "n a and or w o he she his her him they them left right yes no front back",
    )
)


class Redactor:
    """Leaves out of texts the names of these files and their folders, and all that could be a path.

    paths: of the files. A text comes back in Unicode's composed form; what was left out reads as GONE.
    """

    def __init__(self, paths: Iterable[str]):
        self._known = {words for path in set(paths) for name in _names(path) if (words := _words(name))}
        self._lengths = sorted({len(words) for words in self._known}, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = unicodedata.normalize("NFC", text)
        for step in (self._without_names, _without_paths):
            text = GONE.join(step(part) for part in text.split(GONE))
        return text

    def within(self, value: Any) -> Any:
        """Plain values with every text in them redacted, but for the parts that are the same in every report."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.within(v) for v in value]
        if isinstance(value, dict):
            return {k: v if k in FIXED else self.within(v) for k, v in value.items()}
        return value

    def _without_names(self, text: str) -> str:
        if not self._known:
            return text
        found = list(_WORD.finditer(text))
        words = [_folded(m.group()) for m in found]
        out, at, i = [], 0, 0
        while i < len(words):
            rest = len(words) - i
            length = next((n for n in self._lengths if n <= rest and tuple(words[i : i + n]) in self._known), 0)
            if length:
                out += [text[at : found[i].start()], GONE]
                i, at = i + length, found[i + length - 1].end()
            else:
                i += 1
        return "".join([*out, text[at:]])


def _without_paths(text: str) -> str:
    """Tokens that may not stay, and what lies between or behind them as far as it may belong to the same path."""
    tokens = list(_TOKEN.finditer(text))
    out, at, last, is_open = [], 0, -1, False
    for i, token in enumerate(tokens):
        word = token.group()
        gone = not _stays(word)
        if not gone and is_open:
            gone = _folded(word.strip(_EDGES)) not in _ENDS
        if gone:
            if last != i - 1:
                out.append(text[at : token.start()] + GONE)
            last, at = i, token.end()
            is_open = not word.endswith(_CLOSED)
        else:
            is_open = False
    tail = text[at:]
    return "".join(out) + tail


def _stays(token: str) -> bool:
    """Whether something between two blanks is certainly no part of a path."""
    bare = token.strip(_EDGES)
    if not bare or bare.isalnum():
        return True
    if "/" in bare:
        parts = bare.split("/")
        pair = len(parts) == 2 and all(part in _PAIRS or part in _vocabulary() for part in map(_folded, parts))
        return pair or _NUMBERS.fullmatch(bare) is not None
    if any(c in "\\_~*" for c in bare):
        return False
    return all(len(part) <= 2 or part.isdecimal() for part in bare.split(".")) if "." in bare else True


@cache
def _vocabulary() -> frozenset[str]:
    """Words that descriptions of people are made of."""
    return frozenset(re.findall(r"[a-z]+", files("descry").joinpath("language.json").read_text("utf-8")))


def _names(path: str) -> Iterator[str]:
    """The name of the file, the same without its suffix, and folders around it with a blank in their names."""
    parts = [part for part in re.split(r"[\\/]", path) if part]
    for name in parts[-1:]:
        yield name
        yield os.path.splitext(name)[0]
    for folder in parts[:-1]:
        if " " in folder.strip():
            yield folder


def _words(name: str) -> tuple[str, ...]:
    return tuple(map(_folded, _WORD.findall(unicodedata.normalize("NFC", name))))[:LONGEST]


def _folded(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()
