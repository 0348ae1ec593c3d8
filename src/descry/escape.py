"""Text of others made safe to be shown: in a terminal, on a page, in a cell of a spreadsheet."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection
from functools import partial
from types import SimpleNamespace
from typing import Any

_FORMULA = re.compile(r"(^|[;,|\t\r\n])([\s\"']*)(?=[=+\-@＝＋－＠])")  # also where another separator begins a cell
_HIDDEN = "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
_OBEYED, _BROKEN = re.compile(f"[{_HIDDEN}]"), re.compile(f"[{_HIDDEN}\n\t]")
_FORGED = re.compile(f"[{_HIDDEN}]|\n(?!\\Z)")


def plain(value: Any) -> str:
    """Text in which control characters, lone surrogates, byte-order marks and marks of writing direction appear as
    their escapes."""
    return _OBEYED.sub(_escaped, str(value))


def _escaped(found: re.Match[str]) -> str:
    return {"\n": "\\n", "\t": "\\t"}.get(found[0]) or f"\\u{ord(found[0]):04x}"


line: Callable[[str], str] = partial(_BROKEN.sub, _escaped)
"""`plain` text on one line: a name of a file may hold the end of a line, and look like one of ours."""


class Shown(SimpleNamespace):
    """A stream on which a terminal obeys nothing of what is printed, and where no text begins another line: names and
    texts of others may be in all of it. Lines that are meant are printed one by one, `print(*lines, sep="\\n")`.

    Attributes:
        stream: where it goes.
    """

    def write(self, text: str) -> int:
        """Print a text."""
        return int(self.stream.write(_FORGED.sub(_escaped, text)) or 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def behind(stream: Any) -> Any:
    """The stream behind a `Shown` one, for our own bars and pictures, which a terminal is to obey."""
    return stream.stream if isinstance(stream, Shown) else stream


def cell(value: Any) -> str:
    """What stands in a cell of a CSV file: numbers as they are; text with a quote before all that would begin a
    formula."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return str(value)
    return _FORMULA.sub(r"\1\2'", plain(value))


def path_text(path: str) -> str:
    """A path as text that can be printed whatever bytes it holds."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the plural where it must be: `counted(2, "inquiry", "inquiries")`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def numbered(name: str, taken: Collection[str]) -> str:
    """The name, or where it is taken the name with the first number from 2 on that is free."""
    names = itertools.chain([name], (f"{name} {n}" for n in itertools.count(2)))
    return next(free for free in names if free not in taken)
