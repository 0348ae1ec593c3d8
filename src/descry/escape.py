"""Text of others made safe to be shown: in a terminal, on a page, in a cell of a spreadsheet."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FORMULA = re.compile(r"(^|[;,|\t\r\n])([\s\"']*)(?=[=+\-@＝＋－＠])")  # also where another separator begins a cell


def plain(value: Any) -> str:
    """Text in which control characters, lone surrogates, byte-order marks and marks of writing direction appear as
    their escapes."""
    return "".join(_seen(c) for c in str(value))


def _seen(c: str) -> str:
    hidden = unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"
    return f"\\u{ord(c):04x}" if hidden or c in _TURNING or c in "\ufeff\u2028\u2029\ufffe\uffff" else c


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
